//! Users in files, and over HTTP.

mod common;

use common::http::Http;
use common::program::{Running, ask_all, toril};
use std::path::PathBuf;

/// A directory of its own for each test.
fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("toril-users-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir(&folder).expect("there is room");
    folder
}

fn with_file(name: &str, text: &str, args: &[&str]) -> (PathBuf, Running) {
    let folder = folder(name);
    std::fs::write(folder.join("users.acl"), text).expect("it can be written");
    let dir = folder.to_str().expect("it is UTF-8");
    let server = Running::start(&[&["--dir", dir, "--aclfile", "users.acl"], args].concat());
    (folder, server)
}

/// What a server says that does not start.
fn refusal(args: &[&str]) -> String {
    let output = toril(&[&["--port", "0"], args].concat()).output().expect("the program starts");
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

const HASH: &str = "#30c952fab122c3f9759f02a6d95c3758b246b4fee239957b2d4fee46e26170c4";

#[test]
fn a_file_of_users_is_read_and_written() {
    let lines = "user alice on nopass ~a* +@all\r\n\n  user bob off  >pw +get (~x +set) \n";
    let (folder, server) = with_file("file", lines, &[]);
    let list = ask_all(server.port, "ACL LIST");
    let alice = "user alice on nopass sanitize-payload ~a* resetchannels +@all";
    let bob = format!(
        "user bob off sanitize-payload {HASH} resetchannels -@all +get (~x resetchannels -@all +set)"
    );
    let default = "user default on nopass sanitize-payload ~* &* +@all";
    for line in [alice, &bob, default] {
        assert!(list.contains(line), "{list}");
    }
    let file = folder.join("users.acl");
    assert!(ask_all(server.port, "ACL SAVE").starts_with("+OK"));
    let saved = std::fs::read_to_string(&file).expect("it is there");
    assert_eq!(saved, format!("{alice}\n{bob}\n{default}\n"));
    assert_eq!(std::fs::read_dir(&folder).expect("it is there").count(), 1, "nothing beside it");

    std::fs::write(&file, "user carol on\n").expect("it can be written");
    assert!(ask_all(server.port, "ACL LOAD").starts_with("+OK"));
    let users = ask_all(server.port, "ACL USERS");
    assert!(users.contains("carol") && !users.contains("alice"), "{users}");

    std::fs::remove_file(&file).expect("it is there");
    let refused = "-ERR Error loading ACLs, opening file 'users.acl': No such file or directory";
    assert!(ask_all(server.port, "ACL LOAD").starts_with(refused));
    std::fs::create_dir(&file).expect("nothing is there");
    let refused = "-ERR There was an error trying to save the ACLs. Please check the server logs";
    assert!(ask_all(server.port, "ACL SAVE").starts_with(refused));
    assert_eq!(std::fs::read_dir(&folder).expect("it is there").count(), 1, "nothing beside it");
}

#[test]
fn a_file_that_is_wrong_changes_nothing() {
    let (folder, server) = with_file("wrong", "user alice on\n", &[]);
    let check = |text: &str, expect: &str| {
        std::fs::write(folder.join("users.acl"), text).expect("it can be written");
        let nothing = "WARNING: ACL errors detected, no change to the previously active ACL rules \
                       was performed";
        let answer = ask_all(server.port, "ACL LOAD");
        assert!(answer.starts_with(&format!("-ERR {expect}{nothing}\r\n")), "{answer}");
        assert!(ask_all(server.port, "ACL USERS").contains("alice"));
    };
    check(
        "user x on\nfoo bar\nuser\nuser x +nosuch +foo\nuser y \"a\nuser \"a b\" on\n",
        "users.acl:2 should start with user keyword followed by the username. users.acl:3 should \
         start with user keyword followed by the username. WARNING: Duplicate user 'x' found on \
         line 4. users.acl:5: Syntax error. users.acl:6: Syntax error. ",
    );
    check(
        "user z +nosuch +foo bar baz\n",
        "users.acl:1: Error in applying operation '+nosuch': Unknown command or category name in \
         ACL. users.acl:1: Error in applying operation '+foo': Unknown command or category name \
         in ACL. users.acl:1: Syntax error. ",
    );
    check("user z (+get\n", "users.acl:1: Unmatched parenthesis in selector definition.");
    check(
        "# no comments\nUSER z on\n",
        "users.acl:1 should start with user keyword followed by the username. users.acl:2 should \
         start with user keyword followed by the username. ",
    );
}

/// As in Redis, but that a password which was set holds.
#[test]
fn a_file_without_default_does_not_open_the_server() {
    let (_folder, server) = with_file("pass", "user alice on\n", &["--requirepass", "geheim"]);
    let refused = "-NOAUTH Authentication required.";
    assert!(ask_all(server.port, "GET a").starts_with(refused));
    assert!(ask_all(server.port, "AUTH geheim\r\nACL LOAD").contains("+OK\r\n+OK"));
    assert!(ask_all(server.port, "GET a").starts_with(refused));
}

#[test]
fn lines_of_the_configuration_make_users() {
    let folder = folder("conf");
    let conf = folder.join("toril.conf");
    let path = conf.to_str().expect("it is UTF-8");
    let write = |text: &str| std::fs::write(&conf, text).expect("it can be written");
    write("user alice on +get ~x >pw\nuser default on nopass ~* +@all -debug\nport 0\n");
    let server = Running::start(&["--include", path]);
    let list = ask_all(server.port, "ACL LIST");
    assert!(
        list.contains(&format!("user alice on sanitize-payload {HASH} ~x resetchannels -@all"))
    );
    assert!(list.contains("user default on nopass sanitize-payload ~* resetchannels +@all -debug"));

    let rewritten = Running::start(&[path]);
    let port = rewritten.port;
    let odd = r#"ACL SETUSER "b\"ob" on "(+get \"~\xff\\\"\")""#;
    assert!(ask_all(port, odd).starts_with("+OK"));
    let list = ask_all(port, "ACL LIST");
    assert!(ask_all(port, "CONFIG REWRITE").starts_with("+OK"));
    let text = std::fs::read_to_string(&conf).expect("it is there");
    assert_eq!(text.lines().filter(|line| line.starts_with("user ")).count(), 3, "{text}");
    assert_eq!(ask_all(Running::start(&[path]).port, "ACL LIST"), list, "{text}");

    write("user alice +nosuch\n");
    let why = "Error loading ACL rule '+nosuch' for the user named 'alice': Unknown command or \
               category name in ACL";
    assert!(refusal(&["--include", path]).contains(why));
    write("user alice on >geheim geheim\n");
    assert!(!refusal(&["--include", path]).contains("geheim"));
    write("user alice on\naclfile users.acl\n");
    assert!(refusal(&["--include", path]).contains("but not both"));
    let why = "Aborting Redis startup because of ACL errors: Error loading ACLs, opening file \
               'none.acl': No such file or directory";
    assert!(refusal(&["--aclfile", "none.acl"]).contains(why));
}

#[test]
fn a_user_asks_over_http_with_its_token() {
    let server = Running::with_http(&[]);
    let mut admin = server.http();
    let mut run = |json: &str| {
        let (status, body) = admin.post("/", json);
        assert_eq!(status, 200, "{body}");
        body
    };
    run(r#"["acl","setuser","alice","on",">pw","~a*","+get","+set","+eval","+acl|whoami"]"#);
    let token = run(r#"["acl","resttoken","alice","pw"]"#);
    let token = token.trim_start_matches(r#"{"result":""#).trim_end_matches(r#""}"#);
    let mut alice = Http::with_token(server.http_port, token);
    let mut check = |path: &str, json: &str, expect: (u16, &str)| {
        let (status, body) = alice.post(path, json);
        assert_eq!((status, &*body), expect, "{json}");
    };
    let no_key = r#"{"error":"NOPERM No permissions to access a key"}"#;
    check("/", r#"["set","a","1"]"#, (200, r#"{"result":"OK"}"#));
    check("/", r#"["get","a"]"#, (200, r#"{"result":"1"}"#));
    check("/", r#"["get","b"]"#, (400, no_key));
    check("/", r#"["acl","whoami"]"#, (200, r#"{"result":"alice"}"#));
    let answer = r#"{"error":"NOPERM User alice has no permissions to run the 'del' command"}"#;
    check("/", r#"["del","a"]"#, (400, answer));
    let both = format!(r#"[{{"result":"1"}},{no_key}]"#);
    check("/pipeline", r#"[["get","a"],["get","b"]]"#, (200, &both));
    let multi = r#"{"error":"NOPERM User alice has no permissions to run the 'multi' command"}"#;
    check("/multi-exec", r#"[["get","b"]]"#, (400, multi));
    let script = r#"{"error":"ERR ACL failure in script: No permissions to access a key"#;
    let (status, body) = alice.post("/", r#"["eval","return redis.call('get','b')","0"]"#);
    assert!(status == 400 && body.starts_with(script), "{body}");

    // A token goes with its password, and its user.
    run(r#"["acl","setuser","alice","<pw",">other"]"#);
    assert_eq!(alice.post("/", r#"["get","a"]"#).0, 401);
    run(r#"["acl","setuser","alice",">pw","off"]"#);
    assert_eq!(Http::with_token(server.http_port, token).post("/", r#"["get","a"]"#).0, 401);
    run(r#"["acl","setuser","alice","on"]"#);
    assert_eq!(Http::with_token(server.http_port, token).post("/", r#"["get","a"]"#).0, 200);
    run(r#"["acl","deluser","alice"]"#);
    assert_eq!(Http::with_token(server.http_port, token).post("/", r#"["get","a"]"#).0, 401);
}

#[test]
fn the_token_over_http_is_the_default_user() {
    let server = Running::with_http(&[]);
    let mut http = server.http();
    assert_eq!(http.post("/", r#"["acl","setuser","default","-flushall"]"#).0, 200);
    let refused =
        r#"{"error":"NOPERM User default has no permissions to run the 'flushall' command"}"#;
    assert_eq!(http.post("/", r#"["flushall"]"#), (400, refused.into()));
    assert_eq!(http.post("/", r#"["acl","setuser","default","off"]"#).0, 200);
    assert_eq!(server.http().post("/", r#"["get","a"]"#).0, 401);
}
