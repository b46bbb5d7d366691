//! The same run dense and with several ways to prune it, side by side: what each costs in accuracy and saves in bytes and
//! work.

use crate::config::RunConfig;
use crate::data::Federated;
use crate::report::{RunReport, WriteError, write_comparison};
use crate::run::{RunError, run};
use serde::{Deserialize, Serialize};
use siskin_server::round::Algorithm;
use std::path::PathBuf;

/// Version of the layout of `compare-pruning.json`.
pub const FORMAT: u32 = 1;
/// Name of the comparison for programs.
pub const JSON_NAME: &str = "compare-pruning.json";
/// Name of the page for people.
pub const HTML_NAME: &str = "compare-pruning.html";
/// What is compared unless something else is asked for.
pub const ALGORITHMS: [Algorithm; 5] =
    [Algorithm::Magnitude, Algorithm::GlobalMagnitude, Algorithm::RigL, Algorithm::Set, Algorithm::Static];
/// Name of the run that prunes nothing.
pub const DENSE: &str = "dense";

/// All runs; the first is the dense one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// [`FORMAT`] of the writer.
    pub format: u32,
    /// Version of siskin that ran.
    pub siskin_version: String,
    /// Program and arguments as they were given.
    pub command: Vec<String>,
    /// Seed of everything random, the same for all runs.
    pub seed: u64,
    /// Name of the data set.
    pub data: String,
    /// The layers.
    pub model: String,
    /// Held-out examples that accuracies are of.
    pub examples: u64,
    /// Fraction of all params that the pruned runs were to make zero.
    pub sparsity: f32,
    /// First and last round of the updates, and how many rounds lie between two.
    pub schedule: [u32; 3],
    /// The runs.
    pub runs: Vec<Compared>,
}

/// What one run came to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// Name of the algorithm, or [`DENSE`].
    pub name: String,
    /// Accuracy on the held-out examples, `[0, 1]`.
    pub accuracy: Option<f64>,
    /// That minus the dense run's, in points (hundredths).
    pub points: Option<f64>,
    /// Mean loss on the held-out examples, nats.
    pub test_loss: Option<f64>,
    /// Params of the model.
    pub params: u64,
    /// Params that live in the end.
    pub live: u64,
    /// Bits of report a live param and report, without headers; growth probes included.
    pub bits_per_live_param: Option<f64>,
    /// Bytes up a device and round, everything included.
    pub bytes_up: Option<f64>,
    /// Bytes down a device and round, everything included.
    pub bytes_down: Option<f64>,
    /// Multiply-adds of training on one example once, with the mask of the end.
    pub multiply_adds: Option<f64>,
    /// Bytes of a device's arena, at most.
    pub arena: u64,
    /// (round, accuracy) where the run was evaluated.
    pub curve: Vec<(u64, f64)>,
    /// (round, sparsity) after each round.
    pub sparsity: Vec<(u64, f64)>,
    /// Folder of the run's own report, inside that of the comparison.
    pub folder: String,
}

/// A finished comparison and its files.
#[derive(Debug)]
pub struct Finished {
    /// The figures.
    pub comparison: Comparison,
    /// The page.
    pub html: PathBuf,
    /// The figures as JSON.
    pub json: PathBuf,
}

/// A schedule within the run: the settings' own where it is, else from a twentieth of the rounds to two fifths, as the
/// preset for images has it.
pub fn fit_schedule(config: &mut RunConfig) {
    let (rounds, pruning) = (config.fleet.rounds, &mut config.pruning);
    if pruning.prune_end <= pruning.prune_start || pruning.prune_end >= rounds {
        pruning.prune_start = rounds / 20;
        pruning.prune_end = (2 * rounds / 5).max(pruning.prune_start + 1);
        pruning.prune_every = pruning.prune_every.min((pruning.prune_end - pruning.prune_start) / 7).max(1);
    }
}

/// Runs dense and then each algorithm, with the same data, seed and settings otherwise; writes each run's report into a folder
/// of its name and the comparison beside them. `begin` is told the name of each run before it begins.
///
/// # Errors
/// [`RunError`] of the first run that fails.
pub fn compare(
    config: &RunConfig,
    data: &Federated,
    algorithms: &[Algorithm],
    command: Vec<String>,
    mut begin: impl FnMut(&str),
) -> Result<Finished, RunError> {
    let pruning = &config.pruning;
    let mut comparison = Comparison {
        format: FORMAT,
        siskin_version: env!("CARGO_PKG_VERSION").to_owned(),
        command: command.clone(),
        seed: config.run.seed,
        data: data.name.clone(),
        model: config.model.model.clone(),
        examples: data.test.len() as u64,
        sparsity: pruning.sparsity,
        schedule: [pruning.prune_start, pruning.prune_end, pruning.prune_every],
        runs: Vec::new(),
    };
    // A setting that does not fit shows before the first run, not after it.
    for algorithm in algorithms {
        let mut one = config.clone();
        one.pruning.prune_algorithm = *algorithm;
        let checked = one.server_settings(crate::run::POPULATION, 1).check(data.devices());
        checked.map_err(|e| RunError::Server(e.into()))?;
    }
    for algorithm in std::iter::once(None).chain(algorithms.iter().copied().map(Some)) {
        let mut one = config.clone();
        match algorithm {
            None => one.pruning.sparsity = 0.0,
            Some(algorithm) => one.pruning.prune_algorithm = algorithm,
        }
        let name = algorithm.map_or(DENSE, Algorithm::name);
        begin(name);
        one.run.out = config.run.out.join(name);
        let report = run(&one, data, command.clone())?.report;
        let dense = comparison.runs.first().and_then(|run| run.accuracy);
        comparison.runs.push(Compared::of(name, &report, dense));
    }
    let (html, json) = (config.run.out.join(HTML_NAME), config.run.out.join(JSON_NAME));
    write_comparison(&comparison, &html, &json).map_err(|e: WriteError| RunError::Write(e))?;
    Ok(Finished { comparison, html, json })
}

impl Compared {
    /// The figures of one report; `dense` is the dense run's accuracy.
    fn of(name: &str, report: &RunReport, dense: Option<f64>) -> Self {
        let accuracy = report.final_evaluation.accuracy;
        let totals = &report.totals;
        Self {
            name: name.to_owned(),
            accuracy,
            points: dense.zip(accuracy).map(|(dense, own)| 100.0 * (own - dense)),
            test_loss: report.final_evaluation.test_loss,
            params: report.model.params(),
            live: report.model.live(),
            bits_per_live_param: totals.bits_per_param.live,
            bytes_up: totals.bytes_up_per_selection(),
            bytes_down: totals.bytes_down_per_selection(),
            multiply_adds: report.device_cost.multiply_adds_per_example,
            arena: report.device_cost.arena_bytes(),
            curve: report.rounds.iter().filter_map(|r| Some((r.round, r.accuracy?))).collect(),
            sparsity: report.rounds.iter().filter_map(|r| Some((r.round, r.sparsity?))).collect(),
            folder: name.to_owned(),
        }
    }
}
