//! The sum of the distributed profile: integers modulo `2^bits` of rotated deltas.

use super::{AddError, MergeError};
use serde::{Deserialize, Serialize};
use siskin::checkin::Distributed;
use siskin::privacy::{centred, rotate_back, rotated_len};
use std::num::NonZeroU64;

/// A sum modulo `2^bits` over rotated coordinates: what secure aggregation would give, and no more. A report in it is uniform
/// noise to nobody, but it carries its share of the noise; nothing is clipped here, because what a report is before it is added
/// to others is no business of the server's. A device that lies can move the sum anywhere: see the profile's threats.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModularSum {
    profile: Distributed,
    /// Modulo `2^32`; the upper bits do not count.
    values: Vec<u32>,
    reports: u64,
}

impl ModularSum {
    /// Of nothing yet, for a model of `live` coordinates.
    pub fn new(live: usize, profile: Distributed) -> Self {
        Self { profile, values: vec![0; rotated_len(live)], reports: 0 }
    }

    /// Adds a report of `(coordinate, symbol)` with rising coordinates; those that it does not list are 0.
    ///
    /// # Errors
    /// [`AddError`]; nothing was added then. A symbol outside `[-2^(bits - 1), 2^(bits - 1))` is refused.
    pub fn add(&mut self, report: &[(usize, i32)]) -> Result<(), AddError> {
        let mut least = 0;
        for (entry, &(index, symbol)) in report.iter().enumerate() {
            if index >= self.values.len() {
                return Err(AddError::Index { entry, index, live: self.values.len() });
            }
            if index < least {
                return Err(AddError::Order { entry, index });
            }
            if centred(symbol.into(), self.profile.bits) != symbol {
                return Err(AddError::Symbol { entry, symbol });
            }
            least = index + 1;
        }
        for &(index, symbol) in report {
            self.values[index] = self.values[index].wrapping_add(symbol as u32);
        }
        self.reports += 1;
        Ok(())
    }

    /// Adds another's reports. Commutative and associative, to the bit.
    ///
    /// # Errors
    /// [`MergeError`]; nothing was added then.
    pub fn merge(&mut self, other: &Self) -> Result<(), MergeError> {
        if self.values.len() != other.values.len() {
            return Err(MergeError::Length { expected: self.values.len(), got: other.values.len() });
        }
        if self.profile != other.profile {
            return Err(MergeError::Plan);
        }
        self.values.iter_mut().zip(&other.values).for_each(|(sum, more)| *sum = sum.wrapping_add(*more));
        self.reports += other.reports;
        Ok(())
    }

    /// Reports so far.
    pub fn reports(&self) -> u64 {
        self.reports
    }

    /// The sum, each coordinate in `[-2^(bits - 1), 2^(bits - 1))`: the true one unless that is larger.
    pub fn centred(&self) -> Vec<i32> {
        self.values.iter().map(|v| centred((*v as i32).into(), self.profile.bits)).collect()
    }

    /// The mean delta over `live` coordinates in the units of the params: centred, rotated back with the signs of `round` in
    /// single precision, times `step` over a `denominator` that was fixed before the round, in double precision. All of it is
    /// post-processing of the noised sum.
    pub fn mean(&self, step: f32, round: u32, live: usize, denominator: NonZeroU64) -> Vec<f32> {
        // Below 2^24: exact.
        let mut values: Vec<f32> = self.centred().into_iter().map(|v| v as f32).collect();
        rotate_back(&mut values, self.profile.rotation, round);
        values.truncate(live);
        let denominator = denominator.get() as f64;
        values.iter_mut().for_each(|v| *v = (f64::from(*v) * f64::from(step) / denominator) as f32);
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use siskin::checkin::ShareNoise;

    fn profile(bits: u8) -> Distributed {
        Distributed { shares: 2, bits, noise: ShareNoise::DiscreteGaussian, rotation: 3 }
    }

    #[test]
    fn sums_wrap_and_come_back() {
        let mut sum = ModularSum::new(3, profile(8));
        for _ in 0..3 {
            sum.add(&[(0, 100), (2, -128), (3, 1)]).unwrap();
        }
        // 300 = 44, -384 = 128 = -128 modulo 256.
        assert_eq!((sum.centred(), sum.reports()), (vec![44, 0, -128, 3], 3));
        for _ in 0..3 {
            sum.add(&[(0, -100), (2, 127), (3, -1)]).unwrap();
        }
        assert_eq!(sum.centred(), [0, 0, -3, 0]);
    }

    #[test]
    fn what_is_no_report_changes_nothing() {
        let mut sum = ModularSum::new(3, profile(8));
        assert!(matches!(sum.add(&[(0, 1), (4, 1)]), Err(AddError::Index { index: 4, live: 4, .. })));
        assert!(matches!(sum.add(&[(1, 1), (1, 1)]), Err(AddError::Order { .. })));
        assert!(matches!(sum.add(&[(0, 1), (1, 128)]), Err(AddError::Symbol { symbol: 128, .. })));
        assert_eq!((sum.centred(), sum.reports()), (vec![0; 4], 0));
        assert_eq!(sum.merge(&ModularSum::new(3, profile(9))), Err(MergeError::Plan));
        assert!(matches!(sum.merge(&ModularSum::new(5, profile(8))), Err(MergeError::Length { .. })));
    }

    #[test]
    fn shards_merge_into_the_same_sum() {
        let (mut whole, mut shard) = (ModularSum::new(4, profile(8)), ModularSum::new(4, profile(8)));
        let mut other = shard.clone();
        for i in 0..20 {
            let report = [(0, i * 5), (3, -i)];
            whole.add(&report).unwrap();
            if i % 2 == 0 { shard.add(&report).unwrap() } else { other.add(&report).unwrap() }
        }
        other.merge(&shard).unwrap();
        assert_eq!(whole, other);
    }
}
