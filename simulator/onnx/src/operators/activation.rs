//! Functions of each value, and softmax.

use crate::file::{Outcome, Refusal};
use crate::import::{Activation, Importer, Site, Value};
use crate::network::{Node, Op, small};
use siskin::checkin::LayerSpec;

impl Importer<'_> {
    pub(super) fn activation(&mut self, site: &Site) -> Outcome<Value> {
        let call = &site.call;
        let x = site.activation(0)?;
        let spec = match call.operator {
            "Relu" => LayerSpec::Relu,
            "LeakyRelu" => return Ok(self.leaky(&x, call.float("alpha", 0.01), site)?.into()),
            "PRelu" => {
                let slope = site.constant(1, "slope")?;
                let slope = slope.uniform().ok_or("slopes that differ are no layer")?;
                return Ok(self.leaky(&x, slope, site)?.into());
            }
            "Clip" => {
                let bound = |i: usize, name: &str, default: f32| -> Outcome<f32> {
                    match site.optional(i, name)? {
                        Some(c) => c.scalar().ok_or_else(|| format!("its {name} must be one number").into()),
                        None => Ok(call.float(name, default)),
                    }
                };
                let (min, max) = (bound(1, "min", f32::MIN)?, bound(2, "max", f32::MAX)?);
                return Ok(self.clipped(&x, min, max, site)?.into());
            }
            "Sigmoid" => LayerSpec::Sigmoid,
            "Tanh" => LayerSpec::Tanh,
            "Gelu" => match call.text("approximate", "none") {
                "none" => LayerSpec::Gelu,
                other => return Err(format!("a GELU approximated by {other:?} is no layer").into()),
            },
            "HardSwish" => LayerSpec::HardSwish,
            "HardSigmoid" => {
                let (alpha, beta) = (call.float("alpha", 0.2), call.float("beta", 0.5));
                let line = self.network.affine(x.feed, alpha, beta, &site.name)?;
                let feed = self.network.pointwise(LayerSpec::Clip { min: 0.0, max: 1.0 }, line, &site.name)?;
                return Ok(Activation { feed, ..(*x).clone() }.into());
            }
            "Erf" => {
                let shape = self.network.shape(x.feed);
                let (inputs, params, name) = (vec![x.feed], vec![], site.name.clone());
                let feed = self.network.push(Node { op: Op::Erf, inputs, shape, params, name })?;
                return Ok(Activation { feed: Some(feed), ..(*x).clone() }.into());
            }
            "Dropout" => {
                let rate = match site.optional(1, "ratio")? {
                    Some(c) => c.scalar().ok_or("its ratio must be one number")?,
                    None => call.float("ratio", 0.5),
                };
                if !(0.0..1.0).contains(&rate) {
                    return Err(format!("a ratio of {rate} is not in [0, 1)").into());
                }
                if rate == 0.0 {
                    return Ok(Value::Activation(x));
                }
                LayerSpec::Dropout { rate }
            }
            _ => return Err(Refusal::Operator),
        };
        let feed = self.network.pointwise(spec, x.feed, &site.name)?;
        Ok(Activation { feed, ..(*x).clone() }.into())
    }

    fn leaky(&mut self, x: &Activation, slope: f32, site: &Site) -> Outcome<Activation> {
        let spec = match slope {
            0.0 => LayerSpec::Relu,
            s if s > 0.0 && s <= 1.0 => LayerSpec::LeakyRelu { slope },
            _ => return Err(format!("a slope of {slope} is not in [0, 1]").into()),
        };
        let feed = self.network.pointwise(spec, x.feed, &site.name)?;
        Ok(Activation { feed, ..x.clone() })
    }

    pub(super) fn clipped(&mut self, x: &Activation, min: f32, max: f32, site: &Site) -> Outcome<Activation> {
        let (min, max) = (min.max(f32::MIN), max.min(f32::MAX));
        // A NaN is below nothing.
        if !matches!(min.partial_cmp(&max), Some(std::cmp::Ordering::Less)) {
            return Err(format!("bounds of {min} and {max} leave nothing between them").into());
        }
        let feed = match (min, max) {
            (f32::MIN, f32::MAX) => x.feed,
            (0.0, f32::MAX) => self.network.pointwise(LayerSpec::Relu, x.feed, &site.name)?,
            (min, max) => self.network.pointwise(LayerSpec::Clip { min, max }, x.feed, &site.name)?,
        };
        Ok(Activation { feed, ..x.clone() })
    }

    /// `Softmax` and `LogSoftmax`. Before version 13 they went over all axes from theirs on, seen as one.
    pub(super) fn softmax(&mut self, site: &Site) -> Outcome<Value> {
        let call = &site.call;
        let x = site.activation(0)?;
        let old = call.opset < 13;
        let axis = crate::shapes::axis(call.int("axis", if old { 1 } else { -1 }), x.rank())?;
        let over = if old { axis..x.rank() } else { axis..axis + 1 };
        if over.clone().any(|a| x.layout.has_batch(a)) {
            return Err("it would mix the examples of a batch".into());
        }
        let over = x.layout.axes[over].concat();
        let log = call.operator == "LogSoftmax";
        // The inner part of the channels: groups of them, as the scores of several heads.
        let inner = x.layout.home[0].ends_with(&over) && !over.is_empty();
        let x = if inner && (!log || x.layout.home[0].len() == over.len()) {
            (*x).clone()
        } else {
            let rest = x.layout.in_onnx_order().into_iter().filter(|f| !over.contains(f)).collect();
            self.arrange(&x, [over.clone(), rest, vec![]], &site.name)?
        };
        let groups = x.layout.shape()[0] / x.layout.size(&over);
        let causal = matches!(self.network.layer(x.feed), Some(LayerSpec::Scores { causal: true, .. }));
        let spec = if log {
            LayerSpec::LogSoftmax
        } else {
            LayerSpec::Softmax { groups: small(groups, "a number of heads")?, causal }
        };
        let feed = self.network.pointwise(spec, x.feed, &site.name)?;
        Ok(Activation::new(feed, x.layout).into())
    }
}
