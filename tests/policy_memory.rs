//! How much memory a large policy takes, counted by the allocator.
#![cfg(not(target_family = "wasm"))]
#![expect(clippy::unwrap_used, reason = "a helper of a test that panics makes it fail, as it should")]

use std::{borrow::Cow, fmt::Write as _};

use peak_alloc::PeakAlloc;
use sidegate::{
    credential::Digest,
    policy::{Policy, Text},
};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const CONSUMERS: usize = 100_000;

/// A text in the parts in which the module reads its configuration.
struct Parts(String);

impl Text for Parts {
    fn part(&self, offset: usize) -> Cow<'_, [u8]> {
        let rest = self.0.as_bytes().get(offset..).unwrap_or_default();
        Cow::Owned(rest.get(..65_536).unwrap_or(rest).to_vec())
    }
}

/// Consumers with a key each, and a binding each.
fn policy() -> Parts {
    let mut text =
        r#"{"sidegate":"v1","plans":{"basic":{"limits":[{"metric":"hits","max":10,"per":"second"}]}},
        "apis":[{"name":"orders","access":["api_key"],"rules":[{"path":"/**"}],"bindings":["#
            .to_owned();
    for index in 0..CONSUMERS {
        let comma = if index == 0 { "" } else { "," };
        write!(
            text,
            r#"{comma}{{"allow":"none","consumer":"consumer-{index}","paths":[
                {{"allow":"none","path":"/admin/**"}},{{"allow":{{"methods":["GET","POST"]}},"path":"/orders/**"}}]}}"#
        )
        .unwrap();
    }
    text.push_str(r#"]}],"consumers":["#);
    for index in 0..CONSUMERS {
        let comma = if index == 0 { "" } else { "," };
        let digest = Digest::of(&index.to_le_bytes()).to_hex();
        write!(
            text,
            r#"{comma}{{"keys":[{{"id":"only","sha256":"{digest}"}}],"name":"consumer-{index}","plan":"basic"}}"#
        )
        .unwrap();
    }
    text.push_str("]}");
    Parts(text)
}

/// One test, because the allocator counts for the whole process.
#[test]
fn a_consumer_takes_300_bytes() {
    let text = policy();
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let policy = Policy::load(&text, &|_| None).unwrap_or_else(|problems| panic!("{problems}"));
    let per_consumer = |bytes: usize| bytes.saturating_sub(before) / CONSUMERS;
    let (peak, kept) = (per_consumer(ALLOCATOR.peak_usage()), per_consumer(ALLOCATOR.current_usage()));
    assert_eq!(policy.consumers.len(), CONSUMERS);
    assert!(peak <= 300 && kept <= 150, "while it loads: {peak}, then: {kept}");
}
