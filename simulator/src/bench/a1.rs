//! Workload A1: FedAvg of a dense MLP 784-128-10 over 1,000 clients with 20 examples each, 100 clients a round, one epoch of
//! two steps of 10 examples: small work per client, so that what a framework adds is seen.

use super::{cpu_time, peak_rss};
use crate::data::a1::Benchmark;
use crate::fleet::{KeptMasks, Ledgers, Purpose, TimeModel, stream};
use crate::run::{Evaluator, MAX_FRAME, RunError, Timing, run_round};
use crate::serve::Lines;
use serde::Serialize;
use siskin::checkin::{
    LayerSpec, Loss, ModelSpec, Path, Policy, Privacy, Profile, Quantization, Rounding, Storage, Training, Upload,
    Weighting,
};
use siskin::model::{Buffers, Draw, Graph, train_step};
use siskin::session::Config;
use siskin_server::optim::FedAvgConfig;
use siskin_server::privacy::Noise;
use siskin_server::round::{AdaptiveClip, Close, GlobalModel, Optimizer, Pruning, Selection, Server, Settings, select};
use std::time::{Duration, Instant};

const COHORT: usize = 100;
const BATCH: usize = 10;
const RATE: f32 = 0.1;

/// What one way of running the workload took.
#[derive(Debug, Clone, Serialize)]
pub struct Measured {
    /// Which way.
    pub name: &'static str,
    /// CPU milliseconds per client update, least over the passes; the median is beside it.
    pub cpu_ms: f64,
    /// The median over the passes.
    pub cpu_ms_median: f64,
    /// Client updates per second of wall time, best pass.
    pub updates_per_s: f64,
    /// Held-out accuracy of the model at the end.
    pub accuracy: f64,
    /// Bytes up per update, everything included; 0 where nothing travels.
    pub bytes_up: f64,
    /// Bytes down per update.
    pub bytes_down: f64,
    /// Bits of report per parameter.
    pub bits_per_param: f64,
}

/// Both ways, side by side.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// Training and summing alone.
    pub in_process: Measured,
    /// The same through session, wire, codec and integer sums.
    pub full: Measured,
    /// Largest resident memory of the process, MiB.
    pub peak_rss_mib: Option<f64>,
    /// Rounds of each pass.
    pub rounds: u32,
    /// Passes.
    pub passes: u32,
}

/// One pass: CPU and wall time of the timed rounds.
#[derive(Debug, Clone, Copy)]
struct Pass {
    cpu: Duration,
    wall: Duration,
}

/// Grid and clip norm of the full way.
#[derive(Debug, Clone, Copy)]
pub struct Codec {
    /// L2 bound.
    pub clip_norm: f32,
    /// Step in units of `clip_norm / sqrt(params)`.
    pub step: f32,
}

fn training() -> Training {
    Training::sgd(1, BATCH as u16, RATE)
}

fn model(benchmark: &Benchmark) -> ModelSpec {
    let weights = Storage { live: 1, path: Path::Dense };
    let data = &benchmark.data;
    let mut spec = ModelSpec {
        input: [data.features_per_example() as u16, 1, 1],
        layers: Default::default(),
        loss: Loss::SoftmaxCrossEntropy,
    };
    for layer in [
        LayerSpec::Dense { outputs: benchmark.hidden as u16, bias: true, weights },
        LayerSpec::Relu,
        LayerSpec::Dense { outputs: data.classes as u16, bias: true, weights },
    ] {
        let _ = spec.layers.push(layer.into());
    }
    spec
}

fn server(benchmark: &Benchmark, codec: Codec) -> Result<Server, RunError> {
    let model = GlobalModel::from_params(&model(benchmark), benchmark.initial.clone())?;
    let step = codec.step * codec.clip_norm / libm::sqrtf(model.size() as f32);
    let settings = Settings {
        population: "siskin/a1".parse().unwrap_or_default(),
        cohort: COHORT as u32,
        over_selection: 1.0,
        min_fraction: 1.0,
        deadline_ms: 1_000_000_000,
        selection: Selection::Fixed,
        cohort_cap: None,
        close: Close::Deadline,
        training: training(),
        privacy: Privacy::new(codec.clip_norm, Profile::Central),
        adaptive: AdaptiveClip::default(),
        noise: Noise::Independent,
        quantization: Quantization { step, rounding: Rounding::Stochastic, keep: 1.0 },
        rate: siskin_server::round::Rate::Fixed,
        upload: Upload { weighting: Weighting::Uniform, max_bytes: 1 << 20, probe: 0, start: 0 },
        starts: false,
        value_step: 0.0,
        optimizer: Optimizer::FedAvg(FedAvgConfig::default()),
        pruning: Pruning::at_once(0.0),
        dp_delta: 1e-5,
    };
    Ok(Server::new(settings, benchmark.data.devices(), u32::MAX, model, MAX_FRAME)?)
}

/// Runs both ways `passes` times in turn, on one thread, `rounds` timed rounds each after two that are not.
///
/// # Errors
/// [`RunError`] if a round fails.
pub fn run(benchmark: &Benchmark, codec: Codec, rounds: u32, passes: u32) -> Result<Outcome, RunError> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .map_err(|e| RunError::Threads { threads: 1, message: e.to_string() })?;
    pool.install(|| {
        let (mut bare, mut full) = (Vec::new(), Vec::new());
        let mut results = None;
        for _ in 0..passes.max(1) {
            let (pass, accuracy) = in_process(benchmark, codec, rounds)?;
            bare.push(pass);
            let (pass, outcome) = through_everything(benchmark, codec, rounds)?;
            full.push(pass);
            results = Some((accuracy, outcome));
        }
        let (accuracy, (full_accuracy, up, down, bits)) = results.unwrap_or_default();
        let updates = f64::from(rounds) * COHORT as f64;
        let measured = |name, passes: &[Pass], accuracy, up, down, bits| {
            let mut cpu: Vec<f64> = passes.iter().map(|p| p.cpu.as_secs_f64() * 1e3 / updates).collect();
            cpu.sort_by(f64::total_cmp);
            let wall = passes.iter().map(|p| p.wall.as_secs_f64()).fold(f64::INFINITY, f64::min);
            Measured {
                name,
                cpu_ms: cpu[0],
                cpu_ms_median: cpu[cpu.len() / 2],
                updates_per_s: updates / wall,
                accuracy,
                bytes_up: up,
                bytes_down: down,
                bits_per_param: bits,
            }
        };
        Ok(Outcome {
            in_process: measured("in process: training and mean", &bare, accuracy, 0.0, 0.0, 0.0),
            full: measured("session, wire, codec, integer sums", &full, full_accuracy, up, down, bits),
            peak_rss_mib: peak_rss().map(|b| b as f64 / f64::from(1 << 20)),
            rounds,
            passes,
        })
    })
}

/// The timed part of a pass.
fn timed(rounds: u32, mut round: impl FnMut(u32) -> Result<(), RunError>) -> Result<Pass, RunError> {
    const WARM_UP: u32 = 2;
    for number in 0..WARM_UP {
        round(number)?;
    }
    let (cpu, wall) = (cpu_time(), Instant::now());
    for number in WARM_UP..WARM_UP + rounds {
        round(number)?;
    }
    let wall = wall.elapsed();
    let cpu = cpu_time().zip(cpu).map_or(wall, |(now, then)| now - then);
    Ok(Pass { cpu, wall })
}

fn cohort(server: &Server, benchmark: &Benchmark, round: u32) -> Vec<usize> {
    let mut coins = stream(1, Purpose::Selection, u64::from(round), 0);
    select(server.settings(), benchmark.data.devices(), &mut coins)
}

/// Training as the sdk does it, a mean in `f32`, nothing else.
fn in_process(benchmark: &Benchmark, codec: Codec, rounds: u32) -> Result<(Pass, f64), RunError> {
    let server = server(benchmark, codec)?;
    let offer = server.open()?.offer;
    let graph: &Graph = &offer.graph;
    let data = &benchmark.data;
    let mut global = benchmark.initial.clone();
    let mut local = vec![0.0; global.len()];
    let mut sum = vec![0.0f32; global.len()];
    let features = data.features_per_example();
    let mut activations = vec![0.0; graph.activation_features() * BATCH];
    let mut gradients = vec![0.0; graph.gradient_features() * BATCH];
    let mut row = vec![0.0; features];
    let mut labels = [0; BATCH];
    let pass = timed(rounds, |number| {
        sum.fill(0.0);
        let cohort = cohort(&server, benchmark, number);
        for &device in &cohort {
            local.copy_from_slice(&global);
            for first in (0..data.examples(device)).step_by(BATCH) {
                let batch = BATCH.min(data.examples(device) - first);
                for b in 0..batch {
                    labels[b] = data.fill(device, first + b, &mut row);
                    for (column, value) in activations.chunks_exact_mut(batch).zip(&row) {
                        column[b] = *value;
                    }
                }
                let buffers = Buffers { activations: &mut activations, gradients: &mut gradients };
                let values = (&mut local[..], &global[..], &mut [][..]);
                let (rule, time) = ((Loss::SoftmaxCrossEntropy, &training()), (Draw { seed: 0, step: 0 }, 1));
                train_step(graph, rule, time, (&[], &[]), values, buffers, &labels[..batch], batch);
            }
            for (s, l) in sum.iter_mut().zip(&local) {
                *s += l;
            }
        }
        let scale = 1.0 / cohort.len() as f32;
        for (g, s) in global.iter_mut().zip(&sum) {
            *g = s * scale;
        }
        Ok(())
    })?;
    let model = GlobalModel::from_params(&model(benchmark), global)?;
    let score = Evaluator::new(&offer, &model).test(data);
    Ok((pass, score.accuracy().unwrap_or(0.0)))
}

/// `(accuracy, bytes up and down an update, bits per parameter)`.
type Travelled = (f64, f64, f64, f64);

fn through_everything(benchmark: &Benchmark, codec: Codec, rounds: u32) -> Result<(Pass, Travelled), RunError> {
    let mut server = server(benchmark, codec)?;
    let config = Config { max_frame: MAX_FRAME, ..Config::new("siskin/a1", Policy::permissive()) };
    let time = TimeModel::new(1, 0.0);
    let (mut up, mut down, mut reports, mut bits) = (0, 0, 0, 0.0);
    let (mut kept, mut ledgers) = (KeptMasks::default(), Ledgers::default());
    let mut timing = Timing::default();
    let pass = timed(rounds, |number| {
        let cohort = cohort(&server, benchmark, number);
        let round = server.open()?;
        let mut noise = stream(1, Purpose::Noise, u64::from(number), 0);
        let data = &benchmark.data;
        let (record, _) = run_round(
            &mut server,
            round,
            data,
            &cohort,
            &config,
            &time,
            1,
            &mut noise,
            &mut kept,
            &mut ledgers,
            &mut Lines::default(),
            &mut timing,
        )?;
        up += record.bytes_up.total();
        down += record.bytes_down.total();
        reports += record.reports_in;
        bits += record.bits_per_param.live.unwrap_or(0.0) * record.reports_in as f64;
        Ok(())
    })?;
    let offer = server.open()?.offer;
    let score = Evaluator::new(&offer, server.model()).test(&benchmark.data);
    let each = |total: u64| total as f64 / reports.max(1) as f64;
    Ok((pass, (score.accuracy().unwrap_or(0.0), each(up), each(down), bits / reports.max(1) as f64)))
}
