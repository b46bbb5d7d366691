//! What an ONNX value is during the import.

use crate::constant::Constant;
use crate::error::NodeName;
use crate::file::{Call, Outcome};
use crate::layout::Layout;
use crate::network::Feed;
use std::rc::Rc;

/// A value of the graph.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    /// Known now.
    Constant(Rc<Constant>),
    /// Computed from the example.
    Activation(Rc<Activation>),
}

/// A value computed from the example.
#[derive(Debug, Clone)]
pub(crate) struct Activation {
    /// What computes it.
    pub(crate) feed: Feed,
    /// Where its axes are.
    pub(crate) layout: Layout,
    /// True for the integers of an input: they only choose rows of a table.
    pub(crate) token: bool,
}

impl Activation {
    pub(crate) fn new(feed: Feed, layout: Layout) -> Self {
        Self { feed, layout, token: false }
    }

    /// The same values, seen as another tensor.
    pub(crate) fn seen_as(&self, layout: Layout) -> Self {
        Self { layout, ..self.clone() }
    }

    pub(crate) fn rank(&self) -> usize {
        self.layout.axes.len()
    }
}

impl From<Activation> for Value {
    fn from(mut activation: Activation) -> Self {
        activation.layout.compact();
        Self::Activation(Rc::new(activation))
    }
}

impl From<Constant> for Value {
    fn from(constant: Constant) -> Self {
        Self::Constant(Rc::new(constant))
    }
}

/// A node with the values that it is fed with.
pub(crate) struct Site<'a> {
    pub(crate) call: Call<'a>,
    pub(crate) name: NodeName,
    pub(crate) inputs: Vec<Option<Value>>,
}

impl Site<'_> {
    fn input(&self, i: usize) -> Option<&Value> {
        self.inputs.get(i).and_then(Option::as_ref)
    }

    /// An input that must be known; `what` names it in the message.
    pub(crate) fn constant(&self, i: usize, what: &str) -> Outcome<Rc<Constant>> {
        match self.input(i) {
            Some(Value::Constant(c)) => Ok(c.clone()),
            Some(Value::Activation(_)) => Err(format!("its {what} must be a constant, but is computed").into()),
            None => Err(format!("its {what} is missing").into()),
        }
    }

    /// An input that may be left out, but must be known.
    pub(crate) fn optional(&self, i: usize, what: &str) -> Outcome<Option<Rc<Constant>>> {
        self.input(i).map(|_| self.constant(i, what)).transpose()
    }

    /// An input that is computed from the example and real.
    pub(crate) fn activation(&self, i: usize) -> Outcome<Rc<Activation>> {
        let a = self.activation_or_token(i)?;
        if a.token { Err("it would compute with tokens, which can only choose rows of a table".into()) } else { Ok(a) }
    }

    /// An input that is computed from the example.
    pub(crate) fn activation_or_token(&self, i: usize) -> Outcome<Rc<Activation>> {
        match self.input(i) {
            Some(Value::Activation(a)) => Ok(a.clone()),
            Some(Value::Constant(_)) => Err(format!("its input {i} is a constant, which is not supported here").into()),
            None => Err(format!("its input {i} is missing").into()),
        }
    }

    /// True if this input is given.
    pub(crate) fn has(&self, i: usize) -> bool {
        self.input(i).is_some()
    }
}
