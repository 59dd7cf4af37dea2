//! Listeners: TCP on each bound address, and the Unix socket.

use super::Server;
use super::connection::{self, Stream};
use super::http;
use crate::config::{Config, REDIS_VERSION, Secret, TORIL_VERSION};
use crate::engine::client::{Peer, Transport};
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, TcpKeepalive, Type};
use std::borrow::Cow;
use std::fs::Permissions;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::task::JoinHandle;

pub struct Listeners {
    tcp: Vec<TcpListener>,
    http: Vec<TcpListener>,
    unix: Option<(UnixListener, SocketFile)>,
}

/// The file that stands for a Unix socket, which others may have replaced since it was made.
struct SocketFile {
    path: PathBuf,
    /// The file system and the file in it.
    identity: Option<(u64, u64)>,
}

impl SocketFile {
    fn identity(path: &Path) -> Option<(u64, u64)> {
        std::fs::symlink_metadata(path).ok().map(|it| (it.dev(), it.ino()))
    }

    /// Removes the file, unless it is another server's by now.
    fn remove(&self) {
        if self.identity.is_some() && Self::identity(&self.path) == self.identity {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// The ports that are listened on.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// 0 if there is a Unix socket alone.
    pub tcp: u16,
    pub http: Option<u16>,
}

/// Opens what the configuration asks for, or says why it cannot, and what to do.
pub fn open(config: &Config) -> Result<Listeners, String> {
    let mut listeners = Listeners { tcp: Vec::new(), http: Vec::new(), unix: None };
    if let Some(port) = config.http_port {
        listeners.http = open_all(config, port, "http-port")?;
    }
    if let Some(name) = &config.unixsocket {
        let opened = open_unix(config.place(name), config.unixsocketperm);
        listeners.unix = Some(opened.map_err(|problem| match problem.kind() {
            io::ErrorKind::AddrInUse => format!(
                "Could not create the Unix socket {name}: bind: Address already in use\nAnother \
                 server or a file has that name. Choose another with --unixsocket."
            ),
            _ => format!("Could not create the Unix socket {name}: {problem}"),
        })?);
    }
    // Beside a Unix socket port 0 means no TCP, as in Redis.
    if config.port != 0 || config.unixsocket.is_none() {
        listeners.tcp = open_all(config, config.port, "port")?;
    }
    if listeners.tcp.is_empty() && listeners.unix.is_none() {
        return Err("Nothing to listen on: set bind and port, or unixsocket.".into());
    }
    Ok(listeners)
}

/// Listens to one port on every bound address; `setting` is what chose it.
fn open_all(config: &Config, mut port: u16, setting: &str) -> Result<Vec<TcpListener>, String> {
    let mut listeners = Vec::new();
    for bind in &config.bind {
        let (address, is_optional) = match bind.strip_prefix('-') {
            Some(address) => (address, true),
            None => (bind.as_str(), false),
        };
        match open_tcp(address, port, config.tcp_backlog) {
            Ok(listener) => {
                // A port that the system chose holds for the addresses that follow.
                port = port_of(&listener).unwrap_or(port);
                listeners.push(listener);
            }
            Err(problem) if is_optional && problem.kind() == io::ErrorKind::AddrNotAvailable => {}
            Err(problem) if is_optional && is_unsupported(&problem) => {}
            Err(problem) if problem.kind() == io::ErrorKind::AddrInUse => {
                return Err(format!(
                    "Could not create server TCP listening socket {address}:{port}: bind: Address \
                     already in use\nAnother server has that port. Choose another with --{setting} \
                     {other}, or any free one with --{setting} 0.",
                    other = port.wrapping_add(1).max(1024)
                ));
            }
            Err(problem) => {
                return Err(format!(
                    "Could not create server TCP listening socket {address}:{port}: {problem}"
                ));
            }
        }
    }
    Ok(listeners)
}

fn port_of(listener: &TcpListener) -> Option<u16> {
    listener.local_addr().ok().map(|local| local.port())
}

fn is_unsupported(problem: &io::Error) -> bool {
    problem.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}

fn open_tcp(address: &str, port: u16, backlog: u32) -> io::Result<TcpListener> {
    let ip: IpAddr = match address {
        "*" => IpAddr::from([0, 0, 0, 0]),
        "::*" => IpAddr::from([0u16; 8]),
        "localhost" => IpAddr::from([127, 0, 0, 1]),
        text => text.parse().map_err(|_| {
            io::Error::new(io::ErrorKind::InvalidInput, "bind takes IPv4 and IPv6 addresses")
        })?,
    };
    let address = SocketAddr::new(ip, port);
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if ip.is_ipv6() {
        // IPv4 has a socket of its own.
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog.min(i32::MAX as u32) as i32)?;
    TcpListener::from_std(socket.into())
}

fn open_unix(path: PathBuf, mode: Option<u32>) -> io::Result<(UnixListener, SocketFile)> {
    // A socket that an earlier run left behind is replaced; whatever else is there stays.
    if is_left_behind(&path) {
        std::fs::remove_file(&path)?;
    }
    let listener = UnixListener::bind(&path)?;
    let file = SocketFile { identity: SocketFile::identity(&path), path };
    if let Some(mode) = mode
        && let Err(problem) = std::fs::set_permissions(&file.path, Permissions::from_mode(mode))
    {
        file.remove();
        return Err(problem);
    }
    Ok((listener, file))
}

/// Whether a file is a socket that nobody listens to any more.
fn is_left_behind(path: &Path) -> bool {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|it| it.file_type().is_socket());
    // Who listens and has no time refuses otherwise, and is not waited for.
    let knock = || {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.connect(&SockAddr::unix(path)?)
    };
    is_socket && knock().is_err_and(|it| it.kind() == io::ErrorKind::ConnectionRefused)
}

impl Listeners {
    pub fn ports(&self) -> Ports {
        Ports {
            tcp: self.tcp.first().and_then(port_of).unwrap_or(0),
            http: self.http.first().and_then(port_of),
        }
    }

    /// Says what this is, where it listens, and how to use it. Tools wait for the last line.
    /// `made_token` opens HTTP if no other is given: it is shown here, and nowhere else.
    pub fn announce(&self, config: &Config, made_token: &Secret) {
        tracing::info!(
            "toril {TORIL_VERSION}, an in-memory queue server for clients of Redis {REDIS_VERSION}"
        );
        let addresses: Vec<SocketAddr> =
            self.tcp.iter().filter_map(|listener| listener.local_addr().ok()).collect();
        for address in &addresses {
            tracing::info!("Listening on {address}");
        }
        if let Some((_, file)) = &self.unix {
            tracing::info!("Listening on the Unix socket {}", file.path.display());
        }
        let password = if config.requirepass.is_some() { ", password: '...'" } else { "" };
        let connection = match (addresses.first(), &self.unix) {
            (Some(address), _) => {
                format!("host: '{}', port: {}{password}", reachable(address).ip(), address.port())
            }
            (None, Some((_, file))) => format!("path: '{}'{password}", file.path.display()),
            (None, None) => unreachable!("there is something to listen on"),
        };
        tracing::info!("BullMQ: new Queue('jobs', {{ connection: {{ {connection} }} }})");
        if let Some(address) = self.http.first().and_then(|it| it.local_addr().ok()) {
            let token = match (&config.http_token, &config.requirepass) {
                (Some(_), _) => Cow::from("<your http-token>"),
                (None, Some(_)) => Cow::from("<your requirepass>"),
                (None, None) => String::from_utf8_lossy(made_token.reveal()),
            };
            // Not into the log, which may be kept; and as they are pasted into `.env`.
            super::say(&format!(
                "UPSTASH_REDIS_REST_URL=http://{}\nUPSTASH_REDIS_REST_TOKEN={token}",
                reachable(&address)
            ));
        }
        tracing::info!("Ready to accept connections");
    }

    /// Accepts from now on; the tasks run until they are aborted.
    pub fn accept(self, server: &Rc<Server>) -> Accepting {
        let mut tasks = Vec::new();
        let resp = self.tcp.into_iter().map(|listener| (listener, Transport::Tcp));
        let http = self.http.into_iter().map(|listener| (listener, Transport::Http));
        for (listener, transport) in resp.chain(http) {
            let server = server.clone();
            tasks.push(tokio::task::spawn_local(async move {
                loop {
                    match listener.accept().await {
                        Ok((stream, addr)) => accept_tcp(&server, stream, addr, transport),
                        Err(problem) => rest_after(problem).await,
                    }
                }
            }));
        }
        let mut socket_file = None;
        if let Some((listener, file)) = self.unix {
            let server = server.clone();
            let name = server.engine.borrow().config.unixsocket.clone().unwrap_or_default();
            socket_file = Some(file);
            tasks.push(tokio::task::spawn_local(async move {
                loop {
                    match listener.accept().await {
                        Ok((stream, _)) => {
                            let peer = Peer {
                                transport: Transport::Unix,
                                addr: format!("{name}:0"),
                                laddr: format!("{name}:0"),
                                fd: stream.as_raw_fd(),
                                is_loopback: true,
                            };
                            let run = connection::run(server.clone(), Stream::Unix(stream), peer);
                            tokio::task::spawn_local(run);
                        }
                        Err(problem) => rest_after(problem).await,
                    }
                }
            }));
        }
        Accepting { tasks, socket_file }
    }
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

/// The tasks that accept connections.
pub struct Accepting {
    tasks: Vec<JoinHandle<()>>,
    socket_file: Option<SocketFile>,
}

impl Accepting {
    /// Accepts no more, and removes the Unix socket's file.
    pub fn stop(self) {
        for task in self.tasks {
            task.abort();
        }
        if let Some(file) = self.socket_file {
            file.remove();
        }
    }
}

fn accept_tcp(server: &Rc<Server>, stream: TcpStream, addr: SocketAddr, transport: Transport) {
    // Small replies go out at once. A socket that refuses an option still works.
    let _ = stream.set_nodelay(true);
    let keepalive_s = server.engine.borrow().config.tcp_keepalive_s;
    if keepalive_s > 0 {
        let interval = Duration::from_secs(u64::from((keepalive_s / 3).max(1)));
        let time = Duration::from_secs(u64::from(keepalive_s));
        let keepalive = TcpKeepalive::new().with_time(time).with_interval(interval).with_retries(3);
        let _ = SockRef::from(&stream).set_tcp_keepalive(&keepalive);
    }
    let peer = Peer {
        transport,
        addr: addr.to_string(),
        laddr: stream.local_addr().map(|local| local.to_string()).unwrap_or_default(),
        fd: stream.as_raw_fd(),
        is_loopback: addr.ip().to_canonical().is_loopback(),
    };
    let server = server.clone();
    match transport {
        Transport::Http => tokio::task::spawn_local(http::run(server, stream, peer)),
        _ => tokio::task::spawn_local(connection::run(server, Stream::Tcp(stream), peer)),
    };
}

/// Accepting fails when files run out: others must end before it can go on.
async fn rest_after(problem: io::Error) {
    tracing::warn!("a connection was not accepted: {problem}");
    tokio::time::sleep(Duration::from_millis(100)).await;
}
