//! Scripts and functions between the Lua machines and the commands.
//!
//! A script runs in slices. The first runs inside its EVAL; if it does not end there, the client's
//! state is Running and whoever owns the clock calls `resume` until it is not. Time stands still
//! for the script meanwhile. No borrow of the engine lives on the script's stack: each slice lends
//! it anew, as a `Host`.

use super::Engine;
use super::acl::user::User;
use super::client::{ClientId, State};
use super::context::{Ctx, Origin};
use super::dispatch::{Called, not_alone};
use super::fixture::Stage;
use super::row::{Flag, Flags};
use super::stats::HeldCall;
use super::table::Found;
use super::time::Now;
use crate::config::{LogLevel, SCRIPT_MEMORY_BYTES_MAX};
use crate::lua::{self, Callable, Commands, Lua, Progress, Sha, Verdict};
use crate::proto::{Args, Error, Reply, Result};
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::rc::Rc;

/// The script under way.
#[derive(Debug)]
pub struct Running {
    pub client: ClientId,
    /// The place in the statistics of the command that runs it.
    index: usize,
    /// The database that the script uses; its SELECT does not move its caller.
    db: usize,
    started_us: u64,
    /// When the slice began, once the script is busy: the keyspace's time stands still.
    slice_began: Option<Now>,
    /// The command that runs it, once it was suspended.
    call: Option<HeldCall>,
    /// It has run for longer than `busy-reply-threshold`.
    is_busy: bool,
    is_killed: bool,
    /// It has called a command that writes: it can no longer be killed.
    pub has_written: bool,
    /// Whose rights it has, and whether these are all.
    pub(super) user: Rc<User>,
    is_unrestricted: bool,
    /// EVAL_RO, FCALL_RO, or the flag `no-writes`.
    is_read_only: bool,
    /// Memory was short when the request that runs it was admitted, and it has not said
    /// `allow-oom`: it may not begin to write by taking more. What has begun is let finish, since
    /// half of it may be worse than none: a job would be in neither of two lists.
    is_out_of_memory: bool,
    pub callable: Callable,
}

/// Whose globals code runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Realm {
    Scripts,
    Functions,
}

/// The Lua machines and the script or function under way.
#[derive(Default)]
pub struct Scripts {
    /// One per realm, made when the first script or library comes.
    machines: [Option<Box<Lua>>; 2],
    running: Option<Running>,
}

impl Running {
    pub fn realm(&self) -> Realm {
        realm_of(&self.callable)
    }

    /// What is told of those that run for long: the request, abridged, and since when it runs.
    pub fn request(&self, now: Now) -> Option<(&[Vec<u8>], u64)> {
        let call = self.call.as_ref()?;
        Some((&call.words, now.mono_us.saturating_sub(self.started_us)))
    }
}

impl Scripts {
    /// The script under way, if one has been started and has not ended.
    pub fn running(&self) -> Option<&Running> {
        self.running.as_ref()
    }

    #[inline]
    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Keeps the call that runs the script under way, once it is suspended. The call comes back if
    /// there is no script, or if its call is kept already.
    pub(super) fn hold_call(&mut self, call: HeldCall) -> Option<HeldCall> {
        match &mut self.running {
            Some(script) if script.call.is_none() => {
                script.call = Some(call);
                None
            }
            _ => Some(call),
        }
    }

    pub fn lua(&mut self, realm: Realm) -> &mut Lua {
        let machine = &mut self.machines[realm as usize];
        machine.get_or_insert_with(|| Box::new(Lua::new(SCRIPT_MEMORY_BYTES_MAX)))
    }

    /// Forgets all scripts or all libraries. None may be under way.
    pub fn forget(&mut self, realm: Realm) {
        match (&mut self.machines[realm as usize], realm) {
            (Some(machine), Realm::Scripts) => machine.flush(),
            (machine, _) => *machine = None,
        }
    }

    /// The machine if a script or a library was ever sent.
    pub fn loaded(&self, realm: Realm) -> Option<&Lua> {
        self.machines[realm as usize].as_deref()
    }
}

/// What becomes of the libraries that there are when others are restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestorePolicy {
    /// They go.
    Flush,
    /// They stay, and those of the same name are an error.
    Append,
    /// They stay, but for those of the same name.
    Replace,
}

/// How a script was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    ReadWrite,
    ReadOnly,
}

impl Ctx<'_> {
    /// Runs a script or a function, up to the end of its first slice.
    pub fn run_script(
        &mut self,
        callable: Callable,
        keys: &[&[u8]],
        argv: &[&[u8]],
        mode: Mode,
        reply: &mut Reply,
    ) -> Result {
        let engine = &mut *self.engine;
        let flags = callable.flags();
        let is_out_of_memory =
            engine.is_memory_short() && engine.config.maxmemory > 0 && !flags.allow_oom;
        if flags.declared && !flags.no_writes && is_out_of_memory {
            return Err(Error::new(
                "OOM allow-oom flag is not set on the script, can not run it when used memory > \
                 'maxmemory'",
            ));
        }
        if mode == Mode::ReadOnly && flags.declared && !flags.no_writes {
            return Err(Error::new(
                "ERR Can not execute a script with write flag using *_ro command.",
            ));
        }
        engine.scripts.running = Some(Running {
            client: self.client,
            index: self.index,
            db: self.db,
            started_us: engine.keyspace.now.mono_us,
            slice_began: None,
            call: None,
            is_busy: false,
            is_killed: false,
            has_written: false,
            user: engine.clients[self.client].user.clone(),
            is_unrestricted: engine.clients[self.client].is_unrestricted,
            is_read_only: mode == Mode::ReadOnly || flags.no_writes,
            is_out_of_memory,
            callable: callable.clone(),
        });
        if engine.heeds_requests() {
            engine.tell_script(&callable, keys);
        }
        let realm = realm_of(&callable);
        let outcome = engine.with_lua(realm, |lua, host| lua.start(callable, keys, argv, host));
        match outcome {
            Progress::Done => {
                self.has_counted = true;
                engine.finish_script(reply)
            }
            Progress::Suspended => {
                self.goes_on = true;
                Ok(())
            }
        }
    }
}

impl Ctx<'_> {
    /// A machine and the scripts or libraries that it knows.
    pub fn lua(&mut self, realm: Realm) -> &mut Lua {
        self.engine.scripts.lua(realm)
    }

    /// The machine of libraries, if there ever was one.
    pub fn libraries(&self) -> Option<&Lua> {
        self.engine.scripts.loaded(Realm::Functions)
    }

    /// Takes up a library; returns its name.
    ///
    /// # Errors
    ///
    /// As `Lua::load_library`.
    pub fn load_library(&mut self, source: &[u8], replaces: bool) -> Result<Box<[u8]>> {
        let engine = &mut *self.engine;
        let name = engine
            .with_lua(Realm::Functions, |lua, host| lua.load_library(source, replaces, host))?;
        engine.keyspace.aftermath.changes += 1;
        Ok(name)
    }

    /// Takes up all of these libraries, or none; beside those that there are, or in their place.
    ///
    /// # Errors
    ///
    /// As `Lua::load_library`, of any of them.
    pub fn load_libraries(&mut self, sources: &[Vec<u8>], policy: RestorePolicy) -> Result {
        let engine = &mut *self.engine;
        let replaces = policy == RestorePolicy::Replace;
        let result = match policy {
            RestorePolicy::Flush => engine.replace_libraries(sources),
            RestorePolicy::Append | RestorePolicy::Replace => engine
                .with_lua(Realm::Functions, |lua, host| {
                    lua.load_libraries(sources, replaces, host)
                }),
        };
        engine.keyspace.aftermath.changes += u64::from(result.is_ok());
        result
    }

    /// Whether there was such a library.
    pub fn remove_library(&mut self, name: &[u8]) -> bool {
        let is_gone = self.engine.scripts.lua(Realm::Functions).remove_library(name);
        self.engine.keyspace.aftermath.changes += u64::from(is_gone);
        is_gone
    }

    /// Removes all libraries, and what they keep in their variables.
    pub fn flush_libraries(&mut self) {
        self.engine.scripts.forget(Realm::Functions);
        self.engine.keyspace.aftermath.changes += 1;
    }

    /// The script or function under way.
    pub fn running_script(&self) -> Option<&Running> {
        self.engine.scripts.running()
    }

    /// SCRIPT KILL and FUNCTION KILL.
    pub fn kill_script(&mut self, realm: Realm) -> Result {
        self.engine.kill_script(realm)
    }
}

impl Engine {
    /// Takes up a library that was here before the server was, say from a file.
    ///
    /// # Errors
    ///
    /// As `Lua::load_library`.
    pub fn load_library(&mut self, source: &[u8]) -> Result {
        self.with_lua(Realm::Functions, |lua, host| lua.load_library(source, false, host)).map(drop)
    }

    /// Takes up these libraries in the place of all that there are.
    ///
    /// # Errors
    ///
    /// As `Lua::load_library`, of any of them; then all is as it was.
    pub(super) fn replace_libraries(&mut self, sources: &[Vec<u8>]) -> Result {
        let before = self.scripts.machines[Realm::Functions as usize].take();
        let result =
            self.with_lua(Realm::Functions, |lua, host| lua.load_libraries(sources, false, host));
        if result.is_err() {
            self.scripts.machines[Realm::Functions as usize] = before;
        }
        result
    }

    /// What a command does that runs a script which declares that; None if it does not.
    pub(super) fn flags_of_script(&self, found: Found, args: &Args) -> Option<Flags> {
        let word = args.all().get(1)?;
        let flags = found.row.flags;
        let declared = if flags.has(Flag::ScriptByText) {
            lua::ScriptFlags::declared_by(word)?
        } else if flags.has(Flag::ScriptBySha) {
            self.scripts.loaded(Realm::Scripts)?.flags(&Sha::parse(word)?)?
        } else if flags.has(Flag::FunctionByName) {
            self.scripts.loaded(Realm::Functions)?.function(word)?.flags
        } else {
            return None;
        };
        let takes_memory = !declared.no_writes && !declared.allow_oom;
        let flags = flags.with(Flag::MayReplicate, false).with(Flag::Write, !declared.no_writes);
        Some(flags.with(Flag::DenyOom, takes_memory).with(Flag::Stale, declared.allow_stale))
    }

    /// What others are told while a script is busy.
    #[cold]
    pub(super) fn busy_error(&self) -> Error {
        self.scripts.running().map_or(Error::Busy, busy_error)
    }

    /// Whether a script has run for longer than `busy-reply-threshold`.
    pub fn is_busy(&self) -> bool {
        self.scripts.running().is_some_and(|script| script.is_busy)
    }

    /// What a clock on the wall shows: to a busy script too, which may wait for a time to come.
    pub fn time(&self) -> Now {
        let slice_began = self.scripts.running().and_then(|script| script.slice_began);
        slice_began.unwrap_or(self.keyspace.now)
    }

    /// Goes on with a client's suspended script for one slice, and with the EXEC around it.
    pub fn resume(&mut self, id: ClientId, now: Now) -> State {
        self.stats.advance(now.wall_ms);
        let threshold_ms = self.config.busy_reply_threshold_ms.max(0) as u64;
        let Some(script) = self.scripts.running.as_mut().filter(|script| script.client == id)
        else {
            return self.state(id);
        };
        if !script.is_busy && now.mono_us.saturating_sub(script.started_us) >= threshold_ms * 1000 {
            script.is_busy = true;
            tracing::warn!(
                "a script has run for more than busy-reply-threshold ({threshold_ms} ms): other \
                 clients are answered BUSY until it ends or SCRIPT KILL (of a function, FUNCTION \
                 KILL) ends it. Script: {}",
                script.callable
            );
        }
        if script.is_busy {
            script.slice_began = Some(now);
        }
        let verdict = if script.is_killed { Verdict::Kill } else { Verdict::GoOn };
        let realm = script.realm();
        let slice_us = self.start_lap();
        self.held_calls(id).for_each(|call| call.since_us = slice_us);
        if self.with_lua(realm, |lua, host| lua.resume(verdict, host)) == Progress::Suspended {
            self.start_lap();
            self.pause_held_calls(id);
            return State::Running;
        }
        self.on_outbox(id, |engine, db, reply| {
            if let Err(error) = engine.finish_script(reply) {
                reply.error(&error);
            }
            engine.end_exec_part(id, db, reply);
        });
        self.pause_held_calls(id);
        self.end_part(id, now)
    }

    /// What follows a part of a request that had to wait, if it was the last.
    pub(super) fn end_part(&mut self, id: ClientId, now: Now) -> State {
        let state = self.state(id);
        if state == State::Running || self.errands.halts() {
            return state;
        }
        self.set_now(now);
        self.end_caching(id);
        self.stir(id, now);
        self.release_pushes(id);
        self.clients.mark_runnable(id);
        self.settle();
        if self.clients[id].is_gone {
            self.disconnect(id, now);
            return State::Closing;
        }
        state
    }

    /// Counts what a part of a client's request took, up to the last look at the stopwatch.
    pub(super) fn pause_held_calls(&mut self, id: ClientId) {
        let end_us = self.stats.lap_us();
        self.held_calls(id).for_each(|call| call.pause(end_us));
    }

    /// The calls that end with a client's script: EVAL and the EXEC around it.
    fn held_calls(&mut self, id: ClientId) -> impl Iterator<Item = &mut HeldCall> {
        let exec = self.clients.get_mut(id).and_then(|client| client.transaction.exec.as_mut());
        let exec = exec.and_then(|exec| exec.call.as_mut());
        let script = self.scripts.running.as_mut().and_then(|script| script.call.as_mut());
        script.into_iter().chain(exec)
    }

    /// SCRIPT KILL and FUNCTION KILL.
    ///
    /// # Errors
    ///
    /// If nothing runs, if what runs has written, or if it is of the other realm.
    pub fn kill_script(&mut self, realm: Realm) -> Result {
        let script = self.scripts.running.as_mut().ok_or(Error::NotBusy)?;
        if script.has_written {
            return Err(Error::Unkillable);
        }
        if script.realm() != realm {
            return Err(busy_error(script));
        }
        script.is_killed = true;
        Ok(())
    }

    /// Lends the engine to a Lua machine for a slice.
    fn with_lua<T>(&mut self, realm: Realm, run: impl FnOnce(&mut Lua, &mut Host) -> T) -> T {
        self.scripts.lua(realm);
        let mut lua = self.scripts.machines[realm as usize].take().expect("made a line above");
        let mut host = Host { engine: self };
        let run = AssertUnwindSafe(|| run(&mut lua, &mut host));
        let outcome = std::panic::catch_unwind(run);
        self.scripts.machines[realm as usize] = Some(lua);
        // A command panicked: the script is over, and the machine has been set right.
        outcome.unwrap_or_else(|panic| {
            self.scripts.running = None;
            resume_unwind(panic)
        })
    }

    /// Writes the answer of a script that has ended, and closes its account. An error of a command
    /// in it was counted when the command ended; the script's own are counted here.
    fn finish_script(&mut self, reply: &mut Reply) -> Result {
        let script = self.scripts.running.take().expect("a script has ended");
        let mut has_failed = false;
        let result = self.scripts.lua(script.realm()).finish(reply, &mut |error, is_of_command| {
            has_failed = true;
            if !is_of_command {
                self.stats.count_error(error);
            }
        });
        self.stats.calls[script.index].failed += u64::from(has_failed);
        if let Some(call) = script.call {
            self.start_lap();
            self.end_held_call(script.client, call);
        }
        result
    }
}

fn realm_of(callable: &Callable) -> Realm {
    match callable {
        Callable::Script(_) => Realm::Scripts,
        Callable::Function(_) => Realm::Functions,
    }
}

fn busy_error(script: &Running) -> Error {
    match script.realm() {
        Realm::Scripts => Error::Busy,
        Realm::Functions => Error::BusyFunction,
    }
}

/// What a script can reach: the engine, in the name of its caller.
struct Host<'e> {
    engine: &'e mut Engine,
}

impl Host<'_> {
    fn script(&mut self) -> &mut Running {
        self.engine.scripts.running.as_mut().expect("a script is running")
    }

    /// The checks stand in Redis's order, which decides the error that a script sees.
    fn admit(&mut self, found: Found, args: &Args) -> Result {
        let row = found.row;
        if !row.arity.allows(args.len()) {
            return Err(Error::ScriptWrongArity);
        }
        if row.flags.has(Flag::NoScript) {
            return Err(not_alone(found, Error::ScriptNotAllowed));
        }
        let script = self.script();
        if !script.is_unrestricted {
            let (id, user) = (script.client, script.user.clone());
            self.engine.check_user(id, &user, found, args.all(), Origin::Script)?;
        }
        let script = self.script();
        let is_write = row.flags.has(Flag::Write);
        if script.is_read_only && (is_write || row.flags.has(Flag::MayReplicate)) {
            return Err(Error::ScriptReadOnly);
        }
        if is_write && self.engine.replication.checks_writes {
            self.engine.check_replica(row.flags)?;
        }
        let script = self.script();
        if script.is_out_of_memory && !script.has_written && row.flags.has(Flag::DenyOom) {
            return Err(Error::OutOfMemory);
        }
        if self.engine.heeds_requests() {
            let id = self.script().client;
            self.engine.consult(id, found, args, Stage::Called)?;
        }
        self.script().has_written |= is_write;
        Ok(())
    }
}

impl Commands for Host<'_> {
    fn call(&mut self, args: Args<'_>, reply: &mut Reply<'_>) -> Result {
        let Ok(found) = self.engine.table.resolve(&args) else {
            self.engine.stats.count_error(&Error::ScriptUnknownCommand);
            return Err(Error::ScriptUnknownCommand);
        };
        if let Err(error) = self.admit(found, &args) {
            self.engine.stats.calls[found.index].rejected += 1;
            self.engine.stats.count_error(&error);
            return Err(error);
        }
        let script = self.script();
        let (client, mut db) = (script.client, script.db);
        let called = self.engine.call(client, found, args, Origin::Script, &mut db, reply);
        self.script().db = db;
        match called {
            Called::Done(result) => result,
            Called::Parked(_) | Called::Running => {
                unreachable!("{} waits, so its row says NoScript", found.full_name())
            }
        }
    }

    fn acl_check(&mut self, args: Args<'_>) -> Option<bool> {
        let found = self.engine.table.resolve(&args).ok()?;
        Some(self.script().user.check(found, args.all()).is_ok())
    }

    fn log(&mut self, level: LogLevel, message: &[u8]) {
        let message = String::from_utf8_lossy(message);
        match level {
            LogLevel::Debug => tracing::trace!("{message}"),
            LogLevel::Verbose => tracing::debug!("{message}"),
            LogLevel::Notice => tracing::info!("{message}"),
            LogLevel::Warning | LogLevel::Nothing => tracing::warn!("{message}"),
        }
    }

    fn log_level(&self) -> LogLevel {
        self.engine.config.loglevel
    }

    fn clock_s(&self) -> f64 {
        self.engine.facts.stopwatch_us() as f64 / 1e6
    }

    fn set_replication(&mut self, _to_file: bool, _to_replicas: bool) {
        // There is neither yet; a journal that left out a write would not be one.
    }
}
