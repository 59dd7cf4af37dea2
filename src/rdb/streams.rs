//! Streams as RDB: their nodes, each a listpack behind the id that its ids are counted from, then
//! what is known of the whole, then the consumer groups.
//!
//! A node's listpack begins with its master entry: how many entries live, how many are deleted, how
//! many names, the names, and a zero. An entry is its flags, its id less the node's, the values (or
//! its own names with the values, their count in front), and how many elements that was.

use crate::data::item::Item;
use crate::data::stream::{Group, NodeBuilder, Pending, Stream, StreamId, StreamNode};

use super::listpack::{self, Elements, ListpackWriter};
use super::{Flaw, RdbReader, RdbWriter, Result, kind};

const ID_BYTES: usize = 16;

/// Flags of an entry.
const DELETED: i64 = 1;
const SAME_NAMES: i64 = 2;

/// The third kind says of a consumer when it was active, and Redis 7.0 does not know it.
pub(super) fn kind_of_stream(stream: &Stream) -> u8 {
    let has_consumers = stream.groups().iter().any(|(_, group)| group.consumers().len() > 0);
    if has_consumers { kind::STREAM_LISTPACKS_3 } else { kind::STREAM_LISTPACKS_2 }
}

pub(super) fn save_stream(kind: u8, stream: &Stream, writer: &mut RdbWriter) {
    writer.count(stream.node_count());
    stream.nodes().for_each(|node| save_node(&node, writer));
    save_stream_tail(kind, stream, writer);
}

pub(super) fn save_node(node: &StreamNode, writer: &mut RdbWriter) {
    // As a string, which spells no number.
    writer.count(ID_BYTES);
    save_id(node.first(), writer);
    writer.text(&packed(node));
}

/// What stands behind the nodes.
pub(super) fn save_stream_tail(kind: u8, stream: &Stream, writer: &mut RdbWriter) {
    writer.count(stream.len());
    for id in [stream.last_id(), stream.first_id().unwrap_or_default(), stream.max_deleted_id()] {
        writer.number(id.ms);
        writer.number(id.seq);
    }
    writer.number(stream.entries_added());
    writer.count(stream.groups().len());
    for (name, group) in stream.groups().iter() {
        save_group(kind, name, group, writer);
    }
}

/// In place of a count of entries read that is not known, and of a moment that there was not.
const UNKNOWN: i64 = -1;

fn save_group(kind: u8, name: &[u8], group: &Group, writer: &mut RdbWriter) {
    writer.text(name);
    writer.number(group.last_id.ms);
    writer.number(group.last_id.seq);
    writer.number(group.entries_read.unwrap_or(UNKNOWN as u64));
    writer.count(group.pending().len());
    for (id, pending) in group.pending().iter() {
        save_id(id, writer);
        writer.raw(&pending.delivered_ms.to_le_bytes());
        writer.number(pending.count);
    }
    writer.count(group.consumers().len());
    for consumer in group.consumers() {
        writer.text(&consumer.name);
        writer.raw(&consumer.seen_ms.to_le_bytes());
        if kind == kind::STREAM_LISTPACKS_3 {
            writer.raw(&consumer.active_ms.unwrap_or(UNKNOWN).to_le_bytes());
        }
        writer.count(consumer.pending().len());
        consumer.pending().iter().for_each(|(id, ())| save_id(id, writer));
    }
}

/// As 16 bytes, the highest first.
fn save_id(id: StreamId, writer: &mut RdbWriter) {
    writer.raw(&id.ms.to_be_bytes());
    writer.raw(&id.seq.to_be_bytes());
}

/// A node without what was deleted from it.
fn packed(node: &StreamNode) -> Vec<u8> {
    let mut packed = ListpackWriter::new();
    let mut names = Vec::new();
    let integer = |packed: &mut ListpackWriter, it: usize| packed.push_integer(it as i64);
    for (at, entry) in node.entries().enumerate() {
        if at == 0 {
            names = entry.fields().map(|(name, _)| name).collect();
            integer(&mut packed, node.len());
            integer(&mut packed, 0);
            integer(&mut packed, names.len());
            names.iter().for_each(|name| packed.push(name));
            integer(&mut packed, 0);
        }
        let is_same = entry.fields().map(|(name, _)| name).eq(names.iter().copied());
        packed.push_integer(if is_same { SAME_NAMES } else { 0 });
        packed.push_integer(entry.id.ms.wrapping_sub(node.first().ms) as i64);
        packed.push_integer(entry.id.seq.wrapping_sub(node.first().seq) as i64);
        if !is_same {
            integer(&mut packed, entry.field_count());
        }
        for (name, value) in entry.fields() {
            if !is_same {
                packed.push(name);
            }
            packed.push(value);
        }
        let count = entry.field_count();
        integer(&mut packed, if is_same { count + 3 } else { 2 * count + 4 });
    }
    packed.finish()
}

/// Reads a stream; the error is why there is none.
pub(super) fn load_stream(kind: u8, reader: &mut RdbReader) -> Result<Stream> {
    let mut stream = Stream::new();
    for _ in 0..reader.count(2)? {
        let first = master_id(&reader.text()?)?;
        load_node(&mut stream, first, &reader.text()?)?;
    }
    let len = reader.number()?;
    let last_id = id(reader)?;
    if len != stream.len() as u64 || last_id < stream.last_id() {
        return Err(Flaw::Corrupt);
    }
    let (mut max_deleted, mut added) = (StreamId::MIN, len);
    if kind != kind::STREAM_LISTPACKS {
        // The first one is known.
        id(reader)?;
        max_deleted = id(reader)?;
        added = reader.number()?;
    }
    stream.set_last_id(last_id);
    stream.set_max_deleted_id(max_deleted);
    stream.set_entries_added(counted(added)?);
    for _ in 0..reader.count(1)? {
        load_group(kind, reader, &mut stream)?;
    }
    Ok(stream)
}

/// A count that a signed number can hold, as it does in Redis.
fn counted(count: u64) -> Result<u64> {
    if i64::try_from(count).is_ok() { Ok(count) } else { Err(Flaw::Corrupt) }
}

fn load_group(kind: u8, reader: &mut RdbReader, stream: &mut Stream) -> Result<()> {
    let name = reader.text()?;
    let last_id = id(reader)?;
    let entries_read = match kind {
        kind::STREAM_LISTPACKS => stream.count_up_to(last_id),
        _ => Some(reader.number()?).filter(|&count| count != UNKNOWN as u64),
    };
    let (_, groups) = stream.parts_mut();
    if groups.get(&name).is_some() {
        return Err(Flaw::Corrupt);
    }
    groups.add(&name, last_id, entries_read.map(counted).transpose()?);
    let group = groups.get_mut(&name).ok_or(Flaw::Corrupt)?;

    let mut pending: Vec<(StreamId, i64, u64)> = Vec::new();
    // An id, a moment, a count.
    for _ in 0..reader.count(ID_BYTES + 8 + 1)? {
        let id = raw_id(reader)?;
        if pending.last().is_some_and(|(last, ..)| *last >= id) {
            return Err(Flaw::Corrupt);
        }
        pending.push((id, moment(reader)?.ok_or(Flaw::Corrupt)?, reader.number()?));
    }
    for _ in 0..reader.count(1 + 8 + 1)? {
        load_consumer(kind, reader, group, &pending)?;
    }
    // What is pending has an owner.
    if group.pending().len() == pending.len() { Ok(()) } else { Err(Flaw::Corrupt) }
}

fn load_consumer(
    kind: u8,
    reader: &mut RdbReader,
    group: &mut Group,
    pending: &[(StreamId, i64, u64)],
) -> Result<()> {
    let name = reader.text()?;
    let seen_ms = moment(reader)?.ok_or(Flaw::Corrupt)?;
    let active_ms = match kind {
        kind::STREAM_LISTPACKS_3 => moment(reader)?,
        _ => Some(seen_ms),
    };
    if group.consumer(&name).is_some() {
        return Err(Flaw::Corrupt);
    }
    let consumer = group.add_consumer(&name, seen_ms);
    group.of_mut(consumer).active_ms = active_ms;
    for _ in 0..reader.count(ID_BYTES)? {
        let id = raw_id(reader)?;
        let at = pending.binary_search_by_key(&id, |(id, ..)| *id).map_err(|_| Flaw::Corrupt)?;
        if group.pending().get(id).is_some() {
            return Err(Flaw::Corrupt);
        }
        let (_, delivered_ms, count) = pending[at];
        group.assign(id, Pending { consumer, delivered_ms, count });
    }
    Ok(())
}

/// Milliseconds of Unix time in 8 bytes, the lowest first; None where there was no such moment.
fn moment(reader: &mut RdbReader) -> Result<Option<i64>> {
    match i64::from_le_bytes(reader.array()?) {
        UNKNOWN => Ok(None),
        ..UNKNOWN => Err(Flaw::Corrupt),
        ms => Ok(Some(ms)),
    }
}

fn raw_id(reader: &mut RdbReader) -> Result<StreamId> {
    Ok(StreamId::new(u64::from_be_bytes(reader.array()?), u64::from_be_bytes(reader.array()?)))
}

fn id(reader: &mut RdbReader) -> Result<StreamId> {
    Ok(StreamId::new(reader.number()?, reader.number()?))
}

fn master_id(text: &[u8]) -> Result<StreamId> {
    let (halves, rest) = text.as_chunks::<8>();
    match (halves, rest) {
        ([ms, seq], []) => Ok(StreamId::new(u64::from_be_bytes(*ms), u64::from_be_bytes(*seq))),
        _ => Err(Flaw::Corrupt),
    }
}

fn load_node(stream: &mut Stream, first: StreamId, packed: &[u8]) -> Result<()> {
    let mut elements = listpack::elements(packed)?;
    let live = count(&mut elements, packed)?;
    let deleted = count(&mut elements, packed)?;
    let names = count(&mut elements, packed)?;
    let names = items(&mut elements, names)?;
    if names.is_empty() || live + deleted == 0 || elements.required_integer()? != 0 {
        return Err(Flaw::Corrupt);
    }
    // Ids ascend, also from node to node.
    let mut least = match (stream.is_empty(), stream.last_id().next()) {
        (true, _) => first,
        (false, Some(next)) if next <= first => first,
        _ => return Err(Flaw::Corrupt),
    };
    let mut node = stream.begin_node(first, &texts(&names));
    let mut lives = 0;
    for _ in 0..live + deleted {
        let (id, is_live) = load_entry(&mut elements, first, &mut node, packed, least)?;
        lives += usize::from(is_live);
        // Nothing can come behind the last id of all.
        least = id.next().unwrap_or(StreamId::MAX);
    }
    if lives != live || elements.next().is_some() {
        return Err(Flaw::Corrupt);
    }
    node.finish();
    Ok(())
}

/// Its id, and whether it lives.
fn load_entry(
    elements: &mut Elements,
    first: StreamId,
    node: &mut NodeBuilder,
    packed: &[u8],
    least: StreamId,
) -> Result<(StreamId, bool)> {
    let flags = elements.required_integer()?;
    let ms = first.ms.wrapping_add_signed(elements.required_integer()?);
    let seq = first.seq.wrapping_add_signed(elements.required_integer()?);
    let id = StreamId::new(ms, seq);
    if id < least || !(0..=DELETED | SAME_NAMES).contains(&flags) {
        return Err(Flaw::Corrupt);
    }
    let size = if flags & SAME_NAMES != 0 {
        let values = items(elements, node.names_len())?;
        node.append_values(id, &texts(&values));
        values.len() + 3
    } else {
        let pairs = count(elements, packed)?;
        let fields = items(elements, 2 * pairs)?;
        if pairs == 0 {
            return Err(Flaw::Corrupt);
        }
        node.append(id, &texts(&fields));
        fields.len() + 4
    };
    if elements.required_integer()? != size as i64 {
        return Err(Flaw::Corrupt);
    }
    if flags & DELETED != 0 {
        node.delete_last();
    }
    Ok((id, flags & DELETED == 0))
}

/// A count of things of two bytes at least, in a listpack of these bytes.
fn count(elements: &mut Elements, packed: &[u8]) -> Result<usize> {
    let count = usize::try_from(elements.required_integer()?).map_err(|_| Flaw::Corrupt)?;
    if count > packed.len() / 2 { Err(Flaw::Corrupt) } else { Ok(count) }
}

fn items<'a>(elements: &mut Elements<'a>, count: usize) -> Result<Vec<Item<'a>>> {
    (0..count).map(|_| elements.required()).collect()
}

fn texts<'i>(items: &'i [Item]) -> Vec<&'i [u8]> {
    items.iter().map(|item| &**item).collect()
}
