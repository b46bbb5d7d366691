//! The randomised Hadamard rotation `x -> H D x / sqrt(n)`: random signs, then the Walsh-Hadamard transform.
//!
//! It spreads a vector evenly over its coordinates, each of which is then about normal of variance `norm^2 / n`, so that few bits a
//! coordinate hold the sum of many (Kairouz, Liu, Steinke 2021, section 4; Suresh et al. 2017). The signs are public: they
//! come from the plan's seed and round, and nothing hangs on their secrecy.

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

/// Length of the rotated vector of `live` coordinates: the power of two that holds them; zeros are put behind.
pub const fn rotated_len(live: usize) -> usize {
    // Beyond the largest power of two nothing is addressed; a plan of that size is refused for its memory.
    match live.checked_next_power_of_two() {
        Some(len) => len,
        None => usize::MAX,
    }
}

/// Rotates `values`, whose length is a power of two (nothing happens otherwise), in place: `log2(n)` passes of additions.
pub fn rotate(values: &mut [f32], seed: u32, round: u32) {
    if values.len().is_power_of_two() {
        flip(values, seed, round);
        hadamard(values);
    }
}

/// The inverse of [`rotate`], up to the rounding of single precision.
pub fn rotate_back(values: &mut [f32], seed: u32, round: u32) {
    if values.len().is_power_of_two() {
        hadamard(values);
        flip(values, seed, round);
    }
}

/// The same for integers without the root of `1 / n`, so that nothing is rounded; sums are modulo `2^64`.
pub(crate) fn restore(values: &mut [i64], seed: u32, round: u32) {
    if values.len().is_power_of_two() {
        butterflies(values, |a, b| (a.wrapping_add(b), a.wrapping_sub(b)));
        each_flipped(values, seed, round, |v| v.wrapping_neg());
    }
}

fn flip(values: &mut [f32], seed: u32, round: u32) {
    each_flipped(values, seed, round, |v| -v);
}

/// Those whose sign is to change, by the public stream.
fn each_flipped<T: Copy>(values: &mut [T], seed: u32, round: u32, flipped: impl Fn(T) -> T) {
    let mut key = *b"siskin: signs of the rot\0\0\0\0\0\0\0\0";
    key[24..28].copy_from_slice(&seed.to_le_bytes());
    key[28..].copy_from_slice(&round.to_le_bytes());
    let mut rng = ChaCha20Rng::from_seed(key);
    for part in values.chunks_mut(32) {
        let signs = rng.next_u32();
        for (i, v) in part.iter_mut().enumerate() {
            *v = if signs >> i & 1 == 1 { flipped(*v) } else { *v };
        }
    }
}

/// Orthonormal; its own inverse. In each pass, `a, b` become `a + b, a - b`; at the end each value is multiplied once.
fn hadamard(values: &mut [f32]) {
    butterflies(values, |a, b| (a + b, a - b));
    let scale = libm::sqrtf(1.0 / values.len() as f32);
    values.iter_mut().for_each(|v| *v *= scale);
}

fn butterflies<T: Copy>(values: &mut [T], both: impl Fn(T, T) -> (T, T)) {
    let n = values.len();
    let mut half = 1;
    while half < n {
        for pair in values.chunks_exact_mut(2 * half) {
            let (left, right) = pair.split_at_mut(half);
            for (a, b) in left.iter_mut().zip(right) {
                (*a, *b) = both(*a, *b);
            }
        }
        half *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn it_is_orthonormal_and_has_its_inverse() {
        for n in [1usize, 2, 64, 1024] {
            let values: Vec<f32> = (0..n).map(|i| ((i * 7919) % 13) as f32 - 6.0).collect();
            let mut rotated = values.clone();
            rotate(&mut rotated, 5, 9);
            let norm = |v: &[f32]| crate::privacy::norm(v);
            assert!((norm(&rotated) / norm(&values) - 1.0).abs() < 1e-6, "{n}");
            let mut back = rotated.clone();
            rotate_back(&mut back, 5, 9);
            assert!(back.iter().zip(&values).all(|(a, b)| (a - b).abs() < 1e-4), "{n}");
            if n > 2 {
                rotate_back(&mut rotated, 5, 8);
                assert_ne!(rotated, back, "the signs of another round");
            }
        }
    }

    #[test]
    fn one_large_coordinate_is_spread_over_all() {
        let mut values = std::vec![0.0f32; 256];
        values[77] = 16.0;
        rotate(&mut values, 1, 0);
        assert!(values.iter().all(|v| v.abs() == 1.0));
        assert!(values.iter().filter(|v| **v > 0.0).count() == 128);
    }

    #[test]
    fn lengths() {
        assert_eq!([0, 1, 3, 64, 65].map(rotated_len), [1, 1, 4, 64, 128]);
    }
}
