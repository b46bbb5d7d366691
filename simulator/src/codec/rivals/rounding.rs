//! The three roundings of Mitchell, Ballé, Charles and Konečný (2022), with the random numbers given.

/// `round_half_even(x / step)`.
pub fn nearest(x: &[f64], step: f64) -> Vec<i32> {
    x.iter().map(|x| (x / step).round_ties_even() as i32).collect()
}

/// `ceil(s)` if `u <= s - floor(s)`, else `floor(s)`, with `s = x / step` and `u` uniform on `[0, 1)`: unbiased.
pub fn stochastic(x: &[f64], step: f64, uniform: &[f64]) -> Vec<i32> {
    let one = |(x, u): (&f64, &f64)| {
        let s = x / step;
        (if *u <= s - s.floor() { s.ceil() } else { s.floor() }) as i32
    };
    x.iter().zip(uniform).map(one).collect()
}

/// Subtractive dither: `round_half_even(x / step - u)` and the estimate `(q + u) step`, with `u` uniform on `[-1/2, 1/2)` known to
/// both sides; the error is uniform and independent of `x`.
pub fn dithered(x: &[f64], step: f64, uniform: &[f64]) -> (Vec<i32>, Vec<f64>) {
    let symbols: Vec<i32> = x.iter().zip(uniform).map(|(x, u)| (x / step - u).round_ties_even() as i32).collect();
    let estimate = symbols.iter().zip(uniform).map(|(&q, u)| (f64::from(q) + u) * step).collect();
    (symbols, estimate)
}
