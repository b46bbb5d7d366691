//! Tree aggregation: each round's sum is in one node of every level of a binary tree, and each complete node is released
//! once with noise. Dwork et al. 2010; Kairouz et al. 2021, "Practical and Private (Deep) Learning without Sampling or
//! Shuffling" (arXiv 2103.00039). No tree is restarted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Participation, PrefixError, Sensitivity};

/// How prefix sums are made of the tree's nodes. Which nodes are released, and so the sensitivity, is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tree {
    /// The sum of the fewest nodes.
    Binary,
    /// Each node improved by the best unbiased estimate from what is below it: Honaker 2015, "Efficient Use of
    /// Differentially Private Binary Trees".
    Honaker,
}

/// States of the search for the worst user that are kept before a bound takes its place.
const MOST_STATES: usize = 2_000;

impl Tree {
    /// Nodes that have to be remembered after `rounds` rounds, of the size of the model each: levels of the tree.
    pub fn levels(rounds: u32) -> u32 {
        u32::BITS - rounds.leading_zeros()
    }

    /// The variance of a node of a level (0: a leaf) in a prefix sum, with unit noise: 1, and with Honaker's estimate
    /// v_l = 1 / (1 + 1 / (2 v_{l-1})), that is 1 / (2 - 2^-l).
    pub fn node_variance(self, level: u32) -> f64 {
        match self {
            Self::Binary => 1.0,
            Self::Honaker => (0..level).fold(1.0, |below, _| 1.0 / (1.0 + 0.5 / below)),
        }
    }

    /// Errors of the prefix sums; see [`PrefixError`]. O(n log n).
    pub fn error(self, rounds: u32) -> PrefixError {
        let variances: Vec<f64> = (0..u32::BITS).map(|level| self.node_variance(level)).collect();
        PrefixError::of_squares((1..=rounds).map(|t| {
            let bits = (0..Self::levels(t)).filter(|level| t >> level & 1 == 1);
            bits.map(|level| variances[level as usize]).sum()
        }))
    }

    /// The sensitivity under a rule: the greatest sum over complete nodes of the squared number of a user's participations
    /// in them. Exact, by a dynamic programme over rounds whose state is how often the user is in each open node that is
    /// larger than b (smaller ones hold at most one); where b is so small that more than 2,000 such states matter, the
    /// bound by which a node of 2^l rounds holds at most min(k, ceil(2^l / b)).
    pub fn sensitivity(self, rule: Participation) -> Sensitivity {
        match worst(rule) {
            Some(squared) => Sensitivity { squared: squared as f64, exact: true },
            None => {
                let (k, b) = (u64::from(rule.most()), u64::from(rule.min_separation()));
                let levels = 0..Self::levels(rule.rounds());
                let squared: u64 = levels.map(|l| k * k.min((1_u64 << l).div_ceil(b))).sum();
                Sensitivity { squared: squared as f64, exact: false }
            }
        }
    }

    /// The squared sensitivity to a user who was in these rounds, of `rounds`; exact. O(k log n).
    pub fn squared_of(self, pattern: &[u32], rounds: u32) -> f64 {
        let mut nodes: BTreeMap<(u32, u32), u64> = BTreeMap::new();
        for &round in pattern {
            for level in (0..Self::levels(rounds)).filter(|level| is_complete(round, *level, rounds)) {
                *nodes.entry((level, round >> level)).or_default() += 1;
            }
        }
        nodes.values().map(|count| (count * count) as f64).sum()
    }
}

/// Whether the node of a level that holds a round is over by the last of `rounds`.
fn is_complete(round: u32, level: u32, rounds: u32) -> bool {
    ((u64::from(round) >> level) + 1) << level <= u64::from(rounds)
}

/// Participations in each open node that is larger than b, and in all.
type State = (Vec<u32>, u32);

fn worst(rule: Participation) -> Option<u64> {
    let (n, b, k) = (rule.rounds(), rule.min_separation(), rule.most());
    let (small, large): (Vec<u32>, Vec<u32>) = (0..Tree::levels(n)).partition(|level| 1_u64 << level <= u64::from(b));
    // What can be, by the round from which the user is free again.
    let mut at: BTreeMap<u32, BTreeMap<State, u64>> = BTreeMap::new();
    at.entry(0).or_default().insert((vec![0; large.len()], 0), 0);
    let mut best = 0;
    while let Some((round, states)) = at.pop_first() {
        if states.len() > MOST_STATES {
            return None;
        }
        for ((inside, total), value) in states {
            best = best.max(value);
            if round >= n || total == k {
                continue;
            }
            let mut go_on = |to: u32, inside: Vec<u32>, total: u32, value: u64| {
                let open = |level: u32| to < n && to >> level == round >> level;
                let inside = large.iter().zip(inside).map(|(&level, count)| if open(level) { count } else { 0 });
                let known = at.entry(to).or_default().entry((inside.collect(), total)).or_default();
                *known = value.max(*known);
            };
            let leaves = small.iter().filter(|level| is_complete(round, **level, n)).count() as u64;
            let joined = large.iter().zip(&inside).filter(|(level, _)| is_complete(round, **level, n));
            // (c + 1)^2 - c^2
            let gained: u64 = leaves + joined.map(|(_, count)| 2 * u64::from(*count) + 1).sum::<u64>();
            let after = round.saturating_add(b).min(n);
            go_on(after, inside.iter().map(|count| count + 1).collect(), total + 1, value + gained);
            go_on(round + 1, inside, total, value);
        }
    }
    Some(best)
}
