//! A save that was made before the plan came, restored more than once: what is sent twice is not of one noise.

use crate::kill::{FRAME, SEED, World, play_killed};
use crate::problem::{Profile, profiles};
use siskin::quantize::Carried;
use siskin::range_coder::{EntropyCoder, RowColumn};
use siskin::report::{ROTATED_COLUMNS, Report};

/// The symbols of the report of a session that was saved before it had a plan.
fn symbols(profile: &Profile, saved: &[u8], examples: u64) -> Vec<i64> {
    let round = profile.round(FRAME);
    let examples = profile.examples(examples);
    let mut world = World::new(&round, &examples);
    play_killed(&mut world, Some(saved.to_vec()), &|_| false);
    let bytes = world.report.expect("a report");
    let offer = &round.offer;
    let mut symbols = vec![0; offer.plan.symbols(offer.graph.live)];
    let mut scratch = vec![0; RowColumn::required_scratch(ROTATED_COLUMNS)];
    let each = |at: usize, symbol: i32| symbols[at] = i64::from(symbol);
    Report::parse(&bytes)
        .unwrap()
        .symbols(&offer.graph, &offer.patterns(), (&Carried::All, offer.start()), &mut scratch, each)
        .unwrap();
    symbols
}

#[test]
fn another_plan_or_delta_gets_other_noise() {
    let mut noisy: Vec<Profile> = profiles();
    noisy.retain(|p| p.settings.privacy.noise_on_device());
    assert!(noisy.len() >= 5);
    for mut profile in noisy {
        let round = profile.round(FRAME);
        let examples = profile.examples(SEED);
        let mut world = World::new(&round, &examples);
        play_killed(&mut world, None, &|_| false);
        let before_the_plan = world.saves[0].clone();
        let first = symbols(&profile, &before_the_plan, SEED);
        assert_eq!(first, symbols(&profile, &before_the_plan, SEED), "{}: the same again", profile.name);

        // The steps of noise are of a deviation of some tens: of two that are independent few agree.
        let agree = |other: &[i64]| first.iter().zip(other).filter(|(a, b)| a == b).count();
        let few = first.len() / 4;
        let changed = symbols(&profile, &before_the_plan, SEED + 1);
        assert!(agree(&changed) < few, "{}: {} of {} for other examples", profile.name, agree(&changed), first.len());
        // Nothing that the delta hangs on.
        profile.settings.upload.max_bytes += 1;
        let changed = symbols(&profile, &before_the_plan, SEED);
        assert!(agree(&changed) < few, "{}: {} of {} for another plan", profile.name, agree(&changed), first.len());
    }
}
