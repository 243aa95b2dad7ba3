//! Which API, which rule and which metering rules a request is for. Pure computation on tables built at load.
//!
//! ```text
//! :path ──normalise──▶ RequestPath ─┐                                      ┌─▶ RuleTable::find ───▶ one rule, 405 or 404
//!                                   ├─ ApiTable::find ─▶ API, path inside ─┤
//! :authority ──────────host_of──────┘                                      └─▶ Metering::matching ▶ all that count
//! ```
//!
//! * **Once.** The path is normalised before anything is decided, and forwarded as it was decided on. What servers read
//!   in different ways (`%2F`, `\`, `..;`, …) is a [`MalformedTarget`]. A path has one spelling, and patterns are
//!   brought into the same one at load, so matching compares bytes.
//! * **Host, then base path.** The exact host before the longest wildcard before APIs for any host; once chosen, there
//!   is no falling back to a wider one. Then the longest base path of whole segments.
//! * **Path, then method.** The most specific path decides: segment by segment from the left, a literal before
//!   `{parameter}` before `/**`; regular expressions after all templates, in list order. Among the rules with that path,
//!   one that names the method comes before one for all methods; `GET` covers `HEAD` where no rule with that path names
//!   it. A method without rule is a 405, never left to a less specific path.
//! * **No accident of order.** Two rules for the same requests with neither more specific are an [`Overlap`], two APIs
//!   an [`ApiConflict`]; both are errors at load.
//! * **One trailing slash** is ignored in matching. Only a prefix that ends in a slash wants it, as in 3scale.
//! * **Metering is apart.** All rules that match add up, in order, until one says it is the last.
//! * **Bounded.** A request visits each node of a table at most once and each expression at most once, in time linear in
//!   its path. A clean request is matched without allocation unless expressions are reached.

mod api;
mod host;
mod metering;
mod methods;
mod path;
mod pattern;
mod prefix;
mod rules;
mod template;

pub use api::{ApiConflict, ApiMatch, ApiTable, BasePath};
pub use host::{HostPattern, InvalidHost, host_of};
pub use metering::{Metering, MeteringPath, MeteringRule, QueryValue};
pub use methods::{InvalidMethods, Methods};
pub use path::{MalformedTarget, RequestPath, Target, normalise};
pub use pattern::{InvalidPath, PathPattern};
pub use prefix::PrefixPattern;
pub use rules::{Found, Overlap, RuleMatch, RuleTable};

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn no_path_trick_leads_to_a_wider_rule() {
        let apis = ApiTable::build([([].as_slice(), &BasePath::parse("/v1").unwrap())]).unwrap();
        let rule = |path| RuleMatch { path: PathPattern::template(path).unwrap(), methods: Methods::ALL };
        let rules = RuleTable::build(vec![rule("/admin/**"), rule("/**")]).unwrap();
        let find = |target| match normalise(target) {
            Ok(Target::Path(path)) => apis.find("", &path).map(|found| rules.find(found.inside, "GET")),
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
