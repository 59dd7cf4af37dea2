//! What is known while somebody looks: the queues, and what has happened in them of late.
//!
//! Queues are found by one walk over all keys, in slices, and from then on by the keys that
//! change.

use super::census::CountedKeys;
use super::courses::Courses;
use super::found::FoundKeys;
use super::key_walk::KeyWalks;
use super::rates::Rates;
use super::recording::Recording;
use super::rings::{Minute, Ring};
use super::search::Searches;
use crate::engine::Engine;
use crate::engine::keyspace::KeyValue;
use crate::queues::{Glance, Known, Learned, Queue};
use std::collections::{BTreeMap, BTreeSet};

/// Keys that the walk visits between two looks at the clock.
const WALK_KEYS: usize = 512;

/// How long one slice of the walk may take.
const SLICE_US: u64 = 150;

/// The first slice, which somebody waits for.
const FIRST_SLICE_US: u64 = 5_000;

/// Where the walk has come to.
struct Walk {
    db: usize,
    cursor: u64,
    /// Keys visited.
    count: usize,
}

/// By database and base, as `Known` has them.
type Place = (usize, Box<[u8]>);

pub struct Watch {
    known: Known,
    walk: Option<Walk>,
    rings: BTreeMap<Place, Ring>,
    /// Those whose events are to be read.
    unread: BTreeSet<Place>,
    pub searches: Searches,
    /// What all ask for, while a page shows that.
    pub recording: Recording,
    pub rates: Rates,
    pub census: KeyWalks<CountedKeys>,
    pub found: KeyWalks<FoundKeys>,
    pub courses: Courses,
    /// Something has changed since it was last shown.
    has_news: bool,
    shown_us: u64,
}

impl Watch {
    /// Begins to listen and to walk.
    pub fn begin(engine: &mut Engine) -> Self {
        engine.keyspace.aftermath.watch_keys(true);
        let walk = Some(Walk { db: 0, cursor: 0, count: 0 });
        let mut watch = Self {
            known: Known::default(),
            walk,
            rings: BTreeMap::new(),
            unread: BTreeSet::new(),
            searches: Searches::default(),
            recording: Recording::default(),
            rates: Rates::default(),
            census: KeyWalks::default(),
            found: KeyWalks::default(),
            courses: Courses::default(),
            has_news: true,
            shown_us: 0,
        };
        watch.walk_for(engine, FIRST_SLICE_US);
        watch
    }

    /// Whether there are keys that nobody has looked at yet.
    pub fn is_walking(&self) -> bool {
        self.walk.is_some()
    }

    /// How much of the walk is done, in percent.
    pub fn walked_percent(&self, engine: &Engine) -> usize {
        let Some(walk) = &self.walk else { return 100 };
        let all = (0..engine.keyspace.databases()).map(|db| engine.keyspace.db(db).len());
        walk.count * 100 / all.sum::<usize>().max(walk.count).max(1)
    }

    /// Takes in which keys have changed, and what has happened in their queues.
    pub fn catch_up(&mut self, engine: &mut Engine) {
        self.rates.note(engine);
        let changed = engine.keyspace.aftermath.take_changed_keys();
        self.has_news |= !changed.is_empty() || self.is_walking();
        if changed.is_all {
            let mut fresh = Self::begin(engine);
            fresh.searches = std::mem::take(&mut self.searches);
            fresh.searches.note_all();
            fresh.recording = std::mem::take(&mut self.recording);
            fresh.rates = std::mem::take(&mut self.rates);
            *self = fresh;
        }
        let mut learned = Learned::default();
        for (db, key) in changed.iter() {
            self.learn(engine, db, key, &mut learned);
        }
        for (db, key) in changed.iter() {
            self.searches.note(engine, db, key);
        }
        for client in engine.clients.iter() {
            self.known.meet_worker(client);
        }
        self.walk_for(engine, SLICE_US);
        self.searches.forget(engine.keyspace.now.mono_us);
        self.census.forget(engine.keyspace.now.mono_us);
        self.found.forget(engine.keyspace.now.mono_us);
        self.courses.forget(engine.keyspace.now.mono_us);
        self.known.forget_gone(engine);
        let is_known = |place: &Place| self.known.has(place.0, &place.1);
        self.rings.retain(|place, _| is_known(place));
        self.unread.retain(is_known);
        for queue in self.known.queues() {
            let place = (queue.db, queue.base.clone());
            let is_new = !self.rings.contains_key(&place);
            if is_new {
                self.searches.note_queue();
            }
            if self.unread.remove(&place) || is_new {
                self.rings.entry(place).or_default().read(engine, &queue);
            }
        }
    }

    /// Whether there is something that was not looked at yet: for queues, for keys, or by a search.
    pub fn is_searching(&self, now_us: u64) -> bool {
        self.is_walking() || self.walks_keys() || self.searches.has_work(now_us)
    }

    fn walks_keys(&self) -> bool {
        self.found.has_work() || self.census.has_work()
    }

    /// Goes on with what is searched, for so long, with the keys that somebody waits for first.
    /// While queues are still being looked for, jobs cannot be told from other keys.
    pub fn search(&mut self, engine: &Engine, slice_us: u64) {
        let start_us = engine.facts.stopwatch_us();
        let left_us = || slice_us.checked_sub(engine.facts.stopwatch_us() - start_us);
        self.has_news |= self.walks_keys() || self.is_walking();
        if self.found.has_work() {
            self.found.work(engine, slice_us);
        }
        if self.census.has_work()
            && let Some(left_us) = left_us()
        {
            self.census.work(engine, left_us);
        }
        if self.is_walking()
            && let Some(left_us) = left_us()
        {
            self.walk_for(engine, left_us);
        }
        let now_us = engine.keyspace.now.mono_us;
        let may_search = !self.is_walking() && self.searches.has_work(now_us);
        if may_search && let Some(left_us) = left_us() {
            self.searches.work(&self.known, engine, left_us);
            self.has_news |= self.searches.take_news();
        }
    }

    /// Whether some page shows a search or a walk over keys that has not come to its end.
    pub fn has_search(&self) -> bool {
        self.searches.has_open() || self.walks_keys()
    }

    /// A page shows what a question finds.
    pub fn ask(&mut self, engine: &Engine, text: &str, most: usize) {
        if !self.is_walking() {
            self.searches.ask(&self.known, engine, text, most);
        }
    }

    /// Takes in what was asked for since the last time; `is_seen`: a page shows that.
    pub fn record(&mut self, engine: &mut Engine, is_seen: bool) {
        self.has_news |= self.recording.take_in(engine, is_seen);
    }

    /// Whether open pages are to be told: something has changed, or a second has passed, with which
    /// the last minute has.
    pub fn is_to_be_shown(&mut self, now_us: u64) -> bool {
        let is_to_be_shown = self.has_news || now_us - self.shown_us >= 1_000_000;
        if is_to_be_shown {
            self.has_news = false;
            self.shown_us = now_us;
        }
        is_to_be_shown
    }

    fn learn(&mut self, engine: &Engine, db: usize, key: &[u8], learned: &mut Learned) {
        let view = Glance::new(engine, db);
        for base in self.known.learn(view, key, learned) {
            self.unread.insert((db, base.into()));
        }
    }

    fn walk_for(&mut self, engine: &Engine, slice_us: u64) {
        let start_us = engine.facts.stopwatch_us();
        let mut learned = Learned::default();
        while let Some(mut walk) = self.walk.take() {
            if walk.db >= engine.keyspace.databases() {
                return;
            }
            let mut found: Vec<&KeyValue> = Vec::with_capacity(WALK_KEYS);
            let db = engine.keyspace.db(walk.db);
            walk.cursor = db.scan(walk.cursor, WALK_KEYS, &mut |entry| found.push(entry));
            for entry in &found {
                self.learn(engine, walk.db, &entry.key.text(), &mut learned);
            }
            walk.count += found.len();
            if walk.cursor == 0 {
                walk.db += 1;
            }
            self.walk = Some(walk);
            if engine.facts.stopwatch_us() - start_us > slice_us {
                return;
            }
        }
    }

    /// All queues, in order of database and name.
    pub fn queues(&self) -> Vec<Queue> {
        self.known.queues()
    }

    /// The queue that an address names, if it is known.
    pub fn queue(&self, id: &str) -> Option<Queue> {
        let (db, base) = super::ids::parse(id)?;
        self.known.queues().into_iter().find(|queue| queue.db == db && *queue.base == *base)
    }

    /// What has happened in a queue within the last minute.
    pub fn minute(&self, queue: &Queue, now_ms: i64) -> Minute {
        let ring = self.rings.get(&(queue.db, queue.base.clone()));
        ring.map_or_else(Minute::default, |ring| ring.minute(now_ms))
    }
}
