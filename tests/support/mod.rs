//! What tests of whole requests share: a store for several workers, policies from JSON, and requests that are
//! written in one line.

mod header_lines;

use std::rc::Rc;

use serde_json::{Value, json};
use sidegate::{
    credential::Digest,
    headers::HeaderList,
    provider::{Body, CallResult, HttpResponse, Response},
    store::Memory,
    time::Timestamp,
};

/// Friday, 2026-11-20T12:00:00Z.
pub const NOW: Timestamp = Timestamp::from_seconds(1_795_176_000);

/// The value of the environment's one variable, `HYDRA_SECRET`.
pub const PROVIDER_SECRET: &str = "the-secret-of-the-gate";

/// A store that several gates share, as Envoy's workers share theirs.
pub type Shared = Rc<Memory>;

/// The environment of the tests.
pub fn environment(name: &str) -> Option<String> {
    (name == "HYDRA_SECRET").then(|| PROVIDER_SECRET.to_owned())
}

/// A policy with an introspection endpoint `hydra` and these consumers and APIs.
pub fn document(consumers: Value, apis: Value) -> Value {
    json!({
        "sidegate": "v1",
        "revision": "r1",
        "gate": {"realm": "api.example.com"},
        "providers": {"hydra": {"introspection": {
            "cluster": "hydra-admin",
            "url": "http://hydra:4445/admin/oauth2/introspect",
            "authentication": {"basic": {"id": "gateway", "secret": {"env": "HYDRA_SECRET"}}},
            "cache": {"ttl": "30s", "negative_ttl": "5s"},
        }}},
        "consumers": consumers,
        "apis": apis,
    })
}

/// A consumer with one key, `key-of-<name>`, and one OAuth2 client, `<name>-web`.
pub fn consumer(name: &str) -> Value {
    json!({"name": name, "keys": [{"sha256": sha256(&format!("key-of-{name}"))}], "clients": [format!("{name}-web")]})
}

/// The digest of a key as policies hold it.
pub fn sha256(text: &str) -> String {
    Digest::of(text.as_bytes()).to_hex()
}

/// A valid answer of the introspection endpoint.
pub fn answer(body: &Value) -> CallResult {
    http(200, &[("content-type", "application/json")], &body.to_string())
}

/// An HTTP response of a provider.
pub fn http(status: u16, headers: &[(&'static str, &str)], body: &str) -> CallResult {
    let mut list = HeaderList::new();
    headers.iter().for_each(|(name, value)| list.push(*name, (*value).to_owned()));
    let body = Body::Whole(body.as_bytes().to_vec());
    Ok(Response::Http(HttpResponse { status, headers: list, body, trailers: HeaderList::new() }))
}

/// A request.
#[derive(Clone, Debug)]
pub struct Ask {
    pub headers: Vec<(String, Vec<u8>)>,
    pub address: Option<&'static str>,
    /// What earlier filters attached.
    pub metadata: Option<Vec<u8>>,
    /// The SHA-256 of the caller's client certificate.
    pub certificate: Option<String>,
    pub at: Timestamp,
}

/// A GET request for `api.example.com` at [`NOW`].
pub fn get(path: &str) -> Ask {
    ask("GET", path)
}

/// A request for `api.example.com` at [`NOW`].
pub fn ask(method: &str, path: &str) -> Ask {
    Ask { headers: Vec::new(), address: Some("192.0.2.1"), metadata: None, certificate: None, at: NOW }
        .with(":method", method)
        .with(":scheme", "https")
        .with(":authority", "api.example.com")
        .with(":path", path)
}

impl Ask {
    /// Adds a header line, as Envoy does it before any filter sees the request.
    pub fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        header_lines::add(&mut self.headers, name, value.as_ref());
        self
    }

    pub fn key(self, key: &str) -> Self {
        self.with("apikey", key)
    }

    pub fn token(self, token: &str) -> Self {
        self.with("authorization", format!("Bearer {token}"))
    }
}
