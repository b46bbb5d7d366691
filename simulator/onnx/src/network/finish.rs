//! The finished network: what its output needs, in a plan's form.

use super::{Feed, Network, Node, Op};
use crate::constant::{Origin, Slot};
use crate::error::ImportError;
use crate::source::{Place, TensorSource};
use siskin::checkin::{Layer, LayerSpec, Loss, MAX_LAYERS, ModelSpec, PlanError, Train};
use siskin::model::{Graph, Role};
use std::collections::HashMap;

/// A network and where its parameters come from.
#[derive(Debug, PartialEq)]
pub(crate) struct Finished {
    pub(crate) model: ModelSpec,
    pub(crate) params: Vec<Vec<f32>>,
    pub(crate) sources: Vec<TensorSource>,
    pub(crate) layer_names: Vec<String>,
    /// What someone should know.
    pub(crate) notes: Vec<String>,
}

/// Leaves out what `output` does not need and checks what is left. `stored` are the names of the file's tensors.
///
/// # Errors
/// [`ImportError`]: `Operator`, `Layers`, `Distance`, `Tied`, `Initializer`, `Node`, `Network`.
pub(crate) fn finish(network: &Network, output: Feed, loss: Loss, stored: &[String]) -> Result<Finished, ImportError> {
    let needed = needed(network, output);
    let Some(&last) = needed.last() else {
        return Err(ImportError::Loss { why: "the output is the input: there is nothing to train".into() });
    };
    debug_assert_eq!(Some(last), output);
    if let Op::Layer(LayerSpec::Scores { causal: true, .. }) = network.nodes[last].op {
        let why = "the output is attention scores under a causal mask: only a softmax over the keys may read them";
        return Err(ImportError::Node { node: network.nodes[last].name.clone(), why: why.into() });
    }
    let count = needed.len();
    if count > MAX_LAYERS {
        return Err(ImportError::Layers { got: count, limit: MAX_LAYERS });
    }
    let input = network.input.map(|d| d as u16);
    let mut out = Finished {
        model: ModelSpec { input, layers: heapless::Vec::new(), loss },
        params: vec![],
        sources: vec![],
        layer_names: vec![],
        notes: vec![],
    };
    let mut users = Users { stored, slots: HashMap::new() };
    for (position, &index) in needed.iter().enumerate() {
        let node = &network.nodes[index];
        let Op::Layer(spec) = node.op else {
            return Err(ImportError::Node { node: node.name.clone(), why: alone(&node.op).into() });
        };
        check_values(node, stored)?;
        if reads_masked(network, node) {
            let why = "it reads attention scores under a causal mask, which only a softmax over the keys may";
            return Err(ImportError::Node { node: node.name.clone(), why: why.into() });
        }
        let train = trained(node);
        let mut from = [0; 2];
        for (distance, feed) in from.iter_mut().zip(&node.inputs) {
            // The example stands right before the first layer.
            let at = feed.map_or(0, |f| needed.iter().position(|n| *n == f).map_or(0, |p| p + 1));
            let bridged = position - at;
            *distance = u8::try_from(bridged).map_err(|_| ImportError::Distance {
                node: node.name.to_string(),
                got: bridged,
                limit: usize::from(u8::MAX),
            })?;
        }
        let frozen = node.params.iter().any(|p| p.role.trains()) && train != Train::All;
        if frozen {
            let what = if train == Train::Bias { "trains its biases and shifts only" } else { "does not train" };
            out.notes.push(format!("{}: it {what}: the other tensors are computed or repeated, not stored", node.name));
        }
        for p in &node.params {
            let trains = p.role.trains() && (train == Train::All || (train == Train::Bias && p.role.is_bias()));
            if trains {
                users.add(&p.origin, p.values.len(), &node.name.name)?;
            }
            let place =
                if trains { Place::Stored { origin: p.origin.clone(), factor: p.factor } } else { Place::Fixed };
            out.sources.push(TensorSource { layer: position, role: p.role, shape: p.shape, place });
            out.params.push(p.values.clone());
        }
        out.layer_names.push(node.name.name.clone());
        // There is room: the count was checked.
        let _ = out.model.layers.push(Layer { spec, from, train });
    }
    if out.sources.iter().all(|s| s.place == Place::Fixed) {
        return Err(ImportError::Loss { why: "no layer has parameters that can be trained".into() });
    }
    // The sdk has the last word on what fits together.
    Graph::new(&out.model).map_err(|e| match (e, &needed[..]) {
        (PlanError::Layer { index, .. }, needed) if usize::from(index) < needed.len() => {
            ImportError::Node { node: network.nodes[needed[usize::from(index)]].name.clone(), why: e.to_string() }
        }
        _ => ImportError::Network { why: e.to_string() },
    })?;
    Ok(out)
}

/// True if a node would see what a causal mask hides: our scores leave it out instead of making it small.
fn reads_masked(network: &Network, node: &Node) -> bool {
    let masked = |feed: &Feed| matches!(network.layer(*feed), Some(LayerSpec::Scores { causal: true, .. }));
    let by_softmax = matches!(node.op, Op::Layer(LayerSpec::Softmax { causal: true, .. }));
    !by_softmax && node.inputs.iter().any(masked)
}

/// What `output` needs, in order.
fn needed(network: &Network, output: Feed) -> Vec<usize> {
    let mut wanted = vec![false; network.nodes.len()];
    if let Some(o) = output {
        wanted[o] = true;
    }
    for i in (0..network.nodes.len()).rev().filter(|_| output.is_some()) {
        if wanted[i] {
            network.nodes[i].inputs.iter().flatten().for_each(|f| wanted[*f] = true);
        }
    }
    (0..wanted.len()).filter(|i| wanted[*i]).collect()
}

/// Why an operator that is part of a layer does not stand alone.
fn alone(op: &Op) -> &'static str {
    match op {
        Op::Erf => "the error function is only known as part of a GELU",
        _ => "padding is only known right before a convolution",
    }
}

/// Which of a layer's parameters can train: those that stand in the file, each in one place.
fn trained(node: &Node) -> Train {
    let stored = |bias: bool| {
        let mut of_kind = node.params.iter().filter(|p| p.role.trains() && p.role.is_bias() == bias).peekable();
        let any = of_kind.peek().is_some();
        (any, of_kind.all(|p| is_stored(&p.origin)))
    };
    match (stored(false), stored(true)) {
        ((_, true), (_, true)) => Train::All,
        (_, (true, true)) if node.params.len() > 1 => Train::Bias,
        _ => Train::Nothing,
    }
}

/// True if each value has a place of its own.
fn is_stored(origin: &Origin) -> bool {
    match origin {
        Origin::Computed => false,
        Origin::Whole(_) => true,
        Origin::Slots(slots) => {
            let mut all: Vec<(u32, u32)> = slots.iter().map(|s| (s.source, s.index)).collect();
            all.sort_unstable();
            all.windows(2).all(|w| w[0] != w[1])
        }
    }
}

fn check_values(node: &Node, stored: &[String]) -> Result<(), ImportError> {
    for p in &node.params {
        if let Some(i) = p.values.iter().position(|v| !v.is_finite()) {
            let why = format!("value {} of the {} of {} is not finite", p.values[i], p.role.name(), node.name);
            return Err(match p.origin.slot(i) {
                Some(Slot { source, index }) => {
                    let name = stored.get(source as usize).cloned().unwrap_or_default();
                    ImportError::Initializer { name, why: format!("{why} (entry {index})") }
                }
                None => ImportError::Node { node: node.name.clone(), why },
            });
        }
        if p.role == Role::InverseDeviation && p.values.iter().any(|v| *v <= 0.0) {
            return Err(ImportError::Node { node: node.name.clone(), why: "a variance is negative".into() });
        }
    }
    Ok(())
}

/// Which layer trains which number of the file.
struct Users<'a> {
    stored: &'a [String],
    /// Per stored tensor, for each value: 1 + the user's number, or 0.
    slots: HashMap<u32, (Vec<u32>, Vec<String>)>,
}

impl Users<'_> {
    fn add(&mut self, origin: &Origin, len: usize, user: &str) -> Result<(), ImportError> {
        for slot in (0..len).filter_map(|i| origin.slot(i)) {
            let (taken, names) = self.slots.entry(slot.source).or_default();
            if names.last().is_none_or(|n| n != user) {
                names.push(user.into());
            }
            let index = slot.index as usize;
            if taken.len() <= index {
                taken.resize(index + 1, 0);
            }
            if taken[index] != 0 {
                return Err(ImportError::Tied {
                    initializer: self.stored.get(slot.source as usize).cloned().unwrap_or_default(),
                    first: names[taken[index] as usize - 1].clone(),
                    second: user.into(),
                });
            }
            taken[index] = names.len() as u32;
        }
        Ok(())
    }
}
