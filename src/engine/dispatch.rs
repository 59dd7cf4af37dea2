//! Dispatch: the checklist that admits or refuses a request, and the call of its handler.

use super::Engine;
use super::client::{ClientId, Parked, ReplyMode, State};
use super::context::{Ctx, Origin};
use super::fixture::{Failure, Ruling, Stage};
use super::journal::Class;
use super::latency::LatencyEvent;
use super::row::{Flag, Flags};
use super::stats::{HeldCall, abridge};
use super::table::Found;
use super::tracking::Author;
use crate::config::{self, Protected};
use crate::proto::{Args, Error, Protocol, Reply, Result};
use crate::util::quote;
use std::panic::AssertUnwindSafe;

/// What the checklist decided.
enum Admission {
    Run,
    Queue,
    Postpone,
}

/// What became of a call.
pub(super) enum Called {
    Done(Result),
    Parked(Parked),
    /// What it began goes on: a script, or a wait.
    Running,
}

impl Engine {
    /// Runs one request of a client, from the checklist to the reply.
    pub(super) fn request(&mut self, id: ClientId, args: Args) {
        let found = self.table.resolve(&args);
        let client = &mut self.clients[id];
        client.reply_mode = match client.reply_mode {
            ReplyMode::SkipNext => ReplyMode::SkipThis,
            ReplyMode::SkipThis => ReplyMode::On,
            other => other,
        };
        client.active_us = self.keyspace.now.mono_us;
        client.last_command = found.as_ref().ok().copied();
        let found = match found {
            Ok(found) => found,
            Err(error) => return self.refuse(id, &error),
        };
        if self.heeds_requests() {
            return self.request_heeding(id, found, args);
        }
        let admission = self.admit::<false>(id, found, &args);
        self.go_on(id, found, args, admission);
    }

    /// As the end of `request`, and the fixture is asked before, in between and behind. Apart, so
    /// that who has none pays one branch for all its questions.
    #[cold]
    #[inline(never)]
    fn request_heeding(&mut self, id: ClientId, found: Found, args: Args) {
        let admission = match self.consult(id, found, &args, Stage::Named) {
            Ok(Ruling::GoOn) => self.admit::<true>(id, found, &args),
            Ok(Ruling::Swallow) => return self.lose(id),
            Err(error) => Err(error),
        };
        let admission = match admission {
            Ok(Admission::Postpone) | Err(_) => admission,
            Ok(admission) => match self.consult(id, found, &args, Stage::Admitted) {
                Ok(Ruling::GoOn) => Ok(admission),
                Ok(Ruling::Swallow) => return self.lose(id),
                Err(error) => Err(error),
            },
        };
        self.go_on(id, found, args, admission);
    }

    /// Does with a request what the checklist says.
    #[inline(always)]
    fn go_on(&mut self, id: ClientId, found: Found, args: Args, admission: Result<Admission>) {
        match admission {
            Ok(Admission::Run) => self.run_request(id, found, args),
            Ok(Admission::Queue) => self.enqueue(id, found, args),
            Ok(Admission::Postpone) => self.hold(id),
            Err(error) => {
                self.stats.calls[found.index].rejected += 1;
                if found.row.flags.has(Flag::RunsQueue) {
                    self.abort_exec(id, &error);
                } else {
                    self.refuse(id, &error);
                }
            }
        }
    }

    /// The order decides which error a client sees: it is Redis 7.4's. The fixture is asked in
    /// between if it `HEEDS` requests.
    fn admit<const HEEDS: bool>(
        &mut self,
        id: ClientId,
        found: Found,
        args: &Args,
    ) -> Result<Admission> {
        let mut client = &self.clients[id];
        let flags = found.row.flags;
        let is_queued = client.transaction.is_open() && !flags.has(Flag::PassesQueue);

        if !found.row.arity.allows(args.len()) {
            return Err(Error::wrong_arity(&found.full_name()));
        }
        if flags.has(Flag::Protected) {
            self.check_enabled(id, found)?;
        }
        if !client.is_authenticated && !flags.has(Flag::NoAuth) && self.acl.needs_login() {
            return Err(Error::NoAuth);
        }
        if flags.has(Flag::NoMulti) && client.transaction.is_open() {
            return Err(not_alone(found, Error::NotInMulti));
        }
        if !client.is_unrestricted {
            self.check_client(id, found, args.all(), Origin::Client)?;
            client = &self.clients[id];
        }
        if HEEDS {
            self.consult(id, found, args, Stage::Allowed)?;
            client = &self.clients[id];
        }
        // What is found here holds for all that the request runs: nothing is evicted between the
        // commands of an EXEC or a script, which would lose what the ones before have written.
        if !self.scripts.is_running() {
            self.look_for_memory();
            if self.is_memory_short() && self.flags_of(id, found, args).has(Flag::DenyOom) {
                return Err(Error::OutOfMemory);
            }
            client = &self.clients[id];
        }
        let has_trouble = self.persistence.has_trouble() | self.replication.checks_writes;
        if has_trouble {
            let flags = self.flags_of(id, found, args);
            self.check_disk(flags)?;
            self.check_replica(flags)?;
        }
        if client.subscriptions() > 0
            && client.outbox.protocol == Protocol::Resp2
            && !flags.has(Flag::AllowSubscriber)
        {
            return Err(Error::new(format!(
                "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / \
                 RESET are allowed in this context",
                found.full_name()
            )));
        }
        if has_trouble {
            self.check_link(found, args).and_then(|()| self.check_loaded(flags))?;
        }
        if self.is_busy() && !self.is_allowed_while_busy(found, args) {
            return Err(self.busy_error());
        }
        if client.is_monitor && touches_keys(flags) {
            return Err(Error::new("ERR Replica can't interact with the keyspace"));
        }
        // Nothing is let through under ALL, CLIENT UNPAUSE neither: only time ends it, as in Redis.
        if self.pauses.all.is_some_and(|pause| pause.holds(self.flags_of(id, found, args))) {
            return Ok(Admission::Postpone);
        }
        Ok(if is_queued { Admission::Queue } else { Admission::Run })
    }

    /// The end of the server is a way out of a busy script only if nothing will be saved.
    fn is_allowed_while_busy(&self, found: Found, args: &Args) -> bool {
        found.row.flags.has(Flag::AllowBusy)
            && (!found.row.flags.has(Flag::Saves)
                || args.all()[1..].iter().any(|word| word.eq_ignore_ascii_case(b"nosave")))
    }

    /// Whether a client may run what not every server lets everybody run.
    fn check_enabled(&self, id: ClientId, found: Found) -> Result {
        let who = if found.row.flags.has(Flag::ForTests) {
            self.config.enable_toril_command
        } else {
            self.config.enable_debug_command
        };
        let name = found.container.unwrap_or(found.row).name;
        if self.allows(who, id) { Ok(()) } else { Err(protected(name)) }
    }

    pub(super) fn allows(&self, who: Protected, id: ClientId) -> bool {
        match who {
            Protected::Yes => true,
            Protected::Local => self.clients[id].peer.is_loopback,
            Protected::No => false,
        }
    }

    /// What a request does: EXEC what is queued, and a script what it declares.
    pub(super) fn flags_of(&self, id: ClientId, found: Found, args: &Args) -> Flags {
        let flags = found.row.flags;
        if !flags.has(Flag::RunsOthers) {
            flags
        } else if flags.has(Flag::RunsQueue) {
            flags.union(self.clients[id].transaction.flags)
        } else {
            self.flags_of_script(found, args).unwrap_or(flags)
        }
    }

    /// Answers a request with an error; inside MULTI, EXEC will abort.
    pub(super) fn refuse(&mut self, id: ClientId, error: &Error) {
        let transaction = &mut self.clients[id].transaction;
        if transaction.is_open() {
            transaction.is_refused = true;
        }
        self.end_caching(id);
        self.stats.count_error(error);
        self.answer_with(id, |reply| reply.error(error));
    }

    /// A request that is neither run nor answered. A transaction that it is part of is not run.
    fn lose(&mut self, id: ClientId) {
        if let Some(client) = self.clients.get_mut(id) {
            client.transaction.is_refused |= client.transaction.is_open();
        }
    }

    /// An EXEC that is refused ends its transaction.
    fn abort_exec(&mut self, id: ClientId, error: &Error) {
        self.clients[id].transaction.close();
        self.unwatch(id);
        // A node of a cluster has looked at all keys before there was a transaction to abort.
        if *error == Error::CrossSlot {
            return self.refuse(id, error);
        }
        let reason = error.text();
        let reason = reason.strip_prefix(b"ERR ").unwrap_or(reason);
        let abort = Error::quoting("EXECABORT Transaction discarded because of: ", reason, "");
        self.refuse(id, &abort);
    }

    /// Appends to a client's outbox what `write` says, unless the client wants no replies.
    pub(super) fn answer_with(&mut self, id: ClientId, write: impl FnOnce(&mut Reply)) {
        if self.clients.get(id).is_some() {
            self.on_outbox(id, |_, _, reply| write(reply));
        }
    }

    #[inline]
    fn run_request(&mut self, id: ClientId, found: Found, args: Args) {
        let client = &mut self.clients[id];
        client.commands += 1;
        self.keyspace.touching = !client.no_touch;
        self.keyspace.counting = self.config.maxmemory_policy.is_lfu();
        match self.call_on_outbox(id, found, args, Origin::Client) {
            Called::Done(_) => self.release_pushes(id),
            Called::Parked(parked) => {
                self.park(id, parked);
                self.release_pushes(id);
            }
            Called::Running if !self.errands.halts() => self.clients[id].state = State::Running,
            Called::Running => {}
        }
    }

    /// Calls a command with the client's outbox as the place of its reply or error.
    pub(super) fn call_on_outbox(
        &mut self,
        id: ClientId,
        found: Found,
        args: Args,
        origin: Origin,
    ) -> Called {
        self.on_outbox(id, |engine, db, reply| {
            let called = engine.call(id, found, args, origin, db, reply);
            if let Called::Done(Err(error)) = &called {
                reply.error(error);
            }
            called
        })
    }

    /// Lends out a client's outbox and database. What is pushed to the client meanwhile is held
    /// back until its own reply stands.
    pub(super) fn on_outbox<T>(
        &mut self,
        id: ClientId,
        run: impl FnOnce(&mut Self, &mut usize, &mut Reply) -> T,
    ) -> T {
        let client = &mut self.clients[id];
        let (mut db, mut outbox) = (client.db, std::mem::take(&mut client.outbox));
        client.outbox.protocol = outbox.protocol;
        // EXEC's reply comes in parts where a script in it was suspended.
        let is_part = client.state == State::Running;
        let start = outbox.position();
        let room = self.output_room(&self.clients[id], outbox.len());
        let before = self.pushes.hold_for(Some(id));
        let mut reply = outbox.reply_within(room);
        let result = run(self, &mut db, &mut reply);
        let protocol = reply.protocol();
        self.pushes.hold_for(before);
        let client = self.clients.mark_dirty(id).expect("the client is connected");
        outbox.protocol = protocol;
        let len = outbox.position() - start;
        if !client.wants_replies() {
            outbox.truncate(start);
        }
        (client.db, client.outbox) = (db, outbox);
        if len > room {
            self.end_long_reply(id, start, len, is_part);
        }
        result
    }

    /// Runs a handler: the one way for requests, transactions, scripts and parked requests.
    pub(super) fn call(
        &mut self,
        id: ClientId,
        found: Found,
        args: Args,
        origin: Origin,
        db: &mut usize,
        reply: &mut Reply,
    ) -> Called {
        let row = found.row;
        let is_shown = !self.clients.monitors.is_empty() && !row.flags.has(Flag::Admin);
        if is_shown && row.flags.has(Flag::ShownFirst) {
            self.feed_monitors(id, *db, row.flags, args.all(), origin);
        }
        // A command begins where the one before it ended: one look at the stopwatch for each. A
        // script's commands are counted, not timed: the look costs more than many of them.
        let started_us = self.stats.lap_us();
        let changes = self.keyspace.aftermath.changes;
        // What a script is answered is taken back by who built it.
        let is_marked = cfg!(debug_assertions) || !matches!(origin, Origin::Script);
        let mark = is_marked.then(|| reply.mark());
        let called_db = *db;
        self.keyspace.aftermath.author = Author::new(id, origin);

        let mut cx = Ctx {
            engine: self,
            client: id,
            db: called_db,
            origin,
            index: found.index,
            has_counted: false,
            parked: None,
            goes_on: false,
        };
        // Reading begins behind the name, a subcommand's included.
        let behind_name = args.from(1 + usize::from(found.container.is_some()));
        let call = AssertUnwindSafe(|| match origin {
            Origin::Waiter(park, why) => park.retry(why, &mut cx, args, reply),
            Origin::Answered(rest, outcome) => rest.go_on(&mut cx, outcome, reply),
            _ => (row.handler)(&mut cx, behind_name, reply),
        });
        let mut has_panicked = false;
        let result = std::panic::catch_unwind(call).unwrap_or_else(|_| {
            has_panicked = true;
            tracing::error!("{} panicked: a bug in toril; the data is sound", found.full_name());
            Err(Error::new(format!("ERR internal error in '{}'", found.full_name())))
        });
        *db = cx.db;
        let (mut parked, goes_on) = (cx.parked.take(), cx.goes_on);
        let has_counted = cx.has_counted;

        let changed = self.keyspace.aftermath.changes != changes;
        if self.keyspace.aftermath.journal.is_on() {
            let class = class_of(row.flags, changed, &result);
            if has_panicked && class.is_some() {
                tracing::error!("what it has changed no command tells: the journal ends here");
                std::process::abort();
            }
            self.keyspace.aftermath.journal.end_command(called_db, args.all(), class);
        }
        if let Err(error) = &result {
            if let Some(mark) = mark
                && reply.mark() != mark
            {
                reply.rollback(mark);
                break_rule(found, "an error after the first reply byte", error);
            }
            if changed && !row.flags.has(Flag::RunsOthers) {
                break_rule(found, "an error after the first change", error);
            }
        }

        let is_first_run = !matches!(origin, Origin::Waiter(..) | Origin::Answered(..));
        // An EXEC that a script holds up is shown at its end.
        if is_shown && is_first_run && !goes_on && !row.flags.has(Flag::ShownFirst) {
            self.feed_monitors(id, *db, row.flags, args.all(), origin);
        }
        if let Err(error) = &result
            && !has_counted
        {
            self.stats.calls[found.index].failed += 1;
            self.stats.count_error(error);
            if self.heeds_requests() {
                self.tell_failure(id, &Failure { found, args: &args, db: called_db, error });
            }
        }
        if matches!(origin, Origin::Script) {
            self.stats.commands += 1;
            self.stats.calls[found.index].calls += 1;
        } else {
            let micros = self.start_lap() - started_us;
            match &mut parked {
                // Who waits is counted and logged when the wait has ended.
                Some(Parked::Keys(park)) => park.micros = micros,
                Some(Parked::Effect(_)) => {}
                _ if !is_first_run => {}
                // So is who runs on: the other slices count as well.
                _ if goes_on => self.hold_call(id, found, args.all(), micros),
                _ => self.account(id, found, args.all(), micros),
            }
        }
        if self.keyspace.aftermath.tracking.is_some() {
            let is_over = parked.is_none() && !goes_on;
            self.follow(id, found, args.all(), origin, is_over);
        }
        match (parked, goes_on) {
            (Some(parked), _) => Called::Parked(parked),
            (None, true) => Called::Running,
            (None, false) => Called::Done(result),
        }
    }

    /// Counts a command that has run, and logs it if it was slow.
    #[inline]
    pub(super) fn account(&mut self, id: ClientId, found: Found, words: &[&[u8]], micros: u64) {
        self.count_call(found, micros);
        if micros >= self.stats.slow_from_us {
            self.note_slow(id, found, micros, abridge(&without_secrets(found.row.flags, words)));
        }
    }

    #[inline]
    fn count_call(&mut self, found: Found, micros: u64) {
        self.stats.commands += 1;
        let calls = &mut self.stats.calls[found.index];
        calls.calls += 1;
        calls.micros += micros;
        if self.config.latency_tracking {
            calls.latency.get_or_insert_default().record(micros);
        }
    }

    fn hold_call(&mut self, id: ClientId, found: Found, words: &[&[u8]], micros: u64) {
        let words = abridge(&without_secrets(found.row.flags, words));
        let call = HeldCall { found, words, micros, since_us: self.stats.lap_us() };
        // First who runs the script, then the transaction around.
        let call = self.scripts.hold_call(call);
        if let Some(exec) = &mut self.clients[id].transaction.exec {
            exec.call = call.or(exec.call.take());
        }
    }

    /// Ends what was held up, as `call` ends others.
    pub(super) fn end_held_call(&mut self, id: ClientId, mut call: HeldCall) {
        call.pause(self.stats.lap_us());
        self.count_call(call.found, call.micros);
        if call.micros >= self.stats.slow_from_us {
            self.note_slow(id, call.found, call.micros, call.words);
        }
    }

    /// For LATENCY and SLOWLOG, as each wants it. `words` are abridged.
    #[cold]
    fn note_slow(&mut self, id: ClientId, found: Found, micros: u64, words: Vec<Vec<u8>>) {
        self.note_latency(LatencyEvent::of(found), micros);
        if micros < self.logged_from_us() || found.row.flags.has(Flag::SkipSlowlog) {
            return;
        }
        let Some(client) = self.clients.get(id) else { return };
        let (addr, name) = (client.peer.addr.clone(), client.name.to_vec());
        let time_s = self.time().wall_ms / 1000;
        let len_max = self.config.slowlog_max_len;
        self.stats.slowlog.add(words, micros, time_s, addr, name, len_max);
    }

    /// Shows a command to those who asked with MONITOR.
    pub(super) fn feed_monitors(
        &mut self,
        id: ClientId,
        db: usize,
        flags: Flags,
        words: &[&[u8]],
        origin: Origin,
    ) {
        let now_us = self.time().wall_us();
        let (seconds, micros) = (now_us / 1_000_000, now_us % 1_000_000);
        let who = match origin {
            Origin::Script => "lua".to_owned(),
            _ => self.clients.get(id).map(|client| client.peer.addr.clone()).unwrap_or_default(),
        };
        let mut line = format!("{seconds}.{micros:06} [{db} {who}]").into_bytes();
        for word in without_secrets(flags, words) {
            line.push(b' ');
            quote::quoted(word, &mut line);
        }
        let monitors = self.clients.monitors.clone();
        self.deliver(&monitors, |push| push.status(&line));
    }
}

/// A handler has broken a rule. A test ends there; a server says so, and the client has its error.
#[cold]
fn break_rule(found: Found, rule: &str, error: &Error) {
    let name = found.full_name();
    tracing::error!("{name}: {rule}: {error}. This is a bug in toril: please report it");
    debug_assert!(false, "{name}: {rule}: {error}");
}

/// For whom a command that has run is to be journaled, if for anybody.
fn class_of(flags: Flags, changed: bool, result: &Result) -> Option<Class> {
    if flags.has(Flag::RunsOthers) {
        None
    } else if changed {
        Some(Class::All)
    } else {
        (flags.has(Flag::ForReplicas) && result.is_ok()).then_some(Class::Replicas)
    }
}

/// Why a command does not run in a transaction or script: in Redis's words, or in its own name.
pub(super) fn not_alone(found: Found, error: Error) -> Error {
    if !found.row.flags.has(Flag::ForTests) {
        return error;
    }
    let name = found.full_name().to_uppercase().replace('|', " ");
    Error::new(format!("ERR {name} is not allowed in a transaction or script"))
}

fn touches_keys(flags: Flags) -> bool {
    [Flag::Read, Flag::Write, Flag::MayReplicate].into_iter().any(|flag| flags.has(flag))
}

/// The words of a request as MONITOR and SLOWLOG may show them: passwords are withheld.
fn without_secrets<'a>(flags: Flags, words: &[&'a [u8]]) -> Vec<&'a [u8]> {
    let is_login = |at: usize| words[at].eq_ignore_ascii_case(b"auth");
    let is_secret = |at: usize| {
        let logs_in =
            flags.has(Flag::SecretLogin) && at > 2 && (is_login(at - 1) || is_login(at - 2));
        let follows =
            |word: &[u8], by: usize| at > by + 4 && words[at - by].eq_ignore_ascii_case(word);
        let gives_password = flags.has(Flag::SecretPassword)
            && (follows(b"auth", 1) || follows(b"auth2", 1) || follows(b"auth2", 2));
        let sets_password = flags.has(Flag::SecretSettings)
            && at > 2
            && config::Setting::find(words[at - 1]).is_some_and(config::Setting::is_secret);
        let is_argument = at > usize::from(flags.has(Flag::SecretRules));
        let are_secret = flags.has(Flag::SecretArguments) || flags.has(Flag::SecretRules);
        is_argument && are_secret || logs_in || gives_password || sets_password
    };
    let shown = words.iter().enumerate();
    shown.map(|(at, &word)| if is_secret(at) { &b"(redacted)"[..] } else { word }).collect()
}

fn protected(command: &str) -> Error {
    let upper = command.to_ascii_uppercase();
    Error::new(format!(
        "ERR {upper} command not allowed. If the enable-{command}-command option is set to \
         \"local\", you can run it from a local connection, otherwise you need to set this option \
         in the configuration file, and then restart the server."
    ))
}
