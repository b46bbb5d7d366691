//! Gaussian noise of one device's share.
//!
//! The plan names who adds the noise. With [`NoiseSource::Server`] nothing is added here: the server sees each clipped
//! delta and must be trusted. With [`NoiseSource::Device`] each report carries its share, so that the *sum* of `shares`
//! reports has the promised noise; a single report is then protected only by its share.
//!
//! The samples are floating-point (Box & Muller 1958 in double precision on a cryptographic generator). Mironov 2012
//! shows that floating-point noise can leak through its holes; what is sent are integers on the plan's grid, and the
//! exact discrete sampler takes this one's place in the profile that needs no trust.

use super::ClippedDelta;
use crate::checkin::{NoiseSource, Privacy};
use rand_core::CryptoRng;

/// A delta that may be quantised and sent. Only [`ClippedDelta::noise`] makes one:
/// ```compile_fail,E0451
/// let mut values = [9.0];
/// let _ = siskin::privacy::NoisedDelta { values: &mut values, deviation: 0.0 }; // its fields are private
/// ```
#[derive(Debug)]
pub struct NoisedDelta<'a> {
    pub(crate) values: &'a mut [f32],
    /// Standard deviation that was added to each coordinate here, in units of the parameters.
    deviation: f64,
}

impl<'a> ClippedDelta<'a> {
    /// Adds what the plan asks of the device, in units of this delta's own clip norm.
    pub fn noise(self, privacy: &Privacy, rng: &mut impl CryptoRng) -> NoisedDelta<'a> {
        let deviation = share(privacy) * f64::from(self.clip_norm());
        if deviation > 0.0 {
            for pair in self.values.chunks_mut(2) {
                let sample = gaussian_pair(rng);
                for (v, n) in pair.iter_mut().zip(sample) {
                    *v = (f64::from(*v) + deviation * n) as f32;
                }
            }
        }
        NoisedDelta { values: self.values, deviation }
    }
}

impl NoisedDelta<'_> {
    /// Standard deviation that was added to each coordinate on this device.
    pub fn deviation(&self) -> f64 {
        self.deviation
    }
}

/// Standard deviation of one device's noise, in units of the clip norm.
pub(crate) fn share(privacy: &Privacy) -> f64 {
    match privacy.source {
        NoiseSource::Server => 0.0,
        NoiseSource::Device { shares } => f64::from(privacy.noise_multiplier) / libm::sqrt(f64::from(shares)),
    }
}

/// Two independent standard normal samples.
fn gaussian_pair(rng: &mut impl CryptoRng) -> [f64; 2] {
    // (0, 1]: the logarithm is finite.
    let u = ((rng.next_u64() >> 11) + 1) as f64 * (1.0 / 9_007_199_254_740_992.0);
    let angle = core::f64::consts::TAU * ((rng.next_u64() >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0));
    let radius = libm::sqrt(-2.0 * libm::log(u));
    [radius * libm::cos(angle), radius * libm::sin(angle)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim::Delta;
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;
    use std::vec;

    fn noised(source: NoiseSource) -> vec::Vec<f32> {
        let mut values = vec![0.0f32; 40_000];
        let privacy = Privacy { clip_norm: 2.0, noise_multiplier: 3.0, source };
        let mut rng = ChaCha20Rng::from_seed([7; 32]);
        let noised = Delta::new(&mut values).clip(privacy.clip_norm).noise(&privacy, &mut rng);
        assert_eq!(noised.deviation(), if source == NoiseSource::Server { 0.0 } else { 3.0 * 2.0 / 4.0 });
        values
    }

    #[test]
    fn the_share_has_the_promised_variance() {
        let values = noised(NoiseSource::Device { shares: 16 });
        let n = values.len() as f64;
        let chi: f64 = values.iter().map(|v| (f64::from(*v) / 1.5).powi(2)).sum();
        // Chi-square with n degrees of freedom: normal approximation, alpha = 0.001 two-sided is 3.29 deviations.
        assert!(((chi - n) / (2.0 * n).sqrt()).abs() < 3.29, "{chi}");
        let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
        assert!((mean / 1.5 * n.sqrt()).abs() < 3.29, "{mean}");
        let lag: f64 = values.windows(2).map(|w| f64::from(w[0]) * f64::from(w[1])).sum::<f64>() / 2.25;
        assert!((lag / n.sqrt()).abs() < 3.29, "{lag}");
    }

    #[test]
    fn nothing_is_added_where_the_server_does() {
        assert!(noised(NoiseSource::Server).iter().all(|v| *v == 0.0));
    }
}
