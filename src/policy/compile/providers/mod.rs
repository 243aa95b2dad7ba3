//! Compiles providers, each kind in a file of its own, and resolves their secrets.

mod introspection;

use std::collections::HashMap;

use super::{super::document::value::Named, Report, document, index};
use crate::policy::{Provider, problem::Kind};

/// The most providers.
const MOST: usize = 1_000;

/// The compiled providers.
pub(super) struct Providers {
    /// In the order of their names; incomplete where there are problems.
    pub(super) list: Vec<Provider>,
    by_name: HashMap<String, usize>,
    /// What each provider is, also where it has problems.
    kinds: Vec<ProviderKind>,
}

/// What a provider is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProviderKind {
    Introspection,
}

pub(super) fn compile(
    providers: Named<document::Provider>,
    environment: &dyn Fn(&str) -> Option<String>,
    report: &mut Report,
) -> Providers {
    report.at_most(MOST, "providers", providers.0.len(), "providers");
    let by_name = index(&providers);
    let kinds = providers.0.values().map(ProviderKind::of).collect();
    let list = providers
        .0
        .into_iter()
        .filter_map(|(name, provider)| {
            let path = format!("providers.{name}.{}", ProviderKind::of(&provider).attribute());
            report.name(&path, &name);
            match provider {
                document::Provider::Introspection(provider) => {
                    introspection::compile(name, provider, environment, &path, report)
                        .map(Provider::Introspection)
                }
            }
        })
        .collect();
    Providers { list, by_name, kinds }
}

impl Providers {
    /// The index of the provider that is called `name` and is of this kind, or none and a problem at `path`.
    pub(super) fn find(
        &self,
        kind: ProviderKind,
        name: &str,
        path: &str,
        report: &mut Report,
    ) -> Option<usize> {
        let index = report.find(|| path.to_owned(), Kind::Provider, name, &self.by_name)?;
        if self.kinds.get(index) == Some(&kind) {
            return Some(index);
        }
        report.add(path, format!("the provider `{name}` is not of the kind `{}`", kind.attribute()));
        None
    }
}

impl ProviderKind {
    const fn of(provider: &document::Provider) -> Self {
        match provider {
            document::Provider::Introspection(_) => Self::Introspection,
        }
    }

    /// The attribute that makes a provider one of this kind.
    const fn attribute(self) -> &'static str {
        match self {
            Self::Introspection => "introspection",
        }
    }
}
