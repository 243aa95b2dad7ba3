//! The names that a document defines, also where what they name is faulty.

use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::policy::problem::Kind;

/// The names of each kind.
pub struct Names {
    providers: Defined,
    metrics: Defined,
    plans: Defined,
    consumers: Defined,
}

/// The names that are defined.
enum Defined {
    /// These.
    Only(HashSet<String>),
    /// Perhaps any: the part that defines them cannot be read.
    PerhapsAny,
}

impl Names {
    /// The names that the document defines.
    pub fn of(document: &Map<String, Value>) -> Self {
        Self {
            providers: Defined::by_member(document.get("providers")),
            metrics: Defined::by_member(document.get("metrics")),
            plans: Defined::by_member(document.get("plans")),
            consumers: Defined::by_item(document.get("consumers")),
        }
    }

    /// Whether the document may define this name.
    pub fn may_define(&self, kind: Kind, name: &str) -> bool {
        let defined = match kind {
            Kind::Provider => &self.providers,
            Kind::Metric => &self.metrics,
            Kind::Plan => &self.plans,
            Kind::Consumer => &self.consumers,
        };
        match defined {
            Defined::Only(names) => names.contains(name),
            Defined::PerhapsAny => true,
        }
    }
}

impl Defined {
    fn by_member(value: Option<&Value>) -> Self {
        match value {
            None => Self::Only(HashSet::new()),
            Some(Value::Object(members)) => Self::Only(members.keys().cloned().collect()),
            Some(_) => Self::PerhapsAny,
        }
    }

    fn by_item(value: Option<&Value>) -> Self {
        let items = match value {
            None => return Self::Only(HashSet::new()),
            Some(Value::Array(items)) => items,
            Some(_) => return Self::PerhapsAny,
        };
        let names = items.iter().map(|item| item.get("name")?.as_str().map(str::to_owned));
        names.collect::<Option<_>>().map_or(Self::PerhapsAny, Self::Only)
    }
}
