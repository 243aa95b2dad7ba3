//! The real OAuth2 server: `tools/oidc` on Node.

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::Command,
};

use base64::prelude::{BASE64_STANDARD as BASE64, Engine as _};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    client::{Request, send},
    process::Process,
    project,
};

/// An OAuth2 client: who may ask for tokens with which scopes, or introspect.
#[derive(Clone, Debug)]
pub struct Client {
    id: String,
    secret: String,
    scope: String,
    authentication: &'static str,
    ttl: u64,
    signed: bool,
}

impl Client {
    /// A client that authenticates with HTTP Basic; its tokens live an hour.
    pub fn new(id: &str, secret: &str, scope: &str) -> Self {
        Self {
            id: id.into(),
            secret: secret.into(),
            scope: scope.into(),
            authentication: "basic",
            ttl: 3600,
            signed: false,
        }
    }

    /// Authenticates in the form body instead.
    #[must_use]
    pub fn post(mut self) -> Self {
        self.authentication = "post";
        self
    }

    /// Gets signed answers from the introspection endpoint, if it asks for them.
    #[must_use]
    pub fn signed(mut self) -> Self {
        self.signed = true;
        self
    }

    /// Seconds that its tokens live.
    #[must_use]
    pub fn ttl(mut self, seconds: u64) -> Self {
        self.ttl = seconds;
        self
    }
}

/// A running OAuth2 server; ends when dropped.
#[derive(Debug)]
pub struct Oidc {
    process: Process,
    port: u16,
    clients: Vec<Client>,
    _log: TempDir,
}

impl Oidc {
    /// The resource indicator that gives a token the audience `orders`.
    pub const ORDERS: &str = "https://orders.example.com";

    /// The resource indicator that makes a token a JWT, for the same audience.
    pub const ORDERS_JWT: &str = "https://jwt.example.com";

    /// Starts one on a free port.
    pub async fn start(clients: impl IntoIterator<Item = Client>) -> Self {
        Self::start_on(0, clients).await
    }

    /// Starts one on a given port: for a provider that is restarted.
    pub async fn start_on(port: u16, clients: impl IntoIterator<Item = Client>) -> Self {
        let clients: Vec<_> = clients.into_iter().collect();
        let described: Vec<_> = clients
            .iter()
            .map(|Client { id, secret, scope, authentication, ttl, signed }| {
                json!({"id": id, "secret": secret, "scope": scope, "authentication": authentication, "ttl": ttl, "signed": signed})
            })
            .collect();
        let resources = json!({Self::ORDERS: {"audience": "orders"}, Self::ORDERS_JWT: {"audience": "orders", "format": "jwt"}});
        let configuration = json!({"port": port, "clients": described, "resources": resources});
        let log = TempDir::new().expect("a temporary directory");
        let mut node = Command::new("node");
        node.arg(project("tools/oidc/server.mjs")).arg(configuration.to_string());
        let path = log.path().join("oidc");
        let (process, stdout) = Process::start_and_listen(&mut node, &path);
        let line = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            BufReader::new(stdout).read_line(&mut line).map(|_| line)
        });
        let line = line.await.expect("no panic").expect("a line of text");
        let ready: Value = serde_json::from_str(&line).unwrap_or_else(|_| {
            panic!(
                "the OAuth2 server did not start (`make setup` installs it): {}",
                std::fs::read_to_string(&path).unwrap_or_default()
            )
        });
        let port = ready["port"].as_u64().and_then(|port| u16::try_from(port).ok()).expect("a port");
        Self { process, port, clients, _log: log }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// Its issuer name.
    pub fn issuer(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The path of its introspection endpoint.
    pub fn introspection(&self) -> String {
        format!("{}/token/introspection", self.issuer())
    }

    /// The URL of its introspection endpoint for callers with an access token, which has the scope
    /// `introspect`.
    pub fn introspection_by_token(&self) -> String {
        format!("{}/introspection", self.issuer())
    }

    /// The URL of its token endpoint.
    pub fn tokens(&self) -> String {
        format!("{}/token", self.issuer())
    }

    /// The URL of its keys.
    pub fn keys(&self) -> String {
        format!("{}/jwks", self.issuer())
    }

    /// Makes another key while it runs, which signs from now on. The earlier ones stay published.
    pub async fn rotate_keys(&self) {
        self.rotate("/rotate").await;
    }

    /// [`Oidc::rotate_keys`], and withdraws the earlier ones.
    pub async fn withdraw_keys(&self) {
        self.rotate("/rotate?withdraw").await;
    }

    async fn rotate(&self, path: &str) {
        let answer = send(self.address(), &Request::new("POST", path).body("")).await.expect("an answer");
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    }

    /// The process, for signals.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// A token for a client by the client credentials grant. `scope` may be empty; `resource` is an indicator
    /// such as [`Oidc::ORDERS`].
    pub async fn token(&self, client: &str, scope: &str, resource: Option<&str>) -> String {
        let mut form = vec![("grant_type", "client_credentials"), ("scope", scope)];
        form.extend(resource.map(|resource| ("resource", resource)));
        let answer = self.post("/token", client, &form).await;
        answer["access_token"].as_str().unwrap_or_else(|| panic!("no token for {client}: {answer}")).into()
    }

    /// Revokes a token.
    pub async fn revoke(&self, client: &str, token: &str) {
        self.post("/token/revocation", client, &[("token", token)]).await;
    }

    async fn post(&self, path: &str, client: &str, form: &[(&str, &str)]) -> Value {
        let client = self
            .clients
            .iter()
            .find(|each| each.id == client)
            .unwrap_or_else(|| panic!("no client {client}"));
        let mut fields = vec![("client_id", client.id.as_str()), ("client_secret", client.secret.as_str())];
        let mut request =
            Request::new("POST", path).header("content-type", "application/x-www-form-urlencoded");
        if client.authentication == "basic" {
            let credentials = format!("{}:{}", client.id, client.secret);
            request = request.header("authorization", format!("Basic {}", BASE64.encode(credentials)));
            fields.clear();
        }
        fields.extend(form);
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let answer = send(self.address(), &request.body(body)).await.expect("an answer");
        assert_eq!(answer.status, 200, "{path} for {}: {}", client.id, answer.text());
        answer.json()
    }
}
