//! The `sidegate` command: checks, converts and renders policies, creates keys and makes digests, with the
//! same core that runs in Envoy.
//!
//! Commands take their input, output and environment as arguments; only [`main`] uses those of the process.

mod check;
mod convert;
mod digest;
mod environment;
mod input;
mod key;
mod load;
mod places;
mod render;
pub mod schema;

use std::{
    io::{self, Read, Write},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

/// The status of a finished command, from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// The command succeeded: exit code 0.
    Done,
    /// A document is invalid, and standard error says why: exit code 1.
    Invalid,
    /// The arguments are wrong, or something cannot be read or written: exit code 2, as clap uses it.
    Failed,
}

/// What a command reads and writes.
pub struct Streams<'a> {
    /// Standard input.
    pub input: &'a mut dyn Read,
    /// Standard output.
    pub output: &'a mut dyn Write,
    /// Standard error.
    pub errors: &'a mut dyn Write,
}

/// API management inside Envoy: the policy's tools.
#[derive(Parser)]
#[command(name = "sidegate", version, after_help = EXIT_CODES, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check policies and print all problems, one line each
    Check(check::Arguments),
    /// Turn a policy into the plugin configuration: one line of JSON
    Convert(convert::Arguments),
    /// Print the manifest for Istio, or the file for Envoy, with the policy in it
    Render(Box<render::Arguments>),
    /// Make an API key, or the digest of one
    Key(key::Arguments),
    /// Print the digest of an access token, for the list of revoked ones
    Digest(digest::Arguments),
    /// Print the JSON Schema of the policy document
    #[command(after_help = "Example:\n  sidegate schema > policy.schema.json")]
    Schema,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  a document is invalid; standard error says why
  2  wrong arguments, or a file that cannot be read or written";

/// Runs the command that the process's arguments name.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let (mut input, mut output, mut errors) = (io::stdin().lock(), io::stdout().lock(), io::stderr().lock());
    let streams = &mut Streams { input: &mut input, output: &mut output, errors: &mut errors };
    let status = run(arguments.command, &environment::of_process, streams).unwrap_or_else(|error| {
        // If standard error is closed as well, the error cannot be reported.
        let _written = writeln!(streams.errors, "sidegate: {error}");
        Status::Failed
    });
    ExitCode::from(match status {
        Status::Done => 0,
        Status::Invalid => 1,
        Status::Failed => 2,
    })
}

fn run(
    command: Command,
    process: &dyn Fn(&str) -> Option<String>,
    streams: &mut Streams<'_>,
) -> io::Result<Status> {
    match command {
        Command::Check(arguments) => check::run(&arguments, process, streams),
        Command::Convert(arguments) => convert::run(&arguments, process, streams),
        Command::Render(arguments) => render::run(&arguments, process, streams),
        Command::Key(arguments) => key::run(&arguments, streams),
        Command::Digest(digest::Arguments {}) => digest::run(streams),
        Command::Schema => {
            streams.output.write_all(schema::text().as_bytes())?;
            Ok(Status::Done)
        }
    }
}
