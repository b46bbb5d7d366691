//! Training where examples are clipped: one gradient at a time, summed in integers.

use super::{Abandoned, Poll, Purpose, Session, Stage, load_batch};
use crate::arena::cast;
use crate::checkin::{Clipping, Training};
use crate::data::{Batches, ExampleStore};
use crate::model::{Buffers, Draw, backward};
use crate::optim::Gradients;
use crate::privacy::norm;
use rand_core::Rng;

impl Session<'_> {
    /// Takes the gradient of one example with the weights as they came, clips it and adds it to the sum, which lies where the
    /// parameters as they came do: nothing reads those, because the weights do not move. A gradient that is not finite
    /// counts as zero.
    pub(super) fn clip_example(
        &mut self,
        (step, steps): (u32, u32),
        loss: f32,
        batches: Batches,
        store: &mut dyn ExampleStore,
    ) -> Poll {
        let draw = Draw { seed: self.stream(Purpose::Dropout).next_u64(), step };
        let Some(task) = &self.task else { return self.give_up(Abandoned::Internal) };
        let Clipping::Examples { norm: bound } = task.plan.privacy.clipping else {
            return self.give_up(Abandoned::Internal);
        };
        let (memory, graph, training) = (&task.memory, &task.graph, &task.plan.training);
        let [row_ptrs, columns, local, sum, example, activations, gradients, targets] = self.arena.split([
            memory.row_ptrs,
            memory.columns,
            memory.local,
            memory.global,
            memory.example,
            memory.activations,
            memory.gradients,
            memory.targets,
        ]);
        let loaded = load_batch(task, store, batches.indices(step), activations, gradients, targets);
        let (activations, gradients, targets, batch) = match loaded {
            Ok(loaded) => loaded,
            Err(e) => return self.give_up(Abandoned::Store(e)),
        };
        let patterns: (&[u32], &[u16]) = (cast(row_ptrs), cast(columns));
        let (sum, example): (&mut [i32], &mut [f32]) = (cast(sum), cast(example));
        if step == 0 {
            sum.fill(0);
        }
        let mut learner = Gradients { values: cast(local), gradients: example };
        let buffers = Buffers { activations, gradients };
        let of_example = backward(graph, task.plan.model.loss, draw, patterns, &mut learner, buffers, targets, batch);
        add_clipped(example, bound, training.max_examples, sum);
        let loss = loss + (of_example - loss) / (step + 1) as f32;
        self.metrics.loss = loss;
        self.stage = Stage::Train { step: step + 1, loss };
        Poll::Working { done: step + 1, of: steps }
    }
}

/// Value of one unit of the sum: `examples` gradients of norm `bound` stay below `2^30` units.
fn unit(bound: f32, examples: u32) -> f32 {
    bound * examples.max(1) as f32 * (1.0 / 1_073_741_824.0)
}

/// Adds a gradient, scaled to the norm `bound` where it is longer, in whole units towards zero: the integers' norm is never
/// above the bound, and their sum is exact, so that one example moves it by its own gradient and by nothing else (of sums of
/// floats that is not so: Casacuberta et al. 2022).
fn add_clipped(gradient: &[f32], bound: f32, examples: u32, sum: &mut [i32]) {
    let norm = norm(gradient);
    if !norm.is_finite() {
        return;
    }
    let factor = if norm > f64::from(bound) { f64::from(bound) / norm } else { 1.0 };
    // Rounded down by more than the products round up.
    let scale = (factor * (1.0 - 1e-6) / f64::from(unit(bound, examples))) as f32;
    for (sum, g) in sum.iter_mut().zip(gradient) {
        // Below 2^30 in magnitude for as many examples as the plan has; wraps for none.
        *sum = sum.wrapping_add((g * scale) as i32);
    }
}

/// The delta of one step of gradient descent: `learning_rate / max_examples` times the sum. The divisor is public; a device with
/// fewer examples moves less.
pub(super) fn mean_of_examples(sum: &[i32], delta: &mut [f32], training: &Training, bound: f32) {
    let examples = training.max_examples;
    let scale = f64::from(training.learning_rate) * f64::from(unit(bound, examples)) / f64::from(examples.max(1));
    for (delta, sum) in delta.iter_mut().zip(sum) {
        *delta = (f64::from(*sum) * scale) as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever the gradients are: each adds integers of at most the bound, and the sum does not hang on their order.
        #[test]
        fn one_example_moves_the_sum_by_its_bound_at_the_most(
            gradients in prop::collection::vec(prop::collection::vec(prop_oneof![8 => -5.0f32..5.0, 1 => any::<f32>()], 7), 1..9),
            bound in 1e-3f32..1e3,
        ) {
            let unit = f64::from(unit(bound, 9));
            let mut sum = [0; 7];
            for gradient in &gradients {
                let before = sum;
                add_clipped(gradient, bound, 9, &mut sum);
                let moved: f64 = sum.iter().zip(&before).map(|(a, b)| (f64::from(a - b) * unit).powi(2)).sum();
                prop_assert!(moved.sqrt() <= f64::from(bound), "{} > {}", moved.sqrt(), bound);
                prop_assert!(gradient.iter().all(|g| g.is_finite()) || sum == before);
            }
            let mut back = [0; 7];
            gradients.iter().rev().for_each(|gradient| add_clipped(gradient, bound, 9, &mut back));
            prop_assert_eq!(sum, back);
        }
    }

    #[test]
    fn the_mean_is_the_step_of_gradient_descent() {
        let mut sum = [0; 2];
        add_clipped(&[0.3, -0.4], 1.0, 4, &mut sum);
        add_clipped(&[30.0, 40.0], 1.0, 4, &mut sum);
        let mut delta = [0.0; 2];
        mean_of_examples(&sum, &mut delta, &Training { max_examples: 4, ..Training::sgd(1, 1, 0.5) }, 1.0);
        // 0.5 / 4 times (0.3 + 0.6, -0.4 + 0.8).
        assert!((delta[0] - 0.1125).abs() < 1e-6 && (delta[1] - 0.05).abs() < 1e-6, "{delta:?}");
    }
}
