//! What all clients ask for, recorded for the pages that show it: as MONITOR tells it, while one of
//! them is open, for half a minute or so many commands.

use crate::engine::Engine;
use crate::engine::client::ClientId;
use std::collections::{HashMap, VecDeque};

/// A recording ends after so long or so many commands, unless it is to go on.
const SPAN_US: u64 = 30_000_000;
pub const COMMANDS_MAX: usize = 10_000;

/// As many of what came between two looks are taken in; the others are counted.
const AT_ONCE_MAX: usize = 2_000;

/// A page that is fetched anew closes its stream a moment before it opens the next.
const UNSEEN_US: u64 = 2_000_000;

/// Bytes of a command that are kept.
const WORDS_LEN_MAX: usize = 400;

/// A command that somebody has asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeardCommand {
    /// Counted from the first that was heard.
    pub number: usize,
    /// The wall clock.
    pub at_us: i64,
    pub db: usize,
    /// Empty for what a script calls.
    pub address: String,
    /// The name of the client.
    pub client: String,
    pub command: String,
    /// Its other words, quoted.
    pub words: String,
}

impl HeardCommand {
    /// Reads a line of MONITOR: `1339518083.107412 [0 127.0.0.1:60866] "keys" "*"`. None if it is
    /// none.
    fn read(line: &str, number: usize) -> Option<Self> {
        let (moment, rest) = line.split_once(" [")?;
        let (seconds, micros) = moment.split_once('.')?;
        let (db, rest) = rest.split_once(' ')?;
        let (address, rest) = rest.split_once("] \"")?;
        let (command, words) = rest.split_once('"')?;
        let end = words.floor_char_boundary(WORDS_LEN_MAX);
        let rest = if end < words.len() { "…" } else { "" };
        Some(Self {
            number,
            at_us: seconds.parse::<i64>().ok()? * 1_000_000 + micros.parse::<i64>().ok()?,
            db: db.parse().ok()?,
            address: if address == "lua" { "" } else { address }.to_owned(),
            client: String::new(),
            command: command.to_uppercase(),
            words: format!("{}{rest}", words[..end].trim_start()),
        })
    }
}

/// Which recording a page shows, and what it wants of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// The number of the recording; one that has not begun yet begins. 0: none.
    pub number: usize,
    /// It is to go on until nobody sees it.
    pub goes_on: bool,
    /// It is to end now.
    pub is_over: bool,
}

/// The last recording, and how many there were.
#[derive(Default)]
pub struct Recording {
    pub number: usize,
    /// Sees what all ask for, while this goes on.
    monitor: Option<ClientId>,
    /// The newest last.
    pub heard: VecDeque<HeardCommand>,
    /// How many commands there were, and how many of them were not taken in.
    pub count: usize,
    pub passed_over: usize,
    /// When it ends by itself.
    ends_us: Option<u64>,
    seen_us: u64,
}

impl Recording {
    /// A page is opened.
    pub fn wish(&mut self, engine: &mut Engine, wish: Wish) {
        let now_us = engine.keyspace.now.mono_us;
        self.seen_us = now_us;
        if wish.number > self.number {
            self.end(engine);
            let monitor = Some(engine.add_monitor(super::streams::NAME));
            let ends_us = Some(now_us + SPAN_US);
            *self =
                Self { number: wish.number, monitor, ends_us, seen_us: now_us, ..Self::default() };
        }
        if wish.number != self.number || self.monitor.is_none() {
            return;
        }
        if wish.goes_on {
            self.ends_us = None;
        }
        if wish.is_over {
            self.end(engine);
        }
    }

    /// Takes in what has come; whether there was something new to show.
    pub fn take_in(&mut self, engine: &mut Engine, is_seen: bool) -> bool {
        let now_us = engine.keyspace.now.mono_us;
        if is_seen {
            self.seen_us = now_us;
        }
        let Some(monitor) = self.monitor else { return false };
        let output = engine.take_output(monitor);
        if !output.is_empty() {
            self.read(engine, &output);
        }
        let is_gone = engine.clients.get(monitor).is_none();
        let has_ended =
            self.ends_us.is_some_and(|ends_us| now_us >= ends_us || self.count >= COMMANDS_MAX);
        if has_ended || is_gone || now_us - self.seen_us > UNSEEN_US {
            self.end(engine);
            return true;
        }
        !output.is_empty()
    }

    fn read(&mut self, engine: &Engine, output: &[u8]) {
        let named = engine.clients.iter().filter(|client| !client.name.is_empty());
        let names: HashMap<&str, &[u8]> =
            named.map(|client| (&*client.peer.addr, &*client.name)).collect();
        let lines = output.split(|&byte| byte == b'\n').filter_map(|line| line.strip_prefix(b"+"));
        for (at, line) in lines.enumerate() {
            self.count += 1;
            let line = String::from_utf8_lossy(line.trim_ascii_end());
            match HeardCommand::read(&line, self.count).filter(|_| at < AT_ONCE_MAX) {
                None => self.passed_over += 1,
                Some(mut heard) => {
                    let name = names.get(&*heard.address).copied().unwrap_or_default();
                    heard.client = String::from_utf8_lossy(name).into_owned();
                    self.heard.push_back(heard);
                }
            }
        }
        self.heard.drain(..self.heard.len().saturating_sub(COMMANDS_MAX));
    }

    /// Nothing more is recorded; what was can still be seen.
    pub fn end(&mut self, engine: &mut Engine) {
        if let Some(monitor) = self.monitor.take() {
            engine.disconnect(monitor, engine.keyspace.now);
        }
    }

    pub fn is_on(&self) -> bool {
        self.monitor.is_some()
    }

    /// The wall clock's moment at which it ends by itself; None if it does not.
    pub fn ends_ms(&self, engine: &Engine) -> Option<i64> {
        let now = engine.keyspace.now;
        let ends_us = self.ends_us.filter(|_| self.is_on())?;
        // To the second, so that what is drawn stays the same while nothing comes.
        let left_ms = (ends_us.saturating_sub(now.mono_us) / 1000) as i64;
        Some((now.wall_ms + left_ms + 500) / 1000 * 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_monitor_are_read() {
        let read = |line: &str| HeardCommand::read(line, 7);
        let heard = read(r#"1339518083.007412 [3 127.0.0.1:60866] "set" "a \"b\"" "\x00""#);
        let expect = HeardCommand {
            number: 7,
            at_us: 1_339_518_083_007_412,
            db: 3,
            address: "127.0.0.1:60866".into(),
            client: String::new(),
            command: "SET".into(),
            words: r#""a \"b\"" "\x00""#.into(),
        };
        assert_eq!(heard, Some(expect));
        let script = read(r#"1.000001 [0 lua] "ping""#).expect("it is a line");
        assert_eq!((&*script.address, &*script.command, &*script.words), ("", "PING", ""));
        let unix = read(r#"1.000001 [0 /tmp/a b] c:0] "get" "k""#).expect("it is a line");
        assert_eq!((&*unix.address, &*unix.words), ("/tmp/a b] c:0", "\"k\""));
        let long = format!(r#"1.0 [0 a] "set" "{}""#, "é".repeat(300));
        assert!(read(&long).expect("it is a line").words.ends_with("é…"));
        for line in ["OK", "", "1.0 [0", "x.y [0 a] \"get\"", "1.0 [0 a] get"] {
            assert_eq!(read(line), None, "{line}");
        }
    }
}
