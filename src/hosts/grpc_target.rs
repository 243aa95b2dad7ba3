//! How a gRPC call names its cluster to Envoy.
//!
//! Envoy accepts two things in one string: a serialized `envoy.config.core.v3.GrpcService` or, if the string
//! cannot be parsed as that, the name of a cluster. Many names can be parsed, such as `users`, `media` and
//! `quota-svc`. The result is a message without a target, and the whole Envoy process aborts. Such names are
//! sent inside a message.

use std::borrow::Cow;

/// The target to pass for the cluster with this name, or `None` if it cannot be expressed.
pub fn target(cluster: &str) -> Option<Cow<'_, str>> {
    if could_be_message(cluster.as_bytes()) {
        Some(Cow::Owned(message(cluster)?))
    } else {
        Some(Cow::Borrowed(cluster))
    }
}

/// A `GrpcService` with `envoy_grpc.cluster_name`, as text, or `None` if it would not be UTF-8.
fn message(cluster: &str) -> Option<String> {
    const FIELD_ONE: char = '\n';
    let length = u8::try_from(cluster.len()).ok()?;
    let outer = length.checked_add(2).filter(u8::is_ascii)?;
    Some(format!("{FIELD_ONE}{}{FIELD_ONE}{}{cluster}", char::from(outer), char::from(length)))
}

/// Whether protobuf may parse these bytes as a message. True for all bytes that it does parse, and for some
/// that it does not.
fn could_be_message(mut bytes: &[u8]) -> bool {
    let mut open_groups = 0_usize;
    while !bytes.is_empty() {
        let Some((tag, rest)) = varint(bytes) else { return false };
        let after = match tag & 7 {
            0 => varint(rest).map(|(_, rest)| rest),
            1 => rest.get(8..),
            2 => varint(rest).and_then(|(length, rest)| rest.get(usize::try_from(length).ok()?..)),
            3 => {
                open_groups = open_groups.saturating_add(1);
                Some(rest)
            }
            4 => open_groups.checked_sub(1).map(|left| {
                open_groups = left;
                rest
            }),
            5 => rest.get(4..),
            _ => None,
        };
        let Some(after) = after else { return false };
        bytes = after;
    }
    open_groups == 0
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    for (place, byte) in bytes.iter().enumerate().take(10) {
        let shift = u32::try_from(place).ok()?.saturating_mul(7);
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(place.saturating_add(1)..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn names_that_cannot_be_a_message_are_sent_unchanged() {
        for name in ["limitador", "ratelimit", "outbound|8081||limitador.ns.svc.cluster.local", "grpc", "é"]
        {
            assert_eq!(target(name).as_deref(), Some(name));
        }
    }

    #[test]
    fn names_that_could_be_a_message_are_sent_inside_one() {
        // Fixed-size fields of 4 and 8 bytes, a varint, a string, a group, a long length, and no field.
        for name in ["users", "empty", "quota-svc", "p1", "r\u{2}ab", "st", "\u{140}\u{1}four", ""] {
            let target = target(name).unwrap_or_default();
            let length = u8::try_from(name.len()).unwrap();
            let head = [0x0a, length + 2, 0x0a, length];
            assert_eq!(target.as_bytes(), [&head, name.as_bytes()].concat(), "{name}");
        }
    }

    #[test]
    fn truncated_bytes_are_not_a_message() {
        for bytes in ["e123", "a1234567", "p", "p\u{80}", "r\u{3}ab", "s", "t", "p1t", "sp1", "f", "g"] {
            assert!(!could_be_message(bytes.as_bytes()), "{bytes}");
        }
        assert!(!could_be_message(&[0xff; 12]), "a number that never ends");
        assert!(!could_be_message(&[b'r', 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, b'x']));
    }

    #[test]
    fn a_name_that_is_too_long_for_a_message_has_no_target() {
        let name = |length: usize| {
            format!("r{}{}", char::from(u8::try_from(length - 2).unwrap()), "x".repeat(length - 2))
        };
        assert!(target(&name(125)).is_some());
        assert_eq!(target(&name(126)), None);
        assert_eq!(target(&"f".repeat(500)).map(|target| target.len()), Some(500));
    }
}
