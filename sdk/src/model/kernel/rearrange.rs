//! Layers that only move values: permuted axes, and the last position of a sequence.

/// Copies `x[c][h][w][batch]` of `shape` to `y` with its axes moved: axis `i` of `y` is axis `axes[i]` of `x` (ONNX
/// `Transpose`).
///
/// # Panics
/// If `axes` names no axis, or a slice is shorter than its shape.
pub fn transpose_forward(shape: [usize; 3], axes: [usize; 3], x: &[f32], y: &mut [f32], batch: usize) {
    debug_assert!(x.len() == shape.iter().product::<usize>() * batch && y.len() == x.len());
    for_axes(shape, axes, |to, from| {
        let (to, from) = (to * batch, from * batch);
        y[to..to + batch].copy_from_slice(&x[from..from + batch]);
    });
}

/// Copies the gradient of [`transpose_forward`]'s output back; `shape` and `axes` are those of the forward pass.
///
/// # Panics
/// As [`transpose_forward`].
pub fn transpose_backward(shape: [usize; 3], axes: [usize; 3], dy: &[f32], dx: &mut [f32], batch: usize) {
    debug_assert!(dy.len() == shape.iter().product::<usize>() * batch && dx.len() == dy.len());
    for_axes(shape, axes, |from, to| {
        let (to, from) = (to * batch, from * batch);
        dx[to..to + batch].copy_from_slice(&dy[from..from + batch]);
    });
}

/// Calls `f` with each feature of the output, ascending, and the feature of the input that it is.
fn for_axes(shape: [usize; 3], axes: [usize; 3], mut f: impl FnMut(usize, usize)) {
    let strides = [shape[1] * shape[2], shape[2], 1];
    let [i, j, k] = axes;
    let mut output = 0;
    for a in 0..shape[i] {
        for b in 0..shape[j] {
            for c in 0..shape[k] {
                f(output, a * strides[i] + b * strides[j] + c * strides[k]);
                output += 1;
            }
        }
    }
}

/// Copies the last position of `x[channels][positions][batch]` to `y[channels][batch]`.
///
/// # Panics
/// If there is no position, or a slice is shorter than its shape.
pub fn last_forward(x: &[f32], y: &mut [f32], channels: usize, positions: usize, batch: usize) {
    debug_assert!(x.len() == channels * positions * batch && y.len() == channels * batch);
    for c in 0..channels {
        y[c * batch..][..batch].copy_from_slice(&x[(c * positions + positions - 1) * batch..][..batch]);
    }
}

/// The gradient of [`last_forward`]'s input: `dy` at the last position, `+0.0` elsewhere.
///
/// # Panics
/// As [`last_forward`].
pub fn last_backward(dy: &[f32], dx: &mut [f32], channels: usize, positions: usize, batch: usize) {
    debug_assert!(dx.len() == channels * positions * batch && dy.len() == channels * batch);
    dx.fill(0.0);
    for c in 0..channels {
        dx[(c * positions + positions - 1) * batch..][..batch].copy_from_slice(&dy[c * batch..][..batch]);
    }
}
