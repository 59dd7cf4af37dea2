//! A second queue that keeps a server busy for a given share of a core: jobs are added, taken and
//! removed in pipelines, with pauses between them that are set anew by the CPU that the server has
//! used. A client of BullMQ would need more than the core that is left for it.

use crate::server::{Server, write_request};
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Some 0.3 ms of a server's time.
const PIPELINE_JOBS: usize = 100;
const CONTROL_PERIOD: Duration = Duration::from_millis(250);
const SETTLING_TIME: Duration = Duration::from_secs(3);
const PAUSE_US_MIN: f64 = 1.0;
const PAUSE_US_MAX: f64 = 10_000.0;

/// What `body` returns, and the share of one core that the server used meanwhile.
pub fn beside<T>(
    server: &Server,
    percent: f64,
    body: impl FnOnce() -> io::Result<T>,
) -> io::Result<(f64, T)> {
    let has_ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let load = scope.spawn(|| keep_busy(server, percent, &has_ended));
        thread::sleep(SETTLING_TIME);
        let result = server.busy_share(body);
        has_ended.store(true, Ordering::Relaxed);
        load.join().expect("the load does not panic")?;
        result
    })
}

/// Says `ready` once the server is as busy as it will be.
pub fn until_input_ends(server: &Server, percent: f64) -> io::Result<()> {
    beside(server, percent, || {
        println!("ready");
        io::stdout().flush()?;
        io::stdin().read_to_end(&mut Vec::new()).map(drop)
    })?;
    Ok(())
}

fn keep_busy(server: &Server, percent: f64, has_ended: &AtomicBool) -> io::Result<()> {
    let mut client = server.connect()?;
    let (requests, replies) = pipeline();
    let mut pause_us = 500.0;
    while !has_ended.load(Ordering::Relaxed) {
        let (share, ()) = server.busy_share(|| {
            let end = Instant::now() + CONTROL_PERIOD;
            while Instant::now() < end {
                client.ask(&requests, &replies)?;
                thread::sleep(Duration::from_secs_f64(pause_us / 1e6));
            }
            Ok(())
        })?;
        let correction = (share * 100.0 / percent).clamp(0.5, 2.0);
        pause_us = (pause_us * correction).clamp(PAUSE_US_MIN, PAUSE_US_MAX);
    }
    Ok(())
}

/// Jobs that each leave the queue as they have found it, so that the replies are always these.
fn pipeline() -> (Vec<u8>, Vec<u8>) {
    let (mut requests, mut replies) = (Vec::new(), Vec::new());
    for index in 0..PIPELINE_JOBS {
        let id = format!("{index:04}");
        let key = format!("second:{id}");
        for words in [
            &["HSET", &key, "name", "mail", "data", "{\"to\":\"user@example.com\"}"][..],
            &["LPUSH", "second:wait", &id],
            &["LMOVE", "second:wait", "second:active", "RIGHT", "LEFT"],
            &["LREM", "second:active", "-1", &id],
            &["DEL", &key],
        ] {
            write_request(&mut requests, words);
        }
        replies.extend(format!(":2\r\n:1\r\n$4\r\n{id}\r\n:1\r\n:1\r\n").bytes());
    }
    (requests, replies)
}
