//! Protobuf's wire format, as far as one must know it to count a file's parts and to change some of them while every other
//! byte stays (<https://protobuf.dev/programming-guides/encoding>): a record is a key, `field << 3 | type`, and a value.

use tract_onnx::pb;

/// Field numbers of `onnx.proto`.
pub(crate) mod field {
    /// `ModelProto.graph`.
    pub(crate) const MODEL_GRAPH: u32 = 7;
    /// `GraphProto.node`.
    pub(crate) const GRAPH_NODE: u32 = 1;
    /// `GraphProto.initializer`.
    pub(crate) const GRAPH_INITIALIZER: u32 = 5;
    /// `NodeProto.output`.
    pub(crate) const NODE_OUTPUT: u32 = 2;
    /// `NodeProto.attribute`.
    pub(crate) const NODE_ATTRIBUTE: u32 = 5;
    /// `AttributeProto.name`.
    pub(crate) const ATTRIBUTE_NAME: u32 = 1;
    /// `AttributeProto.t`.
    pub(crate) const ATTRIBUTE_TENSOR: u32 = 5;
    /// `TensorProto.dims`.
    pub(crate) const TENSOR_DIMS: u32 = 1;
    /// `TensorProto.data_type`.
    pub(crate) const TENSOR_TYPE: u32 = 2;
    /// `TensorProto.float_data`.
    pub(crate) const TENSOR_FLOATS: u32 = 4;
    /// `TensorProto.name`.
    pub(crate) const TENSOR_NAME: u32 = 8;
    /// `TensorProto.raw_data`.
    pub(crate) const TENSOR_RAW: u32 = 9;
    /// `TensorProto.external_data`.
    pub(crate) const TENSOR_EXTERNAL: u32 = 13;
    /// `TensorProto.data_location`.
    pub(crate) const TENSOR_LOCATION: u32 = 14;
}

/// Key of a record whose value has a length.
const LENGTH_DELIMITED: u64 = 2;

/// A record of a message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record<'a> {
    /// Its field number.
    pub(crate) field: u32,
    /// Key and value, as they stand.
    pub(crate) whole: &'a [u8],
    /// What the value holds, if it has a length.
    pub(crate) content: Option<&'a [u8]>,
}

/// The records of a message; an `Err` is the last item.
pub(crate) struct Records<'a> {
    rest: &'a [u8],
}

impl<'a> Records<'a> {
    pub(crate) fn of(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    fn record(&mut self) -> Result<Record<'a>, &'static str> {
        let start = self.rest;
        let key = varint(&mut self.rest)?;
        let field = u32::try_from(key >> 3).map_err(|_| "a field number is too large")?;
        let content = match key & 7 {
            0 => varint(&mut self.rest).map(|_| None)?,
            1 => take(&mut self.rest, 8).map(|_| None)?,
            LENGTH_DELIMITED => {
                let length = varint(&mut self.rest)?;
                Some(take(&mut self.rest, usize::try_from(length).unwrap_or(usize::MAX))?)
            }
            5 => take(&mut self.rest, 4).map(|_| None)?,
            _ => return Err("a record of an unknown type"),
        };
        Ok(Record { field, whole: &start[..start.len() - self.rest.len()], content })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let record = self.record();
        if record.is_err() {
            self.rest = &[];
        }
        Some(record)
    }
}

fn varint(rest: &mut &[u8]) -> Result<u64, &'static str> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, after) = rest.split_first().ok_or("cut off")?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err("a number is too long")
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], &'static str> {
    let (value, after) = rest.split_at_checked(length).ok_or("cut off")?;
    *rest = after;
    Ok(value)
}

/// Appends a record whose value has a length.
pub(crate) fn write_record(out: &mut Vec<u8>, field: u32, content: &[u8]) {
    write_varint(out, u64::from(field) << 3 | LENGTH_DELIMITED);
    write_varint(out, content.len() as u64);
    out.extend_from_slice(content);
}

/// Appends a record of an integer.
pub(crate) fn write_integer(out: &mut Vec<u8>, field: u32, value: u64) {
    write_varint(out, u64::from(field) << 3);
    write_varint(out, value);
}

fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A kind of message of `onnx.proto` that holds others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Message {
    Model,
    Training,
    Function,
    Graph,
    Node,
    Attribute,
    Sparse,
    Tensor,
    Value,
    Type,
    TensorType,
    Shape,
    /// A small one without others.
    Leaf,
    Text,
}

impl Message {
    /// The message in a field, if one is there.
    fn inside(self, field: u32) -> Option<Self> {
        Some(match (self, field) {
            (Self::Model, 7) | (Self::Training, 1 | 2) | (Self::Attribute, 6 | 11) => Self::Graph,
            (Self::Model, 20) => Self::Training,
            (Self::Model, 25) => Self::Function,
            (Self::Function, 7) | (Self::Graph, 1) => Self::Node,
            (Self::Node, 5) => Self::Attribute,
            (Self::Graph, 15) | (Self::Attribute, 22 | 23) => Self::Sparse,
            (Self::Graph, 5) | (Self::Attribute, 5 | 10) | (Self::Sparse, 1 | 2) => Self::Tensor,
            (Self::Graph, 11..=13) => Self::Value,
            (Self::Value, 2) | (Self::Attribute, 14 | 15) => Self::Type,
            (Self::Type, 1) => Self::TensorType,
            (Self::TensorType, 2) => Self::Shape,
            (Self::Shape, 1)
            | (Self::Model, 8 | 14)
            | (Self::Function, 9)
            | (Self::Graph, 14)
            | (Self::Training, 3 | 4)
            | (Self::Tensor, 3 | 13) => Self::Leaf,
            (Self::Node, 1 | 2) | (Self::Attribute, 9) | (Self::Tensor, 6) | (Self::Function, 4..=6) => Self::Text,
            _ => return None,
        })
    }

    /// Bytes of it once decoded, without what is inside.
    fn size(self) -> usize {
        match self {
            Self::Model => size_of::<pb::ModelProto>(),
            Self::Training => size_of::<pb::TrainingInfoProto>(),
            Self::Function => size_of::<pb::FunctionProto>(),
            Self::Graph => size_of::<pb::GraphProto>(),
            Self::Node => size_of::<pb::NodeProto>(),
            Self::Attribute => size_of::<pb::AttributeProto>(),
            Self::Sparse => size_of::<pb::SparseTensorProto>(),
            Self::Tensor => size_of::<pb::TensorProto>(),
            Self::Value => size_of::<pb::ValueInfoProto>(),
            Self::Type => size_of::<pb::TypeProto>(),
            Self::TensorType => size_of::<pb::type_proto::Tensor>(),
            Self::Shape => size_of::<pb::TensorShapeProto>(),
            // The largest of them: quantisation's names.
            Self::Leaf => size_of::<pb::TensorAnnotation>().max(size_of::<pb::tensor_shape_proto::Dimension>()),
            Self::Text => size_of::<String>(),
        }
    }

    /// Bytes that the messages and texts within `bytes` take once decoded, besides their contents: that can be hundreds of
    /// times the file, for an empty message is two bytes there. Ends soon after `limit`. Broken records end the count; the
    /// decoder will say so.
    pub(crate) fn decoded(self, bytes: &[u8], limit: usize) -> usize {
        self.decoded_within(bytes, limit, 100)
    }

    fn decoded_within(self, bytes: &[u8], limit: usize, depth: u32) -> usize {
        let mut sum = 0;
        for record in Records::of(bytes) {
            let Ok(Record { content: Some(content), field, .. }) = record else { continue };
            if let Some(inside) = self.inside(field) {
                sum += inside.size();
                if depth > 0 && sum <= limit && !matches!(inside, Self::Leaf | Self::Text) {
                    sum += inside.decoded_within(content, limit - sum, depth - 1);
                }
            }
            if sum > limit {
                break;
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back() {
        let mut bytes = Vec::new();
        write_integer(&mut bytes, 3, 300);
        write_record(&mut bytes, 40, b"hello");
        let records: Vec<_> = Records::of(&bytes).map(Result::unwrap).collect();
        assert_eq!(records.len(), 2);
        assert_eq!((records[0].field, records[0].whole, records[0].content), (3, &bytes[..3], None));
        assert_eq!((records[1].field, records[1].content), (40, Some(&b"hello"[..])));
    }

    #[test]
    fn broken_records_end_the_message() {
        for bytes in [&[0x80][..], &[0x0a, 5, 1], &[0x0b], &[0xff; 12], &[0x09, 1]] {
            let records: Vec<_> = Records::of(bytes).collect();
            assert_eq!(records.len(), 1, "{bytes:?}");
            assert!(records[0].is_err());
        }
    }

    #[test]
    fn messages_are_counted_up_to_the_limit() {
        let node = size_of::<pb::NodeProto>();
        let mut bytes = Vec::new();
        write_record(&mut bytes, field::MODEL_GRAPH, &[0x0a, 0].repeat(5000));
        assert_eq!(Message::Model.decoded(&bytes, usize::MAX), 5000 * node + size_of::<pb::GraphProto>());
        assert!((10_000..10_000 + 2 * node).contains(&Message::Model.decoded(&bytes, 10_000)));
        // Numbers that look like messages are not counted.
        let mut tensor = Vec::new();
        write_record(&mut tensor, field::TENSOR_FLOATS, &[0x0a, 0].repeat(5000));
        assert_eq!(Message::Tensor.decoded(&tensor, 100), 0);
    }
}
