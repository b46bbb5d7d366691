//! Convolutions, forward. A dense kernel runs as a sparse one of which every weight lives.
#![allow(clippy::needless_range_loop)] // k numbers registers

use core::ops::Range;

use super::geometry::Axis;
use super::vector::{Isa, Vector};
use super::{ConvGeometry, Pattern, pointwise};

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

    #[inline(always)]
    pub(super) fn pattern(&self) -> Option<Pattern<'a>> {
        self.pattern
    }

    /// Whether [`row_of_channel`](Self::row_of_channel) is cheap enough for `pairs` of channels: a search costs about as much
    /// as is saved on a thousand terms.
    #[inline(always)]
    pub(super) fn finds_channels(&self, pairs: usize, terms: usize) -> bool {
        match &self.pattern {
            Some(pattern) => pattern.cols.len().saturating_mul(terms) / 1024 >= pairs,
            None => true,
        }
    }

    /// The live weights of an output channel.
    #[inline(always)]
    pub(super) fn row(&self, oc: usize) -> Range<usize> {
        match &self.pattern {
            Some(pattern) => pattern.row(oc),
            None => oc * self.per_row..(oc + 1) * self.per_row,
        }
    }

    /// Those of them that see input channel `ic` of the group.
    #[inline(always)]
    pub(super) fn row_of_channel(&self, g: &ConvGeometry, oc: usize, ic: usize) -> Range<usize> {
        let row = self.row(oc);
        let area = g.kernel[0] * g.kernel[1];
        match &self.pattern {
            Some(_) if area == self.per_row => row,
            Some(pattern) => {
                let cols = &pattern.cols[row.clone()];
                let lo = cols.partition_point(|&col| usize::from(col) < ic * area);
                let len = cols[lo..].partition_point(|&col| usize::from(col) < (ic + 1) * area);
                row.start + lo..row.start + lo + len
            }
            None => row.start + ic * area..row.start + (ic + 1) * area,
        }
    }

    /// Input channel of the group, row and column in the kernel of live weight `k` of output channel `oc`.
    #[inline(always)]
    pub(super) fn place(&self, g: &ConvGeometry, oc: usize, k: usize) -> (usize, usize, usize) {
        let col = match &self.pattern {
            Some(pattern) => usize::from(pattern.cols[k]),
            None => k - oc * self.per_row,
        };
        let (line, kx) = (col / g.kernel[1], col % g.kernel[1]);
        (line / g.kernel[0], line % g.kernel[0], kx)
    }
}

/// Weights that are decoded at a time; bounds the stack at about 1.5 KB.
const CHUNK: usize = 64;

/// Up to so many weights, those of a 3x3 kernel, are run through with all of them in registers.
const MANY: usize = 9;

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

    /// `y[t] += weight * x[base + offset + t]`, weight after weight. The sums start at `first` or, without it, at what `y`
    /// holds.
    #[inline(always)]
    fn run<I: Isa>(&self, first: Option<f32>, y: &mut [f32], x: &[f32], base: usize) {
        // Many weights: each sum stays in its register until the last of them.
        if !I::VECTORS || self.len > MANY {
            return self.run_blocks::<I>(first, y, x, base);
        }
        if y.is_empty() {
            return;
        }
        // Groups of so many weights as a small kernel has, or as meet the input at an edge: the weights stay in registers
        // and the lengths are checked once a run.
        let (mut first, mut k) = (first, 0);
        loop {
            k += match self.len - k {
                9.. => self.group::<I, 9>(k, first, y, x, base),
                6.. => self.group::<I, 6>(k, first, y, x, base),
                4.. => self.group::<I, 4>(k, first, y, x, base),
                2.. => self.group::<I, 2>(k, first, y, x, base),
                1 => self.group::<I, 1>(k, first, y, x, base),
                _ => break,
            };
            first = None;
        }
        if let Some(first) = first {
            y.fill(first);
        }
    }

    /// The `K` weights from `k` on. Returns how many.
    #[inline(always)]
    fn group<I: Isa, const K: usize>(
        &self,
        k: usize,
        first: Option<f32>,
        y: &mut [f32],
        x: &[f32],
        base: usize,
    ) -> usize {
        let (offsets, weights) = (&self.offset[k..k + K], &self.weight[k..k + K]);
        let x: [&[f32]; K] = core::array::from_fn(|k| &x[offsets[k].wrapping_add(base)..][..y.len()]);
        let weights: [f32; K] = core::array::from_fn(|k| weights[k]);
        let mut t = 0;
        while y.len() - t >= 16 {
            t += group_sums::<I::V16, K>(&weights, &x, first, y, t);
        }
        if y.len() - t >= 8 {
            t += group_sums::<I::V8, K>(&weights, &x, first, y, t);
        }
        if y.len() - t >= 4 {
            t += group_sums::<I::V4, K>(&weights, &x, first, y, t);
        }
        while y.len() > t {
            t += group_sums::<f32, K>(&weights, &x, first, y, t);
        }
        K
    }

    /// As [`run`](Self::run), any number of weights, with as many sums in registers as fit.
    #[inline(always)]
    fn run_blocks<I: Isa>(&self, first: Option<f32>, y: &mut [f32], x: &[f32], base: usize) {
        let mut t = 0;
        if I::VECTORS {
            while y.len() - t >= I::Run::LANES {
                t += self.sums::<I::Run>(first, y, x, base, t);
            }
        }
        while y.len() - t >= 16 {
            t += self.sums::<I::V16>(first, y, x, base, t);
        }
        if y.len() - t >= 8 {
            t += self.sums::<I::V8>(first, y, x, base, t);
        }
        if y.len() - t >= 4 {
            t += self.sums::<I::V4>(first, y, x, base, t);
        }
        while y.len() > t {
            t += self.sums::<f32>(first, y, x, base, t);
        }
    }

    /// One register block of sums. Returns how many.
    #[inline(always)]
    fn sums<V: Vector>(&self, first: Option<f32>, y: &mut [f32], x: &[f32], base: usize, t: usize) -> usize {
        let mut acc = match first {
            Some(first) => V::splat(first),
            None => V::load(y, t),
        };
        for (&offset, &weight) in self.offset[..self.len].iter().zip(&self.weight[..self.len]) {
            if let Some(x) = V::get(x, offset.wrapping_add(base + t)) {
                acc = acc.axpy(V::splat(weight), x);
            }
        }
        acc.store(y, t);
        V::LANES
    }
}

/// One register block of the sums of `K` weights. Returns how many.
#[inline(always)]
fn group_sums<V: Vector, const K: usize>(
    weights: &[f32; K],
    x: &[&[f32]; K],
    first: Option<f32>,
    y: &mut [f32],
    t: usize,
) -> usize {
    let mut acc = match first {
        Some(first) => V::splat(first),
        None => V::load(y, t),
    };
    for k in 0..K {
        acc = acc.axpy(V::splat(weights[k]), V::load(x[k], t));
    }
    acc.store(y, t);
    V::LANES
}

/// A convolution, plane after plane.
pub(super) struct Planes {
    rows: Axis,
    columns: Axis,
    batch: usize,
    all: Chunk,
    /// Row and column in the kernel of each of them.
    place: [(u32, u32); CHUNK],
    /// Those of them that meet the input.
    some: Chunk,
}

impl Planes {
    #[inline(always)]
    pub(super) fn new([rows, columns]: [Axis; 2], batch: usize) -> Self {
        Self { rows, columns, batch, all: Chunk::new(), place: [(0, 0); CHUNK], some: Chunk::new() }
    }

    /// The plane `y`: sums that start at `first`, of weights in their order. With each comes the plane of `x`, the row and the
    /// column in the kernel.
    #[inline(always)]
    pub(super) fn plane<I: Isa>(
        &mut self,
        first: f32,
        mut weights: impl Iterator<Item = ((usize, usize, usize), f32)>,
        x: &[f32],
        y: &mut [f32],
    ) {
        let mut first = Some(first);
        loop {
            self.all.len = 0;
            while self.all.len < CHUNK {
                let Some((place, weight)) = weights.next() else { break };
                self.push(place, weight);
            }
            if self.all.len > 0 {
                self.add::<I>(first.take(), x, y);
            } else if let Some(first) = first {
                y.fill(first);
            }
            if self.all.len < CHUNK {
                return;
            }
        }
    }

    #[inline(always)]
    fn push(&mut self, (plane, ky, kx): (usize, usize, usize), weight: f32) {
        let (rows, columns) = (&self.rows, &self.columns);
        let line = (plane * rows.size + ky * rows.dilation).wrapping_sub(rows.before);
        let pixel = line.wrapping_mul(columns.size).wrapping_add(kx * columns.dilation).wrapping_sub(columns.before);
        self.place[self.all.len] = (ky as u32, kx as u32);
        self.all.push(pixel.wrapping_mul(self.batch), weight);
    }

    /// Along runs of an output row (stride 1) or output pixels (larger strides) that meet the same weights.
    #[inline(always)]
    fn add<I: Isa>(&mut self, first: Option<f32>, x: &[f32], y: &mut [f32]) {
        let (rows, columns, batch) = (self.rows, self.columns, self.batch);
        for run in rows.runs() {
            for across in columns.runs() {
                let (down, right) = (rows.window(run.start), columns.window(across.start));
                let weights = if down.len() == rows.kernel && right.len() == columns.kernel {
                    &self.all
                } else {
                    self.some.len = 0;
                    for (k, &(ky, kx)) in self.place[..self.all.len].iter().enumerate() {
                        if down.contains(&(ky as usize)) && right.contains(&(kx as usize)) {
                            self.some.push(self.all.offset[k], self.all.weight[k]);
                        }
                    }
                    &self.some
                };
                if weights.len == 0 && first.is_none() {
                    continue;
                }
                for oy in run.clone() {
                    let y = &mut y[oy * columns.out * batch..][..columns.out * batch];
                    // Offsets are relative and wrap.
                    let from = oy.wrapping_mul(rows.stride).wrapping_mul(columns.size);
                    if columns.stride == 1 {
                        let y = &mut y[across.start * batch..across.end * batch];
                        weights.run::<I>(first, y, x, from.wrapping_add(across.start).wrapping_mul(batch));
                    } else {
                        for ox in across.clone() {
                            let y = &mut y[ox * batch..][..batch];
                            let at = from.wrapping_add(ox.wrapping_mul(columns.stride));
                            weights.run::<I>(first, y, x, at.wrapping_mul(batch));
                        }
                    }
                }
            }
        }
    }
}

/// `R` is the number of outputs at a time of the dense loops.
#[inline(always)]
pub(super) fn forward<I: Isa, const R: usize>(
    taps: Taps,
    g: &ConvGeometry,
    w: &[f32],
    bias: &[f32],
    x: &[f32],
    y: &mut [f32],
    batch: usize,
) {
    let Some(axes) = g.axes() else { return };
    let plane = axes[0].out * axes[1].out * batch;
    debug_assert!(x.len() == g.in_channels * g.in_h * g.in_w * batch && y.len() == g.out_channels * plane);
    let g = &if g.is_pointwise() { g.in_one_row() } else { *g };
    if g.is_pointwise() && taps.pattern().is_none() {
        return pointwise::forward::<I, R>(g, w, bias, x, y, plane);
    }
    let Some(axes) = g.axes() else { return };
    let mut planes = Planes::new(axes, batch);
    let (inputs, outputs) = (g.in_channels / g.groups, g.out_channels / g.groups);
    for oc in 0..g.out_channels {
        let y = &mut y[oc * plane..][..plane];
        let live = taps.row(oc);
        let weights = w[..live.end].iter().enumerate().skip(live.start).map(|(k, &weight)| {
            let (ic, ky, kx) = taps.place(g, oc, k);
            ((oc / outputs * inputs + ic, ky, kx), weight)
        });
        planes.plane::<I>(bias.get(oc).copied().unwrap_or(0.0), weights, x, y);
    }
}
