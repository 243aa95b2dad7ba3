//! Compiles the known callers, and finds whose each key and client id is.

use std::collections::HashMap;

use super::{
    super::{
        consumers::{Consumers, Entry, Ids},
        problem::Kind,
    },
    Diagnostics,
    diagnostics::{check_name, check_text},
    document,
    limits::Plans,
};
use crate::{
    access::{Referrer, Referrers},
    identity::{
        api_key::{ApiKeys, KeyId, KeyList, KeyRecord},
        application::ApplicationKeys,
    },
    quota::consumer_payer,
};

/// The most consumers.
const MOST: usize = 250_000;

/// The most API keys of all consumers, and likewise the most clients, and keys of applications.
const MOST_CREDENTIALS: usize = 500_000;

/// The most referrers of one consumer. That of a request is compared with each of them.
const MOST_REFERRERS: usize = 64;

/// The most keys of one consumer.
const MOST_KEYS: usize = 1_000;

/// The most keys whose use metrics show. Each has metrics of its own, in every Envoy.
const MOST_SHOWN: usize = 1_000;

/// Compiles the callers and their keys.
pub(super) fn compile(
    consumers: Option<document::Consumers>,
    plans: &Plans,
    report: &mut Diagnostics,
) -> (Consumers, ApiKeys, ApplicationKeys) {
    if consumers.as_ref().is_some_and(document::Consumers::is_empty) {
        report.add_empty("consumers");
    }
    let document::Consumers {
        names,
        entries,
        plans: used,
        keys,
        clients,
        client_owners,
        applications,
        application_owners,
        application_keys,
        referrers,
    } = consumers.unwrap_or_default();
    report.at_most(MOST, "consumers", entries.len(), "consumers");
    report.at_most(MOST_CREDENTIALS, "API keys", keys.records().len(), "consumers");
    report.at_most(MOST_CREDENTIALS, "clients", clients.len(), "consumers");
    let count = application_keys.records().len();
    report.at_most(MOST_CREDENTIALS, "keys of applications", count, "consumers");
    let indexes: Vec<_> = used.iter().map(|plan| plans.by_name.get(plan).copied()).collect();
    let mut compiled = Vec::with_capacity(entries.len());
    for (index, (name, entry)) in names.iter().zip(entries).enumerate() {
        // Paths are made only where something is wrong: there may be a hundred thousand consumers.
        let path = |attribute: &str| format!("consumers[{index}].{attribute}");
        if let Err(problem) = check_name(name) {
            report.add(&path("name"), problem);
        }
        let plan = entry.plan.and_then(|plan| indexes.get(plan.get()).copied().flatten());
        if let (None, Some(unknown)) = (plan, entry.plan) {
            report.add_unknown(&path("plan"), Kind::Plan, used.get(unknown.get()).unwrap_or_default());
        }
        if entry.keys == document::Given::Empty {
            report.add_empty(&path("keys"));
        }
        if entry.clients == document::Given::Empty {
            report.add_empty(&path("clients"));
        }
        if entry.application_keys == document::Given::Empty {
            report.add_empty(&path("application.keys"));
        }
        compiled.push(Entry {
            payer: consumer_payer(name),
            plan: plan.and_then(|plan| u32::try_from(plan).ok()),
            active: entry.state == document::ConsumerState::Active,
            key_metrics: entry.key_metrics,
        });
    }
    check_keys(&keys, "keys", report);
    check_keys(&application_keys, "application.keys", report);
    check_metrics(&keys, &compiled, report);
    for (id, owner) in applications.iter().zip(&application_owners) {
        if let Err(problem) = check_text(id) {
            report.add(&format!("consumers[{owner}].application.id"), problem);
        }
    }
    for (place, id) in clients.iter().enumerate() {
        if let Err(problem) = check_text(id) {
            report.add(&client_path(place, &client_owners), problem);
        }
    }
    let name =
        |owner: u32| usize::try_from(owner).ok().and_then(|owner| names.get(owner)).unwrap_or_default();
    let keys = ApiKeys::new(keys).unwrap_or_else(|repeated| {
        for again in repeated {
            let fault = taken("the key", name, again.earlier, again.consumer);
            report.add(&format!("consumers[{}].keys[{}].sha256", again.consumer, again.place), fault);
        }
        ApiKeys::default()
    });
    let application_keys = ApplicationKeys::new(application_keys).unwrap_or_else(|repeated| {
        for again in repeated {
            let path = format!("consumers[{}].application.keys[{}].sha256", again.consumer, again.place);
            report.add(&path, taken("the key", name, again.earlier, again.consumer));
        }
        ApplicationKeys::default()
    });
    let clients = Ids::new(clients, client_owners);
    for [earlier, later] in clients.repeated() {
        let [(_, owner), (id, other)] = [earlier, later].map(|place| clients.get(place));
        let fault = taken(&format!("the client `{id}`"), name, owner, other);
        report.add(&client_path(later, clients.owners()), fault);
    }
    let applications = Ids::new(applications, application_owners);
    for [earlier, later] in applications.repeated() {
        let [(_, owner), (id, other)] = [earlier, later].map(|place| applications.get(place));
        let fault = taken(&format!("the application `{id}`"), name, owner, other);
        report.add(&format!("consumers[{other}].application.id"), fault);
    }
    let referrers = compile_referrers(referrers, report);
    let consumers = Consumers::new(names, compiled, clients, applications).with_referrers(referrers);
    (consumers, keys, application_keys)
}

fn compile_referrers(list: Vec<(u32, Vec<String>)>, report: &mut Diagnostics) -> Referrers {
    let mut compiled = Vec::with_capacity(list.len());
    for (owner, texts) in list {
        let path = format!("consumers[{owner}].referrers");
        if texts.is_empty() {
            report.add_empty(&path);
        }
        report.at_most(MOST_REFERRERS, "referrers", texts.len(), &path);
        let patterns = texts
            .iter()
            .enumerate()
            .filter_map(|(place, text)| report.take_at(|| format!("{path}[{place}]"), Referrer::parse(text)));
        compiled.push((owner, patterns.collect()));
    }
    Referrers::new(compiled)
}

/// The consumers by name.
pub(super) fn by_name<'c>(consumers: &'c Consumers, report: &mut Diagnostics) -> HashMap<&'c str, usize> {
    let mut by_name = HashMap::with_capacity(consumers.len());
    for (index, name) in consumers.names().enumerate() {
        if by_name.insert(name, index).is_some() {
            report.add(&format!("consumers[{index}].name"), format!("there is a consumer `{name}` already"));
        }
    }
    by_name
}

/// Checks the keys' names, and how many keys each consumer has.
fn check_keys(keys: &KeyList, attribute: &str, report: &mut Diagnostics) {
    let id = |id: Option<KeyId>| id.and_then(|id| keys.id(id));
    for own in keys.records().chunk_by(|one, other| one.consumer == other.consumer) {
        let Some(first) = own.first() else { continue };
        let path = format_args!("consumers[{}].{attribute}", first.consumer);
        if own.len() > MOST_KEYS {
            report.at_most(MOST_KEYS, "keys of one consumer", own.len(), &path.to_string());
            continue;
        }
        let mut known = HashMap::new();
        for (place, record) in own.iter().enumerate() {
            if record.not_before >= record.not_after {
                let path = format!("{path}[{place}].not_before");
                report.add(&path, "the key is never valid: `not_after` is not later");
            }
            let Some(id) = id(record.id) else { continue };
            let path = || format!("{path}[{place}].id");
            if let Err(problem) = check_name(id) {
                report.add(&path(), problem);
            }
            if own.len() > 1 && known.insert(id, place).is_some() {
                report.add(&path(), format!("the consumer has a key `{id}` already"));
            }
        }
    }
}

/// Checks how many keys have metrics, and that these keys have names.
fn check_metrics(keys: &KeyList, consumers: &[Entry], report: &mut Diagnostics) {
    let shown = |record: &&KeyRecord| {
        usize::try_from(record.consumer)
            .is_ok_and(|owner| consumers.get(owner).is_some_and(|consumer| consumer.key_metrics))
    };
    let mut count = 0_usize;
    for record in keys.records().iter().filter(shown) {
        count = count.saturating_add(1);
        if record.id.is_none() {
            let path = format!("consumers[{}].keys[{}]", record.consumer, record.place);
            report.add(&path, "needs an `id`, because `key_metrics` shows the use of each key by its `id`");
        }
    }
    report.at_most(MOST_SHOWN, "keys with `key_metrics`", count, "consumers");
}

/// The path of a client id, by its place among those of all consumers.
fn client_path(place: usize, owners: &[u32]) -> String {
    let owner = owners.get(place).copied().unwrap_or_default();
    let first = owners.partition_point(|other| *other < owner);
    format!("consumers[{owner}].clients[{}]", place.saturating_sub(first))
}

/// Why what belongs to a consumer cannot belong to another as well.
fn taken<'n>(what: &str, name: impl Fn(u32) -> &'n str, owner: u32, other: u32) -> String {
    if owner == other {
        return format!("{what} is listed twice");
    }
    format!("{what} belongs to consumer `{}` and cannot belong to `{}` as well", name(owner), name(other))
}
