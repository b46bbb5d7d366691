//! The best BLT for a number of rounds and a rule of participation: L-BFGS on sensitivity times error, with exact gradients
//! by dual numbers.
//!
//! Unknowns are p_j with th_j = 1 / (1 + exp(-p_j)) and q_j with w_j = exp(q_j), so that all are in range but for the sum
//! of the scales, which the line search keeps at most 1. Fewer buffers come first: their optimum with one more, small, is
//! where the search for more begins; so is a ladder of decays on a logarithmic scale. What ends lowest is taken.

use super::blt::MAX_BUFFERS;
use super::lbfgs::minimise;
use super::{Blt, Objective, Participation, StrategyError};

/// A number with its derivatives by P unknowns.
#[derive(Clone, Copy)]
struct Dual<const P: usize> {
    value: f64,
    by: [f64; P],
}

impl<const P: usize> Dual<P> {
    fn constant(value: f64) -> Self {
        Self { value, by: [0.0; P] }
    }

    fn plus(self, other: Self) -> Self {
        self.plus_scaled(1.0, other)
    }

    fn plus_scaled(mut self, factor: f64, other: Self) -> Self {
        self.value += factor * other.value;
        for (a, b) in self.by.iter_mut().zip(&other.by) {
            *a += factor * b;
        }
        self
    }

    fn times(self, other: Self) -> Self {
        let mut by = [0.0; P];
        for ((to, a), b) in by.iter_mut().zip(&self.by).zip(&other.by) {
            *to = a * other.value + self.value * b;
        }
        Self { value: self.value * other.value, by }
    }
}

impl Blt {
    /// The best of `buffers` buffers under a rule. For 2000 rounds, from 10 ms for one to 0.6 s for four.
    ///
    /// ```
    /// use siskin_accounting::correlated::{Blt, Objective, Participation};
    ///
    /// let rule = Participation::new(2000, 400, 5)?;
    /// let blt = Blt::optimized(rule, 2, Objective::Max)?;
    /// let greatest = blt.sensitivity(rule).get() * blt.error(2000).max;
    /// assert!(greatest < 9.502, "{greatest}");
    /// # Ok::<(), siskin_accounting::correlated::StrategyError>(())
    /// ```
    ///
    /// # Errors
    /// [`StrategyError::Buffers`] unless 1 to [`MAX_BUFFERS`].
    pub fn optimized(rule: Participation, buffers: usize, objective: Objective) -> Result<Self, StrategyError> {
        if buffers == 0 || buffers > MAX_BUFFERS {
            return Err(StrategyError::Buffers { decays: buffers, scales: buffers });
        }
        let mut best: Vec<f64> = Vec::new();
        for count in 1..=buffers {
            best = best_of(rule, count, objective, &best);
        }
        let (decays, scales) = parameters(&best);
        Self::new(&decays, &scales)
    }
}

/// Unknowns as decays and scales.
fn parameters(unknowns: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let (p, q) = unknowns.split_at(unknowns.len() / 2);
    (p.iter().map(|p| 1.0 / (1.0 + libm::exp(-p))).collect(), q.iter().map(|q| libm::exp(*q)).collect())
}

fn best_of(rule: Participation, buffers: usize, objective: Objective, fewer: &[f64]) -> Vec<f64> {
    let n = f64::from(rule.rounds()).max(2.0);
    // The decay that forgets after m rounds is 1 - 1/m; as an unknown, log(m - 1).
    let forgets = |m: f64| libm::log((m - 1.0).max(0.1));
    let mut starts = Vec::new();
    for reach in [0.5, 0.9] {
        let rung = |j: usize| libm::pow(n, reach * (j as f64 + 0.5) / buffers as f64) + 1.0;
        let p = (0..buffers).map(|j| forgets(rung(j)));
        let q = (0..buffers).map(|j| libm::log(0.5 / buffers as f64) - 0.7 * j as f64);
        starts.push(p.chain(q).collect::<Vec<f64>>());
    }
    let (p, q) = fewer.split_at(fewer.len() / 2);
    if !p.is_empty() {
        for m in [1.5, 6.0, 2.0 * n] {
            let with = |known: &[f64], new: f64| known.iter().copied().chain([new]).collect::<Vec<f64>>();
            starts.push([with(p, forgets(m)), with(q, libm::log(0.01))].concat());
        }
    }
    let mut best = (Vec::new(), f64::INFINITY);
    for start in starts {
        let found = match buffers {
            1 => minimise(&start, 300, loss::<2>(rule, objective)),
            2 => minimise(&start, 300, loss::<4>(rule, objective)),
            3 => minimise(&start, 300, loss::<6>(rule, objective)),
            _ => minimise(&start, 300, loss::<8>(rule, objective)),
        };
        if found.1 < best.1 || best.0.is_empty() {
            best = found;
        }
    }
    best.0
}

/// log(squared sensitivity) + log(squared error), for P / 2 buffers.
fn loss<const P: usize>(rule: Participation, objective: Objective) -> impl Fn(&[f64], &mut [f64]) -> f64 {
    let n = rule.rounds() as usize;
    let separation = rule.min_separation() as usize;
    let most = rule.most() as usize;
    move |unknowns, gradient| {
        let buffers = P / 2;
        let (decays, scales) = parameters(unknowns);
        if scales.iter().sum::<f64>() > 1.0 || unknowns.iter().any(|u| !u.is_finite()) {
            return f64::INFINITY;
        }
        let mut th = [Dual::<P>::constant(0.0); MAX_BUFFERS];
        let mut w = th;
        for j in 0..buffers {
            th[j].value = decays[j];
            th[j].by[j] = decays[j] * (1.0 - decays[j]);
            w[j].value = scales[j];
            w[j].by[buffers + j] = scales[j];
        }
        let zero = Dual::<P>::constant(0.0);
        let (mut forward, mut backward) = ([zero; MAX_BUFFERS], [zero; MAX_BUFFERS]);
        let (mut sensitivity, mut error, mut prefix) = (zero, zero, zero);
        for t in 0..n {
            // Row t of C times the worst user, and of C^-1 times the first unit vector.
            let took_part = t % separation == 0 && t / separation < most;
            let input = if took_part { 1.0 } else { 0.0 };
            let mut y = Dual::constant(input);
            let mut x = Dual::constant(if t == 0 { 1.0 } else { 0.0 });
            for j in 0..buffers {
                y = y.plus(w[j].times(forward[j]));
                x = x.plus_scaled(-1.0, w[j].times(backward[j]));
            }
            for j in 0..buffers {
                forward[j] = th[j].times(forward[j]);
                forward[j].value += input;
                backward[j] = th[j].times(backward[j]).plus(x);
            }
            sensitivity = sensitivity.plus(y.times(y));
            prefix = prefix.plus(x);
            let weight = match objective {
                Objective::Rms => (n - t) as f64 / n as f64,
                Objective::Max => 1.0,
            };
            error = error.plus_scaled(weight, prefix.times(prefix));
        }
        for (g, (s, e)) in gradient.iter_mut().zip(sensitivity.by.iter().zip(&error.by)) {
            *g = s / sensitivity.value + e / error.value;
        }
        libm::log(sensitivity.value) + libm::log(error.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradients_are_slopes() {
        let rule = Participation::new(50, 7, 3).unwrap();
        let at = [1.0, -0.5, 2.5, -2.0, -1.5, -3.0];
        for objective in [Objective::Rms, Objective::Max] {
            let loss = loss::<6>(rule, objective);
            let mut gradient = [0.0; 6];
            loss(&at, &mut gradient);
            for i in 0..6 {
                let value = |h: f64| {
                    let mut moved = at;
                    moved[i] += h;
                    loss(&moved, &mut [0.0; 6])
                };
                let slope = (value(1e-5) - value(-1e-5)) / 2e-5;
                assert!((slope - gradient[i]).abs() < 1e-8, "{objective:?} {i}: {slope} for {}", gradient[i]);
            }
        }
    }

    #[test]
    fn the_loss_is_that_of_the_blt() {
        let rule = Participation::new(60, 7, 3).unwrap();
        let at = [1.0, -0.5, -2.0, -1.5];
        let (decays, scales) = parameters(&at);
        let blt = Blt::new(&decays, &scales).unwrap();
        let error = blt.error(60);
        for (objective, error) in [(Objective::Rms, error.rms), (Objective::Max, error.max)] {
            let got = loss::<4>(rule, objective)(&at, &mut [0.0; 4]);
            let expected = 2.0 * libm::log(blt.sensitivity(rule).get() * error);
            assert!((got - expected).abs() < 1e-12, "{got} for {expected}");
        }
    }
}
