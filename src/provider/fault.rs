//! Why a provider's answer cannot be used: the same list for every kind of provider.

use std::time::Duration;

use super::CallFailure;

/// A call that was made, and what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallRecord {
    /// What came of it.
    pub outcome: CallOutcome,
    /// How long it took.
    pub took: Duration,
}

/// What came of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallOutcome {
    /// The provider answered.
    Answered,
    /// The provider could not read the caller's credential, and said so.
    Unreadable,
    /// There is no answer that can be used.
    Fault(ProviderFault),
}

impl CallOutcome {
    /// The word for it in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Answered => "ok",
            Self::Unreadable => "unreadable",
            Self::Fault(fault) => fault.label(),
        }
    }
}

/// Why a provider gave no answer that can be used. Never the caller's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProviderFault {
    /// It rejects our own credentials (401 or 403), not those of the caller. The operator's fault.
    #[error("the provider rejects our own credentials with status {status}")]
    Rejected {
        /// HTTP status.
        status: u16,
    },
    /// It answered with a status that has no meaning here.
    #[error("the provider answered with status {status}")]
    Status {
        /// HTTP status.
        status: u16,
        /// After how many seconds it wants to be asked again; with 429 and 503 only.
        retry_after: Option<u64>,
    },
    /// The content type is not JSON.
    #[error("the provider did not answer in JSON")]
    NotJson,
    /// The content is not what the protocol asks for.
    #[error("the provider's answer is malformed")]
    Malformed,
    /// The body is longer than the bound for this kind of answer.
    #[error("the provider's answer is too long")]
    TooLong,
    /// No answer in time.
    #[error("the provider did not answer in time")]
    TimedOut,
    /// The connection failed, or Envoy could not hold the answer.
    #[error("the call to the provider failed")]
    Failed,
    /// Envoy knows no cluster of that name. The operator's fault.
    #[error("the provider's cluster is unknown")]
    UnknownCluster,
    /// The cluster has no healthy host.
    #[error("the provider's cluster has no healthy host")]
    NoHealthyHost,
    /// This worker has as many calls in flight, or as many bytes waiting, as it allows itself.
    #[error("too many calls are in flight")]
    Overloaded,
    /// It failed a moment ago, and another request is trying it.
    #[error("the provider failed a moment ago and is being left alone")]
    Resting,
}

impl From<CallFailure> for ProviderFault {
    fn from(failure: CallFailure) -> Self {
        match failure {
            CallFailure::TimedOut => Self::TimedOut,
            CallFailure::Failed => Self::Failed,
            CallFailure::UnknownCluster => Self::UnknownCluster,
            CallFailure::NoHealthyHost => Self::NoHealthyHost,
            CallFailure::Overloaded => Self::Overloaded,
        }
    }
}

impl ProviderFault {
    /// After how many seconds the provider wants to be asked again.
    pub const fn retry_after(self) -> Option<u64> {
        match self {
            Self::Status { retry_after, .. } => retry_after,
            _ => None,
        }
    }

    /// Whether the provider answered, though not as it should have.
    pub const fn is_an_answer(self) -> bool {
        match self {
            Self::Rejected { .. } | Self::NotJson | Self::Malformed | Self::TooLong => true,
            Self::Status { .. } => !self.calls_for_rest(),
            Self::TimedOut
            | Self::Failed
            | Self::UnknownCluster
            | Self::NoHealthyHost
            | Self::Overloaded
            | Self::Resting => false,
        }
    }

    /// Whether the provider should be left alone for a while: it hangs, cannot be reached, or fails itself.
    pub const fn calls_for_rest(self) -> bool {
        match self {
            Self::TimedOut | Self::Failed => true,
            Self::Status { status, .. } => status >= 500,
            _ => false,
        }
    }

    const fn label(self) -> &'static str {
        match self {
            Self::Rejected { .. } => "refused_us",
            Self::Status { .. } => "status",
            Self::NotJson | Self::Malformed | Self::TooLong => "nonsense",
            Self::TimedOut => "timeout",
            Self::Failed => "failed",
            Self::UnknownCluster => "unknown_cluster",
            Self::NoHealthyHost => "no_healthy_host",
            Self::Overloaded => "too_many_calls",
            Self::Resting => "resting",
        }
    }
}
