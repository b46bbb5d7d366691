//! Every setting of a run: one table ([`SETTINGS`]) makes the flags, checks the file and fills the report.
//!
//! What holds is, from weak to strong: the defaults, the preset of the data set, the file (`--config`), the flags.

mod client;
mod goal;
mod layers;
mod preset;
mod pruning;
mod rate;
mod resolve;
mod settings;

pub use client::{ClientOptimizer, Schedule};
pub use goal::PrivacyMode;
pub use layers::{architecture, describe};
pub use pruning::{Crossover, PruneType, Shares};
pub use rate::StepScheduleWord;
pub use resolve::{ConfigError, Layers, resolve};
pub use settings::{SETTINGS, Setting, flag_of};

use crate::fleet::{Purpose, stream};
use rand_core::Rng;
use serde::{Deserialize, Serialize};
use siskin::checkin::{
    Clipping as Clip, Distributed, Limits, Privacy, Profile as Who, Quantization, Rounding as Round,
    ShareNoise as Share, Upload, Weighting as Weight,
};
use siskin_server::optim::{FedAdamConfig, FedAvgConfig};
use siskin_server::round::{
    AdaptiveClip, Algorithm, Close, Optimizer as ServerOptimizer, Selection, Settings, bit_share, finest_step,
};
use std::path::PathBuf;

/// All settings, section by section.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the table in `settings` says what each one is; a test compares the two")]
pub struct RunConfig {
    pub data: Data,
    pub model: Model,
    pub fleet: Fleet,
    pub training: Training,
    pub pruning: Pruning,
    pub privacy: PrivacySection,
    pub compression: Compression,
    pub server: ServerSection,
    pub run: Run,
}

macro_rules! section {
    ($(#[$meta:meta])* $name:ident { $($field:ident: $type:ty = $default:expr),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        #[allow(missing_docs, reason = "see `settings`")]
        pub struct $name { $(pub $field: $type),* }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default),* }
            }
        }
    };
}

section!(
    /// Where the examples come from.
    Data { data: String = "digits".into(), devices: u64 = 2000, alpha: f64 = 0.3, hand: f64 = 1.0, hold_out: f64 = 0.3, window: u32 = 80, hold_out_lines: f64 = 0.2, mean: f64 = 0.0, deviation: f64 = 1.0 }
);
section!(
    /// The network.
    Model { model: String = "dense:128,relu,dense:64,relu,dense".into() }
);
section!(
    /// Who takes part and when.
    Fleet {
        rounds: u32 = 70,
        cohort: u32 = 500,
        over_selection: f64 = 1.3,
        min_fraction: f64 = 0.5,
        deadline: f64 = 300.0,
        dropout: f64 = 0.08,
        selection: Selection = Selection::Poisson,
        cohort_cap: u32 = 0,
        close: Close = Close::Deadline,
        min_separation: u32 = 0,
        max_participations: u32 = 0,
    }
);
section!(
    /// Local training.
    Training {
        epochs: u16 = 2,
        batch: u16 = 8,
        learning_rate: f32 = 0.3,
        client_optimizer: ClientOptimizer = ClientOptimizer::Sgd,
        momentum: f32 = 0.0,
        weight_decay: f32 = 0.0,
        schedule: Schedule = Schedule::Constant,
        schedule_end: f32 = 0.0,
        warm_up_steps: u32 = 10,
        rate_end: f32 = 1.0,
        proximal: f32 = 0.0,
        max_examples: u32 = 1000,
        example_sampling: f64 = 1.0,
        train: String = "all".into(),
    }
);
section!(
    /// The mask.
    Pruning {
        sparsity: f32 = 0.8,
        prune_algorithm: Algorithm = Algorithm::Magnitude,
        prune_distribution: Shares = Shares::Uniform,
        prune_type: PruneType = PruneType::default(),
        prune_start: u32 = 0,
        prune_end: u32 = 0,
        prune_every: u32 = 5,
        drop_fraction: f32 = 0.3,
        crossover: Crossover = Crossover::Measured,
        remembered_masks: u32 = 8,
    }
);
section!(
    /// Bound and noise. With noise the bound is that of what is sent, and rounding lengthens a delta: at half a bit a param a device
    /// shortens it to less than half before it rounds, so the noise, not the bound, sets what a round teaches. Without noise it
    /// is that of the delta.
    PrivacySection {
        privacy: PrivacyMode = PrivacyMode::AsSet,
        epsilon: f64 = 0.0,
        noise_buffers: u32 = 2,
        clip_norm: f32 = 1.0,
        clipping: Clipping = Clipping::Delta,
        example_norm: f32 = 1.0,
        target_quantile: f64 = 0.5,
        clip_rate: f64 = 0.2,
        noise_multiplier: f32 = 2.0,
        profile: Profile = Profile::Central,
        share_noise: ShareNoise = ShareNoise::Gaussian,
        modulus_bits: u8 = 16,
        dp_delta: f64 = 1e-5,
    }
);
section!(
    /// The grid. A step of 3.5 costs the embedded digits about half a bit a live param; with a budget it is where the controller starts.
    Compression {
        step: f32 = 3.5,
        bits_per_param: f64 = 0.0,
        rate_slope: f64 = 0.0,
        step_schedule: StepScheduleWord = StepScheduleWord::default(),
        keep: f32 = 0.0,
        rounding: Rounding = Rounding::Auto,
        bit_price: f64 = 0.13,
        weighting: Weighting = Weighting::Uniform,
        starts: Starts = Starts::Off,
        value_step: f64 = 0.0,
    }
);
section!(
    /// The server optimizer. Momentum averages the noise of ten rounds; a higher rate learns faster and ends noisier.
    ServerSection { optimizer: Optimizer = Optimizer::FedAvg, server_rate: f64 = 0.7, server_momentum: f64 = 0.9 }
);
section!(
    /// The run itself.
    Run {
        seed: u64 = 1,
        threads: u64 = 0,
        out: PathBuf = PathBuf::from("siskin-out"),
        evaluate_every: u32 = 1,
        progress: ProgressMode = ProgressMode::Auto,
    }
);

/// Who adds the noise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// The server, to the sum.
    Central,
    /// Every device all of it.
    Local,
    /// Every device its share, on a rotated delta.
    Distributed,
}

/// What is clipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Clipping {
    /// The delta.
    Delta,
    /// The delta, layer by layer.
    Layers,
    /// The gradient of each example.
    Examples,
    /// The delta, to a norm that follows a quantile of all.
    Adaptive,
}

/// The distribution of a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ShareNoise {
    /// Discrete Gaussian.
    Gaussian,
    /// Skellam.
    Skellam,
}

/// How values go to the grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rounding {
    /// Signs for small budgets without noise, else stochastic.
    Auto,
    /// Unbiased.
    Stochastic,
    /// To the nearest.
    Nearest,
    /// The signs of the largest rotated coordinates.
    Rotated,
    /// Subtractive dither.
    Dithered,
    /// Least error and priced bits.
    Optimised,
}

/// Whether checkpoints bring what the coder of reports begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Starts {
    /// The coder begins knowing nothing.
    Off,
    /// With what the reports of the round before were like.
    On,
}

/// The weight of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weighting {
    /// 1.
    Uniform,
    /// Its number of examples.
    Examples,
}

/// The server optimizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Optimizer {
    /// FedAvg, with momentum FedAvgM.
    FedAvg,
    /// FedAdam, preset `reddi`.
    FedAdam,
}

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProgressMode {
    /// A bar on a terminal, lines elsewhere.
    Auto,
    /// A bar.
    Bar,
    /// Lines.
    Plain,
    /// Nothing.
    Quiet,
}

/// Largest weight where reports are weighted by examples, and no device trains on fewer. The noise is for the largest weight, so
/// a lower `max_examples` drowns less of what is learned.
const WEIGHT_CAP: u32 = 10_000;

impl RunConfig {
    /// Local step size in a round: it falls on a straight line from `learning_rate` to `rate_end` times that in the last
    /// round.
    pub fn learning_rate(&self, round: u32) -> f32 {
        let last = self.fleet.rounds.saturating_sub(1).max(1);
        let done = round.min(last) as f32 / last as f32;
        self.training.learning_rate * (1.0 - (1.0 - self.training.rate_end) * done)
    }

    /// What the devices' own policy bounds.
    pub fn limits(&self) -> Limits {
        let Fleet { min_separation, max_participations, .. } = self.fleet;
        let most_participations = if max_participations == 0 { u32::MAX } else { max_participations };
        Limits { min_separation, most_participations, ..Limits::NONE }
    }

    /// The server's settings of the mask; random masks come from the run's seed.
    pub fn server_pruning(&self) -> siskin_server::round::Pruning {
        self.pruning.server(stream(self.run.seed, Purpose::Mask, 0, 0).next_u64())
    }

    /// The server's settings for a model of which `live` params live at the start.
    ///
    /// The step is given in units of the root mean square of a delta at the clip norm, `clip_norm / sqrt(live)`, so that
    /// the same number means the same rate for every model and clip norm.
    pub fn server_settings(&self, population: &str, live: usize) -> Settings {
        let privacy = &self.privacy;
        let unit = f64::from(privacy.clip_norm) / libm::sqrt(live.max(1) as f64);
        let step = f64::from(self.compression.step) * unit;
        let privacy = Privacy {
            clip_norm: privacy.clip_norm,
            clipping: match privacy.clipping {
                Clipping::Delta => Clip::Delta,
                Clipping::Layers => Clip::Layers,
                Clipping::Examples => Clip::Examples { norm: privacy.example_norm },
                // The bit's part comes with the grid.
                Clipping::Adaptive => Clip::Adaptive { bit_share: 0.0 },
            },
            noise_multiplier: privacy.noise_multiplier,
            profile: match privacy.profile {
                Profile::Central => Who::Central,
                Profile::Local => Who::Local,
                Profile::Distributed => Who::Distributed(Distributed {
                    shares: self.fleet.cohort,
                    bits: privacy.modulus_bits,
                    noise: match privacy.share_noise {
                        ShareNoise::Gaussian => Share::DiscreteGaussian,
                        ShareNoise::Skellam => Share::Skellam,
                    },
                    rotation: stream(self.run.seed, Purpose::Rotation, 0, 0).next_u32(),
                }),
            },
        };
        let rate = self.rate(unit);
        let mut settings = Settings {
            population: population.parse().unwrap_or_default(),
            cohort: self.fleet.cohort,
            over_selection: self.fleet.over_selection,
            min_fraction: self.fleet.min_fraction,
            deadline_ms: (self.fleet.deadline * 1e3) as u32,
            selection: self.fleet.selection,
            cohort_cap: Some(self.fleet.cohort_cap).filter(|cap| *cap > 0),
            close: self.fleet.close,
            training: self.training.plan(),
            privacy,
            adaptive: AdaptiveClip { target: self.privacy.target_quantile, rate: self.privacy.clip_rate },
            noise: siskin_server::privacy::Noise::Independent,
            quantization: Quantization {
                step: step as f32,
                rounding: match self.compression.rounding {
                    Rounding::Auto => rate.rounding(&privacy),
                    Rounding::Stochastic => Round::Stochastic,
                    Rounding::Nearest => Round::Nearest,
                    Rounding::Rotated => Round::Rotated,
                    Rounding::Dithered => Round::Dithered,
                    Rounding::Optimised => {
                        Round::Optimised { price: (self.compression.bit_price * 256.0).round() as u16 }
                    }
                },
                keep: if self.compression.keep > 0.0 { self.compression.keep } else { 1.0 },
            },
            rate,
            upload: Upload {
                weighting: match self.compression.weighting {
                    Weighting::Uniform => Weight::Uniform,
                    Weighting::Examples => Weight::Examples { cap: self.training.max_examples.clamp(1, WEIGHT_CAP) },
                },
                // A rotated delta has up to twice as many coordinates.
                max_bytes: (8 * live + 256) as u32,
                // The server asks for as much as an update needs.
                probe: 0,
                start: 0,
            },
            starts: self.compression.starts == Starts::On,
            value_step: self.compression.value_step,
            optimizer: match self.server.optimizer {
                Optimizer::FedAvg => ServerOptimizer::FedAvg(FedAvgConfig {
                    lr: self.server.server_rate,
                    momentum: self.server.server_momentum,
                }),
                Optimizer::FedAdam => ServerOptimizer::FedAdam(FedAdamConfig::reddi(self.server.server_rate)),
            },
            pruning: self.server_pruning(),
            dp_delta: self.privacy.dp_delta,
        };
        // Shared noise has the finest grid that its modulus holds.
        if let Some(step) = finest_step(&privacy, live, settings.most_reports()) {
            settings.quantization.step = step;
        }
        if let Clip::Adaptive { bit_share: share } = &mut settings.privacy.clipping {
            *share = bit_share(&privacy, settings.quantization.step, self.fleet.cohort);
        }
        settings
    }
}

#[cfg(test)]
mod tests;
