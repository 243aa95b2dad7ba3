//! The policy: what the operator wrote, compiled once into what the gate decides with.
//!
//! ```text
//! JSON ── read ──▶ Document ── compile ──▶ Policy
//!           │                     │
//!           └──── Problems ◀──────┘        everything that is wrong, each problem with its path
//! ```
//!
//! A [`Policy`] never changes, and a request is decided by one policy from beginning to end. It reads nothing
//! from outside: secrets of providers are resolved while it is compiled.

mod compile;
mod consumers;
pub mod document;
mod mocks;
mod problem;
mod read;

use std::{cell::OnceCell, rc::Rc};

pub use consumers::{Consumer, Consumers};
pub use document::{CertificateSource, Preflight, StateName, Unmatched, Unmetered, VerifiedBy};
pub use mocks::{Mock, Mocks};
pub use problem::{Further, Problem, Problems, Warnings};
pub use read::Text;

use crate::{
    access::Bindings,
    credential::{Digest, Locations, ProviderSecret},
    forward::{HeaderValue, ReservedNames},
    identity::{
        IdentityCache, Requirement, RevokedTokens,
        api_key::ApiKeys,
        application::ApplicationKeys,
        introspection,
        jwt::{self, KeySets, Verifications},
        threescale::{self, Decisions},
    },
    matching::{ApiMatch, ApiTable, BasePath, Metering, Metrics, Parameters, RequestPath, RuleTable},
    provider::rest::Rests,
    quota::{HeaderStyle, LimitSets, Meters, api_payer, remote},
    refusal::{Challenges, Replies, Texts},
    report::Ledger,
};

/// A compiled policy.
pub struct Policy {
    /// The operator's name for it.
    pub revision: Option<String>,
    /// Sixteen hexadecimal digits of the SHA-256 of the document's text.
    pub digest: String,
    /// What is probably a mistake in the document, although it means something.
    pub warnings: Warnings,
    /// How refusals look.
    pub replies: Replies,
    /// What happens to a request that matches no API.
    pub unmatched: Unmatched,
    /// Whether a CORS preflight needs credentials.
    pub preflight: Preflight,
    /// The longest path of a request, in bytes.
    pub max_path_length: usize,
    /// Which rate-limit headers callers see.
    pub rate_limit_headers: HeaderStyle,
    /// The percentage of a limit at which operators are alerted. Limits know it as a number.
    pub quota_alert_at: Option<u8>,
    /// Whether any limit is in shadow mode.
    pub has_shadow_limits: bool,
    /// What access logs can show.
    pub filter_state: Vec<StateName>,
    /// The digest of the secret that callers send to get explanation headers.
    pub debug: Option<Digest>,
    /// Which client certificate counts.
    pub client_certificate: CertificateSource,
    /// The name of the machine or pod, for explanation headers.
    pub hostname: Option<String>,
    /// The providers.
    pub providers: Vec<Provider>,
    /// Whether a provider is a rate limit service: only then do limits hold across replicas.
    pub has_services: bool,
    /// What is counted.
    pub metrics: Metrics,
    /// The plans.
    pub plans: Vec<Plan>,
    /// The known callers.
    pub consumers: Consumers,
    /// Every header that any API sets for its service, and Sidegate's own; never accepted from a caller.
    pub reserved_headers: ReservedNames,
    /// Where meters are stored.
    pub meters: Meters,
    /// Where decisions about applications are cached.
    pub decisions: Decisions,
    /// What applications used since the last report.
    pub ledger: Ledger,
    /// Where identities are cached.
    pub identities: IdentityCache,
    /// Tokens that are refused.
    pub revoked: RevokedTokens,
    /// The keys that issuers publish.
    pub key_sets: KeySets,
    /// How many signatures a worker verifies.
    pub verifications: Verifications,
    /// Which providers are left alone after a failure.
    pub rests: Rests,
    /// The API keys.
    pub keys: ApiKeys,
    /// The keys of applications.
    pub application_keys: ApplicationKeys,
    apis: Vec<Api>,
    table: ApiTable,
}

/// A provider.
pub enum Provider {
    /// An introspection endpoint.
    Introspection(introspection::Provider),
    /// A rate limit service.
    RateLimitService(remote::Service),
    /// An issuer of tokens that Sidegate verifies.
    Jwks(Rc<jwt::Provider>),
    /// A service at 3scale's backend.
    ServiceManagement(threescale::Provider),
}

/// A plan.
pub struct Plan {
    /// Its name.
    pub name: String,
    /// The environment that its callers are routed to.
    pub environment: Option<String>,
    /// Its limits, grouped by whose usage is counted together.
    pub limits: LimitSets,
}

/// An API.
pub struct Api {
    /// Its name.
    pub name: String,
    /// What the names of its own meters have in common, once a request has needed it.
    payer: OnceCell<Digest>,
    /// Finds the rule for a path and a method.
    pub table: RuleTable,
    /// What its rules say.
    pub rules: Vec<Rule>,
    /// Where credentials of any kind sit.
    pub locations: Locations,
    /// Where API keys sit.
    pub key_locations: Locations,
    /// Where ids of applications sit.
    pub app_id_locations: Locations,
    /// Where keys of applications sit.
    pub app_key_locations: Locations,
    /// Where tokens sit.
    pub token_locations: Locations,
    /// What a request presents that presents no credential itself.
    pub default_credentials: Option<DefaultCredentials>,
    /// What requests count.
    pub metering: Metering,
    /// What happens to a request that matches no metering entry.
    pub unmetered: Unmetered,
    /// By consumer: what it may do here. Without bindings, every consumer may call.
    pub bindings: Option<Bindings>,
    /// Limits of the API itself.
    pub limits: LimitSets,
    /// Whether credentials are removed.
    pub remove_credentials: bool,
    /// The base path of the service, if it differs from the API's.
    pub target: Option<BasePath>,
    /// Headers that are set for the service.
    pub headers: Vec<(Rc<str>, HeaderValue)>,
    /// What refused callers get in place of Sidegate's own wording.
    pub texts: Option<Box<Texts>>,
    /// Whether requests pass that would be refused.
    pub shadow: bool,
}

/// What a request presents that presents no credential itself.
pub enum DefaultCredentials {
    /// An API key.
    Key(ProviderSecret),
    /// An application.
    Application {
        /// Its id.
        id: String,
        /// One of its keys.
        key: Option<ProviderSecret>,
    },
}

/// A rule.
pub struct Rule {
    /// Its path as written.
    pub name: String,
    /// The ways in, in order.
    pub access: Vec<Access>,
    /// The challenges that are due where it refuses a request.
    pub challenges: Challenges,
    /// What answers a request that passes.
    pub responder: Responder,
    /// Whether requests pass that would be refused.
    pub shadow: bool,
    /// Where the parameters of its path are. Empty if nothing that is forwarded needs them.
    pub parameters: Parameters,
}

/// What answers a request that passes.
pub enum Responder {
    /// The service.
    Service,
    /// Mocked responses.
    Mocks(Rc<Mocks>),
    /// Sidegate, with the limits of the caller.
    Usage,
}

/// A way in.
pub enum Access {
    /// For everybody.
    Allow,
    /// For nobody.
    Deny,
    /// For consumers with an API key.
    ApiKey,
    /// For consumers with an application.
    Application,
    /// For callers with a token that a provider vouches for.
    Token(TokenWay),
    /// For applications that 3scale's backend vouches for.
    Threescale {
        /// The provider's index.
        provider: usize,
        /// The tokens whose client is the application. Without it, the application presents itself.
        token: Option<TokenWay>,
    },
}

/// A way in with a token.
pub struct TokenWay {
    /// The provider's index.
    pub provider: usize,
    /// Who verifies the token.
    pub verified_by: VerifiedBy,
    /// What the token must be.
    pub requirement: Requirement,
    /// The issuers whose tokens this way takes if the rule has others for tokens.
    pub issuers: Vec<String>,
    /// Whether it then also takes tokens of issuers that no way names, and those that name none.
    pub takes_others: bool,
}

impl Access {
    /// Whether an API key is a credential here.
    pub const fn takes_keys(&self) -> bool {
        match self {
            Self::ApiKey => true,
            Self::Threescale { token, .. } => token.is_none(),
            Self::Allow | Self::Deny | Self::Application | Self::Token(_) => false,
        }
    }

    /// Whether an application is a credential here.
    pub const fn takes_applications(&self) -> bool {
        match self {
            Self::Application => true,
            Self::Threescale { token, .. } => token.is_none(),
            Self::Allow | Self::Deny | Self::ApiKey | Self::Token(_) => false,
        }
    }

    /// The tokens that are credentials here.
    pub const fn tokens(&self) -> Option<&TokenWay> {
        match self {
            Self::Threescale { token, .. } => token.as_ref(),
            Self::Token(way) => Some(way),
            Self::Allow | Self::Deny | Self::ApiKey | Self::Application => None,
        }
    }

    /// Whether a token is a credential here.
    pub const fn takes_tokens(&self) -> bool {
        self.tokens().is_some()
    }
}

impl Provider {
    /// The provider's name.
    pub fn name(&self) -> &str {
        match self {
            Self::Introspection(provider) => &provider.settings().name,
            Self::RateLimitService(service) => &service.settings().name,
            Self::Jwks(provider) => &provider.settings().name,
            Self::ServiceManagement(provider) => &provider.settings().name,
        }
    }
}

impl Api {
    /// What the names of the API's own meters have in common.
    pub fn payer(&self) -> Digest {
        *self.payer.get_or_init(|| api_payer(&self.name))
    }
}

impl Rule {
    /// Whether it refuses everybody, whatever they present.
    pub fn denies(&self) -> bool {
        matches!(self.access.first(), Some(Access::Deny))
    }
}

impl Policy {
    /// Reads and compiles a policy document; `environment` gives the values of variables that secrets name.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the document, each problem with its path.
    pub fn load(
        text: &(impl Text + ?Sized),
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Problems> {
        let (read, digest) = read::read(text);
        let digest = shown(digest);
        match read {
            Ok(document) => {
                let compile::Compiled { result, doubts, owners } =
                    *compile::compile(document, digest, environment);
                let problem = |finding: compile::Finding| finding.into_problem(&owners);
                let warnings = Warnings {
                    list: doubts.list.into_iter().map(problem).collect(),
                    further: doubts.further,
                };
                match result {
                    Ok(policy) => Ok(Self { warnings, ..policy }),
                    Err(findings) => {
                        let problems = findings.into_iter().map(problem).collect();
                        Err(Problems::new(problems, true).with(warnings))
                    }
                }
            }
            Err(unreadable) => {
                let read::Unreadable { mut problems, rest, is_complete } = *unreadable;
                let mut warnings = Warnings::default();
                if let Some(read::Rest { document, whole }) = rest {
                    let compile::Compiled { result, doubts, .. } =
                        *compile::compile(document, digest, environment);
                    problems.extend(whole.problems(result.err().unwrap_or_default()));
                    warnings.list.extend(whole.problems(doubts.list));
                    warnings.further = doubts.further;
                }
                Err(Problems::new(problems, is_complete).with(warnings))
            }
        }
    }

    /// The digest that a policy of this text is shown with: the first 16 hexadecimal digits of its SHA-256.
    pub fn digest_of(json: &[u8]) -> String {
        shown(Digest::of(json))
    }

    /// The API for a host and a path.
    pub fn find_api<'a>(&self, host: Option<&str>, path: &'a RequestPath<'_>) -> Option<ApiMatch<'a>> {
        self.table.find(host, path)
    }

    /// The API at an index.
    pub fn api(&self, index: usize) -> Option<&Api> {
        self.apis.get(index)
    }

    /// The index of the plan with this name.
    pub fn plan_named(&self, name: &str) -> Option<usize> {
        // The document's map has sorted them.
        self.plans.binary_search_by(|plan| plan.name.as_str().cmp(name)).ok()
    }

    /// All APIs, in the order of the document.
    pub fn apis(&self) -> &[Api] {
        &self.apis
    }
}

fn shown(digest: Digest) -> String {
    digest.to_hex().chars().take(16).collect()
}
