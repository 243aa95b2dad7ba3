//! One account: its name, its amounts, and its bytes in the ledger.
//!
//! ```text
//! account: length (4) tag (16) service (8) shares (1) born (8) used (8) kind (1) name length (2) name
//!          and its metrics, one after the other
//! metric:  name length (2) name used (8) settled (8) own (8) reported (8)
//!
//! numbers little-endian, times in ms
//! ```

use std::{borrow::Cow, ops::Range};

use crate::{digest::Digest, time::Timestamp};

/// Whose usage it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account<'a> {
    pub(super) digest: Digest,
    pub(super) service: Digest,
    pub(super) kind: u8,
    pub(super) name: Cow<'a, str>,
    pub(super) acceptance: Acceptance,
}

/// Whether a service has accepted an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acceptance {
    /// It has, so its usage may share a report.
    Accepted,
    /// It has not, so its usage must not spoil the report of others.
    Unseen,
}

/// How much of a metric a request uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Amount {
    /// The metric.
    pub metric: String,
    /// How much is reported.
    pub own: u64,
    /// How much is used, with what metrics below this one use.
    pub used: u64,
}

/// A limit of the service on an account.
///
/// What was used by now is what the service had counted when it was asked, and what was added here since the
/// last report before that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The metric.
    pub metric: String,
    /// How much may be used in its period.
    pub max: u64,
    /// What the service had counted when it was asked.
    pub counted: u64,
    /// What was used and reported before the service was asked.
    pub settled: u64,
    /// When its period ends.
    pub end: Option<Timestamp>,
}

/// Tells the accounts of a shard apart.
pub(super) type Tag = [u8; 16];

/// An account as its bytes describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) tag: Tag,
    pub(super) service: [u8; 8],
    pub(super) shares: bool,
    pub(super) born: Timestamp,
    pub(super) used_at: Timestamp,
    pub(super) kind: u8,
    pub(super) name: String,
    pub(super) metrics: Vec<Metric>,
}

/// What an account has of one metric.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Metric {
    pub(super) name: String,
    pub(super) sums: Sums,
}

/// Sums since the account was born.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    /// What was used, with what metrics below use.
    pub(super) used: u64,
    /// The part of it that was reported.
    pub(super) settled: u64,
    /// What has to be reported.
    pub(super) own: u64,
    /// What was reported.
    pub(super) reported: u64,
}

const FIXED: usize = 48;
const NUMBERS: usize = 32;

impl<'a> Account<'a> {
    /// An account of the service that reports go to. It has a name there, of some kind that the ledger only
    /// keeps. An account that may not share a report is another account.
    pub fn new(
        service: Digest,
        kind: u8,
        name: impl Into<Cow<'a, str>>,
        acceptance: Acceptance,
        digest_of: impl FnOnce(&[u8]) -> Digest,
    ) -> Self {
        let name = name.into();
        let marks = [kind, u8::from(acceptance == Acceptance::Accepted)];
        let digest = digest_of(&[service.bytes(), &marks[..], name.as_bytes()].concat());
        Self { digest, service, kind, name, acceptance }
    }

    /// What kind of name it has.
    pub const fn kind(&self) -> u8 {
        self.kind
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Identifies the account.
    pub const fn digest(&self) -> &Digest {
        &self.digest
    }

    /// An account that counts something else of the same name.
    pub fn beside(&self, kind: u8, digest_of: impl FnOnce(&[u8]) -> Digest) -> Account<'_> {
        let kind = self.kind | kind;
        Account::new(self.service, kind, &*self.name, self.acceptance, digest_of)
    }

    /// The same account, which borrows nothing.
    pub fn into_owned(self) -> Account<'static> {
        let Self { digest, service, kind, name, acceptance } = self;
        Account { digest, service, kind, name: Cow::Owned(name.into_owned()), acceptance }
    }
}

/// The first bytes of a service's digest, which stand for it.
pub(super) fn service(digest: &Digest) -> [u8; 8] {
    digest.number().to_le_bytes()
}

impl Sums {
    /// What is not reported yet.
    pub(super) const fn outstanding(&self) -> u64 {
        self.own.saturating_sub(self.reported)
    }

    fn encode(&self) -> [u8; NUMBERS] {
        let mut bytes = [0; NUMBERS];
        let numbers = [self.used, self.settled, self.own, self.reported].map(u64::to_le_bytes);
        for (place, byte) in bytes.iter_mut().zip(numbers.as_flattened()) {
            *place = *byte;
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut bytes = Bytes(bytes);
        Some(Self {
            used: bytes.number()?,
            settled: bytes.number()?,
            own: bytes.number()?,
            reported: bytes.number()?,
        })
    }
}

impl Record {
    pub(super) fn is_settled(&self) -> bool {
        self.metrics.iter().all(|metric| metric.sums.outstanding() == 0)
    }

    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        let start = bytes.len();
        bytes.extend([0; 4]);
        bytes.extend(self.tag);
        bytes.extend(self.service);
        bytes.push(u8::from(self.shares));
        bytes.extend(self.born.millis().to_le_bytes());
        bytes.extend(self.used_at.millis().to_le_bytes());
        bytes.push(self.kind);
        push_text(&self.name, bytes);
        for metric in &self.metrics {
            push_text(&metric.name, bytes);
            bytes.extend(metric.sums.encode());
        }
        let length = u32::try_from(bytes.len().saturating_sub(start)).unwrap_or(u32::MAX).to_le_bytes();
        if let Some(place) = bytes.get_mut(start..start.saturating_add(4)) {
            place.copy_from_slice(&length);
        }
    }

    pub(super) fn decode(record: &[u8]) -> Option<Self> {
        let mut bytes = Bytes(record.get(4..)?);
        let record = Self {
            tag: bytes.array()?,
            service: bytes.array()?,
            shares: bytes.byte()? != 0,
            born: Timestamp::from_millis(bytes.number()?),
            used_at: Timestamp::from_millis(bytes.number()?),
            kind: bytes.byte()?,
            name: bytes.text()?.to_owned(),
            metrics: Vec::new(),
        };
        let mut metrics = Vec::new();
        while !bytes.0.is_empty() {
            let name = bytes.text()?.to_owned();
            metrics.push(Metric { name, sums: Sums::decode(bytes.take(NUMBERS)?)? });
        }
        Some(Self { metrics, ..record })
    }
}

/// A record in place: its bytes can be looked at and changed without decoding all of them.
pub(super) struct InPlace<'a>(pub(super) &'a mut [u8]);

impl InPlace<'_> {
    pub(super) fn born(&self) -> Option<Timestamp> {
        self.0.get(29..37).and_then(number).map(Timestamp::from_millis)
    }

    pub(super) fn use_at(&mut self, now: Timestamp) {
        if let Some(place) = self.0.get_mut(37..45) {
            place.copy_from_slice(&now.millis().to_le_bytes());
        }
    }

    /// The sums of a metric, and where they are.
    pub(super) fn find(&self, metric: &str) -> Option<(Sums, Range<usize>)> {
        let mut at = FIXED.saturating_add(self.length_at(46)?);
        while let Some(length) = self.length_at(at) {
            let name = at.saturating_add(2);
            let sums = name.saturating_add(length);
            let end = sums.saturating_add(NUMBERS);
            if self.0.get(name..sums) == Some(metric.as_bytes()) {
                return Some((Sums::decode(self.0.get(sums..end)?)?, sums..end));
            }
            at = end;
        }
        None
    }

    pub(super) fn set(&mut self, place: Range<usize>, sums: Sums) {
        if let Some(place) = self.0.get_mut(place) {
            place.copy_from_slice(&sums.encode());
        }
    }

    fn length_at(&self, at: usize) -> Option<usize> {
        let length = self.0.get(at..at.saturating_add(2))?;
        length.try_into().ok().map(u16::from_le_bytes).map(usize::from)
    }
}

/// Where the records of a shard are; `None` if the bytes are invalid.
pub(super) fn records(bytes: &[u8]) -> Option<Vec<Range<usize>>> {
    let (&VERSION, _) = bytes.split_first()? else { return None };
    let mut found = Vec::new();
    let mut at = 1_usize;
    while at < bytes.len() {
        let length = bytes.get(at..at.saturating_add(4))?;
        let length = usize::try_from(u32::from_le_bytes(length.try_into().ok()?)).ok()?;
        let end = at.saturating_add(length);
        if length < FIXED || end > bytes.len() {
            return None;
        }
        found.push(at..end);
        at = end;
    }
    Some(found)
}

/// Where the record with a tag is; `None` if it is not there. Does not read what is behind it.
pub(super) fn find(bytes: &[u8], tag: &Tag) -> Option<Range<usize>> {
    let mut at = 1_usize;
    while at < bytes.len() {
        let length = bytes.get(at..at.saturating_add(4))?;
        let length = usize::try_from(u32::from_le_bytes(length.try_into().ok()?)).ok()?;
        let end = at.saturating_add(length.max(FIXED));
        let start = at.saturating_add(4);
        if bytes.get(start..start.saturating_add(16)) == Some(tag) {
            return (end <= bytes.len()).then_some(at..end);
        }
        at = end;
    }
    None
}

/// The version of a shard's bytes.
pub(super) const VERSION: u8 = 1;

fn push_text(text: &str, bytes: &mut Vec<u8>) {
    // Names are shorter: the policy and the length of requests bound them.
    let text = text.as_bytes().get(..text.len().min(usize::from(u16::MAX))).unwrap_or_default();
    bytes.extend(u16::try_from(text.len()).unwrap_or(u16::MAX).to_le_bytes());
    bytes.extend(text);
}

fn number(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_le_bytes)
}

/// The bytes that remain to be decoded.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    fn number(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = u16::from_le_bytes(self.array()?);
        str::from_utf8(self.take(usize::from(length))?).ok()
    }
}
