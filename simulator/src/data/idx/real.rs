//! The shared data sets, where they are at hand: counts as their README gives them.

use super::{Options, load};
use crate::data::Federated;
use std::path::{Path, PathBuf};

fn shared(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("SISKIN_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"), PathBuf::from);
    let folder = root.join("data").join(name);
    if !folder.is_dir() {
        println!("skipped: {} not found (set SISKIN_SHARED)", folder.display());
        return None;
    }
    Some(folder)
}

/// Mean and standard deviation of each channel over all devices' training features, and the extremes.
fn moments(set: &Federated) -> (Vec<(f64, f64)>, f32, f32) {
    let mut features = vec![0.0; set.features_per_example()];
    let plane = set.shape.height * set.shape.width;
    let mut sums = vec![(0.0, 0.0); set.shape.channels];
    let (mut least, mut most, mut count) = (f32::INFINITY, f32::NEG_INFINITY, 0);
    for device in 0..set.devices() {
        for i in 0..set.examples(device) {
            set.fill(device, i, &mut features);
            count += plane;
            for (sum, values) in sums.iter_mut().zip(features.chunks_exact(plane)) {
                for &v in values {
                    (least, most) = (least.min(v), most.max(v));
                    sum.0 += f64::from(v);
                    sum.1 += f64::from(v) * f64::from(v);
                }
            }
        }
    }
    let n = count as f64;
    (sums.iter().map(|s| (s.0 / n, (s.1 / n - s.0 / n * (s.0 / n)).sqrt())).collect(), least, most)
}

#[test]
fn mnist_has_the_published_writers() {
    let Some(folder) = shared("mnist-by-writer") else { return };
    let set = load(&folder, &Options { personal: 0.1, ..Options::default() }).expect("loads");
    let summary = set.summary();
    println!("{summary}\n{} bytes in all", set.heap_bytes());
    assert_eq!((summary.users, summary.examples + summary.personal_tests), (539, 60_000));
    assert_eq!((summary.test_users, summary.test_examples, summary.test_users_that_train), (297, 10_000, 0));
    assert_eq!((summary.shape, summary.classes), ([1, 28, 28], 10));
    let mut sizes: Vec<usize> = (0..539).map(|d| set.examples(d) + set.personal_tests(d)).collect();
    sizes.sort_unstable();
    assert_eq!((sizes[0], sizes[269], sizes[538]), (19, 116, 131));
    assert!((0..539).all(|d| set.personal_tests(d) == (set.examples(d) + set.personal_tests(d)) / 10));
    // The known counts of digits 0 to 9 in MNIST's test set.
    assert_eq!(summary.test_labels, [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]);
    // Known mean and deviation of the pixels: 0.1307 and 0.3081; a tenth of them is held out here.
    let (moments, least, most) = moments(&set);
    assert!((moments[0].0 - 0.1307).abs() < 0.001 && (moments[0].1 - 0.3081).abs() < 0.001, "{moments:?}");
    assert_eq!((least, most), (0.0, 1.0));
}

#[test]
fn hapt_holds_out_its_last_nine_subjects() {
    let Some(folder) = shared("hapt-har") else { return };
    let set = load(&folder, &Options::default()).expect("loads");
    let summary = set.summary();
    println!("{summary}\n{} bytes in all", set.heap_bytes());
    assert_eq!((summary.users, summary.test_users, summary.examples + summary.test_examples), (21, 9, 10_411));
    // The file numbers subjects from 0: subject 22 is user 21.
    assert_eq!((0..21).map(|d| set.user(d)).collect::<Vec<_>>(), (0..21).collect::<Vec<_>>());
    assert_eq!(set.test.users().iter().map(|u| u.user).collect::<Vec<_>>(), (21..30).collect::<Vec<_>>());
    assert_eq!((summary.shape, summary.classes, summary.labels_only_in_test), ([6, 1, 128], 6, 0));
    assert!(summary.least >= 284 && summary.most <= 413);
    for (mean, deviation) in moments(&set).0 {
        assert!(mean.abs() < 1e-4 && (deviation - 1.0).abs() < 1e-4, "{mean} {deviation}");
    }
    // Gravity: raw, a still phone measures 1 g = 8192 over its three accelerometer channels.
    let raw = load(&folder, &Options { scaling: super::Scaling::AsIs, ..Options::default() }).expect("loads");
    let mut window = vec![0.0; raw.features_per_example()];
    let still = (0..raw.examples(0)).filter(|&i| raw.label(0, i) == 4);
    for i in still {
        raw.fill(0, i, &mut window);
        let mean = |c: usize| window[c * 128..(c + 1) * 128].iter().sum::<f32>() / 128.0 / 8192.0;
        let g = (0..3).map(|c| mean(c) * mean(c)).sum::<f32>().sqrt();
        assert!((0.9..1.1).contains(&g), "window {i}: {g} g: channels are not where they should be");
    }
}

#[test]
fn omniglot_loads() {
    let Some(folder) = shared("omniglot-small") else { return };
    let set = load(&folder, &Options::default()).expect("loads");
    let summary = set.summary();
    println!("{summary}");
    assert_eq!((summary.users + summary.test_users, summary.examples + summary.test_examples), (160, 4_840));
    assert_eq!((summary.classes, summary.shape, summary.users), (242, [1, 28, 28], 112));
}
