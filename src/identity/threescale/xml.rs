//! Reads the XML of the backend: one pass, with bounds on depth and on how much is kept.
//!
//! Entities are resolved only if XML predefines them. A document type, which could define others, is refused.

use std::borrow::Cow;

use quick_xml::{
    XmlVersion,
    escape::resolve_predefined_entity,
    events::{BytesStart, Event},
    reader::Reader,
};

use super::UsageLimit;
use crate::time::Timestamp;

/// The most limits of an application.
pub const MOST_LIMITS: usize = 1_000;

/// The most metrics with metrics below them, and the most metrics below one.
const MOST_METRICS: usize = 1_000;

/// The deepest element that is read. The backend's own documents have four levels.
const DEEPEST: usize = 8;

/// The longest text that is kept, in bytes.
const LONGEST: usize = 1_024;

/// What a document of the backend says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Document {
    pub(super) authorized: Option<bool>,
    pub(super) plan: Option<String>,
    pub(super) limits: Vec<UsageLimit>,
    /// Metrics, each with the one above it.
    pub(super) parents: Vec<(String, String)>,
    /// The code of an `error`.
    pub(super) error: Option<String>,
}

/// The document is not what the backend sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unreadable;

/// Reads a whole document.
pub(super) fn read(bytes: &[u8]) -> Result<Document, Unreadable> {
    let mut reader = Reader::from_str(str::from_utf8(bytes).map_err(|_| Unreadable)?);
    let mut reading = Reading::default();
    loop {
        match reader.read_event().map_err(|_| Unreadable)? {
            Event::Start(start) => reading.start(&start)?,
            Event::Empty(start) => {
                reading.start(&start)?;
                reading.end()?;
            }
            Event::End(_) => reading.end()?,
            Event::Text(text) => reading.text(&text.xml10_content())?,
            Event::CData(text) => reading.text(&text.xml10_content())?,
            Event::GeneralRef(reference) => {
                let resolved = match reference.resolve_char_ref() {
                    Ok(Some(c)) => Cow::Owned(c.to_string()),
                    Ok(None) => resolve_predefined_entity(&reference).map(Cow::Borrowed).ok_or(Unreadable)?,
                    Err(_) => return Err(Unreadable),
                };
                reading.text(&resolved)?;
            }
            Event::DocType(_) => return Err(Unreadable),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            Event::Eof if reading.path.is_empty() && reading.is_complete => return Ok(reading.document),
            Event::Eof => return Err(Unreadable),
        }
    }
}

/// A document that is being read.
#[derive(Default)]
struct Reading {
    path: Vec<Element>,
    /// The text of the innermost element.
    text: String,
    limit: Partial,
    document: Document,
    /// The outermost element has ended.
    is_complete: bool,
}

/// The elements that are read, each only in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Element {
    Status,
    Error,
    Authorized,
    Plan,
    Reports,
    Report,
    PeriodEnd,
    Max,
    Current,
    Hierarchy,
    Other,
}

/// A usage report that is being read.
#[derive(Default)]
struct Partial {
    metric: Option<String>,
    end: Option<Timestamp>,
    max: Option<u64>,
    current: Option<u64>,
}

impl Reading {
    fn start(&mut self, start: &BytesStart<'_>) -> Result<(), Unreadable> {
        if self.path.len() >= DEEPEST || self.is_complete {
            return Err(Unreadable);
        }
        let name = start.name();
        let element = match (self.path.last(), name.0) {
            (None, "status") => Element::Status,
            (None, "error") => {
                self.document.error = attribute(start, "code")?;
                Element::Error
            }
            (None, _) => return Err(Unreadable),
            (Some(Element::Status), "authorized") => Element::Authorized,
            (Some(Element::Status), "plan") => Element::Plan,
            (Some(Element::Status), "usage_reports") => Element::Reports,
            (Some(Element::Reports), "usage_report") => {
                if self.document.limits.len() >= MOST_LIMITS {
                    return Err(Unreadable);
                }
                self.limit = Partial { metric: attribute(start, "metric")?, ..Partial::default() };
                Element::Report
            }
            (Some(Element::Report), "period_end") => Element::PeriodEnd,
            (Some(Element::Report), "max_value") => Element::Max,
            (Some(Element::Report), "current_value") => Element::Current,
            (Some(Element::Status), "hierarchy") => Element::Hierarchy,
            (Some(Element::Hierarchy), "metric") => {
                self.metric(start)?;
                Element::Other
            }
            _ => Element::Other,
        };
        self.text.clear();
        self.path.push(element);
        Ok(())
    }

    /// `<metric name="hits" children="reads writes"/>`
    fn metric(&mut self, start: &BytesStart<'_>) -> Result<(), Unreadable> {
        let (name, children) = (attribute(start, "name")?, attribute(start, "children")?);
        let (Some(name), Some(children)) = (name, children) else { return Err(Unreadable) };
        let parents = &mut self.document.parents;
        parents.extend(children.split_ascii_whitespace().map(|child| (child.to_owned(), name.clone())));
        if parents.len() > MOST_METRICS { Err(Unreadable) } else { Ok(()) }
    }

    fn text(&mut self, text: &str) -> Result<(), Unreadable> {
        let is_kept = match self.path.last() {
            // Between elements there is only white space.
            None => return if text.trim().is_empty() { Ok(()) } else { Err(Unreadable) },
            Some(
                Element::Authorized | Element::Plan | Element::PeriodEnd | Element::Max | Element::Current,
            ) => true,
            Some(_) => false,
        };
        if is_kept {
            if self.text.len().saturating_add(text.len()) > LONGEST {
                return Err(Unreadable);
            }
            self.text.push_str(text);
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), Unreadable> {
        let text = self.text.trim();
        match self.path.pop().ok_or(Unreadable)? {
            Element::Authorized => {
                once(&mut self.document.authorized, text.parse().map_err(|_| Unreadable)?)?;
            }
            Element::Plan => once(&mut self.document.plan, text.to_owned())?,
            Element::PeriodEnd => once(&mut self.limit.end, moment(text).ok_or(Unreadable)?)?,
            Element::Max => once(&mut self.limit.max, text.parse().map_err(|_| Unreadable)?)?,
            Element::Current => once(&mut self.limit.current, text.parse().map_err(|_| Unreadable)?)?,
            Element::Report => {
                let Partial { metric: Some(metric), end, max: Some(max), current: Some(current) } =
                    std::mem::take(&mut self.limit)
                else {
                    return Err(Unreadable);
                };
                self.document.limits.push(UsageLimit { metric, end, max, current });
            }
            Element::Status | Element::Error => self.is_complete = true,
            Element::Reports | Element::Hierarchy | Element::Other => {}
        }
        self.text.clear();
        Ok(())
    }
}

fn once<T>(value: &mut Option<T>, found: T) -> Result<(), Unreadable> {
    if value.replace(found).is_some() { Err(Unreadable) } else { Ok(()) }
}

fn attribute(start: &BytesStart<'_>, name: &str) -> Result<Option<String>, Unreadable> {
    let Some(attribute) = start.try_get_attribute(name).map_err(|_| Unreadable)? else { return Ok(None) };
    let value = attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|_| Unreadable)?;
    Ok(Some(value.into_owned()))
}

/// `2026-11-21 02:53:00 +0000`
fn moment(text: &str) -> Option<Timestamp> {
    let moment: jiff::civil::DateTime = text.strip_suffix(" +0000")?.parse().ok()?;
    let moment = jiff::tz::TimeZone::UTC.to_timestamp(moment).ok()?;
    u64::try_from(moment.as_millisecond()).ok().map(Timestamp::from_millis)
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    const WHOLE: &str = r#"<?xml version="1.0" encoding="UTF-8"?><status><authorized>true</authorized><plan>gold &amp; &#109;ore</plan><usage_reports><usage_report metric="hits" period="minute"><period_start>2026-11-21 02:52:00 +0000</period_start><period_end>2026-11-21 02:53:00 +0000</period_end><max_value>3</max_value><current_value>2</current_value></usage_report><usage_report metric="writes" period="eternity" exceeded="true"><max_value>0</max_value><current_value>1</current_value></usage_report></usage_reports><app_keys app="a" svc="1"><key id="x"/></app_keys><hierarchy><metric name="hits" children="reads writes"/></hierarchy></status>"#;

    #[test]
    fn a_whole_status_is_read() {
        let end = Timestamp::from_seconds(1_795_229_580);
        let parent = |child: &str| (child.to_owned(), "hits".to_owned());
        let limit =
            |metric: &str, end, max, current| UsageLimit { metric: metric.to_owned(), end, max, current };
        assert_eq!(
            read(WHOLE.as_bytes()),
            Ok(Document {
                authorized: Some(true),
                plan: Some("gold & more".to_owned()),
                limits: vec![limit("hits", Some(end), 3, 2), limit("writes", None, 0, 1)],
                parents: vec![parent("reads"), parent("writes")],
                error: None,
            })
        );
        let error = read(br#"<error code="user_key_invalid">the key "a&lt;b"</error>"#).unwrap();
        assert_eq!(error.error.as_deref(), Some("user_key_invalid"));
    }

    #[test]
    fn every_truncation_is_unreadable() {
        for length in 0..WHOLE.len() {
            assert_eq!(read(&WHOLE.as_bytes()[..length]), Err(Unreadable), "{length}");
        }
    }

    #[test]
    fn what_the_backend_never_sends_is_unreadable() {
        let deep = format!("<status>{}{}</status>", "<a>".repeat(8), "</a>".repeat(8));
        let limit = r#"<usage_report metric="a"><max_value>1</max_value><current_value>0</current_value></usage_report>"#;
        let many = |count| format!("<status><usage_reports>{}</usage_reports></status>", limit.repeat(count));
        assert_eq!(read(many(MOST_LIMITS).as_bytes()).unwrap().limits.len(), MOST_LIMITS);
        let bomb =
            r#"<!DOCTYPE s [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><status><plan>&b;</plan></status>"#;
        for text in [
            "",
            "nonsense",
            "<html></html>",
            "{}",
            bomb,
            "<status><plan>&b;</plan></status>",
            "<status><plan>&#xffffffff;</plan></status>",
            "<status><authorized>yes</authorized></status>",
            "<status><authorized>true</authorized><authorized>false</authorized></status>",
            "<status></status><status></status>",
            "<status></status>more",
            "<status><usage_reports><usage_report><max_value>1</max_value></usage_report></usage_reports></status>",
            "<status><usage_reports><usage_report metric=\"a\"><max_value>-1</max_value></usage_report></usage_reports></status>",
            "<status><reason>a<b&\"c</reason></status>",
            &deep,
            &many(MOST_LIMITS + 1),
            &many(100_000),
            &format!("<status><plan>{}</plan></status>", "a".repeat(LONGEST + 1)),
        ] {
            assert_eq!(read(text.as_bytes()), Err(Unreadable), "{}", text.get(..200).unwrap_or(text));
        }
        assert_eq!(read(b"<status>\xff</status>"), Err(Unreadable));
    }
}
