//! Attention: every variant against the definition bit by bit, and the gradients against finite differences.

use super::*;
use crate::model::kernel::AttentionGeometry;

/// Which numbers meet: for every head, example, query `i`, key `j` that it sees and number `d` of them, in ascending order.
/// Calls with the places of (score, query's, key's).
fn terms(g: &AttentionGeometry, batch: usize, mut f: impl FnMut(usize, usize, usize)) {
    let at = |channel: usize, position: usize, b: usize| (channel * g.positions + position) * batch + b;
    for h in 0..g.heads {
        for i in 0..g.positions {
            for j in 0..if g.causal { i + 1 } else { g.positions } {
                for d in 0..g.size {
                    for b in 0..batch {
                        f(at(h * g.positions + j, i, b), at(h * g.size + d, i, b), at(h * g.size + d, j, b));
                    }
                }
            }
        }
    }
}

fn geometry() -> impl Strategy<Value = (AttentionGeometry, usize, u64)> {
    let positions = prop_oneof![4 => 1usize..20, 1 => 60usize..70];
    (1usize..3, prop_oneof![1usize..12, Just(16), Just(20)], positions, any::<bool>(), 1usize..11, any::<u64>())
        .prop_map(|(heads, size, positions, causal, batch, seed)| {
            (AttentionGeometry { heads, size, positions, causal }, batch, seed)
        })
}

/// Runs a kernel in every variant that the CPU has and insists on the same bits.
macro_rules! all_variants {
    ($n:expr, |$k:ident, $y:ident| $run:expr) => {{
        use crate::model::kernel::dispatch;
        let mut results: Vec<Vec<u32>> = vec![];
        macro_rules! one {
            ($module:path) => {{
                use $module as $k;
                let mut y = vec![f32::NAN; $n];
                let $y = &mut y;
                $run;
                results.push(bits(&y));
                y
            }};
        }
        let first = one!(dispatch::portable);
        one!(dispatch::scalar);
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        if dispatch::has_avx2() {
            one!(dispatch::checked::avx2);
        }
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        if dispatch::has_avx512() {
            one!(dispatch::checked::avx512);
        }
        prop_assert!(results.iter().all(|r| *r == results[0]));
        first
    }};
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(100) })]

    #[test]
    fn scores((g, batch, mut seed) in geometry(), scale in 0.1f32..2.0) {
        let (features, scores) = (g.features() * batch, g.scores() * batch);
        let (q, k) = (values(&mut seed, features), values(&mut seed, features));
        let mut ds = values(&mut seed, scores);
        let mut want = [vec![0.0f32; scores], vec![0.0; features], vec![0.0; features]];
        let mut seen = vec![false; scores];
        terms(&g, batch, |s, i, j| {
            want[0][s] += q[i] * k[j];
            want[1][i] += ds[s] * k[j];
            want[2][j] += ds[s] * q[i];
            seen[s] = true;
        });
        want[0].iter_mut().zip(&seen).filter(|(_, seen)| **seen).for_each(|(w, _)| *w *= scale);
        want[1..].iter_mut().flatten().for_each(|w| *w *= scale);
        // What is not seen is not read.
        ds.iter_mut().zip(&seen).filter(|(_, seen)| !**seen).for_each(|(ds, _)| *ds = f32::NAN);
        let s = all_variants!(scores, |kernels, y| kernels::scores_forward(&g, scale, &q, &k, y, batch));
        prop_assert_eq!(bits(&s), bits(&want[0]));
        let dq = all_variants!(features, |kernels, y| kernels::scores_backward_query(&g, scale, &k, &ds, y, batch));
        prop_assert_eq!(bits(&dq), bits(&want[1]));
        let dk = all_variants!(features, |kernels, y| kernels::scores_backward_key(&g, scale, &q, &ds, y, batch));
        prop_assert_eq!(bits(&dk), bits(&want[2]));
    }

    #[test]
    fn context((g, batch, mut seed) in geometry()) {
        let (features, scores) = (g.features() * batch, g.scores() * batch);
        let (v, dy) = (values(&mut seed, features), values(&mut seed, features));
        let mut p = values(&mut seed, scores);
        let mut want = [vec![0.0f32; features], vec![0.0; scores], vec![0.0; features]];
        let mut seen = vec![false; scores];
        terms(&g, batch, |s, i, j| {
            want[0][i] += p[s] * v[j];
            want[1][s] += dy[i] * v[j];
            want[2][j] += p[s] * dy[i];
            seen[s] = true;
        });
        p.iter_mut().zip(&seen).filter(|(_, seen)| !**seen).for_each(|(p, _)| *p = f32::NAN);
        let o = all_variants!(features, |kernels, y| kernels::context_forward(&g, &p, &v, y, batch));
        prop_assert_eq!(bits(&o), bits(&want[0]));
        let dp = all_variants!(scores, |kernels, y| kernels::context_backward_weights(&g, &v, &dy, y, batch));
        prop_assert_eq!(bits(&dp), bits(&want[1]));
        let dv = all_variants!(features, |kernels, y| kernels::context_backward_values(&g, &p, &dy, y, batch));
        prop_assert_eq!(bits(&dv), bits(&want[2]));
    }
}

/// A whole head in double precision, `softmax(scale * q k) v`, and what the kernels make of its gradient.
#[test]
fn gradients_of_a_whole_attention() {
    use crate::model::kernel::*;
    for (causal, batch) in [(false, 1), (true, 2), (true, 3)] {
        let g = AttentionGeometry { heads: 2, size: 3, positions: 5, causal };
        let softmax = SoftmaxGeometry { groups: g.heads, size: g.positions, positions: g.positions, causal };
        let (features, scores, scale) = (g.features() * batch, g.scores() * batch, 0.6f32);
        let mut seed = 3;
        let [q, k, v, dy] = [(); 4].map(|()| smooth(&mut seed, features));
        let exact = |q: &[f64], k: &[f64], v: &[f64]| {
            let mut s = vec![f64::NEG_INFINITY; scores];
            terms(&g, batch, |at, _, _| s[at] = 0.0);
            terms(&g, batch, |at, i, j| s[at] += f64::from(scale) * q[i] * k[j]);
            let e: Vec<f64> = s.iter().map(|s| libm::exp(*s)).collect();
            let (mut sum, mut o) = (vec![0.0; features], vec![0.0; features]);
            terms(&g, batch, |at, i, j| {
                sum[i] += e[at];
                o[i] += e[at] * v[j];
            });
            o.iter().zip(&sum).map(|(o, sum)| o / sum).collect::<Vec<f64>>()
        };
        let (mut p, mut o) = (vec![f32::NAN; scores], vec![f32::NAN; features]);
        scores_forward(&g, scale, &q, &k, &mut p, batch);
        softmax_forward(&softmax, &mut p, batch);
        context_forward(&g, &p, &v, &mut o, batch);
        let [q64, k64, v64] = [&q, &k, &v].map(|x| doubles(x));
        close(&o, &exact(&q64, &k64, &v64), 1e-6);

        let (mut ds, mut dx) = (vec![f32::NAN; scores], vec![f32::NAN; features]);
        context_backward_values(&g, &p, &dy, &mut dx, batch);
        close(&dx, &differences(&v, |v| weighted(&exact(&q64, &k64, v), &dy)), 1e-6);
        context_backward_weights(&g, &v, &dy, &mut ds, batch);
        softmax_backward(&softmax, &p, &mut ds, batch);
        scores_backward_query(&g, scale, &k, &ds, &mut dx, batch);
        close(&dx, &differences(&q, |q| weighted(&exact(q, &k64, &v64), &dy)), 1e-6);
        scores_backward_key(&g, scale, &q, &ds, &mut dx, batch);
        close(&dx, &differences(&k, |k| weighted(&exact(&q64, k, &v64), &dy)), 1e-6);
    }
}
