//! The server as a program's child: the line that tells where it listens, and its end with the
//! process that started it.

mod common;

use common::program::{Guarded, PATIENCE, Running, ask_all, toril, until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// What was announced in one of these lines.
fn announced(lines: impl IntoIterator<Item = String>) -> Value {
    let line = lines.into_iter().find(|line| line.starts_with(r#"{"toril""#));
    serde_json::from_str(&line.expect("it is announced")).expect("it is JSON")
}

/// A server that logs nothing, and what it announces nevertheless.
fn announced_alone(args: &[&str]) -> (Guarded, Value) {
    let mut command = toril(&["--port", "0", "--loglevel", "nothing", "--announce", "json"]);
    let child = command.args(args).stdout(Stdio::piped()).spawn();
    let mut child = Guarded(child.expect("the program starts"));
    let output = BufReader::new(child.stdout.take().expect("it is piped"));
    (child, announced(output.lines().map(|line| line.expect("it is UTF-8"))))
}

#[test]
fn a_line_says_where_it_listens() {
    let (mut child, told) = announced_alone(&[]);
    let port = told["port"].as_u64().expect("it has a port") as u16;
    assert_eq!(told["toril"], env!("CARGO_PKG_VERSION"));
    assert_eq!(told["pid"], child.id());
    assert_eq!(told["host"], "127.0.0.1");
    assert_eq!(told["url"], format!("redis://127.0.0.1:{port}"));
    assert!(told["http"].is_null() && told["clock"].is_null() && told["unixsocket"].is_null());
    assert_eq!(ask_all(port, "PING"), "+PONG\r\n+OK\r\n");
    kill_process(Pid::from_child(&child), Signal::TERM).expect("it runs");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn the_line_has_what_opens_the_server() {
    let mut server = Running::start(&["--announce", "json", "--http-port", "0"]);
    let mut line = String::new();
    server.output.read_line(&mut line).expect("it is UTF-8");
    let told = announced([line]);
    assert_eq!(told["port"], server.port);
    assert_eq!(told["http"]["url"], format!("http://127.0.0.1:{}", server.http_port));
    let token = told["http"]["token"].as_str().expect("one was made");
    let said = server.lines.concat();
    assert!(said.contains(&format!("UPSTASH_REDIS_REST_TOKEN={token}\n")), "{said}");
    server.stop();

    let socket = format!("{}/announced", env!("CARGO_TARGET_TMPDIR"));
    let (mut child, told) = announced_alone(&[
        "--unixsocket",
        &socket,
        "--requirepass",
        "a b/\"",
        "--http-port",
        "0",
        "--bind",
        "*",
    ]);
    assert_eq!(told["unixsocket"], socket);
    assert!(told["port"].is_null() && told["host"].is_null());
    assert_eq!(told["url"], format!("unix://:a%20b%2F%22@{socket}"));
    assert_eq!(told["http"]["token"], "a b/\"");
    let url = told["http"]["url"].as_str().expect("HTTP is served");
    assert!(url.starts_with("http://127.0.0.1:"), "{url}");
    child.kill().expect("it runs");
}

/// A shell that starts the server, as a script tells it to; `$0` is the program, and `$1` the
/// settings that a test wants.
struct Starter {
    shell: Guarded,
    output: BufReader<ChildStdout>,
    port: u16,
}

impl Starter {
    fn run(script: &str, settings: &str) -> Self {
        let settings = format!(
            "--bind 127.0.0.1 --port 0 --announce json --enable-debug-command yes {settings}"
        );
        let shell = Command::new("sh")
            .args(["-c", script, env!("CARGO_BIN_EXE_toril"), &settings])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn();
        let mut shell = Guarded(shell.expect("there is a shell"));
        let mut output = BufReader::new(shell.stdout.take().expect("it is piped"));
        let lines = output.by_ref().lines().map(|line| line.expect("it is UTF-8"));
        let port = announced(lines)["port"].as_u64().expect("it has a port") as u16;
        Self { shell, output, port }
    }

    /// Kills the shell; what the server says at its end, and how long that takes.
    fn kill(mut self) -> (String, Duration) {
        let start = Instant::now();
        self.shell.kill().expect("it runs");
        self.shell.wait().expect("it ends");
        let mut rest = String::new();
        // To the end: until the server closes it, too.
        self.output.read_to_string(&mut rest).expect("it is UTF-8");
        (rest, start.elapsed())
    }
}

const START: &str = "$0 $1 --exit-with-parent $$ & wait";

#[test]
fn it_ends_with_the_process_that_started_it() {
    let starter = Starter::run(START, "");
    let reason =
        format!("toril stops: process {}, which started it, has ended", starter.shell.id());
    let (rest, took) = starter.kill();
    assert!(rest.contains(&reason), "{rest}");
    assert!(rest.contains("ready to exit"), "{rest}");
    assert!(took < Duration::from_secs(1), "{took:?}");
}

/// A pipe would be held open by it.
#[test]
fn a_sibling_that_lives_on_does_not_keep_it() {
    let script = "(exec sleep 60 > /dev/null) & echo sleep $!; $0 $1 --exit-with-parent $$ & wait";
    let mut shell = Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_toril"), "--port 0 --bind 127.0.0.1"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("there is a shell");
    let mut output = BufReader::new(shell.stdout.take().expect("it is piped"));
    let mut lines = output.by_ref().lines().map(|line| line.expect("it is UTF-8"));
    let sleep = lines.next().expect("it says so");
    let sleep = sleep.strip_prefix("sleep ").and_then(|pid| pid.parse().ok());
    let sleep = sleep.and_then(Pid::from_raw).expect("it is a process id");
    assert!(lines.any(|line| line.contains("Ready to accept")));
    shell.kill().expect("it runs");
    shell.wait().expect("it ends");
    let mut rest = String::new();
    output.read_to_string(&mut rest).expect("it is UTF-8");
    assert!(rest.contains("which started it, has ended"), "{rest}");
    kill_process(sleep, Signal::KILL).expect("it sleeps");
}

/// A signal at the parent's death comes when the thread ends that made the child.
#[test]
fn it_lives_as_long_as_the_process_whatever_its_threads_do() {
    let own = std::process::id().to_string();
    let start = move || Running::start(&["--exit-with-parent", &own]);
    let server = thread::spawn(start).join().expect("it starts");
    thread::sleep(Duration::from_millis(300));
    assert_eq!(ask_all(server.port, "PING"), "+PONG\r\n+OK\r\n");
    server.stop();
}

#[test]
fn it_ends_although_it_is_busy() {
    for request in ["DEBUG SLEEP 100", "EVAL \"while true do string.rep('x', 1e8) end\" 0"] {
        let starter = Starter::run(START, "--busy-reply-threshold 100000");
        let mut stream = TcpStream::connect(("127.0.0.1", starter.port)).expect("it listens");
        // In one piece with the request, its answer would wait for that.
        stream.write_all(b"PING\r\n").expect("it reads");
        stream.read_exact(&mut [0; 7]).expect("it answers");
        stream.write_all(format!("{request}\r\n").as_bytes()).expect("it reads");
        thread::sleep(Duration::from_millis(50));
        let (rest, took) = starter.kill();
        assert!(rest.contains("which started it, has ended"), "{request}: {rest}");
        assert!(took < PATIENCE, "{request}: {took:?}");
    }
}

#[test]
fn who_has_ended_before_it_starts_is_not_waited_for() {
    let mut child = Command::new("true").spawn().expect("it starts");
    child.wait().expect("it ends");
    let pid = child.id().to_string();
    let mut command = toril(&["--port", "0", "--exit-with-parent", &pid]);
    let output = command.output().expect("the program starts");
    let text = String::from_utf8(output.stdout).expect("it is UTF-8");
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains(&format!("process {pid}, which started it, has ended")), "{text}");
}

#[test]
fn a_daemon_has_no_parent() {
    let own = std::process::id().to_string();
    let mut command = toril(&["--port", "0", "--daemonize", "yes", "--exit-with-parent", &own]);
    let output = command.output().expect("the program starts");
    let text = String::from_utf8(output.stdout).expect("it is UTF-8");
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert_eq!(text, "exit-with-parent and daemonize contradict each other\n");
}

/// The next start has another parent.
#[test]
fn what_holds_for_one_start_is_written_into_no_file() {
    let path = format!("{}/started.conf", env!("CARGO_TARGET_TMPDIR"));
    std::fs::write(&path, "hz 20\n").expect("the folder for tests can be written");
    let own = std::process::id().to_string();
    let server = Running::start(&[&path, "--announce", "json", "--exit-with-parent", &own]);
    assert!(ask_all(server.port, "CONFIG REWRITE").starts_with("+OK"));
    let written = || std::fs::read_to_string(&path).expect("it is there");
    until("the file", || written().contains("port "));
    assert!(!written().contains("parent") && !written().contains("announce"), "{}", written());
    server.stop();
}

#[test]
fn the_clock_file_of_a_server_that_was_killed_goes_with_the_next() {
    let folder = format!("{}/clock-files", env!("CARGO_TARGET_TMPDIR"));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("the folder for tests can be written");
    let start = || {
        let mut command = toril(&["--port", "0", "--clock", "yes", "--announce", "json"]);
        let child = command.env("TMPDIR", &folder).stdout(Stdio::piped()).spawn();
        let mut child = Guarded(child.expect("the program starts"));
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let told = announced(output.lines().map(|line| line.expect("it is UTF-8")));
        (child, told["clock"].as_str().expect("it has one").to_owned())
    };
    let files = || {
        let entries = std::fs::read_dir(&folder).expect("it can be read");
        let paths = entries.map(|entry| entry.expect("it can be read").path());
        paths.map(|path| path.to_string_lossy().into_owned()).collect::<Vec<_>>()
    };
    let (mut killed, orphan) = start();
    let (_living, kept) = start();
    assert_eq!(files().len(), 2);
    killed.kill().expect("it runs");
    killed.wait().expect("it ends");
    assert!(files().contains(&orphan));
    let (_next, own) = start();
    let mut expect = [kept, own];
    let mut found = files();
    expect.sort();
    found.sort();
    assert_eq!(found, expect);
}
