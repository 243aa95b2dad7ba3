//! Leases: quota that is taken in advance and shared by the workers of an Envoy.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, time::Duration};

use proptest::prelude::*;
use serde_json::{Value, json};
use sidegate::{
    gate::{
        Ending,
        drive::{Driver, Step, Waiting},
    },
    policy::Policy,
    ports::{Answered, Arrival, Ports, Progress, Report, Running, Wish},
    provider::{Call, CallFailure, CallResult},
    store::Memory,
    time::Timestamp,
};

use super::{
    begin,
    engine::{Envoyproxy, Limitador, message, status},
    load,
    replicas::policy,
    support::{Ask, NOW, Shared, get},
    trail, verdict, waiting,
};

/// One replica: workers that share a store, and their background work.
struct Replica {
    workers: Vec<Driver<Shared>>,
    tasks: RefCell<Vec<Task>>,
}

/// Background work that waits for a call.
struct Task {
    running: Running<(), Shared>,
    ports: Rc<Ports<Shared>>,
    call: Call,
}

/// What answers calls.
enum Service {
    Envoyproxy(Envoyproxy),
    Limitador(Limitador),
}

impl Service {
    fn answer(&self, call: &Call, now: Timestamp) -> CallResult {
        match self {
            Self::Envoyproxy(service) => service.answer(call, now),
            Self::Limitador(service) => service.answer(call, now),
        }
    }
}

impl Replica {
    fn new(policy: &Rc<Policy>, workers: usize) -> Self {
        let store = Rc::new(Memory::new());
        let worker = |_| Driver::new(Rc::clone(policy), Rc::clone(&store));
        Self { workers: (0..workers).map(worker).collect(), tasks: RefCell::default() }
    }

    /// Starts the background work that was left by requests.
    fn start_tasks(&self) {
        for worker in &self.workers {
            for errand in worker.ports().take_errands() {
                let ports = Rc::clone(worker.ports());
                let mut running = Running::new(&ports, errand(Rc::clone(&ports)));
                if let Progress::Waits(Wish::Response(call)) = running.start() {
                    self.tasks.borrow_mut().push(Task { running, ports, call: *call });
                }
            }
        }
    }

    /// Takes all background work to its end, and says how much it asked for.
    fn run_tasks(&self, answer: impl Fn(&Call) -> CallResult, now: Timestamp) -> Vec<u64> {
        self.start_tasks();
        let tasks = self.tasks.take();
        tasks
            .into_iter()
            .map(|task| {
                let hits = hits(&task.call);
                task.end(&answer, now);
                hits
            })
            .collect()
    }
}

impl Task {
    fn end(mut self, answer: impl Fn(&Call) -> CallResult, now: Timestamp) {
        self.ports.set_now(now);
        let result = Rc::new(answer(&self.call));
        let answered = Answered { result, ..Answered::failed(CallFailure::Failed) };
        assert!(matches!(self.running.resume(Arrival::Response(answered)), Progress::Done(())));
    }
}

fn hits(call: &Call) -> u64 {
    let request = message(call);
    let descriptor = &request.descriptors[0];
    descriptor.hits_addend.unwrap_or(request.hits_addend.into())
}

fn leased(settings: &Value, max: u64, per: &str) -> Rc<Policy> {
    let mut document =
        policy(settings.clone(), json!([{"metric": "hits", "max": max, "per": per, "across": "replicas"}]));
    let service = &mut document["providers"]["shared"]["rate_limit_service"];
    if service["lease"] == "none" {
        service["lease"] = json!("adaptive");
    }
    load(&document)
}

fn at(millis: u64) -> Ask {
    Ask { at: NOW.saturating_add(Duration::from_millis(millis)), ..get("/x").key("key-of-acme") }
}

/// Takes a request to its end, and says how many calls it waited for.
fn through(
    worker: &Driver<Shared>,
    ask: &Ask,
    service: &impl Fn(&Call) -> CallResult,
) -> (&'static str, usize) {
    let mut calls = 0;
    let mut step = begin(worker, ask);
    while let Step::Waits(waiting) = step {
        calls += 1;
        let result = service(waiting.call().unwrap());
        step = waiting.answer(result, ask.at);
    }
    (verdict(&step), calls)
}

#[test]
fn most_requests_of_a_busy_payer_need_no_call() {
    for (engine, service) in [
        ("envoy", Service::Envoyproxy(Envoyproxy::default())),
        ("limitador", Service::Limitador(Limitador::default())),
    ] {
        let replica = Replica::new(&leased(&json!({"engine": engine}), 2000, "minute"), 2);
        let (mut admitted, mut waited, mut background) = (0, 0, 0);
        for n in 0..2500 {
            let ask = at(n * 4);
            let answer = |call: &_| service.answer(call, ask.at);
            let (verdict, calls) = through(&replica.workers[n as usize % 2], &ask, &answer);
            admitted += usize::from(verdict == "ok");
            waited += calls;
            background += replica.run_tasks(answer, ask.at).len();
        }
        assert_eq!(admitted, 2000, "{engine}");
        assert!(
            waited <= 30 && background <= 100,
            "{engine}: {waited} waited, {background} in the background"
        );
    }
}

#[test]
fn workers_share_a_lease_and_one_of_them_takes_the_next() {
    let service = Envoyproxy::default();
    let replica = Replica::new(&leased(&json!({}), 1000, "minute"), 2);
    let answer = |call: &_| service.answer(call, NOW);
    let mut leases = Vec::new();
    for n in 0..40 {
        let (verdict, calls) = through(&replica.workers[n % 2], &at(0), &answer);
        assert_eq!((verdict, calls), ("ok", usize::from(n < 2)), "{n}");
        leases.extend(replica.run_tasks(answer, NOW));
    }
    assert_eq!(leases, [2, 4, 8, 16, 32]);
    // While the next one is on its way, nobody else takes one.
    for n in 0..10 {
        assert_eq!(through(&replica.workers[n % 2], &at(0), &answer).0, "ok");
        replica.start_tasks();
    }
    assert!(replica.tasks.borrow().len() <= 1, "{}", replica.tasks.borrow().len());
}

#[test]
fn the_last_lease_is_cut_and_close_to_the_limit_nothing_is_taken_in_advance() {
    let service = Envoyproxy::default();
    let policy = leased(&json!({"lease": {"up_to": {"share": 50, "most": 1000}}}), 30, "minute");
    let (one, other) = (Replica::new(&policy, 1), Replica::new(&policy, 1));
    let answer = |call: &_| service.answer(call, NOW);
    let mut admitted = 0;
    for _ in 0..40 {
        for replica in [&one, &other] {
            admitted += usize::from(through(&replica.workers[0], &at(0), &answer).0 == "ok");
            // The leases of both are on their way at once.
            replica.start_tasks();
        }
        for replica in [&one, &other] {
            replica.run_tasks(answer, NOW);
        }
    }
    assert_eq!(admitted, 30, "all of it is admitted somewhere, and no more");
}

#[test]
fn callers_see_what_the_service_has_left_and_what_was_leased() {
    let service = Envoyproxy::default();
    let policy = leased(&json!({}), 100, "minute");
    let (one, other) = (Replica::new(&policy, 1), Replica::new(&policy, 1));
    let answer = |call: &_| service.answer(call, NOW);
    let remaining = |replica: &Replica| {
        let mut step = begin(&replica.workers[0], &at(0));
        if let Step::Waits(waiting) = step {
            let result = answer(waiting.call().unwrap());
            step = waiting.answer(result, NOW);
        }
        let remaining = trail(&step).standings[0].remaining;
        replica.run_tasks(answer, NOW);
        remaining
    };
    assert_eq!([(); 4].map(|()| remaining(&one)), [99, 98, 97, 96]);
    assert_eq!(remaining(&other), 91, "four more are leased, and one was taken");
}

/// Who takes the use at the service over the mark says so, and nobody else, whatever each of them knows.
#[test]
fn one_of_all_replicas_alerts_operators_once_in_a_window() {
    const MAX: u64 = 1000;
    let limits = json!([{"metric": "hits", "max": MAX, "per": "minute", "across": "replicas"}]);
    let exact = load(&policy(json!({}), limits));
    for (policy, many) in [(exact, false), (leased(&json!({}), MAX, "minute"), true)] {
        let service = Envoyproxy::default();
        let replicas = [(); 3].map(|()| Replica::new(&policy, 1));
        for window in 0..2_u64 {
            let mut alerts = Vec::new();
            for n in 0..MAX + 200 {
                let replica = &replicas[(n / 7) as usize % 3];
                let ask = at(window * 60_000 + n);
                let answer = |call: &_| service.answer(call, ask.at);
                let mut step = begin(&replica.workers[0], &ask);
                while let Step::Waits(waiting) = step {
                    let result = answer(waiting.call().unwrap());
                    step = waiting.answer(result, ask.at);
                }
                let mut found = trail(&step).alerts.clone();
                replica.run_tasks(answer, ask.at);
                found.extend(replica.workers[0].ports().take_reports().into_iter().filter_map(|report| {
                    let Report::Alert(alert) = report else { return None };
                    Some(alert)
                }));
                alerts.extend(found.into_iter().map(|alert| (n, alert.limit, alert.consumer)));
            }
            let [(n, limit, Some(0))] = &alerts[..] else { panic!("{alerts:?}") };
            assert_eq!(&**limit, "hits-minute");
            // The last of 800 requests, or what is taken for it in advance.
            let earliest = if many { 600 } else { 799 };
            assert!((earliest..=799).contains(n), "{n}");
        }
    }
}

#[test]
fn an_exhausted_limit_is_refused_without_a_call_until_its_window_ends() {
    let service = Envoyproxy::default();
    let replica = Replica::new(&leased(&json!({"unavailable": "allow"}), 5, "minute"), 2);
    let run = |millis| {
        let ask = at(millis);
        let answer = |call: &_| service.answer(call, ask.at);
        let result = through(&replica.workers[0], &ask, &answer);
        replica.run_tasks(answer, ask.at);
        result
    };
    let verdicts: Vec<_> = (0..9).map(run).collect();
    assert_eq!(verdicts[..5], [("ok", 1); 5], "a tenth of five is nothing");
    assert_eq!(verdicts[5..], [("14", 0); 4]);
    // The operator raises the limit within the window.
    let raised = Driver::new(
        leased(&json!({"unavailable": "allow"}), 7, "minute"),
        Rc::clone(replica.workers[0].ports().store().store()),
    );
    let answer = |call: &_| service.answer(call, NOW);
    assert_eq!(through(&raised, &at(20), &answer), ("ok", 1));
    assert_eq!(run(60_000), ("ok", 1));
}

#[test]
fn a_lease_outlasts_an_outage_and_then_the_policy_decides() {
    for (mode, outcome) in [("deny", "25"), ("local", "ok"), ("allow", "ok")] {
        let service = Envoyproxy::default();
        let replica = Replica::new(&leased(&json!({"unavailable": mode}), 1000, "minute"), 1);
        let answer = |call: &_| service.answer(call, NOW);
        for _ in 0..6 {
            through(&replica.workers[0], &at(0), &answer);
            replica.run_tasks(answer, NOW);
        }
        let lost = |_: &_| Err(CallFailure::TimedOut);
        let mut verdicts = Vec::new();
        for _ in 0..20 {
            verdicts.push(through(&replica.workers[0], &at(10), &lost).0);
            replica.run_tasks(lost, at(10).at);
        }
        let covered = verdicts.iter().take_while(|verdict| **verdict == "ok").count();
        assert!(mode != "deny" || (4..=14).contains(&covered), "{covered}");
        assert_eq!(verdicts.last(), Some(&outcome), "{mode}");
        // It is back, and learns what was admitted without it.
        let mut calls = 0;
        for n in 0..200 {
            let ask = at(2000 + n);
            let answer = |call: &_| service.answer(call, ask.at);
            let (verdict, waited) = through(&replica.workers[0], &ask, &answer);
            assert_eq!(verdict, "ok");
            calls += waited;
            replica.run_tasks(answer, ask.at);
        }
        assert!(calls < 60, "{mode}: {calls}");
    }
}

#[test]
fn answers_that_arrive_after_their_window_change_nothing_in_the_next() {
    let service = Envoyproxy::default();
    let replica = Replica::new(&leased(&json!({}), 1000, "minute"), 1);
    let worker = &replica.workers[0];
    let early = |call: &_| service.answer(call, NOW);
    let waits = begin(worker, &at(58_000));
    for _ in 0..2 {
        through(worker, &at(59_000), &early);
    }
    replica.start_tasks();
    let late_leases = replica.tasks.take();
    assert_eq!(late_leases.len(), 1);
    let ask = at(60_010);
    let answer = |call: &_| service.answer(call, ask.at);
    for _ in 0..6 {
        through(worker, &ask, &answer);
        for window in replica.run_tasks(answer, ask.at) {
            assert!(window <= 16, "{window}");
        }
    }
    assert_eq!(through(worker, &ask, &answer), ("ok", 0), "the new window has a lease");
    for task in late_leases {
        task.end(early, ask.at);
    }
    assert_eq!(through(worker, &ask, &answer), ("ok", 0), "a late lease does not replace it");
    let Step::Waits(waits) = waits else { panic!("it waits") };
    let result = early(waits.call().unwrap());
    assert_eq!(verdict(&waits.answer(result, ask.at)), "ok");
    assert_eq!(through(worker, &ask, &answer), ("ok", 0), "nor does the answer to a late request");
}

#[test]
fn what_is_taken_and_not_spent_is_less_than_two_leases() {
    for (max, share, gap) in [
        (100_000, 10, 10),
        (100_000, 10, 40),
        (100_000, 50, 9),
        (3000, 10, 7),
        (3000, 50, 300),
        (20, 50, 900),
    ] {
        let service = Envoyproxy::default();
        let terms = json!({"lease": {"up_to": {"share": share, "most": 1000}}});
        let replica = Replica::new(&leased(&terms, max, "minute"), 2);
        let (mut admitted, mut largest) = (0, 1);
        for n in 0..30_000 / gap {
            let ask = at(n * gap);
            let answer = |call: &_| service.answer(call, ask.at);
            admitted += u64::from(through(&replica.workers[0], &ask, &answer).0 == "ok");
            for size in replica.run_tasks(answer, ask.at) {
                assert!(size <= 1000 && size <= max * share / 100, "{size}");
                largest = size.max(largest);
            }
            let unspent = service.total().min(max) - admitted;
            assert!(unspent < 2 * largest, "{unspent} after leases of {largest}");
        }
    }
}

#[test]
fn a_driver_takes_leases_as_well() {
    let service = Envoyproxy::default();
    let driver = Driver::new(leased(&json!({}), 1000, "minute"), Shared::default());
    let mut calls = 0;
    for _ in 0..100 {
        let ending = driver.decide(at(0).request(7), NOW, |call| {
            calls += 1;
            service.answer(call, NOW)
        });
        assert!(matches!(ending, Ending::Permit(_)));
    }
    assert!(calls < 10, "{calls}");
}

/// What happens next to a few replicas.
#[derive(Clone, Debug)]
enum Event {
    /// A request arrives at a worker of a replica.
    Request { replica: usize, worker: usize },
    /// A call of a request or of background work is answered, or fails after it was counted or before.
    Answer { which: usize, how: How },
    /// A request that waits goes away.
    Vanish { which: usize },
    /// Time passes.
    Wait { millis: u64 },
}

#[derive(Clone, Copy, Debug)]
enum How {
    Counted,
    CountedButLost,
    Lost,
    Refused,
}

fn event() -> impl Strategy<Value = Event> {
    let how = prop_oneof![
        12 => Just(How::Counted), 1 => Just(How::CountedButLost), 1 => Just(How::Lost), 1 => Just(How::Refused)
    ];
    prop_oneof![
        8 => (0..3_usize, 0..2_usize).prop_map(|(replica, worker)| Event::Request { replica, worker }),
        8 => (any::<usize>(), how).prop_map(|(which, how)| Event::Answer { which, how }),
        1 => any::<usize>().prop_map(|which| Event::Vanish { which }),
        2 => (0..9000_u64).prop_map(|millis| Event::Wait { millis }),
    ]
}

/// What was admitted, by replica and window.
type Admitted = BTreeMap<(usize, u64), u64>;

/// Lets `events` happen to three replicas of two workers each.
fn happen(policy: &Rc<Policy>, events: &[Event]) -> Admitted {
    let replicas: Vec<_> = (0..3).map(|_| Replica::new(policy, 2)).collect();
    let service = Envoyproxy::default();
    let mut now = NOW;
    let mut waiting: Vec<((usize, u64), Waiting<Shared>)> = Vec::new();
    let mut admitted = Admitted::new();
    let mut end = |key, step: Step<Shared>, waiting: &mut Vec<_>| match step {
        Step::Waits(waits) => waiting.push((key, waits)),
        Step::Ended(Ending::Permit(_)) => *admitted.entry(key).or_default() += 1,
        Step::Ended(_) => {}
    };
    for event in events {
        match event {
            Event::Request { replica, worker } => {
                let ask = Ask { at: now, ..at(0) };
                let step = begin(&replicas[*replica].workers[*worker], &ask);
                end((*replica, now.seconds() / 60), step, &mut waiting);
            }
            Event::Answer { which, how } => {
                let answer = |call: &_| match how {
                    How::Counted => service.answer(call, now),
                    How::CountedButLost => {
                        let _counted = service.answer(call, now);
                        Err(CallFailure::TimedOut)
                    }
                    How::Lost => Err(CallFailure::Failed),
                    How::Refused => status(12),
                };
                let tasks: usize = replicas.iter().map(|replica| replica.tasks.borrow().len()).sum();
                let Some(place) = which.checked_rem(tasks + waiting.len()) else { continue };
                if place < waiting.len() {
                    let (key, waits) = waiting.remove(place);
                    let result = answer(waits.call().unwrap());
                    end(key, waits.answer(result, now), &mut waiting);
                } else {
                    let replica = replicas.iter().find(|replica| !replica.tasks.borrow().is_empty()).unwrap();
                    let task = replica.tasks.borrow_mut().remove(0);
                    task.end(answer, now);
                }
            }
            Event::Vanish { which } => {
                if let Some(place) = which.checked_rem(waiting.len()) {
                    drop(waiting.remove(place));
                }
            }
            Event::Wait { millis } => now = now.saturating_add(Duration::from_millis(*millis)),
        }
        replicas.iter().for_each(Replica::start_tasks);
    }
    admitted
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn replicas_together_never_admit_more_than_the_limit(
        events in prop::collection::vec(event(), 1..600),
        max in 1..120_u64,
        lease in prop_oneof![Just(json!("none")), Just(json!("adaptive")), Just(json!({"up_to": {"share": 50, "most": 20}}))],
    ) {
        let limits = json!([{"metric": "hits", "max": max, "per": "minute", "across": "replicas"}]);
        let policy = load(&policy(json!({"lease": lease, "cooldown": "100ms"}), limits));
        let mut windows = BTreeMap::<u64, u64>::new();
        for ((_, window), admitted) in happen(&policy, &events) {
            *windows.entry(window).or_default() += admitted;
        }
        prop_assert!(windows.values().all(|admitted| *admitted <= max), "{windows:?} of {max}");
    }

    #[test]
    fn each_replica_keeps_the_limit_for_itself_when_the_service_is_lost(
        events in prop::collection::vec(event(), 1..600),
        max in 1..60_u64,
        lease in prop_oneof![Just(json!("none")), Just(json!("adaptive"))],
    ) {
        let limits = json!([{"metric": "hits", "max": max, "per": "minute", "across": "replicas"}]);
        let policy = load(&policy(json!({"lease": lease, "unavailable": "local"}), limits));
        let admitted = happen(&policy, &events);
        prop_assert!(admitted.values().all(|admitted| *admitted <= max), "{admitted:?} of {max}");
    }
}

#[test]
fn callers_may_ask_what_they_have_left_without_a_call_also_when_it_is_nothing() {
    let service = Envoyproxy::default();
    let replicas = |max: u64| {
        let limits = json!([{"metric": "hits", "max": max, "per": "minute", "across": "replicas"}]);
        let mut document = policy(json!({"lease": "adaptive"}), limits);
        document["apis"][0]["rules"] = json!([{"path": "/**"}, {"path": "/usage", "answer": "usage"}]);
        let policy = load(&document);
        (Replica::new(&policy, 1), Replica::new(&policy, 1))
    };
    let (one, other) = replicas(100);
    let answer = |call: &_| service.answer(call, NOW);
    let run = |replica: &Replica, requests: usize| {
        for _ in 0..requests {
            through(&replica.workers[0], &at(0), &answer);
            replica.run_tasks(answer, NOW);
        }
    };
    let usage = |replica: &Replica| {
        let ask = Ask { at: NOW, ..get("/usage").key("key-of-acme") };
        let step = begin(&replica.workers[0], &ask);
        assert!(trail(&step).standings.iter().all(|standing| !standing.refuses));
        let Step::Ended(Ending::Answer(answer)) = step else { panic!("no answer") };
        let body: Value = serde_json::from_str(&answer.reply().body).unwrap();
        let limit = &body["limits"][0];
        [&limit["used"], &limit["remaining"]].map(|number| number.as_u64().unwrap())
    };
    assert_eq!(usage(&one), [0, 100]);
    run(&one, 4);
    run(&other, 1);
    assert_eq!([usage(&one), usage(&other)], [[4, 96], [1, 91]], "each knows what the service said last");
    run(&other, 100);
    assert_eq!(usage(&other)[1], 0);
    assert_eq!(through(&other.workers[0], &at(0), &answer), ("14", 0));

    let (one, other) = replicas(2);
    let service = Envoyproxy::default();
    let answer = |call: &_| service.answer(call, NOW);
    assert_eq!(through(&other.workers[0], &at(0), &answer), ("ok", 1));
    let [first, _second] = [(); 2].map(|()| waiting(begin(&one.workers[0], &at(0))));
    let result = answer(first.call().unwrap());
    assert_eq!(verdict(&first.answer(result, NOW)), "ok");
    assert_eq!(usage(&one), [2, 0], "one is on its way, for which nothing is left");
}
