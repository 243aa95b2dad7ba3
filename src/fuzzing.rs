//! Fuzz targets for untrusted input, as functions of bytes. Used by `fuzz/` and `tests/fuzz_regressions.rs`.
//!
//! Each target accepts any bytes, and panics if a property does not hold.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a fuzz target reports a violated property by a panic"
)]

use std::{borrow::Cow, cell::RefCell, num::NonZeroU32, rc::Rc};

use crate::{
    credential::Digest,
    gate::{Ending, Request, drive::Driver},
    headers::{HeaderList, HeaderMap},
    identity::{
        AskedClaims, ClaimPath, KeptAnswer,
        introspection::{Read, read},
        jwt::{Jws, KeySet},
        threescale,
    },
    matching::{Metrics, Target, Usage, normalise},
    policy::{Policy, Text},
    ports::Ports,
    provider::{Body, CallResult, HttpResponse, Response},
    quota::{self, Demand, Limit, MeterId, Meters, Receipt, Shape, Window},
    store::{ABSENT, Change, Memory, Store},
    time::Timestamp,
};

/// A target with its name, which is also the name of its corpus.
pub type NamedTarget = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [NamedTarget; 7] = [
    ("policy", policy),
    ("request", request),
    ("paths", paths),
    ("introspection", introspection),
    ("jwt", jwt),
    ("store", store),
    ("threescale", self::threescale),
];

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

/// The policy that [`request`] uses. The key is `test`.
const POLICY: &str = r#"{
    "sidegate": "v1",
    "gate": {"debug": {"secret_sha256": "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752"}},
    "providers": {"p": {"introspection": {"cluster": "c", "url": "http://idp/introspect"}}},
    "plans": {"basic": {"environment": "staging", "limits": [{"metric": "hits", "max": 2, "per": "minute", "window": "sliding"}]}},
    "consumers": [{"name": "acme", "plan": "basic", "clients": ["web"],
                   "keys": [{"sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"}]}],
    "apis": [{
        "name": "a", "hosts": ["a.example", "*.b.example"], "base_path": "/v1",
        "credentials": {"api_key": [{"header": "apikey"}, {"query": "key"}, {"cookie": "key"}]},
        "access": [{"introspection": {"provider": "p", "scopes": ["read"]}}, "api_key"],
        "rules": [
            {"path": "/open/**", "access": ["allow"]}, {"path": "/closed/**", "access": ["deny"]},
            {"path": "/{id}", "methods": ["GET"]}, {"path": "/{id}/items/**"}, {"regex": "/r[0-9]+/.*"}
        ],
        "metering": [{"path": "/**", "metric": "hits"}, {"path": "/r{n}/x$", "match": "prefix", "query": {"q": "{v}"}, "metric": "hits"}],
        "bindings": [{"consumer": "acme", "allow": {"methods": ["GET"]}, "paths": [{"path": "/{id}/items/**", "allow": "all"}]}],
        "limits": [{"metric": "hits", "max": 3, "per": "second", "of": "address"}],
        "forward": {"headers": {"x-consumer": "{consumer}", "x-scope": "{scope}"}}
    }]
}"#;

/// A text in parts of a few bytes, as the module reads a large one.
struct Parts<'t>(&'t [u8]);

impl Text for Parts<'_> {
    fn part(&self, offset: usize) -> Cow<'_, [u8]> {
        self.0.get(offset..).and_then(|rest| rest.chunks(61).next()).unwrap_or_default().into()
    }
}

/// A policy document: it either loads, or everything wrong with it is reported, each problem on one line, and
/// the same way each time, also if it is read in parts.
pub fn policy(json: &[u8]) {
    let environment = |name: &str| (!name.is_empty()).then(|| "secret".to_owned());
    match (Policy::load(json, &environment), Policy::load(&Parts(json), &environment)) {
        (Ok(policy), Ok(again)) => {
            assert_eq!(policy.digest, again.digest);
            decide(
                &Driver::new(Rc::new(policy), Memory::new()),
                &headers(b"GET\n/v1/orders/7?key=test\na.example\napikey: test"),
                b"{\"active\":true}",
            );
        }
        (Err(problems), Err(again)) => {
            assert!(!problems.list.is_empty(), "rejected without a problem");
            assert_eq!(problems, again, "reported differently the second time");
            let listed = problems.list.len();
            assert!(
                (listed..=listed.saturating_add(1)).contains(&problems.to_string().lines().count()),
                "{problems}"
            );
        }
        _ => panic!("the same document loads only once"),
    }
}

/// A request with method, target, host and headers on a line each, decided by `POLICY`. Closed paths stay
/// closed, and a permitted request is forwarded with the path that was decided on and without a forged
/// identity.
pub fn request(lines: &[u8]) {
    thread_local! {
        static COMPILED: Rc<Policy> =
            Rc::new(Policy::load(POLICY.as_bytes(), &|_| None).expect("the policy is valid"));
    }
    let driver = Driver::new(COMPILED.with(Rc::clone), Memory::new());
    let headers = headers(lines);
    for reply in [r#"{"active":true,"client_id":"web","scope":"read"}"#, r#"{"active":false}"#] {
        decide(&driver, &headers, reply.as_bytes());
    }
}

/// Hosts, base paths and rules of a policy, and requests for it, on a line each: `host`, `base`, `path`,
/// `regex` or `get`, and a text. A policy that loads finds the same rule for a path as it is sent, as it is
/// normalised, and with a trailing slash.
pub fn paths(lines: &[u8]) {
    let text = String::from_utf8_lossy(lines);
    let words: Vec<_> = text.lines().filter_map(|line| line.split_once(' ')).collect();
    let of = |kind: &'static str| {
        words.iter().filter(move |(word, _)| *word == kind).map(|(_, text)| (*text).to_owned())
    };
    let rule = |kind: &'static str| of(kind).map(move |text| serde_json::json!({kind: text}));
    let rules: Vec<_> = rule("path").chain(rule("regex")).collect();
    let hosts: Vec<_> = of("host").collect();
    let mut api = serde_json::json!({"name": "a", "access": ["allow"], "rules": rules});
    if let Some(members) = api.as_object_mut() {
        members.extend(of("base").next().map(|base| ("base_path".to_owned(), base.into())));
        members.extend((!hosts.is_empty()).then(|| ("hosts".to_owned(), hosts.clone().into())));
    }
    let document = serde_json::json!({"sidegate": "v1", "apis": [api]}).to_string();
    let Ok(policy) = compiled(document) else { return };
    let driver = Driver::new(policy, Memory::new());
    let host = hosts.first().map_or("a.example", |host| host.trim_start_matches("*."));
    let rule_for = |target: &str| {
        let fields = [(":method", "GET"), (":path", target), (":authority", host)];
        let headers = fields.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
        let request = Request::new(HeaderMap::from(headers.to_vec()), || None, 1);
        match driver.decide(request, NOW, |_| answered(b"{}")) {
            Ending::Permit(permit) => permit.trail().rule().map(str::to_owned),
            _ => None,
        }
    };
    for target in of("get") {
        let Ok(Target::Path(path)) = normalise(&target) else { continue };
        let found = rule_for(&target);
        assert_eq!(rule_for(path.path()), found, "{target:?} as it is normalised: {:?}", path.path());
        let slash = format!("{}/", path.path().trim_end_matches('/'));
        assert_eq!(rule_for(&slash), found, "{target:?} with a trailing slash");
    }
}

/// The policy of a document. The last one is kept: a fuzzer tries many requests for one policy.
fn compiled(document: String) -> Result<Rc<Policy>, ()> {
    thread_local! {
        static LAST: RefCell<(String, Result<Rc<Policy>, ()>)> =
            const { RefCell::new((String::new(), Err(()))) };
    }
    LAST.with_borrow_mut(|(last, policy)| {
        if *last != document {
            *policy = Policy::load(document.as_bytes(), &|_| None).map(Rc::new).map_err(drop);
            *last = document;
        }
        policy.clone()
    })
}

/// The reply of an introspection endpoint: the answer that is read from it survives the cache.
pub fn introspection(body: &[u8]) {
    let mut asked = AskedClaims::default();
    for path in ["a", "a.b", "roles"].into_iter().filter_map(|path| ClaimPath::parse(path).ok()) {
        asked.show(path);
    }
    if let Ok(Read::Vouched(introspected)) = read(&answered(body), &asked) {
        let answer = KeptAnswer::new(introspected, NOW);
        assert_eq!(KeptAnswer::decode(&answer.encode()), Some(answer));
    }
}

/// Replies of 3scale's backend. The first byte chooses the status: only 200 authorizes, and what is read from
/// a body is bounded.
pub fn threescale(bytes: &[u8]) {
    let (first, body) = bytes.split_first().unwrap_or((&0, &[]));
    let status = [200, 403, 404, 409, 422].get(usize::from(*first) % 5).copied().unwrap_or(200);
    let reason = String::from_utf8_lossy(body.get(..32).unwrap_or(body)).into_owned();
    let mut headers = HeaderList::new();
    headers.push("3scale-rejection-reason", reason);
    let body = Body::Whole(body.to_vec());
    let response = HttpResponse { status, headers, body, trailers: HeaderList::new() };
    match threescale::read(&Ok(Response::Http(response))) {
        Ok(threescale::Read::Authorized(answer)) => {
            assert_eq!(status, 200, "only a 200 authorizes");
            assert!(answer.limits.len() <= threescale::MOST_LIMITS, "too many limits");
        }
        Ok(threescale::Read::Rejected { rejection, .. }) => {
            assert!(status != 200, "{rejection:?}");
        }
        Err(_) => {}
    }
}

/// A token, and a key set: whatever the bytes are, no token is admitted, because the keys are of nobody.
pub fn jwt(bytes: &[u8]) {
    thread_local! {
        static GATE: Rc<Policy> = {
            let keys = include_str!("../tests/jwt/fixtures.json");
            let fixtures: serde_json::Value = serde_json::from_str(keys).expect("the fixtures are JSON");
            let keys = fixtures.get("keys").expect("the fixtures have keys").to_string();
            let jwks = serde_json::json!({"jwks": {"issuer": "https://idp", "keys": keys}});
            let api = serde_json::json!({"name": "a", "access": [{"jwt": {"provider": "p"}}], "rules": [{"path": "/**"}]});
            let policy = serde_json::json!({"sidegate": "v1", "providers": {"p": jwks}, "apis": [api]});
            Rc::new(Policy::load(policy.to_string().as_bytes(), &|_| None).expect("the policy is valid"))
        };
    }
    let _set = KeySet::parse(bytes);
    let Ok(token) = str::from_utf8(bytes) else { return };
    let _written = KeySet::parse_written(token);
    if let Ok(jws) = Jws::parse(token) {
        assert_eq!(token.split('.').count(), 3);
        assert!(!jws.signature.is_empty() && jws.signed.len() < token.len());
    }
    let driver = Driver::new(GATE.with(Rc::clone), Memory::new());
    let headers = [
        (":method", "GET".to_owned()),
        (":authority", "a".to_owned()),
        (":path", "/".to_owned()),
        ("authorization", format!("Bearer {token}")),
    ];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.into_bytes())).to_vec();
    let request = Request::new(HeaderMap::from(headers), || None, 1);
    // All tokens of the fixtures have expired at that time.
    let ending = driver.decide(request, NOW, |_| panic!("a call"));
    assert!(matches!(ending, Ending::Refused(_)));
}

/// Bytes in the store, as a whole slot and as the payload of an entry: they never admit more than the limit.
pub fn store(bytes: &[u8]) {
    let metrics = Metrics::new(&[("hits", None)]).expect("the metric is valid");
    let hits = metrics.find("hits").expect("the metric exists");
    let limit = |window, shape| Limit::new(&metrics, "hits", 2, window, shape).expect("the limit is valid");
    let limits = [limit(Window::Day, Shape::Fixed), limit(Window::Hour, Shape::Sliding)];
    let mut usage = Usage::new();
    usage.add(&metrics, hits, 1);

    let meter = MeterId::Known(Digest::of(b"meter"));
    let meters = Meters::new(NonZeroU32::MIN, NonZeroU32::MIN);
    let slot = Memory::new();
    let _absent = slot.compare_and_swap("sidegate/meters/0", bytes, ABSENT);
    let (slot, entry) = (Ports::new(slot), Ports::new(Memory::new()));
    let put = Change::Put { expires: Timestamp::MAX, payload: bytes.to_vec() };
    let (table, subject) = meters.find(meter);
    let _empty = table.update(entry.store(), &subject, |_| (put.clone(), ()));
    for ports in [slot, entry] {
        ports.set_now(NOW);
        let demands = [Demand { meter, limits: &limits }];
        let charge = || quota::charge(&ports, &meters, &demands, &usage).map(Receipt::settle);
        let admitted = (0..4).filter(|_| charge().is_ok()).count();
        assert!(admitted <= 2, "{admitted} requests were admitted");
    }
    if let Some(kept) = threescale::Kept::decode(bytes) {
        assert_eq!(threescale::Kept::decode(&kept.encode()), Some(kept));
    }
    if let Some(answer) = KeptAnswer::decode(bytes) {
        assert_eq!(KeptAnswer::decode(&answer.encode()), Some(answer));
    }
}

/// Method, target and authority, then `name: value`, on a line each.
fn headers(lines: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut lines = lines.split(|byte| *byte == b'\n');
    let mut headers: Vec<_> = [":method", ":path", ":authority"]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), lines.next()?.to_vec())))
        .collect();
    headers.extend(lines.filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = line.split_at_checked(colon)?;
        let name = std::str::from_utf8(name).ok()?.to_ascii_lowercase();
        Some((name, value.get(1..)?.trim_ascii().to_vec()))
    }));
    headers
}

/// Runs a request to its end with providers that answer with `body`.
fn decide(driver: &Driver<Memory>, headers: &[(String, Vec<u8>)], body: &[u8]) {
    let request = Request::new(HeaderMap::from(headers.to_vec()), || Some("192.0.2.1".to_owned()), 1);
    let ending = driver.decide(request, NOW, |_| answered(body));
    let Ending::Permit(permit) = ending else { return };
    let edits = permit.edits();
    let forged = |name: &str| {
        edits.remove.iter().all(|removed| removed != name) && edits.set.iter().all(|(set, _)| **set != *name)
    };
    let reserved = &driver.policy().reserved_headers;
    assert!(
        !headers.iter().any(|(name, _)| reserved.contain(name.as_bytes()) && forged(name)),
        "a forged identity is forwarded: {edits:?}"
    );

    let set = edits.set.iter().find(|(name, _)| **name == *":path").map(|(_, path)| path);
    let sent = headers.iter().rfind(|(name, _)| name == ":path").map(|(_, path)| path);
    let path = set.or(sent).and_then(|path| std::str::from_utf8(path).ok());
    if let Some(Ok(Target::Path(path))) = path.map(normalise) {
        assert!(!path.is_changed(), "the forwarded path is not the one decided on: {edits:?}");
        let closed = path.path() == "/v1/closed" || path.path().starts_with("/v1/closed/");
        assert!(!closed || permit.trail().api() != Some("a"), "a closed path was opened: {edits:?}");
    }
}

fn answered(body: &[u8]) -> CallResult {
    Ok(Response::Http(HttpResponse {
        status: 200,
        headers: HeaderList::from([("content-type", "application/json")]),
        body: Body::Whole(body.to_vec()),
        trailers: HeaderList::new(),
    }))
}
