//! Operators that take some of the values, or put values side by side.

use crate::constant::entries;
use crate::file::Outcome;
use crate::import::{Activation, Importer, Site, Value};
use crate::network::{Node, Op, Param, dense, small};
use crate::shapes;
use siskin::checkin::LayerSpec;
use siskin::model::Role;

const NO_PART: &str =
    "only the last position of a sequence, or some outputs of a dense or convolution layer, can be taken out";

impl Importer<'_> {
    /// Rows of a table chosen by tokens, or one entry of an axis.
    pub(super) fn gather(&mut self, site: &Site) -> Outcome<Value> {
        if let Ok(tokens) = site.activation_or_token(1) {
            return self.embedding(&tokens, site);
        }
        let x = site.activation(0)?;
        let axis = shapes::axis(site.call.int("axis", 0), x.rank())?;
        let index = site.constant(1, "index")?;
        if index.dims.len() > 1 {
            return Err(NO_PART.into());
        }
        let size = x.layout.dims()[axis];
        let taken = entries(index.as_ints()?, size)?;
        let part = self.part(&x, axis, &taken, site)?;
        if index.dims.is_empty() {
            let mut dims = part.layout.dims();
            dims.remove(axis);
            return Ok(self.reshaped(&part, &dims)?.into());
        }
        Ok(part.into())
    }

    fn embedding(&mut self, tokens: &Activation, site: &Site) -> Outcome<Value> {
        let table = site.constant(0, "table")?;
        if !tokens.token || tokens.feed.is_some() {
            return Err("its indices must be the input, as integers".into());
        }
        let [rows, dims] = table.dims[..] else {
            return Err(format!("a table of shape {:?} is no matrix", table.dims).into());
        };
        if site.call.int("axis", 0) != 0 || rows == 0 || dims == 0 {
            return Err(format!("a table of shape {:?} is not indexed by rows", table.dims).into());
        }
        let positions = tokens.layout.in_our_order();
        let tokens = self.arrange(tokens, [vec![], positions, vec![]], &site.name)?;
        if tokens.feed.is_some() {
            return Err("its indices must be one sequence of tokens".into());
        }
        let spec = LayerSpec::Embedding {
            rows: small(rows, "a number of rows")?,
            dims: small(dims, "a row")?,
            weights: dense(rows * dims)?,
        };
        let params = vec![Param::new(Role::Weight, [rows, dims], &table)?];
        let [_, steps, _] = tokens.layout.shape();
        let op = Op::Layer(spec);
        let node = Node { op, inputs: vec![None], shape: [dims, steps, 1], params, name: site.name.clone() };
        let feed = self.network.push(node)?;
        let mut layout = tokens.layout.clone();
        let new = layout.new_factors(dims);
        layout.home[0].clone_from(&new);
        layout.axes.push(new);
        Ok(Activation::new(Some(feed), layout).into())
    }

    pub(super) fn slice(&mut self, site: &Site) -> Outcome<Value> {
        let mut x = (*site.activation(0)?).clone();
        let inputs = (1..5).map(|i| site.optional(i, "bounds")).collect::<Outcome<Vec<_>>>()?;
        let inputs: Vec<_> = inputs.iter().map(Option::as_deref).collect();
        for r in shapes::slice(&site.call, &inputs, &x.layout.dims())? {
            let taken: Vec<usize> = (0..r.count).map(|i| (r.start as isize + i as isize * r.step) as usize).collect();
            x = self.part(&x, r.axis, &taken, site)?;
        }
        Ok(x.into())
    }

    pub(super) fn split(&mut self, site: &Site) -> Outcome<Vec<Value>> {
        let x = site.activation(0)?;
        let axis = shapes::axis(site.call.int("axis", 0), x.rank())?;
        let input = site.optional(1, "sizes")?;
        let sizes = shapes::split(&site.call, input.as_deref(), x.layout.dims()[axis], site.call.outputs)?;
        let mut start = 0;
        let mut out = Vec::new();
        for size in sizes {
            let taken: Vec<usize> = (start..start + size).collect();
            start += size;
            out.push(self.part(&x, axis, &taken, site)?.into());
        }
        Ok(out)
    }

    /// The entries `taken` of an ONNX axis.
    fn part(&mut self, x: &Activation, axis: usize, taken: &[usize], site: &Site) -> Outcome<Activation> {
        let dims = x.layout.dims();
        let size = dims[axis];
        if taken.iter().copied().eq(0..size) {
            return Ok(x.clone());
        }
        if taken.is_empty() {
            return Err("it takes nothing".into());
        }
        let factors = x.layout.axes[axis].clone();
        let [_, height, width] = &x.layout.home;
        let last_only = taken == [size - 1];
        if last_only && factors == [&height[..], width].concat() {
            let mut part = self.last_position(x, &site.name)?;
            part.layout.axes[axis] = vec![];
            return Ok(part);
        }
        // Channels: those whose coordinates on the axis are taken, in our order.
        let channels = &x.layout.home[0];
        let at = factors.first().and_then(|f| channels.iter().position(|c| c == f));
        let run = at.and_then(|at| channels.get(at..at + factors.len()));
        let in_order = taken.windows(2).all(|w| w[0] < w[1]);
        let (Some(at), true, true) = (at, run == Some(&factors[..]), in_order) else { return Err(NO_PART.into()) };
        let entry = x.layout.walk(channels, &x.layout.steps_within(axis));
        let rows: Vec<usize> = (0..entry.len()).filter(|c| taken.contains(&(entry[*c] as usize))).collect();
        let feed = self.network.channels_of(x.feed, &rows)?.ok_or(NO_PART)?;
        let mut layout = x.layout.clone();
        let new = layout.new_factors(taken.len());
        layout.home[0].splice(at..at + factors.len(), new.iter().copied());
        layout.axes[axis] = new;
        Ok(Activation::new(feed, layout))
    }

    /// Channels side by side.
    pub(super) fn concat(&mut self, site: &Site) -> Outcome<Value> {
        let all = (0..site.inputs.len()).map(|i| site.activation(i)).collect::<Outcome<Vec<_>>>()?;
        let first = all.first().ok_or("it has no inputs")?;
        let rank = first.rank();
        let axis = shapes::axis(site.call.int("axis", 1), rank)?;
        let dims = first.layout.dims();
        let fits = |x: &Activation| {
            let own = x.layout.dims();
            own.len() == rank && (0..rank).all(|a| a == axis || own[a] == dims[a])
        };
        if let Some(x) = all.iter().find(|x| !fits(x)) {
            return Err(format!("shapes {dims:?} and {:?} do not fit each other", x.layout.dims()).into());
        }
        // Positions in ONNX's order, split alike into height and width: then channels can simply be put side by side.
        let positions = |x: &Activation| {
            let order = x.layout.in_onnx_order();
            order.into_iter().filter(|f| !x.layout.axes[axis].contains(f)).collect::<Vec<_>>()
        };
        let in_place = |x: &Activation| {
            x.layout.home[0] == x.layout.axes[axis]
                && x.layout.home[1..].concat() == positions(x)
                && x.layout.shape()[1..] == first.layout.shape()[1..]
        };
        let keep = all.iter().all(|x| in_place(x));
        let mut arranged = Vec::new();
        for x in &all {
            if x.layout.has_batch(axis) {
                return Err("it would mix the examples of a batch".into());
            }
            let wanted = [x.layout.axes[axis].clone(), positions(x), vec![]];
            arranged.push(if keep { (**x).clone() } else { self.arrange(x, wanted, &site.name)? });
        }
        let mut arranged = arranged.into_iter();
        let mut joined = arranged.next().ok_or("it has no inputs")?;
        for x in arranged {
            let [a, height, width] = joined.layout.shape();
            let channels = a + x.layout.shape()[0];
            let shape = [channels, height, width];
            joined.feed = self.network.pair(LayerSpec::Concat, joined.feed, x.feed, shape, &site.name)?;
            let new = joined.layout.new_factors(channels);
            joined.layout.home[0].clone_from(&new);
            joined.layout.axes[axis] = new;
        }
        Ok(joined.into())
    }
}
