//! What the journal says of a change: a command that does the same at any time and anywhere.

#[path = "common/facts.rs"]
mod facts;
#[path = "common/journal.rs"]
mod read;

use facts::FixedFacts;
use read::commands;
use std::process::{Command, Stdio};
use toril::command::table::table;
use toril::config::Config;
use toril::data::Str;
use toril::engine::Engine;
use toril::engine::client::Peer;
use toril::engine::journal::Class;
use toril::engine::keys::Keys;
use toril::engine::row::{Arity, Category, Family, Flag, row};
use toril::engine::table::Table;
use toril::engine::time::Now;
use toril::proto::Args;
use toril::proto::request::{Batch, Parsed, Parser, RequestLimits};
use toril::rdb::crc64;

/// When all requests are made, in milliseconds of Unix time.
const NOW_MS: i64 = 1_000_000;

/// What DUMP answers for the text "v", in place of the word `PAYLOAD`.
fn payload() -> Vec<u8> {
    let value = b"\x00\x01v\x0a\x00";
    [&value[..], &crc64(0, value).to_le_bytes()].concat()
}

/// Makes requests of an empty server and returns what the last one left in the journal. Database 0
/// was selected before; what is for replicas alone says so.
fn journaled(requests: &[&str]) -> Vec<String> {
    let now = Now::new(NOW_MS, 0);
    let mut engine = Engine::new(table(), Config::default(), Box::new(FixedFacts::default()), now);
    let client = engine.connect(Peer::inside(), now);
    engine.offer_fixture(toril::testing::make);
    engine.keyspace.aftermath.journal.listen();
    for request in ["SET k v", "DEL k"].iter().chain(requests) {
        engine.keyspace.aftermath.journal.forget_whole_units();
        let payload = payload();
        let word = |word| if word == "PAYLOAD" { &*payload } else { str::as_bytes(word) };
        let words: Vec<&[u8]> = request.split(' ').map(word).collect();
        engine.run(client, Args::new(&words), now);
    }
    let payload = String::from_utf8_lossy(&payload()).into_owned();
    let (bytes, stretches) = engine.keyspace.aftermath.journal.whole_units();
    let lines = stretches.iter().flat_map(|stretch| {
        let bytes = &bytes[stretch.offset..stretch.offset + stretch.len];
        let whom = if stretch.class == Class::Replicas { "replicas: " } else { "" };
        commands(bytes).into_iter().map(move |(_, words)| format!("{whom}{}", words.join(" ")))
    });
    lines.map(|line| line.replace(&payload, "PAYLOAD")).collect()
}

fn check(requests: &[&str], expect: &[&str]) {
    assert_eq!(journaled(requests), expect, "{requests:?}");
}

#[test]
fn bits_and_counts_are_told_of_when_they_change() {
    check(&["SETBIT k 1 1"], &["SETBIT k 1 1"]);
    check(&["SETBIT k 1 1", "SETBIT k 1 1"], &[]);
    check(&["SETBIT k 1 1", "SETBIT k 9 0"], &["SETBIT k 9 0"]);
    check(&["SET k v", "BITFIELD k GET u8 0"], &[]);
    check(&["BITFIELD k SET u8 0 1"], &["BITFIELD k SET u8 0 1"]);
    check(&["BITFIELD k SET u8 0 1", "BITFIELD k SET u8 0 1"], &[]);
    // The string is longer for it.
    let refused = "BITFIELD k OVERFLOW FAIL SET u8 0 999";
    check(&[refused], &[refused]);
    check(&[refused, refused], &[]);
    check(&["SET k v", "BITOP NOT d k"], &["BITOP NOT d k"]);
    check(&["BITOP NOT d k"], &[]);

    check(&["PFADD k a"], &["PFADD k a"]);
    check(&["PFADD k a", "PFADD k a"], &[]);
    // The count is kept.
    check(&["PFADD k a", "PFCOUNT k"], &["PFCOUNT k"]);
    check(&["PFADD k a", "PFCOUNT k", "PFCOUNT k"], &[]);
    check(&["PFADD k a", "PFADD l a", "PFCOUNT k l"], &[]);
    check(&["PFADD k a", "PFDEBUG TODENSE k"], &["PFDEBUG TODENSE k"]);
    check(&["PFADD k a", "PFDEBUG TODENSE k", "PFDEBUG GETREG k"], &[]);

    check(&["GEOADD k 1 1 a", "GEOADD k 1 1 a"], &[]);
    check(&["GEOADD k 1 1 a", "GEORADIUS k 1 1 1 m"], &[]);
    let stored = "GEORADIUS k 1 1 1 km STORE d";
    check(&["GEOADD k 1 1 a", stored], &[stored]);
    check(&[stored], &[]);
}

/// At any time and anywhere: no snapshot has to be there.
#[test]
fn a_snapshot_that_is_brought_back_is_written_out() {
    check(&["SET k v", "TORIL SNAPSHOT"], &[]);
    check(
        &["SET k v PX 500", "TORIL SNAPSHOT", "DEL k", "TORIL RESTORE"],
        &["MULTI", "FLUSHALL", "RESTORE k 1000500 PAYLOAD ABSTTL REPLACE", "EXEC"],
    );
    check(&["TORIL SNAPSHOT", "SET k v", "TORIL RESTORE"], &["FLUSHALL"]);
}

#[test]
fn times_become_absolute() {
    check(&["SET k v", "EXPIRE k 10"], &["PEXPIREAT k 1010000"]);
    check(&["SET k v", "PEXPIREAT k 1010000 NX"], &["PEXPIREAT k 1010000"]);
    check(&["SET k v", "EXPIRE k 10 XX"], &[]);
    check(&["SET k v", "EXPIREAT k 1"], &["DEL k"]);
    check(&["SET k v EX 10"], &["SET k v PXAT 1010000"]);
    check(&["SET k v NX GET PX 10"], &["SET k v PXAT 1000010"]);
    check(&["SETEX k 10 v"], &["SET k v PXAT 1010000"]);
    check(&["PSETEX k 10 v"], &["SET k v PXAT 1000010"]);
    check(&["SET k v", "GETEX k EX 10"], &["PEXPIREAT k 1010000"]);
    check(&["SET k v", "GETEX k EXAT 1"], &["DEL k"]);
    check(&["SET k v EX 10", "GETEX k PERSIST"], &["PERSIST k"]);
    check(&["SET k v EX 10", "PERSIST k"], &["PERSIST k"]);
}

#[test]
fn fields_that_go_are_named() {
    let hash = "HSET h a 1 b 2";
    check(&[hash, "HEXPIRE h 10 FIELDS 2 a x"], &["HPEXPIREAT h 1010000 FIELDS 1 a"]);
    check(&[hash, "HPEXPIRE h 10 NX FIELDS 1 b"], &["HPEXPIREAT h 1000010 FIELDS 1 b"]);
    check(&[hash, "HEXPIREAT h 1010 FIELDS 2 a b"], &["HPEXPIREAT h 1010000 FIELDS 2 a b"]);
    check(&[hash, "HPEXPIREAT h 1010000 XX FIELDS 1 a"], &[]);
    check(&[hash, "HEXPIRE h 0 FIELDS 3 b x a"], &["HDEL h b a"]);
    check(&[hash, "HPERSIST h FIELDS 1 a"], &[]);
    let goes = "HEXPIRE h 10 FIELDS 1 a";
    check(&[hash, goes, "HPERSIST h FIELDS 2 a b"], &["HPERSIST h FIELDS 2 a b"]);
    check(&[hash, "HGETEX h FIELDS 1 a"], &[]);
    check(&[hash, "HGETEX h EX 10 FIELDS 2 a x"], &["HPEXPIREAT h 1010000 FIELDS 1 a"]);
    check(&[hash, "HGETEX h PX 0 FIELDS 1 a"], &["HDEL h a"]);
    check(&[hash, goes, "HGETEX h PERSIST FIELDS 2 a b"], &["HPERSIST h FIELDS 1 a"]);
    check(&[hash, "HGETDEL h FIELDS 2 a x"], &["HDEL h a"]);
    check(&[hash, "HGETDEL h FIELDS 1 x"], &[]);
    check(&["HSETEX h FIELDS 1 a 1"], &["HSETEX h FIELDS 1 a 1"]);
    check(&[hash, "HSETEX h FXX EX 10 FIELDS 1 a 1"], &["HSETEX h PXAT 1010000 FIELDS 1 a 1"]);
    check(&[hash, "HSETEX h FNX EX 10 FIELDS 1 a 1"], &[]);
    check(&[hash, "HSETEX h PX 0 FIELDS 2 a 1 c 2"], &["HDEL h a c"]);
    check(&[hash, goes, "HINCRBY h a 1"], &["HINCRBY h a 1"]);
    let sum = ["MULTI", "HSET h a 1.5", "HPEXPIREAT h 1010000 FIELDS 1 a", "EXEC"];
    check(&[hash, goes, "HINCRBYFLOAT h a 0.5"], &sum);
}

/// The journal of a hash of which a field goes, from that moment on.
fn journaled_later(is_asked_first: bool, request: &str) -> Vec<String> {
    let now = Now::new(NOW_MS, 0);
    let mut engine = Engine::new(table(), Config::default(), Box::new(FixedFacts::default()), now);
    let client = engine.connect(Peer::inside(), now);
    let mut run = |request: &str, now| {
        let words: Vec<&[u8]> = request.split(' ').map(str::as_bytes).collect();
        engine.run(client, Args::new(&words), now);
    };
    run("HSET h a 1 b 2", now);
    run("HPEXPIRE h 10 FIELDS 1 a", now);
    let later = Now::new(NOW_MS + 11, 11_000);
    engine.keyspace.aftermath.journal.listen();
    if !is_asked_first {
        engine.tick(later);
    }
    let words: Vec<&[u8]> = request.split(' ').map(str::as_bytes).collect();
    engine.run(client, Args::new(&words), later);
    let bytes = engine.keyspace.aftermath.journal.whole_units().0;
    commands(bytes).into_iter().map(|(_, words)| words.join(" ")).collect()
}

#[test]
fn a_field_that_is_over_goes_by_its_timer_after_a_look_or_before_a_change() {
    let gone = ["SELECT 0", "HDEL h a"];
    assert_eq!(journaled_later(false, "HGETALL h"), gone);
    assert_eq!(journaled_later(true, "HGETALL h"), gone);
    assert_eq!(journaled_later(true, "PING"), [""; 0]);
    let both = ["SELECT 0", "MULTI", "HDEL h a", "HSETNX h a 3", "EXEC"];
    let found = journaled_later(true, "HSETNX h a 3");
    assert_eq!(found.iter().filter(|line| *line != "SELECT 0").collect::<Vec<_>>(), &both[1..]);
}

#[test]
fn only_the_effect_is_written() {
    check(&["SET k v", "GETDEL k"], &["DEL k"]);
    check(&["GETSET k v"], &["SET k v"]);
    check(&["SET k 10.5 EX 10", "INCRBYFLOAT k 0.1"], &["SET k 10.6 KEEPTTL"]);
}

#[test]
fn restored_values_stand_as_they_came_but_for_their_time() {
    check(&["RESTORE k 0 PAYLOAD"], &["RESTORE k 0 PAYLOAD"]);
    check(&["SET k v", "RESTORE k 0 PAYLOAD"], &[]);
    check(&["RESTORE k 10 PAYLOAD FREQ 5"], &["RESTORE k 1000010 PAYLOAD FREQ 5 ABSTTL"]);
    check(&["RESTORE k 1000010 PAYLOAD ABSTTL"], &["RESTORE k 1000010 PAYLOAD ABSTTL"]);
    check(&["RESTORE k 10 PAYLOAD ABSTTL"], &[]);
    check(&["SET k v", "RESTORE k 10 PAYLOAD ABSTTL REPLACE"], &["DEL k"]);
}

#[test]
fn what_is_the_same_anywhere_stands_as_it_came() {
    check(&["SET k v KEEPTTL"], &["SET k v KEEPTTL"]);
    check(&["MSET a 1 b 2", "DEL a nosuch b"], &["DEL a nosuch b"]);
    check(&["SET k v", "MOVE k 1"], &["MOVE k 1"]);
    check(&["MSET a 1 b 2", "RENAME a b"], &["RENAME a b"]);
    check(&["RPUSH l 2 1", "SORT l STORE d"], &["SORT l STORE d"]);
}

#[test]
fn what_changes_nothing_is_left_out() {
    check(&["SET k v", "SET k w NX"], &[]);
    check(&["SET k v", "GETEX k"], &[]);
    check(&["GETDEL nosuch"], &[]);
    check(&["SET k v", "GETEX k PERSIST"], &[]);
    check(&["SET k v", "PERSIST k"], &[]);
    check(&["SET k v", "RENAME k k"], &[]);
    check(&["SET k v", "SETRANGE k 0 "], &[]);
    check(&["SET k v", "INCR k"], &[]);
    check(&["DEL nosuch"], &[]);
    check(&["SORT nosuch STORE nosuch"], &[]);
}

#[test]
fn what_a_group_was_given_is_claimed() {
    let (add, more) = ("XADD s 1-1 f v", "XADD s 2-1 f v");
    let create = "XGROUP CREATE s g 0";
    let read = "XREADGROUP GROUP g c STREAMS s >";
    let claimed = "TIME 1000000 RETRYCOUNT 1 FORCE JUSTID LASTID 2-1";
    check(&[add, "XGROUP CREATE s g $"], &["XGROUP CREATE s g $"]);
    check(
        &[add, more, create, read],
        &[
            "MULTI",
            &format!("XCLAIM s g c 0 1-1 2-1 {claimed}"),
            "XGROUP SETID s g 2-1 ENTRIESREAD 2",
            "EXEC",
        ],
    );
    check(&[add, create, read, read], &[]);
    check(
        &[add, create, "XREADGROUP GROUP g d NOACK STREAMS s >"],
        &["MULTI", "XGROUP CREATECONSUMER s g d", "XGROUP SETID s g 1-1 ENTRIESREAD 1", "EXEC"],
    );
    check(&[add, create, "XREADGROUP GROUP g d STREAMS s 0"], &["XGROUP CREATECONSUMER s g d"]);
    let again = "XREADGROUP GROUP g c COUNT 1 STREAMS s 0";
    check(
        &[add, more, create, read, again, "XREADGROUP GROUP g c STREAMS s 0"],
        &[
            "MULTI",
            "XCLAIM s g c 0 1-1 TIME 1000000 RETRYCOUNT 3 FORCE JUSTID LASTID 2-1",
            "XCLAIM s g c 0 2-1 TIME 1000000 RETRYCOUNT 2 FORCE JUSTID LASTID 2-1",
            "EXEC",
        ],
    );
    check(
        &[add, more, create, read, "XDEL s 1-1", "XAUTOCLAIM s g d 0 0 JUSTID"],
        &["MULTI", "XACK s g 1-1", &format!("XCLAIM s g d 0 2-1 {claimed}"), "EXEC"],
    );
    check(
        &[add, create, read, "XCLAIM s g d 0 1-1 IDLE 1000 RETRYCOUNT 9"],
        &["XCLAIM s g d 0 1-1 TIME 999000 RETRYCOUNT 9 FORCE JUSTID LASTID 1-1"],
    );
    check(
        &[add, create, "XCLAIM s g d 0 7-7 LASTID 5-5"],
        &["MULTI", "XGROUP CREATECONSUMER s g d", "XGROUP SETID s g 5-5 ENTRIESREAD -1", "EXEC"],
    );
    check(
        &[add, more, create, read, "XACK s g 2-1", "XTRIM s MINID 9 ACKED"],
        &["XTRIM s MAXLEN 1 ACKED"],
    );
    check(&[add, create, read, "XTRIM s MINID 9 DELREF"], &["XTRIM s MAXLEN 0 DELREF"]);
    check(&[add, create, read, "XTRIM s MINID 9 KEEPREF"], &["XTRIM s MAXLEN 0"]);
    check(&[add, create, read, "XDELEX s ACKED IDS 1 1-1"], &[]);
    let acknowledged = "XACKDEL s g IDS 1 1-1";
    check(&[add, create, read, acknowledged], &[acknowledged]);
    check(&[add, create, read, "XACK s g 1-1"], &["XACK s g 1-1"]);
    check(&[add, create, read, "XACK s g 2-1"], &[]);
}

#[test]
fn what_took_place_at_once_stands_between_multi_and_exec() {
    check(&["MULTI", "SET a 1", "EXEC"], &["SET a 1"]);
    check(&["MULTI", "GET a", "EXEC"], &[]);
    check(
        &["MULTI", "SET a 1", "GET a", "INCR a", "EXEC"],
        &["MULTI", "SET a 1", "INCR a", "EXEC"],
    );
    check(
        &["EVAL redis.call('set',KEYS[1],1)redis.call('incr',KEYS[1]) 1 a"],
        &["MULTI", "set a 1", "incr a", "EXEC"],
    );
    check(
        &["MULTI", "EVAL redis.call('set',KEYS[1],1)redis.call('incr',KEYS[1]) 1 a", "EXEC"],
        &["MULTI", "set a 1", "incr a", "EXEC"],
    );
    check(&["EVAL redis.call('set',KEYS[1],1)redis.call('nosuch') 1 a"], &["set a 1"]);
    check(
        &["XADD s 1-1 a b", "XADD s MAXLEN 1 1-2 a b"],
        &["MULTI", "XADD s 1-2 a b", "XTRIM s MAXLEN 1", "EXEC"],
    );
}

#[test]
fn a_database_is_selected_when_it_is_another() {
    check(&["SELECT 1", "SET a 1"], &["SELECT 1", "SET a 1"]);
    check(&["SELECT 1", "SET a 1", "SET b 1"], &["SET b 1"]);
    check(
        &["MULTI", "SET a 1", "SELECT 1", "SET a 1", "EXEC"],
        &["MULTI", "SET a 1", "SELECT 1", "SET a 1", "EXEC"],
    );
}

#[test]
fn what_changes_nothing_may_be_for_replicas() {
    check(&["PUBLISH channel text"], &["replicas: PUBLISH channel text"]);
    check(&["SPUBLISH channel text"], &["replicas: SPUBLISH channel text"]);
    check(
        &["MULTI", "SET a 1", "PUBLISH channel text", "EXEC"],
        &["MULTI", "SET a 1", "replicas: PUBLISH channel text", "EXEC"],
    );
}

/// Set where a test runs itself as a process that is to be aborted.
const CHILD: &str = "TORIL_JOURNAL_CHILD";

#[test]
fn a_panic_after_a_change_ends_the_process() {
    const TEST: &str = "a_panic_after_a_change_ends_the_process";
    const ROWS: Family = Family::new(
        Category::Generic,
        &[row(
            "broken",
            "1.0.0",
            Arity::Exactly(2),
            Keys::one(1),
            &[Flag::Write],
            |cx, mut args, _| {
                cx.put(args.key(), Str::of_bytes(b"value"), "set");
                panic!("on purpose");
            },
            "key",
            "Panics behind its change.",
        )],
    );
    if std::env::var_os(CHILD).is_none() {
        let mut child = Command::new(std::env::current_exe().expect("it runs"));
        child.args(["--exact", TEST]).env(CHILD, "").stdout(Stdio::null()).stderr(Stdio::null());
        let status = child.status().expect("it can be run");
        assert_eq!(status.code(), None, "it was aborted: {status}");
        return;
    }
    let (now, facts) = (Now::new(NOW_MS, 0), Box::new(FixedFacts::default()));
    let mut engine = Engine::new(Table::new(&[&ROWS]), Config::default(), facts, now);
    let client = engine.connect(Peer::inside(), now);
    engine.keyspace.aftermath.journal.listen();
    engine.run(client, Args::new(&[b"broken", b"key"]), now);
}

/// Each request that speaks of a time from now on, or leaves one as it is.
const TIMED: &[&str] = &[
    "SET a v EX 7200",
    "SET a w KEEPTTL",
    "SETEX b 7200 v",
    "APPEND b x",
    "PSETEX c 7200000 v",
    "RENAME c c2",
    "SET d v PX 7200000 NX",
    "EXPIRE d 9000 GT",
    "EXPIRE d 8000 LT",
    "EXPIRE d 8500 NX",
    "SET e v",
    "PEXPIRE e 7300000 NX",
    "GETEX a EX 7400",
    "COPY a a2",
    "RESTORE r 7500000 PAYLOAD",
    "HSET h f 1 g 2 i 3",
    "HEXPIRE h 7200 FIELDS 1 f",
    "HEXPIRE h 9000 GT FIELDS 2 f g",
    "HPEXPIRE h 7600000 NX FIELDS 2 f g",
    "HSETEX h EX 7700 FIELDS 1 j 4",
    "HSETEX h KEEPTTL FIELDS 2 f 5 k 6",
    "HSETEX h FNX EX 7800 FIELDS 1 l 7",
    "HGETEX h EX 7900 FIELDS 1 i",
    "EXPIRE h 8000",
];

/// What is told of them.
const LOOKS: &[&str] = &[
    "PEXPIRETIME a",
    "PEXPIRETIME a2",
    "PEXPIRETIME b",
    "PEXPIRETIME c2",
    "PEXPIRETIME d",
    "PEXPIRETIME e",
    "PEXPIRETIME r",
    "PEXPIRETIME h",
    "HPEXPIRETIME h FIELDS 6 f g i j k l",
    "HMGET h f g i j k l",
    "MGET a a2 b c2 d e r",
];

/// valkey #3036: a request that was journaled as it came meant something else when it was replayed.
#[test]
fn what_speaks_of_a_time_means_the_same_an_hour_later() {
    let engine = |now| {
        let mut engine =
            Engine::new(table(), Config::default(), Box::new(FixedFacts::default()), now);
        let client = engine.connect(Peer::inside(), now);
        (engine, client)
    };
    let payload = payload();
    let words = |request: &'static str| -> Vec<&[u8]> {
        let word = |word| if word == "PAYLOAD" { &*payload } else { str::as_bytes(word) };
        request.split(' ').map(word).collect()
    };
    let now = Now::new(NOW_MS, 0);
    let (mut first, client) = engine(now);
    first.keyspace.aftermath.journal.listen();
    for &request in TIMED {
        first.run(client, Args::new(&words(request)), now);
        let answer = first.take_output(client);
        assert!(!answer.starts_with(b"-"), "{request}: {}", answer.escape_ascii());
    }
    let bytes = first.keyspace.aftermath.journal.whole_units().0.to_vec();
    let later = Now::new(NOW_MS + 3_600_000, 3_600_000_000);
    let (mut second, other) = engine(later);
    let (mut parser, mut rest) = (Parser::default(), &bytes[..]);
    while !rest.is_empty() {
        let mut batch = Batch::default();
        let limits = RequestLimits::authenticated(1 << 20);
        assert!(matches!(parser.find(rest, limits, &mut batch), Parsed::Request(_)));
        for (words, len) in batch.requests() {
            second.replay(other, words).expect("it is known");
            rest = &rest[len..];
        }
    }
    for &look in LOOKS {
        first.run(client, Args::new(&words(look)), now);
        second.run(other, Args::new(&words(look)), later);
        let [one, two] = [first.take_output(client), second.take_output(other)];
        assert_eq!(one.escape_ascii().to_string(), two.escape_ascii().to_string(), "{look}");
        assert!(!one.starts_with(b":-"), "{look}: {}", one.escape_ascii());
    }
}
