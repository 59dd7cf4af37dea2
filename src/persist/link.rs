//! The link to a server that is followed, as a state machine over bytes: the greeting, a snapshot,
//! the stream.
//!
//! Each side says who it is, one line at a time. Then the other either goes on with the stream
//! where it stopped here, or sends a snapshot and what it streamed since. A snapshot is taken in
//! beside what there is, piece by piece, and takes its place when it is whole: a link that breaks
//! before that, or that brings nonsense, has changed nothing. Of the stream whole units are done.
//!
//! Nothing that comes is believed: lines, lengths and units have bounds, a snapshot is looked at as
//! any file, and whatever else comes than should ends the link with a sentence that says what.

use super::increment::IncrementReader;
use super::load::{LoadOptions, LoadProgress, LoadReport};
use super::sent::SentSnapshot;
use crate::config::ReplicaSettings;
use crate::engine::Engine;
use crate::engine::following::LinkStage;
use crate::engine::time::Now;
use crate::proto::request;
use crate::util::quote;
use std::collections::VecDeque;

/// Bytes of a line. The longest that a server says is an error.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// Records of a snapshot, and units of the stream, between two looks at what else there is to do.
const RECORDS_MAX: usize = 1_000;
const UNITS_MAX: usize = 200;

const HISTORY_LEN: usize = 40;

/// What Valkey is told to get its own format, without which it cannot send TTLs of fields.
const VERSION: &str = "9.1.0";

/// Why a link has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkFault {
    /// What has happened, in a sentence.
    pub text: String,
    /// Whether the same will happen again if nobody does anything about it.
    pub is_lasting: bool,
}

impl LinkFault {
    /// One that may be over the next time.
    pub fn passing(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_lasting: false }
    }

    fn lasting(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_lasting: true }
    }
}

/// How far a step has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkProgress {
    /// More is at hand.
    More,
    /// More has to come.
    Hungry,
    /// More is at hand, but a script or a transaction is under way here.
    Waits,
}

/// What is asked in the greeting, and whose refusal ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    Ping,
    Login,
    /// Older servers do not know all that they are told.
    Told,
    Sync,
}

#[derive(Debug)]
enum Stage {
    /// The first is asked, and its answer is awaited.
    Greets(VecDeque<(Question, Vec<u8>)>),
    /// A snapshot of this moment is to come.
    Promised(Moment),
    Loads(Moment, Box<SentSnapshot>),
    Streams(IncrementReader),
}

/// A byte of a history.
#[derive(Clone, Debug)]
struct Moment {
    history: String,
    offset: u64,
}

/// One link, from its first byte to its last.
#[derive(Debug)]
pub struct Link {
    stage: Stage,
    /// What has come and was not looked at.
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Link {
    /// A link that has just come about.
    pub fn new(engine: &Engine) -> Self {
        let mut questions = greeting(engine);
        let first = questions.front_mut().map(|(_, words)| std::mem::take(words));
        let stage = Stage::Greets(questions);
        Self { stage, input: Vec::new(), output: first.unwrap_or_default() }
    }

    /// Takes what has come over the link.
    pub fn feed(&mut self, bytes: &[u8]) {
        match &mut self.stage {
            Stage::Streams(reader) => reader.feed(bytes),
            _ => self.input.extend_from_slice(bytes),
        }
    }

    /// What is to be said.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// To be called once a second.
    ///
    /// # Errors
    /// Nothing has come for too long.
    pub fn tick(&mut self, engine: &Engine, now: Now) -> Result<(), LinkFault> {
        let heard_us = engine.replication.following().map_or(now.mono_us, |it| it.heard_us);
        let silent_s = now.mono_us.saturating_sub(heard_us) / 1_000_000;
        if silent_s > engine.config.replica.timeout_s {
            return Err(LinkFault::passing(format!(
                "nothing has come for {silent_s} s, more than repl-timeout allows"
            )));
        }
        match &self.stage {
            Stage::Streams(_) => self.acknowledge(engine),
            // Who sends hears that somebody is there.
            Stage::Loads(..) => self.output.push(b'\n'),
            _ => {}
        }
        Ok(())
    }

    fn acknowledge(&mut self, engine: &Engine) {
        write_ack(engine.replication.offset, engine.stream_synced(), &mut self.output);
    }

    /// Does some of what has come.
    ///
    /// # Errors
    /// Why the link has to end.
    pub fn step(&mut self, engine: &mut Engine, now: Now) -> Result<LinkProgress, LinkFault> {
        match &mut self.stage {
            Stage::Greets(_) => self.hear_answer(engine),
            Stage::Promised(_) => self.begin_payload(engine),
            Stage::Loads(..) => self.load(engine),
            Stage::Streams(_) if !engine.is_between_units() => Ok(LinkProgress::Waits),
            Stage::Streams(_) => self.stream(engine, now),
        }
    }

    /// The next line without its end; None if it has not come. Empty lines only tell that somebody
    /// is there.
    fn line(&mut self) -> Result<Option<Vec<u8>>, LinkFault> {
        let mut start = 0;
        loop {
            let Some(len) = memchr::memchr(b'\n', &self.input[start..]) else {
                self.input.drain(..start);
                if self.input.len() > LINE_BYTES_MAX {
                    return Err(LinkFault::lasting(format!(
                        "it sends a line of more than {LINE_BYTES_MAX} bytes: {}",
                        shown(&self.input)
                    )));
                }
                return Ok(None);
            };
            let line = self.input[start..start + len].trim_ascii_end().to_vec();
            start += len + 1;
            if !line.is_empty() {
                self.input.drain(..start);
                return Ok(Some(line));
            }
        }
    }

    fn hear_answer(&mut self, engine: &mut Engine) -> Result<LinkProgress, LinkFault> {
        let Some(line) = self.line()? else { return Ok(LinkProgress::Hungry) };
        let Stage::Greets(questions) = &mut self.stage else { unreachable!("it greets") };
        let Some((question, _)) = questions.pop_front() else { unreachable!("one was asked") };
        match question {
            Question::Ping => check_pong(&line)?,
            Question::Login if line != b"+OK" => {
                return Err(LinkFault::lasting(format!(
                    "it does not take masteruser and masterauth: {}",
                    shown(&line)
                )));
            }
            Question::Login | Question::Told => {}
            Question::Sync => return self.hear_history(engine, &line),
        }
        if let Some((_, words)) = questions.front_mut() {
            self.output.append(words);
        }
        Ok(LinkProgress::More)
    }

    /// What PSYNC is answered.
    fn hear_history(
        &mut self,
        engine: &mut Engine,
        line: &[u8],
    ) -> Result<LinkProgress, LinkFault> {
        let text = String::from_utf8_lossy(line);
        let words: Vec<&str> = text.split(' ').collect();
        let asked_for_all = engine.replication.following().is_none_or(|it| it.wants_all);
        match &words[..] {
            ["+FULLRESYNC", history, offset] if is_history(history) => {
                let Ok(offset) = offset.parse() else { return Err(strange(line)) };
                self.stage = Stage::Promised(Moment { history: (*history).into(), offset });
                engine.note_link(LinkStage::Loads);
            }
            ["+CONTINUE", rest @ ..] if !asked_for_all && rest.len() <= 1 => {
                let history = rest.first().copied();
                if history.is_some_and(|it| !is_history(it)) {
                    return Err(strange(line));
                }
                engine.go_on_following(history);
                tracing::warn!("The stream goes on at offset {}", engine.replication.offset);
                self.begin_stream(engine, &[]);
            }
            [error, ..] if error.starts_with('-') => {
                let fault = strange(line);
                if fault.is_lasting {
                    engine.abort_failover("Failover target rejected psync request");
                }
                return Err(fault);
            }
            _ => return Err(strange(line)),
        }
        Ok(LinkProgress::More)
    }

    fn begin_payload(&mut self, engine: &mut Engine) -> Result<LinkProgress, LinkFault> {
        let Some(line) = self.line()? else { return Ok(LinkProgress::Hungry) };
        let Stage::Promised(moment) = &self.stage else { unreachable!("it was promised") };
        let options = LoadOptions {
            is_partial: engine.config.files.load_partly,
            keeps_expired: true,
            is_sent: true,
            ..LoadOptions::default()
        };
        let sent = SentSnapshot::begin(&line, options).ok_or_else(|| strange(&line))?;
        self.stage = Stage::Loads(moment.clone(), sent.into());
        engine.keyspace.stage();
        Ok(LinkProgress::More)
    }

    fn load(&mut self, engine: &mut Engine) -> Result<LinkProgress, LinkFault> {
        let Stage::Loads(_, sent) = &mut self.stage else { unreachable!("it loads") };
        let input = &mut self.input;
        let progress = engine.on_staged(|engine| sent.step(engine, input, RECORDS_MAX));
        let progress = progress
            .map_err(|text| LinkFault::lasting(format!("the snapshot that it sends {text}")))?;
        let (loaded, to_load) = sent.progress();
        engine.note_loaded_from_primary(loaded, to_load);
        match progress {
            LoadProgress::More => Ok(LinkProgress::More),
            LoadProgress::Hungry => Ok(LinkProgress::Hungry),
            LoadProgress::Done if !engine.is_between_units() => Ok(LinkProgress::Waits),
            LoadProgress::Done => self.end_payload(engine),
        }
    }

    /// All has come: the data are put in place.
    fn end_payload(&mut self, engine: &mut Engine) -> Result<LinkProgress, LinkFault> {
        let Stage::Loads(moment, sent) = &self.stage else { unreachable!("it loads") };
        let Moment { history, offset } = moment;
        let LoadReport { keys, stream_db, libraries, foreign, .. } = sent.report();
        let taken = engine.take_over((history, *offset), *stream_db, libraries);
        taken.map_err(|error| {
            LinkFault::lasting(format!(
                "the snapshot that it sends has functions that do not load: {error}"
            ))
        })?;
        for (module, count) in foreign {
            tracing::warn!("left out: {count} of {module}, which toril cannot read");
        }
        tracing::warn!("{keys} keys have come; the stream goes on at offset {offset}");
        let rest = std::mem::take(&mut self.input);
        self.begin_stream(engine, &rest);
        self.acknowledge(engine);
        Ok(LinkProgress::More)
    }

    fn begin_stream(&mut self, engine: &Engine, bytes: &[u8]) {
        let mut reader = IncrementReader::new(engine.replication.offset);
        reader.feed(bytes);
        reader.feed(&std::mem::take(&mut self.input));
        self.stage = Stage::Streams(reader);
    }

    /// Does some units of the stream.
    fn stream(&mut self, engine: &mut Engine, now: Now) -> Result<LinkProgress, LinkFault> {
        for _ in 0..UNITS_MAX {
            let Stage::Streams(reader) = &mut self.stage else { unreachable!("it streams") };
            let offset = engine.replication.offset;
            let Some(unit) = reader.next_unit() else {
                return self.check_rest(engine);
            };
            // A line between two units would be no part of either.
            if unit.offset != offset {
                engine.want_all();
                return Err(LinkFault::lasting("its stream has more than commands"));
            }
            let mut asks = false;
            let checked = unit.try_each(|words| match is_getack(words) {
                true => {
                    asks = true;
                    Ok(())
                }
                false => engine.check_streamed(words),
            });
            engine.begin_streamed();
            let done = checked.and_then(|()| {
                unit.try_each(|words| match is_getack(words) {
                    true => Ok(()),
                    false => engine.run_streamed(words),
                })
            });
            let raw = if done.is_ok() { unit.raw() } else { &[] };
            engine.end_streamed(raw, now);
            if let Err(error) = done {
                engine.want_all();
                return Err(LinkFault::lasting(format!(
                    "its stream has at offset {offset} what cannot be done here: {error}"
                )));
            }
            if asks {
                // Up to what stands before the question.
                let synced = engine.stream_synced().map(|synced| synced.min(offset));
                write_ack(offset, synced, &mut self.output);
            }
        }
        Ok(LinkProgress::More)
    }

    /// Whether what is not a whole unit may become one.
    fn check_rest(&mut self, engine: &mut Engine) -> Result<LinkProgress, LinkFault> {
        let Stage::Streams(reader) = &self.stage else { unreachable!("it streams") };
        if reader.is_bad() {
            engine.want_all();
            return Err(LinkFault::lasting(format!(
                "its stream has behind offset {} what is no command",
                engine.replication.offset
            )));
        }
        let bytes_max = engine.config.client_query_buffer_limit;
        if reader.waiting_bytes() > bytes_max as u64 {
            engine.want_all();
            return Err(LinkFault::lasting(format!(
                "its stream has a command or a transaction of more than {bytes_max} bytes \
                 (client-query-buffer-limit)"
            )));
        }
        Ok(LinkProgress::Hungry)
    }
}

/// What is asked, in order.
fn greeting(engine: &Engine) -> VecDeque<(Question, Vec<u8>)> {
    let ReplicaSettings { masteruser, masterauth, announce_ip, announce_port, .. } =
        &engine.config.replica;
    let port = match announce_port {
        0 => engine.facts.tcp_port(),
        port => *port,
    };
    let port = port.to_string();
    let mut questions = VecDeque::new();
    let mut ask = |question: Question, words: &[&[u8]]| {
        let mut bytes = Vec::new();
        request::write(words, &mut bytes);
        questions.push_back((question, bytes));
    };
    ask(Question::Ping, &[b"PING"]);
    if let Some(password) = masterauth {
        let user = masteruser.iter().map(|user| user.reveal());
        let words: Vec<&[u8]> =
            [&b"AUTH"[..]].into_iter().chain(user).chain([password.reveal()]).collect();
        ask(Question::Login, &words);
    }
    ask(Question::Told, &[b"REPLCONF", b"listening-port", port.as_bytes()]);
    if !announce_ip.is_empty() {
        ask(Question::Told, &[b"REPLCONF", b"ip-address", announce_ip.as_bytes()]);
    }
    ask(Question::Told, &[b"REPLCONF", b"capa", b"eof", b"capa", b"psync2"]);
    ask(Question::Told, &[b"REPLCONF", b"version", VERSION.as_bytes()]);
    let state = &engine.replication;
    let next = (state.offset + 1).to_string();
    let place: &[&[u8]] = match state.following().is_some_and(|it| it.wants_all) {
        true => &[b"?", b"-1"],
        false => &[state.id.as_bytes(), next.as_bytes()],
    };
    // Who hands over the lead asks who follows to take it.
    let lead: &[&[u8]] = if state.is_failing_over() { &[b"FAILOVER"] } else { &[] };
    ask(Question::Sync, &[&[&b"PSYNC"[..]], place, lead].concat());
    questions
}

/// Who wants a password or more rights than we have yet is there all the same.
fn check_pong(line: &[u8]) -> Result<(), LinkFault> {
    let begins = [&b"+"[..], b"-NOAUTH", b"-NOPERM", b"-ERR operation not permitted"];
    if begins.iter().any(|it| line.starts_with(it)) { Ok(()) } else { Err(strange(line)) }
}

/// An answer that is not the one to go on with. Some come from a server that is not ready yet.
fn strange(line: &[u8]) -> LinkFault {
    let is_passing = [&b"-LOADING"[..], b"-NOMASTERLINK", b"-MASTERDOWN", b"-BUSY"];
    LinkFault {
        text: format!("it answers {}", shown(line)),
        is_lasting: !is_passing.iter().any(|it| line.starts_with(it)),
    }
}

/// The begin of what has come, for the log.
fn shown(bytes: &[u8]) -> String {
    const SHOWN_MAX: usize = 200;
    let mut text = Vec::new();
    quote::quoted(&bytes[..bytes.len().min(SHOWN_MAX)], &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

pub(super) fn is_history(word: &str) -> bool {
    word.len() == HISTORY_LEN && word.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Tells up to where the stream is here, and in the append-only file.
fn write_ack(offset: u64, synced: Option<u64>, output: &mut Vec<u8>) {
    let (offset, synced) = (offset.to_string(), synced.map(|it| it.to_string()));
    let mut words: Vec<&[u8]> = vec![b"REPLCONF", b"ACK", offset.as_bytes()];
    if let Some(synced) = &synced {
        words.extend([b"FACK", synced.as_bytes()]);
    }
    request::write(&words, output);
}

fn is_getack(words: &[&[u8]]) -> bool {
    words.len() > 1
        && words[0].eq_ignore_ascii_case(b"replconf")
        && words[1].eq_ignore_ascii_case(b"getack")
}
