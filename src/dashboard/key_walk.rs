//! Walks over the keys of a database, in slices while pages show what they gather. What was
//! gathered stays as it is until the keys are walked over anew.

use super::FORGOTTEN_US;
use crate::engine::Engine;
use crate::engine::keyspace::KeyValue;

/// Keys between two looks at the clock.
const KEYS_A_LOOK: usize = 64;

/// A walk rests so many times as long as it took.
const SHARE: u64 = 100;

/// As many are kept: no more pages can be open.
const WALKS_MAX: usize = 16;

/// What a walk gathers.
pub trait Gather: Default {
    /// What it is to gather.
    type Wanted: PartialEq;

    /// It rests so long at least before it begins anew.
    const REST_US: u64;

    /// The cursor that it begins at.
    fn start(_wanted: &Self::Wanted) -> u64 {
        0
    }

    /// Looks at a key that is there.
    fn take_in(&mut self, wanted: &Self::Wanted, entry: &KeyValue);

    /// Whether it need not go further.
    fn is_enough(&self) -> bool {
        false
    }
}

/// What was gathered, and where the walk has come to.
#[derive(Default)]
pub struct Gathered<G> {
    pub what: G,
    /// Keys that were looked at.
    pub visited: usize,
    /// Where it goes on, or somebody could; 0 at the end.
    pub cursor: u64,
    took_us: u64,
}

struct Walk<G: Gather> {
    db: usize,
    wanted: G::Wanted,
    done: Option<Gathered<G>>,
    under_way: Option<Gathered<G>>,
    asked_us: u64,
    /// It is not begun anew before.
    rests_until_us: u64,
}

/// Those that pages show.
#[derive(Default)]
pub struct KeyWalks<G: Gather>(Vec<Walk<G>>);

impl<G: Gather> Walk<G> {
    fn begin(&mut self, now_us: u64) {
        if self.under_way.is_none() && now_us >= self.rests_until_us {
            let cursor = G::start(&self.wanted);
            let what = G::default();
            self.under_way = Some(Gathered { what, visited: 0, cursor, took_us: 0 });
        }
        self.asked_us = now_us;
    }

    fn work(&mut self, engine: &Engine, slice_us: u64) {
        let Some(mut so_far) = self.under_way.take() else { return };
        let start_us = engine.facts.stopwatch_us();
        let keys = engine.keyspace.db(self.db);
        loop {
            let Gathered { what, visited, cursor, .. } = &mut so_far;
            *cursor = keys.scan(*cursor, KEYS_A_LOOK, &mut |entry| {
                *visited += 1;
                if !engine.keyspace.is_over(self.db, entry) {
                    what.take_in(&self.wanted, entry);
                }
            });
            let spent_us = engine.facts.stopwatch_us() - start_us;
            let is_done = so_far.cursor == 0 || so_far.what.is_enough();
            if is_done || spent_us > slice_us {
                so_far.took_us += spent_us;
                if is_done {
                    let rest_us = (so_far.took_us * SHARE).max(G::REST_US);
                    self.rests_until_us = engine.keyspace.now.mono_us + rest_us;
                    self.done = Some(so_far);
                } else {
                    self.under_way = Some(so_far);
                }
                return;
            }
        }
    }
}

impl<G: Gather> KeyWalks<G> {
    /// A page shows what such a walk gathers: it begins, or does so anew if it has rested.
    pub fn ask(&mut self, engine: &Engine, db: usize, wanted: G::Wanted) {
        let now_us = engine.keyspace.now.mono_us;
        let found = self.0.iter().position(|walk| walk.db == db && walk.wanted == wanted);
        let at = found.unwrap_or_else(|| {
            let (done, under_way) = (None, None);
            let walk = Walk { db, wanted, done, under_way, asked_us: now_us, rests_until_us: 0 };
            self.0.truncate(WALKS_MAX - 1);
            self.0.push(walk);
            self.0.len() - 1
        });
        // What was asked for last stands first.
        self.0[..=at].rotate_right(1);
        self.0[0].begin(now_us);
    }

    /// What was gathered last, or so far, and how much of the keys was looked at, in percent.
    pub fn of(
        &self,
        engine: &Engine,
        db: usize,
        wanted: &G::Wanted,
    ) -> Option<(&Gathered<G>, usize)> {
        let walk = self.0.iter().find(|walk| walk.db == db && walk.wanted == *wanted)?;
        if let Some(done) = &walk.done {
            return Some((done, 100));
        }
        let so_far = walk.under_way.as_ref()?;
        let all = engine.keyspace.db(db).len();
        Some((so_far, (so_far.visited * 100 / all.max(1)).min(99)))
    }

    pub fn has_work(&self) -> bool {
        self.0.iter().any(|walk| walk.under_way.is_some())
    }

    /// Forgets what no page shows any more.
    pub fn forget(&mut self, now_us: u64) {
        self.0.retain(|walk| now_us - walk.asked_us <= FORGOTTEN_US);
    }

    /// Goes on for so long, with what was asked for last.
    pub fn work(&mut self, engine: &Engine, slice_us: u64) {
        if let Some(walk) = self.0.iter_mut().find(|walk| walk.under_way.is_some()) {
            walk.work(engine, slice_us);
        }
    }
}
