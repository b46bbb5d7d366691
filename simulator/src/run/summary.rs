//! What the report says beside the rounds: data, model, devices, privacy, settings.

use super::{Evaluator, RunError, claim};
use crate::config::{Clipping, Profile, RunConfig, SETTINGS, ShareNoise, describe};
use crate::data::Federated;
use crate::fleet::{Purpose, stream};
use crate::report::{
    ArenaPart, DataSummary, DeviceAccuracy, DeviceCost, Evaluation, ExampleCounts, Kernel, LabelCount, LayerSummary,
    ModelSummary, PrivacyStatement, RoundRecord, RunReport,
};
use siskin::arena::MemoryPlan;
use siskin::checkin::Path;
use siskin::session::Config;
use siskin_accounting::SamplingAssumption;
use siskin_server::round::{Round, Server};

/// Devices whose own accuracy is measured, at most.
const LOOKED_AT: usize = 500;

/// What rounds cost a device.
#[derive(Debug, Default)]
pub(super) struct Cost {
    cost: DeviceCost,
    total: usize,
}

impl Cost {
    pub(super) fn observe(&mut self, round: &Round, config: &Config) {
        let memory = MemoryPlan::new(&round.offer.plan, &round.offer.graph, config.max_frame);
        if memory.total > self.total {
            self.total = memory.total;
            self.cost.arena = arena_parts(&memory);
        }
        let checkpoint = round.offer.checkpoint.len() as u64;
        self.cost.largest_checkpoint_bytes = self.cost.largest_checkpoint_bytes.max(checkpoint);
        let (_, step) = round.offer.graph.multiply_adds();
        self.cost.multiply_adds_per_round = Some(step as f64);
        self.cost.multiply_adds_per_example = Some(step as f64);
    }

    pub(super) fn report(&mut self, bytes: u64) {
        self.cost.largest_report_bytes = self.cost.largest_report_bytes.max(bytes);
    }
}

/// The arena by purpose; the sum is what a device must lend.
pub fn arena_parts(memory: &MemoryPlan) -> Vec<ArenaPart> {
    let scratch = ["frame", "activations", "gradients", "targets", "range coder"];
    let mut parts: Vec<ArenaPart> = memory
        .by_purpose()
        .into_iter()
        .filter(|(_, bytes)| *bytes > 0)
        .map(|(purpose, bytes)| ArenaPart {
            purpose: purpose.to_owned(),
            bytes: bytes as u64,
            persistent: !scratch.iter().any(|s| purpose.starts_with(s)),
        })
        .collect();
    let sum: u64 = parts.iter().map(|p| p.bytes).sum();
    if let Some(rest) = (memory.total as u64).checked_sub(sum).filter(|r| *r > 0) {
        parts.push(ArenaPart {
            purpose: "alignment, range coder beyond training".into(),
            bytes: rest,
            persistent: false,
        });
    }
    parts
}

pub(super) fn fill(
    report: &mut RunReport,
    config: &RunConfig,
    data: &Federated,
    server: &Server,
    round: &Round,
    cost: &Cost,
) -> Result<(), RunError> {
    settings(report, config, server);
    report.data = data_summary(data);
    report.model = model_summary(&config.model.model, server, round);
    report.device_cost = cost.cost.clone();
    let examples: u64 = report.totals.examples;
    let trained = report.totals.reports_in + report.totals.dropped.late;
    if let (Some(step), true) = (&mut report.device_cost.multiply_adds_per_round, trained > 0) {
        *step *= examples as f64 / trained as f64;
    }
    let evaluator = Evaluator::new(&round.offer, server.model());
    let score = evaluator.test(data);
    report.final_evaluation = Evaluation {
        round: u64::from(server.round()),
        examples: score.examples,
        targets: score.targets,
        accuracy: score.accuracy(),
        test_loss: score.mean_loss(),
    };
    for (layer, summary) in report.model.layers.iter_mut().enumerate() {
        summary.accuracy_if_halved = evaluator.halved(layer).and_then(|halved| halved.test(data).accuracy());
    }
    report.device_accuracy = device_accuracy(data, &evaluator, config.run.seed);
    report.privacy = privacy(config, server)?;
    claim::check(report, config, server)?;
    warnings(report, data);
    Ok(())
}

fn settings(report: &mut RunReport, config: &RunConfig, server: &Server) {
    let table = toml::Table::try_from(config).unwrap_or_default();
    for s in SETTINGS {
        // Where the report goes and how many threads made it change nothing in it.
        if matches!(s.key, "out" | "threads" | "progress") {
            continue;
        }
        let value = table.get(s.section).and_then(|t| t.get(s.key));
        let value = value.map_or_else(String::new, |v| v.as_str().map_or_else(|| v.to_string(), str::to_owned));
        report.setting(s.section, s.key, value, s.unit, s.note);
    }
    let step = server.settings().quantization.step;
    report.setting("compression", "step, absolute", step, "params", "distance of two grid points");
}

fn data_summary(data: &Federated) -> DataSummary {
    let summary = data.summary();
    let counts: Vec<u64> = (0..data.devices()).map(|d| data.examples(d) as u64).collect();
    let attribution = if data.name.contains("digits") {
        "UCI: Optical Recognition of Handwritten Digits (Alpaydin, Kaynak 1998), through scikit-learn and smartcore"
    } else {
        ""
    };
    DataSummary {
        name: data.name.clone(),
        devices: data.devices() as u64,
        examples: ExampleCounts::of(&counts),
        labels: summary
            .labels
            .iter()
            .enumerate()
            .map(|(label, n)| {
                let name = data.label_names.get(label).cloned().unwrap_or_else(|| label.to_string());
                LabelCount { label: name, examples: *n as u64 }
            })
            .collect(),
        scaling: data.scaling.clone(),
        held_out: data.split.clone(),
        held_out_examples: data.test.len() as u64,
        attribution: attribution.to_owned(),
    }
}

/// The layers of a plan with what the mask leaves of them.
pub fn layers_of(plan: &siskin::checkin::Plan, graph: &siskin::model::Graph) -> Vec<LayerSummary> {
    plan.model
        .layers
        .iter()
        .zip(&graph.nodes)
        .enumerate()
        .map(|(i, (layer, node))| {
            let (kind, details) = describe(&layer.spec);
            let mut summary = LayerSummary {
                name: format!("layer{i}"),
                kind: if details.is_empty() { kind.to_owned() } else { format!("{kind}, {details}") },
                ..LayerSummary::default()
            };
            let tensors = graph.tensors_of(node);
            if let Some(first) = tensors.first() {
                summary.shape = vec![u64::from(first.rows), u64::from(first.cols)];
                summary.params = tensors.iter().map(|t| t.size() as u64).sum();
                summary.live = tensors.iter().map(|t| u64::from(t.live)).sum();
                summary.kernel = match first.path {
                    Path::Dense => Kernel::Dense,
                    Path::Sparse => Kernel::Csr,
                    Path::Block => Kernel::Block,
                };
            }
            summary.multiply_adds = graph.multiply_adds_of(node).0;
            summary
        })
        .collect()
}

fn model_summary(name: &str, server: &Server, round: &Round) -> ModelSummary {
    debug_assert_eq!(server.model().size(), round.offer.graph.size);
    ModelSummary { name: name.to_owned(), layers: layers_of(&round.offer.plan, &round.offer.graph) }
}

fn device_accuracy(data: &Federated, evaluator: &Evaluator<'_>, seed: u64) -> DeviceAccuracy {
    let personal = (0..data.devices()).any(|d| data.personal_tests(d) > 0);
    if personal {
        let mut rng = stream(seed, Purpose::Sample, 0, 0);
        let every = data.devices().div_ceil(LOOKED_AT).max(1);
        let first = (rand_core::Rng::next_u64(&mut rng) % every as u64) as usize;
        let accuracies: Vec<f64> = (first..data.devices())
            .step_by(every)
            .map(|d| {
                let score = evaluator.score(data.personal_tests(d), |i, x, y| data.fill_personal_targets(d, i, x, y));
                score.accuracy().unwrap_or(f64::NAN)
            })
            .collect();
        let on = format!("each device's own held-out examples; every {every}th of {} devices", data.devices());
        return DeviceAccuracy::of(&accuracies, &on);
    }
    let accuracies: Vec<f64> = data
        .test
        .users()
        .iter()
        .map(|user| {
            let first = user.first as usize;
            let score = evaluator.score(user.train as usize, |i, x, y| data.test.fill_targets(first + i, x, y));
            score.accuracy().unwrap_or(f64::NAN)
        })
        .collect();
    let also_train = data.summary().test_users_that_train;
    let method = match data.test.users().len() {
        _ if also_train == 0 => "the examples of each held-out user, none of whom trained".to_owned(),
        users => format!("the held-out examples of each of {users} users, {also_train} of whom also train"),
    };
    DeviceAccuracy::of(&accuracies, &method)
}

fn privacy(config: &RunConfig, server: &Server) -> Result<PrivacyStatement, RunError> {
    let guarantee = server.guarantee()?;
    let mut warnings = Vec::new();
    if guarantee.is_private() {
        warnings.push(
            "This is a simulation: the noise and the cohorts come from the run's seed, so that it can be repeated. Who \
             knows the seed can take the noise off; a real server draws both from its operating system."
                .to_owned(),
        );
        warnings.push(match config.privacy.profile {
            Profile::Central => {
                "The server adds the noise: it must be trusted with each clipped delta.".to_owned()
            }
            Profile::Local => {
                "Each device adds all of the noise: nobody is trusted with a delta, and the sum carries the noise of all devices."
                    .to_owned()
            }
            Profile::Distributed => {
                "Each device adds only its share: a single report is protected by that share alone unless reports are \
                 summed before anybody sees them."
                    .to_owned()
            }
        });
    } else {
        warnings.push("No noise was added: clipping alone protects nobody.".to_owned());
    }
    // The server that opens rounds keeps to the separation as well as to the coins.
    let sampling_enforced = matches!(
        guarantee.sampling,
        SamplingAssumption::PoissonEnforced { .. } | SamplingAssumption::MinSeparation { .. }
    );
    Ok(PrivacyStatement {
        line: guarantee.to_string(),
        epsilon: Some(guarantee.epsilon).filter(|e| e.is_finite()),
        dp_delta: Some(guarantee.dp_delta),
        adjacency: guarantee.adjacency.to_string(),
        unit: guarantee.unit.to_string(),
        sampling: match guarantee.sampling {
            SamplingAssumption::PoissonEnforced { rate } => {
                format!(
                    "Poisson, every device with probability {:.4} in each round; the simulated server flips the coins",
                    rate.most
                )
            }
            SamplingAssumption::PoissonAssumed { rate } => {
                format!("Poisson with probability {:.4}, not enforced", rate.most)
            }
            SamplingAssumption::None { max_participations } => {
                format!("none assumed; a device takes part at most {max_participations} times")
            }
            SamplingAssumption::MinSeparation { max_participations, min_separation } => format!(
                "none assumed; a device takes part at most {max_participations} times, at least {min_separation} rounds \
                 apart, to which the server keeps"
            ),
            _ => "see the line above".to_owned(),
        },
        sampling_enforced,
        mechanism: format!(
            "{}{}; accountant {:?}",
            match (config.privacy.profile, config.privacy.share_noise) {
                (Profile::Central, _) => "Gaussian, added by the server to the integer sum",
                (Profile::Local, _) => "discrete Gaussian on the grid, all of it added by every device",
                (Profile::Distributed, ShareNoise::Gaussian) => "discrete Gaussian on the grid, shared by the devices",
                (Profile::Distributed, ShareNoise::Skellam) =>
                    "Skellam on the grid, shared by the devices; the ledger of a run counts it as no noise, see `siskin account`",
            },
            match config.privacy.clipping {
                Clipping::Adaptive => ", with the clip bit as one more coordinate of the bounded report",
                _ => "",
            },
            guarantee.accountant
        ),
        clip_norm: Some(f64::from(config.privacy.clip_norm)),
        noise_multiplier: Some(f64::from(config.privacy.noise_multiplier)),
        certificate: String::new(),
        warnings,
    })
}

fn warnings(report: &mut RunReport, data: &Federated) {
    let totals = &report.totals;
    let (abandoned, refused, corrupted) = (totals.abandoned, totals.dropped.refused, totals.dropped.corrupted);
    if abandoned > 0 {
        report.warn(abandoned, "rounds were given up with too few reports; the model stayed as it was");
    }
    if refused > 0 {
        report.warn(refused, "devices gave their task back or were refused");
    }
    if corrupted > 0 {
        report.warn(corrupted, "reports did not pass their checks");
    }
    let empty = (0..data.devices()).filter(|d| data.examples(*d) == 0).count() as u64;
    if empty > 0 {
        report.warn(empty, "devices have no example and can never report");
    }
    let uncounted: i64 = report.rounds.iter().map(RoundRecord::unaccounted).sum();
    if uncounted != 0 {
        report.warn(uncounted.unsigned_abs(), "devices are not accounted for: this is a bug");
    }
}
