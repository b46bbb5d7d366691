//! The sum of signs of rotated deltas ([`Rounding::Rotated`](siskin::checkin::Rounding::Rotated)).

use super::{AddError, MeanError};
use siskin::checkin::Quantization;
use siskin::privacy::rotated_len;
use siskin::quantize::Rotated;
use siskin::quantize::rotated::largest_scale;
use std::num::NonZeroU32;

/// The weighted sum over the live coordinates. Each report was rotated by its own random signs and is brought back in whole
/// numbers ([`Rotated::restore`]), so that sums are the same in any order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignSum {
    largest: u32,
    max_weight: NonZeroU32,
    weighted: Vec<i128>,
    weight: u64,
    reports: u64,
    rotated: Vec<i64>,
}

impl SignSum {
    /// Of nothing yet, for `live` coordinates.
    pub fn new(grid: &Quantization, clip_norm: f32, live: usize, max_weight: NonZeroU32) -> Self {
        let count = grid.most_kept(live);
        let largest = largest_scale(clip_norm, grid.step, count);
        let (weighted, rotated) = (vec![0; live], vec![0; rotated_len(live)]);
        Self { largest, max_weight, weighted, weight: 0, reports: 0, rotated }
    }

    /// Adds a report of `(rotated coordinate, symbol)`, all of one magnitude, as [`Rotated::decode`] gives them.
    ///
    /// # Errors
    /// [`AddError`]; nothing was added then. A scale above the largest of the plan is refused: no honest device has it.
    pub fn add(&mut self, rotated: &Rotated, report: &[(usize, i32)], weight: u32) -> Result<(), AddError> {
        let max = self.max_weight.get();
        if weight == 0 || weight > max {
            return Err(AddError::Weight { max, got: weight });
        }
        let length = self.rotated.len();
        let scale = report.first().map_or(0, |(_, symbol)| symbol.unsigned_abs());
        let mut least = 0;
        for (entry, &(index, symbol)) in report.iter().enumerate() {
            if index >= length || rotated.length() != length {
                return Err(AddError::Index { entry, index, live: length });
            }
            if index < least {
                return Err(AddError::Order { entry, index });
            }
            if symbol.unsigned_abs() != scale || scale > self.largest || entry >= rotated.count() {
                return Err(AddError::Symbol { entry, symbol });
            }
            least = index + 1;
        }
        self.rotated.fill(0);
        for &(index, symbol) in report {
            self.rotated[index] = i64::from(symbol.signum());
        }
        rotated.restore(&mut self.rotated);
        // Of `n` coordinates a restored one is at most `n sqrt(k)`: below 2^63 where `n` is below 2^42, and no sum comes near 2^127.
        let factor = i128::from(scale) * i128::from(weight);
        self.weighted.iter_mut().zip(&self.rotated).for_each(|(sum, value)| *sum += factor * i128::from(*value));
        self.weight += u64::from(weight);
        self.reports += 1;
        Ok(())
    }

    /// Live coordinates.
    pub fn live(&self) -> usize {
        self.weighted.len()
    }

    /// Reports so far.
    pub fn reports(&self) -> u64 {
        self.reports
    }

    /// The weighted mean delta, in the units of the params: steps of `step` over the weight of all reports, in double precision.
    ///
    /// # Errors
    /// [`MeanError::NoReports`].
    pub fn mean(&self, step: f32) -> Result<Vec<f32>, MeanError> {
        if self.weight == 0 {
            return Err(MeanError::NoReports);
        }
        let unit = f64::from(step) / libm::sqrt(self.rotated.len() as f64) / self.weight as f64;
        Ok(self.weighted.iter().map(|sum| (*sum as f64 * unit) as f32).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use siskin::checkin::Rounding;

    const GRID: Quantization = Quantization { step: 0.5, rounding: Rounding::Rotated, keep: 0.25 };

    fn sum() -> SignSum {
        // 4 of 16, and scales of up to 2 * 64 / (4 * 0.5) = 64.
        SignSum::new(&GRID, 64.0, 10, NonZeroU32::new(3).unwrap())
    }

    fn rotated(task: u64) -> Rotated {
        Rotated::new(&GRID, 7, task, 10).unwrap()
    }

    /// Against the float rotation of the sdk.
    #[test]
    fn reports_come_back_and_order_does_not_count() {
        let one: &[(usize, i32)] = &[(0, 5), (3, -5), (9, 5), (15, 5)];
        let reports = [(1u64, one, 1), (2, &[(1, -64), (2, -64), (3, -64), (4, 64)], 3), (3, &[], 2)];
        let mut expected = vec![0.0; 10];
        for (task, report, weight) in &reports {
            let mut values = [0.0f32; 16];
            report.iter().for_each(|(index, symbol)| values[*index] = *symbol as f32);
            for (seed, round) in rotated(*task).rotations().iter().rev() {
                siskin::privacy::rotate_back(&mut values, *seed, *round);
            }
            // The root of 16.
            expected
                .iter_mut()
                .zip(values)
                .for_each(|(e, v)| *e += f64::from(v) * 4.0 * f64::from(*weight) * 0.5 / 6.0);
        }
        let (mut sum_of_all, mut backwards) = (sum(), sum());
        for (task, report, weight) in &reports {
            sum_of_all.add(&rotated(*task), report, *weight).unwrap();
        }
        for (task, report, weight) in reports.iter().rev() {
            backwards.add(&rotated(*task), report, *weight).unwrap();
        }
        let mean = sum_of_all.mean(0.5).unwrap();
        assert!(mean.iter().zip(&expected).all(|(m, e)| (f64::from(*m) - e).abs() < 1e-5), "{mean:?} {expected:?}");
        assert!(mean.iter().any(|m| *m != 0.0));
        assert_eq!((mean, sum_of_all.reports()), (backwards.mean(0.5).unwrap(), 3));
    }

    #[test]
    fn what_is_no_report_changes_nothing() {
        let mut sum = sum();
        let mut refused = |report: &[(usize, i32)], weight| sum.add(&rotated(1), report, weight).unwrap_err();
        assert!(matches!(refused(&[(16, 1)], 1), AddError::Index { index: 16, live: 16, .. }));
        assert!(matches!(refused(&[(1, 1), (1, 1)], 1), AddError::Order { .. }));
        assert!(matches!(refused(&[(0, 1), (1, 2)], 1), AddError::Symbol { symbol: 2, .. }));
        assert!(matches!(refused(&[(0, 65)], 1), AddError::Symbol { symbol: 65, .. }));
        assert!(matches!(refused(&[(0, 1), (1, 1), (2, 1), (3, 1), (4, 1)], 1), AddError::Symbol { entry: 4, .. }));
        assert!(matches!(refused(&[], 0), AddError::Weight { max: 3, got: 0 }));
        assert!(matches!(refused(&[], 4), AddError::Weight { max: 3, got: 4 }));
        assert_eq!(sum.mean(1.0), Err(MeanError::NoReports));
    }
}
