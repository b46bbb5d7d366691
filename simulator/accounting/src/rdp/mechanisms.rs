//! Renyi divergences of what [`Release`] knows beyond the (sampled) Gaussian.

use core::f64::consts::PI;

use super::{Curve, sampled_gaussian};
use crate::release::Law;
use crate::{Adjacency, Error, Release};

impl Curve {
    /// One `release`, over the orders of `self`; `None` where no bound is known here (mixtures other than
    /// [`Release::Uls`], sampled discrete noise, boxes with a delta).
    ///
    /// # Errors
    /// The release's own, as from [`crate::Composition::account`].
    pub fn of_release(&self, release: &Release, adjacency: Adjacency) -> Result<Option<Self>, Error> {
        let law = release.law(adjacency)?;
        let divergence: Box<dyn Fn(f64) -> f64> = match (law, release) {
            (Law::Nothing, _) => Box::new(|_| 0.0),
            (Law::Everything, _) => Box::new(|_| f64::INFINITY),
            (Law::Gaussian(mu_squared), _) => Box::new(move |order| 0.5 * order * mu_squared),
            (Law::Mixture { .. }, &Release::Uls { noise_multiplier, rate }) => {
                Box::new(move |order| sampled_gaussian::renyi(rate, noise_multiplier, order))
            }
            (Law::Laplace { scale, sensitivity }, _) => Box::new(move |order| laplace(sensitivity / scale, order)),
            // Canonne, Kamath, Steinke 2020, theorem 4: concentrated as the continuous one.
            (Law::DiscreteGaussian { sigma, sensitivity, rate: 1.0 }, _) => {
                let ratio = f64::from(sensitivity) / sigma;
                Box::new(move |order| 0.5 * order * ratio * ratio)
            }
            (Law::EpsilonDelta { epsilon, dp_delta: 0.0 }, _) => Box::new(move |order| pure(epsilon, order)),
            (Law::Renyi, &Release::FixedSize { noise_over_sensitivity, population, cohort }) => {
                let fixed = super::fixed_size::FixedSize::new(
                    cohort as f64 / population as f64,
                    noise_over_sensitivity,
                    &self.orders,
                );
                Box::new(move |order| fixed.renyi(order))
            }
            (Law::Renyi, &Release::Zcdp { rho }) => Box::new(move |order| rho * order),
            (Law::Renyi, &Release::Skellam { variance, l2, l1 }) => {
                Box::new(move |order| skellam(variance, l2, l1, libm::ceil(order)))
            }
            (Law::Renyi, &Release::DistributedDiscreteGaussian { local_sigma, devices, dimension, l2, l1 }) => {
                let sigma = local_sigma * (devices as f64).sqrt();
                let tau = tau(local_sigma, devices);
                let dimension = dimension as f64;
                Box::new(move |order| distributed_gaussian(l2 / sigma, l1 / sigma, tau, dimension, order))
            }
            _ => return Ok(None),
        };
        Ok(Some(Self {
            orders: self.orders.clone(),
            divergences: self.orders.iter().map(|&order| divergence(order)).collect(),
        }))
    }
}

/// Mironov 2017, "Renyi Differential Privacy", table II, for a pure epsilon of `x` of the Laplace mechanism.
fn laplace(x: f64, order: f64) -> f64 {
    // log(a/(2a-1) e^((a-1)x) + (a-1)/(2a-1) e^(-ax)), with the larger exponent taken out.
    let weight = order / (2.0 * order - 1.0);
    let rest = (order - 1.0) / (2.0 * order - 1.0);
    let inner = libm::log(weight + rest * libm::exp((1.0 - 2.0 * order) * x));
    ((order - 1.0) * x + inner).max(0.0) / (order - 1.0)
}

/// Randomised response with (epsilon, 0), which dominates every pure mechanism.
fn pure(epsilon: f64, order: f64) -> f64 {
    // p^a (1-p)^(1-a) + (1-p)^a p^(1-a), with p = 1/(1+e^-epsilon): (e^((a-1)eps) + e^(-a eps)) / (1 + e^-eps).
    let inner = libm::log1p(libm::exp((1.0 - 2.0 * order) * epsilon)) - libm::log1p(libm::exp(-epsilon));
    ((order - 1.0) * epsilon + inner).max(0.0) / (order - 1.0)
}

/// Agarwal, Kairouz, Liu 2021, "The Skellam Mechanism for Differentially Private Federated Learning", theorem 3.5, for
/// a whole order (a Renyi divergence grows with its order, so the next whole one is a bound).
fn skellam(variance: f64, l2: f64, l1: f64, order: f64) -> f64 {
    let square = l2 * l2;
    let first = ((2.0 * order - 1.0) * square + 6.0 * l1) / (4.0 * variance * variance);
    let second = 1.5 * l1 / variance;
    0.5 * order * square / variance + first.min(second)
}

/// How far the sum of `devices` discrete Gaussians is from one: Kairouz, Liu, Steinke 2021, "The Distributed Discrete
/// Gaussian Mechanism for Federated Learning with Secure Aggregation", theorem 1.
fn tau(local_sigma: f64, devices: u64) -> f64 {
    let scale = -2.0 * PI * PI * local_sigma * local_sigma;
    let mut sum = 0.0;
    for j in 1..devices.min(1000) {
        sum += libm::exp(scale * j as f64 / (j as f64 + 1.0));
    }
    // The terms fall with j.
    sum += devices.saturating_sub(1000) as f64 * libm::exp(scale * 1000.0 / 1001.0);
    10.0 * sum
}

/// The same, proposition 14; sensitivities over the noise of the sum.
fn distributed_gaussian(l2: f64, l1: f64, tau: f64, dimension: f64, order: f64) -> f64 {
    let half = 0.5 * order;
    let first = half * l2 * l2 + tau * dimension;
    let second = half * (l2 * l2 + 2.0 * l1 * tau + tau * tau * dimension);
    let sum = l2 + dimension.sqrt() * tau;
    first.min(second).min(half * sum * sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn discrete_sums_are_near_the_gaussian_and_above_it() {
        let gaussian = |order: f64, variance: f64| 0.5 * order * 100.0 / variance;
        for order in [1.5, 2.0, 10.0, 64.0] {
            let loose = skellam(1e6, 10.0, 100.0, libm::ceil(order));
            let exact = gaussian(libm::ceil(order), 1e6);
            assert!(exact <= loose && loose < 1.001 * exact, "{order}: {loose}");
            let sigma = 10.0 * 100.0_f64.sqrt();
            let distributed = distributed_gaussian(10.0 / sigma, 100.0 / sigma, tau(10.0, 100), 1e6, order);
            assert!((distributed / gaussian(order, 1e4) - 1.0).abs() < 1e-12, "{order}: {distributed}");
        }
        // With little noise on each device the sum is far from a discrete Gaussian.
        assert!(tau(0.2, 100) > 100.0 && tau(2.0, 100) < 1e-10);
    }

    #[test]
    fn pure_privacy_is_never_exceeded() {
        for order in [1.1, 2.0, 64.0, 1024.0] {
            for epsilon in [1e-3, 0.1, 1.0, 20.0] {
                assert!(laplace(epsilon, order) <= pure(epsilon, order) * (1.0 + 1e-9), "{epsilon} {order}");
                assert!(pure(epsilon, order) <= epsilon, "{epsilon} {order}");
            }
        }
    }
}
