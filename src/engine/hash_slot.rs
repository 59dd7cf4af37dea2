//! Hash slots: Redis Cluster spreads its keys over 16,384 of them, and runs together only what is
//! about keys of one. <https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/>

const SLOTS: u16 = 1 << 14;

/// The slot of a key: of its tag if it has one, else of the whole.
pub fn hash_slot(key: &[u8]) -> u16 {
    crc16(hash_tag(key).unwrap_or(key)) % SLOTS
}

/// What stands between a key's first `{` and the next `}`, if that is anything.
pub fn hash_tag(key: &[u8]) -> Option<&[u8]> {
    let start = key.iter().position(|&byte| byte == b'{')? + 1;
    let len = key[start..].iter().position(|&byte| byte == b'}')?;
    (len > 0).then(|| &key[start..start + len])
}

/// CRC-16 as XMODEM has it: the polynomial 0x1021, from zero, nothing reflected. Bit by bit: who
/// asks for slots is a test.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, &byte| {
        (0..8).fold(crc ^ u16::from(byte) << 8, |crc: u16, _| {
            let carried = crc & 0x8000 != 0;
            crc << 1 ^ if carried { 0x1021 } else { 0 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_their_slots() {
        let check = |key: &str, expect: u16| {
            assert_eq!(hash_slot(key.as_bytes()), expect, "{key}");
        };
        check("123456789", 12_739);
        check("", 0);
        check("foo", 12_182);
        check("foo{bar}{zap}", hash_slot(b"bar"));
        check("foo{{bar}}zap", hash_slot(b"{bar"));
        check("foo{}{bar}", 8_363);
        assert_eq!(hash_tag(b"foo{}{bar}"), None);
    }
}
