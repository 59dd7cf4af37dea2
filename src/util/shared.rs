//! Texts that many values have in common and hold once.
//!
//! Nobody knows beforehand which texts will come again. `Recent` remembers the hashes of those that
//! came of late, and makes a text shared when it comes for the second time; so one that comes once
//! costs nothing, and what is remembered is bounded. Forgetting a shared text takes it from nobody:
//! should it come again, there will be two of it.

use std::ops::Deref;
use std::sync::Arc;

use super::hash::hash;

/// One pointer large. Its count is atomic because the last holder may be on any thread.
#[derive(Clone, Debug)]
pub struct Shared(Arc<Box<[u8]>>);

impl Shared {
    /// As bytes that stand for one holder: to be given back by `from_bytes` once, and to be read by
    /// `peek` until then.
    pub fn into_bytes(self) -> [u8; SHARED_BYTES] {
        Arc::into_raw(self.0).expose_provenance().to_le_bytes()
    }

    /// # Safety
    /// The bytes came from `into_bytes`, and stand for a holder no longer.
    pub unsafe fn from_bytes(bytes: [u8; SHARED_BYTES]) -> Self {
        // SAFETY: the pointer came from `into_raw`, and its count from there is taken over.
        Self(unsafe { Arc::from_raw(address(bytes)) })
    }

    /// # Safety
    /// The bytes came from `into_bytes`, and stand for a holder as long as they are borrowed.
    pub unsafe fn peek(bytes: &[u8; SHARED_BYTES]) -> &[u8] {
        // SAFETY: what the pointer from `into_raw` leads to lives as long as one holder does, so
        // as long as the bytes are borrowed.
        unsafe { &*address(*bytes) }
    }
}

fn address(bytes: [u8; SHARED_BYTES]) -> *const Box<[u8]> {
    std::ptr::with_exposed_provenance(usize::from_le_bytes(bytes))
}

pub const SHARED_BYTES: usize = size_of::<usize>();

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
    fn bytes_stand_for_a_holder() {
        let text = Shared(Arc::new(b"text"[..].into()));
        let bytes = text.clone().into_bytes();
        assert_eq!(Arc::strong_count(&text.0), 2);
        // SAFETY: the bytes stand for a holder until they are given back, once.
        let (seen, back) = unsafe { (Shared::peek(&bytes), Shared::from_bytes(bytes)) };
        assert_eq!((seen, &*back), (&b"text"[..], &b"text"[..]));
        drop(back);
        assert_eq!(Arc::strong_count(&text.0), 1);
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
