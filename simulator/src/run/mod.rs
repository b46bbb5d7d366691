//! A whole run: data, server, fleet, rounds, report.

mod claim;
mod evaluate;
pub(crate) mod model_file;
mod round;
mod start;
pub mod summary;

pub use evaluate::{Evaluator, Score};
pub use model_file::{MODEL_NAME, PLAN_NAME};
pub use round::{Timing, run_round};
pub(crate) use start::model as initial_model;

use crate::config::{ConfigError, Data, PrivacyMode, ProgressMode, RunConfig};
use crate::data::{DataError, Federated, Normalization, digits, idx, text};
use crate::fleet::{KeptMasks, Ledgers, Purpose, TimeModel, stream};
use crate::progress::{Mode, Progress};
use crate::report::{RunReport, WriteError, Written, check_writable, write_all};
use crate::serve::Lines;
use siskin::arena::ArenaError;
use siskin::checkin::Policy;
use siskin::session::Config;
use siskin_server::round::{Server, ServerError};
use std::path::PathBuf;
use std::time::Instant;

/// Name of the population that the simulator runs.
pub const POPULATION: &str = "siskin/simulated";

/// Longest frame of the virtual devices, bytes.
pub const MAX_FRAME: usize = 16 * 1024;

/// Why a run stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The data.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The settings.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The server.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The model.
    #[error(transparent)]
    Model(#[from] siskin_server::round::ModelError),
    /// The memory of a device.
    #[error(transparent)]
    Arena(#[from] ArenaError),
    /// A file.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The model's file.
    #[error("cannot write the model to {}: {message}; check the folder and the space on the disk", path.display())]
    ModelFile {
        /// The file.
        path: PathBuf,
        /// Why.
        message: String,
    },
    /// Threads.
    #[error("cannot start {threads} threads: {message}")]
    Threads {
        /// How many.
        threads: u64,
        /// Why.
        message: String,
    },
}

/// Loads the data that a configuration names.
///
/// # Errors
/// [`RunError::Data`] names the file and what is wrong with it.
pub fn load_data(config: &RunConfig) -> Result<Federated, RunError> {
    let Data { mean, deviation, .. } = config.data;
    let by = Normalization { mean: mean as f32, deviation: deviation as f32 };
    Ok(source(config)?.normalized(by)?)
}

/// The examples as their source gives them.
fn source(config: &RunConfig) -> Result<Federated, DataError> {
    let data = &config.data;
    if data.data == "digits" {
        let devices = usize::try_from(data.devices).unwrap_or(usize::MAX);
        let options = digits::Options {
            seed: config.run.seed,
            devices,
            alpha: data.alpha,
            strength: data.hand,
            ..Default::default()
        };
        return digits::load(&options);
    }
    let path = std::path::Path::new(&data.data);
    if let Some(table) = text::find(path)? {
        let options = text::Options { window: data.window as usize, hold_out: data.hold_out_lines };
        return text::load(&table, &options);
    }
    let options = idx::Options { hold_out: data.hold_out, ..Default::default() };
    idx::load(path, &options)
}

/// What a run leaves.
#[derive(Debug)]
pub struct Finished {
    /// The report, as it was written.
    pub report: RunReport,
    /// The files.
    pub written: Written,
    /// The model's files.
    pub model: [PathBuf; 2],
}

/// Runs everything and writes the report and the model. `command` is shown in the report.
///
/// # Errors
/// [`RunError`]; nothing half-written is left behind.
pub fn run(config: &RunConfig, data: &Federated, command: Vec<String>) -> Result<Finished, RunError> {
    serve(config, data, command, &mut Lines::default())
}

/// The same with the first devices on lines. The report's numbers of training are then those of the others.
///
/// # Errors
/// [`RunError`].
pub fn serve(
    config: &RunConfig,
    data: &Federated,
    command: Vec<String>,
    lines: &mut Lines,
) -> Result<Finished, RunError> {
    if lines.len() > data.devices() {
        let (lines, devices) = (lines.len(), data.devices());
        return Err(
            ConfigError::Other(format!("{lines} devices on lines, but the data has {devices} devices in all")).into()
        );
    }
    check_writable(&config.run.out)?;
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(config.run.threads as usize)
        .build()
        .map_err(|e| RunError::Threads { threads: config.run.threads, message: e.to_string() })?;
    pool.install(|| run_in_pool(config, data, command, lines))
}

fn run_in_pool(
    config: &RunConfig,
    data: &Federated,
    command: Vec<String>,
    lines: &mut Lines,
) -> Result<Finished, RunError> {
    let started = Instant::now();
    let config = &config.calibrated(data.devices())?;
    let seed = config.run.seed;
    let model = start::model(config, data)?;
    // The grid is laid for what a report carries at the final sparsity, so that it stays the same while the model is pruned.
    let live = config.server_pruning().final_carried(&model)?;
    let mut settings = config.server_settings(POPULATION, live);
    settings.noise = config.noise()?;
    let mut server = Server::new(settings, data.devices(), config.fleet.rounds, model, MAX_FRAME)?;
    let policy = Policy { limits: config.limits(), ..Policy::permissive() };
    let device = Config { max_frame: MAX_FRAME, ..Config::new(POPULATION, policy) };
    let mut time = TimeModel::new(seed, config.fleet.dropout);
    if config.privacy.privacy == PrivacyMode::Els || config.training.example_sampling < 1.0 {
        time = time.sampling_examples(config.training.example_sampling, config.training.max_examples as usize);
    }

    let mut report = RunReport::new(command, seed);
    let mut progress = Progress::new(u64::from(config.fleet.rounds), mode(config.run.progress));
    let mut rounds = Vec::new();
    let mut kept = KeptMasks::default();
    let mut ledgers = Ledgers::default();
    let mut timing = Timing::default();
    let mut clock_ms = 0;
    let mut cost = summary::Cost::default();
    for number in 0..config.fleet.rounds {
        server.set_learning_rate(config.learning_rate(number));
        let round = server.open()?;
        cost.observe(&round, &device);
        let mut coins = stream(seed, Purpose::Selection, u64::from(number), 0);
        let selected = server.select(&mut coins);
        let mut noise = stream(seed, Purpose::Noise, u64::from(number), 0);
        ledgers.clock_ms = clock_ms;
        let (mut record, largest) = run_round(
            &mut server,
            round,
            data,
            &selected,
            &device,
            &time,
            seed,
            &mut noise,
            &mut kept,
            &mut ledgers,
            lines,
            &mut timing,
        )?;
        clock_ms += (record.virtual_time_s.unwrap_or(0.0) * 1e3) as u64;
        record.virtual_time_s = Some(clock_ms as f64 / 1e3);
        cost.report(largest);
        if config.privacy.privacy == PrivacyMode::Els {
            // The ledger's, of a user who always brings all examples; what the run states follows at its end.
            record.epsilon = None;
        }
        if (number + 1) % config.run.evaluate_every == 0 || number + 1 == config.fleet.rounds {
            let since = Instant::now();
            let round = server.open()?;
            let score = Evaluator::new(&round.offer, server.model()).test(data);
            record.accuracy = score.accuracy();
            record.test_loss = score.mean_loss();
            timing.evaluate += since.elapsed();
        }
        progress.update(&record);
        rounds.push(record);
    }
    progress.finish();
    report.set_rounds(rounds);
    let last = server.open()?;
    summary::fill(&mut report, config, data, &server, &last, &cost)?;
    report.timings = Some(timing.report(started, config.run.threads));
    let model = model_file::write(&config.run.out, &server, &last)?;
    let written = write_all(&report, &config.run.out)?;
    Ok(Finished { report, written, model })
}

fn mode(progress: ProgressMode) -> Mode {
    match progress {
        ProgressMode::Auto => Mode::Auto,
        ProgressMode::Bar => Mode::Bar,
        ProgressMode::Plain => Mode::Plain,
        ProgressMode::Quiet => Mode::Quiet,
    }
}
