//! Small values of the policy document that have a form of their own.

mod alert_at;
mod duration;
mod moment;
mod named;
mod secret;
mod setting;
mod sha256;
mod shape;

pub use alert_at::AlertAt;
pub use duration::DurationText;
pub use moment::Moment;
pub use named::Named;
pub use secret::Secret;
pub use setting::Setting;
pub use sha256::Sha256;
pub(in crate::policy) use shape::{MapOnly, given};
