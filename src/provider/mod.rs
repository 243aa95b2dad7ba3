//! Providers: services that vouch for credentials or count. This module handles what all kinds of providers
//! have in common.
//!
//! * [`Call`]: what the shell sends to an Envoy cluster, over HTTP or gRPC
//! * [`Response`] and [`CallFailure`]: the result
//! * [`ProviderFault`]: why an answer cannot be used, for any kind of provider
//! * [`Keeping`], [`Freshness`], [`WhenUnavailable`]: how long an answer may be used, and when it may replace
//!   a new one
//! * [`rest`]: a provider that failed is not called for a while

mod call;
mod endpoint;
mod fault;
mod keeping;
mod response;
pub mod rest;

pub use call::{Asker, Call, GrpcRequest, HttpRequest, Sharing, Transport, Wanted};
pub use endpoint::{Endpoint, InvalidEndpoint};
pub use fault::{CallOutcome, CallRecord, ProviderFault};
pub use keeping::{Freshness, Keeping, WhenUnavailable};
pub use response::{Body, CallFailure, CallResult, GrpcResponse, HttpResponse, Response};
