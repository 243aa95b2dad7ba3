//! The table that a tour prints: one line per request, with a mark where the answer is not what it should be.

use crate::Response;

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

/// Admitted, with so much quota left.
pub const fn admitted_with(remaining: u64) -> Expected {
    Expected { status: 200, code: None, remaining: Some(remaining) }
}

/// Refused, with Sidegate's code.
pub const fn refused(status: u16, code: &'static str) -> Expected {
    Expected { status, code: Some(code), remaining: None }
}

/// Prints lines and counts those that are not as expected.
#[derive(Debug, Default)]
pub struct Table {
    surprises: u32,
}

impl Table {
    /// Begins with the headings.
    pub fn begin() -> Self {
        println!("{}", line("ASKED", "AS WHOM", "STATUS", "CODE", "LEFT", "WHAT IT SHOWS"));
        Self::default()
    }

    /// Prints the line of one answer.
    pub fn add(&mut self, asked: &str, whom: &str, answer: &Response, expected: Expected, shows: &str) {
        let left = remaining(answer);
        let status = answer.status.to_string();
        let code = answer.code().unwrap_or("-");
        let left_text = left.map_or_else(|| "-".to_owned(), |left| left.to_string());
        println!("{}", line(asked, whom, &status, code, &left_text, shows));

        let as_expected = answer.status == expected.status
            && answer.code() == expected.code
            && expected.remaining.is_none_or(|expected| left == Some(expected));
        if !as_expected {
            self.surprise(&format!("{expected:?}; the answer was {}", answer.text()));
        }
    }

    /// Checks what else an answer shows.
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

    /// Ends the table and tells how many lines were not as expected.
    pub fn end(self) -> u32 {
        match self.surprises {
            0 => println!("\nEvery answer was what it should be."),
            surprises => println!("\n{surprises} answers were not what they should be."),
        }
        self.surprises
    }
}

fn remaining(answer: &Response) -> Option<u64> {
    answer.header("x-ratelimit-remaining")?.parse().ok()
}

fn line(asked: &str, whom: &str, status: &str, code: &str, left: &str, shows: &str) -> String {
    format!("  {asked:<34}  {whom:<26}  {status:<6}  {code:<4}  {left:>6}  {shows}")
}
