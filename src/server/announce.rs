//! What is said once the server can be reached: to people in the log, and with `announce json` to
//! the program that started it, in one line.

use super::listen::Listeners;
use crate::config::{Announce, REDIS_VERSION, Secret, TORIL_VERSION};
use crate::engine::Engine;
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Says what this is, where it listens, and how to use it. Tools wait for the last line.
/// `made_token` opens HTTP if no other is given: it is shown here, and nowhere else.
pub fn tell(listeners: &Listeners, engine: &Engine, made_token: &Secret) {
    let config = &engine.config;
    let needs_password = !engine.acl.default_user().needs_no_password;
    tracing::info!(
        "toril {TORIL_VERSION}, an in-memory queue server for clients of Redis {REDIS_VERSION}"
    );
    let addresses = listeners.tcp_addresses();
    for address in &addresses {
        tracing::info!("Listening on {address}");
    }
    if let Some(path) = listeners.unix_path() {
        tracing::info!("Listening on the Unix socket {}", path.display());
    }
    let password = if needs_password { ", password: '...'" } else { "" };
    let connection = match (addresses.first(), listeners.unix_path()) {
        (Some(address), _) => {
            format!("host: '{}', port: {}{password}", reachable(address).ip(), address.port())
        }
        (None, Some(path)) => format!("path: '{}'{password}", path.display()),
        (None, None) => unreachable!("there is something to listen on"),
    };
    tracing::info!("BullMQ: new Queue('jobs', {{ connection: {{ {connection} }} }})");
    if let Some(address) = listeners.http_address() {
        let token = match &config.http_token {
            Some(_) => Cow::from("<your http-token>"),
            None if config.requirepass.is_some() => Cow::from("<your requirepass>"),
            None if needs_password => Cow::from("<a password of default>"),
            None => String::from_utf8_lossy(made_token.reveal()),
        };
        // Not into the log, which may be kept; and as they are pasted into `.env`.
        super::say(&format!(
            "UPSTASH_REDIS_REST_URL=http://{}\nUPSTASH_REDIS_REST_TOKEN={token}",
            reachable(&address)
        ));
    }
    match listeners.http_address() {
        Some(address) if config.http_dashboard => {
            let is_open = config.http_token.is_none() && !needs_password;
            let asks = if is_open { "" } else { ", which asks for the token" };
            tracing::info!("Queues: http://{}/{asks}", reachable(&address));
        }
        Some(_) => {}
        None => tracing::info!("To see the queues in a browser, start with --http-port 8079"),
    }
    tracing::info!("Ready to accept connections");
    if config.announce == Announce::Json {
        super::say(&line(listeners, engine, made_token));
    }
}

/// All that a program needs in order to use the server, among it what opens it: whoever reads this
/// has started the server. `made_token` opens HTTP if nothing else does.
pub fn line(listeners: &Listeners, engine: &Engine, made_token: &Secret) -> String {
    let config = &engine.config;
    let own_token = Some(made_token).filter(|_| engine.acl.default_user().needs_no_password);
    let tcp = listeners.tcp_addresses().first().map(reachable);
    let path = listeners.unix_path().map(|path| path.display().to_string());
    let password = config.requirepass.as_ref().map_or(String::new(), |secret| {
        format!(":{}@", percent_encode(secret.reveal(), NON_ALPHANUMERIC))
    });
    let url = match (tcp, &path) {
        (Some(address), _) => format!("redis://{password}{address}"),
        (None, path) => format!("unix://{password}{}", path.as_deref().unwrap_or_default()),
    };
    let http = listeners.http_address().map(|address| {
        let token = config.http_token.as_ref().or(config.requirepass.as_ref()).or(own_token);
        let token = token.map(|secret| String::from_utf8_lossy(secret.reveal()).into_owned());
        format!(
            r#"{{"url":{},"token":{}}}"#,
            json(Some(&format!("http://{}", reachable(&address)))),
            json(token.as_deref())
        )
    });
    format!(
        concat!(
            r#"{{"toril":{},"pid":{},"host":{},"port":{},"url":{},"http":{},"#,
            r#""clock":{},"unixsocket":{}}}"#
        ),
        json(Some(TORIL_VERSION)),
        std::process::id(),
        json(tcp.map(|address| address.ip().to_string()).as_deref()),
        tcp.map_or_else(|| "null".into(), |address| address.port().to_string()),
        json(Some(&url)),
        http.as_deref().unwrap_or("null"),
        json(engine.facts.clock_file().as_deref()),
        json(path.as_deref())
    )
}

/// A text as JSON, or `null`.
fn json(text: Option<&str>) -> String {
    serde_json::to_string(&text).expect("a text can be written")
}

/// Where a client on this machine reaches a listener: one that is bound to all addresses has none.
fn reachable(address: &SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, address.port())
}
