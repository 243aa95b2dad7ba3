//! Valid, invalid and unusual replies, and how each is read.

#[cfg(all(target_family = "wasm", target_os = "unknown"))]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::identity::{Audiences, Confirmation, Identity, KeptClaims};
use crate::{
    headers::HeaderList,
    provider::{CallFailure, HttpResponse},
};

fn answered(status: u16, content_type: Option<&str>, body: &[u8]) -> CallResult {
    let mut headers = HeaderList::from([("retry-after", "7")]);
    if let Some(content_type) = content_type {
        headers.push("content-type", content_type.to_owned());
    }
    let (body, trailers) = (Body::Whole(body.to_owned()), HeaderList::new());
    Ok(Response::Http(HttpResponse { status, headers, body, trailers }))
}

fn read_json(json: &str) -> Result<Vouched<'static>, ProviderFault> {
    introspected(&answered(200, Some("application/json"), json.as_bytes()))
}

fn introspected(result: &CallResult) -> Result<Vouched<'static>, ProviderFault> {
    match read(result, &AskedClaims::default())? {
        Read::Vouched(introspected) => Ok(introspected),
        Read::Unreadable => panic!("the token is unreadable"),
    }
}

#[track_caller]
fn claims(json: &str) -> Identity<'static> {
    match read_json(json) {
        Ok(Vouched::Active(claims)) => claims,
        other => panic!("{json}: {other:?}"),
    }
}

#[test]
fn a_full_reply_is_read() {
    let claims = claims(
        r#" {"active":true,"sub":"alice","client_id":"web","azp":"other","username":"Alice","iss":"https://idp",
             "token_type":"Bearer","token_use":"access_token","typ":"Bearer","scope":"a b","aud":["x","y"],
             "exp":1700000000,"nbf":1699999999.5,"iat":1699999999,"ext":{"a":[1]},"jti":7}"#,
    );
    let expected = Identity {
        exp: Some(Timestamp::from_seconds(1_700_000_000)),
        nbf: Some(Timestamp::from_millis(1_699_999_999_500)),
        iat: Some(Timestamp::from_seconds(1_699_999_999)),
        sub: Some("alice".into()),
        client_id: Some("web".into()),
        username: Some("Alice".into()),
        iss: Some("https://idp".into()),
        token_type: Some("Bearer".into()),
        token_use: Some("access_token".into()),
        typ: Some("Bearer".into()),
        scope: "a b".into(),
        audiences: Audiences::new(&["x".to_owned(), "y".to_owned()]).unwrap(),
        confirmation: Confirmation::None,
        claims: KeptClaims::default(),
    };
    assert_eq!(claims, expected);
}

#[test]
fn a_minimal_reply_is_read() {
    assert_eq!(claims(r#"{"active":true}"#), Identity::default());
    assert_eq!(read_json(r#"{"active":false}"#), Ok(Vouched::Inactive));
    assert_eq!(
        claims(r#"{"active":true,"exp":null,"scope":null,"aud":null,"cnf":null}"#),
        Identity::default()
    );
}

#[test]
fn anything_but_the_expected_json_is_malformed() {
    let bodies = [
        "",
        "null",
        "[]",
        "[true]",
        "true",
        "{}",
        "<html>",
        r#"{"active":"true"}"#,
        r#"{"active":1}"#,
        r#"{"active":null}"#,
        r#"{"Active":true}"#,
        r#"{"active":true}x"#,
        r#"{"active":true"#,
        r#"{"active":true,"active":true}"#,
        r#"{"active":false,"active":true}"#,
        r#"{"active":true,"exp":"1700000000"}"#,
        r#"{"active":true,"exp":1e999}"#,
        r#"{"active":true,"exp":NaN}"#,
        r#"{"active":true,"nbf":"soon"}"#,
        r#"{"active":true,"nbf":-1e999}"#,
        r#"{"active":true,"iat":true}"#,
        r#"{"active":true,"iat":"1700000000"}"#,
        r#"{"active":true,"iat":[1700000000]}"#,
        r#"{"active":true,"exp":1,"exp":2}"#,
        r#"{"active":true,"exp":null,"exp":2}"#,
        r#"{"active":true,"scope":"a","scope":"b"}"#,
        r#"{"active":true,"scp":"a","\u0073cp":"b"}"#,
        r#"{"active":true,"cnf":null,"cnf":{}}"#,
        r#"{"active":true,"aud":"a","aud":["b"]}"#,
        r#"{"active":true,"scope":7}"#,
        r#"{"active":true,"scope":["a",7]}"#,
        r#"{"active":true,"typ":"ID","typ":"Bearer"}"#,
        r#"{"active":true,"token_type":"Bearer","token_type":null}"#,
        r#"{"active":true,"typ":7}"#,
        r#"{"active":true,"scp":{"a":true},"scope":"a"}"#,
        r#"{"active":true,"aud":{"a":true}}"#,
        r#"{"active":true,"aud":"a\nb"}"#,
        r#"{"active":true,"sub":7}"#,
        r#"{"active":true,"client_id":["a"]}"#,
        r#"{"active":false,"exp":"x"}"#,
    ];
    for body in bodies {
        assert_eq!(read_json(body), Err(ProviderFault::Malformed), "{body}");
    }
}

#[test]
fn an_array_of_all_members_is_malformed() {
    assert_eq!(read_json(&format!("[true{}]", ",null".repeat(16))), Err(ProviderFault::Malformed));
}

#[test]
fn the_first_scope_member_that_is_present_counts() {
    let table = [
        (r#""scopes":["c"],"scp":"b","scope":"a""#, "a"),
        (r#""scopes":["c"],"scp":"b""#, "b"),
        (r#""scopes":["c","d","",""]"#, "c d"),
        (r#""scope":"","scp":"b""#, ""),
        (r#""scope":[],"scp":"b""#, ""),
        (r#""scope":null,"scp":"b""#, "b"),
    ];
    for (members, expected) in table {
        let claims = claims(&format!(r#"{{"active":true,{members}}}"#));
        assert_eq!(claims.scopes().collect::<Vec<_>>().join(" "), expected, "{members}");
    }
}

#[test]
fn a_list_entry_with_a_space_grants_nothing() {
    let table = [
        (r#""scope":["a b"]"#, &[][..]),
        (r#""scope":["a b","c"," d","e "]"#, &["c"]),
        (r#""scp":["a\tb","c\u00a0d"]"#, &["a\tb", "c\u{a0}d"]),
        (r#""scope":["a b"],"scp":["c"]"#, &[]),
    ];
    for (members, expected) in table {
        let claims = claims(&format!(r#"{{"active":true,{members}}}"#));
        assert_eq!(claims.scopes().collect::<Vec<_>>(), expected, "{members}");
    }
}

#[test]
fn azp_names_the_client_if_client_id_is_absent() {
    assert_eq!(claims(r#"{"active":true,"azp":"web"}"#).client_id.as_deref(), Some("web"));
}

#[test]
fn any_confirmation_constrains_the_token() {
    for cnf in ["{}", r#"{"jkt":"x"}"#, "false", r#""""#] {
        assert!(
            claims(&format!(r#"{{"active":true,"cnf":{cnf}}}"#)).confirmation == Confirmation::Other,
            "{cnf}"
        );
    }
}

#[test]
fn unusual_moments_stay_in_bounds() {
    for (number, millis) in
        [("-1", 0), ("0", 0), ("1.0019", 1001), ("1e300", u64::MAX), ("-1e300", 0), ("1e3", 1_000_000)]
    {
        let claims = claims(&format!(r#"{{"active":true,"exp":{number}}}"#));
        assert_eq!(claims.exp, Some(Timestamp::from_millis(millis)), "{number}");
    }
}

#[test]
fn only_json_is_read() {
    let inactive = br#"{"active":false}"#;
    for content_type in ["application/json", "Application/JSON ; charset=utf-8", "application/vnd.as+json"] {
        assert_eq!(
            introspected(&answered(200, Some(content_type), inactive)),
            Ok(Vouched::Inactive),
            "{content_type}"
        );
    }
    let others = [
        "text/html",
        "application/jsonp",
        "application/token-introspection+jwt",
        "json",
        "",
        "a, application/json",
    ];
    for content_type in others.map(Some).into_iter().chain([None]) {
        assert_eq!(
            read(&answered(200, content_type, inactive), &AskedClaims::default()),
            Err(ProviderFault::NotJson),
            "{content_type:?}"
        );
    }
}

#[test]
fn a_body_that_is_too_long_is_a_fault() {
    let headers = HeaderList::from([("content-type", "application/json")]);
    let (body, trailers) = (Body::TooLong, HeaderList::new());
    let result = Ok(Response::Http(HttpResponse { status: 200, headers, body, trailers }));
    assert_eq!(read(&result, &AskedClaims::default()), Err(ProviderFault::TooLong));
}

#[test]
fn deep_nesting_is_skipped_or_malformed() {
    let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    assert!(read_json(&format!(r#"{{"active":false,"ext":{deep}}}"#)).is_ok());
    assert_eq!(read_json(&format!(r#"{{"active":true,"aud":{deep}}}"#)), Err(ProviderFault::Malformed));
}

#[test]
fn every_other_reply_is_a_fault() {
    let body = br#"{"active":true}"#;
    let status = |status| {
        read(&answered(status, Some("application/json"), body), &AskedClaims::default()).unwrap_err()
    };
    for refused in [401, 403] {
        assert_eq!(status(refused), ProviderFault::Rejected { status: refused });
    }
    for other in [100, 201, 204, 301, 404, 500] {
        assert_eq!(status(other), ProviderFault::Status { status: other, retry_after: None });
    }
    for later in [429, 503] {
        assert_eq!(status(later).retry_after(), Some(7));
    }
    for (failure, fault) in [
        (CallFailure::TimedOut, ProviderFault::TimedOut),
        (CallFailure::Failed, ProviderFault::Failed),
        (CallFailure::UnknownCluster, ProviderFault::UnknownCluster),
        (CallFailure::NoHealthyHost, ProviderFault::NoHealthyHost),
        (CallFailure::Overloaded, ProviderFault::Overloaded),
    ] {
        assert_eq!(read(&Err(failure), &AskedClaims::default()), Err(fault));
    }
}

#[test]
fn a_400_is_about_the_token_unless_it_names_our_client() {
    for body in
        ["", "<html>", r#"{"error":"invalid_request"}"#, r#"{"error":"invalid_token"}"#, r#"{"error":7}"#]
    {
        assert_eq!(
            read(&answered(400, Some("application/json"), body.as_bytes()), &AskedClaims::default()),
            Ok(Read::Unreadable),
            "{body}"
        );
    }
    for error in ["invalid_client", "unauthorized_client"] {
        let body = format!(r#"{{"error":"{error}","error_description":"x"}}"#);
        let fault = ProviderFault::Rejected { status: 400 };
        assert_eq!(
            read(&answered(400, Some("application/json"), body.as_bytes()), &AskedClaims::default()),
            Err(fault)
        );
    }
}
