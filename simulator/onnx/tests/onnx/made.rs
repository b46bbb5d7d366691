//! Files that a test makes up: nodes, random weights, and the bytes of it all.

use prost::Message;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension::Value as Dim};
use tract_onnx::pb::type_proto::{Tensor as TensorType, Value as Kind};
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TypeProto,
    ValueInfoProto,
};

/// An attribute's value.
#[derive(Clone)]
pub(crate) enum Attribute<'a> {
    Int(i64),
    Float(f32),
    Text(&'a str),
    Ints(&'a [i64]),
}
pub(crate) use Attribute::{Float, Int, Ints, Text};

const FLOAT: i32 = 1;
const INT64: i32 = 7;

/// A file in the making. Its input is `x`, its output `y`; the batch is open.
#[derive(Clone)]
pub(crate) struct Made {
    pub(crate) model: ModelProto,
    seed: u32,
}

impl Made {
    /// An input of these dimensions behind the batch.
    pub(crate) fn new(opset: i64, input: &[i64]) -> Self {
        Self::of_type(opset, FLOAT, input)
    }

    /// The same for tokens.
    pub(crate) fn of_tokens(opset: i64, input: &[i64]) -> Self {
        Self::of_type(opset, INT64, input)
    }

    fn of_type(opset: i64, kind: i32, input: &[i64]) -> Self {
        let graph = GraphProto {
            input: vec![value("x", kind, Some(input))],
            output: vec![value("y", FLOAT, None)],
            ..Default::default()
        };
        let opset_import = vec![OperatorSetIdProto { domain: String::new(), version: opset }];
        Self { model: ModelProto { ir_version: 8, opset_import, graph: Some(graph), ..Default::default() }, seed: 1 }
    }

    pub(crate) fn graph(&mut self) -> &mut GraphProto {
        self.model.graph.as_mut().unwrap()
    }

    /// Adds a node; its name is that of its operator and its first output, `Conv_y`.
    pub(crate) fn node(
        mut self,
        operator: &str,
        inputs: &[&str],
        outputs: &[&str],
        with: &[(&str, Attribute)],
    ) -> Self {
        let attribute = with.iter().map(|(name, value)| attribute(name, value)).collect();
        let text = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        self.graph().node.push(NodeProto {
            input: text(inputs),
            output: text(outputs),
            name: format!("{operator}_{}", outputs[0]),
            op_type: operator.into(),
            attribute,
            ..Default::default()
        });
        self
    }

    /// Adds random numbers around 0.
    pub(crate) fn weights(self, name: &str, dims: &[i64]) -> Self {
        self.numbers(name, dims, |v| v)
    }

    /// Adds random numbers from 0.5 to 1.5: scales, variances.
    pub(crate) fn positive(self, name: &str, dims: &[i64]) -> Self {
        self.numbers(name, dims, |v| 1.0 + v / 2.0)
    }

    fn numbers(mut self, name: &str, dims: &[i64], f: impl Fn(f32) -> f32) -> Self {
        self.seed += 1;
        let count = dims.iter().product::<i64>() as usize;
        let values = random(self.seed, count).into_iter().map(f).collect();
        self.floats(name, dims, values)
    }

    pub(crate) fn floats(mut self, name: &str, dims: &[i64], float_data: Vec<f32>) -> Self {
        let tensor =
            TensorProto { name: name.into(), dims: dims.to_vec(), data_type: FLOAT, float_data, ..Default::default() };
        self.graph().initializer.push(tensor);
        self
    }

    pub(crate) fn ints(mut self, name: &str, values: &[i64]) -> Self {
        self.graph().initializer.push(ints(name, &[values.len() as i64], values));
        self
    }

    /// An integer without axes.
    pub(crate) fn int(mut self, name: &str, value: i64) -> Self {
        self.graph().initializer.push(ints(name, &[], &[value]));
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.model.encode_to_vec()
    }
}

fn ints(name: &str, dims: &[i64], values: &[i64]) -> TensorProto {
    let (dims, int64_data) = (dims.to_vec(), values.to_vec());
    TensorProto { name: name.into(), dims, data_type: INT64, int64_data, ..Default::default() }
}

fn attribute(name: &str, value: &Attribute) -> AttributeProto {
    let (name, none) = (name.to_owned(), AttributeProto::default());
    match value {
        Float(f) => AttributeProto { name, r#type: 1, f: *f, ..none },
        Int(i) => AttributeProto { name, r#type: 2, i: *i, ..none },
        Text(s) => AttributeProto { name, r#type: 3, s: s.as_bytes().to_vec(), ..none },
        Ints(list) => AttributeProto { name, r#type: 7, ints: list.to_vec(), ..none },
    }
}

fn value(name: &str, elem_type: i32, dims: Option<&[i64]>) -> ValueInfoProto {
    let dimension = |value| Dimension { value: Some(value), ..Default::default() };
    let shape = dims.map(|dims| {
        let open = dimension(Dim::DimParam("batch".into()));
        let fixed = dims.iter().map(|d| dimension(Dim::DimValue(*d)));
        TensorShapeProto { dim: std::iter::once(open).chain(fixed).collect() }
    });
    let kind = Kind::TensorType(TensorType { elem_type, shape });
    ValueInfoProto {
        name: name.into(),
        r#type: Some(TypeProto { value: Some(kind), ..Default::default() }),
        ..Default::default()
    }
}

/// Numbers in `[-1, 1)`, the same for the same seed.
pub(crate) fn random(seed: u32, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
    (0..count)
        .map(|_| {
            // Marsaglia's xorshift of 32 bits.
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            (state >> 8) as f32 / 8_388_608.0 - 1.0
        })
        .collect()
}
