//! Where the step of the grid goes from round to round, and with it what reports cost.
//!
//! The step of a round is known before the round, from public numbers or from what reports reveal anyway: their sizes. Nothing is
//! asked of a device for it. What moves is the ratio of step and clip norm: with adaptive clipping the norm moves first and the step
//! with it, then the ratio.
//!
//! Where reports carry the signs of rotated deltas nothing moves at all: how many travel follows from the budget.
//!
//! # Privacy
//! | noise | what the sizes are |
//! |---|---|
//! | none | no more than what the server sees anyway |
//! | local | of noised values, so that whatever follows from them is free |
//! | central | of deltas without noise: their sum is noised before the step follows it, and that is accounted for ([`SIZE_NOISE`]) |
//! | central and correlated, or of examples | no account of it: a fixed step or a schedule ([`Settings::check`]) |
//! | distributed | all the same, as words modulo `2^bits` are not compressed: the grid follows from the modulus |
//!
//! [`Settings::check`]: super::Settings::check

mod check;
mod schedule;
mod signs;
mod sizes;
mod tracker;
mod trial;

pub use schedule::StepSchedule;
pub use signs::SIGNS_UP_TO;
pub(super) use sizes::Sizes;
use tracker::Tracker;
pub(super) use trial::Trial;

use super::Settings;
use crate::privacy::Gaussian;
use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};
use siskin::checkin::{LEAST_SHARE_DEVIATION, Profile, Rounding};
use std::f64::consts::LN_2;

/// How the step of each round is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Rate {
    /// As the settings have it.
    Fixed,
    /// By the number of the round.
    Schedule(StepSchedule),
    /// So that reports have so many bits a live param in the mean.
    Bits(Budget),
    /// So that one more bit a param saves so much squared error a param, in squared units of the params: `-dD/dR`, the lambda of
    /// Mitchell, Ballé, Charles and Konečný 2022.
    Slope(f64),
}

/// Bits that reports may have.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    /// Of coded symbols, over the live params that train; headers and framing are not in it. 0.0001 to 16.
    pub bits: f64,
    /// Part of the coordinates that a report carries. None leaves it to the server where rounding is stochastic and the plan promises
    /// no noise: as many as the budget has bits for at the step at which bits say most. Else it is all of them.
    pub keep: Option<f32>,
}

/// Bits of a coordinate that travels in the first round, as a guess, where the server picks how many travel.
pub const FIRST_BITS: f64 = 0.5;

/// Bits of a coordinate that travels, between which they say most: 0.15 to 0.9 on all deltas that were looked at.
const LIKELY_BITS: std::ops::RangeInclusive<f64> = 0.1..=2.0;

/// Least part that a plan may have.
const LEAST_PART: f64 = 1.0 / 65_536.0;
/// A part from which on all coordinates travel.
const NEARLY_ALL: f64 = 0.98;

/// Standard deviation of the noise on the sum of sizes over that on the sum of deltas, each relative to what one report may add. A
/// round with both costs what one with noise of `z / sqrt(1 + 1 / SIZE_NOISE^2)` costs, half a percent less noise: two Gaussian
/// mechanisms of `z` and `SIZE_NOISE z` on the same reports are one of both coordinates.
pub const SIZE_NOISE: f64 = 10.0;

/// The most by which the logarithm of the step moves in a round, after the first few that measured something.
const LARGEST_MOVE: f64 = LN_2;
/// The same in those.
const FIRST_MOVES: f64 = 3.5;
const FIRST: u32 = 4;

impl Rate {
    /// Part of the coordinates that travel in the first round.
    pub(super) fn first_part(&self, settings: &Settings) -> f32 {
        match *self {
            Self::Bits(Budget { keep: Some(keep), .. }) => keep,
            Self::Bits(Budget { bits, .. }) if self.weighs_parts(settings) => {
                (bits / FIRST_BITS).clamp(LEAST_PART, 1.0) as f32
            }
            _ => settings.quantization.keep,
        }
    }

    /// True if step and part move together.
    fn weighs_parts(&self, settings: &Settings) -> bool {
        matches!(self, Self::Bits(Budget { keep: None, .. })) && trial::may_weigh(settings)
    }
}

impl Settings {
    /// True if noise must be added to the sum of sizes.
    pub fn noises_sizes(&self) -> bool {
        let central = self.privacy.noise_multiplier > 0.0 && self.privacy.profile == Profile::Central;
        central && matches!(self.rate, Rate::Bits(_))
    }

    /// What is left of a noise multiplier by what sizes cost beside it: 1 where they cost nothing.
    pub fn noise_beside_sizes(&self) -> f64 {
        if self.noises_sizes() { 1.0 / libm::sqrt(1.0 + 1.0 / (SIZE_NOISE * SIZE_NOISE)) } else { 1.0 }
    }
}

/// What the controller made of a round.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Followed {
    /// Bits a live param that it measured, with the noise that it may see them through; none if it measured nothing.
    pub bits: Option<f64>,
    /// Slope `-dD/dR` that it estimates, in squared units of the params a bit; where it is the target.
    pub slope: Option<f64>,
}

/// The state from round to round.
#[derive(Debug, Clone)]
pub(super) struct RateState {
    /// Logarithm of step over clip norm before the first round.
    first: f64,
    /// Now.
    log_ratio: f64,
    /// Part of the coordinates that travel, where it moves.
    part: Option<f32>,
    tracker: Tracker,
}

impl RateState {
    pub(super) fn new(settings: &Settings) -> Self {
        let first = libm::log(f64::from(settings.quantization.step) / f64::from(settings.privacy.clip_norm));
        let part = settings.rate.weighs_parts(settings).then(|| settings.rate.first_part(settings));
        Self { first, log_ratio: first, part, tracker: Tracker::new(!settings.privacy.leaves_room()) }
    }

    /// Part of the coordinates that travel, if it is not as the settings have it; after [`follow`](Self::follow).
    pub(super) fn part(&self) -> Option<f32> {
        self.part
    }

    /// Step over clip norm of `round`, if it is not the one before; after [`follow`](Self::follow).
    pub(super) fn ratio(&self, settings: &Settings, round: u32) -> Option<f64> {
        match settings.rate {
            Rate::Fixed => None,
            Rate::Bits(_) if settings.sends_signs() => None,
            Rate::Schedule(schedule) => Some(libm::exp(self.first) * schedule.factor(round)),
            Rate::Bits(_) | Rate::Slope(_) => Some(libm::exp(self.log_ratio)),
        }
    }

    /// True as long as few rounds have measured anything.
    pub(super) fn is_first(&self) -> bool {
        self.tracker.seen() < FIRST
    }

    /// Local step sizes change by this factor, and deltas with them: the step goes along, before reports say so. Not with
    /// noise, where most deltas are of the clip norm.
    pub(super) fn rescaled(&mut self, settings: &Settings, factor: f64) {
        let (least, largest) = limits(settings);
        if settings.privacy.leaves_room() && factor.is_finite() && factor > 0.0 {
            self.log_ratio = (self.log_ratio + libm::log(factor)).clamp(libm::log(least), libm::log(largest));
        }
    }

    /// A round went by of which nothing is known.
    pub(super) fn wait(&mut self) {
        self.tracker.wait();
    }

    /// Learns from the sizes of a round; `rng` gives the noise where that is due.
    pub(super) fn follow(
        &mut self,
        settings: &Settings,
        sizes: &Sizes,
        trial: &Trial,
        rng: &mut impl CryptoRng,
    ) -> Followed {
        let nothing = Followed { bits: None, slope: None };
        let part = f64::from(settings.quantization.keep);
        if matches!(settings.rate, Rate::Fixed | Rate::Schedule(_)) {
            return nothing;
        }
        let measured = if settings.noises_sizes() {
            // Missing reports add nothing, so that the planned cohort takes the place of who came.
            let deviation = SIZE_NOISE * f64::from(settings.privacy.noise_multiplier);
            let noise = deviation * Gaussian::new(rng).sample();
            Some(sizes.noised(noise, deviation, settings.cohort))
        } else {
            sizes.mean()
        };
        let Some((bits, variance)) = measured else {
            self.tracker.wait();
            return nothing;
        };
        if settings.sends_signs() {
            return Followed { bits: Some(bits * part), slope: None };
        }
        self.tracker.observe(bits, variance);
        let slope = match settings.rate {
            Rate::Slope(_) => self.slope(settings, sizes),
            _ => None,
        };
        let wish = match (settings.rate, slope) {
            (Rate::Bits(budget), _) if self.part.is_some() => self.weighed(budget.bits, trial),
            (Rate::Bits(budget), _) => self.tracker.toward(budget.bits / part),
            // At coarse steps the slope is as the step to a power of between 1 and 2, at fine ones as its square.
            (Rate::Slope(wanted), Some(slope)) => 0.5 * libm::log(wanted / slope),
            _ => 0.0,
        };
        let most = if self.is_first() { FIRST_MOVES } else { LARGEST_MOVE };
        let (least, largest) = limits(settings);
        let next = (self.log_ratio + wish.clamp(-most, most)).clamp(libm::log(least), libm::log(largest));
        self.tracker.moved(next - self.log_ratio);
        self.log_ratio = next;
        if let (Some(part), Rate::Bits(budget)) = (&mut self.part, settings.rate) {
            // At the step that it has come to. Nearly all may as well be all.
            let wanted = budget.bits / self.tracker.bits();
            *part = if wanted > NEARLY_ALL { 1.0 } else { wanted.max(LEAST_PART) as f32 };
        }
        Followed { bits: Some(bits * part), slope }
    }

    /// The step's move: to where all coordinates have the budget, or to a finer step, if that is the better way to spend it on some.
    fn weighed(&self, budget: f64, trial: &Trial) -> f64 {
        let all = self.tracker.toward(budget);
        // Far from where any deltas had their minimum the product is nearly straight, and its slope says only which way.
        if !LIKELY_BITS.contains(&self.tracker.bits()) {
            return all.min(self.tracker.toward(FIRST_BITS));
        }
        // Slopes of few reports are guesses, and the minimum is flat.
        let damping = if self.is_first() { 1.0 } else { 0.5 };
        trial.wish().map_or(all, |octaves| all.min(damping * LN_2 * octaves.clamp(-2.0, 2.0)))
    }

    /// `-dD/dR` at the step of the round. Dithered, `D` is `step^2 / 12` whatever the coordinates are. Else, with `m` the mean magnitude of a symbol, `dD / d ln step` is `step^2 min(m, 1/3)` where
    /// rounding is stochastic (a coordinate below a step adds `|x| (step - |x|)`, on a fine grid all add `step^2 / 6`), and half of
    /// that to the nearest; `dR / d ln step` is what the sizes say.
    fn slope(&self, settings: &Settings, sizes: &Sizes) -> Option<f64> {
        let step = f64::from(settings.quantization.step);
        let magnitude = sizes.magnitude()?.min(1.0 / 3.0);
        let part = match settings.quantization.rounding {
            Rounding::Nearest => 0.5 * magnitude,
            Rounding::Dithered => 1.0 / 6.0,
            _ => magnitude,
        };
        let rise = part * step * step;
        Some(rise / self.tracker.fall()).filter(|slope| slope.is_finite() && *slope > 0.0)
    }
}

/// The least and largest ratio of step and clip norm that plans of these settings may have.
fn limits(settings: &Settings) -> (f64, f64) {
    let privacy = &settings.privacy;
    let largest = match (privacy.leaves_room(), settings.quantization.rounding) {
        (true, Rounding::Nearest | Rounding::Optimised { .. }) => 1.99,
        (true, _) => 32_768.0,
        (false, _) => 0.999,
    };
    let of_bit =
        privacy.bit_share().filter(|_| !privacy.leaves_room()).map_or(largest, |share| 0.999 * f64::from(share));
    let of_noise = if privacy.noise_on_device() {
        0.999 * f64::from(privacy.noise_multiplier) / f64::from(LEAST_SHARE_DEVIATION)
    } else {
        largest
    };
    // A clip norm that no delta comes near is no reason for a coarse grid; with noise there is none below 2^-21 of it.
    let least = if privacy.leaves_room() { 2f64.powi(-30) } else { 2f64.powi(-21) };
    (least, largest.min(of_bit).min(of_noise))
}

#[cfg(test)]
mod tests;
