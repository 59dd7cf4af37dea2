//! What clients feel of BGSAVE, and what it costs in memory: a ping each millisecond before and
//! meanwhile. tests/long/snapshot asks for five million keys, and for values of a million members,
//! and holds it to figures; here it is looked whether the file has all of them.

mod common;

use common::program::{Folder, Running, ask, ask_all, until};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Keys that are made by one script.
const AT_ONCE: usize = 2_000;

/// Half are hashes as BullMQ's jobs, and half are short texts.
const FILL: &str = r#"for i = ARGV[1], ARGV[2], 2 do
    local data = '{"to":"user' .. i .. '@example.org","template":"welcome-' .. i % 100
        .. '","locale":"en","order":' .. i * 7 .. '}'
    redis.call('HSET', 'bull:mail:' .. i, 'name', 'welcome', 'data', data,
        'opts', '{"attempts":3,"backoff":{"type":"exponential","delay":1000}}',
        'timestamp', 1795899330851 + i, 'delay', 0, 'priority', 0,
        'processedOn', 1795899331851 + i, 'finishedOn', 1795899331951 + i,
        'returnvalue', '"sent"', 'atm', 1)
    redis.call('SET', 'text:' .. i, 'some twenty bytes.' .. i % 100)
end"#;

/// One large value of each type, made of the numbers between two.
const FILL_LARGE: &str = r#"for i = ARGV[1], ARGV[2] do
    local text = 'order-' .. i .. '-of-somebody'
    redis.call('ZADD', 'large:zset', i * 7 % 100003, text)
    redis.call('HSET', 'large:hash', text, i)
    redis.call('HSETEX', 'large:timed', 'PXAT', 4102444800000 + i, 'FIELDS', 1, text, i)
    redis.call('SADD', 'large:set', text)
    redis.call('RPUSH', 'large:list', text)
    redis.call('XADD', 'large:stream', '*', 'order', text)
end"#;

/// Changes of them at random places, as many as its third argument says.
const CHANGE_LARGE: &str = r#"for i = 1, ARGV[3] do
    local text = 'order-' .. math.random(ARGV[1], ARGV[2]) .. '-of-somebody'
    redis.call('ZINCRBY', 'large:zset', 1000, text)
    redis.call('ZREM', 'large:zset', 'order-' .. math.random(ARGV[1], ARGV[2]) .. '-of-somebody')
    redis.call('HINCRBY', 'large:hash', text, 1)
    redis.call('HINCRBY', 'large:timed', text, 1)
    redis.call('HPEXPIREAT', 'large:timed', 4102444800000 + i, 'FIELDS', 1, text)
    redis.call('HDEL', 'large:timed', 'order-' .. math.random(ARGV[1], ARGV[2]) .. '-of-somebody')
    redis.call('HDEL', 'large:hash', 'order-' .. math.random(ARGV[1], ARGV[2]) .. '-of-somebody')
    redis.call('SREM', 'large:set', text)
    redis.call('SADD', 'large:set', text .. '-again')
    redis.call('LPOP', 'large:list')
    redis.call('RPUSH', 'large:list', text)
    redis.call('XADD', 'large:stream', '*', 'order', text)
end"#;

/// Round trips, in microseconds.
struct Pings(Vec<u64>);

impl Pings {
    /// One each millisecond, as long as it goes on.
    fn take(port: u16, goes_on: impl Fn() -> bool) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        stream.set_nodelay(true).expect("it is TCP");
        let mut stream = BufReader::new(stream);
        let mut took = Vec::new();
        while goes_on() {
            let began = Instant::now();
            stream.get_mut().write_all(b"PING\r\n").expect("it reads");
            let mut line = String::new();
            stream.read_line(&mut line).expect("it answers");
            took.push(began.elapsed().as_micros() as u64);
            std::thread::sleep(Duration::from_millis(1));
        }
        took.sort_unstable();
        Self(took)
    }

    fn p99_us(&self) -> u64 {
        self.0[self.0.len() * 99 / 100]
    }

    fn longest_us(&self) -> u64 {
        *self.0.last().expect("some were taken")
    }

    fn told(&self) -> String {
        let milliseconds = |us: u64| us as f64 / 1000.0;
        format!(
            "{} pings: p50 {:.2} ms, p99 {:.2} ms, longest {:.2} ms",
            self.0.len(),
            milliseconds(self.0[self.0.len() / 2]),
            milliseconds(self.p99_us()),
            milliseconds(self.longest_us()),
        )
    }
}

fn resident_kib(process: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0 kB");
    line.trim().trim_end_matches(" kB").parse().expect("it is a number")
}

/// Has scripts run.
struct Scripts(BufReader<TcpStream>);

impl Scripts {
    fn of(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        Self(BufReader::new(stream))
    }

    fn run(&mut self, script: &str, args: [usize; 3]) {
        let mut words = vec!["EVAL".to_owned(), script.to_owned(), "0".to_owned()];
        words.extend(args.map(|it| it.to_string()));
        let mut request = format!("*{}\r\n", words.len());
        words.iter().for_each(|it| request += &format!("${}\r\n{it}\r\n", it.len()));
        self.0.get_mut().write_all(request.as_bytes()).expect("it reads");
        let mut line = String::new();
        self.0.read_line(&mut line).expect("it answers");
        assert_eq!(line, "$-1\r\n");
    }
}

fn fill(port: u16, keys: usize, script: &str) {
    let mut scripts = Scripts::of(port);
    for first in (1..=keys).step_by(AT_ONCE) {
        scripts.run(script, [first, (first + AT_ONCE - 1).min(keys), 0]);
    }
}

/// How many the long form asks for; None in the brief form.
fn asked(name: &str) -> Option<usize> {
    Some(std::env::var(name).ok()?.parse().expect("a number"))
}

fn start(folder: &Folder) -> Running {
    let program = std::env::var_os("TORIL_TEST_SERVER")
        .map_or_else(|| env!("CARGO_BIN_EXE_toril").into(), PathBuf::from);
    let mut command = Command::new(program);
    command.args(["--save", "", "--enable-debug-command", "yes", "--dir", folder.text()]);
    Running::of(command)
}

fn is_saving(port: u16) -> bool {
    !ask_all(port, "INFO persistence").contains("rdb_bgsave_in_progress:0")
}

#[test]
fn large_values_are_saved_while_they_change() {
    let told = asked("TORIL_SNAPSHOT_MEMBERS");
    let members = told.unwrap_or(20_000);
    let folder = Folder::new("snapshot-large");
    let server = start(&folder);
    let port = server.port;
    fill(port, members, FILL_LARGE);
    let digest = ask(port, "DEBUG DIGEST");
    let idle_s = if told.is_some() { 10 } else { 1 };
    let end = Instant::now() + Duration::from_secs(idle_s);
    let mut scripts = Scripts::of(port);
    let mut change = || {
        scripts.run(CHANGE_LARGE, [1, members, 20]);
        std::thread::sleep(Duration::from_millis(1));
    };
    let idle = Pings::take(port, || Instant::now() < end);
    let (is_over, began) = (AtomicBool::new(false), Instant::now());
    let saving = std::thread::scope(|scope| {
        let pings = scope.spawn(|| Pings::take(port, || !is_over.load(Ordering::Relaxed)));
        assert_eq!(ask(port, "BGSAVE"), "+Background saving started");
        while is_saving(port) {
            change();
        }
        is_over.store(true, Ordering::Relaxed);
        pings.join().expect("it pings")
    });
    println!("six values of {members}, saved in {:.1} s", began.elapsed().as_secs_f64());
    println!("idle: {}", idle.told());
    println!("meanwhile, while they change: {}", saving.told());
    assert!(ask_all(port, "INFO persistence").contains("rdb_last_bgsave_status:ok"));
    assert_ne!(ask(port, "DEBUG DIGEST"), digest);
    if told.is_some() {
        assert!(saving.longest_us() <= idle.longest_us() + 10_000, "longest");
    }
    drop(server);
    let again = start(&folder);
    until("it is read", || ask(again.port, "DEBUG DIGEST") == digest);
}

#[test]
fn clients_hardly_feel_a_snapshot() {
    let told = asked("TORIL_SNAPSHOT_KEYS");
    let keys = told.unwrap_or(20_000);
    let folder = Folder::new("snapshot");
    let server = start(&folder);
    let (port, process) = (server.port, server.child.0.id());
    fill(port, keys, FILL);
    let size = ask(port, "DBSIZE");
    assert_eq!(size, format!(":{keys}"));
    let idle_s = if told.is_some() { 20 } else { 1 };
    let end = Instant::now() + Duration::from_secs(idle_s);
    let idle = Pings::take(port, || Instant::now() < end);
    let before_kib = resident_kib(process);
    let (is_over, began) = (AtomicBool::new(false), Instant::now());
    let (saving, most_kib) = std::thread::scope(|scope| {
        let pings = scope.spawn(|| Pings::take(port, || !is_over.load(Ordering::Relaxed)));
        assert_eq!(ask(port, "BGSAVE"), "+Background saving started");
        let mut most_kib = before_kib;
        loop {
            most_kib = most_kib.max(resident_kib(process));
            if !is_saving(port) {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        is_over.store(true, Ordering::Relaxed);
        (pings.join().expect("it pings"), most_kib)
    });
    println!("{keys} keys, saved in {:.1} s", began.elapsed().as_secs_f64());
    println!("idle: {}", idle.told());
    println!("meanwhile: {}", saving.told());
    println!("resident: {before_kib} KiB before, {most_kib} KiB at most");
    if told.is_some() {
        assert!(saving.p99_us() <= idle.p99_us() + 5_000, "p99");
        assert!(saving.longest_us() <= idle.longest_us() + 10_000, "longest");
        assert!(most_kib <= before_kib + before_kib / 8, "memory");
    }
    server.stop();
    let again = start(&folder);
    until("it is read", || ask(again.port, "DBSIZE") == size);
}
