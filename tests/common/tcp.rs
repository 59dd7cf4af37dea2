//! A server in a process of its own, spoken to over TCP.

use super::compare::Dialect;
use super::http::TOKEN;
use super::reply::Reply;
use super::run::Server;
use super::transcript::{Action, Case, Target};
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A reply that is wanted has this long to come, on a machine that has other things to do.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// A reply that must not come has this long to come nevertheless.
pub const SILENCE: Duration = Duration::from_millis(30);
/// A request that brings no reply at all, as after CLIENT REPLY OFF, is believed done after this.
/// A busy server is no risk: whether the client is parked is a question that it answers later.
pub const UNANSWERED: Duration = Duration::from_millis(150);
/// A request that has no answer after this is looked into.
const PROMPT: Duration = Duration::from_millis(10);
/// Real time is slept through up to this much.
const SLEEP_MAX: Duration = Duration::from_secs(2);

/// Where tests/oracles.sh puts its launchers.
pub fn oracle(name: &str) -> Option<PathBuf> {
    let folder = match std::env::var_os("TORIL_ORACLES") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/.oracles"),
    };
    Some(folder.join("bin").join(name)).filter(|launcher| launcher.exists())
}

/// A running server; it ends with the value.
pub struct Process {
    child: Child,
    pub port: u16,
    /// 0 if it serves no HTTP.
    http_port: u16,
    /// Where it saves to, if that ends with it.
    folder: Option<PathBuf>,
}

impl Process {
    /// It saves to a folder that ends with it.
    pub fn start(program: &Path, dialect: Dialect) -> Process {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let own = format!("toril-test-{}-{count}", std::process::id());
        let folder = std::env::temp_dir().join(own);
        std::fs::create_dir_all(&folder).expect("there is room for a folder");
        let mut process = Self::start_in(program, dialect, &folder);
        process.folder = Some(folder);
        process
    }

    /// It saves to this folder, and begins with what is there.
    pub fn start_in(program: &Path, dialect: Dialect, folder: &Path) -> Process {
        Self::start_with(program, dialect, folder, &[])
    }

    /// As `start_in`, with more options.
    pub fn start_with(
        program: &Path,
        dialect: Dialect,
        folder: &Path,
        options: &[&str],
    ) -> Process {
        // The ports are free at the moment; where another process is quicker, others are tried.
        for _ in 0..10 {
            let probes = [0; 2].map(|any| TcpListener::bind(("127.0.0.1", any)));
            let [port, mut http_port] = probes.map(|probe| {
                let probe = probe.expect("there is a free port");
                probe.local_addr().expect("it is bound").port()
            });
            let mut command = Command::new(program);
            command
                .arg("--dir")
                .arg(folder)
                .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
                .args(["--appendonly", "no", "--enable-debug-command", "yes"]);
            if program.file_name().is_some_and(|name| name == "toril") {
                command.args(["--clock", "yes"]);
            }
            command.args(options);
            if matches!(dialect, Dialect::Json | Dialect::Base64) {
                command.args(["--http-port", &http_port.to_string(), "--http-token", TOKEN]);
            } else {
                http_port = 0;
            }
            let child = command.stdout(Stdio::null()).spawn().expect("the server can be started");
            let mut process = Process { child, port, http_port, folder: None };
            if process.is_up() {
                return process;
            }
        }
        panic!("{} does not come up", program.display());
    }

    /// Lets it write files of any size from now on.
    pub fn lift_file_limit(&self) {
        use rustix::process::{Pid, Resource, Rlimit, prlimit};
        let pid = Some(Pid::from_child(&self.child));
        prlimit(pid, Resource::Fsize, Rlimit { current: None, maximum: None }).expect("it is ours");
    }

    /// Ends it as a signal does, and waits for that.
    pub fn end(mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
        self.child.wait().expect("it ends");
    }

    fn is_up(&mut self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline && self.child.try_wait().is_ok_and(|exit| exit.is_none()) {
            if let Ok(stream) = TcpStream::connect(("127.0.0.1", self.port)) {
                return self.is_at_the_end_of(stream);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        false
    }

    /// Another server may have taken the port in between, and ours be about to say so and end.
    fn is_at_the_end_of(&self, stream: TcpStream) -> bool {
        let info = Client::new(stream).ask(&["INFO", "server"]).text().unwrap_or_default();
        let own = format!("process_id:{}", self.child.id());
        String::from_utf8_lossy(&info).lines().any(|line| line == own)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be gone already, after SHUTDOWN.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(folder) = &self.folder {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

/// Requests as they go over the wire.
pub fn encode(requests: &[Vec<Vec<u8>>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for request in requests {
        bytes.extend(format!("*{}\r\n", request.len()).into_bytes());
        for word in request {
            bytes.extend(format!("${}\r\n", word.len()).into_bytes());
            bytes.extend_from_slice(word);
            bytes.extend(b"\r\n");
        }
    }
    bytes
}

/// One connection.
struct Client {
    stream: TcpStream,
    input: Vec<u8>,
    /// What CLIENT ID said; only clients of a case are asked.
    id: i64,
}

impl Client {
    fn connect(port: u16) -> Client {
        Client::new(TcpStream::connect(("127.0.0.1", port)).expect("the server is up"))
    }

    fn new(stream: TcpStream) -> Client {
        stream.set_nodelay(true).expect("it is a socket");
        Client { stream, input: Vec::new(), id: 0 }
    }

    fn send(&mut self, requests: &[Vec<Vec<u8>>]) {
        // A server that has closed the connection is seen as such when its reply is read.
        let _ = self.stream.write_all(&encode(requests));
    }

    fn receive(&mut self, wait: Duration) -> Reply {
        let start = Instant::now();
        loop {
            if let Some((reply, len)) = Reply::decode(&self.input) {
                self.input.drain(..len);
                return reply;
            }
            // Half a reply is no silence: its end is on the way.
            let wait = if self.input.is_empty() { wait } else { PATIENCE };
            let left = wait.saturating_sub(start.elapsed());
            if left.is_zero() {
                assert!(self.input.is_empty(), "half a reply: {}", self.input.escape_ascii());
                return Reply::Nothing;
            }
            self.stream.set_read_timeout(Some(left)).expect("it is more than nothing");
            let mut chunk = [0; 64 * 1024];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Reply::Closed,
                Ok(len) => self.input.extend_from_slice(&chunk[..len]),
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => {}
                    _ => return Reply::Closed,
                },
            }
        }
    }

    fn ask(&mut self, words: &[&str]) -> Reply {
        self.ask_within(words, PATIENCE)
    }

    fn ask_within(&mut self, words: &[&str], wait: Duration) -> Reply {
        self.send(&[words.iter().map(|word| word.as_bytes().to_vec()).collect()]);
        self.receive(wait)
    }
}

pub struct TcpServer {
    program: PathBuf,
    target: Target,
    dialect: Dialect,
    process: Process,
    /// Connected before a case can ask for a password.
    control: Client,
    clients: BTreeMap<usize, Client>,
    /// The last case may have left something behind that FLUSHALL does not take away.
    is_spoilt: bool,
}

impl TcpServer {
    pub fn start(program: &Path, target: Target, dialect: Dialect) -> TcpServer {
        let process = Process::start(program, dialect);
        TcpServer {
            program: program.to_owned(),
            target,
            dialect,
            control: Client::connect(process.port),
            process,
            clients: BTreeMap::new(),
            is_spoilt: false,
        }
    }

    fn restart(&mut self) {
        self.process = Process::start(&self.program, self.dialect);
        self.control = Client::connect(self.process.port);
    }

    fn client(&mut self, client: usize) -> &mut Client {
        let port = self.process.port;
        let is_resp3 = self.dialect == Dialect::Resp3;
        self.clients.entry(client).or_insert_with(|| {
            let mut client = Client::connect(port);
            if let Reply::Integer(id) = client.ask(&["CLIENT", "ID"]) {
                client.id = id;
            }
            if is_resp3 {
                client.ask(&["HELLO", "3"]);
            }
            client
        })
    }

    pub fn http_port(&self) -> u16 {
        self.process.http_port
    }

    /// What the server answers to a request outside of any case, in RESP2.
    pub fn ask(&mut self, words: &[&str]) -> Reply {
        self.control.ask(words)
    }

    /// The clients of this case that have been heard of.
    pub fn clients(&self) -> Vec<usize> {
        self.clients.keys().copied().collect()
    }

    fn is_parked(&mut self, client: usize) -> bool {
        let id = self.client(client).id.to_string();
        let reply = self.control.ask_within(&["CLIENT", "LIST", "ID", &id], UNANSWERED);
        if reply == Reply::Nothing {
            // CLIENT PAUSE holds everybody, the one who asks included; it gives up its place.
            self.control = Client::connect(self.process.port);
            return true;
        }
        let text = reply.text().unwrap_or_default();
        String::from_utf8_lossy(&text)
            .split(' ')
            .any(|field| field.strip_prefix("flags=").is_some_and(|flags| flags.contains('b')))
    }

    /// Whether something has arrived that `receive` has yet to return.
    fn has_input(&mut self, client: usize) -> bool {
        let client = self.client(client);
        let mut byte = [0];
        client.stream.set_nonblocking(true).expect("it is a socket");
        let peeked = client.stream.peek(&mut byte);
        let is_readable = !peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        client.stream.set_nonblocking(false).expect("it is a socket");
        is_readable || !client.input.is_empty()
    }

    /// All replies that are there, or come at once as the answer to what another client has sent.
    pub fn receive_all(&mut self, client: usize) -> Vec<Reply> {
        let mut replies = Vec::new();
        while replies.last() != Some(&Reply::Closed) {
            match self.receive_within(client, Duration::from_millis(3)) {
                Reply::Nothing => break,
                reply => replies.push(reply),
            }
        }
        replies
    }

    /// A closed connection says so once; after that its client would connect anew.
    fn receive_within(&mut self, client: usize, wait: Duration) -> Reply {
        let reply = self.client(client).receive(wait);
        if reply == Reply::Closed {
            self.clients.remove(&client);
        }
        reply
    }
}

/// For who keeps two servers in step, and takes no account of time.
impl TcpServer {
    /// Empties the server, with new clients.
    pub fn begin_anew(&mut self) {
        self.clients.clear();
        // Those who were parked are seen to be gone a moment later.
        while self.blocked() > 0 {}
        assert_eq!(self.control.ask(&["FLUSHALL"]), Reply::Simple(b"OK".to_vec()));
    }

    /// How many clients are parked.
    pub fn blocked(&mut self) -> usize {
        let info = self.control.ask(&["INFO", "clients"]).text().expect("INFO answers a text");
        let info = String::from_utf8_lossy(&info).into_owned();
        let count = info.lines().find_map(|line| line.strip_prefix("blocked_clients:"));
        count.and_then(|count| count.parse().ok()).expect("INFO tells of parked clients")
    }

    /// Whether something has come to a client that is not read yet.
    pub fn has_reply(&mut self, client: usize) -> bool {
        let client = self.client(client);
        client.stream.set_nonblocking(true).expect("it is a socket");
        let found = client.stream.peek(&mut [0]);
        client.stream.set_nonblocking(false).expect("it is a socket");
        !client.input.is_empty() || matches!(found, Ok(len) if len > 0)
    }

    /// A reply that has come to a parked client; `Nothing` if there is none.
    pub fn reply_to_parked(&mut self, client: usize) -> Reply {
        self.receive_within(client, SILENCE)
    }

    pub fn send_to(&mut self, client: usize, words: &[Vec<u8>]) {
        self.client(client).send(&[words.to_vec()]);
    }

    /// The next reply; `Nothing` if there is none for a long time.
    pub fn reply_of(&mut self, client: usize) -> Reply {
        self.receive_within(client, PATIENCE)
    }
}

/// Commands whose effects outlive FLUSHALL and the client.
const SPOILERS: &[&str] = &[
    "acl", "client", "config", "debug", "monitor", "reset", "script", "shutdown", "slowlog",
    "toril",
];

fn is_spoiling(case: &Case) -> bool {
    case.steps.iter().any(|step| match &step.action {
        Action::Send { words, .. } => SPOILERS.iter().any(|spoiler| words[0].is(spoiler)),
        Action::Advance(_) => false,
    })
}

impl Server for TcpServer {
    fn target(&self) -> Target {
        self.target
    }

    fn dialect(&self) -> Dialect {
        self.dialect
    }

    fn begin(&mut self, case: &Case) {
        self.clients.clear();
        let is_flushed = !self.is_spoilt
            && self.control.ask(&["FLUSHALL"]) == Reply::Simple(b"OK".to_vec())
            && self.control.ask(&["SCRIPT", "FLUSH"]) == Reply::Simple(b"OK".to_vec())
            && self.control.ask(&["FUNCTION", "FLUSH"]) == Reply::Simple(b"OK".to_vec());
        if !is_flushed {
            self.restart();
        }
        self.is_spoilt = is_spoiling(case);
    }

    fn send(&mut self, client: usize, requests: &[Vec<Vec<u8>>]) {
        self.client(client).send(requests);
    }

    fn settle(&mut self, client: usize) {
        // Most are answered at once; who asks before that shows up in MONITOR and SLOWLOG.
        let start = Instant::now();
        while !self.has_input(client) && start.elapsed() < UNANSWERED {
            if start.elapsed() > PROMPT && self.is_parked(client) {
                return;
            }
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    fn receive(&mut self, client: usize, is_wanted: bool) -> Reply {
        self.receive_within(client, if is_wanted { PATIENCE } else { SILENCE })
    }

    fn leftover(&mut self) -> Option<(usize, Reply)> {
        let client = self.clients().into_iter().find(|client| self.has_input(*client))?;
        Some((client, self.receive_within(client, PATIENCE)))
    }

    fn advance(&mut self, span: Duration) -> bool {
        let is_short = span <= SLEEP_MAX;
        if is_short {
            std::thread::sleep(span);
        }
        is_short
    }
}
