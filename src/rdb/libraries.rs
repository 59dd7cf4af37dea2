//! What FUNCTION DUMP answers: the sources of libraries, one behind the other.

use super::file::opcode;
use super::payload::{seal, unsealed};
use super::{Flaw, RdbReader, RdbWriter, Result};

/// The version that has them: Redis 7.0's.
const VERSION: u16 = 10;

/// Libraries as FUNCTION DUMP answers them.
pub fn dump_libraries<'a>(sources: impl Iterator<Item = &'a [u8]>, compresses: bool) -> Vec<u8> {
    let mut writer = RdbWriter::new(compresses);
    for source in sources {
        writer.library(source);
    }
    seal(writer.into_bytes(), VERSION)
}

/// The sources in a payload that some server's FUNCTION DUMP answered.
///
/// # Errors
/// `Unsealed` if version or checksum are wrong, `Foreign` if there is something else than a
/// library, `Short` or `Corrupt` if a source is none.
pub fn restore_libraries(payload: &[u8]) -> Result<Vec<Vec<u8>>> {
    let mut reader = RdbReader::new(unsealed(payload)?);
    let mut sources = Vec::new();
    while !reader.rest().is_empty() {
        match reader.byte()? {
            opcode::LIBRARY => sources.push(reader.text()?.into_owned()),
            kind => return Err(Flaw::Foreign(kind)),
        }
    }
    Ok(sources)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_come_back() {
        let sources = [&b"#!lua name=a\n"[..], b"", &[b'x'; 70_000]];
        for compresses in [false, true] {
            let payload = dump_libraries(sources.into_iter(), compresses);
            assert_eq!(restore_libraries(&payload).unwrap(), sources);
        }
    }

    #[test]
    fn what_is_no_library_is_refused() {
        let restore = |inner: &[u8]| restore_libraries(&seal(inner.to_vec(), VERSION));
        assert_eq!(restore(b"").unwrap(), [[0; 0]; 0]);
        assert_eq!(restore(b"\x00\x01a"), Err(Flaw::Foreign(0)));
        assert_eq!(restore(b"\xf5\x40\x50abc"), Err(Flaw::Short));
        assert_eq!(restore(b"\xf5"), Err(Flaw::Short));
        assert_eq!(restore(b"\xf5\xc7a"), Err(Flaw::Corrupt));
        assert_eq!(restore_libraries(b"x"), Err(Flaw::Unsealed));
        let mut payload = seal(Vec::new(), VERSION);
        payload[0] ^= 1;
        assert_eq!(restore_libraries(&payload), Err(Flaw::Unsealed));
    }
}
