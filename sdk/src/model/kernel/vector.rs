//! Vectors of `f32`, so that the loops can be written once for every register width.
//!
//! Arrays and loops over them would do if LLVM kept them in registers; with more than a few rows of accumulators it does
//! not. Here each operation is one instruction by construction. All of them are exactly rounded lane by lane.
//!
//! Everything between a kernel and an operation must be `#[inline(always)]`. Closures handed to `map`, `from_fn` and the
//! like must not touch vectors: they may end up in a function of their own, which lacks the instruction set, and every
//! operation in it becomes a call.

use super::lanes::EightColumns;
use super::registers::Four;

/// A register or a few of them.
pub(super) trait Vector: Copy {
    /// How many values it holds.
    const LANES: usize;

    /// The same value in every lane.
    fn splat(value: f32) -> Self;
    /// From a slice of exactly [`LANES`](Self::LANES) values.
    fn from_slice(data: &[f32]) -> Self;
    /// To a slice of exactly [`LANES`](Self::LANES) values.
    fn to_slice(self, data: &mut [f32]);
    /// Lane by lane.
    fn add(self, other: Self) -> Self;
    /// Lane by lane.
    fn mul(self, other: Self) -> Self;

    /// `self + a * x`, the product rounded before the sum.
    #[inline(always)]
    fn axpy(self, a: Self, x: Self) -> Self {
        self.add(a.mul(x))
    }

    /// The values from `at` on, if there are so many.
    #[inline(always)]
    fn get(data: &[f32], at: usize) -> Option<Self> {
        Some(Self::from_slice(data.get(at..)?.get(..Self::LANES)?))
    }

    /// The values from `at` on.
    #[inline(always)]
    fn load(data: &[f32], at: usize) -> Self {
        Self::from_slice(&data[at..at + Self::LANES])
    }

    /// Over the values from `at` on.
    #[inline(always)]
    fn store(self, data: &mut [f32], at: usize) {
        self.to_slice(&mut data[at..at + Self::LANES]);
    }

    /// Over the first `left` values from `at` on, at most as many as there are lanes, at most 16.
    #[inline(always)]
    fn store_first(self, data: &mut [f32], at: usize, left: usize) {
        if left >= Self::LANES {
            self.store(data, at);
        } else {
            let mut all = [0.0; 16];
            self.to_slice(&mut all[..Self::LANES]);
            data[at..at + left].copy_from_slice(&all[..left]);
        }
    }
}

/// All values of a slice of `N`.
#[inline(always)]
pub(super) fn chunk<const N: usize>(data: &[f32]) -> [f32; N] {
    *data.first_chunk().expect("as many values as lanes")
}

impl Vector for f32 {
    const LANES: usize = 1;

    #[inline(always)]
    fn splat(value: f32) -> Self {
        value
    }

    #[inline(always)]
    fn from_slice(data: &[f32]) -> Self {
        data[0]
    }

    #[inline(always)]
    fn to_slice(self, data: &mut [f32]) {
        data[0] = self;
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self + other
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        self * other
    }
}

/// Twice the lanes.
#[derive(Clone, Copy)]
pub(super) struct Pair<V>(pub(super) V, pub(super) V);

impl<V: Vector> Vector for Pair<V> {
    const LANES: usize = 2 * V::LANES;

    #[inline(always)]
    fn splat(value: f32) -> Self {
        Self(V::splat(value), V::splat(value))
    }

    #[inline(always)]
    fn from_slice(data: &[f32]) -> Self {
        Self(V::from_slice(&data[..V::LANES]), V::from_slice(&data[V::LANES..2 * V::LANES]))
    }

    #[inline(always)]
    fn to_slice(self, data: &mut [f32]) {
        self.0.to_slice(&mut data[..V::LANES]);
        self.1.to_slice(&mut data[V::LANES..2 * V::LANES]);
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(self.0.add(other.0), self.1.add(other.1))
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Self(self.0.mul(other.0), self.1.mul(other.1))
    }
}

/// Lanes as bit patterns. A mask has lanes of all ones or all zeros.
pub(super) trait Bits: Vector {
    /// The lanes under the mask, `+0.0` elsewhere.
    fn and(self, mask: Self) -> Self;
    /// The lanes outside the mask, `+0.0` under it.
    fn and_not(self, mask: Self) -> Self;
    /// The mask of lanes that are equal (zeros of either sign are) or NaN in both.
    fn same(self, other: Self) -> Self;
}

impl Bits for f32 {
    #[inline(always)]
    fn and(self, mask: Self) -> Self {
        Self::from_bits(self.to_bits() & mask.to_bits())
    }

    #[inline(always)]
    fn and_not(self, mask: Self) -> Self {
        Self::from_bits(self.to_bits() & !mask.to_bits())
    }

    #[inline(always)]
    fn same(self, other: Self) -> Self {
        Self::from_bits(if self == other || (self.is_nan() && other.is_nan()) { u32::MAX } else { 0 })
    }
}

impl<V: Bits> Bits for Pair<V> {
    #[inline(always)]
    fn and(self, mask: Self) -> Self {
        Self(self.0.and(mask.0), self.1.and(mask.1))
    }

    #[inline(always)]
    fn and_not(self, mask: Self) -> Self {
        Self(self.0.and_not(mask.0), self.1.and_not(mask.1))
    }

    #[inline(always)]
    fn same(self, other: Self) -> Self {
        Self(self.0.same(other.0), self.1.same(other.1))
    }
}

/// Four lanes.
pub(super) trait Quad: Bits {
    /// `(s[0]+s[2]) + (s[1]+s[3])` of each.
    fn tree4(sums: [Self; 4]) -> [f32; 4];
}

/// Eight lanes that can be folded for a lane sum.
pub(super) trait Eight: Bits {
    /// Four lanes.
    type Half: Quad;

    /// Lane `l` plus lane `l + 4`.
    fn fold(self) -> Self::Half;

    /// The values at these places.
    #[inline(always)]
    fn gather(data: &[f32], places: EightColumns) -> Self {
        let mut lanes = [0.0; 8];
        for (lane, place) in lanes.iter_mut().zip(places.below(data.len())) {
            *lane = data[usize::from(place)];
        }
        Self::from_slice(&lanes)
    }

    /// The ends of eight lane sums.
    #[inline(always)]
    fn tree8([a, b, c, d, e, f, g, h]: [Self; 8]) -> [f32; 8] {
        let ([a, b, c, d], [e, f, g, h]) = (tree4([a, b, c, d]), tree4([e, f, g, h]));
        [a, b, c, d, e, f, g, h]
    }
}

impl<V: Quad> Eight for Pair<V> {
    type Half = V;

    #[inline(always)]
    fn fold(self) -> V {
        self.0.add(self.1)
    }
}

/// Two times eight lanes.
pub(super) trait Sixteen: Vector {
    /// Eight lanes.
    type Half: Eight;

    /// The lanes of one and then of the other.
    fn join(low: Self::Half, high: Self::Half) -> Self;
    /// The same lanes twice.
    fn twice(half: Self::Half) -> Self;
    /// Undoes [`join`](Self::join).
    fn halves(self) -> [Self::Half; 2];
}

impl<V: Eight> Sixteen for Pair<V> {
    type Half = V;

    #[inline(always)]
    fn join(low: V, high: V) -> Self {
        Self(low, high)
    }

    #[inline(always)]
    fn twice(half: V) -> Self {
        Self(half, half)
    }

    #[inline(always)]
    fn halves(self) -> [V; 2] {
        [self.0, self.1]
    }
}

/// The ends of four lane sums.
#[inline(always)]
pub(super) fn tree4<V: Eight>([a, b, c, d]: [V; 4]) -> [f32; 4] {
    V::Half::tree4([a.fold(), b.fold(), c.fold(), d.fold()])
}

/// The vectors of an instruction set.
pub(super) trait Isa {
    /// 4 lanes.
    type V4: Quad;
    /// 8 lanes.
    type V8: Eight;
    /// 16 lanes.
    type V16: Sixteen<Half = Self::V8>;
    /// Sums along a run of memory that fit in the registers together.
    type Run: Vector;
    /// Whether there are vector registers at all.
    const VECTORS: bool;
    /// Whether blocks of 16 lanes leave registers for several of them.
    const WIDE: bool;
    /// The most lanes of which several blocks fit in the registers.
    const LANES: usize;
}

/// The target's baseline.
pub(super) struct Portable;

impl Isa for Portable {
    type V4 = Four;
    type V8 = Pair<Four>;
    type V16 = Pair<Pair<Four>>;
    #[cfg(target_pointer_width = "64")]
    type Run = Pair<Pair<Pair<Four>>>;
    #[cfg(not(target_pointer_width = "64"))]
    type Run = Pair<Pair<Four>>;
    const VECTORS: bool = cfg!(any(
        all(any(target_arch = "x86", target_arch = "x86_64"), target_feature = "sse2"),
        all(target_arch = "aarch64", target_feature = "neon")
    ));
    const WIDE: bool = false;
    const LANES: usize = 8;
}
