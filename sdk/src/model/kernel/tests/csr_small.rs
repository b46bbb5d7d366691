//! The loops of builds whose code must be small, which tests, being of all features, do not have: their bits are those of the
//! definitions and of the fast loops.

use super::*;
use crate::model::kernel::dispatch::{portable, scalar};
use crate::model::kernel::scalars::NoVectors;
use crate::model::kernel::vector::{Isa, Portable};
use crate::model::kernel::{self, csr_small};

/// Inputs and outputs: rows that are shorter than what is unrolled, as long as it, longer than what a sink takes at once.
const SHAPES: [[usize; 2]; 10] = [[1, 1], [2, 3], [3, 2], [4, 4], [5, 1], [7, 9], [31, 2], [32, 3], [33, 5], [130, 3]];

/// `y`, `dx`, and the gradient of the weights.
type Results = [Vec<f32>; 3];

struct Case {
    s: Sparse,
    bias: Vec<f32>,
    x: Vec<f32>,
    dy: Vec<f32>,
    inputs: usize,
    outputs: usize,
    batch: usize,
}

fn small<I: Isa>(case: &Case) -> Results {
    let Case { s, bias, x, dy, inputs, outputs, batch } = case;
    let (inputs, outputs, batch) = (*inputs, *outputs, *batch);
    let (mut y, mut dx) = (vec![f32::NAN; outputs * batch], vec![0.0; inputs * batch]);
    csr_small::forward::<I>((s.pattern(), &s.w, bias), x, &mut y, [inputs, outputs, batch]);
    csr_small::input_grad::<I>((s.pattern(), &s.w), dy, &mut dx, [outputs, batch]);
    let grad = collected(s.w.len(), |sink| csr_small::weight_grad::<I, _>(s.pattern(), dy, x, batch, sink));
    if batch == 1 {
        let mut both = vec![0.0; inputs];
        let mut sink = Spoil { values: s.w.clone(), collect: Collect(vec![None; s.w.len()]) };
        csr_small::gradients_single(s.pattern(), dy, x, &mut both, &mut sink);
        assert_eq!(bits(&both), bits(&dx));
        let both: Vec<f32> = sink.collect.0.into_iter().map(|g| g.expect("every coordinate comes")).collect();
        assert_eq!(bits(&both), bits(&grad));
    }
    [y, dx, grad]
}

macro_rules! fast {
    ($kernels:path, $case:ident) => {{
        use $kernels as kernels;
        let Case { s, bias, x, dy, inputs, outputs, batch } = $case;
        let (inputs, outputs, batch) = (*inputs, *outputs, *batch);
        let (mut y, mut dx) = (vec![f32::NAN; outputs * batch], vec![f32::NAN; inputs * batch]);
        kernels::csr_forward(s.pattern(), &s.w, bias, x, &mut y, inputs, outputs, batch);
        kernels::csr_input_grad(s.pattern(), &s.w, dy, &mut dx, inputs, outputs, batch);
        let grad = collected(s.w.len(), |sink| {
            kernels::csr_weight_grad(s.pattern(), dy, x, inputs, outputs, batch, sink);
        });
        [y, dx, grad]
    }};
}

fn same(case: &Case) {
    let Case { s, bias, x, dy, inputs, outputs, batch } = case;
    let (inputs, outputs, batch) = (*inputs, *outputs, *batch);
    let expected = [
        oracle::forward(s, bias, x, outputs, batch),
        oracle::input_grad(s, dy, inputs, outputs, batch),
        oracle::csr_weight_grad(s, dy, x, outputs, batch),
    ];
    let results = [
        ("small, scalars", small::<NoVectors>(case)),
        ("small", small::<Portable>(case)),
        ("fast, scalars", fast!(scalar, case)),
        ("fast", fast!(portable, case)),
        ("dispatched", fast!(kernel, case)),
    ];
    for (name, results) in &results {
        for (what, (got, expected)) in ["y", "dx", "dw"].iter().zip(results.iter().zip(&expected)) {
            assert_eq!(bits(got), bits(expected), "{name}: {what} of {inputs} to {outputs}, batch {batch}");
        }
    }
}

#[test]
fn the_bits_are_those_of_the_fast_loops() {
    const { assert!(kernel::FAST, "or the fast loops are not those that are compared") }
    let mut seed = 1;
    for [inputs, outputs] in SHAPES {
        for batch in 1..=33 {
            for density in [1, 4, 8] {
                let s = Sparse::new(&mut seed, outputs, inputs, density);
                let bias = if density == 4 { vec![] } else { values(&mut seed, outputs) };
                let (x, dy) = (values(&mut seed, inputs * batch), values(&mut seed, outputs * batch));
                same(&Case { s, bias, x, dy, inputs, outputs, batch });
            }
        }
    }
}

/// A column past the end is refused wherever it stands among those that are read together.
#[test]
fn broken_patterns() {
    let (inputs, outputs) = (9, 1);
    for batch in [1, 3, 4, 7, 8] {
        for place in 0..6 {
            for column in [9, 300, u16::MAX] {
                let mut cols = [0, 1, 2, 3, 4, 5];
                cols[place] = column;
                let pattern = Pattern { row_ptr: &[0, 6], cols: &cols };
                let (w, x, dy) = ([1.0; 6], vec![1.0; inputs * batch], vec![1.0; outputs * batch]);
                let (mut y, mut dx) = (dy.clone(), x.clone());
                let panics = |run: &mut dyn FnMut()| {
                    let run = std::panic::AssertUnwindSafe(run);
                    let run = || {
                        let run = run;
                        (run.0)();
                    };
                    assert!(std::panic::catch_unwind(run).is_err(), "{batch} {place} {column}");
                };
                let shape = [inputs, outputs, batch];
                panics(&mut || csr_small::forward::<NoVectors>((pattern, &w, &[]), &x, &mut y, shape));
                panics(&mut || csr_small::input_grad::<NoVectors>((pattern, &w), &dy, &mut dx, [outputs, batch]));
                let sink = &mut Collect(vec![None; 6]);
                panics(&mut || csr_small::weight_grad::<NoVectors, _>(pattern, &dy, &x, batch, sink));
                if batch == 1 {
                    let sink = &mut Spoil { values: w.to_vec(), collect: Collect(vec![None; 6]) };
                    panics(&mut || csr_small::gradients_single(pattern, &dy, &x, &mut dx, sink));
                }
            }
        }
    }
}
