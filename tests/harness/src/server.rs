//! The HTTP server under upstreams and stub providers: one task per connection, ends with the value that holds it.

use std::io;
use std::net::SocketAddr;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

/// A request with its body read.
pub type Received = hyper::Request<Bytes>;

/// What goes back; `None` closes the connection without an answer.
pub type Reply = Option<hyper::Response<Full<Bytes>>>;

/// A listening socket on loopback, served until dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    task: AbortHandle,
}

impl Server {
    /// Serves every connection with `serve`.
    pub async fn start<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port on loopback");
        let address = listener.local_addr().expect("a bound socket");
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream));
            }
        });
        Self { address, task: task.abort_handle() }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Answers the requests of one connection with `answer`.
pub async fn http<F>(stream: TcpStream, answer: impl Fn(Received) -> F)
where
    F: Future<Output = Reply>,
{
    let answer = &answer;
    let service = service_fn(async |request: hyper::Request<Incoming>| -> Result<_, io::Error> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        answer(hyper::Request::from_parts(head, body))
            .await
            .ok_or_else(|| io::ErrorKind::ConnectionReset.into())
    });
    // The peer going away, or our closing on purpose, is no error here.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// A whole answer.
pub fn reply(status: u16, content_type: &str, body: impl Into<Bytes>) -> Reply {
    let answer = hyper::Response::builder().status(status).header("content-type", content_type);
    Some(answer.body(Full::new(body.into())).unwrap_or_else(|error: hyper::http::Error| panic!("{error}")))
}
