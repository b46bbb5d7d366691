//! Rows of a matrix for tokens: `W` is `[rows, dims]`.

use super::Weights;
use crate::checkin::Path;
use crate::model::Tensor;
use crate::model::kernel::{self, GradSink, Pattern};

pub(crate) fn forward(w: &Weights<'_>, ids: &[f32], y: &mut [f32]) {
    let (rows, dims) = (w.tensor.rows as usize, w.tensor.cols as usize);
    match w.tensor.path {
        Path::Dense => kernel::embedding_forward(w.values, ids, y, rows, dims, ids.len()),
        Path::Sparse => kernel::csr_embedding_forward(w.pattern, w.values, ids, y, rows, dims, ids.len()),
        Path::Block => unreachable!("the graph has blocks in fully connected layers alone"),
    }
}

pub(crate) fn weight_gradient(
    tensor: &Tensor,
    pattern: Pattern<'_>,
    dy: &[f32],
    ids: &[f32],
    sink: &mut impl GradSink,
) {
    let (rows, dims) = (tensor.rows as usize, tensor.cols as usize);
    match tensor.path {
        Path::Dense => kernel::embedding_weight_grad(ids, dy, rows, dims, ids.len(), sink),
        Path::Sparse => kernel::csr_embedding_weight_grad(pattern, ids, dy, rows, dims, ids.len(), sink),
        Path::Block => unreachable!("the graph has blocks in fully connected layers alone"),
    }
}
