//! toril follows: Redis 7.0, 7.4, 8.2, Valkey 9.1 and toril lead while everything changes, links
//! break, others lead from then on, and those who lead say what they should not.

mod common;

use common::any::AnyServer;
use common::changes::{make_changes, make_changes_for_a_while};
use common::facts::FixedFacts;
use common::peer::{ORACLES, Peer};
use common::program::{Folder, Running, ask, ask_all, info, until};
use common::reply::Reply;
use common::tcp::oracle;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;
use toril::command::table::table;
use toril::config::Config;
use toril::engine::Engine;
use toril::engine::persistence::SnapshotKind;
use toril::engine::time::Now;
use toril::persist::{Link, LinkFault, LinkProgress};
use toril::rdb::crc64;
use toril::util::rng::Rng;

const START: &[&str] = &["--enable-debug-command", "yes", "--save", ""];

fn start(options: &[&str]) -> Running {
    Running::start(&[START, options].concat())
}

fn follow(replica: u16, primary: u16) {
    assert_eq!(ask(replica, &format!("REPLICAOF 127.0.0.1 {primary}")), "+OK");
}

fn until_up(replica: u16) {
    until("the link is up", || info(replica, "master_link_status") == "up");
}

/// Waits until a replica has all that its primary has said so far.
fn until_told(replica: u16, primary: u16) {
    until_up(replica);
    // Keys go at the primary's word, and not all of them at once.
    std::thread::sleep(Duration::from_millis(350));
    until("all has come", || {
        info(replica, "slave_repl_offset") == info(primary, "master_repl_offset")
    });
    until("all is acknowledged", || ask(primary, "WAIT 1 100") != ":0");
}

/// Waits until a replica has all that there is, and that is the same.
fn compare(replica: u16, primary: u16) {
    until_told(replica, primary);
    until("both have the same", || ask(replica, "DEBUG DIGEST") == ask(primary, "DEBUG DIGEST"));
}

/// One pair: a snapshot while everything changes, a link that is cut, and what is refused.
fn check_pair(name: &'static str, options: &[&str]) {
    let folder = Folder::new(&format!("pair-{name}-{}", options.len()));
    let Some(primary) = AnyServer::start(name, &folder, options) else { return };
    let replica = start(&[]);
    let (here, there) = (replica.port, primary.port);
    let mut rng = Rng::from_seed(11);
    ask(here, "SET old 1");
    ask(there, "DEBUG POPULATE 5000 p 100");
    make_changes(there, &mut rng, 1_000);
    follow(here, there);
    make_changes_for_a_while(there, &mut rng);
    compare(here, there);
    assert_eq!(ask(here, "EXISTS old"), ":0");
    assert_eq!(info(here, "role"), "slave");
    assert_eq!(info(here, "master_replid"), info(there, "master_replid"));
    assert!(info(there, "slave0").contains(&format!("port={here},state=online")), "{name}");
    assert_eq!(ask(here, "SET k v"), "-READONLY You can't write against a read only replica.");
    // The link is cut: what was missed comes, and nothing else.
    assert_eq!(ask(there, "CLIENT KILL TYPE slave"), ":1");
    make_changes(there, &mut rng, 400);
    compare(here, there);
    let log = replica.stop();
    assert_eq!(log.matches("keys have come").count(), 1, "{}: {log}", primary.name);
    assert!(log.contains("The stream goes on at offset"), "{}: {log}", primary.name);
    assert!(!log.contains("cannot be done"), "{}: {log}", primary.name);
}

/// Values that are larger than what is read at once: the last of them is the last of the snapshot.
#[test]
fn large_values_come_whole() {
    for name in ORACLES.iter().copied().chain(["toril"]) {
        let folder = Folder::new(&format!("large-{name}"));
        let Some(primary) = AnyServer::start(name, &folder, &[]) else { continue };
        let replica = start(&[]);
        ask(primary.port, "CONFIG SET rdbcompression no");
        for len in [131_000, 999_999, 5_000_000] {
            ask(primary.port, "FLUSHALL");
            ask(primary.port, &format!("SETRANGE s {len} x"));
            follow(replica.port, primary.port);
            compare(replica.port, primary.port);
            ask(replica.port, "REPLICAOF NO ONE");
        }
        ask(primary.port, "FLUSHALL");
        for chunk in 0..200 {
            let members: Vec<String> = (0..100).map(|at| format!("{at} m{chunk}-{at}")).collect();
            ask(primary.port, &format!("ZADD z {}", members.join(" ")));
        }
        follow(replica.port, primary.port);
        compare(replica.port, primary.port);
        assert!(ask_all(replica.port, "HELLO 3").contains("replica"));
    }
}

#[test]
fn redis_7_0_is_followed() {
    check_pair("redis-7.0", &[]);
}

#[test]
fn redis_7_4_is_followed() {
    check_pair("redis-7.4", &[]);
    // From a file, whose length is told before.
    check_pair("redis-7.4", &["--repl-diskless-sync", "no"]);
}

#[test]
fn redis_8_2_is_followed() {
    check_pair("redis-8.2", &[]);
}

#[test]
fn valkey_is_followed() {
    check_pair("valkey", &[]);
    check_pair("valkey", &["--repl-diskless-sync", "no"]);
}

#[test]
fn toril_is_followed() {
    check_pair("toril", &[]);
}

/// A follower that was ended begins with what it saved, and is told what it has missed.
#[test]
fn who_was_started_anew_goes_on_where_it_stopped() {
    for name in ["redis-7.0", "redis-7.4", "valkey", "toril"] {
        let folders = ["leads", "follows"].map(|it| Folder::new(&format!("anew-{name}-{it}")));
        let Some(primary) = AnyServer::start(name, &folders[0], &[]) else { continue };
        let there = primary.port;
        let place = format!("127.0.0.1 {there}");
        let options = ["--dir", folders[1].text(), "--replicaof", &place];
        let replica = start(&options);
        let mut rng = Rng::from_seed(5);
        make_changes(there, &mut rng, 1_000);
        ask_all(there, "SELECT 3\r\nSET three 3\r\nSET put-off 1 PX 3000");
        compare(replica.port, there);
        ask(replica.port, "SHUTDOWN SAVE");
        drop(replica);
        // What is said without a database is of the one that was selected before.
        ask_all(there, "SELECT 3\r\nPERSIST put-off\r\nSET later 3");
        std::thread::sleep(Duration::from_millis(3000));
        make_changes(there, &mut rng, 400);
        let replica = start(&options);
        compare(replica.port, there);
        let kept = ask_all(replica.port, "SELECT 3\r\nGET put-off");
        assert!(kept.contains("$1\r\n1\r\n"), "{name}: {kept}");
        let log = replica.stop();
        assert!(log.contains("The stream goes on at offset"), "{name}: {log}");
        assert!(!log.contains("keys have come"), "{name}: {log}");
    }
}

#[test]
fn the_link_is_made_anew_when_it_is_killed() {
    let (primary, replica) = (start(&[]), start(&[]));
    follow(replica.port, primary.port);
    compare(replica.port, primary.port);
    assert_eq!(ask(replica.port, "CLIENT KILL TYPE master"), ":1");
    ask(primary.port, "SET k v");
    compare(replica.port, primary.port);
    assert_eq!(ask(replica.port, "GET k"), "$1");
    let log = replica.stop();
    assert_eq!(log.matches("keys have come").count(), 1, "{log}");
}

/// Fields with a TTL, functions, groups and what is in other databases.
#[test]
fn what_is_not_in_every_server_comes_from_those_that_have_it() {
    for name in ORACLES.into_iter().chain(["toril"]) {
        let folder = Folder::new(&format!("special-{name}"));
        let Some(primary) = AnyServer::start(name, &folder, &[]) else { continue };
        let replica = start(&[]);
        let mut there = Peer::connect(primary.name, primary.port);
        let source = "#!lua name=l\nredis.register_function{function_name = 'f', \
             callback = function() return 7 end, flags = {'no-writes'}}";
        there.ask(&[b"FUNCTION", b"LOAD", source.as_bytes()]);
        let has_fields = name != "redis-7.0";
        let fields = |there: &mut Peer, key: &str| {
            there.say(&format!("HSET {key} f 1 g 2 gone 3"));
            if has_fields {
                there.say(&format!("HEXPIRE {key} 100 FIELDS 1 f"));
                there.say(&format!("HPEXPIRE {key} 200 FIELDS 1 gone"));
            }
        };
        fields(&mut there, "before");
        there.say("XADD x 1-1 f v");
        there.say("XGROUP CREATE x g 0");
        there.say("XREADGROUP GROUP g c COUNT 1 STREAMS x >");
        follow(replica.port, primary.port);
        until_up(replica.port);
        fields(&mut there, "behind");
        let other = "#!lua name=m\nredis.register_function{function_name = 'g', \
             callback = function() return 8 end, flags = {'no-writes'}}";
        there.ask(&[b"FUNCTION", b"LOAD", other.as_bytes()]);
        there.say("XADD x 2-1 f v");
        there.say("XREADGROUP GROUP g c COUNT 1 STREAMS x >");
        there.say("SELECT 9");
        there.say("SET nine 1");
        there.say("SWAPDB 9 8");
        // The digests of Valkey know nothing of TTLs of fields.
        match name {
            "valkey" => until_told(replica.port, primary.port),
            _ => compare(replica.port, primary.port),
        }
        let mut here = Peer::connect("toril", replica.port);
        there.say("SELECT 0");
        for key in ["before", "behind"] {
            assert_eq!(here.read(key), there.read(key), "{name}: {key}");
            if has_fields {
                assert_eq!(here.read_expiries(key), there.read_expiries(key), "{name}: {key}");
                assert_eq!(here.read_expiries(key).len(), 1, "{name}: {key}");
            }
        }
        assert_eq!(here.say("FCALL_RO f 0").text(), there.say("FCALL_RO f 0").text());
        // What was delivered was delivered just now, there and here.
        let entries = here.say("XPENDING x g - + 10 c");
        let Reply::Array(entries) = entries else { panic!("{entries:?}") };
        for entry in &entries {
            let Reply::Array(parts) = entry else { panic!("{entry:?}") };
            let Reply::Integer(idle_ms) = parts[2] else { panic!("{entry:?}") };
            assert!((0..60_000).contains(&idle_ms), "{name}: {idle_ms}");
        }
        assert_eq!(entries.len(), 2, "{name}");
        let pending = "XPENDING x g";
        assert_eq!(here.say(pending), there.say(pending), "{name}");
        for call in ["FCALL f 0", "FCALL g 0"] {
            assert_eq!(here.say(call), there.say(call), "{name}: {call}");
        }
        here.say("SELECT 8");
        assert_eq!(here.say("GET nine"), Reply::Bulk(b"1".into()));
    }
}

/// What cannot be done here is not left out: all data comes anew.
#[test]
fn behind_a_command_that_is_not_known_all_comes_anew() {
    let folder = Folder::new("unknown");
    let Some(primary) = AnyServer::start("valkey", &folder, &[]) else { return };
    let replica = start(&[]);
    follow(replica.port, primary.port);
    until_up(replica.port);
    ask_all(primary.port, "MSETEX 2 a 1 b 2 EX 1000\r\nSET c 1");
    compare(replica.port, primary.port);
    ask_all(primary.port, "SET c 2 IFEQ 1\r\nSET d 1");
    compare(replica.port, primary.port);
    let log = replica.stop();
    assert_eq!(log.matches("what cannot be done here").count(), 2, "{log}");
    assert_eq!(log.matches("keys have come").count(), 3, "{log}");
}

/// A key's time is the primary's to say; until it does, the key is absent and there.
#[test]
fn what_is_over_goes_at_the_word_of_who_is_followed() {
    let (primary, replica) = (start(&[]), start(&[]));
    ask(primary.port, "DEBUG SET-ACTIVE-EXPIRE 0");
    follow(replica.port, primary.port);
    until_up(replica.port);
    ask(primary.port, "SET k v PX 100");
    ask(primary.port, "WAIT 1 1000");
    assert_eq!(ask(replica.port, "DBSIZE"), ":1");
    std::thread::sleep(Duration::from_millis(150));
    assert_eq!(ask(replica.port, "GET k"), "$-1");
    assert_eq!(ask(replica.port, "EXISTS k"), ":0");
    assert_eq!(ask(replica.port, "DBSIZE"), ":1");
    // What is said of it goes on to mean something.
    ask(primary.port, "SET l v PX 50");
    ask(primary.port, "WAIT 1 1000");
    std::thread::sleep(Duration::from_millis(100));
    ask(replica.port, "REPLICAOF NO ONE");
    until("both have gone", || ask(replica.port, "DBSIZE") == ":0");
}

/// Nothing that waits here is served, and who waited is told to go.
#[test]
fn who_waits_is_let_go_when_the_server_follows() {
    let replica = start(&[]);
    let mut stream = TcpStream::connect(("127.0.0.1", replica.port)).expect("it listens");
    stream.write_all(b"BLPOP q 0\r\n").expect("it reads");
    until("it waits", || info(replica.port, "blocked_clients") == "1");
    follow(replica.port, 1);
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("the server closes");
    assert_eq!(
        text,
        "-UNBLOCKED force unblock from blocking operation, instance state changed (master -> \
         replica?)\r\n"
    );
    assert!(ask(replica.port, "BLPOP q 0").starts_with("-READONLY "));
    assert!(ask(replica.port, "PSYNC ? -1").starts_with("-NOMASTERLINK "));
    assert_eq!(ask_all(replica.port, "CONFIG GET replicaof").lines().nth(4), Some("127.0.0.1 1"));
    ask(replica.port, "CONFIG SET replica-read-only no");
    assert_eq!(ask(replica.port, "SET k v"), "+OK");
}

/// One of those who followed leads: the others go on where they were, and who led goes on as well
/// if nothing was written that the others have not.
#[test]
fn who_leads_from_now_on_is_followed_without_a_snapshot() {
    let [first, second, third] = [(); 3].map(|()| start(&[]));
    let mut rng = Rng::from_seed(5);
    make_changes(first.port, &mut rng, 200);
    for replica in [&second, &third] {
        follow(replica.port, first.port);
        until_up(replica.port);
    }
    make_changes(first.port, &mut rng, 200);
    compare(second.port, first.port);
    compare(third.port, first.port);
    ask(second.port, "REPLICAOF NO ONE");
    assert_eq!(info(second.port, "master_replid2"), info(first.port, "master_replid"));
    let end: u64 = info(second.port, "second_repl_offset").parse().expect("a number");
    make_changes(second.port, &mut rng, 200);
    follow(third.port, second.port);
    compare(third.port, second.port);
    assert_eq!(info(third.port, "master_replid"), info(second.port, "master_replid"));
    // Who led has told nothing since but pings.
    let told: u64 = info(first.port, "master_repl_offset").parse().expect("a number");
    follow(first.port, second.port);
    compare(first.port, second.port);
    let log = first.stop();
    assert_eq!(log.contains("keys have come"), told + 1 > end, "{told} {end} {log}");
    let log = third.stop();
    assert_eq!(log.matches("keys have come").count(), 1, "{log}");
    second.stop();
}

/// Two histories that have one in common are not mixed.
#[test]
fn who_has_written_meanwhile_gets_all_anew() {
    let [first, second] = [(); 2].map(|()| start(&[]));
    follow(second.port, first.port);
    until_up(second.port);
    ask(first.port, "SET common 1");
    compare(second.port, first.port);
    ask(second.port, "REPLICAOF NO ONE");
    ask(first.port, "SET mine 1");
    ask(second.port, "SET yours 1");
    follow(first.port, second.port);
    compare(first.port, second.port);
    assert_eq!(ask(first.port, "EXISTS mine"), ":0");
    assert!(first.stop().contains("keys have come"));
}

/// The stream is passed on as it came: all along the chain an offset means the same.
#[test]
fn a_replica_is_followed_by_others() {
    for name in ["redis-7.4", "valkey", "toril"] {
        let folder = Folder::new(&format!("chain-{name}"));
        let Some(primary) = AnyServer::start(name, &folder, &[]) else { continue };
        let middle = start(&[]);
        let mut rng = Rng::from_seed(9);
        make_changes(primary.port, &mut rng, 400);
        follow(middle.port, primary.port);
        until_up(middle.port);
        ask_all(primary.port, "SELECT 5\r\nSET five 1");
        compare(middle.port, primary.port);
        // Who comes now is not told which database is meant.
        let own = start(&[]);
        follow(own.port, middle.port);
        let below = Folder::new(&format!("below-{name}"));
        // The originals among them could not follow each other.
        let real =
            ["redis-7.4", "valkey"].into_iter().filter_map(|name| Some((name, oracle(name)?)));
        let real = real.map(|(name, program)| Peer::start_in(name, &program, &below.0));
        let real: Vec<Peer> = real.collect();
        let last: Vec<u16> = [own.port].into_iter().chain(real.iter().map(Peer::port)).collect();
        real.iter().for_each(|it| follow(it.port(), middle.port));
        last.iter().for_each(|port| until_up(*port));
        // In the database that was selected before they came.
        let mut there = TcpStream::connect(("127.0.0.1", primary.port)).expect("it listens");
        there.write_all(b"SELECT 5\r\nSET six 1\r\n").expect("it reads");
        until("it has come", || ask_all(own.port, "SELECT 5\r\nGET six").contains("\r\n1\r\n"));
        make_changes(primary.port, &mut rng, 400);
        for port in &last {
            compare(*port, middle.port);
            assert_eq!(info(*port, "master_replid"), info(primary.port, "master_replid"));
        }
        compare(middle.port, primary.port);
        // A link in the middle is cut, above and below.
        ask(primary.port, "CLIENT KILL TYPE slave");
        ask(middle.port, "CLIENT KILL TYPE slave");
        make_changes(primary.port, &mut rng, 200);
        compare(middle.port, primary.port);
        last.iter().for_each(|port| compare(*port, primary.port));
        let log = own.stop();
        assert_eq!(log.matches("keys have come").count(), 1, "{name}: {log}");
    }
}

/// What was loaded and what was streamed is in the files.
#[test]
fn what_is_followed_is_appended() {
    let primary = start(&[]);
    let folder = Folder::new("appended");
    let options = ["--dir", folder.text(), "--appendonly", "yes", "--appendfsync", "always"];
    let replica = start(&options);
    let mut rng = Rng::from_seed(4);
    ask(replica.port, "SET old 1");
    make_changes(primary.port, &mut rng, 400);
    follow(replica.port, primary.port);
    until_up(replica.port);
    make_changes(primary.port, &mut rng, 400);
    compare(replica.port, primary.port);
    until("it is rewritten", || info(replica.port, "aof_rewrites") == "1");
    make_changes(primary.port, &mut rng, 400);
    compare(replica.port, primary.port);
    let digest = ask(replica.port, "DEBUG DIGEST");
    replica.stop();
    let replica = start(&options);
    assert_eq!(ask(replica.port, "DEBUG DIGEST"), digest);
    replica.stop();
}

#[test]
fn it_is_told_at_the_start_whom_to_follow_and_how_to_log_in() {
    let primary = start(&["--requirepass", "geheim"]);
    ask_all(primary.port, "AUTH geheim\r\nSET k v\r\nACL SETUSER r on >pass ~* &* +@all");
    let place = format!("127.0.0.1 {}", primary.port);
    let has_it = |port: u16| until("it has come", || ask(port, "GET k") == "$1");
    let replica = start(&["--replicaof", &place, "--masterauth", "geheim"]);
    has_it(replica.port);
    let replica = start(&["--replicaof", &place, "--masteruser", "r", "--masterauth", "pass"]);
    has_it(replica.port);
    let replica = start(&["--replicaof", &place, "--masterauth", "wrong"]);
    until("it tries", || info(replica.port, "master_link_down_since_seconds") == "-1");
    std::thread::sleep(Duration::from_millis(300));
    let log = replica.stop();
    assert!(log.contains("it does not take masteruser and masterauth: "), "{log}");
    assert!(!log.contains("wrong\""), "{log}");
}

/// What a server says that leads: this much, and then the link ends.
fn say_as_primary(listener: &TcpListener, words: &[u8]) {
    let (mut stream, _) = listener.accept().expect("it comes");
    let _ = stream.write_all(words);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let _ = stream.read_to_end(&mut Vec::new());
}

/// Whoever leads may be broken, or no server at all: what there is stays. valkey #2588: a replica
/// emptied itself before it found that it could not read the snapshot.
#[test]
fn nonsense_changes_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a port");
    let port = listener.local_addr().expect("it is bound").port();
    let replica = start(&[]);
    ask(replica.port, "SET k v");
    let id = "a".repeat(40);
    let greeting = "+PONG\r\n+OK\r\n+OK\r\n+OK\r\n";
    let answers = [
        "HTTP/1.1 400 Bad Request\r\n\r\n".to_owned(),
        "x".repeat(100_000),
        "\n".repeat(4_000_000),
        " \r\n".repeat(1_000_000),
        format!("{greeting}-ERR no\r\n"),
        format!("{greeting}+CONTINUE x\r\n"),
        format!("{greeting}+FULLRESYNC {id} x\r\n"),
        format!("{greeting}+FULLRESYNC {id} 5\r\n$-1\r\n"),
        format!("{greeting}+FULLRESYNC {id} 5\r\n$EOF:abc\r\n"),
        format!("{greeting}+FULLRESYNC {id} 5\r\n$99999999999999999999\r\n"),
        format!("{greeting}+FULLRESYNC {id} 5\r\n$18446744073709551615\r\nREDIS0011"),
        format!("{greeting}+FULLRESYNC {id} 5\r\n$9\r\nREDIS9999"),
        format!("{greeting}+FULLRESYNC {id} 5\r\n$12\r\nREDIS0011\x00\x01k"),
        format!("{greeting}+FULLRESYNC {id} 5\r\n$EOF:{id}\r\nREDIS0004\u{7f}"),
        format!("{greeting}+CONTINUE\r\n*1\r\n$8\r\nNOTTHERE\r\n"),
        format!("{greeting}+CONTINUE\r\n*1\r\n$8\r\nSHUTDOWN\r\n"),
        format!("{greeting}+CONTINUE\r\nSET k other\r\n"),
        format!(
            "{greeting}+CONTINUE\r\n*3\r\n$4\r\nEVAL\r\n$17\r\nwhile true do end\r\n$1\r\n0\r\n"
        ),
        format!("{greeting}+CONTINUE\r\n# a note\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nx\r\n"),
        format!("{greeting}+CONTINUE\r\n*1\r\n$5\r\nMULTI\r\n*1\r\n$5\r\nMULTI\r\n"),
        format!("{greeting}+CONTINUE\r\n*2\r\n$5\r\nMULTI\r\n$1\r\nx\r\n*3\r\n$3\r\nSET\r\n"),
    ];
    for answer in &answers {
        // The next is made at once.
        ask(replica.port, "REPLICAOF NO ONE");
        follow(replica.port, port);
        say_as_primary(&listener, answer.as_bytes());
        until("the link is down", || ask_all(replica.port, "ROLE").contains("connect\r\n"));
        assert_eq!(ask_all(replica.port, "GET k").lines().nth(1), Some("v"), "{answer:?}");
    }
    let log = replica.stop();
    assert_eq!(log.matches("has ended: ").count(), answers.len(), "{log}");
}

/// A primary that says nothing any more is given up.
#[test]
fn a_silent_link_is_made_anew() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a port");
    let port = listener.local_addr().expect("it is bound").port();
    let replica = start(&["--repl-timeout", "1"]);
    follow(replica.port, port);
    let (_silent, _) = listener.accept().expect("it comes");
    let (_again, _) = listener.accept().expect("it comes again");
    let log = replica.stop();
    assert!(log.contains("nothing has come for 2 s, more than repl-timeout allows"), "{log}");
}

fn engine() -> Engine {
    let lines = "enable-debug-command yes\n";
    let (config, _) =
        Config::from_lines(lines, &mut |_| unreachable!("nothing is included")).expect("good");
    let now = Now::new(1_800_000_000_000, 1_000_000);
    Engine::new(table(), config, Box::new(FixedFacts::default()), now)
}

fn say(engine: &mut Engine, line: &str) -> String {
    let now = engine.keyspace.now;
    let client = engine.connect(toril::engine::client::Peer::inside(), now);
    engine.feed(client, format!("{line}\r\n").as_bytes(), now);
    String::from_utf8(engine.take_output(client)).expect("it is text")
}

/// What a primary says to a new replica, in both forms of the snapshot.
fn conversation(has_mark: bool) -> Vec<u8> {
    let mut leader = engine();
    say(&mut leader, "SET k v");
    say(&mut leader, "RPUSH l a b c");
    let mut file = Vec::new();
    let written: Result<(), ()> = leader.save_whole(SnapshotKind::Alone, |bytes| {
        file.extend_from_slice(bytes);
        Ok(())
    });
    written.expect("nothing fails");
    file.extend(crc64(0, &file).to_le_bytes());
    let (id, mark) = ("b".repeat(40), "c".repeat(40));
    let mut all = format!("+PONG\r\n\n+OK\r\n+OK\r\n-ERR no\r\n\n+FULLRESYNC {id} 100\r\n\n\n");
    all += &if has_mark { format!("$EOF:{mark}\r\n") } else { format!("${}\r\n", file.len()) };
    let mut all = all.into_bytes();
    all.extend(&file);
    if has_mark {
        all.extend(mark.as_bytes());
    }
    all.extend(
        b"*2\r\n$6\r\nSELECT\r\n$1\r\n2\r\n*1\r\n$4\r\nPING\r\n*1\r\n$5\r\nMULTI\r\n*2\r\n$4\r\n\
          INCR\r\n$1\r\nn\r\n*2\r\n$4\r\nincr\r\n$1\r\nn\r\n*1\r\n$4\r\nEXEC\r\n*3\r\n$8\r\n\
          REPLCONF\r\n$6\r\nGETACK\r\n$1\r\n*\r\n*2\r\n$4\r\nINCR\r\n$1\r\nn\r\n",
    );
    all
}

/// Feeds pieces; all that was answered, and how it ended.
fn feed(engine: &mut Engine, pieces: &[&[u8]]) -> (String, Option<LinkFault>) {
    engine.follow_server("127.0.0.1", 1);
    let mut link = Link::new(engine);
    let mut said = link.take_output();
    for piece in pieces {
        link.feed(piece);
        loop {
            let now = engine.keyspace.now;
            let progress = link.step(engine, now);
            said.extend(link.take_output());
            match progress {
                Ok(LinkProgress::Hungry) => break,
                Ok(_) => {}
                Err(fault) => return (String::from_utf8_lossy(&said).into_owned(), Some(fault)),
            }
        }
    }
    (String::from_utf8_lossy(&said).into_owned(), None)
}

#[test]
fn a_link_means_the_same_however_it_is_cut_into_pieces() {
    for has_mark in [false, true] {
        let all = conversation(has_mark);
        let mut whole = engine();
        let (said, fault) = feed(&mut whole, &[&all]);
        assert_eq!(fault, None);
        let expect: &[&str] = &[
            "PING",
            "REPLCONF",
            "listening-port",
            "capa",
            "eof",
            "capa",
            "psync2",
            "version",
            "PSYNC",
            "ACK",
            "100",
            "ACK",
        ];
        let mut rest = &said[..];
        for word in expect {
            rest = rest.split_once(word).unwrap_or_else(|| panic!("no {word}: {said}")).1;
        }
        let digest = say(&mut whole, "DEBUG DIGEST");
        let offset = whole.replication.offset;
        assert!(offset > 100);
        let mut rng = Rng::from_seed(2);
        for round in 0..200 {
            let mut pieces = Vec::new();
            let mut rest = &all[..];
            while !rest.is_empty() {
                let len = 1 + rng.below(if round == 0 { 1 } else { 60 });
                let (piece, behind) = rest.split_at(len.min(rest.len()));
                pieces.push(piece);
                rest = behind;
            }
            let mut other = engine();
            assert_eq!(feed(&mut other, &pieces), (said.clone(), None));
            assert_eq!(say(&mut other, "DEBUG DIGEST"), digest);
            assert_eq!(other.replication.offset, offset);
        }
    }
}

/// Wherever a link ends, there is what was there before, or all that was sent up to a whole unit.
#[test]
fn a_link_that_ends_anywhere_leaves_what_is_whole() {
    let all = conversation(true);
    let mut old = engine();
    say(&mut old, "SET old 1");
    let before = say(&mut old, "DEBUG DIGEST");
    let mut seen = vec![before.clone()];
    for end in 0..=all.len() {
        let mut engine = engine();
        say(&mut engine, "SET old 1");
        let (_, fault) = feed(&mut engine, &[&all[..end]]);
        assert_eq!(fault, None);
        let digest = say(&mut engine, "DEBUG DIGEST");
        if seen.last() != Some(&digest) {
            seen.push(digest);
        }
    }
    // The snapshot, both INCRs of the transaction, and the one behind.
    assert_eq!(seen.len(), 4, "{seen:?}");
}

/// A byte that is another one: nothing panics, and either all is refused or it is whole.
#[test]
fn a_link_with_wrong_bytes_ends_with_a_reason() {
    let all = conversation(false);
    let mut rng = Rng::from_seed(8);
    for at in 0..all.len() {
        let mut wrong = all.clone();
        wrong[at] ^= 1 << rng.below(8);
        let mut engine = engine();
        say(&mut engine, "SET old 1");
        let (_, fault) = feed(&mut engine, &[&wrong]);
        let is_old = say(&mut engine, "EXISTS old") == ":1\r\n";
        let is_new = say(&mut engine, "EXISTS k") == ":1\r\n";
        assert!(is_old != is_new, "{at}: {fault:?}");
        if let Some(fault) = fault {
            assert!(fault.text.len() > 10 && !fault.text.ends_with('.'), "{fault:?}");
        }
    }
}
