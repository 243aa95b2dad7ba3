//! Identification by an access token: which way in decides about it, and whether the token is good enough for
//! that way.

use std::time::Duration;

use serde_json::Value;

use super::{
    identify::{Caller, Credential, unavailable},
    place::Place,
    request::Request,
    trail::{ProviderCall, Trail},
};
use crate::{
    credential::AccessToken,
    identity::{
        Lookup, Requirement, TokenFault, Tolerance, Vouched, check,
        introspection::{self, Consulted, Signed, Signer, introspect},
        jwt::{self, Unobtained, Unverified, Verified, verify},
    },
    policy::{Access, Policy, Provider, Rule, TokenWay, VerifiedBy},
    ports::Ports,
    refusal::{Cause, Reason, Refusal},
    store::Store,
};

/// Which of the rule's ways in decides about `token`. If there are several for tokens, that is the one for
/// the issuer that the token names. Nothing verifies that name yet, so it can only choose who refuses.
pub(super) fn way_for<'a>(rule: &'a Rule, token: &str) -> Option<&'a TokenWay> {
    let mut ways = ways(rule);
    let (first, others) = (ways.next()?, ways);
    if others.clone().next().is_none() {
        return Some(first);
    }
    let issuer = jwt::claimed_issuer(token);
    let mut ways = std::iter::once(first).chain(others);
    match issuer {
        Some(issuer) => ways
            .clone()
            .find(|way| way.issuers.contains(&issuer))
            .or_else(|| ways.find(|way| way.takes_others)),
        None => ways.find(|way| way.takes_others),
    }
}

/// The way in for the issuer of a token that Envoy has verified, if the rule has one.
pub(super) fn way_for_payload<'a>(rule: &'a Rule, payload: &Value) -> Option<&'a TokenWay> {
    let issuer = payload.get("iss")?.as_str()?;
    ways(rule).find(|way| way.verified_by == VerifiedBy::Envoy && way.issuers.iter().any(|own| own == issuer))
}

fn ways(rule: &Rule) -> impl Iterator<Item = &TokenWay> + Clone {
    rule.access.iter().filter_map(|access| match access {
        Access::Token(way) => Some(way),
        Access::Allow | Access::Deny | Access::ApiKey | Access::Application | Access::Threescale { .. } => {
            None
        }
    })
}

/// The payload of the token that Envoy has verified for `way`; `None` if it has not, or is not to verify any.
pub(super) fn payload(place: &Place<'_>, way: &TokenWay, request: &Request) -> Option<Value> {
    match (way.verified_by, place.policy.providers.get(way.provider)?) {
        (VerifiedBy::Envoy, Provider::Jwks(provider)) => {
            jwt::payload(&request.metadata()?, &provider.settings().payload_in_metadata)
        }
        _ => None,
    }
}

/// Identifies the caller by a token that the request presents.
pub(super) async fn by_token<S: Store>(
    place: &Place<'_>,
    way: Option<&TokenWay>,
    token: &AccessToken,
    request: &Request,
    ports: &Ports<S>,
    trail: &mut Trail,
) -> Result<Caller, Refusal> {
    let policy = place.policy;
    if policy.revoked.contain(token.secret(), |token| ports.digest_of(token)) {
        return Err(invalid(TokenFault::Revoked));
    }
    let way = way.ok_or_else(|| invalid(TokenFault::WrongIssuer))?;
    let (vouched, tolerance) = match (way.verified_by, policy.providers.get(way.provider)) {
        (VerifiedBy::Sidegate, Some(Provider::Introspection(provider))) => {
            let vouched = by_introspection(policy, way.provider, provider, token, ports, trail).await?;
            (vouched, Tolerance { start: provider.settings().leeway, end: Duration::ZERO })
        }
        (VerifiedBy::Sidegate, Some(Provider::Jwks(provider))) => {
            let vouched = by_signature(policy, way.provider, provider, token, ports, trail).await?;
            (vouched, provider.tolerance())
        }
        (VerifiedBy::Envoy, Some(Provider::Jwks(_))) => {
            let payload = payload(place, way, request).ok_or_else(|| invalid(TokenFault::NotVerified))?;
            return by_payload(place, way, Some(token), &payload, request, ports, trail);
        }
        _ => return Err(Cause::ProviderMissing.because("the provider does not exist")),
    };
    admit(place, way, vouched, tolerance, request, ports, trail)
}

/// Identifies the caller by a token that Envoy has verified. `token` is the one that the request still has.
pub(super) fn by_payload<S: Store>(
    place: &Place<'_>,
    way: &TokenWay,
    token: Option<&AccessToken>,
    payload: &Value,
    request: &Request,
    ports: &Ports<S>,
    trail: &mut Trail,
) -> Result<Caller, Refusal> {
    let policy = place.policy;
    let Some(Provider::Jwks(provider)) = policy.providers.get(way.provider) else {
        return Err(Cause::ProviderMissing.because("the provider does not exist"));
    };
    // The filter may have taken the token from elsewhere, where nobody looked whether it is revoked.
    let is_the_one = |token: &AccessToken| jwt::has_payload(token.secret(), payload);
    if !policy.revoked.is_empty() && !token.is_some_and(is_the_one) {
        return Err(invalid(TokenFault::Hidden));
    }
    let identity =
        jwt::of_payload(payload, provider.settings(), policy.identities.asked()).map_err(invalid)?;
    admit(place, way, Vouched::Active(identity), provider.tolerance(), request, ports, trail)
}

/// Checks what is known about the token against what the way in asks for. That is done for every request: an
/// answer may have been cached for another rule.
fn admit<S: Store>(
    place: &Place<'_>,
    way: &TokenWay,
    vouched: Vouched<'static>,
    tolerance: Tolerance,
    request: &Request,
    ports: &Ports<S>,
    trail: &mut Trail,
) -> Result<Caller, Refusal> {
    let (policy, requirement) = (place.policy, &way.requirement);
    if let Vouched::Active(claims) = &vouched {
        // The consumer goes into the log, also if the token is refused.
        trail.consumer = claims.client_id.as_deref().and_then(|client| policy.consumers.by_client(client));
    }
    let certificate = || request.certificate(policy.client_certificate);
    check(&vouched, requirement, ports.now(), tolerance, certificate)
        .map_err(|fault| rejected(fault, requirement))?;
    let Vouched::Active(claims) = vouched else {
        return Err(rejected(TokenFault::Inactive, requirement));
    };
    let consumer = trail.consumer;
    Ok(Caller { credential: Credential::Token, consumer, key: None, identity: Some(claims), backing: None })
}

async fn by_introspection<S: Store>(
    policy: &Policy,
    index: usize,
    provider: &introspection::Provider,
    token: &AccessToken,
    ports: &Ports<S>,
    trail: &mut Trail,
) -> Result<Vouched<'static>, Refusal> {
    let signer = match &provider.settings().signed {
        Some(Signed { signer, .. }) => {
            let Some(Provider::Jwks(provider)) = policy.providers.get(*signer) else {
                return Err(Cause::ProviderMissing.because("the provider does not exist"));
            };
            Some((*signer, Signer { provider, tools: tools(policy) }))
        }
        None => None,
    };
    let Consulted { result, calls, signature } = introspect(
        provider,
        token,
        &policy.identities,
        &policy.rests,
        signer.map(|(_, signer)| signer),
        ports,
    )
    .await;
    trail.calls.extend(calls.into_iter().map(|record| ProviderCall { provider: index, record }));
    if let Some((signer, _)) = signer {
        trail.calls.extend(signature.call.map(|record| ProviderCall { provider: signer, record }));
        trail.verification = signature.verdict.map(|verdict| (signer, verdict));
    }
    let (vouched, lookup) = result.map_err(|fault| unavailable(fault, fault.retry_after()))?;
    trail.lookup = Some(lookup);
    if lookup == Lookup::Foreign {
        return Err(invalid(TokenFault::WrongIssuer));
    }
    Ok(vouched)
}

async fn by_signature<S: Store>(
    policy: &Policy,
    index: usize,
    provider: &jwt::Provider,
    token: &AccessToken,
    ports: &Ports<S>,
    trail: &mut Trail,
) -> Result<Vouched<'static>, Refusal> {
    let Verified { result, lookup, call, verdict } = verify(provider, token, tools(policy), ports).await;
    trail.calls.extend(call.map(|record| ProviderCall { provider: index, record }));
    trail.lookup = lookup;
    trail.verification = verdict.map(|verdict| (index, verdict));
    result.map_err(|unverified| match unverified {
        Unverified::Invalid(fault) => invalid(fault),
        Unverified::NoKeys(Unobtained { fault, retry_after }) => unavailable(fault, retry_after),
        Unverified::TooMany => Cause::IdentityUnavailable { retry_after: Some(1) }
            .because("too many signatures to verify in this second"),
    })
}

const fn tools(policy: &Policy) -> jwt::Tools<'_> {
    jwt::Tools { cache: &policy.identities, sets: &policy.key_sets, verifications: &policy.verifications }
}

fn invalid(fault: TokenFault) -> Refusal {
    Cause::TokenInvalid.because(Reason::of(&fault))
}

fn rejected(fault: TokenFault, requirement: &Requirement) -> Refusal {
    let cause = match fault {
        TokenFault::InsufficientScope => {
            let scopes = requirement.scopes.as_ref();
            let required = scopes.map(|scopes| scopes.iter().collect::<Vec<_>>().join(" "));
            Cause::ScopeMissing { required: required.unwrap_or_default() }
        }
        TokenFault::InsufficientClaims => Cause::ScopeMissing { required: String::new() },
        _ => return invalid(fault),
    };
    cause.because(Reason::of(&fault))
}
