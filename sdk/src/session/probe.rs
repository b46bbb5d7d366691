//! The step before training in the round before a mask moves: see [`crate::optim::Probe`].

use super::{Abandoned, Poll, Purpose, Session, Stage, load_batch};
use crate::arena::cast;
use crate::data::ExampleStore;
use crate::model::{Buffers, Draw, backward};
use crate::optim::Probe;
use rand_core::Rng;

impl Session<'_> {
    /// Takes the dense gradient of the first batch, with the weights as they came. The first step sees that batch again.
    pub(super) fn probe(&mut self, store: &mut dyn ExampleStore) -> Poll {
        let batches = self.batches(store);
        let steps = batches.steps();
        if steps == 0 {
            return self.give_up(Abandoned::NoExamples);
        }
        let draw = Draw { seed: self.stream(Purpose::Dropout).next_u64(), step: 0 };
        let Some(task) = &self.task else { return self.give_up(Abandoned::Internal) };
        let (memory, graph) = (&task.memory, &task.graph);
        let [row_ptrs, columns, probe, local, activations, gradients, targets] = self.arena.split([
            memory.row_ptrs,
            memory.columns,
            memory.probe,
            memory.local,
            memory.activations,
            memory.gradients,
            memory.targets,
        ]);
        let loaded = load_batch(task, store, batches.indices(0), activations, gradients, targets);
        let (activations, gradients, targets, batch) = match loaded {
            Ok(loaded) => loaded,
            Err(e) => return self.give_up(Abandoned::Store(e)),
        };
        let patterns: (&[u32], &[u16]) = (cast(row_ptrs), cast(columns));
        let mut learner = Probe::new(graph, task.plan.upload.probe, cast(local), patterns, cast(probe));
        let buffers = Buffers { activations, gradients };
        backward(graph, task.plan.model.loss, draw, patterns, &mut learner, buffers, targets, batch);
        learner.finish();
        self.stage = Stage::Train { step: 0, loss: 0.0 };
        Poll::Working { done: 0, of: steps }
    }
}
