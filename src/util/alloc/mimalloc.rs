//! mimalloc, counted, for the program to install.

use super::count;
use libmimalloc_sys::{
    mi_free, mi_malloc, mi_malloc_aligned, mi_option_t, mi_realloc, mi_realloc_aligned, mi_zalloc,
    mi_zalloc_aligned,
};
use std::alloc::{GlobalAlloc, Layout};
use std::ffi::{c_long, c_void};

/// As INFO names it.
pub const NAME: &str = "mimalloc";

/// To be installed by the program as its `#[global_allocator]`; a library leaves the choice open.
pub struct Counted;

/// mimalloc's `purge_delay`, in milliseconds, which the crate has no name for.
const PURGE_DELAY: mi_option_t = 15;
const HOUR_MS: c_long = 3_600_000;

/// Leaves it to `give_back` when pages go back to the system: mimalloc would do it a second after
/// they have become empty, in the middle of whatever goes on then, and 100 MB take 8 ms.
pub fn give_back_when_asked() {
    // SAFETY: an option may be set at any time.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, HOUR_MS) }
}

/// Hands pages that have become empty back to the system.
pub fn give_back() {
    // SAFETY: it may be called at any time, and frees only what nobody holds.
    unsafe { libmimalloc_sys::mi_collect(true) }
}

/// What an allocation answers; null means that it failed and changed nothing.
#[inline]
fn counted(pointer: *mut u8, change: isize) -> *mut u8 {
    if !pointer.is_null() {
        count(change);
    }
    pointer
}

/// What mimalloc aligns to of itself, blocks of at least so many bytes.
const USUAL_ALIGN: usize = 16;

/// Nearly always; to ask for an alignment takes a third more instructions.
#[inline]
fn is_usual(align: usize, size: usize) -> bool {
    align <= USUAL_ALIGN && align <= size
}

/// A block whose size is its alignment lies right by itself; mimalloc knows this of small ones, and
/// takes twice the room for others.
#[cold]
fn malloc_aligned(size: usize, align: usize) -> *mut c_void {
    // SAFETY: as in `alloc`; a block that lies wrong is freed unused.
    unsafe {
        if size == align {
            let block = mi_malloc(size);
            if block.addr().is_multiple_of(align) {
                return block;
            }
            mi_free(block);
        }
        mi_malloc_aligned(size, align)
    }
}

// SAFETY: every call goes on to mimalloc; counting neither allocates nor panics.
unsafe impl GlobalAlloc for Counted {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let (size, align) = (layout.size(), layout.align());
        // SAFETY: mimalloc takes any size, and any alignment that is a power of two.
        let block = unsafe {
            if is_usual(align, size) { mi_malloc(size) } else { malloc_aligned(size, align) }
        };
        counted(block.cast(), size as isize)
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let (size, align) = (layout.size(), layout.align());
        // SAFETY: as in `alloc`.
        let block = unsafe {
            if is_usual(align, size) { mi_zalloc(size) } else { mi_zalloc_aligned(size, align) }
        };
        counted(block.cast(), size as isize)
    }

    #[inline]
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller promises that it came from here, so from mimalloc, by any of its ways.
        unsafe { mi_free(pointer.cast()) };
        count(-(layout.size() as isize));
    }

    #[inline]
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let (old, align) = (pointer.cast(), layout.align());
        // SAFETY: as in `dealloc` and `alloc`.
        let block = unsafe {
            if is_usual(align, new_size) {
                mi_realloc(old, new_size)
            } else {
                mi_realloc_aligned(old, new_size, align)
            }
        };
        counted(block.cast(), new_size as isize - layout.size() as isize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_is_the_one_that_is_meant() {
        const MIMALLOCS_OWN_MS: c_long = 1_000;
        // SAFETY: an option may be read at any time.
        let delay_ms = || unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) };
        assert_eq!(delay_ms(), MIMALLOCS_OWN_MS);
        give_back_when_asked();
        assert_eq!(delay_ms(), HOUR_MS);
    }
}
