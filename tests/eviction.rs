//! What a program does whose memory is short, and with memory that is no longer needed.

mod common;

use common::program::{Running, ask, ask_all, until};

/// A figure of INFO.
fn info(server: &Running, field: &str) -> usize {
    let text = ask_all(server.port, "INFO");
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.expect("the field is there").parse().expect("it is a number")
}

/// Sets `count` keys to texts of `len` bytes, by a script.
fn fill(server: &Running, prefix: &str, count: usize, len: usize, options: &str) {
    let script = format!(
        "EVAL \"for i = 1, {count} do redis.call('SET', '{prefix}' .. i, string.rep('x', {len})\
         {options}) end return 1\" 0"
    );
    assert_eq!(ask(server.port, &script), ":1");
}

fn set(server: &Running, key: &str, value: &str) {
    assert_eq!(ask(server.port, &format!("SET {key} {value}")), "+OK");
}

fn shorten(server: &Running, policy: &str, bytes: usize) {
    ask(server.port, &format!("CONFIG SET maxmemory-policy {policy}"));
    let maxmemory = info(server, "used_memory") - bytes;
    assert_eq!(ask(server.port, &format!("CONFIG SET maxmemory {maxmemory}")), "+OK");
}

#[test]
fn the_few_keys_that_have_a_ttl_are_found() {
    for policy in ["volatile-lru", "volatile-lfu", "volatile-ttl", "volatile-random"] {
        let server = Running::start(&[]);
        fill(&server, "lasting:", 20_000, 100, "");
        fill(&server, "passing:", 40, 1_000, ", 'EX', 1000");
        shorten(&server, policy, 10_000);
        (0..20).for_each(|at| set(&server, &format!("new:{at}"), "y"));
        assert_eq!(ask(server.port, "EXISTS lasting:1"), ":1");
        let evicted = info(&server, "evicted_keys");
        assert!((5..40).contains(&evicted), "{policy}: {evicted}");
    }
}

#[test]
fn a_command_that_cannot_make_all_the_room_goes_on_all_the_same() {
    let server = Running::start(&[]);
    fill(&server, "key:", 2_000, 1_000, "");
    shorten(&server, "allkeys-lru", 1_000_000);
    set(&server, "new", "y");
    let evicted = info(&server, "evicted_keys");
    set(&server, "new", "z");
    assert!(info(&server, "evicted_keys") > evicted);
    // Nothing that may go is left.
    shorten(&server, "volatile-lru", 100_000);
    assert!(ask(server.port, "SET new a").starts_with("-OOM "));
}

#[test]
fn what_is_free_goes_back_to_the_system() {
    let server = Running::start(&[]);
    fill(&server, "key:", 50_000, 1_000, ", 'EX', 1000");
    let full = info(&server, "used_memory_rss");
    assert_eq!(ask(server.port, "FLUSHALL"), "+OK");
    // A look is a turn of the server, which is to be idle.
    until("memory to go back", || {
        std::thread::sleep(std::time::Duration::from_millis(300));
        info(&server, "used_memory_rss") < full / 2
    });
    assert!(info(&server, "used_memory") < 2_000_000);
}
