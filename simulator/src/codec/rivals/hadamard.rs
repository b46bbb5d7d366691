//! The randomised Hadamard rotation `y = H (s x) / sqrt(d)`, in Sylvester's order, and back.

/// Multiplies by `H / sqrt(d)`, which is its own inverse. `d = y.len()` is a power of two; `d log2 d` additions.
///
/// # Panics
/// If it is not.
pub fn transform(y: &mut [f64]) {
    assert!(y.len().is_power_of_two(), "{} is no power of two", y.len());
    let mut half = 1;
    while half < y.len() {
        for block in y.chunks_mut(2 * half) {
            let (low, high) = block.split_at_mut(half);
            for (a, b) in low.iter_mut().zip(high) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        half *= 2;
    }
    let scale = 1.0 / (y.len() as f64).sqrt();
    y.iter_mut().for_each(|y| *y *= scale);
}

/// Rotates `x`; `signs` are 1 or -1.
pub fn rotate(x: &[f64], signs: &[f64]) -> Vec<f64> {
    let mut y: Vec<f64> = x.iter().zip(signs).map(|(x, s)| x * s).collect();
    transform(&mut y);
    y
}

/// Undoes [`rotate`].
pub fn rotate_back(y: &[f64], signs: &[f64]) -> Vec<f64> {
    let mut x = y.to_vec();
    transform(&mut x);
    x.iter_mut().zip(signs).for_each(|(x, s)| *x *= s);
    x
}
