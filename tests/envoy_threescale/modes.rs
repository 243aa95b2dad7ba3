//! The four modes of an outage, questions that share a call, and integration errors.

use std::time::Duration;

use serde_json::{Value, json};
use sidegate_harness::{
    Request, eventually, send, send_all,
    threescale::{Application, Fault, Period, Service, Threescale},
};

use super::{KEY, TOKEN, UNAVAILABLE, get, of_provider, policy, service, start, verdict};

/// The modes, and what becomes of a request in an outage: whose last decision was "yes", was "no", or that
/// has none.
const MODES: [(&str, [u16; 3]); 4] = [
    ("none", [503, 503, 503]),
    ("resilient", [200, 403, 503]),
    ("allow", [200, 403, 200]),
    ("strict", [503, 503, 503]),
];

/// A policy with a provider and an API for each mode.
fn of_all_modes() -> Value {
    let mut document = policy(&json!({"ttl": "100ms"}));
    let (provider, api) = (document["providers"]["su1"].clone(), document["apis"][0].clone());
    (document["providers"], document["apis"]) = (json!({}), json!([]));
    for (mode, _) in MODES {
        document["providers"][mode] = provider.clone();
        document["providers"][mode]["service_management"]["service_id"] = json!(mode);
        document["providers"][mode]["service_management"]["caching"] = json!(mode);
        let mut api = api.clone();
        api["name"] = json!(mode);
        api["base_path"] = json!(format!("/{mode}"));
        api["rules"] = json!([{"path": "/**", "access": [{"threescale": {"provider": mode}}]}]);
        document["apis"].as_array_mut().unwrap().push(api);
    }
    document
}

#[tokio::test]
async fn an_outage_is_what_the_mode_says() {
    let services = MODES.map(|(mode, _)| {
        Service::of_user_keys(mode, TOKEN)
            .metric("reads", Some("hits"))
            .plan("Sandbox", &[])
            .application(Application::new("a", "Sandbox").user_key(KEY))
            .application(Application::new("off", "Sandbox").user_key("off").suspended())
    });
    let backend = Threescale::start(services).await;
    let (envoy, _upstream) = start(&backend, &of_all_modes(), 2).await;
    let ask = async |mode: &str, key: &str| {
        envoy.send(Request::get(format!("/{mode}/words?user_key={key}"))).await.status
    };
    for (mode, _) in MODES {
        assert_eq!((ask(mode, KEY).await, ask(mode, "off").await), (200, 403), "{mode}");
    }
    for fault in [Fault::Stopped, Fault::Status(500), Fault::Bytes(b"<status>".to_vec())] {
        backend.now(fault.clone());
        // The strict decisions were made last: once they are too old, all are.
        eventually("the decisions are too old", async || (ask("strict", "off").await == 503).then_some(()))
            .await;
        for (mode, expected) in MODES {
            let found = [ask(mode, KEY).await, ask(mode, "off").await, ask(mode, "new").await];
            assert_eq!(found, expected, "{mode} {fault:?}");
        }
    }
}

#[tokio::test]
async fn concurrent_questions_share_a_call() {
    let backend = Threescale::start([service()]).await;
    let (envoy, _upstream) = start(&backend, &policy(&json!({})), 1).await;
    backend.now(Fault::Slow(Duration::from_millis(500)));
    let answers = send_all(envoy.address().await, 16, vec![get(KEY); 16]).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(backend.calls("/transactions/authorize.xml"), 1);
}

/// Decisions are kept for an hour here, but a denial because of a limit ends with the limit's period. The
/// stand-in is fifteen seconds before the end of a minute.
#[tokio::test]
async fn a_denial_is_repeated_until_the_limits_period_ends_and_no_longer() {
    let service = Service::of_user_keys("123", TOKEN)
        .metric("reads", Some("hits"))
        .plan("Tight", &[("hits", Period::Minute, 5)])
        .application(Application::new("a", "Tight").user_key(KEY));
    let backend = Threescale::start([service]).await;
    backend.at("2026-11-20T12:00:45Z");
    let used = format!(
        "service_token={TOKEN}&service_id=123&transactions[0][user_key]={KEY}&transactions[0][usage][hits]=5"
    );
    let report = Request::new("POST", "/transactions.xml").host("backend").body(used);
    let report = report.header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(send(backend.address(), &report).await.expect("an answer").status, 202);
    let asked = || backend.calls("/transactions/authorize.xml");

    let (envoy, _upstream) = start(&backend, &policy(&json!({})), 2).await;
    let denied = envoy.send(get(KEY)).await;
    assert_eq!((verdict(&denied), denied.header("retry-after")), ((429, Some("14")), Some("15")));
    for answer in send_all(envoy.address().await, 8, vec![get(KEY); 40]).await {
        assert_eq!(verdict(&answer), (429, Some("14")));
    }
    assert_eq!(asked(), 1, "the denial is cached for both workers");

    // The next minute begins at the backend. Nobody asks again before the denial ends here.
    backend.at("2026-11-20T12:01:00Z");
    let again = envoy.send(get(KEY)).await;
    assert_eq!((verdict(&again), asked()), ((429, Some("14")), 1));
    eventually("the denial ends", async || (envoy.send(get(KEY)).await.status == 200).then_some(())).await;
    assert_eq!(asked(), 2);
}

#[tokio::test]
async fn integration_errors_name_api_and_rule() {
    let wrong_metric = Service::of_user_keys("123", TOKEN)
        .plan("Sandbox", &[])
        .application(Application::new("a", "Sandbox").user_key(KEY));
    for (services, reason) in [
        (wrong_metric, "metric_invalid"),
        (Service::of_user_keys("123", "another-token"), "service_token_invalid"),
    ] {
        let backend = Threescale::start([services]).await;
        let (envoy, _upstream) = start(&backend, &policy(&json!({"caching": "allow"})), 1).await;
        assert_eq!(verdict(&envoy.send(get(KEY)).await), UNAVAILABLE, "{reason}: no outage in any mode");
        let counted = of_provider(&envoy, &format!("reason=.={reason};.;backend_rejections")).await;
        assert_eq!(counted, 1, "{reason}");
        let line = eventually("the line in the log", async || {
            let log = envoy.log();
            log.lines().find(|line| line.contains("refused code=24")).map(str::to_owned)
        })
        .await;
        for part in ["api=words", "rule=/**", reason] {
            assert!(line.contains(part), "{part} in {line}");
        }
    }
}
