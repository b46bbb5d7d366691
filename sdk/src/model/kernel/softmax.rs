//! Softmax over groups of channels, at every position of every example.

use super::exp::exp;
use super::lanes::{block, block_mut, for_exact_blocks};
use super::wide::widened;

/// Shape of a softmax over `[groups * size][positions][batch]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SoftmaxGeometry {
    /// Groups of channels that each sum to 1: the heads of an attention, else 1.
    pub groups: usize,
    /// Channels of a group: classes, or the keys of an attention.
    pub size: usize,
    /// Positions; the queries of an attention.
    pub positions: usize,
    /// Attention that looks at no later key: at position `i` the channels `j > i` of a group have probability 0, and what
    /// stands there is not read.
    pub causal: bool,
}

/// The last channel of a group that each lane of a block sees, if there are so many.
#[inline(always)]
fn last_seen<const L: usize>(g: &SoftmaxGeometry, at: usize, batch: usize) -> [u32; L] {
    let mut last = [u32::MAX; L];
    if g.causal {
        for (l, last) in last.iter_mut().enumerate() {
            *last = ((at + l) / batch) as u32;
        }
    }
    last
}

/// The channels of a group that any lane of a block sees.
#[inline(always)]
fn seen<const L: usize>(g: &SoftmaxGeometry, last: &[u32; L]) -> usize {
    g.size.min((last[L - 1] as usize).saturating_add(1))
}

/// Largest value and, after the exponentials have been stored if `STORE`, their sum.
#[inline(always)]
fn exponentials<const L: usize, const STORE: bool>(
    g: &SoftmaxGeometry,
    x: &mut [f32],
    lanes: usize,
    at: usize,
    last: &[u32; L],
) -> ([f32; L], [f32; L]) {
    let mut max = [f32::NEG_INFINITY; L];
    for j in 0..seen(g, last) {
        let x = block::<L>(x, j * lanes + at);
        for l in 0..L {
            let larger = (x[l] > max[l]) | x[l].is_nan();
            max[l] = if larger & (j as u32 <= last[l]) { x[l] } else { max[l] };
        }
    }
    let mut sum = [0.0; L];
    for j in 0..seen(g, last) {
        let x = block_mut::<L>(x, j * lanes + at);
        for l in 0..L {
            let e = exp(x[l] - max[l]);
            let e = if j as u32 <= last[l] { e } else { 0.0 };
            sum[l] += e;
            if STORE {
                x[l] = e;
            }
        }
    }
    (max, sum)
}

#[inline(always)]
fn clear_unseen<const L: usize>(g: &SoftmaxGeometry, x: &mut [f32], lanes: usize, at: usize, last: &[u32; L]) {
    for j in seen(g, last)..g.size {
        *block_mut::<L>(x, j * lanes + at) = [0.0; L];
    }
}

#[inline(always)]
fn forward<const L: usize>(g: &SoftmaxGeometry, x: &mut [f32], batch: usize, at: usize) {
    let lanes = g.positions * batch;
    let last = last_seen::<L>(g, at, batch);
    let (_, sum) = exponentials::<L, true>(g, x, lanes, at, &last);
    let scale = sum.map(|sum| 1.0 / sum);
    for j in 0..seen(g, &last) {
        let x = block_mut::<L>(x, j * lanes + at);
        for l in 0..L {
            x[l] *= scale[l];
        }
        for l in 0..L {
            // The product is NaN where the sum is.
            x[l] = if j as u32 <= last[l] { x[l] } else { 0.0 };
        }
    }
    clear_unseen(g, x, lanes, at, &last);
}

#[inline(always)]
fn backward<const L: usize>(g: &SoftmaxGeometry, y: &[f32], dy: &mut [f32], batch: usize, at: usize) {
    let lanes = g.positions * batch;
    let last = last_seen::<L>(g, at, batch);
    let mut dot = [0.0; L];
    for j in 0..seen(g, &last) {
        let (y, dy) = (block::<L>(y, j * lanes + at), block::<L>(dy, j * lanes + at));
        for l in 0..L {
            let term = y[l] * dy[l];
            dot[l] += if j as u32 <= last[l] { term } else { 0.0 };
        }
    }
    for j in 0..seen(g, &last) {
        let (y, dy) = (block::<L>(y, j * lanes + at), block_mut::<L>(dy, j * lanes + at));
        for l in 0..L {
            let dx = y[l] * (dy[l] - dot[l]);
            dy[l] = if j as u32 <= last[l] { dx } else { 0.0 };
        }
    }
    clear_unseen(g, dy, lanes, at, &last);
}

#[inline(always)]
fn log_forward<const L: usize>(g: &SoftmaxGeometry, x: &mut [f32], batch: usize, at: usize) {
    let lanes = g.positions * batch;
    let (max, sum) = exponentials::<L, false>(g, x, lanes, at, &[u32::MAX; L]);
    let log = sum.map(libm::logf);
    for j in 0..g.size {
        let x = block_mut::<L>(x, j * lanes + at);
        for l in 0..L {
            x[l] = (x[l] - max[l]) - log[l];
        }
    }
}

#[inline(always)]
fn log_backward<const L: usize>(g: &SoftmaxGeometry, y: &[f32], dy: &mut [f32], batch: usize, at: usize) {
    let lanes = g.positions * batch;
    let mut sum = [0.0; L];
    for j in 0..g.size {
        let dy = block::<L>(dy, j * lanes + at);
        for l in 0..L {
            sum[l] += dy[l];
        }
    }
    for j in 0..g.size {
        let (y, dy) = (block::<L>(y, j * lanes + at), block_mut::<L>(dy, j * lanes + at));
        for l in 0..L {
            dy[l] -= exp(y[l]) * sum[l];
        }
    }
}

/// One group after the other.
macro_rules! each_group {
    ($g:ident, $batch:ident, |$group:ident| $body:ident($($data:expr),*)) => {{
        let lanes = $g.positions * $batch;
        for at in 0..$g.groups {
            let $group = at * $g.size * lanes..(at + 1) * $g.size * lanes;
            for_exact_blocks!(lanes, |at| $body::<L>($g, $($data),*, $batch, at));
        }
    }};
}

widened! {
    /// Turns `x[groups * size][positions][batch]` into the probabilities of each group, in place.
    ///
    /// For each group, position and example: `m` is the largest value (NaN if there is one), `e[c] = exp(x[c] - m)` with this
    /// module's own exponential (within 1 ulp), `s` their sum in ascending channel from `+0.0`, the result
    /// `e[c] * (1 / s)`. Channels that a causal softmax does not see become `+0.0`.
    pub fn softmax_forward(g: &SoftmaxGeometry, x: &mut [f32], batch: usize) {
        debug_assert!(x.len() == g.groups * g.size * g.positions * batch);
        each_group!(g, batch, |group| forward(&mut x[group.clone()]));
    }

    /// From the output `y` of [`softmax_forward`], in place: `y[c] * (dy[c] - d)`, where `d` is the sum of `y[c] * dy[c]` in
    /// ascending channel from `+0.0`. Channels that a causal softmax does not see become `+0.0`.
    pub fn softmax_backward(g: &SoftmaxGeometry, y: &[f32], dy: &mut [f32], batch: usize) {
        debug_assert!(y.len() == g.groups * g.size * g.positions * batch && dy.len() == y.len());
        each_group!(g, batch, |group| backward(&y[group.clone()], &mut dy[group.clone()]));
    }

    /// Turns `x` into the logarithms of [`softmax_forward`]'s probabilities, `(x[c] - m) - logf(s)` with `logf` by `libm`, in
    /// place. `causal` is not looked at.
    pub fn log_softmax_forward(g: &SoftmaxGeometry, x: &mut [f32], batch: usize) {
        debug_assert!(x.len() == g.groups * g.size * g.positions * batch);
        each_group!(g, batch, |group| log_forward(&mut x[group.clone()]));
    }

    /// From the output `y` of [`log_softmax_forward`], in place: `dy[c] - exp(y[c]) * d`, where `d` is the sum of `dy[c]` in
    /// ascending channel from `+0.0`.
    pub fn log_softmax_backward(g: &SoftmaxGeometry, y: &[f32], dy: &mut [f32], batch: usize) {
        debug_assert!(y.len() == g.groups * g.size * g.positions * batch && dy.len() == y.len());
        each_group!(g, batch, |group| log_backward(&y[group.clone()], &mut dy[group.clone()]));
    }
}
