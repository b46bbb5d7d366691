//! Noise that is correlated from round to round, for prefix sums: what matters of a run is not each round's sum but the sum
//! of all so far, which the model is made of.
//!
//! With A the prefix sum over n rounds and A = B C, one publishes B (C X + zeta Z) = A (X + zeta C^-1 Z), X being the
//! rounds' sums of clipped deltas and Z independent unit normal noise. [`Strategy`] is C. This is **one** Gaussian
//! mechanism for the whole run: with zeta = z * clip_norm * sens(C) its mu is 1 / z and epsilon is exact
//! ([`crate::analytic`]); no sampling is assumed and nothing is composed. Adjacency is zero-out: who takes part, and when,
//! is public, and one user's deltas become zero. Denisov et al. 2022 (arXiv 2202.08312) prove it for rounds that depend on
//! what was published before.
//!
//! sens(C) depends on how often a user may take part and how soon again ([`Participation`]); after the run, on how often
//! each *did* ([`ParticipationLog`], [`Plan::certify`]).
//!
//! | strategy | noise in memory | sensitivity under (k, b) |
//! |---|---|---|
//! | [`Toeplitz::independent`] | none | sqrt(k) |
//! | [`Tree`] | a model a level | exact, dynamic programme |
//! | [`Toeplitz::banded`] | a model a band | exact, closed form |
//! | [`Toeplitz::square_root`] | a model a round | exact |
//! | [`Blt`] | a model a buffer, 1 to 4 | exact |
//!
//! ```
//! use siskin_accounting::Adjacency;
//! use siskin_accounting::correlated::{Blt, Objective, Participation, Plan, Strategy};
//!
//! let rule = Participation::new(2000, 400, 5)?;
//! let blt = Blt::new(&[0.99585787, 0.82894657], &[0.1181773, 0.33094053])?;
//! let plan = Plan::new(Strategy::Blt(blt), rule, 4.0)?;
//! assert_eq!(
//!     plan.guarantee(Adjacency::ZeroOut, 1e-10)?.to_string(),
//!     "epsilon 1.5 at dp_delta 1e-10 (user-level, zero-out; BLT of 2 buffers, z=4.00 at sensitivity 4.575, T=2000; exact \
//!      analytic Gaussian; no sampling assumed, at most 5 participations of a user at least 400 rounds apart)"
//! );
//! # Ok::<(), siskin_accounting::correlated::StrategyError>(())
//! ```

mod blt;
mod certify;
mod error;
mod lbfgs;
mod optimize;
mod participation;
mod toeplitz;
mod tree;

pub use blt::{Blt, MAX_BUFFERS};
pub use certify::Plan;
pub use error::{StrategyError, Violation};
pub use participation::{Participation, ParticipationLog};
pub use toeplitz::{Objective, Toeplitz};
pub use tree::Tree;

use core::fmt;

use serde::{Deserialize, Serialize};

/// The matrix C.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Strategy {
    /// Lower-triangular Toeplitz; [`Toeplitz::independent`] is noise without correlation.
    Toeplitz(Toeplitz),
    /// Tree aggregation.
    Tree(Tree),
    /// Buffered linear Toeplitz.
    Blt(Blt),
}

/// What a strategy is called, in a [`Guarantee`](crate::Guarantee).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StrategyKind {
    /// A Toeplitz matrix of so many bands.
    Toeplitz {
        /// Diagonals that are not 0.
        bands: u64,
    },
    /// Tree aggregation.
    Tree(Tree),
    /// A BLT of so many buffers.
    Blt {
        /// Buffers.
        buffers: u64,
    },
}

/// The L2 sensitivity of C X to one user, in units of the clip norm.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sensitivity {
    /// Its square.
    pub squared: f64,
    /// Whether somebody who keeps to the rule can reach it; else it is an upper bound.
    pub exact: bool,
}

impl Sensitivity {
    /// The sensitivity.
    pub fn get(self) -> f64 {
        self.squared.sqrt()
    }
}

/// Standard deviations of the noise in one coordinate of the prefix sums, with unit noise Z. Times the sensitivity and the
/// clip norm it is what z = 1 costs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PrefixError {
    /// Root of the mean over all prefix sums of the variance.
    pub rms: f64,
    /// The greatest.
    pub max: f64,
}

impl PrefixError {
    /// Of a Toeplitz C by the first column of its inverse, whose sums are the coefficients of B.
    fn of_inverse(inverse: &[f64]) -> Self {
        let (mut prefix, mut squares) = (0.0, 0.0);
        Self::of_squares(inverse.iter().map(|d| {
            prefix += d;
            squares += prefix * prefix;
            squares
        }))
    }

    fn of_squares(variances: impl Iterator<Item = f64>) -> Self {
        let (mut count, mut sum, mut most) = (0.0, 0.0, 0.0_f64);
        for variance in variances {
            count += 1.0;
            sum += variance;
            most = most.max(variance);
        }
        Self { rms: if count > 0.0 { (sum / count).sqrt() } else { 0.0 }, max: most.sqrt() }
    }
}

impl Strategy {
    /// What it is called.
    pub fn kind(&self) -> StrategyKind {
        match self {
            Self::Toeplitz(toeplitz) => StrategyKind::Toeplitz { bands: toeplitz.bands() as u64 },
            Self::Tree(tree) => StrategyKind::Tree(*tree),
            Self::Blt(blt) => StrategyKind::Blt { buffers: blt.buffers() as u64 },
        }
    }

    /// The sensitivity under a rule, over its rounds.
    pub fn sensitivity(&self, rule: Participation) -> Sensitivity {
        match self {
            Self::Toeplitz(toeplitz) => toeplitz.sensitivity(rule),
            Self::Tree(tree) => tree.sensitivity(rule),
            Self::Blt(blt) => blt.sensitivity(rule),
        }
    }

    /// The squared sensitivity to the user of a log to whom it is greatest: what happened, and not what might have.
    pub fn squared_of_log(&self, log: &ParticipationLog) -> f64 {
        // Many users were in the same rounds.
        let mut patterns: Vec<&[u32]> = log.patterns().collect();
        patterns.sort_unstable();
        patterns.dedup();
        let squared = |pattern: &[u32]| match self {
            Self::Toeplitz(toeplitz) => toeplitz.squared_of(pattern, log.rounds()),
            Self::Tree(tree) => tree.squared_of(pattern, log.rounds()),
            Self::Blt(blt) => blt.squared_of(pattern, log.rounds()),
        };
        patterns.into_iter().map(squared).fold(0.0, f64::max)
    }

    /// Errors of the prefix sums over `rounds`.
    pub fn error(&self, rounds: u32) -> PrefixError {
        match self {
            Self::Toeplitz(toeplitz) => toeplitz.error(rounds),
            Self::Tree(tree) => tree.error(rounds),
            Self::Blt(blt) => blt.error(rounds),
        }
    }

    /// Errors of the params of a server with momentum: in place of prefix sums, of sums of velocities v <- momentum v + x.
    /// Of Toeplitz strategies and BLTs; none for trees.
    ///
    /// # Errors
    /// [`StrategyError::Momentum`] unless in [0, 1).
    pub fn error_with_momentum(&self, rounds: u32, momentum: f64) -> Result<Option<PrefixError>, StrategyError> {
        if !(0.0..1.0).contains(&momentum) {
            return Err(StrategyError::Momentum { got: momentum });
        }
        let Some(mut columns) = self.inverse(rounds) else { return Ok(None) };
        let mut velocity = 0.0;
        for d in &mut columns {
            velocity = momentum * velocity + *d;
            *d = velocity;
        }
        Ok(Some(PrefixError::of_inverse(&columns)))
    }

    /// Errors of the params of a server whose learning rate in round t is `rates[t]`. Of Toeplitz strategies and BLTs; none
    /// for trees. O(n^2).
    pub fn error_with_rates(&self, rates: &[f64]) -> Option<PrefixError> {
        let inverse = self.inverse(rates.len() as u32)?;
        // Row t of B: B[t, j] = B[t - 1, j] + rate_t d_{t - j}.
        let mut row = vec![0.0; rates.len()];
        Some(PrefixError::of_squares(rates.iter().enumerate().map(|(t, rate)| {
            for (to, d) in row[..=t].iter_mut().zip(inverse[..=t].iter().rev()) {
                *to += rate * d;
            }
            norm_squared(&row[..=t])
        })))
    }

    /// The first column of C^-1; none for trees, whose C is not square.
    pub fn inverse(&self, rounds: u32) -> Option<Vec<f64>> {
        match self {
            Self::Toeplitz(toeplitz) => Some(toeplitz.inverse(rounds)),
            Self::Tree(_) => None,
            Self::Blt(blt) => {
                let mut column = vec![0.0; rounds as usize];
                if let Some(first) = column.first_mut() {
                    *first = 1.0;
                }
                blt.multiply_inverse(&mut column);
                Some(column)
            }
        }
    }
}

impl fmt::Display for StrategyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Toeplitz { bands: 0 | 1 } => f.write_str("independent Gaussian"),
            Self::Toeplitz { bands } => write!(f, "Toeplitz matrix of {bands} bands"),
            Self::Tree(Tree::Binary) => f.write_str("tree aggregation"),
            Self::Tree(Tree::Honaker) => f.write_str("tree aggregation with Honaker's estimate"),
            Self::Blt { buffers: 1 } => f.write_str("BLT of 1 buffer"),
            Self::Blt { buffers } => write!(f, "BLT of {buffers} buffers"),
        }
    }
}

fn norm_squared(vector: &[f64]) -> f64 {
    vector.iter().map(|x| x * x).sum()
}
