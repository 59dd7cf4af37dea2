//! The append-only file: what a restart has, what a crash at any point leaves, and that other
//! servers read it.

mod common;

use common::peer::{ORACLES, Peer};
use common::program::{Folder, Guarded, Running, ask, ask_all, info, toril, until};
use common::reply::Reply;
use common::tcp::oracle;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const ON: [&str; 2] = ["--appendonly", "yes"];

fn folder(name: &str) -> PathBuf {
    Folder::new(name).0
}

fn ours(folder: &Path, more: &[&str]) -> Peer {
    let program = Path::new(env!("CARGO_BIN_EXE_toril"));
    Peer::start_with("toril", program, folder, &[&ON, more].concat())
}

/// Each kind of change that is written in another way than it was sent.
fn change(peer: &mut Peer) {
    for request in [
        "SET s v",
        "SET t v EX 5000",
        "SETEX u 5000 v",
        "PEXPIRE s 5000000",
        "SET gone v PX 1",
        "INCRBYFLOAT f 1.5",
        "HINCRBYFLOAT h a 2.5",
        "HSET h b 1",
        "RPUSH l a b c d",
        "LPOP l 2",
        "SADD set a b c d e",
        "SPOP set 2",
        "ZADD z 1 a 2 b 3 c",
        "ZPOPMIN z",
        "XADD x * f v",
        "XADD x MAXLEN ~ 10 * f v",
        "XGROUP CREATE x g 0",
        "XREADGROUP GROUP g alice COUNT 1 STREAMS x >",
        "GETDEL f",
        "SETBIT bits 7 1",
        "PFADD p a b",
        "PFCOUNT p",
        "COPY l m",
        "RENAME m n",
        "MOVE n 3",
        "SELECT 3",
        "SET in 3",
        "SWAPDB 3 4",
        "SELECT 0",
        "MULTI",
        "SET e 1",
        "INCR e",
        "EXEC",
        "EVAL redis.call('set',KEYS[1],'a')redis.call('append',KEYS[1],'b') 1 script",
    ] {
        assert!(!matches!(peer.say(request), Reply::Error(_)), "{request}");
    }
    let library = b"#!lua name=lib\nredis.register_function('f', function() return 7 end)";
    peer.ask(&[b"FUNCTION", b"LOAD", b"REPLACE", library]);
    std::thread::sleep(Duration::from_millis(5));
    // Redis has it in its memory, and in its digest, until somebody looks.
    assert_eq!(peer.say("EXISTS gone"), Reply::Integer(0));
}

#[test]
fn a_restart_has_all_and_other_servers_read_it() {
    for name in ["toril"].into_iter().chain(ORACLES) {
        let folder = folder(&format!("restart-{name}"));
        let mut peer = ours(&folder, &[]);
        change(&mut peer);
        let (digest, pending) = (peer.say("DEBUG DIGEST"), peer.say("XPENDING x g"));
        peer.end();
        // Redis 7.0 reads RDB up to version 10.
        let other = match (name, oracle(name)) {
            ("toril", _) => ours(&folder, &[]),
            ("redis-7.0", _) => continue,
            (_, None) => {
                eprintln!("skipped: {name} is not installed");
                continue;
            }
            (_, Some(program)) => Peer::start_with(name, &program, &folder, &ON),
        };
        let mut other = other;
        assert_eq!(other.say("DEBUG DIGEST"), digest, "{name}");
        assert_eq!(other.say("XPENDING x g"), pending, "{name}");
        assert_eq!(other.say("FCALL f 0"), Reply::Integer(7), "{name}");
        // And back, with what it has added.
        other.say("FLUSHALL");
        change(&mut other);
        let digest = other.say("DEBUG DIGEST");
        other.end();
        let mut back = ours(&folder, &[]);
        assert_eq!(back.say("DEBUG DIGEST"), digest, "back from {name}");
        assert_eq!(back.say("EXISTS gone"), Reply::Integer(0));
    }
}

/// Appends to lists until the server is gone; what was acknowledged last, list by list.
fn load(port: u16, lists: usize, is_over: &Arc<AtomicBool>) -> Vec<std::thread::JoinHandle<u64>> {
    (0..lists)
        .map(|list| {
            let is_over = is_over.clone();
            std::thread::spawn(move || {
                let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return 0 };
                let mut replies = BufReader::new(stream.try_clone().expect("it is a socket"));
                let mut count = 0;
                while !is_over.load(Ordering::Relaxed) {
                    let mut line = String::new();
                    let sent = stream.write_all(format!("RPUSH q{list} {count}\r\n").as_bytes());
                    if sent.is_err() || !matches!(replies.read_line(&mut line), Ok(1..)) {
                        break;
                    }
                    assert_eq!(line, format!(":{}\r\n", count + 1));
                    count += 1;
                }
                count
            })
        })
        .collect()
}

#[test]
fn what_was_acknowledged_is_there_whenever_the_process_is_killed() {
    let folder = folder("kill");
    let lists = 6;
    let mut total = 0;
    for round in 0..5 {
        let mut peer = ours(&folder, &["--appendfsync", "always"]);
        peer.say("FLUSHALL");
        let is_over = Arc::default();
        let threads = load(peer.port(), lists, &is_over);
        if round % 2 == 1 {
            peer.say("BGREWRITEAOF");
        }
        std::thread::sleep(Duration::from_millis(20 + 37 * round));
        peer.kill();
        let acknowledged: Vec<u64> =
            threads.into_iter().map(|it| it.join().expect("it ends")).collect();
        total += acknowledged.iter().sum::<u64>();
        let mut peer = ours(&folder, &[]);
        for (list, count) in acknowledged.into_iter().enumerate() {
            let Reply::Integer(len) = peer.say(&format!("LLEN q{list}")) else { panic!("a list") };
            // One more may have been written whose answer nobody has seen.
            assert!((count..=count + 1).contains(&(len as u64)), "{len} of {count} in {round}");
        }
        peer.end();
    }
    // A disk may be too busy for the first of them.
    assert!(total > 0);
}

#[test]
fn a_rewrite_holds_what_it_began_with_and_what_came_meanwhile() {
    let folder = folder("rewrite");
    let mut peer = ours(&folder, &["--auto-aof-rewrite-percentage", "0"]);
    for at in 0..20_000 {
        peer.say(&format!("SET k{at} {at}"));
    }
    let is_over = Arc::<AtomicBool>::default();
    let threads = load(peer.port(), 2, &is_over);
    let reply = peer.say("BGREWRITEAOF");
    assert_eq!(reply, Reply::Simple(b"Background append only file rewriting started".into()));
    let again = peer.say("BGSAVE");
    assert!(matches!(again, Reply::Error(text) if text.starts_with(b"ERR Another child process")));
    until("the rewrite", || {
        let info = peer.say("INFO persistence").text().expect("text");
        String::from_utf8_lossy(&info).contains("aof_rewrite_in_progress:0")
    });
    is_over.store(true, Ordering::Relaxed);
    threads.into_iter().for_each(|it| _ = it.join().expect("it ends"));
    let digest = peer.say("DEBUG DIGEST");
    peer.end();
    let mut names: Vec<String> = std::fs::read_dir(folder.join("appendonlydir"))
        .expect("it is there")
        .map(|entry| entry.expect("it is there").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    let expect = ["2.base.rdb", "2.incr.aof", "manifest"].map(|it| format!("appendonly.aof.{it}"));
    assert_eq!(names, expect);
    assert_eq!(ours(&folder, &[]).say("DEBUG DIGEST"), digest);
}

#[test]
fn it_is_written_anew_when_it_has_grown() {
    // What is left of it does not grow by as much again.
    let few = folder("grown-once");
    let mut peer = ours(&few, &["--auto-aof-rewrite-min-size", "20kb"]);
    for at in 0..200 {
        peer.say(&format!("SET k{at} {}", "x".repeat(100)));
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(Duration::from_millis(300));
    let info = peer.say("INFO persistence").text().expect("text");
    let info = String::from_utf8_lossy(&info).into_owned();
    assert!(info.contains("aof_rewrites:1\r\n"), "{info}");
    peer.end();
    let folder = folder("grown");
    let mut peer = ours(&folder, &["--auto-aof-rewrite-min-size", "20kb"]);
    for at in 0..2_000 {
        peer.say(&format!("SET k {at}"));
    }
    let first = folder.join("appendonlydir/appendonly.aof.1.base.rdb");
    assert!(first.exists() || peer.say("EXISTS k") == Reply::Integer(1));
    until("the rewrite", || !first.exists());
}

/// Makes each sync take so many seconds, as a disk does that is busy, and fail once there is a
/// file "broken" beside the library.
#[cfg(target_os = "linux")]
const ODD_SYNC: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
int fdatasync(int fd) {
    sleep(atoi(getenv("SYNC_SPAN_S")));
    if (access(getenv("SYNC_FAILS_WITH"), F_OK) == 0) {
        errno = EIO;
        return -1;
    }
    return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(fd);
}
"#;

/// A server whose syncs take so many seconds.
#[cfg(target_os = "linux")]
fn on_odd_disk(folder: &Path, span_s: u32, more: &[&str]) -> Running {
    let (source, library) = (folder.join("odd.c"), folder.join("odd.so"));
    std::fs::write(&source, ODD_SYNC).expect("there is room");
    let mut compiler = std::process::Command::new("cc");
    let compiled = compiler.args(["-shared", "-fPIC", "-o"]).args([&library, &source]).status();
    assert!(compiled.expect("there is a C compiler, as Lua needs one").success());
    let mut command = toril(&["--dir", folder.to_str().expect("it is UTF-8")]);
    command.args(ON).args(more).env("LD_PRELOAD", &library);
    command.env("SYNC_SPAN_S", span_s.to_string()).env("SYNC_FAILS_WITH", folder.join("broken"));
    Running::of(command)
}

/// After a sync that failed nobody knows what is on the disk: nobody is answered, and it ends.
#[cfg(target_os = "linux")]
#[test]
fn a_sync_that_fails_ends_the_process_and_says_so() {
    for policy in ["always", "everysec"] {
        let folder = folder(&format!("failed-sync-{policy}"));
        let server = on_odd_disk(&folder, 0, &["--appendfsync", policy]);
        assert_eq!(ask(server.port, "SET k v"), "+OK");
        std::fs::write(folder.join("broken"), "").expect("there is room");
        let mut stream = TcpStream::connect(("127.0.0.1", server.port)).expect("it listens");
        stream.write_all(b"SET k w\r\n").expect("it reads");
        let mut answer = String::new();
        let heard = BufReader::new(stream).read_line(&mut answer);
        if policy == "always" {
            assert!(!matches!(heard, Ok(1..)), "{answer}");
        }
        let (log, status) = server.end();
        assert_eq!(status, Some(1), "{policy}");
        assert!(log.contains("cannot be synced: Input/output error"), "{policy}: {log}");
    }
}

/// What a process has written outlives it, so only writes that wait for the sync could be lost.
#[cfg(target_os = "linux")]
#[test]
fn a_sync_that_takes_long_holds_up_no_write() {
    let folder = folder("slow-sync");
    let mut server = on_odd_disk(&folder, 3, &[]);
    let mut count = 0;
    until("the sync is under way for two seconds and counted", || {
        count += 1;
        assert_eq!(ask(server.port, &format!("SET k{count} v")), "+OK");
        std::thread::sleep(Duration::from_millis(10));
        !ask_all(server.port, "INFO persistence").contains("aof_delayed_fsync:0")
    });
    assert!(count > 100);
    std::thread::sleep(Duration::from_millis(100));
    server.child.kill().expect("it runs");
    server.child.wait().expect("it has ended");
    assert_eq!(ours(&folder, &[]).say("DBSIZE"), Reply::Integer(count));
}

/// So no loss of power takes more than some seconds, and memory is bounded.
#[cfg(target_os = "linux")]
#[test]
fn writes_wait_for_a_disk_that_does_not_keep_up() {
    let folder = folder("slower-sync");
    let server = on_odd_disk(&folder, 9, &[]);
    let port = server.port;
    let reader = std::thread::spawn(move || {
        let began = Instant::now();
        let mut longest = Duration::ZERO;
        while began.elapsed() < Duration::from_secs(11) {
            let asked = Instant::now();
            ask(port, "GET k1");
            longest = longest.max(asked.elapsed());
            std::thread::sleep(Duration::from_millis(5));
        }
        longest
    });
    let mut longest = Duration::ZERO;
    let began = Instant::now();
    let mut count = 0;
    while began.elapsed() < Duration::from_secs(12) {
        let asked = Instant::now();
        count += 1;
        assert_eq!(ask(server.port, &format!("SET k{count} v")), "+OK");
        longest = longest.max(asked.elapsed());
        std::thread::sleep(Duration::from_millis(5));
    }
    // The sync begins after a second and takes nine; from its fifth second on writes wait for it.
    assert!((2.5..4.5).contains(&longest.as_secs_f64()), "{longest:?}");
    let longest = reader.join().expect("reads are answered");
    assert!(longest < Duration::from_secs(2), "{longest:?}");
}

/// WAITAOF tells of what this server and its replicas have on their disks.
#[test]
fn waitaof_answers_once_files_are_synced() {
    let pair = |file, replicas| Reply::Array(vec![Reply::Integer(file), Reply::Integer(replicas)]);
    let folders = ["waitaof-first", "waitaof-second"].map(folder);
    let mut peer = ours(&folders[0], &[]);
    assert_eq!(peer.say("WAITAOF 1 0 0"), pair(1, 0));
    peer.say("SET k 1");
    assert_eq!(peer.say("WAITAOF 1 0 50"), pair(0, 0));
    let asked = Instant::now();
    assert_eq!(peer.say("WAITAOF 1 0 0"), pair(1, 0));
    assert!(asked.elapsed() < Duration::from_millis(1_500), "{:?}", asked.elapsed());
    peer.say("CONFIG SET appendfsync always");
    peer.say("SET k 2");
    assert_eq!(peer.say("WAITAOF 1 0 1"), pair(1, 0));
    peer.say("CONFIG SET appendfsync everysec");
    assert_eq!(peer.say("WAITAOF 0 1 50"), pair(1, 0));
    let followers = [Some(("toril", PathBuf::from(env!("CARGO_BIN_EXE_toril")))), real()];
    for (name, program) in followers.into_iter().flatten() {
        let place = format!("127.0.0.1 {}", peer.port());
        let options = [&ON[..], &["--replicaof", &place]].concat();
        let follower = Peer::start_with(name, &program, &folders[1], &options);
        until(&format!("{name} follows"), || peer.say("WAIT 1 100") == Reply::Integer(1));
        peer.say("SET k 3");
        assert_eq!(peer.say("WAITAOF 1 1 10000"), pair(1, 1), "{name}");
        follower.end();
        std::fs::remove_dir_all(&folders[1]).expect("it was ours");
        std::fs::create_dir_all(&folders[1]).expect("there is room");
    }
    let Some((name, program)) = real() else { return };
    let mut leader = Peer::start_with(name, &program, &folders[1], &ON);
    peer.say(&format!("REPLICAOF 127.0.0.1 {}", leader.port()));
    until("toril follows", || leader.say("WAIT 1 100") == Reply::Integer(1));
    leader.say("SET k 4");
    assert_eq!(leader.say("WAITAOF 1 1 10000"), pair(1, 1));
}

/// A server that knows WAITAOF; None where it is not installed.
fn real() -> Option<(&'static str, PathBuf)> {
    Some(("redis-7.4", oracle("redis-7.4")?))
}

/// A crash between any two operations on files, at the start, at rewrites and while appending.
#[test]
fn a_crash_at_any_point_leaves_what_was_acknowledged() {
    let mut point = 0;
    loop {
        point += 1;
        let folder = folder("points");
        let mut child = toril(&["--port", "0", "--dir", folder.to_str().expect("UTF-8")])
            .args(ON)
            .args(["--appendfsync", "always"])
            .env("TORIL_FAULT_POINT", point.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .map(Guarded)
            .expect("the program starts");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut port = 0;
        for line in output.lines() {
            let line = line.expect("it is UTF-8");
            if let Some((_, text)) = line.split_once("Listening on 127.0.0.1:") {
                port = text.trim().parse().expect("it is a port");
            }
            if line.contains("Ready to accept") {
                break;
            }
        }
        let mut acknowledged = Vec::new();
        let is_alive = port > 0 && work(port, &mut acknowledged);
        if is_alive {
            assert!(point > 15, "there are more points than {point}");
            break;
        }
        assert!(!child.wait().expect("it has ended").success());
        for name in ["toril", "redis-7.4", "valkey"] {
            let copy = self::folder(&format!("points-{name}"));
            copy_folder(&folder, &copy);
            let mut peer = match (name, oracle(name)) {
                ("toril", _) => ours(&copy, &[]),
                // Of the others some points at each run, so that all are seen in time.
                (_, Some(program)) if point % 3 == 0 => {
                    Peer::start_with(name, &program, &copy, &ON)
                }
                _ => continue,
            };
            for (key, value) in &acknowledged {
                let found = peer.say(&format!("GET {key}")).text();
                assert_eq!(found.as_deref(), Some(value.as_bytes()), "{name}, point {point}");
            }
        }
    }
}

/// Writes and has it written anew, twice. False once the server is gone.
fn work(port: u16, acknowledged: &mut Vec<(String, String)>) -> bool {
    let ask = |request: &str| {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.write_all(format!("{request}\r\n").as_bytes()).ok()?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).ok().filter(|count| *count > 0)?;
        Some(line.trim_end().to_owned())
    };
    for round in 0..2 {
        for at in 0..3 {
            let (key, value) = (format!("k{round}{at}"), at.to_string());
            let Some(answer) = ask(&format!("SET {key} {value}")) else { return false };
            assert_eq!(answer, "+OK");
            acknowledged.push((key, value));
        }
        if ask("BGREWRITEAOF").is_none() {
            return false;
        }
        for _ in 0..100 {
            std::thread::sleep(Duration::from_millis(5));
            if ask(&format!("SET during {round}")).is_none() {
                return false;
            }
            let done = "return redis.call('INFO','persistence'):find('aof_rewrite_in_progress:0')";
            match ask(&format!("EVAL \"{done}\" 0")) {
                None => return false,
                Some(answer) if answer.starts_with(':') => break,
                Some(_) => {}
            }
        }
        if ask("SAVE").is_none() {
            return false;
        }
    }
    true
}

fn copy_folder(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).expect("it is there") {
        let entry = entry.expect("it is there");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            std::fs::create_dir_all(&target).expect("there is room");
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("there is room");
        }
    }
}

/// The text with which a start ends.
fn refusal(folder: &Path, more: &[&str]) -> String {
    let folder = folder.to_str().expect("UTF-8");
    let output =
        toril(&["--port", "0", "--dir", folder]).args(ON).args(more).output().expect("it starts");
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// garnet #2150: a base that could not be read was passed over, and what followed it was all there
/// was. redis #5177: zeroes that a loss of power leaves at the end kept a server from starting.
#[test]
fn what_is_not_whole_is_cut_or_refused_and_never_written_over() {
    let folder = folder("tails");
    let increment = folder.join("appendonlydir/appendonly.aof.1.incr.aof");
    let mut peer = ours(&folder, &[]);
    peer.say("SET k v");
    peer.end();
    let good = std::fs::read(&increment).expect("it is there");
    // In the middle of a command, and of a transaction.
    for tail in
        ["*3\r\n$3\r\nSET\r\n$1\r\nk", "*1\r\n$5\r\nMULTI\r\n*2\r\n$3\r\nDEL\r\n$1\r\nk\r\n"]
    {
        std::fs::write(&increment, [&good[..], tail.as_bytes()].concat()).expect("there is room");
        assert!(
            refusal(&folder, &["--aof-load-truncated", "no"]).contains("Unexpected end of file")
        );
        let mut peer = ours(&folder, &[]);
        assert_eq!(peer.say("GET k"), Reply::Bulk(b"v".into()));
        peer.end();
        assert_eq!(std::fs::read(&increment).expect("it is there"), good);
    }
    std::fs::write(&increment, [&good[..], &[0; 50]].concat()).expect("there is room");
    let text = refusal(&folder, &[]);
    assert!(text.contains("as after a loss of power") && text.contains("--repair yes"), "{text}");
    let mut peer = ours(&folder, &["--repair", "yes"]);
    assert_eq!(peer.say("GET k"), Reply::Bulk(b"v".into()));
    peer.end();
    assert!(folder.join("appendonlydir/appendonly.aof.1.incr.aof.broken").exists());
    assert_eq!(std::fs::read(&increment).expect("it is there"), good);
    // A base that is damaged, and a manifest that is lost.
    let base = folder.join("appendonlydir/appendonly.aof.1.base.rdb");
    let before = std::fs::read(&base).expect("it is there");
    std::fs::write(&base, &before[..before.len() - 9]).expect("there is room");
    assert!(refusal(&folder, &[]).contains("it was cut"));
    std::fs::write(&base, &before).expect("there is room");
    std::fs::remove_file(folder.join("appendonlydir/appendonly.aof.manifest")).expect("it was");
    assert!(refusal(&folder, &[]).contains("no manifest"));
    assert_eq!(std::fs::read(&base).expect("it is there"), before);
}

#[test]
fn who_says_no_more_is_answered_all_the_same() {
    let peer = ours(&folder("half"), &["--appendfsync", "always"]);
    for at in 1..=5 {
        let mut stream = TcpStream::connect(("127.0.0.1", peer.port())).expect("it listens");
        stream.write_all(b"RPUSH q a\r\n").expect("it reads");
        stream.shutdown(std::net::Shutdown::Write).expect("it is open");
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).expect("it answers");
        assert_eq!(answer, format!(":{at}\r\n"));
    }
    peer.end();
}

#[test]
fn one_server_writes_to_a_folder() {
    let folder = folder("two");
    let peer = ours(&folder, &[]);
    assert!(refusal(&folder, &[]).contains("another server writes here"));
    peer.end();
    ours(&folder, &[]).end();
}

#[test]
fn what_cannot_be_replayed_is_told_with_its_place() {
    let folder = folder("odd");
    let mut peer = ours(&folder, &[]);
    peer.say("SET k v");
    peer.end();
    let increment = folder.join("appendonlydir/appendonly.aof.1.incr.aof");
    let good = std::fs::read(&increment).expect("it is there");
    for (tail, words) in [
        ("*1\r\n$6\r\nNOSUCH\r\n", "a command that toril does not run: ERR unknown command"),
        ("*2\r\n$3\r\nSET\r\n$1\r\nk\r\n", "wrong number of arguments"),
        ("*2\r\n$6\r\nSELECT\r\n$2\r\n20\r\n", "start with --databases 21"),
    ] {
        std::fs::write(&increment, [&good[..], tail.as_bytes()].concat()).expect("there is room");
        let text = refusal(&folder, &[]);
        assert!(text.contains(words), "{text}");
        assert!(text.contains(&format!("at byte {}", good.len())), "{text}");
        let mut peer = ours(&folder, &["--repair", "yes"]);
        assert_eq!(peer.say("GET k"), Reply::Bulk(b"v".into()));
        peer.end();
        assert_eq!(std::fs::read(&increment).expect("it is there"), good);
    }
    // Each original is kept.
    assert!(folder.join("appendonlydir/appendonly.aof.1.incr.aof.broken.3").exists());
    let load = refusal(&folder, &["--load", "x.rdb"]);
    assert!(load.contains("the append-only file holds data already"), "{load}");
}

#[test]
fn the_clock_stands_while_there_is_a_log() {
    let mut peer = ours(&folder("clock"), &[]);
    let refusal =
        "ERR the clock cannot move while data is written to a log or followed by a replica";
    assert_eq!(peer.say("TORIL CLOCK ADVANCE 1s"), Reply::Error(refusal.into()));
    peer.end();
}

#[test]
fn it_begins_with_a_snapshot_rather_than_with_nothing() {
    let folder = folder("dump");
    let program = Path::new(env!("CARGO_BIN_EXE_toril"));
    let mut peer = Peer::start_in("toril", program, &folder);
    peer.say("SET k v");
    peer.say("SAVE");
    drop(peer);
    for _ in 0..2 {
        let mut peer = ours(&folder, &[]);
        assert_eq!(peer.say("GET k"), Reply::Bulk(b"v".into()));
        peer.end();
        let _ = std::fs::remove_file(folder.join("dump.rdb"));
    }
}

/// A server whose files may have so many blocks of 512 bytes, as on a disk that is full.
fn on_small_disk(folder: &Path, more: &[&str]) -> Peer {
    let script = folder.join("toril");
    let program = env!("CARGO_BIN_EXE_toril");
    let text = format!("#!/bin/sh\ntrap '' XFSZ\nulimit -S -f 64\nexec {program} \"$@\"\n");
    std::fs::write(&script, text).expect("there is room");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&script, mode).expect("it is ours");
    Peer::start_with("toril", &script, folder, &[&ON, more].concat())
}

#[test]
fn a_disk_that_is_full_refuses_writes_serves_reads_and_heals() {
    let folder = folder("full");
    let mut peer = on_small_disk(&folder, &[]);
    let mut acknowledged = 0;
    until("MISCONF", || match peer.say(&format!("SET k{acknowledged} {}", "x".repeat(1_000))) {
        Reply::Error(text) => {
            let expect = "MISCONF Errors writing to the AOF file: File too large";
            assert_eq!(String::from_utf8_lossy(&text), expect);
            true
        }
        _ => {
            acknowledged += 1;
            false
        }
    });
    assert!(peer.say("GET k0").text().is_some_and(|value| value.len() == 1_000));
    assert!(matches!(peer.say("PING"), Reply::Error(_)));
    let waiting = |peer: &Peer| info(peer.port(), "aof_buffer_length").parse::<u64>();
    assert!(waiting(&peer).is_ok_and(|it| it > 0), "{:?}", waiting(&peer));
    peer.lift_file_limit();
    until("healing", || !matches!(peer.say("SET healed 1"), Reply::Error(_)));
    until("all is written", || waiting(&peer) == Ok(0));
    peer.end();
    let mut peer = ours(&folder, &[]);
    assert_eq!(peer.say("DBSIZE"), Reply::Integer(acknowledged + 1));
    peer.end();
}

#[test]
fn with_always_nobody_is_answered_before_the_disk_has_it() {
    let folder = folder("full-always");
    let peer = on_small_disk(&folder, &["--appendfsync", "always"]);
    let mut stream = TcpStream::connect(("127.0.0.1", peer.port())).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_millis(500))).expect("it is more than nothing");
    let mut replies = BufReader::new(stream.try_clone().expect("it is a socket"));
    let mut line = String::new();
    let mut acknowledged = 0;
    loop {
        let request = format!("RPUSH q {}\r\n", "x".repeat(1_000));
        stream.write_all(request.as_bytes()).expect("it reads");
        line.clear();
        match replies.read_line(&mut line) {
            Ok(_) => acknowledged += 1,
            // Neither an answer nor an error: nobody knows yet what becomes of it.
            Err(_) => break,
        }
        assert!(acknowledged < 100, "{line}");
    }
    assert!(acknowledged > 5);
    peer.lift_file_limit();
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("it is more than nothing");
    replies.read_line(&mut line).expect("the answer comes");
    assert_eq!(line, format!(":{}\r\n", acknowledged + 1));
    peer.kill();
    let mut peer = ours(&folder, &[]);
    assert_eq!(peer.say("LLEN q"), Reply::Integer(acknowledged + 1));
    peer.end();
}
