//! Keys as the keyspace holds them. Those of a queue's jobs differ in a number at their end, and
//! have the text before it in common; any other key is a block of its own.

use std::ops::Deref;

use crate::data::block::Block;
use crate::data::item;
use crate::util::fetch::Fetch;
use crate::util::shared::{Recent, Shared};

#[derive(Debug)]
pub struct Key(KeyForm);

#[derive(Debug)]
enum KeyForm {
    Whole(Block),
    Numbered { prefix: Shared, number: u32 },
}

const _: () = assert!(size_of::<Key>() == 16);

/// Longer ones are rare, and the text of a key shall fit on the stack.
const PREFIX_LEN_MAX: usize = 50;

/// As many digits as `u32::MAX` has.
const DIGITS_MAX: usize = 10;

const TEXT_LEN_MAX: usize = PREFIX_LEN_MAX + DIGITS_MAX;

impl Key {
    #[inline]
    pub fn new(text: &[u8], prefixes: &mut Recent) -> Self {
        let numbered = || {
            let start = text.iter().rposition(|&byte| byte == b':')? + 1;
            let number = number(&text[start..]).filter(|_| start <= PREFIX_LEN_MAX)?;
            Some(KeyForm::Numbered { prefix: prefixes.share(&text[..start])?, number })
        };
        Self({ numbered }().unwrap_or_else(|| KeyForm::Whole(text.into())))
    }

    pub fn is(&self, text: &[u8]) -> bool {
        match &self.0 {
            KeyForm::Whole(block) => **block == *text,
            KeyForm::Numbered { prefix, number: own } => {
                text.strip_prefix(&**prefix).is_some_and(|digits| number(digits) == Some(*own))
            }
        }
    }

    #[inline]
    pub fn text(&self) -> KeyText<'_> {
        match &self.0 {
            KeyForm::Whole(block) => KeyText::Whole(block),
            KeyForm::Numbered { prefix, number } => {
                let mut digits = itoa::Buffer::new();
                let digits = digits.format(*number).as_bytes();
                let (start, len) = (prefix.len(), prefix.len() + digits.len());
                let mut bytes = [0; TEXT_LEN_MAX];
                bytes[..start].copy_from_slice(prefix);
                bytes[start..len].copy_from_slice(digits);
                KeyText::Joined { bytes, len }
            }
        }
    }

    /// Without the prefix: it is everybody's.
    pub fn heap_size(&self) -> usize {
        match &self.0 {
            KeyForm::Whole(block) => block.heap_size(),
            KeyForm::Numbered { .. } => 0,
        }
    }
}

/// What comparing reads.
impl Fetch for Key {
    type By = ();

    fn fetch(&self, (): ()) {
        if let KeyForm::Whole(block) = &self.0 {
            block.fetch(());
        }
    }
}

fn number(digits: &[u8]) -> Option<u32> {
    item::as_number(digits)?.try_into().ok()
}

/// A key's bytes, as the key keeps them or put together.
pub enum KeyText<'a> {
    Whole(&'a [u8]),
    Joined { bytes: [u8; TEXT_LEN_MAX], len: usize },
}

impl Deref for KeyText<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            KeyText::Whole(bytes) => bytes,
            KeyText::Joined { bytes, len } => &bytes[..*len],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_their_texts() {
        let mut prefixes = Recent::default();
        let long = ":".repeat(PREFIX_LEN_MAX + 1) + "1";
        let texts = [
            "",
            "1",
            ":1",
            "a:",
            "a:1",
            "a:12",
            "a:01",
            "a:0",
            "a:-1",
            "b:a:1",
            "a:1x",
            "a:4294967295",
            "a:4294967296",
            &long,
            &long[1..],
            "a:1:lock",
            "a",
        ];
        // The second time, prefixes are shared.
        for round in 0..2 {
            let keys = texts.map(|text| Key::new(text.as_bytes(), &mut prefixes));
            for (key, text) in keys.iter().zip(texts) {
                assert_eq!(&*key.text(), text.as_bytes());
                for other in texts {
                    assert_eq!(key.is(other.as_bytes()), text == other, "{text} {other} {round}");
                }
            }
        }
    }

    #[test]
    fn keys_of_jobs_take_no_memory_of_their_own() {
        let mut prefixes = Recent::default();
        let mut size = |text: &[u8]| Key::new(text, &mut prefixes).heap_size();
        assert_eq!(size(b"bull:memory:1"), 4 + 13);
        assert_eq!(size(b"bull:memory:2"), 0);
        assert_eq!(size(b"bull:memory:123456"), 0);
        assert_eq!(size(b"bull:memory:meta"), 4 + 16);
    }
}
