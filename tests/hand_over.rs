//! `toril hand-over`: all moves to Redis, to Valkey and to a cluster while everything changes; what
//! cannot move is named before, and whatever fails, the old server goes on.

mod common;

use common::changes::make_changes;
use common::peer::Peer;
use common::program::{Folder, Guarded, PATIENCE, Running, ask, ask_all, until};
use common::reply::Reply;
use common::tcp::oracle;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use toril::engine::hash_slot::hash_slot;
use toril::util::rng::Rng;

const NODES: usize = 3;
const SLOTS: usize = 16_384;

fn start() -> Running {
    Running::start(&["--enable-debug-command", "yes", "--save", ""])
}

fn hand_over(from: u16, to: u16, options: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_toril"));
    let from = format!("redis://127.0.0.1:{from}");
    command.args(["hand-over", "--from", &from]).args(options);
    command.arg(format!("redis://127.0.0.1:{to}")).stdin(Stdio::null());
    command
}

/// What it says, and its status.
fn run(mut command: Command) -> (String, Option<i32>) {
    let Output { status, stderr, .. } = command.output().expect("the program starts");
    (String::from_utf8(stderr).expect("it is UTF-8"), status.code())
}

fn moves(from: u16, to: u16, options: &[&str]) -> String {
    let (said, status) = run(hand_over(from, to, options));
    assert_eq!(status, Some(0), "{said}");
    said
}

/// Nothing is written, and this is said.
fn check_refused(from: u16, to: u16, options: &[&str], expect: &[&str]) {
    for dry in [&["--dry-run"][..], &[]] {
        let (said, status) = run(hand_over(from, to, &[dry, options].concat()));
        assert_eq!(status, Some(1), "{said}");
        for line in expect {
            assert!(said.contains(line), "{line}:\n{said}");
        }
        assert!(said.ends_with("nothing was written\n"), "{said}");
    }
    assert_eq!(ask(from, "SET still-here 1"), "+OK");
}

/// Something of each type, with what is rare: TTLs of keys and fields, groups, large values.
fn fill(port: u16, with_field_ttls: bool) {
    let lines = [
        "SET text {a}text",
        "SET ttl v PX 100000000",
        "SETRANGE large 3000000 x",
        "RPUSH list a 1 b",
        "SADD numbers 1 2 3",
        "SADD words a b 17",
        "HSET hash f v g 1",
        "ZADD zset 1 a 2.5 b inf c -1e300 d",
        "XADD stream 1-1 f v g w",
        "XADD stream 2-1 f v",
        "XADD stream 3-1 other v",
        "XGROUP CREATE stream group 0",
        "XREADGROUP GROUP group me COUNT 2 STREAMS stream >",
        "XDEL stream 2-1",
        "XADD empty 5-1 f v",
        "XDEL empty 5-1",
        "XGROUP CREATE blank g 0 MKSTREAM",
        "XGROUP DESTROY blank g",
        "EVAL \"for i = 1, 40000 do redis.call('zadd', 'long', i / 3, 'member' .. i) end\" 0",
        "EVAL \"for i = 1, 40000 do redis.call('hset', 'wide', 'field' .. i, i) end\" 0",
        "EVAL \"for i = 1, 400 do redis.call('rpush', 'far', string.rep('x', 9000)) end\" 0",
        "EVAL \"for i = 1, 40000 do redis.call('sadd', 'many', 'member' .. i) end\" 0",
    ];
    lines.iter().for_each(|line| _ = ask(port, line));
    if with_field_ttls {
        ask(port, "HSET timed f v g w");
        ask(port, "HPEXPIRE timed 100000000 FIELDS 1 f");
    }
    ask(port, "DEBUG POPULATE 3000 p 100");
}

/// Changes keys until it is told to stop.
struct Load {
    goes_on: Arc<AtomicBool>,
    worker: Option<JoinHandle<()>>,
}

impl Load {
    fn start(mut change: impl FnMut() + Send + 'static) -> Self {
        let goes_on = Arc::new(AtomicBool::new(true));
        let mine = goes_on.clone();
        let worker = std::thread::spawn(move || {
            while mine.load(Ordering::Relaxed) {
                change();
            }
        });
        Self { goes_on, worker: Some(worker) }
    }

    fn stop(mut self) {
        self.goes_on.store(false, Ordering::Relaxed);
        // The old server has closed its connection, which ends it as well.
        let _ = self.worker.take().expect("it was started").join();
    }
}

/// Key by key, once nothing is left that is about to go: the old server lets nothing go any more.
/// What tells of TTLs of fields differs from server to server.
fn compare(from: &mut Peer, to: &mut Peer) {
    assert_eq!(from.say("REPLICAOF NO ONE"), Reply::Simple("OK".into()));
    std::thread::sleep(Duration::from_millis(500));
    for db in [0, 3] {
        let select = format!("SELECT {db}");
        assert_eq!(from.say(&select), to.say(&select));
        let Reply::Array(keys) = from.say("KEYS *") else { panic!("there are keys") };
        assert!(!keys.is_empty());
        for key in keys.iter().filter_map(Reply::text).filter(|it| it != b"timed") {
            let digest: [&[u8]; 3] = [b"DEBUG", b"DIGEST-VALUE", &key];
            let key = String::from_utf8(key.clone()).expect("it is text");
            // Redis 7.0 has scores of 17 digits in its digests.
            match to.name {
                "redis-7.0" => assert_eq!(from.read(&key), to.read(&key), "{db} {key}"),
                name => assert_eq!(from.ask(&digest), to.ask(&digest), "{db} {key} at {name}"),
            }
        }
        // The others count keys that are over until they have come by them.
        until("both count the same", || from.say("DBSIZE") == to.say("DBSIZE"));
        let Reply::Array(theirs) = to.say("KEYS *") else { panic!("there are keys") };
        let texts = |keys: &[Reply]| keys.iter().filter_map(Reply::text).collect::<BTreeSet<_>>();
        assert_eq!(texts(&keys), texts(&theirs), "{db} at {}", to.name);
    }
    from.say("SELECT 0");
    to.say("SELECT 0");
}

fn check_single(name: &'static str, with_field_ttls: bool) {
    let Some(program) = oracle(name) else { return };
    let folder = Folder::new(name);
    let target = Peer::start_in(name, &program, &folder.0);
    let source = start();
    let (from, to) = (source.port, target.port());
    fill(from, with_field_ttls);
    ask(from, "FUNCTION LOAD \"#!lua name=l\\nredis.register_function('f', function() end)\"");
    let mut rng = Rng::from_seed(7);
    make_changes(from, &mut rng, 2_000);
    let load = Load::start(move || make_changes(from, &mut rng, 100));
    let said = moves(from, to, &[]);
    load.stop();
    assert!(said.contains("both sides have the same keys"), "{said}");
    let readonly =
        format!("-READONLY this server has handed over to 127.0.0.1:{to}: connect there");
    assert_eq!(ask(from, "SET k v"), readonly);
    assert!(ask(from, "EVAL \"redis.call('set', 'k', 'v')\" 0").starts_with(&readonly));
    assert_eq!(ask(from, "BLPOP nosuch 0"), readonly);
    assert_eq!(ask(from, "GET text"), "$7");
    let handed_over = "-ERR this server has handed over; REPLICAOF NO ONE has it take writes again";
    assert_eq!(ask(from, "TORIL HANDOVER PAUSE 100"), handed_over);
    assert_eq!(ask_all(to, "FUNCTION LIST").matches("library_name").count(), 1, "{name}");
    let mut here = Peer::connect("toril", from);
    let mut there = target.another_client();
    compare(&mut here, &mut there);
    for key in ["stream", "empty", "blank"] {
        assert_eq!(here.read(key), there.read(key), "{name} {key}");
    }
    // As commands a stream loses when its consumers were last seen.
    for request in ["XINFO GROUPS stream", "XPENDING stream group"] {
        assert_eq!(here.say(request), there.say(request), "{name} {request}");
    }
    if name != "redis-7.0" {
        assert_eq!(here.read_groups("stream"), there.read_groups("stream"), "{name}");
    }
    assert_eq!(here.say("PEXPIRETIME ttl"), there.say("PEXPIRETIME ttl"), "{name}");
    if with_field_ttls {
        assert_eq!(here.read_expiries("timed"), there.read_expiries("timed"), "{name}");
    }
    drop(target);
}

#[test]
fn redis_7_4_takes_over() {
    check_single("redis-7.4", true);
}

#[test]
fn valkey_takes_over() {
    check_single("valkey", true);
}

/// It reads some of what is there by RESTORE, and the rest as commands.
#[test]
fn redis_7_0_takes_over() {
    check_single("redis-7.0", false);
}

/// Three nodes of a cluster.
struct Cluster {
    ports: Vec<u16>,
    _nodes: Vec<Peer>,
}

impl Cluster {
    fn start(name: &'static str, folder: &Folder) -> Option<Self> {
        let program = oracle(name)?;
        let mut nodes = Vec::new();
        for at in 0..NODES {
            let own = folder.0.join(at.to_string());
            std::fs::create_dir_all(&own).expect("there is room");
            let probe = TcpListener::bind(("127.0.0.1", 0)).expect("there is a free port");
            let bus = probe.local_addr().expect("it is bound").port().to_string();
            drop(probe);
            let options = ["--cluster-enabled", "yes", "--cluster-port", &bus];
            let options = [&options[..], &["--cluster-announce-bus-port", &bus]].concat();
            let node = Peer::start_with(name, &program, &own, &options);
            let (first, last) = (SLOTS * at / NODES, SLOTS * (at + 1) / NODES - 1);
            assert_eq!(ask(node.port(), &format!("CLUSTER ADDSLOTSRANGE {first} {last}")), "+OK");
            nodes.push((node, bus));
        }
        for (node, bus) in &nodes[1..] {
            let meet = format!("CLUSTER MEET 127.0.0.1 {} {bus}", node.port());
            assert_eq!(ask(nodes[0].0.port(), &meet), "+OK");
        }
        let ports: Vec<u16> = nodes.iter().map(|(node, _)| node.port()).collect();
        until("the cluster is up", || {
            let is_up = |port: &u16| {
                let info = ask_all(*port, "CLUSTER INFO");
                info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
            };
            ports.iter().all(is_up)
        });
        Some(Self { ports, _nodes: nodes.into_iter().map(|(node, _)| node).collect() })
    }

    fn port_of(&self, key: &str) -> u16 {
        let slot = usize::from(hash_slot(key.as_bytes()));
        let at = (0..NODES).find(|at| slot < SLOTS * (at + 1) / NODES).expect("one has it");
        self.ports[at]
    }
}

/// Changes as a cluster knows them, and transactions of several slots, as it does not.
fn change_anywhere(rng: &mut Rng) -> String {
    let (key, number) = (rng.below(300), rng.below(1000));
    match rng.below(11) {
        0 => format!("SET s{key} {number}"),
        1 => format!("INCR n{key}"),
        2 => format!("RPUSH l{key} {number} x{number}"),
        3 => format!("LPOP l{key}"),
        4 => format!("HSET h{key} f{number} {number}"),
        5 => format!("ZADD z{key} {number} m{number}"),
        6 => format!("XADD x{key} MAXLEN ~ 20 * f {number}"),
        7 => format!("DEL s{key} l{} n{number}", number % 300),
        8 => format!("MULTI\r\nINCR n{key}\r\nRPUSH l{number} {key}\r\nINCR n{number}\r\nEXEC"),
        9 => format!("RENAME {{t{key}}}a {{t{key}}}b\r\nSET {{t{key}}}a {number}"),
        _ => format!("MSET s{key} 1 s{number} 2"),
    }
}

fn check_cluster(name: &'static str) {
    let folder = Folder::new(&format!("cluster-{name}"));
    let Some(cluster) = Cluster::start(name, &folder) else { return };
    let source = start();
    let from = source.port;
    fill(from, true);
    let mut rng = Rng::from_seed(8);
    let mut change = move || {
        let lines: Vec<String> = (0..20).map(|_| change_anywhere(&mut rng)).collect();
        ask_all(from, &lines.join("\r\n"));
    };
    (0..50).for_each(|_| change());
    let load = Load::start(change);
    let said = moves(from, cluster.ports[1], &["--pause-max", "10s"]);
    load.stop();
    assert!(said.contains("a cluster of 3"), "{said}");
    assert!(said.contains("transactions in parts"), "{said}");
    let mut here = Peer::connect("toril", from);
    let mut there: Vec<Peer> =
        cluster.ports.iter().map(|port| Peer::connect(name, *port)).collect();
    let Reply::Array(keys) = here.say("KEYS *") else { panic!("there are keys") };
    let counts = there.iter_mut().map(|it| it.say("DBSIZE"));
    let count: i64 = counts.map(|it| if let Reply::Integer(it) = it { it } else { 0 }).sum();
    assert_eq!(count, keys.len() as i64);
    for key in keys.iter().filter_map(Reply::text) {
        let key = String::from_utf8(key).expect("it is text");
        let at = cluster.ports.iter().position(|it| *it == cluster.port_of(&key));
        let there = &mut there[at.expect("one has it")];
        assert_eq!(here.read(&key), there.read(&key), "{key}");
        assert_eq!(here.read_expiries(&key), there.read_expiries(&key), "{key}");
        assert_eq!(
            here.say(&format!("PEXPIRETIME {key}")),
            there.say(&format!("PEXPIRETIME {key}"))
        );
    }
}

#[test]
fn a_cluster_of_valkey_takes_over() {
    check_cluster("valkey");
}

#[test]
fn what_cannot_move_is_named_before() {
    let Some(valkey) = oracle("valkey") else { return };
    let folder = Folder::new("refusals");
    let target = Peer::start_in("valkey", &valkey, &folder.0);
    let (source, to) = (start(), target.port());
    let from = source.port;
    ask(from, "SET a 1");
    ask(to, "SET other 1");
    let holds = "cannot move: the target holds 1 keys: empty it, or say --replace, which does so";
    check_refused(from, to, &[], &[holds]);
    assert_eq!(ask(to, "GET other"), "$1");
    ask(to, "FLUSHALL");

    ask(to, "CONFIG SET maxmemory 10mb");
    ask(from, "DEBUG POPULATE 100000 p 200");
    check_refused(from, to, &[], &["left of its maxmemory, and this takes about"]);
    ask(from, "FLUSHALL");
    ask(to, "CONFIG SET maxmemory 0");
    ask(to, "CONFIG SET maxmemory-policy allkeys-lru");
    ask(from, "SET a 1");
    let (said, _) = run(hand_over(from, to, &["--dry-run"]));
    assert!(said.contains("note: the target's maxmemory-policy is allkeys-lru"), "{said}");
    assert!(said.ends_with("all of it can move; nothing was written (--dry-run)\n"), "{said}");
    assert_eq!(ask(to, "DBSIZE"), ":0");

    ask(to, "CONFIG SET proto-max-bulk-len 1mb");
    ask(from, "SETRANGE large 2000000 x");
    let large =
        "the key 'large' has a value of 2000001 bytes, and the target takes 1048576 at most";
    check_refused(from, to, &[], &[large]);
    ask(from, "DEL large");
    ask(to, "CONFIG SET proto-max-bulk-len 512mb");

    let guarded = Running::start(&["--save", ""]);
    ask(guarded.port, "SET a 1");
    let (said, status) = run(hand_over(guarded.port, to, &["--dry-run", "--verify"]));
    assert!(said.contains("cannot move: --verify: ") && said.contains("DEBUG"), "{said}");
    assert_eq!(status, Some(1), "{said}");

    drop(target);
    // Nobody is there.
    let (said, status) = run(hand_over(from, to, &[]));
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("refused"), "{said}");
}

#[test]
fn who_may_not_or_follows_takes_nothing() {
    let Some(valkey) = oracle("valkey") else { return };
    let folder = Folder::new("rights");
    let target = Peer::start_in("valkey", &valkey, &folder.0);
    let (source, to) = (start(), target.port());
    let from = source.port;
    ask(from, "SET a 1");
    ask(to, "ACL SETUSER weak on >secret ~* +@all -restore");
    let url = format!("redis://weak:secret@127.0.0.1:{to}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_toril"));
    let from_url = format!("redis://127.0.0.1:{from}");
    command.args(["hand-over", "--from", &from_url, "--dry-run", &url]);
    let (said, status) = run(command);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("cannot move: the target's user 'weak' may not RESTORE"), "{said}");
    assert!(!said.contains("secret"), "{said}");

    let leader = start();
    ask(to, &format!("REPLICAOF 127.0.0.1 {}", leader.port));
    let follows = format!("cannot move: the target is a replica of 127.0.0.1:{}", leader.port);
    check_refused(from, to, &[], &[&follows]);
}

#[test]
fn what_a_cluster_cannot_hold_is_named_before() {
    let folder = Folder::new("cluster-refusals");
    let Some(cluster) = Cluster::start("valkey", &folder) else { return };
    let source = start();
    let (from, to) = (source.port, cluster.ports[0]);
    ask(from, "HSET bull:mail:meta version bullmq:5.1 opts.maxLenEvents 10000");
    ask(from, "RPUSH bull:mail:wait 1 2");
    ask(from, "HSET {bull}:tagged:meta version bullmq:5.1");
    ask_all(from, "SELECT 3\r\nMSET a 1 b 2");
    let expect = [
        "cannot move: 2 keys lie in database 3, and a cluster has database 0 alone",
        "cannot move: BullMQ's queue bull:mail (2 keys) has no hash tag, so that its keys would \
         lie in several slots: move it to the prefix {bull} first",
    ];
    check_refused(from, to, &[], &expect);
    check_refused(from, to, &["--forward", "1m"], &["--forward: a cluster's clients"]);
    assert!(!run(hand_over(from, to, &["--dry-run"])).0.contains("tagged"));
}

#[test]
fn an_old_target_lacks_ttls_of_fields() {
    let Some(program) = oracle("redis-7.0") else { return };
    let folder = Folder::new("old");
    let target = Peer::start_in("redis-7.0", &program, &folder.0);
    let source = start();
    fill(source.port, true);
    let lacks = "cannot move: 1 hashes have fields with a TTL, which Redis 7.0";
    check_refused(source.port, target.port(), &[], &[lacks]);
}

/// Whoever pauses writes and goes, by whatever end, has changed nothing.
#[test]
fn writes_go_on_when_who_takes_over_has_gone() {
    let source = start();
    let mut taker = Peer::connect("toril", source.port);
    assert!(matches!(taker.say("TORIL HANDOVER PAUSE 20000"), Reply::Integer(_)));
    let port = source.port;
    let write = std::thread::spawn(move || ask(port, "SET k v"));
    std::thread::sleep(Duration::from_millis(200));
    assert!(!write.is_finished(), "writes are held back");
    drop(taker);
    let began = Instant::now();
    assert_eq!(write.join().expect("it is answered"), "+OK");
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_move_that_is_killed_can_be_begun_again() {
    let Some(program) = oracle("redis-7.4") else { return };
    let folder = Folder::new("killed");
    let target = Peer::start_in("redis-7.4", &program, &folder.0);
    let source = start();
    let (from, to) = (source.port, target.port());
    ask(from, "DEBUG POPULATE 200000 p 100");
    let child = hand_over(from, to, &[]).stderr(Stdio::null()).spawn().expect("it starts");
    let child = Guarded(child);
    until("it writes", || ask(to, "DBSIZE") != ":0");
    drop(child);
    assert_ne!(ask(to, "DBSIZE"), ":200000", "it was killed half-way");
    for _ in 0..6 {
        let mut again = hand_over(from, to, &["--replace"]);
        let child = Guarded(again.stderr(Stdio::null()).spawn().expect("it starts"));
        std::thread::sleep(Duration::from_millis(100));
        drop(child);
    }
    assert_eq!(ask(from, "SET k v"), "+OK");
    let said = moves(from, to, &["--replace", "--verify"]);
    assert!(said.contains("keys are removed (--replace)"), "{said}");
    assert_eq!(ask(from, "DEBUG DIGEST"), ask(to, "DEBUG DIGEST"));
}

/// Scores are digested as they are printed, and some have more digits than they need.
#[test]
fn scores_with_fractions_are_verified() {
    let Some(program) = oracle("redis-7.4") else { return };
    let folder = Folder::new("fractions");
    let target = Peer::start_in("redis-7.4", &program, &folder.0);
    let source = start();
    let (from, to) = (source.port, target.port());
    fill(from, false);
    ask(from, "ZADD known 72347.4181319329 a 1700000000000 b");
    let script = "for i = 1, 20000 do redis.call('zadd', KEYS[1], math.random() * i, i) end";
    ask(from, &format!("EVAL \"{script}\" 1 random"));
    moves(from, to, &["--verify"]);
}

#[test]
fn a_target_that_dies_changes_nothing() {
    let Some(program) = oracle("redis-7.4") else { return };
    let folder = Folder::new("dies");
    let target = Peer::start_in("redis-7.4", &program, &folder.0);
    let source = start();
    let (from, to) = (source.port, target.port());
    ask(from, "DEBUG POPULATE 200000 p 100");
    let mover = hand_over(from, to, &[]).stderr(Stdio::piped()).spawn().expect("it starts");
    until("it writes", || ask(to, "DBSIZE") != ":0");
    target.kill();
    let Output { status, stderr, .. } = mover.wait_with_output().expect("it ends");
    assert_eq!(status.code(), Some(1), "{}", String::from_utf8_lossy(&stderr));
    assert_eq!(ask(from, "SET k v"), "+OK");
}

/// Stands before a server. Of the connection on which a word is said for the nth time nothing more
/// comes back, and what is said goes on or not.
fn stand_before(server: u16, word: &'static str, nth: usize, goes_on: bool) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a port");
    let port = listener.local_addr().expect("it is bound").port();
    let said = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.expect("it comes");
            let mut there = TcpStream::connect(("127.0.0.1", server)).expect("it listens");
            let (mut back, mut from) = (client.try_clone().unwrap(), there.try_clone().unwrap());
            let (said, is_mute) = (said.clone(), Arc::new(AtomicBool::new(false)));
            let mute = is_mute.clone();
            std::thread::spawn(move || {
                let mut block = [0; 65_536];
                while let Ok(len @ 1..) = from.read(&mut block) {
                    if !mute.load(Ordering::SeqCst) && back.write_all(&block[..len]).is_err() {
                        return;
                    }
                }
            });
            std::thread::spawn(move || {
                let mut block = [0; 65_536];
                while let Ok(len @ 1..) = client.read(&mut block) {
                    let is_said = block[..len].windows(word.len()).any(|it| it == word.as_bytes());
                    if is_said && said.fetch_add(1, Ordering::SeqCst) + 1 == nth {
                        is_mute.store(true, Ordering::SeqCst);
                    }
                    let is_stopped = is_mute.load(Ordering::SeqCst) && !goes_on;
                    if !is_stopped && there.write_all(&block[..len]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

/// A server that says nothing any more in the pause does not hold up who waits for longer than was
/// said; and what is not known is not claimed.
#[test]
fn silence_in_the_pause_is_waited_for_as_long_as_was_said() {
    let Some(program) = oracle("redis-7.4") else { return };
    for (name, word, nth) in [("target", "keyspace", 2), ("source", "DONE", 1)] {
        let folder = Folder::new(&format!("silence-{name}"));
        let target = Peer::start_in("redis-7.4", &program, &folder.0);
        let source = start();
        ask(source.port, "SET a 1");
        let (mut from, mut to) = (source.port, target.port());
        match name {
            "target" => to = stand_before(to, word, nth, false),
            _ => from = stand_before(from, word, nth, true),
        }
        let began = Instant::now();
        let (said, status) = run(hand_over(from, to, &["--pause-max", "1s"]));
        assert!(began.elapsed() < Duration::from_secs(20), "{name}: {said}");
        assert_eq!(status, Some(1), "{name}: {said}");
        assert!(said.contains("somebody has said nothing for 1500 ms; "), "{name}: {said}");
        let info = ask_all(source.port, "INFO replication");
        let has_moved = info.contains(&format!("handed_over_to:127.0.0.1:{to}"));
        assert_eq!(has_moved, name == "source", "{name}: {info}");
        let expect = if has_moved { "has handed over is not known" } else { "goes on as before" };
        assert!(said.contains(expect), "{name}: {said}");
        assert_eq!(ask(source.port, "SET a 2") == "+OK", !has_moved, "{name}");
    }
}

/// What is told beforehand is kept: for a while new connections come to the new server.
#[test]
fn new_connections_are_carried_over_for_a_while() {
    let Some(program) = oracle("valkey") else { return };
    let folder = Folder::new("forward");
    let target = Peer::start_in("valkey", &program, &folder.0);
    let source = start();
    let (from, to) = (source.port, target.port());
    ask(from, "SET k v");
    let mut open = Peer::connect("valkey", from);
    open.say("SELECT 2");
    open.say("SET in2 v");
    open.say("CLIENT SETNAME me");
    let mut waits = TcpStream::connect(("127.0.0.1", from)).expect("it listens");
    waits.write_all(b"BLPOP list 0\r\nPING\r\n").expect("it reads");
    let mut subscriber = Peer::connect("toril", from);
    subscriber.say("SUBSCRIBE c");
    let connect = || TcpStream::connect(("127.0.0.1", from)).expect("it listens");
    let (mut quiet, mut patient, asked) = (connect(), connect(), Instant::now());
    quiet.write_all(b"CLIENT REPLY OFF\r\nSET quiet 1\r\n").expect("it reads");
    patient.write_all(b"BLPOP nothing 6\r\n").expect("it reads");
    std::thread::sleep(Duration::from_secs(3));
    moves(from, to, &["--forward", "3s"]);
    let answer_of = |stream: &mut TcpStream, expect: &str| {
        let mut answer = vec![0; expect.len()];
        stream.set_read_timeout(Some(PATIENCE)).expect("it is more than nothing");
        stream.read_exact(&mut answer).expect("it is answered");
        assert_eq!(String::from_utf8_lossy(&answer), expect);
    };
    // Who wants no answers gets none there either, until it does.
    quiet.write_all(b"INCR quiet\r\nCLIENT REPLY ON\r\nGET quiet\r\n").expect("it reads");
    answer_of(&mut quiet, "+OK\r\n$1\r\n2\r\n");
    // Who was in the middle of nothing has noticed nothing.
    assert_eq!(open.say("GET in2"), Reply::Bulk("v".into()));
    assert_eq!(open.say("CLIENT GETNAME"), Reply::Bulk("me".into()));
    let info = open.say("INFO server").text().expect("it is text");
    assert!(String::from_utf8_lossy(&info).contains("valkey_version"));
    assert_eq!(ask(to, "RPUSH list x"), ":1");
    let mut answer = [0; 28];
    waits.set_read_timeout(Some(PATIENCE)).expect("it is more than nothing");
    waits.read_exact(&mut answer).expect("it is answered");
    assert_eq!(&answer, b"*2\r\n$4\r\nlist\r\n$1\r\nx\r\n+PONG\r\n");
    assert!(ask_all(from, "INFO server").contains("valkey_version"));
    let mut carried = Peer::connect("valkey", from);
    assert_eq!(carried.say("SET k w"), Reply::Simple("OK".into()));
    assert_eq!(ask(to, "GET k"), "$1");
    let deadline = Instant::now() + PATIENCE;
    while !ask(from, "SET k x").starts_with("-READONLY") {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(50));
    }
    // Who came in time stays.
    assert_eq!(carried.say("GET k"), Reply::Bulk("x".into()));
    answer_of(&mut patient, "*-1\r\n");
    // Had its time begun anew, it had waited for some nine seconds.
    assert!((5.9..8.5).contains(&asked.elapsed().as_secs_f64()), "{:?}", asked.elapsed());
}

/// Whoever may not do everything at the old server must not come to that at the new one.
#[test]
fn who_is_limited_is_not_carried_over_as_somebody_else() {
    let Some(program) = oracle("redis-7.4") else { return };
    for asks in [false, true] {
        let folder = Folder::new("limited");
        let mut target = Peer::start_in("redis-7.4", &program, &folder.0);
        let source = start();
        let (from, to) = (source.port, target.port());
        ask(from, "SET secret v");
        ask(from, "SET app:1 v");
        assert_eq!(ask(from, "ACL SETUSER admin on >ad ~* &* +@all"), "+OK");
        assert_eq!(ask(from, "ACL SETUSER default reset on nopass ~app:* &* +@read +ping"), "+OK");
        if asks {
            target.say("CONFIG SET requirepass pw");
        }
        let mut open = TcpStream::connect(("127.0.0.1", from)).expect("it listens");
        open.write_all(b"GET app:1\r\n").expect("it reads");
        let login = if asks { ":pw@" } else { "" };
        let mut command = Command::new(env!("CARGO_BIN_EXE_toril"));
        let from_url = format!("redis://admin:ad@127.0.0.1:{from}");
        command.args(["hand-over", "--from", &from_url, "--forward", "1m"]);
        command.arg(format!("redis://{login}127.0.0.1:{to}"));
        let (said, status) = run(command);
        assert_eq!(status, Some(0), "{said}");
        // It was closed rather than carried over.
        let mut said = String::new();
        open.read_to_string(&mut said).expect("it is text");
        assert_eq!(said, "$1\r\nv\r\n");
        let mut stream = TcpStream::connect(("127.0.0.1", from)).expect("it listens");
        stream.write_all(b"GET secret\r\nFLUSHALL\r\nQUIT\r\n").expect("it reads");
        let mut said = String::new();
        stream.read_to_string(&mut said).expect("it is text");
        let refused = if asks { "-NOAUTH" } else { "-NOPERM" };
        assert_eq!(said.lines().filter(|line| line.starts_with(refused)).count(), 2, "{said}");
    }
}

/// A Redis is copied while it changes, and goes on.
#[test]
fn a_redis_is_copied() {
    let (Some(redis), Some(valkey)) = (oracle("redis-7.4"), oracle("valkey")) else { return };
    let folders = [Folder::new("copied"), Folder::new("copy")];
    let at_once = ["--repl-diskless-sync-delay", "0"];
    let source = Peer::start_with("redis-7.4", &redis, &folders[0].0, &at_once);
    let target = Peer::start_in("valkey", &valkey, &folders[1].0);
    let (from, to) = (source.port(), target.port());
    fill(from, true);
    let leaves_out = "--verify: Valkey's DEBUG DIGEST leaves out that fields have TTLs";
    check_refused(from, to, &["--verify"], &[leaves_out]);
    ask(from, "DEL timed");
    let (said, status) = run(hand_over(from, to, &[]));
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("is no toril"), "{said}");
    let said = moves(from, to, &["--copy", "--verify"]);
    assert!(said.contains("it is a copy"), "{said}");
    assert_eq!(ask(from, "SET k v"), "+OK");
}
