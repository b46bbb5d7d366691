//! Axes: round ticks that cover the data.

/// Ticks at multiples of 1, 2 or 5 times a power of ten.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Axis {
    /// Value at the left or bottom end.
    pub(crate) min: f64,
    /// Value at the right or top end; above `min`.
    pub(crate) max: f64,
    /// Distance of ticks.
    step: f64,
}

impl Axis {
    /// Covers `values` (finite ones) with about `ticks` ticks; none where there is no finite value. Starts at zero where
    /// the data come near it, for a cut axis exaggerates.
    pub(crate) fn covering(values: impl Iterator<Item = f64>, ticks: u32, whole: bool) -> Option<Self> {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|v| v.is_finite()) {
            low = low.min(value);
            high = high.max(value);
        }
        if low > high {
            return None;
        }
        // One value, or values that differ by rounding alone, are seen against zero as well.
        let flat = high - low <= 1e-9 * low.abs().max(high.abs());
        if low > 0.0 && (flat || low < 0.6 * high) {
            low = 0.0;
        } else if flat {
            high = if low < 0.0 { 0.0 } else { 1.0 };
        }
        // f64::MAX and its like: a span that overflows has no useful scale.
        let span = (high - low).min(f64::MAX / 8.0);
        let mut step = nice(span / f64::from(ticks.max(1)));
        if whole {
            step = step.max(1.0);
        }
        // A mean of twenties may be 20 and an ulp: that is no reason for another tick.
        let min = (low / step + 1e-9).floor() * step;
        let mut max = (high / step - 1e-9).ceil() * step;
        if max <= min {
            max = min + step;
        }
        (min.is_finite() && max.is_finite() && max > min).then_some(Self { min, max, step })
    }

    /// The same, but it ends at the last value: for rounds and bytes, where room beyond it says nothing.
    pub(crate) fn up_to_last(values: impl Iterator<Item = f64> + Clone, ticks: u32, whole: bool) -> Option<Self> {
        let mut axis = Self::covering(values.clone(), ticks, whole)?;
        let last = values.filter(|v| v.is_finite()).fold(f64::NEG_INFINITY, f64::max);
        if last > axis.min {
            axis.max = last;
        }
        Some(axis)
    }

    /// Tick values inside the axis, ascending; at most 64.
    pub(crate) fn ticks(&self) -> Vec<f64> {
        let first = (self.min / self.step - 1e-9).ceil();
        let ticks = (0..64).map(|i| (first + f64::from(i)) * self.step);
        ticks.take_while(|tick| *tick <= self.max + 1e-9 * self.step).map(|tick| tick + 0.0).collect()
    }

    /// Where `value` stands, 0 at `min`, 1 at `max`.
    pub(crate) fn place(&self, value: f64) -> f64 {
        (value - self.min) / (self.max - self.min)
    }

    /// `tick * factor` with as many decimals as the step needs.
    pub(crate) fn label(&self, tick: f64, factor: f64) -> String {
        let (tick, step) = (tick * factor, self.step * factor);
        if !tick.is_finite() {
            return String::new();
        }
        if tick != 0.0 && !(1e-4..1e7).contains(&tick.abs()) {
            return format!("{tick:.1e}");
        }
        let decimals = (-(step.log10() + 1e-9).floor()).clamp(0.0, 6.0) as usize;
        let text = format!("{tick:.decimals$}");
        if text.trim_start_matches(['-', '0', '.']).is_empty() { "0".to_owned() } else { text }
    }
}

/// The least of 1, 2, 5 times a power of ten that is not below `step`.
fn nice(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    let head = step / power;
    power
        * if head <= 1.0 + 1e-9 {
            1.0
        } else if head <= 2.0 + 1e-9 {
            2.0
        } else if head <= 5.0 + 1e-9 {
            5.0
        } else {
            10.0
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(values: &[f64], whole: bool) -> Vec<String> {
        let axis = Axis::covering(values.iter().copied(), 5, whole).unwrap();
        axis.ticks().into_iter().map(|t| axis.label(t, 1.0)).collect()
    }

    #[test]
    fn ticks_are_round_and_cover_the_data() {
        assert_eq!(labels(&[0.1, 0.93], false), ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(&[1.0, 3.0], true), ["0", "1", "2", "3"]);
        assert_eq!(labels(&[-0.5, 2.0], false), ["-0.5", "0", "0.5", "1.0", "1.5", "2.0"]);
        assert_eq!(labels(&[0.0, 20.000_000_000_000_004], false), ["0", "5", "10", "15", "20"]);
        assert_eq!(labels(&[0.91, 0.94], false), ["0.91", "0.92", "0.93", "0.94"]);
    }

    #[test]
    fn no_data_has_no_axis_and_one_value_has() {
        assert_eq!(Axis::covering([f64::NAN, f64::INFINITY].into_iter(), 5, false), None);
        for value in [0.0, 1.0, -3.0, 1e-300, 1e300, f64::MAX, 5e-324] {
            if let Some(axis) = Axis::covering([value].into_iter(), 5, false) {
                assert!(axis.max > axis.min, "{value}: {axis:?}");
                assert!((0.0..=1.0).contains(&axis.place(value)), "{value}: {axis:?}");
                assert!(axis.ticks().len() <= 64);
            }
        }
    }
}
