//! The stand-in's answers as HTTP: XML and the headers of the extensions.

use std::fmt::Write as _;

use http_body_util::Full;
use jiff::Timestamp;

use super::{
    account::{Counted, Period, Service},
    checks::{Raised, Status, limits},
    parameters::Parameters,
};
use crate::server::Reply;

const XML: &str = "application/vnd.3scale-v2.0+xml";
const DECLARATION: &str = r#"<?xml version="1.0" encoding="UTF-8"?>"#;

/// The extensions that a call asks for in the header `3scale-options`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Options {
    pub(super) no_body: bool,
    pub(super) rejection_reason: bool,
    pub(super) limit_headers: bool,
    pub(super) hierarchy: bool,
    pub(super) flat_usage: bool,
    pub(super) list_app_keys: bool,
}

impl Options {
    pub(super) fn parse(header: &[u8]) -> Self {
        let options = Parameters::parse(header).unwrap_or_default();
        let is_on = |name| options.get(name) == Some("1");
        Self {
            no_body: is_on("no_body"),
            rejection_reason: is_on("rejection_reason_header"),
            limit_headers: is_on("limit_headers"),
            hierarchy: is_on("hierarchy"),
            flat_usage: is_on("flat_usage"),
            list_app_keys: is_on("list_app_keys"),
        }
    }
}

/// A raised error.
pub(super) fn error(raised: &Raised, options: Options) -> Reply {
    let Raised { status, code, message } = raised;
    let body = match options.no_body || code.is_empty() {
        true => String::new(),
        false => format!(r#"{DECLARATION}<error code="{code}">{}</error>"#, escaped(message)),
    };
    whole(*status, &[], body)
}

/// A reply without a body.
pub(super) fn empty(status: u16) -> Reply {
    whole(status, &[], String::new())
}

/// Whether the usage of this call is in the counts already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Authorize,
    AuthRep,
}

/// The answer to an authorization.
pub(super) fn status(
    service: &Service,
    status: &Status<'_>,
    counted: &Counted,
    (options, call, is_oauth): (Options, Call, bool),
    now: Timestamp,
) -> Reply {
    let includes = call == Call::AuthRep && status.rejected.is_none();
    let current = |metric: &str, period| {
        let counted = counted.current(&status.application.id, metric, period, now);
        let own = status.usage.get(metric).copied().unwrap_or_default();
        // The count of this call is on its way through the queue.
        if includes { counted + own } else { counted }
    };
    let mut headers = Vec::new();
    if let Some((code, _)) = status.rejected.as_ref().filter(|_| options.rejection_reason) {
        headers.push(("3scale-rejection-reason", (*code).to_owned()));
    }
    let exceeded = status.rejected.as_ref().is_none_or(|(code, _)| *code == "limits_exceeded");
    if options.limit_headers && exceeded {
        headers.extend(limit_headers(service, status, &current, now));
    }
    let code = if status.rejected.is_some() { 409 } else { 200 };
    let body = match options.no_body {
        true => String::new(),
        false => xml(service, status, &current, (options, is_oauth), now),
    };
    whole(code, &headers, body)
}

fn limit_headers(
    service: &Service,
    status: &Status<'_>,
    current: &dyn Fn(&str, Period) -> u64,
    now: Timestamp,
) -> Vec<(&'static str, String)> {
    let applicable = limits(service, status.application).filter_map(|(metric, period, max)| {
        let amount = status.usage.get(metric).copied().unwrap_or_default();
        if status.has_usage && amount == 0 {
            return None;
        }
        let room = max.saturating_sub(current(metric, *period));
        let calls = room.checked_div(amount).map_or(-1, |calls| i64::try_from(calls).unwrap_or(i64::MAX));
        Some((calls, std::cmp::Reverse(*period), *max))
    });
    let Some((remaining, period, max)) = applicable.min() else {
        return vec![("3scale-limit-remaining", "-1".to_owned()), ("3scale-limit-reset", "-1".to_owned())];
    };
    let reset = period.0.window(now).map_or(-1, |(_, end)| {
        let left = end.as_millisecond().saturating_sub(now.as_millisecond());
        left.saturating_add(999) / 1000
    });
    vec![
        ("3scale-limit-remaining", remaining.to_string()),
        ("3scale-limit-reset", reset.to_string()),
        ("3scale-limit-max-value", max.to_string()),
    ]
}

fn xml(
    service: &Service,
    status: &Status<'_>,
    current: &dyn Fn(&str, Period) -> u64,
    (options, is_oauth): (Options, bool),
    now: Timestamp,
) -> String {
    let mut xml = format!("{DECLARATION}<status><authorized>{}</authorized>", status.rejected.is_none());
    if let Some((_, reason)) = &status.rejected {
        // As in the real backend, the reason is not escaped.
        let _ = write!(xml, "<reason>{reason}</reason>");
    }
    let application = status.application;
    if is_oauth {
        let key = application.keys.first().map_or("", String::as_str);
        let _ = write!(xml, "<application><id>{}</id><key>{key}</key></application>", application.id);
    }
    let _ = write!(xml, "<plan>{}</plan>", escaped(&application.plan));
    let mut limits = limits(service, application).peekable();
    if limits.peek().is_some() {
        xml.push_str("<usage_reports>");
        for (metric, period, max) in limits {
            let value = current(metric, *period);
            let exceeded = if value > *max { r#" exceeded="true""# } else { "" };
            let name = period.name();
            let _ = write!(xml, r#"<usage_report metric="{metric}" period="{name}"{exceeded}>"#);
            if let Some((start, end)) = period.window(now) {
                let (start, end) = (moment(start), moment(end));
                let _ = write!(xml, "<period_start>{start}</period_start><period_end>{end}</period_end>");
            }
            let _ = write!(xml, "<max_value>{max}</max_value><current_value>{value}</current_value>");
            xml.push_str("</usage_report>");
        }
        xml.push_str("</usage_reports>");
    }
    if options.list_app_keys {
        let _ = write!(xml, r#"<app_keys app="{}" svc="{}">"#, application.id, service.id);
        for key in &application.keys {
            let _ = write!(xml, r#"<key id="{key}"/>"#);
        }
        xml.push_str("</app_keys>");
    }
    if options.hierarchy {
        xml.push_str("<hierarchy>");
        for (name, _) in &service.metrics {
            let below = service.metrics.iter().filter(|(_, parent)| parent.as_ref() == Some(name));
            let below: Vec<_> = below.map(|(child, _)| child.as_str()).collect();
            if !below.is_empty() {
                let _ = write!(xml, r#"<metric name="{name}" children="{}"/>"#, below.join(" "));
            }
        }
        xml.push_str("</hierarchy>");
    }
    xml.push_str("</status>");
    xml
}

fn moment(moment: Timestamp) -> String {
    moment.strftime("%Y-%m-%d %H:%M:%S +0000").to_string()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A reply of the backend's content type.
pub(super) fn whole(status: u16, headers: &[(&str, String)], body: String) -> Reply {
    let answer = hyper::Response::builder().status(status).header("content-type", XML);
    let answer = headers.iter().fold(answer, |answer, (name, value)| answer.header(*name, value));
    Reply::Whole(answer.body(Full::from(body)).expect("valid headers"))
}
