//! The traps of 3scale's protocol and of earlier filters for it, each with the answer that avoids it and a
//! proof.

use serde_json::json;
use sidegate::{
    policy::Policy,
    ports::Role,
    provider::{CallFailure, Sharing},
    store::Store,
};

use super::{
    begin, gate, permit, refused, sees,
    service_management::{
        APPLICATION, KEY, Reporter, accepted, at, authorized, error, hits, path, policy, rejected, with,
    },
    support::{NOW, answer, consumer, document, environment, get},
    through, trail, verdict, waiting,
};

/// A trap, the answer, and its proof.
type Trap = (&'static str, &'static str, fn());

const TRAPS: &[Trap] = &[
    ("a what a decision is cached for", "service, all credentials, usage and referrer", whole_question),
    ("b decisions without an end", "a finite `ttl`", finite),
    (
        "c a 5xx that becomes a decision",
        "never; 4xx about the application are; a wrong token of ours is a fault",
        only_decisions,
    ),
    ("d a denial beyond its period", "kept until the reset at most", denial_ends),
    ("e a limit of 0, a reset of -1", "403, and no `Retry-After`", never_and_no_time),
    ("f several periods of one metric", "all hold, and no decision outlives the first that ends", periods),
    ("g denied requests that count", "no; admitted ones count once, whatever the API answers", counted_once),
    ("h reports that fail", "stay outstanding; an Envoy that dies loses a period", nothing_lost),
    ("i a key that is not compared on a hit", "it is part of what is looked up, as a digest", key_compared),
    ("j tokens and applications", "`client_id`, explicitly; inactive is 401 with code 22", clients),
    ("k headers that callers forge, secrets in logs", "removed; not in the trail", forged),
    ("l `last`, prefixes, `$`, slashes, dots", "as 3scale has them", patterns),
    ("m the referrer `*`", "is not sent, and is no wildcard here", star),
    ("n concurrent misses", "share a call", shared_call),
    ("o a host twice", "does not load", host_twice),
];

#[test]
fn every_trap_is_avoided() {
    let letters: String = TRAPS.iter().filter_map(|(trap, _, _)| trap.chars().next()).collect();
    assert_eq!(letters, "abcdefghijklmno");
    for (_, answer, proof) in TRAPS {
        assert!(!answer.is_empty());
        proof();
    }
}

fn whole_question() {
    let gate = gate(&policy());
    through(&gate, &at(0, APPLICATION), &authorized(""));
    assert_eq!(verdict(&begin(&gate, &at(1, APPLICATION))), "ok");
    for other in [
        at(1, "/words/a?app_id=4f2e&app_key=other"),
        at(1, "/words/a?app_id=4f2e"),
        at(1, "/words/new?app_id=4f2e&app_key=s3cret"),
        at(1, APPLICATION).with("referer", "acme.com"),
    ] {
        assert_eq!(verdict(&begin(&gate, &other)), "call", "{other:?}");
    }
}

fn finite() {
    let gate = gate(&policy());
    through(&gate, &at(0, KEY), &authorized(""));
    assert_eq!([9, 10].map(|second| verdict(&begin(&gate, &at(second, KEY)))), ["ok", "call"]);
}

fn only_decisions() {
    for (result, again) in [
        (super::support::http(500, &[], ""), "call"),
        (super::support::http(499, &[], ""), "call"),
        (error(403, "service_token_invalid"), "call"),
        (error(400, "bad_request"), "20"),
        (error(403, "user_key_invalid"), "13"),
        (error(404, "application_not_found"), "13"),
        (rejected("application_key_invalid", "-1"), "13"),
        (error(422, "not_valid_data"), "20"),
    ] {
        let gate = gate(&with(&[("caching", json!("allow")), ("cooldown", json!("0s"))]));
        through(&gate, &at(0, KEY), &result);
        assert_eq!(verdict(&begin(&gate, &at(1, KEY))), again, "{result:?}");
    }
}

fn denial_ends() {
    let gate = gate(&policy());
    through(&gate, &at(0, KEY), &rejected("limits_exceeded", "3"));
    assert_eq!([2, 3].map(|second| verdict(&begin(&gate, &at(second, KEY)))), ["14", "call"]);
}

fn never_and_no_time() {
    let limit = |max, reset| {
        let headers = [
            ("3scale-rejection-reason", "limits_exceeded"),
            ("3scale-limit-max-value", max),
            ("3scale-limit-reset", reset),
        ];
        let refused =
            refused(through(&gate(&policy()), &at(0, KEY), &super::support::http(409, &headers, "")));
        (refused.reply().status, refused.reply().headers.get("retry-after").map(str::to_owned))
    };
    assert_eq!(limit("0", "58"), (403, None));
    assert_eq!(limit("3", "-1"), (429, None));
    assert_eq!(limit("3", "58"), (429, Some("58".to_owned())));
}

fn periods() {
    let eternity = "<usage_report metric=\"hits\" period=\"eternity\"><max_value>2</max_value>\
        <current_value>0</current_value></usage_report>";
    let gate = gate(&with(&[("ttl", json!("1h"))]));
    through(&gate, &at(0, KEY), &authorized(&format!("{}{eternity}", hits(9, 0))));
    assert_eq!([1, 1].map(|second| verdict(&begin(&gate, &at(second, KEY)))), ["ok", "14"], "the lower one");
    assert_eq!(verdict(&begin(&gate, &at(60, KEY))), "call", "the minute is over");
}

fn counted_once() {
    let gate = gate(&policy());
    through(&gate, &at(0, KEY), &authorized(&hits(1, 0)));
    assert_eq!(verdict(&begin(&gate, &at(1, KEY))), "14");
    through(&gate, &at(1, "/words/a?user_key=bad"), &error(403, "user_key_invalid"));
    let mut reporter = Reporter::start(&gate, 0);
    assert_eq!(reporter.turn(&gate, 10, &accepted()), ["[0][user_key]=k3y&[0][usage][hits]=1"]);
    assert_eq!(reporter.turn(&gate, 20, &accepted()), Vec::<String>::new());
}

fn nothing_lost() {
    let gate = gate(&policy());
    through(&gate, &at(0, KEY), &authorized(""));
    let mut reporter = Reporter::start(&gate, 0);
    let first = reporter.turn(&gate, 10, &Err(CallFailure::TimedOut));
    assert_eq!(first, reporter.turn(&gate, 20, &accepted()));
}

fn key_compared() {
    let gate = gate(&policy());
    through(&gate, &at(0, APPLICATION), &authorized(""));
    let guess = at(1, "/words/a?app_id=4f2e&app_key=guess");
    assert_eq!(verdict(&through(&gate, &guess, &rejected("application_key_invalid", "-1"))), "13");
    let store = gate.ports().store();
    let tables = ["authorized", "rejected", "applications"];
    let slots =
        tables.iter().flat_map(|table| (0..4_096).map(move |slot| format!("sidegate/{table}/{slot}")));
    let mut found = 0;
    for key in slots {
        let bytes = store.store().get(&key).0.unwrap_or_default();
        found += usize::from(!bytes.is_empty());
        assert!(!bytes.windows(6).any(|window| window == b"s3cret"), "{key} has the key");
    }
    assert!(found > 0);
}

fn clients() {
    let gate = gate(&policy());
    let inactive = answer(&json!({"active": false}));
    assert_eq!(verdict(&through(&gate, &at(0, "/token").token("old"), &inactive)), "22");
    let nameless = answer(&json!({"active": true, "sub": "somebody"}));
    assert_eq!(verdict(&through(&gate, &at(0, "/token").token("t"), &nameless)), "27", "names no client");
    let named = answer(&json!({"active": true, "client_id": "acme-web"}));
    let asked = waiting(waiting(begin(&gate, &at(0, "/token").token("u"))).answer(named, NOW));
    assert!(path(asked.call().unwrap()).contains("app_id=acme-web"));
}

fn forged() {
    let gate = gate(&policy());
    let ask = at(0, KEY).with("x-environment", "production").with("x-client", "root");
    let step = through(&gate, &ask, &authorized(""));
    assert!(!format!("{:?}", trail(&step)).contains("k3y"));
    let permit = permit(step);
    assert_eq!(sees(&ask, &permit, "x-environment").as_deref(), Some("sandbox"));
    assert_eq!(sees(&ask, &permit, "x-client"), None);
    assert_eq!(sees(&ask, &permit, ":path").as_deref(), Some("/words/a"), "the key is removed");
}

fn patterns() {
    let used = |rules: serde_json::Value, target: &str| {
        let mut document = policy();
        document["apis"][0]["metering"] = rules;
        document["apis"][0]["credentials"]["api_key"] = json!([{"header": "x-user-key"}]);
        document["apis"][0]["rules"] =
            json!([{"path": "/**", "access": [{"threescale": {"provider": "su1"}}]}]);
        let waiting = waiting(begin(&gate(&document), &at(0, target).with("x-user-key", "k")));
        let asked = path(waiting.call().unwrap()).to_owned();
        asked.rsplit_once("%5D=").map_or(0, |(_, used)| used.parse::<u32>().unwrap())
    };
    let rule = |path: &str| json!({"path": path, "match": "prefix", "metric": "hits"});
    for (pattern, target, expected) in [
        ("/", "/anything", 1),
        ("/auto", "/auto-matic", 1),
        ("/auto$", "/auto", 1),
        ("/auto$", "/auto/", 0),
        ("/auto$", "/automatic", 0),
        ("/a//b", "/a/b", 1),
        ("/a/b", "/a//b", 1),
        ("/a.json", "/a.json", 1),
        ("/a.json", "/axjson", 0),
        ("/{x}/b", "/a/b", 1),
        ("/{x}/b", "//b", 0),
    ] {
        assert_eq!(used(json!([rule(pattern)]), target), expected, "{pattern} {target}");
    }
    let last = json!({"path": "/other", "match": "prefix", "metric": "hits", "last": true});
    assert_eq!(used(json!([last, rule("/a")]), "/a"), 1, "`last` did not match");
    let last = json!({"path": "/a", "match": "prefix", "metric": "hits", "last": true});
    assert_eq!(used(json!([last, rule("/a")]), "/a"), 1, "`last` stops");
    let methods = json!([{"path": "/", "match": "prefix", "metric": "hits", "methods": ["POST"]}]);
    assert_eq!(used(methods, "/a"), 0, "the method is another");
    let repeated = json!([{"path": "/", "match": "prefix", "metric": "hits", "query": {"q": "2"}}]);
    assert_eq!([used(repeated.clone(), "/a?q=1&q=2"), used(repeated, "/a?q=2&q=1")], [1, 0]);
}

fn star() {
    let waiting = waiting(begin(&gate(&policy()), &at(0, KEY).with("referer", "*")));
    assert!(!path(waiting.call().unwrap()).contains("referrer"));
    let mut acme = consumer("acme");
    acme["referrers"] = json!(["*.acme.com"]);
    let api = json!({"name": "a", "access": ["api_key"], "rules": [{"path": "/**"}]});
    let gate = gate(&document(json!([acme]), json!([api])));
    assert_eq!(verdict(&begin(&gate, &get("/a").key("key-of-acme").with("referer", "*"))), "27");
}

fn shared_call() {
    let gate = gate(&policy());
    let [first, second] = [0, 0].map(|second| waiting(begin(&gate, &at(second, KEY))));
    let sharing = first.call().unwrap().sharing;
    assert!(matches!(sharing, Sharing::Joined(_)) && sharing == second.call().unwrap().sharing);
    let result = std::rc::Rc::new(authorized(""));
    let ended = [first.answer_as(Role::Leader, &result, NOW), second.answer_as(Role::Follower, &result, NOW)];
    assert_eq!(ended.iter().map(|step| trail(step).calls.len()).collect::<Vec<_>>(), [1, 0]);
}

fn host_twice() {
    let mut document = policy();
    let mut again = document["apis"][0].clone();
    again["name"] = json!("again");
    document["apis"].as_array_mut().unwrap().push(again);
    assert!(Policy::load(document.to_string().as_bytes(), &environment).is_err());
}
