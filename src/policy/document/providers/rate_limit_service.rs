//! `rate_limit_service`: a service that counts for all replicas.

use crate::{policy::document::value::DurationText, quota::remote::Engine};

document! {
    /// A rate limit service (`envoy.service.ratelimit.v3`), which counts for all replicas.
    pub struct RateLimitService {
        /// The Envoy cluster that leads to it. It must speak HTTP/2.
        pub cluster: String,
        /// The domain of the calls. It keeps these counters apart from those of other users of the service.
        #[serde(default = "default_domain")]
        pub domain: String,
        /// What kind of service it is.
        pub engine = default: Engine,
        /// How long an answer may take.
        #[serde(default = "default_timeout")]
        pub timeout: DurationText,
        /// What happens when it gives no usable answer.
        pub unavailable = default: QuotaUnavailable,
        /// How long it is left alone after it timed out, could not be reached or failed; meanwhile one
        /// request at a time tries it. `0s` is no rest.
        #[serde(default = "default_cooldown")]
        pub cooldown: DurationText,
        /// How much quota is taken at once.
        pub lease = default: Lease,
    }

    /// How large leases are.
    pub struct LeaseTerms {
        /// The largest part of what the service has left, in percent: 1 to 50.
        #[cfg_attr(not(target_family = "wasm"), schemars(range(min = 1, max = 50)))]
        #[serde(default = "default_share")]
        pub share: u32,
        /// How long a lease should last at the rate at which the last one was spent.
        #[serde(default = "default_lasts")]
        pub lasts: DurationText,
        /// The largest lease: 1 to 1,000,000.
        #[cfg_attr(not(target_family = "wasm"), schemars(range(min = 1, max = 1_000_000)))]
        #[serde(default = "default_most")]
        pub most: u32,
    }
}

choice! {
    /// What happens when a rate limit service gives no usable answer.
    #[derive(Default)]
    pub enum QuotaUnavailable {
        /// The request is refused with code 25.
        #[default]
        Deny,
        /// The request passes if this Envoy alone has admitted less than the limit.
        Local,
        /// The request passes.
        Allow,
        /// The request passes if it is of one of these OAuth2 clients.
        AllowClients(Vec<String>),
    }

    /// How much quota is taken at once.
    #[derive(Default)]
    pub enum Lease {
        /// As much as is used in a second, up to a tenth of what the service has left and up to 1,000.
        #[default]
        Adaptive,
        /// As much as a request uses: one call for each request.
        None,
        /// The same as `adaptive`, with other bounds.
        UpTo(LeaseTerms),
    }
}

impl Default for LeaseTerms {
    fn default() -> Self {
        Self { share: default_share(), lasts: default_lasts(), most: default_most() }
    }
}

const fn default_share() -> u32 {
    10
}

const fn default_lasts() -> DurationText {
    DurationText::from_millis(1_000)
}

const fn default_most() -> u32 {
    1_000
}

fn default_domain() -> String {
    "sidegate".to_owned()
}

const fn default_timeout() -> DurationText {
    DurationText::from_millis(20)
}

const fn default_cooldown() -> DurationText {
    DurationText::from_millis(1_000)
}
