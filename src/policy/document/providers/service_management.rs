//! `service_management`: a service at 3scale's backend.

use crate::policy::document::value::{DurationText, Secret};

document! {
    /// A service at 3scale's Service Management API. Give `service_token` with `service_id`, or
    /// `provider_key`.
    pub struct ServiceManagement {
        /// The Envoy cluster that leads to it.
        pub cluster: String,
        /// Its URL, without `/transactions`.
        pub url: String,
        /// The id of the service.
        pub service_id?: String,
        /// The token of the service.
        pub service_token?: Secret,
        /// The key of the whole account.
        pub provider_key?: Secret,
        /// What happens to decisions when it is unavailable.
        pub caching = default: DecisionCaching,
        /// How long a decision is used without asking again, an hour at most; never beyond the period of a
        /// limit.
        #[serde(default = "default_ttl")]
        pub ttl: DurationText,
        /// How long after `ttl` a decision is repeated where `caching` is `resilient` or `allow`.
        #[serde(default = "default_stale")]
        pub stale_if_error: DurationText,
        /// How long an answer may take.
        #[serde(default = "default_timeout")]
        pub timeout: DurationText,
        /// How long it is left alone after it timed out, could not be reached or answered with 5xx; meanwhile
        /// one request at a time tries it. `0s` is no rest.
        #[serde(default = "default_cooldown")]
        pub cooldown: DurationText,
        /// What happens to requests that nothing is known about when it is unavailable.
        pub unavailable = default: WithoutDecision,
        /// When usage is counted there.
        pub counting = default: UsageCounting,
        /// How usage is reported.
        pub reporting = default: Reporting,
    }

    /// How usage is reported.
    pub struct Reporting {
        /// The time between two reports, from a second to an hour.
        #[serde(default = "default_every")]
        pub every: DurationText,
        /// Whether the status of each answer is reported as well. Each request is a transaction of its own
        /// then.
        pub codes = default: bool,
    }
}

choice! {
    /// What happens to decisions when the backend is unavailable, as in APIcast.
    #[derive(Copy, Default)]
    pub enum DecisionCaching {
        /// They are used for `ttl`, and then requests are refused.
        #[default]
        Strict,
        /// The last decision is repeated; requests without one are refused.
        Resilient,
        /// The last decision is repeated; requests without one pass.
        Allow,
        /// No decision is kept: every request asks.
        None,
    }

    /// When usage is counted at the backend.
    #[derive(Copy, Default)]
    pub enum UsageCounting {
        /// It is added up here and reported every `reporting.every`; limits hold here meanwhile.
        #[default]
        Batched,
        /// With an `authrep` for each request, which waits for it: for limits that many gateways share.
        Exact,
    }

    /// What happens to a request without a decision when the backend is unavailable.
    #[derive(Default)]
    pub enum WithoutDecision {
        /// It is refused.
        #[default]
        Deny,
        /// It passes if it is of one of these applications, by id, and has the key with which the application
        /// was accepted before.
        AllowApplications(Vec<String>),
    }
}

impl Default for Reporting {
    fn default() -> Self {
        Self { every: default_every(), codes: false }
    }
}

const fn default_ttl() -> DurationText {
    DurationText::from_millis(10_000)
}

const fn default_stale() -> DurationText {
    DurationText::from_millis(86_400_000)
}

const fn default_timeout() -> DurationText {
    DurationText::from_millis(1_000)
}

const fn default_cooldown() -> DurationText {
    DurationText::from_millis(1_000)
}

const fn default_every() -> DurationText {
    DurationText::from_millis(10_000)
}
