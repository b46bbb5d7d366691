use super::*;
use crate::compare_privacy::{Verdict, conclude};
use std::sync::OnceLock;

/// Computed once for all tests.
fn quick() -> &'static Report {
    static QUICK: OnceLock<Report> = OnceLock::new();
    QUICK.get_or_init(|| run(&Options::quick(), &Common { seed: 1, dp_delta: 1e-5 }, || ()).unwrap())
}

fn of(report: &Report, correlation: f64, epsilon: f64, method: Method) -> Vec<Cell> {
    let is = |c: &&Cell| c.correlation == correlation && c.epsilon == epsilon && c.method == method;
    report.cells.iter().filter(is).copied().collect()
}

#[test]
fn groups_help_diverse_users_and_not_identical_ones() {
    let report = quick();
    for setting in report.settings() {
        let found = conclude(&setting).unwrap();
        if setting.name == kind_of(1.0) {
            assert_eq!((found.uls_group, found.group_gains), (1, false), "{}", found.text);
            assert_ne!(found.verdict, Verdict::Uls, "{}", found.text);
        } else {
            assert!(found.uls_group > 1 && found.group_gains, "{}", found.text);
            assert_eq!(found.verdict, Verdict::Uls, "{}", found.text);
        }
    }
    // Of identical examples more a user are nothing but fewer users.
    for epsilon in [1.0, 4.0] {
        let errors: Vec<f64> = of(report, 1.0, epsilon, Method::Uls).iter().map(|c| c.error.mean).collect();
        assert!(errors.is_sorted(), "{errors:?}");
    }
}

#[test]
fn what_is_measured_is_what_was_predicted() {
    let report = quick();
    assert_eq!(report.cells.len(), 2 * 2 * 2 * 3);
    let dims = f64::from(report.options.dims);
    for cell in &report.cells {
        // A chi-square of `dims` degrees of freedom, eight times: five standard deviations.
        let noise = cell.noise.mean / cell.predicted_noise;
        assert!((noise - 1.0).abs() < 5.0 * (2.0 / (8.0 * dims)).sqrt(), "{cell:?}");
        let error = cell.error.mean / cell.predicted_error;
        assert!((0.6..1.5).contains(&error), "{error}: {cell:?}");
    }
    // One example a user is one user: the same noise.
    let (els, uls) = (of(report, 0.0, 4.0, Method::Els)[0], of(report, 0.0, 4.0, Method::Uls)[0]);
    assert!((els.noise_multiplier / uls.noise_multiplier - 1.0).abs() < 1e-3);
}

#[test]
fn the_result_hangs_on_the_seed_and_not_on_threads() {
    let options = Options { users: 200, batch: 16, steps: 10, epsilons: vec![4.0], ..Options::quick() };
    let with = |seed, threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let count = std::sync::atomic::AtomicU64::new(0);
        let done = || _ = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let report = pool.install(|| run(&options, &Common { seed, dp_delta: 1e-5 }, done)).unwrap();
        assert_eq!(count.into_inner(), work(&options));
        report
    };
    let one = with(7, 1);
    assert_eq!(one, with(7, 3));
    assert_ne!(one, with(8, 1));
}

#[test]
fn settings_that_make_no_sense_are_named() {
    let refused = |change: fn(&mut Options), words: &[&str]| {
        let mut options = Options::quick();
        change(&mut options);
        let text = run(&options, &Common { seed: 1, dp_delta: 1e-5 }, || ()).unwrap_err().to_string();
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    };
    refused(|o| o.epsilons = vec![-1.0], &["epsilon -1"]);
    refused(|o| o.epsilons = vec![f64::NAN], &["epsilon NaN"]);
    refused(|o| o.groups = vec![3], &["group 3", "divisor"]);
    refused(|o| o.groups = vec![32], &["group 32", "a user's examples"]);
    refused(|o| o.users = 100, &["cohort 128", "users"]);
    refused(|o| o.correlations = vec![1.5], &["correlation 1.5"]);
    refused(|o| o.repetitions = 1, &["repetitions 1", "error bar"]);
}
