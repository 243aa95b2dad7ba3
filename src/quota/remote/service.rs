//! A rate limit service as compiled from the policy: how it is called, and what its answers mean.

use std::{collections::BTreeSet, time::Duration};

use prost::Message as _;

use super::{
    super::limit::Limit,
    engine::{Engine, Unit},
    lease::LeaseBounds,
    message::{
        Descriptor, KeyValue, METHOD, OK, OVER_LIMIT, Override, RateLimitRequest, RateLimitResponse, SERVICE,
    },
};
use crate::{
    credential::Digest,
    headers::HeaderList,
    provider::{
        Asker, Body, Call, CallResult, GrpcRequest, GrpcResponse, ProviderFault, Response, Sharing,
        Transport, Wanted,
    },
    quota::{MeterId, Span},
};

/// The longest answer that is read, in bytes.
const LONGEST_ANSWER: usize = 64 << 10;

/// The settings of one service.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The provider's name in the policy.
    pub name: String,
    /// The Envoy cluster of the service.
    pub cluster: String,
    /// Keeps our counters and those of other users of the service apart.
    pub domain: String,
    /// What kind of service it is.
    pub engine: Engine,
    /// How long to wait for an answer.
    pub timeout: Duration,
    /// What happens without a usable answer.
    pub fallback: Fallback,
    /// How long the service rests after a failure.
    pub cooldown: Duration,
    /// How large leases are; none if each request is a call.
    pub leases: Option<LeaseBounds>,
}

/// What happens to a request when the service gives no usable answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Fallback {
    /// It is refused.
    #[default]
    Deny,
    /// It passes if this Envoy alone has admitted less than the limit.
    Local,
    /// It passes.
    Allow,
    /// It passes if it is of one of these OAuth2 clients.
    AllowClients(BTreeSet<String>),
}

/// Why settings are invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidService {
    /// No cluster.
    #[error("the name of the cluster must not be empty")]
    EmptyCluster,
    /// No domain: services refuse that.
    #[error("the domain must not be empty")]
    EmptyDomain,
    /// The timeout is zero.
    #[error("the timeout must be longer than zero")]
    ZeroTimeout,
    /// The list of allowed clients is empty.
    #[error("the list of allowed clients must not be empty")]
    NoClients,
}

/// A rate limit service, ready to use.
#[derive(Clone, Debug)]
pub struct Service {
    settings: Settings,
    digest: Digest,
}

/// What to count in one window of one limit of one payer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Take<'a> {
    pub(super) limit: &'a Limit,
    pub(super) payer: MeterId,
    pub(super) span: Span,
    pub(super) amount: u64,
    /// Whether a part of it may be granted.
    pub(super) may_be_cut: bool,
}

/// What the service says about one limit after it counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Count {
    /// Whether the limit had room for what was to be counted, or for a part of it where that is enough.
    pub(super) admits: bool,
    /// How much of it there was room for.
    pub(super) granted: u64,
    /// How much it has left.
    pub(super) remaining: u64,
}

impl InvalidService {
    /// The attribute that is invalid, relative to the provider's settings in the policy document.
    pub const fn attribute(self) -> &'static str {
        match self {
            Self::EmptyCluster => "cluster",
            Self::EmptyDomain => "domain",
            Self::ZeroTimeout => "timeout",
            Self::NoClients => "unavailable.allow_clients",
        }
    }
}

impl Service {
    /// Checks `settings`.
    ///
    /// # Errors
    ///
    /// All problems in them.
    pub fn new(settings: Settings) -> Result<Self, Vec<InvalidService>> {
        let Settings { cluster, domain, timeout, fallback, .. } = &settings;
        let no_clients = matches!(fallback, Fallback::AllowClients(clients) if clients.is_empty());
        let faults: Vec<_> = [
            (cluster.is_empty(), InvalidService::EmptyCluster),
            (domain.is_empty(), InvalidService::EmptyDomain),
            (timeout.is_zero(), InvalidService::ZeroTimeout),
            (no_clients, InvalidService::NoClients),
        ]
        .into_iter()
        .filter_map(|(is_fault, fault)| is_fault.then_some(fault))
        .collect();
        if !faults.is_empty() {
            return Err(faults);
        }
        let digest = Digest::of_parts(&[b"rate limit service", cluster.as_bytes()]);
        Ok(Self { settings, digest })
    }

    /// The operator's settings.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The digest that identifies the service.
    pub const fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The call that counts `takes`, which are not more than the [engine](Engine) can do.
    pub(super) fn call(&self, takes: &[Take<'_>]) -> Call {
        let Settings { domain, engine, .. } = &self.settings;
        let hits_addend = match engine {
            // Each descriptor has its own.
            Engine::Envoy => 0,
            Engine::Limitador => takes.first().map_or(1, |take| number(take.amount)),
        };
        let descriptors = takes.iter().map(|take| self.descriptor(take)).collect();
        let request = RateLimitRequest { domain: domain.clone(), descriptors, hits_addend };
        let is_known = takes.iter().all(|take| matches!(take.payer, MeterId::Known(_)));
        Call {
            cluster: self.settings.cluster.clone(),
            transport: Transport::Grpc(GrpcRequest {
                service: SERVICE,
                method: METHOD,
                metadata: HeaderList::new(),
                message: request.encode_to_vec(),
            }),
            timeout: self.settings.timeout,
            wanted: Wanted { body: LONGEST_ANSWER, ..Wanted::default() },
            sharing: Sharing::Alone,
            asker: if is_known { Asker::Known } else { Asker::Stranger },
        }
    }

    fn descriptor(&self, take: &Take<'_>) -> Descriptor {
        let entry = |key: &str, value: String| KeyValue { key: key.to_owned(), value };
        let id = take.limit.across().map(|across| across.id.to_string()).unwrap_or_default();
        let (MeterId::Known(payer) | MeterId::Address(payer)) = take.payer;
        let payer = payer.bytes().first_chunk::<16>().map(hex::encode).unwrap_or_default();
        let max = entry("max", take.limit.max().to_string());
        let mut entries = vec![entry("limit", id)];
        let mut descriptor = Descriptor::default();
        match self.settings.engine {
            Engine::Envoy => {
                descriptor.limit = Some(limit_of(take));
                descriptor.hits_addend = Some(take.amount);
            }
            // Selects the limit in its configuration.
            Engine::Limitador => entries.push(max),
        }
        entries.push(entry("payer", payer));
        entries.push(entry("window", take.span.start.seconds().to_string()));
        Descriptor { entries, ..descriptor }
    }

    /// What the service says about `takes`.
    pub(super) fn read(&self, takes: &[Take<'_>], result: &CallResult) -> Result<Vec<Count>, ProviderFault> {
        let response = match result {
            Ok(Response::Grpc(GrpcResponse { status: 0, body })) => match body {
                Body::Whole(bytes) => {
                    RateLimitResponse::decode(bytes.as_slice()).map_err(|_| ProviderFault::Malformed)?
                }
                Body::TooLong => return Err(ProviderFault::TooLong),
            },
            Ok(Response::Grpc(GrpcResponse { status, .. })) => {
                return Err(ProviderFault::Grpc { status: *status });
            }
            Ok(Response::Http(_)) => return Err(ProviderFault::Malformed),
            Err(failure) => return Err((*failure).into()),
        };
        let counts = match self.settings.engine {
            Engine::Envoy => read_statuses(takes, &response),
            Engine::Limitador => read_headers(takes, &response),
        };
        counts.ok_or(ProviderFault::Malformed)
    }
}

/// The service says for each descriptor which limit it applied. Where it is not ours, it counted nothing:
/// it does not know the domain.
fn read_statuses(takes: &[Take<'_>], response: &RateLimitResponse) -> Option<Vec<Count>> {
    if response.statuses.len() != takes.len() {
        return None;
    }
    let read = |(take, status): (&Take<'_>, &super::message::DescriptorStatus)| {
        let applied = status.current_limit?;
        let admits = admits(status.code)?;
        let is_ours = applied == limit_of(take);
        is_ours.then(|| count(take, admits, status.limit_remaining))
    };
    let counts: Vec<_> = takes.iter().zip(&response.statuses).map(read).collect::<Option<_>>()?;
    // In its shadow mode, the service says that all is well although a descriptor is over its limit.
    let is_over = counts.iter().any(|count| !count.admits);
    (admits(response.overall_code)? || is_over).then_some(counts)
}

/// Limitador tells the limit and what it has left in headers, and only if it counted.
fn read_headers(takes: &[Take<'_>], response: &RateLimitResponse) -> Option<Vec<Count>> {
    let [take] = takes else { return None };
    let header = |name: &str| {
        let headers = &response.response_headers_to_add;
        headers
            .iter()
            .find(|header| header.key.eq_ignore_ascii_case(name))
            .map(|header| header.value.as_str())
    };
    let limit = header("x-ratelimit-limit")?.split([',', ';']).next()?.trim();
    let remaining: u64 = header("x-ratelimit-remaining")?.trim().parse().ok()?;
    let admits = admits(response.overall_code)?;
    let is_ours = limit.parse() == Ok(take.limit.max());
    let granted = if admits { take.amount } else { 0 };
    is_ours.then(|| vec![Count { admits, granted, remaining }])
}

/// The limit that the service is to apply. What may be cut is over the limit only if nothing at all is left:
/// the limit is larger by what may be over.
fn limit_of(take: &Take<'_>) -> Override {
    let over = if take.may_be_cut { take.amount.saturating_sub(1) } else { 0 };
    Override {
        requests_per_unit: number(take.limit.max().saturating_add(over)),
        unit: Unit::for_window(take.span).number(),
    }
}

/// What the service says about a take, which was within the limit that it was to apply or was not.
fn count(take: &Take<'_>, admits: bool, remaining: u32) -> Count {
    let remaining = u64::from(remaining);
    if !admits {
        return Count { admits, granted: 0, remaining: 0 };
    }
    if !take.may_be_cut {
        return Count { admits, granted: take.amount, remaining };
    }
    let left = remaining.saturating_add(1);
    Count { admits, granted: left.min(take.amount), remaining: left.saturating_sub(take.amount) }
}

fn admits(code: i32) -> Option<bool> {
    match code {
        OK => Some(true),
        OVER_LIMIT => Some(false),
        _ => None,
    }
}

/// The number as the protocol has it. Limits and amounts are never larger, as limits are checked.
fn number(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn every_fault_of_the_settings_is_reported() {
        let settings = Settings {
            name: "s".to_owned(),
            cluster: String::new(),
            domain: String::new(),
            engine: Engine::Envoy,
            timeout: Duration::ZERO,
            fallback: Fallback::AllowClients(BTreeSet::new()),
            cooldown: Duration::ZERO,
            leases: None,
        };
        let faults = Service::new(settings).unwrap_err();
        let attributes: Vec<_> = faults.into_iter().map(InvalidService::attribute).collect();
        assert_eq!(attributes, ["cluster", "domain", "timeout", "unavailable.allow_clients"]);
    }
}
