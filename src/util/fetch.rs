//! Asking for memory ahead of its use, so that several slow reads take place at once.

/// Begins to bring the first bytes of `place` into the cache. Changes nothing else, and nothing at
/// all where the machine has no such instruction.
#[inline(always)]
pub fn fetch<T: ?Sized>(place: &T) {
    fetch_line(std::ptr::from_ref(place).cast());
}

/// As `fetch` for all bytes of something that is not empty.
#[inline(always)]
pub fn fetch_whole<T>(place: &T) {
    const LINE_BYTES: usize = 64;
    let start: *const i8 = std::ptr::from_ref(place).cast();
    for offset in (0..size_of::<T>()).step_by(LINE_BYTES) {
        fetch_line(start.wrapping_add(offset));
    }
    // Unless it begins with a line, its end is in another one.
    fetch_line(start.wrapping_add(size_of::<T>() - 1));
}

#[inline(always)]
fn fetch_line(place: *const i8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch has no effect on the program, whatever it is given.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch(place, _MM_HINT_T0);
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}
