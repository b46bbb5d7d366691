//! Top-K: the `k` largest magnitudes as `f32`, everything else 0. Ties go to the lower index.

use super::Sent;

/// What one kept coordinate costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexCost {
    /// `ceil(log2 d)` bits an index, `k` times.
    Each,
    /// `log2(d choose k)` bits for all: no code of a set is shorter on average.
    Ideal,
}

/// Keeps `k` (at most all) coordinates.
pub fn send(x: &[f64], k: usize, cost: IndexCost) -> Sent {
    let k = k.min(x.len());
    let mut order: Vec<usize> = (0..x.len()).collect();
    order.sort_by(|&a, &b| x[b].abs().total_cmp(&x[a].abs()).then(a.cmp(&b)));
    let mut estimate = vec![0.0; x.len()];
    for &i in &order[..k] {
        estimate[i] = f64::from(x[i] as f32);
    }
    let indices = match cost {
        IndexCost::Each => k * x.len().max(1).next_power_of_two().trailing_zeros() as usize,
        IndexCost::Ideal => {
            (0..k).map(|i| ((x.len() - i) as f64 / (i + 1) as f64).log2()).sum::<f64>().max(0.0).ceil() as usize
        }
    };
    Sent { bits: 32 * k + indices, estimate }
}
