//! Pods as `kubectl` shows them.

use super::*;

#[tokio::test]
async fn pods_that_serve_are_shown_with_all_their_containers_ready() {
    let mesh = Mesh::start().await;
    let _orders = Plan::sidecar("orders").start(&mesh).await;
    let _gateway = Plan::gateway("ingressgateway").start(&mesh).await;
    let shown = mesh.kubernetes().ask(&["get", "pods", "--no-headers"]);
    let columns = shown.lines().map(|line| line.split_whitespace().take(3).collect::<Vec<_>>());
    let expected = [["ingressgateway", "1/1", "Running"], ["orders", "2/2", "Running"]];
    assert_eq!(columns.collect::<Vec<_>>(), expected, "{shown}");
}
