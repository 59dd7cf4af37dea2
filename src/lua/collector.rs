//! When Lua's garbage is collected.
//!
//! Lua collects on its own, step by step with each allocation, and waits between two collections
//! until the heap has grown by some part. How long it waits is set here by the size of the heap;
//! and what a script leaves behind is collected at its end if it is much.

use super::api::api;
use super::vm::Vm;
use mlua::ffi;
use std::cell::Cell;
use std::ffi::c_int;

/// A collection begins when the heap is twice what the last one left: then garbage is used again
/// while it is still in the processor's cache, which is worth more than the marking of functions
/// that stay (docs/decisions.md). A large heap is collected when it has grown by half.
const GC_PAUSE_PERCENT: c_int = 200;
const GC_PAUSE_PERCENT_LARGE: c_int = 150;
const HEAP_BYTES_LARGE: usize = 16 * 1024 * 1024;

/// A script that leaves so much, and twice what was left last time, is cleaned up after at once:
/// the next one may be long in coming.
pub(super) const HEAP_BYTES_HUGE: usize = 64 * 1024 * 1024;

pub(super) struct Collector {
    /// What the collector's pause was last set for.
    is_large: Cell<bool>,
    /// What the last collection of a huge heap left, in bytes.
    left: Cell<usize>,
}

impl Collector {
    pub fn new() -> Self {
        // Taken for large until `pace` sees that it is small.
        Self { is_large: Cell::new(true), left: Cell::new(0) }
    }
}

impl Vm {
    /// Adapts the collector to the size of the heap. A heap that has become large is collected at
    /// once, step by step, since the end of the pause was set while it was small.
    pub fn pace(&self) {
        let is_large = self.heap.used() >= HEAP_BYTES_LARGE;
        if self.collector.is_large.replace(is_large) == is_large {
            return;
        }
        let pause = if is_large { GC_PAUSE_PERCENT_LARGE } else { GC_PAUSE_PERCENT };
        api!(machine::lua_gc(self.main(), ffi::LUA_GCSETPAUSE, pause));
        if is_large {
            self.collect_step();
        }
    }

    /// Collects a step of garbage; true when a cycle is complete.
    pub fn collect_step(&self) -> bool {
        api!(machine::lua_gc(self.main(), ffi::LUA_GCSTEP, 0)) != 0
    }

    /// Collects what a script has left, if that is much.
    pub fn clean_up(&self) {
        let used = self.heap.used();
        if used >= HEAP_BYTES_HUGE && used >= 2 * self.collector.left.get() {
            api!(machine::lua_gc(self.main(), ffi::LUA_GCCOLLECT, 0));
            self.collector.left.set(self.heap.used());
        }
    }
}
