//! Identification: the rule's access strategies, tried in order. The first whose credential is present
//! decides.

use serde_json::Value;

use super::{
    backing::{Backing, by_backend},
    place::Place,
    request::Request,
    token::{by_payload, by_token, payload, way_for, way_for_payload},
    trail::{CredentialPlace, PresentedKey, Trail},
};
use crate::{
    credential::{
        AccessToken, Digest, Located, MisplacedCredential, PresentedApplication, ProviderSecret, locate,
        locate_application,
    },
    identity::{Identity, application::ApplicationFault, threescale::Applicant},
    policy::{Access, DefaultCredentials, TokenWay},
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
    /// The payload of a token that Envoy has verified, and removed.
    Payload(Value),
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
        trail.credential = presented.place();
        return match (access, presented) {
            (Access::Token(_), Presented::Token(token)) => {
                let token = AccessToken::new(token.credential);
                by_token(place, way_for(place.rule, token.secret()), &token, request, ports, trail).await
            }
            (Access::Token(way), Presented::Payload(payload)) => {
                let way = way_for_payload(place.rule, &payload).unwrap_or(way);
                by_payload(place, way, None, &payload, request, ports, trail)
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
            _ => Err(unsuitable()),
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
    // The filter that verifies a token may remove it.
    let payload = access.tokens().and_then(|way| payload(place, way, request));
    Ok(payload.map(Presented::Payload))
}

impl Presented<'_> {
    const fn place(&self) -> Option<CredentialPlace> {
        match self {
            Self::Key(key) => Some(CredentialPlace::Key(key.location)),
            Self::Application(application) => Some(CredentialPlace::Application(application.id.location)),
            Self::Token(token) => Some(CredentialPlace::Token(token.location)),
            Self::Payload(_) => None,
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
        (Some(way), presented) => {
            let caller = match presented {
                Presented::Token(token) => {
                    let token = AccessToken::new(token.credential);
                    by_token(place, Some(way), &token, request, ports, trail).await?
                }
                Presented::Payload(payload) => by_payload(place, way, None, &payload, request, ports, trail)?,
                Presented::Key(_) | Presented::Application(_) => return Err(unsuitable()),
            };
            let client = caller.identity.as_ref().and_then(|identity| identity.client_id.as_deref());
            let client = client
                .map(str::to_owned)
                .ok_or_else(|| Cause::Forbidden.because("the token names no client"))?;
            let applicant = Applicant::Client(&client);
            by_backend(place, provider, applicant, caller.identity, request, ports, trail).await
        }
        (None, Presented::Token(_) | Presented::Payload(_)) => Err(unsuitable()),
    }
}

fn unsuitable() -> Refusal {
    Cause::Internal.because("the credential is not of the kind that the way in takes")
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
    let record = record.map_err(|refused| Cause::KeyRefused.because(refused.fault.text()))?;
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

/// The refusal because of a provider that gives no usable answer.
pub(super) fn unavailable(fault: ProviderFault, retry_after: Option<u64>) -> Refusal {
    let cause = match fault {
        ProviderFault::UnknownCluster => Cause::ClusterUnknown,
        ProviderFault::NoHealthyHost => Cause::NoHealthyHost,
        _ => Cause::IdentityUnavailable { retry_after },
    };
    cause.because(Reason::of(&fault))
}
