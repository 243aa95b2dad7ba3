//! Where credentials are sent, and digests of keys.

use super::*;

#[test]
fn invalid_places_of_credentials() {
    check(&[
        (
            r#"{"/apis/0/credentials/api_key/0":{}}"#,
            &[
                "apis[0] (orders).credentials.api_key[0]: give exactly one of `header` (with or without `scheme`), `query`, `cookie`, `basic`",
            ],
        ),
        (
            r#"{"/apis/0/credentials/api_key/0":{"header":"a","query":"b"}}"#,
            &[
                "apis[0] (orders).credentials.api_key[0]: give exactly one of `header` (with or without `scheme`), `query`, `cookie`, `basic`",
            ],
        ),
        (
            r#"{"/apis/0/credentials/api_key/0":{"header":"authorization","basic":"user"}}"#,
            &[
                "apis[0] (orders).credentials.api_key[0]: give exactly one of `header` (with or without `scheme`), `query`, `cookie`, `basic`",
            ],
        ),
        (
            r#"{"/apis/0/credentials/api_key":[{"basic":"user"},{"basic":"either"}]}"#,
            &["apis[0] (orders).credentials.api_key[1]: the same place as another entry"],
        ),
        (
            r#"{"/apis/0/credentials/api_key":[{"basic":"user"},{"header":"Authorization","scheme":"basic"}]}"#,
            &["apis[0] (orders).credentials.api_key[1]: the same place as another entry"],
        ),
        (r#"{"/apis/0/credentials/api_key":[{"basic":"user"},{"basic":"password"}]}"#, &[]),
        (
            r#"{"/apis/0/credentials/api_key/0":{"basic":"id"}}"#,
            &[
                "apis[0] (orders).credentials.api_key[0].basic: unknown value `id`, expected one of `user`, `password`, `either`",
            ],
        ),
        (
            r#"{"/apis/0/credentials/app_id":[]}"#,
            &["apis[0] (orders).credentials.app_id: the list is empty: leave it out, or give it an entry"],
        ),
        (
            r#"{"/apis/0/credentials/app_id":[{"query":"app"}],"/apis/0/credentials/app_key":[{"query":"app"}]}"#,
            &[
                "apis[0] (orders).credentials.app_key: the id and the key of an application both sit in the query parameter `app`",
            ],
        ),
        (
            r#"{"/apis/0/credentials/app_id":[{"basic":"user"}],"/apis/0/credentials/app_key":[{"basic":"either"}]}"#,
            &[
                "apis[0] (orders).credentials.app_key: the id and the key of an application both sit in `Authorization: Basic`",
            ],
        ),
        (
            r#"{"/apis/0/credentials/app_id":[{"header":"apikey"}],"/apis/0/rules":[{"path":"/a","access":["application","api_key"]}]}"#,
            &[
                "apis[0] (orders).rules[0]: the rule for `/a` takes an API key and an application, and both sit in the header `apikey`",
            ],
        ),
        (
            r#"{"/apis/0/credentials/app_key":[{"header":"authorization","scheme":"Bearer"}],"/apis/0/rules":[{"path":"/a","access":["application",{"introspection":{"provider":"p"}}]}]}"#,
            &[
                "apis[0] (orders).rules[0]: the rule for `/a` takes an application and a token, and both sit in the header `authorization`",
            ],
        ),
        (
            r#"{"/apis/0/credentials/api_key/0":{"query":"b","scheme":"Bearer"}}"#,
            &[
                "apis[0] (orders).credentials.api_key[0]: give exactly one of `header` (with or without `scheme`), `query`, `cookie`, `basic`",
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

#[test]
fn invalid_applications() {
    let key = "0000000000000000000000000000000000000000000000000000000000000000";
    let with_keys = |keys: &str| format!(r#"{{"/consumers/0/application":{{"id":"4f2e","keys":[{keys}]}}}}"#);
    check(&[
        (&with_keys(&format!(r#"{{"sha256":"{key}"}}"#)), &[]),
        (r#"{"/consumers/0/application":{"id":"4f2e"}}"#, &[]),
        (
            &with_keys(""),
            &["consumers[0] (acme).application.keys: the list is empty: leave it out, or give it an entry"],
        ),
        (
            &with_keys(&format!(r#"{{"sha256":"{key}"}},{{"sha256":"{key}"}}"#)),
            &["consumers[0] (acme).application.keys[1].sha256: the key is listed twice"],
        ),
        (
            &with_keys(&format!(
                r#"{{"id":"a","sha256":"{key}"}},{{"id":"a","sha256":"{}"}}"#,
                "1".repeat(64)
            )),
            &["consumers[0] (acme).application.keys[1].id: the consumer has a key `a` already"],
        ),
        (
            r#"{"/consumers/0/application":{"id":""}}"#,
            &["consumers[0] (acme).application.id: must not be empty"],
        ),
        (r#"{"/consumers/0/application":{}}"#, &["consumers[0] (acme).application: missing field `id`"]),
        (
            r#"{"/consumers/0/application":{"id":"a"},"/consumers/1/application":{"id":"a"}}"#,
            &[
                "consumers[1] (globex).application.id: the application `a` belongs to consumer `acme` and cannot belong to `globex` as well",
            ],
        ),
        (
            r#"{"/apis/0/access":["application","application"]}"#,
            &["apis[0] (orders).access[1]: is never reached: an earlier entry decides"],
        ),
    ]);
}

#[test]
fn invalid_default_credentials() {
    let default = |default: &str| format!(r#"{{"/apis/0/default_credentials":{default}}}"#);
    let application = |id: &str| {
        format!(
            r#"{{"/consumers/0/application":{{"id":"a"}},"/apis/0/rules/0/access":["application"],"/apis/0/default_credentials":{{"app_id":"{id}"}}}}"#
        )
    };
    check(&[
        (&default(r#"{"api_key":{"env":"SECRET"}}"#), &[]),
        (&application("a"), &[]),
        (
            &application("b"),
            &["apis[0] (orders).default_credentials.app_id: no consumer has an application `b`"],
        ),
        (
            &default("{}"),
            &[
                "apis[0] (orders).default_credentials: give either `api_key`, or `app_id` with or without `app_key`",
            ],
        ),
        (
            &default(r#"{"api_key":"a","app_id":"b"}"#),
            &[
                "apis[0] (orders).default_credentials: give either `api_key`, or `app_id` with or without `app_key`",
            ],
        ),
        (
            &default(r#"{"app_key":"b"}"#),
            &[
                "apis[0] (orders).default_credentials: give either `api_key`, or `app_id` with or without `app_key`",
            ],
        ),
        (
            &default(r#"{"app_id":"b"}"#),
            &["apis[0] (orders).default_credentials: no rule takes an application"],
        ),
        (
            r#"{"/apis/1/default_credentials":{"api_key":"a"}}"#,
            &["apis[1] (open).default_credentials: no rule takes an API key"],
        ),
        (
            &default(r#"{"api_key":{"env":"MISSING"}}"#),
            &[
                "apis[0] (orders).default_credentials.api_key: the environment has no variable `MISSING`, or an empty one",
            ],
        ),
    ]);
}

#[test]
fn invalid_referrers() {
    let many = (0..65).map(|number| format!("\"h{number}\"")).collect::<Vec<_>>().join(",");
    check(&[
        (r#"{"/consumers/0/referrers":["*.acme.com","shop.acme.*"]}"#, &[]),
        (
            r#"{"/consumers/0/referrers":[]}"#,
            &["consumers[0] (acme).referrers: the list is empty: leave it out, or give it an entry"],
        ),
        (
            r#"{"/consumers/0/referrers":["a","b c"]}"#,
            &[
                "consumers[0] (acme).referrers[1]: not a referrer: 1 to 253 visible ASCII characters, such as `*.example.com`",
            ],
        ),
        (
            r#"{"/consumers/0/referrers":["*********"]}"#,
            &["consumers[0] (acme).referrers[0]: has more than 8 wildcards"],
        ),
        (
            &format!(r#"{{"/consumers/0/referrers":[{many}]}}"#),
            &["consumers[0] (acme).referrers: has 65 referrers, but at most 64 are possible"],
        ),
    ]);
}

#[test]
fn keys_whose_use_nothing_could_show() {
    check(&[
        (r#"{"/consumers/0/key_metrics":true,"/consumers/0/keys/0/not_before":"2026-01-01T00:00:00Z"}"#, &[]),
        (
            r#"{"/consumers/1/key_metrics":true}"#,
            &[
                "consumers[1] (globex).keys[0]: needs an `id`, because `key_metrics` shows the use of each key by its `id`",
            ],
        ),
        (
            r#"{"/consumers/1/keys/0/not_before":"2027-01-01T00:00:00.5Z"}"#,
            &["consumers[1] (globex).keys[0].not_before: the key is never valid: `not_after` is not later"],
        ),
    ]);
}
