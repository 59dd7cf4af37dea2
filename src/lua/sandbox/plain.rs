//! The plain C functions that stand around Lua's own, or in their place.
//!
//! Lua's own functions raise, and so do these: with `longjmp`, which leaves their frames as they
//! are. So they hold nothing with a destructor. Where a function of ours needs any, it is a library
//! function instead (see `stack`).

use super::super::api::api;
use super::super::stack::{Stack, upvalue};
use std::ffi::{CStr, c_int};

/// Declares plain C functions.
macro_rules! c_functions {
    ($($(#[$doc:meta])* fn $name:ident($lua:ident) $body:block)*) => {$(
        $(#[$doc])*
        pub unsafe extern "C-unwind" fn $name(
            state: *mut mlua::ffi::lua_State,
        ) -> std::ffi::c_int {
            // SAFETY: Lua calls this with a state that is alive until it returns.
            let $lua = unsafe { $crate::lua::stack::Stack::new(state) };
            $body
        }
    )*};
}
pub(super) use c_functions;

/// Lua's own function, around which a wrapper stands.
pub(super) fn stock(lua: Stack<'_>) -> c_int {
    let function = lua.c_function(upvalue(1));
    let function = function.expect("wrappers stand around C functions");
    // SAFETY: it finds its arguments where the wrapper does, and raises from where that may.
    unsafe { function(lua.state()) }
}

pub(super) const READ_ONLY: &CStr = c"Attempt to modify a readonly table";

pub(super) fn refuse(lua: Stack<'_>) -> ! {
    lua.push_text(READ_ONLY);
    api!(raises::lua_error(lua))
}

/// Raises with the place before the message.
pub(super) fn raise(lua: Stack<'_>, message: &CStr) -> c_int {
    api!(raises::luaL_error(lua, c"%s".as_ptr(), message.as_ptr()))
}
