//! How the mask comes about, before the first round and from round to round.
//!
//! | algorithm | before the first round | at an update |
//! |---|---|---|
//! | magnitude, global magnitude | at once if `end <= start`, else dense | the largest params live |
//! | saliency, global saliency | dense | the largest products of param and mean delta live |
//! | static | a random mask | never |
//! | SET | a random mask | the smallest params die, random ones grow |
//! | RigL | a random mask | the smallest die, those grow whose gradient devices find largest |
//!
//! Updates are at the rounds from `start` to `end` that are multiples of `every`; the sparsity of the first four rises to its
//! target meanwhile as a cubic (Zhu and Gupta 2017, arXiv 1710.01878), how much SET and RigL replace falls to nothing as a
//! cosine. An update is made of the params after the round's step, and of the mean delta of that round, which carries the
//! round's noise: nothing is learned from devices beyond what the round released. But for RigL: in the round before an update
//! its plan asks each device for a growth probe ([`Upload::probe`](siskin::checkin::Upload::probe)), which no noise covers;
//! with noise it is refused, and [`Algorithm::Set`] is what moves a mask.
//!
//! RigL's gradient here is the sum over devices of the levels of their probes, integers from 1 to 255: exact, and in any order
//! the same. (Ranked as f32, so that sums beyond 2^24, of more than 65,793 devices, that differ by less than one part in 2^24
//! count as equal.) What no probe names does not grow; the live params that an update freed stay, by magnitude, where fewer
//! are named than were freed.
//!
//! SET and RigL move blocks as one where the sparsity type says blocks: by the pooled absolute values of their params, and the
//! sum of the levels of their entries.
//!
//! The sdk's [`sparsity`](siskin::model::sparsity) documents each algorithm. The rules here: only matrices are pruned, those of
//! frozen layers too, but not those of adapters ([`GlobalModel::with_whole_layers`]); at least one weight of each lives (a global ranking gives a matrix that lost all its best one back); a
//! matrix that N:M groups do not divide stays whole; blocks, channels and groups are of the matrix `[rows, columns]` that
//! the kernels run over.

use super::model::{GlobalModel, Matrix, ModelError, bitmap};
use super::settings::{SettingsError, within};
use super::units::Units;
use serde::{Deserialize, Serialize};
use siskin::checkin::MAX_PROBE;
use siskin::model::sparsity::{
    Bitmap, BitmapMut, Distribution, Draw, DropFraction, GlobalTensor, Schedule, Scores, SparsityError, SparsityType,
    TensorShape, bitmap_bytes, distribute, global_mask, random_scores,
};

/// How the mask is made. As a setting's value it is one of [`Algorithm::NAMES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Algorithm {
    /// `|w|`, a ranking for each layer.
    Magnitude,
    /// `|w|` over the norm of its layer, one ranking over all layers.
    GlobalMagnitude,
    /// `|w * mean delta|`, a ranking for each layer.
    Saliency,
    /// `|w * mean delta|` over the norm of its layer, one ranking over all layers.
    GlobalSaliency,
    /// A random mask that stays.
    Static,
    /// Sparse evolutionary training (Mocanu et al. 2018).
    Set,
    /// RigL (Evci et al. 2020); asks devices for a growth probe.
    RigL,
}

impl Algorithm {
    /// The name of each, as a setting's value.
    pub const NAMES: [(&'static str, Self); 7] = [
        ("magnitude", Self::Magnitude),
        ("global-magnitude", Self::GlobalMagnitude),
        ("saliency", Self::Saliency),
        ("global-saliency", Self::GlobalSaliency),
        ("static", Self::Static),
        ("set", Self::Set),
        ("rigl", Self::RigL),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::NAMES.into_iter().find(|(_, a)| *a == self).map_or("", |(name, _)| name)
    }

    /// One ranking over all layers.
    pub const fn is_global(self) -> bool {
        matches!(self, Self::GlobalMagnitude | Self::GlobalSaliency)
    }

    /// Asks for the change of a round.
    pub const fn uses_delta(self) -> bool {
        matches!(self, Self::Saliency | Self::GlobalSaliency)
    }

    /// A mask that keeps its number of params and moves.
    pub const fn moves(self) -> bool {
        matches!(self, Self::Set | Self::RigL)
    }

    /// Sparse from the first round on, at random.
    pub const fn begins_random(self) -> bool {
        matches!(self, Self::Static) || self.moves()
    }
}

impl From<Algorithm> for String {
    fn from(algorithm: Algorithm) -> Self {
        algorithm.name().to_owned()
    }
}

impl TryFrom<String> for Algorithm {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        Self::NAMES.into_iter().find(|(n, _)| *n == name).map(|(_, a)| a).ok_or_else(|| {
            let names: Vec<_> = Self::NAMES.iter().map(|(n, _)| format!("`{n}`")).collect();
            format!("no such way to prune; it must be one of {}", names.join(", "))
        })
    }
}

/// What is pruned, how and when.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pruning {
    /// How the mask is made.
    pub algorithm: Algorithm,
    /// How the sparsity is shared out over the layers; one ranking over all of them has none.
    pub distribution: Distribution,
    /// What lives or dies together. Global rankings are unstructured, masks that move are so or in blocks. N:M groups have
    /// their own density, whatever `sparsity` says (unless it is 0). Fully connected layers in blocks of four outputs by one
    /// input (or of whole numbers of these) run over loops of their own where their outputs divide by four.
    pub kind: SparsityType,
    /// Fraction of **all** params that is zero in the end. Biases are never pruned, so the weights carry it. Layers that pruning
    /// [leaves alone](GlobalModel::with_whole_layers) do not count.
    pub sparsity: f32,
    /// First round of the updates.
    pub start: u32,
    /// Their last; where it is not after `start`, magnitude prunes at once, before the first round.
    pub end: u32,
    /// A new mask every so many rounds.
    pub every: u32,
    /// Part of the live params that a mask which moves replaces at its first update; it falls as half a cosine to 0 at
    /// `end`.
    pub drop_fraction: f32,
    /// Of random masks.
    pub seed: u64,
    /// Weights denser than this run through the dense loops; `None`: than the measured
    /// [`crossover`](siskin::checkin::Path::crossover) of their layer and batch.
    pub crossover: Option<f32>,
    /// The masks that the server remembers, of the last rounds in which they changed: devices that kept one of them download
    /// what changed since, where that is shorter. Each takes a bit a weight, and while a round is open that a device with
    /// it takes part in, twice the bytes of a checkpoint. With 0 everybody downloads whole masks.
    pub remembered: u32,
}

impl Pruning {
    /// Magnitude before the first round, uniform over the layers; the measured crossover chooses the loops.
    pub const fn at_once(sparsity: f32) -> Self {
        Self {
            algorithm: Algorithm::Magnitude,
            distribution: Distribution::Uniform,
            kind: SparsityType::Unstructured,
            sparsity,
            start: 0,
            end: 0,
            every: 1,
            drop_fraction: siskin::model::sparsity::SET_DROP_FRACTION,
            seed: 0,
            crossover: None,
            remembered: 8,
        }
    }

    /// Checks every number, and that they go together.
    ///
    /// # Errors
    /// [`SettingsError`] names the setting and its range.
    pub fn check(&self) -> Result<(), SettingsError> {
        within("sparsity", f64::from(self.sparsity), 0.0, 0.999)?;
        within("pruning crossover", f64::from(self.crossover.unwrap_or(0.0)), 0.0, 1.0)?;
        within("pruning interval", f64::from(self.every), 1.0, 1e9)?;
        within("end of pruning", f64::from(self.end), f64::from(self.start), 1e9)?;
        within("drop fraction", f64::from(self.drop_fraction), 0.0, 1.0)?;
        within("remembered masks", f64::from(self.remembered), 0.0, 1000.0)?;
        let refuse = |name, got, range: &str| Err(SettingsError { name, got, range: range.to_owned() });
        if (self.algorithm.uses_delta() || self.algorithm.moves()) && self.end <= self.start {
            let range = format!("above its start {}: this algorithm makes its mask while the model learns", self.start);
            return refuse("end of pruning", f64::from(self.end), &range);
        }
        let structured = self.kind != SparsityType::Unstructured;
        let blocks = matches!(self.kind, SparsityType::Block { .. });
        if structured && (self.algorithm.is_global() || (self.algorithm.moves() && !blocks)) {
            let range =
                "unstructured (0): one ranking over all layers knows no other, masks that move only blocks besides";
            return refuse("sparsity type", 1.0, range);
        }
        match self.kind {
            SparsityType::NOfM { n, m, .. } if n == 0 || n > m => {
                refuse("n of n:m sparsity", f64::from(n), &format!("from 1 to {m}"))
            }
            SparsityType::Block { rows, cols, .. } if rows == 0 || cols == 0 => {
                refuse("side of a block", 0.0, "at least 1")
            }
            _ => Ok(()),
        }
    }

    /// Entries of each matrix that the plan of `round` asks devices for: as many as the next update replaces in the largest of
    /// them, 0 if none follows that needs any.
    pub fn probe(&self, model: &GlobalModel, round: u32) -> u32 {
        let next = round.saturating_add(1);
        if self.algorithm != Algorithm::RigL || !self.schedule().is_update(next) {
            return 0;
        }
        let fraction = f64::from(self.replaced(next));
        let live = |m: &Matrix| model.live_bits()[m.start..m.start + m.size()].iter().filter(|l| **l).count();
        let freed = model.matrices().iter().map(|m| (live(m) as f64 * fraction).ceil() as u32).max();
        freed.unwrap_or(0).min(MAX_PROBE)
    }

    /// Params of `model` that live once the mask has its final sparsity.
    ///
    /// # Errors
    /// [`ModelError`] if the weights cannot carry it.
    pub fn final_carried(&self, model: &GlobalModel) -> Result<usize, ModelError> {
        let mut model = model.clone();
        if self.algorithm.begins_random() {
            model.mask_at_random(self)?;
        } else {
            // The number does not depend on the scores.
            model.mask_by_scores(self, self.sparsity, |params, i| params[i].abs())?;
        }
        Ok(model.carried())
    }

    /// Gives `model` the mask of the first round.
    pub(super) fn begin(&self, model: &mut GlobalModel) -> Result<(), ModelError> {
        if self.algorithm.begins_random() {
            return model.mask_at_random(self);
        }
        if self.end <= self.start {
            model.mask_by_scores(self, self.sparsity, |params, i| params[i].abs())?;
        }
        Ok(())
    }

    fn schedule(&self) -> Schedule {
        let schedule = if self.algorithm == Algorithm::Static || self.end <= self.start {
            Schedule::never(self.sparsity)
        } else if self.algorithm.moves() {
            Schedule::periodic(self.sparsity, self.every, self.start, Some(self.end))
        } else {
            Schedule::polynomial(self.sparsity, self.every, self.start, self.end, 3)
        };
        schedule.unwrap_or_else(|e| unreachable!("checked when the server was made: {e}"))
    }

    /// Part of the live params that an update before `round` replaces.
    fn replaced(&self, round: u32) -> f32 {
        DropFraction::cosine(self.drop_fraction, self.end).map_or(0.0, |fraction| fraction.at(round))
    }

    /// Makes the mask anew before `round`, if it is due; of the round before, if it stepped, `delta` is the mean delta, and
    /// `growth` the sum of the levels of its probes, both dense and in flat order. True if a mask was made.
    pub(super) fn update(
        &self,
        model: &mut GlobalModel,
        round: u32,
        delta: Option<&[f32]>,
        growth: Option<&[u64]>,
    ) -> Result<bool, ModelError> {
        let schedule = self.schedule();
        if !schedule.is_update(round) {
            return Ok(false);
        }
        let sparsity = schedule.sparsity(round);
        match self.algorithm {
            Algorithm::Static => return Ok(false),
            Algorithm::Magnitude | Algorithm::GlobalMagnitude => {
                model.mask_by_scores(self, sparsity, |params, i| params[i].abs())?;
            }
            Algorithm::Saliency | Algorithm::GlobalSaliency => {
                // A round that was given up says nothing; the next update makes up for it.
                let Some(delta) = delta else { return Ok(false) };
                model.mask_by_scores(self, sparsity, |params, i| (params[i] * delta[i]).abs())?;
            }
            Algorithm::Set => {
                let fraction = self.replaced(round);
                model.each_mask(|index, matrix, params, old, scratch, new| {
                    let units = Units::new(self.kind, matrix);
                    let draw = Draw { seed: self.seed, tensor: index as u32, step: round };
                    let grow = random_scores(units.count(), draw, None)?;
                    units.drop_and_grow(&units.magnitudes(params), &grow, fraction, old, scratch, new)
                })?;
            }
            Algorithm::RigL => {
                let Some(growth) = growth else { return Ok(false) };
                let fraction = self.replaced(round);
                model.each_mask(|_, matrix, params, old, scratch, new| {
                    let units = Units::new(self.kind, matrix);
                    let (keep, lived) = (units.magnitudes(params), units.live(old));
                    let named = units.sums(&growth[matrix.start..][..matrix.size()]);
                    let largest = keep.iter().fold(f32::MIN_POSITIVE, |most, w| most.max(*w));
                    // Those named first, from 1; then what was freed, from 0 to 1/2; what nobody named last.
                    let grow = Scores::new(units.count(), |i| match (named[i], lived[i]) {
                        (_, true) => 0.5 * (keep[i] / largest),
                        (0, _) => -1.0,
                        (sum, _) => sum as f32,
                    });
                    units.drop_and_grow(&keep, &grow, fraction, old, scratch, new)
                })?;
            }
        }
        Ok(true)
    }
}

impl GlobalModel {
    /// Masks every weight by magnitude (uniform distribution over layers) so that `sparsity` of **all** params is zero,
    /// biases counted in but never pruned. Returns the number of params that live.
    ///
    /// # Errors
    /// [`ModelError::Sparsity`] if the weights cannot carry it.
    pub fn prune(&mut self, sparsity: f32) -> Result<usize, ModelError> {
        self.mask_by_scores(&Pruning::at_once(sparsity), sparsity, |params, i| params[i].abs())?;
        Ok(self.live())
    }

    /// The sparsity of the weights at which `sparsity` of all params is zero. Each of `rankings` rounds its number of live
    /// weights by up to a half: never below what was asked for.
    fn of_weights(&self, matrices: &[Matrix], sparsity: f32, rankings: usize) -> f64 {
        let weights: usize = matrices.iter().map(Matrix::size).sum();
        if sparsity == 0.0 || weights == 0 {
            return 0.0;
        }
        let rounding = rankings as f64 / 2.0 + 0.5;
        ((f64::from(sparsity) * self.counted() as f64 + rounding) / weights as f64).min(1.0)
    }

    /// The sparsity of each matrix.
    fn shares(&self, matrices: &[Matrix], pruning: &Pruning, sparsity: f32) -> Result<Vec<f32>, ModelError> {
        let of_weights = self.of_weights(matrices, sparsity, matrices.len());
        let shapes: Vec<_> = matrices.iter().map(|m| TensorShape { shape: &m.axes, custom: None }).collect();
        let mut shares = vec![None; matrices.len()];
        distribute(pruning.distribution, &shapes, of_weights, &mut shares)?;
        Ok(shares.into_iter().map(|share| share.unwrap_or(0.0) as f32).collect())
    }

    /// The weights with the highest scores live; `score` maps all params and an index in flat order to one.
    fn mask_by_scores(
        &mut self,
        pruning: &Pruning,
        sparsity: f32,
        score: impl Fn(&[f32], usize) -> f32,
    ) -> Result<(), ModelError> {
        let matrices = self.matrices();
        if pruning.algorithm.is_global() {
            return self.mask_together(&matrices, sparsity, score);
        }
        let shares = self.shares(&matrices, pruning, sparsity)?;
        let params = self.params().to_vec();
        self.each_mask(|index, matrix, _, _, scratch, new| {
            let scores = Scores::new(matrix.size(), |i| score(&params, matrix.start + i));
            structured(pruning.kind, &scores, matrix, shares[index], scratch, new)
        })
    }

    /// One ranking over all matrices.
    fn mask_together(
        &mut self,
        matrices: &[Matrix],
        sparsity: f32,
        score: impl Fn(&[f32], usize) -> f32,
    ) -> Result<(), ModelError> {
        let of_weights = self.of_weights(matrices, sparsity, 1) as f32;
        let params = self.params().to_vec();
        let of = |start: usize, i: usize| score(&params, start + i);
        let mut bits: Vec<Vec<u8>> = matrices.iter().map(|m| vec![0; bitmap_bytes(m.size())]).collect();
        let mut scratch = vec![0; matrices.iter().map(Matrix::size).sum()];
        let of = &of;
        let ranked: Result<Vec<_>, SparsityError> = matrices
            .iter()
            .zip(&mut bits)
            .map(|(m, bits)| {
                let start = m.start;
                GlobalTensor::new(Scores::new(m.size(), move |i| of(start, i)), writable(bits, m.size()))
            })
            .collect();
        global_mask(&mut ranked?, true, of_weights, &mut scratch)?;
        for (matrix, bits) in matrices.iter().zip(&mut bits) {
            if bits.iter().all(|byte| *byte == 0) {
                let best =
                    (0..matrix.size()).rev().max_by(|a, b| of(matrix.start, *a).total_cmp(&of(matrix.start, *b)));
                writable(bits, matrix.size()).set(best.unwrap_or(0), true);
            }
            self.set_live(matrix, writable(bits, matrix.size()).as_bitmap());
        }
        Ok(())
    }

    fn mask_at_random(&mut self, pruning: &Pruning) -> Result<(), ModelError> {
        let shares = self.shares(&self.matrices(), pruning, pruning.sparsity)?;
        self.each_mask(|index, matrix, _, _, scratch, new| {
            let draw = Draw { seed: pruning.seed, tensor: index as u32, step: 0 };
            let scores = random_scores(matrix.size(), draw, None)?;
            structured(pruning.kind, &scores, matrix, shares[index], scratch, new)
        })
    }

    /// Gives every matrix the mask that `make` writes from index, matrix, params and mask so far; a scratch of one word a
    /// param and some more is lent.
    fn each_mask(
        &mut self,
        mut make: impl FnMut(
            usize,
            &Matrix,
            &[f32],
            Bitmap<'_>,
            &mut Vec<u32>,
            &mut BitmapMut<'_>,
        ) -> Result<(), SparsityError>,
    ) -> Result<(), ModelError> {
        let mut scratch = Vec::new();
        for (index, matrix) in self.matrices().iter().enumerate() {
            let range = matrix.start..matrix.start + matrix.size();
            let old = bitmap(&self.live_bits()[range.clone()]);
            let mut bits = vec![0; old.len()];
            let mut new = writable(&mut bits, matrix.size());
            let Ok(old) = Bitmap::new(&old, matrix.size()) else { unreachable!("made of as many bits") };
            scratch.resize(matrix.size(), 0);
            make(index, matrix, &self.params()[range], old, &mut scratch, &mut new)?;
            self.set_live(matrix, new.as_bitmap());
        }
        Ok(())
    }
}

/// The mask of one matrix; whole where N:M groups do not divide it.
fn structured<F: Fn(usize) -> f32>(
    kind: SparsityType,
    scores: &Scores<F>,
    matrix: &Matrix,
    sparsity: f32,
    scratch: &mut Vec<u32>,
    mask: &mut BitmapMut<'_>,
) -> Result<(), SparsityError> {
    let shape = [matrix.rows, matrix.cols];
    match kind.scratch_len(&shape) {
        Err(SparsityError::NotDivisible { .. }) => mask.fill(true),
        words => {
            scratch.resize(words?, 0);
            kind.mask(scores, &shape, sparsity, scratch, mask)?;
        }
    }
    Ok(())
}

fn writable(bits: &mut [u8], len: usize) -> BitmapMut<'_> {
    match BitmapMut::new(bits, len) {
        Ok(mask) => mask,
        Err(_) => unreachable!("made for as many bits"),
    }
}
