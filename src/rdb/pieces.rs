//! Large values as RDB, written piece by piece while they change.
//!
//! They are of kinds whose elements stand one behind the other, so that their number is all that
//! must be known before.

use crate::data::{List, Stream, Value};

use super::kind;
use super::save::{kind_in, save_field};
use super::streams::{kind_of_stream, save_node, save_stream_tail};
use super::writer::RdbWriter;

/// A value that is being written: what nobody else can change, or what is walked over by a number.
#[derive(Debug)]
pub struct Pieces {
    /// What it was begun as.
    kind: u8,
    /// Of its fields, if they have deadlines.
    earliest_ms: i64,
    /// The next chunk of a list, or node of a stream.
    at: usize,
}

impl RdbWriter {
    /// Begins a key with a large value: all that stands before its elements.
    ///
    /// # Panics
    /// If the value is a string or one at rest: they are written whole.
    pub fn begin_key(&mut self, key: &[u8], value: &Value, expires_ms: Option<i64>) -> Pieces {
        self.expiry(expires_ms);
        let earliest_ms = match value {
            Value::Hash(it) => it.earliest_ms(),
            _ => None,
        };
        let (kind, count) = match value {
            Value::List(it) => (kind::LIST, it.len()),
            Value::Hash(it) if earliest_ms.is_some() => {
                (kind_in(self.made, kind::HASH_METADATA), it.len_with_hidden())
            }
            Value::Hash(it) => (kind::HASH, it.len_with_hidden()),
            Value::Set(it) => (kind::SET, it.len()),
            Value::Zset(it) => (kind::ZSET_2, it.len()),
            Value::Stream(it) => (self.stream_kind(it), it.node_count()),
            Value::Str(_) | Value::Cold(_) => unreachable!("it is written whole"),
        };
        self.raw(&[kind]);
        self.text(key);
        let earliest_ms = earliest_ms.unwrap_or_default();
        if kind == kind::HASH_METADATA {
            self.raw(&earliest_ms.to_le_bytes());
        }
        self.count(count);
        Pieces { kind, earliest_ms, at: 0 }
    }

    /// Goes on with a value whose key was begun: by so many elements, or by a chunk of a list or a
    /// node of a stream. True at the end.
    pub fn piece(&mut self, value: &mut Value, pieces: &mut Pieces, count: usize) -> bool {
        match value {
            Value::List(it) => self.list_chunk(it, pieces),
            Value::Stream(it) => self.stream_node(it, pieces),
            Value::Hash(it) => it.walk_on(count, &mut |pair| {
                save_field(pieces.kind, &pair, pieces.earliest_ms, self);
            }),
            Value::Set(it) => it.walk_on(count, &mut |member| self.text(member)),
            Value::Zset(it) => it.walk_on(count, &mut |member, score| {
                self.text(member);
                self.raw(&score.to_le_bytes());
            }),
            Value::Str(_) | Value::Cold(_) => true,
        }
    }

    fn list_chunk(&mut self, list: &List, pieces: &mut Pieces) -> bool {
        list.chunk(pieces.at).for_each(|element| self.text(&element));
        pieces.at += 1;
        pieces.at == list.chunk_count()
    }

    fn stream_kind(&self, stream: &Stream) -> u8 {
        kind_in(self.made, kind_of_stream(stream))
    }

    fn stream_node(&mut self, stream: &Stream, pieces: &mut Pieces) -> bool {
        let Some(node) = stream.node(pieces.at) else {
            save_stream_tail(self.stream_kind(stream), stream, self);
            return true;
        };
        save_node(&node, self);
        pieces.at += 1;
        false
    }
}
