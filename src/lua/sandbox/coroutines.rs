//! Coroutines of a script that is being killed.
//!
//! Hooks belong to one coroutine. One that was not interrupted yet would outlive a kill by a slice,
//! and begin another meanwhile; a loop of them would take seconds to die, as on Redis. So whatever
//! begins or goes on with a coroutine refuses once the script is killed.

use super::super::api::api;
use super::super::stack::{Stack, upvalue};
use super::plain::{c_functions, raise, stock};

fn check_alive(lua: Stack<'_>) {
    if lua.vm().is_killed.get() {
        raise(lua, c"script is being killed");
    }
}

c_functions! {
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
        api!(pushes::lua_getupvalue(lua, -1, 1));
        lua.push_copy(-2);
        lua.push_closure(resume_wrapped, 2);
        1
    }

    fn resume_wrapped(lua) {
        check_alive(lua);
        let function = lua.c_function(upvalue(2));
        let function = function.expect("wrap returned a C function");
        // SAFETY: as in `stock`.
        unsafe { function(lua.state()) }
    }
}
