//! Stochastic gradient descent with momentum, weight decay and the proximal term of FedProx.
//!
//! `g += lambda w + mu (w - w_global)`, `v = beta v + g`, `w -= lr v`, or with Nesterov's momentum `w -= lr (g + beta v)` (Sutskever
//! et al. 2013 as PyTorch writes it; Li et al. 2020, algorithm 2). Gradients come in pieces and are used at once, so none is
//! stored: with momentum off the whole optimizer needs no memory, with it one value a parameter.

use crate::checkin::{ClientOptimizer, Training};

/// The numbers of one step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sgd {
    rate: f32,
    momentum: f32,
    nesterov: bool,
    decay: f32,
    proximal: f32,
}

impl Sgd {
    pub(super) fn new(training: &Training, rate: f32) -> Self {
        let (momentum, nesterov) = match training.optimizer {
            ClientOptimizer::Sgd { momentum, nesterov } => (momentum, nesterov),
            ClientOptimizer::Adam { .. } => (0.0, false),
        };
        Self { rate, momentum, nesterov, decay: training.weight_decay, proximal: training.proximal }
    }

    pub(super) fn has_velocity(&self) -> bool {
        self.momentum != 0.0
    }

    /// `velocity` is empty without momentum.
    #[inline(always)]
    pub(super) fn step(&self, grad: &[f32], local: &mut [f32], global: &[f32], velocity: &mut [f32]) {
        let Self { rate, momentum, nesterov, decay, proximal } = *self;
        if !self.has_velocity() && decay == 0.0 && proximal == 0.0 {
            return descend(rate, grad, local);
        }
        // Terms that are off are left out, not added as zeros: they would turn -0.0 into 0.0 and infinities into NaN.
        let pulled = |g: f32, w: f32, w0: f32| {
            let g = if decay == 0.0 { g } else { g + decay * w };
            if proximal == 0.0 { g } else { g + proximal * (w - w0) }
        };
        if !self.has_velocity() {
            for ((w, g), w0) in local.iter_mut().zip(grad).zip(global) {
                *w -= rate * pulled(*g, *w, *w0);
            }
            return;
        }
        for (((w, g), w0), v) in local.iter_mut().zip(grad).zip(global).zip(velocity) {
            let g = pulled(*g, *w, *w0);
            *v = momentum * *v + g;
            *w -= rate * if nesterov { g + momentum * *v } else { *v };
        }
    }
}

/// `w -= rate * g`, four at a time where the compiler, to keep code small, would not.
#[inline(always)]
fn descend(rate: f32, grad: &[f32], local: &mut [f32]) {
    let (mut grad, mut local) = (grad, local);
    if !cfg!(feature = "fast") {
        let ((fours, left), (local_fours, local_left)) = (grad.as_chunks(), local.as_chunks_mut());
        for ([a, b, c, d], g) in local_fours.iter_mut().zip(fours) {
            let [ga, gb, gc, gd]: &[f32; 4] = g;
            (*a, *b, *c, *d) = (*a - rate * ga, *b - rate * gb, *c - rate * gc, *d - rate * gd);
        }
        (grad, local) = (left, local_left);
    }
    for (w, g) in local.iter_mut().zip(grad) {
        *w -= rate * g;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sgd(momentum: f32, nesterov: bool, weight_decay: f32, proximal: f32) -> Sgd {
        let optimizer = ClientOptimizer::Sgd { momentum, nesterov };
        Sgd::new(&Training { optimizer, weight_decay, proximal, ..Training::sgd(1, 1, 0.5) }, 0.5)
    }

    #[test]
    fn the_formulae_hold() {
        let global = [1.0f32, 2.0];
        let mut local = [1.5f32, 2.0];
        sgd(0.0, false, 0.0, 0.0).step(&[0.0, 4.0], &mut local, &global, &mut []);
        assert_eq!(local, [1.5, 0.0]);
        sgd(0.0, false, 0.0, 0.25).step(&[1.0, 0.0], &mut local, &global, &mut []);
        assert_eq!(local, [1.5 - 0.5 * (1.0 + 0.25 * 0.5), 0.0 - 0.5 * (0.25 * -2.0)]);
        let mut local = [2.0f32, -4.0];
        sgd(0.0, false, 0.25, 0.0).step(&[1.0, 0.0], &mut local, &global, &mut []);
        assert_eq!(local, [2.0 - 0.5 * 1.5, -4.0 + 0.5]);
        let (mut velocity, mut local) = ([2.0f32, 0.0], [1.0f32, 2.0]);
        sgd(0.5, false, 0.0, 0.0).step(&[1.0, 1.0], &mut local, &global, &mut velocity);
        assert_eq!((local, velocity), ([1.0 - 0.5 * 2.0, 2.0 - 0.5], [2.0, 1.0]));
        let (mut velocity, mut local) = ([2.0f32, 0.0], [1.0f32, 2.0]);
        sgd(0.5, true, 0.0, 0.0).step(&[1.0, 1.0], &mut local, &global, &mut velocity);
        assert_eq!((local, velocity), ([1.0 - 0.5 * 2.0, 2.0 - 0.5 * 1.5], [2.0, 1.0]));
    }
}
