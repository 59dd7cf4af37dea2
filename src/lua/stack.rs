//! The Lua stack as our C functions see it, and the one way in which they raise errors.
//!
//! Lua raises with `longjmp`, which runs no destructor of the frames it leaves. So a library
//! function never raises: it pushes the message, drops what it holds, and returns a `Raise`, which
//! is `Copy`. Only `shim`, which holds nothing, then leaves for good. Everything called here is a
//! Lua function that cannot raise, given room on the stack: memory is not limited inside Rust (see
//! `heap`), and no finaliser exists that a garbage collection could run (see `sandbox`).

use super::vm::Vm;
use mlua::ffi::{self, lua_CFunction, lua_State};
use std::ffi::{CStr, c_char, c_int};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{NonNull, null_mut};

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
pub(super) enum Kind {
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
    // SAFETY: `F` has no size and exists (`c_function` was given one), so any aligned address is one.
    let function = unsafe { NonNull::<F>::dangling().as_ref() };
    let vm = stack.vm();
    let result = if vm.heap.enter() {
        catch_unwind(AssertUnwindSafe(|| function(stack))).unwrap_or_else(|payload| {
            vm.die_of(state, payload);
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
        // SAFETY: nothing with a destructor is alive in this frame, and `shim` was called by Lua.
        Err(raise) => unsafe { stack.leave(raise) },
    }
}

impl Stack {
    /// The VM that this state belongs to: the allocator's context leads to it.
    pub fn vm<'a>(self) -> &'a Vm {
        let mut context = null_mut();
        // SAFETY: every state is made by `Vm::new`, whose context is the VM that outlives it.
        unsafe {
            ffi::lua_getallocf(self.0, &mut context);
            &*context.cast::<Vm>()
        }
    }

    /// Raises. Whatever the caller's frame holds is never dropped.
    pub unsafe fn leave(self, raise: Raise) -> ! {
        unsafe {
            match raise {
                Raise::Top => {}
                Raise::Here => {
                    ffi::luaL_where(self.0, 1);
                    ffi::lua_insert(self.0, -2);
                    ffi::lua_concat(self.0, 2);
                }
                Raise::Argument(index) => {
                    ffi::luaL_argerror(self.0, index, ffi::lua_tostring(self.0, -1));
                }
                Raise::Type(index, name) => {
                    ffi::luaL_typerror(self.0, index, name.as_ptr());
                }
            }
            ffi::lua_error(self.0)
        }
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
        // SAFETY (here and below): the state is alive, see `Stack`; indices are the caller's.
        unsafe { ffi::lua_gettop(self.0) }
    }

    pub fn set_top(self, top: c_int) {
        unsafe { ffi::lua_settop(self.0, top) }
    }

    pub fn pop(self, count: c_int) {
        unsafe { ffi::lua_pop(self.0, count) }
    }

    /// Makes room for `count` more values, if the stack may grow that far.
    pub fn reserve(self, count: c_int) -> bool {
        unsafe { ffi::lua_checkstack(self.0, count) != 0 }
    }

    pub fn kind(self, index: c_int) -> Kind {
        match unsafe { ffi::lua_type(self.0, index) } {
            ffi::LUA_TNIL => Kind::Nil,
            ffi::LUA_TBOOLEAN => Kind::Boolean,
            ffi::LUA_TLIGHTUSERDATA => Kind::LightUserdata,
            ffi::LUA_TNUMBER => Kind::Number,
            ffi::LUA_TSTRING => Kind::String,
            ffi::LUA_TTABLE => Kind::Table,
            ffi::LUA_TFUNCTION => Kind::Function,
            ffi::LUA_TUSERDATA => Kind::Userdata,
            ffi::LUA_TTHREAD => Kind::Thread,
            _ => Kind::None,
        }
    }

    /// The name of the type at `index`, as Lua's own messages say it.
    pub fn kind_name(self, index: c_int) -> &'static str {
        let name = unsafe { CStr::from_ptr(ffi::luaL_typename(self.0, index)) };
        name.to_str().unwrap_or("value")
    }

    pub fn boolean(self, index: c_int) -> bool {
        unsafe { ffi::lua_toboolean(self.0, index) != 0 }
    }

    /// The number at `index`, a string that reads as one included.
    pub fn number(self, index: c_int) -> Option<f64> {
        match unsafe { ffi::lua_tonumber(self.0, index) } {
            0.0 if unsafe { ffi::lua_isnumber(self.0, index) } == 0 => None,
            number => Some(number),
        }
    }

    /// The string at `index`, valid while it stays there. A number there becomes a string, so this
    /// may not be called on a key while `next` walks over its table.
    pub fn bytes<'a>(self, index: c_int) -> Option<&'a [u8]> {
        let mut len = 0;
        unsafe {
            let start: *const c_char = ffi::lua_tolstring(self.0, index, &mut len);
            (!start.is_null()).then(|| std::slice::from_raw_parts(start.cast(), len))
        }
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
            Kind::None | Kind::Nil => Ok(default),
            _ => self.check_int(index),
        }
    }

    pub fn check_bytes<'a>(self, index: c_int) -> Result<&'a [u8], Raise> {
        self.bytes(index).ok_or(Raise::Type(index, c"string"))
    }

    // Pushing.

    pub fn push_nil(self) {
        unsafe { ffi::lua_pushnil(self.0) }
    }

    pub fn push_boolean(self, value: bool) {
        unsafe { ffi::lua_pushboolean(self.0, c_int::from(value)) }
    }

    pub fn push_number(self, value: f64) {
        unsafe { ffi::lua_pushnumber(self.0, value) }
    }

    pub fn push_bytes(self, bytes: &[u8]) {
        unsafe { ffi::lua_pushlstring_(self.0, bytes.as_ptr().cast(), bytes.len()) }
    }

    /// Pushes what `write` appends to a buffer that the VM keeps for this.
    pub fn push_built(self, write: impl FnOnce(&mut Vec<u8>) -> Result<(), Raise>) -> Returns {
        let mut bytes = self.vm().scratch.take();
        bytes.clear();
        let result = write(&mut bytes);
        if result.is_ok() {
            self.push_bytes(&bytes);
        }
        if bytes.capacity() <= SCRATCH_BYTES_MAX {
            self.vm().scratch.set(bytes);
        }
        result.map(|()| 1)
    }

    pub fn push_function(self, function: lua_CFunction) {
        unsafe { ffi::lua_pushcfunction(self.0, function) }
    }

    /// Takes `count` values from the top, which the function finds at `upvalue_index(1)` and on.
    pub fn push_closure(self, function: lua_CFunction, count: c_int) {
        unsafe { ffi::lua_pushcclosure(self.0, function, count) }
    }

    pub fn push_copy(self, index: c_int) {
        unsafe { ffi::lua_pushvalue(self.0, index) }
    }

    pub fn remove(self, index: c_int) {
        unsafe { ffi::lua_remove(self.0, index) }
    }

    /// Pops a value into the registry; `push_kept` finds it by the key that this returns.
    pub fn keep(self) -> c_int {
        unsafe { ffi::luaL_ref(self.0, ffi::LUA_REGISTRYINDEX) }
    }

    pub fn push_kept(self, key: c_int) {
        self.get_index(ffi::LUA_REGISTRYINDEX, key);
    }

    pub fn forget(self, key: c_int) {
        unsafe { ffi::luaL_unref(self.0, ffi::LUA_REGISTRYINDEX, key) }
    }

    /// Pops a value into the slot at `index`.
    pub fn replace(self, index: c_int) {
        unsafe { ffi::lua_replace(self.0, index) }
    }

    /// `cjson.null`, what `cmsgpack` calls nil: a pointer to nothing.
    pub fn push_null(self) {
        unsafe { ffi::lua_pushlightuserdata(self.0, null_mut()) }
    }

    /// An address: a key in tables that no script can forge.
    pub fn push_address<T>(self, address: &'static T) {
        unsafe { ffi::lua_pushlightuserdata(self.0, std::ptr::from_ref(address).cast_mut().cast()) }
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
        unsafe { ffi::lua_createtable(self.0, clamp(elements), clamp(fields)) }
    }

    /// Pushes `table[position]`.
    pub fn get_index(self, table: c_int, position: c_int) {
        unsafe { ffi::lua_rawgeti_(self.0, table, position) }
    }

    /// Pops a value and makes it `table[position]`.
    pub fn set_index(self, table: c_int, position: c_int) {
        unsafe { ffi::lua_rawseti_(self.0, table, position) }
    }

    /// Replaces the key on top by `table[key]`.
    pub fn get(self, table: c_int) {
        unsafe { ffi::lua_rawget_(self.0, table) }
    }

    /// Pops a value and the key below it. The key may be neither nil nor NaN.
    pub fn set(self, table: c_int) {
        unsafe { ffi::lua_rawset(self.0, table) }
    }

    /// As `set`, but a nil key, which Lua would raise at, drops the value.
    pub fn set_or_drop(self, table: c_int) {
        match self.kind(-2) {
            Kind::Nil => self.pop(2),
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
        unsafe { ffi::lua_insert(self.0, -2) };
        self.set(if table < 0 && table > ffi::LUA_REGISTRYINDEX { table - 1 } else { table });
    }

    /// Replaces the key on top by the next key and its value; pops it at the end of the table.
    pub fn next(self, table: c_int) -> bool {
        unsafe { ffi::lua_next(self.0, table) != 0 }
    }

    /// The border of a table, or a string's length.
    pub fn len(self, index: c_int) -> usize {
        unsafe { ffi::lua_objlen(self.0, index) }
    }
}

pub(super) const fn upvalue(index: c_int) -> c_int {
    ffi::lua_upvalueindex(index)
}
