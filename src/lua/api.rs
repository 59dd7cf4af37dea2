//! Lua's C interface, by what makes its calls safe.
//!
//! `api!(family::function(stack, ...))` calls a function of Lua. Each family is a module: it lists
//! its functions and says why their calls are safe, so no function is called under an argument that
//! was made for others. All families rest on what a `Stack` promises: its state is alive, and
//! belongs to a `Vm`. In debug builds Lua checks indices, room and kinds itself (LUA_USE_APICHECK).

/// Calls a function of Lua's C interface on a `Stack`.
macro_rules! api {
    ($family:ident::$function:ident($lua:expr $(, $argument:expr)* $(,)?)) => {
        // SAFETY: the family's module says why.
        unsafe { $crate::lua::api::$family::$function($lua.state() $(, $argument)*) }
    };
}
pub(super) use api;

/// They look at a value and change nothing.
///
/// Safe because Lua answers for any index that names a place of the running function, a pseudo
/// index, or a place above the top: "none" for the latter. `Stack` asserts that an index counted
/// from the top does not reach below the function. Pointers that they return are checked for null
/// by who uses them. `lua_objlen` makes a string of a number, so it is asked of tables and strings
/// alone.
pub(super) mod reads {
    pub use mlua::ffi::{
        lua_getallocf, lua_gethookcount, lua_gettop, lua_isnumber, lua_isstring, lua_objlen,
        lua_rawequal, lua_toboolean, lua_tocfunction, lua_tonumber, lua_touserdata, lua_type,
        luaL_typename,
    };
}

/// They move values on the stack.
///
/// Safe because the values are there: `Stack` asserts it, and what stands outside of it counts what
/// it has pushed a few lines above.
pub(super) mod moves {
    pub use mlua::ffi::{lua_checkstack, lua_insert, lua_remove, lua_replace, lua_settop};
}

/// They push a value, made anew or found.
///
/// Safe because there is room (a C function has `LUA_MINSTACK` places, and asks for more with
/// `reserve`; `Stack` asserts it), and because pointers and lengths are those of Rust's slices and
/// C strings, from which Lua copies. They allocate, and Lua raises when memory is over; but the
/// limit is lifted while library functions run (see `heap`), and plain C functions may raise.
/// A step of the collection runs no finaliser: there are none (see `sandbox`).
pub(super) mod pushes {
    pub use mlua::ffi::{
        lua_concat, lua_createtable, lua_getmetatable, lua_getupvalue, lua_newuserdata,
        lua_pushcclosure, lua_pushcfunction, lua_pushlightuserdata, lua_pushlstring_,
        lua_pushstring_, lua_pushvalue, lua_tolstring, lua_tostring,
    };
    #[cfg(fuzzing)]
    pub use mlua::ffi::{lua_pushboolean, lua_pushnil, lua_pushnumber};
}

/// They look into a table or change it, raw: no metamethod runs.
///
/// Safe because what they are given is a table (`Stack` asserts it; the registry always is one) and
/// the key, if it is put into one, neither nil nor NaN, for which Lua would raise. Of allocations
/// the same holds as for pushes.
pub(super) mod tables {
    pub use mlua::ffi::{
        lua_next, lua_rawget_, lua_rawgeti_, lua_rawset, lua_rawseti_, lua_setfenv,
        lua_setmetatable, lua_setupvalue, luaL_ref, luaL_unref,
    };
}

/// They run code, or make some, and catch what it raises.
///
/// Safe because errors come back as a status and do not cross a frame of ours. What is loaded is
/// text, or a dump that this VM wrote; scripts' own dumps, which could do anything, are refused.
pub(super) mod runs {
    pub use mlua::ffi::{lua_dump_, lua_pcall, luaL_loadbuffer};
}

/// They concern the machine, not a stack.
///
/// Safe because they may be called at any time but in the middle of an allocation, where none of
/// our code runs. `lua_close` is called once, by who owns the VM.
pub(super) mod machine {
    pub use mlua::ffi::{lua_close, lua_gc, lua_sethook};
}

/// They raise, or may: with `longjmp`, which leaves the frames up to the next protected call as
/// they are.
///
/// Safe only where none of these frames holds anything with a destructor: in `shim` and the hook,
/// and in the plain C functions of `sandbox`, which hold numbers, pointers and `Stack`s. So this
/// family is used nowhere else, but at start-up, where a failure is the end anyway.
pub(super) mod raises {
    pub use mlua::ffi::{
        lua_call, lua_error, luaL_argerror, luaL_checkany, luaL_checkinteger, luaL_checklstring,
        luaL_checktype, luaL_error, luaL_optinteger, luaL_optstring, luaL_typerror, luaL_where,
    };
}
