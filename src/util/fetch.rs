//! Asking for memory ahead of its use, so that several slow reads take place at once.

/// What can be asked for before it is read. To ask changes nothing, and waits for no memory but
/// what was asked for before.
pub trait Fetch {
    /// What a lookup goes by; nothing, where there is only one thing to read.
    type By;

    /// Asks for what a lookup reads first.
    fn fetch(&self, by: Self::By);
}

/// Begins to bring the first bytes of `place` into the cache. Does nothing where the machine has no
/// such instruction.
#[inline(always)]
pub fn fetch_start<T: ?Sized>(place: &T) {
    fetch_line(std::ptr::from_ref(place).cast());
}

/// As `fetch_start` for all bytes.
#[inline(always)]
pub fn fetch_whole<T>(place: &T) {
    const LINE_BYTES: usize = 64;
    let start: *const i8 = std::ptr::from_ref(place).cast();
    for offset in (0..size_of::<T>()).step_by(LINE_BYTES) {
        fetch_line(start.wrapping_add(offset));
    }
    // Unless it begins with a line, its end is in another one.
    fetch_line(start.wrapping_add(size_of::<T>().saturating_sub(1)));
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
