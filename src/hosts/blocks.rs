//! The module's memory: freed blocks are kept by size, and given out again.
//!
//! A request allocates and frees the same few sizes as the one before it. The system's allocator searches
//! and joins blocks each time, which takes five times as long as taking one from a list.
//!
//! This is sound because
//!
//! * the module has one thread, and nothing here calls back, so nobody else uses the lists meanwhile;
//! * a class is less than the number of lists, so its list exists;
//! * a block in a list was freed, so nobody else uses it. It is at least 16 bytes long and aligned to 8, so a
//!   pointer to the next block fits into it. It was written there when the block was put into the list;
//! * all blocks of a list were allocated with the same layout, that of `Class::layout`. They are given back
//!   to the system's allocator with that layout. A layout has the same class each time it is asked for.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::UnsafeCell,
    ptr::null_mut,
};

/// Blocks of a list differ from those of the next list by this many bytes.
const STEP: usize = 16;

/// The number of lists. Longer blocks are left to the system's allocator.
const LISTS: usize = 256;

/// The most bytes in a list. All full lists together have 1 MiB.
const MOST: usize = 4096;

/// The alignment of all blocks.
const ALIGNMENT: usize = 8;

/// An allocator that keeps freed blocks, for a module with one thread.
pub struct Blocks(UnsafeCell<[List; LISTS]>);

#[derive(Clone, Copy)]
struct List {
    first: *mut u8,
    /// The bytes of all blocks in it.
    bytes: usize,
}

/// The list that a layout belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Class(usize);

#[expect(unsafe_code, reason = "the module has one thread")]
unsafe impl Sync for Blocks {}

impl Class {
    const fn of(layout: Layout) -> Option<Self> {
        // A layout without a size is never asked for. It would have no list.
        let class = layout.size().wrapping_sub(1) / STEP;
        if layout.align() <= ALIGNMENT && class < LISTS { Some(Self(class)) } else { None }
    }

    /// The size of all blocks of the list.
    const fn size(self) -> usize {
        self.0.wrapping_add(1).wrapping_mul(STEP)
    }

    /// The layout of all blocks of the list.
    fn layout(self) -> Layout {
        Layout::from_size_align(self.size(), ALIGNMENT).unwrap_or(Layout::new::<[u64; 2]>())
    }
}

impl Blocks {
    /// No blocks yet.
    pub const fn new() -> Self {
        Self(UnsafeCell::new([List { first: null_mut(), bytes: 0 }; LISTS]))
    }

    const fn list(&self, class: Class) -> *mut List {
        self.0.get().cast::<List>().wrapping_add(class.0)
    }
}

impl Default for Blocks {
    fn default() -> Self {
        Self::new()
    }
}

#[expect(unsafe_code, reason = "the module's documentation says why this is sound")]
unsafe impl GlobalAlloc for Blocks {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(class) = Class::of(layout) else { return unsafe { System.alloc(layout) } };
        let list = self.list(class);
        unsafe {
            let block = (*list).first;
            if block.is_null() {
                return System.alloc(class.layout());
            }
            (*list).first = block.cast::<*mut u8>().read();
            (*list).bytes = (*list).bytes.wrapping_sub(class.size());
            block
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some(class) = Class::of(layout) else { return unsafe { System.dealloc(block, layout) } };
        let list = self.list(class);
        unsafe {
            let bytes = (*list).bytes.wrapping_add(class.size());
            if bytes > MOST {
                return System.dealloc(block, class.layout());
            }
            block.cast::<*mut u8>().write((*list).first);
            (*list).first = block;
            (*list).bytes = bytes;
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Ok(new) = Layout::from_size_align(size, layout.align()) else { return null_mut() };
        match (Class::of(layout), Class::of(new)) {
            (None, None) => unsafe { System.realloc(block, layout, size) },
            (Some(old), Some(new)) if old == new => block,
            _ => {
                let moved = unsafe { self.alloc(new) };
                if !moved.is_null() {
                    unsafe {
                        block.copy_to_nonoverlapping(moved, layout.size().min(size));
                        self.dealloc(block, layout);
                    }
                }
                moved
            }
        }
    }
}

#[cfg(test)]
#[expect(unsafe_code, reason = "the tests are about it")]
mod tests {
    use super::*;

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).unwrap()
    }

    #[test]
    fn a_freed_block_is_given_out_again_for_the_same_sizes() {
        let blocks = Blocks::new();
        unsafe {
            let one = blocks.alloc(layout(17, 1));
            one.write_bytes(1, 32);
            blocks.dealloc(one, layout(17, 1));
            assert_ne!(blocks.alloc(layout(16, 1)), one);
            assert_ne!(blocks.alloc(layout(33, 1)), one);
            assert_eq!(blocks.alloc(layout(32, 8)), one);
            assert_ne!(blocks.alloc(layout(32, 8)), one, "it is in use");
        }
    }

    #[test]
    fn a_list_keeps_no_more_than_its_bytes() {
        for (size, most) in [(16, 256), (1_000, 4), (4_096, 1)] {
            let (blocks, layout) = (Blocks::new(), layout(size, 8));
            unsafe {
                let mut all: Vec<_> = (0..most + 5).map(|_| blocks.alloc(layout)).collect();
                all.iter().for_each(|block| blocks.dealloc(*block, layout));
                let list = blocks.list(Class::of(layout).unwrap());
                assert_eq!((*list).bytes, most * size.next_multiple_of(STEP));
                let mut kept: Vec<_> = (0..most).map(|_| blocks.alloc(layout)).collect();
                assert!((*list).first.is_null());
                all.truncate(most);
                all.sort_unstable();
                kept.sort_unstable();
                assert_eq!(kept, all);
            }
        }
    }

    #[test]
    fn a_block_keeps_its_content_when_its_size_changes() {
        let blocks = Blocks::new();
        unsafe {
            let mut size = 1;
            let mut block = blocks.alloc(layout(size, 1));
            block.write(7);
            for next in [9, 16, 17, 4_000, 4_096, 4_097, 100_000, 2_000, 40, 3] {
                block = blocks.realloc(block, layout(size, 1), next);
                let kept = std::slice::from_raw_parts(block, size.min(next));
                assert!(kept.iter().all(|byte| *byte == 7), "{size} to {next}");
                block.write_bytes(7, next);
                size = next;
            }
            blocks.dealloc(block, layout(size, 1));
        }
    }

    #[test]
    fn long_and_widely_aligned_blocks_are_the_systems() {
        for (size, align) in [(4_097, 8), (100_000, 1), (16, 16), (64, 64)] {
            assert!(Class::of(layout(size, align)).is_none(), "{size} {align}");
        }
        assert!(Class::of(layout(1, 1)).is_some() && Class::of(layout(4_096, 8)).is_some());
    }
}
