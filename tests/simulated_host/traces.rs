//! What requests leave behind: in the store's metrics, log lines, filter state and response headers. Never a
//! secret.

use super::*;

#[test]
fn rate_limit_headers_reach_the_response_also_after_a_wait() {
    let (script, thread) = thread();
    let streams = waiting(&thread, 1);
    thread.reply(1, &active());
    thread.response(streams[0]);
    thread.response(streams[0]);
    let shows = |line: &str| line.starts_with("response +ratelimit: ") && line.contains(";r=199;t=");
    let count = script.written.borrow().iter().filter(|(_, line)| shows(line)).count();
    assert_eq!(count, 1, "{:?}", script.written.borrow());
}

#[test]
fn a_store_that_is_always_contended_refuses_and_is_counted() {
    let script = Script::new();
    let thread = start(&script, Disturbed::contended_after(0), &policy());
    let (stream, outcome) = thread.request(get("/v1/x").key("key-of-acme"));
    assert_eq!(outcome, "25");
    assert_eq!(script.end(stream), [End::Answered(503, "25".to_owned())]);
    assert_eq!(script.metric("sidegate.store_conflicts"), 127);
    let streams = waiting(&thread, 2);
    thread.reply(1, &active());
    assert_eq!(outcomes(&script, &streams), all("25"));
}

/// Istio's default level hides lines at info, so everything that an operator must notice is a warning.
#[test]
fn faults_and_loads_are_warnings_and_faults_are_limited_per_second() {
    let (script, _) = thread();
    let loads: Vec<_> = script.logs.take();
    assert!(
        matches!(&loads[..], [(log::Level::Warn, line)] if line.starts_with("policy loaded revision=")),
        "{loads:?}"
    );

    // Twelve refusals in one second, then one in the next.
    let thread = start(&script, Disturbed::contended_after(0), &policy());
    let refuse = || assert_eq!(thread.request(get("/v1/x").key("key-of-acme")).1, "25");
    (0..12).for_each(|_| refuse());
    let lines = script.logs.take();
    assert_eq!(lines.len(), 10);
    for (level, line) in &lines {
        assert_eq!(*level, log::Level::Warn);
        assert!(line.starts_with("refused code=25 api=orders") && !line.contains("left_out"), "{line}");
    }
    assert_eq!(thread.request(get("/v1/x").key("guess")).1, "13");
    assert_eq!(script.logs.take().len(), 1, "lines about callers are not limited");
    script.is_quiet.set(true);
    // The host is asked once per second.
    script.wait(Duration::from_secs(1));
    assert_eq!(thread.request(get("/v1/x").key("guess")).1, "13");
    assert_eq!(script.logs.take(), [], "the host does not want them");
    script.wait(Duration::from_secs(1));
    refuse();
    let lines = script.logs.take();
    assert!(matches!(&lines[..], [(log::Level::Warn, line)] if line.ends_with(" left_out=2")), "{lines:?}");
}

#[test]
fn foreign_bytes_in_the_store_are_counted_and_refuse_no_request() {
    let store = Shared::default();
    let mut small = policy();
    small["gate"]["capacity"] = json!({"meters": 1, "tokens": 1});
    for key in ["sidegate/meters/0", "sidegate/tokens/0"] {
        store.compare_and_swap(key, b"junk", ABSENT).expect("it is new");
    }
    let script = Script::new();
    let thread = start(&script, store, &small);
    let streams = waiting(&thread, 1);
    thread.reply(1, &active());
    assert_eq!(outcomes(&script, &streams), all("ok"));
    assert_eq!(thread.request(with_token("t0ken")).1, "ok");
    assert_eq!(
        script.metric("sidegate.store_corrupt"),
        3,
        "a read and a write of the cache, a write of the meter"
    );
}

#[test]
fn each_refusal_leaves_one_line_that_names_what_is_known() {
    let (script, thread) = thread();
    script.logs.borrow_mut().clear();
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
            "refused code=20 api=orders rule=/** consumer=- id=id-1 reason=\"the credential appears twice\"",
        ),
    ] {
        let (_, _) = thread.request(ask.with("x-request-id", "id-1"));
        let lines: Vec<_> = script.logs.take();
        assert_eq!(lines, [(log::Level::Info, expected.to_owned())]);
    }
    assert_eq!(thread.request(get("/v1/x").key("key-of-acme")).1, "ok");
    assert_eq!(script.logs.take(), [], "an admitted request leaves none");

    let shadowed = start(&script, Shared::default(), &shadow);
    script.logs.take();
    let (passed, outcome) = shadowed.request(get("/v1/x").key("guess").with("x-request-id", "id-1"));
    assert_eq!(outcome, "ok");
    let mut state: Vec<_> = script.state.take().into_iter().collect();
    state.retain(|((_, name), _)| name == "sidegate.code");
    let code = ((passed, "sidegate.code".to_owned()), "13".to_owned());
    assert_eq!(state, [code], "a refusal that is sent shows its code itself");
    let expected =
        "would refuse code=13 api=orders rule=/** consumer=- id=id-1 reason=\"the API key is unknown\"";
    assert_eq!(script.logs.take(), [(log::Level::Info, expected.to_owned())]);
    assert_eq!(script.metric("sidegate.api=.=orders;.;outcome=.=shadowed;.;code=.=13;.;decisions"), 1);
}

#[test]
fn a_refusal_over_the_limit_names_the_consumer() {
    let script = Script::new();
    let mut limited = policy();
    limited["apis"][0]["limits"] = json!([{"metric": "hits", "max": 0, "per": "day"}]);
    limited["gate"]["filter_state"] = json!("all");
    let thread = start(&script, Shared::default(), &limited);
    let (stream, outcome) = thread.request(get("/v1/x").key("key-of-acme"));
    assert_eq!(outcome, "27");
    assert!(script.logs.borrow().iter().any(|(_, line)| line.contains(" consumer=acme ")));
    for (name, value) in [("api", "orders"), ("rule", "/**"), ("consumer", "acme"), ("plan", "basic")] {
        let state = script.state.borrow();
        assert_eq!(
            state.get(&(stream, format!("sidegate.{name}"))).map(String::as_str),
            Some(value),
            "{name}"
        );
    }
}

/// Everything in requests or in the policy that must not be visible anywhere.
const SECRETS: [&str; 7] =
    ["key-of-acme", "key-unknown", "token-good", "token-bad", "token-lost", PROVIDER_SECRET, DEBUG_SECRET];

#[test]
fn no_log_line_metric_filter_state_reply_or_explanation_holds_a_secret() {
    for shadow in [false, true] {
        let script = Script::new();
        let mut document = policy();
        document["apis"][0]["shadow"] = json!(shadow);
        document["apis"][0]["credentials"] =
            json!({"api_key": [{"header": "apikey"}, {"query": "api_key"}, {"cookie": "key"}]});
        let thread = start(&script, Shared::default(), &document);
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
        let questions: Vec<_> = script
            .calls
            .borrow()
            .iter()
            .map(|(_, call)| match &call.transport {
                Transport::Http(request) => String::from_utf8_lossy(&request.body).into_owned(),
                Transport::Grpc(request) => panic!("a gRPC call: {}", request.service),
            })
            .collect();
        for (place, question) in questions.iter().enumerate() {
            let reply = if question.contains("token-good") {
                active()
            } else if question.contains("token-bad") {
                answer(&json!({"active": false}))
            } else {
                http(401, &[], "token-lost")
            };
            thread.reply(place + 1, &reply);
        }
        let mut seen: Vec<String> = script.logs.borrow().iter().map(|(_, line)| line.clone()).collect();
        seen.extend(script.metrics.borrow().keys().cloned());
        seen.extend(script.state.borrow().iter().map(|((_, name), value)| format!("{name}={value}")));
        seen.extend(script.written.borrow().iter().map(|(_, text)| text.clone()));
        assert!(seen.len() > 50, "there is something to look at");
        for line in &seen {
            for secret in SECRETS {
                assert!(!line.contains(secret), "{secret} in {line}");
                assert!(!line.contains(&sha256(secret)), "the digest of {secret} in {line}");
            }
            assert!(!line.chars().any(|c| c.is_control()), "a control character in {line:?}");
        }
        assert_eq!(script.now.get(), NOW);
    }
}

#[test]
fn one_line_and_a_metric_say_that_a_limit_is_nearly_used_up() {
    for (at, limit, hits) in [
        (None, json!({"max": 5, "per": "day"}), [0, 0, 0, 1, 0]),
        (None, json!({"max": 100, "per": "day"}), [0; 5]),
        (Some(json!("none")), json!({"max": 5, "per": "day"}), [0; 5]),
        (Some(json!(100)), json!({"max": 5, "per": "eternity"}), [0, 0, 0, 0, 1]),
        (Some(json!(1)), json!({"max": 5, "per": "year"}), [1, 0, 0, 0, 0]),
        (Some(json!(41)), json!({"max": 5, "per": "hour", "window": "sliding"}), [0, 0, 1, 0, 0]),
    ] {
        let script = Script::new();
        let mut alerted = policy();
        alerted["apis"][0]["limits"] = json!([limit]);
        alerted["apis"][0]["limits"][0]["metric"] = json!("hits");
        if let Some(at) = &at {
            alerted["gate"]["quota_alert_at"] = at.clone();
        }
        let thread = start(&script, Shared::default(), &alerted);
        script.logs.take();
        let at = at.as_ref().and_then(serde_json::Value::as_u64).unwrap_or(80);
        for key in ["acme", "globex"] {
            for expected in hits {
                assert_eq!(thread.request(get("/v1/x").key(&format!("key-of-{key}"))).1, "ok");
                let (max, per) = (&limit["max"], limit["per"].as_str().unwrap());
                let line =
                    format!("quota alert limit=hits-{per} max={max} at={at}% api=orders consumer={key}");
                let expected = vec![(log::Level::Warn, line); expected];
                assert_eq!(script.logs.take(), expected, "{limit} at {at}");
            }
        }
        let metric = "sidegate.api=.=orders;.;quota_alerts";
        let total = 2 * hits.iter().sum::<usize>() as u64;
        assert_eq!(script.metric(metric), total, "{limit} at {at}");
        assert_eq!(thread.request(get("/v1/x").key("key-of-acme")).1 == "14", limit["max"] == 5);
    }
}

/// Rates may be used up all the time.
#[test]
fn rates_that_are_nearly_used_up_are_counted_and_their_lines_are_at_info() {
    for per in ["second", "minute"] {
        for is_quiet in [false, true] {
            let script = Script::new();
            script.is_quiet.set(is_quiet);
            let mut alerted = policy();
            alerted["apis"][0]["limits"] = json!([{"metric": "hits", "max": 2, "per": per}]);
            let thread = start(&script, Shared::default(), &alerted);
            script.logs.take();
            for _ in 0..2 {
                assert_eq!(thread.request(get("/v1/x").key("key-of-acme")).1, "ok");
            }
            let line = format!("quota alert limit=hits-{per} max=2 at=80% api=orders consumer=acme");
            let lines = if is_quiet { Vec::new() } else { vec![(log::Level::Info, line)] };
            assert_eq!(script.logs.take(), lines);
            assert_eq!(script.metric("sidegate.api=.=orders;.;quota_alerts"), 1);
        }
    }
}
