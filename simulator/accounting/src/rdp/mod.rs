//! Renyi differential privacy: a curve of divergences over orders, added up over rounds, converted at the end.
//!
//! Sources: Mironov, Talwar, Zhang 2019, "Renyi Differential Privacy of the Sampled Gaussian Mechanism" (the
//! divergences, and that removing a user is the worse direction); Canonne, Kamath, Steinke 2020, "The Discrete Gaussian
//! for Differential Privacy", proposition 12 (the conversion). The result is an upper bound of epsilon, and a loose one
//! for few rounds at a small rate; `tests/golden.rs` holds it against the tight value.

mod fixed_size;
mod mechanisms;
mod sampled_gaussian;

use std::sync::Arc;

use crate::error::{check_dp_delta, check_epsilon};
use crate::{Adjacency, Error, Event};

/// The default orders of dp_accounting 0.6: 1.1 to 10.9 by tenths, 11 to 63, 128, 256, 512, 1024.
pub fn default_orders() -> Vec<f64> {
    let tenths = (1..100).map(|x| 1.0 + f64::from(x) / 10.0);
    tenths.chain((11..64).map(f64::from)).chain([128.0, 256.0, 512.0, 1024.0]).collect()
}

/// Renyi divergences of everything released so far, one per order.
///
/// ```
/// use siskin_accounting::{Adjacency, Event, rdp::Curve};
///
/// let mut released = Curve::zero();
/// for (noise_multiplier, rounds) in [(1.0, 500), (2.0, 500)] {
///     let round = Event::PoissonGaussian { noise_multiplier, rate: 0.01 };
///     released.compose(&released.of(round, Adjacency::AddOrRemove)?, rounds);
/// }
/// assert_eq!(format!("{:.4}", released.epsilon(1e-6)?.epsilon), "2.0290");
/// # Ok::<(), siskin_accounting::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// Finite and above 1.
    orders: Arc<[f64]>,
    /// As long as `orders`; in [0, inf], never NaN.
    divergences: Vec<f64>,
}

/// What a [`Curve`] says at one `dp_delta` or one epsilon, and the order that says it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Converted {
    /// Upper bound of epsilon; infinite when no order is finite.
    pub epsilon: f64,
    /// The `dp_delta` that belongs to it.
    pub dp_delta: f64,
    /// The order at which the bound is smallest.
    pub order: f64,
}

impl Default for Curve {
    fn default() -> Self {
        Self::zero()
    }
}

impl Curve {
    /// Nothing released, over [`default_orders`].
    pub fn zero() -> Self {
        let orders: Arc<[f64]> = default_orders().into();
        Self { divergences: vec![0.0; orders.len()], orders }
    }

    /// Nothing released, over `orders`. Without orders no finite epsilon can be shown.
    ///
    /// # Errors
    /// [`Error::Order`] for an order that is not finite or not above 1.
    pub fn zero_over(orders: &[f64]) -> Result<Self, Error> {
        match orders.iter().find(|order| !(order.is_finite() && **order > 1.0)) {
            Some(&got) => Err(Error::Order { got }),
            None => Ok(Self { orders: orders.into(), divergences: vec![0.0; orders.len()] }),
        }
    }

    /// One `event`, over the orders of `self` (infinite for a capped cohort, of which only [`crate::pld`] knows a bound). Cost with the default orders: about a millisecond when sampled.
    ///
    /// # Errors
    /// [`Error::NoiseMultiplier`], [`Error::Rate`], [`Error::SampledAdjacency`] for replace-one with a rate strictly
    /// between 0 and 1.
    pub fn of(&self, event: Event, adjacency: Adjacency) -> Result<Self, Error> {
        let event = event.checked()?;
        let (z, rate) = (event.noise_multiplier(), event.rate());
        let divergence: &dyn Fn(f64) -> f64 = if rate == 0.0 {
            &|_| 0.0
        } else if event.cap().is_some() {
            // Not known here; see `pld`.
            &|_| f64::INFINITY
        } else if rate == 1.0 {
            let ratio = adjacency.sensitivity() / z;
            &move |order| 0.5 * order * ratio * ratio
        } else if adjacency == Adjacency::ReplaceOne {
            return Err(Error::SampledAdjacency { got: adjacency });
        } else {
            &move |order| sampled_gaussian::renyi(rate, z, order)
        };
        Ok(Self {
            orders: self.orders.clone(),
            divergences: self.orders.iter().map(|&order| divergence(order)).collect(),
        })
    }

    /// The orders, as given.
    pub fn orders(&self) -> &[f64] {
        &self.orders
    }

    /// The Renyi divergence at each order, in nats.
    pub fn divergences(&self) -> &[f64] {
        &self.divergences
    }

    /// Adds `rounds` repetitions of `other` (adaptive composition: divergences add up).
    ///
    /// # Panics
    /// When the two curves are over different orders.
    pub fn compose(&mut self, other: &Self, rounds: u64) {
        assert_eq!(self.orders, other.orders, "curves over different orders");
        if rounds > 0 {
            for (sum, one) in self.divergences.iter_mut().zip(&other.divergences) {
                *sum += one * rounds as f64;
            }
        }
    }

    /// The least epsilon that some order shows at `dp_delta`.
    ///
    /// # Errors
    /// [`Error::DpDelta`].
    pub fn epsilon(&self, dp_delta: f64) -> Result<Converted, Error> {
        let log_delta = libm::log(check_dp_delta(dp_delta)?);
        let mut best = Converted { epsilon: f64::INFINITY, dp_delta, order: f64::INFINITY };
        for (&order, &divergence) in self.orders.iter().zip(&self.divergences) {
            // Bretagnolle & Huber 1979: total variation <= sqrt(1 - exp(-KL)), and KL is below every Renyi divergence.
            // It rescues small divergences, where the other bound cannot reach epsilon 0.
            let epsilon = if -libm::expm1(-divergence) < dp_delta * dp_delta {
                0.0
            } else {
                let bound = divergence + libm::log1p(-1.0 / order) - (log_delta + libm::log(order)) / (order - 1.0);
                bound.max(0.0)
            };
            if epsilon < best.epsilon {
                best = Converted { epsilon, order, ..best };
            }
        }
        Ok(best)
    }

    /// The least `dp_delta` that some order shows at `epsilon`; at most 1.
    ///
    /// # Errors
    /// [`Error::Epsilon`].
    pub fn dp_delta(&self, epsilon: f64) -> Result<Converted, Error> {
        check_epsilon(epsilon)?;
        let mut best = Converted { epsilon, dp_delta: 1.0, order: f64::INFINITY };
        for (&order, &divergence) in self.orders.iter().zip(&self.divergences) {
            let log_delta = (order - 1.0) * (divergence - epsilon + libm::log1p(-1.0 / order)) - libm::log(order);
            let dp_delta = libm::exp(log_delta).min((-libm::expm1(-divergence)).sqrt());
            if dp_delta < best.dp_delta {
                best = Converted { dp_delta, order, ..best };
            }
        }
        Ok(best)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_orders_are_those_of_dp_accounting() {
        let orders = default_orders();
        assert_eq!(orders.len(), 156);
        assert_eq!((orders[0], orders[98], orders[99], orders[155]), (1.1, 10.9, 11.0, 1024.0));
        assert!(orders.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn nothing_released_is_private_and_no_noise_is_not() {
        let nothing = Curve::zero();
        assert_eq!(nothing.epsilon(1e-10).unwrap().epsilon, 0.0);
        assert_eq!(nothing.dp_delta(0.0).unwrap().dp_delta, 0.0);
        for rate in [1e-9, 0.5, 1.0] {
            let bare =
                nothing.of(Event::PoissonGaussian { noise_multiplier: 0.0, rate }, Adjacency::AddOrRemove).unwrap();
            assert_eq!(bare.epsilon(0.5).unwrap().epsilon, f64::INFINITY);
            assert_eq!(bare.dp_delta(100.0).unwrap().dp_delta, 1.0);
        }
    }

    #[test]
    fn epsilon_and_dp_delta_invert_each_other() {
        let nothing = Curve::zero();
        let mut curve = nothing.clone();
        let round = Event::PoissonGaussian { noise_multiplier: 1.3, rate: 0.02 };
        curve.compose(&nothing.of(round, Adjacency::AddOrRemove).unwrap(), 300);
        let there = curve.epsilon(1e-7).unwrap();
        let back = curve.dp_delta(there.epsilon).unwrap();
        assert!((back.dp_delta / 1e-7 - 1.0).abs() < 1e-12 && back.order == there.order, "{there:?} {back:?}");
    }

    #[test]
    fn replace_one_doubles_the_sensitivity_and_refuses_sampling() {
        let nothing = Curve::zero();
        let twice = nothing.of(Event::Gaussian { noise_multiplier: 2.0 }, Adjacency::ReplaceOne).unwrap();
        let once = nothing.of(Event::Gaussian { noise_multiplier: 1.0 }, Adjacency::ZeroOut).unwrap();
        assert_eq!(twice, once);
        let sampled = Event::PoissonGaussian { noise_multiplier: 2.0, rate: 0.1 };
        let refused = Error::SampledAdjacency { got: Adjacency::ReplaceOne };
        assert_eq!(nothing.of(sampled, Adjacency::ReplaceOne), Err(refused));
    }

    #[test]
    fn bad_orders_are_refused() {
        for got in [1.0, 0.5, f64::INFINITY] {
            assert_eq!(Curve::zero_over(&[2.0, got]), Err(Error::Order { got }));
        }
        assert!(matches!(Curve::zero_over(&[f64::NAN]), Err(Error::Order { .. })));
    }
}
