//! Real servers that follow this one: a snapshot first and then the stream, a link that is cut, who
//! waits for them, and what they are sent while other snapshots are written.

mod common;

use common::changes::{make_changes, make_changes_for_a_while};
use common::peer::Peer;
use common::program::{Folder, PATIENCE, Running, ask, ask_all, info, until};
use common::reply::Reply;
use common::tcp::oracle;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;
use toril::util::rng::Rng;

const FOLLOWERS: [&str; 4] = ["redis-7.0", "redis-7.4", "redis-8.2", "valkey"];

/// A server that is followed.
fn start(options: &[&str]) -> Running {
    Running::start(&[&["--enable-debug-command", "yes", "--save", ""], options].concat())
}

fn follow(replica: &mut Peer, server: &Running) {
    assert_eq!(replica.say(&format!("REPLICAOF 127.0.0.1 {}", server.port)), ok());
}

fn ok() -> Reply {
    Reply::Simple(b"OK".into())
}

/// Waits until a replica has all, and compares.
fn compare(replica: &mut Peer, server: &Running, replicas: usize) {
    until("a replica follows", || {
        ask(server.port, &format!("WAIT {replicas} 100")) == format!(":{replicas}")
    });
    // Keys with a TTL go at the master's word.
    std::thread::sleep(Duration::from_millis(350));
    until("what was removed is told", || ask(server.port, "WAIT 1 100") != ":0");
    let digest = ask(server.port, "DEBUG DIGEST");
    until(&format!("{} has the same", replica.name), || {
        replica.say("DEBUG DIGEST") == Reply::Simple(digest[1..].into())
    });
}

#[test]
fn real_servers_follow_while_everything_changes() {
    for name in FOLLOWERS {
        let Some(program) = oracle(name) else { continue };
        let server = start(&[]);
        let mut rng = Rng::from_seed(11);
        ask(server.port, "DEBUG POPULATE 20000 p 100");
        make_changes(server.port, &mut rng, 2_000);
        let mut replica = Peer::start(name, &program);
        follow(&mut replica, &server);
        make_changes_for_a_while(server.port, &mut rng);
        compare(&mut replica, &server, 1);
        assert_eq!(info(server.port, "connected_slaves"), "1");
        assert!(info(server.port, "slave0").contains("state=online"));
        // Redis 7.0 tells by leaving that it does not read version 11.
        let fulls = if name == "redis-7.0" { "2" } else { "1" };
        assert_eq!(info(server.port, "sync_full"), fulls, "{name}");
        // Its link is cut: what it has missed is told it, and nothing else.
        let address = info(server.port, "slave0");
        assert!(address.starts_with("ip=127.0.0.1,"), "{address}");
        assert_eq!(ask(server.port, "CLIENT KILL TYPE replica"), ":1");
        make_changes(server.port, &mut rng, 400);
        compare(&mut replica, &server, 1);
        let counts = ["sync_full", "sync_partial_ok"].map(|it| info(server.port, it));
        assert_eq!(counts, [fulls, "1"], "{name}");
        assert!(!server.stop().contains("given up"));
    }
}

/// What Redis 7.0 has other forms for, some of it as a newer server dumps it.
fn fill_with_newer(place: &str, here: &mut Peer, newer: &mut Peer) {
    let members: Vec<String> = (0..100).map(|at| (at * at).to_string()).collect();
    here.say("CONFIG SET set-max-intset-entries 10");
    here.say(&format!("SADD integers-{place} {}", members.join(" ")));
    here.say(&format!("SADD texts-{place} a b c"));
    for at in 1..=5 {
        here.say(&format!("XADD x-{place} {at}-1 f {at}"));
    }
    here.say(&format!("XGROUP CREATE x-{place} g 0"));
    here.say(&format!("XREADGROUP GROUP g c COUNT 3 STREAMS x-{place} >"));
    here.say(&format!("XGROUP CREATECONSUMER x-{place} g idle"));
    let source = format!(
        "#!lua name={place}\nredis.register_function{{function_name = 'f_{place}', \
         callback = function() return 7 end, flags = {{'no-writes'}}}}"
    );
    // As another server dumps it.
    newer.ask(&[b"FUNCTION", b"LOAD", source.as_bytes()]);
    let library = newer.say("FUNCTION DUMP").text().expect("a payload");
    newer.say("FUNCTION FLUSH");
    assert_eq!(here.ask(&[b"FUNCTION", b"RESTORE", &library]), ok());
    newer.say("CONFIG SET set-max-intset-entries 10");
    newer.say(&format!("SADD moved {}", members[..50].join(" ")));
    let moved = newer.dump("moved");
    let key = format!("moved-{place}");
    assert_eq!(here.restore(&key, &moved), ok());
    let key = format!("timed-{place}");
    let words: [&[u8]; 4] = [b"RESTORE", key.as_bytes(), b"100000", &moved];
    assert_eq!(here.ask(&words), ok());
}

/// What a later version has another form for, in a snapshot and behind it.
#[test]
fn redis_7_0_is_told_what_it_understands() {
    let (Some(program), Some(newer)) = (oracle("redis-7.0"), oracle("redis-7.4")) else { return };
    let server = start(&[]);
    let port = server.port;
    let mut newer = Peer::start("redis-7.4", &newer);
    let mut fill = |place: &str, here: &mut Peer| fill_with_newer(place, here, &mut newer);
    let mut here = Peer::connect("toril", port);
    // One that is written piece by piece.
    for at in 0..60 {
        let adds: Vec<String> =
            (1..=200).map(|it| format!("XADD large {}-1 f v", at * 200 + it)).collect();
        ask_all(port, &adds.join("\r\n"));
    }
    ask_all(port, "XGROUP CREATE large g 0\r\nXREADGROUP GROUP g c COUNT 2000 STREAMS large >");
    fill("before", &mut here);
    let mut replica = Peer::start("redis-7.0", &program);
    follow(&mut replica, &server);
    until("it follows", || ask(port, "WAIT 1 100") == ":1");
    fill("behind", &mut here);
    compare(&mut replica, &server, 1);
    for key in ["x-before", "x-behind", "large"] {
        let pending = format!("XPENDING {key} g");
        assert_eq!(replica.say(&pending), here.say(&pending), "{key}");
        let consumers = |peer: &mut Peer| {
            let Reply::Array(all) = peer.say(&format!("XINFO CONSUMERS {key} g")) else {
                panic!("{key} has a group")
            };
            all.into_iter()
                .map(|it| match it {
                    Reply::Array(fields) => fields[..4].to_vec(),
                    it => panic!("{it:?}"),
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(consumers(&mut replica), consumers(&mut here), "{key}");
    }
    for place in ["before", "behind"] {
        let call = format!("FCALL_RO f_{place} 0");
        assert_eq!(replica.say(&call), Reply::Integer(7), "{call}");
        let ttl = replica.say(&format!("PTTL timed-{place}"));
        assert!(matches!(ttl, Reply::Integer(1..=100_000)), "{place}: {ttl:?}");
    }
}

/// Redis 7.0 does not know them, and would have another value without a word.
#[test]
fn ttls_of_fields_are_not_lost_on_redis_7_0() {
    let Some(program) = oracle("redis-7.0") else { return };
    let server = start(&[]);
    let port = server.port;
    ask(port, "HSET h f 1 g 2");
    let mut replica = Peer::start("redis-7.0", &program);
    follow(&mut replica, &server);
    until("it follows", || ask(port, "WAIT 1 100") == ":1");
    compare(&mut replica, &server, 1);
    // One that is gone at once is no matter.
    ask(port, "HPEXPIRE h 0 FIELDS 1 g");
    compare(&mut replica, &server, 1);
    assert_eq!(info(port, "sync_full"), "2");
    ask(port, "HEXPIRE h 100 FIELDS 1 f");
    let refusals = |port| ask_all(port, "INFO errorstats").contains("errorstat_ERR:count=");
    until("it is refused", || refusals(port));
    assert_eq!(info(port, "sync_full"), "6");
    until("it has gone", || info(port, "connected_slaves") == "0");
    assert_eq!(info(replica.port(), "master_link_status"), "down");
    let log = server.stop();
    assert!(log.contains("may not know TTLs of fields"), "{log}");
    assert!(log.contains("cannot read the snapshots"), "{log}");
}

/// valkey #4103: a replica that did not tell its version got what cannot hold them, for ever.
#[test]
fn fields_with_a_ttl_go_to_each_in_its_own_format() {
    for name in &FOLLOWERS[1..] {
        let Some(program) = oracle(name) else { continue };
        let server = start(&[]);
        ask_all(server.port, "HSET h f 1 g 2\r\nHEXPIRE h 100 FIELDS 1 f");
        // One that is large.
        let fields: Vec<String> = (0..600).map(|at| format!("f{at} {at}")).collect();
        ask(server.port, &format!("HSET large {}", fields.join(" ")));
        ask(server.port, "HEXPIRE large 100 FIELDS 2 f7 f8");
        let mut replica = Peer::start(name, &program);
        follow(&mut replica, &server);
        until("it follows", || ask(server.port, "WAIT 1 100") == ":1");
        for key in ["h", "large"] {
            let mut here = Peer::connect("toril", server.port);
            assert_eq!(replica.read(key), here.read(key), "{name}: {key}");
            assert_eq!(replica.read_expiries(key), here.read_expiries(key), "{name}: {key}");
        }
    }
}

#[test]
fn writes_want_so_many_replicas() {
    let server = start(&["--min-replicas-to-write", "1"]);
    let port = server.port;
    let refusal = "-NOREPLICAS Not enough good replicas to write.";
    let script = "EVAL \"return redis.call('set', 'k', 'v')\" 0";
    for write in ["SET k v", "LPUSH l 1", "BLPOP l 1"] {
        assert_eq!(ask(port, write), refusal, "{write}");
    }
    assert!(ask(port, script).contains("NOREPLICAS"));
    assert!(ask_all(port, "MULTI\r\nSET k v\r\nEXEC").contains("EXECABORT"));
    assert_eq!(ask(port, "GET k"), "$-1");
    assert_eq!(info(port, "min_slaves_good_slaves"), "0");
    let replica = start(&[]);
    ask(replica.port, &format!("REPLICAOF 127.0.0.1 {port}"));
    until("it counts", || ask(port, "SET k v") == "+OK");
    assert_eq!(info(port, "min_slaves_good_slaves"), "1");
    assert_eq!(ask(port, script), "+OK");
    assert_eq!(ask(port, "CONFIG SET min-replicas-to-write 2"), "+OK");
    assert_eq!(ask(port, "SET k v"), refusal);
    // A replica itself asks for none.
    assert_eq!(ask(replica.port, "CONFIG SET min-replicas-to-write 3"), "+OK");
    assert_eq!(ask(port, "CONFIG SET min-slaves-max-lag 0"), "+OK");
    assert_eq!(ask(port, "SET k w"), "+OK");
    until("it has come", || ask(port, "WAIT 1 100") == ":1");
    assert_eq!(ask(replica.port, "STRLEN k"), ":1");
}

#[test]
fn several_replicas_share_a_snapshot_and_others_are_written_beside() {
    let Some(program) = oracle("redis-7.4") else { return };
    let folder = Folder::new("several");
    let path = folder.text();
    let server = start(&["--dir", path, "--appendonly", "yes", "--appendfsync", "always"]);
    ask(server.port, "DEBUG POPULATE 50000 p 100");
    let mut replicas: Vec<Peer> = (0..2).map(|_| Peer::start("redis-7.4", &program)).collect();
    replicas.iter_mut().for_each(|replica| follow(replica, &server));
    assert!(ask(server.port, "BGSAVE").starts_with("+Background saving"));
    ask(server.port, "BGREWRITEAOF");
    let mut rng = Rng::from_seed(3);
    make_changes(server.port, &mut rng, 2_000);
    for replica in &mut replicas {
        compare(replica, &server, 2);
    }
    until("the others are written", || {
        info(server.port, "rdb_bgsave_in_progress") == "0"
            && info(server.port, "aof_rewrites") == "1"
    });
    let digest = ask(server.port, "DEBUG DIGEST");
    server.stop();
    let server = start(&["--dir", path, "--appendonly", "yes"]);
    assert_eq!(ask(server.port, "DEBUG DIGEST"), digest);
    server.stop();
}

/// Talks as a replica does, and reads until what comes holds `end`.
fn converse(server: &Running, requests: &str, end: &str) -> (TcpStream, Vec<u8>) {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("it is a time");
    stream.write_all(requests.as_bytes()).expect("it reads");
    let mut input = Vec::new();
    let mut block = [0; 4096];
    while !input.windows(end.len()).any(|it| it == end.as_bytes()) {
        let len = stream.read(&mut block).expect("it answers");
        assert!(len > 0, "{}", input.escape_ascii());
        input.extend_from_slice(&block[..len]);
    }
    (stream, input)
}

#[test]
fn who_asks_for_what_is_not_kept_gets_a_snapshot() {
    let server = start(&["--repl-backlog-size", "100"]);
    let (_first, input) =
        converse(&server, "REPLCONF capa eof capa psync2\r\nPSYNC ? -1\r\n", "$EOF:");
    let text = String::from_utf8_lossy(&input).into_owned();
    assert!(text.starts_with("+OK\r\n+FULLRESYNC "), "{text}");
    let id = text.split(' ').nth(1).expect("it names the history").to_owned();
    assert_eq!(id, info(server.port, "master_replid"));
    ask(server.port, "SET k 1");
    let offset: u64 = info(server.port, "master_repl_offset").parse().expect("it is a number");
    let asks = |history: &str, from: u64, expect: &str| {
        let words = format!("REPLCONF capa eof capa psync2\r\nPSYNC {history} {from}\r\n");
        let (_stream, input) = converse(&server, &words, "\r\n+");
        let text = String::from_utf8_lossy(&input).into_owned();
        assert!(text.starts_with(&format!("+OK\r\n+{expect}")), "{from}: {text}");
    };
    // What was changed, with the database selected before.
    assert_eq!(offset, 23 + 27);
    asks(&id, offset + 1, "CONTINUE");
    asks(&id, 1, "CONTINUE");
    asks(&id, offset + 2, "FULLRESYNC");
    asks(&"0".repeat(40), offset + 1, "FULLRESYNC");
    ask(server.port, &format!("SET k {}", "x".repeat(200)));
    asks(&id, 1, "FULLRESYNC");
    let (_stream, input) = converse(&server, "PSYNC ? -1\r\n", "\r\n");
    assert!(input.starts_with(b"-ERR toril sends a snapshot to who says REPLCONF capa eof"));
}

/// kvrocks #462: a history that others have gone on with is not taken for the same.
#[test]
fn the_old_name_of_a_history_is_good_up_to_where_it_ended() {
    let [first, second] = [(); 2].map(|()| start(&[]));
    ask(second.port, &format!("REPLICAOF 127.0.0.1 {}", first.port));
    until("it follows", || ask(first.port, "WAIT 1 100") == ":1");
    ask(first.port, "SET common 1");
    until("it has all", || ask(first.port, "WAIT 1 100") == ":1");
    let old = info(first.port, "master_replid");
    ask(second.port, "REPLICAOF NO ONE");
    assert_eq!(info(second.port, "master_replid2"), old);
    let end: u64 = info(second.port, "second_repl_offset").parse().expect("it is a number");
    ask(second.port, "SET mine 1");
    for (from, expect) in [(end - 1, "CONTINUE"), (end, "CONTINUE"), (end + 1, "FULLRESYNC")] {
        let words = format!("REPLCONF capa eof capa psync2\r\nPSYNC {old} {from}\r\n");
        let (_stream, input) = converse(&second, &words, "\r\n+");
        let text = String::from_utf8_lossy(&input).into_owned();
        assert!(text.starts_with(&format!("+OK\r\n+{expect}")), "{end} {from}: {text}");
    }
}

#[test]
fn a_replica_that_says_nothing_is_let_go() {
    let server = start(&["--repl-timeout", "3", "--repl-ping-replica-period", "1"]);
    let (mut stream, input) = converse(&server, "REPLCONF capa eof\r\nPSYNC ? -1\r\n", "$EOF:");
    let text = String::from_utf8_lossy(&input).into_owned();
    let offset = text.lines().nth(1).and_then(|it| it.rsplit(' ').next()).expect("it is told");
    let mark = text.split("$EOF:").nth(1).expect("it is told").lines().next().expect("a line");
    let mut rest = input.clone();
    let mut block = [0; 4096];
    while !rest.ends_with(mark.as_bytes()) {
        let len = stream.read(&mut block).expect("it goes on");
        rest.extend_from_slice(&block[..len]);
    }
    stream.write_all(format!("REPLCONF ACK {offset}\r\n").as_bytes()).expect("it reads");
    // Until the server closes.
    stream.read_to_end(&mut rest).expect("it closes");
    let text = String::from_utf8_lossy(&rest);
    assert!(text.contains("*1\r\n$4\r\nPING\r\n"), "{text}");
    assert_eq!(info(server.port, "connected_slaves"), "0");
}

/// Redis 7.0 ends its process or comes again at once when it cannot read a snapshot.
#[test]
fn a_replica_that_cannot_read_the_snapshot_does_not_get_it_for_ever() {
    let server = start(&[]);
    let words = "REPLCONF listening-port 7777 capa eof\r\nPSYNC ? -1\r\n";
    for version in ["REDIS0011", "REDIS0010", "REDIS0010", "REDIS0010", "REDIS0010"] {
        let (_, input) = converse(&server, words, version);
        assert!(input.starts_with(b"+OK\r\n+FULLRESYNC "));
        until("it has gone", || info(server.port, "connected_slaves") == "0");
    }
    let (_, input) = converse(&server, words, "a minute\r\n");
    let text = String::from_utf8_lossy(&input).into_owned();
    assert!(text.contains("-ERR this replica has left five snapshots"), "{text}");
    // Another is not to blame.
    let words = words.replace("7777", "7778");
    let (_, input) = converse(&server, &words, "$EOF:");
    assert!(input.starts_with(b"+OK\r\n+FULLRESYNC "));
}

/// Else no other snapshot could ever begin.
#[test]
fn a_replica_that_does_not_read_its_snapshot_is_let_go() {
    let folder = Folder::new("silent");
    let server = start(&["--repl-timeout", "1", "--dir", folder.text()]);
    ask(server.port, "DEBUG POPULATE 100000 p 200");
    let (_stream, _) = converse(&server, "REPLCONF capa eof\r\nPSYNC ? -1\r\n", "$EOF:");
    assert!(info(server.port, "slave0").contains("state=send_bulk"));
    until("it is let go", || info(server.port, "connected_slaves") == "0");
    assert!(ask(server.port, "BGSAVE").starts_with("+Background saving"));
    until("another is written", || info(server.port, "rdb_saves") == "1");
}

/// A clock that jumps here would not jump there.
#[test]
fn the_clock_is_not_moved_while_somebody_follows() {
    let server = start(&["--clock", "yes"]);
    let (_stream, _) = converse(&server, "REPLCONF capa eof\r\nPSYNC ? -1\r\n", "$EOF:");
    let refusal = ask(server.port, "TORIL CLOCK ADVANCE 1000");
    assert!(refusal.starts_with("-ERR ") && refusal.contains("replica"), "{refusal}");
}

#[test]
fn who_comes_later_hears_which_database_is_meant() {
    let Some(program) = oracle("redis-7.4") else { return };
    let server = start(&[]);
    let mut replicas: Vec<Peer> = Vec::new();
    for count in 1..=2 {
        let mut replica = Peer::start("redis-7.4", &program);
        follow(&mut replica, &server);
        until("it follows", || {
            ask(server.port, &format!("WAIT {count} 100")) == format!(":{count}")
        });
        replicas.push(replica);
        ask_all(server.port, &format!("SELECT 3\r\nSET k{count} 1"));
    }
    replicas.iter_mut().for_each(|replica| compare(replica, &server, 2));
}

/// As `redis-cli --rdb` asks.
#[test]
fn who_wants_a_snapshot_alone_gets_no_more() {
    let server = start(&[]);
    ask(server.port, "SET k v");
    let words = "REPLCONF capa eof\r\nREPLCONF rdb-only 1\r\nSYNC\r\n";
    let (mut stream, mut input) = converse(&server, words, "$EOF:");
    stream.read_to_end(&mut input).expect("the server closes");
    assert!(input.starts_with(b"+OK\r\n+OK\r\n$EOF:"), "{}", input.escape_ascii());
    let mark = input[15..55].to_vec();
    assert!(input.ends_with(&mark), "{}", input.escape_ascii());
    assert_eq!(info(server.port, "connected_slaves"), "0");
    let folder = Folder::new("rdb-only");
    let path = folder.0.join("dump.rdb");
    std::fs::write(&path, &input[57..input.len() - 40]).expect("there is room");
    let other = start(&["--dir", folder.text()]);
    assert_eq!(ask(other.port, "DEBUG DIGEST"), ask(server.port, "DEBUG DIGEST"));
}
