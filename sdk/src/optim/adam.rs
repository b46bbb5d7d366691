//! Adam (Kingma and Ba 2015, algorithm 1) and AdamW (Loshchilov and Hutter 2019, algorithm 2), as PyTorch writes them.
//!
//! `m = b1 m + (1 - b1) g`, `v = b2 v + (1 - b2) g^2`, `w -= lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + epsilon)` with `t` counted from 1 in
//! each round. Weight decay joins the gradient (Adam) or shrinks `w` by `1 - lr lambda` first (AdamW).

use crate::checkin::{ClientOptimizer, Training};

/// The numbers of one step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Adam {
    /// `lr / (1 - b1^t)`.
    rate: f32,
    /// `sqrt(1 - b2^t)`.
    correction: f32,
    /// What is left of a weight by decoupled decay.
    keep: f32,
    /// Coefficient of decay that joins the gradient.
    decay: f32,
    proximal: f32,
    beta1: f32,
    beta2: f32,
    epsilon: f32,
}

impl Adam {
    /// Step `step`, counted from 0.
    pub(super) fn new(training: &Training, rate: f32, step: u32) -> Self {
        let (beta1, beta2, epsilon, decoupled) = match training.optimizer {
            ClientOptimizer::Adam { beta1, beta2, epsilon, decoupled } => (beta1, beta2, epsilon, decoupled),
            ClientOptimizer::Sgd { .. } => (0.0, 0.0, 1.0, false),
        };
        let t = f64::from(step) + 1.0;
        let left = |beta: f32| 1.0 - libm::pow(f64::from(beta), t);
        let lambda = training.weight_decay;
        Self {
            rate: (f64::from(rate) / left(beta1)) as f32,
            correction: libm::sqrt(left(beta2)) as f32,
            keep: if decoupled { 1.0 - rate * lambda } else { 1.0 },
            decay: if decoupled { 0.0 } else { lambda },
            proximal: training.proximal,
            beta1,
            beta2,
            epsilon,
        }
    }

    #[inline(always)]
    pub(super) fn step(
        &self,
        grad: &[f32],
        local: &mut [f32],
        global: &[f32],
        (first, second): (&mut [f32], &mut [f32]),
    ) {
        let Self { rate, correction, keep, decay, proximal, beta1, beta2, epsilon } = *self;
        for ((((w, g), w0), m), v) in local.iter_mut().zip(grad).zip(global).zip(first).zip(second) {
            let g = g + decay * *w + proximal * (*w - w0);
            *m = beta1 * *m + (1.0 - beta1) * g;
            *v = beta2 * *v + (1.0 - beta2) * (g * g);
            *w = keep * *w - rate * (*m / (libm::sqrtf(*v) / correction + epsilon));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The formulae in f64, straight from the papers.
    #[test]
    fn three_steps_follow_the_papers() {
        for decoupled in [false, true] {
            let optimizer = ClientOptimizer::Adam { beta1: 0.9, beta2: 0.99, epsilon: 1e-6, decoupled };
            let training = Training { optimizer, weight_decay: 0.1, ..Training::sgd(1, 1, 0.05) };
            let (mut w, mut m, mut v) = ([0.7f32], [0.0f32], [0.0f32]);
            let (mut exact, mut em, mut ev) = (f64::from(w[0]), 0.0, 0.0);
            for (t, g) in [0.3f32, -1.5, 0.02].into_iter().enumerate() {
                Adam::new(&training, 0.05, t as u32).step(&[g], &mut w, &[0.0], (&mut m, &mut v));
                let mut g = f64::from(g);
                if decoupled {
                    exact *= 1.0 - 0.05 * 0.1;
                } else {
                    g += 0.1 * exact;
                }
                em = 0.9 * em + 0.1 * g;
                ev = 0.99 * ev + 0.01 * g * g;
                let t = t as i32 + 1;
                let (mh, vh) = (em / (1.0 - 0.9f64.powi(t)), ev / (1.0 - 0.99f64.powi(t)));
                exact -= 0.05 * mh / (vh.sqrt() + 1e-6);
                assert!((f64::from(w[0]) - exact).abs() < 1e-6, "{} for {exact}", w[0]);
            }
        }
    }
}
