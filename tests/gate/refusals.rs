//! Every row of the refusal table that these features cause in the core, with its reason, and the order in
//! which faults are reported.

use serde_json::{Value, json};
use sidegate::{
    gate::drive::Driver,
    provider::{Body, CallFailure, CallResult, HttpResponse, Response},
    refusal::Blame,
    reply::{GrpcStatus, Protocol},
    store::{Disturbed, Store},
};

use super::{
    asked, begin, code, gate, headers, load, refused,
    support::{Ask, NOW, answer, ask, consumer, document, get, http, sha256},
    through, verdict,
};

/// An API with rules of all kinds, bound to `acme` and, for GET below `/orders`, to `initech`; `globex` has
/// no binding.
fn everything() -> Value {
    let mut acme = consumer("acme");
    acme["keys"] = json!([
        {"id": "good", "sha256": sha256("key-of-acme")},
        {"id": "off", "sha256": sha256("key-switched-off"), "state": "inactive"},
        {"id": "old", "sha256": sha256("key-expired"), "not_after": "2026-11-20T12:00:00Z"},
    ]);
    let mut sleepy = consumer("sleepy");
    sleepy["state"] = json!("suspended");
    let strict = json!([{"introspection": {
        "provider": "hydra", "scopes": ["orders.read", "orders.write"], "issuers": ["https://idp"], "audience": {"all": ["orders"]},
    }}]);
    let api = json!({
        "name": "orders",
        "hosts": ["api.example.com"],
        "base_path": "/v1",
        "credentials": {"api_key": [{"header": "apikey"}, {"query": "api_key"}]},
        "access": ["api_key"],
        "rules": [
            {"path": "/**"},
            {"path": "/closed", "access": ["deny"]},
            {"path": "/token", "methods": ["GET", "PUT"], "access": strict},
            {"path": "/either", "access": [{"introspection": {"provider": "hydra"}}, "api_key"]},
            {"path": "/limited"},
            {"path": "/disabled"},
        ],
        "metering": [{"path": "/limited", "metric": "hits"}, {"path": "/disabled", "metric": "writes"}],
        "limits": [{"metric": "hits", "max": 1, "per": "day"}, {"metric": "writes", "max": 0, "per": "eternity"}],
        "bindings": [
            {"consumer": "acme", "allow": "all"},
            {"consumer": "sleepy", "allow": "all"},
            {"consumer": "initech", "paths": [{"path": "/orders/**", "allow": {"methods": ["GET"]}}]},
        ],
    });
    let consumers = json!([acme, sleepy, consumer("globex"), consumer("initech")]);
    let mut document = document(consumers, json!([api]));
    document["metrics"] = json!({"writes": {}});
    document
}

fn good() -> Value {
    json!({"active": true, "client_id": "acme-web", "iss": "https://idp", "aud": "orders", "scope": "orders.read orders.write"})
}

/// The valid answer with one member changed.
fn but(member: &str, value: Value) -> CallResult {
    let mut body = good();
    body[member] = value;
    answer(&body)
}

fn too_long() -> CallResult {
    let Ok(Response::Http(response)) = answer(&Value::Null) else { panic!("not HTTP") };
    Ok(Response::Http(HttpResponse { body: Body::TooLong, ..response }))
}

fn status(status: u16, retry_after: Option<u64>) -> CallResult {
    let retry_after = retry_after.map(|seconds| seconds.to_string());
    let headers: Vec<_> = retry_after.iter().map(|seconds| ("retry-after", seconds.as_str())).collect();
    http(status, &headers, "")
}

/// Code, status and reason of the refusal that `ask` gets, with `reply` where a call is made.
fn outcome<S: Store + 'static>(
    gate: &Driver<S>,
    ask: &Ask,
    reply: &CallResult,
) -> (&'static str, u16, String) {
    let refused = refused(through(gate, ask, reply));
    let row = refused.refusal().cause.row();
    assert_eq!(refused.reply().status, row.status);
    assert_eq!(headers(&refused, "x-sidegate-code"), [row.code.digits()]);
    (row.code.digits(), row.status, refused.refusal().reason.as_str().to_owned())
}

#[test]
fn every_fault_of_the_request_has_its_code_and_reason() {
    let gate = gate(&everything());
    let key = |path: &str| get(path).key("key-of-acme");
    let tokens = |path: &str, value: &str| get(path).with("authorization", value);
    let table = [
        (get("/v2/orders"), "00", 404, "no API for host and path"),
        (get("/v1x"), "00", 404, "no API for host and path"),
        (ask("OPTIONS", "*"), "00", 404, "no API for host and path"),
        (get("/v1/orders"), "12", 403, "no API key was presented"),
        (get("/v1/orders").key(""), "12", 403, "no API key was presented"),
        (get("/v1/orders").token("t"), "12", 403, "no API key was presented"),
        (get("/v1/orders").key("guess"), "13", 401, "the API key is unknown"),
        (get("/v1/orders").key("KEY-OF-ACME"), "13", 401, "the API key is unknown"),
        (get("/v1/orders").key("key-switched-off"), "13", 401, "the API key is inactive"),
        (get("/v1/orders").key("key-expired"), "13", 401, "the API key has expired"),
        (get("/v1/orders").key("key-of-sleepy"), "13", 401, "the API key's consumer is suspended"),
        (get("/v1/orders").key("key-of-globex"), "13", 401, "the consumer has no binding on the API"),
        (
            ask("PUT", "/v1/orders").key("key-of-initech"),
            "13",
            401,
            "the binding does not grant this method and path",
        ),
        (
            get("/v1/files").key("key-of-initech"),
            "13",
            401,
            "the binding does not grant this method and path",
        ),
        (key("/v1/%zz"), "20", 400, "an escape is malformed"),
        (key("orders"), "20", 400, "the path does not start with a slash"),
        (key("/v1/orders").key("key-of-acme"), "20", 400, "the credential appears twice"),
        (key("/v1/orders?api_key=key-of-acme"), "20", 400, "the credential appears twice"),
        (get("/v1/orders").with("apikey", b"\xff"), "20", 400, "the credential cannot be decoded"),
        (get("/v1/orders?api_key=%ff"), "20", 400, "the credential cannot be decoded"),
        (get("/v1/orders").key(&"k".repeat(16 * 1024 + 1)), "20", 400, "the credential is too long"),
        (tokens("/v1/token", "Bearer"), "20", 400, "no single token follows the authentication scheme"),
        (tokens("/v1/token", "Bearer a b"), "20", 400, "no single token follows the authentication scheme"),
        (get("/v1/token").token("a").token("a"), "20", 400, "the credential appears twice"),
        (get("/v1/token"), "21", 401, "no credential was presented"),
        (tokens("/v1/token", "Basic YTpi"), "21", 401, "no credential was presented"),
        (key("/v1/token"), "21", 401, "no credential was presented"),
        (get("/v1/either"), "21", 401, "no credential was presented"),
        (ask("DELETE", "/v1/token").key("key-of-acme"), "26", 405, "no rule for the method"),
        (get("/v1/closed"), "27", 403, "the rule denies all access"),
        (key("/v1/closed"), "27", 403, "the rule denies all access"),
        (key("/v1/disabled"), "27", 403, "a limit is 0 or smaller than the request's usage"),
    ];
    for (ask, code, status, reason) in table {
        let (found, found_status, found_reason) = outcome(&gate, &ask, &Err(CallFailure::Failed));
        assert_eq!((found, found_status), (code, status), "{found_reason}: {ask:?}");
        if code != "20" || !reason.contains("path") && !reason.contains("escape") {
            assert_eq!(found_reason, reason, "{ask:?}");
        }
    }
}

#[test]
fn a_method_host_or_path_that_is_not_utf8_is_malformed() {
    let gate = gate(&everything());
    for name in [":method", ":authority", ":path"] {
        let mut ask = get("/v1/orders").key("key-of-acme");
        ask.headers.retain(|(other, _)| other != name);
        assert_eq!(asked(&gate, &ask.with(name, b"/\xff")), "20", "{name}");
    }
    assert_eq!(
        asked(&gate, &Ask { headers: Vec::new(), address: None, ..get("/") }),
        "20",
        "no header at all"
    );
}

#[test]
fn a_host_that_servers_read_in_different_ways_is_malformed() {
    let mut open = everything();
    open["gate"]["unmatched"] = json!("pass");
    let gate = gate(&open);
    for host in [
        "x@api.example.com",
        "evil.com,api.example.com",
        "api.example.com:80:81",
        "api.example.com..",
        "api%2eexample.com",
    ] {
        let mut ask = get("/v1/orders").key("key-of-acme");
        ask.headers.retain(|(other, _)| other != ":authority");
        assert_eq!(asked(&gate, &ask.with(":authority", host)), "20", "{host}");
    }
}

#[test]
fn every_answer_of_the_provider_has_its_code_and_reason() {
    let now = NOW.seconds();
    let table = [
        (answer(&json!({"active": false})), "22", 401, "the token is not active"),
        (but("token_use", json!("refresh_token")), "22", 401, "the token is not an access token"),
        (but("token_type", json!("DPoP")), "22", 401, "the token is not a bearer token"),
        (but("exp", json!(now)), "22", 401, "the token has expired"),
        (but("nbf", json!(now + 31)), "22", 401, "the token is not valid yet"),
        (but("iat", json!(now + 31)), "22", 401, "the token was issued in the future"),
        (but("iss", json!("https://evil")), "22", 401, "the issuer of the token is not trusted"),
        (but("aud", json!(["files"])), "22", 401, "the token is meant for another audience"),
        (but("cnf", json!({"jkt": "x"})), "22", 401, "the token is bound to a key, which is not verified"),
        (but("scope", json!("orders.read")), "23", 403, "the token lacks a required scope"),
        (but("client_id", json!("stranger")), "27", 403, "the consumer has no binding on the API"),
        (but("client_id", Value::Null), "27", 403, "the consumer has no binding on the API"),
        (but("client_id", json!("globex-web")), "27", 403, "the consumer has no binding on the API"),
        (but("client_id", json!("sleepy-web")), "27", 403, "the consumer is suspended"),
        (
            but("client_id", json!("initech-web")),
            "27",
            403,
            "the binding does not grant this method and path",
        ),
        (Err(CallFailure::UnknownCluster), "09", 500, "the provider's cluster is unknown"),
        (Err(CallFailure::NoHealthyHost), "10", 500, "the provider's cluster has no healthy host"),
        (Err(CallFailure::TimedOut), "24", 503, "the provider did not answer in time"),
        (Err(CallFailure::Failed), "24", 503, "the call to the provider failed"),
        (Err(CallFailure::Overloaded), "24", 503, "too many calls are in flight"),
        (status(401, None), "24", 503, "the provider rejects our own credentials with status 401"),
        (status(403, None), "24", 503, "the provider rejects our own credentials with status 403"),
        (status(500, None), "24", 503, "the provider answered with status 500"),
        (status(200, None), "24", 503, "the provider did not answer in JSON"),
        (answer(&json!({"active": "true"})), "24", 503, "the provider's answer is malformed"),
        (answer(&json!({})), "24", 503, "the provider's answer is malformed"),
        (too_long(), "24", 503, "the provider's answer is too long"),
        (status(400, None), "22", 401, "the token is not active"),
    ];
    for (place, (reply, code, status, reason)) in table.into_iter().enumerate() {
        // Each row has its own gate, because a provider that failed is not called for a while.
        let gate = gate(&everything());
        let ask = get("/v1/token").token(&format!("token-{place}"));
        assert_eq!(outcome(&gate, &ask, &reply), (code, status, reason.to_owned()), "{reply:?}");
    }
    assert_eq!(verdict(&through(&gate(&everything()), &get("/v1/token").token("t"), &answer(&good()))), "ok");
}

#[test]
fn a_reached_limit_is_14_and_an_uncountable_request_25() {
    let ask = get("/v1/limited").key("key-of-acme");
    let limited = gate(&everything());
    assert_eq!(asked(&limited, &ask), "ok");
    let refusal = outcome(&limited, &ask, &Err(CallFailure::Failed));
    assert_eq!(refusal, ("14", 429, "limit hits-day of 1 is reached".to_owned()));

    let hostile = Driver::new(load(&everything()), Disturbed::contended_after(0));
    let refused = refused(begin(&hostile, &ask));
    assert_eq!(code(&refused), "25");
    assert_eq!(headers(&refused, "retry-after"), ["1"]);
    assert_eq!(
        asked(&hostile, &get("/v1/orders").key("key-of-acme")),
        "ok",
        "what is not limited is not counted"
    );
}

#[test]
fn of_several_faults_the_first_in_order_is_reported() {
    let gate = gate(&everything());
    let worst = "/v1/%zz?api_key=a&api_key=b";
    let table = [
        (ask("DELETE", worst).token("a b"), "20", "a malformed path before everything"),
        (
            ask("DELETE", "/v2/token?api_key=a&api_key=b").token("a b"),
            "00",
            "no API before the method and the credential",
        ),
        (ask("DELETE", "/v1/token").token("a b"), "26", "the method before the credential"),
        (get("/v1/closed").key("a").key("b"), "27", "`deny` before any credential is looked at"),
        (get("/v1/token").key("a").key("b"), "21", "only credentials that the rule takes are looked at"),
        (get("/v1/either").token("a").token("b").key("guess"), "20", "a misplaced token before the key"),
        (get("/v1/either").key("guess"), "13", "the key where no token is there"),
        (get("/v1/limited").key("key-of-globex"), "13", "the binding before the limit"),
        (get("/v1/disabled").key("guess"), "13", "the key before the disabled metric"),
    ];
    for (ask, code, sentence) in table {
        assert_eq!(asked(&gate, &ask), code, "{sentence}");
    }
}

#[test]
fn every_refusal_names_who_is_at_fault() {
    let gate = gate(&everything());
    let key = get("/v1/orders").key("guess");
    let token = get("/v1/token").token("t");
    for (ask, reply, blame) in [
        (&key, Err(CallFailure::Failed), Blame::Caller),
        (&token, Err(CallFailure::UnknownCluster), Blame::Operator),
        (&token, Err(CallFailure::NoHealthyHost), Blame::Dependency),
        (&token, Err(CallFailure::TimedOut), Blame::Dependency),
        (&token, status(401, None), Blame::Dependency),
        (&token, answer(&json!({"active": false})), Blame::Caller),
    ] {
        assert_eq!(refused(through(&gate, ask, &reply)).refusal().cause.row().blame, blame, "{reply:?}");
    }
}

#[test]
fn every_401_and_every_scope_refusal_carries_its_challenge() {
    let gate = gate(&everything());
    let bearer = |error: &str| format!("Bearer realm=\"api.example.com\"{error}");
    let key = "ApiKey realm=\"api.example.com\"".to_owned();
    let no = Err(CallFailure::Failed);
    let invalid = bearer(", error=\"invalid_token\"");
    for (ask, reply, expected) in [
        (get("/v1/orders").key("guess"), &no, vec![key.clone()]),
        (get("/v1/orders"), &no, vec![]),
        (get("/v1/token"), &no, vec![bearer("")]),
        (get("/v1/either"), &no, vec![bearer(""), key.clone()]),
        (get("/v1/token").token("a b"), &no, vec![bearer(", error=\"invalid_request\"")]),
        (get("/v1/orders").key("a").key("b"), &no, vec![]),
        (get("/v1/token").token("1"), &answer(&json!({"active": false})), vec![invalid]),
        (
            get("/v1/token").token("2"),
            &but("scope", json!("")),
            vec![bearer(", error=\"insufficient_scope\", scope=\"orders.read orders.write\"")],
        ),
        (get("/v1/token").token("3"), &no, vec![]),
    ] {
        assert_eq!(headers(&refused(through(&gate, &ask, reply)), "www-authenticate"), expected, "{ask:?}");
    }
}

#[test]
fn a_405_names_the_methods_and_a_provider_failure_the_time_to_retry() {
    let gate = gate(&everything());
    let not_allowed = refused(begin(&gate, &ask("DELETE", "/v1/token")));
    assert_eq!(headers(&not_allowed, "allow"), ["GET, HEAD, PUT"]);
    for (reply, expected) in [
        (status(503, Some(17)), vec!["17"]),
        (status(500, Some(17)), vec![]),
        (Err(CallFailure::TimedOut), vec![]),
    ] {
        let refused = refused(through(&gate, &get("/v1/token").token("t"), &reply));
        assert_eq!(headers(&refused, "retry-after"), expected, "{reply:?}");
    }
}

#[test]
fn callers_read_the_same_message_whatever_the_reason() {
    let gate = gate(&everything());
    let bodies = |asks: Vec<Ask>| {
        let mut bodies: Vec<_> = asks
            .iter()
            .map(|ask| refused(begin(&gate, ask)))
            .map(|refused| (refused.reply().body.clone(), refused.reply().headers.clone()))
            .collect();
        bodies.dedup();
        bodies.len()
    };
    let keys = ["guess", "key-switched-off", "key-expired", "key-of-sleepy", "key-of-globex"];
    assert_eq!(bodies(keys.map(|key| get("/v1/orders").key(key)).to_vec()), 1);
}

#[test]
fn problem_details_are_sent_where_the_policy_asks_for_them() {
    let mut document = everything();
    document["gate"]["errors"] =
        json!({"format": "problem", "details": "https://docs.example.com/errors#{code}"});
    let refused = refused(begin(&gate(&document), &get("/v1/orders")));
    assert_eq!(headers(&refused, "content-type"), ["application/problem+json"]);
    let body: Value = serde_json::from_str(&refused.reply().body).unwrap();
    assert_eq!(
        body,
        json!({"type": "https://docs.example.com/errors#12", "title": "An API key is required.", "status": 403, "code": 12})
    );
}

#[test]
fn the_correlation_id_is_the_callers_if_it_is_plain_and_ours_if_not() {
    let gate = gate(&everything());
    let ours = refused(begin(&gate, &get("/v1/orders"))).correlation().to_owned();
    assert_eq!(ours.len(), 36, "a UUID: {ours}");
    let long = "x".repeat(129);
    for (id, expected) in [
        (Some("3f1c-1"), "3f1c-1"),
        (None, ours.as_str()),
        (Some(""), &ours),
        (Some("a b"), &ours),
        (Some("a\"b"), &ours),
        (Some("a\r\nset-cookie: x"), &ours),
        (Some("ä"), &ours),
        (Some(long.as_str()), &ours),
    ] {
        let ask = get("/v1/orders");
        let ask = match id {
            Some(id) => ask.with("x-request-id", id),
            None => ask,
        };
        let refused = refused(begin(&gate, &ask));
        assert_eq!(refused.correlation(), expected, "{id:?}");
        assert_eq!(headers(&refused, "x-sidegate-correlation"), [expected], "{id:?}");
    }
    let broken = refused(begin(&gate, &get("/v1/orders").with("x-request-id", b"\xff")));
    assert_eq!(broken.correlation(), ours);
}

/// Envoy copies them several times, and allocates for each copy of a longer text (docs/performance.md).
#[test]
fn the_headers_of_a_refused_key_are_short() {
    const MOST: usize = 22;
    let ask = get("/v1/orders").key("guess").with("x-request-id", "id-1");
    let mut document = everything();
    document["gate"] = json!({});
    let refused = refused(begin(&gate(&document), &ask));
    let fields: Vec<_> = refused.reply().headers.iter().collect();
    assert!(fields.contains(&("www-authenticate", "ApiKey realm=\"api\"")), "{fields:?}");
    for (name, value) in fields {
        assert!(name.len() <= MOST && value.len() <= MOST, "{name}: {value}");
    }
}

#[test]
fn a_grpc_caller_is_recognised() {
    let gate = gate(&everything());
    for (content_type, protocol) in [
        ("application/grpc", Protocol::Grpc),
        ("application/grpc+proto", Protocol::Grpc),
        ("application/json", Protocol::Http),
    ] {
        let refused = refused(begin(&gate, &ask("POST", "/v1/orders").with("content-type", content_type)));
        assert_eq!(refused.protocol(), protocol, "{content_type}");
        let GrpcStatus { code, message } = &refused.reply().grpc;
        assert_eq!((*code, &**message), (16, "My lips are sealed."));
    }
}

#[test]
fn a_path_is_too_long_whatever_its_query() {
    let longest = |length: Option<u16>| {
        let mut document = everything();
        if let Some(length) = length {
            document["gate"]["max_path_length"] = json!(length);
        }
        document
    };
    for (length, fits) in [(None, 8_192), (Some(100), 100), (Some(16_384), 16_384)] {
        let gate = gate(&longest(length));
        let path = |length: usize| format!("/v1/{}", "a".repeat(length - 4));
        for (path, expected) in [
            (path(fits), "ok"),
            (format!("{}?{}", path(fits), "q".repeat(50_000)), "ok"),
            (path(fits + 1), "20"),
            (format!("{}?q", path(fits + 1)), "20"),
            // It has fewer bytes as the caller sends it than after it is normalised, or more.
            (path(fits - 2) + "\u{e9}", "20"),
            (path(fits - 2) + "%61", "20"),
        ] {
            assert_eq!(asked(&gate, &get(&path).key("key-of-acme")), expected, "{length:?} {}", path.len());
        }
    }
}

#[test]
fn too_many_headers_that_only_sidegate_may_set_are_refused() {
    let mut document = everything();
    document["apis"][0]["forward"] = json!({"headers": {"x-consumer": "{consumer}"}});
    let gate = gate(&document);
    let names: [fn(usize) -> String; 3] =
        [|n| format!("x-sidegate-{n}"), |_| "x-consumer".to_owned(), |_| "x-sidegate-x".to_owned()];
    for (lines, expected) in [(32, "ok"), (33, "20"), (5_000, "20")] {
        for name in names {
            let mut ask = get("/v1/orders").key("key-of-acme");
            ask.headers.extend((0..lines).map(|n| (name(n), b"a".to_vec())));
            assert_eq!(asked(&gate, &ask), expected, "{lines} {}", name(0));
        }
    }
}

#[test]
fn too_many_headers_are_refused() {
    let gate = gate(&everything());
    for (lines, expected) in [(1_000, "ok"), (1_001, "20"), (5_000, "20")] {
        let mut ask = get("/v1/orders").key("key-of-acme");
        let more = lines - ask.headers.len();
        ask.headers.extend((0..more).map(|n| (format!("x-other-{n}"), b"a".to_vec())));
        assert_eq!(asked(&gate, &ask), expected, "{lines}");
    }
}

#[test]
fn too_many_parameters_or_cookies_are_refused_where_they_are_read() {
    let api_with = |place: Value, metering: Value| {
        let mut document = everything();
        document["apis"][0]["credentials"]["api_key"] = json!([{"header": "apikey"}, place]);
        document["apis"][0]["metering"] = metering;
        document["apis"][0].as_object_mut().unwrap().remove("limits");
        gate(&document)
    };
    let other = json!({"header": "x-key"});
    let unconditional = json!([{"path": "/**", "metric": "hits", "by": 0}]);
    let condition = json!([{"path": "/**", "metric": "hits", "query": {"a": "1"}}]);
    let with_query =
        |count: usize| get(&format!("/v1/orders?{}", vec!["b=1"; count].join("&"))).key("key-of-acme");
    let with_cookies = |count: usize, separator| {
        let mut ask = get("/v1/orders").key("key-of-acme");
        let (one, two) =
            (vec!["b=1"; count / 2].join(separator), vec!["b=1"; count - count / 2].join(separator));
        ask.headers.extend([one, two].map(|line| ("cookie".to_owned(), line.into_bytes())));
        ask
    };
    let too_many = [with_query(1_001), get(&format!("/v1/orders?{}", "&".repeat(1_000))).key("key-of-acme")];
    for gate in [api_with(json!({"query": "k"}), unconditional.clone()), api_with(other.clone(), condition)] {
        assert_eq!(asked(&gate, &with_query(1_000)), "ok");
        for ask in &too_many {
            assert_eq!(asked(&gate, ask), "20");
        }
        assert_eq!(asked(&gate, &with_cookies(1_001, ";")), "ok");
    }
    let gate = api_with(json!({"cookie": "k"}), unconditional);
    assert_eq!(asked(&gate, &with_cookies(1_000, "; ")), "ok");
    for separator in [";", "; ", ";;"] {
        assert_eq!(asked(&gate, &with_cookies(1_001, separator)), "20");
    }
    for ask in &too_many {
        assert_eq!(asked(&gate, ask), "ok");
    }
}
