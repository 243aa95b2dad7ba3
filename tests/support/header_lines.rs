//! How Envoy joins the header lines of a request.

/// Headers whose lines Envoy 1.40 joins into one value: those of them that may matter here.
/// tests/envoy_gate/callers.rs compares the list with a real Envoy.
pub const JOINED: [&str; 10] = [
    "accept",
    "access-control-request-method",
    "authentication",
    "authorization",
    "content-type",
    "origin",
    "referer",
    "user-agent",
    "x-forwarded-for",
    "x-request-id",
];

/// Adds a line. Values that are joined are separated by a comma, unless one of them is empty.
pub fn add(headers: &mut Vec<(String, Vec<u8>)>, name: &str, value: &[u8]) {
    let is_joined = JOINED.contains(&name);
    match headers.iter_mut().find(|(earlier, _)| is_joined && earlier == name) {
        Some((_, joined)) => {
            if !joined.is_empty() && !value.is_empty() {
                joined.push(b',');
            }
            joined.extend_from_slice(value);
        }
        None => headers.push((name.to_owned(), value.to_vec())),
    }
}
