//! ACL LOG: what was refused, to whom, and how often.

use super::selector::Reason;
use crate::engine::Engine;
use crate::engine::client::ClientId;
use std::collections::VecDeque;

/// Where a refused request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    TopLevel,
    Multi,
    Script,
}

impl Context {
    pub fn name(self) -> &'static str {
        match self {
            Context::TopLevel => "toplevel",
            Context::Multi => "multi",
            Context::Script => "lua",
        }
    }
}

impl Reason {
    pub fn name(self) -> &'static str {
        match self {
            Reason::Command => "command",
            Reason::Key => "key",
            Reason::Login => "auth",
            Reason::Channel => "channel",
        }
    }
}

/// The same thing within this time of its last entry counts there.
const GROUPED_MS_MAX: i64 = 60_000;
/// Bytes that are kept of a key or a name: who is refused must not fill the memory.
const QUOTED_BYTES_MAX: usize = 1024;
/// Only so many of the newest entries are looked at for that.
const GROUPED_ENTRIES_MAX: usize = 10;

#[derive(Clone, Debug)]
pub struct Entry {
    pub id: u64,
    pub count: u64,
    pub reason: Reason,
    pub context: Context,
    /// The command, the key or the channel.
    pub object: Vec<u8>,
    pub user: Box<[u8]>,
    /// The client's line of CLIENT LIST, when it was refused last.
    pub client: Vec<u8>,
    pub created_ms: i64,
    pub updated_ms: i64,
}

/// The newest first.
#[derive(Debug, Default)]
pub struct AclLog {
    entries: VecDeque<Entry>,
    /// Entries that there have been: the next one's id.
    count: u64,
}

impl AclLog {
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Entry> {
        self.entries.iter()
    }

    pub fn clear(&mut self) {
        self.entries.clear();
    }

    fn add(&mut self, mut entry: Entry, len_max: usize) {
        let is_same = |known: &Entry| {
            (known.reason, known.context) == (entry.reason, entry.context)
                && (&known.object, &known.user) == (&entry.object, &entry.user)
                && entry.updated_ms - known.updated_ms <= GROUPED_MS_MAX
        };
        if let Some(at) = self.entries.iter().take(GROUPED_ENTRIES_MAX).position(is_same)
            && let Some(known) = self.entries.remove(at)
        {
            entry.id = known.id;
            entry.count += known.count;
            entry.created_ms = known.created_ms;
        } else {
            entry.id = self.count;
            self.count += 1;
        }
        self.entries.push_front(entry);
        self.entries.truncate(len_max);
    }
}

impl Engine {
    /// Counts what was refused to a client, and keeps it for ACL LOG.
    pub(in crate::engine) fn note_denial(
        &mut self,
        id: ClientId,
        reason: Reason,
        context: Context,
        object: &[u8],
        user: &[u8],
    ) {
        self.stats.denied[reason as usize] += 1;
        let len_max = self.config.acllog_max_len;
        if len_max == 0 {
            return self.acl.log.clear();
        }
        let now = self.time();
        let mut client = Vec::new();
        if let Some(it) = self.clients.get(id) {
            it.describe(it.db, 0, now.mono_us, &mut client);
        }
        let entry = Entry {
            id: 0,
            count: 1,
            reason,
            context,
            object: quoted(object).to_vec(),
            user: quoted(user).into(),
            client: client.trim_ascii_end().to_vec(),
            created_ms: now.wall_ms,
            updated_ms: now.wall_ms,
        };
        self.acl.log.add(entry, len_max);
    }
}

fn quoted(word: &[u8]) -> &[u8] {
    &word[..word.len().min(QUOTED_BYTES_MAX)]
}
