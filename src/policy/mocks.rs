//! Mocked responses: what answers in the service's place.

use std::rc::Rc;

use crate::{
    forward::{BodyTemplate, HeaderValue},
    matching::{Found, InsidePath, Parameters, RuleTable},
    reply::GrpcStatus,
};

/// The mocked responses of a rule, by path and method.
pub struct Mocks {
    /// Finds the response. It is a rule table, so responses are found as rules are.
    pub(super) table: RuleTable,
    pub(super) responses: Vec<Mock>,
}

/// A mocked response.
pub struct Mock {
    /// HTTP status.
    pub status: u16,
    /// What a gRPC caller receives in place of the status and the body.
    pub grpc: GrpcStatus,
    /// Header fields.
    pub headers: Vec<(Rc<str>, HeaderValue)>,
    /// The body.
    pub body: BodyTemplate,
    /// Where the path's parameters are.
    pub parameters: Parameters,
}

impl Mocks {
    /// The index of the response for a path and a method.
    pub fn find(&self, inside: &InsidePath<'_>, method: &str) -> Option<usize> {
        match self.table.find(inside, method) {
            Found::Rule(index) => Some(index),
            Found::MethodNotAllowed(_) | Found::None => None,
        }
    }

    /// The response at an index.
    pub fn get(&self, index: usize) -> Option<&Mock> {
        self.responses.get(index)
    }
}
