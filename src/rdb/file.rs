//! A file of RDB: what stands around keys and values, one record behind the other.
//!
//! In front stands who made it and in which version, at the end a checksum over all before it
//! (`crc64`), which whoever carries the bytes computes: eight zeroes say that there is none. What
//! is read is wanted whole: a record that ends too soon is `Short`, and is read again when more of
//! the file has come.

use crate::config::Limits;
use crate::data::Value;

use super::load::load;
use super::reader::Text;
use super::save::{kind_in, kind_of, save};
use super::{Flaw, RdbReader, RdbWriter, Result, kind};

/// What a byte means that is no kind of value.
pub(super) mod opcode {
    /// A module's value before 4.0, which nobody can skip who does not know the module.
    pub const MODULE_BEFORE_4_0: u8 = 6;
    pub const MODULE: u8 = 7;
    pub const SLOT_INFO: u8 = 244;
    pub const LIBRARY: u8 = 245;
    pub const MODULE_AUX: u8 = 247;
    pub const IDLE: u8 = 248;
    pub const FREQUENCY: u8 = 249;
    pub const AUX: u8 = 250;
    pub const SIZES: u8 = 251;
    pub const EXPIRES_MS: u8 = 252;
    pub const EXPIRES_S: u8 = 253;
    pub const DATABASE: u8 = 254;
    pub const END: u8 = 255;
}

/// Who made a file, and the version of its format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    ByRedis(u16),
    ByValkey(u16),
}

/// Bytes of the head.
pub const HEAD_LEN: usize = 9;

/// Bytes of the checksum at the end.
pub const CHECKSUM_LEN: usize = 8;

/// Names, beside the keys, the database that the stream behind a snapshot begins in.
pub const STREAM_DB: &str = "repl-stream-db";

/// The history that a snapshot is of, and the last byte of its stream that the snapshot has.
pub const HISTORY: &str = "repl-id";
pub const HISTORY_OFFSET: &str = "repl-offset";

/// One step of a file.
#[derive(Debug)]
pub enum Record<'a> {
    /// The source of a library of functions.
    Library(Text<'a>),
    /// The database of the keys that follow.
    Database(u64),
    /// Something about the file or who made it, by a name.
    Aux(Text<'a>, Text<'a>),
    /// Something about its sizes, which nothing here goes by.
    Hint,
    Key(KeyRecord<'a>),
    /// A collection of nothing, which older servers wrote at times.
    Empty,
    /// What belongs to a module of this name, a key's value or something beside the keys.
    Foreign {
        key: Option<Text<'a>>,
        module: String,
    },
    /// Nothing follows but the checksum.
    End,
}

/// A key with all that a file says of it.
#[derive(Debug)]
pub struct KeyRecord<'a> {
    pub key: Text<'a>,
    pub value: Value,
    /// The last millisecond at which it exists.
    pub expires_ms: Option<i64>,
    /// Seconds since it was accessed.
    pub idle_s: Option<u64>,
    /// How often it was, on a logarithmic scale.
    pub frequency: Option<u8>,
}

impl Made {
    /// What Redis 7.4 and Valkey 9.1 both read.
    pub const FOR_ALL: Self = Self::ByRedis(11);

    /// What knows TTLs of fields, which Valkey 9.1 reads in its own form only.
    pub const WITH_FIELD_TTLS: Self = Self::ByRedis(12);

    /// What Redis 7.0 reads too. It does not say when consumers of streams were active.
    pub const FOR_REDIS_7_0: Self = Self::ByRedis(10);

    /// What Valkey reads and nobody else, TTLs of fields as well.
    pub const FOR_VALKEY: Self = Self::ByValkey(80);

    /// Reads the head of a file. `Corrupt` if it is none, or of a version that is not known: what
    /// Redis 8.2 and Valkey 9.1 do not write either.
    pub fn of_head(head: &[u8; HEAD_LEN]) -> Result<Self> {
        let number = |digits: &[u8]| {
            let text = std::str::from_utf8(digits).ok();
            text.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
                .and_then(|text| text.parse().ok())
                .ok_or(Flaw::Corrupt)
        };
        let made = match head {
            [b'R', b'E', b'D', b'I', b'S', digits @ ..] => Self::ByRedis(number(digits)?),
            [b'V', b'A', b'L', b'K', b'E', b'Y', digits @ ..] => Self::ByValkey(number(digits)?),
            _ => return Err(Flaw::Corrupt),
        };
        match made {
            Self::ByRedis(1..=12) | Self::FOR_VALKEY => Ok(made),
            _ => Err(Flaw::Corrupt),
        }
    }

    /// Whether a checksum stands behind the end.
    pub fn has_checksum(self) -> bool {
        !matches!(self, Self::ByRedis(..5))
    }

    /// A kind of value that means something else in the other's files.
    fn knows(self, kind: u8) -> bool {
        kind != kind::HASH_2 || matches!(self, Self::ByValkey(_))
    }
}

/// Reads the next record of a file. What is about the key alone (its TTL, its use) comes with it.
///
/// # Errors
/// `Short` if the bytes end before the record does; `Foreign` for what cannot be read past;
/// `Corrupt` for anything else that no server writes.
pub fn next_record<'a>(
    reader: &mut RdbReader<'a>,
    made: Made,
    limits: &Limits,
) -> Result<Record<'a>> {
    let (mut expires_ms, mut idle_s, mut frequency) = (None, None, None);
    let mut ahead = *reader;
    let record = loop {
        match ahead.byte()? {
            opcode::EXPIRES_S => {
                expires_ms = Some(i64::from(i32::from_le_bytes(ahead.array()?)) * 1000);
            }
            opcode::EXPIRES_MS => expires_ms = Some(i64::from_le_bytes(ahead.array()?)),
            opcode::IDLE => idle_s = Some(ahead.number()?),
            opcode::FREQUENCY => frequency = Some(ahead.byte()?),
            // None of that belongs to anything but a key.
            243.. if expires_ms.is_some() || idle_s.is_some() || frequency.is_some() => {
                return Err(Flaw::Corrupt);
            }
            code @ 243.. => break beside_keys(code, &mut ahead)?,
            opcode::MODULE_BEFORE_4_0 => return Err(Flaw::Foreign(opcode::MODULE_BEFORE_4_0)),
            kind if !made.knows(kind) => return Err(Flaw::Foreign(kind)),
            kind => {
                let key = ahead.text()?;
                if kind == opcode::MODULE {
                    let module = module_name(ahead.number()?);
                    skip_module(&mut ahead)?;
                    break Record::Foreign { key: Some(key), module };
                }
                break match load(kind, &mut ahead, limits) {
                    Ok(value) => {
                        Record::Key(KeyRecord { key, value, expires_ms, idle_s, frequency })
                    }
                    Err(Flaw::Empty) => Record::Empty,
                    Err(flaw) => return Err(flaw),
                };
            }
        }
    };
    *reader = ahead;
    Ok(record)
}

/// What is no key, behind its code.
fn beside_keys<'a>(code: u8, reader: &mut RdbReader<'a>) -> Result<Record<'a>> {
    Ok(match code {
        opcode::AUX => Record::Aux(reader.text()?, reader.text()?),
        opcode::LIBRARY => Record::Library(reader.text()?),
        opcode::DATABASE => Record::Database(reader.number()?),
        opcode::SIZES | opcode::SLOT_INFO => {
            let numbers = if code == opcode::SIZES { 2 } else { 3 };
            for _ in 0..numbers {
                reader.number()?;
            }
            Record::Hint
        }
        opcode::MODULE_AUX => {
            let module = module_name(reader.number()?);
            // When it was written, as a number behind its opcode.
            reader.number()?;
            reader.number()?;
            skip_module(reader)?;
            Record::Foreign { key: None, module }
        }
        opcode::END => Record::End,
        // A cluster's slot that is about to move, and functions before they were released.
        _ => return Err(Flaw::Foreign(code)),
    })
}

/// A module's name is nine letters of six bits each; the ten bits below are its version.
fn module_name(id: u64) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let letter = |at: u32| char::from(LETTERS[(id >> (10 + 6 * at) & 0x3f) as usize]);
    (0..9).rev().map(letter).collect()
}

/// Reads past what a module wrote, which says itself of what kind its parts are.
fn skip_module(reader: &mut RdbReader) -> Result<()> {
    loop {
        match reader.number()? {
            0 => return Ok(()),
            1 | 2 => _ = reader.number()?,
            3 => _ = reader.take(4)?,
            4 => _ = reader.take(8)?,
            5 => _ = reader.text()?,
            _ => return Err(Flaw::Corrupt),
        }
    }
}

/// What stands around keys and values, appended.
impl RdbWriter {
    /// The head of a file. What follows is written as those read it who wrote such files first.
    pub fn head(&mut self, made: Made) {
        self.made = made;
        let head = match made {
            Made::ByRedis(version) => format!("REDIS{version:04}"),
            Made::ByValkey(version) => format!("VALKEY{version:03}"),
        };
        self.raw(head.as_bytes());
    }

    /// Something about the file that readers know by this name, or read past.
    pub fn aux(&mut self, name: &str, value: &str) {
        self.raw(&[opcode::AUX]);
        self.text(name.as_bytes());
        self.text(value.as_bytes());
    }

    /// A library of functions.
    pub fn library(&mut self, source: &[u8]) {
        self.raw(&[opcode::LIBRARY]);
        self.text(source);
    }

    /// The keys that follow are of this database, which had so many, so many of them with a TTL.
    pub fn database(&mut self, number: usize, keys: usize, expiring: usize) {
        self.raw(&[opcode::DATABASE]);
        self.count(number);
        self.raw(&[opcode::SIZES]);
        self.count(keys);
        self.count(expiring);
    }

    /// The keys that follow are of this database, which was begun before.
    pub fn again(&mut self, number: usize) {
        self.raw(&[opcode::DATABASE]);
        self.count(number);
    }

    /// A key with its value, which is not one at rest.
    pub fn key(&mut self, key: &[u8], value: &Value, expires_ms: Option<i64>, limits: &Limits) {
        self.expiry(expires_ms);
        let kind = kind_in(self.made, kind_of(value));
        self.raw(&[kind]);
        self.text(key);
        save(kind, value, limits, self);
    }

    /// The last millisecond at which the key that follows exists, if it has a TTL.
    pub(super) fn expiry(&mut self, expires_ms: Option<i64>) {
        if let Some(at_ms) = expires_ms {
            self.raw(&[opcode::EXPIRES_MS]);
            self.raw(&at_ms.to_le_bytes());
        }
    }

    /// Ends a file; the checksum is to follow.
    pub fn end(&mut self) {
        self.raw(&[opcode::END]);
    }
}
