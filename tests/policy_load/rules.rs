//! Rules that decide nothing, and what they ask of callers.

use super::*;

#[test]
fn rules_and_grants_that_are_never_reached() {
    check(&[
        (
            r#"{"/apis/0/rules/-":{"path":"/orders/{other}","methods":["GET","PUT"]}}"#,
            &["apis[0] (orders).rules[3]: matches the same requests as the earlier rule for `/orders/{id}`"],
        ),
        (
            r#"{"/apis/0/rules/-":{"path":"/orders/**"}}"#,
            &["apis[0] (orders).rules[3]: matches the same requests as the earlier rule for `/orders/**`"],
        ),
        (
            r#"{"/apis/0/rules/-":{"regex":"/r/[0-9]+"}}"#,
            &["apis[0] (orders).rules[3]: matches the same requests as the earlier rule for `/r/[0-9]+`"],
        ),
        (
            r#"{"/apis/0/rules/0/access":["api_key","api_key"]}"#,
            &["apis[0] (orders).rules[0].access[1]: is never reached: an earlier entry decides"],
        ),
        (
            r#"{"/apis/0/rules/0/access":["allow","api_key"]}"#,
            &["apis[0] (orders).rules[0].access[1]: is never reached: an earlier entry decides"],
        ),
        (
            r#"{"/apis/0/access":["deny","allow"]}"#,
            &["apis[0] (orders).access[1]: is never reached: an earlier entry decides"],
        ),
        (
            r#"{"/apis/0/rules/0/access/1":{"introspection":{"provider":"p"}}}"#,
            &["apis[0] (orders).rules[0].access[1]: is never reached: an earlier entry decides"],
        ),
        (
            r#"{"/apis/0/bindings/0/paths/-":{"path":"/orders/**","allow":"none"}}"#,
            &["apis[0] (orders).bindings[0].paths[1]: is never reached: an earlier entry has the same path"],
        ),
    ]);
}

#[test]
fn rules_without_access() {
    check(&[
        (
            r#"{"-/apis/0/access":null}"#,
            &[
                "apis[0] (orders).rules[1]: nothing says who may use it: give the rule or its API an `access` list",
                "apis[0] (orders).rules[2]: nothing says who may use it: give the rule or its API an `access` list",
            ],
        ),
        (
            r#"{"-/apis/1/rules/0/access":null}"#,
            &[
                "apis[1] (open).rules[0]: nothing says who may use it: give the rule or its API an `access` list",
            ],
        ),
    ]);
}

#[test]
fn invalid_scopes_and_audiences() {
    check(&[
        (
            r#"{"/apis/0/rules/0/access/0/introspection/scopes":["a b"]}"#,
            &[
                "apis[0] (orders).rules[0].access[0].introspection.scopes[0]: `a b` is not one scope: write `[a, b]`",
            ],
        ),
        (
            r#"{"/apis/0/rules/0/access/0/introspection/scopes":[""]}"#,
            &[
                "apis[0] (orders).rules[0].access[0].introspection.scopes: `` is not a scope: expected visible ASCII characters without quotes and backslashes",
            ],
        ),
        (
            r#"{"/apis/0/rules/0/access/0/introspection/scope_strategy":"loose"}"#,
            &[
                "apis[0] (orders).rules[0].access[0].introspection.scope_strategy: unknown value `loose`, expected one of `exact`, `hierarchic`, `wildcard`",
            ],
        ),
        (
            r#"{"/apis/0/rules/0/access/0/introspection/audience":{"any":[""]}}"#,
            &["apis[0] (orders).rules[0].access[0].introspection.audience: an audience must not be empty"],
        ),
        (
            r#"{"/apis/0/rules/0/access/0/introspection/issuers":[""]}"#,
            &["apis[0] (orders).rules[0].access[0].introspection.issuers[0]: must not be empty"],
        ),
    ]);
}
