//! Credentials: where they are in a request, secrets that are never printed, and digests that may be stored.

mod locate;
mod secret;

pub use locate::{
    BasicPart, InvalidLocation, InvalidLocations, Located, Location, Locations, MAX_CREDENTIAL,
    MisplacedCredential, PresentedApplication, Removal, has_more_cookies_than, locate, locate_application,
    removal,
};
pub use secret::{AccessToken, ProviderSecret};

pub use crate::digest::{Digest, InvalidDigest};
