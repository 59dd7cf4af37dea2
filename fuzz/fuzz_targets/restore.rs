//! RESTORE on whatever bytes a client may send, with the checksum that they need: refused, or a
//! value that every command of its type can read, and that DUMP gives as bytes that are taken again.
//!
//! The first byte of the input chooses the version of RDB, the others are kind and value.

#![no_main]

#[path = "../../tests/common/facts.rs"]
mod facts;
#[path = "../../tests/common/reply.rs"]
#[allow(dead_code, reason = "transcripts use the rest")]
mod reply;

use facts::FixedFacts;
use libfuzzer_sys::fuzz_target;
use reply::Reply;
use toril::command::table::table;
use toril::config::Config;
use toril::engine::Engine;
use toril::engine::client::{ClientId, Peer};
use toril::engine::time::Now;
use toril::proto::Args;
use toril::rdb::crc64;

const NOW: Now = Now::new(1_800_000_000_000, 1_000_000);

const VERSIONS: [u16; 4] = [9, 10, 12, 80];

/// What reads a value, by its type.
const READS: &[(&str, &[&str])] = &[
    ("string", &["GET k", "STRLEN k", "GETRANGE k 1 -2", "APPEND k x"]),
    ("list", &["LRANGE k 0 -1", "LINDEX k -1", "LPOS k x", "RPUSH k x", "LTRIM k 1 -1"]),
    (
        "set",
        &["SMEMBERS k", "SRANDMEMBER k -5", "SISMEMBER k x", "SADD k x", "SSCAN k 0", "SPOP k"],
    ),
    (
        "hash",
        &[
            "HGETALL k",
            "HGET k x",
            "HPEXPIRETIME k FIELDS 1 x",
            "HSET k x y",
            "HEXPIRE k 9 FIELDS 1 x",
            "HSCAN k 0",
            "HRANDFIELD k -5",
        ],
    ),
    ("zset", &["ZRANGE k 0 -1 WITHSCORES", "ZSCORE k x", "ZADD k 1 x", "ZSCAN k 0", "ZPOPMIN k 2"]),
    (
        "stream",
        &[
            "XRANGE k - +",
            "XREVRANGE k + -",
            "XINFO STREAM k FULL",
            "XADD k * a b",
            "XTRIM k MAXLEN 3",
        ],
    ),
];

fuzz_target!(|data: &[u8]| {
    let Some((first, value)) = data.split_first() else { return };
    let mut payload = value.to_vec();
    payload.extend(VERSIONS[usize::from(*first) % VERSIONS.len()].to_le_bytes());
    payload.extend(crc64(0, &payload).to_le_bytes());

    let mut world = World::new();
    match world.ask(&[b"RESTORE", b"k", b"0", &payload]) {
        Reply::Error(text) => {
            assert_eq!(text, b"ERR Bad data format", "{}", text.escape_ascii());
            assert_eq!(world.say("EXISTS k"), Reply::Integer(0));
        }
        reply => {
            assert_eq!(reply, Reply::Simple(b"OK".to_vec()));
            // The look removes fields that were over when they came, and the key with the last.
            world.say("HLEN k");
            if world.say("EXISTS k") == Reply::Integer(1) {
                world.look();
            }
        }
    }
});

struct World {
    engine: Engine,
    client: ClientId,
}

impl World {
    fn new() -> Self {
        let facts = Box::new(FixedFacts::default());
        let mut engine = Engine::new(table(), Config::default(), facts, NOW);
        let client = engine.connect(Peer::inside(), NOW);
        Self { engine, client }
    }

    fn ask(&mut self, words: &[&[u8]]) -> Reply {
        self.engine.run(self.client, Args::new(words), NOW);
        let output = self.engine.take_output(self.client);
        let (reply, len) = Reply::decode(&output).expect("it is answered");
        assert_eq!(len, output.len());
        reply
    }

    fn say(&mut self, line: &str) -> Reply {
        self.ask(&line.split(' ').map(str::as_bytes).collect::<Vec<_>>())
    }

    fn dump(&mut self) -> Vec<u8> {
        self.say("DUMP k").text().expect("the key is there")
    }

    /// Its own bytes make the same value, and both can be read and changed.
    fn look(&mut self) {
        let payload = self.dump();
        assert_eq!(self.ask(&[b"RESTORE", b"copy", b"0", &payload]), Reply::Simple(b"OK".to_vec()));
        let digest = self.say("DEBUG DIGEST-VALUE k copy");
        if let Reply::Array(digests) = digest {
            assert_eq!(digests[0], digests[1]);
        }
        let kind = self.say("TYPE k").text().expect("a status");
        let reads = READS.iter().find(|(name, _)| name.as_bytes() == kind);
        let (_, reads) = reads.expect("each type is known");
        for read in reads.iter() {
            let reply = self.say(read);
            // The last id of a stream leaves none for another entry, and a string may be full.
            assert!(
                !matches!(reply, Reply::Error(_)) || read.starts_with("XADD"),
                "{read}: {reply:?}"
            );
        }
        self.say("DEL k copy");
    }
}
