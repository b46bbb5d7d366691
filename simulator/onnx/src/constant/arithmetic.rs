//! Operators that compute: their results stand nowhere in the file.

use super::movement::{broadcast_steps, row_major};
use super::{Constant, Data, MAX_COMPUTED, Origin};
use crate::shapes;

/// The common shape of two tensors, aligned at the last axis.
pub(crate) fn broadcast_dims(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let at = |dims: &[usize], i: usize| (i + dims.len()).checked_sub(rank).map_or(1, |j| dims[j]);
    (0..rank)
        .map(|i| match (at(a, i), at(b, i)) {
            (x, y) if x == y || y == 1 => Some(x),
            (1, y) => Some(y),
            _ => None,
        })
        .collect()
}

/// Every pair of values of the broadcast tensors.
fn pairs<T: Copy, U>(
    (a, a_dims): (&[T], &[usize]),
    (b, b_dims): (&[T], &[usize]),
    dims: &[usize],
    f: impl Fn(T, T) -> Result<U, String>,
) -> Result<Vec<U>, String> {
    let (Some(a_steps), Some(b_steps)) = (broadcast_steps(a_dims, dims), broadcast_steps(b_dims, dims)) else {
        return Err("shapes that do not fit".into());
    };
    let (i, j) = (row_major(dims, &a_steps, 0), row_major(dims, &b_steps, 0));
    i.iter().zip(&j).map(|(i, j)| f(a[*i as usize], b[*j as usize])).collect()
}

fn common(a: &Constant, b: &Constant) -> Result<Vec<usize>, String> {
    let dims = broadcast_dims(&a.dims, &b.dims)
        .ok_or_else(|| format!("shapes {:?} and {:?} do not fit each other", a.dims, b.dims))?;
    if shapes::product(&dims).is_none_or(|s| s > MAX_COMPUTED) {
        return Err(format!("a constant of shape {dims:?} is too large to compute"));
    }
    Ok(dims)
}

fn integer(operator: &str, x: i64, y: i64) -> Result<i64, String> {
    let value = match operator {
        "Add" => x.checked_add(y),
        "Sub" => x.checked_sub(y),
        "Mul" => x.checked_mul(y),
        "Div" => x.checked_div(y),
        "Mod" => x.checked_rem_euclid(y).map(|m| if y < 0 && m != 0 { m + y } else { m }),
        "Pow" => u32::try_from(y).ok().and_then(|y| x.checked_pow(y)),
        "Min" => Some(x.min(y)),
        "Max" => Some(x.max(y)),
        _ => None,
    };
    value.ok_or_else(|| format!("{operator} of {x} and {y} has no value in 64 bits"))
}

fn real(operator: &str, x: f32, y: f32) -> Result<f32, String> {
    Ok(match operator {
        "Add" => x + y,
        "Sub" => x - y,
        "Mul" => x * y,
        "Div" => x / y,
        "Pow" => libm::powf(x, y),
        "Min" => x.min(y),
        "Max" => x.max(y),
        _ => return Err(format!("{operator} of real constants is not supported")),
    })
}

fn compare<T: PartialOrd>(operator: &str, x: T, y: T) -> bool {
    match operator {
        "Equal" => x == y,
        "Less" => x < y,
        "LessOrEqual" => x <= y,
        "Greater" => x > y,
        _ => x >= y,
    }
}

/// An operator of two inputs; `None` if it is none of those known here.
pub(super) fn binary(operator: &str, a: &Constant, b: &Constant) -> Option<Result<Constant, String>> {
    let compares = match operator {
        "Add" | "Sub" | "Mul" | "Div" | "Mod" | "Pow" | "Min" | "Max" => false,
        "Equal" | "Less" | "LessOrEqual" | "Greater" | "GreaterOrEqual" => true,
        "And" | "Or" | "Xor" => false,
        _ => return None,
    };
    Some(common(a, b).and_then(|dims| {
        let (ad, bd) = (&a.dims[..], &b.dims[..]);
        let data = match (&a.data, &b.data) {
            (Data::Int(x), Data::Int(y)) if compares => {
                Data::Bool(pairs((x, ad), (y, bd), &dims, |x, y| Ok(compare(operator, x, y)))?)
            }
            (Data::Float(x), Data::Float(y)) if compares => {
                Data::Bool(pairs((x, ad), (y, bd), &dims, |x, y| Ok(compare(operator, x, y)))?)
            }
            (Data::Int(x), Data::Int(y)) => Data::Int(pairs((x, ad), (y, bd), &dims, |x, y| integer(operator, x, y))?),
            (Data::Float(x), Data::Float(y)) => {
                Data::Float(pairs((x, ad), (y, bd), &dims, |x, y| real(operator, x, y))?)
            }
            (Data::Bool(x), Data::Bool(y)) => Data::Bool(pairs((x, ad), (y, bd), &dims, |x, y| match operator {
                "And" => Ok(x && y),
                "Or" => Ok(x || y),
                "Xor" => Ok(x != y),
                "Equal" => Ok(x == y),
                _ => Err(format!("{operator} of truth values is not supported")),
            })?),
            // Pow alone may mix types; its result has the base's.
            (Data::Float(x), Data::Int(y)) if operator == "Pow" => {
                let y: Vec<f32> = y.iter().map(|v| *v as f32).collect();
                Data::Float(pairs((x, ad), (&y, bd), &dims, |x, y| real(operator, x, y))?)
            }
            _ => return Err(format!("{operator} of numbers of two types")),
        };
        Ok(Constant { dims, data, origin: Origin::Computed })
    }))
}

/// An operator of one input; `None` if it is none of those known here.
pub(super) fn unary(operator: &str, a: &Constant) -> Option<Result<Constant, String>> {
    let real: fn(f32) -> f32 = match operator {
        "Neg" => |v| -v,
        "Abs" => f32::abs,
        "Sqrt" => libm::sqrtf,
        "Floor" => libm::floorf,
        "Ceil" => libm::ceilf,
        "Reciprocal" => |v| 1.0 / v,
        "Exp" => libm::expf,
        "Log" => libm::logf,
        "Not" => |v| v,
        _ => return None,
    };
    let data = match (&a.data, operator) {
        (Data::Bool(v), "Not") => Data::Bool(v.iter().map(|v| !v).collect()),
        (Data::Float(v), "Neg" | "Abs" | "Sqrt" | "Floor" | "Ceil" | "Reciprocal" | "Exp" | "Log") => {
            Data::Float(v.iter().map(|v| real(*v)).collect())
        }
        (Data::Int(v), "Neg") => Data::Int(v.iter().map(|v| v.wrapping_neg()).collect()),
        (Data::Int(v), "Abs") => Data::Int(v.iter().map(|v| v.wrapping_abs()).collect()),
        _ => return Some(Err(format!("{operator} of numbers of this type is not supported"))),
    };
    Some(Ok(Constant { dims: a.dims.clone(), data, origin: Origin::Computed }))
}

/// An integer in a narrower type of `TensorProto.DataType`, as machines cast it.
fn wrapped(v: i64, to: i64) -> i64 {
    match to {
        2 => i64::from(v as u8),
        3 => i64::from(v as i8),
        4 => i64::from(v as u16),
        5 => i64::from(v as i16),
        6 => i64::from(v as i32),
        12 => i64::from(v as u32),
        _ => v,
    }
}

/// `Cast` to a number type of `TensorProto.DataType`.
pub(super) fn cast(a: &Constant, to: i64) -> Result<Constant, String> {
    let data = match (&a.data, to) {
        (Data::Float(_), 1 | 11) | (Data::Int(_), 7) | (Data::Bool(_), 9) => return Ok(a.clone()),
        (Data::Int(v), 2..=6 | 12 | 13) => Data::Int(v.iter().map(|v| wrapped(*v, to)).collect()),
        (Data::Int(v), 1 | 11) => Data::Float(v.iter().map(|v| *v as f32).collect()),
        (Data::Bool(v), 1 | 11) => Data::Float(v.iter().map(|v| f32::from(*v)).collect()),
        (Data::Float(v), 2..=7 | 12 | 13) => Data::Int(v.iter().map(|v| *v as i64).collect()),
        (Data::Bool(v), 2..=7 | 12 | 13) => Data::Int(v.iter().map(|v| i64::from(*v)).collect()),
        (Data::Float(v), 9) => Data::Bool(v.iter().map(|v| *v != 0.0).collect()),
        (Data::Int(v), 9) => Data::Bool(v.iter().map(|v| *v != 0).collect()),
        _ => return Err(format!("a cast to numbers of type {to} is not supported")),
    };
    Ok(Constant { dims: a.dims.clone(), data, origin: Origin::Computed })
}

/// `Where` of three constants.
pub(super) fn select(condition: &Constant, a: &Constant, b: &Constant) -> Result<Constant, String> {
    let dims = common(&Constant::floats(common(a, b)?, vec![]), condition)?;
    let Data::Bool(condition_values) = &condition.data else { return Err("the condition must be truth values".into()) };
    let wide = |c: &Constant| c.broadcast(&dims).ok_or("shapes that do not fit");
    let (wide_a, wide_b) = (wide(a)?, wide(b)?);
    let steps = broadcast_steps(&condition.dims, &dims).ok_or("shapes that do not fit")?;
    let which = row_major(&dims, &steps, 0).into_iter().map(|i| condition_values[i as usize]);
    fn mix<T: Copy>(which: impl Iterator<Item = bool>, a: &[T], b: &[T]) -> Vec<T> {
        which.zip(a.iter().zip(b)).map(|(w, (a, b))| if w { *a } else { *b }).collect()
    }
    let data = match (&wide_a.data, &wide_b.data) {
        (Data::Float(a), Data::Float(b)) => Data::Float(mix(which, a, b)),
        (Data::Int(a), Data::Int(b)) => Data::Int(mix(which, a, b)),
        (Data::Bool(a), Data::Bool(b)) => Data::Bool(mix(which, a, b)),
        _ => return Err("Where of numbers of two types".into()),
    };
    Ok(Constant { dims, data, origin: Origin::Computed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_onnx() {
        let column = Constant::floats(vec![2, 1], vec![1.0, 2.0]);
        let row = Constant::floats(vec![3], vec![1.0, 10.0, 100.0]);
        let product = binary("Mul", &column, &row).unwrap().unwrap();
        assert_eq!((&product.dims[..], product.as_floats().unwrap()[4]), (&[2, 3][..], 20.0));
        let ints = Constant::ints(vec![-7, 7]);
        let twos = Constant::ints(vec![2]);
        assert_eq!(binary("Div", &ints, &twos).unwrap().unwrap().as_ints().unwrap(), [-3, 3]);
        assert_eq!(binary("Mod", &ints, &twos).unwrap().unwrap().as_ints().unwrap(), [1, 1]);
        assert!(binary("Div", &ints, &Constant::ints(vec![0])).unwrap().is_err());
        assert!(binary("Mul", &ints, &Constant::ints(vec![i64::MAX])).unwrap().is_err());
        assert!(binary("Add", &ints, &row).unwrap().is_err());
        assert!(binary("Add", &row, &Constant::floats(vec![2], vec![0.0; 2])).unwrap().is_err());
        let below = binary("GreaterOrEqual", &column, &Constant::floats(vec![2], vec![1.0, 2.0])).unwrap().unwrap();
        assert_eq!(below.data, Data::Bool(vec![true, false, true, true]));
        let zero = Constant::floats(vec![], vec![0.0]);
        let masked = select(&below, &zero, &Constant::floats(vec![1], vec![f32::NEG_INFINITY])).unwrap();
        assert_eq!(masked.as_floats().unwrap(), [0.0, f32::NEG_INFINITY, 0.0, 0.0]);
        assert_eq!(cast(&ints, 1).unwrap().as_floats().unwrap(), [-7.0, 7.0]);
        let wide = Constant::ints(vec![300, -1]);
        assert_eq!(cast(&wide, 2).unwrap().as_ints().unwrap(), [44, 255]);
        assert_eq!(cast(&wide, 3).unwrap().as_ints().unwrap(), [44, -1]);
        assert_eq!(unary("Sqrt", &Constant::floats(vec![1], vec![4.0])).unwrap().unwrap().scalar(), Some(2.0));
        assert!(binary("Conv", &ints, &ints).is_none() && unary("Conv", &ints).is_none());
    }
}
