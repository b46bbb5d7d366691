//! The whole path on the average: quantised and summed over many devices, the mean is the unquantised one.

use crate::device::play;
use crate::problem::{Examples, config, mlp, momentum, pruned, rng, server, settings};
use crate::reference;
use siskin::checkin::{Quantization, Rounding};
use siskin::session::Outcome;

/// 400 devices with the same examples and different seeds, on a grid so coarse that most coordinates round to zero.
/// Per coordinate the mean of the reports is compared with the unquantised delta in its own standard errors; a sum of their
/// squares over all coordinates (chi-square, normal approximation) tells a bias that none shows alone.
#[test]
fn the_mean_of_stochastically_rounded_reports_is_unbiased() {
    let devices = 400;
    let mut s = settings();
    s.cohort = devices;
    (s.training.batch, s.training.epochs, s.training.optimizer) = (64, 1, momentum(0.0));
    s.quantization = Quantization { step: 0.02, rounding: Rounding::Stochastic, keep: 1.0 };
    let step = f64::from(s.quantization.step);
    let mut server = server(s.clone(), &mlp(), 1024);
    let before = server.model().params().to_vec();
    let live = vec![true; before.len()];
    let examples = Examples::new(&mlp(), 1, 20);
    let want = reference::delta(&before, &live, &[16, 12, 4], &s.training, &examples);
    assert!(want.iter().filter(|v| v.abs() < step / 2.0).count() > want.len() / 2, "the grid is coarse");
    let round = server.open().unwrap();
    for d in 0..u64::from(devices) {
        assert_eq!(play(&round, &config(1024), d, &mut examples.store()).outcome, Outcome::Accepted);
    }
    let closed = server.close(round, &mut rng(0)).unwrap();
    assert_eq!((closed.counts.accepted, closed.reclipped), (u64::from(devices), 0));
    let (mut chi, mut n, mut sum) = (0.0, 0.0, 0.0);
    for (i, want) in want.iter().enumerate() {
        let got = f64::from(before[i]) - f64::from(server.model().params()[i]);
        // One report is `step * (floor + Bernoulli(p))`.
        let p = (want / step).rem_euclid(1.0);
        let error = step * (p * (1.0 - p) / f64::from(devices)).sqrt();
        // Single precision of the training and of the model.
        let slack = 1e-6;
        assert!((got - want).abs() < 5.0 * error + slack, "param {i}: {got} for {want} +- {error}");
        if error > 100.0 * slack {
            let z = (got - want) / error;
            (chi, n, sum) = (chi + z * z, n + 1.0, sum + z);
        }
    }
    assert!(n > 100.0, "{n} coordinates are between grid points");
    // Two-sided alpha = 0.001.
    assert!(((chi - n) / (2.0 * n).sqrt()).abs() < 3.29, "chi-square {chi} of {n}");
    assert!((sum / n.sqrt()).abs() < 3.29, "{sum} of {n}");
}

/// The same where a report carries a quarter of the coordinates, on a grid whose step is longer than the whole delta, pruned and
/// not: what does not travel is made up for.
#[test]
fn the_mean_of_parts_is_unbiased() {
    for sparsity in [0.0, 0.6] {
        let (devices, keep, step) = (1000, 0.25, 0.15);
        let mut s = pruned(settings(), sparsity, 1.0);
        s.cohort = devices;
        (s.training.batch, s.training.epochs, s.training.optimizer) = (64, 1, momentum(0.0));
        s.quantization = Quantization { step, rounding: Rounding::Stochastic, keep };
        // Just above the norm: the device's bound and the server's have room for what rounding adds.
        s.privacy.clip_norm = 0.1;
        let mut server = server(s.clone(), &mlp(), 1024);
        let before = server.model().params().to_vec();
        let live: Vec<bool> = server.model().tensors().flat_map(|t| t.live.to_vec()).collect();
        let examples = Examples::new(&mlp(), 1, 20);
        let want = reference::delta(&before, &live, &[16, 12, 4], &s.training, &examples);
        let norm = want.iter().map(|v| v * v).sum::<f64>().sqrt();
        assert!((0.03..0.099).contains(&norm), "{norm}");
        let round = server.open().unwrap();
        for d in 0..u64::from(devices) {
            assert_eq!(play(&round, &config(1024), d, &mut examples.store()).outcome, Outcome::Accepted);
        }
        let closed = server.close(round, &mut rng(0)).unwrap();
        assert_eq!((closed.counts.accepted, closed.reclipped), (u64::from(devices), 0));
        let (mut chi, mut n, mut sum) = (0.0, 0.0, 0.0);
        for (i, want) in want.iter().enumerate().filter(|(i, _)| live[*i]) {
            let got = f64::from(before[i]) - f64::from(server.model().params()[i]);
            // One report is `step / keep * Bernoulli(keep |want| / step)`: all coordinates are below a step.
            let (step, p) = (f64::from(step), f64::from(keep) * want.abs() / f64::from(step));
            let error = step / f64::from(keep) * (p * (1.0 - p) / f64::from(devices)).sqrt();
            // Rare symbols are far from normal: Bernstein's bound at alpha = 1e-6 for each, and the sum for all.
            let bound = 5.0 * error + 5.0 * step / f64::from(keep) / f64::from(devices) + 1e-6;
            assert!((got - want).abs() < bound, "param {i}: {got} for {want} +- {error}");
            if p * f64::from(devices) > 1.0 {
                let z = (got - want) / error;
                (chi, n, sum) = (chi + z * z, n + 1.0, sum + z);
            }
        }
        assert!(n > 30.0, "{n} coordinates have symbols");
        // Two-sided alpha = 0.001; a Bernoulli's fourth moment widens the chi-square's, by 1 / (devices p) at most 1 of 3.
        assert!(((chi - n) / (3.0 * n).sqrt()).abs() < 3.29, "chi-square {chi} of {n}");
        assert!((sum / n.sqrt()).abs() < 3.29, "{sum} of {n}");
    }
}

/// The same for signs of rotated deltas: the mean of many reports comes near the delta as the root of their number, and the error of
/// one is that of a normal vector's largest tenth.
#[test]
fn the_mean_of_signs_is_unbiased() {
    let (devices, part) = (1000, 0.1);
    let mut s = settings();
    s.cohort = devices;
    (s.training.batch, s.training.epochs, s.training.optimizer) = (64, 1, momentum(0.0));
    s.quantization = Quantization { step: 1.0, rounding: Rounding::Rotated, keep: part };
    s.privacy.clip_norm = 0.2;
    let mut server = server(s.clone(), &mlp(), 1024);
    let before = server.model().params().to_vec();
    let live = vec![true; before.len()];
    let examples = Examples::new(&mlp(), 1, 20);
    let want = reference::delta(&before, &live, &[16, 12, 4], &s.training, &examples);
    let square = want.iter().map(|v| v * v).sum::<f64>();
    assert!((0.03..0.199).contains(&square.sqrt()), "{}", square.sqrt());
    let round = server.open().unwrap();
    for d in 0..u64::from(devices) {
        assert_eq!(play(&round, &config(1024), d, &mut examples.store()).outcome, Outcome::Accepted);
    }
    let closed = server.close(round, &mut rng(0)).unwrap();
    assert_eq!(closed.counts.accepted, u64::from(devices));
    let (mut error, mut along) = (0.0, 0.0);
    for (i, want) in want.iter().enumerate() {
        let got = f64::from(before[i]) - f64::from(server.model().params()[i]);
        error += (got - want).powi(2) / square;
        along += got * want / square;
    }
    // Each report's projection is the delta's square, but for its scale's 8 bits.
    assert!((along - 1.0).abs() < 1e-3, "{along}");
    // 4 phi(t)^2 / p = 0.425 at p = 0.1, so that an error of 1.35 is left. 256 squares of normal errors have a relative deviation of
    // 0.09, a rotation of 256 coordinates is not quite normal, and a bias of more than a fiftieth of the norm would show.
    assert_eq!(before.len(), 256);
    let stated = 1.0 / 0.425 - 1.0;
    assert!((error * f64::from(devices) / stated - 1.0).abs() < 0.35, "{} of {stated}", error * f64::from(devices));
}

/// The same for dither, with the steps that lose what is small below: half of what stochastic rounding would leave of it.
#[test]
fn the_mean_of_dithered_reports_is_unbiased() {
    let (devices, step) = (400, 0.02f32);
    let mut s = settings();
    s.cohort = devices;
    (s.training.batch, s.training.epochs, s.training.optimizer) = (64, 1, momentum(0.0));
    s.quantization = Quantization { step, rounding: Rounding::Dithered, keep: 1.0 };
    let mut server = server(s.clone(), &mlp(), 1024);
    let before = server.model().params().to_vec();
    let examples = Examples::new(&mlp(), 1, 20);
    let want = reference::delta(&before, &vec![true; before.len()], &[16, 12, 4], &s.training, &examples);
    let round = server.open().unwrap();
    for d in 0..u64::from(devices) {
        assert_eq!(play(&round, &config(1024), d, &mut examples.store()).outcome, Outcome::Accepted);
    }
    let closed = server.close(round, &mut rng(0)).unwrap();
    assert_eq!(closed.counts.accepted, u64::from(devices));
    let error = |i: usize| f64::from(before[i]) - f64::from(server.model().params()[i]) - want[i];
    let (n, squares) = (before.len() as f64, (0..before.len()).map(|i| error(i).powi(2)).sum::<f64>());
    let mean = (0..before.len()).map(error).sum::<f64>() / n;
    // Of a mean of uniform errors: their sum within 4 deviations; of their squares a normal one has a relative deviation of sqrt(2 / n).
    let variance = f64::from(step).powi(2) / 12.0 / f64::from(devices);
    assert!(mean.abs() < 4.0 * (variance / n).sqrt(), "{mean}");
    assert!((squares / n / variance - 1.0).abs() < 4.0 * (2.0 / n).sqrt(), "{}", squares / n / variance);
}

/// The same with rounding to the nearest is biased: the test above can fail.
#[test]
fn rounding_to_the_nearest_loses_what_is_small() {
    let mut s = settings();
    (s.training.batch, s.training.epochs, s.training.optimizer) = (64, 1, momentum(0.0));
    s.quantization = Quantization { step: 0.02, rounding: Rounding::Nearest, keep: 1.0 };
    let mut server = server(s.clone(), &mlp(), 1024);
    let before = server.model().params().to_vec();
    let examples = Examples::new(&mlp(), 1, 20);
    let want = reference::delta(&before, &vec![true; before.len()], &[16, 12, 4], &s.training, &examples);
    let round = server.open().unwrap();
    for d in 0..4 {
        assert_eq!(play(&round, &config(1024), d, &mut examples.store()).outcome, Outcome::Accepted);
    }
    assert!(server.close(round, &mut rng(0)).unwrap().stepped);
    let lost = (0..before.len()).filter(|i| want[*i] != 0.0 && before[*i] == server.model().params()[*i]).count();
    assert!(lost > before.len() / 3, "{lost}");
}
