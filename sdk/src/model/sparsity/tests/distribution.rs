//! Distributions.

use super::*;

fn shared(distribution: Distribution, shapes: &[&[usize]], sparsity: f64) -> Vec<Option<f64>> {
    let tensors: Vec<_> = shapes.iter().map(|shape| TensorShape { shape, custom: None }).collect();
    let mut out = vec![Some(9.0); tensors.len()];
    distribute(distribution, &tensors, sparsity, &mut out).unwrap();
    out
}

#[test]
fn bad_requests_write_nothing() {
    let tensors = [TensorShape { shape: &[2, 4], custom: None }, TensorShape { shape: &[3, 0], custom: None }];
    let mut out = [Some(9.0); 2];
    let mut refuse = |d, t: &[TensorShape<'_>], s, error| {
        assert_eq!(distribute(d, t, s, &mut out), Err(error));
        assert_eq!(out, [Some(9.0); 2]);
    };
    refuse(Distribution::ERK, &tensors, 0.5, DistributionError::Empty { tensor: 1 });
    refuse(Distribution::ERK, &tensors[..1], 1.5, DistributionError::SparsityOutOfRange { got: 1.5 });
    refuse(Distribution::Uniform, &tensors[..1], 0.5, DistributionError::Length { expected: 1, got: 2 });
    let power = Distribution::ErdosRenyiKernel { power: -1.0 };
    refuse(power, &tensors[..1], 0.5, DistributionError::PowerOutOfRange { got: -1.0 });
    let custom = [TensorShape { custom: Some(-0.1), ..tensors[0] }];
    refuse(Distribution::Uniform, &custom, 0.5, DistributionError::CustomOutOfRange { tensor: 0, got: -0.1 });
}

#[test]
fn edges() {
    for d in [Distribution::Uniform, Distribution::ERK, Distribution::ErdosRenyi] {
        assert_eq!(shared(d, &[&[4, 4], &[3]], 0.0), [Some(0.0), None], "{d:?}");
        assert_eq!(shared(d, &[&[4, 4], &[3]], 1.0), [Some(1.0), None], "{d:?}");
        assert_eq!(shared(d, &[], 0.5), [], "{d:?}");
        // Fewer zeros than one each: all dense, and it ends.
        let dense = shared(d, &[&[2, 2], &[3, 2]], 1e-9);
        assert!(dense.iter().all(|s| s.unwrap() <= 1e-9), "{d:?} {dense:?}");
    }
    // A tensor of its own sparsity takes no part, whatever its shape.
    let tensors = [TensorShape { shape: &[7], custom: Some(0.25) }, TensorShape { shape: &[4, 4], custom: None }];
    let mut out = [None; 2];
    distribute(Distribution::ERK, &tensors, 0.5, &mut out).unwrap();
    assert_eq!(out, [Some(0.25), Some(0.5)]);
    assert_eq!(overall_sparsity(&tensors, &out), (0.25 * 7.0 + 0.5 * 16.0) / 23.0);
    assert_eq!(overall_sparsity(&tensors, &[None, None]), 0.0);
}

proptest! {
    #[test]
    fn erk_meets_the_budget_and_ranks_by_density(
        shapes in proptest::collection::vec(proptest::collection::vec(1usize..40, 2..5), 1..8),
        sparsity in 0.0f64..=1.0, power in 0.0f64..3.0,
    ) {
        let shapes: Vec<&[usize]> = shapes.iter().map(Vec::as_slice).collect();
        let shares = shared(Distribution::ErdosRenyiKernel { power }, &shapes, sparsity);
        let size = |s: &[usize]| s.iter().product::<usize>() as f64;
        let budget: f64 = shapes.iter().map(|s| size(s) - (sparsity * size(s)).floor()).sum();
        let live: f64 = shapes.iter().zip(&shares).map(|(s, share)| size(s) * (1.0 - share.unwrap())).sum();
        if sparsity > 0.0 {
            prop_assert!((live - budget).abs() <= 1e-9 * budget.max(1.0), "{} live of {}", live, budget);
        }
        let ratio = |s: &[usize]| s.iter().sum::<usize>() as f64 / size(s);
        for (a, x) in shapes.iter().zip(&shares) {
            prop_assert!((0.0..=1.0).contains(&x.unwrap()));
            for (b, y) in shapes.iter().zip(&shares) {
                prop_assert!(ratio(a) < ratio(b) || x.unwrap() <= y.unwrap() + 1e-12, "denser where the ratio is larger");
            }
        }
    }
}
