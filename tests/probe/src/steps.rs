//! The steps of a request, and their results.

use std::{rc::Rc, time::Duration};

use sidegate::{
    credential::Digest,
    gate::{Ending, Request, decide},
    headers::HeaderList,
    hosts::proxy_wasm::Envoy,
    policy::Policy,
    ports::{Answered, Ports},
    provider::{Asker, Body, Call, GrpcRequest, HttpRequest, Response, Sharing, Transport, Wanted},
    reply::{GrpcStatus, Reply},
    store::Store,
};

/// The parts of a response that are read.
const WANTED: Wanted = Wanted { headers: &["x-answer"], trailers: &["x-trailer"], body: 64 };

/// Does the steps of a request, and answers with a line for each if the gate admits the request. Without
/// steps, the gate decides.
pub async fn run(policy: Rc<Policy>, request: Request, ports: Rc<Ports<Envoy>>) -> Ending {
    let Some(steps) = header(&request, "x-probe") else { return decide(policy, request, ports).await };
    let timeout = header(&request, "x-probe-timeout").and_then(|millis| millis.parse().ok());
    let timeout = Duration::from_millis(timeout.unwrap_or(10_000));
    let mut body = String::new();
    for step in steps.split(' ') {
        body.push_str(&perform(step, timeout, &ports).await);
        body.push('\n');
    }
    match decide(policy, request, ports).await {
        Ending::Permit(permit) => {
            let grpc = GrpcStatus { code: 0, message: "".into() };
            let headers = HeaderList::from([("content-type", "text/plain")]);
            let reply = Reply { status: 200, grpc, headers, body: body.into(), details: "probe" };
            Ending::Answer(Box::new(permit.answered(reply)))
        }
        ending => ending,
    }
}

fn header(request: &Request, name: &str) -> Option<String> {
    let found = request.headers().iter().find(|(other, _)| *other == name.as_bytes());
    found.and_then(|(_, value)| String::from_utf8(value.to_vec()).ok())
}

/// Does one step and returns its result.
pub async fn perform(step: &str, timeout: Duration, ports: &Ports<Envoy>) -> String {
    let Some((kind, what)) = step.split_once(':') else { return format!("`{step}` is not a step") };
    let call = |cluster: &str, transport, sharing| {
        let cluster = cluster.to_owned();
        ports.ask(Call { cluster, transport, timeout, wanted: WANTED, sharing, asker: Asker::Known })
    };
    match kind {
        "http" | "joined" => {
            let (cluster, path) = what.split_once('/').unwrap_or((what, ""));
            let sharing = match kind {
                "joined" => Sharing::Joined(Digest::of(what.as_bytes())),
                _ => Sharing::Alone,
            };
            outcome(&call(cluster, http(cluster, path), sharing).await)
        }
        "grpc" => outcome(&call(what, grpc(), Sharing::Alone).await),
        "sleep" => {
            let since = ports.now();
            let span = Duration::from_millis(what.parse().unwrap_or_default());
            let wake = ports.sleep_until(since.saturating_add(span)).await;
            let enough = if ports.now().since(since) >= span { "long enough" } else { "too short" };
            format!("{wake:?}, {enough}")
        }
        "read" => {
            let bytes = ports.store().store().get(what).0.unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        }
        _ => format!("`{step}` is not a step"),
    }
}

fn http(cluster: &str, path: &str) -> Transport {
    Transport::Http(HttpRequest {
        method: "GET",
        scheme: "http".to_owned(),
        authority: cluster.to_owned(),
        path: format!("/{path}"),
        headers: HeaderList::new(),
        body: Vec::new(),
    })
}

fn grpc() -> Transport {
    Transport::Grpc(GrpcRequest {
        service: "sidegate.probe.v1.Echo",
        method: "Say",
        metadata: HeaderList::from([("x-probe", "metadata")]),
        message: b"a message".to_vec(),
    })
}

fn outcome(answered: &Answered) -> String {
    let what = match &*answered.result {
        Ok(Response::Http(response)) => {
            let (header, trailer) = (response.headers.get("x-answer"), response.trailers.get("x-trailer"));
            let [header, trailer] = [header, trailer].map(|field| field.unwrap_or("-"));
            format!("http {} {} header={header} trailer={trailer}", response.status, body(&response.body))
        }
        Ok(Response::Grpc(response)) => format!("grpc {} {}", response.status, body(&response.body)),
        Err(failure) => format!("{failure:?}"),
    };
    format!("{what} {:?}", answered.role)
}

fn body(body: &Body) -> String {
    match body {
        Body::Whole(bytes) => format!("body={}", bytes.len()),
        Body::TooLong => "body=TooLong".to_owned(),
    }
}
