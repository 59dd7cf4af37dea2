//! What outlives the process: snapshots of one moment while everything changes, files that other
//! servers read and theirs, what stops a server and what does not.
//!
//! `TORIL_SAVE_SEEDS` says how many seeds.

mod common;

use common::facts::FixedFacts;
use common::peer::{ORACLES, Peer};
use common::program::{Folder, Running, ask, ask_all, toril, until};
use common::reply::Reply;
use common::tcp::oracle;
use rustix::process::Signal;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;
use toril::command::table::table;
use toril::config::Config;
use toril::engine::Engine;
use toril::engine::client::{ClientId, Peer as ClientPeer};
use toril::engine::effect::{Effect, Outcome};
use toril::engine::keyspace::SavingStep;
use toril::engine::persistence::SnapshotKind;
use toril::engine::time::Now;
use toril::persist::{LoadOptions, Loader};
use toril::proto::Args;
use toril::rdb::crc64;
use toril::util::rng::Rng;

const START: Now = Now::new(1_800_000_000_000, 1_000_000);

/// An engine and a client of it.
struct World {
    engine: Engine,
    client: ClientId,
    now: Now,
}

impl World {
    fn new() -> Self {
        let lines = "enable-debug-command yes\ncompact-idle-after 1\n";
        let (config, _) = Config::from_lines(lines, &mut |_| unreachable!("nothing is included"))
            .expect("good lines");
        let mut engine = Engine::new(table(), config, Box::new(FixedFacts::default()), START);
        let client = engine.connect(ClientPeer::inside(), START);
        Self { engine, client, now: START }
    }

    fn say(&mut self, line: &str) -> Vec<u8> {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        self.engine.run(self.client, Args::new(&words), self.now);
        for effect in self.engine.take_effects() {
            if let Effect::Save { client } = effect {
                self.engine.answer(client, Outcome::Done, self.now);
            }
        }
        self.engine.take_output(self.client)
    }

    fn pass(&mut self, millis: u64) {
        self.now.wall_ms += millis as i64;
        self.now.mono_us += millis * 1000;
        self.engine.tick(self.now);
    }

    /// Keys go for want of memory, some or all of them. Returns how many.
    fn evict(&mut self) -> usize {
        let count = |world: &mut Self| -> usize {
            let size = String::from_utf8_lossy(&world.say("DBSIZE")).into_owned();
            size[1..].trim_end().parse().expect("a number")
        };
        let before = count(self);
        self.say("CONFIG SET maxmemory-policy allkeys-random");
        self.say("CONFIG SET maxmemory 1");
        self.say("SET one-more 1");
        self.pass(1);
        self.say("CONFIG SET maxmemory 0");
        before.saturating_sub(count(self))
    }

    fn digest(&mut self) -> String {
        String::from_utf8_lossy(&self.say("DEBUG DIGEST")).into_owned()
    }

    /// What another server that reads these bytes has.
    fn digest_of(file: &[u8]) -> String {
        let mut other = Self::new();
        let mut blocks = file.chunks(1_000).map(<[u8]>::to_vec).chain([Vec::new()]);
        let options = LoadOptions { keeps_expired: true, ..LoadOptions::default() };
        let mut loader = Loader::new(options);
        let next = || Ok(blocks.next().expect("an empty one ends it"));
        loader.read_whole(&mut other.engine, next).expect("it is a good file");
        other.digest()
    }
}

/// One change of any kind.
fn change(rng: &mut Rng) -> String {
    let key = |rng: &mut Rng| {
        ["q:", "some text "][rng.below(2)].trim().to_owned() + &rng.below(40).to_string()
    };
    let (one, other, number) = (key(rng), key(rng), rng.below(1000));
    let one = one.replace(' ', "_");
    let other = other.replace(' ', "_");
    match rng.below(27) {
        0..4 => format!("SET {one} {number}"),
        4 => format!("DEL {one}"),
        5 => format!("RPUSH {one} a {number}"),
        6 => format!("LPOP {one}"),
        7..9 => format!("HSET {one} f{number} {number} g {}", "x".repeat(number)),
        9 => format!("HDEL {one} g"),
        10 => format!("SADD {one} {number}"),
        11 => format!("ZADD {one} {number} a {number} b{number}"),
        12 => format!("XADD {one} * f {number}"),
        13 => format!("PEXPIRE {one} {number}"),
        14 => format!("PERSIST {one}"),
        15 => format!("RENAME {one} {other}"),
        16 => format!("COPY {one} {other} REPLACE"),
        17 => format!("MOVE {one} {}", rng.below(3)),
        18 => format!("SELECT {}", rng.below(3)),
        19 if rng.below(6) == 0 => "FLUSHDB".into(),
        20 if rng.below(6) == 0 => format!("SWAPDB 0 {}", rng.below(3)),
        21 => format!("APPEND {one} {number}"),
        22 => format!("HPEXPIRE {one} {number} FIELDS 1 g"),
        23 => format!("GET {one}"),
        25 => format!("SORT {one} BY nosort STORE {other}"),
        24 => format!(
            "EVAL redis.call('DEL',KEYS[1])redis.call('SET',KEYS[1],ARGV[1]) 1 {one} {number}"
        ),
        _ => format!("SINTERSTORE {one} {other} {other}"),
    }
}

/// Members of a large value: as many as make a tree or a table of it, and half as many again.
const MANY: usize = 600;

/// A change of large values, of which there are a few of each type.
fn large_change(rng: &mut Rng) -> String {
    let key = |rng: &mut Rng, kind: &str| format!("large:{kind}:{}", rng.below(3));
    let kinds = ["zset", "hash", "set", "list", "stream"];
    let fills = [
        "'ZADD',KEYS[1],i*7%n,'m'..i",
        "'HSET',KEYS[1],'m'..i,i",
        "'SADD',KEYS[1],'m'..i",
        "'RPUSH',KEYS[1],'m'..i",
        "'XADD',KEYS[1],'*','f',i",
    ];
    let (kind, number) = (rng.below(kinds.len()), rng.below(MANY));
    let (one, other) = (key(rng, kinds[kind]), key(rng, kinds[kind]));
    match rng.below(16) {
        0 => {
            let script = format!("local@n={MANY}@for@i=1,n@do@redis.call({})end", fills[kind]);
            format!("EVAL {} 1 {one}", script.replace('@', "\t"))
        }
        1 => format!("RENAME {one} {other}"),
        2 => format!("COPY {one} {other} REPLACE"),
        3 => format!("MOVE {one} {}", rng.below(3)),
        4 if rng.below(4) == 0 => format!("DEL {one}"),
        5 if rng.below(12) == 0 => "FLUSHDB".into(),
        6 if rng.below(6) == 0 => format!("SWAPDB 0 {}", rng.below(3)),
        7 => format!("SELECT {}", rng.below(3)),
        8 if rng.below(6) == 0 => format!("PEXPIRE {one} {number}"),
        more => match (kinds[kind], more % 4) {
            ("zset", 0) => format!("ZADD {one} {number} m{number} -1 m1 {number} new{number}"),
            ("zset", 1) => format!("ZINCRBY {one} 300 m{number}"),
            ("zset", 2) => format!("ZREM {one} m{number} m{}", rng.below(MANY)),
            ("zset", _) => format!("ZREMRANGEBYRANK {one} {number} {}", number + rng.below(80)),
            ("hash", 0) => format!("HSET {one} m{number} changed new{number} 1"),
            ("hash", 1) => format!("HINCRBY {one} m{number} 1"),
            ("hash", 2) => match rng.below(4) {
                0 => format!("HPEXPIRE {one} {number} FIELDS 1 m{number}"),
                1 => format!("HPEXPIRE {one} 100{number} FIELDS 2 m{number} m1"),
                2 => format!("HPERSIST {one} FIELDS 2 m{number} m1"),
                _ => format!("HSETEX {one} KEEPTTL FIELDS 1 m{number} kept"),
            },
            ("hash", _) => format!("HDEL {one} m{number} m{} new{number}", rng.below(MANY)),
            ("set", 0) => format!("SADD {one} m{number} new{number}"),
            ("set", 1) => format!("SREM {one} m{number} m{}", rng.below(MANY)),
            ("set", 2) => format!("SPOP {one} {number}"),
            ("set", _) => format!("SMOVE {one} {other} m{number}"),
            ("list", 0) => format!("LINSERT {one} BEFORE m{number} between"),
            ("list", 1) => format!("LREM {one} 0 m{number}"),
            ("list", 2) => format!("LMOVE {one} {other} LEFT RIGHT"),
            ("list", _) => format!("LTRIM {one} {} -2", rng.below(40)),
            (_, 0) => format!("XADD {one} * f {number}"),
            (_, _) => format!("XTRIM {one} MAXLEN {number}"),
        },
    }
}

/// One change, mostly of large values where those are saved piece by piece.
fn any_change(rng: &mut Rng, has_large: bool) -> String {
    if has_large && rng.below(4) > 0 { large_change(rng) } else { change(rng) }
}

/// dragonfly #8153: what a growing table moved behind the walk was missing, and nobody was told.
/// garnet #2127: a place that was used again meanwhile had a key that could be listed and not read.
#[test]
fn a_snapshot_is_of_one_moment_whatever_changes_meanwhile() {
    let seeds = std::env::var("TORIL_SAVE_SEEDS").map_or(150, |it| it.parse().expect("a number"));
    let mut evicted = 0;
    for seed in 0..seeds {
        let mut rng = Rng::from_seed(seed);
        let mut world = World::new();
        let has_large = rng.below(2) == 0;
        if has_large {
            world.engine.keyspace.saved_at_once_max = rng.below(200);
        }
        for _ in 0..rng.below(300) {
            world.say(&any_change(&mut rng, has_large));
        }
        // Some values rest.
        if rng.below(2) == 0 {
            world.pass(3_000);
            for _ in 0..500 {
                world.engine.work_while_idle(world.now);
            }
        }
        let before = world.digest();
        world.engine.begin_saving(SnapshotKind::Aside);
        let mut file = Vec::new();
        let keys_max = if has_large { 1 + rng.below(100) } else { 1 + rng.below(8) };
        let changes = rng.below(12);
        let step = SavingStep { keys_max, bytes_max: 1 + rng.below(2_000) };
        loop {
            let is_done = world.engine.keyspace.save_some(step);
            file.extend(world.engine.keyspace.take_saved());
            if is_done {
                break;
            }
            for _ in 0..rng.below(changes + 1) {
                world.say(&any_change(&mut rng, has_large));
            }
            // dragonfly #8128: keys that were evicted were missing from what was saved.
            if rng.below(8) == 0 {
                evicted += world.evict();
            }
            world.pass(rng.below(40) as u64);
        }
        world.engine.end_saving(true, world.now);
        file.extend(crc64(0, &file).to_le_bytes());
        assert_eq!(World::digest_of(&file), before, "seed {seed}");
    }
    assert!(evicted > 0, "something is evicted");
}

#[test]
fn a_file_that_is_cut_or_changed_is_refused_and_repaired() {
    let mut world = World::new();
    for request in ["SET a 1", "RPUSH b 1 2", "HSET c f v", "SELECT 1", "ZADD d 1 a"] {
        world.say(request);
    }
    let mut file = Vec::new();
    let saved: Result<(), ()> = world.engine.save_whole(SnapshotKind::Alone, |bytes| {
        file.extend_from_slice(bytes);
        Ok(())
    });
    saved.unwrap();
    file.extend(crc64(0, &file).to_le_bytes());
    let load = |bytes: &[u8], repairs: bool| {
        let mut other = World::new();
        let mut loader = Loader::new(LoadOptions { repairs, ..LoadOptions::default() });
        let mut blocks = [bytes.to_vec(), Vec::new()].into_iter();
        let read = loader.read_whole(&mut other.engine, || Ok(blocks.next().unwrap_or_default()));
        (read, other.engine.keyspace.len())
    };
    assert_eq!(load(&file, false), (Ok(()), 4));
    for len in 0..file.len() {
        let (read, _) = load(&file[..len], false);
        let problem = read.expect_err("it is cut");
        let is_told = ["was cut", "is empty"].iter().any(|words| problem.contains(words));
        assert!(is_told, "cut at {len}: {problem}");
        let (read, keys) = load(&file[..len], true);
        assert_eq!(read.is_ok(), keys > 0, "cut at {len}");
    }
    for at in 0..file.len() {
        let mut bytes = file.clone();
        bytes[at] ^= 0x55;
        // A checksum of eight zeroes would be none.
        load(&bytes, false).0.expect_err("some byte is another one");
    }
    // What stands behind is none of its business, as in Redis.
    assert_eq!(load(&[&file[..], b"more"].concat(), false), (Ok(()), 4));
}

fn start(folder: &Folder, more: &[&str]) -> Running {
    let args = ["--dir", folder.text(), "--enable-debug-command", "yes"];
    Running::start(&[&args[..], more].concat())
}

#[test]
fn a_rule_that_is_set_later_saves_as_well() {
    let folder = Folder::new("later-rule");
    let server = start(&folder, &["--save", ""]);
    for saves in ["1", "2"] {
        assert_eq!(ask(server.port, "CONFIG SET save \"1 1\""), "+OK");
        assert_eq!(ask(server.port, "SET k v"), "+OK");
        let told = format!("rdb_saves:{saves}");
        until("it is saved", || ask_all(server.port, "INFO persistence").contains(&told));
        assert_eq!(ask(server.port, "CONFIG SET save \"\""), "+OK");
    }
}

#[test]
fn a_signal_saves_by_the_rules_and_the_next_start_has_all() {
    let folder = Folder::new("signal");
    let server = start(&folder, &["--save", "3600 1"]);
    assert_eq!(ask(server.port, "SET k v"), "+OK");
    server.stop();
    assert!(folder.0.join("dump.rdb").exists());
    let server = start(&folder, &[]);
    assert_eq!(ask(server.port, "GET k"), "$1");
    // Without rules it leaves nothing behind.
    std::fs::remove_file(folder.0.join("dump.rdb")).expect("it is there");
    server.stop();
    assert!(!folder.0.join("dump.rdb").exists());
}

#[test]
fn a_signal_whose_save_fails_does_not_end_it() {
    let folder = Folder::new("cannot");
    let server = start(&folder, &["--save", "3600 1"]);
    ask(server.port, "SET k v");
    let dump = folder.0.join("dump.rdb");
    std::fs::create_dir(&dump).expect("there is room");
    server.signal(Signal::TERM);
    // Longer than a server has to notice a signal.
    std::thread::sleep(Duration::from_millis(1_200));
    assert_eq!(ask(server.port, "PING"), "+PONG");
    let left = std::fs::read_dir(&folder.0).expect("it is there").count();
    assert_eq!(left, 1, "what was written beside is gone");
    std::fs::remove_dir(&dump).expect("it is empty");
    server.stop();
    assert!(dump.is_file());
}

#[test]
fn a_snapshot_that_another_takes_the_place_of_writes_to_no_file_of_its() {
    let folder = Folder::new("instead");
    for round in 0..3 {
        let server = start(&folder, &["--save", "3600 1"]);
        let size = 200 + round;
        ask(server.port, "FLUSHALL");
        ask(server.port, &format!("DEBUG POPULATE 60000 k{round} {size}"));
        let digest = ask(server.port, "DEBUG DIGEST");
        assert!(ask(server.port, "BGSAVE").starts_with("+Background saving started"));
        // Some blocks are on their way to the disk.
        std::thread::sleep(Duration::from_millis(20 * round));
        server.stop();
        let server = start(&folder, &[]);
        assert_eq!(ask(server.port, "DEBUG DIGEST"), digest, "round {round}");
        server.stop();
        let left: Vec<_> = std::fs::read_dir(&folder.0)
            .expect("it is there")
            .map(|entry| entry.expect("it is there").file_name())
            .filter(|name| *name != "dump.rdb")
            .collect();
        assert!(left.len() <= 1, "{left:?}");
        for name in left {
            std::fs::remove_file(folder.0.join(name)).expect("the process ended before it was");
        }
    }
}

/// As if it forked: what stands behind it in a pipeline is not in the file. That of a transaction
/// begins behind the transaction.
#[test]
fn a_snapshot_is_of_the_moment_of_its_command() {
    let ours = Path::new(env!("CARGO_BIN_EXE_toril")).to_owned();
    for (name, program) in [("redis-7.4", oracle("redis-7.4")), ("toril", Some(ours))] {
        let Some(program) = program else { continue };
        for (requests, expect) in [
            ("SET a 1\r\nBGSAVE\r\nSET a 2\r\nSET b 2\r\n", ["1", "(nil)"]),
            ("MULTI\r\nSET a 3\r\nBGSAVE\r\nSET a 4\r\nSET b 4\r\nEXEC\r\n", ["4", "4"]),
        ] {
            let folder = Folder::new(&format!("moment-{name}"));
            let mut peer = Peer::start_in(name, &program, &folder.0);
            ask_all(peer.port(), requests.trim_end());
            // Redis counts a save when it begins.
            until("it is saved", || {
                let info = ask_all(peer.port(), "INFO persistence");
                ["rdb_saves:1", "rdb_bgsave_in_progress:0"].iter().all(|it| info.contains(it))
            });
            peer.say("DEBUG RELOAD NOSAVE");
            let read =
                |reply: Reply| reply.text().map(|it| String::from_utf8_lossy(&it).into_owned());
            let found = ["a", "b"].map(|key| read(peer.say(&format!("GET {key}"))));
            let found = found.map(|it| it.unwrap_or_else(|| "(nil)".to_owned()));
            assert_eq!(found, expect, "{name}: {requests}");
            peer.end();
        }
    }
}

#[test]
fn a_snapshot_that_the_end_comes_before_leaves_no_file() {
    let folder = Folder::new("persistence-unfinished");
    let server = start(&folder, &[]);
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).expect("it listens");
    let requests = b"SET key value\r\nBGSAVE\r\nSHUTDOWN NOSAVE\r\n";
    stream.write_all(requests).expect("it reads");
    assert_eq!(server.end().1, Some(0));
    let files = std::fs::read_dir(&folder.0).expect("it is a folder");
    let names: Vec<_> = files.map(|file| file.expect("it is there").file_name()).collect();
    assert!(names.iter().all(|name| name == "dump.rdb"), "{names:?}");
}

#[test]
fn a_signal_in_the_middle_of_a_script_saves_behind_it() {
    let folder = Folder::new("script");
    let server = start(&folder, &["--save", "3600 1", "--lua-time-limit", "5"]);
    let port = server.port;
    let script = "local n = 0 for i = 1, 4e7 do n = n + 1 end redis.call('SET', 'k', 'v') return n";
    let request = format!("EVAL \"{script}\" 0");
    let busy = std::thread::spawn(move || ask(port, &request));
    until("the script runs", || ask(port, "GET k").starts_with("-BUSY"));
    server.stop();
    let _ = busy.join();
    let server = start(&folder, &[]);
    assert_eq!(ask(server.port, "GET k"), "$1");
}

#[test]
fn what_is_read_again_in_a_transaction_is_read() {
    let folder = Folder::new("exec");
    let server = start(&folder, &[]);
    ask(server.port, "SET k v");
    let text = ask_all(server.port, "MULTI\r\nDEBUG RELOAD\r\nGET k\r\nEXEC");
    assert!(text.contains("*2\r\n+OK\r\n$1\r\nv\r\n"), "{text}");
}

#[test]
fn a_rule_saves_and_a_disk_that_fails_stops_writes_until_it_heals() {
    let folder = Folder::new("rule");
    let gone = folder.0.join("gone");
    std::fs::create_dir(&gone).expect("there is room");
    let server = start(&Folder(gone.clone()), &["--save", "1 1"]);
    ask(server.port, "SET k v");
    until("saving", || gone.join("dump.rdb").exists());
    std::fs::remove_dir_all(&gone).expect("it is there");
    ask(server.port, "SET k v");
    until("MISCONF", || {
        ask(server.port, "SET k v").starts_with("-MISCONF Redis is configured to save")
    });
    assert!(ask(server.port, "PING").starts_with("-MISCONF"));
    assert_eq!(ask(server.port, "GET k"), "$1");
    assert_eq!(ask(server.port, "SAVE"), "-ERR");
    assert!(
        ask(server.port, "SHUTDOWN").starts_with("-ERR Errors trying to SHUTDOWN. Check logs.")
    );
    std::fs::create_dir(&gone).expect("there is room");
    until("healing", || ask(server.port, "SET k w") == "+OK");
    server.stop();
}

#[test]
fn a_file_that_is_no_good_stops_the_start_and_says_what_would_help() {
    let folder = Folder::new("bad");
    let dump = folder.0.join("dump.rdb");
    let say = |args: &[&str]| {
        let args = [&["--dir", folder.text(), "--port", "0"], args].concat();
        let output = toril(&args).output().expect("the program starts");
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    std::fs::write(&dump, b"REDIS0012\xfe\x00\x00\x01k\x05short").expect("there is room");
    assert!(say(&[]).contains("it was cut"), "{}", say(&[]));
    std::fs::write(&dump, b"hello world").expect("there is room");
    assert!(say(&[]).contains("begins with 'hello wor': it is no file of RDB"), "{}", say(&[]));
    assert!(say(&["--load", "nosuch.rdb"]).contains("load nosuch.rdb: No such file"));
    let server = start(&folder, &["--load", "no"]);
    drop(server);
    assert!(dump.exists());
}

#[test]
fn other_servers_read_what_is_saved_and_the_other_way_round() {
    for name in ORACLES {
        let Some(program) = oracle(name) else {
            eprintln!("skipped: {name} is not installed");
            continue;
        };
        let seeds = 3;
        for seed in 0..seeds {
            let folder = Folder::new(&format!("exchange-{name}"));
            let mut theirs = Peer::start_in(name, &program, &folder.0);
            fill(&mut theirs, seed, name != "redis-7.0" && name != "valkey");
            let digest = theirs.say("DEBUG DIGEST");
            assert_eq!(theirs.say("SAVE"), Reply::Simple(b"OK".into()));
            drop(theirs);
            let mut ours =
                Peer::start_in("toril", Path::new(env!("CARGO_BIN_EXE_toril")), &folder.0);
            assert_eq!(ours.say("DEBUG DIGEST"), digest, "from {name}, seed {seed}");
            // Redis 7.0 reads up to version 10.
            if name == "redis-7.0" {
                continue;
            }
            ours.say("SET more of-it");
            let digest = ours.say("DEBUG DIGEST");
            assert_eq!(ours.say("SAVE"), Reply::Simple(b"OK".into()));
            drop(ours);
            let mut theirs = Peer::start_in(name, &program, &folder.0);
            assert_eq!(theirs.say("DEBUG DIGEST"), digest, "to {name}, seed {seed}");
        }
    }
}

/// Values of all types and sizes, in several databases.
fn fill(peer: &mut Peer, seed: u64, has_field_ttls: bool) {
    let mut rng = Rng::from_seed(seed);
    for at in 0..120 {
        peer.say(&format!("SELECT {}", [0, 0, 3, 9][rng.below(4)]));
        let key = format!("{}{at}", ["bull:q:", "k"][rng.below(2)]);
        let count = [1, 5, 100, 700][rng.below(4)];
        let kind = rng.below(7);
        for element in 0..count {
            let len = [3, 3, 70, 5_000][rng.below(4)] / if count > 100 { 50 } else { 1 };
            let text = format!("{}{}", rng.below(1 << 20), "t".repeat(len));
            peer.say(&match kind {
                0 => format!("SET {key} {text}"),
                1 => format!("RPUSH {key} {text} {element}"),
                2 => format!("SADD {key} {}", rng.next_u64() >> rng.below(60)),
                3 => format!("SADD {key} {text}"),
                4 => format!("HSET {key} f{element} {text}"),
                5 => format!("ZADD {key} {} {text}", element as f64 / 4.0),
                _ => format!("XADD {key} {}-{} f {text}", element / 3 + 1, element + 1),
            });
        }
        if kind == 4 && has_field_ttls && rng.below(2) == 0 {
            peer.say(&format!("HPEXPIREAT {key} 4102444800000 FIELDS 1 f0"));
        }
        if kind == 6 {
            peer.say(&format!("XGROUP CREATE {key} g 0"));
            peer.say(&format!("XREADGROUP GROUP g alice COUNT 7 STREAMS {key} >"));
            peer.say(&format!("XDEL {key} 1-2"));
        }
        if rng.below(3) == 0 {
            peer.say(&format!("PEXPIREAT {key} {}", 4_102_444_800_000_u64 + at));
        }
    }
    peer.ask(&[
        b"FUNCTION",
        b"LOAD",
        b"#!lua name=lib\nredis.register_function('f', function() return 7 end)",
    ]);
}
