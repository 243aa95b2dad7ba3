//! Requests as the gate takes them.

use sidegate::{gate::Request, headers::HeaderMap};

use super::support::Ask;

impl Ask {
    /// The request as the gate takes it.
    pub fn request(&self, stream: u32) -> Request {
        let address = self.address.map(str::to_owned);
        Request::new(HeaderMap::from(self.headers.clone()), move || address.clone(), stream)
    }
}
