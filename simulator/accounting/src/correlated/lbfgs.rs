//! Minimisation by L-BFGS: Nocedal & Wright 2006, "Numerical Optimization", algorithms 7.4 and 7.5, with a backtracking
//! line search that demands sufficient decrease. Deterministic.

/// Pairs that are remembered.
const MEMORY: usize = 12;

/// Sufficient decrease, a fraction of what the slope promises.
const DECREASE: f64 = 1e-4;

/// Minimises `f`, which writes its gradient and returns its value; a value that is not finite is outside the domain, and
/// `from` must be inside. Ends after `iterations`, or when the value improves by less than 1e-13 of itself.
pub(super) fn minimise(
    from: &[f64],
    iterations: usize,
    mut f: impl FnMut(&[f64], &mut [f64]) -> f64,
) -> (Vec<f64>, f64) {
    let mut x = from.to_vec();
    let mut gradient = vec![0.0; x.len()];
    let mut value = f(&x, &mut gradient);
    let mut pairs: Vec<(Vec<f64>, Vec<f64>, f64)> = Vec::new();
    let mut still = 0;
    for _ in 0..iterations {
        let mut direction = descent(&gradient, &pairs);
        let mut slope = dot(&direction, &gradient);
        if slope.is_nan() || slope >= 0.0 {
            // The memory is of no use here: steepest descent.
            pairs.clear();
            direction = gradient.iter().map(|g| -g).collect();
            slope = -dot(&gradient, &gradient);
        }
        if slope.is_nan() || slope > -1e-300 {
            break;
        }
        // Without memory the length of the gradient means nothing: the first step is short.
        let mut step = if pairs.is_empty() { (0.1 / (-slope).sqrt()).min(1.0) } else { 1.0 };
        let mut next = vec![0.0; x.len()];
        let mut next_gradient = vec![0.0; x.len()];
        let mut next_value = f64::INFINITY;
        for _ in 0..40 {
            for ((n, x), d) in next.iter_mut().zip(&x).zip(&direction) {
                *n = x + step * d;
            }
            next_value = f(&next, &mut next_gradient);
            if next_value <= value + DECREASE * step * slope && next_gradient.iter().all(|g| g.is_finite()) {
                break;
            }
            next_value = f64::INFINITY;
            step *= 0.5;
        }
        if !next_value.is_finite() {
            if pairs.is_empty() {
                break;
            }
            pairs.clear();
            continue;
        }
        let s: Vec<f64> = next.iter().zip(&x).map(|(n, x)| n - x).collect();
        let y: Vec<f64> = next_gradient.iter().zip(&gradient).map(|(n, g)| n - g).collect();
        let sy = dot(&s, &y);
        if sy > 1e-12 * dot(&y, &y).sqrt() * dot(&s, &s).sqrt() {
            if pairs.len() == MEMORY {
                pairs.remove(0);
            }
            pairs.push((s, y, 1.0 / sy));
        }
        still = if value - next_value <= 1e-13 * value.abs() { still + 1 } else { 0 };
        (x, gradient, value) = (next, next_gradient, next_value);
        if still == 3 {
            break;
        }
    }
    (x, value)
}

/// Minus the approximate inverse Hessian times the gradient.
fn descent(gradient: &[f64], pairs: &[(Vec<f64>, Vec<f64>, f64)]) -> Vec<f64> {
    let mut q = gradient.to_vec();
    let mut alphas = Vec::with_capacity(pairs.len());
    for (s, y, rho) in pairs.iter().rev() {
        let alpha = rho * dot(s, &q);
        add(&mut q, -alpha, y);
        alphas.push(alpha);
    }
    if let Some((_, y, rho)) = pairs.last() {
        let scale = 1.0 / (rho * dot(y, y));
        q.iter_mut().for_each(|q| *q *= scale);
    }
    for ((s, y, rho), alpha) in pairs.iter().zip(alphas.into_iter().rev()) {
        let beta = rho * dot(y, &q);
        add(&mut q, alpha - beta, s);
    }
    q.iter_mut().for_each(|q| *q = -*q);
    q
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(to: &mut [f64], factor: f64, more: &[f64]) {
    for (to, more) in to.iter_mut().zip(more) {
        *to += factor * more;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_bottom_of_rosenbrocks_valley() {
        let valley = |x: &[f64], g: &mut [f64]| {
            let (a, b) = (1.0 - x[0], x[1] - x[0] * x[0]);
            g[0] = -2.0 * a - 400.0 * x[0] * b;
            g[1] = 200.0 * b;
            a * a + 100.0 * b * b
        };
        let (x, value) = minimise(&[-1.2, 1.0], 500, valley);
        assert!(value < 1e-18 && (x[0] - 1.0).abs() < 1e-8 && (x[1] - 1.0).abs() < 1e-8, "{x:?}: {value}");
    }

    #[test]
    fn keeps_to_the_domain() {
        // x - log(x): the minimum is at 1, and nothing is below 0.
        let barrier = |x: &[f64], g: &mut [f64]| {
            g[0] = 1.0 - 1.0 / x[0];
            if x[0] > 0.0 { x[0] - libm::log(x[0]) } else { f64::INFINITY }
        };
        let (x, _) = minimise(&[1e-3], 100, barrier);
        assert!((x[0] - 1.0).abs() < 1e-6, "{x:?}");
    }
}
