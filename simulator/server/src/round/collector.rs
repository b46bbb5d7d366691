//! Reports come in, in pieces and in any order, and are counted once.

use super::grid::{ModulusError, check_modulus};
use super::rate::{Sizes, Trial};
use super::tail::Lesson;
use super::{Close, Offer, Settings, Substitute};
use crate::aggregate::{AddError, BoundError, DitheredSum, ModularSum, NormBound, SignSum, Sum, SumPlan};
use crate::privacy::{NoiseError, NoiseMultiplier};
use siskin::checkin::{Privacy, Profile, Rounding, Weighting};
use siskin::model::Graph;
use siskin::quantize::{Carried, Dither};
use siskin::range_coder::{EntropyCoder, RowColumn};
use siskin::report::{ROTATED_COLUMNS, Report};
use siskin::wire::UploadStatus;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

/// What became of the devices that were asked. Every one of them is in exactly one of these, or never came back.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counts {
    /// Reports in the sum.
    pub accepted: u64,
    /// Complete reports after the round had closed.
    pub late: u64,
    /// Complete reports that had been counted before.
    pub duplicate: u64,
    /// Complete reports that do not decode or do not belong to the plan.
    pub refused: u64,
    /// Tasks given back, by [`code`](siskin::session::Abandoned::code).
    pub abandoned: BTreeMap<u8, u64>,
}

/// The sum of a round, as its profile wants it.
#[derive(Debug, Clone)]
pub enum Tally {
    /// Central and local: each report is clipped again.
    Clipped(Sum),
    /// Distributed: modulo `2^bits`.
    Modular(ModularSum),
    /// Signs of rotated deltas.
    Signs(SignSum),
    /// Dithered: what devices took away is added again.
    Dithered(DitheredSum),
}

impl Tally {
    fn add(
        &mut self,
        report: &[(usize, i32)],
        weight: u32,
        (carried, dither): (&Carried, Option<&Dither>),
    ) -> Result<(), AddError> {
        match (self, carried) {
            (Self::Dithered(sum), _) => match dither {
                Some(dither) => sum.add(dither, carried, report, weight),
                // None of this plan's.
                None => Err(AddError::Index { entry: 0, index: 0, live: 0 }),
            },
            (Self::Clipped(sum), _) => sum.add(report.iter().copied(), weight).map(drop),
            (Self::Signs(sum), Carried::Rotated(rotated)) => sum.add(rotated, report, weight),
            // None of this plan's.
            (Self::Signs(sum), _) => Err(AddError::Index { entry: 0, index: 0, live: sum.live() }),
            (Self::Modular(_), _) if weight != 1 => Err(AddError::Weight { max: 1, got: weight }),
            (Self::Modular(sum), _) => sum.add(report),
        }
    }

    /// Reports that were clipped again.
    pub fn reclipped(&self) -> u64 {
        match self {
            Self::Clipped(sum) => sum.counts().clipped,
            Self::Dithered(sum) => sum.counts().clipped,
            Self::Modular(_) | Self::Signs(_) => 0,
        }
    }
}

/// What the round brought in.
#[derive(Debug)]
pub struct Collected {
    /// The counts.
    pub counts: Counts,
    /// The sums.
    pub sum: Tally,
    /// Sum of the levels of all growth probes, all params in flat order; if the plan asks for them.
    pub growth: Option<Vec<u64>>,
    /// The sizes of the reports.
    pub(super) sizes: Sizes,
    /// What some of them would be on a coarser grid.
    pub(super) trial: Trial,
    /// What the coders of the next round may begin with.
    pub(super) lesson: Option<Lesson>,
    /// When the last report that counts was in, ms after the round opened.
    pub closed_ms: u64,
}

/// Takes reports until the round closes.
#[derive(Debug)]
pub struct Collector {
    sum: Tally,
    goal: u64,
    close: Close,
    deadline_ms: u64,
    max_bytes: usize,
    partial: HashMap<u64, Vec<u8>>,
    decided: HashMap<u64, UploadStatus>,
    counts: Counts,
    closed_ms: u64,
    symbols: Vec<(usize, i32)>,
    growth: Option<Vec<u64>>,
    named: Vec<(usize, u8)>,
    scratch: Vec<u8>,
    sizes: Sizes,
    trial: Trial,
    lesson: Option<Lesson>,
    pub(super) substitute: Option<Box<dyn Substitute>>,
}

/// Why the settings give no sum.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum CollectorError {
    /// Clip norm and step do not go together.
    #[error(transparent)]
    Bound(#[from] BoundError),
    /// The noise multiplier.
    #[error(transparent)]
    Noise(#[from] NoiseError),
    /// Sums would wrap.
    #[error(transparent)]
    Modulus(#[from] ModulusError),
}

/// The bound that a report of an honest device keeps: without noise, rounding and all, else the clip norm. Where devices add noise it is on top of what they clipped: a
/// server that cut it off again would shrink the signal with it, by a factor that grows with the number of coordinates.
/// Noise of `d` coordinates is longer than `sigma * (sqrt(d) + sqrt(2 t))` with probability at most `exp(-t)` (Laurent &
/// Massart 2000, "Adaptive estimation of a quadratic functional by model selection", lemma 1); here that is 10^-12. No privacy hangs on this bound: it is there so that
/// one report cannot outweigh the others.
fn norm_of_a_report(settings: &Settings, live: usize) -> Result<NormBound, BoundError> {
    let (p, grid) = (&settings.privacy, &settings.quantization);
    match p.profile {
        Profile::Local if p.noise_multiplier > 0.0 => {
            let clip_norm = f64::from(p.clip_norm);
            let sigma = clip_norm * f64::from(p.noise_multiplier);
            let root = libm::sqrt(live as f64);
            let tail = libm::sqrt(2.0 * 12.0 * std::f64::consts::LN_10);
            NormBound::new((clip_norm + sigma * (root + tail)) as f32, grid.step)
        }
        _ => NormBound::of(p, grid, grid.most_kept(live)),
    }
}

/// False if the clip bit is one that no honest device sends: it would move the clip norm by more than one device may. Only
/// where the bit comes as it was set; under noise of a device's own nothing is known of it.
fn has_whole_bit(privacy: &Privacy, step: f32, graph: &Graph, symbols: &[(usize, i32)]) -> bool {
    match privacy.bit_steps(step) {
        Some(bit) if privacy.profile == Profile::Central || privacy.noise_multiplier == 0.0 => {
            privacy.distributed().is_some()
                || symbols.last().is_some_and(|(at, q)| *at == graph.live && f64::from(q.unsigned_abs()) == bit)
        }
        _ => true,
    }
}

impl Collector {
    /// `first`: see [`Sizes::new`].
    pub(crate) fn new(settings: &Settings, offer: &Offer, first: bool) -> Result<Self, CollectorError> {
        let coordinates = settings.privacy.coordinates(offer.graph.live);
        // Noise is on the clip bit too.
        let bounded = if settings.privacy.leaves_room() { offer.graph.live } else { coordinates };
        let bound = norm_of_a_report(settings, bounded)?;
        let max_weight = match settings.upload.weighting {
            Weighting::Uniform => 1,
            Weighting::Examples { cap } => cap.max(1),
        };
        let mut plan = SumPlan::new(bound, max_weight).unwrap_or_else(|| unreachable!("the weight is at least 1"));
        if settings.privacy.noise_multiplier > 0.0 && settings.privacy.profile == Profile::Central {
            plan = plan.with_noise(NoiseMultiplier::new(f64::from(settings.privacy.noise_multiplier))?);
        }
        let sum = match settings.privacy.distributed() {
            Some(distributed) => {
                let live = offer.graph.live;
                check_modulus(&settings.privacy, settings.quantization.step, live, settings.most_reports())?;
                Tally::Modular(ModularSum::new(coordinates, distributed))
            }
            None if settings.quantization.rounding == Rounding::Rotated => {
                let (clip_norm, live) = (settings.privacy.clip_norm, offer.graph.live);
                Tally::Signs(SignSum::new(&settings.quantization, clip_norm, live, plan.max_weight))
            }
            None if settings.quantization.rounding == Rounding::Dithered => {
                Tally::Dithered(DitheredSum::new(coordinates, offer.graph.live, plan.bound, plan.max_weight))
            }
            None => Tally::Clipped(Sum::new(coordinates, plan)),
        };
        let widest = offer.graph.tensors.iter().map(|t| t.cols).max().unwrap_or(0).max(ROTATED_COLUMNS);
        Ok(Self {
            sum,
            goal: u64::from(settings.cohort),
            close: settings.close,
            deadline_ms: u64::from(settings.deadline_ms),
            max_bytes: offer.plan.upload.max_bytes as usize,
            partial: HashMap::new(),
            decided: HashMap::new(),
            counts: Counts::default(),
            closed_ms: 0,
            symbols: Vec::new(),
            growth: (offer.plan.upload.probe > 0).then(|| vec![0; offer.graph.size]),
            named: Vec::new(),
            scratch: vec![0; RowColumn::required_scratch(widest)],
            sizes: Sizes::new(settings, offer.graph.live, first),
            trial: Trial::new(settings),
            lesson: Lesson::new(settings),
            substitute: None,
        })
    }

    /// Takes a piece of a report; says how much is there without a gap, and what became of it.
    pub(crate) fn upload(
        &mut self,
        offer: &Offer,
        now_ms: u64,
        task: u64,
        total: u32,
        offset: u32,
        payload: &[u8],
    ) -> (u32, UploadStatus) {
        match self.decided.get(&task) {
            Some(UploadStatus::Accepted) => {
                // A repetition of the last piece by a device that missed the answer.
                if offset as usize + payload.len() == total as usize {
                    self.counts.duplicate += 1;
                }
                return (total, UploadStatus::Duplicate);
            }
            Some(status) => return (total, *status),
            None => {}
        }
        if total as usize > self.max_bytes {
            return self.decide(task, total, UploadStatus::Refused);
        }
        let held = self.partial.entry(task).or_default();
        // Only what continues without a gap is kept, so nothing can be written twice.
        let fresh = (held.len()).checked_sub(offset as usize).and_then(|known| payload.get(known..));
        if let Some(fresh) = fresh
            && held.len() + fresh.len() <= total as usize
        {
            held.extend_from_slice(fresh);
        }
        let upto = held.len() as u32;
        if upto < total {
            return (upto, UploadStatus::Partial);
        }
        let bytes = self.partial.remove(&task).unwrap_or_default();
        let goal_reached = self.close == Close::Goal && self.counts.accepted >= self.goal;
        let status = if now_ms > self.deadline_ms || goal_reached {
            UploadStatus::Late
        } else if self.add(offer, task, &bytes) {
            self.closed_ms = self.closed_ms.max(now_ms);
            UploadStatus::Accepted
        } else {
            UploadStatus::Refused
        };
        self.decide(task, total, status)
    }

    fn decide(&mut self, task: u64, total: u32, status: UploadStatus) -> (u32, UploadStatus) {
        match status {
            UploadStatus::Accepted => self.counts.accepted += 1,
            UploadStatus::Late => self.counts.late += 1,
            _ => self.counts.refused += 1,
        }
        self.decided.insert(task, status);
        (total, status)
    }

    pub(crate) fn abandon(&mut self, task: u64, cause: u8) {
        // What was decided stays decided: a counted report that is given back afterwards is still a counted one.
        if let Entry::Vacant(undecided) = self.decided.entry(task) {
            undecided.insert(UploadStatus::Refused);
            self.partial.remove(&task);
            *self.counts.abandoned.entry(cause).or_default() += 1;
            self.sizes.abandoned(cause);
        }
    }

    /// True if the report belongs to the plan, decodes and is in the sum now.
    fn add(&mut self, offer: &Offer, task: u64, bytes: &[u8]) -> bool {
        let Ok(report) = Report::parse(bytes) else { return false };
        let header = &report.header;
        let plan = &offer.plan;
        let belongs = header.plan == offer.fingerprint
            && header.round == plan.round
            && header.live as usize == plan.symbols(offer.graph.live)
            && header.step.to_bits() == plan.quantization.step.to_bits()
            && header.profile == plan.privacy.profile;
        if !belongs {
            return false;
        }
        self.symbols.clear();
        let symbols = &mut self.symbols;
        let carried = Carried::new(&plan.quantization, offer.fingerprint, task, offer.graph.live);
        let each = |i, q| symbols.push((i, q));
        let decoded =
            report.symbols(&offer.graph, &offer.patterns(), (&carried, offer.start()), &mut self.scratch, each);
        if decoded.is_err() || !has_whole_bit(&plan.privacy, plan.quantization.step, &offer.graph, &self.symbols) {
            return false;
        }
        if !self.read_growth(offer, &report) {
            return false;
        }
        if let Some(substitute) = &mut self.substitute {
            substitute.substitute(&report, plan.quantization.step, &mut self.symbols);
        }
        // The whole report is good: both sums take it, or none.
        let dither = Dither::new(&plan.quantization, offer.fingerprint, task);
        if self.sum.add(&self.symbols, header.weight, (&carried, dither.as_ref())).is_err() {
            return false;
        }
        if let Some(lesson) = &mut self.lesson {
            lesson.add(offer, &self.symbols, carried.subset(), &mut self.scratch);
        }
        self.sizes.add(report.payload.len(), &self.symbols);
        self.trial.add((offer, task), &self.symbols, report.payload.len(), &mut self.scratch);
        if let Some(sums) = &mut self.growth {
            for (place, level) in &self.named {
                sums[*place] += u64::from(*level);
            }
        }
        true
    }

    /// Reads the growth probe; false if it does not belong to the plan.
    fn read_growth(&mut self, offer: &Offer, report: &Report<'_>) -> bool {
        let mut first = Vec::with_capacity(offer.graph.tensors.len());
        let mut at = 0;
        for tensor in &offer.graph.tensors {
            first.push(at);
            at += tensor.size();
        }
        self.named.clear();
        let named = &mut self.named;
        let each = |tensor: usize, place: u32, level| named.push((first[tensor] + place as usize, level));
        report.growth(&offer.graph, &offer.patterns(), offer.plan.upload.probe, each).is_ok()
    }

    pub(crate) fn finish(self) -> Collected {
        let Self { counts, sum, growth, sizes, trial, lesson, closed_ms, .. } = self;
        Collected { counts, sum, growth, sizes, trial, lesson, closed_ms }
    }
}
