//! The memory allocator, mimalloc, with a count of the bytes that are alive.
//!
//! Each thread counts for itself, without atomics, and hands its count on when it has grown by
//! `UNTOLD_MAX`. What one thread allocates and another frees cancels out in the sum, which for each
//! other thread is off by less than that. Counted is what was asked for, before rounding up to the
//! allocator's size classes.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::sync::atomic::{AtomicIsize, Ordering};

use mimalloc::MiMalloc;

const UNTOLD_MAX: isize = 16 * 1024;

/// What all threads have told.
static TOLD: AtomicIsize = AtomicIsize::new(0);

thread_local! {
    /// Has no destructor, so that it can be used until the very end of a thread.
    static UNTOLD: Cell<isize> = const { Cell::new(0) };
}

/// To be installed by the program as its `#[global_allocator]`; a library leaves the choice open.
pub struct Counted;

/// Bytes that are alive in the whole process: 0 where `Counted` is not installed.
pub fn allocated_bytes() -> usize {
    let sum = TOLD.load(Ordering::Relaxed) + UNTOLD.get();
    sum.max(0) as usize
}

/// Hands pages that have become empty back to the system.
pub fn give_back() {
    // SAFETY: it may be called at any time, and frees only what nobody holds.
    unsafe { libmimalloc_sys::mi_collect(true) }
}

#[inline]
fn count(change: isize) {
    let untold = UNTOLD.get() + change;
    if untold.abs() < UNTOLD_MAX {
        UNTOLD.set(untold);
    } else {
        UNTOLD.set(0);
        TOLD.fetch_add(untold, Ordering::Relaxed);
    }
}

/// What an allocation answers; null means that it failed and changed nothing.
#[inline]
fn counted(pointer: *mut u8, change: isize) -> *mut u8 {
    if !pointer.is_null() {
        count(change);
    }
    pointer
}

// SAFETY: every call goes on to mimalloc unchanged; counting neither allocates nor panics.
unsafe impl GlobalAlloc for Counted {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are those that mimalloc asks for.
        counted(unsafe { MiMalloc.alloc(layout) }, layout.size() as isize)
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as in `alloc`.
        counted(unsafe { MiMalloc.alloc_zeroed(layout) }, layout.size() as isize)
    }

    #[inline]
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as in `alloc`.
        unsafe { MiMalloc.dealloc(pointer, layout) }
        count(-(layout.size() as isize));
    }

    #[inline]
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let growth = new_size as isize - layout.size() as isize;
        // SAFETY: as in `alloc`.
        counted(unsafe { MiMalloc.realloc(pointer, layout, new_size) }, growth)
    }
}
