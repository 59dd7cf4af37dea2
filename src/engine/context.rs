//! What a handler holds: the engine, and who asks. A handler cannot see through which transport
//! it was called; whether it may wait it learns from `block`.

use super::Engine;
use super::client::{Client, ClientId, Park, Parked};
use super::keyspace::{Edit, Entry};
use super::waiters::On;
use crate::config::EventClasses;
use crate::data::{Typed, Value};
use crate::proto::{Args, Error, OwnedArgs, Reply, Result};
use crate::util::extended::Extended;
use crate::util::number;
use crate::util::rng::Rng;

/// On whose behalf a command runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A request of its own.
    Client,
    /// One of a transaction.
    Exec,
    /// `redis.call`.
    Script,
    /// A parked request that runs again. It keeps the deadline that it had.
    Waiter { deadline_us: Option<u64> },
}

pub struct Ctx<'e> {
    pub engine: &'e mut Engine,
    pub client: ClientId,
    /// The database in use; SELECT changes it.
    pub db: usize,
    pub origin: Origin,
    /// The running command's place in the statistics.
    pub(super) index: usize,
    /// The handler's error is in the statistics: a script's, which may be another command's.
    pub(super) has_counted: bool,
    pub(super) parked: Option<Parked>,
    /// The handler started a script that is suspended.
    pub(super) is_running: bool,
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
    ) -> Result<Vec<Option<&Entry>>> {
        self.engine.keyspace.read_all(self.db, keys, is_wanted)
    }

    /// A key's entry, whatever its type.
    pub fn read_any(&mut self, key: &[u8]) -> Option<&Entry> {
        self.engine.keyspace.read(self.db, key)
    }

    /// As `read_any`, without counting as an access: for looks at a key's type or TTL. A value at
    /// rest is not thawed for it.
    pub fn inspect(&mut self, key: &[u8]) -> Option<&Entry> {
        self.engine.keyspace.inspect(self.db, key)
    }

    /// As `read_any`, without counting as an access, a hit or a miss.
    pub fn peek(&mut self, key: &[u8]) -> Option<&Entry> {
        self.engine.keyspace.peek(self.db, key)
    }

    /// The wall clock's last millisecond at which a key still exists, if it has a TTL.
    pub fn expires_ms(&mut self, key: &[u8]) -> Option<i64> {
        self.engine.keyspace.expires_ms(self.db, key)
    }

    pub fn exists(&mut self, key: &[u8]) -> bool {
        self.peek(key).is_some()
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

    /// Replaces whatever a key held, its TTL included, and makes that known.
    pub fn put<T: Typed>(&mut self, key: &[u8], value: T, event: &'static str) {
        self.put_value(key, value.wrap(), false, event);
    }

    /// As `put`, but the key goes when it would have gone.
    pub fn put_keeping_ttl<T: Typed>(&mut self, key: &[u8], value: T, event: &'static str) {
        self.put_value(key, value.wrap(), true, event);
    }

    fn put_value(&mut self, key: &[u8], mut value: Value, keep_ttl: bool, event: &'static str) {
        let class = value.class();
        value.settle(&self.engine.keyspace.limits);
        self.engine.keyspace.put(self.db, key, value, keep_ttl);
        self.engine.keyspace.changed(self.db, key, class, event);
    }

    /// Removes a key and makes it known by `event`; tells whether it was there.
    pub fn remove(&mut self, key: &[u8], event: &'static str) -> bool {
        let was_there = self.engine.keyspace.remove(self.db, key);
        if was_there {
            self.engine.keyspace.changed(self.db, key, EventClasses::GENERIC, event);
        }
        was_there
    }

    /// Sets or removes a key's TTL, without a word to anybody.
    pub fn set_expiry(&mut self, key: &[u8], at_ms: Option<i64>) -> bool {
        self.engine.keyspace.set_expiry(self.db, key, at_ms)
    }

    /// Makes a change known that no guard has committed.
    pub fn changed(&mut self, key: &[u8], class: EventClasses, event: &'static str) {
        self.engine.keyspace.changed(self.db, key, class, event);
    }

    /// A keyspace event beside the one that `commit` gives.
    pub fn notify(&mut self, class: EventClasses, event: &'static str, key: &[u8]) {
        self.engine.keyspace.ledger.event(class, event, self.db, key);
    }

    /// The wall clock in milliseconds; it stands still during a command, a script and an EXEC.
    pub fn now_ms(&self) -> i64 {
        self.engine.keyspace.now.wall_ms
    }

    pub fn rng(&mut self) -> &mut Rng {
        &mut self.engine.keyspace.rng
    }

    /// The caller. Gone only if it was disconnected while its script ran on.
    pub fn caller(&mut self) -> Option<&mut Client> {
        self.engine.clients.get_mut(self.client)
    }

    /// Journals these words in place of the request: a deterministic form of its effect. Called
    /// again, it adds a further command.
    pub fn journal_as(&mut self, words: &[&[u8]]) {
        self.engine.keyspace.ledger.journal.instead(words);
    }

    /// Whether `journal_as` has a reader, for those to whom the words cost something.
    pub fn has_journal(&self) -> bool {
        self.engine.keyspace.ledger.journal.is_on()
    }

    /// Whether this command may wait: not in a transaction, not in a script.
    pub fn may_block(&self) -> bool {
        matches!(self.origin, Origin::Client | Origin::Waiter { .. })
    }

    /// Ends a blocking command that found nothing: parks the client, or answers at once where it
    /// may not wait.
    pub fn block(&mut self, wait: Wait, args: Args, reply: &mut Reply) {
        if !self.may_block() {
            return wait.empty.write(reply);
        }
        let deadline_us = match self.origin {
            Origin::Waiter { deadline_us } => deadline_us,
            _ => wait.timeout.deadline(self.engine.keyspace.now.mono_us),
        };
        let request = OwnedArgs::new(args.all());
        let (again, asked) = match wait.again {
            Some(again) => (again, Some(request)),
            None => (request, None),
        };
        let keys = wait.keys.iter().map(|&key| key.into()).collect();
        let empty = match wait.empty {
            // Redis's BLMOVE too answers a null array when its time is up.
            Empty::Null => Empty::NullArray,
            empty => empty,
        };
        let park = Park { keys, on: wait.on, deadline_us, again, asked, micros: 0, empty };
        self.parked = Some(Parked::Keys(Box::new(park)));
    }

    /// Whether the user may run a command on these keys. ACL users come later: one user, who may.
    pub fn is_allowed(&self) -> bool {
        true
    }
}

/// What a blocking command waits for.
pub struct Wait<'a> {
    pub keys: &'a [&'a [u8]],
    pub on: On,
    pub timeout: Timeout,
    /// The answer in a transaction or a script.
    pub empty: Empty,
    /// The request to run again where it differs from the one received.
    pub again: Option<OwnedArgs>,
}

/// How it is said that there was nothing to wait for, or no time left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Empty {
    Null,
    NullArray,
    /// WAIT: no replica has acknowledged.
    Zero,
    /// WAITAOF: neither the log here nor a replica has.
    ZeroPair,
}

impl Empty {
    pub fn write(self, reply: &mut Reply) {
        match self {
            Empty::Null => reply.null(),
            Empty::NullArray => reply.null_array(),
            Empty::Zero => reply.int(0),
            Empty::ZeroPair => {
                reply.array(2);
                reply.int(0);
                reply.int(0);
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

    pub fn micros(self) -> u64 {
        self.0
    }

    fn deadline(self, now_us: u64) -> Option<u64> {
        (self.0 > 0).then(|| now_us.saturating_add(self.0))
    }
}
