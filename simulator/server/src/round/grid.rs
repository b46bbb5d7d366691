//! The grid of the distributed profile: how fine it may be so that sums do not wrap, and what that costs.

use siskin::checkin::{Distributed, MAX_SHARE_STEPS, Privacy, Profile, ShareNoise};
use siskin::privacy::rotated_len;
use siskin::privacy::sample::{MAX_DEVIATION, MAX_SKELLAM_DEVIATION};

/// Standard deviations of a coordinate of the sum that the modulus holds on each side: one coordinate in 16,000 wraps at the
/// most, and only where all deltas are alike (Kairouz, Liu, Steinke 2021, section 6, take 4 too).
const DEVIATIONS: f64 = 4.0;

/// Why a plan's sums would not be what was added.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error(
    "sums of {reports} reports need {needed} on each side of 0, the modulus 2^{bits} has {room}: a coarser step or more bits"
)]
pub struct ModulusError {
    /// Most reports in a round.
    pub reports: u64,
    /// Of the plan.
    pub bits: u8,
    /// Four standard deviations of a coordinate of the sum, in steps.
    pub needed: f64,
    /// Half of the modulus.
    pub room: f64,
}

/// Standard deviation of a coordinate of the sum in units of the clip norm: of `reports` equal deltas of the clip norm, rotated,
/// and of their shares of noise.
fn deviation(privacy: &Privacy, shares: u32, live: usize, reports: u64) -> f64 {
    let n = reports as f64;
    let share = f64::from(privacy.noise_multiplier).powi(2) / f64::from(shares);
    libm::sqrt(n * n / rotated_len(privacy.coordinates(live)) as f64 + n * share)
}

/// The step of the finest grid, in the units of the params, on which `reports` reports of `live` coordinates do not wrap and the
/// samplers still reach the noise; none for another profile. It is the scale `1 / gamma` of Kairouz, Liu, Steinke 2021, section 6.
pub fn finest_step(privacy: &Privacy, live: usize, reports: u64) -> Option<f32> {
    let Profile::Distributed(Distributed { shares, bits, noise, .. }) = privacy.profile else { return None };
    let room = f64::from(1u32 << (bits.clamp(8, 24) - 1));
    // Rounding adds up to a quarter to the variance of each report's coordinate.
    let rounding = DEVIATIONS * DEVIATIONS * reports as f64 / 4.0;
    let of_modulus =
        libm::sqrt((room * room - rounding).max(1.0)) / (DEVIATIONS * deviation(privacy, shares, live, reports));
    let share = f64::from(privacy.noise_multiplier) / libm::sqrt(f64::from(shares));
    let most = match noise {
        ShareNoise::DiscreteGaussian => MAX_DEVIATION,
        ShareNoise::Skellam => MAX_SKELLAM_DEVIATION,
    };
    let of_sampler = if share > 0.0 { 0.999 * most / share } else { f64::INFINITY };
    let steps = of_modulus.min(of_sampler).min(f64::from(MAX_SHARE_STEPS) * 0.999);
    Some((f64::from(privacy.clip_norm) / steps * (1.0 + 1e-6)) as f32)
}

/// Checks that sums of `reports` reports do not wrap.
pub(super) fn check_modulus(privacy: &Privacy, step: f32, live: usize, reports: u64) -> Result<(), ModulusError> {
    let Profile::Distributed(Distributed { shares, bits, .. }) = privacy.profile else { return Ok(()) };
    let steps = f64::from(privacy.clip_norm) / f64::from(step);
    let square = (deviation(privacy, shares, live, reports) * steps).powi(2) + reports as f64 / 4.0;
    let (needed, room) = (DEVIATIONS * libm::sqrt(square), f64::from(1u32 << (bits.clamp(8, 24) - 1)));
    if needed <= room { Ok(()) } else { Err(ModulusError { reports, bits, needed, room }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_finest_step_is_the_finest_that_is_allowed() {
        for (bits, reports, noise) in [(16, 100, ShareNoise::DiscreteGaussian), (20, 1000, ShareNoise::Skellam)] {
            let profile = Profile::Distributed(Distributed { shares: 50, bits, noise, rotation: 0 });
            let privacy = Privacy { noise_multiplier: 1.0, ..Privacy::new(2.0, profile) };
            let step = finest_step(&privacy, 1 << 17, reports).unwrap();
            check_modulus(&privacy, step, 1 << 17, reports).unwrap();
            if noise == ShareNoise::DiscreteGaussian {
                check_modulus(&privacy, step * 0.99, 1 << 17, reports).unwrap_err();
            }
        }
        assert_eq!(finest_step(&Privacy::new(1.0, Profile::Local), 10, 10), None);
    }

    /// The table of the reference recipe: c = 1, z = 1, n = 1000, d = 2^17, 16 bits give a scale of 2789.
    #[test]
    fn the_scale_is_that_of_the_paper() {
        let profile = Profile::Distributed(Distributed {
            shares: 1000,
            bits: 16,
            noise: ShareNoise::DiscreteGaussian,
            rotation: 0,
        });
        let privacy = Privacy { noise_multiplier: 1.0, ..Privacy::new(1.0, profile) };
        let scale = 1.0 / f64::from(finest_step(&privacy, 1 << 17, 1000).unwrap());
        assert!((scale - 2789.0).abs() < 2.0, "{scale}");
    }
}
