//! What the shell supports and the gate does not use yet: several calls in one request, gRPC, timers, and
//! answers in place of the service. The flows here wait in their own ways and then decide as the gate does.

use sidegate::{
    credential::Digest,
    gate::{Ending, Request, decide},
    headers::HeaderList,
    matching::{Metrics, Usage},
    policy::Policy,
    ports::{Answered, Ports, Role},
    provider::{Asker, Body, Call, GrpcRequest, GrpcResponse, HttpRequest, Response, Sharing, Wanted},
    quota::{Demand, Limit, MeterId, Shape, Window, charge},
    reply::{GrpcStatus, Reply},
    shell::worker::MOST_WAITING,
};

use super::*;

type SharedPorts = Rc<Ports<Shared>>;

/// A unary gRPC call that counts.
fn grpc(message: &str) -> Call {
    Call {
        cluster: "ratelimit".to_owned(),
        transport: Transport::Grpc(GrpcRequest {
            service: "envoy.service.ratelimit.v3.RateLimitService",
            method: "ShouldRateLimit",
            metadata: HeaderList::new(),
            message: message.as_bytes().to_vec(),
        }),
        timeout: Duration::from_millis(20),
        wanted: Wanted { body: 1024, ..Wanted::default() },
        sharing: Sharing::Alone,
        asker: Asker::Known,
    }
}

/// An HTTP call that requests with the same `question` share.
fn joined(question: &str) -> Call {
    Call {
        cluster: "idp".to_owned(),
        transport: Transport::Http(HttpRequest {
            method: "GET",
            scheme: "http".to_owned(),
            authority: "idp".to_owned(),
            path: format!("/{question}"),
            headers: HeaderList::new(),
            body: Vec::new(),
        }),
        timeout: Duration::from_millis(100),
        wanted: Wanted { body: 1024, ..Wanted::default() },
        sharing: Sharing::Joined(Digest::of(question.as_bytes())),
        asker: Asker::Known,
    }
}

fn grpc_answer() -> CallResult {
    Ok(Response::Grpc(GrpcResponse { status: 0, body: Body::Whole(b"fine".to_vec()) }))
}

/// Everything that the flows of a test saw, in order.
#[derive(Clone, Default)]
struct Seen(Rc<std::cell::RefCell<Vec<String>>>);

impl Seen {
    fn note(&self, text: String) {
        self.0.borrow_mut().push(text);
    }

    fn take(&self) -> Vec<String> {
        self.0.take()
    }
}

fn outcome(answered: &Answered) -> String {
    let what = match &*answered.result {
        Ok(Response::Http(response)) => format!("http {}", response.status),
        Ok(Response::Grpc(response)) => format!("grpc {}", response.status),
        Err(failure) => format!("{failure:?}"),
    };
    format!("{what} {:?} {}ms", answered.role, answered.took.as_millis())
}

/// Makes these calls one after the other, and then decides as the gate does.
fn asking(
    calls: Vec<Call>,
    seen: &Seen,
) -> impl FnOnce(Rc<Policy>, Request, SharedPorts) -> std::pin::Pin<Box<dyn Future<Output = Ending>>> + use<>
{
    let seen = seen.clone();
    move |policy, request, ports| {
        Box::pin(async move {
            for call in calls {
                seen.note(outcome(&ports.ask(call).await));
            }
            decide(policy, request, ports).await
        })
    }
}

fn keyed() -> Ask {
    get("/v1/x").key("key-of-acme")
}

fn made_by(script: &Script) -> Vec<ContextId> {
    script.calls.borrow().iter().map(|(home, _)| *home).collect()
}

#[test]
fn a_grpc_call_is_answered_fails_or_times_out() {
    for (millis, result, expected) in [
        (3, grpc_answer(), "grpc 0 Leader 3ms"),
        (
            3,
            Ok(Response::Grpc(GrpcResponse { status: 8, body: Body::Whole(Vec::new()) })),
            "grpc 8 Leader 3ms",
        ),
        (3, Err(CallFailure::Failed), "Failed Leader 3ms"),
        (9, Err(CallFailure::Failed), "Failed Leader 9ms"),
        // Envoy's timers may fire early.
        (19, Err(CallFailure::Failed), "TimedOut Leader 19ms"),
        (20, Err(CallFailure::Failed), "TimedOut Leader 20ms"),
    ] {
        let ((script, thread), seen) = (thread(), Seen::default());
        let (stream, outcome) = thread.request_by(keyed(), asking(vec![grpc("a")], &seen));
        assert_eq!(outcome, "waits");
        script.wait(Duration::from_millis(millis));
        thread.reply(1, &result);
        assert_eq!((seen.take(), script.outcome(stream)), (vec![expected.to_owned()], "ok".to_owned()));
    }
    for failure in [CallFailure::UnknownCluster, CallFailure::NoHealthyHost] {
        let ((script, thread), seen) = (thread(), Seen::default());
        script.refuses_calls.borrow_mut().push(failure);
        assert_eq!(thread.request_by(keyed(), asking(vec![grpc("a")], &seen)).1, "ok");
        assert_eq!(seen.take(), [format!("{failure:?} Leader 0ms")]);
    }
}

#[test]
fn a_request_makes_two_calls_and_each_comes_back_to_it() {
    let ((script, thread), seen) = (thread(), Seen::default());
    let (stream, _) = thread.request_by(keyed(), asking(vec![joined("token"), grpc("quota")], &seen));
    thread.reply(1, &http(200, &[], ""));
    assert_eq!(
        made_by(&script),
        [stream, stream],
        "the second call is made at once, and is the stream's own too"
    );
    thread.reply(2, &grpc_answer());
    assert_eq!(script.outcome(stream), "ok");
    assert_eq!(seen.take(), ["http 200 Leader 0ms", "grpc 0 Leader 0ms"]);
    assert_eq!(script.tick.get(), Duration::ZERO, "the root was not needed");
}

#[test]
fn a_follower_makes_its_second_call_through_the_root_and_survives_the_leader() {
    let ((script, thread), seen) = (thread(), Seen::default());
    let flow = || asking(vec![joined("token"), grpc("quota")], &seen);
    let streams: Vec<_> = (0..3).map(|_| thread.request_by(keyed(), flow()).0).collect();
    thread.reply(1, &http(200, &[], ""));
    assert_eq!(
        made_by(&script),
        [streams[0], streams[0]],
        "the others must not make calls in the leader's name"
    );
    thread.gone(streams[0]);
    assert!(thread.tick());
    assert_eq!(made_by(&script), [streams[0], streams[0], ROOT, ROOT]);
    thread.reply(2, &grpc_answer());
    thread.reply(3, &grpc_answer());
    thread.reply(4, &grpc_answer());
    assert_eq!(outcomes(&script, &streams[1..]), all("ok"));
    assert_eq!(script.outcome(streams[0]), "waits");
    assert_eq!(
        seen.take(),
        [
            "http 200 Leader 0ms",
            "http 200 Follower 0ms",
            "http 200 Follower 0ms",
            "grpc 0 Leader 0ms",
            "grpc 0 Leader 0ms",
        ]
    );
}

#[test]
fn calls_that_count_are_never_shared() {
    let ((script, thread), seen) = (thread(), Seen::default());
    let streams: Vec<_> =
        (0..3).map(|_| thread.request_by(keyed(), asking(vec![grpc("same")], &seen)).0).collect();
    assert_eq!(made_by(&script), streams);
    for number in 1..=3 {
        thread.reply(number, &grpc_answer());
    }
    assert_eq!(outcomes(&script, &streams), all("ok"));
}

#[test]
fn a_request_that_vanishes_at_any_await_leaves_nobody_waiting() {
    // A shared call, a timer, a call that counts, and the gate's own call.
    let flow = |policy: Rc<Policy>, request: Request, ports: SharedPorts| async move {
        ports.ask(joined("token")).await;
        ports.sleep_until(ports.now().saturating_add(Duration::from_millis(5))).await;
        ports.ask(grpc("quota")).await;
        decide(policy, request, ports).await
    };
    for stage in 0..4 {
        let (script, thread) = thread();
        let streams: Vec<_> = (0..3).map(|_| thread.request_by(with_token("t0ken"), flow).0).collect();
        let step = |stage| match stage {
            1 => thread.wait(Duration::from_millis(5)),
            _ => {
                // All calls in flight return, and the root makes the calls that are left to it.
                let made = script.calls.borrow().len();
                for number in 1..=made {
                    let is_grpc = matches!(script.calls.borrow()[number - 1].1.transport, Transport::Grpc(_));
                    thread.reply(number, &if is_grpc { grpc_answer() } else { active() });
                }
                thread.wait(Duration::from_millis(1));
            }
        };
        for before in 0..stage {
            step(before);
        }
        assert_eq!(outcomes(&script, &streams), all("waits"), "at stage {stage}");
        thread.gone(streams[0]);
        // Each stage again, because the root may have to repeat it.
        for round in 0..8 {
            step(round % 2 + usize::from(round > 3));
            thread.wait(Duration::from_millis(6));
        }
        assert_eq!(outcomes(&script, &streams[1..]), all("ok"), "at stage {stage}");
        assert_eq!(script.outcome(streams[0]), "waits", "at stage {stage}");
        assert_eq!(script.tick.get(), Duration::ZERO, "nothing is left to do at stage {stage}");
    }
}

#[test]
fn a_request_that_vanishes_gives_back_what_it_was_charged() {
    let metrics = Metrics::new(&[("hits", None)]).expect("the metric is valid");
    let limits =
        vec![Limit::new(&metrics, "hits", 2, Window::Day, Shape::Fixed).expect("the limit is valid")];
    let hits = metrics.find("hits").expect("the metric is there");
    let flow = |policy: Rc<Policy>, request: Request, ports: SharedPorts| {
        let (metrics, limits) = (metrics.clone(), limits.clone());
        async move {
            let mut usage = Usage::new();
            usage.add(&metrics, hits, 1);
            let demands = [Demand { meter: MeterId::Known(Digest::of(b"acme")), limits: &limits }];
            // If nothing is left, the gate gets a request without a path, which it refuses.
            let receipt = charge(&ports, &policy.meters, &demands, &usage);
            let Ok(receipt) = receipt else {
                return decide(
                    Rc::clone(&policy),
                    Request::new(Vec::new().into(), || None, 0),
                    Rc::clone(&ports),
                )
                .await;
            };
            ports.ask(grpc("quota")).await;
            receipt.settle();
            decide(Rc::clone(&policy), request, Rc::clone(&ports)).await
        }
    };
    let (script, thread) = thread();
    let two = [thread.request_by(keyed(), flow).0, thread.request_by(keyed(), flow).0];
    assert_eq!(thread.request_by(keyed(), flow).1, "20", "both are charged while they wait");
    thread.gone(two[0]);
    let third = thread.request_by(keyed(), flow);
    assert_eq!(third.1, "waits", "the one that vanished has given its charge back");
    thread.reply(2, &grpc_answer());
    thread.reply(3, &grpc_answer());
    assert_eq!([two[1], third.0].map(|stream| script.outcome(stream)), ["ok", "ok"]);
    thread.gone(two[1]);
    assert_eq!(thread.request_by(keyed(), flow).1, "20", "settled charges stay");
}

#[test]
fn a_request_that_passed_may_be_answered_in_the_services_place() {
    let flow = |policy: Rc<Policy>, request: Request, ports: SharedPorts| async move {
        match decide(policy, request, ports).await {
            Ending::Permit(permit) => {
                let grpc = GrpcStatus { code: 0, message: Default::default() };
                let headers = HeaderList::from([("content-type", "text/plain")]);
                let reply = Reply { status: 203, grpc, headers, body: "mocked".into(), details: "mocked" };
                Ending::Answer(Box::new(permit.answered(reply)))
            }
            ending => ending,
        }
    };
    let (script, thread) = thread();
    let (stream, _) = thread.request_by(keyed(), flow);
    assert_eq!(script.end(stream), [End::Answered(203, String::new())]);
    assert!(
        script.written.borrow().iter().any(|(_, text)| text.contains("ratelimit") && text.contains("mocked"))
    );
    assert_eq!(script.metric("sidegate.api=.=orders;.;outcome=.=admitted;.;code=.=none;.;decisions"), 1);
    assert_eq!(thread.request_by(get("/v1/x").key("guess"), flow).1, "13", "a refusal stays a refusal");
}

#[test]
fn waiting_requests_are_bounded_in_bytes() {
    let (script, thread) = thread();
    let size = 1 << 20;
    let large = |token: &str| with_token(token).with("x-large", vec![b'x'; size]);
    let most = MOST_WAITING / size;
    let mut waits = Vec::new();
    loop {
        let (stream, outcome) = thread.request(large("t0ken"));
        if outcome != "waits" {
            assert_eq!(outcome, "24");
            break;
        }
        waits.push(stream);
    }
    assert!((most - 2..=most).contains(&waits.len()), "{} of {most}", waits.len());
    assert_eq!(
        thread.request(get("/v1/x").key("key-of-acme")).1,
        "ok",
        "a request that need not wait passes"
    );
    thread.gone(waits[1]);
    assert_eq!(thread.request(large("t0ken")).1, "waits", "there is room again");
    thread.reply(1, &active());
    waits.remove(1);
    assert_eq!(outcomes(&script, &waits), all("ok"));
    assert_eq!(thread.request(large("another")).1, "waits", "and all of it after all requests have gone on");
}

#[test]
fn the_first_request_that_is_left_leads_and_the_others_follow() {
    let (script, thread) = thread();
    let roles = Seen::default();
    let flow = |policy: Rc<Policy>, request: Request, ports: SharedPorts| {
        let roles = roles.clone();
        async move {
            let role = ports.ask(joined("token")).await.role;
            roles.note(format!("{}", matches!(role, Role::Leader)));
            decide(policy, request, ports).await
        }
    };
    let streams: Vec<_> = (0..3).map(|_| thread.request_by(keyed(), flow).0).collect();
    thread.gone(streams[0]);
    thread.wait(Duration::from_millis(1));
    thread.reply(2, &http(200, &[], ""));
    assert_eq!(roles.take(), ["true", "false"], "the first that is still there leads");
    assert_eq!(outcomes(&script, &streams[1..]), all("ok"));
}
