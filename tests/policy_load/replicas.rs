//! Rate limit services, and limits across replicas.

use super::*;

/// The changes of a row, after those that give the policy a service `s` with these settings.
fn with_service(settings: &str, changes: &str) -> String {
    let comma = if changes.is_empty() { "" } else { "," };
    format!(r#"{{"/providers/s":{{"rate_limit_service":{{"cluster":"rls"{settings}}}}}{comma}{changes}}}"#)
}

/// An entry of the plan's limits, across replicas.
fn limit(per: &str, further: &str) -> String {
    format!(
        r#""/plans/basic/limits/1":{{"metric":"hits","max":7,"per":"{per}","across":"replicas"{further}}}"#
    )
}

fn expect(rows: &[(String, &[&str])]) {
    let rows: Vec<_> = rows.iter().map(|(changes, problems)| (changes.as_str(), *problems)).collect();
    check(&rows);
}

#[test]
fn services_that_cannot_be_asked() {
    expect(&[
        (with_service("", ""), &[]),
        (
            with_service(
                r#","domain":"d","timeout":"5ms","engine":"limitador","lease":"none","cooldown":"0s","unavailable":"local""#,
                "",
            ),
            &[],
        ),
        (
            with_service(r#","cluster":"""#, ""),
            &["providers.s.rate_limit_service.cluster: the name of the cluster must not be empty"],
        ),
        (
            with_service(r#","domain":"""#, ""),
            &["providers.s.rate_limit_service.domain: the domain must not be empty"],
        ),
        (
            with_service(r#","timeout":"0s""#, ""),
            &["providers.s.rate_limit_service.timeout: the timeout must be longer than zero"],
        ),
        (
            with_service(r#","unavailable":{"allow_clients":[]}"#, ""),
            &[
                "providers.s.rate_limit_service.unavailable.allow_clients: the list of allowed clients must not be empty",
            ],
        ),
        (with_service(r#","lease":{"up_to":{"share":50,"lasts":"100ms","most":1}}"#, ""), &[]),
        (
            with_service(r#","lease":{"up_to":{"share":51,"lasts":"0s","most":0}}"#, ""),
            &[
                "providers.s.rate_limit_service.lease.up_to.share: not between 1 and 50",
                "providers.s.rate_limit_service.lease.up_to.most: not between 1 and 1000000",
                "providers.s.rate_limit_service.lease.up_to.lasts: must be longer than zero",
            ],
        ),
    ]);
}

#[test]
fn limits_that_no_service_can_count() {
    expect(&[
        (with_service("", &limit("day", "")), &[]),
        (with_service("", &limit("hour", r#","provider":"s""#)), &[]),
        (with_service(r#","engine":"limitador""#, &limit("month", "")), &[]),
        (
            format!("{{{}}}", limit("day", "")),
            &[
                "plans.basic.limits[1].across: needs a provider of the kind `rate_limit_service`, and there is none",
            ],
        ),
        (
            with_service(
                "",
                &format!(r#""/providers/t":{{"rate_limit_service":{{"cluster":"c"}}}},{}"#, limit("day", "")),
            ),
            &[
                "plans.basic.limits[1].across: say which `provider` counts: there are several of the kind `rate_limit_service`",
            ],
        ),
        (
            with_service("", &limit("day", r#","provider":"p""#)),
            &["plans.basic.limits[1].provider: the provider `p` is not of the kind `rate_limit_service`"],
        ),
        (
            with_service("", &limit("day", r#","provider":"sharde""#)),
            &["plans.basic.limits[1].provider: there is no provider `sharde`"],
        ),
        (
            with_service(
                "",
                r#""/plans/basic/limits/1":{"metric":"hits","max":7,"per":"day","provider":"s"}"#,
            ),
            &["plans.basic.limits[1].provider: needs `across: replicas`"],
        ),
        (
            with_service("", &limit("month", "")),
            &[
                "plans.basic.limits[1].per: `engine: envoy` cannot count per month: its own windows begin anew inside of it",
            ],
        ),
        (
            with_service("", &limit("day", r#","window":"sliding""#)),
            &["plans.basic.limits[1].window: a limit across replicas cannot slide"],
        ),
        (
            with_service(
                "",
                r#""/plans/basic/limits/1":{"metric":"hits","max":4000000001,"per":"day","across":"replicas"}"#,
            ),
            &["plans.basic.limits[1].max: a limit across replicas is at most 4000000000"],
        ),
    ]);
}
