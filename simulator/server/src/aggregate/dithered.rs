//! The sum of dithered reports ([`Rounding::Dithered`](siskin::checkin::Rounding::Dithered)).

use super::{AddError, Counts, MeanError, NormBound, Sum, SumPlan, divide};
use siskin::quantize::{Carried, Dither};
use std::num::{NonZeroU32, NonZeroU64};

/// The weighted sum of symbols and, beside it, that of the offsets which devices took away before they rounded. Both are whole numbers
/// of `step / 2^16`, so that sums are the same in any order.
///
/// Only of plans without noise: an offset is no secret and hides nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct DitheredSum {
    sum: Sum,
    /// Of weights and offsets of the live coordinates, at most 2^15 a unit of weight.
    offsets: Vec<i64>,
}

impl DitheredSum {
    /// Of nothing yet, for `coordinates` of which the first `live` are dithered; behind them is the clip bit, if there is one.
    ///
    /// No noise is ever promised of it.
    pub fn new(coordinates: usize, live: usize, bound: NormBound, max_weight: NonZeroU32) -> Self {
        let plan = SumPlan { bound, max_weight, noise: None };
        Self { sum: Sum::new(coordinates, plan), offsets: vec![0; live.min(coordinates)] }
    }

    /// Adds a report and its offsets, those of what is `carried`. One that is longer than any honest device's is shortened, and has
    /// none of them added.
    ///
    /// # Errors
    /// [`AddError`]; nothing was added then.
    pub fn add(
        &mut self,
        dither: &Dither,
        carried: &Carried,
        report: &[(usize, i32)],
        weight: u32,
    ) -> Result<(), AddError> {
        if self.sum.add(report.iter().copied(), weight)?.clipped {
            return Ok(());
        }
        let subset = carried.subset();
        for (index, offset) in self.offsets.iter_mut().enumerate() {
            if subset.is_none_or(|subset| subset.keeps(index)) {
                // The weight of all is at most 2^46: see `Sum::weight_capacity`.
                *offset += i64::from(dither.units(index as u32)) * i64::from(weight);
            }
        }
        Ok(())
    }

    /// How much the sum holds.
    pub fn counts(&self) -> Counts {
        self.sum.counts()
    }

    /// The weighted mean delta, in the units of the params, over the weight of all reports.
    ///
    /// # Errors
    /// [`MeanError::NoReports`].
    pub fn mean(&self) -> Result<Vec<f32>, MeanError> {
        let weight = NonZeroU64::new(self.counts().weight).ok_or(MeanError::NoReports)?;
        let mut sums = self.sum.weighted.clone();
        // Below 2^62 and 2^61 in magnitude.
        sums.iter_mut().zip(&self.offsets).for_each(|(sum, offset)| *sum += offset);
        Ok(divide(&sums, self.sum.plan().bound.unit(), weight))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use siskin::checkin::{Quantization, Rounding};
    use siskin::quantize::{Step, dither_in_place};

    const STEP: f32 = 0.5;

    fn sum(live: usize) -> DitheredSum {
        DitheredSum::new(live, live, NormBound::new(1000.0, STEP).unwrap(), NonZeroU32::new(10).unwrap())
    }

    fn report(values: &[f32], dither: &Dither, carried: &Carried) -> Vec<(usize, i32)> {
        let mut copy = values.to_vec();
        let symbols = dither_in_place(&mut copy, Step::new(STEP).unwrap(), dither, 0).symbols;
        let keeps = |i: &usize| carried.subset().is_none_or(|subset| subset.keeps(*i));
        (0..values.len()).filter(keeps).map(|i| (i, symbols[i])).filter(|(_, q)| *q != 0).collect()
    }

    /// Of one report every coordinate is within half a step; of 400 the mean is within 5 standard errors, which are those of
    /// a uniform number of a step's width.
    #[test]
    fn offsets_come_back() {
        let values: Vec<f32> = (0..60).map(|i| (i as f32 - 30.0) * 0.037).collect();
        let grid = Quantization { step: STEP, rounding: Rounding::Dithered, keep: 1.0 };
        let mut all = sum(values.len());
        for task in 0..400 {
            let dither = Dither::new(&grid, 3, task).unwrap();
            let report = report(&values, &dither, &Carried::All);
            let mut one = sum(values.len());
            one.add(&dither, &Carried::All, &report, 7).unwrap();
            let mean = one.mean().unwrap();
            assert!(mean.iter().zip(&values).all(|(a, b)| (a - b).abs() <= 0.25 + 1e-5), "{mean:?}");
            all.add(&dither, &Carried::All, &report, 1 + task as u32 % 3).unwrap();
        }
        let error = 5.0 * (0.25f32 / 12.0 / 400.0).sqrt() * 1.1;
        let mean = all.mean().unwrap();
        assert!(mean.iter().zip(&values).all(|(a, b)| (a - b).abs() < error), "{mean:?}");
        assert_eq!(all.counts().reports, 400);
    }

    /// Nothing is added to what does not travel.
    #[test]
    fn a_part_has_the_offsets_of_the_part() {
        let values = vec![0.2f32; 500];
        let grid = Quantization { step: STEP, rounding: Rounding::Dithered, keep: 0.25 };
        let (dither, carried) = (Dither::new(&grid, 1, 9).unwrap(), Carried::new(&grid, 1, 9, values.len()));
        let mut sum = sum(values.len());
        sum.add(&dither, &carried, &report(&values, &dither, &carried), 1).unwrap();
        let subset = carried.subset().unwrap();
        for (i, value) in sum.mean().unwrap().into_iter().enumerate() {
            let expected = if subset.keeps(i) { 0.2 } else { 0.0 };
            let room = if subset.keeps(i) { 0.25 + 1e-5 } else { 0.0 };
            assert!((value - expected).abs() <= room, "{i}: {value}");
        }
    }

    #[test]
    fn a_report_that_is_too_long_is_shortened_and_bare() {
        let grid = Quantization { step: STEP, rounding: Rounding::Dithered, keep: 1.0 };
        let dither = Dither::new(&grid, 1, 9).unwrap();
        let mut sum = sum(4);
        assert_eq!(sum.mean(), Err(MeanError::NoReports));
        sum.add(&dither, &Carried::All, &[(2, 1 << 20)], 1).unwrap();
        assert_eq!(sum.counts().clipped, 1);
        let mean = sum.mean().unwrap();
        assert!((mean[0], mean[1], mean[3]) == (0.0, 0.0, 0.0) && (mean[2] - 1000.0).abs() < 1e-2, "{mean:?}");
        assert!(sum.add(&dither, &Carried::All, &[(9, 1)], 1).is_err());
        assert_eq!(sum.counts().reports, 1);
    }
}
