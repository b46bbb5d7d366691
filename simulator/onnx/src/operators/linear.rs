//! Products with weights: dense layers, of all features or of each position.

use crate::constant::{Constant, Origin};
use crate::file::Outcome;
use crate::import::{Activation, Importer, Site, Value};
use crate::layout::{BATCH, same_factors};
use crate::network::{Node, Op, Param, dense, small};
use siskin::checkin::{LayerSpec, Window};
use siskin::model::Role;

impl Importer<'_> {
    /// `alpha A B + beta C`.
    pub(super) fn gemm(&mut self, site: &Site) -> Outcome<Value> {
        let call = &site.call;
        let x = site.activation(0)?;
        let weight = site.constant(1, "second matrix")?;
        if call.flag("transA", false) {
            return Err("its first matrix is transposed, which would mix the examples of a batch".into());
        }
        if x.rank() != 2 {
            return Err(format!("its first matrix has {} axes", x.rank()).into());
        }
        // Ours is [outputs, inputs].
        let rows = if call.flag("transB", false) { (*weight).clone() } else { transposed(&weight)? };
        let product = self.linear(&x, &rows, call.float("alpha", 1.0), site)?;
        let Some(bias) = site.optional(2, "bias")? else { return Ok(product.into()) };
        let beta = call.float("beta", 1.0);
        Ok(self.add_constant(&product, &bias, beta, site)?.into())
    }

    pub(super) fn mat_mul(&mut self, site: &Site) -> Outcome<Value> {
        let Ok(x) = site.activation(0) else {
            // A constant times a computed value works on the last axis but one.
            let weight = site.constant(0, "first matrix")?;
            let x = site.activation(1)?;
            let mut perm: Vec<usize> = (0..x.rank()).collect();
            let [.., a, b] = &mut perm[..] else { return Err("its second matrix has less than two axes".into()) };
            std::mem::swap(a, b);
            let turned = x.seen_as(x.layout.transpose(&perm));
            let product = self.linear(&turned, &weight, 1.0, site)?;
            return Ok(product.seen_as(product.layout.transpose(&perm)).into());
        };
        if let Ok(other) = site.activation(1) {
            return Ok(self.attention(&x, &other, site)?.into());
        }
        let weight = site.constant(1, "second matrix")?;
        let rows = match weight.dims[..] {
            [k] => weight.with_dims(vec![1, k]),
            _ => transposed(&weight)?,
        };
        let product = self.linear(&x, &rows, 1.0, site)?;
        if weight.dims.len() > 1 {
            return Ok(product.into());
        }
        let dims = product.layout.dims();
        Ok(self.reshaped(&product, &dims[..dims.len() - 1])?.into())
    }

    /// `factor * rows` times the last axis of `x`; `rows` is `[outputs, inputs]`.
    fn linear(&mut self, x: &Activation, rows: &Constant, factor: f32, site: &Site) -> Outcome<Activation> {
        let [outputs, inputs] = rows.dims[..] else {
            return Err(format!("a weight of shape {:?} is no matrix", rows.dims).into());
        };
        let last = x.rank().checked_sub(1).ok_or("its input has no axes")?;
        let summed = x.layout.axes[last].clone();
        if x.layout.size(&summed) != inputs {
            let got = x.layout.size(&summed);
            return Err(format!("its weight is for {inputs} inputs, but there are {got}").into());
        }
        if outputs == 0 || !factor.is_finite() || factor == 0.0 {
            return Err(format!("{outputs} outputs times {factor} are none").into());
        }
        if summed.contains(&BATCH) {
            return Err("it would mix the examples of a batch".into());
        }
        let all = x.layout.in_our_order();
        let x = if same_factors(&summed, &x.layout.home[0]) || same_factors(&summed, &all) {
            x.clone()
        } else {
            self.channels_on(x, last, &site.name)?
        };
        // Columns in our order, over the channels of each position or over everything.
        let over_all = same_factors(&summed, &x.layout.in_our_order());
        let order = if over_all { x.layout.in_our_order() } else { x.layout.home[0].clone() };
        let columns = x.layout.walk(&order, &x.layout.steps_within(last));
        let in_order = columns.iter().enumerate().all(|(i, c)| i == *c as usize);
        let weight = if in_order { rows.clone() } else { with_columns(rows, &columns) };
        let weight = Param::new(Role::Weight, [outputs, inputs], &weight)?.scaled(factor);
        let [_, height, width] = x.layout.shape();
        let (small_outputs, weights) = (small(outputs, "a number of outputs")?, dense(outputs * inputs)?);
        let mut layout = x.layout.clone();
        let new = layout.new_factors(outputs);
        let (spec, shape) = if over_all || height * width == 1 {
            layout.home = [new.clone(), vec![], vec![]];
            (LayerSpec::Dense { outputs: small_outputs, bias: false, weights }, [outputs, 1, 1])
        } else {
            layout.home[0] = new.clone();
            let spec =
                LayerSpec::Conv2d { outputs: small_outputs, groups: 1, window: Window::POINT, bias: false, weights };
            (spec, [outputs, height, width])
        };
        layout.axes[last] = new;
        let op = Op::Layer(spec);
        let node = Node { op, inputs: vec![x.feed], shape, params: vec![weight], name: site.name.clone() };
        Ok(Activation::new(Some(self.network.push(node)?), layout))
    }
}

fn transposed(weight: &Constant) -> Outcome<Constant> {
    if weight.dims.len() != 2 {
        return Err(format!("a weight of shape {:?} is no matrix", weight.dims).into());
    }
    // One that was only turned around in the file is whole again.
    let turned = weight.transpose(&[1, 0]);
    Ok(whole_again(turned))
}

/// Names a tensor that stands in the file in its own order as whole.
pub(super) fn whole_again(c: Constant) -> Constant {
    let Origin::Slots(slots) = &c.origin else { return c };
    let Some(first) = slots.first().copied() else { return c };
    let in_order = slots.iter().enumerate().all(|(i, s)| s.source == first.source && s.index as usize == i);
    if in_order { Constant { origin: Origin::Whole(first.source), ..c } } else { c }
}

fn with_columns(rows: &Constant, columns: &[u32]) -> Constant {
    let width = rows.dims[1];
    let index: Vec<u32> = (0..rows.dims[0]).flat_map(|r| columns.iter().map(move |c| (r * width) as u32 + c)).collect();
    rows.take(rows.dims.clone(), &index)
}
