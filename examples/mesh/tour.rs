//! The script: requests, callers, and the expected answers.

use std::error::Error;

use serde_json::{Value, json};
use sidegate_harness::{
    Callers, Oidc, Request, eventually,
    table::{Table, admitted, admitted_with, bare, bearer, key, refused},
};

use crate::parts::Parts;

const PORT: u16 = 8080;
const HOST: &str = "orders.example.com";
const REPORT: &str = "GET /v1/reports/2026";
const ORDER: &str = "GET /v1/orders/17";
const NEWS: &str = "GET /v1/news";
/// Connections that keep sending requests while the policy changes.
const CALLERS: usize = 8;

/// Walks the tour and prints its table. Returns the number of wrong answers.
pub async fn walk(parts: &Parts) -> Result<u32, Box<dyn Error>> {
    let policy = parts.policy()?;
    parts.apply(&policy)?;
    let report = Request::get("/v1/reports/2026").host(HOST);
    let guarded = async || parts.orders.send(PORT, report.clone()).await.code() == Some("12");
    eventually("Sidegate in the pod", async || guarded().await.then_some(())).await;
    println!();

    let mut tour = Tour { parts, table: Table::begin(parts.orders.address(PORT), HOST) };
    tour.keys().await;
    tour.tokens().await;
    tour.quota().await;
    tour.new_policy(policy.clone()).await?;
    tour.wrong_policy(policy).await?;
    Ok(tour.table.end())
}

struct Tour<'a> {
    parts: &'a Parts,
    table: Table,
}

impl Tour<'_> {
    async fn keys(&mut self) {
        self.table.say("API keys, through the port that iptables redirects to Envoy");
        self.table.ask("GET /v1/health", "nobody", bare, admitted(), "open to everybody").await;
        self.table.ask(REPORT, "nobody", bare, refused(403, "12"), "a key is required").await;
        let answer =
            self.table.ask(REPORT, "acme", key("acme-key"), admitted(), "known, bound, within quota").await;
        let named = answer.received("x-consumer").as_deref() == Some("acme");
        let hidden = answer.received("apikey").is_none();
        self.table.also(named && hidden, "the service sees x-consumer: acme, and no key");
        self.table.ask(REPORT, "a wrong key", key("guess"), refused(401, "13"), "unknown").await;
    }

    async fn tokens(&mut self) {
        self.table.say("Access tokens: introspected over TLS, in the cluster that a ServiceEntry makes");
        let oidc = &self.parts.oidc;
        let reader = oidc.token("acme-web", "orders.read", Some(Oidc::ORDERS)).await;
        let writer = oidc.token("acme-batch", "orders.write", Some(Oidc::ORDERS)).await;
        self.table.ask(ORDER, "nobody", bare, refused(401, "21"), "a token or a key is required").await;
        self.table.ask(ORDER, "acme-web", bearer(&reader), admitted(), "active, ours, in scope").await;
        self.table.ask(ORDER, "acme-batch", bearer(&writer), refused(403, "23"), "lacks orders.read").await;
        self.table.ask(ORDER, "a made-up token", bearer("made-up"), refused(401, "22"), "unknown").await;
    }

    async fn quota(&mut self) {
        self.table.say("Quota: three a month on the trial plan");
        for left in [2, 1, 0] {
            self.table.ask(REPORT, "tryout", key("tryout-key"), admitted_with(left), "charged").await;
        }
        self.table.ask(REPORT, "tryout", key("tryout-key"), refused(429, "14"), "used up").await;
    }

    async fn new_policy(&mut self, mut policy: Value) -> Result<(), Box<dyn Error>> {
        self.table.say("kubectl apply of a new policy, while eight callers keep sending requests");
        self.table.ask(NEWS, "nobody", bare, refused(404, "00"), "no such rule").await;
        let order = key("acme-key")(Request::get("/v1/orders/17")).host(HOST);
        let callers = Callers::start(CALLERS, self.parts.orders.address(PORT), &order);
        let rules = policy.pointer_mut("/apis/0/rules").and_then(Value::as_array_mut).ok_or("no rules")?;
        rules.push(json!({"path": "/news", "access": ["allow"]}));
        self.parts.apply(&policy)?;
        let served = async || self.table.send(Request::get("/v1/news")).await.status == 200;
        eventually("the new policy", async || served().await.then_some(())).await;
        let tally = callers.stop().await;
        self.table.ask(NEWS, "nobody", bare, admitted(), "the new policy is in force").await;
        let asked: usize = tally.answered.values().sum();
        self.table.also(
            tally.is_only(200),
            &format!("all {asked} requests meanwhile were admitted, none was lost"),
        );
        self.table.ask(REPORT, "tryout", key("tryout-key"), refused(429, "14"), "counters are kept").await;
        Ok(())
    }

    async fn wrong_policy(&mut self, right: Value) -> Result<(), Box<dyn Error>> {
        self.table.say("kubectl apply of an invalid policy, without `sidegate render`");
        let mut wrong = right;
        *wrong.pointer_mut("/apis/0/access").ok_or("no access")? = json!(["api_kee"]);
        self.parts.apply_unchecked(&wrong)?;
        let logged = async || self.parts.orders.log().contains("apis[0] (orders).access[0]").then_some(());
        eventually("the agent's log to name apis[0] (orders).access[0]", logged).await;
        self.table.say("the pod's log names apis[0] (orders).access[0]");
        self.table.ask(NEWS, "nobody", bare, admitted(), "the last good policy stays in force").await;
        Ok(())
    }
}
