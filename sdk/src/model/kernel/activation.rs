//! Activation functions, element by element.
//!
//! Where the output alone gives the gradient, forward works in place and backward takes `y`; GELU and hard swish need the
//! input `x`. Backward turns the gradient of the output into that of the input in place.

use super::exp::{logistic, normal_cdf, normal_density, tanh};
use super::wide::widened;

/// `max(x, 0)` in place. Both zeros give `+0.0`, a NaN stays.
pub fn relu_forward(x: &mut [f32]) {
    for x in x {
        *x = if *x <= 0.0 { 0.0 } else { *x };
    }
}

/// Turns the gradient of the output `y` of [`relu_forward`] into that of its input, in place: it passes where `y > 0` and
/// becomes `+0.0` elsewhere.
pub fn relu_backward(y: &[f32], dy: &mut [f32]) {
    debug_assert!(y.len() == dy.len());
    for (dy, &y) in dy.iter_mut().zip(y) {
        *dy = if y > 0.0 { *dy } else { 0.0 };
    }
}

widened! {
    /// `x` where `x > 0`, else `slope * x`, in place (ONNX `LeakyRelu`, `PRelu` with one slope). `slope` is at least 0, or
    /// the output does not tell the sign of the input.
    pub fn leaky_relu_forward(x: &mut [f32], slope: f32) {
        for x in x {
            *x = if *x > 0.0 { *x } else { slope * *x };
        }
    }

    /// From the output `y` of [`leaky_relu_forward`]: `dy` where `y > 0`, else `slope * dy`; at 0 the slope, as PyTorch.
    pub fn leaky_relu_backward(y: &[f32], dy: &mut [f32], slope: f32) {
        debug_assert!(y.len() == dy.len());
        for (dy, &y) in dy.iter_mut().zip(y) {
            *dy = if y > 0.0 { *dy } else { slope * *dy };
        }
    }

    /// `x` held within `min <= max`, in place: `min` where `x < min`, then `max` where the result `> max` (ONNX `Clip`;
    /// ReLU6 is that of 0 and 6). A NaN stays.
    pub fn clip_forward(x: &mut [f32], min: f32, max: f32) {
        for x in x {
            let above = if *x < min { min } else { *x };
            *x = if above > max { max } else { above };
        }
    }

    /// From the output `y` of [`clip_forward`]: `dy` strictly inside, `+0.0` at `y == min` and `y == max`.
    ///
    /// PyTorch's `relu6` and `hardtanh` do the same. Its `clamp` lets the gradient pass where the *input* is exactly a
    /// bound, which the output cannot tell from an input beyond it.
    pub fn clip_backward(y: &[f32], dy: &mut [f32], min: f32, max: f32) {
        debug_assert!(y.len() == dy.len());
        for (dy, &y) in dy.iter_mut().zip(y) {
            *dy = if (y > min) & (y < max) { *dy } else { 0.0 };
        }
    }

    /// The logistic function `1 / (1 + e^-x)` in place, with this module's own exponential: within 3 ulp where `|x| < 87`.
    pub fn sigmoid_forward(x: &mut [f32]) {
        for x in x {
            *x = logistic(*x);
        }
    }

    /// From the output `y` of [`sigmoid_forward`]: `dy * (y * (1 - y))`.
    pub fn sigmoid_backward(y: &[f32], dy: &mut [f32]) {
        debug_assert!(y.len() == dy.len());
        for (dy, &y) in dy.iter_mut().zip(y) {
            *dy *= y * (1.0 - y);
        }
    }

    /// The hyperbolic tangent in place, with this module's own exponential: within 2 ulp.
    pub fn tanh_forward(x: &mut [f32]) {
        for x in x {
            *x = tanh(*x);
        }
    }

    /// From the output `y` of [`tanh_forward`]: `dy * (1 - y * y)`.
    pub fn tanh_backward(y: &[f32], dy: &mut [f32]) {
        debug_assert!(y.len() == dy.len());
        for (dy, &y) in dy.iter_mut().zip(y) {
            *dy *= 1.0 - y * y;
        }
    }

    /// `x * Phi(x)` with the distribution function `Phi` of the standard normal (Hendrycks and Gimpel 2016, the exact form
    /// with erf), `Phi` within 2e-7.
    pub fn gelu_forward(x: &[f32], y: &mut [f32]) {
        debug_assert!(x.len() == y.len());
        for (y, &x) in y.iter_mut().zip(x) {
            *y = x * normal_cdf(x);
        }
    }

    /// From the input `x` of [`gelu_forward`]: `dy * (Phi(x) + x * density(x))`.
    pub fn gelu_backward(x: &[f32], dy: &mut [f32]) {
        debug_assert!(x.len() == dy.len());
        for (dy, &x) in dy.iter_mut().zip(x) {
            *dy *= normal_cdf(x) + x * normal_density(x);
        }
    }

    /// `x * h`, where `h` is `x * (1 / 6) + 0.5` held within 0 and 1 (ONNX `HardSwish`; Howard et al. 2019).
    pub fn hard_swish_forward(x: &[f32], y: &mut [f32]) {
        debug_assert!(x.len() == y.len());
        for (y, &x) in y.iter_mut().zip(x) {
            let h = x * (1.0 / 6.0) + 0.5;
            let h = if h < 0.0 { 0.0 } else { h };
            *y = x * if h > 1.0 { 1.0 } else { h };
        }
    }

    /// From the input `x` of [`hard_swish_forward`]: `+0.0` where `x <= -3`, `dy` where `x >= 3` (at both kinks the derivative
    /// outside), between them `dy * (x * (1 / 3) + 0.5)`.
    pub fn hard_swish_backward(x: &[f32], dy: &mut [f32]) {
        debug_assert!(x.len() == dy.len());
        for (dy, &x) in dy.iter_mut().zip(x) {
            let inside = *dy * (x * (1.0 / 3.0) + 0.5);
            let above = if x >= 3.0 { *dy } else { inside };
            *dy = if x <= -3.0 { 0.0 } else { above };
        }
    }
}
