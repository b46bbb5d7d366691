//! Gradients of whole networks against differences of their losses: every layer, over every storage, with branches that meet
//! again, frozen layers in between and buffers that share their places.

use crate::problem::{blocks, conv, plan_of, pruned, settings};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use siskin::arena::MemoryPlan;
use siskin::checkin::{Layer, LayerSpec, Loss, ModelSpec, Path, Storage, Train, Window};
use siskin::model::kernel::IGNORE;
use siskin::model::{Buffers, Draw, Parameters, Role, backward, forward_training};
use siskin::optim::Gradients;
use siskin_server::round::{GlobalModel, Offer, Server, Settings};

const ANY: Storage = Storage { live: 1, path: Path::Dense };
const DRAW: Draw = Draw { seed: 9, step: 3 };

fn dense(outputs: u16) -> Layer {
    LayerSpec::Dense { outputs, bias: true, weights: ANY }.into()
}

fn point(outputs: u16, bias: bool) -> Layer {
    LayerSpec::Conv2d { outputs, groups: 1, window: Window::POINT, bias, weights: ANY }.into()
}

/// A layer that takes its inputs from `from` layers further back.
fn back(spec: LayerSpec, from: [u8; 2]) -> Layer {
    Layer { from, ..spec.into() }
}

struct Net {
    offer: Offer,
    values: Vec<f32>,
    activations: Vec<f32>,
    gradients: Vec<f32>,
    batch: usize,
    x: Vec<f32>,
    targets: Vec<u32>,
}

impl Net {
    fn new(model: &ModelSpec, settings: &Settings, batch: usize, seed: u64) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let mut uniform = move || (rng.next_u64() >> 40) as f32 / (1 << 23) as f32 - 1.0;
        let mut global = GlobalModel::new(model, seed).unwrap();
        let mut params = global.params().to_vec();
        let mut at = 0;
        for tensor in global.tensors() {
            for value in &mut params[at..at + tensor.values.len()] {
                *value = match tensor.role {
                    Role::Scale | Role::InverseDeviation => 1.0 + 0.3 * uniform(),
                    _ => 0.5 * uniform(),
                };
            }
            at += tensor.values.len();
        }
        global = GlobalModel::from_params(model, params).unwrap();
        let server = Server::new(settings.clone(), 10, 10, global, 16 * 1024).unwrap();
        let (offer, global) = (server.open().unwrap().offer, server.model());
        let values = offer.values(global);
        let mut plan = plan_of(offer.plan.model.clone());
        plan.training.batch = batch as u16;
        let memory = MemoryPlan::new(&plan, &offer.graph, 1024);
        let graph = &offer.graph;
        let tokens = matches!(model.layers[0].spec, LayerSpec::Embedding { .. });
        let x = (0..graph.input.features() * batch)
            .map(|_| if tokens { ((uniform() + 1.0) * 3.49).floor() } else { uniform() })
            .collect();
        let targets = (0..graph.targets(model.loss) * batch)
            .map(|i| match model.loss {
                Loss::SoftmaxCrossEntropy if i % 7 == 6 => IGNORE,
                Loss::SoftmaxCrossEntropy => {
                    ((uniform() + 1.0) / 2.0 * graph.classes() as f32) as u32 % graph.classes()
                }
                Loss::BinaryCrossEntropy => ((uniform() + 1.0) / 2.0).clamp(0.0, 1.0).to_bits(),
                _ => uniform().to_bits(),
            })
            .collect();
        let activations = vec![f32::NAN; memory.activations.len() / 4];
        let gradients = vec![f32::NAN; memory.gradients.len() / 4];
        Self { offer, values, activations, gradients, batch, x, targets }
    }

    fn loss(&mut self) -> f64 {
        self.activations.fill(f32::NAN);
        self.activations[..self.x.len()].copy_from_slice(&self.x);
        let parameters = Parameters { values: &self.values, ..self.offer.patterns() };
        let logits = forward_training(&self.offer.graph, &parameters, &mut self.activations, self.batch, DRAW);
        let lanes = logits.len() / self.offer.graph.classes() as usize;
        let number = |i: usize| f64::from(f32::from_bits(self.targets[i]));
        match self.offer.plan.model.loss {
            Loss::SoftmaxCrossEntropy => {
                let mut sum = 0.0;
                let counted = self.targets.iter().enumerate().filter(|(_, t)| **t != IGNORE);
                let n = counted.clone().count().max(1);
                for (lane, target) in counted {
                    let column = || logits[lane..].iter().step_by(lanes).map(|v| f64::from(*v));
                    let max = column().fold(f64::NEG_INFINITY, f64::max);
                    let total: f64 = column().map(|v| (v - max).exp()).sum();
                    sum += total.ln() + max - column().nth(*target as usize).unwrap();
                }
                sum / n as f64
            }
            Loss::BinaryCrossEntropy => {
                let terms = logits.iter().map(|v| f64::from(*v)).enumerate();
                terms.map(|(i, v)| v.max(0.0) - v * number(i) + (-v.abs()).exp().ln_1p()).sum::<f64>()
                    / logits.len() as f64
            }
            _ => {
                let terms = logits.iter().map(|v| f64::from(*v)).enumerate();
                terms.map(|(i, v)| (v - number(i)).powi(2)).sum::<f64>() / logits.len() as f64
            }
        }
    }

    fn gradient(&mut self) -> (f64, Vec<f32>) {
        self.activations.fill(f32::NAN);
        self.gradients.fill(f32::NAN);
        self.activations[..self.x.len()].copy_from_slice(&self.x);
        let mut gradients = vec![f32::NAN; self.offer.graph.trained];
        let patterns = self.offer.patterns();
        let mut learner = Gradients { values: &self.values, gradients: &mut gradients };
        let loss = backward(
            &self.offer.graph,
            self.offer.plan.model.loss,
            DRAW,
            (patterns.row_ptrs, patterns.columns),
            &mut learner,
            Buffers { activations: &mut self.activations, gradients: &mut self.gradients },
            &self.targets,
            self.batch,
        );
        (f64::from(loss), gradients)
    }

    /// Directional differences: along each tensor's own gradient, and along random directions.
    fn check(&mut self, name: &str) {
        let (loss, gradient) = self.gradient();
        assert!((loss - self.loss()).abs() < 1e-5 * (1.0 + loss.abs()), "{name}: loss {loss}");
        assert!(gradient.iter().all(|g| g.is_finite()), "{name}: a gradient is missing");
        let tensors: Vec<_> = self.offer.graph.tensors.iter().filter(|t| t.trained).copied().collect();
        let original = self.values.clone();
        let mut rng = ChaCha20Rng::seed_from_u64(77);
        for tensor in tensors {
            let range = tensor.range();
            let norm = gradient[range.clone()].iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
            for trial in 0..3 {
                let direction: Vec<f64> = gradient[range.clone()]
                    .iter()
                    .zip(&original[range.clone()])
                    .map(|(g, value)| match trial {
                        // Pruned entries of dense storage stay at zero.
                        _ if tensor.is_masked() && *value == 0.0 => 0.0,
                        0 if norm > 0.0 => f64::from(*g) / norm,
                        _ => (rng.next_u64() >> 40) as f64 / f64::from(1 << 23) - 1.0,
                    })
                    .collect();
                let length = direction.iter().map(|d| d * d).sum::<f64>().sqrt().max(1e-9);
                let expected: f64 =
                    gradient[range.clone()].iter().zip(&direction).map(|(g, d)| f64::from(*g) * d / length).sum();
                let mut at = |eps: f64| {
                    for ((value, old), d) in
                        self.values[range.clone()].iter_mut().zip(&original[range.clone()]).zip(&direction)
                    {
                        *value = (f64::from(*old) + eps * d / length) as f32;
                    }
                    self.loss()
                };
                let eps = 4e-3;
                let slope = (at(eps) - at(-eps)) / (2.0 * eps);
                self.values.copy_from_slice(&original);
                let scale = norm.max(1e-2);
                assert!(
                    (slope - expected).abs() < 0.02 * scale + 3e-4,
                    "{name}: layer {} {}: {expected} along a direction, the loss says {slope} (norm {norm})",
                    tensor.node,
                    tensor.role.name()
                );
            }
        }
    }
}

fn check(name: &str, input: [u16; 3], layers: Vec<Layer>, loss: Loss) {
    let model = ModelSpec { input, layers: layers.into_iter().collect(), loss };
    for (storage, settings) in [("sparse", pruned(settings(), 0.3, 1.0)), ("masked", pruned(settings(), 0.3, 0.0))] {
        for batch in [1, 3, 8] {
            Net::new(&model, &settings, batch, 5 + batch as u64).check(&format!("{name}, {storage}, batch {batch}"));
        }
    }
}

const CE: Loss = Loss::SoftmaxCrossEntropy;

#[test]
fn smooth_activations() {
    let layers = vec![
        dense(7),
        LayerSpec::Tanh.into(),
        dense(6),
        LayerSpec::Gelu.into(),
        dense(6),
        LayerSpec::Sigmoid.into(),
        LayerSpec::Affine { scale: 2.0, shift: -0.5 }.into(),
        dense(5),
        LayerSpec::LogSoftmax.into(),
    ];
    check("smooth", [4, 1, 1], layers, CE);
}

/// Outputs that four divides: blocks in every layer, frozen ones too.
#[test]
fn whole_blocks() {
    for frozen in [None, Some(2)] {
        let mut layers = [
            dense(8),
            LayerSpec::Tanh.into(),
            dense(12),
            LayerSpec::Gelu.into(),
            back(LayerSpec::Concat, [0, 2]),
            dense(4),
        ];
        if let Some(layer) = frozen {
            layers[layer].train = Train::Bias;
        }
        let model = ModelSpec { input: [5, 1, 1], layers: layers.iter().copied().collect(), loss: CE };
        for batch in [1, 3, 8, 17] {
            let mut net = Net::new(&model, &blocks(settings(), 0.3, 1.0), batch, 5 + batch as u64);
            assert!(net.offer.graph.tensors.iter().all(|t| !t.role.prunes() || t.path == Path::Block));
            net.check(&format!("blocks, frozen {frozen:?}, batch {batch}"));
        }
    }
}

#[test]
fn losses_over_numbers() {
    let layers = || vec![dense(6), LayerSpec::Tanh.into(), dense(3)];
    check("binary", [4, 1, 1], layers(), Loss::BinaryCrossEntropy);
    check("squares", [4, 1, 1], layers(), Loss::MeanSquaredError);
}

#[test]
fn branches_meet_again() {
    let layers = vec![
        dense(6),
        LayerSpec::Tanh.into(),
        dense(6),                                 // 2
        back(LayerSpec::Add, [0, 1]),             // 3: 2 + 1
        LayerSpec::Sigmoid.into(),                // 4, overwrites nothing that 1 needs
        back(LayerSpec::Mul, [0, 2]),             // 5: 4 * 2... the sum's first input is still needed
        back(LayerSpec::Concat, [0, 1]),          // 6: 5 and 4
        LayerSpec::Dropout { rate: 0.25 }.into(), // 7
        LayerSpec::Offset.into(),                 // 8
        dense(4),
    ];
    check("branches", [5, 1, 1], layers, CE);
}

#[test]
fn images() {
    let window = Window { kernel: [3, 2], stride: [1, 2], padding: [1, 0, 1, 1], dilation: [1, 1] };
    let layers = vec![
        LayerSpec::Conv2d { outputs: 4, groups: 2, window, bias: true, weights: ANY }.into(),
        LayerSpec::BatchNorm.into(),
        LayerSpec::Tanh.into(),
        LayerSpec::Conv2d { outputs: 4, groups: 4, window: Window::square(3, 1, 1), bias: false, weights: ANY }.into(),
        LayerSpec::GroupNorm { groups: 2, epsilon: 1e-3 }.into(),
        back(LayerSpec::Add, [0, 2]),
        LayerSpec::AveragePool { window: Window::square(2, 1, 1), count_padding: false }.into(),
        LayerSpec::GlobalAveragePool.into(),
        LayerSpec::Sigmoid.into(),
        back(LayerSpec::Mul, [2, 0]), // squeeze and excitation: channels weighted by their own means
        LayerSpec::Transpose { axes: [2, 0, 1] }.into(),
        LayerSpec::Flatten.into(),
        dense(3),
    ];
    check("images", [2, 6, 6], layers, CE);
}

#[test]
fn rectifiers_and_pools() {
    // Kinks: directions are short enough to stay on one side of nearly all of them.
    let layers = vec![
        conv(4, 3, 1, 1).into(),
        LayerSpec::MaxPool(Window::square(2, 2, 0)).into(),
        LayerSpec::LeakyRelu { slope: 0.1 }.into(),
        point(5, true),
        LayerSpec::HardSwish.into(),
        LayerSpec::Reshape { shape: [9, 5, 1] }.into(),
        LayerSpec::Clip { min: -2.0, max: 2.0 }.into(),
        LayerSpec::Flatten.into(),
        dense(4),
    ];
    check("rectifiers", [1, 6, 6], layers, CE);
}

#[test]
fn attention() {
    let norm = LayerSpec::LayerNorm { epsilon: 1e-3 };
    for causal in [false, true] {
        let layers = vec![
            LayerSpec::Embedding { rows: 7, dims: 6, weights: ANY }.into(), // 0
            LayerSpec::Offset.into(),                                       // 1
            norm.into(),                                                    // 2
            point(6, true),                                                 // 3: queries
            back(point(6, true).spec, [1, 0]),                              // 4: keys, of 2
            back(point(6, true).spec, [2, 0]),                              // 5: values, of 2
            back(LayerSpec::Scores { heads: 2, scale: 0.6, causal }, [2, 1]), // 6: of 3 and 4
            LayerSpec::Softmax { groups: 2, causal }.into(),                // 7
            back(LayerSpec::Context { heads: 2, causal }, [0, 2]),          // 8: of 7 and 5
            point(6, false),                                                // 9
            back(LayerSpec::Add, [0, 8]),                                   // 10: with 1
            norm.into(),
            point(5, true),
        ];
        check("attention", [1, 5, 1], layers, CE);
    }
}

#[test]
fn recurrent() {
    let gru = |reset_after, bias| LayerSpec::Gru { hidden: 5, reset_after, bias, weights: ANY, recurrent: ANY };
    for (reset_after, bias) in [(true, true), (false, true), (false, false)] {
        let layers = vec![
            LayerSpec::Embedding { rows: 7, dims: 4, weights: ANY }.into(),
            gru(reset_after, bias).into(),
            point(6, true),
        ];
        check("gru", [1, 6, 1], layers, CE);
    }
    let lstm = LayerSpec::Lstm { hidden: 5, bias: true, weights: ANY, recurrent: ANY };
    let layers = vec![
        LayerSpec::Embedding { rows: 7, dims: 4, weights: ANY }.into(),
        lstm.into(),
        gru(true, true).into(),
        LayerSpec::Last.into(),
        dense(4),
    ];
    check("lstm and gru", [1, 6, 1], layers, CE);
}

#[test]
fn frozen_layers() {
    for frozen in [vec![0], vec![2], vec![0, 2], vec![2, 4], vec![4]] {
        for part in [Train::Nothing, Train::Bias] {
            let mut layers = vec![
                dense(6),
                LayerSpec::Tanh.into(),
                dense(5),
                LayerSpec::Gelu.into(),
                dense(4),
                LayerSpec::Tanh.into(),
                dense(3),
            ];
            for &layer in &frozen {
                layers[layer].train = part;
            }
            check(&format!("frozen {frozen:?} {part:?}"), [4, 1, 1], layers, CE);
        }
    }
}
