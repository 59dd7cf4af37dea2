//! Connections out: something is said to another server, and its answers are brought back.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::engine::effect::{Conversation, Outcome, Problem};

/// No answer that is expected is longer.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// Bytes that are written within one time-out.
const CHUNK_BYTES: usize = 64 * 1024;

/// Says what is to be said; the outcome has the lines that were answered before anything failed.
pub(super) async fn converse(conversation: &Conversation) -> Outcome {
    let mut lines = Vec::new();
    let problem = exchange(conversation, &mut lines).await.err();
    Outcome::Answers { lines, problem }
}

async fn exchange(what: &Conversation, lines: &mut Vec<Vec<u8>>) -> Result<(), Problem> {
    let span = Duration::from_millis(what.timeout_ms);
    let mut stream = connect(what, span).await?;
    for chunk in what.bytes.chunks(CHUNK_BYTES) {
        let written = timeout(span, stream.write_all(chunk)).await;
        written.map_err(|_| Problem::Writing)?.map_err(|_| Problem::Writing)?;
    }
    let mut input = Vec::new();
    while lines.len() < what.answers {
        if let Some(end) = memchr::memchr(b'\n', &input) {
            let rest = input.split_off(end + 1);
            let mut line = std::mem::replace(&mut input, rest);
            line.truncate(line.trim_ascii_end().len());
            lines.push(line);
            continue;
        }
        let read = timeout(span, stream.read_buf(&mut input)).await;
        let len = read.map_err(|_| Problem::Reading)?.map_err(|_| Problem::Reading)?;
        if len == 0 || input.len() > LINE_BYTES_MAX {
            return Err(Problem::Reading);
        }
    }
    Ok(())
}

/// As in Redis, a refusal is noticed when something is written.
async fn connect(what: &Conversation, span: Duration) -> Result<TcpStream, Problem> {
    let address = (what.host.as_str(), what.port);
    let mut addresses = tokio::net::lookup_host(address).await.map_err(|_| Problem::Connecting)?;
    let address = addresses.next().ok_or(Problem::Connecting)?;
    let connected = timeout(span, TcpStream::connect(address)).await;
    connected.map_err(|_| Problem::Connecting)?.map_err(|_| Problem::Writing)
}
