//! How many calls are made: requests, workers and callers share them.

use tokio::task::JoinHandle;

use super::*;

#[tokio::test]
async fn four_workers_share_one_answer() {
    let server = StubProvider::start(Answer::Hold).await;
    let providers = json!({"idp": introspection("idp", "http://idp/", &json!({}))});
    let policy = policy(&providers, &[token_rule("/**", "idp", &json!({}))]);
    let (envoy, _upstream) = start(&policy, &[("idp", server.address())], 4).await;
    let request = |token: &str| Request::get("/").bearer(token);

    let cold = send_on_connections(&envoy, &request("cold"), 64).await;
    server.now(active(&json!({})));
    for answer in answers(cold).await {
        assert_eq!(verdict(&answer), ADMITTED);
    }
    let asked = server.calls().len();
    assert!((1..=4).contains(&asked), "{asked} calls: at most one for each worker");
    let mut workers = 0;
    for (name, value) in envoy.stats().await {
        workers +=
            usize::from(name.contains(".worker_") && name.ends_with("downstream_cx_total") && value > 0);
    }
    assert!(workers > 1, "several workers took part");

    for (token, answer, expected) in [("good", active(&json!({})), ADMITTED), ("bad", inactive(), INVALID)] {
        server.now(answer);
        let asked = server.calls().len();
        envoy.send(request(token)).await;
        for answer in envoy.send_all(32, vec![request(token); 640]).await {
            assert_eq!(verdict(&answer), expected, "{token}");
        }
        assert_eq!(server.calls().len(), asked + 1, "{token}");
    }
}

#[tokio::test]
async fn requests_that_wait_for_the_same_answer_make_one_call_and_none_hangs_when_others_go() {
    let server = StubProvider::start(Answer::Hold).await;
    let providers = json!({"idp": introspection("idp", "http://idp/", &json!({}))});
    let policy = policy(&providers, &[token_rule("/**", "idp", &json!({}))]);
    let (envoy, upstream) = start(&policy, &[("idp", server.address())], 1).await;

    let waiting = send_on_connections(&envoy, &Request::get("/").bearer("t"), 200).await;
    server.now(active(&json!({"client_id": "portal"})));
    for answer in answers(waiting).await {
        assert_eq!(verdict(&answer), ADMITTED);
    }
    assert_eq!((server.calls().len(), upstream.requests()), (1, 200));
    assert_eq!((lookups(&envoy, "miss").await, calls(&envoy, "idp", "ok").await), (200, 1));

    // Some of the waiting requests go away.
    server.now(Answer::Hold);
    let request = Request::get("/").bearer("t2");
    let leader = send_on_connections(&envoy, &request, 1).await;
    let mut others = send_on_connections(&envoy, &request, 100).await;
    disconnect(&envoy, others.split_off(50), 51).await;
    server.now(inactive());
    for answer in answers(others).await.into_iter().chain(answers(leader).await) {
        assert_eq!(verdict(&answer), INVALID);
    }
    assert_eq!(server.calls().len(), 2);

    // The request that made the call goes away, and the reply to its call is lost.
    server.now(Answer::Hold);
    let request = Request::get("/").bearer("t3");
    let leader = send_on_connections(&envoy, &request, 1).await;
    server.called(3).await;
    let others = send_on_connections(&envoy, &request, 200).await;
    disconnect(&envoy, leader, 200).await;
    server.called(4).await;
    // Later requests join the waiting ones.
    let later = send_on_connections(&envoy, &request, 10).await;
    server.now(active(&json!({})));
    for answer in answers(others).await.into_iter().chain(answers(later).await) {
        assert_eq!(verdict(&answer), ADMITTED);
    }
    assert_eq!(server.calls().len(), 4);

    // All of them go away. No call is made for them, and the next request makes its own.
    server.now(Answer::Hold);
    let request = Request::get("/").bearer("t4");
    let all = send_on_connections(&envoy, &request, 20).await;
    server.called(5).await;
    disconnect(&envoy, all, 0).await;
    let next = send_on_connections(&envoy, &request, 1).await;
    server.called(6).await;
    server.now(active(&json!({})));
    for answer in answers(next).await {
        assert_eq!(verdict(&answer), ADMITTED);
    }
    assert_eq!(server.calls().len(), 6);
}

#[tokio::test]
async fn a_flood_of_made_up_tokens_leaves_calls_for_known_tokens_and_other_addresses() {
    let server = StubProvider::start(active(&json!({}))).await;
    let settings = json!({"cache": {"ttl": "0s"}, "issuers": ["https://idp"]});
    let providers = json!({"idp": introspection("idp", "http://idp/", &settings)});
    let policy = policy(&providers, &[token_rule("/**", "idp", &json!({}))]);
    let (envoy, _upstream) = start(&policy, &[("idp", server.address())], 1).await;
    let from =
        |address: &str, token: &str| Request::get("/").header("x-forwarded-for", address).bearer(token);
    assert_eq!(verdict(&envoy.send(from("192.0.2.1", "known")).await), ADMITTED);

    server.now(Answer::Hold);
    let address = envoy.address().await;
    let flood: Vec<_> = (0..700)
        .map(|number| {
            let request = from("192.0.2.1", &format!("made-up-{number}"));
            tokio::spawn(async move { send(address, &request).await.unwrap() })
        })
        .collect();
    let refused = "wasmcustom.sidegate.api=.=orders;.;outcome=.=refused;.;code=.=24;.;decisions";
    eventually("188 tokens are refused", async || {
        (envoy.stats().await.get(refused) == Some(&188)).then_some(())
    })
    .await;
    wait_for_in_flight(&envoy, 512).await;
    let known = send_on_connections(&envoy, &from("192.0.2.1", "known"), 1).await;
    let new = send_on_connections(&envoy, &from("192.0.2.2", "new"), 1).await;
    // A token whose payload is {"iss":"https://evil"}.
    let foreign = from("192.0.2.3", "eyJhbGciOiJub25lIn0.eyJpc3MiOiJodHRwczovL2V2aWwifQ.c2ln");
    assert_eq!(verdict(&envoy.send(foreign).await), INVALID);
    assert_eq!((lookups(&envoy, "foreign").await, server.calls().len()), (1, 1 + 512 + 2));

    server.now(active(&json!({})));
    for answer in answers(known).await.into_iter().chain(answers(new).await) {
        assert_eq!(verdict(&answer), ADMITTED);
    }
    let flood = answers(flood).await;
    assert_eq!(flood.iter().filter(|answer| verdict(answer) == UNAVAILABLE).count(), 188);
}

#[tokio::test]
async fn requests_that_wait_while_the_policy_is_replaced_end_under_the_old_one() {
    let server = StubProvider::start(Answer::Hold).await;
    let providers = json!({"idp": introspection("idp", "http://idp/", &json!({}))});
    let policy = |access: Value| {
        with(
            policy(&providers, &[json!({"path": "/**", "access": [access]})]),
            &json!({"revision": access.to_string().replace('"', "")}),
        )
    };
    let upstream = Upstream::echo("orders").await;
    let listener =
        |policy: &Value| Listener::new("main").wasm(&Wasm::sidegate(policy)).route(route("orders"));
    let setup = Setup::new(listener(&policy(json!({"introspection": {"provider": "idp"}}))))
        .cluster("orders", upstream.address())
        .cluster("idp", server.address());
    // Longer than the test may take: the old listener keeps its requests.
    let mut envoy = Envoy::start(setup.workers(1).drain_seconds(3600)).await;
    let address = envoy.address().await;

    let leader = send_on_connections(&envoy, &Request::get("/").bearer("t"), 1).await;
    let others = send_on_connections(&envoy, &Request::get("/").bearer("t"), 20).await;
    let second = send_on_connections(&envoy, &Request::get("/").bearer("t2"), 20).await;
    let replaced = async {
        eventually("the new policy", async || {
            let answer = send(address, &Request::get("/")).await.unwrap();
            (verdict(&answer) == (403, Some("27"))).then_some(())
        })
        .await;
        // Under the old policy, too, a new call is made for requests whose leader is gone.
        leader.into_iter().for_each(|leader| leader.abort());
        server.called(3).await;
        server.now(active(&json!({})));
        answers(others).await.into_iter().chain(answers(second).await).collect::<Vec<_>>()
    };
    let denying = listener(&policy(json!("deny")));
    let answers = tokio::select! {
        result = envoy.reload(denying) => panic!("the old listener is gone too early: {result:?}"),
        answers = replaced => answers,
    };
    assert_eq!(answers.len(), 40);
    for answer in answers {
        assert_eq!(verdict(&answer), ADMITTED);
    }
}

/// Sends the request over this many new connections, and waits until Envoy has received all.
async fn send_on_connections(envoy: &Envoy, request: &Request, size: u64) -> Vec<JoinHandle<Response>> {
    let (address, before) = (envoy.address().await, in_flight(envoy).await);
    let send = |_| {
        let request = request.clone();
        tokio::spawn(async move { send(address, &request).await.unwrap() })
    };
    let requests = (0..size).map(send).collect();
    wait_for_in_flight(envoy, before + size).await;
    requests
}

/// Closes the connections of waiting requests, and waits until Envoy has noticed.
async fn disconnect(envoy: &Envoy, leaving: Vec<JoinHandle<Response>>, remaining: u64) {
    leaving.into_iter().for_each(|request| request.abort());
    wait_for_in_flight(envoy, remaining).await;
}

async fn answers(requests: Vec<JoinHandle<Response>>) -> Vec<Response> {
    let mut answers = Vec::new();
    for request in requests {
        answers.push(request.await.unwrap());
    }
    answers
}

async fn in_flight(envoy: &Envoy) -> u64 {
    envoy.stat("http.main.downstream_rq_active").await
}

async fn wait_for_in_flight(envoy: &Envoy, requests: u64) {
    eventually(&format!("{requests} requests in flight"), async || {
        (in_flight(envoy).await == requests).then_some(())
    })
    .await;
}
