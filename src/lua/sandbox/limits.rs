//! What Lua's own functions would do without end, or without a bound on memory or C stack.

use super::super::api::api;
use super::super::stack::{LuaKind, Returns, Stack};
use super::plain::{c_functions, raise, stock};
use mlua::ffi;
use std::ffi::c_int;

/// Longest pattern of `string.find` and the like, in bytes. Matching takes C stack for each item of
/// a pattern, about 100 bytes, and Lua 5.1 does not bound it.
const PATTERN_BYTES_MAX: usize = 16 * 1024;

/// `string.rep`. Lua's own goes on for minutes if it is told to.
pub(super) fn repeat(lua: Stack<'_>) -> Returns {
    // SAFETY: it is an argument, and copied before the result replaces anything.
    let text = unsafe { lua.check_bytes(1) }?;
    let count = usize::try_from(lua.check_int(2)?).unwrap_or(0);
    lua.check_len(text.len().saturating_mul(count))?;
    lua.push_bytes(&text.repeat(count));
    Ok(1)
}

fn bound_pattern(lua: Stack<'_>) {
    if lua.kind(2) == LuaKind::String && lua.len(2) > PATTERN_BYTES_MAX {
        raise(lua, c"pattern too complex");
    }
}

c_functions! {
    /// Unlike Lua's own it counts without overflow (CVE-2025-46817).
    fn unpack(lua) {
        api!(raises::luaL_checktype(lua, 1, ffi::LUA_TTABLE));
        let first = api!(raises::luaL_optinteger(lua, 2, 1)) as c_int;
        let last = match lua.kind(3) {
            LuaKind::None | LuaKind::Nil => lua.len(1) as c_int,
            _ => api!(raises::luaL_checkinteger(lua, 3)) as c_int,
        };
        let count = i64::from(last) - i64::from(first) + 1;
        if count <= 0 {
            return 0;
        }
        let Some(count) = c_int::try_from(count).ok().filter(|&count| lua.reserve(count)) else {
            return raise(lua, c"too many results to unpack");
        };
        for position in first..=last {
            lua.get_index(1, position);
        }
        count
    }

    /// The collector is the server's to tune; what would tune it answers as if it had.
    fn collect_garbage(lua) {
        let tunes = ["stop", "restart", "setpause", "setstepmul"];
        if !tunes.iter().any(|what| lua.is_text(1, what.as_bytes())) {
            return stock(lua);
        }
        lua.push_number(0.0);
        1
    }

    fn find(lua) {
        if !lua.boolean(4) {
            bound_pattern(lua);
        }
        stock(lua)
    }

    /// Around the other functions that match a pattern, their second argument.
    fn matching(lua) {
        bound_pattern(lua);
        stock(lua)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Lua;
    use super::super::super::fake::{MEMORY_BYTES_MAX, run};
    use crate::proto::Protocol;

    #[test]
    fn the_holes_of_stock_lua_are_closed() {
        for source in [
            "return pcall(loadstring, '\\27Lua')",
            "return newproxy == nil",
            "return string.dump == nil or string.dump",
            "return string.find(string.rep('a', 1e6), string.rep('a?', 1e6))",
            "return unpack({}, -2147483648, 2147483647)",
            "return collectgarbage('stop')",
            "local f = load(function() return '\\27Lua' end) return f == nil",
            "return string.rep('x', 1e9)",
            "local t = {} while true do t[#t + 1] = string.rep(#t, 1e5) end",
            "local function f(s) return string.gsub(s, '.', f) end return f('a')",
            "local function f() return f() + 1 end return f()",
            "return cjson.decode(string.rep('[', 1e5))",
            "return #cmsgpack.unpack(string.rep('\\145', 1e5))",
        ] {
            let mut lua = Lua::new(MEMORY_BYTES_MAX);
            run(&mut lua, source, &[], Protocol::Resp2, false);
            assert_eq!(run(&mut lua, "return 1", &[], Protocol::Resp2, false), r":1\r\n");
        }
    }
}
