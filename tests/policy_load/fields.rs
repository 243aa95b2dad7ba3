//! Fields that do not exist, or are missing.

use super::*;

#[test]
fn unknown_fields() {
    check(&[
        (
            r#"{"/colour":1}"#,
            &[
                "colour: unknown field `colour`, expected one of `sidegate`, `revision`, `epoch`, `revoked`, `gate`, `providers`, `metrics`, `plans`, `consumers`, `apis`",
            ],
        ),
        (
            r#"{"/gate/colour":1}"#,
            &[
                "gate.colour: unknown field `colour`, expected one of `realm`, `resource_metadata`, `unmatched`, `preflight`, `max_path_length`, `errors`, `rate_limit_headers`, `quota_alert_at`, `filter_state`, `debug`, `client_certificate`, `capacity`",
            ],
        ),
        (
            r#"{"/providers/p/colour":{}}"#,
            &["providers.p: invalid value: map with 2 entries, expected one entry"],
        ),
        (
            r#"{"/providers/p/introspection/colour":1}"#,
            &[
                "providers.p.introspection.colour: unknown field `colour`, expected one of `cluster`, `url`, `authentication`, `headers`, `signed`, `timeout`, `cache`, `unavailable`, `cooldown`, `issuers`, `leeway`",
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
                "plans.basic.limits[0].colour: unknown field `colour`, expected one of `metric`, `max`, `per`, `window`, `of`, `across`, `provider`, `shadow`",
            ],
        ),
        (
            r#"{"/consumers/0/colour":1}"#,
            &[
                "consumers[0] (acme).colour: unknown field `colour`, expected one of `name`, `state`, `plan`, `keys`, `key_metrics`, `application`, `clients`, `referrers`",
            ],
        ),
        (
            r#"{"/consumers/0/keys/0/colour":1}"#,
            &[
                "consumers[0] (acme).keys[0].colour: unknown field `colour`, expected one of `id`, `sha256`, `state`, `not_before`, `not_after`",
            ],
        ),
        (
            r#"{"/apis/0/colour":1}"#,
            &[
                "apis[0] (orders).colour: unknown field `colour`, expected one of `name`, `hosts`, `base_path`, `credentials`, `default_credentials`, `access`, `rules`, `mock`, `metering`, `unmetered`, `bindings`, `limits`, `forward`, `errors`, `shadow`",
            ],
        ),
        (
            r#"{"/apis/0/credentials/colour":1}"#,
            &[
                "apis[0] (orders).credentials.colour: unknown field `colour`, expected one of `api_key`, `app_id`, `app_key`, `token`",
            ],
        ),
        (
            r#"{"/apis/0/credentials/api_key/0/colour":1}"#,
            &[
                "apis[0] (orders).credentials.api_key[0].colour: unknown field `colour`, expected one of `header`, `scheme`, `query`, `cookie`, `basic`",
            ],
        ),
        (
            r#"{"/apis/0/rules/1/colour":1}"#,
            &[
                "apis[0] (orders).rules[1].colour: unknown field `colour`, expected one of `path`, `regex`, `methods`, `access`, `answer`, `mock`, `shadow`",
            ],
        ),
        (
            r#"{"/apis/0/rules/0/access/0/introspection/colour":1}"#,
            &[
                "apis[0] (orders).rules[0].access[0].introspection.colour: unknown field `colour`, expected one of `provider`, `scopes`, `scope_strategy`, `audience`, `issuers`, `claims`, `verified_by`",
            ],
        ),
        (
            r#"{"/apis/0/rules/0/access/0/introspection/audience":{"some":["a"]}}"#,
            &[
                "apis[0] (orders).rules[0].access[0].introspection.audience: unknown value `some`, expected `{any: [AUDIENCE]}` or `{all: [AUDIENCE]}`",
            ],
        ),
        (
            r#"{"/apis/0/rules/0/access/1":"basic_auth"}"#,
            &[
                "apis[0] (orders).rules[0].access[1]: unknown value `basic_auth`, expected one of `allow`, `deny`, `api_key`, `application`, `{introspection: {provider: NAME}}`, `{jwt: {provider: NAME}}`, `{threescale: {provider: NAME}}`",
            ],
        ),
        (
            r#"{"/apis/0/metering/0/colour":1}"#,
            &[
                "apis[0] (orders).metering[0].colour: unknown field `colour`, expected one of `path`, `match`, `query`, `methods`, `metric`, `by`, `metrics`, `last`",
            ],
        ),
        (
            r#"{"/apis/0/bindings/0/colour":1}"#,
            &[
                "apis[0] (orders).bindings[0].colour: unknown field `colour`, expected one of `consumer`, `plan`, `allow`, `paths`, `limits`",
            ],
        ),
        (
            r#"{"/apis/0/bindings/0/paths/0/colour":1}"#,
            &[
                "apis[0] (orders).bindings[0].paths[0].colour: unknown field `colour`, expected one of `path`, `regex`, `allow`",
            ],
        ),
        (
            r#"{"/apis/0/limits/0/of":"colour"}"#,
            &[
                "apis[0] (orders).limits[0].of: unknown value `colour`, expected one of `consumer`, `client`, `subject`, `address`, `api`, `key`",
            ],
        ),
        (
            r#"{"/apis/0/forward/colour":1}"#,
            &[
                "apis[0] (orders).forward.colour: unknown field `colour`, expected one of `remove_credentials`, `base_path`, `headers`",
            ],
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
                "providers.p.introspection.authentication: unknown authentication, expected one of `{basic: {id: ID, secret: {env: NAME}}}`, `{post: {id: ID, secret: {env: NAME}}}`, `{bearer: {token: {env: NAME}}}`, `{client_credentials: {cluster: NAME, url: URL, authentication: {basic: {id: ID, secret: {env: NAME}}}}}`, `none`",
            ],
        ),
        (
            r#"{"/providers/p/introspection/authentication":"digest"}"#,
            &[
                "providers.p.introspection.authentication: unknown authentication, expected one of `{basic: {id: ID, secret: {env: NAME}}}`, `{post: {id: ID, secret: {env: NAME}}}`, `{bearer: {token: {env: NAME}}}`, `{client_credentials: {cluster: NAME, url: URL, authentication: {basic: {id: ID, secret: {env: NAME}}}}}`, `none`",
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
fn missing_fields() {
    check(&[
        (r#"{"-/sidegate":null}"#, &["missing field `sidegate`"]),
        (r#"{"-/apis":null}"#, &["missing field `apis`"]),
        (r#"{"-/apis/0/name":null}"#, &["apis[0]: missing field `name`"]),
        (r#"{"-/apis/0/rules":null}"#, &["apis[0] (orders): missing field `rules`"]),
        (r#"{"-/consumers/0/name":null}"#, &["consumers[0]: missing field `name`"]),
        (r#"{"-/consumers/0/keys/0/sha256":null}"#, &["consumers[0] (acme).keys[0]: missing field `sha256`"]),
        (
            r#"{"-/providers/p/introspection/url":null,"-/providers/p/introspection/cluster":null}"#,
            &["providers.p.introspection: missing field `cluster`"],
        ),
        (r#"{"-/plans/basic/limits/0/per":null}"#, &["plans.basic.limits[0]: missing field `per`"]),
        (
            r#"{"-/apis/0/metering/0/metric":null}"#,
            &["apis[0] (orders).metering[0]: give exactly one of `metric` and `metrics`"],
        ),
        (
            r#"{"-/apis/0/bindings/0/consumer":null}"#,
            &["apis[0] (orders).bindings[0]: missing field `consumer`"],
        ),
        (
            r#"{"-/apis/0/bindings/0/paths/0/allow":null}"#,
            &["apis[0] (orders).bindings[0].paths[0]: missing field `allow`"],
        ),
    ]);
}
