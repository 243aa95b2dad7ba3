//! A rate limit service with the engine of Limitador: its crate reads the limits, evaluates their conditions
//! and variables, counts in memory, and writes the headers. Limitador's own server is not published as a
//! package. What is around the engine there is written anew here: the gRPC method, and what conditions see of
//! a call.
//!
//! `sidegate-limitador LIMITS.yaml` prints its address, and serves until it is killed.

use std::{collections::HashMap, error::Error};

use limitador::{
    RateLimiter,
    limit::{Context, Limit, Namespace},
};
use prost::Message as _;
use sidegate_harness::{
    GrpcAnswer, GrpcServer,
    rls::{Entry, OK, OVER_LIMIT, RateLimitRequest, RateLimitResponse},
};

/// How many counters it keeps.
const COUNTERS: u64 = 100_000;

/// The code of an answer to a call without a domain.
const UNKNOWN: i32 = 0;

/// gRPC status codes.
const INVALID_ARGUMENT: u32 = 3;
const UNAVAILABLE: u32 = 14;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::args().nth(1).ok_or("usage: sidegate-limitador LIMITS.yaml")?;
    let limits: Vec<Limit> = serde_norway::from_str(&std::fs::read_to_string(file)?)?;
    let engine = RateLimiter::new(COUNTERS);
    engine.configure_with(limits)?;
    let server = GrpcServer::start(GrpcAnswer::computed(move |message| answer(&engine, message))).await;
    println!("{}", server.address());
    std::future::pending().await
}

/// Counts what a call says.
fn answer(engine: &RateLimiter, message: &[u8]) -> GrpcAnswer {
    let Ok(request) = RateLimitRequest::decode(message) else { return GrpcAnswer::Status(INVALID_ARGUMENT) };
    let namespace = Namespace::from(request.domain);
    let response = if namespace.as_ref().is_empty() {
        RateLimitResponse { overall_code: UNKNOWN, ..Default::default() }
    } else {
        let of = |entries: Vec<Entry>| entries.into_iter().map(|entry| (entry.key, entry.value)).collect();
        let descriptors: Vec<HashMap<String, String>> =
            request.descriptors.into_iter().map(|descriptor| of(descriptor.entries)).collect();
        let mut context = Context::default();
        context.list_binding("descriptors".to_owned(), descriptors);
        let hits = u64::from(request.hits_addend.max(1));
        let Ok(mut counted) = engine.check_rate_limited_and_update(&namespace, &context, hits) else {
            return GrpcAnswer::Status(UNAVAILABLE);
        };
        let header = |(key, value)| Entry { key, value };
        RateLimitResponse {
            overall_code: if counted.limited { OVER_LIMIT } else { OK },
            response_headers_to_add: counted.response_header().into_iter().map(header).collect(),
            ..Default::default()
        }
    };
    GrpcAnswer::Message(response.encode_to_vec())
}
