//! What befalls connections: replies that come late, in part or never, and ends.
//!
//! A reply is dealt with once it stands, which for a request that waits may be much later. Until
//! then nothing of it is sent: the outbox's mark `ready` stands before it. It is looked at when the
//! next request of its connection comes, before that is run, and before anything is sent. So what
//! is in the outbox behind the mark is this reply, and pushes that came with it.
//!
//! Who else lets outboxes wait, such as a log that is written, must leave the mark at the smaller
//! of the two positions.

use super::action::{Ending, Then};
use crate::engine::Engine;
use crate::engine::client::{ClientId, State, Transport};
use crate::engine::effect::Effect;
use std::collections::{BTreeMap, VecDeque};

/// What becomes of a reply.
#[derive(Clone, Copy)]
pub enum Deed {
    /// It is withheld, and the connection ends.
    End(Ending),
    /// It comes so many milliseconds later.
    Hold(u64),
    Half(Then),
}

/// A connection that has been hit.
#[derive(Default)]
struct Wire {
    /// Where the reply begins that is dealt with once it stands.
    due: Option<(u64, Deed)>,
    /// Where replies begin that are held back, and until when on the monotonic clock.
    held: VecDeque<(u64, u64)>,
    /// Nothing is sent from this position on, and nothing is heard.
    mute_from: Option<u64>,
}

impl Wire {
    /// All may be sent that stands before this.
    fn ready(&self) -> u64 {
        let held = self.held.front().map(|(from, _)| *from);
        let due = self.due.map(|(from, _)| from);
        [held, due, self.mute_from].into_iter().flatten().min().unwrap_or(u64::MAX)
    }
}

#[derive(Default)]
pub struct Wires {
    all: BTreeMap<ClientId, Wire>,
}

impl Wires {
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The request under way is run; this is what its reply comes to.
    pub fn expect(&mut self, engine: &mut Engine, id: ClientId, deed: Deed) {
        let Some(outbox) = engine.outbox(id) else { return };
        let wire = self.all.entry(id).or_default();
        wire.due = Some((outbox.position(), deed));
        outbox.set_ready(wire.ready());
    }

    /// From here on nothing is heard or said.
    pub fn mute(&mut self, engine: &mut Engine, id: ClientId) {
        let Some(outbox) = engine.outbox(id) else { return };
        self.all.entry(id).or_default().mute_from = Some(outbox.position());
    }

    /// Ends a connection once what it was answered before has been sent, or as much of that as its
    /// socket takes at once.
    pub fn end(&mut self, engine: &mut Engine, id: ClientId, how: Ending) {
        let Some(client) = engine.clients.mark_dirty(id) else { return };
        client.state = State::Closing;
        let is_http = client.peer.transport == Transport::Http;
        match how {
            // What is held back is lost with the rest.
            Ending::Reset => {
                self.all.remove(&id);
                engine.ask(Effect::Reset { client: id });
            }
            // There nothing is sent before the answer is whole.
            Ending::Close if is_http => engine.ask(Effect::Close { client: id }),
            Ending::Close => {}
        }
    }

    /// Deals with a reply that stands by now. True if the connection hears nothing any more.
    pub fn look(&mut self, engine: &mut Engine, id: ClientId) -> bool {
        let Some(wire) = self.all.get_mut(&id) else { return false };
        let Some(client) = engine.clients.get_mut(id) else {
            self.all.remove(&id);
            return false;
        };
        if let Some(from) = wire.mute_from {
            client.outbox.cut(from);
            return true;
        }
        let stands = !matches!(client.state, State::Parked | State::Running);
        let Some((from, deed)) = wire.due.take_if(|_| stands) else { return false };
        let now_us = engine.keyspace.now.mono_us;
        let (mut ending, mut wake) = (None, None);
        match deed {
            Deed::Hold(ms) => {
                let until_us = now_us.saturating_add(ms.saturating_mul(1000));
                let last_us = wire.held.back().map_or(0, |(_, until_us)| *until_us);
                wire.held.push_back((from, until_us.max(last_us)));
                wake = Some(until_us.max(last_us));
            }
            Deed::Half(then) => {
                let half = from + (client.outbox.position() - from) / 2;
                client.outbox.cut(half);
                match then {
                    Then::Close => ending = Some(Ending::Close),
                    Then::Hang => wire.mute_from = Some(half),
                }
            }
            Deed::End(how) => {
                client.outbox.cut(from);
                ending = Some(how);
            }
        }
        client.outbox.set_ready(wire.ready());
        let is_mute = wire.mute_from.is_some();
        if wire.held.is_empty() && !is_mute {
            self.all.remove(&id);
        }
        if let Some(until_us) = wake {
            engine.wake_fixture_at(until_us);
        }
        if let Some(how) = ending {
            self.end(engine, id, how);
        }
        is_mute || ending.is_some()
    }

    /// Lets replies go whose time has come, and forgets connections that are gone.
    pub fn release(&mut self, engine: &mut Engine) {
        let now_us = engine.keyspace.now.mono_us;
        self.all.retain(|&id, wire| {
            let Some(client) = engine.clients.get_mut(id) else { return false };
            let is_due = |(_, until_us): &mut (u64, u64)| *until_us <= now_us;
            let mut has_come = false;
            while wire.held.pop_front_if(is_due).is_some() {
                has_come = true;
            }
            if has_come {
                client.outbox.set_ready(wire.ready());
                engine.clients.mark_dirty(id);
            }
            wire.due.is_some() || !wire.held.is_empty() || wire.mute_from.is_some()
        });
    }
}
