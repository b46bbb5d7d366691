//! Reading epsilon and delta off a composed law.

use super::WIDENING;
use super::compose::{Composed, Law, ROUNDING, Window};
use super::spectrum::Spectrum;

impl Composed<'_> {
    /// The least epsilon >= 0 at `dp_delta`, in (0, 1); infinite when an infinite loss is likelier than that.
    ///
    /// `None` when the sum's window would not fit in memory on this grid.
    pub fn epsilon(&self, dp_delta: f64) -> Option<f64> {
        let goal = dp_delta / (1.0 + WIDENING);
        if self.infinity() >= goal {
            return Some(f64::INFINITY);
        }
        if self.parts.is_empty() {
            return Some(0.0);
        }
        let (order, guess) = self.saddle_for_delta(dp_delta);
        let log_delta = libm::log(dp_delta);
        let mut near = guess.max(0.0);
        let mut margin = if order > 0.0 { 3.0 / order } else { f64::INFINITY };
        loop {
            let from = (near - margin).max(0.0);
            let window = self.window(self.plan(from, near, log_delta, order)?);
            match window.epsilon(goal) {
                Some(epsilon) if epsilon >= from || from == 0.0 => return Some(epsilon),
                // Below `from` the window's bound may be loose, but a bound it is.
                Some(epsilon) => near = epsilon,
                None => near = from,
            }
            margin *= 2.0;
        }
    }

    /// The delta at `epsilon` >= 0, in [0, 1]; `None` as for [`Self::epsilon`].
    pub fn dp_delta(&self, epsilon: f64) -> Option<f64> {
        if self.parts.is_empty() {
            return Some(0.0);
        }
        let (order, log_above) = self.chernoff_for_epsilon(epsilon);
        // So far out the bound itself is an answer.
        if log_above < -200.0 {
            return Some((self.infinity() + libm::exp(log_above)).min(1.0));
        }
        let least = libm::log(self.infinity().max(f64::MIN_POSITIVE));
        let mut log_delta = (log_above - 5.0).max(least).min(-1.0);
        loop {
            let delta = self.window(self.plan(epsilon, epsilon, log_delta, order)?).dp_delta(epsilon)?;
            // A plan for a much larger delta than it was may be loose.
            let found = libm::log(delta.max(f64::MIN_POSITIVE)).max(least);
            if found > log_delta - 3.0 {
                return Some((delta * (1.0 + WIDENING)).min(1.0));
            }
            log_delta = found - 1.0;
        }
    }
}

/// Sums over the losses from some grid point on.
struct Above {
    /// Sum of mass (1 - exp(here - loss)).
    excess: f64,
    /// Sum of mass exp(here - loss).
    discounted: f64,
}

impl Window {
    /// Visits the losses downwards: `visit(loss, sums over the losses above it)` until it returns something.
    fn descend<T>(&self, masses: &[f64], mut visit: impl FnMut(f64, &Above) -> Option<T>) -> Option<T> {
        let discount = libm::exp(-self.interval);
        let step = -libm::expm1(-self.interval);
        let top = (self.lower + masses.len() as i64) as f64 * self.interval;
        let untilt = |loss: f64| libm::exp((self.log_scale - self.lambda * loss).min(700.0));
        let mut above = Above { excess: 0.0, discounted: 0.0 };
        let mut clamped = 0.0;
        let mut factor = untilt(top - self.interval);
        let growth = libm::exp(self.lambda * self.interval);
        for (back, &mass) in masses.iter().rev().enumerate() {
            let loss = (self.lower + (masses.len() - 1 - back) as i64) as f64 * self.interval;
            if back % 32 == 0 {
                factor = untilt(loss);
            }
            let certain = Above { excess: above.excess + clamped + self.beyond + self.infinity, ..above };
            if let Some(found) = visit(loss, &certain) {
                return Some(found);
            }
            let mass = mass * factor;
            factor *= growth;
            if mass < 0.0 {
                // Rounding: the true mass is not negative, and what it took away elsewhere is put back.
                clamped -= mass;
            }
            let here = above.discounted + mass.max(0.0);
            above.excess += here * step;
            above.discounted = here * discount;
        }
        let loss = (self.lower - 1) as f64 * self.interval;
        let certain = Above { excess: above.excess + clamped + self.beyond + self.infinity, ..above };
        visit(loss, &certain)
    }

    /// `None` when epsilon is below the window.
    fn epsilon(&self, goal: f64) -> Option<f64> {
        let masses = match &self.law {
            Law::Masses(masses) => masses,
            Law::Spectrum(spectrum, len) => return self.epsilon_of_spectrum(spectrum, *len, goal),
        };
        let mut last: Option<(f64, f64, f64)> = None;
        let found = self.descend(masses, |loss, above| {
            if above.excess > goal {
                // Between two grid points delta is linear in exp(epsilon).
                let Some((upper, excess, _)) = last else { return Some(f64::INFINITY) };
                return Some(between(loss, above.excess, upper, excess, goal));
            }
            if loss < 0.0 {
                return Some(0.0);
            }
            last = Some((loss, above.excess, above.discounted));
            None
        });
        if found.is_some() || self.cut_below {
            return found;
        }
        // No loss is lower: delta goes on as excess + discounted (1 - exp(epsilon - loss)).
        let (loss, excess, discounted) = last?;
        let ratio = 1.0 - (goal - excess) / discounted;
        Some(if ratio > 0.0 { (loss + libm::log(ratio)).max(0.0) } else { 0.0 })
    }

    fn dp_delta(&self, epsilon: f64) -> Option<f64> {
        let masses = match &self.law {
            Law::Masses(masses) => masses,
            Law::Spectrum(spectrum, len) => return self.delta_of_spectrum(spectrum, *len, epsilon),
        };
        let mut last: Option<(f64, f64, f64)> = None;
        let found = self.descend(masses, |loss, above| {
            if loss <= epsilon {
                let (upper, excess, _) = last.unwrap_or((loss, above.excess, 0.0));
                if upper <= loss {
                    return Some(above.excess);
                }
                let share = libm::expm1(epsilon - upper) / libm::expm1(loss - upper);
                return Some(excess + (above.excess - excess) * share);
            }
            last = Some((loss, above.excess, above.discounted));
            None
        });
        if found.is_some() || self.cut_below {
            return found;
        }
        let (loss, excess, discounted) = last?;
        Some(excess - discounted * libm::expm1(epsilon - loss))
    }

    fn loss(&self, index: usize) -> f64 {
        (self.lower + index as i64) as f64 * self.interval
    }

    /// delta at the loss of this index, with the transform's error added.
    fn delta_at(&self, spectrum: &Spectrum, index: usize) -> f64 {
        let untilt = libm::exp((self.log_scale - self.lambda * self.loss(index)).min(700.0));
        untilt * (spectrum.excess(index) + libm::exp(ROUNDING)) + self.beyond + self.infinity
    }

    fn epsilon_of_spectrum(&self, spectrum: &Spectrum, len: usize, goal: f64) -> Option<f64> {
        // From the loss at 0, or the grid point below it, up.
        let mut low = usize::try_from(-self.lower).unwrap_or(0).min(len - 1);
        let mut high = len - 1;
        let mut at_low = self.delta_at(spectrum, low);
        if at_low <= goal {
            return if self.loss(low) <= 0.0 || !self.cut_below { Some(self.loss(low).max(0.0)) } else { None };
        }
        let mut at_high = self.delta_at(spectrum, high);
        if at_high > goal {
            return Some(f64::INFINITY);
        }
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            let delta = self.delta_at(spectrum, middle);
            if delta <= goal { (high, at_high) = (middle, delta) } else { (low, at_low) = (middle, delta) }
        }
        Some(between(self.loss(low), at_low, self.loss(high), at_high, goal))
    }

    /// `None` when epsilon is below the window.
    fn delta_of_spectrum(&self, spectrum: &Spectrum, len: usize, epsilon: f64) -> Option<f64> {
        let index = libm::floor(epsilon / self.interval) - self.lower as f64;
        if index < 0.0 {
            return if self.cut_below { None } else { Some(1.0) };
        }
        let low = index as usize;
        if low + 1 >= len {
            return Some(self.beyond + self.infinity);
        }
        let (lower, upper) = (self.loss(low), self.loss(low + 1));
        let (at_low, at_high) = (self.delta_at(spectrum, low), self.delta_at(spectrum, low + 1));
        let share = (libm::expm1(epsilon - upper) / libm::expm1(lower - upper)).clamp(0.0, 1.0);
        Some(at_high + (at_low - at_high) * share)
    }
}

/// Where delta is `goal`, between two grid points: it is linear in exp(epsilon).
fn between(lower: f64, at_lower: f64, upper: f64, at_upper: f64, goal: f64) -> f64 {
    let share = (goal - at_upper) / (at_lower - at_upper);
    (upper + libm::log1p(share * libm::expm1(lower - upper))).clamp(lower, upper).max(0.0)
}
