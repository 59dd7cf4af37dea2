//! LZF, the compression of strings in RDB (Marc Lehmann's LibLZF): runs of literal bytes, and
//! copies of what stood up to 8 KB before.
//!
//! | first byte | then | means |
//! |---|---|---|
//! | `000ccccc` | c + 1 bytes | these bytes |
//! | `lllddddd` | a byte d | copy l + 2 bytes from d + 1 bytes before (13 bits of d) |
//! | `111ddddd` | a byte l, a byte d | the same with 7 more in l |

const LITERALS_MAX: usize = 32;
const DISTANCE_MAX: usize = 1 << 13;
const COPY_LEN_MIN: usize = 3;
const COPY_LEN_MAX: usize = 7 + 255 + 2;

/// A copy takes three bytes at most: no text grows more than so many times.
const GROWTH_MAX: usize = COPY_LEN_MAX.div_ceil(3);

/// Places of what was seen, by their next three bytes: about as many as the text has, since making
/// room for more takes longer than a short text.
const HASH_BITS_MIN: u32 = 6;
const HASH_BITS_MAX: u32 = 14;

/// The compressed form, if it is at most `len_max` bytes long.
pub fn compress(plain: &[u8], len_max: usize) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(len_max);
    let len_bits = usize::BITS - plain.len().leading_zeros();
    let hash_bits = len_bits.clamp(HASH_BITS_MIN, HASH_BITS_MAX);
    // Places count from 1; 0 is none.
    let mut places = vec![0u32; 1 << hash_bits];
    let (mut literals, mut at) = (0, 0);
    while at + COPY_LEN_MIN <= plain.len() {
        let next = u32::from_be_bytes([0, plain[at], plain[at + 1], plain[at + 2]]);
        let hash = next.wrapping_mul(0x9e37_79b1) >> (u32::BITS - hash_bits);
        let place = std::mem::replace(&mut places[hash as usize], at as u32 + 1) as usize;
        let distance = (at + 1).wrapping_sub(place);
        let is_near = place > 0 && distance <= DISTANCE_MAX;
        let len = if is_near { common_len(plain, at - distance, at) } else { 0 };
        if len < COPY_LEN_MIN {
            at += 1;
            continue;
        }
        push_literals(&mut out, &plain[literals..at]);
        push_copy(&mut out, distance - 1, len - 2);
        if out.len() > len_max {
            return None;
        }
        at += len;
        literals = at;
    }
    push_literals(&mut out, &plain[literals..]);
    (out.len() <= len_max).then_some(out)
}

/// How many bytes are the same from two places on, as many as one copy may have.
fn common_len(plain: &[u8], earlier: usize, later: usize) -> usize {
    let pairs = plain[later..].iter().take(COPY_LEN_MAX).zip(&plain[earlier..]);
    pairs.take_while(|(a, b)| a == b).count()
}

fn push_literals(out: &mut Vec<u8>, literals: &[u8]) {
    for run in literals.chunks(LITERALS_MAX) {
        out.push((run.len() - 1) as u8);
        out.extend_from_slice(run);
    }
}

fn push_copy(out: &mut Vec<u8>, distance: usize, len: usize) {
    let [high, low] = (distance as u16).to_be_bytes();
    match len {
        ..7 => out.push((len as u8) << 5 | high),
        _ => out.extend([7 << 5 | high, (len - 7) as u8]),
    }
    out.push(low);
}

/// The plain form, which has `len` bytes; none if the bytes are not the compressed form of such a
/// text. Allocates 88 times their size at most.
pub fn decompress(packed: &[u8], len: usize) -> Option<Vec<u8>> {
    if len > packed.len().saturating_mul(GROWTH_MAX) {
        return None;
    }
    let mut plain = Vec::with_capacity(len);
    let mut rest = packed;
    while let Some((&first, behind)) = rest.split_first() {
        rest = behind;
        if usize::from(first) < LITERALS_MAX {
            let (run, behind) = rest.split_at_checked(usize::from(first) + 1)?;
            plain.extend_from_slice(run);
            rest = behind;
        } else {
            let more = if first >> 5 == 7 { take(&mut rest)? } else { 0 };
            let copy_len = usize::from(first >> 5) + usize::from(more) + 2;
            let distance = usize::from(first & 31) << 8 | usize::from(take(&mut rest)?);
            let start = plain.len().checked_sub(distance + 1)?;
            // It may overlap its own copy: byte by byte.
            (start..start + copy_len).for_each(|at| plain.push(plain[at]));
        }
        if plain.len() > len {
            return None;
        }
    }
    (plain.len() == len).then_some(plain)
}

fn take(rest: &mut &[u8]) -> Option<u8> {
    let (&first, behind) = rest.split_first()?;
    *rest = behind;
    Some(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::rng::Rng;

    #[test]
    fn texts_come_back() {
        for seed in 0..400 {
            let mut rng = Rng::from_seed(seed);
            let letters = 1 + rng.below(if seed % 2 == 0 { 3 } else { 200 });
            let len = rng.below(if seed % 10 == 0 { 40_000 } else { 600 });
            let plain: Vec<u8> = (0..len).map(|_| rng.below(letters) as u8).collect();
            // A literal byte costs a 32nd more.
            let packed = compress(&plain, plain.len() + plain.len() / 32 + 1).unwrap();
            assert_eq!(decompress(&packed, plain.len()), Some(plain.clone()), "seed {seed}");
            assert_eq!(decompress(&packed, plain.len() + 1), None);
            assert_eq!(compress(&plain, packed.len()).as_ref(), Some(&packed));
            if let Some(less) = packed.len().checked_sub(1) {
                assert_eq!(compress(&plain, less), None);
                assert_eq!(decompress(&packed[..less], plain.len()), None);
            }
        }
    }

    #[test]
    fn what_libraries_write_is_read() {
        // What Redis 7.4 writes for 300 times "a".
        let packed = [1, b'a', b'a', 0xe0, 255, 0, 0xe0, 25, 0];
        assert_eq!(decompress(&packed, 300), Some(vec![b'a'; 300]));
        assert_eq!(compress(&[b'a'; 300], 12).map(|it| it.len() < 12), Some(true));
    }

    #[test]
    fn odd_bytes_are_refused() {
        for (packed, len) in [
            (&[][..], 1),
            (&[5], 6),
            (&[0, b'a'], 2),
            (&[0, b'a', 0x20], 4),
            (&[0, b'a', 0x20, 1], 4),
            (&[0, b'a', 0xe0, 1], 11),
            (&[0x20, 0], 3),
            (&[0, b'a', 0xe0, 255, 0], 1_000_000_000),
        ] {
            assert_eq!(decompress(packed, len), None, "{packed:x?}");
        }
        assert_eq!(decompress(&[], 0), Some(Vec::new()));
    }
}
