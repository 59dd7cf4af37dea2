//! Tokens over HTTP: whose rights a request has that shows one.
//!
//! `http-token`, or the one that the server makes, and any password of `default` stand for that
//! user; `http-readonly-token` for one that may only read. `ACL RESTTOKEN` makes a token for any
//! user out of its name and a password, so that nothing is kept: a token lives as long as the
//! password does, also in a server that was started anew. A user that needs no password has no
//! token, since everybody could make it.

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
        let decoded = URL_SAFE_NO_PAD.decode(token).ok()?;
        let zero = decoded.iter().position(|&byte| byte == 0)?;
        self.acl.owner(&decoded[..zero], &decoded[zero + 1..])
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
