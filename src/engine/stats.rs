//! What INFO, SLOWLOG and LATENCY tell of the past.

use super::Engine;
use super::context::Ctx;
use super::latency::Latencies;
use super::table::Found;
use crate::proto::Error;
use crate::util::histogram::Histogram;
use std::collections::{BTreeMap, VecDeque};

/// The calls of one command.
#[derive(Debug, Default)]
pub struct Calls {
    pub calls: u64,
    pub micros: u64,
    /// Refused before they ran.
    pub rejected: u64,
    /// Ran and answered an error.
    pub failed: u64,
    /// How long each took; None before the first. Those of scripts are not timed.
    pub latency: Option<Box<Histogram>>,
}

/// More codes of errors than this are not told apart: a script can make up any.
const ERROR_CODES_MAX: usize = 128;

#[derive(Debug, Default)]
pub struct Stats {
    /// By `Found::index`.
    pub calls: Vec<Calls>,
    /// Errors by their code.
    pub errors: BTreeMap<Vec<u8>, u64>,
    pub error_count: u64,
    pub commands: u64,
    pub connections: u64,
    pub rejected_connections: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub evicted: u64,
    pub evicted_clients: u64,
    /// Values that were handed over to be freed later, and keys of databases that were flushed.
    pub lazily_freed: u64,
    /// What users may not do, by the order of `acl::selector::Reason`. RESETSTAT leaves it alone.
    pub denied: [u64; 4],
    pub peak_allocated: u64,
    pub query_limit_disconnections: u64,
    pub output_limit_disconnections: u64,
    /// Reads from clients that brought something, and writes that took something.
    pub reads: u64,
    pub writes: u64,
    /// Turns of the server, and the microseconds that they took.
    pub turns: u64,
    pub turns_us: u64,
    pub slowlog: SlowLog,
    pub latencies: Latencies,
    /// A command that took so many microseconds is for SLOWLOG or LATENCY.
    pub slow_from_us: u64,
    /// Bytes that were allocated before the first client came.
    pub startup_allocated: u64,
    /// The stopwatch when the command before the running one ended.
    lap_us: u64,
    rate: Rate,
}

/// What the last whole second has added to totals.
#[derive(Debug, Default, Clone, Copy)]
struct Rate {
    second: i64,
    at_start: [u64; 5],
    last: [u64; 5],
}

impl Stats {
    pub fn new(rows: usize, startup_allocated: u64) -> Self {
        let calls = std::iter::repeat_with(Calls::default).take(rows).collect();
        Self { calls, startup_allocated, ..Self::default() }
    }

    /// The stopwatch when the command before the running one ended, in microseconds.
    #[inline]
    pub fn lap_us(&self) -> u64 {
        self.lap_us
    }

    pub fn count_error(&mut self, error: &Error) {
        self.error_count += 1;
        let code = error.code();
        if let Some(count) = self.errors.get_mut(code) {
            *count += 1;
        } else if self.errors.len() < ERROR_CODES_MAX {
            self.errors.insert(code.to_owned(), 1);
        }
    }

    /// Called as time goes by: closes the second that has passed, and says whether one has.
    pub fn advance(&mut self, wall_ms: i64) -> bool {
        let second = wall_ms / 1000;
        let has_passed = second != self.rate.second;
        if has_passed {
            let totals = [self.commands, self.bytes_in, self.bytes_out, self.turns, self.turns_us];
            let elapsed = second - self.rate.second;
            let change = |at: usize| totals[at] - self.rate.at_start[at];
            let last = if elapsed == 1 { std::array::from_fn(change) } else { [0; 5] };
            self.rate = Rate { second, at_start: totals, last };
        }
        has_passed
    }

    /// Commands, bytes received, bytes sent, turns and their microseconds in the last whole second.
    pub fn per_second(&self) -> [u64; 5] {
        self.rate.last
    }

    /// What CONFIG RESETSTAT forgets.
    pub fn reset(&mut self) {
        let rate = Rate { second: self.rate.second, ..Rate::default() };
        *self = Self {
            rate,
            peak_allocated: self.peak_allocated,
            denied: self.denied,
            slowlog: std::mem::take(&mut self.slowlog),
            latencies: std::mem::take(&mut self.latencies),
            slow_from_us: self.slow_from_us,
            lap_us: self.lap_us,
            ..Self::new(self.calls.len(), self.startup_allocated)
        };
    }
}

impl Engine {
    /// Looks at the stopwatch: a lap ends, and the next begins. Returns its microseconds.
    #[inline]
    pub(super) fn start_lap(&mut self) -> u64 {
        self.stats.lap_us = self.facts.stopwatch_us();
        self.stats.lap_us
    }
}

/// What handlers count and forget.
impl Ctx<'_> {
    pub fn count_lazily_freed(&mut self, values: usize) {
        self.engine.stats.lazily_freed += values as u64;
    }

    /// Looks how much memory is in use, so that the peak is known.
    pub fn note_peak(&mut self) {
        self.engine.note_peak();
    }

    /// What CONFIG RESETSTAT does.
    pub fn reset_stats(&mut self) {
        self.engine.stats.reset();
        self.engine.keyspace.reset_counts();
    }

    pub fn clear_slowlog(&mut self) {
        self.engine.stats.slowlog.entries.clear();
    }
}

/// A call that is held up: a script that was suspended, or the EXEC around a script or an effect.
#[derive(Debug)]
pub struct HeldCall {
    pub found: Found,
    /// Abridged.
    pub words: Vec<Vec<u8>>,
    /// What its slices took so far, ...
    pub micros: u64,
    /// ... and the stopwatch when the one under way began.
    pub since_us: u64,
}

impl HeldCall {
    /// Ends a slice.
    pub fn pause(&mut self, now_us: u64) {
        self.micros += now_us - self.since_us;
        self.since_us = now_us;
    }
}

/// One slow command.
#[derive(Debug, Clone)]
pub struct SlowEntry {
    pub id: u64,
    pub time_s: i64,
    pub micros: u64,
    pub args: Vec<Vec<u8>>,
    pub client_addr: String,
    pub client_name: Vec<u8>,
}

/// How much of a slow command is kept.
const SLOW_WORDS_MAX: usize = 32;
const SLOW_WORD_BYTES_MAX: usize = 128;

/// Commands that took longer than `slowlog-log-slower-than`, newest first.
#[derive(Debug, Default)]
pub struct SlowLog {
    pub entries: VecDeque<SlowEntry>,
    next_id: u64,
}

impl SlowLog {
    /// `args` are abridged.
    pub fn add(
        &mut self,
        args: Vec<Vec<u8>>,
        micros: u64,
        time_s: i64,
        client_addr: String,
        client_name: Vec<u8>,
        len_max: usize,
    ) {
        let id = self.next_id;
        self.next_id += 1;
        self.entries.push_front(SlowEntry { id, time_s, micros, args, client_addr, client_name });
        self.entries.truncate(len_max);
    }
}

/// The first words of a request, each cut, with a remark on what is missing.
pub fn abridge(words: &[&[u8]]) -> Vec<Vec<u8>> {
    let kept = if words.len() > SLOW_WORDS_MAX { SLOW_WORDS_MAX - 1 } else { words.len() };
    let mut args: Vec<Vec<u8>> = words[..kept]
        .iter()
        .map(|word| {
            let mut text = word[..word.len().min(SLOW_WORD_BYTES_MAX)].to_vec();
            let more = word.len() - text.len();
            if more > 0 {
                text.extend_from_slice(format!("... ({more} more bytes)").as_bytes());
            }
            text
        })
        .collect();
    if kept < words.len() {
        args.push(format!("... ({} more arguments)", words.len() - kept).into_bytes());
    }
    args
}
