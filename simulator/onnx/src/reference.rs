//! A model run by tract as the file says: what the network's own forward pass is held against, and inference where nothing is
//! to be trained.

use crate::constant::TensorFiles;
use crate::error::ReferenceError;
use crate::file::{File, name_of};
use crate::import::{Imported, Input};
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use tract_onnx::pb::type_proto::Value as Kind;
use tract_onnx::pb::{ModelProto, OperatorSetIdProto};
use tract_onnx::prelude::{
    Datum, InferenceFact, InferenceModelExt, IntoRunnable, Tensor, TractResult, TypedRunnableModel, tvec,
};

/// A model that tract runs, for one size of batch.
#[derive(Debug, Clone)]
pub struct Reference {
    plan: Arc<TypedRunnableModel>,
    input: Input,
    /// Tokens are integers of 32 bits, not of 64.
    narrow: bool,
    batch: usize,
}

/// `TensorProto.DataType.INT32`.
const INT32: i32 = 6;

impl Reference {
    /// The part of a file that `imported` was made from. `folder` is where tensors are that the file keeps beside it.
    ///
    /// tract gets what the output needs and nothing else, each tensor checked as by an import, and opens no file.
    ///
    /// # Errors
    /// [`ReferenceError::Refused`] with what is wrong, or with what tract says.
    pub fn new(bytes: &[u8], folder: Option<&Path>, imported: &Imported, batch: usize) -> Result<Self, ReferenceError> {
        let refused = |why: String| ReferenceError::Refused { why };
        let file = File::parse(bytes).map_err(|e| refused(e.to_string()))?;
        let input = imported.input.clone();
        let (mut model, narrow) = part_of(file, &input.name, &imported.output.name);
        check(&mut model, TensorFiles { folder }).map_err(refused)?;
        let plan = caught(|| Self::plan(&model, &input, narrow, batch))?;
        Ok(Self { plan, input, narrow, batch })
    }

    fn plan(model: &ModelProto, input: &Input, narrow: bool, batch: usize) -> TractResult<Arc<TypedRunnableModel>> {
        let kind = match (input.tokens, narrow) {
            (false, _) => f32::datum_type(),
            (true, true) => i32::datum_type(),
            (true, false) => i64::datum_type(),
        };
        let dims: Vec<usize> = [&[batch], &input.dims[..]].concat();
        let parsed = tract_onnx::onnx().parse(model, None)?;
        // Not optimised: tract 0.23 rewrites `c - conv(x)` with a constant `c` and a kernel wider than 1 into something else.
        parsed.model.with_input_fact(0, InferenceFact::dt_shape(kind, dims))?.into_typed()?.into_runnable()
    }

    /// Outputs of a batch, example after example, each in the file's order; `examples` are in the order of the input, tokens as
    /// whole numbers.
    ///
    /// # Errors
    /// [`ReferenceError`].
    pub fn run(&self, examples: &[f32]) -> Result<Vec<f32>, ReferenceError> {
        let example: usize = self.input.dims.iter().product();
        if examples.len() != self.batch * example {
            return Err(ReferenceError::Input { got: examples.len(), batch: self.batch, example });
        }
        caught(|| self.outputs(examples))
    }

    fn outputs(&self, examples: &[f32]) -> TractResult<Vec<f32>> {
        let dims: Vec<usize> = [&[self.batch], &self.input.dims[..]].concat();
        let tensor = match (self.input.tokens, self.narrow) {
            (false, _) => Tensor::from_shape(&dims, examples)?,
            (true, true) => Tensor::from_shape(&dims, &examples.iter().map(|v| *v as i32).collect::<Vec<_>>())?,
            (true, false) => Tensor::from_shape(&dims, &examples.iter().map(|v| *v as i64).collect::<Vec<_>>())?,
        };
        let outputs = self.plan.run(tvec!(tensor.into()))?;
        let view = outputs[0].to_plain_array_view::<f32>()?;
        Ok(view.iter().copied().collect())
    }
}

/// What tract says, in an error or in a panic: a file must not be able to end the program.
fn caught<T>(f: impl FnOnce() -> TractResult<T>) -> Result<T, ReferenceError> {
    let refused = |why: String| ReferenceError::Refused { why: format!("tract: {why}") };
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(result) => result.map_err(|e| refused(format!("{e:#}"))),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason");
            Err(refused(format!("it panicked: {text}")))
        }
    }
}

/// Checks all tensors, and takes those into the model that lie outside.
fn check(model: &mut ModelProto, files: TensorFiles) -> Result<(), String> {
    let Some(graph) = &mut model.graph else { return Ok(()) };
    for node in &mut graph.node {
        let name = name_of(node);
        for a in &mut node.attribute {
            if a.g.is_some() || a.sparse_tensor.is_some() || !(a.graphs.is_empty() && a.sparse_tensors.is_empty()) {
                return Err(format!("{name}: graphs and sparse tensors within a node are not supported"));
            }
            for tensor in a.t.iter_mut().chain(&mut a.tensors) {
                files.inline(tensor).map_err(|why| format!("{name}: {why}"))?;
            }
        }
    }
    for tensor in &mut graph.initializer {
        files.inline(tensor).map_err(|why| format!("initialiser `{}`: {why}", tensor.name.escape_debug()))?;
    }
    Ok(())
}

/// The model with what its output needs and nothing else, and whether its tokens are of 32 bits.
fn part_of(file: File, input: &str, output: &str) -> (ModelProto, bool) {
    let nodes = file.needed(output);
    let opset = OperatorSetIdProto { domain: String::new(), version: file.opset };
    let mut graph = file.graph;
    let mut index = 0..;
    graph.node.retain(|_| index.next().is_some_and(|i| nodes.contains(&i)));
    let read: HashSet<&str> = graph.node.iter().flat_map(|n| &n.input).map(String::as_str).collect();
    graph.initializer.retain(|t| read.contains(t.name.as_str()));
    graph.sparse_initializer.clear();
    graph.input.retain(|v| v.name == input);
    graph.output.retain(|v| v.name == output);
    // Shapes in between are for other batches, perhaps.
    graph.value_info.clear();
    let kind = graph.input.first().and_then(|v| v.r#type.as_ref()).and_then(|t| t.value.as_ref());
    let narrow = matches!(kind, Some(Kind::TensorType(t)) if t.elem_type == INT32);
    (ModelProto { graph: Some(graph), opset_import: vec![opset], ..Default::default() }, narrow)
}
