//! The growth probe: what a mask that moves asks of a device, because devices train live params only.
//!
//! RigL (Evci et al. 2020, arXiv 1911.11134, algorithm 1) grows where the dense gradient is largest. In the round before such
//! an update the plan's [`probe`](crate::checkin::Upload::probe) is above 0: the device takes the dense gradient of one batch,
//! the first one, with the weights as they came, and keeps of each pruned matrix the largest entries by absolute value among
//! those that do not live. FedDST (Bibikar et al. 2022, arXiv 2112.09824, section 3) grows on the devices instead.
//!
//! What is kept does not depend on the order in which a kernel brings the gradient: entries are ranked by absolute value, then
//! by place, the lowest first, and no two have the same place. Entries of which nothing is known to grow (0, NaN) are never
//! kept; an infinite one counts as the largest number.

use super::Learner;
use crate::model::kernel::{GradSink, Pattern, ValueSink};
use crate::model::mask::{self, Live};
use crate::model::{Graph, Tensor};

/// The pruned matrices that train, each with the entries that are kept of it: at most `most`, and no more than do not live.
pub(crate) fn probed(graph: &Graph, most: u32) -> impl Iterator<Item = (usize, &Tensor, usize)> {
    let matrices = graph.tensors.iter().enumerate().filter(|(_, t)| t.trained && t.role.prunes());
    let entries = move |t: &Tensor| (t.size() - t.live as usize).min(most as usize);
    matrices.map(move |(index, t)| (index, t, entries(t))).filter(|(_, _, entries)| *entries > 0)
}

/// Numbers that [`Probe`] keeps.
pub(crate) fn kept_len(graph: &Graph, most: u32) -> usize {
    probed(graph, most).map(|(_, _, entries)| 1 + entries).sum()
}

/// The rank of an entry: the bits of its absolute value, then its place from the last to the first.
fn rank(magnitude: f32, place: u32) -> u64 {
    u64::from(magnitude.to_bits()) << 32 | u64::from(!place)
}

/// `(place, absolute value)` of an entry.
pub(crate) fn entry(rank: u64) -> (u32, f32) {
    (!(rank as u32), f32::from_bits((rank >> 32) as u32))
}

/// Keeps the largest gradients of params that do not live.
#[derive(Debug)]
pub struct Probe<'a> {
    graph: &'a Graph,
    most: u32,
    values: &'a [f32],
    patterns: (&'a [u32], &'a [u16]),
    /// Matrix by matrix: how many, then their ranks; while it is filled a heap with the lowest rank on top.
    kept: &'a mut [u64],
}

impl<'a> Probe<'a> {
    /// Nothing kept yet: at most `most` entries a matrix; the stored values of all tensors; row pointers and columns.
    ///
    /// # Panics
    /// If `kept` has another length than the plan of bytes says.
    pub(crate) fn new(
        graph: &'a Graph,
        most: u32,
        values: &'a [f32],
        patterns: (&'a [u32], &'a [u16]),
        kept: &'a mut [u64],
    ) -> Self {
        assert!(kept.len() == kept_len(graph, most), "the length comes from the plan of bytes");
        kept.fill(0);
        Self { graph, most, values, patterns, kept }
    }

    /// Sorts what was kept by place, matrix by matrix.
    pub(crate) fn finish(self) {
        let mut at = 0;
        for (_, _, entries) in probed(self.graph, self.most) {
            let (count, ranks) = (self.kept[at] as usize, &mut self.kept[at + 1..at + 1 + entries]);
            ranks[..count].sort_unstable_by_key(|rank| entry(*rank).0);
            at += 1 + entries;
        }
    }
}

/// Keeps the largest gradients of one matrix; of other tensors nothing.
#[derive(Debug)]
pub struct Keep<'s> {
    /// How many are kept, then their ranks; empty for a tensor that is not probed.
    kept: &'s mut [u64],
    live: Live<'s>,
    cols: usize,
    values: &'s [f32],
}

impl Keep<'_> {
    fn offer(&mut self, rank: u64) {
        let Some((count, ranks)) = self.kept.split_first_mut() else { return };
        let len = *count as usize;
        if len < ranks.len() {
            ranks[len] = rank;
            *count += 1;
            rise(&mut ranks[..=len]);
        } else {
            ranks[0] = rank;
            fall(ranks);
        }
    }

    /// The lowest rank that still has a chance.
    fn least(&self) -> u64 {
        match &*self.kept {
            [count, ranks @ ..] if *count as usize == ranks.len() => ranks.first().map_or(0, |lowest| lowest + 1),
            _ => 0,
        }
    }
}

/// Moves the last entry up to its place.
fn rise(heap: &mut [u64]) {
    let mut at = heap.len() - 1;
    while at > 0 && heap[at] < heap[(at - 1) / 2] {
        heap.swap(at, (at - 1) / 2);
        at = (at - 1) / 2;
    }
}

/// Moves the first entry down to its place.
fn fall(heap: &mut [u64]) {
    let mut at = 0;
    loop {
        let [left, right] = [2 * at + 1, 2 * at + 2];
        let lower = if right < heap.len() && heap[right] < heap[left] { right } else { left };
        if lower >= heap.len() || heap[at] <= heap[lower] {
            return;
        }
        heap.swap(at, lower);
        at = lower;
    }
}

impl GradSink for Keep<'_> {
    #[inline]
    fn take(&mut self, offset: usize, grad: &[f32]) {
        if self.kept.is_empty() {
            return;
        }
        for (i, g) in grad.iter().enumerate() {
            let (magnitude, place) = (g.abs(), offset + i);
            if magnitude.is_nan() || magnitude == 0.0 {
                continue;
            }
            let rank = rank(magnitude.min(f32::MAX), place as u32);
            // Almost all gradients stop here: only few need a look at the pattern.
            if rank >= self.least() && !mask::is_live(&self.live, self.cols, place) {
                self.offer(rank);
            }
        }
    }
}

impl ValueSink for Keep<'_> {
    #[inline]
    fn values(&self) -> &[f32] {
        self.values
    }
}

impl Learner for Probe<'_> {
    type Sink<'s>
        = Keep<'s>
    where
        Self: 's;

    fn values(&self) -> &[f32] {
        self.values
    }

    fn dense(&self) -> bool {
        true
    }

    fn sink(&mut self, tensor: &Tensor) -> Keep<'_> {
        let values = &self.values[tensor.range()];
        let mut at = 0;
        for (_, probed, entries) in probed(self.graph, self.most) {
            if (probed.node, probed.role) == (tensor.node, tensor.role) {
                let live = tensor.live(self.patterns.0, self.patterns.1);
                let kept = &mut self.kept[at..at + 1 + entries];
                return Keep { kept, live, cols: tensor.cols as usize, values };
            }
            at += 1 + entries;
        }
        let live = Live { pattern: Pattern { row_ptr: &[], cols: &[] }, height: 1 };
        Keep { kept: &mut [], live, cols: 1, values }
    }

    fn complete(&mut self, _: &Tensor, _: &Pattern<'_>) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    /// Rows of 8; the entries 1 and 3 of the first row and 0 of the third live.
    const PATTERN: Pattern<'static> = Pattern { row_ptr: &[0, 2, 2, 3, 3], cols: &[1, 3, 0] };

    fn keep(most: usize, pieces: &[(usize, Vec<f32>)]) -> Vec<(u32, f32)> {
        let mut kept = std::vec![0; 1 + most];
        let live = Live { pattern: PATTERN, height: 1 };
        let mut keep = Keep { kept: &mut kept, live, cols: 8, values: &[] };
        for (offset, grad) in pieces {
            keep.take(*offset, grad);
        }
        let count = kept[0] as usize;
        let mut entries: Vec<_> = kept[1..=count].iter().map(|rank| entry(*rank)).collect();
        entries.sort_by_key(|e| e.0);
        entries
    }

    #[test]
    fn ties_zeros_and_what_is_no_number() {
        let (nan, inf) = (f32::NAN, f32::INFINITY);
        let grad = std::vec![2.0, 9.0, -2.0, 9.0, nan, 0.0, -0.0, 2.0];
        assert_eq!(
            keep(2, &[(0, grad.clone())]),
            [(0, 2.0), (2, 2.0)],
            "live ones do not count, the lowest place wins"
        );
        assert_eq!(keep(9, &[(0, grad)]), [(0, 2.0), (2, 2.0), (7, 2.0)]);
        assert_eq!(keep(1, &[(24, std::vec![1.0, -inf, inf])]), [(25, f32::MAX)]);
    }

    proptest! {
        /// Whatever the pieces and their order: the set of a sort.
        #[test]
        fn the_set_does_not_depend_on_the_order(
            grad in prop::collection::vec((-3i8..4).prop_map(f32::from), 32),
            cuts in prop::collection::vec(1usize..9, 32),
            order in prop::collection::vec(any::<u32>(), 32),
            most in 1usize..30,
        ) {
            let mut pieces = Vec::new();
            let mut at = 0;
            for cut in cuts {
                let end = (at + cut).min(32);
                pieces.push((at, grad[at..end].to_vec()));
                at = end;
            }
            pieces.retain(|p| !p.1.is_empty());
            let mut shuffled: Vec<_> = pieces.into_iter().zip(order).collect();
            shuffled.sort_by_key(|(_, key)| *key);
            let pieces: Vec<_> = shuffled.into_iter().map(|(piece, _)| piece).collect();
            let live = [1, 3, 16];
            let mut want: Vec<_> = (0..32u32).filter(|i| !live.contains(i) && grad[*i as usize] != 0.0)
                .map(|i| (i, grad[i as usize].abs())).collect();
            want.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            want.truncate(most);
            want.sort_by_key(|e| e.0);
            prop_assert_eq!(keep(most, &pieces), want);
        }
    }
}
