//! A table of examples in its source's number type.

use super::InputShape;

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

/// Examples with their labels and the scale that makes features of them.
#[derive(Debug, Clone)]
pub struct Examples {
    values: Values,
    labels: Vec<u16>,
    scale: Scale,
    /// Values of one channel of one example.
    plane: usize,
}

impl Examples {
    /// A table for examples of `shape`; [`super::Federated::check`] tells whether the lengths agree.
    #[must_use]
    pub fn new(shape: &InputShape, values: Values, labels: Vec<u16>, scale: Scale) -> Self {
        Self { values, labels, scale, plane: shape.height * shape.width }
    }

    /// Examples.
    #[must_use]
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// True if there is no example.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    pub(super) fn label(&self, i: usize) -> u32 {
        u32::from(self.labels[i])
    }

    pub(super) fn fill(&self, i: usize, features: &mut [f32]) -> u32 {
        let n = self.plane * self.scale.gain.len();
        assert_eq!(features.len(), n, "room for one example");
        let range = i * n..(i + 1) * n;
        match &self.values {
            Values::U8(v) => self.scaled(&v[range], f32::from, features),
            Values::I16(v) => self.scaled(&v[range], f32::from, features),
            Values::F32(v) => self.scaled(&v[range], |x| x, features),
        }
        self.label(i)
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
    pub(super) fn fault(&self, shape: &InputShape, classes: u32) -> Option<String> {
        let n = shape.features();
        if self.scale.gain.len() != shape.channels || self.plane != shape.height * shape.width {
            return Some(format!("the table is not of shape {shape}"));
        }
        if self.values.len() != self.len() * n {
            return Some(format!("{} values for {} examples of {n}", self.values.len(), self.len()));
        }
        if let Values::F32(v) = &self.values
            && let Some(at) = v.iter().position(|x| !x.is_finite())
        {
            return Some(format!("example {}, feature {}: {} is not finite", at / n, at % n, v[at]));
        }
        let wrong = self.labels.iter().position(|&l| u32::from(l) >= classes)?;
        Some(format!("example {wrong} has label {}, but there are {classes} classes", self.labels[wrong]))
    }

    pub(super) fn heap_bytes(&self) -> usize {
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
