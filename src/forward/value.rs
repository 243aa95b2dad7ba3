//! Values of headers for the service.

use std::borrow::Cow;

use super::{Field, HeaderTemplate};
use crate::credential::ProviderSecret;

/// The value of a header for the service.
#[derive(Clone, Debug)]
pub enum HeaderValue {
    /// Text with fields that are filled in for each request.
    Template(HeaderTemplate),
    /// A secret that the service and the gate share. It shows the service that a request came through the
    /// gate.
    Secret(ProviderSecret),
}

impl HeaderValue {
    /// The value with its fields filled in; `None` if a field has no value that a header can carry.
    pub fn fill<'a>(&self, value: impl Fn(&Field) -> Option<Cow<'a, str>>) -> Option<String> {
        match self {
            Self::Template(template) => template.fill(value),
            Self::Secret(secret) => Some(secret.secret().to_owned()),
        }
    }

    /// The fields.
    pub fn fields(&self) -> impl Iterator<Item = &Field> {
        let template = match self {
            Self::Template(template) => Some(template),
            Self::Secret(_) => None,
        };
        template.into_iter().flat_map(HeaderTemplate::fields)
    }
}
