//! Text that headers, logs and URLs carry.

use super::*;

#[test]
fn text_that_headers_and_logs_cannot_carry() {
    check(&[
        (
            r#"{"/revision":"r\n1"}"#,
            &["revision: not a name: 1 to 256 bytes without quotes and control characters"],
        ),
        (
            r#"{"/revision":""}"#,
            &["revision: not a name: 1 to 256 bytes without quotes and control characters"],
        ),
        (r#"{"/gate/realm":""}"#, &["gate.realm: not a text of printable ASCII characters"]),
        (r#"{"/gate/realm":"bücher"}"#, &["gate.realm: not a text of printable ASCII characters"]),
        (
            r#"{"/gate/resource_metadata":"https://a/\n"}"#,
            &[
                "gate.resource_metadata: not a URL of printable ASCII characters without quotes and backslashes",
            ],
        ),
        (
            r#"{"/gate/errors":{"details":"https://a\\b"}}"#,
            &["gate.errors.details: not a URL of printable ASCII characters without quotes and backslashes"],
        ),
        (
            r#"{"/consumers/0/name":"","/apis/0/bindings/0/consumer":""}"#,
            &["consumers[0].name: not a name: 1 to 256 bytes without quotes and control characters"],
        ),
        (
            r#"{"/apis/0/name":"a\nb"}"#,
            &[r#"apis[0] (a\nb).name: not a name: 1 to 256 bytes without quotes and control characters"#],
        ),
        (
            r#"{"/plans/a\"b":{}}"#,
            &[r#"plans.a"b: not a name: 1 to 256 bytes without quotes and control characters"#],
        ),
        (
            r#"{"/plans/basic/environment":""}"#,
            &["plans.basic.environment: not a name: 1 to 256 bytes without quotes and control characters"],
        ),
        (
            r#"{"/providers/a\tb":{"introspection":{"cluster":"c","url":"http://idp"}}}"#,
            &[
                r"providers.a\tb.introspection: not a name: 1 to 256 bytes without quotes and control characters",
            ],
        ),
        (r#"{"/consumers/0/clients":[""]}"#, &["consumers[0] (acme).clients[0]: must not be empty"]),
    ]);
}

#[test]
fn control_characters_are_reported_wherever_text_is_sent() {
    let has = "has a control character";
    let provider = "/providers/p/introspection";
    for (pointer, path) in [
        (format!("{provider}/cluster"), "providers.p.introspection.cluster"),
        (format!("{provider}/authentication/basic/id"), "providers.p.introspection.authentication.basic.id"),
        (
            format!("{provider}/authentication/basic/secret"),
            "providers.p.introspection.authentication.basic.secret",
        ),
        ("/consumers/0/clients/0".to_owned(), "consumers[0] (acme).clients[0]"),
    ] {
        for text in ["a\u{0}b", "a\nb", "a\u{7f}"] {
            let mut document = base();
            *document.pointer_mut(&pointer).unwrap() = json!(text);
            assert_eq!(problems(document.to_string().as_bytes()), [format!("{path}: {has}")], "{text:?}");
        }
    }
    check(&[
        (
            r#"{"/consumers/0/keys/0/id":"k\u0000"}"#,
            &[
                "consumers[0] (acme).keys[0].id: not a name: 1 to 256 bytes without quotes and control characters",
            ],
        ),
        (
            r#"{"/providers/p/introspection/authentication/basic/secret":{"env":"CONTROL"}}"#,
            &[
                "providers.p.introspection.authentication.basic.secret: the variable `CONTROL` has a control character",
            ],
        ),
        (
            r#"{"/providers/p/introspection/authentication/basic/secret":{"env":"A=B"}}"#,
            &[
                "providers.p.introspection.authentication.basic.secret: not the name of a variable: expected ASCII letters, digits and `_`",
            ],
        ),
        (
            r#"{"/providers/p/introspection/unavailable":{"allow_clients":["a\u0000"]}}"#,
            &["providers.p.introspection.unavailable.allow_clients[0]: has a control character"],
        ),
    ]);
}

#[test]
fn headers_that_cannot_be_set() {
    check(&[
        (
            r#"{"/apis/0/forward/headers":{"x-a":"{colour}"}}"#,
            &[
                "apis[0] (orders).forward.headers.x-a: unknown field `{colour}`: expected `{api}`, `{rule}`, `{consumer}`, `{plan}`, `{environment}`, `{client_id}`, `{subject}`, `{scope}`, `{claim:PATH}` or `{path:NAME}`",
            ],
        ),
        (
            r#"{"/apis/0/forward/headers":{"x-a":"{consumer"}}"#,
            &["apis[0] (orders).forward.headers.x-a: unmatched brace"],
        ),
        (
            r#"{"/apis/0/forward/headers":{"x-a":"consumer}"}}"#,
            &["apis[0] (orders).forward.headers.x-a: unmatched brace"],
        ),
        (
            r#"{"/apis/0/forward/headers":{"x-a":""}}"#,
            &["apis[0] (orders).forward.headers.x-a: not a header value"],
        ),
        (
            r#"{"/apis/0/forward/headers":{"x-a":"a\r\nb"}}"#,
            &["apis[0] (orders).forward.headers.x-a: not a header value"],
        ),
        (
            r#"{"/apis/0/forward/headers":{":path":"/"}}"#,
            &["apis[0] (orders).forward.headers.:path: not a header name"],
        ),
        (
            r#"{"/apis/0/forward/headers":{"x a":"a"}}"#,
            &["apis[0] (orders).forward.headers.x a: not a header name"],
        ),
        (
            r#"{"/apis/0/forward/headers":{"":"a"}}"#,
            &["apis[0] (orders).forward.headers.: not a header name"],
        ),
        (
            r#"{"/apis/0/forward/headers":{"Host":"a"}}"#,
            &["apis[0] (orders).forward.headers.Host: policies must not set this header"],
        ),
        (
            r#"{"/apis/0/forward/headers":{"content-length":"1"}}"#,
            &["apis[0] (orders).forward.headers.content-length: policies must not set this header"],
        ),
        (
            r#"{"/apis/0/forward/headers":{"transfer-encoding":"chunked"}}"#,
            &["apis[0] (orders).forward.headers.transfer-encoding: policies must not set this header"],
        ),
        (
            r#"{"/apis/0/forward/headers":{"connection":"close"}}"#,
            &["apis[0] (orders).forward.headers.connection: policies must not set this header"],
        ),
        (
            r#"{"/apis/0/forward/headers":{"upgrade":"a"}}"#,
            &["apis[0] (orders).forward.headers.upgrade: policies must not set this header"],
        ),
        (
            r#"{"/apis/0/forward/headers":{"te":"a"}}"#,
            &["apis[0] (orders).forward.headers.te: policies must not set this header"],
        ),
        (
            r#"{"/apis/0/forward/headers":{"cookie":"a"}}"#,
            &["apis[0] (orders).forward.headers.cookie: policies must not set this header"],
        ),
        (
            r#"{"/apis/0/forward/headers":{"x-sidegate-api":"{api}"}}"#,
            &["apis[0] (orders).forward.headers.x-sidegate-api: policies must not set this header"],
        ),
    ]);
}

#[test]
fn invalid_filter_state() {
    check(&[
        (
            r#"{"/gate/filter_state":{"only":[]}}"#,
            &["gate.filter_state.only: the list is empty: leave it out, or give it an entry"],
        ),
        (
            r#"{"/gate/filter_state":{"only":["api","rule","api"]}}"#,
            &["gate.filter_state.only: a name is listed twice"],
        ),
        (
            r#"{"/gate/filter_state":{"only":["colour"]}}"#,
            &[
                "gate.filter_state.only[0]: unknown value `colour`, expected one of `api`, `rule`, `consumer`, `key`, `plan`, `cache`, `code`",
            ],
        ),
    ]);
}

#[test]
fn a_realm_may_have_quotes_and_backslashes() {
    check(&[(r#"{"/gate/realm":"the \"orders\" \\ realm"}"#, &[])]);
}

#[test]
fn invalid_secrets_in_headers() {
    let header = |value: &str| format!(r#"{{"/apis/0/forward/headers":{{"x-a":{value}}}}}"#);
    check(&[
        (&header(r#"{"env":"SECRET"}"#), &[]),
        (
            &header(r#"{"env":"MISSING"}"#),
            &[
                "apis[0] (orders).forward.headers.x-a: the environment has no variable `MISSING`, or an empty one",
            ],
        ),
        (
            &header(r#"{"env":"a b"}"#),
            &[
                "apis[0] (orders).forward.headers.x-a: not the name of a variable: expected ASCII letters, digits and `_`",
            ],
        ),
    ]);
}

#[test]
fn invalid_texts_of_an_api() {
    let no_match = |text: &str| format!(r#"{{"/apis/0/errors":{{"no_match":{text}}}}}"#);
    let long = format!(r#"{{"body":"{}"}}"#, "a".repeat(16_385));
    check(&[
        (&no_match(r#"{"status":404,"content_type":"text/plain; charset=us-ascii","body":""}"#), &[]),
        (
            &no_match("{}"),
            &["apis[0] (orders).errors.no_match: changes nothing: give `status`, `content_type` or `body`"],
        ),
        (
            &no_match(r#"{"status":200}"#),
            &["apis[0] (orders).errors.no_match.status: not a status of an error: 400 to 599"],
        ),
        (
            &no_match(r#"{"content_type":"text/plain\r\nx: y"}"#),
            &["apis[0] (orders).errors.no_match.content_type: not a media type such as `text/plain`"],
        ),
        (
            &no_match(&long),
            &["apis[0] (orders).errors.no_match.body: has 16385 bytes, but at most 16384 are possible"],
        ),
        (
            r#"{"/apis/0/errors":{"colour":{}}}"#,
            &[
                "apis[0] (orders).errors.colour: unknown field `colour`, expected one of `missing_credentials`, `refused_credentials`, `limits_exceeded`, `no_match`",
            ],
        ),
    ]);
}
