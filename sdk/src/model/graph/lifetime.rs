//! When each buffer is needed, and places for all of them that overlap wherever their times do not.
//!
//! Time runs in steps: node `i` of `n` goes forward at `i`, the loss is taken at `n`, node `i` goes backward at `2 n - i`.
//! A buffer is placed at the lowest offset that is free for as long as it is needed: those of the forward pass, most of which
//! stay, in the order in which they come up, those of the backward pass from the largest to the smallest.

use super::{Graph, Node, Role};
use crate::checkin::{LayerSpec, MAX_LAYERS, PlanError};
use crate::model::layers::{backward_work, forward_work, saved};
use heapless::Vec;

/// Features that all buffers of a pool may have together.
const MAX_POOL: u64 = 1 << 24;

/// What the backward pass of a layer reads of the forward one.
#[derive(Clone, Copy, Default)]
struct Keeps {
    inputs: [bool; 2],
    output: bool,
}

impl Graph {
    fn keeps(&self, node: &Node) -> Keeps {
        let mut keeps = Keeps::default();
        if !node.active {
            return keeps;
        }
        let trains = |role| self.tensors_of(node).iter().any(|t| t.role == role && t.trained);
        let below = node.sources.map(|s| self.is_active(s));
        match node.spec {
            LayerSpec::Dense { .. } | LayerSpec::Conv2d { .. } | LayerSpec::Embedding { .. } => {
                keeps.inputs[0] = trains(Role::Weight);
            }
            LayerSpec::MaxPool(_) => {
                keeps.inputs[0] = true;
                keeps.output = true;
            }
            LayerSpec::Relu
            | LayerSpec::LeakyRelu { .. }
            | LayerSpec::Clip { .. }
            | LayerSpec::Sigmoid
            | LayerSpec::Tanh
            | LayerSpec::Softmax { .. }
            | LayerSpec::LogSoftmax => keeps.output = true,
            LayerSpec::Gelu | LayerSpec::HardSwish => keeps.inputs[0] = true,
            LayerSpec::BatchNorm => keeps.inputs[0] = trains(Role::Scale),
            LayerSpec::LayerNorm { .. } | LayerSpec::GroupNorm { .. } => {
                keeps.inputs[0] = below[0] || trains(Role::Scale);
            }
            LayerSpec::Gru { .. } | LayerSpec::Lstm { .. } => {
                keeps.inputs[0] = trains(Role::Weight);
                keeps.output = true;
            }
            LayerSpec::Mul | LayerSpec::Scores { .. } | LayerSpec::Context { .. } => {
                keeps.inputs = [below[1], below[0]];
            }
            LayerSpec::AveragePool { .. }
            | LayerSpec::GlobalAveragePool
            | LayerSpec::Dropout { .. }
            | LayerSpec::Add
            | LayerSpec::Concat
            | LayerSpec::Affine { .. }
            | LayerSpec::Offset
            | LayerSpec::Reshape { .. }
            | LayerSpec::Flatten
            | LayerSpec::Transpose { .. }
            | LayerSpec::Last => {}
        }
        keeps
    }

    /// True if the numbers of a source may be overwritten by its only consumer.
    fn may_be_overwritten(&self, mut source: u8) -> bool {
        while let Some(index) = usize::from(source).checked_sub(1) {
            let node = &self.nodes[index];
            if node.consumers != 1 || self.keeps(node).output {
                return false;
            }
            if !is_view(&node.spec) {
                return true;
            }
            source = node.sources[0];
        }
        // The example stays.
        false
    }

    /// Places all buffers.
    pub(super) fn place_activations(&mut self) -> Result<(), PlanError> {
        let n = self.nodes.len();
        for index in 0..n {
            let node = self.nodes[index];
            let in_place = is_view(&node.spec)
                || (is_elementwise(&node.spec)
                    && !self.keeps(&node).inputs[0]
                    && self.may_be_overwritten(node.sources[0]));
            let source = usize::from(node.sources[0]).checked_sub(1).map(|s| self.nodes[s]);
            let gradient_in_place = node.active
                && gradient_is_elementwise(&node.spec)
                && source.is_some_and(|s| s.active && s.consumers == 1);
            self.nodes[index].in_place = in_place;
            self.nodes[index].gradient_in_place = gradient_in_place;
        }
        self.activations = self.place_forward()?;
        self.gradients = self.place_backward()?;
        Ok(())
    }

    #[inline(never)]
    fn place_forward(&mut self) -> Result<usize, PlanError> {
        let n = self.nodes.len();
        // Last time at which a slot is read, and whose slot a source's numbers lie in.
        let mut until = [0u16; MAX_LAYERS + 1];
        let mut slot = [0u8; MAX_LAYERS + 1];
        for (index, node) in self.nodes.iter().enumerate() {
            slot[index + 1] = if node.in_place { slot[usize::from(node.sources[0])] } else { index as u8 + 1 };
            let keeps = self.keeps(node);
            let backward = (2 * n - index) as u16;
            for (source, kept) in node.sources.iter().zip(keeps.inputs).take(node.spec.inputs()) {
                let last = &mut until[usize::from(slot[usize::from(*source)])];
                *last = (*last).max(if kept { backward } else { index as u16 });
            }
            let own = &mut until[usize::from(slot[index + 1])];
            *own = (*own).max(if keeps.output { backward } else { index as u16 });
        }
        let last = &mut until[usize::from(slot[n])];
        *last = (*last).max(n as u16);

        let mut pool = Pool::default();
        pool.place(self.input.features(), 0, until[0])?;
        for index in 0..n {
            let node = self.nodes[index];
            let y = if node.in_place {
                self.place_of(node.sources[0]) as u32
            } else {
                pool.place(node.output.features(), index as u16, until[index + 1])?
            };
            let input = self.input_of(&node);
            let saved_until = if node.active { 2 * n - index } else { index };
            let saved = pool.place(saved(&node.spec, input), index as u16, saved_until as u16)?;
            let work = pool.place(forward_work(&node.spec, input), index as u16, index as u16)?;
            let node = &mut self.nodes[index];
            (node.y, node.saved, node.work) = (y, saved, work);
        }
        Ok(pool.size as usize)
    }

    #[inline(never)]
    fn place_backward(&mut self) -> Result<usize, PlanError> {
        let n = self.nodes.len();
        let mut wanted: Vec<Wanted, { 3 * MAX_LAYERS }> = Vec::new();
        let mut taken_over = [false; MAX_LAYERS];
        for index in (0..n).rev().filter(|&i| self.nodes[i].active) {
            let now = (2 * n - index) as u16;
            let node = &self.nodes[index];
            let first = if index + 1 == n { n } else { 2 * n - usize::from(node.last_consumer) } as u16;
            // The buffer goes on to the sources that take it over.
            let mut end = index;
            while self.nodes[end].gradient_in_place {
                end = usize::from(self.nodes[end].sources[0]) - 1;
                taken_over[end] = true;
            }
            let own = if taken_over[index] { 0 } else { node.output.features() };
            let sum: usize = (0..node.spec.inputs())
                .filter(|&k| self.needs_sum(index, k))
                .map(|k| self.shape_of(node.sources[k]).features())
                .sum();
            let work = backward_work(&node.spec, self.input_of(node));
            for (use_of, features, from, until) in [
                (Use::Gradient, own, first, (2 * n - end) as u16),
                (Use::Sum, sum, now, now),
                (Use::Work, work, now, now),
            ] {
                if features > 0 {
                    // A node has at most three buffers, so there is room.
                    let _ = wanted.push(Wanted { features, from, until, node: index as u8, use_of });
                }
            }
        }
        // The largest first: small ones find room between them, but not the other way around. (Of two of one size the one that
        // is needed first.)
        let mut pool = Pool::default();
        while let Some(next) = (0..wanted.len()).rev().max_by_key(|&i| wanted[i].features) {
            let Wanted { features, from, until, node, use_of } = wanted.remove(next);
            let at = pool.place(features, from, until)?;
            let node = &mut self.nodes[usize::from(node)];
            match use_of {
                Use::Gradient => node.dy = at,
                Use::Sum => node.sum = at,
                Use::Work => node.backward_work = at,
            }
        }
        for index in (0..n).rev().filter(|&i| taken_over[i]) {
            let from = (index + 1..n).find(|&i| {
                let node = &self.nodes[i];
                node.gradient_in_place && usize::from(node.sources[0]) == index + 1
            });
            self.nodes[index].dy = from.map_or(0, |from| self.nodes[from].dy);
        }
        Ok(pool.size as usize)
    }

    /// True if the gradient of this input is the first that its source gets, and so does not have to be added.
    pub(crate) fn is_first_gradient(&self, index: usize, input: usize) -> bool {
        let node = &self.nodes[index];
        let source = node.sources[input];
        let repeated = input == 1 && node.sources[0] == source;
        let Some(source) = usize::from(source).checked_sub(1) else { return false };
        usize::from(self.nodes[source].last_consumer) == index && !repeated
    }

    /// True if the gradient of this input must be made elsewhere and then added.
    pub(crate) fn needs_sum(&self, index: usize, input: usize) -> bool {
        let node = &self.nodes[index];
        // These deliver their output's gradient, whole or in parts, and add on the way.
        let delivers = matches!(node.spec, LayerSpec::Add | LayerSpec::Concat)
            || (input == 0 && gradient_is_elementwise(&node.spec));
        self.is_active(node.sources[input]) && !self.is_first_gradient(index, input) && !delivers
    }
}

/// The same numbers under another shape.
pub(crate) const fn is_view(spec: &LayerSpec) -> bool {
    matches!(spec, LayerSpec::Reshape { .. } | LayerSpec::Flatten)
}

/// Layers whose output can take the place of their first input.
pub(crate) const fn is_elementwise(spec: &LayerSpec) -> bool {
    matches!(
        spec,
        LayerSpec::Relu
            | LayerSpec::LeakyRelu { .. }
            | LayerSpec::Clip { .. }
            | LayerSpec::Sigmoid
            | LayerSpec::Tanh
            | LayerSpec::Softmax { .. }
            | LayerSpec::LogSoftmax
            | LayerSpec::Dropout { .. }
            | LayerSpec::Affine { .. }
            | LayerSpec::Offset
            | LayerSpec::Add
    )
}

/// Layers that turn the gradient of their output into that of their first input in place.
pub(crate) const fn gradient_is_elementwise(spec: &LayerSpec) -> bool {
    is_view(spec) || is_elementwise(spec) || matches!(spec, LayerSpec::Gelu | LayerSpec::HardSwish | LayerSpec::Mul)
}

/// A buffer of the backward pass that is to be placed.
struct Wanted {
    features: usize,
    from: u16,
    until: u16,
    node: u8,
    use_of: Use,
}

/// What a node needs it for.
enum Use {
    Gradient,
    Sum,
    Work,
}

#[derive(Clone, Copy)]
struct Placed {
    at: u32,
    end: u32,
    from: u16,
    until: u16,
}

/// Buffers of one pool, by offset.
#[derive(Default)]
struct Pool {
    /// A node has at most three: output, saved, work.
    placed: Vec<Placed, { 3 * MAX_LAYERS + 1 }>,
    size: u32,
}

impl Pool {
    /// The lowest offset that is free from `from` to `until`, both included; nothing takes no place.
    fn place(&mut self, features: usize, from: u16, until: u16) -> Result<u32, PlanError> {
        if features == 0 {
            return Ok(0);
        }
        let mut at = 0u64;
        let mut index = self.placed.len();
        for other in &self.placed {
            if other.until < from || until < other.from {
                continue;
            }
            if u64::from(other.at) >= at + features as u64 {
                break;
            }
            at = at.max(u64::from(other.end));
        }
        let end = at + features as u64;
        if end > MAX_POOL {
            return Err(PlanError::OutOfRange { field: "model: features of all layers together", got: end as f32 });
        }
        if let Some(i) = self.placed.iter().position(|p| u64::from(p.at) > at) {
            index = i;
        }
        let placed = Placed { at: at as u32, end: end as u32, from, until };
        // A node has at most three buffers, so there is room.
        let _ = self.placed.insert(index, placed);
        self.size = self.size.max(end as u32);
        Ok(at as u32)
    }
}
