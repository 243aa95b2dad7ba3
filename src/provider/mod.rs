//! Providers: services that vouch for credentials or count. This room knows how any of them is called, whatever it is asked.
//!
//! * [`Call`]: what the shell sends to an Envoy cluster, over HTTP or gRPC
//! * [`Response`] and [`CallFailure`]: what comes back
//! * [`ProviderFault`]: why an answer cannot be used, whatever the kind of provider
//! * [`Keeping`], [`Freshness`], [`WhenUnavailable`]: how long an answer may be used, and when it may stand in for a new one
//! * [`rest`]: a provider that failed is left alone for a while

mod call;
mod endpoint;
mod fault;
mod keeping;
mod response;
pub mod rest;

pub use call::{Call, GrpcRequest, HttpRequest, Sharing, Transport, Wanted};
pub use endpoint::{Endpoint, InvalidEndpoint};
pub use fault::{CallOutcome, CallRecord, ProviderFault};
pub use keeping::{Freshness, Keeping, WhenUnavailable};
pub use response::{Body, CallFailure, CallResult, GrpcResponse, HttpResponse, Response};
