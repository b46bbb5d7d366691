//! Normal deviates in f64: Box and Muller 1958, "A note on the generation of random normal deviates". Both deviates of a
//! pair are used. The transcendental functions are `libm`'s, so that a seed gives the same deviates on every platform.

use rand_core::CryptoRng;

/// A stream of standard normal deviates. Below 9.42 in magnitude; see the [module](super) on what floats do to them.
#[derive(Debug)]
pub struct Gaussian<'a, R: CryptoRng> {
    rng: &'a mut R,
    /// The second of a pair.
    spare: Option<f64>,
}

impl<'a, R: CryptoRng> Gaussian<'a, R> {
    /// Draws from `rng`: two `u64` a pair of deviates.
    pub fn new(rng: &'a mut R) -> Self {
        Self { rng, spare: None }
    }

    /// The next deviate.
    pub fn sample(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        // In 2^-64..=1: 64 bits and not 53 for the sake of the tail, and never 0, of which there is no logarithm.
        let radius = libm::sqrt(-2.0 * libm::log((self.rng.next_u64() as f64 + 1.0) / TWO_POW_64));
        // In [0, 2 pi).
        let angle = (self.rng.next_u64() >> 11) as f64 / TWO_POW_53 * std::f64::consts::TAU;
        let (sine, cosine) = libm::sincos(angle);
        self.spare = Some(radius * sine);
        radius * cosine
    }
}

const TWO_POW_53: f64 = (1u64 << 53) as f64;
const TWO_POW_64: f64 = 18_446_744_073_709_551_616.0;
