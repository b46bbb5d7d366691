//! What a model answers, and what the loss wants of it.

use super::{Activation, Importer};
use crate::error::{ImportError, NodeName};
use crate::file::{Outcome, Refusal};
use crate::network::Feed;
use siskin::checkin::{LayerSpec, Loss};

/// What a model answers. Values of an example stand in our order, `[channels][height][width]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its name in the file.
    pub name: String,
    /// Shape of one example's output in ONNX, without the batch.
    pub dims: Vec<usize>,
    /// What the file applies to the network's output.
    pub activation: OutputActivation,
    /// For each value in ONNX's order, where it stands in ours.
    order: Vec<u32>,
}

/// What turns the network's output into the file's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OutputActivation {
    /// They are the same.
    #[default]
    None,
    /// A softmax over the channels of each position; the loss works on what goes into it.
    Softmax,
    /// The logarithm of one.
    LogSoftmax,
    /// A sigmoid of each value; the loss works on what goes into it.
    Sigmoid,
}

impl Output {
    /// An example's output in the file's order; `ours` are the network's values, activation applied or not.
    ///
    /// # Panics
    /// If `ours` is not one example's output.
    pub fn in_onnx_order(&self, ours: &[f32]) -> Vec<f32> {
        assert_eq!(ours.len(), self.order.len(), "one example's output");
        self.order.iter().map(|i| ours[*i as usize]).collect()
    }
}

impl Importer<'_> {
    /// Takes the activation off the output that its loss does not want, and brings the values into the loss's order: the
    /// classes into the channels for a cross-entropy, else ONNX's order.
    pub(super) fn conclude(
        &mut self,
        name: &str,
        result: &Activation,
        loss: Option<Loss>,
    ) -> Result<(Feed, Loss, Output), ImportError> {
        let wrong = |why: String| ImportError::Loss { why: format!("output `{}`: {why}", name.escape_debug()) };
        if result.token {
            return Err(wrong("it is the input itself".into()));
        }
        let ends = match self.network.layer(result.feed) {
            Some(LayerSpec::Softmax { groups: 1, causal: false }) => OutputActivation::Softmax,
            Some(LayerSpec::LogSoftmax) => OutputActivation::LogSoftmax,
            Some(LayerSpec::Sigmoid) => OutputActivation::Sigmoid,
            _ => OutputActivation::None,
        };
        let loss = match (loss, ends) {
            (Some(loss), _) => loss,
            (None, OutputActivation::Softmax | OutputActivation::LogSoftmax) => Loss::SoftmaxCrossEntropy,
            (None, OutputActivation::Sigmoid) => Loss::BinaryCrossEntropy,
            (None, OutputActivation::None) => {
                return Err(wrong("it does not tell the loss; name one".into()));
            }
        };
        let activation = match (loss, ends) {
            (Loss::SoftmaxCrossEntropy, OutputActivation::Sigmoid) => {
                return Err(wrong("a softmax cross-entropy does not go with a sigmoid".into()));
            }
            (Loss::BinaryCrossEntropy, OutputActivation::Softmax | OutputActivation::LogSoftmax) => {
                return Err(wrong("a binary cross-entropy does not go with a softmax".into()));
            }
            (Loss::MeanSquaredError, _) => OutputActivation::None,
            (_, ends) => ends,
        };
        let mut x = result.clone();
        if activation != OutputActivation::None {
            x.feed = self.network.node(result.feed).and_then(|n| n.inputs[0]);
        } else if loss != Loss::MeanSquaredError && self.ends_in_probabilities(result.feed) {
            return Err(wrong(
                "a softmax or sigmoid stands before its last change of axes, where the loss cannot use it".into(),
            ));
        }
        let axes = &x.layout.axes;
        let whole_batch = axes.iter().skip(1).all(|a| !a.contains(&crate::layout::BATCH));
        let first = axes.first().is_some_and(|a| x.layout.size(a) == 1 || a[..] == [crate::layout::BATCH]);
        if !whole_batch || !first {
            return Err(wrong("its first axis must be the batch".into()));
        }
        let example = x.layout.in_onnx_order();
        let axis = |i: usize| axes.get(i).cloned().unwrap_or_default();
        let channels = &x.layout.home[0];
        let is_channels = |a: &Vec<_>| a == channels;
        let wanted = match (loss, x.rank()) {
            (Loss::SoftmaxCrossEntropy, 3..) if !channels.is_empty() && axes[1..].iter().any(is_channels) => {
                x.layout.home.clone()
            }
            (Loss::SoftmaxCrossEntropy, 3..) => {
                let classes = axis(x.rank() - 1);
                let positions = example.iter().copied().filter(|f| !classes.contains(f)).collect();
                [classes, positions, vec![]]
            }
            (_, 3..=4) => [axis(1), axis(2), axis(3)],
            _ => [example.clone(), vec![], vec![]],
        };
        let node = NodeName { operator: "output".into(), name: name.into() };
        let arranged: Outcome<Activation> = self.arrange(&x, wanted, &node);
        let x = arranged.map_err(|refusal| match refusal {
            Refusal::Why(why) => wrong(why),
            Refusal::Error(error) => error,
            Refusal::Operator => wrong("it cannot be brought into the loss's order".into()),
        })?;
        let ours = x.layout.in_our_order();
        let mut step = 1;
        let mut steps = Vec::new();
        for f in ours.iter().rev() {
            steps.push((*f, step));
            step *= x.layout.size(&[*f]);
        }
        let dims = x.layout.dims().into_iter().skip(1).collect();
        let order = x.layout.walk(&x.layout.in_onnx_order(), &steps);
        Ok((x.feed, loss, Output { name: name.into(), dims, activation, order }))
    }

    /// True if only changes of shape stand behind a softmax or a sigmoid.
    fn ends_in_probabilities(&self, mut feed: Feed) -> bool {
        loop {
            match self.network.layer(feed) {
                Some(LayerSpec::Reshape { .. } | LayerSpec::Transpose { .. } | LayerSpec::Flatten) => {
                    feed = self.network.node(feed).and_then(|n| n.inputs[0]);
                }
                Some(LayerSpec::Softmax { .. } | LayerSpec::LogSoftmax | LayerSpec::Sigmoid) => return true,
                _ => return false,
            }
        }
    }
}
