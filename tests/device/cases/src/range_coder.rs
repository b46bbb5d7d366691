//! Reals to symbols to bytes, and back.

use siskin::quantize::{Rounding, Step, quantize_in_place};
use siskin::range_coder::{EntropyCoder, RowColumn, Support, decode, encode};

use crate::numbers::Numbers;
use crate::{Bench, Case, Digest, Outcome};

pub(crate) const CASES: &[Case] =
    &[Case { name: "range_coder_nearest", run: nearest }, Case { name: "range_coder_stochastic", run: stochastic }];

const ROWS: usize = 64;
const COLS: usize = 48;
const LIVE: usize = ROWS * COLS;

fn nearest(bench: &mut Bench<'_>) -> Outcome {
    round_trip(bench, Rounding::Nearest)
}

fn stochastic(bench: &mut Bench<'_>) -> Outcome {
    round_trip(bench, Rounding::Stochastic { seed: 7, first: 0 })
}

/// Most values are much smaller than the step and a few larger, and rows differ: what a delta looks like.
fn round_trip(bench: &mut Bench<'_>, rounding: Rounding) -> Outcome {
    let required = RowColumn::required_scratch(COLS as u32);
    let (values, rest) = bench.arena.split_at_mut(LIVE * size_of::<f32>());
    let (scratch, out) = rest.split_at_mut_checked(required.next_multiple_of(16)).ok_or("the arena is too small")?;
    let values: &mut [f32] = bytemuck::cast_slice_mut(values);
    let mut numbers = Numbers(4);
    for (i, value) in values.iter_mut().enumerate() {
        let x = numbers.next_f32();
        *value = x * x * x * x * x * (1 + i / COLS % 4) as f32;
    }
    let step = Step::new(0.25).map_err(|_| "the step")?;
    let quantized = quantize_in_place(values, step, rounding);
    if quantized.saturated != 0 || quantized.non_finite != 0 {
        return Err("a value that does not fit");
    }
    let symbols = quantized.symbols;
    let of_symbols = symbols.iter().fold(Digest::EMPTY, |digest, symbol| digest.and_bytes(&symbol.to_le_bytes()));

    let supports = [Support::dense(ROWS as u32, COLS as u32).map_err(|_| "the shape")?];
    let length = encode::<RowColumn>(&supports, symbols, out, &mut scratch[..required]).map_err(|_| "encoding")?;
    if length >= LIVE {
        return Err("more than a byte a symbol");
    }
    let of_bytes = Digest::bytes(&out[..length]);

    let (mut wrong, mut heard) = (false, 0);
    let live = decode::<RowColumn>(&supports, &out[..length], &mut scratch[..required], |index, symbol| {
        wrong |= symbols.get(index) != Some(&symbol);
        heard += 1;
    })
    .map_err(|_| "decoding")?;
    if wrong || live != LIVE || heard != symbols.iter().filter(|symbol| **symbol != 0).count() {
        return Err("what was decoded is not what was encoded");
    }
    bench.digest("symbols", of_symbols);
    bench.digest("bytes", of_bytes);
    Ok(())
}
