//! Where another server is, who we are there, and whom we believe.

use super::Tls;
use crate::config::ServerUrl;
use std::fmt;
use std::ops::Deref;
use std::rc::Rc;

/// A server by its URL.
#[derive(Clone)]
pub struct Place {
    url: ServerUrl,
    /// Whom to believe there, if its URL asks for TLS.
    tls: Rc<Tls>,
}

impl Place {
    /// A server by its URL, and whom to believe there if that asks for TLS.
    pub fn new(url: ServerUrl, tls: &Rc<Tls>) -> Self {
        Self { url, tls: tls.clone() }
    }

    /// Another server of the same kind, to whom we are the same.
    pub fn beside(&self, host: &str, port: u16) -> Self {
        let host = if host.is_empty() { self.host.clone() } else { host.to_owned() };
        let url = ServerUrl { host, port, ..self.url.clone() };
        Self { url, tls: self.tls.clone() }
    }

    pub fn is(&self, other: &Self) -> bool {
        (&self.host, self.port) == (&other.host, other.port)
    }

    /// None where nothing is to be encrypted.
    pub fn tls(&self) -> Option<&Tls> {
        self.is_tls.then_some(&*self.tls)
    }

    /// The words that log in; None if nobody has to.
    pub fn login(&self) -> Option<Vec<&[u8]>> {
        let password = self.password.as_ref()?.reveal();
        let user = self.user.as_ref().map(|it| it.as_bytes());
        Some([&b"AUTH"[..]].into_iter().chain(user).chain([password]).collect())
    }

    /// As `login`, with the user's name in any case.
    pub fn named_login(&self) -> Option<[&[u8]; 3]> {
        let password = self.password.as_ref()?.reveal();
        Some([b"AUTH", self.user.as_deref().unwrap_or("default").as_bytes(), password])
    }
}

impl Deref for Place {
    type Target = ServerUrl;

    fn deref(&self) -> &ServerUrl {
        &self.url
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(f)
    }
}
