//! The cases. Each has its own Envoy with one worker, one listener, and a route that Envoy answers itself.

use std::{error::Error, io, net::SocketAddr};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sidegate_harness::{
    Answer, Client, Connection, Envoy, Listener, Oidc, RateLimit, Redis, Request, Setup, StubProvider,
    Upstream, Wasm, direct_response, route,
    threescale::{Application, Period, Service, Threescale},
};

use crate::{peers, policy, worst};

/// All cases, in the order of the table.
pub const NAMES: [&str; 27] = [
    "plain",
    "noop",
    "floor",
    "native_keys",
    "native_ext_authz",
    "native_lua",
    "key_binding_limits",
    "key_bare",
    "key_proxied",
    "mock",
    "refused_key",
    "introspection_cached",
    "jwt_plain",
    "jwt_introspected",
    "jwt_cached",
    "jwt_verified_by_envoy",
    "threescale_cached",
    "key_binding_limits_100k",
    "local_limits",
    "replicated_leases",
    "replicated_exact",
    "native_ratelimit",
    "plain_long_target",
    "worst_matching",
    "plain_many_headers",
    "worst_headers",
    "worst_token",
];

/// The cases without any filter.
pub const PLAIN: [&str; 2] = ["plain", "jwt_plain"];

/// The case without any filter that another one is counted over. Envoy alone needs many instructions for a
/// JWT, because it is long, so cases with one are counted over a request with one.
pub fn plain(name: &str) -> &'static str {
    let [plain, with_jwt] = PLAIN;
    if name.starts_with("jwt_") { with_jwt } else { plain }
}

const GATEWAY_SECRET: &str = "bench-gateway-secret";

/// A running case.
pub struct Case {
    name: &'static str,
    envoy: Envoy,
    address: SocketAddr,
    request: Vec<u8>,
    status: u16,
    _beside: Beside,
}

/// What runs beside Envoy. Its CPU and its instructions are not measured.
enum Beside {
    Nothing,
    Provider { _oidc: Oidc },
    Service { _service: Upstream },
    Stub { _provider: StubProvider },
    Counting { _service: RateLimit, _redis: Redis },
    Backend { _threescale: Threescale },
}

impl Case {
    /// Starts the named cases. `many` is the number of consumers in the case with many.
    pub async fn start_all(names: &[&'static str], many: usize) -> Result<Vec<Self>, Box<dyn Error>> {
        let mut cases = Vec::new();
        for name in names {
            cases.push(Self::start(name, many, &|setup| setup).await?);
        }
        Ok(cases)
    }

    /// Starts one case, in a setup that `prepare` has the last word on.
    pub async fn start(
        name: &'static str,
        many: usize,
        prepare: &dyn Fn(Setup) -> Setup,
    ) -> Result<Self, Box<dyn Error>> {
        let listener = Listener::new("bench");
        let with_key = || request().header("apikey", policy::key(7));
        let (listener, request, status) = match name {
            "plain" => (listener, request(), 200),
            "noop" => (listener.wasm(&Wasm::noop()), request(), 200),
            "floor" => (listener.wasm(&Wasm::floor()), with_key(), 200),
            "native_keys" => (peers::keys_and_limit(listener), with_key(), 200),
            "native_lua" => (listener.filter(peers::lua()), with_key(), 200),
            "key_binding_limits" => {
                (listener.wasm(&Wasm::sidegate(&policy::of_consumers(10))), with_key(), 200)
            }
            "key_bare" => (listener.wasm(&Wasm::sidegate(&policy::bare(10))), with_key(), 200),
            "key_proxied" => return Self::proxied(name, listener, with_key(), prepare).await,
            "mock" => (listener.wasm(&Wasm::sidegate(&policy::mocked(10))), with_key(), 200),
            "key_binding_limits_100k" => {
                (listener.wasm(&Wasm::sidegate(&policy::of_consumers(many))), with_key(), 200)
            }
            "refused_key" => {
                let with_guess = request().header("apikey", "a-guess");
                (listener.wasm(&Wasm::sidegate(&policy::of_consumers(10))), with_guess, 401)
            }
            "local_limits" => (listener.wasm(&Wasm::sidegate(&policy::daily(10))), with_key(), 200),
            "replicated_leases" | "replicated_exact" => {
                let lease = if name == "replicated_exact" { json!("none") } else { json!("adaptive") };
                let filter = Wasm::sidegate(&policy::replicated(10, &lease));
                let listener = listener.wasm(&filter).route(direct_response(200, "ok"));
                return Self::counting(name, listener, with_key(), prepare).await;
            }
            "native_ratelimit" => {
                return Self::counting(name, peers::ratelimit(listener), with_key(), prepare).await;
            }
            "native_ext_authz" => return Self::ext_authz(name, listener, with_key(), prepare).await,
            "plain_long_target" => (worst::roomy(listener), request_for(&worst::target()), 200),
            "plain_many_headers" => (worst::roomy(listener), worst::many_headers(with_key()), 200),
            "worst_matching" => {
                let listener = worst::roomy(listener).wasm(&Wasm::sidegate(&worst::matching()));
                (listener, request_for(&worst::target()), 200)
            }
            "worst_headers" => {
                let listener = worst::roomy(listener).wasm(&Wasm::sidegate(&policy::of_consumers(10)));
                (listener, worst::many_headers(with_key()), 200)
            }
            "worst_token" => return Self::many_scopes(name, listener, prepare).await,
            "introspection_cached" => return Self::introspection(name, listener, prepare).await,
            "jwt_plain" | "jwt_introspected" | "jwt_cached" | "jwt_verified_by_envoy" => {
                return Self::jwt(name, listener, prepare).await;
            }
            "threescale_cached" => return Self::threescale(name, listener, prepare).await,
            other => return Err(format!("no case {other}").into()),
        };
        let setup = Setup::new(listener.route(direct_response(200, "ok")));
        Ok(Self::running(name, prepare(setup), request, status, Beside::Nothing).await)
    }

    /// With a service behind Envoy, which answers with what it received.
    async fn proxied(
        name: &'static str,
        listener: Listener,
        request: Request,
        prepare: &dyn Fn(Setup) -> Setup,
    ) -> Result<Self, Box<dyn Error>> {
        let service = Upstream::echo("service").await;
        let listener = listener.wasm(&Wasm::sidegate(&policy::of_consumers(10))).route(route("service"));
        let setup = Setup::new(listener).cluster("service", service.address());
        let beside = Beside::Service { _service: service };
        Ok(Self::running(name, prepare(setup), request, 200, beside).await)
    }

    async fn ext_authz(
        name: &'static str,
        listener: Listener,
        request: Request,
        prepare: &dyn Fn(Setup) -> Setup,
    ) -> Result<Self, Box<dyn Error>> {
        let service = Upstream::granting(&peers::GRANTED).await;
        let listener = listener.filter(peers::ext_authz(service.address())).route(direct_response(200, "ok"));
        let setup = Setup::new(listener).cluster(peers::AUTHORIZER, service.address());
        let beside = Beside::Service { _service: service };
        Ok(Self::running(name, prepare(setup), request, 200, beside).await)
    }

    /// With a rate limit service.
    async fn counting(
        name: &'static str,
        listener: Listener,
        request: Request,
        prepare: &dyn Fn(Setup) -> Setup,
    ) -> Result<Self, Box<dyn Error>> {
        let redis = Redis::start().await;
        let service = RateLimit::start_with(redis.address(), peers::LIMITS, &[]).await;
        let setup = Setup::new(listener).http2_cluster(policy::COUNTER, &[service.address()]);
        let beside = Beside::Counting { _service: service, _redis: redis };
        Ok(Self::running(name, prepare(setup), request, 200, beside).await)
    }

    async fn introspection(
        name: &'static str,
        listener: Listener,
        prepare: &dyn Fn(Setup) -> Setup,
    ) -> Result<Self, Box<dyn Error>> {
        let clients =
            [Client::new("gateway", GATEWAY_SECRET, ""), Client::new("acme-web", "acme", "orders.read")];
        let oidc = Oidc::start(clients).await;
        let token = oidc.token("acme-web", "orders.read", Some(Oidc::ORDERS)).await;
        let filter = Wasm::sidegate(&policy::of_tokens(&oidc.introspection()))
            .environment("OIDC_SECRET", GATEWAY_SECRET);
        let setup = Setup::new(listener.wasm(&filter).route(direct_response(200, "ok")))
            .cluster("oidc", oidc.address());
        let beside = Beside::Provider { _oidc: oidc };
        Ok(Self::running(name, prepare(setup), request().bearer(&token), 200, beside).await)
    }

    /// The stand-in for 3scale's backend knows the application, whose plan has three limits.
    async fn threescale(
        name: &'static str,
        listener: Listener,
        prepare: &dyn Fn(Setup) -> Setup,
    ) -> Result<Self, Box<dyn Error>> {
        const MANY: u64 = 1_000_000_000;
        let limits =
            [("reads", Period::Day, MANY), ("hits", Period::Hour, MANY), ("hits", Period::Month, MANY)];
        let service =
            Service::of_user_keys("1", "t0ken").metric("reads", Some("hits")).plan("basic", &limits);
        let application = Application::new("acme", "basic").user_key(policy::USER_KEY);
        let backend = Threescale::start([service.application(application)]).await;
        let filter = Wasm::sidegate(&policy::of_applications());
        let setup = Setup::new(listener.wasm(&filter).route(direct_response(200, "ok")))
            .cluster("su1", backend.address());
        let beside = Beside::Backend { _threescale: backend };
        let request = request().header("apikey", policy::USER_KEY);
        Ok(Self::running(name, prepare(setup), request, 200, beside).await)
    }

    async fn jwt(
        name: &'static str,
        listener: Listener,
        prepare: &dyn Fn(Setup) -> Setup,
    ) -> Result<Self, Box<dyn Error>> {
        let oidc = Oidc::start([Client::new("acme-web", "acme", "orders.read")]).await;
        let token = oidc.token("acme-web", "orders.read", Some(Oidc::ORDERS_JWT)).await;
        let (issuer, keys) = (oidc.issuer(), oidc.keys());
        let mut provider = None;
        let mut address = oidc.address();
        let listener = match name {
            "jwt_plain" => listener,
            "jwt_introspected" => {
                let answer = Answer::json(&introspected(&token)?);
                address = provider.insert(StubProvider::start(answer).await).address();
                let filter = Wasm::sidegate(&policy::of_tokens("http://oidc/introspect"));
                listener.wasm(&filter.environment("OIDC_SECRET", GATEWAY_SECRET))
            }
            "jwt_verified_by_envoy" => listener
                .filter(peers::jwt_authn(&issuer, &keys))
                .wasm(&Wasm::sidegate(&policy::of_jwts(&issuer, None))),
            _ => listener.wasm(&Wasm::sidegate(&policy::of_jwts(&issuer, Some(&keys)))),
        };
        let setup = Setup::new(listener.route(direct_response(200, "ok"))).cluster("oidc", address);
        let beside = match provider {
            Some(provider) => Beside::Stub { _provider: provider },
            None => Beside::Provider { _oidc: oidc },
        };
        Ok(Self::running(name, prepare(setup), request().bearer(&token), 200, beside).await)
    }

    async fn many_scopes(
        name: &'static str,
        listener: Listener,
        prepare: &dyn Fn(Setup) -> Setup,
    ) -> Result<Self, Box<dyn Error>> {
        let provider = StubProvider::start(Answer::json(&worst::token())).await;
        let filter = Wasm::sidegate(&policy::of_tokens("http://oidc/introspect"))
            .environment("OIDC_SECRET", GATEWAY_SECRET);
        let setup = Setup::new(listener.wasm(&filter).route(direct_response(200, "ok")))
            .cluster("oidc", provider.address());
        let beside = Beside::Stub { _provider: provider };
        Ok(Self::running(name, prepare(setup), request().bearer("worst"), 200, beside).await)
    }

    async fn running(
        name: &'static str,
        setup: Setup,
        request: Request,
        status: u16,
        beside: Beside,
    ) -> Self {
        let envoy = Envoy::start(setup.workers(1).log_level("warning")).await;
        let address = envoy.address().await;
        Self { name, envoy, address, request: request.bytes(), status, _beside: beside }
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The id of its Envoy process.
    pub fn process(&self) -> u32 {
        self.envoy.process().id()
    }

    /// Its listener.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What sends its request, without borrowing it.
    pub fn sender(&self) -> Sender {
        Sender { request: self.request.clone(), status: self.status }
    }
}

/// Sends the request that a case is measured with.
pub struct Sender {
    request: Vec<u8>,
    status: u16,
}

impl Sender {
    /// Sends it so many times over one connection; every answer must have the status of the case.
    pub async fn send(&self, connection: &mut Connection, times: usize) -> io::Result<()> {
        for _ in 0..times {
            let answer = connection.send_bytes(&self.request, false).await?;
            if answer.status != self.status {
                return Err(io::Error::other(format!("status {}: {}", answer.status, answer.text())));
            }
        }
        Ok(())
    }
}

/// What a provider answers about a JWT that it has issued: the claims of the JWT, and that it is active.
fn introspected(token: &str) -> Result<Value, Box<dyn Error>> {
    let payload = token.split('.').nth(1).ok_or("not a JWT")?;
    let mut claims: Value = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(payload)?)?;
    claims.as_object_mut().ok_or("no claims")?.insert("active".to_owned(), true.into());
    Ok(claims)
}

fn request() -> Request {
    request_for("/v1/orders/17?expand=items")
}

fn request_for(target: &str) -> Request {
    Request::get(target)
        .host("orders.example.com")
        .header("user-agent", "bench/1.0")
        .header("accept", "application/json")
        .header("accept-encoding", "gzip")
}
