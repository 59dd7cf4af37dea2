//! The program as a process: how it starts, what it says to those who started it, how it ends.

mod common;

use common::http::{TOKEN, request};
use common::program::{PATIENCE, Running, ask, ask_all, toril, until};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use std::fs::Permissions;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

#[test]
fn it_says_how_to_use_it_and_alarms_no_tool() {
    // A directive without effect, too many clients for any system: both are said, but later.
    let server = Running::start(&["--lfu-decay-time", "2", "--maxclients", "4000000000"]);
    let text = server.lines.concat();
    for word in ["error", "denied", "can't", "not listen", "already in use"] {
        assert!(!text.to_lowercase().contains(word), "{word}: {text}");
    }
    assert!(text.contains("an in-memory queue server"), "{text}");
    let port = server.port;
    assert!(text.contains(&format!("connection: {{ host: '127.0.0.1', port: {port} }}")), "{text}");
    server.signal(Signal::TERM);
    let (rest, status) = server.end();
    assert_eq!(status, Some(0));
    assert!(rest.contains("lfu-decay-time"), "{rest}");
    assert!(rest.contains("maxclients has been reduced to"), "{rest}");
}

#[test]
fn it_says_how_to_see_the_queues_and_where_they_are_seen() {
    let hints = |server: &Running| -> Vec<String> {
        let of_page = |line: &&String| line.contains("queues in a browser");
        server.lines.iter().filter(of_page).cloned().collect()
    };
    let without = Running::start(&[]);
    let [hint] = &hints(&without)[..] else { panic!("one line: {:?}", without.lines) };
    assert!(hint.trim_end().ends_with("start with --http-port 8079"), "{hint}");
    without.stop();

    // Another port, since that one may be taken here.
    for (options, asks) in [(&[][..], false), (&["--http-token", TOKEN], true)] {
        let server = Running::start(&[&["--http-port", "0"], options].concat());
        assert_eq!(hints(&server), [""; 0]);
        let place = format!("Queues: http://127.0.0.1:{}/", server.http_port);
        let told = server.lines.iter().find(|line| line.contains(&place)).expect("it is told");
        assert_eq!(told.contains("asks for the token"), asks, "{told}");
        let mut browser = server.http();
        browser.send(&request("GET", "/", &[("accept", "text/html")], b""));
        let page = browser.receive().expect("it is answered");
        assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"), "{page:?}");
        server.stop();
    }
    let none = Running::start(&["--http-port", "0", "--http-dashboard", "no"]);
    assert!(!none.lines.concat().contains("Queues:"), "{:?}", none.lines);
    none.stop();
}

#[test]
fn signals_end_it_and_a_hang_up_does_not() {
    let server = Running::start(&[]);
    server.signal(Signal::HUP);
    assert_eq!(ask(server.port, "PING"), "+PONG");
    server.signal(Signal::INT);
    assert_eq!(server.end().1, Some(0));
}

#[test]
fn a_second_signal_ends_it_although_it_is_busy() {
    let server = Running::start(&["--enable-debug-command", "yes"]);
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).expect("it listens");
    stream.write_all(b"PING\r\nDEBUG SLEEP 100\r\n").expect("it reads");
    let mut pong = [0; 7];
    stream.read_exact(&mut pong).expect("it answers");
    server.signal(Signal::TERM);
    std::thread::sleep(Duration::from_millis(100));
    server.signal(Signal::TERM);
    let started = Instant::now();
    assert_eq!(server.end().1, Some(0));
    assert!(started.elapsed() < PATIENCE, "it slept on");
}

/// A script leaves nobody a turn until it is known to be busy; a signal is noticed before that.
#[test]
fn signals_end_it_although_a_script_runs() {
    for script in [
        "EVAL \"while true do end\" 0",
        "MULTI\r\nEVAL \"while true do end\" 0\r\nEXEC",
        // A hundred thousand instructions of these take minutes.
        "EVAL \"while true do string.rep('x', 1e8) end\" 0",
        "EVAL \"local s = string.rep('x', 1e8) while true do local t = s .. s end\" 0",
    ] {
        let server = Running::start(&["--busy-reply-threshold", "100000"]);
        let mut stream = TcpStream::connect(("127.0.0.1", server.port)).expect("it listens");
        // The answer would wait for the script's first slice.
        stream.write_all(b"PING\r\n").expect("it reads");
        let mut pong = [0; 7];
        stream.read_exact(&mut pong).expect("it answers");
        stream.write_all(format!("{script}\r\n").as_bytes()).expect("it reads");
        std::thread::sleep(Duration::from_millis(100));
        let started = Instant::now();
        server.signal(Signal::TERM);
        assert_eq!(server.end().1, Some(0));
        assert!(started.elapsed() < PATIENCE, "it ran on: {script}");
    }
}

#[test]
fn it_does_not_need_to_be_heard() {
    let Running { mut child, output, port, .. } = Running::start(&["--loglevel", "debug"]);
    drop(output);
    for _ in 0..10 {
        assert_eq!(ask(port, "GET / HTTP/1.1"), "HTTP/1.1 400 Bad Request");
    }
    assert_eq!(ask(port, "PING"), "+PONG");
    kill_process(Pid::from_child(&child), Signal::TERM).expect("it runs");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

/// What a connection's first line is, a later one may say for another reason.
#[test]
fn http_is_told_from_a_value_that_looks_like_it() {
    let server = Running::start(&[]);
    for request in
        ["GET / HTTP/1.1", "options * HTTP/1.0", "GET http://a/ HTTP/1.1", "POST", "Host: a"]
    {
        assert_eq!(ask(server.port, request), "HTTP/1.1 400 Bad Request", "{request}");
    }
    for (request, answer) in [
        ("SET k HTTP/1.1", "+OK\r\n+OK\r\n"),
        ("PING\r\nSET / HTTP/1.1\r\nGET /", "+PONG\r\n+OK\r\n$8\r\nHTTP/1.1\r\n+OK\r\n"),
        ("MSET / HTTP/1.1 * HTTP/1.1", "+OK\r\n+OK\r\n"),
        ("*2\r\n$4\r\nPOST\r\n$1\r\n/", ""),
    ] {
        assert_eq!(ask_all(server.port, request), answer, "{request}");
    }
    server.signal(Signal::TERM);
    assert_eq!(server.end().1, Some(0));
}

/// A parked client whose further requests fill every buffer is read nevertheless.
#[test]
fn a_parked_client_that_goes_is_noticed() {
    let server = Running::start(&[]);
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).expect("it listens");
    stream.write_all(b"BLPOP nothing 0\r\n").expect("it reads");
    stream.write_all(&b"PING\r\n".repeat(1_000_000)).expect("it reads");
    until("the blocking", || ask_all(server.port, "INFO clients").contains("blocked_clients:1\r"));
    drop(stream);
    until("the notice", || ask_all(server.port, "INFO clients").contains("blocked_clients:0\r"));
    server.signal(Signal::TERM);
    assert_eq!(server.end().1, Some(0));
}

#[test]
fn a_port_in_use_is_said_with_a_way_out() {
    let server = Running::start(&[]);
    let port = server.port.to_string();
    for extra in ["--daemonize no", "--daemonize yes"] {
        let mut command = toril(&["--port", &port]);
        let output = command.args(extra.split(' ')).output().expect("the program starts");
        let text = String::from_utf8(output.stdout).expect("it is UTF-8");
        assert_eq!(output.status.code(), Some(1), "{extra}: {text}");
        assert!(text.contains("Address already in use"), "{extra}: {text}");
        assert!(text.contains("--port 0"), "{extra}: {text}");
    }
    server.signal(Signal::TERM);
    assert_eq!(server.end().1, Some(0));
}

#[test]
fn databases_beyond_measure_are_refused_before_it_is_ready() {
    let server = Running::start(&["--databases", "1000000"]);
    assert_eq!(ask(server.port, "SELECT 999999"), "+OK");
    server.signal(Signal::TERM);
    assert_eq!(server.end().1, Some(0));
    let output = toril(&["--databases", "2147483647"]).output().expect("the program starts");
    let text = String::from_utf8(output.stderr).expect("it is UTF-8");
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(1), &b""[..]), "{text}");
    assert!(text.contains("argument must be between 1 and 1000000 inclusive"), "{text}");
}

#[test]
fn a_daemon_is_ready_when_its_starter_ends() {
    let folder = env!("CARGO_TARGET_TMPDIR");
    let pid_file = format!("{folder}/daemon.pid");
    let mut command = toril(&["--port", "0", "--daemonize", "yes", "--pidfile", &pid_file]);
    let output = command.args(["--dir", folder]).output().expect("the program starts");
    let text = String::from_utf8(output.stdout).expect("it is UTF-8");
    assert_eq!(output.status.code(), Some(0), "{text}");
    let (_, rest) = text.split_once("Listening on 127.0.0.1:").expect("it listens");
    let port = rest.lines().next().and_then(|port| port.parse().ok()).expect("it is a port");
    assert_eq!(ask(port, "PING"), "+PONG");

    let pid = std::fs::read_to_string(&pid_file).expect("the file is there");
    let pid = pid.trim_end().parse().ok().and_then(Pid::from_raw).expect("it is a process id");
    assert!(test_kill_process(pid).is_ok(), "it does not run");
    kill_process(pid, Signal::TERM).expect("it runs");
    until("the daemon's end", || !std::fs::exists(&pid_file).expect("the folder is there"));
}

/// `dir` is where the files of its settings lie, not where the process goes: it may be a guest.
#[test]
fn it_stays_in_the_directory_that_it_was_started_in() {
    let folder = format!("{}/its-dir", env!("CARGO_TARGET_TMPDIR"));
    std::fs::create_dir_all(&folder).expect("the folder for tests can be written");
    let log = format!("{folder}/log");
    let _ = std::fs::remove_file(&log);
    let server = Running::start(&["--dir", &folder, "--pidfile", "pid", "--unixsocket", "socket"]);
    let is_there = |name: &str| std::fs::exists(format!("{folder}/{name}")).expect("it is a path");
    let mut stream = UnixStream::connect(format!("{folder}/socket")).expect("it listens");
    stream.write_all(b"CONFIG GET dir\r\nQUIT\r\n").expect("it reads");
    let mut told = String::new();
    stream.read_to_string(&mut told).expect("it is UTF-8");
    assert!(told.contains(&folder), "{told}");
    #[cfg(target_os = "linux")]
    assert_eq!(
        std::fs::read_link(format!("/proc/{}/cwd", server.child.id())).ok(),
        std::env::current_dir().ok()
    );
    assert!(is_there("pid") && is_there("socket"), "they lie elsewhere");
    server.stop();
    assert!(!is_there("pid") && !is_there("socket"), "they were left behind");
    let args = ["--dir", &folder, "--logfile", "log", "--bind", "256.0.0.0"];
    assert_eq!(toril(&args).output().expect("the program starts").status.code(), Some(1));
    assert!(is_there("log"), "it lies elsewhere");
}

/// The file of a Unix socket may be another server's, or no socket's.
#[test]
fn a_unix_socket_takes_nobodys_place() {
    let path = format!("{}/its-socket", env!("CARGO_TARGET_TMPDIR"));
    let _ = std::fs::remove_file(&path);
    let refused = |why: &str| {
        let mut command = toril(&["--port", "0", "--unixsocket", &path]);
        let output = command.output().expect("the program starts");
        let text = String::from_utf8(output.stdout).expect("it is UTF-8");
        assert_eq!(output.status.code(), Some(1), "{why}: {text}");
        assert!(text.contains("Address already in use"), "{why}: {text}");
    };
    let ping = || {
        let mut stream = UnixStream::connect(&path).expect("it listens");
        stream.write_all(b"PING\r\n").expect("it reads");
        let mut pong = [0; 7];
        stream.read_exact(&mut pong).expect("it answers");
    };
    std::fs::write(&path, "a letter").expect("the folder for tests can be written");
    refused("a file");
    assert_eq!(std::fs::read_to_string(&path).ok().as_deref(), Some("a letter"));
    std::fs::remove_file(&path).expect("it is there");

    let first = Running::start(&["--unixsocket", &path]);
    refused("a server");
    ping();
    // Whoever stops leaves what is another's by now.
    std::fs::remove_file(&path).expect("it is there");
    let mut second = Running::start(&["--unixsocket", &path]);
    first.stop();
    ping();
    // Nobody listens to what a server that was killed leaves.
    second.child.kill().expect("it runs");
    second.end();
    let third = Running::start(&["--unixsocket", &path]);
    ping();
    third.stop();
    assert!(!std::fs::exists(&path).expect("it is a path"), "it was left behind");
}

/// Where it listens may change while it runs, and whoever is connected stays. What cannot be had
/// changes nothing: Redis's errors, and its order of blame.
#[test]
fn listeners_move_while_it_runs() {
    let server = Running::start(&["--bind", "127.0.0.1"]);
    let port = server.port;
    let mut talk = Talk::new(port);
    let is_open = |host: &str, port: u16| TcpStream::connect((host, port)).is_ok();
    let taken = TcpListener::bind(("127.0.0.1", 0)).expect("there is a port");
    let taken = (taken.local_addr().expect("it is bound").port(), taken);
    let free = TcpListener::bind(("127.0.0.1", 0)).and_then(|it| it.local_addr());
    let free = free.expect("there is a port").port();
    let failed = |name: &str, reason: &str| {
        format!("-ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}")
    };
    let no_port = failed("port", "Unable to listen on this port. Check server logs.");
    let no_address = failed("bind", "Failed to bind to specified addresses.");

    // The port that the system chose stays when addresses change.
    assert_eq!(talk.ask("CONFIG SET bind '127.0.0.1 127.0.0.2 -192.0.2.1'"), "+OK");
    assert!(is_open("127.0.0.1", port) && is_open("127.0.0.2", port));
    for addresses in ["192.0.2.1", "127.0.0.1 127.0.0.1", "nowhere"] {
        assert_eq!(talk.ask(&format!("CONFIG SET bind '{addresses}'")), no_address);
        assert!(is_open("127.0.0.1", port) && is_open("127.0.0.2", port), "{addresses}");
    }
    let told = talk.ask("CONFIG SET bind '1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17'");
    assert_eq!(told, failed("bind", "Too many bind addresses specified."));
    assert_eq!(talk.ask("CONFIG SET bind *"), "+OK");
    assert!(is_open("127.0.0.3", port));
    assert_eq!(talk.ask("CONFIG SET bind 127.0.0.1"), "+OK");
    assert!(is_open("127.0.0.1", port) && !is_open("127.0.0.2", port));

    let set = format!("CONFIG SET timeout 5 port {}", taken.0);
    assert_eq!(talk.ask(&set), no_port);
    assert_eq!(
        talk.ask(&format!("CONFIG SET bind '127.0.0.1 127.0.0.2' port {}", taken.0)),
        no_address
    );
    let stays = "*6 $4 bind $9 127.0.0.1 $4 port $1 0 $7 timeout $1 0";
    let stays: Vec<&str> = stays.split(' ').collect();
    assert_eq!(talk.ask_lines("CONFIG GET bind port timeout", stays.len()), stays);
    assert!(is_open("127.0.0.1", port) && !is_open("127.0.0.2", port));

    assert_eq!(talk.ask(&format!("CONFIG SET port {free} timeout 7")), "+OK");
    assert!(is_open("127.0.0.1", free) && !is_open("127.0.0.1", port));
    let told = talk.ask_lines("MULTI\r\nCONFIG SET port 0\r\nCONFIG GET port timeout\r\nEXEC", 13);
    let expect = [
        "+OK", "+QUEUED", "+QUEUED", "*2", "+OK", "*4", "$4", "port", "$1", "0", "$7", "timeout",
        "$1",
    ];
    assert_eq!(told, expect);
    assert_eq!(talk.ask_lines("PING", 2), ["7", "+PONG"]);
    assert!(!is_open("127.0.0.1", free));
    assert_eq!(talk.ask(&format!("MULTI\r\nCONFIG SET port {}\r\nEXEC", taken.0)), "+OK");
    assert_eq!(talk.ask_lines("PING", 4), ["+QUEUED", "*1", no_port.as_str(), "+PONG"]);
    assert_eq!(talk.ask(&format!("CONFIG SET port {free}")), "+OK");
    assert!(ask_all(free, "INFO server").contains(&format!("\r\ntcp_port:{free}\r\n")));
    let rest = server.stop();
    assert!(
        rest.contains(&format!("127.0.0.1:{}: bind: Address already in use", taken.0)),
        "{rest}"
    );
}

/// A connection that is kept.
struct Talk(BufReader<TcpStream>);

impl Talk {
    fn new(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("it is a time");
        Self(BufReader::new(stream))
    }

    /// The next line after an inline request.
    fn ask(&mut self, request: &str) -> String {
        self.ask_lines(request, 1).remove(0)
    }

    fn ask_lines(&mut self, request: &str, count: usize) -> Vec<String> {
        self.0.get_mut().write_all(format!("{request}\r\n").as_bytes()).expect("it reads");
        let mut lines = self.0.by_ref().lines();
        (0..count).map(|_| lines.next().expect("it answers").expect("it is UTF-8")).collect()
    }
}

/// Who may, chooses where files lie while it runs.
#[test]
fn the_directory_changes_where_that_is_allowed() {
    let folder = format!("{}/chosen", env!("CARGO_TARGET_TMPDIR"));
    std::fs::create_dir_all(format!("{folder}/inside")).expect("the folder can be written");
    std::fs::write(format!("{folder}/file"), "").expect("the folder can be written");
    let folder = std::fs::canonicalize(folder).expect("it is there");
    let folder = folder.to_str().expect("it is UTF-8");
    let failed = |reason: &str| {
        format!("-ERR CONFIG SET failed (possibly related to argument 'dir') - {reason}")
    };
    let server = Running::start(&["--dir", folder]);
    let told = ask(server.port, "CONFIG SET dir /");
    assert_eq!(told, failed("can't set protected config"));
    server.stop();
    let server = Running::start(&["--dir", folder, "--enable-protected-configs", "local"]);
    let mut talk = Talk::new(server.port);
    for (name, reason) in [
        ("/no/such", "No such file or directory"),
        ("''", "No such file or directory"),
        ("file", "Not a directory"),
        (&"x".repeat(300), "File name too long"),
    ] {
        assert_eq!(talk.ask(&format!("CONFIG SET timeout 5 dir {name}")), failed(reason));
    }
    for (name, expect) in [("inside", "/inside"), (".", "/inside"), ("../inside//..", "")] {
        assert_eq!(talk.ask(&format!("CONFIG SET dir {name} dbfilename a.rdb")), "+OK");
        let expect = format!("{folder}{expect}");
        assert_eq!(talk.ask_lines("CONFIG GET dir", 5)[4], expect);
    }
    assert_eq!(
        talk.ask_lines("CONFIG GET dbfilename timeout", 9)[4..],
        ["a.rdb", "$7", "timeout", "$1", "0"]
    );
    server.stop();
}

/// What is in force is written down, all of it or nothing.
#[test]
fn settings_are_written_to_the_file_that_they_came_from() {
    let folder = format!("{}/rewritten", env!("CARGO_TARGET_TMPDIR"));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("the folder can be written");
    let folder = std::fs::canonicalize(folder).expect("it is there");
    let file = folder.join("redis.conf");
    let path = file.to_str().expect("it is UTF-8");
    std::fs::write(&file, "# mine\ntimeout 5\nmaxmemory 100mb\n").expect("it can be written");
    std::fs::set_permissions(&file, Permissions::from_mode(0o640)).expect("it can be changed");

    let server = Running::start(&[path, "--hz", "20"]);
    let mut talk = Talk::new(server.port);
    assert_eq!(talk.ask("CONFIG SET timeout 7 requirepass 'a b'"), "+OK");
    assert_eq!(talk.ask("CONFIG REWRITE"), "+OK");
    let written = std::fs::read_to_string(&file).expect("it is there");
    let (kept, added) = written.split_once("# Generated by CONFIG REWRITE\n").expect("a heading");
    assert_eq!(kept, "# mine\ntimeout 7\nmaxmemory 100mb\n");
    assert!(added.contains("requirepass \"a b\"\n") && added.contains("hz 20\n"), "{added}");
    let mode = std::fs::metadata(&file).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    assert_eq!(talk.ask("CONFIG REWRITE"), "+OK");
    assert_eq!(std::fs::read_to_string(&file).expect("it is there"), written);
    assert_eq!(std::fs::read_dir(&folder).expect("it can be read").count(), 1);

    std::fs::remove_dir_all(&folder).expect("it can be removed");
    let told = talk.ask("CONFIG REWRITE");
    assert_eq!(told, "-ERR Rewriting config file: No such file or directory");
    server.stop();

    std::fs::create_dir_all(&folder).expect("the folder can be written");
    std::fs::write(&file, written).expect("it can be written");
    let server = Running::start(&[path]);
    let mut talk = Talk::new(server.port);
    assert_eq!(talk.ask("AUTH 'a b'"), "+OK");
    assert_eq!(talk.ask_lines("CONFIG GET timeout", 5)[4], "7");
    server.stop();
}

/// Also in a transaction, whose other commands and waiters are another matter: the transcripts.
#[test]
fn debug_sleep_is_timed() {
    let server = Running::start(&["--enable-debug-command", "yes"]);
    let mut talk = Talk::new(server.port);
    let start = Instant::now();
    assert_eq!(talk.ask("DEBUG SLEEP 0.2"), "+OK");
    let lines = talk.ask_lines("MULTI\r\nDEBUG SLEEP 0.1\r\nPING\r\nEXEC\r\nSLOWLOG LEN", 7);
    assert_eq!(lines, ["+OK", "+QUEUED", "+QUEUED", "*2", "+OK", "+PONG", ":2"]);
    assert!(start.elapsed() >= Duration::from_millis(300), "{:?}", start.elapsed());
    let facts = ask_all(server.port, "INFO commandstats");
    let usec = |command: &str| {
        let start = format!("cmdstat_{command}:calls=");
        let line = facts.lines().find_map(|line| line.strip_prefix(&start)).expect("it ran");
        let (calls, rest) = line.split_once(",usec=").expect("it is timed");
        let micros = rest.split(',').next().and_then(|text| text.parse::<u64>().ok());
        (calls.to_owned(), micros.expect("it is a number"))
    };
    let (debug, exec) = (usec("debug"), usec("exec"));
    assert!(debug.0 == "2" && (300_000..5_000_000).contains(&debug.1), "{debug:?}");
    assert!(exec.0 == "1" && (100_000..5_000_000).contains(&exec.1), "{exec:?}");
    server.stop();
}
