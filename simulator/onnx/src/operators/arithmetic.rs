//! Sums and products: of two computed values, or of one and a constant, which may be a bias, a scale, an array of positions or
//! an attention mask.

use crate::constant::{Constant, Origin, arithmetic::broadcast_dims, row_major, strides};
use crate::file::{Outcome, Refusal};
use crate::import::{Activation, Importer, Site, Value};
use crate::layout::{BATCH, Layout, same_factors};
use crate::network::{Node, Op, Param};
use siskin::checkin::LayerSpec;
use siskin::model::Role;

/// A mask's entries behind the own position are this or less: after a softmax, nothing is left of them.
const MASKED: f32 = -1e4;

/// What a constant is to a computed value.
pub(super) enum Part {
    /// The same number for all.
    Number(f32),
    /// A number for each channel, in our order.
    Channels(Constant),
    /// A number for each value, in our order; some of them perhaps repeated.
    All(Constant),
}

impl Importer<'_> {
    pub(super) fn arithmetic(&mut self, site: &Site) -> Outcome<Value> {
        let operator = site.call.operator;
        let count = site.inputs.len();
        if operator == "Sum" && count != 2 {
            return self.sum(site);
        }
        if count != 2 {
            return Err(format!("it has {count} inputs").into());
        }
        let (a, b) = (site.inputs[0].clone(), site.inputs[1].clone());
        let result = match (a, b) {
            (Some(Value::Activation(_)), Some(Value::Activation(_))) => {
                let (a, b) = (site.activation(0)?, site.activation(1)?);
                match operator {
                    "Add" | "Sum" => self.combine(LayerSpec::Add, &a, &b, site)?,
                    "Mul" => self.combine(LayerSpec::Mul, &a, &b, site)?,
                    "Sub" => {
                        let feed = self.network.affine(b.feed, -1.0, 0.0, &site.name)?;
                        let negative = Activation { feed, ..(*b).clone() };
                        self.combine(LayerSpec::Add, &a, &negative, site)?
                    }
                    _ => return Err("it divides by a computed value, which no layer does".into()),
                }
            }
            (Some(Value::Activation(_)), Some(Value::Constant(c))) => {
                let x = site.activation(0)?;
                match operator {
                    "Add" | "Sum" => self.add_constant(&x, &c, 1.0, site)?,
                    "Sub" => self.add_constant(&x, &c, -1.0, site)?,
                    "Mul" => self.times_constant(&x, &c, site)?,
                    _ => {
                        let Part::Number(by) = part_of(&x, &c)? else {
                            return Err("it divides by more than one number, which no layer does".into());
                        };
                        // The quotient of the exporters' own constants, sqrt(d), sqrt(2) and such.
                        let feed = self.network.affine(x.feed, 1.0 / by, 0.0, &site.name)?;
                        Activation { feed, ..(*x).clone() }
                    }
                }
            }
            (Some(Value::Constant(c)), Some(Value::Activation(_))) => {
                let x = site.activation(1)?;
                match operator {
                    "Add" | "Sum" => self.add_constant(&x, &c, 1.0, site)?,
                    "Mul" => self.times_constant(&x, &c, site)?,
                    "Sub" => {
                        let feed = self.network.affine(x.feed, -1.0, 0.0, &site.name)?;
                        self.add_constant(&Activation { feed, ..(*x).clone() }, &c, 1.0, site)?
                    }
                    _ => return Err("it divides by a computed value, which no layer does".into()),
                }
            }
            _ => return Err("an input is missing".into()),
        };
        Ok(result.into())
    }

    /// `Sum` of any number of computed values.
    fn sum(&mut self, site: &Site) -> Outcome<Value> {
        let mut total = (*site.activation(0)?).clone();
        for i in 1..site.inputs.len() {
            total = self.combine(LayerSpec::Add, &total, &*site.activation(i)?, site)?;
        }
        Ok(total.into())
    }

    /// Sum or product of two computed values; the second may be one number a channel.
    fn combine(&mut self, spec: LayerSpec, a: &Activation, b: &Activation, site: &Site) -> Outcome<Activation> {
        let (a, b) = (self.of_rank(a, b.rank())?, self.of_rank(b, a.rank())?);
        let (a_dims, b_dims) = (a.layout.dims(), b.layout.dims());
        let all = broadcast_dims(&a_dims, &b_dims)
            .ok_or_else(|| format!("shapes {a_dims:?} and {b_dims:?} do not fit each other"))?;
        let (x, y) = if a_dims == all { (a, b) } else { (b, a) };
        if x.layout.dims() != all {
            return Err(format!("it repeats both {a_dims:?} and {b_dims:?}, which no layer does").into());
        }
        let apart = || format!("it cannot match the axes of {a_dims:?} and {b_dims:?}");
        let (x_layout, y_layout) = Layout::unify(&x.layout, &y.layout).ok_or_else(apart)?;
        let (x, y) = (x.seen_as(x_layout), y.seen_as(y_layout));
        let repeated = !same_factors(&y.layout.in_our_order(), &x.layout.in_our_order());
        let wanted = if repeated { [x.layout.home[0].clone(), vec![], vec![]] } else { x.layout.home.clone() };
        if repeated && !same_factors(&y.layout.in_our_order(), &wanted[0]) {
            return Err(format!("it repeats {a_dims:?} or {b_dims:?} over part of an axis, which no layer does").into());
        }
        let y = self.arrange(&y, wanted, &site.name)?;
        let feed = match spec {
            LayerSpec::Mul if !repeated => self.network.product(x.feed, y.feed, &site.name)?,
            spec => self.network.pair(spec, x.feed, y.feed, x.layout.shape(), &site.name)?,
        };
        Ok(Activation::new(feed, x.layout))
    }

    /// The same value with axes of 1 in front, up to `rank`.
    fn of_rank(&mut self, x: &Activation, rank: usize) -> Outcome<Activation> {
        let mut layout = x.layout.clone();
        while layout.axes.len() < rank {
            layout.axes.insert(0, vec![]);
        }
        Ok(x.seen_as(layout))
    }

    /// `x + factor * c`.
    pub(super) fn add_constant(
        &mut self,
        x: &Activation,
        c: &Constant,
        factor: f32,
        site: &Site,
    ) -> Outcome<Activation> {
        if let Some(LayerSpec::Scores { .. }) = self.network.layer(x.feed) {
            return self.mask(x, c, factor);
        }
        let feed = match part_of(x, c)? {
            Part::Number(shift) => self.network.affine(x.feed, 1.0, factor * shift, &site.name)?,
            Part::Channels(c) => {
                let shift = Param::new(Role::Shift, [1, c.len()], &c)?.scaled(factor);
                self.network.add_to_channels(x.feed, shift, &site.name)?
            }
            Part::All(c) => {
                let shift = Param::new(Role::Offset, [1, c.len()], &c)?.scaled(factor);
                let node = Node {
                    op: Op::Layer(LayerSpec::Offset),
                    inputs: vec![x.feed],
                    shape: self.network.shape(x.feed),
                    params: vec![shift],
                    name: site.name.clone(),
                };
                Some(self.network.push(node)?)
            }
        };
        Ok(Activation { feed, ..self.of_rank(x, c.dims.len())? })
    }

    /// `c * x`.
    fn times_constant(&mut self, x: &Activation, c: &Constant, site: &Site) -> Outcome<Activation> {
        let feed = match part_of(x, c)? {
            Part::Number(scale) => self.network.affine(x.feed, scale, 0.0, &site.name)?,
            Part::Channels(c) => {
                let scale = Param::new(Role::Scale, [1, c.len()], &c)?;
                self.network.scale_channels(x.feed, scale, &site.name)?
            }
            Part::All(_) => return Err("it multiplies each value by a number of its own, which no layer does".into()),
        };
        Ok(Activation { feed, ..self.of_rank(x, c.dims.len())? })
    }

    /// Attention scores under a mask that is added to them.
    fn mask(&mut self, x: &Activation, c: &Constant, factor: f32) -> Outcome<Activation> {
        let Some(&LayerSpec::Scores { heads, scale, .. }) = self.network.layer(x.feed) else {
            return Err("a mask on what are no attention scores".into());
        };
        let all = match part_of(x, c)? {
            Part::Number(0.0) => return Ok(x.clone()),
            Part::All(c) => c,
            _ => return Err(NOT_CAUSAL.into()),
        };
        let steps = x.layout.shape()[1];
        let values = all.as_floats()?;
        if values.iter().all(|v| *v == 0.0) {
            return Ok(x.clone());
        }
        // Ours is [head][key][query].
        let causal = values.iter().enumerate().all(|(i, v)| {
            let (key, query) = ((i / steps) % steps, i % steps);
            if key <= query { *v == 0.0 } else { factor * v <= MASKED }
        });
        if !causal {
            return Err(NOT_CAUSAL.into());
        }
        let feed = self.network.replaced(x.feed, LayerSpec::Scores { heads, scale, causal })?;
        Ok(Activation { feed, ..self.of_rank(x, c.dims.len())? })
    }

    /// `Where(mask, scores, -inf)`, either way round.
    pub(super) fn choose(&mut self, site: &Site) -> Outcome<Value> {
        let condition = site.constant(0, "condition")?;
        let (scores, other, keep) = match (site.activation(1), site.activation(2)) {
            (Ok(x), Err(_)) => (x, site.constant(2, "alternative")?, true),
            (Err(_), Ok(x)) => (x, site.constant(1, "alternative")?, false),
            _ => return Err("it chooses between computed values, which no layer does".into()),
        };
        let crate::constant::Data::Bool(kept) = &condition.data else {
            return Err("its condition must be truth values".into());
        };
        let value = other.scalar().ok_or("its alternative must be one number")?;
        if !matches!(self.network.layer(scores.feed), Some(LayerSpec::Scores { .. })) {
            return Err("it is only known as the mask of attention scores".into());
        }
        let added = kept.iter().map(|k| if *k == keep { 0.0 } else { value }).collect();
        let mask = Constant::floats(condition.dims.clone(), added);
        Ok(self.mask(&scores, &mask, 1.0)?.into())
    }

    /// `Min` and `Max` with one number.
    pub(super) fn bound(&mut self, site: &Site) -> Outcome<Value> {
        let (x, c) = match (site.activation(0), site.activation(1)) {
            (Ok(x), Err(_)) => (x, site.constant(1, "bound")?),
            (Err(_), Ok(x)) => (x, site.constant(0, "bound")?),
            _ => return Err("it compares computed values, which no layer does".into()),
        };
        let bound = c.uniform().filter(|_| site.inputs.len() == 2).ok_or("its bound must be one number")?;
        if broadcast_dims(&x.layout.dims(), &c.dims).is_none_or(|d| d.len() != x.rank() || d != x.layout.dims()) {
            return Err("its bound does not fit the value's shape".into());
        }
        let (min, max) = if site.call.operator == "Max" { (bound, f32::MAX) } else { (f32::MIN, bound) };
        Ok(self.clipped(&x, min, max, site)?.into())
    }

    /// A small whole power.
    pub(super) fn power(&mut self, site: &Site) -> Outcome<Value> {
        let x = site.activation(0)?;
        let exponent = site.constant(1, "exponent")?;
        let power = match &exponent.data {
            crate::constant::Data::Int(v) if v.len() == 1 => v[0] as f32,
            _ => exponent.scalar().ok_or("its exponent must be one number")?,
        };
        if power != 1.0 && power != 2.0 && power != 3.0 {
            return Err(format!("a power of {power} is no layer").into());
        }
        let mut feed = x.feed;
        for _ in 1..power as usize {
            feed = self.network.pair(LayerSpec::Mul, feed, x.feed, self.network.shape(x.feed), &site.name)?;
        }
        Ok(Activation { feed, ..(*x).clone() }.into())
    }

    pub(super) fn negate(&mut self, site: &Site) -> Outcome<Value> {
        let x = site.activation(0)?;
        let feed = self.network.affine(x.feed, -1.0, 0.0, &site.name)?;
        Ok(Activation { feed, ..(*x).clone() }.into())
    }
}

const NOT_CAUSAL: &str =
    "its mask is neither causal (0 on and below the diagonal, -1e4 or less above) nor zero; no other is supported";

/// What a constant is to a computed value that it is combined with.
pub(super) fn part_of(x: &Activation, c: &Constant) -> Outcome<Part> {
    c.as_floats()?;
    let dims = x.layout.dims();
    let rank = dims.len().max(c.dims.len());
    let all = broadcast_dims(&dims, &c.dims);
    let (front, padded) = (rank - dims.len(), [vec![1; rank - dims.len()], dims.clone()].concat());
    if all.is_none_or(|all| all != padded) {
        return Err(format!("a constant of shape {:?} does not fit a value of {dims:?}", c.dims).into());
    }
    let channels = &x.layout.home[0];
    // A stored vector of one, for one channel, may train; a number without axes is just a number.
    let vector_of_one = c.origin != Origin::Computed && channels.is_empty() && !c.dims.is_empty();
    match c.uniform() {
        Some(value) if c.len() == 1 && !vector_of_one => return Ok(Part::Number(value)),
        Some(value) if c.origin == Origin::Computed => return Ok(Part::Number(value)),
        None if c.len() == 0 => return Err("a constant without values".into()),
        _ => {}
    }
    // Where each factor leads in the constant.
    let own = strides(&c.dims);
    let mut steps = Vec::new();
    for (axis, (d, stride)) in c.dims.iter().zip(&own).enumerate() {
        let of_x = (axis + rank - c.dims.len()).checked_sub(front);
        if let (Some(of_x), true) = (of_x, *d > 1) {
            steps.extend(x.layout.steps_within(of_x).into_iter().map(|(f, s)| (f, s * stride)));
        }
    }
    if let Some((_, step)) = steps.iter().find(|(f, _)| *f == BATCH) {
        differs_by_example(c, *step, x.layout.size(&[BATCH]))?;
        steps.retain(|(f, _)| *f != BATCH);
    }
    let used: Vec<_> = steps.iter().map(|s| s.0).collect();
    if same_factors(&used, channels) {
        let index = x.layout.walk(channels, &steps);
        return Ok(Part::Channels(c.take(vec![index.len()], &index)));
    }
    let order = x.layout.in_our_order();
    let index = x.layout.walk(&order, &steps);
    Ok(Part::All(c.take(vec![index.len()], &index)))
}

/// Refuses a constant that was expanded over the batch and is not the same for all examples.
fn differs_by_example(c: &Constant, step: usize, batch: usize) -> Outcome<()> {
    // The batch is one factor of one axis: blocks of `step`, `batch` of them in a row.
    let blocks = c.len() / (step * batch);
    let first = row_major(&[blocks, step], &[(step * batch) as isize, 1], 0);
    for example in 1..batch {
        let other = row_major(&[blocks, step], &[(step * batch) as isize, 1], example * step);
        if c.take(vec![first.len()], &first).data != c.take(vec![other.len()], &other).data {
            return Err(Refusal::Why("its constant differs from example to example of a batch".into()));
        }
    }
    Ok(())
}
