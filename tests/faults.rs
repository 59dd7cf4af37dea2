//! What TORIL FAULT does to connections, to the byte: over TCP, over a Unix socket, and to a server
//! inside this process. What else faults do is in the transcripts.

mod common;

use common::program::{PATIENCE, Running, ask, until};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use toril::Server;

/// Longer than an answer takes that comes at all.
const SILENCE: Duration = Duration::from_millis(150);

/// Where a client may come from.
enum Place {
    Tcp(Running),
    Unix { path: PathBuf, _server: Running },
    Inside(Server),
}

impl Place {
    fn all(test: &str) -> Vec<Place> {
        let path = std::env::temp_dir().join(format!("toril-{}-{test}", std::process::id()));
        let socket = path.to_string_lossy().into_owned();
        let unix = Running::start(&["--unixsocket", &socket]);
        let inside = Server::start().expect("it starts");
        vec![
            Place::Tcp(Running::start(&[])),
            Place::Unix { path, _server: unix },
            Place::Inside(inside),
        ]
    }

    fn try_connect(&self) -> std::io::Result<Peer> {
        let port = match self {
            Place::Tcp(server) => server.port,
            Place::Inside(server) => server.port(),
            Place::Unix { path, .. } => {
                return UnixStream::connect(path).map(|stream| Peer(Stream::Unix(stream)));
            }
        };
        TcpStream::connect(("127.0.0.1", port)).map(|stream| Peer(Stream::Tcp(stream)))
    }

    fn connect(&self) -> Peer {
        self.try_connect().expect("it listens")
    }

    /// Whether somebody listens.
    fn is_there(&self) -> bool {
        match self.try_connect() {
            Ok(_) => true,
            Err(problem) => {
                // A Unix socket's file is made anew when a server comes back.
                let is_unix = matches!(self, Place::Unix { .. });
                let is_away = problem.kind() == ErrorKind::ConnectionRefused;
                assert!(is_away || is_unix && problem.kind() == ErrorKind::NotFound, "{problem}");
                false
            }
        }
    }

    /// Says something over TCP, on a connection of its own.
    fn ask(&self, request: &str) -> String {
        let port = match self {
            Place::Tcp(server) => server.port,
            Place::Inside(server) => server.port(),
            Place::Unix { .. } => {
                let mut peer = self.connect();
                peer.send(&format!("{request}\r\n"));
                return peer.read(1).trim_end().to_owned();
            }
        };
        ask(port, request)
    }

    fn fault(&self, rule: &str) {
        assert_eq!(self.ask(&format!("TORIL FAULT ADD name=f {rule}")), "$1", "{rule}");
    }

    fn clear(&self) {
        assert_eq!(self.ask("TORIL FAULT CLEAR"), "+OK");
    }

    /// A Unix socket has no reset: there the connection just ends.
    fn has_reset(&self) -> bool {
        !matches!(self, Place::Unix { .. })
    }
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

struct Peer(Stream);

/// How what a server sends ends.
#[derive(Debug, PartialEq)]
enum End {
    Open,
    Closed,
    Reset,
}

impl Peer {
    fn send(&mut self, text: &str) {
        let sent = match &mut self.0 {
            Stream::Tcp(stream) => stream.write_all(text.as_bytes()),
            Stream::Unix(stream) => stream.write_all(text.as_bytes()),
        };
        sent.expect("it is open");
    }

    fn patience(&self, patience: Duration) {
        let set = match &self.0 {
            Stream::Tcp(stream) => stream.set_read_timeout(Some(patience)),
            Stream::Unix(stream) => stream.set_read_timeout(Some(patience)),
        };
        set.expect("it is a time");
    }

    fn read_some(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        match &mut self.0 {
            Stream::Tcp(stream) => stream.read(bytes),
            Stream::Unix(stream) => stream.read(bytes),
        }
    }

    /// So many lines.
    fn read(&mut self, lines: usize) -> String {
        self.patience(PATIENCE);
        let (mut text, mut byte) = (Vec::new(), [0]);
        while text.iter().filter(|byte| **byte == b'\n').count() < lines {
            let len = self.read_some(&mut byte).expect("it answers");
            assert_eq!(len, 1, "it ended: {}", text.escape_ascii());
            text.push(byte[0]);
        }
        String::from_utf8(text).expect("it is ASCII")
    }

    /// All that comes until nothing more does.
    fn rest(&mut self) -> (String, End) {
        self.patience(SILENCE);
        let (mut text, mut bytes) = (Vec::new(), [0; 4096]);
        let end = loop {
            match self.read_some(&mut bytes) {
                Ok(0) => break End::Closed,
                Ok(len) => text.extend_from_slice(&bytes[..len]),
                Err(problem) => match problem.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => break End::Open,
                    ErrorKind::ConnectionReset => break End::Reset,
                    _ => panic!("{problem}"),
                },
            }
        };
        (String::from_utf8(text).expect("it is ASCII"), end)
    }

    /// What comes of some requests in one write.
    #[track_caller]
    fn check(mut self, requests: &str, expect: &str, end: End) {
        self.send(requests);
        assert_eq!(self.rest(), (expect.to_owned(), end));
    }
}

#[test]
fn a_connection_is_closed_or_reset_before_or_after_the_request() {
    for place in Place::all("ends") {
        let reset = || if place.has_reset() { End::Reset } else { End::Closed };
        for (rule, end, value) in [
            ("action=close", End::Closed, "$-1"),
            ("action=close at=after", End::Closed, "$1"),
            ("action=reset", reset(), "$-1"),
            ("action=reset at=after", reset(), "$1"),
        ] {
            place.fault(&format!("cmd=set count=1 {rule}"));
            // What was answered before is sent, and nothing behind is run.
            let requests = "PING\r\nSET k v\r\nSET other v\r\n";
            place.connect().check(requests, "+PONG\r\n", end);
            assert_eq!(place.ask("GET k"), value, "{rule}");
            assert_eq!(place.ask("GET other"), "$-1", "{rule}");
            assert_eq!(place.ask("FLUSHALL"), "+OK");
        }
    }
}

#[test]
fn what_befalls_a_reply_befalls_that_of_exec() {
    for place in Place::all("exec") {
        place.fault("cmd=set action=close at=after");
        place.connect().check(
            "MULTI\r\nSET k v\r\nEXEC\r\nPING\r\n",
            "+OK\r\n+QUEUED\r\n",
            End::Closed,
        );
        assert_eq!(place.ask("GET k"), "$1");
        place.connect().check(
            "MULTI\r\nGET k\r\nEXEC\r\n",
            "+OK\r\n+QUEUED\r\n*1\r\n$1\r\nv\r\n",
            End::Open,
        );
        place.connect().check(
            "MULTI\r\nSET k w\r\nDISCARD\r\n",
            "+OK\r\n+QUEUED\r\n+OK\r\n",
            End::Open,
        );
        place.clear();
        // What is not run is lost when it would be queued.
        place.fault("cmd=set action=close");
        place.connect().check(
            "MULTI\r\nDEL k\r\nSET k v\r\nEXEC\r\n",
            "+OK\r\n+QUEUED\r\n",
            End::Closed,
        );
        assert_eq!(place.ask("GET k"), "$1");
    }
}

#[test]
fn who_waits_is_hit_when_the_wait_ends() {
    for place in Place::all("waits") {
        place.fault("cmd=bzpopmin action=close at=after count=1");
        let mut waiting = place.connect();
        waiting.send("BZPOPMIN z 0\r\nPING\r\n");
        assert_eq!(waiting.rest(), (String::new(), End::Open));
        assert_eq!(place.ask("ZADD z 1 a"), ":1");
        assert_eq!(waiting.rest(), (String::new(), End::Closed));
        assert_eq!(place.ask("EXISTS z"), ":0");

        place.fault("cmd=bzpopmin action=delay ms=300");
        let mut waiting = place.connect();
        waiting.send("BZPOPMIN z 0\r\n");
        assert_eq!(waiting.rest(), (String::new(), End::Open));
        let began = Instant::now();
        assert_eq!(place.ask("ZADD z 1 a"), ":1");
        assert_eq!(waiting.read(5), "*3\r\n$1\r\nz\r\n$1\r\na\r\n");
        assert!(began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());
    }
}

#[test]
fn a_reply_that_is_late_holds_up_those_behind_it() {
    for place in Place::all("delays") {
        place.fault("cmd=get action=delay ms=300 count=2");
        let mut peer = place.connect();
        let began = Instant::now();
        peer.send("SET k v\r\nGET k\r\nPING\r\n");
        assert_eq!(peer.read(1), "+OK\r\n");
        let first = began.elapsed();
        assert_eq!(peer.read(3), "$1\r\nv\r\n+PONG\r\n");
        let second = began.elapsed();
        assert!(second >= Duration::from_millis(300), "{first:?}, {second:?}");
        assert!(first < second && second < Duration::from_secs(5), "{first:?}, {second:?}");
        // It was run at once, and others see that.
        place.clear();
        place.fault("cmd=set action=delay ms=300-400");
        peer.send("SET k w\r\n");
        let mut other = place.connect();
        other.send("GET k\r\n");
        assert_eq!(other.read(2), "$1\r\nw\r\n");
        assert_eq!(peer.rest(), (String::new(), End::Open));
        // A rule that is gone has its hits all the same.
        place.clear();
        assert_eq!(peer.read(1), "+OK\r\n");
        peer.send("GET k\r\n");
        assert_eq!(peer.read(2), "$1\r\nw\r\n");
    }
}

#[test]
fn half_a_reply_is_followed_by_the_end_or_by_nothing() {
    for place in Place::all("halves") {
        assert_eq!(place.ask("SET k 0123456789"), "+OK");
        place.fault("cmd=get action=half count=1");
        place.connect().check("PING\r\nGET k\r\nPING\r\n", "+PONG\r\n$10\r\n012", End::Closed);
        place.fault("cmd=get action=half then=hang count=1");
        let mut peer = place.connect();
        peer.send("GET k\r\nSET k v\r\n");
        assert_eq!(peer.rest(), ("$10\r\n012".to_owned(), End::Open));
        peer.send("SET k v\r\nPING\r\n");
        assert_eq!(peer.rest(), (String::new(), End::Open));
        assert_eq!(place.ask("STRLEN k"), ":10");
        // A reply of many chunks is cut as well.
        assert_eq!(place.ask("SETRANGE k 1999999 x"), ":2000000");
        place.fault("cmd=mget action=half count=1");
        let mut peer = place.connect();
        peer.send("MGET k k\r\n");
        let (text, end) = peer.rest();
        assert_eq!((text.len(), end), ((4 + 2 * (10 + 2_000_000 + 2)) / 2, End::Closed));
    }
}

#[test]
fn who_has_lost_a_request_in_a_black_hole_is_never_answered() {
    for place in Place::all("holes") {
        let mut listener = place.connect();
        listener.send("SUBSCRIBE c\r\n");
        assert_eq!(listener.read(6), "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
        place.fault("action=blackhole");
        let mut peer = place.connect();
        peer.send("SET k v\r\n");
        listener.send("PING\r\n");
        assert_eq!(peer.rest(), (String::new(), End::Open));
        assert_eq!(listener.rest(), (String::new(), End::Open));
        place.clear();
        peer.send("SET k v\r\n");
        assert_eq!(peer.rest(), (String::new(), End::Open));
        assert_eq!(place.ask("GET k"), "$-1");
        assert_eq!(place.ask("PUBLISH c m"), ":1");
        assert_eq!(listener.rest(), (String::new(), End::Open));
        // Its own end it may have.
        drop(peer);
        let gone = |text: String| !text.contains("cmd=set");
        until("its end", || {
            let mut peer = place.connect();
            peer.send("CLIENT LIST\r\n");
            gone(peer.rest().0)
        });
    }
}

#[test]
fn a_slow_server_keeps_everybody_waiting() {
    for place in Place::all("slow") {
        let mut other = place.connect();
        other.send("PING\r\n");
        assert_eq!(other.read(1), "+PONG\r\n");
        place.fault("cmd=get action=slow ms=300 count=1");
        let mut peer = place.connect();
        let began = Instant::now();
        peer.send("GET k\r\n");
        std::thread::sleep(Duration::from_millis(50));
        other.send("PING\r\n");
        assert_eq!(other.read(1), "+PONG\r\n");
        assert!(began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());
        assert_eq!(peer.read(1), "$-1\r\n");
    }
}

#[test]
fn tests_have_the_last_word() {
    for place in Place::all("toril") {
        let mut mine = place.connect();
        mine.send("CLIENT SETNAME toril\r\n");
        assert_eq!(mine.read(1), "+OK\r\n");
        for rule in ["action=blackhole", "action=reset", "action=half", "action=delay ms=1h"] {
            place.fault(rule);
            mine.send("PING\r\n");
            assert_eq!(mine.read(1), "+PONG\r\n", "{rule}");
            place.clear();
        }
    }
}

#[test]
fn new_connections_are_refused_or_too_many() {
    const TOO_MANY: &str = "-ERR max number of clients reached\r\n";
    for place in Place::all("new") {
        let mut old = place.connect();
        old.send("PING\r\n");
        assert_eq!(old.read(1), "+PONG\r\n");
        let reset = || if place.has_reset() { End::Reset } else { End::Closed };
        place.fault("action=refuse count=2");
        for _ in 0..2 {
            place.connect().check("PING\r\n", "", reset());
        }
        place.connect().check("PING\r\n", "+PONG\r\n", End::Open);
        place.fault("action=maxclients");
        place.connect().check("PING\r\nPING\r\n", TOO_MANY, End::Closed);
        place.connect().check("HELLO 3\r\n", TOO_MANY, End::Closed);
        // Who was there stays, and a test may come.
        old.send("PING\r\n");
        assert_eq!(old.read(1), "+PONG\r\n");
        place.connect().check("CLIENT SETNAME toril\r\nPING\r\n", "+OK\r\n+PONG\r\n", End::Open);
        place.clear();
        // Each is looked at once.
        place.fault("action=maxclients after=1");
        let mut first = place.connect();
        first.send("PING\r\nPING\r\n");
        assert_eq!(first.read(2), "+PONG\r\n+PONG\r\n");
        place.connect().check("PING\r\n", TOO_MANY, End::Closed);
        first.check("PING\r\n", "+PONG\r\n", End::Open);
    }
}

#[test]
fn a_restart_ends_all_connections_and_keeps_the_data_or_loses_it() {
    for place in Place::all("restarts") {
        for (data, value) in [("keep", "$1"), ("lose", "$-1")] {
            let (mut mine, mut waiting) = (place.connect(), place.connect());
            mine.send("CLIENT SETNAME toril\r\nSET k v\r\nSCRIPT LOAD 'return 1'\r\n");
            let sha = mine.read(4).lines().last().expect("a line").to_owned();
            waiting.send("BZPOPMIN z 0\r\n");
            assert_eq!(waiting.rest(), (String::new(), End::Open));
            let began = Instant::now();
            place.fault(&format!("action=restart data={data} down=400ms"));
            assert_eq!(waiting.rest(), (String::new(), End::Closed));
            assert!(!place.is_there());
            // A test's connection goes on.
            mine.send("GET k\r\n");
            assert_eq!(mine.read(1).trim_end(), value);
            until("its return", || place.is_there());
            assert!(began.elapsed() >= Duration::from_millis(400), "{:?}", began.elapsed());
            assert_eq!(place.ask("GET k"), value);
            let gone = "-NOSCRIPT No matching script. Please use EVAL.";
            assert_eq!(place.ask(&format!("EVALSHA {sha} 0")), gone);
            assert_eq!(place.ask("TORIL FAULT LIST"), "*0");
        }
        // What a request sets off takes the request along.
        place.fault("cmd=set action=restart down=10ms");
        let mut other = place.connect();
        other.send("PING\r\n");
        assert_eq!(other.read(1), "+PONG\r\n");
        place.connect().check("SET k v\r\n", "", End::Closed);
        assert_eq!(other.rest(), (String::new(), End::Closed));
        until("its return", || place.is_there());
        assert_eq!(place.ask("GET k"), "$-1");
        assert_eq!(place.ask("SET k v"), "+OK");
    }
}

#[test]
fn after_a_failover_nothing_can_be_written_for_a_while() {
    const UNBLOCKED: &str = "-UNBLOCKED force unblock from blocking operation, instance state \
                             changed (master -> replica?)\r\n";
    const READONLY: &str = "-READONLY You can't write against a read only replica.";
    for place in Place::all("failovers") {
        let (mut waiting, mut other) = (place.connect(), place.connect());
        other.send("PING\r\n");
        assert_eq!(other.read(1), "+PONG\r\n");
        waiting.send("BZPOPMIN z 0\r\n");
        assert_eq!(waiting.rest(), (String::new(), End::Open));
        place.fault("action=failover down=400ms");
        assert_eq!(waiting.rest(), (UNBLOCKED.to_owned(), End::Closed));
        assert_eq!(place.ask("SET k v"), READONLY);
        other.send("GET k\r\n");
        assert_eq!(other.read(1), "$-1\r\n");
        until("its end", || place.ask("SET k v") == "+OK");
        assert_eq!(place.ask("TORIL FAULT LIST"), "*0");
        // The request that sets it off is refused like those that follow.
        place.fault("cmd=set key=a action=failover");
        assert_eq!(place.ask("SET b v"), "+OK");
        assert_eq!(place.ask("SET a v"), READONLY);
        assert_eq!(place.ask("SET b v"), READONLY);
        place.clear();
        assert_eq!(place.ask("SET a v"), "+OK");
    }
}

#[test]
fn over_http_an_answer_comes_whole_or_not_at_all() {
    let server = Running::with_http(&[]);
    let fault = |rule: &str| {
        assert_eq!(ask(server.port, &format!("TORIL FAULT ADD name=f {rule}")), "$1", "{rule}");
    };
    let clear = || assert_eq!(ask(server.port, "TORIL FAULT CLEAR"), "+OK");
    let get = |body: &str| {
        let mut http = server.http();
        http.begin("POST", "/", &[], body.as_bytes());
        http.receive().map(|answer| answer.text().to_owned())
    };
    let (get_k, set_k) = (r#"["get","k"]"#, r#"["set","k","v"]"#);
    for (rule, is_run) in [
        ("action=close", false),
        ("action=reset", false),
        ("action=close at=after", true),
        ("action=reset at=after", true),
        ("action=refuse", false),
        ("action=restart down=10ms", false),
    ] {
        fault(&format!("cmd=set {rule}"));
        assert_eq!(get(set_k), None, "{rule}");
        until("its return", || TcpStream::connect(("127.0.0.1", server.http_port)).is_ok());
        clear();
        let value = if is_run { "$1" } else { "$-1" };
        assert_eq!(ask(server.port, "GET k"), value, "{rule}");
        assert_eq!(ask(server.port, "FLUSHALL"), "+OK");
    }
    // These are of bytes, which nobody sees here.
    for rule in ["action=delay ms=1h", "action=half", "action=blackhole"] {
        fault(rule);
        assert_eq!(get(get_k).as_deref(), Some(r#"{"result":null}"#), "{rule}");
        clear();
    }
    fault("action=slow ms=300 count=1");
    let began = Instant::now();
    assert_eq!(get(get_k).as_deref(), Some(r#"{"result":null}"#));
    assert!(began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());
    fault("action=maxclients");
    let too_many = r#"{"error":"ERR max number of clients reached"}"#;
    assert_eq!(get(get_k).as_deref(), Some(too_many));
    clear();
    fault("cmd=get action=loading");
    let loading = r#"{"error":"LOADING Redis is loading the dataset in memory"}"#;
    assert_eq!(get(get_k).as_deref(), Some(loading));
}
