//! What a program does whose memory is short, and with memory that is no longer needed.

mod common;

use common::program::{PATIENCE, Running, ask, ask_all, until};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

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
    let counted = info(server, "used_memory") - info(server, "mem_not_counted_for_evict");
    let maxmemory = counted - bytes;
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
fn who_tracks_a_key_is_told_when_it_is_evicted() {
    let server = Running::start(&[]);
    fill(&server, "key:", 200, 1_000, "");
    let mut reader = TcpStream::connect(("127.0.0.1", server.port)).expect("it listens");
    reader.set_read_timeout(Some(PATIENCE)).expect("it is a socket");
    let mget: String = (1..=200).map(|at| format!(" key:{at}")).collect();
    let requests = format!("HELLO 3\r\nCLIENT TRACKING ON\r\nMGET{mget}\r\n");
    reader.write_all(requests.as_bytes()).expect("it is read");
    shorten(&server, "allkeys-random", 20_000);
    until("eviction", || info(&server, "evicted_keys") > 0);
    let mut lines = BufReader::new(reader).lines().map(|line| line.expect("it goes on"));
    let key = lines.find(|line| line.starts_with("key:")).expect("it is told");
    assert_eq!(ask(server.port, &format!("EXISTS {}", key.trim())), ":0");
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
fn transactions_evict_before_they_begin_and_not_between_their_commands() {
    const KEYS: usize = 150;
    let server = Running::start(&[]);
    fill(&server, "before:", 300, 1_000, "");
    shorten(&server, "allkeys-random", 10_000);
    let mut requests = "MULTI\r\n".to_owned();
    (0..KEYS).for_each(|at| requests += &format!("SET key:{at} {}\r\n", "x".repeat(1_000)));
    (0..KEYS).for_each(|at| requests += &format!("EXISTS key:{at}\r\n"));
    let answer = ask_all(server.port, &(requests + "EXEC"));
    let (queued, ran) = answer.split_once(&format!("*{}\r\n", 2 * KEYS)).expect("EXEC ran");
    assert!(!queued.contains("-OOM"));
    assert_eq!(ran, "+OK\r\n".repeat(KEYS) + &":1\r\n".repeat(KEYS) + "+OK\r\n");
    // What was too much goes then.
    until("eviction", || info(&server, "evicted_keys") > 100);
}

#[test]
fn what_is_to_go_goes_although_nobody_asks() {
    let server = Running::start(&[]);
    ask(server.port, "CONFIG SET notify-keyspace-events Ee maxmemory-policy allkeys-random");
    fill(&server, "key:", 1_000, 10, "");
    let mut listener = TcpStream::connect(("127.0.0.1", server.port)).expect("it listens");
    listener.set_read_timeout(Some(PATIENCE)).expect("it is a socket");
    listener.write_all(b"SUBSCRIBE __keyevent@0__:evicted\r\n").expect("it is read");
    let mut heard = BufReader::new(listener).lines().map(|line| line.expect("it goes on"));
    heard.find(|line| line == ":1");
    assert_eq!(ask(server.port, "CONFIG SET maxmemory 1"), "+OK");
    assert_eq!(heard.filter(|line| line == "message").take(1_000).count(), 1_000);
}

#[test]
fn tables_that_grow_are_no_reason_to_evict_or_to_refuse() {
    const HEADROOM: usize = 100 * 1024;
    for policy in ["volatile-lru", "volatile-lfu", "volatile-ttl", "volatile-random"] {
        // The tables grow at different moments.
        for lasting in [900, 1_020, 5_000] {
            let server = Running::start(&[]);
            fill(&server, "lasting:", lasting, 10, "");
            fill(&server, "passing:", 20, 10, ", 'EX', 1000");
            let maxmemory = info(&server, "used_memory") + HEADROOM;
            ask(
                server.port,
                &format!("CONFIG SET maxmemory-policy {policy} maxmemory {maxmemory}"),
            );
            let requests: Vec<_> = (0..1_024).map(|at| format!("SETEX key:{at} 1000 x")).collect();
            let answers = ask_all(server.port, &requests.join("\r\n"));
            assert_eq!(answers, "+OK\r\n".repeat(requests.len() + 1));
            let evicted = info(&server, "evicted_keys");
            assert!(evicted < 100, "{policy}, {lasting}: {evicted}");
        }
    }
}

#[test]
fn the_largest_command_is_not_remembered() {
    let server = Running::start(&[]);
    let before = info(&server, "used_memory");
    let numbers = |count: usize| (0..count).map(|at| format!(" {at}")).collect::<String>();
    for request in ["SADD key", "RPUSH key", "MGET", "DEL", "MSET"] {
        // As an array: a line may not be so long.
        let words: Vec<_> = (request.to_owned() + &numbers(200_000))
            .split(' ')
            .map(|word| format!("${}\r\n{word}\r\n", word.len()))
            .collect();
        ask(server.port, &format!("*{}\r\n{}", words.len(), words.concat().trim_end()));
        assert_eq!(ask(server.port, "FLUSHALL"), "+OK");
    }
    until("memory to be freed", || info(&server, "used_memory") < before + 300_000);
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
