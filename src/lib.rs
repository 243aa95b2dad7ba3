//! Sidegate: API management inside the proxy.
//!
//! One WebAssembly module, `sidegate.wasm`, runs in Envoy and answers four questions about every request
//! before it reaches the service: which API rule applies, who is calling, is the caller allowed, and is there
//! quota left? A request that passes goes on without its credentials and with headers that name the caller.
//! Any other request is answered in the service's place.
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
//! Routing, TLS, retries and load balancing are left to Envoy. Sidegate does not issue tokens, does not read
//! bodies, and has no database: counters and cached identities live in Envoy's own memory, which its workers
//! share.
//!
//! # Where to look
//!
//! From the top layer down; a module imports only from those below it.
//!
//! * `hosts`: Envoy by proxy-wasm, in the module only
//! * [`shell`]: what every host needs: runs requests and background tasks, makes calls, writes logs and
//!   metrics
//! * [`gate`]: the flow that takes a request through all of the following
//! * [`policy`]: what the operator writes, compiled once
//! * [`forward`]: what the service receives about its caller
//! * [`identity`]: turns a credential into an identity
//! * [`access`]: bindings, scopes, audiences
//! * [`quota`]: limits, windows, meters, payers, receipts
//! * [`matching`]: which API and which rule a request is for, and what it uses
//! * [`ports`]: everything that the core may ask for, and how its futures run
//! * [`provider`]: calls to providers as data
//! * [`credential`]: where credentials sit in a request; secrets that do not print
//! * [`refusal`]: every reason why a request does not pass, and the one rendering of it
//! * [`store`]: the port to shared bytes, and the table laid over it
//! * [`reply`], [`headers`], [`query`], [`time`], [`digest`], [`texts`]: small types that all modules use
//!
//! `docs/architecture.md` describes the structure, `docs/policy.md` the policy, and `docs/errors.md` the
//! refusals.
//!
//! # Example
//!
//! The core runs anywhere. Here it runs with a store in this process's memory.
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
//! // The key is `acme-key`; the policy holds only its digest.
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
//!     let fields =
//!         [(":method", "GET"), (":path", "/orders/17"), (":authority", "example.com"), ("apikey", key)];
//!     let headers = fields.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
//!     let request = Request::new(headers.to_vec().into(), || None, 1);
//!     driver.decide(request, now, |_call| Err(CallFailure::UnknownCluster))
//! };
//!
//! let Ending::Permit(permit) = ask("acme-key") else { panic!("acme is allowed") };
//! assert!(permit.edits().remove.iter().any(|name| name == "apikey"));
//! assert!(permit.edits().set.iter().any(|(name, value)| &**name == "x-consumer" && value == b"acme"));
//!
//! let Ending::Refused(refused) = ask("acme-key") else { panic!("one request per minute is allowed") };
//! assert_eq!((refused.reply().status, refused.refusal().cause.code().digits()), (429, "14"));
//!
//! let Ending::Refused(refused) = ask("a guess") else { panic!("the key is unknown") };
//! assert_eq!((refused.reply().status, refused.refusal().cause.code().digits()), (401, "13"));
//! # Ok::<(), sidegate::policy::Problems>(())
//! ```

pub mod access;
pub mod credential;
pub mod digest;
pub mod forward;
pub mod gate;
pub mod headers;
pub mod hosts;
pub mod identity;
pub mod matching;
pub mod policy;
pub mod ports;
pub mod provider;
pub mod query;
pub mod quota;
pub mod refusal;
pub mod reply;
pub mod report;
pub mod store;
pub mod texts;
pub mod time;

#[cfg(not(target_family = "wasm"))]
pub mod cli;
#[cfg(not(target_family = "wasm"))]
#[doc(hidden)]
pub mod fuzzing;
mod grammar;
pub mod shell;
