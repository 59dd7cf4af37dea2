//! The request parser on whatever a client may send, in whatever pieces it may arrive.
//!
//! The input's first line holds the lengths of the pieces, a byte each, over and over; the rest is
//! what the client sends. What is found must not depend on the pieces, must come back when it is
//! sent again as an array, and must be what the `redis-protocol` crate finds where that accepts it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use redis_protocol::resp2::decode::decode;
use redis_protocol::resp2::types::OwnedFrame;
use toril::config::INLINE_BYTES_MAX;
use toril::proto::request::{Batch, Parsed, Parser, RequestLimits};

/// Small enough for a fuzzer to meet it.
const BULK_BYTES_MAX: usize = 1000;

type Words = Vec<Vec<u8>>;

/// All that was found in one client's input.
#[derive(Debug, PartialEq)]
struct Found {
    /// Each with the offset at which it begins.
    requests: Vec<(usize, Words)>,
    used: usize,
    /// The protocol error that ended the connection.
    broken: Option<String>,
}

fuzz_target!(|data: &[u8]| {
    let Some(end) = data.iter().position(|&byte| byte == b'\n') else { return };
    let (lengths, input) = (&data[..end], &data[end + 1..]);
    // A longer line is refused unless its end arrives with it: there the pieces do matter.
    if input.len() > INLINE_BYTES_MAX {
        return;
    }
    let known = RequestLimits::authenticated(BULK_BYTES_MAX);
    for limits in [known, RequestLimits::unauthenticated()] {
        let whole = read(input, &[], limits);
        assert_eq!(whole, read(input, lengths, limits), "the pieces matter");
    }
    let found = read(input, &[], known);
    // The limit is on bulk strings: a word of a line may be longer.
    let roomy = RequestLimits::authenticated(INLINE_BYTES_MAX);
    for (_, words) in &found.requests {
        let again = read(&encode(words), &[], roomy);
        assert_eq!(again.requests, [(0, words.clone())], "it does not come back");
    }
    compare(input, &found);
});

/// Reads `input` in pieces of these lengths, over and over, or in one piece if there are none.
fn read(input: &[u8], lengths: &[u8], limits: RequestLimits) -> Found {
    let mut found = Found { requests: Vec::new(), used: 0, broken: None };
    let mut parser = Parser::default();
    let mut lengths = lengths.iter().cycle();
    let mut arrived = 0;
    while arrived < input.len() {
        let piece = lengths.next().map_or(input.len(), |&len| usize::from(len.max(1)));
        arrived = input.len().min(arrived + piece);
        loop {
            let rest = &input[found.used..arrived];
            let mut batch = Batch::default();
            match parser.find(rest, limits, &mut batch) {
                Parsed::Request(_) => {
                    for (words, len) in batch.requests() {
                        let words = words.iter().map(|word| word.to_vec()).collect();
                        found.requests.push((found.used, words));
                        found.used += len;
                    }
                }
                Parsed::Nothing(len) => found.used += len,
                Parsed::Partial => break,
                Parsed::Broken(error) => {
                    found.broken = Some(error.to_string());
                    return found;
                }
            }
        }
    }
    found
}

fn encode(words: &Words) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// Holds each array against what the crate reads in the same place.
fn compare(input: &[u8], found: &Found) {
    for (start, words) in &found.requests {
        let Some((second, _)) = decode_array(&input[*start..]) else { continue };
        assert_eq!(&second, words, "redis-protocol reads something else at {start}");
    }
    // Where we wait for more, nothing whole may stand.
    if found.broken.is_none() {
        assert_eq!(decode_array(&input[found.used..]), None, "a request is not seen");
    }
}

/// The words and the length of the array of bulk strings at the front of `input`, if the crate
/// sees one.
fn decode_array(input: &[u8]) -> Option<(Words, usize)> {
    let (OwnedFrame::Array(items), len) = decode(input).ok()?? else { return None };
    let words = items.into_iter().map(|item| match item {
        OwnedFrame::BulkString(word) => Some(word),
        _ => None,
    });
    Some((words.collect::<Option<Words>>().filter(|words| !words.is_empty())?, len))
}
