//! What the host knows about a request beside its headers.

/// What the host knows about a request beside its headers. It is asked only if a decision needs it, because
/// each question costs time.
pub trait Surroundings {
    /// The caller's network address, without port.
    fn address(&self) -> Option<String>;

    /// What earlier filters attached to the request: an encoded `envoy.config.core.v3.Metadata`.
    fn metadata(&self) -> Option<Vec<u8>> {
        None
    }

    /// The SHA-256 of the client certificate of the connection, in hexadecimal.
    fn certificate(&self) -> Option<String> {
        None
    }
}

/// Only the address is known.
impl<F: Fn() -> Option<String>> Surroundings for F {
    fn address(&self) -> Option<String> {
        self()
    }
}
