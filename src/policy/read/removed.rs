//! What was removed from a document so that the rest of it can be read.

use std::collections::HashMap;

use serde_json::Value;

use super::{
    fault::FaultKind,
    path::{Step, is_within, join},
};

/// What was removed, so that paths stay those that the operator sees.
#[derive(Default)]
pub struct Removed {
    /// Where something was, in the original document.
    paths: Vec<String>,
    /// By the original path of a list: the original indexes of the items that were removed, ascending.
    items: HashMap<String, Vec<usize>>,
}

impl Removed {
    /// Removes what is at `path` from `value`; false if that is all of `value`.
    pub fn remove(&mut self, value: &mut Value, path: &[Step]) -> bool {
        let mut steps = path;
        // A fault may be reported below what the JSON has: the deepest step that exists is removed.
        while let Some((last, parents)) = steps.split_last() {
            let parent = parents.iter().try_fold(&mut *value, |value, step| step.enter(value));
            if parent.is_some_and(|parent| remove_from(parent, last)) {
                let whole = self.original(&rendered(parents));
                self.note(&whole, last);
                return true;
            }
            steps = parents;
        }
        false
    }

    /// Notes that what the step leads to was removed from what is at the original path `whole`.
    fn note(&mut self, whole: &str, step: &Step) {
        match step {
            Step::Item(index) => {
                let index = self.original_index(whole, *index);
                self.note_item(whole, index);
            }
            Step::Member(_) => self.note_path(step.join(whole)),
        }
    }

    /// Notes that the item with this original index was removed from the list at the original path `list`.
    pub fn note_item(&mut self, list: &str, index: usize) {
        self.note_path(Step::Item(index).join(list));
        let items = self.items.entry(list.to_owned()).or_default();
        let place = items.partition_point(|item| *item < index);
        items.insert(place, index);
    }

    /// Notes that what was at this original path was removed.
    pub fn note_path(&mut self, path: String) {
        self.paths.push(path);
    }

    /// Adds what was removed from the value at `base`, whose paths are relative to it.
    pub fn absorb(&mut self, base: &str, below: Self) {
        self.paths.extend(below.paths.into_iter().map(|path| join(base, &path)));
        self.items.extend(below.items.into_iter().map(|(list, items)| (join(base, &list), items)));
    }

    /// Whether a fault exists only because of what was removed.
    pub fn entails(&self, path: &str, kind: &FaultKind) -> bool {
        match kind {
            FaultKind::Missing(field) => self.paths.contains(&join(path, field)),
            FaultKind::Entries(_) => {
                self.paths.iter().any(|removed| removed != path && is_within(removed, path))
            }
            FaultKind::Other(_) => false,
        }
    }

    /// Whether anything was removed at or below the original path.
    pub fn is_within(&self, path: &str) -> bool {
        self.paths.iter().any(|removed| is_within(removed, path))
    }

    /// The path in the original document of what is at `path` now.
    pub fn original(&self, path: &str) -> String {
        let mut original = String::with_capacity(path.len());
        let mut rest = path;
        while let Some((before, after)) = rest.split_once('[') {
            original.push_str(before);
            match after.split_once(']').and_then(|(index, after)| Some((index.parse().ok()?, after))) {
                Some((index, after)) => {
                    let index = self.original_index(&original, index);
                    original.push_str(&format!("[{index}]"));
                    rest = after;
                }
                None => {
                    original.push('[');
                    rest = after;
                }
            }
        }
        original.push_str(rest);
        original
    }

    fn original_index(&self, list: &str, index: usize) -> usize {
        let items = self.items.get(list).map(Vec::as_slice).unwrap_or_default();
        items.iter().fold(index, |index, item| if *item <= index { index.saturating_add(1) } else { index })
    }
}

/// The path that the steps lead to.
pub fn rendered(steps: &[Step]) -> String {
    steps.iter().fold(String::new(), |path, step| step.join(&path))
}

fn remove_from(value: &mut Value, step: &Step) -> bool {
    match (step, value) {
        (Step::Member(name), Value::Object(members)) => members.remove(name).is_some(),
        (Step::Item(index), Value::Array(items)) if *index < items.len() => {
            items.remove(*index);
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn member(name: &str) -> Step {
        Step::Member(name.to_owned())
    }

    #[test]
    fn paths_stay_those_of_the_whole_document() {
        let mut value = json!({"a": [0, 1, 2, {"b": [0, 1]}]});
        let mut removed = Removed::default();
        assert!(removed.remove(&mut value, &[member("a"), Step::Item(1)]));
        assert!(removed.remove(&mut value, &[member("a"), Step::Item(0)]));
        assert!(
            removed
                .remove(&mut value, &[member("a"), Step::Item(1), member("b"), Step::Item(0), member("x")])
        );
        assert_eq!(value, json!({"a": [2, {"b": [1]}]}));
        assert_eq!(removed.paths, ["a[1]", "a[0]", "a[3].b[0]"]);
        assert_eq!(removed.original("a[1].b[0].c"), "a[3].b[1].c");
        assert!(removed.is_within("a[3]") && !removed.is_within("a[2]"));
        assert!(!removed.remove(&mut value, &[]));
    }

    #[test]
    fn names_that_begin_alike_are_kept_apart() {
        let mut removed = Removed::default();
        removed.note_path("plans.ab.limits".to_owned());
        assert!(removed.is_within("plans.ab") && !removed.is_within("plans.a"));
    }

    #[test]
    fn what_was_removed_below_is_known_above() {
        let (mut whole, mut below) = (Removed::default(), Removed::default());
        below.note_item("keys", 0);
        whole.absorb("consumers[1]", below);
        assert_eq!(whole.original("consumers[1].keys[0]"), "consumers[1].keys[1]");
        assert!(whole.is_within("consumers[1].keys[0]"));
    }
}
