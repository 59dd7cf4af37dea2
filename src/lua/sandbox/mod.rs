//! What scripts see: the globals of Redis 7.4, read-only, and none of the holes of stock Lua 5.1.5.
//!
//! ```text
//! functions    the globals of libraries
//! guard        tables that no script can change
//! words        KEYS and ARGV
//! load         code that scripts load at run time
//! limits       what would go on without end
//! coroutines   what begins when a script is being killed
//! plain        how the functions around Lua's own are written
//! ```
//!
//! Globals are guarded as the libraries are, but a script whose code assigns to no global runs in
//! the true table of globals, where reads are direct.
//!
//! Absent, though Redis has them: `newproxy` (its `__gc` would run Lua in the middle of a push)
//! and Redis's own `__redis__err__handler`. No compiled chunk can be loaded, as in Redis.

mod coroutines;
pub(super) mod functions;
mod guard;
mod limits;
mod load;
mod plain;
pub(super) mod words;

use super::api::api;
use super::stack::{LuaKind, Returns, Stack, c_function};
use super::{bit, cjson, cmsgpack, layout, redis, structs};
use coroutines::{refuse_killed, wrap as wrap_coroutine};
use guard::{
    getfenv, getmetatable, guard_string_metatable, look_through_guard, missing, next, pairs,
    push_guard, rawget, refuse_guard, setfenv,
};
use limits::{collect_garbage, find, matching, unpack};
use load::{load, load_string};
use mlua::ffi::{self, lua_CFunction};
use plain::c_functions;
use std::ffi::c_int;

/// The globals that are Lua's own, wrapped or not.
const BASE: [&str; 26] = [
    "_VERSION",
    "assert",
    "collectgarbage",
    "error",
    "gcinfo",
    "getfenv",
    "getmetatable",
    "ipairs",
    "load",
    "loadstring",
    "next",
    "pairs",
    "pcall",
    "rawequal",
    "rawget",
    "rawset",
    "select",
    "setfenv",
    "setmetatable",
    "tonumber",
    "tostring",
    "type",
    "unpack",
    "xpcall",
    "coroutine",
    "table",
];

/// What stands around Lua's own functions, or in their place, by library (`_G` for the base).
#[rustfmt::skip]
const WRAPPERS: [(&str, &str, lua_CFunction); 24] = [
    ("_G", "collectgarbage", collect_garbage),
    ("_G", "getfenv", getfenv),
    ("_G", "getmetatable", getmetatable),
    ("_G", "load", load),
    ("_G", "loadstring", load_string),
    ("_G", "next", next),
    ("_G", "pairs", pairs),
    ("_G", "pcall", pcall),
    ("_G", "rawget", rawget),
    ("_G", "rawset", refuse_guard),
    ("_G", "setfenv", setfenv),
    ("_G", "setmetatable", refuse_guard),
    ("_G", "unpack", unpack),
    ("coroutine", "create", refuse_killed),
    ("coroutine", "resume", refuse_killed),
    ("coroutine", "wrap", wrap_coroutine),
    ("string", "find", find),
    ("string", "gfind", matching),
    ("string", "gmatch", matching),
    ("string", "gsub", matching),
    ("string", "match", matching),
    ("table", "foreach", look_through_guard),
    ("table", "foreachi", look_through_guard),
    ("table", "insert", refuse_guard),
];

/// Makes the globals of a new state.
pub(super) fn install(lua: Stack<'_>) {
    open_stock(lua);
    lua.push_copy(ffi::LUA_GLOBALSINDEX);
    let stock = lua.top();
    wrap(lua, stock);
    lua.push_table(0, 64);
    let globals = lua.top();
    BASE.iter().chain(&["math", "string"]).for_each(|name| copy(lua, stock, globals, name));
    add_library(lua, globals, "bit", |lua| add_to_new(lua, bit::functions()));
    add_library(lua, globals, "cjson", cjson::push_library);
    add_library(lua, globals, "cmsgpack", cmsgpack::push_library);
    add_library(lua, globals, "os", |lua| add_to_new(lua, [("clock", c_function(clock))]));
    add_library(lua, globals, "redis", redis::push_library);
    add_library(lua, globals, "struct", |lua| add_to_new(lua, structs::functions()));
    guard_globals(lua, globals);
    layout::check(lua);
}

/// Lua's own libraries, as they come.
fn open_stock(lua: Stack<'_>) {
    for (name, open) in [
        (c"", ffi::luaopen_base as lua_CFunction),
        (c"table", ffi::luaopen_table),
        (c"string", ffi::luaopen_string),
        (c"math", ffi::luaopen_math),
    ] {
        lua.push_function(open);
        lua.push_text(name);
        api!(raises::lua_call(lua, 1, 0));
    }
}

/// Puts the wrappers into the libraries. Each has what it stands around as its upvalue.
fn wrap(lua: Stack<'_>, stock: c_int) {
    for (library, name, wrapper) in WRAPPERS {
        lua.get_field(stock, library);
        match name {
            "pairs" => lua.get_field(-1, "next"), // Wrapped already: what `pairs` returns.
            name => lua.get_field(-1, name),
        }
        lua.push_closure(wrapper, 1);
        lua.set_field(-2, name);
        lua.pop(1);
    }
}

/// Takes one of Lua's own globals over, a table behind its guard.
fn copy(lua: Stack<'_>, stock: c_int, globals: c_int, name: &str) {
    lua.get_field(stock, name);
    match name {
        "math" => add(lua, [("random", c_function(random)), ("randomseed", c_function(seed))]),
        "string" => {
            add(lua, [("rep", c_function(limits::repeat))]);
            guard_string_metatable(lua);
        }
        _ => {}
    }
    if lua.kind(-1) == LuaKind::Table {
        push_guard(lua);
        lua.remove(-2);
    }
    lua.set_field(globals, name);
}

/// Makes what scripts see of the globals, which are on top, and empties the stack.
fn guard_globals(lua: Stack<'_>, globals: c_int) {
    // Reading a global that is not there is an error, in both environments.
    lua.push_table(0, 1);
    lua.push_function(missing);
    lua.set_field(-2, "__index");
    push_guard(lua);
    lua.push_copy(globals);
    push_guard(lua);
    let guard = lua.top();
    // What `getmetatable(_G)` shows.
    api!(pushes::lua_getmetatable(lua, guard));
    lua.push_copy(guard - 2);
    lua.set_field(-2, "__metatable");
    lua.pop(1);
    lua.push_copy(guard - 3);
    api!(tables::lua_setmetatable(lua, globals));
    lua.push_copy(guard);
    lua.set_field(globals, "_G");

    // Code that scripts load, and what C functions take for the globals.
    lua.push_copy(guard);
    lua.replace(ffi::LUA_GLOBALSINDEX);
    let vm = lua.vm();
    let _ = vm.guard.set(lua.keep());
    lua.set_top(globals);
    let _ = vm.globals.set(lua.keep());
    lua.set_top(0);
}

fn add_library(lua: Stack<'_>, globals: c_int, name: &str, push: impl FnOnce(Stack<'_>)) {
    push(lua);
    push_guard(lua);
    lua.set_field(globals, name);
    lua.pop(1);
}

pub(super) fn add_to_new<const N: usize>(lua: Stack<'_>, functions: [(&str, lua_CFunction); N]) {
    lua.push_table(0, N);
    add(lua, functions);
}

fn add<const N: usize>(lua: Stack<'_>, functions: [(&str, lua_CFunction); N]) {
    for (name, function) in functions {
        lua.push_function(function);
        lua.set_field(-2, name);
    }
}

/// Pushes the true table of globals.
///
/// # Panics
///
/// Before `install` has made it.
pub(super) fn push_globals(lua: Stack<'_>) {
    lua.push_kept(*lua.vm().globals.get().expect("the sandbox is installed"));
}

fn random(lua: Stack<'_>) -> Returns {
    let drawn = lua.vm().random.draw();
    let (low, high) = match lua.top() {
        0 => {
            lua.push_number(drawn);
            return Ok(1);
        }
        1 => (1, lua.check_int(1)?),
        2 => (lua.check_int(1)?, lua.check_int(2)?),
        _ => return Err(lua.error(format_args!("wrong number of arguments"))),
    };
    if low > high {
        return Err(lua.argument_error(lua.top(), format_args!("interval is empty")));
    }
    let span = f64::from(high.wrapping_sub(low).wrapping_add(1));
    lua.push_number((drawn * span).floor() + f64::from(low));
    Ok(1)
}

fn seed(lua: Stack<'_>) -> Returns {
    let seed = lua.check_int(1)?;
    lua.vm().random.seed(seed);
    Ok(0)
}

fn clock(lua: Stack<'_>) -> Returns {
    let seconds = lua.vm().commands(|commands| commands.clock_s());
    lua.push_number(seconds);
    Ok(1)
}

c_functions! {
    /// As Redis's `pcall`: of an error table it returns the text.
    fn pcall(lua) {
        if lua.top() == 0 {
            lua.push_nil(); // Is called, and fails.
        }
        let count = lua.top();
        lua.push_boolean(true);
        lua.insert(1);
        if api!(runs::lua_pcall(lua, count - 1, ffi::LUA_MULTRET, 0)) != ffi::LUA_OK {
            lua.push_boolean(false);
            lua.replace(1);
            if lua.kind(-1) == LuaKind::Table {
                lua.get_field(-1, "err");
                match lua.kind(-1) {
                    LuaKind::String | LuaKind::Number => lua.remove(-2),
                    _ => lua.pop(1),
                }
            }
        }
        lua.top()
    }
}
