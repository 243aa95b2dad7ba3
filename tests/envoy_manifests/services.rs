//! The configuration of rate limit services, in the service that it is for.

use serde_json::json;
use sidegate_harness::{
    RateLimit, Redis,
    rls::{Descriptor, Limit, OK, RateLimitRequest, Unit},
};

use crate::rendered::render;

#[tokio::test]
async fn the_rate_limit_service_counts_with_what_is_rendered_for_it() {
    let domain = "shop: \"a\"";
    let policy = json!({
        "sidegate": "v1",
        "providers": {"shared": {"rate_limit_service": {"cluster": "ratelimit", "domain": domain, "lease": "none"}}},
        "apis": [{"name": "all", "access": ["allow"], "rules": [{"path": "/**"}]}],
    });
    let redis = Redis::start().await;
    let rendered = render(&policy, &["--as", "ratelimit"]);
    let service = RateLimit::start_with(redis.address(), &rendered, &[]).await;
    let descriptors = vec![Descriptor::new(&[("payer", "a")], Some(Limit::new(7, Unit::Year)))];
    let request = RateLimitRequest { domain: domain.into(), descriptors, hits_addend: 0 };
    let answer = service.ask(request).await.unwrap();
    assert_eq!((answer.overall_code, answer.statuses[0].limit_remaining), (OK, 6), "it knows the domain");
}
