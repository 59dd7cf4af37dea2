//! Lua's memory: the global allocator, counted, and limited while the VM itself runs.
//!
//! Lua answers a refused allocation with `longjmp`. Inside Rust that would leave frames undropped,
//! so the limit is lifted for as long as a Rust function runs: `enter` checks it, `leave` restores
//! it.

use super::vm::Vm;
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error, realloc};
use std::cell::Cell;
use std::ffi::c_void;
use std::ptr::null_mut;

/// Lua aligns for its largest value, a double or a pointer.
const ALIGN: usize = align_of::<f64>();

pub(super) struct Heap {
    used: Cell<usize>,
    limit: usize,
    lifted: Cell<bool>,
}

impl Heap {
    pub fn new(limit: usize) -> Self {
        Self { used: Cell::new(0), limit, lifted: Cell::new(true) }
    }

    pub fn used(&self) -> usize {
        self.used.get()
    }

    /// Lifts the limit; false if it is exceeded already.
    pub fn enter(&self) -> bool {
        self.lifted.set(true);
        !self.is_exceeded()
    }

    pub fn leave(&self) {
        self.lifted.set(false);
    }

    /// Whether more is in use than the limit allows, lifted or not.
    pub fn is_exceeded(&self) -> bool {
        self.used.get() > self.limit
    }

    fn admits(&self, growth: usize) -> bool {
        self.lifted.get() || self.used.get().saturating_add(growth) <= self.limit
    }
}

/// Lua's one allocation function: `new_size` 0 frees, a null `block` allocates.
pub(super) unsafe extern "C" fn allocate(
    context: *mut c_void,
    block: *mut c_void,
    old_size: usize,
    new_size: usize,
) -> *mut c_void {
    // SAFETY: `Vm::new` passed the address of the VM, which outlives its state.
    let heap = unsafe { &(*context.cast::<Vm>()).heap };
    // SAFETY: Lua never asks for more than `isize::MAX`, and says the size of each block it
    // returns.
    unsafe {
        let layout = |size| Layout::from_size_align_unchecked(size, ALIGN);
        if new_size == 0 {
            if !block.is_null() {
                heap.used.set(heap.used.get() - old_size);
                dealloc(block.cast(), layout(old_size));
            }
            return null_mut();
        }
        let old_size = if block.is_null() { 0 } else { old_size };
        if new_size > old_size && !heap.admits(new_size - old_size) {
            return null_mut();
        }
        let moved = if block.is_null() {
            alloc(layout(new_size))
        } else {
            realloc(block.cast(), layout(old_size), new_size)
        };
        if moved.is_null() {
            handle_alloc_error(layout(new_size));
        }
        heap.used.set(heap.used.get() + new_size - old_size);
        moved.cast()
    }
}
