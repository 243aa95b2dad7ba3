//! What requests ask for: paths, hosts, methods. Tricks with them never widen access.

use serde_json::json;
use sidegate_harness::Request;

use super::{Gate, get, orders};

/// What happens to a request target.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// The service receives this.
    Reaches(&'static str),
    /// Sidegate refuses.
    Refused(&'static str),
    /// Envoy or Sidegate refuses it. It must not matter which one does.
    Lost,
}

#[tokio::test]
async fn the_service_receives_the_path_that_was_decided_on() {
    use Fate::{Lost, Reaches, Refused};
    let gate = Gate::start(&orders()).await;
    let targets: &[(&[u8], Fate)] = &[
        (b"/v1/public/a", Reaches("/v1/public/a")),
        (b"/v1/public/a/", Reaches("/v1/public/a/")),
        (b"/v1/public//a", Reaches("/v1/public/a")),
        (b"//v1///public/a", Reaches("/v1/public/a")),
        (b"/v1/./public/./a", Reaches("/v1/public/a")),
        (b"/v1/closed/../public/a", Reaches("/v1/public/a")),
        (b"/v1/public/%61", Reaches("/v1/public/a")),
        (b"/v1/pub%6Cic/a", Reaches("/v1/public/a")),
        (b"/v1/public/%e2%82%ac", Reaches("/v1/public/%E2%82%AC")),
        (b"/v1/public/\xe2\x82\xac", Lost),
        (b"/v1/public/a;v=1", Reaches("/v1/public/a;v=1")),
        (b"/v1/public/a%3bv=1", Reaches("/v1/public/a%3Bv=1")),
        (b"/v1/public/a?/../../closed/x", Reaches("/v1/public/a?/../../closed/x")),
        (b"/v1/public/a?x=%zz%2F%00", Reaches("/v1/public/a?x=%zz%2F%00")),
        (b"/v1/public/%252e%252e/closed/x", Reaches("/v1/public/%252e%252e/closed/x")),
        (b"http://orders.example.com/v1/public/a", Reaches("/v1/public/a")),
        (b"/v1/public/../closed/x", Refused("27")),
        (b"/v1/public/%2e%2e/closed/x", Refused("27")),
        (b"/v1/public/%2E./closed/x", Refused("27")),
        (b"/v1/public/.%2e/closed/x", Refused("27")),
        (b"/v1/public/a/../../closed/x", Refused("27")),
        (b"/v1/public/%2e%2e/orders/7", Refused("12")),
        (b"/v1/%63losed/x", Refused("27")),
        (b"/v1/public/../orders/7", Refused("12")),
        (b"/v1//orders//7", Refused("12")),
        (b"/v1/orders/./7", Refused("12")),
        (b"/v1/closed", Refused("27")),
        (b"/v1/closed/", Refused("27")),
        (b"/V1/public/a", Refused("00")),
        (b"/v1/PUBLIC/a", Refused("00")),
        (b"/v1public/a", Refused("00")),
        (b"/v1", Refused("00")),
        (b"/", Refused("00")),
        (b"/v1/public/../../v1/closed/x", Refused("27")),
        (b"/v1/public/../../../v1/public/a", Refused("20")),
        (b"/..", Refused("20")),
        (b"/%2e%2e/v1/public/a", Refused("20")),
        (b"/v1/public/..%2fclosed/x", Refused("20")),
        (b"/v1/public/..%2Fclosed/x", Refused("20")),
        (b"/v1%2Fpublic/a", Refused("20")),
        (b"/v1/public/..%5Cclosed/x", Refused("20")),
        (b"/v1/public/..%5cclosed/x", Refused("20")),
        (b"/v1/public/..\\closed/x", Refused("20")),
        (b"\\v1\\public\\a", Lost),
        (b"/v1/public/%00", Refused("20")),
        (b"/v1/public/a%00/../closed", Refused("20")),
        (b"/v1/public/a\0b", Lost),
        (b"/v1/public/%0d%0ax-consumer:root", Refused("20")),
        (b"/v1/public/%7f", Refused("20")),
        (b"/v1/public/%c2%85", Refused("20")),
        (b"/v1/public/%zz", Refused("20")),
        (b"/v1/public/%2", Refused("20")),
        (b"/v1/public/%", Refused("20")),
        (b"/v1/public/%ff", Refused("20")),
        (b"/v1/public/%c0%ae%c0%ae/closed/x", Refused("20")),
        (b"/v1/public/a#/../closed", Lost),
        (b"/v1/public/a?b#c", Lost),
        (b"/v1/public/..;/closed/x", Refused("20")),
        (b"/v1/public/.;x=1/a", Refused("20")),
        (b"/v1/public/%2e%2e;/closed/x", Refused("20")),
        (b"/v1/public/..%3b/closed/x", Refused("20")),
        (b"*", Lost),
        (b"v1/public/a", Lost),
        (b"", Lost),
        (b"?/v1/public/a", Lost),
    ];
    for (target, fate) in targets {
        let request = Request::get(target).host("orders.example.com");
        match fate {
            Reaches(path) => {
                let answer = gate.admitted(request).await;
                assert_eq!(answer.json()["path"], *path, "{}", target.escape_ascii());
                let again = gate.admitted(get(path)).await;
                assert_eq!(
                    again.json()["path"],
                    *path,
                    "the forwarded path gets the same decision when it is sent again"
                );
            }
            Refused(code) => {
                gate.refused(code, request).await;
            }
            Lost => {
                let (before, answer) = (gate.service.requests(), gate.envoy.send(request).await);
                assert!(
                    answer.status == 400 || answer.code() == Some("20") || answer.code() == Some("00"),
                    "{}: {answer:?}",
                    target.escape_ascii()
                );
                assert_eq!(gate.service.requests(), before, "{}", target.escape_ascii());
            }
        }
    }
}

#[tokio::test]
async fn the_host_selects_the_api_and_the_path_selects_the_rule() {
    let api = |name: &str, hosts: &[&str], base: &str| {
        let mut api = json!({
            "name": name, "base_path": base, "access": ["allow"], "rules": [{"path": "/**"}, {"path": "/closed", "access": ["deny"]}],
            "forward": {"headers": {"x-api": "{api}"}},
        });
        if !hosts.is_empty() {
            api["hosts"] = json!(hosts);
        }
        api
    };
    let gate = Gate::start(&json!({"sidegate": "v1", "apis": [
        api("exact", &["orders.example.com"], "/v1"),
        api("deep", &["orders.example.com"], "/v1/deep/er"),
        api("wildcard", &["*.example.com"], "/v1"),
        api("narrow", &["*.eu.example.com", "eu.example.com"], "/v1"),
        api("any", &[], "/v2"),
    ]}))
    .await;

    for (host, target, name) in [
        ("orders.example.com", "/v1/a", Some("exact")),
        ("ORDERS.Example.COM", "/v1/a", Some("exact")),
        ("orders.example.com:8443", "/v1/a", Some("exact")),
        ("orders.example.com.", "/v1/a", Some("exact")),
        ("Orders.Example.com.:80", "/v1/a", Some("exact")),
        ("orders.example.com", "/v1", Some("exact")),
        ("orders.example.com", "/v1/deep/er/a", Some("deep")),
        ("orders.example.com", "/v1/deep/erx", Some("exact")),
        ("orders.example.com", "/v1/deep", Some("exact")),
        ("other.example.com", "/v1/a", Some("wildcard")),
        ("a.b.example.com", "/v1/a", Some("wildcard")),
        ("a.eu.example.com", "/v1/a", Some("narrow")),
        ("eu.example.com", "/v1/a", Some("narrow")),
        ("example.com", "/v2/a", Some("any")),
        ("127.0.0.1:80", "/v2/a", Some("any")),
        ("[::1]:80", "/v2/a", Some("any")),
        // A host that is known never falls back to a less specific one.
        ("orders.example.com", "/v2/a", None),
        ("other.example.com", "/v2/a", None),
        ("orders.example.com.evil.org", "/v1/a", None),
        ("orders.example.com@evil.org", "/v1/a", None),
        ("evilexample.com", "/v1/a", None),
        (".example.com", "/v1/a", None),
        ("example.com", "/v1/a", None),
        ("orders.example.com..", "/v1/a", None),
        ("", "/v1/a", None),
        // A host that servers read in different ways is refused where any host is served, too.
        ("orders.example.com@evil.org", "/v2/a", None),
        ("orders.example.com..", "/v2/a", None),
        ("a%2eexample.com", "/v2/a", None),
        ("a.com:80:81", "/v2/a", None),
        ("a.com,orders.example.com", "/v2/a", None),
    ] {
        let request = Request::get(target).host(host);
        match name {
            Some(name) => {
                let answer = gate.admitted(request).await;
                assert_eq!(answer.received("x-api").as_deref(), Some(name), "{host}{target}");
                assert_eq!(answer.received("host").as_deref(), Some(host), "{target}");
            }
            None => {
                let answer = gate.envoy.send(request).await;
                let refused = matches!(answer.code(), Some("00" | "20"))
                    || (answer.code(), answer.status) == (None, 400);
                assert!(refused, "{host}{target}: {answer:?}");
            }
        }
    }

    // A second host header, or one that the target contradicts, opens nothing.
    let before = gate.service.requests();
    let two =
        gate.envoy.send(Request::get("/v2/a").host("example.com").header("host", "orders.example.com")).await;
    assert_eq!(two.status, 400, "{two:?}");
    assert_eq!(gate.service.requests(), before);
    let absolute = Request::get("http://orders.example.com/v1/closed").host("other.example.com");
    gate.refused("27", absolute).await;
}

#[tokio::test]
async fn methods_preflights_and_unmatched_requests() {
    let on = |method: &str, target: &str| Request::new(method, target).host("orders.example.com");
    let preflight = |target: &str, method: &str| {
        on("OPTIONS", target)
            .header("origin", "https://shop.example.com")
            .header("access-control-request-method", method)
    };
    let mut policy = orders();
    let gate = Gate::start(&policy).await;

    for method in ["POST", "OPTIONS", "PROPFIND"] {
        let answer = gate.refused("26", on(method, "/v1/reports").header("apikey", "acme-key")).await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD, PUT")), "{method}");
    }
    assert_eq!(gate.refused("26", on("DELETE", "/v1/health")).await.header("allow"), Some("GET, HEAD"));
    gate.admitted(on("HEAD", "/v1/health")).await;
    let head = gate.envoy.send(on("HEAD", "/v1/orders/7")).await;
    assert_eq!((head.status, head.code(), head.body.len()), (403, Some("12"), 0));

    let answer = gate.admitted(preflight("/v1/orders/7", "PUT").header("x-consumer", "root")).await;
    assert_eq!((answer.json()["method"].as_str(), answer.received("x-consumer")), (Some("OPTIONS"), None));
    gate.refused("26", preflight("/v1/reports", "DELETE")).await;
    gate.refused("27", preflight("/v1/closed/x", "GET")).await;
    gate.refused("00", preflight("/v1/nowhere", "GET")).await;
    gate.refused("12", on("OPTIONS", "/v1/orders/7").header("origin", "https://shop.example.com")).await;
    gate.refused("12", on("OPTIONS", "/v1/orders/7").header("access-control-request-method", "GET")).await;
    gate.refused(
        "12",
        on("GET", "/v1/orders/7").header("origin", "x").header("access-control-request-method", "GET"),
    )
    .await;
    gate.refused("00", on("GET", "/elsewhere")).await;

    policy["gate"]["preflight"] = json!("check");
    policy["gate"]["unmatched"] = json!("pass");
    let gate = Gate::start(&policy).await;
    gate.refused("12", preflight("/v1/orders/7", "PUT")).await;
    assert_eq!(gate.admitted(on("GET", "//elsewhere/./x")).await.json()["path"], "/elsewhere/x");
    gate.admitted(Request::get("/v1/orders/7").host("unknown.example.com")).await;
    gate.refused("00", on("GET", "/v1/nowhere")).await;
    gate.refused("20", on("GET", "/elsewhere/%2F")).await;
}

#[tokio::test]
async fn an_expression_with_anchors_in_its_text_guards_its_paths() {
    let gate = Gate::start(&json!({"sidegate": "v1", "apis": [{"name": "users", "rules": [
        {"regex": "^/users/[0-9]+$", "access": ["deny"]},
        {"regex": "/.*", "access": ["allow"]},
    ]}]}))
    .await;
    for target in ["/users/7", "/users/7/", "/users/%37", "//users//7"] {
        gate.refused("27", get(target)).await;
    }
    for target in ["/users/x", "/users", "/users/7/x", "/"] {
        gate.admitted(get(target)).await;
    }
}

#[tokio::test]
async fn the_service_may_have_another_base_path() {
    let mut policy = orders();
    policy["apis"][0]["forward"]["base_path"] = json!("/internal/api");
    let gate = Gate::start(&policy).await;
    for (target, received) in [
        ("/v1/public/a", "/internal/api/public/a"),
        ("/v1/./public//%61/?x=/v1", "/internal/api/public/a/?x=/v1"),
        ("/v1/orders/7?api_key=acme-key&x=1", "/internal/api/orders/7?x=1"),
    ] {
        assert_eq!(gate.admitted(get(target)).await.json()["path"], received, "{target}");
    }
    gate.refused("00", get("/internal/api/public/a")).await;
}
