//! What a policy document may say: one right document, and for each thing that can be wrong with it one row.
#![cfg(not(target_family = "wasm"))]
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics fails, as it should"
)]

use std::fmt::Write as _;

use serde_json::{Value, json};
use sidegate::{credential::Digest, policy::Policy, time::Timestamp};

/// A secret in the environment, and what must never be in a message.
const SECRET: &str = "hunter2";

fn base() -> Value {
    let sha256 = |key: &str| Digest::of(key.as_bytes()).to_hex();
    json!({
        "sidegate": "v1",
        "revision": "r1",
        "gate": {"realm": "example", "capacity": {"meters": 64, "tokens": 64}},
        "providers": {
            "p": {"introspection": {
                "cluster": "c", "url": "http://idp/introspect", "timeout": "200ms",
                "authentication": {"basic": {"id": "gateway", "secret": {"env": "SECRET"}}},
                "cache": {"ttl": "30s", "negative_ttl": "5s", "stale_if_error": "60s"}, "unavailable": "deny"
            }}
        },
        "metrics": {"reads": {"parent": "hits"}, "writes": {}},
        "plans": {
            "basic": {"environment": "staging", "limits": [
                {"metric": "hits", "max": 10, "per": "second", "window": "sliding"},
                {"metric": "writes", "max": 0, "per": "eternity"}
            ]},
            "gold": {}
        },
        "consumers": [
            {"name": "acme", "plan": "basic", "keys": [{"id": "k1", "sha256": sha256("one")}], "clients": ["acme-web"]},
            {"name": "globex", "keys": [{"sha256": sha256("two"), "not_after": "2027-01-01T00:00:00Z"}]}
        ],
        "apis": [
            {
                "name": "orders", "hosts": ["orders.example.com"], "base_path": "/v1",
                "credentials": {"api_key": [{"header": "apikey"}], "token": [{"header": "authorization", "scheme": "Bearer"}]},
                "access": ["api_key"],
                "rules": [
                    {"path": "/orders/{id}", "methods": ["GET"], "access": [
                        {"introspection": {"provider": "p", "scopes": ["read"], "audience": {"any": ["orders"]}, "issuers": ["https://idp"]}},
                        "api_key"
                    ]},
                    {"path": "/orders/**"},
                    {"regex": "/r/[0-9]+"}
                ],
                "metering": [{"path": "/**", "metric": "hits", "by": 1}],
                "bindings": [{"consumer": "acme", "allow": {"methods": ["GET"]}, "paths": [{"path": "/orders/**", "allow": "all"}]}],
                "limits": [{"metric": "hits", "max": 50, "per": "minute", "of": "api"}],
                "forward": {"headers": {"x-consumer": "{consumer}"}}
            },
            {"name": "open", "rules": [{"path": "/**", "access": ["allow"]}]}
        ]
    })
}

/// The base with changes: `"/a/0/b": value` puts, `"/a/-": value` appends, `"-/a/b": null` takes away.
fn changed(changes: &str) -> Value {
    let mut document = base();
    let changes: Value = serde_json::from_str(changes).unwrap_or_else(|error| panic!("{changes}: {error}"));
    for (pointer, value) in changes.as_object().unwrap() {
        let (pointer, removes) =
            pointer.strip_prefix('-').map_or((pointer.as_str(), false), |rest| (rest, true));
        let (parent, last) = pointer.rsplit_once('/').unwrap();
        match document.pointer_mut(parent).unwrap_or_else(|| panic!("the base has no {parent}")) {
            Value::Array(items) if last == "-" => items.push(value.clone()),
            Value::Array(items) => items[last.parse::<usize>().unwrap()] = value.clone(),
            Value::Object(members) if removes => drop(members.remove(last).unwrap()),
            Value::Object(members) => drop(members.insert(last.to_owned(), value.clone())),
            other => panic!("{parent} is {other}"),
        }
    }
    document
}

fn environment(name: &str) -> Option<String> {
    match name {
        "SECRET" => Some(SECRET.to_owned()),
        "EMPTY" => Some(String::new()),
        "CONTROL" => Some(format!("{SECRET}\r\n")),
        _ => None,
    }
}

fn problems(json: &[u8]) -> Vec<String> {
    let problems = Policy::load(json, &environment).err();
    let lines: Vec<_> = problems.iter().flat_map(|problems| &problems.0).map(ToString::to_string).collect();
    assert!(!lines.iter().any(|line| line.contains(SECRET)), "a secret is told: {lines:?}");
    lines
}

/// Checks rows of changes and messages; tells all rows that differ.
fn check(rows: &[(&str, &[&str])]) {
    let mut differences = String::new();
    for (changes, expected) in rows {
        let told = problems(changed(changes).to_string().as_bytes());
        if told != *expected {
            writeln!(differences, "{changes}\n  expected {expected:#?}\n  told     {told:#?}").unwrap();
        }
    }
    assert!(differences.is_empty(), "{differences}");
}

#[test]
fn the_base_is_right() {
    assert_eq!(problems(base().to_string().as_bytes()), Vec::<String>::new());
}

#[test]
fn attributes_that_do_not_exist() {
    check(&[
        (
            r#"{"/colour":1}"#,
            &[
                "colour: unknown field `colour`, expected one of `sidegate`, `revision`, `gate`, `providers`, `metrics`, `plans`, `consumers`, `apis`",
            ],
        ),
        (
            r#"{"/gate/colour":1}"#,
            &[
                "gate.colour: unknown field `colour`, expected one of `realm`, `resource_metadata`, `unmatched`, `preflight`, `errors`, `rate_limit_headers`, `filter_state`, `debug`, `capacity`",
            ],
        ),
        (
            r#"{"/providers/p/colour":{}}"#,
            &["providers.p: invalid value: map, expected map with a single key"],
        ),
        (
            r#"{"/providers/p/introspection/colour":1}"#,
            &[
                "providers.p.introspection.colour: unknown field `colour`, expected one of `cluster`, `url`, `authentication`, `timeout`, `cache`, `unavailable`, `leeway`",
            ],
        ),
        (
            r#"{"/providers/p/introspection/cache/colour":1}"#,
            &[
                "providers.p.introspection.cache.colour: unknown field `colour`, expected one of `ttl`, `negative_ttl`, `stale_if_error`",
            ],
        ),
        (
            r#"{"/providers/p/introspection/authentication/basic/colour":1}"#,
            &[
                "providers.p.introspection.authentication.basic.colour: unknown field `colour`, expected `id` or `secret`",
            ],
        ),
        (
            r#"{"/metrics/reads/colour":1}"#,
            &["metrics.reads.colour: unknown field `colour`, expected `parent`"],
        ),
        (
            r#"{"/plans/gold/colour":1}"#,
            &["plans.gold.colour: unknown field `colour`, expected `environment` or `limits`"],
        ),
        (
            r#"{"/plans/basic/limits/0/colour":1}"#,
            &[
                "plans.basic.limits[0].colour: unknown field `colour`, expected one of `metric`, `max`, `per`, `window`, `of`",
            ],
        ),
        (
            r#"{"/consumers/0/colour":1}"#,
            &[
                "consumers[0].colour: unknown field `colour`, expected one of `name`, `state`, `plan`, `keys`, `clients`",
            ],
        ),
        (
            r#"{"/consumers/0/keys/0/colour":1}"#,
            &[
                "consumers[0].keys[0].colour: unknown field `colour`, expected one of `id`, `sha256`, `state`, `not_after`",
            ],
        ),
        (
            r#"{"/apis/0/colour":1}"#,
            &[
                "apis[0].colour: unknown field `colour`, expected one of `name`, `hosts`, `base_path`, `credentials`, `access`, `rules`, `metering`, `bindings`, `limits`, `forward`, `shadow`",
            ],
        ),
        (
            r#"{"/apis/0/credentials/colour":1}"#,
            &["apis[0].credentials.colour: unknown field `colour`, expected `api_key` or `token`"],
        ),
        (
            r#"{"/apis/0/credentials/api_key/0/colour":1}"#,
            &[
                "apis[0].credentials.api_key[0].colour: unknown field `colour`, expected one of `header`, `scheme`, `query`, `cookie`",
            ],
        ),
        (
            r#"{"/apis/0/rules/1/colour":1}"#,
            &[
                "apis[0].rules[1].colour: unknown field `colour`, expected one of `path`, `regex`, `methods`, `access`",
            ],
        ),
        (
            r#"{"/apis/0/rules/0/access/0/introspection/colour":1}"#,
            &[
                "apis[0].rules[0].access[0].introspection.colour: unknown field `colour`, expected one of `provider`, `scopes`, `scope_strategy`, `audience`, `issuers`",
            ],
        ),
        (
            r#"{"/apis/0/rules/0/access/0/introspection/audience":{"some":["a"]}}"#,
            &[
                "apis[0].rules[0].access[0].introspection.audience: unknown value `some`, expected `any` or `all`",
            ],
        ),
        (
            r#"{"/apis/0/rules/0/access/1":"basic_auth"}"#,
            &[
                "apis[0].rules[0].access[1]: unknown value `basic_auth`, expected one of `allow`, `deny`, `api_key`, `introspection`",
            ],
        ),
        (
            r#"{"/apis/0/metering/0/colour":1}"#,
            &[
                "apis[0].metering[0].colour: unknown field `colour`, expected one of `path`, `match`, `query`, `methods`, `metric`, `by`, `last`",
            ],
        ),
        (
            r#"{"/apis/0/bindings/0/colour":1}"#,
            &[
                "apis[0].bindings[0].colour: unknown field `colour`, expected one of `consumer`, `plan`, `allow`, `paths`, `limits`",
            ],
        ),
        (
            r#"{"/apis/0/bindings/0/paths/0/colour":1}"#,
            &[
                "apis[0].bindings[0].paths[0].colour: unknown field `colour`, expected one of `path`, `regex`, `allow`",
            ],
        ),
        (
            r#"{"/apis/0/limits/0/of":"colour"}"#,
            &[
                "apis[0].limits[0].of: unknown value `colour`, expected one of `consumer`, `client`, `subject`, `address`, `api`",
            ],
        ),
        (
            r#"{"/apis/0/forward/colour":1}"#,
            &["apis[0].forward.colour: unknown field `colour`, expected `remove_credentials` or `headers`"],
        ),
        (
            r#"{"/gate/errors":{"format":"xml"}}"#,
            &["gate.errors.format: unknown value `xml`, expected `kanali` or `problem`"],
        ),
        (
            r#"{"/gate/debug":{"secret":"s"}}"#,
            &[
                "gate.debug.secret: unknown field `secret`, expected `secret_sha256`",
                "gate.debug: missing field `secret_sha256`",
            ],
        ),
        (
            r#"{"/providers/p/introspection/authentication":{"digest":{}}}"#,
            &[
                "providers.p.introspection.authentication: unknown way, expected one of `basic`, `post`, `bearer`, `none`",
            ],
        ),
        (
            r#"{"/providers/p/introspection/authentication":"digest"}"#,
            &[
                "providers.p.introspection.authentication: unknown way, expected one of `basic`, `post`, `bearer`, `none`",
            ],
        ),
        (
            r#"{"/plans/basic/limits/0/per":"fortnight"}"#,
            &[
                "plans.basic.limits[0].per: unknown value `fortnight`, expected one of `second`, `minute`, `hour`, `day`, `week`, `month`, `year`, `eternity`",
            ],
        ),
    ]);
}

#[test]
fn attributes_that_are_missing() {
    check(&[
        (r#"{"-/sidegate":null}"#, &["missing field `sidegate`"]),
        (r#"{"-/apis":null}"#, &["missing field `apis`"]),
        (r#"{"-/apis/0/name":null}"#, &["apis[0]: missing field `name`"]),
        (r#"{"-/apis/0/rules":null}"#, &["apis[0]: missing field `rules`"]),
        (r#"{"-/consumers/0/name":null}"#, &["consumers[0]: missing field `name`"]),
        (r#"{"-/consumers/0/keys/0/sha256":null}"#, &["consumers[0].keys[0]: missing field `sha256`"]),
        (
            r#"{"-/providers/p/introspection/url":null,"-/providers/p/introspection/cluster":null}"#,
            &["providers.p.introspection: missing field `cluster`"],
        ),
        (r#"{"-/plans/basic/limits/0/per":null}"#, &["plans.basic.limits[0]: missing field `per`"]),
        (r#"{"-/apis/0/metering/0/metric":null}"#, &["apis[0].metering[0]: missing field `metric`"]),
        (r#"{"-/apis/0/bindings/0/consumer":null}"#, &["apis[0].bindings[0]: missing field `consumer`"]),
        (
            r#"{"-/apis/0/bindings/0/paths/0/allow":null}"#,
            &["apis[0].bindings[0].paths[0]: missing field `allow`"],
        ),
    ]);
}

#[test]
fn values_of_the_wrong_kind() {
    check(&[
        (r#"{"/apis":{}}"#, &["apis: invalid type: map, expected a list"]),
        (r#"{"/apis/0":["orders"]}"#, &["apis[0]: invalid type: sequence, expected a map"]),
        (r#"{"/gate":["example"]}"#, &["gate: invalid type: sequence, expected a map"]),
        (r#"{"/gate/capacity":[64,64]}"#, &["gate.capacity: invalid type: sequence, expected a map"]),
        (
            r#"{"/consumers/0/keys/0/sha256":12}"#,
            &["consumers[0].keys[0].sha256: invalid type: integer, expected a string"],
        ),
        (
            r#"{"/plans/basic/limits/0/max":-1}"#,
            &["plans.basic.limits[0].max: invalid value: integer, expected a whole number from 0 on"],
        ),
        (
            r#"{"/plans/basic/limits/0/max":1.5}"#,
            &["plans.basic.limits[0].max: invalid type: floating, expected a whole number from 0 on"],
        ),
        (
            r#"{"/gate/capacity/meters":4294967296}"#,
            &["gate.capacity.meters: invalid value: integer, expected a whole number from 0 to 4294967295"],
        ),
        (r#"{"/apis/0/shadow":"yes"}"#, &["apis[0].shadow: invalid type: string, expected a boolean"]),
        (
            r#"{"/apis/0/access":"api_key"}"#,
            &[
                "apis[0].access: invalid type: string, expected a list",
                "apis[0].rules[1]: nothing says who may use it: give the rule or its API an `access` list",
                "apis[0].rules[2]: nothing says who may use it: give the rule or its API an `access` list",
            ],
        ),
        (
            r#"{"/apis/0/bindings/0/allow":"GET"}"#,
            &["apis[0].bindings[0].allow: unknown value `GET`, expected one of `all`, `none`, `methods`"],
        ),
        (
            r#"{"/apis/0/bindings/0/allow":["GET"]}"#,
            &["apis[0].bindings[0].allow: invalid type: sequence, expected a name or a map with one entry"],
        ),
        (r#"{"/consumers":{"acme":{}}}"#, &["consumers: invalid type: map, expected a list"]),
        (r#"{"/plans":[]}"#, &["plans: invalid type: sequence, expected a map by name"]),
    ]);
}

#[test]
fn null_is_not_the_same_as_absent() {
    check(&[
        (r#"{"/revision":null}"#, &["revision: invalid type: null, expected a string"]),
        (r#"{"/consumers":null}"#, &["consumers: invalid type: null, expected a list"]),
        (r#"{"/consumers/0/keys":null}"#, &["consumers[0].keys: invalid type: null, expected a list"]),
        (
            r#"{"/consumers/0/keys/0/not_after":null}"#,
            &["consumers[0].keys[0].not_after: invalid type: null, expected a string"],
        ),
        (r#"{"/apis/0/hosts":null}"#, &["apis[0].hosts: invalid type: null, expected a list"]),
        (
            r#"{"/apis/0/access":null}"#,
            &[
                "apis[0].access: invalid type: null, expected a list",
                "apis[0].rules[1]: nothing says who may use it: give the rule or its API an `access` list",
                "apis[0].rules[2]: nothing says who may use it: give the rule or its API an `access` list",
            ],
        ),
        (r#"{"/apis/0/bindings":null}"#, &["apis[0].bindings: invalid type: null, expected a list"]),
        (r#"{"/apis/0/limits":null}"#, &["apis[0].limits: invalid type: null, expected a list"]),
        (
            r#"{"/apis/0/rules/0/methods":null}"#,
            &["apis[0].rules[0].methods: invalid type: null, expected a list"],
        ),
        (
            r#"{"/apis/0/rules/0/access/0/introspection/issuers":null}"#,
            &["apis[0].rules[0].access[0].introspection.issuers: invalid type: null, expected a list"],
        ),
        (
            r#"{"/apis/0/rules/0/access/0/introspection/audience":null}"#,
            &[
                "apis[0].rules[0].access[0].introspection.audience: invalid type: null, expected a name or a map with one entry",
            ],
        ),
        (r#"{"/gate":null}"#, &["gate: invalid type: null, expected a map"]),
        (r#"{"/metrics":null}"#, &["metrics: invalid type: null, expected a map by name"]),
    ]);
}

#[test]
fn empty_lists() {
    check(&[
        (
            r#"{"/consumers":[]}"#,
            &[
                "consumers: the list is empty: leave it out, or give it an entry",
                "apis[0].bindings[0].consumer: there is no consumer `acme`",
            ],
        ),
        (r#"{"/apis":[]}"#, &["apis: the list is empty: leave it out, or give it an entry"]),
        (
            r#"{"/plans/basic/limits":[]}"#,
            &["plans.basic.limits: the list is empty: leave it out, or give it an entry"],
        ),
        (
            r#"{"/consumers/0/keys":[]}"#,
            &["consumers[0].keys: the list is empty: leave it out, or give it an entry"],
        ),
        (
            r#"{"/consumers/0/clients":[]}"#,
            &["consumers[0].clients: the list is empty: leave it out, or give it an entry"],
        ),
        (
            r#"{"/consumers/0/keys":[],"/consumers/0/clients":[]}"#,
            &[
                "consumers[0].keys: the list is empty: leave it out, or give it an entry",
                "consumers[0].clients: the list is empty: leave it out, or give it an entry",
            ],
        ),
        (r#"{"/apis/0/hosts":[]}"#, &["apis[0].hosts: the list is empty: leave it out, or give it an entry"]),
        (
            r#"{"/apis/0/credentials/api_key":[]}"#,
            &["apis[0].credentials.api_key: the list is empty: leave it out, or give it an entry"],
        ),
        (
            r#"{"/apis/0/credentials/token":[]}"#,
            &["apis[0].credentials.token: the list is empty: leave it out, or give it an entry"],
        ),
        (
            r#"{"/apis/0/access":[]}"#,
            &["apis[0].access: the list is empty: leave it out, or give it an entry"],
        ),
        (r#"{"/apis/0/rules":[]}"#, &["apis[0].rules: the list is empty: leave it out, or give it an entry"]),
        (r#"{"/apis/0/rules/0/methods":[]}"#, &["apis[0].rules[0].methods: no method is named"]),
        (
            r#"{"/apis/0/rules/0/access":[]}"#,
            &["apis[0].rules[0].access: the list is empty: leave it out, or give it an entry"],
        ),
        (
            r#"{"/apis/0/rules/0/access/0/introspection/scopes":[]}"#,
            &["apis[0].rules[0].access[0].introspection.scopes: a list of required scopes must not be empty"],
        ),
        (
            r#"{"/apis/0/rules/0/access/0/introspection/audience":{"any":[]}}"#,
            &["apis[0].rules[0].access[0].introspection.audience: a list of audiences must not be empty"],
        ),
        (
            r#"{"/apis/0/rules/0/access/0/introspection/audience":{"all":[]}}"#,
            &["apis[0].rules[0].access[0].introspection.audience: a list of audiences must not be empty"],
        ),
        (
            r#"{"/apis/0/rules/0/access/0/introspection/issuers":[]}"#,
            &[
                "apis[0].rules[0].access[0].introspection.issuers: the list is empty: leave it out, or give it an entry",
            ],
        ),
        (
            r#"{"/apis/0/metering":[]}"#,
            &["apis[0].metering: the list is empty: leave it out, or give it an entry"],
        ),
        (
            r#"{"/apis/0/bindings":[]}"#,
            &["apis[0].bindings: the list is empty: leave it out, or give it an entry"],
        ),
        (
            r#"{"/apis/0/bindings/0/allow":{"methods":[]}}"#,
            &["apis[0].bindings[0].allow.methods: no method is named"],
        ),
        (
            r#"{"/apis/0/bindings/0/paths":[]}"#,
            &["apis[0].bindings[0].paths: the list is empty: leave it out, or give it an entry"],
        ),
        (
            r#"{"/apis/0/bindings/0/limits":[]}"#,
            &["apis[0].bindings[0].limits: the list is empty: leave it out, or give it an entry"],
        ),
        (
            r#"{"/apis/0/limits":[]}"#,
            &["apis[0].limits: the list is empty: leave it out, or give it an entry"],
        ),
        (
            r#"{"/providers/p/introspection/unavailable":{"allow_clients":[]}}"#,
            &[
                "providers.p.introspection.unavailable.allow_clients: the list of allowed clients must not be empty",
            ],
        ),
    ]);
}

#[test]
fn names_that_stand_twice() {
    check(&[
        (r#"{"/consumers/1/name":"acme"}"#, &["consumers[1].name: there is a consumer `acme` already"]),
        (
            r#"{"/consumers/0/keys/-":{"sha256":"7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"}}"#,
            &["consumers[0].keys[1].sha256: some consumer has this key already"],
        ),
        (
            r#"{"/consumers/1/keys/0/sha256":"7692C3AD3540BB803C020B3AEE66CD8887123234EA0C6E7143C0ADD73FF431ED"}"#,
            &["consumers[1].keys[0].sha256: some consumer has this key already"],
        ),
        (
            r#"{"/consumers/0/keys/-":{"id":"k1","sha256":"0000000000000000000000000000000000000000000000000000000000000000"}}"#,
            &["consumers[0].keys[1].id: the consumer has a key `k1` already"],
        ),
        (
            r#"{"/consumers/1/clients":["acme-web"]}"#,
            &["consumers[1].clients[0]: some consumer has this client already"],
        ),
        (
            r#"{"/consumers/0/clients":["a","a"]}"#,
            &["consumers[0].clients[1]: some consumer has this client already"],
        ),
        (r#"{"/apis/1/name":"orders"}"#, &["apis[1].name: there is an API `orders` already"]),
        (
            r#"{"/apis/1/hosts":["ORDERS.example.com"],"/apis/1/base_path":"/v1/"}"#,
            &["apis[1].base_path: the same base path for host `orders.example.com` as apis[0]"],
        ),
        (
            r#"{"-/apis/0/hosts":null,"/apis/0/base_path":"/"}"#,
            &["apis[1].base_path: the same base path for any host as apis[0]"],
        ),
        (r#"{"/apis/0/hosts":["a","A"]}"#, &["apis[0].hosts: host `a` is named twice"]),
        (
            r#"{"/apis/0/bindings/-":{"consumer":"acme"}}"#,
            &["apis[0].bindings[1].consumer: `acme` has a binding here already"],
        ),
        (
            r#"{"/plans/basic/limits/-":{"metric":"hits","max":11,"per":"second","window":"sliding"}}"#,
            &["plans.basic.limits[2]: there is a limit of `hits` per second already"],
        ),
        (
            r#"{"/apis/0/limits/-":{"metric":"hits","max":5,"per":"minute","of":"api"}}"#,
            &["apis[0].limits[1]: there is a limit of `hits` per minute already"],
        ),
        (
            r#"{"/apis/0/rules/0/methods":["GET","GET"]}"#,
            &["apis[0].rules[0].methods: the method `GET` is named twice"],
        ),
        (
            r#"{"/apis/0/rules/0/access/0/introspection/scopes":["a","a"]}"#,
            &["apis[0].rules[0].access[0].introspection.scopes: scope `a` is listed twice"],
        ),
        (
            r#"{"/apis/0/rules/0/access/0/introspection/audience":{"all":["a","a"]}}"#,
            &["apis[0].rules[0].access[0].introspection.audience: audience `a` is listed twice"],
        ),
        (
            r#"{"/apis/0/rules/0/access/0/introspection/issuers":["a","a"]}"#,
            &["apis[0].rules[0].access[0].introspection.issuers[1]: `a` is listed twice"],
        ),
        (
            r#"{"/apis/0/credentials/api_key":[{"header":"apikey"},{"header":"ApiKey"}]}"#,
            &["apis[0].credentials.api_key[1]: the same place as another entry"],
        ),
        (
            r#"{"/apis/0/forward/headers":{"x-a":"a","X-A":"b"}}"#,
            &[
                "apis[0].forward.headers.x-a: header names are the same in upper and lower case: this one stands twice",
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
fn names_of_what_is_not_there() {
    check(&[
        (r#"{"/consumers/0/plan":"platinum"}"#, &["consumers[0].plan: there is no plan `platinum`"]),
        (
            r#"{"/apis/0/bindings/0/plan":"platinum"}"#,
            &["apis[0].bindings[0].plan: there is no plan `platinum`"],
        ),
        (
            r#"{"/apis/0/bindings/0/consumer":"initech"}"#,
            &["apis[0].bindings[0].consumer: there is no consumer `initech`"],
        ),
        (
            r#"{"/apis/0/rules/0/access/0/introspection/provider":"q"}"#,
            &["apis[0].rules[0].access[0].introspection.provider: there is no provider `q`"],
        ),
        (
            r#"{"/apis/0/metering/0/metric":"visits"}"#,
            &["apis[0].metering[0].metric: there is no metric `visits`"],
        ),
        (
            r#"{"/plans/basic/limits/0/metric":"visits"}"#,
            &["plans.basic.limits[0].metric: there is no metric `visits`"],
        ),
        (
            r#"{"/apis/0/limits/0/metric":"visits"}"#,
            &["apis[0].limits[0].metric: there is no metric `visits`"],
        ),
        (
            r#"{"/apis/0/bindings/0/limits":[{"metric":"visits","max":1,"per":"day"}]}"#,
            &["apis[0].bindings[0].limits[0].metric: there is no metric `visits`"],
        ),
        (
            r#"{"/metrics/reads/parent":"visits"}"#,
            &["metrics.reads: parent `visits` of metric `reads` is not declared"],
        ),
    ]);
}

#[test]
fn metrics_that_make_no_tree() {
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

#[test]
fn rules_and_grants_that_are_never_reached() {
    check(&[
        (
            r#"{"/apis/0/rules/-":{"path":"/orders/{other}","methods":["GET","PUT"]}}"#,
            &["apis[0].rules[3]: matches the same requests as apis[0].rules[0]"],
        ),
        (
            r#"{"/apis/0/rules/-":{"path":"/orders/**"}}"#,
            &["apis[0].rules[3]: matches the same requests as apis[0].rules[1]"],
        ),
        (
            r#"{"/apis/0/rules/-":{"regex":"/r/[0-9]+"}}"#,
            &["apis[0].rules[3]: matches the same requests as apis[0].rules[2]"],
        ),
        (
            r#"{"/apis/0/rules/0/access":["api_key","api_key"]}"#,
            &["apis[0].rules[0].access[1]: is never reached: an earlier entry decides"],
        ),
        (
            r#"{"/apis/0/rules/0/access":["allow","api_key"]}"#,
            &["apis[0].rules[0].access[1]: is never reached: an earlier entry decides"],
        ),
        (
            r#"{"/apis/0/access":["deny","allow"]}"#,
            &["apis[0].access[1]: is never reached: an earlier entry decides"],
        ),
        (
            r#"{"/apis/0/rules/0/access/1":{"introspection":{"provider":"p"}}}"#,
            &["apis[0].rules[0].access[1]: is never reached: an earlier entry decides"],
        ),
        (
            r#"{"/apis/0/bindings/0/paths/-":{"path":"/orders/**","allow":"none"}}"#,
            &["apis[0].bindings[0].paths[1]: is never reached: an earlier entry has the same path"],
        ),
    ]);
}

#[test]
fn rules_without_access() {
    check(&[
        (
            r#"{"-/apis/0/access":null}"#,
            &[
                "apis[0].rules[1]: nothing says who may use it: give the rule or its API an `access` list",
                "apis[0].rules[2]: nothing says who may use it: give the rule or its API an `access` list",
            ],
        ),
        (
            r#"{"-/apis/1/rules/0/access":null}"#,
            &["apis[1].rules[0]: nothing says who may use it: give the rule or its API an `access` list"],
        ),
    ]);
}

#[test]
fn paths_that_are_none() {
    check(&[
        (r#"{"/apis/0/rules/1":{}}"#, &["apis[0].rules[1]: give exactly one of `path` and `regex`"]),
        (
            r#"{"/apis/0/rules/1":{"path":"/a","regex":"/a"}}"#,
            &["apis[0].rules[1]: give exactly one of `path` and `regex`"],
        ),
        (
            r#"{"/apis/0/rules/1/path":"orders"}"#,
            &["apis[0].rules[1].path: `orders` does not start with a slash"],
        ),
        (r#"{"/apis/0/rules/1/path":""}"#, &["apis[0].rules[1].path: `` does not start with a slash"]),
        (r#"{"/apis/0/rules/1/path":"/a//b"}"#, &["apis[0].rules[1].path: `/a//b` has an empty segment"]),
        (
            r#"{"/apis/0/rules/1/path":"/a/../b"}"#,
            &[
                "apis[0].rules[1].path: `/a/../b` has a `.` or `..` segment, which no request has once it is normalised",
            ],
        ),
        (
            r#"{"/apis/0/rules/1/path":"/a?b=c"}"#,
            &["apis[0].rules[1].path: `/a?b=c` has a query, but a path is expected"],
        ),
        (
            r#"{"/apis/0/rules/1/path":"/a%2Fb"}"#,
            &["apis[0].rules[1].path: `a%2Fb` matches no request: the path has an escaped slash"],
        ),
        (
            r#"{"/apis/0/rules/1/path":"/a%zz"}"#,
            &["apis[0].rules[1].path: `a%zz` matches no request: the path has a malformed percent-escape"],
        ),
        (
            r#"{"/apis/0/rules/1/path":"/a\\b"}"#,
            &[r#"apis[0].rules[1].path: `a\b` matches no request: the path has a backslash"#],
        ),
        (
            r#"{"/apis/0/rules/1/path":"/x{id}"}"#,
            &[
                "apis[0].rules[1].path: `x{id}` is not a parameter: braces enclose a whole segment, a name of letters, digits, `-` and `_`",
            ],
        ),
        (
            r#"{"/apis/0/rules/1/path":"/{id}/{id}"}"#,
            &["apis[0].rules[1].path: the parameter `id` appears twice"],
        ),
        (
            r#"{"/apis/0/rules/1/path":"/**/a"}"#,
            &["apis[0].rules[1].path: `/**/a` has a `*` elsewhere than in the final `/**` of a template"],
        ),
        (
            r#"{"/apis/0/rules/1/path":"/a*"}"#,
            &["apis[0].rules[1].path: `/a*` has a `*` elsewhere than in the final `/**` of a template"],
        ),
        (
            r#"{"/apis/0/rules/2/regex":"/r/("}"#,
            &["apis[0].rules[2].regex: `/r/(` is not a regular expression for a path: unclosed group"],
        ),
        (
            r#"{"/apis/0/rules/2/regex":"/[a-z]{1000}{1000}"}"#,
            &["apis[0].rules[2].regex: `/[a-z]{1000}{1000}` is too large for a pattern"],
        ),
        (
            r#"{"/apis/0/bindings/0/paths/0":{"allow":"all"}}"#,
            &["apis[0].bindings[0].paths[0]: give exactly one of `path` and `regex`"],
        ),
        (
            r#"{"/apis/0/bindings/0/paths/0/path":"a"}"#,
            &["apis[0].bindings[0].paths[0].path: `a` does not start with a slash"],
        ),
        (
            r#"{"/apis/0/bindings/0/paths/0":{"regex":"[","allow":"all"}}"#,
            &[
                "apis[0].bindings[0].paths[0].regex: `[` is not a regular expression for a path: unclosed character class",
            ],
        ),
        (
            r#"{"/apis/0/metering/0/path":"a"}"#,
            &["apis[0].metering[0].path: `a` does not start with a slash"],
        ),
        (
            r#"{"/apis/0/metering/0":{"path":"/{a","match":"prefix","metric":"hits"}}"#,
            &["apis[0].metering[0].path: `/{a` has braces that do not enclose a name inside one segment"],
        ),
        (r#"{"/apis/0/base_path":"v1"}"#, &["apis[0].base_path: `v1` does not start with a slash"]),
        (
            r#"{"/apis/0/base_path":"/{version}"}"#,
            &[
                "apis[0].base_path: `/{version}` has a parameter or a wildcard, but only a literal path can stand here",
            ],
        ),
        (
            r#"{"/apis/0/base_path":"/v1/**"}"#,
            &[
                "apis[0].base_path: `/v1/**` has a parameter or a wildcard, but only a literal path can stand here",
            ],
        ),
    ]);
}

#[test]
fn hosts_that_are_none() {
    check(&[
        (r#"{"/apis/0/hosts/0":""}"#, &["apis[0].hosts[0]: the host is empty"]),
        (
            r#"{"/apis/0/hosts/0":"a:80"}"#,
            &["apis[0].hosts[0]: `a:80` has a port, but a host matches on every port"],
        ),
        (
            r#"{"/apis/0/hosts/0":"https://a"}"#,
            &["apis[0].hosts[0]: `https://a` is a URL or a path, not a host"],
        ),
        (
            r#"{"/apis/0/hosts/0":"*"}"#,
            &["apis[0].hosts[0]: `*` has a `*` that is not the whole first label of a longer name"],
        ),
        (
            r#"{"/apis/0/hosts/0":"a.*.b"}"#,
            &["apis[0].hosts[0]: `a.*.b` has a `*` that is not the whole first label of a longer name"],
        ),
        (r#"{"/apis/0/hosts/0":"a..b"}"#, &["apis[0].hosts[0]: `a..b` has an empty label"]),
        (r#"{"/apis/0/hosts/0":"[::1"}"#, &["apis[0].hosts[0]: `[::1` is not an IPv6 address in brackets"]),
        (r#"{"/apis/0/hosts/0":"::1"}"#, &["apis[0].hosts[0]: `::1` is not an IPv6 address in brackets"]),
        (
            r#"{"/apis/0/hosts/0":"bücher.example"}"#,
            &["apis[0].hosts[0]: `bücher.example` has a character that is not a letter, digit, `-` or `_`"],
        ),
        (
            r#"{"/apis/0/hosts/0":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}"#,
            &[
                "apis[0].hosts[0]: `aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa` is longer than a host can be",
            ],
        ),
    ]);
}

#[test]
fn methods_that_are_none() {
    check(&[
        (
            r#"{"/apis/0/rules/0/methods":["GET","P T"]}"#,
            &["apis[0].rules[0].methods: `P T` is not a method"],
        ),
        (r#"{"/apis/0/metering/0/methods":[""]}"#, &["apis[0].metering[0].methods: `` is not a method"]),
        (
            r#"{"/apis/0/bindings/0/allow":{"methods":["GET,PUT"]}}"#,
            &["apis[0].bindings[0].allow.methods: `GET,PUT` is not a method"],
        ),
    ]);
}

#[test]
fn limits_and_metering_that_cannot_hold() {
    check(&[
        (
            r#"{"/plans/basic/limits/0/per":"month"}"#,
            &[
                "plans.basic.limits[0].window: a limit per month cannot slide: only those per second, minute, hour or day can",
            ],
        ),
        (
            r#"{"/plans/basic/limits/1/window":"sliding"}"#,
            &[
                "plans.basic.limits[1].window: a limit per eternity cannot slide: only those per second, minute, hour or day can",
            ],
        ),
        (r#"{"/apis/0/metering/0/by":0}"#, &["apis[0].metering[0].by: counts nothing: give at least 1"]),
        (
            r#"{"/apis/0/metering/0/by":11}"#,
            &[
                "apis[0].metering[0].by: 11 is above plan `basic`'s limit `hits-second` of 10: no such request could ever pass",
            ],
        ),
        (
            r#"{"/apis/0/metering/0/by":60}"#,
            &[
                "apis[0].metering[0].by: 60 is above plan `basic`'s limit `hits-second` of 10: no such request could ever pass",
                "apis[0].metering[0].by: 60 is above the API's limit `api-hits-minute` of 50: no such request could ever pass",
            ],
        ),
        (
            r#"{"/apis/0/metering/0":{"path":"/**","metric":"reads","by":51}}"#,
            &[
                "apis[0].metering[0].by: 51 is above plan `basic`'s limit `hits-second` of 10: no such request could ever pass",
                "apis[0].metering[0].by: 51 is above the API's limit `api-hits-minute` of 50: no such request could ever pass",
            ],
        ),
        (
            r#"{"/apis/0/bindings/0/plan":"gold","/apis/0/bindings/0/limits":[{"metric":"hits","max":2,"per":"day"}],"/apis/0/metering/0/by":3}"#,
            &[
                "apis[0].metering[0].by: 3 is above a binding's limit `hits-day` of 2: no such request could ever pass",
            ],
        ),
        (
            r#"{"/apis/0/bindings/0/plan":"basic","/consumers/0/plan":"gold","/apis/0/metering/0/by":11}"#,
            &[
                "apis[0].metering[0].by: 11 is above plan `basic`'s limit `hits-second` of 10: no such request could ever pass",
            ],
        ),
        (r#"{"/gate/capacity/meters":0}"#, &["gate.capacity.meters: not between 1 and 16777216"]),
        (r#"{"/gate/capacity/tokens":16777217}"#, &["gate.capacity.tokens: not between 1 and 16777216"]),
    ]);
}

#[test]
fn credential_places_that_are_none() {
    check(&[
        (
            r#"{"/apis/0/credentials/api_key/0":{}}"#,
            &[
                "apis[0].credentials.api_key[0]: give exactly one of `header` (with or without `scheme`), `query`, `cookie`",
            ],
        ),
        (
            r#"{"/apis/0/credentials/api_key/0":{"header":"a","query":"b"}}"#,
            &[
                "apis[0].credentials.api_key[0]: give exactly one of `header` (with or without `scheme`), `query`, `cookie`",
            ],
        ),
        (
            r#"{"/apis/0/credentials/api_key/0":{"query":"b","scheme":"Bearer"}}"#,
            &[
                "apis[0].credentials.api_key[0]: give exactly one of `header` (with or without `scheme`), `query`, `cookie`",
            ],
        ),
        (
            r#"{"/apis/0/credentials/api_key/0":{"header":":path"}}"#,
            &["apis[0].credentials.api_key[0]: not a header name"],
        ),
        (
            r#"{"/apis/0/credentials/api_key/0":{"header":"cookie"}}"#,
            &[
                "apis[0].credentials.api_key[0]: the `cookie` header is read through a cookie location, by cookie name",
            ],
        ),
        (
            r#"{"/apis/0/credentials/api_key/0":{"header":"a","scheme":"B earer"}}"#,
            &["apis[0].credentials.api_key[0]: not an authentication scheme"],
        ),
        (
            r#"{"/apis/0/credentials/api_key/0":{"query":""}}"#,
            &["apis[0].credentials.api_key[0]: the name of a query parameter must not be empty"],
        ),
        (
            r#"{"/apis/0/credentials/api_key/0":{"cookie":"a=b"}}"#,
            &["apis[0].credentials.api_key[0]: not a cookie name"],
        ),
        (
            r#"{"/apis/0/credentials/api_key/0":{"header":"authorization","scheme":"bearer"}}"#,
            &["apis[0].credentials: an API key and a token cannot sit in the same place"],
        ),
        (
            r#"{"/apis/0/credentials/api_key/0":{"header":"authorization"}}"#,
            &["apis[0].credentials: an API key and a token cannot sit in the same place"],
        ),
        (
            r#"{"-/apis/0/credentials/token":null,"/apis/0/credentials/api_key/0":{"header":"authorization"}}"#,
            &["apis[0].credentials: an API key and a token cannot sit in the same place"],
        ),
    ]);
}

#[test]
fn providers_that_cannot_be_asked() {
    check(&[
        (
            r#"{"/providers/p/introspection/url":"idp/introspect"}"#,
            &["providers.p.introspection.url: not an absolute URL"],
        ),
        (
            r#"{"/providers/p/introspection/url":"ftp://idp/"}"#,
            &["providers.p.introspection.url: the scheme must be `http` or `https`"],
        ),
        (
            r#"{"/providers/p/introspection/url":"http://gateway:hunter2@idp/"}"#,
            &["providers.p.introspection.url: credentials belong into `authentication`, not into the URL"],
        ),
        (
            r#"{"/providers/p/introspection/url":"http://idp/#a"}"#,
            &["providers.p.introspection.url: a fragment is never sent"],
        ),
        (
            r#"{"/providers/p/introspection/cluster":""}"#,
            &["providers.p.introspection.cluster: the name of the cluster must not be empty"],
        ),
        (
            r#"{"/providers/p/introspection/timeout":"0s"}"#,
            &["providers.p.introspection.timeout: the timeout must be longer than zero"],
        ),
        (
            r#"{"/providers/p/introspection/timeout":"200"}"#,
            &[
                "providers.p.introspection.timeout: `200` is not a span of time such as `200ms`, `30s`, `5m`, `1h` or `1d`",
            ],
        ),
        (
            r#"{"/providers/p/introspection/cache/ttl":"1.5s"}"#,
            &[
                "providers.p.introspection.cache.ttl: `1.5s` is not a span of time such as `200ms`, `30s`, `5m`, `1h` or `1d`",
            ],
        ),
        (
            r#"{"/providers/p/introspection/authentication/basic/id":""}"#,
            &["providers.p.introspection.authentication: the client id must not be empty"],
        ),
        (
            r#"{"/providers/p/introspection/unavailable":"stale","-/providers/p/introspection/cache/stale_if_error":null}"#,
            &[
                "providers.p.introspection.unavailable: serving stale answers needs a cache `ttl` and `stale_if_error` longer than zero",
            ],
        ),
        (
            r#"{"/providers/p/introspection/unavailable":{"allow_clients":["a"]},"/providers/p/introspection/cache/ttl":"0s"}"#,
            &[
                "providers.p.introspection.unavailable: serving stale answers needs a cache `ttl` and `stale_if_error` longer than zero",
            ],
        ),
        (
            r#"{"/providers/p/introspection/unavailable":"allow"}"#,
            &[
                "providers.p.introspection.unavailable: unknown value `allow`, expected one of `deny`, `stale`, `allow_clients`",
            ],
        ),
        (
            r#"{"/providers/p/introspection/url":"idp","/providers/p/introspection/timeout":"0s","/providers/p/introspection/authentication":{"basic":{"id":"","secret":{"env":"NOT_SET"}}}}"#,
            &[
                "providers.p.introspection.url: not an absolute URL",
                "providers.p.introspection.authentication.basic.secret: the environment has no variable `NOT_SET`, or an empty one",
                "providers.p.introspection.authentication: the client id must not be empty",
                "providers.p.introspection.timeout: the timeout must be longer than zero",
            ],
        ),
    ]);
}

#[test]
fn secrets_that_are_missing_or_no_text() {
    check(&[
        (
            r#"{"/providers/p/introspection/authentication/basic/secret":{"env":"NOT_SET"}}"#,
            &[
                "providers.p.introspection.authentication.basic.secret: the environment has no variable `NOT_SET`, or an empty one",
            ],
        ),
        (
            r#"{"/providers/p/introspection/authentication/basic/secret":{"env":"EMPTY"}}"#,
            &[
                "providers.p.introspection.authentication.basic.secret: the environment has no variable `EMPTY`, or an empty one",
            ],
        ),
        (
            r#"{"/providers/p/introspection/authentication":{"post":{"id":"g","secret":{"env":"NOT_SET"}}}}"#,
            &[
                "providers.p.introspection.authentication.post.secret: the environment has no variable `NOT_SET`, or an empty one",
            ],
        ),
        (
            r#"{"/providers/p/introspection/authentication":{"bearer":{"token":{"env":"NOT_SET"}}}}"#,
            &[
                "providers.p.introspection.authentication.bearer.token: the environment has no variable `NOT_SET`, or an empty one",
            ],
        ),
        (
            r#"{"/providers/p/introspection/authentication":{"bearer":{"token":{"env":"CONTROL"}}}}"#,
            &[
                "providers.p.introspection.authentication: the bearer token must be visible ASCII characters without spaces",
            ],
        ),
        (
            r#"{"/providers/p/introspection/authentication":{"bearer":{"token":"hunter2 hunter2"}}}"#,
            &[
                "providers.p.introspection.authentication: the bearer token must be visible ASCII characters without spaces",
            ],
        ),
        (
            r#"{"/providers/p/introspection/authentication/basic/secret":{"file":"hunter2"}}"#,
            &[
                "providers.p.introspection.authentication.basic.secret: expected `{env: NAME}` and nothing else",
            ],
        ),
        (
            r#"{"/providers/p/introspection/authentication/basic/secret":{"env":"SECRET","default":"hunter2"}}"#,
            &[
                "providers.p.introspection.authentication.basic.secret: expected `{env: NAME}` and nothing else",
            ],
        ),
        (
            r#"{"/providers/p/introspection/authentication/basic/secret":4711}"#,
            &["providers.p.introspection.authentication.basic.secret: a secret is text: put it in quotes"],
        ),
        (
            r#"{"/providers/p/introspection/authentication/basic/secret":true}"#,
            &["providers.p.introspection.authentication.basic.secret: a secret is text: put it in quotes"],
        ),
        (
            r#"{"/providers/p/introspection/authentication/basic/secret":["hunter2"]}"#,
            &[
                "providers.p.introspection.authentication.basic.secret: invalid type: sequence, expected a secret: text, or `{env: NAME}`",
            ],
        ),
        (
            r#"{"/providers/p/introspection/authentication/basic/secret":null}"#,
            &[
                "providers.p.introspection.authentication.basic.secret: invalid type: null, expected a secret: text, or `{env: NAME}`",
            ],
        ),
        (
            r#"{"/providers/p/introspection/authentication/basic":"hunter2"}"#,
            &["providers.p.introspection.authentication.basic: invalid type: string, expected a map"],
        ),
        (
            r#"{"/providers/p/introspection/authentication":"hunter2"}"#,
            &[
                "providers.p.introspection.authentication: unknown way, expected one of `basic`, `post`, `bearer`, `none`",
            ],
        ),
        (
            r#"{"/providers/p/introspection/authentication":{"bearer":"hunter2"}}"#,
            &["providers.p.introspection.authentication.bearer: invalid type: string, expected a map"],
        ),
    ]);
}

#[test]
fn texts_that_headers_and_logs_cannot_carry() {
    check(&[
        (
            r#"{"/revision":"r\n1"}"#,
            &["revision: not a name: 1 to 256 bytes without quotes and control characters"],
        ),
        (
            r#"{"/revision":""}"#,
            &["revision: not a name: 1 to 256 bytes without quotes and control characters"],
        ),
        (
            r#"{"/gate/realm":""}"#,
            &[
                "gate.realm: not a text of ASCII characters without quotes, backslashes and control characters",
            ],
        ),
        (
            r#"{"/gate/realm":"a\"b"}"#,
            &[
                "gate.realm: not a text of ASCII characters without quotes, backslashes and control characters",
            ],
        ),
        (
            r#"{"/gate/realm":"bücher"}"#,
            &[
                "gate.realm: not a text of ASCII characters without quotes, backslashes and control characters",
            ],
        ),
        (
            r#"{"/gate/resource_metadata":"https://a/\n"}"#,
            &[
                "gate.resource_metadata: not a text of ASCII characters without quotes, backslashes and control characters",
            ],
        ),
        (
            r#"{"/gate/errors":{"details":"https://a\\b"}}"#,
            &[
                "gate.errors.details: not a text of ASCII characters without quotes, backslashes and control characters",
            ],
        ),
        (
            r#"{"/consumers/0/name":"","/apis/0/bindings/0/consumer":""}"#,
            &["consumers[0].name: not a name: 1 to 256 bytes without quotes and control characters"],
        ),
        (
            r#"{"/apis/0/name":"a\nb"}"#,
            &["apis[0].name: not a name: 1 to 256 bytes without quotes and control characters"],
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
                "providers.a	b.introspection: not a name: 1 to 256 bytes without quotes and control characters",
            ],
        ),
        (
            r#"{"/consumers/0/clients":[""]}"#,
            &["consumers[0].clients[0]: an OAuth2 client id must not be empty"],
        ),
    ]);
}

#[test]
fn headers_that_cannot_be_set() {
    check(&[
        (
            r#"{"/apis/0/forward/headers":{"x-a":"{colour}"}}"#,
            &[
                "apis[0].forward.headers.x-a: `{colour}` is none of `{api}`, `{rule}`, `{consumer}`, `{plan}`, `{environment}`, `{client_id}`, `{subject}`, `{scope}`",
            ],
        ),
        (
            r#"{"/apis/0/forward/headers":{"x-a":"{consumer"}}"#,
            &["apis[0].forward.headers.x-a: a brace has no partner"],
        ),
        (
            r#"{"/apis/0/forward/headers":{"x-a":"consumer}"}}"#,
            &["apis[0].forward.headers.x-a: a brace has no partner"],
        ),
        (r#"{"/apis/0/forward/headers":{"x-a":""}}"#, &["apis[0].forward.headers.x-a: not a header value"]),
        (
            r#"{"/apis/0/forward/headers":{"x-a":"a\r\nb"}}"#,
            &["apis[0].forward.headers.x-a: not a header value"],
        ),
        (
            r#"{"/apis/0/forward/headers":{":path":"/"}}"#,
            &["apis[0].forward.headers.:path: not the name of a header"],
        ),
        (
            r#"{"/apis/0/forward/headers":{"x a":"a"}}"#,
            &["apis[0].forward.headers.x a: not the name of a header"],
        ),
        (r#"{"/apis/0/forward/headers":{"":"a"}}"#, &["apis[0].forward.headers.: not the name of a header"]),
        (
            r#"{"/apis/0/forward/headers":{"Host":"a"}}"#,
            &["apis[0].forward.headers.Host: this header is not for policies to set"],
        ),
        (
            r#"{"/apis/0/forward/headers":{"content-length":"1"}}"#,
            &["apis[0].forward.headers.content-length: this header is not for policies to set"],
        ),
        (
            r#"{"/apis/0/forward/headers":{"transfer-encoding":"chunked"}}"#,
            &["apis[0].forward.headers.transfer-encoding: this header is not for policies to set"],
        ),
        (
            r#"{"/apis/0/forward/headers":{"connection":"close"}}"#,
            &["apis[0].forward.headers.connection: this header is not for policies to set"],
        ),
        (
            r#"{"/apis/0/forward/headers":{"upgrade":"a"}}"#,
            &["apis[0].forward.headers.upgrade: this header is not for policies to set"],
        ),
        (
            r#"{"/apis/0/forward/headers":{"te":"a"}}"#,
            &["apis[0].forward.headers.te: this header is not for policies to set"],
        ),
        (
            r#"{"/apis/0/forward/headers":{"cookie":"a"}}"#,
            &["apis[0].forward.headers.cookie: this header is not for policies to set"],
        ),
        (
            r#"{"/apis/0/forward/headers":{"x-sidegate-api":"{api}"}}"#,
            &["apis[0].forward.headers.x-sidegate-api: this header is not for policies to set"],
        ),
    ]);
}

#[test]
fn digests_and_moments_that_are_none() {
    check(&[
        (
            r#"{"/consumers/0/keys/0/sha256":"9f86"}"#,
            &["consumers[0].keys[0].sha256: not a SHA-256 digest: expected 64 hexadecimal digits"],
        ),
        (
            r#"{"/consumers/0/keys/0/sha256":"zz92c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"}"#,
            &["consumers[0].keys[0].sha256: not a SHA-256 digest: expected 64 hexadecimal digits"],
        ),
        (
            r#"{"/gate/debug":{"secret_sha256":"debug"}}"#,
            &["gate.debug.secret_sha256: not a SHA-256 digest: expected 64 hexadecimal digits"],
        ),
        (
            r#"{"/consumers/0/keys/0/not_after":"2027-01-01"}"#,
            &[
                "consumers[0].keys[0].not_after: `2027-01-01` is not a moment in RFC 3339 such as `2027-01-01T00:00:00Z`",
            ],
        ),
        (
            r#"{"/consumers/0/keys/0/not_after":"2027-02-30T00:00:00Z"}"#,
            &[
                "consumers[0].keys[0].not_after: `2027-02-30T00:00:00Z` is not a moment in RFC 3339 such as `2027-01-01T00:00:00Z`",
            ],
        ),
        (
            r#"{"/consumers/0/keys/0/not_after":1798761600}"#,
            &["consumers[0].keys[0].not_after: invalid type: integer, expected a string"],
        ),
        (
            r#"{"/consumers/0/keys/0/state":"off"}"#,
            &["consumers[0].keys[0].state: unknown value `off`, expected `active` or `inactive`"],
        ),
        (
            r#"{"/consumers/0/state":"off"}"#,
            &["consumers[0].state: unknown value `off`, expected `active` or `suspended`"],
        ),
        (
            r#"{"/consumers/0/keys/0/not_after":"1969-12-31T23:59:59Z"}"#,
            &[
                "consumers[0].keys[0].not_after: `1969-12-31T23:59:59Z` is not a moment in RFC 3339 such as `2027-01-01T00:00:00Z`",
            ],
        ),
    ]);
}

#[test]
fn schema_versions_that_are_not_read() {
    check(&[
        (r#"{"/sidegate":"v2"}"#, &["sidegate: unsupported schema version `v2`, expected `v1`"]),
        (r#"{"/sidegate":1}"#, &["sidegate: invalid type: integer, expected a name or a map with one entry"]),
    ]);
}

#[test]
fn filter_state_that_is_none() {
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
                "gate.filter_state.only[0]: unknown value `colour`, expected one of `api`, `rule`, `consumer`, `plan`, `cache`, `code`",
            ],
        ),
    ]);
}

#[test]
fn scopes_and_audiences_that_are_none() {
    check(&[
        (
            r#"{"/apis/0/rules/0/access/0/introspection/scopes":["a b"]}"#,
            &[
                "apis[0].rules[0].access[0].introspection.scopes: `a b` is not a scope: visible ASCII characters without quotes and backslashes are",
            ],
        ),
        (
            r#"{"/apis/0/rules/0/access/0/introspection/scopes":[""]}"#,
            &[
                "apis[0].rules[0].access[0].introspection.scopes: `` is not a scope: visible ASCII characters without quotes and backslashes are",
            ],
        ),
        (
            r#"{"/apis/0/rules/0/access/0/introspection/scope_strategy":"loose"}"#,
            &[
                "apis[0].rules[0].access[0].introspection.scope_strategy: unknown value `loose`, expected one of `exact`, `hierarchic`, `wildcard`",
            ],
        ),
        (
            r#"{"/apis/0/rules/0/access/0/introspection/audience":{"any":[""]}}"#,
            &["apis[0].rules[0].access[0].introspection.audience: an audience must not be empty"],
        ),
        (
            r#"{"/apis/0/rules/0/access/0/introspection/issuers":[""]}"#,
            &["apis[0].rules[0].access[0].introspection.issuers[0]: must not be empty"],
        ),
    ]);
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let faults = r#"{
        "/gate/capacity/meters": 0, "/gate/colour": 1, "/providers/p/introspection/timeout": "soon",
        "/providers/p/introspection/authentication/basic/secret": {"env": "NOT_SET"}, "/plans/gold/limits": [],
        "/consumers/1/name": "acme", "/consumers/1/keys/0/sha256": "9f86", "/consumers/1/keys/0/not_after": "soon",
        "/apis/0/hosts/0": "a:80", "/apis/0/rules/0/access/0/introspection/provider": "q", "/apis/0/rules/1/path": "orders",
        "/apis/0/metering/0/by": 0, "/apis/0/forward/headers/host": "a", "/apis/1/rules/0/access": ["allow", "deny"]
    }"#;
    // What is named and not there is left out while the document has parts that could not be read: they may have held it.
    check(&[(
        faults,
        &[
            "consumers[1].keys[0].not_after: `soon` is not a moment in RFC 3339 such as `2027-01-01T00:00:00Z`",
            "gate.colour: unknown field `colour`, expected one of `realm`, `resource_metadata`, `unmatched`, `preflight`, `errors`, `rate_limit_headers`, `filter_state`, `debug`, `capacity`",
            "providers.p.introspection.timeout: `soon` is not a span of time such as `200ms`, `30s`, `5m`, `1h` or `1d`",
            "gate.capacity.meters: not between 1 and 16777216",
            "providers.p.introspection.authentication.basic.secret: the environment has no variable `NOT_SET`, or an empty one",
            "plans.gold.limits: the list is empty: leave it out, or give it an entry",
            "consumers[1].name: there is a consumer `acme` already",
            "consumers[1].keys[0].sha256: not a SHA-256 digest: expected 64 hexadecimal digits",
            "apis[0].hosts[0]: `a:80` has a port, but a host matches on every port",
            "apis[0].rules[1].path: `orders` does not start with a slash",
            "apis[0].metering[0].by: counts nothing: give at least 1",
            "apis[0].forward.headers.host: this header is not for policies to set",
            "apis[1].rules[0].access[1]: is never reached: an earlier entry decides",
        ],
    )]);
}

#[test]
fn names_in_a_map_and_attributes_may_not_stand_twice() {
    for (text, twice, message) in [
        (r#""gold":{}"#, r#""gold":{},"gold":{}"#, "duplicate name `gold` at line 1 column "),
        (
            r#""parent":"hits""#,
            r#""parent":"hits","parent":"hits""#,
            "duplicate field `parent` at line 1 column ",
        ),
        (
            r#""x-consumer":"#,
            r#""x-consumer":"a","x-consumer":"#,
            "duplicate name `x-consumer` at line 1 column ",
        ),
        (r#""realm":"#, r#""realm":"a","realm":"#, "duplicate field `realm` at line 1 column "),
    ] {
        let json = base().to_string();
        assert_eq!(json.matches(text).count(), 1, "{text}");
        let told = problems(json.replace(text, twice).as_bytes());
        assert!(told.len() == 1 && told[0].starts_with(message), "{told:?}");
    }
}

#[test]
fn a_configuration_that_holds_no_document_is_told_apart() {
    let told = |bytes: &[u8]| {
        let mut lines = problems(bytes);
        assert_eq!(lines.len(), 1, "{lines:?}");
        lines.remove(0)
    };
    for empty in ["", " \r\n\t"] {
        assert_eq!(
            told(empty.as_bytes()),
            "the configuration is empty: it must hold the policy document as JSON"
        );
    }
    let yaml = "\nsidegate: v1\napis: []\n";
    let message = told(yaml.as_bytes());
    assert!(
        message.starts_with("the configuration is not JSON, which `sidegate convert` makes of YAML: "),
        "{message}"
    );
    for (json, message) in [
        ("[]", "invalid type: sequence, expected a map"),
        ("null", "invalid type: null, expected a map"),
        ("\"v1\"", "invalid type: string, expected a map"),
        ("{}", "missing field `sidegate`"),
    ] {
        assert_eq!(told(json.as_bytes()), message, "{json}");
    }
    assert!(told(b"{\"sidegate\":\"v1\",").contains("EOF"));
    assert!(told(b"\xff\xfe{}").contains("not JSON"));
    assert!(told("[".repeat(100_000).as_bytes()).contains("not JSON"));
}

#[test]
fn a_protobuf_struct_is_told_to_be_a_string_value() {
    // Struct { fields: [{ key: "sidegate", value: Value { string_value: "v1…" } }] }, with lengths of one and two bytes.
    for length in [2, 120, 300] {
        let text = "v".repeat(length);
        let field = |tag: u8, content: &[u8]| {
            let mut bytes = vec![tag];
            let mut length = content.len();
            while length > 0x7f {
                bytes.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
                length >>= 7;
            }
            bytes.push(u8::try_from(length).unwrap());
            bytes.extend_from_slice(content);
            bytes
        };
        let entry = [field(0x0a, b"sidegate"), field(0x12, &field(0x1a, text.as_bytes()))].concat();
        let told = problems(&field(0x0a, &entry));
        let expected = "the configuration is not JSON text but a binary google.protobuf.Struct: give it as a google.protobuf.StringValue that holds the JSON";
        assert_eq!(told, [expected], "{length}");
    }
}

#[test]
fn a_hundred_thousand_consumers_load_and_are_found() {
    const CONSUMERS: usize = 100_000;
    let digest = |index: usize| Digest::of(format!("key-{index}").as_bytes());
    let consumers: Vec<_> = (0..CONSUMERS)
        .map(|index| json!({"name": format!("c{index}"), "keys": [{"sha256": digest(index).to_hex()}]}))
        .collect();
    let bindings: Vec<_> =
        (0..CONSUMERS).map(|index| json!({"consumer": format!("c{index}"), "allow": "all"})).collect();
    let document = json!({"sidegate": "v1", "consumers": consumers, "apis": [
        {"name": "a", "access": ["api_key"], "rules": [{"path": "/**"}], "bindings": bindings}
    ]});
    let policy = Policy::load(document.to_string().as_bytes(), &environment).unwrap();
    let now = Timestamp::from_seconds(1_800_000_000);
    for index in [0, 1, CONSUMERS / 2, CONSUMERS - 1] {
        let consumer = policy.consumer_by_key(&digest(index), now).unwrap();
        assert_eq!(policy.consumers[consumer].name, format!("c{index}"));
        assert!(policy.apis()[0].bindings.as_ref().unwrap().contains_key(&consumer));
    }
    assert!(policy.consumer_by_key(&digest(CONSUMERS), now).is_err());
}
