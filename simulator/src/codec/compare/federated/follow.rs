//! A step that follows a budget by the sizes of reports.

/// Multiplies the step after each round by a power of (bits / budget). The power is that of the rate curve where the step was first
/// found, damped: near its root a secant step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Follow {
    /// The step of the next round.
    pub step: f64,
    budget: f64,
    gain: f64,
}

/// Part of a whole secant step, and the most that a round may change the step by.
const DAMPING: f64 = 0.7;
const MOST: f64 = 2.0;

impl Follow {
    /// The step in `[least, most]` at which `bits_at`, which falls, is the budget.
    pub fn new(budget: f64, (least, most): (f64, f64), mut bits_at: impl FnMut(f64) -> Option<f64>) -> Self {
        let (mut low, mut high) = (least.ln(), most.ln());
        for _ in 0..12 {
            let middle = f64::midpoint(low, high);
            // A step that is too fine for symbols has too many bits.
            if bits_at(middle.exp()).is_none_or(|bits| bits > budget) { low = middle } else { high = middle }
        }
        let step = f64::midpoint(low, high).exp();
        let (finer, coarser) = (bits_at(step / 1.3), bits_at(step * 1.3));
        let slope = match (finer, coarser) {
            (Some(finer), Some(coarser)) if finer > coarser && coarser > 0.0 => {
                (finer / coarser).ln() / (2.0 * 1.3f64.ln())
            }
            _ => 1.0,
        };
        Self { step, budget, gain: DAMPING / slope.clamp(0.05, 5.0) }
    }

    /// Takes the mean bits a param of a round's reports.
    pub fn observe(&mut self, bits: f64) {
        if bits > 0.0 && bits.is_finite() {
            self.step *= (bits / self.budget).powf(self.gain).clamp(1.0 / MOST, MOST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_finds_a_budget_and_follows_one_that_moves() {
        // Few bits fall with the step's power, many with its logarithm; deltas shrink.
        for (budget, power) in [(0.02, 0.85), (0.1, 2.6), (4.0, 0.85)] {
            let bits = |step: f64, scale: f64| {
                let relative = scale / step;
                if relative > 1.0 { 1.5 + relative.log2() } else { 1.5 * relative.powf(power) }
            };
            let mut follow = Follow::new(budget, (1e-4, 1e6), |step| Some(bits(step, 1.0)));
            assert!((bits(follow.step, 1.0) / budget - 1.0).abs() < 0.05, "{budget}: {}", follow.step);
            for round in 1..40 {
                let scale = 0.97f64.powi(round);
                let got = bits(follow.step, scale);
                assert!((got / budget - 1.0).abs() < 0.12, "{budget}, round {round}: {got}");
                follow.observe(got);
            }
        }
    }
}
