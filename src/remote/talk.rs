//! Connections to other servers: how they are made, and one that waits for answers.

use super::dial::{Wire, dial, within, write};
use super::{Place, Response, parse};
use crate::proto::request;
use std::collections::BTreeMap;
use std::io;
use std::time::Duration;
use tokio::io::AsyncReadExt;

/// How long a server may take to connect, to take something, or to answer.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How long it may take to connect.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

const READ_BYTES: usize = 64 * 1024;

/// Connects.
///
/// # Errors
/// Why not, with the place.
pub async fn connect(place: &Place) -> Result<Wire, String> {
    let dialled = within(CONNECT_PATIENCE, dial(&place.host, place.port, place.tls())).await;
    dialled.map_err(|problem| fault(place, &problem))
}

/// What the system says of a connection.
pub fn fault(place: &Place, problem: &io::Error) -> String {
    match problem.kind() {
        io::ErrorKind::TimedOut => format!("{place} takes too long"),
        io::ErrorKind::UnexpectedEof => format!("{place} has closed the connection"),
        _ => format!("{place}: {problem}"),
    }
}

/// A connection that waits for each answer.
pub struct Talk {
    pub place: Place,
    wire: Wire,
    input: Vec<u8>,
}

impl Talk {
    /// Connects and logs in.
    ///
    /// # Errors
    /// Why not, with the place.
    pub async fn open(place: &Place) -> Result<Self, String> {
        let wire = connect(place).await?;
        let mut talk = Self { place: place.clone(), wire, input: Vec::new() };
        if let Some(login) = place.login() {
            talk.ask(&login).await.map_err(|why| format!("{why} (the login in its URL)"))?;
        }
        Ok(talk)
    }

    /// Says something, and waits for the answer.
    ///
    /// # Errors
    /// An error that was answered, or what happened to the connection, with the place.
    pub async fn ask<W: AsRef<[u8]>>(&mut self, words: &[W]) -> Result<Response, String> {
        match self.ask_anything(words).await? {
            Response::Error(text) => Err(format!("{}: {text}", self.place)),
            response => Ok(response),
        }
    }

    /// As `ask`; an error may be the answer.
    ///
    /// # Errors
    /// What happened to the connection, with the place.
    pub async fn ask_anything<W: AsRef<[u8]>>(&mut self, words: &[W]) -> Result<Response, String> {
        let mut bytes = Vec::new();
        request::write(&words.iter().map(AsRef::as_ref).collect::<Vec<&[u8]>>(), &mut bytes);
        self.hear(&bytes).await
    }

    /// Says several things at once, and waits for the answers to all.
    ///
    /// # Errors
    /// The first error that was answered, or what happened to the connection, with the place.
    pub async fn ask_all(&mut self, requests: &[Vec<Vec<u8>>]) -> Result<Vec<Response>, String> {
        let mut bytes = Vec::new();
        for words in requests {
            request::write(&words.iter().map(|it| &it[..]).collect::<Vec<_>>(), &mut bytes);
        }
        let mut answers = Vec::with_capacity(requests.len());
        while answers.len() < requests.len() {
            match self.hear(&std::mem::take(&mut bytes)).await? {
                Response::Error(text) => return Err(format!("{}: {text}", self.place)),
                response => answers.push(response),
            }
        }
        Ok(answers)
    }

    /// Says this, and waits for the next answer.
    async fn hear(&mut self, bytes: &[u8]) -> Result<Response, String> {
        let heard = within(PATIENCE, self.exchange(bytes)).await;
        heard.map_err(|problem| fault(&self.place, &problem))
    }

    async fn exchange(&mut self, bytes: &[u8]) -> io::Result<Response> {
        write(&mut self.wire, bytes).await?;
        loop {
            // Who has much to do before it answers says so by empty lines.
            let blank = self.input.iter().take_while(|byte| **byte == b'\n').count();
            self.input.drain(..blank);
            if let Some((response, len)) = parse(&self.input)? {
                self.input.drain(..len);
                return Ok(response);
            }
            self.input.reserve(READ_BYTES);
            if self.wire.read_buf(&mut self.input).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// The fields of one part of INFO.
    ///
    /// # Errors
    /// As `ask`.
    pub async fn info(&mut self, part: &str) -> Result<Fields, String> {
        let text = self.ask(&["INFO", part]).await?.text();
        let pairs = text.lines().filter_map(|line| line.trim_end().split_once(':'));
        Ok(Fields(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()))
    }

    /// Its clock, in milliseconds since 1970.
    ///
    /// # Errors
    /// As `ask`, or what it answers is no time.
    pub async fn time_ms(&mut self) -> Result<i64, String> {
        let answer = self.ask(&["TIME"]).await?;
        let number = |at: usize| match &answer {
            Response::List(parts) => parts.get(at)?.text().parse::<i64>().ok(),
            _ => None,
        };
        let time_ms = number(0).zip(number(1)).map(|(s, us)| s * 1_000 + us / 1_000);
        time_ms.ok_or_else(|| format!("{}: the answer to TIME makes no sense", self.place))
    }

    /// A setting; None where it is unknown, or not to be asked for.
    pub async fn setting(&mut self, name: &str) -> Option<String> {
        let Response::List(pair) = self.ask(&["CONFIG", "GET", name]).await.ok()? else {
            return None;
        };
        pair.get(1).map(Response::text)
    }

    /// The connection, and what has come over it and was not looked at.
    pub fn into_parts(self) -> (Wire, Vec<u8>) {
        (self.wire, self.input)
    }
}

/// What INFO tells.
pub struct Fields(BTreeMap<String, String>);

impl Fields {
    pub fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// A number; 0 where there is none.
    pub fn number(&self, name: &str) -> u64 {
        self.get(name).parse().unwrap_or(0)
    }

    /// Keys by database, in INFO keyspace.
    pub fn keys_by_db(&self) -> BTreeMap<usize, u64> {
        let count = |(name, value): (&String, &String)| {
            let db = name.strip_prefix("db")?.parse().ok()?;
            let keys = value.strip_prefix("keys=")?.split(',').next()?.parse().ok()?;
            Some((db, keys))
        };
        self.0.iter().filter_map(count).collect()
    }
}
