//! Policies that are replaced by `kubectl apply` while requests come in.

use sidegate_harness::Callers;

use super::*;

const CALLERS: usize = 8;

/// The policy with a limit of `max` requests a month, under another revision.
fn limited(revision: &str, max: u64) -> Value {
    let mut policy = revised(revision);
    policy["consumers"].as_array_mut().unwrap().push(json!({
        "name": "tryout",
        "keys": [{"id": "only", "sha256": "fc4aa389adc0f181f5b67a8126db2909354ab2dcc9486fb658f8050e72e8e14d"}],
        "plan": "trial",
    }));
    policy["plans"] = json!({"trial": {"limits": [{"metric": "hits", "max": max, "per": "month"}]}});
    policy
}

async fn left(shop: &Shop) -> Option<u64> {
    let answer = ask(&shop.orders, order().header("apikey", "tryout-key")).await;
    answer.remaining()
}

#[tokio::test]
async fn a_policy_is_replaced_under_load_without_a_lost_request_and_keeps_its_counters() {
    let shop = Shop::open().await;
    shop.guard(&limited("0", 100)).await;
    for remaining in [99, 98, 97] {
        assert_eq!(left(&shop).await, Some(remaining));
    }

    let address = shop.orders.address(APPLICATION);
    let callers = Callers::start(CALLERS, address, &order().header("apikey", KEY));
    for number in 1..=5 {
        let next = number.to_string();
        shop.apply(&limited(&next, 100), &["--as", "wasmplugin", "--image", &shop.image()]);
        in_force(&shop.orders, &next).await;
    }
    let tally = callers.stop().await;
    assert!(tally.is_only(200), "{tally:?}");
    assert_eq!(left(&shop).await, Some(96), "charged by the policies before");
}

#[tokio::test]
async fn an_invalid_policy_leaves_the_last_good_one_and_is_named_in_the_log() {
    let shop = Shop::open().await;
    shop.guard(&limited("good", 100)).await;
    let right = render(&limited("good", 100), &["--as", "wasmplugin", "--image", &shop.image()]);
    let mut wrong: Value = serde_norway::from_str(&right).unwrap();
    wrong["spec"]["pluginConfig"]["apis"][0]["rules"][1]["acces"] = json!(["deny"]);
    wrong["spec"]["pluginConfig"]["revision"] = json!("wrong");

    let address = shop.orders.address(APPLICATION);
    let callers = Callers::start(CALLERS, address, &order().header("apikey", KEY));
    shop.mesh.kubernetes().apply(&wrong);
    logged(&shop.orders, "apis[0] (orders).rules[1].acces: unknown field `acces`").await;
    logged(&shop.orders, "the policy is rejected:").await;
    assert_eq!(revision(&shop.orders).await.as_deref(), Some("good"));

    // The next policy is accepted.
    shop.apply(&limited("better", 100), &["--as", "wasmplugin", "--image", &shop.image()]);
    in_force(&shop.orders, "better").await;
    let tally = callers.stop().await;
    assert!(tally.is_only(200), "{tally:?}");
}
