//! Header values with fields that are filled in for each request, such as `plan-{plan}`.

use std::{borrow::Cow, rc::Rc};

use crate::{
    grammar::each,
    identity::{ClaimPath, InvalidClaimPath},
};

/// A field in a header for the service, or in a mocked response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// The API's name.
    Api,
    /// The rule's name, as in metrics.
    Rule,
    /// The consumer's name.
    Consumer,
    /// The plan's name.
    Plan,
    /// The plan's environment.
    Environment,
    /// The OAuth2 client id.
    ClientId,
    /// The token's subject.
    Subject,
    /// The token's scopes.
    Scope,
    /// The claim of the token at this path.
    Claim(ClaimPath),
    /// The parameter of this name in the path.
    Path(Rc<str>),
}

/// A header value with fields that are filled in for each request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderTemplate(Vec<Part>);

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Literal(String),
    Field(Field),
}

/// Why a text is not a header template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTemplate {
    /// The field does not exist.
    #[error(
        "unknown field `{{{0}}}`: expected `{{api}}`, `{{rule}}`, `{{consumer}}`, `{{plan}}`, `{{environment}}`, `{{client_id}}`, `{{subject}}`, `{{scope}}`, `{{claim:PATH}}` or `{{path:NAME}}`"
    )]
    UnknownField(String),
    /// The claim has no such path.
    #[error(transparent)]
    Claim(#[from] InvalidClaimPath),
    /// A brace that is not matched by another.
    #[error("unmatched brace")]
    Brace,
    /// The text contains a control character, or is empty.
    #[error("not a header value")]
    NotAValue,
}

impl HeaderTemplate {
    /// Parses a template such as `plan-{plan}`.
    pub fn parse(text: &str) -> Result<Self, InvalidTemplate> {
        if text.is_empty() || has_control(text) {
            return Err(InvalidTemplate::NotAValue);
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (literal, field) = match rest.split_once('{') {
                Some((literal, field)) => (literal, Some(field)),
                None => (rest, None),
            };
            if literal.contains('}') {
                return Err(InvalidTemplate::Brace);
            }
            if !literal.is_empty() {
                parts.push(Part::Literal(literal.to_owned()));
            }
            let Some(field) = field else { break };
            let (name, after) = field.split_once('}').ok_or(InvalidTemplate::Brace)?;
            parts.push(Part::Field(Field::named(name)?));
            rest = after;
        }
        Ok(Self(parts))
    }

    /// The header value with its fields filled in. `None` if a field has no value, or one that is not valid
    /// in a header.
    pub fn fill<'a>(&self, value: impl Fn(&Field) -> Option<Cow<'a, str>>) -> Option<String> {
        let value = |field: &Field| {
            value(field).filter(|text| !text.is_empty() && (field.is_name() || !has_control(text)))
        };
        if let [Part::Field(field)] = &*self.0 {
            return value(field).map(Cow::into_owned);
        }
        // Enough for most names.
        let mut filled = String::with_capacity(32);
        for part in &self.0 {
            match part {
                Part::Literal(text) => filled.push_str(text),
                Part::Field(field) => filled.push_str(&value(field)?),
            }
        }
        Some(filled)
    }

    /// The fields.
    pub fn fields(&self) -> impl Iterator<Item = &Field> {
        fields(&self.0)
    }
}

/// The fields among the parts of a template.
pub(super) fn fields(parts: &[Part]) -> impl Iterator<Item = &Field> {
    parts.iter().filter_map(|part| match part {
        Part::Literal(_) => None,
        Part::Field(field) => Some(field),
    })
}

#[inline]
fn has_control(text: &str) -> bool {
    let is_plain = each(text.as_bytes(), |byte| matches!(byte, 0x20..=0x7e));
    !is_plain && text.chars().any(char::is_control)
}

impl Field {
    /// The field of this name.
    pub(super) fn named(name: &str) -> Result<Self, InvalidTemplate> {
        Ok(match name {
            "api" => Self::Api,
            "rule" => Self::Rule,
            "consumer" => Self::Consumer,
            "plan" => Self::Plan,
            "environment" => Self::Environment,
            "client_id" => Self::ClientId,
            "subject" => Self::Subject,
            "scope" => Self::Scope,
            _ => match name.split_once(':') {
                Some(("claim", path)) => Self::Claim(ClaimPath::parse(path)?),
                Some(("path", parameter)) if !parameter.is_empty() => Self::Path(parameter.into()),
                _ => return Err(InvalidTemplate::UnknownField(name.to_owned())),
            },
        })
    }

    /// Whether the value is a name in the policy, which has no control characters.
    const fn is_name(&self) -> bool {
        matches!(self, Self::Api | Self::Consumer | Self::Plan)
    }

    /// The name of the path parameter that the field stands for.
    pub fn path_parameter(&self) -> Option<&str> {
        match self {
            Self::Path(name) => Some(name),
            _ => None,
        }
    }

    /// The path of the claim that the field stands for.
    pub const fn claim(&self) -> Option<&ClaimPath> {
        match self {
            Self::Claim(path) => Some(path),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn fill(template: &str) -> Option<String> {
        HeaderTemplate::parse(template).unwrap().fill(|field| match field {
            Field::Consumer => Some("acme".into()),
            Field::Plan => Some("basic".into()),
            Field::Scope => Some("a\r\nx-admin: yes".into()),
            Field::Claim(path) => (*path == ClaimPath::parse("org.id").unwrap()).then_some("blue".into()),
            Field::Path(name) => (**name == *"id").then_some("7".into()),
            _ => None,
        })
    }

    #[test]
    fn fields_are_filled_in() {
        assert_eq!(fill("{consumer}"), Some("acme".to_owned()));
        assert_eq!(fill("who={consumer};plan={plan}"), Some("who=acme;plan=basic".to_owned()));
        assert_eq!(fill("constant"), Some("constant".to_owned()));
        assert_eq!(fill("order-{path:id}"), Some("order-7".to_owned()));
        assert_eq!(fill("{claim:org.id}!"), Some("blue!".to_owned()));
    }

    #[test]
    fn a_missing_or_invalid_value_leaves_the_header_out() {
        assert_eq!(fill("{environment}"), None);
        assert_eq!(fill("x-{environment}"), None);
        assert_eq!(fill("{scope}"), None);
        assert_eq!(fill("{path:no}"), None);
        assert_eq!(fill("{claim:org}"), None);
    }

    #[test]
    fn invalid_templates_are_errors() {
        assert_eq!(HeaderTemplate::parse("{color}"), Err(InvalidTemplate::UnknownField("color".to_owned())));
        for text in ["{plan", "plan}", "{pl{an}", "{path:}", "{path}", "{claim:}", "{claim}", "{claim:a..b}"]
        {
            assert!(HeaderTemplate::parse(text).is_err(), "{text}");
        }
        assert_eq!(HeaderTemplate::parse("a\nb"), Err(InvalidTemplate::NotAValue));
        assert_eq!(HeaderTemplate::parse(""), Err(InvalidTemplate::NotAValue));
    }
}
