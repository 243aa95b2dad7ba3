//! Waypoints with Envoy's own build. Istio's build has extensions that record who talks to whom, for metrics
//! and logs. The parts of the configuration that name them are removed here. Everything else is as istiod and
//! the agent make it.

use serde_json::{Value, json};

use crate::NAMESPACE;

/// Changes Istio's template for Envoy's bootstrap so that it looks up no labels of peers. For waypoints there
/// is no setting for this.
pub fn bootstrap(template: &str) -> String {
    let condition = "if .metadata_discovery";
    assert!(template.contains(condition), "Istio's template has changed");
    template.replace(condition, "if false")
}

/// The objects for a waypoint of that name: its Gateway, and an EnvoyFilter that removes what Envoy's own
/// build lacks.
pub fn manifests(name: &str) -> [Value; 2] {
    let group = "gateway.networking.k8s.io";
    let gateway = json!({
        "apiVersion": format!("{group}/v1"),
        "kind": "Gateway",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "gatewayClassName": "istio-waypoint",
            "listeners": [{"name": "mesh", "port": 15008, "protocol": "HBONE"}],
        },
    });
    let remove = json!({"operation": "REMOVE"});
    let replace = json!({"operation": "REPLACE", "value": destination()});
    let filters = json!({
        "apiVersion": "networking.istio.io/v1alpha3",
        "kind": "EnvoyFilter",
        "metadata": {"name": format!("{name}-in-plain-envoy"), "namespace": NAMESPACE},
        "spec": {
            "targetRefs": [{"group": group, "kind": "Gateway", "name": name}],
            "configPatches": [
                patch("waypoint_downstream_peer_metadata", &remove),
                patch("waypoint_upstream_peer_metadata", &remove),
                patch(DESTINATION, &replace),
            ],
        },
    });
    [gateway, filters]
}

/// Istio's filter that records the destination of a tunnel and its peer.
const DESTINATION: &str = "connect_authority";

/// [`DESTINATION`] without the names of the peers, whose type only Istio's build has.
fn destination() -> Value {
    let note = |key: &str, value: &str| {
        json!({
            "object_key": format!("envoy.filters.listener.original_dst.{key}"),
            "format_string": {"text_format_source": {"inline_string": value}},
            "shared_with_upstream": "ONCE",
        })
    };
    json!({
        "name": DESTINATION,
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.set_filter_state.v3.Config",
            "on_request_headers": [
                note("local_ip", "%REQ(:AUTHORITY)%"),
                note("remote_ip", "%DOWNSTREAM_REMOTE_ADDRESS%"),
            ],
        },
    })
}

fn patch(filter: &str, patch: &Value) -> Value {
    let chain = json!({"filter": {
        "name": "envoy.filters.network.http_connection_manager",
        "subFilter": {"name": filter},
    }});
    json!({
        "applyTo": "HTTP_FILTER",
        "match": {"context": "SIDECAR_INBOUND", "listener": {"filterChain": chain}},
        "patch": patch,
    })
}
