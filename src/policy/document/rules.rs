//! `rules` and `access`: paths with methods, and the ways in.

use super::{Mock, value::Named};

document! {
    /// A path with methods, and the ways in.
    pub struct Rule {
        /// The path below the base path: literals, `{parameter}`, a last `/**`. Exactly one of `path`,
        /// `regex`.
        pub path?: String,
        /// The path as a regular expression, anchored at both ends.
        pub regex?: String,
        /// Methods; all if absent. `GET` covers `HEAD`.
        pub methods?: Vec<String>,
        /// The ways in, in order: the first whose credential is present decides.
        pub access?: Vec<Access>,
        /// What Sidegate answers itself, in the service's place.
        pub answer?: RuleAnswer,
        /// Responses in the service's place, instead of the API's.
        pub mock?: Box<Mock>,
        /// Decide, log and count, but never refuse.
        pub shadow = default: bool,
    }

    /// What a rule asks of a token.
    pub struct TokenAccess {
        /// Name of the provider.
        pub provider: String,
        /// Scopes that must all be granted.
        pub scopes?: Vec<String>,
        /// How granted scopes cover required ones.
        pub scope_strategy = default: ScopeStrategy,
        /// Audiences the token must be for.
        pub audience?: Audience,
        /// Issuers that are trusted; any if absent.
        pub issuers?: Vec<String>,
        /// Claims that the token must have: by path, such as `org.id`, the values of which it must have one.
        pub claims = default: Named<Vec<String>>,
        /// Who verifies the token; only for JWTs.
        pub verified_by = default: VerifiedBy,
    }
}

document! {
    /// Which applications may come in.
    pub struct ThreescaleAccess {
        /// Name of the `service_management` provider.
        pub provider: String,
        /// Takes introspected tokens, whose OAuth2 clients are the applications. Without it and without
        /// `jwt`, applications present a user key, or an id and a key.
        pub introspection?: TokenAccess,
        /// Takes JWTs, whose OAuth2 clients are the applications.
        pub jwt?: TokenAccess,
    }
}

impl ThreescaleAccess {
    /// Whether the applications present tokens.
    pub const fn takes_tokens(&self) -> bool {
        self.introspection.is_some() || self.jwt.is_some()
    }
}

choice! {
    /// What Sidegate answers itself.
    #[derive(Copy)]
    pub enum RuleAnswer {
        /// The limits of the caller, with what is used of them. It costs no quota.
        Usage,
    }

    /// One way in.
    pub enum Access {
        /// Everybody, without credentials.
        Allow,
        /// Nobody.
        Deny,
        /// Consumers with an API key.
        ApiKey,
        /// Consumers with an application: its id, and one of its keys.
        Application,
        /// Callers with an access token that an introspection endpoint vouches for.
        Introspection(TokenAccess),
        /// Callers with an access token that is a JWT, signed by an issuer.
        Jwt(TokenAccess),
        /// Applications that a `service_management` provider vouches for.
        Threescale(ThreescaleAccess),
    }

    /// Who verifies a token.
    #[derive(Copy, Default)]
    pub enum VerifiedBy {
        /// Sidegate does, or the introspection endpoint that it asks.
        #[default]
        Sidegate,
        /// Envoy's `jwt_authn` filter has, before Sidegate gets the request.
        Envoy,
    }

    /// How granted scopes cover required ones (as in ORY Oathkeeper).
    #[derive(Copy, Default)]
    pub enum ScopeStrategy {
        /// Equal.
        #[default]
        Exact,
        /// `a` covers `a` and everything under `a.`.
        Hierarchic,
        /// `a.*` covers everything under `a.`.
        Wildcard,
    }

    /// Audiences a token must be for.
    pub enum Audience {
        /// At least one of these.
        Any(Vec<String>),
        /// Every one of these.
        All(Vec<String>),
    }
}
