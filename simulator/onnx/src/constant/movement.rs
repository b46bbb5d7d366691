//! Operators that only move values: each keeps the place in the file that a value came from.

use super::{Constant, Data, Origin};

/// Steps between neighbours along each dimension.
pub(crate) fn strides(dims: &[usize]) -> Vec<usize> {
    let mut out = vec![1; dims.len()];
    for i in (1..dims.len()).rev() {
        out[i - 1] = out[i] * dims[i];
    }
    out
}

/// For each position of a tensor of shape `dims`, last fastest, the sum of its coordinates times `steps`, plus `start`.
pub(crate) fn row_major(dims: &[usize], steps: &[isize], start: usize) -> Vec<u32> {
    let size: usize = dims.iter().product();
    let mut out = Vec::with_capacity(size);
    let mut at = vec![0; dims.len()];
    let mut offset = start as isize;
    for _ in 0..size {
        out.push(offset as u32);
        for d in (0..dims.len()).rev() {
            at[d] += 1;
            offset += steps[d];
            if at[d] < dims[d] {
                break;
            }
            offset -= steps[d] * dims[d] as isize;
            at[d] = 0;
        }
    }
    out
}

impl Constant {
    /// The values at `index`, under another shape of as many.
    pub(crate) fn take(&self, dims: Vec<usize>, index: &[u32]) -> Self {
        fn pick<T: Copy>(from: &[T], index: &[u32]) -> Vec<T> {
            index.iter().map(|i| from[*i as usize]).collect()
        }
        let data = match &self.data {
            Data::Float(v) => Data::Float(pick(v, index)),
            Data::Int(v) => Data::Int(pick(v, index)),
            Data::Bool(v) => Data::Bool(pick(v, index)),
        };
        let origin = match &self.origin {
            Origin::Computed => Origin::Computed,
            whole => Origin::Slots(index.iter().filter_map(|i| whole.slot(*i as usize)).collect()),
        };
        Self { dims, data, origin }
    }

    /// The same values under another shape of as many.
    pub(crate) fn with_dims(&self, dims: Vec<usize>) -> Self {
        Self { dims, ..self.clone() }
    }

    /// Axis `i` of the result is axis `perm[i]`.
    pub(crate) fn transpose(&self, perm: &[usize]) -> Self {
        let from = strides(&self.dims);
        let dims: Vec<usize> = perm.iter().map(|&p| self.dims[p]).collect();
        let steps: Vec<isize> = perm.iter().map(|&p| from[p] as isize).collect();
        let index = row_major(&dims, &steps, 0);
        self.take(dims, &index)
    }

    /// Repeats axes of 1 (and adds some in front) up to `dims`, which it must fit.
    pub(crate) fn broadcast(&self, dims: &[usize]) -> Option<Self> {
        let steps = broadcast_steps(&self.dims, dims)?;
        if self.dims == dims {
            return Some(self.clone());
        }
        let index = row_major(dims, &steps, 0);
        Some(self.take(dims.to_vec(), &index))
    }

    /// `count` entries of an axis from `start` on, `step` apart.
    pub(crate) fn slice(&self, axis: usize, start: usize, step: isize, count: usize) -> Self {
        let from = strides(&self.dims);
        let mut steps: Vec<isize> = from.iter().map(|s| *s as isize).collect();
        steps[axis] *= step;
        let mut dims = self.dims.clone();
        dims[axis] = count;
        let index = row_major(&dims, &steps, start * from[axis]);
        self.take(dims, &index)
    }

    /// Entries of an axis by number; the axis is replaced by `shape`.
    pub(crate) fn gather(&self, axis: usize, entries: &[usize], shape: &[usize]) -> Self {
        let outer: usize = self.dims[..axis].iter().product();
        let inner: usize = self.dims[axis + 1..].iter().product();
        let mut index = Vec::with_capacity(outer * entries.len() * inner);
        for o in 0..outer {
            for e in entries {
                let start = (o * self.dims[axis] + e) * inner;
                index.extend((start..start + inner).map(|i| i as u32));
            }
        }
        let dims = [&self.dims[..axis], shape, &self.dims[axis + 1..]].concat();
        self.take(dims, &index)
    }

    /// Tensors one after the other along an axis; all other dimensions must agree.
    pub(crate) fn concat(parts: &[&Self], axis: usize) -> Option<Self> {
        let first = parts.first()?;
        let same = |p: &&Self| {
            p.dims.len() == first.dims.len()
                && (0..p.dims.len()).all(|d| d == axis || p.dims[d] == first.dims[d])
                && std::mem::discriminant(&p.data) == std::mem::discriminant(&first.data)
        };
        if axis >= first.dims.len() || !parts.iter().all(same) {
            return None;
        }
        // One long tensor, then picked from in the right order.
        let mut joined = Self { dims: vec![], data: empty_like(&first.data), origin: Origin::Computed };
        let tracked = parts.iter().all(|p| p.origin != Origin::Computed);
        let mut slots = Vec::new();
        let mut starts = Vec::new();
        for p in parts {
            starts.push(joined.len());
            match (&mut joined.data, &p.data) {
                (Data::Float(to), Data::Float(from)) => to.extend(from),
                (Data::Int(to), Data::Int(from)) => to.extend(from),
                (Data::Bool(to), Data::Bool(from)) => to.extend(from),
                _ => return None,
            }
            if tracked {
                slots.extend((0..p.len()).filter_map(|i| p.origin.slot(i)));
            }
        }
        if tracked {
            joined.origin = Origin::Slots(slots);
        }
        let outer: usize = first.dims[..axis].iter().product();
        let mut index = Vec::with_capacity(joined.len());
        for o in 0..outer {
            for (p, start) in parts.iter().zip(&starts) {
                let run: usize = p.dims[axis..].iter().product();
                index.extend((start + o * run..start + (o + 1) * run).map(|i| i as u32));
            }
        }
        let mut dims = first.dims.clone();
        dims[axis] = parts.iter().map(|p| p.dims[axis]).sum();
        Some(joined.take(dims, &index))
    }
}

fn empty_like(data: &Data) -> Data {
    match data {
        Data::Float(_) => Data::Float(vec![]),
        Data::Int(_) => Data::Int(vec![]),
        Data::Bool(_) => Data::Bool(vec![]),
    }
}

/// Steps in a tensor of shape `from` for each axis of `to`, aligned at the last axis; 0 where an axis is repeated.
pub(super) fn broadcast_steps(from: &[usize], to: &[usize]) -> Option<Vec<isize>> {
    let missing = to.len().checked_sub(from.len())?;
    let own = strides(from);
    (0..to.len())
        .map(|i| match i.checked_sub(missing) {
            None => Some(0),
            Some(j) if from[j] == to[i] => Some(own[j] as isize),
            Some(j) if from[j] == 1 => Some(0),
            Some(_) => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(dims: &[usize]) -> Constant {
        let size: usize = dims.iter().product();
        let data = Data::Float((0..size).map(|i| i as f32).collect());
        Constant { dims: dims.to_vec(), data, origin: Origin::Whole(3) }
    }

    /// The values of `stored` are their own places.
    fn in_place(c: &Constant) -> bool {
        let values = c.as_floats().unwrap();
        (0..c.len()).all(|i| c.origin.slot(i).unwrap().index as f32 == values[i])
    }

    #[test]
    fn places_follow_the_values() {
        let c = stored(&[2, 3, 4]);
        let t = c.transpose(&[2, 0, 1]);
        assert_eq!((&t.dims[..], t.as_floats().unwrap()[1]), (&[4, 2, 3][..], 4.0));
        let s = t.slice(0, 3, -2, 2);
        assert_eq!(s.as_floats().unwrap()[..2], [3.0, 7.0]);
        assert_eq!(s.as_floats().unwrap()[6..8], [1.0, 5.0]);
        let g = c.gather(1, &[2, 0], &[2]);
        assert_eq!(g.as_floats().unwrap()[..5], [8.0, 9.0, 10.0, 11.0, 0.0]);
        let b = stored(&[3, 1]).broadcast(&[2, 3, 2]).unwrap();
        assert_eq!(b.as_floats().unwrap()[..6], [0.0, 0.0, 1.0, 1.0, 2.0, 2.0]);
        let j = Constant::concat(&[&s, &t.slice(0, 0, 1, 1)], 0).unwrap();
        assert_eq!(j.dims, [3, 2, 3]);
        let k = Constant::concat(&[&c, &c], 2).unwrap();
        assert_eq!(k.as_floats().unwrap()[3..6], [3.0, 0.0, 1.0]);
        for c in [&c, &t, &s, &g, &b, &j, &k] {
            assert!(in_place(c), "{c:?}");
        }
        assert!(Constant::concat(&[&c, &t], 0).is_none() && stored(&[3]).broadcast(&[2]).is_none());
    }
}
