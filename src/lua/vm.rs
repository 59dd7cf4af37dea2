//! The Lua VM of an engine: scripts by name, one of them running at a time.
//!
//! `start` runs a script until it is done or its slice of instructions is over; then `resume` goes on,
//! or kills it. `finish` writes the answer of one that is done. Between these calls nothing of the
//! engine is borrowed: each hands over the commands that `redis.call` reaches meanwhile.

use super::answer;
use super::fiber::{self, Fiber, Suspender};
use super::heap::{self, Heap};
use super::push::Frame;
use super::random::Random;
use super::sandbox;
use super::script::{self, Script, Sha};
use super::stack::Stack;
use crate::config::LogLevel;
use crate::proto::{Args, Protocol, Reply, Result};
use crate::util::number::Text;
use mlua::ffi::{self, lua_State};
use std::any::Any;
use std::cell::{Cell, OnceCell};
use std::collections::HashMap;
use std::ffi::{c_int, c_void};
use std::panic::resume_unwind;
use std::ptr::{self, NonNull};
use std::rc::Rc;

/// What scripts reach: the engine, in the name of the client whose script runs.
pub trait Commands {
    /// Runs a command. The texts of refusals are Redis's for scripts, code first.
    fn call(&mut self, args: Args<'_>, reply: &mut Reply<'_>) -> Result;
    /// Whether the client may run a command, or None if there is no such command.
    fn acl_check(&mut self, args: Args<'_>) -> Option<bool>;
    fn log(&mut self, level: LogLevel, message: &[u8]);
    /// Lower levels are not logged, so nothing is built for them.
    fn log_level(&self) -> LogLevel;
    /// `os.clock`: seconds of a clock that goes on from slice to slice.
    fn clock_s(&self) -> f64;
    /// Which of append-only file and replicas get the writes from here on.
    fn set_replication(&mut self, to_file: bool, to_replicas: bool);
}

/// What a suspended script is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    GoOn,
    Kill,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// `finish` has the answer.
    Done,
    /// `resume` goes on.
    Suspended,
}

/// Scripts that came by EVAL and are kept; the least recently used one beyond goes, as in Redis.
const EVAL_SCRIPTS_MAX: usize = 500;

/// `KEYS` and `ARGV` tables are kept with their script up to this size.
const KEPT_WORDS_BYTES_MAX: usize = 64 * 1024;

/// A collection begins when the heap is ten times what the last one left, since nearly all of that
/// are scripts' functions, which stay; a large heap is collected when it has grown by half.
const GC_PAUSE_PERCENT: c_int = 1000;
const GC_PAUSE_PERCENT_LARGE: c_int = 150;
const HEAP_BYTES_LARGE: usize = 16 * 1024 * 1024;

/// The VM's inside, as the C functions find it. Cells throughout: Lua calls back into it.
pub(super) struct Vm {
    state: Cell<*mut lua_State>,
    pub heap: Heap,
    commands: Cell<Option<NonNull<dyn Commands>>>,
    pub suspender: Cell<*const Suspender>,
    pub is_killed: Cell<bool>,
    /// Interruptions since the kill.
    pub kills: Cell<u32>,
    /// The protocol of `redis.call`'s replies and of the script's answer.
    pub protocol: Cell<Protocol>,
    pub random: Random,
    /// Where the error that ended the script was raised: source and line.
    pub failed_at: Cell<Option<(String, c_int)>>,
    /// A panic of ours on its way out of the script.
    panic: Cell<Option<Box<dyn Any + Send>>>,
    /// The registry's key of the true table of globals.
    pub globals: OnceCell<c_int>,
    /// The registry's key of what scripts see as it.
    pub guard: OnceCell<c_int>,
    /// Buffers, each taken while used.
    pub scratch: Cell<Vec<u8>>,
    pub words: Cell<Vec<&'static [u8]>>,
    pub digits: Cell<Vec<Text>>,
    pub frames: Cell<Vec<Frame>>,
    /// The layout of Lua's call records is as expected, so that a call can see that its result is
    /// not used.
    pub sees_discards: Cell<bool>,
}

impl Vm {
    fn new(memory_bytes_max: usize) -> Box<Self> {
        let vm = Box::new(Self {
            state: Cell::new(ptr::null_mut()),
            heap: Heap::new(memory_bytes_max),
            commands: Cell::new(None),
            suspender: Cell::new(ptr::null()),
            is_killed: Cell::new(false),
            kills: Cell::new(0),
            protocol: Cell::new(Protocol::Resp2),
            random: Random::new(),
            failed_at: Cell::new(None),
            panic: Cell::new(None),
            globals: OnceCell::new(),
            guard: OnceCell::new(),
            scratch: Cell::default(),
            words: Cell::default(),
            digits: Cell::default(),
            frames: Cell::default(),
            sees_discards: Cell::new(false),
        });
        let context = ptr::from_ref::<Self>(&vm).cast_mut().cast::<c_void>();
        // SAFETY: the box does not move its content and outlives the state (`Drop`).
        let state = unsafe { ffi::lua_newstate(heap::allocate, context) };
        assert!(!state.is_null(), "the heap refuses nothing yet");
        vm.state.set(state);
        sandbox::install(vm.main());
        fiber::watch(state);
        vm.pace();
        vm
    }

    /// The main state, whose stack holds one script and its result.
    pub fn main(&self) -> Stack {
        Stack(self.state.get())
    }

    /// Lends the engine to `run`.
    pub fn commands<R>(&self, run: impl FnOnce(&mut dyn Commands) -> R) -> R {
        let mut commands = self.commands.take().expect("a script calls from start or resume");
        // SAFETY: `Lua::enter` put it there, and is still on the stack of its caller; taken, so that
        // nobody borrows it twice.
        let result = run(unsafe { commands.as_mut() });
        self.commands.set(Some(commands));
        result
    }

    /// Remembers a panic and kills the script, whose frames it must not cross.
    pub fn die_of(&self, state: *mut lua_State, payload: Box<dyn Any + Send>) {
        self.panic.set(Some(payload));
        self.is_killed.set(true);
        fiber::interrupt(state);
        fiber::interrupt(self.state.get());
    }

    /// Adapts the collector to the size of the heap.
    pub fn pace(&self) {
        let pause = match self.heap.used() {
            0..HEAP_BYTES_LARGE => GC_PAUSE_PERCENT,
            _ => GC_PAUSE_PERCENT_LARGE,
        };
        // SAFETY: sets a number.
        unsafe { ffi::lua_gc(self.state.get(), ffi::LUA_GCSETPAUSE, pause) };
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        self.heap.enter();
        // SAFETY: the state was made by `new`, and nothing runs in it.
        unsafe { ffi::lua_close(self.state.get()) };
    }
}

/// An engine's scripts and the VM that runs them.
pub struct Lua {
    // In this order: a suspended script goes before its VM.
    fiber: Fiber,
    vm: Box<Vm>,
    memory_bytes_max: usize,
    scripts: HashMap<Sha, Rc<Script>, ahash::RandomState>,
    source_bytes: usize,
    uses: u64,
    evicted: u64,
    /// The script that runs or waits for `finish`.
    current: Option<Rc<Script>>,
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
            vm: Vm::new(memory_bytes_max),
            memory_bytes_max,
            scripts: HashMap::default(),
            source_bytes: 0,
            uses: 0,
            evicted: 0,
            current: None,
            status: ffi::LUA_OK,
            words_bytes: 0,
        }
    }

    /// The script of that name, if it is cached.
    pub fn find(&mut self, sha: &Sha) -> Option<Rc<Script>> {
        let script = self.scripts.get(sha)?;
        self.uses += 1;
        script.used.set(self.uses);
        Some(script.clone())
    }

    pub fn contains(&self, sha: &Sha) -> bool {
        self.scripts.contains_key(sha)
    }

    /// Finds or compiles what EVAL was given. It may be evicted when many others came after it.
    pub fn eval(&mut self, source: &[u8]) -> Result<Rc<Script>> {
        let sha = Sha::of(source);
        match self.find(&sha) {
            Some(script) => Ok(script),
            None => self.add(source, sha),
        }
    }

    /// Finds or compiles what SCRIPT LOAD was given. It stays until `flush`.
    pub fn load(&mut self, source: &[u8]) -> Result<Rc<Script>> {
        let script = self.eval(source)?;
        script.is_pinned.set(true);
        Ok(script)
    }

    fn add(&mut self, source: &[u8], sha: Sha) -> Result<Rc<Script>> {
        let script = Rc::new(script::compile(self.vm.main(), source, sha)?);
        self.vm.pace();
        self.uses += 1;
        script.used.set(self.uses);
        self.source_bytes += script.source_size;
        self.scripts.insert(sha, script.clone());
        self.evict();
        Ok(script)
    }

    fn evict(&mut self) {
        if self.scripts.len() <= EVAL_SCRIPTS_MAX {
            return;
        }
        let evictable = self.scripts.values().filter(|script| !script.is_pinned.get());
        if evictable.clone().count() <= EVAL_SCRIPTS_MAX {
            return;
        }
        let Some(oldest) = evictable.min_by_key(|script| script.used.get()).cloned() else {
            return;
        };
        self.scripts.remove(&oldest.sha);
        self.source_bytes -= oldest.source_size;
        self.evicted += 1;
        let lua = self.vm.main();
        lua.forget(oldest.function);
        oldest.words.iter().for_each(|key| lua.forget(key.get()));
    }

    /// Forgets all scripts and what they did to the libraries, as a new VM.
    pub fn flush(&mut self) {
        let evicted = self.evicted;
        *self = Self::new(self.memory_bytes_max);
        self.evicted = evicted;
    }

    /// Runs a script. `script` came from `find`, `eval` or `load` since the last `flush`.
    pub fn start(
        &mut self,
        script: Rc<Script>,
        keys: &[&[u8]],
        argv: &[&[u8]],
        commands: &mut dyn Commands,
    ) -> Outcome {
        let lua = self.vm.main();
        self.vm.protocol.set(Protocol::Resp2);
        self.vm.failed_at.set(None);
        self.words_bytes = sandbox::set_words(lua, &script.words[0], "KEYS", keys)
            + sandbox::set_words(lua, &script.words[1], "ARGV", argv);
        lua.push_function(answer::on_error);
        lua.push_kept(script.function);
        // Set each time, since `setfenv` may have changed it.
        let environment = if script.assigns_globals { &self.vm.guard } else { &self.vm.globals };
        lua.push_kept(*environment.get().expect("the sandbox is installed"));
        // SAFETY: the function is below its environment on the stack.
        unsafe { ffi::lua_setfenv(lua.0, -2) };
        self.current = Some(script);
        // SAFETY: the fiber uses the VM only while the script lives, and goes before it.
        let vm = unsafe { &*ptr::from_ref::<Vm>(&self.vm) };
        self.enter(commands, |fiber| fiber.start(vm))
    }

    /// Goes on with a suspended script, or kills it: then it still runs until it notices.
    pub fn resume(&mut self, verdict: Verdict, commands: &mut dyn Commands) -> Outcome {
        self.enter(commands, |fiber| fiber.resume(verdict))
    }

    fn enter(
        &mut self,
        commands: &mut dyn Commands,
        run: impl FnOnce(&mut Fiber) -> Option<c_int>,
    ) -> Outcome {
        let commands: *mut (dyn Commands + '_) = commands;
        // SAFETY: only the lifetime changes; the cell is emptied before `commands` ends.
        let commands: *mut (dyn Commands + 'static) = unsafe { std::mem::transmute(commands) };
        self.vm.commands.set(NonNull::new(commands));
        let status = run(&mut self.fiber);
        self.vm.commands.set(None);
        let Some(status) = status else { return Outcome::Suspended };
        self.status = status;
        if self.vm.is_killed.replace(false) {
            self.vm.kills.set(0);
            fiber::watch(self.vm.state.get());
        }
        if let Some(payload) = self.vm.panic.take() {
            self.vm.main().set_top(0);
            self.current = None;
            resume_unwind(payload);
        }
        Outcome::Done
    }

    /// Writes the answer of the script that is done, or says how it failed. Once.
    pub fn finish(&mut self, reply: &mut Reply<'_>) -> Result {
        let script = self.current.take().expect("a script is done");
        let result = match self.status {
            ffi::LUA_OK => answer::write(&self.vm, reply),
            status => Err(answer::failure(&self.vm, &script, status)),
        };
        self.vm.main().set_top(0);
        if self.words_bytes > KEPT_WORDS_BYTES_MAX {
            sandbox::release_words(self.vm.main(), &script.words);
        }
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

    /// Bytes of the cached scripts' sources.
    pub fn source_bytes(&self) -> usize {
        self.source_bytes
    }

    pub fn script_count(&self) -> usize {
        self.scripts.len()
    }

    /// How many scripts left the cache for others.
    pub fn evicted_count(&self) -> u64 {
        self.evicted
    }

    /// Collects a step of garbage, for idle moments; true when a cycle is complete.
    pub fn collect_step(&mut self) -> bool {
        // SAFETY: no script runs, and there are no finalisers.
        unsafe { ffi::lua_gc(self.vm.state.get(), ffi::LUA_GCSTEP, 0) != 0 }
    }
}
