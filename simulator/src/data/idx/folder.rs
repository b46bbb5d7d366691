//! Which file of a folder is what, and who is held out.

use super::{Idx, looks_like_idx, table};
use crate::data::{DataError, DeviceRows, Examples, Federated, Parts, TestSet};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

/// How the dimensions behind the first one become `[channels, height, width]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// `uint8` in two dimensions is an image, any other type a series.
    #[default]
    Auto,
    /// `[height, width]` or `[height, width, channels]`.
    Image,
    /// `[time, channels]`: height 1, the width is time.
    Series,
    /// `[channels, height, width]` or `[channels, time]`, as it lies.
    ChannelFirst,
}

/// What happens to raw values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scaling {
    /// `uint8` / 255; other integers as `Standardise`; reals as they are.
    #[default]
    Auto,
    /// Mean 0 and standard deviation 1 of each channel, over all devices' training examples.
    Standardise,
    /// As they are.
    AsIs,
}

/// Choices where the files leave some.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Layout of an example.
    pub layout: Layout,
    /// Scaling of features.
    pub scaling: Scaling,
    /// Where the folder has no test files: the fraction of the users, last by id, that is held out whole. In (0, 1).
    pub hold_out: f64,
    /// The fraction of each training user's examples, last in the file's order, for that user's own test (rounded down).
    /// In [0, 1).
    pub personal: f64,
}

impl Default for Options {
    /// Holds out 30 % of the users (of HAPT's 30 subjects the last nine) and nothing of those who train.
    fn default() -> Self {
        Self { layout: Layout::Auto, scaling: Scaling::Auto, hold_out: 0.3, personal: 0.0 }
    }
}

const ROLES: [(&str, [&str; 4]); 3] = [
    ("examples", ["images", "x", "image", "features"]),
    ("labels", ["labels", "y", "label", "targets"]),
    ("users", ["users", "user", "writers", "subjects"]),
];
const TEST: [&str; 3] = ["t10k", "test", "testing"];

/// (test files?, role) that a name claims: `t10k-images-idx3-ubyte.gz` is `(true, 0)`.
fn role(name: &str) -> Option<(bool, usize)> {
    let name = name.to_ascii_lowercase();
    let words: Vec<&str> = name.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    let role = ROLES.iter().position(|(_, names)| words.iter().any(|w| names.contains(w)))?;
    Some((words.iter().any(|w| TEST.contains(w)), role))
}

/// Paths by test and role. A file whose name claims a role that no IDX file has is kept too: loading it tells what is wrong.
fn find(folder: &Path) -> Result<[[Option<PathBuf>; 3]; 2], DataError> {
    let read = |source| DataError::Read { file: folder.into(), source };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(read)? {
        let path = entry.map_err(read)?.path();
        if path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    let mut found: [[Option<PathBuf>; 3]; 2] = Default::default();
    let mut claims: [[Option<PathBuf>; 3]; 2] = Default::default();
    for path in paths {
        let Some((test, role)) = path.file_name().and_then(|n| n.to_str()).and_then(role) else { continue };
        if !looks_like_idx(&path)? {
            claims[usize::from(test)][role].get_or_insert(path);
        } else if let Some(first) = found[usize::from(test)][role].replace(path) {
            let second = found[usize::from(test)][role].take().unwrap_or_default();
            return Err(DataError::Ambiguous { first, second, part: part(test), role: ROLES[role].0 });
        }
    }
    for (found, claim) in found.iter_mut().flatten().zip(claims.into_iter().flatten()) {
        if found.is_none() {
            *found = claim;
        }
    }
    Ok(found)
}

const fn part(test: bool) -> &'static str {
    if test { "test" } else { "training" }
}

/// Three files that belong together.
pub(super) struct Triple {
    pub(super) file: PathBuf,
    pub(super) x: Idx,
    pub(super) labels: Vec<u16>,
    users: Vec<i64>,
    users_file: PathBuf,
}

impl Triple {
    fn read(folder: &Path, test: bool, paths: [Option<PathBuf>; 3]) -> Result<Self, DataError> {
        let mut files = Vec::new();
        for (path, (role, names)) in paths.into_iter().zip(ROLES) {
            let prefix = if test { "t10k-" } else { "" };
            let wanted = format!("{prefix}{} or {prefix}{}", names[0], names[1]);
            files.push(path.ok_or(DataError::Missing { folder: folder.into(), part: part(test), role, wanted })?);
        }
        let [file, labels_file, users_file] = <[PathBuf; 3]>::try_from(files).unwrap_or_default();
        let x = Idx::read(&file)?;
        let labels = column(&labels_file, "labels", &file, x.records())?;
        let users = column(&users_file, "user ids", &file, x.records())?;
        if x.records() == 0 {
            return Err(DataError::Empty { file });
        }
        let most = u16::MAX;
        let labels = (0..x.records()).map(|i| {
            let label = labels.integer(i).unwrap_or(-1);
            let (file, offset) = (labels_file.clone(), labels.offset(i));
            u16::try_from(label).map_err(|_| DataError::Label { file, record: i, offset, label, most: most.into() })
        });
        let labels = labels.collect::<Result<_, _>>()?;
        let users = (0..x.records()).filter_map(|i| users.integer(i)).collect();
        Ok(Self { file, x, labels, users, users_file })
    }

    /// Records in order of user, stable; and the distinct users, sorted, each with its number of records.
    fn by_user(&self) -> (Vec<u32>, Vec<(i64, u32)>) {
        let mut order: Vec<u32> = (0..self.users.len()).map(|i| i as u32).collect();
        order.sort_by_key(|&i| self.users[i as usize]);
        let mut users: Vec<(i64, u32)> = Vec::new();
        for &i in &order {
            match users.last_mut() {
                Some((user, count)) if *user == self.users[i as usize] => *count += 1,
                _ => users.push((self.users[i as usize], 1)),
            }
        }
        (order, users)
    }
}

/// A one-dimensional file of integers, one for each record of `examples`.
fn column(path: &Path, role: &'static str, examples: &Path, records: usize) -> Result<Idx, DataError> {
    let idx = Idx::read(path)?;
    let file = path.to_path_buf();
    if idx.dims.len() != 1 {
        return Err(DataError::Dims { file, dims: idx.dims, role, why: "one number a record is wanted" });
    }
    if matches!(idx.kind, super::Kind::F32 | super::Kind::F64) {
        return Err(DataError::Kind { file, role, kind: idx.kind.name() });
    }
    if idx.records() != records {
        return Err(DataError::Counts { file, got: idx.records(), other: examples.into(), wanted: records });
    }
    Ok(idx)
}

/// Rows of consecutive users; the last `personal` of each user's examples are for its own test.
fn rows(users: &[(i64, u32)], personal: f64) -> Vec<DeviceRows> {
    let mut first = 0;
    let row = |&(user, count): &(i64, u32)| {
        // Rounded down, and below `count` since the fraction is below 1: everyone keeps something to train on.
        let own = ((f64::from(count) * personal) as u32).min(count - 1);
        let row = DeviceRows { user, first, train: count - own, personal: own };
        first += count;
        row
    };
    users.iter().map(row).collect()
}

/// Reads the examples, labels and users of a folder.
///
/// Names tell the roles: `images` or `x`, `labels` or `y`, `users` or `user` as a word of the name; `t10k` or `test` makes it
/// a test file, anything else (`train`, nothing) a training file. Other files are left alone. User ids may be sparse: users
/// are numbered in sorted order, and each user's examples stay in the file's order.
///
/// # Errors
/// [`DataError`], naming the file, the record and what to do.
pub fn load(folder: &Path, options: &Options) -> Result<Federated, DataError> {
    let setting = |name, value: f64, allowed| Err(DataError::Setting { name, value: value.to_string(), allowed });
    if !(options.hold_out > 0.0 && options.hold_out < 1.0) {
        return setting("hold_out", options.hold_out, "above 0 and below 1");
    }
    if !(0.0..1.0).contains(&options.personal) {
        return setting("personal", options.personal, "from 0 on, below 1");
    }
    let [train_paths, test_paths] = find(folder)?;
    let test = test_paths.iter().any(Option::is_some).then(|| Triple::read(folder, true, test_paths)).transpose()?;
    let train = Triple::read(folder, false, train_paths)?;
    let shape = table::shape(&train.file, &train.x, options.layout)?;
    if let Some(test) = &test
        && (test.x.kind, &test.x.dims[1..]) != (train.x.kind, &train.x.dims[1..])
    {
        let text = |t: &Triple| format!("{} records of {:?}", t.x.kind.name(), &t.x.dims[1..]);
        let (file, other) = (test.file.clone(), train.file.clone());
        return Err(DataError::Differs { file, test: text(test), other, train: text(&train) });
    }

    let (order, mut users) = train.by_user();
    let mut split;
    let (order, test_order, test_users) = match &test {
        Some(test) => {
            let (test_order, test_users) = test.by_user();
            let known: BTreeSet<i64> = users.iter().map(|u| u.0).collect();
            let both = test_users.iter().filter(|u| known.contains(&u.0)).count();
            split = format!("the folder's test files, {} users, {both} of whom also train", test_users.len());
            (order, test_order, test_users)
        }
        None => {
            let held_out = libm::round(users.len() as f64 * options.hold_out).max(1.0) as usize;
            if held_out >= users.len() {
                return Err(DataError::FewUsers { file: train.users_file, users: users.len(), held_out });
            }
            let test_users = users.split_off(users.len() - held_out);
            let kept = users.iter().map(|u| u.1 as usize).sum();
            let (first, last) = (test_users[0].0, test_users[held_out - 1].0);
            let all = users.len() + held_out;
            split = format!("no test files: the last {held_out} of {all} users by id ({first} to {last}) are held out");
            let mut order = order;
            let test_order = order.split_off(kept);
            (order, test_order, test_users)
        }
    };
    let devices = rows(&users, options.personal);
    if options.personal > 0.0 {
        split += &format!("; the last {} % of each training user's examples test that user", options.personal * 100.0);
    }
    let values = table::values(&train.file, &train.x, &shape, options.layout, &order)?;
    let (scale, scaling) = table::scale(&values, &shape, train.x.kind, options.scaling, &devices);
    let pick = |labels: &[u16], order: &[u32]| order.iter().map(|&i| labels[i as usize]).collect::<Vec<u16>>();

    let source = test.as_ref().unwrap_or(&train);
    let test_values = table::values(&source.file, &source.x, &shape, options.layout, &test_order)?;
    let test_labels = pick(&source.labels, &test_order);
    let labels = pick(&train.labels, &order);
    let most = labels.iter().chain(&test_labels).max().copied().unwrap_or(0);
    let examples = Examples::new(&shape, test_values, test_labels, scale.clone());
    let test = TestSet::new(examples, rows(&test_users, 0.0));
    let name = folder.file_name().map_or_else(|| "idx".into(), |n| n.to_string_lossy().into_owned());
    let examples = Examples::new(&shape, values, labels, scale);
    Federated::new(Parts { name, shape, classes: u32::from(most) + 1, split, scaling, examples, devices, test })
}
