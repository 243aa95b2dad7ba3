//! The HTTP server under upstreams and stub providers: one task per connection, ends with the value that
//! holds it.

use std::{future::poll_fn, io, net::SocketAddr, sync::Mutex};

use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
};

/// A request with its body read.
pub type Received = hyper::Request<Bytes>;

/// What goes back.
#[derive(Debug)]
pub enum Reply {
    /// An answer.
    Whole(hyper::Response<Full<Bytes>>),
    /// These bytes, if any, unchanged. Then the connection is closed.
    Last(Vec<u8>),
}

/// A listening socket, served until dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    task: AbortHandle,
}

impl Server {
    /// Serves every connection to a free port of loopback with `serve`.
    pub async fn start<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::on(std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port on loopback"), serve)
    }

    /// Serves every connection to this socket with `serve`.
    pub fn on<F>(listener: std::net::TcpListener, serve: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        listener.set_nonblocking(true).expect("an open socket");
        let listener = TcpListener::from_std(listener).expect("an open socket");
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
    let (answer, last) = (&answer, &Mutex::default());
    let respond = async move |request: hyper::Request<Incoming>| -> Result<_, io::Error> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        match answer(hyper::Request::from_parts(head, body)).await {
            Reply::Whole(answer) => Ok(answer),
            Reply::Last(bytes) => {
                *last.lock().expect("no panic while it was held") = bytes;
                Err(io::ErrorKind::ConnectionReset.into())
            }
        }
    };
    let service = service_fn(|request| Box::pin(respond(request)));
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // It is not an error if the peer goes away or the connection is closed on purpose.
    let _ = poll_fn(|context| connection.poll_without_shutdown(context)).await;
    let mut stream = connection.into_parts().io.into_inner();
    let last = std::mem::take(&mut *last.lock().expect("no panic while it was held"));
    let _ = stream.write_all(&last).await;
}

/// A whole answer.
pub fn reply(status: u16, content_type: &str, body: impl Into<Bytes>) -> Reply {
    let answer = hyper::Response::builder().status(status).header("content-type", content_type);
    let answer = answer.body(Full::new(body.into()));
    Reply::Whole(answer.unwrap_or_else(|error: hyper::http::Error| panic!("{error}")))
}
