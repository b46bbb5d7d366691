//! A sum that moves by a random amount, plus Gaussian noise: P = sum of w_i N(-c_i, s^2) against Q = N(0, s^2).
//!
//! One mechanism for the Gaussian (one weight), Poisson-sampled rounds (norms 0 and 1), several examples of a user
//! sampled one by one (binomial weights; Ganesh 2024, arXiv 2401.10294, theorem 3.1), devices that sample their examples,
//! and any other law of the norm of a user's contribution: vectors are dominated by their norms (Choquette-Choo, Ganesh,
//! Steinke, Thakurta 2023, arXiv 2310.15526, corollary 4.7).
//!
//! The loss is `log sum of w_i exp((-c_i x - c_i^2 / 2) / s^2)`: a log-sum-exp of lines, so convex, and falling.

use core::f64::consts::FRAC_1_SQRT_2;

use super::pair::{Pair, Tails};

/// Weights and norms, in increasing order of norms, without weights of 0.
#[derive(Clone, Debug)]
pub(crate) struct Mixture {
    components: Vec<Component>,
    missing: f64,
    /// The components are the multiples of this norm, with no exponent out of range: a polynomial in one exponential.
    lattice: Option<Lattice>,
}

#[derive(Clone, Copy, Debug)]
struct Component {
    weight: f64,
    /// c / s.
    shift: f64,
    /// log w - c^2 / 2s^2.
    log_at_zero: f64,
}

#[derive(Clone, Debug)]
struct Lattice {
    /// Norm of one step, over s.
    step: f64,
    /// w_i exp(-c_i^2 / 2s^2) for i = 0, 1, ...
    coefficients: Vec<f64>,
}

impl Mixture {
    /// `sigma` above 0; weights that sum to 1 and norms >= 0, as many. Weights are dropped from the largest norm down
    /// while they sum to no more than `tail`: they count as an infinite loss.
    pub(crate) fn new(sigma: f64, weights: &[f64], norms: &[f64], tail: f64) -> Self {
        let mut pairs: Vec<(f64, f64)> =
            norms.iter().copied().zip(weights.iter().copied()).filter(|&(_, weight)| weight > 0.0).collect();
        pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
        pairs.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            if same {
                kept.1 += next.1;
            }
            same
        });
        let mut missing = 0.0;
        while let Some(&(_, weight)) = pairs.last() {
            if pairs.len() == 1 || missing + weight > tail {
                break;
            }
            missing += weight;
            pairs.pop();
        }
        let components: Vec<Component> = pairs
            .iter()
            .map(|&(norm, weight)| {
                let shift = norm / sigma;
                Component { weight, shift, log_at_zero: libm::log(weight) - 0.5 * shift * shift }
            })
            .collect();
        let lattice = Lattice::of(&components);
        Self { components, missing, lattice }
    }

    /// The largest norm kept, over s.
    fn most(&self) -> f64 {
        self.components.last().map_or(0.0, |component| component.shift)
    }
}

impl Lattice {
    /// Exponents that occur stay far inside the range of f64.
    const MOST_EXPONENT: f64 = 600.0;

    fn of(components: &[Component]) -> Option<Self> {
        let step = components.iter().find(|component| component.shift > 0.0)?.shift;
        let most = components.last()?.shift;
        // Outcomes lie within some 45 s of either mean.
        if most * (most + 45.0) > Self::MOST_EXPONENT || most / step > 4.0 * components.len() as f64 {
            return None;
        }
        let mut coefficients = vec![0.0; libm::round(most / step) as usize + 1];
        for component in components {
            let index = component.shift / step;
            let whole = libm::round(index);
            if (index - whole).abs() > 1e-13 * whole {
                return None;
            }
            coefficients[whole as usize] = libm::exp(component.log_at_zero);
        }
        Some(Self { step, coefficients })
    }
}

/// Outcomes are in units of s.
impl Pair for Mixture {
    fn loss(&self, x: f64) -> (f64, f64) {
        if let Some(lattice) = &self.lattice {
            let u = libm::exp(-lattice.step * x);
            let (mut value, mut derivative) = (0.0, 0.0);
            for &coefficient in lattice.coefficients.iter().rev() {
                derivative = derivative * u + value;
                value = value * u + coefficient;
            }
            return (libm::log(value), lattice.step * u * derivative / value);
        }
        let mut most = f64::NEG_INFINITY;
        for component in &self.components {
            most = most.max(component.log_at_zero - component.shift * x);
        }
        let (mut sum, mut moment) = (0.0, 0.0);
        for component in &self.components {
            let exponent = component.log_at_zero - component.shift * x - most;
            // exp(-50) of the largest is below the last place.
            if exponent > -50.0 {
                let term = libm::exp(exponent);
                sum += term;
                moment += component.shift * term;
            }
        }
        (most + libm::log(sum), moment / sum)
    }

    fn least_loss(&self) -> f64 {
        match self.components.first() {
            Some(component) if component.shift == 0.0 => libm::log(component.weight),
            _ => f64::NEG_INFINITY,
        }
    }

    fn span(&self, tail: f64) -> (f64, f64) {
        // P's lower tail is at most that of the farthest component; Q's upper one is a normal tail.
        let low = |x: f64| self.tails(x).p_low;
        let (mut outside, mut inside) = (-self.most() - 40.0, 0.0);
        while inside - outside > 1e-3 {
            let middle = 0.5 * (outside + inside);
            if low(middle) <= tail { outside = middle } else { inside = middle }
        }
        let lower = outside;
        let (mut outside, mut inside) = (40.0, 0.0);
        while outside - inside > 1e-3 {
            let middle = 0.5 * (outside + inside);
            if 0.5 * libm::erfc(middle * FRAC_1_SQRT_2) <= tail { outside = middle } else { inside = middle }
        }
        (lower, outside)
    }

    fn tails(&self, x: f64) -> Tails {
        let (mut p_low, mut p_up) = (0.0, 0.0);
        for component in &self.components {
            let (low, up) = normal(x + component.shift);
            p_low += component.weight * low;
            p_up += component.weight * up;
        }
        let (q_low, q_up) = normal(x);
        Tails { p_low, p_up, q_low, q_up }
    }

    fn missing(&self) -> f64 {
        self.missing
    }

    fn symmetric(&self) -> bool {
        self.components.len() == 1 && self.missing == 0.0
    }
}

/// Probabilities of a standard normal below and above `x`.
pub(super) fn normal(x: f64) -> (f64, f64) {
    let far = 0.5 * libm::erfc(x.abs() * FRAC_1_SQRT_2);
    if x < 0.0 { (far, 1.0 - far) } else { (1.0 - far, far) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_the_loss_agree() {
        let weights = [0.7, 0.2, 0.06, 0.04];
        let fast = Mixture::new(2.0, &weights, &[0.0, 1.0, 2.0, 4.0], 0.0);
        assert!(fast.lattice.is_some());
        let mut slow = fast.clone();
        slow.lattice = None;
        for x in [-30.0, -7.5, -1.0, 0.0, 0.3, 9.0, 30.0] {
            let ((a, da), (b, db)) = (fast.loss(x), slow.loss(x));
            assert!((a - b).abs() <= 1e-14 * (1.0 + a.abs()) && (da - db).abs() <= 1e-12 * da, "{x}: {a} {b}");
        }
        assert!(Mixture::new(1.0, &[0.5, 0.3, 0.2], &[0.0, 0.5, 1.2], 0.0).lattice.is_none());
        assert!(Mixture::new(0.1, &[0.5, 0.3, 0.2], &[0.0, 1.0, 2.0], 0.0).lattice.is_none());
    }
}
