//! What bits a step gives, learned while it moves.
//!
//! With `b` bits a coordinate, `y = ln(2^b - 1)` falls with the logarithm of the step along a nearly straight line over the whole
//! range: at low rates bits are inversely proportional to the step, as so many symbols are not zero; at high rates each halving
//! costs a bit. (On the recorded updates of digits classifiers its slope is 0.76 to 0.83 between 0.02 and 1.8 bits.) Level and slope of
//! that line are tracked by a Kalman filter of two numbers (Kalman 1960, "A new approach to linear filtering and prediction
//! problems"): a secant step whose damping follows from how well the mean of a round is known. Few reports move it less than many, rounds
//! that measured nothing only make it less sure, and deltas that grow or shrink are a level that wanders.

use std::f64::consts::LN_2;

/// Standard deviation by which the level wanders in a round, as deltas grow, shrink and change their shape.
const WANDER: f64 = 0.05;
/// The same of the slope.
const WANDER_OF_SLOPE: f64 = 0.01;
/// Parts of a move by which the line's bend puts level and slope off.
const BEND: (f64, f64) = (0.05, 0.05);
/// An innovation of more deviations than this is a level that has jumped.
const JUMP: f64 = 4.0;

/// Level and slope.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Tracker {
    /// `y` at the step of the next round.
    level: f64,
    /// Fall of `y` by the logarithm of the step.
    slope: f64,
    /// Variances of both, and what they have in common.
    level_variance: f64,
    slope_variance: f64,
    covariance: f64,
    seen: u32,
}

fn transform(bits: f64) -> f64 {
    // Of more bits than f64 has exponents it is the same as the bits.
    libm::log(libm::expm1(bits.clamp(1e-9, 500.0) * LN_2))
}

impl Tracker {
    /// Where a report is cut to a bound rounding and all (`strict`), symbols that are not zero fall with the square of the step.
    pub(super) fn new(strict: bool) -> Self {
        let (slope, deviation) = if strict { (1.2, 0.4) } else { (0.8, 0.15) };
        Self { level: 0.0, slope, level_variance: 1e6, slope_variance: deviation * deviation, covariance: 0.0, seen: 0 }
    }

    pub(super) fn seen(&self) -> u32 {
        self.seen
    }

    /// Takes a round's mean of bits, whose relative variance is known.
    pub(super) fn observe(&mut self, bits: f64, relative_variance: f64) {
        self.wait();
        let y = transform(bits);
        // dy / d ln b
        let gain = bits * LN_2 / -libm::expm1(-bits * LN_2);
        let noise = (relative_variance * gain * gain).max(1e-6);
        let innovation = y - self.level;
        let expected = self.level_variance + noise;
        if innovation * innovation > JUMP * JUMP * expected {
            self.level_variance += innovation * innovation;
        }
        let total = self.level_variance + noise;
        let (of_level, of_slope) = (self.level_variance / total, self.covariance / total);
        self.level += of_level * innovation;
        // Bits always fall with the step.
        self.slope = (self.slope + of_slope * innovation).clamp(0.25, 2.5);
        self.slope_variance -= of_slope * self.covariance;
        self.covariance *= 1.0 - of_level;
        self.level_variance *= 1.0 - of_level;
        self.seen += 1;
    }

    /// A round goes by.
    pub(super) fn wait(&mut self) {
        self.level_variance += WANDER * WANDER;
        self.slope_variance = (self.slope_variance + WANDER_OF_SLOPE * WANDER_OF_SLOPE).min(0.25);
    }

    /// The step's logarithm changes by `by`.
    pub(super) fn moved(&mut self, by: f64) {
        self.level -= self.slope * by;
        self.level_variance += by * by * (self.slope_variance + BEND.0 * BEND.0) - 2.0 * by * self.covariance;
        self.covariance -= by * self.slope_variance;
        self.slope_variance = (self.slope_variance + by * by * BEND.1 * BEND.1).min(0.25);
    }

    /// The move of the step's logarithm that leads to so many bits.
    pub(super) fn toward(&self, bits: f64) -> f64 {
        (self.level - transform(bits)) / self.slope
    }

    /// Bits at the step of the next round.
    pub(super) fn bits(&self) -> f64 {
        libm::log1p(libm::exp(self.level.min(300.0))) / LN_2
    }

    /// How fast bits fall with the logarithm of the step.
    pub(super) fn fall(&self) -> f64 {
        let bits = self.bits();
        let gain = bits * LN_2 / -libm::expm1(-bits * LN_2);
        self.slope * bits / gain
    }
}
