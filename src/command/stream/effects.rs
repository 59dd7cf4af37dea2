//! What reading for a group and claiming do to it, told to the journal and to keyspace events.
//!
//! Redis writes one XCLAIM per entry. Here those that were delivered at the same time and as often
//! stand in one.

use super::*;
use crate::data::stream::{ConsumerId, Group, Pending};

/// What one command did to one group for one consumer.
#[derive(Default)]
pub(super) struct Effects {
    /// How many changes that is.
    pub changes: usize,
    pub has_new_consumer: bool,
    /// The group goes on behind another id.
    pub has_advanced: bool,
    /// Entries that are the consumer's own now, in ascending order.
    pub claimed: Vec<(StreamId, Pending)>,
    /// Pending entries that were met and are no longer in the stream: they are no longer pending.
    pub lost: Vec<StreamId>,
}

impl Effects {
    /// The consumer, made if need be; it has been seen now.
    pub fn enroll(&mut self, group: &mut Group, name: &[u8], now_ms: i64) -> ConsumerId {
        let consumer = group.consumer(name).unwrap_or_else(|| {
            self.has_new_consumer = true;
            self.changes += 1;
            group.add_consumer(name, now_ms)
        });
        group.of_mut(consumer).seen_ms = now_ms;
        consumer
    }

    /// Tells of them, once they are committed.
    pub fn tell(self, cx: &mut Ctx, key: &[u8], [name, consumer]: [&[u8]; 2]) {
        if self.has_new_consumer {
            cx.notify(Stream::CLASS, "xgroup-createconsumer", key);
        }
        if cx.has_journal() && self.changes > 0 {
            self.journal(cx, key, [name, consumer]);
        }
    }

    fn journal(&self, cx: &mut Ctx, key: &[u8], [name, consumer]: [&[u8]; 2]) {
        let stream = cx.read::<Stream>(key).ok().flatten();
        let group = stream.and_then(|stream| stream.groups().get(name));
        let Some((last_id, entries_read)) = group.map(|it| (it.last_id.text(), it.entries_read))
        else {
            return;
        };
        if !self.lost.is_empty() {
            let ids: Vec<_> = self.lost.iter().map(|id| id.text()).collect();
            let ids: Vec<&[u8]> = ids.iter().map(|id| &**id).collect();
            cx.journal_as(&[&[b"XACK", key, name], &ids[..]].concat());
        }
        if self.has_new_consumer && self.claimed.is_empty() {
            cx.journal_as(&[b"XGROUP", b"CREATECONSUMER", key, name, consumer]);
        }
        for alike in self.claimed.chunk_by(|(_, left), (_, right)| left == right) {
            let ids: Vec<_> = alike.iter().map(|(id, _)| id.text()).collect();
            let ids: Vec<&[u8]> = ids.iter().map(|id| &**id).collect();
            let pending = alike[0].1;
            let (time, count) = (pending.delivered_ms.to_string(), pending.count.to_string());
            let options: [&[u8]; 8] = [
                b"TIME",
                time.as_bytes(),
                b"RETRYCOUNT",
                count.as_bytes(),
                b"FORCE",
                b"JUSTID",
                b"LASTID",
                &last_id,
            ];
            let head: [&[u8]; 5] = [b"XCLAIM", key, name, consumer, b"0"];
            cx.journal_as(&[&head, &ids[..], &options].concat());
        }
        if self.has_advanced {
            let read = entries_read.map_or_else(|| "-1".to_owned(), |count| count.to_string());
            let head: [&[u8]; 5] = [b"XGROUP", b"SETID", key, name, &last_id];
            cx.journal_as(&[&head[..], &[b"ENTRIESREAD", read.as_bytes()]].concat());
        }
    }
}
