//! From flags to a mechanism.

use super::flags::{FLAGS, Given};
use super::{AccountError, Statement, strategies};
use siskin_accounting::correlated::{Participation, Plan, Strategy};
use siskin_accounting::{Adjacency, Composition, Method, Point, Release, calibrate};

/// A mechanism that flags can describe.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Behind `--mechanism`.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
    /// What `--noise` is.
    pub noise: &'static str,
    /// Flags without which it is not one, beside `noise`.
    pub needs: &'static [&'static str],
    /// Other flags that mean something to it.
    pub takes: &'static [&'static str],
    /// What is compared with what unless something else is asked for.
    pub adjacency: Adjacency,
}

const OVER_C: &str = "sigma / C";

macro_rules! known {
    ($name:literal, $about:literal, $noise:expr, [$($needs:literal),*], [$($takes:literal),*], $adjacency:ident) => {
        Known {
            name: $name,
            about: $about,
            noise: $noise,
            needs: &[$($needs),*],
            takes: &[$($takes),*],
            adjacency: Adjacency::$adjacency,
        }
    };
}

/// All of them.
pub const KNOWN: &[Known] = &[
    known!("gaussian", "a noised sum in which any user may be", OVER_C, [], [], AddOrRemove),
    known!("uls", "user-level sampling: users by independent coins", OVER_C, ["sampling"], ["group"], AddOrRemove),
    known!("els", "example-level sampling, at most G examples a user", OVER_C, ["sampling", "group"], [], AddOrRemove),
    known!(
        "two-stage",
        "devices by coins, then their examples by coins",
        OVER_C,
        ["sampling", "example-sampling", "group"],
        [],
        AddOrRemove
    ),
    known!(
        "mixture",
        "a user moves the sum by a random norm",
        "sigma / unit of norms",
        ["norms", "weights"],
        [],
        AddOrRemove
    ),
    known!("truncated", "uls with a cap on the cohort", OVER_C, ["sampling", "users", "cap"], [], AddOrRemove),
    known!(
        "fixed-size",
        "a cohort of fixed size, without replacement",
        "sigma / 2C",
        ["users", "cohort"],
        [],
        ReplaceOne
    ),
    known!("tree", "tree aggregation over the rounds", "z", [], ["separation", "participations"], ZeroOut),
    known!(
        "banded",
        "banded Toeplitz factors, of least rms error",
        "z",
        [],
        ["separation", "participations", "bands"],
        ZeroOut
    ),
    known!(
        "blt",
        "buffered linear Toeplitz, of least greatest error",
        "z",
        [],
        ["separation", "participations", "buffers"],
        ZeroOut
    ),
    known!("laplace", "Laplace noise on a value", "scale b", [], ["sensitivity"], AddOrRemove),
    known!(
        "discrete-gaussian",
        "discrete Gaussian noise on an integer",
        "sigma",
        [],
        ["sensitivity", "sampling"],
        AddOrRemove
    ),
    known!(
        "discrete-laplace",
        "discrete Laplace noise on an integer",
        "1 / decay",
        [],
        ["sensitivity", "sampling"],
        AddOrRemove
    ),
    known!(
        "skellam",
        "Skellam noise on an integer vector",
        "root of the variance",
        ["l2"],
        ["l1", "dimension"],
        AddOrRemove
    ),
    known!(
        "distributed",
        "discrete Gaussian noise of every device, summed",
        "a device's sigma",
        ["devices", "dimension", "l2"],
        ["l1"],
        AddOrRemove
    ),
];

/// A mechanism with its numbers.
#[derive(Clone, Debug)]
pub struct Mechanism {
    /// Which.
    pub known: Known,
    pub(super) shape: Shape,
}

#[derive(Clone, Debug)]
pub(super) enum Shape {
    /// The same release each round.
    Released(Release),
    /// One release of all rounds.
    Correlated { strategy: Strategy, rule: Participation, noise: f64 },
}

/// Finds a mechanism; `two_stage` is `two-stage`, and the names of event files are known as well.
///
/// # Errors
/// [`AccountError::Mechanism`] lists the known ones.
pub fn find(name: &str) -> Result<Known, AccountError> {
    let word = name.replace('_', "-");
    let word = match &word[..] {
        "device-then-example" => "two-stage",
        "mixture-of-gaussians" => "mixture",
        "truncated-uls" => "truncated",
        "distributed-discrete-gaussian" | "ddg" => "distributed",
        other => other,
    };
    KNOWN.iter().find(|known| known.name == word).copied().ok_or_else(|| AccountError::Mechanism {
        got: name.to_owned(),
        known: KNOWN.iter().map(|known| known.name).collect::<Vec<_>>().join(", "),
    })
}

impl Mechanism {
    /// The mechanism of these flags, over `rounds` (of which correlated noise is made). Without `noise` it has unit noise.
    ///
    /// # Errors
    /// [`AccountError`] names the flag that is missing, useless or out of range.
    pub fn of(known: Known, given: &Given, rounds: u64) -> Result<Self, AccountError> {
        let mine = |name: &str| name == "noise" || known.needs.contains(&name) || known.takes.contains(&name);
        if let Some(flag) = given.names().find(|name| !mine(name)) {
            let own = known.needs.iter().chain(known.takes).map(|name| format!("--{name}"));
            let takes = ["--noise".to_owned()].into_iter().chain(own).collect::<Vec<_>>().join(", ");
            return Err(AccountError::Useless { flag, mechanism: known.name, takes });
        }
        if let Some(flag) = known.needs.iter().find(|name| !given.has(name)) {
            let what = FLAGS.iter().find(|f| f.name == *flag).map_or("", |f| f.help);
            return Err(AccountError::Missing { flag, mechanism: format!("mechanism {}", known.name), what });
        }
        let noise = given.number("noise")?.unwrap_or(1.0);
        let number = |name| Ok::<f64, AccountError>(given.number(name)?.unwrap_or(1.0));
        let count = |name| Ok::<u64, AccountError>(given.count(name)?.unwrap_or(1));
        let small = |name| {
            let got = count(name)?;
            let message = format!("must be at most {MOST_GROUP}");
            let refused = AccountError::Flag { flag: name, value: got.to_string(), message };
            u32::try_from(got).ok().filter(|g| *g <= MOST_GROUP).ok_or(refused)
        };
        let shape = match known.name {
            "gaussian" => Shape::Released(Release::Gaussian { noise_multiplier: noise }),
            "uls" => {
                // It changes nothing, but it must be a number of examples.
                count("group")?;
                Shape::Released(Release::Uls { noise_multiplier: noise, rate: number("sampling")? })
            }
            "els" => Shape::Released(Release::Els {
                noise_multiplier: noise,
                rate: number("sampling")?,
                group: small("group")?,
            }),
            "two-stage" => Shape::Released(Release::DeviceThenExample {
                noise_multiplier: noise,
                device_rate: number("sampling")?,
                example_rate: number("example-sampling")?,
                group: small("group")?,
            }),
            "mixture" => Shape::Released(Release::MixtureOfGaussians {
                noise_multiplier: noise,
                weights: given.list("weights")?.unwrap_or_default(),
                norms: given.list("norms")?.unwrap_or_default(),
            }),
            "truncated" => Shape::Released(Release::TruncatedUls {
                noise_multiplier: noise,
                rate: number("sampling")?,
                population: count("users")?,
                cap: count("cap")?,
            }),
            "fixed-size" => Shape::Released(Release::FixedSize {
                noise_over_sensitivity: noise,
                population: count("users")?,
                cohort: count("cohort")?,
            }),
            "laplace" => Shape::Released(Release::Laplace { scale: noise, sensitivity: number("sensitivity")? }),
            "discrete-gaussian" => Shape::Released(Release::DiscreteGaussian {
                sigma: noise,
                sensitivity: whole(given)?,
                rate: number("sampling")?,
            }),
            "discrete-laplace" => Shape::Released(Release::DiscreteLaplace {
                decay: 1.0 / noise,
                sensitivity: whole(given)?,
                rate: number("sampling")?,
            }),
            "skellam" => {
                let (l2, l1) = norms(given)?;
                Shape::Released(Release::Skellam { variance: noise * noise, l2, l1 })
            }
            "distributed" => {
                let (l2, l1) = norms(given)?;
                let (devices, dimension) = (count("devices")?, count("dimension")?);
                Shape::Released(Release::DistributedDiscreteGaussian { local_sigma: noise, devices, dimension, l2, l1 })
            }
            _ => strategies::shape(known, given, rounds, noise)?,
        };
        if noise == 0.0
            && matches!(known.name, "laplace" | "discrete-gaussian" | "discrete-laplace" | "skellam" | "distributed")
        {
            let message = format!("must be above 0 for {}", known.name);
            return Err(AccountError::Flag { flag: "noise", value: "0".into(), message });
        }
        Ok(Self { known, shape })
    }

    /// Whether its rounds are one release, so that they are a part of it.
    pub fn is_correlated(&self) -> bool {
        matches!(self.shape, Shape::Correlated { .. })
    }

    /// What holds after `rounds`.
    ///
    /// # Errors
    /// Whatever the accountant refuses.
    pub fn account(
        &self,
        adjacency: Adjacency,
        rounds: u64,
        dp_delta: f64,
        method: Method,
    ) -> Result<Statement, AccountError> {
        match &self.shape {
            Shape::Released(release) => {
                let composition = Composition::of(adjacency, release.clone(), rounds);
                let account = composition.account_by(dp_delta, method)?;
                let parameters = serde_json::to_value(release).unwrap_or_default();
                Ok(Statement::of(&account, self.known.name, parameters, self.assumptions(adjacency)))
            }
            Shape::Correlated { strategy, rule, noise } => {
                strategies::account(self, strategy, *rule, *noise, adjacency, dp_delta, method)
            }
        }
    }

    /// Epsilon after each of these numbers of rounds.
    ///
    /// # Errors
    /// As [`Self::account`].
    pub fn curve(&self, adjacency: Adjacency, rounds: &[u64], dp_delta: f64) -> Result<Vec<Point>, AccountError> {
        match &self.shape {
            Shape::Released(release) => {
                let most = rounds.iter().copied().max().unwrap_or(1);
                Ok(Composition::of(adjacency, release.clone(), most).curve(dp_delta, rounds)?)
            }
            Shape::Correlated { strategy, rule, noise } => {
                let plan = Plan::new(strategy.clone(), *rule, *noise)?;
                rounds
                    .iter()
                    .map(|&rounds| {
                        let at = u32::try_from(rounds).unwrap_or(u32::MAX);
                        let epsilon = plan.guarantee_after(adjacency, dp_delta, at)?.epsilon;
                        Ok(Point { rounds, epsilon })
                    })
                    .collect()
            }
        }
    }

    /// The least noise with which `rounds` stay within (`epsilon`, `dp_delta`), in the unit of `--noise`.
    ///
    /// # Errors
    /// As [`Self::account`]; an epsilon that no noise reaches.
    pub fn noise_for(
        &self,
        adjacency: Adjacency,
        rounds: u64,
        (epsilon, dp_delta): (f64, f64),
        method: Method,
    ) -> Result<f64, AccountError> {
        match &self.shape {
            Shape::Released(release) => {
                let template = Composition::of(adjacency, release.clone(), rounds);
                Ok(calibrate::noise(&template, epsilon, dp_delta, method)?.noise)
            }
            Shape::Correlated { strategy, rule, .. } => {
                strategies::refuse_add_remove(self.known.name, adjacency)?;
                Ok(Plan::calibrated(strategy.clone(), *rule, adjacency, epsilon, dp_delta)?.noise_multiplier())
            }
        }
    }

    /// The most rounds within (`epsilon`, `dp_delta`).
    ///
    /// # Errors
    /// As [`Self::account`]; correlated noise is made for a number of rounds, so that it is not to be found here.
    pub fn rounds_for(
        &self,
        adjacency: Adjacency,
        (epsilon, dp_delta): (f64, f64),
        method: Method,
    ) -> Result<u64, AccountError> {
        match &self.shape {
            Shape::Released(release) => Ok(calibrate::rounds(release, adjacency, epsilon, dp_delta, method)?),
            Shape::Correlated { .. } => Err(AccountError::Missing {
                flag: "rounds",
                mechanism: format!("mechanism {}", self.known.name),
                what: "its noise is made for so many rounds; leave out --noise to have that found",
            }),
        }
    }
}

/// Largest `--group`: the mixture has as many parts.
const MOST_GROUP: u32 = 1 << 20;

fn whole(given: &Given) -> Result<u32, AccountError> {
    let got = given.number("sensitivity")?.unwrap_or(1.0);
    if got.fract() == 0.0 && (1.0..=f64::from(MOST_GROUP)).contains(&got) {
        return Ok(got as u32);
    }
    let message = format!("a whole number from 1 to {MOST_GROUP} belongs here");
    Err(AccountError::Flag { flag: "sensitivity", value: got.to_string(), message })
}

/// L2 and L1 of an integer vector: |x| <= x^2, and Cauchy-Schwarz.
fn norms(given: &Given) -> Result<(f64, f64), AccountError> {
    let l2 = given.number("l2")?.unwrap_or(1.0);
    let spread = given.count("dimension")?.map_or(f64::INFINITY, |d| l2 * (d as f64).sqrt());
    Ok((l2, given.number("l1")?.unwrap_or((l2 * l2).min(spread))))
}
