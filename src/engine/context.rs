//! `Ctx`: all that a handler holds, namely the engine and the client that asks. A handler cannot
//! see through which transport it was called; whether it may wait it learns from `block`.

use super::Engine;
use super::acl::selector::right;
use super::acl::user::{User, WrongRule};
use super::client::{Client, ClientId, Clients, Parked, State};
use super::effect::{Answered, Effect, Outcome};
use super::keyspace::{Change, Edit, KeyValue, Keyspace, Lifetime, Snapshot, Used};
use super::parking::{Attempt, Park};
use super::table::{Request, Table};
use super::time::Now;
use super::waiters::{On, Woken};
use crate::config::{Config, EventClasses, Limits};
use crate::data::{Typed, Value};
use crate::proto::{Args, Error, OwnedArgs, Reply, Result};
use crate::util::extended::Extended;
use crate::util::number;
use crate::util::rng::Rng;
use std::ops::Range;
use std::rc::Rc;

/// On whose behalf a command runs.
#[derive(Clone, Copy, Debug)]
pub enum Origin<'a> {
    /// A request of its own.
    Client,
    /// One of a transaction.
    Exec,
    /// `redis.call`.
    Script,
    /// A parked request that is tried again, and why.
    Waiter(&'a Park, Woken),
    /// A request that goes on with what the server has done for it.
    Answered(&'a dyn Answered, &'a Outcome),
}

pub struct Ctx<'e> {
    pub(super) engine: &'e mut Engine,
    pub client: ClientId,
    /// The database in use; SELECT changes it.
    pub db: usize,
    pub(super) origin: Origin<'e>,
    /// The running command's place in the statistics.
    pub(super) index: usize,
    /// The handler's error is in the statistics: a script's, which may be another command's.
    pub(super) has_counted: bool,
    pub(super) parked: Option<Parked>,
    /// What the handler began goes on: a script that is suspended, or a wait.
    pub(super) goes_on: bool,
}

/// What handlers look at.
impl Ctx<'_> {
    /// The whole server, to be looked at.
    pub fn server(&self) -> &Engine {
        self.engine
    }

    pub fn config(&self) -> &Config {
        &self.engine.config
    }

    pub fn table(&self) -> &Table {
        &self.engine.table
    }

    pub fn keyspace(&self) -> &Keyspace {
        &self.engine.keyspace
    }

    pub fn clients(&self) -> &Clients {
        &self.engine.clients
    }

    /// The settings that bound values.
    pub fn limits(&self) -> &Limits {
        &self.engine.keyspace.limits
    }

    /// It stands still during a command, a script and an EXEC.
    pub fn now(&self) -> Now {
        self.engine.keyspace.now
    }

    /// The wall clock in milliseconds.
    pub fn now_ms(&self) -> i64 {
        self.now().wall_ms
    }

    /// As `now_ms`, for who keeps that something happens now. A command that is done again, say of
    /// a primary's, happens now as well, although nothing is over for it.
    pub fn happens_ms(&self) -> i64 {
        self.engine.keyspace.replayed_ms.unwrap_or(self.now_ms())
    }
}

impl Ctx<'_> {
    /// A key's value as a `T`; an error if it is of another type.
    pub fn read<T: Typed>(&mut self, key: &[u8]) -> Result<Option<&T>> {
        match self.engine.keyspace.read(self.db, key) {
            None => Ok(None),
            Some(entry) => T::of(&entry.value).map(Some).ok_or(Error::WrongType),
        }
    }

    /// As `read`, beside the engine's seeded randomness.
    pub fn read_with_rng<T: Typed>(&mut self, key: &[u8]) -> Result<Option<(&T, &mut Rng)>> {
        match self.engine.keyspace.read_with_rng(self.db, key) {
            None => Ok(None),
            Some((entry, rng)) => {
                T::of(&entry.value).map(|value| Some((value, rng))).ok_or(Error::WrongType)
            }
        }
    }

    /// The entries of several keys at once, None where there is no key; an error if one holds what
    /// is not wanted.
    pub fn read_all(
        &mut self,
        keys: &[&[u8]],
        is_wanted: fn(&Value) -> bool,
    ) -> Result<Vec<Option<&KeyValue>>> {
        self.engine.keyspace.read_all(self.db, keys, is_wanted)
    }

    /// A key's entry, whatever its type.
    pub fn read_any(&mut self, key: &[u8]) -> Option<&KeyValue> {
        self.engine.keyspace.read(self.db, key)
    }

    /// As `read_any`, without counting as an access: for looks at a key's type or TTL. A value at
    /// rest is not thawed for it.
    pub fn inspect(&mut self, key: &[u8]) -> Option<&KeyValue> {
        self.engine.keyspace.inspect(self.db, key)
    }

    /// As `read_any`, without counting as an access, a hit or a miss.
    pub fn peek(&mut self, key: &[u8]) -> Option<&KeyValue> {
        self.engine.keyspace.peek(self.db, key)
    }

    /// The wall clock's last millisecond at which a key still exists, if it has a TTL.
    pub fn expires_ms(&mut self, key: &[u8]) -> Option<i64> {
        self.engine.keyspace.expires_ms(self.db, key)
    }

    pub fn exists(&mut self, key: &[u8]) -> bool {
        self.exists_in(self.db, key)
    }

    /// As `exists`, of another database.
    pub fn exists_in(&mut self, db: usize, key: &[u8]) -> bool {
        self.engine.keyspace.peek(db, key).is_some()
    }

    /// Counts an access to a key, whatever the client said; false if there is none.
    pub fn touch(&mut self, key: &[u8]) -> bool {
        let keyspace = &mut self.engine.keyspace;
        let before = std::mem::replace(&mut keyspace.touching, true);
        let was_there = keyspace.read(self.db, key).is_some();
        keyspace.touching = before;
        was_there
    }

    /// A key of the database in use, picked at random.
    pub fn random_key(&mut self) -> Option<&KeyValue> {
        self.engine.keyspace.random(self.db)
    }

    /// A key's value to be changed, if there is one.
    pub fn edit<T: Typed>(&mut self, key: &[u8]) -> Result<Option<Edit<'_, T>>> {
        self.engine.keyspace.edit(self.db, key)
    }

    /// A key's value to be changed; made empty if there is none.
    pub fn edit_or_create<T: Typed>(&mut self, key: &[u8]) -> Result<Edit<'_, T>> {
        self.engine.keyspace.edit_or_create(self.db, key)
    }

    /// The value of a key that is known to be there and to be a `T`.
    pub fn edit_existing<T: Typed>(&mut self, key: &[u8]) -> Edit<'_, T> {
        let edit = self.engine.keyspace.edit(self.db, key);
        edit.ok().flatten().expect("the key was read in this command")
    }

    /// Replaces whatever a key held, its TTL included.
    pub fn put<T: Typed>(&mut self, key: &[u8], value: T, event: &'static str) {
        self.put_with(key, value, Lifetime::Endless, Change::of::<T>(event));
    }

    /// As `put`, of a change to so many elements.
    pub fn put_many<T: Typed>(&mut self, key: &[u8], value: T, event: &'static str, count: usize) {
        self.put_with(key, value, Lifetime::Endless, Change { count, ..Change::of::<T>(event) });
    }

    /// As `put`, of a key that has a TTL from then on, or keeps its own.
    pub fn put_for<T: Typed>(
        &mut self,
        key: &[u8],
        value: T,
        lifetime: Lifetime,
        event: &'static str,
    ) {
        self.put_with(key, value, lifetime, Change::of::<T>(event));
    }

    fn put_with<T: Typed>(&mut self, key: &[u8], mut value: T, lifetime: Lifetime, change: Change) {
        value.settle(&self.engine.keyspace.limits);
        self.engine.keyspace.put(self.db, key, value.wrap(), lifetime, change);
    }

    /// Removes a key; tells whether it was there.
    pub fn remove(&mut self, key: &[u8], event: &'static str) -> bool {
        self.engine.keyspace.remove(self.db, key, event)
    }

    /// Gives a value that is there another name, with its TTL; what bore that name goes.
    pub fn rename(
        &mut self,
        key: &[u8],
        place: (usize, &[u8]),
        left: &'static str,
        came: &'static str,
    ) {
        self.engine.keyspace.rename((self.db, key), place, left, came);
    }

    /// Puts the copy of a value in the place of whatever is there.
    pub fn put_copy(&mut self, place: (usize, &[u8]), value: Value, expires_ms: Option<i64>) {
        let lifetime = expires_ms.map_or(Lifetime::Endless, Lifetime::Until);
        self.engine.keyspace.put_anew(place, value, lifetime, Change::of_key("copy_to"));
    }

    /// Puts a value that came from elsewhere, where it was used so, in the place of whatever is
    /// there.
    pub fn restore(
        &mut self,
        key: &[u8],
        value: Value,
        lifetime: Lifetime,
        used: Used,
        event: &'static str,
    ) {
        self.engine.keyspace.restore((self.db, key), value, lifetime, used, event);
    }

    /// Puts a snapshot in the place of all data.
    pub fn bring_back(&mut self, snapshot: &Snapshot) {
        self.engine.keyspace.bring_back(snapshot);
    }

    /// Removes every key of some databases; returns how many there were.
    pub fn flush(&mut self, dbs: Range<usize>) -> usize {
        self.engine.keyspace.flush(dbs)
    }

    /// Exchanges two databases.
    pub fn swap(&mut self, left: usize, right: usize) {
        self.engine.keyspace.swap(left, right);
    }

    /// Sets the wall clock's last millisecond at which a key still exists, or lets it stay for
    /// ever. False if there is no key.
    pub fn set_expiry(&mut self, key: &[u8], at_ms: Option<i64>, event: &'static str) -> bool {
        self.engine.keyspace.set_expiry(self.db, key, at_ms, event)
    }

    /// A keyspace event beside the one that `commit` gives.
    pub fn notify(&mut self, class: EventClasses, event: &'static str, key: &[u8]) {
        self.engine.keyspace.aftermath.event(class, event, self.db, key);
    }

    /// Has those who wait for a key look again, as if it had changed.
    pub fn wake(&mut self, key: &[u8]) {
        self.engine.keyspace.aftermath.waiters.signal(self.db, key);
    }

    pub fn rng(&mut self) -> &mut Rng {
        &mut self.engine.keyspace.rng
    }

    /// The caller. Gone only if it was disconnected while its script ran on.
    pub fn caller(&mut self) -> Option<&mut Client> {
        self.engine.clients.get_mut(self.client)
    }

    /// Closes a client's connection: the caller's once it has its answer, another's at once.
    pub fn close(&mut self, id: ClientId) {
        if id == self.client {
            self.engine.clients[id].state = State::Closing;
        } else {
            self.engine.disconnect(id, self.engine.keyspace.now);
            self.engine.ask(Effect::Close { client: id });
        }
    }

    /// Ends the watching of keys.
    pub fn unwatch(&mut self) {
        self.engine.unwatch(self.client);
    }

    /// Journals these words in place of the request: a deterministic form of its effect. Called
    /// again, it adds a further command.
    pub fn journal_as(&mut self, words: &[&[u8]]) {
        self.engine.keyspace.aftermath.journal.instead(words);
    }

    /// Whether `journal_as` has a reader, for those to whom the words cost something.
    pub fn has_journal(&self) -> bool {
        self.engine.keyspace.aftermath.journal.is_on()
    }

    /// What somebody makes of all keys and values, as they are.
    pub fn digested<T>(&mut self, digest: impl FnOnce(&mut Keyspace) -> T) -> T {
        digest(&mut self.engine.keyspace)
    }

    /// Whether keys go when their time has come, although nobody looks for them.
    pub fn expire_unasked(&mut self, is_on: bool) {
        self.engine.keyspace.expires_unasked = is_on;
    }

    /// From how many bytes on a list's element counts as a node of its own; None: none for that.
    pub fn pack_elements_below(&mut self, bytes: Option<usize>) {
        self.engine.config.limits.list_packed_bytes_max = bytes;
        self.engine.keyspace.limits.list_packed_bytes_max = bytes;
    }

    /// Whether that is done which Redis does ten times a second: here, to expire keys unasked.
    pub fn run_cron(&mut self, is_on: bool) {
        self.engine.keyspace.runs_cron = is_on;
    }

    /// Whether the reply should come in an order that follows from the data alone: for scripts,
    /// whose effects it may decide.
    pub fn wants_fixed_order(&self) -> bool {
        matches!(self.origin, Origin::Script)
    }

    /// Whether this command may wait, or take the connection for itself: not in a transaction, not
    /// in a script.
    pub fn may_block(&self) -> bool {
        matches!(self.origin, Origin::Client | Origin::Waiter(..))
    }

    /// The running command as a request that outlives its bytes.
    pub(super) fn request(&self, args: Args) -> Request {
        let found = self.engine.table.at(self.index);
        Request { found, words: OwnedArgs::new(args.all()) }
    }

    /// Ends a blocking command: tries it, and parks the client if there is nothing to answer yet;
    /// where it may not wait, answers that there is nothing.
    pub fn block<A: Attempt + 'static>(
        &mut self,
        wait: Wait,
        attempt: A,
        args: Args,
        reply: &mut Reply,
    ) -> Result {
        if attempt.attempt(self, args, Woken::Ready, reply)? {
            return Ok(());
        }
        if !self.may_block() {
            wait.empty.write(reply, self.engine.reached(wait.empty));
            return Ok(());
        }
        let park = Park {
            request: self.request(args),
            attempt: Box::new(attempt),
            on: wait.on,
            deadline_us: wait.timeout.deadline(self.engine.keyspace.now.mono_us),
            micros: 0,
            empty: match wait.empty {
                // Redis's BLMOVE too answers a null array when its time is up.
                Empty::Null => Empty::NullArray,
                empty => empty,
            },
        };
        self.parked = Some(Parked::Keys(Box::new(park)));
        Ok(())
    }

    /// Whose rights the running command has.
    pub fn user(&self) -> Rc<User> {
        match (self.origin, self.engine.scripts.running()) {
            (Origin::Script, Some(script)) => script.user.clone(),
            _ => self.engine.clients[self.client].user.clone(),
        }
    }

    /// Whether the user may run this command, and read any key there is with it.
    pub fn may_read_all(&self, args: Args) -> bool {
        let found = self.engine.table.at(self.index);
        let user = self.user();
        user.is_unrestricted() || user.may_reach_all(found, args.all(), right::READ)
    }

    /// ACL SETUSER.
    ///
    /// # Errors
    /// As `Engine::set_user`.
    pub fn set_user(&mut self, name: &[u8], rules: &[&[u8]]) -> std::result::Result<(), WrongRule> {
        self.engine.set_user(name, rules, Some(self.client))
    }

    /// ACL DELUSER: whether there was one.
    pub fn delete_user(&mut self, name: &[u8]) -> bool {
        self.engine.delete_user(name, Some(self.client))
    }

    /// ACL LOAD.
    ///
    /// # Errors
    /// As `Engine::load_users`.
    pub fn load_users(&mut self, file: &str, text: &[u8]) -> std::result::Result<(), Vec<u8>> {
        self.engine.load_users(file, text, Some(self.client))
    }

    /// ACL LOG RESET.
    pub fn clear_acl_log(&mut self) {
        self.engine.acl.log.clear();
    }

    /// Random bytes of the system.
    pub fn entropy(&mut self) -> u64 {
        self.engine.facts.entropy()
    }
}

/// What a blocking command waits for.
pub struct Wait {
    pub on: On,
    pub timeout: Timeout,
    /// The answer in a transaction or a script.
    pub empty: Empty,
}

/// How it is said that there was nothing to wait for, or no time left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Empty {
    Null,
    NullArray,
    /// WAIT: how many replicas have acknowledged the stream up to here.
    Replicas {
        offset: u64,
    },
    /// WAITAOF: whether the append-only file is synced up to here, and how many replicas have
    /// synced what the stream has up to an offset.
    Synced {
        until: u64,
        offset: u64,
    },
}

/// How far what WAIT and WAITAOF ask for has come; zeroes where neither asks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reached {
    pub is_synced: bool,
    pub replicas: usize,
}

impl Empty {
    /// Answers it.
    pub fn write(self, reply: &mut Reply, reached: Reached) {
        match self {
            Empty::Null => reply.null(),
            Empty::NullArray => reply.null_array(),
            Empty::Replicas { .. } => reply.count(reached.replicas),
            Empty::Synced { .. } => {
                reply.array(2);
                reply.flag(reached.is_synced);
                reply.count(reached.replicas);
            }
        }
    }
}

/// A span to wait; 0 waits for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeout(u64);

impl Timeout {
    /// Seconds with a fraction, as the BLPOP family takes them; `now_ms` is the wall clock.
    pub fn seconds(word: &[u8], now_ms: i64) -> Result<Self> {
        // Redis reads a long double, which may be too large or too small for a double.
        let seconds = number::parse_f64(word)
            .or_else(|| Extended::parse(word).map(Extended::to_f64))
            .ok_or(Error::TimeoutNotFloat)?;
        // It counts in whole milliseconds, rounded up: one or less below zero is none at all, since
        // a thousand times its 0.001 is not quite one.
        let is_none = (-0.001..0.0).contains(&seconds);
        let millis = if is_none { 0.0 } else { (seconds * 1000.0).ceil() };
        if millis >= i64::MAX as f64 {
            return Err(Error::TimeoutOutOfRange);
        }
        Self::until(millis as i64, now_ms)
    }

    /// Whole milliseconds, as XREAD takes them.
    pub fn millis(word: &[u8], now_ms: i64) -> Result<Self> {
        Self::until(number::parse_i64(word).ok_or(Error::TimeoutNotInteger)?, now_ms)
    }

    /// The end must be a moment that Redis's clock can show.
    fn until(millis: i64, now_ms: i64) -> Result<Self> {
        let span_ms = u64::try_from(millis).map_err(|_| Error::TimeoutNegative)?;
        now_ms.checked_add(millis).ok_or(Error::TimeoutOutOfRange)?;
        Ok(Self(span_ms.saturating_mul(1000)))
    }

    /// In microseconds; 0 waits for ever.
    pub fn micros(self) -> u64 {
        self.0
    }

    fn deadline(self, now_us: u64) -> Option<u64> {
        (self.0 > 0).then(|| now_us.saturating_add(self.0))
    }
}
