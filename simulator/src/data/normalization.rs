//! What a model that comes ready trained wants done to the numbers of an example.

use super::{DataError, Federated};

/// `(value - mean) / deviation`, the same for each number of an example, behind the source's own scaling.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Normalization {
    /// Taken off; finite.
    pub mean: f32,
    /// Divides then; finite and above 0.
    pub deviation: f32,
}

impl Normalization {
    /// Changes nothing.
    pub const NONE: Self = Self { mean: 0.0, deviation: 1.0 };

    pub(super) fn apply(&self, features: &mut [f32]) {
        if *self != Self::NONE {
            features.iter_mut().for_each(|value| *value = (*value - self.mean) / self.deviation);
        }
    }
}

impl Federated {
    /// The same examples, all of them, training and held out, with their numbers normalised; [`scaling`](Self::scaling) says so.
    ///
    /// # Errors
    /// [`DataError::Setting`] for numbers out of their ranges, or if the numbers are tokens, which are nothing to calculate with.
    pub fn normalized(mut self, by: Normalization) -> Result<Self, DataError> {
        let error = |name, value: f32, allowed| Err(DataError::Setting { name, value: value.to_string(), allowed });
        if !by.mean.is_finite() {
            return error("mean", by.mean, "a finite number");
        }
        if !(by.deviation.is_finite() && by.deviation > 0.0) {
            return error("deviation", by.deviation, "above 0");
        }
        if by == Normalization::NONE {
            return Ok(self);
        }
        if self.problem().tokens {
            let (name, value, only) = match by.mean {
                0.0 => ("deviation", by.deviation, "1 for text, whose symbols are no amounts"),
                mean => ("mean", mean, "0 for text, whose symbols are no amounts"),
            };
            return error(name, value, only);
        }
        self.scaling += &format!(", then less {}, divided by {}", by.mean, by.deviation);
        self.normalization = by;
        self.test.normalization = by;
        Ok(self)
    }
}
