//! From trained parameters to a report: delta, clip, rotate, quantise, noise, code, in one piece of work.

use super::derive::report_key;
use super::examples::mean_of_examples;
use super::{Abandoned, Poll, Purpose, Session, Stage, stream};
use crate::arena::cast;
use crate::checkin::{Clipping, Path, Rounding, Weighting, parts};
use crate::model::{Graph, mask};
use crate::optim::{Delta, subtract};
use crate::quantize::{Carried, Dither};
use crate::range_coder::Start;
use crate::report::supports;
use rand_core::Rng;

impl Session<'_> {
    /// Every stage consumes the one before, so none can be left out.
    pub(super) fn privatize(&mut self, examples: u32) -> Poll {
        let Some(task) = &self.task else { return self.give_up(Abandoned::Internal) };
        let (memory, graph, plan) = (&task.memory, &task.graph, &task.plan);
        let [local, global] = self.arena.split([memory.local, memory.global]);
        let delta = &mut cast(local)[..graph.trained];
        match plan.privacy.clipping {
            Clipping::Examples { norm } if parts::CLIPPING.here => {
                mean_of_examples(cast(global), delta, &plan.training, norm);
            }
            _ => subtract(cast(global), delta),
        }
        let [row_ptrs, columns, start, probe, local, report, scratch] = self.arena.split([
            memory.row_ptrs,
            memory.columns,
            memory.start,
            memory.probe,
            memory.delta,
            memory.report,
            memory.coder,
        ]);
        let (row_ptrs, columns): (&mut [u32], &mut [u16]) = (cast(row_ptrs), cast(columns));
        // It was checked when it came, but a save may have been forged.
        let start = if parts::STARTS.here { Start::new(start) } else { Ok(Start::NONE) };
        let Ok(start) = start else { return self.give_up(Abandoned::Internal) };
        // The values as they came are done with, and the report, which takes their place, has not begun. Empty without blocks.
        let spare =
            &mut report[..if parts::BLOCKS.here { memory.global.len().min(memory.report.len()) / 4 * 4 } else { 0 }];
        let symbols = plan.symbols(graph.live);
        let delta = gather_live(graph, row_ptrs, columns, cast(local), cast(spare), symbols);

        let mut clipped = match plan.privacy.clipping {
            Clipping::Layers if parts::CLIPPING.here => delta.clip_layers(plan.privacy.clip_norm, layers(graph)),
            Clipping::Adaptive { bit_share } if parts::CLIPPING.here => {
                delta.clip_adaptive(plan.privacy.clip_norm, bit_share, graph.live)
            }
            _ => delta.clip(plan.privacy.clip_norm),
        };
        // A delta that was not finite counts as clipped: it was set to zero.
        let (norm, was_clipped) = (clipped.norm_before() as f32, clipped.was_clipped());
        let key = report_key(task.names.key, clipped.values);
        let (seed, mut noise) = (stream(key, Purpose::Rounding).next_u64(), stream(key, Purpose::Noise));
        if let Some(distributed) = plan.privacy.distributed().filter(|_| parts::DISTRIBUTED.here) {
            clipped = clipped.rotate(distributed.rotation, plan.round);
        }
        let carried = Carried::new(&plan.quantization, task.names.fingerprint, task.names.id, graph.live);
        clipped = match &carried {
            Carried::All => clipped,
            Carried::Random(subset) => clipped.keep_only(subset, graph.live),
            Carried::Rotated(_) if !parts::ROTATED.here => clipped,
            Carried::Rotated(rotated) => {
                rotated.rotations().into_iter().fold(clipped, |clipped, (seed, round)| clipped.rotate(seed, round))
            }
        };
        if plan.privacy.leaves_room() {
            clipped = clipped.without_noise(plan.quantization.most_kept(graph.live));
        }
        let dither = Dither::new(&plan.quantization, task.names.fingerprint, task.names.id);
        let rounded = match (plan.quantization.rounding, dither) {
            (_, Some(dither)) => clipped.dither(&plan.quantization, &dither).ok(),
            (Rounding::Optimised { .. }, _) if parts::OPTIMISED.here => {
                let tensors = supports(graph, row_ptrs, columns).map(|(support, _)| support);
                clipped.optimise(&plan.quantization, (tensors, start), scratch).ok()
            }
            _ => clipped.quantize(&plan.quantization, seed).ok(),
        };
        // Grid and noise were checked when the plan was parsed.
        let Some(symbols) = rounded else { return self.give_up(Abandoned::Internal) };
        let saturated = symbols.saturated() as u32;
        let Ok(symbols) = symbols.noise(&plan.privacy, &mut noise) else { return self.give_up(Abandoned::Internal) };
        self.metrics.examples = examples;
        self.metrics.norm = norm;
        self.metrics.clipped = was_clipped;
        self.metrics.saturated = saturated;

        let weight = match plan.upload.weighting {
            Weighting::Uniform => 1,
            Weighting::Examples { cap } => examples.min(cap),
        };
        let coded = symbols.encode(
            (plan, task.names.fingerprint),
            (weight, &carried, start),
            cast(probe),
            (graph, row_ptrs, columns),
            scratch,
            report,
        );
        match coded {
            Ok(total) => {
                crate::event!(debug, "report of {} bytes for {} coordinates", total, graph.live);
                self.stage = Stage::Upload { total: total as u32, received: 0 };
                Poll::Working { done: 0, of: 0 }
            }
            Err(e) => self.give_up(Abandoned::Report(e)),
        }
    }
}

/// Live coordinates of each layer that trains, in the order of the delta.
fn layers(graph: &Graph) -> impl Iterator<Item = usize> + Clone {
    let count = graph.nodes.len();
    (0..count).map(|node| {
        let of_node = |t: &&crate::model::Tensor| t.trained && usize::from(t.node) == node;
        graph.tensors.iter().filter(of_node).map(|t| t.live as usize).sum()
    })
}

/// Moves the live coordinates of masked tensors together, so that the delta is contiguous. In place: trained tensors lie first,
/// in the order in which they travel; `spare` has as many entries. Zeros fill up what is missing of `length`.
fn gather_live<'v>(
    graph: &Graph,
    row_ptrs: &[u32],
    columns: &[u16],
    values: &'v mut [f32],
    spare: &mut [f32],
    length: usize,
) -> Delta<'v> {
    let mut to = 0;
    for tensor in graph.tensors.iter().filter(|t| t.trained) {
        let live = tensor.live(row_ptrs, columns);
        if parts::BLOCKS.here && tensor.path == Path::Block {
            mask::to_rows(&live, &mut values[tensor.range()], &mut spare[..tensor.stored()]);
        }
        if tensor.is_masked() {
            mask::each_live(&live, tensor.cols as usize, |place| {
                values[to] = values[tensor.at as usize + place];
                to += 1;
            });
        } else {
            values.copy_within(tensor.range(), to);
            to += tensor.stored();
        }
    }
    values[to..length].fill(0.0);
    Delta::new(&mut values[..length])
}
