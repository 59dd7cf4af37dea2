//! What there is to move, and what of it cannot move: found by a look at a whole snapshot, before
//! anything is written anywhere.

use super::plan::MovePlan;
use super::target::TargetFacts;
use crate::config::Limits;
use crate::data::Value;
use crate::engine::hash_slot::hash_tag;
use crate::remote::{Feed, SentKey};
use std::collections::BTreeMap;

/// Prefixes of keys that are counted.
const PREFIXES_MAX: usize = 100_000;

/// Queues that are named one by one.
const NAMED_MAX: usize = 5;

/// What Redis keeps for a key beside its name and its value, and for an element.
const KEY_BYTES: u64 = 80;
const ELEMENT_BYTES: u64 = 16;

/// How far clocks may be apart before it is worth a word.
const AHEAD_MS_MAX: i64 = 500;

/// What a snapshot holds.
#[derive(Default)]
pub struct Survey {
    /// Keys by database, and of them those of each type.
    pub keys: BTreeMap<usize, u64>,
    pub types: BTreeMap<&'static str, u64>,
    /// Hashes with TTLs of fields.
    timed: u64,
    /// Libraries of functions.
    libraries: usize,
    foreign: BTreeMap<String, u64>,
    /// What it may take there.
    bytes: u64,
    /// The longest word, and whose it is.
    longest: (u64, Vec<u8>),
    /// Keys without a hash tag, by what stands before their last part.
    untagged: BTreeMap<Vec<u8>, u64>,
    /// BullMQ's queues without a hash tag.
    queues: Vec<Vec<u8>>,
}

impl Survey {
    /// Looks at all.
    ///
    /// # Errors
    /// What is wrong with the snapshot, or with the connection.
    pub async fn take(plan: &MovePlan) -> Result<Self, String> {
        let mut feed = Feed::open(&plan.from, false, &Limits::default()).await?;
        let mut survey = Self::default();
        while let Some(keys) = feed.next_keys().await? {
            keys.iter().for_each(|key| survey.note(key));
        }
        let report = feed.report();
        survey.libraries = report.libraries.len();
        survey.foreign = report.foreign.clone();
        Ok(survey)
    }

    fn note(&mut self, sent: &SentKey) {
        let SentKey { db, key, value, .. } = sent;
        *self.keys.entry(*db).or_default() += 1;
        *self.types.entry(value.type_name()).or_default() += 1;
        let elements = if matches!(value, Value::Str(_)) { 0 } else { value.size() as u64 };
        let size = key.len() as u64 + value.heap_size() as u64;
        self.bytes += size + KEY_BYTES + elements * ELEMENT_BYTES;
        if value.heap_size() as u64 > self.longest.0 {
            let len = longest_word(value);
            if len > self.longest.0 {
                self.longest = (len, key.clone());
            }
        }
        if let Value::Hash(hash) = value {
            self.timed += u64::from(hash.earliest_ms().is_some());
        }
        if hash_tag(key).is_none() {
            self.note_untagged(key, value);
        }
    }

    fn note_untagged(&mut self, key: &[u8], value: &Value) {
        let mut colons = key.iter().enumerate().filter(|(_, byte)| **byte == b':');
        let end = colons.nth(1).map_or(key.len(), |(at, _)| at);
        if self.untagged.len() < PREFIXES_MAX || self.untagged.contains_key(&key[..end]) {
            *self.untagged.entry(key[..end].to_vec()).or_default() += 1;
        }
        let fields = [&b"version"[..], b"opts.maxLenEvents"];
        if let (Some(base), Value::Hash(hash)) = (key.strip_suffix(b":meta"), value)
            && fields.iter().any(|field| hash.contains(field))
        {
            self.queues.push(base.to_vec());
        }
    }

    pub fn total(&self) -> u64 {
        self.keys.values().sum()
    }

    pub fn has_field_ttls(&self) -> bool {
        self.timed > 0
    }

    /// What keeps it from moving, a sentence each.
    pub fn obstacles(&self, plan: &MovePlan, to: &TargetFacts) -> Vec<String> {
        let mut all = refusals(plan, to);
        if to.is_cluster {
            all.extend(self.beyond_first_db());
            all.extend(self.untagged_queues());
        }
        all.extend(self.lacking(to));
        for (module, count) in &self.foreign {
            all.push(format!("{count} of {module} cannot be read: they belong to a module"));
        }
        if let Some(max) = to.word_bytes_max.filter(|max| self.longest.0 > *max) {
            all.push(format!(
                "the key '{}' has a value of {} bytes, and the target takes {max} at most \
                 (proto-max-bulk-len)",
                self.longest.1.escape_ascii(),
                self.longest.0
            ));
        }
        if let Some(room) = to.room_bytes.filter(|room| self.bytes > *room) {
            all.push(format!(
                "the target has {} left of its maxmemory, and this takes about {}",
                megabytes(room),
                megabytes(self.bytes)
            ));
        }
        all
    }

    fn beyond_first_db(&self) -> Option<String> {
        let beyond = self.keys.iter().filter(|(db, _)| **db > 0);
        let dbs: Vec<String> = beyond.clone().map(|(db, _)| db.to_string()).collect();
        let keys: u64 = beyond.map(|(_, keys)| keys).sum();
        (keys > 0).then(|| {
            format!(
                "{keys} keys lie in database {}, and a cluster has database 0 alone",
                dbs.join(", ")
            )
        })
    }

    /// What the target does not know.
    fn lacking(&self, to: &TargetFacts) -> Vec<String> {
        let (name, mut all) = (&to.name, Vec::new());
        if self.timed > 0 && !to.has_field_ttls {
            all.push(format!(
                "{} hashes have fields with a TTL, which {name} does not know",
                self.timed
            ));
        }
        if self.libraries > 0 && !to.has_functions {
            all.push(format!(
                "there are {} libraries of functions, which {name} does not know",
                self.libraries
            ));
        }
        all
    }

    /// Queues whose keys would lie in several slots.
    fn untagged_queues(&self) -> Vec<String> {
        let named = self.queues.iter().take(NAMED_MAX).map(|base| {
            let keys = self.untagged.get(base).copied().unwrap_or(0);
            let prefix = base.rsplit(|byte| *byte == b':').next().map_or(0, <[u8]>::len);
            let prefix = base[..base.len() - prefix].strip_suffix(b":").unwrap_or(b"bull");
            format!(
                "BullMQ's queue {} ({keys} keys) has no hash tag, so that its keys would lie in \
                 several slots: move it to the prefix {{{}}} first",
                base.escape_ascii(),
                prefix.escape_ascii()
            )
        });
        let more = self.queues.len().saturating_sub(NAMED_MAX);
        let rest = (more > 0).then(|| format!("the same is true of {more} further queues"));
        named.chain(rest).collect()
    }

    /// What is worth a word, and keeps nothing from moving.
    pub fn warnings(&self, plan: &MovePlan, to: &TargetFacts) -> Vec<String> {
        let mut all = Vec::new();
        if let Some(policy) = to.policy.as_deref().filter(|it| *it != "noeviction") {
            all.push(format!(
                "the target's maxmemory-policy is {policy}: it may remove jobs, which noeviction \
                 does not"
            ));
        }
        if to.ahead_ms.abs() > AHEAD_MS_MAX {
            let how = if to.ahead_ms > 0 { "ahead of" } else { "behind" };
            all.push(format!(
                "the target's clock is {} ms {how} ours: keys with a TTL go at its time",
                to.ahead_ms.abs()
            ));
        }
        if to.reads.is_none() {
            all.push("the target takes no RESTORE: all is written by plain commands".into());
        }
        let there: u64 = to.keys.values().sum();
        if there > 0 && plan.replaces {
            all.push(format!("the target's {there} keys are removed (--replace)"));
        }
        all
    }

    /// What there is, in a line.
    pub fn summary(&self) -> String {
        let types = self.types.iter().map(|(name, count)| format!("{count} {name}"));
        let dbs = match self.keys.len() {
            0 | 1 => String::new(),
            count => format!(" in {count} databases"),
        };
        let libraries = match self.libraries {
            0 => String::new(),
            count => format!(", {count} libraries of functions"),
        };
        let types: Vec<String> = types.collect();
        let types =
            if types.is_empty() { String::new() } else { format!(": {}", types.join(", ")) };
        format!("{} keys{dbs}{types}{libraries}", self.total())
    }
}

/// Why the target takes nothing, whatever it is.
fn refusals(plan: &MovePlan, to: &TargetFacts) -> Vec<String> {
    let mut all = Vec::new();
    if let Some(leader) = &to.follows {
        all.push(format!("the target is a replica of {leader}: name that one"));
    }
    if let Some(text) = &to.refusal {
        let who = plan.to.user.as_deref().unwrap_or("default");
        if text.starts_with("NOPERM") {
            all.push(format!("the target's user '{who}' may not RESTORE: {text}"));
        } else if !text.contains("unknown command") {
            all.push(format!("the target refuses RESTORE: {text}"));
        }
    }
    let there: u64 = to.keys.values().sum();
    if there > 0 && !plan.replaces {
        all.push(format!(
            "the target holds {there} keys: empty it, or say --replace, which does so"
        ));
    }
    all
}

/// Bytes as a person reads them.
pub fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1_000_000.0)
}

/// Bytes of the longest word that a value is written with.
fn longest_word(value: &Value) -> u64 {
    let len = match value {
        Value::Str(it) => it.len(),
        Value::List(it) => it.iter().map(|it| it.len()).max().unwrap_or(0),
        Value::Set(it) => it.iter().map(|it| it.len()).max().unwrap_or(0),
        Value::Hash(it) => it.iter().map(|(a, b)| a.len().max(b.len())).max().unwrap_or(0),
        Value::Zset(it) => it.iter().map(|(it, _)| it.len()).max().unwrap_or(0),
        Value::Stream(it) => {
            let lens = it.iter().flat_map(|it| {
                it.fields().map(|(a, b)| a.len().max(b.len())).max().into_iter().collect::<Vec<_>>()
            });
            lens.max().unwrap_or(0)
        }
        Value::Cold(_) => 0,
    };
    len as u64
}
