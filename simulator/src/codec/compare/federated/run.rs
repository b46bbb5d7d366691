//! One federated run with one codec.

use super::super::scheme::{Parameter, Scheme, squared_error};
use super::vote::{self, Ballots, Vote};
use super::{Follow, Setting};
use crate::codec::rivals::hadamard::Layout;
use crate::fleet::{KeptMasks, Ledgers, Purpose, TimeModel, stream};
use crate::run::{Evaluator, MAX_FRAME, POPULATION, RunError, Timing, initial_model, run_round};
use crate::serve::Lines;
use siskin::checkin::Policy;
use siskin::quantize::MAX_SYMBOL;
use siskin::report::Report;
use siskin::session::Config;
use siskin_server::round::{Budget, FIRST_BITS, Rate, Server, Substitute};
use std::sync::{Arc, Mutex, PoisonError};

/// Levels of the fine grid in a root mean square.
const FINE: f64 = 512.0;

/// Reports of the first round on which budgets are met.
const PILOTS: usize = 4;

/// What a run came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Outcome {
    /// Bits a param, mean over all reports.
    pub(super) bits: f64,
    /// Mean over the last rounds.
    pub(super) accuracy: f64,
    /// Mean over all reports of the squared error over the squared norm; 0 for the devices' own codec, whose deltas nobody sees.
    pub(super) error: f64,
}

/// Rounds at the end over which an accuracy is averaged: an eighth, between 1 and 5.
pub(super) fn averaged(rounds: u32) -> u32 {
    (rounds / 8).clamp(1, 5)
}

/// A first round that is thrown away.
#[derive(Debug)]
pub(super) struct Pilot {
    seed: u64,
    shapes: Vec<[u32; 2]>,
    deltas: Vec<Vec<f32>>,
    rms: f64,
}

/// What a substitute sees and does, shared with the run that asks it.
#[derive(Debug, Default)]
struct Ledger {
    reports: u64,
    bits: f64,
    error: f64,
    deltas: Vec<Vec<f32>>,
    ballots: Ballots,
}

/// The codec in a report's place.
#[derive(Debug)]
struct Stand {
    shared: Arc<Mutex<Ledger>>,
    /// None: the report stays, and its own bits are counted.
    scheme: Option<(Scheme, f64, f64)>,
    /// What it asks of the device beside the report.
    vote: Option<Vote>,
    /// Keeps deltas for a pilot.
    keep: bool,
    shapes: Vec<[u32; 2]>,
    seed: u64,
}

impl Substitute for Stand {
    fn substitute(&mut self, report: &Report<'_>, step: f32, symbols: &mut Vec<(usize, i32)>) {
        let mut ledger = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let ledger = &mut *ledger;
        ledger.reports += 1;
        let params = report.header.live as usize;
        let dense = |symbols: &[(usize, i32)]| {
            let mut x = vec![0.0f32; params];
            symbols.iter().for_each(|(i, q)| x[*i] = *q as f32 * step);
            x
        };
        if self.keep && ledger.deltas.len() < PILOTS {
            ledger.deltas.push(dense(symbols));
        }
        let Some((scheme, parameter, unit)) = self.scheme else {
            ledger.bits += 8.0 * report.payload.len() as f64;
            return;
        };
        let x = dense(symbols);
        let seed = self.seed.wrapping_add(0x1_0000 * ledger.reports);
        // A parameter that fits the pilot's deltas and not this one: nothing of it arrives.
        let Some(sent) = scheme.send(&x, &self.shapes, parameter, unit, seed) else {
            symbols.clear();
            return;
        };
        ledger.bits += sent.bits as f64;
        let (error, square) = squared_error(&x, &sent.estimate);
        ledger.error += if square > 0.0 { error / square } else { 0.0 };
        if let Some(vote) = self.vote {
            ledger.bits += vote::BITS;
            let choice = vote.choice(|step| scheme.cost(&x, &self.shapes, step, unit, seed));
            if let Some(votes) = choice.and_then(|k| ledger.ballots.get_mut(k)) {
                *votes += 1;
            }
        }
        symbols.clear();
        let most = f64::from(MAX_SYMBOL);
        let fine = |x: &f64| (x / f64::from(step)).round_ties_even().clamp(-most, most) as i32;
        symbols.extend(sent.estimate.iter().map(fine).enumerate().filter(|(_, q)| *q != 0));
    }
}

/// Server, devices and what they keep.
struct Field<'a> {
    setting: &'a Setting,
    server: Server,
    seed: u64,
    kept: KeptMasks,
    ledgers: Ledgers,
    timing: Timing,
}

impl<'a> Field<'a> {
    /// `ours`: the clip norm of a run with the device's own codec, and whether its rounding is left to the server.
    fn new(
        setting: &'a Setting,
        seed: u64,
        step: f32,
        rate: Rate,
        ours: Option<(f32, bool)>,
    ) -> Result<Self, RunError> {
        let mut config = setting.config.clone();
        config.run.seed = seed;
        let model = initial_model(&config, &setting.data)?;
        let live = model.size();
        let mut settings = config.server_settings(POPULATION, live);
        settings.quantization.step = step;
        settings.rate = rate;
        if let Some((clip_norm, any_rounding)) = ours {
            settings.privacy.clip_norm = clip_norm;
            if any_rounding {
                settings.quantization.rounding = rate.rounding(&settings.privacy);
            }
        }
        let server = Server::new(settings, setting.data.devices(), config.fleet.rounds, model, MAX_FRAME)?;
        let (kept, ledgers, timing) = (KeptMasks::default(), Ledgers::default(), Timing::default());
        Ok(Self { setting, server, seed, kept, ledgers, timing })
    }

    /// One round with this codec; gives the bits a param of its reports.
    fn round(&mut self, number: u32, stand: Stand) -> Result<f64, RunError> {
        let config = &self.setting.config;
        let shared = Arc::clone(&stand.shared);
        let seen = || {
            let ledger = shared.lock().unwrap_or_else(PoisonError::into_inner);
            (ledger.reports, ledger.bits)
        };
        let before = seen();
        let device = Config {
            max_frame: MAX_FRAME,
            ..Config::new(POPULATION, Policy { limits: config.limits(), ..Policy::permissive() })
        };
        let time = TimeModel::new(self.seed, config.fleet.dropout);
        self.server.set_learning_rate(config.learning_rate(number));
        let round = self.server.open()?.with_substitute(Box::new(stand));
        let live = round.offer.graph.live as f64;
        let selected = self.server.select(&mut stream(self.seed, Purpose::Selection, u64::from(number), 0));
        let mut noise = stream(self.seed, Purpose::Noise, u64::from(number), 0);
        run_round(
            &mut self.server,
            round,
            &self.setting.data,
            &selected,
            &device,
            &time,
            self.seed,
            &mut noise,
            &mut self.kept,
            &mut self.ledgers,
            &mut Lines::default(),
            &mut self.timing,
        )?;
        let after = seen();
        Ok((after.1 - before.1) / ((after.0 - before.0) as f64 * live).max(1.0))
    }

    fn accuracy(&self) -> Result<f64, RunError> {
        let round = self.server.open()?;
        let score = Evaluator::new(&round.offer, self.server.model()).test(&self.setting.data);
        Ok(score.accuracy().unwrap_or(0.0))
    }
}

impl Pilot {
    pub(super) fn new(setting: &Setting, seed: u64) -> Result<Self, RunError> {
        // Fine for any delta that is worth averaging, and far from where symbols end.
        let mut field = Field::new(setting, seed, 2f32.powi(-18), Rate::Fixed, None)?;
        let graph = field.server.open()?.offer.graph.clone();
        let shapes: Vec<[u32; 2]> = graph.tensors.iter().filter(|t| t.trained).map(|t| [t.rows, t.cols]).collect();
        let shared = Arc::new(Mutex::new(Ledger::default()));
        let stand =
            Stand { shared: Arc::clone(&shared), scheme: None, vote: None, keep: true, shapes: shapes.clone(), seed };
        field.round(0, stand)?;
        let deltas = std::mem::take(&mut shared.lock().unwrap_or_else(PoisonError::into_inner).deltas);
        let square: f64 = deltas.iter().flatten().map(|x| f64::from(*x).powi(2)).sum();
        let count: usize = deltas.iter().map(Vec::len).sum();
        let rms = (square / count.max(1) as f64).sqrt();
        Ok(Self { seed, shapes, deltas, rms: if rms > 0.0 { rms } else { 1.0 } })
    }

    /// Where devices send almost all that they have.
    fn fine<'a>(&self, setting: &'a Setting) -> Result<Field<'a>, RunError> {
        Field::new(setting, self.seed, (self.rms / FINE) as f32, Rate::Fixed, None)
    }

    pub(super) fn params(&self) -> usize {
        self.deltas.first().map_or(0, Vec::len)
    }

    /// Squared error and bits, both a param, of a codec on the deltas.
    fn cost(&self, scheme: Scheme, parameter: f64) -> Option<(f64, f64)> {
        let mut costs =
            self.deltas.iter().enumerate().map(|(i, delta)| {
                scheme.cost(delta, &self.shapes, parameter, self.rms, self.seed.wrapping_add(i as u64))
            });
        let sum = costs.try_fold((0.0, 0.0), |sum: (f64, f64), cost| cost.map(|c| (sum.0 + c.0, sum.1 + c.1)))?;
        let count = self.deltas.len().max(1) as f64;
        Some((sum.0 / count, sum.1 / count))
    }

    /// Bits a param of a codec on the deltas; a step is in their root mean squares.
    fn bits(&self, scheme: Scheme, parameter: f64) -> Option<f64> {
        let mut sum = 0.0;
        for (i, delta) in self.deltas.iter().enumerate() {
            sum += scheme.send(delta, &self.shapes, parameter, self.rms, self.seed.wrapping_add(i as u64))?.bits as f64;
        }
        Some(sum / (self.params() * self.deltas.len()).max(1) as f64)
    }
}

/// Where the parameter of a round comes from.
enum Source {
    Fixed(f64),
    /// In root mean squares of the pilot's deltas.
    Follow(Follow),
    /// The same.
    Vote(Vote),
}

fn source(pilot: &Pilot, scheme: Scheme, budget: f64) -> Source {
    let d = pilot.params();
    match scheme.parameter() {
        Parameter::Step => {
            // QSGD has at least one level, so that its step ends at the norm.
            let most = if scheme == Scheme::Qsgd { (d as f64).sqrt() } else { 1e6 };
            let found = Follow::new(budget, (1e-3, most), |step| pilot.bits(scheme, step));
            if scheme == Scheme::GammaVoted {
                Source::Vote(Vote::new(found.step, |step| pilot.cost(scheme, step)))
            } else {
                Source::Follow(found)
            }
        }
        Parameter::Kept => {
            let index = d.next_power_of_two().trailing_zeros();
            Source::Fixed(budget / f64::from(32 + index))
        }
        Parameter::Bits => {
            let blocks = Layout::Powers.blocks(d);
            let rotated: usize = blocks.iter().sum();
            let scales = 32 * blocks.len();
            Source::Fixed(((budget * d as f64 - scales as f64) / rotated as f64).clamp(1e-6, 4.0))
        }
        Parameter::RotatedStep => {
            let found = Follow::new(budget, (1e-3, 9.0), |step| pilot.bits(scheme, step));
            Source::Fixed(found.step)
        }
        Parameter::Multiplier | Parameter::None => Source::Fixed(1.0),
    }
}

/// A whole run of one codec; none is no compression. Without a budget the codec has this parameter throughout.
pub(super) fn run(
    setting: &Setting,
    pilot: &Pilot,
    scheme: Option<Scheme>,
    budget: Option<f64>,
    parameter: Option<f64>,
) -> Result<Outcome, RunError> {
    let rounds = setting.config.fleet.rounds;
    let ours = scheme.is_some_and(Scheme::is_ours);
    let (mut source, mut field) = match (scheme, budget) {
        (Some(scheme), Some(budget)) if ours => {
            // Of a coordinate that travels.
            let found = Follow::new(budget.max(FIRST_BITS), (1e-3, 1e6), |step| pilot.bits(scheme, step));
            let (step, rate) = ((found.step * pilot.rms) as f32, Rate::Bits(Budget { bits: budget, keep: None }));
            // No delta is as long, and the finest step that the controller goes to is a part of it.
            let clip_norm = (16.0 * pilot.rms * (pilot.params() as f64).sqrt()) as f32;
            (
                Source::Fixed(1.0),
                Field::new(setting, pilot.seed, step, rate, Some((clip_norm, scheme == Scheme::Siskin)))?,
            )
        }
        (Some(scheme), Some(budget)) => (source(pilot, scheme, budget), pilot.fine(setting)?),
        _ => (Source::Fixed(parameter.unwrap_or(1.0)), pilot.fine(setting)?),
    };
    let shared = Arc::new(Mutex::new(Ledger::default()));
    let averaged = averaged(rounds);
    let mut accuracy = 0.0;
    for number in 0..rounds {
        let parameter = match &source {
            Source::Fixed(parameter) => *parameter,
            Source::Follow(follow) => follow.step,
            Source::Vote(vote) => vote.step,
        };
        let vote = if let Source::Vote(vote) = &source { Some(*vote) } else { None };
        let rival = scheme.filter(|_| !ours).map(|scheme| (scheme, parameter, pilot.rms));
        let seed = stream_seed(pilot.seed, number);
        let stand =
            Stand { shared: Arc::clone(&shared), scheme: rival, vote, keep: false, shapes: pilot.shapes.clone(), seed };
        let bits = field.round(number, stand)?;
        match &mut source {
            Source::Fixed(_) => {}
            Source::Follow(follow) => follow.observe(bits),
            Source::Vote(vote) => {
                vote.count(&std::mem::take(&mut shared.lock().unwrap_or_else(PoisonError::into_inner).ballots));
            }
        }
        if number + averaged >= rounds {
            accuracy += field.accuracy()? / f64::from(averaged);
        }
    }
    let ledger = shared.lock().unwrap_or_else(PoisonError::into_inner);
    let reports = (ledger.reports as f64).max(1.0);
    let params = pilot.params().max(1) as f64;
    let bits = if scheme.is_none() { 32.0 } else { ledger.bits / reports / params };
    Ok(Outcome { bits, accuracy, error: ledger.error / reports })
}

/// Of what both sides know in a round: far apart, as reports and blocks count on from it.
fn stream_seed(seed: u64, round: u32) -> u64 {
    seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(u64::from(round) << 40)
}
