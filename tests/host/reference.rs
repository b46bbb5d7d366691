//! The same training by other means: plain loops in double precision over `[example]`, for fully connected networks
//! with full batches (so that the order of the examples does not matter).

use crate::problem::Examples;
use siskin::checkin::{ClientOptimizer, Training};

/// A layer: weights `[out][in]`, biases, and which weights live.
struct Layer {
    weights: Vec<Vec<f64>>,
    biases: Vec<f64>,
    live: Vec<Vec<bool>>,
}

fn layers(params: &[f64], live: &[bool], widths: &[usize]) -> Vec<Layer> {
    let mut at = 0;
    let mut out = Vec::new();
    for pair in widths.windows(2) {
        let (inputs, outputs) = (pair[0], pair[1]);
        let rows = at..at + inputs * outputs;
        at = rows.end + outputs;
        out.push(Layer {
            weights: params[rows.clone()].chunks(inputs).map(<[f64]>::to_vec).collect(),
            live: live[rows.clone()].chunks(inputs).map(<[bool]>::to_vec).collect(),
            biases: params[rows.end..at].to_vec(),
        });
    }
    out
}

/// Gradient of the mean loss, in flat order, zero where pruned.
fn gradient(params: &[f64], live: &[bool], widths: &[usize], examples: &Examples) -> Vec<f64> {
    let mut sum = vec![0.0; params.len()];
    for (features, label) in examples.rows() {
        let of_one = gradient_of(params, live, widths, features, label);
        sum.iter_mut().zip(&of_one).for_each(|(s, g)| *s += g);
    }
    sum.iter().map(|v| v / examples.len() as f64).collect()
}

/// Gradient of the loss of one example, the same way.
pub(crate) fn gradient_of(params: &[f64], live: &[bool], widths: &[usize], features: &[f32], label: u32) -> Vec<f64> {
    let net = layers(params, live, widths);
    let mut sum = vec![0.0; params.len()];
    let mut acts = vec![features.iter().map(|v| f64::from(*v)).collect::<Vec<f64>>()];
    for (l, layer) in net.iter().enumerate() {
        let x = &acts[l];
        let dot = |row: &Vec<f64>| row.iter().zip(x).map(|(w, x)| w * x).sum::<f64>();
        let mut y: Vec<f64> = layer.weights.iter().zip(&layer.biases).map(|(row, b)| b + dot(row)).collect();
        if l + 1 < net.len() {
            y.iter_mut().for_each(|v| *v = v.max(0.0));
        }
        acts.push(y);
    }
    let logits = acts.last().unwrap();
    let top = logits.iter().copied().fold(f64::MIN, f64::max);
    let total: f64 = logits.iter().map(|v| (v - top).exp()).sum();
    let mut dy: Vec<f64> = logits.iter().map(|v| (v - top).exp() / total).collect();
    dy[label as usize] -= 1.0;
    let mut at = params.len();
    for (l, layer) in net.iter().enumerate().rev() {
        let x = &acts[l];
        let (outputs, inputs) = (layer.weights.len(), x.len());
        at -= outputs * (inputs + 1);
        let mut dx = vec![0.0; inputs];
        for o in 0..outputs {
            for i in 0..inputs {
                if layer.live[o][i] {
                    sum[at + o * inputs + i] += dy[o] * x[i];
                    dx[i] += dy[o] * layer.weights[o][i];
                }
            }
            sum[at + outputs * inputs + o] += dy[o];
        }
        // The gradient of a rectified value that is zero is zero.
        dy = dx.iter().zip(x).map(|(d, x)| if *x > 0.0 { *d } else { 0.0 }).collect();
    }
    sum
}

/// Global minus local after `training.epochs` full-batch steps.
pub(crate) fn delta(
    global: &[f32],
    live: &[bool],
    widths: &[usize],
    training: &Training,
    examples: &Examples,
) -> Vec<f64> {
    assert!(usize::from(training.batch) >= examples.len(), "full batches only");
    let global: Vec<f64> = global.iter().map(|v| f64::from(*v)).collect();
    let (mut local, mut velocity) = (global.clone(), vec![0.0; global.len()]);
    let ClientOptimizer::Sgd { momentum, .. } = training.optimizer else { panic!("another optimizer") };
    let [rate, momentum, proximal] = [training.learning_rate, momentum, training.proximal].map(f64::from);
    for _ in 0..training.epochs {
        let grad = gradient(&local, live, widths, examples);
        for i in (0..local.len()).filter(|i| live[*i]) {
            velocity[i] = momentum * velocity[i] + grad[i] + proximal * (local[i] - global[i]);
            local[i] -= rate * velocity[i];
        }
    }
    global.iter().zip(&local).map(|(g, l)| g - l).collect()
}

pub(crate) fn norm(values: &[f64]) -> f64 {
    values.iter().map(|v| v * v).sum::<f64>().sqrt()
}

/// Scales to `clip_norm` where longer.
pub(crate) fn clip(values: &mut [f64], clip_norm: f64) {
    let norm = norm(values);
    if norm > clip_norm {
        values.iter_mut().for_each(|v| *v *= clip_norm / norm);
    }
}
