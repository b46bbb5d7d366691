//! `GRU` and `LSTM`.

use crate::constant::Constant;
use crate::file::Outcome;
use crate::import::{Activation, Importer, Site, Value};
use crate::network::{Node, Op, Param, dense, small};
use siskin::checkin::LayerSpec;
use siskin::model::Role;

/// Number of gates and the activation functions that a layer has.
const GRU: (usize, &[&str]) = (3, &["Sigmoid", "Tanh"]);
const LSTM: (usize, &[&str]) = (4, &["Sigmoid", "Tanh", "Tanh"]);

impl Importer<'_> {
    /// Outputs `Y`, all states, and `Y_h`, the last.
    pub(super) fn recurrent(&mut self, site: &Site) -> Outcome<Vec<Value>> {
        let call = &site.call;
        let is_gru = call.operator == "GRU";
        let (gates, functions) = if is_gru { GRU } else { LSTM };
        let x = site.activation(0)?;
        match call.text("direction", "forward") {
            "forward" => {}
            other => return Err(format!("direction {other:?} is not supported, only forward").into()),
        }
        if call.texts("activations").is_some_and(|a| a != functions) || call.has("clip") {
            return Err(format!("only the activations {functions:?} are supported, without a clip").into());
        }
        if call.flag("input_forget", false) {
            return Err("coupled input and forget gates are not supported".into());
        }
        if site.has(4) {
            return Err("sequences of different lengths are not supported".into());
        }
        for (i, what) in [(5, "first state"), (6, "first cell state"), (7, "peephole weight")] {
            if let Some(c) = site.optional(i, what)?
                && c.uniform() != Some(0.0)
            {
                return Err(format!("its {what} must be zeros").into());
            }
        }
        if x.rank() != 3 {
            return Err(format!("its input has {} axes", x.rank()).into());
        }
        let batch_first = call.flag("layout", false);
        let (time, batch) = if batch_first { (1, 0) } else { (0, 1) };
        if x.layout.has_batch(time) || x.layout.has_batch(2) {
            return Err(format!("its axis {batch} must be the batch").into());
        }
        let wanted = [x.layout.axes[2].clone(), x.layout.axes[time].clone(), vec![]];
        if x.layout.axes[batch].iter().any(|f| *f != crate::layout::BATCH) {
            return Err(format!("its axis {batch} must be the batch").into());
        }
        let x = self.arrange(&x, wanted, &site.name)?;
        let [inputs, steps, _] = x.layout.shape();

        let (w, r) = (site.constant(1, "weight")?, site.constant(2, "recurrent weight")?);
        let [1, rows, w_cols] = w.dims[..] else {
            return Err(format!("its weight of shape {:?} is not of one direction", w.dims).into());
        };
        let hidden = rows / gates;
        if rows == 0 || !rows.is_multiple_of(gates) || w_cols != inputs || r.dims != [1, rows, hidden] {
            let (w, r) = (&w.dims, &r.dims);
            return Err(format!("its weights of shapes {w:?} and {r:?} do not fit {inputs} inputs").into());
        }
        if call.int_if_there("hidden_size").is_some_and(|h| usize::try_from(h) != Ok(hidden)) {
            return Err(format!("its hidden_size is not the {hidden} of its weights").into());
        }
        let mut params =
            vec![Param::new(Role::Weight, [rows, inputs], &w)?, Param::new(Role::Recurrent, [rows, hidden], &r)?];
        let bias = site.optional(3, "bias")?;
        if let Some(bias) = &bias {
            if bias.dims != [1, 2 * rows] {
                return Err(format!("its bias of shape {:?} does not fit {rows} rows", bias.dims).into());
            }
            let half = |i: usize| whole(&bias.slice(1, i * rows, 1, rows));
            params.push(Param::new(Role::Bias, [1, rows], &half(0))?);
            params.push(Param::new(Role::RecurrentBias, [1, rows], &half(1))?);
        }
        let (weights, recurrent) = (dense(rows * inputs)?, dense(rows * hidden)?);
        let (small_hidden, bias) = (small(hidden, "a state")?, bias.is_some());
        let spec = if is_gru {
            let reset_after = call.flag("linear_before_reset", false);
            LayerSpec::Gru { hidden: small_hidden, reset_after, bias, weights, recurrent }
        } else {
            LayerSpec::Lstm { hidden: small_hidden, bias, weights, recurrent }
        };
        let op = Op::Layer(spec);
        let node = Node { op, inputs: vec![x.feed], shape: [hidden, steps, 1], params, name: site.name.clone() };
        let feed = self.network.push(node)?;

        let mut layout = x.layout.clone();
        let state = layout.new_factors(hidden);
        layout.home[0].clone_from(&state);
        let (t, b) = (layout.axes[time].clone(), layout.axes[batch].clone());
        layout.axes = if batch_first {
            vec![b.clone(), t, vec![], state.clone()]
        } else {
            vec![t, vec![], b.clone(), state.clone()]
        };
        let all = Activation::new(Some(feed), layout);
        if call.outputs < 2 {
            return Ok(vec![all.into()]);
        }
        let mut last = self.last_position(&all, &site.name)?;
        last.layout.axes = if batch_first { vec![b, vec![], state] } else { vec![vec![], b, state] };
        Ok(vec![all.into(), last.into()])
    }

    /// The last position of a sequence whose ONNX axes the caller sets.
    pub(super) fn last_position(&mut self, x: &Activation, name: &crate::error::NodeName) -> Outcome<Activation> {
        let [channels, ..] = x.layout.shape();
        let op = Op::Layer(LayerSpec::Last);
        let (inputs, params, name) = (vec![x.feed], vec![], name.clone());
        let feed = self.network.push(Node { op, inputs, shape: [channels, 1, 1], params, name })?;
        let mut layout = x.layout.clone();
        layout.home = [layout.home[0].clone(), vec![], vec![]];
        Ok(Activation::new(Some(feed), layout))
    }
}

fn whole(c: &Constant) -> Constant {
    super::linear::whole_again(c.clone())
}
