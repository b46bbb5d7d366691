//! One operator on constants.

use super::{Constant, Data, MAX_COMPUTED, Origin, TensorFiles, arithmetic, constant_of};
use crate::file::{Call, Outcome, Refusal};
use crate::shapes;

/// The outputs of an operator whose inputs are all known.
///
/// # Errors
/// `Refusal::Operator` if it is none that is folded.
pub(crate) fn fold(
    call: &Call,
    inputs: &[Option<&Constant>],
    files: TensorFiles,
    source: u32,
) -> Outcome<Vec<Constant>> {
    let given = |i: usize| inputs.get(i).copied().flatten();
    let input = |i: usize| given(i).ok_or_else(|| Refusal::Why(format!("its input {i} is missing")));
    let one = |c: Constant| Ok(vec![c]);
    match call.operator {
        "Constant" => one(stored(call, files, source)?),
        "Identity" => one(input(0)?.clone()),
        "Shape" => {
            let dims: Vec<i64> = input(0)?.dims.iter().map(|d| *d as i64).collect();
            one(shape(call, &dims)?)
        }
        "Size" => one(integer(input(0)?.len() as i64)),
        "Cast" => one(arithmetic::cast(input(0)?, call.int("to", 0))?),
        "Transpose" => {
            let c = input(0)?;
            one(c.transpose(&shapes::permutation(call.ints("perm"), c.dims.len())?))
        }
        "Reshape" => {
            let (c, target) = (input(0)?, input(1)?.as_ints()?);
            one(c.with_dims(shapes::reshape(&c.dims, target, call.flag("allowzero", false))?))
        }
        "Flatten" => {
            let c = input(0)?;
            one(c.with_dims(shapes::flatten(&c.dims, call.int("axis", 1))?))
        }
        "Squeeze" => {
            let c = input(0)?;
            one(c.with_dims(shapes::squeeze(&c.dims, shapes::list(call, "axes", given(1))?)?))
        }
        "Unsqueeze" => {
            let c = input(0)?;
            let axes = shapes::list(call, "axes", given(1))?.ok_or("an Unsqueeze without axes")?;
            one(c.with_dims(shapes::unsqueeze(&c.dims, axes)?))
        }
        "Expand" => {
            let (c, wanted) = (input(0)?, sizes(input(1)?)?);
            let dims = arithmetic::broadcast_dims(&c.dims, &wanted)
                .ok_or_else(|| format!("a constant of shape {:?} cannot be expanded to {wanted:?}", c.dims))?;
            bounded(&dims)?;
            one(c.broadcast(&dims).ok_or("shapes that do not fit")?)
        }
        "ConstantOfShape" => {
            let dims = sizes(input(0)?)?;
            let size = bounded(&dims)?;
            let value = call
                .tensor("value")
                .map_or_else(|| Ok(Constant::floats(vec![1], vec![0.0])), |t| constant_of(t, files, None))?;
            if value.len() != 1 {
                return Err("its value must be one number".into());
            }
            one(value.take(dims, &vec![0; size]))
        }
        "Gather" => {
            let c = input(0)?;
            let axis = shapes::axis(call.int("axis", 0), c.dims.len())?;
            let index = input(1)?;
            let entries = entries(index.as_ints()?, c.dims[axis])?;
            bounded(&[&c.dims[..axis], &index.dims, &c.dims[axis + 1..]].concat())?;
            one(c.gather(axis, &entries, &index.dims))
        }
        "Slice" => {
            let mut c = input(0)?.clone();
            for r in shapes::slice(call, inputs.get(1..).unwrap_or(&[]), &c.dims)? {
                c = c.slice(r.axis, r.start, r.step, r.count);
            }
            one(c)
        }
        "Split" => {
            let c = input(0)?;
            let axis = shapes::axis(call.int("axis", 0), c.dims.len())?;
            let mut start = 0;
            let pieces = shapes::split(call, given(1), c.dims[axis], call.outputs)?.into_iter().map(|count| {
                start += count;
                c.slice(axis, start - count, 1, count)
            });
            Ok(pieces.collect())
        }
        "Concat" => {
            let parts: Vec<&Constant> = inputs.iter().copied().flatten().collect();
            let rank = parts.first().map_or(0, |p| p.dims.len());
            let axis = shapes::axis(call.int("axis", 1), rank)?;
            let mut dims = parts.first().map_or(vec![], |p| p.dims.clone());
            let along = parts.iter().try_fold(0usize, |s, p| s.checked_add(*p.dims.get(axis)?));
            dims[axis] = along.ok_or("it makes a constant that is too large")?;
            if shapes::product(&dims).is_none_or(|size| size > u32::MAX as usize) {
                return Err("it makes a constant that is too large".into());
            }
            one(Constant::concat(&parts, axis).ok_or("shapes or types that do not fit")?)
        }
        "Range" => {
            let number = |i| input(i)?.as_ints()?.first().copied().ok_or(Refusal::Why("a range without bounds".into()));
            let (start, limit, delta) = (number(0)?, number(1)?, number(2)?);
            if delta == 0 {
                return Err("a range of step 0".into());
            }
            let span = (i128::from(limit) - i128::from(start)) / i128::from(delta)
                + i128::from((i128::from(limit) - i128::from(start)) % i128::from(delta) != 0);
            let count = usize::try_from(span.max(0)).unwrap_or(usize::MAX);
            bounded(&[count])?;
            // Each lies between the bounds; the product alone need not fit.
            let entry = |i| (i128::from(start) + i as i128 * i128::from(delta)) as i64;
            one(Constant::ints((0..count).map(entry).collect()))
        }
        "Trilu" => one(triangle(call, input(0)?, given(1))?),
        "Where" => one(arithmetic::select(input(0)?, input(1)?, input(2)?)?),
        "Mod" if call.flag("fmod", false) => Err("a remainder of the dividend's sign is not supported".into()),
        operator => {
            let mut result = arithmetic::unary(operator, input(0)?);
            if result.is_none() {
                let mut all = inputs.iter().copied().flatten();
                if let (Some(first), Some(second)) = (all.next(), all.next()) {
                    result = arithmetic::binary(operator, first, second);
                    // Min, Max take any number of inputs.
                    for next in all {
                        result = result.and_then(|r| match r {
                            Ok(c) => arithmetic::binary(operator, &c, next),
                            error => Some(error),
                        });
                    }
                }
            }
            one(result.ok_or(Refusal::Operator)??)
        }
    }
}

fn integer(value: i64) -> Constant {
    Constant { dims: vec![], data: Data::Int(vec![value]), origin: Origin::Computed }
}

/// `Shape` of a tensor of these dimensions.
pub(crate) fn shape(call: &Call, dims: &[i64]) -> Result<Constant, String> {
    let rank = dims.len() as i64;
    let bound = |v: i64| (if v < 0 { v.saturating_add(rank) } else { v }).clamp(0, rank) as usize;
    let (start, end) = (bound(call.int("start", 0)), bound(call.int("end", rank)));
    Ok(Constant::ints(dims.get(start..end).unwrap_or(&[]).to_vec()))
}

/// A `Constant` node's value; a stored tensor of reals is one that can be trained.
fn stored(call: &Call, files: TensorFiles, source: u32) -> Outcome<Constant> {
    if let Some(tensor) = call.tensor("value") {
        return Ok(constant_of(tensor, files, Some(source))?);
    }
    if let Some(v) = call.float_if_there("value_float") {
        return Ok(Constant::floats(vec![], vec![v]));
    }
    if let Some(v) = call.floats("value_floats") {
        return Ok(Constant::floats(vec![v.len()], v.to_vec()));
    }
    if let Some(v) = call.int_if_there("value_int") {
        return Ok(integer(v));
    }
    if let Some(v) = call.ints("value_ints") {
        return Ok(Constant::ints(v.to_vec()));
    }
    Err("a constant that is neither numbers nor a plain tensor".into())
}

/// Dimensions given as a constant.
fn sizes(c: &Constant) -> Outcome<Vec<usize>> {
    let values = c.as_ints()?;
    if values.len() > shapes::MAX_RANK {
        return Err(format!("{} axes are more than {}", values.len(), shapes::MAX_RANK).into());
    }
    let out = values.iter().map(|v| usize::try_from(*v).map_err(|_| Refusal::Why(format!("{v} is no dimension"))));
    out.collect()
}

/// The number of values of a tensor that is computed, if that is not too many.
fn bounded(dims: &[usize]) -> Outcome<usize> {
    match shapes::product(dims) {
        Some(size) if size <= MAX_COMPUTED => Ok(size),
        _ => Err(format!("a constant of shape {dims:?} is too large to compute").into()),
    }
}

/// Indices that may count from the end.
pub(crate) fn entries(list: &[i64], size: usize) -> Result<Vec<usize>, String> {
    list.iter().map(|i| shapes::axis(*i, size).map_err(|_| format!("there is no entry {i} of {size}"))).collect()
}

/// `Trilu`: zeros below (`upper`) or above the diagonal `k` of the last two axes.
fn triangle(call: &Call, c: &Constant, k: Option<&Constant>) -> Outcome<Constant> {
    let rank = c.dims.len();
    if rank < 2 {
        return Err("a triangle of less than two axes".into());
    }
    let upper = call.flag("upper", true);
    let k = i128::from(k.map_or(Ok(&[][..]), Constant::as_ints)?.first().copied().unwrap_or(0));
    let (rows, cols) = (c.dims[rank - 2].max(1), c.dims[rank - 1].max(1));
    let keep = |i: usize| {
        let over = (i % cols) as i128 - ((i / cols) % rows) as i128;
        if upper { over >= k } else { over <= k }
    };
    fn clear<T: Copy + Default>(values: &[T], keep: impl Fn(usize) -> bool) -> Vec<T> {
        values.iter().enumerate().map(|(i, v)| if keep(i) { *v } else { T::default() }).collect()
    }
    let data = match &c.data {
        Data::Float(v) => Data::Float(clear(v, keep)),
        Data::Int(v) => Data::Int(clear(v, keep)),
        Data::Bool(v) => Data::Bool(clear(v, keep)),
    };
    Ok(Constant { dims: c.dims.clone(), data, origin: Origin::Computed })
}
