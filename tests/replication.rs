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

/// Those who read what is sent by default: Redis 7.0 reads no snapshot of a later version.
const FOLLOWERS: [&str; 3] = ["redis-7.4", "redis-8.2", "valkey"];

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
        // Its link is cut: what it has missed is told it, and nothing else.
        let address = info(server.port, "slave0");
        assert!(address.starts_with("ip=127.0.0.1,"), "{address}");
        assert_eq!(ask(server.port, "CLIENT KILL TYPE replica"), ":1");
        make_changes(server.port, &mut rng, 400);
        compare(&mut replica, &server, 1);
        assert!(!server.stop().contains("given up"));
    }
}

#[test]
fn fields_with_a_ttl_go_to_each_in_its_own_format() {
    for name in FOLLOWERS {
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
    for _ in 0..5 {
        let (_, input) = converse(&server, words, "$EOF:");
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
