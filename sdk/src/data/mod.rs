//! The device's own examples: the store that the app provides, shuffling without memory, batches.

mod batch;
mod shuffle;

pub use shuffle::Shuffle;

pub(crate) use batch::{Batches, Rules, Staging, load};

/// A device's local examples.
///
/// The app implements it over whatever holds its data. Reading the same index twice in one session must give the same
/// example.
pub trait ExampleStore {
    /// Number of examples.
    fn len(&self) -> u32;

    /// True if there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes the features of example `index` (in the order `[channel][row][column]` of the plan's input) and returns
    /// its label, counted from 0.
    ///
    /// # Errors
    /// [`StoreError`] if the example cannot be read; the round is then given up, and the server is told so.
    fn read(&mut self, index: u32, features: &mut [f32]) -> Result<u32, StoreError>;

    /// As [`read`](Self::read), for models with more than one target an example: a class for each position, or the bits
    /// ([`f32::to_bits`]) of one number for each output. [`IGNORE`](crate::model::kernel::IGNORE) marks a position that has no
    /// class. What comes without an implementation of this is one label.
    ///
    /// # Errors
    /// As [`read`](Self::read); [`StoreError::Targets`] if the store has another number of them.
    fn read_targets(&mut self, index: u32, features: &mut [f32], targets: &mut [u32]) -> Result<(), StoreError> {
        match targets {
            [label] => {
                *label = self.read(index, features)?;
                Ok(())
            }
            _ => Err(StoreError::Targets { expected: targets.len() as u32, got: 1 }),
        }
    }
}

/// An example could not be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum StoreError {
    /// The store failed to read it; the number is the app's own.
    Read {
        /// Which example.
        index: u32,
        /// The app's error code.
        code: i32,
    },
    /// It has another number of features than the plan's input.
    Shape {
        /// Features of the plan.
        expected: u32,
        /// Features of the store.
        got: u32,
    },
    /// A feature is NaN or infinite.
    NotFinite {
        /// Which example.
        index: u32,
        /// Which feature.
        feature: u32,
    },
    /// It has another number of targets than the plan's output asks for.
    Targets {
        /// Targets of the plan.
        expected: u32,
        /// Targets of the store.
        got: u32,
    },
    /// A target that is a number is not finite, or not in `[0, 1]` where the loss needs it.
    Target {
        /// Which example.
        index: u32,
        /// Which target of it.
        target: u32,
    },
    /// A feature is no token of the plan's vocabulary: not a whole number below its size.
    Token {
        /// Which example.
        index: u32,
        /// Which feature.
        feature: u32,
        /// Size of the vocabulary.
        vocabulary: u32,
    },
    /// The label is not below the number of classes.
    Label {
        /// Which example.
        index: u32,
        /// Its label.
        label: u32,
        /// Classes of the plan.
        classes: u32,
    },
}

impl core::fmt::Display for StoreError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Read { index, code } => write!(f, "example {index} cannot be read (code {code})"),
            Self::Shape { expected, got } => write!(f, "examples have {got} features, the plan's input has {expected}"),
            Self::NotFinite { index, feature } => write!(f, "feature {feature} of example {index} is not finite"),
            Self::Targets { expected, got } => {
                write!(f, "examples have {got} targets, the plan's output asks for {expected}")
            }
            Self::Target { index, target } => write!(f, "target {target} of example {index} is out of range"),
            Self::Token { index, feature, vocabulary } => {
                write!(f, "feature {feature} of example {index} is no token below the plan's {vocabulary}")
            }
            Self::Label { index, label, classes } => {
                write!(f, "label {label} of example {index} is not below the plan's {classes} classes")
            }
        }
    }
}

impl core::error::Error for StoreError {}

/// Examples in two slices, for tests and small devices: features `[example][feature]` and labels.
#[derive(Debug, Clone, Copy)]
pub struct SliceStore<'a> {
    features: &'a [f32],
    labels: &'a [u32],
}

impl<'a> SliceStore<'a> {
    /// `features` holds `labels.len()` examples, one after the other.
    pub fn new(features: &'a [f32], labels: &'a [u32]) -> Self {
        Self { features, labels }
    }
}

impl ExampleStore for SliceStore<'_> {
    fn len(&self) -> u32 {
        self.labels.len() as u32
    }

    fn read(&mut self, index: u32, features: &mut [f32]) -> Result<u32, StoreError> {
        let n = self.features.len() / self.labels.len().max(1);
        if n != features.len() {
            return Err(StoreError::Shape { expected: features.len() as u32, got: n as u32 });
        }
        let at = index as usize;
        let label = self.labels.get(at).ok_or(StoreError::Read { index, code: 0 })?;
        features.copy_from_slice(&self.features[at * n..(at + 1) * n]);
        Ok(*label)
    }
}
