//! The forms of an answer, and what is seen of HTTP from the other side.

use super::common::program::{Running, ask, ask_all};
use super::{error, error_in};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

const BASE64: (&str, &str) = ("upstash-encoding", "base64");
const RESP2: (&str, &str) = ("upstash-response-format", "resp2");

#[test]
fn strings_come_in_base64_if_asked_for() {
    let server = Running::with_http(&[]);
    let mut http = server.http();
    let mut check = |target: &str, body: &str, expect: &str| {
        let answer = http.ask("POST", target, &[BASE64], body.as_bytes());
        assert_eq!(answer.text(), expect, "{target} {body}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
    };
    check("/", r#"["set","k","OK"]"#, r#"{"result":"OK"}"#);
    check("/", r#"["get","k"]"#, r#"{"result":"T0s="}"#);
    check("/", r#"["ping"]"#, r#"{"result":"UE9ORw=="}"#);
    check("/", r#"["mget","k","none"]"#, r#"{"result":["T0s=",null]}"#);
    check("/", r#"["incr","n"]"#, r#"{"result":1}"#);
    let wrong_type = error("WRONGTYPE Operation against a key holding the wrong kind of value");
    check("/", r#"["lpush","k","a"]"#, &wrong_type);
    let both = r#"[["get","k"],["lpush","k","a"]]"#;
    let items = format!(r#"[{{"result":"T0s="}},{wrong_type}]"#);
    check("/pipeline", both, &items);
    check("/multi-exec", both, &items);
}

#[test]
fn replies_come_as_resp2_if_asked_for() {
    let server = Running::with_http(&[]);
    let mut http = server.http();
    let mut check = |target: &str, body: &str, status: u16, expect: &str| {
        let answer = http.ask("POST", target, &[RESP2], body.as_bytes());
        assert_eq!((answer.status, answer.text()), (status, expect), "{target} {body}");
        assert_eq!(answer.header("content-type"), Some("application/octet-stream"));
    };
    check("/", r#"["set","k","v"]"#, 200, "+OK\r\n");
    check("/", r#"["mget","k","none"]"#, 200, "*2\r\n$1\r\nv\r\n$-1\r\n");
    check("/", r#"["incr","k"]"#, 400, "-ERR value is not an integer or out of range\r\n");
    check("/", r#"["hgetall","none"]"#, 200, "*0\r\n");
    check(
        "/pipeline",
        r#"[["get","k"],["incr","k"],7,["strlen","k"]]"#,
        200,
        "$1\r\nv\r\n-ERR value is not an integer or out of range\r\n-ERR expected JSON array\r\n\
         :1\r\n",
    );
    let answer = http.ask("POST", "/multi-exec", &[RESP2], br#"[["get","k"]]"#);
    assert_eq!(answer.text(), r#"[{"result":"v"}]"#);
}

#[test]
fn other_forms_are_refused() {
    let server = Running::with_http(&[]);
    let mut http = server.http();
    for (headers, named) in [
        (&[("upstash-encoding", "gzip")][..], "upstash-encoding takes 'base64', not 'gzip'"),
        (&[("upstash-response-format", "resp3")], "takes 'resp2', not 'resp3'"),
        (&[BASE64, RESP2], "exclude each other"),
    ] {
        for (target, body) in [("/", r#"["incr","n"]"#), ("/pipeline", r#"[["incr","n"]]"#)] {
            let answer = http.ask("POST", target, headers, body.as_bytes());
            assert_eq!(answer.status, 400);
            assert!(error_in(answer.text()).contains(named), "{}", answer.text());
        }
    }
    assert_eq!(http.post("/", r#"["exists","n"]"#), (200, r#"{"result":0}"#.into()));
}

#[test]
fn sync_tokens_change_with_writes() {
    let server = Running::with_http(&[]);
    let mut http = server.http();
    let mut token = |target: &str, body: &str| {
        let answer = http.ask("POST", target, &[("upstash-sync-token", "")], body.as_bytes());
        answer.header("upstash-sync-token").map(str::to_owned).expect("there is one")
    };
    let mut last = token("/", r#"["get","k"]"#);
    for (target, body) in [
        ("/", r#"["set","k","1"]"#),
        ("/incr/k", ""),
        ("/pipeline", r#"[["get","k"],["incr","k"]]"#),
        ("/multi-exec", r#"[["get","k"],["incr","k"]]"#),
        ("/", r#"["eval","return redis.call('incr','k')",0]"#),
    ] {
        let next = token(target, body);
        assert_ne!(next, last, "{target} {body}");
        assert_eq!(token("/", r#"["get","k"]"#), next, "a read changes nothing");
        last = next;
    }
    ask(server.port, "SET k 1");
    assert_ne!(token("/", r#"["get","k"]"#), last, "others write as well");
    let refused = http.ask("POST", "/", &[], br#"["incr"]"#);
    assert_eq!((refused.status, refused.header("upstash-sync-token")), (400, None));
}

#[test]
fn the_other_side_sees_what_runs() {
    let server = Running::with_http(&["--slowlog-log-slower-than", "0"]);
    let mut monitor = TcpStream::connect(("127.0.0.1", server.port)).expect("it listens");
    monitor.write_all(b"MONITOR\r\n").expect("it reads");
    let mut lines = BufReader::new(monitor).lines().map(|line| line.expect("it is UTF-8"));
    assert_eq!(lines.next().as_deref(), Some("+OK"));
    let mut http = server.http();
    let addr = http.stream.local_addr().expect("it is connected").to_string();
    http.ask("POST", "/set/k?EX=100", &[], b"v");
    http.post("/multi-exec", r#"[["get","k"],["incr","n"]]"#);
    http.post("/", r#"["eval","return redis.call('get','k')",0]"#);
    for expect in [
        format!(r#"[0 {addr}] "set" "k" "v" "EX" "100""#),
        format!(r#"[0 {addr}] "MULTI""#),
        format!(r#"[0 {addr}] "get" "k""#),
        format!(r#"[0 {addr}] "incr" "n""#),
        format!(r#"[0 {addr}] "EXEC""#),
        format!(r#"[0 {addr}] "eval" "return redis.call('get','k')" "0""#),
        r#"[0 lua] "get" "k""#.to_owned(),
    ] {
        let line = lines.next().expect("it is open");
        assert!(line.ends_with(&expect), "{line} {expect}");
    }
    let slow = ask_all(server.port, "SLOWLOG GET -1");
    assert!(slow.contains(&format!("$3\r\n100\r\n${}\r\n{addr}\r\n", addr.len())), "{slow}");
    assert!(ask_all(server.port, "INFO commandstats").contains("cmdstat_incr:calls=1,"));
    assert!(ask_all(server.port, "CLIENT LIST").contains(&format!("addr={addr} ")));
}

#[test]
fn what_ran_is_answered_whatever_the_output_limit() {
    let server = Running::with_http(&["--client-output-buffer-limit", "normal 1mb 0 0"]);
    let mut http = server.http();
    let body = format!(r#"["set","k","{}"]"#, "x".repeat(3_000_000));
    assert_eq!(http.post("/", &body).0, 200);
    let (status, body) = http.post("/pipeline", r#"[["incr","n"],["get","k"]]"#);
    assert!(status == 200 && body.starts_with(r#"[{"result":1},"#) && body.len() > 3_000_000);
}

#[test]
fn a_stream_may_be_named_block() {
    let server = Running::with_http(&[]);
    let mut http = server.http();
    let read = |options: &str| format!(r#"["xread",{options}"streams","BLOCK","0"]"#);
    assert_eq!(http.post("/", &read("")), (200, r#"{"result":null}"#.into()));
    assert_eq!(http.post("/", &read(r#""block","0","#)).0, 400);
}
