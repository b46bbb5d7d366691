//! Correlated noise: trees, bands, BLT. Rounds, separation and participations are parts of it.

use super::flags::Given;
use super::mechanism::{Known, Mechanism, Shape};
use super::{AccountError, Statement};
use siskin_accounting::correlated::{Blt, MAX_BUFFERS, Objective, Participation, Strategy, Toeplitz, Tree};
use siskin_accounting::{Adjacency, Composition, Method, Release};

/// Rounds beyond it take too long to optimise and to bound.
const MOST_ROUNDS: u64 = 20_000;

pub(super) fn shape(known: Known, given: &Given, rounds: u64, noise: f64) -> Result<Shape, AccountError> {
    if !given.has("separation") && !given.has("participations") {
        return Err(AccountError::Missing {
            flag: "separation",
            mechanism: format!("mechanism {}", known.name),
            what: "or --participations: how soon again, or how often, a user may take part",
        });
    }
    let whole = |flag: &'static str, got: u64, most: u64| {
        let refused = AccountError::Flag { flag, value: got.to_string(), message: format!("must be at most {most}") };
        u32::try_from(got).ok().filter(|n| u64::from(*n) <= most).ok_or(refused)
    };
    let n = whole("rounds", rounds, MOST_ROUNDS)?;
    // Longer than the run is once in the run.
    let b = u32::try_from(given.count("separation")?.unwrap_or(1).min(u64::from(n))).unwrap_or(n);
    let k = match given.count("participations")? {
        Some(k) => whole("participations", k, u64::from(u32::MAX))?,
        None => n.div_ceil(b),
    };
    let rule = Participation::new(n, b, k)?;
    let strategy = match known.name {
        "tree" => Strategy::Tree(Tree::Honaker),
        "banded" => {
            let bands = whole("bands", given.count("bands")?.unwrap_or(u64::from(b)), u64::from(n))?;
            Strategy::Toeplitz(Toeplitz::banded(n, bands, Objective::Rms)?)
        }
        _ => {
            let buffers = whole("buffers", given.count("buffers")?.unwrap_or(2), MAX_BUFFERS as u64)?;
            Strategy::Blt(Blt::optimized(rule, buffers as usize, Objective::Max)?)
        }
    };
    Ok(Shape::Correlated { strategy, rule, noise })
}

/// Who takes part when is public here, and one user's coming changes nobody else's turn only if the schedule is fixed.
pub(super) fn refuse_add_remove(name: &'static str, adjacency: Adjacency) -> Result<(), AccountError> {
    if adjacency != Adjacency::AddOrRemove {
        return Ok(());
    }
    Err(AccountError::Flag {
        flag: "adjacency",
        value: "add-remove".into(),
        message: format!("who takes part when is public under {name}: zero-out and replace-one have a bound"),
    })
}

pub(super) fn account(
    mechanism: &Mechanism,
    strategy: &Strategy,
    rule: Participation,
    noise: f64,
    adjacency: Adjacency,
    dp_delta: f64,
    method: Method,
) -> Result<Statement, AccountError> {
    refuse_add_remove(mechanism.known.name, adjacency)?;
    // The whole run is one Gaussian of noise multiplier z.
    let one = Composition::of(adjacency, Release::Gaussian { noise_multiplier: noise }, 1);
    let mut account = one.account_by(dp_delta, method)?;
    account.rounds = rule.rounds().into();
    let sensitivity = strategy.sensitivity(rule);
    let error = strategy.error(rule.rounds());
    let scale = noise * sensitivity.get();
    let parameters = serde_json::json!({
        "strategy": strategy,
        "participation": rule,
        "noise_multiplier": noise,
        "sensitivity": sensitivity.get(),
        "sensitivity_is_exact": sensitivity.exact,
        "sigma_over_clip_norm": scale,
        "prefix_error_rms": scale * error.rms,
        "prefix_error_max": scale * error.max,
    });
    Ok(Statement::of(&account, mechanism.known.name, parameters, mechanism.assumptions(adjacency)))
}
