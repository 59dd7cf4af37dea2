//! What a change to a key sets off: broken WATCHes, parked clients to serve, lines of the journal,
//! keyspace events. It is written while a command runs, and read once the command has ended.

use super::client::ClientId;
use super::journal::{DEL, Journal};
use super::waiters::Waiters;
use crate::config::EventClasses;
use std::collections::HashMap;

/// A keyspace event to be published when the command has ended.
#[derive(Debug)]
pub struct Event {
    pub name: &'static str,
    pub db: usize,
    pub key: Box<[u8]>,
}

pub struct Ledger {
    /// Changed keys and elements since start; a command that did not move it changed nothing.
    pub changes: u64,
    pub waiters: Waiters,
    pub journal: Journal,
    watched: HashMap<(usize, Box<[u8]>), Vec<ClientId>>,
    /// Clients whose transaction fails from now on.
    pub broken: Vec<ClientId>,
    /// The classes that `notify-keyspace-events` asks for.
    pub classes: EventClasses,
    pub events: Vec<Event>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            changes: 0,
            waiters: Waiters::default(),
            journal: Journal::default(),
            watched: HashMap::new(),
            broken: Vec::new(),
            classes: EventClasses::NONE,
            events: Vec::new(),
        }
    }
}

impl Ledger {
    /// Whether anything is to be seen to once the command has ended.
    #[inline]
    pub fn has_news(&self) -> bool {
        // One branch for all: each request asks.
        self.broken.len()
            | self.events.len()
            | self.waiters.ready_len()
            | self.journal.effects_in_unit()
            != 0
    }

    /// Whether anybody may want to hear which key has changed, and how.
    #[inline]
    pub fn has_listeners(&self) -> bool {
        !self.watched.is_empty() || !self.waiters.is_empty() || !self.classes.is_none()
    }

    /// A key was changed by a command.
    pub fn changed(&mut self, db: usize, key: &[u8]) {
        self.changes += 1;
        self.touched(db, key);
    }

    /// A key is not what it was: for WATCH and for parked clients.
    #[inline]
    pub fn touched(&mut self, db: usize, key: &[u8]) {
        if !self.watched.is_empty() {
            self.break_watches(db, key);
        }
        self.waiters.signal(db, key);
    }

    fn break_watches(&mut self, db: usize, key: &[u8]) {
        if let Some(clients) = self.watched.get(&(db, key.into())) {
            self.broken.extend_from_slice(clients);
        }
    }

    /// A key's time had come.
    pub fn expired(&mut self, db: usize, key: &[u8]) {
        self.touched(db, key);
        self.journal.append(db, &[DEL, key]);
        self.event(EventClasses::EXPIRED, "expired", db, key);
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
        self.events.push(Event { name, db, key: key.into() });
    }

    pub fn watch(&mut self, db: usize, key: &[u8], client: ClientId) {
        let clients = self.watched.entry((db, key.into())).or_default();
        if !clients.contains(&client) {
            clients.push(client);
        }
    }

    pub fn unwatch(&mut self, db: usize, key: &[u8], client: ClientId) {
        let place = (db, Box::from(key));
        if let Some(clients) = self.watched.get_mut(&place) {
            clients.retain(|&other| other != client);
            if clients.is_empty() {
                self.watched.remove(&place);
                // Room for the most keys that were ever watched is not kept for good.
                if self.watched.is_empty() {
                    self.watched = HashMap::new();
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
