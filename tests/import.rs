//! `--import`: a server begins with what another one holds, all of it or the keys that fit.

mod common;

use common::certificates::{Certificates, free_port};
use common::changes::make_changes;
use common::peer::{ORACLES, Peer};
use common::program::{Folder, Guarded, Running, ask, ask_all, toril, until};
use common::tcp::oracle;
use std::io::Read;
use std::process::Stdio;
use toril::util::rng::Rng;

const START: &[&str] = &["--enable-debug-command", "yes", "--save", "", "--load", "no"];

fn import(options: &[&str]) -> Running {
    Running::start(&[START, options].concat())
}

/// What it had logged when it was ready.
fn log(running: &Running) -> String {
    running.lines.concat()
}

/// Both have the same. Valkey counts TTLs of fields otherwise: they are looked at by themselves.
fn compare(here: &Running, peer: &mut Peer) {
    if peer.name != "redis-7.0" {
        let left = ask_all(here.port, "HTTL fields FIELDS 2 a b");
        let left: Vec<&str> = left.lines().collect();
        let is_left = left[1].starts_with(":99") || left[1] == ":10000";
        assert!(is_left && left[2] == ":-1", "{}: {left:?}", peer.name);
        ask(here.port, "DEL fields");
        peer.say("DEL fields");
    }
    // The others count keys that are over until they have come by them.
    until(&format!("both have the same, {}", peer.name), || {
        let digest = peer.say("DEBUG DIGEST").text().expect("a text");
        ask(here.port, "DEBUG DIGEST") == format!("+{}", String::from_utf8_lossy(&digest))
    });
}

/// What it says that does not start, and its status.
fn refused(options: &[&str]) -> (String, Option<i32>) {
    let all = [START, &["--port", "0"], options].concat();
    let child = toril(&all).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = Guarded(child.expect("it starts"));
    let (mut text, mut errors) = (String::new(), String::new());
    child.0.stdout.take().expect("piped").read_to_string(&mut text).expect("UTF-8");
    child.0.stderr.take().expect("piped").read_to_string(&mut errors).expect("UTF-8");
    (text + &errors, child.0.wait().expect("it ends").code())
}

/// A server with all types, in two databases, and a library of functions.
fn filled(name: &'static str, folder: &Folder, options: &[&str]) -> Option<Peer> {
    let mut peer = Peer::start_with(name, &oracle(name)?, &folder.0, options);
    make_changes(peer.port(), &mut Rng::from_seed(3), 2_000);
    peer.say("DEBUG POPULATE 3000 bull:mail 50");
    peer.say("DEBUG POPULATE 500 other 50");
    peer.say("SET gone-soon 1 PX 1");
    peer.say("SET stays 1 PX 100000000");
    if name != "redis-7.0" {
        peer.say("HSET fields a 1 b 2");
        peer.say("HEXPIRE fields 10000 FIELDS 1 a");
    }
    let source = "#!lua name=l\nredis.register_function{function_name = 'f', \
         callback = function() return 7 end, flags = {'no-writes'}}";
    peer.ask(&[b"FUNCTION", b"LOAD", source.as_bytes()]);
    // What makes_changes lets end is over.
    std::thread::sleep(std::time::Duration::from_millis(400));
    Some(peer)
}

/// dragonfly #5508: of 416 million keys 407 arrived, without an error.
#[test]
fn all_that_a_server_holds_is_taken_over() {
    for name in ORACLES {
        let folder = Folder::new(&format!("all-{name}"));
        let Some(mut peer) = filled(name, &folder, &["--repl-diskless-sync-delay", "0"]) else {
            continue;
        };
        let url = format!("redis://127.0.0.1:{}", peer.port());
        let here = import(&["--import", &url]);
        compare(&here, &mut peer);
        assert_eq!(ask(here.port, "FCALL f 0"), ":7", "{name}");
        assert_eq!(ask(here.port, "INCR mine"), ":1", "{name}");
        assert!(ask_all(here.port, "INFO replication").contains("role:master"));
        // Who was asked goes on as it was, and nobody follows it.
        assert_eq!(peer.say("EXISTS mine"), common::reply::Reply::Integer(0));
        let ttl: i64 = ask(here.port, "PTTL stays")[1..].parse().expect("a number");
        assert!((99_000_000..=100_000_000).contains(&ttl), "{name}: {ttl}");
        let log = log(&here);
        assert!(!log.contains("one by one") && log.contains("keys imported"), "{log}");
    }
}

/// Who may not follow walks over the keys.
#[test]
fn who_may_not_follow_asks_key_by_key() {
    for name in ORACLES {
        let folder = Folder::new(&format!("walk-{name}"));
        let Some(mut peer) = filled(name, &folder, &[]) else { continue };
        peer.say("ACL SETUSER ada on >geheim@ ~* +@all -psync -sync -replconf");
        let url = format!("redis://ada:geheim%40@127.0.0.1:{}", peer.port());
        let here = import(&["--import", &url]);
        compare(&here, &mut peer);
        assert_eq!(ask(here.port, "FCALL f 0"), ":7", "{name}");
        let log = log(&here);
        assert!(log.contains("keys are asked for one by one"), "{log}");
        assert!(log.contains("keys imported from redis://127.0.0.1:"), "{log}");
        assert!(!log.contains("geheim"), "{log}");
    }
}

#[test]
fn keys_that_fit_are_taken_and_no_others() {
    let folder = Folder::new("match");
    let Some(mut peer) = filled("redis-7.4", &folder, &[]) else { return };
    let url = format!("redis://127.0.0.1:{}", peer.port());
    let here = import(&["--import", &url, "--match", "bull:mail:*"]);
    assert_eq!(ask(here.port, "DBSIZE"), ":3000");
    assert_eq!(ask_all(here.port, "GET bull:mail:7"), ask_all(peer.port(), "GET bull:mail:7"));
    drop(here);
    let three = import(&["--import", &format!("{url}/3")]);
    let count = String::from_utf8(peer.say("INFO keyspace").text().unwrap()).unwrap();
    let count = count.split("db3:keys=").nth(1).and_then(|it| it.split(',').next()).unwrap();
    assert_eq!(
        ask_all(three.port, "SELECT 3\r\nDBSIZE").lines().nth(1),
        Some(&*format!(":{count}"))
    );
    assert_eq!(ask(three.port, "DBSIZE"), ":0");
    drop(three);
    let none = import(&["--import", &url, "--match", "nosuch*"]);
    assert_eq!(ask(none.port, "DBSIZE"), ":0");
    let log = log(&none);
    assert!(log.contains("No key of redis://127.0.0.1") && log.contains("fits nosuch*"), "{log}");
}

#[test]
fn what_was_imported_is_kept_where_that_is_wanted() {
    let (folder, own) = (Folder::new("kept-there"), Folder::new("kept-here"));
    let Some(peer) = filled("valkey", &folder, &["--repl-diskless-sync-delay", "0"]) else {
        return;
    };
    let url = format!("redis://127.0.0.1:{}", peer.port());
    let options = ["--appendonly", "yes", "--dir", own.text()];
    let here = import(&[&["--import", &*url], &options[..]].concat());
    let digest = ask(here.port, "DEBUG DIGEST");
    drop(here);
    let again = import(&options);
    assert_eq!(ask(again.port, "DEBUG DIGEST"), digest);
    drop(again);
    let (text, status) = refused(&[&["--import", &*url], &options[..]].concat());
    assert!(text.contains("import: the append-only file holds data already"), "{text}");
    assert_eq!(status, Some(1));
}

#[test]
fn it_is_taken_over_tls() {
    let (files, folder) = (Certificates::new("certificates"), Folder::new("tls"));
    let port = free_port();
    let served = files.server_options(port);
    let more = ["--tls-auth-clients", "no", "--repl-diskless-sync-delay", "0"];
    let options: Vec<&str> = served.iter().map(String::as_str).chain(more).collect();
    let Some(mut peer) = filled("redis-7.4", &folder, &options) else { return };
    let url = format!("rediss://127.0.0.1:{port}");
    let ca = files.path("ca.pem");
    for options in [&[][..], &["--match", "*"]] {
        let own = ["--import", &url, "--tls-ca-cert-file", &ca];
        let here = import(&[&own[..], options].concat());
        compare(&here, &mut peer);
        peer.say("HSET fields a 1 b 2");
        peer.say("HEXPIRE fields 10000 FIELDS 1 a");
    }
    let (text, status) = refused(&["--import", &url]);
    assert!(text.contains("import: rediss://127.0.0.1") && text.contains("TLS: "), "{text}");
    assert_eq!(status, Some(1));
}

#[test]
fn what_makes_no_sense_is_said_without_the_password() {
    let port = free_port();
    let url = format!("redis://:geheim@127.0.0.1:{port}");
    let locked = Running::start(&["--requirepass", "secret", "--save", ""]);
    let there = format!("redis://:geheim@127.0.0.1:{}", locked.port);
    let few = Running::start(&["--databases", "20", "--save", ""]);
    ask_all(few.port, "SELECT 19\r\nSET k 1");
    let many = format!("redis://127.0.0.1:{}", few.port);
    let (own, mine) = (free_port().to_string(), |port: &str| format!("redis://127.0.0.1:{port}"));
    let itself = mine(&own);
    for (options, expect) in [
        (&["--port", &own, "--import", &itself][..], "is this very server"),
        (&["--import", "redis://u:geheim/x@127.0.0.1"], "import: a / stands before the @"),
        (&["--import", "http://geheim"], "import: a URL begins with redis://"),
        (&["--import", &url], "Connection refused"),
        (&["--import", &there], "WRONGPASS"),
        (&["--import", &many], "it has keys in database 19: start with --databases 20"),
        (&["--match", "a*"], "match: it says which keys of --import are wanted"),
        (&["--import", &url, "--replicaof", "127.0.0.1 1"], "import and replicaof"),
        (&["--import", &url, "--load", "/dev/null"], "load and import: there can be but one"),
    ] {
        let (text, status) = refused(options);
        assert!(text.contains(expect) && !text.contains("geheim"), "{options:?}: {text}");
        assert_eq!(status, Some(1), "{options:?}");
    }
}
