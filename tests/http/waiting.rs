//! Requests that wait: for the end of a pause, of a script, of a transaction.

use super::common::program::{Running, ask, until};
use super::{error, error_in};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// The id of the client at an address, if CLIENT LIST shows that it has asked for something.
fn id_of(server: &Running, addr: &str) -> Option<String> {
    // Without QUIT, which waits for the end of a pause as well.
    let mut tcp = TcpStream::connect(("127.0.0.1", server.port)).expect("it listens");
    tcp.write_all(b"CLIENT LIST\r\n").expect("it reads");
    tcp.shutdown(Shutdown::Write).expect("it is open");
    let mut list = String::new();
    tcp.read_to_string(&mut list).expect("it is UTF-8");
    let line = list.lines().find(|it| it.contains(&format!(" addr={addr} ")))?;
    let id = line.split(' ').find_map(|it| it.strip_prefix("id="))?;
    (!line.contains(" cmd=NULL ")).then(|| id.to_owned())
}

fn addr_of(stream: &TcpStream) -> String {
    stream.local_addr().expect("it is connected").to_string()
}

#[test]
fn a_pause_holds_requests_back_and_loses_none() {
    let server = Running::with_http(&[]);
    let mut callers = [(); 4].map(|()| server.http());
    let requests = [
        ("/incr/n", ""),
        ("/", r#"["incr","n"]"#),
        ("/pipeline", r#"[["get","none"],["incr","n"],["incr","n"]]"#),
        ("/multi-exec", r#"[["incr","n"],["incr","n"]]"#),
    ];
    // Only time ends a pause of all: nobody else is answered meanwhile.
    for (mode, pause_ms) in [("ALL", 500), ("WRITE", 100_000)] {
        assert_eq!(ask(server.port, &format!("CLIENT PAUSE {pause_ms} {mode}")), "+OK");
        for (http, (target, body)) in callers.iter_mut().zip(requests) {
            http.begin("POST", target, &[], body.as_bytes());
        }
        for http in &mut callers {
            let addr = addr_of(&http.stream);
            if mode == "WRITE" {
                until("the wait", || id_of(&server, &addr).is_some());
            }
            assert!(!http.hears_within(Duration::from_millis(20)), "{mode}: it is held back");
        }
        if mode == "WRITE" {
            let read = server.http().post("/", r#"["get","n"]"#);
            assert_eq!(read, (200, r#"{"result":"6"}"#.into()), "reads go on");
            assert_eq!(ask(server.port, "CLIENT UNPAUSE"), "+OK");
        }
        for http in &mut callers {
            assert_eq!(http.receive().expect("it goes on").status, 200);
        }
    }
    assert_eq!(server.http().post("/", r#"["get","n"]"#), (200, r#"{"result":"12"}"#.into()));
}

#[test]
fn who_is_killed_while_it_waits_runs_nothing() {
    let server = Running::with_http(&[]);
    for (target, body) in [
        ("/incr/n", ""),
        ("/pipeline", r#"[["incr","n"],["incr","n"]]"#),
        ("/multi-exec", r#"[["incr","n"]]"#),
    ] {
        assert_eq!(ask(server.port, "CLIENT PAUSE 100000 WRITE"), "+OK");
        let mut http = server.http();
        http.begin("POST", target, &[], body.as_bytes());
        let addr = addr_of(&http.stream);
        let mut id = None;
        until("the wait", || {
            id = id_of(&server, &addr);
            id.is_some()
        });
        let kill = format!("CLIENT KILL ID {}", id.expect("it waits"));
        assert_eq!(ask(server.port, &kill), ":1");
        assert!(http.receive().is_none(), "{target}: nothing is answered");
        assert_eq!(id_of(&server, &addr), None);
        assert_eq!(ask(server.port, "CLIENT UNPAUSE"), "+OK");
    }
    assert_eq!(server.http().post("/", r#"["exists","n"]"#), (200, r#"{"result":0}"#.into()));
    let rest = server.stop();
    assert!(!rest.contains("panicked"), "{rest}");
}

#[test]
fn a_busy_script_is_told_of_and_can_be_killed() {
    let server = Running::with_http(&["--busy-reply-threshold", "20"]);
    let busy =
        "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.";
    let is_busy = || {
        let (status, body) = server.http().post("/", r#"["get","k"]"#);
        status == 400 && error_in(&body) == busy
    };
    // One caller's script ends another's.
    let mut http = server.http();
    http.begin("POST", "/", &[], br#"["eval","while true do end",0]"#);
    until("the script", is_busy);
    let transaction = server.http().post("/multi-exec", r#"[["get","k"]]"#);
    assert!(transaction.0 == 400 && error_in(&transaction.1) == busy, "{transaction:?}");
    let items = server.http().post("/pipeline", r#"[["get","k"],["script","kill"]]"#);
    assert_eq!(items.0, 200);
    assert!(items.1.contains("BUSY") && items.1.ends_with(r#"{"result":"OK"}]"#), "{}", items.1);
    let killed = http.receive().expect("it is told");
    assert_eq!(killed.status, 400);
    assert!(error_in(killed.text()).contains("SCRIPT KILL"), "{}", killed.text());
    assert_eq!(http.post("/", r#"["ping"]"#).0, 200);
    // Over TCP it is the same script, and its caller may have left.
    let mut tcp = TcpStream::connect(("127.0.0.1", server.port)).expect("it listens");
    tcp.write_all(b"EVAL 'while true do end' 0\r\n").expect("it reads");
    until("the script", is_busy);
    assert_eq!(server.http().post("/", r#"["script","kill"]"#).0, 200);
    until("its end", || !is_busy());
    http.begin("POST", "/", &[], br#"["eval","while true do end",0]"#);
    until("the script", is_busy);
    drop(http);
    assert_eq!(ask(server.port, "SCRIPT KILL"), "+OK");
    until("its end", || !is_busy());
    let rest = server.stop();
    assert!(!rest.contains("panicked"), "{rest}");
}

#[test]
fn long_scripts_in_a_transaction_keep_its_answer_whole() {
    let server = Running::with_http(&["--busy-reply-threshold", "10"]);
    let mut http = server.http();
    let script = r#"["eval","for i = 1, 2e7 do end return {7, redis.call('incr', 'n')}",0]"#;
    let body = format!(r#"[["set","n","0"],{script},["incr"],["incr","n"],{script},["get","n"]]"#);
    http.begin("POST", "/multi-exec", &[], body.as_bytes());
    // What is malformed discards all.
    assert_eq!(http.receive().expect("it is told").status, 400);
    let body = body.replace(r#"["incr"],"#, r#"["lpush","n","a"],"#);
    http.begin("POST", "/multi-exec", &[], body.as_bytes());
    until("the script", || {
        let told = server.http().post("/", r#"["get","k"]"#);
        told.0 == 400 && told.1.contains("BUSY")
    });
    let expect = [
        r#"[{"result":"OK"},{"result":[7,1]},"#,
        &error("WRONGTYPE Operation against a key holding the wrong kind of value"),
        r#",{"result":2},{"result":[7,3]},{"result":"3"}]"#,
    ];
    let answer = http.receive().expect("it ends");
    assert_eq!((answer.status, answer.text()), (200, &*expect.concat()));
}

#[test]
fn a_transaction_is_one_turn() {
    let server = Running::with_http(&[]);
    let (is_over, port) = (AtomicBool::new(false), server.port);
    thread::scope(|scope| {
        scope.spawn(|| {
            let tcp = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
            let mut replies = BufReader::new(&tcp).lines();
            let requests = b"SET n 1000\r\nINCR n\r\n".repeat(100);
            while !is_over.load(Ordering::Relaxed) {
                (&tcp).write_all(&requests).expect("it reads");
                let count = replies.by_ref().take(200).map_while(Result::ok).count();
                assert_eq!(count, 200, "it answers");
            }
        });
        let increments = vec![r#"["incr","n"]"#; 40].join(",");
        let body = format!(r#"[["set","n","0"],{increments},["get","n"]]"#);
        let (mut http, mut overwritten) = (server.http(), 0);
        for _ in 0..200 {
            let (status, answer) = http.post("/multi-exec", &body);
            assert!(
                status == 200 && answer.ends_with(r#"{"result":40},{"result":"40"}]"#),
                "{answer}"
            );
            overwritten += usize::from(!http.post("/", r#"["get","n"]"#).1.contains(r#""40""#));
        }
        is_over.store(true, Ordering::Relaxed);
        assert!(overwritten > 0, "the other side was not there");
    });
}

/// Who has sent all and closes its side is answered nevertheless.
#[test]
fn half_closed_connections_are_answered() {
    let server = Running::with_http(&["--busy-reply-threshold", "10"]);
    let script = r#"["eval","for i = 1, 1e7 do end return redis.call('incr', 'n')",0]"#;
    for (target, body, expect) in [
        ("/", r#"["incr","n"]"#, r#"{"result":1}"#),
        ("/incr/n", "", r#"{"result":2}"#),
        ("/pipeline", r#"[["incr","n"],["incr","n"]]"#, r#"[{"result":3},{"result":4}]"#),
        ("/multi-exec", r#"[["incr","n"]]"#, r#"[{"result":5}]"#),
        ("/", script, r#"{"result":6}"#),
    ] {
        let mut http = server.http();
        http.begin("POST", target, &[], body.as_bytes());
        http.stream.shutdown(Shutdown::Write).expect("it is open");
        assert_eq!(http.receive().expect("it is answered").text(), expect, "{target}");
        assert!(http.receive().is_none());
    }
    assert_eq!(ask(server.port, "CLIENT PAUSE 100000 WRITE"), "+OK");
    let mut http = server.http();
    http.begin("GET", "/incr/n", &[], b"");
    http.stream.shutdown(Shutdown::Write).expect("it is open");
    let addr = addr_of(&http.stream);
    until("the wait", || id_of(&server, &addr).is_some());
    assert_eq!(ask(server.port, "CLIENT UNPAUSE"), "+OK");
    assert_eq!(http.receive().expect("it is answered").text(), r#"{"result":7}"#);
}
