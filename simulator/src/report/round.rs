//! What one round did, and the sums over a run.

use serde::{Deserialize, Serialize};

/// One round as it was seen by the server and counted on the transports of its cohort.
///
/// Every selected device is accounted for: `selected == reports_in + dropped.devices()`; see [`RoundRecord::unaccounted`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RoundRecord {
    /// Number of the round; the first is 1.
    pub round: u64,
    /// Devices in the cohort.
    pub selected: u64,
    /// Reports that were added to the sum, at most one a device. Zero when the round was abandoned.
    pub reports_in: u64,
    /// What was left out, by cause.
    pub dropped: Dropped,
    /// Too few reports came in: the model was not changed by this round.
    pub abandoned: bool,
    /// Reports whose decoded norm was above `clip_norm`, so that the server clipped them again.
    pub reclipped: u64,
    /// Part of the cohort's deltas that the device clipped, `[0, 1]`.
    pub clipped_fraction: Option<f64>,
    /// L2 bound C that held in this round, in units of the params.
    pub clip_norm: Option<f64>,
    /// Noised estimate of the part of the deltas that were within it, `[0, 1]`, by which the next round's C moved; absent
    /// unless clipping is adaptive.
    #[serde(default)]
    pub unclipped_estimate: Option<f64>,
    /// Distance of two points of the grid, in units of the params.
    #[serde(default)]
    pub step: Option<f64>,
    /// Bits per live param that the step was to come to; absent without a budget.
    #[serde(default)]
    pub bits_budget: Option<f64>,
    /// Part of the live params that a report carried, `(0, 1)`; absent where it was all of them.
    #[serde(default)]
    pub part_kept: Option<f64>,
    /// Squared error of a param, in squared units of the params, that one more bit of it would have saved, estimated; absent unless
    /// the step follows it.
    #[serde(default)]
    pub rate_slope: Option<f64>,
    /// Examples that the cohort trained on, each counted once a local epoch.
    pub examples: u64,
    /// Bytes from the server to the cohort, as they crossed the transport.
    pub bytes_down: StageBytes,
    /// Bytes from the cohort to the server, as they crossed the transport; reports that were dropped later included.
    pub bytes_up: StageBytes,
    /// Rate of the reports that were taken in.
    pub bits_per_param: BitsPerParam,
    /// Mean loss over the cohort's local training, nats an example.
    pub mean_train_loss: Option<f64>,
    /// Accuracy on the held-out examples after the round, `[0, 1]`; absent where the round was not evaluated.
    pub accuracy: Option<f64>,
    /// Mean loss on the held-out examples after the round, nats an example; absent where it was not evaluated.
    pub test_loss: Option<f64>,
    /// Fraction of the model's params that are zero by mask after the round, `[0, 1]`.
    pub sparsity: Option<f64>,
    /// Epsilon spent by all rounds up to and with this one, at [`super::PrivacyStatement::dp_delta`]; absent where
    /// there is no finite guarantee.
    pub epsilon: Option<f64>,
    /// Virtual clock at the end of the round, seconds since the run began.
    pub virtual_time_s: Option<f64>,
    /// L2 norm of the step that the server optimizer took on the params.
    pub update_norm: Option<f64>,
}

impl RoundRecord {
    /// Selected devices that neither reported nor are counted as dropped. Anything but zero is a bug in the run's own
    /// counting, and the report says so.
    #[must_use]
    pub fn unaccounted(&self) -> i64 {
        signed(self.selected) - signed(self.reports_in) - signed(self.dropped.devices())
    }
}

/// Reports and devices that a round left out, by cause. A device stands under one cause only, its last; `duplicate`
/// counts reports, not devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// Devices that took the task and never reported.
    pub dropped_out: u64,
    /// Devices whose report came after the round had closed.
    pub late: u64,
    /// Devices that refused the plan (policy, ledger, memory), or whose report the server refused by a rule.
    pub refused: u64,
    /// Devices whose report did not pass its checks.
    pub corrupted: u64,
    /// Devices whose sound report was thrown away since the round was abandoned with too few of them.
    pub too_few: u64,
    /// Further copies of a report that had been counted already; no device is lost by them.
    pub duplicate: u64,
}

impl Dropped {
    /// Devices of the cohort that are not in the sum: all causes but `duplicate`.
    #[must_use]
    pub fn devices(&self) -> u64 {
        self.dropped_out + self.late + self.refused + self.corrupted + self.too_few
    }

    /// (name, count) in a fixed order, for tables and charts; `duplicate` is last.
    #[must_use]
    pub fn by_cause(&self) -> [(&'static str, u64); 6] {
        [
            ("dropped out", self.dropped_out),
            ("late", self.late),
            ("refused", self.refused),
            ("corrupted", self.corrupted),
            ("too few", self.too_few),
            ("duplicate", self.duplicate),
        ]
    }

    fn add(&mut self, other: &Self) {
        self.dropped_out += other.dropped_out;
        self.late += other.late;
        self.refused += other.refused;
        self.corrupted += other.corrupted;
        self.too_few += other.too_few;
        self.duplicate += other.duplicate;
    }
}

/// Bytes in one direction, by the stage that sent them. Every byte stands in exactly one field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageBytes {
    /// Asking for work, and the answer up to the plan; rejections.
    pub check_in: u64,
    /// The plan.
    pub plan: u64,
    /// Masks in the checkpoint, or what changed in them since those that the device kept.
    #[serde(default)]
    pub mask: u64,
    /// The rest of the checkpoint: params.
    pub checkpoint: u64,
    /// The coded delta inside reports.
    pub report_payload: u64,
    /// Header, growth probe, chunk headers and checksums of reports.
    pub report_framing: u64,
    /// Acknowledgements and retry windows.
    pub acks: u64,
    /// Anything sent again after a broken connection, whatever its stage.
    pub resent: u64,
}

impl StageBytes {
    /// All bytes of this direction.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.by_stage().iter().map(|(_, bytes)| bytes).sum()
    }

    /// (name, bytes) in the order in which a round sends them.
    #[must_use]
    pub fn by_stage(&self) -> [(&'static str, u64); 8] {
        [
            ("check-in", self.check_in),
            ("plan", self.plan),
            ("mask", self.mask),
            ("checkpoint without mask", self.checkpoint),
            ("report payload", self.report_payload),
            ("report header and framing", self.report_framing),
            ("acks", self.acks),
            ("sent again", self.resent),
        ]
    }

    /// Adds another's bytes, stage by stage.
    pub(crate) fn add(&mut self, other: &Self) {
        self.check_in += other.check_in;
        self.plan += other.plan;
        self.mask += other.mask;
        self.checkpoint += other.checkpoint;
        self.report_payload += other.report_payload;
        self.report_framing += other.report_framing;
        self.acks += other.acks;
        self.resent += other.resent;
    }
}

/// Rate of compression: `8 * payload bytes / (reports * params)` over the reports that were taken in. Headers and
/// framing are not in it; they are in [`StageBytes::report_framing`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BitsPerParam {
    /// Bits per param that the mask leaves alive.
    pub live: Option<f64>,
    /// Bits per param of the model, pruned ones included.
    pub model: Option<f64>,
}

impl BitsPerParam {
    /// The rate of `reports` reports that hold `payload_bytes` together; absent where there is nothing to divide by.
    #[must_use]
    pub fn of(payload_bytes: u64, reports: u64, live: u64, params: u64) -> Self {
        let rate = |n: u64| {
            let cells = reports as f64 * n as f64;
            (cells > 0.0).then(|| 8.0 * payload_bytes as f64 / cells)
        };
        Self { live: rate(live), model: rate(params) }
    }
}

/// How a budget of bits was held.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Held {
    /// Bits per live param that were allowed.
    pub budget: f64,
    /// Mean, least and largest of what rounds came to, from the fifth on.
    pub reached: Option<(f64, f64, f64)>,
    /// Rounds of those that were within a tenth of it, and all of them.
    pub within: (usize, usize),
}

/// Round from which on a budget is to be held.
const HELD_FROM: u64 = 5;

impl Held {
    /// Of these rounds; none without a budget.
    #[must_use]
    pub fn of(rounds: &[RoundRecord]) -> Option<Self> {
        let budget = rounds.iter().find_map(|r| r.bits_budget)?;
        let late = rounds.iter().filter(|r| r.round >= HELD_FROM && r.reports_in > 0);
        let bits: Vec<f64> = late.filter_map(|r| r.bits_per_param.live).collect();
        let within = bits.iter().filter(|bits| (*bits / budget - 1.0).abs() <= 0.1).count();
        let fold = |f: fn(f64, f64) -> f64, start| bits.iter().copied().fold(start, f);
        let reached = (!bits.is_empty()).then(|| {
            let mean = bits.iter().sum::<f64>() / bits.len() as f64;
            (mean, fold(f64::min, f64::INFINITY), fold(f64::max, 0.0))
        });
        Some(Self { budget, reached, within: (within, bits.len()) })
    }
}

/// Sums over the rounds of a run; made from them by [`Totals::of`], so that the two cannot disagree.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    /// Rounds that ran, abandoned ones included.
    pub rounds: u64,
    /// Rounds that were abandoned.
    pub abandoned: u64,
    /// Selections: a device that takes part in three rounds counts three times.
    pub selected: u64,
    /// Reports that were added to a sum.
    pub reports_in: u64,
    /// What was left out, by cause.
    pub dropped: Dropped,
    /// Reports that the server clipped again.
    pub reclipped: u64,
    /// Examples trained on, each counted once a local epoch.
    pub examples: u64,
    /// Bytes from the server to the devices.
    pub bytes_down: StageBytes,
    /// Bytes from the devices to the server.
    pub bytes_up: StageBytes,
    /// Mean over the reports that were taken in (each round's rate weighted by its `reports_in`).
    pub bits_per_param: BitsPerParam,
    /// Virtual clock at the end, seconds.
    pub virtual_time_s: Option<f64>,
}

impl Totals {
    /// Sums `rounds`.
    #[must_use]
    pub fn of(rounds: &[RoundRecord]) -> Self {
        let mut totals = Self::default();
        for round in rounds {
            totals.rounds += 1;
            totals.abandoned += u64::from(round.abandoned);
            totals.selected += round.selected;
            totals.reports_in += round.reports_in;
            totals.dropped.add(&round.dropped);
            totals.reclipped += round.reclipped;
            totals.examples += round.examples;
            totals.bytes_down.add(&round.bytes_down);
            totals.bytes_up.add(&round.bytes_up);
            totals.virtual_time_s = round.virtual_time_s.or(totals.virtual_time_s);
        }
        totals.bits_per_param =
            BitsPerParam { live: mean_rate(rounds, |b| b.live), model: mean_rate(rounds, |b| b.model) };
        totals
    }

    /// Bytes up a selection: what one device uploads when it takes part in one round, on average.
    #[must_use]
    pub fn bytes_up_per_selection(&self) -> Option<f64> {
        (self.selected > 0).then(|| self.bytes_up.total() as f64 / self.selected as f64)
    }

    /// Bytes down a selection.
    #[must_use]
    pub fn bytes_down_per_selection(&self) -> Option<f64> {
        (self.selected > 0).then(|| self.bytes_down.total() as f64 / self.selected as f64)
    }
}

fn mean_rate(rounds: &[RoundRecord], rate: impl Fn(&BitsPerParam) -> Option<f64>) -> Option<f64> {
    let (mut sum, mut reports) = (0.0, 0.0);
    for round in rounds {
        if let Some(bits) = rate(&round.bits_per_param).filter(|bits| bits.is_finite()) {
            sum += bits * round.reports_in as f64;
            reports += round.reports_in as f64;
        }
    }
    (reports > 0.0).then(|| sum / reports)
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
