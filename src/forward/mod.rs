//! What the service receives: no credentials, and the caller's identity in headers that callers cannot forge.

mod body;
mod edits;
mod template;
mod value;

pub use body::BodyTemplate;
pub use edits::{Edits, OWN_PREFIX, ReservedNames, Stripping};
pub use template::{Field, HeaderTemplate, InvalidTemplate};
pub use value::HeaderValue;
