//! Where Lua 5.1 keeps its values, as lobject.h and lstate.h lay them out. Some things scripts do
//! so often that a call of the C interface costs more than the work; here arguments are read and
//! plain values pushed without one. `check` makes sure at start-up that everything lies where it is
//! sought.

use super::stack::{LuaKind, Stack, api};
use mlua::ffi::{self, lua_State};
use std::ffi::{c_int, c_uint, c_void};
use std::ptr::null;

/// A value: on the stack, or in the array of a table.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct LuaValue {
    content: LuaContent,
    kind: c_int,
}

#[repr(C)]
#[derive(Clone, Copy)]
union LuaContent {
    object: *const c_void,
    number: f64,
    boolean: c_int,
}

// Every object begins with the next one, its kind and the collector's marks.

/// A string; its bytes follow.
#[repr(C)]
struct LuaString {
    next: *const c_void,
    kind: u8,
    marks: u8,
    is_reserved: u8,
    hash: c_uint,
    len: usize,
}

#[repr(C)]
struct LuaTable {
    next: *const c_void,
    kind: u8,
    marks: u8,
    flags: u8,
    node_bits: u8,
    metatable: *const c_void,
    array: *mut LuaValue,
    nodes: *const LuaNode,
    last_free: *const c_void,
    gray_next: *const c_void,
    array_len: c_int,
}

/// An entry of a table beside its array.
#[repr(C)]
struct LuaNode {
    value: LuaValue,
}

/// The record of a call under way.
#[repr(C)]
struct LuaCall {
    base: *const LuaValue,
    function: *const LuaValue,
    /// The end of the stack that it may use.
    top: *const LuaValue,
    saved_place: *const c_void,
    results_wanted: c_int,
}

/// What all states of a VM share.
#[repr(C)]
struct LuaShared {
    strings: *const c_void,
    string_count: c_uint,
    string_slots: c_int,
    allocate: *const c_void,
    allocate_context: *const c_void,
}

/// `lua_State`.
#[repr(C)]
struct LuaThread {
    next: *const c_void,
    kind: u8,
    marks: u8,
    status: u8,
    /// The first free slot.
    top: *mut LuaValue,
    /// The first slot of the running function.
    base: *mut LuaValue,
    shared: *const LuaShared,
    call: *const LuaCall,
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

    /// The number that this is.
    pub fn number(self) -> Option<f64> {
        match self.kind {
            // SAFETY: the kind says what the content is.
            ffi::LUA_TNUMBER => Some(unsafe { self.content.number }),
            _ => None,
        }
    }

    /// The string that this is, valid as long as Lua can reach it.
    pub fn bytes<'a>(self) -> Option<&'a [u8]> {
        // SAFETY: the kind says what the content is; a string's bytes follow it.
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

    fn table(self) -> Option<*const LuaTable> {
        // SAFETY: the kind says what the content is.
        (self.kind == ffi::LUA_TTABLE).then(|| unsafe { self.content.object.cast() })
    }
}

impl Stack {
    fn state(self) -> *mut LuaThread {
        self.0.cast()
    }

    /// The arguments of the running function, and what it has pushed. Valid until something is
    /// pushed or popped.
    pub fn slots<'a>(self) -> &'a [LuaValue] {
        // SAFETY: both lie in the stack, `base` first.
        unsafe {
            let LuaThread { top, base, .. } = *self.state();
            std::slice::from_raw_parts(base, top.offset_from_unsigned(base))
        }
    }

    /// The slot at `index`, unless it is above the top, or no place on the stack at all.
    fn place(self, index: c_int) -> Option<*mut LuaValue> {
        // SAFETY: the place is compared with the top, or counted down from it as the caller may.
        unsafe {
            let LuaThread { top, base, .. } = *self.state();
            match index {
                1.. => Some(base.add(index as usize - 1)).filter(|&place| place < top),
                _ if index > ffi::LUA_REGISTRYINDEX => Some(top.offset(index as isize)),
                _ => None,
            }
        }
    }

    /// The value at `index`: from 1 up, or from -1 (the top) down. None if nothing is there, or
    /// the index is a pseudo one.
    pub fn slot(self, index: c_int) -> Option<LuaValue> {
        // SAFETY: what lies below the top is a value.
        self.place(index).map(|place| unsafe { *place })
    }

    /// Pushes a value that Lua can reach, or no object. Room must be there, as for the C functions.
    pub fn push_slot(self, slot: LuaValue) {
        // SAFETY: the caller has seen to the room.
        unsafe {
            let LuaThread { top, .. } = &mut *self.state();
            top.write(slot);
            *top = top.add(1);
        }
    }

    /// Forgets the topmost `count` slots, of which there are as many.
    pub fn drop_slots(self, count: usize) {
        debug_assert!(count <= self.slots().len());
        // SAFETY: the stack does not end there.
        unsafe {
            let LuaThread { top, .. } = &mut *self.state();
            *top = top.sub(count);
        }
    }

    /// Whether the running function may push so much without asking for more.
    pub fn has_room(self, count: c_int) -> bool {
        // SAFETY: the record of the running call lives as long as it runs.
        unsafe {
            let LuaThread { top, call, .. } = *self.state();
            (*call).top.offset_from(top) >= count as isize
        }
    }

    /// Whether the caller of the running C function takes no result: `redis.call(...)` as a
    /// statement.
    pub fn wants_nothing(self) -> bool {
        // SAFETY: the record of the running call lives as long as it runs.
        unsafe { (*(*self.state()).call).results_wanted == 0 }
    }

    /// What the allocation function of this VM was told to be given.
    pub fn allocator_context(self) -> *const c_void {
        // SAFETY: the shared part lives as long as its states.
        unsafe { (*(*self.state()).shared).allocate_context }
    }

    /// The place of `table[position]`, if it is in the table's array and may be written there.
    fn element(self, table: c_int, position: c_int) -> Option<(*mut LuaValue, bool)> {
        let table = self.slot(table)?.table()?;
        // SAFETY: the table lives while it is on the stack; positions count from 1.
        unsafe {
            let LuaTable { array, array_len, marks, .. } = *table;
            let is_inside = (1..=array_len).contains(&position);
            is_inside.then(|| (array.add(position as usize - 1), marks & BLACK != 0))
        }
    }

    /// `table[position]`, if it lies in the table's array.
    pub fn array_slot(self, table: c_int, position: c_int) -> Option<LuaValue> {
        // SAFETY: the array holds values.
        self.element(table, position).map(|(place, _)| unsafe { *place })
    }

    /// Pops a value into `table[position]`, if that lies in the table's array and the collector
    /// need not be told.
    pub fn set_array_slot(self, table: c_int, position: c_int) -> bool {
        match self.element(table, position) {
            Some((place, false)) => {
                // SAFETY: there is a value on top, which the caller gives up.
                unsafe {
                    let LuaThread { top, .. } = &mut *self.state();
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

    /// Whether the table at `index` has nothing but its array.
    pub fn is_array(self, index: c_int) -> bool {
        // SAFETY: the table lives while it is on the stack, and has one node at least.
        self.slot(index).and_then(LuaValue::table).is_some_and(|table| unsafe {
            (*table).node_bits == 0 && (*(*table).nodes).value.kind == ffi::LUA_TNIL
        })
    }
}

/// Compares what lies where it is sought with what the C interface says, in calls with and without
/// a use for their result.
pub(super) fn check(lua: Stack) {
    unsafe extern "C-unwind" fn probe(state: *mut lua_State) -> c_int {
        let lua = Stack(state);
        let slots = lua.slots();
        let is_known = slots.len() == 3
            && api!(lua_gettop(lua)) == 3
            && slots[0].bytes() == Some(b"text")
            && slots[1].number() == Some(1.5)
            && slots[2].is_truth()
            && slots[2].kind() == LuaKind::Table
            && lua.slot(-2).and_then(LuaValue::number) == Some(1.5)
            && lua.slot(4).is_none()
            && lua.array_slot(3, 2).and_then(LuaValue::number) == Some(7.0)
            && lua.array_slot(3, 3).is_none()
            && lua.is_array(3)
            && lua.is_array_of(3, 2)
            && !lua.is_array_of(3, 1)
            && lua.has_room(1)
            && !lua.has_room(1_000_000);
        lua.push_slot(LuaValue::of_boolean(is_known));
        lua.push_slot(LuaValue::of_boolean(lua.wants_nothing()));
        let is_pushed = api!(lua_toboolean(lua, -2)) != 0 && api!(lua_gettop(lua)) == 5;
        // What it has seen goes where a call without results leaves it as well.
        let seen = c_int::from(is_pushed) | c_int::from(lua.wants_nothing()) << 1;
        lua.drop_slots(2);
        api!(lua_pushnumber(lua, seen.into()));
        api!(lua_rawseti(lua, 3, 1));
        0
    }
    let seen = |results: c_int| {
        api!(lua_createtable(lua, 2, 0));
        lua.push_slot(LuaValue::of_number(7.0));
        assert!(lua.set_array_slot(-2, 2), "tables of Lua lie otherwise than expected");
        api!(lua_pushcfunction(lua, probe));
        api!(lua_pushlstring_(lua, c"text".as_ptr(), 4));
        api!(lua_pushnumber(lua, 1.5));
        api!(lua_pushvalue(lua, -4));
        api!(lua_call(lua, 3, results));
        api!(lua_settop(lua, -results - 1));
        api!(lua_rawgeti(lua, -1, 1));
        let seen = api!(lua_tonumber(lua, -1));
        api!(lua_settop(lua, -3));
        seen
    };
    api!(lua_createtable(lua, 0, 0));
    api!(lua_createtable(lua, 0, 1));
    lua.vm().no_nodes.set(lua.nodes(-2));
    assert!(
        lua.is_array_of(-2, 0) && !lua.is_array_of(-1, 0),
        "tables of Lua lie otherwise than expected"
    );
    api!(lua_settop(lua, -3));
    let mut context = std::ptr::null_mut();
    api!(lua_getallocf(lua, &mut context));
    let is_known =
        context.cast_const() == lua.allocator_context() && seen(0) == 3.0 && seen(1) == 1.0;
    assert!(is_known, "values of Lua lie otherwise than expected");
}
