//! What scripts see: the globals of Redis 7.4, read-only, and none of the holes of stock Lua 5.1.5.
//!
//! Lua 5.1 has no read-only tables (Redis patched them into its own copy), and `__newindex` guards
//! only keys that are absent. So scripts never hold a true library table: they see an empty one,
//! its *guard*, whose metatable reads from the true table and refuses writes. The functions that
//! look at a table as it is (`next`, `rawget`, ...) look through guards. Globals work alike, but a
//! script whose code assigns to no global runs in the true table of globals, where reads are
//! direct.
//!
//! Absent, though Redis has them: `newproxy` (its `__gc` would run Lua in the middle of a push)
//! and Redis's own `__redis__err__handler`. No compiled chunk can be loaded, as in Redis.
//!
//! The functions here are plain C functions: they hold nothing with a destructor, so they may
//! raise.

use super::script::{self, SOURCE_BYTES_MAX};
use super::stack::{Kind, Returns, Stack, api, c_function, upvalue};
use super::{bit, cjson, cmsgpack, layout, redis, structs};
use mlua::ffi::{self, lua_CFunction, lua_State};
use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int};

/// Longest pattern of `string.find` and the like. Matching takes C stack for each item of a
/// pattern, about 100 bytes, and Lua 5.1 does not bound it.
const PATTERN_BYTES_MAX: usize = 16 * 1024;

/// At this address as key, a guard's metatable holds the true table. No script can write the key.
static TRUE_TABLE: u8 = 0;

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
    ("coroutine", "wrap", wrap),
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
pub(super) fn install(lua: Stack) {
    for (name, open) in [
        (c"", ffi::luaopen_base as lua_CFunction),
        (c"table", ffi::luaopen_table),
        (c"string", ffi::luaopen_string),
        (c"math", ffi::luaopen_math),
    ] {
        lua.push_function(open);
        api!(lua_pushstring_(lua, name.as_ptr()));
        api!(lua_call(lua, 1, 0));
    }
    lua.push_copy(ffi::LUA_GLOBALSINDEX);
    let stock = lua.top();
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

    lua.push_table(0, 64);
    let globals = lua.top();
    for name in BASE.iter().chain(&["math", "string"]) {
        lua.get_field(stock, name);
        match *name {
            "math" => add(
                lua,
                [
                    ("random", c_function(random)),
                    (
                        "randomseed",
                        c_function(|lua| {
                            let seed = lua.check_int(1)?;
                            lua.vm().random.seed(seed);
                            Ok(0)
                        }),
                    ),
                ],
            ),
            "string" => {
                add(lua, [("rep", c_function(repeat))]);
                guard_string_metatable(lua);
            }
            _ => {}
        }
        if lua.kind(-1) == Kind::Table {
            push_guard(lua);
            lua.remove(-2);
        }
        lua.set_field(globals, name);
    }
    add_library(lua, globals, "bit", |lua| add_to_new(lua, bit::functions()));
    add_library(lua, globals, "cjson", cjson::push_library);
    add_library(lua, globals, "cmsgpack", cmsgpack::push_library);
    add_library(lua, globals, "os", |lua| add_to_new(lua, [("clock", c_function(clock))]));
    add_library(lua, globals, "redis", redis::push_library);
    add_library(lua, globals, "struct", |lua| add_to_new(lua, structs::functions()));

    // Reading a global that is not there is an error, in both environments.
    lua.push_table(0, 1);
    lua.push_function(missing);
    lua.set_field(-2, "__index");
    push_guard(lua);
    lua.push_copy(globals);
    push_guard(lua);
    let guard = lua.top();
    // What `getmetatable(_G)` shows.
    api!(lua_getmetatable(lua, guard));
    lua.push_copy(guard - 2);
    lua.set_field(-2, "__metatable");
    lua.pop(1);
    lua.push_copy(guard - 3);
    api!(lua_setmetatable(lua, globals));
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
    layout::check(lua);
}

fn add_library(lua: Stack, globals: c_int, name: &str, push: impl FnOnce(Stack)) {
    push(lua);
    push_guard(lua);
    lua.set_field(globals, name);
    lua.pop(1);
}

pub(super) fn add_to_new<const N: usize>(lua: Stack, functions: [(&str, lua_CFunction); N]) {
    lua.push_table(0, N);
    add(lua, functions);
}

fn add<const N: usize>(lua: Stack, functions: [(&str, lua_CFunction); N]) {
    for (name, function) in functions {
        lua.push_function(function);
        lua.set_field(-2, name);
    }
}

/// Pushes a guard of the table on top.
fn push_guard(lua: Stack) {
    lua.push_table(0, 0);
    lua.push_table(0, 4);
    lua.push_address(&TRUE_TABLE);
    lua.push_copy(-4);
    lua.set(-3);
    lua.push_copy(-3);
    lua.set_field(-2, "__index");
    lua.push_function(refuse_assignment);
    lua.set_field(-2, "__newindex");
    api!(lua_setmetatable(lua, -2));
}

/// `getmetatable("")` shows a guard, so that no script changes what strings do for the next one. On
/// top is the true `string` table, which the metatable goes on using.
fn guard_string_metatable(lua: Stack) {
    lua.push_bytes(b"");
    api!(lua_getmetatable(lua, -1));
    lua.push_table(0, 1);
    lua.push_copy(-4);
    push_guard(lua);
    lua.set_field(-3, "__index");
    lua.pop(1);
    push_guard(lua);
    lua.set_field(-3, "__metatable");
    lua.pop(3);
}

/// Makes `KEYS` or `ARGV`. The table that the script had last time is used again as far as it still
/// holds the same words: most keys of a queue repeat, and a string that is compared is not hashed.
/// Returns the bytes in it.
pub(super) fn set_words(lua: Stack, kept: &Cell<c_int>, name: &str, words: &[&[u8]]) -> usize {
    push_globals(lua);
    lua.push_kept(kept.get());
    if !refill(lua, words) {
        lua.pop(1);
        lua.forget(kept.get());
        lua.push_table(words.len(), 0);
        for (position, word) in (1..).zip(words) {
            lua.push_bytes(word);
            lua.set_index(-2, position);
        }
        lua.push_copy(-1);
        kept.set(lua.keep());
    }
    lua.set_field(-2, name);
    lua.pop(1);
    words.iter().map(|word| word.len()).sum()
}

/// Makes the table on top hold `words` and nothing else, if it still is what was made for as many.
fn refill(lua: Stack, words: &[&[u8]]) -> bool {
    if !lua.is_array_of(-1, words.len()) {
        return false;
    }
    for (position, &word) in (1..).zip(words) {
        lua.get_index(-1, position);
        let is_same = lua.kind(-1) == Kind::String && lua.bytes(-1) == Some(word);
        lua.pop(1);
        if !is_same {
            lua.push_bytes(word);
            lua.set_index(-2, position);
        }
    }
    true
}

/// Lets go of `KEYS` and `ARGV`, which were too large to keep.
pub(super) fn release_words(lua: Stack, kept: &[Cell<c_int>; 2]) {
    push_globals(lua);
    for (kept, name) in kept.iter().zip(["KEYS", "ARGV"]) {
        lua.forget(kept.replace(ffi::LUA_NOREF));
        lua.push_table(0, 0);
        lua.set_field(-2, name);
    }
    lua.pop(1);
}

pub(super) fn push_globals(lua: Stack) {
    lua.push_kept(*lua.vm().globals.get().expect("the sandbox is installed"));
}

/// `string.rep`. Lua's own goes on for minutes if it is told to.
fn repeat(lua: Stack) -> Returns {
    let text = lua.check_bytes(1)?;
    let count = usize::try_from(lua.check_int(2)?).unwrap_or(0);
    lua.check_len(text.len().saturating_mul(count))?;
    lua.push_bytes(&text.repeat(count));
    Ok(1)
}

fn random(lua: Stack) -> Returns {
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

fn clock(lua: Stack) -> Returns {
    let seconds = lua.vm().commands(|commands| commands.clock_s());
    lua.push_number(seconds);
    Ok(1)
}

/// Lua's own function, around which a wrapper stands.
fn stock(lua: Stack) -> c_int {
    let function = api!(lua_tocfunction(lua, upvalue(1)));
    let function = function.expect("wrappers stand around C functions");
    // SAFETY: it finds its arguments where the wrapper does, and raises from where that may.
    unsafe { function(lua.0) }
}

/// Puts the true table in place of a guard at `index`; false if there is none.
fn look_through(lua: Stack, index: c_int) -> bool {
    if api!(lua_getmetatable(lua, index)) == 0 {
        return false;
    }
    lua.push_address(&TRUE_TABLE);
    lua.get(-2);
    let is_guard = lua.kind(-1) == Kind::Table;
    if is_guard {
        lua.push_copy(-1);
        lua.replace(index);
    }
    lua.pop(2);
    is_guard
}

const READ_ONLY: &CStr = c"Attempt to modify a readonly table";

fn refuse(lua: Stack) -> ! {
    api!(lua_pushstring_(lua, READ_ONLY.as_ptr()));
    api!(lua_error(lua))
}

/// Raises with the place before the message.
fn raise(lua: Stack, message: &CStr) -> c_int {
    api!(luaL_error(lua, c"%s".as_ptr(), message.as_ptr()))
}

/// Declares plain C functions.
macro_rules! c_functions {
    ($($(#[$doc:meta])* fn $name:ident($lua:ident) $body:block)*) => {$(
        $(#[$doc])*
        unsafe extern "C-unwind" fn $name(state: *mut lua_State) -> c_int {
            let $lua = Stack(state);
            $body
        }
    )*};
}

c_functions! {
    /// `__newindex` of guards.
    fn refuse_assignment(lua) {
        raise(lua, READ_ONLY)
    }

    /// `__index` of the globals.
    fn missing(lua) {
        let format = match lua.kind(2) {
            Kind::String | Kind::Number => {
                c"Script attempted to access nonexistent global variable '%s'"
            }
            _ => c"Second argument to luaProtectedTableError must be a string or number",
        };
        let name = api!(lua_tostring(lua, 2));
        api!(luaL_error(lua, format.as_ptr(), name))
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
        api!(luaL_checktype(lua, 1, ffi::LUA_TTABLE));
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
        api!(luaL_checktype(lua, 1, ffi::LUA_TTABLE));
        lua.push_copy(upvalue(1));
        lua.push_copy(1);
        lua.push_nil();
        3
    }

    fn rawget(lua) {
        api!(luaL_checktype(lua, 1, ffi::LUA_TTABLE));
        api!(luaL_checkany(lua, 2));
        lua.set_top(2);
        look_through(lua, 1);
        lua.get(1);
        1
    }

    fn getmetatable(lua) {
        api!(luaL_checkany(lua, 1));
        lua.set_top(1);
        lua.push_copy(1);
        if !look_through(lua, 2) {
            lua.set_top(1);
            return stock(lua);
        }
        api!(lua_getmetatable(lua, 1));
        lua.get_field(-1, "__metatable");
        1
    }

    /// Shows the guard for the true globals, in which a script may run.
    fn getfenv(lua) {
        let count = stock(lua);
        push_globals(lua);
        if api!(lua_rawequal(lua, -1, -2)) != 0 {
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

    /// As Redis's `pcall`: of an error table it returns the text.
    fn pcall(lua) {
        if lua.top() == 0 {
            lua.push_nil(); // Is called, and fails.
        }
        let count = lua.top();
        lua.push_boolean(true);
        api!(lua_insert(lua, 1));
        if api!(lua_pcall(lua, count - 1, ffi::LUA_MULTRET, 0)) != ffi::LUA_OK {
            lua.push_boolean(false);
            lua.replace(1);
            if lua.kind(-1) == Kind::Table {
                lua.get_field(-1, "err");
                match lua.kind(-1) {
                    Kind::String | Kind::Number => lua.remove(-2),
                    _ => lua.pop(1),
                }
            }
        }
        lua.top()
    }

    /// Unlike Lua's own it counts without overflow (CVE-2025-46817).
    fn unpack(lua) {
        api!(luaL_checktype(lua, 1, ffi::LUA_TTABLE));
        let first = api!(luaL_optinteger(lua, 2, 1)) as c_int;
        let last = match lua.kind(3) {
            Kind::None | Kind::Nil => lua.len(1) as c_int,
            _ => api!(luaL_checkinteger(lua, 3)) as c_int,
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
        match lua.bytes(1) {
            Some(b"stop" | b"restart" | b"setpause" | b"setstepmul") => lua.push_number(0.0),
            _ => return stock(lua),
        }
        1
    }

    /// The parser does not hold the chunk's name (CVE-2025-49844), so the stack does: as the C
    /// string that the parser takes it for, since strings of the same bytes are one.
    fn load_string(lua) {
        let mut len = 0;
        let source = api!(luaL_checklstring(lua, 1, &mut len));
        let name = api!(luaL_optstring(lua, 2, source));
        api!(lua_pushstring_(lua, name));
        let name = api!(lua_tostring(lua, -1));
        if len > SOURCE_BYTES_MAX {
            lua.push_nil();
            api!(lua_pushstring_(lua, TOO_LONG.as_ptr()));
            return 2;
        }
        let source = push_as_text(lua, 1, &mut len);
        if api!(luaL_loadbuffer(lua, source, len, name)) == ffi::LUA_OK {
            return 1;
        }
        lua.push_nil();
        api!(lua_insert(lua, -2));
        2
    }

    /// Lua's own `load` with a reader of ours around the script's; the name is held as above.
    fn load(lua) {
        api!(luaL_checktype(lua, 1, ffi::LUA_TFUNCTION));
        lua.set_top(2);
        let name = api!(luaL_optstring(lua, 2, c"=(load)".as_ptr()));
        api!(lua_pushstring_(lua, name));
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
        api!(lua_call(lua, 0, 1));
        if api!(lua_isstring(lua, 1)) == 0 {
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

    /// Around functions that begin or resume a coroutine. One that was not interrupted yet would
    /// outlive a kill by a slice, and begin another meanwhile.
    fn refuse_killed(lua) {
        check_alive(lua);
        stock(lua)
    }

    /// `coroutine.wrap`, whose functions check as well.
    fn wrap(lua) {
        check_alive(lua);
        stock(lua);
        // What Lua returned is a C function with the coroutine as its upvalue; so is ours, with
        // that function as the second.
        api!(lua_getupvalue(lua, -1, 1));
        lua.push_copy(-2);
        lua.push_closure(resume_wrapped, 2);
        1
    }

    fn resume_wrapped(lua) {
        check_alive(lua);
        let function = api!(lua_tocfunction(lua, upvalue(2)));
        let function = function.expect("wrap returned a C function");
        // SAFETY: as in `stock`.
        unsafe { function(lua.0) }
    }
}

const TOO_LONG: &CStr = c"chunk is too long";

/// Pushes the source at `index` so that it cannot be taken for a compiled chunk.
fn push_as_text(lua: Stack, index: c_int, len: &mut usize) -> *const c_char {
    let is_compiled = lua.bytes(index).is_some_and(script::is_compiled);
    lua.push_bytes(if is_compiled { b" " } else { b"" });
    lua.push_copy(index);
    api!(lua_concat(lua, 2));
    api!(lua_tolstring(lua, -1, len))
}

fn bound_pattern(lua: Stack) {
    if lua.kind(2) == Kind::String && lua.len(2) > PATTERN_BYTES_MAX {
        raise(lua, c"pattern too complex");
    }
}

fn check_alive(lua: Stack) {
    if lua.vm().is_killed.get() {
        raise(lua, c"script is being killed");
    }
}
