//! Measures what one verification of a JWT costs: natively, and in a real Envoy, where it is WebAssembly. The
//! same token is asked about twice, once where nothing is kept and once where it is in the cache; the
//! difference is the verification.

use std::{collections::BTreeSet, error::Error, rc::Rc, time::Duration};

use serde_json::{Value, json};
use sidegate::{
    gate::{Ending, Request as GateRequest, drive::Driver},
    headers::HeaderMap,
    policy::Policy,
    store::Memory,
    time::Timestamp,
};
use sidegate_harness::{Connection, Envoy, Listener, Request, Setup, Wasm, direct_response};
use tokio::time::{Instant, sleep};

use crate::loads::of_workers;

/// The keys, and tokens that were valid on one day.
const FIXTURES: &str = include_str!("../../tests/jwt/fixtures.json");

/// That day.
const THEN: Timestamp = Timestamp::from_seconds(1_795_176_000);

/// Kinds of signatures, and the names of their tokens.
const KINDS: [(&str, &str); 8] = [
    ("RS256, 2,048 bits", "RS256"),
    ("RS256, 4,096 bits", "RS256_4096"),
    ("PS256, 2,048 bits", "PS256"),
    ("RS512, 2,048 bits", "RS512"),
    ("ES256", "ES256"),
    ("ES384", "ES384"),
    ("ES512", "ES512"),
    ("EdDSA (Ed25519)", "EdDSA"),
];

/// Requests before a measurement: the compiler in V8 optimises what runs often.
const WARM_UP: u32 = 300;

/// Series of a measurement. The fastest counts: work of others makes the rest slower.
const SERIES: u32 = 7;

/// Requests of a series.
const REQUESTS: u32 = 60;

/// What a verification costs, in microseconds of CPU.
#[derive(Clone, Debug)]
pub struct Verification {
    /// The kind of signature.
    pub name: &'static str,
    /// As native code.
    pub native: f64,
    /// In Envoy.
    pub in_envoy: f64,
}

/// Measures all kinds.
pub async fn measure() -> Result<Vec<Verification>, Box<dyn Error>> {
    let fixtures: Value = serde_json::from_str(FIXTURES)?;
    let keys = fixtures.get("keys").ok_or("no keys")?.to_string();
    let policy = policy(&keys);
    let listener = Listener::new("main").wasm(&Wasm::sidegate(&policy)).route(direct_response(200, ""));
    let envoy = Envoy::start(Setup::new(listener).workers(1).log_level("warning")).await;
    let loaded = Policy::load(policy.to_string().as_bytes(), &|_| None).map_err(|error| error.to_string())?;
    let driver = Driver::new(Rc::new(loaded), Memory::default());
    let mut verifications = Vec::new();
    for (name, token) in KINDS {
        let token = fixtures.pointer(&format!("/valid/{token}")).and_then(Value::as_str).ok_or("no token")?;
        let [verified, cached] = ["/verified", "/cached"].map(|path| natively(&driver, path, token));
        let native = difference(verified?, cached?);
        let in_envoy = difference(
            in_envoy(&envoy, "/verified", token).await?,
            in_envoy(&envoy, "/cached", token).await?,
        );
        verifications.push(Verification { name, native, in_envoy });
    }
    Ok(verifications)
}

/// A table in Markdown.
pub fn table(verifications: &[Verification]) -> String {
    let mut table = String::from("| signature | native, µs | in Envoy, µs |\n|---|---:|---:|\n");
    for Verification { name, native, in_envoy } in verifications {
        table.push_str(&format!("| {name} | {native:.0} | {in_envoy:.0} |\n"));
    }
    table
}

/// The tokens are never too old, and one of the two providers keeps nothing.
fn policy(keys: &str) -> Value {
    let provider = |ttl: &str| json!({"jwks": {"issuer": "https://idp", "keys": keys, "leeway": "36500d", "cache": {"ttl": ttl}}});
    let rule = |name: &str| json!({"path": format!("/{name}"), "access": [{"jwt": {"provider": name}}]});
    json!({
        "sidegate": "v1",
        "gate": {"capacity": {"verifications": 10_000}},
        "providers": {"verified": provider("0s"), "cached": provider("1h")},
        "apis": [{"name": "a", "rules": [rule("verified"), rule("cached")]}],
    })
}

/// Microseconds between two times of a request.
fn difference(verified: Duration, cached: Duration) -> f64 {
    verified.saturating_sub(cached).as_secs_f64() * 1e6
}

/// The time of one request as native code.
fn natively(driver: &Driver<Memory>, path: &str, token: &str) -> Result<Duration, Box<dyn Error>> {
    let authorization = format!("Bearer {token}");
    let fields =
        [(":method", "GET"), (":path", path), (":authority", "a"), ("authorization", &authorization)];
    let fields: Vec<_> =
        fields.into_iter().map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())).collect();
    let mut least = Duration::MAX;
    // A second of its own for each request: what a worker verifies in a second is limited.
    let mut moment = THEN;
    for _ in 0..SERIES {
        let clock = Instant::now();
        for _ in 0..REQUESTS {
            moment = moment.saturating_add(Duration::from_secs(1));
            let request = GateRequest::new(HeaderMap::from(fields.clone()), || None, 0);
            let ending = driver.decide(request, moment, |_| Err(sidegate::provider::CallFailure::Failed));
            if !matches!(ending, Ending::Permit(_)) {
                return Err(format!("{path}: the token is refused").into());
            }
        }
        least = least.min(clock.elapsed());
    }
    Ok(least.checked_div(REQUESTS).unwrap_or_default())
}

/// The CPU time of the worker for one request.
async fn in_envoy(envoy: &Envoy, path: &str, token: &str) -> Result<Duration, Box<dyn Error>> {
    let request = Request::get(path).bearer(token);
    let mut connection = Connection::open(envoy.address().await).await?;
    let mut least = Duration::MAX;
    for series in 0..=SERIES {
        let requests = if series == 0 { WARM_UP } else { REQUESTS };
        let mut before = of_workers(envoy.process().id())?;
        let mut answered = statuses(&mut connection, &request, requests).await?;
        if answered.contains(&503) {
            // What a worker verifies in a second is limited.
            sleep(Duration::from_secs(1)).await;
            before = of_workers(envoy.process().id())?;
            answered = statuses(&mut connection, &request, requests).await?;
        }
        if answered != BTreeSet::from([200]) {
            return Err(format!("{path}: statuses {answered:?}").into());
        }
        let took = of_workers(envoy.process().id())?.saturating_sub(before);
        if series > 0 {
            least = least.min(took);
        }
    }
    Ok(least.checked_div(REQUESTS).unwrap_or_default())
}

/// The statuses of this many answers.
async fn statuses(
    connection: &mut Connection,
    request: &Request,
    requests: u32,
) -> Result<BTreeSet<u16>, Box<dyn Error>> {
    let mut statuses = BTreeSet::new();
    for _ in 0..requests {
        statuses.insert(connection.send(request).await?.status);
    }
    Ok(statuses)
}
