//! Table 4: what a report costs whose noise was added on the device, and what the quantiser whose error is the noise costs.

use crate::codec::{CodecError, Coder, Update};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use serde::{Deserialize, Serialize};
use siskin::privacy::sample::{DiscreteGaussian, Variance};
use siskin::quantize::layered::Layer;
use siskin::quantize::{Step, Uniform};

/// Root mean squares of the delta over the standard deviation of its noise. With a share `sigma = z C / sqrt(n)` of `n` devices
/// and `d` coordinates of a delta of norm `C` it is `sqrt(n) / (z sqrt(d))`: 0.03 is a thousand devices, a million coordinates, `z = 1`.
pub const RATIOS: [f64; 7] = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0];

/// Classes of [`Layer::class`].
const CLASSES: usize = 16;

/// One update under one noise.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Name of the update.
    pub update: String,
    /// Its params.
    pub params: usize,
    /// Root mean square over the noise's standard deviation.
    pub ratio: f64,
    /// Bits a param: rounded stochastically to a step of sigma, discrete Gaussian noise of sigma added, and coded as every report is.
    pub noised: f64,
    /// Variance of the error of that, in `sigma^2`.
    pub noised_variance: f64,
    /// Bits a param of the layered quantiser: symbols in the order of the layers' classes, coded as every report is.
    pub layered: f64,
    /// Variance of its error, in `sigma^2`.
    pub layered_variance: f64,
    /// Kolmogorov and Smirnov's distance of that error from the Gaussian, times the root of the number of params: above 1.95 once in a
    /// thousand exact samples.
    pub kolmogorov: f64,
    /// Shannon's least bits for a Gaussian coordinate of that variance, `log2(1 + ratio^2) / 2`.
    pub least: f64,
}

/// Number of calls of `done`.
pub fn work(updates: &[Update]) -> u64 {
    (updates.len() * RATIOS.len()) as u64
}

/// All rows.
///
/// # Errors
/// [`CodecError`] names the update.
pub fn table(updates: &[Update], seed: u64, mut done: impl FnMut()) -> Result<Vec<Row>, CodecError> {
    let mut rows = Vec::new();
    for update in updates {
        for ratio in RATIOS {
            rows.push(row(update, ratio, seed).map_err(|e| CodecError::new(&*update.name, e))?);
            done();
        }
    }
    Ok(rows)
}

fn row(update: &Update, ratio: f64, seed: u64) -> Result<Row, CodecError> {
    let rms = update.rms();
    if rms <= 0.0 {
        return Err(CodecError::new("params", "all are 0, so that no noise is in proportion to them"));
    }
    // In units of sigma, which is the step too.
    let scale = ratio / rms;
    let values: Vec<f32> = update.values.iter().map(|x| (f64::from(*x) * scale) as f32).collect();
    let params = values.len();
    let (noised, noised_variance) = noised(update, &values, seed)?;
    let (layered, errors) = layered(&values, seed)?;
    let layered_variance = errors.iter().map(|e| e * e).sum::<f64>() / params as f64;
    let least = 0.5 * (ratio * ratio).ln_1p() / std::f64::consts::LN_2;
    let kolmogorov = kolmogorov(errors);
    let update = update.name.clone();
    Ok(Row { update, params, ratio, noised, noised_variance, layered, layered_variance, kolmogorov, least })
}

fn rng(seed: u64, purpose: u8) -> ChaCha20Rng {
    let mut key = [purpose; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    ChaCha20Rng::from_seed(key)
}

/// Bits a param, and the variance of the error, of what a device of the local profile sends at a step of sigma.
fn noised(update: &Update, values: &[f32], seed: u64) -> Result<(f64, f64), CodecError> {
    let refused = |e: &dyn std::fmt::Display| CodecError::new("noise", e);
    let gaussian = DiscreteGaussian::new(Variance::of_deviation(1.0).map_err(|e| refused(&e))?);
    let step = Step::new(1.0).map_err(|e| refused(&e))?;
    let (mut rng, uniform) = (rng(seed, 1), Uniform::new(seed));
    let mut error = 0.0;
    let mut symbols = Vec::with_capacity(values.len());
    for (i, x) in values.iter().enumerate() {
        let floor = x.floor();
        let rounded = floor as i64 + i64::from(uniform.at(i as u32) < x - floor);
        let symbol = rounded + gaussian.sample(&mut rng);
        error += (symbol as f64 * f64::from(step.get()) - f64::from(*x)).powi(2);
        symbols.push(symbol as i32);
    }
    let coded = Coder::Siskin.encode(&update.shapes, &symbols)?;
    Ok((coded.bits as f64 / values.len() as f64, error / values.len() as f64))
}

/// Bits a param of the layered quantiser, and its errors in sigma. Each class is one row: what is not 0 there is so with one
/// probability.
fn layered(values: &[f32], seed: u64) -> Result<(f64, Vec<f64>), CodecError> {
    let mut shared = rng(seed, 2);
    let mut classes: [Vec<i32>; CLASSES] = Default::default();
    let mut errors = Vec::with_capacity(values.len());
    for x in values {
        let layer = Layer::draw(&mut shared);
        let symbol = layer.encode(*x);
        errors.push(layer.decode(symbol) as f64 / 1_048_576.0 - f64::from(*x));
        classes[layer.class()].push(symbol * layer.towards());
    }
    let filled = || classes.iter().filter(|class| !class.is_empty());
    let shapes: Vec<[u32; 2]> = filled().map(|class| [1, class.len() as u32]).collect();
    let symbols: Vec<i32> = filled().flatten().copied().collect();
    let coded = Coder::Siskin.encode(&shapes, &symbols)?;
    if Coder::Siskin.decode(&shapes, &coded.bytes)? != symbols {
        return Err(CodecError::new("layered", "what was decoded is not what was coded"));
    }
    Ok((coded.bits as f64 / values.len() as f64, errors))
}

/// Largest distance between the sample's distribution function and the standard Gaussian's, times the root of its size.
fn kolmogorov(mut sample: Vec<f64>) -> f64 {
    sample.sort_by(f64::total_cmp);
    let n = sample.len() as f64;
    let at = |(i, x): (usize, &f64)| {
        let gaussian = 0.5 * libm::erfc(-x / std::f64::consts::SQRT_2);
        (gaussian - i as f64 / n).max((i + 1) as f64 / n - gaussian)
    };
    sample.iter().enumerate().map(at).fold(0.0, f64::max) * n.sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Laplacian values in one row, as an update has them.
    fn update() -> Update {
        let uniform = Uniform::new(3);
        let value = |i: u32| {
            let u = f64::from(uniform.at(i)) - 0.5 + 1e-9;
            (-(1.0 - 2.0 * u.abs()).ln() * u.signum()) as f32
        };
        Update { name: "made".into(), shapes: vec![[40, 500]], values: (0..20_000).map(value).collect() }
    }

    /// The reference: 2.0 bits for a step of sigma at small ratios, and 0.105 to 0.117 given step and dither at 0.1.
    #[test]
    fn bits_are_those_of_the_literature() {
        let rows = table(&[update()], 1, || ()).unwrap();
        assert_eq!(rows.len(), RATIOS.len());
        let at = |ratio: f64| rows.iter().find(|row| row.ratio == ratio).unwrap();
        assert!((2.0..2.2).contains(&at(0.01).noised), "{}", at(0.01).noised);
        assert!((0.08..0.15).contains(&at(0.1).layered), "{}", at(0.1).layered);
        for row in &rows {
            assert!(row.layered < row.noised && row.layered > 0.8 * row.least, "{row:?}");
            assert!(row.kolmogorov < 1.95, "{row:?}");
            assert!((row.layered_variance - 1.0).abs() < 4.0 * (2.0 / 20_000f64).sqrt(), "{row:?}");
            // The noise, and at most a quarter for stochastic rounding.
            assert!((0.95..1.3).contains(&row.noised_variance), "{row:?}");
        }
        assert!(rows.is_sorted_by(|a, b| a.layered < b.layered));
        assert!(table(&[Update { values: vec![0.0; 20_000], ..update() }], 1, || ()).is_err());
    }
}
