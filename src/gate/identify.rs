//! Identification: the rule's access strategies, tried in order. The first whose credential is present
//! decides.

use super::{
    place::Place,
    request::Request,
    trail::{CredentialPlace, ProviderCall, Trail},
};
use crate::{
    credential::{AccessToken, Located, locate},
    identity::{
        Identity, Lookup, Requirement, TokenFault, Vouched, check,
        introspection::{Consulted, introspect},
    },
    policy::{Access, Provider},
    ports::Ports,
    provider::ProviderFault,
    refusal::{Cause, Reason, Refusal},
    store::Store,
};

/// Who the credential belongs to.
pub(super) struct Caller {
    pub credential: Credential,
    /// The consumer, as an index into the policy's consumers.
    pub consumer: Option<usize>,
    /// What a provider says about the caller.
    pub identity: Option<Identity<'static>>,
}

/// The kind of credential that identified the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Credential {
    /// None: the rule is open to everyone.
    None,
    /// An API key.
    Key,
    /// An access token.
    Token,
}

/// Tries the rule's access strategies in order.
pub(super) async fn identify<S: Store>(
    place: &Place<'_>,
    request: &Request,
    ports: &Ports<S>,
    trail: &mut Trail,
) -> Result<Caller, Refusal> {
    for access in &place.rule.access {
        let locations = match access {
            Access::Allow => {
                return Ok(Caller { credential: Credential::None, consumer: None, identity: None });
            }
            Access::Deny => return Err(Cause::Forbidden.because("the rule denies all access")),
            Access::ApiKey => &place.api.key_locations,
            Access::Introspection { .. } => &place.api.token_locations,
        };
        let located = locate(locations, request.headers(), place.query);
        let located = located.map_err(|misplaced| Cause::Malformed.because(Reason::of(&misplaced)))?;
        let Some(Located { credential, location }) = located else { continue };
        trail.credential = Some(match access {
            Access::Introspection { .. } => CredentialPlace::Token(location),
            Access::Allow | Access::Deny | Access::ApiKey => CredentialPlace::Key(location),
        });
        return match access {
            Access::Introspection { provider, requirement } => {
                by_token(place, *provider, requirement, &AccessToken::new(credential), ports, trail).await
            }
            Access::Allow | Access::Deny | Access::ApiKey => by_key(place, &credential, ports, trail),
        };
    }
    Err(if place.rule.challenges.token {
        Cause::TokenMissing.because("no credential was presented")
    } else {
        Cause::KeyMissing.because("no API key was presented")
    })
}

fn by_key<S: Store>(
    place: &Place<'_>,
    key: &str,
    ports: &Ports<S>,
    trail: &mut Trail,
) -> Result<Caller, Refusal> {
    let record = place.policy.keys.find(&ports.digest_of(key), ports.now());
    let record = record.map_err(|fault| Cause::KeyRefused.because(Reason::of(&fault)))?;
    trail.key = record.id;
    let owner = usize::try_from(record.consumer).ok();
    let is_active =
        owner.and_then(|owner| place.policy.consumers.get(owner)).is_some_and(|consumer| consumer.active);
    if !is_active {
        return Err(Cause::KeyRefused.because("the API key's consumer is suspended"));
    }
    trail.consumer = owner;
    Ok(Caller { credential: Credential::Key, consumer: owner, identity: None })
}

async fn by_token<S: Store>(
    place: &Place<'_>,
    index: usize,
    requirement: &Requirement,
    token: &AccessToken,
    ports: &Ports<S>,
    trail: &mut Trail,
) -> Result<Caller, Refusal> {
    let policy = place.policy;
    let Some(Provider::Introspection(provider)) = policy.providers.get(index) else {
        return Err(Cause::ProviderMissing.because("the provider does not exist"));
    };
    let Consulted { result, call } =
        introspect(provider, token, &policy.identities, &policy.rests, ports).await;
    trail.calls.extend(call.map(|record| ProviderCall { provider: index, record }));
    let (introspected, lookup) = result.map_err(unavailable)?;
    trail.lookup = Some(lookup);
    let checked = match lookup {
        Lookup::Foreign => Err(TokenFault::WrongIssuer),
        // This also applies if the answer was cached for another rule.
        Lookup::Hit | Lookup::Miss | Lookup::Stale => {
            check(&introspected, requirement, ports.now(), provider.settings().leeway)
        }
    };
    checked.map_err(|fault| rejected(fault, requirement))?;
    let Vouched::Active(claims) = introspected else {
        return Err(rejected(TokenFault::Inactive, requirement));
    };
    let consumer = claims.client_id.as_deref().and_then(|client| policy.consumers.by_client(client));
    trail.consumer = consumer;
    Ok(Caller { credential: Credential::Token, consumer, identity: Some(claims) })
}

fn rejected(fault: TokenFault, requirement: &Requirement) -> Refusal {
    let cause = match fault {
        TokenFault::InsufficientScope => {
            let scopes = requirement.scopes.as_ref();
            let required = scopes.map(|scopes| scopes.iter().collect::<Vec<_>>().join(" "));
            Cause::ScopeMissing { required: required.unwrap_or_default() }
        }
        _ => Cause::TokenInvalid,
    };
    cause.because(Reason::of(&fault))
}

fn unavailable(fault: ProviderFault) -> Refusal {
    let cause = match fault {
        ProviderFault::UnknownCluster => Cause::ClusterUnknown,
        ProviderFault::NoHealthyHost => Cause::NoHealthyHost,
        _ => Cause::IdentityUnavailable { retry_after: fault.retry_after() },
    };
    cause.because(Reason::of(&fault))
}
