//! How a queue is named in addresses: base64url of its database, a zero and its base, since names
//! hold slashes, colons and bytes that are no text.

use crate::queues::Queue;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The name of a queue in an address.
pub fn of_queue(queue: &Queue) -> String {
    URL_SAFE_NO_PAD.encode([queue.db.to_string().as_bytes(), b"\0", &queue.base].concat())
}

/// The database and the base in such a name; None if it is none.
pub fn parse(id: &str) -> Option<(usize, Vec<u8>)> {
    let mut text = URL_SAFE_NO_PAD.decode(id).ok()?;
    let zero = text.iter().position(|&byte| byte == 0)?;
    let base = text.split_off(zero + 1);
    Some((std::str::from_utf8(&text[..zero]).ok()?.parse().ok()?, base))
}

/// Bytes as they stand in one segment of an address.
pub fn segment(text: &[u8]) -> String {
    percent_encoding::percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}
