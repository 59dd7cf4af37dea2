//! What is to be said to the servers that take over: keys of the snapshot, and what changes of them
//! since, in parcels of one slot each.
//!
//! What took place at once is said at once, between MULTI and EXEC, to each slot that it is about:
//! to a cluster it may be said in parts.

use super::held::Held;
use super::lane::Parcel;
use super::pieces;
use crate::config::Limits;
use crate::engine::hash_slot::hash_slot;
use crate::engine::table::{Found, Table};
use crate::persist::AofUnit;
use crate::proto::{Args, request};
use crate::rdb;
use crate::remote::SentKey;

/// Bytes of version and checksum at the end of what RESTORE takes.
const SEAL_LEN: usize = 10;

/// Commands whose keys may go to one slot each, and the words of each key.
const DIVISIBLE: &[(&[u8], usize)] = &[(b"del", 1), (b"unlink", 1), (b"mset", 2), (b"touch", 1)];

/// What is about no key and concerns every server.
const FOR_ALL: &[&[u8]] = &[b"flushall", b"flushdb", b"function"];

/// What is no data: it is not passed on.
const NO_DATA: &[&[u8]] = &[b"ping", b"replconf", b"publish", b"spublish"];

/// Something to say.
#[derive(Debug)]
pub enum Saying {
    /// To who has its slot.
    One(Parcel),
    /// To all, in this database.
    All(usize, Vec<u8>),
}

/// Writes what makes a key anew, as one request if the other side takes it and it is not large.
pub fn of_key(sent: &SentKey, reads: Option<u16>, held: &mut Held, say: &mut dyn FnMut(Parcel)) {
    let SentKey { db, key, value, expires_ms } = sent;
    let (db, slot) = (*db, hash_slot(key));
    let expires_ms = expires_ms.map(|at_ms| held.put_off(db, key, at_ms));
    let mut put = |bytes| say(Parcel { db, slot, bytes, answers: 1 });
    let is_large = value.heap_size() > pieces::PIECE_BYTES;
    let payload = (!is_large).then(|| rdb::dump(value, &Limits::default(), false));
    let payload = payload.filter(|it| reads.is_some_and(|reads| version_of(it) <= reads));
    let Some(payload) = payload else {
        return pieces::write(key, value, expires_ms, &mut put);
    };
    let at_ms = expires_ms.unwrap_or(0).to_string();
    let mut bytes = Vec::with_capacity(payload.len() + key.len() + 100);
    let words: [&[u8]; 6] = [b"RESTORE", key, at_ms.as_bytes(), &payload, b"ABSTTL", b"REPLACE"];
    request::write(&words, &mut bytes);
    put(bytes);
}

/// What gives a key its true time, by what PEXPIRETIME answered: -1 is none.
pub fn of_time(db: usize, key: &[u8], at_ms: i64) -> Saying {
    let mut bytes = Vec::new();
    match at_ms {
        0.. => request::write(&[b"PEXPIREAT", key, at_ms.to_string().as_bytes()], &mut bytes),
        _ => request::write(&[b"PERSIST", key], &mut bytes),
    }
    Saying::One(Parcel { db, slot: hash_slot(key), bytes, answers: 1 })
}

/// What has a key go.
pub fn of_absence(db: usize, key: &[u8]) -> Saying {
    let mut bytes = Vec::new();
    request::write(&[b"DEL", key], &mut bytes);
    Saying::One(Parcel { db, slot: hash_slot(key), bytes, answers: 1 })
}

/// The version of RDB that a payload is written in.
fn version_of(payload: &[u8]) -> u16 {
    let seal = &payload[payload.len() - SEAL_LEN..];
    u16::from_le_bytes([seal[0], seal[1]])
}

/// What takes up a library of functions.
pub fn of_library(source: &[u8]) -> Saying {
    let mut bytes = Vec::new();
    request::write(&[b"FUNCTION", b"LOAD", b"REPLACE", source], &mut bytes);
    Saying::All(0, bytes)
}

/// Reads units of the stream.
pub struct Effects {
    table: Table,
    is_cluster: bool,
    /// The database that what follows is about.
    db: usize,
    /// Commands that were passed on, and units that were said in parts.
    pub count: u64,
    pub divided: u64,
}

/// What of a unit is about one slot.
struct Part {
    slot: u16,
    /// The databases that its first and its last command are about.
    db: usize,
    last_db: usize,
    bytes: Vec<u8>,
    answers: usize,
}

impl Part {
    fn say(&mut self, words: &[&[u8]]) {
        request::write(words, &mut self.bytes);
        self.answers += 1;
    }

    /// Within a transaction a database is selected as any other command is given.
    fn select(&mut self, db: usize) {
        if std::mem::replace(&mut self.last_db, db) != db {
            self.say(&[b"SELECT", db.to_string().as_bytes()]);
        }
    }

    /// All of it at once, which ends in the database that it began in.
    fn into_parcel(mut self) -> Parcel {
        self.select(self.db);
        let Self { slot, db, bytes, answers, .. } = self;
        if answers == 1 {
            return Parcel { db, slot, bytes, answers };
        }
        let mut all = Vec::with_capacity(bytes.len() + 40);
        request::write(&[b"MULTI"], &mut all);
        all.extend(bytes);
        request::write(&[b"EXEC"], &mut all);
        Parcel { db, slot, bytes: all, answers: answers + 2 }
    }
}

impl Effects {
    /// Of a stream that begins in a database, for a cluster or not.
    pub fn new(table: Table, is_cluster: bool, db: usize) -> Self {
        Self { table, is_cluster, db, count: 0, divided: 0 }
    }

    /// What a unit comes to.
    ///
    /// # Errors
    /// It cannot be said to a cluster.
    pub fn of_unit(&mut self, unit: &AofUnit, held: &mut Held) -> Result<Vec<Saying>, String> {
        let (mut sayings, mut parts) = (Vec::new(), Vec::new());
        unit.try_each(|words| {
            let name = words[0].to_ascii_lowercase();
            match () {
                () if NO_DATA.contains(&&name[..]) => Ok(()),
                () if name == b"select" => self.select(words),
                () if FOR_ALL.contains(&&name[..]) => {
                    self.count += 1;
                    self.close(&mut parts, &mut sayings);
                    let mut bytes = Vec::new();
                    request::write(words, &mut bytes);
                    sayings.push(Saying::All(self.db, bytes));
                    Ok(())
                }
                () => {
                    self.count += 1;
                    if name == b"swapdb" {
                        let number =
                            |at: usize| std::str::from_utf8(words.get(at)?).ok()?.parse().ok();
                        number(1).zip(number(2)).iter().for_each(|(a, b)| held.swap(*a, *b));
                    }
                    match held.rewrite(self.db, &name, words) {
                        None => self.add(&name, words, &mut parts),
                        Some(words) => {
                            let words: Vec<&[u8]> = words.iter().map(|it| &it[..]).collect();
                            self.add(&name, &words, &mut parts)
                        }
                    }
                }
            }
        })?;
        self.close(&mut parts, &mut sayings);
        Ok(sayings)
    }

    fn select(&mut self, words: &[&[u8]]) -> Result<(), String> {
        let number = words.get(1).and_then(|it| std::str::from_utf8(it).ok()?.parse().ok());
        self.db = number.ok_or("the stream selects no database")?;
        Ok(())
    }

    /// Adds a command to the part of its slot.
    fn add(&self, name: &[u8], words: &[&[u8]], parts: &mut Vec<Part>) -> Result<(), String> {
        if !self.is_cluster {
            self.add_to(0, words, parts);
            return Ok(());
        }
        let slots = self.slots(words)?;
        let Some(first) = slots.first() else {
            return Err(format!(
                "the stream has {}, which a cluster cannot do",
                words[0].escape_ascii()
            ));
        };
        if slots.iter().all(|slot| slot == first) {
            self.add_to(*first, words, parts);
            return Ok(());
        }
        let Some((_, each)) = DIVISIBLE.iter().find(|(divisible, _)| *divisible == name) else {
            let shown: Vec<String> =
                words.iter().take(3).map(|it| it.escape_ascii().to_string()).collect();
            return Err(format!(
                "the stream has {}, whose keys lie in several slots: a cluster cannot do that",
                shown.join(" ")
            ));
        };
        for key in words[1..].chunks(*each) {
            self.add_to(hash_slot(key[0]), &[&words[..1], key].concat(), parts);
        }
        Ok(())
    }

    /// The slots of a command's keys.
    fn slots(&self, words: &[&[u8]]) -> Result<Vec<u16>, String> {
        let Found { row, .. } = self.table.resolve(&Args::new(words)).map_err(|error| {
            format!("the stream has what toril does not know: {}", error.text().escape_ascii())
        })?;
        let mut slots = Vec::new();
        row.keys.visit(words, |at, _| slots.push(hash_slot(words[at])));
        Ok(slots)
    }

    fn add_to(&self, slot: u16, words: &[&[u8]], parts: &mut Vec<Part>) {
        let db = self.db;
        let at = parts.iter().position(|part| part.slot == slot).unwrap_or_else(|| {
            parts.push(Part { slot, db, last_db: db, bytes: Vec::new(), answers: 0 });
            parts.len() - 1
        });
        parts[at].select(db);
        parts[at].say(words);
    }

    /// Says what is collected.
    fn close(&mut self, parts: &mut Vec<Part>, sayings: &mut Vec<Saying>) {
        self.divided += u64::from(parts.len() > 1);
        sayings.extend(parts.drain(..).map(|part| Saying::One(part.into_parcel())));
    }
}
