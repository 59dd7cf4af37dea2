//! A line of words, some of them quoted: as typed by hand, or in a configuration file.

/// The bytes of all words, and where each stands in them.
pub type Words = (Vec<u8>, Vec<(usize, usize)>);

/// Splits a line at blanks. `"..."` knows the escapes `\n \r \t \b \a \xHH`, `'...'` knows `\'`.
/// None if a quote stays open, or closes in the middle of a word.
pub fn split(line: &[u8]) -> Option<Words> {
    let (mut bytes, mut spans) = (Vec::with_capacity(line.len()), Vec::new());
    let mut rest = line.trim_ascii_start();
    while !rest.is_empty() {
        let start = bytes.len();
        loop {
            match *rest {
                [] => break,
                [b' ' | b'\n' | b'\r' | b'\t' | 0, ..] => break,
                [quote @ (b'"' | b'\''), ref inside @ ..] => {
                    rest = quoted(quote, inside, &mut bytes)?;
                    if !rest.first().is_none_or(u8::is_ascii_whitespace) {
                        return None;
                    }
                    break;
                }
                [byte, ref after @ ..] => {
                    bytes.push(byte);
                    rest = after;
                }
            }
        }
        spans.push((start, bytes.len()));
        rest = rest.strip_prefix(b"\0").unwrap_or(rest).trim_ascii_start();
    }
    Some((bytes, spans))
}

/// Reads up to the closing quote and returns what follows it.
fn quoted<'a>(quote: u8, mut rest: &'a [u8], bytes: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        match *rest {
            [] => return None,
            [b'\\', b'x', high, low, ref after @ ..]
                if quote == b'"' && high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                bytes.push(hex(high) << 4 | hex(low));
                rest = after;
            }
            [b'\\', escaped, ref after @ ..] if quote == b'"' => {
                bytes.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => other,
                });
                rest = after;
            }
            [b'\\', b'\'', ref after @ ..] if quote == b'\'' => {
                bytes.push(b'\'');
                rest = after;
            }
            [byte, ref after @ ..] if byte == quote => return Some(after),
            [byte, ref after @ ..] => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
}

fn hex(digit: u8) -> u8 {
    char::from(digit).to_digit(16).unwrap_or(0) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::quote;

    fn check(line: &[u8], expect: Option<&[&[u8]]>) {
        let found = split(line);
        let found = found.as_ref().map(|(bytes, spans)| {
            spans.iter().map(|&(start, end)| &bytes[start..end]).collect::<Vec<_>>()
        });
        assert_eq!(found.as_deref(), expect, "{}", line.escape_ascii());
    }

    #[test]
    fn lines_are_split() {
        check(b"", Some(&[]));
        check(b" a\tbc  d ", Some(&[b"a", b"bc", b"d"]));
        check(br#""a \x41\n\q" 'b \' \n' """#, Some(&[b"a A\nq", br"b ' \n", b""]));
        check(br#"a"b c" \x41"#, Some(&[b"ab c", br"\x41"]));
        check(br#""a"#, None);
        check(br#"'a'b"#, None);
    }

    #[test]
    fn quoted_words_read_back() {
        let every_byte: Vec<u8> = (0..=255).collect();
        let mut line = Vec::new();
        quote::quoted(&every_byte, &mut line);
        assert!(line.iter().all(|byte| (b' '..=b'~').contains(byte)));
        check(&line, Some(&[&every_byte]));
    }
}
