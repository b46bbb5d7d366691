//! A composition's distributions, and the questions asked of them.

use crate::error::check_epsilon;
use crate::pld::{Composed, Directions, Grid};
use crate::rdp::Curve;
use crate::release::Law;
use crate::{Account, Accountant, Adjacency, Composition, Error, Method, analytic};

/// Share of dp_delta that truncated tails may take in all.
const TAIL_SHARE: f64 = 1e-8;

/// The distributions of a composition's releases, made once, to be asked many times with other counts.
#[derive(Clone, Debug)]
pub struct Prepared {
    adjacency: Adjacency,
    counts: Vec<u64>,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Everything,
    /// mu^2 of one round of each event.
    Gaussian(Vec<f64>),
    Renyi(Vec<Curve>),
    Losses {
        laws: Vec<Law>,
        grid: Grid,
        /// Those of the events; Gaussians come together in one, made when asked.
        losses: Vec<Option<Directions>>,
    },
}

impl Prepared {
    /// For queries at about `dp_delta`, or above, and up to as many rounds as `composition` has.
    ///
    /// # Errors
    /// As [`Composition::account_by`].
    pub fn new(composition: &Composition, dp_delta: f64, method: Method) -> Result<Self, Error> {
        if !(method.interval.is_finite() && method.interval > 0.0) {
            return Err(Error::Interval { got: method.interval });
        }
        let laws = composition.checked_laws()?;
        let counts = composition.events.iter().map(|event| event.rounds).collect();
        let prepared = |kind| Ok(Self { adjacency: composition.adjacency, counts, kind });
        let missing = |law: &dyn Fn(&Law) -> bool| {
            let index = laws.iter().position(law).unwrap_or(0);
            Error::NoAccountant { mechanism: composition.events[index].release.name() }
        };
        if laws.contains(&Law::Everything) {
            return prepared(Kind::Everything);
        }
        let gaussians: Option<Vec<f64>> = laws
            .iter()
            .map(|law| match law {
                Law::Nothing => Some(0.0),
                Law::Gaussian(mu_squared) => Some(*mu_squared),
                _ => None,
            })
            .collect();
        let any_renyi = laws.contains(&Law::Renyi);
        let accountant = method.accountant.unwrap_or(match gaussians {
            Some(_) => Accountant::AnalyticGaussian,
            None if any_renyi => Accountant::Rdp,
            None => Accountant::Pld,
        });
        match (accountant, gaussians) {
            (Accountant::AnalyticGaussian, Some(mu_squared)) => prepared(Kind::Gaussian(mu_squared)),
            (Accountant::AnalyticGaussian, None) => {
                Err(missing(&|law| !matches!(law, Law::Nothing | Law::Gaussian(_))))
            }
            (Accountant::Rdp, _) => {
                let zero = Curve::zero();
                let mut curves = Vec::with_capacity(laws.len());
                for event in &composition.events {
                    match zero.of_release(&event.release, composition.adjacency)? {
                        Some(curve) => curves.push(curve),
                        None => return Err(Error::NoAccountant { mechanism: event.release.name() }),
                    }
                }
                prepared(Kind::Renyi(curves))
            }
            (Accountant::Pld, _) if any_renyi => Err(missing(&|law| *law == Law::Renyi)),
            (Accountant::Pld, _) => {
                let rounds = composition.rounds();
                let tail = (TAIL_SHARE * dp_delta / rounds as f64).max(f64::MIN_POSITIVE);
                let mut grid = Grid { interval: method.interval, tail };
                grid.interval = laws.iter().fold(grid.interval, |interval, law| interval.max(law.interval(grid)));
                let losses = losses(&laws, grid);
                prepared(Kind::Losses { laws, grid, losses })
            }
        }
    }

    /// The privacy losses of one round of each event that has some here: none of pure compositions of Gaussians, or when
    /// the accountant is another.
    pub fn losses(&self) -> impl Iterator<Item = &Directions> {
        let losses = match &self.kind {
            Kind::Losses { losses, .. } => losses.as_slice(),
            _ => &[],
        };
        losses.iter().flatten()
    }

    /// For a composition that has one event more than the one that `self` was made for, without making those again.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub(crate) fn extended(mut self, composition: &Composition, dp_delta: f64, method: Method) -> Result<Self, Error> {
        if let Kind::Losses { laws, grid, losses: made } = &mut self.kind
            && let Some(event) = composition.events.last()
        {
            let law = event.release.law(composition.adjacency)?;
            let fits = !matches!(law, Law::Everything | Law::Renyi) && law.interval(*grid) <= grid.interval;
            if fits && laws.len() + 1 == composition.events.len() {
                made.extend(losses(core::slice::from_ref(&law), *grid));
                laws.push(law);
                self.counts.push(event.rounds);
                return Ok(self);
            }
        }
        Self::new(composition, dp_delta, method)
    }

    /// The account at `dp_delta`.
    ///
    /// # Errors
    /// [`Error::DpDelta`].
    pub fn account(&self, dp_delta: f64) -> Result<Account, Error> {
        self.account_of(dp_delta, &self.counts)
    }

    /// The same when the events happened so many times instead (a missing count is 0).
    ///
    /// # Errors
    /// As [`Self::account`].
    pub fn account_of(&self, dp_delta: f64, counts: &[u64]) -> Result<Account, Error> {
        crate::error::check_dp_delta(dp_delta)?;
        let rounds = counts.iter().fold(0_u64, |sum, &count| sum.saturating_add(count));
        let (remove_epsilon, add_epsilon, accountant, interval) = match &self.kind {
            Kind::Everything => {
                let epsilon = if rounds == 0 { 0.0 } else { f64::INFINITY };
                (epsilon, epsilon, Accountant::Pld, None)
            }
            Kind::Gaussian(mu_squared) => {
                let epsilon = analytic::epsilon(total(mu_squared, counts).sqrt(), dp_delta)?;
                (epsilon, epsilon, Accountant::AnalyticGaussian, None)
            }
            Kind::Renyi(curves) => {
                let mut sum = Curve::zero();
                for (curve, &count) in curves.iter().zip(counts) {
                    sum.compose(curve, count);
                }
                let epsilon = sum.epsilon(dp_delta)?.epsilon;
                (epsilon, epsilon, Accountant::Rdp, None)
            }
            Kind::Losses { laws, grid, losses } => {
                let ([remove, add], interval) =
                    over_losses(laws, *grid, losses, counts, |composed| composed.epsilon(dp_delta))?;
                (remove, add, Accountant::Pld, Some(interval))
            }
        };
        Ok(Account {
            epsilon: remove_epsilon.max(add_epsilon),
            dp_delta,
            adjacency: self.adjacency,
            remove_epsilon,
            add_epsilon,
            accountant,
            interval,
            rounds,
        })
    }

    /// The dp_delta at `epsilon`.
    ///
    /// # Errors
    /// [`Error::Epsilon`].
    pub fn dp_delta(&self, epsilon: f64) -> Result<f64, Error> {
        check_epsilon(epsilon)?;
        match &self.kind {
            Kind::Everything => Ok(1.0),
            Kind::Gaussian(mu_squared) => analytic::dp_delta(total(mu_squared, &self.counts).sqrt(), epsilon),
            Kind::Renyi(curves) => {
                let mut sum = Curve::zero();
                for (curve, &count) in curves.iter().zip(&self.counts) {
                    sum.compose(curve, count);
                }
                Ok(sum.dp_delta(epsilon)?.dp_delta)
            }
            Kind::Losses { laws, grid, losses } => {
                let ([remove, add], _) =
                    over_losses(laws, *grid, losses, &self.counts, |composed| composed.dp_delta(epsilon))?;
                Ok(remove.max(add))
            }
        }
    }
}

fn total(mu_squared: &[f64], counts: &[u64]) -> f64 {
    mu_squared.iter().zip(counts).map(|(one, &count)| one * count as f64).sum()
}

fn losses(laws: &[Law], grid: Grid) -> Vec<Option<Directions>> {
    laws.iter()
        .map(|law| if matches!(law, Law::Gaussian(_) | Law::Nothing) { None } else { law.losses(grid) })
        .collect()
}

/// Asks both directions, on a coarser grid when the given one is too long; the answers, and the grid's gap.
fn over_losses(
    laws: &[Law],
    mut grid: Grid,
    made: &[Option<Directions>],
    counts: &[u64],
    ask: impl Fn(&Composed<'_>) -> Option<f64>,
) -> Result<([f64; 2], f64), Error> {
    // Gaussians come together exactly, as one.
    let gaussians = laws.iter().zip(counts).fold(0.0, |sum, (law, &count)| match law {
        Law::Gaussian(mu_squared) => sum + mu_squared * count as f64,
        _ => sum,
    });
    let gaussian = Law::Gaussian(gaussians);
    let mut remade: Option<Vec<Option<Directions>>> = None;
    loop {
        let needed = if gaussians > 0.0 { gaussian.interval(grid) } else { grid.interval };
        if needed > grid.interval {
            grid.interval = needed;
            remade = Some(losses(laws, grid));
        }
        let together = if gaussians > 0.0 { gaussian.losses(grid) } else { None };
        let made = remade.as_deref().unwrap_or(made);
        let parts: Vec<(&Directions, u64)> = made
            .iter()
            .zip(counts)
            .filter_map(|(directions, &count)| directions.as_ref().map(|directions| (directions, count)))
            .chain(together.as_ref().map(|directions| (directions, 1)))
            .collect();
        let answer = |pick: fn(&Directions) -> &crate::pld::Pmf| {
            let picked: Vec<_> = parts.iter().map(|&(directions, count)| (pick(directions), count)).collect();
            ask(&Composed::new(&picked))
        };
        let remove = answer(|directions| &directions.remove);
        let symmetric = parts.iter().all(|(directions, _)| directions.add.is_none());
        let add = if symmetric { remove } else { answer(Directions::adding) };
        if let (Some(remove), Some(add)) = (remove, add) {
            return Ok(([remove, add], grid.interval));
        }
        grid.interval *= 2.0;
        if grid.interval > 1e6 {
            return Err(Error::TooWide { interval: grid.interval });
        }
        remade = Some(losses(laws, grid));
    }
}
