//! Examples of many users, in memory once and shared by all virtual devices.
//!
//! | module | source | users |
//! |---|---|---|
//! | [`digits`] | embedded: UCI handwritten digits | thousands of seeded virtual writers |
//! | [`idx`] | a folder of IDX files (x, y, user), gzipped or not | those of the files |
//! | [`text`] | lines of text that a table gives to users | those of the table |
//! | [`a1`] | raw arrays of a side-by-side benchmark | those of the files |
//!
//! Features are kept in the files' own integers where they have some, and become `f32` only in [`Federated::fill`]; a
//! device that is idle costs its row in an index.

pub mod a1;
pub mod digits;
mod error;
pub mod idx;
mod normalization;
mod store;
mod summary;
pub mod text;
mod windows;

pub use error::DataError;
pub use normalization::Normalization;
pub use store::{DeviceRows, Examples, Scale, Values};
pub use summary::Summary;
pub use windows::Windows;

use digits::Writers;

/// What one example looks like: `[channels, height, width]`, channel first. A series of `n` samples has height 1, width `n`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct InputShape {
    /// Colours, sensor axes; at least 1.
    pub channels: usize,
    /// Rows; at least 1.
    pub height: usize,
    /// Columns; at least 1.
    pub width: usize,
}

impl InputShape {
    /// Numbers in one example.
    #[must_use]
    pub const fn features(&self) -> usize {
        self.channels * self.height * self.width
    }
}

impl std::fmt::Display for InputShape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}x{}", self.channels, self.height, self.width)
    }
}

/// What a model takes and what it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Shape of an example.
    pub shape: InputShape,
    /// True if features are numbers of tokens, `0..classes`, and not numbers to calculate with.
    pub tokens: bool,
    /// Labels are `0..classes`.
    pub classes: u32,
    /// Labels of an example, one for each position of the output; 1 for one label in all.
    pub targets: usize,
}

/// The examples of a fleet. It is `Sync`: threads read it through a shared reference, and no call allocates.
#[derive(Debug)]
pub struct Federated {
    /// For reports.
    pub name: String,
    /// Shape of every example.
    pub shape: InputShape,
    /// Labels are `0..classes`; at most 65,536.
    pub classes: u32,
    /// One line for reports: which examples are held out, and from whom.
    pub split: String,
    /// One line for reports: what happens to a raw value before a model sees it.
    pub scaling: String,
    /// What the labels are called, in their order; empty if they are just numbers.
    pub label_names: Vec<String>,
    /// Examples that no device trains on.
    pub test: TestSet,
    normalization: Normalization,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Stored { examples: Examples, devices: Vec<DeviceRows> },
    Drawn(Writers),
}

/// Everything that [`Federated::new`] needs; examples lie device after device.
#[derive(Debug)]
pub struct Parts {
    /// For reports.
    pub name: String,
    /// Shape of every example.
    pub shape: InputShape,
    /// Labels are `0..classes`.
    pub classes: u32,
    /// See [`Federated::split`].
    pub split: String,
    /// See [`Federated::scaling`].
    pub scaling: String,
    /// Rows of all devices.
    pub examples: Examples,
    /// Which rows are whose.
    pub devices: Vec<DeviceRows>,
    /// Rows that no device has.
    pub test: TestSet,
}

impl Federated {
    /// A data set out of rows in memory.
    ///
    /// # Errors
    /// As [`Federated::check`].
    pub fn new(parts: Parts) -> Result<Self, DataError> {
        let Parts { name, shape, classes, split, scaling, examples, devices, test } = parts;
        let (label_names, source) = (Vec::new(), Source::Stored { examples, devices });
        let normalization = Normalization::NONE;
        let set = Self { name, shape, classes, split, scaling, label_names, test, normalization, source };
        set.check()?;
        Ok(set)
    }

    fn drawn(writers: Writers, split: String, scaling: String, test: TestSet) -> Self {
        let name = format!("digits, {} virtual writers", writers.devices());
        let (shape, classes) = (digits::SHAPE, digits::CLASSES);
        let (label_names, source) = (Vec::new(), Source::Drawn(writers));
        let normalization = Normalization::NONE;
        Self { name, shape, classes, split, scaling, label_names, test, normalization, source }
    }

    /// Devices, numbered from 0.
    #[must_use]
    pub fn devices(&self) -> usize {
        match &self.source {
            Source::Stored { devices, .. } => devices.len(),
            Source::Drawn(writers) => writers.devices(),
        }
    }

    /// The source's own id of the user behind `device`; for virtual writers, the number of the device.
    #[must_use]
    pub fn user(&self, device: usize) -> i64 {
        match &self.source {
            Source::Stored { devices, .. } => devices[device].user,
            Source::Drawn(_) => device as i64,
        }
    }

    /// Training examples of `device`.
    #[must_use]
    pub fn examples(&self, device: usize) -> usize {
        match &self.source {
            Source::Stored { devices, .. } => devices[device].train as usize,
            Source::Drawn(writers) => writers.examples(device),
        }
    }

    /// Examples on which `device`'s own accuracy is measured; none of them is trained on. May be 0.
    #[must_use]
    pub fn personal_tests(&self, device: usize) -> usize {
        match &self.source {
            Source::Stored { devices, .. } => devices[device].personal as usize,
            Source::Drawn(writers) => writers.personal_tests(device),
        }
    }

    /// Numbers in one example.
    #[must_use]
    pub fn features_per_example(&self) -> usize {
        self.shape.features()
    }

    /// Targets of one example: 1 where examples have one label, else one for each position.
    #[must_use]
    pub fn targets_per_example(&self) -> usize {
        match &self.source {
            Source::Stored { examples, .. } => examples.targets_per_example(),
            Source::Drawn(_) => 1,
        }
    }

    /// What a model takes and what it is asked.
    #[must_use]
    pub fn problem(&self) -> Problem {
        let tokens = matches!(&self.source, Source::Stored { examples, .. } if examples.windows().is_some());
        Problem { shape: self.shape, tokens, classes: self.classes, targets: self.targets_per_example() }
    }

    /// Row of a device's example in the table.
    fn row(rows: &DeviceRows, device: usize, example: usize) -> usize {
        assert!(example < rows.train as usize, "device {device} has {} examples, not {example}", rows.train);
        rows.first as usize + example
    }

    fn personal_row(rows: &DeviceRows, device: usize, example: usize) -> usize {
        assert!(example < rows.personal as usize, "device {device} has {} tests, not {example}", rows.personal);
        rows.first as usize + rows.train as usize + example
    }

    /// Writes training example `example` of `device` to `features` (`[channels, height, width]`); returns its label.
    ///
    /// Cost: a copy with a multiply-add a value; a drawn digit is resampled each time (see [`digits`]).
    ///
    /// # Panics
    /// If `device` or `example` does not exist, `features` is not [`Self::features_per_example`] long, or examples have more
    /// than one target.
    pub fn fill(&self, device: usize, example: usize, features: &mut [f32]) -> u32 {
        let label = match &self.source {
            Source::Stored { examples, devices } => {
                examples.fill(Self::row(&devices[device], device, example), features)
            }
            Source::Drawn(writers) => writers.fill(device, example, features),
        };
        self.normalization.apply(features);
        label
    }

    /// As [`Self::fill`], for the examples that [`Self::personal_tests`] counts.
    ///
    /// # Panics
    /// As [`Self::fill`].
    pub fn fill_personal(&self, device: usize, example: usize, features: &mut [f32]) -> u32 {
        let label = match &self.source {
            Source::Stored { examples, devices } => {
                examples.fill(Self::personal_row(&devices[device], device, example), features)
            }
            Source::Drawn(writers) => writers.fill_personal(device, example, features),
        };
        self.normalization.apply(features);
        label
    }

    /// Label of training example `example` of `device`, without its features.
    ///
    /// # Panics
    /// As [`Self::fill`].
    #[must_use]
    pub fn label(&self, device: usize, example: usize) -> u32 {
        match &self.source {
            Source::Stored { examples, devices } => examples.label(Self::row(&devices[device], device, example)),
            Source::Drawn(writers) => writers.label(device, example),
        }
    }

    /// As [`Self::fill`], for any number of targets an example: writes them to `targets`, in the order of the positions.
    /// [`IGNORE`](siskin::model::kernel::IGNORE) stands where a position has none.
    ///
    /// # Panics
    /// If `device` or `example` does not exist, `features` is not [`Self::features_per_example`] or `targets` not
    /// [`Self::targets_per_example`] long.
    pub fn fill_targets(&self, device: usize, example: usize, features: &mut [f32], targets: &mut [u32]) {
        match &self.source {
            Source::Stored { examples, devices } => {
                examples.fill_targets(Self::row(&devices[device], device, example), features, targets);
            }
            Source::Drawn(writers) => *one(targets) = writers.fill(device, example, features),
        }
        self.normalization.apply(features);
    }

    /// As [`Self::fill_targets`], for the examples that [`Self::personal_tests`] counts.
    ///
    /// # Panics
    /// As [`Self::fill_targets`].
    pub fn fill_personal_targets(&self, device: usize, example: usize, features: &mut [f32], targets: &mut [u32]) {
        match &self.source {
            Source::Stored { examples, devices } => {
                examples.fill_targets(Self::personal_row(&devices[device], device, example), features, targets);
            }
            Source::Drawn(writers) => *one(targets) = writers.fill_personal(device, example, features),
        }
        self.normalization.apply(features);
    }

    /// Gives the targets of training example `example` of `device` to `see`, without those that are none.
    ///
    /// # Panics
    /// If `device` or `example` does not exist.
    pub fn each_target(&self, device: usize, example: usize, mut see: impl FnMut(u32)) {
        match &self.source {
            Source::Stored { examples, devices } => {
                examples.each_target(Self::row(&devices[device], device, example), &mut see);
            }
            Source::Drawn(writers) => see(writers.label(device, example)),
        }
    }

    /// Users, examples and labels, counted.
    #[must_use]
    pub fn summary(&self) -> Summary {
        Summary::of(self)
    }

    /// Bytes that the examples and their index take, the embedded originals included.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let own = match &self.source {
            Source::Stored { examples, devices } => examples.heap_bytes() + size_of_val(devices.as_slice()),
            Source::Drawn(writers) => writers.heap_bytes(),
        };
        own + self.test.heap_bytes()
    }

    /// Is every device usable, every row inside the table, every label a class, and is there something to test on?
    ///
    /// # Errors
    /// [`DataError::NoDevices`], [`DataError::EmptyDevices`], [`DataError::NoTest`], [`DataError::Table`].
    pub fn check(&self) -> Result<(), DataError> {
        let table = |what: String| Err(DataError::Table { name: self.name.clone(), what });
        if self.devices() == 0 {
            return Err(DataError::NoDevices { name: self.name.clone() });
        }
        if self.shape.features() == 0 {
            return table(format!("shape {} has no features", self.shape));
        }
        if let Source::Stored { examples, devices } = &self.source {
            if self.test.examples.targets_per_example() != examples.targets_per_example() {
                return table("the test examples have another number of targets".to_owned());
            }
            for (what, rows) in [("training", examples), ("test", &self.test.examples)] {
                if let Some(fault) = rows.fault(&self.shape, self.classes) {
                    return table(format!("{what} examples: {fault}"));
                }
            }
            let tables = [("device", devices, examples), ("test user", &self.test.users, &self.test.examples)];
            for (who, rows, examples) in tables {
                if let Some(i) = rows.iter().position(|d| d.end() > examples.len() as u64) {
                    return table(format!("{who} {i} ends past the last of {} examples", examples.len()));
                }
            }
        }
        let mut empty = (0..self.devices()).filter(|&d| self.examples(d) == 0);
        if let Some(first) = empty.next() {
            let (devices, user) = (1 + empty.count(), self.user(first));
            return Err(DataError::EmptyDevices { name: self.name.clone(), devices, first, user });
        }
        if self.test.is_empty() {
            return Err(DataError::NoTest { name: self.name.clone() });
        }
        Ok(())
    }
}

/// The only target.
fn one(targets: &mut [u32]) -> &mut u32 {
    match targets {
        [label] => label,
        _ => panic!("one target an example, not room for {}", targets.len()),
    }
}

/// Held-out examples: those of new users where the source has such, else of no user in particular.
#[derive(Debug)]
pub struct TestSet {
    examples: Examples,
    users: Vec<DeviceRows>,
    normalization: Normalization,
}

impl TestSet {
    /// `users` says whose rows are whose, and may be empty.
    #[must_use]
    pub fn new(examples: Examples, users: Vec<DeviceRows>) -> Self {
        Self { examples, users, normalization: Normalization::NONE }
    }

    /// Examples.
    #[must_use]
    pub fn len(&self) -> usize {
        self.examples.len()
    }

    /// True of a set that nothing can be measured on.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes example `i` to `features`; returns its label.
    ///
    /// # Panics
    /// If `i` is not below [`Self::len`], `features` has the wrong length, or examples have more than one target.
    pub fn fill(&self, i: usize, features: &mut [f32]) -> u32 {
        let label = self.examples.fill(i, features);
        self.normalization.apply(features);
        label
    }

    /// As [`Federated::fill_targets`].
    ///
    /// # Panics
    /// If `i` is not below [`Self::len`] or a slice has the wrong length.
    pub fn fill_targets(&self, i: usize, features: &mut [f32], targets: &mut [u32]) {
        self.examples.fill_targets(i, features, targets);
        self.normalization.apply(features);
    }

    /// Gives the targets of example `i` to `see`, without those that are none.
    ///
    /// # Panics
    /// If `i` is not below [`Self::len`].
    pub fn each_target(&self, i: usize, mut see: impl FnMut(u32)) {
        self.examples.each_target(i, &mut see);
    }

    /// Targets of all examples together.
    #[must_use]
    pub fn targets(&self) -> u64 {
        self.examples.windows().map_or(self.len() as u64, Windows::targets)
    }

    /// Label of example `i`.
    ///
    /// # Panics
    /// If `i` is not below [`Self::len`].
    #[must_use]
    pub fn label(&self, i: usize) -> u32 {
        self.examples.label(i)
    }

    /// The users whose examples these are, in the order of their rows; empty if the source does not tell.
    #[must_use]
    pub fn users(&self) -> &[DeviceRows] {
        &self.users
    }

    fn heap_bytes(&self) -> usize {
        self.examples.heap_bytes() + size_of_val(self.users.as_slice())
    }
}

#[cfg(test)]
mod tests;
