//! Table 3: accuracy of real federated runs at equal bits.
//!
//! Devices are the real sessions and their reports cross the real transport. Ours is what they send. For a rival the devices send on
//! a grid of 1/512 of the first round's root mean square; the server puts the rival's estimate, on that fine grid, in the place of what
//! it decoded ([`siskin_server::round::Substitute`]), and the rival's bits are what is counted. Cohorts, shuffles and initial weights
//! are the same for all codecs of a seed.
//!
//! Ours meets a budget as `siskin run --bits-per-param` does, by the server's own controller. A rival whose parameter is a step gets it
//! from the server too: [`Follow`]. Both start at the step that meets the budget on the deltas of a first round that is thrown away,
//! and follow the size of reports from then on; one ([`Scheme::GammaVoted`]) goes by its clients' votes, as published. The others meet a
//! budget by their definition. Points are drawn at the bits that they really cost. Headers are in nobody's bits; a scale that a
//! rival sends with each report is.
//!
//! # What votes cost in privacy
//! A vote is a function of the delta before any noise. One user who comes or goes changes one count by 1, so that normal noise of
//! deviation `v` on each count makes it a Gaussian mechanism of noise multiplier `v`, beside the sum's `z`: both together cost what
//! one of `z / sqrt(1 + (z / v)^2)` costs, in every round. Without that noise, as published, no epsilon is left. siskin's server asks for no
//! votes: its step follows the sizes of reports ([`siskin_server::round::Rate`]).

mod follow;
mod run;
mod setting;
mod verdict;
mod vote;

pub use follow::Follow;
pub use setting::{Setting, load};
pub use verdict::{Finding, Verdict};

use super::scheme::Scheme;
use crate::compare_privacy::Estimate;
use crate::run::RunError;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use siskin_server::round::SIGNS_UP_TO;

/// The codecs of the table.
pub const SCHEMES: [Scheme; 12] = [
    Scheme::Siskin,
    Scheme::SiskinDrawn,
    Scheme::GammaNearest,
    Scheme::GammaStochastic,
    Scheme::GammaVoted,
    Scheme::GammaDithered,
    Scheme::TopK,
    Scheme::Eden,
    Scheme::EdenCoded,
    Scheme::Drive,
    Scheme::ThreeLc,
    Scheme::Qsgd,
];

/// What is compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Options {
    /// Bits a param.
    pub budgets: Vec<f64>,
    /// The first seed.
    pub seed: u64,
    /// How many seeds.
    pub seeds: u32,
    /// Rounds, if not what suits the data.
    pub rounds: Option<u32>,
    /// Reports a round, if not what suits the data.
    pub cohort: Option<u32>,
    /// The network, if not what suits the data.
    pub model: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        let budgets = vec![0.02, 0.05, 0.1, 0.4, 2.0, 8.0];
        Self { budgets, seed: 1, seeds: 3, rounds: None, cohort: None, model: None }
    }
}

/// A codec at a budget, over all seeds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// The codec; none is no compression.
    pub scheme: Option<Scheme>,
    /// Bits a param that were asked for; none where a codec has no choice.
    pub budget: Option<f64>,
    /// Bits a param that a report took, mean over the run.
    pub bits: Estimate,
    /// Mean accuracy after the last rounds, on the held-out examples, in `[0, 1]`.
    pub accuracy: Estimate,
    /// The same of each seed.
    pub accuracies: Vec<f64>,
    /// That minus no compression's of the same seed.
    pub difference: Estimate,
    /// Squared error of a report's estimate over its squared norm.
    pub error: Estimate,
}

/// One data set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Name of the data.
    pub data: String,
    /// The network.
    pub model: String,
    /// Its params.
    pub params: usize,
    /// Rounds.
    pub rounds: u32,
    /// Reports a round.
    pub cohort: u32,
    /// Last rounds that accuracies are means over.
    pub averaged: u32,
    /// Held-out examples.
    pub examples: usize,
    /// What was asked for.
    pub options: Options,
    /// No compression first, then codec by codec.
    pub points: Vec<Point>,
    /// What follows from the points.
    pub findings: Vec<Finding>,
}

/// A codec and its parameter, for each run.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Case {
    scheme: Option<Scheme>,
    budget: Option<f64>,
    /// Where it follows from no budget.
    parameter: Option<f64>,
}

fn cases(options: &Options) -> Vec<Case> {
    let mut cases = vec![Case { scheme: None, budget: None, parameter: None }];
    for scheme in SCHEMES {
        let fixed = |parameter: f64| Case { scheme: Some(scheme), budget: None, parameter: Some(parameter) };
        match scheme {
            Scheme::Drive => cases.push(fixed(1.0)),
            Scheme::ThreeLc => cases.extend([1.5, 1.0].map(fixed)),
            _ => {
                let fits = |budget: &&f64| match scheme {
                    Scheme::Eden => **budget <= 4.0,
                    // With more it is what the first is.
                    Scheme::SiskinDrawn => **budget <= SIGNS_UP_TO,
                    _ => true,
                };
                let budgets = options.budgets.iter().filter(fits);
                cases.extend(budgets.map(|&b| Case { scheme: Some(scheme), budget: Some(b), parameter: None }));
            }
        }
    }
    cases
}

/// Number of calls of `done`.
pub fn work(options: &Options) -> u64 {
    cases(options).len() as u64 * u64::from(options.seeds)
}

/// All runs on one data set.
///
/// # Errors
/// [`RunError`] of the first run that fails.
pub fn table(setting: &Setting, options: &Options, done: impl Fn() + Sync) -> Result<Report, RunError> {
    let cases = cases(options);
    let pilots: Vec<run::Pilot> = (0..u64::from(options.seeds))
        .into_par_iter()
        .map(|i| run::Pilot::new(setting, options.seed + i))
        .collect::<Result<_, _>>()?;
    let jobs: Vec<(usize, usize)> = (0..cases.len()).flat_map(|c| (0..pilots.len()).map(move |s| (c, s))).collect();
    let outcomes: Vec<run::Outcome> = jobs
        .par_iter()
        .map(|&(c, s)| {
            let outcome = run::run(setting, &pilots[s], cases[c].scheme, cases[c].budget, cases[c].parameter);
            done();
            outcome
        })
        .collect::<Result<_, _>>()?;
    let by_case: Vec<&[run::Outcome]> = outcomes.chunks(pilots.len().max(1)).collect();
    let points: Vec<Point> = cases.iter().zip(&by_case).filter_map(|(case, of)| point(case, of, by_case[0])).collect();
    let config = &setting.config;
    Ok(Report {
        data: setting.data.name.clone(),
        model: config.model.model.clone(),
        params: pilots.first().map_or(0, run::Pilot::params),
        rounds: config.fleet.rounds,
        cohort: config.fleet.cohort,
        averaged: run::averaged(config.fleet.rounds),
        examples: setting.data.test.len(),
        options: options.clone(),
        findings: verdict::findings(&points),
        points,
    })
}

fn point(case: &Case, outcomes: &[run::Outcome], plain: &[run::Outcome]) -> Option<Point> {
    let of = |value: &dyn Fn(&run::Outcome) -> f64| Estimate::of(&outcomes.iter().map(value).collect::<Vec<f64>>());
    let differences: Vec<f64> = outcomes.iter().zip(plain).map(|(own, plain)| own.accuracy - plain.accuracy).collect();
    Some(Point {
        scheme: case.scheme,
        budget: case.budget,
        bits: of(&|o| o.bits)?,
        accuracy: of(&|o| o.accuracy)?,
        accuracies: outcomes.iter().map(|o| o.accuracy).collect(),
        difference: Estimate::of(&differences)?,
        error: of(&|o| o.error)?,
    })
}
