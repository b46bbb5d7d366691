use super::network::norm;
use super::*;
use crate::data::text;
use std::io::Write;

/// Users who count in three letters, in the direction that most of them have.
fn counting() -> Federated {
    let dir = std::env::temp_dir().join(format!(
        "siskin-compare-privacy-{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    std::fs::create_dir_all(&dir).unwrap();
    let file = dir.join("count.tsv");
    let mut out = std::fs::File::create(&file).unwrap();
    writeln!(out, "user\ttext").unwrap();
    for line in 0..10 {
        for user in 0..80 {
            let letters: String = (0..15).map(|i| ["a", "b", "c"][(user + line + i) % 3]).collect();
            writeln!(out, "{user}\t{letters}").unwrap();
        }
    }
    drop(out);
    let data = text::load(&file, &text::Options { window: 16, hold_out: 0.2 }).unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
    data
}

fn small() -> Options {
    Options { pretraining_steps: 20, batch: 16, steps: 8, groups: vec![1, 4], epsilons: vec![8.0], ..Options::quick() }
}

#[test]
fn users_are_public_or_protected_and_never_both() {
    let data = counting();
    let users = Users::part(&data, 0.25, 1000, 3).unwrap();
    assert_eq!((users.public.len(), users.private.len()), (20, 60));
    assert!(users.public.iter().all(|user| !users.private.contains(user)));
    // Two held-out lines of 16 symbols are two windows.
    assert_eq!((users.public_test.len(), users.private_test.len()), (40, 120));
    assert!(users.public_test.iter().all(|test| !users.private_test.contains(test)));
    assert_eq!(users.median_examples(&data), 8);
    assert_eq!(Users::part(&data, 0.25, 10, 3).unwrap().private_test.len(), 10);
    assert_eq!(Users::part(&data, 1.0, 10, 3), None);
}

#[test]
fn a_gradient_of_several_is_the_mean_of_theirs() {
    let data = counting();
    let network = Network::new("embedding:4,gru:6,point", &data, 1).unwrap();
    let mut worker = network.worker(2);
    let mut of = |examples: &[(u32, u32)]| {
        network.gradient(&mut worker, &network.start, &data, examples);
        worker.gradient.clone()
    };
    let (a, b, both) = (of(&[(0, 1)]), of(&[(5, 2)]), of(&[(0, 1), (5, 2)]));
    let off: Vec<f32> = both.iter().zip(a.iter().zip(&b)).map(|(both, (a, b))| both - 0.5 * (a + b)).collect();
    assert!(norm(&both) > 1e-3 && norm(&off) < 1e-5 * norm(&both), "{} {}", norm(&off), norm(&both));
}

#[test]
fn fine_tuning_learns_without_noise_and_not_under_much() {
    let data = counting();
    let common = Common { seed: 1, dp_delta: 1e-5 };
    let options = Options { rates: vec![0.02], pretraining_steps: 1, steps: 30, epsilons: vec![0.05], ..small() };
    let report = run(&options, &data, &common, || ()).unwrap();
    let none = report.runs[0];
    assert_eq!((none.method, none.epsilon, none.noise_multiplier), (Method::None, None, None));
    assert!(none.accuracy.mean > report.pretrained + 0.1, "{report:?}");
    for private in &report.runs[1..] {
        assert!(
            private.noise_to_clip.unwrap() > 1.0 && private.accuracy.mean < none.accuracy.mean - 0.1,
            "{private:?}"
        );
    }
}

#[test]
fn every_way_takes_as_many_gradients_and_the_same_for_any_number_of_threads() {
    let data = counting();
    let options = Options { steps: 40, ..small() };
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let count = std::sync::atomic::AtomicU64::new(0);
        let done = || _ = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let common = Common { seed: 1, dp_delta: 1e-5 };
        let report = pool.install(|| run(&options, &data, &common, done)).unwrap();
        assert_eq!(count.into_inner(), work(&options));
        report
    };
    let report = with(1);
    assert_eq!(report, with(3));
    assert_eq!(report.runs.len(), 1 + 1 + 2);
    for run in &report.runs {
        // 120 steps; with 4 gradients a coin the sum's standard deviation is below 4 sqrt(120 * 4).
        assert!((run.gradients - 16.0).abs() < 4.0 * 4.0 * f64::sqrt(120.0 * 4.0) / 120.0, "{run:?}");
    }
    let found = super::super::conclude(&report.settings()[0]).unwrap();
    assert!(found.text.starts_with("fine-tuning on text, epsilon 8: "), "{}", found.text);
    let needed = report.runs[2].users_for_epsilon_1;
    assert!(needed.is_none_or(|users| users > report.users as u64), "{needed:?}");
}

#[test]
fn settings_that_make_no_sense_are_named() {
    let data = counting();
    let refused = |change: fn(&mut Options), words: &[&str]| {
        let mut options = small();
        change(&mut options);
        let text = run(&options, &data, &Common { seed: 1, dp_delta: 1e-5 }, || ()).unwrap_err().to_string();
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    };
    refused(|o| o.public = 1.5, &["public users 1.5"]);
    refused(|o| o.batch = 128, &["cohort 128", "protected users"]);
    refused(|o| o.groups = vec![3], &["group 3", "divisor"]);
    refused(|o| o.rates = vec![-1.0], &["learning rate -1"]);
    refused(|o| o.model = "gru:4,point".into(), &["embedding:D"]);
}
