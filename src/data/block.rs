//! A run of bytes behind one thin pointer: length and capacity stand in front of the bytes, so
//! that a value takes 8 bytes where it is kept, and none elsewhere while it is empty.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error, realloc};
use std::fmt;
use std::ops::{Deref, DerefMut, Range};
use std::ptr::{self, NonNull};
use std::slice;

use crate::util::fetch::fetch;

#[repr(C)]
struct Header {
    len: u32,
    capacity: u32,
}

/// All empty blocks point here; without a capacity, nothing is ever written to it.
static EMPTY: Header = Header { len: 0, capacity: 0 };

/// At most 4 GB; strings end at 512 MB. `Either` relies on its being a pointer and nothing else.
#[repr(transparent)]
pub struct Block {
    header: NonNull<Header>,
}

// SAFETY: a block owns its memory, and hands it out by the rules of borrowing.
unsafe impl Send for Block {}
// SAFETY: as above.
unsafe impl Sync for Block {}

impl Block {
    pub const fn new() -> Self {
        Self { header: NonNull::from_ref(&EMPTY) }
    }

    /// Replaces a range by the parts, one behind the other. Takes exactly the memory needed: most
    /// blocks are not changed again, and the allocator's size classes leave a little room.
    pub fn splice(&mut self, range: Range<usize>, parts: &[&[u8]]) {
        let old_len = self.len();
        assert!(range.start <= range.end && range.end <= old_len);
        let tail_len = old_len - range.end;
        let inserted: usize = parts.iter().map(|part| part.len()).sum();
        let new_len = old_len - range.len() + inserted;
        if new_len > old_len {
            self.set_capacity(new_len);
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
            self.set_len(new_len);
        }
        if new_len < old_len {
            self.set_capacity(new_len);
        }
    }

    /// Lengthens with zeros, or does nothing. Takes half as much again as room to grow.
    pub fn grow(&mut self, len_min: usize) {
        let len = self.len();
        if len_min <= len {
            return;
        }
        if len_min > self.capacity() {
            self.set_capacity(len_min.max(self.capacity() * 3 / 2));
        }
        // SAFETY: the bytes from the old length to the new one lie within the capacity.
        unsafe {
            ptr::write_bytes(self.start().add(len), 0, len_min - len);
            self.set_len(len_min);
        }
    }

    /// Asks for the first bytes, which are wanted soon.
    pub fn fetch(&self) {
        // SAFETY: the pointer leads to a header, for as long as the block lives.
        fetch(unsafe { self.header.as_ref() });
    }

    pub fn heap_size(&self) -> usize {
        match self.capacity() {
            0 => 0,
            capacity => size_of::<Header>() + capacity,
        }
    }

    fn capacity(&self) -> usize {
        // SAFETY: the pointer leads to a header, for as long as the block lives.
        unsafe { self.header.as_ref() }.capacity as usize
    }

    fn start(&self) -> *mut u8 {
        // SAFETY: the bytes, if any, begin right behind the header, in the same allocation.
        unsafe { self.header.as_ptr().add(1).cast() }
    }

    /// # Safety
    /// The first `len` bytes lie within the capacity and have been written. An empty block without
    /// capacity must stay empty.
    unsafe fn set_len(&mut self, len: usize) {
        if self.capacity() > 0 {
            // SAFETY: with a capacity, the header is this block's own.
            unsafe { self.header.as_mut() }.len = len as u32;
        }
    }

    /// The capacity must cover the length.
    fn set_capacity(&mut self, capacity: usize) {
        let (old, len) = (self.capacity(), self.len());
        debug_assert!(capacity >= len);
        if capacity == old {
            return;
        }
        let new_layout = Self::layout(capacity);
        // SAFETY: with a capacity, the header was allocated with the layout of that capacity; a
        // layout is never of size zero; header and length are written before anybody reads them.
        unsafe {
            let header = match (old, capacity) {
                (_, 0) => {
                    dealloc(self.header.as_ptr().cast(), Self::layout(old));
                    self.header = NonNull::from_ref(&EMPTY);
                    return;
                }
                (0, _) => alloc(new_layout),
                _ => realloc(self.header.as_ptr().cast(), Self::layout(old), new_layout.size()),
            };
            let Some(header) = NonNull::new(header.cast::<Header>()) else {
                handle_alloc_error(new_layout);
            };
            header.write(Header { len: len as u32, capacity: capacity as u32 });
            self.header = header;
        }
    }

    fn layout(capacity: usize) -> Layout {
        assert!(capacity <= u32::MAX as usize, "a value of more than 4 GB");
        let size = size_of::<Header>() + capacity;
        // The sum is far from overflowing, and the alignment a power of two.
        Layout::from_size_align(size, align_of::<Header>()).expect("the layout is valid")
    }
}

impl Default for Block {
    fn default() -> Self {
        Self::new()
    }
}

impl From<&[u8]> for Block {
    fn from(bytes: &[u8]) -> Self {
        let mut block = Self::new();
        block.splice(0..0, &[bytes]);
        block
    }
}

impl Deref for Block {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the first `len` bytes behind the header have been written.
        unsafe { slice::from_raw_parts(self.start(), self.header.as_ref().len as usize) }
    }
}

impl DerefMut for Block {
    fn deref_mut(&mut self) -> &mut [u8] {
        let len = self.len();
        // SAFETY: as in `deref`, and the block is borrowed mutably.
        unsafe { slice::from_raw_parts_mut(self.start(), len) }
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
    fn drop(&mut self) {
        // SAFETY: no byte is left to be covered.
        unsafe { self.set_len(0) };
        self.set_capacity(0);
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
            for step in 0..300u32 {
                if rng.below(10) == 0 {
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
                assert!(block.heap_size() <= 8 + model.len() * 3 / 2 + 40);
            }
            block.splice(0..model.len(), &[]);
            assert_eq!(block.heap_size(), 0);
        }
    }
}
