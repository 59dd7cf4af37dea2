//! Scripts, or functions of libraries, and the machine that runs them, one at a time.
//!
//! `start` runs a script until it is done or its slice of instructions is over; then `resume` goes
//! on, or kills it. `finish` writes the answer of one that is done. Between these calls nothing of
//! the engine is borrowed: each hands over the commands that `redis.call` reaches meanwhile.

use super::answer::{self, OnError};
use super::api::api;
use super::cache::Cache;
use super::commands::Commands;
use super::fiber::{self, Fiber};
use super::library::{Libraries, Library, LibraryFunction};
use super::sandbox::words;
use super::script::{Script, ScriptFlags, Sha};
#[cfg(test)]
use super::stack::Stack;
use super::vm::Machine;
use crate::proto::{Protocol, Reply, Result};
use mlua::ffi;
use std::ffi::c_int;
use std::fmt;
use std::panic::resume_unwind;
use std::rc::Rc;

/// What a suspended script is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    GoOn,
    Kill,
}

/// How far a script has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// `finish` has the answer.
    Done,
    /// `resume` goes on.
    Suspended,
}

/// What is called: a script, or a function of a library.
#[derive(Clone, Debug)]
pub enum Callable {
    Script(Rc<Script>),
    Function(Rc<LibraryFunction>),
}

impl Callable {
    pub fn flags(&self) -> ScriptFlags {
        match self {
            Callable::Script(script) => script.flags,
            Callable::Function(function) => function.flags,
        }
    }
}

/// As errors and the log name it.
impl fmt::Display for Callable {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Callable::Script(script) => match &script.title {
                Some(title) => write!(out, "{} ({title})", script.sha),
                None => write!(out, "{}", script.sha),
            },
            Callable::Function(function) => out.write_str(&String::from_utf8_lossy(&function.name)),
        }
    }
}

/// `KEYS` and `ARGV` tables are kept with their script up to this size.
const KEPT_WORDS_BYTES_MAX: usize = 64 * 1024;

/// A VM, and the scripts or libraries that it runs. An engine has one for either: scripts are
/// flushed with their VM, and libraries keep state in theirs.
pub struct Lua {
    // In this order: a suspended script goes before its VM.
    fiber: Fiber,
    vm: Machine,
    memory_bytes_max: usize,
    cache: Cache,
    libraries: Libraries,
    /// What runs or waits for `finish`.
    current: Option<Callable>,
    /// How its call ended.
    status: c_int,
    /// What its `KEYS` and `ARGV` hold.
    words_bytes: usize,
}

impl Lua {
    /// `memory_bytes_max` bounds what scripts and their values may take together.
    pub fn new(memory_bytes_max: usize) -> Self {
        Self {
            fiber: Fiber::new(),
            vm: Machine::new(memory_bytes_max),
            memory_bytes_max,
            cache: Cache::default(),
            libraries: Libraries::default(),
            current: None,
            status: ffi::LUA_OK,
            words_bytes: 0,
        }
    }

    /// The script of that name, if it is cached.
    pub fn find(&mut self, sha: &Sha) -> Option<Rc<Script>> {
        self.cache.find(sha)
    }

    pub fn contains(&self, sha: &Sha) -> bool {
        self.cache.peek(sha).is_some()
    }

    /// A cached script. It does not count as used.
    pub fn script(&self, sha: &Sha) -> Option<&Script> {
        self.cache.peek(sha)
    }

    /// What a cached script declares; None if it declares nothing, or is not cached.
    pub fn flags(&self, sha: &Sha) -> Option<ScriptFlags> {
        self.cache.flags(sha)
    }

    /// Finds or compiles what EVAL was given. It may be evicted when many others came after it.
    ///
    /// # Errors
    ///
    /// What Lua's compiler says of the source, or what is wrong with its first line.
    pub fn eval(&mut self, source: &[u8]) -> Result<Rc<Script>> {
        self.cache.eval(&self.vm, source)
    }

    /// Finds or compiles what SCRIPT LOAD was given. It stays until `flush`.
    ///
    /// # Errors
    ///
    /// As `eval`.
    pub fn load(&mut self, source: &[u8]) -> Result<Rc<Script>> {
        self.cache.load(&self.vm, source)
    }

    /// Forgets all scripts and what they did to the libraries, as a new VM.
    pub fn flush(&mut self) {
        let cache = Cache::after(&self.cache);
        *self = Self { cache, ..Self::new(self.memory_bytes_max) };
    }

    /// Runs a library, and takes it up; returns its name.
    ///
    /// # Errors
    ///
    /// What is wrong with its first line or its functions, or that there is such a library already,
    /// unless it `replaces` that, or a function of such a name in another one. Then all is as it
    /// was before.
    pub fn load_library(
        &mut self,
        source: &[u8],
        replaces: bool,
        commands: &mut dyn Commands,
    ) -> Result<Box<[u8]>> {
        let (vm, libraries) = (&self.vm, &mut self.libraries);
        vm.commands.during(commands, || libraries.load(vm, source, replaces))
    }

    /// Runs and takes up all of these libraries, or none.
    ///
    /// # Errors
    ///
    /// As `load_library`, of any of them.
    pub fn load_libraries(
        &mut self,
        sources: &[Vec<u8>],
        replaces: bool,
        commands: &mut dyn Commands,
    ) -> Result {
        let (vm, libraries) = (&self.vm, &mut self.libraries);
        vm.commands.during(commands, || libraries.load_all(vm, sources, replaces))
    }

    /// Whether there was such a library.
    pub fn remove_library(&mut self, name: &[u8]) -> bool {
        self.libraries.remove(&self.vm, name)
    }

    /// The libraries in the order of their names.
    pub fn libraries(&self) -> impl Iterator<Item = &Library> {
        self.libraries.iter()
    }

    pub fn function_count(&self) -> usize {
        self.libraries.function_count()
    }

    /// The function of that name, in any case.
    pub fn function(&self, name: &[u8]) -> Option<&Rc<LibraryFunction>> {
        self.libraries.function(name)
    }

    /// Has values read and written by calls of the C interface alone, for a fuzzer that compares.
    #[cfg(fuzzing)]
    pub fn without_direct_access(self) -> Self {
        self.vm.is_direct.set(false);
        self
    }

    #[cfg(test)]
    pub(super) fn main(&self) -> Stack<'_> {
        self.vm.main()
    }

    /// Runs a script, which came from `find`, `eval` or `load` since the last `flush`, or a
    /// function, which came from `function` and whose library is still there.
    ///
    /// # Panics
    ///
    /// If a command panics, with what it panicked with; the script is over then. Also if another
    /// script is suspended.
    pub fn start(
        &mut self,
        callable: Callable,
        keys: &[&[u8]],
        argv: &[&[u8]],
        commands: &mut dyn Commands,
    ) -> Progress {
        assert!(!self.is_suspended(), "one script runs at a time");
        let lua = self.vm.main();
        self.vm.protocol.set(Protocol::Resp2);
        self.vm.failed_at.set(None);
        let arguments = match &callable {
            Callable::Script(script) => {
                self.push_script(script, keys, argv);
                0
            }
            Callable::Function(function) => {
                lua.push_function(answer::note_place);
                lua.push_kept(function.callback);
                words::push(lua, keys);
                words::push(lua, argv);
                2
            }
        };
        self.current = Some(callable);
        let vm = self.vm.vm();
        // SAFETY: the fiber goes before the machine, and so before its VM.
        self.enter(commands, |fiber| unsafe { fiber.start(vm, arguments) })
    }

    fn push_script(&mut self, script: &Script, keys: &[&[u8]], argv: &[&[u8]]) {
        let lua = self.vm.main();
        self.words_bytes = words::set(lua, &script.words[0], "KEYS", keys)
            + words::set(lua, &script.words[1], "ARGV", argv);
        lua.push_function(answer::note_place);
        lua.push_kept(script.function);
        // Set each time, since `setfenv` may have changed it.
        let environment = if script.assigns_globals { &self.vm.guard } else { &self.vm.globals };
        lua.push_kept(*environment.get().expect("the sandbox is installed"));
        api!(tables::lua_setfenv(lua, -2));
    }

    /// Goes on with a suspended script, or kills it: then it still runs until it notices.
    ///
    /// # Panics
    ///
    /// If no script is suspended; and as `start`.
    pub fn resume(&mut self, verdict: Verdict, commands: &mut dyn Commands) -> Progress {
        self.enter(commands, |fiber| fiber.resume(verdict))
    }

    fn enter(
        &mut self,
        commands: &mut dyn Commands,
        run: impl FnOnce(&mut Fiber) -> Option<c_int>,
    ) -> Progress {
        let status = self.vm.commands.during(commands, || run(&mut self.fiber));
        let Some(status) = status else { return Progress::Suspended };
        self.status = status;
        if self.vm.is_killed.replace(false) {
            self.vm.kills.set(0);
            fiber::watch(self.vm.main());
        }
        if let Some(payload) = self.vm.panic.take() {
            self.vm.main().set_top(0);
            self.current = None;
            resume_unwind(payload);
        }
        Progress::Done
    }

    /// Writes the answer of the script that is done. Once.
    ///
    /// # Errors
    ///
    /// How the script failed. Then nothing was written to `reply`.
    ///
    /// # Panics
    ///
    /// If no script is done.
    pub fn finish(&mut self, reply: &mut Reply<'_>, on_error: OnError) -> Result {
        assert!(!self.is_suspended(), "the script goes on");
        let callable = self.current.take().expect("a script is done");
        let result = match self.status {
            ffi::LUA_OK => answer::write(&self.vm, reply, on_error),
            status => Err(answer::failure(&self.vm, &callable, status, on_error)),
        };
        self.vm.main().set_top(0);
        if let Callable::Script(script) = callable
            && self.words_bytes > KEPT_WORDS_BYTES_MAX
        {
            words::release(self.vm.main(), &script.words);
        }
        self.vm.clean_up();
        self.vm.pace();
        result
    }

    /// Whether a script waits for `resume`.
    pub fn is_suspended(&self) -> bool {
        self.fiber.is_suspended()
    }

    /// Bytes that the VM takes, scripts and their values included.
    pub fn memory_bytes(&self) -> usize {
        self.vm.heap.used()
    }

    /// Bytes of the sources of cached scripts and of libraries.
    pub fn source_bytes(&self) -> usize {
        self.cache.source_bytes() + self.libraries.source_bytes()
    }

    pub fn script_count(&self) -> usize {
        self.cache.len()
    }

    /// How many scripts left the cache for others.
    pub fn evicted_count(&self) -> u64 {
        self.cache.evicted_count()
    }

    /// Collects a step of garbage, for idle moments; true when a cycle is complete.
    pub fn collect_step(&mut self) -> bool {
        self.vm.collect_step()
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::{Fake, MEMORY_BYTES_MAX, run};
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn a_panic_goes_through_to_the_caller() {
        static CALLS: AtomicUsize = AtomicUsize::new(0);
        let mut lua = Lua::new(MEMORY_BYTES_MAX);
        let script = lua.eval(b"pcall(redis.call, 'panic') redis.call('ok')").unwrap();
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut fake = Fake::default();
            let _calls = Unwound(&CALLS);
            lua.start(Callable::Script(script), &[], &[], &mut fake)
        }));
        assert!(result.is_err());
        assert_eq!(CALLS.load(Ordering::Relaxed), 1, "the caller's frames are unwound");
        assert_eq!(run(&mut lua, "return 1", &[], Protocol::Resp2, false), r":1\r\n");
    }

    struct Unwound(&'static AtomicUsize);

    impl Drop for Unwound {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_panic_inside_leaves_nothing_of_the_engine_behind() {
        let mut lua = Lua::new(MEMORY_BYTES_MAX);
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            lua.resume(Verdict::GoOn, &mut Fake::default()) // No script is suspended.
        }));
        assert!(result.is_err() && lua.vm.commands.is_empty());
        assert_eq!(run(&mut lua, "return 1", &[], Protocol::Resp2, false), r":1\r\n");
    }
}
