//! Softmax against its formula in double precision and against finite differences.

use super::*;
use crate::model::kernel::{
    SoftmaxGeometry, log_softmax_backward, log_softmax_forward, softmax_backward, softmax_forward,
};

fn exact(g: &SoftmaxGeometry, x: &[f64], batch: usize, log: bool) -> Vec<f64> {
    let mut y = vec![0.0; x.len()];
    for group in 0..g.groups {
        for i in 0..g.positions {
            for b in 0..batch {
                let seen = if g.causal { g.size.min(i + 1) } else { g.size };
                let at = |j: usize| ((group * g.size + j) * g.positions + i) * batch + b;
                let sum: f64 = (0..seen).map(|j| libm::exp(x[at(j)])).sum();
                for j in 0..seen {
                    y[at(j)] = if log { x[at(j)] - libm::log(sum) } else { libm::exp(x[at(j)]) / sum };
                }
            }
        }
    }
    y
}

fn geometry() -> impl Strategy<Value = (SoftmaxGeometry, usize, u64)> {
    (1usize..4, 1usize..14, 1usize..14, any::<bool>(), 1usize..10, any::<u64>()).prop_map(
        |(groups, size, positions, causal, batch, seed)| {
            (SoftmaxGeometry { groups, size, positions, causal }, batch, seed)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn probabilities((g, batch, mut seed) in geometry()) {
        let mut x = smooth(&mut seed, g.groups * g.size * g.positions * batch);
        let want = exact(&g, &doubles(&x), batch, false);
        let unseen = |at: usize| {
            let (j, i) = (at / batch / g.positions % g.size, at / batch % g.positions);
            g.causal && j > i
        };
        (0..x.len()).filter(|at| unseen(*at)).for_each(|at| x[at] = f32::NAN);
        let y = both(|| {
            let mut y = x.clone();
            softmax_forward(&g, &mut y, batch);
            y
        });
        close(&y, &want, 1e-6);
        prop_assert!((0..x.len()).all(|at| !unseen(at) || y[at].to_bits() == 0));

        let dy = smooth(&mut seed, x.len());
        let want = differences(&x, |x| weighted(&exact(&g, x, batch, false), &dy));
        let masked: Vec<f32> = (0..x.len()).map(|at| if unseen(at) { f32::NAN } else { dy[at] }).collect();
        let dx = both(|| {
            let mut dx = masked.clone();
            softmax_backward(&g, &y, &mut dx, batch);
            dx
        });
        close(&dx, &want, 1e-6);
        prop_assert!((0..x.len()).all(|at| !unseen(at) || dx[at].to_bits() == 0));
    }

    #[test]
    fn logarithms((g, batch, mut seed) in geometry()) {
        let g = SoftmaxGeometry { causal: false, ..g };
        let x = smooth(&mut seed, g.groups * g.size * g.positions * batch);
        let y = both(|| {
            let mut y = x.clone();
            log_softmax_forward(&g, &mut y, batch);
            y
        });
        close(&y, &exact(&g, &doubles(&x), batch, true), 1e-6);
        let dy = smooth(&mut seed, x.len());
        let want = differences(&x, |x| weighted(&exact(&g, x, batch, true), &dy));
        let dx = both(|| {
            let mut dx = dy.clone();
            log_softmax_backward(&g, &y, &mut dx, batch);
            dx
        });
        close(&dx, &want, 3e-6);
    }
}

#[test]
fn large_values_and_nan() {
    let g = SoftmaxGeometry { groups: 1, size: 2, positions: 1, causal: false };
    let mut x = [1000.0, -1000.0];
    softmax_forward(&g, &mut x, 1);
    assert_eq!(x, [1.0, 0.0]);
    // A NaN spoils its own lane only.
    let mut x = [0.0, f32::NAN, 0.0, 1.0];
    softmax_forward(&g, &mut x, 2);
    assert!(x[1].is_nan() && x[3].is_nan());
    assert_eq!((x[0], x[2]), (0.5, 0.5));
}
