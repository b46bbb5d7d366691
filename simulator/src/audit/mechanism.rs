//! What is audited: a mechanism makes a claim, takes devices' updates and lets something out.
//!
//! [`Real`](super::Real) is the path of a run. The mutation tests build broken ones from the public parts of the server and
//! the sdk; whatever comes later (another profile, noise that is correlated over rounds) is one more [`Mechanism`].

use super::AuditError;
use super::law::Law;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use siskin::checkin::{Distributed, Profile, ShareNoise};
use siskin_accounting::correlated::{Blt, Participation, Tree};
use siskin_accounting::{Adjacency, analytic};
use std::sync::Arc;

/// What a mechanism promises, and what the audit holds it to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// Params of a report.
    pub coordinates: usize,
    /// L2 bound of one report, in units of the params.
    pub clip_norm: f32,
    /// Standard deviation of the noise in the sum of a round, over `clip_norm`.
    pub noise_multiplier: f32,
    /// What the noised sum is divided by, fixed before the round.
    pub cohort: u32,
    /// Rounds that are planned.
    pub rounds: u32,
    /// Rounds in which one device counts, at most.
    pub participations: u32,
    /// Distance of two grid points of a report.
    pub step: f32,
    /// The dp_delta at which epsilon is stated.
    pub dp_delta: f64,
    /// How the noise of one round depends on that of others.
    pub over_rounds: OverRounds,
    /// Who adds the noise. Where devices do, `noise_multiplier` is that of each report (local) or of as many as the profile
    /// has shares.
    pub profile: Profile,
}

/// How the noise of a round depends on that of the rounds before it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OverRounds {
    /// Fresh in each round.
    Independent,
    /// `C^-1 z` with fresh `z`, whose deviation is `noise_multiplier * clip_norm` times the sensitivity of `C` under the rule.
    Blt {
        /// Which makes `C`.
        blt: Blt,
        /// Who may take part when.
        participation: Participation,
    },
    /// Noise of a tree's nodes, whose deviation is `noise_multiplier * clip_norm` times the sensitivity of the tree under the rule.
    Tree {
        /// How prefix sums are made of nodes.
        tree: Tree,
        /// Who may take part when.
        participation: Participation,
    },
}

impl OverRounds {
    /// The lower triangle that makes independent deviates of the noise of so many rounds, row by row with the newest round first; none where
    /// they are. Of a BLT it is `C`, of a tree the inverse of a root of the covariance.
    pub fn whitening(&self, rounds: u32) -> Option<Vec<Vec<f64>>> {
        match self {
            Self::Independent => None,
            Self::Blt { blt, .. } => {
                let toeplitz = blt.toeplitz(rounds);
                Some((1..=rounds as usize).map(|row| toeplitz.coefs()[..row].to_vec()).collect())
            }
            Self::Tree { tree, .. } => Some(super::tree::whitening(*tree, rounds)),
        }
    }

    /// What a device keeps to, where the noise is made for that.
    pub fn participation(&self) -> Option<Participation> {
        match *self {
            Self::Independent => None,
            Self::Blt { participation, .. } | Self::Tree { participation, .. } => Some(participation),
        }
    }

    /// The sensitivity of `C` in clip norms.
    fn sensitivity(&self) -> f64 {
        match self {
            Self::Independent => 1.0,
            Self::Blt { blt, participation } => blt.sensitivity(*participation).get(),
            Self::Tree { tree, participation } => tree.sensitivity(*participation).get(),
        }
    }
}

impl Claim {
    /// Standard deviation of the fresh noise on a coordinate of the sum of so many reports, in units of the params.
    pub fn sigma(&self, reports: u32) -> f64 {
        let whole = self.over_rounds.sensitivity() * f64::from(self.noise_multiplier) * f64::from(self.clip_norm);
        match self.shares() {
            None => whole,
            Some(shares) => whole * (f64::from(reports) / f64::from(shares)).sqrt(),
        }
    }

    /// Reports whose noise together is what is promised; none where the server adds it.
    fn shares(&self) -> Option<u32> {
        match self.profile {
            Profile::Central => None,
            Profile::Local => Some(1),
            Profile::Distributed(distributed) => Some(distributed.shares),
        }
    }

    /// The same with so many shares, if the noise is shared.
    #[must_use]
    pub fn with_shares(self, shares: u32) -> Self {
        let profile = match self.profile {
            Profile::Distributed(distributed) => {
                Profile::Distributed(Distributed { shares: shares.max(1), ..distributed })
            }
            other => other,
        };
        Self { profile, ..self }
    }

    /// The law of what a device adds to a symbol; none where the server adds the noise.
    pub fn device_law(&self) -> Option<Law> {
        self.shares()?;
        let variance = (self.sigma(1) / f64::from(self.step)).powi(2);
        Some(match self.profile {
            Profile::Distributed(Distributed { noise: ShareNoise::Skellam, .. }) => Law::Skellam { variance },
            _ => Law::DiscreteGaussian { variance },
        })
    }

    /// Variance of the noise in the sum of all rounds of so many reports, in clip norms.
    pub fn variance_of_all(&self, reports: u32) -> f64 {
        let each = (self.sigma(reports) / f64::from(self.clip_norm)).powi(2);
        let rounds = match &self.over_rounds {
            OverRounds::Independent => f64::from(self.rounds),
            // The variance of a prefix sum only grows, so that the greatest is the last.
            OverRounds::Blt { blt, .. } => blt.error(self.rounds).max.powi(2),
            OverRounds::Tree { tree, .. } => super::tree::variance_of_all(*tree, self.rounds),
        };
        each * rounds
    }

    /// The rounds, from 0, in which a device that comes as often as it may takes part.
    pub fn schedule(&self) -> Vec<u32> {
        match self.over_rounds.participation() {
            None => (0..self.rounds.min(self.participations)).collect(),
            Some(participation) => participation.earliest().collect(),
        }
    }

    /// The epsilon that the claim amounts to without sampling: one Gaussian, exactly.
    ///
    /// # Errors
    /// [`AuditError::Accounting`] for noise or a dp_delta outside its range.
    pub fn epsilon(&self) -> Result<f64, AuditError> {
        let times = match self.over_rounds {
            OverRounds::Independent => u64::from(self.participations.min(self.rounds)),
            // The sensitivity of C covers all participations.
            OverRounds::Blt { .. } | OverRounds::Tree { .. } => 1,
        };
        let mu = analytic::mu(Adjacency::ZeroOut, f64::from(self.noise_multiplier), times)?;
        Ok(analytic::epsilon(mu, self.dp_delta)?)
    }
}

/// A device of a cohort.
#[derive(Clone, Debug)]
pub struct Device {
    /// Who it is, in all rounds.
    pub number: u64,
    /// What its training comes to.
    pub update: Update,
}

/// The delta that a device has before anything is done for privacy.
#[derive(Clone, Debug)]
pub enum Update {
    /// All zero.
    Zero,
    /// [`LOUD`] clip norms along the canary of this seed, so that it is clipped to its bound exactly.
    Canary(u64),
    /// Of a device like any other, from this seed: a direction that all of them share in part, clipped more often than not.
    Ordinary(u64),
    /// Whatever numbers.
    Raw(Arc<[f32]>),
    /// A device that does not follow the plan: these symbols are in its report, not clipped.
    Forged(Arc<[i32]>),
}

/// Norm of a canary's delta before it is clipped, in clip norms.
pub const LOUD: f32 = 16.0;

impl Update {
    /// The delta for a claim; none for a report that is forged.
    pub fn delta(&self, claim: &Claim) -> Option<Vec<f32>> {
        let mut delta = vec![0.0; claim.coordinates];
        match self {
            Self::Zero => {}
            Self::Canary(seed) => {
                canary(*seed, &mut delta);
                scale(&mut delta, LOUD * claim.clip_norm);
            }
            Self::Ordinary(seed) => {
                canary(*seed, &mut delta);
                let mut shared = vec![0.0; claim.coordinates];
                canary(SHARED, &mut shared);
                // Norms between a half and three and a half clip norms.
                let norm = claim.clip_norm
                    * (0.5 + 3.0 * ((seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as f32 / 16_777_216.0));
                for (own, shared) in delta.iter_mut().zip(shared) {
                    *own = norm * (0.95 * *own + 0.3 * shared);
                }
            }
            Self::Raw(values) => delta.copy_from_slice(values),
            Self::Forged(_) => return None,
        }
        Some(delta)
    }
}

/// The seed of the direction that ordinary devices share.
const SHARED: u64 = u64::MAX;

/// Fills `out` with the unit vector of `seed`: independent coordinates, each the centred sum of four random bytes, then
/// scaled to norm 1. In thousands of dimensions its direction is as good as uniform: what an audit uses of it is its
/// product with vectors that do not depend on it, and that is normal with variance `1/d` (a sum of many bounded terms).
pub fn canary(seed: u64, out: &mut [f32]) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut squares = 0u64;
    for value in out.iter_mut() {
        let centred = rng.next_u32().to_le_bytes().iter().map(|b| i32::from(*b)).sum::<i32>() - 510;
        squares += u64::from(centred.unsigned_abs()).pow(2);
        *value = centred as f32;
    }
    if squares > 0 {
        scale(out, (1.0 / (squares as f64).sqrt()) as f32);
    }
}

fn scale(values: &mut [f32], factor: f32) {
    for value in values {
        *value *= factor;
    }
}

/// Integers before the noise.
#[derive(Clone, Debug, PartialEq)]
pub struct Integers {
    /// The sum, a number a coordinate.
    pub sum: Vec<i64>,
    /// One of it in units of the params.
    pub unit: f64,
}

/// A way from updates to what is released.
pub trait Mechanism: Sync {
    /// What it is called in a report.
    fn name(&self) -> String;

    /// Starts it for a claim. All its noise comes from `seed`, and does not depend on who takes part.
    ///
    /// # Errors
    /// [`AuditError`] if the claim makes no sense to it.
    fn start(&self, claim: &Claim, seed: u64) -> Result<Box<dyn Run>, AuditError>;
}

/// A mechanism at work, from round to round.
pub trait Run {
    /// Runs one round with these devices and gives all that it lets out: the mean delta. A device that is listed twice
    /// sends its report twice.
    ///
    /// # Errors
    /// [`AuditError`] if the round fails.
    fn round(&mut self, devices: &[Device]) -> Result<Vec<f64>, AuditError>;

    /// The sum before the noise, if this round had these devices; it counts for nothing.
    ///
    /// # Errors
    /// [`AuditError`] if the round fails.
    fn integers(&mut self, devices: &[Device]) -> Result<Integers, AuditError>;

    /// The symbols of each device's report, if this round had these devices; it counts for nothing.
    ///
    /// # Errors
    /// [`AuditError`] if the round fails.
    fn reports(&mut self, devices: &[Device]) -> Result<Vec<Vec<i32>>, AuditError>;

    /// The epsilon that is stated after the rounds so far.
    ///
    /// # Errors
    /// [`AuditError`] if nothing can be stated.
    fn epsilon(&self) -> Result<f64, AuditError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canaries_are_unit_vectors_and_nearly_orthogonal() {
        let d = 4096;
        let [mut a, mut b] = [vec![0.0; d], vec![0.0; d]];
        canary(1, &mut a);
        canary(2, &mut b);
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
        assert!((dot(&a, &a) - 1.0).abs() < 1e-5 && (dot(&b, &b) - 1.0).abs() < 1e-5);
        // Five deviations of 1 / sqrt(d).
        assert!(dot(&a, &b).abs() < 5.0 / 64.0);
    }
}
