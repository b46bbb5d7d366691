//! Clipping in the L2 norm: `delta * min(1, C / ||delta||)` (McMahan et al. 2018, algorithm 1).

use crate::model::kernel::{Work, wide};
use crate::optim::Delta;

/// A delta whose norm is at most `clip_norm`, up to the rounding of single precision; [`quantize`](Self::quantize) checks the
/// exact norm of what it makes of it.
///
/// The only way on is that:
/// ```compile_fail,E0599
/// use siskin::{checkin::Privacy, privacy::ClippedDelta};
/// let _ = |clipped: ClippedDelta<'_>, p: &Privacy, rng: &mut rand_chacha::ChaCha20Rng| {
///     let _ = clipped.noise(p, rng); // noise is for integers: a delta that is not on the grid has no such method
/// };
/// ```
/// With that step it compiles:
/// ```
/// use siskin::{checkin::{Privacy, Quantization}, privacy::ClippedDelta};
/// let _ = |clipped: ClippedDelta<'_>, p: &Privacy, q: &Quantization, rng: &mut rand_chacha::ChaCha20Rng| {
///     let _ = clipped.quantize(q, 0).unwrap().noise(p, rng);
/// };
/// ```
#[derive(Debug)]
pub struct ClippedDelta<'a> {
    pub(crate) values: &'a mut [f32],
    clip_norm: f32,
    norm: f64,
    /// What the delta itself was clipped to.
    delta_norm: f32,
    /// Part of the bound that is the last value's, of which only the sign counts. Only until it is rotated.
    bit_share: Option<f32>,
    /// Coordinates that travel, where the plan promises no noise and the bound has room for rounding.
    pub(crate) room_for: Option<usize>,
}

impl<'a> Delta<'a> {
    /// Bounds the norm. A delta with a NaN or an infinity in it becomes the zero vector: it looks like any other report.
    pub fn clip(self, clip_norm: f32) -> ClippedDelta<'a> {
        let values = self.values;
        let norm = norm(values);
        if !norm.is_finite() {
            values.fill(0.0);
        } else if norm > f64::from(clip_norm) {
            // Rounded down by more than one unit in the last place, so that the product's rounding cannot exceed it.
            let scale = (f64::from(clip_norm) / norm * (1.0 - 1e-6)) as f32;
            for v in values.iter_mut() {
                *v *= scale;
            }
        }
        ClippedDelta { values, clip_norm, norm, delta_norm: clip_norm, bit_share: None, room_for: None }
    }
}

impl<'a> Delta<'a> {
    /// Bounds the norm of each layer: of `lengths` coordinates each, in order, `d_l` of all `d`, to `clip_norm * sqrt(d_l / d)`.
    /// What the lengths leave over must be zeros (of a rotation's padding). A NaN or an infinity anywhere makes all of it zero.
    pub(crate) fn clip_layers(self, clip_norm: f32, lengths: impl Iterator<Item = usize> + Clone) -> ClippedDelta<'a> {
        let values = self.values;
        let whole = norm(values);
        let all = lengths.clone().sum::<usize>() as f64;
        let mut rest = &mut *values;
        for length in lengths {
            let (layer, after) = rest.split_at_mut(length.min(rest.len()));
            rest = after;
            let bound = (f64::from(clip_norm) * libm::sqrt(length as f64 / all) * (1.0 - 1e-6)) as f32;
            if whole.is_finite() {
                Delta::new(layer).clip(bound);
            }
        }
        // Also where rounding has lifted the sum of the layers, or the lengths were not those of the layers.
        let clipped = Delta::new(values).clip(clip_norm);
        ClippedDelta { norm: whole, ..clipped }
    }
}

impl<'a> Delta<'a> {
    /// Bounds the norm of the first `live` values so that the one behind them fits beside: whether that was unnecessary, as
    /// [`Clipping::Adaptive`](crate::checkin::Clipping::Adaptive) says. Both keep `clip_norm` together. A delta that is not finite counts as too long. What
    /// follows must be zeros; without a place for the bit there is none, and everything is clipped.
    pub fn clip_adaptive(self, clip_norm: f32, bit_share: f32, live: usize) -> ClippedDelta<'a> {
        let values = self.values;
        let Some((delta, [bit, ..])) = values.split_at_mut_checked(live) else {
            return Delta::new(values).clip(clip_norm);
        };
        let share = f64::from(bit_share);
        let delta_norm = (f64::from(clip_norm) * libm::sqrt((1.0 - share * share).max(0.0)) * (1.0 - 1e-6)) as f32;
        let norm = Delta::new(delta).clip(delta_norm).norm;
        // A NaN is not below anything.
        let whole = norm <= f64::from(delta_norm);
        *bit = if whole { bit_share * clip_norm } else { -(bit_share * clip_norm) };
        ClippedDelta { values, clip_norm, norm, delta_norm, bit_share: Some(bit_share), room_for: None }
    }
}

impl ClippedDelta<'_> {
    /// Rotates it, for [`Profile::Distributed`](crate::checkin::Profile::Distributed): its length is a power of two. The norm stays.
    /// The bit of [`clip_adaptive`](Delta::clip_adaptive) is then spread over all of them.
    pub fn rotate(self, seed: u32, round: u32) -> Self {
        super::rotate(self.values, seed, round);
        Self { bit_share: None, ..self }
    }

    /// Leaves room for what rounding adds, as [`GridBound::of`](super::GridBound::of) says; `coordinates` are those that travel, the
    /// clip bit not among them. Only for a plan that promises no noise: what comes of it takes none
    /// ([`Symbols::noise`](crate::quantize::Symbols::noise) refuses).
    pub fn without_noise(self, coordinates: usize) -> Self {
        Self { room_for: Some(coordinates), ..self }
    }

    /// Zeroes what does not travel of the first `live` coordinates.
    pub fn keep_only(self, subset: &crate::quantize::Subset, live: usize) -> Self {
        for (index, value) in self.values.iter_mut().take(live).enumerate() {
            if !subset.keeps(index) {
                *value = 0.0;
            }
        }
        self
    }

    /// The bound.
    pub fn clip_norm(&self) -> f32 {
        self.clip_norm
    }

    /// True if the delta was longer than it may be, or not finite.
    pub fn was_clipped(&self) -> bool {
        !self.norm.is_finite() || self.norm > f64::from(self.delta_norm)
    }

    /// The part of the bound that the last value takes, if it is a bit that was not rotated.
    pub(crate) fn bit_share(&self) -> Option<f32> {
        self.bit_share
    }

    /// The norm before clipping; it stays on the device. Not finite if the delta was not.
    pub fn norm_before(&self) -> f64 {
        self.norm
    }
}

/// L2 norm in double precision: eight running sums, then a fixed tree.
pub(crate) fn norm(values: &[f32]) -> f64 {
    wide(LaneNorm(values))
}

struct LaneNorm<'a>(&'a [f32]);

impl Work for LaneNorm<'_> {
    type Output = f64;

    #[inline(always)]
    fn run(self) -> f64 {
        lane_norm(self.0)
    }
}

#[inline(always)]
fn lane_norm(values: &[f32]) -> f64 {
    let mut lanes = [0f64; 8];
    let chunks = values.chunks_exact(8);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, v) in lanes.iter_mut().zip(chunk) {
            let v = f64::from(*v);
            *lane += v * v;
        }
    }
    for (lane, v) in lanes.iter_mut().zip(rest) {
        let v = f64::from(*v);
        *lane += v * v;
    }
    let [a, b, c, d, e, f, g, h] = lanes;
    libm::sqrt(((a + e) + (c + g)) + ((b + f) + (d + h)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_norm_is_never_exceeded(
            mut values in proptest::collection::vec(any::<f32>(), 0..80), clip_norm in 1e-6f32..1e6,
        ) {
            let before = values.clone();
            let clipped = Delta::new(&mut values).clip(clip_norm);
            prop_assert_eq!(clipped.clip_norm(), clip_norm);
            let after = norm(clipped.values);
            prop_assert!(after <= f64::from(clip_norm), "{} > {}", after, clip_norm);
            if before.iter().any(|v| !v.is_finite()) {
                prop_assert!(values.iter().all(|v| *v == 0.0));
            } else if norm(&before) <= f64::from(clip_norm) {
                prop_assert_eq!(before, values);
            }
        }
    }

    #[test]
    fn layers_are_bounded_one_by_one() {
        let mut values = [30.0f32, -40.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0];
        let clipped = Delta::new(&mut values).clip_layers(2.0, [2, 6].into_iter());
        assert!((clipped.norm_before() - 50.002_5).abs() < 1e-4);
        // A quarter of the coordinates has half of the bound; the other layer is within its own.
        assert!((norm(&values[..2]) - 1.0).abs() < 1e-5 && values[2] == 0.5, "{values:?}");
        let mut broken = [1.0, f32::NAN, 1.0];
        Delta::new(&mut broken).clip_layers(2.0, [1, 2].into_iter());
        assert_eq!(broken, [0.0; 3]);
    }

    #[test]
    fn direction_is_kept() {
        let mut values = [30.0f32, -40.0];
        let clipped = Delta::new(&mut values).clip(5.0);
        assert_eq!(clipped.norm_before(), 50.0);
        assert!((values[0] - 3.0).abs() < 1e-5 && (values[1] + 4.0).abs() < 1e-5);
    }
}
