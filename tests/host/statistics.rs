//! The whole path on the average: quantised and summed over many devices, the mean is the unquantised one.

use crate::device::play;
use crate::problem::{Examples, config, mlp, momentum, rng, server, settings};
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
    s.quantization = Quantization { step: 0.02, rounding: Rounding::Stochastic };
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

/// The same with rounding to the nearest is biased: the test above can fail.
#[test]
fn rounding_to_the_nearest_loses_what_is_small() {
    let mut s = settings();
    (s.training.batch, s.training.epochs, s.training.optimizer) = (64, 1, momentum(0.0));
    s.quantization = Quantization { step: 0.02, rounding: Rounding::Nearest };
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
