//! Sidegate: API management inside the proxy.
//!
//! One WebAssembly module, `sidegate.wasm`, runs in Envoy and answers four questions about every request before it reaches the service:
//! which API rule is this, who is calling, may they, and have they any quota left? A request that passes goes on without its credentials
//! and with headers that say who called; any other is answered in the service's stead.
//!
//! ```text
//!              ┌──────────────────── pure core: no host, no clock, no I/O ────────────────────┐
//!  headers ──▶ match ──▶ credential ──▶ identify ──▶ authorize ──▶ charge ──▶ Permit ──▶ forward
//!                │           │           │    ▲          │            │
//!                ▼           ▼           ▼    │ reply    ▼            ▼
//!             Refused     Refused    Call ──▶ Pending  Refused     Refused
//!                └───────────┴───────────┴───────────────┴────────────┘
//!                              one table ──▶ status, headers, body
//! ```
//!
//! # What it does not do
//!
//! Routing, TLS, retries and load balancing are Envoy's. Sidegate issues no tokens, reads no bodies, and keeps no database: counters and
//! cached identities live in Envoy's own memory, shared by its workers and by nobody else.
//!
//! # Where to look
//!
//! * [`policy`]: what the operator writes, compiled once
//! * [`matching`]: which API and which rule a request is for
//! * [`credential`]: where credentials sit in a request; secrets and digests
//! * [`identity`]: who a credential turns out to be, as a provider says
//! * [`access`]: bindings, scopes, audiences
//! * [`quota`]: limits, windows and meters
//! * [`store`]: the port to shared bytes, and the table laid over it
//! * [`gate`]: the state machine that takes a request through all of these
//! * [`refusal`]: every reason why a request does not pass, and the one table of replies
//! * [`provider`], [`time`]: calls to providers as data; moments
//! * [`filter`]: the shell that carries the gate's decisions out inside Envoy
//!
//! `docs/architecture.md` has the invariants, `docs/policy.md` the policy, `docs/errors.md` the refusals.
//!
//! # Example
//!
//! The core decides anywhere; here over a store in this process's memory.
//!
//! ```
//! use std::rc::Rc;
//!
//! use sidegate::{
//!     gate::{Gate, Request, Step},
//!     policy::Policy,
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
//! let gate = Gate::new(Rc::new(policy), Memory::new());
//!
//! let now = Timestamp::from_seconds(1_800_000_000);
//! let ask = |key: &str| {
//!     let headers = [(":method", "GET"), (":path", "/orders/17"), (":authority", "example.com"), ("apikey", key)]
//!         .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
//!     gate.begin(&Request { headers: &headers, address: &|| None, stream: 1 }, now)
//! };
//!
//! let Step::Permit(permit) = ask("acme-key") else { panic!("acme may") };
//! assert!(permit.edits().remove.iter().any(|name| name == "apikey"));
//! assert!(permit.edits().set.iter().any(|(name, value)| &**name == "x-consumer" && value == b"acme"));
//!
//! let Step::Refuse(refused) = ask("acme-key") else { panic!("once a minute") };
//! assert_eq!((refused.reply().status, refused.refusal().row().digits), (429, "14"));
//!
//! let Step::Refuse(refused) = ask("a guess") else { panic!("nobody's key") };
//! assert_eq!((refused.reply().status, refused.refusal().row().digits), (401, "13"));
//! # Ok::<(), sidegate::policy::Problems>(())
//! ```

pub mod access;
pub mod credential;
pub mod gate;
pub mod identity;
pub mod matching;
pub mod policy;
pub mod provider;
pub mod quota;
pub mod refusal;
pub mod store;
pub mod time;

#[cfg(not(target_family = "wasm"))]
pub mod cli;
pub mod filter;
#[cfg(not(target_family = "wasm"))]
#[doc(hidden)]
pub mod fuzzing;
mod grammar;
