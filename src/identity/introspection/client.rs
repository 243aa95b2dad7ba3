//! How Sidegate authenticates itself as an OAuth2 client (RFC 6749 section 2.3.1).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use form_urlencoded::{Serializer, byte_serialize};

use crate::{credential::ProviderSecret, headers::HeaderList};

/// Client id and secret, and where they are sent.
#[derive(Clone, Debug)]
pub enum ClientAuthentication {
    /// HTTP Basic; id and secret are form-urlencoded first.
    Basic {
        /// OAuth2 client id.
        id: String,
        /// OAuth2 client secret.
        secret: ProviderSecret,
    },
    /// `client_id` and `client_secret` in the form.
    Post {
        /// OAuth2 client id.
        id: String,
        /// OAuth2 client secret.
        secret: ProviderSecret,
    },
}

impl ClientAuthentication {
    /// The client id.
    pub fn id(&self) -> &str {
        let (Self::Basic { id, secret: _ } | Self::Post { id, secret: _ }) = self;
        id
    }

    /// The client's secret.
    pub(super) const fn secret(&self) -> &ProviderSecret {
        let (Self::Basic { id: _, secret } | Self::Post { id: _, secret }) = self;
        secret
    }

    /// What distinguishes the ways in digests.
    pub(super) const fn kind(&self) -> &'static [u8] {
        match self {
            Self::Basic { .. } => b"basic",
            Self::Post { .. } => b"post",
        }
    }

    /// Adds the credentials to a request.
    pub(super) fn add_to(&self, headers: &mut HeaderList, form: &mut Serializer<'_, String>) {
        match self {
            Self::Basic { id, secret } => {
                let pair = format!("{}:{}", encoded(id), encoded(secret.secret()));
                headers.push("authorization", format!("Basic {}", STANDARD.encode(pair)));
            }
            Self::Post { id, secret } => {
                form.append_pair("client_id", id).append_pair("client_secret", secret.secret());
            }
        }
    }
}

fn encoded(text: &str) -> String {
    byte_serialize(text.as_bytes()).collect()
}
