//! The words of a request, borrowed from whoever sent it: the server's input buffer, strings on
//! the Lua stack, or a queued transaction. A handler cannot tell which.

use super::error::{Error, Result};
use crate::util::number;
use std::ops::{Range, RangeInclusive};

/// A request and a place in it. `all()[0]` is the command's name; reading begins behind it.
#[derive(Clone, Copy, Debug)]
pub struct Args<'a> {
    words: &'a [&'a [u8]],
    at: usize,
}

/// Whether a word is a keyword, in any case. For Redis a NUL ends it.
#[inline]
pub fn is_keyword(word: &[u8], keyword: &str) -> bool {
    let (word, rest) = word.split_at(word.len().min(keyword.len()));
    word.eq_ignore_ascii_case(keyword.as_bytes()) && matches!(rest, [] | [0, ..])
}

impl<'a> Args<'a> {
    /// Begins behind the command's name. The words must not be empty.
    pub fn new(words: &'a [&'a [u8]]) -> Self {
        Self { words, at: 1 }
    }

    /// The same request, read from word `at` on (2 behind a subcommand).
    pub fn from(self, at: usize) -> Self {
        Self { at, ..self }
    }

    /// Every word, the command's name first.
    pub fn all(&self) -> &'a [&'a [u8]] {
        self.words
    }

    /// The count of all words, the name included: what arity counts.
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Whether there is no word, which no request has.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// The words not yet read.
    pub fn remaining(&self) -> &'a [&'a [u8]] {
        &self.words[self.at.min(self.words.len())..]
    }

    /// The index of the next word among all.
    pub fn place(&self) -> usize {
        self.at.min(self.words.len())
    }

    /// How many words are not yet read.
    pub fn left(&self) -> usize {
        self.words.len().saturating_sub(self.at)
    }

    /// The next word without reading it.
    pub fn peek(&self) -> Option<&'a [u8]> {
        self.words.get(self.at).copied()
    }

    /// The next word, which is a key.
    ///
    /// # Panics
    /// As `given`.
    pub fn key(&mut self) -> &'a [u8] {
        self.given()
    }

    /// The next word, which is there: the command's arity guarantees it, or its handler looked.
    ///
    /// # Panics
    /// If it is not.
    #[inline]
    pub fn given(&mut self) -> &'a [u8] {
        self.next().expect("arity guarantees this word")
    }

    /// The next word, or a syntax error.
    #[inline]
    pub fn word(&mut self) -> Result<&'a [u8]> {
        self.next().ok_or(Error::Syntax)
    }

    /// The next word as an integer as Redis reads it: no sign `+`, no blanks, no leading zeros.
    #[inline]
    pub fn int(&mut self) -> Result<i64> {
        number::parse_i64(self.word()?).ok_or(Error::NotInteger)
    }

    /// The next word as a double; NaN is refused.
    pub fn double(&mut self) -> Result<f64> {
        number::parse_f64(self.word()?).ok_or(Error::NotFloat)
    }

    /// Reads the next word if it is `keyword`.
    #[inline]
    pub fn accept(&mut self, keyword: &str) -> bool {
        let accepted = self.peek().is_some_and(|word| is_keyword(word, keyword));
        self.at += usize::from(accepted);
        accepted
    }

    /// Reads the next `count` words; fewer are a syntax error.
    pub fn take_words(&mut self, count: usize) -> Result<&'a [&'a [u8]]> {
        let words = self.remaining().get(..count).ok_or(Error::Syntax)?;
        self.at += count;
        Ok(words)
    }

    /// Reads a count of keys and that many keys, as LMPOP and SINTERCARD take them.
    pub fn counted_keys(&mut self) -> Result<&'a [&'a [u8]]> {
        let count = number::parse_i64(self.word()?).filter(|&count| count > 0);
        let count = count.ok_or_else(|| Error::new("ERR numkeys should be greater than 0"))?;
        self.take_words(usize::try_from(count).unwrap_or(usize::MAX))
    }

    /// As `counted_keys`, but where the keys stand among all words.
    pub fn counted_places(&mut self) -> Result<Range<usize>> {
        let count = self.counted_keys()?.len();
        Ok(self.at - count..self.at)
    }

    /// Reads `[COUNT count]` up to the end; 1 where it is absent.
    pub fn count_option(&mut self) -> Result<usize> {
        if self.left() == 0 {
            return Ok(1);
        }
        if !self.accept("count") || self.left() != 1 {
            return Err(Error::Syntax);
        }
        let count = number::parse_i64(self.word()?).filter(|&count| count > 0);
        let count = count.ok_or_else(|| Error::new("ERR count should be greater than 0"))?;
        Ok(usize::try_from(count).unwrap_or(usize::MAX))
    }

    /// Reads `[LIMIT limit]` up to the end, where no limit is 0, or absent.
    pub fn limit_option(&mut self) -> Result<usize> {
        let mut limit = 0;
        while self.left() > 0 {
            if !self.accept("limit") {
                return Err(Error::Syntax);
            }
            let given = number::parse_i64(self.word()?).and_then(|it| usize::try_from(it).ok());
            limit = given.ok_or_else(|| Error::new("ERR LIMIT can't be negative"))?;
        }
        Ok(if limit == 0 { usize::MAX } else { limit })
    }

    /// Reads a count whose sign means something of its own, so that it can be negated.
    pub fn signed_count(&mut self) -> Result<i64> {
        self.int_within(-i64::MAX..=i64::MAX)
    }

    /// Reads an integer of a range.
    pub fn int_within(&mut self, range: RangeInclusive<i64>) -> Result<i64> {
        let number = self.int()?;
        if range.contains(&number) {
            return Ok(number);
        }
        let (least, most) = (range.start(), range.end());
        let text = format!("ERR value is out of range, value must between {least} and {most}");
        Err(Error::new(text))
    }

    /// The words not yet read in pairs. Arity cannot say that they must be even in number.
    pub fn pairs(&self, command: &str) -> Result<&'a [[&'a [u8]; 2]]> {
        match self.remaining().as_chunks() {
            (pairs, []) => Ok(pairs),
            _ => Err(Error::wrong_arity(command)),
        }
    }

    /// Refuses words that no option claimed.
    pub fn end(&self) -> Result {
        if self.left() == 0 { Ok(()) } else { Err(Error::Syntax) }
    }
}

impl<'a> Iterator for Args<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let word = self.words.get(self.at).copied();
        self.at += usize::from(word.is_some());
        word
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left(), Some(self.left()))
    }
}

impl ExactSizeIterator for Args<'_> {}

/// A request that outlives its buffer: queued by MULTI, or parked. One allocation for the bytes,
/// one for the ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnedArgs {
    bytes: Box<[u8]>,
    ends: Box<[usize]>,
}

impl OwnedArgs {
    /// Copies the words.
    pub fn new(words: &[&[u8]]) -> Self {
        let mut end = 0;
        let ends = words
            .iter()
            .map(|word| {
                end += word.len();
                end
            })
            .collect();
        Self { bytes: words.concat().into_boxed_slice(), ends }
    }

    /// All words, the command's name first. Allocates their list.
    pub fn words(&self) -> Vec<&[u8]> {
        let mut start = 0;
        self.ends
            .iter()
            .map(|&end| {
                let word = &self.bytes[start..end];
                start = end;
                word
            })
            .collect()
    }

    /// Bytes of the words.
    pub fn words_len(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes on the heap.
    pub fn size(&self) -> usize {
        self.bytes.len() + self.ends.len() * size_of::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owned_words_read_back() {
        let words: [&[u8]; 4] = [b"set", b"", b"k", b"v v"];
        assert_eq!(OwnedArgs::new(&words).words(), words);
    }

    #[test]
    fn words_are_read_in_order() {
        let words: [&[u8]; 4] = [b"lpos", b"key", b"RANK", b"-1"];
        let mut args = Args::new(&words);
        assert_eq!(args.key(), b"key");
        assert!(!args.accept("count"));
        assert!(args.accept("rank"));
        assert_eq!(args.end(), Err(Error::Syntax));
        assert_eq!(args.int(), Ok(-1));
        assert_eq!(args.int(), Err(Error::Syntax));
        assert_eq!(args.end(), Ok(()));
    }
}
