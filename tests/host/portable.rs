//! The training loop written again over the portable kernels alone, without the session's memory layout: what the device
//! computes with the fastest instructions of this machine must have the same bits.

use crate::problem::plan_of;
use siskin::arena::MemoryPlan;
use siskin::checkin::{ClientOptimizer, LayerSpec, Loss, ModelSpec, Path, Training, Window};
use siskin::model::kernel::{ConvGeometry, GradSink, Pattern, PoolGeometry, portable, softmax_cross_entropy};
use siskin::model::{Buffers, Draw, Graph, Node, train_step};

/// Momentum, as `siskin::optim` defines it.
struct Momentum<'a> {
    training: &'a Training,
    local: &'a mut [f32],
    velocity: &'a mut [f32],
}

impl GradSink for Momentum<'_> {
    fn take(&mut self, offset: usize, grad: &[f32]) {
        for (k, g) in grad.iter().enumerate() {
            let (w, v) = (&mut self.local[offset + k], &mut self.velocity[offset + k]);
            let ClientOptimizer::Sgd { momentum, .. } = self.training.optimizer else { panic!("another optimizer") };
            *v = momentum * *v + g;
            *w -= self.training.learning_rate * *v;
        }
    }
}

/// A network by tensors.
pub(crate) struct Net {
    pub(crate) spec: ModelSpec,
    pub(crate) graph: Graph,
    pub(crate) row_ptrs: Vec<u32>,
    pub(crate) columns: Vec<u16>,
    pub(crate) values: Vec<f32>,
}

impl Net {
    fn pattern(&self, index: usize) -> Pattern<'_> {
        let lists = |t: &siskin::model::Tensor| {
            let height = t.pattern_height();
            (t.rows as usize / height + 1, t.live as usize / height)
        };
        let before = self.graph.tensors[..index].iter().filter(|t| t.has_pattern()).map(lists);
        let (rows, cols) = before.fold((0, 0), |(r, c), (rows, cols)| (r + rows, c + cols));
        let tensor = &self.graph.tensors[index];
        if !tensor.has_pattern() {
            return Pattern { row_ptr: &[], cols: &[] };
        }
        let (own_rows, own_cols) = lists(tensor);
        Pattern { row_ptr: &self.row_ptrs[rows..][..own_rows], cols: &self.columns[cols..][..own_cols] }
    }

    fn at(&self, index: usize) -> usize {
        self.graph.tensors[..index].iter().map(|t| t.stored()).sum()
    }

    /// `steps` steps on one batch with portable kernels; weights that are dense and masked are not supported here.
    pub(crate) fn train_portable(&self, training: &Training, steps: usize, x: &[f32], labels: &[u32]) -> Vec<f32> {
        let batch = labels.len();
        let mut local = self.values.clone();
        let mut velocity = vec![0.0; local.len()];
        for _ in 0..steps {
            // Outputs of all nodes, each in a vector of its own.
            let mut acts = vec![x.to_vec()];
            for node in &self.graph.nodes {
                let x = acts.last().unwrap();
                let mut y = vec![0.0; node.output.features() * batch];
                match (node.spec, (node.tensors > 0).then_some(usize::from(node.first_tensor))) {
                    (LayerSpec::Relu, _) => {
                        y.copy_from_slice(x);
                        siskin::model::kernel::relu_forward(&mut y);
                    }
                    (LayerSpec::Flatten, _) => y.copy_from_slice(x),
                    (LayerSpec::MaxPool(window), _) => {
                        portable::max_pool_forward(&pool(&self.graph, node, &window), x, &mut y, batch);
                    }
                    (LayerSpec::Dense { .. }, Some(i)) => {
                        let (w, b) = self.weights(&local, i);
                        let (inputs, outputs) = (self.graph.input_of(node).features(), node.output.features());
                        match self.graph.tensors[i].path {
                            Path::Dense => portable::dense_forward(w, b, x, &mut y, inputs, outputs, batch),
                            Path::Sparse => {
                                portable::csr_forward(self.pattern(i), w, b, x, &mut y, inputs, outputs, batch);
                            }
                            Path::Block => {
                                let pattern = self.pattern(i).blocks();
                                portable::block_forward(pattern, w, b, x, &mut y, inputs, outputs, batch);
                            }
                        }
                    }
                    (LayerSpec::Conv2d { window, .. }, Some(i)) => {
                        let (w, b) = self.weights(&local, i);
                        let g = convolution(&self.graph, node, &window);
                        match self.graph.tensors[i].path {
                            Path::Dense => portable::conv_forward(&g, w, b, x, &mut y, batch),
                            Path::Sparse => portable::csr_conv_forward(self.pattern(i), &g, w, b, x, &mut y, batch),
                            Path::Block => unreachable!("convolutions have none"),
                        }
                    }
                    other => panic!("{other:?}"),
                }
                acts.push(y);
            }
            let mut dy = acts.last().unwrap().clone();
            softmax_cross_entropy(&mut dy, labels, self.graph.classes() as usize, batch);
            for (n, node) in self.graph.nodes.iter().enumerate().rev() {
                let (x, y) = (&acts[n], &acts[n + 1]);
                let mut dx = vec![0.0; x.len()];
                match (node.spec, (node.tensors > 0).then_some(usize::from(node.first_tensor))) {
                    (LayerSpec::Relu, _) => {
                        dx.copy_from_slice(&dy);
                        siskin::model::kernel::relu_backward(y, &mut dx);
                    }
                    (LayerSpec::Flatten, _) => dx.copy_from_slice(&dy),
                    (LayerSpec::MaxPool(window), _) => {
                        portable::max_pool_backward(&pool(&self.graph, node, &window), x, y, &dy, &mut dx, batch);
                    }
                    (spec, Some(i)) => {
                        let (inputs, outputs) = (self.graph.input_of(node).features(), node.output.features());
                        let geometry = match spec {
                            LayerSpec::Conv2d { window, .. } => Some(convolution(&self.graph, node, &window)),
                            _ => None,
                        };
                        let (pattern, path) = (self.pattern(i), self.graph.tensors[i].path);
                        let (w, _) = self.weights(&local, i);
                        match (geometry, path) {
                            (Some(g), Path::Dense) => portable::conv_input_grad(&g, w, &dy, &mut dx, batch),
                            (Some(g), _) => portable::csr_conv_input_grad(pattern, &g, w, &dy, &mut dx, batch),
                            (_, Path::Dense) => portable::dense_input_grad(w, &dy, &mut dx, inputs, outputs, batch),
                            (_, Path::Sparse) => {
                                portable::csr_input_grad(pattern, w, &dy, &mut dx, inputs, outputs, batch);
                            }
                            (_, Path::Block) => {
                                portable::block_input_grad(pattern.blocks(), w, &dy, &mut dx, inputs, outputs, batch);
                            }
                        }
                        let mut sink = self.sink(training, i, &mut local, &mut velocity);
                        match (geometry, path) {
                            (Some(g), Path::Dense) => portable::conv_weight_grad(&g, &dy, x, batch, &mut sink),
                            (Some(g), _) => {
                                portable::csr_conv_weight_grad(pattern, &g, &dy, x, batch, &mut sink);
                            }
                            (_, Path::Dense) => portable::dense_weight_grad(&dy, x, inputs, outputs, batch, &mut sink),
                            (_, Path::Sparse) => {
                                portable::csr_weight_grad(pattern, &dy, x, inputs, outputs, batch, &mut sink);
                            }
                            (_, Path::Block) => {
                                let pattern = pattern.blocks();
                                portable::block_weight_grad(pattern, &dy, x, inputs, outputs, batch, &mut sink);
                            }
                        }
                        let mut sink = self.sink(training, i + 1, &mut local, &mut velocity);
                        let channels = node.output.channels as usize;
                        portable::bias_grad(&dy, channels, outputs / channels * batch, &mut sink);
                    }
                    other => panic!("{other:?}"),
                }
                dy = dx;
            }
        }
        local
    }

    fn weights<'v>(&self, local: &'v [f32], index: usize) -> (&'v [f32], &'v [f32]) {
        let (weight, bias) = (self.at(index), self.at(index + 1));
        (&local[weight..bias], &local[bias..bias + self.graph.tensors[index + 1].stored()])
    }

    fn sink<'v>(
        &self,
        training: &'v Training,
        index: usize,
        local: &'v mut [f32],
        velocity: &'v mut [f32],
    ) -> Momentum<'v> {
        let range = self.at(index)..self.at(index) + self.graph.tensors[index].stored();
        Momentum { training, local: &mut local[range.clone()], velocity: &mut velocity[range] }
    }

    /// The same with the device's own step.
    pub(crate) fn train(&self, training: &Training, steps: usize, x: &[f32], labels: &[u32]) -> Vec<f32> {
        let mut plan = plan_of(self.spec.clone());
        plan.training.batch = labels.len() as u16;
        let memory = MemoryPlan::new(&plan, &self.graph, 1024);
        let (mut local, mut velocity) = (self.values.clone(), vec![0.0; self.values.len()]);
        for step in 0..steps {
            let mut activations = vec![0.0; memory.activations.len() / 4];
            let mut gradients = vec![0.0; memory.gradients.len() / 4];
            activations[..x.len()].copy_from_slice(x);
            train_step(
                &self.graph,
                (Loss::SoftmaxCrossEntropy, training),
                (Draw { seed: 0, step: step as u32 }, steps as u32),
                (&self.row_ptrs, &self.columns),
                (&mut local, &self.values, &mut velocity),
                Buffers { activations: &mut activations, gradients: &mut gradients },
                labels,
                labels.len(),
            );
        }
        local
    }
}

fn pool(graph: &Graph, node: &Node, window: &Window) -> PoolGeometry {
    let input = graph.input_of(node);
    let [channels, in_h, in_w] = [input.channels, input.height, input.width].map(|n| n as usize);
    let [kernel, stride, dilation] = [window.kernel, window.stride, window.dilation].map(|axes| axes.map(usize::from));
    PoolGeometry { channels, in_h, in_w, kernel, stride, padding: window.padding.map(usize::from), dilation }
}

fn convolution(graph: &Graph, node: &Node, window: &Window) -> ConvGeometry {
    let pool = pool(graph, node, window);
    ConvGeometry {
        in_channels: pool.channels,
        in_h: pool.in_h,
        in_w: pool.in_w,
        out_channels: node.output.channels as usize,
        kernel: pool.kernel,
        stride: pool.stride,
        padding: pool.padding,
        dilation: pool.dilation,
        groups: 1,
    }
}
