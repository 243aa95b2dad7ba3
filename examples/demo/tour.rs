//! The script: requests, callers, and the expected answers.

use sidegate_harness::{
    Oidc, Request, Response, eventually,
    table::{Table, admitted, admitted_with, bare, bearer, key, refused},
};

use crate::parts::Parts;

const REPORT: &str = "GET /v1/reports/2026";
const ORDER: &str = "GET /v1/orders/17";
const ACME: &str = "acme-key";
const TRYOUT: &str = "tryout-key";

/// Walks the tour and prints its table. Returns the number of wrong answers.
pub async fn walk(parts: &Parts) -> u32 {
    let mut tour = Tour { parts, table: Table::begin(parts.address, "orders.example.com") };
    tour.keys().await;
    tour.paths().await;
    tour.quota().await;
    tour.tokens().await;
    tour.outages().await;
    tour.table.end()
}

struct Tour<'a> {
    parts: &'a Parts,
    table: Table,
}

impl Tour<'_> {
    async fn keys(&mut self) {
        self.table.say("API keys: who is calling, and may they?");
        self.table.ask("GET /v1/health", "nobody", bare, admitted(), "open to everybody").await;
        self.table.ask(REPORT, "nobody", bare, refused(403, "12"), "a key is required").await;

        let answer =
            self.table.ask(REPORT, "acme", key(ACME), admitted(), "known, bound, within quota").await;
        let acme_alone = |answer: &Response| answer.received("x-consumer").as_deref() == Some("acme");
        let hidden = answer.received("apikey").is_none();
        self.table.also(acme_alone(&answer) && hidden, "the service sees x-consumer: acme, and no key");
        let forged = |request| key(ACME)(request).header("x-consumer", "root");
        let answer = self.table.ask(REPORT, "acme, as root", forged, admitted(), "not believed").await;
        self.table.also(acme_alone(&answer), "the service sees x-consumer: acme");

        self.table.ask(REPORT, "a wrong key", key("guess"), refused(401, "13"), "unknown").await;
        self.table.ask(REPORT, "acme, old key", key("acme-old-key"), refused(401, "13"), "expired").await;
        self.table.ask(REPORT, "late-payer", key("late-payer-key"), refused(401, "13"), "suspended").await;
        self.table
            .ask(REPORT, "stranger", key("stranger-key"), refused(401, "13"), "not bound to this API")
            .await;
        self.table
            .ask("DELETE /v1/reports/2026", "acme", key(ACME), refused(401, "13"), "bound to GET here")
            .await;
        self.table
            .ask("DELETE /v1/orders/17", "acme", key(ACME), admitted(), "bound to every method there")
            .await;
        let two = |request| key(ACME)(key("guess")(request));
        self.table.ask(REPORT, "two keys at once", two, refused(400, "20"), "two keys are ambiguous").await;
    }

    async fn paths(&mut self) {
        self.table.say("Paths: the path that is decided on is forwarded");
        self.table.ask("GET /v2/reports", "acme", key(ACME), refused(404, "00"), "no such API").await;
        self.table.ask("POST /v1/health", "nobody", bare, refused(405, "26"), "no such method").await;
        self.table
            .ask("GET /v1/admin/users", "acme", key(ACME), refused(403, "27"), "the rule denies all access")
            .await;
        let around = "GET /v1/orders/../admin/users";
        self.table
            .ask(around, "acme", key(ACME), refused(403, "27"), "the same path, spelled differently")
            .await;
        self.table
            .ask("GET /v1//orders/./%31%37", "acme", key(ACME), admitted(), "the same as /v1/orders/17")
            .await;
        let escaped = "GET /v1/health%2F..%2Freports";
        self.table.ask(escaped, "nobody", bare, refused(400, "20"), "escaped slashes are refused").await;
    }

    async fn quota(&mut self) {
        self.table.say("Quota: the trial plan has three calls a month, to staging, and no writes");
        for left in [2, 1, 0] {
            let answer = self.table.ask(REPORT, "tryout", key(TRYOUT), admitted_with(left), "charged").await;
            let staged = answer.json().get("name").is_some_and(|name| name == "orders-staging");
            self.table.also(staged, "answered by staging");
        }
        let answer = self.table.ask(REPORT, "tryout", key(TRYOUT), refused(429, "14"), "used up").await;
        self.table.also(answer.header("retry-after").is_some(), "Retry-After says when to try again");
        let write = "POST /v1/reports/2026";
        self.table.ask(write, "tryout", key(TRYOUT), refused(403, "27"), "not on this plan").await;
    }

    async fn tokens(&mut self) {
        self.table.say("Access tokens: introspected by a real OAuth2 server");
        let oidc = &self.parts.oidc;
        let reader = oidc.token("acme-web", "orders.read", Some(Oidc::ORDERS)).await;
        let writer = oidc.token("acme-batch", "orders.write", Some(Oidc::ORDERS)).await;
        let elsewhere = oidc.token("acme-web", "orders.read", None).await;
        let unbound = oidc.token("passer-by", "orders.read", Some(Oidc::ORDERS)).await;

        self.table.ask(ORDER, "nobody", bare, refused(401, "21"), "a token or a key is required").await;
        let answer =
            self.table.ask(ORDER, "acme-web", bearer(&reader), admitted(), "active, ours, in scope").await;
        let client = answer.received("x-client");
        self.table.also(client.as_deref() == Some("acme-web"), "the service sees x-client: acme-web");
        self.table.ask(ORDER, "acme-web", bearer(&reader), admitted(), "again, from the cache").await;
        self.table.ask(ORDER, "acme-batch", bearer(&writer), refused(403, "23"), "lacks orders.read").await;
        self.table
            .ask(
                ORDER,
                "acme-web, for others",
                bearer(&elsewhere),
                refused(401, "22"),
                "for another audience",
            )
            .await;
        self.table
            .ask(ORDER, "passer-by", bearer(&unbound), refused(403, "27"), "not bound to this API")
            .await;
        self.table.ask(ORDER, "a made-up token", bearer("made-up"), refused(401, "22"), "unknown").await;

        oidc.revoke("acme-web", &reader).await;
        let refusal = eventually("the revoked token to be refused", async || {
            let answer = self.table.send(Request::get("/v1/orders/17").bearer(&reader)).await;
            (answer.status != 200).then_some(answer)
        });
        let answer = refusal.await;
        let shows = "once its cache entry is a second old";
        self.table.add(ORDER, "acme-web, revoked", &answer, refused(401, "22"), shows);
    }

    async fn outages(&mut self) {
        self.table.say("Outages: only requests that need the failed server are refused");
        let token = self.parts.oidc.token("acme-web", "orders.read", Some(Oidc::ORDERS)).await;
        self.parts.oidc.process().freeze();
        self.table
            .ask(ORDER, "acme-web", bearer(&token), refused(503, "24"), "the OAuth2 server hangs")
            .await;
        self.table.ask(ORDER, "acme", key(ACME), admitted(), "keys need no OAuth2 server").await;
        self.parts.oidc.process().thaw();
        self.table.ask(ORDER, "acme-web", bearer(&token), admitted(), "it is back").await;
    }
}
