//! A stack for scripts, so that one can stop in the middle and let other clients be answered.
//!
//! The count hook runs every `SCRIPT_SLICE_INSTRUCTIONS` and suspends the script; whoever started
//! it owns the clock and resumes it with a verdict. Only one script runs at a time, so one stack is
//! kept and used again.

use super::api::api;
use super::run::Verdict;
use super::stack::Stack;
use super::vm::Vm;
use crate::config::SCRIPT_SLICE_INSTRUCTIONS;
use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};
use mlua::ffi::{self, lua_Debug, lua_State};
use std::ffi::c_int;
use std::ptr::NonNull;

/// The deepest recursion that Lua allows takes about half of it: 200 nested calls through `gsub`,
/// each with a buffer of 8 KB, a pattern of `PATTERN_BYTES_MAX` in the innermost, and a nest of
/// JSON. Untouched pages cost nothing.
const STACK_BYTES: usize = 8 * 1024 * 1024;

/// A killed script is interrupted at every instruction; so often it also lets others run.
const KILLS_A_SUSPENSION: u32 = 10_000;

const SLICE: c_int = SCRIPT_SLICE_INSTRUCTIONS as c_int;

pub(super) type Suspender = Yielder<Verdict, ()>;

pub(super) struct Fiber {
    coroutine: Option<Coroutine<Verdict, (), c_int, DefaultStack>>,
    stack: Option<DefaultStack>,
}

impl Fiber {
    pub fn new() -> Self {
        Self { coroutine: None, stack: None }
    }

    pub fn is_suspended(&self) -> bool {
        self.coroutine.is_some()
    }

    /// Calls the function that lies below its `arguments` on the Lua stack, and the message handler
    /// below it. The status of the call, or None if it was suspended.
    ///
    /// # Safety
    ///
    /// `vm` stays alive and where it is until the call has ended or the fiber is dropped.
    pub unsafe fn start(&mut self, vm: NonNull<Vm>, arguments: c_int) -> Option<c_int> {
        // SAFETY: the caller keeps it alive for longer than this function uses it.
        let watched = unsafe { vm.as_ref() };
        assert!(self.coroutine.is_none(), "one script at a time");
        let stack = self.stack.take().unwrap_or_else(|| {
            DefaultStack::new(STACK_BYTES).expect("address space for a script's stack")
        });
        watch(watched.main()); // A slice of its own, not what the last script left of one.
        let coroutine = Coroutine::with_stack(stack, move |suspender: &Suspender, _| {
            // SAFETY: as above, and for as long as this stack is used.
            let vm = unsafe { vm.as_ref() };
            vm.suspender.set(Some(NonNull::from(suspender)));
            let lua = vm.main();
            vm.heap.leave();
            let status = api!(runs::lua_pcall(lua, arguments, 1, -2 - arguments));
            vm.heap.enter();
            vm.suspender.set(None);
            status
        });
        self.run(coroutine, Verdict::GoOn)
    }

    /// Goes on with the call: its status, or None if it was suspended again.
    ///
    /// # Panics
    ///
    /// If no call is suspended.
    pub fn resume(&mut self, verdict: Verdict) -> Option<c_int> {
        let coroutine = self.coroutine.take().expect("a script is suspended");
        self.run(coroutine, verdict)
    }

    fn run(
        &mut self,
        mut coroutine: Coroutine<Verdict, (), c_int, DefaultStack>,
        verdict: Verdict,
    ) -> Option<c_int> {
        match coroutine.resume(verdict) {
            CoroutineResult::Yield(()) => {
                self.coroutine = Some(coroutine);
                None
            }
            CoroutineResult::Return(status) => {
                self.stack = Some(coroutine.into_stack());
                Some(status)
            }
        }
    }
}

impl Drop for Fiber {
    fn drop(&mut self) {
        if let Some(coroutine) = &mut self.coroutine {
            // SAFETY: between hook and `start` lie frames of Lua alone, and `start`'s own, which
            // holds nothing with a destructor. Unwinding through Lua is what must not happen.
            unsafe { coroutine.force_reset() };
        }
    }
}

/// Interrupts `state` after each slice. Coroutines inherit it when they are made.
pub(super) fn watch(lua: Stack<'_>) {
    api!(machine::lua_sethook(lua, Some(hook), ffi::LUA_MASKCOUNT, SLICE));
}

/// Lets `state` run what is no script.
pub(super) fn unwatch(lua: Stack<'_>) {
    api!(machine::lua_sethook(lua, None, 0, 0));
}

/// Interrupts `state` at every instruction, so that no `pcall` outlives a kill.
pub(super) fn interrupt(lua: Stack<'_>) {
    api!(machine::lua_sethook(lua, Some(hook), ffi::LUA_MASKLINE | ffi::LUA_MASKCOUNT, 1));
}

unsafe extern "C-unwind" fn hook(state: *mut lua_State, _: *mut lua_Debug) {
    // SAFETY: Lua calls this with a state that is alive until it returns.
    let lua = unsafe { Stack::new(state) };
    let vm = lua.vm();
    let is_slice_over = api!(reads::lua_gethookcount(lua)) == SLICE;
    let kills = vm.kills.get();
    let is_time = is_slice_over || kills > 0 && kills.is_multiple_of(KILLS_A_SUSPENSION);
    if let Some(suspender) = vm.suspender.get().filter(|_| is_time) {
        vm.pace();
        // SAFETY: the fiber has set it, and takes it away when it ends.
        let verdict = unsafe { suspender.as_ref() }.suspend(());
        if verdict == Verdict::Kill {
            vm.is_killed.set(true);
        }
    }
    if vm.is_killed.get() {
        vm.kills.set(kills.wrapping_add(1));
        // Hooks belong to one coroutine. Those between this one and the main state get theirs at
        // the end of their slice; until then `coroutine.resume` and the like refuse them.
        interrupt(lua);
        interrupt(vm.main());
        raise(lua, KILLED);
    }
}

/// Ends what runs with an error, from a hook.
pub(super) fn raise(lua: Stack<'_>, text: &[u8]) -> ! {
    let heap = &lua.vm().heap;
    heap.enter();
    lua.push_error_table(text);
    heap.leave();
    api!(raises::lua_error(lua))
}

const KILLED: &[u8] = b"ERR Script killed by user with SCRIPT KILL...";

#[cfg(test)]
mod tests {
    use super::super::fake::{Fake, MEMORY_BYTES_MAX, run};
    use super::super::{Callable, Lua, Progress};
    use crate::proto::Protocol;

    #[test]
    fn a_kill_is_not_survived() {
        for source in [
            "while true do end",
            "while true do pcall(function() while true do end end) end",
            "while true do xpcall(function() while true do end end, function() end) end",
            "string.gsub('aaa', 'a', function() while true do end end)",
            "table.sort({3, 2, 1}, function() while true do end end)",
            "while true do pcall(coroutine.wrap(function() while true do end end)) end",
            "local function spin() while true do pcall(coroutine.wrap(spin)) end end spin()",
            "local made = {} for i = 1, 50 do made[i] = coroutine.create(function() while true do end end) end \
             while true do for i = 1, 50 do coroutine.resume(made[i]) end end",
            "while true do redis.pcall('nosuch') end",
        ] {
            let mut lua = Lua::new(MEMORY_BYTES_MAX);
            let found = run(&mut lua, source, &[], Protocol::Resp2, true);
            assert!(
                found.starts_with("ERR Script killed by user with SCRIPT KILL"),
                "{source}\n{found}"
            );
            assert_eq!(run(&mut lua, "return 1", &[], Protocol::Resp2, false), r":1\r\n");
        }
    }

    #[test]
    fn a_suspended_script_may_be_dropped() {
        let mut lua = Lua::new(MEMORY_BYTES_MAX);
        let script = lua.eval(b"while true do end").unwrap();
        assert_eq!(
            lua.start(Callable::Script(script), &[], &[], &mut Fake::default()),
            Progress::Suspended
        );
        assert!(lua.is_suspended());
    }
}
