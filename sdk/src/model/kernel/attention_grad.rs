//! The gradients of attention that are sums over queries: those of keys and values.
#![allow(clippy::needless_range_loop)] // r numbers registers

use super::AttentionGeometry;
use super::vector::Vector;

/// Queries that lie transposed on the stack.
const TILE: usize = 64;
/// The most lanes of a vector.
const LANES: usize = 8;

/// One example of one head: the numbers of `x` and `y` lie `batch` apart.
#[derive(Clone, Copy)]
struct Head {
    positions: usize,
    causal: bool,
    scale: f32,
    batch: usize,
    /// Which example.
    b: usize,
}

impl Head {
    #[inline(always)]
    fn at(&self, channel: usize, position: usize) -> usize {
        (channel * self.positions + position) * self.batch + self.b
    }
}

/// `y[h * size + d][j] = scale * sum over i of weights[h * positions + j][i] * x[h * size + d][i]` of every example, ascending
/// `i`, from `j` on if causal. `V` has at most 8 lanes, which are `d`; `R`, `H` and then single keys at a time.
/// `N` is `V::LANES * TILE`, what lies on the stack.
#[inline(always)]
pub(super) fn over_queries<V: Vector, const R: usize, const H: usize, const N: usize>(
    g: &AttentionGeometry,
    scale: f32,
    weights: &[f32],
    x: &[f32],
    y: &mut [f32],
    batch: usize,
) {
    const { assert!(V::LANES <= LANES && N == V::LANES * TILE) };
    debug_assert!(weights.len() == g.scores() * batch);
    debug_assert!(x.len() == g.features() * batch && y.len() == x.len());
    let (scores, features) = (g.positions * g.positions * batch, g.size * g.positions * batch);
    for h in 0..g.heads {
        let weights = &weights[h * scores..][..scores];
        let x = &x[h * features..][..features];
        let y = &mut y[h * features..][..features];
        for b in 0..batch {
            let head = Head { positions: g.positions, causal: g.causal, scale, batch, b };
            for d in (0..g.size).step_by(V::LANES) {
                example::<V, R, H, N>(&head, weights, x, y, d, V::LANES.min(g.size - d));
            }
        }
    }
}

/// `width` numbers of a key from `d` on.
#[inline(always)]
fn example<V: Vector, const R: usize, const H: usize, const N: usize>(
    head: &Head,
    weights: &[f32],
    x: &[f32],
    y: &mut [f32],
    d: usize,
    width: usize,
) {
    let mut tile = [0.0; N];
    for from in (0..head.positions).step_by(TILE) {
        let to = head.positions.min(from + TILE);
        for l in 0..width {
            for (row, i) in tile.chunks_exact_mut(V::LANES).zip(from..to) {
                row[l] = x[head.at(d + l, i)];
            }
        }
        let mut j = 0;
        while j < head.positions {
            let left = head.positions - j;
            if left >= R {
                keys::<V, R, N>(head, weights, &tile, y, d, width, j, (from, to));
                j += R;
            } else if left >= H {
                keys::<V, H, N>(head, weights, &tile, y, d, width, j, (from, to));
                j += H;
            } else {
                keys::<V, 1, N>(head, weights, &tile, y, d, width, j, (from, to));
                j += 1;
            }
        }
    }
}

/// Adds the queries `from..to`, which lie in the tile, for `R` keys from `j` on.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn keys<V: Vector, const R: usize, const N: usize>(
    head: &Head,
    weights: &[f32],
    tile: &[f32; N],
    y: &mut [f32],
    d: usize,
    width: usize,
    j: usize,
    (from, to): (usize, usize),
) {
    let mut acc = [V::splat(0.0); R];
    if from > 0 {
        for r in 0..R {
            let mut before = [0.0; LANES];
            for l in 0..width {
                before[l] = y[head.at(d + l, j + r)];
            }
            acc[r] = V::from_slice(&before[..V::LANES]);
        }
    }
    let mut first = from;
    if head.causal {
        // Where only the first keys of the block are seen.
        while first < to && first < j + R - 1 {
            let row = V::load(tile, (first - from) * V::LANES);
            for r in 0..R {
                if j + r <= first {
                    acc[r] = acc[r].axpy(V::splat(weights[head.at(j + r, first)]), row);
                }
            }
            first += 1;
        }
    }
    let rows: [&[f32]; R] = core::array::from_fn(|r| &weights[head.at(j + r, 0)..]);
    for i in first..to {
        let row = V::load(tile, (i - from) * V::LANES);
        for r in 0..R {
            acc[r] = acc[r].axpy(V::splat(rows[r][i * head.batch]), row);
        }
    }
    let scale = V::splat(if to == head.positions { head.scale } else { 1.0 });
    for r in 0..R {
        let mut sums = [0.0; LANES];
        scale.mul(acc[r]).to_slice(&mut sums[..V::LANES]);
        for l in 0..width {
            y[head.at(d + l, j + r)] = sums[l];
        }
    }
}
