//! Tokens over HTTP: whose rights a request has that shows one.
//!
//! `http-token`, or the one that the server makes, and any password of `default` stand for that
//! user; `http-readonly-token` for one that may only read. `ACL RESTTOKEN` makes a token for any
//! user out of its name and a password, so that nothing is kept: a token lives as long as the
//! password does, also in a server that was started anew. A user that needs no password has no
//! token, since everybody could make it.

use super::log::Context;
use super::selector::Reason;
use super::user::User;
use crate::config::Secret;
use crate::engine::Engine;
use crate::engine::client::ClientId;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::rc::Rc;

/// The token of a user: its name, a zero, which no name has, and a password.
pub fn make_token(name: &[u8], password: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode([name, b"\0", password].concat())
}

/// The name and the password in a token, if it is one that `make_token` could have made.
fn parts(token: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut name = URL_SAFE_NO_PAD.decode(token).ok()?;
    let zero = name.iter().position(|&byte| byte == 0)?;
    let password = name.split_off(zero + 1);
    name.truncate(zero);
    Some((name, password))
}

impl Engine {
    /// The user that a token stands for. `made` opens the door where no setting and no password
    /// says what else does.
    pub fn user_of_token(&self, token: &[u8], made: &Secret) -> Option<&Rc<User>> {
        let config = &self.config;
        let default = self.acl.default_user();
        let whole = match &config.http_token {
            None if default.needs_no_password => Some(made),
            given => given.as_ref(),
        };
        if default.is_on
            && (whole.is_some_and(|whole| whole.admits(token))
                || config.http_token.is_none() && default.has_password(token))
        {
            return Some(default);
        }
        if config.http_readonly_token.as_ref().is_some_and(|it| it.admits(token)) {
            return Some(&self.acl.reader);
        }
        let (name, password) = &parts(token)?;
        self.acl.owner(name, password)
    }

    /// Makes a client the user whose token it shows; false, with an entry in ACL LOG, if it is
    /// nobody's.
    pub fn log_in_by_token(&mut self, id: ClientId, token: &[u8], made: &Secret) -> bool {
        let Some(user) = self.user_of_token(token, made).cloned() else {
            let (name, _) = parts(token).unwrap_or_default();
            self.note_denial(id, Reason::Login, Context::TopLevel, b"HTTP", &name);
            return false;
        };
        self.trust(id, &user);
        true
    }

    /// A client has shown a user's token.
    pub fn trust(&mut self, id: ClientId, user: &Rc<User>) {
        if let Some(client) = self.clients.get_mut(id) {
            client.is_authenticated = true;
            client.become_user(user);
        }
        self.clients.mark_stranger(id, false);
    }
}
