//! A quantiser whose error *is* Gaussian noise: the direct layered quantiser, a subtractive dither on a random step.
//!
//! A Gaussian is a mixture of uniform distributions: if `A` has the distribution of the length of three independent standard normal
//! numbers and `V` is uniform on `[-1, 1]`, then `sigma A V` is `N(0, sigma^2)` (Walker 1999, "The uniform power distribution"; as a
//! quantiser: Hegazy and Li 2022, "Randomized quantization with exact error distribution"). So a coordinate is rounded on a grid of
//! step `w = 2 sigma A` with a dither `u` uniform on a step, `q = round(x / w - u)`, and the estimate is `(q + u) w`: its error is
//! uniform on `[-w/2, w/2]`, whatever `x` is, and over the random `A` it is `N(0, sigma^2)`. Nothing is spent on coding noise: where the
//! signal is small against it, nearly all symbols are 0.
//!
//! # Who must be trusted
//! Device and aggregator draw `A` and `u` from the same seed. **Whoever has the seed sees no noise**: to him a report is a
//! deterministic function of the delta. So the noise protects against everybody who sees only sums or models, as the server's own noise
//! does, and not against the aggregator: it is the `central` profile's trust with the noise for free, and never `local`. The seed must
//! be of a cryptographic generator, of one device and one round, and must not be used again.
//!
//! # Exactness
//! Both sides compute step and dither in integers, so that they agree on every target. `A` comes from a table of its quantiles, two
//! times 513, with straight lines in between: the distribution function of the error is off by less than 1e-4 anywhere (a test integrates it). A
//! symbol is limited to [`MAX_SYMBOL`], which no clipped coordinate comes near. For these reasons, and since the dither has 32 bits, the
//! noise is Gaussian to that distance and not beyond: an accountant that needs a `dp_delta` below it must be given integer noise
//! ([`sample`](crate::privacy::sample)) instead.

use super::MAX_SYMBOL;
use rand_core::CryptoRng;

/// Fractional bits of the table.
const FRACTION: u32 = 24;
/// Octaves of probability on each side of the median, each of [`CELLS`] cells.
const OCTAVES: usize = 16;
const CELLS: usize = 32;
const ENTRIES: usize = OCTAVES * CELLS + 1;

/// Quantiles of `A` in `2^-24`, for probabilities `(1 + k/32) 2^-(17 - o)` at `32 o + k`: below the median, and above it.
const QUANTILES: [[u32; ENTRIES]; 2] = quantiles();
/// `A` where a side ends, beyond probability `2^-17`: the largest is met less than once in 10^9.
const ENDS: [u32; 2] = [0, 13 << (FRACTION - 1)];

/// The table: the density `sqrt(2/pi) a^2 exp(-a^2/2)` summed on a grid of 1/4096 by the trapezoidal rule.
const fn quantiles() -> [[u32; ENTRIES]; 2] {
    const STEPS: usize = 4096 * 6;
    const H: f64 = 1.0 / 4096.0;
    const SCALE: f64 = 0.797_884_560_802_865_4;
    // exp(-h^2/2) and exp(-h^2) by their series.
    let square = H * H;
    let mut ratio = 1.0 - square / 2.0 + square * square / 8.0;
    let factor = 1.0 - square + square * square / 2.0;
    let mut table = [[0; ENTRIES]; 2];
    let (mut below, mut above) = (0, ENTRIES);
    let (mut sum, mut exponential, mut before, mut k) = (0.0, 1.0, 0.0, 1);
    while k <= STEPS {
        exponential *= ratio;
        ratio *= factor;
        let a = k as f64 * H;
        let density = SCALE * a * a * exponential;
        let next = sum + 0.5 * (before + density) * H;
        // Every probability between `sum` and `next`, on either side; within a step the line is straight.
        while below < ENTRIES && probability(below) <= next {
            let part = (probability(below) - sum) / (next - sum);
            table[0][below] = ((a - H + part * H) * (1u32 << FRACTION) as f64 + 0.5) as u32;
            below += 1;
        }
        while above > 0 && 1.0 - probability(above - 1) <= next {
            let part = (1.0 - probability(above - 1) - sum) / (next - sum);
            table[1][above - 1] = ((a - H + part * H) * (1u32 << FRACTION) as f64 + 0.5) as u32;
            above -= 1;
        }
        (sum, before) = (next, density);
        k += 1;
    }
    table
}

const fn probability(entry: usize) -> f64 {
    let (octave, cell) = if entry == ENTRIES - 1 { (OCTAVES, 0) } else { (entry / CELLS, entry % CELLS) };
    (1.0 + cell as f64 / CELLS as f64) / (1u32 << (17 - octave)) as f64
}

/// `A` in `2^-24` at a uniform number: the upper bit is the side of the median, the others the probability to be further from it.
fn length_at(bits: u32) -> u32 {
    let (side, t) = ((bits >> 31) as usize, bits & 0x7fff_ffff);
    let table = &QUANTILES[side];
    // t / 2^32 in [0, 1/2).
    let octave = t.leading_zeros() - 1;
    let (from, to, part) = if (octave as usize) < OCTAVES {
        let normal = t << (octave + 1);
        let entry = (OCTAVES - 1 - octave as usize) * CELLS + (normal >> 26 & 31) as usize;
        (table[entry], table[entry + 1], normal << 6)
    } else {
        (ENDS[side], table[0], t << 17)
    };
    let rise = (i64::from(to) - i64::from(from)) * i64::from(part);
    (i64::from(from) + (rise >> 32)) as u32
}

/// Step and dither of one coordinate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layer {
    /// `A` in `2^-24`.
    length: u32,
    /// `u` in `2^-32`, in `[-1/2, 1/2)`.
    dither: i32,
}

impl Layer {
    /// The next coordinate's, from the generator that device and aggregator share: one `u64` of it.
    pub fn draw(rng: &mut impl CryptoRng) -> Self {
        let bits = rng.next_u64();
        Self { length: length_at((bits >> 32) as u32).max(1), dither: bits as u32 as i32 }
    }

    /// The symbol of `x`, a coordinate in units of sigma; 0 if it is not finite.
    pub fn encode(&self, x: f32) -> i32 {
        let width = 2.0 * f64::from(self.length) / f64::from(1u32 << FRACTION);
        let symbol = libm::rint(f64::from(x) / width - f64::from(self.dither) / 4_294_967_296.0);
        if symbol.is_nan() {
            return 0;
        }
        symbol.clamp(-f64::from(MAX_SYMBOL), f64::from(MAX_SYMBOL)) as i32
    }

    /// The estimate of a symbol, in `2^-20` sigma: an integer, so that sums over devices are exact. Below `2^48` in magnitude.
    pub fn decode(&self, symbol: i32) -> i64 {
        let place = (i128::from(symbol) << 32) + i128::from(self.dither);
        // 2 A (q + u), in 2^-56.
        ((2 * i128::from(self.length) * place) >> (FRACTION + 32 - 20)) as i64
    }

    /// How unlikely a symbol other than 0 is, in octaves, `0..16`: by the distance of 0 from where rounding would change. Symbols that
    /// are coded class by class, with [`towards`](Self::towards) their sign, cost what they cost given step and dither.
    pub fn class(&self) -> usize {
        let edge = ((1u64 << 31) - u64::from(self.dither.unsigned_abs())) * u64::from(self.length);
        // In sigma it is edge / 2^55.
        (u64::BITS - edge.leading_zeros()).saturating_sub(42).min(15) as usize
    }

    /// The sign that a small symbol has: that of the nearer edge. A symbol times this is 1 where it is not 0, nearly always.
    pub fn towards(&self) -> i32 {
        if self.dither < 0 { 1 } else { -1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha20Rng;
    use rand_core::{Rng, SeedableRng};
    use std::vec::Vec;

    fn rng(seed: u64) -> ChaCha20Rng {
        let mut key = [7; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        ChaCha20Rng::from_seed(key)
    }

    fn normal(x: f64) -> f64 {
        0.5 * libm::erfc(-x / core::f64::consts::SQRT_2)
    }

    /// Largest distance of the sample's distribution function from that of a standard normal number.
    fn kolmogorov(mut sample: Vec<f64>) -> f64 {
        sample.sort_by(f64::total_cmp);
        let n = sample.len() as f64;
        let at = |(i, x): (usize, &f64)| (normal(*x) - i as f64 / n).max((i + 1) as f64 / n - normal(*x));
        sample.iter().enumerate().map(at).fold(0.0, f64::max)
    }

    fn errors(x: impl Fn(usize) -> f32, n: usize, seed: u64) -> Vec<f64> {
        let mut shared = rng(seed);
        let each = |i| {
            let layer = Layer::draw(&mut shared);
            layer.decode(layer.encode(x(i))) as f64 / 1_048_576.0 - f64::from(x(i))
        };
        (0..n).map(each).collect()
    }

    #[test]
    fn the_table_has_the_quantiles() {
        // erf(a / sqrt 2) - sqrt(2/pi) a exp(-a^2/2)
        let distribution =
            |a: f64| libm::erf(a / core::f64::consts::SQRT_2) - 0.797_884_560_802_865_4 * a * libm::exp(-a * a / 2.0);
        for (side, table) in QUANTILES.iter().enumerate() {
            for (entry, &length) in table.iter().enumerate() {
                let a = f64::from(length) / 16_777_216.0;
                let got = if side == 0 { distribution(a) } else { 1.0 - distribution(a) };
                assert!((got / probability(entry) - 1.0).abs() < 3e-4, "{side} {entry}: {got}, {}", probability(entry));
            }
        }
        assert_eq!(QUANTILES[0][ENTRIES - 1], QUANTILES[1][ENTRIES - 1], "the median");
    }

    /// The error's exact distribution function, integrated over `A`: cell by cell `A` is uniform, and of a given `A` the error is.
    #[test]
    fn the_error_is_normal_to_a_ten_thousandth() {
        let mut worst = 0f64;
        for at in [0.0, 0.05, 0.2, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0] {
            let (mut sum, parts) = (0.0, 64);
            let mut cell = |from: u32, to: u32, mass: f64| {
                for k in 0..parts {
                    let part = (f64::from(k) + 0.5) / f64::from(parts);
                    let a = (f64::from(from) + (f64::from(to) - f64::from(from)) * part) / 16_777_216.0;
                    sum += mass / f64::from(parts) * (0.5 + 0.5 * at / a).min(1.0);
                }
            };
            for (side, table) in QUANTILES.iter().enumerate() {
                cell(ENDS[side], table[0], probability(0));
                for entry in 0..ENTRIES - 1 {
                    cell(table[entry], table[entry + 1], probability(entry + 1) - probability(entry));
                }
            }
            worst = worst.max((sum - normal(at)).abs());
        }
        assert!(worst < 1e-4, "{worst}");
    }

    /// Kolmogorov and Smirnov at a level of 0.001, whatever the coordinate; and no correlation with it.
    #[test]
    fn the_error_is_gaussian_and_independent_of_the_coordinate() {
        let n = 50_000;
        let varied = |i: usize| ((i * 7919) % 1000) as f32 / 100.0 - 5.0;
        let given: [(&str, &dyn Fn(usize) -> f32); 5] =
            [("0", &|_| 0.0), ("0.01", &|_| 0.01), ("0.7", &|_| 0.7), ("-30", &|_| -30.0), ("varied", &varied)];
        for (seed, (name, x)) in given.into_iter().enumerate() {
            let errors = errors(x, n, seed as u64);
            let mean = errors.iter().sum::<f64>() / n as f64;
            let variance = errors.iter().map(|e| e * e).sum::<f64>() / n as f64;
            assert!(mean.abs() < 4.0 / (n as f64).sqrt() && (variance - 1.0).abs() < 4.0 * (2.0 / n as f64).sqrt());
            let distance = kolmogorov(errors);
            assert!(distance < 1.95 / (n as f64).sqrt(), "{name}: {distance}");
        }
        let errors = errors(varied, n, 9);
        let cross: f64 = errors.iter().enumerate().map(|(i, e)| e * f64::from(varied(i))).sum();
        let square: f64 = (0..n).map(|i| f64::from(varied(i)).powi(2)).sum();
        let correlation = cross / (square * n as f64).sqrt();
        assert!(correlation.abs() < 4.0 / (n as f64).sqrt(), "{correlation}");
    }

    /// That the test above can fail: a step that does not vary leaves a uniform error, and a dither that is not subtracted a biased one.
    #[test]
    fn a_fixed_step_or_a_lost_dither_is_noticed() {
        let n = 50_000;
        let mut shared = rng(1);
        let fixed = |x: f32, shared: &mut ChaCha20Rng| {
            // The step of the same variance: w^2 / 12 = 1.
            let layer = Layer { length: (3f64.sqrt() * 16_777_216.0) as u32, dither: shared.next_u32() as i32 };
            layer.decode(layer.encode(x)) as f64 / 1_048_576.0 - f64::from(x)
        };
        let uniform: Vec<f64> = (0..n).map(|_| fixed(0.3, &mut shared)).collect();
        assert!(kolmogorov(uniform) > 4.0 / f64::from(n).sqrt());
        let lost = |_| {
            let layer = Layer::draw(&mut shared);
            let symbol = layer.encode(0.3);
            Layer { dither: 0, ..layer }.decode(symbol) as f64 / 1_048_576.0 - 0.3
        };
        assert!(kolmogorov((0..n).map(lost).collect()) > 4.0 / f64::from(n).sqrt());
    }

    #[test]
    fn recorded_layers_and_symbols() {
        // Made here, and the same on every target.
        let mut shared = rng(5);
        let layers: Vec<Layer> = (0..4).map(|_| Layer::draw(&mut shared)).collect();
        let symbols: Vec<i32> = layers.iter().map(|layer| layer.encode(2.5)).collect();
        let estimates: Vec<i64> = layers.iter().zip(&symbols).map(|(layer, q)| layer.decode(*q)).collect();
        assert_eq!((&symbols[..], &estimates[..]), (&RECORDED.0[..], &RECORDED.1[..]), "{layers:?}");
        for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX] {
            assert!(layers.iter().all(|layer| layer.encode(wrong).abs() <= MAX_SYMBOL));
            assert!(layers.iter().all(|layer| layer.decode(layer.encode(wrong)).unsigned_abs() < 1 << 48));
        }
    }
    const RECORDED: ([i32; 4], [i64; 4]) = ([2, 1, 1, 0], [3_574_866, 4_717_724, 3_775_995, 1_091_644]);

    #[test]
    fn classes_tell_what_is_likely() {
        let mut shared = rng(3);
        let (mut count, mut nonzero, mut wrong) = ([0u32; 16], [0u32; 16], 0);
        for i in 0..200_000 {
            let layer = Layer::draw(&mut shared);
            let symbol = layer.encode(if i % 2 == 0 { 0.05 } else { -0.05 });
            count[layer.class()] += 1;
            nonzero[layer.class()] += u32::from(symbol != 0);
            wrong += u32::from(symbol * layer.towards() < 0);
        }
        let rates: Vec<f64> =
            (0..16).filter(|c| count[*c] > 500).map(|c| f64::from(nonzero[c]) / f64::from(count[c])).collect();
        assert!(rates.len() >= 5 && rates.is_sorted_by(|a, b| *a > b - 0.03), "{rates:?}");
        assert!(rates[0] > 0.3 && *rates.last().unwrap() == 0.0, "{rates:?}");
        assert!(wrong < 2000, "{wrong}");
    }
}
