//! Regular expressions for paths: how they are read, and lists of them that are matched in one pass.

use std::{cell::Cell, rc::Rc};

use regex_syntax::{
    ast::{self, Ast, Flag, GroupKind, parse::ParserBuilder as AstParserBuilder, visit},
    hir::{Hir, translate::TranslatorBuilder},
};

use super::automaton::{Automaton, Keep, MOST_STEPS};

/// The most tables that a list of expressions is split into. Each reads the path of a request once.
const MOST_TABLES: usize = 4;

/// The most expressions in one list.
const MOST_EXPRESSIONS: usize = 1_000;

/// The most paths in a list that a request is compared with one by one.
pub(super) const MOST_PATHS: usize = 1_000;

/// The most bytes of all templates in such a list.
pub(super) const MOST_BYTES: usize = 64 * 1024;

/// The most conditions on queries in such a list.
pub(super) const MOST_CONDITIONS: usize = 4_000;

/// The most nodes of a tree of templates that one request may visit.
pub(super) const MOST_VISITS: usize = 4_096;

/// How much work the expressions of a whole policy may take while it is loaded. It is counted in steps, so
/// that all machines agree.
#[derive(Debug)]
pub struct Effort(Cell<u64>);

/// Paths cannot be matched in bounded time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooComplex {
    /// The expression with this index in its list, by itself.
    #[error(
        "is too complex to be matched in bounded time: avoid large counters, and counters after wildcards \
         as in `.*a.{{20}}`"
    )]
    Expression(usize),
    /// The expressions of the list together.
    #[error(
        "the expressions are too complex to be matched together: they need more than {MOST_TABLES} tables; \
         use templates, or fewer expressions with wildcards inside"
    )]
    Together,
    /// There are too many expressions.
    #[error("there are more than {MOST_EXPRESSIONS} expressions: use templates")]
    TooManyExpressions,
    /// There are too many paths in a list that a request is compared with one by one.
    #[error("there are more than {MOST_PATHS} entries")]
    TooManyPaths,
    /// The paths of such a list are too long.
    #[error("the paths have more than {MOST_BYTES} bytes together")]
    TooLong,
    /// The entries count too many metrics.
    #[error("the entries count more than {MOST_PATHS} metrics together")]
    TooManyMetrics,
    /// There are too many conditions on queries.
    #[error("there are more than {MOST_CONDITIONS} conditions on queries")]
    TooManyConditions,
    /// A tree of templates has too many branches that one request could follow.
    #[error(
        "too many paths have a parameter where others have a literal: a request might be compared with more \
         than {MOST_VISITS} segments of them"
    )]
    TooManyBranches,
    /// The expressions of the whole policy.
    #[error("the expressions of the whole policy are too complex: use templates, or simpler expressions")]
    Policy,
}

/// Expressions, each of which must match a whole path. One look-up per table and byte finds all that match.
#[derive(Clone, Debug, Default)]
pub(super) struct Expressions(Vec<Table>);

#[derive(Clone, Debug)]
struct Table {
    automaton: Automaton,
    /// The index of the first expression in this table.
    first: usize,
}

impl TooComplex {
    /// The same for a list in which the expression has another place.
    pub(super) fn at(self, place: impl Fn(usize) -> Option<usize>) -> Self {
        match self {
            Self::Expression(expression) => place(expression).map_or(Self::Together, Self::Expression),
            other => other,
        }
    }
}

impl Default for Effort {
    fn default() -> Self {
        Self(Cell::new(MOST_STEPS.saturating_mul(16)))
    }
}

/// Reads an expression over bytes. Normalised paths are ASCII, so classes and case folding need no Unicode,
/// and the flag for it is refused. Fails with the reason, on one line.
pub(super) fn parse(text: &str) -> Result<Rc<Hir>, String> {
    let reason = |error: &dyn ToString| {
        let text = error.to_string();
        // The crate shows the position on several lines; the last line is the reason.
        text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
    };
    let ast = AstParserBuilder::new().build().parse(text).map_err(|error| reason(&error))?;
    visit(&ast, NoUnicode)?;
    let mut translator = TranslatorBuilder::new().unicode(false).utf8(false).build();
    let hir = translator.translate(text, &ast).map_err(|error| reason(&error))?;
    Ok(Rc::new(hir))
}

/// Finds flags that turn Unicode on.
struct NoUnicode;

impl ast::Visitor for NoUnicode {
    type Output = ();
    type Err = String;

    fn finish(self) -> Result<(), String> {
        Ok(())
    }

    fn visit_pre(&mut self, ast: &Ast) -> Result<(), String> {
        let flags = match ast {
            Ast::Flags(set) => Some(&set.flags),
            Ast::Group(group) => match &group.kind {
                GroupKind::NonCapturing(flags) => Some(flags),
                GroupKind::CaptureIndex(_) | GroupKind::CaptureName { .. } => None,
            },
            _ => None,
        };
        match flags.and_then(|flags| flags.flag_state(Flag::Unicode)) {
            Some(true) => Err("the flag `u` is not supported, because paths are ASCII".to_owned()),
            _ => Ok(()),
        }
    }
}

impl Expressions {
    /// Compiles expressions for [`Self::first`] or [`Self::all`].
    pub(super) fn compile(list: &[Rc<Hir>], keep: Keep, effort: &Effort) -> Result<Self, TooComplex> {
        if list.len() > MOST_EXPRESSIONS {
            return Err(TooComplex::TooManyExpressions);
        }
        let mut expressions = Self::default();
        if !list.is_empty() {
            expressions.add(list, 0, keep, effort)?;
        }
        Ok(expressions)
    }

    /// Adds a table for the list, or tables for its halves.
    fn add(&mut self, list: &[Rc<Hir>], first: usize, keep: Keep, effort: &Effort) -> Result<(), TooComplex> {
        if self.0.len() >= MOST_TABLES {
            return Err(TooComplex::Together);
        }
        let left = effort.0.get();
        let allowed = left.min(MOST_STEPS);
        let mut steps = allowed;
        let compiled = Automaton::compile(list.iter().map(|hir| &**hir), keep, &mut steps);
        effort.0.set(left.saturating_sub(allowed.saturating_sub(steps)));
        match compiled {
            Ok(automaton) => self.0.push(Table { automaton, first }),
            Err(_) if left < MOST_STEPS => return Err(TooComplex::Policy),
            Err(_) if list.len() == 1 => return Err(TooComplex::Expression(first)),
            Err(_) => {
                let (one, other) = list.split_at_checked(list.len() / 2).unwrap_or_default();
                self.add(one, first, keep, effort)?;
                self.add(other, first.saturating_add(one.len()), keep, effort)?;
            }
        }
        Ok(())
    }

    /// The index of the first expression that matches a normalised path without its trailing slash, or with
    /// one.
    pub(super) fn first(&self, path: &str) -> Option<usize> {
        let bare = path.strip_suffix('/').filter(|bare| !bare.is_empty());
        self.0.iter().find_map(|Table { automaton, first }| {
            let state = automaton.read(bare.unwrap_or(path));
            let found = automaton.matches(state).first();
            // The root has one spelling, all other paths have two.
            let with_slash = if path == "/" { state } else { automaton.step(state, b'/') };
            let found = found.into_iter().chain(automaton.matches(with_slash).first()).min()?;
            Some(first.saturating_add(usize::from(*found)))
        })
    }

    /// Calls `found` with the index of each expression that matches the path as it is, in order.
    pub(super) fn all(&self, path: &str, mut found: impl FnMut(usize)) {
        for Table { automaton, first } in &self.0 {
            for expression in automaton.matches(automaton.read(path)) {
                found(first.saturating_add(usize::from(*expression)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn compile(list: &[&str]) -> Result<Expressions, TooComplex> {
        let list: Vec<_> = list.iter().map(|text| parse(text).unwrap()).collect();
        Expressions::compile(&list, Keep::First, &Effort::default())
    }

    fn numbered(count: usize, text: impl Fn(usize) -> String) -> Result<Expressions, TooComplex> {
        let list: Vec<_> = (0..count).map(text).collect();
        compile(&list.iter().map(String::as_str).collect::<Vec<_>>())
    }

    #[test]
    fn a_thousand_expressions_are_matched_in_a_few_passes() {
        for (text, path) in [
            (
                (|n| format!("/api/v1/resource-{n}/[0-9]+(/.*)?")) as fn(usize) -> String,
                "/api/v1/resource-999/7/x/",
            ),
            (|n| format!("/.*/x{n}"), "/a/b/x999"),
            (|n| format!("/users/{n}/(orders|invoices)/[^/]+"), "/users/999/invoices/a"),
            (|n| format!(".*[0-9]/{n}"), "/a/b7/999"),
        ] {
            let expressions = numbered(1_000, text).unwrap();
            assert_eq!(expressions.first(path), Some(999), "{path}");
            assert!(expressions.0.len() <= MOST_TABLES);
        }
        assert_eq!(numbered(1_001, |n| format!("/{n}")).unwrap_err(), TooComplex::TooManyExpressions);
    }

    #[test]
    fn what_cannot_be_matched_in_bounded_time_is_an_error() {
        for text in [
            ".*a.{20}",
            "/(a{1000}){1000}",
            "/([ab]{1,100}c?){1,100}.*[ab].{30}",
            "(){4294967295}a{100000000}",
        ] {
            assert_eq!(compile(&["/a", text, "/b"]).unwrap_err(), TooComplex::Expression(1), "{text}");
        }
        // Each may or may not have matched when the next byte is read.
        let error = numbered(1_000, |n| format!(".*/x{n}/.*/y{n}")).unwrap_err();
        assert_eq!(error, TooComplex::Together);
        for text in ["/.{0,255}", ".*a.{10}", "/[0-9a-f]{64}", "(?i)/[a-z]{1,100}/.*"] {
            assert!(compile(&[text]).is_ok(), "{text}");
        }
    }

    /// Whether an expression compiles, and in how many steps.
    fn steps(text: &str) -> (bool, u64) {
        let mut left = MOST_STEPS;
        let compiled = Automaton::compile(std::iter::once(&*parse(text).unwrap()), Keep::First, &mut left);
        (compiled.is_ok(), MOST_STEPS.saturating_sub(left))
    }

    /// This test also runs as WebAssembly: the command and the module must agree.
    #[test]
    fn what_compiles_is_the_same_on_every_machine() {
        for (text, expected) in [
            (".*a.{12}", (true, 630_870)),
            (".*a.{13}", (false, MOST_STEPS)),
            (".*a.{7}|.*b.{7}", (true, 331_073)),
            (".*a.{8}|.*b.{8}", (false, MOST_STEPS)),
            ("/[a-z]{65533}", (true, 917_493)),
            ("/[a-z]{65534}", (false, 196_610)),
            ("/(a{255}){255}", (true, 715_816)),
            ("/(a{256}){256}", (false, 721_411)),
            ("/.{0,32766}", (true, 786_411)),
            ("/.{0,32767}", (false, 163_843)),
            ("(.*a){384}", (true, 1_045_665)),
            ("(.*a){385}", (false, MOST_STEPS)),
            ("/([ab]{1,14}c?){1,14}", (true, 942_896)),
            ("/([ab]{1,15}c?){1,15}", (false, MOST_STEPS)),
            ("(?:a|b|ab){96}x", (true, 1_027_049)),
            ("(?:a|b|ab){97}x", (false, MOST_STEPS)),
        ] {
            assert_eq!(steps(text), expected, "{text}");
        }
    }

    #[test]
    fn a_policy_has_a_bounded_effort() {
        let effort = Effort::default();
        let list = [parse(".*a.{12}").unwrap()];
        let compiled = (0..10_000).map(|_| Expressions::compile(&list, Keep::First, &effort));
        let failed = compiled.filter_map(Result::err).next();
        assert_eq!(failed, Some(TooComplex::Policy));
    }
}
