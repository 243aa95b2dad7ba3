//! Limits and metering.

use super::*;

#[test]
fn invalid_limits_and_metering() {
    check(&[
        (
            r#"{"/plans/basic/limits/0/per":"month"}"#,
            &[
                "plans.basic.limits[0].window: a limit per month cannot slide: only limits per second, minute, hour or day can",
            ],
        ),
        (
            r#"{"/plans/basic/limits/1/window":"sliding"}"#,
            &[
                "plans.basic.limits[1].window: a limit per eternity cannot slide: only limits per second, minute, hour or day can",
            ],
        ),
        (
            r#"{"/apis/0/metering/0/by":11}"#,
            &[
                "apis[0] (orders).metering[0].by: 11 is above plan `basic`'s limit `hits-second` of 10: no such request could ever pass",
            ],
        ),
        (
            r#"{"/apis/0/metering/0/by":60}"#,
            &[
                "apis[0] (orders).metering[0].by: 60 is above plan `basic`'s limit `hits-second` of 10: no such request could ever pass",
                "apis[0] (orders).metering[0].by: 60 is above the API's limit `api-hits-minute` of 50: no such request could ever pass",
            ],
        ),
        (
            r#"{"/apis/0/metering/0":{"path":"/**","metric":"reads","by":51}}"#,
            &[
                "apis[0] (orders).metering[0].by: 51 is above plan `basic`'s limit `hits-second` of 10: no such request could ever pass",
                "apis[0] (orders).metering[0].by: 51 is above the API's limit `api-hits-minute` of 50: no such request could ever pass",
            ],
        ),
        (
            r#"{"/apis/0/bindings/0/plan":"gold","/apis/0/bindings/0/limits":[{"metric":"hits","max":2,"per":"day"}],"/apis/0/metering/0/by":3}"#,
            &[
                "apis[0] (orders).metering[0].by: 3 is above a binding's limit `hits-day` of 2: no such request could ever pass",
            ],
        ),
        (
            r#"{"/apis/0/bindings/0/plan":"basic","/consumers/0/plan":"gold","/apis/0/metering/0/by":11}"#,
            &[
                "apis[0] (orders).metering[0].by: 11 is above plan `basic`'s limit `hits-second` of 10: no such request could ever pass",
            ],
        ),
        (r#"{"/gate/capacity/meters":0}"#, &["gate.capacity.meters: not between 1 and 16777216"]),
        (r#"{"/gate/capacity/addresses":0}"#, &["gate.capacity.addresses: not between 1 and 16777216"]),
        (r#"{"/gate/capacity/token_bytes":255}"#, &["gate.capacity.token_bytes: not between 256 and 65536"]),
        (
            r#"{"/gate/capacity/token_bytes":65537}"#,
            &["gate.capacity.token_bytes: not between 256 and 65536"],
        ),
        (r#"{"/gate/capacity/tokens":16777217}"#, &["gate.capacity.tokens: not between 1 and 16777216"]),
    ]);
}

#[test]
fn metering_may_match_and_count_nothing() {
    check(&[
        (r#"{"/apis/0/metering/0/by":0}"#, &[]),
        (r#"{"/apis/0/metering/0":{"path":"/health","metric":"hits","by":0,"last":true}}"#, &[]),
    ]);
}

#[test]
fn invalid_metrics_of_metering_entries() {
    let entry = |rest: &str| format!(r#"{{"/apis/0/metering/0":{{"path":"/**",{rest}}}}}"#);
    check(&[
        (&entry(r#""metrics":{"hits":1,"reads":0}"#), &[]),
        (
            &entry(r#""metric":"hits","metrics":{"hits":1}"#),
            &["apis[0] (orders).metering[0]: give exactly one of `metric` and `metrics`"],
        ),
        (
            &entry(r#""metrics":{"hits":1},"by":1"#),
            &["apis[0] (orders).metering[0].by: is for `metric`: `metrics` says how much of each"],
        ),
        (&entry(r#""metrics":{}"#), &["apis[0] (orders).metering[0].metrics: names no metric"]),
        (
            &entry(r#""metrics":{"visits":1}"#),
            &["apis[0] (orders).metering[0].metrics.visits: there is no metric `visits`"],
        ),
        (
            &entry(r#""metrics":{"hits":11}"#),
            &[
                "apis[0] (orders).metering[0].metrics.hits: 11 is above plan `basic`'s limit `hits-second` of 10: no such request could ever pass",
            ],
        ),
        (r#"{"/apis/0/unmetered":"refuse"}"#, &[]),
        (
            r#"{"/apis/1/unmetered":"refuse"}"#,
            &["apis[1] (open).unmetered: without `metering` every request is metered"],
        ),
    ]);
}

#[test]
fn alerts_and_shadow_limits() {
    check(&[
        (r#"{"/gate/quota_alert_at":80,"/apis/0/limits/0/shadow":true,"/apis/0/rules/1/shadow":true}"#, &[]),
        (r#"{"/gate/quota_alert_at":"none"}"#, &[]),
        (
            r#"{"/gate/quota_alert_at":0}"#,
            &["gate.quota_alert_at: neither a percentage from 1 to 100 nor `none`"],
        ),
        (
            r#"{"/gate/quota_alert_at":101}"#,
            &["gate.quota_alert_at: neither a percentage from 1 to 100 nor `none`"],
        ),
        (
            r#"{"/gate/quota_alert_at":"off"}"#,
            &["gate.quota_alert_at: neither a percentage from 1 to 100 nor `none`"],
        ),
        (
            r#"{"/apis/0/limits/0/shadow":true,"/apis/0/limits/0/across":"replicas","/providers/s":{"rate_limit_service":{"cluster":"r"}}}"#,
            &["apis[0] (orders).limits[0].shadow: a limit with `across: replicas` cannot be in shadow mode"],
        ),
        (
            r#"{"/apis/0/limits/0":{"metric":"hits","max":0,"per":"day","shadow":true},"/apis/0/metering/0/by":2}"#,
            &[],
        ),
    ]);
}
