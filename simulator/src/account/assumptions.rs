//! What a number rests on, in words.

use super::mechanism::{Mechanism, Shape};
use siskin_accounting::{Adjacency, Release};

impl Mechanism {
    /// What must be true for the epsilon to be.
    pub fn assumptions(&self, adjacency: Adjacency) -> Vec<String> {
        match &self.shape {
            Shape::Released(release) => of_release(release, adjacency),
            Shape::Correlated { rule, .. } => vec![
                format!(
                    "a user takes part at most {} times, at least {} rounds apart, and devices or the server enforce it; no \
                     sampling is assumed",
                    rule.most(),
                    rule.min_separation()
                ),
                "the noise is that of this strategy from the first round to the last, over the same coordinates".into(),
                clipped(adjacency, "one delta of each user of a round is clipped to norm C before the sum"),
            ],
        }
    }
}

fn clipped(adjacency: Adjacency, what: &str) -> String {
    match adjacency {
        Adjacency::ReplaceOne => format!("{what}; replacing a user moves the sum by up to 2C"),
        _ => format!("{what}, which is divided by a fixed public number"),
    }
}

/// What must be true of one release.
pub(super) fn of_release(release: &Release, adjacency: Adjacency) -> Vec<String> {
    let delta = || clipped(adjacency, "one delta of each user is clipped to norm C before the sum");
    let example = || clipped(adjacency, "each example's gradient is clipped to norm C by itself before the sum");
    let coins = |rate: f64| {
        format!("each user is in each round by an independent coin of probability {rate}, and nobody learns who was")
    };
    let integers = || "the noise is exact on the integers, and the sum does not wrap around".to_owned();
    match *release {
        Release::Gaussian { .. } => vec!["any user may be in every one of the rounds".into(), delta()],
        Release::Uls { rate, .. } => vec![coins(rate), delta(), "how many examples a user has does not matter".into()],
        Release::Els { rate, group, .. } => vec![
            format!("each example is in each round by an independent coin of probability {rate}"),
            format!("no user has more than {group} examples; all of a user's are protected together"),
            example(),
        ],
        Release::DeviceThenExample { device_rate, example_rate, group, .. } => vec![
            coins(device_rate),
            format!(
                "each example of a device in the round is taken by an independent coin of probability {example_rate}"
            ),
            format!("no user has more than {group} examples; all of a user's are protected together"),
            example(),
        ],
        Release::MixtureOfGaussians { .. } => {
            vec!["a user moves the sum by each of the norms with its probability, at the worst".into()]
        }
        Release::TruncatedUls { rate, population, cap, .. } => vec![
            coins(rate),
            format!("of more than {cap} users a uniform subset of {cap} takes part; there are {population} users"),
            delta(),
        ],
        Release::FixedSize { population, cohort, .. } => vec![
            format!("each round's {cohort} users are drawn uniformly out of {population}, and nobody learns who was"),
            "the noise is given over the sensitivity under replace-one, 2C".into(),
        ],
        Release::Laplace { .. } => vec!["the value changes by at most the sensitivity in L1".into()],
        Release::DiscreteGaussian { rate, .. } | Release::DiscreteLaplace { rate, .. } if rate < 1.0 => {
            vec![coins(rate), integers()]
        }
        Release::DistributedDiscreteGaussian { devices, .. } => vec![
            format!("the noise of at least {devices} honest devices is in every sum, and nobody sees a single report"),
            integers(),
        ],
        Release::DiscreteGaussian { .. } | Release::DiscreteLaplace { .. } | Release::Skellam { .. } => {
            vec![integers()]
        }
        _ => Vec::new(),
    }
}
