//! What the journal says of a change: a command that does the same at any time and anywhere.

#[path = "common/facts.rs"]
mod facts;

use facts::FixedFacts;
use toril::command::table::table;
use toril::config::Config;
use toril::engine::Engine;
use toril::engine::client::Peer;
use toril::engine::time::Now;
use toril::proto::Args;

/// When all requests are made, in milliseconds of Unix time.
const NOW_MS: i64 = 1_000_000;

/// Makes requests of an empty server and returns what the last one left in the journal.
fn journaled(requests: &[&str]) -> Vec<String> {
    let now = Now::new(NOW_MS, 0);
    let mut engine = Engine::new(table(), Config::default(), Box::new(FixedFacts::default()), now);
    let client = engine.connect(Peer::inside(), now);
    engine.keyspace.ledger.journal.listen();
    for request in requests {
        engine.keyspace.ledger.journal.take();
        let words: Vec<&[u8]> = request.split(' ').map(str::as_bytes).collect();
        engine.run(client, Args::new(&words), now);
    }
    let line = |words: Vec<&[u8]>| String::from_utf8_lossy(&words.join(&b' ')).into_owned();
    let effects = engine.keyspace.ledger.journal.take();
    effects.iter().map(|effect| line(effect.args.words())).collect()
}

fn check(requests: &[&str], expect: &[&str]) {
    assert_eq!(journaled(requests), expect, "{requests:?}");
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
fn only_the_effect_is_written() {
    check(&["SET k v", "GETDEL k"], &["DEL k"]);
    check(&["GETSET k v"], &["SET k v"]);
    check(&["SET k 10.5 EX 10", "INCRBYFLOAT k 0.1"], &["SET k 10.6 KEEPTTL"]);
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
