//! What AddressSanitizer is told of memory that this program hands out by itself: which bytes are
//! nobody's for now. A read or write of one ends the process with a report.
//!
//! `cargo fuzz` has AddressSanitizer unless it is told otherwise, and so has `.ci/asan`, which sets
//! `asan`. In all other builds this does nothing.

/// Bytes behind each block that stay poisoned, so that what runs beyond one block is not taken for
/// something that is done to the next.
pub const RED_BYTES: usize = if IS_ON { 16 } else { 0 };

/// The sanitizer notes for each eight bytes how many of them may be used, from the first on. So
/// blocks are aligned to that where it is on.
pub const ALIGN: usize = if IS_ON { 8 } else { 1 };

const IS_ON: bool = cfg!(any(fuzzing, asan));

#[cfg(any(fuzzing, asan))]
unsafe extern "C" {
    fn __asan_poison_memory_region(start: *const u8, len: usize);
    fn __asan_unpoison_memory_region(start: *const u8, len: usize);
    #[cfg(test)]
    fn __asan_address_is_poisoned(place: *const u8) -> std::ffi::c_int;
}

/// Nobody may touch these bytes, which lie in memory of the allocator's, until `allow`.
#[inline(always)]
pub fn forbid(start: *const u8, len: usize) {
    #[cfg(any(fuzzing, asan))]
    // SAFETY: the sanitizer makes a note beside the bytes, and changes nothing of the program's.
    unsafe {
        __asan_poison_memory_region(start, len);
    }
    _ = (start, len);
}

#[inline(always)]
pub fn allow(start: *const u8, len: usize) {
    #[cfg(any(fuzzing, asan))]
    // SAFETY: as in `forbid`.
    unsafe {
        __asan_unpoison_memory_region(start, len);
    }
    _ = (start, len);
}

#[cfg(all(test, asan))]
pub fn is_forbidden(place: *const u8) -> bool {
    // SAFETY: the sanitizer looks at its notes.
    unsafe { __asan_address_is_poisoned(place) != 0 }
}
