//! Lists without entries.

use super::*;

#[test]
fn empty_lists() {
    check(&[
        (
            r#"{"/consumers":[]}"#,
            &[
                "consumers: the list is empty: leave it out, or give it an entry",
                "apis[0] (orders).bindings[0].consumer: there is no consumer `acme`",
            ],
        ),
        (r#"{"/apis":[]}"#, &["apis: the list is empty: leave it out, or give it an entry"]),
        (
            r#"{"/plans/basic/limits":[]}"#,
            &["plans.basic.limits: the list is empty: leave it out, or give it an entry"],
        ),
        (
            r#"{"/consumers/0/keys":[]}"#,
            &["consumers[0] (acme).keys: the list is empty: leave it out, or give it an entry"],
        ),
        (
            r#"{"/consumers/0/clients":[]}"#,
            &["consumers[0] (acme).clients: the list is empty: leave it out, or give it an entry"],
        ),
        (
            r#"{"/consumers/0/keys":[],"/consumers/0/clients":[]}"#,
            &[
                "consumers[0] (acme).keys: the list is empty: leave it out, or give it an entry",
                "consumers[0] (acme).clients: the list is empty: leave it out, or give it an entry",
            ],
        ),
        (
            r#"{"/apis/0/hosts":[]}"#,
            &["apis[0] (orders).hosts: the list is empty: leave it out, or give it an entry"],
        ),
        (
            r#"{"/apis/0/credentials/api_key":[]}"#,
            &["apis[0] (orders).credentials.api_key: the list is empty: leave it out, or give it an entry"],
        ),
        (
            r#"{"/apis/0/credentials/token":[]}"#,
            &["apis[0] (orders).credentials.token: the list is empty: leave it out, or give it an entry"],
        ),
        (
            r#"{"/apis/0/access":[]}"#,
            &["apis[0] (orders).access: the list is empty: leave it out, or give it an entry"],
        ),
        (
            r#"{"/apis/0/rules":[]}"#,
            &["apis[0] (orders).rules: the list is empty: leave it out, or give it an entry"],
        ),
        (
            r#"{"/apis/0/rules/0/methods":[]}"#,
            &["apis[0] (orders).rules[0].methods: a list of methods must not be empty"],
        ),
        (
            r#"{"/apis/0/rules/0/access":[]}"#,
            &["apis[0] (orders).rules[0].access: the list is empty: leave it out, or give it an entry"],
        ),
        (
            r#"{"/apis/0/rules/0/access/0/introspection/scopes":[]}"#,
            &[
                "apis[0] (orders).rules[0].access[0].introspection.scopes: a list of required scopes must not be empty",
            ],
        ),
        (
            r#"{"/apis/0/rules/0/access/0/introspection/audience":{"any":[]}}"#,
            &[
                "apis[0] (orders).rules[0].access[0].introspection.audience: a list of audiences must not be empty",
            ],
        ),
        (
            r#"{"/apis/0/rules/0/access/0/introspection/audience":{"all":[]}}"#,
            &[
                "apis[0] (orders).rules[0].access[0].introspection.audience: a list of audiences must not be empty",
            ],
        ),
        (
            r#"{"/apis/0/rules/0/access/0/introspection/issuers":[]}"#,
            &[
                "apis[0] (orders).rules[0].access[0].introspection.issuers: the list is empty: leave it out, or give it an entry",
            ],
        ),
        (
            r#"{"/apis/0/metering":[]}"#,
            &["apis[0] (orders).metering: the list is empty: leave it out, or give it an entry"],
        ),
        (
            r#"{"/apis/0/bindings":[]}"#,
            &["apis[0] (orders).bindings: the list is empty: leave it out, or give it an entry"],
        ),
        (
            r#"{"/apis/0/bindings/0/allow":{"methods":[]}}"#,
            &["apis[0] (orders).bindings[0].allow.methods: a list of methods must not be empty"],
        ),
        (
            r#"{"/apis/0/bindings/0/paths":[]}"#,
            &["apis[0] (orders).bindings[0].paths: the list is empty: leave it out, or give it an entry"],
        ),
        (
            r#"{"/apis/0/bindings/0/limits":[]}"#,
            &["apis[0] (orders).bindings[0].limits: the list is empty: leave it out, or give it an entry"],
        ),
        (
            r#"{"/apis/0/limits":[]}"#,
            &["apis[0] (orders).limits: the list is empty: leave it out, or give it an entry"],
        ),
        (
            r#"{"/providers/p/introspection/unavailable":{"allow_clients":[]}}"#,
            &[
                "providers.p.introspection.unavailable.allow_clients: the list of allowed clients must not be empty",
            ],
        ),
    ]);
}
