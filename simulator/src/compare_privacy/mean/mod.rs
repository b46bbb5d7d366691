//! Mean estimation from users that are drawn, whose examples are identical, diverse, or between.
//!
//! What the error is made of, for `d` dimensions, `T` steps and users of `K` examples with inner product `r` in expectation:
//!
//! | | noise | who is drawn | examples left out |
//! |---|---|---|---|
//! | ELS | `d (sigma / B)^2 / T` | `(1 - p) / (B T)` | `(1 - r) (1 - G/K) / (N G)` |
//! | ULS | `d (sigma C(G) / M)^2 / T` | `(1 - q) C(G)^2 / (M T)` | 0: they are drawn afresh |
//!
//! with `C(G)^2 = r + (1 - r) / G`, the mean square norm of a user's mean gradient, as the clip norm of ULS, and 1 as that of ELS.
//! Clipping is not in the prediction: it shortens the longer half of ULS's vectors a little.

mod estimator;
mod population;

pub(super) use estimator::each_drawn;

use super::{Common, CompareError, Entry, Estimate, Goal, Method, Sampling, Setting, check, multiplier};
use estimator::estimate;
use population::{Kind, Population};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// What is estimated, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Options {
    /// Users.
    pub users: u32,
    /// Examples of each; none of `groups` may be larger.
    pub examples: u32,
    /// Dimensions of an example.
    pub dims: u32,
    /// Gradients a step, `B`; each of `groups` must divide it.
    pub batch: u32,
    /// Steps, `T`.
    pub steps: u32,
    /// Epsilons, above 0.
    pub epsilons: Vec<f64>,
    /// `G`.
    pub groups: Vec<u32>,
    /// Correlations within a user, in `[0, 1]`: 1 makes a user's examples identical, 0 independent.
    pub correlations: Vec<f64>,
    /// Length of the mean that all users share, in `[0, 1)`.
    pub mean: f64,
    /// Repetitions: users, cohorts and noise are drawn afresh.
    pub repetitions: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            users: 2000,
            examples: 64,
            dims: 256,
            batch: 128,
            steps: 800,
            epsilons: vec![1.0, 4.0, 16.0],
            groups: vec![1, 2, 4, 8, 16, 32, 64],
            correlations: vec![1.0, 0.5, 0.0],
            mean: 0.05,
            repetitions: 8,
        }
    }
}

impl Options {
    /// For seconds: fewer of everything.
    pub fn quick() -> Self {
        Self {
            users: 1000,
            examples: 16,
            dims: 128,
            steps: 200,
            epsilons: vec![1.0, 4.0],
            groups: vec![1, 4, 16],
            correlations: vec![1.0, 0.0],
            ..Self::default()
        }
    }

    fn check(&self) -> Result<(), CompareError> {
        let Self { users, examples, dims, batch, steps, repetitions, .. } = *self;
        for (what, got) in
            [("users", users), ("examples", examples), ("dims", dims), ("batch", batch), ("steps", steps)]
        {
            check(what, got, "1 to 1000000", (1..=1_000_000).contains(&got))?;
        }
        check("repetitions", repetitions, "2 to 1000: one has no error bar", (2..=1000).contains(&repetitions))?;
        let values = u64::from(users) * u64::from(examples) * u64::from(dims);
        check("users x examples x dims", values, "at most 500000000", values <= 500_000_000)?;
        for &epsilon in &self.epsilons {
            check("epsilon", epsilon, "above 0", epsilon.is_finite() && epsilon > 0.0)?;
        }
        for &group in &self.groups {
            let fits = group >= 1 && group <= examples && batch % group == 0;
            check("group", group, "a divisor of the batch, and no more than a user's examples", fits)?;
            check("cohort", batch / group, "at most the users", batch / group <= users)?;
        }
        for &rho in &self.correlations {
            check("correlation", rho, "0 to 1", (0.0..=1.0).contains(&rho))?;
        }
        Ok(())
    }
}

/// One mechanism.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Plan {
    method: Method,
    epsilon: f64,
    group: u32,
    /// Probability of an example (ELS) or of a user.
    rate: f64,
    /// Planned number of vectors in a sum: its divisor.
    planned: f64,
    /// Noise multiplier.
    noise: f64,
    clip: f64,
}

impl Plan {
    /// A number of its own, for the streams of randomness.
    fn name(&self) -> u64 {
        self.epsilon.to_bits() ^ (u64::from(self.group) << 1) ^ u64::from(self.method == Method::Uls)
    }
}

/// One mechanism for one kind of users.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// Correlation within a user.
    pub correlation: f64,
    /// Of the guarantee of a user.
    pub epsilon: f64,
    /// ELS or ULS.
    pub method: Method,
    /// `G`.
    pub group: u32,
    /// Probability of an example (ELS) or of a user (ULS) in a step.
    pub rate: f64,
    /// Noise multiplier, by the accountant.
    pub noise_multiplier: f64,
    /// Clip norm.
    pub clip_norm: f64,
    /// Predicted standard deviation of the noise on a coordinate of one step's mean: the column of table 1.6 of the notes, that is
    /// `sigma / B` or `sigma C(G) / M`.
    pub deviation: f64,
    /// Predicted squared norm of the noise in the estimate.
    pub predicted_noise: f64,
    /// Predicted error: the noise, who was drawn, and the examples that ELS leaves out.
    pub predicted_error: f64,
    /// Measured squared norm of the noise in the estimate.
    pub noise: Estimate,
    /// Measured squared distance of the estimate from the mean of all examples.
    pub error: Estimate,
}

/// The first part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// What it was about.
    pub options: Options,
    /// Probability at which the epsilons are stated.
    pub dp_delta: f64,
    /// By correlation, epsilon, method, group, in the options' order.
    pub cells: Vec<Cell>,
}

/// In words.
pub fn kind_of(correlation: f64) -> String {
    match correlation {
        1.0 => "users with identical examples".to_owned(),
        0.0 => "users with diverse examples".to_owned(),
        rho => format!("users with examples correlated by {rho}"),
    }
}

impl Report {
    /// What there is to conclude from.
    pub fn settings(&self) -> Vec<Setting> {
        let mut settings = Vec::new();
        for &correlation in &self.options.correlations {
            for &epsilon in &self.options.epsilons {
                let cells = self.cells.iter().filter(|c| c.correlation == correlation && c.epsilon == epsilon);
                let entries = cells.map(|c| Entry { method: c.method, group: c.group, value: c.error }).collect();
                settings.push(Setting { name: kind_of(correlation), epsilon, goal: Goal::Error, entries });
            }
        }
        settings
    }
}

/// Pieces of work that [`run`] tells of.
pub fn work(options: &Options) -> u64 {
    let plans = 2 * options.epsilons.len() * options.groups.len();
    (plans * (1 + options.correlations.len() * options.repetitions as usize)) as u64
}

/// Calibrates, draws and estimates, on rayon's threads; the result is the same for any number of them. `done` is called once for
/// each piece of [`work`], from any thread. Memory: 4 bytes a number of the users' examples.
///
/// # Errors
/// [`CompareError::Setting`], [`CompareError::Accounting`].
pub fn run(options: &Options, common: &Common, done: impl Fn() + Sync) -> Result<Report, CompareError> {
    options.check()?;
    let (users, batch) = (f64::from(options.users), f64::from(options.batch));
    let mut asked = Vec::new();
    for &epsilon in &options.epsilons {
        for method in [Method::Els, Method::Uls] {
            asked.extend(options.groups.iter().map(|&group| (epsilon, method, group)));
        }
    }
    let plans: Result<Vec<Plan>, CompareError> = asked
        .par_iter()
        .map(|&(epsilon, method, group)| {
            let rate = batch / (users * f64::from(group));
            let (sampling, planned) = match method {
                Method::Uls => (Sampling::Users { rate }, batch / f64::from(group)),
                _ => (Sampling::Examples { rate, group }, batch),
            };
            let noise = multiplier(sampling, epsilon, common.dp_delta, u64::from(options.steps))?;
            done();
            Ok(Plan { method, epsilon, group, rate, planned, noise, clip: 1.0 })
        })
        .collect();
    let plans = plans?;
    let mut cells = Vec::new();
    for &correlation in &options.correlations {
        let kind = Kind {
            users: options.users as usize,
            examples: options.examples as usize,
            dims: options.dims as usize,
            correlation,
            mean: options.mean,
        };
        let plans: Vec<Plan> = plans
            .iter()
            .map(|plan| Plan { clip: if plan.method == Method::Uls { kind.norm(plan.group) } else { 1.0 }, ..*plan })
            .collect();
        let mut off = vec![Vec::new(); plans.len()];
        for repetition in 0..options.repetitions {
            let seed = common.seed.wrapping_add(u64::from(repetition).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let population = Population::draw(&kind, seed);
            let measured: Vec<_> = plans
                .par_iter()
                .map(|plan| {
                    let off = estimate(&population, plan, options.steps, seed);
                    done();
                    off
                })
                .collect();
            off.iter_mut().zip(measured).for_each(|(all, one)| all.push(one));
        }
        cells.extend(plans.iter().zip(&off).filter_map(|(plan, off)| cell(options, &kind, plan, off)));
    }
    Ok(Report { options: options.clone(), dp_delta: common.dp_delta, cells })
}

fn cell(options: &Options, kind: &Kind, plan: &Plan, off: &[estimator::Off]) -> Option<Cell> {
    let (dims, steps) = (f64::from(options.dims), f64::from(options.steps));
    let deviation = plan.noise * plan.clip / plan.planned;
    let predicted_noise = dims * deviation.powi(2) / steps;
    let drawn = (1.0 - plan.rate) * plan.clip.powi(2) / (plan.planned * steps);
    let left_out = match plan.method {
        Method::Uls => 0.0,
        _ => {
            let part = f64::from(plan.group) / f64::from(options.examples);
            (1.0 - kind.within()) * (1.0 - part) / (f64::from(options.users) * f64::from(plan.group))
        }
    };
    let of = |value: fn(&estimator::Off) -> f64| Estimate::of(&off.iter().map(value).collect::<Vec<_>>());
    Some(Cell {
        correlation: kind.correlation,
        epsilon: plan.epsilon,
        method: plan.method,
        group: plan.group,
        rate: plan.rate,
        noise_multiplier: plan.noise,
        clip_norm: plan.clip,
        deviation,
        predicted_noise,
        predicted_error: predicted_noise + drawn + left_out,
        noise: of(|off| off.noise)?,
        error: of(|off| off.error)?,
    })
}

#[cfg(test)]
mod tests;
