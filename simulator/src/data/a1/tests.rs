use super::*;
use crate::data::tests::Folder;

const META: &str = r#"{"clients": 2, "samples_per_client": 2, "dim": 3, "classes": 2, "test": 1, "hidden": 2,
    "mlp_layout": "w1[3,2] b1[2] w2[2,2] b2[2], row-major", "mlp_params": 14}"#;

fn reals(values: impl IntoIterator<Item = i16>) -> Vec<u8> {
    values.into_iter().flat_map(|v| f32::from(v).to_le_bytes()).collect()
}

fn folder() -> Folder {
    Folder::new()
        .with("meta.json", META.as_bytes())
        .with("x_train.f32", &reals(0..12))
        .with("y_train.u8", &[0, 1, 1, 0])
        .with("x_test.f32", &reals(20..23))
        .with("y_test.u8", &[1])
        .with("init_mlp.f32", &reals(0..14))
}

#[test]
fn rows_go_to_their_clients_and_weights_are_transposed() {
    let folder = folder();
    let benchmark = load(folder.path()).expect("good");
    let mut features = [0.0; 3];
    assert_eq!((benchmark.data.devices(), benchmark.data.examples(1), benchmark.hidden), (2, 2, 2));
    assert_eq!((benchmark.data.fill(1, 0, &mut features), features), (1, [6.0, 7.0, 8.0]));
    assert_eq!((benchmark.data.test.fill(0, &mut features), features), (1, [20.0, 21.0, 22.0]));
    // w1 [in 3, out 2] is 0 1, 2 3, 4 5; b1 6 7; w2 8 9, 10 11; b2 12 13.
    let wanted = [0., 2., 4., 1., 3., 5., 6., 7., 8., 10., 9., 11., 12., 13.];
    assert_eq!(benchmark.initial, wanted);
    assert_eq!(benchmark.data.shape, InputShape { channels: 1, height: 1, width: 3 });
}

#[test]
fn bad_files_are_named() {
    let check = |name: &str, bytes: &[u8], wanted: &str| {
        let folder = folder().with(name, bytes);
        let message = load(folder.path()).expect_err(wanted).to_string();
        assert!(message.contains(name) && message.contains(wanted) && !message.contains('\n'), "{message}");
    };
    check("x_train.f32", &reals(0..11), "cut off in record 3 at offset 44: wants 48 bytes");
    check("x_train.f32", &reals(0..13), "goes on after its last record, at offset 48");
    check("x_test.f32", &[reals(0..2), f32::NAN.to_le_bytes().to_vec()].concat(), "record 0, feature 2 (offset 8)");
    check("y_train.u8", &[0, 1, 2, 0], "record 2 (offset 2): label 2 is not in 0..=1");
    check("init_mlp.f32", &reals(0..13), "cut off in record 13");
    check("meta.json", b"{", "meta.json");
    check("meta.json", META.replace("\"dim\": 3", "\"dim\": 0").as_bytes(), "at least 1");
    check("meta.json", META.replace("\"clients\": 2", "\"clients\": 16777217").as_bytes(), "too large");
    check("meta.json", META.replace("\"classes\": 2", "\"classes\": 257").as_bytes(), "256 classes");
    check(
        "meta.json",
        META.replace("w1[3,2]", "w1[2,3]").as_bytes(),
        "does not begin with w1[3,2] b1[2] w2[2,2] b2[2]",
    );
    // A thousand million rows in a file of 48 bytes: said, not allocated.
    let lie = META.replace("\"clients\": 2", "\"clients\": 10000000").replace("client\": 2", "client\": 100");
    let folder = folder().with("meta.json", lie.as_bytes());
    let message = load(folder.path()).expect_err("lie").to_string();
    assert!(message.contains("x_train.f32: cut off in record 4 at offset 48: wants 12000000000 bytes"), "{message}");
}

/// The generator's own folder, where `SISKIN_BENCHMARK_DATA` names it.
#[test]
fn generated_files_load() {
    let Some(folder) = std::env::var_os("SISKIN_BENCHMARK_DATA") else {
        println!("skipped: benchmark data not found (set SISKIN_BENCHMARK_DATA to the generator's folder)");
        return;
    };
    let benchmark = load(Path::new(&folder)).expect("loads");
    println!("{}", benchmark.data.summary());
    let summary = benchmark.data.summary();
    assert_eq!((summary.users, summary.least, summary.most, summary.test_examples), (1000, 20, 20, 2000));
    assert_eq!((summary.shape, benchmark.initial.len(), benchmark.hidden), ([1, 28, 28], 101_770, 128));
    assert_eq!(benchmark.initial[128 * 784..][..128], [0.0; 128], "biases begin at 0, where they should lie");
    let bound = 1.0 / 784f32.sqrt();
    assert!(benchmark.initial[..128 * 784].iter().all(|w| w.abs() <= bound));
}
