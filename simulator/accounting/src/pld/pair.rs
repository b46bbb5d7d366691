//! Discretising a pair of laws on the line whose loss falls as the outcome grows.

use super::pmf::{Builder, Directions};
use super::{Grid, MOST_ATOMS};

/// Probabilities of both laws on both sides of an outcome, each with full relative precision.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tails {
    pub(super) p_low: f64,
    pub(super) p_up: f64,
    pub(super) q_low: f64,
    pub(super) q_up: f64,
}

/// Two laws on the line with a continuous, strictly decreasing loss `log(dP/dQ)`. P may miss some mass.
pub(crate) trait Pair {
    /// The loss at `x`, and minus its derivative (above 0 where it does not underflow).
    fn loss(&self, x: f64) -> (f64, f64);

    /// The limit of the loss at infinity; it may be minus infinity.
    fn least_loss(&self) -> f64;

    /// An outcome below which P, and one above which Q, has no more than `tail`.
    fn span(&self, tail: f64) -> (f64, f64);

    /// Probabilities on both sides of `x`.
    fn tails(&self, x: f64) -> Tails;

    /// Mass that P misses.
    fn missing(&self) -> f64;

    /// Whether swapping the two laws gives the same distribution of losses.
    fn symmetric(&self) -> bool;
}

/// The pair's losses on `grid`; the grid is coarsened where it would be too long.
pub(crate) fn interval_for(pair: &impl Pair, grid: Grid) -> f64 {
    let (low, high) = pair.span(grid.tail);
    interval_of_range(pair.loss(low).0 - pair.loss(high).0, grid)
}

/// The grid's gap, doubled until a range of losses fits.
pub(crate) fn interval_of_range(range: f64, grid: Grid) -> f64 {
    let mut interval = grid.interval;
    while range / interval > MOST_ATOMS {
        interval *= 2.0;
    }
    interval
}

/// Both directions of `pair`, connect-the-dots on the multiples of `grid.interval`.
pub(crate) fn discretise(pair: &impl Pair, grid: Grid) -> Directions {
    let interval = grid.interval;
    let (low, high) = pair.span(grid.tail);
    let floor = pair.least_loss();
    let mut builder = Builder::over(interval, pair.loss(high).0, pair.loss(low).0);
    let top = builder.len() - 1;
    let loss_at = |index: usize, lower: i64| (lower + index as i64) as f64 * interval;
    let lower = builder.lower();

    let (mut x, mut step) = (low, 0.0);
    let mut left = Tails { p_low: 0.0, p_up: 1.0, q_low: 0.0, q_up: 1.0 };
    let mut rounded = 0.0;
    for index in (0..=top).rev() {
        let loss = loss_at(index, lower);
        if loss <= floor {
            // Everything to the right, up to infinity, is above this loss.
            let (p, q) = (left.p_up, left.q_up);
            builder.between(index, libm::exp(loss), p, q);
            return finish(builder, pair, 0.0);
        }
        (x, step) = inverse(pair, loss, x + step, floor, interval);
        let right = pair.tails(x);
        if index == top {
            builder.above(right.p_low, right.q_low);
        } else {
            let p = between(left.p_low, right.p_low, left.p_up, right.p_up);
            let q = between(left.q_low, right.q_low, left.q_up, right.q_up);
            builder.between(index, libm::exp(loss), p, q);
        }
        left = right;
        if index == 0 {
            rounded = right.p_up;
            builder.below(right.p_up, right.q_up);
        }
    }
    finish(builder, pair, rounded)
}

fn finish(mut builder: Builder, pair: &impl Pair, rounded: f64) -> Directions {
    builder.above(pair.missing(), 0.0);
    let mut directions = builder.directions(rounded);
    if pair.symmetric() {
        directions.add = None;
    }
    directions
}

/// Mass between two outcomes from whichever side is small.
fn between(low_left: f64, low_right: f64, up_left: f64, up_right: f64) -> f64 {
    let mass = if low_right < up_right { low_right - low_left } else { up_left - up_right };
    mass.max(0.0)
}

/// The outcome of this loss, and how far the next grid point down is, to first order.
///
/// Newton; a convex loss makes every step but the first land on its left. An error dx of the root costs delta only
/// dx^2 times a density, because the hockey stick is stationary there.
fn inverse(pair: &impl Pair, loss: f64, guess: f64, floor: f64, interval: f64) -> (f64, f64) {
    let tolerance = 1e-4 * interval.min(loss - floor);
    let mut x = guess;
    let mut slope = 1.0;
    for _ in 0..200 {
        let (at, fall) = pair.loss(x);
        slope = fall;
        let residual = at - loss;
        x += residual / fall;
        if residual.abs() <= tolerance {
            break;
        }
    }
    (x, interval / slope)
}
