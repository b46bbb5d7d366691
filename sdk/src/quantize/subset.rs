//! Which coordinates travel where a plan asks for a part of them: random, anew for each report, and known to both sides.
//!
//! Below about half a bit a coordinate a coarser step alone adds more variance than it has to: the error of a report relative to
//! its square grows with the step, and its bits fall less than that (where that begins hangs on the deltas: the server tries it). To drop coordinates at random costs no bits at
//! all, because both sides can tell which they are, and with the sum scaled by `1 / p` it is as unbiased as stochastic rounding.

use super::Uniform;
use crate::checkin::{Quantization, Rounding, parts};

/// The coordinates that a report carries.
///
/// Coordinate `i` of the live ones, in the order of the report, travels if
/// `Uniform::new(task xor (fingerprint << 32)).bits(i) < floor(keep * 2^32)`: independent of every value on the device, of its
/// secrets and of its rounding. The task's number is another one for each device and round; whoever knows it knows the subset,
/// which is no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subset {
    uniform: Uniform,
    /// In `[2^16, 2^32)`.
    below: u32,
}

impl Subset {
    /// Of the report for this task of the plan of this fingerprint; none if all coordinates travel.
    pub fn new(grid: &Quantization, fingerprint: u32, task: u64) -> Option<Self> {
        // A plan for a build without the part was refused. Exact: a product with a power of two; what is not below 2^32, a NaN too, is no part.
        let below = f64::from(grid.keep) * 4_294_967_296.0;
        let uniform = Uniform::new(task ^ u64::from(fingerprint) << 32);
        (parts::SUBSET.here && grid.rounding != Rounding::Rotated && below < 4_294_967_296.0)
            .then_some(Self { uniform, below: below as u32 })
    }

    /// True if the live coordinate `index` travels.
    #[inline(always)]
    pub fn keeps(&self, index: usize) -> bool {
        self.uniform.bits(index as u32) < self.below
    }

    /// How many of the live coordinates from `first` on travel.
    pub fn count(&self, first: usize, length: usize) -> usize {
        (first..first.saturating_add(length)).filter(|index| self.keeps(*index)).count()
    }
}

/// What the mean of reports is to be multiplied by: `1 / p` with `p` the exact probability with which a coordinate travels. Signs of
/// rotated coordinates bring their scale.
pub fn scale_of(grid: &Quantization) -> f64 {
    let part = libm::floor(f64::from(grid.keep) * 4_294_967_296.0) / 4_294_967_296.0;
    if part < 1.0 && grid.rounding != Rounding::Rotated { 1.0 / part } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn grid(keep: f32) -> Quantization {
        Quantization { step: 1.0, rounding: Rounding::Stochastic, keep }
    }

    #[test]
    fn all_is_no_subset() {
        assert_eq!(Subset::new(&grid(1.0), 1, 2), None);
        assert_eq!(scale_of(&grid(1.0)), 1.0);
        assert_eq!(scale_of(&grid(0.25)), 4.0);
    }

    /// A binomial count within 4 standard deviations: alpha = 6e-5 a case. Reports and coordinates are independent.
    #[test]
    fn each_report_has_its_own_part() {
        let length = 100_000;
        for keep in [1.0 / 65_536.0, 0.01, 0.2, 0.9] {
            let p = f64::from(keep);
            let deviation = (length as f64 * p * (1.0 - p)).sqrt();
            let of = |fingerprint, task| Subset::new(&grid(keep), fingerprint, task).unwrap();
            let (one, two, other_plan) = (of(1, 7), of(1, 8), of(2, 7));
            for subset in [one, two, other_plan] {
                let kept = subset.count(0, length) as f64;
                assert!((kept - p * length as f64).abs() <= 4.0 * deviation + 1.0, "{keep}: {kept}");
            }
            for other in [two, other_plan] {
                let both = (0..length).filter(|i| one.keeps(*i) && other.keeps(*i)).count() as f64;
                let square = p * p;
                let deviation = (length as f64 * square * (1.0 - square)).sqrt();
                assert!((both - square * length as f64).abs() <= 4.0 * deviation + 1.0, "{keep}: {both}");
            }
            let neighbours = (1..length).filter(|i| one.keeps(*i) && one.keeps(i - 1)).count() as f64;
            let square = p * p * length as f64;
            assert!((neighbours - square).abs() <= 5.0 * square.sqrt() + 1.0, "{keep}: {neighbours}");
        }
    }

    #[test]
    fn a_part_of_a_report_is_counted() {
        let subset = Subset::new(&grid(0.3), 5, 6).unwrap();
        let kept: Vec<usize> = (0..1000).filter(|i| subset.keeps(*i)).collect();
        assert_eq!(subset.count(100, 200), kept.iter().filter(|i| (100..300).contains(*i)).count());
    }
}
