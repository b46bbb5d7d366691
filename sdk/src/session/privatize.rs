//! From trained parameters to a report: delta, clip, noise, quantise, code, in one piece of work.

use super::{Abandoned, Poll, Purpose, Session, Stage};
use crate::arena::cast;
use crate::checkin::{Path, Weighting};
use crate::model::{Graph, mask};
use crate::optim::{Delta, subtract};
use rand_core::Rng;

impl Session<'_> {
    /// Every stage consumes the one before, so none can be left out.
    pub(super) fn privatize(&mut self, examples: u32) -> Poll {
        let mut noise = self.stream(Purpose::Noise);
        let seed = self.stream(Purpose::Rounding).next_u64();
        let Some(task) = &self.task else { return self.give_up(Abandoned::Internal) };
        let (memory, graph, plan) = (&task.memory, &task.graph, &task.plan);
        let [local, global] = self.arena.split([memory.local, memory.global]);
        subtract(cast(global), &mut cast(local)[..graph.trained]);
        let [row_ptrs, columns, probe, local, report, scratch] = self.arena.split([
            memory.row_ptrs,
            memory.columns,
            memory.probe,
            memory.local,
            memory.report,
            memory.coder,
        ]);
        let (row_ptrs, columns): (&mut [u32], &mut [u16]) = (cast(row_ptrs), cast(columns));
        // The values as they came are done with, and the report, which takes their place, has not begun.
        let spare = &mut report[..memory.global.len()];
        let delta = gather_live(graph, row_ptrs, columns, cast(local), cast(spare));

        let clipped = delta.clip(plan.privacy.clip_norm);
        let norm = clipped.norm_before() as f32;
        let symbols = match clipped.noise(&plan.privacy, &mut noise).quantize(&plan.quantization, seed) {
            Ok(symbols) => symbols,
            // The plan's step was checked when it was parsed.
            Err(_) => return self.give_up(Abandoned::Internal),
        };
        self.metrics.examples = examples;
        self.metrics.norm = norm;
        // A delta that was not finite counts as clipped: it was set to zero.
        self.metrics.clipped = norm.is_nan() || norm > plan.privacy.clip_norm;
        self.metrics.saturated = symbols.saturated() as u32;

        let weight = match plan.upload.weighting {
            Weighting::Uniform => 1,
            Weighting::Examples { cap } => examples.min(cap),
        };
        let coded = symbols.encode(
            (plan, task.names.fingerprint),
            weight,
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

/// Moves the live coordinates of masked tensors together, so that the delta is contiguous. In place: trained tensors lie first,
/// in the order in which they travel; `spare` has as many entries.
fn gather_live<'v>(
    graph: &Graph,
    row_ptrs: &[u32],
    columns: &[u16],
    values: &'v mut [f32],
    spare: &mut [f32],
) -> Delta<'v> {
    let mut to = 0;
    for tensor in graph.tensors.iter().filter(|t| t.trained) {
        let live = tensor.live(row_ptrs, columns);
        if tensor.path == Path::Block {
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
    Delta::new(&mut values[..to])
}
