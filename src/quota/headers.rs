//! Rate-limit headers: they show a caller the limits that its request touched.

use super::standing::{INTEGER_MAX, Standing, seconds, tightest};
use crate::headers::HeaderList;

/// Which headers show callers their quota.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(not(target_family = "wasm"), derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum HeaderStyle {
    /// `RateLimit-Policy` and `RateLimit`, of draft-ietf-httpapi-ratelimit-headers-10.
    #[default]
    Draft,
    /// `X-RateLimit-Limit`, `X-RateLimit-Remaining` and `X-RateLimit-Reset`, as many gateways send them.
    #[serde(rename = "x_ratelimit")]
    XRateLimit,
    /// Both of them.
    Both,
    /// None.
    None,
}

/// The headers that show `standings`; no headers if there are no standings.
///
/// * `ratelimit-policy` lists all limits touched: name, `q`uota, and `w`indow in seconds (omitted for
///   `eternity`). `ratelimit` lists `r`emaining and the seconds `t`o the reset. It covers the same limits or,
///   on a refusal, only those that refuse, so that no `t` is later than `Retry-After`.
/// * `x-ratelimit-*` show the [tightest] limit. The reset is in seconds from now, and omitted for `eternity`.
pub fn headers(style: HeaderStyle, standings: &[Standing]) -> HeaderList {
    let (draft, x_rate_limit) = match style {
        HeaderStyle::Draft => (true, false),
        HeaderStyle::XRateLimit => (false, true),
        HeaderStyle::Both => (true, true),
        HeaderStyle::None => return HeaderList::new(),
    };
    let Some(tightest) = tightest(standings) else { return HeaderList::new() };
    let mut headers = HeaderList::with_capacity(5);
    if draft {
        let shown = standings.iter().filter(|standing| standing.refuses == tightest.refuses);
        headers.push("ratelimit-policy", list(standings.iter(), policy));
        headers.push("ratelimit", list(shown, state));
    }
    if x_rate_limit {
        headers.push("x-ratelimit-limit", tightest.limit.max().to_string());
        headers.push("x-ratelimit-remaining", tightest.remaining.to_string());
        if let Some(reset) = tightest.reset {
            headers.push("x-ratelimit-reset", seconds(reset).to_string());
        }
    }
    headers
}

/// Whether a rate-limit header is a list: the service's own limits then stay in the list beside ours. Adding
/// a line also costs less than replacing those that may be there.
pub fn is_list(name: &str) -> bool {
    matches!(name, "ratelimit" | "ratelimit-policy")
}

fn list<'a>(standings: impl Iterator<Item = &'a Standing>, item: fn(&Standing, &mut String)) -> String {
    // Enough for three limits with long names.
    let mut value = String::with_capacity(160);
    for standing in standings {
        if !value.is_empty() {
            value.push_str(", ");
        }
        item(standing, &mut value);
    }
    value
}

fn policy(standing: &Standing, value: &mut String) {
    value.push_str(standing.limit.shown());
    if let Some(window) = standing.window().filter(|_| standing.limit.window().length().is_none()) {
        parameter(value, ";w=", seconds(window));
    }
}

fn state(standing: &Standing, value: &mut String) {
    value.push_str(standing.limit.quoted_name());
    parameter(value, ";r=", standing.remaining);
    if let Some(reset) = standing.reset {
        parameter(value, ";t=", seconds(reset));
    }
}

#[inline]
fn parameter(value: &mut String, name: &str, number: u64) {
    value.push_str(name);
    value.push_str(itoa::Buffer::new().format(number.min(INTEGER_MAX)));
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::{
        super::{Demand, Denial, Denied, Limit, MeterId, Meters, Receipt, Shape, Window, charge},
        *,
    };
    use crate::{
        credential::Digest,
        matching::{Metrics, Usage},
        ports::Ports,
        store::Memory,
        time::Timestamp,
    };

    /// The standings of a subject with these limits on hits in the middle of a second, request after request.
    fn standings(limits: &[(u64, Window, &'static str)], by: u64, requests: usize) -> Vec<Vec<Standing>> {
        let metrics = Metrics::new(&[("hits", None)]).unwrap();
        let limit = |(max, window, label): &(u64, Window, &'static str)| {
            let limit = Limit::new(&metrics, "hits", *max, *window, Shape::Fixed).unwrap();
            if label.is_empty() { limit } else { limit.labelled(label) }
        };
        let limits: Vec<_> = limits.iter().map(limit).collect();
        let mut usage = Usage::new();
        usage.add(&metrics, metrics.find("hits").unwrap(), by);
        let meters = Meters::new(NonZeroU32::MIN, NonZeroU32::MIN);
        let ports = Ports::new(Memory::new());
        ports.set_now(Timestamp::from_millis(86_400_000 * 31 + 58_500));
        let demands = [Demand { meter: MeterId::Known(Digest::of(b"acme")), limits: &limits }];
        let charge = |_| match charge(&ports, &meters, &demands, &usage).map(Receipt::settle) {
            Ok(standings) => standings,
            Err(Denied { denial, standings }) => {
                assert_eq!(standings.is_empty(), denial == Denial::Never);
                standings
            }
        };
        (0..requests).map(charge).collect()
    }

    fn lines(style: HeaderStyle, standings: &[Standing]) -> Vec<String> {
        headers(style, standings).iter().map(|(name, value)| format!("{name}: {value}")).collect()
    }

    #[test]
    fn an_admitted_caller_sees_every_limit_and_the_tightest() {
        let limits = [(5, Window::Minute, ""), (9, Window::Month, "api"), (3, Window::Eternity, "")];
        let standings = standings(&limits, 1, 1);
        assert_eq!(
            lines(HeaderStyle::Both, &standings[0]),
            [
                "ratelimit-policy: \"hits-minute\";q=5;w=60, \"api-hits-month\";q=9;w=2419200, \"hits-eternity\";q=3",
                "ratelimit: \"hits-minute\";r=4;t=2, \"api-hits-month\";r=8;t=2419142, \"hits-eternity\";r=2",
                "x-ratelimit-limit: 3",
                "x-ratelimit-remaining: 2",
            ]
        );
    }

    #[test]
    fn a_refused_caller_sees_when_the_refusing_limits_reset() {
        let standings =
            standings(&[(1, Window::Second, ""), (2, Window::Minute, ""), (2, Window::Day, "")], 1, 2);
        assert_eq!(
            lines(HeaderStyle::Both, &standings[1]),
            [
                "ratelimit-policy: \"hits-second\";q=1;w=1, \"hits-minute\";q=2;w=60, \"hits-day\";q=2;w=86400",
                "ratelimit: \"hits-second\";r=0;t=1",
                "x-ratelimit-limit: 1",
                "x-ratelimit-remaining: 0",
                "x-ratelimit-reset: 1",
            ]
        );
    }

    #[test]
    fn the_style_selects_the_headers() {
        let standings = standings(&[(u64::MAX, Window::Minute, "")], 1, 1);
        let standings = &standings[0];
        assert_eq!(
            lines(HeaderStyle::Draft, standings),
            [
                "ratelimit-policy: \"hits-minute\";q=999999999999999;w=60",
                "ratelimit: \"hits-minute\";r=999999999999999;t=2"
            ],
            "structured fields hold 15 digits"
        );
        assert_eq!(
            lines(HeaderStyle::XRateLimit, standings),
            [
                "x-ratelimit-limit: 18446744073709551615",
                "x-ratelimit-remaining: 18446744073709551614",
                "x-ratelimit-reset: 2"
            ]
        );
        assert_eq!(headers(HeaderStyle::None, standings), HeaderList::new());
        let names = [HeaderStyle::Draft, HeaderStyle::XRateLimit, HeaderStyle::Both, HeaderStyle::None];
        assert_eq!(serde_json::to_string(&names).unwrap(), r#"["draft","x_ratelimit","both","none"]"#);
    }

    #[test]
    fn without_limits_there_are_no_headers() {
        assert!(headers(HeaderStyle::Both, &standings(&[], 1, 1)[0]).is_empty());
        assert!(headers(HeaderStyle::Both, &standings(&[(1, Window::Second, "")], 2, 1)[0]).is_empty());
    }
}
