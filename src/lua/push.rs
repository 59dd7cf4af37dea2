//! Replies of commands become Lua values as they are written: no RESP text in between.

use super::stack::Stack;
use crate::proto::{Protocol, Visitor};
use std::ffi::c_int;

/// A table on the stack that still gets values.
pub(super) struct Frame {
    shape: Shape,
    /// Stack index of the table that the values go into.
    table: c_int,
    written: usize,
    /// How many values belong to it; `usize::MAX` until `close` says it.
    count: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Shape {
    /// `{a, b}`.
    Array,
    /// `{map = {a = b}}`: keys and values alternate, so `count` is twice the pairs.
    Map,
    /// `{set = {a = true}}`.
    Set,
}

/// Pushes the one value that a reply consists of.
pub(super) struct Pusher<'a> {
    lua: Stack<'a>,
    frames: &'a mut Vec<Frame>,
    base: c_int,
    /// The value itself is an error, not an element of it.
    pub is_error: bool,
    /// The reply nests deeper than the Lua stack reaches; values are dropped from there on.
    pub overflowed: bool,
}

/// A frame takes three slots (table, inner table, key), a leaf in it up to four.
const FRAME_SLOTS: c_int = 8;

/// Room made at once for announced elements, 16 bytes each. One that makes up elements without an
/// end, SRANDMEMBER with a count below zero, may be stopped long before it has written as many.
const ELEMENTS_RESERVED_MAX: usize = 64 * 1024;

/// Frames that fit the slots which every C function has.
const FRAMES_FREE: usize = 4;

impl<'a> Pusher<'a> {
    pub fn new(lua: Stack<'a>, frames: &'a mut Vec<Frame>) -> Self {
        frames.clear();
        Self { lua, frames, base: lua.top(), is_error: false, overflowed: false }
    }

    /// Where a value of one field goes: `{ok = "OK"}`.
    fn field(&mut self, name: &str, push: impl FnOnce(Stack<'_>)) {
        self.value(|lua| {
            lua.push_table(0, 1);
            push(lua);
            lua.set_field(-2, name);
        });
    }

    fn value(&mut self, push: impl FnOnce(Stack<'_>)) {
        if self.overflowed {
            return;
        }
        push(self.lua);
        self.attach();
    }

    /// Puts the value on top where it belongs, and whatever it completes.
    #[inline]
    fn attach(&mut self) {
        while let Some(frame) = self.frames.last_mut() {
            frame.written += 1;
            match frame.shape {
                Shape::Array => self.lua.set_index(frame.table, frame.written as c_int),
                Shape::Map if frame.written % 2 == 1 => return, // A key waits for its value.
                Shape::Map => self.lua.set_or_drop(frame.table),
                Shape::Set => {
                    self.lua.push_boolean(true);
                    self.lua.set_or_drop(frame.table);
                }
            }
            if frame.written < frame.count {
                return;
            }
            self.finish();
        }
    }

    /// The innermost table is complete: its outer table is left on top.
    #[inline]
    fn finish(&mut self) {
        match self.frames.pop().map(|frame| frame.shape) {
            Some(Shape::Map) => self.lua.set_field(-2, "map"),
            Some(Shape::Set) => self.lua.set_field(-2, "set"),
            _ => {}
        }
    }

    #[inline]
    fn table(&mut self, shape: Shape, count: usize) {
        let fits = self.frames.len() < FRAMES_FREE || self.lua.reserve(FRAME_SLOTS);
        self.overflowed |= !fits;
        if self.overflowed {
            return;
        }
        let count_known = if count == usize::MAX { 0 } else { count };
        match shape {
            Shape::Array => self.lua.push_table(count_known.min(ELEMENTS_RESERVED_MAX), 0),
            Shape::Map | Shape::Set => {
                self.lua.push_table(0, 1);
                self.lua.push_table(0, 0); // Grows, as the order of `pairs` depends on it.
            }
        }
        self.frames.push(Frame { shape, table: self.lua.top(), written: 0, count });
        if count == 0 {
            self.finish();
            self.attach();
        }
    }
}

impl Visitor for Pusher<'_> {
    fn status(&mut self, text: &[u8]) {
        self.field("ok", |lua| lua.push_bytes(text));
    }

    fn error(&mut self, text: &[u8]) {
        self.is_error |= self.frames.is_empty();
        self.value(|lua| push_command_error(lua, text));
    }

    fn integer(&mut self, value: i64) {
        self.value(|lua| lua.push_number(value as f64));
    }

    fn bulk(&mut self, bytes: &[u8]) {
        self.value(|lua| lua.push_bytes(bytes));
    }

    /// Nil under RESP3 only, where Redis's scripts see it as nil.
    fn null(&mut self) {
        match self.lua.vm().protocol.get() {
            Protocol::Resp2 => self.value(|lua| lua.push_boolean(false)),
            Protocol::Resp3 => self.value(|lua| lua.push_nil()),
        }
    }

    fn double(&mut self, value: f64) {
        self.field("double", |lua| lua.push_number(value));
    }

    fn boolean(&mut self, value: bool) {
        self.value(|lua| lua.push_boolean(value));
    }

    fn big_number(&mut self, digits: &[u8]) {
        self.field("big_number", |lua| lua.push_bytes(digits));
    }

    fn verbatim(&mut self, format: &[u8], bytes: &[u8]) {
        self.field("verbatim_string", |lua| {
            lua.push_table(0, 2);
            lua.push_bytes(bytes);
            lua.set_field(-2, "string");
            lua.push_bytes(format);
            lua.set_field(-2, "format");
        });
    }

    fn array(&mut self, count: usize) {
        self.table(Shape::Array, count);
    }

    fn map(&mut self, pairs: usize) {
        self.table(Shape::Map, pairs * 2);
    }

    fn set(&mut self, count: usize) {
        self.table(Shape::Set, count);
    }

    fn open(&mut self) -> usize {
        self.table(Shape::Array, usize::MAX);
        0
    }

    fn close(&mut self, _slot: usize, _count: usize) {
        if !self.overflowed {
            self.finish();
            self.attach();
        }
    }

    fn is_full(&self) -> bool {
        self.lua.vm().heap.is_exceeded()
    }

    /// The depth and what the innermost table holds: the stack follows from them.
    fn mark(&mut self) -> usize {
        let written = self.frames.last().map_or(0, |frame| frame.written);
        self.frames.len() << 32 | written
    }

    fn rollback(&mut self, mark: usize) {
        let (depth, written) = (mark >> 32, mark & 0xffff_ffff);
        self.frames.truncate(depth);
        self.is_error &= depth > 0;
        self.overflowed = false;
        let Some(frame) = self.frames.last_mut() else {
            self.lua.set_top(self.base);
            return;
        };
        self.lua.set_top(frame.table);
        while frame.shape == Shape::Array && frame.written > written {
            self.lua.push_nil();
            self.lua.set_index(frame.table, frame.written as c_int);
            frame.written -= 1;
        }
    }
}

/// Marks the table of an error that a command gave, which has been counted.
pub(super) const IS_COUNTED: &str = "ignore_error_stats_update";

pub(super) fn push_command_error(lua: Stack<'_>, text: &[u8]) {
    lua.push_error_table(text);
    lua.push_boolean(true);
    lua.set_field(-2, IS_COUNTED);
}

/// Takes a reply that the script throws away; only its being an error matters.
#[derive(Default)]
pub(super) struct Discard {
    has_begun: bool,
    pub error: Option<Vec<u8>>,
}

impl Visitor for Discard {
    fn error(&mut self, text: &[u8]) {
        if !self.has_begun {
            self.error = Some(text.to_owned());
        }
        self.has_begun = true;
    }

    fn status(&mut self, _: &[u8]) {
        self.has_begun = true;
    }

    fn integer(&mut self, _: i64) {
        self.has_begun = true;
    }

    fn bulk(&mut self, _: &[u8]) {
        self.has_begun = true;
    }

    fn null(&mut self) {
        self.has_begun = true;
    }

    fn array(&mut self, _: usize) {
        self.has_begun = true;
    }

    fn open(&mut self) -> usize {
        self.has_begun = true;
        0
    }

    fn close(&mut self, _: usize, _: usize) {}

    fn mark(&mut self) -> usize {
        0
    }

    fn rollback(&mut self, _: usize) {
        *self = Self::default();
    }

    fn is_full(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::{MEMORY_BYTES_MAX, check, check_resp3, run};
    use super::super::{Lua, Sha};
    use super::*;

    #[test]
    fn replies_become_lua_values() {
        check("return redis.call('echo', 'x').. #redis.call('list', 'a', 'b')", r"$2\r\nx2\r\n");
        check("return redis.call('ok').ok", r"$2\r\nOK\r\n");
        check("return redis.call('null') == false", r":1\r\n");
        check("return redis.call('later', 'a', 'b')", r"*2\r\n$1\r\na\r\n$1\r\nb\r\n");
        check("return redis.call('regret')", r":2\r\n");
        check("return redis.call('list')", r"*0\r\n");
        check("return redis.call('map', 'k', 'v')[2]", r"$1\r\nv\r\n");
        check("return redis.call('double')", r"$3\r\n1.5\r\n");
        check(
            "local t = redis.call('deep') local n = 0 while type(t) == 'table' do t = t[1] n = n + 1 end return n",
            r":20\r\n",
        );
    }

    #[test]
    fn replies_become_lua_values_in_resp3() {
        let check = |source: &str, expect: &str| {
            check_resp3(&format!("redis.setresp(3) {source}"), expect);
        };
        check("return redis.call('null') == nil", r"#t\r\n");
        check("return redis.call('map', 'k', 'v').map.k", r"$1\r\nv\r\n");
        check("return redis.call('set', 'k').set.k", r"#t\r\n");
        check("return redis.call('double').double", r":1\r\n");
        check("return redis.call('boolean')", r"#t\r\n");
        check("return redis.call('nested')", r"*2\r\n%1\r\n$1\r\nk\r\n*0\r\n~0\r\n");
    }

    #[test]
    fn statements_run_and_raise_though_nobody_takes_the_reply() {
        check("redis.call('ok') redis.call('list', 'a') return 1", r":1\r\n");
        let sha = Sha::of(b"redis.call('nosuch') return 1");
        let expect = format!("ERR no script: {sha}, on @user_script:1.");
        check("redis.call('nosuch') return 1", &expect);
        check("redis.pcall('nosuch') return 1", r":1\r\n");
    }

    #[test]
    fn a_reply_without_end_ends_where_memory_does() {
        let mut lua = Lua::new(MEMORY_BYTES_MAX);
        let mut ask = |source: &str| run(&mut lua, source, &[], Protocol::Resp2, false);
        let found = ask("return redis.pcall('endless').err");
        assert_eq!(found, r"$21\r\nERR not enough memory\r\n");
        // What nobody looks at is not made.
        assert_eq!(ask("redis.call('endless') return 1"), r":1\r\n");
    }
}
