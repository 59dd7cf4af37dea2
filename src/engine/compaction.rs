//! Compaction: values that nobody has touched for a while are compressed while the server has
//! nothing else to do.
//!
//! A pass walks all keys in slices. Keys with the same prefix, up to the last `:`, tend to hold the
//! like: jobs of one queue. Once a pass has met enough of a prefix, a dictionary is learnt from
//! some of them, and what was met before that is left to a second pass. A pass that has left
//! nothing for later is the last one until something changes.
//!
//! A value that did not compress is not tried again until it was touched: all of a prefix that were
//! last touched before its last pass have been tried.

use super::Engine;
use super::alarms::Alarm;
use super::keyspace::Keyspace;

use crate::data::cold::{self, Cold};
use crate::util::zstd::{Compressing, Dictionary, TEXT_LEN_MAX};
use std::collections::BTreeMap;
use std::rc::Rc;

/// A slice ends after this much time: a request that comes meanwhile waits for it.
const SLICE_US_MAX: u64 = 150;

/// ... or after this many keys, most of which are only looked at.
const SLICE_KEYS_MAX: usize = 2_048;

/// ... or after this many bytes compressed, which is what ends it where time stands still.
const SLICE_BYTES_MAX: usize = 64 * 1024;

/// Prefixes known at a time. Each dictionary takes about 35 KB.
const PREFIXES_MAX: usize = 128;

/// Texts that a dictionary is learnt from, and how much of each: 0.2 ms.
const SAMPLES: usize = 32;
const SAMPLE_LEN_MAX: usize = 1_024;

/// A dictionary that saves by so many percent less than at first no longer fits.
const DECLINE_PERCENT: usize = 15;

/// Passes are further apart where they take longer: one second per so many keys, so that the walk
/// alone takes less than a thousandth of the time.
const KEYS_PER_SECOND: u64 = 100_000;

pub struct Compaction {
    stage: Stage,
    prefixes: BTreeMap<Box<[u8]>, Prefix>,
    /// What there was of `activity` when the last pass began.
    seen: u64,
    pub bounds: Bounds,
}

/// From where on it is worth it. Tests, whose values are few and small, set other ones.
pub struct Bounds {
    /// A shorter text saves too little.
    pub text_len_min: usize,
    /// A dictionary is learnt for this many bytes of texts: it saves more than it takes.
    pub learn_len: usize,
}

enum Stage {
    /// Nothing has changed since the last pass.
    Asleep,
    /// An alarm will begin a pass.
    Waiting,
    Passing(Pass),
}

struct Pass {
    /// Who was last touched in this second of the monotonic clock, or before, is cold.
    until_s: u32,
    /// Where the walk stands.
    inner: usize,
    index: u32,
    /// Another pass will find something: at once, or when what is warm has cooled down.
    has_learnt: bool,
    has_warm: bool,
}

struct Prefix {
    stage: Learning,
    /// Who was last touched in this second, or before, has been tried.
    tried_s: Option<u32>,
    /// Bytes of texts in the pass under way, and of what was kept of them.
    tried_len: usize,
    kept_len: usize,
    /// How many percent were kept at first.
    fresh_percent: Option<usize>,
}

enum Learning {
    Sampling(Vec<Box<[u8]>>),
    Done {
        dictionary: Rc<Dictionary>,
        /// Only during a pass.
        compressing: Option<Compressing>,
        /// Learnt in the pass under way, so that some have not been tried.
        is_new: bool,
    },
}

impl Default for Compaction {
    fn default() -> Self {
        Self {
            stage: Stage::Asleep,
            prefixes: BTreeMap::new(),
            seen: 0,
            bounds: Bounds { text_len_min: 64, learn_len: 256 * 1024 },
        }
    }
}

impl Engine {
    pub(super) fn is_passing(&self) -> bool {
        matches!(self.compaction.stage, Stage::Passing(_))
    }

    /// A slice of the pass under way.
    pub(super) fn go_on_passing(&mut self) {
        let Stage::Passing(pass) = &mut self.compaction.stage else { return };
        if self.config.compact_idle_after_s == 0 {
            self.compaction.stage = Stage::Asleep;
            return;
        }
        let started_us = self.facts.stopwatch_us();
        let (mut keys, mut bytes) = (0, 0);
        while keys < SLICE_KEYS_MAX && bytes < SLICE_BYTES_MAX {
            let Some(end) = self.keyspace.end_of(pass.inner) else { return self.end_pass() };
            if pass.index >= end {
                (pass.inner, pass.index) = (pass.inner + 1, 0);
                continue;
            }
            let place = (pass.inner, pass.index);
            pass.index += 1;
            keys += 1;
            let (prefixes, bounds) = (&mut self.compaction.prefixes, &self.compaction.bounds);
            let tried_len = pass.look(&mut self.keyspace, place, prefixes, bounds);
            if tried_len > 0 {
                bytes += tried_len;
                if self.facts.stopwatch_us() - started_us >= SLICE_US_MAX {
                    break;
                }
            }
        }
    }

    /// Plans a pass if something has changed since the last one.
    pub(super) fn stir_compaction(&mut self) {
        if matches!(self.compaction.stage, Stage::Asleep)
            && self.config.compact_idle_after_s > 0
            && self.compaction.seen != activity(&self.keyspace)
        {
            self.plan_pass();
        }
    }

    pub(super) fn begin_pass(&mut self) {
        self.compaction.seen = activity(&self.keyspace);
        self.compaction.stage = Stage::Passing(Pass {
            until_s: self.keyspace.now.mono_s().saturating_sub(self.config.compact_idle_after_s),
            inner: 0,
            index: 0,
            has_learnt: false,
            has_warm: false,
        });
    }

    fn end_pass(&mut self) {
        let Stage::Passing(pass) = &self.compaction.stage else { return };
        let (until_s, has_learnt, has_warm) = (pass.until_s, pass.has_learnt, pass.has_warm);
        let bounds = &self.compaction.bounds;
        self.compaction.prefixes.retain(|_, prefix| prefix.outlasts_pass(until_s, bounds));
        if has_learnt {
            self.begin_pass();
        } else if has_warm {
            self.plan_pass();
        } else {
            self.compaction.stage = Stage::Asleep;
        }
    }

    fn plan_pass(&mut self) {
        self.compaction.stage = Stage::Waiting;
        let walk_s = self.keyspace.len() as u64 / KEYS_PER_SECOND;
        let span_s = u64::from(self.config.compact_idle_after_s) + walk_s;
        let begin_us = self.keyspace.now.mono_us + span_s * 1_000_000;
        self.alarms.set(begin_us, Alarm::Compaction);
    }
}

/// Moves with every change, and with every value that was thawed.
fn activity(keyspace: &Keyspace) -> u64 {
    keyspace.aftermath.changes + keyspace.thawed_count
}

impl Pass {
    /// Freezes the value in a slot if it is cold and that is worth it. Returns how many bytes were
    /// worked on.
    fn look(
        &mut self,
        keyspace: &mut Keyspace,
        (inner, index): (usize, u32),
        prefixes: &mut BTreeMap<Box<[u8]>, Prefix>,
        bounds: &Bounds,
    ) -> usize {
        let Some(entry) = keyspace.at(inner, index) else { return 0 };
        let Some(text) = cold::text_of(&entry.value) else { return 0 };
        if !(bounds.text_len_min..=TEXT_LEN_MAX).contains(&text.len()) {
            return 0;
        }
        let last_s = entry.usage.last_s(keyspace.now);
        if last_s > self.until_s {
            self.has_warm = true;
            return 0;
        }
        let Some(prefix) = prefix_of(&entry.key.text(), prefixes) else { return 0 };
        if prefix.tried_s.is_some_and(|tried_s| last_s <= tried_s) {
            return 0;
        }
        match &mut prefix.stage {
            Learning::Sampling(samples) => {
                // Spread over what there is to learn from.
                if prefix.tried_len * SAMPLES >= samples.len() * bounds.learn_len {
                    samples.push(text[..text.len().min(SAMPLE_LEN_MAX)].into());
                }
                prefix.tried_len += text.len();
                if prefix.tried_len < bounds.learn_len {
                    return 0;
                }
                prefix.tried_len = 0;
                match Dictionary::learn(samples) {
                    Some(dictionary) => {
                        let compressing = Some(dictionary.compressing());
                        prefix.stage = Learning::Done { dictionary, compressing, is_new: true };
                        self.has_learnt = true;
                    }
                    None => samples.clear(),
                }
                // It has taken as long as a slice may.
                SLICE_BYTES_MAX
            }
            Learning::Done { dictionary, compressing, .. } => {
                let compressing = compressing.get_or_insert_with(|| dictionary.compressing());
                let len = text.len();
                drop(text);
                let kept_len = keyspace.freeze(inner, index, |value, zstd| {
                    Cold::freeze(value, zstd, dictionary, compressing)
                });
                prefix.tried_len += len;
                prefix.kept_len += kept_len.unwrap_or(len);
                len
            }
        }
    }
}

/// What is known of the keys that begin like this one. None if too many prefixes are known.
fn prefix_of<'p>(
    key: &[u8],
    prefixes: &'p mut BTreeMap<Box<[u8]>, Prefix>,
) -> Option<&'p mut Prefix> {
    let len = memchr::memrchr(b':', key).map_or(0, |at| at + 1);
    let name = &key[..len];
    if !prefixes.contains_key(name) {
        if prefixes.len() >= PREFIXES_MAX {
            let samplings = prefixes.iter().filter(|(_, prefix)| prefix.is_sampling());
            let least = samplings.min_by_key(|(_, prefix)| prefix.tried_len)?.0.clone();
            prefixes.remove(&least);
        }
        prefixes.insert(name.into(), Prefix::new());
    }
    prefixes.get_mut(name)
}

impl Prefix {
    fn new() -> Self {
        Self {
            stage: Learning::Sampling(Vec::new()),
            tried_s: None,
            tried_len: 0,
            kept_len: 0,
            fresh_percent: None,
        }
    }

    fn is_sampling(&self) -> bool {
        matches!(self.stage, Learning::Sampling(_))
    }

    /// Takes stock after a pass; false if the prefix is to be forgotten.
    fn outlasts_pass(&mut self, until_s: u32, bounds: &Bounds) -> bool {
        let Learning::Done { dictionary, compressing, is_new } = &mut self.stage else {
            return false;
        };
        *compressing = None;
        let (tried_len, kept_len) = (self.tried_len, self.kept_len);
        (self.tried_len, self.kept_len) = (0, 0);
        if std::mem::take(is_new) {
            return true;
        }
        self.tried_s = Some(until_s);
        if tried_len >= bounds.learn_len {
            let percent = kept_len * 100 / tried_len;
            if percent > *self.fresh_percent.get_or_insert(percent) + DECLINE_PERCENT {
                return false;
            }
        }
        // What nothing is frozen with is kept only if something new came, which it refused.
        Rc::strong_count(dictionary) > 1 || tried_len > 0
    }
}
