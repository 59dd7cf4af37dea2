//! What befalls the whole server: it ends and comes back, or another takes its place.
//!
//! Neither is a real one: the process goes on, and with it the connections of tests, which are
//! spared: those whose name is `toril`, and those that wait for an answer of TORIL's.

use crate::engine::Engine;
use crate::engine::client::{Client, ClientId, State, Transport};
use crate::engine::effect::Effect;
use crate::engine::following::UNBLOCKED;
use crate::engine::row::Flag;
use crate::engine::script::Realm;
use crate::proto::Error;

fn is_spared(client: &Client) -> bool {
    let waits_for_us = || client.last_command.is_some_and(|it| it.row.flags.has(Flag::ForTests));
    *client.name == *b"toril" || client.state == State::Parked && waits_for_us()
}

/// All connections end, and for a while nobody can connect. Scripts are forgotten, as by every
/// restart; with its data a server loses its functions. `asking` is the client whose request is
/// under way.
pub fn restart(engine: &mut Engine, asking: ClientId, keeps_data: bool, down_ms: u64) {
    engine.scripts.forget(Realm::Scripts);
    if !keeps_data {
        engine.scripts.forget(Realm::Functions);
        engine.keyspace.lose_all();
        engine.want_all();
        engine.ask(Effect::Follow);
    }
    for id in engine.clients.ids() {
        let client = &mut engine.clients[id];
        if is_spared(client) {
            continue;
        }
        if id != asking {
            engine.disconnect(id, engine.keyspace.now);
        } else if has_asked_over_http(client) {
            // Its answer is all that it waits for.
            continue;
        } else {
            client.state = State::Closing;
        }
        engine.ask(Effect::Close { client: id });
    }
    engine.ask(Effect::Absent { micros: down_ms.saturating_mul(1000) });
}

fn has_asked_over_http(client: &Client) -> bool {
    let is_ours = client.last_command.is_some_and(|it| it.row.flags.has(Flag::ForTests));
    is_ours && client.peer.transport == Transport::Http
}

/// Who waits for keys is told, and its connection ends.
pub fn fail_over(engine: &mut Engine) {
    for id in engine.clients.ids() {
        if !is_spared(&engine.clients[id]) && engine.unblock(id, Some(Error::new(UNBLOCKED))) {
            engine.clients[id].state = State::Closing;
        }
    }
}
