//! Masks that move, random masks, and saliency over clients.

use super::*;

const DRAW: Draw = Draw { seed: 3, tensor: 1, step: 4 };

fn updated(keep: &[f32], grow: &[f32], fraction: f32, old: &[bool]) -> (usize, Vec<bool>) {
    let bytes = bitmap_of(old);
    let old = Bitmap::new(&bytes, old.len()).unwrap();
    let keep = Scores::new(keep.len(), |i| keep[i]);
    let grow = Scores::new(grow.len(), |i| grow[i]);
    let (moved, mask) = mask_from(old.len(), old.len(), |s, m| drop_and_grow(&keep, &grow, fraction, old, s, m));
    (moved.unwrap(), mask)
}

#[test]
fn large_gradients_do_not_cost_kept_params_their_place() {
    // Upstream's 1e-5 is absorbed here: it would drop 4 and 7, and grow both of the first two.
    let grow = [3000.0, 3000.0, 1.0, 1.0, 1.0, 2.0, 3.0, 4.0];
    let keep = [0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 3.0, 4.0];
    let old = [false, false, false, false, true, true, true, true];
    let expected = [true, false, false, false, false, true, true, true];
    assert_eq!(updated(&keep, &grow, 0.25, &old), (1, expected.to_vec()));
}

#[test]
fn nans_never_change_the_number_of_ones() {
    let nan = f32::NAN;
    let old = [true, true, true, false, false];
    let (moved, mask) = updated(&[nan, 1.0, 2.0, 0.0, 0.0], &[nan, nan, nan, nan, 1.0], 0.34, &old);
    assert_eq!((moved, mask), (1, vec![false, true, true, false, true]));
    assert_eq!(updated(&[nan; 5], &[nan; 5], 1.0, &old).1.iter().filter(|b| **b).count(), 3);
}

#[test]
fn updates_refuse_what_does_not_fit() {
    let bytes = [0b0110];
    let old = Bitmap::new(&bytes, 4).unwrap();
    let (result, mask) = mask_from(4, 4, |s, m| rigl_update(&[1.0; 4], &[1.0; 3], 0.3, old, s, m));
    assert_eq!(result, Err(SparsityError::Length { expected: 4, got: 3 }));
    assert_eq!(mask, [true, false, true, false]);
    let (result, _) = mask_from(3, 4, |s, m| rigl_update(&[1.0; 4], &[1.0; 4], 0.3, old, s, m));
    assert_eq!(result, Err(SparsityError::MaskLength { expected: 4, got: 3 }));
    let (result, _) = mask_from(4, 4, |s, m| set_update(&[1.0; 5], DRAW, 0.3, old, s, m));
    assert_eq!(result, Err(SparsityError::MaskLength { expected: 5, got: 4 }));
    let (result, _) = mask_from(4, 3, |s, m| set_update(&[1.0; 4], DRAW, 0.3, old, s, m));
    assert_eq!(result, Err(SparsityError::ScratchTooSmall { expected: 4, got: 3 }));
    let (result, _) = mask_from(4, 4, |s, m| set_update(&[1.0; 4], DRAW, -0.3, old, s, m));
    assert_eq!(result, Err(SparsityError::DropFractionOutOfRange { got: -0.3 }));
    assert_eq!(reset_activated(&mut [1.0; 3], old, old), Err(SparsityError::MaskLength { expected: 3, got: 4 }));
    assert!(random_scores(3, DRAW, Some(old)).is_err());
}

#[test]
fn only_what_grew_begins_at_zero() {
    let mut state = [1.0, 1.0, 1.0, f32::NAN];
    let (old, new) = ([0b0011], [0b1001]);
    reset_activated(&mut state, Bitmap::new(&old, 4).unwrap(), Bitmap::new(&new, 4).unwrap()).unwrap();
    assert_eq!(state, [1.0, 1.0, 1.0, 0.0]);
}

/// The numbers of all these draws, in 64 equal bins.
fn chi_square(draws: impl Iterator<Item = f32>) -> f64 {
    let mut bins = [0u32; 64];
    let mut n = 0u32;
    for value in draws {
        assert!(value > 0.0 && value <= 1.0);
        bins[((value * 64.0).ceil() as usize - 1).min(63)] += 1;
        n += 1;
    }
    let mean = f64::from(n) / 64.0;
    bins.iter().map(|b| (f64::from(*b) - mean).powi(2) / mean).sum()
}

#[test]
fn random_numbers_are_uniform_whichever_place_is_counted() {
    // 63 degrees of freedom, alpha = 0.001: 103.4. The seeds are fixed.
    let by_index = chi_square((0..40_000).map(|i| DRAW.uniform(i)));
    let by_step = chi_square((0..40_000).map(|step| Draw { step, ..DRAW }.uniform(7)));
    let by_tensor = chi_square((0..40_000).map(|tensor| Draw { tensor, ..DRAW }.uniform(7)));
    let by_seed = chi_square((0..40_000).map(|seed| Draw { seed, ..DRAW }.uniform(7)));
    for chi in [by_index, by_step, by_tensor, by_seed] {
        assert!(chi < 103.4, "{chi}");
    }
    // A tensor and a step do not stand for one another.
    let swapped = Draw { tensor: DRAW.step, step: DRAW.tensor, ..DRAW };
    assert!((0..64).any(|i| DRAW.uniform(i) != swapped.uniform(i)));
}

#[test]
fn a_static_mask_hits_every_place_alike() {
    let mut hits = [0u32; 40];
    for seed in 0..4000 {
        let draw = Draw { seed, tensor: 0, step: 0 };
        let (ones, mask) = mask_from(40, 40, |s, m| static_random_mask(draw, 0.75, s, m));
        assert_eq!(ones, Ok(10));
        for (hit, live) in hits.iter_mut().zip(mask) {
            *hit += u32::from(live);
        }
    }
    // 1000 each, less variance than 40 independent binomials of 4000 at 0.25; alpha = 0.001 over 39 degrees: 72.1.
    let chi: f64 = hits.iter().map(|h| (f64::from(*h) - 1000.0).powi(2) / 750.0).sum();
    assert!(chi < 72.1, "{chi}");
}

#[test]
fn the_saliency_of_clients_adds_up_in_any_order() {
    let params = [1.0f32, -2.0, 0.5, 4.0];
    let clients = [([0.1f32, 0.2, -3.0, 0.0], 5), ([100.0, 3.0, 7.0, -1.0], 2), ([0.0; 4], 9)];
    let sum_in = |order: [usize; 3]| {
        let mut sums = [77u64; 4];
        let mut all = SaliencySum::new(&mut sums);
        for at in order {
            all.add(&params, &clients[at].0, clients[at].1).unwrap();
        }
        assert_eq!(all.examples(), 16);
        (0..4).map(|i| all.scores().get(i).unwrap()).collect::<Vec<_>>()
    };
    let sums = sum_in([0, 1, 2]);
    assert_eq!(sums, sum_in([2, 1, 0]));
    // By hand: 5 * s / 2.0 + 2 * s / 113.5 with s = |w g|.
    let expected = [5.0 * 0.1 / 2.0 + 2.0 * 100.0 / 113.5, 5.0 * 0.4 / 2.0 + 2.0 * 6.0 / 113.5];
    for (got, want) in sums.iter().zip(expected) {
        assert!((f64::from(*got) / (1u64 << 40) as f64 - want).abs() < 1e-6 * want, "{got} {want}");
    }
    let mut words = [0; 4];
    let mut all = SaliencySum::new(&mut words);
    assert_eq!(all.add(&params, &[f32::NAN, 0.0, 0.0, 0.0], 1), Err(SparsityError::SaliencyNotFinite));
    assert_eq!(all.add(&params, &[1.0; 3], 1), Err(SparsityError::Length { expected: 4, got: 3 }));
    all.add(&params, &[0.0, 0.0, 0.0, 1.0], 1 << 23).unwrap();
    let more = SparsityError::TooManyExamples { expected: 1 << 23, got: (1 << 23) + 1 };
    assert_eq!(all.add(&params, &[1.0; 4], 1), Err(more));
    let (ones, mask) = mask_from(4, 4, |s, m| all.mask(0.75, s, m));
    assert_eq!((ones, mask), (Ok(1), vec![false, false, false, true]));
}

proptest! {
    /// By two stable sorts over explicit keys.
    #[test]
    fn an_update_agrees_with_its_definition(
        (keep, grow, old) in (1usize..60).prop_flat_map(|n| {
            (any_scores(n), any_scores(n), proptest::collection::vec(any::<bool>(), n))
        }),
        fraction in prop_oneof![Just(0.0f32), Just(1.0), 0.0f32..=1.0],
    ) {
        let n = old.len();
        let live = old.iter().filter(|b| **b).count();
        let (moved, mask) = updated(&keep, &grow, fraction, &old);
        prop_assert_eq!(mask.iter().filter(|b| **b).count(), live, "the number of ones never changes");
        let density = live as f32 / n as f32;
        let rounded = (n as f32 * (1.0 - (1.0 - density * (1.0 - fraction)))).round_ties_even() as usize;
        let kept = if fraction == 0.0 || live == 0 { live } else { rounded.clamp(1, live) };
        prop_assert_eq!(moved, live - kept);
        let mut order: Vec<usize> = (0..n).filter(|&i| old[i]).collect();
        order.sort_by(|&a, &b| keep[b].partial_cmp(&keep[a]).unwrap());
        let mut expected = vec![false; n];
        order[..kept].iter().for_each(|&i| expected[i] = true);
        let mut order: Vec<usize> = (0..n).filter(|&i| !expected[i]).collect();
        order.sort_by(|&a, &b| grow[b].partial_cmp(&grow[a]).unwrap());
        order[..live - kept].iter().for_each(|&i| expected[i] = true);
        prop_assert_eq!(mask, expected);
    }

    #[test]
    fn set_keeps_the_largest_and_the_number(
        params in any_scores(2..60), seed: u64, sparsity in 0.0f32..=1.0, fraction in 0.0f32..=1.0,
    ) {
        let n = params.len();
        let draw = Draw { seed, ..DRAW };
        let (ones, old) = mask_from(n, n, |s, m| static_random_mask(draw, sparsity, s, m));
        let bytes = bitmap_of(&old);
        let bitmap = Bitmap::new(&bytes, n).unwrap();
        let draw = Draw { step: 9, ..draw };
        let (moved, new) = mask_from(n, n, |s, m| set_update(&params, draw, fraction, bitmap, s, m));
        prop_assert_eq!(new.iter().filter(|b| **b).count(), ones.unwrap());
        let died: Vec<usize> = (0..n).filter(|&i| old[i] && !new[i]).collect();
        prop_assert!(died.len() <= moved.unwrap());
        for &i in &died {
            let smaller = (0..n).filter(|&j| old[j] && params[j].abs() < params[i].abs()).count();
            prop_assert!(smaller < moved.unwrap(), "only the smallest are freed");
        }
    }

    /// Random pruning never brings back a param before one that lives.
    #[test]
    fn the_pruned_stay_pruned(live in proptest::collection::vec(any::<bool>(), 1..60), sparsity in 0.0f32..=1.0) {
        let n = live.len();
        let bytes = bitmap_of(&live);
        let scores = random_scores(n, DRAW, Some(Bitmap::new(&bytes, n).unwrap())).unwrap();
        let (ones, mask) = mask_from(n, n, |s, m| SparsityType::Unstructured.mask(&scores, &[n], sparsity, s, m));
        let alive = live.iter().filter(|b| **b).count();
        let back = (0..n).filter(|&i| mask[i] && !live[i]).count();
        prop_assert_eq!(back, ones.unwrap().saturating_sub(alive));
    }
}
