//! Hosts: the patterns in a policy, the host in a request, and the choice of a pattern for it.

use std::{borrow::Cow, fmt, net::Ipv6Addr};

use memchr::memchr;
use rustc_hash::FxHashMap;

use crate::grammar::Classes;

/// The length limit of DNS names. Longer hosts are refused, which bounds the work for a request.
const MAX_HOST: usize = 253;
const MAX_LABEL: usize = 63;

/// A host that an API serves: `api.example.com`, `*.example.com` (the `*` matches one or more labels),
/// `127.0.0.1` or `[::1]`. Stored in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPattern {
    wildcard: bool,
    name: String,
}

/// Why a text is not a host pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHost {
    /// The text is empty.
    #[error("the host is empty")]
    Empty,
    /// It has a port. Hosts match on every port.
    #[error("`{0}` has a port, but a host matches on every port")]
    Port(String),
    /// It has a scheme or a path.
    #[error("`{0}` is a URL or a path, not a host")]
    Url(String),
    /// It has a `*` that is not the whole first label, or nothing but a `*`.
    #[error("`{0}` has a `*` that is not the whole first label of a longer name")]
    Wildcard(String),
    /// Two dots in a row, or one at either end.
    #[error("`{0}` has an empty label")]
    EmptyLabel(String),
    /// More than 253 characters, or a label of more than 63.
    #[error("`{0}` is longer than a host can be")]
    TooLong(String),
    /// It is an IPv6 address without brackets, or has brackets around something else.
    #[error("`{0}` is not an IPv6 address in brackets")]
    Ipv6(String),
    /// It has a character that hosts cannot have. Internationalised names are written in their `xn--` form.
    #[error("`{0}` has a character that is not a letter, digit, `-` or `_`")]
    Character(String),
}

impl HostPattern {
    /// Reads a pattern.
    pub fn parse(text: &str) -> Result<Self, InvalidHost> {
        if text.is_empty() {
            return Err(InvalidHost::Empty);
        }
        if text.contains('/') {
            return Err(InvalidHost::Url(text.to_owned()));
        }
        if text.starts_with('[') {
            if text.ends_with(']') {
                let name = ipv6(text).ok_or_else(|| InvalidHost::Ipv6(text.to_owned()))?;
                return Ok(Self { wildcard: false, name });
            }
            let with_port = text.rsplit_once("]:").is_some();
            let reason = if with_port { InvalidHost::Port } else { InvalidHost::Ipv6 };
            return Err(reason(text.to_owned()));
        }
        if text.parse::<Ipv6Addr>().is_ok() {
            return Err(InvalidHost::Ipv6(text.to_owned()));
        }
        if text.contains(':') {
            return Err(InvalidHost::Port(text.to_owned()));
        }
        let (wildcard, name) = match text.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, text),
        };
        if name.contains('*') {
            return Err(InvalidHost::Wildcard(text.to_owned()));
        }
        if text.len() > MAX_HOST {
            return Err(InvalidHost::TooLong(text.to_owned()));
        }
        for label in name.split('.') {
            if label.is_empty() {
                return Err(InvalidHost::EmptyLabel(text.to_owned()));
            }
            if label.len() > MAX_LABEL {
                return Err(InvalidHost::TooLong(text.to_owned()));
            }
            if !label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) {
                return Err(InvalidHost::Character(text.to_owned()));
            }
        }
        Ok(Self { wildcard, name: name.to_ascii_lowercase() })
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.wildcard { "*." } else { "" }, self.name)
    }
}

/// Why the host of a request is refused: a server behind Envoy may read another host in it than Sidegate. The
/// caller does not see the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedHost {
    /// It has a character that hosts do not have, such as `@` after user information, the comma with which
    /// Envoy joins two `host` lines, or `%` before an escape.
    #[error("the host has a character that hosts do not have")]
    Character,
    /// Two dots in a row, one at the start, or nothing before the port.
    #[error("the host has an empty label")]
    EmptyLabel,
    /// More than 253 characters.
    #[error("the host is too long")]
    TooLong,
    /// Brackets without an IPv6 address between them, or without the other bracket.
    #[error("the host is not an IPv6 address in brackets")]
    Ipv6,
    /// The text after the first colon is not a number of up to five digits.
    #[error("the port of the host is not a number")]
    Port,
}

/// The host in an `:authority` value, in lower case, without port and trailing dot. IPv6 addresses are in
/// brackets and in canonical form. `None` if the value is empty, as in HTTP/1.0. Allocates only for upper
/// case and IPv6.
pub fn host_of(authority: &str) -> Result<Option<Cow<'_, str>>, MalformedHost> {
    if authority.is_empty() {
        return Ok(None);
    }
    if authority.starts_with('[') {
        let (address, rest) = authority.split_once(']').ok_or(MalformedHost::Ipv6)?;
        if !rest.is_empty() {
            check_port(rest.strip_prefix(':').ok_or(MalformedHost::Port)?)?;
        }
        return ipv6(&format!("{address}]")).map(|host| Some(Cow::Owned(host))).ok_or(MalformedHost::Ipv6);
    }
    let end = memchr(b':', authority.as_bytes()).unwrap_or(authority.len());
    let (host, port) = authority.split_at_checked(end).unwrap_or_default();
    check_port(port.strip_prefix(':').unwrap_or_default())?;
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.len() > MAX_HOST {
        return Err(MalformedHost::TooLong);
    }
    // A loop without branches: it runs for each request.
    let (mut all, mut doubled, mut last) = (0, 0, DOT);
    for class in host.bytes().map(|byte| CLASSES.of(byte)) {
        all |= class;
        doubled |= class & last;
        last = class;
    }
    if (doubled | last) & DOT != 0 {
        return Err(MalformedHost::EmptyLabel);
    }
    if all & REFUSED != 0 {
        return Err(MalformedHost::Character);
    }
    Ok(Some(if all & UPPER_CASE != 0 { Cow::Owned(host.to_ascii_lowercase()) } else { Cow::Borrowed(host) }))
}

/// The classes of bytes in hosts, as bits.
const REFUSED: u8 = 1;
const UPPER_CASE: u8 = 2;
const DOT: u8 = 4;

/// The class of each byte; 0 for what a host has most.
const CLASSES: Classes = Classes::all(REFUSED)
    .with(b"abcdefghijklmnopqrstuvwxyz0123456789-_", 0)
    .with(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ", UPPER_CASE)
    .with(b".", DOT);

/// Values by host pattern.
#[derive(Clone, Debug)]
pub(super) struct HostTable<T> {
    exact: FxHashMap<String, T>,
    wildcard: FxHashMap<String, T>,
}

impl<T> Default for HostTable<T> {
    fn default() -> Self {
        Self { exact: FxHashMap::default(), wildcard: FxHashMap::default() }
    }
}

impl<T: Default> HostTable<T> {
    /// The value of `pattern`; inserts the default if there is none.
    pub(super) fn entry(&mut self, pattern: &HostPattern) -> &mut T {
        let table = if pattern.wildcard { &mut self.wildcard } else { &mut self.exact };
        table.entry(pattern.name.clone()).or_default()
    }

    /// The value of the pattern chosen for `host`: the exact host, or else the longest wildcard.
    pub(super) fn choose(&self, host: &str) -> Option<&T> {
        if let Some(value) = self.exact.get(host) {
            return Some(value);
        }
        let mut rest = host;
        while let Some((label, parent)) = rest.split_once('.') {
            if label.is_empty() {
                return None;
            }
            if let Some(value) = self.wildcard.get(parent) {
                return Some(value);
            }
            rest = parent;
        }
        None
    }
}

fn ipv6(bracketed: &str) -> Option<String> {
    let address: Ipv6Addr = bracketed.strip_prefix('[')?.strip_suffix(']')?.parse().ok()?;
    Some(format!("[{address}]"))
}

/// Checks the text after the colon, which may be empty (RFC 3986, section 3.2.3).
fn check_port(port: &str) -> Result<(), MalformedHost> {
    let is_port = port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit());
    if is_port { Ok(()) } else { Err(MalformedHost::Port) }
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn patterns_are_read_in_lower_case() {
        for (text, shown) in [
            ("API.Example.com", "api.example.com"),
            ("*.EU.example.com", "*.eu.example.com"),
            ("*.x", "*.x"),
            ("localhost", "localhost"),
            ("my_service", "my_service"),
            ("127.0.0.1", "127.0.0.1"),
            ("[::1]", "[::1]"),
            ("[2001:DB8:0:0::1]", "[2001:db8::1]"),
        ] {
            assert_eq!(HostPattern::parse(text).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn invalid_hosts_are_errors() {
        use InvalidHost::*;
        type Reason = fn(String) -> InvalidHost;
        let long = format!("{}.com", "a".repeat(64));
        let cases: [(&str, Reason); 18] = [
            ("a.com:80", Port),
            ("[::1]:80", Port),
            ("https://a.com", Url),
            ("a.com/x", Url),
            ("*", Wildcard),
            ("a.*", Wildcard),
            ("*a.com", Wildcard),
            ("*.*.com", Wildcard),
            ("a..com", EmptyLabel),
            (".com", EmptyLabel),
            ("a.com.", EmptyLabel),
            ("*.", EmptyLabel),
            ("[::1", Ipv6),
            ("::1", Ipv6),
            ("[a.com]", Ipv6),
            ("a b", Character),
            ("bücher.de", Character),
            (&long, TooLong),
        ];
        for (text, reason) in cases {
            assert_eq!(HostPattern::parse(text), Err(reason(text.to_owned())), "{text}");
        }
        assert_eq!(HostPattern::parse(""), Err(Empty));
    }

    #[test]
    fn the_host_is_read_without_port_and_trailing_dot() {
        for (authority, host) in [
            ("a.com", "a.com"),
            ("A.Com:8080", "a.com"),
            ("a.com:", "a.com"),
            ("a.com.", "a.com"),
            ("a.com.:80", "a.com"),
            ("my_service", "my_service"),
            ("127.0.0.1:65535", "127.0.0.1"),
            ("[::1]", "[::1]"),
            ("[0:0::1]:80", "[::1]"),
            ("[::1]:", "[::1]"),
        ] {
            assert_eq!(host_of(authority).unwrap().as_deref(), Some(host), "{authority}");
        }
        assert_eq!(host_of(""), Ok(None));
        assert!(matches!(host_of("a.com:80"), Ok(Some(Cow::Borrowed(_)))));
    }

    #[test]
    fn hosts_that_servers_read_in_different_ways_are_malformed() {
        use MalformedHost::*;
        let long = format!("{}com", "a.".repeat(126));
        for (authority, reason) in [
            ("user@a.com", Character),
            ("user:pw@a.com", Port),
            ("a.com:80@b.com", Port),
            ("a.com,b.com", Character),
            ("a.com:80,b.com:80", Port),
            ("a%2ecom", Character),
            ("a.com/x", Character),
            ("a.com\\b", Character),
            ("a.com?x", Character),
            ("a com", Character),
            ("b\u{fc}cher.de", Character),
            ("a.com:80:80", Port),
            ("a.com:b", Port),
            ("a.com:123456", Port),
            ("::1", Port),
            ("a.com..", EmptyLabel),
            ("a..com", EmptyLabel),
            (".a.com", EmptyLabel),
            (".", EmptyLabel),
            (":80", EmptyLabel),
            ("[::1]x", Port),
            ("[::1]80", Port),
            ("[::1", Ipv6),
            ("[a.com]", Ipv6),
            ("[fe80::1%25eth0]", Ipv6),
            (&long, TooLong),
        ] {
            assert_eq!(host_of(authority), Err(reason), "{authority}");
        }
    }

    #[test]
    fn the_exact_host_is_chosen_before_the_longest_wildcard() {
        let mut table = HostTable::<&str>::default();
        for text in ["a.example.com", "*.example.com", "*.eu.example.com", "*.com"] {
            *table.entry(&HostPattern::parse(text).unwrap()) = text;
        }
        for (host, chosen) in [
            ("a.example.com", Some("a.example.com")),
            ("b.example.com", Some("*.example.com")),
            ("c.b.example.com", Some("*.example.com")),
            ("a.eu.example.com", Some("*.eu.example.com")),
            ("eu.example.com", Some("*.example.com")),
            ("example.com", Some("*.com")),
            ("com", None),
            ("example.org", None),
            (".example.com", None),
            ("b..example.com", None),
            ("xexample.com", Some("*.com")),
        ] {
            assert_eq!(table.choose(host).copied(), chosen, "{host}");
        }
    }
}
