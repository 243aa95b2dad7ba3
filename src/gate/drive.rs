//! Runs the gate without Envoy: in tests, in fuzzing and on the command line. The caller plays the providers
//! and the clock.

use std::{fmt, rc::Rc, time::Duration};

use super::{Ending, Request, decide};
use crate::{
    policy::Policy,
    ports::{Answered, Arrival, Ports, Progress, Role, Running, Wake, Wish},
    provider::{Call, CallResult},
    store::Store,
    time::Timestamp,
};

/// A policy and a store. It decides requests.
pub struct Driver<S> {
    policy: Rc<Policy>,
    ports: Rc<Ports<S>>,
}

/// The result of one step of a request.
pub enum Step<S> {
    /// The request has ended.
    Ended(Ending),
    /// The request waits.
    Waits(Waiting<S>),
}

/// A request that waits.
pub struct Waiting<S> {
    running: Running<Ending, S>,
    ports: Rc<Ports<S>>,
    wish: Wish,
}

impl<S: Store + 'static> Driver<S> {
    /// A driver that decides by `policy` and counts in `store`.
    pub fn new(policy: Rc<Policy>, store: S) -> Self {
        Self { policy, ports: Ports::new(store) }
    }

    /// The policy.
    pub const fn policy(&self) -> &Rc<Policy> {
        &self.policy
    }

    /// The ports, which hold the store.
    pub const fn ports(&self) -> &Rc<Ports<S>> {
        &self.ports
    }

    /// Starts a request that arrives at `now`, and runs it until it waits or ends.
    pub fn begin(&self, request: Request, now: Timestamp) -> Step<S> {
        let flow = decide(Rc::clone(&self.policy), request, Rc::clone(&self.ports));
        let mut running = Running::new(&self.ports, flow);
        self.ports.set_now(now);
        let progress = running.start();
        step(progress, running, &self.ports)
    }

    /// Runs a request that arrives at `now` to its end, and then what it left to the background. `provider`
    /// answers its calls immediately, and when the request sleeps, the clock moves forward.
    pub fn decide(
        &self,
        request: Request,
        now: Timestamp,
        mut provider: impl FnMut(&Call) -> CallResult,
    ) -> Ending {
        let mut now = now;
        let mut step = self.begin(request, now);
        loop {
            step = match step {
                Step::Ended(ending) => {
                    self.run_errands(&mut provider);
                    return ending;
                }
                Step::Waits(waiting) => match &waiting.wish {
                    Wish::Response(call) => {
                        let result = provider(call);
                        waiting.answer(result, now)
                    }
                    Wish::Moment(moment) => {
                        now = now.max(*moment);
                        waiting.wake(now)
                    }
                },
            };
        }
    }

    /// Runs the work that requests left to the background to its end.
    fn run_errands(&self, mut provider: impl FnMut(&Call) -> CallResult) {
        for errand in self.ports.take_errands() {
            let mut running = Running::new(&self.ports, errand(Rc::clone(&self.ports)));
            let mut progress = running.start();
            while let Progress::Waits(wish) = progress {
                progress = running.resume(match wish {
                    Wish::Response(call) => {
                        let result = Rc::new(provider(&call));
                        Arrival::Response(Answered { result, role: Role::Leader, took: Duration::ZERO })
                    }
                    Wish::Moment(_) => Arrival::Moment(Wake::Due),
                });
            }
        }
    }
}

impl<S: Store> Waiting<S> {
    /// What the request waits for.
    pub const fn wish(&self) -> &Wish {
        &self.wish
    }

    /// The call whose response the request waits for; `None` if it waits for a moment.
    pub fn call(&self) -> Option<&Call> {
        match &self.wish {
            Wish::Response(call) => Some(call),
            Wish::Moment(_) => None,
        }
    }

    /// Continues with the response to the request's own call, received at `now`.
    pub fn answer(self, result: CallResult, now: Timestamp) -> Step<S> {
        self.answer_as(Role::Leader, &Rc::new(result), now)
    }

    /// Continues with the response to a call that the request shares with others.
    pub fn answer_as(self, role: Role, result: &Rc<CallResult>, now: Timestamp) -> Step<S> {
        let took = now.since(self.ports.now());
        self.resume(Arrival::Response(Answered { result: Rc::clone(result), role, took }), now)
    }

    /// Continues because the moment that the request waits for has come.
    pub fn wake(self, now: Timestamp) -> Step<S> {
        self.resume(Arrival::Moment(Wake::Due), now)
    }

    fn resume(mut self, arrival: Arrival, now: Timestamp) -> Step<S> {
        self.ports.set_now(now);
        let progress = self.running.resume(arrival);
        step(progress, self.running, &self.ports)
    }
}

impl<S> fmt::Debug for Step<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended(ending) => f.debug_tuple("Ended").field(ending).finish(),
            Self::Waits(waiting) => f.debug_tuple("Waits").field(waiting).finish(),
        }
    }
}

impl<S> fmt::Debug for Waiting<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting").field("wish", &self.wish).finish_non_exhaustive()
    }
}

fn step<S: Store>(progress: Progress<Ending>, running: Running<Ending, S>, ports: &Rc<Ports<S>>) -> Step<S> {
    match progress {
        Progress::Done(ending) => Step::Ended(ending),
        Progress::Waits(wish) => Step::Waits(Waiting { running, ports: Rc::clone(ports), wish }),
    }
}
