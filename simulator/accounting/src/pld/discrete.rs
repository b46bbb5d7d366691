//! Mechanisms whose losses are known in closed form: discrete noise, Laplace, and the worst (epsilon, delta) mechanism.

use super::pmf::{Builder, Directions};
use super::{Grid, Pmf};

/// An outcome with its probabilities under P and Q, both above 0.
struct Atom {
    p: f64,
    q: f64,
}

/// The pair with P replaced by (1-rate) Q + rate P, over atoms; `beyond` is P's mass outside them, `beyond_q` Q's.
fn of_atoms(atoms: &[Atom], rate: f64, beyond: f64, beyond_q: f64, grid: Grid) -> Directions {
    let sampled: Vec<(f64, f64)> = atoms
        .iter()
        .map(|atom| {
            let p = (1.0 - rate) * atom.q + rate * atom.p;
            let ratio = atom.p / atom.q;
            (p, if rate == 1.0 { libm::log(ratio) } else { libm::log1p(rate * (ratio - 1.0)) })
        })
        .collect();
    let (least, most) =
        sampled.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), &(_, loss)| (a.min(loss), b.max(loss)));
    let mut builder = Builder::over(grid.interval, least, most);
    for &(p, loss) in &sampled {
        builder.atom(loss, p);
    }
    builder.above(rate * beyond + (1.0 - rate) * beyond_q, 0.0);
    builder.below(0.0, beyond_q);
    builder.directions(0.0)
}

/// Discrete Gaussian noise on the integers, `exp(-x^2 / 2 sigma^2)` normalised (Canonne, Kamath, Steinke 2020), on an
/// integer that a user moves by `sensitivity`, sampled with probability `rate`.
pub(crate) fn discrete_gaussian(sigma: f64, sensitivity: u32, rate: f64, grid: Grid) -> Directions {
    let s = i64::from(sensitivity);
    let weight = |x: i64| {
        let y = x as f64 / sigma;
        libm::exp(-0.5 * y * y)
    };
    // The normaliser is at least max(1, sigma sqrt(2 pi)); the sum beyond r >= sigma is below 2 sigma exp(-r^2/2 sigma^2),
    // or below 2 exp(-r^2/2 sigma^2) where sigma < 1. So either tail is below grid.tail.
    let reach = libm::ceil(sigma * (2.0 * (2.0 - libm::log(grid.tail))).sqrt()) as i64 + 1;
    let mut normaliser = 1.0;
    for x in (1..=reach + s).rev() {
        normaliser += 2.0 * weight(x);
    }
    let atoms: Vec<Atom> = (-reach - s..=reach)
        .map(|x| Atom { p: weight(x + s) / normaliser, q: weight(x) / normaliser })
        .filter(|atom| atom.p > 0.0 && atom.q > 0.0)
        .collect();
    let beyond = 2.0 * grid.tail;
    of_atoms(&atoms, rate, beyond, beyond, grid)
}

/// Discrete Laplace noise, `exp(-a |x|)` normalised, on an integer that a user moves by `sensitivity`.
pub(crate) fn discrete_laplace(a: f64, sensitivity: u32, rate: f64, grid: Grid) -> Directions {
    let s = i64::from(sensitivity);
    // Pr[0] = tanh(a/2); Pr[X >= k] = exp(-a k) / (1 + exp(-a)) for k >= 1.
    let zero = libm::tanh(0.5 * a);
    let upper = |k: i64| libm::exp(-a * k as f64) / (1.0 + libm::exp(-a));
    let mass = |x: i64| zero * libm::exp(-a * x.unsigned_abs() as f64);
    // P is centred at -s. Outside [-s, 0] the loss is constant.
    let mut atoms = vec![Atom { p: upper(0), q: upper(s) }, Atom { p: upper(s), q: upper(0) }];
    atoms.extend((1 - s..0).map(|x| Atom { p: mass(x + s), q: mass(x) }));
    if s == 0 {
        atoms = vec![Atom { p: 1.0, q: 1.0 }];
    }
    of_atoms(&atoms, rate, 0.0, 0.0, grid)
}

/// Laplace noise of this scale on a number that a user moves by at most `sensitivity` (in L1).
pub(crate) fn laplace(scale: f64, sensitivity: f64, grid: Grid) -> Directions {
    let most = sensitivity / scale;
    let mut builder = Builder::over(grid.interval, -most, most);
    // Atoms at both ends; between them the loss has density exp((l - most)/2) / 4 under P.
    builder.atom(most, 0.5);
    builder.atom(-most, 0.5 * libm::exp(-most));
    let (lower, last) = (builder.lower(), builder.len() - 1);
    for index in 0..last {
        let at = |i: usize| (lower + i as i64) as f64 * grid.interval;
        let (left, right) = (at(index).max(-most), at(index + 1).min(most));
        if right > left {
            let p = 0.5 * libm::exp(0.5 * (left - most)) * libm::expm1(0.5 * (right - left));
            let q = 0.5 * libm::exp(-0.5 * (right + most)) * libm::expm1(0.5 * (right - left));
            builder.between(index, libm::exp(at(index)), p, q);
        }
    }
    symmetric(builder)
}

/// The pair that dominates every (epsilon, delta)-private one (Kairouz, Oh, Viswanath 2015): an infinite loss with
/// probability delta, else randomised response.
pub(crate) fn epsilon_delta(epsilon: f64, dp_delta: f64, grid: Grid) -> Directions {
    let mut builder = Builder::over(grid.interval, -epsilon, epsilon);
    builder.atom(epsilon, (1.0 - dp_delta) / (1.0 + libm::exp(-epsilon)));
    builder.atom(-epsilon, (1.0 - dp_delta) / (1.0 + libm::exp(epsilon)));
    builder.above(dp_delta, 0.0);
    symmetric(builder)
}

fn symmetric(builder: Builder) -> Directions {
    let mut directions = builder.directions(0.0);
    directions.add = None;
    directions
}

/// A release that says nothing, or one that says everything.
impl Directions {
    pub(crate) fn nothing(interval: f64) -> Self {
        Self { remove: Pmf { interval, lower: 0, mass: vec![1.0], infinity: 0.0 }, add: None }
    }
}
