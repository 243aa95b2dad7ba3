//! Issuers of JWTs, and rules for their tokens.

use super::*;

#[test]
fn issuers_without_usable_keys() {
    check(&[
        (r#"{"/providers/j":{"jwks":{"issuer":"https://idp"}}}"#, &[]),
        (
            r#"{"/providers/j":{"jwks":{"issuer":"https://idp","payload_in_metadata":""}}}"#,
            &["providers.j.jwks.payload_in_metadata: must not be empty"],
        ),
        (
            r#"{"/providers/j":{"jwks":{"issuer":"https://idp","cluster":"c"}}}"#,
            &["providers.j.jwks: give either `cluster` and `url`, or `keys`"],
        ),
        (
            r#"{"/providers/j":{"jwks":{"issuer":"https://idp","cluster":"c","url":"http://idp/","keys":"{}"}}}"#,
            &["providers.j.jwks: give either `cluster` and `url`, or `keys`"],
        ),
        (
            r#"{"/providers/j":{"jwks":{"issuer":"https://idp","cluster":"","url":"http://idp/"}}}"#,
            &["providers.j.jwks.cluster: the name of the cluster must not be empty"],
        ),
        (
            r#"{"/providers/j":{"jwks":{"issuer":"https://idp","cluster":"c","url":"idp"}}}"#,
            &["providers.j.jwks.url: not an absolute URL"],
        ),
        (
            r#"{"/providers/j":{"jwks":{"issuer":"https://idp","keys":"MIIB"}}}"#,
            &["providers.j.jwks.keys: neither a JSON Web Key Set nor public keys in PEM"],
        ),
        (
            r#"{"/providers/j":{"jwks":{"issuer":"https://idp","keys":"-----BEGIN PUBLIC KEY-----\nMIIB"}}}"#,
            &["providers.j.jwks.keys: neither a JSON Web Key Set nor public keys in PEM"],
        ),
        (
            r#"{"/providers/j":{"jwks":{"issuer":"https://idp","keys":"{\"keys\":[{\"kty\":\"oct\",\"k\":\"AA\"}]}"}}}"#,
            &[
                "providers.j.jwks.keys: no key can verify signatures: expected RSA with 2,048 to 4,096 bits, P-256, P-384, P-521 or Ed25519",
            ],
        ),
    ]);
    let small = include_str!("../jwt/fixtures.json");
    let small: Value = serde_json::from_str(small).unwrap();
    let mut document = base();
    document["providers"]["j"] = json!({"jwks": {"issuer": "https://idp", "keys": small["pem"]["small"]}});
    assert_eq!(
        problems(document.to_string().as_bytes()),
        [
            "providers.j.jwks.keys: no key can verify signatures: expected RSA with 2,048 to 4,096 bits, P-256, P-384, P-521 or Ed25519"
        ]
    );
}

#[test]
fn issuers_with_settings_that_make_no_sense() {
    check(&[
        (
            r#"{"/providers/j":{"jwks":{"issuer":"","cluster":"c","url":"http://idp/"}}}"#,
            &["providers.j.jwks.issuer: must not be empty"],
        ),
        (
            r#"{"/providers/j":{"jwks":{"issuer":"i","cluster":"c","url":"http://idp/","algorithms":["HS256"]}}}"#,
            &[
                "providers.j.jwks.algorithms[0]: unknown value `HS256`, expected one of `RS256`, `RS384`, `RS512`, `PS256`, `PS384`, `PS512`, `ES256`, `ES384`, `ES512`, `EdDSA`",
            ],
        ),
        (
            r#"{"/providers/j":{"jwks":{"issuer":"i","cluster":"c","url":"http://idp/","algorithms":[]}}}"#,
            &["providers.j.jwks.algorithms: the list is empty: leave it out, or give it an entry"],
        ),
        (
            r#"{"/providers/j":{"jwks":{"issuer":"i","cluster":"c","url":"http://idp/","algorithms":["RS256","RS256"]}}}"#,
            &["providers.j.jwks.algorithms[1]: `RS256` is listed twice"],
        ),
        (
            r#"{"/providers/j":{"jwks":{"issuer":"i","cluster":"c","url":"http://idp/","audiences":[]}}}"#,
            &["providers.j.jwks.audiences: a list of audiences must not be empty"],
        ),
        (
            r#"{"/providers/j":{"jwks":{"issuer":"i","cluster":"c","url":"http://idp/","timeout":"0s","max_lifetime":"0s","refresh":{"pause":"500ms"}}}}"#,
            &[
                "providers.j.jwks.max_lifetime: the longest lifetime must be longer than zero",
                "providers.j.jwks.timeout: the timeout must be longer than zero",
                "providers.j.jwks.refresh.pause: the pause must be at least a second, and not longer than `every`",
            ],
        ),
        (
            r#"{"/providers/j":{"jwks":{"issuer":"i","cluster":"c","url":"http://idp/","refresh":{"every":"5s","pause":"6s"}}}}"#,
            &[
                "providers.j.jwks.refresh.pause: the pause must be at least a second, and not longer than `every`",
            ],
        ),
        (r#"{"/gate/capacity/verifications":0}"#, &["gate.capacity.verifications: not between 1 and 10000"]),
    ]);
}

#[test]
fn who_verifies_tokens() {
    let j = r#""/providers/j":{"jwks":{"issuer":"i"}}"#;
    let k = r#""/providers/k":{"jwks":{"issuer":"k","cluster":"c","url":"http://idp/"}}"#;
    let access = |list: &str| format!(r#"{{{j},{k},"/apis/0/rules/0/access":{list}}}"#);
    let at = "apis[0] (orders).rules[0].access[0]";
    for (written, expected) in [
        (
            access(
                r#"[{"jwt":{"provider":"j","verified_by":"envoy"}},{"jwt":{"provider":"k","verified_by":"envoy"}}]"#,
            ),
            vec![],
        ),
        (access(r#"[{"jwt":{"provider":"k","verified_by":"sidegate"}}]"#), vec![]),
        (
            access(r#"[{"jwt":{"provider":"j"}}]"#),
            vec![format!(
                "{at}.jwt.provider: has no keys: give it `cluster` and `url`, or `keys`, or write `verified_by: envoy` here"
            )],
        ),
        (
            access(r#"[{"introspection":{"provider":"p","verified_by":"envoy"}}]"#),
            vec![format!("{at}.introspection.verified_by: only a `jwt` can be verified by Envoy")],
        ),
        (
            access(r#"[{"jwt":{"provider":"j","verified_by":"me"}}]"#),
            vec![format!("{at}.jwt.verified_by: unknown value `me`, expected `sidegate` or `envoy`")],
        ),
    ] {
        let expected: Vec<_> = expected.iter().map(String::as_str).collect();
        check(&[(&written, &expected)]);
    }
}

#[test]
fn revoked_tokens() {
    let digest = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    let many = format!(r#"{{"/revoked":[{}]}}"#, vec![format!("\"{digest}\""); 10_001].join(","));
    check(&[
        (&format!(r#"{{"/revoked":["{digest}"],"/epoch":1}}"#), &[]),
        (r#"{"/revoked":[]}"#, &["revoked: the list is empty: leave it out, or give it an entry"]),
        (r#"{"/revoked":["token"]}"#, &["revoked[0]: not a SHA-256 digest: expected 64 hexadecimal digits"]),
        (&many, &["revoked: has 10001 digests, but at most 10000 are possible"]),
        (
            r#"{"/epoch":-1}"#,
            &["epoch: invalid value: integer, expected a whole number from 0 to 4294967295"],
        ),
    ]);
}

#[test]
fn required_claims() {
    let claims = |claims: &str| {
        format!(r#"{{"/apis/0/rules/0/access":[{{"introspection":{{"provider":"p","claims":{claims}}}}}]}}"#)
    };
    let at = "apis[0] (orders).rules[0].access[0].introspection.claims";
    let many: Vec<_> = (0..65).map(|value| format!("\"{value}\"")).collect();
    let too_many = format!(r#"{{"a":[{}]}}"#, many.join(","));
    for (written, expected) in [
        (r#"{"org.id":["acme"],"https://example\\.com/team":["blue"]}"#, vec![]),
        (r#"{"a":[]}"#, vec![format!("{at}.a: the list is empty: leave it out, or give it an entry")]),
        (r#"{"a":["x","x"]}"#, vec![format!("{at}.a[1]: `x` is listed twice")]),
        (
            r#"{"a":["","\n"]}"#,
            vec![format!("{at}.a[0]: must not be empty"), format!("{at}.a[1]: has a control character")],
        ),
        (
            r#"{"a..b":["x"]}"#,
            vec![format!(
                "{at}.a..b: not a path to a claim: expected names separated by dots, such as `org.id`"
            )],
        ),
        (
            r#"{"a\\b":["x"]}"#,
            vec![format!(
                r"{at}.a\b: a backslash in a path to a claim must be followed by a dot or another backslash"
            )],
        ),
        (
            r#"{"a.b.c.d.e.f.g.h.i":["x"]}"#,
            vec![format!(
                "{at}.a.b.c.d.e.f.g.h.i: a path to a claim must not have more than 8 names or 256 bytes"
            )],
        ),
        (&too_many, vec![format!("{at}.a: has 65 values, but at most 64 are possible")]),
    ] {
        let expected: Vec<_> = expected.iter().map(String::as_str).collect();
        check(&[(&claims(written), &expected)]);
    }
    let headers: Vec<_> = (0..65).map(|claim| format!(r#""x-{claim}":"{{claim:c{claim}}}""#)).collect();
    let (some, rest) = headers.split_at(32);
    let (more, last) = rest.split_at(32);
    let api = |name: &str, headers: &[String]| {
        format!(
            r#"{{"name":"{name}","base_path":"/{name}","rules":[{{"path":"/","access":["allow"]}}],"forward":{{"headers":{{{}}}}}}}"#,
            headers.join(",")
        )
    };
    let apis = [api("a", some), api("b", more), api("c", last)].join(",");
    check(&[
        (&format!(r#"{{"/apis":[{apis}]}}"#), &["apis: has 65 claims, but at most 64 are possible"]),
        (
            r#"{"/apis/0/forward":{"headers":{"x-a":"{claim:a..b}"}}}"#,
            &[
                "apis[0] (orders).forward.headers.x-a: not a path to a claim: expected names separated by dots, such as `org.id`",
            ],
        ),
    ]);
}

#[test]
fn ways_for_tokens() {
    let j = r#""/providers/j":{"jwks":{"issuer":"i","cluster":"c","url":"http://idp/"}}"#;
    let k = r#""/providers/k":{"jwks":{"issuer":"k","cluster":"c","url":"http://idp/"}}"#;
    let access = |list: &str| format!(r#"{{{j},{k},"/apis/0/rules/0/access":{list}}}"#);
    let never = "apis[0] (orders).rules[0].access[1]: is never reached: an earlier entry decides";
    let rows = [
        (access(r#"[{"jwt":{"provider":"j"}},{"introspection":{"provider":"p"}}]"#), vec![]),
        (access(r#"[{"introspection":{"provider":"p"}},{"jwt":{"provider":"j"}}]"#), vec![]),
        (access(r#"[{"jwt":{"provider":"j"}},{"jwt":{"provider":"k"}},"api_key"]"#), vec![]),
        (access(r#"[{"jwt":{"provider":"j"}},{"jwt":{"provider":"j"}}]"#), vec![never]),
        (access(r#"[{"introspection":{"provider":"p"}},{"introspection":{"provider":"p"}}]"#), vec![never]),
        (
            access(r#"[{"jwt":{"provider":"p"}}]"#),
            vec![
                "apis[0] (orders).rules[0].access[0].jwt.provider: the provider `p` is not of the kind `jwks`",
            ],
        ),
        (
            access(r#"[{"introspection":{"provider":"j"}}]"#),
            vec![
                "apis[0] (orders).rules[0].access[0].introspection.provider: the provider `j` is not of the kind `introspection`",
            ],
        ),
    ];
    for (changes, expected) in rows {
        check(&[(&changes, &expected)]);
    }
}
