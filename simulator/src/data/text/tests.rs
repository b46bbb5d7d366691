use super::parts::federated;
use super::table::{read, read_up_to};
use super::*;
use crate::data::tests::Folder;
use crate::data::{Federated, InputShape};
use proptest::prelude::*;
use siskin::model::kernel::IGNORE;
use std::io::Write;

const OPTIONS: Options = Options { window: 4, hold_out: 0.2 };

fn set(text: &str) -> Federated {
    federated(text.as_bytes(), Path::new("a.tsv"), &OPTIONS).expect("good")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(bytes).expect("memory");
    packed.finish().expect("memory")
}

/// Targets of a window as text, and its inputs; `_` is a position that has none, `?` the id of unseen symbols.
fn window(set: &Federated, fill: impl Fn(&mut [f32], &mut [u32])) -> (String, String) {
    let (mut x, mut y) = (vec![0.0; set.features_per_example()], vec![0; set.targets_per_example()]);
    fill(&mut x, &mut y);
    let name = |id: u32| match set.label_names.get(id as usize).map(String::as_str) {
        Some("unseen") => "?".to_owned(),
        Some("space") => " ".to_owned(),
        Some(name) => name.to_owned(),
        None => "_".to_owned(),
    };
    (x.iter().map(|v| name(*v as u32)).collect(), y.iter().map(|v| name(*v)).collect())
}

#[test]
fn lines_become_windows_and_the_last_fifth_is_held_out() {
    // Ann has lines "ab", "b", "a b", "b", and for the test "az"; Bob too few to hold one out.
    let set = set("play\twho\ttext\nP\tAnn\tab\\nb\nP\tBob\tba\r\n\nP\tAnn\ta b\nP\tAnn\tb\\naz\n");
    let names: Vec<&str> = set.label_names.iter().map(String::as_str).collect();
    assert_eq!(names, ["\\n", "space", "a", "b", "unseen"], "z is in the test only, and code points ascend");
    let problem = set.problem();
    assert_eq!(
        (problem.shape, problem.classes, problem.targets),
        (InputShape { channels: 1, height: 4, width: 1 }, 5, 4)
    );
    assert!(problem.tokens);
    assert_eq!((set.devices(), set.examples(0), set.examples(1), set.user(1)), (2, 3, 1, 1));
    let at = |d, i| window(&set, |x, y| set.fill_targets(d, i, x, y));
    assert_eq!(at(0, 0), ("\\nab\\n".into(), "ab\\nb".into()));
    assert_eq!(at(0, 1), ("b\\na ".into(), "\\na b".into()));
    assert_eq!(at(0, 2), ("b\\nb?".into(), "\\nb\\n_".into()), "the end is padded");
    assert_eq!(at(1, 0), ("\\nba?".into(), "ba\\n_".into()));
    assert_eq!((set.test.len(), set.test.targets(), set.test.users().len()), (1, 3, 1));
    assert_eq!((set.test.users()[0].user, set.test.users()[0].train), (0, 1));
    assert_eq!(window(&set, |x, y| set.test.fill_targets(0, x, y)), ("\\na??".into(), "a?\\n_".into()));
    assert!(set.split.starts_with("the last 20 % of each user's lines"), "{}", set.split);
    for part in ["1 of 6 lines", "the same users' later lines", "1 of 2 users have too few", "1 blank lines"] {
        assert!(set.split.contains(part), "{part} is not in: {}", set.split);
    }
    for part in ["the 4 symbols", "met 1 times", "windows of 4, 2 positions"] {
        assert!(set.scaling.contains(part), "{part} is not in: {}", set.scaling);
    }
    assert!(set.name.contains("4 records, users by play, who"), "{}", set.name);
    let summary = set.summary();
    assert_eq!((summary.labels, summary.test_labels), (vec![5, 1, 3, 5, 0], vec![1, 0, 1, 0, 1]));
    assert_eq!((summary.targets, summary.examples, summary.test_users_that_train), (4, 4, 1));
    assert_eq!(summary.labels_only_in_test, 1);
}

#[test]
fn a_window_has_no_single_label() {
    let set = set("u\ttext\na\tx\\nx\\nx\\nx\\nx\n");
    assert!(std::panic::catch_unwind(|| set.fill(0, 0, &mut [0.0; 4])).is_err());
    assert!(std::panic::catch_unwind(|| set.label(0, 0)).is_err());
    assert!(std::panic::catch_unwind(|| set.fill_targets(0, 0, &mut [0.0; 4], &mut [0; 3])).is_err());
    assert!(std::panic::catch_unwind(|| set.fill_personal_targets(0, 0, &mut [0.0; 4], &mut [0; 4])).is_err());
}

#[test]
fn bad_tables_are_named() {
    let refused = |bytes: &[u8], wanted: &[&str]| {
        let message = federated(bytes, Path::new("a.tsv"), &OPTIONS).expect_err("bad").to_string();
        for part in wanted {
            assert!(message.contains(part), "{part:?} is not in: {message}");
        }
        assert!(message.starts_with("a.tsv") && !message.contains('\n') && message.contains(';'), "{message}");
    };
    refused(b"", &["no records"]);
    refused(b"who\ttext\n", &["no records"]);
    refused(b"who\ttext\n\n\n", &["no records"]);
    refused(b"who\twords\nx\ty\n", &["line 1, column 2", "\"words\"", "must be `text`"]);
    refused(b"text\tw\x1bho\nx\ty\n", &["line 1, column 2", "\"w\\u{1b}ho\""]);
    refused(b"text\nx\n", &["line 1, column 1", "only column"]);
    refused(b"who\ttext\nx\ty\nx\n", &["line 3, column 1: has 1 columns, but line 1 has 2"]);
    refused(b"who\ttext\nx\ty\tz\n", &["line 2, column 2: has 3 columns"]);
    refused(b"who\ttext\nx\ty\nx\taa\xffb\n", &["line 3, byte 5: not UTF-8"]);
    refused(b"who\ttext\nx\ty\nz\t\nz\t\\n\n", &["line 3, column 2: user \"z\" has no text at all"]);
    refused(b"who\ttext\nx\ty\n", &["no test examples"]);
    let many: String = (0x10000u32..0x20000).filter_map(char::from_u32).collect();
    refused(format!("who\ttext\nx\t{many}\n").as_bytes(), &["65537 different symbols", "65534"]);
    for options in [Options { window: 0, ..OPTIONS }, Options { hold_out: 1.0, ..OPTIONS }] {
        let message = load(Path::new("a.tsv"), &options).expect_err("bad").to_string();
        assert!(message.contains("out of range"), "{message}");
    }
}

#[test]
fn gzip_is_found_by_content_and_its_size_is_bounded() {
    let name = Path::new("a.tsv");
    let packed = gzip(b"who\ttext\n");
    assert_eq!(read(&packed[..], name).expect("good"), b"who\ttext\n");
    assert_eq!(read(&b"who"[..], name).expect("good"), b"who");
    let message = |e: DataError| e.to_string();
    assert!(message(read(&packed[..15], name).expect_err("cut")).contains("damaged or cut off"));
    assert!(message(read_up_to(&packed[..], name, 8).expect_err("long")).contains("limit of 8 bytes"));
    assert!(read_up_to(&packed[..], name, 9).is_ok());
}

#[test]
fn a_folder_is_text_if_it_holds_one_table_and_no_arrays() {
    let name = |folder: &Folder| {
        find(folder.path()).map(|file| file.and_then(|f| f.file_name().map(|n| n.to_string_lossy().into_owned())))
    };
    assert_eq!(name(&Folder::new().with("notes", b"")).expect("none"), None);
    let one = || Folder::new().with("notes", b"no data").with("b.TSV.gz", b"");
    assert_eq!(name(&one()).expect("one"), Some("b.TSV.gz".into()));
    let error = name(&one().with("a.tsv", b"")).expect_err("two").to_string();
    assert!(error.contains("a.tsv") && error.contains("b.TSV.gz") && error.contains("training text"), "{error}");
    let arrays = one().with("x-idx1-ubyte", &[0, 0, 8, 1, 0, 0, 0, 0]);
    assert_eq!(name(&arrays).expect("arrays"), None);
    let folder = one();
    let file = folder.path().join("b.TSV.gz");
    assert_eq!(find(&file).expect("a file"), Some(file));
    assert_eq!(find(&folder.path().join("notes")).expect("a file"), None);
}

#[test]
fn shakespeare_has_the_published_roles() {
    let root = std::env::var_os("SISKIN_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"), PathBuf::from);
    let folder = root.join("data/shakespeare");
    if !folder.is_dir() {
        println!("skipped: {} not found (set SISKIN_SHARED)", folder.display());
        return;
    }
    let file = find(&folder).expect("readable").expect("one table");
    let set = load(&file, &Options::default()).expect("loads");
    let summary = set.summary();
    println!("{summary}\n{} bytes in all", set.heap_bytes());
    assert_eq!((summary.users, summary.shape), (1_346, [1, 80, 1]));
    // 4,289,213 symbols in 30,913 speeches, each with its line break.
    let targets: usize = summary.labels.iter().chain(&summary.test_labels).sum();
    assert_eq!(targets, 4_289_213 + 30_913);
    assert!(set.name.contains("30913 records, users by play, speaker"), "{}", set.name);
    assert_eq!(summary.test_users_that_train, summary.test_users);
}

/// Lines of a table, mostly good ones.
fn tables() -> impl Strategy<Value = Vec<u8>> {
    let row = prop_oneof![
        8 => "[ab]\t[a-c \\\\né\u{1f600}]{0,40}",
        1 => "[\\t\\r a]{0,3}",
        1 => any::<String>(),
    ];
    let header = prop_oneof![9 => Just("u\ttext".to_owned()), 1 => any::<String>()];
    let noise = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..2);
    (header, proptest::collection::vec(row, 0..40), noise).prop_map(|(header, rows, noise)| {
        let mut bytes = [vec![header], rows].concat().join("\n").into_bytes();
        for (at, byte) in noise {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        bytes
    })
}

/// Bytes are refused in one line that names the file, or every symbol of them is a target once.
fn taken_or_named(bytes: &[u8]) -> Result<(), TestCaseError> {
    match federated(bytes, Path::new("a.tsv"), &OPTIONS) {
        Err(error) => {
            let message = error.to_string();
            prop_assert!(message.starts_with("a.tsv") && !message.contains(['\n', '\r']), "{message:?}");
        }
        Ok(set) => {
            let text = std::str::from_utf8(bytes).map_err(|e| TestCaseError::fail(e.to_string()))?;
            let texts = text.split('\n').skip(1).filter_map(|l| l.strip_suffix('\r').unwrap_or(l).rsplit_once('\t'));
            let symbols: usize = texts.map(|(_, t)| t.replace("\\n", "\n").chars().count() + 1).sum();
            let summary = set.summary();
            let targets: usize = summary.labels.iter().chain(&summary.test_labels).sum();
            prop_assert_eq!(targets, symbols);
            let (mut x, mut y) = ([0.0; 4], [0; 4]);
            for i in 0..set.test.len() {
                set.test.fill_targets(i, &mut x, &mut y);
                prop_assert!(y[0] != IGNORE && y.iter().all(|&t| t == IGNORE || t < set.classes));
                prop_assert!(x.iter().all(|&t| (t as u32) < set.classes));
            }
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let unpacked = read(&bytes[..], Path::new("a.tsv"));
        taken_or_named(&unpacked.unwrap_or(bytes))?;
    }

    #[test]
    fn every_symbol_of_a_table_is_a_target_once(bytes in tables()) {
        taken_or_named(&bytes)?;
    }
}
