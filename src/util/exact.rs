//! Memory for values of 129 bytes to 4 KB, in steps of 4 bytes, or of a sixtieth of the size.
//!
//! The allocator has four sizes a doubling, so that 330 bytes take 384 and 2,100 take 2,560, which
//! is much where a hundred thousand values have about the same size. Here each size has pages of
//! its own. A page begins with a head; behind it lie blocks that are in use, blocks that were, each
//! leading to the next, and a rest that nobody has touched yet. A block finds its page by its
//! address, for pages are aligned to their size.
//!
//! Everything stands behind one lock, because blocks may be freed on any thread; nobody contends
//! for it. Functions are those of `std::alloc`, to which all other sizes go.
//!
//! Where AddressSanitizer is on, what is free in a page is poisoned, and some bytes behind each
//! block (`poison`).

use std::alloc::{self, Layout};
use std::ptr::{self, NonNull};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::alloc::count;
use super::poison;

const PAGE_BYTES: usize = 64 * 1024;

/// Smaller ones the allocator has in steps of 16 bytes.
const SIZE_MIN: usize = 129;
const SIZE_MAX: usize = 4096;

/// The smallest step between sizes, and what blocks are aligned to. Those whose size is a multiple
/// of `ALIGN_MAX` are aligned to that.
const STEP_MIN: usize = 4;
const ALIGN_MAX: usize = 8;

/// A doubling of the size has so many steps; below this size all are the smallest.
const STEPS: usize = 64;
const FINE_SIZE_MAX: usize = STEP_MIN * STEPS;

const CLASSES: usize = class_of(Layout::new::<[u8; SIZE_MAX + poison::RED_BYTES]>()) + 1;

struct Page {
    /// The neighbours in the list of pages of this size that have room.
    previous: *mut Page,
    next: *mut Page,
    /// The first of the blocks that were freed, each of which begins with the next.
    free: *mut Link,
    /// Where what nobody has touched begins, in bytes from the page's begin.
    fresh: u32,
    /// Blocks in use.
    used: u32,
}

/// Lies wherever a block does, aligned or not.
#[repr(C, packed)]
struct Link(*mut Link);

const HEAD_BYTES: usize = size_of::<Page>();

/// The first page of each size that has room.
struct Pages([*mut Page; CLASSES]);

// SAFETY: pages belong to nobody but this list, and whoever has the lock.
unsafe impl Send for Pages {}

static PAGES: Mutex<Pages> = Mutex::new(Pages([ptr::null_mut(); CLASSES]));

/// # Safety
/// As `std::alloc::alloc`.
#[inline]
pub unsafe fn alloc(layout: Layout) -> *mut u8 {
    if !is_ours(layout) {
        // SAFETY: the caller promises what that function asks for.
        return unsafe { alloc::alloc(layout) };
    }
    // SAFETY: the layout is one of ours.
    let block = unsafe { pages().take(layout) };
    if !block.is_null() {
        count(layout.size() as isize);
    }
    block
}

/// # Safety
/// As `std::alloc::dealloc`, of what came from here.
#[inline]
pub unsafe fn dealloc(block: *mut u8, layout: Layout) {
    if !is_ours(layout) {
        // SAFETY: a block of such a layout came from there, and the caller gives it up.
        return unsafe { alloc::dealloc(block, layout) };
    }
    // SAFETY: a block of such a layout came from `take`, and the caller gives it up.
    unsafe { pages().put_back(block, layout) };
    count(-(layout.size() as isize));
}

/// # Safety
/// As `std::alloc::realloc`, of what came from here.
pub unsafe fn realloc(block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
    let Ok(new_layout) = Layout::from_size_align(new_size, layout.align()) else {
        return ptr::null_mut();
    };
    // SAFETY: the layout says which of the two the block came from, as in `dealloc`. Of two blocks
    // both are as large as what is copied, and the new one is nobody else's.
    unsafe {
        match (is_ours(layout), is_ours(new_layout)) {
            (false, false) => return alloc::realloc(block, layout, new_size),
            (true, true) if class_for(layout) == class_for(new_layout) => {
                poison::forbid(block, layout.size());
                poison::allow(block, new_size);
                count(new_size as isize - layout.size() as isize);
                return block;
            }
            _ => {}
        }
        let new_block = self::alloc(new_layout);
        if !new_block.is_null() {
            ptr::copy_nonoverlapping(block, new_block, layout.size().min(new_size));
            self::dealloc(block, layout);
        }
        new_block
    }
}

fn is_ours(layout: Layout) -> bool {
    (SIZE_MIN..=SIZE_MAX).contains(&layout.size()) && layout.align() <= ALIGN_MAX
}

/// The class of the blocks for a layout of ours.
fn class_for(layout: Layout) -> usize {
    let size = layout.size() + poison::RED_BYTES;
    // The size is far from overflowing, and both alignments are powers of two.
    let layout = Layout::from_size_align(size, layout.align().max(poison::ALIGN));
    class_of(layout.expect("the layout is valid"))
}

/// The number of the least size that is no smaller, and aligned as it should be.
const fn class_of(layout: Layout) -> usize {
    let last = layout.pad_to_align().size() - 1;
    let doublings = match (last / FINE_SIZE_MAX).checked_ilog2() {
        Some(doublings) => doublings as usize,
        None => 0,
    };
    doublings * STEPS + last / (STEP_MIN << doublings)
}

fn size_of_class(class: usize) -> usize {
    let doublings = (class / STEPS).saturating_sub(1);
    (class + 1 - doublings * STEPS) * (STEP_MIN << doublings)
}

fn pages() -> MutexGuard<'static, Pages> {
    // Nothing panics while it is held.
    PAGES.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pages {
    /// Null if there is no memory.
    ///
    /// # Safety
    /// The layout is one of ours, so that blocks for it are large enough for a link.
    unsafe fn take(&mut self, layout: Layout) -> *mut u8 {
        let class = class_for(layout);
        let size = size_of_class(class);
        // SAFETY: pages in the lists are ours and have room: a freed block, or a fresh one that
        // ends within the page.
        unsafe {
            if self.0[class].is_null() {
                let Some(page) = Page::new() else { return ptr::null_mut() };
                self.link(class, page.as_ptr());
            }
            let page = self.0[class];
            let block = (*page).free;
            let block = if block.is_null() {
                (*page).fresh += size as u32;
                page.cast::<u8>().add((*page).fresh as usize - size)
            } else {
                poison::allow(block.cast(), size_of::<Link>());
                (*page).free = (*block).0;
                block.cast()
            };
            poison::allow(block, layout.size());
            (*page).used += 1;
            if (*page).is_full(size) {
                self.unlink(class, page);
            }
            block
        }
    }

    /// # Safety
    /// The block came from `take` for a layout of this class, and is given up.
    unsafe fn put_back(&mut self, block: *mut u8, layout: Layout) {
        let class = class_for(layout);
        let size = size_of_class(class);
        // SAFETY: the block lies in a page, behind the head of it, and is large enough for a link.
        unsafe {
            let page = block.map_addr(|address| address & !(PAGE_BYTES - 1)).cast::<Page>();
            if (*page).is_full(size) {
                self.link(class, page);
            }
            let block = block.cast::<Link>();
            block.write(Link((*page).free));
            (*page).free = block;
            poison::forbid(block.cast(), size);
            (*page).used -= 1;
            // The last one stays, so that no page comes and goes with one block.
            if (*page).used == 0 && !(*page).is_alone() {
                self.unlink(class, page);
                Page::drop(page);
            }
        }
    }

    /// # Safety
    /// The page is of this class, and in no list.
    unsafe fn link(&mut self, class: usize, page: *mut Page) {
        // SAFETY: the page is ours, and so is whatever is in a list; a page that is given back to
        // the allocator is in none.
        unsafe {
            let next = self.0[class];
            (*page).previous = ptr::null_mut();
            (*page).next = next;
            if !next.is_null() {
                (*next).previous = page;
            }
        }
        self.0[class] = page;
    }

    /// # Safety
    /// The page is in the list of this class.
    unsafe fn unlink(&mut self, class: usize, page: *mut Page) {
        // SAFETY: as in `link`; neighbours are in the same list.
        unsafe {
            let (previous, next) = ((*page).previous, (*page).next);
            if previous.is_null() {
                self.0[class] = next;
            } else {
                (*previous).next = next;
            }
            if !next.is_null() {
                (*next).previous = previous;
            }
        }
    }
}

impl Page {
    const LAYOUT: Layout = match Layout::from_size_align(PAGE_BYTES, PAGE_BYTES) {
        Ok(layout) => layout,
        Err(_) => unreachable!(),
    };

    /// What lies in a page counts as allocated, not the page.
    fn new() -> Option<NonNull<Self>> {
        // SAFETY: the layout is not empty; the head lies at the begin of the page.
        unsafe {
            let page = NonNull::new(alloc::alloc(Self::LAYOUT).cast::<Self>())?;
            count(-(PAGE_BYTES as isize));
            page.write(Self {
                previous: ptr::null_mut(),
                next: ptr::null_mut(),
                free: ptr::null_mut(),
                fresh: HEAD_BYTES as u32,
                used: 0,
            });
            poison::forbid(page.cast::<u8>().as_ptr().add(HEAD_BYTES), PAGE_BYTES - HEAD_BYTES);
            Some(page)
        }
    }

    /// # Safety
    /// It came from `new`, and nothing in it is in use.
    unsafe fn drop(page: *mut Self) {
        count(PAGE_BYTES as isize);
        poison::allow(page.cast(), PAGE_BYTES);
        // SAFETY: `new` allocated it with this layout, and nobody has a block in it.
        unsafe { alloc::dealloc(page.cast(), Self::LAYOUT) }
    }

    /// Whether no other page of this size has room.
    fn is_alone(&self) -> bool {
        self.previous.is_null() && self.next.is_null()
    }

    fn is_full(&self, size: usize) -> bool {
        self.free.is_null() && self.fresh as usize + size > PAGE_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::rng::Rng;

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).unwrap()
    }

    #[test]
    fn sizes_are_rounded_up_a_little() {
        for size in 1..=SIZE_MAX {
            let class = class_of(layout(size, 1));
            let rounded = size_of_class(class);
            assert!((size..size + STEP_MIN.max(size / 60)).contains(&rounded), "{size} {rounded}");
            assert_eq!(class_of(layout(rounded, 1)), class);
            assert!(class == 0 || size_of_class(class - 1) < size);
            assert!(size_of_class(class_of(layout(size, ALIGN_MAX))).is_multiple_of(ALIGN_MAX));
        }
    }

    /// In pages of its own, since other tests take what this one gives back.
    #[cfg(asan)]
    #[test]
    fn what_is_free_is_poisoned() {
        for (size, align) in [(129, 4), (130, 1), (336, 8), (1_001, 4), (4_096, 8)] {
            let mut pages = Pages([ptr::null_mut(); CLASSES]);
            let layout = layout(size, align);
            // SAFETY: blocks are given back once, with their layout; then the page, which is empty.
            unsafe {
                let (block, next) = (pages.take(layout), pages.take(layout));
                let is_free = |at: usize| poison::is_forbidden(block.wrapping_add(at));
                assert!(!(0..size).any(is_free));
                assert!((size..size + poison::RED_BYTES).all(is_free));
                pages.put_back(block, layout);
                assert!((0..size).all(is_free));
                assert_eq!(pages.take(layout), block);
                assert!(!(0..size).any(is_free));
                [block, next].map(|block| pages.put_back(block, layout));
                assert!((0..2 * size).all(is_free));
                Page::drop(pages.0[class_for(layout)]);
            }
        }
    }

    /// Nobody writes where another one's bytes are.
    #[test]
    fn blocks_keep_what_is_in_them() {
        let mut rng = Rng::from_seed(1);
        let layout = |len: usize| layout(len, if len.is_multiple_of(3) { 8 } else { 4 });
        let check = |&(block, len): &(*mut u8, usize)| {
            // SAFETY: as many bytes were written.
            let bytes = unsafe { std::slice::from_raw_parts(block, len) };
            assert!(bytes.iter().all(|&byte| byte == len as u8), "{len}");
            assert!(block.addr().is_multiple_of(layout(len.max(1)).align()));
        };
        let mut blocks = Vec::new();
        for round in 0..40 {
            let (low, high) = [(1, 200), (300, 320), (1_000, 4_200)][rng.below(3)];
            for _ in 0..rng.below(1_000) {
                let len = low + rng.below(high - low);
                // SAFETY: blocks are written within their layouts, which go along with them.
                let block = unsafe {
                    match blocks.pop() {
                        Some((old, old_len)) if old_len % 3 == len % 3 => {
                            let block = realloc(old, layout(old_len), len);
                            let kept = std::slice::from_raw_parts(block, len.min(old_len));
                            assert!(kept.iter().all(|&byte| byte == old_len as u8));
                            block
                        }
                        other => {
                            blocks.extend(other);
                            alloc(layout(len))
                        }
                    }
                };
                // SAFETY: as above.
                unsafe { block.write_bytes(len as u8, len) };
                blocks.push((block, len));
            }
            blocks.iter().for_each(check);
            let kept = if round == 39 { 0 } else { rng.below(blocks.len() + 1) };
            while blocks.len() > kept {
                let (block, len) = blocks.swap_remove(rng.below(blocks.len()));
                // SAFETY: as above.
                unsafe { dealloc(block, layout(len)) };
            }
        }
    }
}
