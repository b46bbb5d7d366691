//! The byte plan: every purpose, exact, before training starts.

use super::ALIGNMENT;
use crate::checkin::{Clipping, Path, Plan, PlanError, Rounding, masks_len, parts};
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
/// | frame in | frame out || row pointers | columns | start | probe | local | padding | global | moments || scratch                   |
/// '-- needed to check in-''------------- persistent ----------------------------------------------------''-- training ---------------'
///                                                                '-- delta ------' '- report, once trained -''-- range coder --'
/// ```
/// `local` becomes the delta and then the symbols; the report is coded into the bytes of `global` and `moments`, and the range
/// coder's state lies right behind what the report can take. A plan that
/// rotates the delta needs a power of two of values: `padding` is what `local` lacks of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoryPlan {
    /// A frame from the server, until it is whole.
    pub frame_in: Region,
    /// A frame to the server.
    pub frame_out: Region,
    /// Row pointers of all patterns, `u32`.
    pub row_ptrs: Region,
    /// Columns of all patterns, `u16`.
    pub columns: Region,
    /// What the report's coder begins with; empty without a start.
    pub start: Region,
    /// The largest gradients of parameters that do not live, `u64`; empty without a growth probe.
    pub probe: Region,
    /// The parameters in training, `f32`.
    pub local: Region,
    /// What the rotated delta, or the clip bit, needs beyond `local`; empty where the plan asks for neither.
    pub padding: Region,
    /// The parameters in training and the padding: the delta, then the symbols; overlays both.
    pub delta: Region,
    /// Those of them that train, as they came, `f32`.
    pub global: Region,
    /// What the optimizer keeps of them, `f32`: nothing, a velocity, or two moments.
    pub moments: Region,
    /// The gradient of one example, `f32`; empty unless examples are clipped.
    pub example: Region,
    /// Room for the report's header and the growth probe behind the values that the report overwrites.
    pub header: Region,
    /// Activations of a batch, `f32`.
    pub activations: Region,
    /// Gradients of activations, `f32`.
    pub gradients: Region,
    /// Targets of a batch, 32 bits each.
    pub targets: Region,
    /// State of the range coder; overlays what lies behind the report.
    pub coder: Region,
    /// The coded report, as long as it can become; overlays `global` and what follows it.
    pub report: Region,
    /// All of it: what the caller must lend; `usize::MAX` where the target cannot address as much.
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
            at = align(at.saturating_add(bytes));
            region
        };
        let frame_in = next(max_frame);
        let frame_out = next(max_frame);
        let row_ptrs = next(4 * graph.row_ptrs);
        let columns = next(2 * graph.columns);
        let start = next(usize::from(plan.upload.start));
        let probe = next(8 * crate::optim::probe::kept_len(graph, plan.upload.probe));
        let local = next(4 * graph.stored);
        // Where a report has more symbols than coordinates: rotated, or with a bit.
        let signs = parts::ROTATED.here && plan.quantization.rounding == Rounding::Rotated;
        let more_than_live = plan.privacy.distributed().is_some() || plan.privacy.bit_share().is_some() || signs;
        let symbols = if more_than_live { plan.symbols(graph.live) } else { 0 };
        // Regions follow each other without a gap but for the alignment, which the padding begins behind.
        let padding = next(symbols.saturating_mul(4).saturating_sub(align(local.len)));
        let delta = Region::new(local.start, local.len.max(symbols.saturating_mul(4)));
        let global = next(4 * graph.trained);
        let moments = next(4 * graph.trained * plan.training.optimizer.moments());
        let clips_examples = matches!(plan.privacy.clipping, Clipping::Examples { .. });
        let example = next(if clips_examples { 4 * graph.trained } else { 0 });
        // Symbols take less than the 4 bytes of a parameter, but there may be more of them than parameters.
        let coded = if signs {
            crate::quantize::rotated::encoded_bound(&plan.quantization, graph.live)
        } else {
            range_coder::RowColumn::encoded_bound(plan.symbols(graph.live))
        };
        let more = if symbols > 0 { coded } else { 0 };
        let more = more.saturating_sub(global.len + moments.len + example.len);
        let growth = crate::report::growth_bound(graph, plan.upload.probe);
        let header = next((crate::report::MAX_HEADER + growth).saturating_add(more));
        let bound = crate::report::MAX_HEADER + growth;
        let bound = bound.saturating_add(coded);
        // Blocks are put into the order of rows with the memory of `global`.
        let blocks = graph.tensors.iter().any(|t| t.path == Path::Block);
        let report = Region::new(global.start, bound.max(if blocks { global.len } else { 0 }).min(at - global.start));
        let mut next = |bytes: usize| {
            let region = Region::new(line(at), bytes);
            at = align(line(at).saturating_add(bytes));
            region
        };
        // Saturating: on a 32-bit device a plan may ask for more than its address space, and must then be refused, not wrap.
        let activations = next((4 * graph.activations).saturating_mul(batch));
        // The loader stages one example here before it is spread over the batch.
        let targets = graph.targets(plan.model.loss);
        let staged = 4 * (graph.input.features() + targets);
        let gradients = next((4 * graph.gradients).saturating_mul(batch).max(staged));
        let targets = Region::new(at, (4 * targets).saturating_mul(batch));
        at = align(at.saturating_add(targets.len));
        let rotated = if plan.privacy.distributed().is_some() { symbols } else { 0 };
        let widest = (graph.widest() as u32).max(crate::report::rotated_columns(rotated));
        let behind = align(report.start + report.len);
        let coder = Region::new(behind, range_coder::RowColumn::required_scratch(widest));
        let total = at.max(align(behind.saturating_add(coder.len)));
        Self {
            frame_in,
            frame_out,
            row_ptrs,
            columns,
            start,
            probe,
            local,
            padding,
            delta,
            global,
            moments,
            example,
            header,
            activations,
            gradients,
            targets,
            coder,
            report,
            total,
        }
    }

    /// The part that `save` must keep while the patterns and values come.
    pub(crate) fn persistent(&self) -> Region {
        let start = self.row_ptrs.start;
        Region::new(start, self.header.range().end - start)
    }

    /// What `save` must keep while training: bytes of masks, a bit an entry, in place of the patterns where that is shorter
    /// (from one live weight in 16 on, or a little less), and the rest of [`persistent`](Self::persistent).
    pub(crate) fn at_rest(&self, graph: &Graph) -> (usize, Region) {
        let (all, masks) = (self.persistent(), masks_len(graph));
        let patterns = self.start.start - all.start;
        if masks < patterns { (masks, Region::new(self.start.start, all.len - patterns)) } else { (0, all) }
    }

    /// Bytes of the arena in a session that is [saved](crate::session::Session::save) while it trains. With Adam, and
    /// weights in the sparse loops, that is 16 bytes for a live weight and a bit for each weight, or 18 bytes for a live weight and
    /// 4 for each row, whichever is less in all; in the dense loops 16 bytes and a bit for each weight.
    pub fn saved_bytes(&self, graph: &Graph) -> usize {
        let (masks, rest) = self.at_rest(graph);
        masks + rest.len
    }

    /// `(purpose, bytes)` in the order in which they lie; `overlay` lines are not counted twice.
    pub fn by_purpose(&self) -> [(&'static str, usize); 15] {
        [
            ("frame from the server", self.frame_in.len),
            ("frame to the server", self.frame_out.len),
            ("pattern: row pointers", self.row_ptrs.len),
            ("pattern: columns", self.columns.len),
            ("start of the coder", self.start.len),
            ("growth probe", self.probe.len),
            ("parameters, local", self.local.len),
            ("padding of the rotated delta", self.padding.len),
            ("parameters in training, as they came", self.global.len),
            ("moments of the optimizer", self.moments.len),
            ("gradient of one example", self.example.len),
            ("report header, coded growth probe, more symbols", self.header.len),
            ("activations", self.activations.len),
            ("gradients of activations", self.gradients.len),
            ("targets", self.targets.len),
        ]
    }
}

/// Bytes of a cache line. Where the arena starts on a multiple of it, so do the activations and their gradients, and with a batch
/// that is a multiple of 16 every row of them: a vector that lies across two lines takes twice as long to read or write.
const LINE: usize = 64;

const fn line(bytes: usize) -> usize {
    bytes.div_ceil(LINE).saturating_mul(LINE)
}

const fn align(bytes: usize) -> usize {
    bytes.div_ceil(ALIGNMENT).saturating_mul(ALIGNMENT)
}

/// Bytes of arena that `plan` needs, exactly: one byte less is refused, this many never runs out. `usize::MAX` where the
/// target cannot address as many.
///
/// # Errors
/// [`PlanError`] if the plan's layers do not fit together.
pub fn required_bytes(plan: &Plan, max_frame: usize) -> Result<usize, PlanError> {
    let mut graph = Graph::empty();
    graph.lay_out(&plan.model)?;
    Ok(MemoryPlan::new(plan, &graph, max_frame).total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkin::{Layer, LayerSpec, Loss, ModelSpec, Path, Storage, Window};

    #[test]
    fn what_cannot_be_addressed_saturates() {
        assert_eq!((align(0), align(1), align(8), align(9)), (0, 8, 8, 16));
        assert_eq!(align(usize::MAX), usize::MAX);
        assert_eq!(align(usize::MAX - 6), usize::MAX);
    }

    /// The largest batch over the most activations: 64 GiB and more, beyond every 32-bit target.
    #[test]
    fn the_largest_plan_is_counted_in_full() {
        let conv = LayerSpec::Conv2d {
            outputs: 63,
            groups: 1,
            window: Window::POINT,
            bias: true,
            weights: Storage { live: 63, path: Path::Dense },
        };
        let weights = Storage { live: 63 * 256 * 256, path: Path::Dense };
        let dense = LayerSpec::Dense { outputs: 1, bias: true, weights };
        let spec = ModelSpec {
            input: [1, 256, 256],
            layers: [conv, dense].map(Layer::from).into_iter().collect(),
            loss: Loss::SoftmaxCrossEntropy,
        };
        let graph = Graph::new(&spec).unwrap();
        let plan = Plan {
            population: crate::checkin::Population::new(),
            round: 0,
            model: spec,
            training: crate::checkin::Training::sgd(1, 1024, 1.0),
            privacy: crate::checkin::Privacy::new(1.0, crate::checkin::Profile::Central),
            quantization: crate::checkin::Quantization { step: 1.0, rounding: Rounding::Nearest, keep: 1.0 },
            upload: crate::checkin::Upload {
                weighting: crate::checkin::Weighting::Uniform,
                max_bytes: 1000,
                probe: 0,
                start: 0,
            },
            values: crate::checkin::Values::Floats,
        };
        let memory = MemoryPlan::new(&plan, &graph, 1024);
        let features = 64u128 * 256 * 256 + 1;
        let activations = 4 * 1024 * features;
        if usize::BITS == 64 {
            assert_eq!(memory.activations.len() as u128, activations);
            assert!(memory.total as u128 > activations);
        } else {
            assert_eq!(memory.total, usize::MAX);
        }
    }
}
