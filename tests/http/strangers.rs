//! What is no HTTP, or HTTP that clients of Upstash do not speak.

use super::common::http::{TOKEN, request};
use super::common::program::{Running, ask_all};
use super::error_in;
use std::io::{Read, Write};
use std::net::TcpStream;

/// All that comes until the server closes.
fn talk(port: u16, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    stream.write_all(bytes).expect("it reads");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("it is UTF-8, and ends well");
    text
}

#[test]
fn what_is_no_http_is_told_so() {
    let server = Running::with_http(&[]);
    let told = format!(
        "this is not HTTP/1.1. Redis clients are served on port {0} (redis://127.0.0.1:{0}).",
        server.port
    );
    for bytes in ["PING\r\n\r\n", "\0\x01\x02\r\n\r\n", "GET / HTTP/3.0\r\n\r\n", "GET\r\n\r\n"] {
        let answer = talk(server.http_port, bytes.as_bytes());
        let (head, body) = answer.split_once("\r\n\r\n").expect("it is an answer");
        assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{bytes:?}: {head}");
        assert!(head.contains("content-type: application/json"), "{bytes:?}: {head}");
        assert!(error_in(body).ends_with(&told), "{bytes:?}: {body}");
    }
}

#[test]
fn http_2_is_told_that_only_http_1_1_is_spoken() {
    let server = Running::with_http(&[]);
    let answer = talk(server.http_port, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    let (head, body) = answer.split_once("\r\n\r\n").expect("it is an answer");
    assert!(head.starts_with("HTTP/1.1 505 HTTP Version Not Supported\r\n"), "{head}");
    assert_eq!(error_in(body), "ERR only HTTP/1.1 is spoken here");
}

#[test]
fn a_request_names_the_host() {
    let server = Running::with_http(&[]);
    for (version, host, status) in [
        ("1.1", "", 400),
        ("1.1", "host: \r\n", 200),
        ("1.1", "Host: a\r\n", 200),
        ("1.0", "", 200),
        ("1.1", "Host: a\r\nhost: a\r\n", 400),
        ("1.0", "Host: a\r\nHost: b\r\n", 400),
    ] {
        let head =
            format!("GET /incr/n?_token={TOKEN} HTTP/{version}\r\n{host}connection: close\r\n\r\n");
        let answer = talk(server.http_port, head.as_bytes());
        let told = answer.split_once(' ').expect("a status line").1;
        assert!(told.starts_with(&status.to_string()), "{head}: {answer}");
        let what = if host.is_empty() { "no" } else { "more than one" };
        let is_told = told.contains(&format!("ERR {what} Host header"));
        assert_eq!(is_told, status == 400, "{answer}");
    }
}

#[test]
fn a_good_request_is_answered_before_a_bad_one() {
    let server = Running::with_http(&[]);
    let mut http = server.http();
    http.begin("GET", "/incr/n", &[], b"");
    http.begin("GET", "/incr/n", &[], b"");
    http.send(b"nonsense\r\n\r\n");
    let answers = [(); 3].map(|()| http.receive().expect("each is answered"));
    assert_eq!(answers.each_ref().map(|answer| answer.status), [200, 200, 400]);
    assert_eq!(answers[1].text(), r#"{"result":2}"#);
    assert!(http.receive().is_none());
}

#[test]
fn mixed_up_ports_are_named() {
    let server = Running::with_http(&[]);
    let expect = format!(
        "-ERR this is toril's HTTP port {0}, which does not speak the Redis protocol. Point Redis \
         clients at port {1} (redis://127.0.0.1:{1}).\r\n",
        server.http_port, server.port
    );
    assert_eq!(talk(server.http_port, b"*1\r\n$4\r\nPING\r\n"), expect);
    let answer = talk(server.port, b"POST / HTTP/1.1\r\nhost: x\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
    let told = format!("HTTP is served on port {}.\n", server.http_port);
    assert!(answer.ends_with(&told), "{answer}");
    let without = Running::start(&[]);
    let answer = talk(without.port, b"GET /get/a HTTP/1.1\r\n\r\n");
    assert!(answer.ends_with("Start toril with --http-port to serve HTTP as well.\n"), "{answer}");
}

#[test]
fn a_unix_socket_alone_is_named() {
    let path = format!("{}/http.sock", env!("CARGO_TARGET_TMPDIR"));
    let server = Running::with_http(&["--unixsocket", &path]);
    assert_eq!(server.port, 0, "port 0 is no TCP beside a Unix socket");
    let mut unix = std::os::unix::net::UnixStream::connect(&path).expect("it listens");
    unix.write_all(b"SET k v\r\n").expect("it reads");
    unix.read_exact(&mut [0; 5]).expect("it answers");
    assert_eq!(server.http().post("/", r#"["get","k"]"#), (200, r#"{"result":"v"}"#.into()));
    let answer = talk(server.http_port, b"*1\r\n$4\r\nPING\r\n");
    assert!(
        answer.contains(&format!("Point Redis clients at the Unix socket {path}.")),
        "{answer}"
    );
}

#[test]
fn a_body_may_be_announced() {
    let server = Running::with_http(&[]);
    let mut http = server.http();
    let expect = [("expect", "100-continue"), ("content-length", "12")];
    http.begin("POST", "/", &expect, b"");
    let mut go_on = [0; 25];
    http.stream.read_exact(&mut go_on).expect("it is answered");
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    http.send(br#"["incr","n"]"#);
    assert_eq!(http.receive().expect("it is whole").text(), r#"{"result":1}"#);
    // Without the token nobody is asked to go on.
    let wrong = [("authorization", "Bearer wrong"), expect[0], expect[1]];
    let mut http = server.http();
    http.send(&request("POST", "/", &wrong, b""));
    assert_eq!(http.receive().expect("it is told").status, 401);
}

#[test]
fn a_body_may_come_in_chunks() {
    let server = Running::with_http(&[]);
    let mut http = server.http();
    let chunks = b"5\r\n[\"inc\r\n7;why=not\r\nr\",\"n\"]\r\n0\r\n\r\n";
    for bytes in [vec![&chunks[..]], chunks.chunks(1).collect()] {
        http.begin("POST", "/", &[("transfer-encoding", "chunked")], b"");
        for bytes in bytes {
            http.send(bytes);
        }
        assert_eq!(http.receive().expect("it is whole").status, 200);
    }
    assert_eq!(http.post("/", r#"["get","n"]"#), (200, r#"{"result":"2"}"#.into()));
}

#[test]
fn methods_and_what_they_run() {
    let server = Running::with_http(&[]);
    let mut http = server.http();
    for method in ["GET", "POST", "PUT"] {
        assert_eq!(http.ask(method, "/incr/n", &[], b"").status, 200, "{method}");
    }
    let head = http.ask("HEAD", "/incr/n", &[], b"");
    assert_eq!((head.status, head.text()), (200, ""));
    for method in ["DELETE", "PATCH", "TRACE", "BREW"] {
        let answer = http.ask(method, "/incr/n", &[], b"");
        assert_eq!((answer.status, answer.text()), (405, ""), "{method}");
        assert_eq!(answer.header("allow"), Some("GET, HEAD, POST, PUT, OPTIONS"));
    }
    assert_eq!(http.post("/", r#"["get","n"]"#), (200, r#"{"result":"3"}"#.into()));
    let mut stranger = server.http();
    for (method, status) in [("HEAD", 401), ("DELETE", 405)] {
        stranger.send(&request(method, "/incr/n", &[], b""));
        assert_eq!(stranger.receive_head().status, status, "{method}");
        stranger = server.http();
    }
}

#[test]
fn browsers_may_ask_first() {
    let server = Running::with_http(&[]);
    let mut http = server.http();
    let asked = "authorization,content-type,upstash-encoding,upstash-sync-token";
    let headers = [
        ("origin", "http://localhost:3000"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", asked),
    ];
    http.send(&request("OPTIONS", "/incr/n", &headers, b""));
    let answer = http.receive().expect("it needs no token");
    let header = |name: &str| answer.header(name).unwrap_or_default().to_owned();
    assert_eq!(answer.status, 200);
    assert_eq!(header("access-control-allow-origin"), "http://localhost:3000");
    assert_eq!(header("access-control-allow-headers"), asked);
    assert!(header("access-control-allow-methods").contains("POST"));
    let answer = http.ask("GET", "/exists/n", &headers, b"");
    assert_eq!(answer.text(), r#"{"result":0}"#);
    assert_eq!(answer.header("access-control-allow-origin"), Some("http://localhost:3000"));
    assert_eq!(answer.header("access-control-expose-headers"), Some("upstash-sync-token"));
    // Who may not know what was refused cannot show it either.
    http.send(&request("POST", "/", &headers[..1], b"[]"));
    let refused = http.receive().expect("it is told");
    assert_eq!(refused.status, 401);
    assert_eq!(refused.header("access-control-allow-origin"), Some("http://localhost:3000"));
    assert!(ask_all(server.port, "INFO commandstats").contains("cmdstat_exists:calls=1,"));
}
