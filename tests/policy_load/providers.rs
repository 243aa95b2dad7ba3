//! Providers and their secrets.

use super::*;

#[test]
fn providers_that_cannot_be_called() {
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
            &["providers.p.introspection.url: credentials belong in `authentication`, not in the URL"],
        ),
        (
            r#"{"/providers/p/introspection/url":"http://idp/#a"}"#,
            &["providers.p.introspection.url: the URL must not have a fragment"],
        ),
        (
            r#"{"/providers/p/introspection/cluster":""}"#,
            &["providers.p.introspection.cluster: the name of the cluster must not be empty"],
        ),
        (
            r#"{"/providers/p/introspection/issuers":[]}"#,
            &["providers.p.introspection.issuers: the list is empty: leave it out, or give it an entry"],
        ),
        (
            r#"{"/providers/p/introspection/timeout":"0s"}"#,
            &["providers.p.introspection.timeout: the timeout must be longer than zero"],
        ),
        (
            r#"{"/providers/p/introspection/timeout":"200"}"#,
            &["providers.p.introspection.timeout: a duration needs a unit: write `200s` or `200ms`"],
        ),
        (
            r#"{"/providers/p/introspection/cache/ttl":"1.5s"}"#,
            &[
                "providers.p.introspection.cache.ttl: `1.5s` is not a duration such as `200ms`, `30s`, `5m`, `1h` or `1d`",
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
                "providers.p.introspection.unavailable: unknown value `allow`, expected one of `deny`, `stale`, `{allow_clients: [CLIENT]}`",
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
fn missing_and_mistyped_secrets() {
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
                "providers.p.introspection.authentication.basic.secret: invalid type: list, expected a secret: text, or `{env: NAME}`",
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
                "providers.p.introspection.authentication: unknown authentication, expected one of `{basic: {id: ID, secret: {env: NAME}}}`, `{post: {id: ID, secret: {env: NAME}}}`, `{bearer: {token: {env: NAME}}}`, `none`",
            ],
        ),
        (
            r#"{"/providers/p/introspection/authentication":{"bearer":"hunter2"}}"#,
            &["providers.p.introspection.authentication.bearer: invalid type: string, expected a map"],
        ),
    ]);
}
