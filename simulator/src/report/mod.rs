//! What a run leaves behind: `report.json` for programs, `report.html` for people.
//!
//! The same seed and command give the same `report.json` byte for byte once [`RunReport::timings`] is taken out (see
//! [`RunReport::without_timings`]): no maps of random order, no clock or thread count outside that field. Every float is
//! an `Option`: what could not be measured, or is not finite, is `null` and shown as a dash, never as a made-up zero.

mod audit;
mod compare;
mod html;
mod json;
mod round;
mod summary;

pub use audit::{audit_json, write_audit};
pub use compare::{write_codec_comparison, write_comparison, write_privacy_comparison};
pub(crate) use html::{LineChart, Series, picture};
pub use html::{
    codec_pictures, render, render_audit, render_codec_comparison, render_comparison, render_privacy_comparison,
};
pub use json::{HTML_NAME, JSON_NAME, WriteError, Written, check_writable, to_json, write_all};
pub use round::{BitsPerParam, Dropped, Held, RoundRecord, StageBytes, Totals};
pub use summary::{
    ArenaPart, DataSummary, DeviceAccuracy, DeviceCost, Evaluation, ExampleCounts, HISTOGRAM_BINS, Kernel, LabelCount,
    LayerSummary, ModelSummary, PERCENTILES, PrivacyStatement, Quantile,
};

use serde::{Deserialize, Serialize};

/// Version of the layout of `report.json`; raised when a field changes its meaning or goes away.
pub const FORMAT: u32 = 1;

/// All of one run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunReport {
    /// [`FORMAT`] of the writer.
    pub format: u32,
    /// Version of siskin that ran.
    pub siskin_version: String,
    /// Program and arguments as they were given, one element each; run again, they give the same report.
    pub command: Vec<String>,
    /// Seed of everything random in the run.
    pub seed: u64,
    /// Every effective setting, defaults included, in the order in which they are shown.
    pub settings: Vec<Setting>,
    /// The data set.
    pub data: DataSummary,
    /// The model at the end of the run.
    pub model: ModelSummary,
    /// Rounds in order.
    pub rounds: Vec<RoundRecord>,
    /// Sums over `rounds`: [`Totals::of`].
    pub totals: Totals,
    /// The last evaluation on the held-out examples.
    pub final_evaluation: Evaluation,
    /// The final model's accuracy device by device.
    pub device_accuracy: DeviceAccuracy,
    /// What the run may claim about privacy.
    pub privacy: PrivacyStatement,
    /// What a round costs a device.
    pub device_cost: DeviceCost,
    /// What was left out or needs a second look. Empty means that nothing was left out.
    pub warnings: Vec<Warning>,
    /// Everything that depends on the machine and the hour; the only field that differs between two runs of one seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timings: Option<Timings>,
}

impl RunReport {
    /// An empty report of this version of siskin for `command` and `seed`.
    #[must_use]
    pub fn new(command: Vec<String>, seed: u64) -> Self {
        let siskin_version = env!("CARGO_PKG_VERSION").to_owned();
        Self { format: FORMAT, siskin_version, command, seed, ..Self::default() }
    }

    /// Takes the rounds and sums them.
    pub fn set_rounds(&mut self, rounds: Vec<RoundRecord>) {
        self.totals = Totals::of(&rounds);
        self.rounds = rounds;
    }

    /// The report without what depends on the machine and the hour.
    #[must_use]
    pub fn without_timings(mut self) -> Self {
        self.timings = None;
        self
    }

    /// Adds a setting; an empty `unit` where it has none.
    pub fn setting(&mut self, section: &str, key: &str, value: impl ToString, unit: &str, note: &str) {
        let [section, key, unit, note] = [section, key, unit, note].map(str::to_owned);
        self.settings.push(Setting { section, key, value: value.to_string(), unit, note });
    }

    /// Adds a warning about `count` things; see [`Warning`].
    pub fn warn(&mut self, count: u64, text: impl Into<String>) {
        self.warnings.push(Warning { count, text: text.into() });
    }
}

/// One effective setting.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// Section of the settings file: "fleet", "privacy" ...
    pub section: String,
    /// Key inside the section.
    pub key: String,
    /// Value, written as the settings file writes it.
    pub value: String,
    /// Unit of the value; empty where it has none.
    pub unit: String,
    /// What it does, in a few words.
    pub note: String,
}

/// Something that was left out, or that weakens a figure.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// How many things it is about; 0 where it is not a count.
    pub count: u64,
    /// A sentence that names them and the cause: "examples left out: label outside 0..9".
    pub text: String,
}

/// Wall-clock figures and the machine that they belong to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timings {
    /// When the run began, seconds since 1970 (UTC).
    pub started_unix_s: Option<u64>,
    /// The whole run, seconds.
    pub wall_s: Option<f64>,
    /// Threads that trained devices.
    pub threads: u64,
    /// Operating system and processor.
    pub machine: String,
    /// Seconds by stage, in the order of the pipeline; they may overlap.
    pub stages: Vec<StageTime>,
}

/// Seconds spent in one stage, summed over threads.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StageTime {
    /// "load data", "train", "aggregate", "evaluate" ...
    pub stage: String,
    /// Seconds.
    pub seconds: Option<f64>,
}

#[cfg(test)]
mod tests;
