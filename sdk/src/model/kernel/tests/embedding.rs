//! Embeddings against the definition, bit by bit.

use super::*;
use crate::model::kernel::{
    csr_embedding_forward, csr_embedding_weight_grad, embedding_forward, embedding_weight_grad,
};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn embedding(
        (rows, dims, lanes) in (1usize..30, prop_oneof![1usize..20, 60usize..140], 1usize..50),
        density in 0u64..9,
        mut seed: u64,
    ) {
        let ids: Vec<f32> = (0..lanes)
            .map(|_| match random(&mut seed) {
                z if z >> 60 == 0 => [-1.0, rows as f32, f32::NAN, f32::INFINITY, -0.5][z as usize % 5],
                z => (z % rows as u64) as f32,
            })
            .collect();
        let known = |t: usize| (0.0..rows as f32).contains(&ids[t]).then(|| ids[t] as usize);
        let dy = values(&mut seed, dims * lanes);
        let live = Sparse::new(&mut seed, rows, dims, density);
        let full = Sparse::full(&mut seed, rows, dims);

        for s in [&live, &full] {
            let mut want = vec![0.0; dims * lanes];
            for t in 0..lanes {
                for (k, d) in known(t).into_iter().flat_map(|row| s.row(row)) {
                    want[d * lanes + t] = s.w[k];
                }
            }
            let y = both(|| {
                let mut y = vec![f32::NAN; dims * lanes];
                csr_embedding_forward(s.pattern(), &s.w, &ids, &mut y, rows, dims, lanes);
                y
            });
            prop_assert_eq!(bits(&y), bits(&want));
            if core::ptr::eq(s, &full) {
                let y = both(|| {
                    let mut y = vec![f32::NAN; dims * lanes];
                    embedding_forward(&s.w, &ids, &mut y, rows, dims, lanes);
                    y
                });
                prop_assert_eq!(bits(&y), bits(&want));
            }

            let mut want = vec![0.0; s.w.len()];
            for t in 0..lanes {
                for (k, d) in known(t).into_iter().flat_map(|row| s.row(row)) {
                    want[k] += dy[d * lanes + t];
                }
            }
            let grad = both(|| {
                collected(s.w.len(), |sink| {
                    csr_embedding_weight_grad(s.pattern(), &ids, &dy, rows, dims, lanes, sink);
                })
            });
            prop_assert_eq!(bits(&grad), bits(&want));
            if core::ptr::eq(s, &full) {
                let grad = both(|| {
                    collected(s.w.len(), |sink| embedding_weight_grad(&ids, &dy, rows, dims, lanes, sink))
                });
                prop_assert_eq!(bits(&grad), bits(&want));
            }
        }
    }
}
