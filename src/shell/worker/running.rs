//! Running futures: each runs until it waits for a response or a moment, and goes on when that arrives.

use std::{rc::Rc, time::Duration};

use super::{
    super::{
        calls::{Home, Landed, Origin},
        host::{CallId, ContextId, Host},
    },
    Action, MOST_WAITING, Moment, SOON, Waiter, Waiting, Worker, without_port,
};
use crate::{
    ports::{Answered, Arrival, Progress, Role, Wake, Wish},
    provider::{Asker, Call, CallFailure, CallResult, Sharing},
    quota::network,
    store::Store,
    time::Timestamp,
};

/// How much too early a host's timer may fire. Envoy counts from the moment at which its event loop woke up,
/// which is before the call.
const EARLY: Duration = Duration::from_millis(10);

impl<H: Host, S: Store + 'static> Worker<H, S> {
    /// Prepares for a callback from the host. Everything up to the next callback happens at one moment.
    pub(super) fn called_back(&self, home: Home) {
        self.home.set(home);
        self.current.set(self.context(home));
        self.ports.set_now(self.host.now());
    }

    /// Runs a future until it waits or completes.
    pub(super) fn advance(
        &self,
        waiter: Waiter,
        mut waiting: Waiting<S>,
        mut arrival: Option<Arrival>,
        moment: Moment,
    ) -> Action {
        loop {
            let progress = waiting.work.advance(arrival.take());
            self.report_incidents();
            for errand in self.ports.take_errands() {
                self.start(errand(Rc::clone(&self.ports)));
            }
            match progress {
                Progress::Done(Some((stream, ending))) => return self.carry_out(&stream, ending, moment),
                Progress::Done(None) => return Action::Pause,
                Progress::Waits(Wish::Moment(due)) => {
                    self.timers.borrow_mut().wake(waiter, due);
                    self.keep(waiter, Waiting { sleeps: true, ..waiting });
                    self.arm();
                    return Action::Pause;
                }
                Progress::Waits(Wish::Response(call)) => match self.place(waiter, *call, waiting.bytes) {
                    Ok(()) => {
                        self.keep(waiter, Waiting { sleeps: false, ..waiting });
                        return Action::Pause;
                    }
                    Err(failure) => arrival = Some(Arrival::Response(Answered::failed(failure))),
                },
            }
        }
    }

    /// Makes `waiter` wait for the response to `call`.
    fn place(&self, waiter: Waiter, call: Call, bytes: usize) -> Result<(), CallFailure> {
        if self.waiting_bytes.get().saturating_add(bytes) > MOST_WAITING {
            return Err(CallFailure::Overloaded);
        }
        if let Sharing::Joined(question) = call.sharing
            && self.calls.borrow_mut().join(&question, waiter)
        {
            return Ok(());
        }
        let origin = self.origin(waiter, call.asker);
        if !self.calls.borrow().has_room(&origin) {
            return Err(CallFailure::Overloaded);
        }
        let (home, now) = (self.home.get(), self.ports.now());
        let is_its_own = match (home, waiter) {
            (Home::Root, _) => true,
            (Home::Stream(home), Waiter::Request(stream)) => home == stream,
            (Home::Stream(_), Waiter::Task(_)) => false,
        };
        if is_its_own {
            let id = self.call(&call)?;
            self.calls.borrow_mut().made(call, origin, id, home, waiter, now);
        } else {
            self.calls.borrow_mut().leave_to_root(call, origin, waiter, now);
            self.root_turn_by(now.saturating_add(SOON));
        }
        Ok(())
    }

    /// Where a call comes from. If that is a request, its context is the current one.
    fn origin(&self, waiter: Waiter, asker: Asker) -> Origin {
        match (asker, waiter) {
            (Asker::Known, _) | (Asker::Stranger, Waiter::Task(_)) => Origin::Known,
            (Asker::Stranger, Waiter::Request(_)) => {
                let address = self.host.source_address().unwrap_or_default();
                Origin::Stranger(network(without_port(&address)).into())
            }
        }
    }

    /// Makes a call. Its response is passed to the context that is being called back.
    pub(super) fn call(&self, call: &Call) -> Result<CallId, CallFailure> {
        self.switch_to(self.context(self.home.get()));
        self.host.call(call)
    }

    /// Passes the result to every waiter; the first that still exists leads.
    pub(super) fn deliver(&self, landed: Landed, result: CallResult) {
        let took = self.ports.now().since(landed.since);
        let result = Rc::new(match result {
            // Some hosts do not report which of their failures are timeouts.
            Err(CallFailure::Failed) if took >= timed_out_after(landed.timeout) => Err(CallFailure::TimedOut),
            result => result,
        });
        let mut role = Role::Leader;
        for waiter in landed.waiters {
            // The waiter may have ended, even while another waiter was answered.
            let Some(waiting) = self.take(waiter) else { continue };
            let answered = Answered { result: Rc::clone(&result), role, took };
            role = Role::Follower;
            self.resume(waiter, waiting, Arrival::Response(answered));
        }
    }

    pub(super) fn wake(&self, waiter: Waiter, wake: Wake) {
        if let Some(waiting) = self.take(waiter) {
            self.resume(waiter, waiting, Arrival::Moment(wake));
        }
    }

    fn resume(&self, waiter: Waiter, waiting: Waiting<S>, arrival: Arrival) {
        if let Waiter::Request(stream) = waiter {
            self.switch_to(stream);
        }
        self.advance(waiter, waiting, Some(arrival), Moment::Later);
    }

    fn keep(&self, waiter: Waiter, waiting: Waiting<S>) {
        self.waiting_bytes.set(self.waiting_bytes.get().saturating_add(waiting.bytes));
        self.waiting.borrow_mut().insert(waiter, waiting);
    }

    pub(super) fn take(&self, waiter: Waiter) -> Option<Waiting<S>> {
        let waiting = self.waiting.borrow_mut().remove(&waiter)?;
        self.waiting_bytes.set(self.waiting_bytes.get().saturating_sub(waiting.bytes));
        Some(waiting)
    }

    fn context(&self, home: Home) -> ContextId {
        match home {
            Home::Stream(stream) => stream,
            Home::Root => self.root,
        }
    }

    fn switch_to(&self, context: ContextId) {
        if self.current.replace(context) != context {
            self.host.switch_to(context);
        }
    }

    /// Ensures that the root is called back if something waits for it, and not otherwise.
    pub(super) fn arm(&self) {
        let soon = self.calls.borrow().any_due().then(|| self.ports.now().saturating_add(SOON));
        let next = self.timers.borrow().next();
        match soon.into_iter().chain(next).min() {
            Some(moment) => self.root_turn_by(moment),
            None if self.next_turn.get().is_none() => self.host.tick_every(Duration::ZERO),
            None => {}
        }
    }

    /// Ensures that the root is called back at `moment` or earlier.
    pub(super) fn root_turn_by(&self, moment: Timestamp) {
        if self.next_turn.get().is_none_or(|next| moment < next) {
            self.next_turn.set(Some(moment));
            self.host.tick_every(moment.since(self.ports.now()).max(SOON));
        }
    }
}

/// A call that failed no earlier than this has timed out.
fn timed_out_after(timeout: Duration) -> Duration {
    let half = timeout.checked_div(2).unwrap_or_default();
    timeout.saturating_sub(EARLY).max(half)
}
