//! What an identified caller may do: bindings, and the scopes and audiences that a token must have.

mod audience;
mod binding;
mod scope;

pub use audience::{Audience, InvalidAudience};
pub use binding::{Binding, Bindings, Grant, PathGrants};
pub use scope::{InvalidScopes, RequiredScopes, ScopeStrategy};
