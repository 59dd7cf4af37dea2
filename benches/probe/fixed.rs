//! What BullMQ and Node are late by themselves: a server that does no work at all. It hands a
//! worker a job every 10 ms, of which the text stands here, ends each BZPOPMIN by a timer of its
//! own, and says OK to the rest. BullMQ's scripts are told by their number of keys.

use crate::timer::Timer;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const MOVE_TO_ACTIVE_KEYS: &str = "11";
const MOVE_TO_FINISHED_KEYS: &str = "14";

/// After the worker has asked for the first time.
const FIRST_JOB_MS: u64 = 1_500;
const JOB_PERIOD_MS: u64 = 10;
/// What jobs say that they were to wait.
const DELAY_MS: u64 = 1_000;

#[derive(Default)]
struct Jobs {
    /// When the next one is due; zero before the first request.
    due_ms: u64,
    handed: u64,
}

/// Says at which port it listens.
pub fn until_input_ends() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?.port());
    io::stdout().flush()?;
    thread::spawn(move || {
        let jobs: &Mutex<Jobs> = Box::leak(Box::default());
        for socket in listener.incoming().flatten() {
            thread::spawn(move || serve(socket, jobs));
        }
    });
    io::stdin().read_to_end(&mut Vec::new()).map(drop)
}

fn serve(mut socket: TcpStream, jobs: &Mutex<Jobs>) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let mut input = BufReader::new(socket.try_clone()?);
    let timer = Timer::new()?;
    loop {
        let request = read_request(&mut input)?;
        let words: Vec<&str> = request.iter().map(String::as_str).collect();
        let reply = match words[..] {
            ["bzpopmin", _, seconds] => {
                let span = Duration::from_secs_f64(seconds.parse().expect("it is a number"));
                timer.sleep(span.max(Duration::from_micros(1)))?;
                "*-1\r\n".to_owned()
            }
            ["info", ..] => bulk("redis_version:7.4.0\r\nmaxmemory_policy:noeviction\r\n"),
            ["evalsha" | "eval", _, MOVE_TO_ACTIVE_KEYS, ..] => {
                jobs.lock().expect("nobody panics").next(now_ms())
            }
            ["evalsha" | "eval", _, MOVE_TO_FINISHED_KEYS, ..] => {
                nothing_until(jobs.lock().expect("nobody panics").due_ms)
            }
            ["evalsha" | "eval", ..] => "*0\r\n".to_owned(),
            // The client waits until it is hung up on.
            ["quit"] => return socket.write_all(b"+OK\r\n"),
            _ => "+OK\r\n".to_owned(),
        };
        socket.write_all(reply.as_bytes())?;
    }
}

impl Jobs {
    fn next(&mut self, now_ms: u64) -> String {
        if self.due_ms == 0 {
            self.due_ms = now_ms + FIRST_JOB_MS;
        }
        if now_ms < self.due_ms {
            return nothing_until(self.due_ms);
        }
        let due_ms = self.due_ms;
        self.due_ms += JOB_PERIOD_MS;
        self.handed += 1;
        let [timestamp, now] = [due_ms - DELAY_MS, now_ms].map(|ms| ms.to_string());
        let opts = format!("{{\"delay\":{DELAY_MS},\"attempts\":0}}");
        let fields = [
            ("name", "mail"),
            ("data", "{}"),
            ("opts", &opts),
            ("timestamp", &timestamp),
            ("delay", "0"),
            ("priority", "0"),
            ("processedOn", &now),
            ("ats", "1"),
        ];
        let mut reply = format!("*4\r\n*{}\r\n", fields.len() * 2);
        reply.extend(fields.iter().flat_map(|(field, value)| [bulk(field), bulk(value)]));
        reply + &bulk(&self.handed.to_string()) + ":0\r\n:0\r\n"
    }
}

/// No job, no limit of rate, and when to ask again.
fn nothing_until(due_ms: u64) -> String {
    format!("*4\r\n:0\r\n:0\r\n:0\r\n:{due_ms}\r\n")
}

fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

/// The words of a request, the first in small letters. An error ends the connection.
fn read_request(input: &mut impl BufRead) -> io::Result<Vec<String>> {
    let count = read_number(input)?;
    let mut words = Vec::with_capacity(count);
    for index in 0..count {
        let mut word = vec![0; read_number(input)? + b"\r\n".len()];
        input.read_exact(&mut word)?;
        let word = String::from_utf8_lossy(&word).trim_end().to_owned();
        words.push(if index == 0 { word.to_ascii_lowercase() } else { word });
    }
    Ok(words)
}

/// What stands behind `*` or `$`.
fn read_number(input: &mut impl BufRead) -> io::Result<usize> {
    let mut line = String::new();
    input.read_line(&mut line)?;
    let number = line.get(1..).and_then(|digits| digits.trim_end().parse().ok());
    number.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("1970 is over");
    since.as_millis() as u64
}
