//! Clipping in the L2 norm: `delta * min(1, C / ||delta||)` (McMahan et al. 2018, algorithm 1).

use crate::model::kernel::{Work, wide};
use crate::optim::Delta;

/// A delta whose norm is at most `clip_norm`, up to the rounding of single precision (the server checks the exact norm
/// again on the integers that it decodes).
///
/// The only way on is [`noise`](Self::noise), also where the plan leaves the noise to the server:
/// ```compile_fail,E0599
/// use siskin::{checkin::Quantization, privacy::ClippedDelta};
/// let _ = |clipped: ClippedDelta<'_>, q: &Quantization| {
///     let _ = clipped.quantize(q, 0); // a delta that was not noised has no such method
/// };
/// ```
/// With that step it compiles:
/// ```
/// use siskin::{checkin::{Privacy, Quantization}, privacy::ClippedDelta};
/// let _ = |clipped: ClippedDelta<'_>, p: &Privacy, q: &Quantization, rng: &mut rand_chacha::ChaCha20Rng| {
///     let _ = clipped.noise(p, rng).quantize(q, 0);
/// };
/// ```
#[derive(Debug)]
pub struct ClippedDelta<'a> {
    pub(crate) values: &'a mut [f32],
    clip_norm: f32,
    norm: f64,
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
        ClippedDelta { values, clip_norm, norm }
    }
}

impl ClippedDelta<'_> {
    /// The bound.
    pub fn clip_norm(&self) -> f32 {
        self.clip_norm
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
    fn direction_is_kept() {
        let mut values = [30.0f32, -40.0];
        let clipped = Delta::new(&mut values).clip(5.0);
        assert_eq!(clipped.norm_before(), 50.0);
        assert!((values[0] - 3.0).abs() < 1e-5 && (values[1] + 4.0).abs() < 1e-5);
    }
}
