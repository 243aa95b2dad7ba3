//! Ports: everything that the core may ask for while it decides. There is no other way out of it.
//!
//! * [`store`](Ports::store): bytes that all workers share
//! * [`ask`](Ports::ask): a call to a provider
//! * [`now`](Ports::now): the time
//! * [`sleep_until`](Ports::sleep_until): a later moment
//!
//! The core's futures wait for a response or for a moment and for nothing else, one thing at a time. So there is no runtime and no
//! waker. A future that waits leaves a [`Wish`] in the outbox and returns; whoever polls it ([`Running`]) carries the wish out, puts
//! what came of it into the inbox, and polls again. All futures of a worker share one [`Ports`], because only one is polled at a time.

mod running;

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    rc::Rc,
    task::Poll,
    time::Duration,
};

pub use running::{Progress, Running};

use crate::{
    provider::{Call, CallFailure, CallResult},
    store::{Incidents, Session, Store, Tally},
    time::Timestamp,
};

/// What the futures of one worker may ask for.
pub struct Ports<S> {
    store: S,
    incidents: Incidents,
    now: Cell<Timestamp>,
    outbox: RefCell<Option<Wish>>,
    inbox: RefCell<Option<Arrival>>,
}

/// What a future waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// The response to a call, which is to be made.
    Response(Box<Call>),
    /// A moment.
    Moment(Timestamp),
}

/// What came of a wish.
#[derive(Clone, Debug)]
pub enum Arrival {
    /// To [`Wish::Response`].
    Response(Answered),
    /// To [`Wish::Moment`].
    Moment(Wake),
}

/// What a call came back with, and what it was for the one who asked.
#[derive(Clone, Debug)]
pub struct Answered {
    /// The response, or why there is none. All who share a call share it.
    pub result: Rc<CallResult>,
    /// The part that the one who asked had in the call.
    pub role: Role,
    /// How long the call took.
    pub took: Duration,
}

/// The part in a call that answers several requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The first who still waits. It records the call and keeps the answer for the others.
    Leader,
    /// Somebody else leads.
    Follower,
}

/// Why a sleep ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// The moment has come.
    Due,
    /// The policy is being replaced. This is the last turn: what the future waits for after it never arrives.
    LastTurn,
}

impl<S: Store> Ports<S> {
    /// Ports to `store`; the time is zero until it is [set](Self::set_now).
    pub fn new(store: S) -> Rc<Self> {
        Rc::new(Self {
            store,
            incidents: Incidents::default(),
            now: Cell::default(),
            outbox: RefCell::default(),
            inbox: RefCell::default(),
        })
    }

    /// The store, now.
    pub const fn store(&self) -> Session<'_, S> {
        Session::new(&self.store, &self.incidents, self.now.get())
    }

    /// The time. It stands still while a future is polled.
    pub const fn now(&self) -> Timestamp {
        self.now.get()
    }

    /// Calls a provider.
    pub async fn ask(&self, call: Call) -> Answered {
        match self.wait(Wish::Response(Box::new(call))).await {
            Arrival::Response(answered) => answered,
            // Nobody answers a call with a moment; if somebody did, there is no response.
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

    /// Sets the time, for whoever polls the futures.
    pub fn set_now(&self, now: Timestamp) {
        self.now.set(now);
    }

    /// Takes the counts of what went less than well in the store, for whoever polls the futures.
    pub fn take_incidents(&self) -> Tally {
        self.incidents.take()
    }
}

impl Answered {
    /// A call that failed at once.
    pub fn failed(failure: CallFailure) -> Self {
        Self { result: Rc::new(Err(failure)), role: Role::Leader, took: Duration::ZERO }
    }
}
