//! Compiles an API's rules: which paths and methods, and the ways in.

use super::{
    super::{Access, Rule, problem::Kind},
    Names, Report, document,
};
use crate::{
    access::{Audience, RequiredScopes, ScopeStrategy},
    identity::Requirement,
    matching::{InvalidRules, Methods, PathPattern, RuleMatch, RuleTable, TooComplex},
    refusal::Challenges,
};

/// The most issuers that a rule lists. That of a token is compared with each of them.
const MOST_ISSUERS: usize = 64;

/// Compiles rules and the table that finds them; `default` are the API's ways in, `shared` a place in which
/// both API keys and tokens sit.
pub(super) fn compile(
    rules: Vec<document::Rule>,
    default: Option<Vec<document::Access>>,
    names: &Names,
    shared: Option<String>,
    api: &str,
    report: &mut Report,
) -> (RuleTable, Vec<Rule>) {
    if let Some(default) = &default {
        // Faults of the default are reported once, not for every rule that takes it.
        ways_in(default.clone(), names, &|| format!("{api}.access"), report);
    }
    // That the default takes both kinds of credentials is reported once as well.
    let mut default_takes_both = false;
    let mut compiled = Vec::with_capacity(rules.len());
    let mut matches = Vec::with_capacity(rules.len());
    let mut places = Vec::with_capacity(rules.len());
    for (place, rule) in report.list(&format!("{api}.rules"), Some(rules)).into_iter().enumerate() {
        // Paths are made only where something is wrong: there may be a hundred thousand rules.
        let path = || format!("{api}.rules[{place}]");
        let document::Rule { path: template, regex, methods: named, access } = rule;
        let inherits = access.is_none();
        let access = match (access, &default) {
            (Some(access), _) => ways_in(access, names, &|| format!("{}.access", path()), report),
            (None, Some(default)) => ways_in(default.clone(), names, &String::new, &mut Report::default()),
            (None, None) => {
                report.add_resting_on(
                    &path(),
                    "nothing says who may use it: give the rule or its API an `access` list",
                    vec![format!("{api}.access")],
                );
                Vec::new()
            }
        };
        let methods = methods(named, &|| format!("{}.methods", path()), report);
        if let Some(pattern) = pattern(template.as_deref(), regex.as_deref(), &path, report) {
            matches.push(RuleMatch { path: pattern, methods });
            places.push(place);
        }
        if regex.as_ref().is_some_and(|regex| regex.chars().any(char::is_control)) {
            report.add(
                &format!("{}.regex", path()),
                "has a control character, which no path has: write it as an escape",
            );
        }
        let challenges = Challenges {
            key: access.iter().any(|access| matches!(access, Access::ApiKey)),
            token: access.iter().any(|access| matches!(access, Access::Introspection { .. })),
        };
        let name = template.or(regex).unwrap_or_default();
        if let Some(place) = shared.as_ref().filter(|_| challenges.key && challenges.token)
            && !(inherits && default_takes_both)
        {
            default_takes_both |= inherits;
            let message =
                format!("the rule for `{name}` takes an API key and a token, and both sit in {place}");
            report.add_resting_on(&path(), message, vec![format!("{api}.credentials")]);
        }
        compiled.push(Rule { name, access, challenges });
    }
    let at = |rule: usize| places.get(rule).copied().unwrap_or(rule);
    let table = RuleTable::build(matches, names.effort).unwrap_or_else(|invalid| {
        match invalid {
            InvalidRules::Overlaps(overlaps) => {
                for overlap in overlaps {
                    let [first, second] = [overlap.first, overlap.second].map(at);
                    let name = compiled.get(first).map_or("", |rule: &Rule| &rule.name);
                    let message = format!("matches the same requests as the earlier rule for `{name}`");
                    let rests_on = [first, second].map(|rule| format!("{api}.rules[{rule}].methods"));
                    report.add_resting_on(&format!("{api}.rules[{second}]"), message, rests_on.to_vec());
                }
            }
            InvalidRules::TooComplex(error @ TooComplex::Expression(rule)) => {
                report.add(&format!("{api}.rules[{}].regex", at(rule)), error);
            }
            InvalidRules::TooComplex(error) => report.add(&format!("{api}.rules"), error),
        }
        RuleTable::default()
    });
    (table, compiled)
}

/// The path of a rule or a grant: exactly one of `path` and `regex`.
pub(super) fn pattern(
    template: Option<&str>,
    regex: Option<&str>,
    path: &dyn Fn() -> String,
    report: &mut Report,
) -> Option<PathPattern> {
    match (template, regex) {
        (Some(template), None) => {
            report.take_at(|| format!("{}.path", path()), PathPattern::template(template))
        }
        (None, Some(regex)) => report.take_at(|| format!("{}.regex", path()), PathPattern::regex(regex)),
        _ => {
            report.add(&path(), "give exactly one of `path` and `regex`");
            None
        }
    }
}

/// The methods named, or all.
pub(super) fn methods(named: Option<Vec<String>>, path: &dyn Fn() -> String, report: &mut Report) -> Methods {
    let named = named.filter(|named| {
        named.len() <= Methods::MOST || report.at_most(Methods::MOST, "methods", named.len(), &path())
    });
    named.and_then(|named| report.take_at(path, Methods::named(named))).unwrap_or(Methods::ALL)
}

fn ways_in(
    list: Vec<document::Access>,
    names: &Names,
    path: &dyn Fn() -> String,
    report: &mut Report,
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
            Access::Introspection { .. } => !matches!(access, document::Access::Introspection(_)),
        });
        if !reached {
            report.add(&path(), "is never reached: an earlier entry decides");
        }
        let way = match access {
            document::Access::Allow => Some(Access::Allow),
            document::Access::Deny => Some(Access::Deny),
            document::Access::ApiKey => Some(Access::ApiKey),
            document::Access::Introspection(access) => introspection(access, names, &path(), report),
        };
        ways.extend(way);
    }
    ways
}

fn introspection(
    access: document::IntrospectionAccess,
    names: &Names,
    path: &str,
    report: &mut Report,
) -> Option<Access> {
    let document::IntrospectionAccess { provider, scopes, scope_strategy, audience, issuers } = access;
    let path = format!("{path}.introspection");
    let provider =
        report.find(|| format!("{path}.provider"), Kind::Provider, &provider, &names.providers.by_name);
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
    Some(Access::Introspection {
        provider: provider?,
        requirement: Requirement { issuers, audience, scopes },
    })
}

fn required_scopes(
    scopes: Vec<String>,
    strategy: ScopeStrategy,
    path: &str,
    report: &mut Report,
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
