//! `sidegate render`: the policy inside the manifest that Istio takes, or the file that Envoy watches.

mod arguments;
mod numbers;
mod template;

use std::{cell::RefCell, collections::BTreeSet, io};

use serde_json::Value;

use super::{Streams, Verdict, check, environment::Environment};

pub use arguments::Arguments;

/// What goes into a manifest.
struct Contents {
    /// The policy, for manifests that hold it as an object.
    policy: Value,
    /// The same as one line of JSON, for those that hold it as a string.
    text: String,
    /// The variables that its secrets name.
    variables: BTreeSet<String>,
}

/// Checks the policy and writes the manifest with the policy in it.
///
/// # Errors
///
/// The options do not go together, the manifest cannot be written, or there is something wrong with the environment file.
pub fn run(
    arguments: &Arguments,
    process: &dyn Fn(&str) -> Option<String>,
    streams: &mut Streams<'_>,
) -> io::Result<Verdict> {
    let manifest = arguments.manifest()?;
    let environment = arguments.environment.environment(process)?;
    let variables = RefCell::new(BTreeSet::new());
    // What is asked for here is what the module will ask for.
    let noting: Environment<'_> = Box::new(|name| {
        variables.borrow_mut().insert(name.to_owned());
        environment(name)
    });
    let configuration = match check::load(&arguments.policy, &noting, streams)? {
        Ok((_, configuration)) => configuration,
        Err(verdict) => return Ok(verdict),
    };
    drop(noting);
    let policy: Value = serde_json::from_slice(&configuration)?;
    if manifest.rounds_numbers() {
        let rounded = numbers::rounded(&policy);
        for path in &rounded {
            let name = arguments.policy.name();
            writeln!(
                streams.errors,
                "{name}: {path}: numbers above 2^53 do not keep their value on the way through Istio"
            )?;
        }
        if !rounded.is_empty() {
            return Ok(Verdict::Wrong);
        }
    }
    let text = policy.to_string();
    let contents = Contents { policy, text, variables: variables.into_inner() };
    let written = template::fill(&manifest, contents)?;
    streams.output.write_all(written.as_bytes())?;
    Ok(Verdict::Fine)
}
