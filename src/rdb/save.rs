//! Values as RDB. Of the forms that a value can have, the one is written that most servers read.

use crate::config::Limits;
use crate::data::hash::PairExpiry;
use crate::data::list::{NodeFill, NodePlace};
use crate::data::{Hash, List, Set, Value, Zset};
use crate::util::number;

use super::kind;
use super::listpack::ListpackWriter;
use super::streams::{kind_of_stream, save_stream};
use super::{Made, RdbWriter};

/// The least version of RDB that knows a kind: that of Redis 7.0 unless the kind came later.
pub(super) fn version_of(kind: u8) -> u16 {
    match kind {
        kind::SET_LISTPACK | kind::STREAM_LISTPACKS_3 => 11,
        kind::HASH_METADATA | kind::HASH_LISTPACK_EX => 12,
        _ => 10,
    }
}

/// The kind in which a file of this format has what is written as a kind elsewhere.
///
/// Of version 10 nothing asks for TTLs of fields: a snapshot of a keyspace that has them is of
/// another.
pub(super) fn kind_in(made: Made, kind: u8) -> u8 {
    match (made, kind) {
        (Made::ByValkey(_), kind::HASH_LISTPACK_EX | kind::HASH_METADATA) => kind::HASH_2,
        (Made::FOR_REDIS_7_0, kind::SET_LISTPACK) => kind::SET,
        (Made::FOR_REDIS_7_0, kind::STREAM_LISTPACKS_3) => kind::STREAM_LISTPACKS_2,
        _ => kind,
    }
}

/// The kind that a value is written as.
///
/// A set of a few texts is written as a large one, since Redis 7.0 knows no listpacks of them, and
/// those who do make one of it. Only if all members are integers they would not.
///
/// # Panics
/// If the value is one at rest.
pub(super) fn kind_of(value: &Value) -> u8 {
    match value {
        Value::Str(_) => kind::STRING,
        Value::List(_) => kind::LIST_QUICKLIST_2,
        Value::Hash(it) => match (it.earliest_ms().is_some(), it.is_hashtable()) {
            (false, false) => kind::HASH_LISTPACK,
            (false, true) => kind::HASH,
            (true, false) => kind::HASH_LISTPACK_EX,
            (true, true) => kind::HASH_METADATA,
        },
        Value::Set(it) => match it.encoding() {
            "intset" => kind::SET_INTSET,
            "listpack" if it.iter().all(|it| number::parse_i64(&it).is_some()) => {
                kind::SET_LISTPACK
            }
            _ => kind::SET,
        },
        Value::Zset(it) if it.is_compact() => kind::ZSET_LISTPACK,
        Value::Zset(_) => kind::ZSET_2,
        Value::Stream(it) => kind_of_stream(it),
        Value::Cold(_) => unreachable!("what is written does not rest"),
    }
}

/// Appends a value without its kind, which stands in front. What lists are cut into, and nothing
/// else, depends on the limits.
///
/// # Panics
/// If the value is one at rest.
pub(super) fn save(kind: u8, value: &Value, limits: &Limits, writer: &mut RdbWriter) {
    match value {
        Value::Str(it) => writer.text(&it.bytes()),
        Value::List(it) => save_list(it, limits, writer),
        Value::Hash(it) => match kind {
            kind::HASH_LISTPACK => save_pairs(it, writer),
            kind::HASH_LISTPACK_EX => save_timed_pairs(it, writer),
            _ => save_fields(kind, it, writer),
        },
        Value::Set(it) => match kind {
            kind::SET_INTSET => save_integers(it, writer),
            kind::SET_LISTPACK => {
                let mut packed = ListpackWriter::new();
                it.iter().for_each(|member| packed.push(&member));
                writer.text(&packed.finish());
            }
            _ => {
                writer.count(it.len());
                it.iter().for_each(|member| writer.text(&member));
            }
        },
        Value::Zset(it) if kind == kind::ZSET_LISTPACK => save_scores(it, writer),
        Value::Zset(it) => save_zset(it, writer),
        Value::Stream(it) => save_stream(kind, it, writer),
        Value::Cold(_) => unreachable!("what is written does not rest"),
    }
}

/// How a quicklist's node says what it is.
pub(super) const PLAIN: u64 = 1;
pub(super) const PACKED: u64 = 2;

fn save_list(list: &List, limits: &Limits, writer: &mut RdbWriter) {
    let (mut nodes, mut count) = (writer.beside(), 0);
    let close = |packed: &mut ListpackWriter, nodes: &mut RdbWriter| {
        let packed = std::mem::replace(packed, ListpackWriter::new());
        if !packed.is_empty() {
            nodes.number(PACKED);
            nodes.text(&packed.finish());
        }
    };
    let (mut packed, mut fill) = (ListpackWriter::new(), NodeFill::default());
    for element in list.iter() {
        let place = fill.place(&element, limits);
        if place != NodePlace::Next {
            close(&mut packed, &mut nodes);
            count += 1;
        }
        if place == NodePlace::Alone {
            nodes.number(PLAIN);
            nodes.text(&element);
        } else {
            packed.push(&element);
        }
    }
    close(&mut packed, &mut nodes);
    writer.count(count);
    writer.raw(&nodes.into_bytes());
}

fn save_pairs(hash: &Hash, writer: &mut RdbWriter) {
    let mut packed = ListpackWriter::new();
    for (field, value) in hash.iter() {
        packed.push(&field);
        packed.push(&value);
    }
    writer.text(&packed.finish());
}

/// The earliest deadline of a hash of which a field has a TTL: Redis 7.4 reads it, and what came
/// later but Valkey.
fn save_earliest(hash: &Hash, writer: &mut RdbWriter) -> i64 {
    let earliest_ms = hash.earliest_ms().expect("a field has a TTL");
    writer.raw(&earliest_ms.to_le_bytes());
    earliest_ms
}

/// The fields of a hash of many, with their deadlines where the kind has them.
fn save_fields(kind: u8, hash: &Hash, writer: &mut RdbWriter) {
    let earliest_ms = match kind {
        kind::HASH_METADATA => save_earliest(hash, writer),
        _ => 0,
    };
    writer.count(hash.len_with_hidden());
    hash.iter_with_expiry().for_each(|pair| save_field(kind, &pair, earliest_ms, writer));
}

pub(super) fn save_field(
    kind: u8,
    PairExpiry { field, value, expires_ms }: &PairExpiry,
    earliest_ms: i64,
    writer: &mut RdbWriter,
) {
    if kind == kind::HASH_METADATA {
        // Counted from the earliest, which is 1.
        writer.number(expires_ms.map_or(0, |at_ms| (at_ms - earliest_ms) as u64 + 1));
    }
    writer.text(field);
    writer.text(value);
    if kind == kind::HASH_2 {
        writer.raw(&expires_ms.unwrap_or(-1).to_le_bytes());
    }
}

/// Redis relies on their order: who has no deadline stands behind.
fn save_timed_pairs(hash: &Hash, writer: &mut RdbWriter) {
    save_earliest(hash, writer);
    let mut pairs: Vec<PairExpiry> = hash.iter_with_expiry().collect();
    pairs.sort_by_key(|pair| pair.expires_ms.unwrap_or(i64::MAX));
    let mut packed = ListpackWriter::new();
    for PairExpiry { field, value, expires_ms } in pairs {
        packed.push(&field);
        packed.push(&value);
        packed.push_integer(expires_ms.unwrap_or(0));
    }
    writer.text(&packed.finish());
}

/// Bytes of each number, how many there are, and the numbers in ascending order; all of them with
/// the lowest byte first.
fn save_integers(set: &Set, writer: &mut RdbWriter) {
    let mut integers: Vec<i64> = set.iter().flat_map(|it| number::parse_i64(&it)).collect();
    integers.sort_unstable();
    let fits = |bits: u32| integers.iter().all(|it| it << (64 - bits) >> (64 - bits) == *it);
    let width = [16, 32].into_iter().find(|bits| fits(*bits)).unwrap_or(64) / 8;
    let mut bytes = Vec::with_capacity(8 + integers.len() * width as usize);
    bytes.extend(width.to_le_bytes());
    bytes.extend((integers.len() as u32).to_le_bytes());
    for integer in integers {
        bytes.extend_from_slice(&integer.to_le_bytes()[..width as usize]);
    }
    writer.text(&bytes);
}

fn save_scores(zset: &Zset, writer: &mut RdbWriter) {
    let mut packed = ListpackWriter::new();
    for (member, score) in zset.iter() {
        packed.push(&member);
        packed.push(&number::format_double(score));
    }
    writer.text(&packed.finish());
}

/// From the end, so that who reads them puts each in front of a skiplist.
fn save_zset(zset: &Zset, writer: &mut RdbWriter) {
    writer.count(zset.len());
    for (member, score) in zset.iter().rev() {
        writer.text(&member);
        writer.raw(&score.to_le_bytes());
    }
}
