//! Noise that is correlated from round to round: the server's state of it, as large as the params that reports carry times
//! the buffers of the strategy ([`siskin_accounting::correlated`] has the theory, the sensitivities and the errors).
//!
//! Every round draws unit normal deviates z, one a coordinate (with Honaker's estimate one a node), makes x = (C^-1 z) of
//! them and the buffers, in f64, and releases `round(sum + zeta x)` in units of `step / 2^16`, `zeta = noise_multiplier *
//! sens(C) * sensitivity of one report`. The sums of what is released over the rounds have the errors of
//! [`Strategy::error`]; what server optimizers make of it is post-processing. Clip norm and step may change between rounds
//! by what was released, because the buffers are in units of the deviates.
//!
//! | noise | x | then |
//! |---|---|---|
//! | BLT | z - sum_j w_j buf_j | buf_j <- th_j buf_j + x |
//! | tree | z - sum of the nodes that round t's node takes in | it takes their place |
//!
//! # Rounds that are given up
//! Such a round releases nothing, but its number is used and the devices' own ledgers have counted it. Its row of the matrix
//! goes by with no reports, and its noise is [owed](CorrelatedNoise::advance): it comes with that of the next round that
//! releases something. So separations in rounds are separations in rows, and prefix sums have the noise that they should.
//!
//! # Masks that move
//! The noise lives on the params that reports carry, not on all. A param that dies is assigned 0 and with it goes the noise
//! that it had gathered; its buffers are forgotten, and if it grows again it starts as in the first round. For that param C
//! becomes block-diagonal, with the columns' inner products at most what they were (C has no negative entries), so that the
//! sensitivity over all coordinates stays below the one that is accounted for, whichever params die and when, as long as
//! masks follow from what was released: the squared shift of the adaptively chosen rows is bounded on every path (Smith &
//! Thakurta 2022, arXiv 2210.17520, "Fully Adaptive Composition for Gaussian Differential Privacy"). RigL, whose probes are
//! not noised, is refused with noise anyway.

use super::{AppliedNoise, Gaussian, NoiseError, NoisedSum};
use crate::aggregate::PromisedSum;
use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};
use siskin::model::sparsity::Bitmap;
use siskin_accounting::correlated::{Blt, MAX_BUFFERS, Participation, Plan, Strategy, StrategyError, Tree};

/// How the server's noise hangs together from round to round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Noise {
    /// Not at all.
    #[default]
    Independent,
    /// Tree aggregation: a model for each of log2(rounds) levels. For reference.
    Tree {
        /// How prefix sums are made of nodes.
        tree: Tree,
        /// What users keep to.
        participation: Participation,
    },
    /// BLT: a model for each buffer.
    Blt {
        /// Its parameters.
        blt: Blt,
        /// What users keep to.
        participation: Participation,
    },
}

impl Noise {
    /// What users keep to, if the noise is made for that.
    pub fn participation(&self) -> Option<Participation> {
        match *self {
            Self::Independent => None,
            Self::Tree { participation, .. } | Self::Blt { participation, .. } => Some(participation),
        }
    }

    /// The accountant's view of it; none for independent noise.
    ///
    /// # Errors
    /// [`StrategyError`] for a noise multiplier that is negative or not a number.
    pub fn plan(&self, noise_multiplier: f64) -> Result<Option<Plan>, StrategyError> {
        let (strategy, participation) = match *self {
            Self::Independent => return Ok(None),
            Self::Tree { tree, participation } => (Strategy::Tree(tree), participation),
            Self::Blt { blt, participation } => (Strategy::Blt(blt), participation),
        };
        Plan::new(strategy, participation, noise_multiplier).map(Some)
    }
}

/// The noise of a run, between two of its rounds.
///
/// Serialises for a server that restarts: whoever goes on with an older state repeats noise, and two releases with the same
/// noise tell their difference. What is read back is checked. It is as secret as the noise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parts", into = "Parts")]
pub struct CorrelatedNoise {
    plan: Plan,
    /// That are over, released or not.
    rounds: u32,
    /// One bit a param of the model, least significant first: those that reports carry.
    mask: Vec<u8>,
    /// Params of the model.
    params: usize,
    /// A buffer of a BLT, or the nodes of a level of the tree; each one finite value a carried param.
    buffers: Vec<Vec<f64>>,
    /// Noise of rounds since the last release: nothing, or one value a carried param.
    owed: Vec<f64>,
}

/// What is written down. Values are the bits of their f64: a text format that rounds them would change the noise.
#[derive(Serialize, Deserialize)]
struct Parts {
    plan: Plan,
    rounds: u32,
    mask: Vec<u8>,
    params: usize,
    buffers: Vec<Vec<u64>>,
    owed: Vec<u64>,
}

/// Why a state of the noise is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// Only trees and BLTs are made round by round.
    #[error("the server makes correlated noise of trees and BLTs only")]
    Strategy,
    /// A mask of another number of params.
    #[error("a mask of {got} bytes for {params} params")]
    Mask {
        /// The model's.
        params: usize,
        /// Bytes given.
        got: usize,
    },
    /// Buffers of another number or size, or values that are not finite.
    #[error("buffers that {rounds} rounds over {carried} params cannot leave")]
    Buffers {
        /// Rounds that are over.
        rounds: u32,
        /// Params that reports carry.
        carried: usize,
    },
}

impl CorrelatedNoise {
    /// Before the first round of a model of `params` params, of which reports carry those in `mask`, one bit each, least
    /// significant first. 8 bytes a carried param and buffer; a tree takes the next level when it comes to it.
    ///
    /// # Errors
    /// [`StateError::Strategy`], [`StateError::Mask`].
    pub fn new(plan: Plan, mask: &[u8], params: usize) -> Result<Self, StateError> {
        let carried = carried(mask, params)?;
        let buffers = match plan.strategy() {
            Strategy::Blt(blt) => vec![vec![0.0; carried]; blt.buffers()],
            Strategy::Tree(_) => Vec::new(),
            _ => return Err(StateError::Strategy),
        };
        Ok(Self { plan, rounds: 0, mask: mask.to_vec(), params, buffers, owed: Vec::new() })
    }

    /// What it is made for.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Rounds that are over.
    pub fn rounds(&self) -> u32 {
        self.rounds
    }

    /// Bytes of buffers.
    pub fn bytes(&self) -> usize {
        size_of::<f64>() * (self.owed.len() + self.buffers.iter().map(Vec::len).sum::<usize>())
    }

    /// Params that reports carry.
    fn carried(&self) -> usize {
        carried(&self.mask, self.params).unwrap_or(0)
    }

    /// From the next round on reports carry the params in `mask`. Those that they carried before keep their buffers, the
    /// others start anew.
    ///
    /// # Errors
    /// [`StateError::Mask`]; nothing has changed then.
    pub fn follow(&mut self, mask: &[u8]) -> Result<(), StateError> {
        carried(mask, self.params)?;
        if mask == self.mask {
            return Ok(());
        }
        let bit = |mask: &[u8], param: usize| mask[param / 8] >> (param % 8) & 1 == 1;
        let moved = |buffer: &mut Vec<f64>| {
            let mut old = std::mem::take(buffer).into_iter();
            for param in 0..self.params {
                let kept = if bit(&self.mask, param) { old.next().unwrap_or(0.0) } else { 0.0 };
                if bit(mask, param) {
                    buffer.push(kept);
                }
            }
        };
        self.buffers.iter_mut().for_each(moved);
        if !self.owed.is_empty() {
            moved(&mut self.owed);
        }
        self.mask = mask.to_vec();
        Ok(())
    }

    /// A round that releases nothing: its noise is owed. Deterministic given the state of `rng`, which must be seeded with
    /// secret entropy and never be used for the same bits twice.
    pub fn advance(&mut self, rng: &mut impl CryptoRng) {
        let mut deviates = Gaussian::new(rng);
        let carried = self.carried();
        let mut noise = std::mem::take(&mut self.owed);
        noise.resize(carried, 0.0);
        match *self.plan.strategy() {
            Strategy::Blt(blt) => blt_round(&blt, &mut self.buffers, &mut deviates, &mut noise),
            Strategy::Tree(tree) => {
                let level = self.rounds.saturating_add(1).trailing_zeros() as usize;
                if self.buffers.len() <= level {
                    self.buffers.resize(level + 1, vec![0.0; carried]);
                }
                tree_round(tree, level, &mut self.buffers, &mut deviates, &mut noise);
            }
            _ => unreachable!("`new` refuses other strategies"),
        }
        self.owed = noise;
        self.rounds = self.rounds.saturating_add(1);
    }
}

/// Adds a round of x to `noise`.
fn blt_round<R: CryptoRng>(blt: &Blt, buffers: &mut [Vec<f64>], deviates: &mut Gaussian<'_, R>, noise: &mut [f64]) {
    for (at, noise) in noise.iter_mut().enumerate() {
        let mut own = [0.0; MAX_BUFFERS];
        for (own, buffer) in own.iter_mut().zip(&*buffers) {
            *own = buffer[at];
        }
        *noise += blt.correlate(&mut own, deviates.sample());
        for (own, buffer) in own.iter().zip(&mut *buffers) {
            buffer[at] = *own;
        }
    }
}

/// Adds a round of x to `noise`: the node of `level` that the round completes takes in those of all levels below.
fn tree_round<R: CryptoRng>(
    tree: Tree,
    level: usize,
    levels: &mut [Vec<f64>],
    deviates: &mut Gaussian<'_, R>,
    noise: &mut [f64],
) {
    let variances: Vec<f64> = (0..=level as u32).map(|level| tree.node_variance(level)).collect();
    for (at, noise) in noise.iter_mut().enumerate() {
        let mut node = deviates.sample();
        let mut taken_in = 0.0;
        for (below, variance) in variances[..level].iter().enumerate() {
            let left = levels[below][at];
            taken_in += left;
            if tree == Tree::Honaker {
                // The node's own noise and that of its halves, weighted by the inverses of their variances, 1 and 2 v.
                let halves = left + node;
                node = variances[below + 1] * (deviates.sample() + halves / (2.0 * variance));
            }
            levels[below][at] = 0.0;
        }
        levels[level][at] = node;
        *noise += node - taken_in;
    }
}

impl PromisedSum {
    /// Adds the noise that the plan promised, correlated with that of the rounds before: as [`noise`](Self::noise) does,
    /// with the standard deviation of the independent deviates `sens(C)` times as large, for the sensitivity to all
    /// rounds of one user. Ends a round of `noise`.
    ///
    /// # Errors
    /// [`NoiseError`]; the sum is gone then, since nothing may be made of it without noise, and so is the round.
    pub fn correlate(self, noise: &mut CorrelatedNoise, rng: &mut impl CryptoRng) -> Result<NoisedSum, NoiseError> {
        let Self { sum, noise: promised } = self;
        noise.advance(rng);
        let (expected, got) = (noise.owed.len(), sum.weighted.len());
        if expected != got {
            return Err(NoiseError::Coordinates { expected, got });
        }
        if promised.get() != noise.plan.noise_multiplier() {
            return Err(NoiseError::Promise { promised: promised.get(), got: noise.plan.noise_multiplier() });
        }
        let plan = *sum.plan();
        let sigma = noise.plan.zeta() * plan.sensitivity();
        let unit = plan.bound.unit();
        let units = sigma / unit;
        let largest = noise.owed.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
        // The sum is below 2^62, so that both together stay below 2^63.
        if units.is_nan() || units * largest.max(10.0) >= (1u64 << 62) as f64 {
            return Err(NoiseError::TooLarge { units });
        }
        let mut values = sum.weighted;
        for (value, x) in values.iter_mut().zip(std::mem::take(&mut noise.owed)) {
            *value += libm::rint(units * x) as i64;
        }
        let applied = AppliedNoise {
            noise_multiplier: promised.get(),
            clip_norm: plan.bound.clip_norm(),
            max_weight: plan.max_weight.get(),
            sigma,
            coordinates: values.len(),
        };
        Ok(NoisedSum { values, unit, applied })
    }
}

fn carried(mask: &[u8], params: usize) -> Result<usize, StateError> {
    let bits = Bitmap::new(mask, params).map_err(|_| StateError::Mask { params, got: mask.len() })?;
    Ok(bits.count())
}

impl From<CorrelatedNoise> for Parts {
    fn from(noise: CorrelatedNoise) -> Self {
        let bits = |values: Vec<f64>| values.into_iter().map(f64::to_bits).collect();
        let CorrelatedNoise { plan, rounds, mask, params, buffers, owed } = noise;
        Self { plan, rounds, mask, params, buffers: buffers.into_iter().map(bits).collect(), owed: bits(owed) }
    }
}

impl TryFrom<Parts> for CorrelatedNoise {
    type Error = StateError;

    fn try_from(parts: Parts) -> Result<Self, StateError> {
        let values = |bits: Vec<u64>| bits.into_iter().map(f64::from_bits).collect::<Vec<f64>>();
        let Parts { plan, rounds, mask, params, buffers, owed } = parts;
        let (buffers, owed): (Vec<Vec<f64>>, _) = (buffers.into_iter().map(values).collect(), values(owed));
        let empty = Self::new(plan, &mask, params)?;
        let carried = empty.carried();
        let expected = match empty.plan.strategy() {
            Strategy::Tree(_) => Tree::levels(rounds) as usize,
            _ => empty.buffers.len(),
        };
        let whole = |buffer: &Vec<f64>| buffer.len() == carried && buffer.iter().all(|x| x.is_finite());
        let owed_or_not = owed.is_empty() || whole(&owed);
        if buffers.len() != expected || !buffers.iter().all(whole) || !owed_or_not {
            return Err(StateError::Buffers { rounds, carried });
        }
        Ok(Self { rounds, buffers, owed, ..empty })
    }
}

#[cfg(test)]
mod tests;
