//! What a change to a key sets off: broken WATCHes, parked clients to serve, lines of the journal,
//! keyspace events, copies that clients keep and are to forget. It is written while a command runs,
//! and read once the command has ended.

use super::changed_keys::ChangedKeys;
use super::client::ClientId;
use super::fixture::Heard;
use super::journal::{DEL, Journal};
use super::keyspace::{Change, Presence, UNANNOUNCED};
use super::tracking::{Author, Invalidation, Tracking};
use super::waiters::Waiters;
use crate::config::EventClasses;
use crate::util::rng::Rng;
use std::collections::HashMap;

/// A keyspace event to be published when the command has ended.
#[derive(Debug)]
pub struct Event {
    pub name: &'static str,
    pub db: usize,
    pub key: Box<[u8]>,
}

/// What is to be told when the command has ended.
#[derive(Debug)]
pub enum Notice {
    Event(Event),
    Invalidation(Invalidation),
}

/// Who watches a key.
#[derive(Debug)]
struct Watcher {
    client: ClientId,
    /// The key was over when the watching began, or has become so by an exchange of databases. That
    /// it is removed is no change then.
    was_over: bool,
}

pub struct Aftermath {
    /// Changed keys and elements since start; a command that did not move it changed nothing.
    pub changes: u64,
    pub waiters: Waiters,
    pub journal: Journal,
    watched: HashMap<(usize, Box<[u8]>), Vec<Watcher>>,
    /// Clients whose transaction fails from now on.
    pub broken: Vec<ClientId>,
    /// The classes that `notify-keyspace-events` asks for.
    pub classes: EventClasses,
    /// In the order in which it came about.
    pub notices: Vec<Notice>,
    /// None while no client tracks.
    pub tracking: Option<Box<Tracking>>,
    /// Whose command is running.
    pub author: Author,
    /// What the fixture is still to be told, if it wants to hear of changes.
    heard: Vec<Heard>,
    /// For a page; None while nobody looks at one.
    changed_keys: Option<Box<ChangedKeys>>,
    hears: bool,
    /// Whether a change concerns watched keys, clients that track or the fixture: one look for all.
    is_heeded: bool,
}

impl Default for Aftermath {
    fn default() -> Self {
        Self {
            changes: 0,
            waiters: Waiters::default(),
            journal: Journal::default(),
            watched: HashMap::new(),
            broken: Vec::new(),
            classes: EventClasses::NONE,
            notices: Vec::new(),
            tracking: None,
            author: Author::NOBODY,
            heard: Vec::new(),
            changed_keys: None,
            hears: false,
            is_heeded: false,
        }
    }
}

impl Aftermath {
    /// Above 0 if anything is to be seen to once the command has ended.
    #[inline]
    pub fn news(&self) -> usize {
        self.broken.len()
            | self.notices.len()
            | self.waiters.ready_len()
            | self.journal.effects_in_unit()
            | self.heard.len()
    }

    /// Whether anybody may want to hear which key has changed, and how.
    #[inline]
    pub fn has_listeners(&self) -> bool {
        self.is_heeded || !self.waiters.is_empty() || !self.classes.is_none()
    }

    /// A key was changed: for WATCH, for clients that track and for parked ones, and as an event.
    #[inline]
    pub fn changed(&mut self, db: usize, key: &[u8], change: Change) {
        self.changes += change.count as u64;
        if self.is_heeded {
            self.break_watches(db, key);
            self.invalidate(key, self.author);
            self.hear_change(db, key);
        }
        self.waiters.signal(db, key);
        if change.event != UNANNOUNCED {
            self.event(change.class, change.event, db, key);
        }
    }

    fn break_watches(&mut self, db: usize, key: &[u8]) {
        if self.watched.is_empty() {
            return;
        }
        if let Some(watchers) = self.watched.get(&(db, key.into())) {
            self.broken.extend(watchers.iter().map(|watcher| watcher.client));
        }
    }

    /// Has those who have read a key forget it.
    fn invalidate(&mut self, key: &[u8], author: Author) {
        if let Some(tracking) = &mut self.tracking
            && let Some(invalidation) = tracking.change(key, author)
        {
            self.notices.push(Notice::Invalidation(invalidation));
        }
    }

    /// All keys of a database have gone, or of all of them: those who track forget all they know.
    pub fn flushed(&mut self) {
        self.hear(Heard::Flushed);
        self.note_all_changed();
        if let Some(tracking) = &mut self.tracking {
            let invalidation = tracking.flush(self.author);
            self.notices.push(Notice::Invalidation(invalidation));
        }
    }

    /// Any key may have changed, for a page that shows some.
    pub fn note_all_changed(&mut self) {
        if let Some(changed) = &mut self.changed_keys {
            changed.note_all();
        }
    }

    /// A key is found to be over: it is absent from now on, though it is removed later.
    pub fn ended(&mut self, key: &[u8]) {
        self.invalidate(key, Author::NOBODY);
    }

    /// The first client begins to track, or another one.
    pub fn begin_tracking(&mut self, rng: &mut Rng) -> &mut Tracking {
        self.is_heeded = true;
        self.tracking.get_or_insert_with(|| Tracking::new(rng).into())
    }

    /// Nobody tracks any more.
    pub fn end_tracking(&mut self) {
        self.tracking = None;
        self.find_who_heeds();
    }

    fn find_who_heeds(&mut self) {
        self.is_heeded = !self.watched.is_empty()
            || self.tracking.is_some()
            || self.hears
            || self.changed_keys.is_some();
    }

    /// Whether the fixture wants to be told what happens.
    pub fn listen(&mut self, hears: bool) {
        self.hears = hears;
        if !hears {
            self.heard = Vec::new();
        }
        self.find_who_heeds();
    }

    /// Whether what follows is noted for the fixture; returns whether it was until now.
    pub fn note_for_fixture(&mut self, hears: bool) -> bool {
        let before = std::mem::replace(&mut self.hears, hears);
        self.find_who_heeds();
        before
    }

    /// Notes something for the fixture, if it wants to hear of it.
    pub fn hear(&mut self, heard: Heard) {
        if self.hears && self.heard.last() != Some(&heard) {
            self.heard.push(heard);
        }
    }

    fn hear_change(&mut self, db: usize, key: &[u8]) {
        if self.hears {
            self.hear(Heard::Changed { db, key: key.into() });
        }
        if let Some(changed) = &mut self.changed_keys {
            changed.note(db, key);
        }
    }

    /// Begins to note which keys change, or ends it.
    pub fn watch_keys(&mut self, is_watched: bool) {
        self.changed_keys = is_watched.then(Box::default);
        self.find_who_heeds();
    }

    /// The keys that have changed since this was last asked.
    pub fn take_changed_keys(&mut self) -> ChangedKeys {
        self.changed_keys.as_mut().map_or_else(ChangedKeys::default, |it| std::mem::take(it))
    }

    pub fn has_heard(&self) -> bool {
        !self.heard.is_empty()
    }

    pub fn take_heard(&mut self) -> Vec<Heard> {
        std::mem::take(&mut self.heard)
    }

    /// A key whose time had come was removed. Who began to watch it after that sees no change.
    pub fn expired(&mut self, db: usize, key: &[u8]) {
        self.exchanged(db, key, Presence::Over, Presence::Absent);
        self.hear_change(db, key);
        self.waiters.signal(db, key);
        self.journal.append(db, &[DEL, key]);
    }

    /// What a watched key was is no longer there, with all of its database or because its time had
    /// come; something else may be there instead.
    pub fn exchanged(&mut self, db: usize, key: &[u8], before: Presence, after: Presence) {
        if self.watched.is_empty() || (before, after) == (Presence::Absent, Presence::Absent) {
            return;
        }
        let Some(watchers) = self.watched.get_mut(&(db, key.into())) else { return };
        for watcher in watchers {
            let is_change = match after {
                Presence::There => true,
                Presence::Absent => !std::mem::take(&mut watcher.was_over),
                Presence::Over if before == Presence::Absent => {
                    watcher.was_over = true;
                    false
                }
                Presence::Over => !watcher.was_over,
            };
            if is_change {
                self.broken.push(watcher.client);
            }
        }
    }

    /// Notes an event if anybody asked for its class.
    #[inline]
    pub fn event(&mut self, class: EventClasses, name: &'static str, db: usize, key: &[u8]) {
        if self.classes.contains(class) {
            self.note(name, db, key);
        }
    }

    #[cold]
    fn note(&mut self, name: &'static str, db: usize, key: &[u8]) {
        self.notices.push(Notice::Event(Event { name, db, key: key.into() }));
    }

    /// `was_over` says that the key's time has come, although it has not been removed yet.
    pub fn watch(&mut self, db: usize, key: &[u8], client: ClientId, was_over: bool) {
        self.is_heeded = true;
        let watchers = self.watched.entry((db, key.into())).or_default();
        if !watchers.iter().any(|watcher| watcher.client == client) {
            watchers.push(Watcher { client, was_over });
        }
    }

    /// Whether a key that a client watches was over when the watching began.
    pub fn was_over(&self, db: usize, key: &[u8], client: ClientId) -> bool {
        let watchers = self.watched.get(&(db, key.into()));
        let mine = watchers.and_then(|all| all.iter().find(|watcher| watcher.client == client));
        mine.is_some_and(|watcher| watcher.was_over)
    }

    pub fn unwatch(&mut self, db: usize, key: &[u8], client: ClientId) {
        let place = (db, Box::from(key));
        if let Some(watchers) = self.watched.get_mut(&place) {
            watchers.retain(|watcher| watcher.client != client);
            if watchers.is_empty() {
                self.watched.remove(&place);
                // Room for the most keys that were ever watched is not kept for good.
                if self.watched.is_empty() {
                    self.watched = HashMap::new();
                    self.find_who_heeds();
                }
            }
        }
    }

    pub fn watched_keys(&self, db: usize) -> Vec<Box<[u8]>> {
        let here = self.watched.keys().filter(|(watched_db, _)| *watched_db == db);
        here.map(|(_, key)| key.clone()).collect()
    }

    /// Keys that are watched, in all databases.
    pub fn watched_count(&self) -> usize {
        self.watched.len()
    }
}

#[cfg(test)]
mod tests {
    use super::Presence::{Absent, Over, There};
    use super::*;

    /// What an exchange does to a watcher, who found the key over or not: whether its transaction
    /// is broken, and whether the key counts as over for it from then on.
    fn check(was_over: bool, before: Presence, after: Presence, expect: (bool, bool)) {
        let mut aftermath = Aftermath::default();
        aftermath.watch(0, b"key", ClientId(1), was_over);
        aftermath.exchanged(0, b"key", before, after);
        let found = (!aftermath.broken.is_empty(), aftermath.was_over(0, b"key", ClientId(1)));
        assert_eq!(found, expect, "{was_over} {before:?} {after:?}");
    }

    #[test]
    fn a_key_that_was_over_when_it_was_watched_may_go() {
        check(false, Absent, Absent, (false, false));
        check(false, Absent, Over, (false, true));
        check(false, Absent, There, (true, false));
        check(false, There, Absent, (true, false));
        check(false, There, There, (true, false));
        check(false, Over, Absent, (true, false));
        check(true, Over, Absent, (false, false));
        check(true, Over, Over, (false, true));
        check(true, Over, There, (true, true));
    }
}
