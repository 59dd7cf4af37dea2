//! MIGRATE between toril and each server that tests/oracles.sh has installed, both ways, and to
//! servers that do not answer as they should.

mod common;

use common::peer::{ORACLES, Peer};
use common::reply::Reply;
use common::tcp;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

fn ok() -> Reply {
    Reply::Simple(b"OK".to_vec())
}

fn error(text: &str) -> Reply {
    Reply::Error(text.as_bytes().to_vec())
}

/// Keys of every type go over with their TTLs, and are gone here.
fn check_moves(from: &mut Peer, to: &mut Peer) {
    let what = format!("{} to {}", from.name, to.name);
    from.say("FLUSHALL");
    to.say("FLUSHALL");
    for request in [
        "SET s text",
        "RPUSH l a 1 b",
        "SADD t a b c",
        "HSET h f v g 1",
        "ZADD z 1 a 2.5 b",
        "XADD x 1-1 f v",
        "SET ttl v PX 100000000",
    ] {
        from.say(request);
    }
    let digest = from.say("DEBUG DIGEST");
    let (host, port) = ("127.0.0.1", to.port());
    assert_eq!(from.say(&format!("MIGRATE {host} {port} s 0 5000 COPY")), ok(), "{what}");
    assert_eq!(from.say("GET s"), to.say("GET s"), "{what}");
    let busy = "ERR Target instance replied with error: BUSYKEY Target key name already exists.";
    assert_eq!(from.say(&format!("MIGRATE {host} {port} s 0 5000")), error(busy), "{what}");
    let all = "s nosuch l t h z x ttl";
    let request = format!("MIGRATE {host} {port} \"\" 0 5000 REPLACE KEYS {all}");
    assert_eq!(from.say(&request), ok(), "{what}");
    assert_eq!(from.say("DBSIZE"), Reply::Integer(0), "{what}");
    assert_eq!(to.say("DEBUG DIGEST"), digest, "{what}");
    assert!(matches!(to.say("PTTL ttl"), Reply::Integer(90_000_000..=100_000_000)), "{what}");
    assert_eq!(from.say(&format!("MIGRATE {host} {port} s 0 5000")), Reply::Simple("NOKEY".into()));
    // Another database, and one that there is not.
    from.say("SET s other");
    assert_eq!(from.say(&format!("MIGRATE {host} {port} s 3 5000 COPY")), ok(), "{what}");
    let out = "ERR Target instance replied with error: ERR DB index is out of range";
    assert_eq!(from.say(&format!("MIGRATE {host} {port} s 99 5000")), error(out), "{what}");
    assert_eq!(from.say("GET s"), Reply::Bulk("other".into()), "{what}");
    to.say("SELECT 3");
    assert_eq!(to.say("GET s"), Reply::Bulk("other".into()), "{what}");
    to.say("SELECT 0");
}

fn check_logins(from: &mut Peer, to: &mut Peer) {
    let what = format!("{} to {}", from.name, to.name);
    let port = to.port();
    to.say("CONFIG SET requirepass secret");
    from.say("SET login v");
    let start = "ERR Target instance replied with error: ";
    let needed = format!("{start}NOAUTH Authentication required.");
    let wrong = format!("{start}WRONGPASS invalid username-password pair or user is disabled.");
    // Redis goes on with a connection of a moment ago, which is logged in already.
    if from.name == "toril" {
        let request = format!("MIGRATE 127.0.0.1 {port} login 0 5000");
        assert_eq!(from.say(&request), error(&needed), "{what}");
        assert_eq!(from.say(&format!("{request} AUTH wrong")), error(&wrong), "{what}");
    }
    let request = format!("MIGRATE 127.0.0.1 {port} login 0 5000 COPY AUTH secret");
    assert_eq!(from.say(&request), ok(), "{what}");
    let request = format!("MIGRATE 127.0.0.1 {port} login 0 5000 REPLACE AUTH2 default secret");
    assert_eq!(from.say(&request), ok(), "{what}");
    assert_eq!(from.say("EXISTS login"), Reply::Integer(0), "{what}");
    to.say("CONFIG SET requirepass \"\"");
}

#[test]
fn keys_move_between_servers() {
    let mut toril = Peer::toril();
    let mut other = Peer::toril();
    check_moves(&mut toril, &mut other);
    check_logins(&mut toril, &mut other);
    for name in ORACLES {
        let Some(program) = tcp::oracle(name) else {
            println!("{name} is missing: tests/oracles.sh installs it");
            continue;
        };
        let mut oracle = Peer::start(name, &program);
        check_moves(&mut toril, &mut oracle);
        check_logins(&mut toril, &mut oracle);
        // Their versions of RDB are not known to all others, but to toril.
        check_moves(&mut oracle, &mut toril);
        check_logins(&mut oracle, &mut toril);
    }
}

/// A server that waits for a request's end and answers with these bytes, or hangs up without any.
fn stand_in(answer: &'static [u8], while_waiting: impl FnOnce() + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let port = listener.local_addr().expect("it is bound").port();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("somebody comes");
        let (mut input, mut chunk) = (Vec::new(), [0; 4096]);
        // The last word of RESTORE.
        while !input.ends_with(b"REPLACE\r\n") {
            let len = stream.read(&mut chunk).expect("there is more");
            input.extend_from_slice(&chunk[..len]);
        }
        while_waiting();
        stream.write_all(answer).expect("it listens");
    });
    port
}

#[test]
fn what_the_other_server_does_not_take_stays() {
    let mut toril = Peer::toril();
    toril.say("SET a 1");
    toril.say("SET b 2");
    let mut migrate = |port: u16, timeout: u64| {
        let reply =
            toril.say(&format!("MIGRATE 127.0.0.1 {port} \"\" 0 {timeout} REPLACE KEYS a b"));
        (reply, toril.say("EXISTS a b"))
    };
    let reading = error("IOERR error or timeout reading from target instance");
    let slow = || std::thread::sleep(Duration::from_millis(600));
    let start = Instant::now();
    assert_eq!(migrate(stand_in(b"+OK\r\n", slow), 150), (reading.clone(), Reply::Integer(2)));
    assert!(start.elapsed() < Duration::from_millis(500), "the time-out holds");
    assert_eq!(migrate(stand_in(b"", || {}), 5000), (reading.clone(), Reply::Integer(2)));
    let refused = error("ERR Target instance replied with error: LOADING for a while");
    let port = stand_in(b"-LOADING for a while\r\n+OK\r\n+OK\r\n", || {});
    assert_eq!(migrate(port, 5000), (refused, Reply::Integer(2)));
    let refused = error("ERR Target instance replied with error: OOM none");
    let port = stand_in(b"+OK\r\n-OOM none\r\n+OK\r\n", || {});
    assert_eq!(migrate(port, 5000), (refused, Reply::Integer(1)));
    // What was taken before the end has moved.
    let port = stand_in(b"+OK\r\n+OK\r\n", || {});
    assert_eq!(migrate(port, 5000), (ok(), Reply::Integer(0)));
}

#[test]
fn others_are_served_meanwhile_and_what_they_change_stays() {
    let mut toril = Peer::toril();
    let mut other = toril.another_client();
    toril.say("SET a 1");
    toril.say("SET b 2");
    let port = stand_in(b"+OK\r\n+OK\r\n+OK\r\n", move || {
        assert_eq!(other.say("GET a"), Reply::Bulk("1".into()));
        assert_eq!(other.say("SET a changed"), ok());
    });
    let reply = toril.say(&format!("MIGRATE 127.0.0.1 {port} \"\" 0 5000 REPLACE KEYS a b"));
    let changed = "ERR 1 of the keys were changed while they were sent, and stay here as well";
    assert_eq!(reply, error(changed));
    assert_eq!(toril.say("GET a"), Reply::Bulk("changed".into()));
    assert_eq!(toril.say("EXISTS b"), Reply::Integer(0));
}
