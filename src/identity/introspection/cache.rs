//! How long an answer may be used, and the bytes that all workers share. Faults are never kept.
//!
//! An entry holds the answer and when it came, nothing that was computed from settings: a `ttl` that an operator lowers
//! counts at once, and a hit extends nothing.

use super::{Claims, Introspected, Provider, Unavailable};
use crate::time::Timestamp;

/// An answer of an introspection endpoint, and when it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    fetched_at: Timestamp,
    introspected: Introspected<'a>,
}

/// What an entry is good for at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// As good as asking.
    Fresh,
    /// Good while the endpoint cannot be asked: see [`Entry::despite_fault`].
    Stale,
    /// Nothing.
    Expired,
}

impl<'a> Entry<'a> {
    /// An answer that came at `now`.
    pub const fn new(introspected: Introspected<'a>, now: Timestamp) -> Self {
        Self { fetched_at: now, introspected }
    }

    /// The answer.
    pub const fn introspected(&self) -> &Introspected<'a> {
        &self.introspected
    }

    /// The answer.
    pub fn into_introspected(self) -> Introspected<'a> {
        self.introspected
    }

    /// From this moment on it is not fresh any more: `ttl` after it came, or at the token's `exp` if that is earlier;
    /// `negative_ttl` after it came if the token is inactive.
    pub fn fresh_until(&self, provider: &Provider) -> Timestamp {
        let cache = provider.settings().cache;
        match &self.introspected {
            Introspected::Inactive => self.fetched_at.saturating_add(cache.negative_ttl),
            Introspected::Active(claims) => not_past_exp(claims, self.fetched_at.saturating_add(cache.ttl)),
        }
    }

    /// Until when the shared cache should keep it; `None` if it should not take it at all.
    pub fn kept_until(&self, provider: &Provider) -> Option<Timestamp> {
        let until = self.usable_until(provider);
        (until > self.fetched_at).then_some(until)
    }

    /// What it is good for at `now`. An entry from the future is good for nothing: the clock was set back, and nobody
    /// knows how old it is.
    pub fn state(&self, provider: &Provider, now: Timestamp) -> State {
        if now < self.fetched_at {
            State::Expired
        } else if now < self.fresh_until(provider) {
            State::Fresh
        } else if now < self.usable_until(provider) {
            State::Stale
        } else {
            State::Expired
        }
    }

    /// The answer that may stand in for one that the provider failed to give at `now`, by its `unavailable` mode.
    pub fn despite_fault(self, provider: &Provider, now: Timestamp) -> Option<Introspected<'a>> {
        let Introspected::Active(claims) = &self.introspected else {
            return None;
        };
        let is_allowed = match &provider.settings().unavailable {
            Unavailable::Deny => false,
            Unavailable::Stale => true,
            Unavailable::AllowClients(clients) => {
                claims.client_id.as_deref().is_some_and(|client| clients.contains(client))
            }
        };
        (is_allowed && self.state(provider, now) != State::Expired).then_some(self.introspected)
    }

    fn usable_until(&self, provider: &Provider) -> Timestamp {
        let fresh_until = self.fresh_until(provider);
        let settings = provider.settings();
        match &self.introspected {
            Introspected::Active(claims) if settings.unavailable != Unavailable::Deny => {
                not_past_exp(claims, fresh_until.saturating_add(settings.cache.stale_if_error))
            }
            Introspected::Active(_) | Introspected::Inactive => fresh_until,
        }
    }

    /// The bytes for the shared cache.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.fetched_at.millis().to_le_bytes().to_vec();
        self.introspected.encode(&mut bytes);
        bytes
    }

    /// Reads what [`Self::encode`] wrote, borrowing all texts; `None` for anything else.
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (fetched_at, introspected) = bytes.split_first_chunk()?;
        Some(Self {
            fetched_at: Timestamp::from_millis(u64::from_le_bytes(*fetched_at)),
            introspected: Introspected::decode(introspected)?,
        })
    }
}

fn not_past_exp(claims: &Claims<'_>, moment: Timestamp) -> Timestamp {
    claims.exp.map_or(moment, |exp| exp.min(moment))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::claims::tests::full;
    use super::super::provider::tests::settings;
    use super::super::{CacheSettings, Settings};
    use super::*;
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const NOW: Timestamp = Timestamp::from_seconds(1_000);

    fn provider(unavailable: Unavailable) -> Provider {
        Provider::new(Settings { unavailable, ..settings() }).unwrap()
    }

    fn clients(names: &[&str]) -> Unavailable {
        Unavailable::AllowClients(names.iter().map(ToString::to_string).collect())
    }

    fn active(exp: Option<u64>) -> Entry<'static> {
        Entry::new(Introspected::Active(Claims { exp: exp.map(Timestamp::from_seconds), ..full() }), NOW)
    }

    fn states(entry: &Entry<'_>, provider: &Provider, seconds: &[u64]) -> Vec<State> {
        seconds.iter().map(|second| entry.state(provider, Timestamp::from_seconds(*second))).collect()
    }

    #[test]
    fn an_active_token_is_fresh_for_its_ttl_and_then_stale_where_that_is_asked_for() {
        use State::{Expired, Fresh, Stale};
        let seconds = [1_000, 1_029, 1_030, 1_089, 1_090];
        let entry = active(Some(2_000));
        assert_eq!(
            states(&entry, &provider(Unavailable::Deny), &seconds),
            [Fresh, Fresh, Expired, Expired, Expired]
        );
        for mode in [Unavailable::Stale, clients(&["x"])] {
            assert_eq!(states(&entry, &provider(mode), &seconds), [Fresh, Fresh, Stale, Stale, Expired]);
        }
    }

    #[test]
    fn nothing_is_used_from_exp_on() {
        use State::{Expired, Fresh, Stale};
        let stale = provider(Unavailable::Stale);
        assert_eq!(states(&active(Some(1_010)), &stale, &[1_009, 1_010]), [Fresh, Expired]);
        assert_eq!(
            states(&active(Some(1_040)), &stale, &[1_029, 1_030, 1_039, 1_040]),
            [Fresh, Stale, Stale, Expired]
        );
        assert_eq!(active(Some(1_000)).kept_until(&stale), None);
        assert_eq!(active(Some(1)).kept_until(&stale), None);
    }

    #[test]
    fn an_inactive_token_is_known_for_the_negative_ttl_and_never_stale() {
        use State::{Expired, Fresh};
        let entry = Entry::new(Introspected::Inactive, NOW);
        let stale = provider(Unavailable::Stale);
        assert_eq!(states(&entry, &stale, &[1_000, 1_004, 1_005]), [Fresh, Fresh, Expired]);
        assert_eq!(entry.kept_until(&stale), Some(Timestamp::from_seconds(1_005)));
        assert_eq!(entry.despite_fault(&stale, NOW), None);
    }

    #[test]
    fn zero_keeps_nothing() {
        let cache =
            CacheSettings { ttl: Duration::ZERO, negative_ttl: Duration::ZERO, ..CacheSettings::default() };
        let off = Provider::new(Settings { cache, ..settings() }).unwrap();
        for entry in [active(None), Entry::new(Introspected::Inactive, NOW)] {
            assert_eq!(entry.kept_until(&off), None);
            assert_eq!(entry.state(&off, NOW), State::Expired);
        }
    }

    #[test]
    fn it_is_kept_as_long_as_it_may_be_used() {
        let entry = active(None);
        assert_eq!(entry.kept_until(&provider(Unavailable::Deny)), Some(Timestamp::from_seconds(1_030)));
        assert_eq!(entry.kept_until(&provider(Unavailable::Stale)), Some(Timestamp::from_seconds(1_090)));
    }

    #[test]
    fn an_entry_from_the_future_is_not_used() {
        let stale = provider(Unavailable::Stale);
        let before = Timestamp::from_seconds(999);
        assert_eq!(active(None).state(&stale, before), State::Expired);
        assert_eq!(active(None).despite_fault(&stale, before), None);
    }

    #[test]
    fn the_mode_decides_who_is_served_despite_a_fault() {
        let late = Timestamp::from_seconds(1_040);
        let table = [
            (Unavailable::Deny, false),
            (Unavailable::Stale, true),
            (clients(&["other", "acme-web"]), true),
            (clients(&["other"]), false),
        ];
        for (mode, serves) in table {
            let provider = provider(mode.clone());
            for moment in [NOW, late] {
                assert_eq!(active(None).despite_fault(&provider, moment).is_some(), serves, "{mode:?}");
            }
            assert_eq!(
                active(None).despite_fault(&provider, Timestamp::from_seconds(1_090)),
                None,
                "{mode:?}"
            );
        }
        let nameless = Entry::new(Introspected::Active(Claims::default()), NOW);
        assert_eq!(nameless.despite_fault(&provider(clients(&["", "x"])), late), None);
    }

    #[test]
    fn bytes_are_read_back() {
        for entry in [active(Some(2_000)), Entry::new(Introspected::Inactive, NOW)] {
            assert_eq!(Entry::decode(&entry.encode()), Some(entry));
        }
        assert_eq!(Entry::decode(b""), None);
        assert_eq!(Entry::decode(&[0; 8]), None);
    }
}
