//! Listeners: TCP on each bound address, and the Unix socket. CONFIG SET moves the former.

use super::Server;
use super::connection::{self, ClientStream};
use super::http;
use crate::config::Config;
use crate::engine::client::{Peer, Transport};
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, TcpKeepalive, Type};
use std::cell::{Cell, RefCell};
use std::fs::Permissions;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::task::JoinHandle;

/// All that is listened to.
pub struct Listeners {
    tcp: Vec<Door>,
    http: Vec<Door>,
    unix: Option<UnixDoor>,
    ports: Rc<Cell<Ports>>,
    /// The port that the system chose because `port` was 0 at the start. It stays when `bind` is
    /// changed.
    chosen: u16,
}

/// One address and port. Dropped, it is closed at once.
struct Door {
    address: String,
    port: u16,
    listener: Rc<RefCell<Option<TcpListener>>>,
    /// Keeps the port while nobody listens to it.
    kept: Option<Socket>,
    /// None until it accepts.
    task: Option<JoinHandle<()>>,
}

struct UnixDoor {
    listener: Rc<RefCell<Option<UnixListener>>>,
    file: SocketFile,
    /// None until it accepts.
    task: Option<JoinHandle<()>>,
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
    let (mut tcp, mut http, mut unix) = (Vec::new(), Vec::new(), None);
    let backlog = config.tcp_backlog;
    if let Some(port) = config.http_port {
        http = open_all(&config.bind, port, backlog, "http-port", &mut Vec::new())?;
    }
    if let Some(name) = &config.unixsocket {
        let opened = open_unix(config.place(name), config.unixsocketperm);
        let (listener, file) = opened.map_err(|problem| match problem.kind() {
            io::ErrorKind::AddrInUse => format!(
                "Could not create the Unix socket {name}: bind: Address already in use\nAnother \
                 server or a file has that name. Choose another with --unixsocket."
            ),
            _ => format!("Could not create the Unix socket {name}: {problem}"),
        })?;
        unix = Some(UnixDoor { listener: Rc::new(RefCell::new(Some(listener))), file, task: None });
    }
    // Beside a Unix socket port 0 means no TCP, as in Redis.
    if config.port != 0 || config.unixsocket.is_none() {
        tcp = open_all(&config.bind, config.port, backlog, "port", &mut Vec::new())?;
    }
    if tcp.is_empty() && unix.is_none() {
        return Err("Nothing to listen on: set bind and port, or unixsocket.".into());
    }
    let port_of = |doors: &[Door]| doors.first().map(|door| door.port);
    let ports = Ports { tcp: port_of(&tcp).unwrap_or(0), http: port_of(&http) };
    let chosen = if config.port == 0 { ports.tcp } else { 0 };
    Ok(Listeners { tcp, http, unix, ports: Rc::new(Cell::new(ports)), chosen })
}

/// Listens to one port on every bound address; `setting` is what chose it. What is in `spare` need
/// not be opened; if something cannot be, all that is open comes to lie there.
fn open_all(
    bind: &[String],
    mut port: u16,
    backlog: u32,
    setting: &str,
    spare: &mut Vec<Door>,
) -> Result<Vec<Door>, String> {
    let mut doors: Vec<Door> = Vec::new();
    for name in bind {
        let (address, is_optional) = match name.strip_prefix('-') {
            Some(address) => (address, true),
            None => (name.as_str(), false),
        };
        let problem = match Door::take_or_open(address, port, backlog, spare) {
            Ok(door) => {
                // A port that the system chose holds for the addresses that follow.
                port = door.port;
                doors.push(door);
                continue;
            }
            Err(problem) => problem,
        };
        let text = match problem.kind() {
            io::ErrorKind::AddrNotAvailable if is_optional => continue,
            _ if is_optional && is_unsupported(&problem) => continue,
            io::ErrorKind::AddrInUse => format!(
                "Could not create server TCP listening socket {address}:{port}: bind: Address \
                 already in use\nAnother server has that port. Choose another with --{setting} \
                 {other}, or any free one with --{setting} 0.",
                other = port.wrapping_add(1).max(1024)
            ),
            _ => {
                format!("Could not create server TCP listening socket {address}:{port}: {problem}")
            }
        };
        spare.append(&mut doors);
        return Err(text);
    }
    Ok(doors)
}

impl Door {
    fn is_at(&self, address: &str, port: u16) -> bool {
        self.address == address && self.port == port
    }

    fn take_or_open(
        address: &str,
        port: u16,
        backlog: u32,
        spare: &mut Vec<Door>,
    ) -> io::Result<Self> {
        if let Some(at) = spare.iter().position(|door| door.is_at(address, port)) {
            return Ok(spare.swap_remove(at));
        }
        let listener = open_tcp(address, port, backlog)?;
        let port = listener.local_addr()?.port();
        let listener = Rc::new(RefCell::new(Some(listener)));
        Ok(Self { address: address.into(), port, listener, kept: None, task: None })
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        self.listener.borrow().as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// Accepts from now on.
    fn accept(&mut self, server: &Rc<Server>, transport: Transport) {
        if self.task.is_some() || self.listener.borrow().is_none() {
            return;
        }
        let (server, listener) = (server.clone(), self.listener.clone());
        self.task = Some(tokio::task::spawn_local(async move {
            loop {
                let accepted = poll_fn(|cx| match &*listener.borrow() {
                    Some(listener) => listener.poll_accept(cx).map(Some),
                    None => Poll::Ready(None),
                });
                match accepted.await {
                    Some(Ok((stream, addr))) => accept_tcp(&server, stream, addr, transport),
                    Some(Err(problem)) => rest_after(problem).await,
                    None => break,
                }
            }
        }));
    }
}

impl Door {
    /// Listens no more. The task that is aborted may live on for a while, and would hold the port.
    fn shut(&mut self) {
        self.listener.take();
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }

    /// Listens no more, but keeps the port: who connects is refused, and nobody else gets it.
    fn keep(&mut self) {
        if self.kept.is_none() {
            self.shut();
            self.kept = bind_tcp(&self.address, self.port).ok();
        }
    }

    /// Listens again.
    fn reopen(&mut self, backlog: u32) -> io::Result<()> {
        if self.listener.borrow().is_none() {
            let listener = match self.kept.take() {
                Some(socket) => listen_to(socket, backlog)?,
                None => open_tcp(&self.address, self.port, backlog)?,
            };
            *self.listener.borrow_mut() = Some(listener);
        }
        Ok(())
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.shut();
    }
}

/// Has doors where they are wanted, and no others. Those that are wanted and open stay as they are.
fn change(doors: &mut Vec<Door>, bind: &[String], port: u16, backlog: u32) -> Result<(), String> {
    let is_wanted = |door: &Door| {
        bind.iter().any(|name| door.is_at(name.strip_prefix('-').unwrap_or(name), port))
    };
    // Those that go are closed first: all addresses of a machine take in each of them.
    doors.retain(is_wanted);
    let mut spare = std::mem::take(doors);
    let opened = open_all(bind, port, backlog, "port", &mut spare);
    opened.map(|opened| *doors = opened).inspect_err(|_| doors.append(&mut spare))
}

/// Has doors where they were before.
fn restore(doors: &mut Vec<Door>, places: &[(String, u16)], backlog: u32) {
    doors.retain(|door| places.iter().any(|(address, port)| door.is_at(address, *port)));
    let mut spare = std::mem::take(doors);
    for (address, port) in places {
        match Door::take_or_open(address, *port, backlog, &mut spare) {
            Ok(door) => doors.push(door),
            Err(problem) => tracing::warn!("{address}:{port} is lost: {problem}"),
        }
    }
}

fn is_unsupported(problem: &io::Error) -> bool {
    problem.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}

fn open_tcp(address: &str, port: u16, backlog: u32) -> io::Result<TcpListener> {
    listen_to(bind_tcp(address, port)?, backlog)
}

fn bind_tcp(address: &str, port: u16) -> io::Result<Socket> {
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
    Ok(socket)
}

fn listen_to(socket: Socket, backlog: u32) -> io::Result<TcpListener> {
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
    /// The ports, whatever becomes of them.
    pub fn ports(&self) -> Rc<Cell<Ports>> {
        self.ports.clone()
    }

    /// Listens on these addresses and this port, over HTTP on its own, or says why it cannot and
    /// goes on as before. Whoever is connected stays.
    pub fn change(
        &mut self,
        server: &Rc<Server>,
        bind: &[String],
        port: u16,
    ) -> Result<(), String> {
        let (old_port, backlog) = {
            let config = &server.engine.borrow().config;
            (config.port, config.tcp_backlog)
        };
        let mut ports = self.ports.get();
        // 0 was a choice at the start, and switches TCP off now, as in Redis.
        ports.tcp = if old_port == 0 && port == 0 { self.chosen } else { port };
        let places = |doors: &[Door]| {
            doors.iter().map(|door| (door.address.clone(), door.port)).collect::<Vec<_>>()
        };
        let (tcp, http) = (places(&self.tcp), places(&self.http));
        let addresses = if ports.tcp == 0 { &[][..] } else { bind };
        let changed = change(&mut self.tcp, addresses, ports.tcp, backlog).and_then(|()| {
            let port = ports.http;
            port.map_or(Ok(()), |port| change(&mut self.http, bind, port, backlog))
        });
        match &changed {
            Ok(()) => self.ports.set(ports),
            Err(_) => {
                restore(&mut self.tcp, &tcp, backlog);
                restore(&mut self.http, &http, backlog);
            }
        }
        self.accept(server);
        changed
    }

    /// The addresses of TCP, in the order of `bind`.
    pub fn tcp_addresses(&self) -> Vec<SocketAddr> {
        self.tcp.iter().filter_map(Door::local_addr).collect()
    }

    /// The first address of HTTP, if it is served.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http.first().and_then(Door::local_addr)
    }

    /// Where the Unix socket is, if there is one.
    pub fn unix_path(&self) -> Option<&Path> {
        self.unix.as_ref().map(|door| door.file.path.as_path())
    }

    /// Accepts from now on.
    pub fn accept(&mut self, server: &Rc<Server>) {
        self.tcp.iter_mut().for_each(|door| door.accept(server, Transport::Tcp));
        self.http.iter_mut().for_each(|door| door.accept(server, Transport::Http));
        let Some(door) = &mut self.unix else { return };
        if door.task.is_some() || door.listener.borrow().is_none() {
            return;
        }
        let (server, listener) = (server.clone(), door.listener.clone());
        let name = server.engine.borrow().config.unixsocket.clone().unwrap_or_default();
        door.task = Some(tokio::task::spawn_local(async move {
            loop {
                let accepted = poll_fn(|cx| match &*listener.borrow() {
                    Some(listener) => listener.poll_accept(cx).map(Some),
                    None => Poll::Ready(None),
                });
                match accepted.await {
                    Some(Ok((stream, _))) => {
                        let peer = Peer {
                            transport: Transport::Unix,
                            addr: format!("{name}:0"),
                            laddr: format!("{name}:0"),
                            fd: stream.as_raw_fd(),
                            is_loopback: true,
                        };
                        let Some(stream) = server.forward(stream, &peer) else { continue };
                        let run = connection::run(server.clone(), ClientStream::Unix(stream), peer);
                        tokio::task::spawn_local(run);
                    }
                    Some(Err(problem)) => rest_after(problem).await,
                    None => break,
                }
            }
        }));
    }

    /// Listens no more for a while, as a server that has ended.
    pub fn leave(&mut self) {
        self.tcp.iter_mut().chain(&mut self.http).for_each(Door::keep);
        if let Some(door) = &mut self.unix {
            door.listener.take();
            door.task.take().inspect(JoinHandle::abort);
        }
    }

    /// Listens again where it did before.
    pub fn come_back(&mut self, server: &Rc<Server>) {
        let (backlog, mode) = {
            let config = &server.engine.borrow().config;
            (config.tcp_backlog, config.unixsocketperm)
        };
        for door in self.tcp.iter_mut().chain(&mut self.http) {
            if let Err(problem) = door.reopen(backlog) {
                tracing::warn!("{}:{} is lost: {problem}", door.address, door.port);
            }
        }
        if let Some(door) = &mut self.unix
            && door.listener.borrow().is_none()
        {
            match open_unix(door.file.path.clone(), mode) {
                Ok((listener, file)) => {
                    *door.listener.borrow_mut() = Some(listener);
                    door.file = file;
                }
                Err(problem) => tracing::warn!("{} is lost: {problem}", door.file.path.display()),
            }
        }
        self.accept(server);
    }

    /// Accepts no more, and removes the Unix socket's file.
    pub fn stop(&mut self) {
        self.tcp.clear();
        self.http.clear();
        if let Some(door) = self.unix.take() {
            door.listener.take();
            door.task.inspect(JoinHandle::abort);
            door.file.remove();
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
        _ => match server.forward(stream, &peer) {
            Some(stream) => {
                tokio::task::spawn_local(connection::run(server, ClientStream::Tcp(stream), peer))
            }
            None => return,
        },
    };
}

/// Accepting fails when files run out: others must end before it can go on.
async fn rest_after(problem: io::Error) {
    tracing::warn!("a connection was not accepted: {problem}");
    tokio::time::sleep(Duration::from_millis(100)).await;
}
