//! How much a caller may send and ask for, how slowly, and beside how many others.

use super::common::http::{TOKEN, request};
use super::common::program::{Running, ask, ask_all, until};
use super::{error, error_in};
use std::thread;
use std::time::{Duration, Instant};

const BEARER: (&str, &str) = ("authorization", "Bearer token-of-the-tests");

#[test]
fn a_command_has_a_size() {
    let server = Running::with_http(&["--http-max-request-size", "1000"]);
    let mut http = server.http();
    let long = "x".repeat(2000);
    let refusal = error("ERR max request size exceeded. Limit: 1000, Actual: 2004");
    let set = format!(r#"["set","k","{long}"]"#);
    assert_eq!(http.post("/", &set), (413, refusal.clone()));
    let answer = http.ask("POST", "/set/k", &[], long.as_bytes());
    assert_eq!((answer.status, answer.text()), (413, &*refusal));
    // In a pipeline each command stands for itself; a transaction is run whole or not at all.
    let both = format!(r#"[["set","a","1"],{set},["incr","a"]]"#);
    let items = format!(r#"[{{"result":"OK"}},{refusal},{{"result":2}}]"#);
    assert_eq!(http.post("/pipeline", &both), (200, items));
    assert_eq!(http.post("/multi-exec", &both), (413, refusal));
    assert_eq!(http.post("/", r#"["mget","a","k"]"#), (200, r#"{"result":["2",null]}"#.into()));
}

#[test]
fn a_reply_has_a_size() {
    let server = Running::with_http(&["--http-max-request-size", "1000"]);
    let mut http = server.http();
    ask(server.port, &format!("SET big {}", "x".repeat(2000)));
    let told = "ERR max request size exceeded. Limit: 1000, Actual: 2013";
    assert_eq!(http.post("/", r#"["get","big"]"#), (200, error(told)));
    let items = format!(r#"[{},{{"result":2000}}]"#, error(told));
    assert_eq!(http.post("/pipeline", r#"[["get","big"],["strlen","big"]]"#), (200, items));
    let raw = http.ask("GET", "/get/big", &[("upstash-response-format", "resp2")], b"");
    let told_raw = "-ERR max request size exceeded. Limit: 1000, Actual: 2009\r\n";
    assert_eq!((raw.status, raw.text()), (200, told_raw));
    // Not 200: there Upstash's clients expect an array.
    let (status, body) = http.post("/multi-exec", r#"[["incr","n"],["get","big"]]"#);
    assert_eq!(status, 400);
    assert!(error_in(&body).starts_with("ERR max request size exceeded. Limit: 1000"), "{body}");
    assert_eq!(http.post("/", r#"["get","n"]"#), (200, r#"{"result":"1"}"#.into()));
}

/// What is too large is not built first: neither a transaction's reply nor a pipeline's.
#[test]
fn replies_stop_at_their_limit_as_they_grow() {
    let server = Running::with_http(&["--http-max-request-size", "1mb"]);
    let mut http = server.http();
    // Not as one line: whether so long a one is taken depends on the pieces in which it comes.
    let fill = "EVAL \"return redis.call('set','big',('x'):rep(1e5))\" 0";
    assert_eq!(ask(server.port, fill), "+OK");
    let lines = "return {redis.call('lrange','l',0,-1)}";
    ask(server.port, "EVAL \"for i=1,100 do redis.call('rpush','l',('x'):rep(9e4)) end\" 0");
    let gets = vec![r#"["get","big"]"#; 9998].join(",");
    let commands = format!(r#"[["incr","n"],{gets},["incr","n"]]"#);
    let told = "ERR max request size exceeded. Limit: 1048576, Actual: ";
    let peak = || {
        let facts = ask_all(server.port, "INFO memory");
        let peak = facts.lines().find_map(|line| line.strip_prefix("used_memory_peak:"));
        peak.and_then(|bytes| bytes.parse::<usize>().ok()).expect("it is a number")
    };
    let before = peak();

    let (status, body) = http.post("/multi-exec", &commands);
    assert_eq!(status, 400);
    assert!(error_in(&body).starts_with(told), "{body:.200}");
    // It ran whole, as without the limit.
    assert_eq!(http.post("/", r#"["get","n"]"#), (200, r#"{"result":"2"}"#.into()));

    for resp2 in [false, true] {
        let format: &[_] = if resp2 { &[("upstash-response-format", "resp2")] } else { &[] };
        let answer = http.ask("POST", "/pipeline", format, commands.as_bytes());
        assert_eq!(answer.status, 200);
        let text = answer.text();
        assert!(text.len() < 3 << 20, "{} bytes", text.len());
        let (whole, cut) = (text.matches(&"x".repeat(100_000)).count(), text.matches(told).count());
        assert_eq!(whole + cut, 10_000 - 1);
        assert!((9..=11).contains(&whole), "{whole} replies were sent");
    }
    // What comes behind was not run.
    assert_eq!(http.post("/", r#"["get","n"]"#), (200, r#"{"result":"4"}"#.into()));

    for command in [r#"["lrange","l","0","-1"]"#.into(), format!(r#"["eval","{lines}","0"]"#)] {
        let (status, body) = http.post("/", &command);
        assert_eq!(status, 200);
        assert!(error_in(&body).starts_with(told), "{body:.200}");
    }
    let grown = peak() - before;
    assert!(grown < 24 << 20, "{grown} bytes for replies of 1 MB");
}

#[test]
fn a_body_has_a_size() {
    let server = Running::with_http(&["--client-query-buffer-limit", "1mb"]);
    let start = br#"["set","k",""#;
    let refusal = "ERR max request size exceeded. Limit: 1048576, Actual: ";
    // One that says its length is refused before it comes; all of it comes nevertheless.
    let len = 3 << 20;
    let announced = request("POST", "/", &[BEARER, ("content-length", &len.to_string())], b"");
    let mut http = server.http();
    http.send(&announced);
    let megabytes = [&start[..], &vec![b'x'; len - start.len()]].concat();
    http.send(&megabytes);
    let answer = http.receive().expect("it is told");
    assert_eq!(answer.status, 413);
    assert_eq!(error_in(answer.text()), format!("{refusal}{len}"));
    // One that does not is read up to the limit.
    let mut http = server.http();
    http.begin("POST", "/", &[("transfer-encoding", "chunked")], b"");
    for chunk in megabytes.chunks(100_000) {
        http.send(&[format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat());
    }
    let answer = http.receive().expect("it is told");
    assert_eq!(answer.status, 413);
    assert!(error_in(answer.text()).starts_with(refusal), "{}", answer.text());
    assert_eq!(server.http().post("/", r#"["exists","k"]"#), (200, r#"{"result":0}"#.into()));
}

#[test]
fn nesting_is_refused_however_deep() {
    let server = Running::with_http(&[]);
    let mut http = server.http();
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    let nested = "ERR unsupported arg type: \"[\": json.Delim";
    assert_eq!(http.post("/", &deep), (400, error(nested)));
    assert_eq!(http.post("/pipeline", &deep), (200, format!("[{}]", error(nested))));
    assert_eq!(http.post("/multi-exec", &deep), (400, error(nested)));
    let (status, body) = http.post("/", &deep[..200_000]);
    assert_eq!(status, 400);
    assert!(error_in(&body).starts_with("ERR failed to parse the body: EOF"), "{body}");
}

#[test]
fn a_pipeline_has_a_length() {
    let server = Running::with_http(&[]);
    let mut http = server.http();
    let commands = |count| format!("[{}]", vec![r#"["incr","n"]"#; count].join(","));
    let refusal = error("ERR too many elements in an array: at most 10000 are taken");
    assert_eq!(http.post("/pipeline", &commands(10_001)), (400, refusal.clone()));
    assert_eq!(http.post("/multi-exec", &commands(10_001)), (400, refusal));
    let (status, body) = http.post("/pipeline", &commands(10_000));
    assert!(status == 200 && body.ends_with(r#",{"result":10000}]"#));
}

#[test]
fn a_command_has_a_length() {
    let server = Running::with_http(&[]);
    let mut http = server.http();
    let exists = |words| format!(r#"["exists"{}]"#, ",1".repeat(words));
    let refusal = "ERR too many elements in an array: at most 1048576 are taken";
    assert_eq!(http.post("/", &exists(1_048_576)), (400, error(refusal)));
    let item = format!("[{}]", error(refusal));
    assert_eq!(http.post("/pipeline", &format!("[{}]", exists(1_048_576))), (200, item));
    assert_eq!(http.post("/", &exists(1_048_575)), (200, r#"{"result":0}"#.into()));
}

#[test]
fn a_head_has_a_size() {
    let server = Running::with_http(&[]);
    let long = "x".repeat(70_000);
    let many: Vec<(String, &str)> = (0..101).map(|at| (format!("x-{at}"), "1")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (&**name, *value)).collect();
    let check = |target: &str, headers: &[(&str, &str)], status: &[u16], told: &str| {
        let mut http = server.http();
        http.begin("GET", target, headers, b"");
        let answer = http.receive().expect("it is told");
        assert!(status.contains(&answer.status), "{}", answer.status);
        assert!(error_in(answer.text()).contains(told), "{}", answer.text());
        assert!(http.receive().is_none(), "the connection ends");
    };
    check("/incr/n", &[("x-long", &long)], &[431], "at most 65536 bytes and 100 headers");
    check("/incr/n", &many, &[431], "at most 65536 bytes and 100 headers");
    check(&format!("/incr/n/{long}"), &[], &[414, 431], "too l");
    assert_eq!(server.http().post("/", r#"["exists","n"]"#), (200, r#"{"result":0}"#.into()));
}

/// Who sends a byte now and then holds a connection, and nothing else.
#[test]
fn slow_senders_hold_up_nobody() {
    let server = Running::with_http(&[]);
    let bytes = request("POST", "/", &[BEARER], br#"["incr","slow"]"#);
    let mut slow: Vec<_> = (0..20).map(|_| server.http()).collect();
    let mut quick = server.http();
    for byte in &bytes {
        for http in &mut slow {
            http.send(&[*byte]);
        }
        let start = Instant::now();
        quick.post("/", r#"["incr","quick"]"#);
        assert!(start.elapsed() < Duration::from_secs(1), "it was held up");
    }
    let mut counted: Vec<String> =
        slow.iter_mut().map(|http| http.receive().expect("it is whole").text().into()).collect();
    let mut expect: Vec<String> = (1..=20).map(|count| format!("{{\"result\":{count}}}")).collect();
    counted.sort();
    expect.sort();
    assert_eq!(counted, expect);
}

#[test]
fn idle_callers_are_closed_and_waiting_ones_are_not() {
    let server = Running::with_http(&["--timeout", "1"]);
    let (mut silent, mut slow, mut done) = (server.http(), server.http(), server.http());
    let mut held = server.http();
    slow.send(b"POST / HTTP/1.1\r\n");
    done.post("/", r#"["ping"]"#);
    assert_eq!(ask(server.port, "CLIENT PAUSE 3000 ALL"), "+OK");
    held.begin("GET", "/incr/n", &[], b"");
    for http in [&mut silent, &mut slow, &mut done] {
        assert!(http.receive().is_none(), "it is idle");
    }
    // It has waited for longer than that, and is answered all the same.
    assert_eq!(held.receive().expect("it is no idler").text(), r#"{"result":1}"#);
}

/// A head has its time from its first byte on, a body may not rest for long. Who asks for nothing
/// owes nothing: idle callers and listeners stay.
#[test]
fn requests_that_do_not_come_are_given_up() {
    let server = Running::with_http(&["--maxclients", "100"]);
    let mut idle = server.http();
    idle.post("/", r#"["ping"]"#);
    let silent = server.http();
    let mut listener = server.http();
    listener.begin("POST", "/subscribe/chat", &[], b"");
    let start = Instant::now();
    let [mut resting, mut dripping, mut body, mut late] = [(); 4].map(|()| server.http());
    resting.send(b"POST / HTTP/1.1\r\n");
    // Also behind a whole request on the same connection.
    late.post("/", r#"["ping"]"#);
    late.send(b"P");
    let begun = request("POST", "/", &[BEARER, ("content-length", "1000")], b"");
    body.send(&begun);
    let mut slow = server.http();
    slow.send(&begun);
    let mut dripped = 0;
    while start.elapsed() < Duration::from_secs(9) {
        dripping.send(&request("POST", "/", &[BEARER], b"")[dripped..][..1]);
        dripped += 1;
        thread::sleep(Duration::from_millis(500));
    }
    let told =
        "ERR the request did not come: its head has 10 s, and its body may not rest for 30 s";
    for http in [&mut resting, &mut dripping, &mut late] {
        let answer = http.receive().expect("it is told");
        assert_eq!((answer.status, answer.text()), (408, &*error(told)));
        assert!(http.receive().is_none(), "the connection ends");
        let took = start.elapsed();
        assert!((9..15).contains(&took.as_secs()), "{took:?}");
    }
    thread::sleep(Duration::from_secs(20).saturating_sub(start.elapsed()));
    slow.send(b" ");
    thread::sleep(Duration::from_secs(29).saturating_sub(start.elapsed()));
    let answer = body.receive().expect("it is told");
    assert_eq!((answer.status, answer.text()), (408, &*error(told)));
    assert!((29..35).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());

    let rest = format!("{:999}", r#"["incr","slow"]"#);
    slow.send(rest.as_bytes());
    assert_eq!(slow.receive().expect("it was never silent").text(), r#"{"result":1}"#);
    assert_eq!(idle.post("/", r#"["ping"]"#), (200, r#"{"result":"PONG"}"#.into()));
    assert_eq!(ask(server.port, "PUBLISH chat hi"), ":1");
    drop(silent);
}

/// Whoever has no token keeps out no more than half of those who have one, or speak RESP.
#[test]
fn strangers_take_half_of_the_places() {
    let server = Running::with_http(&["--maxclients", "10"]);
    let mut known: Vec<_> = (0..3).map(|_| server.http()).collect();
    for http in &mut known {
        http.post("/", r#"["ping"]"#);
    }
    let mut strangers: Vec<_> = (0..5).map(|_| server.http()).collect();
    // A wrong token is none.
    strangers[0].send(&request("GET", "/ping", &[("authorization", "Bearer wrong")], b""));
    assert_eq!(strangers[0].receive().expect("it is told").status, 401);
    until("the refusal", || {
        let mut http = server.http();
        http.begin("GET", "/ping", &[], b"");
        let answer = http.receive().expect("it is told");
        let told = "ERR max number of clients that have shown no token reached";
        answer.status == 503 && answer.text() == error(told)
    });
    assert_eq!(ask(server.port, "PING"), "+PONG");
    // One that shows its token leaves its place to another.
    assert_eq!(strangers[1].post("/", r#"["ping"]"#).0, 200);
    assert_eq!(server.http().post("/", r#"["ping"]"#).0, 200);
    drop(strangers);
    assert_eq!(known[0].post("/", r#"["ping"]"#).0, 200);
}

#[test]
fn callers_are_counted_with_all_clients() {
    let server = Running::with_http(&["--maxclients", "3"]);
    let mut first = server.http();
    first.post("/", r#"["ping"]"#);
    let second = std::net::TcpStream::connect(("127.0.0.1", server.port)).expect("it listens");
    let third = server.http();
    until("the refusal", || {
        let mut http = server.http();
        http.begin("GET", "/ping", &[], b"");
        let answer = http.receive().expect("it is told");
        answer.status == 503 && answer.text() == error("ERR max number of clients reached")
    });
    assert_eq!(ask(server.port, "PING"), "-ERR max number of clients reached");
    drop((second, third));
    until("a place", || {
        let mut http = server.http();
        http.begin("GET", "/ping", &[], b"");
        http.receive().expect("it is told").status == 200
    });
    assert_eq!(first.post("/", r#"["ping"]"#), (200, r#"{"result":"PONG"}"#.into()));
}

/// An answer reaches who has not yet finished sending, on whatever side of the network.
#[test]
fn who_is_refused_may_go_on_sending() {
    let server = Running::with_http(&[]);
    let bytes = request("POST", "/", &[("authorization", "Bearer wrong")], &vec![b' '; 8 << 20]);
    let mut http = server.http();
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let (now, later) = rest.split_at(rest.len().min(1 << 20));
        std::io::Write::write_all(&mut http.stream, now).expect("nobody resets the connection");
        thread::sleep(Duration::from_millis(5));
        rest = later;
    }
    assert_eq!(http.receive().expect("it is told").status, 401);
    assert!(http.receive().is_none(), "the rest is no request");
    assert_ne!(TOKEN, "wrong");
}
