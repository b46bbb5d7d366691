//! Picks the instruction set. Unsafe is only the call of a function that needs one.
//!
//! Every kernel is written once, in the files beside this one, and always inlined. Here it is compiled for the target's
//! baseline and, on x86, for AVX2 and AVX-512, each with block sizes that suit its registers. LLVM contracts no multiplication
//! and addition unless it is told to, so the FMA that comes with AVX-512 changes no bits.
#![allow(unsafe_code)]
#![allow(clippy::too_many_arguments)]

use super::attention::{self, AttentionGeometry};
use super::attention_grad;
use super::conv::Taps;
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
use super::registers::{Avx2, Avx512};
use super::vector::{Isa, Portable};
use super::{BlockPattern, ConvGeometry, GradSink, Pattern, PoolGeometry, ValueSink};
use super::{avg_pool, block, conv, conv_grad, conv_weights, csr, csr_single, dense, pool};

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
cpufeatures::new!(detect_avx2, "avx2");
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
cpufeatures::new!(detect_avx512, "avx512f", "avx512bw", "avx512vl");

/// Whether this CPU and operating system run the AVX2 variants.
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
#[inline]
pub(super) fn has_avx2() -> bool {
    detect_avx2::get()
}

/// Whether this CPU and operating system run the AVX-512 variants.
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
#[inline]
pub(super) fn has_avx512() -> bool {
    detect_avx512::get()
}

/// Outputs that the portable variants keep in registers: 32 scalar registers hold two of eight lanes, as many vector
/// registers hold four.
const ROWS: usize = if cfg!(target_pointer_width = "64") { 4 } else { 2 };

macro_rules! kernels {
    ($(
        $(#[$doc:meta])*
        fn $name:ident $(<$sink:ident $(: $bound:ident)?>)? ($($arg:ident: $type:ty),* $(,)?) {
            portable: $portable:expr, avx2: $avx2:expr, avx512: $avx512:expr $(,)?
        }
    )*) => {
        /// The kernels compiled for the target's baseline: the reference to test and measure the others against.
        pub mod portable {
            use super::*;
            $(
                $(#[$doc])*
                pub fn $name $(<$sink: GradSink $(+ $bound)?>)? ($($arg: $type),*) {
                    $portable
                }
            )*
        }

        /// What a microcontroller runs, with its block sizes.
        #[cfg(test)]
        pub(super) mod scalar {
            use super::*;
            use crate::model::kernel::scalars::NoVectors as Portable;
            const ROWS: usize = 2;
            $(
                pub(in super::super) fn $name $(<$sink: GradSink $(+ $bound)?>)? ($($arg: $type),*) {
                    $portable
                }
            )*
        }

        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        pub(super) mod avx2 {
            use super::*;
            $(
                #[target_feature(enable = "avx2")]
                pub(in super::super) fn $name $(<$sink: GradSink $(+ $bound)?>)? ($($arg: $type),*) {
                    $avx2
                }
            )*
        }

        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        pub(super) mod avx512 {
            use super::*;
            $(
                #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
                pub(in super::super) fn $name $(<$sink: GradSink $(+ $bound)?>)? ($($arg: $type),*) {
                    $avx512
                }
            )*
        }

        /// The accelerated variants for tests, which must not run what the CPU lacks.
        #[cfg(all(test, any(target_arch = "x86", target_arch = "x86_64")))]
        pub(super) mod checked {
            pub(in super::super) mod avx2 {
                use super::super::*;
                $(
                    pub(in super::super::super) fn $name $(<$sink: GradSink $(+ $bound)?>)? ($($arg: $type),*) {
                        assert!(has_avx2());
                        // SAFETY: asserted on the line above.
                        unsafe { super::super::avx2::$name($($arg),*) }
                    }
                )*
            }

            pub(in super::super) mod avx512 {
                use super::super::*;
                $(
                    pub(in super::super::super) fn $name $(<$sink: GradSink $(+ $bound)?>)? ($($arg: $type),*) {
                        assert!(has_avx512());
                        // SAFETY: asserted on the line above.
                        unsafe { super::super::avx512::$name($($arg),*) }
                    }
                )*
            }
        }

        $(
            $(#[$doc])*
            pub fn $name $(<$sink: GradSink $(+ $bound)?>)? ($($arg: $type),*) {
                #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
                if has_avx512() {
                    // SAFETY: the CPU has just been found to have AVX-512F, BW and VL.
                    return unsafe { avx512::$name($($arg),*) };
                } else if has_avx2() {
                    // SAFETY: the CPU has just been found to have AVX2.
                    return unsafe { avx2::$name($($arg),*) };
                }
                portable::$name($($arg),*);
            }
        )*
    };
}

kernels! {
    /// `y[o][b] = bias[o] + sum over i of w[o][i] * x[i][b]`: one running sum that starts at the bias, ascending `i`.
    ///
    /// `w` is `[outputs, inputs]`, `x` `[inputs, batch]`, `y` `[outputs, batch]`. An output without an entry in `bias` has
    /// bias 0, so a layer without bias passes `&[]`.
    ///
    /// # Panics
    /// If a slice is shorter than its shape; as all functions of this module.
    fn dense_forward(w: &[f32], bias: &[f32], x: &[f32], y: &mut [f32], inputs: usize, outputs: usize, batch: usize) {
        portable: dense::forward::<Portable, ROWS>(w, bias, x, y, inputs, outputs, batch),
        // One sum an output: nothing to vectorise, and with wide registers at hand LLVM makes it slower.
        avx2: match batch {
            1 => portable::dense_forward(w, bias, x, y, inputs, outputs, batch),
            _ => dense::forward::<Avx2, 4>(w, bias, x, y, inputs, outputs, batch),
        },
        avx512: match batch {
            1 => portable::dense_forward(w, bias, x, y, inputs, outputs, batch),
            _ => dense::forward::<Avx512, 8>(w, bias, x, y, inputs, outputs, batch),
        },
    }

    /// `dx[i][b] = sum over o of w[o][i] * dy[o][b]`: one running sum from `+0.0`, ascending `o`.
    fn dense_input_grad(w: &[f32], dy: &[f32], dx: &mut [f32], inputs: usize, outputs: usize, batch: usize) {
        portable: dense::input_grad::<Portable, ROWS>(w, dy, dx, inputs, outputs, batch),
        avx2: dense::input_grad::<Avx2, 4>(w, dy, dx, inputs, outputs, batch),
        avx512: dense::input_grad::<Avx512, 8>(w, dy, dx, inputs, outputs, batch),
    }

    /// `g[o][i] = sum over b of dy[o][b] * x[i][b]`: one running sum from `+0.0`, ascending `b`. Coordinate `o * inputs + i`.
    fn dense_weight_grad<S>(dy: &[f32], x: &[f32], inputs: usize, outputs: usize, batch: usize, sink: &mut S) {
        portable: dense::weight_grad::<<Portable as Isa>::V8, ROWS, 1, 512, 512, S>(dy, x, inputs, outputs, batch, sink),
        avx2: dense::weight_grad::<<Avx2 as Isa>::V16, 4, 1, 1024, 2048, S>(dy, x, inputs, outputs, batch, sink),
        avx512: dense::weight_grad::<<Avx512 as Isa>::V16, 8, 2, 1024, 2048, S>(dy, x, inputs, outputs, batch, sink),
    }

    /// `g[o]` = lane sum over `t` of `dy[o][t]`, where `t` runs over the `lanes` values of an output: the batch, or pixels
    /// times batch.
    fn bias_grad<S>(dy: &[f32], outputs: usize, lanes: usize, sink: &mut S) {
        portable: dense::bias_grad::<Portable, S>(dy, outputs, lanes, sink),
        avx2: dense::bias_grad::<Avx2, S>(dy, outputs, lanes, sink),
        avx512: dense::bias_grad::<Avx512, S>(dy, outputs, lanes, sink),
    }

    /// The scores of each query and key: `s[h * positions + j][i][b] = scale * sum over d of q[h * size + d][i][b] *
    /// k[h * size + d][j][b]`, one running sum from `+0.0`, ascending `d`; `+0.0` where a causal attention does not look
    /// (`j > i`).
    ///
    /// The batches 1, 2 and 4, and multiples of 4, are the fast ones, as for all functions of attention.
    fn scores_forward(g: &AttentionGeometry, scale: f32, q: &[f32], k: &[f32], s: &mut [f32], batch: usize) {
        portable: attention::of_keys::<Portable, ROWS>(g, scale, q, k, s, batch),
        avx2: attention::of_keys::<Avx2, 8>(g, scale, q, k, s, batch),
        avx512: attention::of_keys::<Avx512, 8>(g, scale, q, k, s, batch),
    }

    /// The gradient of [`scores_forward`]'s queries: `dq[h * size + d][i][b] = scale * sum over j of
    /// ds[h * positions + j][i][b] * k[h * size + d][j][b]`, one running sum from `+0.0`, ascending `j`, up to `i` if causal.
    fn scores_backward_query(g: &AttentionGeometry, scale: f32, k: &[f32], ds: &[f32], dq: &mut [f32], batch: usize) {
        portable: attention::over_keys::<Portable, ROWS>(g, scale, ds, k, dq, batch),
        avx2: attention::over_keys::<Avx2, 8>(g, scale, ds, k, dq, batch),
        avx512: attention::over_keys::<Avx512, 8>(g, scale, ds, k, dq, batch),
    }

    /// The gradient of [`scores_forward`]'s keys: `dk[h * size + d][j][b] = scale * sum over i of
    /// ds[h * positions + j][i][b] * q[h * size + d][i][b]`, one running sum from `+0.0`, ascending `i`, from `j` on if causal.
    fn scores_backward_key(g: &AttentionGeometry, scale: f32, q: &[f32], ds: &[f32], dk: &mut [f32], batch: usize) {
        portable: attention_grad::over_queries::<<Portable as Isa>::V4, { 2 * ROWS }, ROWS, 256>(g, scale, ds, q, dk, batch),
        avx2: attention_grad::over_queries::<<Avx2 as Isa>::V8, 8, 4, 512>(g, scale, ds, q, dk, batch),
        avx512: attention_grad::over_queries::<<Avx512 as Isa>::V8, 8, 4, 512>(g, scale, ds, q, dk, batch),
    }

    /// The means of the values: `o[h * size + d][i][b] = sum over j of p[h * positions + j][i][b] * v[h * size + d][j][b]`, one
    /// running sum from `+0.0`, ascending `j`, up to `i` if causal.
    fn context_forward(g: &AttentionGeometry, p: &[f32], v: &[f32], o: &mut [f32], batch: usize) {
        portable: attention::over_keys::<Portable, ROWS>(g, 1.0, p, v, o, batch),
        avx2: attention::over_keys::<Avx2, 8>(g, 1.0, p, v, o, batch),
        avx512: attention::over_keys::<Avx512, 8>(g, 1.0, p, v, o, batch),
    }

    /// The gradient of [`context_forward`]'s weights: `dp[h * positions + j][i][b] = sum over d of
    /// dy[h * size + d][i][b] * v[h * size + d][j][b]`, one running sum from `+0.0`, ascending `d`; `+0.0` where a causal
    /// attention does not look.
    fn context_backward_weights(g: &AttentionGeometry, v: &[f32], dy: &[f32], dp: &mut [f32], batch: usize) {
        portable: attention::of_keys::<Portable, ROWS>(g, 1.0, dy, v, dp, batch),
        avx2: attention::of_keys::<Avx2, 8>(g, 1.0, dy, v, dp, batch),
        avx512: attention::of_keys::<Avx512, 8>(g, 1.0, dy, v, dp, batch),
    }

    /// The gradient of [`context_forward`]'s values: `dv[h * size + d][j][b] = sum over i of
    /// p[h * positions + j][i][b] * dy[h * size + d][i][b]`, one running sum from `+0.0`, ascending `i`, from `j` on if causal.
    fn context_backward_values(g: &AttentionGeometry, p: &[f32], dy: &[f32], dv: &mut [f32], batch: usize) {
        portable: attention_grad::over_queries::<<Portable as Isa>::V4, { 2 * ROWS }, ROWS, 256>(g, 1.0, p, dy, dv, batch),
        avx2: attention_grad::over_queries::<<Avx2 as Isa>::V8, 8, 4, 512>(g, 1.0, p, dy, dv, batch),
        avx512: attention_grad::over_queries::<<Avx512 as Isa>::V8, 8, 4, 512>(g, 1.0, p, dy, dv, batch),
    }

    /// [`dense_forward`] over the live weights: ascending column.
    fn csr_forward(
        pattern: Pattern,
        w: &[f32],
        bias: &[f32],
        x: &[f32],
        y: &mut [f32],
        inputs: usize,
        outputs: usize,
        batch: usize,
    ) {
        portable: csr::forward::<Portable, ROWS>(pattern, w, bias, x, y, inputs, outputs, batch),
        avx2: csr::forward::<Avx2, 4>(pattern, w, bias, x, y, inputs, outputs, batch),
        avx512: csr::forward::<Avx512, 4>(pattern, w, bias, x, y, inputs, outputs, batch),
    }

    /// [`dense_input_grad`] over the live weights: ascending row.
    fn csr_input_grad(
        pattern: Pattern,
        w: &[f32],
        dy: &[f32],
        dx: &mut [f32],
        inputs: usize,
        outputs: usize,
        batch: usize,
    ) {
        portable: csr::input_grad::<Portable>(pattern, w, dy, dx, inputs, outputs, batch),
        avx2: csr::input_grad::<Avx2>(pattern, w, dy, dx, inputs, outputs, batch),
        avx512: csr::input_grad::<Avx512>(pattern, w, dy, dx, inputs, outputs, batch),
    }

    /// `g[k]` = lane sum over `b` of `dy[o][b] * x[i][b]` for each live weight `k` at `[o, i]`. Coordinate `k`.
    fn csr_weight_grad<S>(
        pattern: Pattern,
        dy: &[f32],
        x: &[f32],
        inputs: usize,
        outputs: usize,
        batch: usize,
        sink: &mut S,
    ) {
        portable: csr::weight_grad::<Portable, S>(pattern, dy, x, inputs, outputs, batch, sink),
        avx2: csr::weight_grad::<Avx2, S>(pattern, dy, x, inputs, outputs, batch, sink),
        avx512: csr::weight_grad::<Avx512, S>(pattern, dy, x, inputs, outputs, batch, sink),
    }

    /// For a batch of one, what [`csr_input_grad`] over the values of the sink and then [`csr_weight_grad`] do, with each
    /// weight and column read once.
    fn csr_single_gradients<S: ValueSink>(
        pattern: Pattern,
        dy: &[f32],
        x: &[f32],
        dx: &mut [f32],
        inputs: usize,
        outputs: usize,
        sink: &mut S,
    ) {
        portable: csr_single::gradients::<Portable, S>(pattern, dy, x, dx, inputs, outputs, sink),
        avx2: csr_single::gradients::<Avx2, S>(pattern, dy, x, dx, inputs, outputs, sink),
        avx512: csr_single::gradients::<Avx512, S>(pattern, dy, x, dx, inputs, outputs, sink),
    }

    /// [`dense_forward`] over the live blocks: ascending column. `outputs` is a multiple of four.
    fn block_forward(
        pattern: BlockPattern,
        w: &[f32],
        bias: &[f32],
        x: &[f32],
        y: &mut [f32],
        inputs: usize,
        outputs: usize,
        batch: usize,
    ) {
        portable: block::forward::<Portable>(pattern, w, bias, x, y, inputs, outputs, batch),
        avx2: block::forward::<Avx2>(pattern, w, bias, x, y, inputs, outputs, batch),
        avx512: block::forward::<Avx512>(pattern, w, bias, x, y, inputs, outputs, batch),
    }

    /// [`dense_input_grad`] over the live blocks: ascending row.
    fn block_input_grad(
        pattern: BlockPattern,
        w: &[f32],
        dy: &[f32],
        dx: &mut [f32],
        inputs: usize,
        outputs: usize,
        batch: usize,
    ) {
        portable: block::input_grad::<Portable>(pattern, w, dy, dx, inputs, outputs, batch),
        avx2: block::input_grad::<Avx2>(pattern, w, dy, dx, inputs, outputs, batch),
        avx512: block::input_grad::<Avx512>(pattern, w, dy, dx, inputs, outputs, batch),
    }

    /// [`csr_weight_grad`] of each of the four weights of each live block. Coordinate `4 * block + output in the block`.
    fn block_weight_grad<S>(
        pattern: BlockPattern,
        dy: &[f32],
        x: &[f32],
        inputs: usize,
        outputs: usize,
        batch: usize,
        sink: &mut S,
    ) {
        portable: block::weight_grad::<Portable, S>(pattern, dy, x, inputs, outputs, batch, sink),
        avx2: block::weight_grad::<Avx2, S>(pattern, dy, x, inputs, outputs, batch, sink),
        avx512: block::weight_grad::<Avx512, S>(pattern, dy, x, inputs, outputs, batch, sink),
    }

    /// `y[oc][oy][ox][b] = bias[oc] + sum over (ic, ky, kx) of w[oc][ic][ky][kx] * x[group * channels + ic][iy][ix][b]` with
    /// `iy = oy * stride_h + ky * dilation_h - top`, likewise `ix` with the padding on the left: one running sum that starts at
    /// the bias, ascending `(ic, ky, kx)`. `ic` counts the `channels = in_channels / groups` of `oc`'s group. Terms whose
    /// input lies in the padding are left out, not added as zeros.
    ///
    /// Does nothing if the geometry has no output, as all functions that take one.
    fn conv_forward(g: &ConvGeometry, w: &[f32], bias: &[f32], x: &[f32], y: &mut [f32], batch: usize) {
        portable: conv::forward::<Portable, ROWS>(Taps::dense(g), g, w, bias, x, y, batch),
        avx2: conv::forward::<Avx2, 4>(Taps::dense(g), g, w, bias, x, y, batch),
        avx512: conv::forward::<Avx512, 8>(Taps::dense(g), g, w, bias, x, y, batch),
    }

    /// The gradient of [`conv_forward`]'s input: for every `dx[c][iy][ix][b]` one running sum from `+0.0` of
    /// `w[oc][ic][ky][kx] * dy[oc][oy][ox][b]` in ascending `(oc, ky, kx)`, over the output channels of its group.
    fn conv_input_grad(g: &ConvGeometry, w: &[f32], dy: &[f32], dx: &mut [f32], batch: usize) {
        portable: conv_grad::input_grad::<Portable, ROWS>(Taps::dense(g), g, w, dy, dx, batch),
        avx2: conv_grad::input_grad::<Avx2, 4>(Taps::dense(g), g, w, dy, dx, batch),
        avx512: conv_grad::input_grad::<Avx512, 8>(Taps::dense(g), g, w, dy, dx, batch),
    }

    /// The gradient of [`conv_forward`]'s weights, the products of `dy[oc][oy][ox][b]` and the input that it meets, as a lane
    /// sum in which term `t = ox * batch + b` of every output row `oy` goes to sum `t mod 8`, rows ascending; terms in the
    /// padding are left out and the others keep their lanes. Coordinate
    /// `((oc * in_channels / groups + ic) * kernel_h + ky) * kernel_w + kx`.
    fn conv_weight_grad<S>(g: &ConvGeometry, dy: &[f32], x: &[f32], batch: usize, sink: &mut S) {
        portable: conv_weights::weight_grad::<Portable, { ROWS / 2 }, 1, S>(Taps::dense(g), g, dy, x, batch, sink),
        avx2: conv_weights::weight_grad::<Avx2, 2, 2, S>(Taps::dense(g), g, dy, x, batch, sink),
        avx512: conv_weights::weight_grad::<Avx512, 4, 4, S>(Taps::dense(g), g, dy, x, batch, sink),
    }

    /// [`conv_forward`] over the live weights: row `oc`, column `(ic * kernel_h + ky) * kernel_w + kx`, ascending.
    fn csr_conv_forward(
        pattern: Pattern,
        g: &ConvGeometry,
        w: &[f32],
        bias: &[f32],
        x: &[f32],
        y: &mut [f32],
        batch: usize,
    ) {
        portable: conv::forward::<Portable, ROWS>(Taps::sparse(g, pattern), g, w, bias, x, y, batch),
        avx2: conv::forward::<Avx2, 4>(Taps::sparse(g, pattern), g, w, bias, x, y, batch),
        avx512: conv::forward::<Avx512, 8>(Taps::sparse(g, pattern), g, w, bias, x, y, batch),
    }

    /// [`conv_input_grad`] over the live weights.
    fn csr_conv_input_grad(
        pattern: Pattern,
        g: &ConvGeometry,
        w: &[f32],
        dy: &[f32],
        dx: &mut [f32],
        batch: usize,
    ) {
        portable: conv_grad::input_grad::<Portable, ROWS>(Taps::sparse(g, pattern), g, w, dy, dx, batch),
        avx2: conv_grad::input_grad::<Avx2, 4>(Taps::sparse(g, pattern), g, w, dy, dx, batch),
        avx512: conv_grad::input_grad::<Avx512, 8>(Taps::sparse(g, pattern), g, w, dy, dx, batch),
    }

    /// [`conv_weight_grad`] over the live weights. Coordinate `k` of the pattern.
    fn csr_conv_weight_grad<S>(
        pattern: Pattern,
        g: &ConvGeometry,
        dy: &[f32],
        x: &[f32],
        batch: usize,
        sink: &mut S,
    ) {
        portable: conv_weights::weight_grad::<Portable, { ROWS / 2 }, 1, S>(Taps::sparse(g, pattern), g, dy, x, batch, sink),
        avx2: conv_weights::weight_grad::<Avx2, 2, 2, S>(Taps::sparse(g, pattern), g, dy, x, batch, sink),
        avx512: conv_weights::weight_grad::<Avx512, 4, 4, S>(Taps::sparse(g, pattern), g, dy, x, batch, sink),
    }

    /// The largest value of each window; the first of equal ones (zeros of either sign are equal), NaN if there is one. The
    /// padding does not count.
    fn max_pool_forward(g: &PoolGeometry, x: &[f32], y: &mut [f32], batch: usize) {
        portable: pool::max_forward(g, x, y, batch),
        avx2: pool::max_forward(g, x, y, batch),
        avx512: pool::max_forward(g, x, y, batch),
    }

    /// Adds each output's gradient to the first input of its window, row by row, that equals the output (for a NaN: the
    /// first NaN). Every `dx` is a running sum from `+0.0` over windows in row-major order. `x` and `y` are those of
    /// [`max_pool_forward`].
    fn max_pool_backward(g: &PoolGeometry, x: &[f32], y: &[f32], dy: &[f32], dx: &mut [f32], batch: usize) {
        portable: pool::max_backward::<Portable>(g, x, y, dy, dx, batch),
        avx2: pool::max_backward::<Avx2>(g, x, y, dy, dx, batch),
        avx512: pool::max_backward::<Avx512>(g, x, y, dy, dx, batch),
    }

    /// The mean of each window: one running sum from `+0.0` over its inputs, row by row, without the padding, divided by their
    /// number or, with `count_padding`, by `kernel_h * kernel_w`.
    fn avg_pool_forward(g: &PoolGeometry, count_padding: bool, x: &[f32], y: &mut [f32], batch: usize) {
        portable: avg_pool::forward(g, count_padding, x, y, batch),
        avx2: avg_pool::forward(g, count_padding, x, y, batch),
        avx512: avg_pool::forward(g, count_padding, x, y, batch),
    }

    /// The gradient of [`avg_pool_forward`]'s input: every `dx` is a running sum from `+0.0` of `dy` divided by the number that
    /// the window was divided by, over windows in row-major order.
    fn avg_pool_backward(g: &PoolGeometry, count_padding: bool, dy: &[f32], dx: &mut [f32], batch: usize) {
        portable: avg_pool::backward(g, count_padding, dy, dx, batch),
        avx2: avg_pool::backward(g, count_padding, dy, dx, batch),
        avx512: avg_pool::backward(g, count_padding, dy, dx, batch),
    }

    /// [`avg_pool_forward`] with one window over all `pixels` of a channel: `x` is `[channels, pixels, batch]`, `y`
    /// `[channels, batch]`. Without pixels, the mean is NaN.
    fn global_avg_pool_forward(x: &[f32], y: &mut [f32], channels: usize, pixels: usize, batch: usize) {
        portable: avg_pool::global_forward(x, y, channels, pixels, batch),
        avx2: avg_pool::global_forward(x, y, channels, pixels, batch),
        avx512: avg_pool::global_forward(x, y, channels, pixels, batch),
    }

    /// The gradient of [`global_avg_pool_forward`]'s input, as [`avg_pool_backward`].
    fn global_avg_pool_backward(dy: &[f32], dx: &mut [f32], channels: usize, pixels: usize, batch: usize) {
        portable: avg_pool::global_backward(dy, dx, channels, pixels, batch),
        avx2: avg_pool::global_backward(dy, dx, channels, pixels, batch),
        avx512: avg_pool::global_backward(dy, dx, channels, pixels, batch),
    }
}
