//! Values as commands, piece by piece: those that are large, and those that the other server's
//! RESTORE does not take.
//!
//! What commands cannot say is lost: when a consumer of a stream was last seen.

use crate::data::hash::PairExpiry;
use crate::data::stream::StreamId;
use crate::data::{Hash, Stream, Value};
use crate::proto::request;

/// Bytes of a piece, and words of it.
pub const PIECE_BYTES: usize = 1 << 20;
const PIECE_WORDS: usize = 10_000;

/// One request after the other that makes a key anew, each given out as its bytes.
pub fn write(key: &[u8], value: &Value, expires_ms: Option<i64>, out: &mut dyn FnMut(Vec<u8>)) {
    let mut say = |words: &[&[u8]]| {
        let mut bytes = Vec::new();
        request::write(words, &mut bytes);
        out(bytes);
    };
    say(&[b"DEL", key]);
    match value {
        Value::Str(it) => {
            let text = it.bytes();
            let (first, rest) = text.split_at(text.len().min(PIECE_BYTES));
            say(&[b"SET", key, first]);
            rest.chunks(PIECE_BYTES).for_each(|piece| say(&[b"APPEND", key, piece]));
        }
        Value::List(it) => {
            let elements = it.iter().map(|element| [element.to_vec()]);
            in_pieces(&[b"RPUSH", key], elements, &mut say);
        }
        Value::Set(it) => {
            let members = it.iter().map(|member| [member.to_vec()]);
            in_pieces(&[b"SADD", key], members, &mut say);
        }
        Value::Zset(it) => {
            let pairs = it.iter().map(|(member, score)| [score_text(score), member.to_vec()]);
            in_pieces(&[b"ZADD", key], pairs, &mut say);
        }
        Value::Hash(it) => write_hash(key, it, &mut say),
        Value::Stream(it) => write_stream(key, it, &mut say),
        Value::Cold(_) => unreachable!("what was sent does not rest"),
    }
    if let Some(at_ms) = expires_ms {
        say(&[b"PEXPIREAT", key, at_ms.to_string().as_bytes()]);
    }
}

/// Says `start` and as many groups of words as go into one piece, again and again.
fn in_pieces<const N: usize>(
    start: &[&[u8]],
    groups: impl Iterator<Item = [Vec<u8>; N]>,
    say: &mut dyn FnMut(&[&[u8]]),
) {
    let (mut piece, mut bytes): (Vec<Vec<u8>>, usize) = (Vec::new(), 0);
    let mut flush = |piece: &mut Vec<Vec<u8>>| {
        if !piece.is_empty() {
            let words = start.iter().copied().chain(piece.iter().map(|word| &word[..]));
            say(&words.collect::<Vec<_>>());
            piece.clear();
        }
    };
    for group in groups {
        let len: usize = group.iter().map(Vec::len).sum();
        if bytes + len > PIECE_BYTES || piece.len() + N > PIECE_WORDS {
            flush(&mut piece);
            bytes = 0;
        }
        piece.extend(group);
        bytes += len;
    }
    flush(&mut piece);
}

fn score_text(score: f64) -> Vec<u8> {
    match score {
        f64::INFINITY => b"inf".to_vec(),
        f64::NEG_INFINITY => b"-inf".to_vec(),
        // The shortest digits that read back the same.
        _ => format!("{score:?}").into_bytes(),
    }
}

fn write_hash(key: &[u8], hash: &Hash, say: &mut dyn FnMut(&[&[u8]])) {
    let pairs = hash.iter().map(|(field, value)| [field.to_vec(), value.to_vec()]);
    in_pieces(&[b"HSET", key], pairs, say);
    for PairExpiry { field, expires_ms, .. } in hash.iter_with_expiry() {
        if let Some(at_ms) = expires_ms {
            let at_ms = at_ms.to_string();
            say(&[b"HPEXPIREAT", key, at_ms.as_bytes(), b"FIELDS", b"1", &field]);
        }
    }
}

fn write_stream(key: &[u8], stream: &Stream, say: &mut dyn FnMut(&[&[u8]])) {
    let mut add = |id: StreamId, fields: &[&[u8]]| {
        let id = id.text();
        say(&[&[&b"XADD"[..], key, &id], fields].concat());
    };
    // Entries that groups still wait for although they are deleted: they are there for a moment.
    let waited_for: Vec<StreamId> = stream
        .groups()
        .iter()
        .flat_map(|(_, group)| group.pending().iter().map(|(id, _)| id))
        .filter(|id| stream.get(*id).is_none())
        .collect();
    let mut gone = waited_for;
    if stream.is_empty() && gone.is_empty() && stream.last_id() != StreamId::MIN {
        gone.push(stream.last_id());
    }
    gone.sort();
    gone.dedup();
    let mut to_come = gone.iter().copied().peekable();
    for entry in stream.iter() {
        while let Some(id) = to_come.next_if(|id| *id < entry.id) {
            add(id, &[b"", b""]);
        }
        let fields: Vec<&[u8]> = entry.fields().flat_map(|(name, value)| [name, value]).collect();
        add(entry.id, &fields);
    }
    to_come.for_each(|id| add(id, &[b"", b""]));
    // One that never had an entry.
    let is_blank = stream.is_empty() && gone.is_empty();
    if is_blank {
        say(&[b"XGROUP", b"CREATE", key, b"toril", b"0", b"MKSTREAM"]);
        say(&[b"XGROUP", b"DESTROY", key, b"toril"]);
    }
    for (name, group) in stream.groups().iter() {
        let (last, read) = (group.last_id.text(), group.entries_read.map(|it| it.to_string()));
        let create: [&[u8]; 5] = [b"XGROUP", b"CREATE", key, name, &last];
        match &read {
            Some(read) => say(&[&create[..], &[b"ENTRIESREAD", read.as_bytes()]].concat()),
            None => say(&create),
        }
        for consumer in group.consumers() {
            say(&[b"XGROUP", b"CREATECONSUMER", key, name, &consumer.name]);
        }
        for (id, pending) in group.pending().iter() {
            let owner = &group.of(pending.consumer).name;
            let (id, at_ms) = (id.text(), pending.delivered_ms.to_string());
            let count = pending.count.to_string();
            let claim: [&[u8]; 6] = [b"XCLAIM", key, name, owner, b"0", &id];
            let how: [&[u8]; 6] =
                [b"TIME", at_ms.as_bytes(), b"RETRYCOUNT", count.as_bytes(), b"FORCE", b"JUSTID"];
            say(&[&claim[..], &how].concat());
        }
    }
    for id in &gone {
        say(&[b"XDEL", key, &id.text()]);
    }
    if !is_blank {
        let (last, deleted) = (stream.last_id().text(), stream.max_deleted_id().text());
        let added = stream.entries_added().to_string();
        let counts: [&[u8]; 4] = [b"ENTRIESADDED", added.as_bytes(), b"MAXDELETEDID", &deleted];
        say(&[&[&b"XSETID"[..], key, &last][..], &counts].concat());
    }
}
