//! Training: without privacy on the public users, with it on the protected ones.

use super::network::{Network, Worker, norm};
use super::users::{Users, some};
use super::{CompareError, Method, Options, each_drawn};
use crate::data::Federated;
use crate::fleet::{Purpose, stream};
use rand_core::Rng;
use siskin_server::optim::{FedAdam, FedAdamConfig, ServerOptimizer};
use siskin_server::privacy::Gaussian;

/// One mechanism.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Plan {
    pub(super) method: Method,
    /// Of the guarantee, unless there is none.
    pub(super) epsilon: Option<f64>,
    /// At most so many examples of a user are kept (ELS), or are in its gradient (ULS).
    pub(super) group: u32,
    /// Probability of an example or of a user.
    pub(super) rate: f64,
    /// Planned number of clipped vectors in a step's sum: its divisor.
    pub(super) planned: f64,
    /// Noise multiplier; 0 is none.
    pub(super) noise: f64,
    /// Clip norm; infinite is none.
    pub(super) clip: f64,
}

/// The data, the users and the network as all trainings have them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Problem<'a> {
    pub(super) data: &'a Federated,
    pub(super) users: &'a Users,
    pub(super) network: &'a Network,
}

/// A finished training.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tuned {
    pub(super) values: Vec<f32>,
    /// Gradients of single examples that were taken, all steps together.
    pub(super) gradients: u64,
}

impl Problem<'_> {
    /// Adam on batches of the public users' examples.
    pub(super) fn pretrain(&self, options: &Options, seed: u64) -> Result<Vec<f32>, CompareError> {
        let mut all = Vec::new();
        for &device in &self.users.public {
            some(self.data, device, u32::MAX, 0, &mut all);
        }
        let batch = (options.pretraining_batch as usize).min(all.len());
        let mut coins = stream(seed, Purpose::Sample, 1, 0);
        let mut worker = self.network.worker(batch);
        let mut values = self.network.start.clone();
        let mut optimizer = FedAdam::new(values.len(), FedAdamConfig::tff(options.pretraining_rate))?;
        for _ in 0..options.pretraining_steps {
            let drawn: Vec<(u32, u32)> = (0..batch).map(|_| all[coins.next_u64() as usize % all.len()]).collect();
            self.network.gradient(&mut worker, &values, self.data, &drawn);
            optimizer.step(&mut values, &worker.gradient)?;
        }
        Ok(values)
    }

    /// Median norm of the mean gradient of at most `group` examples of a public user, at `values`: a clip norm that takes nothing
    /// from the protected users.
    pub(super) fn typical_norm(&self, values: &[f32], group: u32, seed: u64) -> f64 {
        const MOST: usize = 100;
        let mut worker = self.network.worker(group as usize);
        let mut coins = stream(seed, Purpose::Sample, 2, u64::from(group));
        let mut norms: Vec<f64> = Vec::new();
        let users = &self.users.public;
        for i in 0..users.len().min(MOST) {
            let mut examples = Vec::new();
            some(self.data, users[i * users.len() / users.len().min(MOST)], group, coins.next_u64(), &mut examples);
            self.network.gradient(&mut worker, values, self.data, &examples);
            norms.push(norm(&worker.gradient));
        }
        norms.retain(|n| n.is_finite() && *n > 0.0);
        norms.sort_by(f64::total_cmp);
        norms.get(norms.len() / 2).copied().unwrap_or(1.0)
    }

    /// `steps` steps of Adam from `start` with the mechanism of `plan` on the protected users.
    pub(super) fn fine_tune(
        &self,
        plan: &Plan,
        start: &[f32],
        rate: f64,
        steps: u32,
        seed: u64,
    ) -> Result<Tuned, CompareError> {
        let name = plan.epsilon.unwrap_or(0.0).to_bits() ^ (u64::from(plan.group) << 2) ^ plan.method as u64;
        let mut coins = stream(seed, Purpose::Selection, name, 0);
        let mut entropy = stream(seed, Purpose::Noise, name, 0);
        let mut deviates = Gaussian::new(&mut entropy);
        let users = &self.users.private;
        let mut kept = Vec::new();
        if plan.method != Method::Uls {
            for &device in users {
                let key = stream(seed, Purpose::Sample, name, u64::from(device)).next_u64();
                some(self.data, device, plan.group, key, &mut kept);
            }
        }
        let mut worker = self.network.worker(if plan.method == Method::Uls { plan.group as usize } else { 1 });
        let mut values = start.to_vec();
        let mut optimizer = FedAdam::new(values.len(), FedAdamConfig::tff(rate))?;
        let mut gradients = 0;
        let mut sum = vec![0.0; values.len()];
        let mut chosen = Vec::new();
        for _ in 0..steps {
            sum.fill(0.0);
            if plan.method == Method::Uls {
                each_drawn(users.len(), plan.rate, &mut coins, |user, coins| {
                    chosen.clear();
                    some(self.data, users[user], plan.group, coins.next_u64(), &mut chosen);
                    gradients += chosen.len() as u64;
                    self.network.gradient(&mut worker, &values, self.data, &chosen);
                    add_clipped(&worker, plan.clip, &mut sum);
                });
            } else {
                each_drawn(kept.len(), plan.rate, &mut coins, |example, _| {
                    gradients += 1;
                    self.network.gradient(&mut worker, &values, self.data, &kept[example..=example]);
                    add_clipped(&worker, plan.clip, &mut sum);
                });
            }
            if plan.noise > 0.0 {
                sum.iter_mut().for_each(|s| *s += plan.noise * plan.clip * deviates.sample());
            }
            let mean: Vec<f32> = sum.iter().map(|s| (s / plan.planned) as f32).collect();
            optimizer.step(&mut values, &mean)?;
        }
        Ok(Tuned { values, gradients })
    }
}

/// Adds a gradient, scaled to the norm `clip` where it is longer; one that is not finite counts as zero.
fn add_clipped(worker: &Worker, clip: f64, sum: &mut [f64]) {
    let norm = norm(&worker.gradient);
    if norm.is_finite() {
        let factor = if norm > clip { clip / norm } else { 1.0 };
        sum.iter_mut().zip(&worker.gradient).for_each(|(s, g)| *s += factor * f64::from(*g));
    }
}
