//! What the service receives: no credentials, and the caller's identity in headers that callers cannot forge.

mod edits;
mod template;
mod value;

pub use edits::{Edits, OWN_PREFIX, ReservedNames, Stripping};
pub use template::{Field, HeaderTemplate, InvalidTemplate};
pub use value::HeaderValue;
