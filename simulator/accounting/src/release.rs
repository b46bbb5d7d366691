//! What one round, or one query, may be: everything that the accountant knows.

use serde::{Deserialize, Serialize};

use crate::error::{check_epsilon, check_noise_multiplier, check_rate};
use crate::pld::{self, Directions, Grid, Mixture, SampledReplaced};
use crate::{Adjacency, Error};

/// One release. As JSON it is an object whose `mechanism` names the variant in `snake_case` and whose other members are
/// the fields; an unknown mechanism or field is refused by name.
///
/// Unless a field says otherwise, deltas are clipped to L2 norm C before the sum and `noise_multiplier` is the standard
/// deviation of the noise in the sum over C.
///
/// ```
/// use siskin_accounting::Release;
///
/// let text = r#"{"mechanism": "els", "noise_multiplier": 4.0, "rate": 0.01, "group": 8}"#;
/// let release: Release = serde_json::from_str(text)?;
/// assert_eq!(release, Release::Els { noise_multiplier: 4.0, rate: 0.01, group: 8 });
///
/// let unknown = serde_json::from_str::<Release>(r#"{"mechanism": "snowflake", "noise_multiplier": 4.0}"#);
/// assert!(unknown.unwrap_err().to_string().contains("unknown variant `snowflake`"));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "mechanism", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Release {
    /// A noised sum in which any user may be.
    Gaussian {
        /// sigma / C, at least 0.
        noise_multiplier: f64,
    },
    /// User-level sampling: each user is in the sum independently with probability `rate`, one clipped delta each.
    Uls {
        /// sigma / C, at least 0.
        noise_multiplier: f64,
        /// In [0, 1].
        rate: f64,
    },
    /// Example-level sampling: each of a user's at most `group` examples is in independently, each clipped on its own.
    Els {
        /// sigma over the clip norm of one example, at least 0.
        noise_multiplier: f64,
        /// Probability of one example, in [0, 1].
        rate: f64,
        /// Most examples of a user, at least 1.
        group: u32,
    },
    /// Devices are sampled, and each sampled device samples its at most `group` examples, clipped one by one.
    DeviceThenExample {
        /// sigma over the clip norm of one example, at least 0.
        noise_multiplier: f64,
        /// Probability of a device, in [0, 1].
        device_rate: f64,
        /// Probability of an example on a sampled device, in [0, 1].
        example_rate: f64,
        /// Most examples of a user, at least 1.
        group: u32,
    },
    /// A user moves the sum by norm `norms[i]` with probability `weights[i]`.
    MixtureOfGaussians {
        /// sigma over the unit of `norms`, at least 0.
        noise_multiplier: f64,
        /// Probabilities; they sum to 1 within 1e-9.
        weights: Vec<f64>,
        /// As many, each finite and at least 0.
        norms: Vec<f64>,
    },
    /// [`Self::Uls`] with a cap on the cohort: when more users come, a uniform subset of `cap` of them takes part.
    TruncatedUls {
        /// sigma / C, at least 0.
        noise_multiplier: f64,
        /// In [0, 1].
        rate: f64,
        /// Users among whom the coins are flipped, at least 1.
        population: u64,
        /// Largest cohort.
        cap: u64,
    },
    /// A cohort of fixed size, drawn uniformly without replacement. Replace-one only, and by Renyi divergences only
    /// (Wang, Balle, Kasiviswanathan 2019, theorem 27).
    FixedSize {
        /// sigma over the sensitivity under replace-one, which is 2C (*not* C); at least 0.
        noise_over_sensitivity: f64,
        /// Users, at least 1.
        population: u64,
        /// Users of a round, at most `population`.
        cohort: u64,
    },
    /// All prefix sums of `steps` rounds from one binary tree with a noised sum in every node; a user is in one round of
    /// the tree. Equal to bit-length-of-`steps` Gaussians.
    Tree {
        /// sigma / C of a node, at least 0.
        noise_multiplier: f64,
        /// Rounds of the tree, at least 1.
        steps: u64,
    },
    /// Anything with rho-zero-concentrated privacy, by Renyi divergences. (A Gaussian has rho = 1/(2 z^2), and a better
    /// epsilon as [`Self::Gaussian`].)
    Zcdp {
        /// Finite and at least 0.
        rho: f64,
    },
    /// Laplace noise on a value.
    Laplace {
        /// Scale b of the noise, above 0.
        scale: f64,
        /// Largest change of the value by a user, in L1; at least 0.
        sensitivity: f64,
    },
    /// Discrete Gaussian noise on an integer, sampled with probability `rate`.
    DiscreteGaussian {
        /// Parameter sigma, above 0 (nearly the standard deviation).
        sigma: f64,
        /// Largest change of the integer by a user.
        sensitivity: u32,
        /// In [0, 1]; 1 without sampling.
        rate: f64,
    },
    /// Discrete Laplace noise, `exp(-decay |x|)` normalised, on an integer, sampled with probability `rate`.
    DiscreteLaplace {
        /// Above 0.
        decay: f64,
        /// Largest change of the integer by a user.
        sensitivity: u32,
        /// In [0, 1]; 1 without sampling.
        rate: f64,
    },
    /// Skellam noise on an integer vector, by Renyi divergences (Agarwal, Kairouz, Liu 2021).
    Skellam {
        /// Variance of the noise in the sum, per coordinate; above 0.
        variance: f64,
        /// Largest change of the sum by a user in L2, in integer units; above 0.
        l2: f64,
        /// The same in L1; at least `l2` unless the vector is shorter.
        l1: f64,
    },
    /// Discrete Gaussian noise added by each device to its integer vector, summed; by Renyi divergences (Kairouz, Liu,
    /// Steinke 2021, proposition 14).
    DistributedDiscreteGaussian {
        /// Parameter sigma of one device's noise, in integer units; above 0.
        local_sigma: f64,
        /// Devices whose noise is certain to be in the sum, at least 1.
        devices: u64,
        /// Coordinates, at least 1.
        dimension: u64,
        /// Largest change of the sum by a user in L2, in integer units; above 0.
        l2: f64,
        /// The same in L1.
        l1: f64,
    },
    /// A black box with an (epsilon, delta) guarantee of its own, under the adjacency of the account.
    EpsilonDelta {
        /// Finite and at least 0.
        epsilon: f64,
        /// In [0, 1).
        dp_delta: f64,
    },
}

/// What a release is to the accountants.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Law {
    Nothing,
    Everything,
    /// mu of Gaussian differential privacy, squared.
    Gaussian(f64),
    Mixture {
        sigma: f64,
        weights: Vec<f64>,
        norms: Vec<f64>,
    },
    Replaced {
        sigma: f64,
        rate: f64,
    },
    Truncated {
        sigma: f64,
        rate: f64,
        population: u64,
        cap: u64,
    },
    Laplace {
        scale: f64,
        sensitivity: f64,
    },
    DiscreteGaussian {
        sigma: f64,
        sensitivity: u32,
        rate: f64,
    },
    DiscreteLaplace {
        decay: f64,
        sensitivity: u32,
        rate: f64,
    },
    EpsilonDelta {
        epsilon: f64,
        dp_delta: f64,
    },
    /// Renyi divergences only.
    Renyi,
}

fn positive(name: &'static str, got: f64) -> Result<f64, Error> {
    if got.is_finite() && got > 0.0 { Ok(got) } else { Err(Error::Parameter { name, got }) }
}

fn not_negative(name: &'static str, got: f64) -> Result<f64, Error> {
    if got.is_finite() && got >= 0.0 { Ok(got) } else { Err(Error::Parameter { name, got }) }
}

fn at_least_one(name: &'static str, got: u64) -> Result<u64, Error> {
    if got >= 1 { Ok(got) } else { Err(Error::Parameter { name, got: 0.0 }) }
}

impl Release {
    /// The name in JSON.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Gaussian { .. } => "gaussian",
            Self::Uls { .. } => "uls",
            Self::Els { .. } => "els",
            Self::DeviceThenExample { .. } => "device_then_example",
            Self::MixtureOfGaussians { .. } => "mixture_of_gaussians",
            Self::TruncatedUls { .. } => "truncated_uls",
            Self::FixedSize { .. } => "fixed_size",
            Self::Tree { .. } => "tree",
            Self::Zcdp { .. } => "zcdp",
            Self::Laplace { .. } => "laplace",
            Self::DiscreteGaussian { .. } => "discrete_gaussian",
            Self::DiscreteLaplace { .. } => "discrete_laplace",
            Self::Skellam { .. } => "skellam",
            Self::DistributedDiscreteGaussian { .. } => "distributed_discrete_gaussian",
            Self::EpsilonDelta { .. } => "epsilon_delta",
        }
    }

    /// The same mechanism with this much noise: `noise` stands for the noise multiplier, `noise_over_sensitivity`, the
    /// scale of Laplace, sigma of a discrete Gaussian (of a device, if distributed), 1 / `decay`, the square root of
    /// Skellam's variance.
    ///
    /// # Errors
    /// [`Error::NoNoise`] for zCDP and (epsilon, delta) boxes.
    pub fn with_noise(&self, noise: f64) -> Result<Self, Error> {
        let mut release = self.clone();
        match &mut release {
            Self::Gaussian { noise_multiplier }
            | Self::Uls { noise_multiplier, .. }
            | Self::Els { noise_multiplier, .. }
            | Self::DeviceThenExample { noise_multiplier, .. }
            | Self::MixtureOfGaussians { noise_multiplier, .. }
            | Self::TruncatedUls { noise_multiplier, .. }
            | Self::Tree { noise_multiplier, .. } => *noise_multiplier = noise,
            Self::FixedSize { noise_over_sensitivity, .. } => *noise_over_sensitivity = noise,
            Self::Laplace { scale, .. } => *scale = noise,
            Self::DiscreteGaussian { sigma, .. } => *sigma = noise,
            Self::DiscreteLaplace { decay, .. } => *decay = 1.0 / noise,
            Self::Skellam { variance, .. } => *variance = noise * noise,
            Self::DistributedDiscreteGaussian { local_sigma, .. } => *local_sigma = noise,
            Self::Zcdp { .. } | Self::EpsilonDelta { .. } => return Err(Error::NoNoise { mechanism: self.name() }),
        }
        Ok(release)
    }

    /// The law of the release, with every number checked.
    pub(crate) fn law(&self, adjacency: Adjacency) -> Result<Law, Error> {
        let replace = adjacency == Adjacency::ReplaceOne;
        let refused = || Err(Error::Unsupported { mechanism: self.name(), adjacency });
        match *self {
            Self::Gaussian { noise_multiplier } => gaussian(noise_multiplier, adjacency.sensitivity(), 1.0),
            Self::Tree { noise_multiplier, steps } => {
                let levels = 64 - at_least_one("steps", steps)?.leading_zeros();
                gaussian(noise_multiplier, adjacency.sensitivity(), f64::from(levels))
            }
            Self::Uls { noise_multiplier, rate } if replace => {
                check_noise_multiplier(noise_multiplier)?;
                match check_rate(rate)? {
                    0.0 => Ok(Law::Nothing),
                    1.0 => gaussian(noise_multiplier, 2.0, 1.0),
                    _ if noise_multiplier == 0.0 => Ok(Law::Everything),
                    rate => Ok(Law::Replaced { sigma: noise_multiplier, rate }),
                }
            }
            Self::Uls { noise_multiplier, rate } => {
                check_rate(rate)?;
                mixture(noise_multiplier, vec![1.0 - rate, rate], vec![0.0, 1.0])
            }
            Self::Els { noise_multiplier, rate, group } => {
                check_rate(rate)?;
                at_least_one("group", u64::from(group))?;
                let norms = (0..=group).map(f64::from).collect();
                let law = mixture(noise_multiplier, pld::binomial_weights(group, rate), norms)?;
                if replace { refused() } else { Ok(law) }
            }
            Self::DeviceThenExample { noise_multiplier, device_rate, example_rate, group } => {
                check_rate(device_rate)?;
                check_rate(example_rate)?;
                at_least_one("group", u64::from(group))?;
                let mut weights = pld::binomial_weights(group, example_rate);
                weights.iter_mut().for_each(|weight| *weight *= device_rate);
                weights[0] += 1.0 - device_rate;
                let norms = (0..=group).map(f64::from).collect();
                let law = mixture(noise_multiplier, weights, norms)?;
                if replace { refused() } else { Ok(law) }
            }
            Self::MixtureOfGaussians { noise_multiplier, ref weights, ref norms } => {
                if weights.len() != norms.len() || weights.is_empty() {
                    return Err(Error::WeightCount { weights: weights.len(), norms: norms.len() });
                }
                for &weight in weights {
                    check_rate(weight)?;
                }
                for &norm in norms {
                    not_negative("norm", norm)?;
                }
                let sum: f64 = weights.iter().sum();
                if (sum - 1.0).abs() > 1e-9 {
                    return Err(Error::WeightSum { got: sum });
                }
                let law = mixture(noise_multiplier, weights.clone(), norms.clone())?;
                if replace { refused() } else { Ok(law) }
            }
            Self::TruncatedUls { noise_multiplier, rate, population, cap } => {
                let sigma = check_noise_multiplier(noise_multiplier)?;
                check_rate(rate)?;
                at_least_one("population", population)?;
                if replace {
                    return refused();
                }
                match rate {
                    _ if rate == 0.0 || cap == 0 => Ok(Law::Nothing),
                    _ if sigma == 0.0 => Ok(Law::Everything),
                    _ if cap >= population => mixture(sigma, vec![1.0 - rate, rate], vec![0.0, 1.0]),
                    // Everybody comes, and a uniform subset of fixed size takes part.
                    1.0 => Ok(Law::Replaced { sigma: 0.5 * sigma, rate: cap as f64 / population as f64 }),
                    rate => Ok(Law::Truncated { sigma, rate, population, cap }),
                }
            }
            Self::FixedSize { noise_over_sensitivity, population, cohort } => {
                check_noise_multiplier(noise_over_sensitivity)?;
                at_least_one("population", population)?;
                if cohort > population {
                    return Err(Error::Cohort { cohort, population });
                }
                if !replace {
                    return refused();
                }
                match cohort {
                    0 => Ok(Law::Nothing),
                    _ if noise_over_sensitivity == 0.0 => Ok(Law::Everything),
                    _ if cohort == population => gaussian(noise_over_sensitivity, 1.0, 1.0),
                    _ => Ok(Law::Renyi),
                }
            }
            Self::Zcdp { rho } => {
                not_negative("rho", rho)?;
                Ok(if rho == 0.0 { Law::Nothing } else { Law::Renyi })
            }
            Self::Laplace { scale, sensitivity } => {
                positive("scale", scale)?;
                not_negative("sensitivity", sensitivity)?;
                if replace {
                    return refused();
                }
                Ok(if sensitivity == 0.0 { Law::Nothing } else { Law::Laplace { scale, sensitivity } })
            }
            Self::DiscreteGaussian { sigma, sensitivity, rate } => {
                positive("sigma", sigma)?;
                check_rate(rate)?;
                if replace {
                    return refused();
                }
                let nothing = sensitivity == 0 || rate == 0.0;
                Ok(if nothing { Law::Nothing } else { Law::DiscreteGaussian { sigma, sensitivity, rate } })
            }
            Self::DiscreteLaplace { decay, sensitivity, rate } => {
                positive("decay", decay)?;
                check_rate(rate)?;
                if replace {
                    return refused();
                }
                let nothing = sensitivity == 0 || rate == 0.0;
                Ok(if nothing { Law::Nothing } else { Law::DiscreteLaplace { decay, sensitivity, rate } })
            }
            Self::Skellam { variance, l2, l1 } => {
                positive("variance", variance)?;
                positive("l2", l2)?;
                positive("l1", l1)?;
                if replace { refused() } else { Ok(Law::Renyi) }
            }
            Self::DistributedDiscreteGaussian { local_sigma, devices, dimension, l2, l1 } => {
                positive("local_sigma", local_sigma)?;
                at_least_one("devices", devices)?;
                at_least_one("dimension", dimension)?;
                positive("l2", l2)?;
                positive("l1", l1)?;
                if replace { refused() } else { Ok(Law::Renyi) }
            }
            Self::EpsilonDelta { epsilon, dp_delta } => {
                check_epsilon(epsilon)?;
                if !(0.0..1.0).contains(&dp_delta) {
                    return Err(Error::DpDelta { got: dp_delta });
                }
                let nothing = epsilon == 0.0 && dp_delta == 0.0;
                Ok(if nothing { Law::Nothing } else { Law::EpsilonDelta { epsilon, dp_delta } })
            }
        }
    }
}

/// `times` Gaussians of this sensitivity.
fn gaussian(noise_multiplier: f64, sensitivity: f64, times: f64) -> Result<Law, Error> {
    let z = check_noise_multiplier(noise_multiplier)?;
    let ratio = sensitivity / z;
    let mu_squared = times * ratio * ratio;
    Ok(if mu_squared.is_finite() { Law::Gaussian(mu_squared) } else { Law::Everything })
}

fn mixture(noise_multiplier: f64, weights: Vec<f64>, norms: Vec<f64>) -> Result<Law, Error> {
    let sigma = check_noise_multiplier(noise_multiplier)?;
    let mut moving = weights.iter().zip(&norms).filter(|(weight, _)| **weight > 0.0);
    let first = moving.next().map_or(0.0, |(_, norm)| *norm);
    // One norm for certain is a Gaussian.
    if moving.all(|(_, norm)| *norm == first) {
        return if first == 0.0 { Ok(Law::Nothing) } else { gaussian(sigma, first, 1.0) };
    }
    Ok(if sigma == 0.0 { Law::Everything } else { Law::Mixture { sigma, weights, norms } })
}

impl Law {
    /// The gap of a grid that is not too long, at least that of `grid`.
    pub(crate) fn interval(&self, grid: Grid) -> f64 {
        match *self {
            Self::Gaussian(mu_squared) => {
                pld::interval_for(&Mixture::new(1.0 / mu_squared.sqrt(), &[1.0], &[1.0], 0.0), grid)
            }
            Self::Mixture { sigma, ref weights, ref norms } => {
                pld::interval_for(&Mixture::new(sigma, weights, norms, grid.tail), grid)
            }
            Self::Replaced { sigma, rate } => pld::interval_for(&SampledReplaced::new(sigma, rate), grid),
            Self::Truncated { sigma, .. } => pld::interval_for(&SampledReplaced::new(0.5 * sigma, 0.5), grid),
            Self::Laplace { scale, sensitivity } => pld::interval_of_range(2.0 * sensitivity / scale, grid),
            Self::DiscreteGaussian { sigma, sensitivity, .. } => {
                let reach = sigma * (2.0 * (2.0 - libm::log(grid.tail))).sqrt() + f64::from(sensitivity) + 2.0;
                pld::interval_of_range(2.0 * f64::from(sensitivity) * reach / (sigma * sigma), grid)
            }
            Self::DiscreteLaplace { decay, sensitivity, .. } => {
                pld::interval_of_range(2.0 * decay * f64::from(sensitivity), grid)
            }
            Self::EpsilonDelta { epsilon, .. } => pld::interval_of_range(2.0 * epsilon, grid),
            Self::Nothing | Self::Everything | Self::Renyi => grid.interval,
        }
    }

    /// Both directions on the grid; `None` where there is no privacy-loss distribution here.
    pub(crate) fn losses(&self, grid: Grid) -> Option<Directions> {
        Some(match *self {
            Self::Nothing => Directions::nothing(grid.interval),
            Self::Gaussian(mu_squared) => {
                pld::discretise(&Mixture::new(1.0 / mu_squared.sqrt(), &[1.0], &[1.0], 0.0), grid)
            }
            Self::Mixture { sigma, ref weights, ref norms } => {
                pld::discretise(&Mixture::new(sigma, weights, norms, 0.01 * grid.tail), grid)
            }
            Self::Replaced { sigma, rate } => pld::discretise(&SampledReplaced::new(sigma, rate), grid),
            Self::Truncated { sigma, rate, population, cap } => {
                pld::truncated_poisson(sigma, rate, population, cap, grid)
            }
            Self::Laplace { scale, sensitivity } => pld::laplace(scale, sensitivity, grid),
            Self::DiscreteGaussian { sigma, sensitivity, rate } => {
                pld::discrete_gaussian(sigma, sensitivity, rate, grid)
            }
            Self::DiscreteLaplace { decay, sensitivity, rate } => pld::discrete_laplace(decay, sensitivity, rate, grid),
            Self::EpsilonDelta { epsilon, dp_delta } => pld::epsilon_delta(epsilon, dp_delta, grid),
            Self::Everything | Self::Renyi => return None,
        })
    }
}
