//! HyperLogLog: about how many different elements were added, in at most 12 KB, as a string.
//!
//! The bytes are Redis's own. A header of 16 bytes has a magic word, the form, and the count as it
//! was last asked for. Behind it are 16,384 registers, each of which keeps the longest run of zeros
//! that ended the hash of an element that fell to it. In the dense form each has six bits, the
//! lowest first. In the sparse form there are runs of equal registers:
//!
//! | bytes | run |
//! |---|---|
//! | `00llllll` | l + 1 registers of zero |
//! | `01llllll llllllll` | l + 1 registers of zero |
//! | `1vvvvvll` | l + 1 registers of v + 1 |
//!
//! Which runs stand for the same registers depends on the order in which they were set; here they
//! are split and joined in Redis's way, so that the bytes are equal.
//!
//! How the registers tell the count: Otmar Ertl, New cardinality estimation algorithms for
//! HyperLogLog sketches, 2017, algorithm 6. <https://arxiv.org/abs/1702.01284>

use crate::data::string::Str;

/// As many as the index, the lowest bits of a hash, can tell apart.
pub const REGISTERS: usize = 1 << INDEX_BITS;
const INDEX_BITS: u32 = 14;
const RANK_BITS: u32 = 64 - INDEX_BITS;

const MAGIC: &[u8] = b"HYLL";
const FORM_AT: usize = 4;
const DENSE: u8 = 0;
const SPARSE: u8 = 1;
/// The count as it was last asked for, eight bytes, the lowest first. The highest bit says that it
/// is no longer true.
const COUNT_AT: usize = 8;
const STALE_AT: usize = 15;
const STALE: u8 = 0x80;
const HEADER_LEN: usize = 16;

const REGISTER_BITS: usize = 6;
const DENSE_LEN: usize = HEADER_LEN + REGISTERS * REGISTER_BITS / 8;

const SEED: u64 = 0xadc8_3b19;

/// The runs do not add up to the registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupt;

/// Each register's rank: 0 where no element fell to it.
pub type Registers = [u8; REGISTERS];

/// As of no elements.
pub fn no_registers() -> Box<Registers> {
    vec![0; REGISTERS].try_into().expect("there are so many")
}

/// One of no elements, in the sparse form.
pub fn empty() -> Str {
    let mut bytes = [0; HEADER_LEN + 2];
    bytes[..FORM_AT].copy_from_slice(MAGIC);
    bytes[FORM_AT] = SPARSE;
    bytes[HEADER_LEN..].copy_from_slice(&[0x7f, 0xff]);
    Str::of_long_text(&bytes, true)
}

/// Whether a string may be one. Its runs are looked at when they are read.
pub fn is_valid(bytes: &[u8]) -> bool {
    bytes.len() >= HEADER_LEN
        && bytes.starts_with(MAGIC)
        && match bytes[FORM_AT] {
            DENSE => bytes.len() == DENSE_LEN,
            form => form == SPARSE,
        }
}

pub fn is_dense(bytes: &[u8]) -> bool {
    bytes[FORM_AT] == DENSE
}

/// The count that was kept, if nothing has changed since.
pub fn kept_count(bytes: &[u8]) -> Option<u64> {
    let (count, _) = bytes[COUNT_AT..].split_first_chunk().expect("there is a header");
    (bytes[STALE_AT] & STALE == 0).then(|| u64::from_le_bytes(*count))
}

pub fn keep_count(string: &mut Str, count: u64) {
    string.edit(0)[COUNT_AT..HEADER_LEN].copy_from_slice(&count.to_le_bytes());
}

/// Adds an element; tells whether a register has changed. The sparse form becomes dense once it
/// would take more than `sparse_len_max` bytes, or a rank is too high for it. Where there are runs
/// too few the string stays as it was.
pub fn add(string: &mut Str, element: &[u8], sparse_len_max: usize) -> Result<bool, Corrupt> {
    let (index, rank) = place(element);
    Ok(set(string, index, rank, Cursor::START, sparse_len_max)?.is_some())
}

/// Marks the kept count as no longer true.
pub fn forget_count(string: &mut Str) {
    string.edit(0)[STALE_AT] |= STALE;
}

/// Raises the registers to those of others.
pub fn raise(
    string: &mut Str,
    registers: &Registers,
    sparse_len_max: usize,
) -> Result<(), Corrupt> {
    // In the order of the runs, so that none is passed twice.
    let mut cursor = Cursor::START;
    for (index, &rank) in registers.iter().enumerate().filter(|(_, rank)| **rank > 0) {
        if is_dense(text(string)) {
            raise_dense(string.edit(0), registers);
            return Ok(());
        }
        cursor = set(string, index, rank, cursor, sparse_len_max)?.unwrap_or(cursor);
    }
    Ok(())
}

/// Raises registers to those of a string.
pub fn merge(registers: &mut Registers, bytes: &[u8]) -> Result<(), Corrupt> {
    if is_dense(bytes) {
        let (fours, _) = registers.as_chunks_mut::<4>();
        for (four, packed) in fours.iter_mut().zip(dense_groups(bytes)) {
            let ranks = unpack(*packed);
            (0..4).for_each(|at| four[at] = four[at].max(ranks[at]));
        }
        return Ok(());
    }
    let mut first = 0;
    for run in runs(bytes) {
        let registers = registers.get_mut(first..first + run.len).ok_or(Corrupt)?;
        if run.rank > 0 {
            registers.iter_mut().for_each(|register| *register = run.rank.max(*register));
        }
        first += run.len;
    }
    if first == REGISTERS { Ok(()) } else { Err(Corrupt) }
}

/// Makes the sparse form dense; false if it is dense already.
pub fn make_dense(string: &mut Str) -> Result<bool, Corrupt> {
    let bytes = string.bytes();
    if is_dense(&bytes) {
        return Ok(false);
    }
    let mut registers = no_registers();
    merge(&mut registers, &bytes)?;
    let mut dense = Vec::with_capacity(DENSE_LEN);
    dense.extend_from_slice(&bytes[..HEADER_LEN]);
    dense[FORM_AT] = DENSE;
    let (fours, _) = registers.as_chunks::<4>();
    fours.iter().for_each(|four| dense.extend_from_slice(&pack(*four)));
    *string = Str::of_long_text(&dense, true);
    Ok(true)
}

/// About how many elements were added.
pub fn count(bytes: &[u8]) -> Result<u64, Corrupt> {
    let mut histogram = [0; 64];
    if is_dense(bytes) {
        // Four, since a sum must not wait for the one just before it.
        let mut histograms = [[0; 64]; 4];
        for packed in dense_groups(bytes) {
            let ranks = unpack(*packed);
            (0..4).for_each(|at| histograms[at][usize::from(ranks[at])] += 1);
        }
        for part in histograms {
            histogram.iter_mut().zip(part).for_each(|(sum, count)| *sum += count);
        }
    } else {
        runs(bytes).for_each(|run| histogram[usize::from(run.rank)] += run.len as u32);
        if histogram.iter().map(|&count| u64::from(count)).sum::<u64>() != REGISTERS as u64 {
            return Err(Corrupt);
        }
    }
    Ok(estimate(&histogram))
}

/// As `count`, of registers.
pub fn count_registers(registers: &Registers) -> u64 {
    let mut histogram = [0; 64];
    registers.iter().for_each(|rank| histogram[usize::from(rank & 63)] += 1);
    estimate(&histogram)
}

/// The runs of a sparse form as people read them: zeros, and ranks with how many have them.
pub fn describe(bytes: &[u8]) -> String {
    let shown = runs(bytes).map(|run| match run {
        Run { rank: 0, len, size: 1 } => format!("z:{len}"),
        Run { rank: 0, len, .. } => format!("Z:{len}"),
        Run { rank, len, .. } => format!("v:{rank},{len}"),
    });
    shown.collect::<Vec<_>>().join(" ")
}

fn text(string: &Str) -> &[u8] {
    string.long_text().expect("a header alone is longer than what is kept elsewhere")
}

/// The register that an element falls to, and the rank that it gives it.
fn place(element: &[u8]) -> (usize, u8) {
    let hash = murmur(element);
    // The bit behind the last ends the run of zeros in any case.
    let rest = hash >> INDEX_BITS | 1 << RANK_BITS;
    (hash as usize % REGISTERS, rest.trailing_zeros() as u8 + 1)
}

/// MurmurHash64A by Austin Appleby, as on a machine that puts the lowest byte first.
fn murmur(bytes: &[u8]) -> u64 {
    const FACTOR: u64 = 0xc6a4_a793_5bd1_e995;
    let mix = |word: u64| word ^ word >> 47;
    let mut hash = SEED ^ (bytes.len() as u64).wrapping_mul(FACTOR);
    let (words, rest) = bytes.as_chunks();
    for word in words {
        let word = mix(u64::from_le_bytes(*word).wrapping_mul(FACTOR)).wrapping_mul(FACTOR);
        hash = (hash ^ word).wrapping_mul(FACTOR);
    }
    if !rest.is_empty() {
        let mut word = [0; 8];
        word[..rest.len()].copy_from_slice(rest);
        hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(FACTOR);
    }
    mix(mix(hash).wrapping_mul(FACTOR))
}

/// `histogram` says how many registers have each rank.
fn estimate(histogram: &[u32; 64]) -> u64 {
    const RANK_MAX: usize = RANK_BITS as usize + 1;
    const COUNT: f64 = REGISTERS as f64;
    /// 1 / (2 ln 2)
    const SCALE: f64 = 0.721_347_520_444_481_7;
    let mut sum = COUNT * upper_part((COUNT - f64::from(histogram[RANK_MAX])) / COUNT);
    for &count in histogram[1..RANK_MAX].iter().rev() {
        sum = 0.5 * (sum + f64::from(count));
    }
    sum += COUNT * lower_part(f64::from(histogram[0]) / COUNT);
    (SCALE * COUNT * COUNT / sum).round() as u64
}

/// Ertl's sigma: what the registers of zero contribute.
fn lower_part(share: f64) -> f64 {
    if share == 1.0 {
        return f64::INFINITY;
    }
    let (mut power, mut factor, mut sum) = (share, 1.0, share);
    loop {
        power *= power;
        let before = sum;
        sum += power * factor;
        factor += factor;
        if sum == before {
            return sum;
        }
    }
}

/// Ertl's tau: what the registers of the highest rank contribute.
fn upper_part(share: f64) -> f64 {
    if share == 0.0 || share == 1.0 {
        return 0.0;
    }
    let (mut root, mut factor, mut sum) = (share, 1.0, 1.0 - share);
    loop {
        root = root.sqrt();
        let before = sum;
        factor *= 0.5;
        sum -= (1.0 - root) * (1.0 - root) * factor;
        if sum == before {
            return sum / 3.0;
        }
    }
}

/// Raises a register, of which the runs before the cursor tell nothing. If that changed anything,
/// where to look for a register behind it.
fn set(
    string: &mut Str,
    index: usize,
    rank: u8,
    cursor: Cursor,
    sparse_len_max: usize,
) -> Result<Option<Cursor>, Corrupt> {
    if !is_dense(text(string)) {
        match set_sparse(string, index, rank, cursor, sparse_len_max)? {
            Set::Unchanged => return Ok(None),
            Set::Changed(cursor) => return Ok(Some(cursor)),
            Set::DoesNotFit => _ = make_dense(string)?,
        }
    }
    let has_changed = set_dense(string.edit(0), index, rank);
    Ok(has_changed.then_some(cursor))
}

/// The registers of the dense form: four in three bytes.
fn dense_groups(bytes: &[u8]) -> &[[u8; 3]] {
    bytes[HEADER_LEN..].as_chunks().0
}

fn unpack([low, middle, high]: [u8; 3]) -> [u8; 4] {
    let four = u32::from_le_bytes([low, middle, high, 0]);
    [four, four >> 6, four >> 12, four >> 18].map(|rank| rank as u8 & 63)
}

fn pack(ranks: [u8; 4]) -> [u8; 3] {
    let four = ranks.iter().rev().fold(0, |four, &rank| four << REGISTER_BITS | u32::from(rank));
    let [low, middle, high, _] = four.to_le_bytes();
    [low, middle, high]
}

fn raise_dense(bytes: &mut [u8], registers: &Registers) {
    let (groups, _) = bytes[HEADER_LEN..].as_chunks_mut();
    let (fours, _) = registers.as_chunks::<4>();
    for (group, four) in groups.iter_mut().zip(fours) {
        let ranks = unpack(*group);
        *group = pack(std::array::from_fn(|at| four[at].max(ranks[at])));
    }
}

/// Tells whether that raised the register.
fn set_dense(bytes: &mut [u8], index: usize, rank: u8) -> bool {
    let (groups, _) = bytes[HEADER_LEN..].as_chunks_mut();
    let group = &mut groups[index / 4];
    let mut ranks = unpack(*group);
    let is_higher = ranks[index % 4] < rank;
    if is_higher {
        ranks[index % 4] = rank;
        *group = pack(ranks);
    }
    is_higher
}

/// Equal registers, side by side.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Run {
    rank: u8,
    len: usize,
    /// In bytes.
    size: usize,
}

const IS_RANKED: u8 = 0x80;
const IS_LONG: u8 = 0x40;
const SPARSE_RANK_MAX: u8 = 32;
const RANKED_LEN_MAX: usize = 4;
const SHORT_LEN_MAX: usize = 64;

impl Run {
    fn at(bytes: &[u8], at: usize) -> Self {
        let byte = bytes[at];
        if byte & IS_RANKED != 0 {
            return Self { rank: (byte >> 2 & 31) + 1, len: usize::from(byte & 3) + 1, size: 1 };
        }
        let len = usize::from(byte & 63);
        if byte & IS_LONG == 0 {
            return Self { rank: 0, len: len + 1, size: 1 };
        }
        let low = bytes.get(at + 1).copied().unwrap_or(0);
        Self { rank: 0, len: (len << 8 | usize::from(low)) + 1, size: 2 }
    }
}

fn runs(bytes: &[u8]) -> impl Iterator<Item = Run> {
    let mut at = HEADER_LEN;
    std::iter::from_fn(move || {
        let run = (at < bytes.len()).then(|| Run::at(bytes, at))?;
        at += run.size;
        Some(run)
    })
}

fn ranked(rank: u8, len: usize) -> u8 {
    IS_RANKED | (rank - 1) << 2 | (len - 1) as u8
}

/// Runs that take the place of one: at most three, of which two are long.
#[derive(Default)]
struct Parts {
    bytes: [u8; 5],
    len: usize,
}

impl Parts {
    fn push(&mut self, rank: u8, len: usize) {
        match rank {
            _ if len == 0 => {}
            0 if len > SHORT_LEN_MAX => {
                let [high, low] = (len as u16 - 1).to_be_bytes();
                self.push_byte(IS_LONG | high);
                self.push_byte(low);
            }
            0 => self.push_byte(len as u8 - 1),
            rank => self.push_byte(ranked(rank, len)),
        }
    }

    fn push_byte(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }
}

/// The begin of a run: its byte, its first register, and the byte of the run before, if any.
#[derive(Clone, Copy)]
struct Cursor {
    at: usize,
    first: usize,
    before: usize,
}

impl Cursor {
    const START: Self = Self { at: HEADER_LEN, first: 0, before: HEADER_LEN };

    /// The cursors of the run that holds a register and of the run before it.
    fn seek(self, bytes: &[u8], index: usize) -> Option<(Self, Self)> {
        self.near(bytes, index).step_to(bytes, index)
    }

    /// A run some eight bytes before the one that holds a register, passing eight bytes at a time.
    /// `before` says nothing there, unless it is where the walk began.
    fn near(mut self, bytes: &[u8], index: usize) -> Self {
        let mut near = self;
        while let Some(word) = bytes.get(self.at..).and_then(<[u8]>::first_chunk) {
            let (size, len) = measure(u64::from_le_bytes(*word));
            if index < self.first + len {
                break;
            }
            near = self;
            let (at, first) = (self.at + size, self.first + len);
            self = Self { at, first, before: self.at };
        }
        near
    }

    /// As `seek`, run by run. Whether a run is long cannot be foreseen, so no branch depends on it.
    fn step_to(mut self, bytes: &[u8], index: usize) -> Option<(Self, Self)> {
        let mut before = self;
        while self.at < bytes.len() {
            let byte = bytes[self.at];
            let is_long = usize::from(byte >> 6 == IS_LONG >> 6);
            // Of a run that is cut off, which nobody reads on from.
            let behind = bytes[(self.at + is_long).min(bytes.len() - 1)];
            let high = usize::from(LENGTHS[usize::from(byte)]);
            let len = (high << (8 * is_long)) + usize::from(behind) * is_long + 1;
            if index < self.first + len {
                return Some((self, before));
            }
            before = self;
            let (at, first) = (self.at + 1 + is_long, self.first + len);
            self = Self { at, first, before: before.at };
        }
        None
    }
}

/// Of the runs that lie whole in eight bytes, the first of which begins with the lowest: how many
/// bytes they take, seven or eight, and how many registers they are.
fn measure(mut word: u64) -> (usize, usize) {
    const fn all(byte: u8) -> u64 {
        u64::from_ne_bytes([byte; 8])
    }
    /// From the highest bit of a byte to all of its bits.
    fn filled(highest: u64) -> u64 {
        (highest >> 7) * 0xff
    }
    /// The sum of all bytes.
    fn sum(word: u64) -> usize {
        let pairs = (word & 0x00ff_00ff_00ff_00ff) + (word >> 8 & 0x00ff_00ff_00ff_00ff);
        (pairs.wrapping_mul(0x0001_0001_0001_0001) >> 48) as usize
    }
    // What looks like the first byte of a long run is its second one where another stands before.
    let looks_long = word << 1 & !word & all(0x80);
    let mut begins = looks_long & !(looks_long << 8);
    let mut next = begins << 16 & looks_long & looks_long << 8;
    while next != 0 {
        begins |= next;
        next = next << 16 & looks_long & looks_long << 8;
    }
    let mut size = size_of::<u64>();
    let last = 0x80 << 56;
    if begins & last != 0 {
        // Its second byte is not here.
        (begins, size) = (begins & !last, size - 1);
        word &= u64::MAX >> 8;
    }
    let long = filled(begins);
    let behind = long << 8;
    let ranked = filled(word & all(0x80)) & !behind;
    let short = !(ranked | long | behind);
    let low = word & (ranked & all(3) | short & all(63) | behind);
    let high = word & long & all(63);
    let count = size - begins.count_ones() as usize;
    (size, sum(low) + (sum(high) << 8) + count)
}

/// By the first byte of a run, the part of its length that is in it.
const LENGTHS: [u8; 256] = {
    let mut lengths = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        lengths[byte] = byte as u8 & if byte as u8 & IS_RANKED != 0 { 3 } else { 63 };
        byte += 1;
    }
    lengths
};

enum Set {
    Unchanged,
    /// The run before the one that was changed, which is where a later register may be.
    Changed(Cursor),
    DoesNotFit,
}

fn set_sparse(
    string: &mut Str,
    index: usize,
    rank: u8,
    cursor: Cursor,
    len_max: usize,
) -> Result<Set, Corrupt> {
    if rank > SPARSE_RANK_MAX {
        return Ok(Set::DoesNotFit);
    }
    let bytes = text(string);
    let len = bytes.len();
    let (cursor, before) = cursor.seek(bytes, index).ok_or(Corrupt)?;
    let run = Run::at(bytes, cursor.at);
    if run.rank >= rank {
        return Ok(Set::Unchanged);
    }
    if cursor.at + run.size > len {
        return Err(Corrupt);
    }

    let mut parts = Parts::default();
    parts.push(run.rank, index - cursor.first);
    parts.push(rank, 1);
    parts.push(run.rank, cursor.first + run.len - 1 - index);
    if parts.len > run.size && len + parts.len - run.size > len_max {
        return Ok(Set::DoesNotFit);
    }
    let mut len_after = len + parts.len - run.size;
    let bytes = string.edit(len_after);
    bytes.copy_within(cursor.at + run.size..len, cursor.at + parts.len);
    bytes[cursor.at..cursor.at + parts.len].copy_from_slice(&parts.bytes[..parts.len]);

    let joined = join(&mut bytes[..len_after], cursor.before);
    len_after -= joined;
    string.truncate(len_after);
    Ok(Set::Changed(before))
}

/// Runs that are looked at for neighbours of the same rank: those that a change can have touched.
const JOINS_MAX: usize = 5;

/// Joins runs of the same rank from a place on; returns by how many bytes there are fewer.
fn join(bytes: &mut [u8], mut at: usize) -> usize {
    let mut len = bytes.len();
    for _ in 0..JOINS_MAX {
        if at >= len {
            break;
        }
        let run = Run::at(&bytes[..len], at);
        if run.rank > 0 && at + 1 < len {
            let next = Run::at(&bytes[..len], at + 1);
            if next.rank == run.rank && run.len + next.len <= RANKED_LEN_MAX {
                // Once more from here: the run behind may join as well.
                bytes[at] = ranked(run.rank, run.len + next.len);
                bytes.copy_within(at + 2..len, at + 1);
                len -= 1;
                continue;
            }
        }
        at += run.size;
    }
    bytes.len() - len
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::rng::Rng;

    const LEN_MAX: usize = 3000;

    fn filled(range: std::ops::Range<u32>, len_max: usize) -> Str {
        let mut string = empty();
        for element in range {
            add(&mut string, element.to_string().as_bytes(), len_max).expect("it is sound");
        }
        string
    }

    fn registers_of(string: &Str) -> Box<Registers> {
        let mut registers = no_registers();
        merge(&mut registers, text(string)).expect("it is sound");
        registers
    }

    /// Recorded from Redis 7.4.1: PFADD h a b c, then PFDEBUG DECODE h.
    #[test]
    fn elements_fall_where_they_do_in_redis() {
        let mut string = empty();
        for (element, is_new) in [("a", true), ("b", true), ("c", true), ("c", false)] {
            assert_eq!(add(&mut string, element.as_bytes(), LEN_MAX), Ok(is_new));
        }
        let expect = "Z:8436 v:1,1 Z:4274 v:2,1 Z:3068 v:1,1 Z:603";
        assert_eq!(describe(text(&string)), expect);
    }

    #[test]
    fn both_forms_agree_with_plain_registers() {
        for len_max in [0, 30, 500, LEN_MAX, 20_000] {
            let (mut string, mut model) = (empty(), no_registers());
            for element in 0..6_000_u32 {
                let bytes = element.to_be_bytes();
                let (index, rank) = place(&bytes);
                let is_higher = model[index] < rank;
                model[index] = model[index].max(rank);
                assert_eq!(add(&mut string, &bytes, len_max), Ok(is_higher));
                if !is_dense(text(&string)) {
                    assert!(string.len() <= len_max.max(18));
                }
                if element % 500 == 0 {
                    assert_eq!(registers_of(&string), model);
                    assert_eq!(count(text(&string)), Ok(count_registers(&model)));
                }
            }
            assert_eq!(registers_of(&string), model);
            let expect = string.clone();
            assert_eq!(make_dense(&mut string), Ok(!is_dense(text(&expect))));
            assert_eq!(make_dense(&mut string), Ok(false));
            assert_eq!(registers_of(&string), model);
        }
    }

    /// Within four standard errors of 0.81 %.
    #[test]
    fn counts_are_about_right() {
        for wanted in [0, 1, 10, 100, 1_000, 10_000, 100_000] {
            let found = count(text(&filled(0..wanted, LEN_MAX))).expect("it is sound") as f64;
            let wanted = f64::from(wanted);
            assert!((found - wanted).abs() <= wanted * 0.0325, "{found} for {wanted}");
        }
    }

    #[test]
    fn raising_in_order_makes_what_single_steps_make() {
        let mut rng = Rng::from_seed(4);
        for _ in 0..50 {
            let mut target = filled(0..rng.below(300) as u32, LEN_MAX);
            let mut model = target.clone();
            let mut registers = no_registers();
            for _ in 0..rng.below(900) {
                let start = rng.below(REGISTERS - 8);
                let rank = 1 + rng.below(5) as u8;
                registers[start..start + 1 + rng.below(8)].fill(rank);
            }
            for (index, &rank) in registers.iter().enumerate().filter(|it| *it.1 > 0) {
                set(&mut model, index, rank, Cursor::START, LEN_MAX).expect("it is sound");
            }
            raise(&mut target, &registers, LEN_MAX).expect("it is sound");
            assert_eq!(text(&target), text(&model));
        }
    }

    #[test]
    fn eight_bytes_at_a_time_come_to_the_same_run() {
        let mut rng = Rng::from_seed(1);
        for round in 0..2_000 {
            // Some have few long runs, some are made of nothing else.
            let mask = [0xff, 0xbf, 0x7f, 0xc3][round % 4];
            let len = HEADER_LEN + rng.below(60);
            let bytes: Vec<u8> =
                (0..len).map(|_| rng.next_u64() as u8 & mask | !mask & 0x40).collect();
            for _ in 0..20 {
                let index = rng.below(40 * bytes.len());
                let show = |(cursor, before): (Cursor, Cursor)| {
                    (cursor.at, cursor.first, cursor.before, before.at, before.first, before.before)
                };
                let stepped = Cursor::START.step_to(&bytes, index).map(show);
                assert_eq!(
                    Cursor::START.seek(&bytes, index).map(show),
                    stepped,
                    "{bytes:x?} {index}"
                );
            }
        }
    }

    #[test]
    fn kept_counts_hold_until_they_are_forgotten() {
        let mut string = filled(0..10, LEN_MAX);
        keep_count(&mut string, 0x0102_0304_0506);
        assert_eq!(kept_count(text(&string)), Some(0x0102_0304_0506));
        assert_eq!(text(&string)[COUNT_AT..HEADER_LEN], [6, 5, 4, 3, 2, 1, 0, 0]);
        forget_count(&mut string);
        assert_eq!(kept_count(text(&string)), None);
    }

    #[test]
    fn other_strings_are_told_apart() {
        assert!(is_valid(text(&empty())));
        let check = |edit: fn(&mut Vec<u8>)| {
            let mut bytes = text(&empty()).to_vec();
            edit(&mut bytes);
            assert!(!is_valid(&bytes), "{bytes:?}");
        };
        check(|bytes| bytes.truncate(15));
        check(|bytes| bytes[0] = b'h');
        check(|bytes| bytes[FORM_AT] = 2);
        check(|bytes| bytes[FORM_AT] = DENSE);
    }

    /// Whatever the runs are, nothing panics, and what is refused stays as it was.
    #[test]
    fn corrupt_runs_are_refused() {
        let mut rng = Rng::from_seed(5);
        let mut refused = 0;
        for _ in 0..3_000 {
            let mut bytes = text(&empty())[..HEADER_LEN].to_vec();
            let len_max = [4, 400][rng.below(2)];
            bytes.extend((0..rng.below(len_max)).map(|_| rng.below(256) as u8));
            let sum: usize = runs(&bytes).map(|run| run.len).sum();
            let is_sound = sum == REGISTERS;
            assert_eq!(count(&bytes).is_ok(), is_sound);
            assert_eq!(merge(&mut no_registers(), &bytes).is_ok(), is_sound);
            let mut string = Str::of_long_text(&bytes, true);
            assert_eq!(make_dense(&mut string).is_ok(), is_sound);
            let mut string = Str::of_long_text(&bytes, true);
            if add(&mut string, b"element", LEN_MAX).is_err() {
                assert_eq!(text(&string), bytes);
                refused += 1;
            }
        }
        assert!(refused > 100);
    }
}
