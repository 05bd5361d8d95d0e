//! Telling the processor what is needed next: a walk over thousands of connections is a walk from one cache miss to
//! the next, and a system call lies between two of them, long enough for the memory to come.

/// Asks for the line of memory where `place` begins. A hint: nothing is read, nothing changes.
#[inline(always)]
pub fn prefetch<T>(place: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch reads nothing, and does not fault whatever the address.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(std::ptr::from_ref(place).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}
