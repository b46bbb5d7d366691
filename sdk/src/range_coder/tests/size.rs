//! Lengths of streams, and the streams that must never change.

use super::*;
use crate::quantize::{Rounding, Step, Uniform, quantize_in_place};
use crate::range_coder::binary::Bins;
use crate::range_coder::blocks::{All, State, Stop, walk};
use crate::range_coder::mixer::{SQUASH, STRETCH};
use std::format;
use std::string::String;

/// Adds up ideal code lengths instead of writing bytes.
struct Ideal(f64);

impl Bins for Ideal {
    fn bin(&mut self, p: u32, bit: bool) -> bool {
        assert!(0 < p && p < 65_536);
        self.0 -= (f64::from(if bit { p } else { 65_536 - p }) / 65_536.0).log2();
        bit
    }
    fn plain(&mut self, bits: u32, count: u32) -> u32 {
        assert!(bits < 1 << count);
        self.0 += f64::from(count);
        bits
    }
    fn over(&self) -> bool {
        false
    }
}

/// Bits of the model alone, and one a tensor.
fn modelled(tensors: &[Support<'_>], symbols: &[i32]) -> f64 {
    let mut words = scratch(tensors);
    let mut ideal = Ideal(tensors.len() as f64);
    let Ok(mut state) = State::new(scratch_bytes(&mut words, tensors)) else { panic!("scratch") };
    let mut rest = symbols;
    for support in tensors {
        let (tensor, after) = rest.split_at(support.live());
        let walked: Result<(), Stop> = walk(&mut ideal, &mut state, support, tensor, All, |_, _| ());
        assert!(walked.is_ok());
        rest = after;
    }
    ideal.0
}

/// Laplacian of unit variance on a grid of `step`.
pub(super) fn laplace(live: usize, step: f32, seed: u64) -> Vec<i32> {
    let uniform = Uniform::new(seed);
    let mut values: Vec<f32> = (0..live as u32)
        .map(|i| {
            let u = f64::from(uniform.at(i)) - 0.5 + 1.0 / 33_554_432.0;
            (-(1.0 - 2.0 * u.abs()).ln() * u.signum() / 2f64.sqrt()) as f32
        })
        .collect();
    quantize_in_place(&mut values, Step::new(step).unwrap(), Rounding::Nearest).symbols.to_vec()
}

/// The bytes are the model's ideal length and at most 40 bits. They may be a little fewer: what the division of the range leaves
/// over goes to the likelier side, "false".
#[test]
fn range_coder_loses_nothing() {
    for step in [0.02, 0.3, 3.0, 8.0] {
        for (rows, cols) in [(256, 256), (1, 65_536), (4096, 16), (21_845, 3)] {
            let support = Support::Dense { rows, cols };
            let symbols = laplace(support.live(), step, 11);
            let ideal = modelled(&[support], &symbols);
            let bits = encoded_all(&[support], &symbols).len() as f64 * 8.0;
            assert!(bits >= 0.998 * ideal - 1.0 && bits <= ideal + 40.0, "{bits} against {ideal}");
        }
    }
}

/// Independent Laplacian symbols at three standard deviations a step: within 2 % of their entropy although nothing can be
/// learned from rows and columns. The fast adaptation that real updates reward costs here.
#[test]
fn close_to_the_entropy_of_independent_symbols() {
    let symbols = laplace(65_536, 3.0, 11);
    let mut counts = std::collections::BTreeMap::new();
    symbols.iter().for_each(|&q| *counts.entry(q).or_insert(0.0) += 1.0);
    let entropy: f64 = counts.values().map(|&n: &f64| -n * (n / 65_536.0).log2()).sum();
    let bits = encoded_all(&[Support::Dense { rows: 256, cols: 256 }], &symbols).len() as f64 * 8.0;
    std::println!("{bits} bits, entropy {entropy:.0}, ratio {:.4}", bits / entropy);
    assert!(bits <= 1.02 * entropy, "{bits} against {entropy}");
}

/// On an outer product of signs the signs cost next to nothing.
#[test]
fn signs_of_an_outer_product() {
    let uniform = Uniform::new(3);
    let sign = |i: u32| if uniform.bits(i) & 1 == 0 { 1 } else { -1 };
    let outer: Vec<i32> = (0..128 * 128u32).map(|i| sign(i / 128) * sign(1000 + i % 128)).collect();
    let magnitudes = vec![1; outer.len()];
    let support = [Support::Dense { rows: 128, cols: 128 }];
    let (signed, unsigned) = (encoded_all(&support, &outer).len(), encoded_all(&support, &magnitudes).len());
    std::println!("{signed} bytes with signs, {unsigned} without");
    // 16,384 signs in at most 0.03 bits each.
    assert!(signed <= unsigned + 16_384 * 3 / 100 / 8);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The format, pinned. A change here is a change of the wire format and needs a new version of it.
#[test]
fn golden_streams() {
    let mixed: Vec<i32> = (0..120u32)
        .map(|i| match i {
            0..40 => 0,
            40 => -1,
            41..64 => 0,
            64..96 => (i as i32 * 37 % 11) - 5,
            96 => 1000,
            97 => -16_777_215,
            98 => 15,
            99 => 14,
            _ => i32::from(i % 9 == 0),
        })
        .collect();
    let row_ptr = [0, 3, 3, 7, 24];
    let cols: Vec<u16> = [1, 4, 30, 0, 1, 2, 31].into_iter().chain(10..27).collect();
    let sparse = Support::csr(&row_ptr, &cols, 32).unwrap();
    let tensors = [Support::Dense { rows: 3, cols: 32 }, sparse];
    let wild: Vec<i32> = (0..5).map(|i| 16_777_215 - 3 * i).collect();
    let one = [Support::Dense { rows: 1, cols: 5 }];
    let few: Vec<i32> =
        (0..20).map(|i| if i % 2 == 0 { 0 } else { (i * 37 % 11 - 5) * if i % 3 == 0 { 100 } else { 1 } }).collect();
    let far: Vec<i32> = (0..12).map(|i| 70_000 + 977 * i).collect();
    let streams = [
        hex(&encoded_all(&one, &[0, 0, 0, 0, 0])),
        hex(&encoded_all(&one, &[0, 0, -1, 0, 2])),
        hex(&encoded_all(&one, &wild)),
        hex(&encoded_all(&tensors, &mixed)),
        hex(&encoded_all(&[Support::Dense { rows: 4, cols: 5 }], &few)),
        hex(&encoded_all(&[Support::Dense { rows: 3, cols: 4 }], &far)),
    ];
    assert_eq!(streams, GOLDEN);
}

/// Made by a second encoder, in Python, that follows the module's documentation with integers of any size.
const GOLDEN: [&str; 6] = [
    "41",
    "2c5a58",
    "fffffefdffff500000d000025c0003e7",
    "4f3fe9c8e7f835eb24c49a8eea2d9f4e199d9fe7d0b6562054621f6b1731ce62eb",
    "a4a9f97c84b3682e8511ce6c",
    "8000190974a6787d5279c232767791f08149a4cb3eb11d90e4bd90143e",
];

/// Length and 32-bit FNV-1a of a longer stream, from the same second encoder: long rows, long columns, quiet and busy parts.
#[test]
fn golden_long_stream() {
    let mut state = 1u32;
    let mut random = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as i32
    };
    let symbols: Vec<i32> = (0..2400)
        .map(|i| {
            let (busy, kind) = (random() % 100, random() % 1000);
            match (busy < if i / 60 % 3 == 0 { 3 } else { 30 }, kind) {
                (false, _) => 0,
                (true, 0..600) => 1,
                (true, 600..900) => -2,
                (true, _) => kind % 40 - 20,
            }
        })
        .collect();
    let tensors = [(40, 60), (1, 60), (600, 2), (2, 600)].map(|(rows, cols)| Support::Dense { rows, cols });
    let symbols: Vec<i32> = tensors.iter().flat_map(|tensor| &symbols[..tensor.live()]).copied().collect();
    let stream = encoded_all(&tensors, &symbols);
    let hash = stream.iter().fold(0x811c_9dc5u32, |hash, &byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    assert_eq!((stream.len(), hash), GOLDEN_LONG);
}

const GOLDEN_LONG: (usize, u32) = (652, 0xc045_f75e);

/// The tables of the mixer are the functions that the documentation says.
#[test]
fn tables_of_the_mixer() {
    for (i, &value) in STRETCH.iter().enumerate() {
        let p = (i as f64 + 0.5) / 1024.0;
        assert_eq!(f64::from(value), (256.0 * libm::log(p / (1.0 - p))).round(), "{i}");
    }
    for (i, &value) in SQUASH.iter().enumerate() {
        let x = 8.0 * i as f64 - 2812.0;
        let p = (65_536.0 / (1.0 + libm::exp(-x / 256.0))).round();
        assert_eq!(f64::from(value), p.clamp(16.0, 65_520.0), "{i}");
    }
}
