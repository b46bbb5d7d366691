//! EDEN (Vargaftik et al. 2022): a rotated vector, scaled to unit variance, in `b` bits a coordinate by the Lloyd-Max quantiser of the
//! normal distribution, and one scale that removes the bias. Three forms:
//!
//! * whole bits ([`send`]);
//! * any number of bits ([`send_fraction`]): below 1, coordinates are kept with that probability by a seed that both sides know;
//!   between whole numbers, such a coin says which of both quantisers a coordinate has;
//! * entropy-coded ([`send_coded`]): a uniform quantiser instead of Lloyd and Max's, its indices coded.

use super::hadamard::{self, Layout};
use super::{Sent, f32_of};
use crate::codec::Coder;
use siskin::quantize::Uniform;

/// Most bits of a Lloyd-Max quantiser.
pub const MAX_BITS: usize = CENTROIDS.len();

/// Centroids of the half-normal distribution for 1 to 4 bits, ascending; a quantiser has them and their negatives.
const CENTROIDS: [&[f64]; 4] = [
    &[0.797_884_560_8],
    &[0.452_780_039_9, 1.510_417_608_7],
    &[0.245_094_163_1, 0.756_005_249_0, 1.343_909_261_4, 2.151_945_669_9],
    &[
        0.128_395_016_7,
        0.388_048_234_5,
        0.656_758_995_8,
        0.942_340_268_9,
        1.256_231_048_0,
        1.618_046_051_7,
        2.069_016_702_0,
        2.732_588_804_1,
    ],
];

/// Nearest centroid of `2^bits`, and its index from the lowest on. Boundaries are midway and belong to the upper one.
fn nearest(z: f64, half: &[f64]) -> (usize, f64) {
    let place = half.windows(2).filter(|pair| z.abs() >= (pair[0] + pair[1]) / 2.0).count();
    if z < 0.0 { (half.len() - 1 - place, -half[place]) } else { (half.len() + place, half[place]) }
}

/// The rotated vector, and what makes its variance 1; `None` of the zero vector.
fn rotated(x: &[f64], signs: &[f64]) -> Option<(Vec<f64>, f64)> {
    let y = hadamard::rotate(x, signs);
    let square: f64 = y.iter().map(|y| y * y).sum();
    (square > 0.0).then(|| {
        let unit = (y.len() as f64 / square).sqrt();
        (y, unit)
    })
}

/// `|y|^2 / <q, y>`; 0 where that is not finite, because every `q` is 0.
fn unbiased(y: &[f64], q: &[f64]) -> f64 {
    let square: f64 = y.iter().map(|y| y * y).sum();
    let scale = square / q.iter().zip(y).map(|(q, y)| q * y).sum::<f64>();
    if scale.is_finite() { scale } else { 0.0 }
}

/// Indices of centroids after rotation by `signs`, the centroids, and the scale `|y|^2 / <q, y>`. `bits` is 1 to 4.
///
/// # Panics
/// If it is not, or the length is no power of two.
pub fn quantize(x: &[f64], signs: &[f64], bits: usize) -> (Vec<usize>, Vec<f64>, f64) {
    let Some((y, unit)) = rotated(x, signs) else { return (vec![0; x.len()], vec![0.0; x.len()], 0.0) };
    let (indices, q): (Vec<usize>, Vec<f64>) = y.iter().map(|y| nearest(y * unit, CENTROIDS[bits - 1])).unzip();
    let scale = unbiased(&y, &q);
    (indices, q, scale)
}

fn back(q: &[f64], scale: f64, signs: &[f64]) -> Vec<f64> {
    let scale = f32_of(scale);
    hadamard::rotate_back(&q.iter().map(|q| q * scale).collect::<Vec<_>>(), signs)
}

/// `bits` (1 to 4) a coordinate and one `f32`.
pub fn send(x: &[f64], signs: &[f64], bits: usize) -> Sent {
    let (_, q, scale) = quantize(x, signs, bits);
    Sent { bits: bits * x.len() + 32, estimate: back(&q, scale, signs) }
}

/// `bits` in (0, 4] a coordinate on average and one `f32`; `coins` are uniform on `[0, 1)` and known to both sides.
///
/// # Panics
/// If `bits` is outside that, or the length is no power of two.
pub fn send_fraction(x: &[f64], signs: &[f64], bits: f64, coins: &[f64]) -> Sent {
    assert!(bits > 0.0 && bits <= MAX_BITS as f64, "{bits} bits");
    let (whole, part) = (bits.floor() as usize, bits.fract());
    if part == 0.0 {
        return send(x, signs, whole);
    }
    let upper: Vec<bool> = coins.iter().map(|u| *u < part).collect();
    let sent = whole * x.len() + upper.iter().filter(|upper| **upper).count();
    let zero = || vec![0.0; x.len()];
    let Some((y, unit)) = rotated(x, signs) else { return Sent { bits: sent + 32, estimate: zero() } };
    if whole == 0 {
        // The scale is that of one bit; what is left out is made up for by 1 / p.
        let q: Vec<f64> = y.iter().map(|y| nearest(y * unit, CENTROIDS[0]).1).collect();
        let scale = unbiased(&y, &q) / part;
        let kept: Vec<f64> = q.iter().zip(&upper).map(|(q, kept)| if *kept { *q } else { 0.0 }).collect();
        return Sent { bits: sent + 32, estimate: back(&kept, scale, signs) };
    }
    let one = |(y, upper): (&f64, &bool)| nearest(y * unit, CENTROIDS[whole - 1 + usize::from(*upper)]).1;
    let q: Vec<f64> = y.iter().zip(&upper).map(one).collect();
    let scale = unbiased(&y, &q);
    Sent { bits: sent + 32, estimate: back(&q, scale, signs) }
}

/// Multiples of `step` after scaling to unit variance, coded by the adaptive range coder of the sdk, and one `f32`.
///
/// # Panics
/// If the length is no power of two.
pub fn send_coded(x: &[f64], signs: &[f64], step: f64) -> Sent {
    let Some((y, unit)) = rotated(x, signs) else { return Sent { bits: 32, estimate: vec![0.0; x.len()] } };
    let symbols: Vec<i32> = y.iter().map(|y| (y * unit / step).round_ties_even() as i32).collect();
    let cols = x.len().min(256) as u32;
    let coded = Coder::Siskin.encode(&[[x.len() as u32 / cols, cols]], &symbols);
    let bits = coded.map_or(usize::MAX, |coded| coded.bits + 32);
    let q: Vec<f64> = symbols.iter().map(|q| f64::from(*q)).collect();
    let scale = unbiased(&y, &q);
    Sent { bits, estimate: back(&q, scale, signs) }
}

/// What [`send_blocks`] does with a block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rate {
    /// [`send_fraction`] of so many bits.
    Bits(f64),
    /// [`send_coded`] of this step.
    Step(f64),
}

/// Any length, block by block, each with a scale of its own; signs and coins are those of `seed`.
pub fn send_blocks(x: &[f64], layout: Layout, seed: u64, rate: Rate) -> Sent {
    let mut sent = Sent { bits: 0, estimate: Vec::with_capacity(x.len()) };
    for (i, (place, block)) in hadamard::split(x, layout).enumerate() {
        let seed = seed.wrapping_add(2 * i as u64);
        let signs = hadamard::signs(seed, block.len());
        let of_block = match rate {
            Rate::Bits(bits) => {
                let coins = Uniform::new(seed.wrapping_add(1));
                let coins: Vec<f64> = (0..block.len() as u32).map(|i| f64::from(coins.at(i))).collect();
                send_fraction(&block, &signs, bits, &coins)
            }
            Rate::Step(step) => send_coded(&block, &signs, step),
        };
        sent.append(of_block, place.len());
    }
    sent
}
