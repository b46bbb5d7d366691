//! ONNX -> network: the nodes that an output needs, each turned into layers, constants folded on the way.

mod input;
mod output;
mod value;

pub use input::Input;
pub use output::{Output, OutputActivation};
pub(crate) use value::{Activation, Site, Value};

use crate::constant::{Constant, MAX_COMPUTED, Origin, TensorFiles, constant_of, fold};
use crate::error::{ImportError, NodeName};
use crate::file::{Call, File, Outcome, Refusal, name_of};
use crate::layout::{Factor, Step};
use crate::network::{Finished, Network, finish};
use crate::source::{Kept, StoredTensor, TensorSource};
use siskin::checkin::{Loss, ModelSpec};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// What the caller knows and the file does not say.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ImportOptions {
    /// The loss to train with; without one, a softmax or sigmoid at the end tells.
    pub loss: Option<Loss>,
    /// The output to train, where there are several; what it does not need is left out.
    pub output: Option<String>,
    /// Sizes of named axes of the input that the file leaves open (`sequence` -> 64). The batch stays open.
    pub dims: BTreeMap<String, usize>,
}

/// An imported model.
#[derive(Debug, Clone, PartialEq)]
pub struct Imported {
    /// The network, nothing pruned.
    pub model: ModelSpec,
    /// Its parameters: a tensor each, layer by layer, each layer's in a plan's order.
    pub params: Vec<Vec<f32>>,
    /// Where each of them stands in the file.
    pub sources: Vec<TensorSource>,
    /// The file's tensors of real numbers that `sources` point to.
    pub stored: Vec<StoredTensor>,
    /// The ONNX node that each layer comes from.
    pub layer_names: Vec<String>,
    /// What the model is fed with.
    pub input: Input,
    /// What it answers.
    pub output: Output,
    /// What someone should know: layers that cannot train, tensors that the export will store apart.
    pub notes: Vec<String>,
}

/// Most values of all tensors that an output may need: a network of the sdk, twice. Several may share a data file.
const MAX_STORED: usize = 1 << 27;

/// Batch sizes with which a model of an open batch is tried: all must give the same network.
const PROBES: [usize; 2] = [3, 5];

/// Reads a model. `folder` is where tensors are that the file keeps beside it; they must be inside.
///
/// Memory stays within a small multiple of the bytes given and read, and some 200 MB of computed constants and positions.
///
/// # Errors
/// [`ImportError`], with the node or tensor that is at fault.
pub fn import(bytes: &[u8], folder: Option<&Path>, options: &ImportOptions) -> Result<Imported, ImportError> {
    let file = File::parse(bytes)?;
    let output = file.output(options.output.as_deref())?;
    let run = |probe| Importer::new(&file, TensorFiles { folder }, options, probe, bytes.len()).run(output);
    let first = run(PROBES[0])?;
    if first.input.batch.is_some() {
        return Ok(first);
    }
    let second = run(PROBES[1])?;
    // NaN cannot be among the parameters; everything else compares.
    let why = if first.model != second.model {
        "its layers differ"
    } else if first.params != second.params || first.sources != second.sources {
        "its parameters differ"
    } else if first.output != second.output {
        "its output's shape differs"
    } else {
        return Ok(first);
    };
    Err(ImportError::Batch { why: why.into() })
}

const TOO_MANY_CONSTANTS: &str = "the file computes more constants than could be of use";

/// One pass over the graph, for one batch size.
pub(crate) struct Importer<'f> {
    pub(crate) file: &'f File,
    pub(crate) files: TensorFiles<'f>,
    options: &'f ImportOptions,
    pub(crate) network: Network,
    stored: Vec<StoredTensor>,
    values: HashMap<String, Value>,
    /// Batch size where the file leaves it open.
    probe: usize,
    input: Option<Input>,
    notes: Vec<String>,
    /// Values of constants that may still be computed.
    budget: usize,
    /// Values of initialisers that were read.
    loaded: usize,
}

impl<'f> Importer<'f> {
    fn new(file: &'f File, files: TensorFiles<'f>, options: &'f ImportOptions, probe: usize, bytes: usize) -> Self {
        let (stored, values, notes) = Default::default();
        let budget = 2 * MAX_COMPUTED + 2 * bytes;
        Self {
            file,
            files,
            options,
            network: Network::new(),
            stored,
            values,
            probe,
            input: None,
            notes,
            budget,
            loaded: 0,
        }
    }

    fn run(mut self, output: &str) -> Result<Imported, ImportError> {
        self.evaluate(output)?;
        let Some(Value::Activation(result)) = self.values.get(output).cloned() else {
            let why = format!("output `{}` does not depend on the input", output.escape_debug());
            return Err(ImportError::Loss { why });
        };
        let (feed, loss, described) = self.conclude(output, &result, self.options.loss)?;
        let names: Vec<String> = self.stored.iter().map(|s| s.name.clone()).collect();
        let Finished { model, params, sources, layer_names, notes } = finish(&self.network, feed, loss, &names)?;
        let Some(input) = self.input else {
            return Err(ImportError::Loss {
                why: format!("output `{}` does not depend on the input", output.escape_debug()),
            });
        };
        let notes = self.notes.into_iter().chain(notes).collect();
        let stored = self.stored;
        Ok(Imported { model, params, sources, stored, layer_names, input, output: described, notes })
    }

    /// Makes a value and what it needs, deepest first. A stack of its own: a file chooses the depth.
    fn evaluate(&mut self, value: &str) -> Result<(), ImportError> {
        /// A node whose inputs are being made.
        const BEGUN: bool = true;
        let mut begun = HashMap::new();
        let mut stack = vec![(value.to_owned(), None::<usize>)];
        while let Some((name, reader)) = stack.last().cloned() {
            if self.values.contains_key(&name) {
                stack.pop();
                continue;
            }
            let Some((index, _)) = self.file.maker(&name) else {
                self.leaf(&name, reader)?;
                stack.pop();
                continue;
            };
            let node = &self.file.graph.node[index];
            let missing = node.input.iter().filter(|i| !i.is_empty() && !self.values.contains_key(*i));
            if begun.insert(index, BEGUN) == Some(BEGUN) {
                if let Some(open) = missing.clone().next() {
                    // Its inputs were asked for, and one of them asked for it.
                    debug_assert!(self.file.maker(open).is_some());
                    return Err(ImportError::Cycle { node: name_of(node) });
                }
                self.visit(index)?;
                if !self.values.contains_key(&name) {
                    let why = format!("its output `{}` is not supported", name.escape_debug());
                    return Err(ImportError::Node { node: name_of(node), why });
                }
                stack.pop();
                continue;
            }
            // The first input first, so that layers come in the order of the file's data flow.
            let ahead: Vec<_> = missing.map(|i| (i.clone(), Some(index))).rev().collect();
            stack.extend(ahead);
        }
        Ok(())
    }

    /// An initialiser or the input.
    fn leaf(&mut self, name: &str, reader: Option<usize>) -> Result<(), ImportError> {
        let reader = || {
            reader.map_or_else(
                || NodeName { operator: "output".into(), name: name.into() },
                |r| name_of(&self.file.graph.node[r]),
            )
        };
        if let Some(i) = self.file.initializer(name) {
            let tensor = &self.file.graph.initializer[i];
            let source = self.stored.len() as u32;
            let constant = constant_of(tensor, self.files, Some(source)).map_err(|why| ImportError::Initializer {
                name: name.into(),
                why: format!("{why}; {} reads it", reader()),
            })?;
            self.loaded += constant.len();
            if self.loaded > MAX_STORED {
                let why = format!("with it, the output needs more than {MAX_STORED} stored numbers");
                return Err(ImportError::Initializer { name: name.into(), why });
            }
            self.store(name, &constant, Kept::Initializer);
            self.budget = self.budget.saturating_add(8 * constant.len());
            self.values.insert(name.into(), constant.into());
            return Ok(());
        }
        if self.file.is_input(name) {
            return self.feed(name);
        }
        Err(ImportError::Missing { node: reader(), value: name.into() })
    }

    fn feed(&mut self, name: &str) -> Result<(), ImportError> {
        if let Some(first) = &self.input {
            let why =
                format!("the output needs it and input `{}`, but a network has one input", first.name.escape_debug());
            return Err(ImportError::Input { name: name.into(), why });
        }
        let (input, layout) = Input::of(self.file, name, &self.options.dims, self.probe)?;
        self.network.input = layout.shape();
        let token = input.tokens;
        self.input = Some(input);
        self.values.insert(name.into(), Activation { feed: None, layout, token }.into());
        Ok(())
    }

    /// Remembers where a tensor is stored, under the number that its constant carries.
    fn store(&mut self, name: &str, constant: &Constant, kept: Kept) {
        self.network.make_room(constant.len());
        if constant.origin == Origin::Whole(self.stored.len() as u32) {
            self.stored.push(StoredTensor { name: name.into(), dims: constant.dims.clone(), kept });
        }
    }

    /// Runs a node whose inputs are made.
    fn visit(&mut self, index: usize) -> Result<(), ImportError> {
        let node = &self.file.graph.node[index];
        let inputs = node.input.iter().map(|i| self.values.get(i).cloned()).collect();
        let site = Site { call: Call::new(node, self.file.opset), name: name_of(node), inputs };
        let refused = |refusal| match refusal {
            Refusal::Operator => ImportError::Operator { node: name_of(node) },
            Refusal::Why(why) => ImportError::Node { node: name_of(node), why },
            Refusal::Error(error) => error,
        };
        let first = node.output.first().map_or("", String::as_str);
        let outputs = self.outputs(&site, first);
        if let Some(name) = site.call.misread() {
            return Err(refused(
                format!("its attribute `{}` is not of the kind that the operator wants", name.escape_debug()).into(),
            ));
        }
        let outputs = outputs.map_err(refused)?;
        for (name, value) in node.output.iter().zip(outputs).filter(|(name, _)| !name.is_empty()) {
            self.values.insert(name.clone(), value);
        }
        Ok(())
    }

    fn outputs(&mut self, site: &Site, first: &str) -> Outcome<Vec<Value>> {
        let known: Option<Vec<Option<&Constant>>> = site
            .inputs
            .iter()
            .map(|i| match i {
                None => Some(None),
                Some(Value::Constant(c)) => Some(Some(&**c)),
                Some(Value::Activation(_)) => None,
            })
            .collect();
        let Some(known) = known else { return self.operator(site) };
        // No result has more values than this or than `MAX_COMPUTED`.
        if known.iter().flatten().map(|c| c.len()).sum::<usize>() > self.budget {
            return Err(TOO_MANY_CONSTANTS.into());
        }
        let source = self.stored.len() as u32;
        let mut folded = fold(&site.call, &known, self.files, source)?;
        let size = folded.iter().try_fold(0usize, |s, c| s.checked_add(c.len()));
        self.budget = size.and_then(|s| self.budget.checked_sub(s)).ok_or(TOO_MANY_CONSTANTS)?;
        match (site.call.operator, folded.first_mut()) {
            ("Constant", Some(constant)) => self.store(first, constant, Kept::ConstantNode),
            ("Identity", Some(constant))
                if matches!(constant.origin, Origin::Whole(_)) && self.file.initializers_alone =>
            {
                constant.origin = Origin::Whole(source);
                self.store(first, constant, Kept::Identity);
            }
            _ => {}
        }
        Ok(folded.into_iter().map(Value::from).collect())
    }

    /// The same values with our axes as `wanted`, by layers that move them where that is needed.
    pub(crate) fn arrange(&mut self, x: &Activation, wanted: [Vec<Factor>; 3], name: &NodeName) -> Outcome<Activation> {
        let steps = x
            .layout
            .steps_to(&wanted)
            .ok_or("it needs its input's values in an order that no transposition of three axes brings about")?;
        let mut feed = x.feed;
        for step in steps {
            let before = self.network.shape(feed);
            let (spec, shape) = match step {
                Step::Reshape([c, 1, 1]) => (siskin::checkin::LayerSpec::Flatten, [c, 1, 1]),
                Step::Reshape(shape) => {
                    let mut small = [0; 3];
                    for (to, d) in small.iter_mut().zip(shape) {
                        *to = crate::network::small(d, "an axis")?;
                    }
                    (siskin::checkin::LayerSpec::Reshape { shape: small }, shape)
                }
                Step::Transpose(axes) => {
                    (siskin::checkin::LayerSpec::Transpose { axes }, axes.map(|a| before[usize::from(a)]))
                }
            };
            feed = Some(self.network.moved(spec, feed, shape, name)?);
        }
        let mut layout = x.layout.clone();
        layout.home = wanted;
        Ok(Activation { feed, layout, token: x.token })
    }

    /// The same values with the channels on this ONNX axis and all others behind, in their order.
    pub(crate) fn channels_on(&mut self, x: &Activation, axis: usize, name: &NodeName) -> Outcome<Activation> {
        if x.layout.has_batch(axis) {
            return Err("it would mix the examples of a batch".into());
        }
        let channels = x.layout.axes[axis].clone();
        if x.layout.home[0] == channels {
            return Ok(x.clone());
        }
        let rest = x.layout.in_onnx_order().into_iter().filter(|f| !channels.contains(f)).collect();
        self.arrange(x, [channels, rest, vec![]], name)
    }
}
