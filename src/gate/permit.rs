//! The proof that a request passed.

use super::{Edits, Facts};

/// Proof that a request passed, with what is to be changed on its way. Only the gate can make one, and only a permit resumes a request.
#[derive(Debug)]
pub struct Permit {
    edits: Edits,
    response_headers: Vec<(&'static str, String)>,
    facts: Facts,
}

impl Permit {
    pub(super) const fn new(
        edits: Edits,
        response_headers: Vec<(&'static str, String)>,
        facts: Facts,
    ) -> Self {
        Self { edits, response_headers, facts }
    }

    /// What is to be changed in the request before it goes on.
    pub const fn edits(&self) -> &Edits {
        &self.edits
    }

    /// What was found out about the request.
    pub const fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Headers for the caller, on the upstream's response.
    pub fn into_response_headers(self) -> Vec<(&'static str, String)> {
        self.response_headers
    }
}
