//! Compiles an API's rules: which paths and methods, and the ways in.

use super::{
    super::{Access, Responder, Rule},
    Diagnostics, Names,
    access::ways_in,
    credentials::{Places, Taken},
    document, doubts,
    mocks::{self, Mocking},
};
use crate::{
    matching::{InvalidRules, Methods, Parameters, PathPattern, RuleMatch, RuleTable, TooComplex},
    refusal::Challenges,
};

/// What an API says for all its rules.
pub(super) struct Common<'a> {
    /// The ways in, for rules that name none.
    pub(super) access: Option<Vec<document::Access>>,
    /// What answers in the service's place, for rules that say nothing about it.
    pub(super) mocking: Mocking,
    /// The places of its credentials.
    pub(super) credentials: &'a Places,
    /// Whether headers for the service hold parameters of paths.
    pub(super) forwards_parameters: bool,
}

/// Compiles rules and the table that finds them.
pub(super) fn compile(
    rules: Vec<document::Rule>,
    common: Common<'_>,
    names: &Names,
    api: &str,
    report: &mut Diagnostics,
) -> (RuleTable, Vec<Rule>) {
    let Common { access: default, mocking, credentials, forwards_parameters } = common;
    if let Some(default) = &default {
        // Faults of the default are reported once, not for every rule that takes it.
        ways_in(default.clone(), names, &|| format!("{api}.access"), report);
    }
    // That the default takes two kinds of credentials in one place is reported once as well.
    let mut default_takes_both = false;
    // Faulty methods stand for all.
    let mut methods_are_known = true;
    let mut compiled = Vec::with_capacity(rules.len());
    let mut matches = Vec::with_capacity(rules.len());
    let mut places = Vec::with_capacity(rules.len());
    for (place, rule) in report.list(&format!("{api}.rules"), Some(rules)).into_iter().enumerate() {
        // Paths are made only where something is wrong: there may be a hundred thousand rules.
        let path = || format!("{api}.rules[{place}]");
        let document::Rule { path: template, regex, methods: named, access, answer, mock, shadow } = rule;
        let inherits = access.is_none();
        let access = match (access, &default) {
            (Some(access), _) => ways_in(access, names, &|| format!("{}.access", path()), report),
            (None, Some(default)) => {
                ways_in(default.clone(), names, &String::new, &mut Diagnostics::default())
            }
            (None, None) => {
                report.add_resting_on(
                    &path(),
                    "nothing says who may use it: give the rule or its API an `access` list",
                    vec![format!("{api}.access")],
                );
                Vec::new()
            }
        };
        let wrong = report.len();
        let methods = methods(named, &|| format!("{}.methods", path()), report);
        methods_are_known &= report.len() == wrong;
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
        let taken = Taken::by(&access);
        let challenges = Challenges {
            key: taken.key || taken.application,
            basic: credentials.read_basic(taken),
            token: taken.token,
        };
        if answer.is_some() && access.iter().any(|way| matches!(way, Access::Threescale { .. })) {
            let message =
                "cannot tell the limits of applications that 3scale's backend counts: take other ways in";
            report.add_resting_on(&format!("{}.answer", path()), message, vec![format!("{api}.access")]);
        }
        if answer.is_some() && mock.is_some() {
            report.add(&format!("{}.mock", path()), "answers nothing: the rule has an `answer`");
        }
        let mocking_here =
            mocks::compile(mock, template.as_deref(), names, &|| format!("{}.mock", path()), report);
        let responder = match answer {
            Some(document::RuleAnswer::Usage) => Responder::Usage,
            None => mocking_here.or(&mocking),
        };
        let parameters =
            template.as_deref().filter(|_| forwards_parameters).map(Parameters::of).unwrap_or_default();
        let name = template.or(regex).unwrap_or_default();
        if !(inherits && default_takes_both)
            && let Some(shared) = credentials.shared(taken)
        {
            default_takes_both |= inherits;
            let message = format!("the rule for `{name}` {shared}");
            report.add_resting_on(&path(), message, vec![format!("{api}.credentials")]);
        }
        compiled.push(Rule { name, access, challenges, responder, shadow, parameters });
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
    if methods_are_known {
        doubts::unreached(&table, &format!("{api}.rules"), &at, report);
    }
    (table, compiled)
}

/// The path of a rule or a grant: exactly one of `path` and `regex`.
pub(super) fn pattern(
    template: Option<&str>,
    regex: Option<&str>,
    path: &dyn Fn() -> String,
    report: &mut Diagnostics,
) -> Option<PathPattern> {
    match (template, regex) {
        (Some(template), None) => {
            doubts::template(template, &|| format!("{}.path", path()), report);
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
pub(super) fn methods(
    named: Option<Vec<String>>,
    path: &dyn Fn() -> String,
    report: &mut Diagnostics,
) -> Methods {
    let named = named.filter(|named| {
        named.len() <= Methods::MOST || report.at_most(Methods::MOST, "methods", named.len(), &path())
    });
    named.and_then(|named| methods_of(named, path, report)).unwrap_or(Methods::ALL)
}

/// Methods by their names.
pub(super) fn methods_of(
    names: Vec<String>,
    path: &dyn Fn() -> String,
    report: &mut Diagnostics,
) -> Option<Methods> {
    let doubts = doubts::methods(&names);
    let methods = report.take_at(path, Methods::named(names))?;
    for doubt in doubts {
        report.warn(path, doubt);
    }
    Some(methods)
}
