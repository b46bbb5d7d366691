//! The same reports give the same integers, however they arrive.

use super::*;
use crate::privacy::NoiseMultiplier;
use proptest::prelude::*;
use siskin::model::sparsity::bitmap_bytes;

type Report = (Vec<(usize, i32)>, u32);
type Refused<'a> = (&'a [(usize, i32)], u32, AddError);

const LIVE: usize = 40;

fn plan(clip_norm: f32, step: f32, max_weight: u32) -> SumPlan {
    SumPlan::new(NormBound::new(clip_norm, step).unwrap(), max_weight).unwrap()
}

fn sum_of<'a>(reports: impl IntoIterator<Item = &'a Report>) -> Sum {
    let mut sum = Sum::new(LIVE, plan(3.0, 0.7, 50));
    for (report, weight) in reports {
        sum.add(report.iter().copied(), *weight).unwrap();
    }
    sum
}

fn report() -> impl Strategy<Value = Report> {
    let symbol = prop_oneof![-2i32..=2, -500i32..500, -(SYMBOL_LIMIT as i32 - 1)..SYMBOL_LIMIT as i32];
    (proptest::collection::btree_map(0..LIVE, symbol, 0..LIVE), 1u32..=50)
        .prop_map(|(symbols, weight)| (symbols.into_iter().collect(), weight))
}

/// Reports, and an order in which they might arrive as well.
fn reports() -> impl Strategy<Value = (Vec<Report>, Vec<Report>)> {
    proptest::collection::vec(report(), 0..20).prop_flat_map(|r| (Just(r.clone()), Just(r).prop_shuffle()))
}

proptest! {
    #[test]
    fn order_and_split_do_not_matter((reports, shuffled) in reports(), cut in 0usize..20, other in 0usize..20) {
        let whole = sum_of(&reports);
        prop_assert_eq!(&whole, &sum_of(&shuffled));
        let (cut, other) = (cut.min(other).min(shuffled.len()), cut.max(other).min(shuffled.len()));
        let shards = [sum_of(&shuffled[..cut]), sum_of(&shuffled[cut..other]), sum_of(&shuffled[other..])];
        for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
            let mut merged = whole.partial();
            for i in order {
                merged.merge(&shards[i]).unwrap();
            }
            prop_assert_eq!(&merged, &whole);
        }
    }

    /// Every term again in i128 with the definition and none of the code: truncation and weights are as documented.
    #[test]
    fn sums_are_what_the_definition_says((reports, _) in reports()) {
        let sum = sum_of(&reports);
        let mut expected = vec![0i128; LIVE];
        let units = i128::from(sum.plan().bound.units());
        let mut clipped = 0;
        for (report, weight) in &reports {
            let squares: i128 = report.iter().map(|(_, q)| i128::from(*q).pow(2)).sum();
            clipped += u64::from(squares << 32 > units * units);
            for (i, q) in report {
                expected[*i] += if squares << 32 > units * units {
                    let real = f64::from(*q) * units as f64 / (squares as f64).sqrt();
                    real as i128 * i128::from(*weight)
                } else {
                    i128::from(*q) * 65536 * i128::from(*weight)
                };
            }
        }
        prop_assert_eq!(sum.counts().clipped, clipped);
        for (got, expected) in sum.weighted.iter().zip(expected) {
            // One unit of truncation for each report at its weight, should f64 land on the other side of an integer.
            prop_assert!((i128::from(*got) - expected).abs() <= i128::from(sum.counts().weight));
        }
    }

    #[test]
    fn weight_one_reports_are_within_the_bound(report in report(), clip in 1e-2f32..1e3) {
        let mut sum = Sum::new(LIVE, plan(clip, 0.7, 1));
        sum.add(report.0.iter().copied(), 1).unwrap();
        let norm: u128 = sum.weighted.iter().map(|v| u128::from(v.unsigned_abs()).pow(2)).sum();
        prop_assert!(norm <= u128::from(sum.plan().bound.units()).pow(2));
    }

    #[test]
    fn survives_serialisation((reports, _) in reports()) {
        let sum = sum_of(&reports);
        let text = serde_json::to_string(&sum).unwrap();
        prop_assert_eq!(serde_json::from_str::<Sum>(&text).unwrap(), sum);
    }
}

#[test]
fn threads_give_the_same_integers() {
    let reports: Vec<Report> = (0..64)
        .map(|r| ((0..LIVE).map(|i| (i, (i as i32 * 31 + r * 17) % 23 - 11)).collect(), r as u32 % 50 + 1))
        .collect();
    let whole = sum_of(&reports);
    let mut merged = whole.partial();
    std::thread::scope(|scope| {
        let threads: Vec<_> = reports.chunks(17).map(|chunk| scope.spawn(move || sum_of(chunk))).collect();
        for thread in threads.into_iter().rev() {
            merged.merge(&thread.join().unwrap()).unwrap();
        }
    });
    assert_eq!(merged, whole);
    assert_eq!((merged.counts().reports, merged.live()), (64, LIVE));
}

#[test]
fn refusals_change_nothing() {
    let mut sum = Sum::new(4, plan(100.0, 1.0, 7));
    sum.add([(1, 5)], 2).unwrap();
    let before = sum.clone();
    let limit = SYMBOL_LIMIT as i32;
    let bad: [Refused; 8] = [
        (&[(0, 1), (4, 1)], 1, AddError::Index { entry: 1, index: 4, live: 4 }),
        (&[(usize::MAX, 1)], 1, AddError::Index { entry: 0, index: usize::MAX, live: 4 }),
        (&[(2, 1), (2, 1)], 1, AddError::Order { entry: 1, index: 2 }),
        (&[(2, 1), (0, 1)], 1, AddError::Order { entry: 1, index: 0 }),
        (&[(2, limit)], 1, AddError::Symbol { entry: 0, symbol: limit }),
        (&[(2, i32::MIN)], 1, AddError::Symbol { entry: 0, symbol: i32::MIN }),
        (&[(2, 1)], 0, AddError::Weight { max: 7, got: 0 }),
        (&[(2, 1)], 8, AddError::Weight { max: 7, got: 8 }),
    ];
    for (report, weight, error) in bad {
        assert_eq!(sum.add(report.iter().copied(), weight), Err(error));
        assert_eq!(sum, before);
    }
    assert_eq!(sum.merge(&Sum::new(5, *sum.plan())), Err(MergeError::Length { expected: 4, got: 5 }));
    let noisy = sum.plan().with_noise(NoiseMultiplier::new(1.0).unwrap());
    assert_eq!(sum.merge(&Sum::new(4, noisy)), Err(MergeError::Plan));
    assert_eq!(sum, before);
}

/// The loosest bound and the largest symbols: the sum is refused before it wraps, and holds up to there.
#[test]
fn full_before_it_overflows() {
    let max = u32::MAX;
    let mut sum = Sum::new(1, plan(1e9, 1.0, max));
    let capacity = sum.weight_capacity();
    assert_eq!(capacity, 1 << 22);
    let largest = SYMBOL_LIMIT as i32 - 1;
    assert_eq!(sum.add([(0, largest)], max), Err(AddError::Full { left: capacity, got: max }));
    sum.add([(0, -largest)], capacity as u32 - 1).unwrap();
    assert_eq!(sum.weighted[0], -(i64::from(largest) << 16) * (capacity as i64 - 1));
    let mut other = sum.partial();
    other.add([(0, 1)], 2).unwrap();
    assert_eq!(sum.merge(&other), Err(MergeError::Full { left: 1, got: 2 }));
    sum.add([(0, -largest)], 1).unwrap();
    assert_eq!(sum.add([], 1), Err(AddError::Full { left: 0, got: 1 }));
    // A tight bound leaves room for any cohort.
    assert!(Sum::new(1, plan(1000.0, 1.0, 1)).weight_capacity() > 70_000_000_000);
}

#[test]
fn impossible_sums_are_not_read() {
    let mut sum = Sum::new(2, plan(1.0, 0.125, 3));
    sum.add([(0, 8)], 3).unwrap();
    let good = serde_json::to_value(&sum).unwrap();
    assert!(serde_json::from_value::<Sum>(good.clone()).is_ok());
    for (key, value) in [
        ("weighted", serde_json::json!([i64::MIN, 0])),
        ("weighted", serde_json::json!([(1 << 19) * 3 + 1, 0])),
        ("weight", serde_json::json!(4)),
        ("weight", serde_json::json!(u64::MAX)),
        ("reports", serde_json::json!(0)),
        ("clipped", serde_json::json!(2)),
    ] {
        let mut bad = good.clone();
        bad[key] = value;
        assert!(serde_json::from_value::<Sum>(bad.clone()).is_err(), "{bad}");
    }
}

#[test]
fn denominators() {
    let mut sum = Sum::new(2, plan(10.0, 0.5, 4));
    let Closed::Plain(empty) = sum.partial().close() else { panic!("no noise was promised") };
    assert_eq!(empty.mean(Denominator::Realised), Err(MeanError::NoReports));
    let fixed = Denominator::Fixed(NonZeroU64::new(16).unwrap());
    assert_eq!(empty.mean(fixed), Ok(vec![0.0, 0.0]));
    sum.add([(0, 8)], 4).unwrap();
    sum.add([(0, -8), (1, 4)], 1).unwrap();
    let Closed::Plain(sum) = sum.close() else { panic!("no noise was promised") };
    assert_eq!(sum.weighted(), [24 << 16, 4 << 16]);
    assert_eq!(sum.mean(Denominator::Realised), Ok(vec![2.4, 0.4]));
    assert_eq!(sum.mean(fixed), Ok(vec![0.75, 0.125]));
    assert_eq!(sum.counts(), Counts { weight: 5, reports: 2, clipped: 0 });
}

#[test]
fn scatter_puts_live_values_in_their_places() {
    let bytes = [0b1000_0010, 0b1];
    assert_eq!(bytes.len(), bitmap_bytes(9));
    let mask = Bitmap::new(&bytes, 9).unwrap();
    assert_eq!(scatter(&[1.0, 2.0, 3.0], mask).unwrap(), [0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 2.0, 3.0]);
    assert_eq!(scatter(&[1.0, 2.0], mask), None);
}
