//! Limits across replicas: what a rate limit service counts for all Envoys together.
//!
//! A limit across replicas is also a limit of this Envoy: its own meter is decided and charged first, like
//! those of all other limits. If all of them have room, the [`Service`] is [asked](confirm()). Whatever
//! refuses the request after that gives back what our own meters were charged; the service cannot give back.
//!
//! A counter of the service belongs to one payer, one limit and one window, whose start is in its name. A
//! call that is in flight when a window ends counts in the window that it names.

mod confirm;
mod engine;
mod lease;
mod message;
mod service;

pub use confirm::{Confirmed, Fallen, NotConfirmed, Taken, confirm, refill};
pub use engine::{CannotCount, Engine};
pub(super) use lease::LeaseState;
pub use lease::{LeaseBounds, Refill};
#[cfg(not(target_family = "wasm"))]
#[doc(hidden)]
pub use message::{
    Descriptor, DescriptorStatus, KeyValue, OK, OVER_LIMIT, Override, RateLimitRequest, RateLimitResponse,
};
pub use service::{Fallback, InvalidService, Service, Settings};
