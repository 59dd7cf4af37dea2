//! The journal read back.

use toril::proto::request::{Batch, Parsed, Parser, RequestLimits};

/// The commands in bytes of the journal, each with the offset at which it ends.
pub fn commands(bytes: &[u8]) -> Vec<(usize, Vec<String>)> {
    let (mut parser, mut end) = (Parser::default(), 0);
    let mut found = Vec::new();
    while end < bytes.len() {
        let mut batch = Batch::default();
        let parsed = parser.find(&bytes[end..], RequestLimits::authenticated(1 << 20), &mut batch);
        assert!(matches!(parsed, Parsed::Request(_)), "{parsed:?} at {end}");
        for (words, len) in batch.requests() {
            end += len;
            let text = |word: &&[u8]| String::from_utf8_lossy(word).into_owned();
            found.push((end, words.iter().map(text).collect()));
        }
    }
    found
}
