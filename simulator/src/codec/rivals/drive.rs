//! DRIVE (Vargaftik et al. 2021): the signs of a rotated vector and one scale.

use super::hadamard::{self, Layout};
use super::{Sent, f32_of};

/// What the scale is chosen for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// `|y|^2 / |y|_1`: no bias.
    Unbiased,
    /// `|y|_1 / d`: least squared error.
    LeastError,
}

/// Negative coordinates after rotation by `signs`, and the scale.
pub fn quantize(x: &[f64], signs: &[f64], scale: Scale) -> (Vec<bool>, f64) {
    let y = hadamard::rotate(x, signs);
    let (square, sum) = y.iter().fold((0.0, 0.0), |(square, sum), y| (square + y * y, sum + y.abs()));
    let scale = match scale {
        Scale::Unbiased if sum > 0.0 => square / sum,
        Scale::Unbiased => 0.0,
        Scale::LeastError => sum / y.len() as f64,
    };
    (y.iter().map(|y| *y < 0.0).collect(), scale)
}

/// A bit a coordinate and one `f32`. The length is a power of two.
pub fn send(x: &[f64], signs: &[f64], scale: Scale) -> Sent {
    let (negative, scale) = quantize(x, signs, scale);
    let scale = f32_of(scale);
    let y: Vec<f64> = negative.iter().map(|&negative| if negative { -scale } else { scale }).collect();
    Sent { bits: x.len() + 32, estimate: hadamard::rotate_back(&y, signs) }
}

/// The same of any length, block by block, each with a scale of its own; the signs are those of `seed`.
pub fn send_blocks(x: &[f64], layout: Layout, seed: u64, scale: Scale) -> Sent {
    let mut sent = Sent { bits: 0, estimate: Vec::with_capacity(x.len()) };
    for (i, (place, block)) in hadamard::split(x, layout).enumerate() {
        let signs = hadamard::signs(seed.wrapping_add(i as u64), block.len());
        sent.append(send(&block, &signs, scale), place.len());
    }
    sent
}
