//! A client as CLIENT LIST tells of it, in one line. ACL LOG keeps the line of who was refused.

use super::client::{Client, ClientPart, State, Transport};
use super::pubsub::ChannelKind;
use super::tracking::{Tracker, TrackingMode};
use crate::proto::Protocol;

impl Client {
    /// The client's line of CLIENT LIST, with the fields of Redis 7.4 in their order. `words_len`
    /// are the bytes of the words of its request under way.
    pub fn describe(&self, db: usize, words_len: usize, now_us: u64, line: &mut Vec<u8>) {
        let client = self;
        let (transaction, tracker) = (&client.transaction, client.tracking.as_deref());
        let queued = transaction.count().map_or(-1, |count| count as i64);
        let mut field = |name: &str, value: &[u8]| {
            line.extend_from_slice(name.as_bytes());
            line.push(b'=');
            line.extend_from_slice(value);
            line.push(b' ');
        };
        let text = |number: usize| number.to_string().into_bytes();
        field("id", &text(client.id.0 as usize));
        field("addr", client.peer.addr.as_bytes());
        field("laddr", client.peer.laddr.as_bytes());
        field("fd", client.peer.fd.to_string().as_bytes());
        field("name", &client.name);
        field("age", client.age_s(now_us).to_string().as_bytes());
        field("idle", client.idle_s(now_us).to_string().as_bytes());
        field("flags", flags(client).as_bytes());
        field("db", &text(db));
        field("sub", &text(client.names(ChannelKind::Channel).len()));
        field("psub", &text(client.names(ChannelKind::Pattern).len()));
        field("ssub", &text(client.names(ChannelKind::Shard).len()));
        field("multi", queued.to_string().as_bytes());
        field("watch", &text(transaction.watched.len()));
        field("qbuf", &text(client.query_len));
        field("qbuf-free", b"0");
        field("argv-mem", &text(client.words_len() + words_len));
        field("multi-mem", &text(transaction.size()));
        let output = client.outbox.usage();
        field("rbs", &text(output.last_capacity));
        field("rbp", &text(output.last_capacity));
        field("obl", &text(output.last));
        field("oll", &text(output.chunks));
        field("omem", &text(output.chunk_bytes));
        field("tot-mem", &text(client.size()));
        field("events", if client.outbox.is_empty() { b"r" } else { b"rw" });
        let command = client.last_command.map_or_else(|| "NULL".to_owned(), |it| it.full_name());
        field("cmd", command.as_bytes());
        field("user", &client.user.name);
        field("redir", Tracker::redirection(tracker).to_string().as_bytes());
        field("resp", if client.outbox.protocol == Protocol::Resp3 { b"3" } else { b"2" });
        field("lib-name", &client.lib_name);
        field("lib-ver", &client.lib_version);
        line.pop();
        line.push(b'\n');
    }
}

fn flags(client: &Client) -> String {
    let tracker = client.tracking.as_deref();
    let flags: String = [
        (client.is_monitor, 'O'),
        (client.part == ClientPart::Primary, 'M'),
        (client.part == ClientPart::Replica, 'S'),
        (client.subscriptions() > 0, 'P'),
        (client.transaction.count().is_some(), 'x'),
        (client.parked.is_some(), 'b'),
        (tracker.is_some(), 't'),
        (tracker.is_some_and(|tracker| tracker.is_broken), 'R'),
        (tracker.is_some_and(|tracker| tracker.mode == TrackingMode::Broadcast), 'B'),
        (client.transaction.is_broken, 'd'),
        (client.state == State::Closing, 'c'),
        (client.peer.transport == Transport::Unix, 'U'),
        (client.no_evict, 'e'),
        (client.no_touch, 'T'),
    ]
    .into_iter()
    .filter_map(|(holds, letter)| holds.then_some(letter))
    .collect();
    if flags.is_empty() { "N".to_owned() } else { flags }
}
