//! A run of bytes behind one thin pointer, which is all that a value keeps: 8 bytes. What there is
//! to say about the bytes stands in front of them, and an empty run takes no other memory.
//!
//! Most blocks are as large as their bytes, and begin with their length. One that has grown, and
//! may grow on, has room behind its bytes; it begins with `ROOMY`, its length and its capacity.

use std::alloc::{Layout, handle_alloc_error};
use std::fmt;
use std::ops::{Deref, DerefMut, Range};
use std::ptr::{self, NonNull};
use std::slice;

use crate::util::exact::{alloc, dealloc, realloc};
use crate::util::fetch::{Fetch, fetch_start};

/// Instead of a length, says that more stands behind it.
const ROOMY: u32 = u32::MAX;

/// Words in front of the bytes.
const HEAD_WORDS: usize = 1;
const ROOMY_HEAD_WORDS: usize = 3;

/// All empty blocks without a capacity point here; nothing is ever written to it.
static EMPTY: u32 = 0;

/// Less than 4 GB; strings end at 512 MB. `Either` relies on its being a pointer and nothing else.
#[repr(transparent)]
pub struct Block {
    head: NonNull<u32>,
}

// SAFETY: a block owns its memory, and hands it out by the rules of borrowing.
unsafe impl Send for Block {}
// SAFETY: a shared block is only read, for nothing in it changes without a mutable borrow.
unsafe impl Sync for Block {}

impl Block {
    pub const fn new() -> Self {
        Self { head: NonNull::from_ref(&EMPTY) }
    }

    /// Replaces a range by the parts, one behind the other. Takes exactly the memory needed, for
    /// most blocks are not changed again.
    pub fn splice(&mut self, range: Range<usize>, parts: &[&[u8]]) {
        let old_len = self.len();
        assert!(range.start <= range.end && range.end <= old_len);
        let tail_len = old_len - range.end;
        let inserted: usize = parts.iter().map(|part| part.len()).sum();
        let new_len = old_len - range.len() + inserted;
        if new_len > old_len {
            self.resize(new_len, new_len);
        }
        // SAFETY: the tail lies within the old length, and both it and the parts end within the
        // new one, which the capacity covers. The parts are borrowed, so not of this block.
        unsafe {
            let hole = self.start().add(range.start);
            ptr::copy(self.start().add(range.end), hole.add(inserted), tail_len);
            let mut end = hole;
            for part in parts {
                ptr::copy_nonoverlapping(part.as_ptr(), end, part.len());
                end = end.add(part.len());
            }
        }
        if new_len < old_len {
            self.resize(new_len, new_len);
        }
    }

    /// Lengthens with zeros, or does nothing. Takes half as much again as room to grow.
    pub fn grow(&mut self, len_min: usize) {
        let len = self.len();
        if len_min <= len {
            return;
        }
        if len_min > self.capacity() {
            self.resize(len_min, len_min.max(self.capacity() * 3 / 2));
        } else {
            // SAFETY: with more capacity than length, the block is a roomy one.
            unsafe { self.head.add(1).write(len_min as u32) };
        }
        // SAFETY: the bytes from the old length to the new one lie within the capacity.
        unsafe { ptr::write_bytes(self.start().add(len), 0, len_min - len) };
    }

    /// Shortens, or does nothing. Room to grow stays, if there was any.
    pub fn truncate(&mut self, len_max: usize) {
        let len = self.len();
        if len_max >= len {
            return;
        }
        if self.is_roomy() {
            // SAFETY: the head of a roomy block has the length in its second word.
            unsafe { self.head.add(1).write(len_max as u32) };
        } else {
            self.splice(len_max..len, &[]);
        }
    }

    pub fn heap_size(&self) -> usize {
        match self.capacity() {
            0 => 0,
            capacity => Self::layout(self.is_roomy(), capacity).size(),
        }
    }

    fn is_roomy(&self) -> bool {
        // SAFETY: the pointer leads to a head, for as long as the block lives.
        unsafe { self.head.read() == ROOMY }
    }

    fn len(&self) -> usize {
        // SAFETY: the pointer leads to a head for as long as the block lives; that of a roomy block
        // has the length in its second word.
        let len = unsafe {
            match self.head.read() {
                ROOMY => self.head.add(1).read(),
                len => len,
            }
        };
        len as usize
    }

    fn capacity(&self) -> usize {
        match self.is_roomy() {
            // SAFETY: the head of a roomy block has the capacity in its third word.
            true => unsafe { self.head.add(2).read() as usize },
            false => self.len(),
        }
    }

    fn start(&self) -> *mut u8 {
        let words = if self.is_roomy() { ROOMY_HEAD_WORDS } else { HEAD_WORDS };
        // SAFETY: the bytes, if any, begin right behind the head, in the same allocation.
        unsafe { self.head.as_ptr().add(words).cast() }
    }

    /// Gives the block another length, and a capacity that covers it. Bytes beyond the old length
    /// are to be written before they are read.
    #[inline]
    fn resize(&mut self, len: usize, capacity: usize) {
        let (was_roomy, is_roomy) = (self.is_roomy(), capacity > len);
        if was_roomy == is_roomy && self.capacity() > 0 && capacity > 0 {
            let old = Self::layout(was_roomy, self.capacity());
            let new = Self::layout(is_roomy, capacity);
            // SAFETY: with a capacity, the block was allocated with the layout of that capacity.
            let head = unsafe { realloc(self.head.as_ptr().cast(), old, new.size()) };
            self.head = Self::checked(head, new);
            // SAFETY: the block is as large as this head asks for.
            unsafe { self.write_head(len, capacity) };
            return;
        }
        let mut other = Self::new();
        if capacity > 0 {
            let layout = Self::layout(is_roomy, capacity);
            // SAFETY: a layout is never of size zero; the block is as large as this head asks for.
            unsafe {
                other.head = Self::checked(alloc(layout), layout);
                other.write_head(len, capacity);
            }
        }
        let kept = self.len().min(len);
        // SAFETY: both are as long as that, and they are two blocks.
        unsafe { ptr::copy_nonoverlapping(self.start(), other.start(), kept) };
        *self = other;
    }

    /// # Safety
    /// The block has been allocated with this capacity, roomy if that is more than the length.
    unsafe fn write_head(&mut self, len: usize, capacity: usize) {
        // SAFETY: a block with this capacity begins with as many words as are written here.
        unsafe {
            if capacity > len {
                self.head.cast().write([ROOMY, len as u32, capacity as u32]);
            } else {
                self.head.write(len as u32);
            }
        }
    }

    fn checked(head: *mut u8, layout: Layout) -> NonNull<u32> {
        NonNull::new(head.cast()).unwrap_or_else(|| handle_alloc_error(layout))
    }

    fn layout(is_roomy: bool, capacity: usize) -> Layout {
        assert!(capacity < ROOMY as usize, "a value of more than 4 GB");
        let words = if is_roomy { ROOMY_HEAD_WORDS } else { HEAD_WORDS };
        let size = words * size_of::<u32>() + capacity;
        // The sum is far from overflowing, and the alignment a power of two.
        Layout::from_size_align(size, align_of::<u32>()).expect("the layout is valid")
    }
}

/// The head, and the first bytes behind it.
impl Fetch for Block {
    type By = ();

    fn fetch(&self, (): ()) {
        // SAFETY: the pointer leads to a head, for as long as the block lives.
        fetch_start(unsafe { self.head.as_ref() });
    }
}

impl Default for Block {
    fn default() -> Self {
        Self::new()
    }
}

impl From<&[u8]> for Block {
    #[inline]
    fn from(bytes: &[u8]) -> Self {
        let mut block = Self::new();
        block.splice(0..0, &[bytes]);
        block
    }
}

impl Deref for Block {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: so many bytes behind the head have been written.
        unsafe { slice::from_raw_parts(self.start(), self.len()) }
    }
}

impl DerefMut for Block {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and the block is borrowed mutably.
        unsafe { slice::from_raw_parts_mut(self.start(), self.len()) }
    }
}

impl Clone for Block {
    fn clone(&self) -> Self {
        Self::from(&**self)
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "\"{}\"", self.escape_ascii())
    }
}

impl Drop for Block {
    #[inline]
    fn drop(&mut self) {
        let capacity = self.capacity();
        if capacity > 0 {
            let layout = Self::layout(self.is_roomy(), capacity);
            // SAFETY: with a capacity, the block was allocated with the layout of that capacity.
            unsafe { dealloc(self.head.as_ptr().cast(), layout) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::rng::Rng;

    #[test]
    fn random_operations_agree_with_a_vector() {
        for seed in 0..50 {
            let mut rng = Rng::from_seed(seed);
            let (mut block, mut model) = (Block::new(), Vec::new());
            let mut len_max = 0;
            for step in 0..300u32 {
                if rng.below(10) == 0 {
                    let len = rng.below(model.len() + 3);
                    block.truncate(len);
                    model.truncate(len);
                } else if rng.below(10) == 0 {
                    let len_min = rng.below(2 * model.len() + 20);
                    block.grow(len_min);
                    model.resize(len_min.max(model.len()), 0);
                } else {
                    let end = rng.below(model.len() + 1);
                    let start = rng.below(end + 1);
                    let parts = [&step.to_le_bytes()[..rng.below(5)], &vec![7; rng.below(30)]];
                    block.splice(start..end, &parts);
                    model.splice(start..end, parts.concat());
                }
                if let Some(last) = block.last_mut() {
                    *last = step as u8;
                    *model.last_mut().unwrap() = step as u8;
                }
                assert_eq!(*block, *model);
                assert_eq!(*block.clone(), *model);
                // Room stays where something was cut off.
                len_max = model.len().max(len_max);
                assert!(block.heap_size() <= 12 + len_max * 3 / 2 + 40);
            }
            block.splice(0..model.len(), &[]);
            assert_eq!(block.heap_size(), 0);
        }
    }
}
