//! Paths, hosts and methods that match nothing.

use super::*;

#[test]
fn invalid_paths() {
    check(&[
        (r#"{"/apis/0/rules/1":{}}"#, &["apis[0] (orders).rules[1]: give exactly one of `path` and `regex`"]),
        (
            r#"{"/apis/0/rules/1":{"path":"/a","regex":"/a"}}"#,
            &["apis[0] (orders).rules[1]: give exactly one of `path` and `regex`"],
        ),
        (
            r#"{"/apis/0/rules/1/path":"orders"}"#,
            &["apis[0] (orders).rules[1].path: `orders` does not start with a slash"],
        ),
        (
            r#"{"/apis/0/rules/1/path":""}"#,
            &["apis[0] (orders).rules[1].path: `` does not start with a slash"],
        ),
        (
            r#"{"/apis/0/rules/1/path":"/a//b"}"#,
            &["apis[0] (orders).rules[1].path: `/a//b` has an empty segment"],
        ),
        (
            r#"{"/apis/0/rules/1/path":"/a/../b"}"#,
            &[
                "apis[0] (orders).rules[1].path: `/a/../b` has a `.` or `..` segment, which no request has once it is normalised",
            ],
        ),
        (
            r#"{"/apis/0/rules/1/path":"/a?b=c"}"#,
            &["apis[0] (orders).rules[1].path: `/a?b=c` has a query, but a path is expected"],
        ),
        (
            r#"{"/apis/0/rules/1/path":"/a%2Fb"}"#,
            &["apis[0] (orders).rules[1].path: `a%2Fb` matches no request: the path has an escaped slash"],
        ),
        (
            r#"{"/apis/0/rules/1/path":"/a%zz"}"#,
            &[
                "apis[0] (orders).rules[1].path: `a%zz` matches no request: the path has a malformed percent-escape",
            ],
        ),
        (
            r#"{"/apis/0/rules/1/path":"/a\\b"}"#,
            &[r#"apis[0] (orders).rules[1].path: `a\b` matches no request: the path has a backslash"#],
        ),
        (
            r#"{"/apis/0/rules/1/path":"/x{id}"}"#,
            &[
                "apis[0] (orders).rules[1].path: `x{id}` is not a parameter: braces must enclose a whole segment, with a name of letters, digits, `-` and `_`",
            ],
        ),
        (
            r#"{"/apis/0/rules/1/path":"/{id}/{id}"}"#,
            &["apis[0] (orders).rules[1].path: the parameter `id` appears twice"],
        ),
        (
            r#"{"/apis/0/rules/1/path":"/**/a"}"#,
            &["apis[0] (orders).rules[1].path: `/**/a` has a `*` outside of a final `/**`"],
        ),
        (
            r#"{"/apis/0/rules/1/path":"/a*"}"#,
            &["apis[0] (orders).rules[1].path: `/a*` has a `*` outside of a final `/**`"],
        ),
        (
            r#"{"/apis/0/rules/2/regex":"/r/("}"#,
            &[
                "apis[0] (orders).rules[2].regex: `/r/(` is not a regular expression for a path: unclosed group",
            ],
        ),
        (
            r#"{"/apis/0/rules/2/regex":"/[a-z]{1000}{1000}"}"#,
            &[
                "apis[0] (orders).rules[2].regex: is too complex to be matched in bounded time: avoid large counters, and counters after wildcards as in `.*a.{20}`",
            ],
        ),
        (
            r#"{"/apis/0/bindings/0/paths/0":{"allow":"all"}}"#,
            &["apis[0] (orders).bindings[0].paths[0]: give exactly one of `path` and `regex`"],
        ),
        (
            r#"{"/apis/0/bindings/0/paths/0/path":"a"}"#,
            &["apis[0] (orders).bindings[0].paths[0].path: `a` does not start with a slash"],
        ),
        (
            r#"{"/apis/0/bindings/0/paths/0":{"regex":"[","allow":"all"}}"#,
            &[
                "apis[0] (orders).bindings[0].paths[0].regex: `[` is not a regular expression for a path: unclosed character class",
            ],
        ),
        (
            r#"{"/apis/0/metering/0/path":"a"}"#,
            &["apis[0] (orders).metering[0].path: `a` does not start with a slash"],
        ),
        (
            r#"{"/apis/0/metering/0":{"path":"/{a","match":"prefix","metric":"hits"}}"#,
            &[
                "apis[0] (orders).metering[0].path: `/{a` has braces that do not enclose a name inside one segment",
            ],
        ),
        (r#"{"/apis/0/base_path":"v1"}"#, &["apis[0] (orders).base_path: `v1` does not start with a slash"]),
        (
            r#"{"/apis/0/base_path":"/{version}"}"#,
            &[
                "apis[0] (orders).base_path: `/{version}` has a parameter or a wildcard, but a literal path is expected",
            ],
        ),
        (
            r#"{"/apis/0/base_path":"/v1/**"}"#,
            &[
                "apis[0] (orders).base_path: `/v1/**` has a parameter or a wildcard, but a literal path is expected",
            ],
        ),
    ]);
}

#[test]
fn invalid_hosts() {
    check(&[
        (r#"{"/apis/0/hosts/0":""}"#, &["apis[0] (orders).hosts[0]: the host is empty"]),
        (
            r#"{"/apis/0/hosts/0":"a:80"}"#,
            &["apis[0] (orders).hosts[0]: `a:80` has a port, but a host matches on every port"],
        ),
        (
            r#"{"/apis/0/hosts/0":"https://a"}"#,
            &["apis[0] (orders).hosts[0]: `https://a` is a URL or a path, not a host"],
        ),
        (
            r#"{"/apis/0/hosts/0":"*"}"#,
            &["apis[0] (orders).hosts[0]: `*` has a `*` that is not the whole first label of a longer name"],
        ),
        (
            r#"{"/apis/0/hosts/0":"a.*.b"}"#,
            &[
                "apis[0] (orders).hosts[0]: `a.*.b` has a `*` that is not the whole first label of a longer name",
            ],
        ),
        (r#"{"/apis/0/hosts/0":"a..b"}"#, &["apis[0] (orders).hosts[0]: `a..b` has an empty label"]),
        (
            r#"{"/apis/0/hosts/0":"[::1"}"#,
            &["apis[0] (orders).hosts[0]: `[::1` is not an IPv6 address in brackets"],
        ),
        (
            r#"{"/apis/0/hosts/0":"::1"}"#,
            &["apis[0] (orders).hosts[0]: `::1` is not an IPv6 address in brackets"],
        ),
        (
            r#"{"/apis/0/hosts/0":"bücher.example"}"#,
            &[
                "apis[0] (orders).hosts[0]: `bücher.example` has a character that is not a letter, digit, `-` or `_`",
            ],
        ),
        (
            r#"{"/apis/0/hosts/0":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}"#,
            &[
                "apis[0] (orders).hosts[0]: `aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa` is longer than a host can be",
            ],
        ),
    ]);
}

#[test]
fn invalid_methods() {
    check(&[
        (
            r#"{"/apis/0/rules/0/methods":["GET","P T"]}"#,
            &["apis[0] (orders).rules[0].methods: `P T` is not a method"],
        ),
        (
            r#"{"/apis/0/metering/0/methods":[""]}"#,
            &["apis[0] (orders).metering[0].methods: `` is not a method"],
        ),
        (
            r#"{"/apis/0/bindings/0/allow":{"methods":["GET,PUT"]}}"#,
            &["apis[0] (orders).bindings[0].allow.methods: `GET,PUT` is not a method"],
        ),
    ]);
}

#[test]
fn the_base_path_of_a_service_is_literal() {
    check(&[
        (r#"{"/apis/0/forward/base_path":"/internal"}"#, &[]),
        (
            r#"{"/apis/0/forward/base_path":"internal"}"#,
            &["apis[0] (orders).forward.base_path: `internal` does not start with a slash"],
        ),
        (
            r#"{"/apis/0/forward/base_path":"/a/{id}"}"#,
            &[
                "apis[0] (orders).forward.base_path: `/a/{id}` has a parameter or a wildcard, but a literal path is expected",
            ],
        ),
    ]);
}
