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
    #[derive(Copy, Default)]
    pub enum Lease {
        /// As much as a request uses: one call for each request.
        #[default]
        None,
    }
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
