//! Replies of an API in words of its own. They replace status, content type and body, and nothing else.

use std::rc::Rc;

use super::Cause;

/// The replies of an API, by what the caller did wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts {
    /// No credentials.
    pub missing_credentials: Option<Text>,
    /// Credentials that do not help.
    pub refused_credentials: Option<Text>,
    /// A limit is reached.
    pub limits_exceeded: Option<Text>,
    /// No rule or no metering entry for the request.
    pub no_match: Option<Text>,
}

/// A reply. What is absent stays as it is without it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text {
    pub(super) status: Option<u16>,
    pub(super) content_type: Option<String>,
    pub(super) body: Option<Rc<str>>,
}

impl Text {
    /// A reply of these parts. A body without a content type is plain text.
    pub fn new(status: Option<u16>, content_type: Option<String>, body: Option<String>) -> Self {
        let plain = || body.as_ref().map(|_| "text/plain; charset=utf-8".to_owned());
        Self { status, content_type: content_type.or_else(plain), body: body.map(Rc::from) }
    }
}

impl Texts {
    /// The reply to a refusal for this cause.
    pub const fn of(&self, cause: &Cause) -> Option<&Text> {
        match cause {
            Cause::KeyMissing | Cause::TokenMissing => self.missing_credentials.as_ref(),
            Cause::KeyRefused | Cause::TokenInvalid | Cause::ScopeMissing { .. } | Cause::Forbidden => {
                self.refused_credentials.as_ref()
            }
            Cause::LimitReached { .. } => self.limits_exceeded.as_ref(),
            Cause::NoRoute => self.no_match.as_ref(),
            _ => None,
        }
    }
}
