//! A stretch of a stream: entries one behind the other, appended and never moved.
//!
//! An entry is its id as a distance from the chunk's first, then the number of its shape and its
//! values; an entry whose field names are no shape of the stream has names and values instead. All
//! numbers and lengths are varints.
//!
//! Chunks are cut where Redis cuts its nodes, because `MAXLEN ~` removes whole nodes and says how
//! many entries those held. So a chunk keeps count of what its node would take in Redis.

use crate::config::Limits;
use crate::data::listpack;

use super::StreamId;
use super::shapes::{Names, Shapes, pairs_of};

#[derive(Clone, Debug)]
pub(super) struct StreamChunk {
    /// The id of the first entry that it ever held.
    first: StreamId,
    /// The id of the last one that it ever held.
    last: StreamId,
    /// Where in `bytes` each entry starts that is still there.
    offsets: Vec<u32>,
    bytes: Vec<u8>,
    deleted: usize,
    /// The names of the first entry's fields: Redis does not repeat them in the others.
    names_hash: u64,
    node_bytes: usize,
}

impl StreamChunk {
    /// An empty chunk for an entry of this id and these fields.
    pub fn new(id: StreamId, names: &Names, capacity: usize) -> Self {
        let integer = |value: usize| listpack::integer_bytes(value as i64);
        let names_bytes: usize = names.iter().map(listpack::entry_bytes).sum();
        Self {
            first: id,
            last: id,
            offsets: Vec::new(),
            bytes: Vec::with_capacity(capacity),
            deleted: 0,
            names_hash: names.hash(),
            // How many names, the names, and a zero behind them.
            node_bytes: listpack::EMPTY_BYTES + integer(names.len()) + names_bytes + integer(0),
        }
    }

    pub fn first(&self) -> StreamId {
        self.first
    }

    pub fn last(&self) -> StreamId {
        self.last
    }

    pub fn len(&self) -> usize {
        self.offsets.len()
    }

    /// Whether Redis would start another node for an entry with these fields.
    pub fn is_full(&self, fields: &[&[u8]], limits: &Limits) -> bool {
        /// Where a setting of 0 does not bound a node.
        const NODE_BYTES_MAX: usize = 1 << 30;
        let bytes_max = match limits.stream_node_bytes_max {
            0 => NODE_BYTES_MAX,
            bytes_max => bytes_max.min(NODE_BYTES_MAX),
        };
        let entries = self.len() + self.deleted;
        let counters = [self.len(), self.deleted].map(|it| listpack::integer_bytes(it as i64));
        let text_bytes: usize = fields.iter().map(|text| text.len()).sum();
        self.node_bytes + counters[0] + counters[1] + text_bytes >= bytes_max
            || limits.stream_node_entries_max > 0 && entries >= limits.stream_node_entries_max
    }

    /// Appends an entry whose id is greater than `last`, unless it is the first.
    pub fn append(&mut self, id: StreamId, fields: &[&[u8]], names: &Names, shape: Option<u32>) {
        self.node_bytes += self.node_bytes_of(id, fields, names);
        self.begin(id);
        match shape {
            Some(shape) => {
                push_number(&mut self.bytes, u64::from(shape) + 1);
                pairs_of(fields).iter().for_each(|[_, value]| push_text(&mut self.bytes, value));
            }
            None => {
                push_number(&mut self.bytes, LITERAL);
                push_number(&mut self.bytes, names.len() as u64);
                fields.iter().for_each(|text| push_text(&mut self.bytes, text));
            }
        }
    }

    /// As `append`, of an entry that has the first one's names, whose shape this is.
    pub fn append_values(&mut self, id: StreamId, values: &[&[u8]], shape: u32) {
        let values_bytes: usize = values.iter().map(|it| listpack::entry_bytes(it)).sum();
        let count = values.len() as u64;
        self.node_bytes += self.head_bytes(id) + values_bytes + integer_bytes(count + 3);
        self.begin(id);
        push_number(&mut self.bytes, u64::from(shape) + 1);
        values.iter().for_each(|value| push_text(&mut self.bytes, value));
    }

    #[inline]
    fn begin(&mut self, id: StreamId) {
        self.offsets.push(self.bytes.len() as u32);
        let ms = id.ms - self.first.ms;
        push_number(&mut self.bytes, ms);
        push_number(&mut self.bytes, if ms == 0 { id.seq - self.first.seq } else { id.seq });
        self.last = id;
    }

    /// What flags and id add to Redis's node.
    #[inline]
    fn head_bytes(&self, id: StreamId) -> usize {
        integer_bytes(0)
            + integer_bytes(id.ms - self.first.ms)
            + integer_bytes(id.seq.wrapping_sub(self.first.seq))
    }

    /// What an entry adds to Redis's node.
    fn node_bytes_of(&self, id: StreamId, fields: &[&[u8]], names: &Names) -> usize {
        let pairs = pairs_of(fields).iter();
        let values_bytes: usize = pairs.map(|[_, value]| listpack::entry_bytes(value)).sum();
        let count = names.len() as u64;
        let head = self.head_bytes(id);
        if names.hash() == self.names_hash {
            return head + values_bytes + integer_bytes(count + 3);
        }
        let names_bytes: usize = names.iter().map(listpack::entry_bytes).sum();
        head + integer_bytes(count) + names_bytes + values_bytes + integer_bytes(2 * count + 4)
    }

    pub fn id(&self, at: usize) -> StreamId {
        self.read_id(&mut (self.offsets[at] as usize))
    }

    pub fn entry<'a>(&'a self, at: usize, shapes: &'a Shapes) -> StreamEntry<'a> {
        let mut offset = self.offsets[at] as usize;
        let id = self.read_id(&mut offset);
        let names = match read_number(&self.bytes, &mut offset) {
            LITERAL => None,
            shape => Some(shapes.get((shape - 1) as u32)),
        };
        let field_count = match names {
            Some(names) => names.len(),
            None => read_number(&self.bytes, &mut offset) as usize,
        };
        StreamEntry { id, names, field_count, texts: &self.bytes[offset..] }
    }

    /// How many entries have lower ids.
    pub fn position(&self, id: StreamId) -> usize {
        self.offsets.partition_point(|&offset| self.read_id(&mut (offset as usize)) < id)
    }

    /// Takes an entry out. Its bytes stay until the chunk goes, as in Redis.
    pub fn delete(&mut self, at: usize) {
        self.offsets.remove(at);
        self.deleted += 1;
    }

    pub fn delete_first(&mut self, count: usize) {
        self.offsets.drain(..count);
        self.deleted += count;
    }

    /// Gives back the room for entries that will not come any more.
    pub fn seal(&mut self) {
        self.bytes.shrink_to_fit();
        self.offsets.shrink_to_fit();
    }

    pub fn used(&self) -> usize {
        self.bytes.len()
    }

    pub fn heap_size(&self) -> usize {
        self.bytes.capacity() + self.offsets.capacity() * size_of::<u32>()
    }

    fn read_id(&self, offset: &mut usize) -> StreamId {
        let ms = read_number(&self.bytes, offset);
        let seq = read_number(&self.bytes, offset);
        match ms {
            0 => StreamId { ms: self.first.ms, seq: self.first.seq + seq },
            ms => StreamId { ms: self.first.ms + ms, seq },
        }
    }
}

fn integer_bytes(value: u64) -> usize {
    listpack::integer_bytes(value as i64)
}

/// In place of a shape's number plus one.
const LITERAL: u64 = 0;

/// An entry as it lies in its stream.
#[derive(Clone, Copy)]
pub struct StreamEntry<'a> {
    pub id: StreamId,
    names: Option<&'a [Box<[u8]>]>,
    field_count: usize,
    /// From the entry's first text on.
    texts: &'a [u8],
}

impl<'a> StreamEntry<'a> {
    pub fn field_count(&self) -> usize {
        self.field_count
    }

    /// Names and values.
    pub fn fields(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let StreamEntry { names, field_count, texts, .. } = *self;
        let mut offset = 0;
        (0..field_count).map(move |at| {
            let name = match names {
                Some(names) => &names[at],
                None => read_text(texts, &mut offset),
            };
            (name, read_text(texts, &mut offset))
        })
    }
}

/// Seven bits a byte, the lowest first; the top bit says that more follow.
#[inline]
fn push_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

#[inline]
fn push_text(bytes: &mut Vec<u8>, text: &[u8]) {
    push_number(bytes, text.len() as u64);
    bytes.extend_from_slice(text);
}

fn read_number(bytes: &[u8], offset: &mut usize) -> u64 {
    let mut number = 0;
    for shift in (0..).step_by(7) {
        let byte = bytes[*offset];
        *offset += 1;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    number
}

fn read_text<'a>(bytes: &'a [u8], offset: &mut usize) -> &'a [u8] {
    let len = read_number(bytes, offset) as usize;
    let start = *offset;
    *offset += len;
    &bytes[start..*offset]
}
