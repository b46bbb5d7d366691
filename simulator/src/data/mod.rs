//! Examples of many users, in memory once and shared by all virtual devices.
//!
//! | module | source | users |
//! |---|---|---|
//! | [`digits`] | embedded: UCI handwritten digits | thousands of seeded virtual writers |
//! | [`idx`] | a folder of IDX files (x, y, user), gzipped or not | those of the files |
//! | [`a1`] | raw arrays of a side-by-side benchmark | those of the files |
//!
//! Features are kept in the files' own integers where they have some, and become `f32` only in [`Federated::fill`]; a
//! device that is idle costs its row in an index.

pub mod a1;
pub mod digits;
mod error;
pub mod idx;
mod store;
mod summary;

pub use error::DataError;
pub use store::{DeviceRows, Examples, Scale, Values};
pub use summary::Summary;

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
    /// Examples that no device trains on.
    pub test: TestSet,
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
        let set = Self { name, shape, classes, split, scaling, test, source: Source::Stored { examples, devices } };
        set.check()?;
        Ok(set)
    }

    fn drawn(writers: Writers, split: String, scaling: String, test: TestSet) -> Self {
        let name = format!("digits, {} virtual writers", writers.devices());
        let (shape, classes) = (digits::SHAPE, digits::CLASSES);
        Self { name, shape, classes, split, scaling, test, source: Source::Drawn(writers) }
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

    /// Writes training example `example` of `device` to `features` (`[channels, height, width]`); returns its label.
    ///
    /// Cost: a copy with a multiply-add a value; a drawn digit is resampled each time (see [`digits`]).
    ///
    /// # Panics
    /// If `device` or `example` does not exist, or `features` is not [`Self::features_per_example`] long.
    pub fn fill(&self, device: usize, example: usize, features: &mut [f32]) -> u32 {
        match &self.source {
            Source::Stored { examples, devices } => {
                let rows = &devices[device];
                assert!(example < rows.train as usize, "device {device} has {} examples, not {example}", rows.train);
                examples.fill(rows.first as usize + example, features)
            }
            Source::Drawn(writers) => writers.fill(device, example, features),
        }
    }

    /// As [`Self::fill`], for the examples that [`Self::personal_tests`] counts.
    ///
    /// # Panics
    /// As [`Self::fill`].
    pub fn fill_personal(&self, device: usize, example: usize, features: &mut [f32]) -> u32 {
        match &self.source {
            Source::Stored { examples, devices } => {
                let rows = &devices[device];
                assert!(example < rows.personal as usize, "device {device} has {} tests, not {example}", rows.personal);
                examples.fill(rows.first as usize + rows.train as usize + example, features)
            }
            Source::Drawn(writers) => writers.fill_personal(device, example, features),
        }
    }

    /// Label of training example `example` of `device`, without its features.
    ///
    /// # Panics
    /// As [`Self::fill`].
    #[must_use]
    pub fn label(&self, device: usize, example: usize) -> u32 {
        match &self.source {
            Source::Stored { examples, devices } => {
                let rows = &devices[device];
                assert!(example < rows.train as usize, "device {device} has {} examples, not {example}", rows.train);
                examples.label(rows.first as usize + example)
            }
            Source::Drawn(writers) => writers.label(device, example),
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

/// Held-out examples: those of new users where the source has such, else of no user in particular.
#[derive(Debug)]
pub struct TestSet {
    examples: Examples,
    users: Vec<DeviceRows>,
}

impl TestSet {
    /// `users` says whose rows are whose, and may be empty.
    #[must_use]
    pub fn new(examples: Examples, users: Vec<DeviceRows>) -> Self {
        Self { examples, users }
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
    /// If `i` is not below [`Self::len`] or `features` has the wrong length.
    pub fn fill(&self, i: usize, features: &mut [f32]) -> u32 {
        self.examples.fill(i, features)
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
