//! Mocked responses, and path parameters in headers.

use super::*;

#[test]
fn mocked_responses_that_nothing_could_send() {
    check(&[
        (r#"{"/apis/0/mock":{"responses":[{"path":"/orders/{id}","body":"{path:id} {{id}} {}"}]}}"#, &[]),
        (r#"{"/apis/0/rules/0/mock":{"responses":[{"body":"{path:id}"}]}}"#, &[]),
        (r#"{"/apis/0/rules/0/mock":{"enabled":false}}"#, &[]),
        (
            r#"{"/apis/0/mock":{}}"#,
            &["apis[0] (orders).mock: has no responses: list them, or write `enabled: false`"],
        ),
        (
            r#"{"/apis/0/mock":{"responses":[]}}"#,
            &["apis[0] (orders).mock.responses: the list is empty: leave it out, or give it an entry"],
        ),
        (
            r#"{"/apis/0/mock":{"responses":[{"status":101},{"path":"/a","status":600},{"path":"/b","status":204,"body":"x"}]}}"#,
            &[
                "apis[0] (orders).mock.responses[0].status: must be 200 to 599",
                "apis[0] (orders).mock.responses[1].status: must be 200 to 599",
                "apis[0] (orders).mock.responses[2].body: a response with status 204 has no body",
            ],
        ),
        (
            r#"{"/apis/0/mock":{"responses":[{"path":"/a/{x}"},{"path":"/a/{y}","methods":["GET"]},{"path":"a"},{"path":"/a/{z}","methods":["GET"]}]}}"#,
            &[
                "apis[0] (orders).mock.responses[2].path: `a` does not start with a slash",
                "apis[0] (orders).mock.responses[3]: matches the same requests as `responses[1]`",
            ],
        ),
        (
            r#"{"/apis/0/rules/1/mock":{"responses":[{"path":"/a","methods":[]}]}}"#,
            &["apis[0] (orders).rules[1].mock.responses[0].methods: a list of methods must not be empty"],
        ),
        (
            r#"{"/apis/0/mock":{"responses":[{"headers":{"Content-Length":"1","x-sidegate-code":"02","x":"{colour}"},"body":"{colour}"}]}}"#,
            &[
                "apis[0] (orders).mock.responses[0].headers.Content-Length: policies must not set this header",
                "apis[0] (orders).mock.responses[0].headers.x: unknown field `{colour}`: expected `{api}`, `{rule}`, `{consumer}`, `{plan}`, `{environment}`, `{client_id}`, `{subject}`, `{scope}`, `{claim:PATH}` or `{path:NAME}`",
                "apis[0] (orders).mock.responses[0].headers.x-sidegate-code: policies must not set this header",
                "apis[0] (orders).mock.responses[0].body: unknown field `{colour}`: expected `{api}`, `{rule}`, `{consumer}`, `{plan}`, `{environment}`, `{client_id}`, `{subject}`, `{scope}`, `{claim:PATH}` or `{path:NAME}`",
            ],
        ),
        (
            r#"{"/apis/0/mock":{"responses":[{"body":"{path:id}"},{"path":"/a/{id}","headers":{"x":"{path:no}"}}]}}"#,
            &[
                "apis[0] (orders).mock.responses[0].body: the path has no parameter `id`",
                "apis[0] (orders).mock.responses[1].headers.x: the path has no parameter `no`",
            ],
        ),
    ]);
    let fields = "{consumer}".repeat(17);
    let long = "x".repeat(64 * 1024 + 1);
    check(&[
        (
            &format!(r#"{{"/apis/0/mock":{{"responses":[{{"body":"{fields}"}}]}}}}"#),
            &["apis[0] (orders).mock.responses[0].body: has 17 fields, but at most 16 are possible"],
        ),
        (
            &format!(r#"{{"/apis/0/mock":{{"responses":[{{"body":"{long}"}}]}}}}"#),
            &["apis[0] (orders).mock.responses[0].body: has 65537 bytes, but at most 65536 are possible"],
        ),
    ]);
}

#[test]
fn a_parameter_that_no_rule_has() {
    check(&[
        (r#"{"/apis/0/forward/headers":{"x-order":"{path:id}"}}"#, &[]),
        (
            r#"{"/apis/0/forward/headers":{"x-order":"{path:no}"}}"#,
            &[
                "apis[0] (orders).forward.headers.x-order: no rule of the API has a parameter `no` in its path",
            ],
        ),
    ]);
}

#[test]
fn a_rule_with_an_answer_has_no_mock() {
    check(&[
        (r#"{"/apis/0/rules/1/answer":"usage"}"#, &[]),
        (
            r#"{"/apis/0/rules/1/answer":"usage","/apis/0/rules/1/mock":{"enabled":false}}"#,
            &["apis[0] (orders).rules[1].mock: answers nothing: the rule has an `answer`"],
        ),
        (
            r#"{"/apis/0/rules/1/answer":"limits"}"#,
            &["apis[0] (orders).rules[1].answer: unknown value `limits`, expected `usage`"],
        ),
    ]);
}

#[test]
fn limits_that_only_the_backend_of_3scale_knows_are_no_answer() {
    const BACKEND: &str = r#""/providers/su1":{"service_management":{"cluster":"su1","url":"https://su1.3scale.net","service_id":"1","service_token":"t"}}"#;
    let refusal = |rule: u8| {
        format!(
            "apis[0] (orders).rules[{rule}].answer: cannot tell the limits of applications that 3scale's backend counts: take other ways in"
        )
    };
    let access = r#"["api_key",{"threescale":{"provider":"su1"}}]"#;
    check(&[
        (
            &format!(r#"{{{BACKEND},"/apis/0/rules/1/answer":"usage","/apis/0/rules/1/access":{access}}}"#),
            &[&refusal(1)],
        ),
        (
            &format!(r#"{{{BACKEND},"/apis/0/rules/2/answer":"usage","/apis/0/access":{access}}}"#),
            &[&refusal(2)],
        ),
        (
            &format!(r#"{{{BACKEND},"/apis/0/rules/2/answer":"usage","/apis/0/rules/1/access":{access}}}"#),
            &[],
        ),
    ]);
}
