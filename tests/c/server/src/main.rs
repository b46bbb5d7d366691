//! One round of the reference server on standard input and output.
//!
//! A test program in another language starts this as a child process, talks the protocol with it over two pipes, closes
//! its end of standard input, and reads the last line: `accepted N late N duplicate N refused N abandoned N stepped N`.
//!
//! The round is always the same, so that reports can be compared. `--late` answers every report as if the round had
//! closed; `--plan` prints the encoded plan instead of serving.

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use siskin::checkin::{
    ClientOptimizer, Layer, LayerSpec, Loss, ModelSpec, Path, Population, Privacy, Profile, Quantization, Rounding,
    Storage, Training, Upload, Weighting,
};
use siskin::wire::FrameAssembler;
use siskin_server::optim::FedAvgConfig;
use siskin_server::privacy::Noise;
use siskin_server::round::{AdaptiveClip, Answer, Close, GlobalModel, Optimizer, Pruning, Selection, Server, Settings};
use std::error::Error;
use std::io::{Read, Write};

const DEADLINE_MS: u32 = 60_000;
const MAX_FRAME: usize = 64 * 1024;

fn settings() -> Result<Settings, Box<dyn Error>> {
    Ok(Settings {
        population: Population::try_from("test/round").map_err(|_| "the population's name is too long")?,
        cohort: 1,
        over_selection: 1.0,
        min_fraction: 1.0,
        deadline_ms: DEADLINE_MS,
        selection: Selection::Fixed,
        cohort_cap: None,
        close: Close::Deadline,
        training: Training {
            optimizer: ClientOptimizer::Sgd { momentum: 0.9, nesterov: false },
            proximal: 0.01,
            max_examples: 1000,
            ..Training::sgd(3, 8, 0.05)
        },
        // Noise of the device, so that what is compared hangs on the session's randomness too.
        privacy: Privacy { noise_multiplier: 0.05, ..Privacy::new(0.5, Profile::Local) },
        adaptive: AdaptiveClip::default(),
        noise: Noise::Independent,
        quantization: Quantization { step: 0.001, rounding: Rounding::Stochastic, keep: 1.0 },
        rate: siskin_server::round::Rate::Fixed,
        upload: Upload { weighting: Weighting::Uniform, max_bytes: 1 << 16, probe: 0, start: 0 },
        starts: false,
        value_step: 0.0,
        optimizer: Optimizer::FedAvg(FedAvgConfig::default()),
        pruning: Pruning { crossover: Some(0.6), ..Pruning::at_once(0.5) },
        dp_delta: 1e-5,
    })
}

/// 64 features, 10 classes.
fn model() -> Result<GlobalModel, Box<dyn Error>> {
    let weights = Storage { live: 0, path: Path::Sparse };
    let dense = |outputs| LayerSpec::Dense { outputs, bias: true, weights };
    let layers = [dense(64), LayerSpec::Relu, dense(10)];
    let layers = layers.into_iter().map(Layer::from).collect();
    Ok(GlobalModel::new(&ModelSpec { input: [1, 8, 8], layers, loss: Loss::SoftmaxCrossEntropy }, 7)?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let argument = std::env::args().nth(1);
    let mut server = Server::new(settings()?, 1, 1, model()?, MAX_FRAME)?;
    let round = server.open()?;
    let mut stdout = std::io::stdout().lock();
    let now_ms = match argument.as_deref() {
        None => 0,
        Some("--late") => u64::from(DEADLINE_MS) + 1,
        Some("--plan") => {
            stdout.write_all(&round.offer.plan_bytes)?;
            return Ok(stdout.flush()?);
        }
        Some(other) => return Err(format!("unknown argument {other}").into()),
    };

    let mut stdin = std::io::stdin().lock();
    let mut assembler = FrameAssembler::new();
    let mut frame = vec![0; MAX_FRAME];
    let mut block = vec![0; 4096];
    let mut scratch = Vec::new();
    loop {
        let length = stdin.read(&mut block)?;
        if length == 0 {
            break;
        }
        let mut rest = &block[..length];
        while !rest.is_empty() {
            let (taken, whole) = assembler.push(&mut frame, rest);
            rest = &rest[taken..];
            if !whole {
                continue;
            }
            if let Answer::Send(bytes, _) = round.handle(now_ms, &frame, &mut scratch) {
                stdout.write_all(bytes)?;
                stdout.flush()?;
            }
            assembler.clear();
        }
    }

    let closed = server.close(round, &mut ChaCha20Rng::seed_from_u64(1))?;
    let c = &closed.counts;
    let abandoned: u64 = c.abandoned.values().sum();
    writeln!(
        stdout,
        "accepted {} late {} duplicate {} refused {} abandoned {abandoned} stepped {}",
        c.accepted,
        c.late,
        c.duplicate,
        c.refused,
        u8::from(closed.stepped)
    )?;
    Ok(stdout.flush()?)
}
