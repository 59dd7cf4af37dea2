//! The move itself: the snapshot, the stream until little is under way, and the switch.

use super::effects::{self, Effects, Saying};
use super::held::{self, Held};
use super::plan::MovePlan;
use super::say;
use super::survey::Survey;
use super::target::{Target, TargetFacts};
use crate::command::table::table;
use crate::config::Limits;
use crate::persist::IncrementReader;
use crate::remote::{Feed, Response, Talk};
use crate::util::span;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout};

/// How often it is told how far we are, at most.
const TELL: Duration = Duration::from_secs(1);

/// How often the old server is told how far we are, and asked how far it is.
const LOOK: Duration = Duration::from_millis(50);

/// What is changed is there within this, several times one behind the other, before writes are
/// paused.
const LAG_MAX: Duration = Duration::from_millis(20);
const LOOKS_MIN: u32 = 3;

/// Where it never is, a fiftieth of the time that was waited for that will do, up to this.
const LAG_SHARE: u32 = 50;
const LAG_BOUND: Duration = Duration::from_secs(1);

/// A pause ends on its own some time after we have given up.
const PAUSE_MARGIN: Duration = Duration::from_millis(500);

/// Keys whose times are asked for at once.
const NAMES_MAX: usize = 5_000;

/// So many pauses may be in vain, and so much time lies between them.
const PAUSES_MAX: u32 = 5;
const BETWEEN_PAUSES: Duration = Duration::from_secs(2);

/// A move under way.
pub struct Moving<'a> {
    plan: &'a MovePlan,
    source: Talk,
    feed: Feed,
    target: Target,
    talks: Vec<Talk>,
    /// The version of RDB that the new server takes.
    reads: Option<u16>,
    reader: IncrementReader,
    effects: Effects,
    held: Held,
    /// Up to where the stream was said on, and what was said by then.
    said: u64,
    marks: VecDeque<(u64, Vec<u64>)>,
    /// Up to where all of it is done.
    done: u64,
    acknowledged: Instant,
    keys: u64,
    began: Instant,
    /// The old server was told that it has handed over, and has not answered.
    has_asked: bool,
}

/// How the pause of writes has ended.
enum Paused {
    Done,
    /// All goes on as before; it can be tried again.
    InVain(String),
}

impl<'a> Moving<'a> {
    /// Asks for a snapshot and the stream. A target that is to be emptied is emptied.
    ///
    /// # Errors
    /// Why not.
    pub async fn begin(
        plan: &'a MovePlan,
        source: Talk,
        mut target: Target,
        talks: Vec<Talk>,
        facts: &TargetFacts,
        now_ms: i64,
    ) -> Result<Self, String> {
        let began = Instant::now();
        if plan.replaces && !facts.keys.is_empty() {
            target.send_to_all(0, b"*1\r\n$8\r\nFLUSHALL\r\n").await?;
            target.settle().await?;
        }
        let feed = Feed::open(&plan.from, true, &Limits::default()).await?;
        let offset = feed.offset;
        let effects = Effects::new(table(), target.is_cluster(), 0);
        Ok(Self {
            plan,
            source,
            feed,
            target,
            talks,
            reads: facts.reads,
            reader: IncrementReader::new(offset),
            effects,
            held: Held::new(now_ms),
            said: offset,
            marks: VecDeque::new(),
            done: offset,
            acknowledged: began,
            keys: 0,
            began,
            has_asked: false,
        })
    }

    /// Copies the snapshot.
    ///
    /// # Errors
    /// Why it has not come whole.
    pub async fn copy(&mut self, survey: &Survey) -> Result<(), String> {
        let (mut told, total) = (Instant::now(), survey.total());
        let mut parcels = Vec::new();
        while let Some(keys) = self.feed.next_keys().await? {
            self.keys += keys.len() as u64;
            for key in &keys {
                effects::of_key(key, self.reads, &mut self.held, &mut |it| parcels.push(it));
                for parcel in parcels.drain(..) {
                    self.target.send(parcel).await?;
                }
            }
            if told.elapsed() > TELL {
                told = Instant::now();
                say(&format!("{} of {total} keys ({}/s)", self.keys, self.keys_per_s()));
            }
        }
        let report = self.feed.report();
        let libraries: Vec<Saying> =
            report.libraries.iter().map(|it| effects::of_library(it)).collect();
        self.effects = Effects::new(table(), self.target.is_cluster(), report.stream_db);
        for library in libraries {
            self.say_on(library).await?;
        }
        self.target.settle().await?;
        self.feed.acknowledge(self.done).await?;
        say(&format!(
            "{} keys are copied, in {} ({}/s)",
            self.keys,
            span::text(self.began.elapsed().as_millis() as u64),
            self.keys_per_s()
        ));
        Ok(())
    }

    fn keys_per_s(&self) -> u64 {
        (self.keys as f64 / self.began.elapsed().as_secs_f64().max(0.001)) as u64
    }

    async fn say_on(&mut self, saying: Saying) -> Result<(), String> {
        match saying {
            Saying::One(parcel) => self.target.send(parcel).await,
            Saying::All(db, bytes) => {
                // What stands before it may be about any slot.
                self.target.settle().await?;
                self.target.send_to_all(db, &bytes).await?;
                self.target.settle().await
            }
        }
    }

    /// Says on what has come of the stream, and waits for more, or for answers, or for a moment.
    async fn step(&mut self) -> Result<(), String> {
        self.reader.feed(&self.feed.take());
        while let Some(unit) = self.reader.next_unit() {
            if unit.offset != self.said {
                return Err("the stream has more than commands".into());
            }
            self.said = unit.end;
            for saying in self.effects.of_unit(&unit, &mut self.held)? {
                self.say_on(saying).await?;
            }
        }
        if self.reader.is_bad() {
            return Err(format!("the stream has behind offset {} what is no command", self.said));
        }
        self.target.flush().await?;
        if self.marks.back().map_or(self.done, |(offset, _)| *offset) < self.said {
            self.marks.push_back((self.said, self.target.mark()));
        }
        self.note_done();
        if self.done < self.said || self.acknowledged.elapsed() < LOOK {
            tokio::select! {
                come = self.feed.wait() => come?,
                () = self.target.changed() => {}
                () = sleep(LOOK) => {}
            }
            self.note_done();
        }
        if self.acknowledged.elapsed() >= LOOK {
            self.acknowledged = Instant::now();
            self.feed.acknowledge(self.done).await?;
        }
        Ok(())
    }

    fn note_done(&mut self) {
        while let Some((offset, _)) =
            self.marks.pop_front_if(|(_, mark)| self.target.has_answered(mark))
        {
            self.done = offset;
        }
    }

    /// Until the stream is done up to an offset. False if that takes longer than it may.
    async fn reach(&mut self, offset: u64, until: Instant) -> Result<bool, String> {
        while self.done < offset {
            if Instant::now() > until {
                return Ok(false);
            }
            self.step().await?;
        }
        Ok(true)
    }

    /// Gives keys that were held their true times, but for those that are near: these as well if
    /// it is `at_last`.
    async fn release(&mut self, at_last: bool) -> Result<(), String> {
        let names = self.held.take();
        for names in names.chunks(NAMES_MAX) {
            let mut requests: Vec<Vec<Vec<u8>>> = Vec::new();
            let mut selected = None;
            for (db, key) in names {
                if selected.replace(*db) != Some(*db) {
                    requests.push(vec![b"SELECT".to_vec(), db.to_string().into_bytes()]);
                }
                requests.push(vec![b"PEXPIRETIME".to_vec(), key.clone()]);
            }
            let answers = self.source.ask_all(&requests).await?;
            let times = answers.iter().filter_map(|answer| match answer {
                Response::Integer(at_ms) => Some(*at_ms),
                _ => None,
            });
            for ((db, key), at_ms) in names.iter().zip(times.collect::<Vec<_>>()) {
                match at_ms {
                    // It has gone, or its time has come, of which the stream says nothing while
                    // writes are paused.
                    -2 if at_last => self.say_on(effects::of_absence(*db, key)).await?,
                    -2 => self.held.keep(*db, key.clone()),
                    0.. if !at_last && !self.held.is_far(at_ms) => {
                        self.held.keep(*db, key.clone());
                    }
                    _ => self.say_on(effects::of_time(*db, key, at_ms)).await?,
                }
            }
        }
        if at_last { self.target.settle().await } else { self.target.flush().await }
    }

    /// Until what changes is there at once.
    async fn catch_up(&mut self) -> Result<(), String> {
        self.held.hold_for(held::WHILE_SWITCHING);
        self.reach_soon().await?;
        self.release(false).await?;
        self.reach_soon().await
    }

    async fn reach_soon(&mut self) -> Result<(), String> {
        let (mut looks, mut told, began) = (0, Instant::now(), Instant::now());
        while looks < LOOKS_MIN {
            let info = self.source.info("replication").await?;
            let (asked, offset) = (Instant::now(), info.number("master_repl_offset"));
            while self.done < offset {
                self.step().await?;
                if told.elapsed() > TELL {
                    told = Instant::now();
                    let behind = offset.saturating_sub(self.done);
                    say(&format!(
                        "{} changes are passed on, {behind} bytes behind",
                        self.effects.count
                    ));
                }
            }
            let lag_max = (LAG_MAX + began.elapsed() / LAG_SHARE).min(LAG_BOUND);
            looks = if asked.elapsed() <= lag_max { looks + 1 } else { 0 };
            self.step().await?;
        }
        Ok(())
    }

    /// Ends it: the new server has all, and the old one takes no more writes, or goes on with a
    /// copy.
    ///
    /// # Errors
    /// Why not; the old server goes on.
    pub async fn end(&mut self, is_toril: bool) -> Result<(), String> {
        for attempt in 1.. {
            self.catch_up().await?;
            let began = Instant::now();
            let span = self.plan.pause_max + PAUSE_MARGIN;
            let paused = match is_toril {
                true => timeout(span, self.pause(began)).await,
                false => timeout(span, self.compare_paused_redis(began)).await,
            };
            // The pause ends by itself, at the latest with our connection.
            let Ok(paused) = paused else {
                let why = format!("somebody has said nothing for {} ms", span.as_millis());
                return Err(self.outcome(&why));
            };
            let ended = match paused {
                Ok(Paused::Done) => {
                    self.tell_end(began);
                    return Ok(());
                }
                Ok(Paused::InVain(why)) if attempt < PAUSES_MAX => why,
                Ok(Paused::InVain(why)) | Err(why) => {
                    if !self.has_asked {
                        let _ = self.resume(is_toril).await;
                    }
                    return Err(self.outcome(&why));
                }
            };
            self.resume(is_toril).await?;
            say(&format!(
                "writes were paused for {} ms in vain: {ended}",
                began.elapsed().as_millis()
            ));
            let again = Instant::now() + BETWEEN_PAUSES;
            while Instant::now() < again {
                self.step().await?;
            }
        }
        unreachable!("attempts are counted")
    }

    /// How it has ended, which is not known while the last question has no answer.
    fn outcome(&self, why: &str) -> String {
        let from = &self.plan.from;
        match self.has_asked {
            true => format!(
                "{why}; whether {from} has handed over is not known: if it has, its INFO \
                 replication says handed_over_to"
            ),
            false => format!("{why}; {from} goes on as before"),
        }
    }

    async fn resume(&mut self, is_toril: bool) -> Result<(), String> {
        let words: &[&str] =
            if is_toril { &["TORIL", "HANDOVER", "RESUME"] } else { &["CLIENT", "UNPAUSE"] };
        self.source.ask(words).await.map(drop)
    }

    /// Pauses writes, looks whether both sides have the same, and has the old server leave them to
    /// the new one.
    async fn pause(&mut self, began: Instant) -> Result<Paused, String> {
        let MovePlan { pause_max, .. } = *self.plan;
        let span_ms = (pause_max + PAUSE_MARGIN).as_millis().min(60_000).to_string();
        let answer = self.source.ask(&["TORIL", "HANDOVER", "PAUSE", &span_ms]).await?;
        let Response::Integer(offset) = answer else {
            return Err("TORIL HANDOVER PAUSE answers no offset".into());
        };
        let (mut offset, until) = (offset as u64, began + pause_max);
        if !self.reach(offset, until).await? {
            return Err(format!(
                "writes were paused for {} ms, and the target has not answered",
                pause_max.as_millis()
            ));
        }
        self.release(true).await?;
        if let Some(why) = self.compare(true).await? {
            return Ok(Paused::InVain(why));
        }
        if self.plan.is_copy {
            self.resume(true).await?;
            return Ok(Paused::Done);
        }
        loop {
            let port = self.plan.to.port.to_string();
            let at = offset.to_string();
            let words = ["TORIL", "HANDOVER", "DONE", &at, &self.plan.to.host, &port];
            let forward_ms = self.plan.forward.map(|it| it.as_millis().to_string());
            let mut words: Vec<&[u8]> = words.into_iter().map(str::as_bytes).collect();
            if let Some(ms) = &forward_ms {
                words.extend([&b"FORWARD"[..], ms.as_bytes()]);
                words.extend(self.plan.forwards_to());
            }
            self.has_asked = true;
            let answer = self.source.ask_anything(&words).await?;
            self.has_asked = false;
            let Response::Error(why) = answer else { return Ok(Paused::Done) };
            // It pings those who follow it.
            let here =
                why.strip_prefix("ERR the stream is at ").and_then(|it| it.split(',').next());
            match here.and_then(|it| it.parse().ok()) {
                Some(here) if self.reach(here, until).await? => offset = here,
                _ => return Ok(Paused::InVain(why)),
            }
        }
    }

    /// The same with a server that cannot be told to take no more writes.
    async fn compare_paused_redis(&mut self, began: Instant) -> Result<Paused, String> {
        let MovePlan { pause_max, .. } = *self.plan;
        let span_ms = (pause_max + PAUSE_MARGIN).as_millis().to_string();
        self.source.ask(&["CLIENT", "PAUSE", &span_ms, "WRITE"]).await?;
        let offset = self.source.info("replication").await?.number("master_repl_offset");
        if !self.reach(offset, began + pause_max).await? {
            return Err("the target has not answered while writes were paused".into());
        }
        self.release(true).await?;
        if let Some(why) = self.compare(false).await? {
            return Ok(Paused::InVain(why));
        }
        self.resume(false).await?;
        Ok(Paused::Done)
    }

    /// What differs between both sides; None if nothing does.
    async fn compare(&mut self, is_toril: bool) -> Result<Option<String>, String> {
        let here = self.source.info("keyspace").await?.keys_by_db();
        let there = self.target.keys(&mut self.talks).await?;
        if here != there {
            let over = if is_toril { self.over().await? } else { BTreeMap::new() };
            if let Some(why) = difference(&here, &there, &over) {
                return Ok(Some(why));
            }
        }
        if self.plan.verifies {
            let digest = ["DEBUG", "DIGEST"];
            let mine = self.source.ask(&digest).await?;
            let theirs = self.talks[0].ask(&digest).await?;
            if mine != theirs {
                return Ok(Some(format!(
                    "DEBUG DIGEST differs: {} here, {} there",
                    mine.text(),
                    theirs.text()
                )));
            }
        }
        Ok(None)
    }

    /// Keys by database whose time has come while writes are paused, or nearly so: the new server
    /// may have removed them.
    async fn over(&mut self) -> Result<BTreeMap<usize, u64>, String> {
        let answer = self.source.ask(&["TORIL", "HANDOVER", "OVER"]).await?;
        let Response::List(items) = answer else { return Ok(BTreeMap::new()) };
        let pairs = items.as_chunks::<2>().0.iter().filter_map(|pair| match pair {
            [Response::Integer(db), Response::Integer(count)] => {
                Some((*db as usize, *count as u64))
            }
            _ => None,
        });
        Ok(pairs.collect())
    }

    fn tell_end(&self, began: Instant) {
        let MovePlan { from, to, is_copy, forward, .. } = self.plan;
        let paused_ms = began.elapsed().as_millis();
        say(&format!("writes were paused for {paused_ms} ms; both sides have the same keys"));
        let divided = match self.effects.divided {
            0 => String::new(),
            count => {
                format!(", {count} transactions in parts, since their keys lie in several slots")
            }
        };
        say(&format!(
            "{} keys and {} changes since have moved to {to}, in {}{divided}",
            self.keys,
            self.effects.count,
            span::text(self.began.elapsed().as_millis() as u64)
        ));
        match (is_copy, forward) {
            (true, _) => say(&format!("it is a copy: {from} goes on taking writes")),
            (false, Some(span)) => say(&format!(
                "for {} {from} carries new connections over; then it answers writes with READONLY. \
                 Have clients connect to {to}, and do not start {from} again with its data",
                span::text(span.as_millis() as u64)
            )),
            (false, None) => say(&format!(
                "{from} answers writes with READONLY now. Have clients connect to {to}, and do not \
                 start {from} again with its data"
            )),
        }
    }
}

/// What differs, if it is more than keys whose time has come.
fn difference(
    here: &BTreeMap<usize, u64>,
    there: &BTreeMap<usize, u64>,
    over: &BTreeMap<usize, u64>,
) -> Option<String> {
    let dbs = here.keys().chain(there.keys());
    for db in dbs {
        let count = |all: &BTreeMap<usize, u64>| all.get(db).copied().unwrap_or(0);
        let (mine, theirs, over) = (count(here), count(there), count(over));
        if theirs > mine {
            return Some(format!(
                "database {db} has {theirs} keys there and {mine} here: somebody else writes there"
            ));
        }
        if theirs + over < mine {
            return Some(format!("database {db} has {theirs} keys there and {mine} here"));
        }
    }
    None
}
