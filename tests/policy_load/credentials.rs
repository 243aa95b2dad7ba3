//! Where credentials are sent, and digests of keys.

use super::*;

#[test]
fn invalid_places_of_credentials() {
    check(&[
        (
            r#"{"/apis/0/credentials/api_key/0":{}}"#,
            &[
                "apis[0] (orders).credentials.api_key[0]: give exactly one of `header` (with or without `scheme`), `query`, `cookie`",
            ],
        ),
        (
            r#"{"/apis/0/credentials/api_key/0":{"header":"a","query":"b"}}"#,
            &[
                "apis[0] (orders).credentials.api_key[0]: give exactly one of `header` (with or without `scheme`), `query`, `cookie`",
            ],
        ),
        (
            r#"{"/apis/0/credentials/api_key/0":{"query":"b","scheme":"Bearer"}}"#,
            &[
                "apis[0] (orders).credentials.api_key[0]: give exactly one of `header` (with or without `scheme`), `query`, `cookie`",
            ],
        ),
        (
            r#"{"/apis/0/credentials/api_key/0":{"header":":path"}}"#,
            &["apis[0] (orders).credentials.api_key[0]: not a header name"],
        ),
        (
            r#"{"/apis/0/credentials/api_key/0":{"header":"cookie"}}"#,
            &[
                "apis[0] (orders).credentials.api_key[0]: the `cookie` header is read through a cookie location, by cookie name",
            ],
        ),
        (
            r#"{"/apis/0/credentials/api_key/0":{"header":"a","scheme":"B earer"}}"#,
            &["apis[0] (orders).credentials.api_key[0]: not an authentication scheme"],
        ),
        (
            r#"{"/apis/0/credentials/api_key/0":{"query":""}}"#,
            &["apis[0] (orders).credentials.api_key[0]: the name of a query parameter must not be empty"],
        ),
        (
            r#"{"/apis/0/credentials/api_key/0":{"cookie":"a=b"}}"#,
            &["apis[0] (orders).credentials.api_key[0]: not a cookie name"],
        ),
        (
            r#"{"/apis/0/credentials/api_key/0":{"header":"authorization","scheme":"bearer"}}"#,
            &[
                "apis[0] (orders).rules[0]: the rule for `/orders/{id}` takes an API key and a token, and both sit in the header `authorization`",
            ],
        ),
        (
            r#"{"/apis/0/credentials/api_key/0":{"header":"authorization"}}"#,
            &[
                "apis[0] (orders).rules[0]: the rule for `/orders/{id}` takes an API key and a token, and both sit in the header `authorization`",
            ],
        ),
        (
            r#"{"-/apis/0/credentials/token":null,"/apis/0/credentials/api_key/0":{"header":"authorization"}}"#,
            &[
                "apis[0] (orders).rules[0]: the rule for `/orders/{id}` takes an API key and a token, and both sit in the header `authorization`",
            ],
        ),
    ]);
}

#[test]
fn invalid_digests_and_moments() {
    check(&[
        (
            r#"{"/consumers/0/keys/0/sha256":"9f86"}"#,
            &["consumers[0] (acme).keys[0].sha256: not a SHA-256 digest: expected 64 hexadecimal digits"],
        ),
        (
            r#"{"/consumers/0/keys/0/sha256":"zz92c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"}"#,
            &["consumers[0] (acme).keys[0].sha256: not a SHA-256 digest: expected 64 hexadecimal digits"],
        ),
        (
            r#"{"/gate/debug":{"secret_sha256":"debug"}}"#,
            &["gate.debug.secret_sha256: not a SHA-256 digest: expected 64 hexadecimal digits"],
        ),
        (
            r#"{"/consumers/0/keys/0/not_after":"2027-01-01"}"#,
            &[
                "consumers[0] (acme).keys[0].not_after: `2027-01-01` is not a moment in RFC 3339 such as `2027-01-01T00:00:00Z`",
            ],
        ),
        (
            r#"{"/consumers/0/keys/0/not_after":"2027-02-30T00:00:00Z"}"#,
            &[
                "consumers[0] (acme).keys[0].not_after: `2027-02-30T00:00:00Z` is not a moment in RFC 3339 such as `2027-01-01T00:00:00Z`",
            ],
        ),
        (
            r#"{"/consumers/0/keys/0/not_after":1798761600}"#,
            &["consumers[0] (acme).keys[0].not_after: invalid type: integer, expected a string"],
        ),
        (
            r#"{"/consumers/0/keys/0/state":"off"}"#,
            &["consumers[0] (acme).keys[0].state: unknown value `off`, expected `active` or `inactive`"],
        ),
        (
            r#"{"/consumers/0/state":"off"}"#,
            &["consumers[0] (acme).state: unknown value `off`, expected `active` or `suspended`"],
        ),
        (
            r#"{"/consumers/0/keys/0/not_after":"1969-12-31T23:59:59Z"}"#,
            &[
                "consumers[0] (acme).keys[0].not_after: `1969-12-31T23:59:59Z` is not a moment in RFC 3339 such as `2027-01-01T00:00:00Z`",
            ],
        ),
    ]);
}

#[test]
fn a_key_and_a_token_may_share_a_place_unless_a_rule_takes_both() {
    let shared = r#""/apis/0/credentials/api_key/0":{"header":"authorization"}"#;
    let only_key = format!(r#"{{{shared},"/apis/0/rules/0/access":["api_key"]}}"#);
    let apart = format!(r#"{{{shared},"/apis/0/rules/0/access":[{{"introspection":{{"provider":"p"}}}}]}}"#);
    let inherited = format!(
        r#"{{{shared},"/apis/0/access":["api_key",{{"introspection":{{"provider":"p"}}}}],"/apis/0/rules":[{{"path":"/a"}},{{"path":"/b"}}]}}"#
    );
    check(&[
        (&only_key, &[]),
        (&apart, &[]),
        (
            &inherited,
            &[
                "apis[0] (orders).rules[0]: the rule for `/a` takes an API key and a token, and both sit in the header `authorization`",
            ],
        ),
    ]);
}
