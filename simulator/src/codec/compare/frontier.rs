//! Table 2: bits at equal error, of one client and of the mean of a cohort.

use super::scheme::{Scheme, squared_error};
use super::shannon::Marginal;
use crate::codec::Update;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Squared errors over the squared norm at which rates are compared.
pub const ERRORS: [f64; 5] = [0.5, 0.25, 0.1, 0.03, 0.01];

/// One codec's curves on the updates of one round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// The codec; none is Shannon's bound.
    pub scheme: Option<Scheme>,
    /// `(bits a param, squared error over squared norm)` of one client, both averaged over the clients, from few bits to many.
    pub client: Vec<(f64, f64)>,
    /// The same, but the error of the mean over the clients; empty where there is one client, and for the bound.
    pub cohort: Vec<(f64, f64)>,
}

/// The curves of one round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Round {
    /// What the updates' names have in common.
    pub name: String,
    /// How many there are.
    pub clients: usize,
    /// Params of each.
    pub params: usize,
    /// The curves.
    pub curves: Vec<Curve>,
}

/// Bits at an error, interpolated between the logarithms of both; `None` outside the curve.
pub fn bits_at(curve: &[(f64, f64)], error: f64) -> Option<f64> {
    let finite = |p: &&(f64, f64)| p.0 > 0.0 && p.1 > 0.0;
    let points: Vec<&(f64, f64)> = curve.iter().filter(finite).collect();
    // The first crossing from the side of few bits: a curve that is not monotone has not reached the error for good before it.
    points.windows(2).rev().find(|w| w[0].1 >= error && w[1].1 <= error).map(|w| {
        let (from, to) = (w[0].1.ln(), w[1].1.ln());
        let part = if from > to { (from - error.ln()) / (from - to) } else { 0.0 };
        (w[0].0.ln() + part * (w[1].0.ln() - w[0].0.ln())).exp()
    })
}

/// Updates of one round each, in the order of their first ones.
pub(super) fn rounds(updates: &[Update]) -> Vec<Vec<&Update>> {
    let mut rounds: Vec<Vec<&Update>> = Vec::new();
    for update in updates {
        let same = |round: &&mut Vec<&Update>| round[0].round() == update.round() && round[0].shapes == update.shapes;
        match rounds.iter_mut().find(same) {
            Some(round) => round.push(update),
            None => rounds.push(vec![update]),
        }
    }
    rounds
}

/// Number of calls of `done`.
pub fn work(updates: &[Update]) -> u64 {
    (rounds(updates).len() * (Scheme::ALL.len() + 1)) as u64
}

/// All rounds, with `points` on each curve.
pub fn table(updates: &[Update], points: usize, seed: u64, done: impl Fn() + Sync) -> Vec<Round> {
    rounds(updates).into_iter().map(|updates| round(&updates, points, seed, &done)).collect()
}

fn round(updates: &[&Update], points: usize, seed: u64, done: &(impl Fn() + Sync)) -> Round {
    let mut curves: Vec<Curve> = Scheme::ALL
        .par_iter()
        .map(|&scheme| {
            let curve = curve(updates, scheme, points, seed);
            done();
            curve
        })
        .collect();
    curves.push(bound(updates, points));
    done();
    Round { name: updates[0].round().to_owned(), clients: updates.len(), params: updates[0].values.len(), curves }
}

fn curve(updates: &[&Update], scheme: Scheme, points: usize, seed: u64) -> Curve {
    let clients = updates.len() as f64;
    let params = updates[0].values.len();
    let mut mean = vec![0.0f32; params];
    for update in updates {
        mean.iter_mut().zip(&update.values).for_each(|(mean, x)| *mean += *x / clients as f32);
    }
    // As a server does, one step for all: the root mean square over the clients.
    let unit = (updates.iter().map(|u| u.rms().powi(2)).sum::<f64>() / clients).sqrt();
    let mut curve = Curve { scheme: Some(scheme), client: Vec::new(), cohort: Vec::new() };
    'parameters: for parameter in scheme.sweep(points) {
        let (mut bits, mut error) = (0.0, 0.0);
        let mut sum = vec![0.0; params];
        for (i, update) in updates.iter().enumerate() {
            let seed = seed.wrapping_add(1000 * i as u64);
            let Some(sent) = scheme.send(&update.values, &update.shapes, parameter, unit, seed) else {
                continue 'parameters;
            };
            bits += sent.bits as f64 / params as f64 / clients;
            let (own, square) = squared_error(&update.values, &sent.estimate);
            error += own / square / clients;
            sum.iter_mut().zip(&sent.estimate).for_each(|(sum, x)| *sum += x / clients);
        }
        curve.client.push((bits, error));
        if updates.len() > 1 {
            let (own, square) = squared_error(&mean, &sum);
            curve.cohort.push((bits, own / square));
        }
    }
    curve
}

/// Shannon's bound: at each slope, the mean over the clients.
fn bound(updates: &[&Update], points: usize) -> Curve {
    let curves: Vec<Vec<(f64, f64)>> =
        updates.par_iter().filter_map(|u| Some(Marginal::of(&u.values)?.curve(points))).collect();
    let at = |i: usize| {
        let sum = curves.iter().fold((0.0, 0.0), |sum, curve| (sum.0 + curve[i].0, sum.1 + curve[i].1));
        (sum.0 / curves.len() as f64, sum.1 / curves.len() as f64)
    };
    let client = if curves.is_empty() { Vec::new() } else { (0..points.max(2)).map(at).collect() };
    Curve { scheme: None, client, cohort: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_off_curves() {
        let curve = [(0.1, 0.8), (0.2, 0.4), (0.4, 0.1)];
        assert!((bits_at(&curve, 0.4).unwrap() - 0.2).abs() < 1e-12);
        // Halfway between the logarithms.
        assert!((bits_at(&curve, 0.2).unwrap() - 0.08f64.sqrt()).abs() < 1e-12);
        assert_eq!((bits_at(&curve, 0.9), bits_at(&curve, 0.05), bits_at(&[], 0.1)), (None, None, None));
    }

    #[test]
    fn files_of_one_round_make_a_cohort() {
        let update = |name: &str| Update { name: name.into(), shapes: vec![[1, 2]], values: vec![1.0, 0.5] };
        let all = ["a_client0", "b_client0", "a_client1", "single"].map(update);
        let names: Vec<Vec<&str>> = rounds(&all).iter().map(|r| r.iter().map(|u| &u.name[..]).collect()).collect();
        assert_eq!(names, [vec!["a_client0", "a_client1"], vec!["b_client0"], vec!["single"]]);
    }
}
