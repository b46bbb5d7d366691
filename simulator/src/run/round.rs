//! One round of the fleet: devices train side by side, reports come in by virtual time.

use super::RunError;
use crate::data::Federated;
use crate::fleet::{DeviceRun, Ended, KeptMasks, Ledgers, TimeModel, Worker, Written};
use crate::report::{BitsPerParam, Dropped, RoundRecord, StageTime, Timings};
use crate::serve::Lines;
use rand_core::CryptoRng;
use rayon::prelude::*;
use siskin::arena::{ArenaError, MemoryPlan};
use siskin::session::{Config, Outcome};
use siskin_server::round::{Rate, Round, Server};
use std::time::{Duration, Instant};

/// Where the time of a run went.
#[derive(Debug, Default, Clone, Copy)]
pub struct Timing {
    /// Check-in to finished report, all threads side by side.
    pub train: Duration,
    /// Upload, decoding and sums.
    pub collect: Duration,
    /// Mean, noise, step, mask, account.
    pub step: Duration,
    /// Evaluation on held-out examples.
    pub evaluate: Duration,
}

impl Timing {
    pub(super) fn report(&self, started: Instant, threads: u64) -> Timings {
        let wall = started.elapsed();
        let unix = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).ok();
        let stage = |stage: &str, d: Duration| StageTime { stage: stage.to_owned(), seconds: Some(d.as_secs_f64()) };
        Timings {
            started_unix_s: unix.map(|now| now.as_secs().saturating_sub(wall.as_secs())),
            wall_s: Some(wall.as_secs_f64()),
            threads: if threads == 0 { rayon::current_num_threads() as u64 } else { threads },
            machine: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            stages: vec![
                stage("devices: check-in to report", self.train),
                stage("server: upload, decode, sum", self.collect),
                stage("server: noise, step, mask, account", self.step),
                stage("evaluate", self.evaluate),
            ],
        }
    }
}

/// Runs one round that is open and closes it; gives its record and the bytes of its largest report. Devices have the masks that
/// they `kept`, and keep those of this round; where the policy bounds participation, their `ledgers` too. Those on `lines` are not
/// virtual: they train where they are, meanwhile.
///
/// # Errors
/// [`RunError`] if the server cannot step or a device has no memory to check in with.
#[allow(clippy::too_many_arguments, reason = "a round is the meeting of all of them")]
pub fn run_round(
    server: &mut Server,
    round: Round,
    data: &Federated,
    selected: &[usize],
    config: &Config,
    time: &TimeModel,
    seed: u64,
    noise: &mut impl CryptoRng,
    kept: &mut KeptMasks,
    ledgers: &mut Ledgers,
    lines: &mut Lines,
    timing: &mut Timing,
) -> Result<(RoundRecord, u64), RunError> {
    let since = Instant::now();
    let arena_bytes = MemoryPlan::new(&round.offer.plan, &round.offer.graph, config.max_frame).total;
    let written = Written::after(kept, selected);
    let real = lines.len();
    let train = || -> Result<Vec<DeviceRun>, ArenaError> {
        selected
            .par_iter()
            .filter(|device| **device >= real)
            .map_init(Worker::default, |worker, &device| {
                let mask = kept.get(device).map(|mask| &mask[..]);
                let ledger = config.policy.limits.need_ledger().then(|| (ledgers.get(device), ledgers.clock_ms));
                worker.train(data, device, &round, config, arena_bytes, time, seed, mask, &written, ledger)
            })
            .collect()
    };
    let (mut runs, trained) = lines.serve(&round, selected, train);
    runs.extend(trained?);
    for run in &mut runs {
        if let Some(mask) = run.kept.take() {
            kept.keep(run.device, mask);
        }
        if let Some(ledger) = &run.ledger {
            ledgers.keep(run.device, ledger.clone());
        }
    }
    timing.train += since.elapsed();

    // Whether a report counts can depend on those before it: by virtual time, then by number, never by thread.
    let since = Instant::now();
    runs.sort_by_key(|run| (run.arrival_ms, run.device));
    let mut worker = Worker::default();
    for run in &mut runs {
        worker.upload(run, data, &round, config, arena_bytes);
    }
    timing.collect += since.elapsed();

    let since = Instant::now();
    let (plan, live) = (round.offer.plan.clone(), round.offer.graph.live);
    let reports = runs.iter().filter(|r| matches!(r.ended, Ended::Reported(Outcome::Accepted)));
    let payload: u64 = reports.map(|r| r.up.report_payload).sum();
    let took_part: Vec<u64> =
        runs.iter().filter(|r| matches!(r.ended, Ended::Reported(_))).map(|r| r.device as u64).collect();
    let budget = match server.settings().rate {
        Rate::Bits(budget) => Some(budget.bits),
        _ => None,
    };
    let closed = server.close_of(round, &took_part, noise)?;
    timing.step += since.elapsed();

    let accepted = closed.counts.accepted;
    let mut record = RoundRecord {
        round: u64::from(plan.round) + 1,
        selected: selected.len() as u64,
        reports_in: if closed.stepped { accepted } else { 0 },
        dropped: Dropped { too_few: if closed.stepped { 0 } else { accepted }, ..Dropped::default() },
        abandoned: !closed.stepped,
        reclipped: closed.reclipped,
        clip_norm: Some(f64::from(plan.privacy.clip_norm)),
        unclipped_estimate: closed.unclipped,
        sparsity: Some(server.model().sparsity()),
        epsilon: Some(closed.guarantee.epsilon).filter(|e| e.is_finite()),
        virtual_time_s: Some(closed.closed_ms as f64 / 1e3),
        update_norm: closed.update_norm,
        step: Some(f64::from(plan.quantization.step)),
        bits_budget: budget,
        part_kept: Some(f64::from(plan.quantization.keep)).filter(|keep| *keep < 1.0),
        rate_slope: closed.rate.and_then(|rate| rate.slope),
        bits_per_param: BitsPerParam::of(payload, accepted, live as u64, server.model().size() as u64),
        ..RoundRecord::default()
    };
    let (mut clipped, mut losses, mut trained) = (0u64, 0.0, 0u64);
    for run in &runs {
        record.bytes_up.add(&run.up);
        record.bytes_down.add(&run.down);
        match &run.ended {
            Ended::DroppedOut | Ended::Ready { .. } => record.dropped.dropped_out += 1,
            Ended::Without(_) => record.dropped.refused += 1,
            Ended::Reported(outcome) => {
                // Of a device on a line only the report is known.
                trained += u64::from(run.metrics.examples > 0);
                clipped += u64::from(run.metrics.clipped);
                losses += f64::from(run.metrics.loss);
                record.examples += u64::from(run.metrics.examples) * u64::from(plan.training.epochs);
                match outcome {
                    Outcome::Accepted => {}
                    Outcome::Late => record.dropped.late += 1,
                    Outcome::Duplicate => record.dropped.duplicate += 1,
                    Outcome::Refused => record.dropped.corrupted += 1,
                    _ => record.dropped.refused += 1,
                }
            }
        }
    }
    if trained > 0 {
        record.clipped_fraction = Some(clipped as f64 / trained as f64);
        record.mean_train_loss = Some(losses / trained as f64).filter(|l| l.is_finite());
    }
    let largest = runs.iter().map(|r| r.report.0).max().unwrap_or(0);
    Ok((record, largest))
}
