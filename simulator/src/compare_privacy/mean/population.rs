//! Users whose examples are drawn.

use crate::fleet::{Purpose, stream};
use rayon::prelude::*;
use siskin_server::privacy::Gaussian;

/// Examples of many users: unit vectors, the gradients of a loss whose Lipschitz bound is 1.
///
/// Before it is scaled to length 1, example `j` of user `u` is
/// `m e + sqrt(1 - m^2) (sqrt(rho) a_u + sqrt(1 - rho) b_uj)`, where `e` is fixed and `a_u`, `b_uj` are uniform on the
/// unit sphere: two examples of a user have the inner product `m^2 + (1 - m^2) rho` in expectation, two of different users `m^2`.
#[derive(Debug)]
pub(super) struct Population {
    pub(super) users: usize,
    /// Of each user.
    pub(super) examples: usize,
    pub(super) dims: usize,
    /// `[user][example][dim]`.
    values: Vec<f32>,
    /// Mean of all examples of all users: what is to be estimated.
    pub(super) truth: Vec<f64>,
}

/// Number, shape and kind of the users.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Kind {
    pub(super) users: usize,
    pub(super) examples: usize,
    pub(super) dims: usize,
    /// `rho`, in `[0, 1]`.
    pub(super) correlation: f64,
    /// `m`, in `[0, 1)`.
    pub(super) mean: f64,
}

impl Kind {
    /// Inner product of two examples of a user, in expectation.
    pub(super) fn within(&self) -> f64 {
        self.mean.powi(2) + (1.0 - self.mean.powi(2)) * self.correlation
    }

    /// Root mean square of the norm of the mean of `group` examples of a user: `C(G)` of ULS.
    pub(super) fn norm(&self, group: u32) -> f64 {
        let within = self.within();
        (within + (1.0 - within) / f64::from(group)).sqrt()
    }
}

impl Population {
    /// Draws it; the same for any number of threads.
    pub(super) fn draw(kind: &Kind, seed: u64) -> Self {
        let Kind { users, examples, dims, correlation, mean } = *kind;
        let mut values = vec![0.0f32; users * examples * dims];
        let tag = (correlation * 1e6) as u64;
        let sums: Vec<Vec<f64>> = values
            .par_chunks_mut(examples * dims)
            .enumerate()
            .map(|(user, own)| {
                let mut rng = stream(seed, Purpose::Synthetic, tag, user as u64);
                let mut deviates = Gaussian::new(&mut rng);
                let mut direction = |into: &mut [f64]| {
                    into.iter_mut().for_each(|v| *v = deviates.sample());
                    scale_to(into, 1.0);
                };
                let spread = (1.0 - mean * mean).sqrt();
                let (mut common, mut own_part, mut sum) = (vec![0.0; dims], vec![0.0; dims], vec![0.0; dims]);
                direction(&mut common);
                for example in own.chunks_exact_mut(dims) {
                    if correlation < 1.0 {
                        direction(&mut own_part);
                    }
                    let mixed = common.iter().zip(&own_part).map(|(a, b)| {
                        mean / (dims as f64).sqrt() + spread * (correlation.sqrt() * a + (1.0 - correlation).sqrt() * b)
                    });
                    let mut mixed: Vec<f64> = mixed.collect();
                    scale_to(&mut mixed, 1.0);
                    for ((value, sum), mixed) in example.iter_mut().zip(&mut sum).zip(&mixed) {
                        *value = *mixed as f32;
                        *sum += f64::from(*value);
                    }
                }
                sum
            })
            .collect();
        let mut truth = vec![0.0; dims];
        for sum in &sums {
            truth.iter_mut().zip(sum).for_each(|(t, s)| *t += s);
        }
        truth.iter_mut().for_each(|t| *t /= (users * examples) as f64);
        Self { users, examples, dims, values, truth }
    }

    pub(super) fn example(&self, user: usize, example: usize) -> &[f32] {
        let at = (user * self.examples + example) * self.dims;
        &self.values[at..at + self.dims]
    }
}

pub(super) fn norm(values: &[f64]) -> f64 {
    values.iter().map(|v| v * v).sum::<f64>().sqrt()
}

/// Scales to the length `length` (zero stays).
pub(super) fn scale_to(values: &mut [f64], length: f64) {
    let norm = norm(values);
    if norm > 0.0 {
        values.iter_mut().for_each(|v| *v *= length / norm);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inner_products_are_those_of_the_kind() {
        for correlation in [0.0, 0.5, 1.0] {
            let kind = Kind { users: 300, examples: 8, dims: 64, correlation, mean: 0.3 };
            let drawn = Population::draw(&kind, 3);
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
            let (mut within, mut between, mut pairs) = (0.0, 0.0, 0.0);
            for user in 0..kind.users {
                let other = (user + 1) % kind.users;
                assert!((dot(drawn.example(user, 2), drawn.example(user, 2)) - 1.0).abs() < 1e-5);
                within += dot(drawn.example(user, 0), drawn.example(user, 1));
                between += dot(drawn.example(user, 0), drawn.example(other, 1));
                pairs += 1.0;
            }
            // A product's standard deviation is below 1 / sqrt(64); four of the mean's.
            let bound = 4.0 * 0.125 / f64::sqrt(pairs) + 0.01;
            assert!((within / pairs - kind.within()).abs() < bound, "{correlation}: {}", within / pairs);
            assert!((between / pairs - 0.09).abs() < bound, "{correlation}: {}", between / pairs);
        }
    }

    #[test]
    fn groups_shorten_the_mean_of_diverse_examples_alone() {
        let kind = |correlation| Kind { users: 1, examples: 1, dims: 1, correlation, mean: 0.0 };
        assert!((kind(1.0).norm(64) - 1.0).abs() < 1e-12 && (kind(0.0).norm(64) - 0.125).abs() < 1e-12);
        assert!((kind(0.5).norm(2) - 0.75f64.sqrt()).abs() < 1e-12);
    }
}
