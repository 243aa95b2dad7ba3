//! What a caller receives in place of the service's response.

use std::{borrow::Cow, rc::Rc};

use crate::headers::HeaderList;

/// A reply, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// What a gRPC caller receives instead of the status and the body.
    pub grpc: GrpcStatus,
    /// Header fields.
    pub headers: HeaderList,
    /// The body.
    pub body: Rc<str>,
    /// Why there is a reply, for access logs: the details of the response code, without spaces.
    pub details: &'static str,
}

/// The outcome of a gRPC call: `grpc-status` and `grpc-message`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrpcStatus {
    /// The status code (<https://grpc.github.io/grpc/core/md_doc_statuscodes.html>).
    pub code: u8,
    /// What went wrong, in words.
    pub message: Cow<'static, str>,
}

/// The protocol that the caller expects in a reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// With status, headers and body.
    #[default]
    Http,
    /// With `grpc-status` and `grpc-message`.
    Grpc,
    /// With the same in headers of HTTP (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md>).
    GrpcWeb,
    /// Likewise, for callers whose messages are in base64.
    GrpcWebText,
}

impl Protocol {
    /// The content type of a reply without a message, for gRPC-Web.
    pub const fn grpc_web_type(self) -> Option<&'static str> {
        match self {
            Self::Http | Self::Grpc => None,
            Self::GrpcWeb => Some("application/grpc-web+proto"),
            Self::GrpcWebText => Some("application/grpc-web-text+proto"),
        }
    }
}
