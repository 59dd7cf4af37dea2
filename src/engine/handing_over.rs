//! Handing over: another server has all that is here, and takes over.
//!
//! `toril hand-over` follows as a replica does and writes what it gets to the other server. When
//! that has caught up, writes are paused here, on behalf of the connection that asks for it: they
//! go on when its time is up, or when it ends. Then it says that it is done, and up to which byte
//! of the stream. If nothing was changed behind that, clients are closed without an answer to what
//! was held back, so that they come again and ask anew, and from then on whoever would change
//! something is told where to go. Nothing goes by itself any more either: what is here is what was
//! handed over.
//!
//! Where connections are carried over, those of clients that are in the middle of nothing stay
//! open: the server tells the new one what is to be known of them, and what they wait for.
//!
//! No file remembers that: a server that is started anew with these data takes writes.

use super::Engine;
use super::client::{Client, ClientId, Parked, Peer, ReplyMode, State, Transport};
use super::context::Ctx;
use super::pause::PauseOwner;
use super::row::{Flag, Flags};
use super::time::Now;
use crate::config::{self, ServerUrl};
use crate::proto::args::is_keyword;
use crate::proto::{Args, Error, Protocol, Result, request};
use std::collections::BTreeMap;
use std::rc::Rc;

const FOLLOWS: &str = "ERR this server follows another one, which is the one to hand over";

const IS_DONE: &str = "ERR this server has handed over; REPLICAOF NO ONE has it take writes again";

const FAILS_OVER: &str = "ERR a replica is about to lead: hand over that one";

const NOT_PAUSED: &str = "ERR writes are not paused by this connection: say TORIL HANDOVER PAUSE \
    milliseconds before";

/// Where clients are to go, and whether they are brought there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandedOver {
    /// With the login of those who are carried over.
    pub url: ServerUrl,
    /// Up to when, by the monotonic clock, what clients say who come here is carried over.
    pub forwards_until_us: u64,
    /// Clients whose connections are carried over as they are, and what they have said last.
    carried: BTreeMap<ClientId, Vec<u8>>,
}

impl HandedOver {
    /// To a server, where what clients say is carried over until then.
    pub fn to(url: ServerUrl, forwards_until_us: u64) -> Self {
        Self { url, forwards_until_us, carried: BTreeMap::new() }
    }
}

/// A connection that is to be carried over.
#[derive(Debug, PartialEq, Eq)]
pub struct Carried {
    pub to: ServerUrl,
    /// What the client is known by here, and is to be known by there.
    pub name: Box<[u8]>,
    pub db: usize,
    pub protocol: Protocol,
    /// What it has said of replies.
    pub reply_mode: ReplyMode,
    /// A word that nobody else says.
    pub mark: String,
    /// What the client waits for an answer to.
    pub request: Vec<u8>,
}

impl Ctx<'_> {
    /// Holds writes back for so long, or until the caller's connection ends. Returns the offset of
    /// the stream at which they stop.
    ///
    /// # Errors
    /// This server does not lead.
    pub fn pause_to_hand_over(&mut self, span_us: u64) -> Result<u64> {
        self.engine.pause_to_hand_over(self.client, span_us)
    }

    /// Lets writes go on.
    pub fn resume_from_handing_over(&mut self) {
        self.engine.resume_from_handing_over();
    }

    /// Takes no more writes, if the stream is still at this offset.
    ///
    /// # Errors
    /// It is not, or writes are not paused: all is as it was.
    pub fn hand_over(&mut self, offset: u64, to: HandedOver) -> Result {
        self.engine.leave_to(self.client, offset, to)
    }
}

impl Engine {
    fn pause_to_hand_over(&mut self, id: ClientId, span_us: u64) -> Result<u64> {
        if self.replication.is_following() {
            return Err(Error::new(FOLLOWS));
        }
        if self.replication.handed_over.is_some() {
            return Err(Error::new(IS_DONE));
        }
        if self.replication.is_failing_over() {
            return Err(Error::new(FAILS_OVER));
        }
        // What is over goes now, so that both sides can be counted.
        while self.keyspace.expire_due(config::TURN_EXPIRIES_MAX) > 0 {}
        self.unpause(PauseOwner::HandOver);
        self.pause(PauseOwner::HandOver, span_us, true);
        self.replication.hands_over = Some(id);
        Ok(self.stream_offset())
    }

    fn resume_from_handing_over(&mut self) {
        self.replication.hands_over = None;
        self.unpause(PauseOwner::HandOver);
    }

    /// A client has gone: what is held back on its behalf goes on.
    pub(super) fn leave_handing_over(&mut self, id: ClientId) {
        if self.replication.hands_over == Some(id) {
            tracing::warn!("Who wanted to take over has gone: writes go on");
            self.resume_from_handing_over();
        }
    }

    fn leave_to(&mut self, id: ClientId, offset: u64, to: HandedOver) -> Result {
        if self.replication.hands_over != Some(id) || !self.is_paused(PauseOwner::HandOver) {
            return Err(Error::new(NOT_PAUSED));
        }
        let here = self.stream_offset();
        if here != offset {
            return Err(Error::new(format!("ERR the stream is at {here}, not at {offset}")));
        }
        let ServerUrl { host, port, .. } = &to.url;
        tracing::warn!("Handed over to {}:{port} at offset {offset}", host.escape_debug());
        self.replication.handed_over = Some(to.into());
        self.let_users_go(id);
        self.resume_from_handing_over();
        Ok(())
    }

    /// Closes the connections of all users but one, when what they were answered is sent. Those
    /// that are carried over close here only.
    fn let_users_go(&mut self, spared: ClientId) {
        let is_meant = |client: &&Client| {
            let waits_for_us = matches!(client.parked, Some(Parked::Effect(_)));
            let is_connected = client.peer.transport != Transport::Http;
            client.is_user() && client.id != spared && is_connected && !waits_for_us
        };
        let all: Vec<ClientId> = self.clients.iter().filter(is_meant).map(|it| it.id).collect();
        let now_us = self.keyspace.now.mono_us;
        for id in all {
            let can_be_carried = self.can_be_carried(&self.clients[id]);
            let request = match self.unpark(id) {
                Some(Parked::Keys(park)) => {
                    let rest_us = park.deadline_us.map(|it| it.saturating_sub(now_us));
                    self.written(&park.request.words.words(), rest_us)
                }
                // What was said of the command before is over.
                _ => {
                    let client = &mut self.clients[id];
                    if client.reply_mode == ReplyMode::SkipThis {
                        client.reply_mode = ReplyMode::On;
                    }
                    Vec::new()
                }
            };
            self.clients[id].state = State::Closing;
            self.clients.mark_runnable(id);
            let to = self.replication.handed_over.as_mut();
            if let Some(to) = to.filter(|it| can_be_carried && now_us < it.forwards_until_us) {
                to.carried.insert(id, request);
            }
        }
    }

    /// Whether a client can be made over there from what is known of it here.
    fn can_be_carried(&self, client: &Client) -> bool {
        let has_state = client.transaction.is_open()
            || !client.transaction.watched.is_empty()
            || client.subscriptions() > 0
            || client.tracking.is_some()
            || client.is_monitor;
        !has_state && self.is_open() && Rc::ptr_eq(&client.user, self.acl.default_user())
    }

    /// Whether whoever comes may do everything, so that it is given the login of the other server.
    fn is_open(&self) -> bool {
        !self.acl.needs_login() && self.acl.default_user().is_unrestricted()
    }

    /// A client's connection is over here; what is to be said where it goes on. None if it does
    /// not.
    pub fn take_carried(&mut self, id: ClientId) -> Option<Carried> {
        let to = self.replication.handed_over.as_mut()?;
        let request = to.carried.remove(&id)?;
        let to = to.url.clone();
        let mark = self.keyspace.rng.hex_name();
        let client = self.clients.get(id)?;
        let (name, db, protocol) = (client.name.clone(), client.db, client.outbox.protocol);
        let reply_mode = client.reply_mode;
        Some(Carried { to, name, db, protocol, reply_mode, mark, request })
    }

    /// A request to wait, for what is left of its time; None waits for ever.
    fn written(&self, words: &[&[u8]], rest_us: Option<u64>) -> Vec<u8> {
        let found = self.table.resolve(&Args::new(words));
        let rest = found.ok().zip(rest_us);
        let rest = rest.and_then(|(it, rest_us)| rest_of_wait(it.row.flags, words, rest_us));
        let mut words = words.to_vec();
        if let Some((at, rest)) = &rest {
            words[*at] = rest.as_bytes();
        }
        let mut bytes = Vec::new();
        request::write(&words, &mut bytes);
        bytes
    }

    /// Where a new connection is to be carried over to, and how to log in there. None if it is to
    /// be served here: nothing is carried any more, or that client may not come in.
    pub fn forwards_to(&self, peer: &Peer, now: Now) -> Option<ServerUrl> {
        let to = self.replication.handed_over.as_ref()?;
        let is_time = now.mono_us < to.forwards_until_us;
        if !is_time || self.refusal(peer).is_some() {
            return None;
        }
        if self.is_open() {
            return Some(to.url.clone());
        }
        // Who may not do everything here must not come to that there: it has to log in itself,
        // where that is asked for.
        let asks = to.url.password.is_some();
        asks.then(|| ServerUrl { user: None, password: None, ..to.url.clone() })
    }

    /// READONLY, with the place to go to where it is known.
    pub(super) fn read_only_error(&self) -> Error {
        match &self.replication.handed_over {
            None => Error::ReadOnly,
            Some(to) => Error::new(format!(
                "READONLY this server has handed over to {}:{}: connect there",
                to.url.host, to.url.port
            )),
        }
    }
}

/// Where a blocking command says how long it waits, and what is left of that, as it is told there.
fn rest_of_wait(flags: Flags, words: &[&[u8]], rest_us: u64) -> Option<(usize, String)> {
    // 0 would be for ever.
    let rest_us = rest_us.max(1_000);
    let seconds = || format!("{}.{:06}", rest_us / 1_000_000, rest_us % 1_000_000);
    if flags.has(Flag::BlocksByOption) {
        return Some((behind_block(words)?, rest_us.div_ceil(1_000).to_string()));
    }
    let at = if flags.has(Flag::BlocksForFirst) { 1 } else { words.len() - 1 };
    Some((at, seconds()))
}

/// The place behind the option BLOCK. A group and its consumer may be called so, too.
fn behind_block(words: &[&[u8]]) -> Option<usize> {
    let mut at = 1;
    while let Some(word) = words.get(at) {
        match word {
            word if is_keyword(word, "block") => return Some(at + 1),
            word if is_keyword(word, "group") => at += 3,
            _ => at += 1,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(how: Flag, line: &str, rest_us: u64, expect: (usize, &str)) {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let flags = Flags::new(&[Flag::Blocking, how]);
        let (at, rest) = rest_of_wait(flags, &words, rest_us).unwrap();
        assert_eq!((at, &*rest), expect, "{line}");
    }

    #[test]
    fn who_waits_goes_on_for_the_rest_of_its_time() {
        check(Flag::Blocking, "BLPOP a b 10", 2_500_000, (3, "2.500000"));
        check(Flag::Blocking, "blmove a b LEFT LEFT 10", 7, (5, "0.001000"));
        check(Flag::BlocksForFirst, "BZMPOP 5 1 z MIN", 1_000_001, (1, "1.000001"));
        check(Flag::BlocksByOption, "XREAD block 900 STREAMS s $", 1, (2, "1"));
        let of_group = "XREADGROUP GROUP block block COUNT 1 BLOCK 900 STREAMS s >";
        check(Flag::BlocksByOption, of_group, 500_001, (7, "501"));
    }
}
