//! Code that scripts load at run time.
//!
//! Only text is compiled: a compiled chunk would run unchecked. Two holes of Lua 5.1's parser are
//! closed here: it does not hold the chunk's name while it runs, and it counts in an `int`.

use super::super::api::api;
use super::super::script::{self, SOURCE_BYTES_MAX};
use super::super::stack::{Stack, upvalue};
use super::plain::{c_functions, raise, stock};
use mlua::ffi;
use std::ffi::{CStr, c_char, c_int};

c_functions! {
    /// The parser does not hold the chunk's name (CVE-2025-49844), so the stack does: as the C
    /// string that the parser takes it for, since strings of the same bytes are one.
    fn load_string(lua) {
        let mut len = 0;
        let source = api!(raises::luaL_checklstring(lua, 1, &mut len));
        let name = api!(raises::luaL_optstring(lua, 2, source));
        api!(pushes::lua_pushstring_(lua, name));
        let name = api!(pushes::lua_tostring(lua, -1));
        if len > SOURCE_BYTES_MAX {
            lua.push_nil();
            lua.push_text(TOO_LONG);
            return 2;
        }
        let source = push_as_text(lua, 1, &mut len);
        if api!(runs::luaL_loadbuffer(lua, source, len, name)) == ffi::LUA_OK {
            return 1;
        }
        lua.push_nil();
        lua.insert(-2);
        2
    }

    /// Lua's own `load` with a reader of ours around the script's; the name is held as above.
    fn load(lua) {
        api!(raises::luaL_checktype(lua, 1, ffi::LUA_TFUNCTION));
        lua.set_top(2);
        let name = api!(raises::luaL_optstring(lua, 2, c"=(load)".as_ptr()));
        api!(pushes::lua_pushstring_(lua, name));
        lua.replace(2);
        lua.push_copy(1);
        lua.push_number(0.0);
        lua.push_closure(read_piece, 2);
        lua.replace(1);
        stock(lua)
    }

    /// Calls the script's reader, its first upvalue; the second counts the bytes so far.
    fn read_piece(lua) {
        lua.set_top(0);
        lua.push_copy(upvalue(1));
        api!(raises::lua_call(lua, 0, 1));
        if api!(reads::lua_isstring(lua, 1)) == 0 {
            return 1;
        }
        let mut len = 0;
        let before = lua.number(upvalue(2)).unwrap_or_default();
        if before == 0.0 {
            push_as_text(lua, 1, &mut len);
        } else {
            len = lua.len(1);
        }
        let total = before + len as f64;
        if total > SOURCE_BYTES_MAX as f64 {
            return raise(lua, TOO_LONG);
        }
        lua.push_number(total);
        lua.replace(upvalue(2));
        1
    }
}

const TOO_LONG: &CStr = c"chunk is too long";

/// Pushes the source at `index` so that it cannot be taken for a compiled chunk.
fn push_as_text(lua: Stack<'_>, index: c_int, len: &mut usize) -> *const c_char {
    // SAFETY: it stays there for this look.
    let is_compiled = unsafe { lua.bytes(index) }.is_some_and(script::is_compiled);
    lua.push_bytes(if is_compiled { b" " } else { b"" });
    lua.push_copy(index);
    api!(pushes::lua_concat(lua, 2));
    api!(pushes::lua_tolstring(lua, -1, len))
}
