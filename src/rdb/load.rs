//! Values from RDB.

use std::ops::Deref;

use crate::config::Limits;
use crate::data::hash::EXPIRES_MS_MAX;
use crate::data::item::Item;
use crate::data::zset::Inserted;
use crate::data::{Hash, List, Set, Str, Typed, Value, Zset};
use crate::util::number;

use super::reader::Text;
use super::save::{PACKED, PLAIN};
use super::streams::load_stream;
use super::{Flaw, RdbReader, Result};
use super::{kind, listpack, old};

/// Reads a value of a kind, which stood in front. It is as Redis would keep it under these limits.
///
/// # Errors
/// Whatever the bytes do not hold. How far they were read then, or what they cost, follows from how
/// many there are.
pub fn load(kind: u8, reader: &mut RdbReader, limits: &Limits) -> Result<Value> {
    Ok(match kind {
        kind::STRING => Str::of_bytes(&reader.text()?).wrap(),
        kind::LIST => list_of(reader.texts(1)?, limits)?,
        kind::LIST_ZIPLIST => {
            let mut list = List::new();
            push_all(&mut list, old::ziplist(&reader.text()?)?)?;
            list.unpack();
            finish(list, limits)?
        }
        kind::LIST_QUICKLIST | kind::LIST_QUICKLIST_2 => quicklist(kind, reader, limits)?,
        kind::SET => {
            let mut ahead = *reader;
            let mut set = Set::new();
            if let len @ 1.. = ahead.count(1)? {
                set.expect(&ahead.text()?, len, limits);
            }
            set_of(set, reader.texts(1)?, limits)?
        }
        kind::SET_LISTPACK => {
            let mut set = Set::new();
            // As if a text had been the first.
            set.expect(b"", 1, limits);
            set_of(set, listpack::elements(&reader.text()?)?, limits)?
        }
        kind::SET_INTSET => set_of(Set::new(), old::intset(&reader.text()?)?, limits)?,
        kind::ZSET | kind::ZSET_2 => scored(kind, reader, limits)?,
        kind::ZSET_LISTPACK => zset_of(scores_of(listpack::elements(&reader.text()?)?)?, limits)?,
        kind::ZSET_ZIPLIST => zset_of(scores_of(old::ziplist(&reader.text()?)?)?, limits)?,
        kind::HASH => hash_of(reader.texts(2)?, limits)?,
        kind::HASH_LISTPACK => hash_of(listpack::elements(&reader.text()?)?, limits)?,
        kind::HASH_ZIPLIST => hash_of(old::ziplist(&reader.text()?)?, limits)?,
        kind::HASH_ZIPMAP => hash_of(old::zipmap(&reader.text()?)?, limits)?,
        kind::STREAM_LISTPACKS | kind::STREAM_LISTPACKS_2 | kind::STREAM_LISTPACKS_3 => {
            load_stream(kind, reader)?.wrap()
        }
        kind::HASH_2 => timed_hash_of(valkey_triples(reader)?, limits)?,
        kind::HASH_METADATA => timed_hash_of(triples(reader)?, limits)?,
        kind::HASH_LISTPACK_EX => {
            // Its earliest deadline is found again among all of them.
            reader.array::<8>()?;
            timed_hash_of(packed_triples(&reader.text()?)?, limits)?
        }
        _ => return Err(Flaw::Foreign(kind)),
    })
}

fn list_of<T: Deref<Target = [u8]>>(
    elements: impl Iterator<Item = Result<T>>,
    limits: &Limits,
) -> Result<Value> {
    let mut list = List::new();
    push_all(&mut list, elements)?;
    finish(list, limits)
}

fn push_all<T: Deref<Target = [u8]>>(
    list: &mut List,
    mut elements: impl Iterator<Item = Result<T>>,
) -> Result<()> {
    elements.try_for_each(|element| {
        list.push_back(&element?);
        Ok(())
    })
}

fn quicklist(kind: u8, reader: &mut RdbReader, limits: &Limits) -> Result<Value> {
    let mut list = List::new();
    let is_old = kind == kind::LIST_QUICKLIST;
    let mut nodes = 0;
    for _ in 0..reader.count(1)? {
        let len_before = list.len();
        let container = if is_old { None } else { Some(reader.number()?) };
        let node = reader.text()?;
        match container {
            None => push_all(&mut list, old::ziplist(&node)?)?,
            Some(PACKED) => push_all(&mut list, listpack::elements(&node)?)?,
            Some(PLAIN) => {
                list.push_back(&node);
                list.unpack();
            }
            Some(_) => return Err(Flaw::Corrupt),
        }
        nodes += usize::from(list.len() > len_before);
    }
    // Redis joins no nodes to see whether they would be one listpack.
    if nodes > 1 {
        list.unpack();
    }
    finish(list, limits)
}

fn finish(mut list: List, limits: &Limits) -> Result<Value> {
    list.settle(limits);
    if list.is_empty() { Err(Flaw::Empty) } else { Ok(list.wrap()) }
}

fn set_of<T: Deref<Target = [u8]>>(
    mut set: Set,
    members: impl Iterator<Item = Result<T>>,
    limits: &Limits,
) -> Result<Value> {
    for member in members {
        if !set.add(&member?, limits) {
            return Err(Flaw::Corrupt);
        }
    }
    if set.is_empty() { Err(Flaw::Empty) } else { Ok(set.wrap()) }
}

/// Pairs of what comes in turn. An odd one out is corrupt.
fn pairs_of<T>(texts: impl Iterator<Item = Result<T>>) -> Result<Vec<[T; 2]>> {
    let (mut pairs, mut first) = (Vec::new(), None);
    for text in texts {
        let text = text?;
        match first.take() {
            None => first = Some(text),
            Some(first) => pairs.push([first, text]),
        }
    }
    if first.is_some() { Err(Flaw::Corrupt) } else { Ok(pairs) }
}

fn hash_of<T: Deref<Target = [u8]>>(
    texts: impl Iterator<Item = Result<T>>,
    limits: &Limits,
) -> Result<Value> {
    let pairs = pairs_of(texts)?;
    let pairs: Vec<[&[u8]; 2]> = pairs.iter().map(|[field, value]| [&**field, &**value]).collect();
    let mut hash = Hash::new();
    if hash.set_all(&pairs, limits) != pairs.len() {
        return Err(Flaw::Corrupt);
    }
    if hash.is_empty() { Err(Flaw::Empty) } else { Ok(hash.wrap()) }
}

/// A field, its value, and the last millisecond at which it exists. Whether that has passed is not
/// asked: whoever gets the hash removes what is over.
type Triple<T> = (T, T, Option<i64>);

fn timed_hash_of<T: Deref<Target = [u8]>>(
    triples: Vec<Triple<T>>,
    limits: &Limits,
) -> Result<Value> {
    let mut hash = Hash::new();
    for (field, value, _) in &triples {
        if !hash.set(field, value, limits) {
            return Err(Flaw::Corrupt);
        }
    }
    for (field, _, expires_ms) in &triples {
        match *expires_ms {
            None => {}
            // Valkey knows moments that Redis does not, among them 0, which is no moment in Redis's
            // files. Nobody will see the difference.
            Some(at_ms @ 0..) => {
                hash.set_expiry(field, Some(at_ms.clamp(1, EXPIRES_MS_MAX)));
            }
            Some(_) => return Err(Flaw::Corrupt),
        }
    }
    if hash.is_empty() { Err(Flaw::Empty) } else { Ok(hash.wrap()) }
}

/// Each deadline counts from the earliest, which is 1, and 0 is none; so is the moment 0.
fn triples<'a>(reader: &mut RdbReader<'a>) -> Result<Vec<Triple<Text<'a>>>> {
    let earliest_ms = i64::from_le_bytes(reader.array()?);
    let mut triples = Vec::new();
    for _ in 0..reader.count(3)? {
        let behind = i64::try_from(reader.number()?).map_err(|_| Flaw::Corrupt)?;
        let expires_ms = match behind {
            0 => None,
            _ => Some(earliest_ms.checked_add(behind - 1).ok_or(Flaw::Corrupt)?),
        };
        let expires_ms = expires_ms.filter(|at_ms| *at_ms != 0);
        triples.push((reader.text()?, reader.text()?, expires_ms));
    }
    Ok(triples)
}

/// Behind each pair a deadline, -1 if there is none.
fn valkey_triples<'a>(reader: &mut RdbReader<'a>) -> Result<Vec<Triple<Text<'a>>>> {
    let mut triples = Vec::new();
    for _ in 0..reader.count(2 + size_of::<i64>())? {
        let (field, value) = (reader.text()?, reader.text()?);
        let at_ms = i64::from_le_bytes(reader.array()?);
        triples.push((field, value, (at_ms != -1).then_some(at_ms)));
    }
    Ok(triples)
}

/// Behind each pair a deadline, 0 if there is none.
fn packed_triples(packed: &[u8]) -> Result<Vec<Triple<Item<'_>>>> {
    let all = listpack::elements(packed)?.collect::<Result<Vec<Item>>>()?;
    let (triples, []) = all.as_chunks::<3>() else { return Err(Flaw::Corrupt) };
    let mut found = Vec::with_capacity(triples.len());
    for [field, value, at_ms] in triples {
        let at_ms = number::parse_i64(at_ms).ok_or(Flaw::Corrupt)?;
        found.push((*field, *value, (at_ms != 0).then_some(at_ms)));
    }
    Ok(found)
}

/// Members and scores in turn, the scores as texts.
fn scores_of<T: Deref<Target = [u8]>>(
    texts: impl Iterator<Item = Result<T>>,
) -> Result<Vec<(T, f64)>> {
    let pairs = pairs_of(texts)?.into_iter();
    let scored =
        pairs.map(|[member, score]| Ok((member, number::parse_f64(&score).ok_or(Flaw::Corrupt)?)));
    scored.collect()
}

fn scored(kind: u8, reader: &mut RdbReader, limits: &Limits) -> Result<Value> {
    let mut members = Vec::new();
    for _ in 0..reader.count(2)? {
        let member = reader.text()?;
        let score = match kind {
            kind::ZSET => old_score(reader)?,
            _ => f64::from_le_bytes(reader.array()?),
        };
        members.push((member, score));
    }
    zset_of::<Text>(members, limits)
}

/// A text behind its length in a byte, or one of three that have none.
fn old_score(reader: &mut RdbReader) -> Result<f64> {
    match reader.byte()? {
        253 => Ok(f64::NAN),
        254 => Ok(f64::INFINITY),
        255 => Ok(f64::NEG_INFINITY),
        len => number::parse_f64(reader.take(len.into())?).ok_or(Flaw::Corrupt),
    }
}

fn zset_of<T: Deref<Target = [u8]>>(members: Vec<(T, f64)>, limits: &Limits) -> Result<Value> {
    let mut zset = Zset::new();
    let longest = members.iter().map(|(member, _)| member.len()).max().ok_or(Flaw::Empty)?;
    zset.expect(members.len(), longest, limits);
    for (member, score) in members {
        if score.is_nan() || zset.insert(&member, score, limits) != Inserted::Added {
            return Err(Flaw::Corrupt);
        }
    }
    Ok(zset.wrap())
}
