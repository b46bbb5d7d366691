use super::*;
use rayon::prelude::*;

fn small(devices: usize) -> Federated {
    load(&Options { devices, ..Options::default() }).expect("valid options")
}

fn writers(set: &Federated) -> &Writers {
    match &set.source {
        crate::data::Source::Drawn(writers) => writers,
        crate::data::Source::Stored { .. } => panic!("digits are drawn"),
    }
}

/// FNV-1a, 64 bits, over the labels and the bits of every pixel of one device.
fn checksum(set: &Federated, device: usize) -> u64 {
    let mut features = [0f32; PIXELS];
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    let mut add = |label: u32, features: &[f32; PIXELS]| {
        for word in std::iter::once(label).chain(features.iter().map(|f| f.to_bits())) {
            for byte in word.to_le_bytes() {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
    };
    for i in 0..set.examples(device) {
        add(set.fill(device, i, &mut features), &features);
    }
    for i in 0..set.personal_tests(device) {
        add(set.fill_personal(device, i, &mut features), &features);
    }
    hash
}

fn checksums(set: &Federated) -> Vec<u64> {
    (0..set.devices()).into_par_iter().map(|d| checksum(set, d)).collect()
}

/// Fixes every drawing of 300 writers to the bit, on every platform.
#[test]
fn drawings_are_golden() {
    let sums = checksums(&small(300));
    let all = sums.iter().fold(0u64, |all, sum| all.rotate_left(5) ^ sum);
    assert_eq!(format!("{all:016x}"), "f927aa8e7719a796");
}

#[test]
fn drawings_depend_on_seed_alone() {
    let set = small(60);
    let parallel = checksums(&set);
    let serial: Vec<u64> = (0..60).rev().map(|d| checksum(&set, d)).collect();
    assert!(parallel.iter().eq(serial.iter().rev()), "order of calls and threads must not matter");
    assert_eq!(checksums(&small(200))[..60], parallel[..], "a writer must not depend on how many there are");
    let other = load(&Options { devices: 60, seed: 2, ..Options::default() }).expect("valid");
    assert!(checksums(&other).iter().zip(&parallel).all(|(a, b)| a != b), "another seed, other writers");
}

#[test]
fn held_out_originals_are_never_drawn_and_as_they_are() {
    // Hands of strength 0 copy: drawings can be compared with originals.
    let set = load(&Options { devices: 400, strength: 0.0, ..Options::default() }).expect("valid");
    let mut features = [0f32; PIXELS];
    let bits = |f: &[f32; PIXELS]| f.map(|v| (v * 16.0).round() as u8);
    let digits = smartcore::dataset::digits::load_dataset();
    let mut originals: Vec<(Vec<u8>, u32)> = Vec::new();
    for (image, &label) in digits.data.chunks_exact(PIXELS).zip(&digits.target) {
        originals.push((image.iter().map(|&v| v as u8).collect(), label as u32));
    }
    let mut tested = std::collections::HashSet::new();
    for i in 0..set.test.len() {
        let label = set.test.fill(i, &mut features);
        let image = (bits(&features).to_vec(), label);
        assert!(originals.contains(&image), "test image {i} is an original with its label");
        tested.insert(image);
    }
    assert_eq!(tested.len(), 360, "all different");
    let mut trained = std::collections::HashSet::new();
    for device in 0..set.devices() {
        for i in 0..set.examples(device) {
            let label = set.fill(device, i, &mut features);
            trained.insert((bits(&features).to_vec(), label));
        }
        for i in 0..set.personal_tests(device) {
            let label = set.fill_personal(device, i, &mut features);
            assert!(tested.contains(&(bits(&features).to_vec(), label)), "a personal test is a held-out original");
        }
    }
    assert!(trained.is_disjoint(&tested));
    assert_eq!(trained.len(), 1437, "400 writers use every other original");
}

#[test]
fn writers_differ_in_number_mix_and_hand() {
    let set = small(2000);
    let summary = set.summary();
    assert_eq!((summary.users, summary.least, summary.most), (2000, 20, 60));
    assert!((38..=42).contains(&summary.median), "{}", summary.median);
    // Dirichlet(0.3) over ten digits, 40 draws: about five different ones.
    assert!((3..=7).contains(&summary.median_labels_per_user), "{}", summary.median_labels_per_user);
    assert_eq!((summary.test_examples, summary.test_labels.as_slice()), (360, &[36; 10][..]));
    assert!(summary.labels.iter().all(|&n| (6_500..9_500).contains(&n)), "{:?}", summary.labels);
    println!("{summary}\n{} bytes in all", set.heap_bytes());
    // An idle device: its hand and its picks.
    let more = small(4000).heap_bytes() - set.heap_bytes();
    assert!(more / 2000 < 256, "{} bytes a device", more / 2000);
    assert!(set.fill(0, 0, &mut [0.0; PIXELS]) < 10);
    // The hand that is told is the hand that draws.
    let (writers, options) = (writers(&set), Options::default());
    let told = hand(&options, 1234).expect("valid");
    assert_eq!(format!("{:?}", told.pen()), format!("{:?}", writers.writers[1234].pen));
    assert_ne!(told, hand(&options, 1235).expect("valid"));
    assert!(std::panic::catch_unwind(|| set.fill(0, set.examples(0), &mut [0.0; PIXELS])).is_err());
}

#[test]
fn ink_stays_between_nothing_and_full() {
    let set = load(&Options { devices: 300, strength: 2.0, ..Options::default() }).expect("valid");
    let mut features = [0f32; PIXELS];
    for device in 0..set.devices() {
        for i in 0..set.examples(device) {
            set.fill(device, i, &mut features);
            assert!(features.iter().all(|v| (0.0..=1.000_001).contains(v)), "{features:?}");
            assert!(features.iter().sum::<f32>() > 3.0, "a drawing has ink");
        }
    }
}

/// Softmax regression by plain SGD over all writers' drawings; accuracy on (originals, personal tests).
fn transfer(set: &Federated, epochs: usize) -> (f64, f64) {
    let mut weights = [[0f32; PIXELS + 1]; 10];
    let mut features = [0f32; PIXELS];
    let mut random = Random::new(3, 0);
    let scores = |w: &[[f32; PIXELS + 1]; 10], x: &[f32; PIXELS]| -> [f32; 10] {
        std::array::from_fn(|k| w[k][PIXELS] + w[k].iter().zip(x).map(|(w, x)| w * x).sum::<f32>())
    };
    let mut order: Vec<(usize, usize)> =
        (0..set.devices()).flat_map(|d| (0..set.examples(d)).map(move |i| (d, i))).collect();
    for epoch in 0..epochs {
        random.shuffle(&mut order);
        let rate = 0.1 / (1.0 + epoch as f32);
        for &(device, i) in &order {
            let label = set.fill(device, i, &mut features) as usize;
            let s = scores(&weights, &features);
            let most = s.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let e = s.map(|v| libm::expf(v - most));
            let sum: f32 = e.iter().sum();
            for k in 0..10 {
                let step = rate * (e[k] / sum - f32::from(u8::from(k == label)));
                weights[k][PIXELS] -= step;
                weights[k].iter_mut().zip(&features).for_each(|(w, x)| *w -= step * x);
            }
        }
    }
    let right = |label: u32, x: &[f32; PIXELS]| {
        let s = scores(&weights, x);
        usize::from((0..10).all(|k| k == label as usize || s[k] < s[label as usize]))
    };
    let (mut originals, mut personal, mut count) = (0, 0, 0);
    for i in 0..set.test.len() {
        let label = set.test.fill(i, &mut features);
        originals += right(label, &features);
    }
    for device in 0..set.devices() {
        for i in 0..set.personal_tests(device) {
            let label = set.fill_personal(device, i, &mut features);
            personal += right(label, &features);
            count += 1;
        }
    }
    (originals as f64 / set.test.len() as f64, personal as f64 / f64::from(count))
}

#[test]
fn what_is_learnt_from_drawings_transfers_to_untouched_originals() {
    let (originals, personal) = transfer(&small(1000), 4);
    println!("softmax regression: originals {originals:.3}, personal tests {personal:.3}");
    assert!(originals > 0.88, "{originals}");
    // Drawings are harder than originals, but no scribble.
    assert!(personal > 0.7 && personal < originals, "{personal}");
}

#[test]
fn options_out_of_range_are_named() {
    let base = Options::default;
    for (options, name) in [
        (Options { devices: 0, ..base() }, "devices"),
        (Options { alpha: 0.0, ..base() }, "alpha"),
        (Options { alpha: f64::NAN, ..base() }, "alpha"),
        (Options { examples: (0, 5), ..base() }, "examples"),
        (Options { examples: (6, 5), ..base() }, "examples"),
        (Options { personal_tests: 10_001, ..base() }, "personal_tests"),
        (Options { devices: 10_000_000, examples: (1, 10_000), ..base() }, "devices"),
        (Options { strength: -1.0, ..base() }, "strength"),
    ] {
        let message = load(&options).expect_err(name).to_string();
        assert!(message.contains(name) && message.contains("allowed"), "{message}");
    }
}

#[test]
fn a_hand_does_what_it_says() {
    let still = Hand { slant: 0.0, turn: 0.0, size: [1.0; 2], shift: [0.0; 2], stroke: 0.0, blur: 0.0, contrast: 1.0 };
    let mut image = [0u8; PIXELS];
    image[3 * 8 + 2] = 16;
    let draw = |hand: Hand| {
        let mut drawing = [0f32; PIXELS];
        hand.pen().draw(&Original::new(&image, 0), &mut drawing);
        drawing
    };
    let ink = |drawing: &[f32; PIXELS], x: usize, y: usize| drawing[y * 8 + x];
    let near = |a: f32, b: f32| (a - b).abs() < 1e-5;
    assert!(near(ink(&draw(still), 2, 3), 1.0) && near(draw(still).iter().sum(), 1.0));
    let moved = draw(Hand { shift: [2.0, 1.0], ..still });
    assert!(near(ink(&moved, 4, 4), 1.0), "right and down");
    let half = draw(Hand { shift: [0.5, 0.0], ..still });
    assert!(near(ink(&half, 2, 3), 0.5) && near(ink(&half, 3, 3), 0.5), "bilinear");
    // (2, 3) lies 1.5 left of and 0.5 above the centre; a quarter turn clockwise takes it 0.5 right of and 1.5 above.
    let turned = draw(Hand { turn: std::f64::consts::FRAC_PI_2, ..still });
    assert!(near(ink(&turned, 4, 2), 1.0), "{turned:?}");
    // Slant 2: half a row above the centre leans one column to the right.
    assert!(near(ink(&draw(Hand { slant: 2.0, ..still }), 3, 3), 1.0));
    let wide = draw(Hand { size: [5.0 / 3.0, 1.0], ..still });
    assert!(near(ink(&wide, 1, 3), 1.0), "1.5 left becomes 2.5 left");
    assert!(near(draw(Hand { stroke: 1.0, ..still }).iter().sum(), 5.0), "dilated: a cross");
    assert!(near(draw(Hand { stroke: -1.0, ..still }).iter().sum(), 0.0), "eroded: gone");
    assert!(near(ink(&draw(Hand { blur: 1.0, ..still }), 2, 3), 0.25), "binomial");
    assert!(near(ink(&draw(Hand { contrast: 0.5, ..still }), 2, 3), 0.5));
}
