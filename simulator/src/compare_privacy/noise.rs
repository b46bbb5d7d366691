//! The noise that the accountant gives.

use siskin_accounting::{Adjacency, Composition, Error, Method, Release, calibrate};

/// Whose coins decide who is in a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sampling {
    /// Users', each with probability `rate`.
    Users {
        /// In (0, 1].
        rate: f64,
    },
    /// Examples', of which a user has at most `group`.
    Examples {
        /// In (0, 1].
        rate: f64,
        /// At least 1.
        group: u32,
    },
}

impl Sampling {
    fn composition(self, noise_multiplier: f64, steps: u64) -> Composition {
        let release = match self {
            Self::Users { rate } => Release::Uls { noise_multiplier, rate },
            Self::Examples { rate, group } => Release::Els { noise_multiplier, rate, group },
        };
        Composition::of(Adjacency::AddOrRemove, release, steps)
    }
}

/// The least noise multiplier (standard deviation of the noise on the sum over the clip norm) with which `steps` steps keep a
/// user within (`epsilon`, `dp_delta`). Cost: some ten accounts.
///
/// # Errors
/// The accountant's.
pub fn multiplier(sampling: Sampling, epsilon: f64, dp_delta: f64, steps: u64) -> Result<f64, Error> {
    Ok(calibrate::noise(&sampling.composition(1.0, steps), epsilon, dp_delta, Method::default())?.noise)
}

/// About how many users it takes for (`epsilon`, `dp_delta`) with the cohort of `cohort` users, `steps` and `noise_multiplier` as
/// they are, to within a tenth and from above; `None` where ten million are too few. More users lower the rate, and nothing
/// else changes.
///
/// # Errors
/// The accountant's.
pub fn users_needed(
    noise_multiplier: f64,
    cohort: f64,
    epsilon: f64,
    dp_delta: f64,
    steps: u64,
) -> Result<Option<u64>, Error> {
    const MOST: f64 = 1e7;
    let enough = |users: f64| {
        let sampling = Sampling::Users { rate: cohort / users };
        Ok(sampling.composition(noise_multiplier, steps).account(dp_delta)?.epsilon <= epsilon)
    };
    let (mut low, mut high) = (cohort, cohort);
    while !enough(high)? {
        low = high;
        high *= 2.0;
        if high > MOST {
            return Ok(None);
        }
    }
    while high / low > 1.1 {
        let middle = (low * high).sqrt();
        if enough(middle)? {
            high = middle;
        } else {
            low = middle;
        }
    }
    Ok(Some(high.ceil() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_example_a_user_is_one_user() {
        let uls = multiplier(Sampling::Users { rate: 0.05 }, 4.0, 1e-5, 50).unwrap();
        let els = multiplier(Sampling::Examples { rate: 0.05, group: 1 }, 4.0, 1e-5, 50).unwrap();
        assert!((uls / els - 1.0).abs() < 1e-4, "{uls} {els}");
        // As many examples a step, spread over users with more of them: nearly the same noise.
        let more = multiplier(Sampling::Examples { rate: 0.05 / 16.0, group: 16 }, 4.0, 1e-5, 50).unwrap();
        assert!(more >= els * (1.0 - 1e-4) && more < els * 1.2, "{els} {more}");
    }

    #[test]
    fn a_smaller_epsilon_takes_more_users() {
        let noise = multiplier(Sampling::Users { rate: 0.1 }, 8.0, 1e-5, 20).unwrap();
        let same = users_needed(noise, 100.0, 8.0, 1e-5, 20).unwrap().unwrap();
        assert!((1000..=1110).contains(&same), "{same}");
        assert!(users_needed(noise, 100.0, 2.0, 1e-5, 20).unwrap().is_none_or(|more| more > 2 * same));
    }
}
