//! Which axis of an ONNX value is which axis of ours.
//!
//! The network keeps an example as `[channels][height][width]`, batch innermost; ONNX has axes in any order, split and merged
//! at will. Both are described over the same *factors*: an ONNX axis is a list of factors, outermost first, and so is each of
//! our three. Reshaping, transposing and squeezing an ONNX value then only rewrites its own lists, and moves nothing, until
//! a layer needs its channels elsewhere. Axes of 1 have no factors.

/// A factor of the number of values.
pub(crate) type Factor = usize;

/// The examples of a batch; they are outside our three axes.
pub(crate) const BATCH: Factor = 0;

/// The axes of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Size of each factor, the batch first.
    sizes: Vec<usize>,
    /// Factors of each ONNX axis.
    pub(crate) axes: Vec<Vec<Factor>>,
    /// Factors of channels, height and width. Each factor but the batch stands in one list here and in one there.
    pub(crate) home: [Vec<Factor>; 3],
}

/// What brings a value from one order of ours to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Another shape, the same order.
    Reshape([usize; 3]),
    /// Axis `i` of the result is axis `axes[i]`.
    Transpose([u8; 3]),
}

impl Layout {
    /// The input of a network: ONNX axes in ONNX's order, the first of them the batch, the others spread over ours from
    /// `first` on; more than three of them share the channels.
    pub(crate) fn of_input(batch: usize, dims: &[usize], first: usize) -> Self {
        let mut layout = Self { sizes: vec![batch], axes: vec![], home: Default::default() };
        layout.axes.push(if batch > 1 { vec![BATCH] } else { vec![] });
        let spare = dims.len().saturating_sub(3 - first);
        for (i, &d) in dims.iter().enumerate() {
            let factors = layout.new_factors(d);
            layout.home[first + i.saturating_sub(spare)].extend(&factors);
            layout.axes.push(factors);
        }
        layout
    }

    /// The factors of an axis of `size`: one, or none for a size of 1.
    pub(crate) fn new_factors(&mut self, size: usize) -> Vec<Factor> {
        if size == 1 {
            return vec![];
        }
        self.sizes.push(size);
        vec![self.sizes.len() - 1]
    }

    pub(crate) fn size(&self, factors: &[Factor]) -> usize {
        factors.iter().map(|f| self.sizes[*f]).product()
    }

    /// Forgets factors that no axis has any more: each change leaves some behind, and a file chooses how many changes there are.
    pub(crate) fn compact(&mut self) {
        let mut names = vec![None; self.sizes.len()];
        names[BATCH] = Some(BATCH);
        let mut sizes = vec![self.sizes[BATCH]];
        for factor in self.axes.iter_mut().chain(&mut self.home).flatten() {
            let name = *names[*factor].get_or_insert_with(|| {
                sizes.push(self.sizes[*factor]);
                sizes.len() - 1
            });
            *factor = name;
        }
        self.sizes = sizes;
    }

    /// ONNX's shape, with the batch.
    pub(crate) fn dims(&self) -> Vec<usize> {
        self.axes.iter().map(|a| self.size(a)).collect()
    }

    /// Our shape of one example.
    pub(crate) fn shape(&self) -> [usize; 3] {
        [0, 1, 2].map(|i| self.size(&self.home[i]))
    }

    /// All factors of an example in our order.
    pub(crate) fn in_our_order(&self) -> Vec<Factor> {
        self.home.concat()
    }

    /// All factors of an example in ONNX's order.
    pub(crate) fn in_onnx_order(&self) -> Vec<Factor> {
        self.axes.concat().into_iter().filter(|f| *f != BATCH).collect()
    }

    /// True if the axis goes over the examples of a batch.
    pub(crate) fn has_batch(&self, axis: usize) -> bool {
        self.axes[axis].contains(&BATCH)
    }

    /// The same values under other ONNX dimensions; `None` if an axis would have to be cut where no factor ends.
    pub(crate) fn reshape(&self, dims: &[usize]) -> Option<Self> {
        let mut out = self.clone();
        out.join_factors();
        let mut rest: std::collections::VecDeque<Factor> = out.axes.concat().into();
        let mut axes = Vec::with_capacity(dims.len());
        for &d in dims {
            let (mut axis, mut open) = (vec![], d);
            while open > 1 {
                let factor = rest.pop_front()?;
                let size = out.sizes[factor];
                if open.is_multiple_of(size) {
                    axis.push(factor);
                    open /= size;
                } else if size.is_multiple_of(open) && factor != BATCH {
                    let (outer, inner) = out.cut(factor, open);
                    axis.push(outer);
                    rest.push_front(inner);
                    open = 1;
                } else {
                    return None;
                }
            }
            axes.push(axis);
        }
        out.axes = axes;
        rest.is_empty().then_some(out)
    }

    /// Joins factors that follow each other in both orders, so that they can be cut elsewhere.
    fn join_factors(&mut self) {
        let flat = self.axes.concat();
        for pair in flat.windows(2).rev() {
            let [a, b] = [pair[0], pair[1]];
            let follows = |list: &Vec<Factor>| list.windows(2).any(|w| w == [a, b]);
            if a == BATCH || b == BATCH || !self.home.iter().any(follows) {
                continue;
            }
            self.sizes[a] *= self.sizes[b];
            let drop_b = |list: &mut Vec<Factor>| list.retain(|f| *f != b);
            self.axes.iter_mut().for_each(drop_b);
            self.home.iter_mut().for_each(drop_b);
        }
    }

    /// Replaces a factor by two of which the outer one has `outer` entries.
    fn cut(&mut self, factor: Factor, outer: usize) -> (Factor, Factor) {
        let inner = self.sizes[factor] / outer;
        self.sizes[factor] = outer;
        self.sizes.push(inner);
        let new = self.sizes.len() - 1;
        for list in self.axes.iter_mut().chain(&mut self.home) {
            if let Some(i) = list.iter().position(|f| *f == factor) {
                list.insert(i + 1, new);
            }
        }
        (factor, new)
    }

    /// ONNX axis `i` of the result is axis `perm[i]`.
    pub(crate) fn transpose(&self, perm: &[usize]) -> Self {
        Self { axes: perm.iter().map(|p| self.axes[*p].clone()).collect(), ..self.clone() }
    }

    /// Layers that bring our axes to `wanted`, which holds the same factors; `None` if no transposition of three does it.
    pub(crate) fn steps_to(&self, wanted: &[Vec<Factor>; 3]) -> Option<Vec<Step>> {
        let shape = [0, 1, 2].map(|i| self.size(&wanted[i]));
        let (from, to) = (self.in_our_order(), wanted.concat());
        let mut steps = Vec::new();
        if from == to {
            if self.shape() != shape {
                steps.push(Step::Reshape(shape));
            }
            return Some(steps);
        }
        // Whole axes in another order?
        for axes in [[0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            if axes.map(|a: u8| self.home[usize::from(a)].clone()).concat() == to {
                steps.push(Step::Transpose(axes));
                let moved = axes.map(|a| self.size(&self.home[usize::from(a)]));
                if moved != shape {
                    steps.push(Step::Reshape(shape));
                }
                return Some(steps);
            }
        }
        // Runs of factors that stay together, in the order of the result.
        let place = |f: &Factor| from.iter().position(|g| g == f);
        let mut runs: Vec<Vec<Factor>> = vec![];
        for f in &to {
            let p = place(f)?;
            match runs.last_mut() {
                Some(run) if place(run.last()?)? + 1 == p => run.push(*f),
                _ => runs.push(vec![*f]),
            }
        }
        if runs.len() > 3 || from.len() != to.len() {
            return None;
        }
        runs.resize(3, vec![]);
        let mut order: Vec<u8> = vec![0, 1, 2];
        // Where the runs stand now; an empty one stands last.
        order.sort_by_key(|r| runs[usize::from(*r)].first().map_or(usize::MAX, |f| place(f).unwrap_or(usize::MAX)));
        let grouped = [0, 1, 2].map(|i| self.size(&runs[usize::from(order[i])]));
        if grouped != self.shape() {
            steps.push(Step::Reshape(grouped));
        }
        steps.push(Step::Transpose([0, 1, 2].map(|r| order.iter().position(|o| *o == r).unwrap_or(0) as u8)));
        if [0, 1, 2].map(|r| self.size(&runs[r])) != shape {
            steps.push(Step::Reshape(shape));
        }
        Some(steps)
    }

    /// Steps of each factor of an ONNX axis: entries of the axis between its neighbours.
    pub(crate) fn steps_within(&self, axis: usize) -> Vec<(Factor, usize)> {
        let mut step = 1;
        let mut out: Vec<_> = self.axes[axis]
            .iter()
            .rev()
            .map(|f| {
                let own = (*f, step);
                step *= self.sizes[*f];
                own
            })
            .collect();
        out.reverse();
        out
    }

    /// For each position over `order`, last fastest, the sum of its coordinates times `steps` (0 where none is given).
    pub(crate) fn walk(&self, order: &[Factor], steps: &[(Factor, usize)]) -> Vec<u32> {
        let dims: Vec<usize> = order.iter().map(|f| self.sizes[*f]).collect();
        let step = |f: &Factor| steps.iter().find(|s| s.0 == *f).map_or(0, |s| s.1 as isize);
        crate::constant::row_major(&dims, &order.iter().map(step).collect::<Vec<_>>(), 0)
    }

    /// Two values of as many axes, over common factors: the axes of the second are those of the first, or 1.
    ///
    /// `None` if sizes differ, factors cannot be matched, or the batch is elsewhere.
    pub(crate) fn unify(a: &Self, b: &Self) -> Option<(Self, Self)> {
        let (mut a, mut b) = (a.clone(), b.clone());
        let mut names = vec![(BATCH, BATCH)];
        for axis in 0..a.axes.len() {
            let mut i = 0;
            if b.axes.get(axis)?.is_empty() {
                continue;
            }
            while i < a.axes[axis].len() || i < b.axes[axis].len() {
                let (f, g) = (*a.axes[axis].get(i)?, *b.axes[axis].get(i)?);
                let (x, y) = (a.sizes[f], b.sizes[g]);
                if (f == BATCH) != (g == BATCH) || (f == BATCH && x != y) {
                    return None;
                }
                // Lists are outermost first: equal beginnings, then cut the longer factor.
                if x > y && x.is_multiple_of(y) {
                    a.cut(f, y);
                } else if y > x && y.is_multiple_of(x) {
                    b.cut(g, x);
                } else if x != y {
                    return None;
                }
                names.push((g, f));
                i += 1;
            }
        }
        let rename = |list: &Vec<Factor>| {
            list.iter().map(|g| names.iter().find(|n| n.0 == *g).map(|n| n.1)).collect::<Option<Vec<_>>>()
        };
        let axes = b.axes.iter().map(rename).collect::<Option<_>>()?;
        let home = [rename(&b.home[0])?, rename(&b.home[1])?, rename(&b.home[2])?];
        let b = Self { sizes: a.sizes.clone(), axes, home };
        Some((a, b))
    }
}

/// True if both lists hold the same factors, in any order.
pub(crate) fn same_factors(a: &[Factor], b: &[Factor]) -> bool {
    a.len() == b.len() && a.iter().all(|f| b.contains(f))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where each value of one example goes: numbers an input by ONNX's order, follows `steps`, reads in our order.
    fn moved(shape: [usize; 3], values: &[usize], steps: &[Step]) -> Vec<usize> {
        let (mut shape, mut values) = (shape, values.to_vec());
        for step in steps {
            match step {
                Step::Reshape(to) => {
                    assert_eq!(shape.iter().product::<usize>(), to.iter().product::<usize>());
                    shape = *to;
                }
                Step::Transpose(axes) => {
                    let from = [shape[1] * shape[2], shape[2], 1];
                    let dims = axes.map(|a| shape[usize::from(a)]);
                    let step = axes.map(|a| from[usize::from(a)] as isize);
                    values = crate::constant::row_major(&dims, &step, 0).iter().map(|i| values[*i as usize]).collect();
                    shape = dims;
                }
            }
        }
        values
    }

    #[test]
    fn heads_split_and_merge_without_moving() {
        // [N, T, D] -> [N, T, h, d] -> [N, h, T, d] -> [N, T, h, d] -> [N, T, D]
        let x = Layout::of_input(3, &[5, 8], 0).transpose(&[0, 2, 1]);
        let split = x.reshape(&[3, 8, 5]).unwrap();
        assert_eq!((split.dims(), split.shape()), (vec![3, 8, 5], [5, 8, 1]));
        let heads = split.transpose(&[0, 2, 1]).reshape(&[3, 5, 2, 4]).unwrap().transpose(&[0, 2, 1, 3]);
        assert_eq!((heads.dims(), heads.shape()), (vec![3, 2, 5, 4], [5, 8, 1]));
        let back = heads.transpose(&[0, 2, 1, 3]).reshape(&[3, 5, 8]).unwrap();
        assert_eq!((back.dims(), back.shape()), (vec![3, 5, 8], [5, 8, 1]));
        assert_eq!(back.reshape(&[3, 40]).unwrap().dims(), [3, 40]);
        assert_eq!(back.reshape(&[15, 8]).unwrap().axes[0][0], BATCH);
        assert!(back.reshape(&[5, 24]).is_none() && back.reshape(&[3, 7, 5]).is_none());
    }

    #[test]
    fn a_long_way_leaves_no_factors_behind() {
        let mut x = Layout::of_input(3, &[6, 35], 0);
        for _ in 0..100 {
            for dims in [&[3, 2, 3, 5, 7][..], &[3, 210], &[3, 6, 35]] {
                x = x.reshape(dims).unwrap();
                x.compact();
                assert_eq!((x.dims(), x.shape()), (dims.to_vec(), [6, 35, 1]));
                assert!(x.sizes.len() < 8, "{x:?}");
            }
        }
    }

    #[test]
    fn steps_bring_every_value_home() {
        let images = Layout::of_input(2, &[3, 4, 5], 0);
        let numbers: Vec<usize> = (0..60).collect();
        let [c, h, w] = images.home.clone().map(|f| f[0]);
        let empty = Vec::new;
        for wanted in [
            [vec![h, w, c], empty(), empty()],
            [vec![w], vec![c, h], empty()],
            [vec![w], vec![h], vec![c]],
            [vec![c, h, w], empty(), empty()],
            [vec![h], empty(), vec![c, w]],
        ] {
            let steps = images.steps_to(&wanted).unwrap();
            let place = images.walk(&wanted.concat(), &[(c, 20), (h, 5), (w, 1)]);
            let expected: Vec<usize> = place.iter().map(|i| *i as usize).collect();
            assert_eq!(moved([3, 4, 5], &numbers, &steps), expected, "{wanted:?} {steps:?}");
        }
        // Four groups cannot be moved by one transposition.
        let cut = images.reshape(&[2, 3, 2, 2, 5]).unwrap();
        let f = cut.in_our_order();
        assert!(cut.steps_to(&[vec![f[3], f[2], f[1], f[0]], vec![], vec![]]).is_none());
    }

    #[test]
    fn two_values_share_their_factors() {
        let a = Layout::of_input(2, &[4, 6], 0);
        let b = Layout::of_input(2, &[4, 2, 3], 0).reshape(&[2, 4, 6]).unwrap();
        let (a, b) = Layout::unify(&a, &b).unwrap();
        assert_eq!(a.axes, b.axes);
        assert_eq!((a.shape(), b.shape()), ([4, 6, 1], [4, 2, 3]));
        let scale = Layout::of_input(2, &[4, 1], 0);
        let (a, scale) = Layout::unify(&a, &scale).unwrap();
        assert_eq!(a.home[0], scale.home[0]);
        assert!(Layout::unify(&a, &Layout::of_input(3, &[4, 6], 0)).is_none());
        assert!(Layout::unify(&a, &Layout::of_input(2, &[6, 4], 0)).is_none());
    }
}
