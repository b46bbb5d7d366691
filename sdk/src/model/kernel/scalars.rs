//! Four scalars in place of a register, for processors without vectors. Compiled everywhere for tests.

use super::vector::{Bits, Quad, Vector, chunk};

/// Four scalars, written out so that they stay in scalar registers.
#[derive(Clone, Copy)]
pub(super) struct Scalars([f32; 4]);

impl Vector for Scalars {
    const LANES: usize = 4;

    #[inline(always)]
    fn splat(value: f32) -> Self {
        // Written out: optimised for size it would be a loop over memory.
        Self([value, value, value, value])
    }

    #[inline(always)]
    fn from_slice(data: &[f32]) -> Self {
        Self(chunk(data))
    }

    #[inline(always)]
    fn to_slice(self, data: &mut [f32]) {
        data.copy_from_slice(&self.0);
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        let ([a, b, c, d], [e, f, g, h]) = (self.0, other.0);
        Self([a + e, b + f, c + g, d + h])
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        let ([a, b, c, d], [e, f, g, h]) = (self.0, other.0);
        Self([a * e, b * f, c * g, d * h])
    }
}

impl Bits for Scalars {
    #[inline(always)]
    fn and(self, mask: Self) -> Self {
        let ([a, b, c, d], [e, f, g, h]) = (self.0, mask.0);
        Self([a.and(e), b.and(f), c.and(g), d.and(h)])
    }

    #[inline(always)]
    fn and_not(self, mask: Self) -> Self {
        let ([a, b, c, d], [e, f, g, h]) = (self.0, mask.0);
        Self([a.and_not(e), b.and_not(f), c.and_not(g), d.and_not(h)])
    }

    #[inline(always)]
    fn same(self, other: Self) -> Self {
        let ([a, b, c, d], [e, f, g, h]) = (self.0, other.0);
        Self([a.same(e), b.same(f), c.same(g), d.same(h)])
    }
}

impl Quad for Scalars {
    #[inline(always)]
    fn tree4([s0, s1, s2, s3]: [Self; 4]) -> [f32; 4] {
        [s0.tree(), s1.tree(), s2.tree(), s3.tree()]
    }
}

impl Scalars {
    #[inline(always)]
    fn tree(self) -> f32 {
        let [a, b, c, d] = self.0;
        (a + c) + (b + d)
    }
}

/// The baseline of a processor without vectors, on any processor.
#[cfg(test)]
pub(super) struct NoVectors;

#[cfg(test)]
impl super::vector::Isa for NoVectors {
    type V4 = Scalars;
    type V8 = super::vector::Pair<Scalars>;
    type V16 = super::vector::Pair<Self::V8>;
    type Run = Self::V16;
    const VECTORS: bool = false;
    const WIDE: bool = false;
    const LANES: usize = 8;
}
