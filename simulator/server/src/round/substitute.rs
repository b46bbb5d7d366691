//! What would another codec have made of the same deltas? For comparisons: the estimate that a receiver of the other codec would have
//! stands in a report's place.

use siskin::report::Report;
use std::fmt::Debug;

/// Looks at every report that decoded, before it is clipped and added, and may put other symbols in the place of its own.
///
/// What it leaves is clipped like any report, so that the sum's sensitivity is the plan's whatever stands here. Coordinates must
/// rise and live, and magnitudes stay below 2^24, or the report is refused.
pub trait Substitute: Debug + Send {
    /// The report as it came, its symbols that are not 0 as `(coordinate, symbol)`, and the grid's step in the units of the params.
    fn substitute(&mut self, report: &Report<'_>, step: f32, symbols: &mut Vec<(usize, i32)>);
}
