//! TORIL CLOCK: the wall clock, which tests may move. Time-outs of blocked clients and the like go
//! by the monotonic clock, which they cannot.
//!
//! A jump moves the clock alone: no score, job or stream id. Clients follow through the clock file,
//! which the server writes before it shows the new time. What living processes renew in real time,
//! such as the locks of jobs, is kept: it has as long to live after a jump as before. Workers of
//! BullMQ that wait on a marker are woken by a jump past the end of their wait, as if time had
//! passed.
//!
//! What a command asks for is a journey: one move, or a course (course.rs) that goes from one due
//! moment to the next. There is one at a time. AUTO is a course without end
//! that nobody waits for.

use super::course::{Course, Next};
use super::history::History;
use super::holders::Holders;
use super::laggards::Laggards;
use super::next_wake::NextWake;
use super::{TIMEOUT_MS, Testing, span_of};
use crate::engine::client::{ClientId, Parked};
use crate::engine::effect::{ClockMove, Effect, Reading};
use crate::engine::time::Now;
use crate::engine::{Ctx, Engine};
use crate::proto::{Args, Error, Reply, Result};
use crate::queues::{self, Queue};
use crate::util::glob::{self, Case};
use crate::util::{calendar, number, span};

/// From here on BullMQ's scores, milliseconds times 4096, are no longer exact in a double.
const EXACT_UNTIL_MS: i64 = (1 << 53) / 4096;

/// AUTO goes so far unless it is told.
const AUTO_MS: i64 = 30 * calendar::DAY_MS;

/// As long as workers of BullMQ sleep at most; who sleeps for longer waits for something else.
const NUDGE_MS: u64 = 10_000;

/// AUTO lets all be idle for so long before it jumps: whoever is still to add a job has begun by
/// then.
const AUTO_REST_US: u64 = 20_000;

/// The clock as the server shows it.
#[derive(Default)]
pub struct TestClock {
    reading: Reading,
    /// Keys that do not age, beside those that the libraries renew.
    kept: Vec<Vec<u8>>,
    journey: Option<Journey>,
    auto: Option<Auto>,
    pub laggards: Laggards,
    pub holders: Holders,
    wake: NextWake,
}

struct Journey {
    /// Who asked for it and waits; none for AUTO.
    client: Option<ClientId>,
    /// How far the move leads ahead that is under way.
    leap_ms: Option<u64>,
    /// Where moves come from.
    course: Option<Course>,
    ageing: Ageing,
}

/// How a journey goes.
enum Way {
    /// In one move.
    At(ClockMove),
    /// From one due moment to the next.
    Along(Course),
}

struct Auto {
    course: Course,
    /// Since when all has been idle.
    idle_since_us: Option<u64>,
}

/// What a jump makes of the keys that are renewed in real time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ageing {
    /// They live as long as before.
    Keeps,
    /// They run out, as if those who hold them were dead.
    Locks,
}

impl TestClock {
    pub fn is_moved(&self) -> bool {
        self.reading != Reading::default()
    }

    /// How far the server is ahead of the real time, in milliseconds.
    pub fn ahead_ms(&self, engine: &Engine) -> i64 {
        let Some(frozen_ms) = self.reading.frozen_ms else { return self.reading.ahead_ms };
        let Now { wall_ms, mono_us, .. } = engine.started;
        let since_ms = (engine.keyspace.now.mono_us.saturating_sub(mono_us) / 1000) as i64;
        frozen_ms - (wall_ms + since_ms)
    }

    /// Begins a journey, at whose end the client is answered.
    fn set_out(&mut self, cx: &mut Ctx, args: Args, way: Way, ageing: Ageing) -> Result {
        if let Some(Journey { client: Some(client), .. }) = &self.journey {
            let id = client.0;
            return Err(Error::new(format!(
                "ERR the clock is on its way already, for the client with id={id}: wait for its \
                 answer"
            )));
        }
        // Whoever moves the clock by hand does not want it moved otherwise.
        self.auto = None;
        let client = Some(cx.client);
        cx.await_fixture(args);
        let (to, course) = match way {
            Way::At(to) => (Some(to), None),
            // It is looked at once its client waits.
            Way::Along(course) => (None, Some(course)),
        };
        self.journey = Some(Journey { client, leap_ms: None, course, ageing });
        if let Some(to) = to {
            self.make(to, cx.engine_of_fixture());
        }
        Ok(())
    }

    /// Asks for a move of the journey.
    fn make(&mut self, to: ClockMove, engine: &mut Engine) {
        let Some(journey) = &mut self.journey else { return };
        let now_ms = engine.keyspace.now.wall_ms;
        let leap_ms = match to {
            ClockMove::Ahead(by_ms) => by_ms,
            ClockMove::Freeze(Some(at_ms)) => (at_ms - now_ms).max(0) as u64,
            ClockMove::Freeze(None) | ClockMove::Resume | ClockMove::Reset => 0,
        };
        journey.leap_ms = Some(leap_ms);
        if journey.ageing == Ageing::Keeps {
            self.keep(engine, leap_ms as i64);
        }
        engine.ask(Effect::MoveClock(to));
    }

    /// The server has made a move, or says why it could not.
    pub fn moved(
        &mut self,
        history: &History,
        engine: &mut Engine,
        moved: std::result::Result<Reading, String>,
    ) {
        let Some(journey) = &mut self.journey else { return };
        let leap_ms = journey.leap_ms.take().unwrap_or(0);
        let reading = match moved {
            Ok(reading) => reading,
            Err(why) => {
                if journey.ageing == Ageing::Keeps {
                    self.keep(engine, -(leap_ms as i64));
                }
                return self.end(engine, Err(Error::new(format!("ERR {why}"))));
            }
        };
        let goes_on = journey.course.is_some();
        if let Some(course) = &mut journey.course {
            course.rest(engine);
        }
        self.reading = reading;
        let real_ms = engine.keyspace.now.wall_ms - self.ahead_ms(engine);
        self.laggards.clock_moved(real_ms);
        if !self.is_moved() {
            self.laggards.clear();
        }
        if leap_ms > 0 {
            wake_sleepers(engine, &history.queues(), leap_ms);
        }
        if !goes_on {
            self.end(engine, Ok(()));
        }
    }

    /// Ends the journey, and tells who waits for it what time it is.
    fn end(&mut self, engine: &mut Engine, outcome: Result) {
        let Some(Journey { client: Some(client), .. }) = self.journey.take() else { return };
        let now_ms = engine.keyspace.now.wall_ms;
        engine.conclude(client, |reply| {
            outcome?;
            reply.bulk(calendar::iso(now_ms).as_bytes());
            Ok(())
        });
    }

    /// What is to be said of a client that holds up requests of its own, which may be a worker's.
    fn hint(&self, engine: &Engine) -> &'static str {
        let client = self.journey.as_ref().and_then(|journey| journey.client);
        match client.and_then(|id| engine.clients.get(id)) {
            Some(client) if client.query_len > 0 => {
                ". More requests wait behind this one on its connection: move the clock over a \
                 connection that no worker uses"
            }
            _ => "",
        }
    }

    /// Something has happened, or a moment has come that was waited for.
    pub fn look(&mut self, history: &History, engine: &mut Engine, has_heard: bool) {
        match &mut self.journey {
            Some(Journey { leap_ms: None, course: Some(course), .. }) => {
                let complaint = self.laggards.complaint(engine);
                match complaint
                    .map_or_else(|| course.next(history, &self.holders, engine), Next::Stuck)
                {
                    Next::Wait(until_us) => self.wake.set(engine, until_us),
                    Next::Nudge(until_us) => {
                        wake_sleepers(engine, &history.queues(), NUDGE_MS);
                        self.wake.set(engine, until_us);
                    }
                    Next::Stuck(why) => {
                        let hint = self.hint(engine);
                        self.end(engine, Err(Error::new(format!("ERR {why}{hint}"))));
                    }
                    Next::Arrived => self.end(engine, Ok(())),
                    Next::Ahead(by_ms) => self.make(ClockMove::Ahead(by_ms), engine),
                }
            }
            Some(_) => {}
            None => self.look_for_auto(history, engine, has_heard),
        }
    }

    fn look_for_auto(&mut self, history: &History, engine: &mut Engine, has_heard: bool) {
        let Some(Auto { course, idle_since_us }) = &mut self.auto else { return };
        let now_us = engine.keyspace.now.mono_us;
        if has_heard {
            *idle_since_us = None;
            // Work may take as long as it likes.
            course.rest(engine);
        }
        match course.next(history, &self.holders, engine) {
            next @ (Next::Wait(until_us) | Next::Nudge(until_us)) => {
                *idle_since_us = None;
                if matches!(next, Next::Nudge(_)) {
                    wake_sleepers(engine, &history.queues(), NUDGE_MS);
                }
                if until_us < course.deadline_us() {
                    self.wake.set(engine, until_us);
                }
            }
            Next::Stuck(_) => *idle_since_us = None,
            Next::Arrived => self.auto = None,
            Next::Ahead(by_ms) => {
                let rested_us = *idle_since_us.get_or_insert(now_us) + AUTO_REST_US;
                // What is due at the target alone is nothing to go for.
                if engine.keyspace.now.wall_ms + by_ms as i64 >= course.target_ms {
                    return;
                }
                if now_us < rested_us {
                    return self.wake.set(engine, rested_us);
                }
                *idle_since_us = None;
                course.rest(engine);
                let (client, leap_ms, course, ageing) = (None, None, None, Ageing::Keeps);
                self.journey = Some(Journey { client, leap_ms, course, ageing });
                self.make(ClockMove::Ahead(by_ms), engine);
            }
        }
    }

    /// Lets the keys that do not age live so much longer.
    fn keep(&self, engine: &mut Engine, by_ms: i64) {
        for db in 0..engine.keyspace.databases() {
            let here = engine.keyspace.db(db);
            let kept = here.iter().filter_map(|entry| {
                let at_ms = here.expires_ms(entry)?;
                let key = entry.key.text();
                let is_kept = self.is_kept(&key) && !self.holders.lets_age(engine, db, &key);
                is_kept.then(|| (key.to_vec(), at_ms + by_ms))
            });
            for (key, at_ms) in kept.collect::<Vec<_>>() {
                engine.keyspace.postpone(db, &key, at_ms);
            }
        }
    }

    fn is_kept(&self, key: &[u8]) -> bool {
        let mut own = self.kept.iter();
        queues::is_kept(key) || own.any(|pattern| glob::matches(pattern, key, Case::Sensitive))
    }

    fn tell(&self, cx: &Ctx, reply: &mut Reply) {
        let mode = match (&self.auto, self.reading.frozen_ms) {
            (Some(_), _) => "auto",
            (None, Some(_)) => "frozen",
            (None, None) => "running",
        };
        let file = cx.server().facts.clock_file();
        reply.map(7);
        reply.bulk(b"mode");
        reply.bulk(mode.as_bytes());
        reply.bulk(b"now");
        reply.bulk(calendar::iso(cx.now_ms()).as_bytes());
        reply.bulk(b"offset_ms");
        reply.int(self.ahead_ms(cx.server()));
        reply.bulk(b"file");
        match file {
            Some(path) => reply.bulk(path.as_bytes()),
            None => reply.null(),
        }
        self.laggards.tell(cx.server(), reply);
        reply.bulk(b"kept");
        let renewed = queues::kept_patterns();
        reply.array(renewed.len() + self.kept.len());
        renewed.iter().for_each(|pattern| reply.bulk(pattern.as_bytes()));
        self.kept.iter().for_each(|pattern| reply.bulk(pattern));
    }
}

/// Ends the waits on a marker that would have ended by now had the time passed, and sends the
/// messages by which libraries wake workers that sleep until a moment.
fn wake_sleepers(engine: &mut Engine, queues: &[Queue], by_ms: u64) {
    let until_us = engine.keyspace.now.mono_us.saturating_add(by_ms.saturating_mul(1000));
    let is_over = |id: &ClientId| {
        let client = engine.clients.get(*id);
        let Some(Parked::Keys(park)) = client.and_then(|it| it.parked.as_ref()) else {
            return false;
        };
        let words = park.request.words.words();
        words[park.attempt.keys()].iter().any(|key| key.ends_with(b":marker"))
            && park.deadline_us.is_some_and(|at_us| at_us <= until_us)
    };
    let over: Vec<ClientId> = engine.clients.ids().into_iter().filter(is_over).collect();
    for id in over {
        engine.unblock(id, None);
    }
    for (channel, message) in queues::wake_calls(queues) {
        engine.publish(&channel, message.as_bytes());
    }
}

/// What stands behind TORIL CLOCK.
type Verb = fn(&mut TestClock, &mut Ctx, Args, &mut Reply) -> Result;

const VERBS: &[(&str, Verb)] = &[
    ("advance", advance),
    ("auto", auto),
    ("freeze", freeze),
    ("keep", keep),
    ("reset", reset),
    ("resume", resume),
];

pub fn call(testing: &mut Testing, cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let Some(word) = args.next() else {
        testing.clock.tell(cx, reply);
        return Ok(());
    };
    let verb = VERBS.iter().find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes()));
    let Some((_, verb)) = verb else {
        return Err(Error::quoting(
            "ERR there is no TORIL CLOCK ",
            word,
            ", but ADVANCE, AUTO, FREEZE, KEEP, RESET and RESUME",
        ));
    };
    if cx.server().facts.clock_file().is_none() {
        return Err(Error::new(
            "ERR clients could not follow: start toril with --clock yes, or run the tests with \
             'toril exec --clock'",
        ));
    }
    let engine = cx.server();
    if engine.replication.is_following() {
        return Err(Error::new("ERR the clock cannot move while another server is followed"));
    }
    if engine.persistence.appending.is_some() || engine.replication.replicas().next().is_some() {
        return Err(Error::new(
            "ERR the clock cannot move while data is written to a log or followed by a replica",
        ));
    }
    verb(&mut testing.clock, cx, args, reply)
}

/// `KEEP pattern [pattern ...]`: more keys that do not age.
fn keep(clock: &mut TestClock, _: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    if args.left() == 0 {
        return Err(Error::new("ERR KEEP takes patterns of keys that do not age, such as lease:*"));
    }
    clock.kept.extend(args.map(<[u8]>::to_vec));
    reply.ok();
    Ok(())
}

/// `FREEZE [AT time]`
fn freeze(clock: &mut TestClock, cx: &mut Ctx, mut args: Args, _: &mut Reply) -> Result {
    let at_ms = args.accept("at").then(|| moment(args.word()?)).transpose()?;
    nothing_more(&args)?;
    if at_ms.is_some_and(|at_ms| at_ms < cx.now_ms()) {
        return Err(not_forward());
    }
    clock.set_out(cx, args, Way::At(ClockMove::Freeze(at_ms)), Ageing::Keeps)
}

fn resume(clock: &mut TestClock, cx: &mut Ctx, args: Args, _: &mut Reply) -> Result {
    nothing_more(&args)?;
    clock.set_out(cx, args, Way::At(ClockMove::Resume), Ageing::Keeps)
}

fn reset(clock: &mut TestClock, cx: &mut Ctx, args: Args, _: &mut Reply) -> Result {
    nothing_more(&args)?;
    let keyspace = cx.keyspace();
    let keys: usize = (0..keyspace.databases()).map(|db| keyspace.db(db).len()).sum();
    if keys > 0 {
        return Err(Error::new(format!(
            "ERR {keys} keys know of a time that has not come: FLUSHALL first"
        )));
    }
    clock.set_out(cx, args, Way::At(ClockMove::Reset), Ageing::Keeps)
}

/// `ADVANCE duration|TO time [JUMP] [ANYWAY] [TIMEOUT duration] [LOCKS]`
fn advance(clock: &mut TestClock, cx: &mut Ctx, mut args: Args, _: &mut Reply) -> Result {
    let now_ms = cx.now_ms();
    let (target_ms, told) = target(&mut args, now_ms)?;
    let (mut is_jump, mut is_anyway, mut ageing) = (false, false, Ageing::Keeps);
    let mut timeout_ms = TIMEOUT_MS;
    while args.left() > 0 {
        match () {
            () if args.accept("jump") => is_jump = true,
            () if args.accept("anyway") => is_anyway = true,
            () if args.accept("locks") => ageing = Ageing::Locks,
            () if args.accept("timeout") => timeout_ms = span_of(&mut args, "TIMEOUT")?,
            () => return Err(misplaced(args.given())),
        }
    }
    check_exact(target_ms, &told, is_jump && is_anyway)?;
    if let Some(complaint) = clock.laggards.complaint(cx.server()) {
        return Err(Error::new(format!("ERR {complaint}")));
    }
    let way = if is_jump {
        Way::At(ClockMove::Ahead((target_ms - now_ms) as u64))
    } else {
        Way::Along(Course::new(cx.server(), target_ms, timeout_ms))
    };
    clock.set_out(cx, args, way, ageing)
}

/// `AUTO [UNTIL duration-or-time]`
fn auto(clock: &mut TestClock, cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let now_ms = cx.now_ms();
    let target_ms = if args.accept("until") {
        let word = args.word()?;
        duration(word).map_or_else(|| moment(word), |by_ms| Ok(now_ms.saturating_add(by_ms)))?
    } else {
        now_ms + AUTO_MS
    };
    nothing_more(&args)?;
    if target_ms <= now_ms {
        return Err(not_forward());
    }
    check_exact(target_ms, &calendar::iso(target_ms.min(EXACT_UNTIL_MS)), false)?;
    let course = Course::new(cx.server(), target_ms, TIMEOUT_MS);
    clock.auto = Some(Auto { course, idle_since_us: None });
    let soon_us = cx.now().mono_us + AUTO_REST_US;
    clock.wake.set(cx.engine_of_fixture(), soon_us);
    reply.ok();
    Ok(())
}

/// `duration` or `TO time`, and what was said.
fn target(args: &mut Args, now_ms: i64) -> Result<(i64, String)> {
    let (target_ms, told) = if args.accept("to") {
        let word = args.word()?;
        (moment(word)?, text(word))
    } else {
        let word = args.word().map_err(|_| not_forward())?;
        let by_ms = duration(word).ok_or_else(not_forward)?;
        (now_ms.saturating_add(by_ms), format!("now + {}", text(word)))
    };
    if target_ms <= now_ms { Err(not_forward()) } else { Ok((target_ms, told)) }
}

fn check_exact(target_ms: i64, told: &str, is_anyway: bool) -> Result {
    if target_ms < EXACT_UNTIL_MS || is_anyway {
        return Ok(());
    }
    Err(Error::new(format!(
        "ERR BullMQ's scores (ms * 4096) are exact until 2039-09-07 only: {told} is beyond. \
         Say JUMP ANYWAY if no BullMQ queue is used"
    )))
}

fn text(word: &[u8]) -> String {
    String::from_utf8_lossy(word).into_owned()
}

/// Milliseconds; None for what is no duration.
fn duration(word: &[u8]) -> Option<i64> {
    i64::try_from(span::parse_ms(&text(word))?).ok()
}

/// A moment in ISO 8601 with a zone, or in milliseconds since 1970.
fn moment(word: &[u8]) -> Result<i64> {
    let read = number::parse_i64(word).or_else(|| calendar::parse_iso(&text(word)));
    read.ok_or_else(|| {
        let right = "' is no time: say it as 2026-11-29T09:00:00Z, or in milliseconds since 1970";
        Error::quoting("ERR '", word, right)
    })
}

fn not_forward() -> Error {
    Error::new(
        "ERR time goes forward only. ADVANCE takes a duration such as 500ms, 2h or 7d, or TO a \
         later moment",
    )
}

fn nothing_more(args: &Args) -> Result {
    args.peek().map_or(Ok(()), |word| Err(misplaced(word)))
}

fn misplaced(word: &[u8]) -> Error {
    Error::quoting("ERR '", word, "' has no place here: see TORIL HELP")
}
