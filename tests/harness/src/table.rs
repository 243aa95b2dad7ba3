//! The table that a tour prints while it asks: one line per request, with a mark where the answer is wrong.

use std::net::SocketAddr;

use crate::client::{Request, Response, send};

/// What an answer must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    status: u16,
    code: Option<&'static str>,
    remaining: Option<u64>,
}

/// Admitted.
pub const fn admitted() -> Expected {
    Expected { status: 200, code: None, remaining: None }
}

/// Admitted, with this much quota left.
pub const fn admitted_with(remaining: u64) -> Expected {
    Expected { status: 200, code: None, remaining: Some(remaining) }
}

/// Refused, with Sidegate's code.
pub const fn refused(status: u16, code: &'static str) -> Expected {
    Expected { status, code: Some(code), remaining: None }
}

/// A request by a caller who presents nothing.
pub fn bare(request: Request) -> Request {
    request
}

/// A request with an API key.
pub fn key(key: &str) -> impl Fn(Request) -> Request {
    move |request| request.header("apikey", key)
}

/// A request with an access token.
pub fn bearer(token: &str) -> impl Fn(Request) -> Request {
    move |request| request.bearer(token)
}

/// Sends requests, prints lines, and counts wrong answers.
#[derive(Debug)]
pub struct Table {
    address: SocketAddr,
    host: &'static str,
    surprises: u32,
}

impl Table {
    /// Prints the headings. All requests go to that address, for that host.
    pub fn begin(address: SocketAddr, host: &'static str) -> Self {
        println!("{}", line("REQUEST", "CALLER", "STATUS", "CODE", "LEFT", "REASON"));
        Self { address, host, surprises: 0 }
    }

    /// Sends the request (`METHOD PATH`) after `change` has changed it, and prints the line of the answer.
    pub async fn ask(
        &mut self,
        asked: &str,
        caller: &str,
        change: impl FnOnce(Request) -> Request,
        expected: Expected,
        shows: &str,
    ) -> Response {
        let (method, path) = asked.split_once(' ').expect("METHOD PATH");
        let answer = self.send(change(Request::new(method, path))).await;
        self.add(asked, caller, &answer, expected, shows);
        answer
    }

    /// Sends a request without printing anything. A missing answer has status 0.
    pub async fn send(&self, request: Request) -> Response {
        let nothing = Response { status: 0, headers: Vec::new(), body: Vec::new() };
        send(self.address, &request.host(self.host)).await.unwrap_or(nothing)
    }

    /// Prints the line of one answer.
    pub fn add(&mut self, asked: &str, caller: &str, answer: &Response, expected: Expected, shows: &str) {
        let left = answer.remaining();
        let status = answer.status.to_string();
        let code = answer.code().unwrap_or("-");
        let left_text = left.map_or_else(|| "-".to_owned(), |left| left.to_string());
        println!("{}", line(asked, caller, &status, code, &left_text, shows));

        let as_expected = answer.status == expected.status
            && answer.code() == expected.code
            && expected.remaining.is_none_or(|expected| left == Some(expected));
        if !as_expected {
            self.surprise(&format!("{expected:?}; the answer was {}", answer.text()));
        }
    }

    /// Checks something else that the answer shows.
    pub fn also(&mut self, holds: bool, shows: &str) {
        println!("{}", line("", "", "", "", "", &format!("and {shows}")));
        if !holds {
            self.surprise(shows);
        }
    }

    /// Prints a line of text between the others.
    pub fn say(&self, text: &str) {
        println!("\n  {text}");
    }

    fn surprise(&mut self, expected: &str) {
        self.surprises = self.surprises.saturating_add(1);
        println!("  ✗ expected: {expected}");
    }

    /// Ends the table and returns the number of wrong answers.
    pub fn end(self) -> u32 {
        match self.surprises {
            0 => println!("\nAll answers were as expected."),
            surprises => println!("\n{surprises} answers were not as expected."),
        }
        self.surprises
    }
}

fn line(asked: &str, caller: &str, status: &str, code: &str, left: &str, shows: &str) -> String {
    format!("  {asked:<34}  {caller:<26}  {status:<6}  {code:<4}  {left:>6}  {shows}")
}
