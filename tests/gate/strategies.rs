//! The access strategies of Kyma's APIRules, alone and combined, with and without credentials: the table in
//! `docs/kyma.md`, for opaque tokens and for JWTs.

use serde_json::{Value, json};
use sidegate::gate::Ending;

use super::{
    gate,
    support::{Ask, NOW, answer, consumer, document, get},
};

const PAGE: &str = include_str!("../../docs/kyma.md");

/// Keys of an issuer, and its tokens, which are valid at [`NOW`].
fn fixtures() -> Value {
    serde_json::from_str(include_str!("../jwt/fixtures.json")).unwrap()
}

/// A policy with one rule that has these ways in.
fn policy(access: &Value) -> Value {
    let mut document = document(
        json!([consumer("acme")]),
        json!([{"name": "a", "rules": [{"path": "/**", "access": access}]}]),
    );
    let keys = fixtures()["keys"].to_string();
    document["providers"]["corp"] = json!({"jwks": {"issuer": "https://idp", "keys": keys}});
    document
}

/// What happens to a request: in the words of the page.
fn outcome(access: &Value, ask: &Ask) -> String {
    let ending = gate(&policy(access)).decide(ask.request(7), NOW, |call| {
        let sidegate::provider::Transport::Http(request) = &call.transport else { panic!("not HTTP") };
        let is_valid = String::from_utf8_lossy(&request.body).contains("token=valid&");
        answer(&json!({"active": is_valid, "client_id": "acme-web"}))
    });
    match ending {
        Ending::Permit(permit) => match permit.trail().consumer() {
            Some(_) => "passes, identified".to_owned(),
            None => "passes".to_owned(),
        },
        Ending::Refused(refused) => {
            format!("{}, {}", refused.reply().status, refused.refusal().cause.code().digits())
        }
        Ending::Answer(_) => "answer".to_owned(),
    }
}

/// The rows of the table: the ways in as written there, and the outcomes without credential, with a valid and
/// with an invalid token.
fn rows() -> Vec<(&'static str, [&'static str; 3])> {
    let rows = PAGE.lines().filter_map(|line| {
        let cells: Vec<_> = line.strip_prefix("| `[")?.split(" | ").collect();
        let [access, none, valid, invalid] = cells[..] else { panic!("{line}") };
        Some((access.strip_suffix("]`")?, [none, valid, invalid.trim_end_matches(" |")]))
    });
    rows.collect()
}

#[test]
fn strategies_of_apirules_decide_as_the_page_about_kyma_says() {
    let rows = rows();
    assert!(rows.len() >= 7, "{rows:?}");
    let jwt = fixtures()["valid"]["ES256"].as_str().unwrap().to_owned();
    for (written, expected) in rows {
        for (handler, provider, valid) in [("introspection", "hydra", "valid"), ("jwt", "corp", &jwt)] {
            let way = format!("{handler}: {{provider: {provider}}}");
            let text = format!("[{}]", written.replace("introspection: {..}", &way));
            let access: Value = serde_norway::from_str(&text).unwrap();
            let asks = [get("/x"), get("/x").token(valid), get("/x").token("a.b.c")];
            for (ask, expected) in asks.iter().zip(expected) {
                let outcome = outcome(&access, ask);
                // The page says what is read only where that is not obvious.
                let is_right = match expected {
                    "passes" => outcome.starts_with("passes"),
                    "passes, unread" => outcome == "passes",
                    _ => outcome == expected,
                };
                assert!(is_right, "{text} {ask:?}: {outcome}, not {expected}");
            }
        }
    }
}

#[test]
fn keys_and_tokens_do_not_make_up_for_each_other() {
    let (key, wrong) = (get("/x").key("key-of-acme"), get("/x").key("guess"));
    for (access, ask, expected) in [
        ("[introspection: {provider: hydra}, api_key]", key.clone(), "passes, identified"),
        ("[introspection: {provider: hydra}, api_key]", wrong.clone(), "401, 13"),
        ("[introspection: {provider: hydra}, api_key]", key.clone().token("made-up"), "401, 22"),
        ("[introspection: {provider: hydra}, api_key, allow]", key.clone(), "passes, identified"),
        ("[introspection: {provider: hydra}, api_key, allow]", wrong.clone(), "401, 13"),
        ("[introspection: {provider: hydra}, api_key, deny]", get("/x"), "403, 27"),
        ("[api_key, allow]", get("/x"), "passes"),
        ("[api_key, allow]", wrong.clone(), "401, 13"),
        ("[api_key, allow]", get("/x").token("made-up"), "passes"),
        ("[api_key, introspection: {provider: hydra}]", wrong.token("valid"), "401, 13"),
        ("[application, allow]", get("/x?app_id=nobody"), "401, 13"),
        ("[application, allow]", get("/x"), "passes"),
        ("[application, deny]", get("/x"), "403, 27"),
        ("[api_key]", get("/x"), "403, 12"),
        ("[deny]", key, "403, 27"),
    ] {
        let ways: Value = serde_norway::from_str(access).unwrap();
        assert_eq!(outcome(&ways, &ask), expected, "{access} {ask:?}");
    }
}
