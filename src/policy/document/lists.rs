//! Lists that may have hundreds of thousands of entries, in forms that take few bytes for each.

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasher as _, Hash, RandomState},
    marker::PhantomData,
};

use serde::{
    Serialize, Serializer,
    de::{Deserialize, Deserializer, SeqAccess, Visitor},
};

use super::{
    Application, Binding, Consumer, ConsumerState, Grant, Key, KeyState, Limit, PathGrant,
    value::{Moment, Sha256},
};
use crate::{
    identity::api_key::{self, KeyList, KeyMoment, KeyRecord},
    texts::Texts,
};

/// Known callers, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Consumers {
    /// Their names.
    pub names: Texts,
    /// What else is known about each.
    pub entries: Vec<Entry>,
    /// The names of the plans that any of them has.
    pub plans: Texts,
    /// The keys of all of them.
    pub keys: KeyList,
    /// The OAuth2 client ids of all of them.
    pub clients: Texts,
    /// By client id: the consumer that it is.
    pub client_owners: Vec<u32>,
    /// The ids of the applications of all of them.
    pub applications: Texts,
    /// By application id: the consumer that it is.
    pub application_owners: Vec<u32>,
    /// The keys of the applications of all of them.
    pub application_keys: KeyList,
    /// The referrers of those who have any, by consumer.
    pub referrers: Vec<(u32, Vec<String>)>,
}

/// A known caller without its name, keys and clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its plan, as an index into the plans' names.
    pub plan: Option<Index>,
    /// Whether it may call at all.
    pub state: ConsumerState,
    /// Its list of keys.
    pub keys: Given,
    /// Its list of clients.
    pub clients: Given,
    /// The list of its application's keys.
    pub application_keys: Given,
    /// Whether metrics show the use of each key.
    pub key_metrics: bool,
}

/// Whether a list is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    /// It is not.
    Absent,
    /// It is, without entries.
    Empty,
    /// It is.
    Filled,
}

/// An index that takes four bytes, also where there may be none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Index(std::num::NonZeroU32);

/// What each of many consumers may do, in order. Many of them may do the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bindings {
    /// The consumers' names.
    pub consumers: Texts,
    /// By binding: what the consumer may do, as an index into `terms`.
    pub indexes: Vec<u32>,
    /// What any of them may do, rarely the same twice.
    pub terms: Vec<Terms>,
}

/// A binding without its consumer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Terms {
    /// The plan that applies.
    pub plan: Option<String>,
    /// What is granted where no entry of `paths` matches.
    pub allow: Grant,
    /// Grants by path.
    pub paths: Option<Vec<PathGrant>>,
    /// Limits of the binding.
    pub limits: Option<Vec<Limit>>,
}

/// A list that is built entry by entry.
pub trait Building: Default {
    /// An entry.
    type Entry: for<'de> Deserialize<'de>;
    /// The list that comes of it.
    type List;

    /// Adds an entry.
    fn push(&mut self, entry: Self::Entry);

    /// The list.
    fn finish(self) -> Self::List;
}

/// Consumers that are being read.
#[derive(Default)]
pub struct BuildingConsumers {
    list: Consumers,
    plans: HashMap<Box<str>, Option<Index>>,
}

/// Bindings that are being read.
#[derive(Default)]
pub struct BuildingBindings {
    list: Bindings,
    hasher: RandomState,
    /// Indexes of terms by their hash. Of several terms with the same hash it has one.
    known: HashMap<u64, u32>,
}

// === impl Index ===

impl Index {
    /// The index of the entry that was added last to a list of this length.
    fn last(length: usize) -> Option<Self> {
        u32::try_from(length).ok().and_then(std::num::NonZeroU32::new).map(Self)
    }

    /// The index.
    pub fn get(self) -> usize {
        usize::try_from(self.0.get()).unwrap_or(usize::MAX).saturating_sub(1)
    }
}

// === impl Given ===

impl Given {
    fn of<T>(list: Option<&[T]>) -> Self {
        match list {
            None => Self::Absent,
            Some([]) => Self::Empty,
            Some(_) => Self::Filled,
        }
    }
}

// === impl Consumers ===

impl Building for BuildingConsumers {
    type Entry = Consumer;
    type List = Consumers;

    fn push(&mut self, consumer: Consumer) {
        let Consumer { name, state, plan, keys, key_metrics, application, clients, referrers } = consumer;
        let list = &mut self.list;
        let owner = u32::try_from(list.entries.len()).unwrap_or(u32::MAX);
        list.names.push(&name);
        let plan = plan.and_then(|plan| {
            if let Some(known) = self.plans.get(plan.as_str()) {
                return *known;
            }
            list.plans.push(&plan);
            let index = Index::last(list.plans.len());
            self.plans.insert(plan.into(), index);
            index
        });
        let (own_keys, own_clients) = (Given::of(keys.as_deref()), Given::of(clients.as_deref()));
        let application_keys = application.as_ref().and_then(|application| application.keys.as_deref());
        let application_keys = Given::of(application_keys);
        list.entries.push(Entry {
            plan,
            state,
            keys: own_keys,
            clients: own_clients,
            application_keys,
            key_metrics,
        });
        push_keys(&mut list.keys, owner, keys);
        list.referrers.extend(referrers.map(|referrers| (owner, referrers)));
        if let Some(Application { id, keys }) = application {
            list.applications.push(&id);
            list.application_owners.push(owner);
            push_keys(&mut list.application_keys, owner, keys);
        }
        for client in clients.into_iter().flatten() {
            list.clients.push(&client);
            list.client_owners.push(owner);
        }
    }

    fn finish(self) -> Consumers {
        self.list
    }
}

fn push_keys(list: &mut KeyList, owner: u32, keys: Option<Vec<Key>>) {
    for (place, key) in keys.into_iter().flatten().enumerate() {
        let Key { id, sha256: Sha256(digest), state, not_before, not_after } = key;
        let id = id.and_then(|id| list.add_id(&id));
        list.push(KeyRecord {
            digest,
            not_before: not_before.map_or(KeyMoment::FIRST, |Moment(moment)| KeyMoment::at_or_after(moment)),
            not_after: not_after.map_or(KeyMoment::NEVER, |Moment(moment)| KeyMoment::before(moment)),
            consumer: owner,
            id,
            place: u16::try_from(place).unwrap_or(u16::MAX),
            state: match state {
                KeyState::Active => api_key::KeyState::Active,
                KeyState::Inactive => api_key::KeyState::Inactive,
            },
        });
    }
}

impl Consumers {
    /// How many there are.
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the list is empty.
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The consumers as they are written.
    pub fn iter(&self) -> impl Iterator<Item = Consumer> {
        let (mut keys, mut clients) = (self.keys.records(), self.clients.iter().zip(&self.client_owners));
        let mut applications = self.applications.iter().zip(&self.application_owners).peekable();
        let mut application_keys = self.application_keys.records();
        let mut referrers = self.referrers.iter().peekable();
        let mut next_client = clients.next();
        self.names.iter().zip(&self.entries).enumerate().map(move |(index, (name, entry))| {
            let own = keys_of(index, &mut keys);
            let own_application_keys = keys_of(index, &mut application_keys);
            let application =
                applications.next_if(|(_, owner)| is(**owner, index)).map(|(id, _)| Application {
                    id: id.to_owned(),
                    keys: written(entry.application_keys, &self.application_keys, own_application_keys),
                });
            let mut own_clients = Vec::new();
            while let Some((client, owner)) = next_client
                && is(*owner, index)
            {
                own_clients.push(client.to_owned());
                next_client = clients.next();
            }
            Consumer {
                name: name.to_owned(),
                state: entry.state,
                plan: entry.plan.and_then(|plan| self.plans.get(plan.get())).map(str::to_owned),
                key_metrics: entry.key_metrics,
                keys: written(entry.keys, &self.keys, own),
                application,
                clients: (entry.clients != Given::Absent).then_some(own_clients),
                referrers: referrers.next_if(|(owner, _)| is(*owner, index)).map(|(_, list)| list.clone()),
            }
        })
    }
}

/// Takes the keys of a consumer from the front of `keys`.
fn keys_of<'k>(index: usize, keys: &mut &'k [KeyRecord]) -> &'k [KeyRecord] {
    let mine = keys.iter().take_while(|key| is(key.consumer, index)).count();
    let (own, rest) = keys.split_at_checked(mine).unwrap_or_default();
    *keys = rest;
    own
}

/// A list of keys as it is written.
fn written(given: Given, list: &KeyList, records: &[KeyRecord]) -> Option<Vec<Key>> {
    let key = |record: &KeyRecord| Key {
        id: record.id.and_then(|id| list.id(id)).map(str::to_owned),
        sha256: Sha256(record.digest),
        state: match record.state {
            api_key::KeyState::Active => KeyState::Active,
            api_key::KeyState::Inactive => KeyState::Inactive,
        },
        not_before: record.not_before.get().filter(|_| record.not_before != KeyMoment::FIRST).map(Moment),
        not_after: record.not_after.get().map(Moment),
    };
    (given != Given::Absent).then(|| records.iter().map(key).collect())
}

fn is(owner: u32, index: usize) -> bool {
    usize::try_from(owner).is_ok_and(|owner| owner == index)
}

impl Serialize for Consumers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Consumers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Entries(PhantomData::<BuildingConsumers>))
    }
}

// === impl Bindings ===

impl Building for BuildingBindings {
    type Entry = Binding;
    type List = Bindings;

    fn push(&mut self, binding: Binding) {
        let Binding { consumer, plan, allow, paths, limits } = binding;
        let terms = Terms { plan, allow, paths, limits };
        let Self { list, hasher, known } = self;
        list.consumers.push(&consumer);
        let hash = hasher.hash_one(&terms);
        let same = known.get(&hash).copied().filter(|index| {
            usize::try_from(*index).ok().and_then(|index| list.terms.get(index)) == Some(&terms)
        });
        let index = same.unwrap_or_else(|| {
            let index = u32::try_from(list.terms.len()).unwrap_or(u32::MAX);
            list.terms.push(terms);
            known.insert(hash, index);
            index
        });
        list.indexes.push(index);
    }

    fn finish(self) -> Bindings {
        self.list
    }
}

impl Bindings {
    /// How many there are.
    pub const fn len(&self) -> usize {
        self.indexes.len()
    }

    /// Whether the list is empty.
    pub const fn is_empty(&self) -> bool {
        self.indexes.is_empty()
    }

    /// The bindings as they are written.
    pub fn iter(&self) -> impl Iterator<Item = Binding> {
        self.consumers.iter().zip(&self.indexes).filter_map(|(consumer, index)| {
            let Terms { plan, allow, paths, limits } = self.terms.get(usize::try_from(*index).ok()?)?.clone();
            Some(Binding { consumer: consumer.to_owned(), plan, allow, paths, limits })
        })
    }
}

impl Serialize for Bindings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Bindings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Entries(PhantomData::<BuildingBindings>))
    }
}

/// Reads a list entry by entry.
struct Entries<B>(PhantomData<B>);

impl<'de, B: Building> Visitor<'de> for Entries<B> {
    type Value = B::List;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<B::List, A::Error> {
        let mut building = B::default();
        while let Some(entry) = access.next_element()? {
            building.push(entry);
        }
        Ok(building.finish())
    }
}

#[cfg(not(target_family = "wasm"))]
mod schema {
    use std::borrow::Cow;

    use schemars::{JsonSchema, Schema, SchemaGenerator};

    use super::{Binding, Bindings, Consumer, Consumers};

    macro_rules! list_of {
        ($list:ident, $entry:ident) => {
            impl JsonSchema for $list {
                fn schema_name() -> Cow<'static, str> {
                    Vec::<$entry>::schema_name()
                }

                fn inline_schema() -> bool {
                    true
                }

                fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                    Vec::<$entry>::json_schema(generator)
                }
            }
        };
    }

    list_of!(Consumers, Consumer);
    list_of!(Bindings, Binding);
}
