use super::*;
use crate::data::{Federated, tests::Folder};
use proptest::prelude::*;
use std::io::Write;

/// An IDX file of `kind` (its code).
pub(super) fn file(code: u8, dims: &[u32], values: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, code, dims.len() as u8];
    dims.iter().for_each(|d| bytes.extend(d.to_be_bytes()));
    bytes.extend(values);
    bytes
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

pub(super) fn parse(bytes: &[u8]) -> Result<Idx, DataError> {
    Idx::parse(bytes, Path::new("some.idx"))
}

/// Ten users with sparse ids, out of order: record i belongs to user `7 * ((3 * i) % 10) - 20`, label `i % 4`, value i.
fn folder() -> Folder {
    let users: Vec<u8> = (0..20i16).flat_map(|i| (7 * ((3 * i) % 10) - 20).to_be_bytes()).collect();
    let x: Vec<u8> = (0..20u8).flat_map(|i| [i, 0, 0, i]).collect();
    let y: Vec<u8> = (0..20).map(|i| i % 4).collect();
    Folder::new()
        .with("x-idx3-ubyte.gz", &gzip(&file(8, &[20, 2, 2], &x)))
        .with("y-idx1-ubyte", &file(8, &[20], &y))
        .with("user-idx1-short", &file(0x0b, &[20], &users))
        .with("README.md", b"not data")
        .with("x.txt", b"not data either")
}

#[test]
fn every_type_is_read_big_endian() {
    let real = |code, bytes: &[u8]| parse(&file(code, &[1], bytes)).expect("good").real(0);
    assert_eq!(real(0x08, &[200]), 200.0);
    assert_eq!(real(0x09, &[200]), -56.0);
    assert_eq!(real(0x0b, &[0xff, 0x01]), -255.0);
    assert_eq!(real(0x0c, &(-70_000i32).to_be_bytes()), -70_000.0);
    assert_eq!(real(0x0d, &1.5f32.to_be_bytes()), 1.5);
    assert_eq!(real(0x0e, &(-2.5f64).to_be_bytes()), -2.5);
    let idx = parse(&gzip(&file(0x0b, &[2, 3], &[0; 12]))).expect("found by content");
    assert_eq!((idx.kind, idx.records(), idx.values_per_record(), idx.offset(4)), (Kind::I16, 2, 3, 20));
    assert_eq!((idx.integer(5), parse(&file(0x0d, &[1], &[0; 4])).expect("good").integer(0)), (Some(0), None));
}

#[test]
fn sparse_users_are_numbered_in_order_and_the_last_are_held_out() {
    let folder = folder();
    let set = load(folder.path(), &Options::default()).expect("good");
    let users: Vec<i64> = (0..set.devices()).map(|d| set.user(d)).collect();
    assert_eq!(users, [-20, -13, -6, 1, 8, 15, 22]);
    assert_eq!(set.test.users().iter().map(|u| u.user).collect::<Vec<_>>(), [29, 36, 43]);
    assert!(set.split.contains("last 3 of 10 users by id (29 to 43)"), "{}", set.split);
    let mut features = [0.0; 4];
    // User -13 is 7 * 1 - 20: records 7 and 17, in that order.
    for (example, record) in [(0, 7u8), (1, 17)] {
        assert_eq!(set.fill(1, example, &mut features), u32::from(record) % 4);
        let value = f32::from(record) * (1.0 / 255.0);
        assert_eq!(features, [value, 0.0, 0.0, value]);
    }
    assert_eq!((set.classes, set.test.len(), set.scaling.as_str()), (4, 6, "uint8 / 255"));
    let half = load(folder.path(), &Options { personal: 0.5, hold_out: 0.01, ..Options::default() }).expect("good");
    assert_eq!((half.devices(), half.examples(1), half.personal_tests(1)), (9, 1, 1), "at least one user is held out");
    assert_eq!((half.fill_personal(1, 0, &mut features), half.test.users().len()), (1, 1));
}

#[test]
fn test_files_come_first_and_overlap_is_said() {
    let folder = folder()
        .with("t10k-images-idx3-ubyte", &file(8, &[2, 2, 2], &[255; 8]))
        .with("t10k-labels-idx1-ubyte", &file(8, &[2], &[9, 0]))
        .with("t10k-users-idx1-short", &file(0x0b, &[2], &[0, 1, 0, 2]));
    let set = load(folder.path(), &Options::default()).expect("good");
    assert_eq!((set.devices(), set.test.len(), set.classes), (10, 2, 10));
    assert!(set.split.contains("2 users, 1 of whom also train"), "{}", set.split);
    let summary = set.summary();
    assert_eq!((summary.test_users_that_train, summary.labels_only_in_test), (1, 1));
    assert_eq!((set.test.fill(0, &mut [0.0; 4]), set.test.users()[1].user), (9, 2));
}

fn triple(code: u8, dims: &[u32], x: &[u8]) -> Folder {
    let n = dims[0];
    let users: Vec<u8> = (0..n as u8).collect();
    Folder::new()
        .with("x", &file(code, dims, x))
        .with("y", &file(8, &[n], &vec![1; n as usize]))
        .with("user", &file(8, &[n], &users))
}

fn filled(set: &Federated, device: usize) -> Vec<f32> {
    let mut features = vec![0.0; set.features_per_example()];
    set.fill(device, 0, &mut features);
    features
}

#[test]
fn layouts_and_scalings_are_as_they_say() {
    // Two records of [time 3, channels 2]: channel 0 is 1 2 3, channel 1 is 10 10 10; user 1 is held out.
    let x: Vec<u8> = [1i16, 10, 2, 10, 3, 10, 7, 7, 7, 7, 7, 7].iter().flat_map(|v| v.to_be_bytes()).collect();
    let folder = triple(0x0b, &[2, 3, 2], &x);
    let raw =
        |layout| load(folder.path(), &Options { layout, scaling: Scaling::AsIs, ..Options::default() }).expect("good");
    let set = raw(Layout::Auto);
    assert_eq!((set.shape.to_string().as_str(), filled(&set, 0)), ("2x1x3", vec![1., 2., 3., 10., 10., 10.]));
    let set = raw(Layout::Image);
    assert_eq!((set.shape.to_string().as_str(), filled(&set, 0)), ("1x3x2", vec![1., 10., 2., 10., 3., 10.]));
    let set = raw(Layout::ChannelFirst);
    assert_eq!((set.shape.to_string().as_str(), filled(&set, 0)), ("3x1x2", vec![1., 10., 2., 10., 3., 10.]));
    let set = load(folder.path(), &Options::default()).expect("good");
    let unit = (1.5f64).sqrt() as f32;
    let features = filled(&set, 0);
    for (got, wanted) in features.iter().zip([-unit, 0.0, unit, 0.0, 0.0, 0.0]) {
        assert!((got - wanted).abs() < 1e-6, "{features:?}: from the training user alone");
    }
    assert!(set.scaling.contains("raw means 2.000 10.000; deviations 0.816 0.000") && set.scaling.contains("centred"));
    // The same numbers as reals give the same scale.
    let x: Vec<u8> =
        [1f32, 10., 2., 10., 3., 10., 7., 7., 7., 7., 7., 7.].iter().flat_map(|v| v.to_be_bytes()).collect();
    let folder = triple(0x0d, &[2, 3, 2], &x);
    let set = load(folder.path(), &Options { scaling: Scaling::Standardise, ..Options::default() }).expect("good");
    assert_eq!(filled(&set, 0), features);
    assert_eq!(filled(&load(folder.path(), &Options::default()).expect("good"), 0)[..4], [1., 2., 3., 10.]);
    // Colour images are turned channel first.
    let folder = triple(8, &[2, 1, 2, 3], &[1, 2, 3, 4, 5, 6, 0, 0, 0, 0, 0, 0]);
    let set = load(folder.path(), &Options { scaling: Scaling::AsIs, ..Options::default() }).expect("good");
    assert_eq!((set.shape.to_string().as_str(), filled(&set, 0)), ("3x1x2", vec![1., 4., 2., 5., 3., 6.]));
    let folder = triple(0x0e, &[2], &[0; 16]);
    assert_eq!(load(folder.path(), &Options::default()).expect("one feature").shape.features(), 1);
}

#[test]
fn a_channel_that_varies_by_rounding_alone_is_not_blown_up() {
    let nearly = |i: u32| f32::from_bits(0.1f32.to_bits() + i % 2);
    let x: Vec<u8> = (0..14).flat_map(|i| [nearly(i), i as f32]).flat_map(f32::to_be_bytes).collect();
    let folder = triple(0x0d, &[2, 7, 2], &x);
    let set = load(folder.path(), &Options { scaling: Scaling::Standardise, ..Options::default() }).expect("good");
    let features = filled(&set, 0);
    assert!(features[..7].iter().all(|f| f.abs() < 1e-6) && features[7..] != [0.0; 7], "{features:?}");
    assert!(set.scaling.contains("only centred"), "{}", set.scaling);
}

#[test]
fn options_come_from_a_configuration_file() {
    let options: Options = toml::from_str("layout = 'channel-first'\nscaling = 'as-is'\npersonal = 0.1").expect("good");
    let wanted = Options { layout: Layout::ChannelFirst, scaling: Scaling::AsIs, personal: 0.1, ..Options::default() };
    assert_eq!(options, wanted);
    assert!(toml::from_str::<Options>("holdout = 0.1").expect_err("a slip").to_string().contains("unknown field"));
    let digits: crate::data::digits::Options = toml::from_str("devices = 12\nexamples = [3, 4]").expect("good");
    assert_eq!((digits.devices, digits.examples, digits.alpha), (12, (3, 4), 0.3));
}

/// Virtual memory at its highest, in KiB: what an allocation asks for counts even if it is never touched.
#[cfg(target_os = "linux")]
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("procfs");
    let line = status.lines().find(|l| l.starts_with("VmPeak:")).expect("VmPeak");
    line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number")
}

#[test]
#[cfg(target_os = "linux")]
fn lying_headers_allocate_nothing() {
    let lies = [file(8, &[4_000_000_000], &[1; 92]), file(0x0e, &[1000, 1000, 500], &[1; 84])];
    let before = peak_kib();
    for lie in lies.iter().flat_map(|lie| [lie.clone(), gzip(lie)]) {
        let error = parse(&lie).expect_err("a lie");
        assert!(matches!(error, DataError::CutOff { .. }), "{error}");
    }
    // The other tests of this process run meanwhile; all of them together stay far below one lie.
    let grown = peak_kib() - before;
    assert!(grown < 2 << 20, "{grown} KiB");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes);
        let _ = parse(&[&[0x1f, 0x8b], &bytes[..]].concat());
    }

    /// A right magic, small or wild dimensions, any values: either an error, or exactly the file's own bytes.
    #[test]
    fn arbitrary_bodies_are_whole_or_refused(
        code in prop_oneof![Just(8u8), Just(9), Just(0xb), Just(0xc), Just(0xd), Just(0xe), any::<u8>()],
        dims in proptest::collection::vec(prop_oneof![0u32..5, any::<u32>()], 0..6),
        body in proptest::collection::vec(any::<u8>(), 0..300),
        exact in any::<bool>(),
        packed in any::<bool>(),
    ) {
        let width = Kind::of(code).map_or(1, Kind::width) as u64;
        let size = dims.iter().try_fold(width, |s, &d| s.checked_mul(u64::from(d))).unwrap_or(u64::MAX);
        let most = dims.iter().try_fold(width, |s, &d| s.checked_mul(u64::from(d.max(1)))).unwrap_or(u64::MAX);
        let body = if exact && size < 10_000 { vec![body.first().copied().unwrap_or(0); size as usize] } else { body };
        let bytes = file(code, &dims, &body);
        let good = Kind::of(code).is_some() && (1..=MAX_DIMS).contains(&dims.len()) && size == body.len() as u64 && most <= MAX_BYTES;
        match parse(&if packed { gzip(&bytes) } else { bytes }) {
            Ok(idx) => {
                prop_assert!(good && idx.bytes == body);
                prop_assert!(idx.bytes.capacity() <= 2 * body.len() + 64, "{}", idx.bytes.capacity());
                for i in 0..idx.records() * idx.values_per_record() {
                    prop_assert_eq!(idx.integer(i).map(|v| v as f64), idx.integer(i).map(|_| idx.real(i)));
                }
            }
            Err(error) => {
                let text = error.to_string();
                prop_assert!(!good && text.starts_with("some.idx: ") && !text.contains('\n'), "{}", text);
            }
        }
    }

    /// A whole folder of arbitrary small files loads or is refused; what loads can be read to the last example.
    #[test]
    fn arbitrary_folders_load_or_are_refused(
        n in 1u32..12,
        code in prop_oneof![Just(8u8), Just(9), Just(0xb), Just(0xc), Just(0xd), Just(0xe)],
        dims in proptest::collection::vec(0u32..4, 0..4),
        values in proptest::collection::vec(any::<u8>(), 300),
        scaling in prop_oneof![Just(Scaling::Auto), Just(Scaling::Standardise), Just(Scaling::AsIs)],
        flip in proptest::option::of((0usize..40, any::<u8>())),
    ) {
        let dims: Vec<u32> = std::iter::once(n).chain(dims).collect();
        let size = dims.iter().product::<u32>() as usize * Kind::of(code).map_or(1, Kind::width);
        let body: Vec<u8> = values.iter().copied().cycle().take(size).collect();
        let mut x = file(code, &dims, &body);
        if let Some((at, byte)) = flip {
            let at = at % x.len();
            x[at] = byte;
        }
        let n = n as usize;
        let folder = Folder::new()
            .with("images", &x)
            .with("labels", &file(9, &[n as u32], &values[100..100 + n]))
            .with("users", &file(8, &[n as u32], &values[200..200 + n]));
        match load(folder.path(), &Options { personal: 0.3, scaling, ..Options::default() }) {
            Ok(set) => {
                let mut features = vec![0.0; set.features_per_example()];
                let mut seen = set.test.len();
                for device in 0..set.devices() {
                    seen += set.examples(device) + set.personal_tests(device);
                    for i in 0..set.examples(device) {
                        prop_assert!(set.fill(device, i, &mut features) < set.classes);
                        prop_assert!(features.iter().all(|f| f.is_finite()), "{:?}", features);
                    }
                }
                prop_assert_eq!(seen, n, "nothing is dropped");
            }
            Err(error) => prop_assert!(!error.to_string().contains('\n')),
        }
    }
}
