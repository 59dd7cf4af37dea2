//! Texts that many values have in common and hold once.
//!
//! Nobody knows beforehand which texts will come again. `Recent` remembers the hashes of those that
//! came of late, and makes a text shared when it comes for the second time; so one that comes once
//! costs nothing, and what is remembered is bounded. Forgetting a shared text takes it from nobody:
//! should it come again, there will be two of it.

use std::ops::Deref;
use std::sync::Arc;

use super::hash::hash;

/// One pointer large.
#[derive(Clone, Debug)]
pub struct Shared(Arc<Box<[u8]>>);

impl Deref for Shared {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

const SLOTS: usize = 1024;

/// The last text whose hash led to a slot.
#[derive(Clone, Debug, Default)]
struct Slot {
    hash: u64,
    /// Since it came for the second time.
    text: Option<Shared>,
}

/// Takes its 16 KB when the first text comes.
#[derive(Debug, Default)]
pub struct Recent {
    slots: Vec<Slot>,
}

impl Recent {
    /// The text to be held in common with others, unless it is new.
    pub fn share(&mut self, text: &[u8]) -> Option<Shared> {
        if self.slots.is_empty() {
            self.slots.resize(SLOTS, Slot::default());
        }
        let hash = hash(text);
        let slot = &mut self.slots[hash as usize % SLOTS];
        if slot.hash != hash {
            *slot = Slot { hash, text: None };
            return None;
        }
        if slot.text.as_ref().is_none_or(|shared| **shared != *text) {
            slot.text = Some(Shared(Arc::new(text.into())));
        }
        slot.text.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_again_is_shared() {
        let mut recent = Recent::default();
        assert!(recent.share(b"bull:memory:").is_none());
        assert!(recent.share(b"bull:other:").is_none());
        let first = recent.share(b"bull:memory:").unwrap();
        let second = recent.share(b"bull:memory:").unwrap();
        assert_eq!((&*first, first.as_ptr()), (&b"bull:memory:"[..], second.as_ptr()));
        assert_eq!(&*recent.share(b"bull:other:").unwrap(), b"bull:other:");
    }

    #[test]
    fn what_never_comes_again_is_not_kept() {
        let mut recent = Recent::default();
        let held = |recent: &Recent| recent.slots.iter().filter(|it| it.text.is_some()).count();
        for number in 0..20_000u32 {
            assert!(recent.share(&number.to_le_bytes()).is_none());
        }
        assert_eq!((recent.slots.len(), held(&recent)), (SLOTS, 0));
    }
}
