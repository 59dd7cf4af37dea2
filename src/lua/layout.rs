//! Where Lua 5.1 keeps its values, as lobject.h and lstate.h lay them out. Some things scripts do
//! so often that a call of the C interface costs more than the work; here arguments are read and
//! plain values pushed without one.
//!
//! `check` makes sure at start-up that everything lies where it is sought. A test compiles what
//! stands here against Lua's headers. A fuzz target runs scripts with and without what stands here.

use super::api::api;
use super::stack::{LuaKind, Stack};
use super::vm::Vm;
use mlua::ffi::{self, lua_State};
use std::ffi::{c_int, c_uint, c_void};
use std::ptr::null;

/// Declares structures of Lua's, as far as somebody here looks into them. Each is named with the
/// type, and each field with the member, that a test compares it with.
macro_rules! mirrors {
    ($(
        $(#[$about:meta])*
        $visible:vis struct $name:ident = $c_type:literal {
            $($(#[$about_field:meta])* $field:ident: $type:ty = $member:literal,)*
        }
    )*) => {
        $(
            $(#[$about])*
            #[repr(C)]
            $visible struct $name {
                $($(#[$about_field])* $field: $type,)*
            }
        )*

        /// Type, member, its offset and its size.
        #[cfg(test)]
        const MIRRORED: &[(&str, &str, usize, usize)] = &[$($((
            $c_type,
            $member,
            std::mem::offset_of!($name, $field),
            size_of::<$type>(),
        ),)*)*];
    };
}

// Every object begins with the next one, its kind and the collector's marks.
mirrors! {
    /// A value: on the stack, or in the array of a table.
    #[derive(Clone, Copy)]
    pub(super) struct LuaValue = "TValue" {
        content: LuaContent = "value",
        kind: c_int = "tt",
    }

    /// A string; its bytes follow.
    struct LuaString = "TString" {
        next: *const c_void = "tsv.next",
        kind: u8 = "tsv.tt",
        marks: u8 = "tsv.marked",
        is_reserved: u8 = "tsv.reserved",
        hash: c_uint = "tsv.hash",
        len: usize = "tsv.len",
    }

    struct LuaTable = "Table" {
        next: *const c_void = "next",
        kind: u8 = "tt",
        marks: u8 = "marked",
        flags: u8 = "flags",
        node_bits: u8 = "lsizenode",
        metatable: *const c_void = "metatable",
        array: *mut LuaValue = "array",
        nodes: *const LuaNode = "node",
        last_free: *const c_void = "lastfree",
        gray_next: *const c_void = "gclist",
        array_len: c_int = "sizearray",
    }

    /// An entry of a table beside its array.
    struct LuaNode = "Node" {
        value: LuaValue = "i_val",
    }

    /// The record of a call under way.
    struct LuaCall = "CallInfo" {
        base: *const LuaValue = "base",
        function: *const LuaValue = "func",
        /// The end of the stack that it may use.
        top: *const LuaValue = "top",
        saved_place: *const c_void = "savedpc",
        results_wanted: c_int = "nresults",
    }

    /// What all states of a VM share.
    struct LuaShared = "global_State" {
        strings: *const c_void = "strt.hash",
        string_count: c_uint = "strt.nuse",
        string_slots: c_int = "strt.size",
        allocate: *const c_void = "frealloc",
        allocate_context: *const c_void = "ud",
    }

    /// The state of a coroutine, or the main one.
    struct LuaThread = "lua_State" {
        next: *const c_void = "next",
        kind: u8 = "tt",
        marks: u8 = "marked",
        status: u8 = "status",
        /// The first free slot.
        top: *mut LuaValue = "top",
        /// The first slot of the running function.
        base: *mut LuaValue = "base",
        shared: *const LuaShared = "l_G",
        call: *const LuaCall = "ci",
    }
}

#[repr(C)]
#[derive(Clone, Copy)]
union LuaContent {
    object: *const c_void,
    number: f64,
    boolean: c_int,
}

/// Set in an object's marks when the collector is through with it: what it then comes to hold must
/// be told to the collector.
const BLACK: u8 = 1 << 2;

impl LuaValue {
    pub const NIL: Self = Self { content: LuaContent { boolean: 0 }, kind: ffi::LUA_TNIL };

    pub fn of_number(number: f64) -> Self {
        Self { content: LuaContent { number }, kind: ffi::LUA_TNUMBER }
    }

    pub fn of_boolean(value: bool) -> Self {
        let content = LuaContent { boolean: c_int::from(value) };
        Self { content, kind: ffi::LUA_TBOOLEAN }
    }

    pub fn kind(self) -> LuaKind {
        LuaKind::of(self.kind)
    }

    /// The number that this is; None if it is no number, be it a string that reads as one.
    pub fn number(self) -> Option<f64> {
        match self.kind {
            // SAFETY: the kind says what the content is.
            ffi::LUA_TNUMBER => Some(unsafe { self.content.number }),
            _ => None,
        }
    }

    /// The string that this is; None if it is no string, be it a number.
    ///
    /// # Safety
    ///
    /// Lua can reach the string, from its stack or otherwise, as long as the bytes are used.
    pub unsafe fn bytes<'a>(self) -> Option<&'a [u8]> {
        // SAFETY: the kind says what the content is; a string's bytes follow it, and neither move
        // nor change while it lives, as the caller sees to.
        (self.kind == ffi::LUA_TSTRING).then(|| unsafe {
            let text = self.content.object.cast::<LuaString>();
            std::slice::from_raw_parts(text.add(1).cast(), (*text).len)
        })
    }

    /// Whether Lua takes it for true.
    pub fn is_truth(self) -> bool {
        match self.kind {
            ffi::LUA_TNIL => false,
            // SAFETY: the kind says what the content is.
            ffi::LUA_TBOOLEAN => unsafe { self.content.boolean != 0 },
            _ => true,
        }
    }

    /// The table that this is. It lives as long as Lua can reach it.
    fn table(self) -> Option<*const LuaTable> {
        // SAFETY: the kind says what the content is.
        (self.kind == ffi::LUA_TTABLE).then(|| unsafe { self.content.object.cast() })
    }
}

// What a `Stack` promises makes the state one that may be looked into: it is alive, so its stack
// and the record of the running call are as well. Each of these is there for its moment only: the
// stack moves when it grows.
impl<'vm> Stack<'vm> {
    fn thread(self) -> *mut LuaThread {
        self.state().cast()
    }

    /// Whether values are read and written where they lie: but for a fuzzer, which compares with
    /// the C interface, always.
    fn is_direct(self) -> bool {
        #[cfg(fuzzing)]
        return self.vm().is_direct.get();
        #[cfg(not(fuzzing))]
        true
    }

    /// The VM that this state belongs to: the allocator's context leads to it.
    pub fn vm(self) -> &'vm Vm {
        let context = self.allocator_context();
        #[cfg(fuzzing)]
        assert_eq!(context, self.stock_allocator_context());
        // SAFETY: a `Stack`'s state is one that `Machine::new` made with its VM as the context, or
        // a coroutine of that. The VM outlives its state.
        unsafe { &*context.cast::<Vm>() }
    }

    /// The arguments of the running function, and what it has pushed; None if they may not be
    /// looked at.
    ///
    /// # Safety
    ///
    /// Nothing is pushed or popped as long as they are used.
    pub unsafe fn slots(self) -> Option<&'vm [LuaValue]> {
        // SAFETY: both lie in the stack, `base` first, and values in between. The caller sees to
        // it that they stay there.
        self.is_direct().then(|| unsafe {
            let LuaThread { top, base, .. } = *self.thread();
            std::slice::from_raw_parts(base, top.offset_from_unsigned(base))
        })
    }

    /// How many values the running function has, arguments included.
    pub fn top(self) -> c_int {
        if !self.is_direct() {
            return api!(reads::lua_gettop(self));
        }
        // SAFETY: both lie in the stack, `base` first.
        unsafe {
            let LuaThread { top, base, .. } = *self.thread();
            top.offset_from_unsigned(base) as c_int
        }
    }

    /// The slot at `index`: from 1 up, or from -1 (the top) down. None if the running function has
    /// no such slot, or the index is a pseudo one.
    #[inline]
    fn place(self, index: c_int) -> Option<*mut LuaValue> {
        if !self.is_direct() {
            return None;
        }
        // SAFETY: both are fields of the state.
        let (base, top) = unsafe { ((*self.thread()).base, (*self.thread()).top) };
        let place = match index {
            1.. => base.wrapping_add(index as usize - 1),
            _ => top.wrapping_offset(index as isize),
        };
        (base <= place && place < top).then_some(place)
    }

    /// The value at `index`, as `place` finds it.
    pub fn slot(self, index: c_int) -> Option<LuaValue> {
        // SAFETY: what lies below the top is a value.
        self.place(index).map(|place| unsafe { *place })
    }

    /// Pushes a copy of the value at `index`; false if `place` finds none.
    pub fn push_slot(self, index: c_int) -> bool {
        let found = self.slot(index);
        if let Some(value) = found {
            // SAFETY: it is on the stack.
            unsafe { self.push_value(value) };
        }
        found.is_some()
    }

    /// Pushes a value.
    ///
    /// # Safety
    ///
    /// It is no object, or one that Lua can reach.
    ///
    /// # Panics
    ///
    /// If there is no room for it.
    pub unsafe fn push_value(self, value: LuaValue) {
        #[cfg(fuzzing)]
        if !self.is_direct() {
            return self.push_by_c(value);
        }
        self.assert_room();
        // SAFETY: there is room.
        unsafe {
            let LuaThread { top, .. } = &mut *self.thread();
            top.write(value);
            *top = top.add(1);
        }
    }

    /// Forgets the topmost `count` slots.
    ///
    /// # Panics
    ///
    /// If the running function has fewer.
    pub fn drop_slots(self, count: usize) {
        assert!(count <= self.top() as usize, "nothing is there to be popped");
        if !self.is_direct() {
            return api!(moves::lua_settop(self, -(count as c_int) - 1));
        }
        // SAFETY: so many lie between base and top.
        unsafe {
            let LuaThread { top, .. } = &mut *self.thread();
            *top = top.sub(count);
        }
    }

    /// Whether the running function may push so much without asking for more.
    pub fn has_room(self, count: c_int) -> bool {
        // SAFETY: the record of the running call lives as long as it runs; its end and the top lie
        // in one stack.
        self.is_direct()
            && unsafe {
                let LuaThread { top, call, .. } = *self.thread();
                top.wrapping_add(count as usize).cast_const() <= (*call).top
            }
    }

    /// Whether the caller of the running C function takes no result: `redis.call(...)` as a
    /// statement.
    pub fn wants_nothing(self) -> bool {
        // SAFETY: the record of the running call lives as long as it runs.
        self.is_direct() && unsafe { (*(*self.thread()).call).results_wanted == 0 }
    }

    /// What the allocation function of this VM was told to be given.
    fn allocator_context(self) -> *const c_void {
        // SAFETY: the shared part lives as long as its states.
        unsafe { (*(*self.thread()).shared).allocate_context }
    }

    /// The same, as Lua says it.
    fn stock_allocator_context(self) -> *const c_void {
        let mut context = std::ptr::null_mut();
        api!(reads::lua_getallocf(self, &mut context));
        context
    }

    /// The place of `table[position]`, if it is in the table's array, and whether the collector is
    /// through with the table.
    #[inline]
    fn element(self, table: c_int, position: c_int) -> Option<(*mut LuaValue, bool)> {
        let table = self.slot(table)?.table()?;
        // SAFETY: the table lives while it is on the stack; positions count from 1.
        unsafe {
            let LuaTable { array, array_len, marks, .. } = *table;
            let is_inside = (1..=array_len).contains(&position);
            is_inside.then(|| (array.add(position as usize - 1), marks & BLACK != 0))
        }
    }

    /// `table[position]`; None if it does not lie in the table's array.
    #[inline]
    pub fn array_slot(self, table: c_int, position: c_int) -> Option<LuaValue> {
        // SAFETY: the array holds values.
        self.element(table, position).map(|(place, _)| unsafe { *place })
    }

    /// Pushes `table[position]`; false if it does not lie in the table's array.
    pub fn push_array_slot(self, table: c_int, position: c_int) -> bool {
        let found = self.array_slot(table, position);
        if let Some(value) = found {
            // SAFETY: it is in a table that is on the stack.
            unsafe { self.push_value(value) };
        }
        found.is_some()
    }

    /// Pops a value into `table[position]`; false if that does not lie in the table's array, or the
    /// collector must be told.
    #[inline]
    pub fn set_array_slot(self, table: c_int, position: c_int) -> bool {
        match self.element(table, position) {
            Some((place, false)) => {
                // SAFETY: there is a value on top, since the table is on the stack.
                unsafe {
                    let LuaThread { top, .. } = &mut *self.thread();
                    *top = top.sub(1);
                    place.write(**top);
                }
                true
            }
            _ => false,
        }
    }

    /// Whether the table at `index` is laid out as when it was made for `len` elements and nothing
    /// else: what was put beside them since, and taken away, would still decide the order of
    /// `pairs` and the border that `#` finds.
    pub fn is_array_of(self, index: c_int, len: usize) -> bool {
        let no_nodes = self.vm().no_nodes.get();
        // SAFETY: the table lives while it is on the stack.
        self.slot(index).and_then(LuaValue::table).is_some_and(|table| unsafe {
            (*table).array_len as usize == len
                && (*table).nodes.cast() == no_nodes
                && (*table).metatable.is_null()
        })
    }

    /// What the table at `index` has beside its array. All tables that have nothing there share
    /// one node.
    fn nodes(self, index: c_int) -> *const c_void {
        // SAFETY: the table lives while it is on the stack.
        self.slot(index)
            .and_then(LuaValue::table)
            .map_or(null(), |table| unsafe { (*table).nodes.cast() })
    }

    /// Whether the table at `index` has nothing but its array. It may be said of too few.
    pub fn is_array(self, index: c_int) -> bool {
        // SAFETY: the table lives while it is on the stack, and has one node at least.
        self.slot(index).and_then(LuaValue::table).is_some_and(|table| unsafe {
            (*table).node_bits == 0 && (*(*table).nodes).value.kind == ffi::LUA_TNIL
        })
    }
}

#[cfg(fuzzing)]
impl Stack<'_> {
    /// Pushes a value that is no object as the C interface has it.
    fn push_by_c(self, value: LuaValue) {
        match value.kind() {
            LuaKind::Nil => api!(pushes::lua_pushnil(self)),
            LuaKind::Boolean => api!(pushes::lua_pushboolean(self, value.is_truth().into())),
            LuaKind::Number => api!(pushes::lua_pushnumber(self, value.number().unwrap_or(0.0))),
            kind => unreachable!("{kind:?} is copied by Lua"),
        }
    }
}

/// Compares what lies where it is sought with what the C interface says, in calls with and without
/// a use for their result.
///
/// # Panics
///
/// If there is a difference: this is no build of Lua 5.1 that we know.
pub(super) fn check(lua: Stack<'_>) {
    api!(pushes::lua_createtable(lua, 0, 0));
    api!(pushes::lua_createtable(lua, 0, 1));
    lua.vm().no_nodes.set(lua.nodes(-2));
    assert!(
        lua.is_array_of(-2, 0) && !lua.is_array_of(-1, 0),
        "tables of Lua lie otherwise than expected"
    );
    api!(moves::lua_settop(lua, -3));
    let is_known = lua.stock_allocator_context() == lua.allocator_context()
        && seen_by_probe(lua, 0) == 3.0
        && seen_by_probe(lua, 1) == 1.0;
    assert!(is_known, "values of Lua lie otherwise than expected");
}

/// Calls `probe` for that many results.
fn seen_by_probe(lua: Stack<'_>, results: c_int) -> f64 {
    api!(pushes::lua_createtable(lua, 2, 0));
    // SAFETY: a number is no object.
    unsafe { lua.push_value(LuaValue::of_number(7.0)) };
    assert!(lua.set_array_slot(-2, 2), "tables of Lua lie otherwise than expected");
    api!(pushes::lua_pushcfunction(lua, probe));
    api!(pushes::lua_pushlstring_(lua, c"text".as_ptr(), 4));
    // SAFETY: as above.
    unsafe { lua.push_value(LuaValue::of_number(1.5)) };
    api!(pushes::lua_pushvalue(lua, -4));
    api!(raises::lua_call(lua, 3, results));
    api!(moves::lua_settop(lua, -results - 1));
    api!(tables::lua_rawgeti_(lua, -1, 1));
    let seen = api!(reads::lua_tonumber(lua, -1));
    api!(moves::lua_settop(lua, -3));
    seen
}

/// Looks at its arguments, a text, a number and a table, in both ways. Into the table, which a call
/// without results leaves as well, goes 1 if all is as expected, and 2 more if no result is wanted.
unsafe extern "C-unwind" fn probe(state: *mut lua_State) -> c_int {
    // SAFETY: Lua calls this with a state that is alive.
    let lua = unsafe { Stack::new(state) };
    let slot = |index| lua.slot(index).unwrap_or(LuaValue::NIL);
    let is_known = lua.top() == 3
        && api!(reads::lua_gettop(lua)) == 3
        // SAFETY: the text is an argument.
        && unsafe { slot(1).bytes() } == Some(b"text")
        && slot(2).number() == Some(1.5)
        && slot(3).is_truth()
        && slot(3).kind() == LuaKind::Table
        && slot(-2).number() == Some(1.5)
        && slot(-3).kind() == LuaKind::String
        && [-4, 0, 4].iter().all(|&index| lua.slot(index).is_none())
        && lua.array_slot(3, 2).and_then(LuaValue::number) == Some(7.0)
        && lua.array_slot(3, 3).is_none()
        && lua.is_array(3)
        && lua.is_array_of(3, 2)
        && !lua.is_array_of(3, 1)
        && lua.has_room(1)
        && !lua.has_room(1_000_000);
    // SAFETY: booleans are no objects.
    unsafe {
        lua.push_value(LuaValue::of_boolean(is_known));
        lua.push_value(LuaValue::of_boolean(lua.wants_nothing()));
    }
    let is_pushed = api!(reads::lua_toboolean(lua, -2)) != 0 && api!(reads::lua_gettop(lua)) == 5;
    let seen = c_int::from(is_pushed) | c_int::from(lua.wants_nothing()) << 1;
    lua.drop_slots(2);
    // SAFETY: a number is no object.
    unsafe { lua.push_value(LuaValue::of_number(seen.into())) };
    api!(tables::lua_rawseti_(lua, 3, 1));
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::path::{Path, PathBuf};
    use std::process::{Command, Stdio};

    /// Where Lua's headers lie: they are not exported to builds, but the crate has them.
    fn headers() -> PathBuf {
        let host = Command::new("rustc").args(["--print", "host-tuple"]).output();
        let host = host.expect("rustc starts").stdout;
        // Of other platforms some crates may never have been downloaded.
        let asked = Command::new(env!("CARGO"))
            .args(["metadata", "--offline", "--format-version", "1"])
            .args(["--filter-platform", String::from_utf8_lossy(&host).trim()])
            .args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")])
            .output()
            .expect("cargo starts");
        let said = String::from_utf8_lossy(&asked.stderr);
        let metadata: serde_json::Value =
            serde_json::from_slice(&asked.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
        let packages = metadata["packages"].as_array().expect("packages");
        let manifest = packages
            .iter()
            .find(|package| package["name"] == "lua-src")
            .and_then(|package| package["manifest_path"].as_str())
            .expect("mlua builds Lua from the crate lua-src");
        Path::new(manifest).with_file_name("lua-5.1.5")
    }

    /// A C program that compiles if Lua's structures are what this file says they are.
    fn assertions() -> String {
        let mut text = String::from("#include \"lstate.h\"\n#include \"lgc.h\"\n");
        let mut assert = |what: String, expect: usize| {
            text += &format!("_Static_assert({what} == {expect}, \"{what} is not {expect}\");\n");
        };
        for (type_name, member, offset, size) in MIRRORED {
            assert(format!("offsetof({type_name}, {member})"), *offset);
            assert(format!("sizeof((({type_name} *)0)->{member})"), *size);
        }
        // Of these one follows the other, or something else follows them.
        assert("sizeof(TValue)".into(), size_of::<LuaValue>());
        assert("sizeof(TString)".into(), size_of::<LuaString>());
        assert("(1 << BLACKBIT)".into(), BLACK.into());
        assert("offsetof(Value, gc)".into(), std::mem::offset_of!(LuaContent, object));
        assert("offsetof(Value, n)".into(), std::mem::offset_of!(LuaContent, number));
        assert("offsetof(Value, b)".into(), std::mem::offset_of!(LuaContent, boolean));
        for (name, number) in [
            ("LUA_TNIL", ffi::LUA_TNIL),
            ("LUA_TBOOLEAN", ffi::LUA_TBOOLEAN),
            ("LUA_TNUMBER", ffi::LUA_TNUMBER),
            ("LUA_TSTRING", ffi::LUA_TSTRING),
            ("LUA_TTABLE", ffi::LUA_TTABLE),
        ] {
            assert(name.into(), number as usize);
        }
        text
    }

    /// What the compiler says against a program.
    fn complaints(program: &str) -> String {
        let mut compiler = Command::new("cc")
            .args(["-std=c11", "-fsyntax-only", "-x", "c", "-I"])
            .arg(headers())
            .arg("-")
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("Lua was built with the same compiler");
        let mut input = compiler.stdin.take().expect("it is piped");
        input.write_all(program.as_bytes()).expect("the compiler reads");
        drop(input);
        let done = compiler.wait_with_output().expect("the compiler ends");
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(said.is_empty(), done.status.success(), "{said}");
        said
    }

    #[test]
    fn lua_is_laid_out_as_its_headers_say() {
        assert_eq!(complaints(&assertions()), "");
    }

    #[test]
    fn a_field_that_lies_elsewhere_is_noticed() {
        let right = "offsetof(Table, array) == 24";
        let program = assertions();
        assert!(program.contains(right), "{program}");
        let said = complaints(&program.replace(right, "offsetof(Table, array) == 40"));
        assert!(said.contains("offsetof(Table, array) is not 24"), "{said}");
    }
}
