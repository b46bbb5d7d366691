//! The mean of the users' examples, estimated in steps that are clipped and noised.

use super::population::{Population, norm};
use super::{Method, Plan};
use crate::fleet::{Purpose, SimulatedEntropy, stream};
use rand_core::Rng;
use siskin::data::Shuffle;
use siskin_server::privacy::Gaussian;

/// What one estimate is off.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Off {
    /// Squared distance of the estimate from the mean of all examples.
    pub(super) error: f64,
    /// Squared norm of the noise in it.
    pub(super) noise: f64,
}

/// Estimates with the mechanism of `plan`: the mean of the steps' releases, which is what gradient descent on half the squared
/// distance comes to with rates 1, 1/2, 1/3, ...
///
/// Values are summed in f64; the noise is the server's ([`Gaussian`]), not rounded to a grid.
pub(super) fn estimate(population: &Population, plan: &Plan, steps: u32, seed: u64) -> Off {
    let dims = population.dims;
    // Streams of its own for each plan, so that what one draws never hangs on the others.
    let name = plan.name();
    let mut coins = stream(seed, Purpose::Selection, name, 0);
    let mut entropy = stream(seed, Purpose::Noise, name, 0);
    let mut deviates = Gaussian::new(&mut entropy);
    let kept = kept(population, plan, seed);
    let (mut sum, mut noise) = (vec![0.0; dims], vec![0.0; dims]);
    let mut mean = vec![0.0; dims];
    for _ in 0..steps {
        let mut add = |vector: &[f64]| {
            let norm = norm(vector);
            let factor = if norm > plan.clip { plan.clip / norm } else { 1.0 };
            sum.iter_mut().zip(vector).for_each(|(s, v)| *s += factor * v);
        };
        match plan.method {
            Method::Uls => each_drawn(population.users, plan.rate, &mut coins, |user, coins| {
                mean_of_group(population, user, plan.group, coins, &mut mean);
                add(&mean);
            }),
            _ => each_drawn(kept.len(), plan.rate, &mut coins, |example, _| {
                let (user, example) = kept[example];
                let values = population.example(user as usize, example as usize);
                mean.iter_mut().zip(values).for_each(|(m, v)| *m = f64::from(*v));
                add(&mean);
            }),
        }
        noise.iter_mut().for_each(|n| *n += plan.noise * plan.clip * deviates.sample());
    }
    let scale = 1.0 / (plan.planned * f64::from(steps));
    let estimate = sum.iter().zip(&noise).map(|(s, n)| scale * (s + n));
    let error = estimate.zip(&population.truth).map(|(e, t)| (e - t).powi(2)).sum();
    Off { error, noise: (scale * norm(&noise)).powi(2) }
}

/// The examples that may be in a batch of ELS: a random `group` of each user's, drawn once.
fn kept(population: &Population, plan: &Plan, seed: u64) -> Vec<(u32, u32)> {
    let mut kept = Vec::new();
    if plan.method != Method::Uls {
        for user in 0..population.users {
            let order = Shuffle::new(
                population.examples as u32,
                stream(seed, Purpose::Sample, plan.name(), user as u64).next_u64(),
            );
            kept.extend((0..plan.group).map(|i| (user as u32, order.at(i))));
        }
    }
    kept
}

/// The mean of `group` of a user's examples, drawn afresh.
fn mean_of_group(population: &Population, user: usize, group: u32, coins: &mut SimulatedEntropy, mean: &mut [f64]) {
    let order = Shuffle::new(population.examples as u32, coins.next_u64());
    mean.fill(0.0);
    for i in 0..group {
        let values = population.example(user, order.at(i) as usize);
        mean.iter_mut().zip(values).for_each(|(m, v)| *m += f64::from(*v));
    }
    mean.iter_mut().for_each(|m| *m /= f64::from(group));
}

/// Calls `take` for each of `count` for which a coin of probability `rate` falls so: the gaps between them are geometric.
pub(in crate::compare_privacy) fn each_drawn(
    count: usize,
    rate: f64,
    coins: &mut SimulatedEntropy,
    mut take: impl FnMut(usize, &mut SimulatedEntropy),
) {
    let mut at = 0;
    while at < count {
        if rate < 1.0 {
            let uniform = ((coins.next_u64() >> 11) as f64 + 1.0) / 9_007_199_254_740_992.0;
            let gap = libm::floor(libm::log(uniform) / libm::log1p(-rate));
            // A NaN, of a rate of 0, becomes 0 in the cast: it is caught here.
            if gap.is_nan() || gap >= (count - at) as f64 {
                return;
            }
            at += gap as usize;
        }
        take(at, coins);
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coins_are_independent_and_of_their_rate() {
        let mut coins = stream(5, Purpose::Selection, 1, 0);
        let (mut first, mut last, mut all, mut both) = (0u32, 0u32, 0usize, 0u32);
        for _ in 0..20_000 {
            let mut drawn = Vec::new();
            each_drawn(50, 0.1, &mut coins, |i, _| drawn.push(i));
            assert!(drawn.is_sorted() && drawn.iter().all(|i| *i < 50));
            all += drawn.len();
            let (a, b) = (drawn.contains(&0), drawn.contains(&49));
            first += u32::from(a);
            last += u32::from(b);
            both += u32::from(a && b);
        }
        // Five standard deviations.
        let near = |got: f64, n: f64, p: f64| (got - n * p).abs() < 5.0 * (n * p * (1.0 - p)).sqrt();
        assert!(near(all as f64, 1e6, 0.1), "{all}");
        assert!(near(f64::from(first), 2e4, 0.1) && near(f64::from(last), 2e4, 0.1), "{first} {last}");
        assert!(near(f64::from(both), 2e4, 0.01), "{both}");
        let mut everyone = 0;
        each_drawn(7, 1.0, &mut coins, |_, _| everyone += 1);
        each_drawn(7, 0.0, &mut coins, |_, _| everyone += 100);
        assert_eq!(everyone, 7);
    }
}
