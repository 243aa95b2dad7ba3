//! Loads the policy of a command, and prints all problems in it, and all warnings.

use std::{fmt, io};

use super::{
    Status, Streams,
    environment::Environment,
    input::{Misread, Source},
    places::{Place, Places},
};
use crate::policy::{Further, Policy, Problem, Problems};

/// A policy that loaded.
pub struct Loaded {
    /// The policy.
    pub policy: Policy,
    /// The plugin configuration that it was loaded from.
    pub configuration: Vec<u8>,
    /// The text of the file.
    pub text: Vec<u8>,
}

/// Loads the policy, or prints its problems and returns the status of the command.
///
/// # Errors
///
/// The problems cannot be written.
pub fn load(
    source: &Source,
    environment: &Environment<'_>,
    streams: &mut Streams<'_>,
) -> io::Result<Result<Loaded, Status>> {
    let name = source.name();
    let text = match source.read(streams.input) {
        Ok(text) => text,
        Err(error) => {
            writeln!(streams.errors, "{name}: {error}")?;
            return Ok(Err(Status::Failed));
        }
    };
    let configuration = match source.configuration(&text) {
        Ok(configuration) => configuration,
        Err(Misread { place, message }) => {
            writeln!(streams.errors, "{}: {message}", at(&name, place))?;
            return Ok(Err(Status::Invalid));
        }
    };
    let (list, further, warnings, loaded) = match Policy::load(&configuration, environment) {
        Ok(mut policy) => {
            let warnings = std::mem::take(&mut policy.warnings);
            (Vec::new(), Further::Exactly(0), warnings, Some(policy))
        }
        Err(Problems { list, further, warnings }) => (list, further, warnings, None),
    };
    let warned = warnings.list.into_iter().map(Line::Warning);
    let lines = list.into_iter().map(Line::Problem).chain(warned).collect();
    print(source, &text, lines, |line| &line.about().path, streams)?;
    if further != Further::Exactly(0) {
        writeln!(streams.errors, "{name}: {further}")?;
    }
    if warnings.further > 0 {
        writeln!(streams.errors, "{name}: there are {} more warnings", warnings.further)?;
    }
    Ok(loaded.map(|policy| Loaded { policy, configuration, text }).ok_or(Status::Invalid))
}

/// What is printed about a policy.
enum Line {
    Problem(Problem),
    Warning(Problem),
}

impl Line {
    const fn about(&self) -> &Problem {
        match self {
            Self::Problem(problem) | Self::Warning(problem) => problem,
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Problem(problem) => problem.fmt(f),
            Self::Warning(problem) => write!(f, "warning: {problem}"),
        }
    }
}

/// Prints problems with their places, in the order of the text. `path` returns the path of a problem.
///
/// # Errors
///
/// They cannot be written.
pub fn print<P: fmt::Display>(
    source: &Source,
    text: &[u8],
    problems: Vec<P>,
    path: impl Fn(&P) -> &str,
    streams: &mut Streams<'_>,
) -> io::Result<()> {
    let places = Places::of(text);
    let place = |problem: &P| places.as_ref().and_then(|places| places.find(path(problem)));
    let mut placed: Vec<_> = problems.into_iter().map(|problem| (place(&problem), problem)).collect();
    placed.sort_by_key(|(place, _)| *place);
    for (place, problem) in placed {
        writeln!(streams.errors, "{}: {problem}", at(&source.name(), place))?;
    }
    Ok(())
}

/// The name of a file with a place in it, in the form that editors and terminals recognise.
fn at(name: &str, place: Option<Place>) -> String {
    match place {
        Some(Place { line, column }) => format!("{name}:{line}:{column}"),
        None => name.to_owned(),
    }
}
