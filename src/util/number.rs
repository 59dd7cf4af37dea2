//! Numbers as text.

/// An integer in its one spelling: no blanks, no `+`, no leading zeros.
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    match digits {
        [] => return None,
        [b'0', ..] if text.len() > 1 => return None,
        _ if !digits.iter().all(u8::is_ascii_digit) => return None,
        _ => {}
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// A double; NaN is refused.
pub fn parse_f64(text: &[u8]) -> Option<f64> {
    std::str::from_utf8(text).ok()?.parse().ok().filter(|value: &f64| !value.is_nan())
}

/// The shortest text that reads back the same.
pub fn format_double(value: f64) -> String {
    format!("{value}")
}
