//! Normalisations.

use crate::constant::Constant;
use crate::file::Outcome;
use crate::import::{Activation, Importer, Site, Value};
use crate::network::{Node, Op, Param, small};
use crate::shapes;
use siskin::checkin::LayerSpec;
use siskin::model::Role;

/// A vector of one number for each of `count` channels.
fn vector(role: Role, count: usize, constant: &Constant) -> Outcome<Param> {
    if constant.len() != count {
        return Err(format!("its {} has {} values for {count} channels", role.name(), constant.len()).into());
    }
    Param::new(role, [1, count], constant)
}

impl Importer<'_> {
    fn normalized(&mut self, x: &Activation, spec: LayerSpec, params: Vec<Param>, site: &Site) -> Outcome<Value> {
        let shape = self.network.shape(x.feed);
        let op = Op::Layer(spec);
        let node = Node { op, inputs: vec![x.feed], shape, params, name: site.name.clone() };
        let feed = self.network.push(node)?;
        Ok(Activation::new(Some(feed), x.layout.clone()).into())
    }

    /// With the statistics of the file; `1 / sqrt(variance + epsilon)` is kept.
    pub(super) fn batch_normalization(&mut self, site: &Site) -> Outcome<Value> {
        let call = &site.call;
        if call.flag("training_mode", false) || !call.flag("spatial", true) {
            return Err("only a batch normalisation with fixed statistics a channel is supported".into());
        }
        let x = site.activation(0)?;
        if x.rank() < 2 {
            return Err("its input has no channels".into());
        }
        let x = self.channels_on(&x, 1, &site.name)?;
        let channels = x.layout.shape()[0];
        let epsilon = call.float("epsilon", 1e-5);
        let mut variance = (*site.constant(4, "variance")?).clone();
        let inverse = variance.as_floats()?.iter().map(|v| 1.0 / libm::sqrtf(v + epsilon)).collect();
        variance = Constant::floats(variance.dims.clone(), inverse);
        let params = vec![
            vector(Role::Scale, channels, &*site.constant(1, "scale")?)?,
            vector(Role::Shift, channels, &*site.constant(2, "shift")?)?,
            vector(Role::Mean, channels, &*site.constant(3, "mean")?)?,
            vector(Role::InverseDeviation, channels, &variance)?,
        ];
        self.normalized(&x, LayerSpec::BatchNorm, params, site)
    }

    pub(super) fn layer_normalization(&mut self, site: &Site) -> Outcome<Value> {
        let x = site.activation(0)?;
        let axis = shapes::axis(site.call.int("axis", -1), x.rank())?;
        if (axis..x.rank()).any(|a| x.layout.has_batch(a)) {
            return Err("it would mix the examples of a batch".into());
        }
        let over = x.layout.axes[axis..].concat();
        let x = if x.layout.home[0] == over {
            (*x).clone()
        } else {
            let rest = x.layout.in_onnx_order().into_iter().filter(|f| !over.contains(f)).collect();
            self.arrange(&x, [over, rest, vec![]], &site.name)?
        };
        let channels = x.layout.shape()[0];
        let scale = vector(Role::Scale, channels, &*site.constant(1, "scale")?)?;
        let shift = match site.optional(2, "shift")? {
            Some(shift) => vector(Role::Shift, channels, &shift)?,
            None => Param::filled(Role::Shift, channels, 0.0),
        };
        let epsilon = positive(site.call.float("epsilon", 1e-5))?;
        self.normalized(&x, LayerSpec::LayerNorm { epsilon }, vec![scale, shift], site)
    }

    /// Scale and shift were one a group before version 21.
    pub(super) fn group_normalization(&mut self, site: &Site) -> Outcome<Value> {
        let x = site.activation(0)?;
        if x.rank() < 2 {
            return Err("its input has no channels".into());
        }
        let x = self.channels_on(&x, 1, &site.name)?;
        let channels = x.layout.shape()[0];
        let groups = usize::try_from(site.call.int("num_groups", 0)).unwrap_or(0);
        if groups == 0 || !channels.is_multiple_of(groups) {
            return Err(format!("{channels} channels are not {groups} groups").into());
        }
        let repeat = if site.call.opset < 21 { channels / groups } else { 1 };
        let scale = repeated(&*site.constant(1, "scale")?, repeat);
        let shift = repeated(&*site.constant(2, "shift")?, repeat);
        let params = vec![vector(Role::Scale, channels, &scale)?, vector(Role::Shift, channels, &shift)?];
        let epsilon = positive(site.call.float("epsilon", 1e-5))?;
        let groups = small(groups, "a number of groups")?;
        self.normalized(&x, LayerSpec::GroupNorm { groups, epsilon }, params, site)
    }

    /// Each channel over its positions; if what it sees as a channel is a group of ours, a group normalisation.
    pub(super) fn instance_normalization(&mut self, site: &Site) -> Outcome<Value> {
        let x = site.activation(0)?;
        if x.rank() < 2 || (1..x.rank()).any(|a| x.layout.has_batch(a)) {
            return Err("its input must be batch, channels and positions".into());
        }
        let seen = x.layout.axes[1].clone();
        let x = if x.layout.home[0].starts_with(&seen) { (*x).clone() } else { self.channels_on(&x, 1, &site.name)? };
        let (groups, channels) = (x.layout.size(&seen), x.layout.shape()[0]);
        let scale = repeated(&*site.constant(1, "scale")?, channels / groups);
        let shift = repeated(&*site.constant(2, "shift")?, channels / groups);
        let mut params = vec![vector(Role::Scale, channels, &scale)?, vector(Role::Shift, channels, &shift)?];
        if channels > groups {
            // Ones and zeros that stand for no scale and no shift: the ones that follow take their place.
            for p in &mut params {
                p.origin = crate::constant::Origin::Computed;
            }
        }
        let epsilon = positive(site.call.float("epsilon", 1e-5))?;
        let groups = small(groups, "a number of groups")?;
        self.normalized(&x, LayerSpec::GroupNorm { groups, epsilon }, params, site)
    }
}

/// Each value of a vector several times.
fn repeated(c: &Constant, times: usize) -> Constant {
    if times == 1 {
        return c.clone();
    }
    let index: Vec<u32> = (0..c.len()).flat_map(|i| std::iter::repeat_n(i as u32, times)).collect();
    c.take(vec![index.len()], &index)
}

fn positive(epsilon: f32) -> Outcome<f32> {
    if epsilon > 0.0 && epsilon <= 1.0 {
        Ok(epsilon)
    } else {
        Err(format!("an epsilon of {epsilon} is not in (0, 1]").into())
    }
}
