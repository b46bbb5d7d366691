//! A model run by tract as the file says: what the network's own forward pass is held against, and inference where nothing is
//! to be trained.

use crate::error::ReferenceError;
use crate::file::File;
use crate::import::{Imported, Input};
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
    /// # Errors
    /// [`ReferenceError::Refused`] with what tract says.
    pub fn new(bytes: &[u8], folder: Option<&Path>, imported: &Imported, batch: usize) -> Result<Self, ReferenceError> {
        let refused = |why: String| ReferenceError::Refused { why };
        let file = File::parse(bytes).map_err(|e| refused(e.to_string()))?;
        let input = imported.input.clone();
        let (model, narrow) = part_of(file, &input.name, &imported.output.name);
        let plan = Self::plan(&model, folder, &input, narrow, batch).map_err(|e| refused(format!("{e:#}")))?;
        Ok(Self { plan, input, narrow, batch })
    }

    fn plan(
        model: &ModelProto,
        folder: Option<&Path>,
        input: &Input,
        narrow: bool,
        batch: usize,
    ) -> TractResult<Arc<TypedRunnableModel>> {
        let kind = match (input.tokens, narrow) {
            (false, _) => f32::datum_type(),
            (true, true) => i32::datum_type(),
            (true, false) => i64::datum_type(),
        };
        let dims: Vec<usize> = [&[batch], &input.dims[..]].concat();
        let parsed = tract_onnx::onnx().parse(model, folder.and_then(Path::to_str))?;
        parsed.model.with_input_fact(0, InferenceFact::dt_shape(kind, dims))?.into_optimized()?.into_runnable()
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
        self.outputs(examples).map_err(|e| ReferenceError::Refused { why: format!("{e:#}") })
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

/// The model with what its output needs and nothing else, and whether its tokens are of 32 bits.
fn part_of(file: File, input: &str, output: &str) -> (ModelProto, bool) {
    let nodes = file.needed(output);
    let opset = OperatorSetIdProto { domain: String::new(), version: file.opset };
    let mut graph = file.graph;
    let mut index = 0..;
    graph.node.retain(|_| index.next().is_some_and(|i| nodes.contains(&i)));
    graph.input.retain(|v| v.name == input);
    graph.output.retain(|v| v.name == output);
    // Shapes in between are for other batches, perhaps.
    graph.value_info.clear();
    let kind = graph.input.first().and_then(|v| v.r#type.as_ref()).and_then(|t| t.value.as_ref());
    let narrow = matches!(kind, Some(Kind::TensorType(t)) if t.elem_type == INT32);
    (ModelProto { graph: Some(graph), opset_import: vec![opset], ..Default::default() }, narrow)
}
