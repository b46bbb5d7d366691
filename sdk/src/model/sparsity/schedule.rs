//! When the mask changes and how sparse it is then: JaxPruner's sparsity schedules (Lee et al. 2023, arXiv 2304.14082,
//! `sparsity_schedules.py`), of which the polynomial one is that of Zhu and Gupta 2017 (arXiv 1710.01878, equation 1).
//!
//! Steps are the server's rounds or a client's steps; the caller decides. The arithmetic is f32, as upstream's.

/// Why a schedule was refused.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum ScheduleError {
    /// An update every 0 steps.
    ZeroFrequency,
    /// The last step is not after the first.
    EmptyRange {
        /// First step.
        start: u32,
        /// Last step.
        end: u32,
    },
    /// The target is not a number in `[0, 1]`.
    TargetOutOfRange {
        /// What was asked for.
        got: f32,
    },
    /// A power of 0 would hold sparsity at zero for ever, one above 16 is a mistake.
    PowerOutOfRange {
        /// What was asked for.
        got: u32,
    },
}

impl core::fmt::Display for ScheduleError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match *self {
            Self::ZeroFrequency => write!(f, "mask update every 0 steps"),
            Self::EmptyRange { start, end } => write!(f, "last step {end} is not after the first, {start}"),
            Self::TargetOutOfRange { got } => write!(f, "target sparsity {got} is not in [0, 1]"),
            Self::PowerOutOfRange { got } => write!(f, "power {got} is not in 1 to 16"),
        }
    }
}

impl core::error::Error for ScheduleError {}

/// When to make a new mask, and with which sparsity. Made by the checked constructors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    kind: Kind,
    /// In `[0, 1]`.
    target: f32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Never,
    OneShot { step: u32 },
    // `every` is never 0; `end > start` where it bounds a polynomial.
    Periodic { every: u32, start: u32, end: Option<u32> },
    Polynomial { every: u32, start: u32, end: u32, power: u32 },
}

impl Schedule {
    /// Never a new mask.
    ///
    /// # Errors
    /// [`ScheduleError::TargetOutOfRange`].
    pub fn never(target: f32) -> Result<Self, ScheduleError> {
        Self::checked(Kind::Never, target)
    }

    /// One new mask, at `step`.
    ///
    /// # Errors
    /// [`ScheduleError::TargetOutOfRange`].
    pub fn one_shot(target: f32, step: u32) -> Result<Self, ScheduleError> {
        Self::checked(Kind::OneShot { step }, target)
    }

    /// A new mask of sparsity `target` at every multiple of `every` from `start` to `end`, both included, without end if
    /// `None`. Multiples of the step, not of the distance from `start`: every 5 from 3 means 5, 10, 15.
    ///
    /// # Errors
    /// [`ScheduleError`]: target outside `[0, 1]`, `every` 0, `end` before `start`.
    pub fn periodic(target: f32, every: u32, start: u32, end: Option<u32>) -> Result<Self, ScheduleError> {
        if every == 0 {
            return Err(ScheduleError::ZeroFrequency);
        }
        match end {
            Some(end) if end < start => Err(ScheduleError::EmptyRange { start, end }),
            _ => Self::checked(Kind::Periodic { every, start, end }, target),
        }
    }

    /// New masks at the same steps as [`periodic`](Self::periodic), of a sparsity that rises to `target` at step
    /// `end - 1` by [`sparsity`](Self::sparsity)'s formula. Zhu and Gupta use power 3.
    ///
    /// # Errors
    /// [`ScheduleError`]: target outside `[0, 1]`, `every` 0, `end` not after `start`, power not in 1 to 16.
    pub fn polynomial(target: f32, every: u32, start: u32, end: u32, power: u32) -> Result<Self, ScheduleError> {
        if every == 0 {
            return Err(ScheduleError::ZeroFrequency);
        }
        if end <= start {
            return Err(ScheduleError::EmptyRange { start, end });
        }
        if !(1..=16).contains(&power) {
            return Err(ScheduleError::PowerOutOfRange { got: power });
        }
        Self::checked(Kind::Polynomial { every, start, end, power }, target)
    }

    fn checked(kind: Kind, target: f32) -> Result<Self, ScheduleError> {
        if (0.0..=1.0).contains(&target) {
            Ok(Self { kind, target })
        } else {
            Err(ScheduleError::TargetOutOfRange { got: target })
        }
    }

    /// Whether a new mask is made at `step`.
    pub fn is_update(&self, step: u32) -> bool {
        match self.kind {
            Kind::Never => false,
            Kind::OneShot { step: at } => step == at,
            Kind::Periodic { every, start, end } => {
                step.is_multiple_of(every) && step >= start && end.is_none_or(|end| step <= end)
            }
            Kind::Polynomial { every, start, end, .. } => step.is_multiple_of(every) && (start..=end).contains(&step),
        }
    }

    /// The sparsity of a mask made at `step`, in `[0, target]`: the target, but for a polynomial schedule
    /// `p = clip(step + 1 - start, 0, end - start) / (end - start)` and `target * (1 - (1 - p)^power)`.
    /// The `+ 1` is upstream's: the first update prunes already.
    pub fn sparsity(&self, step: u32) -> f32 {
        match self.kind {
            Kind::Polynomial { start, end, power, .. } => polynomial_sparsity(step, start, end, power, self.target),
            _ => self.target,
        }
    }
}

/// `end > start`, `power >= 1`.
fn polynomial_sparsity(step: u32, start: u32, end: u32, power: u32, target: f32) -> f32 {
    let length = end - start;
    let done = step.saturating_add(1).saturating_sub(start).min(length);
    let left = 1.0 - done as f32 / length as f32;
    target * (1.0 - integer_pow(left, power))
}

/// Square and multiply from the lowest bit, the order of JAX's `integer_pow`, on which the last bit of f32 depends.
fn integer_pow(base: f32, power: u32) -> f32 {
    let (mut square, mut rest, mut product) = (base, power, 1.0f32);
    while rest > 0 {
        if rest & 1 == 1 {
            product *= square;
        }
        square *= square;
        rest >>= 1;
    }
    product
}
