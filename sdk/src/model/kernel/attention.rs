//! The two products of attention and their gradients.
//!
//! With queries `q`, keys `k`, values `v`, each `[heads * size][positions][batch]`, and weights `p`, in shape like the scores `s`:
//! `[heads * positions][positions][batch]`, channel a key, position a query. Queries are the lanes; two loops do all.
#![allow(clippy::needless_range_loop)] // r numbers registers, l lanes

use super::lanes::Rows;
use super::vector::{Bits, Isa, Vector};

/// Shape of an attention of a sequence to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionGeometry {
    /// Heads, each with its own queries, keys and values.
    pub heads: usize,
    /// Length of one query, key or value.
    pub size: usize,
    /// Positions of the sequence.
    pub positions: usize,
    /// No position looks at a later one: such weights count as 0 and are not read.
    pub causal: bool,
}

impl AttentionGeometry {
    /// Values of queries, keys, values and their weighted means.
    pub const fn features(&self) -> usize {
        self.heads * self.size * self.positions
    }

    /// Values of scores and weights.
    pub const fn scores(&self) -> usize {
        self.heads * self.positions * self.positions
    }
}

/// `batch` examples of one position, for each lane of a vector that one.
trait PerExample<V> {
    /// Lanes that are examples of the same position.
    const EXAMPLES: usize;

    fn get(&self, row: usize) -> V;
}

/// Lanes of one position.
impl<V: Vector> PerExample<V> for Rows<'_, V> {
    const EXAMPLES: usize = usize::MAX;

    #[inline(always)]
    fn get(&self, row: usize) -> V {
        Rows::get(self, row)
    }
}

/// Lanes of several positions, of a batch of `B`.
struct Repeated<'a, const B: usize>(&'a [f32]);

impl<V: Vector, const B: usize> PerExample<V> for Repeated<'_, B> {
    const EXAMPLES: usize = B;

    #[inline(always)]
    fn get(&self, row: usize) -> V {
        let examples: &[f32; B] = self.0[row * B..][..B].first_chunk().expect("a slice of B values");
        let mut all = [examples[0]; 8];
        for l in 0..V::LANES {
            all[l] = examples[l % B];
        }
        V::from_slice(&all[..V::LANES])
    }
}

/// What one head computes with its queries as lanes: `y[r] = scale * sum over t of x[t] * m[r, t]`, where `m` is one of the
/// key's or value's numbers.
#[derive(Clone, Copy)]
struct Product {
    terms: usize,
    outputs: usize,
    /// `m[r, t]` is row `r * output_stride + t * term_stride` of the keys or values.
    output_stride: usize,
    term_stride: usize,
    /// Whether outputs, or terms, are keys of which a query sees only the first.
    causal_outputs: bool,
    causal_terms: bool,
    scale: f32,
}

impl Product {
    /// Outputs are keys, terms run over their numbers.
    fn of_keys(g: &AttentionGeometry, scale: f32) -> Self {
        Self {
            terms: g.size,
            outputs: g.positions,
            output_stride: 1,
            term_stride: g.positions,
            causal_outputs: g.causal,
            causal_terms: false,
            scale,
        }
    }

    /// Outputs are numbers of the values, terms run over positions.
    fn over_keys(g: &AttentionGeometry, scale: f32) -> Self {
        Self {
            terms: g.positions,
            outputs: g.size,
            output_stride: g.positions,
            term_stride: 1,
            causal_outputs: false,
            causal_terms: g.causal,
            scale,
        }
    }
}

/// The lanes of positions from `key` on, where the vector starts at position `first`.
#[inline(always)]
fn seeing<V: Bits, M: PerExample<V>>(key: usize, first: usize) -> V {
    let mut all = [0.0; 8];
    for l in 0..V::LANES {
        all[l] = f32::from_bits(if first + l / M::EXAMPLES >= key { u32::MAX } else { 0 });
    }
    V::from_slice(&all[..V::LANES])
}

/// `R` outputs from `r0` on, for the lanes from `at` on, which start at position `first`.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn outputs<V: Bits, M: PerExample<V>, const R: usize>(
    p: &Product,
    x: &Rows<V>,
    m: &M,
    y: &mut [f32],
    lanes: usize,
    r0: usize,
    (at, left): (usize, usize),
    first: usize,
) {
    let last = first + (V::LANES - 1) / M::EXAMPLES;
    let mut acc = [V::splat(0.0); R];
    if !(p.causal_outputs && r0 > last) {
        let whole = if p.causal_terms { p.terms.min(first + 1) } else { p.terms };
        for t in 0..whole {
            let xt = x.get(t);
            for r in 0..R {
                acc[r] = acc[r].axpy(xt, m.get((r0 + r) * p.output_stride + t * p.term_stride));
            }
        }
        // A masked term is +0.0, which changes no sum that started at +0.0.
        for t in whole..p.terms.min(last + 1) {
            let (xt, mask) = (x.get(t), seeing::<V, M>(t, first));
            for r in 0..R {
                let term = xt.mul(m.get((r0 + r) * p.output_stride + t * p.term_stride));
                acc[r] = acc[r].add(term.and(mask));
            }
        }
    }
    for r in 0..R {
        let mut result = V::splat(p.scale).mul(acc[r]);
        if p.causal_outputs && r0 + r > first {
            result = result.and(seeing::<V, M>(r0 + r, first));
        }
        result.store_first(y, (r0 + r) * lanes + at, left);
    }
}

/// All outputs for the lanes from `at` on.
#[inline(always)]
fn product_lanes<V: Bits, M: PerExample<V>, const R: usize>(
    p: &Product,
    x: &[f32],
    m: &M,
    y: &mut [f32],
    lanes: usize,
    (at, left): (usize, usize),
    first: usize,
) {
    let x = Rows::<V>::new(x, p.terms, lanes, at);
    let mut r = 0;
    while r < p.outputs {
        if p.outputs < R {
            outputs::<V, M, 1>(p, &x, m, y, lanes, r, (at, left), first);
            r += 1;
        } else {
            // The last block overlaps the one before: the same sums are simply made twice.
            let from = r.min(p.outputs - R);
            outputs::<V, M, R>(p, &x, m, y, lanes, from, (at, left), first);
            r = from + R;
        }
    }
}

/// Calls `$body` with a vector type and the lanes `$at` of each block of `$lanes`.
macro_rules! for_blocks {
    ($isa:ident, $lanes:expr, |$at:ident, $left:ident| $body:ident ::<V $(, $param:ty)*; $rows:ident>($($arg:expr),* $(,)?)) => {{
        let mut $at = 0;
        while $at < $lanes {
            let $left = $lanes - $at;
            if $left > 4 {
                $body::<$isa::V8 $(, $param)*, $rows>($($arg),*);
                $at += 8;
            } else if $left > 1 {
                $body::<$isa::V4 $(, $param)*, $rows>($($arg),*);
                $at += 4;
            } else {
                $body::<f32 $(, $param)*, $rows>($($arg),*);
                $at += 1;
            }
        }
    }};
}

#[inline(always)]
fn repeated<I: Isa, const B: usize, const R: usize>(p: &Product, x: &[f32], m: &[f32], y: &mut [f32], lanes: usize) {
    let m = Repeated::<B>(m);
    for_blocks!(I, lanes, |at, left| product_lanes::<V, Repeated<B>; R>(p, x, &m, y, lanes, (at, left.min(8)), at / B));
}

#[inline(always)]
fn position<V: Bits, const R: usize>(
    p: &Product,
    x: &[f32],
    m: &[f32],
    y: &mut [f32],
    [i, positions, batch]: [usize; 3],
    (at, left): (usize, usize),
) {
    let m = Rows::<V>::new(m, m.len() / batch, batch, at);
    product_lanes::<V, _, R>(p, x, &m, y, positions * batch, (i * batch + at, left), i);
}

/// One head after the other. Lanes run over positions too where a vector repeats the examples of a key evenly.
#[inline(always)]
fn product<I: Isa, const R: usize>(
    g: &AttentionGeometry,
    p: &Product,
    x: &[f32],
    m: &[f32],
    y: &mut [f32],
    batch: usize,
) {
    let lanes = g.positions * batch;
    debug_assert!(x.len() == g.heads * p.terms * lanes && y.len() == g.heads * p.outputs * lanes);
    debug_assert!(m.len() == g.features() * batch);
    for h in 0..g.heads {
        let x = &x[h * p.terms * lanes..][..p.terms * lanes];
        let m = &m[h * g.size * lanes..][..g.size * lanes];
        let y = &mut y[h * p.outputs * lanes..][..p.outputs * lanes];
        match batch {
            1 => repeated::<I, 1, R>(p, x, m, y, lanes),
            2 => repeated::<I, 2, R>(p, x, m, y, lanes),
            4 => repeated::<I, 4, R>(p, x, m, y, lanes),
            _ => {
                for i in 0..g.positions {
                    let shape = [i, g.positions, batch];
                    for_blocks!(I, batch, |at, left| position::<V; R>(p, x, m, y, shape, (at, left.min(8))));
                }
            }
        }
    }
}

#[inline(always)]
pub(super) fn of_keys<I: Isa, const R: usize>(
    g: &AttentionGeometry,
    scale: f32,
    x: &[f32],
    m: &[f32],
    y: &mut [f32],
    batch: usize,
) {
    product::<I, R>(g, &Product::of_keys(g, scale), x, m, y, batch);
}

#[inline(always)]
pub(super) fn over_keys<I: Isa, const R: usize>(
    g: &AttentionGeometry,
    scale: f32,
    x: &[f32],
    m: &[f32],
    y: &mut [f32],
    batch: usize,
) {
    product::<I, R>(g, &Product::over_keys(g, scale), x, m, y, batch);
}
