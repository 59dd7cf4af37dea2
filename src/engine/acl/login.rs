//! Who a client is, and what becomes of clients when their user does.

use super::log::Context;
use super::selector::Reason;
use super::user::User;
use super::{Acl, DEFAULT};
use crate::config::Secret;
use crate::engine::Engine;
use crate::engine::client::{Client, ClientId, State, Transport};
use crate::engine::context::{Ctx, Origin};
use crate::engine::effect::Effect;
use crate::engine::pubsub::ChannelKind;
use crate::proto::{Error, Result};
use std::rc::Rc;

impl Acl {
    /// Whether who comes is nobody before it has logged in. Asked of those alone who have not, so
    /// that it must not make the code longer that serves the others.
    #[cold]
    #[inline(never)]
    pub fn needs_login(&self) -> bool {
        let user = self.default_user();
        !user.is_on || !user.needs_no_password
    }

    /// The user of this name, if the password is right.
    pub fn login(&self, name: &[u8], password: &[u8]) -> Option<&Rc<User>> {
        self.get(name).filter(|user| user.admits(password))
    }

    /// The user of this name, if this is one of its passwords. Who needs no password has none: what
    /// asks for one must not take any.
    pub fn owner(&self, name: &[u8], password: &[u8]) -> Option<&Rc<User>> {
        self.get(name).filter(|user| user.is_on && user.has_password(password))
    }
}

impl Client {
    /// Makes it the client of a user.
    pub fn become_user(&mut self, user: &Rc<User>) {
        self.is_unrestricted = user.is_unrestricted();
        self.user = user.clone();
    }
}

impl Ctx<'_> {
    /// AUTH and the option of HELLO.
    ///
    /// # Errors
    /// As `check_login`.
    pub fn log_in(&mut self, name: &[u8], password: &[u8], command: &[u8]) -> Result {
        let user = self.check_login(name, password, command)?;
        if let Some(client) = self.caller() {
            client.is_authenticated = true;
            client.become_user(&user);
        }
        Ok(())
    }

    /// The user of this name.
    ///
    /// # Errors
    /// If there is none, or the password is another. It does not tell which. `command` is noted.
    pub fn check_login(
        &mut self,
        name: &[u8],
        password: &[u8],
        command: &[u8],
    ) -> Result<Rc<User>> {
        let Some(user) = self.engine.acl.login(name, password).cloned() else {
            let context = if matches!(self.origin, Origin::Exec) {
                Context::Multi
            } else {
                Context::TopLevel
            };
            self.engine.note_denial(self.client, Reason::Login, context, command, name);
            return Err(Error::WrongPass);
        };
        Ok(user)
    }

    /// As a client that has just come: `default`, if that needs no password.
    pub fn log_out(&mut self) {
        self.engine.log_out(self.client);
    }
}

impl Engine {
    pub(in crate::engine) fn log_out(&mut self, id: ClientId) {
        let is_authenticated = !self.acl.needs_login();
        let client = &mut self.clients[id];
        client.is_authenticated = is_authenticated;
        client.become_user(self.acl.default_user());
    }

    /// The setting `requirepass` is the one password of `default`; an empty one, that it needs
    /// none.
    pub(in crate::engine) fn set_default_password(&mut self, password: Option<&Secret>) {
        let rule = password.map(|secret| [b">", secret.reveal()].concat());
        let words = [b"resetpass", rule.as_deref().unwrap_or(b"nopass")];
        self.set_user(DEFAULT, &words, None).expect("good rules");
    }

    /// Gives the clients of a user to the one that takes its place. Who listens to a channel that
    /// it may no longer hear is closed, as in Redis; `caller` once it has its answer.
    pub(super) fn hand_over(
        &mut self,
        before: &Rc<User>,
        user: &Rc<User>,
        caller: Option<ClientId>,
    ) {
        let hears_less = !user.hears_all_of(before);
        for id in self.clients_of(before) {
            let client = &mut self.clients[id];
            client.become_user(user);
            let may_hear = |kind: ChannelKind| {
                let mut names = client.names(kind).iter();
                names.all(|name| user.allows_channel(name, kind == ChannelKind::Pattern))
            };
            if hears_less && !ChannelKind::ALL.into_iter().all(may_hear) {
                self.expel(id, caller);
            }
        }
    }

    pub(super) fn close_clients_of(&mut self, user: &Rc<User>, caller: Option<ClientId>) {
        for id in self.clients_of(user) {
            self.expel(id, caller);
        }
    }

    /// A client that is nobody's any more ends: the caller once it has its answer. Over HTTP, where
    /// the next request shows a token, it stays, and the rest of this one may do nothing.
    fn expel(&mut self, id: ClientId, caller: Option<ClientId>) {
        if Some(id) == caller && self.clients[id].peer.transport == Transport::Http {
            let nobody = User::new(&self.clients[id].user.name, &self.rules());
            self.clients[id].become_user(&nobody.into());
            return;
        }
        self.log_out(id);
        self.clients[id].is_authenticated = false;
        if Some(id) == caller {
            self.clients[id].state = State::Closing;
        } else {
            self.disconnect(id, self.keyspace.now);
            self.ask(Effect::Close { client: id });
        }
    }

    fn clients_of(&self, user: &Rc<User>) -> Vec<ClientId> {
        let clients = self.clients.iter().filter(|client| Rc::ptr_eq(&client.user, user));
        clients.map(|client| client.id).collect()
    }
}
