//! Bodies of mocked responses, with fields that are filled in for each request.

use std::{borrow::Cow, rc::Rc};

use percent_encoding::percent_decode_str;

use super::template::{Field, InvalidTemplate, Part, fields};

/// A body with fields such as `{consumer}`. Braces that do not enclose the form of a field's name are text,
/// so that JSON needs no escapes; `{{name}}` stands for the text `{name}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyTemplate {
    content: Content,
    escaping: Escaping,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Content {
    Constant(Rc<str>),
    Parts(Box<[Part]>),
}

/// How values are written, so that they cannot change the structure of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Escaping {
    /// As the contents of a JSON string.
    Json,
    /// As character references, for HTML and XML.
    Markup,
    /// As they are. Path parameters keep their percent-escapes.
    None,
}

impl BodyTemplate {
    /// Parses the body of a response with this content type.
    pub fn parse(text: &str, content_type: &str) -> Result<Self, InvalidTemplate> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(start) = rest.find('{') {
            let (before, from_brace) = rest.split_at_checked(start).unwrap_or_default();
            literal.push_str(before);
            if let Some((name, after)) = from_brace.strip_prefix("{{").and_then(name)
                && let Some(after) = after.strip_prefix('}')
            {
                literal.push_str(&format!("{{{name}}}"));
                rest = after;
            } else if let Some((name, after)) = from_brace.strip_prefix('{').and_then(name) {
                let field = Field::named(name)?;
                parts.push(Part::Literal(std::mem::take(&mut literal)));
                parts.push(Part::Field(field));
                rest = after;
            } else {
                literal.push('{');
                rest = from_brace.strip_prefix('{').unwrap_or_default();
            }
        }
        literal.push_str(rest);
        let content = if parts.is_empty() {
            Content::Constant(literal.into())
        } else {
            parts.push(Part::Literal(literal));
            Content::Parts(parts.into())
        };
        Ok(Self { content, escaping: Escaping::of(content_type) })
    }

    /// The body with its fields filled in. A field without a value leaves nothing.
    pub fn fill<'a>(&self, value: impl Fn(&Field) -> Option<Cow<'a, str>>) -> Rc<str> {
        let parts = match &self.content {
            Content::Constant(text) => return Rc::clone(text),
            Content::Parts(parts) => parts,
        };
        let mut filled = String::new();
        for part in parts {
            match part {
                Part::Literal(text) => filled.push_str(text),
                Part::Field(field) => {
                    self.escaping.write(field, &value(field).unwrap_or_default(), &mut filled);
                }
            }
        }
        filled.into()
    }

    /// The fields.
    pub fn fields(&self) -> impl Iterator<Item = &Field> {
        fields(match &self.content {
            Content::Constant(_) => &[],
            Content::Parts(parts) => parts,
        })
    }
}

impl Escaping {
    fn of(content_type: &str) -> Self {
        let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "text/html" => Self::Markup,
            essence if essence.ends_with("/json") || essence.ends_with("+json") => Self::Json,
            essence if essence.ends_with("/xml") || essence.ends_with("+xml") => Self::Markup,
            _ => Self::None,
        }
    }

    fn write(self, field: &Field, value: &str, out: &mut String) {
        let decoded = || match field {
            // Paths whose escapes are not UTF-8 are refused.
            Field::Path(_) => percent_decode_str(value).decode_utf8_lossy(),
            _ => Cow::Borrowed(value),
        };
        match self {
            Self::Json => {
                let quoted = serde_json::to_string(&*decoded()).unwrap_or_default();
                let text = quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
                out.push_str(text.unwrap_or_default());
            }
            Self::Markup => {
                for c in decoded().chars() {
                    match c {
                        '&' => out.push_str("&amp;"),
                        '<' => out.push_str("&lt;"),
                        '>' => out.push_str("&gt;"),
                        '"' => out.push_str("&quot;"),
                        '\'' => out.push_str("&#39;"),
                        c => out.push(c),
                    }
                }
            }
            Self::None => out.push_str(value),
        }
    }
}

/// The name that the text starts with, which ends in a brace, and the text after the brace.
fn name(text: &str) -> Option<(&str, &str)> {
    let (name, after) = text.split_once('}')?;
    let is_name_character = |byte: u8| byte.is_ascii_alphanumeric() || b"_-:".contains(&byte);
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.bytes().all(is_name_character);
    // Names of claims may have any character, also those of addresses.
    let is_claim = name.starts_with("claim:") && !name.contains(['{', '"', '\n']);
    (is_name || is_claim).then_some((name, after))
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn fill(template: &str, content_type: &str) -> String {
        let value = |field: &Field| match field {
            Field::Consumer => Some("a\"c\\me".into()),
            Field::Path(name) if **name == *"id" => Some("%C3%A9%22%3Cb".into()),
            Field::Subject => Some("a\n'b".into()),
            Field::Claim(_) => Some("\"claimed\"".into()),
            _ => None,
        };
        BodyTemplate::parse(template, content_type).unwrap().fill(value).to_string()
    }

    #[test]
    fn fields_are_filled_in_and_other_braces_are_text() {
        for (template, filled) in [
            (r#"{"ok":true,"a":{"b":[{}]}}"#, r#"{"ok":true,"a":{"b":[{}]}}"#),
            ("a{consumer}b", "aa\"c\\meb"),
            ("{{consumer}} {{{}", "{consumer} {{{}"),
            ("{plan}|{ plan }|{1}|{", "|{ plan }|{1}|{"),
            ("", ""),
            (r"{claim:https://example\.com/org.id}{claim: {consumer}", "\"claimed\"{claim: a\"c\\me"),
        ] {
            assert_eq!(fill(template, "text/plain"), filled, "{template}");
        }
        let unknown = BodyTemplate::parse("{colour}", "").unwrap_err();
        assert_eq!(unknown, InvalidTemplate::UnknownField("colour".to_owned()));
    }

    #[test]
    fn no_value_changes_the_structure_of_a_body() {
        let template = r#"{"who":"{consumer}","id":"{path:id}","sub":"{subject}"}"#;
        let filled = fill(template, "Application/Problem+JSON; charset=utf-8");
        let json: serde_json::Value = serde_json::from_str(&filled).unwrap();
        assert_eq!(json, serde_json::json!({"who": "a\"c\\me", "id": "é\"<b", "sub": "a\n'b"}));
        for content_type in ["text/html", "application/xml", "image/svg+xml"] {
            let filled = fill("<p a='{subject}'>{path:id}</p>", content_type);
            assert_eq!(filled, "<p a='a\n&#39;b'>é&quot;&lt;b</p>", "{content_type}");
        }
        assert_eq!(fill("{path:id}", "text/plain"), "%C3%A9%22%3Cb");
    }
}
