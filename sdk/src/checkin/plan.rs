//! The plan: what a device computes in one round, as the server sends it.

use super::{Loss, ModelSpec, Population, Privacy, Profile, parts};
use crate::model::Graph;
use crate::privacy::sample::DeviationError;
use crate::privacy::{GridBound, GridBoundError, rotated_len};
use crate::quantize::rotated::count;
use crate::range_coder::MAX_START;
use crate::wire::{Reader, WireError};
use serde::{Deserialize, Serialize};

/// Everything that a device needs to know to take part in a round, but the parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The learning problem.
    pub population: Population,
    /// Number of the round, counted from 0.
    pub round: u32,
    /// The network.
    pub model: ModelSpec,
    /// How it is trained.
    pub training: Training,
    /// How the change is bounded and noised.
    pub privacy: Privacy,
    /// How it is put on a grid.
    pub quantization: Quantization,
    /// How it is sent.
    pub upload: Upload,
    /// How the values of the checkpoint come.
    pub values: Values,
}

/// Local training.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// Passes over the local examples, at least 1.
    pub epochs: u16,
    /// Examples a step, at least 1.
    pub batch: u16,
    /// A device with more examples trains on this many of them, drawn once a round.
    pub max_examples: u32,
    /// Step size at its highest.
    pub learning_rate: f32,
    /// How the step size changes over the steps of one round.
    pub schedule: RateSchedule,
    /// How a gradient becomes a step.
    pub optimizer: ClientOptimizer,
    /// Coefficient of the weight decay; 0 is off. Added to the gradient, except where the optimizer decouples it.
    pub weight_decay: f32,
    /// Coefficient of the proximal term `mu / 2 * ||w - w_global||^2` (FedProx, Li et al. 2020, eq. 2); 0 is off.
    pub proximal: f32,
}

impl Training {
    /// Plain stochastic gradient descent over all examples.
    pub const fn sgd(epochs: u16, batch: u16, learning_rate: f32) -> Self {
        Self {
            epochs,
            batch,
            max_examples: u32::MAX,
            learning_rate,
            schedule: RateSchedule::Constant,
            optimizer: ClientOptimizer::Sgd { momentum: 0.0, nesterov: false },
            weight_decay: 0.0,
            proximal: 0.0,
        }
    }
}

/// How a gradient becomes a step of local training.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum ClientOptimizer {
    /// Stochastic gradient descent: `v = momentum * v + g`, `w -= rate * v` (or `rate * (g + momentum * v)`).
    Sgd {
        /// In `[0, 1)`; 0 needs no velocity in memory.
        momentum: f32,
        /// Nesterov's way.
        nesterov: bool,
    },
    /// Adam (Kingma and Ba 2015, algorithm 1), with bias correction; two moments in memory, zero at the start of a round.
    Adam {
        /// Decay of the first moment, in `[0, 1)`.
        beta1: f32,
        /// Decay of the second moment, in `[0, 1)`.
        beta2: f32,
        /// Added to the root of the second moment, above 0.
        epsilon: f32,
        /// Weight decay shrinks the weights before the step instead of joining the gradient (AdamW, Loshchilov and Hutter 2019).
        decoupled: bool,
    },
}

impl ClientOptimizer {
    /// Adam with the usual numbers: 0.9, 0.999, 1e-8.
    pub const ADAM: Self = Self::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, decoupled: false };
    /// AdamW with the same numbers.
    pub const ADAMW: Self = Self::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, decoupled: true };

    /// Numbers that it keeps for each parameter.
    pub const fn moments(&self) -> usize {
        match self {
            Self::Sgd { momentum, .. } if *momentum == 0.0 => 0,
            Self::Sgd { .. } => 1,
            Self::Adam { .. } => 2,
        }
    }
}

/// The step size over the steps of one round, as a factor of the learning rate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum RateSchedule {
    /// 1.
    Constant,
    /// From 1 at the first step in a straight line to `end` at the last.
    Linear {
        /// In `[0, 1]`.
        end: f32,
    },
    /// From 1 at the first step by half a cosine to `end` at the last (Loshchilov and Hutter 2017, eq. 5).
    Cosine {
        /// In `[0, 1]`.
        end: f32,
    },
    /// From `1 / steps` in a straight line to 1 in so many steps, 1 from then on.
    WarmUp {
        /// Steps, at least 1.
        steps: u32,
    },
}

/// The grid on which reports lie.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Quantization {
    /// Distance of two grid points, in units of the parameters; one for all layers.
    pub step: f32,
    /// How a value goes to a grid point.
    pub rounding: Rounding,
    /// Part of the live coordinates that a report carries, in [2^-16, 1]; which, anew for each report, is drawn from the
    /// task's number, which both sides know ([`Subset`](crate::quantize::Subset)). 1, all of them, wherever noise is promised. Where
    /// rounding is [`Rounding::Rotated`], the part of the rotated coordinates whose signs travel.
    pub keep: f32,
}

impl Quantization {
    /// A number of coordinates of `live` that is kept with a probability of all but 10^-9, at least: the mean and six standard
    /// deviations. Where rounding is rotated it is exact.
    pub fn most_kept(&self, live: usize) -> usize {
        if parts::ROTATED.here && self.rounding == Rounding::Rotated {
            return count(self.keep, rotated_len(live));
        }
        let mean = f64::from(self.keep) * live as f64;
        if self.keep >= 1.0 { live } else { ((mean + 6.0 * libm::sqrt(mean) + 12.0) as usize).min(live) }
    }
}

/// How a value between two grid points goes to one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rounding {
    /// Up or down at random, so that the mean is the value: the sum of many reports stays right at coarse steps.
    Stochastic,
    /// To the nearest, ties to even: smaller error of one report, but biased.
    Nearest,
    /// The signs of the largest rotated coordinates and one scale for all ([`rotated`](crate::quantize::rotated)), a whole number of
    /// steps: for less than about half a bit a coordinate. Only where no noise is promised, and without a clip bit.
    Rotated,
    /// To the nearest after an offset that both sides know is taken away ([`Dither`](crate::quantize::Dither)), which the server adds
    /// again: unbiased, with half the error of stochastic rounding on a fine grid. Only where no noise is promised.
    Dithered,
    /// To where error and priced bits are least together ([`optimise`](crate::range_coder::optimise)): the smallest error of one report
    /// for its bits, but biased. Only where no noise is promised and all coordinates travel.
    Optimised {
        /// Of a bit, in 1/256 squared steps; 0 to 65,535, of which 20 to 50 are sensible.
        price: u16,
    },
}

/// Most entries of one matrix in a growth probe.
pub const MAX_PROBE: u32 = 1 << 16;

/// How a report is weighted and sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    /// Aggregation weight.
    pub weighting: Weighting,
    /// A report larger than this many bytes is not sent.
    pub max_bytes: u32,
    /// Most entries of each pruned matrix that the [growth probe](crate::optim::Probe) says, at most 65,536; 0 is no probe.
    /// It is taken of the examples without noise, so a plan that promises noise must not ask for it.
    pub probe: u32,
    /// Bytes of the [start](crate::range_coder::Start) of the report's coder that the checkpoint brings; 0 is none. It is made of
    /// earlier reports without noise, so a plan in which the server adds noise must not bring one, nor one that rotates the delta.
    pub start: u16,
}

/// How the values of a checkpoint come.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Values {
    /// As `f32`.
    Floats,
    /// As whole multiples of `step`, through the range coder.
    Coded {
        /// In units of the parameters; one for all tensors.
        step: f32,
    },
}

/// The weight of a report in the mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Weighting {
    /// 1: the only one that is compatible with user-level privacy here.
    Uniform,
    /// The number of examples trained on, at most `cap`. It tells the server that number.
    Examples {
        /// Largest weight.
        cap: u32,
    },
}

impl Values {
    /// What a device gets of a value.
    pub fn as_received(&self, value: f32) -> f32 {
        match *self {
            Self::Floats => value,
            Self::Coded { step } => Self::symbol(value, step) as f32 * step,
        }
    }

    /// The nearest multiple of `step`, ties to even; saturates.
    pub(crate) fn symbol(value: f32, step: f32) -> i32 {
        libm::rint(f64::from(value) / f64::from(step)) as i32
    }
}

/// What is wrong with a plan.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum PlanError {
    /// The bytes do not decode.
    Wire(WireError),
    /// A number is outside its range.
    OutOfRange {
        /// Name of the field.
        field: &'static str,
        /// The number, as far as `f32` can show it.
        got: f32,
    },
    /// A layer does not fit what comes before it.
    Layer {
        /// Index of the layer, from 0.
        index: u8,
        /// What does not fit.
        what: &'static str,
        /// The largest or only value that fits.
        expected: u32,
        /// What the plan says.
        got: u32,
    },
    /// The plan has no layers, or none with parameters.
    Empty,
    /// The clip norm is less than a step of the grid, or more than a report can say.
    Grid(GridBoundError),
    /// The noise of a device is more than its samplers make; the number is in steps.
    Deviation(DeviationError),
    /// The plan promises noise and asks for a growth probe, which none is added to.
    ProbeWithNoise {
        /// Entries of each matrix that it asks for.
        entries: u32,
        /// The noise multiplier that it promises.
        noise_multiplier: f32,
    },
    /// The plan needs a part of the sdk that this build was made without.
    Feature {
        /// The part.
        what: &'static str,
        /// The cargo feature that brings it.
        feature: &'static str,
    },
}

impl core::fmt::Display for PlanError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Wire(e) => write!(f, "the plan does not decode: {e}"),
            Self::OutOfRange { field, got } => write!(f, "the plan's {field} is out of range: {got}"),
            Self::Layer { index, what, expected, got } => {
                write!(f, "layer {index} of the plan: {what}: got {got}, the limit is {expected}")
            }
            Self::Empty => write!(f, "the plan has no layer with parameters"),
            Self::Grid(e) => write!(f, "the plan's grid: {e}"),
            Self::Deviation(e) => write!(f, "the plan's noise: {e}"),
            Self::ProbeWithNoise { entries, noise_multiplier } => write!(
                f,
                "the plan asks for a growth probe of {entries} entries, which its noise multiplier {noise_multiplier} does not cover"
            ),
            Self::Feature { what, feature } => write!(f, "this build has no {what}: feature `{feature}`"),
        }
    }
}

impl core::error::Error for PlanError {}

impl From<WireError> for PlanError {
    fn from(e: WireError) -> Self {
        Self::Wire(e)
    }
}

impl Plan {
    /// Magic and version that begin an encoded plan.
    pub(crate) const MAGIC: [u8; 4] = *b"SKPL";
    /// Version of the encoding.
    pub const VERSION: u8 = 5;

    /// Writes the plan and returns its length in bytes.
    ///
    /// # Errors
    /// [`WireError::Capacity`] if `out` is too short.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, WireError> {
        crate::wire::encode_document(Self::MAGIC, Self::VERSION, self, out)
    }

    /// Reads a plan from untrusted bytes and checks every number in it.
    ///
    /// Whether the layers fit together is checked by [`Graph::new`](crate::model::Graph::new).
    ///
    /// # Errors
    /// [`PlanError`] names the field.
    pub fn decode(bytes: &[u8]) -> Result<Self, PlanError> {
        let mut plan = Self::empty();
        plan.read(bytes)?;
        Ok(plan)
    }

    /// Nothing yet.
    pub(crate) const fn empty() -> Self {
        Self {
            population: Population::new(),
            round: 0,
            model: ModelSpec { input: [0; 3], layers: heapless::Vec::new(), loss: Loss::SoftmaxCrossEntropy },
            training: Training::sgd(1, 1, 0.0),
            privacy: Privacy::new(0.0, Profile::Central),
            quantization: Quantization { step: 0.0, rounding: Rounding::Nearest, keep: 1.0 },
            upload: Upload { weighting: Weighting::Uniform, max_bytes: 0, probe: 0, start: 0 },
            values: Values::Floats,
        }
    }

    /// [`decode`](Self::decode), in place of an [`empty`](Self::empty) one: a plan has some hundred bytes, which a small stack has
    /// no room to move around.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Result<(), PlanError> {
        let mut fields = Reader::fields(Self::MAGIC, Self::VERSION, bytes)?;
        self.population = fields.next()?;
        self.round = fields.next()?;
        self.model.input = fields.next()?;
        fields.list(&mut self.model.layers)?;
        self.model.loss = fields.next()?;
        self.training = fields.next()?;
        self.privacy = fields.next()?;
        self.quantization = fields.next()?;
        self.upload = fields.next()?;
        self.values = fields.next()?;
        fields.end()?;
        self.validate()
    }

    /// Checks every number.
    ///
    /// # Errors
    /// [`PlanError::OutOfRange`] names the field; [`PlanError::Feature`] what this build has not.
    pub fn validate(&self) -> Result<(), PlanError> {
        let t = &self.training;
        let p = &self.privacy;
        self.check_parts()?;
        within("training.epochs", f32::from(t.epochs), 1.0, 1000.0)?;
        within("training.batch", f32::from(t.batch), 1.0, 1024.0)?;
        within("training.max_examples", t.max_examples as f32, 1.0, 4.3e9)?;
        within("training.learning_rate", t.learning_rate, 1e-12, 1e6)?;
        t.schedule.validate()?;
        t.optimizer.validate()?;
        within("training.weight_decay", t.weight_decay, 0.0, 1e6)?;
        within("training.proximal", t.proximal, 0.0, 1e6)?;
        within("quantization.step", self.quantization.step, 1e-20, 1e12)?;
        within("quantization.keep", self.quantization.keep, 1.0 / 65_536.0, 1.0)?;
        p.validate(&self.quantization, self.upload.weighting)?;
        // The number of coordinates comes later: see `check_coordinates`.
        p.check_examples(t, self.quantization.step, 0)?;
        within("upload.max_bytes", self.upload.max_bytes as f32, 64.0, 1e9)?;
        if let Weighting::Examples { cap } = self.upload.weighting {
            within("upload.weighting.cap", cap as f32, 1.0, 1e6)?;
        }
        let (entries, noise_multiplier) = (self.upload.probe, p.noise_multiplier);
        within("upload.probe", entries as f32, 0.0, MAX_PROBE as f32)?;
        if entries > 0 && noise_multiplier > 0.0 {
            return Err(PlanError::ProbeWithNoise { entries, noise_multiplier });
        }
        if self.upload.start > 0 {
            within("upload.start", f32::from(self.upload.start), 3.0, MAX_START as f32)?;
            self.may_start()?;
        }
        if let Values::Coded { step } = self.values {
            within("values.step", step, 1e-20, 1e12)?;
        }
        Ok(())
    }

    /// That the reports of which a start says something are noised on the device, or not at all, and go through the coder as they
    /// are.
    fn may_start(&self) -> Result<(), PlanError> {
        let (start, p) = (f32::from(self.upload.start), &self.privacy);
        let covered = p.leaves_room() || p.profile == Profile::Local;
        within("upload.start, with noise of the server or shared noise", if covered { 0.0 } else { start }, 0.0, 0.0)?;
        let rotated = parts::ROTATED.here && self.quantization.rounding == Rounding::Rotated;
        within("upload.start, with signs of rotated deltas", if rotated { start } else { 0.0 }, 0.0, 0.0)
    }

    /// Checks what hangs on the number of coordinates of a report.
    ///
    /// # Errors
    /// [`PlanError::OutOfRange`] names the field.
    pub fn check_coordinates(&self, graph: &Graph) -> Result<(), PlanError> {
        if parts::ROTATED.here && self.quantization.rounding == Rounding::Rotated {
            let travelling = self.quantization.most_kept(graph.live);
            GridBound::of(&self.privacy, &self.quantization, travelling).map_err(PlanError::Grid)?;
        }
        self.privacy.check_examples(&self.training, self.quantization.step, self.symbols(graph.live))
    }

    /// Number of symbols of a report of `live` coordinates: so many, one for the clip bit, or as many as their rotation has.
    pub const fn symbols(&self, live: usize) -> usize {
        match self.quantization.rounding {
            Rounding::Rotated if parts::ROTATED.here => rotated_len(live),
            _ => self.privacy.symbols(live),
        }
    }

    /// A short fingerprint of the encoded plan, for logs and report headers; it is not a cryptographic hash.
    pub fn fingerprint(bytes: &[u8]) -> u32 {
        crate::wire::checksum(bytes)
    }
}

impl ClientOptimizer {
    fn validate(&self) -> Result<(), PlanError> {
        match *self {
            Self::Sgd { momentum, .. } => within("training.optimizer.momentum", momentum, 0.0, 0.9999),
            Self::Adam { beta1, beta2, epsilon, .. } => {
                within("training.optimizer.beta1", beta1, 0.0, 0.9999)?;
                within("training.optimizer.beta2", beta2, 0.0, 0.999_999)?;
                within("training.optimizer.epsilon", epsilon, 1e-20, 1e6)
            }
        }
    }
}

impl RateSchedule {
    fn validate(&self) -> Result<(), PlanError> {
        match *self {
            Self::Constant => Ok(()),
            Self::Linear { end } | Self::Cosine { end } => within("training.schedule.end", end, 0.0, 1.0),
            Self::WarmUp { steps } => within("training.schedule.steps", steps as f32, 1.0, 4.3e9),
        }
    }
}

pub(super) fn within(field: &'static str, got: f32, min: f32, max: f32) -> Result<(), PlanError> {
    // A NaN is in no range.
    if got >= min && got <= max { Ok(()) } else { Err(PlanError::OutOfRange { field, got }) }
}
