use super::*;
use std::path::{Path, PathBuf};

/// A folder that goes away with its test.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new() -> Self {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("siskin-data-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder for temporary files");
        Self(path)
    }

    pub(super) fn with(self, name: &str, bytes: &[u8]) -> Self {
        std::fs::write(self.0.join(name), bytes).expect("a temporary file");
        self
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A leftover folder is no reason to fail a test.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const SHAPE: InputShape = InputShape { channels: 2, height: 1, width: 2 };

/// Users 10 and 11 with two and one example, the first keeping one more for itself; one test example.
fn parts() -> Parts {
    let table = |values: Vec<i16>, labels| {
        Examples::new(&SHAPE, Values::I16(values), labels, Scale::standardise(&[1.0, 0.0], &[2.0, 0.0]))
    };
    Parts {
        name: "small".into(),
        shape: SHAPE,
        classes: 3,
        split: "by hand".into(),
        scaling: "by hand".into(),
        examples: table((0..16).collect(), vec![0, 1, 2, 1]),
        devices: vec![
            DeviceRows { user: 10, first: 0, train: 2, personal: 1 },
            DeviceRows { user: 11, first: 3, train: 1, personal: 0 },
        ],
        test: TestSet::new(table(vec![5, 5, 5, 5], vec![2]), Vec::new()),
    }
}

#[test]
fn rows_are_found_and_scaled_by_channel() {
    let set = Federated::new(parts()).expect("good");
    let mut features = [0.0; 4];
    assert_eq!((set.devices(), set.examples(0), set.personal_tests(0), set.examples(1)), (2, 2, 1, 1));
    assert_eq!((set.user(1), set.features_per_example()), (11, 4));
    assert_eq!(set.fill(0, 1, &mut features), 1);
    assert_eq!(features, [1.5, 2.0, 6.0, 7.0], "(4 - 1) / 2, (5 - 1) / 2; the constant channel is centred alone");
    assert_eq!((set.fill_personal(0, 0, &mut features), features[3]), (2, 11.0));
    assert_eq!((set.fill(1, 0, &mut features), features[3], set.label(1, 0)), (1, 15.0, 1));
    assert_eq!((set.test.len(), set.test.fill(0, &mut features), features[2]), (1, 2, 5.0));
    let summary = set.summary();
    assert_eq!((summary.least, summary.median, summary.most, summary.examples), (1, 1, 2, 3));
    assert_eq!((summary.labels, summary.test_labels, summary.labels_only_in_test), (vec![1, 2, 0], vec![0, 0, 1], 1));
    assert!(set.summary().to_string().contains("1 labels of the test have no training example"));
}

#[test]
fn devices_share_one_copy_across_threads() {
    fn shared<T: Sync + Send>(_: &T) {}
    let set = Federated::new(parts()).expect("good");
    shared(&set);
    assert_eq!(size_of::<DeviceRows>(), 24, "an idle device costs its row");
}

#[test]
fn other_rows_and_wrong_room_are_refused() {
    let set = Federated::new(parts()).expect("good");
    let refused = |device, example, room: usize| {
        std::panic::catch_unwind(|| set.fill(device, example, &mut vec![0.0; room])).is_err()
    };
    assert!(!refused(0, 1, 4));
    assert!(refused(0, 2, 4), "the personal test is not for training");
    assert!(refused(2, 0, 4) && refused(0, 0, 3) && refused(0, 0, 5));
    assert!(std::panic::catch_unwind(|| set.fill_personal(0, 1, &mut [0.0; 4])).is_err(), "that is the next user's");
}

#[test]
fn bad_tables_are_named() {
    let check = |change: &dyn Fn(&mut Parts), wanted: &str| {
        let mut parts = parts();
        change(&mut parts);
        let message = Federated::new(parts).expect_err(wanted).to_string();
        assert!(message.contains(wanted) && message.starts_with("small: ") && !message.contains('\n'), "{message}");
    };
    check(&|p| p.devices.clear(), "no devices");
    check(&|p| p.devices[1].train = 0, "1 device(s) have no training examples, the first is device 1 (user 11)");
    check(&|p| p.devices[1].train = 2, "device 1 ends past the last of 4 examples");
    check(&|p| p.devices[1].first = u32::MAX, "device 1 ends past");
    check(&|p| p.test.users.push(DeviceRows { user: 1, first: 0, train: 2, personal: 0 }), "test user 0 ends past");
    check(&|p| p.classes = 2, "training examples: example 2 has label 2, but there are 2 classes");
    check(&|p| p.shape.width = 3, "not of shape 2x1x3");
    check(&|p| p.shape.width = 0, "no features");
    let none = || Examples::new(&SHAPE, Values::U8(vec![]), vec![], Scale::uniform(2, 1.0, 0.0));
    check(&|p| p.test = TestSet::new(none(), vec![]), "no test examples");
    let table = |values| Examples::new(&SHAPE, values, vec![0; 4], Scale::uniform(2, 1.0, 0.0));
    check(&|p| p.examples = table(Values::U8(vec![0; 15])), "15 values for 4 examples of 4");
    let mut reals = vec![0.0; 16];
    reals[6] = f32::NAN;
    check(&|p| p.examples = table(Values::F32(reals.clone())), "example 1, feature 2: NaN is not finite");
}

#[test]
fn numbers_are_normalised_behind_the_scaling() {
    let read = |set: &Federated| {
        let mut all = [[0.0; 4]; 6];
        for (i, (device, example)) in [(0, 0), (0, 1), (1, 0)].into_iter().enumerate() {
            set.fill(device, example, &mut all[i]);
        }
        set.fill_personal(0, 0, &mut all[3]);
        set.test.fill(0, &mut all[4]);
        set.test.fill_targets(0, &mut all[5], &mut [0]);
        let mut again = [0.0; 4];
        set.fill_targets(1, 0, &mut again, &mut [0]);
        assert_eq!(again, all[2]);
        set.fill_personal_targets(0, 0, &mut again, &mut [0]);
        assert_eq!(again, all[3]);
        all.concat()
    };
    let set = || Federated::new(parts()).unwrap();
    let (mean, deviation) = (0.1307, 0.3081);
    let normalized = set().normalized(Normalization { mean, deviation }).unwrap();
    let expected: Vec<f32> = read(&set()).iter().map(|v| (v - mean) / deviation).collect();
    assert_eq!(read(&normalized), expected);
    assert_eq!(normalized.scaling, "by hand, then less 0.1307, divided by 0.3081");
    let same = set().normalized(Normalization::NONE).unwrap();
    assert_eq!((read(&same), same.scaling), (read(&set()), "by hand".to_owned()));
    for (mean, deviation) in [(f32::NAN, 1.0), (f32::INFINITY, 1.0), (0.0, 0.0), (0.0, -1.0), (0.0, f32::NAN)] {
        let refused = set().normalized(Normalization { mean, deviation });
        assert!(matches!(refused, Err(DataError::Setting { .. })), "{mean} {deviation}");
    }
}
