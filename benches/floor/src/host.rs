//! The host calls, as functions that are safe to call.
//!
//! Every `unsafe` block here is sound for the same two reasons. The addresses that it hands to the host are
//! those of slices and variables that outlive the call. And a slice that it makes of a result lies in the
//! arena, where nothing is written again before the next request resets it, which is after the last use of
//! the slice.

use core::{ptr::null, slice};

/// What a host call returned.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct Status(u32);

impl Status {
    const OK: Self = Self(0);
    pub const NOT_FOUND: Self = Self(1);

    fn ok(self) -> Result<(), Self> {
        if self == Self::OK { Ok(()) } else { Err(self) }
    }
}

const REQUEST_HEADERS: u32 = 0;
const COUNTER: u32 = 0;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_get_header_map_pairs(map: u32, data: *mut *const u8, size: *mut usize) -> Status;
    fn proxy_replace_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> Status;
    fn proxy_remove_header_map_value(map: u32, name: *const u8, name_size: usize) -> Status;
    fn proxy_get_current_time_nanoseconds(time: *mut u64) -> Status;
    fn proxy_get_shared_data(
        key: *const u8,
        key_size: usize,
        data: *mut *const u8,
        size: *mut usize,
        version: *mut u32,
    ) -> Status;
    fn proxy_set_shared_data(
        key: *const u8,
        key_size: usize,
        value: *const u8,
        value_size: usize,
        version: u32,
    ) -> Status;
    fn proxy_define_metric(kind: u32, name: *const u8, name_size: usize, id: *mut u32) -> Status;
    fn proxy_increment_metric(id: u32, offset: i64) -> Status;
}

/// The request headers as the host wrote them.
pub fn request_headers<'r>() -> Result<&'r [u8], Status> {
    let (mut data, mut size) = (null(), 0);
    // SAFETY: see above.
    unsafe {
        proxy_get_header_map_pairs(REQUEST_HEADERS, &raw mut data, &raw mut size).ok()?;
        Ok(bytes(data, size))
    }
}

/// Replaces a request header.
pub fn set_request_header((name, value): (&[u8], &[u8])) -> Result<(), Status> {
    // SAFETY: see above.
    unsafe {
        proxy_replace_header_map_value(
            REQUEST_HEADERS,
            name.as_ptr(),
            name.len(),
            value.as_ptr(),
            value.len(),
        )
        .ok()
    }
}

/// Removes a request header.
pub fn remove_request_header(name: &[u8]) -> Result<(), Status> {
    // SAFETY: see above.
    unsafe { proxy_remove_header_map_value(REQUEST_HEADERS, name.as_ptr(), name.len()).ok() }
}

/// Nanoseconds since 1970.
pub fn now() -> Result<u64, Status> {
    let mut time = 0;
    // SAFETY: see above.
    unsafe { proxy_get_current_time_nanoseconds(&raw mut time).ok()? };
    Ok(time)
}

/// A value of the shared data, and the version to write it back with.
pub fn shared_data<'r>(key: &[u8]) -> Result<(&'r [u8], u32), Status> {
    let (mut data, mut size, mut version) = (null(), 0, 0);
    // SAFETY: see above.
    unsafe {
        proxy_get_shared_data(key.as_ptr(), key.len(), &raw mut data, &raw mut size, &raw mut version)
            .ok()?;
        Ok((bytes(data, size), version))
    }
}

/// Writes a value, unless its version has changed.
pub fn set_shared_data(key: &[u8], value: &[u8], version: u32) -> Result<(), Status> {
    // SAFETY: see above.
    unsafe { proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), version).ok() }
}

/// Defines a counter, and returns its id.
pub fn define_counter(name: &[u8]) -> Result<u32, Status> {
    let mut id = 0;
    // SAFETY: see above.
    unsafe { proxy_define_metric(COUNTER, name.as_ptr(), name.len(), &raw mut id).ok()? };
    Ok(id)
}

/// Adds one to a counter.
pub fn increment(id: u32) -> Result<(), Status> {
    // SAFETY: no address is involved.
    unsafe { proxy_increment_metric(id, 1).ok() }
}

/// Empty for the null pointer, which the host returns for nothing.
unsafe fn bytes<'r>(data: *const u8, size: usize) -> &'r [u8] {
    if data.is_null() {
        return &[];
    }
    // SAFETY: the host wrote so many bytes into the arena; see above.
    unsafe { slice::from_raw_parts(data, size) }
}
