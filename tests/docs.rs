//! Checks the documents against the code: their lists are complete, and their examples work.
#![cfg(not(target_family = "wasm"))]
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test that panics fails, as it should")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use sidegate::{
    gate::{Ending, Request, drive::Driver},
    policy::{Policy, StateName},
    provider::{CallOutcome, ProviderFault},
    refusal::{Blame, Cause},
    shell::telemetry::Measure,
    store::Memory,
    time::Timestamp,
};

fn project(path: impl AsRef<Path>) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: impl AsRef<Path>) -> String {
    let path = project(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every document, by its path from the top.
fn documents() -> Vec<(PathBuf, String)> {
    let listed = ["", "docs"].into_iter().flat_map(|folder| fs::read_dir(project(folder)).unwrap());
    let mut paths: Vec<PathBuf> = listed
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .map(|path| path.strip_prefix(project("")).unwrap().to_owned())
        .collect();
    paths.sort();
    assert!(paths.len() >= 8, "{paths:?}");
    paths.into_iter().map(|path| (path.clone(), read(path))).collect()
}

/// The contents of the fenced blocks in this language.
fn fences<'t>(text: &'t str, language: &str) -> Vec<&'t str> {
    let opening = format!("```{language}\n");
    text.split(&opening).skip(1).map(|rest| rest.split("\n```").next().unwrap()).collect()
}

/// The text outside of fenced blocks.
fn prose(text: &str) -> String {
    text.split("```").step_by(2).collect()
}

/// The texts between backticks.
fn code_spans(text: &str) -> BTreeSet<String> {
    prose(text).split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The cells of every table row.
fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix('|'))
        .map(|line| line.split('|').map(str::trim).collect())
}

#[test]
fn errors_md_has_the_catalogue_row_by_row() {
    let page = read("docs/errors.md");
    let rows: Vec<Vec<&str>> = rows(&page).filter(|row| row[0].starts_with('[')).collect();
    let catalogue = Cause::all();
    assert_eq!(rows.len(), catalogue.len());
    for (row, cause) in rows.iter().zip(catalogue) {
        let expected = cause.row();
        let [code, status, grpc, fault, message, title, headers] = row[..] else { panic!("{row:?}") };
        let fault_of = match expected.blame {
            Blame::Caller => "caller",
            Blame::Operator => "operator",
            Blame::Dependency => "dependency",
            Blame::Us => "us",
        };
        assert!(code.starts_with(&format!("[{}]", expected.code.digits())), "{row:?}");
        assert_eq!(status, expected.status.to_string(), "{row:?}");
        assert_eq!(grpc.split(' ').next(), Some(expected.grpc_status.to_string().as_str()), "{row:?}");
        assert_eq!((fault, message, title), (fault_of, expected.message, expected.title));
        assert_eq!(
            headers.contains("www-authenticate"),
            matches!(expected.code.number(), 13 | 20..=23),
            "{row:?}"
        );
        assert_eq!(
            headers.contains("retry-after"),
            matches!(expected.code.number(), 14 | 24 | 25),
            "{row:?}"
        );
        let documented = page.contains(&format!("\n## {}\n", expected.code.digits()))
            || (3..=7).contains(&expected.code.number());
        assert!(documented, "no section on {}", expected.code.digits());
    }
}

#[test]
fn operations_md_lists_every_metric_with_its_labels() {
    let page = read("docs/operations.md");
    let listed: Vec<Vec<&str>> = rows(&page).filter(|row| row[0].starts_with("`sidegate.")).collect();
    let expected = Measure::all().map(|measure| {
        let name = measure.name(None).strip_prefix("sidegate.").unwrap().to_owned();
        let mut parts: Vec<&str> = name.split(";.;").collect();
        let last = parts.pop().unwrap();
        let labels = parts.iter().map(|part| part.split("=.=").next().unwrap());
        (
            format!("`sidegate.{last}`"),
            labels.map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", "),
        )
    });
    assert_eq!(listed.len(), expected.len());
    let tags = fences(&page, "yaml").into_iter().find(|fence| fence.contains("stats_tags")).unwrap();
    for (name, labels) in expected {
        let row = listed.iter().find(|row| row[0] == name).unwrap_or_else(|| panic!("{name} is not listed"));
        assert_eq!(row[2], labels, "{name}");
        for label in labels.split(", ").filter(|label| !label.is_empty()) {
            let label = label.trim_matches('`');
            let tag = format!(r"- {{tag_name: {label}, regex: '(\b{label}=\.=(.*?);\.;)'}}");
            assert!(tags.contains(&tag), "no stats_tag for {label}");
        }
    }
}

#[test]
fn operations_md_lists_every_result_of_a_provider_call() {
    use ProviderFault::{
        Failed, Malformed, NoHealthyHost, NoKeys, NotJson, Overloaded, Rejected, Status, TimedOut, TooLong,
        TooManySignatures, UnknownCluster, Unsigned,
    };
    let page = read("docs/operations.md");
    let section = page.split("### Results of provider calls").nth(1).unwrap().split("\n### ").next().unwrap();
    let listed: BTreeSet<&str> = rows(section).map(|row| row[0]).filter(|cell| *cell != "`result`").collect();
    let rejected = Rejected { status: 401 };
    let status = Status { status: 500, retry_after: None };
    // `Resting` is not among them, because no call is made.
    let faults = [
        rejected,
        status,
        NotJson,
        Malformed,
        TooLong,
        Unsigned,
        NoKeys,
        TooManySignatures,
        TimedOut,
        Failed,
        UnknownCluster,
        NoHealthyHost,
        Overloaded,
    ];
    let outcomes =
        [CallOutcome::Answered, CallOutcome::Unreadable].into_iter().chain(faults.map(CallOutcome::Fault));
    let labels: Vec<String> = outcomes.map(|outcome| format!("`{}`", outcome.label())).collect();
    assert_eq!(listed, labels.iter().map(String::as_str).collect());
}

#[test]
fn operations_md_lists_every_value_for_access_logs() {
    let spans = code_spans(&read("docs/operations.md"));
    for name in StateName::ALL {
        let name = format!("wasm.sidegate.{}", format!("{name:?}").to_lowercase());
        assert!(spans.contains(&name), "{name}");
    }
}

/// The JSON of a document in YAML.
fn json(yaml: &str) -> Vec<u8> {
    let value: serde_json::Value =
        serde_norway::from_str(yaml).unwrap_or_else(|error| panic!("{error}: {yaml}"));
    value.to_string().into_bytes()
}

#[test]
fn every_whole_policy_in_the_documents_loads() {
    let examples = ["envoy/demo-policy.yaml", "envoy/threescale-policy.yaml"];
    let mut policies: Vec<(PathBuf, String)> = examples.map(|path| (path.into(), read(path))).into();
    for (path, text) in documents() {
        let whole = fences(&text, "yaml")
            .into_iter()
            .filter(|fence| fence.lines().any(|line| line.starts_with("sidegate: v1")));
        policies.extend(whole.map(|fence| (path.clone(), fence.to_owned())));
    }
    assert!(policies.len() >= 3);
    for (path, policy) in policies {
        match Policy::load(&json(&policy), &|_| Some("secret".to_owned())) {
            Ok(loaded) => assert_eq!(loaded.warnings.to_string(), "", "{}\n{policy}", path.display()),
            Err(problems) => panic!("{}: {problems}\n{policy}", path.display()),
        }
    }
}

#[test]
fn the_first_policy_does_what_the_readme_says() {
    let readme = read("README.md");
    let policy = Policy::load(&json(fences(&readme, "yaml")[0]), &|_| None).unwrap();
    let gate = Driver::new(policy.into(), Memory::new());
    let answer = |method: &str, path: &str, key: &str| {
        let pairs = [(":method", method), (":path", path), (":authority", "127.0.0.1:8080"), ("apikey", key)];
        let headers = pairs.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
        let request = Request::new(headers.to_vec().into(), || None, 1);
        let now = Timestamp::from_seconds(1_800_000_000);
        match gate.decide(request, now, |call| panic!("no call is expected: {call:?}")) {
            Ending::Refused(refused) => Some(refused.refusal().cause.code().digits()),
            Ending::Permit(_) | Ending::Answer(_) => None,
        }
    };
    assert_eq!(answer("GET", "/v1/health", ""), None);
    assert_eq!(answer("GET", "/v1/orders/17", ""), Some("12"));
    assert_eq!(answer("POST", "/v1/orders/17", "acme-key"), Some("13"));
    assert_eq!(answer("GET", "/v2/orders/17", "acme-key"), Some("00"));
    for _ in 0..5 {
        assert_eq!(answer("GET", "/v1/orders/17", "acme-key"), None);
    }
    assert_eq!(answer("GET", "/v1/orders/17", "acme-key"), Some("14"));
}

#[test]
fn make_targets_that_are_named_exist() {
    let makefile = read("Makefile");
    let exists = |target: &str| makefile.lines().any(|line| line.starts_with(&format!("{target}:")));
    for (path, text) in documents() {
        let commands = fences(&text, "sh").into_iter().flat_map(str::lines).map(str::to_owned);
        for command in commands.chain(code_spans(&text)) {
            let mut words = command.split_whitespace();
            if words.next() == Some("make") {
                let target = words.next().unwrap();
                assert!(exists(target), "{}: `make {target}`", path.display());
            }
        }
    }
}

/// The anchor that a heading gets: lower case, words joined by `-`.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings =
        text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let kept = |c: char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    headings
        .map(|heading| {
            heading.to_lowercase().chars().filter(|c| kept(*c)).collect::<String>().replace(' ', "-")
        })
        .collect()
}

#[test]
fn links_lead_somewhere() {
    for (path, text) in documents() {
        let prose = prose(&text);
        for target in prose.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            if target.contains("://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let there = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            assert!(project(&there).exists(), "{}: {target}", path.display());
            let anchored = anchor.is_empty() || anchors(&read(&there)).contains(anchor);
            assert!(anchored, "{}: {target} has no such heading", path.display());
        }
    }
}

#[test]
fn files_and_folders_that_are_named_exist() {
    for (path, text) in documents() {
        for span in code_spans(&text) {
            let ours = ["src/", "tests/", "docs/", "envoy/", "istio/", "examples/", "tools/", "benches/"];
            let made = ["node_modules", "*"].iter().any(|part| span.contains(part));
            if ours.iter().any(|folder| span.starts_with(folder)) && !made {
                assert!(project(&span).exists(), "{}: `{span}`", path.display());
            }
        }
    }
}

/// The source of every test.
fn tests(folder: &Path) -> String {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.is_dir() || path.extension().is_some_and(|extension| extension == "rs"));
    paths.iter().map(|path| if path.is_dir() { tests(path) } else { read(path) }).collect()
}

#[test]
fn tests_that_show_something_exist() {
    let tests = tests(&project("tests")) + &tests(&project("src"));
    let mut seen = 0;
    for (path, text) in documents() {
        for paragraph in text.split("\n\n").filter(|paragraph| paragraph.starts_with("Shown by ")) {
            for name in code_spans(paragraph) {
                assert!(tests.contains(&format!("fn {name}(")), "{}: `{name}`", path.display());
                seen += 1;
            }
        }
    }
    assert!(seen > 10);
}

#[test]
fn architecture_md_has_every_folder_of_the_source() {
    let spans = code_spans(&read("docs/architecture.md"));
    for entry in fs::read_dir(project("src")).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if entry.path().is_dir() {
            assert!(spans.contains(&format!("src/{name}/")), "src/{name}/ is not in docs/architecture.md");
        }
    }
}
