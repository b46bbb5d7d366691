//! What everything else stands on: integers that wrap, f32 and f64 that round once an operation, libm compiled by us.

use crate::numbers::Numbers;
use crate::{Bench, Case, Digest, Outcome};

pub(crate) const CASES: &[Case] = &[
    Case { name: "arithmetic_hash", run: hash },
    Case { name: "arithmetic_floats", run: floats },
    Case { name: "arithmetic_logistic_sgd", run: logistic_sgd },
];

/// The digest itself: two of the known answers of its authors' test suite, then all of the arena.
fn hash(bench: &mut Bench<'_>) -> Outcome {
    if Digest::bytes(b"a") != Digest(0xaf63_dc4c_8601_ec8c) || Digest::bytes(b"foobar") != Digest(0x8594_4171_f739_67e8)
    {
        return Err("FNV-1a of a known word");
    }
    let mut numbers = Numbers(1);
    for chunk in bench.arena.chunks_exact_mut(8) {
        chunk.copy_from_slice(&numbers.next().to_le_bytes());
    }
    let digest = Digest::bytes(bench.arena);
    bench.digest("arena", digest);
    Ok(())
}

/// Single operations, subnormal numbers and signed zeros among them, and libm's functions over a range of arguments.
fn floats(bench: &mut Bench<'_>) -> Outcome {
    let smallest = f32::from_bits(1);
    if smallest * 0.5 != 0.0
        || smallest + smallest != f32::from_bits(2)
        || (-smallest * 0.5).to_bits() != (-0.0_f32).to_bits()
    {
        return Err("subnormal numbers are flushed or rounded otherwise");
    }
    // 1 + 2^-12 squared is 1 + 2^-11 + 2^-24: rounded before the subtraction (to even), that leaves exactly 0; a fused
    // multiply-add would leave 2^-24.
    let x = core::hint::black_box(1.0_f32 + 1.0 / 4096.0);
    if x * x - (1.0 + 1.0 / 2048.0) != 0.0 {
        return Err("multiply and add were fused");
    }
    let mut numbers = Numbers(2);
    let (mut basic, mut functions, mut double) = (Digest::EMPTY, Digest::EMPTY, Digest::EMPTY);
    for _ in 0..500 {
        let (a, b) = (numbers.next_f32() * 80.0, numbers.next_f32() + 1.5);
        for value in [a + b, a - b, a * b, a / b, a * f32::MIN_POSITIVE / 3.0] {
            basic = basic.and_bytes(&value.to_bits().to_le_bytes());
        }
        for value in [libm::expf(a), libm::logf(b), libm::sqrtf(b), libm::tanhf(a), libm::powf(b, a), libm::floorf(a)] {
            functions = functions.and_bytes(&value.to_bits().to_le_bytes());
        }
        let (a, b) = (f64::from(a), f64::from(b));
        for value in [a / b, libm::exp(a), libm::log(b), libm::sqrt(b)] {
            double = double.and_bytes(&value.to_bits().to_le_bytes());
        }
        let integers = [a as i64 as u64, (a as f32 * 1e9) as i32 as u64, (a as f32) as u8 as u64];
        double = integers.iter().fold(double, |digest, value| digest.and_bytes(&value.to_le_bytes()));
    }
    bench.digest("basic", basic);
    bench.digest("libm_f32", functions);
    bench.digest("f64", double);
    Ok(())
}

/// Logistic regression by SGD, multiply then add in a fixed order: 200 steps over 8 inputs.
fn logistic_sgd(bench: &mut Bench<'_>) -> Outcome {
    const INPUTS: usize = 8;
    let mut numbers = Numbers(3);
    let truth: [f32; INPUTS] = core::array::from_fn(|_| numbers.next_f32());
    let mut params = [0.0_f32; INPUTS];
    let (mut early, mut late) = (0.0_f32, 0.0_f32);
    for step in 0..200 {
        let input: [f32; INPUTS] = core::array::from_fn(|_| numbers.next_f32());
        let label = f32::from(dot(&truth, &input) > 0.0);
        let probability = 1.0 / (1.0 + libm::expf(-dot(&params, &input)));
        let error = probability - label;
        for (param, value) in params.iter_mut().zip(&input) {
            *param -= 0.5 * error * value;
        }
        *(if step < 100 { &mut early } else { &mut late }) += error * error;
    }
    bench.digest("params", Digest::f32s(&params));
    bench.digest("errors", Digest::f32s(&[early, late]));
    if late < early { Ok(()) } else { Err("training did not lower the error") }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).fold(0.0, |sum, (a, b)| sum + a * b)
}
