//! A clip norm that follows a quantile of the norms of the deltas (Andrew, Thakkar, McMahan, Ramaswamy 2021,
//! "Differentially private learning with adaptive clipping", algorithm 1).
//!
//! Each report carries one more coordinate, its clip bit ([`Clipping::Adaptive`]), which is summed and noised with the others. Of
//! the noised sum the server estimates the part `b` of the deltas that were not clipped, and the next round's norm is
//! `C exp(-rate (b - target))`. All of that is post-processing of what the noise covers; since the noise is relative to each
//! round's own C, nothing of it changes what a round costs in privacy. The grid's step keeps its ratio to C, so the rate of the
//! reports, and with noise on devices its deviation in steps, stay what they are, unless a [`Rate`](super::Rate) moves that ratio.
//!
//! The estimate is cut to `[0, 1]`, so that C moves by no more than `exp(rate)` in a round, whatever the noise is or a device
//! lies. Where the server sees the bits it refuses those that are none; under a profile that hides them, one device counts for as many
//! as fit its bound, `1 / bit_share`.
//!
//! # Bias of rotated reports
//! Of a rotated report the bit is rounded like everything else, and shortened with a delta that rounding would lengthen beyond the
//! bound. Clipped deltas are shortened most, so that their bits count for less and the estimate is too high: where it is on
//! target, the part that is not clipped is `(2 target - 1 + c) / (u + c)`, with `c` and `u` what a bit of a clipped and of another
//! delta is worth. Both depend on the deltas, so that the server cannot undo it. Figures by a test of the sdk
//! (`the_bit_of_a_rotated_report_is_shortened_with_it`), where those that are not clipped have half the norm:
//!
//! | clip norm in steps over sqrt(coordinates) | c | u | part at target 0.5 | at 0.8 | at 0.2 |
//! |---|---|---|---|---|---|
//! | 4 | 0.992 | 1.00 | 0.50 | 0.80 | 0.20 |
//! | 1 | 0.899 | 1.00 | 0.47 | 0.79 | 0.16 |
//! | 1/2 | 0.588 | 1.00 | 0.37 | 0.75 | 0: the norm falls without end |
//! | 1/4 | 0.290 | 0.51 | 0.36 | 1: the norm grows without end | 0 |
//!
//! So under the distributed profile a grid should have a clip norm of at least `sqrt(coordinates)` steps; on a coarser one quantiles far
//! from 2/5 are not reached. Without a rotation the bit is an integer that is not shortened, and there is no bias at any quantile.
//!
//! [`Clipping::Adaptive`]: siskin::checkin::Clipping::Adaptive

use super::settings::within;
use super::{Settings, SettingsError};
use serde::{Deserialize, Serialize};
use siskin::checkin::{MAX_BIT_SHARE, Privacy, Profile};

/// Where the clip norm goes, and how fast.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AdaptiveClip {
    /// Part of the deltas that are to stay as they are, in (0, 1).
    pub target: f64,
    /// Step in the logarithm of the norm for an estimate that is off by one; above 0, at most 5.
    pub rate: f64,
}

/// The paper's: the median, 0.2.
impl Default for AdaptiveClip {
    fn default() -> Self {
        Self { target: 0.5, rate: 0.2 }
    }
}

impl AdaptiveClip {
    pub(super) fn check(self) -> Result<(), SettingsError> {
        within("target quantile", self.target, 0.001, 0.999)?;
        within("clip rate", self.rate, 1e-6, 5.0)
    }
}

/// The part of a report's bound that its clip bit should have: so much that noise moves the estimate of a full cohort by a standard
/// deviation of 1/20, the paper's `s_b = cohort / 20`, and at least a step of the grid; never more than the largest that a plan
/// may say. The delta is left with `sqrt(1 - share^2)` of the bound.
pub fn bit_share(privacy: &Privacy, step: f32, cohort: u32) -> f32 {
    let reports = f64::from(cohort.max(1));
    let noise = f64::from(privacy.noise_multiplier);
    // Of the sum, in clip norms; `s_b` is that of a sum of 0 and 1, half of the one of +-1.
    let noise = if privacy.profile == Profile::Local { noise * libm::sqrt(reports) } else { noise };
    let of_noise = noise / (2.0 * reports / 20.0);
    // A little more than a step, so that rounding does not take it.
    let of_grid = f64::from(step) / f64::from(privacy.clip_norm) * (1.0 + 1e-4);
    of_noise.max(of_grid).max(1e-5).min(f64::from(MAX_BIT_SHARE)) as f32
}

/// What stays while the norm moves.
#[derive(Debug, Clone, Copy)]
pub(super) struct ClipState {
    /// Clip norm over step.
    steps: f32,
}

impl ClipState {
    pub(super) fn new(settings: &Settings) -> Self {
        Self { steps: settings.privacy.clip_norm / settings.quantization.step }
    }

    /// Another ratio of step and clip norm; lays the grid anew.
    pub(super) fn set_ratio(&mut self, settings: &mut Settings, ratio: f64) {
        self.steps = (1.0 / ratio) as f32;
        self.regrid(settings);
    }

    /// Estimate of the part of `reports` that were not clipped, by the sum of their bits in the units of the params; none if the
    /// plan has no bits or there are no reports.
    pub(super) fn unclipped(self, settings: &Settings, bits: f64, reports: u64) -> Option<f64> {
        let step = settings.quantization.step;
        let bit = settings.privacy.bit_steps(step)? * f64::from(step);
        let estimate = 0.5 + 0.5 * bits / (bit * reports as f64);
        estimate.is_finite().then(|| estimate.clamp(0.0, 1.0))
    }

    /// The norm of the next round, and its grid.
    pub(super) fn follow(self, settings: &mut Settings, unclipped: f64) {
        let AdaptiveClip { target, rate } = settings.adaptive;
        let norm = f64::from(settings.privacy.clip_norm) * libm::exp(-rate * (unclipped - target));
        // The range of plans, and some room for the step.
        settings.privacy.clip_norm = norm.clamp(1e-9, 1e9) as f32;
        self.regrid(settings);
    }

    fn regrid(self, settings: &mut Settings) {
        let clip_norm = settings.privacy.clip_norm;
        let mut step = clip_norm / self.steps;
        // A bound of exactly so many steps as the plan must have is not to become one of less by rounding.
        while clip_norm / step < self.steps {
            step = step.next_down();
        }
        settings.quantization.step = step;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::round::{Close, Optimizer, Pruning, Selection};
    use proptest::prelude::*;
    use siskin::checkin::{Clipping, Quantization, Rounding, Training, Upload, Weighting};

    fn settings(clip_norm: f32, step: f32, bit_share: f32) -> Settings {
        let privacy = Privacy::new(clip_norm, Profile::Central);
        Settings {
            population: "t".parse().unwrap(),
            cohort: 10,
            cohort_cap: None,
            over_selection: 1.0,
            min_fraction: 0.0,
            deadline_ms: 1,
            selection: Selection::Fixed,
            close: Close::Deadline,
            training: Training::sgd(1, 1, 0.1),
            privacy: Privacy { clipping: Clipping::Adaptive { bit_share }, ..privacy },
            adaptive: AdaptiveClip { target: 0.7, rate: 0.3 },
            noise: crate::privacy::Noise::Independent,
            quantization: Quantization { step, rounding: Rounding::Nearest, keep: 1.0 },
            rate: crate::round::Rate::Fixed,
            upload: Upload { weighting: Weighting::Uniform, max_bytes: 1000, probe: 0, start: 0 },
            starts: false,
            value_step: 0.0,
            optimizer: Optimizer::FedAvg(Default::default()),
            pruning: Pruning::at_once(0.0),
            dp_delta: 1e-5,
        }
    }

    #[test]
    fn the_estimate_undoes_what_devices_do() {
        let s = settings(4.0, 0.03, 0.1);
        let state = ClipState::new(&s);
        // floor(0.1 * 133.33) steps.
        let bit = 13.0 * f64::from(0.03f32);
        for whole in 0..=10 {
            let sum = (f64::from(whole) - f64::from(10 - whole)) * bit;
            let estimate = state.unclipped(&s, sum, 10).unwrap();
            assert!((estimate - f64::from(whole) / 10.0).abs() < 1e-12, "{whole}: {estimate}");
        }
        assert_eq!(state.unclipped(&s, 1e9, 10), Some(1.0));
        assert_eq!(state.unclipped(&s, -1e9, 10), Some(0.0));
        assert_eq!(state.unclipped(&s, 0.0, 0), None);
        let without = Settings { privacy: Privacy::new(1.0, Profile::Central), ..s };
        assert_eq!(state.unclipped(&without, 0.0, 10), None);
    }

    #[test]
    fn the_update_is_that_of_the_paper() {
        let mut s = settings(2.0, 0.01, 0.1);
        let state = ClipState::new(&s);
        state.follow(&mut s, 0.2);
        // exp(-0.3 (0.2 - 0.7)) = exp(0.15)
        assert!((f64::from(s.privacy.clip_norm) - 2.0 * 0.15f64.exp()).abs() < 1e-6);
        state.follow(&mut s, 0.7);
        assert!((f64::from(s.privacy.clip_norm) - 2.0 * 0.15f64.exp()).abs() < 1e-6, "on target it stays");
    }

    #[test]
    fn the_bit_has_the_papers_noise_or_a_step() {
        let privacy = |z, profile| Privacy { noise_multiplier: z, ..Privacy::new(2.0, profile) };
        let share = |z, profile, step| bit_share(&privacy(z, profile), step, 1000);
        // s_b = 50: r = z / (2 s_b).
        assert!((share(1.0, Profile::Central, 1e-6) - 0.01).abs() < 1e-8);
        assert!((share(1.0, Profile::Local, 1e-6) - 0.316_227_8).abs() < 1e-6);
        assert!((share(0.0, Profile::Central, 0.5) - 0.25).abs() < 1e-4);
        assert_eq!(share(1e3, Profile::Central, 1e-6), MAX_BIT_SHARE);
        // And a step it is on that grid.
        let with_bit = |z, step| {
            let p = privacy(z, Profile::Central);
            Privacy { clipping: Clipping::Adaptive { bit_share: bit_share(&p, step, 1000) }, ..p }
        };
        assert_eq!(with_bit(0.0, 0.3).bit_steps(0.3), Some(1.0));
        assert_eq!(with_bit(4.0, 0.009_9).bit_steps(0.009_9), Some(8.0));
    }

    proptest! {
        #[test]
        fn the_grid_keeps_its_ratio(
            clip in 1e-3f32..1e3, steps in 1.0f32..1e6, estimates in prop::collection::vec(0.0f64..=1.0, 1..40),
        ) {
            let mut s = settings(clip, clip / steps, 0.1);
            let state = ClipState::new(&s);
            for estimate in estimates {
                state.follow(&mut s, estimate);
                let now = s.privacy.clip_norm / s.quantization.step;
                prop_assert!(now >= state.steps && now <= state.steps * (1.0 + 1e-6), "{} {}", now, state.steps);
            }
        }
    }
}
