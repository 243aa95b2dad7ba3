//! The status of responses, which is read where a provider wants it reported as `log[code]`.

use sidegate::provider::HttpRequest;

use super::*;

/// Codes are reported for the rules of one provider, and not for those of the other.
fn policy() -> Value {
    let provider = |service: &str, codes: bool| {
        json!({"service_management": {
            "cluster": service, "url": "https://su1", "service_id": service, "service_token": "t",
            "reporting": {"every": "10s", "codes": codes},
        }})
    };
    let rule = |path: &str, provider: &str| json!({"path": path, "access": [{"threescale": {"provider": provider}}]});
    let mut mocked = rule("/teapot", "coded");
    mocked["mock"] = json!({"responses": [{"path": "/teapot", "status": 418, "body": "short and stout"}]});
    let api = json!({
        "name": "words", "credentials": {"api_key": [{"query": "user_key"}]},
        "rules": [rule("/coded", "coded"), mocked, rule("/silent", "silent"), {"path": "/open", "access": ["allow"]}],
        "metering": [{"path": "/**", "metric": "hits"}],
    });
    let mut document = document(json!([consumer("acme")]), json!([api]));
    document["providers"] = json!({"coded": provider("coded", true), "silent": provider("silent", false)});
    document
}

/// The bodies of the reports so far, without the prefix of each parameter.
fn reports(script: &Script) -> Vec<String> {
    let calls = script.calls.borrow();
    let bodies = calls.iter().filter_map(|(_, call)| match &call.transport {
        Transport::Http(HttpRequest { method: "POST", body, .. }) => Some(body),
        _ => None,
    });
    bodies.map(|body| String::from_utf8_lossy(body).replace("%5B", "[").replace("%5D", "]")).collect()
}

/// Starts a request, and has the backend admit it if it asks.
fn admitted(thread: &Thread<Shared>, path: &str) -> ContextId {
    let (stream, outcome) = thread.request(get(path));
    if outcome == "waits" {
        let number = thread.script.calls.borrow().len();
        thread.reply(number, &http(200, &[], "<status><authorized>true</authorized></status>"));
    }
    stream
}

#[test]
fn the_status_of_a_response_is_reported_once_whoever_answers() {
    let script = Script::new();
    let thread = start(&script, Shared::default(), &policy());
    thread.start_tasks();
    let [served, failed, gone, unreadable] = [(); 4].map(|()| admitted(&thread, "/coded?user_key=k"));
    thread.response_of(served, 200);
    thread.response_of(served, 500);
    thread.response_of(failed, 503);
    thread.gone(gone);
    thread.response(unreadable);
    let mocked = admitted(&thread, "/teapot?user_key=k");
    assert_eq!(script.end(mocked), [End::Answered(418, String::new())]);
    thread.response_of(mocked, 418);
    assert_eq!(*script.read_statuses.borrow(), [served, failed, unreadable], "once, and a mock says it");

    thread.wait(Duration::from_secs(11));
    let [report] = reports(&script).try_into().expect("one report");
    for (code, times) in [(200, 1), (503, 1), (418, 1), (500, 0)] {
        assert_eq!(report.matches(&format!("[log][code]={code}")).count(), times, "{code} in {report}");
    }
    assert_eq!(report.matches("[log][code]").count(), 3, "{report}");
    let used: u64 =
        report.split('&').filter_map(|part| part.split_once("[usage][hits]=")?.1.parse::<u64>().ok()).sum();
    assert_eq!(used, 5, "what has no code is used all the same: {report}");
}

#[test]
fn no_status_is_read_for_refusals_and_where_no_codes_are_reported() {
    let script = Script::new();
    let thread = start(&script, Shared::default(), &policy());
    thread.response_of(admitted(&thread, "/silent?user_key=k"), 200);
    thread.response_of(admitted(&thread, "/open"), 200);
    let (unknown, _) = thread.request(get("/coded?user_key=unknown"));
    let number = script.calls.borrow().len();
    thread.reply(number, &http(403, &[], "<error code=\"user_key_invalid\">no</error>"));
    assert_eq!(script.outcome(unknown), "13");
    thread.response_of(unknown, 401);
    assert_eq!(*script.read_statuses.borrow(), [0; 0]);
}
