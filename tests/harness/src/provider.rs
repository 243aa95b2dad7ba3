//! A provider that misbehaves as scripted, in ways that a real OAuth2 server cannot.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use hyper::header::HeaderValue;
use serde_json::Value;
use tokio::sync::watch;

use crate::{
    eventually,
    server::{Received, Reply, Server, http, reply},
};

/// What a [`StubProvider`] does with a call.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Answers at once.
    With {
        /// HTTP status.
        status: u16,
        /// The `content-type` header.
        content_type: &'static str,
        /// Other headers.
        headers: Vec<(&'static str, &'static str)>,
        /// The body.
        body: Vec<u8>,
    },
    /// Answers after a while.
    After(Duration, Box<Answer>),
    /// Holds the call until the script changes, then does what the new script says.
    Hold,
    /// Never answers.
    Never,
    /// Sends these bytes, if any, unchanged, and closes the connection.
    Last(Vec<u8>),
}

impl Answer {
    /// Status 200 with JSON.
    pub fn json(body: &Value) -> Self {
        Self::with(200, "application/json", body.to_string())
    }

    /// Closes the connection without an answer.
    pub fn close() -> Self {
        Self::Last(Vec::new())
    }

    /// A whole answer.
    pub fn with(status: u16, content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self::With { status, content_type, headers: Vec::new(), body: body.into() }
    }

    /// A whole answer with another header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &'static str) -> Self {
        match &mut self {
            Self::With { headers, .. } => headers.push((name, value)),
            other => panic!("{other:?} has no headers"),
        }
        self
    }
}

/// A call as it arrived.
#[derive(Clone, Debug)]
pub struct Call {
    /// HTTP method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The `authorization` header, if any.
    pub authorization: Option<String>,
    /// The `if-none-match` header, if any.
    pub if_none_match: Option<String>,
    /// The body as text.
    pub body: String,
}

/// A scripted provider on a free port of loopback; ends when dropped.
#[derive(Debug)]
pub struct StubProvider {
    server: Server,
    script: watch::Sender<Answer>,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl StubProvider {
    /// Starts with a script, the same for every call.
    pub async fn start(answer: Answer) -> Self {
        let (script, current) = watch::channel(answer);
        let calls = Arc::new(Mutex::new(Vec::new()));
        let log = calls.clone();
        let server = Server::start(move |stream| {
            let (log, current) = (log.clone(), current.clone());
            async move {
                let answer = |request: Received| {
                    log.lock().expect("no panic while it was held").push(call(&request));
                    perform(current.clone())
                };
                http(stream, answer).await;
            }
        })
        .await;
        Self { server, script, calls }
    }

    /// Changes the script, also for calls on [`Answer::Hold`].
    pub fn now(&self, answer: Answer) {
        self.script.send_replace(answer);
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// The calls so far.
    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().expect("no panic while it was held").clone()
    }

    /// Waits until there were at least this many calls.
    pub async fn called(&self, times: usize) {
        eventually(&format!("{times} calls to the provider"), async || {
            (self.calls().len() >= times).then_some(())
        })
        .await;
    }
}

async fn perform(mut script: watch::Receiver<Answer>) -> Reply {
    let mut answer = script.borrow_and_update().clone();
    loop {
        answer = match answer {
            Answer::With { status, content_type, headers, body } => {
                let mut reply = reply(status, content_type, body);
                if let Reply::Whole(answer) = &mut reply {
                    for (name, value) in headers {
                        answer.headers_mut().append(name, HeaderValue::from_static(value));
                    }
                }
                return reply;
            }
            Answer::After(delay, then) => {
                tokio::time::sleep(delay).await;
                *then
            }
            Answer::Hold => {
                if script.changed().await.is_err() {
                    return Reply::Last(Vec::new());
                }
                script.borrow_and_update().clone()
            }
            Answer::Never => std::future::pending().await,
            Answer::Last(bytes) => return Reply::Last(bytes),
        }
    }
}

fn call(request: &Received) -> Call {
    let header = |name: &str| {
        let value = request.headers().get(name)?;
        Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    Call {
        method: request.method().to_string(),
        path: request.uri().to_string(),
        authorization: header("authorization"),
        if_none_match: header("if-none-match"),
        body: String::from_utf8_lossy(request.body()).into_owned(),
    }
}
