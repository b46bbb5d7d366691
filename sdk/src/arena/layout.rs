//! The byte plan: every purpose, exact, before training starts.

use super::ALIGNMENT;
use crate::checkin::{Plan, PlanError};
use crate::model::Graph;
use crate::range_coder::{self, EntropyCoder};
use core::ops::Range;

/// A part of the arena, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Region {
    start: usize,
    len: usize,
}

impl Region {
    pub(crate) const fn new(start: usize, len: usize) -> Self {
        Self { start, len }
    }

    pub(crate) const fn range(self) -> Range<usize> {
        self.start..self.start + self.len
    }

    /// Length, bytes.
    pub const fn len(self) -> usize {
        self.len
    }

    /// True if it has no bytes.
    pub const fn is_empty(self) -> bool {
        self.len == 0
    }

    /// The part `[at, at + len)` of it.
    pub(crate) const fn part(self, at: usize, len: usize) -> Self {
        Self { start: self.start + at, len }
    }
}

/// Where everything lies, and how many bytes a plan takes.
///
/// ```text
/// | frame in | frame out || row pointers | columns | local | global | velocity || scratch                           |
/// '-- needed to check in-''------------- persistent ---------------------------''-- one of: training | range coder --'
///                                                  '- report, once trained -'
/// ```
/// `local` becomes the delta and then the symbols; the report is coded into the bytes of `global` and `velocity`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryPlan {
    /// A frame from the server, until it is whole.
    pub frame_in: Region,
    /// A frame to the server.
    pub frame_out: Region,
    /// Row pointers of all patterns, `u32`.
    pub row_ptrs: Region,
    /// Columns of all patterns, `u16`.
    pub columns: Region,
    /// The parameters in training, `f32`.
    pub local: Region,
    /// The parameters as they came, `f32`.
    pub global: Region,
    /// Momentum, `f32`; empty without momentum.
    pub velocity: Region,
    /// Room for the report's header behind the values that the report overwrites.
    pub header: Region,
    /// Activations of a batch, `f32`.
    pub activations: Region,
    /// Gradients of activations, two buffers, `f32`.
    pub gradients: Region,
    /// Labels of a batch, `u32`.
    pub labels: Region,
    /// State of the range coder; overlays the three above.
    pub coder: Region,
    /// The coded report; overlays `global` and `velocity`.
    pub report: Region,
    /// All of it: what the caller must lend.
    pub total: usize,
}

impl MemoryPlan {
    /// Bytes that a session needs before it has a plan.
    pub const fn before_plan(max_frame: usize) -> usize {
        2 * align(max_frame)
    }

    /// Lays out a round.
    pub fn new(plan: &Plan, graph: &Graph, max_frame: usize) -> Self {
        let batch = usize::from(plan.training.batch);
        let mut at = 0;
        let mut next = |bytes: usize| {
            let region = Region::new(at, bytes);
            at = align(at + bytes);
            region
        };
        let frame_in = next(max_frame);
        let frame_out = next(max_frame);
        let row_ptrs = next(4 * graph.row_ptrs);
        let columns = next(2 * graph.columns);
        let values = 4 * graph.stored;
        let local = next(values);
        let global = next(values);
        let velocity = next(if plan.training.momentum > 0.0 { values } else { 0 });
        let header = next(crate::report::MAX_HEADER);
        let report = Region::new(global.start, at - global.start);
        let scratch = at;
        let mut next = |bytes: usize| {
            let region = Region::new(at, bytes);
            at = align(at + bytes);
            region
        };
        let activations = next(4 * graph.activations * batch);
        // The loader stages one example here before it is spread over the batch.
        let gradients = next(4 * (2 * graph.gradient * batch).max(graph.input.features()));
        let labels = next(4 * batch);
        let coder = Region::new(scratch, range_coder::RowColumn::required_scratch(graph.widest() as u32));
        let total = at.max(align(scratch + coder.len));
        Self {
            frame_in,
            frame_out,
            row_ptrs,
            columns,
            local,
            global,
            velocity,
            header,
            activations,
            gradients,
            labels,
            coder,
            report,
            total,
        }
    }

    /// The part that `save` must keep while training.
    pub(crate) fn persistent(&self) -> Region {
        let start = self.row_ptrs.start;
        Region::new(start, self.activations.start - start)
    }

    /// `(purpose, bytes)` in the order in which they lie; `overlay` lines are not counted twice.
    pub fn by_purpose(&self) -> [(&'static str, usize); 11] {
        [
            ("frame from the server", self.frame_in.len),
            ("frame to the server", self.frame_out.len),
            ("pattern: row pointers", self.row_ptrs.len),
            ("pattern: columns", self.columns.len),
            ("parameters, local", self.local.len),
            ("parameters, global", self.global.len),
            ("velocity (momentum)", self.velocity.len),
            ("report header", self.header.len),
            ("activations", self.activations.len),
            ("gradients of activations", self.gradients.len),
            ("labels", self.labels.len),
        ]
    }
}

const fn align(bytes: usize) -> usize {
    bytes.div_ceil(ALIGNMENT) * ALIGNMENT
}

/// Bytes of arena that `plan` needs, exactly: one byte less is refused, this many never runs out.
///
/// # Errors
/// [`PlanError`] if the plan's layers do not fit together.
pub fn required_bytes(plan: &Plan, max_frame: usize) -> Result<usize, PlanError> {
    let graph = Graph::new(&plan.model)?;
    Ok(MemoryPlan::new(plan, &graph, max_frame).total)
}
