//! The page over the queues: who is given it, who may see what it shows, and what pages of other
//! sites are kept from.

use super::common::http::{Answer, Http, TOKEN, request};
use super::common::program::{Running, ask, ask_all};
use super::error_in;
use std::time::Duration;

/// A server that asks nobody for a password.
fn open_server(args: &[&str]) -> Running {
    Running::start(&[&["--http-port", "0"], args].concat())
}

/// A request with exactly these headers.
fn raw(server: &Running, method: &str, path: &str, headers: &[(&str, String)]) -> Answer {
    let mut http = server.http();
    let lines: String =
        headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    http.send(format!("{method} {path} HTTP/1.1\r\n{lines}\r\n").as_bytes());
    http.receive().expect("it is answered")
}

/// What a browser says when the page of this server asks for a session.
fn own_headers(server: &Running) -> Vec<(&'static str, String)> {
    let host = format!("127.0.0.1:{}", server.http_port);
    vec![
        ("host", host.clone()),
        ("origin", format!("http://{host}")),
        ("sec-fetch-site", "same-origin".into()),
        ("x-toril", "1".into()),
    ]
}

fn session_in(answer: &Answer) -> String {
    let told: serde_json::Value = serde_json::from_str(answer.text()).expect("it is JSON");
    told["session"].as_str().expect("there is a session").to_owned()
}

#[test]
fn browsers_are_given_the_page_and_upstash_s_clients_are_not() {
    let server = Running::with_http(&[]);
    let html = ("accept", "text/html,application/xhtml+xml");
    let get = |path: &str, headers: &[(&str, &str)]| {
        let mut http = server.http();
        http.send(&request("GET", path, headers, b""));
        http.receive().expect("it is answered")
    };
    let page = get("/", &[html]);
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = page.header("content-security-policy").expect("there is a policy");
    for part in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(page.header("access-control-allow-origin"), None);

    let bearer = format!("Bearer {TOKEN}");
    assert_eq!(get("/", &[("accept", "*/*")]).status, 401);
    assert_eq!(get("/", &[]).status, 401);
    assert_eq!(get("/", &[html, ("authorization", &bearer)]).status, 400);
    assert_eq!(get(&format!("/?_token={TOKEN}"), &[html]).status, 400);
    assert_eq!(get("/get/x", &[html]).status, 401);
}

#[test]
fn its_files_are_open_and_are_sent_once() {
    let server = Running::with_http(&[]);
    let mut http = server.http();
    let index = raw(&server, "GET", "/", &[("host", "x".into()), ("accept", "text/html".into())]);
    let text = index.text();
    let named = text.split('"').filter(|it| it.starts_with("/_toril/app/"));
    let mut count = 0;
    for path in named {
        count += 1;
        http.send(&request("GET", path, &[], b""));
        let file = http.receive().expect("it is answered");
        assert_eq!(file.status, 200, "{path}");
        let tag = file.header("etag").expect("it has a tag").to_owned();
        http.send(&request("GET", path, &[("if-none-match", &tag)], b""));
        let again = http.receive().expect("it is answered");
        assert_eq!((again.status, again.body.len()), (304, 0), "{path}");
    }
    assert!(count >= 2);
    http.send(&request("GET", "/_toril/app/nothing.js", &[], b""));
    assert_eq!(http.receive().expect("it is answered").status, 404);
    // All of it together is small, and nothing in it comes from elsewhere.
    assert!(!text.contains("http://") || text.contains("http://www.w3.org/2000/svg"));
}

#[test]
fn a_session_is_for_the_page_of_this_machine_alone() {
    let server = open_server(&[]);
    let own = own_headers(&server);
    let given = raw(&server, "POST", "/_toril/session", &own);
    assert_eq!(given.status, 200, "{}", given.text());
    let session = session_in(&given);
    let mut http = Http::with_token(server.http_port, &session);
    assert_eq!(http.ask("GET", "/_toril/view/overview", &[], b"").status, 200);

    let port = server.http_port;
    let others = [
        ("host", format!("evil.example:{port}")),
        ("host", "127.0.0.1".into()),
        ("origin", format!("http://evil.example:{port}")),
        ("origin", "null".into()),
        ("sec-fetch-site", "cross-site".into()),
        ("sec-fetch-site", "same-site".into()),
    ];
    for (name, value) in others {
        let headers = own
            .iter()
            .map(|(its, told)| (*its, if *its == name { value.clone() } else { told.clone() }));
        let headers: Vec<_> = headers.collect();
        let answer = raw(&server, "POST", "/_toril/session", &headers);
        assert_eq!(answer.status, 401, "{name}: {value}");
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
    for missing in ["origin", "sec-fetch-site", "x-toril"] {
        let headers: Vec<_> = own.iter().filter(|(name, _)| *name != missing).cloned().collect();
        assert_eq!(raw(&server, "POST", "/_toril/session", &headers).status, 401, "{missing}");
    }
    let mut asks = own.clone();
    asks.push(("access-control-request-method", "POST".into()));
    let answer = raw(&server, "OPTIONS", "/_toril/session", &asks);
    assert_eq!(answer.status, 403);
    assert_eq!(answer.header("access-control-allow-headers"), None);

    // Once a password is wanted, what was given for nothing is worth nothing.
    assert_eq!(ask(server.port, "CONFIG SET requirepass secret"), "+OK");
    assert_eq!(http.ask("GET", "/_toril/view/overview", &[], b"").status, 401);
    assert_eq!(raw(&server, "POST", "/_toril/session", &own).status, 401);
}

#[test]
fn elsewhere_the_token_opens_it() {
    let server = Running::with_http(&["--http-readonly-token", "reader"]);
    let own = own_headers(&server);
    assert_eq!(raw(&server, "POST", "/_toril/session", &own).status, 401);
    let session = |token: &str| {
        let mut http = server.http();
        let body = format!(r#"{{"token":"{token}"}}"#);
        http.send(&request("POST", "/_toril/session", &[], body.as_bytes()));
        http.receive().expect("it is answered")
    };
    let given = session(TOKEN);
    assert_eq!(given.status, 200);
    assert!(given.text().contains(r#""rights":"all""#), "{}", given.text());
    assert!(!given.text().contains(TOKEN));
    let reader = session("reader");
    assert!(reader.text().contains(r#""rights":"read""#), "{}", reader.text());
    for (token, status) in
        [(&*session_in(&given), 200), (&session_in(&reader), 200), (TOKEN, 200), ("wrong", 401)]
    {
        let mut http = Http::with_token(server.http_port, token);
        assert_eq!(http.ask("GET", "/_toril/view/overview", &[], b"").status, status);
    }
    // Too many wrong ones, and even the right one has to wait.
    let statuses: Vec<u16> = (0..12).map(|_| session("wrong").status).collect();
    assert_eq!(statuses.last(), Some(&429), "{statuses:?}");
    assert_eq!(session(TOKEN).status, 429);
    std::thread::sleep(Duration::from_millis(1_100));
    assert_eq!(session(TOKEN).status, 200);
}

#[test]
fn who_may_not_see_every_key_sees_no_queue() {
    let server = Running::with_http(&[]);
    ask(server.port, "ACL SETUSER some on >pw ~mine:* +@all");
    ask(server.port, "ACL SETUSER keyless on >pw ~* +@write -@read");
    for user in ["some", "keyless"] {
        let token = ask_all(server.port, &format!("ACL RESTTOKEN {user} pw"));
        let token = token.lines().nth(1).expect("a token").trim().to_owned();
        let mut http = Http::with_token(server.http_port, &token);
        let answer = http.ask("GET", "/_toril/view/overview", &[], b"");
        assert_eq!(answer.status, 403, "{user}");
        assert!(error_in(answer.text()).contains("~* and +@read"));
        assert_eq!(http.ask("GET", "/_toril/events?view=overview", &[], b"").status, 403);
    }
}

#[test]
fn a_view_shows_what_is_there_and_the_stream_what_changes() {
    let server = Running::with_http(&[]);
    let json = [("accept", "application/json")];
    let mut http = server.http();
    let overview = http.ask("GET", "/_toril/view/overview", &json, b"");
    assert!(overview.text().contains(r#""queues":[]"#), "{}", overview.text());
    assert!(http.ask("GET", "/_toril/view/overview", &[], b"").text().contains("No queue yet"));

    let mut stream = server.http();
    stream.begin("GET", "/_toril/events?view=overview", &[], b"");
    assert_eq!(stream.receive_head().header("content-type"), Some("text/event-stream"));
    assert!(stream.event().expect("a frame").contains("No queue yet"));
    for words in [
        r#"["hset","bull:mail:meta","opts.maxLenEvents","10000","version","bullmq:6.7.0"]"#,
        r#"["hset","bull:mail:7","name","<img src=x onerror=alert(1)>","data","{\"to\":\"a\"}"]"#,
        r#"["lpush","bull:mail:wait","7","8"]"#,
    ] {
        assert_eq!(http.post("/", words).0, 200);
    }
    let id = "MABidWxsOm1haWw";
    loop {
        let frame = stream.event().expect("a frame");
        if frame.contains(&format!(r#""queues":["{id}"]"#)) || frame.contains("resync") {
            break;
        }
    }
    let overview = http.ask("GET", "/_toril/view/overview", &json, b"");
    assert!(overview.text().contains(r#""waiting":2"#), "{}", overview.text());
    assert!(overview.text().contains(r#""kind":"BullMQ 6.7""#), "{}", overview.text());

    let page = http.ask("GET", &format!("/_toril/view/queue/{id}/waiting"), &[], b"");
    assert_eq!(page.status, 200);
    assert!(page.text().contains("&lt;img src=x onerror=alert(1)&gt;"));
    assert!(!page.text().contains("<img"));
    assert!(page.text().contains("its data is gone"));
    assert!(!page.text().contains("style="));
    assert_eq!(http.ask("GET", &format!("/_toril/view/job/{id}/7"), &[], b"").status, 200);
    let absent = ["nothing", "queue/x", "queue/MABi", "job/x/y"];
    let absent = absent.map(str::to_owned).into_iter().chain([
        format!("queue/{id}/nosuch"),
        format!("job/{id}/8"),
        format!("job/{id}/%00%ff"),
    ]);
    for view in absent {
        let answer = http.ask("GET", &format!("/_toril/view/{view}"), &[], b"");
        assert_eq!(answer.status, 404, "{view}");
        assert!(!error_in(answer.text()).is_empty());
    }
}

#[test]
fn what_is_done_is_done_as_the_page_s_user() {
    let server = Running::with_http(&[]);
    let mut http = server.http();
    for words in [
        r#"["hset","bull:mail:meta","opts.maxLenEvents","10000","version","bullmq:6.7.0"]"#,
        r#"["hset","bull:mail:7","name","x","data","{}","opts","{}"]"#,
        r#"["zadd","bull:mail:failed","1","7"]"#,
    ] {
        assert_eq!(http.post("/", words).0, 200);
    }
    let path = "/_toril/queues/MABidWxsOm1haWw/retry";
    let body = br#"{"state":"failed","ids":["7"]}"#;
    ask(server.port, "ACL SETUSER careful on >pw ~* +@all -lpush");
    let token = ask_all(server.port, "ACL RESTTOKEN careful pw");
    let token = token.lines().nth(1).expect("a token").trim().to_owned();
    let careful = Http::with_token(server.http_port, &token).ask("POST", path, &[], body);
    assert_eq!(careful.status, 403, "{}", careful.text());
    assert!(error_in(careful.text()).contains("no command of these left out"));
    assert_eq!(ask(server.port, "ZCARD bull:mail:failed"), ":1");

    // Nobody is asked whether another site's page may.
    let asks = [("host", "x".into()), ("access-control-request-method", "POST".into())];
    assert_eq!(raw(&server, "OPTIONS", path, &asks).status, 403);
    assert_eq!(raw(&server, "POST", path, &[("host", "x".into())]).status, 401);

    let done = http.ask("POST", path, &[], body);
    assert_eq!(done.status, 200, "{}", done.text());
    assert!(done.text().contains(r#""told":"Retried 1 job of mail""#), "{}", done.text());
    assert_eq!(ask(server.port, "LLEN bull:mail:wait"), ":1");
    let again = http.ask("POST", path, &[], body);
    assert!(again.text().contains("Job 7 is in another state by now"), "{}", again.text());
}

#[test]
fn a_server_may_go_without_it() {
    let server = Running::with_http(&["--http-dashboard", "no"]);
    let mut http = server.http();
    http.send(&request("GET", "/", &[("accept", "text/html")], b""));
    assert_eq!(http.receive().expect("it is answered").status, 401);
    for path in ["/_toril/app/main.js", "/_toril/view/overview", "/_toril/events?view=overview"] {
        assert_eq!(http.ask("GET", path, &[], b"").status, 404, "{path}");
    }
    assert_eq!(http.ask("POST", "/_toril/session", &[], b"{}").status, 404);
}
