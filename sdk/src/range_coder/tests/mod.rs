//! Round trips, damage and sizes.

mod real_updates;
mod round_trip;
mod size;
mod small;
mod subset;

use super::{CodeError, DecodeError, Decoder, EntropyCoder, RowColumn, Support, decode, encode};
use std::vec;
use std::vec::Vec;

/// Scratch memory of exactly the required size, full of rubbish.
fn scratch(tensors: &[Support<'_>]) -> Vec<u32> {
    let bytes = RowColumn::required_scratch(tensors.iter().map(Support::width).max().unwrap_or(0));
    vec![0xa5a5_a5a5; bytes.div_ceil(4)]
}

fn scratch_bytes<'a>(words: &'a mut [u32], tensors: &[Support<'_>]) -> &'a mut [u8] {
    let bytes = RowColumn::required_scratch(tensors.iter().map(Support::width).max().unwrap_or(0));
    &mut bytemuck::cast_slice_mut(words)[..bytes]
}

fn encoded(tensors: &[Support<'_>], symbols: &[i32], capacity: usize) -> Result<Vec<u8>, CodeError> {
    let mut words = scratch(tensors);
    // A guard behind the slice shows writes past its end.
    let mut out = vec![0xee; capacity + 8];
    let length = encode::<RowColumn>(tensors, symbols, &mut out[..capacity], scratch_bytes(&mut words, tensors));
    assert!(out[capacity..].iter().all(|&b| b == 0xee));
    length.map(|length| out[..length].to_vec())
}

fn encoded_all(tensors: &[Support<'_>], symbols: &[i32]) -> Vec<u8> {
    encoded(tensors, symbols, RowColumn::encoded_bound(symbols.len())).unwrap()
}

fn decoded(tensors: &[Support<'_>], bytes: &[u8]) -> Result<Vec<i32>, DecodeError> {
    let live = tensors.iter().map(Support::live).sum();
    let mut symbols = vec![0; live];
    let mut words = scratch(tensors);
    let mut next = 0;
    let count = decode::<RowColumn>(tensors, bytes, scratch_bytes(&mut words, tensors), |index, symbol| {
        assert!(index >= next && symbol != 0, "ascending, nonzero only");
        next = index + 1;
        symbols[index] = symbol;
    })?;
    assert_eq!(count, live);
    Ok(symbols)
}
