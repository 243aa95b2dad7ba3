//! The parameters of path templates, and their values in the paths of requests.

use super::template::{parameter_name, segments};

/// Where the parameters of a template are: their names, and the segments that they stand for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters(Box<[(Box<str>, usize)]>);

impl Parameters {
    /// The parameters of a valid template.
    pub fn of(template: &str) -> Self {
        let named = segments(template)
            .enumerate()
            .filter_map(|(place, segment)| Some((parameter_name(segment)?.into(), place)));
        Self(named.collect())
    }

    /// Whether the template has a parameter of this name.
    pub fn contain(&self, name: &str) -> bool {
        self.place(name).is_some()
    }

    /// The value of a parameter in a normalised path that the template covers, as it is written there.
    pub fn value<'p>(&self, name: &str, inside: &'p str) -> Option<&'p str> {
        segments(inside).nth(self.place(name)?)
    }

    fn place(&self, name: &str) -> Option<usize> {
        self.0.iter().find(|(other, _)| **other == *name).map(|(_, place)| *place)
    }
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn a_parameter_is_a_segment_of_the_path() {
        let parameters = Parameters::of("/orders/{id}/items/{item-no}/**");
        for (path, name, value) in [
            ("/orders/7/items/x%20y", "id", Some("7")),
            ("/orders/7/items/x%20y/more/", "item-no", Some("x%20y")),
            ("/orders/7/items/8", "items", None),
            ("/orders", "id", None),
        ] {
            assert_eq!(parameters.value(name, path), value, "{path} {name}");
        }
        assert!(parameters.contain("id") && !parameters.contain("{id}"));
        assert_eq!(Parameters::of("/"), Parameters::default());
    }
}
