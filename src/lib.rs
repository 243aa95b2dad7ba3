//! Sidegate: API management inside the proxy.
//!
//! One WebAssembly module, `sidegate.wasm`, runs in Envoy and answers four questions about every request before it reaches the service:
//! which API rule is this, who is calling, may they, and have they any quota left? A request that passes goes on without its credentials
//! and with headers that say who called; any other is answered in the service's place.
//!
//! ```text
//!              ┌──────────────────── pure core: no host, no clock, no I/O ────────────────────┐
//!  headers ──▶ match ──▶ credential ──▶ identify ──▶ authorize ──▶ charge ──▶ Permit ──▶ forward | answer
//!                │           │           │    ▲          │            │
//!                ▼           ▼           ▼    │ response ▼            ▼
//!             Refusal     Refusal      Call ──┘       Refusal      Refusal
//!                └───────────┴───────────┴───────────────┴────────────┘
//!                      one rendering ──▶ Refused: status, headers, body
//! ```
//!
//! # What it does not do
//!
//! Routing, TLS, retries and load balancing are Envoy's. Sidegate issues no tokens, reads no bodies, and keeps no database: counters and
//! cached identities live in Envoy's own memory, shared by its workers and by nobody else.
//!
//! # Where to look
//!
//! From the top floor down; imports only go down.
//!
//! * `hosts`: Envoy by proxy-wasm, in the module only
//! * [`shell`]: what every host needs: runs requests and background tasks, makes calls, writes logs and metrics
//! * [`gate`]: the flow that takes a request through all of the following
//! * [`policy`]: what the operator writes, compiled once
//! * [`forward`]: what the service sees of its caller
//! * [`identity`]: who a credential turns out to be
//! * [`access`]: bindings, scopes, audiences
//! * [`quota`]: limits, windows, meters, payers, receipts
//! * [`matching`]: which API and which rule a request is for, and what it uses
//! * [`ports`]: everything that the core may ask for, and how its futures are run
//! * [`provider`]: calls to providers as data
//! * [`credential`]: where credentials sit in a request; secrets that do not print
//! * [`refusal`]: every reason why a request does not pass, and the one rendering of it
//! * [`store`]: the port to shared bytes, and the table laid over it
//! * [`reply`], [`headers`], [`time`], [`digest`]: small things that all rooms use
//!
//! `docs/architecture.md` is a walk through the house, `docs/policy.md` has the policy, `docs/errors.md` the refusals.
//!
//! # Example
//!
//! The core decides anywhere; here over a store in this process's memory.
//!
//! ```
//! use std::rc::Rc;
//!
//! use sidegate::{
//!     gate::{Ending, Request, drive::Driver},
//!     policy::Policy,
//!     provider::CallFailure,
//!     store::Memory,
//!     time::Timestamp,
//! };
//!
//! // The key is `acme-key`; the policy knows only its digest.
//! let document = br#"{
//!     "sidegate": "v1",
//!     "plans": {"free": {"limits": [{"metric": "hits", "max": 1, "per": "minute"}]}},
//!     "consumers": [{"name": "acme", "plan": "free", "keys": [
//!         {"sha256": "afacab3575137afa4e00d9cbcafcb14c9ae25f779d964eb0ea5b2c4eb5dfd163"}
//!     ]}],
//!     "apis": [{
//!         "name": "orders",
//!         "access": ["api_key"],
//!         "rules": [{"path": "/orders/{id}", "methods": ["GET"]}],
//!         "forward": {"headers": {"x-consumer": "{consumer}"}}
//!     }]
//! }"#;
//! let policy = Policy::load(document, &|_| None)?;
//! let driver = Driver::new(Rc::new(policy), Memory::new());
//!
//! let now = Timestamp::from_seconds(1_800_000_000);
//! let ask = |key: &str| {
//!     let headers = [(":method", "GET"), (":path", "/orders/17"), (":authority", "example.com"), ("apikey", key)]
//!         .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
//!     let request = Request::new(headers.to_vec().into(), || None, 1);
//!     driver.decide(request, now, |_call| Err(CallFailure::UnknownCluster))
//! };
//!
//! let Ending::Permit(permit) = ask("acme-key") else { panic!("acme may") };
//! assert!(permit.edits().remove.iter().any(|name| name == "apikey"));
//! assert!(permit.edits().set.iter().any(|(name, value)| &**name == "x-consumer" && value == b"acme"));
//!
//! let Ending::Refused(refused) = ask("acme-key") else { panic!("once a minute") };
//! assert_eq!((refused.reply().status, refused.refusal().cause.code().digits()), (429, "14"));
//!
//! let Ending::Refused(refused) = ask("a guess") else { panic!("nobody's key") };
//! assert_eq!((refused.reply().status, refused.refusal().cause.code().digits()), (401, "13"));
//! # Ok::<(), sidegate::policy::Problems>(())
//! ```

pub mod access;
pub mod credential;
pub mod digest;
pub mod forward;
pub mod gate;
pub mod headers;
pub mod identity;
pub mod matching;
pub mod policy;
pub mod ports;
pub mod provider;
pub mod quota;
pub mod refusal;
pub mod reply;
pub mod store;
pub mod time;

#[cfg(not(target_family = "wasm"))]
pub mod cli;
#[cfg(not(target_family = "wasm"))]
#[doc(hidden)]
pub mod fuzzing;
mod grammar;
#[cfg(target_os = "wasi")]
pub mod hosts;
pub mod shell;
