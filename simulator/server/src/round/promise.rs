//! What a round promises to the accountant.

use super::Settings;
use serde::{Deserialize, Serialize};
use siskin::checkin::{Distributed, Profile, ShareNoise, Weighting};

/// The noise of one round as an accountant needs it. Who sees what: see [`siskin::privacy`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Promise {
    /// The distribution of what was added.
    pub mechanism: NoiseMechanism,
    /// Standard deviation on each coordinate of what is released, in the units of the params.
    pub sigma: f64,
    /// How far one report moves what is released, L2, in the units of the params; the rounding to the grid is within it.
    pub sensitivity: f64,
    /// How far one example moves it, where examples are clipped; else only the user's whole contribution is bounded.
    pub example_sensitivity: Option<f64>,
    /// The grid's step.
    pub step: f32,
    /// Shares that `sigma` is made of: 1 unless the noise is distributed. With fewer the round fails.
    pub shares: u32,
    /// Sums are modulo `2^bits`, if they are.
    pub modulus_bits: Option<u8>,
    /// What carries the noise.
    pub released: Released,
}

/// The distribution of noise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum NoiseMechanism {
    /// Rounded Gaussian of the server's.
    Gaussian,
    /// Discrete Gaussian on the grid: of one device, or the sum of shares.
    DiscreteGaussian,
    /// Skellam on the grid, the sum of shares.
    Skellam,
}

/// What carries the noise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Released {
    /// The sum of a round; whoever sums must be trusted with what it sums.
    Sum,
    /// Each report, so also everything that is made of it.
    Report,
}

impl Promise {
    /// What `settings` promise of each round for reports of so many coordinates; none without noise.
    pub fn of(settings: &Settings, coordinates: usize) -> Option<Self> {
        let privacy = &settings.privacy;
        if privacy.noise_multiplier <= 0.0 {
            return None;
        }
        let weight = match settings.upload.weighting {
            Weighting::Uniform => 1,
            Weighting::Examples { cap } => cap.max(1),
        };
        let sensitivity = f64::from(privacy.clip_norm) * f64::from(weight);
        let (mechanism, shares, modulus_bits, released) = match privacy.profile {
            Profile::Central => (NoiseMechanism::Gaussian, 1, None, Released::Sum),
            Profile::Local => (NoiseMechanism::DiscreteGaussian, 1, None, Released::Report),
            Profile::Distributed(Distributed { shares, bits, noise, .. }) => {
                let mechanism = match noise {
                    ShareNoise::DiscreteGaussian => NoiseMechanism::DiscreteGaussian,
                    ShareNoise::Skellam => NoiseMechanism::Skellam,
                };
                (mechanism, shares, Some(bits), Released::Sum)
            }
        };
        let sigma = f64::from(privacy.noise_multiplier) * sensitivity;
        let step = settings.quantization.step;
        let example = privacy.example_sensitivity(&settings.training, step, coordinates);
        let example_sensitivity = example.map(|example| example * f64::from(weight));
        Some(Self { mechanism, sigma, sensitivity, example_sensitivity, step, shares, modulus_bits, released })
    }

    /// `sigma / sensitivity`.
    pub fn noise_multiplier(&self) -> f64 {
        self.sigma / self.sensitivity
    }
}
