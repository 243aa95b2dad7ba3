//! Access tokens that Sidegate verifies itself: JWTs (RFC 7519) signed as a compact JWS (RFC 7515).
//!
//! [`verify()`] does all of it. What is cheap comes first, so that most forged tokens cost no cryptography:
//!
//! ```text
//! cache ──▶ shape, header, claims ──▶ key ──▶ signature ──▶ cache
//!             │ TokenFault              │ missing: fetched, at most once per `pause`
//!             ▼                         ▼
//! ```

mod algorithm;
mod claims;
mod effort;
mod fetched;
mod jws;
mod key;
mod key_set;
mod metadata;
mod pem;
mod provider;
mod published;
mod rsa;
mod signature;
mod verify;

pub use algorithm::{Algorithm, Hash};
pub use claims::of_payload;
pub use effort::{Effort, Verifications};
pub(super) use jws::object;
pub use jws::{Jws, MAX_TOKEN, claimed_issuer, has_payload};
pub use key_set::{InvalidKeySet, KeySet, MAX_KEY_SET};
pub use metadata::payload;
#[cfg(any(test, not(target_family = "wasm")))]
pub use metadata::with_payload;
pub use provider::{InvalidProvider, Keys, Provider, Settings};
pub use published::{KeySets, Publication, Unobtained, keep_fresh};
pub use verify::{Statement, Tools, Unverified, Verdict, Verified, verify, verify_statement};
