//! How late blocking time-outs are: from the moment that a BZPOPMIN's time-out is due to the moment
//! that its reply has arrived on the client's socket, on an idle server and beside a second queue
//! that keeps it busy half of the time.
//!
//! What the machine allows is measured in the same way: a bare timerfd behind a TCP connection,
//! which no server can better.
//!
//! A time-out is due its span after the moment just before the request is written, so the request's
//! way to the server counts. Spans are whole milliseconds, since Redis rounds up to those, and
//! spread evenly over a tenth of a second, since Redis looks ten times per second: else each request
//! would meet its clock at the same phase.

use crate::server::{Client, Server, request};
use crate::timer::Timer;
use crate::{load, quantile, report};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use toril::util::rng::Rng;

const TIMEOUT_MS_MIN: usize = 1;
const TIMEOUT_MS_MAX: usize = 100;

/// Connections that wait at the same time: more take less time, but meet each other more often.
const LANES: usize = 4;
/// A condition ends here even if time-outs are left: Redis takes twice as long for each.
const CONDITION_TIME_MAX: Duration = Duration::from_secs(30);

const BUSY_PERCENT: f64 = 50.0;

const NULL_ARRAY: &[u8] = b"*-1\r\n";

pub fn measure_server(server: &Server, timeouts: usize) -> io::Result<()> {
    report_lateness("idle", &measure(timeouts, || wait_on(server.address))?);
    let (share, busy) =
        load::beside(server, BUSY_PERCENT, || measure(timeouts, || wait_on(server.address)))?;
    report_lateness("busy", &busy);
    report("busyPercent", share * 100.0);
    Ok(())
}

pub fn measure_floor(timeouts: usize) -> io::Result<()> {
    let floor = start_floor()?;
    report_lateness("idle", &measure(timeouts, || wait_on(floor))?);
    Ok(())
}

fn report_lateness(condition: &str, lateness: &[Duration]) {
    for (name, share) in [("P50", 0.5), ("P99", 0.99), ("Max", 1.0)] {
        report(&format!("{condition}{name}Us"), quantile(lateness, share).as_secs_f64() * 1e6);
    }
}

/// Runs the lanes, each on a wait of its own, and returns how late every time-out was, sorted.
fn measure<W>(timeouts: usize, connect: impl Fn() -> io::Result<W>) -> io::Result<Vec<Duration>>
where
    W: FnMut(Duration) -> io::Result<()> + Send,
{
    let left = AtomicUsize::new(timeouts);
    let end = Instant::now() + CONDITION_TIME_MAX;
    let waits = (0..LANES).map(|_| connect()).collect::<io::Result<Vec<W>>>()?;
    let left = &left;
    let mut lateness = thread::scope(|scope| {
        let lane = |(seed, wait)| scope.spawn(move || run_lane(seed, wait, left, end));
        let lanes: Vec<_> = (0..).zip(waits).map(lane).collect();
        let results = lanes.into_iter().map(|lane| lane.join().expect("no lane panics"));
        results.collect::<io::Result<Vec<_>>>().map(|lanes| lanes.concat())
    })?;
    lateness.sort_unstable();
    Ok(lateness)
}

fn run_lane(
    seed: u64,
    mut wait: impl FnMut(Duration) -> io::Result<()>,
    left: &AtomicUsize,
    end: Instant,
) -> io::Result<Vec<Duration>> {
    let mut rng = Rng::from_seed(seed);
    let mut lateness = Vec::new();
    let take_one = |count: usize| count.checked_sub(1);
    while Instant::now() < end
        && left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take_one).is_ok()
    {
        let span_ms = TIMEOUT_MS_MIN + rng.below(TIMEOUT_MS_MAX - TIMEOUT_MS_MIN + 1);
        let span = Duration::from_millis(span_ms as u64);
        let due = Instant::now() + span;
        wait(span)?;
        let now = Instant::now();
        assert!(now >= due, "a time-out of {span:?} came {:?} too early", due - now);
        lateness.push(now - due);
    }
    Ok(lateness)
}

/// A connection, as a wait: BZPOPMIN on a key that nobody ever adds to.
fn wait_on(address: SocketAddr) -> io::Result<impl FnMut(Duration) -> io::Result<()> + Send> {
    let mut client = Client::connect(address)?;
    Ok(move |span: Duration| {
        let seconds = span.as_secs_f64().to_string();
        client.ask(&request(&["BZPOPMIN", "empty", &seconds]), NULL_ARRAY)
    })
}

/// A server that can do nothing but time out: a thread and a timerfd for each connection.
fn start_floor() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for socket in listener.incoming().take(LANES) {
            thread::spawn(move || time_out(socket?));
        }
    });
    Ok(address)
}

fn time_out(mut socket: TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let timer = Timer::new()?;
    let mut buffer = [0; 128];
    loop {
        let len = socket.read(&mut buffer)?;
        let request = String::from_utf8_lossy(&buffer[..len]);
        // A request is so small that one read has all of it, and nothing after the lane has ended.
        let Some(seconds) = request.lines().last() else { return Ok(()) };
        timer.sleep(Duration::from_secs_f64(seconds.parse().expect("it is a number")))?;
        socket.write_all(NULL_ARRAY)?;
    }
}
