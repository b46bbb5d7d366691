//! The noise hangs together as its matrix says, however the run goes.

use super::*;
use crate::aggregate::{Closed, NormBound, Sum, SumPlan};
use crate::privacy::NoiseMultiplier;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

/// Two-sided normal quantile of 1e-6 over 100: with so many covariances in a test, it fails a correct sampler less than once
/// in a million seeds. The seeds are fixed, so that a failure is a change of code and not of luck.
const Z: f64 = 5.731;

const NOISE_MULTIPLIER: f64 = 0.75;
const CLIP_NORM: f32 = 1.5;
const STEP: f32 = 0.01;
const MAX_WEIGHT: u32 = 3;

fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

fn rule() -> Participation {
    Participation::new(12, 4, 3).unwrap()
}

fn blt() -> Noise {
    Noise::Blt { blt: Blt::new(&[0.9, 0.3], &[0.25, 0.3]).unwrap(), participation: rule() }
}

fn tree(tree: Tree) -> Noise {
    Noise::Tree { tree, participation: rule() }
}

fn all_kinds() -> [Noise; 3] {
    [blt(), tree(Tree::Binary), tree(Tree::Honaker)]
}

fn state(noise: Noise, mask: &[bool]) -> CorrelatedNoise {
    let plan = noise.plan(NOISE_MULTIPLIER).unwrap().unwrap();
    CorrelatedNoise::new(plan, &bits(mask), mask.len()).unwrap()
}

fn bits(mask: &[bool]) -> Vec<u8> {
    mask.chunks(8).map(|c| c.iter().enumerate().fold(0, |byte, (i, &l)| byte | u8::from(l) << i)).collect()
}

fn promised(live: usize, noise_multiplier: f64, symbols: &[(usize, i32)]) -> PromisedSum {
    let bound = NormBound::new(CLIP_NORM, STEP).unwrap();
    let plan = SumPlan::new(bound, MAX_WEIGHT).unwrap().with_noise(NoiseMultiplier::new(noise_multiplier).unwrap());
    let mut sum = Sum::new(live, plan);
    sum.add(symbols.iter().copied(), 1).unwrap();
    match sum.close() {
        Closed::Promised(sum) => sum,
        Closed::Plain(_) => panic!("the plan promised noise"),
    }
}

/// What a round without any delta releases, in units of the grid.
fn release(noise: &mut CorrelatedNoise, rng: &mut ChaCha20Rng) -> Vec<i64> {
    let live = noise.carried();
    promised(live, NOISE_MULTIPLIER, &[]).correlate(noise, rng).unwrap().values().to_vec()
}

/// The prefix sums of what `rounds` rounds release over `n` coordinates, in units of zeta as the definition has it.
fn prefixes(noise: Noise, rounds: usize, n: usize, seed: u64) -> Vec<Vec<f64>> {
    let mut state = state(noise, &vec![true; n]);
    let sensitivity = state.plan().strategy().sensitivity(rule()).get();
    let zeta = NOISE_MULTIPLIER * sensitivity * f64::from(CLIP_NORM) * f64::from(MAX_WEIGHT);
    let (mut rng, mut sum) = (rng(seed), vec![0; n]);
    let mut prefix = |_| {
        for (sum, more) in sum.iter_mut().zip(release(&mut state, &mut rng)) {
            *sum += more;
        }
        sum.iter().map(|v| *v as f64 * f64::from(STEP) / 65536.0 / zeta).collect()
    };
    (0..rounds).map(&mut prefix).collect()
}

/// The greatest deviation of a sample covariance from the expected one, in standard deviations of it.
fn worst(samples: &[Vec<f64>], covariance: impl Fn(usize, usize) -> f64) -> f64 {
    let n = samples[0].len() as f64;
    let mut worst: f64 = 0.0;
    for s in 0..samples.len() {
        for t in 0..=s {
            let sample = samples[s].iter().zip(&samples[t]).map(|(a, b)| a * b).sum::<f64>() / n;
            let expected = covariance(s, t);
            // Isserlis: the variance of the product of two normal variables of mean 0.
            let deviation = ((covariance(s, s) * covariance(t, t) + expected * expected) / n).sqrt();
            worst = worst.max((sample - expected).abs() / deviation);
        }
    }
    worst
}

fn differences(prefixes: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let zero = vec![0.0; prefixes[0].len()];
    let before = [&zero].into_iter().chain(prefixes);
    prefixes.iter().zip(before).map(|(now, old)| now.iter().zip(old).map(|(a, b)| a - b).collect()).collect()
}

#[test]
fn blt_noise_has_the_covariance_of_the_inverse() {
    let (rounds, n) = (12, 40_000);
    let noise = blt();
    let Noise::Blt { blt, .. } = noise else { panic!("{noise:?}") };
    let d = blt.toeplitz(rounds as u32).inverse(rounds as u32);
    // C^-1 C^-T, and A C^-1 C^-T A^T of the prefix sums.
    let of = |d: &[f64], s: usize, t: usize| (0..=t.min(s)).map(|i| d[s - i] * d[t - i]).sum::<f64>();
    let b: Vec<f64> = d.iter().scan(0.0, |sum, d| Some(*sum + d).inspect(|next| *sum = *next)).collect();
    let prefixes = prefixes(noise, rounds, n, 1);
    let rows = differences(&prefixes);
    let z = worst(&rows, |s, t| of(&d, s, t));
    assert!(z < Z, "rounds: {z}");
    let z = worst(&prefixes, |s, t| of(&b, s, t));
    assert!(z < Z, "prefix sums: {z}");
    // White again after C; and the test sees what is not so: independent noise, and a fifth too much.
    let c = blt.toeplitz(rounds as u32);
    let white: Vec<Vec<f64>> =
        (0..rounds).map(|t| (0..n).map(|i| (0..=t).map(|s| c.coefs()[t - s] * rows[s][i]).sum()).collect()).collect();
    let identity = |s, t| if s == t { 1.0 } else { 0.0 };
    assert!(worst(&white, identity) < Z);
    assert!(worst(&white, |s, t| of(&d, s, t)) > 3.0 * Z && worst(&rows, identity) > 3.0 * Z);
    assert!(worst(&rows, |s, t| 1.2 * of(&d, s, t)) > 3.0 * Z);
}

#[test]
fn coordinates_are_independent() {
    // Neighbours, of one round and of the next; each correlation is about N(0, 1/n).
    let rows = prefixes(blt(), 6, 40_000, 2);
    for s in 0..6 {
        for t in 0..6 {
            let size = |row: &[f64]| (row.iter().map(|x| x * x).sum::<f64>() / row.len() as f64).sqrt();
            let product: f64 = rows[s].iter().zip(&rows[t][1..]).map(|(a, b)| a * b).sum();
            let r = product / 40_000.0 / (size(&rows[s]) * size(&rows[t]));
            assert!(r.abs() < Z / 200.0, "{s} {t}: {r}");
        }
    }
}

/// The nodes of the prefix sum of the first `t` rounds: level and last round.
fn nodes(t: usize) -> Vec<(u32, usize)> {
    let (mut nodes, mut end) = (Vec::new(), 0);
    for level in (0..usize::BITS).rev().filter(|level| t >> level & 1 == 1) {
        end += 1 << level;
        nodes.push((level, end));
    }
    nodes
}

#[test]
fn tree_noise_is_that_of_its_nodes() {
    for kind in [Tree::Binary, Tree::Honaker] {
        // Of two nodes, one in the other: an estimate is that of its halves times v / (2 v_below), level by level.
        let shared = |a: (u32, usize), b: (u32, usize)| -> f64 {
            let ((low, inner), (high, outer)) = if a.0 <= b.0 { (a, b) } else { (b, a) };
            let inside = inner <= outer && inner > outer - (1 << high);
            match kind {
                Tree::Binary => f64::from(u8::from(a == b)),
                Tree::Honaker if inside => {
                    let weight = |l: u32| kind.node_variance(l) / (2.0 * kind.node_variance(l - 1));
                    (low + 1..=high).map(weight).product::<f64>() * kind.node_variance(low)
                }
                Tree::Honaker => 0.0,
            }
        };
        let covariance = |s: usize, t: usize| {
            let (s, t) = (nodes(s + 1), nodes(t + 1));
            s.iter().flat_map(|a| t.iter().map(|b| shared(*a, *b))).sum::<f64>()
        };
        let prefixes = prefixes(tree(kind), 13, 30_000, 3);
        let z = worst(&prefixes, covariance);
        assert!(z < Z, "{kind:?}: {z}");
        assert!(worst(&differences(&prefixes), covariance) > 3.0 * Z);
        let error = kind.error(13);
        let variances: Vec<f64> = (0..13).map(|t| covariance(t, t)).collect();
        assert!((error.max - variances.iter().copied().fold(0.0, f64::max).sqrt()).abs() < 1e-12);
    }
}

#[test]
fn a_round_given_up_owes_its_noise() {
    for noise in all_kinds() {
        let run = |given_up: &[usize]| {
            let (mut state, mut rng) = (state(noise, &[true; 50]), rng(4));
            let mut sum = vec![0; 50];
            for round in 0..9 {
                if given_up.contains(&round) {
                    state.advance(&mut rng);
                } else {
                    sum.iter_mut().zip(release(&mut state, &mut rng)).for_each(|(sum, more)| *sum += more);
                }
            }
            sum
        };
        // Only the rounding to integers, one half a round, tells them apart.
        let whole = run(&[]);
        assert!(whole.iter().any(|x| x.abs() > 1000));
        assert!(whole.iter().zip(run(&[2, 3, 6])).all(|(a, b)| (a - b).abs() <= 9), "{noise:?}");
    }
}

#[test]
fn goes_on_from_its_state_and_from_no_other() {
    for noise in all_kinds() {
        let (mut state, mut rng) = (state(noise, &[true, false, true, true]), rng(5));
        for _ in 0..5 {
            release(&mut state, &mut rng);
        }
        state.advance(&mut rng);
        let text = serde_json::to_string(&state).unwrap();
        let mut back: CorrelatedNoise = serde_json::from_str(&text).unwrap();
        assert_eq!(back, state);
        let mut same = rng.clone();
        for _ in 0..4 {
            assert_eq!(release(&mut back, &mut same), release(&mut state, &mut rng));
        }
        let changed = |from: &str, to: &str| {
            assert!(text.contains(from), "{text}");
            serde_json::from_str::<CorrelatedNoise>(&text.replacen(from, to, 1)).is_err()
        };
        assert!(changed("\"mask\":[13]", "\"mask\":[5]"), "buffers of another size");
        assert!(changed("\"params\":4", "\"params\":40"), "a mask of another size");
        assert!(changed("\"buffers\":[", "\"buffers\":[[],"), "a buffer too many");
        assert!(changed("\"owed\":[", "\"owed\":[1,"), "a value too many");
    }
}

#[test]
fn a_param_that_dies_forgets_and_the_others_go_on() {
    let before = [true, true, false, true, false, true];
    let after = [true, false, true, true, false, true];
    for noise in all_kinds() {
        let (mut state, mut generator) = (state(noise, &before), rng(6));
        for _ in 0..3 {
            release(&mut state, &mut generator);
        }
        state.advance(&mut generator);
        let old = state.clone();
        state.follow(&bits(&after)).unwrap();
        for (new, old) in state.buffers.iter().chain([&state.owed]).zip(old.buffers.iter().chain([&old.owed])) {
            assert_eq!(new[..], [old[0], 0.0, old[2], old[3]], "{noise:?}");
        }
        // And back: what died is as new.
        state.follow(&bits(&before)).unwrap();
        assert!(state.buffers.iter().zip(&old.buffers).all(|(new, old)| new[..] == [old[0], 0.0, old[2], old[3]]));
        assert_eq!(release(&mut state, &mut generator).len(), 4);
        assert_eq!(state.follow(&[0; 7]), Err(StateError::Mask { params: 6, got: 7 }));
    }
    // A param that grows after eight rounds has the noise of a first round: variance 1, and nothing owed.
    let (n, mut generator) = (20_000, rng(7));
    let mut noise = state(blt(), &vec![false; n]);
    for _ in 0..8 {
        release(&mut noise, &mut generator);
    }
    noise.follow(&bits(&vec![true; n])).unwrap();
    noise.advance(&mut generator);
    let z = worst(std::slice::from_ref(&noise.owed), |_, _| 1.0);
    assert!(z < Z, "{z}");
}

#[test]
fn noise_is_added_to_the_sum_and_only_to_the_sum_that_it_is_for() {
    let mut noise = state(blt(), &[true; 3]);
    let twin = |noise: &CorrelatedNoise, symbols: &[(usize, i32)]| {
        let sum = promised(3, NOISE_MULTIPLIER, symbols);
        let noised = sum.correlate(&mut noise.clone(), &mut rng(8)).unwrap();
        (noised.values().to_vec(), noised.applied())
    };
    let ((without, _), (with, applied)) = (twin(&noise, &[]), twin(&noise, &[(0, 8), (2, -4)]));
    let difference: Vec<i64> = with.iter().zip(&without).map(|(a, b)| (a - b) >> 16).collect();
    assert_eq!(difference, [8, 0, -4]);
    let sensitivity = noise.plan().sensitivity().get();
    assert!(sensitivity > 1.0);
    assert_eq!(applied.sigma, NOISE_MULTIPLIER * sensitivity * 4.5);
    assert_eq!((applied.noise_multiplier, applied.coordinates), (NOISE_MULTIPLIER, 3));

    let other = promised(2, NOISE_MULTIPLIER, &[]).correlate(&mut noise, &mut rng(8));
    assert_eq!(other.err(), Some(NoiseError::Coordinates { expected: 3, got: 2 }));
    let other = promised(3, 0.5, &[]).correlate(&mut noise, &mut rng(8));
    assert_eq!(other.err(), Some(NoiseError::Promise { promised: 0.5, got: NOISE_MULTIPLIER }));
    let banded = Plan::new(Strategy::Toeplitz(siskin_accounting::correlated::Toeplitz::independent()), rule(), 1.0);
    assert_eq!(CorrelatedNoise::new(banded.unwrap(), &[7], 3), Err(StateError::Strategy));

    let huge = Noise::Blt { blt: Blt::new(&[0.5], &[0.5]).unwrap(), participation: rule() };
    let mut huge = CorrelatedNoise::new(huge.plan(1e18).unwrap().unwrap(), &[7], 3).unwrap();
    let refused = promised(3, 1e18, &[]).correlate(&mut huge, &mut rng(8));
    assert!(matches!(refused, Err(NoiseError::TooLarge { .. })));
}

#[test]
fn memory_is_the_buffers() {
    let live: Vec<bool> = (0..1000).map(|i| i % 5 == 0).collect();
    let mut noise = state(blt(), &live);
    assert_eq!(noise.bytes(), 200 * 2 * 8);
    release(&mut noise, &mut rng(9));
    assert_eq!(noise.bytes(), 200 * 2 * 8);
    let mut noise = state(tree(Tree::Binary), &live);
    for _ in 0..12 {
        release(&mut noise, &mut rng(9));
    }
    assert_eq!(noise.bytes(), 200 * 4 * 8);
}

/// Bits that must be the same on every platform, or a resumed server would go on with other params.
#[test]
fn noise_does_not_depend_on_the_platform() {
    let run = |noise| {
        let (mut state, mut rng) = (state(noise, &[true; 2]), rng(10));
        (0..4).flat_map(|_| release(&mut state, &mut rng)).collect::<Vec<i64>>()
    };
    let [blt, binary, honaker] = all_kinds().map(run);
    assert_eq!(blt, [-21467078, 85838630, 43304300, -45823246, -97717479, -67111691, 101645560, 125266607]);
    assert_eq!(binary, [-30032511, 120088519, 74097485, -118146703, -112846739, -91320366, 147986481, 220354379]);
    assert_eq!(honaker, [-30032511, 120088519, 36004543, -178554837, 79204716, 130975829, -144342669, -4686099]);
}
