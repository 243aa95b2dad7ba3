//! Quotas of whole requests: who pays, which limits apply together, and which requests cost nothing.

use std::{cell::Cell, rc::Rc, time::Duration};

use serde_json::{Value, json};
use sidegate::{
    gate::{
        Ending, Request,
        drive::{Driver, Step},
    },
    store::Store,
};

use super::{
    asked, begin, code, gate, headers, load, permit, refused,
    support::{Ask, NOW, Shared, answer, ask, consumer, document, get},
    through, trail, verdict,
};

/// An API for keys and tokens; `acme` and `globex` are on the plan `basic`, which has these limits.
fn plan(limits: Value) -> Value {
    let consumers = ["acme", "globex"].map(|name| {
        let mut consumer = consumer(name);
        consumer["plan"] = json!("basic");
        consumer
    });
    let introspection = json!({"introspection": {"provider": "hydra"}});
    let rules = json!([{"path": "/**"}, {"path": "/open/**", "access": ["allow"]}]);
    let api = json!({"name": "a", "base_path": "/a", "access": ["api_key", introspection], "rules": rules});
    let other = json!({"name": "b", "base_path": "/b", "access": ["api_key"], "rules": [{"path": "/**"}]});
    let mut document = document(json!(consumers), json!([api, other]));
    document["plans"] = json!({"basic": {"limits": limits}});
    document
}

/// The same, with the limits on the API `a` instead.
fn api(limits: Value) -> Value {
    let mut document = plan(json!([{"metric": "hits", "max": 1_000_000, "per": "eternity"}]));
    document["apis"][0]["limits"] = limits;
    document
}

/// The outcomes of these requests, one after the other.
fn run<S: Store + 'static>(gate: &Driver<S>, asks: &[Ask]) -> String {
    asks.iter().map(|ask| asked(gate, ask)).collect::<Vec<_>>().join(" ")
}

fn acme() -> Ask {
    get("/a/x").key("key-of-acme")
}

fn globex() -> Ask {
    get("/a/x").key("key-of-globex")
}

/// A request with a token of this client and subject.
fn by_token<S: Store + 'static>(
    gate: &Driver<S>,
    client: Option<&str>,
    subject: Option<&str>,
    address: &'static str,
) -> &'static str {
    let token = format!("{}-{}", client.unwrap_or("none"), subject.unwrap_or("none"));
    let ask = Ask { address: Some(address), ..get("/a/x").token(&token) };
    verdict(&through(gate, &ask, &answer(&json!({"active": true, "client_id": client, "sub": subject}))))
}

#[test]
fn a_limit_admits_exactly_its_max_and_then_refuses() {
    let gate = gate(&plan(json!([{"metric": "hits", "max": 3, "per": "day"}])));
    let asks = [acme(), acme(), acme(), acme(), acme(), globex()];
    assert_eq!(run(&gate, &asks), "ok ok ok 14 14 ok", "each consumer has its own");
    assert_eq!(run(&gate, &[get("/b/x").key("key-of-acme")]), "14", "a plan's limit holds over all APIs");
}

#[test]
fn an_apis_limits_count_on_that_api_alone() {
    let gate = gate(&api(json!([{"metric": "hits", "max": 1, "per": "day"}])));
    assert_eq!(run(&gate, &[acme(), acme(), get("/b/x").key("key-of-acme"), globex()]), "ok 14 ok ok");
}

#[test]
fn usage_counts_together_by_what_the_limit_says() {
    let of = |of: &str| gate(&api(json!([{"metric": "hits", "max": 1, "per": "day", "of": of}])));
    let (one, two) = ("192.0.2.1", "192.0.2.2");

    let consumer = of("consumer");
    assert_eq!(by_token(&consumer, Some("acme-web"), Some("alice"), one), "ok");
    assert_eq!(by_token(&consumer, Some("acme-web"), Some("bob"), two), "14", "of: consumer");
    assert_eq!(asked(&consumer, &acme()), "14", "by key or by token, it is the same consumer");
    assert_eq!(by_token(&consumer, Some("globex-web"), Some("alice"), one), "ok");

    let client = of("client");
    assert_eq!(by_token(&client, Some("c1"), Some("alice"), one), "ok");
    assert_eq!(by_token(&client, Some("c1"), Some("bob"), two), "14", "of: client");
    assert_eq!(by_token(&client, Some("c2"), Some("alice"), one), "ok");

    let subject = of("subject");
    assert_eq!(by_token(&subject, Some("c1"), Some("alice"), one), "ok");
    assert_eq!(by_token(&subject, Some("c2"), Some("alice"), two), "14", "of: subject");
    assert_eq!(by_token(&subject, Some("c1"), Some("bob"), one), "ok");

    let address = of("address");
    assert_eq!(by_token(&address, Some("c1"), Some("alice"), one), "ok");
    assert_eq!(by_token(&address, Some("c2"), Some("bob"), one), "14", "of: address");
    assert_eq!(by_token(&address, Some("c1"), Some("alice"), two), "ok");

    let everybody = of("api");
    assert_eq!(by_token(&everybody, Some("c1"), Some("alice"), one), "ok");
    assert_eq!(by_token(&everybody, Some("c2"), Some("bob"), two), "14", "of: api");
}

#[test]
fn a_caller_without_one_identity_is_counted_by_the_next() {
    let of = |of: &str| gate(&api(json!([{"metric": "hits", "max": 1, "per": "day", "of": of}])));
    let open = |address| Ask { address, ..get("/a/open/x") };

    let consumer = of("consumer");
    assert_eq!(by_token(&consumer, Some("c1"), Some("alice"), "192.0.2.1"), "ok");
    assert_eq!(by_token(&consumer, Some("c1"), Some("bob"), "192.0.2.2"), "14", "no consumer: by client");
    assert_eq!(by_token(&consumer, None, Some("carol"), "192.0.2.1"), "ok");
    assert_eq!(by_token(&consumer, None, Some("carol"), "192.0.2.2"), "14", "no client: by subject");
    assert_eq!(by_token(&consumer, None, None, "192.0.2.3"), "ok");
    assert_eq!(asked(&consumer, &open(Some("192.0.2.3"))), "14", "no subject: by address");
    assert_eq!(asked(&consumer, &open(Some("192.0.2.4"))), "ok");
    assert_eq!(asked(&consumer, &open(None)), "ok");
    assert_eq!(asked(&consumer, &open(None)), "14", "all callers without an address share one counter");

    for kind in ["client", "subject"] {
        let gate = of(kind);
        assert_eq!(run(&gate, &[acme(), acme(), globex()]), "ok 14 ok", "{kind}: by consumer");
    }
}

#[test]
fn limits_of_several_kinds_with_one_payer_do_not_count_twice() {
    let limits = json!([
        {"metric": "hits", "max": 4, "per": "day"},
        {"metric": "hits", "max": 4, "per": "day", "of": "client"},
        {"metric": "hits", "max": 4, "per": "day", "of": "subject"},
    ]);
    for document in [plan(limits.clone()), api(limits)] {
        let gate = gate(&document);
        assert_eq!(run(&gate, &vec![acme(); 5]), "ok ok ok ok 14", "four are admitted, whoever pays");
    }
}

#[test]
fn a_bindings_plan_replaces_the_consumers_and_the_stricter_of_plan_and_binding_holds() {
    let mut document = plan(json!([{"metric": "hits", "max": 1, "per": "day"}]));
    document["plans"]["gold"] = json!({"environment": "gold", "limits": [
        {"metric": "hits", "max": 3, "per": "day"}, {"metric": "hits", "max": 9, "per": "month"},
    ]});
    let mut run_with = |binding: Value, expected: &str, sentence: &str| {
        let mut binding = binding;
        binding["consumer"] = json!("acme");
        binding["allow"] = json!("all");
        document["apis"][0]["bindings"] = json!([binding]);
        assert_eq!(run(&gate(&document), &vec![acme(); 5]), expected, "{sentence}");
    };
    run_with(json!({}), "ok 14 14 14 14", "the consumer's plan");
    run_with(json!({"plan": "gold"}), "ok ok ok 14 14", "the binding's plan instead");
    let limit = |max: u64| json!([{"metric": "hits", "max": max, "per": "day"}]);
    run_with(
        json!({"plan": "gold", "limits": limit(2)}),
        "ok ok 14 14 14",
        "the binding's limit is stricter",
    );
    run_with(json!({"plan": "gold", "limits": limit(4)}), "ok ok ok 14 14", "the plan's limit is stricter");
    let week = json!([{"metric": "hits", "max": 2, "per": "week"}]);
    run_with(
        json!({"plan": "gold", "limits": week}),
        "ok ok 14 14 14",
        "limits of other windows add to the plan's",
    );
    run_with(
        json!({"limits": limit(4)}),
        "ok 14 14 14 14",
        "a binding without a plan adds its limits to the consumer's plan",
    );
}

#[test]
fn the_trail_names_the_plan_that_applies() {
    let mut document = plan(json!([{"metric": "hits", "max": 1, "per": "day"}]));
    document["plans"]["gold"] = json!({});
    document["apis"][0]["bindings"] =
        json!([{"consumer": "acme", "allow": "all", "plan": "gold"}, {"consumer": "globex", "allow": "all"}]);
    let gate = gate(&document);
    assert_eq!(trail(&begin(&gate, &acme())).plan(), Some("gold"));
    assert_eq!(trail(&begin(&gate, &globex())).plan(), Some("basic"));
}

#[test]
fn usage_of_a_metric_counts_for_its_ancestors_and_rules_add_up() {
    let mut document =
        plan(json!([{"metric": "all", "max": 5, "per": "day"}, {"metric": "reads", "max": 2, "per": "day"}]));
    document["metrics"] = json!({"all": {}, "reads": {"parent": "all"}, "writes": {"parent": "all"}});
    document["apis"][0]["metering"] = json!([
        {"path": "/**", "methods": ["GET"], "metric": "reads"},
        {"path": "/**", "methods": ["POST"], "metric": "writes", "by": 2},
        {"path": "/twice", "methods": ["POST"], "metric": "writes"},
        {"path": "/free", "methods": ["PUT"], "metric": "reads"},
    ]);
    let gate = gate(&document);
    let post = |path: &str| ask("POST", path).key("key-of-acme");
    let asks = [
        acme(),
        acme(),
        acme(),
        post("/a/x"),
        post("/a/x"),
        post("/a/twice"),
        ask("PUT", "/a/x").key("key-of-acme"),
    ];
    assert_eq!(
        run(&gate, &asks),
        "ok ok 14 ok 14 14 ok",
        "reads 2; all 2 + 2, then 2 more are one too many; PUT counts nothing"
    );
}

#[test]
fn a_disabled_metric_is_forbidden_without_a_time_to_retry() {
    let gate = gate(&plan(json!([{"metric": "hits", "max": 0, "per": "eternity"}])));
    let refused = refused(begin(&gate, &acme()));
    assert_eq!((code(&refused), headers(&refused, "retry-after").len()), ("27", 0));
    assert_eq!(gate.ports().store().store().keys(), 0, "and the store is not used");
}

#[test]
fn three_limits_hold_at_once_and_a_refused_request_costs_no_quota() {
    let limits = json!([
        {"metric": "hits", "max": 2, "per": "second"}, {"metric": "hits", "max": 3, "per": "minute"},
        {"metric": "hits", "max": 4, "per": "hour"},
    ]);
    let gate = gate(&plan(limits));
    let at = |seconds: u64| Ask { at: NOW.saturating_add(Duration::from_secs(seconds)), ..acme() };
    assert_eq!(run(&gate, &[at(0), at(0), at(0), at(0)]), "ok ok 14 14", "two a second");
    assert_eq!(
        run(&gate, &[at(1), at(1), at(2)]),
        "ok 14 14",
        "three a minute: those refused above cost nothing"
    );
    assert_eq!(run(&gate, &[at(60), at(61), at(120)]), "ok 14 14", "four an hour");
    assert_eq!(run(&gate, &[at(3600)]), "ok", "all windows have moved");
}

#[test]
fn when_a_later_meter_refuses_the_earlier_ones_get_their_charge_back() {
    let mut document = plan(json!([{"metric": "hits", "max": 2, "per": "day"}]));
    document["apis"][0]["limits"] = json!([
        {"metric": "hits", "max": 1, "per": "minute", "of": "api"}, {"metric": "hits", "max": 9, "per": "day", "of": "address"},
    ]);
    document["gate"]["rate_limit_headers"] = json!("both");
    let gate = gate(&document);
    let at = |minutes: u64| Ask { at: NOW.saturating_add(Duration::from_secs(60 * minutes)), ..acme() };
    assert_eq!(run(&gate, &[at(0), at(0), at(0), at(1), at(1), at(2)]), "ok 14 14 ok 14 14");
    let refused = refused(begin(&gate, &at(3)));
    assert_eq!(
        headers(&refused, "x-ratelimit-limit"),
        ["2"],
        "two were admitted and counted, and the plan refuses now"
    );
}

#[test]
fn an_unauthorised_request_costs_no_quota() {
    let mut document = api(json!([{"metric": "hits", "max": 1, "per": "day", "of": "api"}]));
    document["apis"][0]["bindings"] = json!([{"consumer": "acme", "allow": {"methods": ["GET"]}}]);
    let gate = gate(&document);
    let asks = [
        get("/a/x"),
        get("/a/x").key("guess"),
        get("/a/x").key("a").key("b"),
        globex(),
        ask("PUT", "/a/x").key("key-of-acme"),
    ];
    assert_eq!(run(&gate, &asks), "21 13 20 13 13");
    for (token, reply) in [
        ("t1", json!({"active": false})),
        ("t2", json!({"active": true, "client_id": "stranger"})),
        ("t3", json!({})),
    ] {
        through(&gate, &get("/a/x").token(token), &answer(&reply));
    }
    assert_eq!(run(&gate, &[acme(), acme()]), "ok 14");
}

#[test]
fn windows_move_with_the_clock_and_never_back() {
    let gate = gate(&plan(json!([{"metric": "hits", "max": 1, "per": "minute"}])));
    let at = |millis: u64| Ask { at: NOW.saturating_add(Duration::from_millis(millis)), ..acme() };
    assert_eq!(run(&gate, &[at(0), at(59_999), at(60_000), at(60_001), at(30_000)]), "ok 14 ok 14 14");
}

#[test]
fn callers_see_their_limits_when_admitted_and_when_refused() {
    let limits =
        json!([{"metric": "hits", "max": 2, "per": "minute"}, {"metric": "hits", "max": 9, "per": "day"}]);
    let mut document = plan(limits);
    let outcomes = |document: &Value| {
        let gate = gate(document);
        let admitted = permit(begin(&gate, &acme())).into_response_headers();
        let _second = begin(&gate, &acme());
        let refused = refused(begin(&gate, &acme()));
        (admitted, refused)
    };
    let (admitted, _) = outcomes(&document);
    let names: Vec<_> = admitted.iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["ratelimit-policy", "ratelimit"], "the default");

    document["gate"]["rate_limit_headers"] = json!("both");
    let (admitted, refused) = outcomes(&document);
    let lines: Vec<_> = admitted.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    assert_eq!(
        lines,
        [
            "ratelimit-policy: \"hits-minute\";q=2;w=60, \"hits-day\";q=9;w=86400",
            "ratelimit: \"hits-minute\";r=1;t=60, \"hits-day\";r=8;t=43200",
            "x-ratelimit-limit: 2",
            "x-ratelimit-remaining: 1",
            "x-ratelimit-reset: 60",
        ]
    );
    assert_eq!(headers(&refused, "retry-after"), ["60"]);
    assert_eq!(headers(&refused, "ratelimit"), ["\"hits-minute\";r=0;t=60"]);
    assert_eq!(headers(&refused, "x-ratelimit-remaining"), ["0"]);

    document["gate"]["rate_limit_headers"] = json!("none");
    let (admitted, refused) = outcomes(&document);
    assert_eq!((admitted.is_empty(), headers(&refused, "ratelimit").len()), (true, 0));
    assert_eq!(headers(&refused, "retry-after"), ["60"], "`retry-after` is sent nevertheless");
}

#[test]
fn an_exhausted_limit_per_eternity_has_no_time_to_retry() {
    let gate = gate(&plan(json!([{"metric": "hits", "max": 1, "per": "eternity"}])));
    let _first = begin(&gate, &acme());
    let refused = refused(begin(&gate, &acme()));
    assert_eq!((code(&refused), headers(&refused, "retry-after").len()), ("14", 0));
}

#[test]
fn counters_belong_to_the_store_and_outlive_the_policy() {
    let store = Shared::default();
    let mut document = plan(json!([{"metric": "hits", "max": 3, "per": "day"}]));
    let before = Driver::new(load(&document), store.clone());
    assert_eq!(run(&before, &[acme(), acme()]), "ok ok");
    document["revision"] = json!("r2");
    document["plans"]["another"] = json!({});
    let after = Driver::new(load(&document), store);
    assert_eq!(run(&after, &[acme(), acme()]), "ok 14");
    assert_eq!(run(&before, &[acme()]), "14", "the old policy counts in the same meters");
}

#[test]
fn invalid_bytes_in_a_meter_are_ignored_and_counted() {
    let mut document = plan(json!([{"metric": "hits", "max": 1, "per": "day"}]));
    document["gate"]["capacity"] = json!({"meters": 1});
    let gate = gate(&document);
    assert_eq!(asked(&gate, &acme()), "ok");
    let (_, cas) = gate.ports().store().store().get("sidegate/meters/0");
    gate.ports().store().store().compare_and_swap("sidegate/meters/0", b"\x09junk", cas.unwrap()).unwrap();
    let step = begin(&gate, &acme());
    assert_eq!((verdict(&step), gate.ports().take_incidents().corrupt), ("ok", 1));
    let step = begin(&gate, &acme());
    assert_eq!(
        (verdict(&step), gate.ports().take_incidents().corrupt),
        ("14", 0),
        "it counts again from there"
    );
}

#[test]
fn only_a_limit_by_address_asks_for_the_address() {
    let asks = Rc::new(Cell::new(0));
    let limit = |of: &str| json!([{"metric": "hits", "max": 9, "per": "day", "of": of}]);
    for (of, expected) in [("consumer", 0), ("api", 0), ("client", 0), ("address", 1)] {
        asks.set(0);
        let gate = gate(&api(limit(of)));
        let counted = Rc::clone(&asks);
        let address = move || {
            counted.set(counted.get() + 1);
            Some("192.0.2.1".to_owned())
        };
        let request = Request::new(acme().headers.into(), address, 1);
        assert_eq!(verdict(&gate.begin(request, NOW)), "ok");
        assert_eq!(asks.get(), expected, "{of}");
    }
}

#[test]
fn a_limit_per_key_counts_each_key_of_a_consumer() {
    let mut document = plan(json!([
        {"metric": "hits", "max": 2, "per": "day", "of": "key"}, {"metric": "hits", "max": 5, "per": "day"},
    ]));
    document["consumers"][0]["keys"] = json!([
        {"id": "one", "sha256": super::support::sha256("key-of-acme")},
        {"id": "two", "sha256": super::support::sha256("another-of-acme")},
    ]);
    let gate = gate(&document);
    let other = || get("/a/x").key("another-of-acme");
    assert_eq!(run(&gate, &[acme(), acme(), acme(), other(), other(), other()]), "ok ok 14 ok ok 14");
    let refused = refused(begin(&gate, &acme()));
    assert_eq!(headers(&refused, "ratelimit"), ["\"key-hits-day\";r=0;t=43200"]);
    // A token of the same consumer counts for the consumer.
    for expected in ["ok", "14"] {
        assert_eq!(by_token(&gate, Some("acme-web"), Some("alice"), "192.0.2.1"), expected);
    }
}

#[test]
fn a_rule_may_tell_callers_their_limits_without_charging() {
    let mut document = plan(json!([
        {"metric": "hits", "max": 3, "per": "day"}, {"metric": "writes", "max": 9, "per": "eternity"},
    ]));
    document["metrics"] = json!({"hits": {}, "writes": {}});
    document["apis"][0]["limits"] = json!([{"metric": "hits", "max": 5, "per": "hour", "of": "api"}]);
    document["apis"][0]["unmetered"] = json!("refuse");
    document["apis"][0]["metering"] = json!([{"path": "/x", "metric": "hits"}]);
    let rule = json!({"path": "/usage", "methods": ["GET"], "answer": "usage"});
    document["apis"][0]["rules"].as_array_mut().unwrap().push(rule);
    let gate = gate(&document);
    let usage = |ask: &Ask| {
        let Step::Ended(Ending::Answer(answer)) = begin(&gate, ask) else { panic!("no answer") };
        assert_eq!(answer.reply().headers.get("content-type"), Some("application/json"));
        serde_json::from_str::<Value>(&answer.reply().body).unwrap()
    };
    let ask = get("/a/usage").key("key-of-acme");
    let expected = |hits: u64, of_api: u64| {
        let limit = |name: &str, metric: &str, per: &str, max: u64, used: u64, reset: Value| json!({"limit": name, "metric": metric, "per": per, "max": max, "used": used, "remaining": max - used, "reset": reset});
        json!({"limits": [
            limit("hits-day", "hits", "day", 3, hits, json!(43_200)),
            limit("writes-eternity", "writes", "eternity", 9, 0, Value::Null),
            limit("api-hits-hour", "hits", "hour", 5, of_api, json!(3_600)),
        ]})
    };
    assert_eq!(usage(&ask), expected(0, 0));
    assert_eq!(run(&gate, &[acme(), globex(), acme(), acme(), acme()]), "ok ok ok ok 14");
    assert_eq!(usage(&ask), expected(3, 4), "also when a limit is reached");
    assert_eq!(usage(&ask), expected(3, 4), "asking costs nothing");
    assert_eq!(usage(&get("/a/usage").key("key-of-globex")), expected(1, 4));
    assert_eq!(run(&gate, &[get("/a/usage"), get("/a/usage").key("guess")]), "21 13");
    let preflight = super::support::ask("OPTIONS", "/a/usage").with("origin", "https://app.example");
    permit(begin(&gate, &preflight.with("access-control-request-method", "GET")));
    document["apis"][0]["shadow"] = json!(true);
    permit(begin(&self::gate(&document), &get("/a/usage").key("guess")));
}

#[test]
fn a_refusal_is_made_for_its_caller() {
    let gate = gate(&plan(json!([
        {"metric": "hits", "max": 1, "per": "day"}, {"metric": "hits", "max": 1, "per": "hour"},
        {"metric": "hits", "max": 9, "per": "year"},
    ])));
    assert_eq!(asked(&gate, &acme()), "ok");
    let reply = |step| refused(step).reply().clone();
    let problem = reply(begin(&gate, &acme().with("accept", "application/problem+json")));
    assert_eq!(problem.headers.get("content-type"), Some("application/problem+json"));
    let body: Value = serde_json::from_str(&problem.body).unwrap();
    assert_eq!(body["violated-policies"], json!(["hits-day", "hits-hour"]));
    let by_key = reply(begin(&gate, &acme().with("accept", "application/json")));
    assert!(by_key.body.contains("\"The Api key you are using has exceeded its rate limit.\""));
    let answer = answer(&json!({"active": true, "client_id": "acme-web"}));
    let by_token = reply(through(&gate, &get("/a/x").token("t"), &answer));
    assert!(by_token.body.contains("\"The access token you are using has exceeded its rate limit.\""));
}
