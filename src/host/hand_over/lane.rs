//! One connection to a server that is written to: much is said before anything is answered.
//!
//! What is said goes out in *parcels*, each of which is answered as a whole. A parcel is kept until
//! then: a cluster may answer that its keys have moved. An error ends the hand-over: what is said
//! was done once already, over there.

use crate::proto::request;
use crate::remote::dial::{Wire, within, write};
use crate::remote::{PATIENCE, Place, Response, Talk, fault, parse};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use tokio::io::{AsyncReadExt, ReadHalf, WriteHalf};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// Bytes that are written at once.
const FLUSH_BYTES: usize = 64 * 1024;

const READ_BYTES: usize = 16 * 1024;

/// Characters of a command that are shown where it is refused.
const SHOWN_MAX: usize = 120;

/// Requests that are answered as a whole, about keys of one slot.
#[derive(Debug)]
pub struct Parcel {
    pub db: usize,
    pub slot: u16,
    pub bytes: Vec<u8>,
    /// How many answers it gets.
    pub answers: usize,
}

/// Where a parcel is to go instead.
#[derive(Debug, PartialEq, Eq)]
pub struct Redirect {
    pub host: String,
    pub port: u16,
    /// From now on, and not this once.
    pub is_for_good: bool,
}

/// What is under way.
#[derive(Default)]
struct Flight {
    sent: RefCell<VecDeque<Parcel>>,
    bytes: Cell<usize>,
    /// Answers to the first parcel so far, and the first error among them.
    answered: Cell<usize>,
    refusal: RefCell<Option<String>>,
    /// Parcels that were answered.
    done: Cell<u64>,
    astray: RefCell<Vec<(Parcel, Redirect)>>,
    fault: RefCell<Option<String>>,
}

/// A connection and what is under way on it.
pub struct Lane {
    pub place: Place,
    wire: WriteHalf<Wire>,
    out: Vec<u8>,
    /// The database that what is said next is about.
    db: usize,
    sent: u64,
    flight: Rc<Flight>,
    listener: JoinHandle<()>,
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl Lane {
    /// Connects and logs in. Whatever is answered calls `changed`.
    ///
    /// # Errors
    /// Why not, with the place.
    pub async fn open(place: &Place, changed: &Rc<Notify>) -> Result<Self, String> {
        let (wire, _) = Talk::open(place).await?.into_parts();
        let (reader, wire) = tokio::io::split(wire);
        let flight = Rc::new(Flight::default());
        let listen = listen(place.clone(), reader, flight.clone(), changed.clone());
        let listener = tokio::task::spawn_local(listen);
        let place = place.clone();
        Ok(Self { place, wire, out: Vec::new(), db: 0, sent: 0, flight, listener })
    }

    /// Puts a parcel behind what is to be said.
    pub fn put(&mut self, parcel: Parcel) {
        if parcel.db != self.db {
            self.db = parcel.db;
            let mut bytes = Vec::new();
            request::write(&[b"SELECT", self.db.to_string().as_bytes()], &mut bytes);
            self.put_as_it_is(Parcel { bytes, answers: 1, ..parcel });
        }
        self.put_as_it_is(parcel);
    }

    fn put_as_it_is(&mut self, parcel: Parcel) {
        self.out.extend_from_slice(&parcel.bytes);
        self.flight.bytes.set(self.flight.bytes.get() + parcel.bytes.len());
        self.flight.sent.borrow_mut().push_back(parcel);
        self.sent += 1;
    }

    /// Whether enough waits to be said.
    pub fn is_full(&self) -> bool {
        self.out.len() >= FLUSH_BYTES
    }

    /// Says what waits.
    ///
    /// # Errors
    /// What happened to the connection.
    pub async fn flush(&mut self) -> Result<(), String> {
        if self.out.is_empty() {
            return Ok(());
        }
        let written = within(PATIENCE, write(&mut self.wire, &self.out)).await;
        self.out.clear();
        // It may have said why before it closed.
        written.map_err(|problem| self.fault().unwrap_or(fault(&self.place, &problem)))
    }

    /// Bytes that were not answered.
    pub fn bytes_under_way(&self) -> usize {
        self.flight.bytes.get()
    }

    /// Parcels that were put, and those of them that were answered.
    pub fn parcels(&self) -> (u64, u64) {
        (self.sent, self.flight.done.get())
    }

    /// What has ended it.
    pub fn fault(&self) -> Option<String> {
        self.flight.fault.borrow().clone()
    }

    pub fn has_astray(&self) -> bool {
        !self.flight.astray.borrow().is_empty()
    }

    /// Parcels that are to go elsewhere, in order.
    pub fn take_astray(&self) -> Vec<(Parcel, Redirect)> {
        self.flight.astray.take()
    }
}

/// Hears what is answered, until the connection ends.
async fn listen(place: Place, mut wire: ReadHalf<Wire>, flight: Rc<Flight>, changed: Rc<Notify>) {
    let (mut input, mut at) = (Vec::new(), 0);
    let problem = loop {
        match parse(&input[at..]) {
            Ok(Some((response, len))) => {
                at += len;
                flight.hear(&place, &response);
            }
            Ok(None) => {
                changed.notify_one();
                input.drain(..at);
                at = 0;
                input.reserve(READ_BYTES);
                match wire.read_buf(&mut input).await {
                    Ok(0) => break fault(&place, &io::ErrorKind::UnexpectedEof.into()),
                    Ok(_) => {}
                    Err(problem) => break fault(&place, &problem),
                }
            }
            Err(problem) => break fault(&place, &problem),
        }
    };
    flight.fault.borrow_mut().get_or_insert(problem);
    changed.notify_one();
}

impl Flight {
    fn hear(&self, place: &Place, response: &Response) {
        let mut sent = self.sent.borrow_mut();
        let Some(parcel) = sent.front() else {
            let text = format!("{place} answers what nobody has asked");
            self.fault.borrow_mut().get_or_insert(text);
            return;
        };
        if let Some(text) = error_in(response) {
            self.refusal.borrow_mut().get_or_insert(text.to_owned());
        }
        self.answered.set(self.answered.get() + 1);
        if self.answered.get() < parcel.answers {
            return;
        }
        self.answered.set(0);
        let Some(parcel) = sent.pop_front() else { return };
        self.bytes.set(self.bytes.get() - parcel.bytes.len());
        self.done.set(self.done.get() + 1);
        let Some(refusal) = self.refusal.take() else { return };
        match redirect(&refusal) {
            Some(redirect) => self.astray.borrow_mut().push((parcel, redirect)),
            None => {
                let text = format!("{place} answers to {}: {refusal}", shown(&parcel.bytes));
                self.fault.borrow_mut().get_or_insert(text);
            }
        }
    }
}

/// The first error of an answer.
fn error_in(response: &Response) -> Option<&str> {
    match response {
        Response::Error(text) => Some(text),
        Response::List(items) => items.iter().find_map(error_in),
        _ => None,
    }
}

/// Where an error says that keys are.
fn redirect(error: &str) -> Option<Redirect> {
    let mut words = error.split(' ');
    let is_for_good = match words.next()? {
        "MOVED" => true,
        "ASK" => false,
        _ => return None,
    };
    let (host, port) = words.nth(1)?.rsplit_once(':')?;
    Some(Redirect { host: host.into(), port: port.parse().ok()?, is_for_good })
}

/// The begin of a parcel as a person reads it: the command and its key.
fn shown(bytes: &[u8]) -> String {
    let lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
    let words = lines.filter(|it| !it.starts_with(b"*") && !it.starts_with(b"$"));
    let text: Vec<String> = words.take(2).map(|it| it.escape_ascii().to_string()).collect();
    text.join(" ").chars().take(SHOWN_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_are_read() {
        let to = |host: &str, port, is_for_good| Redirect { host: host.into(), port, is_for_good };
        assert_eq!(redirect("MOVED 3999 127.0.0.1:6381"), Some(to("127.0.0.1", 6381, true)));
        assert_eq!(redirect("ASK 3999 ::1:6381"), Some(to("::1", 6381, false)));
        assert_eq!(redirect("MOVED 3999 :6381"), Some(to("", 6381, true)));
        assert_eq!(redirect("MOVED 3999"), None);
        assert_eq!(redirect("ERR MOVED 1 h:1"), None);
    }

    #[test]
    fn a_refused_command_is_shown_with_its_key() {
        let mut bytes = Vec::new();
        request::write(&[b"SET", b"a\x01", b"secret"], &mut bytes);
        assert_eq!(shown(&bytes), "SET a\\x01");
    }
}
