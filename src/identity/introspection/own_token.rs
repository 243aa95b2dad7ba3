//! An access token of Sidegate's own, for endpoints that ask callers for one.
//!
//! Each worker has a token of its own, in its memory: what is in the store, other modules could read. A task
//! fetches it and renews it before it expires. A request that finds none fetches it as well; all who fetch at
//! the same time share one call.

use std::{cell::RefCell, rc::Rc, time::Duration};

use super::token_endpoint::{Granted, TokenEndpoint, read};
use crate::{
    credential::{Digest, ProviderSecret},
    ports::{Ports, Role, Wake},
    provider::{CallOutcome, CallRecord, ProviderFault},
    store::Store,
    time::Timestamp,
};

/// The pause after a first failure. It doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause after a failure.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How old a token must be before another one is fetched because it was rejected, if it was never accepted:
/// the next one may be rejected as well.
const REJECTED_AFTER: Duration = Duration::from_secs(10);

/// The same for a token that was accepted before: the server may have forgotten it.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(1);

/// The longest and the shortest time that the task sleeps.
const LONGEST_SLEEP: Duration = Duration::from_secs(86_400);
const SHORTEST_SLEEP: Duration = Duration::from_millis(20);

/// Our token, and where it comes from.
#[derive(Debug)]
pub struct OwnToken {
    endpoint: TokenEndpoint,
    state: RefCell<State>,
}

#[derive(Debug, Default)]
struct State {
    held: Option<Held>,
    /// When it may be fetched again after a failure.
    not_before: Timestamp,
    /// How often in a row it could not be fetched.
    failures: u32,
}

#[derive(Debug)]
struct Held {
    token: ProviderSecret,
    since: Timestamp,
    renew: Timestamp,
    expires: Timestamp,
    was_accepted: bool,
}

impl OwnToken {
    /// A token from this endpoint. It is not fetched yet.
    pub fn new(endpoint: TokenEndpoint) -> Self {
        Self { endpoint, state: RefCell::default() }
    }

    /// Where it comes from.
    pub(super) const fn endpoint(&self) -> &TokenEndpoint {
        &self.endpoint
    }

    /// The digest that identifies us, whichever token we have.
    pub(super) fn digest(&self) -> Digest {
        self.endpoint.digest()
    }

    /// The token, which is fetched if there is none. `calls` receives the call, if this future made one.
    pub(super) async fn obtain<S: Store>(
        &self,
        ports: &Ports<S>,
        calls: &mut Vec<CallRecord>,
    ) -> Result<ProviderSecret, ProviderFault> {
        match self.held(ports.now()) {
            Some(token) => Ok(token),
            None => self.fetch(ports, calls).await,
        }
    }

    /// Notes that the endpoint for which `token` is accepts it.
    pub(super) fn accepted(&self, token: &ProviderSecret) {
        let mut state = self.state.borrow_mut();
        if let Some(held) = state.held.as_mut().filter(|held| held.token.secret() == token.secret()) {
            held.was_accepted = true;
        }
    }

    /// Notes that the endpoint for which `token` is rejects it. Whether there may be a better one now.
    pub(super) fn rejected(&self, token: &ProviderSecret, now: Timestamp) -> bool {
        let mut state = self.state.borrow_mut();
        let Some(held) = state.held.as_ref().filter(|held| held.token.secret() == token.secret()) else {
            return true;
        };
        let age = if held.was_accepted { FORGOTTEN_AFTER } else { REJECTED_AFTER };
        let is_old = now < held.since || now.since(held.since) >= age;
        if is_old {
            state.held = None;
        }
        is_old
    }

    fn held(&self, now: Timestamp) -> Option<ProviderSecret> {
        let state = self.state.borrow();
        state.held.as_ref().filter(|held| held.expires > now).map(|held| held.token.clone())
    }

    async fn fetch<S: Store>(
        &self,
        ports: &Ports<S>,
        calls: &mut Vec<CallRecord>,
    ) -> Result<ProviderSecret, ProviderFault> {
        if self.pauses(ports.now()) {
            return Err(ProviderFault::Resting);
        }
        let asked = ports.now();
        let answered = ports.ask(self.endpoint.call()).await;
        let granted = read(&answered.result);
        if answered.role == Role::Leader {
            let outcome =
                granted.as_ref().map_or_else(|fault| CallOutcome::Fault(*fault), |_| CallOutcome::Answered);
            calls.push(CallRecord { outcome, took: answered.took });
            self.note(granted.as_ref().ok(), asked, ports.now());
        }
        granted.map(|granted| granted.token)
    }

    /// Notes the result of a call that was made at `asked`.
    fn note(&self, granted: Option<&Granted>, asked: Timestamp, now: Timestamp) {
        let mut state = self.state.borrow_mut();
        if let Some(Granted { token, lifetime }) = granted {
            // A server may count its token's life from the start of the second, so a token of three seconds
            // may be over after two.
            let half = lifetime.checked_div(2).unwrap_or_default();
            *state = State {
                held: Some(Held {
                    token: token.clone(),
                    since: now,
                    renew: asked.saturating_add(half),
                    expires: asked.saturating_add(*lifetime),
                    was_accepted: false,
                }),
                ..State::default()
            };
        } else {
            let doubled = FIRST_PAUSE.saturating_mul(1_u32.checked_shl(state.failures).unwrap_or(u32::MAX));
            state.failures = state.failures.saturating_add(1);
            state.not_before = now.saturating_add(doubled.min(LONGEST_PAUSE));
        }
    }

    /// Whether a failure was so recent that no call is made. No pause is longer than the longest. If one
    /// seems to be, the clock was set back.
    fn pauses(&self, now: Timestamp) -> bool {
        let until = self.state.borrow().not_before;
        until > now && until <= now.saturating_add(LONGEST_PAUSE)
    }

    /// The next moment at which the task has something to do.
    fn next(&self, now: Timestamp) -> Timestamp {
        let state = self.state.borrow();
        let due = state.held.as_ref().map_or(now, |held| held.renew);
        due.max(state.not_before).min(now.saturating_add(LONGEST_SLEEP))
    }
}

/// Keeps `own` fresh: fetches a token, and the next one before it expires. Runs in every worker. `record`
/// receives the calls.
pub async fn keep_renewed<S: Store>(
    own: Rc<OwnToken>,
    ports: Rc<Ports<S>>,
    record: impl Fn(&Ports<S>, CallRecord),
) {
    loop {
        if own.next(ports.now()) <= ports.now() {
            let mut calls = Vec::new();
            // A failure is in the record, and it is tried again.
            let _fetched = own.fetch(&ports, &mut calls).await;
            calls.into_iter().for_each(|call| record(&ports, call));
        }
        let soon = ports.now().saturating_add(SHORTEST_SLEEP);
        if ports.sleep_until(own.next(ports.now()).max(soon)).await == Wake::LastTurn {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::{super::token_endpoint::tests::endpoint, *};

    fn own() -> OwnToken {
        OwnToken::new(endpoint())
    }

    fn granted(token: &str, seconds: u64) -> Granted {
        Granted { token: ProviderSecret::new(token), lifetime: Duration::from_secs(seconds) }
    }

    fn at(second: u64) -> Timestamp {
        Timestamp::from_seconds(1_000_000).saturating_add(Duration::from_secs(second))
    }

    #[test]
    fn a_token_is_renewed_when_half_of_its_life_is_over_and_used_to_its_end() {
        let own = own();
        assert_eq!(own.next(at(0)), at(0));
        own.note(Some(&granted("a", 100)), at(0), at(2));
        assert_eq!(own.next(at(2)), at(50), "its life begins with the call");
        assert_eq!(own.held(at(99)).unwrap().secret(), "a");
        assert!(own.held(at(100)).is_none());
    }

    #[test]
    fn failures_are_followed_by_longer_and_longer_pauses() {
        let own = own();
        for pause in [1, 2, 4, 8, 16, 30, 30] {
            own.note(None, at(0), at(0));
            assert_eq!(own.next(at(0)), at(pause));
            assert!(own.pauses(at(pause - 1)) && !own.pauses(at(pause)));
        }
        own.state.borrow_mut().failures = u32::MAX;
        own.note(None, at(0), at(0));
        assert_eq!(own.next(at(0)), at(30));
        let earlier = Timestamp::from_seconds(10);
        assert!(!own.pauses(earlier), "the clock was set back");
        own.note(Some(&granted("a", 100)), at(0), at(0));
        own.note(None, at(76), at(76));
        assert_eq!(own.next(at(76)), at(77), "an answer ends the series");
        assert_eq!(own.held(at(77)).unwrap().secret(), "a", "the token is still valid");
    }

    #[test]
    fn a_rejected_token_is_dropped_unless_it_is_new() {
        let own = own();
        let rejected = |token: &str, second| own.rejected(&ProviderSecret::new(token), at(second));
        own.note(Some(&granted("a", 100)), at(0), at(0));
        assert!(!rejected("a", 9));
        assert!(own.held(at(9)).is_some());
        assert!(rejected("older", 9), "there is another one already");
        assert!(rejected("a", 10));
        assert!(own.held(at(10)).is_none());
        assert!(rejected("a", 10), "another request may have dropped it");
        own.note(Some(&granted("b", 100)), at(10), at(10));
        own.accepted(&ProviderSecret::new("a"));
        assert!(!rejected("b", 11), "another one was accepted");
        own.accepted(&ProviderSecret::new("b"));
        assert!(!rejected("b", 10));
        assert!(rejected("b", 11), "the server has forgotten it");
    }
}
