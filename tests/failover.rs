//! FAILOVER: the lead goes from toril to a replica, and from Redis and Valkey to toril, while
//! somebody writes; or it stays where it was.

mod common;

use common::any::AnyServer;
use common::program::{Folder, Running, ask, ask_all, info, until};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Has a server follow another.
fn follow(replica: u16, primary: u16) {
    assert_eq!(ask(replica, &format!("REPLICAOF 127.0.0.1 {primary}")), "+OK");
    until("the link is up", || info(replica, "master_link_status") == "up");
    until("it is counted", || ask(primary, "WAIT 1 100") == ":1");
}

/// Counts up until it is refused. Returns what was acknowledged.
fn count_up(port: u16, goes_on: &AtomicBool) -> u64 {
    let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", port)).expect("it listens"));
    let mut count = 0;
    while goes_on.load(Ordering::Relaxed) {
        stream.get_mut().write_all(b"INCR count\r\n").expect("it reads");
        let mut line = String::new();
        stream.read_line(&mut line).expect("it answers");
        if line.starts_with("-READONLY") {
            return count;
        }
        assert_eq!(line, format!(":{}\r\n", count + 1));
        count += 1;
    }
    panic!("{port} still takes writes after {count}");
}

/// The lead goes over while somebody writes: all that was acknowledged is there, and who led has
/// not been sent all anew.
fn check(from: &'static str, to: &'static str) {
    let folders = [from, to].map(|name| Folder::new(&format!("{from}-{to}-{name}")));
    let Some(first) = AnyServer::start(from, &folders[0], &[]) else { return };
    let Some(second) = AnyServer::start(to, &folders[1], &[]) else { return };
    ask(first.port, "DEBUG POPULATE 1000 p 100");
    follow(second.port, first.port);
    let goes_on = AtomicBool::new(true);
    let count = std::thread::scope(|scope| {
        let writer = scope.spawn(|| count_up(first.port, &goes_on));
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(ask(first.port, "FAILOVER TIMEOUT 10000"), "+OK");
        until("the other leads", || info(second.port, "role") == "master");
        until("who led follows", || info(first.port, "master_link_status") == "up");
        std::thread::sleep(Duration::from_millis(200));
        goes_on.store(false, Ordering::Relaxed);
        writer.join().expect("it was refused")
    });
    assert!(count > 100, "{from} to {to}: {count}");
    assert_eq!(ask_all(second.port, "GET count").lines().nth(1), Some(&*count.to_string()));
    assert_eq!(ask(second.port, "INCR count"), format!(":{}", count + 1));
    until("what is written there comes", || {
        ask(first.port, "DEBUG DIGEST") == ask(second.port, "DEBUG DIGEST")
    });
    assert_eq!(info(first.port, "master_failover_state"), "no-failover");
    assert_eq!(info(first.port, "master_replid"), info(second.port, "master_replid"));
    if from == "toril" {
        let log = first.stop();
        assert!(!log.contains("keys have come"), "{from} to {to}: {log}");
    }
}

#[test]
fn the_lead_goes_over_while_somebody_writes() {
    for name in ["redis-7.4", "redis-8.2", "valkey", "toril"] {
        check("toril", name);
    }
    for name in ["redis-7.4", "redis-7.0", "redis-8.2", "valkey"] {
        check(name, "toril");
    }
}

/// Who says on this connection that it is a replica which is reached at a port, and reads on.
fn claim_to_be_replica(server: u16, port: u16) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", server)).expect("it listens");
    let words = format!("REPLCONF listening-port {port} capa eof\r\nPSYNC ? -1\r\n");
    stream.write_all(words.as_bytes()).expect("it reads");
    std::thread::sleep(Duration::from_millis(300));
    let mut all = [0; 100_000];
    let _ = stream.read(&mut all).expect("a snapshot");
    stream.write_all(b"REPLCONF ACK 0\r\n").expect("it reads");
    until("it is counted", || info(server, "slave0").contains("state=online"));
    stream
}

fn lead() -> Running {
    Running::start(&["--save", ""])
}

/// A replica that does not say how far it is.
#[test]
fn it_is_given_up_when_nobody_has_all_in_time() {
    let (server, other) = (lead(), lead());
    let here = server.port;
    let _replica = claim_to_be_replica(here, other.port);
    ask(here, "SET k 1");
    assert_eq!(
        ask(here, "FAILOVER TO 127.0.0.1 1"),
        "-ERR FAILOVER target HOST and PORT is not a replica."
    );
    let forced = "-ERR FAILOVER with force option requires both a timeout and target HOST and IP.";
    assert_eq!(ask(here, &format!("FAILOVER TO 127.0.0.1 {} FORCE", other.port)), forced);
    assert_eq!(ask(here, "FAILOVER TIMEOUT 100 FORCE"), forced);
    let mut taker = BufReader::new(TcpStream::connect(("127.0.0.1", here)).expect("it listens"));
    taker.get_mut().write_all(b"TORIL HANDOVER PAUSE 10000\r\n").expect("it reads");
    let mut line = String::new();
    taker.read_line(&mut line).expect("it answers");
    assert!(line.starts_with(':'), "{line}");
    let handed = "-ERR FAILOVER is not valid when server has been, or is being, handed over.";
    assert_eq!(ask(here, "FAILOVER"), handed);
    drop(taker);
    let began = Instant::now();
    assert_eq!(ask(here, "FAILOVER TIMEOUT 700"), "+OK");
    assert_eq!(info(here, "master_failover_state"), "waiting-for-sync");
    assert_eq!(ask(here, "FAILOVER"), "-ERR FAILOVER already in progress.");
    assert_eq!(ask(here, "REPLICAOF NO ONE"), "-ERR REPLICAOF not allowed while failing over.");
    assert_eq!(ask(here, "PSYNC ? -1"), "-NOMASTERLINK Can't SYNC while failing over");
    assert_eq!(ask(here, "GET k"), "$1");
    // Held back until it is given up.
    assert_eq!(ask(here, "INCR k"), ":2");
    let span = began.elapsed();
    assert!(span >= Duration::from_millis(650) && span < Duration::from_secs(5), "{span:?}");
    assert_eq!(info(here, "master_failover_state"), "no-failover");
    // For longer than there is time.
    assert_eq!(ask(here, &format!("FAILOVER TIMEOUT {}", i64::MAX)), "+OK");
    assert_eq!(ask(here, "FAILOVER ABORT"), "+OK");
    assert_eq!(
        ask(here, &format!("FAILOVER TO 127.0.0.1 {}", 65_536 + u32::from(other.port))),
        "-ERR FAILOVER target HOST and PORT is not a replica."
    );
    assert_eq!(ask(here, "INCR k"), ":3");
    assert_eq!(ask(here, "FAILOVER ABORT"), "-ERR No failover in progress.");
    let log = server.stop();
    for line in [
        "FAILOVER requested to any replica.",
        "FAILOVER to any replica aborted: Replica never caught up before timeout",
        "FAILOVER to any replica aborted: Failover manually aborted",
    ] {
        assert!(log.contains(line), "{line}: {log}");
    }
}

/// Whoever is asked leads already.
#[test]
fn who_does_not_want_to_lead_leaves_the_lead_where_it_was() {
    let (server, other) = (lead(), lead());
    let here = server.port;
    let _replica = claim_to_be_replica(here, other.port);
    ask(here, "SET k 1");
    let history = info(here, "master_replid");
    assert_eq!(
        ask(here, &format!("FAILOVER TO 127.0.0.1 {} FORCE TIMEOUT 100", other.port)),
        "+OK"
    );
    assert_eq!(ask(here, "INCR k"), ":2");
    assert_eq!(info(here, "role"), "master");
    assert_eq!(info(here, "master_replid2"), history);
    assert_eq!(info(other.port, "role"), "master");
    let log = server.stop();
    let reason = "aborted: Failover target rejected psync request";
    assert!(log.contains("time out exceeded, failing over.") && log.contains(reason), "{log}");
}

/// Nobody knows whether the question has arrived: it is asked until somebody says otherwise.
#[test]
fn who_is_gone_is_asked_on() {
    let server = lead();
    let here = server.port;
    let unnamed = claim_to_be_replica(here, 0);
    assert_eq!(ask(here, "FAILOVER"), "-ERR FAILOVER requires connected replicas.");
    drop(unnamed);
    let _replica = claim_to_be_replica(here, 1);
    ask(here, "SET k 1");
    assert_eq!(ask(here, "FAILOVER TO 127.0.0.1 1 FORCE TIMEOUT 100"), "+OK");
    std::thread::sleep(Duration::from_millis(600));
    assert_eq!(info(here, "master_failover_state"), "failover-in-progress");
    assert_eq!(info(here, "role"), "slave");
    assert_eq!(ask(here, "FAILOVER ABORT"), "+OK");
    assert_eq!(ask(here, "INCR k"), ":2");
    assert_eq!(info(here, "role"), "master");
}
