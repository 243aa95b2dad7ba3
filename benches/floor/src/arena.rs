//! Memory for what the host hands over: taken from the front, and all given back at once.

use core::{
    cell::UnsafeCell,
    ptr::null_mut,
    sync::atomic::{AtomicUsize, Ordering},
};

/// Far more than one request of the benchmark needs.
const SIZE: usize = 64 * 1024;
const ALIGNMENT: usize = 8;

#[repr(align(8))]
struct Arena(UnsafeCell<[u8; SIZE]>);

// SAFETY: the module has one thread.
unsafe impl Sync for Arena {}

static ARENA: Arena = Arena(UnsafeCell::new([0; SIZE]));
static USED: AtomicUsize = AtomicUsize::new(0);

/// Gives everything back. Nothing that was allocated may be read after it.
pub fn reset() {
    USED.store(0, Ordering::Relaxed);
}

/// Null if it does not fit.
pub fn allocate(size: usize) -> *mut u8 {
    let start = USED.load(Ordering::Relaxed);
    let end = size.checked_next_multiple_of(ALIGNMENT).and_then(|size| start.checked_add(size));
    match end {
        Some(end) if end <= SIZE => {
            USED.store(end, Ordering::Relaxed);
            ARENA.0.get().cast::<u8>().wrapping_add(start)
        }
        _ => null_mut(),
    }
}
