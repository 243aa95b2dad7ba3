//! Bindings: what one consumer may do on one API (Kanali's ApiKeyBinding).

use crate::{
    matching::{Methods, PathPattern},
    quota::LimitSets,
};

/// Permission of one consumer on one API.
#[derive(Clone, Debug)]
pub struct Binding {
    /// The plan that applies instead of the consumer's.
    pub plan: Option<usize>,
    /// Limits that count for this API alone: those of `plan` and of the binding itself.
    pub limits: LimitSets,
    /// What is granted if no path matches.
    pub allow: Grant,
    /// Grants by path inside the API. The first path that matches decides.
    pub paths: Vec<(PathPattern, Grant)>,
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

impl Binding {
    /// Whether the consumer may use `method` on the path `inside` the API.
    pub fn permits(&self, inside: &str, method: &str) -> bool {
        let grant =
            self.paths.iter().find(|(path, _)| path.matches(inside)).map_or(&self.allow, |(_, grant)| grant);
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

    fn methods(names: &[&str]) -> Grant {
        Grant::Methods(Methods::named(names.iter().map(|name| (*name).to_owned()).collect()).unwrap())
    }

    fn binding(allow: Grant, paths: Vec<(&str, Grant)>) -> Binding {
        let paths =
            paths.into_iter().map(|(path, grant)| (PathPattern::template(path).unwrap(), grant)).collect();
        Binding { plan: None, limits: Vec::new(), allow, paths }
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
            assert_eq!(binding.permits(path, method), permitted, "{method} {path}");
        }
    }

    #[test]
    fn without_a_grant_nothing_is_permitted() {
        assert!(!binding(Grant::None, Vec::new()).permits("/", "GET"));
    }
}
