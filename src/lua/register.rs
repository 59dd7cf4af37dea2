//! `redis.register_function`: how a library that is being loaded names its functions.

use super::api::api;
use super::library::{LibraryFunction, WRONG_NAME, is_name};
use super::redis;
use super::script::ScriptFlags;
use super::stack::{LuaKind, Raise, Returns, Stack, c_function};
use std::ffi::c_int;
use std::rc::Rc;

/// What is wrong with a call, without the code of the error.
type Wrong = &'static str;

/// Pushes the `redis` that a library sees while it is loaded.
pub(super) fn push_registration(lua: Stack<'_>) {
    redis::push_for_libraries(lua);
    lua.push_function(c_function(register_function));
    lua.set_field(-2, "register_function");
}

/// `redis.register_function(name, callback)`, or with a table of named arguments.
fn register_function(lua: Stack<'_>) -> Returns {
    let vm = lua.vm();
    let Some(mut registered) = vm.registered.take() else {
        return Err(refuse(
            lua,
            "redis.register_function can only be called on FUNCTION LOAD command",
        ));
    };
    let result = read_arguments(lua);
    let result = result.and_then(|arguments| {
        if !is_name(&arguments.name) {
            return Err(WRONG_NAME);
        }
        if registered.iter().any(|other| other.name == arguments.name) {
            return Err("Function already exists in the library");
        }
        Ok(arguments)
    });
    let result = result.map(|arguments| {
        lua.push_copy(arguments.callback);
        registered.push(Rc::new(LibraryFunction {
            name: arguments.name,
            description: arguments.description,
            flags: arguments.flags,
            callback: lua.keep(),
        }));
    });
    vm.registered.set(Some(registered));
    match result {
        Ok(()) => Ok(0),
        Err(text) => Err(refuse(lua, text)),
    }
}

fn refuse(lua: Stack<'_>, text: Wrong) -> Raise {
    lua.error_table(format!("ERR {text}").as_bytes())
}

struct RegisterArguments {
    name: Box<[u8]>,
    description: Option<Box<[u8]>>,
    flags: ScriptFlags,
    /// Its place on the stack.
    callback: c_int,
}

/// The arguments, or what is wrong with them.
fn read_arguments(lua: Stack<'_>) -> Result<RegisterArguments, Wrong> {
    let flags = ScriptFlags { declared: true, ..ScriptFlags::default() };
    match lua.top() {
        1 if lua.kind(1) == LuaKind::Table => read_named_arguments(lua, flags),
        1 => {
            Err("calling redis.register_function with a single argument is only applicable to Lua \
                  table (representing named arguments).")
        }
        2 => {
            let name =
                text(lua, 1).ok_or("first argument to redis.register_function must be a string")?;
            if lua.kind(2) != LuaKind::Function {
                return Err("second argument to redis.register_function must be a function");
            }
            Ok(RegisterArguments { name, description: None, flags, callback: 2 })
        }
        _ => Err("wrong number of arguments to redis.register_function"),
    }
}

fn read_named_arguments(
    lua: Stack<'_>,
    mut flags: ScriptFlags,
) -> Result<RegisterArguments, Wrong> {
    let (mut name, mut description, mut callback) = (None, None, None);
    lua.push_nil();
    while lua.next(1) {
        let key = match lua.kind(-2) {
            // SAFETY: it is a key of the table, which stays on the stack.
            LuaKind::String => unsafe { lua.bytes(-2) }.unwrap_or_default(),
            _ => return Err("unknown argument given to redis.register_function"),
        };
        match key {
            b"function_name" => {
                name = Some(text(lua, -1).ok_or(
                    "function_name argument given to redis.register_function must be a string",
                )?);
            }
            b"description" => {
                description = Some(text(lua, -1).ok_or(
                    "description argument given to redis.register_function must be a string",
                )?);
            }
            b"callback" => {
                if lua.kind(-1) != LuaKind::Function {
                    return Err(
                        "callback argument given to redis.register_function must be a function",
                    );
                }
                // It stays in the table, and is found there again below.
                callback = Some(());
            }
            b"flags" => read_flags(lua, &mut flags)?,
            _ => return Err("unknown argument given to redis.register_function"),
        }
        lua.pop(1);
    }
    let name = name.ok_or("redis.register_function must get a function name argument")?;
    callback.ok_or("redis.register_function must get a callback argument")?;
    lua.get_field(1, "callback");
    Ok(RegisterArguments { name, description, flags, callback: lua.top() })
}

/// Reads the array of flags on top.
fn read_flags(lua: Stack<'_>, flags: &mut ScriptFlags) -> Result<(), Wrong> {
    if lua.kind(-1) != LuaKind::Table {
        return Err("flags argument to redis.register_function must be a table representing \
                    function flags");
    }
    for position in 1.. {
        lua.get_index(-1, position);
        if lua.kind(-1) == LuaKind::Nil {
            break;
        }
        // SAFETY: it stays in its table.
        let name = text(lua, -1).unwrap_or_default();
        *flags.named(&name).ok_or("unknown flag given")? = true;
        lua.pop(1);
    }
    lua.pop(1);
    Ok(())
}

/// A string, or a number as one.
fn text(lua: Stack<'_>, index: c_int) -> Option<Box<[u8]>> {
    match lua.kind(index) {
        LuaKind::String | LuaKind::Number => {
            lua.push_copy(index);
            // A number on the stack becomes its text there; the copy, so that no key of a table is
            // changed under a walk over it.
            api!(pushes::lua_tostring(lua, -1));
            // SAFETY: it is copied at once.
            let text = unsafe { lua.bytes(-1) }.map(Into::into);
            lua.pop(1);
            text
        }
        _ => None,
    }
}
