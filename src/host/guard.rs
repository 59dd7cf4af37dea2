//! A server for the tests of a program in Rust.

use super::session::Session;
use crate::config::{Config, Invocation, argv_to_lines};
use crate::remote::Response;
use crate::server::{Inside, serve_inside, sources};
use crate::util::words;
use serde_json::Value;
use std::io::{self, BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{env, fmt, thread};

/// Nothing that is asked takes longer, unless its caller says so.
const PATIENCE: Duration = Duration::from_secs(10);

/// What an advance may take, over however many steps.
const ADVANCE_PATIENCE: Duration = Duration::from_secs(600);

/// How long `flush` waits for jobs that are active.
const ACTIVE_MAX: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Keys that hold the jobs that workers are at: the pattern, the type, and how to see the first.
const ACTIVE: [(&str, &str, [&str; 3]); 2] = [
    // BullMQ, Bull, bee-queue.
    ("*:active", "list", ["LRANGE", "-1", "-1"]),
    // RQ.
    ("rq:wip:*", "zset", ["ZRANGE", "0", "0"]),
];

/// What it does if it is not told: it listens where nobody else does, and begins with nothing.
const PLACE: [&str; 6] = ["--port", "0", "--bind", "127.0.0.1", "--load", "no"];

/// A server of a test's own, which ends when this is dropped.
///
/// ```
/// # fn main() -> Result<(), toril::Error> {
/// let server = toril::Server::start()?;
/// // Any client of Redis connects to it: redis::Client::open(server.url()).
/// assert!(server.url().starts_with("redis://127.0.0.1:"));
/// server.command(&["RPUSH", "mail", "welcome"])?;
/// assert_eq!(server.command(&["LLEN", "mail"])?, toril::Response::Integer(1));
/// server.flush()?;
/// assert_eq!(server.command(&["DBSIZE"])?, toril::Response::Integer(0));
/// # Ok(())
/// # }
/// ```
pub struct TestServer {
    /// Dropped with it, which ends the server.
    _running: Running,
    url: String,
    host: String,
    port: u16,
    http: Option<RestAccess>,
    /// For what is asked here, from whichever thread.
    connection: Mutex<Option<Session>>,
}

/// Where a server answers over HTTP, as Upstash does, and what opens it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestAccess {
    /// As `UPSTASH_REDIS_REST_URL` has it.
    pub url: String,
    /// As `UPSTASH_REDIS_REST_TOKEN` has it.
    pub token: String,
}

enum Running {
    /// In this process, on a thread of its own.
    Inside(#[expect(dead_code, reason = "it ends when it is dropped")] Inside),
    /// A process of its own.
    Beside(Child),
}

/// Why a server did not start, or refused what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostError(String);

impl std::error::Error for HostError {}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<io::Error> for HostError {
    fn from(problem: io::Error) -> Self {
        Self(problem.to_string())
    }
}

impl From<String> for HostError {
    fn from(problem: String) -> Self {
        Self(problem)
    }
}

impl TestServer {
    /// Starts a server in this process, on a thread and a port of its own. It leaves the process
    /// as it is: signals, working directory, limits, log and allocator. Therefore it has no
    /// `maxmemory`; `spawn` does.
    pub fn start() -> Result<Self, HostError> {
        Self::with::<&str>(&[])
    }

    /// As `start`, with settings as on toril's command line: `Server::with(&["--maxclients",
    /// "10"])`.
    pub fn with<S: AsRef<str>>(settings: &[S]) -> Result<Self, HostError> {
        let args = command_line(settings);
        let config: Config = match argv_to_lines(&args) {
            Invocation::Run(from) => sources::read(&from).map_err(|error| error.to_string())?.0,
            _ => return Err(format!("{} starts no server", args.join(" ")).into()),
        };
        let (inside, line) = serve_inside(config)?;
        Self::new(Running::Inside(inside), &line)
    }

    /// Starts the program, which TORIL_BINARY names or which is on the PATH, as a process that ends
    /// with this one: for limits of memory, and for what a process can suffer.
    pub fn spawn() -> Result<Self, HostError> {
        Self::spawn_with::<&str>(&[])
    }

    /// As `spawn`, with settings as on toril's command line.
    pub fn spawn_with<S: AsRef<str>>(settings: &[S]) -> Result<Self, HostError> {
        let program = env::var_os("TORIL_BINARY").unwrap_or_else(|| "toril".into());
        let mut child = Command::new(&program)
            .args(command_line(settings))
            .args(["--announce", "json", "--exit-with-parent", &std::process::id().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|problem| {
                let name = program.to_string_lossy();
                format!("{name}: {problem}. TORIL_BINARY may name a toril executable")
            })?;
        let output = child.stdout.take().expect("it is piped");
        let mut running = Running::Beside(child);
        let mut lines = BufReader::new(output).lines();
        let mut said = String::new();
        loop {
            match lines.next() {
                Some(Ok(line)) if line.starts_with(r#"{"toril""#) => {
                    // Its log is read, so that it can go on, and forgotten.
                    thread::spawn(move || lines.for_each(drop));
                    return Self::new(running, &line);
                }
                Some(Ok(line)) => said += &format!("\n{line}"),
                _ => {
                    let status = running.end();
                    return Err(
                        format!("toril ended with {status} before it was ready:{said}").into()
                    );
                }
            }
        }
    }

    /// From the line that it announced.
    fn new(running: Running, line: &str) -> Result<Self, HostError> {
        let told: Value =
            serde_json::from_str(line).map_err(|problem| format!("{line}: {problem}"))?;
        let text = |place: &str| told.pointer(place).and_then(Value::as_str).map(String::from);
        let http = text("/http/url").zip(text("/http/token"));
        Ok(Self {
            _running: running,
            url: text("/url").unwrap_or_default(),
            host: text("/host").unwrap_or_default(),
            port: told["port"].as_u64().unwrap_or_default() as u16,
            http: http.map(|(url, token)| RestAccess { url, token }),
            connection: Mutex::new(None),
        })
    }

    /// What a client connects to: `redis://127.0.0.1:38779`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The address that it listens on.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it answers over HTTP, if it was started with `--http-port 0`.
    pub fn http(&self) -> Option<&RestAccess> {
        self.http.as_ref()
    }

    /// Runs a command, on a connection that is kept.
    pub fn command<W: AsRef<[u8]>>(&self, words: &[W]) -> Result<Response, HostError> {
        self.ask(words, PATIENCE)
    }

    /// Ends all faults, and empties all databases once no job is active any more; or says, after a
    /// second, which one still is.
    pub fn flush(&self) -> Result<(), HostError> {
        self.command(&["TORIL", "FAULT", "CLEAR"])?;
        let begun = Instant::now();
        while let Some((job, queue)) = self.active_job()? {
            if begun.elapsed() > ACTIVE_MAX {
                let complaint = format!(
                    "job {job} of {queue} is active for {:.1} s: close the worker, or await it, \
                     before flush()",
                    ACTIVE_MAX.as_secs_f32()
                );
                return Err(complaint.into());
            }
            thread::sleep(LOOK_EVERY);
        }
        self.command(&["FLUSHALL"]).map(drop)
    }

    /// Some job that a worker is at, and its queue.
    fn active_job(&self) -> Result<Option<(String, String)>, HostError> {
        for (pattern, kind, [verb, first, last]) in ACTIVE {
            let found = self.command(&["KEYS", pattern])?;
            let Response::List(keys) = found else { continue };
            for key in keys.iter().map(Response::text) {
                if self.command(&["TYPE", &key])?.text() != kind {
                    continue;
                }
                let job = self.command(&[verb, &key, first, last])?.text();
                if !job.is_empty() {
                    let name = key.strip_suffix(":active").unwrap_or(&key);
                    let queue = name.rsplit(':').next().unwrap_or(name);
                    return Ok(Some((job, queue.to_owned())));
                }
            }
        }
        Ok(None)
    }

    /// The time of the server, and of the clients that follow it. It moves if the server was
    /// started with `--clock yes`.
    pub fn clock(&self) -> ServerClock<'_> {
        ServerClock(self)
    }

    /// Waits until these queues, or all, have no job that runs, waits or is due; or says which is
    /// not done within this time, or which have failed since the last such wait. Who expects
    /// failures asks with `command(&["TORIL", "WAIT", "IDLE"])`.
    pub fn idle(&self, queues: &[&str], timeout: Duration) -> Result<(), HostError> {
        let timeout_ms = timeout.as_millis().to_string();
        let words = [&["TORIL", "WAIT", "IDLE"], queues, &["TIMEOUT", &timeout_ms]].concat();
        let told = self.ask(&words, timeout + PATIENCE)?;
        match told.get("why").or(told.get("failures")) {
            Some(complaint) => Err(complaint.text().into()),
            None => Ok(()),
        }
    }

    /// Lets something fail, as a rule says it: `cmd=evalsha count=3 action=reset`. Answers the
    /// rule's name.
    pub fn fault(&self, rule: &str) -> Result<String, HostError> {
        let (bytes, spans) =
            words::split(rule.as_bytes()).ok_or_else(|| format!("{rule}: unbalanced quotes"))?;
        let rule = spans.iter().map(|&(start, end)| &bytes[start..end]);
        let words: Vec<&[u8]> = [&b"TORIL"[..], b"FAULT", b"ADD"].into_iter().chain(rule).collect();
        match self.command(&words)? {
            Response::Text(name) => Ok(String::from_utf8_lossy(&name).into_owned()),
            other => Err(format!("the rule has no name: {other:?}").into()),
        }
    }

    /// Waits for what a queue is expected to do, in the words of TORIL EXPECT; the error says what
    /// it did instead.
    pub fn expect<W: AsRef<[u8]>>(
        &self,
        words: &[W],
        patience: Duration,
    ) -> Result<Response, HostError> {
        let words = words.iter().map(AsRef::as_ref);
        let words: Vec<&[u8]> = [&b"TORIL"[..], b"EXPECT"].into_iter().chain(words).collect();
        let told = self.ask(&words, patience + PATIENCE)?;
        match told.get("why") {
            Some(complaint) => Err(complaint.text().into()),
            None => Ok(told),
        }
    }

    /// Keeps all data as it is now under this name.
    pub fn snapshot(&self, name: &str) -> Result<(), HostError> {
        self.command(&["TORIL", "SNAPSHOT", name]).map(drop)
    }

    /// Has all data as it was when the snapshot of this name was taken.
    pub fn restore(&self, name: &str) -> Result<(), HostError> {
        self.command(&["TORIL", "RESTORE", name]).map(drop)
    }

    fn ask<W: AsRef<[u8]>>(&self, words: &[W], patience: Duration) -> Result<Response, HostError> {
        let mut kept = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => {
                let mut opened = Session::open(&self.host, self.port, PATIENCE)?;
                // No fault hits a connection of this name, so that a test can end each.
                opened.ask(&["CLIENT", "SETNAME", "toril"])?;
                opened
            }
        };
        connection.be_patient(patience)?;
        // One that has failed is not asked again: its answers may come late.
        let answer = connection.ask(words)?;
        *kept = Some(connection);
        match answer {
            Response::Error(text) => Err(text.into()),
            answer => Ok(answer),
        }
    }
}

/// What moves a server's time.
pub struct ServerClock<'s>(&'s TestServer);

impl ServerClock<'_> {
    /// Goes forward, from one moment at which something is due to the next.
    pub fn advance(&self, span: Duration) -> Result<(), HostError> {
        self.run(&["ADVANCE", &span.as_millis().to_string()])
    }

    /// Stands still.
    pub fn freeze(&self) -> Result<(), HostError> {
        self.run(&["FREEZE"])
    }

    /// Goes to what is due next whenever nothing is left to do, for up to 30 days; `resume` ends
    /// that.
    pub fn auto(&self) -> Result<(), HostError> {
        self.run(&["AUTO"])
    }

    /// Goes on at the pace of real time.
    pub fn resume(&self) -> Result<(), HostError> {
        self.run(&["RESUME"])
    }

    fn run(&self, words: &[&str]) -> Result<(), HostError> {
        // An advance takes as many steps as there are moments.
        let words = [&["TORIL", "CLOCK"], words].concat();
        self.0.ask(&words, ADVANCE_PATIENCE).map(drop)
    }
}

fn command_line<S: AsRef<str>>(settings: &[S]) -> Vec<String> {
    PLACE.into_iter().chain(settings.iter().map(AsRef::as_ref)).map(String::from).collect()
}

impl Running {
    /// Ends it, if it has not ended; what it ended with.
    fn end(&mut self) -> String {
        match self {
            Self::Inside(_) => "its thread".into(),
            Self::Beside(child) => {
                // Nothing of it is kept: there is nothing to be gentle with.
                let _ = child.kill();
                child.wait().map_or_else(|problem| problem.to_string(), |it| it.to_string())
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}
