//! Convolutions and pooling.

use crate::file::{Call, Outcome};
use crate::import::{Activation, Importer, Site, Value};
use crate::network::{Node, Op, Param, dense, small};
use crate::shapes;
use siskin::checkin::{LayerSpec, Window};
use siskin::model::Role;

/// A window over one or two axes; the second is 1 for sequences.
struct Geometry {
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    /// Before and behind, for each axis.
    padding: [[usize; 2]; 2],
    /// Positions of the result.
    output: [usize; 2],
    /// True if `ceil_mode` added windows that reach over the edge.
    grown: bool,
}

/// Numbers for each axis of the window, with a default.
fn per_axis(call: &Call, name: &str, axes: usize, default: usize) -> Outcome<[usize; 2]> {
    let mut out = [default, if name == "kernel_shape" { 1 } else { default }];
    if let Some(list) = call.ints(name) {
        if list.len() != axes {
            return Err(format!("its {name} {list:?} is not for {axes} axes").into());
        }
        for (to, from) in out.iter_mut().zip(list) {
            *to = usize::try_from(*from)
                .ok()
                .filter(|v| (1..=usize::from(u16::MAX)).contains(v))
                .ok_or_else(|| format!("its {name} {list:?} is out of range"))?;
        }
    }
    Ok(out)
}

impl Geometry {
    /// The window of a node over `axes` axes of size `input`, `kernel` where its weight tells, and zeros of a `Pad` before.
    fn of(call: &Call, axes: usize, input: [usize; 2], kernel: Option<[usize; 2]>, pad: [usize; 4]) -> Outcome<Self> {
        let named = call.has("kernel_shape").then(|| per_axis(call, "kernel_shape", axes, 1)).transpose()?;
        let kernel = match (kernel, named) {
            (Some(kernel), Some(named)) if kernel != named => {
                return Err(format!("its kernel_shape {named:?} is not that of its weight, {kernel:?}").into());
            }
            (kernel, named) => kernel.or(named).ok_or("its kernel_shape is missing")?,
        };
        let (mut stride, mut dilation) = (per_axis(call, "strides", axes, 1)?, per_axis(call, "dilations", axes, 1)?);
        for axis in axes..2 {
            (stride[axis], dilation[axis]) = (1, 1);
        }
        let mut padding = [[pad[0], pad[2]], [pad[1], pad[3]]];
        let auto = call.text("auto_pad", "NOTSET");
        let given = call.ints("pads").unwrap_or(&[]);
        if auto == "NOTSET" && !given.is_empty() && given.len() != 2 * axes {
            return Err(format!("its pads {given:?} are not for {axes} axes").into());
        }
        let ceil = call.flag("ceil_mode", false) && auto == "NOTSET";
        let (mut output, mut grown) = ([1; 2], false);
        for axis in 0..2 {
            let reach = dilation[axis] * (kernel[axis] - 1) + 1;
            let size = input[axis] + padding[axis][0] + padding[axis][1];
            match auto {
                "NOTSET" if axis < axes && !given.is_empty() => {
                    for (end, to) in padding[axis].iter_mut().enumerate() {
                        let pad = given[axis + end * axes];
                        let pad = usize::try_from(pad).ok().filter(|p| *p <= usize::from(u16::MAX));
                        *to += pad.ok_or_else(|| format!("its pads {given:?} are out of range"))?;
                    }
                }
                "NOTSET" | "VALID" => {}
                "SAME_UPPER" | "SAME_LOWER" => {
                    let wanted = (size.div_ceil(stride[axis]) - 1) * stride[axis] + reach;
                    let total = wanted.saturating_sub(size);
                    let less = total / 2;
                    let [before, behind] =
                        if auto == "SAME_UPPER" { [less, total - less] } else { [total - less, less] };
                    padding[axis][0] += before;
                    padding[axis][1] += behind;
                }
                other => return Err(format!("an auto_pad of {other:?} is not known").into()),
            }
            let [before, behind] = padding[axis];
            let room = (input[axis] + before + behind).checked_sub(reach).ok_or_else(|| {
                format!("its window of {reach} is larger than the {} there are", input[axis] + before + behind)
            })?;
            output[axis] = room / stride[axis] + 1;
            // A last window that begins inside, or in the padding before, though it ends outside.
            if ceil && !room.is_multiple_of(stride[axis]) && output[axis] * stride[axis] < input[axis] + before {
                padding[axis][1] += stride[axis] - room % stride[axis];
                output[axis] += 1;
                grown = true;
            }
        }
        Ok(Self { kernel, stride, dilation, padding, output, grown })
    }

    fn window(&self) -> Outcome<Window> {
        let [[top, bottom], [left, right]] = self.padding;
        let reach = |axis: usize| self.dilation[axis] * (self.kernel[axis] - 1) + 1;
        if [top, bottom].iter().any(|p| *p >= reach(0)) || [left, right].iter().any(|p| *p >= reach(1)) {
            return Err(format!("its padding {:?} is not less than its window", self.padding).into());
        }
        let pair = |v: [usize; 2], what| Ok::<_, crate::file::Refusal>([small(v[0], what)?, small(v[1], what)?]);
        let side = |v| small::<u8>(v, "a padding");
        Ok(Window {
            kernel: pair(self.kernel, "a kernel")?,
            stride: pair(self.stride, "a stride")?,
            padding: [side(top)?, side(left)?, side(bottom)?, side(right)?],
            dilation: pair(self.dilation, "a dilation")?,
        })
    }
}

impl Importer<'_> {
    /// An image or sequence `[batch, channels, ...]` with our axes in that order, and how many axes a window has.
    fn image(&mut self, x: &Activation, site: &Site) -> Outcome<(Activation, usize)> {
        let axes = match x.rank() {
            3 | 4 => x.rank() - 2,
            other => return Err(format!("its input has {other} axes, but windows go over one or two of 3 or 4").into()),
        };
        if (1..x.rank()).any(|a| x.layout.has_batch(a)) {
            return Err("its first axis must be the batch".into());
        }
        let axis = |i: usize| x.layout.axes.get(i).cloned().unwrap_or_default();
        let wanted = [axis(1), axis(2), axis(3)];
        Ok((self.arrange(x, wanted, &site.name)?, axes))
    }

    /// The result of a window: new channels and positions.
    fn windowed(
        &mut self,
        x: &Activation,
        spec: LayerSpec,
        shape: [usize; 3],
        params: Vec<Param>,
        site: &Site,
    ) -> Outcome<Value> {
        let op = Op::Layer(spec);
        let feed = self.network.push(Node { op, inputs: vec![x.feed], shape, params, name: site.name.clone() })?;
        let mut layout = x.layout.clone();
        for (i, size) in shape.into_iter().enumerate() {
            let new = layout.new_factors(size);
            if let Some(axis) = layout.axes.get_mut(i + 1) {
                axis.clone_from(&new);
            }
            layout.home[i] = new;
        }
        Ok(Activation::new(Some(feed), layout).into())
    }

    pub(super) fn convolution(&mut self, site: &Site) -> Outcome<Value> {
        let (x, axes) = self.image(&*site.activation(0)?, site)?;
        let weight = site.constant(1, "weight")?;
        let [channels, height, width] = x.layout.shape();
        let groups = usize::try_from(site.call.int("group", 1)).unwrap_or(0);
        let (outputs, inputs, kernel) = match weight.dims[..] {
            [o, i, k] if axes == 1 => (o, i, [k, 1]),
            [o, i, h, w] if axes == 2 => (o, i, [h, w]),
            _ => return Err(format!("its weight of shape {:?} is not for {axes} axes", weight.dims).into()),
        };
        let fits =
            groups > 0 && Some(channels) == inputs.checked_mul(groups) && outputs.is_multiple_of(groups) && outputs > 0;
        if !fits || kernel.contains(&0) {
            let dims = &weight.dims;
            return Err(
                format!("its weight of shape {dims:?} does not fit {channels} channels in {groups} groups").into()
            );
        }
        // Zeros around belong to the window.
        let (feed, pad) = match self.network.node(x.feed) {
            Some(Node { op: Op::Pad(pad), inputs, .. }) => (inputs[0], *pad),
            _ => (x.feed, [0; 4]),
        };
        let input = [height - pad[0] - pad[2], width - pad[1] - pad[3]];
        let x = Activation { feed, ..x };
        let geometry = Geometry::of(&site.call, axes, input, Some(kernel), pad)?;
        let columns = inputs * kernel[0] * kernel[1];
        let mut params = vec![Param::new(Role::Weight, [outputs, columns], &weight)?];
        let bias = site.optional(2, "bias")?;
        if let Some(bias) = &bias {
            params.push(Param::new(Role::Bias, [1, outputs], bias)?);
        }
        let spec = LayerSpec::Conv2d {
            outputs: small(outputs, "a number of channels")?,
            groups: small(groups, "a number of groups")?,
            window: geometry.window()?,
            bias: bias.is_some(),
            weights: dense(outputs * columns)?,
        };
        let [height, width] = geometry.output;
        self.windowed(&x, spec, [outputs, height, width], params, site)
    }

    pub(super) fn max_pool(&mut self, site: &Site) -> Outcome<Value> {
        let (x, axes) = self.image(&*site.activation(0)?, site)?;
        let [channels, height, width] = x.layout.shape();
        let geometry = Geometry::of(&site.call, axes, [height, width], None, [0; 4])?;
        let [height, width] = geometry.output;
        self.windowed(&x, LayerSpec::MaxPool(geometry.window()?), [channels, height, width], vec![], site)
    }

    pub(super) fn average_pool(&mut self, site: &Site) -> Outcome<Value> {
        let (x, axes) = self.image(&*site.activation(0)?, site)?;
        let [channels, height, width] = x.layout.shape();
        let geometry = Geometry::of(&site.call, axes, [height, width], None, [0; 4])?;
        let count_padding = site.call.flag("count_include_pad", false);
        if count_padding && geometry.grown {
            return Err("windows that ceil_mode adds, with padding counted, are no layer".into());
        }
        let [height, width] = geometry.output;
        let spec = LayerSpec::AveragePool { window: geometry.window()?, count_padding };
        self.windowed(&x, spec, [channels, height, width], vec![], site)
    }

    pub(super) fn global_pool(&mut self, site: &Site) -> Outcome<Value> {
        let (x, _) = self.image(&*site.activation(0)?, site)?;
        let [channels, height, width] = x.layout.shape();
        let spec = if site.call.operator == "GlobalAveragePool" {
            LayerSpec::GlobalAveragePool
        } else {
            let kernel = [small(height, "a kernel")?, small(width, "a kernel")?];
            LayerSpec::MaxPool(Window { kernel, ..Window::POINT })
        };
        self.windowed(&x, spec, [channels, 1, 1], vec![], site)
    }

    /// The mean over all positions.
    pub(super) fn reduce_mean(&mut self, site: &Site) -> Outcome<Value> {
        let x = site.activation(0)?;
        let rank = x.rank();
        let input = site.optional(1, "list of axes")?;
        let list = shapes::list(&site.call, "axes", input.as_deref())?.ok_or("a mean over everything is no layer")?;
        let gone = list.iter().map(|a| shapes::axis(*a, rank)).collect::<Result<Vec<_>, _>>()?;
        if gone.iter().any(|a| x.layout.has_batch(*a)) {
            return Err("it would mix the examples of a batch".into());
        }
        let over: Vec<_> = (0..rank).filter(|a| gone.contains(a)).flat_map(|a| x.layout.axes[a].clone()).collect();
        let [_, height, width] = &x.layout.home;
        let positions = [&height[..], width].concat();
        let x = if crate::layout::same_factors(&over, &positions) {
            (*x).clone()
        } else {
            let rest = x.layout.in_onnx_order().into_iter().filter(|f| !over.contains(f)).collect();
            self.arrange(&x, [rest, over, vec![]], &site.name)?
        };
        let channels = x.layout.shape()[0];
        let op = Op::Layer(LayerSpec::GlobalAveragePool);
        let (inputs, params, name) = (vec![x.feed], vec![], site.name.clone());
        let feed = self.network.push(Node { op, inputs, shape: [channels, 1, 1], params, name })?;
        let mut layout = x.layout.clone();
        (layout.home[1], layout.home[2]) = (vec![], vec![]);
        let keep = site.call.flag("keepdims", true);
        layout.axes = (0..rank)
            .filter(|a| keep || !gone.contains(a))
            .map(|a| if gone.contains(&a) { vec![] } else { layout.axes[a].clone() })
            .collect();
        Ok(Activation::new(Some(feed), layout).into())
    }

    /// Zeros around an image, for the convolution that follows.
    pub(super) fn pad(&mut self, site: &Site) -> Outcome<Value> {
        let x = site.activation(0)?;
        let call = &site.call;
        let input = site.optional(1, "list of pads")?;
        let pads = shapes::list(call, "pads", input.as_deref())?.ok_or("a Pad without pads")?;
        if site.has(3) {
            return Err("pads of some axes only are not supported".into());
        }
        let value = match site.optional(2, "value")? {
            Some(c) => c.scalar().ok_or("its value must be one number")?,
            None => call.float("value", 0.0),
        };
        let pads: Vec<usize> = pads.iter().filter_map(|p| u16::try_from(*p).ok().map(usize::from)).collect();
        if pads.len() != 2 * x.rank() {
            return Err(format!("only pads from 0 to {} for each axis are supported", u16::MAX).into());
        }
        if pads.iter().all(|p| *p == 0) {
            return Ok(Value::Activation(x));
        }
        let (x, axes) = self.image(&x, site)?;
        let at = |end: usize, axis: usize| if axis < axes { pads[end * x.rank() + 2 + axis] } else { 0 };
        let around = [at(0, 0), at(0, 1), at(1, 0), at(1, 1)];
        let inner = pads[0] + pads[1] + pads[x.rank()] + pads[x.rank() + 1];
        if call.text("mode", "constant") != "constant" || value != 0.0 || inner != 0 {
            return Err("only zeros around height and width are supported".into());
        }
        if around.iter().any(|p| *p > usize::from(u8::MAX)) {
            return Err(format!("pads {around:?} are wider than a window").into());
        }
        let [channels, height, width] = x.layout.shape();
        let shape = [channels, height + around[0] + around[2], width + around[1] + around[3]];
        let op = Op::Pad(around);
        let (inputs, params, name) = (vec![x.feed], vec![], site.name.clone());
        let feed = self.network.push(Node { op, inputs, shape, params, name })?;
        let mut layout = x.layout.clone();
        for i in [1, 2] {
            let new = layout.new_factors(shape[i]);
            if let Some(axis) = layout.axes.get_mut(i + 1) {
                axis.clone_from(&new);
            }
            layout.home[i] = new;
        }
        Ok(Activation::new(Some(feed), layout).into())
    }
}
