//! What a server sends to who follows it: a snapshot, and behind it the stream.

use super::dial::{Wire, within, write};
use super::{PATIENCE, Place, Response, Talk, fault};
use crate::config::Limits;
use crate::data::Value;
use crate::persist::{LoadInto, LoadOptions, LoadProgress, LoadReport, SentSnapshot};
use crate::proto::{self, request};
use crate::rdb::KeyRecord;
use std::io;
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;

const READ_BYTES: usize = 256 * 1024;

/// Records that are read at once.
const RECORDS_MAX: usize = 200;

/// How often the other side hears that somebody is there.
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);

/// What Valkey is told to get its own format, without which it cannot send TTLs of fields.
const VERSION: &str = "9.1.0";

/// A key that has come.
pub struct SentKey {
    pub db: usize,
    pub key: Vec<u8>,
    pub value: Value,
    pub expires_ms: Option<i64>,
}

/// What has come and was not looked at.
struct Batch {
    keys: Vec<SentKey>,
    limits: Limits,
}

impl LoadInto for Batch {
    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn databases(&self) -> usize {
        usize::MAX
    }

    /// Nothing is over: the stream says what is.
    fn now_ms(&self) -> i64 {
        0
    }

    /// Libraries of a snapshot that is sent are in its report.
    fn load_library(&mut self, _source: &[u8]) -> proto::Result {
        Ok(())
    }

    fn take_in(&mut self, db: usize, record: KeyRecord, _replaces: bool) -> Result<(), Vec<u8>> {
        let KeyRecord { key, value, expires_ms, .. } = record;
        self.keys.push(SentKey { db, key: key.into_owned(), value, expires_ms });
        Ok(())
    }
}

/// The connection that the snapshot and the stream come over.
pub struct Feed {
    place: Place,
    wire: Wire,
    input: Vec<u8>,
    snapshot: SentSnapshot,
    batch: Batch,
    /// The offset of the stream that the snapshot was taken at.
    pub offset: u64,
    said: Instant,
}

impl Feed {
    /// Asks for a snapshot, and for the stream behind it or not. Values come in the layout that
    /// these limits ask for.
    ///
    /// # Errors
    /// Why there will be none.
    pub async fn open(place: &Place, wants_stream: bool, limits: &Limits) -> Result<Self, String> {
        let mut talk = Talk::open(place).await?;
        // Older servers do not know all that they are told.
        talk.ask_anything(&["REPLCONF", "capa", "eof", "capa", "psync2"]).await?;
        talk.ask_anything(&["REPLCONF", "version", VERSION]).await?;
        if !wants_stream {
            talk.ask_anything(&["REPLCONF", "rdb-only", "1"]).await?;
        }
        let answer = talk.ask_anything(&["PSYNC", "?", "-1"]).await?;
        let strange = |what: &str| format!("{place}: PSYNC is answered with {what}");
        let offset = match &answer {
            Response::Text(text) => {
                let text = String::from_utf8_lossy(text).into_owned();
                let offset = text.strip_prefix("FULLRESYNC ").and_then(|it| it.split(' ').nth(1));
                offset.and_then(|it| it.parse().ok()).ok_or_else(|| strange(&text))?
            }
            Response::Error(text) => return Err(strange(text)),
            other => return Err(strange(&format!("{other:?}"))),
        };
        let (mut wire, mut input) = talk.into_parts();
        let line = loop {
            if let Some(line) = take_line(&mut input) {
                break line;
            }
            read_some(place, &mut wire, &mut input).await?;
        };
        let options = LoadOptions {
            is_partial: true,
            keeps_expired: true,
            is_sent: true,
            ..LoadOptions::default()
        };
        let snapshot = SentSnapshot::begin(&line, options)
            .ok_or_else(|| strange(&line.escape_ascii().to_string()))?;
        let batch = Batch { keys: Vec::new(), limits: limits.clone() };
        let (place, said) = (place.clone(), Instant::now());
        Ok(Self { place, wire, input, snapshot, batch, offset, said })
    }

    /// The next keys of the snapshot; None behind its last.
    ///
    /// # Errors
    /// What is wrong with it, or with the connection.
    pub async fn next_keys(&mut self) -> Result<Option<Vec<SentKey>>, String> {
        loop {
            let progress = self.snapshot.step(&mut self.batch, &mut self.input, RECORDS_MAX);
            let progress = progress
                .map_err(|text| format!("the snapshot that {} sends {text}", self.place))?;
            let keys = std::mem::take(&mut self.batch.keys);
            match progress {
                _ if !keys.is_empty() => return Ok(Some(keys)),
                LoadProgress::Done => return Ok(None),
                LoadProgress::More => {}
                LoadProgress::Hungry => self.wait().await?,
            }
            if self.said.elapsed() > SIGN_OF_LIFE {
                self.say(b"\n").await?;
            }
        }
    }

    /// What the snapshot held beside the keys; to be asked at its end.
    pub fn report(&self) -> &LoadReport {
        self.snapshot.report()
    }

    /// Tells up to where all is done.
    ///
    /// # Errors
    /// What happened to the connection.
    pub async fn acknowledge(&mut self, offset: u64) -> Result<(), String> {
        let mut bytes = Vec::new();
        request::write(&[b"REPLCONF", b"ACK", offset.to_string().as_bytes()], &mut bytes);
        self.say(&bytes).await
    }

    async fn say(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.said = Instant::now();
        let said = within(PATIENCE, write(&mut self.wire, bytes)).await;
        said.map_err(|problem| fault(&self.place, &problem))
    }

    /// Until something has come.
    ///
    /// # Errors
    /// What happened to the connection.
    pub async fn wait(&mut self) -> Result<(), String> {
        read_some(&self.place, &mut self.wire, &mut self.input).await
    }

    /// What has come of the stream.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.input)
    }
}

async fn read_some(place: &Place, wire: &mut Wire, input: &mut Vec<u8>) -> Result<(), String> {
    input.reserve(READ_BYTES);
    match within(PATIENCE, wire.read_buf(input)).await {
        Ok(0) => Err(fault(place, &io::ErrorKind::UnexpectedEof.into())),
        Ok(_) => Ok(()),
        Err(problem) => Err(fault(place, &problem)),
    }
}

/// The next line that is not empty, without its end.
fn take_line(input: &mut Vec<u8>) -> Option<Vec<u8>> {
    loop {
        let end = memchr::memchr(b'\n', input)?;
        let line = input[..end].trim_ascii_end().to_vec();
        input.drain(..=end);
        if !line.is_empty() {
            return Some(line);
        }
    }
}
