//! Subscriptions and MONITOR as event streams.

use super::common::http::{Http, TOKEN, request};
use super::common::program::{Running, ask, ask_all, until};
use super::error_in;
use socket2::SockRef;
use std::net::Shutdown;
use std::time::Duration;

/// A stream whose head is there.
fn open(server: &Running, target: &str) -> Http {
    let mut http = server.http();
    http.begin("POST", target, &[("accept", "text/event-stream")], b"[]");
    let head = http.receive_head();
    assert_eq!(head.status, 200, "{target}");
    assert_eq!(head.header("content-type"), Some("text/event-stream"));
    assert_eq!(head.header("cache-control"), Some("no-cache"));
    assert!(head.header("upstash-sync-token").is_some());
    http
}

fn check(http: &mut Http, expect: &str) {
    assert_eq!(http.event().as_deref(), Some(expect));
}

/// PUBSUB NUMSUB's count for `chat`.
fn listeners(server: &Running) -> u32 {
    let reply = ask_all(server.port, "PUBSUB NUMSUB chat");
    let count = reply.split("\r\n").find_map(|line| line.strip_prefix(':')).expect("a count");
    count.parse().expect("it is a number")
}

#[test]
fn messages_are_one_line_each() {
    let server = Running::with_http(&[]);
    let mut chat = open(&server, "/subscribe/chat");
    check(&mut chat, "data: subscribe,chat,1");
    let mut http = server.http();
    for (payload, line) in [
        ("hi, you", "hi, you"),
        ("", ""),
        ("{\"a\":\r\n[1]}", "{\"a\":  [1]}"),
        ("two\nlines", r#""two\nlines""#),
        ("data: x\n\ndata: message,chat,y", r#""data: x\n\ndata: message,chat,y""#),
        ("emoji 🐂", "emoji 🐂"),
    ] {
        let body = serde_json::json!(["publish", "chat", payload]).to_string();
        assert_eq!(http.post("/", &body), (200, r#"{"result":1}"#.into()));
        check(&mut chat, format!("data: message,chat,{line}").trim_end());
    }
    assert_eq!(ask(server.port, "PUBLISH chat \"from\\ntcp\""), ":1");
    check(&mut chat, r#"data: message,chat,"from\ntcp""#);
}

#[test]
fn channels_and_patterns_are_path_segments() {
    let server = Running::with_http(&[]);
    let mut several = open(&server, "/subscribe/a%2Fb/c%20d");
    check(&mut several, "data: subscribe,a/b,1");
    check(&mut several, "data: subscribe,c d,2");
    let mut pattern = open(&server, "/psubscribe/h?llo*");
    check(&mut pattern, "data: psubscribe,h?llo*,1");
    assert_eq!(ask(server.port, "PUBLISH a/b x"), ":1");
    assert_eq!(ask(server.port, "PUBLISH hallo1 y"), ":1");
    check(&mut several, "data: message,a/b,x");
    check(&mut pattern, "data: pmessage,h?llo*,hallo1,y");
    // A plain GET with the token in the query, as a browser's EventSource sends it.
    let mut source = server.http();
    source.send(&request("GET", &format!("/subscribe/chat?_token={TOKEN}"), &[], b""));
    assert_eq!(source.receive_head().status, 200);
    check(&mut source, "data: subscribe,chat,1");
    for target in ["/subscribe", "/psubscribe/"] {
        let answer = server.http().ask("POST", target, &[], b"");
        assert_eq!(answer.status, 400);
        assert!(error_in(answer.text()).starts_with("ERR wrong number of arguments"), "{target}");
    }
}

#[test]
fn monitor_is_a_stream() {
    let server = Running::with_http(&[]);
    let mut monitor = open(&server, "/monitor");
    check(&mut monitor, "data: \"OK\"");
    ask(server.port, "SET k \"a\\nb\"");
    let mut http = server.http();
    http.post("/", r#"["get","k"]"#);
    let addr = http.stream.local_addr().expect("it is connected");
    for expect in [r#""SET" "k" "a\nb""#.to_owned(), format!(r#"[0 {addr}] "get" "k""#)] {
        let line = monitor.event().expect("it is open");
        assert!(line.starts_with("data: ") && line.ends_with(&expect), "{line}");
    }
}

#[test]
fn who_leaves_is_unsubscribed_at_once() {
    let server = Running::with_http(&[]);
    type Leave = fn(Http);
    let leaves: [(&str, Leave); 4] = [
        ("FIN", drop),
        ("RST", |http| {
            SockRef::from(&http.stream).set_linger(Some(Duration::ZERO)).expect("it is a socket");
        }),
        ("more, then FIN", |mut http| {
            http.send(b"GET /incr/n HTTP/1.1\r\n\r\n");
            std::thread::sleep(Duration::from_millis(20));
        }),
        ("half a FIN", |http| {
            http.stream.shutdown(Shutdown::Write).expect("it is open");
            std::mem::forget(http);
        }),
    ];
    for (name, leave) in leaves {
        let mut http = open(&server, "/subscribe/chat");
        check(&mut http, "data: subscribe,chat,1");
        assert_eq!(listeners(&server), 1);
        leave(http);
        until(name, || listeners(&server) == 0);
        assert_eq!(ask(server.port, "PUBLISH chat x"), ":0");
    }
    // A body that comes late does not hide that its sender has gone.
    let mut http = server.http();
    http.begin("POST", "/subscribe/chat", &[("content-length", "2")], b"");
    std::thread::sleep(Duration::from_millis(50));
    http.send(b"[]");
    assert_eq!(http.receive_head().status, 200);
    check(&mut http, "data: subscribe,chat,1");
    drop(http);
    until("a late body's end", || listeners(&server) == 0);
    assert_eq!(ask(server.port, "EXISTS n"), ":0");
}

#[test]
fn who_does_not_read_is_closed() {
    let server = Running::with_http(&["--client-output-buffer-limit", "pubsub 1mb 0 0"]);
    let mut deaf = open(&server, "/subscribe/chat");
    let mut hearing = open(&server, "/subscribe/chat");
    check(&mut deaf, "data: subscribe,chat,1");
    check(&mut hearing, "data: subscribe,chat,1");
    let body = format!(r#"["publish","chat","{}"]"#, "x".repeat(100_000));
    let mut http = server.http();
    let mut sent = 0;
    until("the end of who is deaf", || {
        sent += 1;
        http.post("/", &body);
        assert!(hearing.event().is_some_and(|event| event.len() > 100_000));
        listeners(&server) == 1
    });
    assert!(sent > 10, "{sent} messages are less than its limit");
    let stats = ask_all(server.port, "INFO stats");
    assert!(stats.contains("client_output_buffer_limit_disconnections:1\r"), "{stats}");
    while deaf.event().is_some() {}
    assert_eq!(http.post("/", &body), (200, r#"{"result":1}"#.into()));
}
