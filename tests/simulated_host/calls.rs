//! Calls to the provider: requests with the same question share one, and none hangs, whatever happens to
//! calls and streams.

use super::*;

#[test]
fn all_requests_with_one_token_wait_for_one_call_and_all_go_on() {
    let (script, thread) = thread();
    let streams = waiting(&thread, 100);
    assert_eq!(script.calls.borrow().len(), 1);
    script.wait(Duration::from_millis(15));
    thread.reply(1, &active());
    assert_eq!(outcomes(&script, &streams), all("ok"));
    assert_eq!(thread.request(with_token("t0ken")).1, "ok", "and the next finds the answer in the cache");
    assert_eq!(script.calls.borrow().len(), 1);
    for (name, expected) in [
        ("sidegate.provider=.=hydra;.;result=.=ok;.;provider_calls", 1),
        ("sidegate.provider=.=hydra;.;provider_call_milliseconds", 15),
        ("sidegate.result=.=miss;.;identity_lookups", 100),
        ("sidegate.result=.=hit;.;identity_lookups", 1),
        ("sidegate.api=.=orders;.;outcome=.=admitted;.;code=.=none;.;decisions", 101),
    ] {
        assert_eq!(script.metric(name), expected, "{name}");
    }
}

#[test]
fn each_waiting_request_is_edited_and_decided_on_its_own() {
    let (script, thread) = thread();
    let (lax, _) = thread.request(with_token("t0ken"));
    let (scoped, _) = thread.request(get("/v1/scoped").token("t0ken"));
    let (other, _) = thread.request(with_token("other"));
    assert_eq!(script.calls.borrow().len(), 2);
    thread.reply(1, &active());
    assert_eq!([lax, scoped, other].map(|stream| script.outcome(stream)), ["ok", "23", "waits"]);
    let edited: Vec<_> = script
        .written
        .borrow()
        .iter()
        .filter(|(_, text)| text == "request x-consumer: acme")
        .map(|(stream, _)| *stream)
        .collect();
    assert_eq!(edited, [lax], "written while its own stream was the current one");
    let state = script.state.borrow();
    assert_eq!(state.get(&(lax, "sidegate.consumer".to_owned())).map(String::as_str), Some("acme"));
    assert!(!state.keys().any(|(stream, _)| *stream == other));
}

#[test]
fn a_call_whose_stream_ends_is_made_again_by_the_root() {
    let (script, thread) = thread();
    let streams = waiting(&thread, 3);
    thread.gone(streams[0]);
    thread.reply(1, &active());
    assert_eq!(outcomes(&script, &streams[1..]), all("waits"), "the reply is lost");
    assert!(thread.tick(), "the root's timer is set");
    assert!(!thread.tick(), "once");
    let made_by: Vec<_> = script.calls.borrow().iter().map(|(stream, _)| *stream).collect();
    assert_eq!(made_by, [streams[0], ROOT]);
    assert!(script.calls.borrow()[0].1 == script.calls.borrow()[1].1, "it asks the same");
    let late = waiting(&thread, 1);
    thread.reply(2, &active());
    assert_eq!(outcomes(&script, &[&streams[1..], &late].concat()), all("ok"));
    assert_eq!(script.outcome(streams[0]), "waits", "a stream that is gone is not touched");
}

#[test]
fn requests_that_wait_for_a_call_that_the_root_cannot_make_are_refused() {
    let unavailable = CallFailure::Failed;
    for (reply, code) in
        [(unavailable, "24"), (CallFailure::UnknownCluster, "09"), (CallFailure::NoHealthyHost, "10")]
    {
        let (script, thread) = thread();
        let streams = waiting(&thread, 3);
        thread.gone(streams[0]);
        script.refuses_calls.borrow_mut().push(reply);
        assert!(thread.tick());
        assert_eq!(outcomes(&script, &streams[1..]), all(code));
    }
}

#[test]
fn a_call_that_the_root_cannot_make_takes_no_other_call_with_it() {
    let (script, thread) = thread();
    let streams: Vec<_> = ["one", "one", "two", "two", "three", "three"]
        .map(|token| thread.request(with_token(token)).0)
        .to_vec();
    for leader in [0, 2, 4] {
        thread.gone(streams[leader]);
    }
    script.refuses_calls.borrow_mut().push(CallFailure::NoHealthyHost);
    assert!(thread.tick());
    let made_by: Vec<_> = script.calls.borrow().iter().skip(3).map(|(stream, _)| *stream).collect();
    assert_eq!(
        made_by,
        [ROOT, ROOT],
        "all these calls are the root's, and none is made for a stream that it has just answered"
    );
    for call in [4, 5] {
        thread.reply(call, &active());
    }
    let mut ends: Vec<_> = [1, 3, 5].map(|place: usize| script.outcome(streams[place])).to_vec();
    ends.sort();
    assert_eq!(ends, ["10", "ok", "ok"]);
}

#[test]
fn a_stream_that_leaves_while_waiting_is_not_touched_and_the_others_go_on() {
    let (script, thread) = thread();
    let streams = waiting(&thread, 4);
    thread.gone(streams[1]);
    thread.gone(streams[3]);
    assert!(!thread.tick(), "there is still a leader");
    thread.reply(1, &active());
    assert_eq!(
        [0, 1, 2, 3].map(|place: usize| script.outcome(streams[place])),
        ["ok", "waits", "ok", "waits"]
    );
}

#[test]
fn a_reply_after_everybody_left_changes_nothing() {
    let (script, thread) = thread();
    let streams = waiting(&thread, 2);
    thread.gone(streams[1]);
    thread.gone(streams[0]);
    assert!(!thread.tick());
    let again = waiting(&thread, 1);
    assert_eq!(script.calls.borrow().len(), 2, "the next request makes a new call");
    thread.deliver(ROOT, CallId::Http(1), &active());
    assert_eq!(outcomes(&script, &again), all("waits"), "and the old answer is not for it");
    assert_eq!(outcomes(&script, &streams), all("waits"), "nor for those that left");
    thread.reply(2, &active());
    assert_eq!(outcomes(&script, &again), all("ok"));
}

#[test]
fn all_streams_may_leave_while_the_roots_call_is_in_flight() {
    let (script, thread) = thread();
    let streams = waiting(&thread, 2);
    thread.gone(streams[0]);
    thread.tick();
    thread.gone(streams[1]);
    thread.reply(2, &active());
    assert_eq!(outcomes(&script, &streams), all("waits"));
    assert_eq!(waiting(&thread, 1).len(), 1);
    assert_eq!(script.calls.borrow().len(), 3);
}

#[test]
fn a_reply_that_comes_twice_or_to_no_call_counts_once() {
    let (script, thread) = thread();
    let streams = waiting(&thread, 2);
    thread.deliver(ROOT, CallId::Http(99), &active());
    assert_eq!(outcomes(&script, &streams), all("waits"));
    for reply in [active(), Err(CallFailure::Failed), active()] {
        thread.reply(1, &reply);
    }
    assert_eq!(outcomes(&script, &streams), all("ok"));
    assert_eq!(script.metric("sidegate.provider=.=hydra;.;result=.=ok;.;provider_calls"), 1);
}

#[test]
fn a_stream_that_vanishes_while_another_is_answered_is_not_touched() {
    let (script, thread) = thread();
    let streams = waiting(&thread, 3);
    thread.resets_when_answering(streams[1]);
    thread.reply(1, &answer(&json!({"active": false})));
    assert_eq!(
        [0, 1, 2].map(|place: usize| script.outcome(streams[place])),
        ["22", "waits", "22"],
        "each stream that is left ends once"
    );
}

#[test]
fn a_call_that_envoy_rejects_refuses_at_once() {
    for (reply, code, result) in [
        (CallFailure::UnknownCluster, "09", "unknown_cluster"),
        (CallFailure::NoHealthyHost, "10", "no_healthy_host"),
    ] {
        let (script, thread) = thread();
        script.refuses_calls.borrow_mut().push(reply);
        assert_eq!(thread.request(with_token("t0ken")).1, code);
        assert_eq!(
            script.metric(&format!("sidegate.provider=.=hydra;.;result=.={result};.;provider_calls")),
            1
        );
        let streams = waiting(&thread, 1);
        thread.reply(1, &active());
        assert_eq!(outcomes(&script, &streams), all("ok"), "the next call succeeds");
    }
}

/// A request with this token from the address with this number.
fn from(address: usize, token: &str) -> Ask {
    let address = format!("198.18.{}.{}", address / 256, address % 256);
    Ask { address: Some(address.leak()), ..with_token(token) }
}

/// How often each outcome came.
fn tally<S: Store + 'static>(
    thread: &Thread<S>,
    asks: impl IntoIterator<Item = Ask>,
) -> BTreeMap<String, usize> {
    let mut tally = BTreeMap::new();
    for ask in asks {
        *tally.entry(thread.request(ask).1).or_default() += 1;
    }
    tally
}

fn counted(outcomes: &[(&str, usize)]) -> BTreeMap<String, usize> {
    outcomes.iter().map(|(outcome, count)| ((*outcome).to_owned(), *count)).collect()
}

#[test]
fn the_calls_of_one_worker_are_limited() {
    let (script, thread) = thread();
    let asks = (0..MOST_FOR_STRANGERS).map(|number| from(number, &format!("token-{number}")));
    assert_eq!(tally(&thread, asks), counted(&[("waits", MOST_FOR_STRANGERS)]));
    assert_eq!(thread.request(from(9999, "one-more")).1, "24");
    assert_eq!(script.calls.borrow().len(), MOST_FOR_STRANGERS);
    assert_eq!(
        thread.request(from(9999, "token-0")).1,
        "waits",
        "more requests may wait for a call in flight"
    );
    assert_eq!(
        thread.request(get("/v1/x").key("key-of-acme")).1,
        "ok",
        "a request without a call need not wait"
    );
    thread.reply(1, &active());
    assert_eq!(thread.request(from(9999, "one-more")).1, "waits", "there is room again");
}

#[test]
fn a_flood_of_made_up_tokens_refuses_neither_known_tokens_nor_other_addresses() {
    let (script, thread) = thread();
    let known = || (0..20).map(|number| with_token(&format!("known-{number}")));
    assert_eq!(tally(&thread, known()), counted(&[("waits", 20)]));
    (1..=20).for_each(|call| thread.reply(call, &active()));
    thread.wait(Duration::from_secs(3000));

    let made_up = (0..1500).map(|number| with_token(&format!("made-up-{number}")));
    assert_eq!(
        tally(&thread, made_up),
        counted(&[("waits", SHARED_OUT_FROM), ("24", 1500 - SHARED_OUT_FROM)])
    );
    assert_eq!(tally(&thread, known()), counted(&[("waits", 20)]), "known tokens, from the same address");
    let new = (0..20).map(|number| from(number, &format!("new-{number}")));
    assert_eq!(tally(&thread, new), counted(&[("waits", 20)]), "new tokens, from other addresses");
    let calls = script.calls.borrow().len();
    assert_eq!(calls, 20 + SHARED_OUT_FROM + 40);
    (calls - 39..=calls).for_each(|call| thread.reply(call, &active()));
    let admitted = script.ends.borrow().values().filter(|ends| **ends == [End::Resumed]).count();
    assert_eq!(admitted, 60);
}

#[test]
fn a_flood_from_everywhere_leaves_room_for_known_tokens() {
    let (script, thread) = thread();
    assert_eq!(thread.request(with_token("known")).1, "waits");
    thread.reply(1, &active());
    thread.wait(Duration::from_secs(60));
    let made_up = (0..1500).map(|number| from(number, &format!("made-up-{number}")));
    let refused = 1500 - MOST_FOR_STRANGERS;
    assert_eq!(tally(&thread, made_up), counted(&[("waits", MOST_FOR_STRANGERS), ("24", refused)]));
    let (stream, outcome) = thread.request(with_token("known"));
    assert_eq!(outcome, "waits");
    thread.reply(script.calls.borrow().len(), &active());
    assert_eq!(script.outcome(stream), "ok");
    thread.wait(Duration::from_secs(3600));
    assert_eq!(thread.request(with_token("known")).1, "24", "after an hour, it is like any other");
}

#[test]
fn one_network_is_one_address() {
    let (script, thread) = thread();
    let made_up = (0..1500).map(|number| Ask {
        address: Some(format!("[2001:db8::{number:x}]").leak()),
        ..with_token(&format!("made-up-{number}"))
    });
    tally(&thread, made_up);
    assert_eq!(script.calls.borrow().len(), SHARED_OUT_FROM);
}

#[test]
fn every_request_that_stays_ends_once_however_its_calls_end() {
    let replies = [
        active(),
        answer(&json!({"active": false})),
        answer(&json!({"active": "true"})),
        Err(CallFailure::TimedOut),
        Err(CallFailure::Failed),
    ];
    for (place, reply) in replies.iter().enumerate() {
        let (script, thread) = thread();
        let streams = waiting(&thread, 6);
        thread.gone(streams[place]);
        thread.reply(1, reply);
        if thread.tick() {
            thread.reply(2, reply);
        }
        for (at, stream) in streams.iter().enumerate() {
            assert_eq!(
                script.end(*stream).len(),
                usize::from(at != place),
                "{reply:?}: {:?}",
                script.end(*stream)
            );
        }
    }
}
