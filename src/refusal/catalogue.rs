//! The catalogue of refusals and their one table.

/// Why a request did not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 00: no API or rule for the request.
    NoRoute,
    /// 01: a fault of ours that has no code of its own.
    Internal,
    /// 02: the rule says mock, no mock matches.
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
        /// Seconds after which the same request may pass, at least 1; none where it never will.
        retry_after: Option<u64>,
    },
    /// 20: a malformed request, or a credential carried wrongly.
    Malformed,
    /// 21: nothing presented, and the rule takes a token.
    TokenMissing,
    /// 22: the token is unreadable, inactive, expired, of the wrong issuer or for another audience.
    TokenInvalid,
    /// 23: the token lacks a scope.
    ScopeMissing {
        /// The scopes the rule requires, separated by spaces.
        required: String,
    },
    /// 24: the identity provider is unavailable or answers nonsense.
    IdentityUnavailable {
        /// Seconds after which it asked to be called again.
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
    /// 27: known, and not allowed: consumer suspended or unbound, metric disabled, rule says `deny`.
    Forbidden,
}

/// Who is at fault for a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// Who sent the request.
    Caller,
    /// Who wrote the policy or runs the proxy.
    Operator,
    /// A service that Sidegate or Envoy depends on.
    Dependency,
    /// Sidegate.
    Us,
}

/// What the table says of one refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The stable code.
    pub code: u8,
    /// The code's two digits.
    pub digits: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// The status code for gRPC requests (<https://grpc.github.io/grpc/core/md_doc_statuscodes.html>).
    pub grpc_status: u8,
    /// What the caller reads.
    pub message: &'static str,
    /// Who is at fault.
    pub blame: Blame,
}

impl Refusal {
    /// The catalogue, one of each, in the order of codes.
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

    /// The table. The wording of 00 to 14 is Kanali's, to the letter.
    pub const fn row(&self) -> Row {
        use Blame::{Caller, Dependency, Operator, Us};
        match self {
            Self::NoRoute => {
                row(0, "00", 404, 5, Caller, "No ApiProxy resource was not found that matches the request.")
            }
            Self::Internal => row(1, "01", 500, 13, Us, "An unknown error occurred."),
            Self::NoMock => row(
                2,
                "02",
                404,
                5,
                Operator,
                "No MockTarget resource was not found that matches the request.",
            ),
            Self::PolicyUnreadable => row(3, "03", 500, 13, Operator, "Could not open or load plugin."),
            Self::ProviderMissing => row(4, "04", 500, 13, Operator, "Could not lookup plugin symbol."),
            Self::SchemaUnsupported => {
                row(5, "05", 500, 13, Operator, "Plugin does not implement the correct interface.")
            }
            Self::SecretMissing => row(6, "06", 500, 13, Operator, "Could not retrieve Kubernetes secret."),
            Self::KeyMaterialUnusable => row(7, "07", 500, 13, Operator, "Could not create x509 key pair."),
            Self::UpstreamInvalid => {
                let message = "Could not get a valid or any response from the upstream server.";
                row(8, "08", 502, 14, Dependency, message)
            }
            Self::ClusterUnknown => {
                row(9, "09", 500, 13, Operator, "Could not retrieve Kubernetes services.")
            }
            Self::NoHealthyHost => {
                row(10, "10", 500, 14, Dependency, "Could not retrieve any matching Kubernetes services.")
            }
            Self::Crashed => row(11, "11", 500, 13, Us, "Plugin threw a runtime error."),
            Self::KeyMissing => row(12, "12", 403, 16, Caller, "My lips are sealed."),
            Self::KeyRefused => row(13, "13", 401, 16, Caller, "Api key is not authorized."),
            Self::LimitReached { .. } => {
                row(14, "14", 429, 8, Caller, "The Api key you are using has exceeded its rate limit.")
            }
            Self::Malformed => row(20, "20", 400, 3, Caller, "The request is malformed."),
            Self::TokenMissing => row(21, "21", 401, 16, Caller, "Authentication is required."),
            Self::TokenInvalid => row(22, "22", 401, 16, Caller, "The access token is not valid."),
            Self::ScopeMissing { .. } => {
                row(23, "23", 403, 7, Caller, "The access token lacks a required scope.")
            }
            Self::IdentityUnavailable { .. } => {
                row(24, "24", 503, 14, Dependency, "The identity provider is not available.")
            }
            Self::QuotaUnavailable { .. } => {
                row(25, "25", 503, 14, Dependency, "The quota service is not available.")
            }
            Self::MethodNotAllowed { .. } => row(26, "26", 405, 12, Caller, "The method is not allowed."),
            Self::Forbidden => row(27, "27", 403, 7, Caller, "Access is not allowed."),
        }
    }
}

const fn row(
    code: u8,
    digits: &'static str,
    status: u16,
    grpc_status: u8,
    blame: Blame,
    message: &'static str,
) -> Row {
    Row { code, digits, status, grpc_status, message, blame }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    /// The refusal table, written out a second time.
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
            Refusal::all().iter().map(|refusal| (refusal.row().code, refusal.row().status)).collect();
        assert_eq!(rows, TABLE);
    }

    #[test]
    fn the_digits_are_the_code() {
        for refusal in Refusal::all() {
            assert_eq!(refusal.row().digits, format!("{:02}", refusal.row().code));
        }
    }
}
