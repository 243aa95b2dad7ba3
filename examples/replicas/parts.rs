//! What the demo uses: Redis, the rate limit service, three Envoys with `envoy/replica.yaml`, and an echoing
//! upstream.

use std::{error::Error, fmt, net::SocketAddr};

use serde_json::{Value, json};
use sidegate_harness::{
    Envoy, RateLimit, Redis, Request, Upstream, domain, eventually, send_all, set_host, sidegate_module, yaml,
};
use tempfile::TempDir;

/// The number of Envoys.
pub const REPLICAS: usize = 3;

/// Everything that runs. Ends when dropped.
pub struct Parts {
    /// The rate limit service.
    pub service: RateLimit,
    envoys: Vec<Envoy>,
    addresses: Vec<SocketAddr>,
    _redis: Redis,
    _upstream: Upstream,
    _directory: TempDir,
}

/// What became of some requests.
#[derive(Default)]
pub struct Sums {
    /// Requests that reached the service.
    pub admitted: usize,
    /// Those that were refused because nothing was left.
    pub exhausted: usize,
    /// Those that were refused because nobody counted.
    pub unavailable: usize,
    /// Calls to the rate limit service.
    pub calls: u64,
}

impl fmt::Display for Sums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { admitted, exhausted, unavailable, calls } = self;
        write!(f, "{admitted} admitted, {exhausted} refused with 429")?;
        if *unavailable > 0 {
            write!(f, ", {unavailable} refused with 503")?;
        }
        write!(f, ", {calls} calls")
    }
}

impl Parts {
    /// Starts everything.
    pub async fn start() -> Result<Self, Box<dyn Error>> {
        let upstream = Upstream::echo("orders").await;
        let redis = Redis::start().await;
        let service = RateLimit::start_with(redis.address(), &domain("sidegate"), &[]).await;

        let directory = TempDir::with_prefix("sidegate-replicas-")?;
        let file = directory.path().join("filter.yaml");
        std::fs::write(&file, filter()?.to_string())?;
        let mut bootstrap = yaml("envoy/replica.yaml");
        set_host(&mut bootstrap, "orders", upstream.address());
        set_host(&mut bootstrap, "ratelimit", service.address());
        let listener = "/static_resources/listeners/0";
        *at(&mut bootstrap, &format!("{listener}/address/socket_address/port_value"))? = json!(0);
        let manager = format!("{listener}/filter_chains/0/filters/0/typed_config");
        let source = format!("{manager}/http_filters/0/config_discovery/config_source/path_config_source");
        *at(&mut bootstrap, &source)? =
            json!({"path": file, "watched_directory": {"path": directory.path()}});

        let (mut envoys, mut addresses) = (Vec::new(), Vec::new());
        for _ in 0..REPLICAS {
            let envoy = Envoy::run(bootstrap.clone(), |envoy| {
                envoy.args(["--concurrency", "2"]);
            })
            .await;
            addresses.push(envoy.address().await);
            envoys.push(envoy);
        }
        Ok(Self { service, envoys, addresses, _redis: redis, _upstream: upstream, _directory: directory })
    }

    /// Sends so many requests to each Envoy, all at the same time.
    pub async fn send(&self, key: &str, requests: [usize; REPLICAS]) -> Sums {
        let before = self.calls().await;
        let sending: Vec<_> = self
            .addresses
            .iter()
            .zip(requests)
            .map(|(address, requests)| {
                let request = Request::get("/orders").header("apikey", key);
                tokio::spawn(send_all(*address, 4, vec![request; requests]))
            })
            .collect();
        let mut sums = Sums::default();
        for each in sending {
            for answer in each.await.into_iter().flatten() {
                let sum = match answer.status {
                    200 => &mut sums.admitted,
                    429 => &mut sums.exhausted,
                    _ => &mut sums.unavailable,
                };
                *sum = sum.saturating_add(1);
            }
        }
        Sums { calls: self.calls().await.saturating_sub(before), ..sums }
    }

    /// Waits until no Envoy refuses this caller because nobody counts.
    pub async fn answers_again(&self, key: &str) {
        eventually("the rate limit service to be asked again", async || {
            (self.send(key, [1; REPLICAS]).await.unavailable == 0).then_some(())
        })
        .await;
    }

    /// Prints commands to try.
    pub fn print_commands(&self) {
        println!("\nEverything is left running. Try:\n");
        for address in &self.addresses {
            println!("  curl -i -H 'apikey: leased-key' http://{address}/orders");
        }
        println!("\nCtrl-C ends it.");
    }

    async fn calls(&self) -> u64 {
        let mut calls = 0_u64;
        for envoy in &self.envoys {
            calls = calls.saturating_add(envoy.stat("cluster.ratelimit.upstream_rq_total").await);
        }
        calls
    }
}

/// `envoy/demo-filter.yaml` with the built module, and the policy as JSON.
fn filter() -> Result<Value, Box<dyn Error>> {
    let mut filter = yaml("envoy/demo-filter.yaml");
    let config = "/resources/0/typed_config/config";
    *at(&mut filter, &format!("{config}/vm_config/code/local/filename"))? = json!(sidegate_module());
    *at(&mut filter, &format!("{config}/configuration/value"))? =
        json!(yaml("envoy/replicas-policy.yaml").to_string());
    Ok(filter)
}

fn at<'a>(value: &'a mut Value, pointer: &str) -> Result<&'a mut Value, Box<dyn Error>> {
    value.pointer_mut(pointer).ok_or_else(|| format!("nothing at {pointer}").into())
}
