//! Reads the reply of an introspection endpoint (RFC 7662 section 2.2): a typed answer, or the reason why
//! there is none.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Audiences, Claims, Introspected};
use crate::provider::ProviderReply;
use crate::time::Timestamp;

/// The longest body that is read, in bytes.
pub const MAX_REPLY: usize = 64 * 1024;

/// Why a provider gave no answer that can be used. Never the caller's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProviderFault {
    /// 401 or 403: it refuses us, not the token. The operator's fault.
    #[error("the provider refuses our own credentials with status {status}")]
    Refused {
        /// HTTP status.
        status: u16,
    },
    /// Any other status than 200.
    #[error("the provider answers with status {status}")]
    Status {
        /// HTTP status.
        status: u16,
        /// After how many seconds it wants to be asked again; with 429 and 503 only.
        retry_after: Option<u64>,
    },
    /// The content type is not JSON.
    #[error("the provider does not answer in JSON")]
    NotJson,
    /// Not the JSON that it should be.
    #[error("the provider answers nonsense")]
    Malformed,
    /// Longer than [`MAX_REPLY`].
    #[error("the answer of the provider is too long")]
    TooLarge,
    /// No answer in time.
    #[error("the provider does not answer in time")]
    TimedOut,
    /// The connection failed, or Envoy could not hold the answer.
    #[error("the call to the provider failed")]
    Failed,
    /// Envoy knows no cluster of that name. The operator's fault.
    #[error("the cluster of the provider is unknown")]
    UnknownCluster,
    /// The cluster has no healthy host.
    #[error("the cluster of the provider has no healthy host")]
    NoHealthyHost,
    /// This worker has as many calls open as it allows itself.
    #[error("too many calls are open")]
    TooManyCalls,
}

impl ProviderFault {
    /// After how many seconds the provider wants to be asked again.
    pub const fn retry_after(self) -> Option<u64> {
        match self {
            Self::Status { retry_after, .. } => retry_after,
            _ => None,
        }
    }
}

/// Reads the reply to a [`Provider::request`](super::Provider::request).
pub fn read(reply: &ProviderReply) -> Result<Introspected<'static>, ProviderFault> {
    let (status, content_type, retry_after, body) = match reply {
        ProviderReply::Answered { status, content_type, retry_after, body } => {
            (*status, content_type.as_deref(), *retry_after, body)
        }
        ProviderReply::TimedOut => return Err(ProviderFault::TimedOut),
        ProviderReply::Failed => return Err(ProviderFault::Failed),
        ProviderReply::UnknownCluster => return Err(ProviderFault::UnknownCluster),
        ProviderReply::NoHealthyHost => return Err(ProviderFault::NoHealthyHost),
        ProviderReply::TooManyCalls => return Err(ProviderFault::TooManyCalls),
    };
    match status {
        200 => {}
        401 | 403 => return Err(ProviderFault::Refused { status }),
        429 | 503 => return Err(ProviderFault::Status { status, retry_after }),
        _ => return Err(ProviderFault::Status { status, retry_after: None }),
    }
    if !content_type.is_some_and(is_json) {
        return Err(ProviderFault::NotJson);
    }
    if body.len() > MAX_REPLY {
        return Err(ProviderFault::TooLarge);
    }
    // To serde, an array of all fields would be a valid struct too.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(ProviderFault::Malformed);
    }
    let reply: Reply = serde_json::from_slice(body).map_err(|_| ProviderFault::Malformed)?;
    if !reply.active {
        return Ok(Introspected::Inactive);
    }
    reply.into_claims().map(Introspected::Active).ok_or(ProviderFault::Malformed)
}

fn is_json(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default().trim_ascii().to_ascii_lowercase();
    media_type == "application/json"
        || media_type.split_once('/').is_some_and(|(_, subtype)| subtype.ends_with("+json"))
}

/// The members that are read. `null` means absent, unknown members are skipped, and none of these may appear
/// twice.
#[derive(Deserialize)]
struct Reply {
    active: bool,
    exp: Option<f64>,
    nbf: Option<f64>,
    iat: Option<f64>,
    sub: Option<String>,
    client_id: Option<String>,
    azp: Option<String>,
    username: Option<String>,
    iss: Option<String>,
    token_type: Option<String>,
    token_use: Option<String>,
    typ: Option<String>,
    aud: Option<OneOrMany>,
    scope: Option<OneOrMany>,
    scp: Option<OneOrMany>,
    scopes: Option<OneOrMany>,
    cnf: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl Reply {
    fn into_claims(self) -> Option<Claims<'static>> {
        let scope = match self.scope.or(self.scp).or(self.scopes) {
            Some(OneOrMany::One(scopes)) => scopes,
            Some(OneOrMany::Many(scopes)) => joined(scopes),
            None => String::new(),
        };
        let audiences = match self.aud {
            Some(OneOrMany::One(audience)) => vec![audience],
            Some(OneOrMany::Many(audiences)) => audiences,
            None => Vec::new(),
        };
        Some(Claims {
            exp: self.exp.map(moment),
            nbf: self.nbf.map(moment),
            iat: self.iat.map(moment),
            sub: self.sub.map(Cow::Owned),
            client_id: self.client_id.or(self.azp).map(Cow::Owned),
            username: self.username.map(Cow::Owned),
            iss: self.iss.map(Cow::Owned),
            token_type: self.token_type.map(Cow::Owned),
            token_use: self.token_use.map(Cow::Owned),
            typ: self.typ.map(Cow::Owned),
            scope: Cow::Owned(scope),
            audiences: Audiences::new(&audiences)?,
            is_sender_constrained: self.cnf.is_some(),
        })
    }
}

/// Joins a list of scopes. An entry with a space is left out: no rule can require it, and it must not be read
/// as two scopes.
fn joined(mut scopes: Vec<String>) -> String {
    scopes.retain(|scope| !scope.contains(' '));
    scopes.join(" ")
}

/// Converts a `NumericDate` (RFC 7519): seconds, possibly with a fraction. Moments before the epoch become
/// the epoch, and those beyond [`Timestamp::MAX`] become that.
fn moment(seconds: f64) -> Timestamp {
    // `as` saturates; there is no fallible conversion from floating point.
    Timestamp::from_millis((seconds * 1000.0) as u64)
}

#[cfg(test)]
mod tests;
