//! Level 1, the sensitivity: what one device can do to the sum, whatever it sends. On the integers before the noise, exactly; and
//! end to end, with the same noise on both sides, which cancels in the difference.

use super::canary::Seeds;
use super::check::{Check, Level, Verdict};
use super::mechanism::{Claim, Device, Mechanism, OverRounds, Run, Update};
use super::noise::silent;
use super::statistics::chi_square_two_sided;
use super::{AuditError, Settings, Watch};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use siskin::checkin::Profile;
use std::sync::Arc;

/// The number of the device whose presence is looked at; the others count from 0.
const STRANGER: u64 = 1 << 40;

/// Random updates beside the named ones.
const RANDOM: u64 = 24;

/// Rounding of the released f32, over the clip norm: the difference of two means of at most some ten thousand deviations.
const ROUNDING: f64 = 1e-3;

/// Runs it.
///
/// # Errors
/// [`AuditError`] if the mechanism fails.
pub fn audit(mechanism: &dyn Mechanism, settings: &Settings, watch: Watch<'_>) -> Result<Vec<Check>, AuditError> {
    // A share of the params is enough: what a bound does does not depend on their number.
    let dim = settings.dim.min(4000);
    let cohort = settings.devices;
    let claim = settings.claim(dim, cohort, settings.rounds, settings.rounds)?.with_shares(cohort / 2);
    let seeds = Seeds::new(settings.seed, Level::Unit);
    let base: Vec<Device> = (0..u64::from(cohort) / 2)
        .map(|number| Device { number, update: Update::Ordinary(seeds.ordinary(number)) })
        .collect();
    let attacks = attacks(&claim, settings.seed);
    let all = attacks.len() as u64 + 4;
    let mut checks = Vec::new();

    let mut run = mechanism.start(&claim, settings.seed)?;
    let without = run.integers(&base)?;
    let bound = f64::from(claim.clip_norm) / without.unit;
    // What the bound allows, exactly but for the last digits of an f64.
    let most = (bound * bound).floor() as u128;
    let mut worst: (f64, &str) = (0.0, "none");
    let mut exceeded = Vec::new();
    for (done, (name, update)) in attacks.iter().enumerate() {
        watch("sensitivity", done as u64, all);
        let with = run.integers(&with_stranger(&base, update))?;
        let squares = squares_of_difference(&with.sum, &without.sum);
        let norm = (squares as f64).sqrt() / bound;
        if norm > worst.0 {
            worst = (norm, name);
        }
        if squares > most {
            exceeded.push(*name);
        }
    }
    let seen = match exceeded.first() {
        None => format!("at most {:.6} clip norms, by {}", worst.0, worst.1),
        Some(first) => {
            format!(
                "{} of {} updates, {first} first; {:.4} clip norms by {}",
                exceeded.len(),
                attacks.len(),
                worst.0,
                worst.1
            )
        }
    };
    let name = "one device moves the integer sum by at most the clip norm";
    let claimed = format!("1 clip norm, exactly, for {} updates", attacks.len());
    checks.push(Check::new(Level::Unit, name, seen, claimed, Verdict::Exact(exceeded.is_empty())));

    watch("sensitivity", all - 4, all);
    // A device keys its noise by what it says, so that there it does not cancel: the integers before it are judged above.
    if claim.profile == Profile::Central {
        checks.push(release(mechanism, &claim, settings, &base, &attacks)?);
    }
    watch("sensitivity", all - 3, all);
    checks.push(denominator(mechanism, &claim, settings, &base)?);
    watch("sensitivity", all - 2, all);
    checks.push(twice(mechanism, &claim, settings, &base)?);
    watch("sensitivity", all - 1, all);
    checks.push(participations(mechanism, &claim, settings)?);
    watch("sensitivity", all, all);
    Ok(checks)
}

/// Hostile updates by name.
fn attacks(claim: &Claim, seed: u64) -> Vec<(&'static str, Update)> {
    let d = claim.coordinates;
    let all = |value: f32| Update::Raw(vec![value; d].into());
    let one = |value: f32, rest: f32| {
        let mut values = vec![rest; d];
        values[d / 3] = value;
        Update::Raw(values.into())
    };
    let alternating = |value: f32| Update::Raw((0..d).map(|i| if i % 2 == 0 { value } else { -value }).collect());
    let symbols = |of: &dyn Fn(usize) -> i32| Update::Forged((0..d).map(of).collect::<Arc<[i32]>>());
    let largest = (1 << 24) - 1;
    // Just above the bound in many params, where every rounding up lengthens it.
    let on_the_bound = (f64::from(claim.clip_norm) / (d as f64).sqrt()) as f32;
    let mut attacks = vec![
        ("all zero", Update::Zero),
        ("all 1e30", all(1e30)),
        ("one 1e30", one(1e30, 0.0)),
        ("one 1e30 among ones", one(1e30, 1.0)),
        ("largest finite numbers of both signs", alternating(f32::MAX)),
        ("NaN in one param", one(f32::NAN, 1.0)),
        ("all NaN", all(f32::NAN)),
        ("infinity in one param", one(f32::INFINITY, 0.0)),
        ("all minus infinity", all(f32::NEG_INFINITY)),
        ("denormals", all(f32::from_bits(3))),
        ("a denormal among zeros", one(f32::from_bits(1), 0.0)),
        ("on the bound", all(on_the_bound)),
        ("just above the bound", all(on_the_bound * 1.000_001)),
        ("one param of a clip norm", one(claim.clip_norm, 0.0)),
        ("one param of 1000 clip norms", one(1000.0 * claim.clip_norm, 0.0)),
        ("half a step in every param", all(0.5 * claim.step)),
        ("a canary", Update::Canary(seed ^ 0xca)),
        ("a forged report: the largest symbols", symbols(&|_| largest)),
        ("a forged report: one largest symbol", symbols(&|i| if i == 7 { -largest } else { 0 })),
        ("a forged report: symbols of both signs", symbols(&|i| if i % 3 == 0 { largest } else { -1 })),
        ("a forged report: ones", symbols(&|_| 1)),
    ];
    // Where devices add noise the server cannot tell what they clipped: a device that lies moves the sum.
    if claim.profile != Profile::Central {
        attacks.retain(|(_, update)| !matches!(update, Update::Forged(_)));
    }
    for index in 0..RANDOM {
        attacks.push(("a random update", random(d, seed ^ (index << 32), claim.clip_norm)));
    }
    attacks
}

/// A random scale between 10^-8 and 10^12 clip norms, a random share of zeros.
fn random(d: usize, seed: u64, clip_norm: f32) -> Update {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut uniform = || rng.next_u32() as f32 / 4_294_967_296.0;
    let scale = clip_norm * libm::powf(10.0, 20.0 * uniform() - 8.0);
    let live = uniform() * uniform();
    Update::Raw((0..d).map(|_| if uniform() < live { scale * (2.0 * uniform() - 1.0) } else { 0.0 }).collect())
}

fn with_stranger(base: &[Device], update: &Update) -> Vec<Device> {
    let stranger = Device { number: STRANGER, update: update.clone() };
    base.iter().cloned().chain([stranger]).collect()
}

fn squares_of_difference(a: &[i64], b: &[i64]) -> u128 {
    // A broken mechanism may be far out: then the sum saturates, and that is above every bound too.
    let square = |a: i64, b: i64| u128::from(a.abs_diff(b)).saturating_mul(u128::from(a.abs_diff(b)));
    a.iter().zip(b).fold(0u128, |sum, (a, b)| sum.saturating_add(square(*a, *b)))
}

fn norm_of_difference(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt()
}

/// The first round's release with this cohort and the audit's noise.
fn first(mechanism: &dyn Mechanism, claim: &Claim, seed: u64, devices: &[Device]) -> Result<Vec<f64>, AuditError> {
    mechanism.start(claim, seed)?.round(devices)
}

fn release(
    mechanism: &dyn Mechanism,
    claim: &Claim,
    settings: &Settings,
    base: &[Device],
    attacks: &[(&'static str, Update)],
) -> Result<Check, AuditError> {
    let without = first(mechanism, claim, settings.seed, base)?;
    let mut worst: (f64, &str) = (0.0, "none");
    // Every third: these are whole rounds.
    for (name, update) in attacks.iter().filter(|(_, update)| !matches!(update, Update::Forged(_))).step_by(3) {
        let with = first(mechanism, claim, settings.seed, &with_stranger(base, update))?;
        let norm = norm_of_difference(&with, &without) * f64::from(claim.cohort) / f64::from(claim.clip_norm);
        // A NaN is worse than everything.
        if norm.is_nan() || norm > worst.0 {
            worst = (if norm.is_nan() { f64::INFINITY } else { norm }, name);
        }
    }
    let name = "with the same noise, one device moves the release by at most the clip norm";
    let seen = format!("{:.6} clip norms over the cohort, by {}", worst.0, worst.1);
    Ok(Check::new(Level::Unit, name, seen, "1".to_owned(), Verdict::Exact(worst.0 <= 1.0 + ROUNDING)))
}

fn denominator(
    mechanism: &dyn Mechanism,
    claim: &Claim,
    settings: &Settings,
    base: &[Device],
) -> Result<Check, AuditError> {
    let without = first(mechanism, claim, settings.seed, base)?;
    let with = first(mechanism, claim, settings.seed, &with_stranger(base, &Update::Zero))?;
    if claim.profile != Profile::Central {
        let scale = f64::from(claim.cohort) / claim.sigma(1);
        let squares = (norm_of_difference(&with, &without) * scale).powi(2);
        let n = claim.coordinates as f64;
        let name = "a report of zeros changes the release by its own noise: the denominator is fixed";
        let seen = format!("deviation {:.5} of the claimed one", (squares / n).sqrt());
        let verdict = Verdict::Probability(chi_square_two_sided(squares, n));
        return Ok(Check::new(Level::Unit, name, seen, "1".to_owned(), verdict));
    }
    let moved = with.iter().zip(&without).filter(|(a, b)| a != b).count();
    let name = "a report of zeros changes nothing: the denominator is fixed";
    let seen = format!("{moved} of {} params of the release change", claim.coordinates);
    Ok(Check::new(Level::Unit, name, seen, "0".to_owned(), Verdict::Exact(moved == 0)))
}

fn twice(mechanism: &dyn Mechanism, claim: &Claim, settings: &Settings, base: &[Device]) -> Result<Check, AuditError> {
    let once = with_stranger(base, &Update::Canary(settings.seed ^ 0x2));
    let mut again = once.clone();
    again.extend(once.last().cloned());
    let once = first(mechanism, claim, settings.seed, &once)?;
    let twice = first(mechanism, claim, settings.seed, &again)?;
    let moved = once.iter().zip(&twice).filter(|(a, b)| a != b).count();
    let name = "a report that is sent twice counts once";
    let seen = format!("{moved} of {} params of the release change", claim.coordinates);
    Ok(Check::new(Level::Unit, name, seen, "0".to_owned(), Verdict::Exact(moved == 0)))
}

/// A device that tries to take part in every round counts in as many as were promised.
fn participations(mechanism: &dyn Mechanism, claim: &Claim, settings: &Settings) -> Result<Check, AuditError> {
    let rounds = 4;
    let all = settings.claim(claim.coordinates, claim.cohort, rounds, rounds)?.with_shares(claim.cohort / 2);
    // Where a mechanism can keep a device out, it is asked to do so half of the time; a rule of its own does so anyway.
    let capped = match all.over_rounds {
        OverRounds::Independent => Claim { participations: rounds / 2, ..all.clone() },
        OverRounds::Blt { .. } | OverRounds::Tree { .. } => all.clone(),
    };
    let (claim, enforced) = match mechanism.start(&capped, settings.seed) {
        Ok(_) => (capped, true),
        Err(AuditError::Claim(_)) => (all, false),
        Err(e) => return Err(e),
    };
    let mut with: Box<dyn Run> = mechanism.start(&claim, settings.seed)?;
    let mut without = mechanism.start(&claim, settings.seed)?;
    let mut counted = 0;
    for round in 0..rounds {
        // Others each time, so that no cap keeps them away.
        let others: Vec<Device> = silent(&claim, claim.cohort / 2, round)
            .into_iter()
            .map(|device| Device { number: device.number | u64::from(round) << 32, ..device })
            .collect();
        let both = with_stranger(&others, &Update::Canary(settings.seed ^ 0x3));
        let norm = norm_of_difference(&with.round(&both)?, &without.round(&others)?);
        counted += u32::from(norm * f64::from(claim.cohort) > ROUNDING * f64::from(claim.clip_norm));
    }
    let name = "a device counts in no more rounds than promised";
    let seen = format!("in {counted} of {rounds} rounds");
    let promised = claim.participations;
    let claimed =
        if enforced { format!("at most {promised}") } else { format!("at most {promised}: no cap is promised") };
    Ok(Check::new(Level::Unit, name, seen, claimed, Verdict::Exact(counted <= promised)))
}
