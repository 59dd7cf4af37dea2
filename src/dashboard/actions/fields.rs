//! The fields of a JSON object as they are written: one is changed, and all else stays as it is.

/// A field of a JSON object, by its name as it is written, and where its value stands.
type Field<'t> = (&'t [u8], std::ops::Range<usize>);

/// The fields of a JSON object. What they hold is only passed over: a number of any length stays as
/// it is written. None if it is no object.
pub fn fields(text: &[u8]) -> Option<Vec<Field<'_>>> {
    serde_json::from_slice::<serde::de::IgnoredAny>(text).ok()?;
    let mut all = Vec::new();
    let (mut depth, mut is_text, mut is_escaped) = (0, false, false);
    let (mut name, mut start, mut text_start) = (&text[..0], None, 0);
    for (at, &byte) in text.iter().enumerate() {
        if is_text {
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' => is_escaped = true,
                b'"' => {
                    is_text = false;
                    if depth == 1 && start.is_none() {
                        name = &text[text_start..at];
                    }
                }
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => (is_text, text_start) = (true, at + 1),
            b':' if depth == 1 => start = Some(at + 1),
            b',' | b'}' if depth == 1 => {
                if let Some(from) = start.take() {
                    let held = &text[from..at];
                    let from = from + held.len() - held.trim_ascii_start().len();
                    all.push((name, from..from + held.trim_ascii().len()));
                }
                depth -= i32::from(byte == b'}');
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
    }
    (text.trim_ascii_start().first() == Some(&b'{')).then_some(all)
}

/// A JSON object with another value of a field, or with one field more. None if it is no object.
pub fn with_field(text: &[u8], name: &str, value: &[u8]) -> Option<Vec<u8>> {
    let all = fields(text)?;
    if let Some((_, range)) = all.iter().find(|(field, _)| *field == name.as_bytes()) {
        return Some([&text[..range.start], value, &text[range.end..]].concat());
    }
    let end = text.iter().rposition(|&byte| byte == b'}')?;
    let comma: &[u8] = if all.is_empty() { b"" } else { b"," };
    Some([&text[..end], comma, b"\"", name.as_bytes(), b"\":", value, b"}"].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_changed_and_all_else_stays_as_it_is_written() {
        let check = |text: &str, expect: Option<&str>| {
            let told = with_field(text.as_bytes(), "n", b"7");
            assert_eq!(told.as_deref().map(String::from_utf8_lossy).as_deref(), expect, "{text}");
        };
        check(r#"{"n":1,"a":[{"n":2}]}"#, Some(r#"{"n":7,"a":[{"n":2}]}"#));
        check(r#"{"a":"\"n\":3","n": 12345678901234567890 }"#, Some(r#"{"a":"\"n\":3","n": 7 }"#));
        check(r#"{"a":{"n":1}}"#, Some(r#"{"a":{"n":1},"n":7}"#));
        check("{}", Some(r#"{"n":7}"#));
        check("[1]", None);
        check("{", None);
    }
}
