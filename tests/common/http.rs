//! HTTP/1.1, as much of it as tests need: one connection that is kept, bodies by length or in
//! chunks, and event streams.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// What servers under test are given for their token.
pub const TOKEN: &str = "token-of-the-tests";

/// An answer has this long to come, on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// A header's value; its name is given in small letters.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(its, _)| its == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is UTF-8")
    }

    /// Reads the head off the front of `input`, if it is there whole; returns its length as well.
    fn head(input: &[u8]) -> Option<(Answer, usize)> {
        let len = input.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let text = std::str::from_utf8(&input[..len]).expect("a head is ASCII");
        let mut lines = text.trim_end().split("\r\n");
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 "));
        let status = status.and_then(|line| line.get(..3)?.parse().ok()).expect("a status line");
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(':').expect("a header has a colon");
            (name.to_lowercase(), value.trim().to_owned())
        });
        Some((Answer { status, headers: headers.collect(), body: Vec::new() }, len))
    }

    fn is_chunked(&self) -> bool {
        self.header("transfer-encoding") == Some("chunked")
    }

    /// Reads a whole answer off the front of `input`; returns its length as well.
    fn whole(input: &[u8]) -> Option<(Answer, usize)> {
        let (mut answer, mut len) = Answer::head(input)?;
        if answer.is_chunked() {
            while let Some((chunk, chunk_len)) = chunk(&input[len..]) {
                len += chunk_len;
                if chunk.is_empty() {
                    return Some((answer, len));
                }
                answer.body.extend_from_slice(chunk);
            }
            return None;
        }
        let body_len: usize = match answer.header("content-length") {
            Some(text) => text.parse().expect("a length is a number"),
            None => 0,
        };
        answer.body = input.get(len..len + body_len)?.to_vec();
        Some((answer, len + body_len))
    }
}

/// A chunk at the front of `input`, and its length with what stands around it.
fn chunk(input: &[u8]) -> Option<(&[u8], usize)> {
    let line = input.windows(2).position(|pair| pair == b"\r\n")?;
    let text = std::str::from_utf8(&input[..line]).expect("a chunk's length is text");
    let len = usize::from_str_radix(text, 16).expect("a chunk's length is hexadecimal");
    let start = line + 2;
    input.get(start + len..start + len + 2)?;
    Some((&input[start..start + len], start + len + 2))
}

/// A request as it goes over the wire, without a token.
pub fn request(method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("{method} {target} HTTP/1.1\r\nhost: toril\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    let is_chunked = headers.iter().any(|(name, _)| *name == "transfer-encoding");
    if !body.is_empty() && !is_chunked {
        head += &format!("content-length: {}\r\n", body.len());
    }
    [head.as_bytes(), b"\r\n", body].concat()
}

/// One connection.
pub struct Http {
    pub stream: TcpStream,
    input: Vec<u8>,
    /// The text of an event stream that has come, without its chunks.
    events: Vec<u8>,
    authorization: String,
}

impl Http {
    pub fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        stream.set_nodelay(true).expect("it is a socket");
        let authorization = format!("Bearer {TOKEN}");
        Self { stream, input: Vec::new(), events: Vec::new(), authorization }
    }

    /// The same with another token.
    pub fn with_token(port: u16, token: &str) -> Self {
        Self { authorization: format!("Bearer {token}"), ..Self::connect(port) }
    }

    /// A server that has closed the connection is seen as such when its answer is read.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Sends a request with the token.
    pub fn begin(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) {
        let authorization = [("authorization", &*self.authorization)];
        let bytes = request(method, target, &[&authorization, headers].concat(), body);
        self.send(&bytes);
    }

    /// Sends a request with the token, and returns the answer.
    pub fn ask(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        self.begin(method, target, headers, body);
        self.receive().expect("a request is answered")
    }

    /// Posts JSON, and returns the status and the body.
    pub fn post(&mut self, target: &str, json: &str) -> (u16, String) {
        let answer = self.ask("POST", target, &[], json.as_bytes());
        (answer.status, answer.text().to_owned())
    }

    /// The next answer; None if the connection ends without one.
    pub fn receive(&mut self) -> Option<Answer> {
        loop {
            if let Some((answer, len)) = Answer::whole(&self.input) {
                self.input.drain(..len);
                return Some(answer);
            }
            if !self.read_within(PATIENCE)? {
                panic!("no answer comes; so far: {}", self.input.escape_ascii());
            }
        }
    }

    /// The head of an answer whose body follows as events.
    pub fn receive_head(&mut self) -> Answer {
        loop {
            if let Some((answer, len)) = Answer::head(&self.input) {
                self.input.drain(..len);
                assert!(answer.status != 200 || answer.is_chunked(), "a stream comes in chunks");
                return answer;
            }
            assert_eq!(self.read_within(PATIENCE), Some(true), "no head comes");
        }
    }

    /// The next event of a stream, without the blank line behind it; None at its end.
    pub fn event(&mut self) -> Option<String> {
        loop {
            while let Some((chunk, len)) = chunk(&self.input) {
                self.events.extend_from_slice(chunk);
                self.input.drain(..len);
            }
            if let Some(end) = self.events.windows(2).position(|pair| pair == b"\n\n") {
                let event: Vec<u8> = self.events.drain(..end + 2).collect();
                let event = String::from_utf8(event).expect("events are UTF-8");
                return Some(event.trim_end().to_owned());
            }
            if !self.read_within(PATIENCE)? {
                panic!("no event comes; so far: {}", self.events.escape_ascii());
            }
        }
    }

    /// Whether anything, or the connection's end, comes within `wait`.
    pub fn hears_within(&mut self, wait: Duration) -> bool {
        !self.input.is_empty() || self.read_within(wait) != Some(false)
    }

    /// Takes in what has come. None at the end of the connection, false if nothing comes.
    fn read_within(&mut self, wait: Duration) -> Option<bool> {
        let start = Instant::now();
        let mut chunk = vec![0; 64 * 1024];
        loop {
            let left = wait.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Some(false);
            }
            self.stream.set_read_timeout(Some(left)).expect("it is more than nothing");
            match self.stream.read(&mut chunk) {
                Ok(0) => return None,
                Ok(len) => {
                    self.input.extend_from_slice(&chunk[..len]);
                    return Some(true);
                }
                Err(problem) => match problem.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => {}
                    _ => return None,
                },
            }
        }
    }
}
