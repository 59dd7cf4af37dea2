//! Values as Redis's RDB bytes, and back: what DUMP answers and RESTORE takes, and what a file or a
//! replica will get.
//!
//! A value is a byte that names its kind (`kind`) and what that kind says follows. Strings may be
//! numbers or compressed (`reader.rs`, `writer.rs`); small collections are one string that holds a
//! listpack (`listpack.rs`) or, in old dumps, something older (`old.rs`). Each kind of value has
//! several forms: all that any server from Redis 2.4 to 8.2 or Valkey 9.1 writes are read
//! (`load.rs`). Written is the form that most of them read (`save.rs`).
//!
//! Whoever sends bytes to be read may be hostile. So each is looked at: a count is no more than
//! there are bytes, texts do not grow but by decompression, nothing recurs, and what a server
//! would not have written is `Corrupt`: duplicates, numbers out of order, texts for numbers.
//! `Short` tells bytes that end too soon from those that are wrong: of a file, more may come.

mod crc;
mod file;
mod libraries;
mod listpack;
mod load;
mod lzf;
mod old;
mod payload;
mod pieces;
mod reader;
mod save;
mod streams;
mod writer;

pub use crc::crc64;
pub use file::{
    CHECKSUM_LEN, HEAD_LEN, HISTORY, HISTORY_OFFSET, KeyRecord, Made, Record, STREAM_DB,
    next_record,
};
pub use libraries::{dump_libraries, restore_libraries};
pub use payload::{dump, dump_as, restore};
pub use pieces::Pieces;
pub use reader::RdbReader;
pub use writer::RdbWriter;

/// Why bytes are no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// They end before the value does.
    Short,
    /// No server writes such bytes.
    Corrupt,
    /// A collection of nothing, which has no key.
    Empty,
    /// A value that there is none of here, of this kind: a module's.
    Foreign(u8),
    /// The payload is not one: too short, of another version, or with another checksum.
    Unsealed,
}

pub(crate) type Result<T, E = Flaw> = std::result::Result<T, E>;

/// The kinds of values, by the byte that stands in front.
mod kind {
    pub const STRING: u8 = 0;
    pub const LIST: u8 = 1;
    pub const SET: u8 = 2;
    /// Scores are texts.
    pub const ZSET: u8 = 3;
    pub const HASH: u8 = 4;
    /// Scores are doubles.
    pub const ZSET_2: u8 = 5;
    pub const HASH_ZIPMAP: u8 = 9;
    pub const LIST_ZIPLIST: u8 = 10;
    pub const SET_INTSET: u8 = 11;
    pub const ZSET_ZIPLIST: u8 = 12;
    pub const HASH_ZIPLIST: u8 = 13;
    /// Of ziplists.
    pub const LIST_QUICKLIST: u8 = 14;
    pub const STREAM_LISTPACKS: u8 = 15;
    pub const HASH_LISTPACK: u8 = 16;
    pub const ZSET_LISTPACK: u8 = 17;
    /// Of listpacks and of single elements.
    pub const LIST_QUICKLIST_2: u8 = 18;
    pub const STREAM_LISTPACKS_2: u8 = 19;
    pub const SET_LISTPACK: u8 = 20;
    pub const STREAM_LISTPACKS_3: u8 = 21;
    /// Valkey's hash with TTLs of fields. Before 7.4 was released, Redis meant something else.
    pub const HASH_2: u8 = 22;
    pub const HASH_METADATA: u8 = 24;
    pub const HASH_LISTPACK_EX: u8 = 25;
}

/// A number of up to eight bytes, the lowest first and the highest with the sign.
fn integer_of(bytes: &[u8]) -> i64 {
    let is_negative = bytes.last().is_some_and(|byte| *byte >= 0x80);
    let mut wide = [if is_negative { 0xff } else { 0 }; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    i64::from_le_bytes(wide)
}
