//! The program as a process: how it is started, and what it says until it is ready.

use super::http::{Http, TOKEN};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// More than anything here takes, on however busy a machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until something holds.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what} takes too long");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A configuration file comes first, if there is one.
pub fn toril(args: &[&str]) -> Command {
    let has_file = args.first().is_some_and(|arg| !arg.starts_with('-'));
    let (file, options) = args.split_at(usize::from(has_file));
    let mut command = Command::new(env!("CARGO_BIN_EXE_toril"));
    command.args(file).args(["--bind", "127.0.0.1"]).args(options).stdin(Stdio::null());
    command
}

/// A process that does not outlive a test that fails.
pub struct Guarded(pub Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        // It may have ended already, as it should.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Deref for Guarded {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Guarded {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

/// A running server with what it said until it was ready, and its ports.
pub struct Running {
    pub child: Guarded,
    pub output: BufReader<ChildStdout>,
    pub lines: Vec<String>,
    pub port: u16,
    /// 0 if it serves no HTTP.
    pub http_port: u16,
}

impl Running {
    pub fn start(args: &[&str]) -> Self {
        Self::of(toril(args))
    }

    /// A server that a command of `toril` starts.
    pub fn of(mut command: Command) -> Self {
        let child = command
            .args(["--port", "0"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut child = Guarded(child);
        let mut output = BufReader::new(child.stdout.take().expect("it is piped"));
        let (mut lines, mut port, mut http_port) = (Vec::new(), 0, 0);
        let number = |text: &str| text.parse().expect("it is a port");
        while lines.last().is_none_or(|line: &String| !line.contains("Ready to accept")) {
            let mut line = String::new();
            output.read_line(&mut line).expect("it is UTF-8");
            assert!(!line.is_empty(), "it ended: {lines:?}");
            if let Some((_, text)) = line.trim_end().split_once("Listening on 127.0.0.1:") {
                port = number(text);
            }
            if let Some((_, text)) = line.trim_end().split_once("_URL=http://127.0.0.1:") {
                http_port = number(text);
            }
            lines.push(line);
        }
        Self { child, output, lines, port, http_port }
    }

    /// With HTTP and the token of the tests.
    pub fn with_http(args: &[&str]) -> Self {
        Self::start(&[&["--http-port", "0", "--http-token", TOKEN], args].concat())
    }

    pub fn http(&self) -> Http {
        Http::connect(self.http_port)
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    /// What it said last, and its exit status.
    pub fn end(mut self) -> (String, Option<i32>) {
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).expect("it is UTF-8");
        (rest, self.child.wait().expect("it ends").code())
    }

    /// Ends it; returns what it said last.
    pub fn stop(self) -> String {
        self.signal(Signal::TERM);
        let (rest, status) = self.end();
        assert_eq!(status, Some(0), "{rest}");
        rest
    }
}

/// Sends an inline request and returns the first line of the reply.
pub fn ask(port: u16, request: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    stream.write_all(format!("{request}\r\n").as_bytes()).expect("it reads");
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).expect("it answers");
    line.trim_end().to_owned()
}

/// Sends an inline request and returns all that comes until the server closes.
pub fn ask_all(port: u16, request: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    stream.write_all(format!("{request}\r\nQUIT\r\n").as_bytes()).expect("it reads");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("it is UTF-8");
    text
}

/// A field of INFO; empty if there is none.
pub fn info(port: u16, field: &str) -> String {
    let text = ask_all(port, "INFO");
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{field}:")));
    line.unwrap_or_default().to_owned()
}

/// A folder of a test's own, new, under a name that no other test of its program has.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let all = Path::new(env!("CARGO_TARGET_TMPDIR")).join(env!("CARGO_CRATE_NAME"));
        let path = all.join(name);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("there is room");
        Self(path)
    }

    pub fn text(&self) -> &str {
        self.0.to_str().expect("it is UTF-8")
    }
}
