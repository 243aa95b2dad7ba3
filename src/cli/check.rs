//! `sidegate check`: everything that is wrong with policies.

use std::io;

use clap::Args;

use crate::policy::Policy;

use super::{
    Streams, Verdict,
    environment::{self, Environment},
    input::Source,
};

/// What to check.
#[derive(Args)]
#[command(after_help = "\
Examples:
  sidegate check policy.yaml
  sidegate check --env-file secrets.env policy.yaml
  kubectl get configmap sidegate -o jsonpath='{.data.policy}' | sidegate check --without-secrets -

Prints `FILE: ok (…)` for each policy that would load, and `FILE: path: message` for each thing that is wrong.
Exit codes: 0 all policies are right, 1 one is wrong, 2 one cannot be read.")]
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
/// The verdicts cannot be written, or there is something wrong with the environment file.
pub fn run(
    arguments: &Arguments,
    process: &dyn Fn(&str) -> Option<String>,
    streams: &mut Streams<'_>,
) -> io::Result<Verdict> {
    let environment = arguments.environment.environment(process)?;
    let mut worst = Verdict::Fine;
    for source in &arguments.files {
        let name = source.name();
        match load(source, &environment, streams)? {
            Ok((policy, _)) => writeln!(streams.output, "{name}: ok ({})", summary(&policy))?,
            Err(Verdict::Failed) => worst = Verdict::Failed,
            Err(verdict) if worst == Verdict::Fine => worst = verdict,
            Err(_) => {}
        }
    }
    Ok(worst)
}

/// The policy with its plugin configuration; or what the command ends with, after everything that is wrong has been told.
///
/// # Errors
///
/// It cannot be told.
pub(super) fn load(
    source: &Source,
    environment: &Environment<'_>,
    streams: &mut Streams<'_>,
) -> io::Result<Result<(Policy, Vec<u8>), Verdict>> {
    let name = source.name();
    let text = match source.read(streams.input) {
        Ok(text) => text,
        Err(error) => {
            writeln!(streams.errors, "{name}: {error}")?;
            return Ok(Err(Verdict::Failed));
        }
    };
    let configuration = match source.configuration(text) {
        Ok(configuration) => configuration,
        Err(problem) => {
            writeln!(streams.errors, "{name}: {problem}")?;
            return Ok(Err(Verdict::Wrong));
        }
    };
    match Policy::load(&configuration, environment) {
        Ok(policy) => Ok(Ok((policy, configuration))),
        Err(problems) => {
            for problem in problems.0 {
                writeln!(streams.errors, "{name}: {problem}")?;
            }
            Ok(Err(Verdict::Wrong))
        }
    }
}

fn summary(policy: &Policy) -> String {
    let revision = policy.revision.as_deref().unwrap_or("none");
    let number = |count: usize, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
    let apis = number(policy.apis().len(), "API");
    let consumers = number(policy.consumers.len(), "consumer");
    format!("revision {revision}, digest {}, {apis}, {consumers}", policy.digest)
}
