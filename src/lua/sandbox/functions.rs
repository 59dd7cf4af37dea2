//! The globals of libraries and their functions.
//!
//! It is one table for all of them, a guard. While a library is loaded it shows nothing but how to
//! register functions, otherwise what scripts see.

use super::super::api::api;
use super::super::register;
use super::super::stack::Stack;
use super::guard::{look_through, missing, push_guard};
use super::push_globals;
use std::ffi::c_int;

/// What functions do not have of `redis`.
const OF_SCRIPTS_ALONE: [&str; 3] = ["breakpoint", "debug", "replicate_commands"];

/// What is seen in the globals of libraries.
#[derive(Clone, Copy)]
pub(in crate::lua) enum Seen {
    Registration,
    Globals,
}

/// Pushes the globals of libraries.
pub(in crate::lua) fn push_environment(lua: Stack<'_>) {
    lua.push_kept(keys(lua).environment);
}

/// Decides what is seen in them from now on.
pub(in crate::lua) fn show(lua: Stack<'_>, seen: Seen) {
    push_environment(lua);
    api!(pushes::lua_getmetatable(lua, -1));
    match seen {
        Seen::Registration => lua.push_kept(keys(lua).registration),
        Seen::Globals => push_globals(lua),
    }
    lua.set_field(-2, "__index");
    lua.pop(2);
}

/// The registry's keys of both tables.
#[derive(Clone, Copy)]
pub(in crate::lua) struct LibraryGlobals {
    environment: c_int,
    registration: c_int,
}

fn keys(lua: Stack<'_>) -> LibraryGlobals {
    *lua.vm().library_globals.get_or_init(|| {
        push_globals(lua);
        lua.get_field(-1, "redis");
        look_through(lua, lua.top());
        for name in OF_SCRIPTS_ALONE {
            lua.push_nil();
            lua.set_field(-2, name);
        }
        lua.pop(1);
        push_guard(lua);
        let environment = lua.keep();
        lua.pop(1);

        lua.push_table(0, 1);
        register::push_registration(lua);
        refuse_missing(lua);
        push_guard(lua);
        lua.set_field(-3, "redis");
        lua.pop(1);
        refuse_missing(lua);
        LibraryGlobals { environment, registration: lua.keep() }
    })
}

/// To read what is not in the table on top is an error.
fn refuse_missing(lua: Stack<'_>) {
    lua.push_table(0, 1);
    lua.push_function(missing);
    lua.set_field(-2, "__index");
    api!(tables::lua_setmetatable(lua, -2));
}
