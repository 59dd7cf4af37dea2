//! The Lua stack as our C functions see it, and the one way in which they raise errors.
//!
//! Lua raises with `longjmp`, which runs no destructor of the frames it leaves. So a library
//! function never raises: it pushes the message, drops what it holds, and returns a `Raise`, which
//! is `Copy`. Only `shim`, which holds nothing, then leaves for good.
//!
//! A `Stack` cannot break memory: where an index, a kind or room on the stack matters, it asserts
//! it. The exception are strings. They belong to Lua, which frees what it cannot reach any more,
//! and what it can reach changes with every push and pop; so who asks for the bytes of a string
//! promises that it stays where it is for long enough. Most are arguments, which stay until the
//! function returns.

use super::api::api;
use super::layout::LuaValue;
use super::vm::Vm;
use crate::config::{SCRIPT_ENCODED_VALUES_MAX, SCRIPT_STRING_BYTES_MAX};
use mlua::ffi::{self, lua_CFunction, lua_State};
use std::ffi::{CStr, c_int};
use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{NonNull, null_mut};

/// A buffer that grew beyond this is not kept for the next value.
const SCRATCH_BYTES_MAX: usize = 64 * 1024;

/// A message, the place before it, and both in one.
const MESSAGE_SLOTS: c_int = 3;

/// A Lua state from inside a C function: its arguments are at 1, 2, ..., and `LUA_MINSTACK` (20)
/// values may be pushed before `reserve` is needed. It is alive for `'vm`, as its VM is.
#[derive(Clone, Copy)]
pub(super) struct Stack<'vm> {
    state: NonNull<lua_State>,
    vm: PhantomData<&'vm Vm>,
}

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

/// What a library function returns: how many values on top are its results, or how it fails. What
/// else returns a `Raise` has pushed the message, where one is needed, on top.
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
    F: Fn(Stack<'_>) -> Returns + Copy,
{
    const { assert!(size_of::<F>() == 0, "a C function captures nothing") };
    shim::<F>
}

unsafe extern "C-unwind" fn shim<F>(state: *mut lua_State) -> c_int
where
    F: Fn(Stack<'_>) -> Returns + Copy,
{
    // SAFETY: Lua calls this with a state that is alive until it returns.
    let stack = unsafe { Stack::new(state) };
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

impl<'vm> Stack<'vm> {
    /// # Safety
    ///
    /// The state is that of a `Vm` or of a coroutine in it, and alive for `'vm`.
    pub unsafe fn new(state: *mut lua_State) -> Self {
        Self { state: NonNull::new(state).expect("a state that is alive"), vm: PhantomData }
    }

    pub fn state(self) -> *mut lua_State {
        self.state.as_ptr()
    }

    /// Raises. Whatever the caller's frame holds is never dropped.
    fn leave(self, raise: Raise) -> ! {
        match raise {
            Raise::Top => {}
            Raise::Here => {
                api!(raises::luaL_where(self, 1));
                api!(moves::lua_insert(self, -2));
                api!(pushes::lua_concat(self, 2));
            }
            Raise::Argument(index) => {
                let message = api!(pushes::lua_tostring(self, -1));
                api!(raises::luaL_argerror(self, index, message));
            }
            Raise::Type(index, name) => {
                api!(raises::luaL_typerror(self, index, name.as_ptr()));
            }
        }
        api!(raises::lua_error(self))
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

    // What must hold before Lua is asked.

    /// # Panics
    ///
    /// If nothing may be pushed.
    pub fn assert_room(self) {
        #[cfg(fuzzing)]
        if !self.vm().is_direct.get() {
            return; // Lua's own checks are on.
        }
        assert!(self.has_room(1), "there is no room on the Lua stack");
    }

    /// The index, if it is one at which nothing or something may be.
    ///
    /// # Panics
    ///
    /// If it reaches below the running function, or is no index.
    fn acceptable(self, index: c_int) -> c_int {
        let is_acceptable = index > 0 || index <= ffi::LUA_REGISTRYINDEX || self.is_slot(index);
        assert!(is_acceptable, "{index} is no place on the Lua stack");
        index
    }

    /// Whether there is a value at the index, which is no pseudo one.
    fn is_slot(self, index: c_int) -> bool {
        let count = self.top();
        index != 0 && (-count..=count).contains(&index)
    }

    /// # Panics
    ///
    /// If there is no value at the index.
    #[inline]
    fn assert_slot(self, index: c_int) {
        assert!(self.is_slot(index), "{index} is no place on the Lua stack");
    }

    /// # Panics
    ///
    /// If there is no table at the index.
    #[inline]
    fn assert_table(self, index: c_int) {
        assert!(self.kind(index) == LuaKind::Table, "no table is at {index}");
    }

    // Reading. Indices are as in C: from 1 up, or from -1 (the top) down.

    /// Forgets what is above `top`; nil fills what is missing up to there.
    ///
    /// # Panics
    ///
    /// If there is no room for as many.
    #[inline]
    pub fn set_top(self, top: c_int) {
        let count = self.top();
        assert!(
            top >= 0 && (top <= count || self.reserve(top - count)),
            "no room for {top} values"
        );
        api!(moves::lua_settop(self, top))
    }

    /// # Panics
    ///
    /// If the running function has fewer values.
    pub fn pop(self, count: c_int) {
        self.drop_slots(count as usize);
    }

    /// Makes room for `count` more values; false if the stack may not grow that far.
    pub fn reserve(self, count: c_int) -> bool {
        self.has_room(count) || api!(moves::lua_checkstack(self, count)) != 0
    }

    /// `LuaKind::None` if nothing is at `index`.
    #[inline]
    pub fn kind(self, index: c_int) -> LuaKind {
        match self.slot(index) {
            Some(value) => value.kind(),
            None => LuaKind::of(api!(reads::lua_type(self, self.acceptable(index)))),
        }
    }

    /// The name of the type at `index`, as Lua's own messages say it.
    pub fn kind_name(self, index: c_int) -> &'static str {
        let name = api!(reads::luaL_typename(self, self.acceptable(index)));
        // SAFETY: Lua returns a constant.
        let name = unsafe { CStr::from_ptr(name) };
        name.to_str().unwrap_or("value")
    }

    /// Whether Lua takes the value at `index` for true.
    pub fn boolean(self, index: c_int) -> bool {
        match self.slot(index) {
            Some(value) => value.is_truth(),
            None => api!(reads::lua_toboolean(self, self.acceptable(index))) != 0,
        }
    }

    /// The number at `index`, a string that reads as one included; None if it is neither.
    pub fn number(self, index: c_int) -> Option<f64> {
        if let Some(number) = self.slot(index).and_then(LuaValue::number) {
            return Some(number);
        }
        let index = self.acceptable(index);
        match api!(reads::lua_tonumber(self, index)) {
            0.0 if api!(reads::lua_isnumber(self, index)) == 0 => None,
            number => Some(number),
        }
    }

    /// The string at `index`; None if it is neither string nor number. A number there becomes a
    /// string, so this may not be called on a key while `next` walks over its table.
    ///
    /// # Safety
    ///
    /// The string stays there, or Lua can reach it otherwise, as long as the bytes are used.
    #[inline]
    pub unsafe fn bytes(self, index: c_int) -> Option<&'vm [u8]> {
        // SAFETY: the caller sees to it that the string stays.
        if let Some(bytes) = self.slot(index).and_then(|value| unsafe { value.bytes() }) {
            return Some(bytes);
        }
        let mut len = 0;
        let start = api!(pushes::lua_tolstring(self, self.acceptable(index), &mut len));
        // SAFETY: Lua says where its string lies and how long it is; it stays, as above.
        (!start.is_null()).then(|| unsafe { std::slice::from_raw_parts(start.cast(), len) })
    }

    /// Whether the value at `index` is a string of these bytes.
    pub fn is_text(self, index: c_int, bytes: &[u8]) -> bool {
        // SAFETY: the string stays there for this comparison.
        self.kind(index) == LuaKind::String && unsafe { self.bytes(index) } == Some(bytes)
    }

    /// # Errors
    ///
    /// What Lua says of an argument that is no number.
    pub fn check_number(self, index: c_int) -> Result<f64, Raise> {
        self.number(index).ok_or(Raise::Type(index, c"number"))
    }

    /// The argument as a C `int`: a fraction is cut off, what does not fit wraps.
    ///
    /// # Errors
    ///
    /// As `check_number`.
    pub fn check_int(self, index: c_int) -> Result<i32, Raise> {
        self.check_number(index).map(|number| number as i64 as i32)
    }

    /// As `check_int`, but `default` stands for an argument that is absent or nil.
    ///
    /// # Errors
    ///
    /// As `check_number`.
    pub fn optional_int(self, index: c_int, default: i32) -> Result<i32, Raise> {
        match self.kind(index) {
            LuaKind::None | LuaKind::Nil => Ok(default),
            _ => self.check_int(index),
        }
    }

    /// The argument as a string.
    ///
    /// # Errors
    ///
    /// What Lua says of an argument that is neither string nor number.
    ///
    /// # Safety
    ///
    /// As for `bytes`.
    pub unsafe fn check_bytes(self, index: c_int) -> Result<&'vm [u8], Raise> {
        // SAFETY: the caller sees to it.
        unsafe { self.bytes(index) }.ok_or(Raise::Type(index, c"string"))
    }

    // Pushing.

    #[inline]
    pub fn push_nil(self) {
        // SAFETY: it is no object.
        unsafe { self.push_value(LuaValue::NIL) }
    }

    #[inline]
    pub fn push_boolean(self, value: bool) {
        // SAFETY: it is no object.
        unsafe { self.push_value(LuaValue::of_boolean(value)) }
    }

    #[inline]
    pub fn push_number(self, value: f64) {
        // SAFETY: it is no object.
        unsafe { self.push_value(LuaValue::of_number(value)) }
    }

    /// Copies them into a string of Lua's.
    #[inline]
    pub fn push_bytes(self, bytes: &[u8]) {
        self.assert_room();
        api!(pushes::lua_pushlstring_(self, bytes.as_ptr().cast(), bytes.len()))
    }

    /// Copies it into a string of Lua's.
    pub fn push_text(self, text: &CStr) {
        self.assert_room();
        api!(pushes::lua_pushstring_(self, text.as_ptr()))
    }

    /// Refuses a string that has become, or would become, longer than a script may build.
    ///
    /// # Errors
    ///
    /// If `len` is more than `SCRIPT_STRING_BYTES_MAX`.
    pub fn check_len(self, len: usize) -> Result<(), Raise> {
        match len {
            0..=SCRIPT_STRING_BYTES_MAX => Ok(()),
            _ => Err(self.error(format_args!("resulting string too large"))),
        }
    }

    /// As `check_len`, once for each value that is encoded.
    ///
    /// # Errors
    ///
    /// As `check_len`; also if more than `SCRIPT_ENCODED_VALUES_MAX` values went into one string.
    pub fn check_encoded(self, len: usize) -> Result<(), Raise> {
        let values = self.vm().encoded.get() + 1;
        self.vm().encoded.set(values);
        self.check_len(if values > SCRIPT_ENCODED_VALUES_MAX { usize::MAX } else { len })
    }

    /// Pushes what `write` appends to a buffer that the VM keeps for this.
    ///
    /// # Errors
    ///
    /// What `write` returns.
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
        self.assert_room();
        api!(pushes::lua_pushcfunction(self, function))
    }

    /// Takes `count` values from the top, which the function finds at `upvalue_index(1)` and on.
    ///
    /// # Panics
    ///
    /// If there are fewer.
    pub fn push_closure(self, function: lua_CFunction, count: c_int) {
        assert!((1..=self.top()).contains(&count), "a closure of what is not there");
        api!(pushes::lua_pushcclosure(self, function, count))
    }

    pub fn push_copy(self, index: c_int) {
        if !self.push_slot(index) {
            self.assert_room();
            api!(pushes::lua_pushvalue(self, self.acceptable(index)));
        }
    }

    /// # Panics
    ///
    /// As `assert_slot`.
    pub fn remove(self, index: c_int) {
        self.assert_slot(index);
        api!(moves::lua_remove(self, index))
    }

    /// Moves the value on top down to `index`.
    ///
    /// # Panics
    ///
    /// As `assert_slot`.
    pub fn insert(self, index: c_int) {
        self.assert_slot(index);
        api!(moves::lua_insert(self, index))
    }

    /// Pops a value into the slot at `index`.
    ///
    /// # Panics
    ///
    /// If nothing is there.
    pub fn replace(self, index: c_int) {
        assert!(self.kind(index) != LuaKind::None && self.top() > 0, "nothing is at {index}");
        api!(moves::lua_replace(self, index))
    }

    /// Pops a value into the registry; `push_kept` finds it by the key that this returns.
    pub fn keep(self) -> c_int {
        self.assert_slot(-1);
        api!(tables::luaL_ref(self, ffi::LUA_REGISTRYINDEX))
    }

    /// Pushes what the registry has at a key: nil if that is `LUA_NOREF`.
    #[inline]
    pub fn push_kept(self, key: c_int) {
        self.assert_room();
        api!(tables::lua_rawgeti_(self, ffi::LUA_REGISTRYINDEX, key))
    }

    /// Takes a value that was kept out of the registry.
    pub fn forget(self, key: c_int) {
        api!(tables::luaL_unref(self, ffi::LUA_REGISTRYINDEX, key))
    }

    /// `cjson.null`, what `cmsgpack` calls nil: a pointer to nothing.
    pub fn push_null(self) {
        self.assert_room();
        api!(pushes::lua_pushlightuserdata(self, null_mut()))
    }

    /// An address: a key in tables that no script can forge.
    pub fn push_address<T>(self, address: &'static T) {
        self.assert_room();
        let address = std::ptr::from_ref(address).cast_mut();
        api!(pushes::lua_pushlightuserdata(self, address.cast()))
    }

    pub fn push_error_table(self, text: &[u8]) {
        self.push_table(0, 2);
        self.push_bytes(text);
        self.set_field(-2, "err");
    }

    // Tables. Raw throughout: no metamethod runs. All of these panic if there is no table at the
    // index.

    /// An empty table with room for `elements` from 1 up and `fields`.
    #[inline]
    pub fn push_table(self, elements: usize, fields: usize) {
        self.assert_room();
        let clamp = |count: usize| c_int::try_from(count).unwrap_or(c_int::MAX);
        api!(pushes::lua_createtable(self, clamp(elements), clamp(fields)))
    }

    /// Pushes `table[position]`.
    #[inline]
    pub fn get_index(self, table: c_int, position: c_int) {
        if !self.push_array_slot(table, position) {
            self.assert_table(table);
            self.assert_room();
            api!(tables::lua_rawgeti_(self, table, position));
        }
    }

    /// Pops a value and makes it `table[position]`.
    #[inline]
    pub fn set_index(self, table: c_int, position: c_int) {
        if !self.set_array_slot(table, position) {
            self.assert_table(table);
            self.assert_slot(-1);
            api!(tables::lua_rawseti_(self, table, position));
        }
    }

    /// Replaces the key on top by `table[key]`.
    pub fn get(self, table: c_int) {
        self.assert_table(table);
        self.assert_slot(-1);
        api!(tables::lua_rawget_(self, table))
    }

    /// Pops a value and the key below it.
    ///
    /// # Panics
    ///
    /// If the key is nil or NaN, too.
    #[inline]
    pub fn set(self, table: c_int) {
        self.assert_table(table);
        assert!(self.is_key(-2), "neither nil nor NaN is a key");
        api!(tables::lua_rawset(self, table))
    }

    /// As `set`, but what Lua would raise at, a nil or NaN as the key, drops the value.
    pub fn set_or_drop(self, table: c_int) {
        match self.is_key(-2) {
            true => self.set(table),
            false => self.pop(2),
        }
    }

    /// Whether a table may have the value at `index` as a key.
    #[inline]
    fn is_key(self, index: c_int) -> bool {
        match self.kind(index) {
            LuaKind::None | LuaKind::Nil => false,
            LuaKind::Number => self.number(index).is_some_and(|number| !number.is_nan()),
            _ => true,
        }
    }

    /// Pushes `table[name]`; `table` counts from the bottom, or from the top without the result.
    pub fn get_field(self, table: c_int, name: &str) {
        self.push_bytes(name.as_bytes());
        self.get(below(table));
    }

    /// Pops a value and makes it `table[name]`.
    #[inline]
    pub fn set_field(self, table: c_int, name: &str) {
        self.push_bytes(name.as_bytes());
        self.insert(-2);
        let table = below(table);
        self.assert_table(table);
        api!(tables::lua_rawset(self, table))
    }

    /// Replaces the key on top by the next key and its value; at the end of the table pops it and
    /// returns false. The key is nil at first, then what this has pushed, and the table does not
    /// change meanwhile: else Lua raises.
    #[inline]
    pub fn next(self, table: c_int) -> bool {
        self.assert_table(table);
        self.assert_room();
        api!(tables::lua_next(self, table)) != 0
    }

    /// The border of a table, or a string's length.
    ///
    /// # Panics
    ///
    /// If neither is at the index.
    pub fn len(self, index: c_int) -> usize {
        assert!(matches!(self.kind(index), LuaKind::Table | LuaKind::String), "it has no length");
        api!(reads::lua_objlen(self, index))
    }

    /// The C function at an index; None if there is none.
    pub fn c_function(self, index: c_int) -> Option<lua_CFunction> {
        api!(reads::lua_tocfunction(self, self.acceptable(index)))
    }
}

/// An index once something was pushed.
const fn below(index: c_int) -> c_int {
    if index < 0 && index > ffi::LUA_REGISTRYINDEX { index - 1 } else { index }
}

pub(super) const fn upvalue(index: c_int) -> c_int {
    ffi::lua_upvalueindex(index)
}
