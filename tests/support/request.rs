//! Requests as the gate takes them.

use sidegate::{
    gate::{Request, Surroundings},
    headers::HeaderMap,
};

use super::support::Ask;

impl Ask {
    /// The request as the gate takes it.
    pub fn request(&self, stream: u32) -> Request {
        Request::new(HeaderMap::from(self.headers.clone()), Around(self.clone()), stream)
    }
}

/// What the host knows about a request.
struct Around(Ask);

impl Surroundings for Around {
    fn address(&self) -> Option<String> {
        self.0.address.map(str::to_owned)
    }

    fn metadata(&self) -> Option<Vec<u8>> {
        self.0.metadata.clone()
    }

    fn certificate(&self) -> Option<String> {
        self.0.certificate.clone()
    }
}
