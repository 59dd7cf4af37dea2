//! Random changes of all types, for who compares two servers afterwards.

use super::program::ask_all;
use std::time::{Duration, Instant};
use toril::util::rng::Rng;

/// A change of some key, of any type, now and then by a script or in a transaction.
fn change(rng: &mut Rng) -> String {
    let (key, number) = (rng.below(40), rng.below(1000));
    match rng.below(18) {
        0 => format!("SET s{key} {number}"),
        1 => format!("SET s{key} {number} PX {}", 1 + rng.below(300)),
        2 => format!("INCR n{key}"),
        3 => format!("RPUSH l{key} {number} x{number}"),
        4 => format!("LPOP l{key}"),
        5 => format!("HSET h{key} f{number} {number}"),
        6 => format!("HINCRBYFLOAT h{key} f 0.1"),
        7 => format!("ZADD z{key} {number} m{number}"),
        8 => format!("ZPOPMIN z{key}"),
        9 => format!("SADD e{key} {number}"),
        10 => format!("SPOP e{key}"),
        11 => format!("XADD x{key} MAXLEN ~ 20 * f {number}"),
        12 => format!("DEL s{key} l{key}"),
        13 => format!("RENAME s{key} s{number}"),
        14 => format!("MULTI\r\nINCR n{key}\r\nRPUSH l{key} {number}\r\nPUBLISH c m\r\nEXEC"),
        15 => format!(
            "EVAL \"redis.call('incr', KEYS[1]) return redis.call('rpush', KEYS[2], ARGV[1])\" 2 \
             n{key} l{key} {number}"
        ),
        16 => format!("SELECT 3\r\nSET d{key} {number}\r\nSELECT 0"),
        _ => format!("EXPIRE h{key} {}", 100 + number),
    }
}

/// Makes so many changes, some at a time.
pub fn make_changes(port: u16, rng: &mut Rng, count: usize) {
    for _ in 0..count / 20 {
        let changes: Vec<String> = (0..20).map(|_| change(rng)).collect();
        ask_all(port, &changes.join("\r\n"));
    }
}

/// Makes changes for two seconds, or for as many as TORIL_PAIR_S says.
pub fn make_changes_for_a_while(port: u16, rng: &mut Rng) {
    let told = std::env::var("TORIL_PAIR_S").map_or(2, |it| it.parse().expect("seconds"));
    let end = Instant::now() + Duration::from_secs(told);
    while Instant::now() < end {
        make_changes(port, rng, 200);
    }
}
