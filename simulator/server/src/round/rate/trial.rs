//! How the two ways to save bits weigh against each other: a coarser step, or a part of the coordinates.
//!
//! Let a coordinate that travels take `b` bits and have a squared error of `e` relative to its square, where rounding is unbiased. If a
//! part `p` of the coordinates travels, a report has `p b` bits a coordinate and, with what was dropped, a relative error of
//! `(1 + e) / p - 1`. Of all ways to have so many bits the best is where `(1 + e) b` is least. It has one minimum in the step: finer,
//! bits grow by one for each halving; coarser, the error grows with the step and bits fall less than it. Where that is hangs on
//! the deltas: on those of a small classifier at two root mean squares and 0.8 bits, on those of a language model at eight and 0.15.
//!
//! Both factors are seen in reports. `(1 + e)` is in proportion to `step^2` times the mean square of a symbol. And a report on a grid
//! of `step` tells what it would be on one of `2 step`: symbols whose halves are rounded up or down by a fair coin have the distribution
//! of the coarser grid. So some reports of a round are coded again at twice the step, and where the product is the same or less,
//! the step may grow.

use crate::round::{Offer, Settings};
use siskin::checkin::Rounding;
use siskin::quantize::{Subset, Uniform};
use siskin::range_coder::{EncodeTensors, Encoder, EntropyCoder, RowColumn};
use siskin::report::supports;

/// Reports of a round that are tried, in the mean.
const REPORTS: f64 = 8.0;
/// Octaves by which the product's slope grows in an octave. (0.1 to 0.3 on the recorded updates of digits and language models.)
const CURVATURE: f64 = 0.2;

/// Sums over the reports that were tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::round) struct Trial {
    /// A report is tried if its coin is below; 0 tries none.
    below: u32,
    /// Bytes on the grid and on the one of twice the step.
    bytes: [u64; 2],
    /// Of symbols.
    squares: [u128; 2],
}

impl Trial {
    /// For rounds whose budget the server may meet either way.
    pub(in crate::round) fn new(settings: &Settings) -> Self {
        let tried = settings.rate.weighs_parts(settings);
        let part = REPORTS / f64::from(settings.cohort.max(1));
        Self { below: if tried { (part.min(1.0) * f64::from(u32::MAX)) as u32 } else { 0 }, ..Self::default() }
    }

    /// Tries the report of `task`, of these nonzero symbols, ascending; `scratch` is the coder's. Sums are the same in any order.
    pub(in crate::round) fn add(
        &mut self,
        (offer, task): (&Offer, u64),
        symbols: &[(usize, i32)],
        bytes: usize,
        scratch: &mut [u8],
    ) {
        let coins = Uniform::new(!task ^ u64::from(offer.fingerprint));
        if coins.bits(u32::MAX) >= self.below {
            return;
        }
        let live = offer.graph.live;
        let mut halves = vec![0; live];
        let mut squares = [0u128; 2];
        // A clip bit stands behind the live coordinates, and is none of them.
        for &(index, symbol) in symbols.iter().filter(|(index, _)| *index < live) {
            let half = halved(symbol, coins.bits(index as u32));
            halves[index] = half;
            squares[0] += u128::from(symbol.unsigned_abs()).pow(2);
            squares[1] += u128::from(half.unsigned_abs()).pow(2);
        }
        let mut out = vec![0; RowColumn::encoded_bound(live)];
        if let Some(coarser) = coded(offer, task, &halves, scratch, &mut out) {
            self.bytes[0] += bytes as u64;
            self.bytes[1] += coarser as u64;
            self.squares[0] += squares[0];
            self.squares[1] += squares[1];
        }
    }

    #[cfg(test)]
    pub(super) fn of(bytes: [f64; 2], squares: [f64; 2]) -> Self {
        Self { below: 0, bytes: bytes.map(|b| b as u64), squares: squares.map(|s| s as u128) }
    }

    /// Octaves by which the step should grow for `(1 + e) b` to be least; none if no report was tried that had a nonzero symbol.
    pub(super) fn wish(&self) -> Option<f64> {
        if self.squares[0] == 0 {
            return None;
        }
        // On a grid that leaves nothing, everything is error.
        let squares = 4.0 * self.squares[1].max(1) as f64 / self.squares[0] as f64;
        let bytes = self.bytes[1].max(1) as f64 / self.bytes[0].max(1) as f64;
        // The slope half an octave above the step.
        let slope = libm::log2(squares * bytes);
        Some(0.5 - slope / CURVATURE)
    }
}

/// Half of a symbol, rounded up or down by the upper bit of `coins`.
fn halved(symbol: i32, coins: u32) -> i32 {
    symbol.div_euclid(2) + (symbol & (coins >> 31) as i32)
}

/// Bytes of the symbols as a device would code them.
fn coded(offer: &Offer, task: u64, symbols: &[i32], scratch: &mut [u8], out: &mut [u8]) -> Option<usize> {
    let mut encoder = Encoder::begin(out, scratch).ok()?.starting(offer.start());
    encoder.keep_only(Subset::new(&offer.plan.quantization, offer.fingerprint, task));
    let patterns = offer.patterns();
    let mut rest = symbols;
    for (support, live) in supports(&offer.graph, patterns.row_ptrs, patterns.columns) {
        let (tensor, after) = rest.split_at_checked(live)?;
        encoder.tensor(&support, tensor).ok()?;
        rest = after;
    }
    encoder.finish().ok()
}

/// Whether halves are unbiased there.
pub(super) fn may_weigh(settings: &Settings) -> bool {
    settings.privacy.leaves_room() && settings.quantization.rounding == Rounding::Stochastic
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_unbiased() {
        for symbol in [-7, -2, -1, 0, 1, 3, 4, 16_777_215] {
            let (down, up) = (halved(symbol, 0), halved(symbol, 1 << 31));
            assert_eq!((down + up, up - down), (symbol, symbol & 1), "{symbol}");
        }
    }

    /// A delta rounded at a step and then halved is the delta rounded at twice the step, in distribution: of a value at 0.3 of the
    /// coarser step, three in ten are 1. Six standard deviations of 100,000 coins are 0.009.
    #[test]
    fn halved_symbols_are_those_of_the_coarser_grid() {
        use siskin::quantize::{Rounding, Step, quantize_in_place};
        let mut values = vec![0.6f32; 100_000];
        let step = Step::new(1.0).unwrap();
        let symbols = quantize_in_place(&mut values, step, Rounding::Stochastic { seed: 5, first: 0 }).symbols;
        let coins = Uniform::new(6);
        let halves: Vec<i32> = symbols.iter().enumerate().map(|(i, q)| halved(*q, coins.bits(i as u32))).collect();
        let ones = halves.iter().filter(|h| **h == 1).count() as f64 / 1e5;
        assert!((ones - 0.3).abs() < 0.009 && halves.iter().all(|h| (0..=1).contains(h)), "{ones}");
    }

    #[test]
    fn nothing_tried_says_nothing() {
        assert_eq!(Trial::default().wish(), None);
        // Product of both as it was: half an octave further is the minimum, if it is flat there.
        assert_eq!(Trial::of([100.0, 50.0], [1000.0, 500.0]).wish(), Some(0.5));
    }
}
