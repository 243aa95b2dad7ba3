//! A stand-in for the backend of 3scale, its Service Management API (`apisonator`), which cannot be installed
//! here. It is a server of its own with its state in memory, and answers as the real one was seen to answer:
//! order of checks, codes, XML that is not escaped, the queue between an answer and its count. Its own test
//! is `tests/threescale_stand_in.rs`.

mod account;
mod answer;
mod checks;
mod parameters;
mod reports;

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

pub use account::{Application, Period, Service};
use account::{Counted, Usage};
use answer::{Call, Options, empty, error};
use jiff::Timestamp;
use parameters::Parameters;

use crate::{
    eventually,
    server::{Received, Reply, Server, http, reply},
};

/// What goes wrong with every call to the stand-in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// It closes every connection without an answer, and counts nothing.
    Stopped,
    /// It answers after this time.
    Slow(Duration),
    /// It answers with this status and plain text, as the real one does without its database.
    Status(u16),
    /// It answers with status 200 and these bytes.
    Bytes(Vec<u8>),
}

/// A call that the stand-in received.
#[derive(Clone, Debug)]
pub struct Asked {
    /// `GET` or `POST`.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The query, or the body of a report.
    pub parameters: String,
    /// The header `3scale-options`.
    pub options: String,
}

/// The stand-in, on a free port of loopback; ends when dropped.
#[derive(Debug)]
pub struct Threescale {
    server: Server,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    services: Vec<Service>,
    counted: Counted,
    /// What is accepted and not counted yet.
    queue: Vec<Accepted>,
    /// How many transactions had a code, by application and code.
    codes: HashMap<(String, String), u64>,
    worker_is_stopped: bool,
    errors: Vec<String>,
    fault: Fault,
    clock: Option<Timestamp>,
    asked: Vec<Asked>,
}

/// A transaction that was accepted.
#[derive(Debug)]
struct Accepted {
    application: String,
    usage: Usage,
    moment: Timestamp,
    code: Option<String>,
}

impl Threescale {
    /// Starts with these services.
    pub async fn start(services: impl IntoIterator<Item = Service>) -> Self {
        let state = State { services: services.into_iter().collect(), ..State::default() };
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        let server = Server::start(move |stream| {
            let state = Arc::clone(&shared);
            async move {
                http(stream, |request| answer(Arc::clone(&state), request)).await;
            }
        })
        .await;
        Self { server, state }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// From now on, every call fails in this way.
    pub fn now(&self, fault: Fault) {
        self.state().fault = fault;
    }

    /// Stands still at this moment (RFC 3339).
    pub fn at(&self, moment: &str) {
        self.state().clock = Some(moment.parse().expect("a moment"));
    }

    /// Replaces the services; what was counted stays.
    pub fn replace(&self, services: impl IntoIterator<Item = Service>) {
        self.state().services = services.into_iter().collect();
    }

    /// Stops the worker that counts what was accepted.
    pub fn stop_worker(&self) {
        self.state().worker_is_stopped = true;
    }

    /// Starts the worker again, which counts what it missed.
    pub fn start_worker(&self) {
        let mut state = self.state();
        state.worker_is_stopped = false;
        state.work();
    }

    /// Everything that was ever counted of a metric for an application.
    pub fn counted(&self, application: &str, metric: &str) -> u64 {
        let state = self.state();
        state.counted.current(application, metric, Period::Eternity, state.now())
    }

    /// How many transactions of an application had this `log[code]`.
    pub fn answered(&self, application: &str, code: u16) -> u64 {
        let key = (application.to_owned(), code.to_string());
        self.state().codes.get(&key).copied().unwrap_or_default()
    }

    /// The errors in accepted reports: the service's list of integration errors.
    pub fn errors(&self) -> Vec<String> {
        self.state().errors.clone()
    }

    /// The calls so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.state().asked.clone()
    }

    /// How many calls there were to a path.
    pub fn calls(&self, path: &str) -> usize {
        self.state().asked.iter().filter(|asked| asked.path == path).count()
    }

    /// Waits until this much of a metric is counted for an application. Panics if it is more.
    pub async fn reached(&self, application: &str, metric: &str, amount: u64) {
        eventually(&format!("{amount} {metric} of {application} at the backend"), async || {
            let counted = self.counted(application, metric);
            assert!(counted <= amount, "counted {counted}, more than {amount}");
            (counted == amount).then_some(())
        })
        .await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while it was held")
    }
}

async fn answer(state: Arc<Mutex<State>>, request: Received) -> Reply {
    let fault = {
        let mut state = state.lock().expect("no panic while it was held");
        let asked = asked(&request);
        state.asked.push(asked);
        state.fault.clone()
    };
    match fault {
        Fault::Stopped => return Reply::Last(Vec::new()),
        Fault::Status(status) => return reply(status, "text/plain", "the database is gone"),
        Fault::Bytes(bytes) => return reply(200, "application/vnd.3scale-v2.0+xml", bytes),
        Fault::Slow(delay) => tokio::time::sleep(delay).await,
        Fault::None => {}
    }
    state.lock().expect("no panic while it was held").answer(&request)
}

fn asked(request: &Received) -> Asked {
    let query = request.uri().query().unwrap_or_default();
    let body = String::from_utf8_lossy(request.body());
    let options = request.headers().get("3scale-options").map(|value| value.as_bytes());
    Asked {
        method: request.method().to_string(),
        path: request.uri().path().to_owned(),
        parameters: [query, &body].concat(),
        options: String::from_utf8_lossy(options.unwrap_or_default()).into_owned(),
    }
}

impl State {
    fn now(&self) -> Timestamp {
        self.clock.unwrap_or_else(Timestamp::now)
    }

    /// Counts what was accepted.
    fn work(&mut self) {
        if !self.worker_is_stopped {
            for Accepted { application, usage, moment, code } in std::mem::take(&mut self.queue) {
                self.counted.add(&application, &usage, moment);
                if let Some(code) = code {
                    *self.codes.entry((application, code)).or_default() += 1;
                }
            }
        }
    }

    fn answer(&mut self, request: &Received) -> Reply {
        let options = request.headers().get("3scale-options").map_or(&b""[..], |value| value.as_bytes());
        let options = Options::parse(options);
        match (request.method().as_str(), request.uri().path()) {
            ("GET", "/status") => reply(200, "application/json", r#"{"status":"ok"}"#),
            ("GET", "/transactions/authorize.xml") => {
                self.authorize(request, options, Call::Authorize, false)
            }
            ("GET", "/transactions/authrep.xml") => self.authorize(request, options, Call::AuthRep, false),
            ("GET", "/transactions/oauth_authorize.xml") => {
                self.authorize(request, options, Call::Authorize, true)
            }
            ("GET", "/transactions/oauth_authrep.xml") => {
                self.authorize(request, options, Call::AuthRep, true)
            }
            ("POST", "/transactions.xml") => match self.report(request, options) {
                Ok(()) => {
                    self.work();
                    empty(202)
                }
                Err(raised) => error(&raised, options),
            },
            _ => empty(404),
        }
    }

    fn authorize(&mut self, request: &Received, options: Options, call: Call, is_oauth: bool) -> Reply {
        let now = self.now();
        let Ok(parameters) = Parameters::parse(request.uri().query().unwrap_or_default().as_bytes()) else {
            let message = "the parameters are not UTF-8".to_owned();
            return error(&checks::raised(422, "not_valid_data", message), options);
        };
        let status = checks::service(&self.services, &parameters).and_then(|service| {
            if parameters.has("user_id") {
                let message = "there are no end users any more".to_owned();
                return Err(checks::raised(400, "end_users_no_longer_supported", message));
            }
            if parameters.has("usage") {
                return Err(checks::raised(403, "", String::new()));
            }
            let kind = (is_oauth, options.flat_usage);
            Ok((service, checks::status(service, &parameters, &self.counted, kind, now)?))
        });
        let (service, status) = match status {
            Ok(found) => found,
            Err(raised) => return error(&raised, options),
        };
        let reply = answer::status(service, &status, &self.counted, (options, call, is_oauth), now);
        if call == Call::AuthRep && status.rejected.is_none() {
            let code = parameters.get("log[code]").map(str::to_owned);
            let application = status.application.id.clone();
            self.queue.push(Accepted { application, usage: status.usage, moment: now, code });
        }
        self.work();
        reply
    }
}
