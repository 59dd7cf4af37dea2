//! A stream node by node, as Redis's radix tree has it: to be written away, and read back.

use std::rc::Rc;

use super::StreamId;
use super::chunk::{StreamChunk, StreamEntry};
use super::log::StreamLog;
use super::shapes::Names;

impl StreamLog {
    /// The nodes: the id that the ids of each are counted from, and its entries.
    pub fn nodes(&self) -> impl Iterator<Item = StreamNode<'_>> {
        self.chunks.iter().map(|chunk| StreamNode { log: self, chunk })
    }

    /// One of them; None behind the last.
    pub fn node(&self, at: usize) -> Option<StreamNode<'_>> {
        self.chunks.get(at).map(|chunk| StreamNode { log: self, chunk })
    }

    /// Begins another node behind all entries. Ids are counted from `first`, and entries that have
    /// these names do not repeat them.
    pub fn begin_node(&mut self, first: StreamId, names: &[&[u8]]) -> NodeBuilder<'_> {
        let fields: Vec<&[u8]> = names.iter().flat_map(|name| [*name, b""]).collect();
        let names = Names::of(&fields);
        let chunk = StreamChunk::new(first, &names, 0);
        let shape = self.shapes.find_or_add_anyway(&names);
        NodeBuilder { log: self, chunk, shape, names_len: names.len() }
    }
}

pub struct StreamNode<'a> {
    log: &'a StreamLog,
    chunk: &'a StreamChunk,
}

impl<'a> StreamNode<'a> {
    /// The id of the first entry that the node ever held.
    pub fn first(&self) -> StreamId {
        self.chunk.first()
    }

    pub fn len(&self) -> usize {
        self.chunk.len()
    }

    /// Never: a chunk without entries goes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn entries(&self) -> impl Iterator<Item = StreamEntry<'a>> {
        let (log, chunk) = (self.log, self.chunk);
        (0..chunk.len()).map(move |at| chunk.entry(at, &log.shapes))
    }
}

/// A node that is not part of its stream yet.
pub struct NodeBuilder<'a> {
    log: &'a mut StreamLog,
    chunk: StreamChunk,
    shape: u32,
    names_len: usize,
}

impl NodeBuilder<'_> {
    /// How many values an entry with the node's names has.
    pub fn names_len(&self) -> usize {
        self.names_len
    }

    /// Appends an entry with the node's names. Its id is greater than those before it.
    pub fn append_values(&mut self, id: StreamId, values: &[&[u8]]) {
        self.chunk.append_values(id, values, self.shape);
    }

    /// Appends an entry of names and values in turn. Its id is greater than those before it.
    pub fn append(&mut self, id: StreamId, fields: &[&[u8]]) {
        let names = Names::of(fields);
        let shape = self.log.shapes.find_or_add(&names);
        self.chunk.append(id, fields, &names, shape);
    }

    /// Deletes the entry that came last.
    pub fn delete_last(&mut self) {
        self.chunk.delete(self.chunk.len() - 1);
    }

    /// Puts the node into its stream, unless all entries of it are deleted.
    pub fn finish(mut self) {
        if self.chunk.len() > 0 {
            self.chunk.seal();
            self.log.len += self.chunk.len();
            self.log.last_id = self.chunk.last();
            self.log.chunks.push_back(Rc::new(self.chunk));
        }
    }
}
