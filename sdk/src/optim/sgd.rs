//! Stochastic gradient descent with momentum and the proximal term of FedProx.
//!
//! `g += mu (w - w_global)`, `v = beta v + g`, `w -= lr v` (Sutskever et al. 2013 as PyTorch writes it; Li et al. 2020,
//! algorithm 2). Gradients come in pieces and are used at once, so none is stored: with momentum off the whole optimizer
//! needs no memory, with it one value a parameter.

use crate::checkin::Training;
use crate::model::kernel::GradSink;

/// The optimizer over one tensor's stored values.
#[derive(Debug)]
pub struct Sgd<'a> {
    rate: f32,
    momentum: f32,
    proximal: f32,
    local: &'a mut [f32],
    global: &'a [f32],
    velocity: &'a mut [f32],
}

impl<'a> Sgd<'a> {
    /// The tensor's parameters in training, as they came, and their velocity (empty without momentum).
    pub fn new(training: &Training, local: &'a mut [f32], global: &'a [f32], velocity: &'a mut [f32]) -> Self {
        debug_assert_eq!(local.len(), global.len());
        debug_assert!(training.momentum == 0.0 || velocity.len() == local.len());
        let Training { learning_rate: rate, momentum, proximal, .. } = *training;
        Self { rate, momentum, proximal, local, global, velocity }
    }
}

impl GradSink for Sgd<'_> {
    #[inline(always)]
    fn take(&mut self, offset: usize, grad: &[f32]) {
        let end = offset + grad.len();
        let local = &mut self.local[offset..end];
        let rate = self.rate;
        if self.momentum == 0.0 && self.proximal == 0.0 {
            for (w, g) in local.iter_mut().zip(grad) {
                *w -= rate * g;
            }
            return;
        }
        let global = &self.global[offset..end];
        let proximal = self.proximal;
        if self.momentum == 0.0 {
            for ((w, g), w0) in local.iter_mut().zip(grad).zip(global) {
                *w -= rate * (g + proximal * (*w - w0));
            }
            return;
        }
        let beta = self.momentum;
        let velocity = &mut self.velocity[offset..end];
        for (((w, g), w0), v) in local.iter_mut().zip(grad).zip(global).zip(velocity) {
            *v = beta * *v + (g + proximal * (*w - w0));
            *w -= rate * *v;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn training(momentum: f32, proximal: f32) -> Training {
        Training { epochs: 1, batch: 1, max_examples: 1, learning_rate: 0.5, momentum, proximal }
    }

    #[test]
    fn the_formulae_hold() {
        let global = [1.0f32, 2.0];
        let mut local = [1.5f32, 2.0];
        Sgd::new(&training(0.0, 0.0), &mut local, &global, &mut []).take(1, &[4.0]);
        assert_eq!(local, [1.5, 0.0]);
        Sgd::new(&training(0.0, 0.25), &mut local, &global, &mut []).take(0, &[1.0, 0.0]);
        assert_eq!(local, [1.5 - 0.5 * (1.0 + 0.25 * 0.5), 0.0 - 0.5 * (0.25 * -2.0)]);
        let mut velocity = [2.0f32, 0.0];
        let mut local = [1.0f32, 2.0];
        Sgd::new(&training(0.5, 0.0), &mut local, &global, &mut velocity).take(0, &[1.0, 1.0]);
        assert_eq!((local, velocity), ([1.0 - 0.5 * 2.0, 2.0 - 0.5], [2.0, 1.0]));
    }
}
