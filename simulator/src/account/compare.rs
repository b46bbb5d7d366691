//! User-level against example-level sampling at equal compute: Charles et al. 2024, "Fine-tuning large language models with
//! user-level differential privacy" (arXiv 2407.07737). Each step takes `budget` gradients: ELS draws them as examples of
//! anybody, ULS as `group` examples of each of budget / group users. What is compared is the noise in the mean gradient, in
//! units of the bound L of one example's gradient.
//!
//! The mean of a user's G gradients, each of norm L, has norm L sqrt(rho + (1 - rho) / G), rho being the mean cosine of two
//! of them: ULS can clip to that, ELS gains nothing by it.

use super::AccountError;
use serde::Serialize;
use siskin_accounting::{Adjacency, Composition, Method, Release, calibrate};

/// The comparison.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Users, each with at least as many examples as the largest group.
    pub users: u64,
    /// Gradients a step.
    pub budget: u64,
    /// Steps.
    pub rounds: u64,
    /// In (0, 1).
    pub dp_delta: f64,
    /// Mean cosine of two gradients of a user, in [0, 1].
    pub correlation: f64,
    /// By epsilon, then by group.
    pub rows: Vec<Compared>,
    /// What follows from the rows, a line an epsilon.
    pub conclusions: Vec<String>,
}

/// One epsilon and one group.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Compared {
    /// The target.
    pub epsilon: f64,
    /// Examples of a user that count.
    pub group: u64,
    /// Example-level sampling.
    pub els: Els,
    /// User-level sampling.
    pub uls: Uls,
    /// ULS has less noise where the gradients of a user are less alike than this: 1 if always, 0 if never.
    pub break_even_correlation: f64,
}

/// Example-level sampling.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Els {
    /// Probability of an example.
    pub rate: f64,
    /// sigma / L.
    pub noise_multiplier: f64,
    /// Standard deviation in the mean gradient, in L.
    pub noise: f64,
}

/// User-level sampling.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Uls {
    /// Users of a step, on average.
    pub cohort: f64,
    /// Probability of a user.
    pub rate: f64,
    /// sigma over the norm of a user's mean gradient.
    pub noise_multiplier: f64,
    /// Standard deviation in the mean gradient, in L, at the correlation asked for.
    pub noise: f64,
    /// The same where a user's gradients are all parallel.
    pub noise_parallel: f64,
    /// The same where they are orthogonal.
    pub noise_orthogonal: f64,
}

/// Calibrates both for every epsilon and group.
///
/// # Errors
/// [`AccountError::Flag`] where a group does not fit the budget or the users.
pub fn compare(
    (users, budget, rounds): (u64, u64, u64),
    dp_delta: f64,
    correlation: f64,
    epsilons: &[f64],
    groups: &[u64],
) -> Result<Comparison, AccountError> {
    let mut rows = Vec::new();
    for &epsilon in epsilons {
        for &group in groups {
            rows.push(row((users, budget, rounds), dp_delta, correlation, epsilon, group)?);
        }
    }
    let conclusions = epsilons.iter().filter_map(|epsilon| conclusion(&rows, *epsilon, correlation)).collect();
    Ok(Comparison { users, budget, rounds, dp_delta, correlation, rows, conclusions })
}

/// Calibration ends within 1e-6 of the target: noises closer than this are the same.
const DRAW: f64 = 1e-4;

fn row(
    (users, budget, rounds): (u64, u64, u64),
    dp_delta: f64,
    correlation: f64,
    epsilon: f64,
    group: u64,
) -> Result<Compared, AccountError> {
    let refused = |message| AccountError::Flag { flag: "groups", value: group.to_string(), message };
    if group > budget {
        return Err(refused(format!("more examples of one user than the {budget} gradients of a step")));
    }
    let (n, b, g) = (users as f64, budget as f64, group as f64);
    let cohort = b / g;
    if cohort > n {
        return Err(refused(format!("{budget} gradients a step would need {cohort} users, there are {users}")));
    }
    let group32 =
        u32::try_from(group).ok().filter(|g| *g <= 4096).ok_or_else(|| refused("must be at most 4096".into()))?;
    let noise = |release: Release| {
        let template = Composition::of(Adjacency::AddOrRemove, release, rounds);
        Ok::<f64, AccountError>(calibrate::noise(&template, epsilon, dp_delta, Method::default())?.noise)
    };
    let example_rate = b / (n * g);
    let els_noise = noise(Release::Els { noise_multiplier: 1.0, rate: example_rate, group: group32 })?;
    let user_rate = cohort / n;
    let uls_noise = noise(Release::Uls { noise_multiplier: 1.0, rate: user_rate })?;
    let els = Els { rate: example_rate, noise_multiplier: els_noise, noise: els_noise / b };
    let at = |rho: f64| uls_noise / cohort * (rho + (1.0 - rho) / g).sqrt();
    let uls = Uls {
        cohort,
        rate: user_rate,
        noise_multiplier: uls_noise,
        noise: at(correlation),
        noise_parallel: at(1.0),
        noise_orthogonal: at(0.0),
    };
    let norm = els.noise * cohort / uls_noise;
    let break_even = if group == 1 { f64::from(norm >= 1.0 - DRAW) } else { (norm * norm - 1.0 / g) / (1.0 - 1.0 / g) };
    Ok(Compared { epsilon, group, els, uls, break_even_correlation: break_even.clamp(0.0, 1.0) })
}

fn orthogonal(row: &Compared) -> f64 {
    row.uls.noise_orthogonal
}

fn between(row: &Compared) -> f64 {
    row.uls.noise
}

fn parallel(row: &Compared) -> f64 {
    row.uls.noise_parallel
}

/// The least noise of each way at one epsilon.
fn conclusion(rows: &[Compared], epsilon: f64, correlation: f64) -> Option<String> {
    let mine = || rows.iter().filter(|row| row.epsilon == epsilon);
    let els = mine().min_by(|a, b| a.els.noise.total_cmp(&b.els.noise))?;
    let best = |of: fn(&Compared) -> f64| mine().min_by(move |a, b| of(a).total_cmp(&of(b)));
    let mut text = format!("epsilon {epsilon}: example-level {:.2e} at G={}", els.els.noise, els.group);
    let cases = [
        ("orthogonal".to_owned(), orthogonal as fn(&Compared) -> f64),
        (format!("correlation {correlation}"), between),
        ("parallel".to_owned(), parallel),
    ];
    for (name, of) in cases {
        let row = best(of)?;
        let (user, example) = (of(row), els.els.noise);
        let ratio = user / example;
        let verdict = if (ratio - 1.0).abs() < DRAW {
            "as much".to_owned()
        } else if ratio < 1.0 {
            format!("{:.2}x less", 1.0 / ratio)
        } else {
            format!("{ratio:.2}x more")
        };
        text += &format!("; user-level, {name}: {user:.2e} at G={} ({verdict})", row.group);
    }
    Some(text)
}
