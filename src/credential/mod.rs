//! Where credentials sit in a request, and the types that carry them: secrets that do not print, digests that may be kept.

mod digest;
mod secret;

pub use digest::{Digest, InvalidDigest};
pub use secret::{AccessToken, ApiKey, ProviderSecret};
