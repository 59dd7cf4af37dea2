//! A server that is measured: where it listens, and what its process has used.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::str::FromStr;
use std::time::{Duration, Instant};

pub struct Server {
    pub address: SocketAddr,
    pub pid: u32,
}

impl FromStr for Server {
    type Err = ();

    /// `ADDRESS@PID`
    fn from_str(word: &str) -> Result<Server, ()> {
        let (address, pid) = word.split_once('@').ok_or(())?;
        let (address, pid) = (address.parse().map_err(drop)?, pid.parse().map_err(drop)?);
        Ok(Server { address, pid })
    }
}

impl Server {
    pub fn connect(&self) -> io::Result<Client> {
        Client::connect(self.address)
    }

    /// User and system time of the process so far: the sum of its threads, in nanoseconds, where
    /// `/proc/PID/stat` would count in 10 ms.
    pub fn cpu_time(&self) -> io::Result<Duration> {
        let mut ns = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.pid))? {
            let stat = fs::read_to_string(thread?.path().join("schedstat"))?;
            ns += stat.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0);
        }
        Ok(Duration::from_nanos(ns))
    }

    /// The share of one core that the server uses while `body` runs, and what that returns.
    pub fn busy_share<T>(&self, body: impl FnOnce() -> io::Result<T>) -> io::Result<(f64, T)> {
        let (started, before) = (Instant::now(), self.cpu_time()?);
        let result = body()?;
        let spent = self.cpu_time()? - before;
        Ok((spent.div_duration_f64(started.elapsed()), result))
    }

    /// Memory that is resident: the server's own, not the kernel's for its sockets.
    pub fn resident_bytes(&self) -> io::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kib.map(|kib| kib * 1024).ok_or_else(|| io::Error::other("the process has ended"))
    }
}

/// A connection that knows what it will be answered.
pub struct Client(TcpStream);

impl Client {
    /// Longer than any server here is silent, so that one that hangs ends the measurement.
    const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);

    pub fn connect(address: SocketAddr) -> io::Result<Client> {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(Self::ANSWER_TIME_MAX))?;
        Ok(Client(socket))
    }

    pub fn send(&mut self, request: &[u8]) -> io::Result<()> {
        self.0.write_all(request)
    }

    /// Reads as many bytes as `reply` has, which must be those.
    pub fn expect(&mut self, reply: &[u8]) -> io::Result<()> {
        let mut buffer = [0; 256];
        for part in reply.chunks(buffer.len()) {
            let read = &mut buffer[..part.len()];
            self.0.read_exact(read)?;
            if read != part {
                let [read, part] = [&*read, part].map(String::from_utf8_lossy);
                return Err(io::Error::other(format!("got {read:?} instead of {part:?}")));
            }
        }
        Ok(())
    }

    pub fn ask(&mut self, request: &[u8], reply: &[u8]) -> io::Result<()> {
        self.send(request)?;
        self.expect(reply)
    }

    pub fn ping(&mut self) -> io::Result<()> {
        self.ask(b"*1\r\n$4\r\nPING\r\n", b"+PONG\r\n")
    }
}

/// Appends a request as RESP.
pub fn write_request(out: &mut Vec<u8>, words: &[&str]) {
    write!(out, "*{}\r\n", words.len()).expect("a vector takes everything");
    for word in words {
        write!(out, "${}\r\n{word}\r\n", word.len()).expect("a vector takes everything");
    }
}

pub fn request(words: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    write_request(&mut out, words);
    out
}
