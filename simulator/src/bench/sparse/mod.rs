//! Training steps of sparse layers against dense ones: `matrixmultiply`'s `sgemm` and the client's own dense kernels.
//!
//! One thread. A *step* is forward, gradient of the input, gradient of the weights with plain gradient descent. All ways of
//! doing it take turns, pass after pass, and the least time of each counts: what else the machine does hits all alike.

mod contest;
mod convolution;
mod crossover;
mod gemm;
mod linear;
mod weights;

use contest::{Contest, Layer};
pub use crossover::Crossover;
use serde::Serialize;
use weights::Kind;

/// The parts of a step that are timed, and the step.
pub const PARTS: [&str; 4] = ["forward", "input gradient", "weight gradient", "step"];

/// What to measure.
#[derive(Debug, Clone)]
pub struct Options {
    /// Inputs and outputs of the fully connected layers; multiples of 8.
    pub sizes: Vec<usize>,
    /// Batches.
    pub batches: Vec<usize>,
    /// Shares of live weights, in `(0, 1]`, of unstructured patterns and of blocks. `2:4` is measured where there are any.
    pub densities: Vec<f64>,
    /// Channels of the convolution, a multiple of 8; none if 0.
    pub channels: usize,
    /// How many values after a multiple of 64 bytes each activation and each gradient of one begins.
    pub offset: usize,
    /// Turns of each contestant.
    pub passes: u32,
    /// Length of a turn, microseconds.
    pub turn_us: f64,
}

/// A way of doing a layer's step.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// Which layer.
    pub layer: String,
    /// Examples at a time.
    pub batch: usize,
    /// How its weights are stored.
    pub format: &'static str,
    /// Share of weights that live.
    pub density: f64,
    /// Microseconds of each of [`PARTS`].
    pub us: [f64; 4],
    /// How many times as fast as `sgemm`.
    pub to_sgemm: [f64; 4],
    /// How many times as fast as the client's own dense kernels.
    pub to_dense: [f64; 4],
}

/// All measurements.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// `sgemm`'s microseconds and the dense kernels' are rows too, with density 1.
    pub rows: Vec<Row>,
    /// Where sparse steps begin to pay.
    pub crossovers: Vec<Crossover>,
    /// The processor, where the system says.
    pub cpu: Option<String>,
    /// Turns of each contestant.
    pub passes: u32,
}

/// Name of the reference's rows.
pub const SGEMM: &str = "sgemm";
/// Name of the rows of `sgemm` that adds the update to the weights as it multiplies.
pub const SGEMM_IN_PLACE: &str = "sgemm, update folded in";
/// Name of the rows of the dense kernels.
pub const DENSE: &str = "dense";
/// Name of the rows of unstructured live weights.
pub const CSR: &str = "CSR";
/// Name of the rows of blocks of four outputs by one input. Convolutions have no kernels for them: they run as CSR.
pub const BLOCKS: &str = "4x1 blocks";
/// Name of the rows of two live weights among each four neighbours of a row, which run as CSR.
pub const TWO_OF_FOUR: &str = "2:4";

/// Runs all contests. `done` hears of the rows of each as they come.
pub fn run(options: &Options, mut done: impl FnMut(&[Row])) -> Outcome {
    let mut rows = Vec::new();
    let contests = options.sizes.iter().map(|&size| (format!("{size}x{size}"), size, false));
    let convolution = (options.channels > 0).then(|| {
        let side = convolution::SIDE;
        (format!("3x3 convolution, {} channels, {side}x{side}", options.channels), options.channels, true)
    });
    for (name, size, convolves) in contests.chain(convolution) {
        for &batch in &options.batches {
            let mut contest = Contest::default();
            let mut enter = |format: &'static str, density: f64, layer: Box<dyn Layer>| {
                contest.enter(format, density, layer);
            };
            if convolves {
                convolution::enter(size, batch, options.offset, &options.densities, &mut enter);
            } else {
                linear::enter(size, batch, options.offset, &options.densities, &mut enter);
            }
            let some = contest.run(&name, batch, options.passes, options.turn_us);
            done(&some);
            rows.extend(some);
        }
    }
    let crossovers = crossover::find(&rows);
    Outcome { rows, crossovers, cpu: cpu(), passes: options.passes }
}

/// The kinds of sparse weights that are measured.
fn kinds(densities: &[f64]) -> impl Iterator<Item = (&'static str, Kind)> {
    let csr = densities.iter().map(|&density| (CSR, Kind::Unstructured(density)));
    let blocks = densities.iter().map(|&density| (BLOCKS, Kind::Blocks(density)));
    csr.chain(blocks).chain((!densities.is_empty()).then_some((TWO_OF_FOUR, Kind::NOfM(2, 4))))
}

/// The processor, where the system says.
pub fn cpu() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let field = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let instructions = field("flags").unwrap_or_default();
    let widest = ["avx512f", "avx2"].into_iter().find(|flag| instructions.split(' ').any(|f| f == *flag));
    let (family, model) = (field("cpu family").unwrap_or_default(), field("model\t").unwrap_or_default());
    Some(format!("{}, family {family}, model {model}, {}", field("model name")?, widest.unwrap_or("baseline")))
}
