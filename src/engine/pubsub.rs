//! Who listens to which channel, and the delivery of messages.

use super::Engine;
use super::client::{Client, ClientId};
use super::context::Ctx;
use crate::proto::Protocol;
use crate::proto::Reply;
use crate::util::glob::{self, Case};
use std::collections::{BTreeMap, BTreeSet};

/// The three kinds of subscription, with the words that tell of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelKind {
    Channel,
    Pattern,
    Shard,
}

impl ChannelKind {
    pub const ALL: [ChannelKind; 3] =
        [ChannelKind::Channel, ChannelKind::Pattern, ChannelKind::Shard];

    pub fn subscribed(self) -> &'static str {
        match self {
            ChannelKind::Channel => "subscribe",
            ChannelKind::Pattern => "psubscribe",
            ChannelKind::Shard => "ssubscribe",
        }
    }

    pub fn unsubscribed(self) -> &'static str {
        match self {
            ChannelKind::Channel => "unsubscribe",
            ChannelKind::Pattern => "punsubscribe",
            ChannelKind::Shard => "sunsubscribe",
        }
    }
}

type Listeners = BTreeMap<Box<[u8]>, BTreeSet<ClientId>>;

#[derive(Default)]
pub struct PubSub {
    pub channels: Listeners,
    pub patterns: Listeners,
    pub shards: Listeners,
}

impl PubSub {
    pub fn of(&self, kind: ChannelKind) -> &Listeners {
        match kind {
            ChannelKind::Channel => &self.channels,
            ChannelKind::Pattern => &self.patterns,
            ChannelKind::Shard => &self.shards,
        }
    }

    fn of_mut(&mut self, kind: ChannelKind) -> &mut Listeners {
        match kind {
            ChannelKind::Channel => &mut self.channels,
            ChannelKind::Pattern => &mut self.patterns,
            ChannelKind::Shard => &mut self.shards,
        }
    }
}

impl Ctx<'_> {
    pub fn subscribe(&mut self, kind: ChannelKind, name: &[u8]) {
        self.engine.subscribe(self.client, kind, name);
    }

    pub fn unsubscribe(&mut self, kind: ChannelKind, name: &[u8]) {
        self.engine.unsubscribe(self.client, kind, name);
    }

    /// Ends all of the caller's subscriptions without a word.
    pub fn unsubscribe_all(&mut self) {
        self.engine.unsubscribe_all(self.client);
    }

    /// Returns how many got the message.
    pub fn publish(&mut self, channel: &[u8], message: &[u8]) -> usize {
        self.engine.publish(channel, message)
    }

    pub fn publish_shard(&mut self, channel: &[u8], message: &[u8]) -> usize {
        self.engine.publish_shard(channel, message)
    }

    /// Sends the caller bytes that are no reply, behind its reply.
    pub fn push(&mut self, bytes: &[u8]) {
        self.engine.push(self.client, bytes);
    }
}

impl Engine {
    /// Subscribes a client; false if it was already.
    pub fn subscribe(&mut self, id: ClientId, kind: ChannelKind, name: &[u8]) -> bool {
        if !self.clients[id].names_mut(kind).insert(name.into()) {
            return false;
        }
        self.pubsub.of_mut(kind).entry(name.into()).or_default().insert(id)
    }

    /// Ends a subscription; false if there was none.
    pub fn unsubscribe(&mut self, id: ClientId, kind: ChannelKind, name: &[u8]) -> bool {
        if !self.clients[id].names_mut(kind).remove(name) {
            return false;
        }
        let listeners = self.pubsub.of_mut(kind);
        if let Some(clients) = listeners.get_mut(name) {
            clients.remove(&id);
            if clients.is_empty() {
                listeners.remove(name);
            }
        }
        true
    }

    /// Ends all subscriptions of a client without a word.
    pub fn unsubscribe_all(&mut self, id: ClientId) {
        for kind in ChannelKind::ALL {
            for name in self.clients[id].names(kind).clone() {
                self.unsubscribe(id, kind, &name);
            }
        }
    }

    /// Delivers a message to the listeners of a channel, then to those of matching patterns.
    /// Returns how many got it; a client with several matching patterns gets it several times.
    pub fn publish(&mut self, channel: &[u8], message: &[u8]) -> usize {
        let listeners = self.pubsub.channels.get(channel);
        let direct: Vec<ClientId> = listeners.into_iter().flatten().copied().collect();
        let mut receivers = self.deliver(&direct, |push| {
            push.push(3);
            push.bulk(b"message");
            push.bulk(channel);
            push.bulk(message);
        });
        let matching = self.pubsub.patterns.iter();
        let matching: Vec<(Box<[u8]>, Vec<ClientId>)> = matching
            .filter(|(pattern, _)| glob::matches(pattern, channel, Case::Sensitive))
            .map(|(pattern, clients)| (pattern.clone(), clients.iter().copied().collect()))
            .collect();
        for (pattern, clients) in matching {
            receivers += self.deliver(&clients, |push| {
                push.push(4);
                push.bulk(b"pmessage");
                push.bulk(&pattern);
                push.bulk(channel);
                push.bulk(message);
            });
        }
        receivers
    }

    /// Delivers a message to the listeners of a shard channel.
    pub fn publish_shard(&mut self, channel: &[u8], message: &[u8]) -> usize {
        let listeners = self.pubsub.shards.get(channel);
        let clients: Vec<ClientId> = listeners.into_iter().flatten().copied().collect();
        self.deliver(&clients, |push| {
            push.push(3);
            push.bulk(b"smessage");
            push.bulk(channel);
            push.bulk(message);
        })
    }

    /// Writes a message once for each protocol, then copies it to everybody.
    pub(super) fn deliver(&mut self, clients: &[ClientId], write: impl Fn(&mut Reply)) -> usize {
        if clients.is_empty() {
            return 0;
        }
        let mut written = [const { Vec::new() }; 2];
        for &id in clients {
            let outbox = &mut self.clients[id].outbox;
            if !outbox.is_resp() {
                write(&mut outbox.reply());
                self.clients.mark_dirty(id);
                continue;
            }
            let protocol = self.clients[id].outbox.protocol;
            let bytes = &mut written[usize::from(protocol == Protocol::Resp3)];
            if bytes.is_empty() {
                write(&mut Reply::bytes(bytes, protocol));
            }
            let bytes = std::mem::take(bytes);
            self.push(id, &bytes);
            written[usize::from(protocol == Protocol::Resp3)] = bytes;
        }
        clients.len()
    }
}

type Names = BTreeSet<Box<[u8]>>;

/// What one client listens to, by kind.
#[derive(Default)]
pub struct Subscriptions([Names; ChannelKind::ALL.len()]);

impl Client {
    /// What it listens to.
    pub fn names(&self, kind: ChannelKind) -> &Names {
        static NONE: Names = Names::new();
        self.subscriptions.as_ref().map_or(&NONE, |all| &all.0[kind as usize])
    }

    fn names_mut(&mut self, kind: ChannelKind) -> &mut Names {
        &mut self.subscriptions.get_or_insert_default().0[kind as usize]
    }
}
