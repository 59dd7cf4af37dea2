//! A block of bytes that may also hold shared texts: a head, a pointer to each text, the bytes.
//!
//! The bytes name a text by its number and are never a pointer themselves. So whatever stands among
//! them, even if it came from a file or is read from the middle of something else, leads to a text
//! that is held, or to none.

use std::ops::Range;

use crate::data::block::Block;
use crate::util::fetch::Fetch;
use crate::util::shared::{SHARED_BYTES, Shared};

/// What a collection notes about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Meant for whoever owns the collection, all but the highest four bits.
    pub flags: u8,
    pub count: u8,
}

impl Head {
    fn to_bytes(self) -> [u8; HEAD_BYTES] {
        [self.flags, self.count]
    }
}

const HEAD_BYTES: usize = 2;

/// The bits of the flags that count the pointers.
const HELD: u8 = 0xf0;
const HELD_SHIFT: u32 = HELD.trailing_zeros();
pub const HELD_MAX: usize = (HELD >> HELD_SHIFT) as usize;

/// Stands where the pointer to a text was that is held no longer: a pointer is never zero.
const RELEASED: [u8; SHARED_BYTES] = [0; SHARED_BYTES];

/// If it has bytes at all, it has a head, and behind that as many pointers as the head counts. Each
/// is `RELEASED`, or came from `Shared::into_bytes` and stands for one holder of its text. Only the
/// functions of this file write there.
///
/// `Either` relies on its being a block and nothing else.
#[repr(transparent)]
#[derive(Debug, Default)]
pub struct Holder(Block);

impl Holder {
    /// In a block that is allocated once. It holds nothing.
    pub fn new(mut head: Head, body: &[u8]) -> Self {
        head.flags &= !HELD;
        let mut block = Block::new();
        block.splice(0..0, &[&head.to_bytes(), body]);
        Self(block)
    }

    pub fn head(&self) -> Head {
        match *self.0 {
            [flags, count, ..] => Head { flags: flags & !HELD, count },
            _ => Head::default(),
        }
    }

    #[inline]
    pub fn set_head(&mut self, mut head: Head) {
        if self.0.is_empty() {
            self.0.splice(0..0, &[&[0; HEAD_BYTES]]);
        }
        head.flags = head.flags & !HELD | self.0[0] & HELD;
        self.0[..HEAD_BYTES].copy_from_slice(&head.to_bytes());
    }

    /// The bytes behind head and pointers.
    #[inline]
    pub fn body(&self) -> &[u8] {
        self.0.get(self.body_start()..).unwrap_or_default()
    }

    /// Head and body, if that is all there is.
    pub fn as_plain(&self) -> Option<&[u8]> {
        if self.holds_some() { None } else { Some(&self.0) }
    }

    /// Replaces bytes of the body.
    pub fn splice(&mut self, range: Range<usize>, parts: &[&[u8]]) {
        if self.0.is_empty() {
            self.set_head(Head::default());
        }
        let start = self.body_start();
        self.0.splice(range.start + start..range.end + start, parts);
    }

    /// Whether it has any pointers, be they released.
    #[inline]
    pub fn holds_some(&self) -> bool {
        self.held_count() > 0
    }

    /// The text of a number that `hold` has given out and nobody released.
    pub fn held(&self, number: u8) -> Option<&[u8]> {
        let pointer = self.pointers().get(usize::from(number))?;
        // SAFETY: the pointer stands for a holder, and can be released only by who borrows the
        // block mutably. The borrow of the text is one of the pointer, so of the block.
        (*pointer != RELEASED).then(|| unsafe { Shared::peek(pointer) })
    }

    /// Holds a text, and puts a byte made of its number in the place of a range of the body.
    /// Does nothing if it holds as many as it can.
    ///
    /// Takes a block as large as needed: cutting the old one gives nothing back to the allocator.
    pub fn hold(&mut self, shared: Shared, range: Range<usize>, code: impl FnOnce(u8) -> u8) {
        let count = self.held_count();
        if count == HELD_MAX {
            return;
        }
        let (before, behind) = (&self.body()[..range.start], &self.body()[range.end..]);
        let (front, code) = (&self.0[..self.body_start()], code(count as u8));
        let mut block = Block::new();
        block.splice(0..0, &[front, &shared.into_bytes(), before, &[code], behind]);
        block[0] += 1 << HELD_SHIFT;
        // The old block goes as bytes: its pointers are the new one's.
        self.0 = block;
    }

    /// Ends the holding of a text; its number stands for nothing from then on.
    #[cold]
    pub fn release(&mut self, number: u8) {
        if let Some(pointer) = self.pointers_mut().get_mut(usize::from(number)) {
            let pointer = std::mem::replace(pointer, RELEASED);
            if pointer != RELEASED {
                // SAFETY: the pointer stood for a holder, and stands nowhere any more.
                drop(unsafe { Shared::from_bytes(pointer) });
            }
        }
    }

    /// Without the texts that it holds: they are everybody's.
    pub fn heap_size(&self) -> usize {
        self.0.heap_size()
    }

    fn held_count(&self) -> usize {
        self.0.first().map_or(0, |flags| usize::from(flags >> HELD_SHIFT))
    }

    fn body_start(&self) -> usize {
        HEAD_BYTES + self.held_count() * SHARED_BYTES
    }

    fn pointers(&self) -> &[[u8; SHARED_BYTES]] {
        let bytes = self.0.get(HEAD_BYTES..self.body_start());
        bytes.unwrap_or_default().as_chunks().0
    }

    fn pointers_mut(&mut self) -> &mut [[u8; SHARED_BYTES]] {
        let end = self.body_start();
        let bytes = self.0.get_mut(HEAD_BYTES..end);
        bytes.unwrap_or_default().as_chunks_mut().0
    }
}

impl Fetch for Holder {
    type By = ();

    fn fetch(&self, (): ()) {
        self.0.fetch(());
    }
}

impl Clone for Holder {
    fn clone(&self) -> Self {
        for &pointer in self.pointers().iter().filter(|pointer| **pointer != RELEASED) {
            // SAFETY: the pointer stands for a holder. It does so before as after, and the copy's
            // for another one.
            let shared = unsafe { Shared::from_bytes(pointer) };
            shared.clone().into_bytes();
            shared.into_bytes();
        }
        Self(self.0.clone())
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        (0..self.held_count()).for_each(|number| self.release(number as u8));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::shared::Recent;

    fn shared(recent: &mut Recent, text: &[u8]) -> Shared {
        recent.share(text);
        recent.share(text).unwrap()
    }

    #[test]
    fn a_text_is_held_until_it_is_released() {
        let head = Head { flags: 5, count: 7 };
        let mut holder = Holder::new(head, b"0123456789");
        let mut recent = Recent::default();
        let code = |number| b'0' + number;
        holder.hold(shared(&mut recent, b"first"), 2..5, code);
        holder.hold(shared(&mut recent, b"second"), 6..6, code);
        assert_eq!((holder.head(), holder.body()), (head, &b"010567189"[..]));
        let copy = holder.clone();
        drop(recent);
        assert_eq!((holder.held(0), holder.held(1)), (Some(&b"first"[..]), Some(&b"second"[..])));
        holder.release(0);
        holder.release(0);
        holder.splice(0..5, &[b"x"]);
        assert_eq!((holder.held(0), holder.held(1)), (None, Some(&b"second"[..])));
        holder.release(1);
        assert_eq!((holder.head(), holder.body()), (head, &b"x7189"[..]));
        drop(holder);
        assert_eq!((copy.held(0), copy.held(1)), (Some(&b"first"[..]), Some(&b"second"[..])));
    }

    /// Neither a number out of thin air nor flags of somebody else make a pointer out of bytes.
    #[test]
    fn bytes_are_never_pointers() {
        let bytes = [0x41; 100];
        for flags in 0..=u8::MAX {
            let mut holder = Holder::new(Head { flags, count: 1 }, &bytes);
            holder.set_head(Head { flags, count: 2 });
            assert_eq!((holder.head().flags, holder.body()), (flags & !HELD, &bytes[..]));
            assert!((0..=u8::MAX).all(|number| holder.held(number).is_none()));
            holder.release(flags);
            assert_eq!(holder.as_plain().unwrap().len(), HEAD_BYTES + bytes.len());
        }
        assert_eq!((Holder::default().body(), Holder::default().held(0)), (&b""[..], None));
    }

    #[test]
    fn what_is_too_much_to_hold_stays_as_it_is() {
        let mut holder = Holder::new(Head::default(), &[b'x'; 40]);
        let mut recent = Recent::default();
        for number in 0..20u8 {
            let text = shared(&mut recent, &[number; 20]);
            holder.hold(text, 0..0, |number| number);
        }
        assert_eq!(holder.body().len(), 40 + HELD_MAX);
        assert_eq!(holder.held(HELD_MAX as u8 - 1), Some(&[HELD_MAX as u8 - 1; 20][..]));
        assert_eq!(holder.held(HELD_MAX as u8), None);
    }
}
