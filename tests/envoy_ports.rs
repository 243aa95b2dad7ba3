//! Tests the shell's ports in a real Envoy, with the module of `tests/probe`: gRPC calls, several calls in
//! one request, sleeps, background tasks.
#![cfg(test)]
#![cfg(not(target_family = "wasm"))]

use std::net::{SocketAddr, TcpListener};

use serde_json::{Value, json};
use sidegate_harness::{
    Answer, Envoy, GrpcAnswer, GrpcServer, Listener, Request, Response, Setup, StubProvider, Upstream, Wasm,
    eventually, probe_module, route, send,
};
use tokio::task::JoinHandle;

/// The results of an HTTP call and of a gRPC call, unless a test changes the provider.
const BODY: &str = "http 200 body=4 header=- trailer=- Leader";
const MESSAGE: &str = "grpc 0 body=5 Leader";

/// A policy that admits everybody. It has no tasks, because they would wake the root without a request.
fn policy() -> Value {
    json!({"sidegate": "v1", "apis": [{"name": "api", "access": ["allow"], "rules": [{"path": "/**"}]}]})
}

/// The same with tasks.
fn with_tasks(revision: &str) -> Value {
    let mut policy = policy();
    policy["revision"] = json!(revision);
    policy
}

fn listener(policy: &Value) -> Listener {
    Listener::new("main").wasm(&Wasm::sidegate(policy).from_file(&probe_module())).route(route("service"))
}

/// Envoy with the probe, a service behind it, an HTTP provider and a gRPC server.
struct Parts {
    envoy: Envoy,
    http: StubProvider,
    grpc: GrpcServer,
    _service: Upstream,
}

impl Parts {
    async fn start(workers: usize) -> Self {
        Self::start_with(workers, &policy(), |setup, _| setup).await
    }

    /// `more` may add clusters. Its second argument is the address of the gRPC server.
    async fn start_with(
        workers: usize,
        policy: &Value,
        more: impl FnOnce(Setup, SocketAddr) -> Setup,
    ) -> Self {
        let service = Upstream::echo("service").await;
        let http = StubProvider::start(Answer::with(200, "text/plain", "body")).await;
        let grpc = GrpcServer::start(GrpcAnswer::Message(b"hello".to_vec())).await;
        let setup = Setup::new(listener(policy))
            .workers(workers)
            .cluster("service", service.address())
            .cluster_with_trailers("http", http.address())
            .http2_cluster("grpc", &[grpc.address()]);
        let envoy = Envoy::start(more(setup, grpc.address())).await;
        Self { envoy, http, grpc, _service: service }
    }

    async fn probe(&self, steps: &str) -> Vec<String> {
        lines(&self.envoy.send(probe(steps)).await)
    }

    /// Sends a request without waiting for its response.
    async fn begin(&self, steps: &str) -> JoinHandle<Response> {
        let (address, request) = (self.envoy.address().await, probe(steps));
        tokio::spawn(async move { send(address, &request).await.expect("an answer") })
    }

    /// Waits until Envoy has this many requests.
    async fn active(&self, requests: u64) {
        eventually(&format!("{requests} requests under way"), async || {
            (self.envoy.stat("http.main.downstream_rq_active").await == requests).then_some(())
        })
        .await;
    }

    /// Disconnects the client of a request.
    async fn abandon(&self, request: JoinHandle<Response>, left: u64) {
        request.abort();
        self.active(left).await;
    }

    /// Checks that every request has its response, and that no VM has crashed.
    async fn healthy(&self) {
        self.active(0).await;
        assert_eq!(self.envoy.send(Request::get("/")).await.json()["name"], "service");
        let log = self.envoy.log();
        for crash in ["panicked", "Uncaught", "Function: ", "[critical]"] {
            assert!(!log.contains(crash), "{crash}: {log}");
        }
    }
}

fn probe(steps: &str) -> Request {
    Request::get("/").header("x-probe", steps)
}

/// The result of each step.
fn lines(answer: &Response) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.text().lines().map(str::to_owned).collect()
}

/// An address on which nobody listens.
fn nobody() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port on loopback");
    listener.local_addr().expect("a bound socket")
}

#[tokio::test]
async fn a_grpc_call_returns_a_message_a_status_or_a_failure() {
    for workers in [1, 3] {
        let parts = Parts::start(workers).await;
        assert_eq!(parts.probe("grpc:grpc").await, ["grpc 0 body=5 Leader"]);
        let call = parts.grpc.calls().remove(0);
        assert_eq!((&*call.path, &*call.message), ("/sidegate.probe.v1.Echo/Say", &b"a message"[..]));
        assert!(call.metadata.contains(&("x-probe".to_owned(), "metadata".to_owned())), "{call:?}");

        for (answer, expected) in [
            (GrpcAnswer::Message(Vec::new()), "grpc 0 body=0 Leader"),
            (GrpcAnswer::Message(vec![b'x'; 64]), "grpc 0 body=64 Leader"),
            (GrpcAnswer::Message(vec![b'x'; 65]), "grpc 0 body=TooLong Leader"),
            (GrpcAnswer::Status(8), "grpc 8 body=0 Leader"),
            (GrpcAnswer::TrailersOnly(8), "grpc 8 body=0 Leader"),
            (GrpcAnswer::Status(14), "Failed Leader"),
            (GrpcAnswer::NoMessage, "grpc 13 body=0 Leader"),
            (GrpcAnswer::Nonsense(200), "grpc 13 body=0 Leader"),
            (GrpcAnswer::Nonsense(404), "grpc 12 body=0 Leader"),
            (GrpcAnswer::Nonsense(503), "Failed Leader"),
            (GrpcAnswer::Garbled, "grpc 13 body=0 Leader"),
            (GrpcAnswer::Break, "Failed Leader"),
            (GrpcAnswer::Close, "Failed Leader"),
        ] {
            parts.grpc.now(answer.clone());
            // The next step is done in the same way after a failed call.
            let steps = parts.probe("grpc:grpc http:http/after").await;
            assert_eq!(steps, [expected, BODY], "{answer:?}");
        }
        parts.healthy().await;
    }
}

#[tokio::test]
async fn calls_that_take_too_long_time_out() {
    let parts = Parts::start(2).await;
    parts.grpc.now(GrpcAnswer::Never);
    parts.http.now(Answer::Never);
    for _ in 0..20 {
        let request = probe("grpc:grpc http:http/x joined:http/y").header("x-probe-timeout", "50");
        assert_eq!(lines(&parts.envoy.send(request).await), ["TimedOut Leader"; 3]);
    }
    parts.healthy().await;
}

#[tokio::test]
async fn a_grpc_call_that_cannot_be_made_returns_the_reason() {
    let nobody = nobody();
    let parts = Parts::start_with(1, &policy(), |setup, _| {
        setup.http2_cluster("nobody", &[]).http2_cluster("refusing", &[nobody])
    })
    .await;
    for (cluster, expected) in [
        ("strange", "UnknownCluster Leader"),
        ("nobody", "NoHealthyHost Leader"),
        ("refusing", "Failed Leader"),
    ] {
        let steps = parts.probe(&format!("grpc:{cluster} grpc:grpc http:{cluster}/x http:http/x")).await;
        assert_eq!(steps, [expected, MESSAGE, expected, BODY]);
    }
    parts.healthy().await;
}

/// Names that protobuf parses as a message. Envoy accepts a message or a name in the same argument.
#[tokio::test]
async fn a_cluster_may_have_any_name() {
    let names = ["users", "quota-svc", "p1"];
    let parts = Parts::start_with(1, &policy(), |setup, server| {
        names.iter().fold(setup, |setup, name| setup.http2_cluster(name, &[server]))
    })
    .await;
    for name in names {
        assert_eq!(parts.probe(&format!("grpc:{name}")).await, [MESSAGE], "{name}");
    }
    assert_eq!(parts.probe("grpc:media").await, ["NoHealthyHost Leader"], "it is unknown");
    parts.healthy().await;
}

#[tokio::test]
async fn the_wanted_fields_of_an_http_response_are_read() {
    let parts = Parts::start(1).await;
    let chunked = "HTTP/1.1 203 -\r\nx-answer: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\ntrailer: x-trailer\r\n\r\n\
        4\r\nbody\r\n0\r\nx-trailer: late\r\nx-tail: no\r\n\r\n";
    for (answer, expected) in [
        (Answer::Last(chunked.into()), "http 203 body=4 header=a trailer=late Leader"),
        (Answer::with(500, "text/plain", [b'x'; 64]), "http 500 body=64 header=- trailer=- Leader"),
        (Answer::with(200, "text/plain", [b'x'; 65]), "http 200 body=TooLong header=- trailer=- Leader"),
        (Answer::with(200, "text/plain", [b'x'; 100_000]), "http 200 body=TooLong header=- trailer=- Leader"),
        (Answer::close(), "Failed Leader"),
    ] {
        parts.http.now(answer);
        assert_eq!(parts.probe("http:http/x joined:http/x").await, [expected; 2]);
    }
    parts.healthy().await;
}

#[tokio::test]
async fn a_request_makes_several_calls_one_after_the_other() {
    for workers in [1, 3] {
        let parts = Parts::start(workers).await;
        assert_eq!(parts.probe("http:http/a grpc:grpc").await, [BODY, MESSAGE]);
        assert_eq!(
            parts.probe("grpc:grpc sleep:20 joined:http/b grpc:grpc").await,
            [MESSAGE, "Due, long enough", BODY, MESSAGE]
        );
        // Many requests at once, which share some of their calls.
        let requests = (0..60).map(|number| match number % 3 {
            0 => probe("joined:http/c grpc:grpc sleep:5 joined:http/c"),
            1 => probe("sleep:1 grpc:grpc joined:http/c sleep:1"),
            _ => probe("joined:http/c joined:http/d grpc:grpc sleep:0"),
        });
        for answer in parts.envoy.send_all(20, requests).await {
            let lines = lines(&answer);
            let count = |what: &str| lines.iter().filter(|line| line.contains(what)).count();
            assert_eq!(count("http 200") + count("grpc 0") + count("long enough"), 4, "{lines:?}");
        }
        assert_eq!(parts.grpc.calls().len(), 3 + 60, "gRPC calls are not shared");
        parts.healthy().await;
    }
}

#[tokio::test]
async fn followers_go_on_without_their_leader() {
    let parts = Parts::start(1).await;
    parts.http.now(Answer::Hold);
    parts.grpc.now(GrpcAnswer::Hold);
    let steps = "joined:http/x grpc:grpc http:http/y";
    let leader = parts.begin(steps).await;
    parts.http.called(1).await;
    let followers = [parts.begin(steps).await, parts.begin(steps).await, parts.begin(steps).await];
    parts.active(4).await;
    parts.http.now(Answer::with(200, "text/plain", "body"));
    // The leader makes its second call itself. The root makes those of the followers.
    parts.grpc.called(4).await;
    assert_eq!(parts.http.calls().len(), 1);
    parts.abandon(leader, 3).await;
    parts.grpc.now(GrpcAnswer::Message(b"hello".to_vec()));
    for follower in followers {
        let follower = follower.await.expect("a response");
        assert_eq!(lines(&follower), [&BODY.replace("Leader", "Follower"), MESSAGE, BODY]);
    }
    assert_eq!((parts.http.calls().len(), parts.grpc.calls().len()), (1 + 3, 4));
    parts.healthy().await;
}

#[tokio::test]
async fn a_shared_call_is_made_again_when_its_leader_disappears() {
    let parts = Parts::start(1).await;
    parts.http.now(Answer::Hold);
    let leader = parts.begin("joined:http/x grpc:grpc").await;
    parts.http.called(1).await;
    let followers =
        [parts.begin("joined:http/x grpc:grpc").await, parts.begin("joined:http/x sleep:1").await];
    parts.active(3).await;
    parts.abandon(leader, 2).await;
    parts.http.called(2).await;
    parts.http.now(Answer::with(200, "text/plain", "body"));
    let [one, other] = followers;
    let [one, other] = [one.await.expect("a response"), other.await.expect("a response")];
    let roles = [&one, &other].map(|answer| lines(answer)[0].clone());
    assert!(roles.contains(&BODY.to_owned()), "one of the others leads: {roles:?}");
    assert!(roles.contains(&BODY.replace("Leader", "Follower")), "{roles:?}");
    assert_eq!([&one, &other].map(|answer| lines(answer)[1].clone()), [MESSAGE, "Due, long enough"]);
    assert_eq!((parts.http.calls().len(), parts.grpc.calls().len()), (2, 1));
    parts.healthy().await;
}

#[tokio::test]
async fn a_client_that_disconnects_at_any_step_leaves_nothing_behind() {
    for workers in [1, 2] {
        let parts = Parts::start(workers).await;
        let [mut http, mut grpc] = [0; 2];
        for (before, step) in [
            ("", "joined:http/x"),
            ("", "http:http/x"),
            ("", "grpc:grpc"),
            ("", "sleep:3600000"),
            ("http:http/a", "grpc:grpc"),
            ("grpc:grpc", "joined:http/x"),
            ("sleep:1", "grpc:grpc"),
            ("grpc:grpc", "sleep:3600000"),
        ] {
            // The request reaches the step and waits there.
            let (holds_http, holds_grpc) = (step.contains("http"), step.contains("grpc"));
            parts.http.now(if holds_http { Answer::Hold } else { Answer::with(200, "text/plain", "body") });
            parts.grpc.now(if holds_grpc {
                GrpcAnswer::Hold
            } else {
                GrpcAnswer::Message(b"hello".to_vec())
            });
            let steps = format!("{before} {step} read:after");
            let leaver = parts.begin(steps.trim_start()).await;
            http += usize::from(holds_http) + usize::from(before.contains("http"));
            grpc += usize::from(holds_grpc) + usize::from(before.contains("grpc"));
            parts.http.called(http).await;
            parts.grpc.called(grpc).await;
            parts.active(1).await;
            parts.abandon(leaver, 0).await;
            // The response that it waited for still arrives. The next request does not receive it.
            parts.http.now(Answer::with(200, "text/plain", "body"));
            parts.grpc.now(GrpcAnswer::Message(b"hello".to_vec()));
            let next = parts.probe("joined:http/x http:http/y grpc:grpc sleep:2 grpc:grpc").await;
            assert_eq!(next, [BODY, BODY, MESSAGE, "Due, long enough", MESSAGE], "{steps}");
            (http, grpc) = (parts.http.calls().len(), parts.grpc.calls().len());
        }
        parts.healthy().await;
    }
}

#[tokio::test]
async fn a_task_runs_without_requests_until_its_policy_is_replaced() {
    for workers in [1, 3] {
        let mut parts = Parts::start_with(workers, &with_tasks("one"), |setup, _| setup).await;
        // Envoy's main thread also loads the policy.
        let threads = workers as u64 + 1;
        let count =
            async |parts: &Parts, what: &str| parts.envoy.stat(&format!("wasmcustom.probe_{what}")).await;
        eventually("ticks", async || (count(&parts, "ticks_one").await >= 10 * threads).then_some(())).await;
        assert_eq!(count(&parts, "ended_one").await, 0);

        parts.envoy.reload(listener(&with_tasks("two"))).await.expect("the policy is valid");
        eventually("the end of the old tasks", async || {
            (count(&parts, "ended_one").await == threads).then_some(())
        })
        .await;
        let (old, new) = (count(&parts, "ticks_one").await, count(&parts, "ticks_two").await);
        eventually("ticks of the new policy", async || {
            (count(&parts, "ticks_two").await >= new + 10 * threads).then_some(())
        })
        .await;
        assert_eq!(count(&parts, "ticks_one").await, old, "the old policy is gone");
        assert_eq!((count(&parts, "ended_one").await, count(&parts, "ended_two").await), (threads, 0));
        parts.healthy().await;
    }
}

#[tokio::test]
async fn one_of_all_workers_holds_the_lease_until_its_policy_is_replaced() {
    let reports = StubProvider::start(Answer::with(200, "text/plain", "body")).await;
    let mut parts =
        Parts::start_with(3, &with_tasks("one"), |setup, _| setup.cluster("reports", reports.address()))
            .await;
    for (revision, holders) in [("one", 1), ("two", 2), ("three", 3)] {
        if holders > 1 {
            parts.envoy.reload(listener(&with_tasks(revision))).await.expect("the policy is valid");
        }
        // Each of the four threads, the main thread included, has had many turns since then.
        let turns = async || parts.probe("read:probe/turns").await[0].parse().unwrap_or(0_u64);
        let before = turns().await;
        eventually("turns", async || (turns().await >= before + 80).then_some(())).await;
        let held = parts.probe("read:probe/holders read:probe/reports").await;
        assert_eq!(held[0].matches(';').count(), holders, "{revision}: {held:?}");
        assert_eq!(held[1], format!("{BODY};").repeat(holders), "{revision}");
        assert_eq!(reports.calls().len(), holders);
    }
    parts.healthy().await;
}

#[tokio::test]
async fn waiting_requests_go_on_with_the_root_of_the_policy_under_which_they_began() {
    // Longer than the test may take, so the old listener keeps its requests.
    let mut parts = Parts::start_with(1, &policy(), |setup, _| setup.drain_seconds(3600)).await;
    parts.http.now(Answer::Hold);
    let steps = "joined:http/x grpc:grpc sleep:1 grpc:grpc";
    let leader = parts.begin(steps).await;
    parts.http.called(1).await;
    let followers = [parts.begin(steps).await, parts.begin(steps).await];
    parts.active(3).await;
    let Parts { envoy, http, grpc, .. } = &mut parts;
    let admin = envoy.admin_address();
    let replaced = async {
        eventually("the new policy", async || {
            let stats = send(admin, &Request::get("/stats?filter=probe_ticks_two")).await.expect("an answer");
            stats.text().contains("probe_ticks_two: ").then_some(())
        })
        .await;
        leader.abort();
        http.called(2).await;
        http.now(Answer::with(200, "text/plain", "body"));
        for request in followers {
            let lines = lines(&request.await.expect("a response"));
            assert_eq!(lines[1..], [MESSAGE, "Due, long enough", MESSAGE]);
        }
        assert_eq!(grpc.calls().len(), 2 * 2);
    };
    tokio::select! {
        result = envoy.reload(listener(&with_tasks("two"))) => panic!("the old listener is gone too early: {result:?}"),
        () = replaced => {}
    }
    parts.healthy().await;
}
