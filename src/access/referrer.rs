//! Referrers: from which sites a consumer's requests may come.

use url::Url;

/// The longest referrer that is compared, in bytes.
const LONGEST: usize = 1_024;

/// The most `*` of a pattern. Each of them is searched for in the referrer.
const MOST_WILDCARDS: usize = 8;

/// The referrers of some consumers, in the order of the consumers.
#[derive(Clone, Debug, Default)]
pub struct Referrers(Vec<(u32, Vec<Referrer>)>);

/// A pattern for referrers: text in which `*` covers one or more characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referrer {
    /// What is between the wildcards, in lower case.
    parts: Vec<Box<str>>,
}

/// Why a text is not a pattern for referrers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReferrer {
    /// Empty, too long, or with characters that no host has.
    #[error("not a referrer: 1 to 253 visible ASCII characters, such as `*.example.com`")]
    Text,
    /// Too many wildcards.
    #[error("has more than {MOST_WILDCARDS} wildcards")]
    Wildcards,
}

impl Referrer {
    /// Reads a pattern.
    pub fn parse(text: &str) -> Result<Self, InvalidReferrer> {
        if !(1..=253).contains(&text.len()) || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(InvalidReferrer::Text);
        }
        let parts: Vec<_> = text.split('*').map(|part| part.to_ascii_lowercase().into()).collect();
        if parts.len() > MOST_WILDCARDS.saturating_add(1) {
            return Err(InvalidReferrer::Wildcards);
        }
        Ok(Self { parts })
    }

    /// Whether it covers a host or another text, in lower case.
    fn covers(&self, text: &str) -> bool {
        let Some((first, rest)) = self.parts.split_first() else { return false };
        let Some(mut left) = text.strip_prefix(&**first) else { return false };
        let Some((last, inner)) = rest.split_last() else { return left.is_empty() };
        for part in inner {
            let Some(found) = after_one(left).and_then(|later| later.split_once(&**part)) else {
                return false;
            };
            left = found.1;
        }
        after_one(left).is_some_and(|later| later.ends_with(&**last))
    }
}

/// The text without its first character, which a wildcard covers.
fn after_one(text: &str) -> Option<&str> {
    let mut characters = text.chars();
    characters.next().map(|_| characters.as_str())
}

impl Referrers {
    /// The referrers of these consumers, which are in order.
    pub const fn new(list: Vec<(u32, Vec<Referrer>)>) -> Self {
        Self(list)
    }

    /// Whether requests of the consumer may have these `Referer` lines: everything if the consumer has no
    /// patterns, otherwise a single line that one of them covers.
    pub fn permit<'r>(&self, consumer: usize, lines: impl Iterator<Item = &'r [u8]>) -> bool {
        if self.0.is_empty() {
            return true;
        }
        let place = self
            .0
            .binary_search_by(|(owner, _)| usize::try_from(*owner).unwrap_or(usize::MAX).cmp(&consumer));
        let Some((_, patterns)) = place.ok().and_then(|place| self.0.get(place)) else { return true };
        let mut lines = lines;
        let (Some(line), None) = (lines.next(), lines.next()) else { return false };
        let Some(referrer) = str::from_utf8(line).ok().and_then(referrer) else { return false };
        patterns.iter().any(|pattern| pattern.covers(&referrer))
    }
}

/// What patterns are compared with: the host of a URL, or the whole value if it is none. A value with a `*`
/// is nothing: a backend might read it as a wildcard.
fn referrer(value: &str) -> Option<String> {
    let value = value.trim();
    if value.len() > LONGEST || value.contains('*') {
        return None;
    }
    match Url::parse(value) {
        Ok(url) => Some(url.host_str().filter(|host| !host.is_empty()).unwrap_or(value).to_ascii_lowercase()),
        Err(_) => Some(value.to_ascii_lowercase()).filter(|value| !value.contains("://")),
    }
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn patterns_cover_hosts_of_urls_and_other_values_as_a_whole() {
        for (pattern, covered, others) in [
            (
                "*.acme.com",
                &[
                    "https://www.acme.com/x?y",
                    "http://a.b.acme.com:8080",
                    "WWW.ACME.COM",
                    "https://u@www.acme.com/",
                ][..],
                &[
                    "https://acme.com/",
                    "https://acme.com.evil.example/",
                    "https://evil.example/.acme.com",
                    "https://evil.example/?x=.acme.com",
                    "https://www.acme.com@evil.example/",
                    "https://evilacme.com",
                    "www.acme.com/x",
                    "*",
                    "*.acme.com",
                    "https://*.acme.com/",
                    "https://evil example/.acme.com",
                    "",
                ][..],
            ),
            ("acme.com", &["https://acme.com", "Acme.com"], &["https://www.acme.com", "*"]),
            ("*", &["https://a", "anything at all"], &["", "*"]),
            (
                "shop-*.acme.*",
                &["https://shop-1.acme.de", "https://shop-a.acme.co.uk/"],
                &["https://shop-.acme.de", "https://shop-1.acme."],
            ),
            ("a*a*a", &["abaca", "aaaaa"], &["aaa", "aba", "aaaa"]),
            ("app:mobile", &["app:mobile", "APP:MOBILE"], &["app:mobile2"]),
        ] {
            let referrers = Referrers::new(vec![(3, vec![Referrer::parse(pattern).unwrap()])]);
            for value in covered {
                assert!(referrers.permit(3, [value.as_bytes()].into_iter()), "{pattern} covers {value}");
            }
            for value in others {
                assert!(
                    !referrers.permit(3, [value.as_bytes()].into_iter()),
                    "{pattern} does not cover {value}"
                );
            }
            assert!(!referrers.permit(3, std::iter::empty()) && referrers.permit(2, std::iter::empty()));
            assert!(!referrers.permit(3, [covered[0].as_bytes(); 2].into_iter()), "two lines");
            assert!(!referrers.permit(3, [b"\xff".as_slice()].into_iter()));
        }
    }

    #[test]
    fn invalid_patterns_are_errors() {
        for text in ["", "a b", "\u{e9}", &"a".repeat(254)] {
            assert_eq!(Referrer::parse(text), Err(InvalidReferrer::Text));
        }
        assert!(Referrer::parse(&"*".repeat(8)).is_ok());
        assert_eq!(Referrer::parse(&"*".repeat(9)), Err(InvalidReferrer::Wildcards));
    }
}
