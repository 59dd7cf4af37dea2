//! Keys whose time is near live longer at the new server until it takes over.
//!
//! The new server would let a key go at its time, while what the old one did to it before is still
//! on its way: an EXPIRE would find nothing to prolong, an INCR begin at 0. So whatever TTL is near
//! is put off, and the key's name is kept. Shortly before the switch the old server is asked for
//! the true times of them all, and those that are near even then, in the pause itself. Keys of
//! hashes alone are held, not fields.

use crate::proto::args::is_keyword;
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// What is nearer than this is put off while much is under way, and when little is.
pub const WHILE_COPYING: Duration = Duration::from_secs(24 * 3600);
pub const WHILE_SWITCHING: Duration = Duration::from_secs(10);

/// What is put off is put off by this beyond.
const BEYOND_MS: i64 = 60_000;

/// Commands that give a key the value, and so the TTL, of another: the place of that key.
const GIVES_TTL: &[(&[u8], usize)] =
    &[(b"rename", 2), (b"renamenx", 2), (b"copy", 2), (b"move", 1)];

/// Names of keys whose TTLs are put off.
pub struct Held {
    names: HashSet<(usize, Vec<u8>)>,
    span: Duration,
    /// The old server's clock at a moment.
    clock: (i64, Instant),
}

impl Held {
    /// By the old server's clock.
    pub fn new(now_ms: i64) -> Self {
        Self { names: HashSet::new(), span: WHILE_COPYING, clock: (now_ms, Instant::now()) }
    }

    /// Milliseconds since 1970, by the old server's clock.
    fn now_ms(&self) -> i64 {
        self.clock.0 + self.clock.1.elapsed().as_millis() as i64
    }

    /// From now on what is nearer than this is put off.
    pub fn hold_for(&mut self, span: Duration) {
        self.span = span;
    }

    fn span_ms(&self) -> i64 {
        self.span.as_millis() as i64
    }

    /// Whether a time is so far that it can be told as it is.
    pub fn is_far(&self, at_ms: i64) -> bool {
        at_ms > self.now_ms() + self.span_ms()
    }

    /// When a key is to go at the new server.
    pub fn put_off(&mut self, db: usize, key: &[u8], at_ms: i64) -> i64 {
        if self.is_far(at_ms) {
            return at_ms;
        }
        self.names.insert((db, key.to_vec()));
        self.now_ms() + self.span_ms() + BEYOND_MS
    }

    /// All names so far, which are let go.
    pub fn take(&mut self) -> Vec<(usize, Vec<u8>)> {
        let mut all: Vec<_> = std::mem::take(&mut self.names).into_iter().collect();
        all.sort();
        all
    }

    /// Names that are to be held all the same.
    pub fn keep(&mut self, db: usize, key: Vec<u8>) {
        self.names.insert((db, key));
    }

    /// Puts off the TTL that a command of the stream tells. None if it tells none that is near.
    pub fn rewrite(&mut self, db: usize, name: &[u8], words: &[&[u8]]) -> Option<Vec<Vec<u8>>> {
        if let Some((_, at)) = GIVES_TTL.iter().find(|(gives, _)| *gives == name) {
            self.note_receiver(db, name, words, *at);
            return None;
        }
        let at = match name {
            b"pexpireat" => 2,
            b"restore" if words.get(2).is_some_and(|it| *it != b"0") => 2,
            b"set" => 1 + words.iter().skip(3).position(|it| is_keyword(it, "pxat"))? + 3,
            _ => return None,
        };
        let told = std::str::from_utf8(words.get(at)?).ok()?.parse().ok()?;
        let mut rewritten: Vec<Vec<u8>> = words.iter().map(|word| word.to_vec()).collect();
        if name == b"pexpireat" {
            // That it was done is known: nothing hangs on what TTL there is.
            rewritten.truncate(3);
        }
        rewritten[at] = self.put_off(db, words[1], told).to_string().into_bytes();
        Some(rewritten)
    }

    /// A key may have got a TTL that was put off.
    fn note_receiver(&mut self, db: usize, name: &[u8], words: &[&[u8]], at: usize) {
        let number = |at: usize| {
            words.get(at).and_then(|it| std::str::from_utf8(it).ok()?.parse::<usize>().ok())
        };
        let option = words.iter().position(|it| is_keyword(it, "db")).map(|it| it + 1);
        let db = match name {
            b"move" => number(2),
            b"copy" => option.filter(|it| *it > 3).and_then(number),
            _ => None,
        }
        .unwrap_or(db);
        if let Some(key) = words.get(at) {
            self.names.insert((db, key.to_vec()));
        }
    }

    /// Two databases have changed places.
    pub fn swap(&mut self, one: usize, other: usize) {
        let all = std::mem::take(&mut self.names);
        let swapped = all.into_iter().map(|(db, key)| match db {
            _ if db == one => (other, key),
            _ if db == other => (one, key),
            _ => (db, key),
        });
        self.names = swapped.collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expect: Option<&str>, held: &[(usize, &str)]) {
        let mut all = Held::new(1_000_000_000_000);
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let rewritten = all.rewrite(3, &words[0].to_ascii_lowercase(), &words);
        let text = rewritten.map(|words| String::from_utf8_lossy(&words.join(&b' ')).into_owned());
        // What is put off is put off from now on, give or take how long this takes.
        let text = text.map(|text| {
            text.replace("10000864", "LATER")
                .split("LATER")
                .next()
                .map(str::to_owned)
                .unwrap_or_default()
        });
        assert_eq!(text.as_deref(), expect, "{line}");
        let names: Vec<(usize, Vec<u8>)> = all.take();
        let names: Vec<_> =
            names.iter().map(|(db, key)| (*db, std::str::from_utf8(key).expect("text"))).collect();
        assert_eq!(names, held, "{line}");
    }

    #[test]
    fn ttls_that_are_near_are_put_off() {
        check("SET k v", None, &[]);
        check("SET k v XX PXAT 1000000005000", Some("SET k v XX PXAT "), &[(3, "k")]);
        check("SET k v PXAT 2000000000000", Some("SET k v PXAT 2000000000000"), &[]);
        check("SET pxat pxat", None, &[]);
        check("PEXPIREAT k 1000000005000 NX", Some("PEXPIREAT k "), &[(3, "k")]);
        check("PEXPIREAT k 2000000000000 NX", Some("PEXPIREAT k 2000000000000"), &[]);
        check("RESTORE k 0 payload ABSTTL", None, &[]);
        check("RENAME a b", None, &[(3, "b")]);
        check("COPY a b DB 5 REPLACE", None, &[(5, "b")]);
        check("COPY db db", None, &[(3, "db")]);
        check("MOVE a 7", None, &[(7, "a")]);
    }
}
