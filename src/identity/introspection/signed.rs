//! Signed answers of an introspection endpoint (RFC 9701): a JWT with the answer in the claim
//! `token_introspection`.

use serde::Deserialize;

use super::{
    MAX_REPLY, Provider,
    reply::{Read, body, moment, response, vouched},
};
use crate::{
    identity::{
        claims::{Claims, OneOrMany},
        jwt::{self, Statement, Unverified, object, verify_statement},
    },
    ports::Ports,
    provider::{Asker, CallRecord, CallResult, ProviderFault},
    store::Store,
    time::Timestamp,
};

/// The media type of signed answers, without `application/`.
const KIND: &str = "token-introspection+jwt";

/// The media type of signed answers.
pub(super) const MEDIA_TYPE: &str = "application/token-introspection+jwt";

/// What signed answers must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The issuer that signs them, as an index into the policy's providers.
    pub signer: usize,
    /// Who they must be for.
    pub audience: String,
}

/// An issuer that signs answers, and what they are verified with.
#[derive(Clone, Copy, Debug)]
pub struct Signer<'a> {
    /// The issuer.
    pub provider: &'a jwt::Provider,
    /// The tools.
    pub tools: jwt::Tools<'a>,
}

/// What verifying an answer took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Signature {
    /// The call for the signer's keys, if this request made one.
    pub call: Option<CallRecord>,
    /// What became of the signature, if it came to that.
    pub verdict: Option<jwt::Verdict>,
}

/// Reads the response to a call of `provider`, which must be signed by `signer`.
pub(super) async fn read_signed<S: Store>(
    result: &CallResult,
    provider: &Provider,
    signed: &Signed,
    signer: Signer<'_>,
    asker: Asker,
    ports: &Ports<S>,
    signature: &mut Signature,
) -> Result<Read, ProviderFault> {
    let Some(response) = response(result)? else { return Ok(Read::Unreadable) };
    if !response.headers.get("content-type").is_some_and(is_signed) {
        return Err(ProviderFault::Unsigned);
    }
    let text = str::from_utf8(body(response)?).map_err(|_| ProviderFault::Unsigned)?.trim_ascii();
    let Signer { provider: issuer, tools } = signer;
    let Statement { result, call, verdict } =
        verify_statement(issuer, text, KIND, MAX_REPLY, asker, tools, ports).await;
    *signature = Signature { call, verdict };
    let payload = result.map_err(|unverified| match unverified {
        Unverified::Invalid(_) => ProviderFault::Unsigned,
        Unverified::NoKeys(_) => ProviderFault::NoKeys,
        Unverified::TooMany => ProviderFault::TooManySignatures,
    })?;
    let claims: SignedClaims = object(&payload).ok_or(ProviderFault::Malformed)?;
    let leeway = provider.settings().leeway;
    if claims.iss != issuer.settings().issuer
        || !claims.is_for(&signed.audience)
        || !moment(claims.iat).is_some_and(|iat| is_near(iat, ports.now(), leeway))
    {
        return Err(ProviderFault::Unsigned);
    }
    let kept = || tools.cache.asked().keep_of_member(&payload, "token_introspection");
    vouched(claims.token_introspection, kept).map(Read::Vouched)
}

/// The claims of a signed answer. An older one, or one for somebody else, is no answer to us.
#[derive(Deserialize)]
struct SignedClaims {
    iss: String,
    aud: OneOrMany,
    iat: f64,
    token_introspection: Claims<bool>,
}

impl SignedClaims {
    fn is_for(&self, audience: &str) -> bool {
        match &self.aud {
            OneOrMany::One(one) => one == audience,
            OneOrMany::Many(many) => many.iter().any(|one| one == audience),
        }
    }
}

fn is_signed(content_type: &str) -> bool {
    content_type.split(';').next().unwrap_or_default().trim_ascii().eq_ignore_ascii_case(MEDIA_TYPE)
}

fn is_near(one: Timestamp, other: Timestamp, leeway: std::time::Duration) -> bool {
    one.since(other) <= leeway && other.since(one) <= leeway
}
