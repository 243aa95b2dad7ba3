//! An HTTP/1.1 client that sends exactly the given bytes: any path, headers that appear twice, nothing
//! normalised.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};

use crate::DEADLINE;

/// A request, as bytes. `host` is `localhost` unless set; `content-length` is added where there is a body.
#[derive(Clone, Debug)]
pub struct Request {
    method: String,
    target: Vec<u8>,
    host: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl Request {
    /// `method` on `target` (path and query, sent as it is).
    pub fn new(method: &str, target: impl AsRef<[u8]>) -> Self {
        let target = target.as_ref().to_vec();
        Self {
            method: method.into(),
            target,
            host: "localhost".into(),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// A `GET`.
    pub fn get(target: impl AsRef<[u8]>) -> Self {
        Self::new("GET", target)
    }

    /// Sets the `host` header.
    #[must_use]
    pub fn host(mut self, host: &str) -> Self {
        self.host = host.into();
        self
    }

    /// Adds a header line; a name may come more than once.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.into(), value.as_ref().to_vec()));
        self
    }

    /// Adds `authorization: Bearer …`.
    #[must_use]
    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        self
    }

    /// The request as it goes over the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = [
            self.method.as_bytes(),
            b" ",
            &self.target,
            b" HTTP/1.1\r\nhost: ",
            self.host.as_bytes(),
            b"\r\n",
        ]
        .concat();
        for (name, value) in &self.headers {
            bytes.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        if !self.body.is_empty() {
            bytes.extend(format!("content-length: {}\r\n", self.body.len()).into_bytes());
        }
        bytes.extend(b"\r\n");
        bytes.extend(&self.body);
        bytes
    }
}

/// An answer. Header names are lower-case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Header lines in their order.
    pub headers: Vec<(String, String)>,
    /// The body, complete.
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of that (lower-case) name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(each, _)| each == name).map(|(_, value)| value.as_str())
    }

    /// What is left of the tightest limit, from `ratelimit` (draft-ietf-httpapi-ratelimit-headers-10).
    pub fn remaining(&self) -> Option<u64> {
        let left = self.header("ratelimit")?.split(';').filter_map(|parameter| parameter.strip_prefix("r="));
        left.filter_map(|left| left.parse().ok()).min()
    }

    /// Sidegate's code, where it refused.
    pub fn code(&self) -> Option<&str> {
        self.header("x-sidegate-code")
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON, or null if it is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The header of that (lower-case) name which the echo upstream received, if any; several are joined by
    /// `, `.
    pub fn received(&self, name: &str) -> Option<String> {
        let json = self.json();
        let pairs = json["headers"].as_array()?.iter();
        let values: Vec<_> =
            pairs.filter(|pair| pair[0] == name).filter_map(|pair| pair[1].as_str()).collect();
        (!values.is_empty()).then(|| values.join(", "))
    }
}

/// A kept-alive connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects.
    pub async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::new() })
    }

    /// Uses a connection that is open already.
    pub fn over(stream: std::net::TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: TcpStream::from_std(stream)?, buffer: Vec::new() })
    }

    /// Sends a request and reads the answer.
    pub async fn send(&mut self, request: &Request) -> io::Result<Response> {
        self.send_bytes(&request.bytes(), request.method == "HEAD").await
    }

    /// Sends the bytes of a request ([`Request::bytes`]) and reads the answer, which has no body where `head`
    /// is set.
    pub async fn send_bytes(&mut self, request: &[u8], head: bool) -> io::Result<Response> {
        self.stream.write_all(request).await?;
        loop {
            let mut response = self.read_head().await?;
            if (100..200).contains(&response.status) {
                continue;
            }
            if !head && !matches!(response.status, 204 | 304) {
                response.body = self.read_body(&response).await?;
            }
            return Ok(response);
        }
    }

    async fn read_head(&mut self) -> io::Result<Response> {
        loop {
            let mut lines = [httparse::EMPTY_HEADER; 100];
            let mut head = httparse::Response::new(&mut lines);
            if let httparse::Status::Complete(length) = head.parse(&self.buffer).map_err(io::Error::other)? {
                let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
                let headers =
                    head.headers.iter().map(|line| (line.name.to_lowercase(), text(line.value))).collect();
                let status = head.code.unwrap_or_default();
                self.buffer.drain(..length);
                return Ok(Response { status, headers, body: Vec::new() });
            }
            self.fill().await?;
        }
    }

    async fn read_body(&mut self, head: &Response) -> io::Result<Vec<u8>> {
        if head.header("transfer-encoding") == Some("chunked") {
            return self.read_chunks().await;
        }
        match head.header("content-length") {
            Some(length) => self.take(length.parse().map_err(io::Error::other)?).await,
            None => {
                self.stream.read_to_end(&mut self.buffer).await?;
                Ok(std::mem::take(&mut self.buffer))
            }
        }
    }

    async fn read_chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            match httparse::parse_chunk_size(&self.buffer).map_err(|_| io::ErrorKind::InvalidData)? {
                httparse::Status::Complete((line, size)) => {
                    self.buffer.drain(..line);
                    let chunk = self.take(usize::try_from(size).map_err(io::Error::other)? + 2).await?;
                    if size == 0 {
                        return Ok(body);
                    }
                    body.extend(&chunk[..chunk.len() - 2]);
                }
                httparse::Status::Partial => self.fill().await?,
            }
        }
    }

    async fn take(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < length {
            self.fill().await?;
        }
        Ok(self.buffer.drain(..length).collect())
    }

    async fn fill(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

/// Sends one request on a connection of its own. A connection that closes without an answer is an error. A
/// missed deadline is a panic.
pub async fn send(address: SocketAddr, request: &Request) -> io::Result<Response> {
    send_within(DEADLINE, address, request).await
}

/// [`send`] with another deadline.
pub(crate) async fn send_within(
    deadline: Duration,
    address: SocketAddr,
    request: &Request,
) -> io::Result<Response> {
    let exchange = async { Connection::open(address).await?.send(request).await };
    timeout(deadline, exchange)
        .await
        .unwrap_or_else(|_| panic!("no answer within {deadline:?} to {request:?}"))
}

/// Sends a request over the kept-alive connection or a new one, and keeps that unless it broke or the server
/// closes it.
pub(crate) async fn send_over(
    connection: &mut Option<Connection>,
    address: SocketAddr,
    request: &Request,
) -> io::Result<Response> {
    let mut open = match connection.take() {
        Some(open) => open,
        None => Connection::open(address).await?,
    };
    let answer = open.send(request).await?;
    *connection = (answer.header("connection") != Some("close")).then_some(open);
    Ok(answer)
}

/// Sends requests over this many kept-alive connections at once. Each connection takes the next request as
/// soon as it is free. The answers are in no particular order. A connection that the server closes is opened
/// again.
pub async fn send_all(
    address: SocketAddr,
    connections: usize,
    requests: impl IntoIterator<Item = Request>,
) -> Vec<Response> {
    let requests: Vec<_> = requests.into_iter().collect();
    let queue = Arc::new(Mutex::new(requests));
    let mut workers = JoinSet::new();
    for _ in 0..connections {
        let queue = queue.clone();
        workers.spawn(async move {
            let mut answers = Vec::new();
            let mut connection = None;
            while let Some(request) = { queue.lock().expect("no panic while it was held").pop() } {
                match timeout(DEADLINE, send_over(&mut connection, address, &request)).await {
                    Ok(Ok(answer)) => answers.push(answer),
                    Ok(Err(error)) => panic!("{request:?}: {error}"),
                    Err(_) => panic!("no answer within {DEADLINE:?} to {request:?}"),
                }
            }
            answers
        });
    }
    workers.join_all().await.into_iter().flatten().collect()
}
