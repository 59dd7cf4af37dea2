//! Pushes: bytes that answer no request, such as a message of a channel. One to a client whose
//! request is running waits until the reply stands.

use super::Engine;
use super::client::{ClientId, State};

#[derive(Default)]
pub(super) struct Pushes {
    /// Whose request is running.
    current: Option<ClientId>,
    /// Those that wait, in order.
    held: Vec<(ClientId, Vec<u8>)>,
}

impl Pushes {
    /// From here on pushes to a client wait; returns to whom they waited before.
    pub fn hold_for(&mut self, id: Option<ClientId>) -> Option<ClientId> {
        std::mem::replace(&mut self.current, id)
    }
}

impl Engine {
    /// Sends bytes that answer no request: behind the reply if the client's request is running.
    pub fn push(&mut self, id: ClientId, bytes: &[u8]) {
        let Some(client) = self.clients.get_mut(id) else { return };
        if self.pushes.current == Some(id) || client.state == State::Running {
            self.pushes.held.push((id, bytes.to_vec()));
        } else {
            client.outbox.raw(bytes);
            self.clients.mark_dirty(id);
        }
    }

    /// Sends what waited for a client's reply.
    #[inline]
    pub(super) fn release_pushes(&mut self, id: ClientId) {
        if !self.pushes.held.is_empty() {
            self.release_held_pushes(id);
        }
    }

    #[cold]
    fn release_held_pushes(&mut self, id: ClientId) {
        for (_, bytes) in self.pushes.held.extract_if(.., |(to, _)| *to == id) {
            self.clients[id].outbox.raw(&bytes);
        }
    }
}
