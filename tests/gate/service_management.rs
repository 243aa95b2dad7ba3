//! Applications that 3scale's backend vouches for: the question, the cache, the four modes of an outage, the
//! limits between reports, plans and integration errors.

use std::time::Duration;

use serde_json::{Value, json};
use sidegate::{
    gate::drive::{Driver, Step},
    identity::{Lookup, threescale::report},
    policy::Provider,
    ports::{Answered, Arrival, Progress, Report, Role, Running, Wake, Wish},
    provider::{Call, CallFailure, CallResult, HttpRequest, Sharing, Transport},
};

use super::{
    Shared, begin, gate, lookup, permit, refused, sees,
    support::{Ask, NOW, document, get, http, sha256},
    through, trail, verdict, waiting,
};

pub fn policy() -> Value {
    let rules = json!([
        {"path": "/words/**", "access": [{"threescale": {"provider": "su1"}}]},
        {"path": "/token", "access": [{"threescale": {"provider": "su1", "introspection": {"provider": "hydra"}}}]},
    ]);
    let api = json!({
        "name": "words",
        "credentials": {
            "api_key": [{"query": "user_key"}],
            "app_id": [{"query": "app_id"}],
            "app_key": [{"query": "app_key"}],
        },
        "rules": rules,
        "metering": [
            {"path": "/words", "match": "prefix", "metric": "hits"},
            {"path": "/words/new", "match": "prefix", "metric": "writes", "by": 2},
            {"path": "/token", "match": "prefix", "metric": "hits"},
        ],
        "forward": {"headers": {"x-environment": "{environment}", "x-plan": "{plan}", "x-client": "{client_id}"}},
    });
    let mut document = document(json!([]), json!([api]));
    document["consumers"] = json!([{"name": "acme", "application": {"id": "4f2e"}}]);
    document["metrics"] = json!({"writes": {}});
    document["plans"] =
        json!({"Production": {"environment": "production"}, "Sandbox": {"environment": "sandbox"}});
    document["providers"]["su1"] = json!({"service_management": {
        "cluster": "su1", "url": "https://su1.3scale.net", "service_id": "123", "service_token": "t0ken",
    }});
    document["gate"]["debug"] = json!({"secret_sha256": sha256("debug-me")});
    document
}

pub fn with(settings: &[(&str, Value)]) -> Value {
    let mut document = policy();
    for (name, value) in settings {
        document["providers"]["su1"]["service_management"][*name] = value.clone();
    }
    document
}

pub fn at(second: u64, path: &str) -> Ask {
    Ask { at: NOW.saturating_add(Duration::from_secs(second)), ..get(path) }
}

pub const KEY: &str = "/words/a?user_key=k3y";
pub const APPLICATION: &str = "/words/a?app_id=4f2e&app_key=s3cret";

pub fn authorized(limits: &str) -> CallResult {
    let body = format!(
        "<status><authorized>true</authorized><plan>Sandbox</plan>\
         <usage_reports>{limits}</usage_reports><hierarchy><metric name=\"hits\" children=\"writes\"/></hierarchy></status>"
    );
    http(200, &[], &body)
}

/// A limit of hits per minute. The minute of [`NOW`] has just begun.
pub fn hits(max: u64, current: u64) -> String {
    format!(
        "<usage_report metric=\"hits\" period=\"minute\"><period_end>2026-11-20 12:01:00 +0000</period_end>\
         <max_value>{max}</max_value><current_value>{current}</current_value></usage_report>"
    )
}

/// A metric that is disabled for all time.
const DISABLED: &str = "<usage_report metric=\"hits\" period=\"eternity\"><max_value>0</max_value>\
    <current_value>0</current_value></usage_report>";

pub fn rejected(code: &str, reset: &str) -> CallResult {
    let headers =
        [("3scale-rejection-reason", code), ("3scale-limit-reset", reset), ("3scale-limit-max-value", "3")];
    http(409, &headers, "<status><reason>a<b&\"c</reason></status>")
}

pub fn error(status: u16, code: &str) -> CallResult {
    http(status, &[], &format!("<error code=\"{code}\">no</error>"))
}

pub fn path(call: &Call) -> &str {
    let Transport::Http(HttpRequest { path, .. }) = &call.transport else { panic!("not HTTP") };
    path
}

fn question(ask: &Ask) -> String {
    path(waiting(begin(&gate(&policy()), ask)).call().unwrap()).to_owned()
}

#[test]
fn the_question_has_credential_usage_and_referrer() {
    let own = "/transactions/authorize.xml?service_token=t0ken&service_id=123";
    for (ask, expected) in [
        (get(KEY), "&user_key=k3y&usage%5Bhits%5D=1"),
        (get(APPLICATION), "&app_id=4f2e&app_key=s3cret&usage%5Bhits%5D=1"),
        (get("/words/new?app_id=bare"), "&app_id=bare&usage%5Bwrites%5D=2&usage%5Bhits%5D=1"),
        (
            get(KEY).with("referer", "https://acme.com/a"),
            "&user_key=k3y&usage%5Bhits%5D=1&referrer=https%3A%2F%2Facme.com%2Fa",
        ),
        (get(KEY).with("referer", "*"), "&user_key=k3y&usage%5Bhits%5D=1"),
    ] {
        assert_eq!(question(&ask), format!("{own}{expected}"));
    }
    assert_eq!(verdict(&begin(&gate(&policy()), &get("/words/a"))), "12", "no credential, no call");
}

#[test]
fn a_decision_is_cached_for_its_whole_question() {
    let gate = gate(&policy());
    let step = through(&gate, &at(0, KEY), &authorized(""));
    assert_eq!((verdict(&step), lookup(&step)), ("ok", Some(Lookup::Miss)));
    for (ask, expected) in [
        (at(9, KEY), "ok"),
        (at(10, KEY), "call"),
        (at(1, "/words/other?user_key=k3y"), "ok"),
        (at(1, "/words/new?user_key=k3y"), "call"),
        (at(1, "/words/a?user_key=k3z"), "call"),
        (at(1, KEY).with("referer", "acme.com"), "call"),
        (at(1, APPLICATION), "call"),
    ] {
        assert_eq!(verdict(&begin(&gate, &ask)), expected, "{ask:?}");
    }
    through(&gate, &at(1, APPLICATION), &authorized(""));
    for (path, expected) in [
        (APPLICATION, "ok"),
        ("/words/a?app_id=4f2e&app_key=other", "call"),
        ("/words/a?app_id=4f2e", "call"),
        ("/words/a?app_id=4f2f&app_key=s3cret", "call"),
    ] {
        assert_eq!(verdict(&begin(&gate, &at(2, path))), expected, "{path}");
    }
}

#[test]
fn requests_that_ask_the_same_share_a_call() {
    let gate = gate(&policy());
    let [one, other] = [(), ()].map(|()| waiting(begin(&gate, &at(0, KEY))));
    let sharing = one.call().unwrap().sharing;
    assert!(matches!(sharing, Sharing::Joined(_)));
    assert_eq!(sharing, other.call().unwrap().sharing);
    let result = std::rc::Rc::new(authorized(&hits(1, 0)));
    assert_eq!(verdict(&one.answer_as(Role::Leader, &result, NOW)), "ok");
    assert_eq!(verdict(&other.answer_as(Role::Follower, &result, NOW)), "14", "the limit has room for one");
}

#[test]
fn rejections_are_refusals_and_are_cached_no_longer_than_their_period() {
    for (result, code, status) in [
        (error(403, "user_key_invalid"), "13", 401),
        (error(404, "application_not_found"), "13", 401),
        (rejected("application_key_invalid", "-1"), "13", 401),
        (rejected("application_not_active", "-1"), "27", 403),
        (rejected("referrer_not_allowed", "-1"), "27", 403),
        (rejected("limits_exceeded", "5"), "14", 429),
        (rejected("limits_exceeded", "-1"), "14", 429),
        (error(422, "not_valid_data"), "20", 400),
        (error(403, "service_token_invalid"), "24", 503),
        (error(404, "metric_invalid"), "24", 503),
        (error(428, ""), "24", 503),
        (http(500, &[], "gone"), "24", 503),
    ] {
        let gate = gate(&policy());
        let refused = refused(through(&gate, &at(0, KEY), &result));
        assert_eq!(
            (refused.refusal().cause.code().digits(), refused.reply().status),
            (code, status),
            "{result:?}"
        );
        let is_cached = code != "24";
        let again = verdict(&begin(&gate, &at(2, KEY)));
        assert_eq!(again, if is_cached { code } else { "call" }, "{result:?}");
    }
    let gate = gate(&policy());
    let limit = through(&gate, &at(0, KEY), &rejected("limits_exceeded", "5"));
    assert_eq!(refused(limit).reply().headers.get("retry-after"), Some("5"));
    let cached = begin(&gate, &at(3, KEY));
    assert_eq!(refused(cached).reply().headers.get("retry-after"), Some("2"));
    assert_eq!(verdict(&begin(&gate, &at(5, KEY))), "call", "the period is over");
}

#[test]
fn an_outage_is_what_the_mode_says() {
    let outages = [
        Err(CallFailure::TimedOut),
        Err(CallFailure::Failed),
        http(500, &[], "gone"),
        http(200, &[], "<status><authorized>tr"),
        error(428, ""),
    ];
    for (caching, known, denied, unknown) in [
        ("strict", "24", "24", "24"),
        ("none", "24", "24", "24"),
        ("resilient", "ok", "13", "24"),
        ("allow", "ok", "13", "ok"),
    ] {
        for outage in &outages {
            let gate = gate(&with(&[("caching", json!(caching)), ("cooldown", json!("0s"))]));
            through(&gate, &at(0, KEY), &authorized(""));
            through(&gate, &at(0, "/words/a?user_key=bad"), &error(403, "user_key_invalid"));
            let during = |path| verdict(&through(&gate, &at(11, path), outage));
            assert_eq!(during(KEY), known, "{caching} {outage:?}");
            assert_eq!(during("/words/a?user_key=bad"), denied, "{caching} {outage:?}");
            assert_eq!(during("/words/a?user_key=new"), unknown, "{caching} {outage:?}");
            // A backend that works and refuses us is no outage.
            let refuses = |code, status| verdict(&through(&gate, &at(11, KEY), &error(status, code)));
            assert_eq!(refuses("service_token_invalid", 403), "24", "{caching}");
            assert_eq!(refuses("metric_invalid", 404), "24", "{caching}");
        }
    }
}

#[test]
fn the_last_decision_is_repeated_and_not_the_last_but_one() {
    let gate = gate(&with(&[("caching", json!("allow"))]));
    let outage = Err(CallFailure::Failed);
    for (second, result, then) in [
        (0, authorized(""), "ok"),
        (20, rejected("application_not_active", "-1"), "27"),
        (60, authorized(""), "ok"),
    ] {
        through(&gate, &at(second, KEY), &result);
        let step = through(&gate, &at(second + 11, KEY), &outage);
        assert_eq!(
            (verdict(&step), lookup(&step)),
            (then, if then == "ok" { Some(Lookup::Stale) } else { lookup(&step) })
        );
    }
}

#[test]
fn the_backend_rests_after_a_failure() {
    let gate = gate(&with(&[("caching", json!("resilient"))]));
    through(&gate, &at(0, KEY), &authorized(""));
    assert_eq!(verdict(&through(&gate, &at(11, KEY), &Err(CallFailure::TimedOut))), "ok");
    assert_eq!(verdict(&begin(&gate, &at(11, KEY))), "call", "one request tries it");
    assert_eq!(verdict(&begin(&gate, &at(11, KEY))), "ok", "and the others do not wait");
}

#[test]
fn critical_applications_pass_an_outage_with_their_last_known_key() {
    let allow = json!({"allow_applications": ["4f2e", "web"]});
    let gate = gate(&with(&[("unavailable", allow), ("cooldown", json!("0s"))]));
    let outage = Err(CallFailure::Failed);
    let during = |path: &str| verdict(&through(&gate, &at(3_000, path), &outage));
    assert_eq!(during(APPLICATION), "24", "it was never accepted");
    through(&gate, &at(0, APPLICATION), &authorized(""));
    through(&gate, &at(0, "/words/a?app_id=other"), &authorized(""));
    for (path, expected) in [
        (APPLICATION, "ok"),
        ("/words/new?app_id=4f2e&app_key=s3cret", "ok"),
        ("/words/a?app_id=4f2e&app_key=guessed", "24"),
        ("/words/a?app_id=4f2e", "24"),
        ("/words/a?app_id=other", "24"),
        (KEY, "24"),
    ] {
        assert_eq!(during(path), expected, "{path}");
    }
    let denied = through(&gate, &at(3_001, APPLICATION), &rejected("application_key_invalid", "-1"));
    assert_eq!(verdict(&denied), "13", "a denial is no outage");
}

#[test]
fn limits_hold_between_reports_for_all_questions_of_an_application() {
    let gate = gate(&policy());
    // Each usage is a question of its own, and both know of the same limit. `writes` count as hits.
    assert_eq!(verdict(&through(&gate, &at(0, KEY), &authorized(&hits(6, 1)))), "ok");
    assert_eq!(verdict(&through(&gate, &at(0, "/words/new?user_key=k3y"), &authorized(&hits(6, 1)))), "ok");
    assert_eq!(verdict(&begin(&gate, &at(1, KEY))), "ok", "1 + 1 + 3 + 1");
    let step = begin(&gate, &at(1, KEY));
    let refused = refused(step);
    assert_eq!(refused.refusal().cause.code().digits(), "14");
    assert_eq!(refused.reply().headers.get("retry-after"), Some("59"));
    assert_eq!(verdict(&begin(&gate, &at(60, KEY))), "call", "the next minute is asked about");
    let disabled = through(&gate, &at(60, KEY), &authorized(DISABLED));
    assert_eq!(verdict(&disabled), "27");
}

#[test]
fn the_plan_selects_the_environment() {
    let gate = gate(&policy());
    let plan = |plan: &str| {
        http(200, &[], &format!("<status><authorized>true</authorized><plan>{plan}</plan></status>"))
    };
    for (second, name, environment) in
        [(0, "Sandbox", Some("sandbox")), (10, "Production", Some("production")), (20, "Gold", None)]
    {
        let ask = at(second, APPLICATION).with("x-environment", "forged");
        let step = through(&gate, &ask, &plan(name));
        assert_eq!(trail(&step).plan(), environment.map(|_| name));
        assert_eq!(trail(&step).unmapped_plan.is_some(), environment.is_none());
        assert_eq!(trail(&step).consumer(), Some("acme"));
        let permit = permit(step);
        assert_eq!(sees(&ask, &permit, "x-environment").as_deref(), environment);
        assert_eq!(sees(&ask, &permit, "x-client").as_deref(), Some("4f2e"));
        assert_eq!(sees(&ask, &permit, ":path").as_deref(), Some("/words/a"), "credentials are removed");
    }
}

#[test]
fn a_token_is_checked_first_and_its_client_is_the_application() {
    let gate = gate(&policy());
    let step = begin(&gate, &at(0, "/token").token("t"));
    let active = super::support::answer(&json!({"active": true, "client_id": "acme-web"}));
    let waiting = waiting(waiting(step).answer(active, NOW));
    let asked = path(waiting.call().unwrap()).to_owned();
    assert!(asked.starts_with("/transactions/oauth_authorize.xml?"), "{asked}");
    assert!(asked.ends_with("&app_id=acme-web&usage%5Bhits%5D=1"), "{asked}");
    let ended = waiting.answer(authorized(""), NOW);
    assert_eq!(trail(&ended).plan(), Some("Sandbox"));
    assert_eq!(verdict(&ended), "ok");
    let again = begin(&gate, &at(1, "/token").token("t"));
    assert_eq!((verdict(&again), trail(&again).calls.len()), ("ok", 0));
    assert_eq!(verdict(&begin(&gate, &at(1, "/token?app_id=acme-web"))), "21", "an id alone is no token");
}

/// A call to the backend: its name, and whether requests share it.
pub fn called(call: &Call) -> (&str, bool) {
    let name = path(call).trim_start_matches("/transactions/").split_once('.').unwrap().0;
    (name, matches!(call.sharing, Sharing::Joined(_)))
}

#[test]
fn exact_counting_waits_for_each_request_and_counts_no_refused_one() {
    let mut document = with(&[("counting", json!("exact")), ("caching", json!("strict"))]);
    document["apis"][0]["limits"] = json!([{"metric": "hits", "max": 3, "per": "minute"}]);
    let gate = gate(&document);
    let first = waiting(begin(&gate, &at(0, KEY)));
    assert_eq!(called(first.call().unwrap()), ("authorize", true));
    let first = waiting(first.answer(authorized(&hits(9, 0)), NOW));
    assert_eq!(called(first.call().unwrap()), ("authrep", false));
    assert_eq!(verdict(&first.answer(authorized(&hits(9, 1)), NOW)), "ok");
    // The answer was cached as the decision of the next request, which is counted only.
    let second = waiting(begin(&gate, &at(9, KEY)));
    assert_eq!(called(second.call().unwrap()), ("authrep", false));
    let second = second.answer(authorized(&hits(9, 9)), NOW.saturating_add(Duration::from_secs(9)));
    assert_eq!((verdict(&second), trail(&second).calls.len()), ("ok", 1));
    let third = waiting(begin(&gate, &at(18, KEY)));
    let refused_by_backend = refused(third.answer(rejected("limits_exceeded", "5"), NOW));
    assert_eq!(refused_by_backend.refusal().cause.code().digits(), "14");
    let cached = begin(&gate, &at(2, KEY));
    assert_eq!(verdict(&cached), "14", "a denial is cached, and the request is not sent to be counted");
    // The third charged nothing here either. The limit of the API refuses the fourth without a call.
    let fourth = waiting(begin(&gate, &at(6, KEY)));
    let fourth = waiting(fourth.answer(authorized(""), NOW));
    assert_eq!(verdict(&fourth.answer(authorized(""), NOW)), "ok");
    let fifth = begin(&gate, &at(7, KEY));
    assert_eq!(
        (verdict(&fifth), trail(&fifth).calls.len()),
        ("14", 0),
        "refused here, and not counted there"
    );
    assert_eq!(Reporter::start(&gate, 0).turn(&gate, 10, &accepted()), Vec::<String>::new(), "nothing twice");
}

#[test]
fn a_denial_replaces_the_decision_that_a_worker_remembers() {
    let gate = gate(&with(&[("counting", json!("exact"))]));
    let first = waiting(waiting(begin(&gate, &at(0, KEY))).answer(authorized(""), NOW));
    assert_eq!(verdict(&first.answer(authorized(""), NOW)), "ok");
    let second = waiting(begin(&gate, &at(1, KEY)));
    assert_eq!(called(second.call().unwrap()).0, "authrep");
    let later = NOW.saturating_add(Duration::from_secs(1));
    assert_eq!(verdict(&second.answer(rejected("limits_exceeded", "5"), later)), "14");
    let third = begin(&gate, &at(2, KEY));
    assert_eq!((verdict(&third), trail(&third).calls.len()), ("14", 0));
}

#[test]
fn exact_counting_is_made_up_for_after_an_outage_where_requests_pass_it() {
    let outage = Err(CallFailure::Failed);
    let allow = json!({"allow_applications": ["4f2e"]});
    for (caching, path, expected) in
        [("strict", KEY, "24"), ("strict", APPLICATION, "ok"), ("resilient", KEY, "ok"), ("none", KEY, "24")]
    {
        let settings = [
            ("counting", json!("exact")),
            ("caching", json!(caching)),
            ("unavailable", allow.clone()),
            ("cooldown", json!("0s")),
        ];
        let gate = gate(&with(&settings));
        let identified = waiting(waiting(begin(&gate, &at(0, path))).answer(authorized(""), NOW));
        assert_eq!(called(identified.call().unwrap()).0, "authrep");
        assert_eq!(verdict(&identified.answer(outage.clone(), NOW)), expected, "{caching} {path}");
        let sent = Reporter::start(&gate, 0).turn(&gate, 10, &accepted());
        assert_eq!(sent.len(), usize::from(expected == "ok"), "{caching} {path}: {sent:?}");
    }
    // A backend that works and refuses us is no outage.
    let gate = gate(&with(&[("counting", json!("exact")), ("caching", json!("allow"))]));
    let identified = waiting(waiting(begin(&gate, &at(0, KEY))).answer(authorized(""), NOW));
    assert_eq!(verdict(&identified.answer(error(403, "service_token_invalid"), NOW)), "24");
}

#[test]
fn clients_of_tokens_are_counted_at_once_by_oauth_authrep() {
    let gate = gate(&with(&[("counting", json!("exact"))]));
    let active = super::support::answer(&json!({"active": true, "client_id": "acme-web"}));
    let ask = at(0, "/token").token("t").with("x-sidegate-debug", "debug-me");
    let asked = waiting(waiting(begin(&gate, &ask)).answer(active, NOW));
    assert_eq!(called(asked.call().unwrap()), ("oauth_authorize", true));
    let counted = waiting(asked.answer(authorized(""), NOW));
    assert_eq!(called(counted.call().unwrap()), ("oauth_authrep", false));
    let permit = permit(counted.answer(authorized(""), NOW));
    let shown = "oauth_authorize service_id=123 app_id=*** usage[hits]=1 authorized, authrep authorized";
    assert_eq!(permit.into_response_headers().get("x-sidegate-asked"), Some(shown));
}

#[test]
fn callers_with_the_debug_secret_see_the_question_without_credentials() {
    let gate = gate(&policy());
    let shown = |step: Step<Shared>| {
        let headers = match step {
            Step::Ended(sidegate::gate::Ending::Refused(refused)) => refused.reply().headers.clone(),
            step => permit(step).into_response_headers(),
        };
        headers.get("x-sidegate-asked").map(str::to_owned)
    };
    let ask = at(0, "/words/new?app_id=4f2e&app_key=s3cret").with("referer", "acme.com");
    let asked =
        "authorize service_id=123 app_id=*** app_key=*** usage[writes]=2 usage[hits]=1 referrer=acme.com";
    assert_eq!(shown(through(&gate, &ask, &authorized(""))), None);
    let ask = ask.with("x-sidegate-debug", "debug-me");
    assert_eq!(shown(begin(&gate, &ask)).as_deref(), Some(format!("{asked} authorized")).as_deref());
    let bad = at(0, "/words/a?user_key=bad").with("x-sidegate-debug", "debug-me");
    let refused = through(&gate, &bad, &error(403, "user_key_invalid"));
    let asked = "authorize service_id=123 user_key=*** usage[hits]=1 user_key_invalid";
    assert_eq!(shown(refused).as_deref(), Some(asked));
}

/// The task that reports, as one worker runs it.
pub struct Reporter {
    running: Running<(), Shared>,
    wish: Wish,
}

impl Reporter {
    pub fn start(gate: &Driver<Shared>, second: u64) -> Self {
        let (policy, ports) = (std::rc::Rc::clone(gate.policy()), std::rc::Rc::clone(gate.ports()));
        let index = policy.providers.iter().position(|provider| provider.name() == "su1").unwrap();
        gate.ports().set_now(NOW.saturating_add(Duration::from_secs(second)));
        let mut running = Running::new(gate.ports(), async move {
            let Some(Provider::ServiceManagement(provider)) = policy.providers.get(index) else { panic!() };
            report(provider, index, &policy.ledger, &ports).await;
        });
        let Progress::Waits(wish) = running.start() else { panic!("it sleeps first") };
        Self { running, wish }
    }

    fn resume(&mut self, gate: &Driver<Shared>, second: u64, arrival: Arrival) {
        gate.ports().set_now(NOW.saturating_add(Duration::from_secs(second)));
        match self.running.resume(arrival) {
            Progress::Waits(wish) => self.wish = wish,
            Progress::Done(()) => self.wish = Wish::Moment(sidegate::time::Timestamp::MAX),
        }
    }

    /// One turn: the reports that it sends, each answered with `result`.
    pub fn turn(&mut self, gate: &Driver<Shared>, second: u64, result: &CallResult) -> Vec<String> {
        let mut bodies = Vec::new();
        self.resume(gate, second, Arrival::Moment(Wake::Due));
        while let Wish::Response(call) = self.wish.clone() {
            let Transport::Http(request) = &call.transport else { panic!("not HTTP") };
            assert_eq!((request.method, call.sharing), ("POST", Sharing::Alone));
            let body: Vec<_> = form_urlencoded::parse(&request.body)
                .filter(|(name, _)| name.starts_with("transactions"))
                .map(|(name, value)| format!("{}={value}", name.trim_start_matches("transactions")))
                .collect();
            bodies.push(body.join("&"));
            let answered = Answered {
                result: std::rc::Rc::new(result.clone()),
                role: Role::Leader,
                took: Duration::ZERO,
            };
            self.resume(gate, second, Arrival::Response(answered));
        }
        bodies
    }
}

pub fn accepted() -> CallResult {
    http(202, &[], "")
}

#[test]
fn usage_is_reported_once_and_comes_back_if_the_report_fails() {
    let gate = gate(&policy());
    let mut reporter = Reporter::start(&gate, 0);
    assert_eq!(reporter.turn(&gate, 10, &accepted()), Vec::<String>::new(), "nothing to report, no call");
    for _ in 0..3 {
        through(&gate, &at(11, KEY), &authorized(""));
    }
    through(&gate, &at(11, "/words/a?user_key=bad"), &error(403, "user_key_invalid"));
    assert_eq!(reporter.turn(&gate, 20, &http(500, &[], "")), ["[0][user_key]=k3y&[0][usage][hits]=3"]);
    through(&gate, &at(21, KEY), &authorized(""));
    assert_eq!(reporter.turn(&gate, 30, &Err(CallFailure::Failed)), ["[0][user_key]=k3y&[0][usage][hits]=4"]);
    assert_eq!(reporter.turn(&gate, 40, &accepted()), ["[0][user_key]=k3y&[0][usage][hits]=4"]);
    assert_eq!(reporter.turn(&gate, 50, &accepted()), Vec::<String>::new());
    let reports = gate.ports().take_reports();
    let unreported = |amount| Report::Unreported { provider: 1, amount };
    let amounts: Vec<_> =
        reports.into_iter().filter(|report| matches!(report, Report::Unreported { .. })).collect();
    assert_eq!(amounts, [0, 3, 4, 4, 0, 0].map(unreported));
}

#[test]
fn one_worker_reports_for_all_and_the_next_policy_goes_on() {
    let gate = gate(&policy());
    let [mut one, mut other] = [(), ()].map(|()| Reporter::start(&gate, 0));
    through(&gate, &at(1, KEY), &authorized(""));
    assert_eq!(one.turn(&gate, 10, &Err(CallFailure::Failed)).len(), 1);
    assert_eq!(other.turn(&gate, 10, &accepted()).len(), 0);
    one.resume(&gate, 11, Arrival::Moment(Wake::LastTurn));
    let mut next = Reporter::start(&gate, 11);
    assert_eq!(next.turn(&gate, 12, &accepted()), ["[0][user_key]=k3y&[0][usage][hits]=1"]);
}

#[test]
fn what_the_backend_never_accepted_is_reported_alone() {
    let gate = gate(&with(&[("caching", json!("allow")), ("cooldown", json!("0s"))]));
    through(&gate, &at(0, KEY), &authorized(""));
    through(&gate, &at(0, APPLICATION), &authorized(""));
    through(&gate, &at(0, "/words/a?user_key=new"), &Err(CallFailure::Failed));
    let mut sent = Reporter::start(&gate, 0).turn(&gate, 10, &accepted());
    assert_eq!(sent.len(), 2);
    assert_eq!(sent.pop().unwrap(), "[0][user_key]=new&[0][usage][hits]=1");
    assert!(sent[0].contains("k3y") && sent[0].contains("4f2e"), "{sent:?}");
}

#[test]
fn the_codes_of_answers_travel_with_the_usage_that_they_answer() {
    let gate = gate(&with(&[("reporting", json!({"codes": true}))]));
    let answer = |path: &str, status: u16| {
        let mut permit = permit(through(&gate, &at(0, path), &authorized("")));
        let coded = permit.take_coded().unwrap();
        coded.answered(status, gate.policy(), gate.ports());
    };
    for status in [200, 404, 200] {
        answer(KEY, status);
    }
    answer("/words/new?user_key=k3y", 201);
    let mut reporter = Reporter::start(&gate, 0);
    let one = |index: usize, used: &str, code: u16| {
        format!("[{index}][user_key]=k3y&[{index}][usage]{used}&[{index}][log][code]={code}")
    };
    let failed = reporter.turn(&gate, 10, &http(500, &[], ""));
    let whole = reporter.turn(&gate, 20, &accepted());
    assert_eq!(failed, whole, "codes of a report that failed come back");
    let codes = |body: &str| body.matches("[log][code]").count();
    assert_eq!((whole.len(), codes(&whole[0])), (1, 4), "{whole:?}");
    assert_eq!(reporter.turn(&gate, 30, &accepted()), Vec::<String>::new());
    // A code that comes after its usage was reported waits for the next usage.
    let mut late = permit(through(&gate, &at(31, KEY), &authorized("")));
    assert_eq!(reporter.turn(&gate, 40, &accepted()), ["[0][user_key]=k3y&[0][usage][hits]=1"]);
    late.take_coded().unwrap().answered(503, gate.policy(), gate.ports());
    assert_eq!(reporter.turn(&gate, 50, &accepted()), Vec::<String>::new());
    permit(through(&gate, &at(51, KEY), &authorized("")));
    assert_eq!(reporter.turn(&gate, 60, &accepted()), [one(0, "[hits]=1", 503)]);
}

#[test]
fn nobody_asks_for_codes_by_default() {
    let gate = gate(&policy());
    assert!(permit(through(&gate, &at(0, KEY), &authorized(""))).take_coded().is_none());
}
