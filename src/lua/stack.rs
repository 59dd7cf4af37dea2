//! The Lua stack as our C functions see it, and the one way in which they raise errors.
//!
//! Lua raises with `longjmp`, which runs no destructor of the frames it leaves. So a library
//! function never raises: it pushes the message, drops what it holds, and returns a `Raise`, which
//! is `Copy`. Only `shim`, which holds nothing, then leaves for good. Everything called here is a
//! Lua function that cannot raise, given room on the stack: memory is not limited inside Rust (see
//! `heap`), and no finaliser exists that a garbage collection could run (see `sandbox`).

use super::layout::LuaValue;
use super::vm::Vm;
use crate::config::{SCRIPT_ENCODED_VALUES_MAX, SCRIPT_STRING_BYTES_MAX};
use mlua::ffi::{self, lua_CFunction, lua_State};
use std::ffi::{CStr, c_int};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{NonNull, null_mut};

/// Calls a function of Lua's C interface on a `Stack`.
macro_rules! api {
    ($function:ident($lua:expr $(, $argument:expr)* $(,)?)) => {
        // SAFETY: a `Stack` is a live state, which the callers leave room on; indices are in range;
        // and where the function may raise, no frame in between holds anything with a destructor.
        unsafe { mlua::ffi::$function($lua.0 $(, $argument)*) }
    };
}
pub(super) use api;

/// A buffer that grew beyond this is not kept for the next value.
const SCRATCH_BYTES_MAX: usize = 64 * 1024;

/// A message, the place before it, and both in one.
const MESSAGE_SLOTS: c_int = 3;

/// A Lua state from inside a C function: its arguments are at 1, 2, ..., and `LUA_MINSTACK` (20)
/// values may be pushed before `reserve` is needed.
#[derive(Clone, Copy)]
pub(super) struct Stack(pub *mut lua_State);

/// How a library function ends when it fails.
#[derive(Clone, Copy)]
pub(super) enum Raise {
    /// The value on top is the error.
    Top,
    /// The message on top, with `script:line:` before it.
    Here,
    /// The message on top is what is wrong with argument `.0`.
    Argument(c_int),
    /// Argument `.0` is not a `.1`.
    Type(c_int, &'static CStr),
}

pub(super) type Returns = Result<c_int, Raise>;

/// A type of value, as `lua_type` tells them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LuaKind {
    None,
    Nil,
    Boolean,
    LightUserdata,
    Number,
    String,
    Table,
    Function,
    Userdata,
    Thread,
}

impl LuaKind {
    /// The kind that Lua numbers so.
    pub fn of(number: c_int) -> Self {
        match number {
            ffi::LUA_TNIL => LuaKind::Nil,
            ffi::LUA_TBOOLEAN => LuaKind::Boolean,
            ffi::LUA_TLIGHTUSERDATA => LuaKind::LightUserdata,
            ffi::LUA_TNUMBER => LuaKind::Number,
            ffi::LUA_TSTRING => LuaKind::String,
            ffi::LUA_TTABLE => LuaKind::Table,
            ffi::LUA_TFUNCTION => LuaKind::Function,
            ffi::LUA_TUSERDATA => LuaKind::Userdata,
            ffi::LUA_TTHREAD => LuaKind::Thread,
            _ => LuaKind::None,
        }
    }
}

/// The C function for `function`, a plain `fn` or a closure that captures nothing.
pub(super) fn c_function<F>(_: F) -> lua_CFunction
where
    F: Fn(Stack) -> Returns + Copy,
{
    const { assert!(size_of::<F>() == 0, "a C function captures nothing") };
    shim::<F>
}

unsafe extern "C-unwind" fn shim<F>(state: *mut lua_State) -> c_int
where
    F: Fn(Stack) -> Returns + Copy,
{
    let stack = Stack(state);
    // SAFETY: `F` has no size and exists (`c_function` was given one), so any aligned address is
    // one.
    let function = unsafe { NonNull::<F>::dangling().as_ref() };
    let vm = stack.vm();
    let result = if vm.heap.enter() {
        catch_unwind(AssertUnwindSafe(|| function(stack))).unwrap_or_else(|payload| {
            vm.die_of(stack, payload);
            stack.push_bytes(b"the server panicked");
            Err(Raise::Top)
        })
    } else {
        stack.push_bytes(b"not enough memory");
        Err(Raise::Top)
    };
    vm.heap.leave();
    match result {
        Ok(count) => count,
        // Nothing with a destructor is alive in this frame.
        Err(raise) => stack.leave(raise),
    }
}

impl Stack {
    /// The VM that this state belongs to: the allocator's context leads to it.
    pub fn vm<'a>(self) -> &'a Vm {
        // SAFETY: every state is made by `Vm::new`, whose context is the VM that outlives it.
        unsafe { &*self.allocator_context().cast::<Vm>() }
    }

    /// Raises. Whatever the caller's frame holds is never dropped.
    fn leave(self, raise: Raise) -> ! {
        match raise {
            Raise::Top => {}
            Raise::Here => {
                api!(luaL_where(self, 1));
                api!(lua_insert(self, -2));
                api!(lua_concat(self, 2));
            }
            Raise::Argument(index) => {
                let message = api!(lua_tostring(self, -1));
                api!(luaL_argerror(self, index, message));
            }
            Raise::Type(index, name) => {
                api!(luaL_typerror(self, index, name.as_ptr()));
            }
        }
        api!(lua_error(self))
    }

    // What to return instead of raising.

    pub fn error(self, message: fmt::Arguments<'_>) -> Raise {
        self.push_message(message);
        Raise::Here
    }

    pub fn argument_error(self, index: c_int, message: fmt::Arguments<'_>) -> Raise {
        self.push_message(message);
        Raise::Argument(index)
    }

    /// Where the stack is full, what was on it is not needed any more.
    fn push_message(self, message: fmt::Arguments<'_>) {
        let message = message.to_string();
        if !self.reserve(MESSAGE_SLOTS) {
            self.set_top(0);
        }
        self.push_bytes(message.as_bytes());
    }

    /// An error value as Redis makes them: a table with the text, code first, in `err`.
    pub fn error_table(self, text: &[u8]) -> Raise {
        self.push_error_table(text);
        Raise::Top
    }

    // Reading. Indices are as in C: from 1 up, or from -1 (the top) down.

    pub fn top(self) -> c_int {
        self.slots().len() as c_int
    }

    /// Forgets what is above `top`; nil fills what is missing up to there.
    pub fn set_top(self, top: c_int) {
        api!(lua_settop(self, top))
    }

    pub fn pop(self, count: c_int) {
        self.drop_slots(count as usize);
    }

    /// Makes room for `count` more values, if the stack may grow that far.
    pub fn reserve(self, count: c_int) -> bool {
        self.has_room(count) || api!(lua_checkstack(self, count)) != 0
    }

    pub fn kind(self, index: c_int) -> LuaKind {
        match self.slot(index) {
            Some(slot) => slot.kind(),
            None => LuaKind::of(api!(lua_type(self, index))),
        }
    }

    /// The name of the type at `index`, as Lua's own messages say it.
    pub fn kind_name(self, index: c_int) -> &'static str {
        let name = api!(luaL_typename(self, index));
        // SAFETY: Lua returns a constant.
        let name = unsafe { CStr::from_ptr(name) };
        name.to_str().unwrap_or("value")
    }

    pub fn boolean(self, index: c_int) -> bool {
        match self.slot(index) {
            Some(slot) => slot.is_truth(),
            None => api!(lua_toboolean(self, index)) != 0,
        }
    }

    /// The number at `index`, a string that reads as one included.
    pub fn number(self, index: c_int) -> Option<f64> {
        if let Some(number) = self.slot(index).and_then(LuaValue::number) {
            return Some(number);
        }
        match api!(lua_tonumber(self, index)) {
            0.0 if api!(lua_isnumber(self, index)) == 0 => None,
            number => Some(number),
        }
    }

    /// The string at `index`, valid while it stays there. A number there becomes a string, so this
    /// may not be called on a key while `next` walks over its table.
    pub fn bytes<'a>(self, index: c_int) -> Option<&'a [u8]> {
        if let Some(bytes) = self.slot(index).and_then(LuaValue::bytes) {
            return Some(bytes);
        }
        let mut len = 0;
        let start = api!(lua_tolstring(self, index, &mut len));
        // SAFETY: Lua says where its string lies and how long it is.
        (!start.is_null()).then(|| unsafe { std::slice::from_raw_parts(start.cast(), len) })
    }

    pub fn check_number(self, index: c_int) -> Result<f64, Raise> {
        self.number(index).ok_or(Raise::Type(index, c"number"))
    }

    /// The argument as a C `int`: a fraction is cut off, what does not fit wraps.
    pub fn check_int(self, index: c_int) -> Result<i32, Raise> {
        self.check_number(index).map(|number| number as i64 as i32)
    }

    pub fn optional_int(self, index: c_int, default: i32) -> Result<i32, Raise> {
        match self.kind(index) {
            LuaKind::None | LuaKind::Nil => Ok(default),
            _ => self.check_int(index),
        }
    }

    pub fn check_bytes<'a>(self, index: c_int) -> Result<&'a [u8], Raise> {
        self.bytes(index).ok_or(Raise::Type(index, c"string"))
    }

    // Pushing.

    pub fn push_nil(self) {
        self.push_slot(LuaValue::NIL)
    }

    pub fn push_boolean(self, value: bool) {
        self.push_slot(LuaValue::of_boolean(value))
    }

    pub fn push_number(self, value: f64) {
        self.push_slot(LuaValue::of_number(value))
    }

    pub fn push_bytes(self, bytes: &[u8]) {
        api!(lua_pushlstring_(self, bytes.as_ptr().cast(), bytes.len()))
    }

    /// Refuses a string that has become, or would become, longer than a script may build.
    pub fn check_len(self, len: usize) -> Result<(), Raise> {
        match len {
            0..=SCRIPT_STRING_BYTES_MAX => Ok(()),
            _ => Err(self.error(format_args!("resulting string too large"))),
        }
    }

    /// As `check_len`, once for each value that is encoded.
    pub fn check_encoded(self, len: usize) -> Result<(), Raise> {
        let values = self.vm().encoded.get() + 1;
        self.vm().encoded.set(values);
        self.check_len(if values > SCRIPT_ENCODED_VALUES_MAX { usize::MAX } else { len })
    }

    /// Pushes what `write` appends to a buffer that the VM keeps for this.
    pub fn push_built(self, write: impl FnOnce(&mut Vec<u8>) -> Result<(), Raise>) -> Returns {
        let mut bytes = self.vm().scratch.take();
        bytes.clear();
        self.vm().encoded.set(0);
        let result = write(&mut bytes);
        if result.is_ok() {
            self.push_bytes(&bytes);
        }
        self.keep_scratch(bytes);
        result.map(|()| 1)
    }

    /// Gives the VM's buffer back.
    pub fn keep_scratch(self, bytes: Vec<u8>) {
        if bytes.capacity() <= SCRATCH_BYTES_MAX {
            self.vm().scratch.set(bytes);
        }
    }

    pub fn push_function(self, function: lua_CFunction) {
        api!(lua_pushcfunction(self, function))
    }

    /// Takes `count` values from the top, which the function finds at `upvalue_index(1)` and on.
    pub fn push_closure(self, function: lua_CFunction, count: c_int) {
        api!(lua_pushcclosure(self, function, count))
    }

    pub fn push_copy(self, index: c_int) {
        match self.slot(index) {
            Some(slot) => self.push_slot(slot),
            None => api!(lua_pushvalue(self, index)),
        }
    }

    pub fn remove(self, index: c_int) {
        api!(lua_remove(self, index))
    }

    /// Pops a value into the registry; `push_kept` finds it by the key that this returns.
    pub fn keep(self) -> c_int {
        api!(luaL_ref(self, ffi::LUA_REGISTRYINDEX))
    }

    pub fn push_kept(self, key: c_int) {
        self.get_index(ffi::LUA_REGISTRYINDEX, key);
    }

    pub fn forget(self, key: c_int) {
        api!(luaL_unref(self, ffi::LUA_REGISTRYINDEX, key))
    }

    /// Pops a value into the slot at `index`.
    pub fn replace(self, index: c_int) {
        api!(lua_replace(self, index))
    }

    /// `cjson.null`, what `cmsgpack` calls nil: a pointer to nothing.
    pub fn push_null(self) {
        api!(lua_pushlightuserdata(self, null_mut()))
    }

    /// An address: a key in tables that no script can forge.
    pub fn push_address<T>(self, address: &'static T) {
        api!(lua_pushlightuserdata(self, std::ptr::from_ref(address).cast_mut().cast()))
    }

    pub fn push_error_table(self, text: &[u8]) {
        self.push_table(0, 2);
        self.push_bytes(text);
        self.set_field(-2, "err");
    }

    // Tables. Raw throughout: no metamethod runs.

    /// An empty table with room for `elements` from 1 up and `fields`.
    pub fn push_table(self, elements: usize, fields: usize) {
        let clamp = |count: usize| c_int::try_from(count).unwrap_or(c_int::MAX);
        api!(lua_createtable(self, clamp(elements), clamp(fields)))
    }

    /// Pushes `table[position]`.
    pub fn get_index(self, table: c_int, position: c_int) {
        match self.array_slot(table, position) {
            Some(slot) => self.push_slot(slot),
            None => api!(lua_rawgeti_(self, table, position)),
        }
    }

    /// Pops a value and makes it `table[position]`.
    pub fn set_index(self, table: c_int, position: c_int) {
        if !self.set_array_slot(table, position) {
            api!(lua_rawseti_(self, table, position));
        }
    }

    /// Replaces the key on top by `table[key]`.
    pub fn get(self, table: c_int) {
        api!(lua_rawget_(self, table))
    }

    /// Pops a value and the key below it. The key may be neither nil nor NaN.
    pub fn set(self, table: c_int) {
        api!(lua_rawset(self, table))
    }

    /// As `set`, but a nil key, which Lua would raise at, drops the value.
    pub fn set_or_drop(self, table: c_int) {
        match self.kind(-2) {
            LuaKind::Nil => self.pop(2),
            _ => self.set(table),
        }
    }

    /// Pushes `table[name]`; `table` counts from the bottom, or from the top without the result.
    pub fn get_field(self, table: c_int, name: &str) {
        self.push_bytes(name.as_bytes());
        self.get(if table < 0 && table > ffi::LUA_REGISTRYINDEX { table - 1 } else { table });
    }

    /// Pops a value and makes it `table[name]`.
    pub fn set_field(self, table: c_int, name: &str) {
        self.push_bytes(name.as_bytes());
        api!(lua_insert(self, -2));
        self.set(if table < 0 && table > ffi::LUA_REGISTRYINDEX { table - 1 } else { table });
    }

    /// Replaces the key on top by the next key and its value; pops it at the end of the table.
    pub fn next(self, table: c_int) -> bool {
        api!(lua_next(self, table)) != 0
    }

    /// The border of a table, or a string's length.
    pub fn len(self, index: c_int) -> usize {
        api!(lua_objlen(self, index))
    }
}

pub(super) const fn upvalue(index: c_int) -> c_int {
    ffi::lua_upvalueindex(index)
}
