//! Who may do what, and where tokens never appear.

use super::common::http::{Http, TOKEN, request};
use super::common::program::{Running, ask, ask_all, toril};
use super::{error, error_in};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;

fn unauthorized() -> String {
    error(
        "WRONGPASS invalid or missing auth token. toril prints its token when it starts, unless \
         http-token or requirepass gives it",
    )
}

#[test]
fn nothing_runs_without_the_token() {
    let server = Running::with_http(&[]);
    let body = br#"["incr","n"]"#;
    let basic = "Basic dG9rZW4tb2YtdGhlLXRlc3Rz";
    let headers = ["", "Bearer", "Bearer ", "Bearer wrong", "Bearer token-of-the-test", basic];
    for value in headers {
        for target in ["/", "/incr/n", "/pipeline", "/multi-exec", "/subscribe/a", "/monitor"] {
            let mut http = server.http();
            http.send(&request("POST", target, &[("authorization", value)], body));
            let answer = http.receive().expect("it is told");
            assert_eq!((answer.status, answer.text()), (401, &*unauthorized()), "{value}");
            assert_eq!(answer.header("upstash-sync-token"), None);
        }
    }
    let mut http = server.http();
    http.send(&request("POST", "/", &[], body));
    assert_eq!(http.receive().expect("it is told").status, 401);
    // Its body is not waited for.
    http = server.http();
    http.send(&request("POST", "/", &[("content-length", "1000000")], b""));
    assert_eq!(http.receive().expect("it is told").status, 401);
    assert_eq!(server.http().post("/", r#"["exists","n"]"#), (200, r#"{"result":0}"#.into()));
}

#[test]
fn a_token_comes_in_several_ways() {
    let server = Running::with_http(&[]);
    let check = |target: &str, authorization: Option<&str>, status: u16| {
        let mut http = server.http();
        let header = authorization.map(|value| ("authorization", value));
        http.send(&request("GET", target, header.as_slice(), b""));
        assert_eq!(http.receive().expect("it is told").status, status, "{target}");
    };
    let in_query = format!("/set/k/v?_token={TOKEN}&EX=100");
    check("/ping", Some(TOKEN), 200);
    check("/ping", Some(&format!("Bearer {TOKEN}")), 200);
    check("/ping", Some(&format!("bearer {TOKEN}")), 200);
    check("/ping", Some(&format!("Basic {TOKEN}")), 401);
    check(&in_query, None, 200);
    check(&in_query, Some("Bearer wrong"), 200);
    check("/ping?_token=wrong", Some(&format!("Bearer {TOKEN}")), 401);
    check("/ping?_token=", Some(&format!("Bearer {TOKEN}")), 401);
    // It is no argument.
    assert_eq!(ask(server.port, "STRLEN k"), ":1");
    assert_eq!(ask(server.port, "TTL k"), ":100");
}

/// A user's token is made of its name and a password: `default` needs none here, so that anybody
/// could make one.
#[test]
fn who_needs_no_password_has_no_token() {
    let server = Running::with_http(&[]);
    ask(server.port, "ACL SETUSER open on nopass ~* +@all");
    // `default` and `open`, each with a password of no or of one letter.
    for token in ["ZGVmYXVsdAA", "ZGVmYXVsdABh", "b3BlbgA", "b3BlbgBh"] {
        let mut http = Http::with_token(server.http_port, token);
        assert_eq!(http.ask("GET", "/ping", &[], b"").status, 401, "{token}");
        let mut http = server.http();
        http.send(&request("GET", &format!("/ping?_token={token}"), &[], b""));
        assert_eq!(http.receive().expect("it is told").status, 401, "{token}");
    }
    for name in ["default", "open"] {
        let told = ask(server.port, &format!("ACL RESTTOKEN {name} a"));
        assert_eq!(told, format!("-ERR Wrong password or user \"{name}\" does not exist"));
    }
}

/// The answer comes, and the connection is good for another token.
#[test]
fn a_wrong_token_stands_in_acl_log() {
    let server = Running::with_http(&[]);
    // The token of a user that there is, with another password: `ada`, a zero, `secret`.
    for token in ["wrong", "YWRhAHNlY3JldA"] {
        let mut http = server.http();
        let bearer = format!("Bearer {token}");
        http.send(&request("POST", "/", &[("authorization", &bearer)], br#"["ping"]"#));
        assert_eq!(http.receive().expect("it is told").status, 401);
    }
    let log = ask_all(server.port, "ACL LOG");
    let noted = |name: &str| {
        format!(
            "$6\r\nreason\r\n$4\r\nauth\r\n$7\r\ncontext\r\n$8\r\ntoplevel\r\n$6\r\nobject\r\n\
                 $4\r\nHTTP\r\n$8\r\nusername\r\n${}\r\n{name}\r\n",
            name.len()
        )
    };
    assert!(log.contains(&noted("")) && log.contains(&noted("ada")), "{log}");
    assert!(!log.contains("secret") && !log.contains("wrong"), "{log}");
}

#[test]
fn a_user_may_remove_itself() {
    let server = Running::with_http(&[]);
    for (target, body, expect) in [
        ("/", r#"["acl","deluser","own"]"#, r#"{"result":1}"#),
        ("/multi-exec", r#"[["acl","deluser","own"]]"#, r#"[{"result":1}]"#),
    ] {
        ask(server.port, "ACL SETUSER own on >pw ~* +@all");
        let mut http = Http::with_token(server.http_port, "b3duAHB3");
        assert_eq!(http.post(target, body), (200, expect.to_owned()));
        assert_eq!(http.ask("GET", "/ping", &[], b"").status, 401);
        let mut http = server.http();
        http.send(&request("GET", "/ping", &[("authorization", TOKEN)], b""));
        assert_eq!(http.receive().expect("it is told").status, 200);
    }
    ask(server.port, "ACL SETUSER own on >pw ~* +@all");
    let mut http = Http::with_token(server.http_port, "b3duAHB3");
    let (status, body) = http.post("/pipeline", r#"[["acl","deluser","own"],["ping"]]"#);
    assert!(status == 200 && body.contains("NOPERM User own has no permissions"), "{body}");
}

#[test]
fn one_token_may_only_read() {
    let server = Running::with_http(&["--http-readonly-token", "reader"]);
    ask(server.port, "SET k v");
    let mut reader = Http::with_token(server.http_port, "reader");
    let denied = |name: &str| {
        error(&format!(
            "NOPERM this user has no permissions to run the '{name}' command or its subcommand"
        ))
    };
    let in_script = |name: &str| {
        format!(
            "ERR ACL failure in script: this user has no permissions to run the '{name}' command \
             or its subcommand"
        )
    };
    for (request, result) in [
        (r#"["get","k"]"#, r#""v""#),
        (r#"["ttl","k"]"#, "-1"),
        (r#"["ping"]"#, r#""PONG""#),
        (r#"["echo","a"]"#, r#""a""#),
        (r#"["eval_ro","return redis.call('get','k')",0]"#, r#""v""#),
    ] {
        let expect = (200, format!("{{\"result\":{result}}}"));
        assert_eq!(reader.post("/", request), expect, "{request}");
    }
    for (request, name) in [
        (r#"["set","k","w"]"#, "set"),
        (r#"["del","k"]"#, "del"),
        (r#"["getex","k","ex",1]"#, "getex"),
        (r#"["keys","*"]"#, "keys"),
        (r#"["scan",0]"#, "scan"),
        (r#"["eval","return 1",0]"#, "eval"),
        (r#"["evalsha","0000000000000000000000000000000000000000",0]"#, "evalsha"),
        (r#"["publish","a","b"]"#, "publish"),
        (r#"["flushall"]"#, "flushall"),
        (r#"["config","set","timeout","1"]"#, "config|set"),
        (r#"["config","get","*"]"#, "config|get"),
        (r#"["slowlog","get"]"#, "slowlog|get"),
        (r#"["sort","k","store","d"]"#, "sort"),
    ] {
        assert_eq!(reader.post("/", request), (400, denied(name)), "{request}");
        let items = format!("[{}]", denied(name));
        assert_eq!(reader.post("/pipeline", &format!("[{request}]")), (200, items), "{request}");
        let refused = reader.post("/multi-exec", &format!("[{request}]"));
        assert_eq!(refused, (400, denied(name)), "{request}");
    }
    for (call, name) in [("'set','k','w'", "set"), ("'keys','*'", "keys"), ("'del','k'", "del")] {
        let request = format!(r#"["eval_ro","return redis.call({call})",0]"#);
        let (status, body) = reader.post("/", &request);
        assert!(status == 400 && error_in(&body).contains(&in_script(name)), "{body}");
    }
    let answer = reader.ask("POST", "/monitor", &[], b"");
    assert_eq!((answer.status, answer.text()), (400, &*denied("monitor")));
    reader.begin("POST", "/subscribe/chat", &[], b"");
    assert_eq!(reader.receive_head().status, 200);
    // The same connection, another token: what counts is the request's.
    let mut http = Http::with_token(server.http_port, "reader");
    http.post("/", r#"["ping"]"#);
    let write = |token: &str| request("GET", "/incr/n", &[("authorization", token)], b"");
    http.send(&write(TOKEN));
    assert_eq!(http.receive().expect("it is told").status, 200);
    http.send(&write("reader"));
    assert_eq!(http.receive().expect("it is told").status, 400);
    assert_eq!(ask(server.port, "GET k"), "$1");
    assert_eq!(ask(server.port, "STRLEN n"), ":1");
}

#[test]
fn tokens_are_shown_nowhere() {
    let server = Running::with_http(&[
        "--http-readonly-token",
        "reader-token",
        "--loglevel",
        "debug",
        "--slowlog-log-slower-than",
        "0",
    ]);
    assert_eq!(value_of(&server.lines, "UPSTASH_REDIS_REST_TOKEN="), "<your http-token>");
    let mut monitor = TcpStream::connect(("127.0.0.1", server.port)).expect("it listens");
    monitor.write_all(b"MONITOR\r\n").expect("it reads");
    let mut lines = BufReader::new(monitor).lines().map(|line| line.expect("it is UTF-8"));
    assert_eq!(lines.next().as_deref(), Some("+OK"));
    let mut http = server.http();
    http.ask("GET", &format!("/set/k/v?_token={TOKEN}"), &[], b"");
    http.ask("GET", "/get/k?_token=reader-token", &[], b"");
    http.ask("GET", "/get/k?_token=reader-token-wrong", &[], b"");
    let mut shown = String::new();
    for attempt in [
        format!("CONFIG SET http-token {TOKEN}"),
        "CONFIG SET timeout 0 http-readonly-token reader-token".to_owned(),
    ] {
        let told = ask(server.port, &attempt);
        assert!(told.starts_with("-ERR CONFIG SET failed"), "{told}");
        shown += &told;
    }
    shown += &ask_all(server.port, "CONFIG GET *");
    assert!(shown.contains("http-token") && shown.contains("http-max-request-size"));
    shown += &ask_all(server.port, "SLOWLOG GET -1");
    shown += &ask_all(server.port, "CLIENT LIST");
    shown += &ask_all(server.port, "INFO everything");
    ask(server.port, "ECHO the-end");
    shown.extend(lines.take_while(|line| !line.contains("the-end")));
    assert!(shown.contains(r#""set" "k" "v""#) && shown.contains("(redacted)"), "{shown}");
    shown += &server.lines.concat();
    shown += &server.stop();
    assert!(!shown.contains(TOKEN) && !shown.contains("reader-token"), "{shown}");
}

/// What starts with `name`, of which there is one among what was said.
fn value_of<'a>(lines: &'a [String], name: &str) -> &'a str {
    let mut found = lines.iter().filter_map(|line| line.strip_prefix(name));
    let (value, other) = (found.next(), found.next());
    assert_eq!(other, None, "it is said once");
    value.unwrap_or_else(|| panic!("{name} is not said in {lines:?}")).trim_end()
}

#[test]
fn a_token_is_made_where_none_is_given() {
    let log = format!("{}/made-token.log", env!("CARGO_TARGET_TMPDIR"));
    let _ = std::fs::remove_file(&log);
    let mut tokens = Vec::new();
    for args in [&[][..], &["--logfile", &log]] {
        let mut command = toril(&["--port", "0", "--http-port", "0"]);
        let mut child = command.args(args).stdout(Stdio::piped()).spawn().expect("it starts");
        let mut output = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut lines = Vec::new();
        while !lines.iter().any(|line: &String| line.contains("_TOKEN=")) {
            let mut line = String::new();
            assert_ne!(output.read_line(&mut line).expect("it is UTF-8"), 0, "{lines:?}");
            lines.push(line);
        }
        let url = value_of(&lines, "UPSTASH_REDIS_REST_URL=").to_owned();
        let token = value_of(&lines, "UPSTASH_REDIS_REST_TOKEN=").to_owned();
        assert!(token.len() >= 32, "{token}");
        let port = url.strip_prefix("http://127.0.0.1:").and_then(|port| port.parse().ok());
        let mut http = Http::with_token(port.expect("it is a URL"), &token);
        assert_eq!(http.post("/", r#"["ping"]"#), (200, r#"{"result":"PONG"}"#.into()));
        kill_process(Pid::from_child(&child), Signal::TERM).expect("it runs");
        child.wait().expect("it ends");
        let mut rest = String::new();
        output.read_to_string(&mut rest).expect("it is UTF-8");
        assert!(!rest.contains(&token), "it is said once");
        tokens.push(token);
    }
    assert_ne!(tokens[0], tokens[1], "it is made anew at each start");
    let logged = std::fs::read_to_string(&log).expect("there is a log");
    assert!(logged.contains("Ready to accept") && !logged.contains(&tokens[1]), "{logged}");
}

#[test]
fn the_password_is_a_token_where_there_is_no_other() {
    let server = Running::start(&["--http-port", "0", "--requirepass", "geheim"]);
    assert_eq!(value_of(&server.lines, "UPSTASH_REDIS_REST_TOKEN="), "<your requirepass>");
    let mut http = Http::with_token(server.http_port, "geheim");
    assert_eq!(http.post("/", r#"["ping"]"#).0, 200);
    assert_eq!(http.post("/", r#"["config","set","requirepass","other"]"#).0, 200);
    assert_eq!(http.post("/", r#"["ping"]"#).0, 401);
    assert_eq!(Http::with_token(server.http_port, "other").post("/", r#"["ping"]"#).0, 200);
    let both = Running::with_http(&["--requirepass", "geheim"]);
    assert_eq!(both.http().post("/", r#"["ping"]"#).0, 200);
    assert_eq!(Http::with_token(both.http_port, "geheim").post("/", r#"["ping"]"#).0, 401);
}
