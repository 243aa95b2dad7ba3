//! Key sets that an issuer publishes at a URL, fetched once for all workers.
//!
//! All workers share two entries for each set: its *status*, which says when it may be fetched and who
//! fetches it now, and its text. A worker parses the text once, and reads only the status until the text
//! changes.
//! Whoever finds that a set is due fetches it, whether that is a background task or a request; the status
//! admits one at a time, and none for `pause` after each. A set that cannot be fetched again stays in use.

use std::{
    cell::{Cell, RefCell},
    num::NonZeroU32,
    rc::Rc,
    time::Duration,
};

use super::{InvalidKeySet, InvalidProvider, KeySet, Keys, MAX_KEY_SET, Provider, fetched};
use crate::{
    credential::Digest,
    ports::{Ports, Wake},
    provider::{CallOutcome, CallRecord, Endpoint, ProviderFault},
    store::{Change, Session, Store, Table},
    time::Timestamp,
};

/// How many sets can be kept.
const CAPACITY: NonZeroU32 = NonZeroU32::new(1024).unwrap();

/// How many requests of a worker may wait for one set that somebody else fetches.
const MOST_WAITING: u32 = 256;

/// How often a waiting request looks whether the set is there.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The pause after a first failure. It doubles with each further one, up to [`Publication::pause`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The sets of all issuers, shared by all workers.
#[derive(Clone, Debug)]
pub struct KeySets {
    status: Table,
    texts: Table,
}

/// Where an issuer publishes its keys.
#[derive(Debug)]
pub struct Publication {
    pub(super) cluster: String,
    pub(super) endpoint: Endpoint,
    pub(super) timeout: Duration,
    /// The longest time until the set is fetched again.
    pub(super) every: Duration,
    /// The shortest.
    pub(super) pause: Duration,
    digest: Digest,
    /// The set as this worker parsed it last, and the digest of its text.
    parsed: RefCell<Option<(Digest, Rc<KeySet>)>>,
    /// How many requests of this worker wait.
    waiting: Cell<u32>,
}

/// A set, or why there is none.
pub(super) struct Obtained {
    pub(super) set: Result<Rc<KeySet>, Unobtained>,
    /// The call, if this future made one.
    pub(super) call: Option<CallRecord>,
}

/// Why there is no set, and in how many seconds there may be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unobtained {
    /// What is wrong.
    pub fault: ProviderFault,
    /// Seconds until it makes sense to try again.
    pub retry_after: Option<u64>,
}

/// What all workers know about a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Status {
    /// Until when somebody fetches it.
    fetching_until: Timestamp,
    /// When it may be fetched again.
    not_before: Timestamp,
    /// When it should be fetched again.
    due: Timestamp,
    /// How often in a row it could not be fetched.
    failures: u64,
    /// The digest of its text, if there is one.
    text: Option<Digest>,
}

/// Whether a future may fetch a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// It fetches it.
    Fetch,
    /// Somebody else fetches it.
    Wait,
    /// It was fetched a short time ago.
    Leave { until: Timestamp },
}

/// A text, with the validator that the server gave it.
pub(super) struct Text {
    pub(super) etag: String,
    pub(super) body: Vec<u8>,
}

// === impl Publication ===

impl Publication {
    /// The set at `endpoint`, fetched again after `pause` at the earliest and `every` at the latest.
    pub fn new(
        cluster: String,
        endpoint: Endpoint,
        timeout: Duration,
        every: Duration,
        pause: Duration,
    ) -> Self {
        let digest = Digest::of_parts(&[b"keys", cluster.as_bytes(), endpoint.as_str().as_bytes()]);
        let (parsed, waiting) = (RefCell::default(), Cell::default());
        Self { cluster, endpoint, timeout, every, pause, digest, parsed, waiting }
    }

    /// The digest of the place.
    pub(super) const fn digest(&self) -> &Digest {
        &self.digest
    }

    pub(super) fn faults(&self) -> Vec<InvalidProvider> {
        let mut faults = Vec::new();
        if self.cluster.is_empty() {
            faults.push(InvalidProvider::EmptyCluster);
        }
        if self.timeout.is_zero() {
            faults.push(InvalidProvider::ZeroTimeout);
        }
        if self.pause < FIRST_PAUSE || self.pause > self.every {
            faults.push(InvalidProvider::Pause);
        }
        faults
    }
}

// === impl KeySets ===

impl Default for KeySets {
    fn default() -> Self {
        let bytes = u32::try_from(MAX_KEY_SET).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MAX);
        Self {
            status: Table::cache("keysets", CAPACITY).uncounted(),
            texts: Table::cache("keytexts", CAPACITY).with_entries_of(bytes).uncounted(),
        }
    }
}

impl KeySets {
    /// The set, or one that is newer than `outdated`. If there is none, it is fetched; a set that was fetched
    /// a short time ago counts as the newest. `None` if only an outdated one can be had.
    pub(super) async fn obtain<S: Store>(
        &self,
        publication: &Publication,
        outdated: Option<&Rc<KeySet>>,
        ports: &Ports<S>,
    ) -> Obtained {
        let _waits = Waits::begin(&publication.waiting);
        let patience = ports.now().saturating_add(publication.timeout).saturating_add(publication.timeout);
        loop {
            let current = self.current(publication, ports.store());
            if let Some(set) = current.filter(|set| outdated.is_none_or(|old| !Rc::ptr_eq(old, set))) {
                return Obtained { set: Ok(set), call: None };
            }
            let unobtained = match self.turn(publication, ports.store()) {
                Turn::Fetch => {
                    let (set, call) = self.fetch(publication, ports).await;
                    return Obtained { set, call: Some(call) };
                }
                Turn::Leave { until } => Unobtained::until(ProviderFault::Resting, until, ports.now()),
                Turn::Wait if ports.now() >= patience => {
                    Unobtained { fault: ProviderFault::TimedOut, retry_after: Some(1) }
                }
                Turn::Wait if publication.waiting.get() > MOST_WAITING => {
                    Unobtained { fault: ProviderFault::Overloaded, retry_after: Some(1) }
                }
                Turn::Wait => {
                    ports.sleep_until(ports.now().saturating_add(LOOK_EVERY)).await;
                    continue;
                }
            };
            return Obtained { set: Err(unobtained), call: None };
        }
    }

    /// The set that was fetched last, by whichever worker.
    fn current(&self, publication: &Publication, store: Session<'_, impl Store>) -> Option<Rc<KeySet>> {
        let version = self.status(publication, store).text?;
        if let Some((parsed, set)) = &*publication.parsed.borrow()
            && *parsed == version
        {
            return Some(Rc::clone(set));
        }
        let text = self.text(publication, store).filter(|text| Digest::of(&text.body) == version)?;
        let set = Rc::new(KeySet::parse(&text.body).ok()?);
        publication.parsed.replace(Some((version, Rc::clone(&set))));
        Some(set)
    }

    fn status(&self, publication: &Publication, store: Session<'_, impl Store>) -> Status {
        self.status
            .read(store, &publication.digest, |bytes| bytes.and_then(Status::decode))
            .unwrap_or_default()
    }

    fn text(&self, publication: &Publication, store: Session<'_, impl Store>) -> Option<Text> {
        self.texts.read(store, &publication.digest, |bytes| Text::decode(bytes?))
    }

    fn turn(&self, publication: &Publication, store: Session<'_, impl Store>) -> Turn {
        let now = store.now();
        let until = now.saturating_add(publication.timeout);
        let turn = self.change(publication, store, |status| {
            // Nobody fetches for longer than a timeout, and no pause is longer. If one seems to be, the clock
            // was set back.
            if status.fetching_until > now && status.fetching_until <= until {
                return Turn::Wait;
            }
            if status.not_before > now && status.not_before <= now.saturating_add(publication.pause) {
                return Turn::Leave { until: status.not_before };
            }
            status.fetching_until = until;
            Turn::Fetch
        });
        turn.unwrap_or(Turn::Wait)
    }

    /// Fetches the set, and shares it with all workers.
    async fn fetch<S: Store>(
        &self,
        publication: &Publication,
        ports: &Ports<S>,
    ) -> (Result<Rc<KeySet>, Unobtained>, CallRecord) {
        let known = self.text(publication, ports.store());
        let etag = known.as_ref().map(|text| text.etag.as_str()).filter(|etag| !etag.is_empty());
        let answered = ports.ask(fetched::call(publication, etag)).await;
        let read = fetched::read(&answered.result, known);
        let store = ports.store();
        let now = ports.now();
        let shared = read.and_then(|fetched| {
            let set = KeySet::parse(&fetched.text.body).map_err(|invalid| match invalid {
                InvalidKeySet::TooLong => ProviderFault::TooLong,
                _ => ProviderFault::Malformed,
            })?;
            let version = Digest::of(&fetched.text.body);
            let payload = fetched.text.encode();
            let _kept = self.texts.update(store, &publication.digest, |_| {
                (Change::Put { expires: Timestamp::MAX, payload: payload.clone() }, ())
            });
            let lifetime = fetched.lifetime.unwrap_or(publication.every);
            let status = Status {
                fetching_until: Timestamp::default(),
                not_before: now.saturating_add(publication.pause),
                due: now.saturating_add(lifetime.clamp(publication.pause, publication.every)),
                failures: 0,
                text: Some(version),
            };
            let _noted = self.change(publication, store, |known| *known = status);
            let mut parsed = publication.parsed.borrow_mut();
            match &*parsed {
                Some((known, set)) if *known == version => Ok(Rc::clone(set)),
                _ => Ok(Rc::clone(&parsed.insert((version, Rc::new(set))).1)),
            }
        });
        let outcome =
            shared.as_ref().map_or_else(|fault| CallOutcome::Fault(*fault), |_| CallOutcome::Answered);
        let call = CallRecord { outcome, took: answered.took };
        let shared = shared.map_err(|fault| {
            let until = self.failed(publication, store);
            Unobtained::until(fault, until, now)
        });
        (shared, call)
    }

    /// Records that the set could not be fetched. Returns when it may be tried again.
    fn failed(&self, publication: &Publication, store: Session<'_, impl Store>) -> Timestamp {
        let noted = self.change(publication, store, |status| {
            let doubled =
                FIRST_PAUSE.saturating_mul(1_u32.checked_shl(status.failures.min(16) as u32).unwrap_or(1));
            status.fetching_until = Timestamp::default();
            status.failures = status.failures.saturating_add(1);
            status.not_before = store.now().saturating_add(doubled.min(publication.pause));
            status.not_before
        });
        noted.unwrap_or_else(|| store.now().saturating_add(FIRST_PAUSE))
    }

    fn change<T>(
        &self,
        publication: &Publication,
        store: Session<'_, impl Store>,
        mut change: impl FnMut(&mut Status) -> T,
    ) -> Option<T> {
        let changed = self.status.update(store, &publication.digest, |bytes| {
            let earlier = bytes.as_deref().and_then(Status::decode);
            let mut status = earlier.unwrap_or_default();
            let result = change(&mut status);
            let write = match earlier {
                Some(earlier) if earlier == status => Change::Keep,
                _ => Change::Put { expires: Timestamp::MAX, payload: status.encode() },
            };
            (write, result)
        });
        changed.ok()
    }

    /// The next moment at which a task has something to do.
    fn next(&self, publication: &Publication, store: Session<'_, impl Store>) -> Timestamp {
        let status = self.status(publication, store);
        let last = store.now().saturating_add(publication.every);
        status.due.max(status.not_before).max(status.fetching_until).min(last)
    }
}

/// Keeps the keys of `provider` fresh: fetches them when they are due. Runs in every worker; the workers
/// agree by the status which of them fetches. `record` receives the calls.
pub async fn keep_fresh<S: Store>(
    provider: Rc<Provider>,
    sets: KeySets,
    ports: Rc<Ports<S>>,
    record: impl Fn(&Ports<S>, CallRecord),
) {
    let Keys::Published(publication) = &provider.settings().keys else { return };
    loop {
        if sets.next(publication, ports.store()) <= ports.now()
            && sets.turn(publication, ports.store()) == Turn::Fetch
        {
            let (_, call) = sets.fetch(publication, &ports).await;
            record(&ports, call);
        }
        let next = sets.next(publication, ports.store());
        let soon = ports.now().saturating_add(LOOK_EVERY);
        if ports.sleep_until(next.max(soon)).await == Wake::LastTurn {
            return;
        }
    }
}

/// Counts a future among those that wait, until it is dropped.
struct Waits<'a>(&'a Cell<u32>);

impl<'a> Waits<'a> {
    fn begin(count: &'a Cell<u32>) -> Self {
        count.set(count.get().saturating_add(1));
        Self(count)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

impl Unobtained {
    fn until(fault: ProviderFault, until: Timestamp, now: Timestamp) -> Self {
        let seconds = until.since(now).as_millis().div_ceil(1000);
        let retry_after = u64::try_from(seconds).unwrap_or(u64::MAX).max(1);
        Self { fault, retry_after: Some(fault.retry_after().unwrap_or_default().max(retry_after)) }
    }
}

// === The encoding of what is shared ===

impl Status {
    fn encode(self) -> Vec<u8> {
        let numbers =
            [self.fetching_until.millis(), self.not_before.millis(), self.due.millis(), self.failures];
        let mut bytes: Vec<u8> = numbers.into_iter().flat_map(u64::to_le_bytes).collect();
        bytes.extend(self.text.iter().flat_map(Digest::bytes));
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (fetching_until, bytes) = bytes.split_first_chunk()?;
        let (not_before, bytes) = bytes.split_first_chunk()?;
        let (due, bytes) = bytes.split_first_chunk()?;
        let (failures, bytes) = bytes.split_first_chunk()?;
        let moment = |bytes| Timestamp::from_millis(u64::from_le_bytes(bytes));
        let text = match bytes {
            [] => None,
            _ => Some(Digest::from_bytes(bytes.try_into().ok()?)),
        };
        Some(Self {
            fetching_until: moment(*fetching_until),
            not_before: moment(*not_before),
            due: moment(*due),
            failures: u64::from_le_bytes(*failures),
            text,
        })
    }
}

impl Text {
    fn encode(&self) -> Vec<u8> {
        let length = u32::try_from(self.etag.len()).unwrap_or(u32::MAX).to_le_bytes();
        [length.as_slice(), self.etag.as_bytes(), &self.body].concat()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (length, bytes) = bytes.split_first_chunk()?;
        let (etag, body) = bytes.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
        Some(Self { etag: str::from_utf8(etag).ok()?.to_owned(), body: body.to_vec() })
    }
}
