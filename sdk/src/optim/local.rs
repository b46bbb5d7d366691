//! One step of local training over all tensors.

use super::{Learner, adam, sgd};
use crate::checkin::{ClientOptimizer, Training, parts};
use crate::model::kernel::{GradSink, Pattern, ValueSink};
use crate::model::{Graph, Tensor, mask};

/// The parameters in training and what their optimizer keeps, for one step.
#[derive(Debug)]
pub struct Local<'a> {
    rule: Rule,
    local: &'a mut [f32],
    global: &'a [f32],
    moments: &'a mut [f32],
}

/// The numbers of one step, the same for all tensors.
#[derive(Debug, Clone, Copy)]
enum Rule {
    Sgd(sgd::Sgd),
    Adam(adam::Adam),
}

impl<'a> Local<'a> {
    /// Step `step` (from 0) of `steps` of a round: the stored values of all tensors; the trained ones as they came; what the
    /// optimizer keeps of them, [`ClientOptimizer::moments`] arrays one after the other, zero before the first step.
    ///
    /// # Panics
    /// If `global` or `moments` have another length than the graph and the plan say.
    pub fn new(
        graph: &Graph,
        training: &Training,
        (step, steps): (u32, u32),
        (local, global, moments): (&'a mut [f32], &'a [f32], &'a mut [f32]),
    ) -> Self {
        let kept = training.optimizer.moments() * graph.trained;
        assert!(global.len() == graph.trained && moments.len() == kept, "lengths come from the plan of bytes");
        let rate = super::rate(training, step, steps);
        let rule = match training.optimizer {
            ClientOptimizer::Adam { .. } if parts::ADAM.here => Rule::Adam(adam::Adam::new(training, rate, step)),
            _ => Rule::Sgd(sgd::Sgd::new(training, rate)),
        };
        Self { rule, local, global, moments }
    }
}

/// Changes one tensor's values as its gradient comes.
#[derive(Debug)]
pub struct Step<'s> {
    rule: Rule,
    local: &'s mut [f32],
    global: &'s [f32],
    first: &'s mut [f32],
    second: &'s mut [f32],
}

impl GradSink for Step<'_> {
    // Into every loop of every kernel only where code is cheap.
    #[cfg_attr(feature = "fast", inline(always))]
    #[cfg_attr(not(feature = "fast"), inline(never))]
    fn take(&mut self, offset: usize, grad: &[f32]) {
        let range = offset..offset + grad.len();
        let local = &mut self.local[range.clone()];
        let global = &self.global[range.clone()];
        match &self.rule {
            Rule::Sgd(sgd) => {
                let velocity = if sgd.has_velocity() { &mut self.first[range] } else { &mut [] };
                sgd.step(grad, local, global, velocity);
            }
            // Without the part there is none.
            Rule::Adam(adam) if parts::ADAM.here => {
                adam.step(grad, local, global, (&mut self.first[range.clone()], &mut self.second[range]));
            }
            Rule::Adam(_) => {}
        }
    }
}

impl ValueSink for Step<'_> {
    #[inline(always)]
    fn values(&self) -> &[f32] {
        self.local
    }
}

impl Learner for Local<'_> {
    type Sink<'s>
        = Step<'s>
    where
        Self: 's;

    fn values(&self) -> &[f32] {
        self.local
    }

    fn sink(&mut self, tensor: &Tensor) -> Step<'_> {
        let range = tensor.range();
        let (first, second) = self.moments.split_at_mut(self.moments.len().min(self.global.len()));
        let of = |moment: &'_ mut [f32]| if moment.is_empty() { 0..0 } else { range.clone() };
        let (in_first, in_second) = (of(first), of(second));
        Step {
            rule: self.rule,
            local: &mut self.local[range.clone()],
            global: &self.global[range],
            first: &mut first[in_first],
            second: &mut second[in_second],
        }
    }

    fn complete(&mut self, tensor: &Tensor, pattern: &Pattern<'_>) {
        if tensor.is_masked() {
            mask::pin(pattern, tensor.cols as usize, &mut self.local[tensor.range()]);
        }
    }
}
