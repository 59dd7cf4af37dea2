//! Entries and what groups have pending of them: what becomes of the one when the other goes.

use super::{Keep, Stream, StreamId};

/// What deleting an entry does to what groups have pending of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum References {
    /// It stays.
    #[default]
    Keep,
    /// It goes as well.
    Drop,
    /// It forbids the deletion, and so does a group that has not read the entry yet.
    Heed,
}

/// What became of an entry that was to be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    Absent,
    Done,
    Forbidden,
}

impl Stream {
    /// As `StreamLog::delete`. Costs a look at each group, unless references are kept.
    pub fn delete_entry(&mut self, id: StreamId, references: References) -> Deletion {
        let (log, groups) = self.parts_mut();
        match references {
            References::Keep => {}
            References::Drop => groups.forget(id),
            References::Heed if groups.need(id) => return Deletion::Forbidden,
            References::Heed => {}
        }
        if log.delete(id) { Deletion::Done } else { Deletion::Absent }
    }

    /// As `StreamLog::trim`. Unless references are kept, each entry that may go is looked at in
    /// each group. An approximate trim removes nothing then, as in Redis 8.2.3: it removes whole
    /// nodes without a look at what is in them, or nothing.
    pub fn trim_entries(
        &mut self,
        keep: Keep,
        approximate: bool,
        limit: usize,
        references: References,
    ) -> usize {
        let (log, groups) = self.parts_mut();
        if references == References::Keep {
            return log.trim(keep, approximate, limit);
        }
        if approximate {
            return 0;
        }
        let excess = match keep {
            Keep::Newest(len) => log.len().saturating_sub(len),
            Keep::Since(_) => usize::MAX,
        };
        let is_kept = |id: StreamId| matches!(keep, Keep::Since(first) if id >= first);
        let ids = log.iter().map(|entry| entry.id).take_while(|&id| !is_kept(id));
        if references == References::Drop {
            ids.take(excess).for_each(|id| groups.forget(id));
            return log.trim(keep, false, 0);
        }
        let ids: Vec<StreamId> = ids.filter(|&id| !groups.need(id)).take(excess).collect();
        ids.iter().filter(|&&id| log.take_out(id)).count()
    }
}
