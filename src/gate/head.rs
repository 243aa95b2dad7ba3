//! The head of a request: what the gate reads of it, found in one pass over the header map.

/// A request as the shell read it.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The whole header map, pseudo-headers included, names in lower case, in the order received.
    pub headers: &'a [(String, Vec<u8>)],
    /// Asks for the caller's network address, without port; asked only where a limit counts by it, and before a call to a provider.
    pub address: &'a dyn Fn() -> Option<String>,
    /// The stream's number in its worker: names the request in logs where it has no id of its own.
    pub stream: u32,
}

/// What the gate reads of a request's head.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Head<'a> {
    pub method: Option<&'a [u8]>,
    pub path: Option<&'a [u8]>,
    pub authority: Option<&'a [u8]>,
    pub request_id: Option<&'a [u8]>,
    pub debug_secret: Option<&'a [u8]>,
    pub grpc: bool,
    /// The headers of a CORS preflight (Fetch standard, section 3.2.2): `origin` is there, and this method is asked for.
    pub preflight_for: Option<&'a [u8]>,
}

impl<'a> Head<'a> {
    pub(super) fn read(headers: &'a [(String, Vec<u8>)]) -> Self {
        let mut head = Self::default();
        let mut origin = false;
        let mut asked_method = None;
        for (name, value) in headers {
            let value = value.as_slice();
            match name.as_str() {
                ":method" => head.method = Some(value),
                ":path" => head.path = Some(value),
                ":authority" => head.authority = Some(value),
                "content-type" => head.grpc = is_grpc(value),
                "origin" => origin = true,
                "access-control-request-method" => asked_method = Some(value),
                "x-request-id" => head.request_id = Some(value),
                "x-sidegate-debug" => head.debug_secret = Some(value),
                _ => {}
            }
        }
        if origin && head.method == Some(b"OPTIONS") {
            head.preflight_for = asked_method;
        }
        head
    }
}

/// `application/grpc`, alone or followed by `+…` or `;…`.
fn is_grpc(content_type: &[u8]) -> bool {
    content_type
        .strip_prefix(b"application/grpc")
        .is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn headers(pairs: &[(&str, &str)]) -> Vec<(String, Vec<u8>)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect()
    }

    #[test]
    fn a_preflight_is_options_with_origin_and_asked_method() {
        let asked = ("access-control-request-method", "PUT");
        let origin = ("origin", "https://a");
        for (pairs, expected) in [
            (vec![(":method", "OPTIONS"), origin, asked], Some(b"PUT".as_slice())),
            (vec![(":method", "OPTIONS"), asked], None),
            (vec![(":method", "OPTIONS"), origin], None),
            (vec![(":method", "GET"), origin, asked], None),
        ] {
            assert_eq!(Head::read(&headers(&pairs)).preflight_for, expected);
        }
    }

    #[test]
    fn grpc_is_told_by_the_content_type() {
        for (value, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;x", true),
            ("application/grpc-web", false),
            ("application/json", false),
        ] {
            assert_eq!(Head::read(&headers(&[("content-type", value)])).grpc, expected, "{value}");
        }
    }
}
