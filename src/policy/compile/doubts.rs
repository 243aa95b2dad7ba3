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

/// Methods that no client sends.
pub(super) fn methods(names: &[String], path: &dyn Fn() -> String, report: &mut Diagnostics) {
    for name in names.iter().filter(|name| !METHODS.contains(&name.as_str())) {
        let upper = name.to_ascii_uppercase();
        if METHODS.contains(&upper.as_str()) {
            let message = format!("`{name}` is not `{upper}`, which clients send: methods compare exactly");
            report.warn(path, message);
        } else {
            report.warn(path, format!("`{name}` is not a known method"));
        }
    }
}

/// Parameters as other routers write them.
pub(super) fn template(text: &str, path: &dyn Fn() -> String, report: &mut Diagnostics) {
    let names = text.split('/').filter_map(|segment| segment.strip_prefix(':'));
    for name in names.filter(|name| !name.is_empty()) {
        report.warn(path, format!("`:{name}` is taken literally: a parameter is written `{{{name}}}`"));
    }
}

/// Entries of a list of which the first that matches decides, if an earlier one matches all of their paths.
pub(super) fn hidden(patterns: &[PathPattern], path: &dyn Fn(usize) -> String, report: &mut Diagnostics) {
    if patterns.len() > MOST_COMPARED {
        return;
    }
    for (place, pattern) in patterns.iter().enumerate() {
        let mut earlier = patterns.iter().take(place);
        // An entry with the same path is an error.
        if let Some(hiding) = earlier.position(|earlier| earlier != pattern && earlier.covers_all_of(pattern))
        {
            let message = format!("is never reached: `{}` has all of its paths", path(hiding));
            report.warn(|| path(place), message);
        }
    }
}

/// Rules of a table that no request reaches.
pub(super) fn unreached(table: &RuleTable, path: &dyn Fn(usize) -> String, report: &mut Diagnostics) {
    for rule in table.unreached() {
        report.warn(|| path(rule), "is never reached: other rules have all of its paths, and precede it");
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
