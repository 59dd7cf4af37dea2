//! Values as RDB. Of the forms that a value can have, the one is written that most servers read.

use crate::config::Limits;
use crate::data::hash::PairExpiry;
use crate::data::list::{NodeFill, NodePlace};
use crate::data::{Hash, List, Set, Str, Value, Zset};
use crate::util::number;

use super::RdbWriter;
use super::kind;
use super::listpack::ListpackWriter;
use super::streams::save_stream;

/// The least version of RDB that knows a kind: that of Redis 7.0 unless the kind came later.
pub(super) fn version_of(kind: u8) -> u16 {
    match kind {
        kind::SET_LISTPACK | kind::STREAM_LISTPACKS_3 => 11,
        kind::HASH_METADATA | kind::HASH_LISTPACK_EX => 12,
        _ => 10,
    }
}

/// Appends a value, its kind in front. What lists are cut into, and nothing else, depends on the
/// limits.
///
/// # Panics
/// If the value is one at rest.
pub fn save(value: &Value, limits: &Limits, writer: &mut RdbWriter) {
    match value {
        Value::Str(it) => save_string(it, writer),
        Value::List(it) => save_list(it, limits, writer),
        Value::Hash(it) => save_hash(it, writer),
        Value::Set(it) => save_set(it, writer),
        Value::Zset(it) => save_zset(it, writer),
        Value::Stream(it) => save_stream(it, writer),
        Value::Cold(_) => unreachable!("what is read does not rest"),
    }
}

fn save_string(string: &Str, writer: &mut RdbWriter) {
    writer.raw(&[kind::STRING]);
    writer.text(&string.bytes());
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
    writer.raw(&[kind::LIST_QUICKLIST_2]);
    writer.count(count);
    writer.raw(&nodes.into_bytes());
}

fn save_hash(hash: &Hash, writer: &mut RdbWriter) {
    if let Some(earliest_ms) = hash.earliest_ms() {
        return save_timed(hash, earliest_ms, writer);
    }
    if !hash.is_hashtable() {
        let mut packed = ListpackWriter::new();
        for (field, value) in hash.iter() {
            packed.push(&field);
            packed.push(&value);
        }
        return save_packed(kind::HASH_LISTPACK, packed, writer);
    }
    writer.raw(&[kind::HASH]);
    writer.count(hash.len());
    for (field, value) in hash.iter() {
        writer.text(&field);
        writer.text(&value);
    }
}

/// A hash of which a field has a TTL: Redis 7.4 reads it, and what came later but Valkey.
fn save_timed(hash: &Hash, earliest_ms: i64, writer: &mut RdbWriter) {
    let pairs = hash.iter_with_expiry();
    if hash.is_hashtable() {
        writer.raw(&[kind::HASH_METADATA]);
        writer.raw(&earliest_ms.to_le_bytes());
        let pairs: Vec<PairExpiry> = pairs.collect();
        writer.count(pairs.len());
        for PairExpiry { field, value, expires_ms } in pairs {
            // Counted from the earliest, which is 1.
            writer.number(expires_ms.map_or(0, |at_ms| (at_ms - earliest_ms) as u64 + 1));
            writer.text(&field);
            writer.text(&value);
        }
        return;
    }
    // Redis relies on their order: who has none stands behind.
    let mut pairs: Vec<PairExpiry> = pairs.collect();
    pairs.sort_by_key(|pair| pair.expires_ms.unwrap_or(i64::MAX));
    let mut packed = ListpackWriter::new();
    for PairExpiry { field, value, expires_ms } in pairs {
        packed.push(&field);
        packed.push(&value);
        packed.push_integer(expires_ms.unwrap_or(0));
    }
    writer.raw(&[kind::HASH_LISTPACK_EX]);
    writer.raw(&earliest_ms.to_le_bytes());
    writer.text(&packed.finish());
}

/// A set of a few texts is written as a large one, since Redis 7.0 knows no listpacks of them, and
/// those who do make one of it. Only if all members are integers they would not.
fn save_set(set: &Set, writer: &mut RdbWriter) {
    let integers = || set.iter().map(|member| number::parse_i64(&member));
    match set.encoding() {
        "intset" => {
            writer.raw(&[kind::SET_INTSET]);
            writer.text(&intset_of(integers().flatten().collect()));
        }
        "listpack" if integers().all(|it| it.is_some()) => {
            let mut packed = ListpackWriter::new();
            set.iter().for_each(|member| packed.push(&member));
            save_packed(kind::SET_LISTPACK, packed, writer);
        }
        _ => {
            writer.raw(&[kind::SET]);
            writer.count(set.len());
            set.iter().for_each(|member| writer.text(&member));
        }
    }
}

/// Bytes of each number, how many there are, and the numbers in ascending order; all of them with
/// the lowest byte first.
fn intset_of(mut integers: Vec<i64>) -> Vec<u8> {
    integers.sort_unstable();
    let fits = |bits: u32| integers.iter().all(|it| it << (64 - bits) >> (64 - bits) == *it);
    let width = [16, 32].into_iter().find(|bits| fits(*bits)).unwrap_or(64) / 8;
    let mut bytes = Vec::with_capacity(8 + integers.len() * width as usize);
    bytes.extend(width.to_le_bytes());
    bytes.extend((integers.len() as u32).to_le_bytes());
    for integer in integers {
        bytes.extend_from_slice(&integer.to_le_bytes()[..width as usize]);
    }
    bytes
}

fn save_zset(zset: &Zset, writer: &mut RdbWriter) {
    if zset.is_compact() {
        let mut packed = ListpackWriter::new();
        for (member, score) in zset.iter() {
            packed.push(&member);
            packed.push(&number::format_double(score));
        }
        return save_packed(kind::ZSET_LISTPACK, packed, writer);
    }
    writer.raw(&[kind::ZSET_2]);
    writer.count(zset.len());
    // From the end, so that who reads them puts each in front of a skiplist.
    for (member, score) in zset.iter().rev() {
        writer.text(&member);
        writer.raw(&score.to_le_bytes());
    }
}

fn save_packed(kind: u8, packed: ListpackWriter, writer: &mut RdbWriter) {
    writer.raw(&[kind]);
    writer.text(&packed.finish());
}
