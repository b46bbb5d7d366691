//! The registers of each target: [`Four`] lanes everywhere, and the wide ones of x86.
//!
//! Values of `Ymm` and `Zmm` must only be made in functions that are compiled for AVX2 or AVX-512 and run after the CPU was
//! asked: only `dispatch` names their instruction sets, and only in such functions.
#![allow(unsafe_code)]

#[cfg(target_arch = "aarch64")]
use core::arch::aarch64 as arch;
#[cfg(target_arch = "x86")]
use core::arch::x86 as arch;
#[cfg(target_arch = "x86_64")]
use core::arch::x86_64 as arch;

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
use super::lanes::EightColumns;
#[cfg(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64"))]
use super::vector::{Bits, Quad, Vector, chunk};
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
use super::vector::{Eight, Isa, Pair, Sixteen};

#[cfg(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! vector {
    ($type:ident, $lanes:literal, $splat:ident, $add:ident, $mul:ident) => {
        impl Vector for $type {
            const LANES: usize = $lanes;

            #[inline(always)]
            fn splat(value: f32) -> Self {
                // SAFETY: the register's instruction set is there, see its type.
                Self(unsafe { arch::$splat(value) })
            }

            #[inline(always)]
            fn from_slice(data: &[f32]) -> Self {
                Self(bytemuck::must_cast::<[f32; $lanes], _>(chunk(data)))
            }

            #[inline(always)]
            fn to_slice(self, data: &mut [f32]) {
                data.copy_from_slice(&bytemuck::must_cast::<_, [f32; $lanes]>(self.0));
            }

            #[inline(always)]
            fn add(self, other: Self) -> Self {
                // SAFETY: the register's instruction set is there, see its type.
                Self(unsafe { arch::$add(self.0, other.0) })
            }

            #[inline(always)]
            fn mul(self, other: Self) -> Self {
                // SAFETY: the register's instruction set is there, see its type.
                Self(unsafe { arch::$mul(self.0, other.0) })
            }
        }
    };
}

/// One SSE register; every x86-64 has them, and so has every 32-bit x86 target of Rust that has floats in registers.
#[cfg(all(any(target_arch = "x86", target_arch = "x86_64"), target_feature = "sse2"))]
#[derive(Clone, Copy)]
pub(super) struct Four(arch::__m128);

#[cfg(all(any(target_arch = "x86", target_arch = "x86_64"), target_feature = "sse2"))]
vector!(Four, 4, _mm_set1_ps, _mm_add_ps, _mm_mul_ps);

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
macro_rules! x86_bits {
    ($type:ident, $and:ident, $and_not:ident, $or:ident, $compare:ident) => {
        impl Bits for $type {
            #[inline(always)]
            fn and(self, mask: Self) -> Self {
                // SAFETY: the register's instruction set is there, see its type.
                Self(unsafe { arch::$and(self.0, mask.0) })
            }

            #[inline(always)]
            fn and_not(self, mask: Self) -> Self {
                // SAFETY: the register's instruction set is there, see its type.
                Self(unsafe { arch::$and_not(mask.0, self.0) })
            }

            #[inline(always)]
            fn same(self, other: Self) -> Self {
                // SAFETY: the register's instruction set is there, see its type.
                unsafe {
                    let nans = arch::$and($compare::unordered(self.0, self.0), $compare::unordered(other.0, other.0));
                    Self(arch::$or($compare::equal(self.0, other.0), nans))
                }
            }
        }
    };
}

#[cfg(all(any(target_arch = "x86", target_arch = "x86_64"), target_feature = "sse2"))]
mod compare4 {
    pub(super) use super::arch::{_mm_cmpeq_ps as equal, _mm_cmpunord_ps as unordered};
}

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
mod compare8 {
    use super::arch::{__m256, _CMP_EQ_OQ, _CMP_UNORD_Q, _mm256_cmp_ps};

    #[inline]
    #[target_feature(enable = "avx")]
    pub(super) fn equal(a: __m256, b: __m256) -> __m256 {
        _mm256_cmp_ps::<_CMP_EQ_OQ>(a, b)
    }

    #[inline]
    #[target_feature(enable = "avx")]
    pub(super) fn unordered(a: __m256, b: __m256) -> __m256 {
        _mm256_cmp_ps::<_CMP_UNORD_Q>(a, b)
    }
}

#[cfg(all(any(target_arch = "x86", target_arch = "x86_64"), target_feature = "sse2"))]
x86_bits!(Four, _mm_and_ps, _mm_andnot_ps, _mm_or_ps, compare4);

#[cfg(all(any(target_arch = "x86", target_arch = "x86_64"), target_feature = "sse2"))]
impl Quad for Four {
    #[inline(always)]
    fn tree4([s0, s1, s2, s3]: [Self; 4]) -> [f32; 4] {
        use arch::{_mm_add_ps, _mm_movehl_ps, _mm_movelh_ps, _mm_unpackhi_ps, _mm_unpacklo_ps};
        // SAFETY: the target has SSE2.
        unsafe {
            // (s0[0]+s0[2], s1[0]+s1[2], s0[1]+s0[3], s1[1]+s1[3])
            let a = _mm_add_ps(_mm_unpacklo_ps(s0.0, s1.0), _mm_unpackhi_ps(s0.0, s1.0));
            let b = _mm_add_ps(_mm_unpacklo_ps(s2.0, s3.0), _mm_unpackhi_ps(s2.0, s3.0));
            bytemuck::must_cast(_mm_add_ps(_mm_movelh_ps(a, b), _mm_movehl_ps(b, a)))
        }
    }
}

/// One NEON register; every AArch64 target of Rust with hardware floats has them.
#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
#[derive(Clone, Copy)]
pub(super) struct Four(arch::float32x4_t);

#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
vector!(Four, 4, vdupq_n_f32, vaddq_f32, vmulq_f32);

#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
impl Bits for Four {
    #[inline(always)]
    fn and(self, mask: Self) -> Self {
        use bytemuck::must_cast as cast;
        // SAFETY: the target has NEON.
        Self(cast(unsafe { arch::vandq_u32(cast(self.0), cast(mask.0)) }))
    }

    #[inline(always)]
    fn and_not(self, mask: Self) -> Self {
        use bytemuck::must_cast as cast;
        // SAFETY: the target has NEON.
        Self(cast(unsafe { arch::vbicq_u32(cast(self.0), cast(mask.0)) }))
    }

    #[inline(always)]
    fn same(self, other: Self) -> Self {
        use arch::{vceqq_f32, vmvnq_u32, vorrq_u32};
        // SAFETY: the target has NEON.
        let mask = unsafe {
            // Neither equals itself.
            let nans = vmvnq_u32(vorrq_u32(vceqq_f32(self.0, self.0), vceqq_f32(other.0, other.0)));
            vorrq_u32(vceqq_f32(self.0, other.0), nans)
        };
        Self(bytemuck::must_cast(mask))
    }
}

#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
impl Quad for Four {
    #[inline(always)]
    fn tree4([s0, s1, s2, s3]: [Self; 4]) -> [f32; 4] {
        use arch::{vaddq_f32, vcombine_f32, vget_high_f32, vget_low_f32, vzip1q_f32, vzip2q_f32};
        // SAFETY: the target has NEON.
        unsafe {
            // (s0[0]+s0[2], s1[0]+s1[2], s0[1]+s0[3], s1[1]+s1[3])
            let a = vaddq_f32(vzip1q_f32(s0.0, s1.0), vzip2q_f32(s0.0, s1.0));
            let b = vaddq_f32(vzip1q_f32(s2.0, s3.0), vzip2q_f32(s2.0, s3.0));
            let low = vcombine_f32(vget_low_f32(a), vget_low_f32(b));
            let high = vcombine_f32(vget_high_f32(a), vget_high_f32(b));
            bytemuck::must_cast(vaddq_f32(low, high))
        }
    }
}

/// Scalars, where there are no vector registers.
#[cfg(not(any(
    all(any(target_arch = "x86", target_arch = "x86_64"), target_feature = "sse2"),
    all(target_arch = "aarch64", target_feature = "neon")
)))]
pub(super) use super::scalars::Scalars as Four;

/// AVX2: eight lanes in a register, sixteen in two.
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
pub(super) struct Avx2;

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
impl Isa for Avx2 {
    type V4 = Four;
    type V8 = Ymm;
    type V16 = Pair<Ymm>;
    type Run = Pair<Pair<Pair<Ymm>>>;
    const VECTORS: bool = true;
    const WIDE: bool = true;
    const LANES: usize = 16;
}

/// AVX-512 F, BW and VL, which only the Xeon Phi has not all of: sixteen lanes in a register.
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
pub(super) struct Avx512;

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
impl Isa for Avx512 {
    type V4 = Four;
    type V8 = Ymm;
    type V16 = Zmm;
    type Run = Pair<Pair<Zmm>>;
    const VECTORS: bool = true;
    const WIDE: bool = true;
    const LANES: usize = 32;
}

/// One AVX register. To be used only in functions compiled for AVX2 and called where the CPU has it.
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
#[derive(Clone, Copy)]
pub(super) struct Ymm(arch::__m256);

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
vector!(Ymm, 8, _mm256_set1_ps, _mm256_add_ps, _mm256_mul_ps);

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
x86_bits!(Ymm, _mm256_and_ps, _mm256_andnot_ps, _mm256_or_ps, compare8);

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
impl Eight for Ymm {
    type Half = Four;

    #[inline(always)]
    fn fold(self) -> Four {
        let [low, high]: [[f32; 4]; 2] = bytemuck::must_cast(self.0);
        Four::from_slice(&low).add(Four::from_slice(&high))
    }

    #[inline(always)]
    fn gather(data: &[f32], places: EightColumns) -> Self {
        let places = places.below(data.len());
        // SAFETY: all places lie within the slice.
        let at = |lane: usize| unsafe { *data.get_unchecked(usize::from(places[lane])) };
        // Eight loads: a gather takes twice as long.
        // SAFETY: the register's instruction set is there, see its type.
        Self(unsafe { arch::_mm256_setr_ps(at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7)) })
    }

    /// Two sums a register: half as many instructions as two of four.
    #[inline(always)]
    fn tree8([a, b, c, d, e, f, g, h]: [Self; 8]) -> [f32; 8] {
        use arch::{_mm256_add_ps as add, _mm256_permute2f128_ps as halves, _mm256_shuffle_ps as pick};
        use arch::{_mm256_unpackhi_ps as high, _mm256_unpacklo_ps as low};
        // SAFETY: the register's instruction set is there, see its type.
        unsafe {
            // Lanes 0 to 3 of the folded sum `t` beside those of the folded sum `t + 4`.
            let ae = add(halves::<0x20>(a.0, e.0), halves::<0x31>(a.0, e.0));
            let bf = add(halves::<0x20>(b.0, f.0), halves::<0x31>(b.0, f.0));
            let cg = add(halves::<0x20>(c.0, g.0), halves::<0x31>(c.0, g.0));
            let dh = add(halves::<0x20>(d.0, h.0), halves::<0x31>(d.0, h.0));
            // Of each half: (a[0]+a[2], b[0]+b[2], a[1]+a[3], b[1]+b[3]).
            let abef = add(low(ae, bf), high(ae, bf));
            let cdgh = add(low(cg, dh), high(cg, dh));
            let all = add(pick::<0b01_00_01_00>(abef, cdgh), pick::<0b11_10_11_10>(abef, cdgh));
            bytemuck::must_cast(all)
        }
    }
}

/// One AVX-512 register. To be used only in functions compiled for AVX-512 and called where the CPU has it.
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
#[derive(Clone, Copy)]
pub(super) struct Zmm(arch::__m512);

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
vector!(Zmm, 16, _mm512_set1_ps, _mm512_add_ps, _mm512_mul_ps);

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
impl Sixteen for Zmm {
    type Half = Ymm;

    #[inline(always)]
    fn join(low: Ymm, high: Ymm) -> Self {
        use arch::{_mm256_castps_pd, _mm512_castpd_ps, _mm512_castpd256_pd512, _mm512_insertf64x4};
        // SAFETY: the register's instruction set is there, see its type.
        Self(unsafe {
            let low = _mm512_castpd256_pd512(_mm256_castps_pd(low.0));
            _mm512_castpd_ps(_mm512_insertf64x4::<1>(low, _mm256_castps_pd(high.0)))
        })
    }

    #[inline(always)]
    fn twice(half: Ymm) -> Self {
        use arch::{_mm256_castps_pd, _mm512_broadcast_f64x4, _mm512_castpd_ps};
        // SAFETY: the register's instruction set is there, see its type.
        Self(unsafe { _mm512_castpd_ps(_mm512_broadcast_f64x4(_mm256_castps_pd(half.0))) })
    }

    #[inline(always)]
    fn halves(self) -> [Ymm; 2] {
        let [low, high]: [arch::__m256; 2] = bytemuck::must_cast(self.0);
        [Ymm(low), Ymm(high)]
    }
}
