//! Fine-tuning a next-character model under a fixed compute budget.
//!
//! A few users are public: the model is pretrained on their text without privacy, and clip norms (the median norm of their
//! gradients) and learning rates (the best on their held-out lines) are found there, so that neither takes anything from the
//! protected users. These fine-tune it with ELS, whose `G` is the median number of a user's examples, and with ULS, for several `G`;
//! every way takes as many gradients a step. Accuracy is that on the protected users' held-out lines.
//!
//! Gradients are those of the kernels that devices run. Clipping, sum and division are in f64, and noise is the server's, not rounded
//! to a grid: sessions cannot flip a coin for each example, as ELS is defined.

mod fine_tune;
mod network;
mod users;

use super::mean::each_drawn;
use super::{Common, CompareError, Entry, Estimate, Goal, Method, Sampling, Setting, check, multiplier, users_needed};
use crate::data::Federated;
use crate::fleet::{Purpose, stream};
use fine_tune::{Plan, Problem};
use network::Network;
use rand_core::Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use users::Users;

/// What is trained, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Options {
    /// Layers, as `--model` of a run has them.
    pub model: String,
    /// Part of the users whose text is public, in (0, 1).
    pub public: f64,
    /// Steps of pretraining.
    pub pretraining_steps: u32,
    /// Examples a step of pretraining.
    pub pretraining_batch: u32,
    /// Learning rate of pretraining.
    pub pretraining_rate: f64,
    /// Gradients a step of fine-tuning, `B`; each of `groups` must divide it.
    pub batch: u32,
    /// Steps of fine-tuning.
    pub steps: u32,
    /// Epsilons, above 0.
    pub epsilons: Vec<f64>,
    /// `G` of ULS.
    pub groups: Vec<u32>,
    /// Learning rates of which each way takes its best, above 0.
    pub rates: Vec<f64>,
    /// Repetitions of each fine-tuning, at least 2; cohorts and noise are drawn afresh, pretraining is the same.
    pub repetitions: u32,
    /// Held-out examples that are scored, at most.
    pub held_out: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            model: "embedding:16,gru:48,point".into(),
            public: 0.1,
            pretraining_steps: 100,
            pretraining_batch: 16,
            pretraining_rate: 0.005,
            batch: 192,
            steps: 20,
            epsilons: vec![4.0, 16.0],
            groups: vec![1, 4, 16],
            rates: vec![0.002, 0.008],
            repetitions: 3,
            held_out: 400,
        }
    }
}

impl Options {
    /// For seconds: a smaller model, fewer steps.
    pub fn quick() -> Self {
        Self {
            model: "embedding:6,gru:12,point".into(),
            pretraining_steps: 60,
            pretraining_rate: 0.02,
            batch: 32,
            steps: 10,
            groups: vec![1, 4],
            rates: vec![0.003],
            held_out: 60,
            ..Self::default()
        }
    }

    fn check(&self, protected: usize) -> Result<(), CompareError> {
        let Self { pretraining_steps, pretraining_batch, batch, steps, held_out, repetitions, .. } = *self;
        for (what, got) in [
            ("pretraining steps", pretraining_steps),
            ("pretraining batch", pretraining_batch),
            ("batch", batch),
            ("steps", steps),
            ("held-out examples", held_out),
        ] {
            check(what, got, "1 to 100000", (1..=100_000).contains(&got))?;
        }
        check("repetitions", repetitions, "2 to 1000: one has no error bar", (2..=1000).contains(&repetitions))?;
        for &epsilon in &self.epsilons {
            check("epsilon", epsilon, "above 0", epsilon.is_finite() && epsilon > 0.0)?;
        }
        for &group in &self.groups {
            check("group", group, "a divisor of the batch", group >= 1 && batch % group == 0)?;
            check("cohort", batch / group, "at most the protected users", (batch / group) as usize <= protected)?;
        }
        check("learning rates", "none", "at least one", !self.rates.is_empty())?;
        for &rate in self.rates.iter().chain([&self.pretraining_rate]) {
            check("learning rate", rate, "above 0", rate.is_finite() && rate > 0.0)?;
        }
        Ok(())
    }
}

/// One way to fine-tune.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Of the guarantee of a user; `None` without one.
    pub epsilon: Option<f64>,
    /// The way.
    pub method: Method,
    /// Examples of a user: at most kept, or of one gradient.
    pub group: u32,
    /// Probability of an example or of a user in a step.
    pub rate: f64,
    /// Noise multiplier, by the accountant.
    pub noise_multiplier: Option<f64>,
    /// Clip norm, from the public users.
    pub clip_norm: Option<f64>,
    /// Expected norm of the noise in one step's mean over the clip norm: `sigma sqrt(params) / planned`.
    pub noise_to_clip: Option<f64>,
    /// The learning rate that was best on the public users' held-out lines.
    pub learning_rate: f64,
    /// Gradients of single examples that a step took, mean. ULS takes fewer than planned where users have fewer than `G`.
    pub gradients: f64,
    /// Accuracy on the protected users' held-out lines, `[0, 1]`.
    pub accuracy: Estimate,
    /// Mean loss there, nats.
    pub loss: Estimate,
    /// About how many users the same noise and cohort would take for epsilon 1 (ULS at the smallest epsilon), if no more than ten million.
    pub users_for_epsilon_1: Option<u64>,
}

/// The second part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// What it was about.
    pub options: Options,
    /// Name of the data set.
    pub data: String,
    /// Probability at which the epsilons are stated.
    pub dp_delta: f64,
    /// Parameters of the model.
    pub params: usize,
    /// Users whose text is public.
    pub public_users: usize,
    /// Users that are protected.
    pub users: usize,
    /// Median number of their examples: the `G` of ELS.
    pub median_examples: u32,
    /// Symbols that accuracies are of.
    pub targets: u64,
    /// Accuracy of the pretrained model.
    pub pretrained: f64,
    /// The runs; the first is the one without privacy.
    pub runs: Vec<Run>,
}

impl Report {
    /// What there is to conclude from.
    pub fn settings(&self) -> Vec<Setting> {
        let of = |&epsilon: &f64| {
            let runs = self.runs.iter().filter(|run| run.epsilon == Some(epsilon));
            let entries = runs.map(|r| Entry { method: r.method, group: r.group, value: r.accuracy }).collect();
            Setting { name: "fine-tuning on text".into(), epsilon, goal: Goal::Accuracy, entries }
        };
        self.options.epsilons.iter().map(of).collect()
    }
}

/// How far the population is from a small epsilon, by the run of ULS with the least noise.
pub fn few_users(report: &Report) -> String {
    let smallest = report.options.epsilons.iter().copied().fold(f64::INFINITY, f64::min);
    let runs = report.runs.iter().filter(|run| run.epsilon == Some(smallest) && run.method == Method::Uls);
    let noises = runs.filter_map(|run| Some((run.noise_to_clip?, run)));
    let Some((noise, run)) = noises.min_by(|a, b| a.0.total_cmp(&b.0)) else { return String::new() };
    let mut text = format!(
        "{} users are few: at epsilon {smallest} the noise of one step of ULS is {noise:.1} clip norms long or more (G = {}).",
        report.users, run.group
    );
    if let Some(users) = run.users_for_epsilon_1 {
        text += &format!(" Epsilon 1 with that noise and cohort takes about {users} users, by the accountant.");
    }
    text
}

/// Pieces of work that [`run`] tells of.
pub fn work(options: &Options) -> u64 {
    let plans = 1 + options.epsilons.len() * (1 + options.groups.len());
    (1 + plans * (options.rates.len() + options.repetitions as usize)) as u64
}

/// Pretrains, calibrates, tunes learning rates and fine-tunes, on rayon's threads; the result is the same for any number of them.
/// `done` is called once for each piece of [`work`], from any thread.
///
/// # Errors
/// [`CompareError`].
pub fn run(
    options: &Options,
    data: &Federated,
    common: &Common,
    done: impl Fn() + Sync,
) -> Result<Report, CompareError> {
    let in_range = options.public > 0.0 && options.public < 1.0;
    check("public users", options.public, "above 0 and below 1", in_range)?;
    let parted = Users::part(data, options.public, options.held_out, common.seed);
    let parts = || CompareError::Setting {
        what: "public users",
        got: options.public.to_string(),
        range: "such that public and protected users both have held-out text",
    };
    let users = parted.ok_or_else(parts)?;
    options.check(users.private.len())?;
    let weights = stream(common.seed, Purpose::Weights, 0, 0).next_u64();
    let network = Network::new(&options.model, data, weights)?;
    let problem = Problem { data, users: &users, network: &network };
    let start = problem.pretrain(options, common.seed)?;
    done();
    let plans = plans(&problem, options, common, &start)?;

    let smallest = options.epsilons.iter().copied().reduce(f64::min);
    let runs: Result<Vec<Run>, CompareError> = plans
        .par_iter()
        .map(|plan| {
            let run = fine_tuned(&problem, plan, options, common.seed, &start, &done)?;
            // Nothing is asked of larger epsilons: more users would only be needed the more.
            let asked = plan.method == Method::Uls && plan.epsilon == smallest && smallest > Some(1.0);
            let steps = u64::from(options.steps);
            let needed = asked.then(|| users_needed(plan.noise, plan.planned, 1.0, common.dp_delta, steps));
            Ok(Run { users_for_epsilon_1: needed.transpose()?.flatten(), ..run })
        })
        .collect();
    let baseline = network.score(start, data, &users.private_test);
    Ok(Report {
        options: options.clone(),
        data: data.name.clone(),
        dp_delta: common.dp_delta,
        params: network.params(),
        public_users: users.public.len(),
        users: users.private.len(),
        median_examples: users.median_examples(data),
        targets: baseline.targets,
        pretrained: baseline.accuracy().unwrap_or(0.0),
        runs: runs?,
    })
}

/// Without privacy, then for each epsilon ELS and ULS for each `G`.
fn plans(problem: &Problem<'_>, options: &Options, common: &Common, start: &[f32]) -> Result<Vec<Plan>, CompareError> {
    let Problem { data, users, .. } = *problem;
    let batch = f64::from(options.batch);
    let median = users.median_examples(data);
    let kept: u64 = users.private.iter().map(|d| data.examples(*d as usize).min(median as usize) as u64).sum();
    check("batch", options.batch, "at most the examples that ELS keeps", u64::from(options.batch) <= kept)?;
    let of_examples = batch / kept as f64;
    let none = Plan {
        method: Method::None,
        epsilon: None,
        group: median,
        rate: of_examples,
        planned: batch,
        noise: 0.0,
        clip: f64::INFINITY,
    };
    let mut asked = Vec::new();
    for &epsilon in &options.epsilons {
        asked.push((epsilon, Method::Els, median));
        asked.extend(options.groups.iter().map(|&group| (epsilon, Method::Uls, group)));
    }
    let private: Result<Vec<Plan>, CompareError> = asked
        .par_iter()
        .map(|&(epsilon, method, group)| {
            let planned = if method == Method::Uls { batch / f64::from(group) } else { batch };
            let (sampling, rate, together) = match method {
                Method::Uls => {
                    let rate = planned / users.private.len() as f64;
                    (Sampling::Users { rate }, rate, group)
                }
                _ => (Sampling::Examples { rate: of_examples, group }, of_examples, 1),
            };
            let noise = multiplier(sampling, epsilon, common.dp_delta, u64::from(options.steps))?;
            let clip = problem.typical_norm(start, together, common.seed);
            Ok(Plan { method, epsilon: Some(epsilon), group, rate, planned, noise, clip })
        })
        .collect();
    Ok(std::iter::once(none).chain(private?).collect())
}

/// Finds the learning rate of one plan on the public users' held-out lines, then fine-tunes with it afresh.
fn fine_tuned(
    problem: &Problem<'_>,
    plan: &Plan,
    options: &Options,
    seed: u64,
    start: &[f32],
    done: &(impl Fn() + Sync),
) -> Result<Run, CompareError> {
    let Problem { data, users, network } = *problem;
    let tuned: Result<Vec<f64>, CompareError> = options
        .rates
        .par_iter()
        .map(|&rate| {
            let accuracy = if options.rates.len() == 1 {
                None
            } else {
                let tuned = problem.fine_tune(plan, start, rate, options.steps, seed)?;
                network.score(tuned.values, data, &users.public_test).accuracy()
            };
            done();
            Ok(accuracy.unwrap_or(0.0))
        })
        .collect();
    let best = tuned?.iter().zip(&options.rates).max_by(|a, b| a.0.total_cmp(b.0)).map_or(0.0, |(_, rate)| *rate);
    let again: Result<Vec<(f64, f64, u64)>, CompareError> = (0..options.repetitions)
        .into_par_iter()
        .map(|repetition| {
            let seed = seed.wrapping_add(u64::from(repetition + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let tuned = problem.fine_tune(plan, start, best, options.steps, seed)?;
            let score = network.score(tuned.values, data, &users.private_test);
            done();
            Ok((score.accuracy().unwrap_or(0.0), score.mean_loss().unwrap_or(f64::NAN), tuned.gradients))
        })
        .collect();
    let again = again?;
    let of = |value: fn(&(f64, f64, u64)) -> f64| {
        Estimate::of(&again.iter().map(value).collect::<Vec<_>>()).unwrap_or_default()
    };
    let private = plan.epsilon.is_some();
    let params = network.params() as f64;
    Ok(Run {
        epsilon: plan.epsilon,
        method: plan.method,
        group: plan.group,
        rate: plan.rate,
        noise_multiplier: private.then_some(plan.noise),
        clip_norm: private.then_some(plan.clip),
        noise_to_clip: private.then(|| plan.noise * params.sqrt() / plan.planned),
        learning_rate: best,
        gradients: again.iter().map(|a| a.2 as f64).sum::<f64>() / (again.len() as f64 * f64::from(options.steps)),
        accuracy: of(|a| a.0),
        loss: of(|a| a.1),
        users_for_epsilon_1: None,
    })
}

#[cfg(test)]
mod tests;
