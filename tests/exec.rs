//! `toril exec` and `toril ping`: a command beside a server of its own, and what becomes of both.

mod common;

use common::program::{Guarded, Running, ask_all, until};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

fn toril(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_toril"));
    command.args(args).stdin(Stdio::null());
    for name in ["REDIS_URL", "REDIS_HOST", "REDIS_PORT", "REDISCLI_AUTH"] {
        command.env_remove(name);
    }
    command
}

/// What a command line says and how it ends: standard output, standard error, status.
fn told(command: &mut Command) -> (String, String, i32) {
    let output = command.output().expect("the program starts");
    let [out, err] = [output.stdout, output.stderr].map(|it| String::from_utf8(it).expect("UTF-8"));
    (out, err, output.status.code().expect("no signal ended it"))
}

/// Runs a script of the shell; nothing else is said.
fn check(settings: &[&str], script: &str, expect: &str, status: i32) {
    let args = [&["exec"], settings, &["--", "sh", "-c", script]].concat();
    assert_eq!(told(&mut toril(&args)), (expect.into(), String::new(), status), "{script}");
}

#[test]
fn the_status_is_that_of_the_command() {
    check(&[], "exit 0", "", 0);
    check(&[], "exit 7", "", 7);
    check(&[], "kill -TERM $$", "", 143);
    check(&[], "kill -KILL $$", "", 137);
}

#[test]
fn what_cannot_be_run_is_named() {
    let (out, err, status) = told(&mut toril(&["exec", "--", "no-such-command", "x"]));
    assert_eq!((out.as_str(), status), ("", 127));
    assert_eq!(err, "toril exec: no-such-command: no such command\n");
    let (out, err, status) = told(&mut toril(&["exec", "--", "/"]));
    assert_eq!((out.as_str(), status), ("", 126));
    assert_eq!(err, "toril exec: /: Permission denied (os error 13)\n");
}

#[test]
fn what_is_wrong_is_said_before_anything_runs() {
    let refused = |args: &[&str], expect: &str| {
        let args = [&["exec"], args, &["--", "echo", "it ran"]].concat();
        let (out, err, status) = told(&mut toril(&args));
        assert_eq!((out.as_str(), status), ("", 2), "{args:?}: {err}");
        assert!(err.starts_with("toril exec: ") && err.contains(expect), "{args:?}: {err}");
    };
    refused(&["--nope", "1"], "Bad directive");
    refused(&["--maxmemory", "zz"], "argument must be a memory value");
    refused(&["/no/such.conf"], "can't open config file '/no/such.conf'");
    refused(&["--env", "X={what}"], "{what} is none of {url} {host} {port} {http} {token}");
    refused(&["--wait-idle", "soon"], "500ms or 5s");
    // What only the server can know.
    refused(&["--bind", "192.0.2.1"], "before it was ready");
    let (_, err, status) = told(&mut toril(&["exec", "npm", "test"]));
    assert_eq!(status, 2);
    assert_eq!(err, "toril exec: a command is wanted behind --, as in 'toril exec -- npm test'\n");
    let (out, err, status) = told(&mut toril(&["exec", "--help"]));
    assert!(out.starts_with("Usage: toril exec ") && err.is_empty() && status == 0, "{out}{err}");
}

#[test]
fn the_command_finds_its_server() {
    let ping = format!("{} ping -h $REDIS_HOST -p $REDIS_PORT", env!("CARGO_BIN_EXE_toril"));
    check(&[], &ping, "PONG\n", 0);
    check(
        &[],
        "test $REDIS_URL = redis://$REDIS_HOST:$REDIS_PORT -a $TORIL_URL = $REDIS_URL",
        "",
        0,
    );
    check(&["--env", "BROKER={url}/1"], "test $BROKER = $REDIS_URL/1", "", 0);
    check(&["--http-token", "t"], "echo $UPSTASH_REDIS_REST_TOKEN", "t\n", 0);
    check(&[], "test ${#UPSTASH_REDIS_REST_TOKEN} = 48", "", 0);
    check(&["--requirepass", "a b"], "echo ${REDIS_URL%@*}", "redis://:a%20b\n", 0);
    let rest = "curl -s -H \"Authorization: Bearer $UPSTASH_REDIS_REST_TOKEN\" \
                $UPSTASH_REDIS_REST_URL/ping";
    if Command::new("curl").arg("--version").output().is_ok() {
        check(&[], rest, "{\"result\":\"PONG\"}", 0);
    }
}

#[test]
fn the_streams_are_the_commands() {
    let mut command = toril(&["exec", "--", "sh", "-c", "cat; echo said >&2"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    child.stdin.take().expect("it is piped").write_all(b"typed").expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"typed"[..], &b"said\n"[..]));
}

/// A test must never be led to production unawares.
#[test]
fn what_led_elsewhere_is_named() {
    let mut command = toril(&["exec", "--", "sh", "-c", "echo $REDIS_URL $REDIS_PORT"]);
    command.env("REDIS_URL", "redis://ada:geheim@prod:6379").env("REDIS_PORT", "6379");
    command.env("UPSTASH_REDIS_REST_TOKEN", "geheim");
    let (out, err, status) = told(&mut command);
    let (url, port) = out.trim_end().split_once(' ').expect("two words");
    let title = "for sh -c echo $REDIS_URL $REDIS_PORT\n";
    let expect = format!(
        "toril exec: REDIS_URL was redis://ada:(hidden)@prod:6379 and is {url} {title}\
         toril exec: REDIS_PORT was 6379 and is {port} {title}\
         toril exec: UPSTASH_REDIS_REST_TOKEN was (hidden) and is (hidden) {title}"
    );
    assert_eq!((err, status), (expect, 0));
    // Where there is no such way to the server, the old one leads to another.
    let socket = format!("{}/exec", env!("CARGO_TARGET_TMPDIR"));
    let mut command = toril(&["exec", "--unixsocket", &socket, "--", "env"]);
    let (out, err, status) = told(command.env("REDIS_HOST", "prod"));
    assert!(out.contains(&format!("REDIS_URL=unix://{socket}\n")), "{out}");
    assert!(!out.contains("REDIS_HOST"), "{out}");
    assert_eq!(err, "toril exec: REDIS_HOST was prod and is not set for env\n");
    assert_eq!(status, 0);
}

/// A job that waits for a worker that never comes, as BullMQ keeps it.
#[test]
fn jobs_that_are_not_done_are_told_of() {
    let python = "import os, socket\n\
        s = socket.create_connection((os.environ['REDIS_HOST'], int(os.environ['REDIS_PORT'])))\n\
        s.sendall(b'HSET bull:mail:meta opts.maxLenEvents 10000\\r\\n')\n\
        s.sendall(b'LPUSH bull:mail:wait 1\\r\\n')\n\
        answers = s.makefile()\n\
        answers.readline(), answers.readline()\n";
    if Command::new("python3").arg("--version").output().is_err() {
        eprintln!("skipped: there is no python3");
        return;
    }
    check(&["--wait-idle", "100ms"], "exit 0", "", 0);
    let args = ["exec", "--wait-idle", "100ms", "--", "python3", "-c", python];
    let (_, err, status) = told(&mut toril(&args));
    assert!(err.starts_with("toril exec: ") && err.contains("mail"), "{err}");
    assert_eq!(status, 1, "{err}");
}

/// The server's own words are for who has to find out what went wrong.
#[test]
fn the_log_is_shown_if_the_command_fails() {
    for (status, is_shown) in [(0, false), (1, true)] {
        // Who is answered finds all said that is said at the start.
        let program = env!("CARGO_BIN_EXE_toril");
        let script = format!("{program} ping -p $REDIS_PORT; exit {status}");
        let mut command = toril(&["exec", "--lfu-decay-time", "2", "--", "sh", "-c", &script]);
        let (_, err, _) = told(&mut command);
        assert_eq!(err.contains("Accepted without effect"), is_shown, "{err}");
        assert!(!err.contains("TOKEN"), "{err}");
    }
}

/// What would fail elsewhere is told although nothing fails here.
#[test]
fn what_strict_mode_finds_is_shown_in_any_case() {
    let python = "import os, socket\n\
        s = socket.create_connection((os.environ['REDIS_HOST'], int(os.environ['REDIS_PORT'])))\n\
        s.sendall(b'MGET a b\\r\\n')\n\
        s.makefile().readline()\n";
    if Command::new("python3").arg("--version").output().is_err() {
        eprintln!("skipped: there is no python3");
        return;
    }
    let args = ["exec", "--strict", "yes", "--", "python3", "-c", python];
    let (_, err, status) = told(&mut toril(&args));
    assert!(err.starts_with("toril exec: ") && err.contains("strict crossslot: MGET"), "{err}");
    assert_eq!((err.lines().count(), status), (1, 0), "{err}");
}

/// `toril exec` with a script that says its server's port first, and goes on until it is ended.
struct Started {
    exec: Guarded,
    port: u16,
}

impl Started {
    fn run(script: &str) -> Self {
        let script = format!("{script}; echo $REDIS_PORT; while :; do sleep 0.05; done");
        let mut command = toril(&["exec", "--", "sh", "-c", &script]);
        let exec = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut exec = Guarded(exec.expect("the program starts"));
        let mut line = String::new();
        let output = exec.stdout.as_mut().expect("it is piped");
        BufReader::new(output).read_line(&mut line).expect("it is UTF-8");
        let port = line.trim_end().parse().expect("it is a port");
        Self { exec, port }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.exec), signal).expect("it runs");
    }

    /// A process that INFO names.
    fn server(&self) -> Pid {
        let told = ask_all(self.port, "INFO server");
        let pid = told.lines().find_map(|line| line.strip_prefix("process_id:"));
        pid.and_then(|pid| Pid::from_raw(pid.parse().ok()?)).expect("it is a process id")
    }

    fn is_served(&self) -> bool {
        TcpStream::connect(("127.0.0.1", self.port)).is_ok()
    }

    /// Its status, and what it said on standard error.
    fn end(mut self) -> (Option<i32>, String) {
        let status = self.exec.wait().expect("it ends").code();
        assert!(!self.is_served(), "the server lives on");
        let mut said = String::new();
        let errors = self.exec.stderr.as_mut().expect("it is piped");
        errors.read_to_string(&mut said).expect("it is UTF-8");
        (status, said)
    }
}

#[test]
fn signals_go_to_the_command_and_the_server_outlives_it() {
    let ping = format!("{} ping -p $REDIS_PORT >&2", env!("CARGO_BIN_EXE_toril"));
    for (name, signal) in [("TERM", Signal::TERM), ("INT", Signal::INT), ("HUP", Signal::HUP)] {
        let started = Started::run(&format!("trap '{ping}; exit 5' {name}"));
        started.signal(signal);
        let (status, said) = started.end();
        assert_eq!((status, said.lines().next()), (Some(5), Some("PONG")), "{name}: {said}");
    }
    let started = Started::run("true");
    started.signal(Signal::TERM);
    assert_eq!(started.end().0, Some(143));
}

#[test]
fn the_command_ends_with_the_server() {
    let started = Started::run("true");
    kill_process(started.server(), Signal::KILL).expect("it runs");
    let (status, said) = started.end();
    assert_eq!(status, Some(1));
    let (first, _) = said.split_once('\n').expect("a line");
    assert!(first.starts_with("toril exec: the server ended (status 137) while sh -c "), "{said}");
    assert!(first.ends_with(" was running"), "{said}");
}

#[test]
fn both_end_with_exec_whatever_ends_that() {
    let mut started = Started::run("trap 'echo ended; exit' TERM");
    started.signal(Signal::KILL);
    started.exec.wait().expect("it ends");
    until("the server's end", || !started.is_served());
    // Nothing ends the command on other systems.
    if cfg!(target_os = "linux") {
        let mut said = String::new();
        let output = started.exec.stdout.as_mut().expect("it is piped");
        output.read_to_string(&mut said).expect("it is UTF-8");
        assert_eq!(said, "ended\n");
    }
}

#[test]
fn ping_says_whether_a_server_is_there() {
    let server = Running::start(&["--requirepass", "geheim"]);
    let port = server.port.to_string();
    let check = |args: &[&str], expect: &str, is_good: bool| {
        let (out, err, status) = told(&mut toril(&[&["ping", "-p", &port], args].concat()));
        assert_eq!(status, i32::from(!is_good), "{args:?}: {out}{err}");
        let (said, silent) = if is_good { (out, err) } else { (err, out) };
        assert_eq!((said.trim_end(), silent.as_str()), (expect, ""), "{args:?}");
    };
    let at = format!("toril ping: 127.0.0.1:{port}");
    check(&["-a", "geheim"], "PONG", true);
    check(&[], &format!("{at}: NOAUTH Authentication required."), false);
    let wrong = "WRONGPASS invalid username-password pair or user is disabled.";
    check(&["-a", "x"], &format!("{at}: {wrong}"), false);
    check(&["-p", "x"], "toril ping: x is no port", false);
    check(&["-p"], "toril ping: -p needs a value", false);
    server.stop();
    check(&["-a", "x"], &format!("{at}: Connection refused (os error 111)"), false);
    let (_, err, status) = told(&mut toril(&["ping", "--nope"]));
    assert!(err.starts_with("toril ping: there is no --nope\n\nUsage: ") && status == 1, "{err}");
    assert!(told(&mut toril(&["ping", "--help"])).0.starts_with("Usage: toril ping"));
}
