//! The script: what is asked, as whom, and what the answer must be.

use std::error::Error;

use serde_json::{Value, json};
use sidegate_harness::table::{Expected, Table, admitted, admitted_with, refused};
use sidegate_harness::{Callers, Oidc, Request, Response, eventually, send};

use crate::parts::Parts;

const HOST: &str = "orders.example.com";
const REPORT: &str = "GET /v1/reports/2026";
const ORDER: &str = "GET /v1/orders/17";
const NEWS: &str = "GET /v1/news";
/// Connections that keep asking while the policy changes.
const CALLERS: usize = 8;

/// Walks the tour and prints its table. Answers how many lines were not as they should be.
pub async fn walk(parts: &Parts) -> Result<u32, Box<dyn Error>> {
    let policy = parts.policy()?;
    parts.apply(&policy)?;
    let guarded = async || (send_to(parts, bare(get(REPORT))).await.code() == Some("12")).then_some(());
    eventually("Sidegate in the pod", guarded).await;
    println!();

    let mut tour = Tour { parts, table: Table::begin() };
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
        self.ask("GET /v1/health", "nobody", bare, admitted(), "open to everybody").await;
        self.ask(REPORT, "nobody", bare, refused(403, "12"), "a key is due").await;
        let answer =
            self.ask(REPORT, "acme", key("acme-key"), admitted(), "known, bound, within quota").await;
        let named = answer.received("x-consumer").as_deref() == Some("acme");
        let hidden = answer.received("apikey").is_none();
        self.table.also(named && hidden, "the service sees x-consumer: acme, and no key");
        self.ask(REPORT, "a wrong key", key("guess"), refused(401, "13"), "unknown").await;
    }

    async fn tokens(&mut self) {
        self.table.say("Access tokens: introspected over TLS, in the cluster that a ServiceEntry makes");
        let oidc = &self.parts.oidc;
        let reader = oidc.token("acme-web", "orders.read", Some(Oidc::ORDERS)).await;
        let writer = oidc.token("acme-batch", "orders.write", Some(Oidc::ORDERS)).await;
        self.ask(ORDER, "nobody", bare, refused(401, "21"), "a token or a key is due").await;
        self.ask(ORDER, "acme-web", bearer(&reader), admitted(), "active, ours, in scope").await;
        self.ask(ORDER, "acme-batch", bearer(&writer), refused(403, "23"), "lacks orders.read").await;
        self.ask(ORDER, "a made-up token", bearer("made-up"), refused(401, "22"), "unknown").await;
    }

    async fn quota(&mut self) {
        self.table.say("Quota: three a month on the trial plan");
        for left in [2, 1, 0] {
            self.ask(REPORT, "tryout", key("tryout-key"), admitted_with(left), "charged").await;
        }
        self.ask(REPORT, "tryout", key("tryout-key"), refused(429, "14"), "used up").await;
    }

    async fn new_policy(&mut self, mut policy: Value) -> Result<(), Box<dyn Error>> {
        self.table.say("kubectl apply of a new policy, while eight callers keep asking");
        self.ask(NEWS, "nobody", bare, refused(404, "00"), "no such rule").await;
        let callers =
            Callers::start(CALLERS, self.parts.orders.address(8080), &key("acme-key")(get(ORDER)).host(HOST));
        let rules = policy.pointer_mut("/apis/0/rules").and_then(Value::as_array_mut).ok_or("no rules")?;
        rules.push(json!({"path": "/news", "access": ["allow"]}));
        self.parts.apply(&policy)?;
        let parts = self.parts;
        let served = async || (send_to(parts, bare(get(NEWS))).await.status == 200).then_some(());
        eventually("the new policy", served).await;
        let tally = callers.stop().await;
        self.ask(NEWS, "nobody", bare, admitted(), "the new policy is in force").await;
        let asked: usize = tally.answered.values().sum();
        self.table.also(
            tally.is_only(200),
            &format!("all {asked} requests meanwhile were admitted, none was lost"),
        );
        self.ask(REPORT, "tryout", key("tryout-key"), refused(429, "14"), "counters are kept").await;
        Ok(())
    }

    async fn wrong_policy(&mut self, right: Value) -> Result<(), Box<dyn Error>> {
        self.table.say("kubectl apply of a policy that is wrong, past `sidegate render`");
        let mut wrong = right;
        *wrong.pointer_mut("/apis/0/access").ok_or("no access")? = json!(["api_kee"]);
        self.parts.apply_unchecked(&wrong)?;
        let told = async || self.parts.orders.log().contains("apis[0].access[0]").then_some(());
        eventually("the agent's log to name the attribute", told).await;
        self.table.also(true, "the log names apis[0].access[0]");
        self.ask(NEWS, "nobody", bare, admitted(), "the last good policy serves on").await;
        Ok(())
    }

    async fn ask(
        &mut self,
        asked: &str,
        whom: &str,
        dress: impl FnOnce(Request) -> Request,
        expected: Expected,
        shows: &str,
    ) -> Response {
        let answer = send_to(self.parts, dress(get(asked))).await;
        self.table.add(asked, whom, &answer, expected, shows);
        answer
    }
}

async fn send_to(parts: &Parts, request: Request) -> Response {
    match send(parts.orders.address(8080), &request.host(HOST)).await {
        Ok(answer) => answer,
        Err(_) => Response { status: 0, headers: Vec::new(), body: Vec::new() },
    }
}

fn get(asked: &str) -> Request {
    let (method, path) = asked.split_once(' ').unwrap_or(("GET", asked));
    Request::new(method, path)
}

fn bare(request: Request) -> Request {
    request
}

fn key(key: &str) -> impl Fn(Request) -> Request {
    move |request| request.header("apikey", key)
}

fn bearer(token: &str) -> impl Fn(Request) -> Request {
    move |request| request.bearer(token)
}
