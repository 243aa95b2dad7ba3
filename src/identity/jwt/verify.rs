//! Verifies a token: first the cache, then what is cheap, then the signature.

use std::rc::Rc;

use super::{
    Effort, Jws, KeySets, Keys, Provider, Verifications, claims,
    key::Key,
    published::{Obtained, Unobtained},
    signature,
};
use crate::{
    credential::AccessToken,
    identity::{IdentityCache, Lookup, TokenFault, Vouched, check_kind, check_times},
    ports::Ports,
    provider::{Asker, CallRecord},
    store::Store,
};

/// The result of verifying a token.
#[derive(Debug)]
pub struct Verified {
    /// What is known about the token, or why nothing is known.
    pub result: Result<Vouched<'static>, Unverified>,
    /// How that was obtained; `None` if the token was refused before it was looked at closely.
    pub lookup: Option<Lookup>,
    /// The call for keys, if this request made one.
    pub call: Option<CallRecord>,
    /// What became of its signature, if it came to that.
    pub verdict: Option<Verdict>,
}

/// The result of verifying a statement.
#[derive(Debug)]
pub struct Statement {
    /// Its claims in JSON, or why they are not known.
    pub result: Result<Vec<u8>, Unverified>,
    /// The call for keys, if this request made one.
    pub call: Option<CallRecord>,
    /// What became of its signature, if it came to that.
    pub verdict: Option<Verdict>,
}

/// Why a token is not verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unverified {
    /// The token is invalid.
    Invalid(TokenFault),
    /// There are no keys.
    NoKeys(Unobtained),
    /// The worker has verified as many signatures as it may in this second.
    TooMany,
}

/// What became of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It is valid.
    Valid,
    /// It is not.
    Invalid,
    /// It was not verified, because there were too many.
    Left,
}

/// What tokens are verified with.
#[derive(Clone, Copy, Debug)]
pub struct Tools<'a> {
    /// Where verified tokens are cached.
    pub cache: &'a IdentityCache,
    /// The keys that issuers publish.
    pub sets: &'a KeySets,
    /// How many signatures may be verified.
    pub verifications: &'a Verifications,
}

impl Verdict {
    /// Its name in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Invalid => "invalid",
            Self::Left => "too_many",
        }
    }
}

impl From<TokenFault> for Unverified {
    fn from(fault: TokenFault) -> Self {
        Self::Invalid(fault)
    }
}

/// Verifies that `token` is one of `provider`'s.
pub async fn verify<S: Store>(
    provider: &Provider,
    token: &AccessToken,
    tools: Tools<'_>,
    ports: &Ports<S>,
) -> Verified {
    let settings = provider.settings();
    let key = provider.cache_key(&ports.digest_of(token.secret()));
    if let Some(vouched) = tools.cache.fresh(ports.store(), &key, &settings.terms) {
        let result = match vouched {
            // Only signatures are remembered as invalid: all else is cheap to find out again.
            Vouched::Inactive => Err(TokenFault::BadSignature.into()),
            active => Ok(active),
        };
        return Verified { result, lookup: Some(Lookup::Hit), call: None, verdict: None };
    }
    let mut verified = Verified { result: Ok(Vouched::Inactive), lookup: None, call: None, verdict: None };
    let asker = if tools.cache.knows(ports.store(), &key) { Asker::Known } else { Asker::Stranger };
    let result = anew(provider, token.secret(), asker, tools, ports, &mut verified).await;
    verified.result = result;
    if let Some(verdict) = verified.verdict.filter(|verdict| *verdict != Verdict::Left) {
        verified.lookup = Some(Lookup::Miss);
        let answer = match (verdict, &verified.result) {
            (Verdict::Valid, Ok(vouched)) => vouched.clone(),
            _ => Vouched::Inactive,
        };
        tools.cache.keep(ports.store(), &key, answer, &settings.terms);
    }
    verified
}

/// Verifies a statement that is no token: `provider` signed it, and `typ` says what it is. Returns its
/// claims, in JSON.
pub async fn verify_statement<S: Store>(
    provider: &Provider,
    text: &str,
    typ: &str,
    longest: usize,
    asker: Asker,
    tools: Tools<'_>,
    ports: &Ports<S>,
) -> Statement {
    let mut notes = Verified { result: Ok(Vouched::Inactive), lookup: None, call: None, verdict: None };
    let result = match Jws::parse_statement(text, typ, longest) {
        Ok(jws) if !provider.settings().algorithms.contains(&jws.algorithm) => {
            Err(TokenFault::WrongAlgorithm.into())
        }
        Ok(jws) => match is_signed_by(provider, &jws, asker, tools, ports, &mut notes).await {
            Ok(true) => Ok(jws.payload),
            Ok(false) => Err(TokenFault::BadSignature.into()),
            Err(unverified) => Err(unverified),
        },
        Err(fault) => Err(fault.into()),
    };
    Statement { result, call: notes.call, verdict: notes.verdict }
}

/// Verifies a token that is not in the cache, and notes what that took.
async fn anew<S: Store>(
    provider: &Provider,
    token: &str,
    asker: Asker,
    tools: Tools<'_>,
    ports: &Ports<S>,
    notes: &mut Verified,
) -> Result<Vouched<'static>, Unverified> {
    let settings = provider.settings();
    let jws = Jws::parse(token)?;
    if !settings.algorithms.contains(&jws.algorithm) {
        return Err(TokenFault::WrongAlgorithm.into());
    }
    let identity = claims::read(&jws.payload, settings, tools.cache.asked())?;
    check_kind(&identity)?;
    check_times(&identity, ports.now(), provider.tolerance())?;
    if is_signed_by(provider, &jws, asker, tools, ports, notes).await? {
        Ok(Vouched::Active(identity))
    } else {
        Err(TokenFault::BadSignature.into())
    }
}

/// Whether the signature is of the key that `provider` has for it.
async fn is_signed_by<S: Store>(
    provider: &Provider,
    jws: &Jws<'_>,
    asker: Asker,
    tools: Tools<'_>,
    ports: &Ports<S>,
    notes: &mut Verified,
) -> Result<bool, Unverified> {
    let set = match &provider.settings().keys {
        Keys::Written(set, _) => Rc::clone(set),
        // The policy lets no rule come here.
        Keys::None => return Err(TokenFault::UnknownKey.into()),
        Keys::Published(publication) => {
            let Obtained { set, call } = tools.sets.obtain(publication, None, ports).await;
            notes.call = call;
            let set = set.map_err(Unverified::NoKeys)?;
            match set.find(jws) {
                Err(TokenFault::UnknownKey) if notes.call.is_none() => {
                    // The issuer may have a new key.
                    let Obtained { set: newer, call } =
                        tools.sets.obtain(publication, Some(&set), ports).await;
                    notes.call = call;
                    newer.unwrap_or(set)
                }
                _ => set,
            }
        }
    };
    is_signed(jws, set.find(jws)?, asker, tools.verifications, ports, notes)
}

fn is_signed<S: Store>(
    jws: &Jws<'_>,
    key: &Key,
    asker: Asker,
    verifications: &Verifications,
    ports: &Ports<S>,
    notes: &mut Verified,
) -> Result<bool, Unverified> {
    if jws.signature.len() != key.material.signature_length() {
        return Err(TokenFault::BadSignature.into());
    }
    if !verifications.admit(Effort::of(key), asker, ports.now()) {
        notes.verdict = Some(Verdict::Left);
        return Err(Unverified::TooMany);
    }
    let is_valid = signature::is_valid(jws, key);
    notes.verdict = Some(if is_valid { Verdict::Valid } else { Verdict::Invalid });
    Ok(is_valid)
}
