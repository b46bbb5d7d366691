//! Elementwise loops outside this module, compiled for wider vectors.
#![allow(unsafe_code)]

/// A loop over elements that do not depend on each other (or whose sums are defined in lanes): it computes the same with
/// vectors of any width.
pub(crate) trait Work {
    /// What it returns.
    type Output;

    /// Does it. Mark the implementation `#[inline(always)]`: only what is inlined is compiled for the wider vectors, which
    /// a closure would not be.
    fn run(self) -> Self::Output;
}

/// Runs `work` compiled for the widest integer vectors of this CPU.
#[inline]
pub(crate) fn wide<W: Work>(work: W) -> W::Output {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    if super::dispatch::has_avx2() {
        // SAFETY: the CPU has just been found to have AVX2.
        return unsafe { avx2(work) };
    }
    work.run()
}

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
#[target_feature(enable = "avx2")]
fn avx2<W: Work>(work: W) -> W::Output {
    work.run()
}
