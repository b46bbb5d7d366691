//! EDEN (Vargaftik et al. 2022): a rotated vector, scaled to unit variance, in `b` bits a coordinate by the Lloyd-Max quantiser of the
//! normal distribution, and one scale that removes the bias.

use super::{Sent, hadamard};

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

/// Indices of centroids after rotation by `signs`, the centroids, and the scale `|y|^2 / <q, y>`. `bits` is 1 to 4.
///
/// # Panics
/// If it is not, or the length is no power of two.
pub fn quantize(x: &[f64], signs: &[f64], bits: usize) -> (Vec<usize>, Vec<f64>, f64) {
    let y = hadamard::rotate(x, signs);
    let square: f64 = y.iter().map(|y| y * y).sum();
    if square == 0.0 {
        return (vec![0; x.len()], vec![0.0; x.len()], 0.0);
    }
    let unit = (y.len() as f64 / square).sqrt();
    let (indices, q): (Vec<usize>, Vec<f64>) = y.iter().map(|y| nearest(y * unit, CENTROIDS[bits - 1])).unzip();
    let scale = square / q.iter().zip(&y).map(|(q, y)| q * y).sum::<f64>();
    (indices, q, scale)
}

/// `bits` (1 to 4) a coordinate and one `f32`.
pub fn send(x: &[f64], signs: &[f64], bits: usize) -> Sent {
    let (_, q, scale) = quantize(x, signs, bits);
    let y: Vec<f64> = q.iter().map(|q| q * scale).collect();
    Sent { bits: bits * x.len() + 32, estimate: hadamard::rotate_back(&y, signs) }
}
