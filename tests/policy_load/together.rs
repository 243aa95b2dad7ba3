//! Many problems at once.

use super::*;

#[test]
fn everything_that_is_wrong_is_reported_at_once() {
    let faults = r#"{
        "/gate/capacity/meters": 0, "/gate/colour": 1, "/providers/p/introspection/timeout": "soon",
        "/providers/p/introspection/authentication/basic/secret": {"env": "NOT_SET"}, "/plans/gold/limits": [],
        "/consumers/1/name": "acme", "/consumers/1/keys/0/sha256": "9f86", "/consumers/1/keys/0/not_after": "soon",
        "/apis/0/hosts/0": "a:80", "/apis/0/rules/0/access/0/introspection/provider": "q", "/apis/0/rules/1/path": "orders",
        "/apis/0/metering/0/by": 0, "/apis/0/forward/headers/host": "a", "/apis/1/rules/0/access": ["allow", "deny"]
    }"#;
    check(&[(
        faults,
        &[
            "providers.p.introspection.timeout: `soon` is not a duration such as `200ms`, `30s`, `5m`, `1h` or `1d`",
            "consumers[1] (acme).keys[0].not_after: `soon` is not a moment in RFC 3339 such as `2027-01-01T00:00:00Z`",
            "consumers[1] (acme).keys[0].sha256: not a SHA-256 digest: expected 64 hexadecimal digits",
            "gate.colour: unknown field `colour`, expected one of `realm`, `resource_metadata`, `unmatched`, `preflight`, `max_path_length`, `errors`, `rate_limit_headers`, `quota_alert_at`, `filter_state`, `debug`, `client_certificate`, `capacity`",
            "gate.capacity.meters: not between 1 and 16777216",
            "providers.p.introspection.authentication.basic.secret: the environment has no variable `NOT_SET`, or an empty one",
            "plans.gold.limits: the list is empty: leave it out, or give it an entry",
            "consumers[1] (acme).name: there is a consumer `acme` already",
            "apis[0] (orders).hosts[0]: `a:80` has a port, but a host matches on every port",
            "apis[0] (orders).rules[0].access[0].introspection.provider: there is no provider `q`",
            "apis[0] (orders).rules[1].path: `orders` does not start with a slash",
            "apis[0] (orders).forward.headers.host: policies must not set this header",
            "apis[1] (open).rules[0].access[1]: is never reached: an earlier entry decides",
        ],
    )]);
}

#[test]
fn unknown_names_are_reported_beside_faults_elsewhere() {
    check(&[
        (
            r#"{"/consumers/1/keys":5,"/apis/0/bindings/0/plan":"nowhere"}"#,
            &[
                "consumers[1] (globex).keys: invalid type: integer, expected a list",
                "apis[0] (orders).bindings[0].plan: there is no plan `nowhere`",
            ],
        ),
        (
            r#"{"/sidegate":1,"/apis/0/bindings/0/consumer":"initech"}"#,
            &[
                "sidegate: invalid type: integer, expected `v1`",
                "apis[0] (orders).bindings[0].consumer: there is no consumer `initech`",
            ],
        ),
        (
            r#"{"-/sidegate":null,"/metrics/reads":5,"/apis/0/metering/0/metric":"visits"}"#,
            &[
                "metrics.reads: invalid type: integer, expected a map",
                "missing field `sidegate`",
                "apis[0] (orders).metering[0].metric: there is no metric `visits`",
            ],
        ),
    ]);
}

#[test]
fn names_of_faulty_parts_are_known() {
    check(&[
        (r#"{"/plans/basic":5}"#, &["plans.basic: invalid type: integer, expected a map"]),
        (
            r#"{"/providers/p/introspection":5}"#,
            &["providers.p.introspection: invalid type: integer, expected a map"],
        ),
        (
            r#"{"/metrics/writes":5,"/metrics/reads/parent":"writes"}"#,
            &["metrics.writes: invalid type: integer, expected a map"],
        ),
        (
            r#"{"/consumers/0":{"name":"acme","colour":1}}"#,
            &[
                "consumers[0] (acme).colour: unknown field `colour`, expected one of `name`, `state`, `plan`, `keys`, `key_metrics`, `application`, `clients`, `referrers`",
            ],
        ),
    ]);
}

#[test]
fn names_are_not_missed_where_what_defines_them_cannot_be_read() {
    check(&[
        (r#"{"/plans":5}"#, &["plans: invalid type: integer, expected a map by name"]),
        (r#"{"/providers":[]}"#, &["providers: invalid type: list, expected a map by name"]),
        (r#"{"/metrics":[]}"#, &["metrics: invalid type: list, expected a map by name"]),
        (r#"{"/consumers":{"acme":{}}}"#, &["consumers: invalid type: map, expected a list"]),
        (r#"{"/consumers/0":5}"#, &["consumers[0]: invalid type: integer, expected a map"]),
        (r#"{"/consumers/0/name":5}"#, &["consumers[0].name: invalid type: integer, expected a string"]),
    ]);
}

#[test]
fn what_a_faulty_attribute_would_have_decided_is_not_reported() {
    check(&[
        (
            r#"{"/apis/1/hosts":5,"-/apis/0/hosts":null,"-/apis/0/base_path":null}"#,
            &["apis[1] (open).hosts: invalid type: integer, expected a list"],
        ),
        (
            r#"{"/apis/0/rules/-":{"path":"/orders/**","methods":"PUT"}}"#,
            &["apis[0] (orders).rules[3].methods: invalid type: string, expected a list"],
        ),
        (
            r#"{"/plans/basic/limits/-":{"metric":"hits","max":9,"per":"second","window":"sliding","of":5}}"#,
            &[
                "plans.basic.limits[2].of: invalid type: integer, expected one of `consumer`, `client`, `subject`, `address`, `api`, `key`",
            ],
        ),
        (
            r#"{"/providers/p/introspection/unavailable":"stale","/providers/p/introspection/cache/stale_if_error":60}"#,
            &[
                "providers.p.introspection.cache.stale_if_error: a duration needs a unit: write `60s` or `60ms`",
            ],
        ),
        (
            r#"{"/apis/0/credentials/token":5,"/apis/0/credentials/api_key/0":{"header":"authorization"}}"#,
            &["apis[0] (orders).credentials.token: invalid type: integer, expected a list"],
        ),
        (
            r#"{"/apis/0/rules/1/path":5}"#,
            &["apis[0] (orders).rules[1].path: invalid type: integer, expected a string"],
        ),
        (r#"{"/apis/1/rules":5}"#, &["apis[1] (open).rules: invalid type: integer, expected a list"]),
        (r#"{"/apis":{}}"#, &["apis: invalid type: map, expected a list"]),
    ]);
}

#[test]
fn a_hundred_problems_are_listed_and_the_rest_counted() {
    let consumer = |index: usize| json!({"name": format!("c{index}"), "plan": "nowhere"});
    let faulty = |index: usize| json!({"name": format!("c{index}"), "plan": 5});
    for (consumers, last) in [
        ((0..150).map(consumer).collect::<Vec<_>>(), "there are 50 more problems"),
        ((0..101).map(consumer).collect(), "there is 1 more problem"),
        ((0..150).map(faulty).collect(), "there may be more problems"),
    ] {
        let json = json!({"sidegate": "v1", "consumers": consumers, "apis": [{"name": "a", "access": ["allow"], "rules": [{"path": "/"}]}]});
        let problems = Policy::load(json.to_string().as_bytes(), &environment).err().unwrap();
        assert_eq!(problems.list.len(), 100);
        assert_eq!(problems.to_string().lines().last(), Some(last));
    }
}
