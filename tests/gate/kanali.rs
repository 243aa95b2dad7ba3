//! What Kanali documents, and what it did not do as documented.

use serde_json::{Value, json};
use sidegate::gate::{Ending, drive::Step};

use super::{
    asked, begin, gate, permit, refused, sees,
    support::{Ask, NOW, ask, consumer, document, get, sha256},
    verdict,
};

/// An API as an ApiProxy of Kanali has it: a source path, a target path, and the plugin for API keys.
fn proxy(name: &str, source: &str, target: &str) -> Value {
    json!({
        "name": name, "base_path": source, "access": ["api_key"], "rules": [{"path": "/**"}],
        "forward": {"base_path": target},
    })
}

/// The same, with a binding of `acme`.
fn bound(binding: &Value) -> Value {
    let mut api = proxy("example", "/api/v1/example", "/");
    let mut bound = json!({"consumer": "acme"});
    bound.as_object_mut().unwrap().extend(binding.as_object().unwrap().clone());
    api["bindings"] = json!([bound]);
    document(json!([consumer("acme"), consumer("globex")]), json!([api]))
}

fn acme(method: &str, path: &str) -> Ask {
    ask(method, path).key("key-of-acme")
}

#[test]
fn the_target_path_replaces_the_source_path() {
    for (source, target, path, expected) in [
        ("/foo", "/car", "/foo/bar", "/car/bar"),
        ("/", "/car", "/", "/car"),
        ("/foo/bar", "/", "/foo/bar", "/"),
        ("/foo", "/", "//foo//bar?q=1", "/bar?q=1"),
    ] {
        let mut api = proxy("a", source, target);
        if source == "/" {
            api.as_object_mut().unwrap().remove("base_path");
        }
        let gate = gate(&document(json!([consumer("acme")]), json!([api])));
        let ask = acme("GET", path);
        let seen = sees(&ask, &permit(begin(&gate, &ask)), ":path");
        let seen = seen
            .map(|path| path.strip_suffix('/').filter(|path| !path.is_empty()).unwrap_or(&path).to_owned());
        assert_eq!(seen.as_deref(), Some(expected), "{source} {target} {path}");
    }
}

#[test]
fn refusals_have_kanalis_envelope() {
    let mut document = bound(&json!({"allow": {"methods": ["GET"]}}));
    document["gate"]["errors"] = json!({"details": "https://kanali.io/docs/v2/errorcodes/#{code}"});
    let gate = gate(&document);
    for (ask, expected) in [
        (
            get("/other"),
            r#"{"status":404,"message":"No ApiProxy resource was not found that matches the request.","code":0,"details":"Visit https://kanali.io/docs/v2/errorcodes/#00 for more details."}"#,
        ),
        (
            get("/api/v1/example"),
            r#"{"status":403,"message":"My lips are sealed.","code":12,"details":"Visit https://kanali.io/docs/v2/errorcodes/#12 for more details."}"#,
        ),
        (
            acme("POST", "/api/v1/example"),
            r#"{"status":401,"message":"Api key is not authorized.","code":13,"details":"Visit https://kanali.io/docs/v2/errorcodes/#13 for more details."}"#,
        ),
    ] {
        assert_eq!(&*refused(begin(&gate, &ask)).reply().body, expected);
    }
}

#[test]
fn a_key_is_checked_in_kanalis_order() {
    let gate = gate(&bound(&json!({"allow": {"methods": ["GET"]}})));
    let preflight = ask("OPTIONS", "/api/v1/example")
        .with("origin", "https://app.example")
        .with("access-control-request-method", "GET");
    for (ask, expected) in [
        (preflight, "ok"),
        (get("/api/v1/other"), "00"),
        (get("/api/v1/example"), "12"),
        (get("/api/v1/example").key("unknown"), "13"),
        (get("/api/v1/example").key("key-of-globex"), "13"),
        (acme("DELETE", "/api/v1/example"), "13"),
        (acme("GET", "/api/v1/example"), "ok"),
    ] {
        assert_eq!(asked(&gate, &ask), expected, "{ask:?}");
    }
}

#[test]
fn a_binding_without_a_rule_denies_and_a_subpath_overrides_the_default() {
    let run = |binding: Value, method: &str, path: &str| {
        asked(&gate(&bound(&binding)), &acme(method, &format!("/api/v1/example{path}")))
    };
    assert_eq!(run(json!({}), "GET", ""), "13");
    let granular = json!({"allow": "all", "paths": [
        {"path": "/closed/**", "allow": "none"}, {"path": "/read/**", "allow": {"methods": ["GET"]}},
    ]});
    for (method, path, expected) in [
        ("DELETE", "/x", "ok"),
        ("GET", "/closed", "13"),
        ("GET", "/closed/x", "13"),
        ("GET", "/read/x", "ok"),
        ("POST", "/read/x", "13"),
    ] {
        assert_eq!(run(granular.clone(), method, path), expected, "{method} {path}");
    }
}

#[test]
fn an_inactive_key_does_not_work() {
    let mut document = bound(&json!({"allow": "all"}));
    document["consumers"][0]["keys"] = json!([
        {"sha256": sha256("old"), "state": "inactive"}, {"sha256": sha256("new")},
    ]);
    let gate = gate(&document);
    let by = |key: &str| asked(&gate, &get("/api/v1/example").key(key));
    assert_eq!([by("old"), by("new")], ["13", "ok"]);
}

#[test]
fn a_path_between_two_apis_belongs_to_the_shorter_one() {
    let apis = json!([proxy("foo", "/foo", "/"), proxy("baz", "/foo/bar/baz", "/")]);
    let gate = gate(&document(json!([consumer("acme")]), apis));
    for (path, api) in [
        ("/foo", "foo"),
        ("/foo/bar", "foo"),
        ("/foo/bar/qux", "foo"),
        ("/foo/bar/baz", "baz"),
        ("/foo/bar/baz/x", "baz"),
    ] {
        let permit = permit(begin(&gate, &acme("GET", path)));
        assert_eq!(permit.trail().api(), Some(api), "{path}");
    }
}

#[test]
fn a_prefix_ends_with_a_segment() {
    let subpaths = json!({"allow": "none", "paths": [{"path": "/foo/**", "allow": "all"}]});
    let gate = gate(&bound(&subpaths));
    let run = |path: &str| asked(&gate, &acme("GET", path));
    assert_eq!(run("/api/v1/example/foo/x"), "ok");
    assert_eq!(run("/api/v1/example/foobar"), "13");
    assert_eq!(run("/api/v1/examples"), "00");
    let regex = json!({"allow": "none", "paths": [{"regex": "/foo", "allow": "all"}]});
    let gate = self::gate(&bound(&regex));
    let run = |path: &str| asked(&gate, &acme("GET", path));
    assert_eq!([run("/api/v1/example/foo"), run("/api/v1/example/foobar")], ["ok", "13"]);
}

#[test]
fn a_mock_answers_and_nothing_is_forwarded() {
    let mut document = bound(&json!({"allow": "all"}));
    document["apis"][0]["mock"] = json!({"responses": [
        {"path": "/", "status": 200, "headers": {"x-mock": "yes"}, "body": "root"},
        {"path": "/pets/{id}", "methods": ["GET"], "status": 203, "body": "pet"},
    ]});
    let gate = gate(&document);
    for (path, status, body) in [("", 200, "root"), ("/pets/7", 203, "pet")] {
        let step = begin(&gate, &acme("GET", &format!("/api/v1/example{path}")));
        let Step::Ended(Ending::Answer(answer)) = step else { panic!("forwarded: {path}") };
        assert_eq!((answer.reply().status, &*answer.reply().body), (status, body));
    }
    assert_eq!(asked(&gate, &acme("POST", "/api/v1/example/pets/7")), "02");
    assert_eq!(asked(&gate, &acme("GET", "/api/v1/example/other")), "02");
}

#[test]
fn the_whole_name_of_a_unit_counts_and_not_its_first_letter() {
    let limited = |per: &str| {
        let mut document = bound(&json!({"allow": "all"}));
        document["apis"][0]["limits"] = json!([{"metric": "hits", "max": 1, "per": per}]);
        gate(&document)
    };
    for (per, after_a_minute) in [("minute", "ok"), ("month", "14")] {
        let gate = limited(per);
        let run = |seconds: u64| {
            let at = NOW.saturating_add(std::time::Duration::from_secs(seconds));
            verdict(&begin(&gate, &Ask { at, ..acme("GET", "/api/v1/example") }))
        };
        assert_eq!([run(0), run(1), run(61)], ["ok", "14", after_a_minute], "{per}");
    }
}
