//! Why a provider's answer cannot be used: one list for all kinds of providers.

use std::time::Duration;

use super::CallFailure;

/// A call that was made, and its outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallRecord {
    /// The outcome.
    pub outcome: CallOutcome,
    /// The duration.
    pub took: Duration,
}

/// The outcome of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallOutcome {
    /// The provider answered.
    Answered,
    /// The provider reported that it could not read the caller's credential.
    Unreadable,
    /// The provider gave no answer that can be used.
    Fault(ProviderFault),
}

impl CallOutcome {
    /// The outcome's name in metrics.
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
    /// The provider rejects our own credentials (401 or 403), not those of the caller. The operator's fault.
    #[error("the provider rejects our own credentials with status {status}")]
    Rejected {
        /// HTTP status.
        status: u16,
    },
    /// The provider answered with a status that has no meaning here.
    #[error("the provider answered with status {status}")]
    Status {
        /// HTTP status.
        status: u16,
        /// Seconds after which the provider wants to be called again; with 429 and 503 only.
        retry_after: Option<u64>,
    },
    /// A gRPC call ended with a status that is not success.
    #[error("the provider answered with gRPC status {status}")]
    Grpc {
        /// `grpc-status`.
        status: u32,
    },
    /// The content type is not JSON.
    #[error("the provider did not answer in JSON")]
    NotJson,
    /// The content does not follow the protocol.
    #[error("the provider's answer is malformed")]
    Malformed,
    /// The body is longer than the limit for this kind of answer.
    #[error("the provider's answer is too long")]
    TooLong,
    /// The content is not signed by whom the policy names, or is not for us, or is old.
    #[error("the provider's answer is not signed as the policy asks")]
    Unsigned,
    /// There are no keys to verify the answer with.
    #[error("there are no keys that the provider's answer could be verified with")]
    NoKeys,
    /// This worker has verified as many signatures as it may in this second.
    #[error("too many signatures to verify in this second")]
    TooManySignatures,
    /// No answer in time.
    #[error("the provider did not answer in time")]
    TimedOut,
    /// The connection failed, or Envoy could not hold the answer.
    #[error("the call to the provider failed")]
    Failed,
    /// Envoy has no cluster with that name. The operator's fault.
    #[error("the provider's cluster is unknown")]
    UnknownCluster,
    /// The cluster has no healthy host.
    #[error("the provider's cluster has no healthy host")]
    NoHealthyHost,
    /// This worker has reached its limit of calls in flight or of waiting bytes.
    #[error("too many calls are in flight")]
    Overloaded,
    /// The provider failed recently, and another request is trying it.
    #[error("the provider failed recently and is not called during its cooldown")]
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
    /// Seconds after which the provider wants to be called again.
    pub const fn retry_after(self) -> Option<u64> {
        match self {
            Self::Status { retry_after, .. } => retry_after,
            Self::NoKeys | Self::TooManySignatures => Some(1),
            _ => None,
        }
    }

    /// Whether the provider answered, although with an answer that cannot be used.
    pub const fn is_an_answer(self) -> bool {
        match self {
            Self::Rejected { .. }
            | Self::NotJson
            | Self::Malformed
            | Self::TooLong
            | Self::Unsigned
            | Self::NoKeys
            | Self::TooManySignatures => true,
            Self::Status { .. } | Self::Grpc { .. } => !self.calls_for_rest(),
            Self::TimedOut
            | Self::Failed
            | Self::UnknownCluster
            | Self::NoHealthyHost
            | Self::Overloaded
            | Self::Resting => false,
        }
    }

    /// Whether the provider should not be called for a while: it hangs, cannot be reached, or reports an
    /// internal error.
    pub const fn calls_for_rest(self) -> bool {
        match self {
            Self::TimedOut | Self::Failed => true,
            Self::Status { status, .. } => status >= 500,
            // Cancelled, unknown, deadline exceeded, resource exhausted, aborted, internal, unavailable and
            // data loss. All others object to the call.
            Self::Grpc { status } => matches!(status, 1 | 2 | 4 | 8 | 10 | 13 | 14 | 15),
            _ => false,
        }
    }

    const fn label(self) -> &'static str {
        match self {
            Self::Rejected { .. } => "refused_us",
            Self::Status { .. } | Self::Grpc { .. } => "status",
            Self::NotJson | Self::Malformed | Self::TooLong => "nonsense",
            Self::Unsigned => "unsigned",
            Self::NoKeys => "no_keys",
            Self::TooManySignatures => "too_many_signatures",
            Self::TimedOut => "timeout",
            Self::Failed => "failed",
            Self::UnknownCluster => "unknown_cluster",
            Self::NoHealthyHost => "no_healthy_host",
            Self::Overloaded => "too_many_calls",
            Self::Resting => "resting",
        }
    }
}
