//! Against a sort, by hand and at the edges. Agreement with JaxPruner's own output is in `tests/host`.

mod diff;
mod distribution;
mod types;
mod updates;

use super::*;
use proptest::prelude::*;
use std::{vec, vec::Vec};

fn bitmap_of(bits: &[bool]) -> Vec<u8> {
    let mut bytes = vec![0; bitmap_bytes(bits.len())];
    let mut mask = BitmapMut::new(&mut bytes, bits.len()).unwrap();
    for (i, bit) in bits.iter().enumerate() {
        assert!(mask.set(i, *bit));
    }
    bytes
}

/// Runs `make` on a mask and a scratch full of rubbish; its result and the bits.
fn mask_from<T>(len: usize, scratch: usize, make: impl FnOnce(&mut [u32], &mut BitmapMut<'_>) -> T) -> (T, Vec<bool>) {
    let mut bytes = vec![0x55; bitmap_bytes(len)];
    let mut mask = BitmapMut::new(&mut bytes, len).unwrap();
    let result = make(&mut vec![7; scratch], &mut mask);
    (result, mask.as_bitmap().iter().collect())
}

fn mask_of(scores: &[f32], sparsity: f32) -> (usize, Vec<bool>) {
    let n = scores.len();
    let (ones, mask) = mask_from(n, n, |scratch, mask| top_k_mask_by(|i| scores[i], sparsity, scratch, mask));
    assert_eq!(mask.iter().filter(|b| **b).count(), ones.unwrap());
    (ones.unwrap(), mask)
}

/// Scores with many ties.
fn any_scores(len: impl Into<proptest::collection::SizeRange>) -> impl Strategy<Value = Vec<f32>> {
    proptest::collection::vec(prop_oneof![(-3i8..3).prop_map(f32::from), -2.0f32..2.0], len)
}

#[test]
fn nan_infinity_and_signed_zero() {
    let nan = f32::NAN;
    assert_eq!(mask_of(&[nan, 1.0, nan, -f32::INFINITY], 0.5), (2, vec![false, true, false, true]));
    // Fewer numbers than places: the numbers stay, the count says so.
    assert_eq!(mask_of(&[nan, 1.0, nan, nan], 0.5), (1, vec![false, true, false, false]));
    assert_eq!(mask_of(&[nan, nan], 0.0), (2, vec![true, true]));
    assert_eq!(mask_of(&[-0.0, 0.0, -0.0], 0.7), (1, vec![true, false, false]));
    assert_eq!(mask_of(&[], 0.5), (0, vec![]));
    let mut params = [nan, -1.0, f32::INFINITY, 2.0];
    let mask = Bitmap::new(&[0b1000], 4).unwrap();
    let mut copy = [5.0; 4];
    masked_copy(&params, mask, &mut copy).unwrap();
    apply_mask(&mut params, mask).unwrap();
    assert_eq!(params.map(f32::to_bits), [0.0f32, 0.0, 0.0, 2.0].map(f32::to_bits));
    assert_eq!(copy.map(f32::to_bits), params.map(f32::to_bits));
}

#[test]
fn refusals_write_nothing() {
    for bad in [-0.1, 1.1, f32::NAN, f32::INFINITY] {
        assert!(matches!(num_ones(4, bad), Err(SparsityError::SparsityOutOfRange { .. })), "{bad}");
        assert!(matches!(Schedule::one_shot(bad, 1), Err(ScheduleError::TargetOutOfRange { .. })), "{bad}");
        assert!(matches!(DropFraction::constant(bad), Err(SparsityError::DropFractionOutOfRange { .. })), "{bad}");
    }
    let mut bytes = [0b0110];
    let mut mask = BitmapMut::new(&mut bytes, 4).unwrap();
    assert_eq!(
        magnitude_mask(&[1.0; 4], 0.5, &mut [0; 3], &mut mask),
        Err(SparsityError::ScratchTooSmall { expected: 4, got: 3 })
    );
    assert_eq!(
        magnitude_mask(&[1.0; 5], 0.5, &mut [0; 5], &mut mask),
        Err(SparsityError::MaskLength { expected: 5, got: 4 })
    );
    assert_eq!(
        magnitude_ste(&[1.0; 4], 0.5, &mut [0; 4], &mut mask, &mut [0.0; 3]),
        Err(SparsityError::Length { expected: 4, got: 3 })
    );
    assert_eq!(bytes, [0b0110]);
    assert_eq!(
        saliency_scores(&[1.0; 4], &[1.0; 2]).map(|s| s.len()),
        Err(SparsityError::Length { expected: 4, got: 2 })
    );
    assert_eq!(
        fisher_scores(&[1.0; 4], &[1.0; 5]).map(|s| s.len()),
        Err(SparsityError::Length { expected: 4, got: 5 })
    );
    assert_eq!(Schedule::polynomial(0.5, 0, 0, 1, 3), Err(ScheduleError::ZeroFrequency));
    assert_eq!(Schedule::polynomial(0.5, 1, 2, 2, 3), Err(ScheduleError::EmptyRange { start: 2, end: 2 }));
    assert_eq!(Schedule::polynomial(0.5, 1, 0, 2, 0), Err(ScheduleError::PowerOutOfRange { got: 0 }));
    assert_eq!(Schedule::periodic(0.5, 1, 3, Some(2)), Err(ScheduleError::EmptyRange { start: 3, end: 2 }));
}

#[test]
fn extremes_of_the_schedule() {
    let schedule = Schedule::polynomial(1.0, 1, 0, u32::MAX, 16).unwrap();
    assert_eq!(schedule.sparsity(u32::MAX), 1.0);
    assert!(schedule.sparsity(0) >= 0.0);
    assert!(!Schedule::never(0.5).unwrap().is_update(0));
    // Beyond 2^24 the f32 product may exceed n.
    assert_eq!(num_ones((1 << 24) + 3, f32::MIN_POSITIVE), Ok((1 << 24) + 3));
    let fraction = DropFraction::cosine(0.3, u32::MAX).unwrap();
    assert_eq!([fraction.at(0), fraction.at(u32::MAX)], [0.3, 0.0]);
    assert_eq!(DropFraction::cosine(0.3, 0).unwrap().at(0), 0.0);
    assert_eq!(DropFraction::constant(0.3).unwrap().at(u32::MAX), 0.3);
}

#[test]
fn phases_of_acdc() {
    let phases = Acdc::new(3, 12, 3, 2).unwrap();
    let line = |p: &Acdc| {
        (0..16).map(|s| if p.phase(s) == Phase::Sparse { 's' } else { 'd' }).collect::<std::string::String>()
    };
    assert_eq!(line(&phases), "dddsssddsssdssss");
    // What begins at a step is the phase of the step, and nothing else changes the phase.
    let begins: Vec<_> = (0..16).filter_map(|s| phases.begins(s).map(|p| (s, p == Phase::Sparse))).collect();
    assert_eq!(begins, [(3, true), (6, false), (8, true), (11, false), (12, true)]);
    // The last phase makes a new mask although the one before was sparse.
    let cut = Acdc::new(0, 4, 10, 1).unwrap();
    assert_eq!((0..9).filter(|s| cut.begins(*s).is_some()).collect::<Vec<_>>(), [0, 4]);
    assert_eq!(Acdc::new(0, 4, 0, 1), Err(AcdcError::EmptyPhase { sparse: 0, dense: 1 }));
    assert_eq!(Acdc::new(5, 4, 1, 1), Err(AcdcError::FinalBeforeStart { start: 5, last: 4 }));
    let long = Acdc::new(0, u32::MAX, u32::MAX, u32::MAX).unwrap();
    assert_eq!(long.phase(u32::MAX - 1), Phase::Sparse);
}

/// The documented rule, by a stable sort.
fn oracle(scores: &[f32], sparsity: f32) -> Vec<bool> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].partial_cmp(&scores[a]).unwrap());
    let mut mask = vec![false; scores.len()];
    for &i in &order[..num_ones(scores.len(), sparsity).unwrap()] {
        mask[i] = true;
    }
    mask
}

proptest! {
    #[test]
    fn agrees_with_a_stable_sort(scores in any_scores(1..300), sparsity in 0.0f32..=1.0) {
        let (ones, mask) = mask_of(&scores, sparsity);
        prop_assert_eq!(ones, num_ones(scores.len(), sparsity).unwrap());
        prop_assert_eq!(mask, oracle(&scores, sparsity));
    }

    #[test]
    fn acdc_changes_the_phase_only_where_one_begins(
        start in 0u32..40, more in 0u32..80, sparse in 1u32..12, dense in 1u32..12,
    ) {
        let phases = Acdc::new(start, start + more, sparse, dense).unwrap();
        let mut now = Phase::Dense;
        for step in 0..start + more + 20 {
            if let Some(next) = phases.begins(step) {
                now = next;
            }
            prop_assert_eq!(phases.phase(step), now, "step {}", step);
        }
    }
}
