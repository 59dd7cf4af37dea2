//! `keep-dollar`: where a connection's `$` of a stream stands.
//!
//! Who reads a stream with `XREAD BLOCK ... $` in a loop loses what is added between an answer and
//! the next request, since each `$` means the stream's last id anew. BullMQ's QueueEvents does so
//! until its first event has come. With `keep-dollar yes` the `$` of a connection goes on from
//! where its last one stood, or from what it was given since. An id in the place of `$` ends that:
//! whoever names ids keeps the place itself.
//!
//! A client that says no `$`, and a server without the setting, pay one pointer a client.

use super::Engine;
use super::client::{Client, Transport};
use super::context::Ctx;
use crate::config::DOLLARS_MAX;
use crate::data::stream::StreamId;

/// A stream, by database and key, and the id behind which its `$` goes on.
#[derive(Debug)]
struct Dollar {
    db: usize,
    key: Box<[u8]>,
    stands_at: StreamId,
}

/// Those of one connection; what was read last comes last.
#[derive(Debug, Default)]
pub struct Dollars(Vec<Dollar>);

impl Dollars {
    fn place(&self, db: usize, key: &[u8]) -> Option<usize> {
        self.0.iter().position(|dollar| dollar.db == db && *dollar.key == *key)
    }

    /// Bytes of memory.
    pub fn size(&self) -> usize {
        let keys: usize = self.0.iter().map(|dollar| dollar.key.len()).sum();
        self.0.capacity() * size_of::<Dollar>() + keys
    }
}

impl Client {
    fn dollars(&mut self) -> Option<&mut Dollars> {
        self.dollars.as_deref_mut()
    }
}

impl Ctx<'_> {
    /// Where the caller's `$` of a stream stands, whose last id this is. A stream that was made
    /// anew since may have come less far: then `$` means its last id.
    pub fn keep_dollar(&mut self, key: &[u8], last: StreamId) -> StreamId {
        if !self.config().keep_dollar {
            return last;
        }
        let db = self.db;
        // Over HTTP a connection is anybody's.
        let has_connection = |client: &&mut Client| client.peer.transport != Transport::Http;
        let Some(client) = self.caller().filter(has_connection) else { return last };
        let dollars = client.dollars.get_or_insert_default();
        let mut dollar = match dollars.place(db, key) {
            Some(place) => dollars.0.remove(place),
            None => Dollar { db, key: key.into(), stands_at: last },
        };
        let stands_at = dollar.stands_at.min(last);
        dollar.stands_at = stands_at;
        if dollars.0.len() == DOLLARS_MAX {
            dollars.0.remove(0);
        }
        dollars.0.push(dollar);
        stands_at
    }

    /// The caller names an id of a stream itself.
    pub fn drop_dollar(&mut self, key: &[u8]) {
        let db = self.db;
        let Some(dollars) = self.caller().and_then(Client::dollars) else { return };
        if let Some(place) = dollars.place(db, key) {
            dollars.0.remove(place);
        }
    }

    /// Whether `advance_dollar` has something to advance.
    pub fn has_dollars(&self) -> bool {
        self.engine.clients.get(self.client).is_some_and(|client| client.dollars.is_some())
    }

    /// The caller is given a stream's entries up to this one.
    pub fn advance_dollar(&mut self, key: &[u8], given: StreamId) {
        let db = self.db;
        let Some(dollars) = self.caller().and_then(Client::dollars) else { return };
        if let Some(place) = dollars.place(db, key) {
            dollars.0[place].stands_at = given;
        }
    }
}

impl Engine {
    /// The setting was switched off: `$` means the last id for everybody, later as well.
    pub(super) fn drop_dollars(&mut self) {
        for client in self.clients.iter_mut() {
            client.dollars = None;
        }
    }
}
