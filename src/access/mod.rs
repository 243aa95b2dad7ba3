//! What an identified subject may do: the scopes and audiences that its token must carry.

mod audience;
mod binding;
mod scope;

pub use audience::{Audience, InvalidAudience};
pub use binding::{Binding, Grant};
pub use scope::{InvalidScopes, RequiredScopes, ScopeStrategy};
