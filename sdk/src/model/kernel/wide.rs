//! Elementwise loops, compiled for wider vectors. [`wide`] is for those outside this module, [`widened`] makes kernels.
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

/// Whether the wide variant of a [`widened`] kernel runs. Tests may say no.
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
#[inline]
pub(super) fn accelerated() -> bool {
    #[cfg(test)]
    if super::tests::BASELINE.get() {
        return false;
    }
    super::dispatch::has_avx2()
}

/// Kernels without an instruction of their own: plain loops, each compiled for the target's baseline and for AVX2, which
/// LLVM turns into vectors of either width. What they call must be `#[inline(always)]`.
macro_rules! widened {
    ($(
        $(#[$meta:meta])*
        $vis:vis fn $name:ident $(<$sink:ident>)? ($($arg:ident: $type:ty),* $(,)?) $(-> $out:ty)? $body:block
    )*) => {$(
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        $vis fn $name $(<$sink: $crate::model::kernel::GradSink>)? ($($arg: $type),*) $(-> $out)? {
            #[inline(always)]
            #[allow(clippy::too_many_arguments)]
            fn run $(<$sink: $crate::model::kernel::GradSink>)? ($($arg: $type),*) $(-> $out)? $body

            #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
            #[target_feature(enable = "avx2")]
            #[allow(clippy::too_many_arguments)]
            fn avx2 $(<$sink: $crate::model::kernel::GradSink>)? ($($arg: $type),*) $(-> $out)? {
                run($($arg),*)
            }

            #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
            if $crate::model::kernel::wide::accelerated() {
                #[allow(unsafe_code)]
                // SAFETY: the CPU has just been found to have AVX2.
                return unsafe { avx2($($arg),*) };
            }
            run($($arg),*)
        }
    )*};
}
pub(super) use widened;
