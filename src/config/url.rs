//! Where another server is, as a URL: `redis://user:password@host:6379/0`, or `rediss://` with TLS.

use super::Secret;
use percent_encoding::percent_decode_str;
use std::fmt;

const PORT: u16 = 6379;

/// A server, and how to log in there. Its `Display` and `Debug` leave the password out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerUrl {
    /// Whether it is spoken to over TLS.
    pub is_tls: bool,
    /// The user to log in as; None: the default one.
    pub user: Option<String>,
    /// None: nobody logs in.
    pub password: Option<Secret>,
    /// A name, or an address without brackets.
    pub host: String,
    /// 6379 where the URL names none.
    pub port: u16,
    /// None where the URL names no database.
    pub db: Option<usize>,
}

impl ServerUrl {
    /// A server without TLS, where nobody logs in.
    pub fn to(host: String, port: u16) -> Self {
        Self { is_tls: false, user: None, password: None, host, port, db: None }
    }

    /// Reads a URL. What a user or a password has besides letters and digits may be written as
    /// `%40`.
    ///
    /// # Errors
    /// What is wrong with it, and what would be right. No part of the URL is quoted but its host,
    /// its port and its path: the rest may be a password.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (is_tls, rest) = match text.split_once("://") {
            Some(("redis", rest)) => (false, rest),
            Some(("rediss", rest)) => (true, rest),
            _ => {
                return Err("a URL begins with redis:// or rediss://, as in \
                             redis://user:password@127.0.0.1:6379/0"
                    .into());
            }
        };
        let (place, path) = rest.split_once('/').unwrap_or((rest, ""));
        if path.contains('@') {
            return Err("a / stands before the @: in a user or a password it is %2F".into());
        }
        let (login, place) = match place.rsplit_once('@') {
            Some((login, place)) => (Some(login), place),
            None => (None, place),
        };
        if place.contains(['?', '#']) || path.contains(['?', '#']) {
            return Err("a URL has no ? and no # here; in a password they are %3F and %23".into());
        }
        let (host, port) = split_place(place)?;
        let db = match path {
            "" => None,
            digits => Some(digits.parse().map_err(|_| {
                format!(
                    "/{digits} names no database: \
                 a number stands there, as in /0; in a password a / is %2F"
                )
            })?),
        };
        let (user, password) = match login.map(|it| it.split_once(':').unwrap_or(("", it))) {
            Some((user, password)) => (Some(plain(user)?), Some(plain(password)?)),
            None => (None, None),
        };
        Ok(Self {
            is_tls,
            user: user.filter(|it| !it.is_empty()),
            password: password.filter(|it| !it.is_empty()).map(|it| Secret::new(it.as_bytes())),
            host: host.to_owned(),
            port,
            db,
        })
    }
}

/// `host:port`, `[::1]:port`, or either without a port.
fn split_place(place: &str) -> Result<(&str, u16), String> {
    let wrong_port = |port: &str| format!("{port:?} is no port: those are 1 to 65535");
    let (host, port) = match place.strip_prefix('[').map(|rest| rest.split_once(']')) {
        Some(Some((host, rest))) => {
            (host, rest.strip_prefix(':').or((rest.is_empty()).then_some("")))
        }
        Some(None) => (place, None),
        None => match place.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, Some("")),
        },
    };
    let Some(port) = port else {
        return Err(format!("{place:?} has brackets that do not close: [::1]:6379"));
    };
    if host.is_empty() {
        return Err("a URL names a host, as in redis://127.0.0.1:6379".into());
    }
    match port {
        "" => Ok((host, PORT)),
        _ => match port.parse() {
            Ok(0) | Err(_) => Err(wrong_port(port)),
            Ok(port) => Ok((host, port)),
        },
    }
}

/// What a part of the login says.
fn plain(part: &str) -> Result<String, String> {
    let text = percent_decode_str(part).decode_utf8();
    text.map(Into::into).map_err(|_| "the user and the password of a URL are UTF-8".into())
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "rediss" } else { "redis" };
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{scheme}://{open}{}{close}:{}", self.host, self.port)?;
        self.db.map_or(Ok(()), |db| write!(f, "/{db}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Login, place.
    fn check(text: &str, expect: (&str, &str)) {
        let url = ServerUrl::parse(text).unwrap();
        let password = url.password.as_ref().map(|it| String::from_utf8_lossy(it.reveal()));
        let login = format!("{:?} {:?}", url.user.as_deref(), password.as_deref());
        assert_eq!(
            (login.replace("Some", "").as_str(), url.to_string().as_str()),
            expect,
            "{text}"
        );
        assert!(!format!("{url:?}").contains("geheim"), "{text}");
    }

    #[test]
    fn a_url_says_where_and_who() {
        check("redis://a", ("None None", "redis://a:6379"));
        check("rediss://a:1/3", ("None None", "rediss://a:1/3"));
        check("redis://a:1/", ("None None", "redis://a:1"));
        check("redis://:geheim@a", ("None (\"geheim\")", "redis://a:6379"));
        check("redis://geheim@a", ("None (\"geheim\")", "redis://a:6379"));
        check("redis://ada:geheim%40%2f@[::1]:7", ("(\"ada\") (\"geheim@/\")", "redis://[::1]:7"));
        check("redis://ada:gehe@im@a:7", ("(\"ada\") (\"gehe@im\")", "redis://a:7"));
        check("redis://[::1]", ("None None", "redis://[::1]:6379"));
    }

    fn refused(text: &str, begin: &str) {
        let error = ServerUrl::parse(text).unwrap_err();
        assert!(error.starts_with(begin), "{text}: {error}");
        assert!(!error.contains("geheim"), "{text}: {error}");
    }

    #[test]
    fn what_is_wrong_is_said_without_the_password() {
        refused("http://a", "a URL begins with redis://");
        refused("localhost:6379", "a URL begins with redis://");
        refused("redis://", "a URL names a host");
        refused("redis://:geheim@:1", "a URL names a host");
        refused("redis://:geheim@a:0", "\"0\" is no port");
        refused("redis://:geheim@a:70000", "\"70000\" is no port");
        refused("redis://a/x", "/x names no database");
        refused("redis://[::1:6379", "\"[::1:6379\" has brackets");
        refused("redis://:geheim@a?tls=1", "a URL has no ?");
        refused("redis://u:geheim/x@a", "a / stands before the @");
        refused("redis://u:a:geheim/1@a", "a / stands before the @");
    }
}
