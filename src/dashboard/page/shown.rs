//! How bytes are shown that may be anything: as JSON, as text, as what a pickle says, else one by
//! one. What is compressed with zlib is shown as what it holds.

use super::text;
use crate::util::pickle;
use miniz_oxide::inflate::decompress_to_vec_zlib_with_limit;
use serde_json::Value as Json;
use std::borrow::Cow;
use std::fmt::Write;

/// Bytes that are told one by one.
const DUMPED_MAX: usize = 4096;
const DUMP_LINE: usize = 16;

/// What is compressed may hold so much.
const UNPACKED_MAX: usize = 1 << 20;

pub enum Shown {
    Json(Json),
    Text(String),
    /// Read, and never run.
    Pickle(String),
    Bytes(String),
}

/// What bytes are, and whether they were compressed.
pub struct ShownBytes {
    pub shown: Shown,
    pub is_packed: bool,
}

/// What each is called, plain and compressed.
const TEXT: [&str; 2] = ["text", "text in zlib"];
const JSON: [&str; 2] = ["JSON", "JSON in zlib"];
const PICKLE: [&str; 2] = ["pickle", "pickle in zlib"];
const BYTES: [&str; 2] = ["bytes", "bytes in zlib"];

/// What bytes are at first sight: what a text says was not looked at.
enum Seen<'b> {
    Pickle(String),
    Text(&'b str),
    Bytes,
}

impl<'b> Seen<'b> {
    fn of(bytes: &'b [u8]) -> Self {
        match (pickle::read(bytes), std::str::from_utf8(bytes)) {
            (Some(told), _) => Self::Pickle(told),
            (None, Ok(text)) => Self::Text(text),
            (None, Err(_)) => Self::Bytes,
        }
    }
}

impl ShownBytes {
    pub fn of(bytes: &[u8]) -> Self {
        let (bytes, is_packed) = unpacked(bytes);
        let shown = match Seen::of(&bytes) {
            Seen::Pickle(told) => Shown::Pickle(told),
            Seen::Bytes => Shown::Bytes(dump(&bytes)),
            Seen::Text(text) => match serde_json::from_str(text) {
                Ok(json @ (Json::Object(_) | Json::Array(_))) => Shown::Json(json),
                _ => Shown::Text(text.to_owned()),
            },
        };
        Self { shown, is_packed }
    }

    /// What it is called; None for plain text.
    pub fn kind(&self) -> Option<&'static str> {
        let called = match self.shown {
            Shown::Text(_) if !self.is_packed => return None,
            Shown::Text(_) => TEXT,
            Shown::Json(_) => JSON,
            Shown::Pickle(_) => PICKLE,
            Shown::Bytes(_) => BYTES,
        };
        Some(called[usize::from(self.is_packed)])
    }
}

/// What stands in a cell for bytes: what they are, if that is no text, and their beginning.
pub fn excerpt(bytes: &[u8], len: usize) -> (Option<&'static str>, String) {
    let (bytes, is_packed) = unpacked(bytes);
    let called = |names: [&'static str; 2]| Some(names[usize::from(is_packed)]);
    match Seen::of(&bytes) {
        Seen::Pickle(told) => (called(PICKLE), text::excerpt(told.as_bytes(), len)),
        Seen::Bytes => (called(BYTES), hex(&bytes[..bytes.len().min(len / 3)])),
        Seen::Text(_) => (called(TEXT).filter(|_| is_packed), text::excerpt(&bytes, len)),
    }
}

/// What bytes hold that are compressed, unless that is too much; and whether they are.
fn unpacked(bytes: &[u8]) -> (Cow<'_, [u8]>, bool) {
    let is_marked = matches!(bytes, [0x78, 0x01 | 0x5e | 0x9c | 0xda, ..]);
    let held = is_marked.then(|| decompress_to_vec_zlib_with_limit(bytes, UNPACKED_MAX).ok());
    held.flatten().map_or((Cow::Borrowed(bytes), false), |held| (Cow::Owned(held), true))
}

fn hex(bytes: &[u8]) -> String {
    let told: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    told.join(" ")
}

/// Line by line: where it stands, its bytes, and the signs that they are.
fn dump(bytes: &[u8]) -> String {
    let mut told = String::new();
    for (at, line) in bytes[..bytes.len().min(DUMPED_MAX)].chunks(DUMP_LINE).enumerate() {
        let signs = line.iter().map(|&byte| match byte {
            b' '..=b'~' => char::from(byte),
            _ => '.',
        });
        let signs: String = signs.collect();
        let width = DUMP_LINE * 3;
        let _ = writeln!(told, "{:06x}  {:width$} {signs}", at * DUMP_LINE, hex(line));
    }
    if bytes.len() > DUMPED_MAX {
        told.push('…');
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_as_what_they_are() {
        let check = |bytes: &[u8], expect: (Option<&str>, &str)| {
            let (kind, told) = excerpt(bytes, 60);
            assert_eq!((kind, &*told), expect);
        };
        check(b"a text", (None, "a text"));
        check(b"{\"a\":1}", (None, "{\"a\":1}"));
        check(b"\x80\x04K\x05.", (Some("pickle"), "5"));
        check(b"\xff\x00a", (Some("bytes"), "ff 00 61"));
        let packed = miniz_oxide::deflate::compress_to_vec_zlib(b"\x80\x04K\x05.", 6);
        check(&packed, (Some("pickle in zlib"), "5"));
        let packed = miniz_oxide::deflate::compress_to_vec_zlib(b"[1]", 6);
        check(&packed, (Some("text in zlib"), "[1]"));
        assert_eq!(ShownBytes::of(&packed).kind(), Some("JSON in zlib"));
        assert_eq!(ShownBytes::of(b"[1]").kind(), Some("JSON"));
        let Shown::Bytes(told) = ShownBytes::of(b"\xffa\n").shown else {
            panic!("these are bytes")
        };
        assert!(told.starts_with("000000  ff 61 0a") && told.ends_with(" .a.\n"), "{told}");
    }
}
