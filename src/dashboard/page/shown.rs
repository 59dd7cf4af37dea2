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

impl ShownBytes {
    pub fn of(bytes: &[u8]) -> Self {
        let unpacked = unpacked(bytes);
        let is_packed = unpacked.is_some();
        let bytes = unpacked.map_or(Cow::Borrowed(bytes), Cow::Owned);
        let shown = match (std::str::from_utf8(&bytes), pickle::read(&bytes)) {
            (_, Some(text)) => Shown::Pickle(text),
            (Err(_), None) => Shown::Bytes(dump(&bytes)),
            (Ok(text), None) => match serde_json::from_str(text) {
                Ok(json @ (Json::Object(_) | Json::Array(_))) => Shown::Json(json),
                _ => Shown::Text(text.to_owned()),
            },
        };
        Self { shown, is_packed }
    }

    /// What it is called; None for plain text.
    pub fn kind(&self) -> Option<&'static str> {
        Some(match (&self.shown, self.is_packed) {
            (Shown::Text(_), false) => return None,
            (Shown::Text(_), true) => "text in zlib",
            (Shown::Json(_), false) => "JSON",
            (Shown::Json(_), true) => "JSON in zlib",
            (Shown::Pickle(_), false) => "pickle",
            (Shown::Pickle(_), true) => "pickle in zlib",
            (Shown::Bytes(_), false) => "bytes",
            (Shown::Bytes(_), true) => "bytes in zlib",
        })
    }
}

/// What stands in a cell for bytes: what they are, if that is no text, and their beginning.
pub fn excerpt(bytes: &[u8], len: usize) -> (Option<&'static str>, String) {
    let reading = ShownBytes::of(bytes);
    match &reading.shown {
        Shown::Pickle(told) => (reading.kind(), text::excerpt(told.as_bytes(), len)),
        Shown::Bytes(_) => (reading.kind(), hex(&bytes[..bytes.len().min(len / 3)])),
        Shown::Text(told) if reading.is_packed => {
            (reading.kind(), text::excerpt(told.as_bytes(), len))
        }
        _ => (None, text::excerpt(bytes, len)),
    }
}

/// None if they are not compressed, or hold too much.
fn unpacked(bytes: &[u8]) -> Option<Vec<u8>> {
    let [0x78, 0x01 | 0x5e | 0x9c | 0xda, ..] = bytes else { return None };
    decompress_to_vec_zlib_with_limit(bytes, UNPACKED_MAX).ok()
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
        assert_eq!(ShownBytes::of(b"[1]").kind(), Some("JSON"));
        let Shown::Bytes(told) = ShownBytes::of(b"\xffa\n").shown else {
            panic!("these are bytes")
        };
        assert!(told.starts_with("000000  ff 61 0a") && told.ends_with(" .a.\n"), "{told}");
    }
}
