//! The stand-in of 3scale's backend against the table of what the real one was seen to answer.
#![cfg(test)]
#![cfg(not(target_family = "wasm"))]

use std::time::Duration;

use sidegate_harness::{
    Request, Response, send,
    threescale::{Application, Fault, Period, Service, Threescale},
};

const OPTIONS: &str = "rejection_reason_header=1&limit_headers=1";
const ALL: &str = "rejection_reason_header=1&limit_headers=1&hierarchy=1&list_app_keys=1";
const TOKEN: &str = "service_token=t0ken&service_id=";

fn keys() -> Service {
    Service::of_user_keys("1", "t0ken")
        .provider_key("pr0vider")
        .metric("reads", Some("hits"))
        .metric("writes", Some("hits"))
        .plan("free", &[("hits", Period::Minute, 3), ("writes", Period::Eternity, 0)])
        .plan("open", &[])
        .application(Application::new("a", "free").user_key("k"))
        .application(Application::new("b", "open").user_key("u"))
}

fn ids() -> Service {
    Service::of_app_ids("2", "t0ken")
        .demanding_referrers()
        .plan("gold & more", &[])
        .application(Application::new("4f2e", "gold & more").key("s3cret").key("next"))
        .application(Application::new("bare", "gold & more"))
        .application(Application::new("off", "gold & more").suspended())
        .application(Application::new("ref", "gold & more").referrer("*.acme.com"))
}

fn clients() -> Service {
    Service::of_clients("3", "t0ken")
        .plan("web", &[])
        .application(Application::new("acme-web", "web").key("k"))
}

async fn backend() -> Threescale {
    let backend = Threescale::start([keys(), ids(), clients()]).await;
    backend.at("2026-11-21T02:52:02.5Z");
    backend
}

async fn ask(backend: &Threescale, call: &str, query: &str, options: &str) -> Response {
    let request = Request::get(format!("/transactions/{call}.xml?{query}"));
    let request = if options.is_empty() { request } else { request.header("3scale-options", options) };
    send(backend.address(), &request.host("backend")).await.unwrap()
}

async fn report(backend: &Threescale, content_type: &str, body: &str) -> Response {
    let request = Request::new("POST", "/transactions.xml").host("backend");
    let request = request.header("content-type", content_type).body(body);
    send(backend.address(), &request).await.unwrap()
}

fn limits(answer: &Response) -> [Option<&str>; 3] {
    ["3scale-limit-remaining", "3scale-limit-reset", "3scale-limit-max-value"].map(|name| answer.header(name))
}

/// The status, and the code of an error or the header with the reason of a rejection.
fn verdict(answer: &Response) -> (u16, String) {
    let text = answer.text();
    let code = text.split_once("code=\"").and_then(|(_, rest)| rest.split_once('"'));
    let reason = answer.header("3scale-rejection-reason").map(str::to_owned);
    (answer.status, reason.or_else(|| code.map(|(code, _)| code.to_owned())).unwrap_or_default())
}

#[tokio::test]
async fn errors_and_rejections_are_those_of_the_real_backend() {
    let backend = backend().await;
    for (query, status, code) in [
        (format!("{TOKEN}1&user_key=k&usage[hits]=1"), 200, ""),
        (format!("{TOKEN}1&user_key=nobody"), 403, "user_key_invalid"),
        (format!("{TOKEN}1"), 403, "user_key_invalid"),
        (format!("{TOKEN}1&user_key=k&app_id=4f2e"), 403, "authentication_error"),
        (format!("{TOKEN}2&app_id=nobody"), 404, "application_not_found"),
        (format!("{TOKEN}2&app_id=4f2e&app_key=s3cret"), 200, ""),
        (format!("{TOKEN}2&app_id=4f2e&app_key=next"), 200, ""),
        (format!("{TOKEN}2&app_id=4f2e&app_key=wrong"), 409, "application_key_invalid"),
        (format!("{TOKEN}2&app_id=4f2e"), 409, "application_key_invalid"),
        (format!("{TOKEN}2&app_id=bare"), 200, ""),
        (format!("{TOKEN}2&app_id=ref&referrer=www.acme.com"), 200, ""),
        (format!("{TOKEN}2&app_id=ref&referrer=*"), 200, ""),
        (format!("{TOKEN}2&app_id=ref&referrer=evil.com"), 409, "referrer_not_allowed"),
        (format!("{TOKEN}2&app_id=ref"), 409, "referrer_not_allowed"),
        (format!("{TOKEN}2&app_id=off"), 409, "application_not_active"),
        ("provider_key=wrong&user_key=k".to_owned(), 403, "provider_key_invalid"),
        ("provider_key=pr0vider&user_key=k".to_owned(), 200, ""),
        ("provider_key=pr0vider&service_id=9&user_key=k".to_owned(), 403, "service_id_invalid"),
        ("service_token=wrong&service_id=1&user_key=k".to_owned(), 403, "service_token_invalid"),
        (format!("{TOKEN}9&user_key=k"), 403, "service_id_invalid"),
        ("service_token=t0ken&user_key=k".to_owned(), 422, "service_id_missing"),
        ("user_key=k".to_owned(), 403, "provider_key_or_service_token_required"),
        (format!("{TOKEN}1&user_key=k&usage[unknown]=1"), 404, "metric_invalid"),
        (format!("{TOKEN}1&user_key=k&usage[hits]=many"), 403, "usage_value_invalid"),
        (format!("{TOKEN}1&user_key=k&usage=1"), 403, ""),
        (format!("{TOKEN}1&user_key=%ff"), 422, "not_valid_data"),
        (format!("{TOKEN}1&user_key=k&user_id=1"), 400, "end_users_no_longer_supported"),
    ] {
        let answer = ask(&backend, "authorize", &query, OPTIONS).await;
        assert_eq!(verdict(&answer), (status, code.to_owned()), "{query}: {}", answer.text());
        assert_eq!(answer.header("content-type"), Some("application/vnd.3scale-v2.0+xml"));
        let without = ask(&backend, "authorize", &query, "no_body=1").await;
        assert_eq!((without.status, without.text().as_str()), (status, ""), "{query}");
        assert_eq!((without.header("3scale-rejection-reason"), limits(&without)), (None, [None; 3]));
    }
    assert_eq!(send(backend.address(), &Request::get("/status").host("b")).await.unwrap().status, 200);
    assert_eq!(send(backend.address(), &Request::get("/other").host("b")).await.unwrap().status, 404);
}

#[tokio::test]
async fn an_answer_has_plan_reports_keys_and_hierarchy_and_counts_its_own_call() {
    let backend = backend().await;
    let call = format!("{TOKEN}1&user_key=k&usage[reads]=2");
    let answer = ask(&backend, "authrep", &call, ALL).await;
    assert_eq!(limits(&answer), [Some("0"), Some("58"), Some("3")]);
    let minute = "<period_start>2026-11-21 02:52:00 +0000</period_start><period_end>2026-11-21 02:53:00 +0000</period_end>";
    assert_eq!(
        answer.text(),
        format!(
            "{}<status><authorized>true</authorized><plan>free</plan><usage_reports>\
             <usage_report metric=\"hits\" period=\"minute\">{minute}\
             <max_value>3</max_value><current_value>2</current_value></usage_report>\
             <usage_report metric=\"writes\" period=\"eternity\">\
             <max_value>0</max_value><current_value>0</current_value></usage_report></usage_reports>\
             <app_keys app=\"a\" svc=\"1\"></app_keys>\
             <hierarchy><metric name=\"hits\" children=\"reads writes\"/></hierarchy></status>",
            r#"<?xml version="1.0" encoding="UTF-8"?>"#
        )
    );
    assert_eq!((backend.counted("a", "reads"), backend.counted("a", "hits")), (2, 2));
    let unlimited = ask(&backend, "authrep", &format!("{TOKEN}1&user_key=u&usage[hits]=1"), ALL).await;
    assert_eq!(limits(&unlimited), [Some("-1"), Some("-1"), None]);
    assert!(!unlimited.text().contains("usage_reports"));
    let escaped = ask(&backend, "authorize", &format!("{TOKEN}2&app_id=bare"), "").await;
    assert!(escaped.text().contains("<plan>gold &amp; more</plan>"), "{}", escaped.text());
}

#[tokio::test]
async fn a_limit_refuses_without_counting_and_comes_back_with_the_next_period() {
    let backend = backend().await;
    let call = format!("{TOKEN}1&user_key=k&usage[hits]=");
    let answer = ask(&backend, "authrep", &format!("{call}5"), OPTIONS).await;
    assert_eq!(verdict(&answer), (409, "limits_exceeded".to_owned()));
    assert_eq!(limits(&answer), [Some("0"), Some("58"), Some("3")]);
    for left in ["2", "1", "0"] {
        let answer = ask(&backend, "authrep", &format!("{call}1"), OPTIONS).await;
        assert_eq!((answer.status, limits(&answer)[0]), (200, Some(left)));
    }
    let refused = ask(&backend, "authrep", &format!("{call}1"), ALL).await;
    assert_eq!((refused.status, limits(&refused)[0]), (409, Some("0")));
    assert!(refused.text().contains("<authorized>false</authorized><reason>"));
    let without = ask(&backend, "authorize", &format!("{TOKEN}1&user_key=k"), OPTIONS).await;
    assert_eq!((without.status, limits(&without)[0]), (200, Some("-1")), "wrong without usage");
    let disabled = ask(&backend, "authorize", &format!("{TOKEN}1&user_key=k&usage[writes]=1"), OPTIONS).await;
    assert_eq!(verdict(&disabled), (409, "limits_exceeded".to_owned()));
    backend.at("2026-11-21T02:53:00Z");
    assert_eq!(ask(&backend, "authrep", &format!("{call}3"), OPTIONS).await.status, 200);
    assert_eq!(backend.counted("a", "hits"), 6);
}

#[tokio::test]
async fn windows_are_those_of_the_calendar() {
    let backend = Threescale::start([Service::of_user_keys("1", "t0ken")
        .plan(
            "all",
            &[Period::Hour, Period::Day, Period::Week, Period::Month, Period::Year]
                .map(|period| ("hits", period, 9)),
        )
        .application(Application::new("a", "all").user_key("k"))])
    .await;
    backend.at("2028-02-29T23:59:59Z");
    let text = ask(&backend, "authorize", &format!("{TOKEN}1&user_key=k"), "").await.text();
    for (start, end) in [
        ("2028-02-29 23:00:00", "2028-03-01 00:00:00"),
        ("2028-02-29 00:00:00", "2028-03-01 00:00:00"),
        ("2028-02-28 00:00:00", "2028-03-06 00:00:00"),
        ("2028-02-01 00:00:00", "2028-03-01 00:00:00"),
        ("2028-01-01 00:00:00", "2029-01-01 00:00:00"),
    ] {
        let window =
            format!("<period_start>{start} +0000</period_start><period_end>{end} +0000</period_end>");
        assert!(text.contains(&window), "{window} in {text}");
    }
}

#[tokio::test]
async fn reasons_are_not_escaped() {
    let backend = backend().await;
    let answer = ask(&backend, "authorize", &format!("{TOKEN}2&app_id=4f2e&app_key=a%3Cb%26%22c"), "").await;
    assert!(answer.text().contains("a<b&\"c"), "{}", answer.text());
}

#[tokio::test]
async fn oauth_clients_are_known_without_a_key_and_only_where_oauth_is_on() {
    let backend = backend().await;
    let known = ask(&backend, "oauth_authorize", &format!("{TOKEN}3&app_id=acme-web"), OPTIONS).await;
    assert_eq!(known.status, 200);
    assert!(known.text().contains("<application><id>acme-web</id>"), "{}", known.text());
    let wrong = ask(&backend, "oauth_authrep", &format!("{TOKEN}3&app_id=acme-web&app_key="), OPTIONS).await;
    assert_eq!(verdict(&wrong), (409, "application_key_invalid".to_owned()));
    let off = ask(&backend, "oauth_authorize", &format!("{TOKEN}2&app_id=bare"), OPTIONS).await;
    assert_eq!(verdict(&off), (409, "oauth_not_enabled".to_owned()));
}

const FORM: &str = "application/x-www-form-urlencoded";

#[tokio::test]
async fn a_report_counts_as_a_whole_or_not_at_all_and_answers_the_same() {
    let backend = backend().await;
    let sent = |body: &str| format!("{TOKEN}1&{body}");
    let good = "transactions[0][user_key]=k&transactions[0][usage][reads]=2\
                &transactions[1][user_key]=u&transactions[1][usage][hits]=5&transactions[1][usage][reads]=0";
    let answer = report(&backend, FORM, &sent(good)).await;
    assert_eq!((answer.status, answer.text().as_str()), (202, ""));
    assert_eq!((backend.counted("a", "reads"), backend.counted("a", "hits")), (2, 2), "and the parent");
    assert_eq!(backend.counted("b", "hits"), 5);
    for (spoiled, error) in [
        ("transactions[2][user_key]=nobody&transactions[2][usage][hits]=1", "user_key_invalid"),
        ("transactions[2][user_key]=k&transactions[2][usage][unknown]=1", "metric_invalid"),
        (
            "transactions[2][user_key]=k&transactions[2][usage][hits]=1&transactions[2][timestamp]=2026-11-20 02:00:00",
            "report_timestamp_not_within_range",
        ),
    ] {
        assert_eq!(report(&backend, FORM, &sent(&format!("{good}&{spoiled}"))).await.status, 202);
        assert_eq!(backend.errors().pop().as_deref(), Some(error));
        assert_eq!((backend.counted("a", "hits"), backend.counted("b", "hits")), (2, 5), "nothing counts");
    }
    for (content_type, body, code) in
        [(FORM, "", "transactions_is_blank"), ("application/json", good, "content_type_invalid")]
    {
        assert_eq!(verdict(&report(&backend, content_type, &sent(body)).await), (400, code.to_owned()));
    }
}

#[tokio::test]
async fn a_code_counts_once_for_each_transaction_that_uses_something() {
    let backend = backend().await;
    let body = format!(
        "{TOKEN}1&transactions[0][user_key]=k&transactions[0][usage][reads]=9&transactions[0][log][code]=200\
         &transactions[1][user_key]=k&transactions[1][usage][reads]=1&transactions[1][log][code]=200\
         &transactions[2][user_key]=k&transactions[2][usage][reads]=0&transactions[2][log][code]=404\
         &transactions[3][user_key]=u&transactions[3][usage][hits]=1"
    );
    assert_eq!(report(&backend, FORM, &body).await.status, 202);
    assert_eq!((backend.answered("a", 200), backend.answered("a", 404)), (2, 0));
    assert_eq!((backend.counted("a", "reads"), backend.answered("b", 200)), (10, 0));
}

#[tokio::test]
async fn flat_usage_does_not_count_for_the_parent_twice() {
    let backend = backend().await;
    let body = format!(
        "{TOKEN}1&transactions[0][user_key]=u&transactions[0][usage][reads]=1&transactions[0][usage][hits]=1"
    );
    let request = Request::new("POST", "/transactions.xml").host("backend").header("content-type", FORM);
    let request = request.header("3scale-options", "flat_usage=1").body(&body);
    assert_eq!(send(backend.address(), &request).await.unwrap().status, 202);
    assert_eq!((backend.counted("b", "reads"), backend.counted("b", "hits")), (1, 1));
    assert_eq!(report(&backend, FORM, &body).await.status, 202);
    assert_eq!((backend.counted("b", "reads"), backend.counted("b", "hits")), (2, 3));
}

#[tokio::test]
async fn a_stopped_worker_lets_calls_past_the_limit() {
    let backend = backend().await;
    backend.stop_worker();
    let call = format!("{TOKEN}1&user_key=k&usage[hits]=1");
    for _ in 0..6 {
        assert_eq!(ask(&backend, "authrep", &call, OPTIONS).await.status, 200);
    }
    backend.start_worker();
    assert_eq!(backend.counted("a", "hits"), 6);
    let refused = ask(&backend, "authrep", &call, OPTIONS).await;
    assert_eq!(verdict(&refused), (409, "limits_exceeded".to_owned()));
}

#[tokio::test]
async fn faults_come_and_go() {
    let backend = backend().await;
    let call = Request::get(format!("/transactions/authrep.xml?{TOKEN}1&user_key=k&usage[hits]=1"));
    let call = call.host("backend");
    backend.now(Fault::Stopped);
    assert!(send(backend.address(), &call).await.is_err());
    backend.now(Fault::Status(500));
    let answer = send(backend.address(), &call).await.unwrap();
    assert_eq!((answer.status, answer.header("content-type")), (500, Some("text/plain")));
    backend.now(Fault::Bytes(b"<status>".to_vec()));
    assert_eq!(send(backend.address(), &call).await.unwrap().text(), "<status>");
    backend.now(Fault::Slow(Duration::from_millis(1)));
    assert_eq!(send(backend.address(), &call).await.unwrap().status, 200);
    assert_eq!(backend.counted("a", "hits"), 1, "only the answer that was given");
    assert_eq!(backend.calls("/transactions/authrep.xml"), 4);
}
