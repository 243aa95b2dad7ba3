//! Reads typed values from JSON that was parsed, and says in the document's words what is wrong with their
//! shape.
//!
//! It reads what `serde_json` reads. Only its errors are different: they have a path and name no types of
//! Rust.

use serde::{
    Deserializer,
    de::{DeserializeSeed, EnumAccess, IntoDeserializer as _, MapAccess, SeqAccess, VariantAccess, Visitor},
    forward_to_deserialize_any,
};
use serde_json::{Map, Value, map};

use super::{
    fault::{Fault, FaultKind, alternatives},
    path::Step,
};
use crate::policy::document::form;

/// A value to be read.
#[derive(Clone, Copy)]
pub struct Node<'de>(pub &'de Value);

impl<'de> Deserializer<'de> for Node<'de> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(number), _) => visitor.visit_u64(number),
                (None, Some(number)) => visitor.visit_i64(number),
                (None, None) => visitor.visit_f64(number.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Array(items) => visitor.visit_seq(Items(items.iter().enumerate())),
            Value::Object(members) => visitor.visit_map(Members { members: members.iter(), current: None }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        choice: &'static str,
        entries: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let (entry, content) = match self.0 {
            Value::String(name) => (name, None),
            Value::Object(members) => only_entry(members)?,
            other => {
                let expected = expected(choice, entries);
                return Err(Fault::other(format!("invalid type: {}, expected {expected}", kind_of(other))));
            }
        };
        if !entries.contains(&entry.as_str()) {
            return Err(Fault::other(unknown(choice, entry, entries)));
        }
        let chosen = visitor.visit_enum(Chosen { choice, entry, content });
        match content {
            Some(_) => chosen.map_err(|fault| fault.below(Step::Member(entry.clone()))),
            None => chosen,
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

fn only_entry(members: &Map<String, Value>) -> Result<(&String, Option<&Value>), Fault> {
    let mut entries = members.iter();
    match (entries.next(), entries.next()) {
        (Some((entry, content)), None) => Ok((entry, Some(content))),
        _ => Err(Fault::new(FaultKind::Entries(members.len()))),
    }
}

fn unknown(choice: &str, entry: &str, entries: &[&str]) -> String {
    let expected = expected(choice, entries);
    match choice {
        // Somebody may have written the secret itself here.
        "Authentication" => format!("unknown authentication, expected {expected}"),
        "SchemaVersion" => format!("unsupported schema version `{entry}`, expected {expected}"),
        _ => format!("unknown value `{entry}`, expected {expected}"),
    }
}

fn expected(choice: &str, entries: &[&str]) -> String {
    alternatives(&entries.iter().map(|entry| form(choice, entry)).collect::<Vec<_>>())
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "fraction",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "list",
        Value::Object(_) => "map",
    }
}

/// The items of a list.
struct Items<I>(I);

impl<'de, I: Iterator<Item = (usize, &'de Value)>> SeqAccess<'de> for Items<I> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let Some((index, item)) = self.0.next() else { return Ok(None) };
        seed.deserialize(Node(item)).map(Some).map_err(|fault| fault.below(Step::Item(index)))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint().1
    }
}

/// The members of a map.
struct Members<'de> {
    members: map::Iter<'de>,
    current: Option<(&'de String, &'de Value)>,
}

impl<'de> MapAccess<'de> for Members<'de> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        self.current = self.members.next();
        let Some((name, _)) = self.current else { return Ok(None) };
        let key = seed.deserialize(name.as_str().into_deserializer());
        key.map(Some).map_err(|fault: Fault| fault.below(Step::Member(name.clone())))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let Some((name, value)) = self.current.take() else {
            return Err(Fault::other("a value without a name"));
        };
        seed.deserialize(Node(value)).map_err(|fault| fault.below(Step::Member(name.clone())))
    }
}

/// What was chosen: an entry, with or without content.
struct Chosen<'de> {
    choice: &'static str,
    entry: &'de str,
    content: Option<&'de Value>,
}

impl<'de> EnumAccess<'de> for Chosen<'de> {
    type Error = Fault;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Fault> {
        seed.deserialize(self.entry.into_deserializer()).map(|entry| (entry, self))
    }
}

impl<'de> VariantAccess<'de> for Chosen<'de> {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        match self.content {
            None | Some(Value::Null) => Ok(()),
            Some(_) => Err(Fault::other(format!("`{0}` takes nothing: write just `{0}`", self.entry))),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Fault> {
        match self.content {
            Some(content) => seed.deserialize(Node(content)),
            None => {
                let form = form(self.choice, self.entry);
                Err(Fault::other(format!("`{}` alone is not enough: write `{form}`", self.entry)))
            }
        }
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Fault> {
        Node(self.content.unwrap_or(&Value::Null)).deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        Node(self.content.unwrap_or(&Value::Null)).deserialize_any(visitor)
    }
}
