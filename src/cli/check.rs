//! `sidegate check`: reports all problems in policies.

use std::io;

use clap::Args;

use super::{Status, Streams, environment, input::Source, load::load};
use crate::policy::Policy;

/// What to check.
#[derive(Args)]
#[command(after_help = "\
Examples:
  sidegate check policy.yaml
  sidegate check --env-file secrets.env policy.yaml
  kubectl get configmap sidegate -o jsonpath='{.data.policy}' | sidegate check --without-secrets -

Prints `FILE: ok (…)` for each policy that would load, and `FILE:LINE:COLUMN: path: message` for each problem.
What loads but is probably a mistake is a line with `warning: ` before the path.
Exit codes: 0 all policies are valid, 1 one is invalid, 2 one cannot be read.")]
pub struct Arguments {
    /// Policies in YAML or JSON; `-` for standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<Source>,
    #[command(flatten)]
    environment: environment::Arguments,
}

/// Checks each policy.
///
/// # Errors
///
/// The results cannot be written, or the environment file is invalid.
pub fn run(
    arguments: &Arguments,
    process: &dyn Fn(&str) -> Option<String>,
    streams: &mut Streams<'_>,
) -> io::Result<Status> {
    let environment = arguments.environment.environment(process)?;
    let mut worst = Status::Done;
    for source in &arguments.files {
        match load(source, &environment, streams)? {
            Ok(loaded) => {
                writeln!(streams.output, "{}: ok ({})", source.name(), summary(&loaded.policy))?;
            }
            Err(status) => worst = worst.max(status),
        }
    }
    Ok(worst)
}

fn summary(policy: &Policy) -> String {
    let revision = policy.revision.as_deref().unwrap_or("none");
    let number = |count: usize, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
    let apis = number(policy.apis().len(), "API");
    let consumers = number(policy.consumers.len(), "consumer");
    format!("revision {revision}, digest {}, {apis}, {consumers}", policy.digest)
}
