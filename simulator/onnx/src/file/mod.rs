//! The file as a checked graph: which node makes which value.

mod call;
pub(crate) mod wire;

pub(crate) use call::{Call, Outcome, Refusal};

use crate::error::{ImportError, NodeName};
use std::collections::{HashMap, HashSet};
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto};
use tract_onnx::prelude::Framework;
use wire::Message;

/// Versions of ONNX's operators that are understood. Before 7, broadcasting was another; after 24, nothing is known yet.
pub(crate) const OPSETS: std::ops::RangeInclusive<i64> = 7..=24;

/// Bytes that a file's messages may take when decoded, besides the numbers in its tensors: those of some 10,000 nodes.
const MAX_DECODED: usize = 64 << 20;

/// A model whose names were checked.
pub(crate) struct File {
    /// Decoded.
    pub(crate) graph: GraphProto,
    /// Version of the operators.
    pub(crate) opset: i64,
    /// An initialiser need not be an input as well, as it must before version 4 of the format.
    pub(crate) initializers_alone: bool,
    /// The node and the output that make a value.
    makers: HashMap<String, (usize, usize)>,
    /// Index of an initialiser.
    initializers: HashMap<String, usize>,
}

impl File {
    /// Decodes and checks.
    ///
    /// # Errors
    /// [`ImportError`]: `Malformed`, `TooManyParts`, `NoOpset`, `Opset`, `Twice`.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, ImportError> {
        let model = decode(bytes)?;
        let own = |d: &str| d.is_empty() || d == "ai.onnx";
        let opset =
            model.opset_import.iter().find(|o| own(&o.domain)).map(|o| o.version).ok_or(ImportError::NoOpset)?;
        if !OPSETS.contains(&opset) {
            return Err(ImportError::Opset { got: opset, least: *OPSETS.start(), most: *OPSETS.end() });
        }
        let graph = model.graph.ok_or_else(|| ImportError::Malformed { why: "it has no graph".into() })?;
        let inputs: HashSet<&str> = graph.input.iter().map(|v| v.name.as_str()).collect();
        let mut makers = HashMap::new();
        let mut initializers = HashMap::new();
        for (i, tensor) in graph.initializer.iter().enumerate() {
            if initializers.insert(tensor.name.clone(), i).is_some() {
                return Err(ImportError::Twice { name: tensor.name.clone(), second: "an initialiser".into() });
            }
        }
        for (i, node) in graph.node.iter().enumerate() {
            for (o, output) in node.output.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
                let twice = makers.insert(output.clone(), (i, o)).is_some();
                if twice || initializers.contains_key(output) || inputs.contains(output.as_str()) {
                    return Err(ImportError::Twice { name: output.clone(), second: name_of(node).to_string() });
                }
            }
        }
        Ok(Self { graph, opset, initializers_alone: model.ir_version >= 4, makers, initializers })
    }

    /// The node that makes a value, and which of its outputs that is.
    pub(crate) fn maker(&self, value: &str) -> Option<(usize, usize)> {
        self.makers.get(value).copied()
    }

    /// Index of the initialiser of this name.
    pub(crate) fn initializer(&self, name: &str) -> Option<usize> {
        self.initializers.get(name).copied()
    }

    /// The nodes that a value needs.
    pub(crate) fn needed(&self, value: &str) -> HashSet<usize> {
        let mut nodes = HashSet::new();
        let mut open = vec![value];
        while let Some(name) = open.pop() {
            if let Some((node, _)) = self.maker(name)
                && nodes.insert(node)
            {
                open.extend(self.graph.node[node].input.iter().map(String::as_str));
            }
        }
        nodes
    }

    /// What the model is fed with: old files list the initialisers among their inputs.
    pub(crate) fn is_input(&self, name: &str) -> bool {
        self.initializer(name).is_none() && self.graph.input.iter().any(|v| v.name == name)
    }

    /// The output to train.
    ///
    /// # Errors
    /// [`ImportError`]: `ChooseOutput`, `NoSuchOutput`.
    pub(crate) fn output(&self, wanted: Option<&str>) -> Result<&str, ImportError> {
        let outputs = &self.graph.output;
        let names = || outputs.iter().map(|o| o.name.clone()).collect();
        match wanted {
            Some(name) => {
                let found = outputs.iter().find(|o| o.name == name);
                found
                    .map(|o| o.name.as_str())
                    .ok_or_else(|| ImportError::NoSuchOutput { name: name.into(), names: names() })
            }
            None if outputs.len() == 1 => Ok(&outputs[0].name),
            None => Err(ImportError::ChooseOutput { names: names() }),
        }
    }
}

/// The decoded model, if its decoded form is not out of all proportion.
///
/// # Errors
/// [`ImportError`]: `Malformed`, `TooManyParts`.
pub(crate) fn decode(bytes: &[u8]) -> Result<ModelProto, ImportError> {
    if Message::Model.decoded(bytes, MAX_DECODED) > MAX_DECODED {
        return Err(ImportError::TooManyParts { limit: MAX_DECODED });
    }
    let mut reader = bytes;
    tract_onnx::onnx()
        .proto_model_for_read(&mut reader)
        .map_err(|e| ImportError::Malformed { why: e.root_cause().to_string() })
}

/// How messages name a node.
pub(crate) fn name_of(node: &NodeProto) -> NodeName {
    let operator = if node.domain.is_empty() || node.domain == "ai.onnx" {
        node.op_type.clone()
    } else {
        format!("{}.{}", node.domain, node.op_type)
    };
    let first = node.output.first().map_or("", String::as_str);
    NodeName { operator, name: if node.name.is_empty() { first.into() } else { node.name.clone() } }
}
