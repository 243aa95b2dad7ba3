//! `sidegate key`: creates API keys. Policies hold only their digests.

use std::io;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use clap::Args;

use super::{Status, Streams};
use crate::credential::Digest;

/// Which key to make.
#[derive(Args)]
#[command(after_help = "\
Examples:
  sidegate key                          a key of 256 random bits, and the line for the policy
  sidegate key --prefix acme_ --bytes 16
  sidegate key --digest < key.txt       the digest of a key that exists already

The key is printed once and kept nowhere. Put the line that starts with `{sha256:` into the policy, under `keys`.
Exit codes: 0 done, 2 wrong arguments, or no key on standard input.")]
pub struct Arguments {
    /// Random bytes in the key
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(16..=1024))]
    bytes: u16,
    /// What the key starts with, so that people and scanners recognise it as a key
    #[arg(long, default_value = "sg_", value_parser = prefix)]
    prefix: String,
    /// Read a key from standard input and print its digest instead
    #[arg(long, conflicts_with_all = ["bytes", "prefix"])]
    digest: bool,
}

/// Creates a key, or the digest of one.
///
/// # Errors
///
/// The system has no randomness, or standard input has no key, or the result cannot be written.
pub fn run(arguments: &Arguments, streams: &mut Streams<'_>) -> io::Result<Status> {
    if arguments.digest {
        let mut text = String::new();
        streams.input.read_to_string(&mut text)?;
        let key = one_word(&text).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "standard input must hold one key and nothing else")
        })?;
        writeln!(streams.output, "{}", entry(key))?;
        return Ok(Status::Done);
    }
    let mut random = vec![0; usize::from(arguments.bytes)];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let key = format!("{}{}", arguments.prefix, URL_SAFE_NO_PAD.encode(random));
    writeln!(streams.output, "{key}\n{}", entry(&key))?;
    Ok(Status::Done)
}

/// The one word in a text; `None` if there is none, or more than a word.
pub(super) fn one_word(text: &str) -> Option<&str> {
    // Editors and `echo` end the line, but a credential has no line break.
    let word = text.strip_suffix('\n').unwrap_or(text);
    let word = word.strip_suffix('\r').unwrap_or(word);
    (!word.is_empty() && !word.chars().any(|c| c.is_control() || c.is_whitespace())).then_some(word)
}

/// The entry for the key in a consumer's `keys`.
fn entry(key: &str) -> String {
    format!("{{sha256: \"{}\"}}", Digest::of(key.as_bytes()).to_hex())
}

fn prefix(text: &str) -> Result<String, &'static str> {
    let fits =
        text.len() <= 32 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if fits { Ok(text.to_owned()) } else { Err("up to 32 ASCII letters, digits, `-`, `_` and `.`") }
}
