//! A bare proxy-wasm filter, without SDK, that makes only the host calls that an API key with a meter needs.
//! What it adds to a request is the unit in which `make bench` counts instructions, and in which the budgets
//! are set.
//!
//! For every request it
//!
//! 1. gets the request headers in one call and scans them where the host put them,
//! 2. reads the clock,
//! 3. reads a meter from the shared data, and writes it back if nobody else did meanwhile,
//! 4. sets two request headers and removes one,
//! 5. increments one counter.
//!
//! It compares no digest, matches no path and keeps no window: all of that is the gate's own work. It exports
//! what the host requires and the callbacks without which no filter can keep state for a request: its
//! creation, its headers and its deletion. Callbacks of the response are not among them. What the host
//! allocates in the module lies in an arena, which is reset when a request's headers arrive.

#![no_std]
// The subject is the boundary itself: linear memory that the host fills, and functions that take addresses in
// it.
#![expect(unsafe_code, reason = "host calls without SDK take pointers")]

mod arena;
mod host;

use core::sync::atomic::{AtomicU32, Ordering};

use host::Status;

const KEY_HEADER: &[u8] = b"apikey";
const CONSUMER: (&[u8], &[u8]) = (b"x-consumer", b"consumer-7");
const PLAN: (&[u8], &[u8]) = (b"x-plan", b"basic");
const METER: &[u8] = b"meter/consumer-7";
const COUNTER: &[u8] = b"floor.admitted";

/// Three windows, each with a start and a count.
const METER_SIZE: usize = 48;

/// The id of the counter, from the host.
static COUNTER_ID: AtomicU32 = AtomicU32::new(0);

#[panic_handler]
fn trap(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}

#[unsafe(no_mangle)]
extern "C" fn proxy_abi_version_0_2_1() {}

#[unsafe(no_mangle)]
extern "C" fn _initialize() {}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    arena::allocate(size)
}

/// Returns 1 if the configuration is accepted.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_configure(_root_context: u32, _size: usize) -> u32 {
    arena::reset();
    match host::define_counter(COUNTER) {
        Ok(id) => {
            COUNTER_ID.store(id, Ordering::Relaxed);
            1
        }
        Err(_) => 0,
    }
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_context_create(_context: u32, _parent: u32) {}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_delete(_context: u32) {}

/// Returns 0, so that the host continues with the request, or traps.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_headers(_context: u32, _headers: usize, _end_of_stream: u32) -> u32 {
    arena::reset();
    if admit().is_err() {
        core::arch::wasm32::unreachable();
    }
    0
}

fn admit() -> Result<(), Status> {
    let headers = host::request_headers()?;
    if !has_what_a_gate_reads(headers) {
        return Err(Status::NOT_FOUND);
    }
    let now = host::now()?;
    charge(now)?;
    host::set_request_header(CONSUMER)?;
    host::set_request_header(PLAN)?;
    host::remove_request_header(KEY_HEADER)?;
    host::increment(COUNTER_ID.load(Ordering::Relaxed))
}

/// Whether there is a method, a host, a path and a key. The map is a number of pairs, the sizes of all names
/// and values, and then these, each with a zero byte behind it.
fn has_what_a_gate_reads(map: &[u8]) -> bool {
    let wanted: [&[u8]; 4] = [b":method", b":authority", b":path", KEY_HEADER];
    let mut found = 0;
    let Some(pairs) = number(map, 0) else { return false };
    let mut at = 4 + pairs * 8;
    for pair in 0..pairs {
        let (Some(name), Some(value)) = (number(map, 4 + pair * 8), number(map, 8 + pair * 8)) else {
            return false;
        };
        let Some(text) = map.get(at..at + name) else { return false };
        found += usize::from(wanted.contains(&text));
        at += name + value + 2;
    }
    found == wanted.len()
}

fn number(map: &[u8], at: usize) -> Option<usize> {
    let bytes = map.get(at..at + 4)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?) as usize)
}

/// Adds one to the count of each window, and writes the meter if it is still the one that was read.
fn charge(now: u64) -> Result<(), Status> {
    let mut meter = [0; METER_SIZE];
    let version = match host::shared_data(METER) {
        Ok((kept, version)) => {
            meter.copy_from_slice(kept.get(..METER_SIZE).ok_or(Status::NOT_FOUND)?);
            version
        }
        Err(Status::NOT_FOUND) => 0,
        Err(status) => return Err(status),
    };
    for window in meter.chunks_exact_mut(16) {
        let (start, count) = window.split_at_mut(8);
        if start == [0; 8] {
            start.copy_from_slice(&now.to_le_bytes());
        }
        let counted = u64::from_le_bytes((&*count).try_into().map_err(|_| Status::NOT_FOUND)?);
        count.copy_from_slice(&(counted + 1).to_le_bytes());
    }
    host::set_shared_data(METER, &meter, version)
}
