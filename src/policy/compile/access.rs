//! Compiles access strategies: the ways into a rule.

use super::{
    super::{Access, TokenWay, VerifiedBy, document::value::Named},
    Diagnostics, Names, document,
    providers::ProviderKind,
};
use crate::{
    access::{Audience, RequiredScopes, ScopeStrategy},
    identity::{ClaimPath, RequiredClaim, Requirement},
};

/// The most issuers that a rule lists. That of a token is compared with each of them.
const MOST_ISSUERS: usize = 64;

/// The most claims that a rule requires, and the most values of each. They are compared on every request.
const MOST_CLAIMS: usize = 16;
const MOST_VALUES: usize = 64;

/// Compiles the ways into a rule.
pub(super) fn ways_in(
    list: Vec<document::Access>,
    names: &Names,
    path: &dyn Fn() -> String,
    report: &mut Diagnostics,
) -> Vec<Access> {
    if list.is_empty() {
        report.add_empty(&path());
    }
    let mut ways: Vec<Access> = Vec::with_capacity(list.len());
    for (place, access) in list.into_iter().enumerate() {
        let path = || format!("{}[{place}]", path());
        let reached = ways.iter().all(|earlier| match earlier {
            Access::Allow | Access::Deny => false,
            Access::ApiKey => !matches!(access, document::Access::ApiKey),
            Access::Application => !matches!(access, document::Access::Application),
            // Two ways for tokens take those of different issuers.
            Access::Token(_) => {
                !matches!(&access, document::Access::Threescale(access) if access.takes_tokens())
            }
            Access::Threescale { token: None, .. } => match &access {
                // What it takes decides before any of these is looked at.
                document::Access::ApiKey | document::Access::Application => false,
                document::Access::Threescale(access) => access.takes_tokens(),
                _ => true,
            },
            Access::Threescale { token: Some(_), .. } => match &access {
                document::Access::Introspection(_) | document::Access::Jwt(_) => false,
                document::Access::Threescale(access) => !access.takes_tokens(),
                _ => true,
            },
        });
        if !reached {
            report.add(&path(), NEVER_REACHED);
        }
        let way = match access {
            document::Access::Allow => Some(Access::Allow),
            document::Access::Deny => Some(Access::Deny),
            document::Access::ApiKey => Some(Access::ApiKey),
            document::Access::Application => Some(Access::Application),
            document::Access::Introspection(access) => {
                token(access, ProviderKind::Introspection, names, &path(), report).map(Access::Token)
            }
            document::Access::Jwt(access) => {
                token(access, ProviderKind::Jwks, names, &path(), report).map(Access::Token)
            }
            document::Access::Threescale(access) => threescale(access, names, &path(), report),
        };
        if let Some(Access::Token(way)) = &way
            && ways.iter().any(|earlier| matches!(earlier, Access::Token(earlier) if !way.adds_to(earlier)))
        {
            report.add(&path(), NEVER_REACHED);
        }
        ways.extend(way);
    }
    ways
}

const NEVER_REACHED: &str = "is never reached: an earlier entry decides";

impl TokenWay {
    /// Whether this way takes tokens that `earlier` does not take.
    fn adds_to(&self, earlier: &Self) -> bool {
        (self.takes_others && !earlier.takes_others)
            || self.issuers.iter().any(|issuer| !earlier.issuers.contains(issuer))
    }
}

fn threescale(
    access: document::ThreescaleAccess,
    names: &Names,
    path: &str,
    report: &mut Diagnostics,
) -> Option<Access> {
    let document::ThreescaleAccess { provider, introspection, jwt } = access;
    let path = format!("{path}.threescale");
    let provider =
        names.providers.find(ProviderKind::ServiceManagement, &provider, &format!("{path}.provider"), report);
    let token = match (introspection, jwt) {
        (None, None) => None,
        (Some(access), None) => Some(token(access, ProviderKind::Introspection, names, &path, report)?),
        (None, Some(access)) => Some(token(access, ProviderKind::Jwks, names, &path, report)?),
        (Some(_), Some(_)) => {
            report.add(&path, "give at most one of `introspection` and `jwt`");
            return None;
        }
    };
    Some(Access::Threescale { provider: provider?, token })
}

fn token(
    access: document::TokenAccess,
    kind: ProviderKind,
    names: &Names,
    path: &str,
    report: &mut Diagnostics,
) -> Option<TokenWay> {
    let document::TokenAccess { provider, scopes, scope_strategy, audience, issuers, claims, verified_by } =
        access;
    let path = match kind {
        ProviderKind::Jwks => format!("{path}.jwt"),
        ProviderKind::Introspection | ProviderKind::RateLimitService | ProviderKind::ServiceManagement => {
            format!("{path}.introspection")
        }
    };
    let provider = names.providers.find(kind, &provider, &format!("{path}.provider"), report);
    match (kind, verified_by, provider.is_some_and(|provider| names.providers.is_keyless(provider))) {
        (ProviderKind::Jwks, VerifiedBy::Sidegate, true) => report.add_resting_on(
            &format!("{path}.provider"),
            "has no keys: give it `cluster` and `url`, or `keys`, or write `verified_by: envoy` here",
            vec![format!("{path}.verified_by")],
        ),
        (ProviderKind::Jwks, _, _) | (_, VerifiedBy::Sidegate, _) => {}
        (_, VerifiedBy::Envoy, _) => {
            report.add(&format!("{path}.verified_by"), "only a `jwt` can be verified by Envoy")
        }
    }
    let strategy = match scope_strategy {
        document::ScopeStrategy::Exact => ScopeStrategy::Exact,
        document::ScopeStrategy::Hierarchic => ScopeStrategy::Hierarchic,
        document::ScopeStrategy::Wildcard => ScopeStrategy::Wildcard,
    };
    let scopes =
        scopes.and_then(|scopes| required_scopes(scopes, strategy, &format!("{path}.scopes"), report));
    let audience = audience.and_then(|audience| {
        let (document::Audience::Any(list) | document::Audience::All(list)) = &audience;
        let path = format!("{path}.audience");
        if !report.at_most(Audience::MOST, "audiences", list.len(), &path) {
            return None;
        }
        let audience = match audience {
            document::Audience::Any(list) => Audience::any(list),
            document::Audience::All(list) => Audience::all(list),
        };
        report.take(&path, audience)
    });
    let issuers = report.list(&format!("{path}.issuers"), issuers);
    if report.at_most(MOST_ISSUERS, "issuers", issuers.len(), &format!("{path}.issuers")) {
        report.distinct(&format!("{path}.issuers"), &issuers);
    }
    let claims = required_claims(claims, names, &format!("{path}.claims"), report);
    let provider = provider?;
    let known = names.providers.issuers(provider);
    let takes_others = kind == ProviderKind::Introspection && known.is_empty();
    let requirement = Requirement { issuers, audience, scopes, claims };
    Some(TokenWay { provider, verified_by, requirement, issuers: known, takes_others })
}

fn required_scopes(
    scopes: Vec<String>,
    strategy: ScopeStrategy,
    path: &str,
    report: &mut Diagnostics,
) -> Option<RequiredScopes> {
    if !report.at_most(RequiredScopes::MOST, "scopes", scopes.len(), path) {
        return None;
    }
    // Tokens and authorization requests list scopes in one text; here each is an entry.
    let joined = scopes.iter().enumerate().find(|(_, scope)| scope.split_ascii_whitespace().nth(1).is_some());
    if let Some((place, scope)) = joined {
        let entries: Vec<_> = scope.split_ascii_whitespace().collect();
        let message = format!("`{scope}` is not one scope: write `[{}]`", entries.join(", "));
        report.add(&format!("{path}[{place}]"), message);
        return None;
    }
    report.take(path, RequiredScopes::new(strategy, scopes))
}

fn required_claims(
    claims: Named<Vec<String>>,
    names: &Names,
    path: &str,
    report: &mut Diagnostics,
) -> Vec<RequiredClaim> {
    report.at_most(MOST_CLAIMS, "claims", claims.0.len(), path);
    let required = claims.0.into_iter().filter_map(|(written, values)| {
        let path = format!("{path}.{written}");
        let values = report.list(&path, Some(values));
        report.distinct(&path, &values);
        for (place, value) in values.iter().enumerate().filter(|(_, value)| !value.is_empty()) {
            report.text(&format!("{path}[{place}]"), value);
        }
        if !report.at_most(MOST_VALUES, "values", values.len(), &path) {
            return None;
        }
        let claim = report.take(&path, ClaimPath::parse(&written))?;
        Some(RequiredClaim { claim: names.asked.borrow_mut().require(claim, &values), values })
    });
    required.collect()
}
