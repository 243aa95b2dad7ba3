//! Finds the API, the rule and the metering rules for a request. Pure computation on tables built at load.
//!
//! ```text
//! :path ──normalise─▶ RequestPath ─┐                                  ┌▶ RuleTable::find ─▶ rule, 405, 404
//!                                  ├ ApiTable::find ─▶ API, path in it┤
//! :authority ──────────host_of─────┘                                  └▶ Metering::matching ─▶ all matches
//! ```
//!
//! * **Normalised once.** The path is normalised before any decision, and the same path is forwarded. Input
//!   that servers interpret differently (`%2F`, `\`, `..;`, …) is a [`MalformedTarget`]. A normalised path
//!   has only one spelling. Patterns are normalised too when they are loaded, so matching compares bytes.
//! * **Host, then base path.** A host that servers interpret differently is a [`MalformedHost`]. The exact
//!   host comes before the longest wildcard, and that before APIs for any host. Once a host is chosen, wider
//!   ones are ignored. Then the longest base path of whole segments is chosen.
//! * **Path, then method.** The most specific path decides: segment by segment from the left, a literal
//!   before `{parameter}` before `/**`; regular expressions after all templates, in list order. Among the
//!   rules with that path, one that lists the method comes before one for all methods. `GET` covers `HEAD`
//!   unless a rule with that path lists `HEAD`. A method without a rule is a 405 and never falls through to a
//!   less specific path.
//! * **Order does not decide.** Two rules for the same requests are an [`Overlap`] if neither is more
//!   specific, and two APIs an [`ApiConflict`]. Both are errors at load. Only expressions may overlap; the
//!   first match wins.
//! * **A trailing slash** is ignored. Expressions are tried without it and with one. Only a prefix that ends
//!   in a slash requires it, as in 3scale.
//! * **Metering is separate.** All matching metering rules apply, in order, up to the first with `last`.
//! * **Bounded.** The path has a bounded length. All expressions of a list are compiled into at most four
//!   tables when the policy is loaded, and each table reads the path once, with one look-up per byte.
//!   Templates are trees or short lists. What would take longer than that is an error at load.

mod api;
mod automaton;
mod expressions;
mod host;
mod list;
mod metering;
mod methods;
mod parameters;
mod path;
mod pattern;
mod prefix;
mod rules;
mod template;
mod usage;

pub use api::{ApiConflict, ApiMatch, ApiTable, BasePath};
pub use expressions::{Effort, TooComplex};
pub use host::{HostPattern, InvalidHost, MalformedHost, host_of};
pub use list::PathList;
pub use metering::{Metering, MeteringPath, MeteringRule, QueryValue};
pub use methods::{InvalidMethods, Methods};
pub use parameters::Parameters;
pub use path::{MalformedTarget, RequestPath, Target, normalise, normalise_within};
pub use pattern::{InvalidPath, PathPattern};
pub use rules::{Found, InvalidRules, Overlap, RuleMatch, RuleTable};
pub use template::InsidePath;
pub use usage::{InvalidMetric, MetricId, Metrics, Usage};

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn no_spelling_of_a_path_reaches_a_wider_rule() {
        let apis = ApiTable::build([([].as_slice(), &BasePath::parse("/v1").unwrap())]).unwrap();
        let rule = |path| RuleMatch { path: PathPattern::template(path).unwrap(), methods: Methods::ALL };
        let rules = RuleTable::build(vec![rule("/admin/**"), rule("/**")], &Effort::default()).unwrap();
        let find = |target| match normalise(target) {
            Ok(Target::Path(path)) => {
                apis.find(None, &path).map(|found| rules.find(&found.inside.into(), "GET"))
            }
            Ok(Target::Asterisk) | Err(_) => None,
        };
        for target in [
            "/v1/admin/x",
            "/v1/admin",
            "/v1/admin/",
            "/v1//admin//x",
            "//v1/admin",
            "/v1/./admin/x",
            "/v1/public/../admin/x",
            "/v1/public/%2e%2e/admin/x",
            "/v1/public//..//admin",
            "/v1/%61dmin/x",
            "/x/../v1/admin/x",
            "/v1/admin/x?/../public",
        ] {
            assert_eq!(find(target), Some(Found::Rule(0)), "{target}");
        }
        for target in [
            "/v1/public/..%2fadmin/x",
            "/v1/public/..%5cadmin/x",
            "/v1/public\\..\\admin",
            "/v1/public/..;x/admin",
            "/v1/admin%00",
            "/v1/admin#/../public",
            "/v1/%ff/../admin",
            "/v1/../../v1/admin",
            "/v2/admin",
            "/V1/admin",
            "/v1%61/admin",
            "*",
        ] {
            assert_eq!(find(target), None, "{target}");
        }
        assert_eq!(find("/v1/admin/../public"), Some(Found::Rule(1)));
    }
}
