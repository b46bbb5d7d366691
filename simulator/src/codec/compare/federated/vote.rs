//! The step that clients vote for (Mitchell, Ballé, Charles and Konečný 2022, and its code): the published way of finding it.
//!
//! Seven steps stand for election, `1.15^k` times the first one with `k` from -3 to 3, in every round the same. After its report a
//! client codes its delta with each of them and votes for the one of least `error + lambda bits`, both a param. The most votes give
//! the step of the next round. `lambda` belongs to the first step; its authors measured a table on their updates, here it is the slope
//! `-dD/dR` that the deltas of the thrown-away round have there. What it costs in privacy stands in [`super`].

/// Steps that stand for election, over the first one.
const OPTIONS: usize = 7;
const RATIO: f64 = 1.15;

/// What a vote takes in a report: one of seven.
pub(super) const BITS: f64 = 3.0;

/// Votes for each step.
pub(super) type Ballots = [u32; OPTIONS];

/// A step, and what clients are to weigh.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Vote {
    first: f64,
    lambda: f64,
    /// The step of the next round.
    pub(super) step: f64,
}

impl Vote {
    /// From this step on; `cost` gives squared error and bits, both a param, of the thrown-away round's deltas.
    pub(super) fn new(first: f64, mut cost: impl FnMut(f64) -> Option<(f64, f64)>) -> Self {
        let mut end = |k: usize| cost(first * factor(k));
        let lambda = match (end(0), end(OPTIONS - 1)) {
            (Some(fine), Some(coarse)) if fine.1 > coarse.1 => ((coarse.0 - fine.0) / (fine.1 - coarse.1)).max(0.0),
            _ => 0.0,
        };
        Self { first, lambda, step: first }
    }

    /// The option that a client votes for, the finest of equals; none if it can code its delta with none of them.
    pub(super) fn choice(&self, mut cost: impl FnMut(f64) -> Option<(f64, f64)>) -> Option<usize> {
        let loss = |k: usize| cost(self.first * factor(k)).map(|(error, bits)| (k, error + self.lambda * bits));
        (0..OPTIONS).filter_map(loss).min_by(|a, b| a.1.total_cmp(&b.1)).map(|(k, _)| k)
    }

    /// Counts a round's votes; without any the step stays.
    pub(super) fn count(&mut self, ballots: &Ballots) {
        let most = ballots.iter().copied().max().unwrap_or(0);
        if let Some(k) = ballots.iter().position(|votes| *votes == most && most > 0) {
            self.step = self.first * factor(k);
        }
    }
}

fn factor(k: usize) -> f64 {
    RATIO.powf(k as f64 - (OPTIONS / 2) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Error and bits of a uniform quantiser at high rates, of a source of this scale.
    fn fine(scale: f64) -> impl Fn(f64) -> Option<(f64, f64)> {
        move |step| Some((step * step / 12.0, (scale / step).log2()))
    }

    #[test]
    fn the_price_of_a_bit_is_that_of_high_rates() {
        // -dD/dR = (2 ln 2) step^2 / 12, here as a chord.
        let vote = Vote::new(0.5, fine(100.0));
        let slope = 2.0 * 2f64.ln() * 0.25 / 12.0;
        assert!((vote.lambda / slope - 1.0).abs() < 0.15, "{} of {slope}", vote.lambda);
        // The same source votes for the step that its price belongs to, give or take the chord; bits alone do not move it.
        let choice = vote.choice(fine(1.0)).unwrap();
        assert!((3..=4).contains(&choice), "{choice}");
    }

    #[test]
    fn most_votes_win_and_options_stay() {
        let mut vote = Vote::new(1.0, fine(10.0));
        vote.count(&[0, 0, 1, 2, 0, 4, 3]);
        assert!((vote.step - 1.15f64.powi(2)).abs() < 1e-12);
        // Round the first step, not round the last.
        vote.count(&[0, 0, 0, 0, 0, 0, 9]);
        assert!((vote.step - 1.15f64.powi(3)).abs() < 1e-12);
        vote.count(&[0; OPTIONS]);
        assert!((vote.step - 1.15f64.powi(3)).abs() < 1e-12);
        vote.count(&[2, 0, 0, 0, 0, 0, 2]);
        assert!((vote.step - 1.15f64.powi(-3)).abs() < 1e-12, "the finest of equals");
    }

    #[test]
    fn who_can_code_nothing_does_not_vote() {
        let vote = Vote::new(1.0, |_| None);
        assert_eq!(vote.lambda, 0.0);
        assert_eq!(vote.choice(|_| None), None);
        // Only coarse steps are possible: the error decides among them.
        assert_eq!(vote.choice(|step| (step > 1.2).then_some((step, 0.0))), Some(5));
    }
}
