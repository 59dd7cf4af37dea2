//! A file of RDB on its way into the keyspace: bytes come in blocks, keys go in step by step.
//!
//! A record is read when it is whole; of one that is not, twice as much is waited for each time, so
//! that a value of any size is looked at a few times only. Nobody is told of what comes in: no
//! event, no waiter, no journal. A file that is not as a server writes it is refused, with the
//! place and what would help; nothing is left out but what the options say.

use std::collections::BTreeMap;

use super::link::is_history;
use crate::config::Limits;
use crate::engine::Engine;
use crate::engine::keyspace::{UNANNOUNCED, Used};
use crate::proto;
use crate::rdb::{
    CHECKSUM_LEN, Flaw, HEAD_LEN, HISTORY, HISTORY_OFFSET, KeyRecord, Made, RdbReader, Record,
    STREAM_DB, crc64, next_record,
};

/// What may be left out, and what is kept.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoadOptions {
    /// What belongs to modules is left out, and functions that do not load; both are counted.
    pub is_partial: bool,
    /// What stands before the first fault is kept.
    pub repairs: bool,
    /// Keys that there are already take what it has, which is otherwise a fault.
    pub merges: bool,
    /// Keys whose time has come are kept: commands that follow speak of them.
    pub keeps_expired: bool,
    /// It comes from a server that is followed, to be put beside what there is: libraries of
    /// functions are not taken up yet, and nobody here can repair it.
    pub is_sent: bool,
}

/// What a file held.
#[derive(Debug, Default)]
pub struct LoadReport {
    pub keys: u64,
    /// Keys that were left out because their time had come.
    pub expired: u64,
    /// Collections of nothing.
    pub empty: u64,
    /// What was left out, by the module that it belongs to, or as functions.
    pub foreign: BTreeMap<String, u64>,
    /// The fault before which it ends, if it was repaired.
    pub fault: Option<String>,
    /// The sources of libraries of one that is sent.
    pub libraries: Vec<Vec<u8>>,
    /// The database that the stream behind it begins in.
    pub stream_db: usize,
    /// The history that it is of, and up to where.
    pub history: Option<String>,
    pub history_offset: Option<u64>,
}

impl LoadReport {
    /// Whether nothing was left out of what the file held.
    pub fn is_whole(&self) -> bool {
        self.fault.is_none() && self.foreign.is_empty() && self.expired == 0
    }
}

/// How far a step has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadProgress {
    /// More is at hand.
    More,
    /// More of the file is wanted.
    Hungry,
    /// The file has ended.
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Head,
    Records(Made),
    Checksum,
    Behind,
}

/// Reads one file.
#[derive(Debug)]
pub struct Loader {
    options: LoadOptions,
    part: Part,
    /// What has come and is not read yet, behind what is.
    bytes: Vec<u8>,
    at: usize,
    /// Bytes of the file before these.
    offset: u64,
    /// Nothing more will come.
    has_ended: bool,
    /// Less than this is not looked at.
    wanted: usize,
    checksum: u64,
    /// Up to where the checksum counts.
    summed: usize,
    db: usize,
    report: LoadReport,
}

impl Loader {
    pub fn new(options: LoadOptions) -> Self {
        Self {
            options,
            part: Part::Head,
            bytes: Vec::new(),
            at: 0,
            offset: 0,
            has_ended: false,
            wanted: 0,
            checksum: 0,
            summed: 0,
            db: 0,
            report: LoadReport::default(),
        }
    }

    /// Takes the next block of the file; an empty one ends it.
    pub fn feed(&mut self, block: &[u8]) {
        self.sum_up();
        self.offset += self.at as u64;
        self.bytes.drain(..self.at);
        (self.at, self.summed) = (0, 0);
        self.bytes.extend_from_slice(block);
        self.has_ended |= block.is_empty();
    }

    fn sum_up(&mut self) {
        self.checksum = crc64(self.checksum, &self.bytes[self.summed..self.at]);
        self.summed = self.at;
    }

    /// Reads a whole file in one go, block by block; one without bytes ends it.
    ///
    /// # Errors
    /// As `step`, or the first of `next`.
    pub fn read_whole(
        &mut self,
        into: &mut impl LoadInto,
        mut next: impl FnMut() -> Result<Vec<u8>, String>,
    ) -> Result<(), String> {
        loop {
            match self.step(into, usize::MAX)? {
                LoadProgress::Done => return Ok(()),
                LoadProgress::Hungry => self.feed(&next()?),
                LoadProgress::More => {}
            }
        }
    }

    /// How much of the file was read.
    pub fn position(&self) -> u64 {
        self.offset + self.at as u64
    }

    /// What it held; to be asked at the end.
    pub fn report(&self) -> &LoadReport {
        &self.report
    }

    /// Whatever has come by now is looked at, however little it is.
    pub fn look_again(&mut self) {
        self.wanted = 0;
    }

    /// What stands behind the checksum, as far as it has come: in an append-only file, commands.
    pub fn rest(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    /// Reads on, so many records at most.
    ///
    /// # Errors
    /// What is wrong, where, and what would help; a sentence that follows the name of the file.
    pub fn step(
        &mut self,
        into: &mut impl LoadInto,
        records_max: usize,
    ) -> Result<LoadProgress, String> {
        for _ in 0..records_max {
            if self.part == Part::Behind {
                return Ok(LoadProgress::Done);
            }
            if self.bytes.len() - self.at < self.wanted && !self.has_ended {
                return Ok(LoadProgress::Hungry);
            }
            match self.part(into) {
                Ok(used) => (self.at, self.wanted) = (self.at + used, 0),
                Err(Fault::Flaw(Flaw::Short)) if !self.has_ended => {
                    let here = self.bytes.len() - self.at;
                    self.wanted = (here * 2).max(1);
                    return Ok(LoadProgress::Hungry);
                }
                Err(fault) => {
                    // What other settings would read is not thrown away.
                    let is_damage =
                        matches!(fault, Fault::Flaw(_) | Fault::Checksum | Fault::Twice(_));
                    let text = self.text_of(fault);
                    if !self.options.repairs || self.report.keys == 0 || !is_damage {
                        return Err(text);
                    }
                    self.report.fault = Some(text);
                    self.part = Part::Behind;
                }
            }
        }
        Ok(LoadProgress::More)
    }

    /// Reads the next part; returns how many bytes it was.
    fn part(&mut self, into: &mut impl LoadInto) -> Result<usize, Fault> {
        match self.part {
            Part::Head => {
                let head = self.bytes[self.at..].first_chunk::<HEAD_LEN>();
                let made = Made::of_head(head.ok_or(Flaw::Short)?).map_err(|_| Fault::Head)?;
                self.part = Part::Records(made);
                Ok(HEAD_LEN)
            }
            Part::Records(made) => self.record(made, into),
            Part::Checksum => {
                let stored = self.bytes[self.at..].first_chunk::<CHECKSUM_LEN>();
                let stored = u64::from_le_bytes(*stored.ok_or(Flaw::Short)?);
                if stored != 0 && stored != self.checksum {
                    return Err(Fault::Checksum);
                }
                self.part = Part::Behind;
                Ok(CHECKSUM_LEN)
            }
            Part::Behind => Ok(0),
        }
    }

    fn record(&mut self, made: Made, into: &mut impl LoadInto) -> Result<usize, Fault> {
        let bytes = &self.bytes[self.at..];
        let mut reader = RdbReader::new(bytes);
        let record = next_record(&mut reader, made, into.limits());
        let used = bytes.len() - reader.rest().len();
        match record? {
            Record::Hint => {}
            Record::Aux(name, value) if &*name == STREAM_DB.as_bytes() => {
                let number = std::str::from_utf8(&value).ok().and_then(|it| it.parse().ok());
                self.report.stream_db = number.filter(|it| *it < into.databases()).unwrap_or(0);
            }
            Record::Aux(name, value) if &*name == HISTORY.as_bytes() => {
                let name = std::str::from_utf8(&value).ok().filter(|it| is_history(it));
                self.report.history = name.map(str::to_owned);
            }
            Record::Aux(name, value) if &*name == HISTORY_OFFSET.as_bytes() => {
                self.report.history_offset =
                    std::str::from_utf8(&value).ok().and_then(|it| it.parse().ok());
            }
            Record::Aux(..) => {}
            Record::Library(source) if self.options.is_sent => {
                self.report.libraries.push(source.into_owned());
            }
            Record::Database(number) => {
                let is_known = number < into.databases() as u64;
                self.db =
                    if is_known { number as usize } else { return Err(Fault::Database(number)) };
            }
            Record::Library(source) => {
                into.load_library(&source).map_err(|error| Fault::Library(error.to_string()))?
            }
            Record::Key(record) => {
                let is_over = record.expires_ms.is_some_and(|at_ms| at_ms < into.now_ms());
                if is_over && !self.options.keeps_expired {
                    self.report.expired += 1;
                } else {
                    into.take_in(self.db, record, self.options.merges).map_err(Fault::Twice)?;
                    self.report.keys += 1;
                }
            }
            Record::Empty => self.report.empty += 1,
            Record::Foreign { key, module } => {
                if !self.options.is_partial {
                    let key = key.map(|key| key.into_owned());
                    return Err(Fault::Module { key, module });
                }
                *self.report.foreign.entry(module).or_default() += 1;
            }
            Record::End => {
                self.at += used;
                self.sum_up();
                self.part = if made.has_checksum() { Part::Checksum } else { Part::Behind };
                return Ok(0);
            }
        }
        Ok(used)
    }

    /// What is wrong, where, and what would help.
    fn text_of(&self, fault: Fault) -> String {
        let (at, keys) = (self.position(), self.report.keys);
        let repair = match keys {
            _ if self.options.is_sent => format!("{keys} keys stand before that"),
            0 => "No key stands before that".to_owned(),
            _ => format!("Start with --repair yes to keep the {keys} keys before that"),
        };
        let partly = "Start with --load-partly yes to load all others";
        match fault {
            Fault::Head => {
                let head = self.bytes[self.at..].iter().take(HEAD_LEN);
                let head: Vec<u8> = head.copied().collect();
                format!(
                    "begins with '{}': it is no file of RDB that Redis up to 8.2 or Valkey up to \
                     9.1 writes",
                    head.escape_ascii()
                )
            }
            Fault::Flaw(Flaw::Short) if self.position() + self.rest().len() as u64 == 0 => {
                "is empty. Remove it to start without data".into()
            }
            Fault::Flaw(Flaw::Short) => {
                format!("ends in the middle of what begins at byte {at}: it was cut. {repair}")
            }
            Fault::Flaw(Flaw::Foreign(kind)) => format!(
                "has at byte {at} something of kind {kind}, which toril does not know and cannot \
                 read past. {repair}"
            ),
            Fault::Flaw(Flaw::Corrupt | Flaw::Empty | Flaw::Unsealed) => {
                format!("is damaged at byte {at}: no server writes what stands there. {repair}")
            }
            Fault::Checksum if self.options.is_sent => "has another checksum than its bytes".into(),
            Fault::Checksum => format!(
                "has another checksum than its bytes: it was changed after it was written. Start \
                 with --repair yes to load its {keys} keys all the same"
            ),
            Fault::Database(number) => format!(
                "has keys in database {number} at byte {at}: start with --databases {}",
                number.saturating_add(1)
            ),
            Fault::Library(error) => {
                format!(
                    "has at byte {at} a library of functions that does not load: {error}. {partly}"
                )
            }
            Fault::Twice(key) => {
                format!("has the key '{}' twice, again at byte {at}. {repair}", key.escape_ascii())
            }
            Fault::Module { key: Some(key), module } => format!(
                "has at byte {at} the key '{}' of the module {module}, which toril has not. \
                 {partly}",
                key.escape_ascii()
            ),
            Fault::Module { key: None, module } => format!(
                "has at byte {at} data of the module {module}, which toril has not. {partly}"
            ),
        }
    }
}

/// What is wrong with a file.
#[derive(Debug)]
enum Fault {
    Head,
    Flaw(Flaw),
    Checksum,
    Database(u64),
    Library(String),
    Twice(Vec<u8>),
    Module { key: Option<Vec<u8>>, module: String },
}

impl From<Flaw> for Fault {
    fn from(flaw: Flaw) -> Self {
        Self::Flaw(flaw)
    }
}

/// Where a file's contents go.
pub trait LoadInto {
    /// How values are laid out there.
    fn limits(&self) -> &Limits;
    /// How many databases there are.
    fn databases(&self) -> usize;
    /// The wall clock's milliseconds.
    fn now_ms(&self) -> i64;
    /// Takes up a library of functions.
    ///
    /// # Errors
    /// It does not load.
    fn load_library(&mut self, source: &[u8]) -> proto::Result;
    /// Takes a key, in the place of one of its name if it `replaces`.
    ///
    /// # Errors
    /// The key, if there is one already.
    fn take_in(&mut self, db: usize, record: KeyRecord, replaces: bool) -> Result<(), Vec<u8>>;
}

impl LoadInto for Engine {
    fn limits(&self) -> &Limits {
        &self.config.limits
    }

    fn databases(&self) -> usize {
        self.keyspace.databases()
    }

    fn now_ms(&self) -> i64 {
        self.keyspace.now.wall_ms
    }

    fn load_library(&mut self, source: &[u8]) -> proto::Result {
        self.load_library(source)
    }

    fn take_in(&mut self, db: usize, record: KeyRecord, replaces: bool) -> Result<(), Vec<u8>> {
        let KeyRecord { key, value, expires_ms, idle_s, frequency } = record;
        if replaces {
            self.keyspace.remove(db, &key, UNANNOUNCED);
        }
        let is_lfu = self.config.maxmemory_policy.is_lfu();
        let used = match (is_lfu, frequency, idle_s) {
            (true, Some(frequency), _) => Used::Often(frequency),
            (false, _, Some(idle_s)) => Used::Idle(u32::try_from(idle_s).unwrap_or(u32::MAX)),
            _ => Used::Unknown,
        };
        match self.keyspace.take_in((db, &key), value, expires_ms, used) {
            true => Ok(()),
            false => Err(key.into_owned()),
        }
    }
}
