//! What goes in comes out; what was damaged does not.

use super::*;
use crate::quantize::{MAX_SYMBOL, Uniform};
use crate::range_coder::{CodeError, DecodeTensors, EncodeTensors, SupportError};
use proptest::prelude::*;

/// Owned support.
#[derive(Debug, Clone)]
pub(super) enum Shape {
    Dense(u32, u32),
    Csr(Vec<u32>, Vec<u16>, u32),
    Blocks(Vec<u32>, Vec<u16>, u32, u32),
}

impl Shape {
    pub(super) fn support(&self) -> Support<'_> {
        match self {
            Self::Dense(rows, cols) => Support::dense(*rows, *cols).unwrap(),
            Self::Csr(row_ptr, cols, width) => Support::csr(row_ptr, cols, *width).unwrap(),
            Self::Blocks(row_ptr, cols, width, height) => {
                Support::Blocks { row_ptr, cols, width: *width, height: *height }
            }
        }
    }

    /// The same coordinates, every row with a list of its own.
    pub(super) fn repeated(&self) -> Self {
        let Self::Blocks(row_ptr, cols, width, height) = self else { return self.clone() };
        let (mut ends, mut all) = (vec![0], Vec::new());
        for list in row_ptr.windows(2) {
            for _ in 0..*height {
                all.extend_from_slice(&cols[list[0] as usize..list[1] as usize]);
                ends.push(all.len() as u32);
            }
        }
        Self::Csr(ends, all, *width)
    }
}

fn csr(width: u32, rows: &[Vec<bool>]) -> Shape {
    let (mut row_ptr, mut cols) = (vec![0], Vec::new());
    for row in rows {
        cols.extend((0..width as u16).filter(|&c| row[usize::from(c)]));
        row_ptr.push(cols.len() as u32);
    }
    Shape::Csr(row_ptr, cols, width)
}

pub(super) fn shape() -> impl Strategy<Value = Shape> {
    let sparse = (1u32..70).prop_flat_map(|width| {
        let row = prop_oneof![
            Just(vec![false; width as usize]),
            prop::collection::vec(prop::bool::weighted(0.3), width as usize)
        ];
        (prop::collection::vec(row, 0..9), prop_oneof![Just(None), (0u32..6).prop_map(Some)]).prop_map(
            move |(rows, height)| match (csr(width, &rows), height) {
                (Shape::Csr(row_ptr, cols, width), Some(height)) => Shape::Blocks(row_ptr, cols, width, height),
                (rows, _) => rows,
            },
        )
    });
    prop_oneof![(0u32..12, 0u32..80).prop_map(|(rows, cols)| Shape::Dense(rows, cols)), sparse]
}

/// Symbols from almost all zero to all huge.
fn symbols(live: usize) -> impl Strategy<Value = Vec<i32>> {
    let one = |kind: u8| match kind {
        0 => prop_oneof![200 => Just(0), 1 => -2..3i32].boxed(),
        1 => prop_oneof![9 => Just(0), 1 => -20..21i32].boxed(),
        2 => (-3..4i32).boxed(),
        3 => prop_oneof![Just(MAX_SYMBOL), Just(-MAX_SYMBOL)].boxed(),
        _ => (-MAX_SYMBOL..=MAX_SYMBOL).boxed(),
    };
    (0u8..5).prop_flat_map(move |kind| prop::collection::vec(one(kind), live))
}

fn case() -> impl Strategy<Value = (Vec<Shape>, Vec<i32>)> {
    prop::collection::vec(shape(), 0..5).prop_flat_map(|shapes| {
        let live = shapes.iter().map(|s| s.support().live()).sum();
        (Just(shapes), symbols(live))
    })
}

proptest! {
    /// Blocks are rows that are the same: to the byte.
    #[test]
    fn blocks_are_coded_as_their_rows((shapes, symbols) in case()) {
        let rows: Vec<Shape> = shapes.iter().map(Shape::repeated).collect();
        let [blocks, rows] = [&shapes, &rows].map(|all| all.iter().map(Shape::support).collect::<Vec<_>>());
        prop_assert_eq!(encoded_all(&blocks, &symbols), encoded_all(&rows, &symbols));
    }

    #[test]
    fn round_trip((shapes, symbols) in case()) {
        let tensors: Vec<_> = shapes.iter().map(Shape::support).collect();
        // `encoded_all` lends exactly the bound.
        let bytes = encoded_all(&tensors, &symbols);
        prop_assert_eq!(decoded(&tensors, &bytes), Ok(symbols.clone()));
    }

    /// Every proper beginning, and every extension by one byte, is refused with the position in the error.
    #[test]
    fn cut_or_extended((shapes, symbols) in case(), extra in any::<u8>()) {
        let tensors: Vec<_> = shapes.iter().map(Shape::support).collect();
        let mut bytes = encoded_all(&tensors, &symbols);
        let stride = bytes.len() / 64 + 1;
        for cut in (0..bytes.len()).rev().step_by(stride) {
            prop_assert!(decoded(&tensors, &bytes[..cut]).is_err(), "cut at {}", cut);
        }
        let position = bytes.len();
        bytes.push(extra);
        prop_assert_eq!(decoded(&tensors, &bytes), Err(DecodeError::Trailing { position }));
    }

    /// A slice that is too short is refused (and never written past, see `encoded`); one that just fits is enough.
    #[test]
    fn capacity((shapes, symbols) in case()) {
        let tensors: Vec<_> = shapes.iter().map(Shape::support).collect();
        let bytes = encoded_all(&tensors, &symbols);
        prop_assert_eq!(encoded(&tensors, &symbols, bytes.len()), Ok(bytes.clone()));
        for capacity in [bytes.len().wrapping_sub(1), bytes.len() / 2, 0] {
            if capacity < bytes.len() {
                // What does not fit as it was may fit plainly; then it is shorter, and as good.
                match encoded(&tensors, &symbols, capacity) {
                    Ok(other) => prop_assert_eq!(decoded(&tensors, &other), Ok(symbols.clone())),
                    Err(error) => prop_assert_eq!(error, CodeError::Full { capacity }),
                }
            }
        }
    }

    /// Rubbish is refused, or it is what the encoder writes for the symbols that it decodes to.
    #[test]
    fn rubbish(shapes in prop::collection::vec(shape(), 0..4), bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let tensors: Vec<_> = shapes.iter().map(Shape::support).collect();
        if let Ok(symbols) = decoded(&tensors, &bytes) {
            let again = encoded_all(&tensors, &symbols);
            prop_assert_eq!(decoded(&tensors, &again), Ok(symbols.clone()));
        }
    }

    /// One bit flipped: no panic, and never a wrong count.
    #[test]
    fn flipped((shapes, symbols) in case(), at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let tensors: Vec<_> = shapes.iter().map(Shape::support).collect();
        let mut bytes = encoded_all(&tensors, &symbols);
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert_ne!(decoded(&tensors, &bytes), Ok(symbols.clone()));
        }
    }
}

#[test]
fn corner_shapes() {
    let width = u32::from(u16::MAX) + 1;
    let full: Vec<u16> = (0..=u16::MAX).collect();
    let wide = [0, 0, width, width];
    let shapes = [
        Shape::Dense(0, 0),
        Shape::Dense(0, 7),
        Shape::Dense(7, 0),
        Shape::Dense(1, 1),
        Shape::Dense(1, 1000),
        Shape::Dense(1000, 1),
        Shape::Csr(vec![0], vec![], 0),
        Shape::Csr(vec![0, 0, 0], vec![], 5),
        Shape::Csr(wide.to_vec(), full, width),
    ];
    for value in [0, 1, -1, 15, MAX_SYMBOL, -MAX_SYMBOL] {
        for shape in &shapes {
            let tensors = [shape.support()];
            let symbols = vec![value; tensors[0].live()];
            let bytes = encoded_all(&tensors, &symbols);
            assert_eq!(bytes.is_empty(), symbols.is_empty());
            assert_eq!(decoded(&tensors, &bytes).unwrap(), symbols, "{value}");
        }
        let all: Vec<_> = shapes.iter().map(Shape::support).collect();
        let symbols = vec![value; all.iter().map(Support::live).sum()];
        assert_eq!(decoded(&all, &encoded_all(&all, &symbols)).unwrap(), symbols);
    }
    // No live coordinate, but bytes.
    assert_eq!(decoded(&[Support::Dense { rows: 0, cols: 7 }], &[0]), Err(DecodeError::Trailing { position: 0 }));
}

/// The bound holds where it is tightest: many tensors of one coordinate, large or as surprising as they can be.
#[test]
fn bound_of_many_small_tensors() {
    let uniform = Uniform::new(5);
    for kind in 0..4 {
        let symbols: Vec<i32> = (0..20_000u32)
            .map(|i| match kind {
                0 => uniform.bits(i) as i32 >> 7,
                1 => i32::from(uniform.bits(i) >> 27 == 0) * 14,
                2 => i32::from(i % 97 == 0) * 1_000_000,
                _ => (uniform.bits(i) as i32 >> 7) >> (uniform.bits(!i) % 25),
            })
            .map(|q| q.clamp(-MAX_SYMBOL, MAX_SYMBOL))
            .collect();
        for size in [1usize, 2, 3, 5, 16, 20_000] {
            let tensors = vec![Support::Dense { rows: 1, cols: size as u32 }; symbols.len() / size];
            let symbols = &symbols[..tensors.len() * size];
            let bytes = encoded_all(&tensors, symbols);
            assert!(bytes.len() <= symbols.len() * 27 / 8 + 8);
            assert_eq!(decoded(&tensors, &bytes).as_deref(), Ok(symbols));
        }
    }
}

#[test]
fn refusals() {
    let dense = Support::Dense { rows: 2, cols: 3 };
    let bad = [
        (Support::Csr { row_ptr: &[], cols: &[], width: 1 }, SupportError::RowStart),
        (Support::Csr { row_ptr: &[1, 1], cols: &[0], width: 1 }, SupportError::RowStart),
        (Support::Blocks { row_ptr: &[1, 1], cols: &[0], width: 1, height: 4 }, SupportError::RowStart),
        (Support::Csr { row_ptr: &[0, 2, 1], cols: &[0], width: 1 }, SupportError::RowOrder { row: 1 }),
        (Support::Csr { row_ptr: &[0, 2], cols: &[0], width: 1 }, SupportError::Length { expected: 2, got: 1 }),
        (
            Support::Csr { row_ptr: &[0, 2], cols: &[0, 3], width: 3 },
            SupportError::Column { position: 1, got: 3, width: 3 },
        ),
    ];
    let mut words = scratch(&[dense]);
    let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut words);
    let mut out = [0; 64];
    for (support, error) in bad {
        let mut encoder = RowColumn::encoder(&mut out, bytes).unwrap();
        let symbols = vec![0; support.live()];
        assert_eq!(encoder.tensor(&support, &symbols), Err(CodeError::Support(error)));
        // An error sticks.
        assert_eq!(encoder.tensor(&dense, &[0; 6]), Err(CodeError::Support(error)));
        assert_eq!(encoder.finish(), Err(CodeError::Support(error)));
        let mut decoder = RowColumn::decoder(&[1, 2, 3], bytes).unwrap();
        assert_eq!(decoder.tensor(&support, |_, _| ()), Err(DecodeError::Support(error)));
        assert_eq!(decoder.finish(), Err(DecodeError::Support(error)));
    }
    for (symbols, error) in [
        (&[0; 5][..], CodeError::Length { expected: 6, got: 5 }),
        (&[0; 7], CodeError::Length { expected: 6, got: 7 }),
        (&[0, 0, 1 << 24, 0, 0, 0], CodeError::Symbol { index: 2, got: 1 << 24 }),
        (&[0, 0, 0, 0, 0, i32::MIN], CodeError::Symbol { index: 5, got: i32::MIN }),
    ] {
        assert_eq!(encoded(&[dense], symbols, 64), Err(error));
    }
    let needed = RowColumn::required_scratch(3);
    let got = needed - 1;
    let short = encode::<RowColumn>(&[dense], &[0; 6], &mut out, &mut bytes[..got]);
    // One byte less makes room for one column less.
    assert_eq!(short, Err(CodeError::Scratch { expected: needed, got: needed - 4 }));
    let shifted = encode::<RowColumn>(&[dense], &[0; 6], &mut out, &mut bytes[1..]);
    assert!(matches!(shifted, Err(CodeError::Misaligned { .. } | CodeError::Scratch { .. })));
    assert!(Decoder::begin(&[], &mut bytes[..100]).is_err());
}

/// Scratch memory keeps nothing from one stream to the next, and RAM is what was promised.
#[test]
fn scratch_is_only_scratch() {
    let tensors = [Support::Dense { rows: 3, cols: 20 }];
    let symbols: Vec<i32> = (0..60).map(|i| i % 7 - 3).collect();
    let clean = encoded_all(&tensors, &symbols);
    let mut words = scratch(&tensors);
    for fill in [0, u32::MAX, 0x1234_5678] {
        words.fill(fill);
        let mut out = [0; 256];
        let length = encode::<RowColumn>(&tensors, &symbols, &mut out, scratch_bytes(&mut words, &tensors)).unwrap();
        assert_eq!(out[..length], clean);
    }
    assert!(RowColumn::required_scratch(1000) <= 4096 + 4 * 1000);
}
