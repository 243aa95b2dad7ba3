//! The capabilities that `envoy/filter.yaml` gives to the module: they suffice for everything that it does,
//! and each is needed.
#![cfg(test)]
#![cfg(not(target_family = "wasm"))]

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::{Value, json};
use sidegate::credential::Digest;
use sidegate_harness::{
    Answer, DEADLINE, Envoy, GrpcAnswer, GrpcServer, Listener, Rejected, Request, Setup, StubProvider,
    Upstream, Wasm, direct_response, probe_module, route, send, yaml,
};
use tokio::time::timeout;

/// How long to wait for an effect that may be absent because a capability is missing. A slow machine can only
/// make the test more lenient.
const PATIENCE: Duration = Duration::from_secs(1);

const SECRET: &str = "the-secret-of-the-gate";

/// Observations from outside, by what they show.
type Seen = BTreeMap<&'static str, String>;

/// Every capability in the list except [`NEEDED_FOR_GRPC`] and [`NEEDED_FOR_TRAILERS`], and what can no
/// longer be observed without it.
const NEEDED: [(&str, &str); 29] = [
    ("proxy_on_context_create", "starts"),
    ("proxy_on_configure", "admitted"),
    ("proxy_get_buffer_bytes", "starts"),
    ("environ_sizes_get", "starts"),
    ("environ_get", "starts"),
    ("random_get", "starts"),
    ("proxy_log", "starts"),
    ("proxy_get_shared_data", "starts"),
    ("proxy_set_shared_data", "starts"),
    ("proxy_define_metric", "starts"),
    ("proxy_increment_metric", "starts"),
    ("proxy_record_metric", "starts"),
    ("proxy_on_request_headers", "refused"),
    ("proxy_get_header_map_pairs", "admitted"),
    ("proxy_get_property", "addresses are counted"),
    ("proxy_get_current_time_nanoseconds", "admitted"),
    ("proxy_add_header_map_value", "the caller sees what is left"),
    ("proxy_replace_header_map_value", "the service learns who calls"),
    ("proxy_remove_header_map_value", "admitted"),
    ("proxy_set_property", "the access log knows who called"),
    ("proxy_send_local_response", "refused"),
    ("proxy_on_response_headers", "the caller sees what is left"),
    ("proxy_http_call", "tokens are introspected"),
    ("proxy_on_http_call_response", "tokens are introspected"),
    ("proxy_set_effective_context", "tokens are introspected"),
    ("proxy_continue_stream", "tokens are introspected"),
    ("proxy_on_delete", "waiting requests are answered"),
    ("proxy_set_tick_period_milliseconds", "waiting requests are answered"),
    ("proxy_on_tick", "waiting requests are answered"),
];

/// What requests with trailers need; `tests/envoy_trailers.rs` has them.
const NEEDED_FOR_TRAILERS: [&str; 1] = ["proxy_on_request_trailers"];

/// What a gRPC call needs, as to a rate limit service. `tests/probe` makes the calls, in every way to order.
const NEEDED_FOR_GRPC: [&str; 3] = ["proxy_grpc_call", "proxy_on_grpc_receive", "proxy_on_grpc_close"];

#[tokio::test]
async fn the_capabilities_suffice_and_each_is_needed() {
    let listed = listed();
    let others = NEEDED_FOR_GRPC.into_iter().chain(NEEDED_FOR_TRAILERS);
    let named = NEEDED.iter().map(|(name, _)| *name).chain(others).map(str::to_owned).collect();
    assert_eq!(listed, named);
    let whole = observe(Some(&listed), DEADLINE).await;
    assert_eq!(whole, observe(None, DEADLINE).await, "the list suffices");

    let each_is_needed = async |needed: &[(&str, &'static str)]| {
        for (capability, lost) in needed {
            let rest = listed.iter().filter(|each| each != capability).cloned().collect();
            let seen = observe(Some(&rest), PATIENCE).await;
            assert_ne!(seen.get(lost), whole.get(lost), "{lost}, without {capability}");
        }
    };
    let (some, others) = NEEDED.split_at(NEEDED.len() / 2);
    tokio::join!(each_is_needed(some), each_is_needed(others));
}

#[tokio::test]
async fn for_grpc_calls_the_list_suffices_and_each_capability_is_needed() {
    let listed = listed();
    let answered = [Some("grpc 0 body=5 Leader\n".to_owned()), Some("grpc 8 body=0 Leader\n".to_owned())];
    assert_eq!(observe_grpc(&listed, DEADLINE).await, answered);
    for capability in NEEDED_FOR_GRPC {
        let rest = listed.iter().filter(|each| *each != capability).cloned().collect();
        assert_ne!(observe_grpc(&rest, PATIENCE).await, answered, "without {capability}");
    }
}

#[tokio::test]
async fn an_empty_list_restricts_nothing() {
    let (envoy, service, _idp) = start(Some(&BTreeSet::new())).await.expect("it loads");
    let answer = envoy.send(Request::get("/").host("keys").header("apikey", "stranger")).await;
    assert_eq!((answer.code(), service.requests()), (Some("13"), 0));
}

/// A module that is not called for requests cannot decide on them: this is the only capability whose absence
/// opens the gate.
#[tokio::test]
async fn without_the_callback_for_requests_everything_passes() {
    let mut rest = listed();
    assert!(rest.remove("proxy_on_request_headers"));
    let (envoy, service, _idp) = start(Some(&rest)).await.expect("it loads nevertheless");
    let answer = envoy.send(Request::get("/").host("keys").header("apikey", "stranger")).await;
    assert_eq!((answer.status, service.requests()), (200, 1));
}

/// The capabilities of `envoy/filter.yaml`.
fn listed() -> BTreeSet<String> {
    let filter = yaml("envoy/filter.yaml");
    let list = "/resources/0/typed_config/config/capability_restriction_config/allowed_capabilities";
    let list = filter.pointer(list).and_then(Value::as_object).expect("a list of capabilities");
    list.keys().cloned().collect()
}

fn sha256(text: &str) -> String {
    Digest::of(text.as_bytes()).to_hex()
}

/// A policy that makes the module use all its capabilities.
fn policy() -> Value {
    let consumer =
        |name: &str, plan: &str| json!({"name": name, "plan": plan, "keys": [{"sha256": sha256(name)}]});
    json!({
        "sidegate": "v1",
        "providers": {"idp": {"introspection": {
            "cluster": "idp", "url": "http://idp/", "timeout": "1h", "cache": {"ttl": "1h", "negative_ttl": "1h"},
            "authentication": {"basic": {"id": "gate", "secret": {"env": "IDP_SECRET"}}},
        }}},
        "metrics": {"hits": {}},
        "plans": {"one": {"limits": [{"metric": "hits", "max": 1, "per": "eternity"}]},
                  "many": {"limits": [{"metric": "hits", "max": 1000, "per": "eternity"}]}},
        "consumers": [consumer("acme", "many"), consumer("tryout", "one"),
                      {"name": "late", "keys": [{"sha256": sha256("late"), "not_after": "2020-01-01T00:00:00Z"}]}],
        "apis": [
            {"name": "keys", "hosts": ["keys"], "access": ["api_key"], "rules": [{"path": "/**"}],
             "credentials": {"api_key": [{"header": "apikey"}, {"query": "key"}]},
             "metering": [{"path": "/**", "metric": "hits", "by": 1}],
             "forward": {"remove_credentials": true, "headers": {"x-consumer": "{consumer}"}}},
            {"name": "tokens", "hosts": ["tokens"], "access": [{"introspection": {"provider": "idp"}}], "rules": [{"path": "/**"}],
             "credentials": {"token": [{"header": "authorization", "scheme": "Bearer"}]}},
            {"name": "addresses", "hosts": ["addresses"], "access": ["allow"], "rules": [{"path": "/**"}],
             "metering": [{"path": "/**", "metric": "hits", "by": 1}],
             "limits": [{"metric": "hits", "max": 1, "per": "eternity", "of": "address"}]},
        ],
    })
}

/// Envoy with a module of these capabilities, a service, and an introspection endpoint.
async fn start(allowed: Option<&BTreeSet<String>>) -> Result<(Envoy, Upstream, StubProvider), Rejected> {
    let service = Upstream::echo("service").await;
    let idp = StubProvider::start(Answer::json(&json!({"active": true}))).await;
    let mut wasm = Wasm::sidegate(&policy()).environment("IDP_SECRET", SECRET);
    if let Some(allowed) = allowed {
        wasm = wasm.restricted_to(allowed.iter().map(String::as_str));
    }
    let listener = Listener::new("main")
        .wasm(&wasm)
        .route(route("service"))
        .access_log("%FILTER_STATE(wasm.sidegate.consumer:PLAIN)%");
    let setup =
        Setup::new(listener).workers(1).cluster("service", service.address()).cluster("idp", idp.address());
    Ok((Envoy::try_start(setup).await?, service, idp))
}

/// Makes the module do everything with these capabilities, and observes it from outside.
async fn observe(allowed: Option<&BTreeSet<String>>, patience: Duration) -> Seen {
    let mut seen = Seen::new();
    let (envoy, _service, idp) = match start(allowed).await {
        Ok(parts) => parts,
        Err(refused) => return Seen::from([("starts", refused.log)]),
    };
    let address = envoy.address().await;
    let ask = async |host: &str, request: Request| {
        timeout(patience, send(address, &request.host(host))).await.ok().and_then(Result::ok)
    };
    let mut note = |what: &'static str, value: String| assert_eq!(seen.insert(what, value), None);
    let by = |key: &str| Request::get("/").header("apikey", key);

    let answer = ask("keys", by("acme").header("x-consumer", "root")).await;
    let header = |name: &str| answer.as_ref().and_then(|answer| answer.header(name).map(str::to_owned));
    let received = |name: &str| answer.as_ref().and_then(|answer| answer.received(name));
    note("admitted", format!("{:?}", answer.as_ref().map(|answer| answer.status)));
    note("the service learns who calls", format!("{:?}", received("x-consumer")));
    note("the key is not forwarded", format!("{:?}", received("apikey")));
    note("the caller sees what is left", format!("{:?}", header("ratelimit")));
    let answer = ask("keys", Request::get("/?a=b&key=acme")).await;
    note(
        "the key is cut from the query",
        format!("{:?}", answer.map(|answer| answer.json()["path"].clone())),
    );
    let answer = ask("keys", by("stranger")).await;
    note("refused", format!("{:?}", answer.map(|answer| (answer.status, answer.headers.len(), answer.body))));
    let answer = ask("keys", by("stranger").header("content-type", "application/grpc")).await;
    note(
        "refused as gRPC",
        format!("{:?}", answer.map(|answer| answer.header("grpc-status").map(str::to_owned))),
    );
    let answer = ask("keys", by("late")).await;
    note("a key expires", format!("{:?}", answer.map(|answer| answer.status)));

    let mut statuses = Vec::new();
    for request in [by("tryout"), by("tryout")] {
        statuses.push(ask("keys", request).await.map(|answer| answer.status));
    }
    note("requests are counted", format!("{statuses:?}"));
    let mut statuses = Vec::new();
    for address in ["192.0.2.1", "192.0.2.1", "192.0.2.2"] {
        let request = Request::get("/").header("x-forwarded-for", address);
        statuses.push(ask("addresses", request).await.map(|answer| answer.status));
    }
    note("addresses are counted", format!("{statuses:?}"));

    let mut statuses = Vec::new();
    for _ in 0..2 {
        statuses.push(ask("tokens", Request::get("/").bearer("t")).await.map(|answer| answer.status));
    }
    note("tokens are introspected", format!("{statuses:?} {}", idp.calls().len()));
    note(
        "the gate authenticates itself",
        format!("{:?}", idp.calls().first().map(|call| call.authorization.clone())),
    );

    // The request that made the call goes away. The call must be made again for the request that waits for
    // the same answer.
    idp.now(Answer::Hold);
    let waiting =
        || tokio::spawn(async move { send(address, &Request::get("/").host("tokens").bearer("u")).await });
    let active = async |requests: u64| envoy.stat("http.main.downstream_rq_active").await == requests;
    let calls = async |calls: usize| within(patience, async || idp.calls().len() == calls).await;
    let in_flight = async |requests: u64| within(patience, async || active(requests).await).await;
    let leader = waiting();
    let answered = if calls(2).await {
        let other = waiting();
        let waits = in_flight(2).await;
        leader.abort();
        let called = waits && in_flight(1).await && calls(3).await;
        idp.now(Answer::json(&json!({"active": true})));
        if called {
            timeout(patience, other).await.ok().and_then(|joined| joined.unwrap().ok())
        } else {
            None
        }
    } else {
        None
    };
    note("waiting requests are answered", format!("{:?}", answered.map(|answer| answer.status)));

    let stats = envoy.stats().await;
    let ours =
        stats.iter().filter(|(name, _)| name.starts_with("wasmcustom.") && !name.ends_with(";.;policy"));
    note("it is counted", format!("{:?}", ours.collect::<Vec<_>>()));
    let histogram = envoy.admin("/stats?filter=provider_call_milliseconds").await.text();
    note("calls are timed", histogram.contains("No recorded values").to_string());
    let access = envoy.access_log(1).await;
    note("the access log knows who called", format!("{:?}", access.first()));
    let log = envoy.log();
    let lines = ["policy loaded", "refused code=13 api=keys"];
    note("it is logged", format!("{:?}", lines.map(|line| log.contains(line))));
    seen
}

/// The results of a gRPC call that is answered, and of one that is refused, with these capabilities.
async fn observe_grpc(allowed: &BTreeSet<String>, patience: Duration) -> [Option<String>; 2] {
    let server = GrpcServer::start(GrpcAnswer::Message(b"hello".to_vec())).await;
    let wasm = Wasm::sidegate(&policy()).environment("IDP_SECRET", SECRET).from_file(&probe_module());
    let wasm = wasm.restricted_to(allowed.iter().map(String::as_str));
    let listener = Listener::new("main").wasm(&wasm).route(direct_response(200, ""));
    let envoy =
        Envoy::start(Setup::new(listener).workers(1).http2_cluster("grpc", &[server.address()])).await;
    let address = envoy.address().await;
    let mut seen = [const { None }; 2];
    for (seen, answer) in seen.iter_mut().zip([GrpcAnswer::Message(b"hello".to_vec()), GrpcAnswer::Status(8)])
    {
        server.now(answer);
        let request = Request::get("/").host("keys").header("apikey", "acme").header("x-probe", "grpc:grpc");
        *seen = timeout(patience, send(address, &request))
            .await
            .ok()
            .and_then(Result::ok)
            .map(|answer| answer.text());
    }
    seen
}

/// Waits until the condition holds. Returns false if it takes longer than `patience`.
async fn within(patience: Duration, mut holds: impl AsyncFnMut() -> bool) -> bool {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(patience, waiting).await.is_ok()
}
