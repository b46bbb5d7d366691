//! Codecs of real vectors as tables have them: each with one parameter that trades bits for error.

use crate::codec::rivals::drive::Scale;
use crate::codec::rivals::eden::{self, Rate};
use crate::codec::rivals::general::General;
use crate::codec::rivals::hadamard::Layout;
use crate::codec::rivals::run_length::GAMMA;
use crate::codec::rivals::top_k::IndexCost;
use crate::codec::rivals::{Sent, drive, min_max, one_bit, qsgd, tern_grad, three_lc, top_k};
use crate::codec::{Coder, PRICE, RoundingKind, dither, symbols_of};
use serde::{Deserialize, Serialize};
use siskin::checkin::{Quantization, Rounding};
use siskin::privacy::{rotate, rotated_len};
use siskin::quantize::rotated::{MAX_SCALE, choose};
use siskin::quantize::{Rotated, Step, Uniform};

/// A codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    /// The sdk: stochastic rounding and its range coder.
    Siskin,
    /// The same coder after rounding to nearest.
    SiskinNearest,
    /// The same after rounding that weighs error against bits.
    SiskinOptimised,
    /// The signs of the largest rotated coordinates, as the sdk sends them.
    SiskinSigns,
    /// The sdk with stochastic rounding whatever the budget, of coordinates that are drawn where it is small; of runs only.
    SiskinDrawn,
    /// Mitchell et al.: nearest rounding, zero runs and magnitudes in Elias gamma.
    GammaNearest,
    /// The same with stochastic rounding.
    GammaStochastic,
    /// With stochastic rounding, at the step that clients vote for; of runs only.
    GammaVoted,
    /// With subtractive dither.
    GammaDithered,
    /// Nearest rounding and zstd.
    ZstdNearest,
    /// QSGD.
    Qsgd,
    /// Top-K, an index for each kept coordinate.
    TopK,
    /// Top-K, a set of indices at its entropy.
    TopKIdeal,
    /// EDEN, any number of bits up to 4.
    Eden,
    /// EDEN, entropy-coded.
    EdenCoded,
    /// DRIVE without bias.
    Drive,
    /// DRIVE with the least error.
    DriveLeast,
    /// 3LC without its error accumulation.
    ThreeLc,
    /// TernGrad.
    TernGrad,
    /// 1-bit SGD without its error feedback.
    OneBit,
    /// 8 bits between minimum and maximum.
    MinMax,
    /// The same and gzip.
    MinMaxGzip,
    /// The same and zstd.
    MinMaxZstd,
    /// 16-bit floats and gzip.
    HalfGzip,
    /// 16-bit floats and zstd.
    HalfZstd,
}

/// What a codec's parameter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parameter {
    /// Step of the grid in root mean squares of the update.
    Step,
    /// Part of the coordinates that are kept, (0, 1].
    Kept,
    /// Bits a rotated coordinate, (0, 4].
    Bits,
    /// Step in standard deviations of a rotated coordinate.
    RotatedStep,
    /// The sparsity multiplier, [1, 2).
    Multiplier,
    /// It has none.
    None,
}

impl Scheme {
    /// All that send a vector by itself; the device's own first.
    pub const ALL: [Self; 23] = [
        Self::Siskin,
        Self::SiskinNearest,
        Self::SiskinOptimised,
        Self::SiskinSigns,
        Self::GammaNearest,
        Self::GammaStochastic,
        Self::GammaDithered,
        Self::ZstdNearest,
        Self::Qsgd,
        Self::TopK,
        Self::TopKIdeal,
        Self::Eden,
        Self::EdenCoded,
        Self::Drive,
        Self::DriveLeast,
        Self::ThreeLc,
        Self::TernGrad,
        Self::OneBit,
        Self::MinMax,
        Self::MinMaxGzip,
        Self::MinMaxZstd,
        Self::HalfGzip,
        Self::HalfZstd,
    ];

    /// As tables show it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Siskin => "siskin",
            Self::SiskinNearest => "siskin, nearest",
            Self::SiskinOptimised => "siskin, optimised",
            Self::SiskinSigns => "siskin, signs",
            Self::SiskinDrawn => "siskin, drawn coordinates",
            Self::GammaNearest => "run-length gamma, nearest",
            Self::GammaStochastic => "run-length gamma, stochastic",
            Self::GammaVoted => "run-length gamma, voted",
            Self::GammaDithered => "run-length gamma, dithered",
            Self::ZstdNearest => "zstd, nearest",
            Self::Qsgd => "QSGD",
            Self::TopK => "Top-K",
            Self::TopKIdeal => "Top-K, ideal indices",
            Self::Eden => "EDEN",
            Self::EdenCoded => "EDEN, coded",
            Self::Drive => "DRIVE",
            Self::DriveLeast => "DRIVE, least error",
            Self::ThreeLc => "3LC",
            Self::TernGrad => "TernGrad",
            Self::OneBit => "1-bit SGD",
            Self::MinMax => "8-bit min/max",
            Self::MinMaxGzip => "8-bit min/max, gzip",
            Self::MinMaxZstd => "8-bit min/max, zstd",
            Self::HalfGzip => "16-bit floats, gzip",
            Self::HalfZstd => "16-bit floats, zstd",
        }
    }

    /// What its parameter is.
    pub fn parameter(self) -> Parameter {
        match self {
            Self::Siskin
            | Self::SiskinNearest
            | Self::SiskinOptimised
            | Self::SiskinDrawn
            | Self::GammaNearest
            | Self::GammaStochastic
            | Self::GammaVoted
            | Self::GammaDithered
            | Self::ZstdNearest
            | Self::Qsgd => Parameter::Step,
            Self::SiskinSigns | Self::TopK | Self::TopKIdeal => Parameter::Kept,
            Self::Eden => Parameter::Bits,
            Self::EdenCoded => Parameter::RotatedStep,
            Self::ThreeLc => Parameter::Multiplier,
            _ => Parameter::None,
        }
    }

    /// Whether it is the device's own.
    pub fn is_ours(self) -> bool {
        matches!(
            self,
            Self::Siskin | Self::SiskinNearest | Self::SiskinOptimised | Self::SiskinSigns | Self::SiskinDrawn
        )
    }

    /// Parameters from few bits to many that a curve goes through.
    pub fn sweep(self, points: usize) -> Vec<f64> {
        let geometric = |first: f64, last: f64| {
            let ratio = (last / first).ln() / (points.max(2) - 1) as f64;
            (0..points.max(2)).map(|i| first * (ratio * i as f64).exp()).collect()
        };
        match self.parameter() {
            Parameter::Step => geometric(60.0, 0.1),
            Parameter::Kept => geometric(2e-4, 0.5),
            Parameter::Bits => geometric(0.05, 4.0),
            Parameter::RotatedStep => geometric(5.0, 0.1),
            Parameter::Multiplier => vec![1.99, 1.5, 1.0],
            Parameter::None => vec![1.0],
        }
    }

    /// Sends `x` with this parameter; a step is in units of `unit`. Only the device's coder looks at `shapes`. Rotations, coins and
    /// dither are those of `seed`, which both sides know.
    ///
    /// `None` where a step is so fine that symbols do not fit.
    pub fn send(self, x: &[f32], shapes: &[[u32; 2]], parameter: f64, unit: f64, seed: u64) -> Option<Sent> {
        let reals = || x.iter().map(|x| f64::from(*x)).collect::<Vec<f64>>();
        let uniform = || {
            let uniform = Uniform::new(seed);
            (0..x.len() as u32).map(|i| f64::from(uniform.at(i))).collect::<Vec<f64>>()
        };
        let grid = |rounding: RoundingKind, bits: &dyn Fn(&[i32]) -> Option<usize>| {
            let step = Step::new((parameter * unit) as f32).ok()?;
            let (symbols, saturated) = symbols_of(x, shapes, step, rounding).ok()?;
            if saturated > 0 {
                return None;
            }
            let bits = bits(&symbols)?;
            let mut estimate: Vec<f64> = symbols.iter().map(|&q| f64::from(step.dequantize(q))).collect();
            if let RoundingKind::Dithered { seed } = rounding {
                let dither = dither(seed, x.len());
                estimate.iter_mut().zip(dither).for_each(|(x, u)| *x += u * f64::from(step.get()));
            }
            Some(Sent { bits, estimate })
        };
        let coded = |symbols: &[i32]| Coder::Siskin.encode(shapes, symbols).ok().map(|coded| coded.bits);
        let gamma = |symbols: &[i32]| Some(GAMMA.bits(symbols).next_multiple_of(8));
        Some(match self {
            Self::Siskin | Self::SiskinDrawn => grid(RoundingKind::Stochastic { seed }, &coded)?,
            Self::SiskinNearest => grid(RoundingKind::Nearest, &coded)?,
            Self::SiskinOptimised => grid(RoundingKind::Optimised { price: PRICE }, &coded)?,
            Self::GammaNearest => grid(RoundingKind::Nearest, &gamma)?,
            Self::GammaStochastic | Self::GammaVoted => grid(RoundingKind::Stochastic { seed }, &gamma)?,
            Self::GammaDithered => grid(RoundingKind::Dithered { seed }, &gamma)?,
            Self::ZstdNearest => grid(RoundingKind::Nearest, &|q| Some(8 * General::Zstd.encode(q).len()))?,
            Self::Qsgd => {
                // The step in root mean squares is sqrt(d) / levels.
                let levels = ((x.len() as f64).sqrt() / parameter).round().clamp(1.0, 1e6);
                qsgd::send(&reals(), levels as u32, &uniform())
            }
            Self::TopK => top_k::send(&reals(), kept(parameter, x.len()), IndexCost::Each),
            Self::TopKIdeal => top_k::send(&reals(), kept(parameter, x.len()), IndexCost::Ideal),
            Self::Eden => eden::send_blocks(&reals(), Layout::Powers, seed, Rate::Bits(parameter)),
            Self::SiskinSigns => signs(x, parameter, seed)?,
            Self::EdenCoded => eden_coded(x, &reals(), parameter, seed),
            Self::Drive => drive::send_blocks(&reals(), Layout::Powers, seed, Scale::Unbiased),
            Self::DriveLeast => drive::send_blocks(&reals(), Layout::Powers, seed, Scale::LeastError),
            Self::ThreeLc => three_lc::send(&reals(), parameter),
            Self::TernGrad => tern_grad::send(&reals(), &uniform()),
            Self::OneBit => one_bit::send(&reals()),
            Self::MinMax => min_max::send(&reals()),
            Self::MinMaxGzip => General::Gzip.send_min_max(&reals()),
            Self::MinMaxZstd => General::Zstd.send_min_max(&reals()),
            Self::HalfGzip => General::Gzip.send_f16(&reals()),
            Self::HalfZstd => General::Zstd.send_f16(&reals()),
        })
    }

    /// Squared error and bits, both a param, of [`send`](Self::send).
    pub fn cost(self, x: &[f32], shapes: &[[u32; 2]], parameter: f64, unit: f64, seed: u64) -> Option<(f64, f64)> {
        let sent = self.send(x, shapes, parameter, unit, seed)?;
        let params = x.len().max(1) as f64;
        Some((squared_error(x, &sent.estimate).0 / params, sent.bits as f64 / params))
    }
}

/// Through the device's own stages.
fn signs(x: &[f32], part: f64, seed: u64) -> Option<Sent> {
    let length = rotated_len(x.len());
    let mut values = x.to_vec();
    values.resize(length, 0.0);
    let norm = x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt().max(1e-12);
    let mut grid = Quantization { step: 1.0, rounding: Rounding::Rotated, keep: part as f32 };
    let count = grid.most_kept(x.len());
    // Far from the ends of what a scale may be.
    grid.step = (norm / count as f64 / f64::from(1u32 << 20)) as f32;
    let rotated = Rotated::new(&grid, 0, seed, x.len())?;
    rotated.rotations().iter().for_each(|(seed, round)| rotate(&mut values, *seed, *round));
    let symbols = choose(&mut values, &grid, MAX_SCALE, !seed).symbols;
    let mut out = vec![0; 4 * length + 64];
    let bytes = rotated.encode(symbols, &mut out).ok()?;
    let scale = symbols.iter().map(|q| q.unsigned_abs()).max().unwrap_or(0);
    let mut signs: Vec<i64> = symbols.iter().map(|q| i64::from(q.signum())).collect();
    rotated.restore(&mut signs);
    let unit = f64::from(scale) * f64::from(grid.step) / (length as f64).sqrt();
    Some(Sent { bits: 8 * bytes, estimate: signs[..x.len()].iter().map(|c| *c as f64 * unit).collect() })
}

/// The better of two ways to rotate what is no power of two: zeros cost nothing where few coordinates travel, and bits where most do.
fn eden_coded(x: &[f32], reals: &[f64], step: f64, seed: u64) -> Sent {
    let [blocks, one] =
        [Layout::Powers, Layout::Padded].map(|layout| eden::send_blocks(reals, layout, seed, Rate::Step(step)));
    let price = |sent: &Sent| {
        let (error, square) = squared_error(x, &sent.estimate);
        (1.0 + error / square.max(1e-300)) * sent.bits as f64
    };
    if price(&blocks) <= price(&one) { blocks } else { one }
}

fn kept(part: f64, d: usize) -> usize {
    ((part * d as f64).round() as usize).clamp(1, d.max(1))
}

/// `|estimate - x|^2`, and `|x|^2`.
pub(super) fn squared_error(x: &[f32], estimate: &[f64]) -> (f64, f64) {
    x.iter().zip(estimate).fold((0.0, 0.0), |(error, square), (x, e)| {
        let x = f64::from(*x);
        (error + (x - e).powi(2), square + x * x)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scheme_sends_and_names_differ() {
        let uniform = Uniform::new(5);
        let x: Vec<f32> = (0..600).map(|i| (uniform.at(i) - 0.5).powi(5)).collect();
        let rms = (x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / 600.0).sqrt();
        let mut names: Vec<&str> = Scheme::ALL.iter().map(|s| s.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Scheme::ALL.len());
        for scheme in Scheme::ALL {
            // The last of a sweep has the most bits, and the least error but for what has no choice.
            let sent: Vec<Sent> = scheme
                .sweep(6)
                .into_iter()
                .map(|parameter| scheme.send(&x, &[[20, 30]], parameter, rms, 9).unwrap())
                .collect();
            let errors: Vec<f64> = sent.iter().map(|sent| squared_error(&x, &sent.estimate).0).collect();
            assert!(sent.windows(2).all(|w| w[0].bits <= w[1].bits), "{scheme:?}");
            assert!(errors[errors.len() - 1] <= errors[0], "{scheme:?}: {errors:?}");
            assert!(sent.iter().all(|sent| sent.estimate.len() == 600 && sent.bits > 0), "{scheme:?}");
        }
    }
}
