//! Operators that only name the axes anew: no layer stands for them.

use crate::constant::{Constant, arithmetic::broadcast_dims, shape};
use crate::file::{Outcome, Refusal};
use crate::import::{Activation, Importer, Site, Value};
use crate::shapes;

/// Number types of `TensorProto.DataType` that tokens may be cast to, and reals.
const INTEGERS: [i64; 3] = [6, 7, 12];
const FLOAT: i64 = 1;

impl Importer<'_> {
    pub(super) fn axes(&mut self, site: &Site) -> Outcome<Value> {
        let call = &site.call;
        let x = site.activation_or_token(0)?;
        let dims = x.layout.dims();
        let list = |i: usize, what: &str| site.optional(i, what);
        let target = match call.operator {
            "Shape" => {
                let dims: Vec<i64> = dims.iter().map(|d| *d as i64).collect();
                return Ok(shape(call, &dims)?.into());
            }
            "Size" => {
                let size = dims.iter().try_fold(1i64, |s, d| s.checked_mul(*d as i64)).ok_or("a size too large")?;
                return Ok(Constant { dims: vec![], ..Constant::ints(vec![size]) }.into());
            }
            "Identity" => return Ok(Value::Activation(x)),
            "Cast" => {
                let to = call.int("to", 0);
                if (x.token && INTEGERS.contains(&to)) || (!x.token && to == FLOAT) {
                    return Ok(Value::Activation(x));
                }
                return Err(format!("a cast of computed values to numbers of type {to} is not supported").into());
            }
            "Transpose" => {
                let perm = shapes::permutation(call.ints("perm"), dims.len())?;
                return Ok(x.seen_as(x.layout.transpose(&perm)).into());
            }
            "Reshape" => {
                let input = list(1, "shape")?.ok_or("a Reshape without a shape")?;
                shapes::reshape(&dims, input.as_ints()?, call.flag("allowzero", false))?
            }
            "Flatten" => shapes::flatten(&dims, call.int("axis", 1))?,
            "Squeeze" => shapes::squeeze(&dims, shapes::list(call, "axes", list(1, "list of axes")?.as_deref())?)?,
            "Unsqueeze" => {
                let input = list(1, "list of axes")?;
                let axes = shapes::list(call, "axes", input.as_deref())?.ok_or("an Unsqueeze without axes")?;
                shapes::unsqueeze(&dims, axes)?
            }
            "Expand" => {
                let input = list(1, "shape")?.ok_or("an Expand without a shape")?;
                let wanted: Vec<usize> = input.as_ints()?.iter().filter_map(|d| usize::try_from(*d).ok()).collect();
                match broadcast_dims(&dims, &wanted) {
                    Some(all) if all.iter().product::<usize>() == dims.iter().product::<usize>() => all,
                    _ => return Err("it repeats computed values, which no layer does".into()),
                }
            }
            _ => return Err(Refusal::Operator),
        };
        Ok(self.reshaped(&x, &target)?.into())
    }

    /// The same values under other ONNX dimensions.
    pub(super) fn reshaped(&mut self, x: &Activation, dims: &[usize]) -> Outcome<Activation> {
        let layout = x.layout.reshape(dims).ok_or_else(|| {
            format!("it turns {:?} into {dims:?} across axes that the network keeps apart", x.layout.dims())
        })?;
        Ok(x.seen_as(layout))
    }
}
