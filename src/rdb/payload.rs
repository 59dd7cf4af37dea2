//! What DUMP answers: a value, the version of RDB that it is written in, and a checksum.

use crate::config::Limits;
use crate::data::Value;

use super::load::load;
use super::save::{kind_in, kind_of, save, version_of};
use super::{Flaw, Made, RdbReader, RdbWriter, Result, crc64};

/// A value as DUMP answers it. The version is the least that knows its form: Redis 7.0 takes up to
/// 10, 7.4 up to 12, Valkey 9.1 up to 11. The value is not one at rest.
pub fn dump(value: &Value, limits: &Limits, compresses: bool) -> Vec<u8> {
    dump_as(Made::WITH_FIELD_TTLS, value, limits, compresses)
}

/// As `dump`, in a form that a file of this format may have.
pub fn dump_as(made: Made, value: &Value, limits: &Limits, compresses: bool) -> Vec<u8> {
    let mut writer = RdbWriter::new(compresses);
    let kind = kind_in(made, kind_of(value));
    writer.raw(&[kind]);
    save(kind, value, limits, &mut writer);
    let (bytes, version) = (writer.into_bytes(), version_of(kind));
    seal(bytes, version)
}

/// Appends version and checksum.
pub(super) fn seal(mut bytes: Vec<u8>, version: u16) -> Vec<u8> {
    bytes.extend(version.to_le_bytes());
    bytes.extend(crc64(0, &bytes).to_le_bytes());
    bytes
}

/// What stands before version and checksum; `Unsealed` if one of them is wrong.
pub(super) fn unsealed(payload: &[u8]) -> Result<&[u8]> {
    let (sealed, checksum) = payload.split_last_chunk::<8>().ok_or(Flaw::Unsealed)?;
    let (inner, version) = sealed.split_last_chunk::<2>().ok_or(Flaw::Unsealed)?;
    let version = u16::from_le_bytes(*version);
    if !is_known(version) || u64::from_le_bytes(*checksum) != crc64(0, sealed) {
        return Err(Flaw::Unsealed);
    }
    Ok(inner)
}

/// Versions of RDB: Redis 8.2 writes the twelfth, Valkey 9.1 counts from 80.
fn is_known(version: u16) -> bool {
    matches!(version, 1..=12 | 80)
}

/// The value of a payload that some server's DUMP answered. Bytes behind the value are ignored, as
/// in Redis.
///
/// # Errors
/// `Unsealed` if version or checksum are wrong, else what is wrong with the value.
pub fn restore(payload: &[u8], limits: &Limits) -> Result<Value> {
    load_with_kind(unsealed(payload)?, limits)
}

/// A value behind its kind.
fn load_with_kind(bytes: &[u8], limits: &Limits) -> Result<Value> {
    let mut reader = RdbReader::new(bytes);
    let kind = reader.byte()?;
    load(kind, &mut reader, limits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::stream::{Pending, StreamId};
    use crate::data::{Hash, List, Set, Str, Stream, Typed, Zset};
    use crate::rdb::kind;
    use crate::util::rng::Rng;

    fn text(rng: &mut Rng) -> Vec<u8> {
        let kinds = if rng.below(50) == 0 { 5 } else { 4 };
        let len_end = [1, 8, 30, 100, 9_000][rng.below(kinds)];
        let len = rng.below(len_end);
        match rng.below(3) {
            0 => (rng.next_u64().cast_signed() >> rng.below(64)).to_string().into_bytes(),
            1 => (0..len).map(|_| rng.next_u64() as u8).collect(),
            _ => (0..len).map(|_| b"12-.ab"[rng.below(6)]).collect(),
        }
    }

    fn random_stream(rng: &mut Rng, limits: &Limits) -> Stream {
        let mut stream = Stream::new();
        for at in 1..rng.below(300) as u64 {
            let id = StreamId::new(at / 3, at);
            let names = [text(rng), b"name".to_vec()];
            let name = &names[usize::from(rng.below(4) > 0)];
            let (first, second) = (text(rng), text(rng));
            let fields: [&[u8]; 4] = [name, &first, b"other", &second];
            stream.append(id, &fields[..2 + 2 * rng.below(2)], limits);
            if rng.below(4) == 0 {
                stream.delete(StreamId::new((at / 2) / 3, at / 2));
            }
        }
        let (_, groups) = stream.parts_mut();
        for name in [&b"12"[..], b"group"].into_iter().take(rng.below(3)) {
            groups.add(name, StreamId::new(rng.next_u64(), 3), [None, Some(7)][rng.below(2)]);
            let group = groups.get_mut(name).expect("it was added");
            for name in [&b"consumer"[..], b"7", b""].into_iter().take(rng.below(4)) {
                let consumer = group.add_consumer(name, rng.below(1 << 40) as i64);
                group.of_mut(consumer).active_ms = [None, Some(5)][rng.below(2)];
                for _ in 0..rng.below(200) {
                    let id = StreamId::new(rng.below(60) as u64, rng.below(4) as u64);
                    let (delivered_ms, count) = (rng.below(1 << 40) as i64, rng.next_u64());
                    group.assign(id, Pending { consumer, delivered_ms, count });
                }
            }
        }
        stream
    }

    fn random_value(rng: &mut Rng, limits: &Limits) -> Value {
        let count_max = [3, 150, 700][rng.below(3)];
        let count = 1 + rng.below(count_max);
        match rng.below(6) {
            0 => Str::of_bytes(&text(rng)).wrap(),
            1 => {
                let mut list = List::new();
                (0..count).for_each(|_| list.push_back(&text(rng)));
                list.settle(limits);
                list.wrap()
            }
            2 => {
                let mut set = Set::new();
                let are_integers = rng.below(2) == 0;
                for at in 0..count {
                    let member =
                        if are_integers { (at * at).to_string().into() } else { text(rng) };
                    set.add(&member, limits);
                }
                set.wrap()
            }
            3 => {
                let mut hash = Hash::new();
                (0..count).for_each(|_| _ = hash.set(&text(rng), &text(rng), limits));
                hash.wrap()
            }
            4 => {
                let mut zset = Zset::new();
                for _ in 0..count {
                    let scores = [rng.next_f64(), f64::INFINITY, rng.below(9) as f64];
                    let score = scores[rng.below(3)];
                    zset.insert(&text(rng), score, limits);
                }
                zset.wrap()
            }
            _ => random_stream(rng, limits).wrap(),
        }
    }

    /// All that can be read of a value; of what has no order, in the order of its texts.
    fn contents(value: &Value) -> (&'static str, Vec<Vec<u8>>) {
        let mut texts: Vec<Vec<u8>> = match value {
            Value::Str(it) => vec![it.bytes().to_vec()],
            Value::List(it) => it.iter().map(|it| it.to_vec()).collect(),
            Value::Set(it) => it.iter().map(|it| it.to_vec()).collect(),
            Value::Hash(it) => it.iter().map(|(a, b)| [&*a, b"\0\0", &*b].concat()).collect(),
            Value::Zset(it) => {
                it.iter().map(|(a, b)| [&a[..], &b.to_le_bytes()].concat()).collect()
            }
            Value::Stream(it) => {
                let head = [it.last_id(), it.max_deleted_id()].map(|id| id.to_string().into());
                let counts = [it.entries_added(), it.node_count() as u64].map(|it| it.to_string());
                let entries = it.iter().map(|entry| {
                    format!("{} {:?}", entry.id, entry.fields().collect::<Vec<_>>()).into_bytes()
                });
                // In the order of names and ids; owners are called by number.
                let groups = it.groups().iter().map(|(name, group)| {
                    let pending = group.pending().iter();
                    let pending = pending.map(|(id, it)| (id, it.delivered_ms, it.count));
                    let consumers = group.consumers().map(|consumer| {
                        let own: Vec<StreamId> =
                            consumer.pending().iter().map(|(id, ())| id).collect();
                        (&consumer.name, consumer.seen_ms, consumer.active_ms, own)
                    });
                    let lists = (pending.collect::<Vec<_>>(), consumers.collect::<Vec<_>>());
                    format!("{name:?} {} {:?} {lists:?}", group.last_id, group.entries_read)
                });
                let texts = counts.into_iter().chain(groups).map(String::into_bytes);
                head.into_iter().chain(texts).chain(entries).collect()
            }
            Value::Cold(_) => unreachable!("nothing rests here"),
        };
        if matches!(value, Value::Set(_) | Value::Hash(_)) {
            texts.sort();
        }
        (value.type_name(), texts)
    }

    #[test]
    fn values_come_back() {
        let limits = Limits::default();
        for seed in 0..250 {
            let mut rng = Rng::from_seed(seed);
            let value = random_value(&mut rng, &limits);
            let payload = dump(&value, &limits, rng.below(2) == 0);
            let restored = restore(&payload, &limits).unwrap();
            assert_eq!(contents(&restored), contents(&value), "seed {seed}");
        }
    }

    /// Bytes of a value with the seal that they need.
    fn sealed(value: &[u8]) -> Vec<u8> {
        let mut bytes = [value, &10u16.to_le_bytes()].concat();
        bytes.extend(crc64(0, &bytes).to_le_bytes());
        bytes
    }

    #[test]
    fn broken_values_are_refused_or_sound() {
        let limits = Limits::default();
        for seed in 0..250 {
            let mut rng = Rng::from_seed(seed);
            let value = random_value(&mut rng, &limits);
            let payload = dump(&value, &limits, seed % 2 == 0);
            let mut bytes = payload[..payload.len() - 10].to_vec();
            let half = &bytes[..bytes.len() / 2];
            assert!(restore(&sealed(half), &limits).is_err(), "seed {seed}");
            for _ in 0..20 {
                let at = rng.below(bytes.len()).min(rng.below(60));
                let before = std::mem::replace(&mut bytes[at], rng.next_u64() as u8);
                if let Ok(odd) = restore(&sealed(&bytes), &limits) {
                    let again = restore(&dump(&odd, &limits, true), &limits).unwrap();
                    assert_eq!(contents(&again), contents(&odd), "seed {seed}");
                }
                if rng.below(4) > 0 {
                    bytes[at] = before;
                }
            }
        }
    }

    #[test]
    fn a_field_that_went_at_the_first_moment_of_all_stays_gone() {
        let limits = Limits::default();
        // A field that went at 0, which Valkey may write and Redis's files cannot tell from none.
        let of_valkey = [&[kind::HASH_2, 1, 1, b'f', 1, b'v'][..], &[0; 8]].concat();
        let value = restore(&sealed(&of_valkey), &limits).unwrap();
        let again = restore(&dump(&value, &limits, true), &limits).unwrap();
        assert_eq!(contents(&again), contents(&value));
        let Value::Hash(hash) = &value else { panic!("a hash") };
        assert_eq!(hash.expires_ms(b"f"), Some(Some(1)));
    }

    #[test]
    fn what_is_cut_is_short() {
        let limits = Limits::default();
        for seed in 0..60 {
            let value = random_value(&mut Rng::from_seed(seed), &limits);
            let payload = dump(&value, &limits, false);
            let bytes = &payload[..payload.len() - 10];
            for len in (0..bytes.len()).filter(|len| *len < 40 || len % 97 == 0) {
                let flaw = load_with_kind(&bytes[..len], &limits).unwrap_err();
                assert_eq!(flaw, Flaw::Short, "seed {seed} cut at {len}");
            }
        }
    }

    #[test]
    fn a_small_payload_makes_no_large_value() {
        let limits = Limits::default();
        // As many elements, nodes, entries as a length can say.
        let most = b"\x81\xff\xff\xff\xff\xff\xff\xff\xff";
        for kind in 0..=25 {
            let flaw = restore(&sealed(&[&[kind], &most[..]].concat()), &limits).unwrap_err();
            let is_right = matches!(flaw, Flaw::Short | Flaw::Foreign(_) | Flaw::Corrupt);
            assert!(is_right, "{kind}: {flaw:?}");
        }
    }
}
