//! One table: what every code of the backend means for the caller.

use std::num::NonZeroU64;

use crate::{provider::ProviderFault, refusal::Cause};

/// Why the backend does not let an application pass: a row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejection {
    status: u16,
    code: &'static str,
    meaning: Meaning,
}

/// What a code means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The credential is not one of this service.
    Unknown,
    /// The application is known, and may not.
    Forbidden,
    /// A limit of its plan is reached.
    Limit,
    /// What the caller sent cannot be read.
    Malformed,
    /// What the policy says does not fit what the backend knows: a metric, a service that takes no OAuth.
    Misfit,
    /// Our own credentials are refused.
    Refused,
    /// The backend is asked too often.
    Busy,
}

use Meaning::{Busy, Forbidden, Limit, Malformed, Misfit, Refused, Unknown};

/// By status and code. A code of `*` stands for any that has no row of its own.
const TABLE: &[(u16, &str, Meaning)] = &[
    (400, "bad_request", Malformed),
    (400, "not_valid_data", Malformed),
    (400, "*", Misfit),
    (403, "user_key_invalid", Unknown),
    (403, "authentication_error", Unknown),
    (403, "usage_value_invalid", Misfit),
    (403, "provider_key_invalid", Refused),
    (403, "provider_key_or_service_token_required", Refused),
    (403, "provider_key_invalid_or_service_missing", Refused),
    (403, "service_token_invalid", Refused),
    (403, "service_id_invalid", Refused),
    (404, "application_not_found", Unknown),
    (404, "metric_invalid", Misfit),
    (409, "user_key_invalid", Unknown),
    (409, "application_key_invalid", Unknown),
    (409, "access_token_invalid", Unknown),
    (409, "referrer_not_allowed", Forbidden),
    (409, "application_not_active", Forbidden),
    (409, "service_not_active", Forbidden),
    (409, "limits_exceeded", Limit),
    (409, "oauth_not_enabled", Misfit),
    (409, "redirect_uri_invalid", Misfit),
    (409, "redirect_url_invalid", Misfit),
    (413, "*", Misfit),
    (422, "not_valid_data", Malformed),
    (422, "service_id_missing", Refused),
    (422, "referrer_filter_invalid", Misfit),
    (428, "*", Busy),
    (429, "*", Busy),
];

impl Rejection {
    /// The row for a status and a code, if there is one. A status without a code has none, except where any
    /// code means the same.
    pub fn find(status: u16, code: &str) -> Option<Self> {
        let row = |wanted: &str| TABLE.iter().find(|(of, code, _)| *of == status && *code == wanted);
        let (_, code, meaning) = row(code).or_else(|| row("*"))?;
        let code = match (*code, status) {
            ("*", 428 | 429) => "too_many_calls",
            ("*", _) => "bad_request",
            (code, _) => code,
        };
        Some(Self { status, code, meaning: *meaning })
    }

    /// The row with this number, as [`Self::number`] returns it.
    pub fn numbered(number: u8) -> Option<Self> {
        let (status, code, _) = TABLE.get(usize::from(number))?;
        Self::find(*status, code)
    }

    /// The number of the row, for the cache.
    pub fn number(self) -> u8 {
        let row = TABLE.iter().position(|(status, code, _)| Self::find(*status, code) == Some(self));
        row.and_then(|row| u8::try_from(row).ok()).unwrap_or(u8::MAX)
    }

    /// The backend's code.
    pub const fn code(self) -> &'static str {
        self.code
    }

    /// What it means.
    pub const fn meaning(self) -> Meaning {
        self.meaning
    }

    /// The fault of somebody else than the caller, if it is one. Otherwise, it is a decision about the
    /// application, which may be repeated.
    pub const fn fault(self) -> Option<ProviderFault> {
        let status = self.status;
        match self.meaning {
            Unknown | Forbidden | Limit | Malformed => None,
            Refused => Some(ProviderFault::Rejected { status }),
            Misfit | Busy => Some(ProviderFault::Status { status, retry_after: None }),
        }
    }

    /// The refusal. For a limit, `reset` is when its period ends, and `max` what it allows: with 0, there is
    /// no time at which the request would pass.
    pub fn cause(self, reset: Option<NonZeroU64>, max: Option<u64>) -> Cause {
        match self.meaning {
            Unknown => Cause::KeyRefused,
            Limit if max != Some(0) => Cause::LimitReached { retry_after: reset.map(NonZeroU64::get) },
            Forbidden | Limit => Cause::Forbidden,
            Malformed => Cause::Malformed,
            Misfit | Refused | Busy => Cause::IdentityUnavailable { retry_after: None },
        }
    }

    /// All rows.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().filter_map(|(status, code, _)| Self::find(*status, code))
    }
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn every_code_has_a_refusal() {
        let cause = |status, code| Rejection::find(status, code).unwrap().cause(NonZeroU64::new(58), Some(3));
        let limit = Cause::LimitReached { retry_after: Some(58) };
        let fault = Cause::IdentityUnavailable { retry_after: None };
        for (status, codes, expected) in [
            (400, &["bad_request", "not_valid_data"][..], Cause::Malformed),
            (
                400,
                &["content_type_invalid", "transactions_is_blank", "end_users_no_longer_supported"],
                fault.clone(),
            ),
            (403, &["user_key_invalid", "authentication_error"], Cause::KeyRefused),
            (
                403,
                &[
                    "provider_key_invalid",
                    "provider_key_or_service_token_required",
                    "service_token_invalid",
                    "provider_key_invalid_or_service_missing",
                    "service_id_invalid",
                    "usage_value_invalid",
                ],
                fault.clone(),
            ),
            (404, &["application_not_found"], Cause::KeyRefused),
            (404, &["metric_invalid"], fault.clone()),
            (
                409,
                &["application_key_invalid", "access_token_invalid", "user_key_invalid"],
                Cause::KeyRefused,
            ),
            (
                409,
                &["referrer_not_allowed", "application_not_active", "service_not_active"],
                Cause::Forbidden,
            ),
            (409, &["limits_exceeded"], limit),
            (409, &["oauth_not_enabled", "redirect_uri_invalid", "redirect_url_invalid"], fault.clone()),
            (422, &["not_valid_data"], Cause::Malformed),
            (422, &["service_id_missing", "referrer_filter_invalid"], fault.clone()),
            (413, &[""], fault.clone()),
            (428, &[""], fault.clone()),
            (429, &[""], fault),
        ] {
            for code in codes {
                assert_eq!(cause(status, code), expected, "{status} {code}");
            }
        }
        for (status, code) in [(403, ""), (403, "unheard_of"), (404, ""), (409, ""), (418, "teapot")] {
            assert_eq!(Rejection::find(status, code), None, "{status} {code}");
        }
    }

    #[test]
    fn a_limit_of_zero_is_never_worth_waiting_for() {
        let rejection = Rejection::find(409, "limits_exceeded").unwrap();
        assert_eq!(rejection.cause(NonZeroU64::new(58), Some(0)), Cause::Forbidden);
        assert_eq!(rejection.cause(None, Some(3)), Cause::LimitReached { retry_after: None });
    }

    #[test]
    fn rows_are_found_by_their_number() {
        for rejection in Rejection::all() {
            assert_eq!(Rejection::numbered(rejection.number()), Some(rejection));
        }
        assert_eq!(Rejection::numbered(u8::MAX), None);
    }
}
