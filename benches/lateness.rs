//! How late blocking time-outs are: from the moment that a BZPOPMIN's time-out is due to the moment
//! that its reply has arrived on the client's socket, on an idle server and beside a connection
//! whose pipelines keep the server busy half of the time.
//!
//! ```text
//! cargo bench --bench lateness -- TIMEOUTS NAME=ADDRESS@PID...
//! ```
//!
//! prints `NAME idle|busy COUNT P50_US P99_US MAX_US BUSY_PERCENT` for each server. What the
//! machine allows is measured first, in the same way: `timer` is a bare timerfd, `timer+socket` one
//! behind a TCP connection, which no server can better. Clients are plain threads with blocking
//! sockets: a runtime of their own would be late as well.
//!
//! A time-out is due its span after the moment just before the request is written, so the request's
//! way to the server counts. Spans are whole milliseconds, since Redis rounds up to those, and
//! spread evenly over a tenth of a second, since Redis looks ten times a second: else each request
//! would meet its clock at the same phase.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use timer::Timer;
use toril::util::rng::Rng;

const TIMEOUT_MS_MIN: usize = 1;
const TIMEOUT_MS_MAX: usize = 100;

/// Connections that wait at the same time: more take less time, but meet each other more often.
const LANES: usize = 4;
/// A condition ends here even if time-outs are left: Redis takes twice as long for each.
const CONDITION_TIME_MAX: Duration = Duration::from_secs(30);

const BUSY_SHARE: f64 = 0.5;
const PIPELINE_REQUESTS: usize = 1_000;
/// How often the pauses between pipelines are set anew; the kernel counts CPU time in 10 ms.
const CONTROL_PERIOD: Duration = Duration::from_millis(500);
const SETTLING_TIME: Duration = Duration::from_secs(3);

const NULL_ARRAY: &[u8] = b"*-1\r\n";

fn main() -> io::Result<()> {
    // Cargo passes `--bench` as well.
    let mut words = std::env::args().skip(1).filter(|word| !word.starts_with('-'));
    let timeouts = words.next().map_or(100, |count| count.parse().expect("TIMEOUTS is a number"));
    let servers: Vec<Server> = words.map(|word| Server::parse(&word)).collect();

    let bare = measure(timeouts, || {
        let timer = Timer::new()?;
        Ok(move |span: Duration| timer.sleep(span))
    })?;
    report("timer", "idle", &bare, None);

    let floor = start_floor()?;
    report("timer+socket", "idle", &measure(timeouts, || wait_on(floor))?, None);

    for server in &servers {
        let idle = measure(timeouts, || wait_on(server.address))?;
        report(&server.name, "idle", &idle, None);
    }
    for server in &servers {
        let (busy, share) = beside_load(server, || measure(timeouts, || wait_on(server.address)))?;
        report(&server.name, "busy", &busy, Some(share));
    }
    Ok(())
}

struct Server {
    name: String,
    address: SocketAddr,
    pid: u32,
}

impl Server {
    fn parse(word: &str) -> Server {
        let parts = word.split_once('=').and_then(|(name, rest)| {
            let (address, pid) = rest.split_once('@')?;
            let (address, pid) = (address.parse().ok()?, pid.parse().ok()?);
            Some(Server { name: name.to_owned(), address, pid })
        });
        parts.unwrap_or_else(|| panic!("{word} is not NAME=ADDRESS@PID"))
    }

    /// User and system time of the process so far.
    fn cpu_time(&self) -> io::Result<Duration> {
        const TICKS_PER_SECOND: u64 = 100;
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid))?;
        // The second field, the program's name in parentheses, may have spaces.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let ticks: u64 =
            fields.split_whitespace().skip(11).take(2).flat_map(str::parse::<u64>).sum();
        Ok(Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND))
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
    let mut socket = TcpStream::connect(address)?;
    socket.set_nodelay(true)?;
    Ok(move |span: Duration| {
        let seconds = span.as_secs_f64().to_string();
        let len = seconds.len();
        let request = format!("*3\r\n$8\r\nBZPOPMIN\r\n$5\r\nempty\r\n${len}\r\n{seconds}\r\n");
        socket.write_all(request.as_bytes())?;
        let mut reply = [0; NULL_ARRAY.len()];
        socket.read_exact(&mut reply)?;
        assert_eq!(reply, NULL_ARRAY, "nothing is ever added");
        Ok(())
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

/// What `body` returns, and the share of one core that the server used meanwhile.
fn beside_load<T>(server: &Server, body: impl FnOnce() -> io::Result<T>) -> io::Result<(T, f64)> {
    let has_ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let load = scope.spawn(|| keep_busy(server, &has_ended));
        thread::sleep(SETTLING_TIME);
        let (started, before) = (Instant::now(), server.cpu_time());
        let result = body();
        let (elapsed, after) = (started.elapsed(), server.cpu_time());
        has_ended.store(true, Ordering::Relaxed);
        load.join().expect("the load does not panic")?;
        Ok((result?, (after? - before?).div_duration_f64(elapsed)))
    })
}

/// Sends pipelines, with pauses between them that leave the server idle for the rest of the time.
fn keep_busy(server: &Server, has_ended: &AtomicBool) -> io::Result<()> {
    let mut socket = TcpStream::connect(server.address)?;
    socket.set_nodelay(true)?;
    let request = |index| format!("*3\r\n$3\r\nSET\r\n$8\r\nkey:{index:04}\r\n$5\r\nvalue\r\n");
    let pipeline: String = (0..PIPELINE_REQUESTS).map(request).collect();
    let mut replies = vec![0; b"+OK\r\n".len() * PIPELINE_REQUESTS];
    let mut pause = Duration::from_micros(500);
    while !has_ended.load(Ordering::Relaxed) {
        let (started, before) = (Instant::now(), server.cpu_time()?);
        while started.elapsed() < CONTROL_PERIOD {
            socket.write_all(pipeline.as_bytes())?;
            socket.read_exact(&mut replies)?;
            thread::sleep(pause);
        }
        let share = (server.cpu_time()? - before).div_duration_f64(started.elapsed());
        let pause_us = pause.as_secs_f64() * 1e6 * (share / BUSY_SHARE).clamp(0.5, 2.0);
        pause = Duration::from_secs_f64(pause_us.clamp(1.0, 10_000.0) / 1e6);
    }
    Ok(())
}

fn report(name: &str, condition: &str, lateness: &[Duration], busy: Option<f64>) {
    let count = lateness.len();
    let us = |share: f64| lateness[((count as f64 * share) as usize).min(count - 1)].as_micros();
    let busy = busy.map_or("-".to_owned(), |share| format!("{:.0}", share * 100.0));
    println!("{name} {condition} {count} {} {} {} {busy}", us(0.5), us(0.99), us(1.0));
}

#[cfg(target_os = "linux")]
mod timer {
    use rustix::fd::OwnedFd;
    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };
    use std::io;
    use std::time::Duration;

    pub struct Timer(OwnedFd);

    impl Timer {
        pub fn new() -> io::Result<Timer> {
            Ok(Timer(timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?))
        }

        pub fn sleep(&self, span: Duration) -> io::Result<()> {
            let once = Itimerspec {
                it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
                it_value: span.try_into().map_err(io::Error::other)?,
            };
            timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once)?;
            rustix::io::read(&self.0, &mut [0; 8])?;
            Ok(())
        }
    }
}

/// Where there is no timerfd, what the standard library has.
#[cfg(not(target_os = "linux"))]
mod timer {
    use std::io;
    use std::time::Duration;

    pub struct Timer;

    impl Timer {
        pub fn new() -> io::Result<Timer> {
            Ok(Timer)
        }

        pub fn sleep(&self, span: Duration) -> io::Result<()> {
            std::thread::sleep(span);
            Ok(())
        }
    }
}
