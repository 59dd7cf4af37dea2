//! Searches of open pages: by id at once, by text in slices, mostly the newest jobs first.
//!
//! A search goes over all keys, from the highest index to the lowest, and looks at what is a job:
//! the newest have the highest, but for those that have taken the place of a key that went. Once a
//! second text is searched within a minute each look leaves a signature behind (signatures.rs), and
//! from then on only jobs are looked at whose signature fits. Jobs that have no keys of their own,
//! as those of Celery, are found in the lists of their states at the end.
//!
//! Whatever changes while a search is open is looked at again. None of it touches a key: idle times
//! and hit rates stay, and a value that rests is made whole for the look alone.

pub mod query;
mod signatures;

use crate::engine::Engine;
use crate::queues::{Glance, JobState, JobText, Known, Queue, QueueLibrary};
use crate::util::hash::hash;
use crate::util::zstd::Zstd;
use query::{Query, find};
use signatures::{BLOCK_SLOTS, Mask, Signatures};
use std::cell::RefCell;
use std::collections::BTreeSet;

/// At a time; the one that nobody has asked for longest makes room.
const SEARCHES_MAX: usize = 3;

/// A search is forgotten once nobody has asked for it for so long, and
const FORGOTTEN_US: u64 = 5_000_000;

/// ... goes on for as long.
const WANTED_US: u64 = 2_000_000;

/// A second text within this span makes the index, and without one it goes.
const INDEX_US: u64 = 60_000_000;

/// Hits of a page, and the most of all its pieces.
pub const HITS: usize = 50;
pub const HITS_MAX: usize = 200;

/// Changed keys that one search has not looked at yet. Beyond them the reader is told so.
const FRESH_MAX: usize = 4_096;

/// Jobs without keys of their own that are looked at in a row, and in one state.
const LISTED: usize = 16;
const LISTED_MAX: usize = 100_000;

/// Bytes of a text that are shown before and behind what was found in it.
const BEFORE_LEN: usize = 40;
const BEHIND_LEN: usize = 160;

/// All of them, and the index that they share.
#[derive(Default)]
pub struct Searches {
    all: Vec<Search>,
    index: Option<Signatures>,
    /// Where the index is being made; None if nothing lacks a signature.
    building: Option<Cursor>,
    /// When text was last searched.
    text_us: Option<u64>,
    zstd: Option<Box<RefCell<Zstd>>>,
    has_news: bool,
}

/// One of them.
pub struct Search {
    pub query: Query,
    pub hits: Vec<Hit>,
    /// Jobs that were looked at, or left out by their signature.
    pub searched: usize,
    /// So many hits are enough.
    most: usize,
    asked_us: u64,
    stage: Stage,
    /// The queues whose jobs have no keys, once these are looked through.
    listed: Vec<Queue>,
    fresh: BTreeSet<(usize, Box<[u8]>)>,
    /// More has changed than was looked at.
    pub has_missed: bool,
}

/// A job that was found.
pub struct Hit {
    pub queue: Queue,
    pub id: Vec<u8>,
    pub name: Vec<u8>,
    pub text: Excerpt,
    pub state: HitState,
    /// Of the job's key, hashed: none has none. What is of another key is looked at in vain.
    key_code: Option<u64>,
    is_stale: bool,
}

/// In which state a job is. It may take a walk over a list to know.
#[derive(Clone, Copy)]
pub enum HitState {
    Unknown,
    Known(Option<&'static JobState>),
}

/// A part of a text, and within it what was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Excerpt {
    pub before: String,
    pub found: String,
    pub behind: String,
}

#[derive(Clone, Copy)]
enum Stage {
    /// Over all keys.
    Keys(Cursor),
    /// Over the states of queues whose jobs have no keys.
    Listed {
        queue: usize,
        state: usize,
        from: usize,
    },
    Done,
}

/// A place on the way over all keys, from the last index of each database to the first.
#[derive(Clone, Copy, Default)]
struct Cursor {
    db: usize,
    /// The block that comes next lies below this one; None: the database has not been entered.
    block: Option<u32>,
    /// What is still to be looked at in the block.
    mask: Mask,
}

enum Step {
    At(usize, u32),
    /// A block was entered.
    Block(usize, u32),
    End,
}

impl Cursor {
    fn step(&mut self, engine: &Engine) -> Step {
        for at in (0..self.mask.len()).rev() {
            let word = self.mask[at];
            if word != 0 {
                let bit = 63 - word.leading_zeros();
                self.mask[at] &= !(1 << bit);
                let block = self.block.expect("its mask is set");
                return Step::At(self.db, block * BLOCK_SLOTS + at as u32 * 64 + bit);
            }
        }
        while self.db < engine.keyspace.databases() {
            let end = engine.keyspace.db(self.db).end().div_ceil(BLOCK_SLOTS);
            match self.block.unwrap_or(end).min(end).checked_sub(1) {
                Some(block) => {
                    self.block = Some(block);
                    return Step::Block(self.db, block);
                }
                None => *self = Self { db: self.db + 1, ..Self::default() },
            }
        }
        Step::End
    }
}

/// What a look needs beside what it looks for.
struct Looker<'a> {
    known: &'a Known,
    engine: &'a Engine,
    zstd: &'a RefCell<Zstd>,
    index: Option<&'a mut Signatures>,
    /// Bytes that may still be taken.
    free: u64,
}

impl Looker<'_> {
    /// Shows the job at an index, and leaves its signature. False if there is none.
    fn look(
        &mut self,
        db: usize,
        at: u32,
        show: &mut dyn FnMut(&'static QueueLibrary, &[u8], &JobText),
    ) -> bool {
        let keyspace = &self.engine.keyspace;
        let free = self.free;
        let mut index = self.index.as_deref_mut();
        index = index.filter(|index| !index.is_signed(db, at) && index.has_room(db, at, free));
        let entry = keyspace.db(db).at(at).filter(|entry| !keyspace.is_over(db, entry));
        let view = Glance::new(self.engine, db).with_zstd(self.zstd);
        let is_job = entry.is_some_and(|entry| {
            self.known.show_job(view, entry, &mut |library, base, job| {
                if let Some(index) = &mut index {
                    index.sign(db, at, Some(job));
                }
                show(library, base, job);
            })
        });
        if let Some(index) = index.filter(|_| !is_job) {
            index.sign(db, at, None);
        }
        is_job
    }
}

impl Searches {
    /// Somebody wants to see what a question finds: at most so many hits.
    pub fn ask(&mut self, known: &Known, engine: &Engine, text: &str, most: usize) {
        let now_us = engine.keyspace.now.mono_us;
        let query = Query::read(text);
        if query.is_empty() {
            return;
        }
        let is_second = self.text_us.is_some_and(|at_us| now_us - at_us < INDEX_US);
        if query.has_text() {
            self.text_us = Some(now_us);
        }
        if let Some(search) = self.all.iter_mut().find(|it| it.query.text == query.text) {
            search.asked_us = now_us;
            search.most = search.most.max(most);
            return;
        }
        if query.has_text() && is_second && self.index.is_none() {
            self.index = Signatures::new(engine.keyspace.len());
            self.building = self.index.as_ref().map(|_| Cursor::default());
        }
        if self.all.len() >= SEARCHES_MAX {
            let oldest = self.all.iter().enumerate().min_by_key(|(_, it)| it.asked_us);
            let oldest = oldest.map(|(at, _)| at);
            oldest.map(|at| self.all.swap_remove(at));
        }
        let mut search = Search {
            query,
            hits: Vec::new(),
            searched: 0,
            most,
            asked_us: now_us,
            stage: Stage::Keys(Cursor::default()),
            listed: Vec::new(),
            fresh: BTreeSet::new(),
            has_missed: false,
        };
        search.find_id(known, engine);
        self.all.push(search);
    }

    /// The search for this question; None if nobody has asked for it.
    pub fn of(&self, text: &str) -> Option<&Search> {
        let query = Query::read(text);
        self.all.iter().find(|it| it.query.text == query.text)
    }

    /// A key has changed.
    pub fn note(&mut self, engine: &Engine, db: usize, key: &[u8]) {
        if let Some(index) = &mut self.index
            && let Some(at) = engine.keyspace.index_of(db, key)
        {
            index.unsign(db, at);
            self.building.get_or_insert_default();
        }
        self.all.iter_mut().for_each(|search| search.note(db, key));
    }

    /// Any key may have changed: all begins anew, but for what has been found.
    pub fn note_all(&mut self) {
        if let Some(index) = &mut self.index {
            index.unsign_all();
            self.building = Some(Cursor::default());
        }
        for search in &mut self.all {
            search.hits.iter_mut().for_each(|hit| hit.is_stale = true);
            search.fresh.clear();
            search.searched = 0;
            search.stage = Stage::Keys(Cursor::default());
        }
    }

    /// A queue has become known, whose jobs were taken for something else.
    pub fn note_queue(&mut self) {
        if let Some(index) = &mut self.index {
            index.unsign_others();
            self.building = Some(Cursor::default());
        }
    }

    /// Forgets what nobody asks for any more.
    pub fn forget(&mut self, now_us: u64) {
        self.all.retain(|search| now_us - search.asked_us < FORGOTTEN_US);
        if self.text_us.is_some_and(|at_us| now_us - at_us >= INDEX_US) {
            (self.index, self.building, self.text_us) = (None, None, None);
        }
        if self.all.is_empty() {
            self.zstd = None;
        }
    }

    /// Whether something was found, or is done, since this was last asked.
    pub fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.has_news)
    }

    /// Bytes of the index.
    pub fn index_size(&self) -> usize {
        self.index.as_ref().map_or(0, Signatures::size)
    }

    /// Whether a search has not come to its end.
    pub fn has_open(&self) -> bool {
        self.all.iter().any(Search::has_work)
    }

    /// Whether `work` has something to do.
    pub fn has_work(&self, now_us: u64) -> bool {
        let is_wanted = |search: &&Search| now_us - search.asked_us < WANTED_US;
        let mut wanted = self.all.iter().filter(is_wanted);
        wanted.clone().any(Search::has_work) || (self.building.is_some() && wanted.next().is_some())
    }

    /// Works for so long: on what was asked for last, then on the index.
    pub fn work(&mut self, known: &Known, engine: &Engine, slice_us: u64) {
        let now_us = engine.keyspace.now.mono_us;
        let start_us = engine.facts.stopwatch_us();
        let is_over = || engine.facts.stopwatch_us() - start_us > slice_us;
        let zstd = self.zstd.get_or_insert_with(Box::default);
        let limit = Some(engine.config.maxmemory).filter(|limit| *limit > 0);
        let free = limit.map_or(u64::MAX, |it| it.saturating_sub(engine.facts.allocated_bytes()));
        let index = self.index.as_mut();
        let mut looker = Looker { known, engine, zstd, index, free };
        self.all.sort_by_key(|search| std::cmp::Reverse(search.asked_us));
        for search in &mut self.all {
            while now_us - search.asked_us < WANTED_US && search.has_work() {
                self.has_news |= search.step(&mut looker);
                if is_over() {
                    return;
                }
            }
        }
        while let Some(cursor) = &mut self.building {
            match cursor.step(engine) {
                Step::Block(db, block) => {
                    let index = looker.index.as_ref();
                    cursor.mask = index.map_or_else(Mask::default, |it| it.unsigned(db, block));
                }
                Step::At(db, at) => {
                    looker.look(db, at, &mut |_, _, _| {});
                }
                Step::End => self.building = None,
            }
            if is_over() {
                return;
            }
        }
    }
}

impl Search {
    /// Whether it has looked at all there is.
    pub fn is_done(&self) -> bool {
        matches!(self.stage, Stage::Done)
    }

    /// Whether it has found as many as it was asked for.
    pub fn is_full(&self) -> bool {
        self.hits.len() >= self.most
    }

    fn has_work(&self) -> bool {
        let is_open = |hit: &Hit| hit.is_stale || matches!(hit.state, HitState::Unknown);
        self.hits.iter().any(is_open)
            || (!self.is_full() && (!self.is_done() || !self.fresh.is_empty()))
    }

    fn note(&mut self, db: usize, key: &[u8]) {
        let code = Some(hash(key));
        for hit in &mut self.hits {
            hit.is_stale |= hit.key_code == code && hit.queue.db == db;
        }
        if self.fresh.len() < FRESH_MAX {
            self.fresh.insert((db, key.into()));
        } else {
            self.has_missed = true;
        }
    }

    /// Jobs that have the word for their id.
    fn find_id(&mut self, known: &Known, engine: &Engine) {
        let Some(id) = self.query.id() else { return };
        for queue in known.queues().into_iter().filter(Queue::has_job_keys) {
            if let Some(job) = queue.job(engine, id.as_bytes())
                && self.query.admits(&queue)
                && job.added_ms.is_some()
            {
                let hit = Hit::new(queue, &JobText::of(&job), &self.query);
                self.keep(engine, hit);
            }
        }
    }

    /// Takes a hit in, unless its state is not the one that is meant.
    fn keep(&mut self, engine: &Engine, mut hit: Hit) -> bool {
        let is_same = |it: &Hit| {
            it.id == hit.id && it.queue.db == hit.queue.db && it.queue.base == hit.queue.base
        };
        if self.hits.iter().any(is_same) || self.is_full() {
            return false;
        }
        if self.query.has_states() {
            let state = hit.queue.state_of(engine, &hit.id);
            if !self.query.admits_state(state) {
                return false;
            }
            hit.state = HitState::Known(state);
        }
        self.hits.push(hit);
        true
    }

    /// One piece of work. True if something has come of it.
    fn step(&mut self, looker: &mut Looker) -> bool {
        let engine = looker.engine;
        if let Some(at) = self.hits.iter().position(|hit| hit.is_stale) {
            self.refresh(looker, at);
            return true;
        }
        let unknown = |hit: &&mut Hit| matches!(hit.state, HitState::Unknown);
        if let Some(hit) = self.hits.iter_mut().find(unknown) {
            hit.state = HitState::Known(hit.queue.state_of(engine, &hit.id));
            return true;
        }
        if self.is_done() || !self.fresh.is_empty() {
            let Some((db, key)) = self.fresh.pop_first() else { return false };
            let at = engine.keyspace.index_of(db, &key);
            return at.is_some_and(|at| self.look(looker, db, at).1);
        }
        match &mut self.stage {
            Stage::Keys(cursor) => match cursor.step(engine) {
                Step::Block(db, block) => {
                    let mut all = ([u64::MAX; _], 0);
                    if let Some(index) = &looker.index {
                        all = index.candidates(db, block, &index.rows_of(&self.query));
                    }
                    cursor.mask = all.0;
                    self.searched += all.1;
                    false
                }
                Step::At(db, at) => {
                    let (is_job, is_new) = self.look(looker, db, at);
                    self.searched += usize::from(is_job);
                    is_new
                }
                Step::End => {
                    let known = looker.known.queues().into_iter();
                    let is_listed = |it: &Queue| !it.has_job_keys() && self.query.admits(it);
                    self.listed = known.filter(is_listed).collect();
                    self.stage = Stage::Listed { queue: 0, state: 0, from: 0 };
                    false
                }
            },
            Stage::Listed { .. } => self.look_at_listed(looker),
            Stage::Done => false,
        }
    }

    /// Looks at the job at an index: whether there is one, and whether it is a new hit.
    fn look(&mut self, looker: &mut Looker, db: usize, at: u32) -> (bool, bool) {
        let mut hit = None;
        let query = &self.query;
        let is_job = looker.look(db, at, &mut |library, base, job| {
            if query.is_met(job) {
                let queue = Queue { library, db, base: base.into() };
                hit = Some(queue)
                    .filter(|queue| query.admits(queue))
                    .map(|queue| Hit::new(queue, job, query));
            }
        });
        (is_job, hit.is_some_and(|hit| self.keep(looker.engine, hit)))
    }

    /// Looks at a few jobs that have no keys of their own.
    fn look_at_listed(&mut self, looker: &mut Looker) -> bool {
        let Stage::Listed { queue: number, state, from } = self.stage else { return false };
        let Some(queue) = self.listed.get(number) else {
            (self.stage, self.listed) = (Stage::Done, Vec::new());
            return true;
        };
        // What workers and schedulers hold would have to be read whole for each.
        let mut lists = queue.library.states.iter().filter(|state| !state.is_in_hand);
        let Some(place) = lists.nth(state) else {
            self.stage = Stage::Listed { queue: number + 1, state: 0, from: 0 };
            return false;
        };
        let view = Glance::new(looker.engine, queue.db).with_zstd(looker.zstd);
        let members = queue.ids(looker.engine, place, from..from + LISTED);
        self.stage = match members.len() {
            LISTED if from < LISTED_MAX => {
                Stage::Listed { queue: number, state, from: from + LISTED }
            }
            _ => Stage::Listed { queue: number, state: state + 1, from: 0 },
        };
        let mut is_new = false;
        for job in members.iter().filter_map(|member| queue.listed(view, member)) {
            self.searched += 1;
            let text = JobText::of(&job);
            if self.query.is_met(&text) && self.query.admits_state(Some(place)) {
                let mut hit = Hit::new(queue.clone(), &text, &self.query);
                hit.state = HitState::Known(Some(place));
                let has_same = self.hits.iter().any(|it| it.id == hit.id);
                if !has_same && !self.is_full() {
                    self.hits.push(hit);
                    is_new = true;
                }
            }
        }
        is_new
    }

    /// Looks again at a hit whose job has changed.
    fn refresh(&mut self, looker: &mut Looker, at: usize) {
        let hit = &mut self.hits[at];
        let index = hit.queue.job_key(&hit.id);
        let index = index.and_then(|key| looker.engine.keyspace.index_of(hit.queue.db, &key));
        let mut fresh = None;
        let query = &self.query;
        if let Some(index) = index {
            let queue = &hit.queue;
            looker.look(queue.db, index, &mut |_, _, job| {
                let is_id = query.id().is_some_and(|id| id.as_bytes() == job.id);
                if is_id || query.is_met(job) {
                    fresh = Some(Hit::new(queue.clone(), job, query));
                }
            });
        }
        match fresh {
            Some(mut fresh) => {
                let state = fresh.queue.state_of(looker.engine, &fresh.id);
                fresh.state = HitState::Known(state);
                if query.has_states() && !query.admits_state(state) {
                    self.hits.remove(at);
                } else {
                    *hit = fresh;
                }
            }
            None => {
                self.hits.remove(at);
            }
        }
    }
}

impl Hit {
    fn new(queue: Queue, job: &JobText, query: &Query) -> Self {
        let words: Vec<&[u8]> = query.words().collect();
        let texts = [job.data, job.error, job.name, job.id];
        let has_word = |text: &&&[u8]| words.iter().any(|word| find(text, word).is_some());
        // What stands in the name or the id is seen there.
        let shown = texts[..2].iter().find(has_word).unwrap_or(&job.data);
        Self {
            key_code: queue.job_key(job.id).map(|key| hash(&key)),
            queue,
            id: job.id.to_vec(),
            name: job.name[..job.name.len().min(BEHIND_LEN * 4)].to_vec(),
            text: Excerpt::of(shown, &words),
            state: HitState::Unknown,
            is_stale: false,
        }
    }
}

impl Excerpt {
    pub fn whole(&self) -> String {
        [&*self.before, &self.found, &self.behind].concat()
    }

    /// The part of a text around the first of these words; its beginning if it has none.
    pub fn of(text: &[u8], words: &[&[u8]]) -> Self {
        let found = words.iter().filter_map(|word| Some((find(text, word)?, word.len())));
        let (at, len) = found.min().unwrap_or((0, 0));
        let is_inside =
            |at: usize| text.get(at).is_some_and(|byte| byte & 0b1100_0000 == 0b1000_0000);
        let mut start = at.saturating_sub(BEFORE_LEN);
        while start < at && is_inside(start) {
            start += 1;
        }
        let behind = at + len;
        let mut end = text.len().min(behind + BEHIND_LEN);
        while end > behind && is_inside(end) {
            end -= 1;
        }
        let told = |text: &[u8]| -> String {
            let text = String::from_utf8_lossy(text);
            text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
        };
        let (lead, rest) =
            (if start > 0 { "…" } else { "" }, if end < text.len() { "…" } else { "" });
        Self {
            before: lead.to_owned() + &told(&text[start..at]),
            found: told(&text[at..behind.min(at + BEHIND_LEN)]),
            behind: told(&text[behind..end]) + rest,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Excerpt;

    #[test]
    fn an_excerpt_has_what_was_found_in_its_midst() {
        let check = |text: &[u8], word: &[u8], expect: [&str; 3]| {
            let Excerpt { before, found, behind } = Excerpt::of(text, &[word]);
            assert_eq!([&*before, &*found, &*behind], expect);
        };
        check(b"one Two three", b"two", ["one ", "Two", " three"]);
        check(b"one", b"absent", ["", "", "one"]);
        check(b"\xff<two>\nx", b"two", ["\u{fffd}<", "two", "> x"]);
        let long = ["ä".repeat(100), "two".into(), "ö".repeat(100)].concat();
        let Excerpt { before, found, behind } = Excerpt::of(long.as_bytes(), &[b"two"]);
        assert_eq!(before, format!("…{}", "ä".repeat(20)));
        assert_eq!((&*found, behind), ("two", format!("{}…", "ö".repeat(80))));
    }
}
