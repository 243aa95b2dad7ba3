//! Ports: everything that the core may ask for while it decides. It has no other access to the outside.
//!
//! * [`store`](Ports::store): bytes that all workers share
//! * [`ask`](Ports::ask): a call to a provider
//! * [`now`](Ports::now): the time
//! * [`sleep_until`](Ports::sleep_until): a timer
//! * [`leave`](Ports::leave): work in the background
//!
//! The core's futures wait only for a response or a timer, and for one thing at a time, so they need no
//! runtime and no waker. A future that waits leaves a [`Wish`] in the outbox and returns. Its driver
//! ([`Running`]) fulfils the wish, puts the result into the inbox, and polls again. All futures of a worker
//! share one [`Ports`], because only one of them is polled at a time.

mod ids;
mod running;

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    task::Poll,
    time::Duration,
};

use ids::RequestIds;
pub use running::{Progress, Running};

use crate::{
    digest::{Digest, RecentDigests},
    provider::{Call, CallFailure, CallRecord, CallResult},
    store::{Incidents, Secret, Seed, Session, Store, Tally},
    time::Timestamp,
};

/// What the futures of one worker may ask for.
pub struct Ports<S> {
    store: S,
    secret: Secret,
    digests: RecentDigests,
    ids: RequestIds,
    incidents: Incidents,
    now: Cell<Timestamp>,
    outbox: RefCell<Option<Wish>>,
    inbox: RefCell<Option<Arrival>>,
    errands: RefCell<Vec<Errand<S>>>,
    reports: RefCell<Vec<Report>>,
}

/// Work that a request leaves to the background.
pub type Errand<S> = Box<dyn FnOnce(Rc<Ports<S>>) -> Pin<Box<dyn Future<Output = ()>>>>;

/// What background work did, for the operator. Providers are indexes into the policy's providers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// It called a provider.
    Call {
        /// The provider that was called.
        provider: usize,
        /// The call.
        call: CallRecord,
        /// How much quota the provider granted in advance.
        leased: u64,
    },
    /// It reported usage.
    Usage {
        /// The provider that was called.
        provider: usize,
        /// The call.
        call: CallRecord,
    },
    /// It found usage that is not reported yet.
    Unreported {
        /// The provider that it is for.
        provider: usize,
        /// How much, of all metrics together.
        amount: u64,
    },
    /// It took the use of a limit to the percentage at which operators are alerted.
    Alert(QuotaAlert),
}

/// A limit that is nearly used up in a window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaAlert {
    /// The API of the request, as an index into the policy's APIs.
    pub api: Option<usize>,
    /// The consumer that sent it, as an index into the policy's consumers.
    pub consumer: Option<usize>,
    /// The name of the limit.
    pub limit: Box<str>,
    /// How much it admits.
    pub max: u64,
    /// Whether it is a rate, which may be used up all the time: per second or minute.
    pub is_rate: bool,
}

/// What a future waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// The response to this call, which has to be made.
    Response(Box<Call>),
    /// This moment.
    Moment(Timestamp),
}

/// What fulfils a wish.
#[derive(Clone, Debug)]
pub enum Arrival {
    /// Fulfils [`Wish::Response`].
    Response(Answered),
    /// Fulfils [`Wish::Moment`].
    Moment(Wake),
}

/// The result of a call, as one waiter receives it.
#[derive(Clone, Debug)]
pub struct Answered {
    /// The response, or why there is none. Everyone who shares the call shares this value.
    pub result: Rc<CallResult>,
    /// The role of this waiter in the call.
    pub role: Role,
    /// How long the call took.
    pub took: Duration,
}

/// The role of a waiter in a call that may answer several requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The first waiter that still waits. It records the call and caches the answer for the others.
    Leader,
    /// A waiter other than the leader.
    Follower,
}

/// Why a sleep ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// The moment has come.
    Due,
    /// The policy is being replaced. This is the task's last turn: anything it waits for after this never
    /// arrives.
    LastTurn,
}

impl<S: Store> Ports<S> {
    /// Ports to `store`, with a [secret that everybody knows](Secret::public); the time is zero until it is
    /// [set](Self::set_now).
    pub fn new(store: S) -> Rc<Self> {
        Self::with_secret(store, Secret::public(), Seed::default())
    }

    /// Ports to `store`, which strangers may try to fill; `seed` must be random.
    pub fn seeded(store: S, seed: Seed) -> Rc<Self> {
        Self::with_secret(store, Secret::shared(seed), seed)
    }

    fn with_secret(store: S, secret: Secret, seed: Seed) -> Rc<Self> {
        // The seed itself may become the secret of all workers, which has another use.
        let key = |purpose: &[u8]| {
            let key = Digest::of_parts(&[purpose, &seed]);
            key.bytes().first_chunk().copied().unwrap_or_default()
        };
        Rc::new(Self {
            store,
            secret,
            digests: RecentDigests::new(key(b"recent digests")),
            ids: RequestIds::new(key(b"request ids")),
            incidents: Incidents::default(),
            now: Cell::default(),
            outbox: RefCell::default(),
            inbox: RefCell::default(),
            errands: RefCell::default(),
            reports: RefCell::default(),
        })
    }

    /// The store, in a session at the current time.
    pub const fn store(&self) -> Session<'_, S> {
        Session::new(&self.store, &self.secret, &self.incidents, self.now.get())
    }

    /// The digest of a credential, or of something else that many requests share.
    pub fn digest_of(&self, bytes: impl AsRef<[u8]>) -> Digest {
        self.digests.of(bytes.as_ref())
    }

    /// An id for a request without one of its own, by the number of its stream in this worker.
    pub fn id_for(&self, stream: u32) -> String {
        self.ids.of(self.now(), stream)
    }

    /// The current time. It does not change while a future is polled.
    pub const fn now(&self) -> Timestamp {
        self.now.get()
    }

    /// Calls a provider.
    pub async fn ask(&self, call: Call) -> Answered {
        match self.wait(Wish::Response(Box::new(call))).await {
            Arrival::Response(answered) => answered,
            // A moment never answers a call. If it did, the call would count as failed.
            Arrival::Moment(_) => Answered::failed(CallFailure::Failed),
        }
    }

    /// Waits for a moment.
    pub async fn sleep_until(&self, moment: Timestamp) -> Wake {
        match self.wait(Wish::Moment(moment)).await {
            Arrival::Moment(wake) => wake,
            Arrival::Response(_) => Wake::Due,
        }
    }

    async fn wait(&self, wish: Wish) -> Arrival {
        self.outbox.replace(Some(wish));
        poll_fn(|_| self.inbox.take().map_or(Poll::Pending, Poll::Ready)).await
    }

    /// Leaves work to the background. It begins after the future that is being polled.
    pub fn leave(&self, errand: Errand<S>) {
        self.errands.borrow_mut().push(errand);
    }

    /// Reports what background work did.
    pub fn report(&self, report: Report) {
        self.reports.borrow_mut().push(report);
    }

    /// Takes the work that was left to the background. For the driver.
    pub fn take_errands(&self) -> Vec<Errand<S>> {
        self.errands.take()
    }

    /// Takes what background work reported. For the driver.
    pub fn take_reports(&self) -> Vec<Report> {
        self.reports.take()
    }

    /// Sets the current time. For the driver.
    pub fn set_now(&self, now: Timestamp) {
        self.now.set(now);
    }

    /// Takes the counts of the store's incidents. For the driver.
    pub fn take_incidents(&self) -> Tally {
        self.incidents.take()
    }
}

impl Answered {
    /// The result of a call that could not be made.
    pub fn failed(failure: CallFailure) -> Self {
        Self { result: Rc::new(Err(failure)), role: Role::Leader, took: Duration::ZERO }
    }
}
