//! The catalogue of refusals, and the table of their codes, statuses and wording.

use std::cmp::Ordering;

/// Why a request was refused, as far as callers may know: one row of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// 00: no API or rule for the request.
    NoRoute,
    /// 01: an internal error that has no code of its own.
    Internal,
    /// 02: the rule answers with mocks, and no mock matches.
    NoMock,
    /// 03: the policy is missing or unreadable.
    PolicyUnreadable,
    /// 04: the policy names a provider that does not exist.
    ProviderMissing,
    /// 05: the policy's schema version is not supported.
    SchemaUnsupported,
    /// 06: the secret of a provider is missing.
    SecretMissing,
    /// 07: key material is unusable.
    KeyMaterialUnusable,
    /// 08: the upstream gave no valid answer.
    UpstreamInvalid,
    /// 09: Envoy does not know a provider's cluster.
    ClusterUnknown,
    /// 10: a provider's cluster has no healthy host.
    NoHealthyHost,
    /// 11: the module crashed.
    Crashed,
    /// 12: the rule takes API keys only, and there is none.
    KeyMissing,
    /// 13: the API key is unknown, inactive, expired, unbound, or not for this method or path.
    KeyRefused,
    /// 14: a limit is reached.
    LimitReached {
        /// Seconds after which the same request may pass, at least 1; `None` if it never will.
        retry_after: Option<u64>,
    },
    /// 20: the request is malformed, or presents a credential incorrectly.
    Malformed,
    /// 21: the rule takes a token, and no credential is present.
    TokenMissing,
    /// 22: the token is unreadable, inactive, expired, of the wrong issuer or for another audience.
    TokenInvalid,
    /// 23: the token lacks a scope or a claim.
    ScopeMissing {
        /// The scopes the rule requires, separated by spaces; empty if it is not for want of a scope.
        required: String,
    },
    /// 24: the identity provider is unavailable, or its answer cannot be used.
    IdentityUnavailable {
        /// Seconds after which the provider asked to be called again.
        retry_after: Option<u64>,
    },
    /// 25: the quota service is unavailable, or the store too contended to count.
    QuotaUnavailable {
        /// Seconds after which to try again.
        retry_after: Option<u64>,
    },
    /// 26: the path has rules, but none for the method.
    MethodNotAllowed {
        /// The `Allow` header's value.
        allow: String,
    },
    /// 27: the caller is known but not allowed: the consumer is suspended or unbound, the metric is disabled,
    /// or the rule is `deny`.
    Forbidden,
}

/// Who is at fault for a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The sender of the request.
    Caller,
    /// The author of the policy, or the operator of the proxy.
    Operator,
    /// A service that Sidegate or Envoy depends on.
    Dependency,
    /// Sidegate itself.
    Us,
}

/// A stable code, as shown to callers and in logs and metrics.
#[derive(Clone, Copy, Debug)]
pub struct Code {
    number: u8,
    digits: &'static str,
    details: &'static str,
}

/// The code with this number and these two digits.
macro_rules! code {
    ($number:literal, $digits:literal) => {
        Code { number: $number, digits: $digits, details: concat!("sidegate_", $digits) }
    };
}

/// The table row for one cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The stable code.
    pub code: Code,
    /// The HTTP status.
    pub status: u16,
    /// The status code for gRPC requests (<https://grpc.github.io/grpc/core/md_doc_statuscodes.html>).
    pub grpc_status: u8,
    /// The message in Kanali's envelope. For 00 to 14 it is Kanali's wording.
    pub message: &'static str,
    /// The title in problem details.
    pub title: &'static str,
    /// Who is at fault.
    pub blame: Blame,
}

impl Cause {
    /// One cause for each code, in the order of codes.
    pub fn all() -> Vec<Self> {
        vec![
            Self::NoRoute,
            Self::Internal,
            Self::NoMock,
            Self::PolicyUnreadable,
            Self::ProviderMissing,
            Self::SchemaUnsupported,
            Self::SecretMissing,
            Self::KeyMaterialUnusable,
            Self::UpstreamInvalid,
            Self::ClusterUnknown,
            Self::NoHealthyHost,
            Self::Crashed,
            Self::KeyMissing,
            Self::KeyRefused,
            Self::LimitReached { retry_after: Some(1) },
            Self::Malformed,
            Self::TokenMissing,
            Self::TokenInvalid,
            Self::ScopeMissing { required: String::new() },
            Self::IdentityUnavailable { retry_after: None },
            Self::QuotaUnavailable { retry_after: None },
            Self::MethodNotAllowed { allow: String::new() },
            Self::Forbidden,
        ]
    }

    /// The row of the table for this cause.
    pub const fn row(&self) -> Row {
        use Blame::{Caller, Dependency, Operator, Us};
        match self {
            Self::NoRoute => row(code!(0, "00"), 404, 5, Caller).says(
                "No ApiProxy resource was not found that matches the request.",
                "No API matches the request.",
            ),
            Self::Internal => row(code!(1, "01"), 500, 13, Us).says_always("An unknown error occurred."),
            Self::NoMock => row(code!(2, "02"), 404, 5, Operator).says(
                "No MockTarget resource was not found that matches the request.",
                "No mocked response matches the request.",
            ),
            Self::PolicyUnreadable => row(code!(3, "03"), 500, 13, Operator)
                .says("Could not open or load plugin.", "The policy is missing or cannot be read."),
            Self::ProviderMissing => row(code!(4, "04"), 500, 13, Operator)
                .says("Could not lookup plugin symbol.", "The policy names a provider that does not exist."),
            Self::SchemaUnsupported => row(code!(5, "05"), 500, 13, Operator).says(
                "Plugin does not implement the correct interface.",
                "The schema version of the policy is not supported.",
            ),
            Self::SecretMissing => row(code!(6, "06"), 500, 13, Operator)
                .says("Could not retrieve Kubernetes secret.", "A secret of the gateway is missing."),
            Self::KeyMaterialUnusable => row(code!(7, "07"), 500, 13, Operator)
                .says("Could not create x509 key pair.", "Key material of the gateway is unusable."),
            Self::UpstreamInvalid => row(code!(8, "08"), 502, 14, Dependency).says(
                "Could not get a valid or any response from the upstream server.",
                "The service gave no valid response.",
            ),
            Self::ClusterUnknown => row(code!(9, "09"), 500, 13, Operator).says(
                "Could not retrieve Kubernetes services.",
                "A service that the gateway needs is unknown.",
            ),
            Self::NoHealthyHost => row(code!(10, "10"), 500, 14, Dependency).says(
                "Could not retrieve any matching Kubernetes services.",
                "A service that the gateway needs has no healthy host.",
            ),
            Self::Crashed => row(code!(11, "11"), 500, 13, Us)
                .says("Plugin threw a runtime error.", "The gateway failed to process the request."),
            Self::KeyMissing => {
                row(code!(12, "12"), 403, 16, Caller).says("My lips are sealed.", "An API key is required.")
            }
            Self::KeyRefused => row(code!(13, "13"), 401, 16, Caller)
                .says("Api key is not authorized.", "The API key is not authorized."),
            Self::LimitReached { .. } => row(code!(14, "14"), 429, 8, Caller)
                .says("The Api key you are using has exceeded its rate limit.", "A rate limit is exceeded."),
            Self::Malformed => row(code!(20, "20"), 400, 3, Caller).says_always("The request is malformed."),
            Self::TokenMissing => {
                row(code!(21, "21"), 401, 16, Caller).says_always("Authentication is required.")
            }
            Self::TokenInvalid => {
                row(code!(22, "22"), 401, 16, Caller).says_always("The access token is not valid.")
            }
            Self::ScopeMissing { .. } => row(code!(23, "23"), 403, 7, Caller)
                .says_always("The access token lacks a required scope or claim."),
            Self::IdentityUnavailable { .. } => row(code!(24, "24"), 503, 14, Dependency)
                .says_always("The identity provider is not available."),
            Self::QuotaUnavailable { .. } => {
                row(code!(25, "25"), 503, 14, Dependency).says_always("The quota service is not available.")
            }
            Self::MethodNotAllowed { .. } => {
                row(code!(26, "26"), 405, 12, Caller).says_always("The method is not allowed.")
            }
            Self::Forbidden => row(code!(27, "27"), 403, 7, Caller).says_always("Access is not allowed."),
        }
    }

    /// The code.
    pub const fn code(&self) -> Code {
        self.row().code
    }
}

impl Code {
    /// The code as a number.
    pub const fn number(self) -> u8 {
        self.number
    }

    /// The code's two digits.
    pub const fn digits(self) -> &'static str {
        self.digits
    }

    /// What access logs show of a reply with this code, as the details of the response code: `sidegate_13`.
    pub const fn details(self) -> &'static str {
        self.details
    }
}

// The texts follow from the number, so comparing them would be work for nothing.

impl PartialEq for Code {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Code {}

impl PartialOrd for Code {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Code {
    fn cmp(&self, other: &Self) -> Ordering {
        self.number.cmp(&other.number)
    }
}

impl Row {
    /// Sets the wording in Kanali's envelope and in problem details.
    const fn says(self, message: &'static str, title: &'static str) -> Self {
        Self { message, title, ..self }
    }

    /// Sets the same wording in both.
    const fn says_always(self, message: &'static str) -> Self {
        self.says(message, message)
    }
}

const fn row(code: Code, status: u16, grpc_status: u8, blame: Blame) -> Row {
    Row { code, status, grpc_status, message: "", title: "", blame }
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    /// The refusal table, repeated independently of the code.
    const TABLE: &[(u8, u16)] = &[
        (0, 404),
        (1, 500),
        (2, 404),
        (3, 500),
        (4, 500),
        (5, 500),
        (6, 500),
        (7, 500),
        (8, 502),
        (9, 500),
        (10, 500),
        (11, 500),
        (12, 403),
        (13, 401),
        (14, 429),
        (20, 400),
        (21, 401),
        (22, 401),
        (23, 403),
        (24, 503),
        (25, 503),
        (26, 405),
        (27, 403),
    ];

    #[test]
    fn every_code_has_the_status_of_the_catalogue() {
        let rows: Vec<(u8, u16)> =
            Cause::all().iter().map(|cause| (cause.code().number(), cause.row().status)).collect();
        assert_eq!(rows, TABLE);
    }

    #[test]
    fn the_digits_are_the_code() {
        for code in Cause::all().iter().map(Cause::code) {
            assert_eq!(code.digits(), format!("{:02}", code.number()));
            assert_eq!(code.details(), format!("sidegate_{}", code.digits()));
        }
    }

    #[test]
    fn every_cause_has_wording_in_both_formats() {
        for cause in Cause::all() {
            let Row { message, title, .. } = cause.row();
            for words in [message, title] {
                assert!(words.ends_with('.') && words.len() > 10, "{cause:?}: {words}");
            }
        }
    }
}
