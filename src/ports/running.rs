//! A running future of the core. The shell, the tests and the command line all run futures with it.

use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use super::{Arrival, Ports, Wish};
use crate::{store::Store, time::Timestamp};

/// A running future of the core.
pub struct Running<T, S> {
    future: Pin<Box<dyn Future<Output = T>>>,
    ports: Rc<Ports<S>>,
}

/// The result of polling a future once.
#[derive(Debug)]
pub enum Progress<T> {
    /// The future is done.
    Done(T),
    /// The future waits.
    Waits(Wish),
}

impl<T> Progress<T> {
    /// The same with another result.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Progress<U> {
        match self {
            Self::Done(result) => Progress::Done(change(result)),
            Self::Waits(wish) => Progress::Waits(wish),
        }
    }
}

impl<T, S: Store> Running<T, S> {
    /// Wraps `future`, which must wait for nothing but `ports`. It has not been polled yet.
    pub fn new(ports: &Rc<Ports<S>>, future: impl Future<Output = T> + 'static) -> Self {
        Self { future: Box::pin(future), ports: Rc::clone(ports) }
    }

    /// Polls the future for the first time, until it waits or is done.
    pub fn start(&mut self) -> Progress<T> {
        self.advance(None)
    }

    /// Polls the future with what it waited for, until it waits again or is done.
    pub fn resume(&mut self, arrival: Arrival) -> Progress<T> {
        self.advance(Some(arrival))
    }

    /// Polls the future, with what it waited for unless it is the first time.
    pub fn advance(&mut self, arrival: Option<Arrival>) -> Progress<T> {
        self.ports.inbox.replace(arrival);
        let polled = self.future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let wish = self.ports.outbox.take();
        match polled {
            Poll::Ready(output) => Progress::Done(output),
            // A future that waits for anything but a port waits forever.
            Poll::Pending => Progress::Waits(wish.unwrap_or(Wish::Moment(Timestamp::MAX))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, time::Duration};

    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::{
        ports::{Answered, Wake},
        provider::{Asker, Call, CallFailure, GrpcRequest, Sharing, Transport, Wanted},
        store::Memory,
    };

    fn call(cluster: &str) -> Call {
        let request = GrpcRequest {
            service: "s.S",
            method: "M",
            metadata: Default::default(),
            message: b"message".to_vec(),
        };
        Call {
            cluster: cluster.to_owned(),
            transport: Transport::Grpc(request),
            timeout: Duration::from_millis(20),
            wanted: Wanted::default(),
            sharing: Sharing::Alone,
            asker: Asker::Known,
        }
    }

    #[test]
    fn a_future_runs_from_wish_to_wish() {
        let ports = Ports::new(Memory::new());
        let asking = Rc::clone(&ports);
        let mut running = Running::new(&ports, async move {
            let one = asking.ask(call("one")).await;
            let wake = asking.sleep_until(Timestamp::from_millis(7)).await;
            let two = asking.ask(call("two")).await;
            (one.result, wake, two.result)
        });
        let Progress::Waits(wish) = running.start() else { panic!("it asks") };
        assert_eq!(wish, Wish::Response(Box::new(call("one"))));
        let failed = |failure| Arrival::Response(Answered::failed(failure));
        let Progress::Waits(wish) = running.resume(failed(CallFailure::TimedOut)) else {
            panic!("it sleeps")
        };
        assert_eq!(wish, Wish::Moment(Timestamp::from_millis(7)));
        let Progress::Waits(wish) = running.resume(Arrival::Moment(Wake::Due)) else { panic!("it asks") };
        assert_eq!(wish, Wish::Response(Box::new(call("two"))));
        let Progress::Done((one, wake, two)) = running.resume(failed(CallFailure::Failed)) else {
            panic!("it is done")
        };
        assert_eq!((&*one, wake, &*two), (&Err(CallFailure::TimedOut), Wake::Due, &Err(CallFailure::Failed)));
    }

    #[test]
    fn two_futures_of_one_worker_do_not_mix_up_their_arrivals() {
        let ports = Ports::new(Memory::new());
        let sleeper = |until| {
            let ports = Rc::clone(&ports);
            async move { ports.sleep_until(Timestamp::from_millis(until)).await }
        };
        let (mut one, mut other) = (Running::new(&ports, sleeper(1)), Running::new(&ports, sleeper(2)));
        assert!(matches!(one.start(), Progress::Waits(_)));
        assert!(matches!(other.start(), Progress::Waits(_)));
        assert!(matches!(other.resume(Arrival::Moment(Wake::LastTurn)), Progress::Done(Wake::LastTurn)));
        assert!(matches!(one.start(), Progress::Waits(_)), "polled without an arrival, it continues to wait");
        assert!(matches!(one.resume(Arrival::Moment(Wake::Due)), Progress::Done(Wake::Due)));
    }

    #[test]
    fn a_future_that_is_dropped_while_it_waits_runs_its_destructors() {
        struct Note(Rc<RefCell<Vec<&'static str>>>);
        impl Drop for Note {
            fn drop(&mut self) {
                self.0.borrow_mut().push("dropped");
            }
        }
        let (ports, notes) = (Ports::new(Memory::new()), Rc::new(RefCell::default()));
        let (asking, note) = (Rc::clone(&ports), Note(Rc::clone(&notes)));
        let mut running = Running::new(&ports, async move {
            let _note = note;
            asking.ask(call("one")).await;
        });
        assert!(matches!(running.start(), Progress::Waits(_)));
        assert_eq!(notes.borrow().len(), 0);
        drop(running);
        assert_eq!(*notes.borrow(), ["dropped"]);
    }
}
