//! `sidegate digest`: the digest of a token, for the list of revoked ones.

use std::io;

use clap::Args;

use super::{Status, Streams, key::one_word};
use crate::identity::revoking_digest;

/// The command takes no arguments.
#[derive(Args)]
#[command(after_help = "\
Examples:
  sidegate digest < token.txt           the digest of an access token, for the policy's list `revoked`

The digest of a JWT is that of its first two parts, because anybody can change the signature of some into another
valid one. Without this command: `printf %s \"$TOKEN\" | sha256sum`, and `printf %s \"${TOKEN%.*}\" | sha256sum` for a JWT.
Exit codes: 0 done, 2 no token on standard input.")]
pub struct Arguments {}

/// Prints the digest of the token on standard input.
///
/// # Errors
///
/// Standard input has no token, or the result cannot be written.
pub fn run(streams: &mut Streams<'_>) -> io::Result<Status> {
    let mut text = String::new();
    streams.input.read_to_string(&mut text)?;
    let token = one_word(&text).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, "standard input must hold one token and nothing else")
    })?;
    writeln!(streams.output, "{}", revoking_digest(token).to_hex())?;
    Ok(Status::Done)
}
