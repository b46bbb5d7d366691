//! What checkpoints bring beside their tensors: the start of the reports' coder, and values that are coded.

use super::{GlobalModel, Settings, SettingsError};
use siskin::arena::MemoryPlan;
use siskin::checkin::{CheckpointError, Plan, Profile, Rounding, Tail, Values, code_values, whole_len, write_whole};
use siskin::model::Graph;
use siskin::quantize::{MAX_SYMBOL, Subset};
use siskin::range_coder::{EntropyCoder, Learner, MAX_START, RowColumn, Start};
use siskin::report::supports;

/// The bytes behind the tensors, owned.
#[derive(Debug, Default)]
pub(super) struct Behind {
    pub(super) start: Vec<u8>,
    pub(super) values: Option<Vec<u8>>,
}

impl Behind {
    pub(super) fn new(start: &[u8], values: Option<Vec<u8>>) -> Self {
        Self { start: start.to_vec(), values }
    }

    pub(super) fn tail(&self) -> Tail<'_> {
        Tail { start: &self.start, values: self.values.as_deref() }
    }

    /// The checkpoint with whole masks as it travels.
    pub(super) fn whole(&self, graph: &Graph, source: &[u8]) -> Result<Vec<u8>, CheckpointError> {
        let mut out = vec![0; whole_len(graph, self.tail())];
        write_whole(graph, source, self.tail(), &mut out)?;
        Ok(out)
    }
}

/// The step of the values of a model, where they are coded: a part of the root mean square of those that live, or more, so that the
/// largest is a symbol.
pub(super) fn step_of(settings: &Settings, model: &GlobalModel) -> Option<f32> {
    if settings.value_step <= 0.0 {
        return None;
    }
    let live = || model.tensors().flat_map(|view| view.values.iter().zip(view.live)).filter(|(_, live)| **live);
    let (count, squares, largest) = live().fold((0u64, 0.0f64, 0.0f64), |(count, squares, largest), (value, _)| {
        let value = f64::from(*value);
        (count + 1, squares + value * value, largest.max(value.abs()))
    });
    let rms = libm::sqrt(squares / count.max(1) as f64);
    // A little more than the least, for single precision.
    let step = (settings.value_step * rms).max(largest / f64::from(MAX_SYMBOL) * 1.001) as f32;
    Some(step).filter(|step| (1e-20..=1e12).contains(step))
}

/// The values of `source`, coded, with what changed in the masks since `base` before them if there is one: if that is shorter than
/// floats and devices have room for it. Gives how many bytes the changes take, too.
pub(super) fn coded(
    plan: &Plan,
    (graph, row_ptrs, columns): (&Graph, &[u32], &[u16]),
    (source, base): (&[u8], Option<&[u8]>),
    max_frame: usize,
) -> Option<(Vec<u8>, usize)> {
    let Values::Coded { step } = plan.values else { return None };
    let widest = graph.tensors.iter().map(|t| t.cols).max().unwrap_or(0);
    let mut scratch = vec![0; RowColumn::required_scratch(widest)];
    let room = MemoryPlan::new(plan, graph, max_frame).report.len();
    let (mut symbols, mut out) = (vec![0; graph.values], vec![0; room]);
    let patterns = (graph, row_ptrs, columns);
    let (length, changes) = code_values(patterns, (source, base), step, &mut symbols, &mut scratch, &mut out).ok()?;
    out.truncate(length);
    (length < 4 * graph.values).then_some((out, changes))
}

/// Learns from the reports of one round what the coders of the next may begin with.
#[derive(Debug)]
pub(super) struct Lesson {
    learner: Box<Learner>,
    symbols: Vec<i32>,
}

impl Lesson {
    /// Where the settings ask for it and reports may be looked at.
    pub(super) fn new(settings: &Settings) -> Option<Self> {
        settings.may_start().then(|| Self { learner: Box::default(), symbols: Vec::new() })
    }

    /// Takes in a report of these nonzero symbols. Counts add up, so that the order of reports is no matter.
    pub(super) fn add(
        &mut self,
        offer: &super::Offer,
        symbols: &[(usize, i32)],
        subset: Option<Subset>,
        scratch: &mut [u8],
    ) {
        let live = offer.graph.live;
        self.symbols.clear();
        self.symbols.resize(live, 0);
        // The clip bit behind them is none of the delta.
        symbols.iter().filter(|(index, _)| *index < live).for_each(|(index, symbol)| self.symbols[*index] = *symbol);
        let patterns = offer.patterns();
        let tensors = supports(&offer.graph, patterns.row_ptrs, patterns.columns).map(|(support, _)| support);
        // What is coded in the place of a report may be more than a symbol; nothing hangs on it.
        let _ = self.learner.learn((offer.start(), subset), tensors, &self.symbols, scratch);
    }

    /// The start for the next round; empty if nothing was learned.
    pub(super) fn start(&self) -> Vec<u8> {
        let mut out = vec![0; MAX_START];
        let length = self.learner.write(&mut out).unwrap_or(0);
        out.truncate(length);
        out
    }
}

impl Settings {
    /// True if the coder of reports begins with what earlier ones were like: where that is asked for, and coordinates go through the
    /// coder as they are.
    pub(super) fn may_start(&self) -> bool {
        self.starts && self.quantization.rounding != Rounding::Rotated
    }

    /// That no noise is promised which what reports were like would not have, if checkpoints say it.
    pub(super) fn check_starts(&self) -> Result<(), SettingsError> {
        if !self.starts || self.privacy.leaves_room() || self.privacy.profile == Profile::Local {
            return Ok(());
        }
        let range =
            "0 (off) where noise is added by the server or in shares: it does not cover what single reports were like";
        Err(SettingsError { name: "starts", got: 1.0, range: range.to_owned() })
    }
}

/// A start that was kept, or nothing where it is none.
pub(super) fn checked(start: &[u8]) -> &[u8] {
    Start::new(start).map_or(&[], |start| start.bytes())
}
