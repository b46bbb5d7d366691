//! The path of a run: sessions on virtual devices, their frames, the server's collector, sum, noise and step.
//!
//! The network is the smallest in which a device's data decide its delta: `w x` with one weight a feature, then a frozen layer
//! that makes the logits `(w x, -w x)` of it. After one step on one example of class 0 the delta is `-2 p1 rate x`, so that an
//! example points the delta anywhere; the session does all the rest as it always does.

use super::AuditError;
use super::mechanism::{Claim, Device, Integers, LOUD, Mechanism, OverRounds, Run, Update};
use crate::fleet::{Purpose, SimulatedEntropy, stream};
use rayon::prelude::*;
use siskin::arena::MemoryPlan;
use siskin::checkin::{
    Layer, LayerSpec, Limits, Loss, ModelSpec, Path, Policy, Privacy, Profile, Quantization, Rounding, Storage, Train,
    Training, Upload, Weighting,
};
use siskin::data::SliceStore;
use siskin::privacy::Ledger;
use siskin::quantize::Carried;
use siskin::range_coder::{EntropyCoder, RowColumn};
use siskin::report::{ROTATED_COLUMNS, Report};
use siskin::session::{Abandoned, Config, Outcome, Poll, Session};
use siskin_server::aggregate::{AddError, Closed, ModularSum, NormBound, Sum, SumPlan};
use siskin_server::optim::FedAvgConfig;
use siskin_server::privacy::Noise;
use siskin_server::round::{
    AdaptiveClip, Answer, Close, GlobalModel, Optimizer, Pruning, Round, Selection, Server, Settings,
};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

const POPULATION: &str = "audit";
/// A checkpoint of 50,000 params comes in two pieces.
const FRAME: usize = 128 * 1024;

/// What a run does, in each profile, with noise that is fresh in each round or correlated.
#[derive(Clone, Copy, Debug, Default)]
pub struct Real;

impl Mechanism for Real {
    fn name(&self) -> String {
        "siskin's sessions and server".to_owned()
    }

    fn start(&self, claim: &Claim, seed: u64) -> Result<Box<dyn Run>, AuditError> {
        let settings = settings(claim)?;
        let mut params = vec![0.0; claim.coordinates];
        params.extend([1.0, -1.0]);
        let model = GlobalModel::from_params(&network(claim.coordinates)?, params).map_err(AuditError::model)?;
        let population = population(claim);
        let server = Server::new(settings, population, claim.participations.min(claim.rounds), model, FRAME)?;
        // Who may take part how often is the devices' own affair; with correlated noise the server sees to it as well.
        let capped = claim.over_rounds == OverRounds::Independent && claim.participations < claim.rounds;
        let most_participations = if capped { claim.participations } else { u32::MAX };
        let policy = Policy { limits: Limits { most_participations, ..Limits::NONE }, ..Policy::permissive() };
        // What a sum is before the noise: the same without noise.
        let quiet = Claim { noise_multiplier: 0.0, over_rounds: OverRounds::Independent, ..claim.clone() };
        let quiet = Server::new(self::settings(&quiet)?, population, 1, server.model().clone(), FRAME)?;
        let config = Config { max_frame: FRAME, ..Config::new(POPULATION, policy) };
        let ledgers = capped.then(Mutex::default);
        Ok(Box::new(RealRun { server, quiet, config, seed, claim: claim.clone(), ledgers }))
    }
}

fn network(coordinates: usize) -> Result<ModelSpec, AuditError> {
    let features = u16::try_from(coordinates).map_err(|_| {
        AuditError::Claim(format!("{coordinates} coordinates: at most {} go into one example", u16::MAX))
    })?;
    let weights = Storage { live: 1, path: Path::Dense };
    let dense = |outputs| LayerSpec::Dense { outputs, bias: false, weights };
    let layers = [Layer::from(dense(1)), Layer { train: Train::Nothing, ..Layer::from(dense(2)) }];
    Ok(ModelSpec { input: [features, 1, 1], layers: layers.into_iter().collect(), loss: Loss::SoftmaxCrossEntropy })
}

fn settings(claim: &Claim) -> Result<Settings, AuditError> {
    let population = Config::new(POPULATION, Policy::permissive()).population;
    let privacy = Privacy { noise_multiplier: claim.noise_multiplier, ..Privacy::new(claim.clip_norm, claim.profile) };
    let noise = match claim.over_rounds {
        OverRounds::Independent => Noise::Independent,
        OverRounds::Blt { blt, participation } => Noise::Blt { blt, participation },
        OverRounds::Tree { tree, participation } => Noise::Tree { tree, participation },
    };
    let settings = Settings {
        population,
        noise,
        cohort: claim.cohort,
        cohort_cap: None,
        adaptive: AdaptiveClip::default(),
        over_selection: 1.0,
        min_fraction: 0.0,
        deadline_ms: 3_600_000,
        selection: Selection::Fixed,
        close: Close::Deadline,
        training: Training { max_examples: 1, ..Training::sgd(1, 1, rate(claim)) },
        privacy,
        quantization: Quantization { step: claim.step, rounding: Rounding::Stochastic, keep: 1.0 },
        rate: siskin_server::round::Rate::Fixed,
        upload: Upload { weighting: Weighting::Uniform, max_bytes: 1_000_000, probe: 0, start: 0 },
        starts: false,
        value_step: 0.0,
        optimizer: Optimizer::FedAvg(FedAvgConfig::default()),
        pruning: Pruning::at_once(0.0),
        dp_delta: claim.dp_delta,
    };
    settings.check(self::population(claim)).map_err(|e| AuditError::Claim(e.to_string()))?;
    Ok(settings)
}

/// So many that each round could have devices of its own.
fn population(claim: &Claim) -> usize {
    claim.cohort as usize * claim.rounds as usize
}

/// The step of local training, with which an example of norm 1 makes a delta of [`LOUD`] clip norms at even odds.
fn rate(claim: &Claim) -> f32 {
    LOUD * claim.clip_norm
}

struct RealRun {
    server: Server,
    /// As it was in the first round, and without noise.
    quiet: Server,
    config: Config,
    seed: u64,
    claim: Claim,
    /// What each device stored last, where it must keep one.
    ledgers: Option<Mutex<HashMap<u64, Ledger>>>,
}

impl RealRun {
    /// Those that the server's selection would take: with correlated noise, who may take part again.
    fn admitted(&self, devices: &[Device]) -> Vec<Device> {
        let rule = self.server.settings().noise.participation();
        let log = self.server.participation();
        let may = |device: &&Device| rule.is_none_or(|rule| log.admits(device.number, rule).is_ok());
        devices.iter().filter(may).cloned().collect()
    }

    /// A device's part of a round; without `upload`, up to its finished report. Gives the report, or none if the device's own
    /// ledger keeps it out.
    fn device(
        &self,
        round: &Round,
        device: &Device,
        memory: &mut Vec<u64>,
        upload: bool,
    ) -> Result<Option<Vec<u8>>, AuditError> {
        let bytes = MemoryPlan::new(&round.offer.plan, &round.offer.graph, FRAME).total;
        memory.resize((bytes + 64).div_ceil(8), 0);
        let first = memory.as_ptr().align_offset(64);
        let arena = &mut bytemuck::cast_slice_mut(&mut memory[first..])[..bytes];
        let mut rng = device_stream(self.seed, self.server.round(), device.number);
        let mut session = Session::new(arena, self.config.clone(), &mut rng)?;
        let ledgers = || self.ledgers.as_ref().map(|all| all.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(all) = ledgers() {
            session.use_ledger(all.get(&device.number).cloned().unwrap_or_default(), 0);
        }
        let mut report = Vec::new();
        let features = self.example(&device.update)?;
        let mut store = SliceStore::new(&features, &[0]);
        let mut answer = Vec::new();
        loop {
            match session.poll(0, &mut store) {
                Poll::Working { .. } => {}
                Poll::Persist => {
                    if let (true, Some(mut all), Some(ledger)) = (upload, ledgers(), session.ledger()) {
                        all.insert(device.number, ledger.clone());
                    }
                    session.persisted();
                }
                Poll::Receive { .. } => return Err(AuditError::Device("the server did not answer".to_owned())),
                Poll::Finished(Outcome::Abandoned { cause: Abandoned::Policy(_), .. }) => return Ok(None),
                Poll::Finished(Outcome::Accepted | Outcome::Duplicate) => return Ok(Some(report)),
                Poll::Finished(outcome) => return Err(AuditError::Device(format!("{outcome:?}"))),
                Poll::Send => {
                    if let Some(made) = session.report() {
                        if !upload {
                            return Ok(Some(made.to_vec()));
                        }
                        report.clear();
                        report.extend_from_slice(made);
                    }
                    let reply = round.handle(0, session.outgoing(), &mut answer);
                    session.sent();
                    if let Answer::Send(bytes, _) = reply {
                        session.receive(bytes);
                    }
                }
            }
        }
    }

    /// The one example of a device, on which one step leaves the update for its delta while the odds are even.
    fn example(&self, update: &Update) -> Result<Vec<f32>, AuditError> {
        let Some(mut features) = update.delta(&self.claim) else {
            return Err(AuditError::Device("a session makes no forged report".to_owned()));
        };
        for x in &mut features {
            // A store with a NaN in it is refused. The largest number takes its place: its product with others is infinite,
            // so that the delta has no finite norm.
            *x = if x.is_finite() { -*x / rate(&self.claim) } else { f32::MAX };
        }
        Ok(features)
    }

    /// Symbols of one report, decoded as the collector does.
    fn decode(&self, round: &Round, bytes: &[u8]) -> Result<Vec<(usize, i32)>, AuditError> {
        let report = Report::parse(bytes).map_err(|e| AuditError::Device(e.to_string()))?;
        let widest = round.offer.graph.tensors.iter().map(|t| t.cols).max().unwrap_or(0).max(ROTATED_COLUMNS);
        // Words, because the coder's memory is aligned to them.
        let mut scratch = vec![0u32; RowColumn::required_scratch(widest).div_ceil(4)];
        let mut symbols = Vec::new();
        let (graph, patterns) = (&round.offer.graph, round.offer.patterns());
        let each = |i, q| symbols.push((i, q));
        let decoded = report.symbols(
            graph,
            &patterns,
            (&Carried::All, round.offer.start()),
            bytemuck::cast_slice_mut(&mut scratch),
            each,
        );
        decoded.map_err(|e| AuditError::Device(e.to_string()))?;
        Ok(symbols)
    }

    fn all_symbols(&self, server: &Server, devices: &[Device]) -> Result<Vec<Vec<(usize, i32)>>, AuditError> {
        let round = server.open()?;
        let symbols = devices.par_iter().map_init(Vec::new, |memory, device| match &device.update {
            Update::Forged(symbols) => {
                Ok(symbols.iter().enumerate().filter(|(_, q)| **q != 0).map(|(i, q)| (i, *q)).collect())
            }
            _ => match self.device(&round, device, memory, false)? {
                Some(report) => self.decode(&round, &report),
                None => Ok(Vec::new()),
            },
        });
        symbols.collect()
    }
}

impl Run for RealRun {
    fn round(&mut self, devices: &[Device]) -> Result<Vec<f64>, AuditError> {
        let devices = &self.admitted(devices)[..];
        let round = self.server.open()?;
        let number = self.server.round();
        let before = self.server.model().params().to_vec();
        let sent = devices.par_iter().map_init(Vec::new, |memory, device| {
            let report = self.device(&round, device, memory, true)?;
            Ok::<_, AuditError>(report.map(|_| device.number))
        });
        let sent = sent.collect::<Result<Vec<_>, _>>()?;
        let sent: BTreeSet<u64> = sent.into_iter().flatten().collect();
        let mut noise = stream(self.seed, Purpose::Noise, u64::from(number), 0);
        let closed = self.server.close_of(round, &sent.iter().copied().collect::<Vec<_>>(), &mut noise)?;
        if closed.counts.accepted != sent.len() as u64 {
            let (got, counts) = (closed.counts.accepted, closed.counts);
            return Err(AuditError::Device(format!("{got} of {} reports were accepted: {counts:?}", sent.len())));
        }
        let after = &self.server.model().params()[..self.claim.coordinates];
        Ok(before.iter().zip(after).map(|(before, after)| f64::from(*before) - f64::from(*after)).collect())
    }

    fn integers(&mut self, devices: &[Device]) -> Result<Integers, AuditError> {
        let claim = &self.claim;
        let all = self.all_symbols(&self.quiet, devices)?;
        let failed = |e: AddError| AuditError::Device(e.to_string());
        if let Profile::Distributed(distributed) = claim.profile {
            // Rotated: norms are as they were.
            let mut sum = ModularSum::new(claim.coordinates, distributed);
            all.iter().try_for_each(|symbols| sum.add(symbols)).map_err(failed)?;
            let sum = sum.centred().into_iter().map(i64::from).collect();
            return Ok(Integers { sum, unit: f64::from(claim.step) });
        }
        let bound = NormBound::new(claim.clip_norm, claim.step).map_err(|e| AuditError::Claim(e.to_string()))?;
        let plan = SumPlan::new(bound, 1).unwrap_or_else(|| unreachable!("the weight is 1"));
        let mut sum = Sum::new(claim.coordinates, plan);
        all.into_iter().try_for_each(|symbols| sum.add(symbols, 1).map(drop)).map_err(failed)?;
        match sum.close() {
            Closed::Plain(sum) => Ok(Integers { sum: sum.weighted().to_vec(), unit: bound.unit() }),
            Closed::Promised(_) => unreachable!("no noise was promised"),
        }
    }

    fn reports(&mut self, devices: &[Device]) -> Result<Vec<Vec<i32>>, AuditError> {
        let offer = self.server.open()?.offer;
        let length = offer.plan.symbols(offer.graph.live);
        let dense = |sparse: Vec<(usize, i32)>| {
            let mut symbols = vec![0; length];
            for (i, q) in sparse {
                symbols[i] = q;
            }
            symbols
        };
        Ok(self.all_symbols(&self.server, devices)?.into_iter().map(dense).collect())
    }

    fn epsilon(&self) -> Result<f64, AuditError> {
        let epsilon = self.server.guarantee()?.epsilon;
        if epsilon.is_finite() {
            return Ok(epsilon);
        }
        Err(AuditError::Claim("the server states no epsilon of this noise: audit it with --levels 1".to_owned()))
    }
}

/// A device's randomness in a round: the same device has the same, so that a report that is sent twice is the same report.
fn device_stream(seed: u64, round: u32, device: u64) -> SimulatedEntropy {
    stream(seed, Purpose::Session, u64::from(round), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sessions_delta_is_the_update() {
        let claim = Claim { coordinates: 300, ..super::super::Settings::default().claim(300, 4, 1, 1).unwrap() };
        let mut run = Real.start(&claim, 1).unwrap();
        let mut expected = vec![0.0; 300];
        super::super::mechanism::canary(5, &mut expected);
        let got = run.integers(&[Device { number: 0, update: Update::Canary(5) }]).unwrap();
        let tolerance = f64::from(claim.step);
        for (got, expected) in got.sum.iter().zip(&expected) {
            let expected = f64::from(*expected * claim.clip_norm);
            assert!((*got as f64 * got_unit(&claim) - expected).abs() <= 1.1 * tolerance, "{got} {expected}");
        }
    }

    fn got_unit(claim: &Claim) -> f64 {
        NormBound::new(claim.clip_norm, claim.step).unwrap().unit()
    }
}
