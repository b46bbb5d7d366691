//! Nodes that become one layer with the nodes before them.
//!
//! Nothing is removed: the layer is added with the inputs of the whole pattern, and what nobody reads any more is left out at
//! the end.

use super::{Feed, Network, Node, Op, Param};
use crate::error::NodeName;
use crate::file::Outcome;
use siskin::checkin::LayerSpec;
use siskin::model::Role;

/// Constants of a pattern may be off by this much, relatively: exporters round them to 32 bits, and products of them again.
const CLOSE: f32 = 1e-6;

/// A mask of -1e4 times this is still one: `exp(-100)` is 0 beside any other score of a softmax of 32 bits.
const LEAST_OF_MASK: f32 = 1e-2;

fn close(a: f32, b: f32) -> bool {
    (a - b).abs() <= CLOSE * b.abs()
}

impl Network {
    /// Adds a layer of one input that keeps the shape and has no tensors.
    pub(crate) fn pointwise(&mut self, spec: LayerSpec, input: Feed, name: &NodeName) -> Outcome<Feed> {
        let shape = self.shape(input);
        self.push(Node { op: Op::Layer(spec), inputs: vec![input], shape, params: vec![], name: name.clone() })
            .map(Some)
    }

    /// Adds a layer that only moves values, or finds the one that there is: queries, keys and values are made of one input.
    pub(crate) fn moved(&mut self, spec: LayerSpec, input: Feed, shape: [usize; 3], name: &NodeName) -> Outcome<usize> {
        let op = Op::Layer(spec);
        // None stands before its input.
        let first = input.map_or(0, |i| i + 1);
        let there = self.nodes.iter().skip(first).position(|n| n.op == op && n.inputs == [input]);
        match there {
            Some(found) => Ok(first + found),
            None => self.push(Node { op, inputs: vec![input], shape, params: vec![], name: name.clone() }),
        }
    }

    /// `scale * x + shift`, joined with one right before, with the scale of attention scores, or with nothing at all if it
    /// changes nothing.
    pub(crate) fn affine(&mut self, input: Feed, scale: f32, shift: f32, name: &NodeName) -> Outcome<Feed> {
        if !scale.is_finite() || !shift.is_finite() {
            return Err(format!("its constants {scale} and {shift} are not finite").into());
        }
        if close(scale, 1.0) && shift == 0.0 {
            return Ok(input);
        }
        match self.layer(input) {
            Some(&LayerSpec::Affine { scale: before, shift: behind }) => {
                let input = self.nodes[input.unwrap_or(0)].inputs[0];
                return self.affine(input, before * scale, behind * scale + shift, name);
            }
            // The mask of causal scores is scaled with them: it must still leave nothing.
            Some(&LayerSpec::Scores { causal: true, .. }) if scale < LEAST_OF_MASK || shift != 0.0 => {
                return Err(format!("it makes {scale} of a causal mask, plus {shift}: no layer does").into());
            }
            Some(&LayerSpec::Scores { heads, scale: before, causal }) if shift == 0.0 => {
                let spec = LayerSpec::Scores { heads, scale: before * scale, causal };
                return self.replaced(input, spec);
            }
            _ => {}
        }
        self.pointwise(LayerSpec::Affine { scale, shift }, input, name)
    }

    /// The node at `feed` once more, as another layer.
    pub(crate) fn replaced(&mut self, feed: Feed, spec: LayerSpec) -> Outcome<Feed> {
        let Some(node) = self.node(feed) else { return Ok(feed) };
        let node = Node { op: Op::Layer(spec), ..node.clone() };
        self.push(node).map(Some)
    }

    /// What `feed` is a multiple of, and by how much.
    fn multiple(&self, feed: Feed) -> (Feed, f32) {
        match self.layer(feed) {
            Some(&LayerSpec::Affine { scale, shift: 0.0 }) => (self.nodes[feed.unwrap_or(0)].inputs[0], scale),
            _ => (feed, 1.0),
        }
    }

    /// `x` if `feed` is `scale * x + shift`.
    fn affine_of(&self, feed: Feed) -> Option<(Feed, f32, f32)> {
        match self.layer(feed) {
            Some(&LayerSpec::Affine { scale, shift }) => Some((self.nodes[feed?].inputs[0], scale, shift)),
            _ => None,
        }
    }

    /// `x` and `k` if `feed` is `k * gate(x)` of a hard swish, `gate = min(max(x / 6 + 1/2, 0), 1)`.
    fn hard_swish_gate(&self, feed: Feed) -> Option<(Feed, f32)> {
        let (feed, factor) = self.multiple(feed);
        let Some(&LayerSpec::Clip { min: 0.0, max }) = self.layer(feed) else { return None };
        let (x, scale, shift) = self.affine_of(self.nodes[feed?].inputs[0])?;
        // Clipped at `max`, it is `max * gate(x)` if its line runs from 0 at -3 to `max` at 3.
        (close(scale * 6.0, max) && close(shift * 2.0, max)).then_some((x, factor * max))
    }

    /// `x` and `k` if `feed` is `k * (1 + erf(x / sqrt 2))`.
    fn gelu_gate(&self, feed: Feed) -> Option<(Feed, f32)> {
        let (erf, scale, shift) = self.affine_of(feed)?;
        if scale != shift || self.node(erf)?.op != Op::Erf {
            return None;
        }
        let (x, inner) = self.multiple(self.nodes[erf?].inputs[0]);
        close(inner, std::f32::consts::FRAC_1_SQRT_2).then_some((x, scale))
    }

    /// Product of two values of the same shape, or a hard swish or GELU if it is a multiple of one.
    pub(crate) fn product(&mut self, a: Feed, b: Feed, name: &NodeName) -> Outcome<Feed> {
        for (x, gate) in [(a, b), (b, a)] {
            let (x, factor) = self.multiple(x);
            if let Some((of, times)) = self.hard_swish_gate(gate)
                && of == x
            {
                let swish = self.pointwise(LayerSpec::HardSwish, x, name)?;
                return self.affine(swish, factor * times, 0.0, name);
            }
            if let Some((of, times)) = self.gelu_gate(gate)
                && of == x
            {
                let gelu = self.pointwise(LayerSpec::Gelu, x, name)?;
                return self.affine(gelu, 2.0 * factor * times, 0.0, name);
            }
        }
        self.pair(LayerSpec::Mul, a, b, self.shape(a), name)
    }

    /// Adds a layer of two inputs and no tensors.
    pub(crate) fn pair(
        &mut self,
        spec: LayerSpec,
        a: Feed,
        b: Feed,
        shape: [usize; 3],
        name: &NodeName,
    ) -> Outcome<Feed> {
        self.push(Node { op: Op::Layer(spec), inputs: vec![a, b], shape, params: vec![], name: name.clone() }).map(Some)
    }

    /// Adds a number to each channel: the bias of the layer before, the shift of the normalisation before, or a normalisation
    /// of its own that changes nothing else.
    pub(crate) fn add_to_channels(&mut self, input: Feed, shift: Param, name: &NodeName) -> Outcome<Feed> {
        let without_bias = match self.layer(input) {
            Some(&LayerSpec::Dense { outputs, bias: false, weights }) => {
                Some(LayerSpec::Dense { outputs, bias: true, weights })
            }
            Some(&LayerSpec::Conv2d { outputs, groups, window, bias: false, weights }) => {
                Some(LayerSpec::Conv2d { outputs, groups, window, bias: true, weights })
            }
            _ => None,
        };
        if let (Some(spec), Some(node)) = (without_bias, self.node(input)) {
            let mut node = Node { op: Op::Layer(spec), ..node.clone() };
            node.params.push(Param { role: Role::Bias, ..shift });
            return self.push(node).map(Some);
        }
        if let Some(node) = self.node(input)
            && let [_, own, ..] = &node.params[..]
            && own.role == Role::Shift
            && own.is_default()
        {
            let mut node = node.clone();
            node.params[1] = Param { role: Role::Shift, ..shift };
            return self.push(node).map(Some);
        }
        let channels = self.shape(input)[0];
        self.per_channel(input, Param::filled(Role::Scale, channels, 1.0), Param { role: Role::Shift, ..shift }, name)
    }

    /// Multiplies each channel by a number: the scale of the normalisation before, or a normalisation of its own.
    pub(crate) fn scale_channels(&mut self, input: Feed, scale: Param, name: &NodeName) -> Outcome<Feed> {
        if let Some(node) = self.node(input)
            && let [own, shift, ..] = &node.params[..]
            && own.role == Role::Scale
            && own.is_default()
            && shift.is_default()
        {
            let mut node = node.clone();
            node.params[0] = Param { role: Role::Scale, ..scale };
            return self.push(node).map(Some);
        }
        let channels = self.shape(input)[0];
        self.per_channel(input, Param { role: Role::Scale, ..scale }, Param::filled(Role::Shift, channels, 0.0), name)
    }

    fn per_channel(&mut self, input: Feed, scale: Param, shift: Param, name: &NodeName) -> Outcome<Feed> {
        let shape = self.shape(input);
        let mean = Param::filled(Role::Mean, shape[0], 0.0);
        let inverse = Param::filled(Role::InverseDeviation, shape[0], 1.0);
        let params = vec![scale, shift, mean, inverse];
        let op = Op::Layer(LayerSpec::BatchNorm);
        self.push(Node { op, inputs: vec![input], shape, params, name: name.clone() }).map(Some)
    }

    /// Some of the channels of a layer that computes each from its own row of weights; `None` if `input` is no such layer.
    pub(crate) fn channels_of(&mut self, input: Feed, channels: &[usize]) -> Outcome<Option<Feed>> {
        let count = super::small(channels.len(), "a number of outputs")?;
        let spec = match self.layer(input) {
            Some(&LayerSpec::Dense { bias, .. }) => {
                let weights = super::dense(0)?;
                LayerSpec::Dense { outputs: count, bias, weights }
            }
            Some(&LayerSpec::Conv2d { groups: 1, window, bias, .. }) => {
                let weights = super::dense(0)?;
                LayerSpec::Conv2d { outputs: count, groups: 1, window, bias, weights }
            }
            _ => return Ok(None),
        };
        let Some(node) = self.node(input) else { return Ok(None) };
        let mut node = Node { op: Op::Layer(spec), ..node.clone() };
        node.shape[0] = channels.len();
        for p in &mut node.params {
            *p = if p.role == Role::Weight { p.rows(channels) } else { p.entries(channels) };
        }
        if let Op::Layer(LayerSpec::Dense { weights, .. } | LayerSpec::Conv2d { weights, .. }) = &mut node.op {
            *weights = super::dense(node.params[0].values.len())?;
        }
        self.push(node).map(|n| Some(Some(n)))
    }
}
