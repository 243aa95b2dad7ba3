//! Whole requests through the filter's own contexts, against a host of paper: calls that never come back, come back late or twice,
//! streams that vanish, policies that change under way.
#![cfg(not(target_family = "wasm"))]
#![expect(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests, outside of test functions"
)]

#[path = "support/host.rs"]
mod host;
mod support;

use std::{collections::BTreeSet, rc::Rc, time::Duration};

use serde_json::{Value, json};
use sidegate::{
    filter::{
        flights::MOST_CALLS,
        host::StreamId,
        root::{load, unload},
    },
    provider::ProviderReply,
    store::{ABSENT, Cas, Lost, Store},
};

use host::{End, Envoy, Paper, Thread};
use support::{Ask, NOW, PROVIDER_SECRET, Shared, answer, ask, consumer, document, environment, get, sha256};

const DEBUG_SECRET: &str = "let-me-see-everything";

fn policy() -> Value {
    let api = json!({
        "name": "orders", "base_path": "/v1",
        "access": ["api_key", {"introspection": {"provider": "hydra"}}],
        "rules": [{"path": "/**"}, {"path": "/scoped", "access": [{"introspection": {"provider": "hydra", "scopes": ["admin"]}}]}],
        "limits": [{"metric": "hits", "max": 200, "per": "day"}],
        "forward": {"headers": {"x-consumer": "{consumer}"}},
    });
    let mut acme = consumer("acme");
    acme["plan"] = json!("basic");
    let mut document = document(json!([acme, consumer("globex")]), json!([api]));
    document["plans"] = json!({"basic": {}});
    document["gate"]["debug"] = json!({"secret_sha256": sha256(DEBUG_SECRET)});
    document
}

fn start<S: Store + 'static>(paper: &Rc<Paper>, store: S, policy: &Value) -> Rc<Thread<S>> {
    let worker = load(Envoy(Rc::clone(paper)), store, policy.to_string().as_bytes(), &environment);
    Thread::new(paper, worker.expect("the policy is good"))
}

/// One worker with the policy above.
fn thread() -> (Rc<Paper>, Rc<Thread<Shared>>) {
    let paper = Paper::new();
    let thread = start(&paper, Shared::default(), &policy());
    (paper, thread)
}

fn with_token(token: &str) -> Ask {
    get("/v1/x").token(token)
}

fn active() -> ProviderReply {
    answer(&json!({"active": true, "client_id": "acme-web"}))
}

/// Starts as many requests with one token; all wait.
fn waiting<S: Store + 'static>(thread: &Thread<S>, count: usize) -> Vec<StreamId> {
    let wait = |_| {
        let (id, outcome) = thread.request(with_token("t0ken"));
        assert_eq!(outcome, "waits");
        id
    };
    (0..count).map(wait).collect()
}

fn outcomes(paper: &Paper, streams: &[StreamId]) -> BTreeSet<String> {
    streams.iter().map(|stream| paper.outcome(*stream)).collect()
}

fn all(outcome: &str) -> BTreeSet<String> {
    BTreeSet::from([outcome.to_owned()])
}

#[test]
fn all_requests_with_one_token_wait_for_one_call_and_all_go_on() {
    let (paper, thread) = thread();
    let streams = waiting(&thread, 100);
    assert_eq!(paper.calls.borrow().len(), 1);
    paper.wait(Duration::from_millis(15));
    thread.reply(1, &active());
    assert_eq!(outcomes(&paper, &streams), all("ok"));
    assert_eq!(thread.request(with_token("t0ken")).1, "ok", "and the next finds the answer in the cache");
    assert_eq!(paper.calls.borrow().len(), 1);
    for (name, expected) in [
        ("sidegate.provider=.=hydra;.result=.=ok;.provider_calls", 1),
        ("sidegate.provider=.=hydra;.provider_call_milliseconds", 15),
        ("sidegate.result=.=miss;.identity_lookups", 100),
        ("sidegate.result=.=hit;.identity_lookups", 1),
        ("sidegate.api=.=orders;.outcome=.=admitted;.code=.=none;.decisions", 101),
    ] {
        assert_eq!(paper.metric(name), expected, "{name}");
    }
}

#[test]
fn each_waiter_is_edited_and_judged_as_its_own() {
    let (paper, thread) = thread();
    let (lax, _) = thread.request(with_token("t0ken"));
    let (scoped, _) = thread.request(get("/v1/scoped").token("t0ken"));
    let (other, _) = thread.request(with_token("other"));
    assert_eq!(paper.calls.borrow().len(), 2);
    thread.reply(1, &active());
    assert_eq!([lax, scoped, other].map(|stream| paper.outcome(stream)), ["ok", "23", "waits"]);
    let edited: Vec<_> = paper
        .written
        .borrow()
        .iter()
        .filter(|(_, text)| text == "request x-consumer: acme")
        .map(|(stream, _)| *stream)
        .collect();
    assert_eq!(edited, [Some(lax)], "written while its own stream was the current one");
    let state = paper.state.borrow();
    assert_eq!(state.get(&(lax, "sidegate.consumer".to_owned())).map(String::as_str), Some("acme"));
    assert_eq!(state.get(&(scoped, "sidegate.code".to_owned())).map(String::as_str), Some("23"));
    assert!(!state.keys().any(|(stream, _)| *stream == other));
}

#[test]
fn a_call_whose_stream_goes_is_made_again_by_the_root() {
    let (paper, thread) = thread();
    let streams = waiting(&thread, 3);
    thread.gone(streams[0]);
    thread.reply(1, &active());
    assert_eq!(outcomes(&paper, &streams[1..]), all("waits"), "the reply came to nobody");
    assert!(thread.tick(), "the root is called for");
    assert!(!thread.tick(), "once");
    let made_by: Vec<_> = paper.calls.borrow().iter().map(|(stream, _)| *stream).collect();
    assert_eq!(made_by, [Some(streams[0]), None]);
    assert!(paper.calls.borrow()[0].1 == paper.calls.borrow()[1].1, "it asks the same");
    let late = waiting(&thread, 1);
    thread.reply(2, &active());
    assert_eq!(outcomes(&paper, &[&streams[1..], &late].concat()), all("ok"));
    assert_eq!(paper.outcome(streams[0]), "waits", "who is gone is left alone");
}

#[test]
fn whoever_waits_for_a_call_that_the_root_cannot_make_is_refused() {
    let unavailable = ProviderReply::Failed;
    for (reply, code) in
        [(unavailable, "24"), (ProviderReply::UnknownCluster, "09"), (ProviderReply::NoHealthyHost, "10")]
    {
        let (paper, thread) = thread();
        let streams = waiting(&thread, 3);
        thread.gone(streams[0]);
        paper.refuses_calls.borrow_mut().push(reply);
        assert!(thread.tick());
        assert_eq!(outcomes(&paper, &streams[1..]), all(code));
    }
}

#[test]
fn a_call_that_the_root_cannot_make_takes_no_other_call_with_it() {
    let (paper, thread) = thread();
    let streams: Vec<_> = ["one", "one", "two", "two", "three", "three"]
        .map(|token| thread.request(with_token(token)).0)
        .to_vec();
    for leader in [0, 2, 4] {
        thread.gone(streams[leader]);
    }
    paper.refuses_calls.borrow_mut().push(ProviderReply::NoHealthyHost);
    assert!(thread.tick());
    let made_by: Vec<_> = paper.calls.borrow().iter().skip(3).map(|(stream, _)| *stream).collect();
    assert_eq!(
        made_by,
        [None, None],
        "all calls of the root are its own, and none that of a stream it has just answered"
    );
    for call in [4, 5] {
        thread.reply(call, &active());
    }
    let mut ends: Vec<_> = [1, 3, 5].map(|place: usize| paper.outcome(streams[place])).to_vec();
    ends.sort();
    assert_eq!(ends, ["10", "ok", "ok"]);
}

#[test]
fn whoever_leaves_while_waiting_is_left_alone_and_the_others_go_on() {
    let (paper, thread) = thread();
    let streams = waiting(&thread, 4);
    thread.gone(streams[1]);
    thread.gone(streams[3]);
    assert!(!thread.tick(), "a leader is there");
    thread.reply(1, &active());
    assert_eq!(
        [0, 1, 2, 3].map(|place: usize| paper.outcome(streams[place])),
        ["ok", "waits", "ok", "waits"]
    );
}

#[test]
fn a_reply_after_everybody_left_changes_nothing() {
    let (paper, thread) = thread();
    let streams = waiting(&thread, 2);
    thread.gone(streams[1]);
    thread.gone(streams[0]);
    assert!(!thread.tick());
    thread.deliver(None, 1, &active());
    assert_eq!(outcomes(&paper, &streams), all("waits"));
    let again = waiting(&thread, 1);
    assert_eq!(paper.calls.borrow().len(), 2, "the next request asks anew");
    thread.reply(2, &active());
    assert_eq!(outcomes(&paper, &again), all("ok"));
}

#[test]
fn everybody_may_leave_while_the_roots_call_is_under_way() {
    let (paper, thread) = thread();
    let streams = waiting(&thread, 2);
    thread.gone(streams[0]);
    thread.tick();
    thread.gone(streams[1]);
    thread.reply(2, &active());
    assert_eq!(outcomes(&paper, &streams), all("waits"));
    assert_eq!(waiting(&thread, 1).len(), 1);
    assert_eq!(paper.calls.borrow().len(), 3);
}

#[test]
fn a_reply_that_comes_twice_or_to_no_call_counts_once() {
    let (paper, thread) = thread();
    let streams = waiting(&thread, 2);
    thread.deliver(None, 99, &active());
    assert_eq!(outcomes(&paper, &streams), all("waits"));
    for reply in [active(), ProviderReply::Failed, active()] {
        thread.reply(1, &reply);
    }
    assert_eq!(outcomes(&paper, &streams), all("ok"));
    assert_eq!(paper.metric("sidegate.provider=.=hydra;.result=.=ok;.provider_calls"), 1);
}

#[test]
fn a_stream_that_vanishes_while_another_is_answered_is_not_touched() {
    let (paper, thread) = thread();
    let streams = waiting(&thread, 3);
    thread.resets_when_answering(streams[1]);
    thread.reply(1, &answer(&json!({"active": false})));
    assert_eq!(
        [0, 1, 2].map(|place: usize| paper.outcome(streams[place])),
        ["22", "waits", "22"],
        "each that is there gets one end"
    );
}

#[test]
fn a_call_that_envoy_does_not_take_refuses_at_once() {
    for (reply, code, result) in [
        (ProviderReply::UnknownCluster, "09", "unknown_cluster"),
        (ProviderReply::NoHealthyHost, "10", "no_healthy_host"),
    ] {
        let (paper, thread) = thread();
        paper.refuses_calls.borrow_mut().push(reply);
        assert_eq!(thread.request(with_token("t0ken")).1, code);
        assert_eq!(paper.metric(&format!("sidegate.provider=.=hydra;.result=.={result};.provider_calls")), 1);
        let streams = waiting(&thread, 1);
        thread.reply(1, &active());
        assert_eq!(outcomes(&paper, &streams), all("ok"), "the next may fare better");
    }
}

#[test]
fn one_worker_opens_so_many_calls_and_no_more() {
    let (paper, thread) = thread();
    for number in 0..MOST_CALLS {
        assert_eq!(thread.request(with_token(&format!("token-{number}"))).1, "waits");
    }
    assert_eq!(thread.request(with_token("one-more")).1, "24");
    assert_eq!(paper.calls.borrow().len(), MOST_CALLS);
    assert_eq!(thread.request(with_token("token-0")).1, "waits", "a call under way takes more who wait");
    assert_eq!(thread.request(get("/v1/x").key("key-of-acme")).1, "ok", "who needs no call is not held up");
    thread.reply(1, &active());
    assert_eq!(thread.request(with_token("one-more")).1, "waits", "there is room again");
}

#[test]
fn however_calls_end_every_request_that_stays_has_one_end() {
    let replies = [
        active(),
        answer(&json!({"active": false})),
        answer(&json!({"active": "true"})),
        ProviderReply::TimedOut,
        ProviderReply::Failed,
    ];
    for (place, reply) in replies.iter().enumerate() {
        let (paper, thread) = thread();
        let streams = waiting(&thread, 6);
        thread.gone(streams[place]);
        thread.reply(1, reply);
        if thread.tick() {
            thread.reply(2, reply);
        }
        for (at, stream) in streams.iter().enumerate() {
            assert_eq!(
                paper.end(*stream).len(),
                usize::from(at != place),
                "{reply:?}: {:?}",
                paper.end(*stream)
            );
        }
    }
}

#[test]
fn rate_limit_headers_reach_the_response_also_after_a_wait() {
    let (paper, thread) = thread();
    let streams = waiting(&thread, 1);
    thread.reply(1, &active());
    thread.response(streams[0]);
    thread.response(streams[0]);
    let told = |text: &str| paper.written.borrow().iter().filter(|(_, line)| line == text).count();
    assert_eq!(told("response x-ratelimit-remaining: 199"), 1, "{:?}", paper.written.borrow());
}

#[test]
fn a_policy_in_force_is_told_by_revision_and_a_load_counted_once_for_all_workers() {
    let (paper, store) = (Paper::new(), Shared::default());
    let mut next = policy();
    next["revision"] = json!("r2");
    let gauge = |thread: &Thread<Shared>| {
        let policy = thread.worker.gate().policy();
        let revision = policy.revision.clone().expect("tests name their policies");
        paper.metric(&format!("sidegate.revision=.={revision};.digest=.={};.policy", policy.digest))
    };
    let accepted = || paper.metric("sidegate.result=.=accepted;.policy_loads");

    let old = [start(&paper, store.clone(), &policy()), start(&paper, store.clone(), &policy())];
    assert_eq!((accepted(), gauge(&old[0])), (1, 1));
    let new = start(&paper, store.clone(), &next);
    unload(&old[0].worker);
    let another = start(&paper, store.clone(), &next);
    unload(&old[1].worker);
    assert_eq!((accepted(), gauge(&old[0]), gauge(&new)), (2, 0, 1));
    unload(&new.worker);
    assert_eq!(gauge(&another), 1, "a worker that ends does not end the policy of the others");
    let loads = paper.logs.borrow().iter().filter(|(_, line)| line.starts_with("policy loaded")).count();
    assert_eq!(loads, 2);
}

#[test]
fn counters_survive_the_policy_and_old_and_new_count_together() {
    let (paper, store) = (Paper::new(), Shared::default());
    let mut limited = policy();
    limited["apis"][0]["limits"] = json!([{"metric": "hits", "max": 3, "per": "day"}]);
    let old = start(&paper, store.clone(), &limited);
    let key = || get("/v1/x").key("key-of-acme");
    assert_eq!(old.request(key()).1, "ok");
    limited["revision"] = json!("r2");
    let new = start(&paper, store.clone(), &limited);
    assert_eq!(new.request(key()).1, "ok");
    assert_eq!(old.request(key()).1, "ok", "the old policy serves those who came under it");
    assert_eq!((old.request(key()).1.as_str(), new.request(key()).1.as_str()), ("14", "14"));
}

#[test]
fn a_request_under_way_ends_under_the_policy_it_began_with() {
    let (paper, store) = (Paper::new(), Shared::default());
    let old = start(&paper, store.clone(), &policy());
    let begun = waiting(&old, 2);
    let mut closed = policy();
    closed["revision"] = json!("r2");
    closed["apis"][0]["access"] = json!(["deny"]);
    let new = start(&paper, store, &closed);
    unload(&old.worker);
    assert_eq!(new.request(with_token("t0ken")).1, "27");
    old.reply(1, &active());
    assert_eq!(outcomes(&paper, &begun), all("ok"));
}

#[test]
fn a_policy_that_does_not_load_is_told_in_full_and_counted() {
    let paper = Paper::new();
    let mut bad = policy();
    bad["consumers"][0]["plan"] = json!("platinum");
    bad["apis"][0]["rules"][1]["path"] = json!("no-slash");
    bad["providers"]["hydra"]["introspection"]["authentication"]["basic"]["secret"] =
        json!({"env": "NO_SUCH_VARIABLE"});
    let text = bad.to_string();
    for (configuration, expected) in [
        (text.as_bytes(), vec!["consumers[0].plan: ", "apis[0].rules[1].path: ", "`NO_SUCH_VARIABLE`"]),
        (b"".as_slice(), vec!["empty"]),
        (b"{".as_slice(), vec![""]),
    ] {
        assert!(load(Envoy(Rc::clone(&paper)), Shared::default(), configuration, &environment).is_none());
        let (level, line) = paper.logs.borrow_mut().pop().expect("a line");
        assert_eq!(level, log::Level::Error);
        for expected in expected {
            assert!(line.contains(expected), "{expected} in {line}");
        }
    }
    assert_eq!(paper.metric("sidegate.result=.=rejected;.policy_loads"), 3);
    assert_eq!(paper.metric("sidegate.result=.=accepted;.policy_loads"), 0);
}

/// A store that somebody else always writes first.
#[derive(Clone, Default)]
struct Contended(Shared);

impl Store for Contended {
    fn get(&self, key: &str) -> (Option<Vec<u8>>, Option<Cas>) {
        self.0.get(key)
    }

    fn compare_and_swap(&self, _: &str, _: &[u8], _: Cas) -> Result<(), Lost> {
        Err(Lost)
    }
}

#[test]
fn a_store_that_is_always_contended_refuses_and_is_counted() {
    let paper = Paper::new();
    let thread = start(&paper, Contended::default(), &policy());
    let (stream, outcome) = thread.request(get("/v1/x").key("key-of-acme"));
    assert_eq!(outcome, "25");
    assert_eq!(paper.end(stream), [End::Answered(503, "25".to_owned())]);
    assert_eq!(paper.metric("sidegate.store_conflicts"), 127);
    let streams = waiting(&thread, 2);
    thread.reply(1, &active());
    assert_eq!(outcomes(&paper, &streams), all("25"));
}

#[test]
fn bytes_that_are_none_of_ours_are_counted_and_cost_nobody_a_request() {
    let store = Shared::default();
    let mut small = policy();
    small["gate"]["capacity"] = json!({"meters": 1, "tokens": 1});
    for key in ["sidegate/meters/0", "sidegate/tokens/0"] {
        store.compare_and_swap(key, b"junk", ABSENT).expect("it is new");
    }
    let paper = Paper::new();
    let thread = start(&paper, store, &small);
    let streams = waiting(&thread, 1);
    thread.reply(1, &active());
    assert_eq!(outcomes(&paper, &streams), all("ok"));
    assert_eq!(thread.request(with_token("t0ken")).1, "ok");
    assert_eq!(
        paper.metric("sidegate.store_corrupt"),
        3,
        "a look and a write of the cache, a write of the meter"
    );
}

#[test]
fn each_refusal_leaves_one_line_that_names_what_is_known() {
    let (paper, thread) = thread();
    paper.logs.borrow_mut().clear();
    let mut shadow = policy();
    shadow["apis"][0]["shadow"] = json!(true);
    for (ask, expected) in [
        (
            get("/nowhere"),
            "refused code=00 api=- rule=- consumer=- id=id-1 reason=\"no API for host and path\"",
        ),
        (
            get("/v1/x").key("guess"),
            "refused code=13 api=orders rule=/** consumer=- id=id-1 reason=\"the API key is unknown\"",
        ),
        (
            get("/v1/x").key("a").key("b"),
            "refused code=20 api=orders rule=/** consumer=- id=id-1 reason=\"the credential arrives twice\"",
        ),
    ] {
        let (_, _) = thread.request(ask.with("x-request-id", "id-1"));
        let lines: Vec<_> = paper.logs.take();
        assert_eq!(lines, [(log::Level::Info, expected.to_owned())]);
    }
    assert_eq!(thread.request(get("/v1/x").key("key-of-acme")).1, "ok");
    assert_eq!(paper.logs.take(), [], "who is admitted leaves none");

    let shadowed = start(&paper, Shared::default(), &shadow);
    paper.logs.take();
    assert_eq!(shadowed.request(get("/v1/x").key("guess").with("x-request-id", "id-1")).1, "ok");
    let expected =
        "would refuse code=13 api=orders rule=/** consumer=- id=id-1 reason=\"the API key is unknown\"";
    assert_eq!(paper.logs.take(), [(log::Level::Info, expected.to_owned())]);
    assert_eq!(paper.metric("sidegate.api=.=orders;.outcome=.=shadowed;.code=.=13;.decisions"), 1);
}

#[test]
fn a_refusal_over_the_limit_names_the_consumer() {
    let paper = Paper::new();
    let mut limited = policy();
    limited["apis"][0]["limits"] = json!([{"metric": "hits", "max": 0, "per": "day"}]);
    let thread = start(&paper, Shared::default(), &limited);
    let (stream, outcome) = thread.request(get("/v1/x").key("key-of-acme"));
    assert_eq!(outcome, "27");
    assert!(paper.logs.borrow().iter().any(|(_, line)| line.contains(" consumer=acme ")));
    for (name, value) in
        [("api", "orders"), ("rule", "/**"), ("consumer", "acme"), ("plan", "basic"), ("code", "27")]
    {
        let state = paper.state.borrow();
        assert_eq!(
            state.get(&(stream, format!("sidegate.{name}"))).map(String::as_str),
            Some(value),
            "{name}"
        );
    }
}

/// Everything that a request may carry or the policy holds and that nobody may read afterwards.
const SECRETS: [&str; 7] =
    ["key-of-acme", "key-unknown", "token-good", "token-bad", "token-lost", PROVIDER_SECRET, DEBUG_SECRET];

#[test]
fn no_log_line_metric_filter_state_reply_or_explanation_holds_a_secret() {
    for shadow in [false, true] {
        let paper = Paper::new();
        let mut document = policy();
        document["apis"][0]["shadow"] = json!(shadow);
        document["apis"][0]["credentials"] =
            json!({"api_key": [{"header": "apikey"}, {"query": "api_key"}, {"cookie": "key"}]});
        let thread = start(&paper, Shared::default(), &document);
        let explained = |ask: Ask| ask.with("x-sidegate-debug", DEBUG_SECRET);
        for ask in [
            get("/v1/x").key("key-of-acme"),
            get("/v1/x?api_key=key-of-acme"),
            get("/v1/x").with("cookie", "key=key-of-acme"),
            get("/v1/x").key("key-unknown"),
            get("/v1/x").key("key-unknown").key("key-of-acme"),
            get("/v1/x?api_key=key-of-acme&api_key=key-of-acme"),
            get("/v1/%zz?api_key=key-of-acme"),
            get("/elsewhere?api_key=key-of-acme").key("key-of-acme").token("token-good"),
            ask("OPTIONS", "/v1/x")
                .key("key-of-acme")
                .with("origin", "x")
                .with("access-control-request-method", "GET"),
            with_token("token-good"),
            with_token("token-good").token("token-bad"),
            with_token("token-bad"),
            with_token("token-lost"),
            get("/v1/scoped").token("token-good"),
        ] {
            for ask in [ask.clone(), explained(ask)] {
                let (stream, _) = thread.request(ask);
                thread.response(stream);
            }
        }
        let questions: Vec<_> = paper
            .calls
            .borrow()
            .iter()
            .map(|(_, request)| String::from_utf8_lossy(&request.body).into_owned())
            .collect();
        for (place, question) in questions.iter().enumerate() {
            let reply = if question.contains("token-good") {
                active()
            } else if question.contains("token-bad") {
                answer(&json!({"active": false}))
            } else {
                ProviderReply::Answered {
                    status: 401,
                    content_type: None,
                    retry_after: None,
                    body: b"token-lost".to_vec(),
                }
            };
            thread.reply(u32::try_from(place + 1).expect("few"), &reply);
        }
        let mut seen: Vec<String> = paper.logs.borrow().iter().map(|(_, line)| line.clone()).collect();
        seen.extend(paper.metrics.borrow().keys().cloned());
        seen.extend(paper.state.borrow().iter().map(|((_, name), value)| format!("{name}={value}")));
        seen.extend(paper.written.borrow().iter().map(|(_, text)| text.clone()));
        assert!(seen.len() > 50, "there is something to look at");
        for line in &seen {
            for secret in SECRETS {
                assert!(!line.contains(secret), "{secret} in {line}");
                assert!(!line.contains(&sha256(secret)), "the digest of {secret} in {line}");
            }
            assert!(!line.chars().any(|c| c.is_control()), "a control character in {line:?}");
        }
        assert_eq!(paper.now.get(), NOW);
    }
}
