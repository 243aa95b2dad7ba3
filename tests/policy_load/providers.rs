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
                "providers.p.introspection.authentication: unknown authentication, expected one of `{basic: {id: ID, secret: {env: NAME}}}`, `{post: {id: ID, secret: {env: NAME}}}`, `{bearer: {token: {env: NAME}}}`, `{client_credentials: {cluster: NAME, url: URL, authentication: {basic: {id: ID, secret: {env: NAME}}}}}`, `none`",
            ],
        ),
        (
            r#"{"/providers/p/introspection/authentication":{"bearer":"hunter2"}}"#,
            &["providers.p.introspection.authentication.bearer: invalid type: string, expected a map"],
        ),
    ]);
}

#[test]
fn services_of_3scale_that_cannot_be_asked() {
    const SU1: &str = "providers.su1.service_management";
    let service = |changes: &str| {
        format!(
            r#"{{"/providers/su1":{{"service_management":{{"cluster":"su1","url":"https://su1.3scale.net",{changes}}}}}}}"#
        )
    };
    let whole = r#""service_id":"1","service_token":{"env":"SECRET"}"#;
    for (changes, expected) in [
        (whole.to_owned(), vec![]),
        (r#""provider_key":"k""#.to_owned(), vec![]),
        (r#""provider_key":"k","service_id":"1""#.to_owned(), vec![]),
        (r#""service_id":"1""#.to_owned(), vec![": give exactly one of `service_token` and `provider_key`"]),
        (
            format!(r#"{whole},"provider_key":"k""#),
            vec![": give exactly one of `service_token` and `provider_key`"],
        ),
        (
            r#""service_token":"t""#.to_owned(),
            vec![": a `service_token` needs the `service_id` of its service"],
        ),
        (
            r#""service_id":"1","service_token":{"env":"NOBODY"}"#.to_owned(),
            vec![".service_token: the environment has no variable `NOBODY`, or an empty one"],
        ),
        (format!(r#"{whole},"timeout":"0s""#), vec![".timeout: the timeout must be longer than zero"]),
        (
            format!(r#"{whole},"ttl":"0s""#),
            vec![".ttl: caching needs a `ttl` longer than zero: `caching: none` asks for every request"],
        ),
        (format!(r#"{whole},"ttl":"0s","caching":"none""#), vec![]),
        (format!(r#"{whole},"ttl":"2h""#), vec![".ttl: decisions must not be used for longer than an hour"]),
        (
            format!(r#"{whole},"reporting":{{"every":"10ms"}}"#),
            vec![".reporting.every: reports are sent every second at most, and every hour at least"],
        ),
        (format!(r#"{whole},"counting":"exact""#), vec![]),
        (
            format!(r#"{whole},"counting":"exact","reporting":{{"codes":true}}"#),
            vec![".reporting.codes: codes are part of batched reports, and `counting: exact` sends none"],
        ),
        (
            format!(r#"{whole},"unavailable":{{"allow_applications":["a","a"]}}"#),
            vec![".unavailable.allow_applications[1]: `a` is listed twice"],
        ),
        (
            format!(r#"{whole},"unavailable":{{"allow_applications":[]}}"#),
            vec![".unavailable.allow_applications: the list is empty: leave it out, or give it an entry"],
        ),
    ] {
        let expected: Vec<_> = expected.into_iter().map(|message| format!("{SU1}{message}")).collect();
        let expected: Vec<_> = expected.iter().map(String::as_str).collect();
        check(&[(&service(&changes), &expected)]);
    }
    check(&[
        (
            &service(whole).replace("https://su1.3scale.net", "https://su1.3scale.net/?a=b"),
            &["providers.su1.service_management.url: must not have a query"],
        ),
        (
            r#"{"/apis/1/rules/0/access":[{"threescale":{"provider":"su1"}}]}"#,
            &["apis[1] (open).rules[0].access[0].threescale.provider: there is no provider `su1`"],
        ),
        (
            r#"{"/apis/1/rules/0/access":[{"threescale":{"provider":"p"}}]}"#,
            &[
                "apis[1] (open).rules[0].access[0].threescale.provider: the provider `p` is not of the kind `service_management`",
            ],
        ),
    ]);
    let rule = |access: &str| {
        let service = service(whole);
        let service = service.strip_suffix('}').unwrap_or_default();
        format!(r#"{service},"/apis/1/rules/0/access":[{access}]}}"#)
    };
    let own = r#"{"threescale":{"provider":"su1"}}"#;
    let token = r#"{"threescale":{"provider":"su1","introspection":{"provider":"p"}}}"#;
    let never = "apis[1] (open).rules[0].access[1]: is never reached: an earlier entry decides";
    for (access, expected) in [
        (format!("{own},{token}"), &[][..]),
        (format!("{own},{own}"), &[never]),
        (format!("{token},{token}"), &[never]),
        (format!(r#"{own},"api_key""#), &[never]),
        (
            r#"{"threescale":{"provider":"su1","introspection":{"provider":"p"},"jwt":{"provider":"p"}}}"#
                .to_owned(),
            &["apis[1] (open).rules[0].access[0].threescale: give at most one of `introspection` and `jwt`"],
        ),
        (format!(r#""api_key",{own}"#), &[]),
        (format!(r#"{{"introspection":{{"provider":"p"}}}},{token}"#), &[never]),
    ] {
        check(&[(&rule(&access), expected)]);
    }
}

#[test]
fn access_tokens_of_our_own_that_cannot_be_fetched() {
    check(&[
        (
            r#"{"/providers/p/introspection/authentication":{"client_credentials":{"cluster":"","url":"idp/token","authentication":{"basic":{"id":"g","secret":"s"}},"timeout":"0s","audience":""}}}"#,
            &[
                "providers.p.introspection.authentication.client_credentials.cluster: must not be empty",
                "providers.p.introspection.authentication.client_credentials.url: not an absolute URL",
                "providers.p.introspection.authentication.client_credentials.audience: must not be empty",
                "providers.p.introspection.authentication.client_credentials.timeout: the timeout must be longer than zero",
            ],
        ),
        (
            r#"{"/providers/p/introspection/authentication":{"client_credentials":{"cluster":"c","url":"http://idp/token","authentication":{"post":{"id":"","secret":"s"}}}}}"#,
            &["providers.p.introspection.authentication: the client id must not be empty"],
        ),
        (
            r#"{"/providers/p/introspection/authentication":{"client_credentials":{"cluster":"c","url":"http://idp/token","authentication":{"basic":{"id":{"env":"NOT_SET"},"secret":{"env":"NOT_SET"}}}}}}"#,
            &[
                "providers.p.introspection.authentication.client_credentials.authentication.basic.id: the environment has no variable `NOT_SET`, or an empty one",
                "providers.p.introspection.authentication.client_credentials.authentication.basic.secret: the environment has no variable `NOT_SET`, or an empty one",
            ],
        ),
        (
            r#"{"/providers/p/introspection/authentication":{"client_credentials":{"cluster":"c","url":"http://idp/token","authentication":{"basic":{"id":"g","secret":"s"}},"scopes":["a b","a","a",""]}}}"#,
            &[
                "providers.p.introspection.authentication.client_credentials.scopes[2]: `a` is listed twice",
                "providers.p.introspection.authentication.client_credentials.scopes[3]: must not be empty",
                "providers.p.introspection.authentication.client_credentials.scopes[0]: not one scope: visible ASCII characters except `\"` and `\\`",
            ],
        ),
        (
            r#"{"/providers/p/introspection/authentication":{"client_credentials":{"cluster":"c","url":"http://idp/token","authentication":{"basic":{"id":"g","secret":"s"}},"scopes":[]}}}"#,
            &[
                "providers.p.introspection.authentication.client_credentials.scopes: the list is empty: leave it out, or give it an entry",
            ],
        ),
        (
            r#"{"/providers/p/introspection/authentication":{"client_credentials":{"cluster":"c","url":"http://idp/token","authentication":{"bearer":{"token":"hunter2"}}}}}"#,
            &[
                "providers.p.introspection.authentication.client_credentials.authentication: unknown value `bearer`, expected `{basic: {id: ID, secret: {env: NAME}}}` or `{post: {id: ID, secret: {env: NAME}}}`",
            ],
        ),
    ]);
}

#[test]
fn headers_that_introspection_requests_cannot_have() {
    check(&[
        (
            r#"{"/providers/p/introspection/headers":{"a b":"x","Accept":"x","Content-Type":"x","host":"x","authorization":"x"}}"#,
            &[
                "providers.p.introspection.headers.Accept: policies must not set this header",
                "providers.p.introspection.headers.Content-Type: policies must not set this header",
                "providers.p.introspection.headers.a b: not a header name",
                "providers.p.introspection.headers.authorization: `authentication` sets this header",
                "providers.p.introspection.headers.host: policies must not set this header",
            ],
        ),
        (
            r#"{"/providers/p/introspection/headers":{"X-A":"x","x-a":"y","x-b":{"env":"NOT_SET"},"x-c":"a\nb"}}"#,
            &[
                "providers.p.introspection.headers.x-a: this header appears twice: upper and lower case make no difference",
                "providers.p.introspection.headers.x-b: the environment has no variable `NOT_SET`, or an empty one",
                "providers.p.introspection.headers.x-c: has a control character",
            ],
        ),
        (
            r#"{"/providers/p/introspection/authentication/basic/id":4711}"#,
            &[
                "providers.p.introspection.authentication.basic.id: invalid type: integer, expected a text, or `{env: NAME}`",
            ],
        ),
    ]);
}

#[test]
fn answers_that_nobody_can_sign() {
    check(&[
        (
            r#"{"/providers/p/introspection/signed":{"provider":"q"}}"#,
            &["providers.p.introspection.signed.provider: there is no provider `q`"],
        ),
        (
            r#"{"/providers/p/introspection/signed":{"provider":"p","audience":""}}"#,
            &[
                "providers.p.introspection.signed.provider: the provider `p` is not of the kind `jwks`",
                "providers.p.introspection.signed.audience: must not be empty",
            ],
        ),
        (
            r#"{"/providers/j":{"jwks":{"issuer":"https://idp"}},"/providers/p/introspection/signed":{"provider":"j","audience":"us"}}"#,
            &[
                "providers.p.introspection.signed.provider: the provider `j` has no keys: give it `cluster` and `url`, or `keys`",
            ],
        ),
        (
            r#"{"/providers/j":{"jwks":{"issuer":"https://idp","cluster":"c","url":"http://idp/"}},"/providers/p/introspection/signed":{"provider":"j"},"/providers/p/introspection/authentication":"none"}"#,
            &[
                "providers.p.introspection.signed: say which `audience` the answers are for: `authentication` has no client id",
            ],
        ),
    ]);
}
