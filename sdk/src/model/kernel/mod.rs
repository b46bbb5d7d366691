//! The loops of training over plain `f32` slices.
//!
//! **Layout.** Activations are feature-major with the batch innermost: `x[feature][batch]`, images `x[c][h][w][batch]`,
//! without padding. Dense weights are `[out, in]` and `[out, in / groups, kh, kw]`; sparse weights are the live ones of those, row
//! after row, described by a [`Pattern`]. Any batch works; up to 64 the dense weight gradient is fast.
//!
//! **Definition.** Every element of a result is a fixed sequence of `f32` multiplications and additions, each rounded: no
//! fused multiply-add, no order that depends on the width of a vector. The functions say which sequence. Therefore a
//! result has the same bits on every target and with every instruction set, except that the sign and payload of a NaN
//! are not defined. The fast paths keep a vector of *different* elements in each register, never pieces of one sum,
//! except where a function says that it is a lane sum.
//!
//! # Lane sums
//! Some sums run over contiguous memory. They are defined as eight running sums, all starting at `+0.0`, where term `t`
//! goes to sum `t mod 8` in ascending `t`, and end as `((s0+s4)+(s2+s6)) + ((s1+s5)+(s3+s7))`.
//!
//! **Gradients of weights** do not exist as arrays: they are handed in pieces to a [`GradSink`], which updates in place.
//!
//! The public functions choose an instruction set at run time; [`portable`] is the same code for the target's baseline.

mod activation;
mod attention;
mod attention_grad;
mod avg_pool;
mod block;
mod conv;
mod conv_grad;
mod conv_tile;
mod conv_weights;
mod csr;
mod csr_single;
mod csr_small;
mod dense;
mod dispatch;
mod dropout;
mod elementwise;
mod embedding;
mod exp;
mod geometry;
mod gru;
mod lanes;
mod loss;
mod lstm;
mod norm;
mod pointwise;
mod pool;
mod rearrange;
mod recurrent;
mod registers;
#[cfg(any(
    test,
    not(any(
        all(any(target_arch = "x86", target_arch = "x86_64"), target_feature = "sse2"),
        all(target_arch = "aarch64", target_feature = "neon")
    ))
))]
mod scalars;
mod softmax;
mod vector;
mod wide;

#[cfg(test)]
mod tests;

pub use activation::{
    clip_backward, clip_forward, gelu_backward, gelu_forward, hard_swish_backward, hard_swish_forward,
    leaky_relu_backward, leaky_relu_forward, relu_backward, relu_forward, sigmoid_backward, sigmoid_forward,
    tanh_backward, tanh_forward,
};
pub use attention::AttentionGeometry;
pub use block::BLOCK;
pub use csr_single::csr_gradients;
pub use dispatch::{
    avg_pool_backward, avg_pool_forward, bias_grad, block_forward, block_input_grad, block_weight_grad, conv_forward,
    conv_input_grad, conv_weight_grad, csr_conv_forward, csr_conv_input_grad, csr_conv_weight_grad, csr_forward,
    csr_input_grad, csr_single_gradients, csr_weight_grad, dense_forward, dense_input_grad, dense_weight_grad,
    global_avg_pool_backward, global_avg_pool_forward, max_pool_backward, max_pool_forward, portable,
};
pub use dispatch::{
    context_backward_values, context_backward_weights, context_forward, scores_backward_key, scores_backward_query,
    scores_forward,
};
pub use dropout::dropout;
pub use elementwise::{
    add_forward, affine_backward, affine_forward, mul_first_grad, mul_forward, mul_second_grad, offset_forward,
    offset_grad, sum_positions,
};
pub use embedding::{csr_embedding_forward, csr_embedding_weight_grad, embedding_forward, embedding_weight_grad};
pub use geometry::{ConvGeometry, PoolGeometry};
pub use gru::{GruGeometry, GruGradients, gru_backward, gru_forward, gru_gradients};
pub use loss::{IGNORE, binary_cross_entropy, mean_squared_error, softmax_cross_entropy};
pub use lstm::{LstmGeometry, LstmGradients, lstm_backward, lstm_forward, lstm_gradients};
pub use norm::{
    NormGeometry, batch_norm_forward, batch_norm_input_grad, batch_norm_scale_grad, norm_forward, norm_input_grad,
    norm_scale_grad, norm_statistics,
};
pub use rearrange::{last_backward, last_forward, transpose_backward, transpose_forward};
pub use recurrent::{Raised, RecurrentRows, RecurrentWeight};
pub use softmax::{SoftmaxGeometry, log_softmax_backward, log_softmax_forward, softmax_backward, softmax_forward};
pub(crate) use wide::{Work, wide};

/// Whether there are loops for each size of a block of lanes, or few that fit all. The sums, and so the bits, are the same.
const FAST: bool = cfg!(feature = "fast");

/// Which weights of an `[out, in]` tensor live, row by row (CSR). The values are an array of their own.
///
/// The kernels take it as checked: `row_ptr` has `out + 1` entries, starts at 0, never falls and ends at `cols.len()`;
/// in each row `cols` ascends strictly and stays below `in`. A pattern that breaks this gives meaningless numbers or a
/// panic, never an access out of bounds.
#[derive(Clone, Copy, Debug)]
pub struct Pattern<'a> {
    /// Where each row starts in `cols`, and the number of live weights as the last entry.
    pub row_ptr: &'a [u32],
    /// The input, or for a convolution `(ic * kh + ky) * kw + kx` with `ic` counted in the group, of each live weight.
    pub cols: &'a [u16],
}

/// Which blocks of four consecutive outputs by one input of an `[out, in]` tensor live, group of four outputs by group. The
/// values are an array of their own, four for a block: `[block][output in the block]`.
///
/// The kernels take it as checked: `out` is a multiple of four, `row_ptr` has `out / 4 + 1` entries, starts at 0, never falls
/// and ends at `cols.len()`; in each group `cols` ascends strictly and stays below `in`. As for [`Pattern`], one that breaks
/// this gives meaningless numbers or a panic.
#[derive(Clone, Copy, Debug)]
pub struct BlockPattern<'a> {
    /// Where each group starts in `cols`, and the number of live blocks as the last entry.
    pub row_ptr: &'a [u32],
    /// The input of each live block.
    pub cols: &'a [u16],
}

impl<'a> Pattern<'a> {
    /// The same lists as those of blocks.
    pub const fn blocks(self) -> BlockPattern<'a> {
        BlockPattern { row_ptr: self.row_ptr, cols: self.cols }
    }
}

/// Takes the gradient of a tensor piece by piece while it is made, so that an optimizer can update in place and no
/// gradient array exists.
pub trait GradSink {
    /// `grad` belongs to the live coordinates `offset .. offset + grad.len()` of the tensor. In one call of a kernel
    /// every coordinate comes exactly once, in pieces of at most 64 and in an order that may depend on the target: what
    /// a sink does to a coordinate must not depend on the others.
    ///
    /// Mark the implementation `#[inline]`, so that it is compiled for the kernel's instruction set.
    fn take(&mut self, offset: usize, grad: &[f32]);
}

/// A [`GradSink`] that has the values that the gradients belong to.
pub trait ValueSink: GradSink {
    /// The stored values of the tensor. Those whose gradient has not come yet are as they were before the first one.
    ///
    /// To be inlined as [`take`](GradSink::take).
    fn values(&self) -> &[f32];
}
