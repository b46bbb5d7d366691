//! Examples in their source's number type: a table of features and labels, or windows of tokens.

use super::{InputShape, Windows};

/// Raw features, example after example, each `[channels, height, width]`.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// One byte a value.
    U8(Vec<u8>),
    /// Two bytes a value.
    I16(Vec<i16>),
    /// Four bytes a value; all finite.
    F32(Vec<f32>),
}

impl Values {
    /// Values of all examples together.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::U8(v) => v.len(),
            Self::I16(v) => v.len(),
            Self::F32(v) => v.len(),
        }
    }

    /// True if there is no value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// `raw * gain[channel] + bias[channel]` is what a model sees: a multiplication, rounded, then an addition.
#[derive(Debug, Clone, PartialEq)]
pub struct Scale {
    gain: Vec<f32>,
    bias: Vec<f32>,
}

impl Scale {
    /// The same for all channels.
    #[must_use]
    pub fn uniform(channels: usize, gain: f32, bias: f32) -> Self {
        Self { gain: vec![gain; channels], bias: vec![bias; channels] }
    }

    /// Takes the mean off each channel and divides by its standard deviation; a [constant](Self::is_constant) channel is
    /// only centred.
    ///
    /// # Panics
    /// If the two differ in length.
    #[must_use]
    pub fn standardise(mean: &[f64], deviation: &[f64]) -> Self {
        assert_eq!(mean.len(), deviation.len(), "a mean and a deviation for each channel");
        let channels = mean.iter().zip(deviation);
        let gain: Vec<f64> = channels.map(|(&m, &d)| if Self::is_constant(m, d) { 1.0 } else { 1.0 / d }).collect();
        let bias = mean.iter().zip(&gain).map(|(m, g)| (-m * g) as f32).collect();
        Self { gain: gain.iter().map(|&g| g as f32).collect(), bias }
    }

    /// Is a deviation no more than rounding? At 1e-7 of the mean, an `f32` cannot tell the values apart; dividing by such a
    /// deviation would make large features of noise.
    #[must_use]
    pub fn is_constant(mean: f64, deviation: f64) -> bool {
        deviation <= 1e-30 || deviation <= 1e-7 * mean.abs()
    }
}

/// Examples with their targets: rows of features with one label each, or windows of tokens with a target at each position.
#[derive(Debug, Clone)]
pub struct Examples(Content);

#[derive(Debug, Clone)]
enum Content {
    Table(Table),
    Windows(Windows),
}

/// Rows with their labels and the scale that makes features of them.
#[derive(Debug, Clone)]
struct Table {
    values: Values,
    labels: Vec<u16>,
    scale: Scale,
    /// Values of one channel of one example.
    plane: usize,
}

impl From<Windows> for Examples {
    fn from(windows: Windows) -> Self {
        Self(Content::Windows(windows))
    }
}

impl Examples {
    /// A table for examples of `shape`; [`super::Federated::check`] tells whether the lengths agree.
    #[must_use]
    pub fn new(shape: &InputShape, values: Values, labels: Vec<u16>, scale: Scale) -> Self {
        Self(Content::Table(Table { values, labels, scale, plane: shape.height * shape.width }))
    }

    /// Examples.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.0 {
            Content::Table(table) => table.labels.len(),
            Content::Windows(windows) => windows.len(),
        }
    }

    /// True if there is no example.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The windows, if the examples are such.
    #[must_use]
    pub fn windows(&self) -> Option<&Windows> {
        match &self.0 {
            Content::Table(_) => None,
            Content::Windows(windows) => Some(windows),
        }
    }

    pub(super) fn targets_per_example(&self) -> usize {
        self.windows().map_or(1, Windows::length)
    }

    fn table(&self) -> &Table {
        match &self.0 {
            Content::Table(table) => table,
            Content::Windows(windows) => panic!("a window has {} targets, not one label", windows.length()),
        }
    }

    pub(super) fn label(&self, i: usize) -> u32 {
        u32::from(self.table().labels[i])
    }

    /// Gives the targets of example `i` in order, without those that are none.
    pub(super) fn each_target(&self, i: usize, see: &mut impl FnMut(u32)) {
        match &self.0 {
            Content::Table(table) => see(u32::from(table.labels[i])),
            Content::Windows(windows) => windows.each_target(i, see),
        }
    }

    pub(super) fn fill(&self, i: usize, features: &mut [f32]) -> u32 {
        self.table().fill(i, features)
    }

    pub(super) fn fill_targets(&self, i: usize, features: &mut [f32], targets: &mut [u32]) {
        match &self.0 {
            Content::Table(table) => {
                let [label] = targets else { panic!("one target an example, not room for {}", targets.len()) };
                *label = table.fill(i, features);
            }
            Content::Windows(windows) => windows.fill(i, features, targets),
        }
    }

    /// The first thing that is wrong, if any.
    pub(super) fn fault(&self, shape: &InputShape, classes: u32) -> Option<String> {
        match &self.0 {
            Content::Table(table) => table.fault(shape, classes),
            Content::Windows(windows) => windows.fault(shape, classes),
        }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        match &self.0 {
            Content::Table(table) => table.heap_bytes(),
            Content::Windows(windows) => windows.heap_bytes(),
        }
    }
}

impl Table {
    fn fill(&self, i: usize, features: &mut [f32]) -> u32 {
        let n = self.plane * self.scale.gain.len();
        assert_eq!(features.len(), n, "room for one example");
        let range = i * n..(i + 1) * n;
        match &self.values {
            Values::U8(v) => self.scaled(&v[range], f32::from, features),
            Values::I16(v) => self.scaled(&v[range], f32::from, features),
            Values::F32(v) => self.scaled(&v[range], |x| x, features),
        }
        u32::from(self.labels[i])
    }

    fn scaled<T: Copy>(&self, raw: &[T], real: impl Fn(T) -> f32, features: &mut [f32]) {
        let channels = features.chunks_exact_mut(self.plane).zip(raw.chunks_exact(self.plane));
        for ((out, raw), (&gain, &bias)) in channels.zip(self.scale.gain.iter().zip(&self.scale.bias)) {
            for (out, &raw) in out.iter_mut().zip(raw) {
                *out = real(raw) * gain + bias;
            }
        }
    }

    /// The first thing that is wrong with the table, if any.
    fn fault(&self, shape: &InputShape, classes: u32) -> Option<String> {
        let n = shape.features();
        if self.scale.gain.len() != shape.channels || self.plane != shape.height * shape.width {
            return Some(format!("the table is not of shape {shape}"));
        }
        if self.values.len() != self.labels.len() * n {
            return Some(format!("{} values for {} examples of {n}", self.values.len(), self.labels.len()));
        }
        if let Values::F32(v) = &self.values
            && let Some(at) = v.iter().position(|x| !x.is_finite())
        {
            return Some(format!("example {}, feature {}: {} is not finite", at / n, at % n, v[at]));
        }
        let wrong = self.labels.iter().position(|&l| u32::from(l) >= classes)?;
        Some(format!("example {wrong} has label {}, but there are {classes} classes", self.labels[wrong]))
    }

    fn heap_bytes(&self) -> usize {
        let values = match &self.values {
            Values::U8(v) => v.capacity(),
            Values::I16(v) => v.capacity() * 2,
            Values::F32(v) => v.capacity() * 4,
        };
        values + self.labels.capacity() * 2
    }
}

/// Which rows of a table belong to one device: `train` of them from `first` on, then `personal` for its own test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceRows {
    /// The source's id of the user.
    pub user: i64,
    /// First row.
    pub first: u32,
    /// Rows to train on.
    pub train: u32,
    /// Rows after those, held out for the device's own accuracy.
    pub personal: u32,
}

impl DeviceRows {
    pub(super) fn end(&self) -> u64 {
        u64::from(self.first) + u64::from(self.train) + u64::from(self.personal)
    }
}
