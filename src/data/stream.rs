//! Streams: entries under growing ids, and the groups of consumers that read them.
//!
//! Groups stand beside the entries and refer to them by id only: an entry may be deleted while it
//! is pending.

mod chunk;
mod group;
mod id;
mod log;
mod nodes;
mod pending;
mod references;
mod shapes;

use std::ops::{Deref, DerefMut};

pub use chunk::StreamEntry;
pub use group::{Consumer, ConsumerId, Group, Groups, Pending};
pub use id::{IdText, StreamId};
pub use log::{Entries, Keep, StreamLog};
pub use nodes::{NodeBuilder, StreamNode};
pub use pending::IdMap;
pub use references::{Deletion, References};

/// A stream has all that its log has.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    body: Box<Body>,
}

#[derive(Clone, Debug, Default)]
struct Body {
    log: StreamLog,
    groups: Groups,
}

impl Stream {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn groups(&self) -> &Groups {
        &self.body.groups
    }

    /// Both, so that one can be changed while the other is read.
    pub fn parts_mut(&mut self) -> (&mut StreamLog, &mut Groups) {
        (&mut self.body.log, &mut self.body.groups)
    }

    pub fn encoding(&self) -> &'static str {
        "stream"
    }

    /// What is pending goes piece by piece; chunks of entries are few.
    pub fn pieces(&self) -> usize {
        self.body.groups.pieces()
    }

    pub fn crumble(&mut self, count: usize) {
        self.body.groups.crumble(count);
    }

    pub fn heap_size(&self) -> usize {
        size_of::<Body>() + self.body.log.heap_size() + self.body.groups.heap_size()
    }
}

impl Deref for Stream {
    type Target = StreamLog;

    fn deref(&self) -> &StreamLog {
        &self.body.log
    }
}

impl DerefMut for Stream {
    fn deref_mut(&mut self) -> &mut StreamLog {
        &mut self.body.log
    }
}
