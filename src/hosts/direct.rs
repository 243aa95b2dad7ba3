//! Host functions that are called without the SDK. The SDK would make a `String` and a `Vec` of every header
//! field, and a `SystemTime` of the time, and it has no value for Envoy's log level `off`.
//!
//! With `blocks`, this is the only file with `unsafe` code. It is sound because
//!
//! * the host functions are declared as in the ABI (proxy-wasm 0.2.1), with plain numbers in place of
//!   enumerations;
//! * what the host only reads is passed as pointer and length of a slice that outlives the call, and the host
//!   keeps no pointer to it;
//! * before the host answers [`OK`], it writes the return values and nothing else. The pointers lead to
//!   local variables that outlive the call, and every value that the host can write is valid for them;
//! * the buffer of a header map was allocated by the module's own `proxy_on_memory_allocate`, which the SDK
//!   exports: a `Box<[u8]>` of exactly the size that the host asked for, given up by `Box::into_raw`. The
//!   host fills all of it and keeps no pointer to it. So a `Vec<u8>` of that pointer, length and capacity is
//!   its only owner, and frees it as it was allocated.

use proxy_wasm::types::MapType;

use crate::{headers::HeaderMap, time::Timestamp};

/// The status of a call that did what it was asked to.
const OK: u32 = 0;

#[link(wasm_import_module = "env")]
#[expect(unsafe_code, reason = "host functions; the module's documentation says why calling them is sound")]
unsafe extern "C" {
    fn proxy_get_header_map_pairs(
        map_type: MapType,
        return_map_data: *mut *mut u8,
        return_map_size: *mut usize,
    ) -> u32;

    fn proxy_get_log_level(return_level: *mut u32) -> u32;

    fn proxy_get_current_time_nanoseconds(return_time: *mut u64) -> u32;

    fn proxy_set_property(path: *const u8, path_size: usize, value: *const u8, value_size: usize) -> u32;

    fn proxy_send_local_response(
        status_code: u32,
        details: *const u8,
        details_size: usize,
        body: *const u8,
        body_size: usize,
        headers: *const u8,
        headers_size: usize,
        grpc_status: i32,
    ) -> u32;
}

/// The header map of the current context; empty where there is none.
pub(super) fn header_map(map: MapType) -> HeaderMap {
    let mut data: *mut u8 = std::ptr::null_mut();
    let mut size: usize = 0;
    #[expect(unsafe_code, reason = "a host function; the module's documentation says why it is sound")]
    let status = unsafe { proxy_get_header_map_pairs(map, &raw mut data, &raw mut size) };
    if status != OK || data.is_null() {
        return HeaderMap::default();
    }
    #[expect(
        unsafe_code,
        reason = "the buffer is the module's own; its documentation says why this is sound"
    )]
    let bytes = unsafe { Vec::from_raw_parts(data, size, size) };
    HeaderMap::from_bytes(bytes)
}

/// The lowest level that the host logs: 0 is trace, 4 is error, 6 is off. `None` if the host does not say.
pub(super) fn log_level() -> Option<u32> {
    let mut level: u32 = 0;
    #[expect(unsafe_code, reason = "a host function; the module's documentation says why it is sound")]
    let status = unsafe { proxy_get_log_level(&raw mut level) };
    (status == OK).then_some(level)
}

/// The current time. Without a clock nothing can be decided, neither which keys have expired nor what a
/// window has left. The module ends itself then, and the host refuses its requests.
pub(super) fn now() -> Timestamp {
    const NANOSECONDS: u64 = 1_000_000;
    let mut time: u64 = 0;
    #[expect(unsafe_code, reason = "a host function; the module's documentation says why it is sound")]
    let status = unsafe { proxy_get_current_time_nanoseconds(&raw mut time) };
    if status != OK {
        std::process::abort();
    }
    Timestamp::from_millis(time / NANOSECONDS)
}

/// Sets a property whose path is one segment.
pub(super) fn set_property(name: &str, value: &str) {
    #[expect(unsafe_code, reason = "a host function; the module's documentation says why it is sound")]
    let _status = unsafe { proxy_set_property(name.as_ptr(), name.len(), value.as_ptr(), value.len()) };
}

/// Answers the request of the current context. With a status of gRPC, `body` is its message.
pub(super) fn reply(status: u16, details: &str, headers: &HeaderMap, body: &str, grpc_status: Option<u8>) {
    /// No status of gRPC.
    const NONE: i32 = -1;
    let headers = headers.as_bytes();
    #[expect(unsafe_code, reason = "a host function; the module's documentation says why it is sound")]
    let _status = unsafe {
        proxy_send_local_response(
            status.into(),
            details.as_ptr(),
            details.len(),
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            grpc_status.map_or(NONE, i32::from),
        )
    };
}
