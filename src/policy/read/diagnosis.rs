//! Takes a document apart, entry by entry, to find everything that is wrong with its shape.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{
    Rest, Unreadable, Whole,
    fault::Fault,
    names::Names,
    path::{Step, join},
    removed::{Removed, rendered},
    value::Node,
};
use crate::policy::{
    Problem, Problems,
    compile::Owners,
    document::{self, Building, BuildingBindings, BuildingConsumers, Document, value::Named},
};

/// Finds everything that is wrong with the shape of a document; `duplicates` are the paths of members that
/// appear twice, `error` is what the typed pass says.
pub fn diagnose(
    mut whole: Map<String, Value>,
    duplicates: Vec<String>,
    error: &serde_json::Error,
) -> Unreadable {
    let names = Names::of(&whole);
    let owners = Owners::of_value(&whole);
    let problems = duplicates.into_iter().map(|path| Problem::new(path, "appears twice")).collect();
    let mut diagnosis = Diagnosis { problems, removed: Removed::default() };

    let providers = diagnosis.map(&mut whole, "providers");
    let metrics = diagnosis.map(&mut whole, "metrics");
    let plans = diagnosis.map(&mut whole, "plans");
    let consumers = diagnosis.list(&mut whole, "consumers", "", |this, item, path| this.part(item, path));
    let apis = diagnosis.list(&mut whole, "apis", "", Diagnosis::api);
    diagnosis.require(&mut whole, "sidegate", "v1".into());
    diagnosis.require(&mut whole, "apis", Value::Array(Vec::new()));
    let document = diagnosis.part::<Document>(Value::Object(whole), "");

    let Diagnosis { mut problems, removed } = diagnosis;
    if problems.is_empty() {
        problems.push(Problem::new("", error));
    }
    for problem in &mut problems {
        problem.owner = owners.of(&problem.path);
    }
    let is_complete = problems.len() < Problems::MOST;
    let rest = document.filter(|_| is_complete).map(|mut document| {
        document.consumers = consumers.map(built::<BuildingConsumers>).or(document.consumers);
        document.apis = apis.unwrap_or_default();
        document.providers = providers;
        document.metrics = metrics;
        document.plans = plans;
        Rest { document, whole: Whole { removed, names, owners } }
    });
    Unreadable { problems, rest, is_complete }
}

/// The first fault of a value that should be a `T`.
pub fn check<T: DeserializeOwned>(value: &Value) -> Option<Fault> {
    T::deserialize(Node(value)).err()
}

fn built<B: Building>(entries: Vec<B::Entry>) -> B::List {
    let mut building = B::default();
    entries.into_iter().for_each(|entry| building.push(entry));
    building.finish()
}

/// A document that is being taken apart.
struct Diagnosis {
    problems: Vec<Problem>,
    removed: Removed,
}

impl Diagnosis {
    /// Reads an API, whose lists may be long.
    fn api(&mut self, mut api: Value, path: &str) -> Option<document::Api> {
        let Some(members) = api.as_object_mut() else { return self.part(api, path) };
        let rules = self.list(members, "rules", path, |this, item, path| this.part(item, path));
        let metering = self.list(members, "metering", path, |this, item, path| this.part(item, path));
        let bindings = self.list(members, "bindings", path, |this, item, path| this.part(item, path));
        let api = self.part::<document::Api>(api, path)?;
        Some(document::Api {
            rules: rules.unwrap_or(api.rules),
            metering: metering.or(api.metering),
            bindings: bindings.map(built::<BuildingBindings>).or(api.bindings),
            ..api
        })
    }

    /// Takes the items out of a list and reads each; none if there is no list.
    fn list<T>(
        &mut self,
        members: &mut Map<String, Value>,
        name: &str,
        whole: &str,
        mut read: impl FnMut(&mut Self, Value, &str) -> Option<T>,
    ) -> Option<Vec<T>> {
        let items = members.get_mut(name)?.as_array_mut()?;
        let list = join(whole, name);
        let mut entries = Vec::with_capacity(items.len());
        for (index, item) in std::mem::take(items).into_iter().enumerate() {
            match read(self, item, &Step::Item(index).join(&list)) {
                Some(entry) => entries.push(entry),
                None => self.removed.note_item(&list, index),
            }
        }
        Some(entries)
    }

    /// Takes the entries out of a map by name and reads each.
    fn map<T: DeserializeOwned>(&mut self, members: &mut Map<String, Value>, name: &str) -> Named<T> {
        let mut named = Named::default();
        let entries = members.get_mut(name).and_then(Value::as_object_mut).map(std::mem::take);
        for (entry, value) in entries.unwrap_or_default() {
            let path = join(name, &entry);
            match self.part(value, &path) {
                Some(value) => drop(named.0.insert(entry, value)),
                None => self.removed.note_path(path),
            }
        }
        named
    }

    /// Reports a required member that is missing or has the wrong type, and replaces it so that the rest can
    /// be read.
    fn require(&mut self, members: &mut Map<String, Value>, name: &str, instead: Value) {
        let expected = std::mem::discriminant(&instead);
        match members.get(name) {
            Some(value) if std::mem::discriminant(value) == expected => return,
            Some(value) => {
                let fault = match name {
                    "sidegate" => check::<document::SchemaVersion>(value),
                    _ => check::<Vec<document::Api>>(value),
                };
                self.problems.extend(fault.map(|fault| Problem::new(name, fault)));
            }
            None => self.problems.push(Problem::new("", format!("missing field `{name}`"))),
        }
        self.removed.note_path(name.to_owned());
        members.insert(name.to_owned(), instead);
    }

    /// Reads a part of the document without what is faulty in it; nothing if all of it is faulty.
    fn part<T: DeserializeOwned>(&mut self, mut value: Value, path: &str) -> Option<T> {
        let mut removed = Removed::default();
        let part = loop {
            if self.problems.len() >= Problems::MOST {
                break None;
            }
            let fault = match T::deserialize(Node(&value)) {
                Ok(part) => break Some(part),
                Err(fault) => fault,
            };
            let steps = fault.path();
            let at = removed.original(&rendered(&steps));
            if !removed.entails(&at, fault.kind()) {
                self.problems.push(Problem::new(join(path, &at), fault));
            }
            if !removed.remove(&mut value, &steps) {
                break None;
            }
        };
        self.removed.absorb(path, removed);
        part
    }
}
