//! A count of the bytes that are alive, and the memory allocator, mimalloc, that counts them.
//!
//! Each thread counts for itself, without atomics, and hands its count on when it has grown by
//! `UNTOLD_MAX`. What one thread allocates and another frees cancels out in the sum, which for each
//! other thread is off by less than that. Counted is what was asked for, before rounding up to the
//! allocator's size classes.
//!
//! Without the feature `mimalloc` toril is part of a program that has an allocator of its own.

#[cfg(feature = "mimalloc")]
mod mimalloc;

#[cfg(feature = "mimalloc")]
pub use mimalloc::{Counted, NAME, give_back, give_back_when_asked};

use std::cell::Cell;
use std::sync::atomic::{AtomicIsize, Ordering};

const UNTOLD_MAX: isize = 16 * 1024;

/// What all threads have told.
static TOLD: AtomicIsize = AtomicIsize::new(0);

thread_local! {
    /// Has no destructor, so that it can be used until the very end of a thread.
    static UNTOLD: Cell<isize> = const { Cell::new(0) };
}

/// Bytes that are alive in the whole process: 0 where `Counted` is not installed.
pub fn allocated_bytes() -> usize {
    let sum = TOLD.load(Ordering::Relaxed) + UNTOLD.get();
    sum.max(0) as usize
}

/// As INFO names the allocator of a program that we are part of.
#[cfg(not(feature = "mimalloc"))]
pub const NAME: &str = "libc";

/// That allocator decides when pages go back to the system.
#[cfg(not(feature = "mimalloc"))]
pub fn give_back() {}

/// As `give_back`.
#[cfg(not(feature = "mimalloc"))]
pub fn give_back_when_asked() {}

/// Notes bytes that have come or gone by other ways than `Counted`.
#[inline]
pub(super) fn count(change: isize) {
    let untold = UNTOLD.get() + change;
    if untold.abs() < UNTOLD_MAX {
        UNTOLD.set(untold);
    } else {
        UNTOLD.set(0);
        TOLD.fetch_add(untold, Ordering::Relaxed);
    }
}
