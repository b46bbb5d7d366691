//! Sparsity types and global rankings.

use super::*;

/// The mask of a type, checked against its own count.
fn typed(kind: SparsityType, scores: &[f32], shape: &[usize], sparsity: f32) -> Result<Vec<bool>, SparsityError> {
    let scratch = kind.scratch_len(shape)?;
    let all = Scores::new(scores.len(), |i| scores[i]);
    let (ones, mask) = mask_from(scores.len(), scratch, |s, m| kind.mask(&all, shape, sparsity, s, m));
    assert_eq!(mask.iter().filter(|b| **b).count(), ones?);
    Ok(mask)
}

fn refused(kind: SparsityType, shape: &[usize]) -> SparsityError {
    let scores = vec![1.0; shape.iter().product()];
    // At every sparsity, 0 included.
    let errors = [0.0, 0.5].map(|s| typed(kind, &scores, shape, s).unwrap_err());
    assert_eq!(errors[0], errors[1]);
    errors[0]
}

#[test]
fn what_does_not_fit_is_refused_with_both_numbers() {
    let n_of_m = |n, m, axis| SparsityType::NOfM { n, m, axis };
    assert_eq!(refused(n_of_m(2, 4, 1), &[2, 5, 3]), SparsityError::NotDivisible { expected: 4, got: 5 });
    assert_eq!(refused(n_of_m(4, 2, -1), &[8]), SparsityError::NOfM { n: 4, m: 2 });
    assert_eq!(refused(n_of_m(0, 2, -1), &[8]), SparsityError::NOfM { n: 0, m: 2 });
    assert_eq!(refused(n_of_m(1, 2, 2), &[8, 2]), SparsityError::NoSuchAxis { rank: 2, got: 2 });
    assert_eq!(refused(n_of_m(1, 2, -3), &[8, 2]), SparsityError::NoSuchAxis { rank: 2, got: -3 });
    assert_eq!(
        refused(SparsityType::Channel { axis: i32::MIN }, &[8]),
        SparsityError::NoSuchAxis { rank: 1, got: i32::MIN }
    );
    let block = SparsityType::Block { rows: 0, cols: 3, pooling: Pooling::Mean };
    assert_eq!(refused(block, &[8, 2]), SparsityError::EmptyBlock { rows: 0, cols: 3 });
    let any = SparsityType::Unstructured;
    assert_eq!(typed(any, &[1.0; 6], &[2, 4], 0.5), Err(SparsityError::ShapeSize { expected: 6, got: 8 }));
    assert_eq!(typed(any, &[1.0; 6], &[2, 3], 1.5), Err(SparsityError::SparsityOutOfRange { got: 1.5 }));
    let huge = [usize::MAX, 2];
    assert_eq!(any.scratch_len(&huge), Err(SparsityError::TooManyScores { got: usize::MAX }));
    let scores = [1.0; 6];
    let all = Scores::new(6, |i| scores[i]);
    let (result, mask) = mask_from(5, 6, |s, m| any.mask(&all, &[6], 0.5, s, m));
    assert_eq!(result, Err(SparsityError::MaskLength { expected: 6, got: 5 }));
    assert_eq!(mask, [true, false, true, false, true]);
    let channel = SparsityType::Channel { axis: 0 };
    let (result, _) = mask_from(6, 3, |s, m| channel.mask(&all, &[2, 3], 0.5, s, m));
    assert_eq!(result, Err(SparsityError::ScratchTooSmall { expected: 4, got: 3 }));
}

#[test]
fn ragged_blocks_are_scored_by_what_they_have() {
    // 5 x 4 in 4 x 4 blocks: the last row is a block of its own, with the higher mean. Upstream loses it.
    let scores: Vec<f32> = (0..20u8).map(f32::from).collect();
    let block = |rows, cols, pooling| SparsityType::Block { rows, cols, pooling };
    let mask = typed(block(4, 4, Pooling::Mean), &scores, &[5, 4], 0.5).unwrap();
    assert_eq!(mask, (0..20).map(|i| i >= 16).collect::<Vec<_>>());
    // One column more than a block: a mean of 4 beats one of 1.5.
    let mask = typed(block(1, 4, Pooling::Mean), &[0.0, 1.0, 2.0, 3.0, 4.0], &[1, 5], 0.5).unwrap();
    assert_eq!(mask, [false, false, false, false, true]);
    // A block larger than the tensor is the tensor.
    assert_eq!(typed(block(9, 9, Pooling::Max), &scores, &[5, 4], 1.0).unwrap(), [true; 20]);
}

#[test]
fn a_nan_never_lives_and_does_not_spread_beyond_its_unit() {
    let nan = f32::NAN;
    let two_of_four = SparsityType::NOfM { n: 2, m: 4, axis: -1 };
    let mask = typed(two_of_four, &[nan, 1.0, 0.5, nan, nan, nan, nan, -1.0], &[2, 4], 0.5).unwrap();
    assert_eq!(mask, [false, true, true, false, false, false, false, true]);
    for pooling in [Pooling::Mean, Pooling::Max] {
        let pairs = SparsityType::Block { rows: 1, cols: 2, pooling };
        let mask = typed(pairs, &[9.0, nan, nan, 9.0, 1.0, 1.0], &[6], 0.5).unwrap();
        assert_eq!(mask, [false, false, false, false, true, true], "{pooling:?}");
    }
    let mask = typed(SparsityType::Channel { axis: 1 }, &[nan, 1.0, 9.0, 1.0], &[2, 2], 0.5).unwrap();
    assert_eq!(mask, [false, true, false, true]);
}

#[test]
fn tensors_without_entries() {
    for shape in [&[0][..], &[0, 4], &[4, 0], &[2, 0, 4], &[usize::MAX, 0]] {
        for kind in [SparsityType::Unstructured, SparsityType::Block { rows: 2, cols: 2, pooling: Pooling::Mean }] {
            let all = Scores::new(0, |_| 1.0);
            let (ones, mask) = mask_from(0, 64, |s, m| kind.mask(&all, shape, 0.5, s, m));
            assert!(mask.is_empty());
            assert!(matches!(ones, Ok(0) | Err(SparsityError::ScratchTooSmall { .. })), "{shape:?} {ones:?}");
        }
    }
    assert_eq!(typed(SparsityType::NOfM { n: 1, m: 2, axis: 0 }, &[], &[0], 0.5), Ok(vec![]));
    assert_eq!(typed(SparsityType::Channel { axis: 0 }, &[], &[4, 0], 0.5), Ok(vec![]));
}

/// A tensor of three axes and what its entries are on them.
fn any_tensor() -> impl Strategy<Value = (Vec<f32>, [usize; 3])> {
    (1usize..7, 1usize..7, 1usize..5).prop_flat_map(|(a, b, c)| (any_scores(a * b * c), Just([a, b, c])))
}

/// The unit of each entry, its score and its number of entries, and what the rule makes of them.
fn by_units(scores: &[f32], unit: impl Fn(usize) -> usize, sparsity: f32, mean: bool) -> Vec<bool> {
    let units = (0..scores.len()).map(&unit).max().unwrap() + 1;
    let mut sums = vec![(0.0f32, 0u16); units];
    for (i, score) in scores.iter().enumerate() {
        let (sum, count) = &mut sums[unit(i)];
        *sum += score;
        *count += 1;
    }
    let pooled: Vec<f32> = sums.iter().map(|(s, n)| if mean { s / f32::from(*n) } else { *s }).collect();
    let live = oracle(&pooled, sparsity);
    (0..scores.len()).map(|i| live[unit(i)]).collect()
}

proptest! {
    #[test]
    fn blocks_agree_with_their_definition(
        (scores, [a, b, c]) in any_tensor(), rows in 1u16..5, cols in 1u16..5, sparsity in 0.0f32..=1.0,
    ) {
        let (r, k) = (usize::from(rows), usize::from(cols));
        let unit = |i: usize| (i / (b * c)) / r * b.div_ceil(k) + (i / c % b) / k;
        let ragged = a % r != 0 || b % k != 0;
        let kind = SparsityType::Block { rows, cols, pooling: Pooling::Mean };
        prop_assert_eq!(typed(kind, &scores, &[a, b, c], sparsity).unwrap(), by_units(&scores, unit, sparsity, ragged));
    }

    #[test]
    fn channels_agree_with_their_definition(
        (scores, shape) in any_tensor(), axis in 0usize..3, from_back: bool, sparsity in 0.0f32..=1.0,
    ) {
        let inner: usize = shape[axis + 1..].iter().product();
        let unit = |i: usize| i / inner % shape[axis];
        let kind = SparsityType::Channel { axis: axis as i32 - if from_back { 3 } else { 0 } };
        prop_assert_eq!(typed(kind, &scores, &shape, sparsity).unwrap(), by_units(&scores, unit, sparsity, false));
    }

    #[test]
    fn n_of_m_keeps_the_last_n_of_a_rising_stable_sort(
        (scores, n, m, shape) in (1u16..6, 1usize..4, 1usize..5, 1usize..4).prop_flat_map(|(m, groups, a, c)| {
            let shape = [a, groups * usize::from(m), c];
            (any_scores(shape.iter().product::<usize>()), 1..=m, Just(m), Just(shape))
        }),
    ) {
        let mask = typed(SparsityType::NOfM { n, m, axis: 1 }, &scores, &shape, 0.5).unwrap();
        let [a, length, c] = shape;
        for (outer, inner) in (0..a).flat_map(|o| (0..c).map(move |i| (o, i))) {
            for group in (0..length).step_by(m.into()) {
                let place = |j: usize| (outer * length + group + j) * c + inner;
                let mut order: Vec<usize> = (0..m.into()).map(place).collect();
                order.sort_by(|&x, &y| scores[x].partial_cmp(&scores[y]).unwrap());
                for (rank, i) in order.into_iter().enumerate() {
                    prop_assert_eq!(mask[i], rank >= usize::from(m - n));
                }
            }
        }
    }

    #[test]
    fn a_global_mask_is_one_ranking(
        tensors in proptest::collection::vec(any_scores(0..20), 0..5), normalize: bool, sparsity in 0.0f32..=1.0,
    ) {
        let flat: Vec<f32> = tensors.iter().flat_map(|scores| {
            let norm = scores.iter().map(|s| f64::from(*s) * f64::from(*s)).sum::<f64>().sqrt() as f32;
            let scale = if normalize { norm + 1e-8 } else { 1.0 };
            scores.iter().map(move |s| s / scale)
        }).collect();
        let mut bytes: Vec<Vec<u8>> = tensors.iter().map(|t| vec![0xff; bitmap_bytes(t.len())]).collect();
        let mut parts: Vec<_> = tensors.iter().zip(&mut bytes).map(|(t, b)| {
            GlobalTensor::new(Scores::new(t.len(), |i| t[i]), BitmapMut::new(b, t.len()).unwrap()).unwrap()
        }).collect();
        let ones = global_mask(&mut parts, normalize, sparsity, &mut vec![9; flat.len()]).unwrap();
        let mask: Vec<bool> = parts.iter().flat_map(|p| p.mask().as_bitmap().iter().collect::<Vec<_>>()).collect();
        prop_assert_eq!(ones, num_ones(flat.len(), sparsity).unwrap());
        prop_assert_eq!(mask, oracle(&flat, sparsity));
    }
}

#[test]
fn a_nan_does_not_cost_its_tensor_the_rest() {
    let tensors = [[f32::NAN, 3.0, 4.0], [1.0, f32::INFINITY, 2.0]];
    let mut bytes = [[0u8; 1]; 2];
    let mut parts: Vec<_> = tensors
        .iter()
        .zip(&mut bytes)
        .map(|(t, b)| GlobalTensor::new(Scores::new(3, |i| t[i]), BitmapMut::new(b, 3).unwrap()).unwrap())
        .collect();
    // 4/5, 3/5, then the first of the second tensor: all its scores count as 0.
    assert_eq!(global_mask(&mut parts, true, 0.5, &mut [0; 6]), Ok(3));
    drop(parts);
    assert_eq!(bytes, [[0b110], [0b001]]);
}
