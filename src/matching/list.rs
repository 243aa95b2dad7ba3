//! A list of patterns of which the first that matches decides.

use std::rc::Rc;

use regex_syntax::hir::Hir;

use super::{
    automaton::Keep,
    expressions::{Effort, Expressions, MOST_BYTES, MOST_PATHS, TooComplex},
    pattern::{Kind, PathPattern},
    template::{InsidePath, PathTemplate},
};

/// Patterns in order. A request is compared with each template; all expressions are matched in one pass.
#[derive(Clone, Debug, Default)]
pub struct PathList {
    /// Templates, with their places in the list.
    templates: Vec<(usize, PathTemplate)>,
    expressions: Expressions,
    /// The places of the expressions in the list.
    places: Vec<usize>,
}

impl PathList {
    /// Builds the list.
    ///
    /// # Errors
    ///
    /// Matching them would take too long. An index is one of `patterns`.
    pub fn build(patterns: Vec<PathPattern>, effort: &Effort) -> Result<Self, TooComplex> {
        if patterns.len() > MOST_PATHS {
            return Err(TooComplex::TooManyPaths);
        }
        let mut list = Self::default();
        let mut expressions: Vec<Rc<Hir>> = Vec::new();
        for (place, pattern) in patterns.into_iter().enumerate() {
            match pattern.0 {
                Kind::Template(template) => list.templates.push((place, template)),
                Kind::Regex(regex) => {
                    expressions.push(regex.hir);
                    list.places.push(place);
                }
            }
        }
        list.templates.shrink_to_fit();
        if list.templates.iter().map(|(_, template)| template.bytes()).fold(0, usize::saturating_add)
            > MOST_BYTES
        {
            return Err(TooComplex::TooLong);
        }
        list.expressions = Expressions::compile(&expressions, Keep::First, effort)
            .map_err(|error| error.at(|expression| list.places.get(expression).copied()))?;
        Ok(list)
    }

    /// The index of the first pattern that covers the path.
    pub fn first(&self, inside: &InsidePath<'_>) -> Option<usize> {
        let template = self.templates.iter().find(|(_, template)| template.covers(inside));
        let template = template.map(|(place, _)| *place);
        let expression =
            self.expressions.first(inside.text()).and_then(|first| self.places.get(first).copied());
        template.into_iter().chain(expression).min()
    }
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn the_first_pattern_decides_whether_it_is_a_template_or_an_expression() {
        let patterns = [
            PathPattern::template("/a/b"),
            PathPattern::regex("/a/.*"),
            PathPattern::template("/a/c"),
            PathPattern::regex("/b|/c"),
            PathPattern::template("/**"),
        ];
        let patterns = patterns.into_iter().collect::<Result<_, _>>().unwrap();
        let list = PathList::build(patterns, &Effort::default()).unwrap();
        for (path, first) in
            [("/a/b", 0), ("/a/c", 1), ("/a", 1), ("/a/", 1), ("/c/", 3), ("/", 4), ("/d/e", 4)]
        {
            assert_eq!(list.first(&path.into()), Some(first), "{path}");
        }
        assert_eq!(PathList::default().first(&"/".into()), None);
    }
}
