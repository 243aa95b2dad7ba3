//! Log lines: the trail rendered as text, with a limit on how often.
//!
//! A refusal caused by the caller is one line at info. A fault of Sidegate, an operator or a dependency is a
//! line at warning, because Istio's default level hides info. For warnings, each code gets a few lines per
//! second, and the next line says how many were left out.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
};

use super::host::TelemetryHost;
use crate::{
    gate::Trail,
    policy::{Policy, Provider},
    ports::{QuotaAlert, Report},
    provider::{CallOutcome, CallRecord},
    quota::remote::Fallen,
    refusal::{Blame, Cause, Code, Refusal},
    time::Timestamp,
};

/// The most warnings per code and second.
const MOST_WARNINGS: u32 = 10;

/// The log of one worker.
#[derive(Default)]
pub struct Log {
    warnings: RefCell<BTreeMap<Topic, Written>>,
    info: Cell<Option<Asked>>,
}

/// What a warning is about. Each has a limit of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Topic {
    /// A refusal with this code.
    Refusal(Code),
    /// A limit that is nearly used up.
    QuotaAlert,
}

/// What happened to a request, as the log says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// The request was refused.
    Refused,
    /// The request would have been refused without shadow mode.
    WouldRefuse,
}

/// Whether the host writes lines at info, as it said in this second. It is asked once per second, because
/// that costs as much as another counter.
#[derive(Clone, Copy)]
struct Asked {
    second: u64,
    writes: bool,
}

/// The lines of one code in the current second.
#[derive(Default)]
struct Written {
    second: u64,
    lines: u32,
    left_out: u32,
}

impl Log {
    /// Writes the line for a refusal, unless too many lines have the same code. Only a line that is written
    /// asks for the `correlation` id.
    pub fn refusal<'c>(
        &self,
        host: &impl TelemetryHost,
        now: Timestamp,
        trail: &Trail,
        verb: Verb,
        refusal: &Refusal,
        correlation: impl FnOnce() -> &'c str,
    ) {
        let row = refusal.cause.row();
        let (level, left_out) = match row.blame {
            Blame::Caller if self.writes_info(host, now) => (log::Level::Info, 0),
            Blame::Caller => return,
            Blame::Us | Blame::Operator | Blame::Dependency => {
                match self.admit(Topic::Refusal(row.code), now) {
                    Some(left_out) => (log::Level::Warn, left_out),
                    None => return,
                }
            }
        };
        let verb = match verb {
            Verb::Refused => "refused",
            Verb::WouldRefuse => "would refuse",
        };
        let (api, rule) = (trail.api().unwrap_or("-"), trail.rule().unwrap_or("-"));
        let consumer = trail.consumer().unwrap_or("-");
        let (key_label, key) = trail.key().map_or(("", ""), |key| (" key=", key));
        let mut line = [
            verb,
            " code=",
            row.code.digits(),
            " api=",
            api,
            " rule=",
            rule,
            " consumer=",
            consumer,
            key_label,
            key,
            " id=",
            correlation(),
            " reason=\"",
            refusal.reason.as_str(),
            "\"",
        ]
        .concat();
        if left_out > 0 {
            line.push_str(&format!(" left_out={left_out}"));
        }
        host.log(level, &line);
    }

    /// Writes a line for each rate limit service that did not count a request which passed, as often as for
    /// the refusals that other settings would make of them.
    pub fn fallen(&self, host: &impl TelemetryHost, now: Timestamp, trail: &Trail) {
        for Fallen { provider, fault } in &trail.fallen {
            let code = Cause::QuotaUnavailable { retry_after: None }.code();
            let Some(left_out) = self.admit(Topic::Refusal(code), now) else { continue };
            let provider = trail.policy.providers.get(*provider).map_or("-", Provider::name);
            let api = trail.api().unwrap_or("-");
            let mut line = format!("not counted provider={provider} api={api} reason=\"{fault}\"");
            if left_out > 0 {
                line.push_str(&format!(" left_out={left_out}"));
            }
            host.log(log::Level::Warn, &line);
        }
    }

    /// Writes a line for what operators should know of background work. A task that could not do its work
    /// says so once in its period.
    pub fn report(&self, host: &impl TelemetryHost, now: Timestamp, policy: &Policy, report: &Report) {
        match report {
            Report::Usage { provider, call: CallRecord { outcome: CallOutcome::Fault(fault), .. } } => {
                let provider = policy.providers.get(*provider).map_or("-", Provider::name);
                let line = format!("usage not reported provider={provider} reason=\"{fault}\"");
                host.log(log::Level::Warn, &line);
            }
            Report::Alert(alert) => self.alert(host, now, policy, alert),
            Report::Call { .. } | Report::Usage { .. } | Report::Unreported { .. } => {}
        }
    }

    fn writes_info(&self, host: &impl TelemetryHost, now: Timestamp) -> bool {
        let second = now.seconds();
        let asked = match self.info.get() {
            Some(asked) if asked.second == second => asked,
            _ => Asked { second, writes: host.logs(log::Level::Info) },
        };
        self.info.set(Some(asked));
        asked.writes
    }

    /// Writes a line for a limit that is nearly used up, unless there are too many. Rates may be used up all
    /// the time, so their line is at info.
    pub fn alert(&self, host: &impl TelemetryHost, now: Timestamp, policy: &Policy, alert: &QuotaAlert) {
        let QuotaAlert { api, consumer, limit, max, is_rate } = alert;
        let (level, left_out) = if *is_rate {
            let is_written = self.writes_info(host, now);
            (log::Level::Info, is_written.then_some(0))
        } else {
            (log::Level::Warn, self.admit(Topic::QuotaAlert, now))
        };
        let (Some(left_out), Some(percent)) = (left_out, policy.quota_alert_at) else { return };
        let api = api.and_then(|api| policy.api(api)).map_or("-", |api| &api.name);
        let consumer = consumer.and_then(|consumer| policy.consumers.get(consumer));
        let consumer = consumer.map_or("-", |consumer| consumer.name);
        let mut line =
            format!("quota alert limit={limit} max={max} at={percent}% api={api} consumer={consumer}");
        if left_out > 0 {
            line.push_str(&format!(" left_out={left_out}"));
        }
        host.log(level, &line);
    }

    /// How many lines were left out before this one; `None` if this one is left out too.
    fn admit(&self, topic: Topic, now: Timestamp) -> Option<u32> {
        let mut written = self.warnings.borrow_mut();
        let written = written.entry(topic).or_default();
        if written.second != now.seconds() {
            *written = Written { second: now.seconds(), lines: 0, left_out: written.left_out };
        }
        if written.lines >= MOST_WARNINGS {
            written.left_out = written.left_out.saturating_add(1);
            return None;
        }
        written.lines = written.lines.saturating_add(1);
        Some(std::mem::take(&mut written.left_out))
    }
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::shell::host::{MeasureId, MeasureKind};

    /// A host that writes lines at info or not, and counts how often it is asked.
    #[derive(Default)]
    struct Host {
        writes: Cell<bool>,
        asked: Cell<u32>,
    }

    impl TelemetryHost for Host {
        fn define(&self, _: MeasureKind, _: &str) -> Option<MeasureId> {
            None
        }

        fn count(&self, _: MeasureId, _: u64) {}

        fn record(&self, _: MeasureId, _: u64) {}

        fn logs(&self, _: log::Level) -> bool {
            self.asked.set(self.asked.get().saturating_add(1));
            self.writes.get()
        }

        fn log(&self, _: log::Level, _: &str) {}
    }

    #[test]
    fn the_host_is_asked_for_its_level_once_per_second() {
        let (log, host) = (Log::default(), Host::default());
        let writes = |millis| log.writes_info(&host, Timestamp::from_millis(millis));
        assert_eq!([writes(7_000), writes(7_999)], [false, false]);
        host.writes.set(true);
        assert!(!writes(7_999));
        assert_eq!(host.asked.get(), 1);
        assert!(writes(8_000) && writes(8_001));
        assert_eq!(host.asked.get(), 2);
    }

    #[test]
    fn warnings_are_limited_per_code_and_the_next_line_counts_those_left_out() {
        let log = Log::default();
        let admit = |code, second| log.admit(Topic::Refusal(code), Timestamp::from_seconds(second));
        let (one, other) = (Cause::ClusterUnknown.code(), Cause::NoHealthyHost.code());
        for _ in 0..MOST_WARNINGS {
            assert_eq!(admit(one, 7), Some(0));
        }
        assert_eq!([admit(one, 7), admit(one, 7)], [None, None]);
        assert_eq!(admit(other, 7), Some(0));
        assert_eq!([admit(one, 8), admit(one, 8)], [Some(2), Some(0)]);
    }
}
