//! Values that are known at import: weights, and the arithmetic on shapes that exporters emit.

pub(crate) mod arithmetic;
mod fold;
mod movement;
mod proto;

pub(crate) use fold::{entries, fold, shape};
pub(crate) use movement::{row_major, strides};
pub(crate) use proto::{TensorFiles, constant_of};

/// Most values of a constant that the file does not store but lets compute: a mask of 2048 positions.
pub(crate) const MAX_COMPUTED: usize = 1 << 22;

/// A tensor whose values are known.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Constant {
    /// Its shape; their product is the number of values.
    pub(crate) dims: Vec<usize>,
    /// Its values, last dimension fastest.
    pub(crate) data: Data,
    /// Where in the file each value is stored.
    pub(crate) origin: Origin,
}

/// Values.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Data {
    /// Real numbers.
    Float(Vec<f32>),
    /// Integers of any width.
    Int(Vec<i64>),
    /// Truth values.
    Bool(Vec<bool>),
}

/// Where the values of a tensor stand in the file, so that trained ones can be written back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nowhere: they were computed.
    Computed,
    /// They are a stored tensor, whole and in its order.
    Whole(u32),
    /// Each has its place.
    Slots(Vec<Slot>),
}

/// The place of a number in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    /// Which stored tensor.
    pub(crate) source: u32,
    /// Which of its values, last dimension fastest.
    pub(crate) index: u32,
}

impl Origin {
    /// The place of value `i`.
    pub(crate) fn slot(&self, i: usize) -> Option<Slot> {
        match self {
            Self::Computed => None,
            Self::Whole(source) => Some(Slot { source: *source, index: i as u32 }),
            Self::Slots(slots) => slots.get(i).copied(),
        }
    }
}

impl Constant {
    pub(crate) fn ints(values: Vec<i64>) -> Self {
        Self { dims: vec![values.len()], data: Data::Int(values), origin: Origin::Computed }
    }

    pub(crate) fn floats(dims: Vec<usize>, values: Vec<f32>) -> Self {
        Self { dims, data: Data::Float(values), origin: Origin::Computed }
    }

    pub(crate) fn len(&self) -> usize {
        match &self.data {
            Data::Float(v) => v.len(),
            Data::Int(v) => v.len(),
            Data::Bool(v) => v.len(),
        }
    }

    /// The real values, if they are real.
    pub(crate) fn as_floats(&self) -> Result<&[f32], String> {
        match &self.data {
            Data::Float(values) => Ok(values),
            _ => Err("real numbers belong here".into()),
        }
    }

    /// The integers, if they are integers.
    pub(crate) fn as_ints(&self) -> Result<&[i64], String> {
        match &self.data {
            Data::Int(values) => Ok(values),
            _ => Err("integers belong here".into()),
        }
    }

    /// The value of a tensor of one real number.
    pub(crate) fn scalar(&self) -> Option<f32> {
        match &self.data {
            Data::Float(values) if values.len() == 1 => Some(values[0]),
            _ => None,
        }
    }

    /// The value of all entries, if they are real and the same, and there are some.
    pub(crate) fn uniform(&self) -> Option<f32> {
        let Data::Float(values) = &self.data else { return None };
        let first = *values.first()?;
        values.iter().all(|v| *v == first).then_some(first)
    }
}
