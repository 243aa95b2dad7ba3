//! The known callers of a policy. There may be hundreds of thousands, so each takes few bytes.

use crate::{access::Referrers, credential::Digest, texts::Texts};

/// The known callers, in the order of the document.
#[derive(Default)]
pub struct Consumers {
    names: Texts,
    entries: Vec<Entry>,
    clients: Ids,
    applications: Ids,
    referrers: Referrers,
}

/// A known caller.
#[derive(Clone, Copy, Debug)]
pub struct Consumer<'a> {
    /// Its name.
    pub name: &'a str,
    /// Whether it may call at all.
    pub active: bool,
    /// Its plan.
    pub plan: Option<usize>,
    /// What the names of its meters have in common.
    pub payer: Digest,
    /// Whether metrics show the use of each key.
    pub key_metrics: bool,
}

/// What the list has for each caller beside its name.
pub(super) struct Entry {
    /// What the names of its meters have in common.
    pub(super) payer: Digest,
    /// Its plan.
    pub(super) plan: Option<u32>,
    /// Whether it may call at all.
    pub(super) active: bool,
    /// Whether metrics show the use of each key.
    pub(super) key_metrics: bool,
}

/// Which consumer has which id: of an OAuth2 client, or of an application.
#[derive(Default)]
pub(super) struct Ids {
    ids: Texts,
    owners: Vec<u32>,
    /// Indexes of ids, in the order of the ids' texts.
    sorted: Vec<u32>,
}

// === impl Consumers ===

impl Consumers {
    pub(super) fn new(mut names: Texts, entries: Vec<Entry>, clients: Ids, applications: Ids) -> Self {
        names.shrink_to_fit();
        Self { names, entries, clients, applications, referrers: Referrers::default() }
    }

    /// The consumer at an index.
    #[inline]
    pub fn get(&self, index: usize) -> Option<Consumer<'_>> {
        let Entry { payer, plan, active, key_metrics } = self.entries.get(index)?;
        let plan = plan.and_then(|plan| usize::try_from(plan).ok());
        Some(Consumer {
            name: self.names.get(index)?,
            active: *active,
            plan,
            payer: *payer,
            key_metrics: *key_metrics,
        })
    }

    /// The index of the consumer that an OAuth2 client is.
    pub fn by_client(&self, id: &str) -> Option<usize> {
        self.clients.owner(id)
    }

    /// The index of the consumer that has an application.
    pub fn by_application(&self, id: &str) -> Option<usize> {
        self.applications.owner(id)
    }

    /// The sites that requests may come from, by consumer.
    pub const fn referrers(&self) -> &Referrers {
        &self.referrers
    }

    /// Adds the sites that requests may come from.
    pub(super) fn with_referrers(self, referrers: Referrers) -> Self {
        Self { referrers, ..self }
    }

    /// The names of all.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter()
    }

    /// The plans that any of them has, some more than once.
    pub(super) fn plans(&self) -> impl Iterator<Item = usize> {
        self.entries.iter().filter_map(|entry| usize::try_from(entry.plan?).ok())
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the list is empty.
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

// === impl Ids ===

impl Ids {
    /// These ids, and the consumers that have them.
    pub(super) fn new(ids: Texts, owners: Vec<u32>) -> Self {
        let mut sorted: Vec<u32> = (0..u32::try_from(ids.len()).unwrap_or(u32::MAX)).collect();
        let mut all = Self { ids, owners, sorted: Vec::new() };
        sorted.sort_by_key(|index| all.id(*index));
        all.sorted = sorted;
        all.ids.shrink_to_fit();
        all.owners.shrink_to_fit();
        all
    }

    /// The places of ids that appear again, each after the place where it appears before.
    pub(super) fn repeated(&self) -> Vec<[usize; 2]> {
        let place = |index: &u32| usize::try_from(*index).unwrap_or(usize::MAX);
        let pairs = self.sorted.windows(2);
        let mut repeated: Vec<_> = pairs
            .filter_map(|pair| match pair {
                [one, other] if self.id(*one) == self.id(*other) => Some([place(one), place(other)]),
                _ => None,
            })
            .collect();
        repeated.sort_unstable_by_key(|[_, later]| *later);
        repeated
    }

    /// The id at a place, and the consumer that has it.
    pub(super) fn get(&self, place: usize) -> (&str, u32) {
        let owner = self.owners.get(place).copied().unwrap_or_default();
        (self.ids.get(place).unwrap_or_default(), owner)
    }

    /// By place: the consumer that has the id.
    pub(super) fn owners(&self) -> &[u32] {
        &self.owners
    }

    fn id(&self, index: u32) -> &str {
        usize::try_from(index).ok().and_then(|index| self.ids.get(index)).unwrap_or_default()
    }

    fn owner(&self, id: &str) -> Option<usize> {
        let at = self.sorted.binary_search_by(|index| self.id(*index).cmp(id)).ok()?;
        let index = usize::try_from(*self.sorted.get(at)?).ok()?;
        self.owners.get(index).and_then(|owner| usize::try_from(*owner).ok())
    }
}
