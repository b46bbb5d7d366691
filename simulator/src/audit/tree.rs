//! What the noise of tree aggregation is from round to round, by its definition alone: the server's own way of making it, level
//! by level with what it remembers, is what the audit compares with this.

use siskin_accounting::correlated::Tree;

/// A complete node: its level, and the rounds that are over when it is.
type Node = (u32, u32);

/// The nodes whose sum is the prefix of the first `t` rounds: one for each bit of `t`, the largest first.
fn nodes(t: u32) -> impl Iterator<Item = Node> {
    let mut end = 0;
    (0..u32::BITS).rev().filter(move |level| t >> level & 1 == 1).map(move |level| {
        end += 1 << level;
        (level, end)
    })
}

/// Covariance of two nodes' noise, each as the tree has it in a prefix sum. With Honaker's estimate a node is its halves times
/// `v_l / (2 v_{l-1})` and noise of its own, so that the covariance with what is inside it is a product down to there.
fn of_nodes(tree: Tree, a: Node, b: Node) -> f64 {
    let ((low, inner), (high, outer)) = if a.0 <= b.0 { (a, b) } else { (b, a) };
    let inside = inner <= outer && inner + (1 << high) > outer;
    match tree {
        _ if !inside => 0.0,
        Tree::Binary => f64::from(u8::from(a == b)),
        Tree::Honaker => {
            let weight = |level: u32| tree.node_variance(level) / (2.0 * tree.node_variance(level - 1));
            (low + 1..=high).map(weight).product::<f64>() * tree.node_variance(low)
        }
    }
}

/// Variance of the noise in the sum of `rounds` rounds, in units of a node's.
pub(super) fn variance_of_all(tree: Tree, rounds: u32) -> f64 {
    nodes(rounds).map(|(level, _)| tree.node_variance(level)).sum()
}

/// The lower triangle that turns the noise of `rounds` rounds into independent unit deviates: the inverse of the Cholesky factor of its
/// covariance, row by row with the newest round first. In `rounds^3 / 3` multiplications.
pub(super) fn whitening(tree: Tree, rounds: u32) -> Vec<Vec<f64>> {
    let prefix =
        |s: u32, t: u32| -> f64 { nodes(s).map(|a| nodes(t).map(|b| of_nodes(tree, a, b)).sum::<f64>()).sum::<f64>() };
    let n = rounds as usize;
    let table: Vec<Vec<f64>> = (0..=rounds).map(|s| (0..=s).map(|t| prefix(s, t)).collect()).collect();
    let at = |s: usize, t: usize| table[s.max(t)][s.min(t)];
    let mut factor: Vec<Vec<f64>> = Vec::with_capacity(n);
    let mut inverse: Vec<Vec<f64>> = Vec::with_capacity(n);
    for row in 0..n {
        let mut new = vec![0.0; row + 1];
        for column in 0..=row {
            // A round's noise is the difference of two prefixes'.
            let (s, t) = (row + 1, column + 1);
            let mut rest = at(s, t) - at(s - 1, t) - at(s, t - 1) + at(s - 1, t - 1);
            for k in 0..column {
                rest -= new[k] * if column == row { new[k] } else { factor[column][k] };
            }
            new[column] = if column == row { rest.sqrt() } else { rest / factor[column][column] };
        }
        let mut solved: Vec<f64> = (0..row)
            .map(|column| -(column..row).map(|k| new[k] * inverse[k][column]).sum::<f64>() / new[row])
            .collect();
        solved.push(1.0 / new[row]);
        factor.push(new);
        inverse.push(solved);
    }
    inverse.iter_mut().for_each(|row| row.reverse());
    inverse
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four rounds by hand: the second takes the first's leaf back and puts the node over both.
    #[test]
    fn four_rounds_of_a_binary_tree() {
        let white = whitening(Tree::Binary, 4);
        // x = (a, B - a, c, D - B - c), with unit a, B, c, D; so a = x1, B = x2 + x1, c = x3, D = x4 + B + c.
        let expected: [&[f64]; 4] = [&[1.0], &[1.0, 1.0], &[1.0, 0.0, 0.0], &[1.0, 1.0, 1.0, 1.0]];
        for (row, expected) in white.iter().zip(expected) {
            assert!(row.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{row:?} {expected:?}");
        }
        assert_eq!(variance_of_all(Tree::Binary, 7), 3.0);
        // 1 / (2 - 1/2) + 1: a node of two rounds and a leaf.
        assert!((variance_of_all(Tree::Honaker, 3) - (1.0 + 1.0 / 1.5)).abs() < 1e-12);
    }

    /// The greatest variance of a prefix is the accountant's.
    #[test]
    fn errors_are_the_accountants() {
        for tree in [Tree::Binary, Tree::Honaker] {
            let most = (1..=100).map(|t| variance_of_all(tree, t)).fold(0.0, f64::max);
            assert!((most.sqrt() - tree.error(100).max).abs() < 1e-12, "{tree:?}");
        }
    }
}
