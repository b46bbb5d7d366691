//! ONNX's operators, each turned into layers.

mod activation;
mod arithmetic;
mod attention;
mod axes;
mod convolution;
mod linear;
mod normalization;
mod recurrent;
mod select;

use crate::file::{Outcome, Refusal};
use crate::import::{Importer, Site, Value};

impl Importer<'_> {
    /// The outputs of a node that has an input which is computed from the example.
    ///
    /// # Errors
    /// `Refusal::Operator` if nothing stands for it.
    pub(crate) fn operator(&mut self, site: &Site) -> Outcome<Vec<Value>> {
        let value = match site.call.operator {
            "Gemm" => self.gemm(site)?,
            "MatMul" => self.mat_mul(site)?,
            "Conv" => self.convolution(site)?,
            "Pad" => self.pad(site)?,
            "MaxPool" => self.max_pool(site)?,
            "AveragePool" => self.average_pool(site)?,
            "GlobalAveragePool" | "GlobalMaxPool" => self.global_pool(site)?,
            "ReduceMean" => self.reduce_mean(site)?,
            "BatchNormalization" => self.batch_normalization(site)?,
            "LayerNormalization" => self.layer_normalization(site)?,
            "GroupNormalization" => self.group_normalization(site)?,
            "InstanceNormalization" => self.instance_normalization(site)?,
            "GRU" | "LSTM" => return self.recurrent(site),
            "Gather" => self.gather(site)?,
            "Slice" => self.slice(site)?,
            "Split" => return self.split(site),
            "Concat" => self.concat(site)?,
            "Add" | "Sub" | "Mul" | "Div" | "Sum" => self.arithmetic(site)?,
            "Min" | "Max" => self.bound(site)?,
            "Pow" => self.power(site)?,
            "Neg" => self.negate(site)?,
            "Where" => self.choose(site)?,
            "Softmax" | "LogSoftmax" => self.softmax(site)?,
            "Relu" | "LeakyRelu" | "PRelu" | "Clip" | "Sigmoid" | "Tanh" | "Gelu" | "HardSigmoid" | "HardSwish"
            | "Erf" | "Dropout" => self.activation(site)?,
            "Shape" | "Size" | "Identity" | "Cast" | "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" | "Transpose"
            | "Expand" => self.axes(site)?,
            _ => return Err(Refusal::Operator),
        };
        Ok(vec![value])
    }
}
