//! What loads, but is probably a mistake.

use super::*;

/// Checks rows of changes and warnings, and reports all rows that differ.
fn check_warnings(rows: &[(&str, &[&str])]) {
    let mut differences = String::new();
    for (changes, expected) in rows {
        let policy = Policy::load(changed(changes).to_string().as_bytes(), &environment);
        let policy = policy.unwrap_or_else(|problems| panic!("{changes}: {problems}"));
        let warnings: Vec<_> = policy.warnings.list.iter().map(ToString::to_string).collect();
        assert!(!warnings.iter().any(|line| line.contains(SECRET)), "a secret is reported: {warnings:?}");
        if warnings != *expected {
            writeln!(differences, "{changes}\n  expected {expected:#?}\n  reported {warnings:#?}").unwrap();
        }
    }
    assert!(differences.is_empty(), "{differences}");
}

#[test]
fn the_base_has_none() {
    check_warnings(&[("{}", &[])]);
}

#[test]
fn paths_that_an_earlier_one_hides() {
    let paths = |paths: &str| format!(r#"{{"/apis/0/bindings/0/paths":[{paths}]}}"#);
    let (wide, narrow) =
        (r#"{"path":"/orders/**","allow":"all"}"#, r#"{"path":"/orders/{id}","allow":"none"}"#);
    let regex = r#"{"regex":"/r/[0-9]+","allow":"all"}"#;
    let everything = r#"{"path":"/**","allow":"all"}"#;
    let hidden = |place: u8| {
        format!(
            "apis[0] (orders).bindings[0].paths[{place}]: is never reached: `paths[0]` has all of its paths"
        )
    };
    check_warnings(&[
        (&paths(&format!("{narrow},{wide}")), &[]),
        (&paths(&format!("{wide},{narrow}")), &[&hidden(1)]),
        (&paths(&format!("{wide},{regex},{narrow}")), &[&hidden(2)]),
        (&paths(&format!("{everything},{regex},{wide}")), &[&hidden(1), &hidden(2)]),
        (&paths(&format!("{regex},{everything}")), &[]),
    ]);
}

#[test]
fn methods_that_no_client_sends() {
    check_warnings(&[
        (r#"{"/apis/0/rules/1/methods":["GET","PROPFIND","PATCH"]}"#, &[]),
        (
            r#"{"/apis/0/rules/1/methods":["get","FETCH"]}"#,
            &[
                "apis[0] (orders).rules[1].methods: `get` is not `GET`, which clients send: methods compare exactly",
                "apis[0] (orders).rules[1].methods: `FETCH` is not a known method",
            ],
        ),
        (
            r#"{"/apis/0/bindings/0/allow":{"methods":["Post"]}}"#,
            &[
                "apis[0] (orders).bindings[0].allow.methods: `Post` is not `POST`, which clients send: methods compare exactly",
            ],
        ),
        (
            r#"{"/apis/0/metering/0/methods":["put"],"/apis/1/mock":{"responses":[{"methods":["delete"]}]}}"#,
            &[
                "apis[0] (orders).metering[0].methods: `put` is not `PUT`, which clients send: methods compare exactly",
                "apis[1] (open).mock.responses[0].methods: `delete` is not `DELETE`, which clients send: methods compare exactly",
            ],
        ),
    ]);
}

#[test]
fn parameters_as_other_routers_write_them() {
    check_warnings(&[
        (r#"{"/apis/0/rules/1/path":"/orders/a:b"}"#, &[]),
        (
            r#"{"/apis/0/rules/1/path":"/orders/:id/:line"}"#,
            &[
                "apis[0] (orders).rules[1].path: `:id` is taken literally: a parameter is written `{id}`",
                "apis[0] (orders).rules[1].path: `:line` is taken literally: a parameter is written `{line}`",
            ],
        ),
        (
            r#"{"/apis/0/metering/0/path":"/:a","/apis/0/bindings/0/paths/0/path":"/:b"}"#,
            &[
                "apis[0] (orders).bindings[0].paths[0].path: `:b` is taken literally: a parameter is written `{b}`",
                "apis[0] (orders).metering[0].path: `:a` is taken literally: a parameter is written `{a}`",
            ],
        ),
    ]);
}

#[test]
fn secrets_that_look_like_variables() {
    const SECRET_AT: &str = "/providers/p/introspection/authentication/basic/secret";
    let warning = "providers.p.introspection.authentication.basic.secret: begins with `$` and is taken literally: a variable is written `{env: NAME}`";
    for (secret, is_doubted) in [
        ("$hunter2", true),
        ("${hunter2}", true),
        ("$1hunter2", false),
        ("$hunter2!", false),
        ("hunter2", false),
        ("$", false),
    ] {
        let expected: &[&str] = if is_doubted { &[warning] } else { &[] };
        check_warnings(&[(&format!(r#"{{"{SECRET_AT}":"{secret}"}}"#), expected)]);
    }
}

#[test]
fn clusters_that_a_mesh_does_not_have() {
    const FORM: &str = "in Istio, the cluster of a service is called `outbound|PORT||HOST`";
    for (cluster, fault) in [
        ("hydra", None),
        ("hydra.example.com", None),
        ("outbound|443||idp.example.com", None),
        ("outbound|443|v1|hydra.auth.svc.cluster.local", None),
        ("outbound|443|idp.example.com", Some(" in Istio")),
        ("outbound|https||idp.example.com", Some(" in Istio")),
        ("outbound|443||hydra", Some(" in Istio")),
        ("inbound|443||", Some(" in Istio")),
        ("outbound|443||idp.example.com|x", Some(" in Istio")),
        ("hydra.auth.svc.cluster.local", Some("")),
        ("hydra.auth.svc", Some("")),
        ("http://hydra:4445", Some("")),
    ] {
        let warning = fault.map(|fault| {
            let place = "providers.p.introspection.cluster";
            format!("{place}: `{cluster}` is not the name of a cluster{fault}: {FORM}")
        });
        let expected: Vec<_> = warning.iter().map(String::as_str).collect();
        check_warnings(&[(&format!(r#"{{"/providers/p/introspection/cluster":"{cluster}"}}"#), &expected)]);
    }
}

#[test]
fn rules_that_nothing_reaches() {
    let unreached = |rule: u8| {
        format!(
            "apis[0] (orders).rules[{rule}]: is never reached: other rules have all of its paths, and precede it"
        )
    };
    check_warnings(&[
        (r#"{"/apis/0/rules/-":{"path":"/**"}}"#, &[&unreached(2)]),
        (
            r#"{"/apis/0/rules":[{"path":"/**"},{"path":"/{a}/**"},{"path":"/","methods":["GET"]}]}"#,
            &[&unreached(0)],
        ),
        (
            r#"{"/apis/0/mock":{"responses":[{"path":"/a/**"},{"path":"/a/{b}/**"},{"path":"/a"}]}}"#,
            &[
                "apis[0] (orders).mock.responses[0]: is never reached: other rules have all of its paths, and precede it",
            ],
        ),
    ]);
}

#[test]
fn warnings_are_bounded() {
    let rules: Vec<_> = (0..150).map(|rule| json!({"path": format!("/:{rule}")})).collect();
    let policy = Policy::load(
        changed(&json!({"/apis/0/rules": rules}).to_string()).to_string().as_bytes(),
        &environment,
    );
    let warnings = policy.unwrap_or_else(|problems| panic!("{problems}")).warnings;
    assert_eq!((warnings.list.len(), warnings.further), (100, 50));
    let lines = warnings.to_string();
    assert_eq!(lines.lines().count(), 11);
    assert!(lines.ends_with("\nthere are 140 more: `sidegate check` lists them"), "{lines}");
}

/// A fault, and what is probably a mistake elsewhere.
#[test]
fn warnings_stand_beside_problems() {
    let lower = "`get` is not `GET`, which clients send: methods compare exactly";
    let unreached = "is never reached: other rules have all of its paths, and precede it";
    for (changes, problems, warnings) in [
        // What cannot be compiled, and what cannot be read.
        (
            r#"{"/apis/0/rules/0/access":["nobody"],"/apis/0/rules/1/methods":["get"]}"#,
            1,
            vec![format!("apis[0] (orders).rules[1].methods: {lower}")],
        ),
        (
            r#"{"/gate/quota_alert_at":0,"/apis/0/rules/1/methods":["get"]}"#,
            1,
            vec![format!("apis[0] (orders).rules[1].methods: {lower}")],
        ),
        (
            r#"{"/apis/0/rules/0":5,"/apis/0/rules/1/methods":["get"]}"#,
            1,
            vec![format!("apis[0] (orders).rules[1].methods: {lower}")],
        ),
        (
            r#"{"/apis/0/limits":[{"metric":"visits","max":1,"per":"day"}],"/apis/0/rules/-":{"path":"/**"}}"#,
            1,
            vec![format!("apis[0] (orders).rules[2]: {unreached}")],
        ),
        // What may be no mistake when the faults are mended.
        (
            r#"{"/apis/0/rules":[{"path":"/a","methods":["G T"]},{"regex":"/a"},{"path":"/**","methods":["GET"]}]}"#,
            1,
            Vec::new(),
        ),
        (r#"{"/apis/0/rules":[{"path":"/**","methods":5},{"regex":"/a"}]}"#, 1, Vec::new()),
        (
            r#"{"/apis/0/bindings/0/paths":[{"path":"/a/**","allow":"all"},{"path":"/a/b","allow":5}]}"#,
            1,
            Vec::new(),
        ),
    ] {
        let loaded = Policy::load(changed(changes).to_string().as_bytes(), &environment);
        let Err(found) = loaded else { panic!("{changes} loads") };
        assert_eq!(found.list.len(), problems, "{changes}: {found}");
        let lines: Vec<_> = found.warnings.list.iter().map(ToString::to_string).collect();
        assert_eq!(lines, warnings, "{changes}");
    }
}
