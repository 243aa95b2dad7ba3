//! Compiles the known callers, and finds whose each key and client id is.

use std::{
    collections::{HashMap, HashSet},
    rc::Rc,
};

use super::{
    super::{Consumer, problem::Kind},
    Report, document,
    limits::Plans,
    report::check_name,
};
use crate::{
    credential::Digest,
    identity::api_key::{ApiKeys, KeyRecord, KeyState},
    quota::consumer_payer,
    time::Timestamp,
};

/// The compiled consumers.
#[derive(Default)]
pub(super) struct Consumers {
    pub(super) list: Vec<Consumer>,
    pub(super) by_name: HashMap<String, usize>,
    pub(super) keys: ApiKeys,
    pub(super) clients: HashMap<String, usize>,
}

pub(super) fn compile(
    consumers: Option<Vec<document::Consumer>>,
    plans: &Plans,
    report: &mut Report,
) -> Consumers {
    let consumers = report.list("consumers", consumers);
    let mut compiled = Consumers {
        list: Vec::with_capacity(consumers.len()),
        by_name: HashMap::with_capacity(consumers.len()),
        keys: ApiKeys::with_capacity(consumers.len()),
        clients: HashMap::new(),
    };
    for (index, consumer) in consumers.into_iter().enumerate() {
        // Paths are made only where something is wrong: there may be a hundred thousand consumers.
        let path = || format!("consumers[{index}]");
        compiled.add(index, consumer, &path, plans, report);
    }
    compiled
}

impl Consumers {
    fn add(
        &mut self,
        index: usize,
        consumer: document::Consumer,
        path: &dyn Fn() -> String,
        plans: &Plans,
        report: &mut Report,
    ) {
        let document::Consumer { name, state, plan, keys, clients } = consumer;
        if let Err(problem) = check_name(&name) {
            report.add(&format!("{}.name", path()), problem);
        }
        if self.by_name.insert(name.clone(), index).is_some() {
            report.add(&format!("{}.name", path()), format!("there is a consumer `{name}` already"));
        }
        let plan = plan
            .and_then(|plan| report.find(|| format!("{}.plan", path()), Kind::Plan, &plan, &plans.by_name));
        let payer = consumer_payer(&name);
        self.list.push(Consumer { name, active: state == document::ConsumerState::Active, plan, payer });
        if keys.as_ref().is_some_and(Vec::is_empty) || clients.as_ref().is_some_and(Vec::is_empty) {
            report.list(&format!("{}.keys", path()), keys.clone());
            report.list(&format!("{}.clients", path()), clients.clone());
        }
        self.add_keys(index, keys.unwrap_or_default(), path, report);
        for (place, client) in clients.unwrap_or_default().into_iter().enumerate() {
            let fault = match self.clients.get(&client) {
                _ if client.is_empty() => Some("an OAuth2 client id must not be empty".to_owned()),
                Some(owner) => Some(self.taken(&format!("the client `{client}`"), *owner, index)),
                None => None,
            };
            if let Some(fault) = fault {
                report.add(&format!("{}.clients[{place}]", path()), fault);
            }
            self.clients.entry(client).or_insert(index);
        }
    }

    fn add_keys(
        &mut self,
        consumer: usize,
        keys: Vec<document::Key>,
        path: &dyn Fn() -> String,
        report: &mut Report,
    ) {
        let mut ids = HashSet::new();
        for (place, document::Key { id, sha256, state, not_after }) in keys.into_iter().enumerate() {
            let digest = match Digest::from_hex(&sha256) {
                Ok(digest) => digest,
                Err(error) => {
                    report.add(&format!("{}.keys[{place}].sha256", path()), error);
                    continue;
                }
            };
            let key = KeyRecord {
                consumer,
                id: id.as_deref().map(Rc::from),
                state: match state {
                    document::KeyState::Active => KeyState::Active,
                    document::KeyState::Inactive => KeyState::Inactive,
                },
                not_after: not_after.map_or(Timestamp::MAX, |moment| moment.0),
            };
            if let Some(other) = self.keys.insert(digest, key) {
                let fault = self.taken("the key", other.consumer, consumer);
                report.add(&format!("{}.keys[{place}].sha256", path()), fault);
            }
            if let Some(id) = id
                && !ids.insert(id.clone())
            {
                report.add(
                    &format!("{}.keys[{place}].id", path()),
                    format!("the consumer has a key `{id}` already"),
                );
            }
        }
    }

    /// Why what belongs to the consumer `owner` cannot belong to `other` as well.
    fn taken(&self, what: &str, owner: usize, other: usize) -> String {
        let name = |index: usize| self.list.get(index).map_or("", |consumer| &consumer.name);
        if owner == other {
            return format!("{what} is listed twice");
        }
        format!("{what} belongs to consumer `{}` and cannot belong to `{}` as well", name(owner), name(other))
    }
}
