//! The labels of metrics: named by the annotation in `istio/pod.yaml`. Nothing that is applied later can name
//! them.

use sidegate_harness::project;

use super::*;

const LABELLED: &str = r#"sidegate_decisions{api="orders",outcome="refused",code="12"}"#;

/// Whether the pod's metrics have labels, after a request was refused.
async fn labelled(pod: &Pod) -> bool {
    guarded(pod).await;
    let metrics = pod.admin("/stats/prometheus").await.unwrap().text();
    assert!(metrics.contains("decisions"), "{metrics}");
    metrics.lines().any(|line| line.starts_with(LABELLED))
}

#[tokio::test]
async fn labels_are_named_by_the_annotation_and_not_by_an_envoy_filter() {
    let pod = std::fs::read_to_string(project("istio/pod.yaml")).unwrap();
    let pod = rendered::documents(&pod).remove(0);
    let annotation = "sidecar.istio.io/extraStatTags";
    let names = pod.pointer("/spec/template/metadata/annotations").unwrap()[annotation].clone();
    let shop = Shop::open_with(|plan| plan.annotation(annotation, names.as_str().unwrap())).await;
    shop.guard(&policy()).await;
    assert!(labelled(&shop.orders).await);

    // Istio's API has patches for the bootstrap; this istiod sends none.
    shop.mesh.kubernetes().apply(json!({
        "apiVersion": "networking.istio.io/v1alpha3",
        "kind": "EnvoyFilter",
        "metadata": {"name": "labels", "namespace": "default"},
        "spec": {"configPatches": [{
            "applyTo": "BOOTSTRAP",
            "patch": {"operation": "MERGE", "value": {"stats_config": {"stats_tags": [
                {"tag_name": "api", "regex": r"(\bapi=\.=(.*?);\.;)"},
                {"tag_name": "outcome", "regex": r"(\boutcome=\.=(.*?);\.;)"},
                {"tag_name": "code", "regex": r"(\bcode=\.=(.*?);\.;)"},
            ]}}},
        }]},
    }));
    let plain = Plan::sidecar("plain").label("app", "orders").start(&shop.mesh).await;
    let _service = Upstream::echo_on(plain.listen(APPLICATION), "plain");
    assert!(!labelled(&plain).await);
}
