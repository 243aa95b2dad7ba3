//! `sidegate convert`: turns a policy into the plugin configuration.

use std::io;

use clap::Args;
use serde_json::Value;

use super::{Status, Streams, environment, input::Source, load::load};

/// What to convert.
#[derive(Args)]
#[command(after_help = "\
Examples:
  sidegate convert policy.yaml > policy.json
  sidegate convert --without-secrets - < policy.yaml

The policy is checked first; nothing is printed if it is invalid. Secrets that are `{env: NAME}` stay as they are.
Exit codes: 0 done, 1 the policy is invalid, 2 it cannot be read.")]
pub struct Arguments {
    /// The policy in YAML or JSON; `-` for standard input
    #[arg(value_name = "FILE")]
    file: Source,
    #[command(flatten)]
    environment: environment::Arguments,
}

/// Checks the policy and writes it as one line of JSON, without a line break at its end. A plugin that is
/// configured with exactly these bytes shows the same digest.
///
/// # Errors
///
/// It cannot be written, or the environment file is invalid.
pub fn run(
    arguments: &Arguments,
    process: &dyn Fn(&str) -> Option<String>,
    streams: &mut Streams<'_>,
) -> io::Result<Status> {
    let environment = arguments.environment.environment(process)?;
    let loaded = match load(&arguments.file, &environment, streams)? {
        Ok(loaded) => loaded,
        Err(status) => return Ok(status),
    };
    let value: Value = serde_json::from_slice(&loaded.configuration)?;
    serde_json::to_writer(&mut streams.output, &value)?;
    Ok(Status::Done)
}
