//! ONNX's rules for shapes, the same for constants and for activations.

use crate::constant::Constant;
use crate::file::Call;

/// An axis that may count from the end.
pub(crate) fn axis(axis: i64, rank: usize) -> Result<usize, String> {
    let from_start = if axis < 0 { axis + rank as i64 } else { axis };
    match usize::try_from(from_start) {
        Ok(a) if a < rank => Ok(a),
        _ => Err(format!("there is no axis {axis} of {rank}")),
    }
}

fn axes(list: &[i64], rank: usize) -> Result<Vec<usize>, String> {
    let mut out = list.iter().map(|a| axis(*a, rank)).collect::<Result<Vec<_>, _>>()?;
    out.sort_unstable();
    if out.windows(2).any(|w| w[0] == w[1]) { Err(format!("axes {list:?} name one twice")) } else { Ok(out) }
}

/// Integers given as an attribute in old versions and as an input in new ones.
pub(crate) fn list<'a>(
    call: &'a Call,
    attribute: &str,
    input: Option<&'a Constant>,
) -> Result<Option<&'a [i64]>, String> {
    match (call.ints(attribute), input) {
        (Some(values), _) => Ok(Some(values)),
        (None, Some(input)) => input.as_ints().map(Some),
        (None, None) => Ok(None),
    }
}

/// Shape after `Squeeze`.
pub(crate) fn squeeze(dims: &[usize], list: Option<&[i64]>) -> Result<Vec<usize>, String> {
    let gone = match list {
        Some(list) => axes(list, dims.len())?,
        None => (0..dims.len()).filter(|a| dims[*a] == 1).collect(),
    };
    if let Some(a) = gone.iter().find(|a| dims[**a] != 1) {
        return Err(format!("axis {a} of {dims:?} is not 1 and cannot be squeezed"));
    }
    Ok((0..dims.len()).filter(|a| !gone.contains(a)).map(|a| dims[a]).collect())
}

/// Shape after `Unsqueeze`.
pub(crate) fn unsqueeze(dims: &[usize], list: &[i64]) -> Result<Vec<usize>, String> {
    let rank = dims.len() + list.len();
    if rank > MAX_RANK {
        return Err(format!("{rank} axes are more than {MAX_RANK}"));
    }
    let new = axes(list, rank)?;
    let mut old = dims.iter();
    Ok((0..rank).map(|a| if new.contains(&a) { 1 } else { *old.next().unwrap_or(&1) }).collect())
}

/// Most axes of a tensor.
pub(crate) const MAX_RANK: usize = 16;

/// The number of values of this shape. `None` if the product of its axes, those of 0 left out, overflows: so that no product of
/// some of them does, either.
pub(crate) fn product(dims: &[usize]) -> Option<usize> {
    dims.iter().try_fold(1usize, |p, d| p.checked_mul((*d).max(1)))?;
    Some(dims.iter().product())
}

/// Shape after `Reshape` to `target`, where 0 keeps an axis (unless `allow_zero`) and one -1 takes what is left.
pub(crate) fn reshape(dims: &[usize], target: &[i64], allow_zero: bool) -> Result<Vec<usize>, String> {
    let fail = || format!("a tensor of shape {dims:?} cannot become {target:?}");
    if target.len() > MAX_RANK {
        return Err(format!("{} axes are more than {MAX_RANK}", target.len()));
    }
    let size: usize = dims.iter().product();
    let mut out = Vec::with_capacity(target.len());
    let mut open = None;
    for (i, &t) in target.iter().enumerate() {
        out.push(match t {
            -1 if open.is_none() => {
                open = Some(i);
                1
            }
            0 if !allow_zero => *dims.get(i).ok_or_else(fail)?,
            t => usize::try_from(t).map_err(|_| fail())?,
        });
    }
    let known = product(&out).ok_or_else(fail)?;
    if let Some(i) = open {
        if known == 0 || !size.is_multiple_of(known) {
            return Err(fail());
        }
        out[i] = size / known;
        return Ok(out);
    }
    if known == size { Ok(out) } else { Err(fail()) }
}

/// Shape after `Flatten`: two axes, parted before `axis`.
pub(crate) fn flatten(dims: &[usize], axis: i64) -> Result<Vec<usize>, String> {
    let at = if axis < 0 { axis + dims.len() as i64 } else { axis };
    match usize::try_from(at) {
        Ok(at) if at <= dims.len() => Ok(vec![dims[..at].iter().product(), dims[at..].iter().product()]),
        _ => Err(format!("there is no axis {axis} of {}", dims.len())),
    }
}

/// A permutation of `rank` axes; reversed by default.
pub(crate) fn permutation(list: Option<&[i64]>, rank: usize) -> Result<Vec<usize>, String> {
    let Some(list) = list else { return Ok((0..rank).rev().collect()) };
    let out: Vec<usize> = list.iter().filter_map(|p| usize::try_from(*p).ok()).collect();
    let mut sorted = out.clone();
    sorted.sort_unstable();
    if sorted.iter().copied().eq(0..rank) { Ok(out) } else { Err(format!("{list:?} is no permutation of {rank} axes")) }
}

/// What `Slice` takes of an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) axis: usize,
    pub(crate) start: usize,
    pub(crate) step: isize,
    pub(crate) count: usize,
}

/// What `Slice` takes of each axis that it names; `inputs` are those behind the data.
pub(crate) fn slice(call: &Call, inputs: &[Option<&Constant>], dims: &[usize]) -> Result<Vec<Range>, String> {
    let input = |i: usize| inputs.get(i).copied().flatten();
    let starts = list(call, "starts", input(0))?.ok_or("a slice without starts")?;
    let ends = list(call, "ends", input(1))?.ok_or("a slice without ends")?;
    let all: Vec<i64> = (0..dims.len() as i64).collect();
    let named = list(call, "axes", input(2))?.unwrap_or(&all[..starts.len().min(all.len())]);
    let ones = vec![1; starts.len()];
    let steps = input(3).map_or(Ok(&ones[..]), Constant::as_ints)?;
    if ends.len() != starts.len() || named.len() != starts.len() || steps.len() != starts.len() {
        return Err("starts, ends, axes and steps of a slice differ in length".into());
    }
    axes(named, dims.len())?;
    let mut out = Vec::new();
    for i in 0..starts.len() {
        let a = axis(named[i], dims.len())?;
        let (size, step) = (dims[a] as i128, i128::from(steps[i]));
        let from_start = |v: i64| i128::from(v) + if v < 0 { size } else { 0 };
        let (low, high) = if step > 0 { (0, size) } else { (-1, size - 1) };
        let start = from_start(starts[i]).clamp(low.max(0), high.max(0));
        let end = from_start(ends[i]).clamp(low, high);
        let count = match step {
            0 => return Err("a slice of step 0".into()),
            1.. => (end - start + step - 1).div_euclid(step),
            _ => (start - end - step - 1).div_euclid(-step),
        };
        let count = if size == 0 { 0 } else { count.max(0) as usize };
        // A step longer than the axis takes one entry whatever it is.
        let step = step.clamp(-size - 1, size + 1) as isize;
        out.push(Range { axis: a, start: start as usize, step, count });
    }
    Ok(out)
}

/// Sizes of `Split`'s pieces of an axis of `size`.
pub(crate) fn split(call: &Call, input: Option<&Constant>, size: usize, outputs: usize) -> Result<Vec<usize>, String> {
    if let Some(sizes) = list(call, "split", input)? {
        let out: Vec<usize> = sizes.iter().filter_map(|s| usize::try_from(*s).ok()).collect();
        let sum = out.iter().try_fold(0usize, |a, b| a.checked_add(*b));
        return match sum {
            Some(sum) if sum == size && out.len() == sizes.len() => Ok(out),
            _ => Err(format!("pieces {sizes:?} do not make up an axis of {size}")),
        };
    }
    if outputs == 0 || outputs > size {
        return Err(format!("an axis of {size} cannot be split into {outputs}"));
    }
    let piece = size.div_ceil(outputs);
    let out: Vec<usize> = (0..outputs).map(|i| piece.min(size.saturating_sub(i * piece))).collect();
    if out.contains(&0) { Err(format!("an axis of {size} cannot be split into {outputs}")) } else { Ok(out) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_those_of_onnx() {
        assert_eq!(reshape(&[2, 3, 4], &[0, -1], false).unwrap(), [2, 12]);
        assert_eq!(reshape(&[2, 3, 4], &[4, 6], false).unwrap(), [4, 6]);
        assert!(reshape(&[2, 3], &[-1, -1], false).is_err() && reshape(&[2, 3], &[-1, 4], false).is_err());
        assert!(reshape(&[2, 3], &[i64::MAX, i64::MAX], false).is_err() && reshape(&[2], &[0, 0], false).is_err());
        assert!(reshape(&[2, 3], &[0, -1], true).is_err());
        assert_eq!(squeeze(&[1, 3, 1], None).unwrap(), [3]);
        assert_eq!(squeeze(&[1, 3, 1], Some(&[-1])).unwrap(), [1, 3]);
        assert!(squeeze(&[1, 3], Some(&[1])).is_err());
        assert_eq!(unsqueeze(&[3, 4], &[0, -1]).unwrap(), [1, 3, 4, 1]);
        assert!(unsqueeze(&[3], &[0, 0]).is_err() && unsqueeze(&[3], &[5]).is_err());
        assert_eq!(flatten(&[2, 3, 4], 1).unwrap(), [2, 12]);
        assert_eq!(flatten(&[2, 3, 4], 0).unwrap(), [1, 24]);
        assert_eq!(permutation(None, 3).unwrap(), [2, 1, 0]);
        assert!(permutation(Some(&[0, 0]), 2).is_err() && permutation(Some(&[0, -1]), 2).is_err());
    }

    #[test]
    fn slices_count_from_both_ends() {
        let call = Call::of_opset(13);
        let one = |v: i64| Constant::ints(vec![v]);
        let take = |s, e, step| {
            let (s, e, a, step) = (one(s), one(e), one(0), one(step));
            let ranges = slice(&call, &[Some(&s), Some(&e), Some(&a), Some(&step)], &[10])?;
            let r = ranges[0];
            Ok::<_, String>((0..r.count as isize).map(|i| r.start as isize + i * r.step).collect::<Vec<_>>())
        };
        assert_eq!(take(2, 5, 1).unwrap(), [2, 3, 4]);
        assert_eq!(take(-1, i64::MAX, 1).unwrap(), [9]);
        assert_eq!(take(0, -7, 2).unwrap(), [0, 2]);
        assert_eq!(take(9, i64::MIN, -4).unwrap(), [9, 5, 1]);
        assert_eq!(take(i64::MAX, i64::MIN, i64::MIN).unwrap(), [9]);
        assert_eq!(take(5, 2, 1).unwrap(), [0isize; 0]);
        assert_eq!(take(20, 30, 1).unwrap(), [0isize; 0]);
        assert!(take(0, 1, 0).is_err());
    }
}
