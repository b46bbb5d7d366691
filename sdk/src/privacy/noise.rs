//! The device's noise: integers added to integers.
//!
//! The plan's [`Profile`] names who adds it. What leaves the device is exact: symbols whose norm was checked on integers, plus
//! samples of [`sample`](super::sample); no float takes part but the deviation, which is rounded up. Value and noise lie on one
//! fixed grid, so low-order bits say nothing (Haney et al. 2022 show what they say otherwise).

use super::sample::{DeviationError, DiscreteGaussian, Skellam, Variance};
use crate::checkin::{Distributed, Privacy, Profile, ShareNoise, parts};
use crate::quantize::{MAX_SYMBOL, Symbols};
use rand_core::CryptoRng;

/// Symbols that may be coded and sent. Only [`Symbols::noise`] makes them:
/// ```compile_fail,E0451
/// let mut values = [9];
/// let _ = siskin::privacy::NoisedSymbols { values: &mut values, deviation: 0.0 }; // its fields are private
/// ```
#[derive(Debug)]
pub struct NoisedSymbols<'a> {
    pub(crate) values: &'a mut [i32],
    /// Standard deviation that was added to each coordinate here, in steps.
    deviation: f64,
}

/// What one device adds to each coordinate.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Noise {
    /// Nothing: the server adds it.
    None,
    Gaussian(DiscreteGaussian),
    Skellam(Skellam),
}

impl<'a> Symbols<'a> {
    /// Adds what the plan asks of the device, in units of this vector's own bound; under [`Profile::Distributed`] the result is
    /// reduced to `bits` bits around 0. The samples are drawn whatever the symbols are.
    ///
    /// # Errors
    /// [`DeviationError`] if the samplers do not reach the deviation; a checked plan's they do. Also for noise of any party on symbols
    /// that came [`without_noise`](crate::privacy::ClippedDelta::without_noise). Nothing may be sent then.
    pub fn noise(self, privacy: &Privacy, rng: &mut impl CryptoRng) -> Result<NoisedSymbols<'a>, DeviationError> {
        let deviation = share(privacy) * (f64::from(self.clip_norm) / f64::from(self.step));
        if self.roomy && !privacy.leaves_room() {
            return Err(DeviationError { limit: 0.0, got: f64::from(privacy.noise_multiplier) });
        }
        let values = self.values;
        let noise = noise_of(privacy, deviation)?;
        // 0 is none: what loops look at is there in every profile.
        let bits = privacy.distributed().map_or(0, |distributed| distributed.bits);
        match &noise {
            Noise::Gaussian(sampler) => add(values, bits, || sampler.sample(rng)),
            Noise::Skellam(sampler) if parts::DISTRIBUTED.here => add(values, bits, || sampler.sample(rng)),
            Noise::Skellam(_) | Noise::None => {}
        }
        Ok(NoisedSymbols { values, deviation: if noise == Noise::None { 0.0 } else { deviation } })
    }
}

/// Adds a sample to each value: modulo `2^bits`, or without a modulus.
fn add(values: &mut [i32], bits: u8, mut sample: impl FnMut() -> i64) {
    for value in values {
        let sample = sample();
        *value = if bits > 0 {
            centred(i64::from(*value).wrapping_add(sample), bits)
        } else {
            // Post-processing, of what never occurs.
            i64::from(*value).saturating_add(sample).clamp(-i64::from(MAX_SYMBOL), i64::from(MAX_SYMBOL)) as i32
        };
    }
}

impl NoisedSymbols<'_> {
    /// One integer per coordinate.
    pub fn values(&self) -> &[i32] {
        self.values
    }

    /// Standard deviation that was added to each coordinate on this device, in steps.
    pub fn deviation(&self) -> f64 {
        self.deviation
    }
}

/// The representative of `x` modulo `2^bits` in `[-2^(bits - 1), 2^(bits - 1))`; `bits` is 1 to 32.
pub fn centred(x: i64, bits: u8) -> i32 {
    let unused = 32 - u32::from(bits.clamp(1, 32));
    ((x as i32) << unused) >> unused
}

/// Standard deviation of one device's noise, in units of the clip norm.
pub(crate) fn share(privacy: &Privacy) -> f64 {
    let whole = f64::from(privacy.noise_multiplier);
    match privacy.profile {
        Profile::Central => 0.0,
        Profile::Local => whole,
        Profile::Distributed(Distributed { shares, .. }) => whole / libm::sqrt(f64::from(shares)),
    }
}

fn noise_of(privacy: &Privacy, deviation: f64) -> Result<Noise, DeviationError> {
    if deviation == 0.0 {
        return Ok(Noise::None);
    }
    let variance = Variance::of_deviation(deviation)?;
    match privacy.profile {
        Profile::Distributed(Distributed { noise: ShareNoise::Skellam, .. }) if parts::DISTRIBUTED.here => {
            Skellam::new(variance).map(Noise::Skellam)
        }
        _ => Ok(Noise::Gaussian(DiscreteGaussian::new(variance))),
    }
}

/// Checks that the samplers reach what a plan asks for on a grid of `step`.
pub(crate) fn check(privacy: &Privacy, step: f32) -> Result<(), DeviationError> {
    noise_of(privacy, share(privacy) * (f64::from(privacy.clip_norm) / f64::from(step))).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkin::{Clipping, Quantization, Rounding, Weighting};
    use crate::optim::Delta;
    use crate::privacy::GridBound;
    use proptest::prelude::*;
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;
    use std::vec::Vec;

    const GRID: Quantization = Quantization { step: 0.25, rounding: Rounding::Stochastic, keep: 1.0 };

    fn distributed(shares: u32, bits: u8, noise: ShareNoise) -> Profile {
        Profile::Distributed(Distributed { shares, bits, noise, rotation: 0 })
    }

    fn noised(profile: Profile) -> (Vec<i32>, f64) {
        let mut values = std::vec![0.0f32; 40_000];
        let privacy = Privacy { noise_multiplier: 3.0, ..Privacy::new(2.0, profile) };
        let mut rng = ChaCha20Rng::from_seed([7; 32]);
        let symbols = Delta::new(&mut values).clip(privacy.clip_norm).quantize(&GRID, 1).unwrap();
        let noised = symbols.noise(&privacy, &mut rng).unwrap();
        let deviation = noised.deviation();
        (noised.values().to_vec(), deviation)
    }

    #[test]
    fn each_profile_has_the_promised_variance() {
        let shared = |noise| distributed(16, 20, noise);
        // Of 8 steps: all of 3 * 8, or a quarter of it.
        for (profile, expected) in
            [(Profile::Local, 24.0), (shared(ShareNoise::DiscreteGaussian), 6.0), (shared(ShareNoise::Skellam), 6.0)]
        {
            let (values, deviation) = noised(profile);
            assert_eq!(deviation, expected);
            let n = values.len() as f64;
            let chi: f64 = values.iter().map(|v| (f64::from(*v) / expected).powi(2)).sum();
            // Chi-square with n degrees of freedom: normal approximation, alpha = 0.001 two-sided is 3.29 deviations.
            assert!(((chi - n) / (2.0 * n).sqrt()).abs() < 3.29, "{profile:?}: {chi}");
            let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
            assert!((mean / expected * n.sqrt()).abs() < 3.29, "{profile:?}: {mean}");
            let lag: f64 = values.windows(2).map(|w| f64::from(w[0]) * f64::from(w[1])).sum::<f64>() / expected.powi(2);
            assert!((lag / n.sqrt()).abs() < 3.29, "{profile:?}: {lag}");
        }
    }

    #[test]
    fn nothing_is_added_where_the_server_does() {
        let (values, deviation) = noised(Profile::Central);
        assert!(values.iter().all(|v| *v == 0) && deviation == 0.0);
    }

    #[test]
    fn a_modulus_wraps() {
        let whole = noised(distributed(1, 20, ShareNoise::DiscreteGaussian)).0;
        let wrapped = noised(distributed(1, 4, ShareNoise::DiscreteGaussian)).0;
        assert!(wrapped.iter().all(|v| (-8..8).contains(v)));
        assert!(whole.iter().zip(&wrapped).all(|(a, b)| (a - b) % 16 == 0));
        assert_eq!((centred(7, 4), centred(8, 4), centred(-9, 4), centred(1 << 40, 32)), (7, -8, 7, 0));
        assert_eq!((centred(i64::MIN, 24), centred(i64::MAX, 24)), (0, -1));
    }

    #[test]
    fn more_than_the_samplers_reach_is_refused() {
        let mut privacy = Privacy { noise_multiplier: 100.0, ..Privacy::new(1.0, Profile::Local) };
        assert!(check(&privacy, 1e-3).is_err());
        privacy.profile = Profile::Central;
        assert!(check(&privacy, 1e-3).is_ok());
    }

    fn adversarial() -> impl Strategy<Value = f32> {
        prop_oneof![
            3 => -10.0f32..10.0,
            1 => any::<f32>(),
            1 => prop::sample::select(std::vec![f32::NAN, f32::INFINITY, 1e30, -1e30, 1e-40, -0.0, f32::MAX, f32::MIN_POSITIVE]),
        ]
    }

    #[test]
    fn the_bit_says_what_was_clipped() {
        let (share, live, norm) = (0.25f32, 3, 8.0f32);
        // D = 8 sqrt(15/16) = 7.746; the bit is 2.1 / 0.3 = 6 steps, rounded down.
        let below = 7.745;
        for (delta, whole) in [
            ([below, 0.0, 0.0], true),
            ([0.0; 3], true),
            ([7.75, 0.0, 0.0], false),
            ([3e38; 3], false),
            ([1.0, f32::NAN, 1.0], false),
            ([0.0, f32::NEG_INFINITY, 0.0], false),
        ] {
            let grid = Quantization { step: 0.3, rounding: Rounding::Nearest, keep: 1.0 };
            let mut values = std::vec![delta[0], delta[1], delta[2], 0.0];
            let clipped = Delta::new(&mut values).clip_adaptive(norm, share, live);
            assert_eq!(clipped.was_clipped(), !whole, "{delta:?}");
            let symbols = clipped.quantize(&grid, 1).unwrap();
            assert_eq!(symbols.values()[live], if whole { 6 } else { -6 }, "{delta:?}");
            if delta.iter().any(|v| !v.is_finite()) {
                assert_eq!(symbols.values()[..live], [0; 3]);
            }
        }
        // Rotated, it is spread; what comes back is the float.
        let mut values = std::vec![0.5, -0.25, 0.0, 0.0];
        let clipped = Delta::new(&mut values).clip_adaptive(norm, share, live).rotate(3, 4);
        let symbols =
            clipped.quantize(&Quantization { step: 1e-3, rounding: Rounding::Nearest, keep: 1.0 }, 1).unwrap();
        let mut back: Vec<f32> = symbols.values().iter().map(|q| *q as f32 * 1e-3).collect();
        crate::privacy::rotate_back(&mut back, 3, 4);
        assert!((back[live] - 2.0).abs() < 2e-3 && (back[0] - 0.5).abs() < 2e-3, "{back:?}");
    }

    /// What a bit of a rotated report is worth: less than its share where rounding lengthens the delta beyond the bound. For a delta
    /// on the bound and for one of half the norm, by the clip norm in steps over the root of the coordinates.
    #[test]
    fn the_bit_of_a_rotated_report_is_shortened_with_it() {
        let (n, share) = (4096usize, 0.25f32);
        for ratio in [4.0f32, 1.0, 0.5, 0.25] {
            let step = 1.0 / (ratio * (n as f32).sqrt());
            let worth = |norm: f32| {
                let reports = 32;
                let of = |seed: u32| {
                    // Every other value, so that the delta is neither flat nor sparse before it is rotated.
                    let mut values: Vec<f32> =
                        (0..n).map(|i| if i % 2 == 0 && i < n - 1 { 1.0 } else { 0.0 }).collect();
                    let length = crate::privacy::norm(&values) as f32;
                    values.iter_mut().for_each(|v| *v *= norm / length);
                    let grid = Quantization { step, rounding: Rounding::Stochastic, keep: 1.0 };
                    let clipped = Delta::new(&mut values).clip_adaptive(1.0, share, n - 1).rotate(seed, 1);
                    let symbols = clipped.quantize(&grid, u64::from(seed)).unwrap();
                    let mut back: Vec<f32> = symbols.values().iter().map(|q| *q as f32 * step).collect();
                    crate::privacy::rotate_back(&mut back, seed, 1);
                    f64::from(back[n - 1].abs() / share)
                };
                (0..reports).map(of).sum::<f64>() / f64::from(reports)
            };
            let got = [worth(2.0), worth(0.5)];
            std::println!(
                "clip norm of {ratio} sqrt(d) steps: {:.3} of a bit clipped, {:.3} at half the norm",
                got[0],
                got[1]
            );
            // Rotated, the coordinates are nearly normal. Of a normal one of deviation s, rounding adds `E f (1 - f)` of a squared step:
            // with the Fourier series of f (1 - f), 1/6 less the sum over k of exp(-2 pi^2 k^2 s^2) / (pi k)^2.
            let pi_squared = core::f64::consts::PI.powi(2);
            let added = |s: f64| {
                let term = |k: f64| libm::exp(-2.0 * pi_squared * k * k * s * s) / (pi_squared * k * k);
                1.0 / 6.0 - (1..200).map(|k| term(f64::from(k))).sum::<f64>()
            };
            // The factor at which both together are the bound, or 1.
            let factor = |squared_norm: f64| {
                let r = f64::from(ratio);
                let of = |f: f64| f * f * squared_norm * r * r + added(f * r * squared_norm.sqrt());
                let (mut low, mut high) = (0.0, 1.0);
                for _ in 0..50 {
                    let middle = 0.5 * (low + high);
                    if of(middle) <= r * r { low = middle } else { high = middle }
                }
                low
            };
            // The delta is left with 15/16 of the squared bound, the bit takes 1/16.
            for (got, expected) in got.into_iter().zip([factor(1.0), factor(0.25 + 1.0 / 16.0)]) {
                // A vector is shortened by a little more than that, so that most sets of coins fit.
                assert!((expected - 0.07..expected + 0.03).contains(&got), "{ratio}: {got}, not {expected}");
            }
        }
    }

    proptest! {
        /// Delta and bit together keep the bound as a delta alone does, in integers, and the bit is one of two.
        #[test]
        fn the_bit_is_within_the_bound(
            values in prop::collection::vec(adversarial(), 1..300), clip_norm in 1e-3f32..1e3, steps in 2.0f32..3e4,
            part in 0.0f32..1.0, nearest in any::<bool>(), seed in any::<u64>(), rotated in any::<bool>(),
        ) {
            let rounding = if nearest { Rounding::Nearest } else { Rounding::Stochastic };
            let grid = Quantization { step: clip_norm / steps * 0.999, rounding, keep: 1.0 };
            let share = (1.001 / steps).max(part * crate::checkin::MAX_BIT_SHARE);
            let privacy = Privacy { clipping: Clipping::Adaptive { bit_share: share }, ..Privacy::new(clip_norm, Profile::Central) };
            prop_assert!(privacy.validate(&grid, Weighting::Uniform).is_ok());
            let mut copy = values.clone();
            copy.push(0.0);
            copy.resize(if rotated { copy.len().next_power_of_two() } else { copy.len() }, 0.0);
            let mut clipped = Delta::new(&mut copy).clip_adaptive(clip_norm, share, values.len());
            let was_clipped = clipped.was_clipped();
            if rotated {
                clipped = clipped.rotate(1, 2);
            }
            let symbols = clipped.quantize(&grid, seed).unwrap();
            let noised = symbols.noise(&privacy, &mut ChaCha20Rng::from_seed([1; 32])).unwrap();
            let bound = GridBound::new(clip_norm, grid.step).unwrap();
            prop_assert!(bound.holds(noised.values()), "{:?}", noised.values());
            if !rotated {
                let bit = *noised.values().last().unwrap();
                prop_assert_eq!(f64::from(bit.abs()), privacy.bit_steps(grid.step).unwrap());
                prop_assert!(bit != 0 && (bit < 0) == was_clipped);
            }
        }

        /// The integer rule: whatever training made, what leaves is within the clip norm, exactly; and has its length.
        #[test]
        fn what_leaves_never_exceeds_the_bound(
            values in prop::collection::vec(adversarial(), 0..300), clip_norm in 1e-3f32..1e3, steps in 1.0f32..3e4,
            nearest in any::<bool>(), seed in any::<u64>(),
        ) {
            let rounding = if nearest { Rounding::Nearest } else { Rounding::Stochastic };
            let grid = Quantization { step: clip_norm / steps * 0.999, rounding, keep: 1.0 };
            let broken = values.iter().any(|v| !v.is_finite());
            let privacy = Privacy::new(clip_norm, Profile::Central);
            let mut copy: Vec<f32> = values.clone();
            let symbols = Delta::new(&mut copy).clip(clip_norm).quantize(&grid, seed).unwrap();
            let noised = symbols.noise(&privacy, &mut ChaCha20Rng::from_seed([1; 32])).unwrap();
            prop_assert_eq!(noised.values().len(), values.len());
            // Products of an integer and a float below 2^53 times 2^-149 and more are exact enough in f64 to compare to one part
            // in 2^50.
            let squares: f64 = noised.values().iter().map(|q| f64::from(*q).powi(2)).sum();
            prop_assert!(squares.sqrt() * f64::from(grid.step) <= f64::from(clip_norm) * (1.0 + 1e-14));
            prop_assert!(!broken || noised.values().iter().all(|q| *q == 0));
        }
    }
}
