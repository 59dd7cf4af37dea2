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

use std::alloc::{self, Layout};
use std::ptr::{self, NonNull};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::alloc::count;

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

const CLASSES: usize = class_of(Layout::new::<[u8; SIZE_MAX]>()) + 1;

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
pub unsafe fn alloc(layout: Layout) -> *mut u8 {
    if !is_ours(layout) {
        // SAFETY: the caller's.
        return unsafe { alloc::alloc(layout) };
    }
    // SAFETY: the lock is held.
    let block = unsafe { pages().take(class_of(layout)) };
    if !block.is_null() {
        count(layout.size() as isize);
    }
    block
}

/// # Safety
/// As `std::alloc::dealloc`, of what came from here.
pub unsafe fn dealloc(block: *mut u8, layout: Layout) {
    if !is_ours(layout) {
        // SAFETY: the caller's.
        return unsafe { alloc::dealloc(block, layout) };
    }
    // SAFETY: a layout says where its block came from, and the class of which.
    unsafe { pages().put_back(block, class_of(layout)) };
    count(-(layout.size() as isize));
}

/// # Safety
/// As `std::alloc::realloc`, of what came from here.
pub unsafe fn realloc(block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
    let Ok(new_layout) = Layout::from_size_align(new_size, layout.align()) else {
        return ptr::null_mut();
    };
    // SAFETY: the caller's; and both blocks are as large as what is copied.
    unsafe {
        match (is_ours(layout), is_ours(new_layout)) {
            (false, false) => return alloc::realloc(block, layout, new_size),
            (true, true) if class_of(layout) == class_of(new_layout) => {
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

/// Sanitizers watch over blocks of the allocator only.
fn is_ours(layout: Layout) -> bool {
    (SIZE_MIN..=SIZE_MAX).contains(&layout.size()) && layout.align() <= ALIGN_MAX && !cfg!(fuzzing)
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
    unsafe fn take(&mut self, class: usize) -> *mut u8 {
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
                (*page).free = (*block).0;
                block.cast()
            };
            (*page).used += 1;
            if (*page).is_full(size) {
                self.unlink(class, page);
            }
            block
        }
    }

    /// # Safety
    /// The block came from `take` for this class.
    unsafe fn put_back(&mut self, block: *mut u8, class: usize) {
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
            (*page).used -= 1;
            // The last one stays, so that no page comes and goes with one block.
            if (*page).used == 0 && !(*page).is_alone() {
                self.unlink(class, page);
                Page::drop(page);
            }
        }
    }

    unsafe fn link(&mut self, class: usize, page: *mut Page) {
        // SAFETY: whatever is in a list is a page of ours.
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

    unsafe fn unlink(&mut self, class: usize, page: *mut Page) {
        // SAFETY: as in `link`.
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
            Some(page)
        }
    }

    /// # Safety
    /// It came from `new`, and nothing in it is in use.
    unsafe fn drop(page: *mut Self) {
        count(PAGE_BYTES as isize);
        // SAFETY: the caller's.
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
