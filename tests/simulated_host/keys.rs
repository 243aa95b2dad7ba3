//! The life of API keys: what operators see of their use, and that callers see nothing.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    Script, Shared, start,
    support::{Ask, NOW, consumer, document, get, sha256},
};

/// One key in each state, of a consumer that shows the use of its keys.
fn policy() -> Value {
    let key = |id: &str| json!({"id": id, "sha256": sha256(id)});
    let mut keys = ["good", "off", "old", "new", "last"].map(key);
    keys[1]["state"] = json!("inactive");
    keys[2]["not_after"] = json!("2026-01-01T00:00:00Z");
    keys[3]["not_before"] = json!("2026-11-20T13:00:00Z");
    let acme = json!({"name": "acme", "keys": keys, "key_metrics": true});
    let api = json!({"name": "a", "access": ["api_key"], "rules": [{"path": "/**"}]});
    let mut document = document(json!([acme, consumer("globex")]), json!([api]));
    document["gate"]["filter_state"] = json!({"only": ["key"]});
    document
}

fn with(key: &str) -> Ask {
    get("/x").key(key).with("x-request-id", "id-1")
}

#[test]
fn a_refused_key_names_its_consumer_and_its_id_in_the_log_alone() {
    let script = Script::new();
    let thread = start(&script, Shared::default(), &policy());
    script.logs.take();
    for (key, reason) in [
        ("off", "the API key is inactive"),
        ("old", "the API key has expired"),
        ("new", "the API key is not valid yet"),
    ] {
        let (stream, outcome) = thread.request(with(key));
        assert_eq!(outcome, "13");
        let line =
            format!("refused code=13 api=a rule=/** consumer=acme key={key} id=id-1 reason=\"{reason}\"");
        assert_eq!(script.logs.take(), [(log::Level::Info, line)]);
        assert_eq!(script.state.borrow()[&(stream, "sidegate.key".to_owned())], key);
        let reply = format!("{:?}", script.ends.borrow()[&stream]);
        assert!(!reply.contains("acme") && !reply.contains(key), "{reply}");
    }
    script.now.set(NOW.saturating_add(Duration::from_secs(3600)));
    assert_eq!(thread.request(with("new")).1, "ok");
}

#[test]
fn metrics_show_how_often_and_when_each_key_was_used() {
    let script = Script::new();
    let thread = start(&script, Shared::default(), &policy());
    let uses = |key: &str, outcome: &str| {
        let name = format!("sidegate.consumer=.=acme;.;key=.={key};.;outcome=.={outcome};.;key_uses");
        script.metric(&name)
    };
    let last = |key: &str| script.metric(&format!("sidegate.consumer=.=acme;.;key=.={key};.;key_last_used"));
    for key in ["good", "good", "old", "guess", "key-of-globex"] {
        thread.request(with(key));
    }
    let noon = NOW.seconds();
    assert_eq!([uses("good", "admitted"), uses("old", "refused"), uses("last", "admitted")], [2, 1, 0]);
    assert_eq!([last("good"), last("old")], [noon, 0], "a key that is refused is not in use");
    for (minutes, expected) in [(59, noon), (61, noon + 3600), (150, noon + 7200)] {
        script.now.set(NOW.saturating_add(Duration::from_secs(minutes * 60)));
        thread.request(with("good"));
        assert_eq!(last("good"), expected, "{minutes}");
    }
    let names = script.metrics.borrow();
    assert!(names.keys().all(|name| !name.contains("globex")), "{names:?}");
}
