//! Parked clients: how they come to wait, and what ends it.
//!
//! **How a wait begins.** The handler of a blocking command reads its words once, into an
//! `Attempt`: which words are keys, how much to take, behind which id to read. `Ctx::block` makes
//! the attempt. If there is something to answer, that was all, and nothing was allocated. Else, in
//! a transaction or a script, the answer is that there is nothing. Else the client is parked: a
//! `Park` keeps its words with the row they named, the attempt, and the moment at which the wait
//! ends. The client joins the queue of each key (waiters.rs), and the deadline goes into the timer
//! wheel.
//!
//! **How a wait ends.** Whatever changes a key signals it. Once the request, script or transaction
//! has ended, `serve_ready` goes through the keys that were signalled, oldest first, and through
//! the clients that wait for each, in order of arrival. What a client is told is a `Woken`: the key
//! is ready, or it is gone, or it holds another type. Readers heed the first only; those of a
//! consumer group, which goes with its key, heed all three. Who heeds has its attempt made
//! again, from what was read at the beginning. If there is nothing for it after all, it stays in
//! its old place; else it has its answer, leaves its queues, and what it sent meanwhile is run.
//! Serving one makes other keys ready, as BLMOVE does; it goes on until nobody can be served.
//!
//! A wait also ends when its time is up, by CLIENT UNBLOCK, or when the client leaves; who has hung
//! up unnoticed is asked for before it is served. Waits for an effect (effect.rs) and for the end
//! of a pause (pause.rs) are other reasons to be parked, and know nothing of keys.
//!
//! **What it costs.** A push costs the same with one waiter as with thousands. The wait is counted
//! and logged once, when it has ended, with the time of all attempts.

use super::Engine;
use super::alarms::Alarm;
use super::client::{ClientId, Parked, State};
use super::context::{Ctx, Empty, Origin};
use super::dispatch::Called;
use super::fixture::Heard;
use super::table::{Found, Request};
use super::waiters::{On, Woken};
use crate::proto::{Args, Error, Reply, Result};
use std::fmt::Debug;
use std::ops::Range;

/// What a blocking command was told, read once.
pub trait Attempt: Debug {
    /// Where the keys that it waits for stand among the words of the request.
    fn keys(&self) -> Range<usize>;

    /// Answers if there is something to answer; else false, and nothing was written or changed.
    /// `args` is the request as it came.
    ///
    /// # Errors
    /// As the command itself; the wait ends with the error.
    fn attempt(&self, cx: &mut Ctx, args: Args, why: Woken, reply: &mut Reply) -> Result<bool>;
}

/// A wait for keys.
#[derive(Debug)]
pub struct Park {
    pub request: Request,
    pub attempt: Box<dyn Attempt>,
    pub on: On,
    /// Microseconds of the monotonic clock; None waits for ever.
    pub deadline_us: Option<u64>,
    /// What its attempts have taken so far.
    pub micros: u64,
    /// What a time-out answers.
    pub empty: Empty,
}

impl Park {
    /// Makes the attempt again.
    pub(super) fn retry(&self, why: Woken, cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
        cx.goes_on = !self.attempt.attempt(cx, args, why, reply)?;
        Ok(())
    }
}

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
    pub(super) fn park(&mut self, id: ClientId, parked: Parked) {
        self.keyspace.aftermath.hear(Heard::Parked(id));
        if let Parked::Keys(park) = &parked {
            let (db, words) = (self.clients[id].db, park.request.words.words());
            let keys = &words[park.attempt.keys()];
            self.keyspace.aftermath.waiters.join(id, park.on, db, keys);
            if let Some(deadline_us) = park.deadline_us {
                let timer = self.alarms.set(deadline_us, Alarm::Client(id));
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
            self.keyspace.aftermath.waiters.leave(id);
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
        let reached = self.reached(park.empty);
        self.answer_with(id, |reply| match error {
            Some(error) => reply.error(&error),
            None => park.empty.write(reply, reached),
        });
        self.end_caching(id);
        self.release_pushes(id);
        true
    }

    /// Serves parked clients from the keys that became ready, until nobody can be served: serving
    /// BLMOVE makes another key ready.
    pub(super) fn serve_ready(&mut self) {
        while let Some((db, key)) = self.keyspace.aftermath.waiters.next_ready() {
            if self.fault == Some(Fault::DropsWakes) && self.stats.commands.is_multiple_of(7) {
                continue;
            }
            // Those who begin to wait on the key from here on were not there when it was ready.
            let last = self.keyspace.aftermath.waiters.last(db, &key);
            let mut after = None;
            while let Some((place, id, on)) = self.next_waiter(db, &key, after) {
                let is_last = Some(place) == last;
                let woken = on.woken_by(self.keyspace.peek(db, &key).map(|entry| &entry.value));
                if woken == Woken::Gone && !self.keyspace.aftermath.waiters.heeds_loss(db, &key) {
                    break;
                }
                if !on.heeds(woken) || self.holds_waiter(id) {
                    after = Some(place);
                } else if self.facts.has_hung_up(id) {
                    // Its connection ends as soon as the server reads that.
                    self.unpark(id);
                    self.clients[id].state = State::Closing;
                } else if !self.serve(id, woken) {
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
        let waiters = &self.keyspace.aftermath.waiters;
        match (self.fault, after) {
            (Some(Fault::ServesLastFirst), None) => waiters.at(waiters.last(db, key)?),
            _ => waiters.next(db, key, after),
        }
    }

    /// Has a parked client try again. False if it goes on waiting, at its old place.
    pub(super) fn serve(&mut self, id: ClientId, woken: Woken) -> bool {
        let Some(Parked::Keys(mut park)) = self.clients[id].parked.take() else { return true };
        let started_us = self.stats.lap_us();
        let Request { found, words } = &park.request;
        let origin = Origin::Waiter(&park, woken);
        if let Err(error) = self.recheck_user(id, *found, &words.words(), origin) {
            self.clients[id].parked = Some(Parked::Keys(park));
            return self.unblock(id, Some(error));
        }
        let called = self.call_on_outbox(id, *found, Args::new(&words.words()), origin);
        self.end_unit();
        park.micros += self.stats.lap_us() - started_us;
        let is_served = !matches!(called, Called::Running);
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

    /// Counts and logs a request whose wait has ended; returns its command.
    fn account_for(&mut self, id: ClientId, park: &Park) -> Found {
        let Request { found, words } = &park.request;
        self.account(id, *found, &words.words(), park.micros);
        *found
    }
}
