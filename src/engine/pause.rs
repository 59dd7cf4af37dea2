//! Pauses: requests are held back for a while, those that write or all of them.
//!
//! Each owner has a pause of its own, which nobody else ends; what is held back is the strictest of
//! those that last. Meanwhile keys stay as they are but for what an EXEC or a script does that was
//! under way: none expires or is evicted, and no waiter is served whose request writes. A key whose
//! time has come is absent for readers all the same.

use super::Engine;
use super::alarms::Alarm;
use super::client::{Client, ClientId, Parked};
use super::context::Ctx;
use super::keyspace::Authority;
use super::row::Flags;

/// On whose behalf requests are held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PauseOwner {
    /// CLIENT PAUSE.
    Clients,
    /// Another server is about to take over.
    HandOver,
    /// A replica that is about to lead.
    Failover,
    /// A disk that is too slow for what is written.
    Disk,
}

const OWNERS: usize = PauseOwner::Disk as usize + 1;

/// What is held back, and how long.
#[derive(Clone, Copy, Debug)]
pub struct Pause {
    pub until_us: u64,
    pub only_writes: bool,
}

impl Pause {
    fn and(self, other: Self) -> Self {
        Self {
            until_us: self.until_us.max(other.until_us),
            only_writes: self.only_writes && other.only_writes,
        }
    }

    pub(super) fn holds(self, flags: Flags) -> bool {
        !self.only_writes || flags.may_write()
    }
}

#[derive(Debug, Default)]
pub struct Pauses {
    by_owner: [Option<Pause>; OWNERS],
    /// What they come to.
    pub all: Option<Pause>,
    /// Clients whose requests are held back, in order.
    held: Vec<ClientId>,
}

/// CLIENT PAUSE and UNPAUSE.
impl Ctx<'_> {
    /// Holds all clients' requests back for this many microseconds, or only those that write.
    pub fn pause(&mut self, span_us: u64, only_writes: bool) {
        self.engine.pause(PauseOwner::Clients, span_us, only_writes);
    }

    pub fn unpause(&mut self) {
        self.engine.unpause(PauseOwner::Clients);
    }
}

impl Engine {
    /// Holds requests back for a while. An owner's pause that lasts is only made longer and
    /// stricter, as in Redis.
    pub fn pause(&mut self, owner: PauseOwner, span_us: u64, only_writes: bool) {
        let until_us = self.keyspace.now.mono_us.saturating_add(span_us);
        let pause = Pause { until_us, only_writes };
        let mine = &mut self.pauses.by_owner[owner as usize];
        *mine = Some(mine.map_or(pause, |old| old.and(pause)));
        self.alarms.set(until_us, Alarm::Pause);
        self.settle_pauses();
    }

    /// Ends an owner's pause; those of others last.
    pub fn unpause(&mut self, owner: PauseOwner) {
        self.pauses.by_owner[owner as usize] = None;
        self.settle_pauses();
    }

    /// Ends the pauses whose time is up. If less is held back now, requests go on; some may be held
    /// back again.
    pub(super) fn settle_pauses(&mut self) {
        let now_us = self.keyspace.now.mono_us;
        let pauses = &mut self.pauses;
        for pause in &mut pauses.by_owner {
            *pause = pause.filter(|pause| pause.until_us > now_us);
        }
        let all = pauses.by_owner.iter().flatten().copied().reduce(Pause::and);
        let before = std::mem::replace(&mut pauses.all, all);
        self.settle_authority();
        let goes_on = |before: Pause| all.is_none_or(|all| all.only_writes && !before.only_writes);
        if before.is_some_and(goes_on) {
            self.let_go();
        }
    }

    /// Lets keys go at their time, unless somebody has a say against it: a pause, or a file that is
    /// read or a server that is followed, which tell themselves what went, or one that was handed
    /// over to.
    pub(super) fn settle_authority(&mut self) {
        let state = &mut self.replication;
        let is_led = state.is_following() || state.handed_over.is_some();
        state.checks_writes = is_led || self.config.replica.min_to_write > 0;
        let is_suspended =
            self.pauses.all.is_some() || self.persistence.loading().is_some() || is_led;
        self.keyspace.authority = if is_suspended { Authority::Suspended } else { Authority::Own };
    }

    /// Lets held requests be fed again, and waiters be served.
    fn let_go(&mut self) {
        for id in std::mem::take(&mut self.pauses.held) {
            if self.clients.get(id).is_some_and(Client::is_held) {
                self.unpark(id);
            }
        }
        if self.pauses.all.is_none() {
            self.evict_later();
        }
        let waiters = &mut self.keyspace.aftermath.waiters;
        for db in 0..self.config.databases {
            for key in waiters.keys_of(db) {
                waiters.signal(db, &key);
            }
        }
    }

    /// Parks a client; its request has not been consumed.
    pub(super) fn hold(&mut self, id: ClientId) {
        self.pauses.held.push(id);
        self.park(id, Parked::Pause);
    }

    /// Whether an owner's pause lasts.
    pub fn is_paused(&self, owner: PauseOwner) -> bool {
        self.pauses.by_owner[owner as usize].is_some()
    }

    /// Whether a pause holds a client's request back.
    pub(super) fn is_held(&self, id: ClientId) -> bool {
        self.pauses.all.is_some() && self.clients.get(id).is_some_and(|client| client.is_held())
    }

    /// Whether a pause keeps a waiter from being served.
    pub(super) fn holds_waiter(&self, id: ClientId) -> bool {
        let Some(pause) = self.pauses.all else { return false };
        let Some(Parked::Keys(park)) = &self.clients[id].parked else { return false };
        pause.holds(park.request.found.row.flags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::table::Table;
    use crate::engine::time::Now;
    use crate::facts::FixedFacts;
    use PauseOwner::{Clients, Disk, HandOver};

    const SECOND_US: u64 = 1_000_000;

    /// What is held back, until when and whether only writes, after pauses that begin at once, some
    /// seconds, and CLIENT UNPAUSE.
    fn check(pauses: &[(PauseOwner, u64, bool)], seconds: u64, expect: Option<(u64, bool)>) {
        let facts = Box::new(FixedFacts::default());
        let mut engine = Engine::new(Table::new(&[]), Default::default(), facts, Now::default());
        for &(owner, span_s, only_writes) in pauses {
            engine.pause(owner, span_s * SECOND_US, only_writes);
        }
        engine.tick(Now { mono_us: seconds * SECOND_US, ..Now::default() });
        engine.unpause(Clients);
        let left = engine.pauses.all.map(|all| (all.until_us / SECOND_US, all.only_writes));
        assert_eq!(left, expect, "{pauses:?}, {seconds} s");
        let is_suspended = engine.keyspace.authority == Authority::Suspended;
        assert_eq!(is_suspended, expect.is_some());
    }

    #[test]
    fn each_owner_ends_its_own_pause() {
        check(&[(Clients, 10, false)], 0, None);
        check(&[(HandOver, 10, true)], 0, Some((10, true)));
        check(&[(Clients, 20, false), (HandOver, 10, true)], 0, Some((10, true)));
        check(&[(Disk, 5, false), (HandOver, 10, true)], 0, Some((10, false)));
        check(&[(Disk, 5, false), (HandOver, 10, true)], 5, Some((10, true)));
        check(&[(Disk, 5, false), (HandOver, 10, true)], 10, None);
        check(&[(Disk, 10, true), (Disk, 5, false)], 6, Some((10, false)));
    }

    /// Neither a pause nor the end of reading a file ends what the other wants.
    #[test]
    fn keys_go_when_nobody_has_a_say_against_it() {
        let facts = Box::new(FixedFacts::default());
        let mut engine = Engine::new(Table::new(&[]), Default::default(), facts, Now::default());
        engine.pause(Clients, 10 * SECOND_US, true);
        engine.set_loading(Some(1));
        engine.set_loading(None);
        assert_eq!(engine.keyspace.authority, Authority::Suspended);
        engine.set_loading(Some(1));
        engine.unpause(Clients);
        assert_eq!(engine.keyspace.authority, Authority::Suspended);
        engine.set_loading(None);
        assert_eq!(engine.keyspace.authority, Authority::Own);
    }
}
