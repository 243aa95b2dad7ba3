//! What Sidegate answers about the caller's own limits.

use serde::Serialize;

use crate::{
    headers::HeaderList,
    matching::Metrics,
    quota::Standing,
    reply::{GrpcStatus, Reply},
};

/// The caller's limits as JSON.
#[derive(Serialize)]
struct Limits<'a> {
    limits: Vec<Limit<'a>>,
}

#[derive(Serialize)]
struct Limit<'a> {
    limit: &'a str,
    metric: &'a str,
    per: &'a str,
    max: u64,
    used: u64,
    remaining: u64,
    /// Seconds until the window ends; `null` for `eternity`.
    reset: Option<u64>,
}

/// The reply about the limits of a caller.
pub(super) fn report(metrics: &Metrics, standings: &[Standing]) -> Reply {
    let limits = standings.iter().map(|standing| Limit {
        limit: standing.limit.name(),
        metric: metrics.name(standing.limit.metric()),
        per: standing.limit.window().name(),
        max: standing.limit.max(),
        used: standing.used(),
        remaining: standing.remaining,
        reset: standing.reset_seconds(),
    });
    let body = serde_json::to_string(&Limits { limits: limits.collect() }).unwrap_or_default();
    Reply {
        status: 200,
        grpc: GrpcStatus { code: 0, message: "".into() },
        headers: HeaderList::from([("content-type", "application/json"), ("cache-control", "no-store")]),
        body: body.into(),
        details: "sidegate_usage",
    }
}
