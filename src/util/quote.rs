//! Bytes as a quoted text that a person can read and a parser can read back.

/// Appends `bytes` between `"`, with what is not printable as `\n`, `\r`, `\t`, `\a`, `\b`, `\xHH`.
pub fn quoted(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for &byte in bytes {
        match byte {
            b'\\' | b'"' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x07 => out.extend_from_slice(b"\\a"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x20..=0x7E => out.push(byte),
            _ => out.extend_from_slice(format!("\\x{byte:02x}").as_bytes()),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_cannot_be_printed_is_escaped() {
        let mut out = Vec::new();
        super::quoted(b"a\"\\\n\x07\xffz", &mut out);
        assert_eq!(out, br#""a\"\\\n\a\xffz""#);
    }
}
