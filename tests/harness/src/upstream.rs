//! Upstreams: the service behind the gate. It reports what it received, or misbehaves.

use std::{
    net::{SocketAddr, TcpListener},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http_body_util::Full;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::server::{Received, Reply, Server, http, reply};

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// An upstream, on a free port of loopback unless it is given a socket; ends when dropped.
#[derive(Debug)]
pub struct Upstream {
    server: Server,
    requests: Arc<AtomicU64>,
}

impl Upstream {
    /// Answers every request with JSON of what it received: `name`, `method`, `path`, `headers` (a list of
    /// pairs), `body`.
    pub async fn echo(name: &str) -> Self {
        Self::delayed_echo(name, Duration::ZERO).await
    }

    /// [`Upstream::echo`] on this socket.
    pub fn echo_on(listener: TcpListener, name: &str) -> Self {
        Self::answering_on(listener, echoing(name, Duration::ZERO))
    }

    /// [`Upstream::echo`] that answers after a delay.
    pub async fn delayed_echo(name: &str, delay: Duration) -> Self {
        Self::answering(echoing(name, delay)).await
    }

    /// Answers every request with these bytes, as a file server does.
    pub async fn file(bytes: Vec<u8>) -> Self {
        Self::answering(move |_| {
            let answer = reply(200, "application/octet-stream", bytes.clone());
            async move { answer }
        })
        .await
    }

    /// Answers every request with status 200, these headers and no body. For `ext_authz`, that is a
    /// permission.
    pub async fn granting(headers: &'static [(&'static str, &'static str)]) -> Self {
        Self::answering(move |_| async move {
            let answer = headers
                .iter()
                .fold(hyper::Response::builder(), |answer, (name, value)| answer.header(*name, *value));
            Reply::Whole(answer.body(Full::default()).expect("valid headers"))
        })
        .await
    }

    /// Accepts every request and closes the connection without an answer.
    pub async fn closing() -> Self {
        Self::answering(|_| async { Reply::Last(Vec::new()) }).await
    }

    /// Accepts every request and never answers.
    pub async fn silent() -> Self {
        Self::answering(|_| std::future::pending()).await
    }

    /// Answers with bytes that are not HTTP.
    pub async fn garbage() -> Self {
        let requests = Arc::new(AtomicU64::new(0));
        let counter = requests.clone();
        let server = Server::start(move |stream| {
            counter.fetch_add(1, Ordering::SeqCst);
            send_garbage(stream)
        })
        .await;
        Self { server, requests }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// How many requests arrived.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }

    async fn answering<F>(answer: impl Fn(Received) -> F + Clone + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Reply> + Send + 'static,
    {
        Self::answering_on(TcpListener::bind(("127.0.0.1", 0)).expect("a free port on loopback"), answer)
    }

    fn answering_on<F>(
        listener: TcpListener,
        answer: impl Fn(Received) -> F + Clone + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Reply> + Send + 'static,
    {
        let requests = Arc::new(AtomicU64::new(0));
        let counter = requests.clone();
        let server = Server::on(listener, move |stream| {
            let (answer, counter) = (answer.clone(), counter.clone());
            async move {
                let counted = |request| {
                    counter.fetch_add(1, Ordering::SeqCst);
                    answer(request)
                };
                http(stream, counted).await;
            }
        });
        Self { server, requests }
    }
}

fn echoing(
    name: &str,
    delay: Duration,
) -> impl Fn(Received) -> BoxFuture<Reply> + Clone + Send + Sync + 'static {
    let name: Arc<str> = name.into();
    move |request| {
        let body = describe(&name, &request);
        Box::pin(async move {
            tokio::time::sleep(delay).await;
            reply(200, "application/json", body)
        })
    }
}

fn describe(name: &str, request: &Received) -> String {
    let headers: Vec<_> = request
        .headers()
        .iter()
        .map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())]))
        .collect();
    let path = request.uri().path_and_query().map_or("", |path| path.as_str());
    json!({
        "name": name,
        "method": request.method().as_str(),
        "path": path,
        "headers": headers,
        "body": String::from_utf8_lossy(request.body()),
    })
    .to_string()
}

async fn send_garbage(mut stream: TcpStream) {
    let _ = stream.read(&mut [0; 1024]).await;
    let _ = stream.write_all(b"this is not HTTP\r\n\r\n").await;
}
