//! An index of jobs: of each the signature of its texts, so that a search has to look only at jobs
//! whose signature has all that the signature of its words has.
//!
//! A signature is a set of bits, one for each three letters in a row. It is kept by bit rather than
//! by job: a block holds for each bit a row of 512 jobs, so that a word of n letters costs n - 2
//! rows of 64 bytes a block. A job's place is the index of its key in the database, which it keeps
//! as long as it is there: nothing has to be kept of which job is which.
//!
//! What has changed loses its signature and is looked at until it has another. So is what has none
//! yet: an index that is not finished leaves nothing out.

use super::query::Query;
use crate::queues::JobText;
use std::collections::BTreeMap;

/// Jobs of a block.
pub const BLOCK_SLOTS: u32 = 512;
const WORDS: usize = BLOCK_SLOTS as usize / 64;

/// One bit for each place of a block.
pub type Mask = [u64; WORDS];

/// Bits of a signature, up to so many keys: 64 bytes a key or 32, 64 MB in all.
const SIZES: [(usize, usize); 2] = [(1 << 20, 512), (1 << 21, 256)];
const BITS_MAX: usize = 512;
const SIZE_MAX: usize = 64 << 20;

/// A job with a longer text has all bits: it is always looked at. Its own signature would have
/// nearly as many.
const TEXT_LEN_MAX: usize = 2_048;

/// Letters that make a bit together.
const GRAM: usize = 3;

pub struct Signatures {
    bits: usize,
    blocks: BTreeMap<(usize, u32), Block>,
}

struct Block {
    /// For each bit, who has it.
    rows: Box<[u64]>,
    /// Whose signature is as it should be. What is no job has one as well, without bits.
    signed: Mask,
    /// Who is a job.
    jobs: Mask,
}

impl Signatures {
    /// An index for so many keys; None if that would be too large.
    pub fn new(keys: usize) -> Option<Self> {
        let (_, bits) = SIZES.into_iter().find(|(keys_max, _)| keys <= *keys_max)?;
        Some(Self { bits, blocks: BTreeMap::new() })
    }

    /// Bytes of a block.
    pub fn block_size(&self) -> usize {
        self.bits * size_of::<Mask>() + size_of::<Block>()
    }

    /// Bytes of all blocks.
    pub fn size(&self) -> usize {
        self.blocks.len() * self.block_size()
    }

    /// Whether a block is there, or may be made: while it takes no more than it may, and than
    /// `free` bytes.
    pub fn has_room(&self, db: usize, index: u32, free: u64) -> bool {
        let size = self.block_size();
        self.blocks.contains_key(&(db, index / BLOCK_SLOTS))
            || (self.size() < SIZE_MAX && size as u64 <= free)
    }

    /// Who is to be looked at in a block, and how many jobs are left out.
    pub fn candidates(&self, db: usize, block: u32, rows: &[usize]) -> (Mask, usize) {
        let Some(block) = self.blocks.get(&(db, block)) else { return ([u64::MAX; WORDS], 0) };
        let mut has_all = block.jobs;
        for row in rows {
            for (word, bits) in has_all.iter_mut().zip(&block.rows[row * WORDS..]) {
                *word &= bits;
            }
        }
        let mut wanted = [0; WORDS];
        let mut skipped = 0;
        for (at, word) in wanted.iter_mut().enumerate() {
            *word = has_all[at] | !block.signed[at];
            skipped += (block.jobs[at] & block.signed[at] & !*word).count_ones() as usize;
        }
        (wanted, skipped)
    }

    /// The rows of what a question asks for.
    pub fn rows_of(&self, query: &Query) -> Vec<usize> {
        let mut rows = Vec::new();
        query.plain_words().for_each(|word| visit(word, self.bits, |row| rows.push(row)));
        rows.sort_unstable();
        rows.dedup();
        rows
    }

    /// Whether a place has a signature.
    pub fn is_signed(&self, db: usize, index: u32) -> bool {
        let (block, word, bit) = place(index);
        self.blocks.get(&(db, block)).is_some_and(|block| block.signed[word] & bit != 0)
    }

    /// Who has no signature in a block.
    pub fn unsigned(&self, db: usize, block: u32) -> Mask {
        self.blocks.get(&(db, block)).map_or([u64::MAX; WORDS], |block| block.signed.map(|it| !it))
    }

    /// Gives a place the signature of what lies there; None if that is no job.
    pub fn sign(&mut self, db: usize, index: u32, job: Option<&JobText>) {
        let (number, word, bit) = place(index);
        let bits = self.bits;
        let block = self.blocks.entry((db, number)).or_insert_with(|| Block {
            rows: vec![0; bits * WORDS].into(),
            signed: [0; WORDS],
            jobs: [0; WORDS],
        });
        let is_clean = block.signed[word] & bit == 0 && block.jobs[word] & bit == 0;
        if !is_clean {
            block.rows[word..].iter_mut().step_by(WORDS).for_each(|it| *it &= !bit);
        }
        block.signed[word] |= bit;
        block.jobs[word] &= !bit;
        let Some(job) = job else { return };
        block.jobs[word] |= bit;
        let mut set = [0_u64; BITS_MAX / 64];
        for text in [job.id, job.name, job.data, job.error] {
            if text.len() > TEXT_LEN_MAX {
                set = [u64::MAX; BITS_MAX / 64];
                break;
            }
            visit(text, bits, |row| set[row / 64] |= 1 << (row % 64));
        }
        for (at, mut left) in set.into_iter().take(bits / 64).enumerate() {
            while left != 0 {
                let row = at * 64 + left.trailing_zeros() as usize;
                block.rows[row * WORDS + word] |= bit;
                left &= left - 1;
            }
        }
    }

    /// What lies at a place has changed.
    pub fn unsign(&mut self, db: usize, index: u32) {
        let (number, word, bit) = place(index);
        if let Some(block) = self.blocks.get_mut(&(db, number)) {
            block.signed[word] &= !bit;
        }
    }

    /// Anything may have changed.
    pub fn unsign_all(&mut self) {
        self.blocks.values_mut().for_each(|block| block.signed = [0; WORDS]);
    }

    /// A queue has become known: what was no job may be one.
    pub fn unsign_others(&mut self) {
        for block in self.blocks.values_mut() {
            for (signed, jobs) in block.signed.iter_mut().zip(block.jobs) {
                *signed &= jobs;
            }
        }
    }
}

/// The block of an index, and the word and the bit that stand for it there.
fn place(index: u32) -> (u32, usize, u64) {
    let at = (index % BLOCK_SLOTS) as usize;
    (index / BLOCK_SLOTS, at / 64, 1 << (at % 64))
}

/// The bits of a text.
fn visit(text: &[u8], bits: usize, mut visit: impl FnMut(usize)) {
    for gram in text.windows(GRAM) {
        let code =
            gram.iter().fold(0, |code, byte| code << 8 | u32::from(byte.to_ascii_lowercase()));
        // Fibonacci hashing: the high bits of the product depend on all of the code.
        visit(code.wrapping_mul(0x9E37_79B1) as usize >> 16 & (bits - 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dashboard::search::query::find;
    use crate::util::rng::Rng;

    fn bits_of((mask, _): (Mask, usize)) -> Vec<u32> {
        let is_set = |at: &u32| mask[*at as usize / 64] >> (at % 64) & 1 == 1;
        (0..BLOCK_SLOTS).filter(is_set).collect()
    }

    /// Whatever happens to jobs: who meets the question is among those that are to be looked at.
    #[test]
    fn nobody_who_has_the_word_is_left_out() {
        let mut rng = Rng::from_seed(7);
        let mut index = Signatures::new(1_000).expect("it is small enough");
        let mut texts: Vec<Option<Vec<u8>>> = vec![None; BLOCK_SLOTS as usize];
        let words = ["welcome", "Invoice", "user42@", "fail", "xyz"];
        for _ in 0..5_000 {
            let at = (rng.next_u64() % u64::from(BLOCK_SLOTS)) as usize;
            texts[at] = match rng.next_u64() % 3 {
                0 => None,
                _ => {
                    let pick = || words[at % words.len()];
                    Some(format!("{} {} {at}", pick(), rng.next_u64() % 50).into_bytes())
                }
            };
            index.unsign(0, at as u32);
            if !rng.next_u64().is_multiple_of(4) {
                let data = texts[at].as_deref();
                let job = data.map(|data| JobText { data, ..JobText::default() });
                index.sign(0, at as u32, job.as_ref());
            }
        }
        for text in ["welcome", "INVOICE 4", "user42@", "xyz 1", "we", "absent"] {
            let query = Query::read(&format!("\"{text}\""));
            let looked = bits_of(index.candidates(0, 0, &index.rows_of(&query)));
            for (at, data) in texts.iter().enumerate() {
                let word = text.to_ascii_lowercase();
                let has = data.as_ref().is_some_and(|it| find(it, word.as_bytes()).is_some());
                assert!(!has || looked.contains(&(at as u32)), "{text} {at}");
            }
            let is_left_out = looked.len() < texts.len();
            assert!(is_left_out, "{text}");
        }
    }

    #[test]
    fn long_texts_are_always_looked_at() {
        let mut index = Signatures::new(1_000).expect("it is small enough");
        let long = vec![b'x'; TEXT_LEN_MAX + 1];
        index.sign(0, 3, Some(&JobText { data: &long, ..JobText::default() }));
        index.sign(0, 4, Some(&JobText { data: b"xxxxxxx", ..JobText::default() }));
        (0..BLOCK_SLOTS).filter(|at| ![3, 4].contains(at)).for_each(|at| index.sign(0, at, None));
        let rows = index.rows_of(&Query::read("absent"));
        assert_eq!(bits_of(index.candidates(0, 0, &rows)), [3]);
        assert_eq!(index.candidates(0, 0, &rows).1, 1);
    }

    #[test]
    fn what_it_takes_is_bounded() {
        for (keys, bits) in [(10, 512), (1 << 20, 512), ((1 << 20) + 1, 256), (1 << 21, 256)] {
            assert_eq!(Signatures::new(keys).map(|it| it.bits), Some(bits));
        }
        assert!(Signatures::new((1 << 21) + 1).is_none());
        let per_key = Signatures::new(10).map(|it| it.block_size() / BLOCK_SLOTS as usize);
        assert_eq!(per_key, Some(64));
    }
}
