//! The gate: decides about one request, without host, clock or I/O.
//!
//! ```text
//!           match ──▶ credential ──▶ identify ──▶ authorize ──▶ charge ──▶ Permit
//!             │           │           │    ▲          │           │
//!             ▼           ▼           ▼    │ reply    ▼           ▼
//!          Refused     Refused     Call ──▶ Pending  Refused    Refused
//! ```
//!
//! [`Gate::begin`] takes the request as far as it goes and says what is next as a [`Step`]. Where a provider has to be asked, the step is
//! a [`Call`], and its [`Pending`] takes the reply. Each state owns what is valid in it. Only [`Permit`] lets a request go on, and only
//! this module makes one.

mod facts;
mod forward;
mod head;
mod identity;
mod matched;
mod pending;
mod permit;
mod refused;
mod settle;
mod visit;

use std::rc::Rc;

use crate::{
    credential::Digest,
    matching::{self, RequestPath, Target},
    policy::{Policy, Unmatched},
    provider::ProviderRequest,
    refusal::{Reason, Refusal, Ways},
    store::Store,
    time::Timestamp,
};

pub use facts::{Facts, Lookup, Shadowed};
pub use forward::{Edits, InvalidTemplate, OWN_PREFIX, Template};
pub use head::Request;
pub use pending::Pending;
pub use permit::Permit;
pub use refused::Refused;

use head::Head;
use matched::{Asked, Matched};
use visit::Visit;

/// A policy with the store it counts in.
pub struct Gate<S> {
    policy: Rc<Policy>,
    store: S,
}

/// What is next for a request.
#[derive(Debug)]
pub enum Step {
    /// It passes.
    Permit(Permit),
    /// It does not.
    Refuse(Box<Refused>),
    /// A provider has to be asked first.
    Call(Box<Call>),
}

/// A question to a provider.
pub struct Call {
    /// The same for all requests that ask the same, so that one call answers them all.
    pub question: Digest,
    /// What to send.
    pub request: ProviderRequest,
    /// What takes the reply.
    pub then: Pending,
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call").field("question", &self.question).finish_non_exhaustive()
    }
}

impl Step {
    /// What is known about the request so far.
    pub fn facts(&self) -> &Facts {
        match self {
            Self::Permit(permit) => permit.facts(),
            Self::Refuse(refused) => refused.facts(),
            Self::Call(call) => call.then.facts(),
        }
    }
}

impl<S: Store> Gate<S> {
    /// A gate that decides by `policy` and counts in `store`.
    pub const fn new(policy: Rc<Policy>, store: S) -> Self {
        Self { policy, store }
    }

    /// The policy.
    pub const fn policy(&self) -> &Rc<Policy> {
        &self.policy
    }

    /// The store.
    pub const fn store(&self) -> &S {
        &self.store
    }

    /// Takes a request as far as it goes at `now`.
    pub fn begin(&self, request: &Request<'_>, now: Timestamp) -> Step {
        let head = Head::read(request.headers);
        let visit = Visit::new(&self.policy, &head, request.stream, now);
        let (method, authority, target) = match read(&head) {
            Ok(read) => read,
            Err(reason) => return visit.refuse(Vec::new(), Refusal::Malformed, reason, Ways::default()),
        };
        let Target::Path(path) = target else {
            return self.unmatched(visit, request, None);
        };
        let Some(found) = self.policy.find_api(authority, &path) else {
            return self.unmatched(visit, request, Some(&path));
        };
        let asked = Asked { method, inside: found.inside, query: path.query(), address: request.address };
        let edits = || Edits::strip(&self.policy, self.policy.api(found.api), request.headers, Some(&path));
        match Matched::find(self, visit, found.api, asked, head.preflight_for, now, edits) {
            Ok(matched) => matched.identify(request.headers),
            Err(step) => step,
        }
    }

    fn unmatched(&self, visit: Visit, request: &Request<'_>, path: Option<&RequestPath<'_>>) -> Step {
        match self.policy.unmatched {
            Unmatched::Deny => visit.refuse(
                Vec::new(),
                Refusal::NoRoute,
                Reason::new("no API for host and path"),
                Ways::default(),
            ),
            Unmatched::Pass => {
                visit.permit(Edits::strip(&self.policy, None, request.headers, path), Vec::new())
            }
        }
    }
}

/// Method, host and target, where they are what HTTP asks for.
fn read<'a>(head: &Head<'a>) -> Result<(&'a str, &'a str, Target<'a>), Reason> {
    let text = |bytes: Option<&'a [u8]>| std::str::from_utf8(bytes.unwrap_or_default());
    let (Ok(method), Ok(authority), Ok(path)) = (text(head.method), text(head.authority), text(head.path))
    else {
        return Err(Reason::new("method, host or path is not UTF-8"));
    };
    match matching::normalise(path) {
        Ok(target) => Ok((method, authority, target)),
        Err(malformed) => Err(Reason::of(&malformed)),
    }
}
