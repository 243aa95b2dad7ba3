//! What the service behind the gate sees: no credentials, and the caller's identity in headers that nobody can forge.

mod edits;
mod template;

pub use edits::{Edits, OWN_PREFIX, Stripping};
pub use template::{Field, HeaderTemplate, InvalidTemplate};
