//! Bindings: what one consumer may do on one API (Kanali's ApiKeyBinding).

use crate::{
    matching::{InsidePath, Methods, PathList},
    quota::LimitSets,
};

/// The bindings of an API. Many consumers may have the same terms, which are kept once.
#[derive(Clone, Debug, Default)]
pub struct Bindings {
    /// Consumers with the indexes of their terms, in the order of the consumers.
    consumers: Vec<(u32, u32)>,
    terms: Vec<Binding>,
}

/// What one consumer or many may do on one API.
#[derive(Clone, Debug)]
pub struct Binding {
    /// The plan that applies instead of the consumer's.
    pub plan: Option<usize>,
    /// Limits that count for this API alone: those of `plan` and of the binding itself.
    pub limits: LimitSets,
    /// What is granted if no path matches.
    pub allow: Grant,
    /// Grants by path inside the API. Most bindings have none.
    pub paths: Option<Box<PathGrants>>,
}

/// Grants by path inside the API.
#[derive(Clone, Debug)]
pub struct PathGrants {
    /// The paths. The first that matches decides.
    pub paths: PathList,
    /// The grant of each path.
    pub grants: Vec<Grant>,
}

/// The methods that a binding grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grant {
    /// Every method.
    All,
    /// Nothing.
    None,
    /// These methods; `GET` covers `HEAD`.
    Methods(Methods),
}

impl Bindings {
    /// The bindings of `consumers`, each with the index of its terms.
    pub fn new(mut consumers: Vec<(u32, u32)>, terms: Vec<Binding>) -> Self {
        consumers.sort_unstable();
        consumers.shrink_to_fit();
        Self { consumers, terms }
    }

    /// The consumer's binding.
    #[inline]
    pub fn get(&self, consumer: usize) -> Option<&Binding> {
        let consumer = u32::try_from(consumer).ok()?;
        let at = self.consumers.binary_search_by_key(&consumer, |(bound, _)| *bound).ok()?;
        let (_, terms) = self.consumers.get(at)?;
        self.terms.get(usize::try_from(*terms).ok()?)
    }

    /// The consumers that are bound, each with its binding.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &Binding)> {
        self.consumers.iter().filter_map(|(consumer, terms)| {
            Some((usize::try_from(*consumer).ok()?, self.terms.get(usize::try_from(*terms).ok()?)?))
        })
    }

    /// The terms that any of them has.
    pub fn terms(&self) -> &[Binding] {
        &self.terms
    }
}

impl Binding {
    /// Whether the consumer may use `method` on a path.
    pub fn permits(&self, inside: &InsidePath<'_>, method: &str) -> bool {
        let by_path =
            self.paths.as_ref().and_then(|by_path| by_path.grants.get(by_path.paths.first(inside)?));
        let grant = by_path.unwrap_or(&self.allow);
        match grant {
            Grant::All => true,
            Grant::None => false,
            Grant::Methods(methods) => methods.admit(method),
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::matching::{Effort, PathPattern};

    fn methods(names: &[&str]) -> Grant {
        Grant::Methods(Methods::named(names.iter().map(|name| (*name).to_owned()).collect()).unwrap())
    }

    fn binding(allow: Grant, paths: Vec<(&str, Grant)>) -> Binding {
        let (paths, grants): (Vec<_>, _) =
            paths.into_iter().map(|(path, grant)| (PathPattern::template(path).unwrap(), grant)).unzip();
        let paths = PathList::build(paths, &Effort::default()).unwrap();
        Binding { plan: None, limits: Vec::new(), allow, paths: Some(Box::new(PathGrants { paths, grants })) }
    }

    #[test]
    fn the_first_path_that_matches_decides_or_else_the_default() {
        let binding = binding(
            methods(&["GET"]),
            vec![("/orders/secret", Grant::None), ("/orders/**", Grant::All), ("/admin/**", Grant::None)],
        );
        for (path, method, permitted) in [
            ("/", "GET", true),
            ("/", "HEAD", true),
            ("/", "POST", false),
            ("/", "get", false),
            ("/orders", "DELETE", true),
            ("/orders/1", "POST", true),
            ("/orders/secret", "GET", false),
            ("/orders/secret/", "GET", false),
            ("/admin", "GET", false),
            ("/admin/x/y", "GET", false),
            ("/administrator", "GET", true),
        ] {
            assert_eq!(binding.permits(&path.into(), method), permitted, "{method} {path}");
        }
    }

    #[test]
    fn without_a_grant_nothing_is_permitted() {
        assert!(!binding(Grant::None, Vec::new()).permits(&"/".into(), "GET"));
    }
}
