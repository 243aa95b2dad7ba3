//! Where credentials sit in a request, and the types that carry them: secrets that do not print, digests that may be kept.

mod digest;
mod locate;
mod secret;

pub use digest::{Digest, InvalidDigest};
pub use locate::{InvalidLocation, Location, MAX_CREDENTIAL, MisplacedCredential, Removal, locate, removal};
pub use secret::{AccessToken, ProviderSecret};
