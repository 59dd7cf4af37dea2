//! Parked clients: how they come to wait, and what ends it: a key, a deadline, an effect, the end
//! of a pause, CLIENT UNBLOCK, or their departure.

use super::client::{ClientId, Park, Parked, State};

use super::context::{Ctx, Origin};
use super::dispatch::Called;
use super::table::Found;
use super::time::mono_tick;
use super::waiters::On;
use super::{Alarm, Engine};
use crate::data::Value;
use crate::proto::{Args, Error};

/// A bug on purpose. tests/sim.rs switches one on to show that it would see such a bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Now and then nobody is woken for a key that became ready.
    DropsWakes,
    /// Whoever came last is served first.
    ServesLastFirst,
    /// A client that was served keeps its deadline, which then ends a later wait.
    KeepsDeadlines,
}

impl Ctx<'_> {
    /// CLIENT UNBLOCK: ends the wait of a client that is blocked on keys, as if timed out or with
    /// an error. False if it was not.
    pub fn unblock(&mut self, id: ClientId, error: Option<Error>) -> bool {
        self.engine.unblock(id, error)
    }
}

impl Engine {
    pub(super) fn park(&mut self, id: ClientId, mut parked: Parked) {
        if let Parked::Keys(park) = &mut parked {
            let db = self.clients[id].db;
            self.keyspace.ledger.waiters.join(id, park.on, db, &std::mem::take(&mut park.keys));
            if let Some(deadline_us) = park.deadline_us {
                let timer = self.alarms.insert(mono_tick(deadline_us), Alarm::Client(id));
                self.clients[id].timer = Some(timer);
            }
        }
        let client = &mut self.clients[id];
        client.parked = Some(parked);
        client.state = State::Parked;
    }

    /// Ends a client's wait without an answer; what it was waiting for is returned.
    pub(super) fn unpark(&mut self, id: ClientId) -> Option<Parked> {
        let client = self.clients.get_mut(id)?;
        let parked = client.parked.take()?;
        client.state = State::Ready;
        // Who has waited was not idle, however long it took.
        client.active_us = self.keyspace.now.mono_us;
        if let Some(timer) = client.timer.take()
            && self.fault != Some(Fault::KeepsDeadlines)
        {
            self.alarms.cancel(timer);
        }
        if let Parked::Keys(_) = &parked {
            self.keyspace.ledger.waiters.leave(id);
        }
        self.clients.mark_runnable(id);
        Some(parked)
    }

    /// A blocked client's deadline has passed.
    pub(super) fn time_out(&mut self, id: ClientId) {
        if let Some(client) = self.clients.get_mut(id) {
            client.timer = None;
        }
        self.unblock(id, None);
    }

    /// Ends the wait of a client that is blocked on keys, as if timed out or with an error. False
    /// if it was not.
    pub fn unblock(&mut self, id: ClientId, error: Option<Error>) -> bool {
        if !self.clients.get(id).is_some_and(|client| client.is_blocked()) {
            return false;
        }
        let Some(Parked::Keys(park)) = self.unpark(id) else { return false };
        let found = self.account_for(id, &park);
        if let Some(error) = &error {
            self.stats.calls[found.index].failed += 1;
            self.stats.count_error(error);
        }
        self.answer_with(id, |reply| match error {
            Some(error) => reply.error(&error),
            None => park.empty.write(reply),
        });
        self.release_pushes(id);
        true
    }

    /// Serves parked clients from the keys that became ready, until nobody can be served: serving
    /// BLMOVE makes another key ready.
    pub(super) fn serve_ready(&mut self) {
        while let Some((db, key)) = self.keyspace.ledger.waiters.next_ready() {
            if self.fault == Some(Fault::DropsWakes) && self.stats.commands.is_multiple_of(7) {
                continue;
            }
            // Those who begin to wait on the key from here on were not there when it was ready.
            let last = self.keyspace.ledger.waiters.last(db, &key);
            let mut after = None;
            while let Some((place, id, on)) = self.next_waiter(db, &key, after) {
                let is_last = Some(place) == last;
                let Some(entry) = self.keyspace.peek(db, &key) else { break };
                if !serves(&entry.value, on) || self.holds_waiter(id) {
                    after = Some(place);
                } else if self.facts.has_hung_up(id) {
                    // Its connection ends as soon as the server reads that.
                    self.unpark(id);
                    self.clients[id].state = State::Closing;
                } else if !self.serve(id) {
                    after = Some(place);
                }
                if is_last {
                    break;
                }
            }
        }
    }

    fn next_waiter(
        &self,
        db: usize,
        key: &[u8],
        after: Option<u32>,
    ) -> Option<(u32, ClientId, On)> {
        let waiters = &self.keyspace.ledger.waiters;
        match (self.fault, after) {
            (Some(Fault::ServesLastFirst), None) => waiters.at(waiters.last(db, key)?),
            _ => waiters.next(db, key, after),
        }
    }

    /// Runs a parked request again. False if it goes on waiting, at its old place.
    fn serve(&mut self, id: ClientId) -> bool {
        let Some(Parked::Keys(mut park)) = self.clients[id].parked.take() else { return true };
        let origin = Origin::Waiter { deadline_us: park.deadline_us };
        let words = park.again.words();
        let args = Args::new(&words);
        let Ok(found) = self.table.resolve(&args) else { return true };
        let started_us = self.lap_us;
        let called = self.call_on_outbox(id, found, args, origin);
        drop(words);
        self.keyspace.ledger.journal.end_unit();
        park.micros += self.lap_us - started_us;
        let is_served = !matches!(called, Called::Parked(_));
        if is_served {
            self.account_for(id, &park);
        }
        self.clients[id].parked = Some(Parked::Keys(park));
        if !is_served {
            return false;
        }
        self.unpark(id);
        self.release_pushes(id);
        true
    }

    /// Counts and logs a request whose wait has ended, once for all its runs; returns its command.
    fn account_for(&mut self, id: ClientId, park: &Park) -> Found {
        let words = park.asked.as_ref().unwrap_or(&park.again).words();
        let found = self.table.resolve(&Args::new(&words)).expect("it was found when it came");
        self.account(id, found, &words, park.micros);
        found
    }
}

/// Whether a parked command can take something from this value.
fn serves(value: &Value, on: On) -> bool {
    match (value, on) {
        (Value::List(_), On::List)
        | (Value::Zset(_), On::Zset)
        | (Value::Stream(_), On::Stream) => true,
        (
            Value::Str(_)
            | Value::List(_)
            | Value::Hash(_)
            | Value::Set(_)
            | Value::Zset(_)
            | Value::Stream(_)
            | Value::Cold(_),
            _,
        ) => false,
    }
}
