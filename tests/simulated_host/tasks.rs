//! Background tasks: woken at their due times, elected through the store, ended with the policy.

use std::cell::{Cell, RefCell};

use sidegate::{
    credential::Digest,
    headers::HeaderList,
    ports::{Ports, Wake},
    provider::{Asker, Call, HttpRequest, Sharing, Wanted},
    store::{Lease, WorkerId},
};

use super::*;

const PERIOD: Duration = Duration::from_secs(10);

fn report() -> Call {
    Call {
        cluster: "backend".to_owned(),
        transport: Transport::Http(HttpRequest {
            method: "POST",
            scheme: "https".to_owned(),
            authority: "backend".to_owned(),
            path: "/report".to_owned(),
            headers: HeaderList::new(),
            body: Vec::new(),
        }),
        timeout: Duration::from_secs(1),
        wanted: Wanted { body: 1024, ..Wanted::default() },
        sharing: Sharing::Alone,
        asker: Asker::Known,
    }
}

#[test]
fn a_task_wakes_at_its_due_times_and_the_timer_is_off_without_one() {
    let (script, thread) = thread();
    let woken = Rc::new(RefCell::new(Vec::new()));
    let noted = Rc::clone(&woken);
    thread.run_task(|ports| async move {
        for seconds in [10, 25, 40] {
            ports.sleep_until(NOW.saturating_add(Duration::from_secs(seconds))).await;
            noted.borrow_mut().push(ports.now().since(NOW).as_millis());
        }
    });
    assert_eq!(script.tick.get(), PERIOD, "the first due time");
    thread.wait(Duration::from_millis(9_999));
    assert_eq!(*woken.borrow(), []);
    thread.wait(Duration::from_secs(60));
    assert_eq!(*woken.borrow(), [10_000, 25_000, 40_000]);
    assert_eq!(script.tick.get(), Duration::ZERO);
}

#[test]
fn where_a_policy_is_loaded_and_thrown_away_its_tasks_have_not_begun() {
    let (script, thread) = thread();
    let store = thread.worker.ports().store().store().clone();
    let task = |ports: Rc<Ports<Shared>>| async move {
        let worker = WorkerId::next(ports.store().store()).expect("the store is not contended");
        assert!(Lease::new("reports", worker, PERIOD).hold(ports.store()));
        ports.ask(report()).await;
    };
    let lease = || store.read("sidegate/leases/reports", |bytes| bytes.is_some());
    thread.spawn(task);
    assert_eq!((script.calls.borrow().len(), lease()), (0, false));
    thread.close();
    thread.tick();
    assert_eq!((script.calls.borrow().len(), lease()), (0, false), "nor do they begin when it is unloaded");

    let (script, thread) = super::thread();
    thread.spawn(task);
    assert_eq!(script.tick.get(), Duration::from_millis(1), "elsewhere they begin at once");
    assert!(thread.tick());
    assert_eq!(script.calls.borrow().len(), 1);
}

#[test]
fn a_task_calls_and_its_responses_come_to_the_root_whatever_streams_do() {
    let (script, thread) = thread();
    let results = Rc::new(RefCell::new(Vec::new()));
    let noted = Rc::clone(&results);
    thread.run_task(|ports| async move {
        for _ in 0..2 {
            let answered = ports.ask(report()).await;
            noted.borrow_mut().push(answered.result.is_ok());
        }
    });
    let stream = waiting(&thread, 1);
    thread.gone(stream[0]);
    thread.reply(1, &http(202, &[], ""));
    thread.reply(3, &Err(CallFailure::Failed));
    assert_eq!(*results.borrow(), [true, false]);
    let homes: Vec<_> = script.calls.borrow().iter().map(|(home, _)| *home).collect();
    assert_eq!(homes, [ROOT, stream[0], ROOT]);
}

#[test]
fn a_task_that_joins_a_requests_call_survives_it() {
    let (script, thread) = thread();
    let question = || Call { sharing: Sharing::Joined(Digest::of(b"keys")), ..report() };
    let flow = |policy, request, ports: Rc<Ports<Shared>>| async move {
        ports.ask(question()).await;
        sidegate::gate::decide(policy, request, ports).await
    };
    let (stream, _) = thread.request_by(get("/v1/x").key("key-of-acme"), flow);
    let done = Rc::new(Cell::new(0));
    let noted = Rc::clone(&done);
    thread.run_task(|ports| async move {
        ports.ask(question()).await;
        noted.set(1);
        ports.ask(report()).await;
        noted.set(2);
    });
    thread.gone(stream);
    assert!(thread.tick());
    thread.reply(2, &http(200, &[], ""));
    assert_eq!(done.get(), 1);
    thread.reply(3, &http(200, &[], ""));
    assert_eq!(done.get(), 2);
    assert_eq!(script.tick.get(), Duration::ZERO);
}

/// Once a period, the worker that holds the lease reports: it asks first, waits a moment, and reports then.
async fn reports(
    ports: Rc<Ports<Shared>>,
    name: &'static str,
    reported: Rc<RefCell<Vec<(u64, &'static str)>>>,
) {
    let worker = WorkerId::next(ports.store().store()).expect("the store is not contended");
    let lease = Lease::new("reports", worker, Duration::from_secs(25));
    let mut due = ports.now();
    loop {
        due = due.saturating_add(PERIOD);
        if ports.sleep_until(due).await == Wake::LastTurn {
            lease.give_up(ports.store());
            return;
        }
        if !lease.hold(ports.store()) {
            continue;
        }
        ports.ask(report()).await;
        ports.sleep_until(ports.now().saturating_add(Duration::from_secs(1))).await;
        if ports.ask(report()).await.result.is_ok() {
            reported.borrow_mut().push((ports.now().since(NOW).as_secs(), name));
        }
    }
}

/// Two workers of one Envoy, each with the task.
struct Pair {
    threads: [(Rc<Script>, Rc<Thread<Shared>>); 2],
    answered: [Cell<usize>; 2],
    reported: Rc<RefCell<Vec<(u64, &'static str)>>>,
}

impl Pair {
    fn new() -> Self {
        let store = Shared::default();
        let reported = Rc::new(RefCell::default());
        let threads = ["one", "other"].map(|name| {
            let script = Script::new();
            let thread = start(&script, store.clone(), &policy());
            thread.run_task(|ports| reports(ports, name, Rc::clone(&reported)));
            (script, thread)
        });
        Self { threads, answered: Default::default(), reported }
    }

    /// Lets time pass. Every call of these workers is answered at once.
    fn wait(&self, seconds: u64, workers: &[usize]) {
        for _ in 0..seconds {
            for worker in workers {
                let (script, thread) = &self.threads[*worker];
                thread.wait(Duration::from_secs(1));
                self.answer(*worker, script, thread);
            }
        }
    }

    fn answer(&self, worker: usize, script: &Script, thread: &Thread<Shared>) {
        while self.answered[worker].get() < script.calls.borrow().len() {
            self.answered[worker].set(self.answered[worker].get() + 1);
            thread.reply(self.answered[worker].get(), &http(202, &[], ""));
        }
    }
}

#[test]
fn only_one_of_two_workers_reports() {
    let pair = Pair::new();
    pair.wait(45, &[0, 1]);
    assert_eq!(*pair.reported.borrow(), [(11, "one"), (21, "one"), (31, "one"), (41, "one")]);
}

#[test]
fn when_the_elected_worker_vanishes_at_any_await_another_takes_over_within_a_term() {
    // It vanishes while it sleeps until its turn, during its first call, while it waits, and during its
    // second call.
    for (seconds, answers) in [(9, 1), (10, 0), (10, 1), (11, 1)] {
        let pair = Pair::new();
        pair.wait(seconds - 1, &[0, 1]);
        let (script, thread) = &pair.threads[0];
        thread.wait(Duration::from_secs(1));
        if answers > 0 && seconds < 11 {
            pair.answer(0, script, thread);
        }
        // From here on it does nothing, and its lease is not renewed.
        pair.wait(1, &[1]);
        pair.wait(50, &[1]);
        let reported = pair.reported.borrow();
        let first = reported.iter().find(|(_, name)| *name == "other").expect("the other takes over");
        assert!(first.0 <= 10 + 25 + 10 + 1, "{seconds}: {reported:?}");
        assert!(reported.iter().all(|(_, name)| *name == "other"), "{seconds}: {reported:?}");
    }
}

#[test]
fn every_task_ends_with_the_policy_and_sleeping_ones_get_a_last_turn() {
    let pair = Pair::new();
    pair.wait(15, &[0, 1]);
    let (script, thread) = &pair.threads[0];
    thread.close();
    let calls = script.calls.borrow().len();
    thread.wait(Duration::from_secs(100));
    assert_eq!(script.calls.borrow().len(), calls, "the task has ended");
    pair.wait(10, &[1]);
    assert_eq!(
        *pair.reported.borrow(),
        [(11, "one"), (21, "other")],
        "the lease was given up in the last turn, not at the end of its term"
    );

    let (_, thread) = super::thread();
    let turns = Rc::new(RefCell::new(Vec::new()));
    let noted = Rc::clone(&turns);
    thread.run_task(|ports| async move {
        ports.ask(report()).await;
        noted.borrow_mut().push("answered");
    });
    let noted = Rc::clone(&turns);
    thread.run_task(|ports| async move {
        let wake = ports.sleep_until(NOW.saturating_add(PERIOD)).await;
        noted.borrow_mut().push(if wake == Wake::LastTurn { "last turn" } else { "due" });
        ports.sleep_until(NOW.saturating_add(PERIOD)).await;
        noted.borrow_mut().push("never");
    });
    thread.close();
    thread.reply(1, &http(202, &[], ""));
    assert_eq!(*turns.borrow(), ["last turn"]);
}

#[test]
fn a_task_fetches_our_own_token_and_renews_it_before_it_expires() {
    let mut document = policy();
    document["providers"]["hydra"]["introspection"]["authentication"] = json!({"client_credentials": {
        "cluster": "hydra-public", "url": "http://hydra:4444/oauth2/token",
        "authentication": {"basic": {"id": "gateway", "secret": {"env": "HYDRA_SECRET"}}},
    }});
    let script = Script::new();
    let thread = start(&script, Shared::default(), &document);
    let granted =
        |token: &str| answer(&json!({"access_token": token, "token_type": "bearer", "expires_in": 100}));
    let calls = || script.calls.borrow().iter().map(|(_, call)| call.cluster.clone()).collect::<Vec<_>>();
    let bearer = || {
        let calls = script.calls.borrow();
        let Transport::Http(request) = &calls.last().unwrap().1.transport else { panic!("not HTTP") };
        request.headers.get("authorization").map(str::to_owned)
    };
    thread.start_tasks();
    assert_eq!(calls(), ["hydra-public"], "no request has asked for it");

    // A request that arrives meanwhile shares the call.
    let early = waiting(&thread, 1);
    assert_eq!(calls().len(), 1);
    thread.reply(1, &granted("one"));
    thread.wait(Duration::from_millis(1));
    assert_eq!(calls(), ["hydra-public", "hydra-admin"]);
    assert_eq!(bearer().as_deref(), Some("Bearer one"));
    thread.reply(2, &active());
    assert_eq!(outcomes(&script, &early), all("ok"));

    thread.wait(Duration::from_millis(49_990));
    assert_eq!(calls().len(), 2);
    thread.wait(Duration::from_millis(10));
    assert_eq!(calls().len(), 3, "half of its life is over");
    thread.reply(3, &Err(CallFailure::Failed));
    thread.wait(Duration::from_millis(999));
    assert_eq!(calls().len(), 3);
    thread.wait(Duration::from_millis(1));
    assert_eq!(calls().len(), 4, "it is tried again after a second");
    thread.reply(4, &granted("two"));
    thread.request(with_token("another"));
    assert_eq!(bearer().as_deref(), Some("Bearer two"));
    let made = |result| {
        let name = format!("sidegate.provider=.=hydra;.;result=.={result};.;provider_calls");
        script.metric(&name)
    };
    assert_eq!([made("ok"), made("failed")], [3, 1]);
}
