//! The policy.
pub mod document;
mod problem;
pub mod read;
pub mod value;
pub use problem::{Problem, Problems};
