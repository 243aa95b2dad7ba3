//! What is wrong with a policy document, each thing with the path of the attribute at fault.

use std::fmt::{self, Write as _};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The attribute at fault, such as `apis[0].rules[2].path`; empty for the whole document.
    pub path: String,
    /// The name of the API or consumer that the path leads into, where it has one.
    pub owner: Option<String>,
    /// What is wrong: lower case, one sentence.
    pub message: String,
}

/// Everything that is wrong with a document; at least one thing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines(self))]
pub struct Problems {
    /// The problems; no more than [`Problems::MOST`].
    pub list: Vec<Problem>,
    /// Problems that are not in the list.
    pub further: Further,
    /// What is probably a mistake besides.
    pub warnings: Warnings,
}

/// What is probably a mistake in a document that loads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Warnings {
    /// The warnings; no more than [`Problems::MOST`].
    pub list: Vec<Problem>,
    /// How many more there are.
    pub further: usize,
}

/// Problems that are not listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Further {
    /// There are this many.
    Exactly(usize),
    /// Nobody looked for them.
    Unknown,
}

/// What problems are about, where a name is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Provider,
    Metric,
    Plan,
    Consumer,
}

impl Problem {
    /// A problem at `path`.
    pub(super) fn new(path: impl Into<String>, message: impl ToString) -> Self {
        Self { path: path.into(), owner: None, message: message.to_string() }
    }
}

impl Problems {
    /// More problems than this are not listed.
    pub const MOST: usize = 100;

    /// All of these problems, and those that were not looked for.
    pub(super) fn new(mut list: Vec<Problem>, is_complete: bool) -> Self {
        let further = list.len().saturating_sub(Self::MOST);
        list.truncate(Self::MOST);
        let further = if is_complete { Further::Exactly(further) } else { Further::Unknown };
        Self { list, further, warnings: Warnings::default() }
    }

    /// The same with these warnings.
    #[must_use]
    pub(super) fn with(self, warnings: Warnings) -> Self {
        Self { warnings, ..self }
    }
}

impl Warnings {
    /// More than this are not written to a log.
    const MOST_LINES: usize = 10;
}

impl fmt::Display for Warnings {
    /// The first of them, a line for each, and how many there are besides.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.list.len().min(Self::MOST_LINES);
        let lines: Vec<_> = self.list.iter().take(shown).map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))?;
        match self.list.len().saturating_sub(shown).saturating_add(self.further) {
            0 => Ok(()),
            more => write!(f, "\nthere are {more} more: `sidegate check` lists them"),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.owner, self.path.split_once(']')) {
            (Some(owner), Some((entry, rest))) => {
                on_one_line(&format!("{entry}] ({owner}){rest}: "), f)?;
            }
            _ if self.path.is_empty() => {}
            _ => on_one_line(&format!("{}: ", self.path), f)?,
        }
        on_one_line(&self.message, f)
    }
}

impl fmt::Display for Further {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(1) => f.write_str("there is 1 more problem"),
            Self::Exactly(count) => write!(f, "there are {count} more problems"),
            Self::Unknown => f.write_str("there may be more problems"),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Provider => "provider",
            Self::Metric => "metric",
            Self::Plan => "plan",
            Self::Consumer => "consumer",
        })
    }
}

/// Writes text that may quote the document: a line break in it must not look like another problem.
fn on_one_line(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for c in text.chars() {
        if c.is_control() { write!(f, "{}", c.escape_default())? } else { f.write_char(c)? }
    }
    Ok(())
}

fn lines(problems: &Problems) -> String {
    let mut lines: Vec<_> = problems.list.iter().map(ToString::to_string).collect();
    if problems.further != Further::Exactly(0) {
        lines.push(problems.further.to_string());
    }
    lines.join("\n")
}
