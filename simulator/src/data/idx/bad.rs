//! Each bad input gets one line that names the file, what, where and what to do.

use super::{Options, load, tests::*};
use crate::data::tests::Folder;

/// A good folder of four users with one record each, in which one file is replaced.
fn with(name: &str, bytes: &[u8]) -> Folder {
    Folder::new()
        .with("train-images-idx2-ubyte", &file(8, &[4, 3], &[1; 12]))
        .with("train-labels-idx1-ubyte", &file(8, &[4], &[0, 1, 0, 1]))
        .with("train-users-idx1-ubyte", &file(8, &[4], &[5, 6, 7, 8]))
        .with(name, bytes)
}

fn refused(folder: &Folder, wanted: &[&str]) {
    let message = load(folder.path(), &Options::default()).expect_err("bad").to_string();
    for part in wanted {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
    assert!(!message.contains('\n') && message.contains(';'), "one line, with advice: {message}");
    assert!(message.contains(&folder.path().display().to_string()), "names the path: {message}");
}

const X: &str = "train-images-idx2-ubyte";
const Y: &str = "train-labels-idx1-ubyte";
const U: &str = "train-users-idx1-ubyte";

#[test]
fn the_good_folder_is_good() {
    assert!(load(with("README", b"").path(), &Options::default()).is_ok());
}

#[test]
fn missing_files_and_folders() {
    let folder = with("notes", b"");
    for (name, role) in [(X, "examples: none is named like images"), (Y, "labels: none"), (U, "users: none")] {
        let folder = with("notes", b"");
        std::fs::remove_file(folder.path().join(name)).expect("there");
        refused(&folder, &["no training file for", role]);
    }
    let gone = folder.path().join("gone");
    let message = load(&gone, &Options::default()).expect_err("gone").to_string();
    assert!(message.contains("gone: cannot be read"), "{message}");
    let half = with("t10k-images-idx2-ubyte", &file(8, &[1, 3], &[0; 3]));
    refused(&half, &["no test file for labels", "t10k-labels"]);
    let twice = with("train-x-idx2-ubyte", &file(8, &[4, 3], &[1; 12]));
    refused(&twice, &[X, "train-x-idx2-ubyte", "both", "training examples"]);
}

#[test]
fn wrong_magic() {
    refused(&with(X, b"\x89PNG\r\n"), &[X, "not an IDX file: begins with [89, 50, 4e, 47]"]);
    refused(&with(X, b""), &[X, "begins with []"]);
    refused(&with(X, &[0, 0, 7, 1, 0, 0, 0, 0]), &[X, "not an IDX file"]);
    refused(&with(X, &[0, 0, 8, 5, 0, 0, 0, 0]), &[X, "1 to 4 dimensions"]);
    refused(&with(X, &gzip(b"text")), &[X, "begins with [74, 65, 78, 74]"]);
}

#[test]
fn cut_off_and_overlong() {
    let whole = file(8, &[4, 3], &[1; 12]);
    refused(&with(X, &whole[..22]), &[X, "cut off in record 3 at offset 22: wants 24 bytes"]);
    refused(&with(X, &whole[..9]), &[X, "cut off in record 0 at offset 9: wants 12 bytes"]);
    refused(&with(X, &gzip(&whole[..22])), &[X, "cut off in record 3"]);
    refused(&with(X, &[&whole[..], &[0]].concat()), &[X, "goes on after its last record, at offset 24"]);
    refused(&with(X, &gzip(&[&whole[..], &[0]].concat())), &[X, "goes on"]);
}

#[test]
fn damaged_gzip() {
    let packed = gzip(&file(8, &[4, 3], &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]));
    refused(&with(X, &packed[..packed.len() - 10]), &[X, "gzip data is damaged or cut off"]);
    refused(&with(X, &packed[..6]), &[X, "gzip data", "after 0 unpacked bytes"]);
    let mut flipped = packed.clone();
    let checksum = flipped.len() - 6;
    flipped[checksum] ^= 1;
    refused(&with(X, &flipped), &[X, "gzip data is damaged"]);
    for at in 10..packed.len() {
        let mut flipped = packed.clone();
        flipped[at] ^= 0x10;
        assert!(load(with(X, &flipped).path(), &Options::default()).is_err(), "byte {at} flipped");
    }
}

#[test]
fn lying_lengths() {
    refused(&with(X, &file(8, &[2_000_000_000, 1], &[1; 88])), &[X, "cut off in record 88", "wants 2000000012 bytes"]);
    refused(&with(X, &file(0x0e, &[u32::MAX, u32::MAX, u32::MAX], &[])), &[X, "more than the limit"]);
    refused(&with(X, &file(0x0c, &[1 << 30, 2], &[])), &[X, "limit of 4294967296 bytes"]);
    refused(&with(X, &file(8, &[0, 6, 780_292_412, 3_940_134_876], &[])), &[X, "more than the limit"]);
    refused(&with(X, &file(8, &[4, 0], &[])), &[X, "[4, 0]", "at least one feature"]);
}

#[test]
fn counts_that_disagree() {
    refused(&with(Y, &file(8, &[3], &[0; 3])), &[Y, "has 3 records, but", X, "has 4"]);
    refused(&with(U, &file(8, &[5], &[0; 5])), &[U, "has 5 records, but", X, "has 4"]);
    refused(&with(Y, &file(8, &[4, 1], &[0; 4])), &[Y, "[4, 1] cannot be labels"]);
    let folder = with("t10k-images", &file(8, &[1, 4], &[0; 4]))
        .with("t10k-labels", &file(8, &[1], &[0]))
        .with("t10k-users", &file(8, &[1], &[0]));
    refused(&folder, &["t10k-images: holds uint8 records of [4], but", X, "holds uint8 records of [3]"]);
}

#[test]
fn labels_out_of_range() {
    refused(&with(Y, &file(9, &[4], &[0, 1, 255, 1])), &[Y, "record 2 (offset 10): label -1 is not in 0..=65535"]);
    let large: Vec<u8> = [0i32, 1, 1, 65_536].iter().flat_map(|v| v.to_be_bytes()).collect();
    refused(&with(Y, &file(0x0c, &[4], &large)), &[Y, "record 3 (offset 20): label 65536"]);
    refused(&with(Y, &file(0x0d, &[4], &[0; 16])), &[Y, "labels must be integers", "float32"]);
    refused(&with(U, &file(0x0e, &[4], &[0; 32])), &[U, "user ids must be integers", "float64"]);
}

#[test]
fn reals_that_are_not_finite() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut reals = [0.5f32; 12];
        reals[7] = bad;
        let bytes: Vec<u8> = reals.iter().flat_map(|v| v.to_be_bytes()).collect();
        refused(&with(X, &file(0x0d, &[4, 3], &bytes)), &[X, "record 2, feature 1 (offset 40)", "not a finite f32"]);
    }
    let mut reals = [0.5f64; 12];
    reals[11] = 1e300;
    let bytes: Vec<u8> = reals.iter().flat_map(|v| v.to_be_bytes()).collect();
    refused(&with(X, &file(0x0e, &[4, 3], &bytes)), &[X, "record 3, feature 2 (offset 100)"]);
}

#[test]
fn nobody_to_train_or_test() {
    let none = with(X, &file(8, &[0, 3], &[])).with(Y, &file(8, &[0], &[])).with(U, &file(8, &[0], &[]));
    refused(&none, &[X, "has no records, so there are no users"]);
    refused(&with(U, &file(8, &[4], &[7; 4])), &[U, "1 user(s), but 1 are to be held out"]);
}

#[test]
fn settings_out_of_range() {
    let folder = with("README", b"");
    for (options, name) in [
        (Options { hold_out: 0.0, ..Options::default() }, "hold_out"),
        (Options { hold_out: f64::NAN, ..Options::default() }, "hold_out"),
        (Options { personal: 1.0, ..Options::default() }, "personal"),
    ] {
        let message = load(folder.path(), &options).expect_err(name).to_string();
        assert!(message.contains(name) && message.contains("allowed"), "{message}");
    }
}
