//! Tables that no script can change.
//!
//! Lua 5.1 has no read-only tables (Redis patched them into its own copy), and `__newindex` guards
//! only keys that are absent. So scripts never hold a true library table: they see an empty one,
//! its *guard*, whose metatable reads from the true table and refuses writes. The functions that
//! look at a table as it is (`next`, `rawget`, ...) look through guards.

use super::super::api::api;
use super::super::stack::{LuaKind, Stack, upvalue};
use super::plain::{READ_ONLY, c_functions, raise, refuse, stock};
use super::push_globals;
use mlua::ffi;
use std::ffi::c_int;

/// At this address as key, a guard's metatable holds the true table. No script can write the key.
static TRUE_TABLE: u8 = 0;

/// Pushes a guard of the table on top.
pub(super) fn push_guard(lua: Stack<'_>) {
    lua.push_table(0, 0);
    lua.push_table(0, 4);
    lua.push_address(&TRUE_TABLE);
    lua.push_copy(-4);
    lua.set(-3);
    lua.push_copy(-3);
    lua.set_field(-2, "__index");
    lua.push_function(refuse_assignment);
    lua.set_field(-2, "__newindex");
    api!(tables::lua_setmetatable(lua, -2));
}

/// `getmetatable("")` shows a guard, so that no script changes what strings do for the next one. On
/// top is the true `string` table, which the metatable goes on using.
pub(super) fn guard_string_metatable(lua: Stack<'_>) {
    lua.push_bytes(b"");
    api!(pushes::lua_getmetatable(lua, -1));
    lua.push_table(0, 1);
    lua.push_copy(-4);
    push_guard(lua);
    lua.set_field(-3, "__index");
    lua.pop(1);
    push_guard(lua);
    lua.set_field(-3, "__metatable");
    lua.pop(3);
}

/// Puts the true table in place of a guard at `index`; false if there is none.
pub(super) fn look_through(lua: Stack<'_>, index: c_int) -> bool {
    if api!(pushes::lua_getmetatable(lua, index)) == 0 {
        return false;
    }
    lua.push_address(&TRUE_TABLE);
    lua.get(-2);
    let is_guard = lua.kind(-1) == LuaKind::Table;
    if is_guard {
        lua.push_copy(-1);
        lua.replace(index);
    }
    lua.pop(2);
    is_guard
}

c_functions! {
    /// `__newindex` of guards.
    fn refuse_assignment(lua) {
        raise(lua, READ_ONLY)
    }

    /// `__index` of the globals.
    fn missing(lua) {
        let format = match lua.kind(2) {
            LuaKind::String | LuaKind::Number => {
                c"Script attempted to access nonexistent global variable '%s'"
            }
            _ => c"Second argument to luaProtectedTableError must be a string or number",
        };
        let name = api!(pushes::lua_tostring(lua, 2));
        api!(raises::luaL_error(lua, format.as_ptr(), name))
    }

    /// Around functions that change the table they are given.
    fn refuse_guard(lua) {
        if look_through(lua, 1) {
            refuse(lua);
        }
        stock(lua)
    }

    /// Around functions that read the table they are given, and show none of it but its fields.
    fn look_through_guard(lua) {
        look_through(lua, 1);
        stock(lua)
    }

    fn next(lua) {
        api!(raises::luaL_checktype(lua, 1, ffi::LUA_TTABLE));
        lua.set_top(2);
        look_through(lua, 1);
        if lua.next(1) {
            return 2;
        }
        lua.push_nil();
        1
    }

    /// Its upvalue is `next`.
    fn pairs(lua) {
        api!(raises::luaL_checktype(lua, 1, ffi::LUA_TTABLE));
        lua.push_copy(upvalue(1));
        lua.push_copy(1);
        lua.push_nil();
        3
    }

    fn rawget(lua) {
        api!(raises::luaL_checktype(lua, 1, ffi::LUA_TTABLE));
        api!(raises::luaL_checkany(lua, 2));
        lua.set_top(2);
        look_through(lua, 1);
        lua.get(1);
        1
    }

    fn getmetatable(lua) {
        api!(raises::luaL_checkany(lua, 1));
        lua.set_top(1);
        lua.push_copy(1);
        if !look_through(lua, 2) {
            lua.set_top(1);
            return stock(lua);
        }
        api!(pushes::lua_getmetatable(lua, 1));
        lua.get_field(-1, "__metatable");
        1
    }

    /// Shows the guard for the true globals, in which a script may run.
    fn getfenv(lua) {
        let count = stock(lua);
        push_globals(lua);
        if api!(reads::lua_rawequal(lua, -1, -2)) != 0 {
            lua.push_kept(*lua.vm().guard.get().expect("the sandbox is installed"));
            return 1;
        }
        lua.pop(1);
        count
    }

    /// Level 0 would change the globals of all scripts to come.
    fn setfenv(lua) {
        if lua.number(1).is_some_and(|level| level as c_int == 0) {
            refuse(lua);
        }
        stock(lua)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Lua;
    use super::super::super::fake::{MEMORY_BYTES_MAX, run};
    use crate::proto::Protocol;

    #[test]
    fn nothing_that_a_script_does_reaches_the_next_one() {
        let mut lua = Lua::new(MEMORY_BYTES_MAX);
        for attack in [
            "string.len = nil",
            "_G.string = nil",
            "string = nil",
            "rawset(string, 'len', 1)",
            "rawset(_G, 'string', 1)",
            "table.insert(string, 1)",
            "setmetatable(string, {})",
            "setmetatable(_G, {})",
            "getmetatable('').__index = nil",
            "getmetatable(_G).__index = nil",
            "getmetatable(string).__index.len = nil",
            "getfenv().string = nil",
            "getfenv(0).string = nil",
            "getfenv(string.len).string = nil",
            "setfenv(0, {})",
            "loadstring('string = nil')()",
            "for k, v in pairs(_G) do _G[k] = nil end",
            "local _, t = pairs(string) t.len = nil",
            "setfenv(1, {}) return 1",
            "coroutine.wrap(function() string = nil end)()",
            "KEYS = nil",
        ] {
            run(&mut lua, attack, &[], Protocol::Resp2, false);
            let probe = "return ('abc'):len() + string.len('abc')";
            assert_eq!(run(&mut lua, probe, &[], Protocol::Resp2, false), r":6\r\n", "{attack}");
        }
    }

    /// A script that assigns to a global sees the globals through their guard, others directly.
    #[test]
    fn both_environments_look_the_same() {
        for source in [
            "return type(string.len)",
            "local n = 0 for name in pairs(_G) do n = n + #name end return n",
            "return select(2, pcall(function() return nosuch end))",
            "return tostring(getfenv() == _G) .. tostring(getfenv(1) == _G._G)",
            "return rawget(_G, 'nosuch') == nil and rawget(_G, 'type') == type",
            "return next(_G) ~= nil and #KEYS + #ARGV",
            "return select(2, pcall(rawset, _G, 'x', 1))",
            "return loadstring('return type(_G.string)')()",
            "return coroutine.wrap(function() return redis.call('echo', KEYS[1]) end)()",
        ] {
            let mut lua = Lua::new(MEMORY_BYTES_MAX);
            let mut run = |source: &str| run(&mut lua, source, &[b"k"], Protocol::Resp2, false);
            let direct = run(source);
            assert_eq!(run(&format!("if nil then x = 1 end {source}")), direct, "{source}");
            assert!(direct.starts_with(['$', ':']), "{source} {direct}");
        }
    }
}
