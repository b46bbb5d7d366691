//! Bytes, levels, and what a start gains.

use super::*;
use crate::quantize::Uniform;
use crate::range_coder::{DecodeTensors, Decoder, EncodeTensors, Encoder, EntropyCoder, RowColumn};
use proptest::prelude::*;
use std::vec;
use std::vec::Vec;

#[test]
fn levels_are_those_of_odds() {
    for (i, chance) in CHANCES.iter().enumerate() {
        let exact = 65_536.0 / (1.0 + libm::exp(-0.75 * (i as f64 - 7.0)));
        assert!((f64::from(*chance) - exact).abs() <= 0.5, "{i}: {chance} {exact}");
        assert_eq!(usize::from(level(*chance)), i + 1);
    }
    for chance in 1..=u16::MAX {
        let odds = |p: f64| libm::log(p / (65_536.0 - p));
        let off = odds(f64::from(chance)) / 0.75 + 8.0 - f64::from(level(chance));
        assert!(off.abs() <= 0.501 || level(chance) == 1 || level(chance) == 15, "{chance}: {off}");
    }
}

fn scratch(width: u32) -> Vec<u32> {
    vec![0xa5a5_a5a5; RowColumn::required_scratch(width).div_ceil(4)]
}

fn bytes(words: &mut [u32], width: u32) -> &mut [u8] {
    &mut bytemuck::cast_slice_mut(words)[..RowColumn::required_scratch(width)]
}

const SHAPE: Support<'static> = Support::Dense { rows: 12, cols: 16 };

/// Mostly zeros, small, of columns of their own scales.
fn report(seed: u64) -> Vec<i32> {
    let uniform = Uniform::new(seed);
    let of = |i: u32| {
        let (u, sign) = (uniform.at(2 * i), uniform.bits(2 * i + 1) >> 31);
        let size = (-libm::log(1.0 - f64::from(u)) * 0.15 * f64::from(1 + i % 4)) as i32;
        if sign == 0 { size } else { -size }
    };
    (0..SHAPE.live() as u32).map(of).collect()
}

fn coded(start: Start<'_>, symbols: &[i32]) -> Vec<u8> {
    let (mut words, mut out) = (scratch(16), vec![0; RowColumn::encoded_bound(symbols.len())]);
    let mut encoder = Encoder::begin(&mut out, bytes(&mut words, 16)).unwrap().starting(start);
    encoder.tensor(&SHAPE, symbols).unwrap();
    let length = encoder.finish().unwrap();
    out.truncate(length);
    out
}

fn decoded(start: Start<'_>, stream: &[u8]) -> Option<Vec<i32>> {
    let (mut words, mut symbols) = (scratch(16), vec![0; SHAPE.live()]);
    let mut decoder = Decoder::begin(stream, bytes(&mut words, 16)).unwrap().starting(start);
    decoder.tensor(&SHAPE, |i, q| symbols[i] = q).ok()?;
    decoder.finish().ok()?;
    Some(symbols)
}

fn learned(reports: impl Iterator<Item = Vec<i32>>) -> Vec<u8> {
    let (mut words, mut learner) = (scratch(16), Learner::default());
    reports.for_each(|report| learner.learn((Start::NONE, None), [SHAPE], &report, bytes(&mut words, 16)).unwrap());
    let mut out = vec![0; MAX_START];
    let length = learner.write(&mut out).unwrap();
    assert!(length == 0 || matches!(learner.write(&mut vec![0; length - 1]), Err(CodeError::Full { .. })));
    out.truncate(length);
    out
}

#[test]
fn what_was_learned_of_others_is_not_learned_again() {
    assert_eq!(learned(core::iter::empty()), [0u8; 0]);
    let document = learned((0..10).map(report));
    assert_eq!(document, learned((0..10).rev().map(report)), "in any order");
    let start = Start::new(&document).unwrap();
    let (mut cold, mut warm) = (0, 0);
    for seed in 100..140 {
        let symbols = report(seed);
        let stream = coded(start, &symbols);
        assert_eq!(decoded(start, &stream).as_deref(), Some(&symbols[..]));
        cold += coded(Start::NONE, &symbols).len();
        warm += stream.len();
    }
    std::println!("{} bytes of start; 40 reports of 192 coordinates: {warm} bytes, {cold} without", document.len());
    assert!(f64::from(warm as u32) < 0.96 * f64::from(cold as u32), "{warm} of {cold}");
}

/// Of a part of the coordinates a learner sees what a coder of that part does: half of them, of a report that is twice over.
#[test]
fn what_does_not_travel_teaches_nothing() {
    use crate::checkin::{Quantization, Rounding};
    let grid = Quantization { step: 1.0, rounding: Rounding::Stochastic, keep: 0.5 };
    let mut out = [const { [0; MAX_START] }; 2];
    let lengths = [0, 1].map(|way| {
        let (mut words, mut learner) = (scratch(16), Learner::default());
        for seed in 0..20 {
            let subset = Subset::new(&grid, 7, seed).unwrap();
            let mut symbols = report(seed);
            let kept: Vec<usize> = (0..symbols.len()).filter(|i| subset.keeps(*i)).collect();
            if way == 0 {
                (0..symbols.len()).filter(|i| !subset.keeps(*i)).for_each(|i| symbols[i] = 0);
                learner.learn((Start::NONE, Some(subset)), [SHAPE], &symbols, bytes(&mut words, 16)).unwrap();
            } else {
                // The same coordinates as the only ones that live.
                let row_ptr: Vec<u32> =
                    (0..=12).map(|row| kept.iter().filter(|i| **i < 16 * row).count() as u32).collect();
                let cols: Vec<u16> = kept.iter().map(|i| (i % 16) as u16).collect();
                let alone: Vec<i32> = kept.iter().map(|i| symbols[*i]).collect();
                let support = Support::Csr { row_ptr: &row_ptr, cols: &cols, width: 16 };
                learner.learn((Start::NONE, None), [support], &alone, bytes(&mut words, 16)).unwrap();
            }
        }
        learner.write(&mut out[way]).unwrap()
    });
    assert!(lengths[0] > 50);
    assert_eq!((lengths[0], out[0]), (lengths[1], out[1]));
}

#[test]
fn what_is_no_start_is_refused() {
    assert_eq!(Start::new(&[]), Ok(Start::NONE));
    for (bad, position) in [
        (&[1u8, 2][..], 2),
        (&[0, 0, 16, 0x10], 0),
        (&[0, 0, 0, 0x00], 3),
        (&[0, 0, 0, 0x07], 3),
        (&[0, 0, 0, 0x1f], 3),
        (&[0, 0, 0, 0x10, 0x0f], 4),
    ] {
        assert_eq!(Start::new(bad), Err(StartError { position }), "{bad:?}");
    }
    // Up to the last cell, and one beyond.
    let mut all = vec![0; HEADER];
    all.resize(MAX_START, 0x80);
    assert!(Start::new(&all).is_ok());
    all.push(0x80);
    assert_eq!(Start::new(&all), Err(StartError { position: MAX_START }));
}

proptest! {
    /// Any bytes are refused or a start, with which both sides agree.
    #[test]
    fn any_start_codes_anything(
        document in prop::collection::vec(any::<u8>(), 0..40), seed in any::<u64>(), wild in any::<i32>(),
    ) {
        let mut document = document;
        if document.len() >= 3 {
            document[2] &= 7;
        }
        let Ok(start) = Start::new(&document) else { return Ok(()) };
        let mut symbols = report(seed);
        symbols[7] = wild % (1 << 24);
        let stream = coded(start, &symbols);
        prop_assert_eq!(decoded(start, &stream), Some(symbols));
    }
}
