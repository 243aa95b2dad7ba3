//! 3scale's backend in real Envoy, played by a stand-in: what its answers mean for a request, how usage gets
//! there, and what an outage does to both.
#![cfg(test)]
#![cfg(not(target_family = "wasm"))]

#[path = "envoy_threescale/modes.rs"]
mod modes;

use std::time::Duration;

use serde_json::{Value, json};
use sidegate_harness::{
    Callers, Envoy, Listener, Request, Response, Setup, Upstream, Wasm, eventually, route, route_by_header,
    send_all,
    threescale::{Application, Fault, Period, Service, Threescale},
};

/// Code 24.
const UNAVAILABLE: (u16, Option<&str>) = (503, Some("24"));
const TOKEN: &str = "s3rvice-t0ken";
const KEY: &str = "us3r-k3y";
const SECRET: &str = "app-s3cret";

fn service() -> Service {
    Service::of_user_keys("123", TOKEN)
        .metric("reads", Some("hits"))
        .plan("Sandbox", &[])
        .plan("Production", &[])
        .plan("Limited", &[("hits", Period::Day, 50), ("reads", Period::Week, 1_000)])
        .application(Application::new("a", "Sandbox").user_key(KEY))
        .application(Application::new("limited", "Limited").user_key("limited"))
        .application(Application::new("off", "Sandbox").user_key("off").suspended())
}

/// A policy for the backend, whose settings are changed.
fn policy(changes: &Value) -> Value {
    let mut settings = json!({
        "cluster": "su1", "url": "http://su1", "service_id": "123", "service_token": {"env": "TOKEN"},
        "timeout": "5s", "ttl": "1h", "cooldown": "0s", "reporting": {"every": "1s"},
    });
    for (name, value) in changes.as_object().unwrap_or(&serde_json::Map::new()) {
        settings[name] = value.clone();
    }
    json!({
        "sidegate": "v1",
        "gate": {"filter_state": {"only": ["cache"]}},
        "providers": {"su1": {"service_management": settings}},
        "metrics": {"reads": {}},
        "plans": {"Sandbox": {"environment": "sandbox"}, "Production": {"environment": "production"}},
        "apis": [{
            "name": "words",
            "credentials": {
                "api_key": [{"query": "user_key"}], "app_id": [{"query": "app_id"}], "app_key": [{"query": "app_key"}],
            },
            "rules": [{"path": "/**", "access": [{"threescale": {"provider": "su1"}}]}],
            "metering": [{"path": "/", "match": "prefix", "metric": "reads"}],
            "forward": {"headers": {"x-environment": "{environment}"}},
        }],
    })
}

async fn start(backend: &Threescale, policy: &Value, workers: usize) -> (Envoy, Upstream) {
    let upstream = Upstream::echo("words").await;
    let listener = Listener::new("main").wasm(&filter(policy)).route(route("words"));
    let setup = Setup::new(listener).cluster("words", upstream.address()).cluster("su1", backend.address());
    (Envoy::start(setup.workers(workers)).await, upstream)
}

fn filter(policy: &Value) -> Wasm {
    Wasm::sidegate(policy).environment("TOKEN", TOKEN)
}

fn get(key: &str) -> Request {
    Request::get(format!("/words?user_key={key}"))
}

/// Status and code of an answer; no code where the upstream gave it.
fn verdict(answer: &Response) -> (u16, Option<&str>) {
    (answer.status, answer.code())
}

/// A metric of the provider.
async fn of_provider(envoy: &Envoy, name: &str) -> u64 {
    envoy.stat(&format!("wasmcustom.sidegate.provider=.=su1;.;{name}")).await
}

async fn lookups(envoy: &Envoy, result: &str) -> u64 {
    envoy.stat(&format!("wasmcustom.sidegate.result=.={result};.;identity_lookups")).await
}

async fn unreported(envoy: &Envoy) -> u64 {
    of_provider(envoy, "usage_unreported").await
}

#[tokio::test]
async fn decisions_are_cached_and_usage_is_reported_with_its_metric_and_those_above() {
    let backend = Threescale::start([service()]).await;
    let (envoy, _upstream) = start(&backend, &policy(&json!({})), 1).await;
    for _ in 0..20 {
        let answer = envoy.send(get(KEY)).await;
        assert_eq!(verdict(&answer), (200, None), "{}", answer.text());
        assert_eq!(answer.json()["path"], "/words", "the key is removed");
    }
    for (key, expected) in [("nobody", (401, Some("13"))), ("off", (403, Some("27")))] {
        for _ in 0..3 {
            assert_eq!(verdict(&envoy.send(get(key)).await), expected, "{key}");
        }
    }
    assert_eq!(backend.calls("/transactions/authorize.xml"), 3, "one for each application");
    assert_eq!((lookups(&envoy, "miss").await, lookups(&envoy, "hit").await), (3, 23));
    backend.reached("a", "reads", 20).await;
    assert_eq!((backend.counted("a", "hits"), backend.errors()), (20, Vec::<String>::new()));
    eventually("nothing is left to report", async || (unreported(&envoy).await == 0).then_some(())).await;
    let rejections = of_provider(&envoy, "reason=.=user_key_invalid;.;backend_rejections").await;
    assert_eq!(rejections, 3);
    let log = envoy.log();
    for secret in [TOKEN, KEY, "nobody"] {
        assert!(!log.contains(secret), "the log has {secret}");
    }
}

#[tokio::test]
async fn the_sum_of_reported_usage_is_that_of_admitted_requests_though_the_backend_dies_under_load() {
    let backend = Threescale::start([service()]).await;
    // On a busy machine an answer may take seconds. One that comes after the timeout is lost, and the report
    // is sent again, as docs/policy.md says.
    let settings = json!({"caching": "resilient", "ttl": "200ms", "timeout": "60s"});
    let (envoy, _upstream) = start(&backend, &policy(&settings), 4).await;
    assert_eq!(verdict(&envoy.send(get(KEY)).await), (200, None));
    let mut admitted = 1;
    for round in 0..20 {
        let callers = Callers::start(8, envoy.address().await, &get(KEY));
        for fault in [Fault::Stopped, Fault::None, Fault::Status(500), Fault::None] {
            backend.now(fault);
            tokio::time::sleep(Duration::from_millis(120)).await;
        }
        let tally = callers.stop().await;
        assert!(tally.is_only(200), "round {round}: {tally:?}");
        admitted += u64::try_from(tally.answered[&200]).unwrap();
        backend.reached("a", "reads", admitted).await;
    }
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(backend.counted("a", "reads"), admitted, "and no more");
    assert_eq!(backend.errors(), Vec::<String>::new());
    assert!(of_provider(&envoy, "result=.=failed;.;provider_calls").await > 0);
}

#[tokio::test]
async fn limits_of_the_backend_hold_among_workers_between_reports() {
    let backend = Threescale::start([service()]).await;
    let (envoy, _upstream) = start(&backend, &policy(&json!({"reporting": {"every": "1h"}})), 4).await;
    let requests = vec![get("limited"); 200];
    let answers: Vec<Response> = send_all(envoy.address().await, 16, requests).await;
    let admitted = answers.iter().filter(|answer| answer.status == 200).count();
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status != 200).map(verdict).collect();
    assert_eq!(admitted, 50, "one Envoy admits what the limit says");
    assert!(refused.iter().all(|verdict| *verdict == (429, Some("14"))), "{refused:?}");
    assert_eq!(backend.counted("limited", "hits"), 0, "nothing is reported yet");
}

#[tokio::test]
async fn a_reload_loses_nothing_and_a_plan_change_reroutes() {
    let backend = Threescale::start([service()]).await;
    let [sandbox, production, neither] = [
        Upstream::echo("sandbox").await,
        Upstream::echo("production").await,
        Upstream::echo("neither").await,
    ];
    let listener = |policy: &Value| {
        Listener::new("main")
            .wasm(&filter(policy))
            .route(route_by_header("x-environment", "sandbox", "sandbox"))
            .route(route_by_header("x-environment", "production", "production"))
            .route(route("neither"))
    };
    let first = policy(&json!({"ttl": "50ms"}));
    let setup = Setup::new(listener(&first)).workers(2).cluster("su1", backend.address());
    let setup = setup.cluster("sandbox", sandbox.address()).cluster("production", production.address());
    let mut envoy = Envoy::start(setup.cluster("neither", neither.address())).await;
    let served_by = async |envoy: &Envoy| {
        let answer = envoy.send(get(KEY).header("x-environment", "production")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["name"].as_str().unwrap().to_owned()
    };
    let mut admitted = 1;
    assert_eq!(served_by(&envoy).await, "sandbox", "a forged header selects nothing");
    for (plan, expected) in [("Production", "production"), ("Limited", "neither")] {
        backend.replace([service().application(Application::new("x", plan))]);
        let moved = Service::of_user_keys("123", TOKEN)
            .metric("reads", Some("hits"))
            .plan(plan, &[])
            .application(Application::new("a", plan).user_key(KEY));
        backend.replace([moved]);
        eventually("the plan is changed", async || {
            admitted += 1;
            (served_by(&envoy).await == expected).then_some(())
        })
        .await;
    }
    assert!(of_provider(&envoy, "plans_unmapped").await > 0);
    backend.now(Fault::Stopped);
    let mut second = policy(&json!({"ttl": "51ms", "caching": "allow"}));
    second["revision"] = json!("second");
    envoy.reload(listener(&second)).await.unwrap();
    admitted += 1;
    served_by(&envoy).await;
    backend.now(Fault::None);
    backend.reached("a", "reads", admitted).await;
}

#[tokio::test]
async fn whatever_the_backend_answers_no_request_passes_that_it_did_not_authorize() {
    let backend = Threescale::start([service()]).await;
    let settings = json!({"caching": "none", "timeout": "300ms"});
    let (envoy, upstream) = start(&backend, &policy(&settings), 1).await;
    let limit = r#"<usage_report metric="hits" period="day"><max_value>9</max_value><current_value>0</current_value></usage_report>"#;
    let limits = |count| {
        format!(
            "<status><authorized>true</authorized><plan>a</plan><usage_reports>{}</usage_reports></status>",
            limit.repeat(count)
        )
    };
    let bomb = r#"<!DOCTYPE s [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><status><authorized>true</authorized><plan>&b;</plan></status>"#;
    for fault in [
        Fault::Stopped,
        Fault::Slow(Duration::from_secs(3)),
        Fault::Status(500),
        Fault::Status(503),
        Fault::Bytes(b"garbage".to_vec()),
        Fault::Bytes(b"<status><authorized>true</author".to_vec()),
        Fault::Bytes(b"<status><authorized>false</authorized></status>".to_vec()),
        Fault::Bytes(bomb.into()),
        Fault::Bytes(limits(1_001).into_bytes()),
        Fault::Bytes(limits(100_000).into_bytes()),
    ] {
        backend.now(fault.clone());
        let shown = format!("{fault:?}");
        assert_eq!(
            verdict(&envoy.send(get(KEY)).await),
            UNAVAILABLE,
            "{}",
            shown.get(..80).unwrap_or(&shown)
        );
    }
    assert_eq!(upstream.requests(), 0);
    backend.now(Fault::Bytes(limits(1_000).into_bytes()));
    assert_eq!(verdict(&envoy.send(get(KEY)).await), (200, None));
}

#[tokio::test]
async fn a_critical_application_passes_an_outage_and_is_reported_after_it() {
    let application = Application::new("4f2e", "Sandbox").key(SECRET);
    let backend = Threescale::start([Service::of_app_ids("123", TOKEN)
        .metric("reads", Some("hits"))
        .plan("Sandbox", &[])
        .application(application)])
    .await;
    let settings = json!({"ttl": "1ms", "unavailable": {"allow_applications": ["4f2e"]}});
    let (envoy, _upstream) = start(&backend, &policy(&settings), 2).await;
    let ask = |key: &str| Request::get(format!("/words?app_id=4f2e&app_key={key}"));
    assert_eq!(verdict(&envoy.send(ask(SECRET)).await), (200, None));
    backend.now(Fault::Stopped);
    assert_eq!(verdict(&envoy.send(ask("guessed")).await), UNAVAILABLE);
    assert_eq!(verdict(&envoy.send(ask(SECRET)).await), (200, None));
    backend.now(Fault::None);
    backend.reached("4f2e", "reads", 2).await;
    assert_eq!(backend.errors(), Vec::<String>::new());
}

#[tokio::test]
async fn the_codes_of_answers_are_reported_whoever_answers() {
    let backend = Threescale::start([service()]).await;
    let mut policy = policy(&json!({"reporting": {"every": "1s", "codes": true}}));
    let mock = json!({"responses": [{"path": "/teapot", "status": 418, "body": "short and stout"}]});
    policy["apis"][0]["rules"]
        .as_array_mut()
        .unwrap()
        .push(json!({"path": "/teapot", "access": [{"threescale": {"provider": "su1"}}], "mock": mock}));
    let upstream = Upstream::echo("words").await;
    let listener = Listener::new("main").wasm(&filter(&policy));
    let listener = listener.route(route_by_header("x-to", "nobody", "closed")).route(route("words"));
    let closed = Upstream::closing().await;
    let setup = Setup::new(listener).cluster("words", upstream.address()).cluster("closed", closed.address());
    let envoy = Envoy::start(setup.cluster("su1", backend.address()).workers(2)).await;
    for _ in 0..3 {
        assert_eq!(verdict(&envoy.send(get(KEY)).await), (200, None));
    }
    assert_eq!(envoy.send(get(KEY).header("x-to", "nobody")).await.status, 503, "Envoy's own answer");
    let teapot = Request::get(format!("/teapot?user_key={KEY}"));
    assert_eq!(envoy.send(teapot).await.status, 418);
    assert_eq!(envoy.send(get("nobody")).await.status, 401);
    backend.reached("a", "reads", 5).await;
    let codes = || [200, 503, 418, 401].map(|code| backend.answered("a", code));
    // A code may come after its usage was reported, and travels with the next usage.
    eventually("all codes are reported", async || {
        let reported: u64 = codes().iter().sum();
        if reported < 5 {
            envoy.send(get(KEY)).await;
        }
        (reported >= 5).then_some(())
    })
    .await;
    let [answered, failed, mocked, refused] = codes();
    assert!(answered >= 3, "{answered}");
    assert_eq!([failed, mocked, refused], [1, 1, 0]);
    assert_eq!(backend.errors(), Vec::<String>::new());
}

#[tokio::test]
async fn exact_counting_keeps_the_limit_of_several_gateways() {
    let backend = Threescale::start([service()]).await;
    let policy = policy(&json!({"counting": "exact"}));
    let (one, _upstream) = start(&backend, &policy, 2).await;
    let (other, _other) = start(&backend, &policy, 2).await;
    let mut admitted = 0;
    for round in 0..40 {
        for envoy in [&one, &other] {
            let answer = envoy.send(get("limited")).await;
            match verdict(&answer) {
                (200, None) => admitted += 1,
                verdict => assert_eq!(verdict, (429, Some("14")), "round {round}"),
            }
        }
    }
    assert_eq!((admitted, backend.counted("limited", "hits")), (50, 50), "and nothing is reported twice");
    assert_eq!(backend.calls("/transactions.xml"), 0);
    // One call for each request, and one more for each worker, which then knows of the denial.
    assert!(
        backend.calls("/transactions/authrep.xml") <= 54,
        "{}",
        backend.calls("/transactions/authrep.xml")
    );
}
