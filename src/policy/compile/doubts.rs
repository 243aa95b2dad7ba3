//! Doubts: what means something, but probably not what its author meant. Policies load in spite of it.

use super::Diagnostics;
use crate::matching::{PathPattern, RuleTable};

/// Methods that are registered with IANA (RFC 9110 section 16.1).
const METHODS: [&str; 39] = [
    "ACL",
    "BASELINE-CONTROL",
    "BIND",
    "CHECKIN",
    "CHECKOUT",
    "CONNECT",
    "COPY",
    "DELETE",
    "GET",
    "HEAD",
    "LABEL",
    "LINK",
    "LOCK",
    "MERGE",
    "MKACTIVITY",
    "MKCALENDAR",
    "MKCOL",
    "MKREDIRECTREF",
    "MKWORKSPACE",
    "MOVE",
    "OPTIONS",
    "ORDERPATCH",
    "PATCH",
    "POST",
    "PROPFIND",
    "PROPPATCH",
    "PUT",
    "QUERY",
    "REBIND",
    "REPORT",
    "SEARCH",
    "TRACE",
    "UNBIND",
    "UNCHECKOUT",
    "UNLINK",
    "UNLOCK",
    "UPDATE",
    "UPDATEREDIRECTREF",
    "VERSION-CONTROL",
];

/// Longer lists of paths are not searched for entries that hide others.
const MOST_COMPARED: usize = 100;

/// What to say about methods that no client sends.
pub(super) fn methods(names: &[String]) -> Vec<String> {
    let unknown = names.iter().filter(|name| !METHODS.contains(&name.as_str()));
    let message = |name: &String| {
        let upper = name.to_ascii_uppercase();
        if METHODS.contains(&upper.as_str()) {
            format!("`{name}` is not `{upper}`, which clients send: methods compare exactly")
        } else {
            format!("`{name}` is not a known method")
        }
    };
    unknown.map(message).collect()
}

/// Parameters as other routers write them.
pub(super) fn template(text: &str, path: &dyn Fn() -> String, report: &mut Diagnostics) {
    let names = text.split('/').filter_map(|segment| segment.strip_prefix(':'));
    for name in names.filter(|name| !name.is_empty()) {
        report.warn(path, format!("`:{name}` is taken literally: a parameter is written `{{{name}}}`"));
    }
}

/// Entries of the list `paths` at `list` of which the first that matches decides, if an earlier one matches
/// all of their paths. `index` gives their indexes in the list.
pub(super) fn hidden(
    patterns: &[PathPattern],
    list: &str,
    index: &dyn Fn(usize) -> usize,
    report: &mut Diagnostics,
) {
    if patterns.len() > MOST_COMPARED {
        return;
    }
    for (place, pattern) in patterns.iter().enumerate() {
        let mut earlier = patterns.iter().take(place);
        // An entry with the same path is an error.
        if let Some(hiding) = earlier.position(|earlier| earlier != pattern && earlier.covers_all_of(pattern))
        {
            let message = format!("is never reached: `paths[{}]` has all of its paths", index(hiding));
            let path = || format!("{list}[{}]", index(place));
            report.warn_resting_on(path, message, || vec![list.to_owned()]);
        }
    }
}

/// Rules of the list at `list` that no request reaches. `index` gives their indexes in the list.
pub(super) fn unreached(
    table: &RuleTable,
    list: &str,
    index: &dyn Fn(usize) -> usize,
    report: &mut Diagnostics,
) {
    for rule in table.unreached() {
        let path = || format!("{list}[{}]", index(rule));
        let message = "is never reached: other rules have all of its paths, and precede it";
        report.warn_resting_on(path, message, || vec![list.to_owned()]);
    }
}

/// A name that no cluster has in a mesh: one of Istio's own with a fault, or that of a service.
pub(super) fn cluster(name: &str, path: &dyn Fn() -> String, report: &mut Diagnostics) {
    let form = "in Istio, the cluster of a service is called `outbound|PORT||HOST`";
    if name.contains('|') {
        let mut parts = name.split('|');
        let (direction, port, _subset, host) = (parts.next(), parts.next(), parts.next(), parts.next());
        let has_port = port.is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
        let has_host = host.is_some_and(|host| host.contains('.') && !host.contains(':'));
        if direction != Some("outbound") || !has_port || !has_host || parts.next().is_some() {
            report.warn(path, format!("`{name}` is not the name of a cluster in Istio: {form}"));
        }
    } else if name.contains("://") || name.ends_with(".svc") || name.contains(".svc.") {
        report.warn(path, format!("`{name}` is not the name of a cluster: {form}"));
    }
}

/// A secret that looks like a reference to one. The message must not hold it.
pub(super) fn secret(text: &str, path: &str, report: &mut Diagnostics) {
    let name =
        text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')).or_else(|| text.strip_prefix('$'));
    let is_name = |name: &str| {
        name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    if name.is_some_and(is_name) {
        let message = "begins with `$` and is taken literally: a variable is written `{env: NAME}`";
        report.warn(|| path.to_owned(), message);
    }
}
