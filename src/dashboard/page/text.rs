//! How numbers, spans and texts of jobs are told.

pub use crate::util::span::figure as span;

/// Bytes of a job that may be no text.
pub fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

/// With a comma before each three digits.
pub fn number(number: usize) -> String {
    let digits = number.to_string();
    let mut told = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            told.push(',');
        }
        told.push(digit);
    }
    told
}

/// How many jobs: `1 job`, `2,000 jobs`.
pub fn jobs(count: usize) -> String {
    format!("{} {}", number(count), if count == 1 { "job" } else { "jobs" })
}

/// A span in one text, with one unit: `3.1 s`.
pub fn span_text(ms: u64) -> String {
    let (number, unit) = span(ms);
    format!("{number} {unit}")
}

/// Microseconds, with three digits: `1.25 µs`, `12.5 µs`, `3.10 ms`.
pub fn micros(us: f64) -> String {
    let (value, unit) = match us {
        1_000_000.0.. => (us / 1_000_000.0, "s"),
        1_000.0.. => (us / 1_000.0, "ms"),
        _ => (us, "µs"),
    };
    match value {
        100.0.. => format!("{value:.0} {unit}"),
        10.0.. => format!("{value:.1} {unit}"),
        _ => format!("{value:.2} {unit}"),
    }
}

/// Bytes of memory: `512 B`, `1.5 KB`, `3.0 MB`.
pub fn bytes(count: usize) -> String {
    const UNITS: [(usize, &str); 3] = [(1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "KB")];
    match UNITS.into_iter().find(|(unit, _)| count >= *unit) {
        Some((unit, name)) => format!("{:.1} {name}", count as f64 / unit as f64),
        None => format!("{count} B"),
    }
}

/// The beginning of a text: `len` characters at most, in one line.
pub fn excerpt(text: &[u8], len: usize) -> String {
    let text = String::from_utf8_lossy(&text[..text.len().min(len * 4)]);
    let is_whole = text.chars().count() <= len;
    let mut line: String =
        text.chars().take(len).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if !is_whole {
        line.push('…');
    }
    line
}

/// The beginning of a text, at most so many bytes, with its lines.
pub fn excerpt_lines(text: &str, len: usize) -> String {
    match text.len() <= len {
        true => text.into(),
        false => format!("{}…", &text[..text.floor_char_boundary(len)]),
    }
}

/// A state's name as the heading of a column or a tab.
pub fn heading(name: &str) -> String {
    let mut chars = name.chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    (first + chars.as_str()).replace('-', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_their_commas() {
        for (value, told) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(number(value), told);
        }
    }

    #[test]
    fn spans_have_two_digits_at_least_and_their_unit() {
        let cases = [
            (0, "0 ms"),
            (999, "999 ms"),
            (1_000, "1.0 s"),
            (9_999, "9.9 s"),
            (10_000, "10 s"),
            (61_000, "1.0 min"),
            (7_200_000, "2.0 h"),
            (200_000_000, "2.3 d"),
        ];
        for (ms, told) in cases {
            assert_eq!(span_text(ms), told);
        }
    }

    #[test]
    fn microseconds_and_bytes_have_the_unit_that_fits() {
        for (us, told) in [(1.25, "1.25 µs"), (12.5, "12.5 µs"), (3_100.0, "3.10 ms")] {
            assert_eq!(micros(us), told);
        }
        assert_eq!(micros(125_000_000.0), "125 s");
        for (count, told) in [(1_023, "1023 B"), (1_536, "1.5 KB"), (3 << 20, "3.0 MB")] {
            assert_eq!(bytes(count), told);
        }
    }

    #[test]
    fn an_excerpt_is_one_line_of_characters() {
        assert_eq!(excerpt(b"a\nb", 10), "a b");
        assert_eq!(excerpt("äöüß".as_bytes(), 2), "äö…");
        assert_eq!(excerpt(b"\xff\xfe", 4), "\u{fffd}\u{fffd}");
    }
}
