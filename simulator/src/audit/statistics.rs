//! The distributions behind the checks' probabilities. Everything in f64 with `libm`'s functions, so that a seed gives the same
//! verdict on every machine.

use std::f64::consts::SQRT_2;

/// `P(X <= x)` of the standard normal.
pub fn normal_cdf(x: f64) -> f64 {
    0.5 * libm::erfc(-x / SQRT_2)
}

/// `P(|X| >= |z|)` of the standard normal.
pub fn normal_two_sided(z: f64) -> f64 {
    if z.is_nan() { 0.0 } else { libm::erfc(z.abs() / SQRT_2) }
}

/// `P(X <= x)` and `P(X >= x)` of chi-square with `freedom` degrees of freedom: the regularised incomplete gamma functions
/// of `(freedom / 2, x / 2)`, by their series below `freedom / 2 + 1` and by Lentz's continued fraction above (Press et al.
/// 2007, Numerical Recipes, section 6.2). Takes some `6 sqrt(freedom)` steps; a NaN counts as impossible.
pub fn chi_square(x: f64, freedom: f64) -> (f64, f64) {
    if !(x >= 0.0 && freedom > 0.0) {
        return (0.0, 0.0);
    }
    let (a, x) = (0.5 * freedom, 0.5 * x);
    if x == 0.0 {
        return (0.0, 1.0);
    }
    if x == f64::INFINITY {
        return (1.0, 0.0);
    }
    let front = libm::exp(a * libm::log(x) - x - libm::lgamma(a));
    let steps = 200 + (40.0 * a.sqrt()) as usize;
    if x < a + 1.0 {
        let (mut term, mut sum) = (1.0 / a, 1.0 / a);
        for n in 1..steps {
            term *= x / (a + n as f64);
            sum += term;
            if term < sum * 1e-17 {
                break;
            }
        }
        let lower = (front * sum).clamp(0.0, 1.0);
        return (lower, 1.0 - lower);
    }
    let mut b = x + 1.0 - a;
    let mut c = 1.0 / f64::MIN_POSITIVE;
    let mut d = 1.0 / b;
    let mut fraction = d;
    for n in 1..steps {
        let n = n as f64;
        let numerator = -n * (n - a);
        b += 2.0;
        let denominator = numerator * d + b;
        d = 1.0 / if denominator.abs() < f64::MIN_POSITIVE { f64::MIN_POSITIVE } else { denominator };
        c = b + numerator / c;
        if c.abs() < f64::MIN_POSITIVE {
            c = f64::MIN_POSITIVE;
        }
        let change = d * c;
        fraction *= change;
        if (change - 1.0).abs() < 1e-15 {
            break;
        }
    }
    let upper = (front * fraction).clamp(0.0, 1.0);
    (1.0 - upper, upper)
}

/// Twice the smaller tail, at most 1.
pub fn chi_square_two_sided(x: f64, freedom: f64) -> f64 {
    let (lower, upper) = chi_square(x, freedom);
    (2.0 * lower.min(upper)).min(1.0)
}

/// `P(min of n independent ones <= p)`: what the least of `n` probabilities means.
pub fn least_of(p: f64, n: usize) -> f64 {
    (p * n as f64).min(1.0)
}

/// `P(Binomial(n, p) >= v)` for `v` in `0..=n + 1`, the tails of all counts at once. `0 < p < 1`.
pub fn binomial_tails(n: usize, p: f64) -> Vec<f64> {
    let (log_p, log_q) = (libm::log(p), libm::log1p(-p));
    let total = libm::lgamma(n as f64 + 1.0);
    let mut tails = vec![0.0; n + 2];
    for v in (0..=n).rev() {
        let (v_f, rest) = (v as f64, (n - v) as f64);
        let log = total - libm::lgamma(v_f + 1.0) - libm::lgamma(rest + 1.0) + v_f * log_p + rest * log_q;
        tails[v] = (tails[v + 1] + libm::exp(log)).min(1.0);
    }
    tails
}

/// Mean and the second to fourth central moments.
pub fn moments(values: impl Iterator<Item = f64> + Clone) -> (f64, [f64; 3]) {
    let (n, sum) = values.clone().fold((0.0, 0.0), |(n, sum), v| (n + 1.0, sum + v));
    let mean = sum / n;
    let mut central = [0.0; 3];
    for v in values {
        let d = v - mean;
        central[0] += d * d;
        central[1] += d * d * d;
        central[2] += d * d * d * d;
    }
    (mean, central.map(|m| m / n))
}

/// Pearson's chi-square of counts against probabilities of cells that cover everything; cells that expect fewer than ten are
/// merged with the next. Gives the statistic and its degrees of freedom.
pub fn goodness_of_fit(counts: &[u64], probabilities: &[f64]) -> (f64, f64) {
    let n = counts.iter().sum::<u64>() as f64;
    let (mut statistic, mut cells) = (0.0, 0u32);
    let (mut count, mut expected) = (0.0, 0.0);
    let mut left: f64 = probabilities.iter().sum::<f64>() * n;
    for (c, p) in counts.iter().zip(probabilities) {
        count += *c as f64;
        expected += p * n;
        left -= p * n;
        // What is left must be worth a cell of its own too.
        if expected >= 10.0 && left >= 10.0 {
            statistic += (count - expected) * (count - expected) / expected;
            cells += 1;
            (count, expected) = (0.0, 0.0);
        }
    }
    if expected > 0.0 {
        statistic += (count - expected) * (count - expected) / expected;
        cells += 1;
    } else if count > 0.0 {
        statistic = f64::INFINITY;
    }
    (statistic, f64::from(cells.max(2) - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(got: f64, expected: f64, relative: f64) {
        assert!((got / expected - 1.0).abs() < relative, "{got:e} for {expected:e}");
    }

    #[test]
    fn chi_square_agrees_with_closed_forms_and_with_the_normal() {
        // Two degrees of freedom: exp(-x / 2). One: the normal's tails.
        for x in [0.01, 1.0, 10.0, 80.0] {
            close(chi_square(x, 2.0).1, libm::exp(-x / 2.0), 1e-12);
            close(chi_square(x, 1.0).1, normal_two_sided(x.sqrt()), 1e-12);
        }
        // Ten degrees: exp(-x/2) sum_{k<5} (x/2)^k / k!.
        let (x, mut term, mut sum) = (30.0f64, 1.0, 1.0);
        for k in 1..5 {
            term *= 0.5 * x / f64::from(k);
            sum += term;
        }
        close(chi_square(x, 10.0).1, libm::exp(-x / 2.0) * sum, 1e-12);
        // A million degrees, three deviations out: Wilson and Hilferty's cube root is normal to four digits there.
        let n = 1e6f64;
        for z in [-3.0, 0.0, 3.0] {
            let x = n * (1.0 - 2.0 / (9.0 * n) + z * (2.0 / (9.0 * n)).sqrt()).powi(3);
            close(chi_square(x, n).0, normal_cdf(z), 1e-4);
        }
        assert_eq!(chi_square(0.0, 16.0), (0.0, 1.0));
        assert_eq!(chi_square_two_sided(f64::NAN, 16.0), 0.0);
        assert_eq!(chi_square_two_sided(f64::INFINITY, 16.0), 0.0);
    }

    #[test]
    fn binomial_tails_add_up() {
        let tails = binomial_tails(4, 0.25);
        for (v, expected) in [256.0, 175.0, 67.0, 13.0, 1.0, 0.0].iter().enumerate() {
            assert!((tails[v] - expected / 256.0).abs() < 1e-12, "{v}: {}", tails[v]);
        }
        assert!((binomial_tails(5000, 0.9)[0] - 1.0).abs() < 1e-9);
    }

    #[test]
    fn goodness_of_fit_knows_a_fair_die() {
        let sixth = [1.0 / 6.0; 6];
        assert_eq!(goodness_of_fit(&[100; 6], &sixth), (0.0, 5.0));
        let (statistic, freedom) = goodness_of_fit(&[200, 80, 80, 80, 80, 80], &sixth);
        assert!((statistic - 120.0).abs() < 1e-9 && freedom == 5.0, "{statistic}");
        // Cells of expectation 1 are merged by tens: of 100 cells ten are left.
        assert_eq!(goodness_of_fit(&[1; 100], &[0.01; 100]).1, 9.0);
    }
}
