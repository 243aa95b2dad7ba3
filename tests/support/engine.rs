//! Rate limit services in a few lines, as envoyproxy/ratelimit and Limitador count.

#![allow(dead_code, reason = "each test uses some of it")]

use std::{cell::RefCell, collections::BTreeMap};

use prost::Message as _;
use sidegate::{
    provider::{Body, Call, CallResult, GrpcResponse, Response, Transport},
    quota::remote::{
        Descriptor, DescriptorStatus, KeyValue, OK, OVER_LIMIT, Override, RateLimitRequest, RateLimitResponse,
    },
    time::Timestamp,
};

/// envoyproxy/ratelimit on one Redis.
#[derive(Default)]
pub struct Envoyproxy {
    counters: RefCell<BTreeMap<String, u64>>,
}

/// Limitador, with a limit for everything that has a `max`.
#[derive(Default)]
pub struct Limitador {
    counters: RefCell<BTreeMap<String, (u64, Timestamp)>>,
}

/// The message of a call.
pub fn message(call: &Call) -> RateLimitRequest {
    let Transport::Grpc(request) = &call.transport else { panic!("not gRPC") };
    let method = (request.service, request.method);
    assert_eq!(method, ("envoy.service.ratelimit.v3.RateLimitService", "ShouldRateLimit"));
    RateLimitRequest::decode(&*request.message).expect("the message can be read")
}

/// A response with this message.
pub fn answered(response: &RateLimitResponse) -> CallResult {
    Ok(Response::Grpc(GrpcResponse { status: 0, body: Body::Whole(response.encode_to_vec()) }))
}

/// The end of a call with this gRPC status.
pub fn status(status: u32) -> CallResult {
    Ok(Response::Grpc(GrpcResponse { status, body: Body::Whole(Vec::new()) }))
}

/// The value of an entry of a descriptor.
pub fn value<'a>(descriptor: &'a Descriptor, key: &str) -> &'a str {
    let entry = descriptor.entries.iter().find(|entry| entry.key == key);
    entry.map_or("", |entry| &entry.value)
}

const fn code(admits: bool) -> i32 {
    if admits { OK } else { OVER_LIMIT }
}

impl Envoyproxy {
    /// Counts what the call says, and answers it.
    pub fn answer(&self, call: &Call, now: Timestamp) -> CallResult {
        let request = message(call);
        let statuses: Vec<_> =
            request.descriptors.iter().map(|descriptor| self.count(&request, descriptor, now)).collect();
        let admits = statuses.iter().all(|status| status.code == OK);
        answered(&RateLimitResponse {
            overall_code: code(admits),
            statuses,
            response_headers_to_add: Vec::new(),
        })
    }

    /// All that was counted.
    pub fn total(&self) -> u64 {
        self.counters.borrow().values().sum()
    }

    fn count(&self, request: &RateLimitRequest, descriptor: &Descriptor, now: Timestamp) -> DescriptorStatus {
        let limit = descriptor.limit.expect("the limit comes with the call");
        let hits = descriptor.hits_addend.unwrap_or(u64::from(request.hits_addend).max(1));
        let window = now.seconds() / length(limit) * length(limit);
        let key = format!("{}{:?}{window}", request.domain, descriptor.entries);
        let mut counters = self.counters.borrow_mut();
        let counter = counters.entry(key).or_default();
        *counter += hits;
        let remaining = u64::from(limit.requests_per_unit).checked_sub(*counter);
        let limit_remaining = remaining.map_or(0, |remaining| u32::try_from(remaining).unwrap_or(u32::MAX));
        DescriptorStatus { code: code(remaining.is_some()), current_limit: Some(limit), limit_remaining }
    }
}

fn length(limit: Override) -> u64 {
    match limit.unit {
        1 => 1,
        2 => 60,
        3 => 3600,
        4 => 86_400,
        5 => 30 * 86_400,
        6 => 365 * 86_400,
        unit => panic!("the service ends itself because of the unit {unit}"),
    }
}

impl Limitador {
    /// Counts what the call says, and answers it.
    pub fn answer(&self, call: &Call, now: Timestamp) -> CallResult {
        let request = message(call);
        let [descriptor] = &*request.descriptors else { panic!("it cannot say which of several refuses") };
        let max: u64 = value(descriptor, "max").parse().expect("it selects the limit");
        // Longer than any window of the tests.
        let expires = Timestamp::from_seconds(now.seconds() + 40 * 86_400);
        let mut counters = self.counters.borrow_mut();
        let counter = counters.entry(format!("{:?}", descriptor.entries)).or_insert((0, expires));
        if counter.1 <= now {
            *counter = (0, expires);
        }
        let after = counter.0 + u64::from(request.hits_addend.max(1));
        if after <= max {
            counter.0 = after;
        }
        let header = |key: &str, value: String| KeyValue { key: key.to_owned(), value };
        let response_headers_to_add = vec![
            header("X-RateLimit-Limit", format!("{max}, {max};w=3456000")),
            header("X-RateLimit-Remaining", max.saturating_sub(after).to_string()),
        ];
        answered(&RateLimitResponse {
            overall_code: code(after <= max),
            statuses: Vec::new(),
            response_headers_to_add,
        })
    }
}
