//! Names: duplicate, unknown, and unusable ones.

use super::*;

#[test]
fn duplicate_names() {
    check(&[
        (
            r#"{"/consumers/1/name":"acme"}"#,
            &["consumers[1] (acme).name: there is a consumer `acme` already"],
        ),
        (
            r#"{"/consumers/0/keys/-":{"sha256":"7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"}}"#,
            &["consumers[0] (acme).keys[1].sha256: the key is listed twice"],
        ),
        (
            r#"{"/consumers/1/keys/0/sha256":"7692C3AD3540BB803C020B3AEE66CD8887123234EA0C6E7143C0ADD73FF431ED"}"#,
            &[
                "consumers[1] (globex).keys[0].sha256: the key belongs to consumer `acme` and cannot belong to `globex` as well",
            ],
        ),
        (
            r#"{"/consumers/0/keys/-":{"id":"k1","sha256":"0000000000000000000000000000000000000000000000000000000000000000"}}"#,
            &["consumers[0] (acme).keys[1].id: the consumer has a key `k1` already"],
        ),
        (
            r#"{"/consumers/1/clients":["acme-web"]}"#,
            &[
                "consumers[1] (globex).clients[0]: the client `acme-web` belongs to consumer `acme` and cannot belong to `globex` as well",
            ],
        ),
        (
            r#"{"/consumers/0/clients":["a","a"]}"#,
            &["consumers[0] (acme).clients[1]: the client `a` is listed twice"],
        ),
        (r#"{"/apis/1/name":"orders"}"#, &["apis[1] (orders).name: there is an API `orders` already"]),
        (
            r#"{"/apis/1/hosts":["ORDERS.example.com"],"/apis/1/base_path":"/v1/"}"#,
            &["apis[1] (open).base_path: API `orders` has the same base path for host `orders.example.com`"],
        ),
        (
            r#"{"-/apis/0/hosts":null,"/apis/0/base_path":"/"}"#,
            &["apis[1] (open).base_path: API `orders` has the same base path for any host"],
        ),
        (r#"{"/apis/0/hosts":["a","A"]}"#, &["apis[0] (orders).hosts: host `a` is listed twice"]),
        (
            r#"{"/apis/0/bindings/-":{"consumer":"acme"}}"#,
            &["apis[0] (orders).bindings[1].consumer: `acme` has a binding here already"],
        ),
        (
            r#"{"/plans/basic/limits/-":{"metric":"hits","max":11,"per":"second","window":"sliding"}}"#,
            &["plans.basic.limits[2]: there is a limit of `hits` per second already"],
        ),
        (
            r#"{"/apis/0/limits/-":{"metric":"hits","max":5,"per":"minute","of":"api"}}"#,
            &["apis[0] (orders).limits[1]: there is a limit of `hits` per minute already"],
        ),
        (
            r#"{"/apis/0/rules/0/methods":["GET","GET"]}"#,
            &["apis[0] (orders).rules[0].methods: the method `GET` is listed twice"],
        ),
        (
            r#"{"/apis/0/rules/0/access/0/introspection/scopes":["a","a"]}"#,
            &["apis[0] (orders).rules[0].access[0].introspection.scopes: scope `a` is listed twice"],
        ),
        (
            r#"{"/apis/0/rules/0/access/0/introspection/audience":{"all":["a","a"]}}"#,
            &["apis[0] (orders).rules[0].access[0].introspection.audience: audience `a` is listed twice"],
        ),
        (
            r#"{"/apis/0/rules/0/access/0/introspection/issuers":["a","a"]}"#,
            &["apis[0] (orders).rules[0].access[0].introspection.issuers[1]: `a` is listed twice"],
        ),
        (
            r#"{"/apis/0/credentials/api_key":[{"header":"apikey"},{"header":"ApiKey"}]}"#,
            &["apis[0] (orders).credentials.api_key[1]: the same place as another entry"],
        ),
        (
            r#"{"/apis/0/forward/headers":{"x-a":"a","X-A":"b"}}"#,
            &[
                "apis[0] (orders).forward.headers.x-a: this header appears twice: upper and lower case make no difference",
            ],
        ),
        (
            r#"{"/providers/p/introspection/unavailable":{"allow_clients":["a","","a"]}}"#,
            &[
                "providers.p.introspection.unavailable.allow_clients[1]: must not be empty",
                "providers.p.introspection.unavailable.allow_clients[2]: `a` is listed twice",
            ],
        ),
    ]);
}

#[test]
fn unknown_names() {
    check(&[
        (r#"{"/consumers/0/plan":"platinum"}"#, &["consumers[0] (acme).plan: there is no plan `platinum`"]),
        (
            r#"{"/apis/0/bindings/0/plan":"platinum"}"#,
            &["apis[0] (orders).bindings[0].plan: there is no plan `platinum`"],
        ),
        (
            r#"{"/apis/0/bindings/0/consumer":"initech"}"#,
            &["apis[0] (orders).bindings[0].consumer: there is no consumer `initech`"],
        ),
        (
            r#"{"/apis/0/rules/0/access/0/introspection/provider":"q"}"#,
            &["apis[0] (orders).rules[0].access[0].introspection.provider: there is no provider `q`"],
        ),
        (
            r#"{"/apis/0/metering/0/metric":"visits"}"#,
            &["apis[0] (orders).metering[0].metric: there is no metric `visits`"],
        ),
        (
            r#"{"/plans/basic/limits/0/metric":"visits"}"#,
            &["plans.basic.limits[0].metric: there is no metric `visits`"],
        ),
        (
            r#"{"/apis/0/limits/0/metric":"visits"}"#,
            &["apis[0] (orders).limits[0].metric: there is no metric `visits`"],
        ),
        (
            r#"{"/apis/0/bindings/0/limits":[{"metric":"visits","max":1,"per":"day"}]}"#,
            &["apis[0] (orders).bindings[0].limits[0].metric: there is no metric `visits`"],
        ),
        (
            r#"{"/metrics/reads/parent":"visits"}"#,
            &["metrics.reads: parent `visits` of metric `reads` is not declared"],
        ),
    ]);
}

#[test]
fn metrics_that_are_not_a_tree() {
    check(&[
        (r#"{"/metrics/writes/parent":"writes"}"#, &["metrics.writes: metric `writes` is its own ancestor"]),
        (
            r#"{"/metrics/reads/parent":"writes","/metrics/writes/parent":"reads"}"#,
            &[
                "metrics.reads: metric `reads` is its own ancestor",
                "metrics.writes: metric `writes` is its own ancestor",
            ],
        ),
        (
            r#"{"/metrics/a b":{}}"#,
            &[
                "metrics.a b: invalid name of a metric `a b`: expected 1 to 64 ASCII letters, digits, `.`, `_` or `-`",
            ],
        ),
        (
            r#"{"/metrics/":{}}"#,
            &[
                "metrics.: invalid name of a metric ``: expected 1 to 64 ASCII letters, digits, `.`, `_` or `-`",
            ],
        ),
    ]);
}
