//! Values of the wrong type, and choices that do not exist.

use super::*;

#[test]
fn values_of_the_wrong_type() {
    check(&[
        (r#"{"/apis":{}}"#, &["apis: invalid type: map, expected a list"]),
        (r#"{"/apis/0":["orders"]}"#, &["apis[0]: invalid type: list, expected a map"]),
        (r#"{"/gate":["example"]}"#, &["gate: invalid type: list, expected a map"]),
        (r#"{"/gate/capacity":[64,64]}"#, &["gate.capacity: invalid type: list, expected a map"]),
        (
            r#"{"/consumers/0/keys/0/sha256":12}"#,
            &["consumers[0] (acme).keys[0].sha256: invalid type: integer, expected a string"],
        ),
        (
            r#"{"/plans/basic/limits/0/max":-1}"#,
            &["plans.basic.limits[0].max: invalid value: integer, expected a whole number from 0 on"],
        ),
        (
            r#"{"/plans/basic/limits/0/max":1.5}"#,
            &["plans.basic.limits[0].max: invalid type: fraction, expected a whole number from 0 on"],
        ),
        (
            r#"{"/gate/capacity/meters":4294967296}"#,
            &["gate.capacity.meters: invalid value: integer, expected a whole number from 0 to 4294967295"],
        ),
        (
            r#"{"/apis/0/shadow":"yes"}"#,
            &["apis[0] (orders).shadow: invalid type: string, expected a boolean"],
        ),
        (
            r#"{"/apis/0/access":"api_key"}"#,
            &["apis[0] (orders).access: invalid type: string, expected a list"],
        ),
        (
            r#"{"/apis/0/bindings/0/allow":"GET"}"#,
            &[
                "apis[0] (orders).bindings[0].allow: unknown value `GET`, expected one of `all`, `none`, `{methods: [GET]}`",
            ],
        ),
        (
            r#"{"/apis/0/bindings/0/allow":["GET"]}"#,
            &[
                "apis[0] (orders).bindings[0].allow: invalid type: list, expected one of `all`, `none`, `{methods: [GET]}`",
            ],
        ),
        (r#"{"/consumers":{"acme":{}}}"#, &["consumers: invalid type: map, expected a list"]),
        (r#"{"/plans":[]}"#, &["plans: invalid type: list, expected a map by name"]),
    ]);
}

#[test]
fn null_is_not_the_same_as_absent() {
    check(&[
        (r#"{"/revision":null}"#, &["revision: invalid type: null, expected a string"]),
        (r#"{"/consumers":null}"#, &["consumers: invalid type: null, expected a list"]),
        (r#"{"/consumers/0/keys":null}"#, &["consumers[0] (acme).keys: invalid type: null, expected a list"]),
        (
            r#"{"/consumers/0/keys/0/not_after":null}"#,
            &["consumers[0] (acme).keys[0].not_after: invalid type: null, expected a string"],
        ),
        (r#"{"/apis/0/hosts":null}"#, &["apis[0] (orders).hosts: invalid type: null, expected a list"]),
        (r#"{"/apis/0/access":null}"#, &["apis[0] (orders).access: invalid type: null, expected a list"]),
        (r#"{"/apis/0/bindings":null}"#, &["apis[0] (orders).bindings: invalid type: null, expected a list"]),
        (r#"{"/apis/0/limits":null}"#, &["apis[0] (orders).limits: invalid type: null, expected a list"]),
        (
            r#"{"/apis/0/rules/0/methods":null}"#,
            &["apis[0] (orders).rules[0].methods: invalid type: null, expected a list"],
        ),
        (
            r#"{"/apis/0/rules/0/access/0/introspection/issuers":null}"#,
            &[
                "apis[0] (orders).rules[0].access[0].introspection.issuers: invalid type: null, expected a list",
            ],
        ),
        (
            r#"{"/apis/0/rules/0/access/0/introspection/audience":null}"#,
            &[
                "apis[0] (orders).rules[0].access[0].introspection.audience: invalid type: null, expected `{any: [AUDIENCE]}` or `{all: [AUDIENCE]}`",
            ],
        ),
        (r#"{"/gate":null}"#, &["gate: invalid type: null, expected a map"]),
        (r#"{"/metrics":null}"#, &["metrics: invalid type: null, expected a map by name"]),
    ]);
}

#[test]
fn unsupported_schema_versions() {
    check(&[
        (r#"{"/sidegate":"v2"}"#, &["sidegate: unsupported schema version `v2`, expected `v1`"]),
        (r#"{"/sidegate":1}"#, &["sidegate: invalid type: integer, expected `v1`"]),
    ]);
}

#[test]
fn choices_with_too_much_or_too_little() {
    check(&[
        (
            r#"{"/apis/0/access":["introspection"]}"#,
            &[
                "apis[0] (orders).access[0]: `introspection` alone is not enough: write `{introspection: {provider: NAME}}`",
            ],
        ),
        (
            r#"{"/apis/0/access":[{"api_key":{"header":"apikey"}}]}"#,
            &["apis[0] (orders).access[0].api_key: `api_key` takes nothing: write just `api_key`"],
        ),
        (
            r#"{"/apis/0/access":[{"introspection":null}]}"#,
            &["apis[0] (orders).access[0].introspection: invalid type: null, expected a map"],
        ),
        (
            r#"{"/apis/0/access":[{}]}"#,
            &["apis[0] (orders).access[0]: invalid value: map with 0 entries, expected one entry"],
        ),
        (
            r#"{"/apis/0/access":[{"allow":null,"deny":null}]}"#,
            &["apis[0] (orders).access[0]: invalid value: map with 2 entries, expected one entry"],
        ),
        (
            r#"{"/apis/0/bindings/0/allow":{"methods":"GET"}}"#,
            &["apis[0] (orders).bindings[0].allow.methods: invalid type: string, expected a list"],
        ),
        (
            r#"{"/apis/0/rules/0/access/0/introspection/audience":["orders"]}"#,
            &[
                "apis[0] (orders).rules[0].access[0].introspection.audience: invalid type: list, expected `{any: [AUDIENCE]}` or `{all: [AUDIENCE]}`",
            ],
        ),
        (
            r#"{"/providers/p":"introspection"}"#,
            &[
                "providers.p: `introspection` alone is not enough: write `{introspection: {cluster: NAME, url: URL}}`",
            ],
        ),
        (
            r#"{"/providers/p/introspection/unavailable":"allow_clients"}"#,
            &[
                "providers.p.introspection.unavailable: `allow_clients` alone is not enough: write `{allow_clients: [CLIENT]}`",
            ],
        ),
        (
            r#"{"/gate/filter_state":["api"]}"#,
            &["gate.filter_state: invalid type: list, expected one of `all`, `none`, `{only: [api, code]}`"],
        ),
    ]);
}

#[test]
fn durations_without_a_unit() {
    check(&[
        (
            r#"{"/providers/p/introspection/timeout":2}"#,
            &["providers.p.introspection.timeout: a duration needs a unit: write `2s` or `2ms`"],
        ),
        (
            r#"{"/providers/p/introspection/timeout":"2"}"#,
            &["providers.p.introspection.timeout: a duration needs a unit: write `2s` or `2ms`"],
        ),
        (
            r#"{"/providers/p/introspection/timeout":0.2}"#,
            &[
                "providers.p.introspection.timeout: invalid type: fraction, expected a duration such as `200ms`, `30s`, `5m`, `1h` or `1d`",
            ],
        ),
    ]);
}
