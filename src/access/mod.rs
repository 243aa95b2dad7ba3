//! What an identified caller may do: bindings, referrers, and the scopes and audiences that a token must
//! have.

mod audience;
mod binding;
mod referrer;
mod scope;

pub use audience::{Audience, InvalidAudience};
pub use binding::{Binding, Bindings, Grant, PathGrants};
pub use referrer::{InvalidReferrer, Referrer, Referrers};
pub use scope::{InvalidScopes, RequiredScopes, ScopeStrategy};
