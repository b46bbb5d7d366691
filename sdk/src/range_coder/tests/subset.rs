//! Streams of a part of the coordinates.

use super::round_trip::{Shape, shape};
use super::*;
use crate::checkin::{Quantization, Rounding};
use crate::quantize::{MAX_SYMBOL, Subset};
use crate::range_coder::{DecodeTensors, EncodeTensors, Encoder};
use proptest::prelude::*;

fn subset(keep: f32, task: u64) -> Option<Subset> {
    Subset::new(&Quantization { step: 1.0, rounding: Rounding::Nearest, keep }, 3, task)
}

/// The coordinates of a tensor that are kept, as compressed rows, and their symbols.
fn kept_rows(shape: &Shape, before: usize, symbols: &[i32], subset: &Subset) -> (Shape, Vec<i32>) {
    let (row_ptr, cols, width) = match shape.repeated() {
        Shape::Dense(rows, width) => {
            let row_ptr = (0..=rows).map(|row| row * width).collect();
            (row_ptr, (0..rows * width).map(|at| (at % width) as u16).collect::<Vec<u16>>(), width)
        }
        Shape::Csr(row_ptr, cols, width) | Shape::Blocks(row_ptr, cols, width, _) => (row_ptr, cols, width),
    };
    let (mut ends, mut kept, mut values) = (vec![0], Vec::new(), Vec::new());
    for row in row_ptr.windows(2) {
        for at in row[0] as usize..row[1] as usize {
            if subset.keeps(before + at) {
                kept.push(cols[at]);
                values.push(symbols[at]);
            }
        }
        ends.push(kept.len() as u32);
    }
    (Shape::Csr(ends, kept, width), values)
}

fn symbol() -> impl Strategy<Value = i32> {
    prop_oneof![6 => Just(0), 3 => -2..=2, 1 => -MAX_SYMBOL..=MAX_SYMBOL]
}

proptest! {
    /// Bit for bit the stream of rows that have no other coordinates, whatever the others' symbols are, and it comes back.
    #[test]
    fn the_others_do_not_live(
        shapes in prop::collection::vec(shape(), 0..4), keep in prop_oneof![Just(1.0 / 65_536.0), 0.01f32..0.999],
        task in any::<u64>(), pool in prop::collection::vec(symbol(), 1..2000), wild in any::<bool>(),
    ) {
        let chosen = subset(keep, task).unwrap();
        let supports: Vec<Support<'_>> = shapes.iter().map(Shape::support).collect();
        let live: usize = supports.iter().map(Support::live).sum();
        let symbols: Vec<i32> = (0..live).map(|i| if wild { pool[i % pool.len()] } else { pool[i % pool.len()].clamp(-1, 1) }).collect();
        let (mut rows, mut values, mut before) = (Vec::new(), Vec::new(), 0);
        for (shape, support) in shapes.iter().zip(&supports) {
            let (kept, of) = kept_rows(shape, before, &symbols[before..before + support.live()], &chosen);
            before += support.live();
            rows.push(kept);
            values.extend(of);
        }
        let expected = encoded_all(&rows.iter().map(Shape::support).collect::<Vec<_>>(), &values);

        let mut words = scratch(&supports);
        let mut out = vec![0; RowColumn::encoded_bound(live)];
        let mut encoder = Encoder::begin(&mut out, scratch_bytes(&mut words, &supports)).unwrap();
        encoder.keep_only(Some(chosen));
        let mut at = 0;
        for support in &supports {
            encoder.tensor(support, &symbols[at..at + support.live()]).unwrap();
            at += support.live();
        }
        let length = encoder.finish().unwrap();
        prop_assert_eq!(&out[..length], &expected[..]);

        let mut back = vec![0; live];
        let mut words = scratch(&supports);
        let mut decoder = Decoder::begin(&out[..length], scratch_bytes(&mut words, &supports)).unwrap();
        decoder.keep_only(Some(chosen));
        for support in &supports {
            decoder.tensor(support, |index, symbol| back[index] = symbol).unwrap();
        }
        decoder.finish().unwrap();
        for (index, (got, sent)) in back.iter().zip(&symbols).enumerate() {
            prop_assert_eq!(*got, if chosen.keeps(index) { *sent } else { 0 });
        }
    }

    /// Damaged, cut or of another task: never a panic.
    #[test]
    fn any_bytes_end(bytes in prop::collection::vec(any::<u8>(), 0..200), shape in shape(), task in any::<u64>()) {
        let supports = [shape.support()];
        let mut words = scratch(&supports);
        let mut decoder = Decoder::begin(&bytes, scratch_bytes(&mut words, &supports)).unwrap();
        decoder.keep_only(subset(0.2, task));
        let _ = decoder.tensor(&supports[0], |_, _| ());
        let _ = decoder.finish();
    }
}
