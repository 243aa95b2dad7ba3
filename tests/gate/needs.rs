//! What the guide for 3scale's gateway needs ("API Devops", 3scale 2.0, by its sections), item by item: what
//! Sidegate answers to each, and a proof that runs here. More is proved elsewhere; the answers name where.

use std::fs;

use serde_json::{Value, json};
use sidegate::{
    gate::drive::{Driver, Step},
    policy::Policy,
    provider::{CallFailure, CallResult},
};

use super::{
    Shared, begin, gate, load, permit, refused, sees,
    service_management::{
        APPLICATION, KEY, Reporter, accepted, at, authorized, called, error, hits, path, policy, rejected,
        with,
    },
    support::{Ask, NOW, answer, environment, get},
    through, trail, verdict, waiting,
};

/// An item: what is needed, the answer, and its proof.
type Need = (&'static str, &'static str, fn());

const NEEDS: &[Need] = &[
    (
        "1 keys, and pairs of id and key (1.2, 4.5.2)",
        "`threescale`, `application`, `credentials`; tests/gate/applications.rs",
        keys_and_pairs,
    ),
    (
        "2 mapping rules (1.2, 4.1.1.2)",
        "`metering` with `match: prefix`, `unmetered`; 35 rows in src/matching/metering.rs",
        mapping_rules,
    ),
    (
        "3 authrep per request (1.2, 4.1.2.1)",
        "`counting: exact`; by default decisions are cached",
        authrep_per_request,
    ),
    (
        "4 plans, limits, disabled methods (1.2)",
        "429 with code 14, or 403 with code 27 where a limit is 0",
        limits_and_disabled,
    ),
    ("5 methods below hits", "the backend's hierarchy counts for limits between reports", hierarchy),
    (
        "6 the plan selects the environment (1.3)",
        "`environment`, and a route by header; tests/envoy_threescale.rs",
        plan_selects,
    ),
    ("7 a plan upgrade without change of the client (1.2, 1.3)", "in force within `ttl`", plan_upgrade),
    ("8 cached authorizations (1.3)", "a hit makes no call and is reported later", cached_and_reported),
    (
        "9 closed if the service fails (2.3)",
        "`caching: strict`, the default: 503 with code 24",
        closed_by_default,
    ),
    (
        "10 critical applications pass (2.3)",
        "`unavailable: {allow_applications}`, with the last known key",
        critical_pass,
    ),
    ("11 stateless gateways (2.1)", "each has its cache; limits and counts are the backend's", stateless),
    ("12 names are resolved again (2.2, 4.3.4.2)", "STRICT_DNS in envoy/threescale.yaml", names_resolved),
    ("13 several services by host (3.3.1)", "`apis[].hosts`, each with its provider", services_by_host),
    (
        "14 versions and rollback (3.4)",
        "`revision` and digest; the earlier document is the earlier policy",
        versions,
    ),
    (
        "15 the last good configuration stays (3.3)",
        "a bad one does not load, with all problems; tests/envoy_reload.rs",
        last_good,
    ),
    ("16 own statuses and texts (4.5.2)", "`apis[].errors`; the reason is in the log", own_texts),
    (
        "17 codes 400 403 404 409 422 428 (4.5.2)",
        "one table, src/identity/threescale/rejection.rs",
        every_code,
    ),
    (
        "18 referrer filters (4.5.2)",
        "the `Referer` is asked about; `consumers[].referrers` locally",
        referrers,
    ),
    ("19 suspended applications (4.5.2)", "403 with code 27", suspended),
    (
        "20 access tokens (4.3.4.3)",
        "the client of a token is the application: `oauth_authorize`, `oauth_authrep`",
        tokens,
    ),
    ("21 debug header (4.3.5.3)", "`gate.debug`; 3scale's names, never the credential", debug_header),
    ("22 the call and its answer (4.3.4.3)", "`x-sidegate-asked`, masked", the_call_is_shown),
    (
        "23 integration errors (4.3.5.4)",
        "`backend_rejections`, and code 24 in the log; src/shell/telemetry.rs",
        integration_errors,
    ),
    (
        "24 names with underscores (4.3.5.4)",
        "found in the gate; Envoy's option decides, envoy/production.yaml rejects",
        underscores,
    ),
    ("25 a secret for the API (4.1.1.1)", "`forward.headers` with `{env}`", secret_for_the_api),
    (
        "26 which side timed out (4.3.3.2)",
        "24, 09 and 10 for the backend, 08 for the API; tests/envoy_bootstraps.rs",
        which_side,
    ),
    ("27 TLS to the service (4.2.4)", "the cluster's, with authority and name", tls),
    ("28 response codes (4.1.2.1)", "`reporting.codes`: `log[code]`", response_codes),
    ("29 max_fails, fail_timeout (1.3)", "outlier detection of the cluster", outliers),
    (
        "30 automated deployment (3)",
        "manifests, an image, `sidegate render`; tests/envoy_manifests.rs",
        deployment,
    ),
    ("31 double counts can be seen (4.1.1.2)", "rules add up; the debug headers list them", double_counts),
];

#[test]
fn every_need_of_the_guide_has_an_answer() {
    let numbers: Vec<_> =
        NEEDS.iter().map(|(need, _, _)| need.split_once(' ').unwrap().0.parse::<u32>().unwrap()).collect();
    assert_eq!(numbers, (1..=31).collect::<Vec<u32>>());
    for (_, answer, proof) in NEEDS {
        assert!(!answer.is_empty());
        proof();
    }
}

fn debugging(ask: Ask) -> Ask {
    ask.with("x-sidegate-debug", "debug-me")
}

/// The headers of whatever the caller gets.
fn shown(step: Step<Shared>, name: &str) -> Option<String> {
    let headers = match step {
        Step::Ended(sidegate::gate::Ending::Refused(refused)) => refused.reply().headers.clone(),
        step => permit(step).into_response_headers(),
    };
    headers.get(name).map(str::to_owned)
}

fn status(step: Step<Shared>) -> u16 {
    refused(step).reply().status
}

fn bootstrap(file: &str) -> String {
    fs::read_to_string(format!("{}/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn keys_and_pairs() {
    let gate = gate(&policy());
    for (target, asked) in [
        (KEY, "user_key=k3y"),
        (APPLICATION, "app_id=4f2e&app_key=s3cret"),
        ("/words/a?app_id=bare", "app_id=bare&usage"),
    ] {
        let waiting = waiting(begin(&gate, &at(0, target)));
        assert!(path(waiting.call().unwrap()).contains(asked), "{target}");
    }
    let none = refused(begin(&gate, &at(0, "/words/a")));
    assert_eq!((none.refusal().cause.code().digits(), none.reply().status), ("12", 403));
}

fn mapping_rules() {
    let mut document = policy();
    document["apis"][0]["unmetered"] = json!("refuse");
    document["apis"][0]["metering"] = json!([
        {"path": "/words", "match": "prefix", "methods": ["GET"], "metric": "hits"},
        {"path": "/words/new", "match": "prefix", "metric": "hits", "by": 4, "last": true},
        {"path": "/words", "match": "prefix", "metric": "hits", "by": 100},
    ]);
    let gate = gate(&document);
    let waiting = waiting(begin(&gate, &at(0, "/words/new?user_key=k3y")));
    assert!(path(waiting.call().unwrap()).ends_with("usage%5Bhits%5D=5"));
    assert_eq!(verdict(&begin(&gate, &at(0, "/token?user_key=k3y"))), "00", "no mapping rule matched");
}

fn authrep_per_request() {
    let gate = gate(&with(&[("counting", json!("exact"))]));
    let asked = waiting(waiting(begin(&gate, &at(0, KEY))).answer(authorized(""), NOW));
    let call = path(asked.call().unwrap()).to_owned();
    let own = "service_token=t0ken&service_id=123&user_key=k3y&usage%5Bhits%5D=1";
    assert_eq!(call, format!("/transactions/authrep.xml?{own}"));
}

fn limits_and_disabled() {
    let limit = rejected("limits_exceeded", "5");
    assert_eq!(status(through(&gate(&policy()), &at(0, KEY), &limit)), 429);
    let zero = super::support::http(
        409,
        &[("3scale-rejection-reason", "limits_exceeded"), ("3scale-limit-max-value", "0")],
        "",
    );
    assert_eq!(status(through(&gate(&policy()), &at(0, KEY), &zero)), 403);
}

fn hierarchy() {
    let gate = gate(&policy());
    let new = at(0, "/words/new?user_key=k3y");
    // One hit, and two writes, which are hits as well.
    assert_eq!(verdict(&through(&gate, &new, &authorized(&hits(5, 0)))), "ok");
    assert_eq!(verdict(&begin(&gate, &new)), "14", "three more would be six");
}

fn on_plan(name: &str) -> CallResult {
    let body = format!("<status><authorized>true</authorized><plan>{name}</plan></status>");
    super::support::http(200, &[], &body)
}

fn environment_of(gate: &Driver<Shared>, second: u64, plan: &str) -> Option<String> {
    let ask = at(second, KEY);
    sees(&ask, &permit(through(gate, &ask, &on_plan(plan))), "x-environment")
}

fn plan_selects() {
    for (plan, expected) in [("Sandbox", Some("sandbox")), ("Production", Some("production")), ("Else", None)]
    {
        assert_eq!(environment_of(&gate(&policy()), 0, plan).as_deref(), expected);
    }
}

fn plan_upgrade() {
    let gate = gate(&policy());
    assert_eq!(environment_of(&gate, 0, "Sandbox").as_deref(), Some("sandbox"));
    assert_eq!(environment_of(&gate, 9, "Production").as_deref(), Some("sandbox"), "within the TTL");
    assert_eq!(environment_of(&gate, 10, "Production").as_deref(), Some("production"));
}

fn cached_and_reported() {
    let gate = gate(&policy());
    through(&gate, &at(0, KEY), &authorized(""));
    assert_eq!(verdict(&begin(&gate, &at(1, KEY))), "ok");
    let sent = Reporter::start(&gate, 0).turn(&gate, 10, &accepted());
    assert_eq!(sent, ["[0][user_key]=k3y&[0][usage][hits]=2"]);
}

fn closed_by_default() {
    assert_eq!(status(through(&gate(&policy()), &at(0, KEY), &Err(CallFailure::Failed))), 503);
}

fn critical_pass() {
    let allow = json!({"allow_applications": ["4f2e"]});
    let gate = gate(&with(&[("unavailable", allow), ("cooldown", json!("0s"))]));
    through(&gate, &at(0, APPLICATION), &authorized(""));
    for (target, expected) in [(APPLICATION, "ok"), ("/words/a?app_id=4f2e&app_key=guess", "24"), (KEY, "24")]
    {
        let during = through(&gate, &at(60, target), &Err(CallFailure::TimedOut));
        assert_eq!(verdict(&during), expected, "{target}");
    }
}

fn stateless() {
    let gates = [gate(&policy()), gate(&policy())];
    for gate in &gates {
        assert_eq!(verdict(&begin(gate, &at(0, KEY))), "call", "each asks the backend, which has the limits");
    }
}

fn names_resolved() {
    let text = bootstrap("envoy/threescale.yaml");
    assert_eq!(text.matches("type: STRICT_DNS").count(), 3, "two environments, and the backend");
}

fn services_by_host() {
    let mut document = policy();
    let mut other = document["providers"]["su1"].clone();
    other["service_management"]["service_id"] = json!("456");
    document["providers"]["su2"] = other;
    let mut api = document["apis"][0].clone();
    api["name"] = json!("numbers");
    api["hosts"] = json!(["numbers.example.com"]);
    api["rules"] = json!([{"path": "/**", "access": [{"threescale": {"provider": "su2"}}]}]);
    document["apis"].as_array_mut().unwrap().push(api);
    let gate = gate(&document);
    for (host, service) in [("api.example.com", "service_id=123"), ("numbers.example.com", "service_id=456")]
    {
        let mut ask = at(0, KEY);
        ask.headers.retain(|(name, _)| name != ":authority");
        let waiting = waiting(begin(&gate, &ask.with(":authority", host)));
        assert!(path(waiting.call().unwrap()).contains(service), "{host}");
    }
}

fn versions() {
    let mut next = policy();
    next["revision"] = json!("r2");
    let [first, second] = [policy(), next].map(|document| load(&document));
    assert_eq!((first.revision.as_deref(), second.revision.as_deref()), (Some("r1"), Some("r2")));
    assert_ne!(first.digest, second.digest);
    assert_eq!(load(&policy()).digest, first.digest, "rolled back");
}

fn last_good() {
    let mut bad = policy();
    bad["providers"]["su1"]["service_management"]["caching"] = json!("lenient");
    bad["apis"][0]["metering"][0]["metric"] = json!("nothing");
    let problems = Policy::load(bad.to_string().as_bytes(), &environment).err().unwrap().to_string();
    assert!(problems.contains("caching") && problems.contains("metering"), "{problems}");
}

fn own_texts() {
    let mut document = policy();
    document["apis"][0]["errors"] = json!({"refused_credentials": {"status": 403, "content_type": "text/plain", "body": "Authentication failed"}});
    let refused = refused(through(&gate(&document), &at(0, KEY), &error(403, "user_key_invalid")));
    assert_eq!((refused.reply().status, &*refused.reply().body), (403, "Authentication failed"));
}

fn every_code() {
    for (result, status, code) in [
        (error(400, "bad_request"), 400, "20"),
        (error(403, "user_key_invalid"), 401, "13"),
        (error(403, "service_token_invalid"), 503, "24"),
        (error(404, "application_not_found"), 401, "13"),
        (error(404, "metric_invalid"), 503, "24"),
        (rejected("limits_exceeded", "5"), 429, "14"),
        (error(422, "not_valid_data"), 400, "20"),
        (error(428, ""), 503, "24"),
    ] {
        let refused = refused(through(&gate(&policy()), &at(0, KEY), &result));
        let found = (refused.reply().status, refused.refusal().cause.code().digits());
        assert_eq!(found, (status, code), "{result:?}");
    }
}

fn referrers() {
    let ask = at(0, KEY).with("referer", "https://acme.com/a");
    let waiting = waiting(begin(&gate(&policy()), &ask));
    assert!(path(waiting.call().unwrap()).ends_with("&referrer=https%3A%2F%2Facme.com%2Fa"));
    assert_eq!(status(waiting.answer(rejected("referrer_not_allowed", "-1"), NOW)), 403);
}

fn suspended() {
    let step = through(&gate(&policy()), &at(0, KEY), &rejected("application_not_active", "-1"));
    assert_eq!((verdict(&step), status(step)), ("27", 403));
}

fn tokens() {
    for (counting, calls) in
        [("batched", &["oauth_authorize"][..]), ("exact", &["oauth_authorize", "oauth_authrep"])]
    {
        let gate = gate(&with(&[("counting", json!(counting))]));
        let active = answer(&json!({"active": true, "client_id": "acme-web"}));
        let mut step = waiting(begin(&gate, &at(0, "/token").token("t"))).answer(active, NOW);
        for expected in calls {
            let waiting = waiting(step);
            assert_eq!(called(waiting.call().unwrap()).0, *expected);
            assert!(path(waiting.call().unwrap()).contains("app_id=acme-web"));
            step = waiting.answer(authorized(""), NOW);
        }
        assert_eq!(verdict(&step), "ok");
    }
}

fn debug_header() {
    let gate = gate(&policy());
    let ask = debugging(at(0, KEY));
    let headers = permit(through(&gate, &ask, &authorized(""))).into_response_headers();
    assert_eq!(headers.get("x-3scale-matched-rules"), Some("/words"));
    assert_eq!(headers.get("x-3scale-usage"), Some("usage%5Bhits%5D=1"));
    assert!(headers.iter().all(|(_, value)| !value.contains("k3y")), "{headers:?}");
    let without = permit(begin(&gate, &at(0, KEY))).into_response_headers();
    assert_eq!(without.get("x-3scale-matched-rules"), None);
}

fn the_call_is_shown() {
    let step = through(&gate(&policy()), &debugging(at(0, KEY)), &error(404, "metric_invalid"));
    let asked = "authorize service_id=123 user_key=*** usage[hits]=1 metric_invalid";
    assert_eq!(shown(step, "x-sidegate-asked").as_deref(), Some(asked));
}

fn integration_errors() {
    for code in ["metric_invalid", "application_not_found"] {
        let step = through(&gate(&policy()), &at(0, KEY), &error(404, code));
        let (provider, rejection) = trail(&step).rejection.unwrap();
        assert_eq!((trail(&step).policy.providers[provider].name(), rejection.code()), ("su1", code));
        assert_eq!((trail(&step).api(), trail(&step).rule()), (Some("words"), Some("/words/**")));
    }
}

fn underscores() {
    let mut document = policy();
    document["apis"][0]["credentials"]["api_key"] = json!([{"header": "user_key"}]);
    let waiting = waiting(begin(&gate(&document), &at(0, "/words/a").with("user_key", "k3y")));
    assert!(path(waiting.call().unwrap()).contains("user_key=k3y"));
    assert!(bootstrap("envoy/production.yaml").contains("headers_with_underscores_action: REJECT_REQUEST"));
}

fn secret_for_the_api() {
    let mut document = policy();
    document["apis"][0]["forward"]["headers"]["x-3scale-proxy-secret-token"] = json!({"env": "HYDRA_SECRET"});
    let ask = at(0, KEY).with("x-3scale-proxy-secret-token", "guess");
    let permit = permit(through(&gate(&document), &ask, &authorized("")));
    let secret = environment("HYDRA_SECRET");
    assert_eq!(sees(&ask, &permit, "x-3scale-proxy-secret-token"), secret);
}

fn which_side() {
    for (failure, code) in [
        (CallFailure::TimedOut, "24"),
        (CallFailure::UnknownCluster, "09"),
        (CallFailure::NoHealthyHost, "10"),
    ] {
        assert_eq!(verdict(&through(&gate(&policy()), &at(0, KEY), &Err(failure))), code);
    }
}

fn tls() {
    let text = bootstrap("envoy/threescale.yaml");
    assert!(text.contains("UpstreamTlsContext") && text.contains("match_typed_subject_alt_names"));
}

fn response_codes() {
    let gate = gate(&with(&[("reporting", json!({"codes": true}))]));
    let mut permit = permit(through(&gate, &at(0, KEY), &authorized("")));
    permit.take_coded().unwrap().answered(404, gate.policy(), gate.ports());
    let sent = Reporter::start(&gate, 0).turn(&gate, 10, &accepted());
    assert_eq!(sent, ["[0][user_key]=k3y&[0][usage][hits]=1&[0][log][code]=404"]);
}

fn outliers() {
    let text = bootstrap("envoy/threescale.yaml");
    assert!(text.contains("consecutive_5xx: 5") && text.contains("base_ejection_time: 30s"));
}

fn deployment() {
    for file in
        ["istio/base/wasmplugin.yaml", "istio/base/envoyfilter-file.yaml", "envoy/threescale-policy.yaml"]
    {
        assert!(!bootstrap(file).is_empty(), "{file}");
    }
    let policy: Value = serde_norway::from_str(&bootstrap("envoy/threescale-policy.yaml")).unwrap();
    assert!(Policy::load(policy.to_string().as_bytes(), &|_| Some("token".to_owned())).is_ok());
}

fn double_counts() {
    let mut document = policy();
    let twice = json!({"path": "/words/a", "match": "prefix", "metric": "hits"});
    document["apis"][0]["metering"].as_array_mut().unwrap().push(twice);
    let gate = gate(&document);
    through(&gate, &at(0, KEY), &authorized(""));
    let seen = |name| shown(begin(&gate, &debugging(get(KEY))), name);
    assert_eq!(seen("x-3scale-matched-rules").as_deref(), Some("/words, /words/a"));
    assert_eq!(seen("x-3scale-usage").as_deref(), Some("usage%5Bhits%5D=2"));
}
