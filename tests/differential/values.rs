//! Words of each kind: mostly such that commands meet the same keys and members again, now and
//! then such that they are refused.

use toril::util::rng::Rng;

/// The keys that a command mostly gets: those of its own type.
#[derive(Clone, Copy)]
pub struct Pool {
    /// The first letter of their names.
    pub prefix: char,
}

/// Sorted sets whose members all have one score: the order by name, of which BYLEX and its like
/// speak, is not specified for others.
pub const SAME_SCORES: char = 'y';

const KEYS_PER_TYPE: usize = 4;
const PREFIXES: [char; 8] = ['s', 'l', 'h', 'e', 'z', 'x', 'b', 'p'];

const MEMBERS: [&str; 12] =
    ["a", "b", "c", "ab", "abc", "1", "2", "10", "-7", "3.5", "", "\u{e9}\0\n"];
const INTEGERS: [&str; 14] = [
    "0",
    "1",
    "2",
    "3",
    "5",
    "10",
    "-1",
    "-2",
    "-3",
    "100",
    "9223372036854775807",
    "-9223372036854775808",
    "1.5",
    "x",
];
const SMALL: [&str; 9] = ["0", "1", "2", "3", "5", "-1", "-2", "-100", "100"];
const FLOATS: [&str; 14] = [
    "0",
    "1",
    "2",
    "-1",
    "1.5",
    "-2.25",
    "3",
    "1e3",
    "inf",
    "-inf",
    "nan",
    "x",
    "0.1",
    "17179869184",
];
const BOUNDS: [&str; 16] =
    ["0", "1", "2", "-1", "(1", "(2", "-inf", "+inf", "1.5", "[a", "[b", "(b", "-", "+", "[", "3"];
const IDS: [&str; 14] =
    ["0", "1", "2", "3", "1-1", "1-2", "2-1", "5-5", "0-0", "-", "+", "(1-1", "$", "10-3"];
const PATTERNS: [&str; 10] = ["*", "?", "s*", "[ab]*", "h0->*", "z*", "*0", "nosort", "#", "\\*"];

/// A pattern of keys.
pub fn key_pattern(rng: &mut Rng) -> String {
    let prefix = PREFIXES[rng.below(PREFIXES.len())];
    match rng.below(4) {
        0 => "*".to_owned(),
        1 => format!("*{}", rng.below(KEYS_PER_TYPE)),
        _ => format!("{prefix}*"),
    }
}

/// A word for a placeholder of a syntax.
pub fn make(kind: &str, pool: &Pool, rng: &mut Rng) -> Vec<u8> {
    let any = |words: &[&str], rng: &mut Rng| words[rng.below(words.len())].as_bytes().to_vec();
    match kind {
        "key" | "key1" | "key2" | "source" | "destination" | "src" | "dst" | "newkey" => {
            key(pool, rng)
        }
        "seconds" => any(&["100", "1000", "0", "-1", "x", "9223372036854775807"], rng),
        "milliseconds" => any(&["100000", "1000000", "0", "-1", "x"], rng),
        "unix-time-seconds" => any(&["99999999999", "1", "0", "-1", "x"], rng),
        "unix-time-milliseconds" => any(&["99999999999000", "1", "0", "-1", "x"], rng),
        // Never waits for long: where a command may wait, it stands in a transaction.
        "timeout" => any(&["0.01", "0.01", "0.01", "-1", "x"], rng),
        "score" if pool.prefix == SAME_SCORES => b"0".to_vec(),
        "score" | "weight" => any(&FLOATS, rng),
        "increment" | "decrement" => match rng.below(2) {
            0 => any(&FLOATS, rng),
            _ => any(&INTEGERS, rng),
        },
        "min" | "max" => any(&BOUNDS, rng),
        "start" | "stop" | "end" => match (pool.prefix, rng.below(4)) {
            ('x', 0..3) => any(&IDS, rng),
            ('z', 0) => any(&BOUNDS, rng),
            _ => any(&SMALL, rng),
        },
        "id" | "last-id" | "max-deleted-id" | "lastid" => any(&IDS, rng),
        "threshold" => match rng.below(2) {
            0 => any(&IDS, rng),
            _ => any(&SMALL, rng),
        },
        "numfields" => any(&["1", "2", "0", "-1", "x"], rng),
        "cursor" => b"0".to_vec(),
        "pattern" => any(&PATTERNS, rng),
        "type" => any(&["string", "list", "set", "zset", "hash", "stream", "x"], rng),
        "destination-db" | "db" => any(&["0", "1", "2", "16", "x"], rng),
        "offset" | "count" | "index" | "rank" | "len" | "num-matches" | "limit" | "numkeys"
        | "min-match-len" | "entries-added" | "entriesread" => match rng.below(6) {
            0 => any(&INTEGERS, rng),
            _ => any(&SMALL, rng),
        },
        "longitude" => {
            any(&["13.361389", "15.087269", "0", "-180", "180", "2.35", "181", "x"], rng)
        }
        "latitude" => any(&["38.115556", "37.502669", "0", "85", "-85", "48.85", "86", "x"], rng),
        "radius" | "width" | "height" => any(&["1", "100", "1000", "0", "-1", "x"], rng),
        _ => text(kind, rng),
    }
}

fn key(pool: &Pool, rng: &mut Rng) -> Vec<u8> {
    let prefix = match rng.below(12) {
        0 if pool.prefix != SAME_SCORES => PREFIXES[rng.below(PREFIXES.len())],
        _ => pool.prefix,
    };
    format!("{prefix}{}", rng.below(KEYS_PER_TYPE)).into_bytes()
}

/// Small texts that repeat, numbers, and now and then one that no packed encoding takes.
fn text(kind: &str, rng: &mut Rng) -> Vec<u8> {
    match rng.below(40) {
        0 => format!("{kind}{}", "x".repeat(70)).into_bytes(),
        1..8 => rng.below(200).to_string().into_bytes(),
        8 if kind == "bit" => b"2".to_vec(),
        _ if kind == "bit" => rng.below(2).to_string().into_bytes(),
        9 => (rng.next_u64() as i64).to_string().into_bytes(),
        _ => MEMBERS[rng.below(MEMBERS.len())].as_bytes().to_vec(),
    }
}
