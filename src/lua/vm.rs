//! The Lua VM of an engine: scripts by name, one of them running at a time.
//!
//! `start` runs a script until it is done or its slice of instructions is over; then `resume` goes
//! on, or kills it. `finish` writes the answer of one that is done. Between these calls nothing of
//! the engine is borrowed: each hands over the commands that `redis.call` reaches meanwhile.

use super::answer::{self, OnError};
use super::fiber::{self, Fiber, Suspender};
use super::heap::{self, Heap};
use super::push::Frame;
use super::random::Random;
use super::sandbox;
use super::script::{self, Flags, Script, Sha};
use super::stack::{Stack, api};
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

/// A collection begins when the heap is twice what the last one left: then garbage is used again
/// while it is still in the processor's cache, which is worth more than the marking of functions
/// that stay (docs/decisions.md). A large heap is collected when it has grown by half.
const GC_PAUSE_PERCENT: c_int = 200;
const GC_PAUSE_PERCENT_LARGE: c_int = 150;
const HEAP_BYTES_LARGE: usize = 16 * 1024 * 1024;

/// A script that leaves so much, and twice what was left last time, is cleaned up after at once:
/// the next one may be long in coming.
const HEAP_BYTES_HUGE: usize = 64 * 1024 * 1024;

/// The VM's inside, as the C functions find it. Cells throughout: Lua calls back into it.
pub(super) struct Vm {
    state: Cell<*mut lua_State>,
    pub heap: Heap,
    /// What the collector's pause was last set for.
    is_large: Cell<bool>,
    /// What the last collection of a huge heap left.
    left: Cell<usize>,
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
    /// What tables point to that hold nothing beside their array.
    pub no_nodes: Cell<*const c_void>,
    /// Values in the string that is being built.
    pub encoded: Cell<usize>,
    /// Buffers, each taken while used.
    pub scratch: Cell<Vec<u8>>,
    pub words: Cell<Vec<&'static [u8]>>,
    pub digits: Cell<Vec<Text>>,
    pub frames: Cell<Vec<Frame>>,
}

impl Vm {
    fn new(memory_bytes_max: usize) -> Box<Self> {
        let vm = Box::new(Self {
            state: Cell::new(ptr::null_mut()),
            heap: Heap::new(memory_bytes_max),
            is_large: Cell::new(true), // Until `pace` sees that it is small.
            left: Cell::new(0),
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
            no_nodes: Cell::new(ptr::null()),
            encoded: Cell::new(0),
            scratch: Cell::default(),
            words: Cell::default(),
            digits: Cell::default(),
            frames: Cell::default(),
        });
        let context = ptr::from_ref::<Self>(&vm).cast_mut().cast::<c_void>();
        // SAFETY: the box does not move its content and outlives the state (`Drop`).
        let state = unsafe { ffi::lua_newstate(heap::allocate, context) };
        assert!(!state.is_null(), "the heap refuses nothing yet");
        vm.state.set(state);
        sandbox::install(vm.main());
        fiber::watch(vm.main());
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
        // SAFETY: `Lua::enter` put it there, and is still on the stack of its caller; taken, so
        // that nobody borrows it twice.
        let result = run(unsafe { commands.as_mut() });
        self.commands.set(Some(commands));
        result
    }

    /// Remembers a panic and kills the script, whose frames it must not cross.
    pub fn die_of(&self, lua: Stack, payload: Box<dyn Any + Send>) {
        self.panic.set(Some(payload));
        self.is_killed.set(true);
        fiber::interrupt(lua);
        fiber::interrupt(self.main());
    }

    /// Adapts the collector to the size of the heap. A heap that has become large is collected at
    /// once, step by step, since the end of the pause was set while it was small.
    pub fn pace(&self) {
        let is_large = self.heap.used() >= HEAP_BYTES_LARGE;
        if self.is_large.replace(is_large) == is_large {
            return;
        }
        let pause = if is_large { GC_PAUSE_PERCENT_LARGE } else { GC_PAUSE_PERCENT };
        api!(lua_gc(self.main(), ffi::LUA_GCSETPAUSE, pause));
        if is_large {
            api!(lua_gc(self.main(), ffi::LUA_GCSTEP, 0));
        }
    }

    /// Collects what a script has left, if that is much.
    fn clean_up(&self) {
        let used = self.heap.used();
        if used >= HEAP_BYTES_HUGE && used >= 2 * self.left.get() {
            api!(lua_gc(self.main(), ffi::LUA_GCCOLLECT, 0));
            self.left.set(self.heap.used());
        }
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        self.heap.enter();
        api!(lua_close(self.main()));
    }
}

/// An engine's scripts and the VM that runs them.
pub struct Lua {
    // In this order: a suspended script goes before its VM.
    fiber: Fiber,
    vm: Box<Vm>,
    memory_bytes_max: usize,
    scripts: HashMap<Sha, Rc<Script>, ahash::RandomState>,
    /// Those of them that came by EVAL alone, in no order.
    evictable: Vec<Rc<Script>>,
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
            evictable: Vec::new(),
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

    /// What a cached script declares.
    pub fn flags(&self, sha: &Sha) -> Option<Flags> {
        self.scripts.get(sha).map(|script| script.flags).filter(|flags| flags.declared)
    }

    /// Finds or compiles what EVAL was given. It may be evicted when many others came after it.
    pub fn eval(&mut self, source: &[u8]) -> Result<Rc<Script>> {
        let sha = Sha::of(source);
        if let Some(script) = self.find(&sha) {
            return Ok(script);
        }
        let script = self.add(source, sha)?;
        self.evictable.push(script.clone());
        if self.evictable.len() > EVAL_SCRIPTS_MAX {
            self.evict();
        }
        Ok(script)
    }

    /// Finds or compiles what SCRIPT LOAD was given. It stays until `flush`.
    pub fn load(&mut self, source: &[u8]) -> Result<Rc<Script>> {
        let sha = Sha::of(source);
        let Some(script) = self.find(&sha) else { return self.add(source, sha) };
        self.evictable.retain(|other| !Rc::ptr_eq(other, &script));
        Ok(script)
    }

    fn add(&mut self, source: &[u8], sha: Sha) -> Result<Rc<Script>> {
        let script = Rc::new(script::compile(self.vm.main(), source, sha)?);
        self.vm.pace();
        self.uses += 1;
        script.used.set(self.uses);
        self.source_bytes += script.source_size;
        self.scripts.insert(sha, script.clone());
        Ok(script)
    }

    /// Lets go of the script by EVAL that was not used for longest.
    fn evict(&mut self) {
        let places = 0..self.evictable.len();
        let Some(place) = places.min_by_key(|&place| self.evictable[place].used.get()) else {
            return;
        };
        let oldest = self.evictable.swap_remove(place);
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

    #[cfg(test)]
    pub(super) fn main(&self) -> Stack {
        self.vm.main()
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
        lua.push_function(answer::note_place);
        lua.push_kept(script.function);
        // Set each time, since `setfenv` may have changed it.
        let environment = if script.assigns_globals { &self.vm.guard } else { &self.vm.globals };
        lua.push_kept(*environment.get().expect("the sandbox is installed"));
        api!(lua_setfenv(lua, -2));
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
            fiber::watch(self.vm.main());
        }
        if let Some(payload) = self.vm.panic.take() {
            self.vm.main().set_top(0);
            self.current = None;
            resume_unwind(payload);
        }
        Outcome::Done
    }

    /// Writes the answer of the script that is done, or says how it failed. Once.
    pub fn finish(&mut self, reply: &mut Reply<'_>, on_error: OnError) -> Result {
        let script = self.current.take().expect("a script is done");
        let result = match self.status {
            ffi::LUA_OK => answer::write(&self.vm, reply, on_error),
            status => Err(answer::failure(&self.vm, &script, status, on_error)),
        };
        self.vm.main().set_top(0);
        if self.words_bytes > KEPT_WORDS_BYTES_MAX {
            sandbox::release_words(self.vm.main(), &script.words);
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
        api!(lua_gc(self.vm.main(), ffi::LUA_GCSTEP, 0)) != 0
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::proto::Error;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const MEMORY_BYTES_MAX: usize = 64 * 1024 * 1024;

    /// Commands that answer in one shape each, and count their calls.
    #[derive(Default)]
    struct Fake {
        calls: usize,
        log: Vec<String>,
    }

    impl Commands for Fake {
        fn call(&mut self, args: Args<'_>, reply: &mut Reply<'_>) -> Result {
            self.calls += 1;
            let count = args.left();
            match args.all()[0] {
                b"echo" => reply.bulk(args.all()[1]),
                b"ok" => reply.ok(),
                b"count" => reply.count(count),
                b"null" => reply.null(),
                b"list" => reply.bulks(args.rest()),
                b"map" => {
                    reply.map(count / 2);
                    args.for_each(|word| reply.bulk(word));
                }
                b"set" => {
                    reply.set(count);
                    args.for_each(|word| reply.bulk(word));
                }
                b"later" => {
                    let slot = reply.array_later();
                    args.for_each(|word| reply.bulk(word));
                    reply.close(slot, count);
                }
                b"regret" => {
                    let mark = reply.mark();
                    reply.array(2);
                    reply.int(1);
                    reply.rollback(mark);
                    reply.int(2);
                }
                b"double" => reply.double(1.5),
                b"boolean" => reply.boolean(true),
                b"deep" => {
                    (0..20).for_each(|_| reply.array(1));
                    reply.int(1);
                }
                b"nested" => {
                    reply.array(2);
                    reply.map(1);
                    reply.bulk(b"k");
                    reply.array(0);
                    reply.set(0);
                }
                b"endless" => {
                    reply.array(usize::MAX / 2);
                    while !reply.is_over() {
                        reply.bulk(b"more");
                    }
                }
                b"panic" => panic!("a handler panicked"),
                _ => return Err(Error::new("ERR no")),
            }
            Ok(())
        }

        fn acl_check(&mut self, args: Args<'_>) -> Option<bool> {
            (args.all()[0] == b"echo").then_some(true)
        }

        fn log(&mut self, level: LogLevel, message: &[u8]) {
            self.log.push(format!("{level:?} {}", message.escape_ascii()));
        }

        fn log_level(&self) -> LogLevel {
            LogLevel::Notice
        }

        fn clock_s(&self) -> f64 {
            7.5
        }

        fn set_replication(&mut self, _: bool, _: bool) {}
    }

    /// Runs a script to its end, or kills it at its first suspension if `kill` says so.
    fn run(lua: &mut Lua, source: &str, words: &[&[u8]], protocol: Protocol, kill: bool) -> String {
        let mut fake = Fake::default();
        let mut out = Vec::new();
        let mut reply = Reply::bytes(&mut out, protocol);
        let script = match lua.eval(source.as_bytes()) {
            Ok(script) => script,
            Err(error) => return error.to_string(),
        };
        let mut outcome = lua.start(script, &words[..words.len().min(1)], words, &mut fake);
        let mut suspensions = 0;
        while outcome == Outcome::Suspended {
            suspensions += 1;
            assert!(suspensions < 1_000, "it runs for ever: {source}");
            let verdict = if kill { Verdict::Kill } else { Verdict::GoOn };
            outcome = lua.resume(verdict, &mut fake);
        }
        match lua.finish(&mut reply, &mut |_, _| {}) {
            Ok(()) => out.escape_ascii().to_string(),
            Err(error) => error.to_string(),
        }
    }

    /// Runs a script with `words` as `ARGV`, the first one also as `KEYS`.
    pub fn run_once(lua: &mut Lua, source: &str, words: &[&[u8]]) -> String {
        run(lua, source, words, Protocol::Resp2, false)
    }

    fn check(source: &str, expect: &str) {
        let mut lua = Lua::new(MEMORY_BYTES_MAX);
        assert_eq!(
            run(&mut lua, source, &[b"a", b"b"], Protocol::Resp2, false),
            expect,
            "{source}"
        );
    }

    fn check_resp3(source: &str, expect: &str) {
        let mut lua = Lua::new(MEMORY_BYTES_MAX);
        assert_eq!(
            run(&mut lua, source, &[b"a", b"b"], Protocol::Resp3, false),
            expect,
            "{source}"
        );
    }

    #[test]
    fn replies_become_lua_values() {
        check("return redis.call('echo', 'x').. #redis.call('list', 'a', 'b')", r"$2\r\nx2\r\n");
        check("return redis.call('ok').ok", r"$2\r\nOK\r\n");
        check("return redis.call('null') == false", r":1\r\n");
        check("return redis.call('later', 'a', 'b')", r"*2\r\n$1\r\na\r\n$1\r\nb\r\n");
        check("return redis.call('regret')", r":2\r\n");
        check("return redis.call('list')", r"*0\r\n");
        check("return redis.call('map', 'k', 'v')[2]", r"$1\r\nv\r\n");
        check("return redis.call('double')", r"$3\r\n1.5\r\n");
        check(
            "local t = redis.call('deep') local n = 0 while type(t) == 'table' do t = t[1] n = n + 1 end return n",
            r":20\r\n",
        );
    }

    #[test]
    fn replies_become_lua_values_in_resp3() {
        let check = |source: &str, expect: &str| {
            check_resp3(&format!("redis.setresp(3) {source}"), expect);
        };
        check("return redis.call('null') == nil", r"#t\r\n");
        check("return redis.call('map', 'k', 'v').map.k", r"$1\r\nv\r\n");
        check("return redis.call('set', 'k').set.k", r"#t\r\n");
        check("return redis.call('double').double", r":1\r\n");
        check("return redis.call('boolean')", r"#t\r\n");
        check("return redis.call('nested')", r"*2\r\n%1\r\n$1\r\nk\r\n*0\r\n~0\r\n");
    }

    #[test]
    fn lua_values_become_replies_in_resp3() {
        check_resp3("return {map = {a = 1}}", r"%1\r\n$1\r\na\r\n:1\r\n");
        check_resp3("return {set = {a = 1}}", r"~1\r\n$1\r\na\r\n");
        check_resp3("return {double = 1.5}", r",1.5\r\n");
        check_resp3("return {big_number = '12'}", r"(12\r\n");
        check_resp3(
            "return {verbatim_string = {format = 'txt', string = 'a'}}",
            r"=5\r\ntxt:a\r\n",
        );
        check_resp3("return true", r":1\r\n");
        check_resp3("return nil", r"_\r\n");
    }

    #[test]
    fn a_big_number_is_one_line_in_both_protocols() {
        check(r"return {big_number = '1\r\n2'}", r"$4\r\n1  2\r\n");
        check_resp3(r"return {big_number = '1\r\n2'}", r"(1  2\r\n");
    }

    #[test]
    fn a_reply_too_deep_is_taken_back_whole() {
        let nest = "local t = {} for _ = 1, 2000 do t = {1, t} end return t";
        check(nest, "ERR reached lua stack limit");
    }

    #[test]
    fn statements_run_and_raise_though_nobody_takes_the_reply() {
        check("redis.call('ok') redis.call('list', 'a') return 1", r":1\r\n");
        let sha = Sha::of(b"redis.call('nosuch') return 1");
        let expect = format!("ERR no script: {sha}, on @user_script:1.");
        check("redis.call('nosuch') return 1", &expect);
        check("redis.pcall('nosuch') return 1", r":1\r\n");
    }

    #[test]
    fn errors_name_the_script_by_its_first_comment() {
        let source = "--[[\n  Move a job\n  Input: ...\n]]\nerror('x')";
        let sha = Sha::of(source.as_bytes());
        check(
            source,
            &format!("ERR user_script:5: x script: {sha} (Move a job), on @user_script:5."),
        );
        let source = format!("-- {}\nerror('x')", "y".repeat(70));
        let sha = Sha::of(source.as_bytes());
        let title = "y".repeat(60);
        let expect = format!("ERR user_script:2: x script: {sha} ({title}), on @user_script:2.");
        check(&source, &expect);
    }

    #[test]
    fn words_are_fresh_in_every_run() {
        let mut lua = Lua::new(MEMORY_BYTES_MAX);
        let spoil = "KEYS[1] = 5 ARGV[4] = 'x' ARGV.y = 1 setmetatable(KEYS, {})";
        let show = "local n = 0 for k, v in pairs(ARGV) do n = n + 1 end \
            local answer = KEYS[1] .. n .. ARGV[#ARGV] .. tostring(getmetatable(KEYS))";
        let source = format!("{show} {spoil} return answer");
        for words in [&[&b"a"[..], b"b"][..], &[b"a", b"c"], &[b"a"], &[b"x", b"y", b"z"]] {
            let last = words[words.len() - 1].escape_ascii();
            let text = format!("{}{}{last}nil", words[0].escape_ascii(), words.len());
            let expect = format!(r"${}\r\n{text}\r\n", text.len());
            assert_eq!(run(&mut lua, &source, words, Protocol::Resp2, false), expect);
        }
        assert_eq!(run(&mut lua, "return #ARGV + #KEYS", &[], Protocol::Resp2, false), r":0\r\n");
    }

    #[test]
    fn words_are_laid_out_anew_after_a_script_has_put_something_beside_them() {
        for spoil in [
            "for i = 1, 15 do KEYS['x' .. i] = 1 end
             for i = 1, 15 do if i ~= 4 then KEYS['x' .. i] = nil end end",
            "for i = 1, 15 do KEYS['x' .. i] = 1 end for i = 1, 15 do KEYS['x' .. i] = nil end",
            "KEYS[7] = 1 KEYS[7] = nil",
            "KEYS.x4 = 1 KEYS.x4 = nil",
            "KEYS[1] = nil KEYS.y = 1 KEYS.y = nil",
        ] {
            // How many fields a table has room for shows in where `#` finds its border.
            let show = "local answer = tostring(KEYS.x4) for i = 2, 6 do KEYS[i] = i end \
                KEYS[3] = nil KEYS[5] = nil answer = answer .. #KEYS \
                for k in pairs(KEYS) do answer = answer .. k end for i = 2, 6 do KEYS[i] = nil end";
            let source = format!("{show} {spoil} KEYS[1] = KEYS[1] or 'a' return answer");
            let mut lua = Lua::new(MEMORY_BYTES_MAX);
            let first = run(&mut lua, &source, &[b"a"], Protocol::Resp2, false);
            let second = run(&mut lua, &source, &[b"a"], Protocol::Resp2, false);
            assert_eq!(first, second, "{spoil}");
        }
    }

    #[test]
    fn nothing_that_a_script_does_reaches_the_next_one() {
        let mut lua = Lua::new(MEMORY_BYTES_MAX);
        for attack in [
            "string.len = nil",
            "_G.string = nil",
            "string = nil",
            "rawset(string, 'len', 1)",
            "rawset(_G, 'string', 1)",
            "table.insert(string, 1)",
            "setmetatable(string, {})",
            "setmetatable(_G, {})",
            "getmetatable('').__index = nil",
            "getmetatable(_G).__index = nil",
            "getmetatable(string).__index.len = nil",
            "getfenv().string = nil",
            "getfenv(0).string = nil",
            "getfenv(string.len).string = nil",
            "setfenv(0, {})",
            "loadstring('string = nil')()",
            "for k, v in pairs(_G) do _G[k] = nil end",
            "local _, t = pairs(string) t.len = nil",
            "setfenv(1, {}) return 1",
            "coroutine.wrap(function() string = nil end)()",
            "KEYS = nil",
        ] {
            run(&mut lua, attack, &[], Protocol::Resp2, false);
            let probe = "return ('abc'):len() + string.len('abc')";
            assert_eq!(run(&mut lua, probe, &[], Protocol::Resp2, false), r":6\r\n", "{attack}");
        }
    }

    /// A script that assigns to a global sees the globals through their guard, others directly.
    #[test]
    fn both_environments_look_the_same() {
        for source in [
            "return type(string.len)",
            "local n = 0 for name in pairs(_G) do n = n + #name end return n",
            "return select(2, pcall(function() return nosuch end))",
            "return tostring(getfenv() == _G) .. tostring(getfenv(1) == _G._G)",
            "return rawget(_G, 'nosuch') == nil and rawget(_G, 'type') == type",
            "return next(_G) ~= nil and #KEYS + #ARGV",
            "return select(2, pcall(rawset, _G, 'x', 1))",
            "return loadstring('return type(_G.string)')()",
            "return coroutine.wrap(function() return redis.call('echo', KEYS[1]) end)()",
        ] {
            let mut lua = Lua::new(MEMORY_BYTES_MAX);
            let mut run = |source: &str| run(&mut lua, source, &[b"k"], Protocol::Resp2, false);
            let direct = run(source);
            assert_eq!(run(&format!("if nil then x = 1 end {source}")), direct, "{source}");
            assert!(direct.starts_with(['$', ':']), "{source} {direct}");
        }
    }

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
        assert_eq!(lua.start(script, &[], &[], &mut Fake::default()), Outcome::Suspended);
        assert!(lua.is_suspended());
    }

    #[test]
    fn a_panic_goes_through_to_the_caller() {
        static CALLS: AtomicUsize = AtomicUsize::new(0);
        let mut lua = Lua::new(MEMORY_BYTES_MAX);
        let script = lua.eval(b"pcall(redis.call, 'panic') redis.call('ok')").unwrap();
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut fake = Fake::default();
            let _calls = Calls(&CALLS);
            lua.start(script, &[], &[], &mut fake)
        }));
        assert!(result.is_err());
        assert_eq!(CALLS.load(Ordering::Relaxed), 1, "the caller's frames are unwound");
        assert_eq!(run(&mut lua, "return 1", &[], Protocol::Resp2, false), r":1\r\n");
    }

    struct Calls(&'static AtomicUsize);

    impl Drop for Calls {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn memory_is_bounded_and_comes_back() {
        let mut lua = Lua::new(MEMORY_BYTES_MAX);
        let source = "local t = {} while true do t[#t + 1] = string.rep('x', 1e5) .. #t end";
        let sha = Sha::of(source.as_bytes());
        let found = run(&mut lua, source, &[], Protocol::Resp2, false);
        assert_eq!(found, format!("ERR Error running script {sha}, not enough memory"));
        while !lua.collect_step() {}
        assert!(lua.memory_bytes() < MEMORY_BYTES_MAX / 10, "{}", lua.memory_bytes());
    }

    #[test]
    fn a_reply_without_end_ends_where_memory_does() {
        let mut lua = Lua::new(MEMORY_BYTES_MAX);
        let mut ask = |source: &str| run(&mut lua, source, &[], Protocol::Resp2, false);
        let found = ask("return redis.pcall('endless').err");
        assert_eq!(found, r"$21\r\nERR not enough memory\r\n");
        // What nobody looks at is not made.
        assert_eq!(ask("redis.call('endless') return 1"), r":1\r\n");
    }

    #[test]
    fn what_is_built_in_one_go_is_bounded_and_does_not_stay() {
        let many = "local t = {1} for i = 1, 30 do t = {t, t, t, t, t, t, t, t} end";
        let wide =
            "local t, w = {} for i = 1, 15 do w = {} for j = 1, 50 do w[j] = t end t = w end";
        let large = "local s = string.rep('x', 1e7)";
        for (source, refusal) in [
            ("return string.rep('x', 1e10)".to_owned(), "resulting string too large"),
            ("return #string.rep('', 1e10)".to_owned(), ":0"),
            (format!("{many} return cjson.encode(t)"), "resulting string too large"),
            (format!("{wide} return cmsgpack.pack(t)"), "resulting string too large"),
            (format!("{large} return struct.pack(string.rep('s', 60), s, s)"), "bad argument"),
            (format!("{large} while true do s = s .. s end"), "not enough memory"),
            (format!("{large} return string.format(string.rep('%s', 9), s)"), "bad argument"),
            ("return string.format('%99999999s', 'x')".to_owned(), "invalid format"),
            (
                format!("{large} return string.gsub(s, '.', string.rep('y', 100))"),
                "not enough memory",
            ),
            (
                format!(
                    "{large} local t = {{}} for i = 1, 1000 do t[i] = s end return table.concat(t)"
                ),
                "not enough memory",
            ),
            ("local t = {} while true do t[#t + 1] = {} end".to_owned(), "not enough memory"),
        ] {
            let mut lua = Lua::new(2 * HEAP_BYTES_HUGE);
            let found = run(&mut lua, &source, &[], Protocol::Resp2, false);
            assert!(found.contains(refusal), "{source}: {found}");
            let left = lua.memory_bytes();
            assert!(left < HEAP_BYTES_HUGE, "{source}: {left}");
            assert_eq!(run(&mut lua, "return 1", &[], Protocol::Resp2, false), r":1\r\n");
        }
    }

    #[test]
    fn scripts_by_eval_leave_when_there_are_many() {
        let mut lua = Lua::new(MEMORY_BYTES_MAX);
        let pinned = lua.load(b"return 'pinned'").unwrap().sha;
        let first = lua.eval(b"return 0").unwrap().sha;
        for number in 1..=EVAL_SCRIPTS_MAX {
            lua.eval(format!("return {number}").as_bytes()).unwrap();
        }
        assert!(lua.contains(&pinned) && !lua.contains(&first));
        assert_eq!((lua.script_count(), lua.evicted_count()), (EVAL_SCRIPTS_MAX + 1, 1));
        // One that came by EVAL stays once it is loaded, and makes room for another.
        let second = lua.load(b"return 1").unwrap().sha;
        lua.eval(b"return 'a'").unwrap();
        assert_eq!(lua.evicted_count(), 1);
        lua.eval(b"return 'b'").unwrap();
        assert!(lua.contains(&second) && !lua.contains(&Sha::of(b"return 2")));
        lua.flush();
        assert_eq!((lua.script_count(), lua.source_bytes()), (0, 0));
    }

    #[test]
    fn the_log_and_the_clock_are_the_engines() {
        let mut lua = Lua::new(MEMORY_BYTES_MAX);
        let source =
            b"redis.log(redis.LOG_WARNING, 'a', 1) redis.log(0, 'b') return os.clock() * 2";
        let script = lua.eval(source).unwrap();
        let (mut fake, mut out) = (Fake::default(), Vec::new());
        assert_eq!(lua.start(script, &[], &[], &mut fake), Outcome::Done);
        lua.finish(&mut Reply::bytes(&mut out, Protocol::Resp2), &mut |_, _| {}).unwrap();
        assert_eq!((out.as_slice(), fake.log), (&b":15\r\n"[..], vec!["Warning a 1".to_owned()]));
    }
}
