//! Before-images: how a large collection can be read piece by piece, as it was at one moment, while
//! it goes on changing.
//!
//! A walk goes over the collection in an order that survives changes. Whoever changes a member says
//! so before, and what the walk would have found is noted, once for each member: the walk passes
//! over those that are noted, and reads the notes at its end. That costs a collection without a
//! walk a pointer and each change a branch; one with a walk a note for each member that changes
//! meanwhile.

use std::ops::Range;

use crate::util::chunked::Chunked;
use crate::util::hash::hash;
use crate::util::table::IndexTable;

/// Bytes that a note takes beside its member.
const NOTE_BYTES: usize = 48;

/// What members were when a walk began that have changed since. It grows without a stop, and goes
/// piece by piece.
pub(super) struct Images<V> {
    table: IndexTable,
    /// `Some` is still to be read; None was read before it changed, or was not there.
    noted: Chunked<(Box<[u8]>, Option<V>)>,
    /// Of all notes, about.
    bytes: usize,
    is_past_members: bool,
}

impl<V> Images<V> {
    fn new() -> Self {
        let (table, noted) = (IndexTable::new(), Chunked::default());
        Self { table, noted, bytes: 0, is_past_members: false }
    }

    /// Whether the walk passes over a member.
    pub fn has(&self, member: &[u8]) -> bool {
        let is_it = |at: u32| *self.noted[at as usize].0 == *member;
        !self.noted.is_empty() && self.table.find(hash(member), is_it).is_some()
    }

    /// A member is about to change, or to come: what it is if the walk has not read it.
    pub fn note(&mut self, member: &[u8], before: impl FnOnce() -> Option<V>) {
        // A walk that is over all members misses nothing any more.
        if !self.is_past_members && !self.has(member) {
            self.bytes += member.len() + NOTE_BYTES;
            self.table.insert(hash(member), self.noted.len() as u32);
            self.noted.push((member.into(), before()));
        }
    }

    /// Reads so many notes at most; from the first call on nothing is noted any more. True at the
    /// end.
    pub fn read(&mut self, count: usize, mut visit: impl FnMut(&[u8], &V)) -> bool {
        self.is_past_members = true;
        for _ in 0..count {
            let Some((member, before)) = self.noted.pop() else { return true };
            before.iter().for_each(|before| visit(&member, before));
        }
        false
    }

    /// Whether nothing but notes is left.
    pub fn is_past_members(&self) -> bool {
        self.is_past_members
    }
}

/// A walk over a collection, if there is one. A copy of the collection has none.
pub(super) struct Walked<P, V>(Option<Box<Walk<P, V>>>);

/// A walk that has come so far.
pub(super) struct Walk<P, V> {
    number: u32,
    pub at: P,
    pub images: Images<V>,
}

/// A walk over what stands side by side: what lies below its place was read.
impl<V> Walk<usize, V> {
    /// The places that are read next, so many at most. None if nothing but notes is left.
    pub fn next_places(&mut self, len: usize, count: usize) -> Option<Range<usize>> {
        if self.images.is_past_members() || self.at >= len {
            return None;
        }
        let start = self.at;
        self.at = len.min(start + count);
        Some(start..self.at)
    }

    /// What stands at a place is about to change or to go, or to stand where the walk has been.
    pub fn note(&mut self, at: usize, member: &[u8], before: impl FnOnce() -> V) {
        if at >= self.at {
            self.images.note(member, || Some(before()));
        }
    }

    /// What stands at a place is about to go. The last one takes its place, or all behind it move.
    /// Gives the place of who will stand where the walk has been, and is to be noted.
    pub fn note_gap(&mut self, at: usize, last: Option<usize>) -> Option<usize> {
        if at >= self.at {
            return None;
        }
        self.at -= usize::from(last.is_none());
        last
    }
}

/// What can be asked of a walk over a collection of any type.
pub(super) trait PieceWalk {
    /// By which whoever walks knows it; None if there is no walk.
    fn number(&self) -> Option<u32>;

    /// Bytes of what is noted, about; 0 if there is no walk.
    fn noted_bytes(&self) -> usize;

    fn end(&mut self);
}

impl<P, V> Walked<P, V> {
    pub const NONE: Self = Self(None);

    #[inline]
    pub fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// None if there is no walk.
    pub fn get_mut(&mut self) -> Option<&mut Walk<P, V>> {
        self.0.as_deref_mut()
    }

    pub fn begin(&mut self, number: u32, at: P) {
        self.0 = Some(Box::new(Walk { number, at, images: Images::new() }));
    }
}

impl<P, V> PieceWalk for Walked<P, V> {
    fn number(&self) -> Option<u32> {
        self.0.as_ref().map(|walk| walk.number)
    }

    fn noted_bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |walk| walk.images.bytes)
    }

    fn end(&mut self) {
        self.0 = None;
    }
}

impl<P, V> Clone for Walked<P, V> {
    fn clone(&self) -> Self {
        Self::NONE
    }
}

impl<P, V> std::fmt::Debug for Walked<P, V> {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(to, "Walked({})", !self.is_none())
    }
}
