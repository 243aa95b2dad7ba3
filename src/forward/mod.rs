//! What the service receives: no credentials, and the caller's identity in headers that callers cannot forge.

mod edits;
mod template;

pub use edits::{Edits, OWN_PREFIX, Stripping, is_reserved};
pub use template::{Field, HeaderTemplate, InvalidTemplate};
