//! Identification: the rule's access strategies, tried in order. The first whose credential is present
//! decides.

use std::time::Duration;

use super::{
    backing::{Backing, by_backend},
    place::Place,
    request::Request,
    trail::{CredentialPlace, PresentedKey, ProviderCall, Trail},
};
use crate::{
    credential::{
        AccessToken, Digest, Located, MisplacedCredential, PresentedApplication, ProviderSecret, locate,
        locate_application,
    },
    identity::{
        Identity, Lookup, Requirement, TokenFault, Tolerance, Vouched,
        application::ApplicationFault,
        check,
        introspection::{self, Consulted, Signed, Signer, introspect},
        jwt::{self, Unobtained, Unverified, Verified, verify},
        threescale::Applicant,
    },
    policy::{Access, DefaultCredentials, Policy, Provider, Rule, TokenWay},
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
    /// The digest of the API key.
    pub key: Option<Digest>,
    /// What a provider says about the caller.
    pub identity: Option<Identity<'static>>,
    /// What a provider of applications said about it.
    pub backing: Option<Box<Backing>>,
}

/// The kind of credential that identified the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Credential {
    /// None: the rule is open to everyone.
    None,
    /// An API key, or an application.
    Key,
    /// An access token.
    Token,
}

/// What a request presents for a way in.
enum Presented<'r> {
    Key(Located<'r>),
    Application(PresentedApplication<'r>),
    Token(Located<'r>),
}

/// Tries the rule's access strategies in order.
pub(super) async fn identify<S: Store>(
    place: &Place<'_>,
    request: &Request,
    ports: &Ports<S>,
    trail: &mut Trail,
) -> Result<Caller, Refusal> {
    for access in &place.rule.access {
        let presented = match access {
            Access::Allow => {
                return Ok(Caller {
                    credential: Credential::None,
                    consumer: None,
                    key: None,
                    identity: None,
                    backing: None,
                });
            }
            Access::Deny => return Err(Cause::Forbidden.because("the rule denies all access")),
            Access::ApiKey | Access::Application | Access::Token(_) | Access::Threescale { .. } => {
                present(place, access, request)
                    .map_err(|misplaced| Cause::Malformed.because(Reason::of(&misplaced)))?
            }
        };
        let Some(presented) = presented else { continue };
        trail.credential = Some(presented.place());
        return match (access, presented) {
            (Access::Token(_), Presented::Token(token)) => {
                let token = AccessToken::new(token.credential);
                by_token(place, way_for(place.rule, token.secret()), &token, ports, trail).await
            }
            (Access::Threescale { provider, token }, presented) => {
                // Boxed, so that requests without such a provider do not have to make room for it.
                let (provider, token) = (*provider, token.as_ref());
                Box::pin(by_provider(place, provider, token, presented, request, ports, trail)).await
            }
            (_, Presented::Key(key)) => by_key(place, &key.credential, ports, trail),
            (_, Presented::Application(PresentedApplication { id, key })) => {
                let key = key.as_ref().map(|key| &*key.credential);
                by_application(place, &id.credential, key, ports, trail)
            }
            _ => Err(Cause::Internal.because("the credential is not of the kind that the way in takes")),
        };
    }
    if let Some(default) = &place.api.default_credentials
        && let Some(caller) = Box::pin(by_default(place, default, request, ports, trail)).await
    {
        return caller;
    }
    Err(if place.rule.challenges.token {
        Cause::TokenMissing.because("no credential was presented")
    } else {
        Cause::KeyMissing.because("no API key was presented")
    })
}

/// What the request presents for a way in, if it presents anything.
fn present<'r>(
    place: &'r Place<'_>,
    access: &Access,
    request: &'r Request,
) -> Result<Option<Presented<'r>>, MisplacedCredential> {
    let (api, headers, query) = (place.api, request.headers(), place.query);
    if access.takes_keys()
        && let Some(key) = locate(&api.key_locations, headers, query)?
    {
        return Ok(Some(Presented::Key(key)));
    }
    if access.takes_applications()
        && let Some(application) =
            locate_application(&api.app_id_locations, &api.app_key_locations, headers, query)?
    {
        return Ok(Some(Presented::Application(application)));
    }
    if access.takes_tokens()
        && let Some(token) = locate(&api.token_locations, headers, query)?
    {
        return Ok(Some(Presented::Token(token)));
    }
    Ok(None)
}

impl Presented<'_> {
    const fn place(&self) -> CredentialPlace {
        match self {
            Self::Key(key) => CredentialPlace::Key(key.location),
            Self::Application(application) => CredentialPlace::Application(application.id.location),
            Self::Token(token) => CredentialPlace::Token(token.location),
        }
    }
}

/// Identifies a request without credentials by the API's default ones, if the rule takes these.
async fn by_default<S: Store>(
    place: &Place<'_>,
    default: &DefaultCredentials,
    request: &Request,
    ports: &Ports<S>,
    trail: &mut Trail,
) -> Option<Result<Caller, Refusal>> {
    let mut access = place.rule.access.iter();
    let (access, applicant) = match default {
        DefaultCredentials::Key(key) => {
            (access.find(|access| access.takes_keys())?, Applicant::UserKey(key.secret()))
        }
        DefaultCredentials::Application { id, key } => {
            let key = key.as_ref().map(ProviderSecret::secret);
            (access.find(|access| access.takes_applications())?, Applicant::Application { id, key })
        }
    };
    Some(match (access, applicant) {
        (Access::Threescale { provider, token: _ }, applicant) => {
            by_backend(place, *provider, applicant, None, request, ports, trail).await
        }
        (_, Applicant::Application { id, key }) => by_application(place, id, key, ports, trail),
        (_, Applicant::UserKey(key) | Applicant::Client(key)) => by_key(place, key, ports, trail),
    })
}

/// Identifies an application that a provider vouches for: by what the request presents, or by the client of
/// its token.
async fn by_provider<S: Store>(
    place: &Place<'_>,
    provider: usize,
    token: Option<&TokenWay>,
    presented: Presented<'_>,
    request: &Request,
    ports: &Ports<S>,
    trail: &mut Trail,
) -> Result<Caller, Refusal> {
    match (token, presented) {
        (None, Presented::Key(key)) => {
            let applicant = Applicant::UserKey(&key.credential);
            by_backend(place, provider, applicant, None, request, ports, trail).await
        }
        (None, Presented::Application(PresentedApplication { id, key })) => {
            let key = key.as_ref().map(|key| &*key.credential);
            let applicant = Applicant::Application { id: &id.credential, key };
            by_backend(place, provider, applicant, None, request, ports, trail).await
        }
        (Some(way), Presented::Token(token)) => {
            let token = AccessToken::new(token.credential);
            let caller = by_token(place, Some(way), &token, ports, trail).await?;
            let client = caller.identity.as_ref().and_then(|identity| identity.client_id.as_deref());
            let client = client
                .map(str::to_owned)
                .ok_or_else(|| Cause::Forbidden.because("the token names no client"))?;
            let applicant = Applicant::Client(&client);
            by_backend(place, provider, applicant, caller.identity, request, ports, trail).await
        }
        _ => Err(Cause::Internal.because("the credential is not of the kind that the way in takes")),
    }
}

fn by_key<S: Store>(
    place: &Place<'_>,
    key: &str,
    ports: &Ports<S>,
    trail: &mut Trail,
) -> Result<Caller, Refusal> {
    let record = place.policy.keys.find(&ports.digest_of(key), ports.now());
    // The owner goes into the log, also if the key is refused.
    let known = record.map_or_else(|refused| refused.record, Some);
    trail.key = known.and_then(|record| record.id).map(PresentedKey::Api);
    trail.consumer = known.and_then(|record| usize::try_from(record.consumer).ok());
    let record = record.map_err(|refused| Cause::KeyRefused.because(Reason::of(&refused.fault)))?;
    by_consumer(place, Some(record.digest), "the API key's consumer is suspended", trail)
}

fn by_application<S: Store>(
    place: &Place<'_>,
    id: &str,
    key: Option<&str>,
    ports: &Ports<S>,
    trail: &mut Trail,
) -> Result<Caller, Refusal> {
    let refused = |fault: ApplicationFault| Cause::KeyRefused.because(Reason::of(&fault));
    trail.consumer = place.policy.consumers.by_application(id);
    let index = trail.consumer.and_then(|owner| u32::try_from(owner).ok());
    let index = index.ok_or_else(|| refused(ApplicationFault::Unknown))?;
    let key = key.map(|key| ports.digest_of(key));
    let checked = place.policy.application_keys.check(index, key.as_ref(), ports.now());
    let known = checked.unwrap_or_else(|refused| refused.record);
    trail.key = known.and_then(|record| record.id).map(PresentedKey::Application);
    let record = checked.map_err(|unaccepted| refused(unaccepted.fault))?;
    let digest = record.map(|record| record.digest);
    by_consumer(place, digest, "the application's consumer is suspended", trail)
}

/// The caller that a key or an application belongs to, which is the consumer in the trail.
#[inline]
fn by_consumer(
    place: &Place<'_>,
    key: Option<Digest>,
    suspended: &'static str,
    trail: &Trail,
) -> Result<Caller, Refusal> {
    let owner = trail.consumer;
    let is_active =
        owner.and_then(|owner| place.policy.consumers.get(owner)).is_some_and(|consumer| consumer.active);
    if !is_active {
        return Err(Cause::KeyRefused.because(suspended));
    }
    Ok(Caller { credential: Credential::Key, consumer: owner, key, identity: None, backing: None })
}

/// Which of the rule's ways in decides about `token`. If there are several for tokens, that is the one for
/// the issuer that the token names. Nothing verifies that name yet, so it can only choose who refuses.
fn way_for<'a>(rule: &'a Rule, token: &str) -> Option<&'a TokenWay> {
    let mut ways = rule.access.iter().filter_map(|access| match access {
        Access::Token(way) => Some(way),
        Access::Allow | Access::Deny | Access::ApiKey | Access::Application | Access::Threescale { .. } => {
            None
        }
    });
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

async fn by_token<S: Store>(
    place: &Place<'_>,
    way: Option<&TokenWay>,
    token: &AccessToken,
    ports: &Ports<S>,
    trail: &mut Trail,
) -> Result<Caller, Refusal> {
    let policy = place.policy;
    if policy.revoked.contain(token.secret(), |token| ports.digest_of(token)) {
        return Err(Cause::TokenInvalid.because(Reason::of(&TokenFault::Revoked)));
    }
    let Some(TokenWay { provider: index, requirement, .. }) = way else {
        return Err(Cause::TokenInvalid.because(Reason::of(&TokenFault::WrongIssuer)));
    };
    let (vouched, tolerance) = match policy.providers.get(*index) {
        Some(Provider::Introspection(provider)) => {
            let vouched = by_introspection(policy, *index, provider, token, ports, trail).await?;
            (vouched, Tolerance { start: provider.settings().leeway, end: Duration::ZERO })
        }
        Some(Provider::Jwks(provider)) => {
            (by_signature(policy, *index, provider, token, ports, trail).await?, provider.tolerance())
        }
        _ => return Err(Cause::ProviderMissing.because("the provider does not exist")),
    };
    // This also applies if the answer was cached for another rule.
    check(&vouched, requirement, ports.now(), tolerance).map_err(|fault| rejected(fault, requirement))?;
    let Vouched::Active(claims) = vouched else {
        return Err(rejected(TokenFault::Inactive, requirement));
    };
    let consumer = claims.client_id.as_deref().and_then(|client| policy.consumers.by_client(client));
    trail.consumer = consumer;
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
        return Err(Cause::TokenInvalid.because(Reason::of(&TokenFault::WrongIssuer)));
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
        Unverified::Invalid(fault) => Cause::TokenInvalid.because(Reason::of(&fault)),
        Unverified::NoKeys(Unobtained { fault, retry_after }) => unavailable(fault, retry_after),
        Unverified::TooMany => Cause::IdentityUnavailable { retry_after: Some(1) }
            .because("too many signatures to verify in this second"),
    })
}

const fn tools(policy: &Policy) -> jwt::Tools<'_> {
    jwt::Tools { cache: &policy.identities, sets: &policy.key_sets, verifications: &policy.verifications }
}

fn rejected(fault: TokenFault, requirement: &Requirement) -> Refusal {
    let cause = match fault {
        TokenFault::InsufficientScope => {
            let scopes = requirement.scopes.as_ref();
            let required = scopes.map(|scopes| scopes.iter().collect::<Vec<_>>().join(" "));
            Cause::ScopeMissing { required: required.unwrap_or_default() }
        }
        TokenFault::InsufficientClaims => Cause::ScopeMissing { required: String::new() },
        _ => Cause::TokenInvalid,
    };
    cause.because(Reason::of(&fault))
}

/// The refusal because of a provider that gives no usable answer.
pub(super) fn unavailable(fault: ProviderFault, retry_after: Option<u64>) -> Refusal {
    let cause = match fault {
        ProviderFault::UnknownCluster => Cause::ClusterUnknown,
        ProviderFault::NoHealthyHost => Cause::NoHealthyHost,
        _ => Cause::IdentityUnavailable { retry_after },
    };
    cause.because(Reason::of(&fault))
}
