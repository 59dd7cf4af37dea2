//! The longest that a client has waited for a PONG: on an idle server, while a large list, hash,
//! set and sorted set grow and are deleted, while keys come to be, and while these get a TTL. It
//! asks some thousand times per second and runs before other programs where it may (`nice`), since
//! its waits for a processor count as well.

use crate::report;
use crate::server::{Client, Server, request, write_request};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const PIPELINE_REQUESTS: usize = 100;
const PING_PAUSE: Duration = Duration::from_micros(200);
const IDLE_TIME: Duration = Duration::from_secs(3);
/// What is freed or tidied after the last reply still counts.
const AFTER_TIME: Duration = Duration::from_millis(200);
const NICENESS: i32 = -10;

/// A request that adds one element or TTL, whose place is given as text.
type Adds = fn(&mut Vec<u8>, &str);

const COLLECTIONS: [(&str, Adds); 4] = [
    ("List", |out, place| write_request(out, &["RPUSH", "large", place])),
    ("Hash", |out, place| {
        write_request(out, &["HSET", "large", place, "a value that has a block of its own"])
    }),
    ("Set", |out, place| write_request(out, &["SADD", "large", place])),
    ("Zset", |out, place| write_request(out, &["ZADD", "large", place, place])),
];

pub fn measure(server: &Server, keys: usize, elements: usize) -> io::Result<()> {
    let mut client = server.connect()?;
    let idle = pinging(server, || {
        thread::sleep(IDLE_TIME);
        Ok(())
    })?;
    report("idleMs", idle);

    for (name, adds) in COLLECTIONS {
        let is_list = name == "List";
        let reply =
            |place: usize| if is_list { format!(":{}\r\n", place + 1) } else { ":1\r\n".into() };
        let grow = pinging(server, || send_all(&mut client, elements, adds, reply))?;
        report(&format!("grow{name}Ms"), grow);
        let delete = pinging(server, || client.ask(&request(&["DEL", "large"]), b":1\r\n"))?;
        report(&format!("delete{name}Ms"), delete);
    }

    let set: Adds = |out, place| {
        write_request(out, &["SET", &format!("key:{place}"), "a value that has a block of its own"])
    };
    let grow = pinging(server, || send_all(&mut client, keys, set, |_| "+OK\r\n".into()))?;
    report("growKeysMs", grow);
    let expire: Adds =
        |out, place| write_request(out, &["PEXPIRE", &format!("key:{place}"), "3600000"]);
    let grow = pinging(server, || send_all(&mut client, keys, expire, |_| ":1\r\n".into()))?;
    report("growTtlsMs", grow);
    Ok(())
}

fn send_all(
    client: &mut Client,
    count: usize,
    write: Adds,
    reply: impl Fn(usize) -> String,
) -> io::Result<()> {
    let (mut requests, mut replies) = (Vec::new(), Vec::new());
    for from in (0..count).step_by(PIPELINE_REQUESTS) {
        requests.clear();
        replies.clear();
        for place in from..count.min(from + PIPELINE_REQUESTS) {
            write(&mut requests, &place.to_string());
            replies.extend(reply(place).bytes());
        }
        client.ask(&requests, &replies)?;
    }
    Ok(())
}

/// The longest wait for a PONG while `body` runs, in milliseconds.
fn pinging(server: &Server, body: impl FnOnce() -> io::Result<()>) -> io::Result<f64> {
    let has_ended = AtomicBool::new(false);
    let mut client = server.connect()?;
    client.ping()?;
    let longest = thread::scope(|scope| {
        let pings = scope.spawn(|| {
            // Of this thread only; where that is not allowed it shares the processor.
            let _ = rustix::process::setpriority_process(None, NICENESS);
            let mut longest = Duration::ZERO;
            while !has_ended.load(Ordering::Relaxed) {
                let started = Instant::now();
                client.ping()?;
                longest = longest.max(started.elapsed());
                thread::sleep(PING_PAUSE);
            }
            io::Result::Ok(longest)
        });
        let result = body();
        thread::sleep(AFTER_TIME);
        has_ended.store(true, Ordering::Relaxed);
        let longest = pings.join().expect("the client does not panic");
        result.and(longest)
    })?;
    Ok(longest.as_secs_f64() * 1e3)
}
