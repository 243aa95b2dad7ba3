//! Reads a valid document part by part. The entries of its long lists become what is kept of them as soon as
//! they are read, so that neither the text nor its values are in memory as a whole.

use super::text::{Cursor, Text, Unexpected};
use crate::policy::document::{
    Api, Building as _, BuildingBindings, BuildingConsumers, Document, Metering, Rule,
};

/// Reads a document. `seen` is called with each part of its text, in order.
///
/// # Errors
///
/// The text is no valid document, or one that must be looked at as a whole.
pub fn read(text: &(impl Text + ?Sized), seen: &mut dyn FnMut(&[u8])) -> Result<Document, Unexpected> {
    let mut cursor = Cursor::new(text, seen);
    let (mut consumers, mut apis) = (None, Vec::new());
    // The document with empty lists in place of the long ones.
    let mut frame = Frame::default();
    cursor.map(|cursor, name| {
        let is_list = cursor.is_at_list();
        match frame.name(name)?.as_str() {
            "consumers" if is_list => {
                let mut building = BuildingConsumers::default();
                frame.list(cursor, |cursor| {
                    building.push(cursor.value()?);
                    Ok(())
                })?;
                consumers = Some(building.finish());
                Ok(())
            }
            "apis" if is_list => frame.list(cursor, |cursor| {
                apis.push(api(cursor)?);
                Ok(())
            }),
            _ => cursor.copy(&mut frame.0),
        }
    })?;
    cursor.end()?;
    let mut document: Document = frame.read()?;
    document.consumers = consumers;
    document.apis = apis;
    Ok(document)
}

fn api(cursor: &mut Cursor<'_, impl Text + ?Sized>) -> Result<Api, Unexpected> {
    let (mut rules, mut metering, mut bindings) = (Vec::<Rule>::new(), None, None);
    let mut frame = Frame::default();
    cursor.map(|cursor, name| {
        let is_list = cursor.is_at_list();
        match frame.name(name)?.as_str() {
            "rules" if is_list => frame.list(cursor, |cursor| {
                rules.push(cursor.value()?);
                Ok(())
            }),
            "metering" if is_list => {
                let list: &mut Vec<Metering> = metering.get_or_insert_default();
                frame.list(cursor, |cursor| {
                    list.push(cursor.value()?);
                    Ok(())
                })
            }
            "bindings" if is_list => {
                let mut building = BuildingBindings::default();
                frame.list(cursor, |cursor| {
                    building.push(cursor.value()?);
                    Ok(())
                })?;
                bindings = Some(building.finish());
                Ok(())
            }
            _ => cursor.copy(&mut frame.0),
        }
    })?;
    let mut api: Api = frame.read()?;
    (api.rules, api.metering, api.bindings) = (rules, metering, bindings);
    Ok(api)
}

/// The text of a map, with empty lists in place of those that were read item by item.
#[derive(Default)]
struct Frame(Vec<u8>);

impl Frame {
    /// Begins a member; returns its name.
    fn name(&mut self, name: String) -> Result<String, Unexpected> {
        self.0.push(if self.0.is_empty() { b'{' } else { b',' });
        serde_json::to_writer(&mut self.0, &name).map_err(|_| Unexpected)?;
        self.0.push(b':');
        Ok(name)
    }

    /// Reads a list, and puts an empty one in its place.
    fn list<T: Text + ?Sized>(
        &mut self,
        cursor: &mut Cursor<'_, T>,
        item: impl FnMut(&mut Cursor<'_, T>) -> Result<(), Unexpected>,
    ) -> Result<(), Unexpected> {
        self.0.extend_from_slice(b"[]");
        cursor.list(item)
    }

    fn read<V: serde::de::DeserializeOwned>(mut self) -> Result<V, Unexpected> {
        self.0.extend_from_slice(if self.0.is_empty() { b"{}" } else { b"}" });
        serde_json::from_slice(&self.0).map_err(|_| Unexpected)
    }
}
