//! Log lines: shown from the level on that the annotation in `istio/pod.yaml` names.

use sidegate_harness::project;

use super::*;

const ANNOTATION: &str = "sidecar.istio.io/componentLogLevel";
/// What Istio sets where a pod has no such annotation.
const ISTIOS_DEFAULT: &str = "misc:error";
const LINE: &str = "refused code=12";

#[tokio::test]
async fn refusals_of_callers_are_logged_in_pods_whose_annotation_asks_for_info() {
    let pod = std::fs::read_to_string(project("istio/pod.yaml")).unwrap();
    let pod = rendered::documents(&pod).remove(0);
    let level = pod.pointer("/spec/template/metadata/annotations").unwrap()[ANNOTATION].clone();
    let shop = Shop::open_with(|plan| plan.annotation(ANNOTATION, level.as_str().unwrap())).await;
    let quiet = Plan::sidecar("quiet").label("app", "orders").annotation(ANNOTATION, ISTIOS_DEFAULT);
    let quiet = quiet.start(&shop.mesh).await;
    shop.guard(&policy()).await;
    guarded(&quiet).await;
    logged(&shop.orders, LINE).await;
    assert!(!quiet.log().contains(LINE), "{}", quiet.log());
}
