//! The step size over the steps of a round.

use crate::checkin::{RateSchedule, Training};

/// Step size of step `step` (from 0) of `steps`.
pub fn rate(training: &Training, step: u32, steps: u32) -> f32 {
    let last = steps.saturating_sub(1).max(1);
    let done = f64::from(step.min(last)) / f64::from(last);
    let factor = match training.schedule {
        RateSchedule::Constant => return training.learning_rate,
        RateSchedule::Linear { end } => 1.0 + (f64::from(end) - 1.0) * done,
        RateSchedule::Cosine { end } => {
            f64::from(end) + (1.0 - f64::from(end)) * (1.0 + libm::cos(core::f64::consts::PI * done)) / 2.0
        }
        RateSchedule::WarmUp { steps } => (f64::from(step) + 1.0).min(f64::from(steps)) / f64::from(steps.max(1)),
    };
    (f64::from(training.learning_rate) * factor) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_begin_and_end_where_they_say() {
        let of = |schedule| Training { schedule, ..Training::sgd(1, 1, 2.0) };
        let at = |schedule, step| rate(&of(schedule), step, 11);
        assert_eq!([0, 5, 10].map(|s| at(RateSchedule::Constant, s)), [2.0; 3]);
        assert_eq!([0, 5, 10].map(|s| at(RateSchedule::Linear { end: 0.5 }, s)), [2.0, 1.5, 1.0]);
        assert_eq!([0, 5, 10].map(|s| at(RateSchedule::Cosine { end: 0.0 }, s)), [2.0, 1.0, 0.0]);
        assert_eq!([0, 3, 10].map(|s| at(RateSchedule::WarmUp { steps: 4 }, s)), [0.5, 2.0, 2.0]);
        assert_eq!(rate(&of(RateSchedule::Linear { end: 0.0 }), 0, 1), 2.0, "a single step is the first one");
    }
}
