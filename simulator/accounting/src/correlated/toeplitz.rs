//! Lower-triangular Toeplitz strategies: banded, the square root of the prefix sum, and any other.
//!
//! C has c_i on its i-th subdiagonal, c_0 = 1. Its inverse is Toeplitz too, and so is B = A C^-1 for the prefix sum A.

use serde::{Deserialize, Serialize};

use super::lbfgs::minimise;
use super::{Participation, PrefixError, Sensitivity, StrategyError, norm_squared};

/// C by its first column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<f64>", into = "Vec<f64>")]
pub struct Toeplitz {
    /// Finite; the first is 1. All that follow are 0.
    coefs: Vec<f64>,
}

/// What an optimiser makes small: the error with the noise that the sensitivity calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Objective {
    /// The root of the mean squared error of all prefix sums.
    Rms,
    /// The error of the last prefix sum, which is the greatest.
    Max,
}

impl Toeplitz {
    /// C by its subdiagonals, the diagonal first; those that are not given are 0.
    ///
    /// # Errors
    /// [`StrategyError::Coefficient`] if one is not finite or the first is not 1.
    pub fn new(coefs: Vec<f64>) -> Result<Self, StrategyError> {
        if let Some(index) = coefs.iter().position(|c| !c.is_finite()) {
            return Err(StrategyError::Coefficient { index, got: coefs[index] });
        }
        match coefs.first() {
            Some(1.0) => Ok(Self { coefs }),
            first => Err(StrategyError::Coefficient { index: 0, got: first.copied().unwrap_or(0.0) }),
        }
    }

    /// C = I: noise that is independent from round to round.
    pub fn independent() -> Self {
        Self { coefs: vec![1.0] }
    }

    /// C^2 is the prefix sum over `rounds`: the coefficients of (1 - x)^(-1/2), c_i = c_{i-1} (2i - 1) / 2i. Fichtenberger,
    /// Henzinger & Upadhyay 2022, "Constant matters" (arXiv 2202.11205). Not banded: its noise needs all rounds' memory.
    ///
    /// # Errors
    /// [`StrategyError::NoRounds`] for 0.
    pub fn square_root(rounds: u32) -> Result<Self, StrategyError> {
        if rounds == 0 {
            return Err(StrategyError::NoRounds);
        }
        let mut coefs = vec![1.0];
        for i in 1..rounds {
            let last = coefs[coefs.len() - 1];
            coefs.push(last * (1.0 - 0.5 / f64::from(i)));
        }
        Ok(Self { coefs })
    }

    /// The best `bands` coefficients for `rounds` rounds, if no user comes twice within `bands` rounds: columns of one
    /// user are then orthogonal, and the sensitivity is that of one column times sqrt(k). Banded matrix factorisation,
    /// Choquette-Choo et al. 2023 (arXiv 2306.08153), among Toeplitz matrices. By L-BFGS from the square root; the
    /// gradient is exact. Cost: some hundred times 3 n bands multiply-adds.
    ///
    /// # Errors
    /// [`StrategyError::NoRounds`], [`StrategyError::Separation`] for 0 bands.
    pub fn banded(rounds: u32, bands: u32, objective: Objective) -> Result<Self, StrategyError> {
        if bands == 0 {
            return Err(StrategyError::Separation { got: 0 });
        }
        let start = Self::square_root(rounds.min(bands))?;
        let n = rounds as usize;
        let loss = |tail: &[f64], gradient: &mut [f64]| {
            let column = 1.0 + tail.iter().map(|c| c * c).sum::<f64>();
            let inverse = inverse(tail, n);
            let (error, mut adjoint) = squared_error(&inverse, objective);
            // The adjoint of the recursion of the inverse, d_t = -sum_i c_i d_{t-i}, backwards.
            gradient.fill(0.0);
            for t in (1..n).rev() {
                let a = adjoint[t];
                let reach = tail.len().min(t);
                let before = &inverse[t - reach..t];
                for (g, d) in gradient.iter_mut().zip(before.iter().rev()) {
                    *g -= a * d / error;
                }
                for (c, earlier) in tail[..reach].iter().zip(adjoint[t - reach..t].iter_mut().rev()) {
                    *earlier -= a * c;
                }
            }
            for (g, c) in gradient.iter_mut().zip(tail) {
                *g += 2.0 * c / column;
            }
            libm::log(column) + libm::log(error)
        };
        let (tail, _) = minimise(&start.coefs[1..], 400, loss);
        Self::new([1.0].into_iter().chain(tail).collect())
    }

    /// The first column, the diagonal first.
    pub fn coefs(&self) -> &[f64] {
        &self.coefs
    }

    /// The diagonals that are not 0.
    pub fn bands(&self) -> usize {
        self.coefs.iter().rposition(|c| *c != 0.0).map_or(0, |last| last + 1)
    }

    /// The first column of C^-1 over `rounds`: what round t's noise is made of, the newest first. O(n bands).
    pub fn inverse(&self, rounds: u32) -> Vec<f64> {
        inverse(&self.coefs[1..], rounds as usize)
    }

    /// Errors of the prefix sums; see [`PrefixError`].
    pub fn error(&self, rounds: u32) -> PrefixError {
        PrefixError::of_inverse(&self.inverse(rounds))
    }

    /// The sensitivity under a rule. Exact when the bands are at most b (columns of one user are orthogonal) and when the
    /// coefficients are not negative and do not rise (then 0, b, 2b, ... is the worst that a user can do: Kalinin &
    /// Lampert 2024, arXiv 2405.13763, theorem 2); else an upper bound. O(n k), the bound O(n^2 k).
    pub fn sensitivity(&self, rule: Participation) -> Sensitivity {
        let n = rule.rounds() as usize;
        let coefs = &self.coefs[..self.bands().min(n)];
        if coefs.len() <= rule.min_separation() as usize {
            let mut columns = vec![0.0; coefs.len() + 1];
            for (i, c) in coefs.iter().enumerate() {
                columns[i + 1] = columns[i] + c * c;
            }
            let squared = rule.most_of(|round| columns[coefs.len().min(n - round as usize)]);
            return Sensitivity { squared, exact: true };
        }
        // The signs of what users send are theirs to choose: coefficients without theirs bound any.
        let sizes: Vec<f64> = coefs.iter().map(|c| c.abs()).collect();
        let signless = coefs.iter().all(|c| *c >= 0.0);
        if sizes.windows(2).all(|pair| pair[1] <= pair[0]) {
            let squared = norm_squared(&spread(&sizes, rule.earliest(), n));
            return Sensitivity { squared, exact: signless };
        }
        // gram[i][lag]: what columns i and i + lag have in common, from the last row upwards.
        let mut gram = vec![vec![]; n];
        for lag in 0..n {
            let mut sum = 0.0;
            for i in (0..n - lag).rev() {
                let row = n - 1 - lag - i;
                let product = sizes.get(row).zip(sizes.get(row + lag)).map_or(0.0, |(a, b)| a * b);
                sum += product;
                gram[i].push(0.0);
                gram[i][lag] = sum;
            }
        }
        let squared = rule.most_of_pairs(|i, j| gram[i.min(j) as usize][i.abs_diff(j) as usize]);
        Sensitivity { squared, exact: false }
    }

    /// The squared sensitivity to a user who was in these rounds, of `rounds`: exact where no coefficient is negative,
    /// else an upper bound. O(n k).
    pub fn squared_of(&self, pattern: &[u32], rounds: u32) -> f64 {
        let sizes: Vec<f64> = self.coefs.iter().map(|c| c.abs()).collect();
        norm_squared(&spread(&sizes, pattern.iter().copied(), rounds as usize))
    }
}

impl TryFrom<Vec<f64>> for Toeplitz {
    type Error = StrategyError;

    fn try_from(coefs: Vec<f64>) -> Result<Self, StrategyError> {
        Self::new(coefs)
    }
}

impl From<Toeplitz> for Vec<f64> {
    fn from(toeplitz: Toeplitz) -> Self {
        toeplitz.coefs
    }
}

/// The sum of the columns of these rounds.
fn spread(coefs: &[f64], pattern: impl Iterator<Item = u32>, n: usize) -> Vec<f64> {
    let mut sum = vec![0.0; n];
    for round in pattern {
        for (to, c) in sum.iter_mut().skip(round as usize).zip(coefs) {
            *to += c;
        }
    }
    sum
}

/// 1 / (1 + tail): d_0 = 1, d_t = -sum_i c_i d_{t-i}.
fn inverse(tail: &[f64], n: usize) -> Vec<f64> {
    let mut inverse = Vec::with_capacity(n);
    for t in 0..n {
        let reach = tail.len().min(t);
        let before = inverse[t - reach..t].iter().rev();
        let next = if t == 0 { 1.0 } else { -tail[..reach].iter().zip(before).map(|(c, d)| c * d).sum::<f64>() };
        inverse.push(next);
    }
    inverse
}

/// The objective's squared error with unit noise, and its derivative by each coefficient of the inverse.
fn squared_error(inverse: &[f64], objective: Objective) -> (f64, Vec<f64>) {
    let n = inverse.len();
    let mut adjoint = vec![0.0; n];
    let (mut prefix, mut error) = (0.0, 0.0);
    for (t, d) in inverse.iter().enumerate() {
        prefix += d;
        // The t-th coefficient of B is in the n - t last prefix sums.
        let weight = match objective {
            Objective::Rms => (n - t) as f64 / n as f64,
            Objective::Max => 1.0,
        };
        error += weight * prefix * prefix;
        adjoint[t] = 2.0 * weight * prefix;
    }
    for t in (1..n).rev() {
        adjoint[t - 1] += adjoint[t];
    }
    (error, adjoint)
}
