//! Convolutions, forward. A dense kernel runs as a sparse one of which every weight lives.

use core::ops::Range;

use super::vector::{Isa, Vector};
use super::{ConvGeometry, Pattern};

/// Weights that are decoded at a time; bounds the stack at about 1.5 KB.
const CHUNK: usize = 64;

/// Which weights of a convolution live.
#[derive(Clone, Copy)]
pub(super) struct Taps<'a> {
    pattern: Option<Pattern<'a>>,
    per_row: usize,
}

impl<'a> Taps<'a> {
    #[inline(always)]
    pub(super) fn dense(g: &ConvGeometry) -> Self {
        Self { pattern: None, per_row: g.taps() }
    }

    #[inline(always)]
    pub(super) fn sparse(g: &ConvGeometry, pattern: Pattern<'a>) -> Self {
        Self { pattern: Some(pattern), per_row: g.taps() }
    }

    /// The live weights of an output channel.
    #[inline(always)]
    pub(super) fn row(&self, oc: usize) -> Range<usize> {
        match &self.pattern {
            Some(pattern) => pattern.row(oc),
            None => oc * self.per_row..(oc + 1) * self.per_row,
        }
    }

    /// Input channel, row and column in the kernel of live weight `k` of output channel `oc`.
    #[inline(always)]
    pub(super) fn place(&self, g: &ConvGeometry, oc: usize, k: usize) -> (usize, usize, usize) {
        let col = match &self.pattern {
            Some(pattern) => usize::from(pattern.cols[k]),
            None => k - oc * self.per_row,
        };
        let (line, kx) = (col / g.kernel_w, col % g.kernel_w);
        (line / g.kernel_h, line % g.kernel_h, kx)
    }
}

/// The outputs `lo..hi` along one axis for which every kernel position below `kernel` meets the input.
#[inline(always)]
pub(super) fn inner(out: usize, size: usize, kernel: usize, stride: usize, padding: usize) -> Range<usize> {
    let lo = padding.div_ceil(stride).min(out);
    let hi = match (size + padding).checked_sub(kernel) {
        Some(room) => (room / stride + 1).min(out),
        None => lo,
    };
    lo..hi.max(lo)
}

/// Weights and where each finds its input, relative to the input of output pixel (0, 0); may wrap around below zero.
struct Chunk {
    len: usize,
    offset: [usize; CHUNK],
    weight: [f32; CHUNK],
}

impl Chunk {
    #[inline(always)]
    fn new() -> Self {
        Self { len: 0, offset: [0; CHUNK], weight: [0.0; CHUNK] }
    }

    #[inline(always)]
    fn push(&mut self, offset: usize, weight: f32) {
        self.offset[self.len] = offset;
        self.weight[self.len] = weight;
        self.len += 1;
    }

    /// `y[t] += weight * x[base + offset + t]`, weight after weight, with as many sums in registers as fit.
    #[inline(always)]
    fn run<I: Isa>(&self, y: &mut [f32], x: &[f32], base: usize) {
        let mut t = 0;
        while y.len() - t >= I::Run::LANES {
            t += self.sums::<I::Run>(y, x, base, t);
        }
        t += self.run_pixel::<I>(&mut y[t..], x, base + t);
        debug_assert_eq!(t, y.len());
    }

    /// As [`run`](Self::run), for few sums. Returns how many.
    #[inline(always)]
    fn run_pixel<I: Isa>(&self, y: &mut [f32], x: &[f32], base: usize) -> usize {
        let mut t = 0;
        while y.len() - t >= 16 {
            t += self.sums::<I::V16>(y, x, base, t);
        }
        if y.len() - t >= 8 {
            t += self.sums::<I::V8>(y, x, base, t);
        }
        if y.len() - t >= 4 {
            t += self.sums::<I::V4>(y, x, base, t);
        }
        while y.len() > t {
            t += self.sums::<f32>(y, x, base, t);
        }
        t
    }

    /// One register block of sums. Returns how many.
    #[inline(always)]
    fn sums<V: Vector>(&self, y: &mut [f32], x: &[f32], base: usize, t: usize) -> usize {
        let mut acc = V::load(y, t);
        for (&offset, &weight) in self.offset[..self.len].iter().zip(&self.weight[..self.len]) {
            if let Some(x) = V::get(x, offset.wrapping_add(base + t)) {
                acc = acc.axpy(V::splat(weight), x);
            }
        }
        acc.store(y, t);
        V::LANES
    }
}

/// Runs along an output row (stride 1) or an output pixel (larger strides).
#[inline(always)]
pub(super) fn forward<I: Isa>(
    taps: Taps,
    g: &ConvGeometry,
    w: &[f32],
    bias: &[f32],
    x: &[f32],
    y: &mut [f32],
    batch: usize,
) {
    let (Some(out_h), Some(out_w)) = (g.out_h(), g.out_w()) else { return };
    debug_assert!(x.len() == g.in_channels * g.in_h * g.in_w * batch);
    debug_assert!(y.len() == g.out_channels * out_h * out_w * batch);
    let plane = out_h * out_w * batch;
    let rows = inner(out_h, g.in_h, g.kernel_h, g.stride, g.padding);
    let columns = inner(out_w, g.in_w, g.kernel_w, g.stride, g.padding);
    let mut all = Chunk::new();
    let mut some = Chunk::new();
    let mut place = [(0u32, 0u32); CHUNK];
    for oc in 0..g.out_channels {
        let y = &mut y[oc * plane..][..plane];
        y.fill(bias.get(oc).copied().unwrap_or(0.0));
        let live = taps.row(oc);
        for start in live.clone().step_by(CHUNK) {
            all.len = 0;
            for (k, &weight) in w[..live.end].iter().enumerate().skip(start).take(CHUNK) {
                let (ic, ky, kx) = taps.place(g, oc, k);
                place[all.len] = (ky as u32, kx as u32);
                let pixel = ((ic * g.in_h + ky) * g.in_w + kx).wrapping_sub(g.padding * g.in_w + g.padding);
                all.push(pixel.wrapping_mul(batch), weight);
            }
            // Copies to `some` the weights for which `meets` holds.
            let select = |some: &mut Chunk, meets: &dyn Fn(usize, usize) -> bool| {
                some.len = 0;
                for (k, &(ky, kx)) in place[..all.len].iter().enumerate() {
                    if meets(ky as usize, kx as usize) {
                        some.push(all.offset[k], all.weight[k]);
                    }
                }
            };
            for oy in 0..out_h {
                let y = &mut y[oy * out_w * batch..][..out_w * batch];
                let top = oy * g.stride;
                let meets_row = |ky: usize| (g.padding..g.padding + g.in_h).contains(&(top + ky));
                let whole = if rows.contains(&oy) {
                    &all
                } else {
                    select(&mut some, &|ky, _| meets_row(ky));
                    &some
                };
                if g.stride == 1 {
                    let y = &mut y[columns.start * batch..columns.end * batch];
                    whole.run::<I>(y, x, (top * g.in_w + columns.start) * batch);
                } else {
                    for ox in columns.clone() {
                        whole.run_pixel::<I>(&mut y[ox * batch..][..batch], x, (top * g.in_w + ox * g.stride) * batch);
                    }
                }
                for ox in (0..columns.start).chain(columns.end..out_w) {
                    let left = ox * g.stride;
                    let meets_column = |kx: usize| (g.padding..g.padding + g.in_w).contains(&(left + kx));
                    select(&mut some, &|ky, kx| meets_row(ky) && meets_column(kx));
                    some.run_pixel::<I>(&mut y[ox * batch..][..batch], x, (top * g.in_w + left) * batch);
                }
            }
        }
    }
}
