//! What a model is fed with.

use crate::error::ImportError;
use crate::file::File;
use crate::layout::Layout;
use crate::network::MAX_FEATURES;
use std::collections::BTreeMap;
use tract_onnx::pb::tensor_shape_proto::dimension::Value as Dim;
use tract_onnx::pb::type_proto::Value as Kind;

/// What a model is fed with. Values of an example stand in the order of the ONNX input, without its first axis, the batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// Its name in the file.
    pub name: String,
    /// Shape of one example in ONNX.
    pub dims: Vec<usize>,
    /// True if its values are tokens, integers that choose rows of a table; else they are real.
    pub tokens: bool,
    /// The size of the batch, where the file fixes it.
    pub batch: Option<usize>,
}

/// Number types of `TensorProto.DataType`.
const FLOAT: i32 = 1;
const INT32: i32 = 6;
const INT64: i32 = 7;

impl Input {
    /// The input of this name, and where its axes are.
    pub(crate) fn of(
        file: &File,
        name: &str,
        sizes: &BTreeMap<String, usize>,
        probe: usize,
    ) -> Result<(Self, Layout), ImportError> {
        let wrong = |why: String| ImportError::Input { name: name.into(), why };
        let info = file.graph.input.iter().find(|i| i.name == name);
        let Some(Kind::TensorType(tensor)) = info.and_then(|i| i.r#type.as_ref()).and_then(|t| t.value.as_ref()) else {
            return Err(wrong("it is no tensor".into()));
        };
        let tokens = match tensor.elem_type {
            FLOAT => false,
            INT32 | INT64 => true,
            other => return Err(wrong(format!("its values are of type {other}, not float, int32 or int64"))),
        };
        let shape = tensor.shape.as_ref().ok_or_else(|| wrong("the file does not give its shape".into()))?;
        let mut dims = Vec::new();
        let mut batch = None;
        if shape.dim.is_empty() {
            return Err(wrong("it has no axes, so there is no batch".into()));
        }
        for (axis, dim) in shape.dim.iter().enumerate() {
            let (size, called) = match &dim.value {
                Some(Dim::DimValue(v)) if *v > 0 => (usize::try_from(*v).ok(), ""),
                Some(Dim::DimParam(p)) => (sizes.get(p).copied().filter(|s| *s > 0 && axis > 0), p.as_str()),
                _ => (None, ""),
            };
            match (axis, size) {
                (0, size) => batch = size,
                (_, Some(size)) if size <= usize::from(u16::MAX) => dims.push(size),
                (_, Some(size)) => {
                    return Err(wrong(format!("axis {axis} of {size} is longer than a network can have")));
                }
                (_, None) => {
                    let called =
                        if called.is_empty() { String::new() } else { format!(" (`{}`)", called.escape_debug()) };
                    return Err(wrong(format!("axis {axis}{called} is of no fixed size; only the batch may be open")));
                }
            }
        }
        let size = dims.iter().try_fold(1usize, |p, d| p.checked_mul(*d));
        if size.is_none_or(|s| s > MAX_FEATURES) || batch.is_some_and(|b| b > usize::from(u16::MAX)) {
            return Err(wrong(format!(
                "a shape of {:?} x {dims:?} is larger than a network can have",
                batch.unwrap_or(1)
            )));
        }
        if dims.len() > 3 || (tokens && dims.len() > 2) {
            return Err(wrong(format!("an example of {} axes is more than a network can have", dims.len())));
        }
        let layout = Layout::of_input(batch.unwrap_or(probe), &dims, usize::from(tokens));
        Ok((Self { name: name.into(), dims, tokens, batch }, layout))
    }
}
