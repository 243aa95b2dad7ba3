//! What holds for every policy that compiles, every request and every reply.
#![cfg(not(target_family = "wasm"))]
#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "generators and helpers of tests, outside of test functions"
)]

mod properties;
#[path = "support/request.rs"]
mod request;
mod support;

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, time::Duration};

use properties::config;
use proptest::{
    collection::vec,
    prelude::*,
    sample::{select, subsequence},
};
use serde_json::{Value, json};
use sidegate::{
    gate::{Ending, drive::Driver},
    headers::HeaderList,
    policy::Policy,
    provider::{Body, CallFailure, CallResult, HttpResponse, Response},
    store::{Disturbed, Store},
};
use support::{Ask, NOW, Shared, answer, ask, consumer, document, environment, get};

fn load(document: &Value) -> Option<Rc<Policy>> {
    Policy::load(document.to_string().as_bytes(), &environment).ok().map(Rc::new)
}

fn through<S: Store + 'static>(gate: &Driver<S>, ask: &Ask, result: &CallResult) -> Ending {
    gate.decide(ask.request(1), ask.at, |_| result.clone())
}

/// Some of these, in their order, at least one.
fn some(choices: &[Value]) -> impl Strategy<Value = Value> + use<> {
    subsequence(choices.to_vec(), 1..=choices.len()).prop_map(Value::Array)
}

fn one(choices: &[Value]) -> impl Strategy<Value = Value> + use<> {
    select(choices.to_vec())
}

/// Access entries that each require a credential, or refuse everybody.
fn guarded() -> impl Strategy<Value = Value> {
    some(&[
        json!({"introspection": {"provider": "hydra", "scopes": ["a.b"], "scope_strategy": "hierarchic"}}),
        json!("api_key"),
        json!("deny"),
    ])
}

fn any_access() -> impl Strategy<Value = Value> {
    prop_oneof![guarded(), Just(json!(["allow"])), Just(json!(["api_key", "allow"]))]
}

fn limits() -> impl Strategy<Value = Value> {
    some(&[
        json!({"metric": "hits", "max": 3, "per": "minute"}),
        json!({"metric": "reads", "max": 2, "per": "second", "window": "sliding", "of": "address"}),
        json!({"metric": "hits", "max": 5, "per": "day", "of": "api"}),
        json!({"metric": "hits", "max": 4, "per": "eternity", "of": "client"}),
        json!({"metric": "reads", "max": 0, "per": "week", "of": "subject"}),
    ])
}

/// An API whose rules use access lists from `access`.
fn api(access: BoxedStrategy<Value>) -> impl Strategy<Value = Value> {
    let rule = |number: usize, access: Value| {
        let paths = [
            json!({"path": "/**"}),
            json!({"path": "/orders/{id}"}),
            json!({"path": "/orders/{id}/**", "methods": ["GET", "PUT"]}),
            json!({"path": "/orders/mine/"}),
            json!({"regex": "/files/([a-z]+|[0-9]+)(/.*)?"}),
        ];
        let mut rule = paths[number].clone();
        rule["access"] = access;
        rule
    };
    let rules = vec((any::<bool>(), access), 5).prop_map(move |chosen| {
        let chosen =
            chosen.into_iter().enumerate().filter(|(number, (is_there, _))| *is_there || *number == 0);
        Value::Array(chosen.map(|(number, (_, access))| rule(number, access)).collect())
    });
    let bindings = prop_oneof![
        Just(Value::Null),
        one(&[json!("all"), json!("none"), json!({"methods": ["GET"]})]).prop_map(|allow| json!([
            {"consumer": "acme", "allow": allow, "paths": [{"path": "/orders/**", "allow": {"methods": ["GET", "DELETE"]}}]},
        ])),
        limits().prop_map(|limits| json!([{"consumer": "acme", "allow": "all", "plan": "basic", "limits": limits}])),
    ];
    let credentials = one(&[
        json!({}),
        json!({"api_key": [{"query": "key"}, {"cookie": "key"}], "token": [{"header": "x-token"}]}),
        json!({"api_key": [{"header": "authorization", "scheme": "Key"}]}),
    ]);
    let base_path = one(&[Value::Null, json!("/"), json!("/v1"), json!("/a%20b")]);
    let limits = prop_oneof![Just(Value::Null), limits()];
    let forward = one(&[
        json!({}),
        json!({"remove_credentials": false, "headers": {"x-who": "{consumer}{client_id}", "x-scope": "{scope}", "x-rule": "{rule}"}}),
    ]);
    (rules, bindings, credentials, base_path, limits, forward).prop_map(
        |(rules, bindings, credentials, base_path, limits, forward)| {
            let mut api = json!({"name": "a", "rules": rules, "credentials": credentials, "forward": forward});
            api["metering"] = json!([{"path": "/**", "metric": "hits"}, {"path": "/orders/**", "methods": ["GET"], "metric": "reads"}]);
            for (name, value) in [("bindings", bindings), ("base_path", base_path), ("limits", limits)] {
                if !value.is_null() {
                    api[name] = value;
                }
            }
            api
        },
    )
}

fn policy(access: BoxedStrategy<Value>) -> impl Strategy<Value = Value> {
    (api(access), prop_oneof![Just(Value::Null), limits()], one(&[json!("deny"), json!("stale")])).prop_map(
        |(api, plan, unavailable)| {
            let mut acme = consumer("acme");
            acme["plan"] = json!("basic");
            let mut document = document(json!([acme, consumer("globex")]), json!([api]));
            document["metrics"] = json!({"reads": {"parent": "hits"}});
            document["plans"] =
                json!({"basic": if plan.is_null() { json!({}) } else { json!({"limits": plan}) }});
            document["providers"]["hydra"]["introspection"]["unavailable"] = unavailable;
            document["providers"]["hydra"]["introspection"]["cache"] =
                json!({"ttl": "1s", "negative_ttl": "1s", "stale_if_error": "2s"});
            document["gate"]["preflight"] = json!("check");
            document
        },
    )
}

fn path() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => "(/v1|/a%20b)?(/(orders|mine|files|x|7|[.]{1,2}|%2e%2E|%2f|%5c|%zz|%c3%a4|)){0,5}/?([?](key=[a-z]{0,3}|&|%|key=key-of-acme){0,3})?",
        1 => "/(v1/)?[ -~]{0,16}",
        1 => any::<String>(),
    ]
}

/// Headers that may mean something, whether well formed or not. None is a valid credential.
fn header() -> impl Strategy<Value = (String, Vec<u8>)> {
    let names = [
        "apikey",
        "authorization",
        "cookie",
        "x-token",
        "x-request-id",
        "content-type",
        "x-sidegate-debug",
        "x-who",
        "origin",
    ];
    let values = prop_oneof![
        "(Bearer|Key|bearer|Basic)?[ ,]{0,2}[a-c=]{0,4}".prop_map(String::into_bytes),
        "key=[a-z\"]{0,3};?[ ]?(key=b)?".prop_map(String::into_bytes),
        vec(any::<u8>(), 0..6),
    ];
    (select(names.to_vec()).prop_map(str::to_owned), values)
}

fn request() -> impl Strategy<Value = Ask> {
    let methods = select(vec!["GET", "PUT", "HEAD", "OPTIONS", "get", "", "\u{e4}"]);
    (methods, path(), vec(header(), 0..4), 0..4_000_u64).prop_map(|(method, path, headers, millis)| {
        let mut ask = ask(method, &path);
        ask.headers.extend(headers);
        Ask { at: NOW.saturating_add(Duration::from_millis(millis)), ..ask }
    })
}

fn good_answer() -> impl Strategy<Value = CallResult> {
    ("[a-z.]{0,4}( a[.]b)?", one(&[json!("acme-web"), json!("other"), json!("x\r\ny"), Value::Null]))
        .prop_map(|(scope, client)| {
            answer(&json!({"active": true, "scope": scope, "client_id": client, "sub": "a\u{0}"}))
        })
}

fn bad_answer() -> impl Strategy<Value = CallResult> {
    prop_oneof![
        Just(Err(CallFailure::TimedOut)),
        Just(Err(CallFailure::NoHealthyHost)),
        Just(answer(&json!({"active": false}))),
        one(&[
            json!({"active": "true"}),
            json!([true]),
            json!({"active": true, "scope": 7}),
            json!({"active": true, "exp": 1})
        ])
        .prop_map(|body| answer(&body)),
        (any::<u16>(), vec(any::<u8>(), 0..20)).prop_map(|(status, body)| {
            let headers = HeaderList::from([("content-type", "application/json"), ("retry-after", "0")]);
            let (body, trailers) = (Body::Whole(body), HeaderList::new());
            Ok(Response::Http(HttpResponse { status, headers, body, trailers }))
        }),
    ]
}

/// A valid credential wherever the API may look for one.
fn credential() -> impl Strategy<Value = (String, Vec<u8>)> {
    let places = [
        "apikey: key-of-acme",
        "authorization: Bearer t",
        "authorization: Key key-of-globex",
        "cookie: key=key-of-acme",
        "x-token: t",
    ];
    select(places.to_vec()).prop_map(|line| {
        let (name, value) = line.split_once(": ").unwrap();
        (name.to_owned(), value.as_bytes().to_vec())
    })
}

/// A complete request of another worker.
type Other = Box<dyn Fn()>;

/// Whether a header can have this value.
fn is_clean(value: &[u8]) -> bool {
    !value.iter().any(u8::is_ascii_control)
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn every_request_ends_in_a_step_that_can_be_carried_out(
        document in policy(any_access().boxed()),
        requests in vec((request(), proptest::option::of(credential()), prop_oneof![good_answer(), bad_answer()]), 1..12),
        shadow in any::<bool>(),
        junk in vec((0..4_u32, vec(any::<u8>(), 0..40)), 0..3),
    ) {
        let mut document = document;
        document["apis"][0]["shadow"] = json!(shadow);
        document["gate"]["capacity"] = json!({"meters": 2, "tokens": 2});
        let policy = load(&document);
        prop_assume!(policy.is_some());
        let gate = Driver::new(policy.unwrap(), Shared::default());
        let mut junk = junk.into_iter();
        for (mut ask, credential, reply) in requests {
            ask.headers.extend(credential);
            if let Some((slot, bytes)) = junk.next() {
                let key = ["sidegate/meters/0", "sidegate/meters/1", "sidegate/tokens/0", "sidegate/tokens/1"][slot as usize];
                let cas = gate.ports().store().store().get(key).1.unwrap_or(sidegate::store::ABSENT);
                prop_assert!(gate.ports().store().store().compare_and_swap(key, &bytes, cas).is_ok());
            }
            match through(&gate, &ask, &reply) {
                Ending::Permit(permit) => {
                    for (name, value) in &permit.edits().set {
                        prop_assert!(is_clean(value) || &**name == "cookie", "{name}: {value:?}");
                    }
                    for (name, value) in permit.into_response_headers().iter() {
                        prop_assert!(is_clean(value.as_bytes()), "{name}: {value}");
                    }
                }
                Ending::Refused(refused) => {
                    prop_assert!(!shadow || refused.trail().api().is_none(), "shadow mode refuses nothing of its API");
                    prop_assert!(refused.correlation().bytes().all(|byte| byte.is_ascii_graphic()));
                    for (name, value) in refused.reply().headers.iter() {
                        prop_assert!(is_clean(value.as_bytes()), "{name}: {value}");
                    }
                    let body: Value = serde_json::from_str(&refused.reply().body).unwrap();
                    prop_assert_eq!(&body["status"], &json!(refused.reply().status));
                }
                Ending::Answer(_) => prop_assert!(false, "there is nothing to answer with"),
            }
        }
    }

    #[test]
    fn without_a_valid_credential_no_rule_but_allow_lets_anybody_in(
        document in policy(guarded().boxed()),
        requests in vec((request(), bad_answer()), 1..12),
    ) {
        let policy = load(&document);
        prop_assume!(policy.is_some());
        let gate = Driver::new(policy.unwrap(), Shared::default());
        for (ask, reply) in requests {
            let carries_a_key = ask.headers.iter().any(|(_, value)| value.windows(11).any(|part| part == b"key-of-acme"));
            let ending = through(&gate, &ask, &reply);
            prop_assert!(carries_a_key || matches!(ending, Ending::Refused(_)), "{ask:?} {reply:?} {ending:?}");
        }
    }

    #[test]
    fn no_window_admits_more_than_its_limit_however_workers_interleave(
        turns in vec((0..3_usize, select(vec!["acme", "globex"]), 0..25_000_u64, 0..3_usize), 1..40),
        max in (1..5_u64, 1..8_u64, 1..4_u64),
    ) {
        let (a_minute, an_hour, of_all) = max;
        let mut document = document(json!([consumer("acme"), consumer("globex")]), json!([{
            "name": "a", "access": ["api_key"], "rules": [{"path": "/**"}],
            "limits": [{"metric": "hits", "max": of_all, "per": "minute", "of": "api"}],
        }]));
        let basic = json!({"limits": [{"metric": "hits", "max": a_minute, "per": "minute"}, {"metric": "hits", "max": an_hour, "per": "hour"}]});
        document["plans"] = json!({"basic": basic});
        for consumer in 0..2 {
            document["consumers"][consumer]["plan"] = json!("basic");
        }
        // Other workers' complete requests happen between one worker's read and write.
        let others: Rc<RefCell<Vec<Other>>> = Rc::default();
        let waiting = Rc::clone(&others);
        let store = Rc::new(Disturbed::new(move |_| {
            let next = waiting.borrow_mut().pop();
            if let Some(next) = next {
                next();
            }
            Ok(())
        }));
        let workers: Vec<_> = (0..3)
            .map(|worker| {
                document["revision"] = json!(format!("r{worker}"));
                Driver::new(load(&document).unwrap(), Rc::clone(&store))
            })
            .collect();
        let workers = Rc::new(workers);

        let admitted: Rc<RefCell<Vec<(&'static str, u64)>>> = Rc::default();
        let (mut now, mut turns) = (NOW, turns.into_iter());
        let run = |worker: usize, who: &'static str, at, workers: &[Driver<Rc<Disturbed<'static>>>], admitted: &RefCell<Vec<_>>| {
            let ask = Ask { at, ..get("/x").key(&format!("key-of-{who}")) };
            if let Ending::Permit(_) = through(&workers[worker], &ask, &Err(CallFailure::Failed)) {
                admitted.borrow_mut().push((who, at.seconds()));
            }
        };
        while let Some((worker, who, millis, between)) = turns.next() {
            now = now.saturating_add(Duration::from_millis(millis));
            // One for each attempt.
            for (other, whose, _, _) in turns.by_ref().take(between) {
                let (workers, admitted, at) = (Rc::downgrade(&workers), Rc::clone(&admitted), now);
                others.borrow_mut().push(Box::new(move || {
                    if let Some(workers) = workers.upgrade() {
                        run(other, whose, at, &workers, &admitted);
                    }
                }));
            }
            run(worker, who, now, &workers, &admitted);
            others.borrow_mut().clear();
        }

        let mut windows: BTreeMap<(&str, &str, u64), u64> = BTreeMap::new();
        for (who, second) in admitted.borrow().iter() {
            for window in [("minute", *who, second / 60), ("hour", *who, second / 3600), ("of all", "", second / 60)] {
                *windows.entry(window).or_default() += 1;
            }
        }
        let most = BTreeMap::from([("minute", a_minute), ("hour", an_hour), ("of all", of_all)]);
        for (window, count) in &windows {
            prop_assert!(*count <= most[window.0], "{window:?}: {count} of {most:?}");
        }
        prop_assert!(!admitted.borrow().is_empty(), "the first request finds room");
    }
}

#[test]
fn most_policies_of_the_generator_compile_and_some_requests_pass() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    let (mut compiled, mut passed) = (0, 0);
    for _ in 0..200 {
        let document = policy(any_access().boxed()).new_tree(&mut runner).unwrap().current();
        let Some(policy) = load(&document) else { continue };
        compiled += 1;
        let gate = Driver::new(policy, Shared::default());
        for path in ["/x", "/v1/orders/7"] {
            for ask in [get(path).key("key-of-acme"), get(path).token("t")] {
                let ending = through(
                    &gate,
                    &ask,
                    &answer(&json!({"active": true, "client_id": "acme-web", "scope": "a"})),
                );
                passed += usize::from(matches!(ending, Ending::Permit(_)));
            }
        }
    }
    assert!(compiled > 100, "{compiled} of 200 compile");
    assert!(passed > 50, "{passed} requests pass");
}
