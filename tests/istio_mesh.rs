//! The mesh itself: what the other tests in a real Istio take for granted.
#![cfg(test)]
#![cfg(not(target_family = "wasm"))]

use sidegate_harness::{Request, Upstream};
use sidegate_mesh::{Mesh, Plan};

#[tokio::test]
async fn what_goes_to_a_pod_goes_through_its_envoy() {
    let mesh = Mesh::start().await;
    let orders = Plan::sidecar("orders").start(&mesh).await;
    let service = Upstream::echo_on(orders.listen(8080), "orders");

    let answer = orders.send(8080, Request::get("/hello").host("orders")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["name"], "orders");
    assert_eq!(answer.header("server"), Some("istio-envoy"));
    assert_eq!(service.requests(), 1);

    // The application itself answers on its loopback, with nobody between.
    let unguarded = Request::get("/hello").host("orders");
    let answer = orders.send_from_inside(([127, 0, 0, 1], 8080).into(), unguarded).await.unwrap();
    assert_eq!(answer.header("server"), None);
}
