//! What does not change from round to round: data, model, privacy, cost on the device, and the last evaluation.

use serde::{Deserialize, Serialize};

/// The data set as the fleet sees it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DataSummary {
    /// Name, as given on the command line.
    pub name: String,
    /// Devices of the population.
    pub devices: u64,
    /// Examples in the devices' example stores.
    pub examples: ExampleCounts,
    /// Training examples by label, in the order of the labels.
    pub labels: Vec<LabelCount>,
    /// How raw values became inputs: "pixels / 16, to [0, 1]".
    pub scaling: String,
    /// What was held out for testing, how it was chosen, and whether test users are train users.
    pub held_out: String,
    /// Examples held out for testing.
    pub held_out_examples: u64,
    /// Authors, licence and how the data asks to be cited.
    pub attribution: String,
}

/// Training examples a device, over the devices of the population.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ExampleCounts {
    /// Over all devices.
    pub total: u64,
    /// Least of any device.
    pub min: u64,
    /// Median device; the mean of the middle two where their number is even.
    pub median: Option<f64>,
    /// Most of any device.
    pub max: u64,
}

impl ExampleCounts {
    /// Summarises `per_device`, the number of training examples of each device, in any order.
    #[must_use]
    pub fn of(per_device: &[u64]) -> Self {
        let mut sorted = per_device.to_vec();
        sorted.sort_unstable();
        let (Some(&min), Some(&max)) = (sorted.first(), sorted.last()) else { return Self::default() };
        let floats: Vec<f64> = sorted.iter().map(|&n| n as f64).collect();
        Self { total: sorted.iter().sum(), min, median: quantile(&floats, 0.5), max }
    }
}

/// One bar of the label histogram.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelCount {
    /// The label, as the data set writes it.
    pub label: String,
    /// Training examples that carry it; where each position has a label, positions.
    pub examples: u64,
}

/// The model, layer by layer in the order of the forward pass.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ModelSummary {
    /// Name, as given on the command line.
    pub name: String,
    /// Layers; those without params (activations, pooling) may be left out.
    pub layers: Vec<LayerSummary>,
}

impl ModelSummary {
    /// Params of the model, pruned ones included.
    #[must_use]
    pub fn params(&self) -> u64 {
        self.layers.iter().map(|layer| layer.params).sum()
    }

    /// Params that the mask leaves alive.
    #[must_use]
    pub fn live(&self) -> u64 {
        self.layers.iter().map(|layer| layer.live).sum()
    }

    /// Multiply-adds of one forward pass over one example.
    #[must_use]
    pub fn multiply_adds(&self) -> u64 {
        self.layers.iter().map(|layer| layer.multiply_adds).sum()
    }
}

/// One layer at the end of the run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LayerSummary {
    /// Name in the plan.
    pub name: String,
    /// Kind: "dense", "conv2d" ...
    pub kind: String,
    /// Shape of the weights, `[out, in]` or `[out, in, height, width]`.
    pub shape: Vec<u64>,
    /// Params, biases and pruned ones included.
    pub params: u64,
    /// Params that the mask leaves alive, biases included.
    pub live: u64,
    /// Kernel that runs it.
    pub kernel: Kernel,
    /// Multiply-adds of the forward pass over one example, as the kernel does them (a CSR kernel skips zeros).
    pub multiply_adds: u64,
    /// Accuracy of the whole model on the held-out examples if the smaller half of this layer's live weights were zero too,
    /// `[0, 1]`: where one more pruning would hurt. `None` for a layer without weights, or if nothing was evaluated.
    #[serde(default)]
    pub accuracy_if_halved: Option<f64>,
}

impl LayerSummary {
    /// Fraction of the layer's params that are zero by mask.
    #[must_use]
    pub fn sparsity(&self) -> Option<f64> {
        (self.params > 0).then(|| 1.0 - self.live as f64 / self.params as f64)
    }
}

/// How a layer is run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kernel {
    /// The layer has no product to run (an activation, pooling).
    #[default]
    None,
    /// Every param, zero or not.
    Dense,
    /// Compressed sparse rows: live params only.
    Csr,
    /// Blocks of four outputs by one input: live params only.
    Block,
}

impl Kernel {
    /// For people; empty where there is nothing to run.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Dense => "dense",
            Self::Csr => "CSR",
            Self::Block => "4x1 blocks",
        }
    }
}

/// The last evaluation on the held-out examples.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Round after which it was made.
    pub round: u64,
    /// Held-out examples that were evaluated.
    pub examples: u64,
    /// Their labels: more than one an example where each position has one.
    #[serde(default)]
    pub targets: u64,
    /// Part of the labels that the model gives, `[0, 1]`.
    pub accuracy: Option<f64>,
    /// Mean loss of a label, nats.
    pub test_loss: Option<f64>,
}

/// Spread of the final model's accuracy over devices: a mean hides who is served badly.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DeviceAccuracy {
    /// Devices that were evaluated.
    pub devices: u64,
    /// Devices that were not, for they hold no example to test on.
    pub devices_without_examples: u64,
    /// On which examples of each device, and how the quantiles were made.
    pub method: String,
    /// (percentile, accuracy): 0, 5, 10, 25, 50, 75, 90, 95, 100, ascending; empty without devices.
    pub quantiles: Vec<Quantile>,
    /// Devices by accuracy in [`HISTOGRAM_BINS`] equal bins over `[0, 1]`; the last holds 1.0 too. Empty without devices.
    pub histogram: Vec<u64>,
}

/// One quantile of accuracy over devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Quantile {
    /// Percent of devices at or below; 0 is the minimum, 100 the maximum.
    pub percent: u8,
    /// Accuracy, `[0, 1]`.
    pub accuracy: Option<f64>,
}

/// Percentiles that a report states.
pub const PERCENTILES: [u8; 9] = [0, 5, 10, 25, 50, 75, 90, 95, 100];
/// Bins of the histogram of accuracies.
pub const HISTOGRAM_BINS: usize = 20;

impl DeviceAccuracy {
    /// Quantiles of `accuracies`, one a device, each in `[0, 1]`, in any order. Those that are not finite count as
    /// devices without examples. `on` says which examples: "each device's own held-out fifth".
    ///
    /// Quantiles interpolate linearly between order statistics (Hyndman and Fan 1996, type 7: numpy's default), every
    /// device with the same weight.
    #[must_use]
    pub fn of(accuracies: &[f64], on: &str) -> Self {
        let mut sorted: Vec<f64> = accuracies.iter().copied().filter(|a| a.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let mut report = Self {
            devices: sorted.len() as u64,
            devices_without_examples: (accuracies.len() - sorted.len()) as u64,
            method: format!("{on}; every device has the same weight; linear between order statistics (type 7)"),
            ..Self::default()
        };
        if sorted.is_empty() {
            return report;
        }
        let at = |percent| Quantile { percent, accuracy: quantile(&sorted, f64::from(percent) / 100.0) };
        report.quantiles = PERCENTILES.into_iter().map(at).collect();
        report.histogram = vec![0; HISTOGRAM_BINS];
        for accuracy in sorted {
            let bin = (accuracy.clamp(0.0, 1.0) * HISTOGRAM_BINS as f64) as usize;
            report.histogram[bin.min(HISTOGRAM_BINS - 1)] += 1;
        }
        report
    }

    /// Accuracy at a percentile of [`PERCENTILES`].
    #[must_use]
    pub fn at(&self, percent: u8) -> Option<f64> {
        self.quantiles.iter().find(|q| q.percent == percent).and_then(|q| q.accuracy)
    }
}

/// Type-7 quantile of ascending values, `q` in `[0, 1]`; none of an empty slice.
fn quantile(sorted: &[f64], q: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let place = q.clamp(0.0, 1.0) * last as f64;
    let below = (place as usize).min(last);
    let above = (below + 1).min(last);
    Some(sorted[below] + (sorted[above] - sorted[below]) * (place - below as f64))
}

/// What the run may claim about privacy, and on what it rests. Epsilon is never shown without the rest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PrivacyStatement {
    /// One line that can be quoted: epsilon, dp_delta, unit, adjacency, sampling, mechanism; or that there is none.
    pub line: String,
    /// Epsilon of the whole run; absent where there is no finite guarantee.
    pub epsilon: Option<f64>,
    /// The delta of (epsilon, delta)-DP.
    pub dp_delta: Option<f64>,
    /// When two data sets are neighbours: "add or remove one", "replace one".
    pub adjacency: String,
    /// What is protected: "user", "example".
    pub unit: String,
    /// How the accountant assumes that cohorts are drawn, and what the run did.
    pub sampling: String,
    /// The run drew its cohorts as the accountant assumes.
    pub sampling_enforced: bool,
    /// Mechanism and accountant: "Gaussian on the sum, server-side; PLD".
    pub mechanism: String,
    /// L2 bound C, in units of the params.
    pub clip_norm: Option<f64>,
    /// sigma / C.
    pub noise_multiplier: Option<f64>,
    /// With correlated noise, what the log of who took part when certifies, as a line; else empty.
    #[serde(default)]
    pub certificate: String,
    /// What weakens the claim, each a sentence.
    pub warnings: Vec<String>,
}

/// What one round costs a device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DeviceCost {
    /// The arena by purpose, in the order of its layout; the sum is what `required_bytes` states.
    pub arena: Vec<ArenaPart>,
    /// Largest report of the run, bytes on the transport.
    pub largest_report_bytes: u64,
    /// Largest checkpoint of the run, bytes on the transport.
    pub largest_checkpoint_bytes: u64,
    /// Multiply-adds of one device's training in one round, median over selections.
    pub multiply_adds_per_round: Option<f64>,
    /// Multiply-adds of training on one example once, with the mask of the end.
    #[serde(default)]
    pub multiply_adds_per_example: Option<f64>,
}

impl DeviceCost {
    /// Bytes of the arena.
    #[must_use]
    pub fn arena_bytes(&self) -> u64 {
        self.arena.iter().map(|part| part.bytes).sum()
    }
}

/// One part of the arena.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArenaPart {
    /// What it holds: "params", "gradient", "activations".
    pub purpose: String,
    /// Bytes.
    pub bytes: u64,
    /// It survives a save and restore; scratch does not.
    pub persistent: bool,
}
