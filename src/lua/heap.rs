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

#[cfg(test)]
mod tests {
    use super::super::collector::HEAP_BYTES_HUGE;
    use super::super::fake::{MEMORY_BYTES_MAX, run};
    use super::super::{Lua, Sha};
    use crate::proto::Protocol;

    #[test]
    fn memory_is_bounded_and_comes_back() {
        let mut lua = Lua::new(MEMORY_BYTES_MAX);
        let source = "local t = {} while true do t[#t + 1] = string.rep('x', 1e5) .. #t end";
        let sha = Sha::of(source.as_bytes());
        let found = run(&mut lua, source, &[], Protocol::Resp2, false);
        assert_eq!(found, format!("ERR Error running script {sha}, not enough memory"));
        while !lua.collect_step() {}
        assert!(lua.memory_bytes() < MEMORY_BYTES_MAX / 10, "{}", lua.memory_bytes());
    }

    #[test]
    fn what_is_built_in_one_go_is_bounded_and_does_not_stay() {
        let many = "local t = {1} for i = 1, 30 do t = {t, t, t, t, t, t, t, t} end";
        let wide =
            "local t, w = {} for i = 1, 15 do w = {} for j = 1, 50 do w[j] = t end t = w end";
        let large = "local s = string.rep('x', 1e7)";
        for (source, refusal) in [
            ("return string.rep('x', 1e10)".to_owned(), "resulting string too large"),
            ("return #string.rep('', 1e10)".to_owned(), ":0"),
            (format!("{many} return cjson.encode(t)"), "resulting string too large"),
            (format!("{wide} return cmsgpack.pack(t)"), "resulting string too large"),
            (format!("{large} return struct.pack(string.rep('s', 60), s, s)"), "bad argument"),
            (format!("{large} while true do s = s .. s end"), "not enough memory"),
            (format!("{large} return string.format(string.rep('%s', 9), s)"), "bad argument"),
            ("return string.format('%99999999s', 'x')".to_owned(), "invalid format"),
            (
                format!("{large} return string.gsub(s, '.', string.rep('y', 100))"),
                "not enough memory",
            ),
            (
                format!(
                    "{large} local t = {{}} for i = 1, 1000 do t[i] = s end return table.concat(t)"
                ),
                "not enough memory",
            ),
            ("local t = {} while true do t[#t + 1] = {} end".to_owned(), "not enough memory"),
        ] {
            let mut lua = Lua::new(2 * HEAP_BYTES_HUGE);
            let found = run(&mut lua, &source, &[], Protocol::Resp2, false);
            assert!(found.contains(refusal), "{source}: {found}");
            let left = lua.memory_bytes();
            assert!(left < HEAP_BYTES_HUGE, "{source}: {left}");
            assert_eq!(run(&mut lua, "return 1", &[], Protocol::Resp2, false), r":1\r\n");
        }
    }
}
