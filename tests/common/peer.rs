//! A server in a process of its own that is spoken to in bytes, and all that can be read of a key.

use super::compare::Dialect;
use super::reply::Reply;
use super::tcp::{self, PATIENCE, Process};
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

pub const ORACLES: [&str; 4] = ["redis-7.4", "redis-8.2", "valkey", "redis-7.0"];

pub struct Peer {
    pub name: &'static str,
    port: u16,
    /// Ends with the first connection to it.
    _process: Option<Process>,
    stream: TcpStream,
    input: Vec<u8>,
}

impl Peer {
    pub fn start(name: &'static str, program: &Path) -> Self {
        let process = Process::start(program, Dialect::Resp2);
        let port = process.port;
        Self { _process: Some(process), ..Self::connect(name, port) }
    }

    /// One that saves to this folder, and begins with what is there.
    pub fn start_in(name: &'static str, program: &Path, folder: &Path) -> Self {
        Self::start_with(name, program, folder, &[])
    }

    /// As `start_in`, with more options.
    pub fn start_with(name: &'static str, program: &Path, folder: &Path, options: &[&str]) -> Self {
        let process = Process::start_with(program, Dialect::Resp2, folder, options);
        let port = process.port;
        let mut peer = Self { _process: Some(process), ..Self::connect(name, port) };
        while peer.say("PING") != Reply::Simple(b"PONG".into()) {
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        peer
    }

    /// Ends the server as a signal does, and waits for that.
    pub fn end(self) {
        self._process.expect("it was started here").end();
    }

    /// Lets it write files of any size from now on.
    pub fn lift_file_limit(&self) {
        self._process.as_ref().expect("it was started here").lift_file_limit();
    }

    /// Ends it as a crash does.
    pub fn kill(self) {
        drop(self);
    }

    pub fn toril() -> Self {
        Self::start("toril", Path::new(env!("CARGO_BIN_EXE_toril")))
    }

    /// Another connection to the same server, which does not outlive the first.
    pub fn another_client(&self) -> Self {
        Self::connect(self.name, self.port)
    }

    pub fn connect(name: &'static str, port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("the server is up");
        stream.set_read_timeout(Some(PATIENCE)).expect("it is more than nothing");
        Self { name, port, _process: None, stream, input: Vec::new() }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn ask(&mut self, words: &[&[u8]]) -> Reply {
        let words: Vec<Vec<u8>> = words.iter().map(|word| word.to_vec()).collect();
        self.stream.write_all(&tcp::encode(&[words])).expect("the server reads");
        loop {
            if let Some((reply, len)) = Reply::decode(&self.input) {
                self.input.drain(..len);
                return reply;
            }
            let mut chunk = [0; 64 * 1024];
            let len = self.stream.read(&mut chunk).expect("the server answers in time");
            assert!(len > 0, "{} has closed the connection", self.name);
            self.input.extend_from_slice(&chunk[..len]);
        }
    }

    /// The words stand between blanks, and `""` is an empty one.
    pub fn say(&mut self, line: &str) -> Reply {
        let words = line.split(' ').map(|word| if word == "\"\"" { "" } else { word });
        self.ask(&words.map(str::as_bytes).collect::<Vec<_>>())
    }

    pub fn dump(&mut self, key: &str) -> Vec<u8> {
        self.say(&format!("DUMP {key}")).text().expect("the key is there")
    }

    pub fn restore(&mut self, key: &str, payload: &[u8]) -> Reply {
        self.ask(&[b"RESTORE", key.as_bytes(), b"0", payload, b"REPLACE"])
    }

    /// All that can be read of a key, in an order that the data alone gives.
    pub fn read(&mut self, key: &str) -> String {
        let kind = self.say(&format!("TYPE {key}"));
        let kind = String::from_utf8(kind.text().expect("a status")).expect("a word");
        let requests: &[&str] = match &*kind {
            "string" => &["GET {}"],
            "list" => &["LRANGE {} 0 -1"],
            "set" => &["SMEMBERS {}"],
            "hash" => &["HGETALL {}"],
            "zset" => &["ZRANGE {} 0 -1 WITHSCORES"],
            "stream" => &["XRANGE {} - +", "XINFO STREAM {}"],
            other => panic!("{key} is of type {other}"),
        };
        let mut all = kind.clone();
        for request in requests {
            let reply = self.say(&request.replace("{}", key));
            let text = match &reply {
                Reply::Array(items) if kind == "set" => sorted(items, 1),
                Reply::Array(items) if kind == "hash" => sorted(items, 2),
                // Redis 7.0 tells 17 digits of each.
                Reply::Array(items) if kind == "zset" => scored(items),
                // Redis tells of the tree's own nodes.
                Reply::Array(items) if request.starts_with("XINFO") => {
                    let is_own =
                        |pair: &&[Reply]| pair[0] == Reply::Bulk(b"radix-tree-nodes".into());
                    let pairs = items.chunks(2).filter(|pair| !is_own(pair));
                    format!("{:?}", pairs.collect::<Vec<_>>())
                }
                reply => format!("{reply:?}"),
            };
            write!(all, " {text}").expect("a String takes all");
        }
        all
    }

    /// When a hash's fields go, in their order; of no other type anything.
    pub fn read_expiries(&mut self, key: &str) -> Vec<(Vec<u8>, i64)> {
        let Reply::Array(fields) = self.say(&format!("HKEYS {key}")) else { return Vec::new() };
        let fields: Vec<Vec<u8>> = fields.iter().filter_map(Reply::text).collect();
        let count = fields.len().to_string();
        let mut words = vec![&b"HPEXPIRETIME"[..], key.as_bytes(), b"FIELDS", count.as_bytes()];
        words.extend(fields.iter().map(|field| &field[..]));
        let Reply::Array(expiries) = self.ask(&words) else { return Vec::new() };
        let at_ms = |reply: Reply| if let Reply::Integer(at_ms) = reply { at_ms } else { 0 };
        let mut all: Vec<_> = fields.iter().cloned().zip(expiries.into_iter().map(at_ms)).collect();
        all.retain(|(_, at_ms)| *at_ms != -1);
        all.sort();
        all
    }

    /// What there is to know of a stream's groups; of no other type anything.
    pub fn read_groups(&mut self, key: &str) -> Option<Reply> {
        let Reply::Array(items) = self.say(&format!("XINFO STREAM {key} FULL COUNT 0")) else {
            return None;
        };
        let is_groups = |pair: &&[Reply]| pair[0] == Reply::Bulk(b"groups".into());
        items.chunks(2).find(is_groups).map(|pair| pair[1].clone())
    }

    pub fn encoding(&mut self, key: &str) -> Reply {
        self.say(&format!("OBJECT ENCODING {key}"))
    }
}

fn sorted(items: &[Reply], each: usize) -> String {
    let mut items: Vec<String> = items.chunks(each).map(|chunk| format!("{chunk:?}")).collect();
    items.sort();
    items.join(" ")
}

/// Members and the scores that their texts mean.
fn scored(items: &[Reply]) -> String {
    let text = |reply: &Reply| String::from_utf8(reply.text().expect("a score")).expect("digits");
    let score = |reply: &Reply| text(reply).parse::<f64>().expect("a number").to_bits();
    let pairs = items.chunks(2).map(|pair| (&pair[0], score(&pair[1])));
    format!("{:?}", pairs.collect::<Vec<_>>())
}
