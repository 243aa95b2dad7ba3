//! `sidegate convert`: the plugin configuration that a policy is.

use std::io;

use clap::Args;
use serde_json::Value;

use super::{Streams, Verdict, check, environment, input::Source};

/// What to convert.
#[derive(Args)]
#[command(after_help = "\
Examples:
  sidegate convert policy.yaml > policy.json
  sidegate convert --without-secrets - < policy.yaml

The policy is checked first; nothing is printed if it is wrong. Its secrets that are `{env: NAME}` stay so.
Exit codes: 0 done, 1 the policy is wrong, 2 it cannot be read.")]
pub struct Arguments {
    /// The policy in YAML or JSON; `-` for standard input
    #[arg(value_name = "FILE")]
    file: Source,
    #[command(flatten)]
    environment: environment::Arguments,
}

/// Checks the policy and writes it as one line of JSON, without a line break at its end: its digest is that of a plugin that is
/// configured with it byte for byte.
///
/// # Errors
///
/// It cannot be written, or there is something wrong with the environment file.
pub fn run(
    arguments: &Arguments,
    process: &dyn Fn(&str) -> Option<String>,
    streams: &mut Streams<'_>,
) -> io::Result<Verdict> {
    let environment = arguments.environment.environment(process)?;
    match check::load(&arguments.file, &environment, streams)? {
        Ok((_, configuration)) => {
            let value: Value = serde_json::from_slice(&configuration)?;
            serde_json::to_writer(&mut streams.output, &value)?;
            Ok(Verdict::Fine)
        }
        Err(verdict) => Ok(verdict),
    }
}
