//! Whether a run did what its epsilon rests on. Where it did not, there is no epsilon to show.

use super::RunError;
use crate::account::rounded_up;
use crate::config::{PrivacyMode, RunConfig};
use crate::report::RunReport;
use siskin::checkin::Limits;
use siskin_accounting::{Adjacency, Composition, SamplingAssumption};
use siskin_server::round::{Server, ServerError};

/// Takes back an epsilon whose assumptions the run broke, and says which; adds what the log of participation certifies.
pub(super) fn check(report: &mut RunReport, config: &RunConfig, server: &Server) -> Result<(), RunError> {
    let guarantee = server.guarantee()?;
    if !guarantee.is_private() {
        return Ok(());
    }
    let mut epsilon = guarantee.epsilon;
    if config.privacy.privacy == PrivacyMode::Els {
        epsilon = of_examples(report, config, server)?;
    }
    let mut broken = Vec::new();
    if let SamplingAssumption::PoissonEnforced { .. } = guarantee.sampling {
        let abandoned: Vec<u64> = report.rounds.iter().filter(|r| r.abandoned).map(|r| r.round).collect();
        if let Some(first) = abandoned.first() {
            broken.push(format!(
                "{} of {} rounds were given up with too few reports (the first is round {first}): who came is read without \
                 noise there, while the account takes cohorts for secret; a lower --min-fraction gives up none",
                abandoned.len(),
                report.rounds.len()
            ));
        }
        if config.limits() != Limits::NONE {
            let refused = report.totals.dropped.refused;
            broken.push(format!(
                "devices kept a separation or a number of rounds of their own ({refused} refused a task): the account takes \
                 them to follow coins alone"
            ));
        }
        if let Some(cap) = server.settings().cohort_cap {
            let over = report.rounds.iter().find(|r| r.selected > u64::from(cap));
            broken.extend(
                over.map(|r| format!("round {} asked {} devices, the account has a cap of {cap}", r.round, r.selected)),
            );
        }
    }
    if server.correlated_noise().is_some() {
        match server.certify() {
            Ok(certified) => report.privacy.certificate = certified.to_string(),
            Err(ServerError::Strategy(error)) => broken.push(error.to_string()),
            Err(error) => return Err(error.into()),
        }
    }
    let target = config.privacy.epsilon;
    if config.privacy.privacy.calibrates() && epsilon > target {
        broken.push(format!("epsilon {epsilon} is above the target of {target}"));
    }
    if broken.is_empty() {
        return Ok(());
    }
    report.privacy.line = format!("no epsilon is stated: {}", broken.join("; "));
    report.privacy.epsilon = None;
    report.privacy.certificate = String::new();
    report.privacy.warnings.insert(0, "The run broke what its epsilon rests on.".to_owned());
    report.rounds.iter_mut().for_each(|round| round.epsilon = None);
    Ok(())
}

/// States epsilon by the sampling of examples, which the server's ledger knows nothing of: to that, a user may always bring all
/// examples.
fn of_examples(report: &mut RunReport, config: &RunConfig, server: &Server) -> Result<f64, RunError> {
    let promise = server.promise();
    let noise = promise.and_then(|promise| Some(promise.sigma / promise.example_sensitivity?)).unwrap_or(0.0);
    let population = usize::try_from(report.data.devices).unwrap_or(usize::MAX);
    let release = config.example_release(noise, population);
    let stepped = report.rounds.iter().filter(|round| !round.abandoned).count() as u64;
    if stepped == 0 {
        return Ok(0.0);
    }
    let dp_delta = config.privacy.dp_delta;
    let composition = Composition::of(Adjacency::AddOrRemove, release, stepped);
    let account = composition.account(dp_delta).map_err(ServerError::Accounting)?;
    let so_far: Vec<u64> = (1..=stepped).collect();
    let curve = composition.curve(dp_delta, &so_far).map_err(ServerError::Accounting)?;
    let mut points = curve.iter();
    let mut last = None;
    for round in &mut report.rounds {
        if !round.abandoned {
            last = points.next().map(|point| point.epsilon);
        }
        round.epsilon = last.filter(|epsilon| epsilon.is_finite());
    }
    let asked = config.fleet.over_selection * f64::from(config.fleet.cohort);
    report.privacy.epsilon = Some(account.epsilon).filter(|epsilon| epsilon.is_finite());
    report.privacy.line = format!(
        "epsilon {} at dp_delta {dp_delta:e} (user-level, {}; Gaussian z={noise:.4} over one example's bound, devices sampled with \
         q={:.4}, their examples with {}, at most {} of a user, T={stepped}; {}; sampling enforced by the simulated server and \
         devices)",
        rounded_up(account.epsilon),
        account.adjacency,
        (asked / population.max(1) as f64).min(1.0),
        config.training.example_sampling,
        config.training.max_examples,
        account.accountant,
    );
    report.privacy.mechanism =
        "Gaussian, added by the server to the integer sum of clipped examples; tight PLD".to_owned();
    Ok(account.epsilon)
}
