//! The sizes of a round's reports, as integers: whatever the order in which they came, the sums are the same.

use super::Rate;
use crate::round::Settings;
use siskin::session::Abandoned;

/// Parts of one in which relative sizes are counted.
const PARTS: i64 = 1 << 10;
/// A report counts for no more than so many times the budget, however large it is, so that no few of them move the step.
const LARGEST: i64 = 4 * PARTS;
const LARGEST_FIRST: i64 = 1000 * PARTS;
/// The same where sizes are noised: one report adds between -1 and 1.
const LARGEST_NOISED: i64 = 2 * PARTS;
/// Relative deviation of the sizes of one round's reports where there are too few to tell.
const SPREAD: f64 = 0.5;

/// Sums over the reports that count.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::round) struct Sizes {
    /// Bits of the report to which sizes are relative: of the budget, or one for each coordinate that travels.
    reference: f64,
    /// Coordinates that travel, in the mean.
    coordinates: f64,
    /// In [`PARTS`].
    most: i64,
    reports: u64,
    /// Reports that were larger than [`most`](Self::most).
    cut: u64,
    /// Of sizes over the reference less one.
    sum: i64,
    squares: u128,
    /// Of the magnitudes of all symbols.
    magnitudes: u64,
}

impl Sizes {
    /// For reports of so many live coordinates; in the `first` rounds, as long as the step is not near its place, also large ones
    /// count for what they are.
    pub(in crate::round) fn new(settings: &Settings, live: usize, first: bool) -> Self {
        let coordinates = (f64::from(settings.quantization.keep) * live as f64).max(1e-9);
        let (reference, most) = match settings.rate {
            Rate::Bits(_) if settings.noises_sizes() => (Self::budget(settings, live), LARGEST_NOISED),
            Rate::Bits(_) if !first => (Self::budget(settings, live), LARGEST),
            Rate::Bits(_) => (Self::budget(settings, live), LARGEST_FIRST),
            _ => (coordinates, LARGEST_FIRST),
        };
        Self { reference, coordinates, most, reports: 0, cut: 0, sum: 0, squares: 0, magnitudes: 0 }
    }

    fn budget(settings: &Settings, live: usize) -> f64 {
        match settings.rate {
            Rate::Bits(budget) => (budget.bits * live as f64).max(1e-9),
            _ => live as f64,
        }
    }

    /// Counts a report whose coded symbols take `bytes`.
    pub(in crate::round) fn add(&mut self, bytes: usize, symbols: &[(usize, i32)]) {
        let relative = 8.0 * bytes as f64 / self.reference * PARTS as f64;
        self.count((relative.min(self.most as f64) as i64).min(self.most));
        let magnitudes = symbols.iter().map(|(_, q)| u64::from(q.unsigned_abs())).sum();
        self.magnitudes = self.magnitudes.saturating_add(magnitudes);
    }

    /// Counts a device that gave its task back for this cause: if its report was too large, as the largest.
    pub(in crate::round) fn abandoned(&mut self, cause: u8) {
        let too_large = siskin::report::ReportError::TooLarge { limit: 0, got: 0 };
        if cause == Abandoned::Report(too_large).code() {
            self.count(self.most);
        }
    }

    fn count(&mut self, relative: i64) {
        self.reports += 1;
        self.cut += u64::from(relative >= self.most);
        self.sum += relative - PARTS;
        self.squares += u128::from((relative - PARTS).unsigned_abs()).pow(2);
    }

    /// Bits a coordinate that travels, and the relative variance of that mean; none of no reports.
    pub(super) fn mean(&self) -> Option<(f64, f64)> {
        let n = self.reports as f64;
        if self.reports == 0 {
            return None;
        }
        let parts = PARTS as f64;
        let mean = self.sum as f64 / n / parts;
        let spread = (self.squares as f64 / n / (parts * parts) - mean * mean).max(0.0);
        // Reports of nothing have a logarithm too.
        let whole = (1.0 + mean).max(1e-3);
        let variance = if self.reports < 4 { SPREAD * SPREAD } else { spread / (whole * whole) };
        // Of many that were cut nothing is known but that they are large: no slope can be learned from that.
        let cut = self.cut as f64 / n;
        Some((self.reference / self.coordinates * whole, variance / n + cut * cut))
    }

    /// The same of a sum to which `noise` was added, of this standard deviation, relative to what one report may add, over a number
    /// that was fixed before.
    pub(super) fn noised(&self, noise: f64, deviation: f64, cohort: u32) -> (f64, f64) {
        let (parts, n) = (PARTS as f64, f64::from(cohort.max(1)));
        let sum = self.sum + libm::rint(noise * parts) as i64;
        // Noise may say less than nothing.
        let whole = (1.0 + sum as f64 / parts / n).clamp(0.1, 2.0);
        let cut = if whole < 1.6 { 0.0 } else { 1.0 };
        // Most are cut at twice the budget, and may be anything above.
        let whole = if whole > 1.8 { 4.0 } else { whole };
        let variance = (deviation * deviation / n + SPREAD * SPREAD) / n + cut;
        (self.reference / self.coordinates * whole, variance / (whole * whole))
    }

    /// Mean magnitude of a symbol that travelled.
    pub(super) fn magnitude(&self) -> Option<f64> {
        (self.reports > 0).then(|| self.magnitudes as f64 / (self.reports as f64 * self.coordinates))
    }
}
