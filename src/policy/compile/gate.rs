//! Compiles what holds for every request.

use std::{num::NonZeroU32, ops::RangeInclusive};

use super::{
    super::{StateName, document::value::AlertAt},
    Diagnostics, document,
};
use crate::{
    credential::Digest,
    quota::HeaderStyle,
    refusal::{ErrorFormat, Replies, Style},
};

/// The compiled part.
pub(super) struct Gate {
    pub(super) replies: Replies,
    pub(super) unmatched: document::Unmatched,
    pub(super) preflight: document::Preflight,
    pub(super) max_path_length: usize,
    pub(super) rate_limit_headers: HeaderStyle,
    pub(super) quota_alert_at: Option<u8>,
    pub(super) filter_state: Vec<StateName>,
    pub(super) debug: Option<Digest>,
    pub(super) client_certificate: document::CertificateSource,
    pub(super) meters: NonZeroU32,
    pub(super) addresses: NonZeroU32,
    pub(super) tokens: NonZeroU32,
    pub(super) token_bytes: NonZeroU32,
    pub(super) verifications: NonZeroU32,
}

/// Reading a path takes time in proportion to its length.
const LONGEST_PATH: u16 = 16 * 1024;

const CAPACITIES: RangeInclusive<u32> = 1..=1 << 24;
const TOKEN_BYTES: RangeInclusive<u32> = 256..=1 << 16;
const VERIFICATIONS: RangeInclusive<u32> = 1..=10_000;

pub(super) fn compile(gate: document::Gate, report: &mut Diagnostics) -> Option<Gate> {
    let document::Gate {
        realm,
        resource_metadata,
        unmatched,
        preflight,
        max_path_length,
        errors,
        rate_limit_headers,
        quota_alert_at: AlertAt(quota_alert_at),
        filter_state,
        debug,
        client_certificate,
        capacity,
    } = gate;
    if !is_printable(&realm) {
        report.add("gate.realm", "not a text of printable ASCII characters");
    }
    let urls = [("gate.resource_metadata", &resource_metadata), ("gate.errors.details", &errors.details)];
    for (path, url) in urls {
        // Nothing escapes URLs where they are shown between quotes.
        if url.as_ref().is_some_and(|url| !is_printable(url) || url.contains(['"', '\\'])) {
            report.add(path, "not a URL of printable ASCII characters without quotes and backslashes");
        }
    }
    let debug = debug
        .and_then(|debug| report.take("gate.debug.secret_sha256", Digest::from_hex(&debug.secret_sha256)));
    let filter_state = match filter_state {
        document::FilterState::All => StateName::ALL.to_vec(),
        document::FilterState::None => Vec::new(),
        document::FilterState::Only(names) => {
            let names = report.list("gate.filter_state.only", Some(names));
            if names
                .iter()
                .enumerate()
                .any(|(place, name)| names.iter().take(place).any(|other| other == name))
            {
                report.add("gate.filter_state.only", "a name is listed twice");
            }
            names
        }
    };
    if !(1..=LONGEST_PATH).contains(&max_path_length) {
        report.add("gate.max_path_length", format!("not between 1 and {LONGEST_PATH}"));
    }
    let document::Capacity { meters, addresses, tokens, token_bytes, verifications } = capacity;
    let mut capacity = |name, value, bounds| compile_capacity(name, value, bounds, report);
    let meters = capacity("meters", meters, CAPACITIES);
    let addresses = capacity("addresses", addresses, CAPACITIES);
    let tokens = capacity("tokens", tokens, CAPACITIES);
    let token_bytes = capacity("token_bytes", token_bytes, TOKEN_BYTES);
    let verifications = capacity("verifications", verifications, VERIFICATIONS);
    Some(Gate {
        replies: Replies::new(&Style {
            realm,
            resource_metadata,
            format: match errors.format {
                document::ErrorFormat::Kanali => ErrorFormat::Kanali,
                document::ErrorFormat::Problem => ErrorFormat::Problem,
            },
            details: errors.details,
        }),
        unmatched,
        preflight,
        max_path_length: usize::from(max_path_length),
        rate_limit_headers,
        quota_alert_at,
        filter_state,
        debug,
        client_certificate,
        meters: meters?,
        addresses: addresses?,
        tokens: tokens?,
        token_bytes: token_bytes?,
        verifications: verifications?,
    })
}

/// Whether headers can carry the text.
fn is_printable(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii() && !c.is_control())
}

fn compile_capacity(
    name: &str,
    value: u32,
    bounds: RangeInclusive<u32>,
    report: &mut Diagnostics,
) -> Option<NonZeroU32> {
    let capacity = NonZeroU32::new(value).filter(|value| bounds.contains(&value.get()));
    if capacity.is_none() {
        let (least, most) = bounds.into_inner();
        report.add(&format!("gate.capacity.{name}"), format!("not between {least} and {most}"));
    }
    capacity
}
