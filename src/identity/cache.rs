//! The cache of identities: answers of providers, and how long each may be used. Faults are never cached.
//!
//! An entry holds the answer and the time it was received, and nothing computed from settings. If an operator
//! lowers a `ttl`, that takes effect immediately; a hit never extends an entry.

use std::{num::NonZeroU32, time::Duration};

use super::{
    AskedClaims, Identity, Vouched,
    recent::{MOST_BYTES, Recent},
};
use crate::{
    credential::Digest,
    provider::{Freshness, Keeping, WhenUnavailable},
    store::{Change, Session, Store, Table},
    time::Timestamp,
};

/// Cached answers of providers, shared by all workers.
///
/// Anybody can cause answers about tokens that are not active. They are in a table of their own, so that they
/// only push each other out.
#[derive(Clone, Debug)]
pub struct IdentityCache {
    active: Table,
    inactive: Table,
    /// Tokens that were active, without what was said about them.
    known: Table,
    /// The claims that are read of a token beside those that every answer has.
    asked: AskedClaims,
    /// What answers depend on beside the provider and the token. Answers with anything else are not found.
    variant: Option<Digest>,
    recent: Recent<KeptAnswer<'static>>,
}

/// What operators change in order that nothing is used that was cached before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Epoch(pub u32);

/// How long a token is known after it was active. If there are too many calls, those for known tokens are
/// made first.
const KNOWN_FOR: Duration = Duration::from_secs(3600);

/// Room for an answer about a token that is not active.
const INACTIVE_BYTES: NonZeroU32 = NonZeroU32::new(64).unwrap();

/// How an identity that a provider vouches for was obtained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lookup {
    /// From the cache.
    Hit,
    /// From the provider.
    Miss,
    /// From the cache after its `ttl`, because the provider is unavailable.
    Stale,
    /// From the token itself: it names an issuer whose tokens the provider does not know.
    Foreign,
}

/// The terms for using the answers of one provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// How long answers are cached.
    pub keeping: Keeping,
    /// What to do when there is no new answer.
    pub when_unavailable: WhenUnavailable,
    /// How long the provider rests after a failure.
    pub cooldown: Duration,
    /// How long after a token's `exp` an answer about it may still be used.
    pub leeway: Duration,
}

/// A provider's answer, and when it was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptAnswer<'a> {
    fetched_at: Timestamp,
    introspected: Vouched<'a>,
}

// === impl Epoch ===

impl Epoch {
    /// What the keys of caches depend on; `None` in the first epoch.
    pub(super) fn digest(self) -> Option<Digest> {
        (self.0 != 0).then(|| Digest::of_parts(&[b"epoch", &self.0.to_le_bytes()]))
    }
}

// === impl Lookup ===

impl Lookup {
    /// The lookup's name in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Stale => "stale",
            Self::Foreign => "foreign",
        }
    }
}

// === impl Terms ===

impl Terms {
    /// The default time that a provider rests after a failure.
    pub const DEFAULT_COOLDOWN: Duration = Duration::from_secs(1);

    fn not_past_exp(&self, claims: &Identity<'_>, moment: Timestamp) -> Timestamp {
        claims.exp.map_or(moment, |exp| exp.saturating_add(self.leeway).min(moment))
    }
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            keeping: Keeping::default(),
            when_unavailable: WhenUnavailable::default(),
            cooldown: Self::DEFAULT_COOLDOWN,
            leeway: Duration::ZERO,
        }
    }
}

// === impl IdentityCache ===

impl IdentityCache {
    /// A cache with room for `capacity` answers of `bytes` each. Four answers share their room, and one that
    /// does not fit into the room of four is not cached.
    pub fn new(capacity: NonZeroU32, bytes: NonZeroU32) -> Self {
        Self {
            active: Table::cache("tokens", capacity).with_entries_of(bytes),
            inactive: Table::cache("inactive", capacity).with_entries_of(INACTIVE_BYTES).uncounted(),
            known: Table::cache("known", capacity).with_entries_of(INACTIVE_BYTES).uncounted(),
            asked: AskedClaims::default(),
            variant: None,
            recent: Recent::default(),
        }
    }

    /// The same cache, of answers with these claims that were cached in this epoch. Other claims and other
    /// epochs may share its tables.
    pub fn asking(self, asked: AskedClaims, epoch: Epoch) -> Self {
        let variant = match (asked.is_empty(), epoch.digest()) {
            (true, None) => None,
            (true, epoch @ Some(_)) => epoch,
            (false, None) => Some(asked.digest()),
            (false, Some(epoch)) => Some(Digest::of_parts(&[asked.digest().bytes(), epoch.bytes()])),
        };
        Self { asked, variant, ..self }
    }

    /// The claims that answers have beside those that every answer has.
    pub const fn asked(&self) -> &AskedClaims {
        &self.asked
    }

    fn entry(&self, key: &Digest) -> Digest {
        self.variant.map_or(*key, |variant| variant.joined(key))
    }

    /// The answer that is cached under `key`, if it is still fresh. The store is not read for a token that
    /// this worker has found active not long ago. So another worker may know already that such a token has
    /// been revoked; but nobody uses an answer for longer than its `ttl`.
    pub fn fresh(
        &self,
        store: Session<'_, impl Store>,
        key: &Digest,
        terms: &Terms,
    ) -> Option<Vouched<'static>> {
        let is_fresh = |kept: &KeptAnswer<'_>| kept.freshness(terms, store.now()) == Freshness::Fresh;
        if let Some(kept) = self.recent.find(key, is_fresh) {
            return Some(kept.into_vouched());
        }
        let kept = self.find(store, key).filter(is_fresh)?;
        self.recent.note(key, kept.to_remember());
        Some(kept.into_vouched())
    }

    /// The answer that is cached under `key`.
    pub fn find(&self, store: Session<'_, impl Store>, key: &Digest) -> Option<KeptAnswer<'static>> {
        let key = self.entry(key);
        let find = |table: &Table| {
            table.read(store, &key, |bytes| {
                let answer = KeptAnswer::decode(bytes?).map(KeptAnswer::into_owned);
                if answer.is_none() {
                    store.incidents().corrupt();
                }
                answer
            })
        };
        find(&self.active).or_else(|| find(&self.inactive))
    }

    /// Whether the token was active not long ago.
    pub fn knows(&self, store: Session<'_, impl Store>, key: &Digest) -> bool {
        self.known.read(store, key, |entry| entry.is_some())
    }

    /// Caches an answer for all workers. If it cannot be cached, the next request asks again. An earlier
    /// answer is removed in any case, because otherwise it would be used in place of this one while the
    /// provider is unavailable.
    pub fn keep(
        &self,
        store: Session<'_, impl Store>,
        key: &Digest,
        introspected: Vouched<'static>,
        terms: &Terms,
    ) {
        let now = store.now();
        let known_until = match &introspected {
            Vouched::Active(claims) => terms.not_past_exp(claims, now.saturating_add(KNOWN_FOR)),
            Vouched::Inactive => now,
        };
        let answer = KeptAnswer::new(introspected, now);
        self.recent.note(key, answer.to_remember());
        let kept_until = answer.kept_until(terms);
        let (table, other) = match &answer.introspected {
            Vouched::Active(_) => (&self.active, &self.inactive),
            Vouched::Inactive => (&self.inactive, &self.active),
        };
        let entry = self.entry(key);
        write(other, store, &entry, now, Vec::new());
        write(table, store, &entry, kept_until.unwrap_or(now), answer.encode());
        write(&self.known, store, key, known_until, Vec::new());
    }
}

/// Puts an entry into the table. One that has expired only replaces an earlier one.
fn write(table: &Table, store: Session<'_, impl Store>, key: &Digest, expires: Timestamp, payload: Vec<u8>) {
    let _written = table.update(store, key, |earlier| {
        let change = match (expires > store.now(), earlier) {
            (true, _) => Change::Put { expires, payload: payload.clone() },
            (false, Some(_)) => Change::Put { expires: Timestamp::default(), payload: Vec::new() },
            (false, None) => Change::Keep,
        };
        (change, ())
    });
}

// === impl KeptAnswer ===

impl<'a> KeptAnswer<'a> {
    /// An answer received at `now`.
    pub const fn new(introspected: Vouched<'a>, now: Timestamp) -> Self {
        Self { fetched_at: now, introspected }
    }

    /// The answer, if a worker may remember it: tokens that are not active are of strangers.
    fn to_remember(&self) -> Option<KeptAnswer<'static>> {
        match &self.introspected {
            Vouched::Active(identity) if identity.bytes() <= MOST_BYTES => Some(self.clone().into_owned()),
            Vouched::Active(_) | Vouched::Inactive => None,
        }
    }

    /// The answer.
    pub fn into_vouched(self) -> Vouched<'a> {
        self.introspected
    }

    /// The same answer, independent of the bytes it was decoded from.
    pub fn into_owned(self) -> KeptAnswer<'static> {
        KeptAnswer { fetched_at: self.fetched_at, introspected: self.introspected.into_owned() }
    }

    /// The moment from which the answer is no longer fresh. For an active token that is `ttl` after it was
    /// received, or the token's `exp` if that is earlier. For an inactive token it is `negative_ttl` after it
    /// was received.
    pub fn fresh_until(&self, terms: &Terms) -> Timestamp {
        let Keeping { ttl, negative_ttl, stale_if_error: _ } = terms.keeping;
        match &self.introspected {
            Vouched::Inactive => self.fetched_at.saturating_add(negative_ttl),
            Vouched::Active(claims) => terms.not_past_exp(claims, self.fetched_at.saturating_add(ttl)),
        }
    }

    /// Until when the cache should hold the answer; `None` if the answer should not be cached.
    pub fn kept_until(&self, terms: &Terms) -> Option<Timestamp> {
        let until = self.usable_until(terms);
        (until > self.fetched_at).then_some(until)
    }

    /// How the answer may be used at `now`. An answer from the future cannot be used: the clock was set back,
    /// so its age is unknown.
    pub fn freshness(&self, terms: &Terms, now: Timestamp) -> Freshness {
        if now < self.fetched_at {
            Freshness::Expired
        } else if now < self.fresh_until(terms) {
            Freshness::Fresh
        } else if now < self.usable_until(terms) {
            Freshness::Stale
        } else {
            Freshness::Expired
        }
    }

    /// The answer, if it may be used at `now` although the provider failed.
    pub fn despite_fault(self, terms: &Terms, now: Timestamp) -> Option<Vouched<'a>> {
        let Vouched::Active(claims) = &self.introspected else {
            return None;
        };
        let is_allowed = match &terms.when_unavailable {
            WhenUnavailable::Deny => false,
            WhenUnavailable::Stale => true,
            WhenUnavailable::AllowClients(clients) => {
                claims.client_id.as_deref().is_some_and(|client| clients.contains(client))
            }
        };
        (is_allowed && self.freshness(terms, now) != Freshness::Expired).then_some(self.introspected)
    }

    fn usable_until(&self, terms: &Terms) -> Timestamp {
        let fresh_until = self.fresh_until(terms);
        match &self.introspected {
            Vouched::Active(claims) if terms.when_unavailable != WhenUnavailable::Deny => {
                terms.not_past_exp(claims, fresh_until.saturating_add(terms.keeping.stale_if_error))
            }
            Vouched::Active(_) | Vouched::Inactive => fresh_until,
        }
    }

    /// Encodes the answer for the cache.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.fetched_at.millis().to_le_bytes().to_vec();
        self.introspected.encode(&mut bytes);
        bytes
    }

    /// Decodes what [`Self::encode`] wrote, and borrows all texts; `None` if the bytes are invalid.
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (fetched_at, introspected) = bytes.split_first_chunk()?;
        Some(Self {
            fetched_at: Timestamp::from_millis(u64::from_le_bytes(*fetched_at)),
            introspected: Vouched::decode(introspected)?,
        })
    }
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::{super::record::tests::full, *};

    const NOW: Timestamp = Timestamp::from_seconds(1_000);

    fn terms(when_unavailable: WhenUnavailable) -> Terms {
        Terms { when_unavailable, ..Terms::default() }
    }

    fn clients(names: &[&str]) -> WhenUnavailable {
        WhenUnavailable::AllowClients(names.iter().map(ToString::to_string).collect())
    }

    fn active(exp: Option<u64>) -> KeptAnswer<'static> {
        KeptAnswer::new(Vouched::Active(Identity { exp: exp.map(Timestamp::from_seconds), ..full() }), NOW)
    }

    fn states(entry: &KeptAnswer<'_>, terms: &Terms, seconds: &[u64]) -> Vec<Freshness> {
        seconds.iter().map(|second| entry.freshness(terms, Timestamp::from_seconds(*second))).collect()
    }

    #[test]
    fn a_worker_remembers_active_tokens_only() {
        let remembers = |vouched| KeptAnswer::new(vouched, NOW).to_remember().is_some();
        let large = Identity { sub: Some("x".repeat(MOST_BYTES).into()), ..full() };
        assert!(remembers(Vouched::Active(full())));
        assert!(!remembers(Vouched::Active(large)) && !remembers(Vouched::Inactive));
    }

    #[test]
    fn an_active_token_is_fresh_for_its_ttl_and_then_stale_if_configured() {
        use Freshness::{Expired, Fresh, Stale};
        let seconds = [1_000, 1_029, 1_030, 1_089, 1_090];
        let entry = active(Some(2_000));
        assert_eq!(
            states(&entry, &terms(WhenUnavailable::Deny), &seconds),
            [Fresh, Fresh, Expired, Expired, Expired]
        );
        for mode in [WhenUnavailable::Stale, clients(&["x"])] {
            assert_eq!(states(&entry, &terms(mode), &seconds), [Fresh, Fresh, Stale, Stale, Expired]);
        }
    }

    #[test]
    fn nothing_is_used_from_exp_on() {
        use Freshness::{Expired, Fresh, Stale};
        let stale = terms(WhenUnavailable::Stale);
        assert_eq!(states(&active(Some(1_010)), &stale, &[1_009, 1_010]), [Fresh, Expired]);
        assert_eq!(
            states(&active(Some(1_040)), &stale, &[1_029, 1_030, 1_039, 1_040]),
            [Fresh, Stale, Stale, Expired]
        );
        assert_eq!(active(Some(1_000)).kept_until(&stale), None);
        assert_eq!(active(Some(1)).kept_until(&stale), None);
    }

    #[test]
    fn an_answer_may_outlive_exp_by_the_leeway() {
        use Freshness::{Expired, Fresh};
        let lenient = Terms { leeway: Duration::from_secs(5), ..Terms::default() };
        assert_eq!(states(&active(Some(1_010)), &lenient, &[1_014, 1_015]), [Fresh, Expired]);
    }

    #[test]
    fn an_inactive_token_is_cached_for_the_negative_ttl_and_never_stale() {
        use Freshness::{Expired, Fresh};
        let entry = KeptAnswer::new(Vouched::Inactive, NOW);
        let stale = terms(WhenUnavailable::Stale);
        assert_eq!(states(&entry, &stale, &[1_000, 1_004, 1_005]), [Fresh, Fresh, Expired]);
        assert_eq!(entry.kept_until(&stale), Some(Timestamp::from_seconds(1_005)));
        assert_eq!(entry.despite_fault(&stale, NOW), None);
    }

    #[test]
    fn zero_disables_caching() {
        let keeping = Keeping { ttl: Duration::ZERO, negative_ttl: Duration::ZERO, ..Keeping::default() };
        let off = Terms { keeping, ..Terms::default() };
        for entry in [active(None), KeptAnswer::new(Vouched::Inactive, NOW)] {
            assert_eq!(entry.kept_until(&off), None);
            assert_eq!(entry.freshness(&off, NOW), Freshness::Expired);
        }
    }

    #[test]
    fn an_answer_is_kept_as_long_as_it_may_be_used() {
        let entry = active(None);
        assert_eq!(entry.kept_until(&terms(WhenUnavailable::Deny)), Some(Timestamp::from_seconds(1_030)));
        assert_eq!(entry.kept_until(&terms(WhenUnavailable::Stale)), Some(Timestamp::from_seconds(1_090)));
    }

    #[test]
    fn an_entry_from_the_future_is_not_used() {
        let stale = terms(WhenUnavailable::Stale);
        let before = Timestamp::from_seconds(999);
        assert_eq!(active(None).freshness(&stale, before), Freshness::Expired);
        assert_eq!(active(None).despite_fault(&stale, before), None);
    }

    #[test]
    fn the_mode_decides_which_callers_are_served_despite_a_fault() {
        let late = Timestamp::from_seconds(1_040);
        let table = [
            (WhenUnavailable::Deny, false),
            (WhenUnavailable::Stale, true),
            (clients(&["other", "acme-web"]), true),
            (clients(&["other"]), false),
        ];
        for (mode, serves) in table {
            let terms = terms(mode.clone());
            for moment in [NOW, late] {
                assert_eq!(active(None).despite_fault(&terms, moment).is_some(), serves, "{mode:?}");
            }
            assert_eq!(active(None).despite_fault(&terms, Timestamp::from_seconds(1_090)), None, "{mode:?}");
        }
        let nameless = KeptAnswer::new(Vouched::Active(Identity::default()), NOW);
        assert_eq!(nameless.despite_fault(&terms(clients(&["", "x"])), late), None);
    }

    #[test]
    fn encoded_answers_are_decoded() {
        for entry in [active(Some(2_000)), KeptAnswer::new(Vouched::Inactive, NOW)] {
            assert_eq!(KeptAnswer::decode(&entry.encode()), Some(entry));
        }
        assert_eq!(KeptAnswer::decode(b""), None);
        assert_eq!(KeptAnswer::decode(&[0; 8]), None);
    }
}
