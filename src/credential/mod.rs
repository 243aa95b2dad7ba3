//! Credentials: where they are in a request, secrets that are never printed, and digests that may be stored.

mod locate;
mod secret;

pub use locate::{
    InvalidLocation, InvalidLocations, Located, Location, Locations, MAX_CREDENTIAL, MisplacedCredential,
    Removal, has_more_cookies_than, locate, removal,
};
pub use secret::{AccessToken, ProviderSecret};

pub use crate::digest::{Digest, InvalidDigest};
