//! A small collection or a large one behind one pointer: packed into a block, or a boxed `Large`.
//!
//! Either is a pointer already; the lowest bit, which alignment leaves free, tells which. As an
//! enum it would take twice the space, in every key.

use std::fmt;
use std::marker::PhantomData;
use std::ptr::NonNull;

use crate::data::packed::Packed;

pub struct Either<L> {
    tagged: NonNull<u8>,
    owned: PhantomData<(Packed, Box<L>)>,
}

pub enum View<'a, L> {
    Packed(&'a Packed),
    Large(&'a L),
}

pub enum ViewMut<'a, L> {
    Packed(&'a mut Packed),
    Large(&'a mut L),
}

const TAG: usize = 1;

// SAFETY: it owns what it points to: an `L`, or a `Packed`, which may go to any thread.
unsafe impl<L: Send> Send for Either<L> {}
// SAFETY: it lends what it owns by the rules of borrowing; a `Packed` may be read on any thread.
unsafe impl<L: Sync> Sync for Either<L> {}

impl<L> Either<L> {
    /// Takes no memory of its own. That the two are of one size is checked as it is compiled.
    pub fn packed(packed: Packed) -> Self {
        const { assert!(size_of::<Packed>() == size_of::<NonNull<u8>>()) };
        const fn may_go_to_any_thread<T: Send + Sync>() {}
        const { may_go_to_any_thread::<Packed>() };
        // SAFETY: `Packed` is a transparent `Holder`, and that a transparent `Block`, which is a
        // transparent pointer to a head, aligned to four bytes, so without the tag.
        let tagged = unsafe { std::mem::transmute::<Packed, NonNull<u8>>(packed) };
        Self { tagged, owned: PhantomData }
    }

    /// Allocates. That its alignment leaves room for the tag is checked as it is compiled.
    pub fn large(large: L) -> Self {
        const { assert!(align_of::<L>() > TAG) };
        let pointer = NonNull::from(Box::leak(Box::new(large))).cast();
        Self { tagged: pointer.map_addr(|address| address | TAG), owned: PhantomData }
    }

    pub fn view(&self) -> View<'_, L> {
        match self.untagged() {
            // SAFETY: without the tag it came from `packed`, so that it is one.
            None => View::Packed(unsafe { NonNull::from_ref(&self.tagged).cast().as_ref() }),
            // SAFETY: with the tag it came from `large`, and lives until this is dropped.
            Some(large) => View::Large(unsafe { large.as_ref() }),
        }
    }

    pub fn view_mut(&mut self) -> ViewMut<'_, L> {
        match self.untagged() {
            // SAFETY: as in `view`, and borrowed mutably. A packed block never gets the tag.
            None => ViewMut::Packed(unsafe { NonNull::from_mut(&mut self.tagged).cast().as_mut() }),
            // SAFETY: as in `view`, and borrowed mutably.
            Some(mut large) => ViewMut::Large(unsafe { large.as_mut() }),
        }
    }

    fn untagged(&self) -> Option<NonNull<L>> {
        let address = self.tagged.addr().get();
        if address & TAG == 0 {
            return None;
        }
        NonNull::new(self.tagged.as_ptr().map_addr(|address| address & !TAG).cast())
    }
}

impl<L> Default for Either<L> {
    fn default() -> Self {
        Self::packed(Packed::default())
    }
}

impl<L: Clone> Clone for Either<L> {
    fn clone(&self) -> Self {
        match self.view() {
            View::Packed(packed) => Self::packed(packed.clone()),
            View::Large(large) => Self::large(large.clone()),
        }
    }
}

impl<L: fmt::Debug> fmt::Debug for Either<L> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.view() {
            View::Packed(packed) => packed.fmt(f),
            View::Large(large) => large.fmt(f),
        }
    }
}

impl<L> Drop for Either<L> {
    fn drop(&mut self) {
        match self.untagged() {
            // SAFETY: it came from a box in `large`, and is not used any more.
            Some(large) => drop(unsafe { Box::from_raw(large.as_ptr()) }),
            // SAFETY: it came from a `Packed`, and is not used any more.
            None => drop(unsafe { std::mem::transmute::<NonNull<u8>, Packed>(self.tagged) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_is_what_it_was_made_of() {
        assert_eq!(size_of::<Either<String>>(), 8);
        let mut either = Either::<String>::default();
        let ViewMut::Packed(packed) = either.view_mut() else { panic!("not packed") };
        packed.push_text(b"small");
        let copy = either.clone();
        either = Either::large("large".to_owned());
        let ViewMut::Large(large) = either.view_mut() else { panic!("not large") };
        large.push('r');
        let View::Large(large) = either.view() else { panic!("not large") };
        assert_eq!(large, "larger");
        let View::Packed(packed) = copy.view() else { panic!("not packed") };
        assert_eq!(&*packed.text(0).0, b"small");
    }
}
