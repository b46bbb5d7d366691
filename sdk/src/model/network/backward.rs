//! The backward pass: every gradient of a tensor goes to a learner as soon as it is known.

use super::pool::several;
use super::{Buffers, Draw, Parameters, forward_training};
use crate::checkin::{LayerSpec, Loss, Path, Training, parts};
use crate::model::graph::gradient_is_elementwise;
use crate::model::kernel;
use crate::model::layers::{
    attention, conv2d, dense, embedding, join, normalize, pointwise, pooling, rearrange, recurrent, softmax,
};
use crate::model::{Graph, Node, Role, Tensor};
use crate::optim::{Learner, Local};
use core::ops::Range;

/// One step of training on the batch at the front of the activations: forward, backward, update in place. Returns the
/// mean loss of the batch, nats.
///
/// Each layer's weights change as soon as the gradient of its input is known, so no gradient of a weight is stored. `targets`
/// are as [`backward`] says; `patterns` are row pointers and columns, `values` as [`Local::new`] takes them; step
/// `draw.step` of `steps`.
#[allow(clippy::too_many_arguments, reason = "the arena's regions of one moment")]
pub fn train_step(
    graph: &Graph,
    (loss, training): (Loss, &Training),
    (draw, steps): (Draw, u32),
    patterns: (&[u32], &[u16]),
    values: (&mut [f32], &[f32], &mut [f32]),
    buffers: Buffers<'_>,
    targets: &[u32],
    batch: usize,
) -> f32 {
    let mut local = Local::new(graph, training, (draw.step, steps), values);
    backward(graph, loss, draw, patterns, &mut local, buffers, targets, batch)
}

/// Forward and backward over the batch at the front of the activations; returns its mean loss, nats.
///
/// `targets` are, with the batch innermost, a class for each position ([`kernel::IGNORE`] for none), or for losses over numbers
/// the bits of one `f32` for each output.
#[allow(clippy::too_many_arguments, reason = "the arena's regions of one moment")]
pub fn backward(
    graph: &Graph,
    loss: Loss,
    draw: Draw,
    (row_ptrs, columns): (&[u32], &[u16]),
    learner: &mut impl Learner,
    buffers: Buffers<'_>,
    targets: &[u32],
    batch: usize,
) -> f32 {
    let Buffers { activations, gradients } = buffers;
    let values = learner.values();
    let logits = forward_training(graph, &Parameters { row_ptrs, columns, values }, activations, batch, draw);
    let Some(last) = graph.nodes.last() else { return 0.0 };
    let dy = &mut gradients[gradient_range(last, batch)];
    dy.copy_from_slice(logits);
    let value = match loss {
        Loss::SoftmaxCrossEntropy => {
            let classes = graph.classes() as usize;
            kernel::softmax_cross_entropy(dy, targets, classes, graph.output.positions() * batch)
        }
        Loss::BinaryCrossEntropy if parts::LOSSES.here => {
            kernel::binary_cross_entropy(dy, bytemuck::cast_slice(targets))
        }
        Loss::MeanSquaredError if parts::LOSSES.here => kernel::mean_squared_error(dy, bytemuck::cast_slice(targets)),
        // Refused with the plan.
        _ => 0.0,
    };
    for index in (0..graph.nodes.len()).rev().filter(|&i| graph.nodes[i].active) {
        let mut step = Step { graph, index, batch, draw, patterns: (row_ptrs, columns), activations, gradients };
        step.run(learner);
    }
    value
}

fn gradient_range(node: &Node, batch: usize) -> Range<usize> {
    let at = node.dy as usize * batch;
    at..at + node.output.features() * batch
}

/// The tensor as the kernels of its gradient see it.
fn gradient_of(tensor: &Tensor, dense: bool) -> Tensor {
    if dense { Tensor { path: Path::Dense, ..*tensor } } else { *tensor }
}

/// The backward pass of one node.
struct Step<'a> {
    graph: &'a Graph,
    index: usize,
    batch: usize,
    draw: Draw,
    patterns: (&'a [u32], &'a [u16]),
    activations: &'a mut [f32],
    gradients: &'a mut [f32],
}

impl<'a> Step<'a> {
    fn node(&self) -> &'a Node {
        &self.graph.nodes[self.index]
    }

    fn dy(&self) -> Range<usize> {
        gradient_range(self.node(), self.batch)
    }

    fn x(&self, input: usize) -> &[f32] {
        &self.activations[self.graph.input_range(self.node(), input, self.batch)]
    }

    fn is_wanted(&self, input: usize) -> bool {
        self.graph.is_active(self.node().sources[input])
    }

    /// Where the gradient of an input is made: at its place, or in the buffer that is added to it.
    fn dx(&self, input: usize) -> Range<usize> {
        let node = self.node();
        let features = |k: usize| self.graph.shape_of(node.sources[k]).features();
        let len = features(input) * self.batch;
        let at = if self.graph.needs_sum(self.index, input) {
            let before = if input == 1 && self.graph.needs_sum(self.index, 0) { features(0) } else { 0 };
            (node.sum as usize + before) * self.batch
        } else {
            self.home(input).start
        };
        at..at + len
    }

    /// Where the gradient of an input belongs. Only for inputs that are wanted.
    fn home(&self, input: usize) -> Range<usize> {
        let source = usize::from(self.node().sources[input]);
        gradient_range(&self.graph.nodes[source - 1], self.batch)
    }

    /// Brings what lies in `from` to an input: copied if it is the first gradient there, else added.
    fn deliver(&mut self, input: usize, from: Range<usize>) {
        if !self.is_wanted(input) {
            return;
        }
        let home = self.home(input);
        if home == from {
            return;
        }
        let [home, from] = several(self.gradients, [home, from]);
        if self.graph.is_first_gradient(self.index, input) {
            home.copy_from_slice(from);
        } else {
            for (sum, more) in home.iter_mut().zip(from) {
                *sum += *more;
            }
        }
    }

    /// Adds to its place what was made in the buffer for sums.
    fn settle(&mut self, input: usize) {
        if self.is_wanted(input) && self.graph.needs_sum(self.index, input) {
            self.deliver(input, self.dx(input));
        }
    }

    fn run<L: Learner>(&mut self, learner: &mut L) {
        let (node, batch) = (self.node(), self.batch);
        let input = self.graph.input_of(node);
        match node.spec {
            LayerSpec::Dense { .. } | LayerSpec::Conv2d { .. } | LayerSpec::Embedding { .. } => self.product(learner),
            LayerSpec::Gru { .. } | LayerSpec::Lstm { .. } if parts::RECURRENT.here => self.recurrent(learner),
            LayerSpec::BatchNorm | LayerSpec::LayerNorm { .. } | LayerSpec::GroupNorm { .. } if parts::NORM.here => {
                self.normalize(learner);
            }
            LayerSpec::Offset if parts::BRANCHES.here => {
                let tensor = &self.graph.tensors_of(node)[0];
                if tensor.trained {
                    let dy = &self.gradients[self.dy()];
                    kernel::offset_grad(dy, batch, &mut learner.sink(tensor));
                    learner.complete(tensor, &tensor.pattern(self.patterns.0, self.patterns.1));
                }
            }
            LayerSpec::MaxPool(_) | LayerSpec::AveragePool { .. } | LayerSpec::GlobalAveragePool
                if parts::CONV.here =>
            {
                let [dy, dx] = several(self.gradients, [self.dy(), self.dx(0)]);
                let x = &self.activations[self.graph.input_range(node, 0, batch)];
                let y = &self.activations[self.graph.output_range(node, batch)];
                pooling::backward(node, input, (x, y), dy, dx, batch);
            }
            LayerSpec::Transpose { .. } | LayerSpec::Last if parts::BRANCHES.here => {
                let [dy, dx] = several(self.gradients, [self.dy(), self.dx(0)]);
                rearrange::backward(&node.spec, input, dy, dx, batch);
            }
            LayerSpec::Softmax { .. } | LayerSpec::LogSoftmax if parts::ATTENTION.here || parts::ACTIVATIONS.here => {
                let dy = self.dy();
                let y = &self.activations[self.graph.output_range(node, batch)];
                softmax::backward(&node.spec, input, y, &mut self.gradients[dy], batch);
            }
            LayerSpec::Scores { .. } | LayerSpec::Context { .. } if parts::ATTENTION.here => self.attention(),
            LayerSpec::Add if parts::BRANCHES.here => self.add(),
            LayerSpec::Mul if parts::BRANCHES.here => self.mul(),
            LayerSpec::Concat if parts::BRANCHES.here => self.concat(),
            _ => {
                let dy = self.dy();
                let x = self.graph.input_range(node, 0, batch);
                let y = self.graph.output_range(node, batch);
                let (x, y) = (&self.activations[x], &self.activations[y]);
                pointwise::backward(&node.spec, (self.draw, self.index), (x, y), &mut self.gradients[dy]);
            }
        }
        if gradient_is_elementwise(&node.spec) {
            self.deliver(0, self.dy());
        } else if !matches!(node.spec, LayerSpec::Concat) {
            self.settle(0);
            if node.spec.inputs() == 2 {
                self.settle(1);
            }
        }
    }

    /// Layers of one matrix.
    fn product<L: Learner>(&mut self, learner: &mut L) {
        let (node, batch) = (self.node(), self.batch);
        let input = self.graph.input_of(node);
        let dense = learner.dense();
        let is_both = |t: &Tensor| matches!(t.role, Role::Weight) && dense::has_sparse_gradients(t);
        let both = self.is_wanted(0)
            && matches!(node.spec, LayerSpec::Dense { .. })
            && !dense
            && self.graph.tensors_of(node).iter().any(is_both);
        if self.is_wanted(0) && !both {
            let [dy, dx] = several(self.gradients, [self.dy(), self.dx(0)]);
            let (row_ptrs, columns) = self.patterns;
            let weights =
                Parameters { row_ptrs, columns, values: learner.values() }.matrix(self.graph, node, Role::Weight);
            match node.spec {
                LayerSpec::Conv2d { .. } if parts::CONV.here => {
                    conv2d::input_gradient(node, input, &weights, dy, dx, batch);
                }
                _ => dense::input_gradient(&weights, dy, dx, batch),
            }
        }
        for tensor in self.graph.tensors_of(node).iter().filter(|t| t.trained) {
            let pattern = tensor.pattern(self.patterns.0, self.patterns.1);
            let mut sink = learner.sink(tensor);
            let of = gradient_of(tensor, dense);
            let dy = &self.gradients[self.dy()];
            match (tensor.role, node.spec) {
                (Role::Weight, _) if both => {
                    let [dy, dx] = several(self.gradients, [self.dy(), self.dx(0)]);
                    let x = &self.activations[self.graph.input_range(node, 0, batch)];
                    dense::sparse_gradients(&of, pattern, (dy, x), dx, batch, &mut sink);
                }
                (Role::Bias, _) => {
                    let outputs = tensor.cols as usize;
                    kernel::bias_grad(dy, outputs, dy.len() / outputs, &mut sink);
                }
                (_, LayerSpec::Conv2d { .. }) if parts::CONV.here => {
                    conv2d::weight_gradient(node, input, &of, pattern, dy, self.x(0), batch, &mut sink);
                }
                (_, LayerSpec::Embedding { .. }) if parts::EMBEDDING.here => {
                    embedding::weight_gradient(&of, pattern, dy, self.x(0), &mut sink);
                }
                _ => dense::weight_gradient(&of, pattern, dy, self.x(0), batch, &mut sink),
            }
            drop(sink);
            learner.complete(tensor, &pattern);
        }
    }

    /// The gradient of the input first: it needs the scale of the forward pass.
    fn normalize<L: Learner>(&mut self, learner: &mut L) {
        let (node, batch, graph) = (self.node(), self.batch, self.graph);
        let input = graph.input_of(node);
        let dy = self.dy();
        let dx = if self.is_wanted(0) { self.dx(0) } else { 0..0 };
        let (row_ptrs, columns) = self.patterns;
        let x = &self.activations[graph.input_range(node, 0, batch)];
        let saved = &self.activations[super::saved_range(node, input, batch)];
        if self.graph.is_active(node.sources[0]) {
            let [dy, dx] = several(self.gradients, [dy.clone(), dx]);
            let parameters = Parameters { row_ptrs, columns, values: learner.values() };
            let vector = |role| parameters.vector(graph, node, role);
            normalize::input_gradient(&node.spec, input, vector, (x, saved), (dy, dx), batch);
        }
        let dy = &self.gradients[dy];
        for tensor in graph.tensors_of(node).iter().filter(|t| t.trained) {
            normalize::gradient(graph, node, tensor, learner, (x, saved), dy, batch);
            learner.complete(tensor, &tensor.pattern(row_ptrs, columns));
        }
    }

    fn recurrent<L: Learner>(&mut self, learner: &mut L) {
        let (node, batch, graph) = (self.node(), self.batch, self.graph);
        let input = graph.input_of(node);
        let (row_ptrs, columns) = self.patterns;
        let saved = super::saved_range(node, input, batch);
        let work = super::backward_work_range(node, input, batch);
        let [x, y] = [graph.input_range(node, 0, batch), graph.output_range(node, batch)];
        let wanted = self.is_wanted(0);
        let dx = if wanted { self.dx(0) } else { 0..0 };
        let [x, y, saved] = several(self.activations, [x, y, saved]);
        let [dy, dx, work] = several(self.gradients, [gradient_range(node, batch), dx, work]);
        let parameters = Parameters { row_ptrs, columns, values: learner.values() };
        let matrices = [Role::Weight, Role::Recurrent].map(|role| parameters.matrix(graph, node, role));
        let dense = learner.dense();
        recurrent::backward(&node.spec, input, &matrices, (y, dy), (saved, work), wanted.then_some(dx), batch);
        for tensor in graph.tensors_of(node).iter().filter(|t| t.trained) {
            let pattern = tensor.pattern(row_ptrs, columns);
            let mut sink = learner.sink(tensor);
            recurrent::gradient(
                &node.spec,
                input,
                (&gradient_of(tensor, dense), pattern),
                x,
                (saved, work),
                batch,
                &mut sink,
            );
            drop(sink);
            learner.complete(tensor, &pattern);
        }
    }

    /// Each of the two inputs has its own pass.
    fn attention(&mut self) {
        let (node, batch) = (self.node(), self.batch);
        let input = self.graph.input_of(node);
        for k in [0, 1] {
            if self.is_wanted(k) {
                let other = self.graph.input_range(node, 1 - k, batch);
                let [dy, dx] = several(self.gradients, [self.dy(), self.dx(k)]);
                attention::backward(node, input, k, &self.activations[other], dy, dx, batch);
            }
        }
    }

    /// The first input's gradient is the output's; this brings the second one's.
    fn add(&mut self) {
        let node = self.node();
        if !self.is_wanted(1) {
            return;
        }
        let second = self.graph.shape_of(node.sources[1]);
        if second == node.output {
            self.deliver(1, self.dy());
        } else {
            let first = self.graph.is_first_gradient(self.index, 1);
            let [dy, home] = several(self.gradients, [self.dy(), self.home(1)]);
            join::add_second_gradient(node.output, dy, home, self.batch, first);
        }
    }

    /// The second input's gradient needs the output's, which then becomes the first one's.
    fn mul(&mut self) {
        let (node, batch) = (self.node(), self.batch);
        let [x, second] = [0, 1].map(|k| self.graph.input_range(node, k, batch));
        if self.is_wanted(1) {
            let [dy, dx] = several(self.gradients, [self.dy(), self.dx(1)]);
            join::mul_second_gradient(node.output, &self.activations[x], dy, dx, batch);
        }
        let dy = self.dy();
        join::mul_first_gradient(node.output, &self.activations[second], &mut self.gradients[dy], batch);
    }

    fn concat(&mut self) {
        let node = self.node();
        let dy = self.dy();
        let middle = dy.start + self.graph.input_of(node).features() * self.batch;
        self.deliver(0, dy.start..middle);
        self.deliver(1, middle..dy.end);
    }
}
