//! What stands behind the `?` of a view's address.

use percent_encoding::percent_decode_str;

/// A field as a form of the page sends it; empty if there is none. Bytes that are no text come as
/// signs that say so: such names are reached by their own address.
pub fn field(query: &str, name: &str) -> String {
    let found = query.split('&').find_map(|it| it.strip_prefix(name)?.strip_prefix('='));
    let spaced = found.unwrap_or_default().replace('+', " ");
    percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}
