//! Trailers of requests in a real Envoy.
#![cfg(test)]
#![cfg(not(target_family = "wasm"))]

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    thread,
};

use serde_json::json;
use sidegate_harness::{Connection, Envoy, Listener, Setup, Wasm, route};

/// A service that answers one request; returns what it received.
fn service() -> (std::net::SocketAddr, thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let received = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut received, mut part) = (Vec::new(), [0; 4096]);
        // The last chunk, trailers, and an empty line.
        let is_whole = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes);
            text.contains("\r\n0\r\n") && text.ends_with("\r\n\r\n")
        };
        while !is_whole(&received) {
            let read = stream.read(&mut part).unwrap();
            assert!(read > 0, "the request ends early");
            received.extend_from_slice(&part[..read]);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
        String::from_utf8_lossy(&received).into_owned()
    });
    (address, received)
}

#[tokio::test]
async fn identity_headers_in_trailers_do_not_reach_the_service() {
    let policy = json!({"sidegate": "v1", "apis": [{
        "name": "api", "access": ["allow"], "rules": [{"path": "/**"}],
        "forward": {"headers": {"x-consumer": "{consumer}", "x-api": "{api}"}}
    }]});
    let (address, received) = service();
    let listener = Listener::new("main")
        .wasm(&Wasm::sidegate(&policy))
        .manager("http_protocol_options", json!({"enable_trailers": true}))
        .route(route("service"));
    let envoy = Envoy::start(Setup::new(listener).cluster_with_trailers("service", address)).await;
    let request = b"POST /a HTTP/1.1\r\nhost: a.example\r\ntransfer-encoding: chunked\r\n\r\n\
        4\r\nbody\r\n0\r\nx-consumer: acme\r\nX-Sidegate-Plan: gold\r\nx-sidegate-plan: gold\r\nx-checksum: 7\r\n\r\n";
    let mut connection = Connection::open(envoy.address().await).await.unwrap();
    let response = connection.send_bytes(request, false).await.unwrap();
    assert_eq!(response.status, 200);
    let received = received.join().unwrap();
    let (_, trailers) = received.split_once("\r\n0\r\n").unwrap();
    assert_eq!(trailers, "x-checksum: 7\r\n\r\n", "{received}");
}
