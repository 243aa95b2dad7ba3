//! A gRPC server that answers unary calls as tests choose.

use std::{
    collections::VecDeque,
    io,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use http_body_util::BodyExt as _;
use hyper::{
    body::{Body, Bytes, Frame, Incoming},
    header::HeaderMap,
    server::conn::http2,
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpStream, sync::watch};

use crate::{eventually, server::Server};

/// What a [`GrpcServer`] does with a call.
#[derive(Clone, Debug)]
pub enum GrpcAnswer {
    /// Success, with this message.
    Message(Vec<u8>),
    /// Headers and then trailers with this `grpc-status`; no message.
    Status(u32),
    /// The `grpc-status` in the headers, which end the response.
    TrailersOnly(u32),
    /// Success, but no message.
    NoMessage,
    /// An HTTP response with this status that is not gRPC.
    Nonsense(u16),
    /// Bytes that are not a framed message, then success.
    Garbled,
    /// Half of a message, then a reset.
    Break,
    /// Closes the connection without a response.
    Close,
    /// Holds the call until the script changes, then does what the new script says.
    Hold,
    /// Never answers.
    Never,
    /// What this says about the call's message.
    Computed(Computed),
}

/// Computes answers from messages.
#[derive(Clone)]
pub struct Computed(Arc<dyn Fn(&[u8]) -> GrpcAnswer + Send + Sync>);

impl std::fmt::Debug for Computed {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Computed")
    }
}

impl GrpcAnswer {
    /// What `answer` says about the message of each call.
    pub fn computed(answer: impl Fn(&[u8]) -> GrpcAnswer + Send + Sync + 'static) -> Self {
        Self::Computed(Computed(Arc::new(answer)))
    }
}

/// A call as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrpcCall {
    /// `/SERVICE/METHOD`.
    pub path: String,
    /// Header fields.
    pub metadata: Vec<(String, String)>,
    /// The message, without its frame.
    pub message: Vec<u8>,
}

/// A scripted gRPC server on a free port of loopback; ends when dropped.
#[derive(Debug)]
pub struct GrpcServer {
    server: Server,
    script: watch::Sender<GrpcAnswer>,
    calls: Arc<Mutex<Vec<GrpcCall>>>,
}

impl GrpcServer {
    /// Starts with a script, the same for every call.
    pub async fn start(answer: GrpcAnswer) -> Self {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), answer).await
    }

    /// Starts at this address, as soon as nobody else listens there.
    pub async fn start_at(address: SocketAddr, answer: GrpcAnswer) -> Self {
        let listener = eventually("a free address", async || std::net::TcpListener::bind(address).ok()).await;
        let (script, current) = watch::channel(answer);
        let calls = Arc::new(Mutex::new(Vec::new()));
        let log = calls.clone();
        let server = Server::on(listener, move |stream| serve(stream, log.clone(), current.clone()));
        Self { server, script, calls }
    }

    /// Changes the script, also for calls on [`GrpcAnswer::Hold`].
    pub fn now(&self, answer: GrpcAnswer) {
        self.script.send_replace(answer);
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// The calls so far.
    pub fn calls(&self) -> Vec<GrpcCall> {
        self.calls.lock().expect("no panic while it was held").clone()
    }

    /// Waits until there were at least so many calls.
    pub async fn called(&self, times: usize) {
        eventually(&format!("{times} calls to the gRPC server"), async || {
            (self.calls().len() >= times).then_some(())
        })
        .await;
    }
}

/// Serves one connection, until the peer or [`GrpcAnswer::Close`] ends it.
async fn serve(stream: TcpStream, log: Arc<Mutex<Vec<GrpcCall>>>, script: watch::Receiver<GrpcAnswer>) {
    let closing = Arc::new(tokio::sync::Notify::new());
    let closed = closing.clone();
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (log, script, closing) = (log.clone(), script.clone(), closing.clone());
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
            let call = call(&head, &body);
            log.lock().expect("no panic while it was held").push(call.clone());
            let mut answer = perform(script).await;
            if let GrpcAnswer::Computed(Computed(compute)) = &answer {
                answer = compute(&call.message);
            }
            if matches!(answer, GrpcAnswer::Close) {
                closing.notify_one();
                std::future::pending::<()>().await;
            }
            response(answer)
        }
    });
    let connection =
        http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        // A peer that disconnects is not an error.
        _ = connection => {}
        () = closed.notified() => {}
    }
}

async fn perform(mut script: watch::Receiver<GrpcAnswer>) -> GrpcAnswer {
    loop {
        let answer = script.borrow_and_update().clone();
        match answer {
            GrpcAnswer::Hold => {
                if script.changed().await.is_err() {
                    return GrpcAnswer::Close;
                }
            }
            GrpcAnswer::Never => std::future::pending().await,
            answer => return answer,
        }
    }
}

fn call(head: &hyper::http::request::Parts, body: &Bytes) -> GrpcCall {
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    GrpcCall {
        path: head.uri.path().to_owned(),
        metadata: head
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), text(value.as_bytes())))
            .collect(),
        message: body.get(5..).unwrap_or_default().to_vec(),
    }
}

fn response(answer: GrpcAnswer) -> Result<hyper::Response<Frames>, io::Error> {
    let ok = hyper::Response::builder().status(200).header("content-type", "application/grpc");
    let (head, frames) = match answer {
        GrpcAnswer::Message(message) => (ok, vec![Ok(Frame::data(framed(&message))), Ok(trailers(0))]),
        GrpcAnswer::Status(status) => (ok, vec![Ok(trailers(status))]),
        GrpcAnswer::TrailersOnly(status) => (ok.header("grpc-status", status), Vec::new()),
        GrpcAnswer::NoMessage => (ok, vec![Ok(trailers(0))]),
        GrpcAnswer::Nonsense(status) => {
            let html = hyper::Response::builder().status(status).header("content-type", "text/html");
            (html, vec![Ok(Frame::data(Bytes::from_static(b"<html></html>")))])
        }
        GrpcAnswer::Garbled => {
            (ok, vec![Ok(Frame::data(Bytes::from_static(b"\xffgarbage"))), Ok(trailers(0))])
        }
        GrpcAnswer::Break => {
            let half = framed(b"a message").slice(..8);
            (ok, vec![Ok(Frame::data(half)), Err(io::ErrorKind::ConnectionReset.into())])
        }
        GrpcAnswer::Close | GrpcAnswer::Hold | GrpcAnswer::Never | GrpcAnswer::Computed(_) => {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
    };
    head.body(Frames(frames.into())).map_err(io::Error::other)
}

/// A message in the frame that gRPC puts around it.
pub fn framed(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).expect("a short message").to_be_bytes();
    [&[0][..], &length, message].concat().into()
}

fn trailers(status: u32) -> Frame<Bytes> {
    Frame::trailers(HeaderMap::from_iter([("grpc-status".parse().expect("a name"), status.into())]))
}

/// A body of these frames.
struct Frames(VecDeque<Result<Frame<Bytes>, io::Error>>);

impl Body for Frames {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Poll::Ready(self.0.pop_front())
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }
}
