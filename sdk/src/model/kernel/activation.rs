//! Element by element.

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
