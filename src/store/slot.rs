//! The bytes of one slot: a version, then entries one after the other. Numbers are little-endian.
//!
//! ```text
//! 1 | tag (16) expires (8, ms since the epoch) length (4) payload (length) | tag …
//! ```

use std::ops::Range;

use crate::{digest::Digest, time::Timestamp};

const VERSION: u8 = 1;

/// Sizes of the fields before a payload, in bytes.
const TAG: usize = 16;
const EXPIRES: usize = 8;
const LENGTH: usize = 4;

/// Size of an entry without its payload, in bytes.
pub(super) const OVERHEAD: usize = TAG + EXPIRES + LENGTH;

/// Distinguishes the entries of a slot: the last 16 bytes of the subject's digest. The slot is chosen by a
/// hash of the first 16, so all 128 bits of the tag are effective within a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag([u8; TAG]);

impl Tag {
    pub(super) fn of(subject: &Digest) -> Self {
        let (_, tag) = subject.bytes().split_last_chunk().unwrap_or((&[], &[0; TAG]));
        Self(*tag)
    }
}

/// One entry, borrowed from the bytes of its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    pub(super) tag: Tag,
    pub(super) expires: Timestamp,
    pub(super) payload: &'a [u8],
}

/// The entries of a slot, checked to be valid.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Slot<'a>(&'a [u8]);

impl<'a> Slot<'a> {
    /// The slot in `bytes`; `None` unless all bytes form a valid slot.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (&VERSION, entries) = bytes.split_first()? else { return None };
        let mut rest = entries;
        while !rest.is_empty() {
            (_, rest) = Entry::split_from(rest)?;
        }
        Some(Self(entries))
    }

    pub(super) fn entries(self) -> impl Iterator<Item = Entry<'a>> + Clone {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let entry;
            (entry, rest) = Entry::split_from(rest)?;
            Some(entry)
        })
    }
}

impl<'a> Entry<'a> {
    /// Its size in a slot, in bytes.
    pub(super) fn size(self) -> usize {
        self.payload.len().saturating_add(OVERHEAD)
    }

    fn split_from(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (tag, bytes) = bytes.split_first_chunk()?;
        let (expires, bytes) = bytes.split_first_chunk()?;
        let (length, bytes) = bytes.split_first_chunk()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let (payload, rest) = bytes.split_at_checked(length)?;
        let expires = Timestamp::from_millis(u64::from_le_bytes(*expires));
        Some((Self { tag: Tag(*tag), expires, payload }, rest))
    }
}

/// What a slot holds for one subject, found in one pass over its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Survey {
    /// Where the payload of the subject's live entry is.
    pub(super) entry: Option<Range<usize>>,
    /// Whether the slot holds entries that can be dropped: expired ones, or a second one of the subject.
    pub(super) droppable: bool,
}

impl Survey {
    /// The survey of a slot's bytes; `None` unless all of them form a valid slot.
    #[inline]
    pub(super) fn of(bytes: &[u8], tag: Tag, now: Timestamp) -> Option<Self> {
        let (&VERSION, mut rest) = bytes.split_first()? else { return None };
        let mut survey = Self::default();
        while !rest.is_empty() {
            let entry;
            (entry, rest) = Entry::split_from(rest)?;
            if entry.expires <= now || (entry.tag == tag && survey.entry.is_some()) {
                survey.droppable = true;
            } else if entry.tag == tag {
                let end = bytes.len().checked_sub(rest.len())?;
                survey.entry = Some(end.checked_sub(entry.payload.len())?..end);
            }
        }
        Some(survey)
    }
}

/// Changes when the entry expires whose payload begins at `payload`.
pub(super) fn set_expiry(bytes: &mut [u8], payload: usize, expires: Timestamp) {
    let start = payload.saturating_sub(LENGTH.saturating_add(EXPIRES));
    if let Some(old) = bytes.get_mut(start..).and_then(<[u8]>::first_chunk_mut::<EXPIRES>) {
        *old = expires.millis().to_le_bytes();
    }
}

/// The bytes of a slot with these entries; `size` is an estimate of their total length.
pub(super) fn encode<'a>(entries: impl Iterator<Item = Entry<'a>>, size: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size);
    bytes.push(VERSION);
    for entry in entries {
        // No store can hold a payload of 4 GiB.
        let length = u32::try_from(entry.payload.len()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&entry.tag.0);
        bytes.extend_from_slice(&entry.expires.millis().to_le_bytes());
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(entry.payload);
    }
    bytes
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn entry(name: &[u8], payload: &'static [u8]) -> Entry<'static> {
        Entry { tag: Tag::of(&Digest::of(name)), expires: Timestamp::from_millis(7), payload }
    }

    #[test]
    fn entries_are_read_back_in_order() {
        let entries = [entry(b"a", b"one"), entry(b"b", b""), entry(b"c", b"three")];
        let bytes = encode(entries.into_iter(), 0);
        assert_eq!(bytes.len(), 1 + 3 * OVERHEAD + 8);
        assert_eq!(Slot::parse(&bytes).unwrap().entries().collect::<Vec<_>>(), entries);
        assert_eq!(Slot::parse(&encode([].into_iter(), 0)).unwrap().entries().count(), 0);
    }

    #[test]
    fn a_survey_finds_the_live_entry_and_what_can_be_dropped() {
        let at = Timestamp::from_millis;
        let tag = Tag::of(&Digest::of(b"b"));
        let live = [entry(b"a", b"one"), entry(b"b", b"two")];
        let mut bytes = encode(live.into_iter(), 0);
        let survey = Survey::of(&bytes, tag, at(6)).unwrap();
        assert_eq!(
            (bytes.get(survey.entry.clone().unwrap()).unwrap(), survey.droppable),
            (&b"two"[..], false)
        );
        assert_eq!(Survey::of(&bytes, tag, at(7)), Some(Survey { entry: None, droppable: true }));
        set_expiry(&mut bytes, survey.entry.clone().unwrap().start, at(9));
        let later = Survey::of(&bytes, tag, at(8)).unwrap();
        assert_eq!((later.entry, later.droppable), (survey.entry, true), "the other has expired");
        let twice = encode([entry(b"b", b"one"), entry(b"b", b"two")].into_iter(), 0);
        let survey = Survey::of(&twice, tag, at(0)).unwrap();
        assert_eq!((twice.get(survey.entry.unwrap()).unwrap(), survey.droppable), (&b"one"[..], true));
        assert_eq!(Survey::of(&[1, 0], tag, at(0)), None);
    }

    #[test]
    fn every_other_version_and_every_truncation_is_refused() {
        let bytes = encode([entry(b"a", b"one")].into_iter(), 0);
        for end in (0..bytes.len()).filter(|end| *end != 1) {
            assert!(Slot::parse(&bytes[..end]).is_none(), "{end} bytes");
        }
        let mut other = bytes.clone();
        other[0] = 2;
        assert!(Slot::parse(&other).is_none());
        assert!(Slot::parse(&[bytes, vec![0]].concat()).is_none(), "one extra byte");
    }
}
