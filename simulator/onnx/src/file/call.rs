//! A node as an operator's code sees it.

use crate::error::ImportError;
use std::cell::Cell;
use tract_onnx::pb::{AttributeProto, NodeProto, TensorProto};

/// Why a node was refused; its name comes to it where it is called.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Refusal {
    /// Nothing here knows the operator.
    Operator,
    /// It is used in a way that no layer stands for.
    Why(String),
    /// Something else is at fault.
    Error(ImportError),
}

impl From<String> for Refusal {
    fn from(why: String) -> Self {
        Self::Why(why)
    }
}

impl From<&str> for Refusal {
    fn from(why: &str) -> Self {
        Self::Why(why.into())
    }
}

impl From<ImportError> for Refusal {
    fn from(error: ImportError) -> Self {
        Self::Error(error)
    }
}

/// What an operator's code gives back.
pub(crate) type Outcome<T> = Result<T, Refusal>;

/// A node's attributes.
pub(crate) struct Call<'a> {
    /// The operator; empty for one of another domain than ONNX's own.
    pub(crate) operator: &'a str,
    /// Version of the operators.
    pub(crate) opset: i64,
    /// How many outputs it has a name for.
    pub(crate) outputs: usize,
    attributes: &'a [AttributeProto],
    /// An attribute that was asked for, and holds something else.
    misread: Cell<Option<&'a str>>,
}

/// `AttributeProto.AttributeType`.
mod kind {
    pub(super) const FLOAT: i32 = 1;
    pub(super) const INT: i32 = 2;
    pub(super) const STRING: i32 = 3;
    pub(super) const TENSOR: i32 = 4;
    pub(super) const FLOATS: i32 = 6;
    pub(super) const INTS: i32 = 7;
    pub(super) const STRINGS: i32 = 8;
}

impl<'a> Call<'a> {
    pub(crate) fn new(node: &'a NodeProto, opset: i64) -> Self {
        let own = node.domain.is_empty() || node.domain == "ai.onnx";
        let operator = if own { &node.op_type } else { "" };
        Self { operator, opset, outputs: node.output.len(), attributes: &node.attribute, misread: Cell::new(None) }
    }

    #[cfg(test)]
    pub(crate) fn of_opset(opset: i64) -> Call<'static> {
        Call { operator: "", opset, outputs: 1, attributes: &[], misread: Cell::new(None) }
    }

    fn attribute(&self, name: &str, kind: i32) -> Option<&'a AttributeProto> {
        let attribute = self.attributes.iter().find(|a| a.name == name)?;
        // Files of version 1 of the format do not state the type.
        if attribute.r#type != kind && attribute.r#type != 0 {
            self.misread.set(Some(&attribute.name));
        }
        Some(attribute)
    }

    /// An attribute that was read as something else than it is: of another type, or a truth value of neither 0 nor 1.
    pub(crate) fn misread(&self) -> Option<&'a str> {
        self.misread.get()
    }

    /// An integer, or its default.
    pub(crate) fn int(&self, name: &str, default: i64) -> i64 {
        self.attribute(name, kind::INT).map_or(default, |a| a.i)
    }

    /// An integer that means true or false, or its default.
    pub(crate) fn flag(&self, name: &str, default: bool) -> bool {
        let Some(attribute) = self.attribute(name, kind::INT) else { return default };
        if !(0..=1).contains(&attribute.i) {
            self.misread.set(Some(&attribute.name));
        }
        attribute.i != 0
    }

    /// An integer, if it is there.
    pub(crate) fn int_if_there(&self, name: &str) -> Option<i64> {
        self.attribute(name, kind::INT).map(|a| a.i)
    }

    /// A real number, or its default.
    pub(crate) fn float(&self, name: &str, default: f32) -> f32 {
        self.attribute(name, kind::FLOAT).map_or(default, |a| a.f)
    }

    /// A real number, if it is there.
    pub(crate) fn float_if_there(&self, name: &str) -> Option<f32> {
        self.attribute(name, kind::FLOAT).map(|a| a.f)
    }

    /// Integers, if they are there.
    pub(crate) fn ints(&self, name: &str) -> Option<&'a [i64]> {
        self.attribute(name, kind::INTS).map(|a| &a.ints[..])
    }

    /// Real numbers, if they are there.
    pub(crate) fn floats(&self, name: &str) -> Option<&'a [f32]> {
        self.attribute(name, kind::FLOATS).map(|a| &a.floats[..])
    }

    /// A text, or its default.
    pub(crate) fn text(&self, name: &str, default: &'static str) -> &'a str {
        self.attribute(name, kind::STRING).map_or(default, |a| std::str::from_utf8(&a.s).unwrap_or("?"))
    }

    /// Texts, if they are there.
    pub(crate) fn texts(&self, name: &str) -> Option<Vec<&'a str>> {
        self.attribute(name, kind::STRINGS)
            .map(|a| a.strings.iter().map(|s| std::str::from_utf8(s).unwrap_or("?")).collect())
    }

    /// A tensor, if it is there.
    pub(crate) fn tensor(&self, name: &str) -> Option<&'a TensorProto> {
        self.attribute(name, kind::TENSOR).and_then(|a| a.t.as_ref())
    }

    /// True if the node has this attribute.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.attributes.iter().any(|a| a.name == name)
    }
}
