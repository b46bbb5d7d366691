//! Level 1, the noise: devices report that nothing has changed, so that what is released is noise and nothing else.
//!
//! The releases of all rounds are divided by the standard deviation that the claim gives them. If the claim holds they are
//! independent standard normal numbers (after the strategy matrix, where the noise is correlated over rounds), and each check is
//! one statistic of them whose law is known then. A quarter of the cohort stays away, so that a mean over who came shows.

use super::check::{Check, Level, Verdict};
use super::law::Law;
use super::mechanism::{Claim, Device, Mechanism, OverRounds, Update};
use super::statistics::{chi_square_two_sided, goodness_of_fit, least_of, moments, normal_cdf, normal_two_sided};
use super::{AuditError, Settings, Watch};
use serde::{Deserialize, Serialize};

/// Largest distance of two rounds whose correlation is looked at.
pub const LAGS: usize = 8;

/// What the pictures show.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pictures {
    /// Numbers looked at.
    pub samples: u64,
    /// Standard deviation seen, over the claimed one.
    pub deviation: f64,
    /// Counts in [`BINS`] bins of equal width from -4 to 4 deviations.
    pub histogram: Vec<u64>,
    /// Correlation of releases 1, 2, ... rounds apart.
    pub lags: Vec<f64>,
    /// Correlation beyond which a lag is unlikely at the level of the audit.
    pub lag_limit: f64,
    /// Standard deviation of each round's release over the claimed one.
    pub rounds: Vec<f64>,
}

/// Bins of [`Pictures::histogram`].
pub const BINS: usize = 64;

/// Cells of the test of shape: an eighth of a deviation wide, from -4 to 4, and the tails.
const CELLS: usize = 66;

/// Params apart at which correlation is looked for; the last is half of them.
const APART: [usize; 6] = [1, 2, 3, 8, 64, 0];

/// Runs it.
///
/// # Errors
/// [`AuditError`] if the mechanism fails.
pub fn audit(
    mechanism: &dyn Mechanism,
    settings: &Settings,
    watch: Watch<'_>,
) -> Result<(Vec<Check>, Pictures), AuditError> {
    let came = came(settings.devices);
    let claim = settings.claim(settings.dim, settings.devices, settings.rounds, settings.rounds)?.with_shares(came);
    let quarter = (settings.rounds / 4).max(2);
    let all = u64::from(settings.rounds + 2 * quarter);
    let mut done = 0;
    let mut step = |watch: Watch<'_>| {
        done += 1;
        watch("noise", done, all);
    };
    let releases = standardised(mechanism, &claim, settings.seed, settings.rounds, watch, &mut step)?;
    let mut checks = Vec::new();
    let pictures = statistics(&claim, &releases, settings, &mut checks);

    let other = standardised(mechanism, &claim, settings.seed.wrapping_add(1), quarter, watch, &mut step)?;
    let (sum, n) = correlation(releases.iter().zip(&other).flat_map(|(a, b)| a.iter().zip(b)));
    checks.push(Check::new(
        Level::Unit,
        "another seed has other noise",
        format!("correlation {:+.5}", sum / n),
        "0".to_owned(),
        Verdict::Probability(normal_two_sided(sum / (n.sqrt() * pictures.deviation.powi(2)))),
    ));

    let wide = Settings { clip_norm: 3.0 * claim.clip_norm, step: Some(3.0 * claim.step), ..settings.clone() };
    let wide = wide.claim(settings.dim, settings.devices, quarter, quarter)?.with_shares(came);
    let scaled = standardised(mechanism, &wide, settings.seed.wrapping_add(2), quarter, watch, &mut step)?;
    checks.push(variance(
        "the noise grows with the clip norm",
        &scaled,
        &format!("1, at clip norm {}", wide.clip_norm),
    ));

    let reports = mechanism.start(&claim, settings.seed)?.reports(&silent(&claim, came.min(8), 0))?;
    match claim.device_law() {
        None => checks.push(no_noise_of_devices(&reports)),
        Some(law) => noise_of_devices(law, &reports, &mut checks),
    }
    Ok((checks, pictures))
}

/// Releases of `rounds` rounds over their claimed deviation, whitened over the rounds.
fn standardised(
    mechanism: &dyn Mechanism,
    claim: &Claim,
    seed: u64,
    rounds: u32,
    watch: Watch<'_>,
    step: &mut dyn FnMut(Watch<'_>),
) -> Result<Vec<Vec<f64>>, AuditError> {
    let mut run = mechanism.start(claim, seed)?;
    let came = came(claim.cohort);
    let factor = f64::from(claim.cohort) / claim.sigma(came);
    let mut releases: Vec<Vec<f64>> = Vec::new();
    for round in 0..rounds {
        let mut released = run.round(&silent(claim, came, round))?;
        for value in &mut released {
            *value *= factor;
        }
        releases.push(released);
        step(&mut *watch);
    }
    Ok(match claim.over_rounds.whitening(rounds) {
        None => releases,
        Some(whitening) => whitened(&releases, &whitening),
    })
}

/// Applies the triangle: what is left of `C^-1 z` is `z`.
fn whitened(releases: &[Vec<f64>], triangle: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let row = |round: usize| {
        let mut sum = vec![0.0; releases[round].len()];
        for (back, c) in triangle[round].iter().enumerate() {
            for (to, from) in sum.iter_mut().zip(&releases[round - back]) {
                *to += c * from;
            }
        }
        sum
    };
    (0..releases.len()).map(row).collect()
}

/// Devices that come, of so many that were planned.
fn came(cohort: u32) -> u32 {
    cohort - cohort / 4
}

/// Devices that say nothing: the same ones in each round, unless a rule keeps them from coming again.
pub(super) fn silent(claim: &Claim, count: u32, round: u32) -> Vec<Device> {
    let first = match claim.over_rounds {
        OverRounds::Independent => 0,
        OverRounds::Blt { .. } | OverRounds::Tree { .. } => u64::from(round) << 32,
    };
    (0..u64::from(count)).map(|i| Device { number: first + i, update: Update::Zero }).collect()
}

fn variance(name: &str, releases: &[Vec<f64>], claimed: &str) -> Check {
    let n = releases.iter().map(Vec::len).sum::<usize>() as f64;
    let squares: f64 = releases.iter().flatten().map(|x| x * x).sum();
    let verdict = Verdict::Probability(chi_square_two_sided(squares, n));
    let seen = format!("deviation {:.5} of the claimed one", (squares / n).sqrt());
    Check::new(Level::Unit, name, seen, claimed.to_owned(), verdict)
}

fn statistics(claim: &Claim, releases: &[Vec<f64>], settings: &Settings, checks: &mut Vec<Check>) -> Pictures {
    let (rounds, dim) = (releases.len(), claim.coordinates);
    let n = (rounds * dim) as f64;
    let mut check = |name: &str, seen: String, claimed: &str, p: f64| {
        checks.push(Check::new(Level::Unit, name, seen, claimed.to_owned(), Verdict::Probability(p)));
    };
    let values = || releases.iter().flatten().copied();
    let squares_of = |row: &Vec<f64>| row.iter().map(|x| x * x).sum::<f64>();

    let squares: f64 = releases.iter().map(squares_of).sum();
    let deviation = (squares / n).sqrt();
    let seen = format!("deviation {deviation:.5} of the claimed one");
    check("variance of the noise", seen, "1", chi_square_two_sided(squares, n));
    let (mean, [second, third, fourth]) = moments(values());
    check("mean of the noise", format!("{mean:+.6} deviations"), "0", normal_two_sided(mean * n.sqrt()));
    // Moments of a sample from a normal law: skewness has variance 6/n, excess kurtosis 24/n.
    let (skewness, kurtosis) = (third / second.powf(1.5), fourth / (second * second) - 3.0);
    check("skewness of the noise", format!("{skewness:+.5}"), "0", normal_two_sided(skewness * (n / 6.0).sqrt()));
    check(
        "kurtosis of the noise",
        format!("{kurtosis:+.5} excess"),
        "0",
        normal_two_sided(kurtosis * (n / 24.0).sqrt()),
    );

    let edge = |cell: usize| -4.0 + cell as f64 / 8.0;
    let mut counts = [0u64; CELLS];
    let mut histogram = vec![0u64; BINS];
    for x in values() {
        let cell = ((x + 4.0) * 8.0).floor().clamp(-1.0, 64.0);
        counts[(cell + 1.0) as usize] += 1;
        if (0.0..64.0).contains(&cell) {
            histogram[cell as usize] += 1;
        }
    }
    let below = |cell: usize| if cell < CELLS - 1 { normal_cdf(edge(cell)) } else { 1.0 };
    let cells: Vec<f64> = (0..CELLS).map(|i| if i == 0 { below(0) } else { below(i) - below(i - 1) }).collect();
    let (fit, freedom) = goodness_of_fit(&counts, &cells);
    let p = chi_square_upper(fit, freedom);
    check(
        "shape: counts in cells of an eighth deviation",
        format!("chi-square {fit:.1}"),
        &format!("about {freedom}"),
        p,
    );

    let of_round: Vec<f64> = releases.iter().map(squares_of).collect();
    let p = of_round.iter().map(|s| chi_square_two_sided(*s, dim as f64)).fold(1.0, f64::min);
    let extremes = extremes(of_round.iter().map(|s| (s / dim as f64).sqrt()));
    check("variance in each round", format!("deviations {extremes}"), "1 in every round", least_of(p, rounds));

    let mut of_param = vec![0.0; dim];
    for row in releases {
        for (sum, x) in of_param.iter_mut().zip(row) {
            *sum += x * x;
        }
    }
    let p = of_param.iter().map(|s| chi_square_two_sided(*s, rounds as f64)).fold(1.0, f64::min);
    let seen = format!("deviations {}", self::extremes(of_param.iter().map(|s| (s / rounds as f64).sqrt())));
    check("variance of each param", seen, &format!("1, from {rounds} rounds each"), least_of(p, dim));

    // Over the variance that they have, so that a wrong variance is not taken for a correlation.
    let own = squares / n;
    let mut lags = Vec::new();
    let mut least: f64 = 1.0;
    for lag in 1..=LAGS.min(rounds - 1) {
        let (sum, n) = correlation(releases.iter().zip(&releases[lag..]).flat_map(|(a, b)| a.iter().zip(b)));
        let seen = sum / (n * own);
        least = least.min(normal_two_sided(seen * n.sqrt()));
        lags.push(seen);
    }
    let seen = format!("correlations {}", self::extremes(lags.iter().copied()));
    let name = format!("rounds 1 to {} apart are uncorrelated", lags.len());
    check(&name, seen, "0", least_of(least, lags.len()));

    let mut least: f64 = 1.0;
    let mut seen = Vec::new();
    let pairs = |apart: usize, f: &dyn Fn(f64) -> f64| {
        let (mut sum, mut n) = (0.0, 0.0);
        for row in releases {
            sum += row.iter().zip(&row[apart..]).map(|(a, b)| f(*a) * f(*b)).sum::<f64>();
            n += (row.len() - apart) as f64;
        }
        (sum, n)
    };
    for apart in APART.map(|apart| if apart == 0 { dim / 2 } else { apart }) {
        let (sum, pairs) = pairs(apart, &|x| x);
        let r = sum / (pairs * own);
        least = least.min(normal_two_sided(r * pairs.sqrt()));
        seen.push(r);
    }
    let seen = format!("correlations {}", self::extremes(seen.into_iter()));
    check("params are uncorrelated", seen, "0", least_of(least, APART.len()));
    // The squares of independent numbers are uncorrelated too; those of one deviate with a common factor are not.
    let (sum, pairs) = pairs(1, &|x| (x * x / own - 1.0) / std::f64::consts::SQRT_2);
    let p = normal_two_sided(sum / pairs.sqrt());
    check("squares of neighbours are uncorrelated", format!("correlation {:+.5}", sum / pairs), "0", p);

    let lag_limit = quantile(settings.alpha / LAGS as f64) / (n * (1.0 - 1.0 / rounds as f64)).sqrt();
    let rounds = of_round.iter().map(|s| (s / dim as f64).sqrt()).collect();
    Pictures { samples: n as u64, deviation, histogram, lags, lag_limit, rounds }
}

/// In the central profile a device that has nothing to say says zeros: the noise is the server's.
fn no_noise_of_devices(reports: &[Vec<i32>]) -> Check {
    let nonzero = reports.iter().flatten().filter(|q| **q != 0).count();
    let seen = format!("{nonzero} symbols other than 0 in {} reports", reports.len());
    let claimed = "0: the server adds all of the noise".to_owned();
    Check::new(Level::Unit, "reports of no change", seen, claimed, Verdict::Exact(nonzero == 0))
}

/// Where devices add noise, what is in reports of no change follows the law of the plan, integer by integer, and no two
/// devices have the same.
fn noise_of_devices(law: Law, reports: &[Vec<i32>], checks: &mut Vec<Check>) {
    let symbols = || reports.iter().flatten().map(|q| i64::from(*q));
    let (statistic, freedom, p) = law.fit(symbols());
    let name = "noise of devices: integers against their exact probabilities";
    let seen = format!("chi-square {statistic:.1} of {} symbols", symbols().count());
    let claimed = format!("about {freedom}: {law}");
    checks.push(Check::new(Level::Unit, name, seen, claimed, Verdict::Probability(p)));
    let mut least: f64 = 1.0;
    let mut all = Vec::new();
    for (i, a) in reports.iter().enumerate() {
        for b in &reports[i + 1..] {
            let sum: f64 = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            let r = sum / (a.len() as f64 * law.variance());
            least = least.min(normal_two_sided(r * (a.len() as f64).sqrt()));
            all.push(r);
        }
    }
    let p = least_of(least, all.len());
    let seen = format!("correlations {}", extremes(all.into_iter()));
    checks.push(Check::new(Level::Unit, "devices are uncorrelated", seen, "0".to_owned(), Verdict::Probability(p)));
}

/// Sum of products and their number.
pub(super) fn correlation<'a>(pairs: impl Iterator<Item = (&'a f64, &'a f64)>) -> (f64, f64) {
    pairs.fold((0.0, 0.0), |(sum, n), (a, b)| (sum + a * b, n + 1.0))
}

fn chi_square_upper(x: f64, freedom: f64) -> f64 {
    super::statistics::chi_square(x, freedom).1
}

fn extremes(values: impl Iterator<Item = f64>) -> String {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    format!("{low:.5} to {high:.5}")
}

/// The `z` with `P(|X| >= z) = p` of the standard normal, by bisection.
fn quantile(p: f64) -> f64 {
    let (mut low, mut high) = (0.0, 40.0);
    for _ in 0..80 {
        let middle = 0.5 * (low + high);
        if normal_two_sided(middle) > p { low = middle } else { high = middle }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha8Rng;
    use rand_core::SeedableRng;
    use siskin_server::privacy::Gaussian;

    /// What is correlated over rounds by `C^-1` is independent after `C`.
    #[test]
    fn whitening_undoes_the_correlation() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut deviates = Gaussian::new(&mut rng);
        let fresh: Vec<Vec<f64>> = (0..5).map(|_| (0..7).map(|_| deviates.sample()).collect()).collect();
        let c = [1.0, 0.5, 0.25, 0.125, 0.0625];
        // x_t = z_t - sum_{i >= 1} c_i x_{t-i}.
        let mut correlated: Vec<Vec<f64>> = Vec::new();
        for (t, z) in fresh.iter().enumerate() {
            let x = (0..7).map(|j| z[j] - (1..=t).map(|i| c[i] * correlated[t - i][j]).sum::<f64>()).collect();
            correlated.push(x);
        }
        assert_ne!(correlated[3], fresh[3]);
        let triangle: Vec<Vec<f64>> = (1..=5).map(|rounds| c[..rounds].to_vec()).collect();
        for (back, z) in whitened(&correlated, &triangle).iter().flatten().zip(fresh.iter().flatten()) {
            assert!((back - z).abs() < 1e-12);
        }
    }

    #[test]
    fn quantiles_invert_the_tail() {
        for p in [0.5, 1e-3, 1e-9] {
            assert!((normal_two_sided(quantile(p)) / p - 1.0).abs() < 1e-9);
        }
    }
}
