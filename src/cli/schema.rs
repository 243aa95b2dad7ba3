//! `sidegate schema`: the JSON Schema of the policy document, generated from the types that read it.

use schemars::{
    Schema,
    generate::SchemaSettings,
    transform::{Transform, transform_subschemas},
};
use serde_json::Value;

use crate::policy::document::Document;

/// The schema, as `docs/policy.schema.json` holds it.
pub fn text() -> String {
    let settings = SchemaSettings::draft2020_12().with_transform(Strict);
    let schema = settings.into_generator().into_root_schema_for::<Document>();
    format!("{:#}\n", Value::from(schema))
}

/// Requirements of the document that schemars does not express: attributes may be absent but not `null`, and
/// lists are not empty.
#[derive(Clone)]
struct Strict;

impl Transform for Strict {
    fn transform(&mut self, schema: &mut Schema) {
        transform_subschemas(self, schema);
        let Some(members) = schema.as_object_mut() else { return };
        if let Some(Value::String(description)) = members.get_mut("description") {
            // Line breaks in comments are only for the width of the code.
            *description = description.replace('\n', " ");
        }
        if let Some(Value::Array(types)) = members.get_mut("type") {
            types.retain(|name| name != "null");
            if let [one] = types.as_slice() {
                let one = one.clone();
                members.insert("type".to_owned(), one);
            }
        }
        if members.get("type").is_some_and(|name| name == "array") {
            members.insert("minItems".to_owned(), 1.into());
        }
        if let Some(Value::Array(choices)) = members.get_mut("anyOf") {
            choices.retain(|choice| choice.get("type").is_none_or(|name| name != "null"));
            if let [one] = choices.as_slice()
                && let Value::Object(one) = one.clone()
            {
                members.remove("anyOf");
                members.extend(one);
            }
        }
    }
}
